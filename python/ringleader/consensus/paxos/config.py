"""The settings of a Multi-Paxos node."""

from __future__ import annotations

from dataclasses import dataclass

from ringleader.consensus.config import CoreConfig
from ringleader.errors import ConfigError
from ringleader.limits import BLOCK_ENTRIES_MAX


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(CoreConfig):
    """Settings of one Multi-Paxos node: those of `CoreConfig`, and

    Attributes:
        window: alpha of the literature: a leader proposes no slot that lies so far beyond the last
            of those that it knows to be chosen without a gap, and a membership takes effect so many
            slots after its entry.  All nodes must have the same.
        max_aside_bytes: accepted entries that a node keeps beside its log (they came before those
            that they follow); it accepts no more when it is over that.

    `quorum` may make any system whose phase-1 and phase-2 quorums meet, with owned ballots too.
    """

    window: int = 2**14
    max_aside_bytes: int = 2**26

    def __post_init__(self) -> None:
        CoreConfig.__post_init__(self)
        for name, low, high in (
            ("window", 1, BLOCK_ENTRIES_MAX),
            ("max_aside_bytes", 1, 2**40),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ConfigError(f"{name}={value!r} is no integer in {low} ... {high}")
