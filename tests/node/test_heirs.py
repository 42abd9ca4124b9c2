"""Who gets the leads of a node that is stopped."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ringleader.consensus.paxos.progress import Progress as PaxosProgress
from ringleader.node.node import Node


def heir(held: dict[str, int], commit: int = 10, **peers: str) -> str | None:
    """The heir of "a" among replicas a, b, c, d, of which these hold so much."""
    progress: dict[str, Any] = {
        name: SimpleNamespace(id=name, match=match) for name, match in held.items()
    }
    node: Any = SimpleNamespace(
        name="a",
        layout=SimpleNamespace(shards=[SimpleNamespace(replicas=("a", "b", "c", "d"))]),
        peers=SimpleNamespace(
            connected=lambda name: peers.get(name) != "gone",
            silent=lambda name: peers.get(name) == "silent",
            draining=lambda name: peers.get(name) == "draining",
        ),
    )
    shard: Any = SimpleNamespace(number=0, core=SimpleNamespace(progress=progress, commit=commit))
    return Node._heir(node, shard)


@pytest.mark.parametrize("state", ["gone", "silent", "draining"])
def test_who_cannot_lead_for_long_is_no_heir(state: str) -> None:
    everything = dict.fromkeys("bcd", 12)
    assert heir(everything) == "b"
    assert heir(everything, b=state) == "c"
    assert heir(everything, b=state, c=state, d=state) is None


def test_the_most_preferred_of_those_that_are_up_to_date() -> None:
    assert heir({"b": 9, "c": 10, "d": 12}) == "c"
    assert heir({"b": 3, "c": 7, "d": 5}) == "c"
    assert heir({"c": 12, "d": 12}) == "c"  # b is no member now


def test_of_multi_paxos_what_it_held_before_counts() -> None:
    """`match` begins at the leader's commit index, whatever a member has."""
    node: Any = SimpleNamespace(
        name="a",
        layout=SimpleNamespace(shards=[SimpleNamespace(replicas=("a", "b", "c"))]),
        peers=SimpleNamespace(
            connected=lambda name: True, silent=lambda name: False, draining=lambda name: False
        ),
    )
    progress = {"b": PaxosProgress("b", 10), "c": PaxosProgress("c", 10)}
    progress["c"].known = 10
    shard: Any = SimpleNamespace(number=0, core=SimpleNamespace(progress=progress, commit=10))
    assert Node._heir(node, shard) == "c"
