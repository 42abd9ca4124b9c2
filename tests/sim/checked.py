"""Nodes that do what a test says, watched by a checker: for the tests of the checkers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import pytest

from ringleader.consensus.log import Block, Log
from ringleader.consensus.membership import Membership
from ringleader.consensus.ready import HardState, Ready, Snapshot
from ringleader.errors import InvariantViolation
from ringleader.sim.checker import Checker

VOTERS = Membership((1, 2, 3))


def broken(number: int, text: str = "") -> Any:
    return pytest.raises(InvariantViolation, match=rf"(?s)invariant {number} .*{text}")


class CheckedNode:
    """What the checker reads of a core, and the events of a node, one by one."""

    def __init__(self, checker: Checker[Any], id: int) -> None:
        self.checker = checker
        self.id = id
        self.term = 0
        self.vote: int | None = None
        self.role = "follower"
        self.commit = 0
        self.stable = 0
        self.membership = VOTERS
        self.log = Log()
        self.aside: list[Block] = []
        self.has_ready = False
        self.number = 0
        self.written: list[Ready] = []
        self.start()

    def start(
        self, term: int = 0, vote: int | None = None, snapshot: Snapshot | None = None
    ) -> None:
        self.term, self.vote, self.role = term, vote, "follower"
        self.checker.loaded(self.id, self.log, self.aside)
        self.checker.started(self.id, self, HardState(term, vote), snapshot, self.log)

    def write(
        self,
        payloads: Sequence[bytes] = (),
        *,
        first: int | None = None,
        term: int | None = None,
        control: bool = False,
        aside: Sequence[Block] = (),
        clears: bool = False,
        sync: bool = True,
    ) -> None:
        """Hand the hard state, and entries of `term`, to the disk; and what stands aside, which is
        of Multi-Paxos alone."""
        self.number += 1
        ready = Ready(self.number)
        ready.hard_state = HardState(self.term, self.vote, self.commit)
        if aside or clears:
            ready.aside, ready.clears_aside = list(aside), clears
            self.aside = [*([] if clears else self.aside), *aside]
        if payloads:
            first = first if first is not None else self.log.last + 1
            term = term if term is not None else self.term
            if first <= self.log.last:
                self.log.truncate(first)
            self.log.append(term, payloads, control)
            ready.block = Block.pack(first, term, payloads, control)
        self.checker.wrote(self.id, self, ready)
        self.written.append(ready)
        if sync:
            self.sync()

    def sync(self) -> None:
        while self.written:
            self.checker.synced(self.id, self.written.pop(0))

    def send(self, *messages: Any) -> None:
        self.checker.sent(self.id, self, messages)

    def after(self) -> None:
        self.checker.after(self.id, self)

    def commit_to(self, index: int) -> None:
        self.commit = index
        self.after()

    def apply(self, first: int, *payloads: bytes) -> None:
        last = first + len(payloads) - 1
        self.checker.applied(self.id, self, first, last, list(enumerate(payloads, first)))


C = TypeVar("C", bound=Checker[Any])
N = TypeVar("N", bound=CheckedNode)


class CheckedGroup(Generic[C, N]):
    """Nodes 1, 2 and 3."""

    def __init__(self, checker: C, node: type[N]) -> None:
        self.checker = checker
        self.nodes = {id: node(checker, id) for id in (1, 2, 3)}

    def __getitem__(self, id: int) -> N:
        return self.nodes[id]


class StateMachineSafety:
    """Invariant 5: nodes 1 and 2 know b"a", b"b" to be committed, and have applied nothing yet."""

    @pytest.fixture
    def group(self, group: Any) -> Any:
        group.elect(1, 1)
        group.replicate(1, [b"a", b"b"], to=(2,))
        group[1].commit_to(2)
        group[2].commit_to(2)
        return group

    def test_another_command(self, group: Any) -> None:
        with broken(5, "not committed there"):
            group[2].apply(1, b"x")

    def test_twice(self, group: Any) -> None:
        group[2].apply(1, b"a")
        with broken(5, r"applies 1\.\.1 after 1"):
            group[2].apply(1, b"a")

    def test_past_a_gap(self, group: Any) -> None:
        with broken(5, r"applies 2\.\.2 after 0"):
            group[2].apply(2, b"b")

    def test_a_command_left_out(self, group: Any) -> None:
        with broken(5, "does not apply the command at 2"):
            group.checker.applied(2, group[2], 1, 2, [(1, b"a")])

    def test_a_snapshot_of_another_state(self, group: Any) -> None:
        group[1].apply(1, b"a", b"b")
        with broken(5, "is not the state after 2"):
            group.checker.restored(2, 2, 12345)

    def test_a_state_that_moves_back(self, group: Any) -> None:
        group[1].apply(1, b"a", b"b")
        with broken(5, "moves back"):
            group.checker.restored(1, 1, group.checker.chain[1])
