"""The order persist, send, apply; and what those who asked are told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from raft_group import PLAIN

from ringleader.consensus.driver import Driver, Outcome
from ringleader.consensus.log import Block, Entries
from ringleader.consensus.membership import ConfChange, Membership
from ringleader.consensus.raft import Config, Raft
from ringleader.consensus.raft.messages import (
    AppendEntries,
    AppendReply,
    Propose,
    ProposeReply,
    ReadReply,
    RequestVote,
    TimeoutNow,
    VoteReply,
)
from ringleader.consensus.ready import Ready, SnapshotSource
from ringleader.errors import MisuseError, StorageError
from ringleader.storage.memory import MemoryStorage


class Disk(MemoryStorage):
    """A storage that may take its time (`lazy`) or fail, and tells `trace`."""

    def __init__(self, trace: list[Any]) -> None:
        super().__init__()
        self.trace = trace
        self.lazy = False
        self.broken = False
        self.waiting: deque[Callable[[], None]] = deque()

    def write(self, ready: Ready, done: Callable[[Ready], None]) -> None:
        if self.broken:
            raise StorageError("the disk is broken")

        def complete() -> None:
            MemoryStorage.write(self, ready, lambda ready: None)
            if ready.writes:
                self.trace.append(("write", ready.last))
            done(ready)

        if self.lazy:
            self.waiting.append(complete)
        else:
            complete()

    def save_snapshot(self, snapshot: Any, keep_from: int, done: Callable[[], None]) -> None:
        def complete() -> None:
            MemoryStorage.save_snapshot(self, snapshot, keep_from, lambda: None)
            self.trace.append(("save", snapshot.index))
            done()

        if self.lazy:
            self.waiting.append(complete)
        else:
            complete()

    def complete(self, count: int = 10**6) -> None:
        for _ in range(count):
            if self.waiting:
                self.waiting.popleft()()


class Machine:
    """Appends; a command's result is how many there were before it."""

    def __init__(self, trace: list[Any]) -> None:
        self.trace = trace
        self.commands: list[bytes] = []
        self.broken = False
        self.wrong = False

    def apply(self, entries: Entries) -> Sequence[Any]:
        if self.broken:
            raise ZeroDivisionError("the state machine is broken")
        results = []
        for _, command in entries:
            results.append(len(self.commands))
            self.commands.append(bytes(command))
        self.trace.append(("apply", entries.last))
        return results[1:] if self.wrong else results

    def snapshot(self) -> bytes:
        return b",".join(self.commands)

    def restore(self, source: SnapshotSource) -> None:
        if self.broken:
            raise ZeroDivisionError("the state machine is broken")
        data = source.read(0, source.total_bytes)
        self.commands = data.split(b",") if data else []
        self.trace.append(("restore", len(self.commands)))


class Node:
    """A driver with its surroundings; what it sends stays in `sent`."""

    def __init__(
        self,
        id: int = 1,
        size: int = 3,
        config: Config = PLAIN,
        disk: Disk | None = None,
        **more: Any,
    ) -> None:
        self.trace: list[Any] = disk.trace if disk is not None else []
        self.disk = disk if disk is not None else Disk(self.trace)
        self.machine = Machine(self.trace)
        self.sent: list[Any] = []
        found = self.disk.load()
        self.core = Raft(
            id,
            range(1, size + 1),
            log=found.log,
            config=config,
            seed=more.pop("seed", id),
            hard_state=found.hard_state,
            snapshot=found.snapshot,
            partial=found.partial,
        )
        self.driver = Driver(self.core, self.disk, self, more.pop("machine", self.machine), **more)
        self.outcomes: list[Outcome] = []

    def send(self, messages: Sequence[Any]) -> None:
        self.sent += messages
        self.trace += [("send", type(message).__name__) for message in messages]

    def take(self) -> list[Any]:
        sent, self.sent = self.sent, []
        return sent

    def lead(self) -> Node:
        """By the vote of 2; entry 1 is committed."""
        self.core.campaign()
        self.driver.pump()
        self.driver.receive(VoteReply(2, 1, self.core.term, True))
        self.ack()
        assert self.core.role == "leader"
        self.take()
        self.trace.clear()
        return self

    def ack(self, peer: int = 2, match: int | None = None) -> None:
        last = self.core.log.last if match is None else match
        self.driver.receive(AppendReply(peer, 1, self.core.term, last, self.core.round))

    def follow(self, term: int = 1, leader: int = 2) -> Node:
        self.driver.receive(AppendEntries(leader, self.core.id, term, 0, 0, 0, 1))
        self.take()
        self.trace.clear()
        return self

    def propose(self, *commands: bytes) -> list[Outcome]:
        """The list in which the outcome will stand."""
        outcomes: list[Outcome] = []
        self.driver.propose(list(commands), outcomes.append)
        return outcomes

    def read(self) -> list[Outcome]:
        outcomes: list[Outcome] = []
        self.driver.read(outcomes.append)
        return outcomes

    def append(
        self, terms: list[int], *, prev: tuple[int, int], commit: int = 0, leader: int = 2
    ) -> None:
        """A message of the leader with entries of these terms."""
        block = Block.pack(prev[0] + 1, terms, [b"%d" % term for term in terms]) if terms else None
        term = max([*terms, prev[1], self.core.term])
        self.driver.receive(AppendEntries(leader, 1, term, *prev, commit, 1, block))


class Net:
    """Some nodes; messages pass in order."""

    def __init__(self, size: int = 3, config: Config = PLAIN, **more: Any) -> None:
        self.nodes = {id: Node(id, size, config, **more) for id in range(1, size + 1)}
        self.lost: Callable[[Any], bool] = lambda message: False

    def settle(self, lazy: bool = False) -> None:
        for _ in range(1000):
            batch = [message for node in self.nodes.values() for message in node.take()]
            for message in batch:
                if message.to in self.nodes and not self.lost(message):
                    self.nodes[message.to].driver.receive(message)
            if lazy:
                for node in self.nodes.values():
                    node.disk.complete()
            if not batch:
                return
        raise AssertionError("the messages never end")

    def elect(self, id: int) -> Node:
        self.nodes[id].core.campaign()
        self.nodes[id].driver.pump()
        self.settle()
        assert self.nodes[id].core.role == "leader"
        return self.nodes[id]

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            for node in self.nodes.values():
                node.driver.tick()
            self.settle()

    def cut(self, id: int) -> None:
        self.lost = lambda message: id in (message.sender, message.to)

    def heal(self) -> None:
        self.lost = lambda message: False


def kinds(outcomes: list[Outcome]) -> list[str]:
    return [outcome.kind for outcome in outcomes]


# --- order -----------------------------------------------------------------------------------


def test_a_follower_writes_then_answers_then_applies() -> None:
    node = Node().follow()
    node.append([1, 1], prev=(0, 0), commit=2)
    assert node.trace == [("write", 2), ("send", "AppendReply"), ("apply", 2)]
    assert node.machine.commands == [b"1", b"1"]


def test_a_leader_sends_entries_before_it_writes_them() -> None:
    node = Node().lead()
    node.ack(3)
    node.trace.clear()
    node.propose(b"a")
    assert node.trace == [("send", "AppendEntries"), ("send", "AppendEntries"), ("write", 2)]


def test_a_vote_is_durable_before_it_is_given() -> None:
    node = Node()
    node.disk.lazy = True
    node.driver.receive(RequestVote(2, 1, 1, 0, 0))
    assert node.trace == []
    node.disk.complete()
    assert node.trace == [("write", 0), ("send", "VoteReply")]
    assert node.disk.load().hard_state.vote == 2


def test_a_candidate_is_durable_before_it_asks() -> None:
    node = Node()
    node.disk.lazy = True
    node.core.campaign()
    node.driver.pump()
    assert node.trace == []
    node.disk.complete()
    assert node.trace == [("write", 0), ("send", "RequestVote"), ("send", "RequestVote")]


def test_answers_leave_in_order_after_slow_writes() -> None:
    node = Node().follow()
    node.disk.lazy = True
    node.append([1], prev=(0, 0))
    node.append([1], prev=(1, 1))
    node.append([], prev=(2, 1), commit=2)
    assert node.trace == []
    node.disk.complete(1)
    assert node.trace == [("write", 1), ("send", "AppendReply"), ("apply", 1)]
    node.disk.complete()
    assert [message.match for message in node.take()] == [1, 2, 2]
    assert node.machine.commands == [b"1", b"1"]


def test_nothing_is_applied_before_it_is_durable_here() -> None:
    """The leader of three: the other two have it, its own disk is slow."""
    node = Node().lead()
    node.disk.lazy = True
    outcome = node.propose(b"a")
    node.ack(2)
    node.ack(3)
    assert node.core.commit == 2
    assert (node.machine.commands, outcome) == ([], [])
    node.disk.complete()
    assert node.machine.commands == [b"a"]
    assert kinds(outcome) == ["applied"]


def test_a_slow_disk_does_not_stop_replication() -> None:
    node = Node().lead()
    node.ack(2)
    node.disk.lazy = True
    for command in (b"a", b"b", b"c"):
        node.propose(command)
    assert len(node.disk.waiting) == 3
    assert [message.block.first for message in node.take() if message.to == 2] == [2, 3, 4]


def test_a_group_on_slow_disks() -> None:
    net = Net(3)
    net.elect(1)
    for node in net.nodes.values():
        node.disk.lazy = True
    outcomes = [net.nodes[1].propose(b"%d" % at) for at in range(20)]
    net.settle(lazy=True)
    net.tick()
    net.settle(lazy=True)
    assert [kinds(outcome) for outcome in outcomes] == [["applied"]] * 20
    assert [outcome[0].results for outcome in outcomes] == [[at] for at in range(20)]
    assert {tuple(node.machine.commands) for node in net.nodes.values()} == {
        tuple(b"%d" % at for at in range(20))
    }


def test_what_arrives_together_is_written_together() -> None:
    node = Node().follow()
    node.driver.receive_all(
        [
            AppendEntries(2, 1, 1, at, min(at, 1), 0, 1, Block.pack(at + 1, 1, [b"x"]))
            for at in range(5)
        ]
    )
    assert node.trace == [("write", 5)] + [("send", "AppendReply")] * 5


def test_a_restart_applies_again_from_the_beginning() -> None:
    net = Net(3)
    leader = net.elect(1)
    leader.propose(b"a", b"b")
    net.settle()
    again = Node(1, disk=leader.disk, seed=77)
    assert again.machine.commands == []
    net.nodes[1] = again
    net.elect(1)
    assert again.machine.commands == [b"a", b"b"]


# --- proposals -------------------------------------------------------------------------------


def test_applied() -> None:
    node = Node().lead()
    first, second = node.propose(b"a", b"b"), node.propose(b"c")
    assert first == second == []
    node.ack()
    assert [(one.kind, one.results) for one in (*first, *second)] == [
        ("applied", [0, 1]),
        ("applied", [2]),
    ]


def test_an_outcome_is_told_once_and_may_ask_again() -> None:
    node = Node(size=1)
    node.core.campaign()
    node.driver.pump()
    told: list[int] = []

    def done(outcome: Outcome) -> None:
        told.append(outcome.results[0])
        if len(told) < 5:
            node.driver.propose([b"x"], done)

    node.driver.propose([b"x"], done)
    assert told == [0, 1, 2, 3, 4]


def test_nothing_to_propose() -> None:
    assert kinds(Node().lead().propose()) == ["applied"]


def test_applied_in_pieces() -> None:
    """The commands of one proposal may be committed, and applied, a few at a time."""
    for config in (replace(PLAIN, max_apply_bytes=1), replace(PLAIN, max_block_bytes=1)):
        net = Net(3, config)
        leader = net.elect(1)
        outcome = leader.propose(*(b"%d" % at for at in range(10)))
        after = leader.propose(b"x")
        net.settle()
        assert [(one.kind, one.results) for one in outcome] == [("applied", list(range(10)))]
        assert [(one.kind, one.results) for one in after] == [("applied", [10])]


def test_refused_where_there_is_no_leader() -> None:
    node = Node()
    (outcome,) = node.propose(b"a")
    assert (outcome.kind, outcome.leader) == ("refused", None)


def test_refused_by_a_follower_that_does_not_forward() -> None:
    node = Node(forward=False).follow()
    (outcome,) = node.propose(b"a")
    assert (outcome.kind, outcome.leader) == ("refused", 2)
    assert node.sent == []


def test_refused_when_too_much_is_uncommitted() -> None:
    node = Node(config=replace(PLAIN, max_uncommitted_bytes=100)).lead()
    first = node.propose(b"x" * 100)
    (outcome,) = node.propose(b"y")
    assert (outcome.kind, outcome.leader) == ("refused", 1)
    node.ack()
    assert kinds(first) == ["applied"]


def test_refused_during_a_transfer() -> None:
    node = Node().lead()
    node.driver.transfer(3)
    assert kinds(node.propose(b"a")) == ["refused"]


def test_lost_by_a_change_of_leader() -> None:
    """Another entry is committed in its place."""
    node = Node().lead()
    outcome = node.propose(b"a")
    node.append([2], prev=(1, 1), commit=1)
    assert outcome == []  # it may stand in another log still
    node.append([], prev=(2, 2), commit=2)
    assert [(one.kind, one.leader) for one in outcome] == [("refused", 2)]


def test_lost_ones_far_behind_are_told_too() -> None:
    """Terms do not go back in a log: after an entry of term 2, none of term 1 follows."""
    node = Node().lead()
    outcomes = [node.propose(b"a"), node.propose(b"b", b"c"), node.propose(b"d")]
    node.append([2], prev=(1, 1), commit=2)
    assert [kinds(outcome) for outcome in outcomes] == [["refused"]] * 3


def test_kept_by_the_next_leader() -> None:
    """The next leader has it in its log: it is applied all the same."""
    node = Node().lead()
    outcome = node.propose(b"a")
    node.append([2], prev=(2, 1), commit=3)
    assert [(one.kind, one.results) for one in outcome] == [("applied", [0])]


@pytest.mark.parametrize("together", [False, True])
def test_half_kept_by_the_next_leader(together: bool) -> None:
    """Of three commands the next leader has the first only: neither applied nor refused."""
    node = Node().lead()
    outcome = node.propose(b"a", b"b", b"c")
    after = node.propose(b"d")
    if together:
        node.append([2, 2], prev=(2, 1), commit=4)
    else:
        node.append([2, 2], prev=(2, 1), commit=2)
        assert node.machine.commands == [b"a"]
        node.append([], prev=(4, 2), commit=4)
    assert node.machine.commands == [b"a", b"2", b"2"]
    assert (kinds(outcome), kinds(after)) == (["unknown"], ["refused"])


def test_unknown_when_a_snapshot_takes_its_place() -> None:
    net = Net(3, keep_entries=0)
    old = net.elect(1)
    net.cut(1)
    outcome = old.propose(b"lost?")
    net.elect(2)
    net.nodes[2].propose(b"a", b"b", b"c")
    net.settle()
    for node in (2, 3):
        net.nodes[node].driver.take_snapshot()
    assert net.nodes[2].core.log.first > 2
    net.heal()
    net.tick(5)
    assert old.core.log.base == net.nodes[2].core.log.base
    assert kinds(outcome) in (["unknown"], ["refused"])
    assert old.machine.commands == [b"a", b"b", b"c"]


def test_wrong_number_of_results() -> None:
    node = Node().lead()
    outcome = node.propose(b"a", b"b")
    node.machine.wrong = True
    with pytest.raises(MisuseError, match="1 results for 2 commands"):
        node.ack()
    assert isinstance(node.driver.failed, MisuseError)
    assert kinds(outcome) == ["unknown"]


def test_types_of_commands() -> None:
    node = Node().lead()
    for commands in ([1], ["a"], None, 7):
        outcomes: list[Outcome] = []
        with pytest.raises(TypeError):
            node.driver.propose(commands, outcomes.append)  # type: ignore[arg-type]
        assert outcomes == []
    assert kinds(node.propose(b"a")) == []
    node.ack()
    assert node.driver.failed is None


# --- forwarded proposals ---------------------------------------------------------------------


def test_forwarded() -> None:
    net = Net(3)
    net.elect(1)
    outcome = net.nodes[2].propose(b"a", b"b")
    net.settle()
    assert [(one.kind, one.results) for one in outcome] == [("applied", [0, 1])]


def forwarded(node: Node, *commands: bytes) -> tuple[list[Outcome], Propose]:
    outcome = node.propose(*commands)
    (message,) = [message for message in node.take() if isinstance(message, Propose)]
    return outcome, message


def test_forwarded_and_refused() -> None:
    node = Node().follow()
    outcome, message = forwarded(node, b"a")
    node.driver.receive(ProposeReply(2, 1, 1, message.ticket, 0))
    assert [(one.kind, one.leader) for one in outcome] == [("refused", 2)]


def test_forwarded_and_lost() -> None:
    """Placed by the leader, and then another leader has another entry there."""
    node = Node().follow()
    outcome, message = forwarded(node, b"a")
    node.driver.receive(ProposeReply(2, 1, 1, message.ticket, 1))
    node.append([2], prev=(0, 0), commit=1, leader=3)
    assert kinds(outcome) == ["refused"]


def test_forwarded_and_never_answered() -> None:
    node = Node(config=replace(PLAIN, election_ticks=1000), patience_ticks=20).follow()
    outcome, message = forwarded(node, b"a")
    for _ in range(41):
        node.driver.tick()
    assert kinds(outcome) == ["unknown"]
    node.driver.receive(ProposeReply(2, 1, 1, message.ticket, 1))  # too late
    node.append([1], prev=(0, 0), commit=1)
    assert len(outcome) == 1


def test_forwarded_and_applied_before_the_answer() -> None:
    node = Node().follow()
    outcome, message = forwarded(node, b"a")
    node.append([1], prev=(0, 0), commit=1)
    node.driver.receive(ProposeReply(2, 1, 1, message.ticket, 1))
    assert kinds(outcome) == ["unknown"]


def test_forwarded_to_who_leads_no_more() -> None:
    net = Net(3, patience_ticks=10)
    net.elect(1)
    outcome, message = forwarded(net.nodes[2], b"a")
    net.elect(3)
    net.nodes[1].driver.receive(message)
    net.settle()
    assert outcome == []
    net.tick(25)
    assert kinds(outcome) == ["unknown"]
    assert net.nodes[1].machine.commands == []


# --- reads -----------------------------------------------------------------------------------


def test_a_read_waits_for_its_round() -> None:
    node = Node().lead()
    outcome = node.read()
    assert outcome == []
    node.ack()
    assert kinds(outcome) == ["applied"]


def test_a_read_waits_until_its_index_is_applied() -> None:
    node = Node(config=replace(PLAIN, check_quorum=False)).follow()
    outcome = node.read()
    (request,) = node.take()
    node.append([1, 1], prev=(0, 0))
    node.driver.receive(ReadReply(2, 1, 1, request.context, 2))
    assert outcome == []
    node.append([], prev=(2, 1), commit=1)
    assert outcome == []
    node.append([], prev=(2, 1), commit=2)
    assert kinds(outcome) == ["applied"]
    assert len(node.machine.commands) == 2


def test_a_read_sees_every_write_that_was_answered_before_it() -> None:
    net = Net(3)
    leader = net.elect(1)
    for at in range(5):
        written = leader.propose(b"%d" % at)
        while not written:
            net.settle()
        seen: list[int] = []
        reader = net.nodes[2 + at % 2]
        reader.driver.read(
            lambda outcome, reader=reader, seen=seen: seen.append(len(reader.machine.commands))
        )
        net.settle()
        net.tick()
        assert seen == [at + 1]


def test_reads_at_once_under_a_lease() -> None:
    net = Net(3, Config(election_ticks=10, heartbeat_ticks=2, lease=True), patience_ticks=1000)
    leader = net.elect(1)
    assert not net.nodes[2].driver.reads_now()
    net.tick(4)
    assert leader.driver.reads_now()
    net.cut(1)
    outcomes = leader.propose(b"waits")
    net.settle()
    assert leader.driver.reads_now(), "what is not acknowledged need not be seen"
    leader.driver.tick(10)
    assert not leader.driver.reads_now(), "others may lead by now"
    net.heal()
    net.tick(4)
    assert kinds(outcomes) == ["applied"]
    assert leader.driver.reads_now()


def test_no_read_at_once_before_what_is_committed_is_applied() -> None:
    node = Node(config=replace(PLAIN, check_quorum=True, lease=True)).lead()
    node.driver.tick(2)
    node.ack()
    assert node.driver.reads_now()
    node.disk.lazy = True
    node.propose(b"acknowledged by the others before it is durable here")
    node.ack(2)
    node.ack(3)
    assert node.core.commit > node.core.last_applied
    assert not node.driver.reads_now()
    node.disk.complete()
    assert node.core.commit == node.core.last_applied
    assert node.driver.reads_now()
    node.driver.failed = StorageError("the disk is broken")
    assert not node.driver.reads_now()


def test_the_next_in_line_does_not_wait_for_the_leader_that_died() -> None:
    """Those who should rather not lead let the others go first, but not the one that is silent."""
    config = Config(election_ticks=10, heartbeat_ticks=2, priorities={1: 3, 2: 2})
    for seed in range(20):
        net = Net(3, config, seed=seed)
        net.elect(1)
        net.tick(5)
        net.cut(1)
        first = {id: net.nodes[id].core.deadline - net.nodes[id].core.now for id in (2, 3)}
        assert first[2] <= 2 * config.election_ticks
        assert first[3] >= 2 * config.election_ticks - config.heartbeat_ticks


def test_slack_for_long_round_trips_lengthens_elections_but_no_lease() -> None:
    config = Config(election_ticks=10, heartbeat_ticks=2, lease=True)
    net = Net(3, config)
    for node in net.nodes.values():
        node.core.slack_ticks = 40
    leader = net.elect(1)
    net.tick(5)
    net.cut(1)
    follower = net.nodes[2].core
    assert follower.deadline - follower.now >= 40
    leader.driver.tick(config.lease_ticks + 1)
    assert not leader.driver.reads_now()
    leader.driver.tick(config.election_ticks)
    assert leader.core.role == "leader", "it waits longer for its quorum"
    leader.driver.tick(60)
    leader.driver.tick(60)
    assert leader.core.role == "follower"


def test_reads_are_refused() -> None:
    (outcome,) = Node().read()  # no leader
    assert (outcome.kind, outcome.leader) == ("refused", None)
    node = Node(config=replace(PLAIN, max_pending_reads=1)).lead()
    node.read()
    assert kinds(node.read()) == ["refused"]
    node = Node().lead()
    outcome_later = node.read()
    node.follow(2)  # deposed meanwhile
    assert [(one.kind, one.leader) for one in outcome_later] == [("refused", 2)]
    node = Node().follow()
    outcome_later = node.read()
    (request,) = node.take()
    node.driver.receive(ReadReply(2, 1, 1, request.context, 0))
    assert kinds(outcome_later) == ["refused"]


def test_a_read_is_given_up() -> None:
    node = Node(config=replace(PLAIN, election_ticks=1000), patience_ticks=20).follow()
    outcome = node.read()
    for _ in range(41):
        node.driver.tick()
    assert kinds(outcome) == ["refused"]


def test_an_answer_of_an_earlier_life_is_not_taken() -> None:
    """The messages of a node that has crashed may still be under way."""
    node = Node(seed=1).follow()
    node.append([1, 1], prev=(0, 0), commit=2)
    node.take()
    node.read()
    (old,) = node.take()
    again = Node(disk=node.disk, seed=2)
    again.follow()
    outcome = again.read()
    again.driver.receive(ReadReply(2, 1, 1, old.context, 1))
    assert outcome == []


def test_a_read_that_waits_for_an_entry_which_never_comes_is_given_up() -> None:
    node = Node(config=replace(PLAIN, election_ticks=1000), patience_ticks=20).follow()
    outcome = node.read()
    (request,) = node.take()
    node.driver.receive(ReadReply(2, 1, 1, request.context, 5))
    assert outcome == []
    for _ in range(41):
        node.driver.tick()
    assert kinds(outcome) == ["refused"]
    node.append([1] * 5, prev=(0, 0), commit=5)
    assert len(outcome) == 1


def test_a_repeated_answer_is_told_once() -> None:
    node = Node().follow()
    outcome = node.read()
    (request,) = node.take()
    for _ in range(3):
        node.driver.receive(ReadReply(2, 1, 1, request.context, 0))
    assert kinds(outcome) == ["refused"]


# --- snapshots -------------------------------------------------------------------------------


def test_snapshots_are_taken_by_size() -> None:
    net = Net(3, snapshot_bytes=2000, keep_entries=5)
    leader = net.elect(1)
    for at in range(100):
        leader.propose(b"%d" % at * 20)
        net.settle()
    for node in net.nodes.values():
        taken = [index for what, index in node.trace if what == "save"]
        assert 2 <= len(taken) <= 6
        assert node.core.log.base == taken[-1] - 5
        assert node.disk.load().log.base == taken[-1] - 5
        assert node.disk.load().snapshot.index == taken[-1]


def test_one_snapshot_at_a_time() -> None:
    node = Node(keep_entries=0).lead()
    node.propose(b"a")
    node.ack()
    node.disk.lazy = True
    node.driver.take_snapshot()
    node.driver.take_snapshot()
    assert len(node.disk.waiting) == 1
    assert node.core.log.base == 0  # not before it is durable
    node.disk.complete()
    assert (node.core.log.base, node.core.snapshot.index) == (2, 2)
    node.driver.take_snapshot()  # there is nothing new
    assert not node.disk.waiting


def test_no_snapshot_is_made_before_the_storage_can_save_it() -> None:
    """So that it does not wait in memory; it is taken later."""
    node = Node(keep_entries=0, snapshot_bytes=50)
    node.disk.takes_snapshots = False
    node.lead()
    for _ in range(3):
        node.propose(b"a" * 50)
        node.ack()
    node.driver.take_snapshot()
    assert node.core.last_applied == 4
    assert node.core.log.base == 0
    node.disk.takes_snapshots = True
    node.driver.tick()
    assert node.core.log.base == 4


def test_a_snapshot_is_restored_in_the_next_life() -> None:
    net = Net(3, keep_entries=0)
    leader = net.elect(1)
    leader.propose(b"a", b"b")
    net.settle()
    leader.driver.take_snapshot()
    again = Node(1, disk=leader.disk, seed=7)
    assert again.machine.commands == [b"a", b"b"]
    assert again.core.last_applied == 3


@pytest.mark.parametrize("lazy", [False, True])
def test_a_snapshot_arrives(lazy: bool) -> None:
    """Written, restored, answered, in this order; what waited for its entries is told."""
    net = Net(3, replace(PLAIN, snapshot_chunk_bytes=4), keep_entries=0)
    leader = net.elect(1)
    net.cut(3)
    leader.propose(*(b"%d" % at for at in range(20)))
    net.settle()
    leader.driver.take_snapshot()
    late = net.nodes[3]
    late.trace.clear()
    late.disk.lazy = lazy
    net.heal()
    for _ in range(4):
        leader.driver.tick()
        net.settle(lazy)
    assert late.machine.commands == leader.machine.commands
    assert late.core.last_applied == leader.core.last_applied
    whats = [what for what, _ in late.trace]
    restored = whats.index("restore")
    assert whats.count("restore") == 1
    assert whats[restored - 1] == "write"
    assert late.trace[restored + 1] == ("send", "SnapshotReply")
    assert "apply" not in whats[: restored + 1]
    leader.propose(b"more")
    net.settle(lazy)
    net.tick()
    net.settle(lazy)
    assert late.machine.commands[-1] == b"more"


def test_a_witness_has_no_state_machine() -> None:
    node = Node(machine=None)
    node.core = Raft(1, Membership([1, 2, 3], witnesses=[1]), config=PLAIN)
    node.driver = Driver(node.core, node.disk, node, None, snapshot_bytes=100, keep_entries=0)
    node.follow()
    for at in range(20):
        node.append([1], prev=(at, min(at, 1)), commit=at)
    assert node.driver.failed is None
    assert node.core.last_applied == node.core.commit == 19
    assert node.core.log.base > 0


# --- the surroundings fail -------------------------------------------------------------------


def test_a_disk_that_fails() -> None:
    node = Node().lead()
    first = node.propose(b"a")
    node.disk.broken = True
    outcomes: list[Outcome] = []
    with pytest.raises(StorageError, match="broken"):
        node.driver.propose([b"b"], outcomes.append)
    assert isinstance(node.driver.failed, StorageError)
    reads: list[Outcome] = []
    node.take()
    # Nothing is done any more, and those who wait are told; who asks again, too.
    assert kinds(first) == ["unknown"]
    assert kinds(outcomes) == ["unknown"]
    assert kinds(node.propose(b"c")) == ["refused"]
    node.driver.read(reads.append)
    assert kinds(reads) == ["refused"]
    node.disk.broken = False
    node.driver.tick(100)
    node.driver.receive(AppendReply(2, 1, 1, node.core.log.last, node.core.round))
    node.driver.pump()
    assert node.sent == []
    assert node.machine.commands == []


def test_a_disk_that_fails_later() -> None:
    """It says so by `failed`; what was under way is never completed."""
    node = Node().lead()
    node.disk.lazy = True
    outcome = node.propose(b"a")
    read = node.read()
    node.disk.waiting.clear()
    node.disk.failed = StorageError("the disk is gone")
    node.take()
    node.driver.tick()
    assert node.driver.failed is node.disk.failed
    assert (kinds(outcome), kinds(read)) == (["unknown"], ["refused"])
    assert node.sent == []


def test_a_write_that_completes_after_the_failure_changes_nothing() -> None:
    node = Node().lead()
    node.disk.lazy = True
    node.propose(b"a")
    node.disk.failed = StorageError("gone")
    node.driver.tick()
    node.take()
    node.disk.complete()
    assert node.sent == []
    assert node.core.stable == 1


def test_a_state_machine_that_fails() -> None:
    node = Node().lead()
    outcome = node.propose(b"a")
    node.machine.broken = True
    with pytest.raises(ZeroDivisionError):
        node.ack()
    assert isinstance(node.driver.failed, ZeroDivisionError)
    assert kinds(outcome) == ["unknown"]
    assert node.core.last_applied == 1
    node.take()
    node.driver.tick(100)
    assert node.sent == []


def test_a_state_machine_that_cannot_be_restored() -> None:
    net = Net(3, keep_entries=0)
    leader = net.elect(1)
    net.cut(3)
    leader.propose(b"a")
    net.settle()
    leader.driver.take_snapshot()
    net.heal()
    net.nodes[3].machine.broken = True
    with pytest.raises(ZeroDivisionError):
        net.tick(5)
    assert isinstance(net.nodes[3].driver.failed, ZeroDivisionError)
    # The others go on.
    net.cut(3)
    outcome = leader.propose(b"b")
    net.settle()
    assert kinds(outcome) == ["applied"]


# --- the rest of the surface -----------------------------------------------------------------


def test_changes_and_transfers_go_out_at_once() -> None:
    net = Net(4)
    leader = net.elect(1)
    index = leader.driver.change_config(ConfChange(remove=[4]))
    net.settle()
    assert net.nodes[2].core.membership_index == index
    leader.driver.transfer(2)
    assert any(isinstance(message, TimeoutNow) for message in leader.sent)
    net.settle()
    assert net.nodes[2].core.role == "leader"


def test_a_driver_elects_by_itself() -> None:
    net = Net(3, Config())
    net.tick(60)
    (leader,) = [node for node in net.nodes.values() if node.core.role == "leader"]
    outcome = leader.propose(b"a")
    net.settle()
    assert kinds(outcome) == ["applied"]
    assert "applied" in repr(outcome[0])
