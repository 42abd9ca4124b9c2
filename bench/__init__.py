"""How fast: ringleader and its peers, side by side in one run.

    python -m bench            run every suite, print the tables, write results/raw-*.json
    python -m bench.report     write docs/performance.md anew from the newest results

`harness` measures contestants in turns, `cases` makes rings and keys, `peers` drives the other
libraries, `yardstick` compiles the C that says what the machine itself can do; each `bench_*.py`
is a pytest-benchmark suite for one capability.
"""
