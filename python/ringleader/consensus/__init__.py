"""What all replicas agree on: the log, and the cores that decide its order.

    from ringleader.consensus import Driver, Log, Raft
    from ringleader.consensus.raft import Config

Names here are those that do not hang on the algorithm, and the cores; the settings and messages of
a core are in its package.  A name is imported when it is asked for: storage, which needs the log
alone, loads no core, and one core never loads another.
"""

from typing import TYPE_CHECKING, Any

import ringleader.kernels  # noqa: F401  it decides which form of the modules here is loaded

if TYPE_CHECKING:
    from ringleader.consensus.driver import Driver, Outcome, Recovered
    from ringleader.consensus.log import Block, Entries, Log
    from ringleader.consensus.membership import ConfChange, Membership
    from ringleader.consensus.paxos import MultiPaxos
    from ringleader.consensus.quorum import Flexible, Joint, Majority
    from ringleader.consensus.raft import Raft
    from ringleader.consensus.ready import HardState, ReadState, Ready, Snapshot

_HOMES = {
    "Block": "log",
    "ConfChange": "membership",
    "Driver": "driver",
    "Entries": "log",
    "Flexible": "quorum",
    "HardState": "ready",
    "Joint": "quorum",
    "Log": "log",
    "Majority": "quorum",
    "Membership": "membership",
    "MultiPaxos": "paxos",
    "Outcome": "driver",
    "Raft": "raft",
    "ReadState": "ready",
    "Ready": "ready",
    "Recovered": "driver",
    "Snapshot": "ready",
}

__all__ = [
    "Block",
    "ConfChange",
    "Driver",
    "Entries",
    "Flexible",
    "HardState",
    "Joint",
    "Log",
    "Majority",
    "Membership",
    "MultiPaxos",
    "Outcome",
    "Raft",
    "ReadState",
    "Ready",
    "Recovered",
    "Snapshot",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
