"""The `ringleader` command.

    ringleader assign KEYS --nodes a,b,c -o OUT     a file of keys -> the node(s) of each
    ringleader ring show|plot RING                  a ring's shares as a table, or as a picture
    ringleader balance RING                         how many nodes have which load
    ringleader plan OLD NEW                         what moves from one ring to another, in steps
    ringleader plot RING [NEW] -o OUT               a ring, or what moves to another, as a picture
    ringleader compare                              placement algorithms side by side
    ringleader compare consensus                    Raft and Multi-Paxos side by side
    ringleader simulate --seeds N                   consensus under faults, in virtual time
    ringleader up                                   a whole replicated store on this machine
    ringleader serve --config FILE --node NAME      one node of one
    ringleader status --dir DIR                     its nodes, shards and leaders
    ringleader bench --at HOST:PORT                 load for it, or for any Redis server
    ringleader wal dump|verify DIR                  a node's log: what it says; is it right?
    ringleader demo                                 placement; a cluster that loses a datacenter

Exit codes: 0 done; 1 `simulate` or `wal verify` found something, or a node is not well; 2 refused,
with the reason on stderr and nothing changed; 130 interrupted; 141 when whoever read the output
closed it.

click and rich are imported here and nowhere before, so that `import ringleader` needs only NumPy.
"""

from __future__ import annotations

import sys
from typing import NoReturn

from ringleader.cli.extras import needed
from ringleader.errors import MissingExtra

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line on `sys.argv` and exit."""
    try:
        with needed("cli", "the ringleader command"):
            from ringleader.cli.app import app
    except MissingExtra as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:  # while it was still importing
        sys.exit(130)
    app(prog_name="ringleader")
    raise AssertionError("click's main() does not return")
