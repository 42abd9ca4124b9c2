"""Ballots: integers of which each belongs to one proposer.

Lamport, "Paxos Made Simple" (2001), §2.5: "Different proposers choose their numbers from disjoint
sets of numbers, so two different proposers never issue a proposal with the same number."  Here a
ballot is

    round * 2**32 + number of the proposer          (0: no ballot)

so that ballots are ordered by their rounds first, fit a column of terms, and name their owner.
Raft needs no such thing: its terms belong to whom a quorum votes for.
"""

from __future__ import annotations

from collections.abc import Iterable

from ringleader.consensus.membership import NodeId
from ringleader.errors import MembershipError
from ringleader.kernels import hashing
from ringleader.limits import TERM_MAX

NUMBER_BITS = 32
_NUMBERS = 2**32
ROUND_MAX = (TERM_MAX >> NUMBER_BITS) - 1


def number_of(node: NodeId) -> int:
    """A node's number among proposers: an integer id below 2**32 is its own, any other has the
    CRC32C of its bytes.  Members of one group have different ones; `check_numbers` sees to it."""
    if isinstance(node, int) and node < _NUMBERS:
        return node
    data = node.encode() if isinstance(node, str) else node.to_bytes(8, "little")
    return hashing.crc32c(data) or 1


def check_numbers(nodes: Iterable[NodeId]) -> None:
    """
    Raises:
        MembershipError: two nodes have the same number, so that their ballots could be the same.
    """
    seen: dict[int, NodeId] = {}
    for node in nodes:
        other = seen.setdefault(number_of(node), node)
        if other != node:
            raise MembershipError(
                f"{other!r} and {node!r} would use the same ballots (their CRC32C is the same): "
                "give one of them another id"
            )


def round_of(ballot: int) -> int:
    return ballot >> 32


def owner_number(ballot: int) -> int:
    return ballot & (_NUMBERS - 1)


def next_ballot(after: int, number: int) -> int:
    """The first ballot of proposer `number` in the round that follows ballot `after`."""
    return ((after >> 32) + 1 << 32) | number


def describe(ballot: int) -> str:
    """Round and owner's number, as people read them: "7.2"."""
    return f"{ballot >> NUMBER_BITS}.{ballot & (_NUMBERS - 1)}"
