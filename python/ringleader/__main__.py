"""`python -m ringleader` is the `ringleader` command."""

from ringleader.cli import main

if __name__ == "__main__":
    main()
