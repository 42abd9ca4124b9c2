"""The settings of a Raft node."""

from __future__ import annotations

from dataclasses import dataclass

from ringleader.consensus.config import CoreConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Config(CoreConfig):
    """Settings of one Raft node: see `CoreConfig`.  Any two election quorums that `quorum` makes
    must meet (`QuorumSystem.elections_intersect`)."""
