"""Where commands are executed, and what becomes of them when leaders are lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import node_group
import pytest
from node_group import CONFIG, NAMES, TICK_S, Answer, NodeGroup

from ringleader.consensus.driver import Outcome
from ringleader.errors import StorageError
from ringleader.limits import SHARD_QUEUE_COMMANDS_MAX
from ringleader.node import internal
from ringleader.node import shard as shard_module
from ringleader.node.codec import Response
from ringleader.node.replies import ReplyError, pack
from ringleader.node.router import UNCERTAIN, Router
from ringleader.node.routing import PENDING, Origin
from ringleader.node.service import Service
from ringleader.node.session import Session
from ringleader.node.shard import BUSY, Shard


def code(replies: list[Any]) -> str:
    """The first word of an error."""
    (reply,) = replies
    assert isinstance(reply, ReplyError), reply
    return reply.text.split()[0]


@pytest.fixture
def group() -> NodeGroup:
    made = NodeGroup()
    made.lead("a")
    return made


# --- where ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_any_node_answers(group: NodeGroup, name: str) -> None:
    written = group[name].ask("SET", "k", "v")
    group.settle()
    assert written == ["OK"]
    read = group[name].ask("GET", "k")
    group.settle()
    assert read == [b"v"]


def test_the_leader_reads_at_once_under_its_lease(group: NodeGroup) -> None:
    group[NAMES[0]].ask("SET", "k", "v")
    group.settle()
    assert group["a"].ask("GET", "k") == [b"v"]
    assert not group.messages


def test_a_node_without_a_replica_finds_the_leader() -> None:
    group = NodeGroup(hosts=(NAMES, ("a", "b")))
    group.lead("b", 1)
    written = group["c"].ask("SET", "1", "v")
    group.settle()
    group.tick(3)
    assert written == ["OK"]
    group.lead("a", 1)
    read = group["c"].ask("GET", "1")
    group.tick(3)
    assert read == [b"v"]
    assert group["c"].router.leader_of(1) == "a"


def test_claims_of_nodes_without_a_replica_or_of_no_shard_say_nothing() -> None:
    group = NodeGroup(hosts=(NAMES, ("a", "b")))
    group.lead("a", 1)
    group.tick()
    router = group["c"].router
    router.learn_claims("c", [(1, 10**6)])
    router.learn_claims("b", [(7, 10**6), (-1, 5)])
    assert router.leader_of(1) == "a"
    router.learn_claims("b", [(1, 0)])
    assert router.leader_of(1) == "a", "an older term"


# --- order ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_pipeline_is_executed_in_order(group: NodeGroup, name: str) -> None:
    node = group[name]
    replies = [
        node.ask("SET", "k", "1"),
        node.ask("GET", "k"),
        node.ask("INCR", "k"),
        node.ask("GET", "k"),
        node.ask("DEL", "k"),
        node.ask("GET", "k"),
    ]
    group.settle()
    assert [got for (got,) in replies] == ["OK", b"1", 2, b"2", 1, None]


def test_reads_of_another_connection_do_not_wait(group: NodeGroup) -> None:
    node = group["a"]
    node.ask("SET", "k", "1")
    assert node.ask("GET", "k", origin=Origin(0.5)) == [None]
    group.settle()
    assert node.ask("GET", "k", origin=Origin(0.5)) == [b"1"]


def test_commands_of_one_turn_are_one_entry(group: NodeGroup) -> None:
    shard = group["a"].shards[0]
    before = shard.core.log.last
    replies = [group["a"].ask("INCR", "k") for _ in range(100)]
    group.settle()
    assert [got for (got,) in replies] == list(range(1, 101))
    assert shard.core.log.last == before + 1


def test_large_values_make_several_entries(group: NodeGroup) -> None:
    shard = group["a"].shards[0]
    before = shard.core.log.last
    value = bytes(1_500_000)
    replies = [group["a"].ask("SET", f"k{at}", value) for at in range(5)]
    replies += [group["a"].ask("STRLEN", "k4")]
    group.settle()
    assert [got for (got,) in replies] == ["OK"] * 5 + [1_500_000]
    assert shard.core.log.last > before + 1


def test_a_queue_that_is_full_says_so(group: NodeGroup) -> None:
    node = group["a"]
    for _ in range(SHARD_QUEUE_COMMANDS_MAX):
        node.ask("INCR", "k")
    assert node.ask("INCR", "k") == [BUSY]
    group.settle()
    assert node.ask("INCR", "k") != [BUSY]
    group.settle()
    assert node.ask("GET", "k") == [b"%d" % (SHARD_QUEUE_COMMANDS_MAX + 1)]


# --- when leaders are lost ----------------------------------------------------------------------


def test_without_a_leader_commands_wait_and_are_done_in_order() -> None:
    group = NodeGroup()
    replies = [group["b"].ask("APPEND", "k", letter) for letter in "abc"]
    replies.append(group["b"].ask("GET", "k"))
    group.settle()
    assert replies == [[], [], [], []]
    group.tick(60)
    assert [got for (got,) in replies] == [1, 2, 3, b"abc"]
    assert group["b"].router.parked == 0


def test_without_a_leader_for_long_commands_are_refused() -> None:
    group = NodeGroup()
    for name in "bc":
        group[name].up = False
    written = group["a"].ask("SET", "k", "v")
    read = group["a"].ask("GET", "k")
    group.tick(90)
    assert written == read == []
    group.tick(30)
    assert code(written) == code(read) == "CLUSTERDOWN"


def test_a_write_that_the_old_leader_cannot_finish_is_not_lost_and_not_doubled(
    group: NodeGroup,
) -> None:
    """The next leader does not have it: it was refused there, and is tried again."""
    group.cut("a")
    written = group["a"].ask("APPEND", "k", "x")
    group.settle()
    assert written == []
    group.lead("b")
    group.cuts = set()
    group.tick(40)
    assert written in ([1], []) or code(written) == "UNCERTAIN"
    group.tick(200)
    read = group["c"].ask("GET", "k")
    group.tick(5)
    assert written
    if written == [1]:
        assert read == [b"x"]


def test_an_answer_that_is_lost_is_uncertain_for_writes_only(group: NodeGroup) -> None:
    group.mute.add("a")
    written = group["b"].ask("SET", "k", "v")
    read = group["b"].ask("GET", "k", origin=Origin(0.5))
    group.settle()
    assert code(written) == "UNCERTAIN"
    assert read == []
    group.mute.clear()
    group.tick(3)
    assert read == [b"v"]


def test_a_leader_that_is_silent_is_not_waited_for_once_another_leads(group: NodeGroup) -> None:
    group.lead("a")
    group["b"].ask("SET", "k", "before")
    group.settle()
    group.held["a"] = []
    written = group["b"].ask("SET", "k", "after")
    read = group["b"].ask("GET", "k", origin=Origin(0.0))
    group.settle()
    group.cut("a")
    assert (written, read) == ([], [])
    for _ in range(200):
        group.tick()
        if written and read:
            break
    assert written == [UNCERTAIN]
    assert read == [b"before"]
    # What it says in the end comes too late to be anybody's answer.
    for done in group.held["a"]:
        done(Response(0, "done", pack("OK")))
    assert (len(written), len(read)) == (1, 1)


def test_an_answer_to_an_earlier_attempt_comes_too_late(group: NodeGroup) -> None:
    group["b"].ask("SET", "k", "v")
    group.settle()
    group.held["a"] = []
    origin = Origin(0.0)
    read = group["b"].ask("GET", "k", origin=origin)
    group.settle()
    group.cut("a")
    group.held["c"] = []
    while not group.held["c"]:
        group.tick()
        if group["b"].shards[0].leads:
            group.lead("c")
    for done in group.held["a"]:
        done(Response(0, "refused"))
    assert group["b"].router.parked == 0
    assert origin.remote == {0: (1, "c", 0)}
    for done in group.held["c"]:
        done(Response(0, "done", pack(b"v")))
    assert read == [b"v"]
    assert not origin.remote


def test_a_pipeline_keeps_its_order_while_leadership_moves(group: NodeGroup) -> None:
    """What the old leader may give back goes first."""
    group.lead("a")
    group.held["a"] = []
    first = group["b"].ask("SET", "k", "1")
    group.settle()
    held = group.held.pop("a")
    group.lead("c")
    group.tick(3)
    second = group["b"].ask("SET", "k", "2")
    group.tick(3)
    assert (first, second) == ([], [])
    for done in held:
        done(Response(0, "refused", b"", "c"))
    group.tick(5)
    assert (first, second) == (["OK"], ["OK"])
    assert group["c"].ask("GET", "k") == [b"2"]


def test_a_pipeline_keeps_its_order_when_this_node_comes_to_lead(group: NodeGroup) -> None:
    group.lead("a")
    group.held["a"] = []
    first = group["b"].ask("SET", "k", "1")
    group.settle()
    held = group.held.pop("a")
    group.lead("b")
    second = group["b"].ask("SET", "k", "2")
    third = group["b"].ask("GET", "k")
    group.tick(3)
    assert (first, second, third) == ([], [], [])
    for done in held:
        done(Response(0, "refused", b"", "b"))
    group.tick(5)
    assert (first, second, third) == (["OK"], ["OK"], [b"2"])


def test_a_pipeline_keeps_its_order_when_this_node_loses_the_lead(group: NodeGroup) -> None:
    group.lead("b")
    group.cut("b")
    first = group["b"].ask("SET", "k", "1")
    group["b"].turn()
    for _ in range(200):
        group.tick()
        if group["a"].router.claims() or group["c"].router.claims():
            break
    group.cuts.clear()
    second = group["b"].ask("SET", "k", "2")
    group.tick(50)
    assert second == ["OK"]
    assert first
    answer = group["c"].ask("GET", "k", origin=Origin(0.0))
    group.tick(3)
    assert answer == [b"2"]


def test_a_leader_that_was_stopped_knows_that_its_lease_is_over(group: NodeGroup) -> None:
    group["a"].ask("SET", "k", "old")
    group.settle()
    group["a"].up = False
    for _ in range(60):
        group.tick()
    written = group["b"].ask("SET", "k", "new")
    group.tick(60)
    assert written == ["OK"]
    group["a"].up = True
    read = group["a"].ask("GET", "k")
    assert read == [], "no tick was reported, but time has passed"
    group.tick(30)
    assert read == [b"new"]


def test_a_replica_whose_disk_failed_leaves_its_commands_to_the_others(group: NodeGroup) -> None:
    node = group["a"]
    node.shards[0].driver.failed = StorageError("no space")
    written = node.ask("SET", "k", "v")
    group.settle()
    assert written == []
    assert node.router.shards == [None]
    group.tick(90)
    assert written == ["OK"]
    assert b"k" not in node.shards[0].store.data
    assert group["b"].shards[0].store.data[b"k"] == b"v"


# --- what is given back -------------------------------------------------------------------------


class Proposals:
    """A shard's driver, but proposals wait for the test to say what becomes of them."""

    def __init__(self, shard: Shard) -> None:
        self.inner: Any = shard.driver
        self.dones: list[Callable[[Outcome], None]] = []
        #: What becomes of all of them at once; "": nothing.
        self.kind = ""
        self.count = 0
        shard.driver = self  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def propose(self, payloads: Any, done: Callable[[Outcome], None]) -> None:
        self.count += 1
        if self.kind:
            done(Outcome(self.kind, leader="a"))
        else:
            self.dones.append(done)


def test_a_read_does_not_overtake_a_write_that_was_given_back(group: NodeGroup) -> None:
    """As each planned transfer gives writes back: they are tried again on the new leader."""
    node = group["a"]
    node.ask("SET", "k", "old")
    group.settle()
    written = node.ask("SET", "k", "new")
    node.shards[0].driver.transfer("c")
    node.turn()
    assert node.router.parked == 1
    while not any(to == "c" for _, to, _, _ in group.wire):
        group.settle()
        for each in group.nodes.values():
            each.time.pass_s(TICK_S)
            each.time.catch_up()
            each.router.tick()
    read = node.ask("GET", "k")
    assert [request.mode for _, _, request, _ in group.wire] == ["write", "ordered"]
    group.settle()
    group.tick(3)
    assert (written, read) == (["OK"], [b"new"])


def test_nothing_overtakes_what_was_refused(group: NodeGroup) -> None:
    """The rest of a pipeline is on its way when its first command is refused, and room is made, or
    the node comes to lead."""
    node = group["b"]
    replies = [node.ask("SET", "k", "1"), node.ask("SET", "k", "2"), node.ask("GET", "k")]
    (_, _, request, done), *group.wire = group.wire
    respond = group.responders["b", "a"]
    respond.calls[request.id] = done
    respond.refuse(request.id, 0, request.epoch)
    assert node.router.parked == 1
    replies.append(node.ask("APPEND", "k", "3"))
    group.settle()
    assert replies == [[], [], [], []]
    group.tick(3)
    assert replies == [["OK"], ["OK"], [b"2"], [2]]
    other = node.ask("GET", "k", origin=Origin(0.0))
    group.settle()
    assert other == [b"23"]


def test_nothing_overtakes_what_found_no_room(group: NodeGroup) -> None:
    node = group["b"]
    group.choked.add("a")
    replies = [node.ask("SET", "k", "1")]
    group.choked.clear()
    replies += [node.ask("SET", "k", "2"), node.ask("GET", "k")]
    assert not group.wire
    group.settle()
    group.tick(3)
    assert replies == [["OK"], ["OK"], [b"2"]]


def test_what_is_given_back_takes_along_what_came_after_it(group: NodeGroup) -> None:
    node, shard = group["a"], group["a"].shards[0]
    driver = Proposals(shard)
    replies = [node.ask("APPEND", "k", "1")]
    node.turn()
    replies.append(node.ask("APPEND", "k", "2"))
    node.turn()
    assert (len(driver.dones), shard.queued) == (1, 1)
    shard.core.campaign()  # so that this was no leader without room
    driver.dones[0](Outcome("refused"))
    assert (node.router.parked, shard.queued, shard.settled) == (2, 0, 2)
    shard.driver = driver.inner
    group.tick(30)
    assert replies == [[1], [2]]


def test_commands_are_given_back_in_their_order(group: NodeGroup) -> None:
    """A later batch that ends first waits for the earlier one; nothing is proposed meanwhile."""
    node, shard = group["a"], group["a"].shards[0]
    driver = Proposals(shard)
    first = node.ask("SET", "k", "1")
    node.turn()
    group.nodes["a"].time.pass_s(1.0)
    second = node.ask("SET", "k", "2")
    node.turn()
    assert len(driver.dones) == 2
    driver.dones[1](Outcome("refused"))
    assert (node.router.parked, shard.settled) == (0, 0)
    third = node.ask("SET", "k", "3")
    node.time.pass_s(1.0)
    shard.flush()
    assert (len(driver.dones), shard.queued) == (2, 1)
    driver.dones[0](Outcome("applied", [["OK"]]))
    assert (first, second, third) == (["OK"], [], [])
    assert (node.router.parked, shard.queued, shard.settled) == (2, 0, 3)


def test_a_batch_waits_for_those_of_an_earlier_term(group: NodeGroup) -> None:
    """They may be given back, and go first then."""
    node, shard = group["a"], group["a"].shards[0]
    driver = Proposals(shard)
    node.ask("SET", "k", "1")
    node.turn()
    shard.driver = driver.inner
    group.lead("b")
    group.lead("a")
    shard.driver = driver  # type: ignore[assignment]
    node.ask("SET", "k", "2")
    node.time.pass_s(1.0)
    assert shard.flush()
    driver.dones.pop()(Outcome("refused"))
    assert (driver.count, node.router.parked) == (1, 2)


def test_patience_is_not_renewed(group: NodeGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shard, "is_pressed", False)
    node = group["a"]
    driver = Proposals(node.shards[0])
    driver.kind = "refused"
    written = node.ask("SET", "k", "v")
    group.settle()
    group.tick(95)
    assert written == []
    group.tick(10)
    assert code(written) == "CLUSTERDOWN"
    assert driver.count <= 110


def test_too_much_under_way_is_said_at_once(group: NodeGroup) -> None:
    node = group["a"]
    driver = Proposals(node.shards[0])
    driver.kind = "refused"
    written = node.ask("SET", "k", "v")
    group.settle()
    assert written == [BUSY]
    assert (driver.count, node.router.parked) == (1, 0)


def test_uncommitted_bytes_max(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_group, "CONFIG", replace(CONFIG, max_uncommitted_bytes=1000))
    group = NodeGroup()
    group.lead("a")
    group.cut("a")
    node = group["a"]
    first = node.ask("SET", "k", bytes(900))
    node.turn()
    second = node.ask("SET", "k", bytes(900))
    node.time.pass_s(0.005)
    node.shards[0].flush()
    assert (first, second) == ([], [BUSY])


def test_a_node_that_stood_still_refuses_what_nobody_waits_for(group: NodeGroup) -> None:
    node = group["b"]
    written = node.ask("SET", "k", "v")
    group["a"].time.seconds += 1.5
    group.settle()
    assert written == []
    assert b"k" not in group["a"].shards[0].store.data


def test_a_waiter_that_fails_fails_nobody_else(
    group: NodeGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = group["a"]
    resolve = Answer.resolve
    monkeypatch.setattr(
        Answer,
        "resolve",
        lambda self, reply: 1 // 0 if reply == 2 else resolve(self, reply),
    )
    replies = [node.ask("INCR", "k") for _ in range(3)]
    group.settle()
    assert (replies[0], replies[2]) == ([1], [3])
    assert code(replies[1]) == "UNCERTAIN"
    assert node.shards[0].driver.failed is None
    assert node.ask("GET", "k") == [b"3"]


def test_reads_that_wait_are_bounded(group: NodeGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_module, "SHARD_QUEUE_COMMANDS_MAX", 3)
    group.cut("a")
    group["a"].up = False
    group["a"].time.pass_s(0.2)
    group["a"].up = True
    reads = [group["a"].ask("GET", "k", origin=Origin(0.5)) for _ in range(5)]
    assert reads == [[], [], [], [BUSY], [BUSY]]


def test_commands_of_uncertain_outcome_are_counted(group: NodeGroup) -> None:
    group.mute.add("a")
    group["b"].ask("SET", "k", "v")
    group.settle()
    assert group["b"].router.uncertain == 1


# --- memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_no_memory_left(group: NodeGroup, name: str) -> None:
    """The leader's is what counts, whoever asks it."""
    node = group[name]
    node.ask("SET", "k", "v")
    node.ask("SET", "lock", "mine")
    group.settle()
    group["a"].router.is_full = True

    def ask(*args: bytes | str) -> Any:
        reply = node.ask(*args)
        group.settle()
        return reply

    def transaction(*words: bytes) -> list[bytes]:
        return [b"EXEC", *internal.exec_args([], [list(words)])[1:]]

    for args in (
        ("SET", "l", "v"), ("APPEND", "k", "v"), ("HSET", "h", "f", "v"), ("INCR", "n"),
        transaction(b"SET", b"k", b"w"),
    ):  # fmt: skip
        assert code(ask(*args)) == "OOM"
    assert ask("GET", "k") == [b"v"]
    assert ask("LOCK.RELEASE", "lock", "mine") == [1]
    assert ask("PEXPIRE", "k", "1000") == [1]
    assert ask(*transaction(b"DEL", b"k")) == [[1]]


def test_a_node_without_memory_hands_on_what_others_can_hold(group: NodeGroup) -> None:
    group["b"].router.is_full = True
    written = group["b"].ask("SET", "k", "v")
    group.settle()
    assert written == ["OK"]


def test_commands_that_are_parked_find_no_memory_either() -> None:
    group = NodeGroup()
    group["a"].router.is_full = True
    written = group["a"].ask("SET", "k", "v")
    group.lead("a")
    group.tick(3)
    assert code(written) == "OOM"


# --- expiry -----------------------------------------------------------------------------------


def test_a_read_of_a_key_that_is_due_goes_through_the_log(group: NodeGroup) -> None:
    node = group["a"]
    node.ask("SET", "k", "v", "PX", "50")
    group.settle()
    assert node.ask("GET", "k") == [b"v"]
    node.time.wall += 50
    before = node.shards[0].core.log.last
    read = node.ask("GET", "k")
    assert read == []
    group.settle()
    assert read == [None]
    assert node.shards[0].core.log.last == before + 1
    assert all(b"k" not in other.shards[0].store.data for other in group.nodes.values())


def test_keys_expire_without_anybody_asking(group: NodeGroup) -> None:
    node = group["a"]
    node.ask("SET", "k", "v", "PX", "50")
    group.settle()
    node.shards[0].attend()
    group.settle()
    assert b"k" in node.shards[0].store.data
    node.time.wall += 60
    group["b"].shards[0].attend()
    group.settle()
    assert b"k" in node.shards[0].store.data, "only the leader decides"
    for _ in range(2):
        node.shards[0].attend()
    group.settle()
    assert all(b"k" not in other.shards[0].store.data for other in group.nodes.values())


def test_time_goes_on_after_a_leader_whose_clock_was_ahead(group: NodeGroup) -> None:
    """Its time stays, and keys expire by it, a little later than they should."""
    for node in group.nodes.values():
        node.time.wall = 10_000_000
    group["a"].time.wall += 3_600_000
    group["a"].ask("SET", "k", "v")
    group.settle()
    group.lead("b")
    leader = group["b"]
    leader.ask("SET", "lock", "x", "PX", "1000")
    group.settle()
    group.tick(60)
    [left] = leader.ask("PTTL", "lock")
    assert 350 <= left <= 450
    leader.shards[0].attend()
    group.settle()
    assert leader.ask("GET", "lock") == [b"x"]
    group.tick(60)
    leader.shards[0].attend()
    group.settle()
    for node in group.nodes.values():
        assert b"lock" not in node.shards[0].store.data
    leader.time.wall = 20_000_000
    assert leader.shards[0].time_ms() == 20_000_000


# --- READONLY ---------------------------------------------------------------------------------


def test_stale_reads_are_local_and_within_their_bound(group: NodeGroup) -> None:
    group["a"].ask("SET", "k", "1")
    group.settle()
    group.tick(10)
    origin = Origin(0.2)
    origin.readonly = True
    first = group["b"].ask("GET", "k", origin=origin)
    assert first == [], "how fresh it is, is not known yet"
    group.settle()
    assert first == [b"1"]
    assert group["b"].ask("GET", "k", origin=origin) == [b"1"]
    group.cut("b")
    group["a"].ask("SET", "k", "2")
    group.settle()
    group.tick(15)
    assert group["b"].ask("GET", "k", origin=origin) == [b"1"]
    group.tick(10)
    late = group["b"].ask("GET", "k", origin=origin)
    group.tick(15)
    assert late == []
    group.tick(10)
    group["b"].shards[0].attend()
    assert code(late) == "STALE"
    group.cuts = set()
    group.tick(30)
    again = group["b"].ask("GET", "k", origin=origin)
    group.tick(3)
    assert again == [b"2"]


def test_stale_reads_hide_what_is_due(group: NodeGroup) -> None:
    group["a"].ask("SET", "k", "v", "PX", "50")
    group.settle()
    group.tick(2)
    origin = Origin(0.5)
    origin.readonly = True
    read = group["b"].ask("GET", "k", origin=origin)
    group.settle()
    assert read == [b"v"]
    group["b"].time.wall += 60
    assert group["b"].ask("GET", "k", origin=origin) == [None]


@pytest.mark.parametrize("is_parked", [False, True])
def test_stale_reads_are_answered_while_no_leader_is_there(
    group: NodeGroup, is_parked: bool
) -> None:
    """That commands of others wait for one does not matter."""
    group["a"].ask("SET", "k", "v")
    group.settle()
    group.tick(10)
    origin = Origin(5.0)
    origin.readonly = True
    group["b"].ask("GET", "k", origin=origin)
    group.settle()
    group["a"].up = group["c"].up = False
    group.tick(40)
    if is_parked:
        group["b"].ask("SET", "k", "w")
        group.settle()
        assert group["b"].router.parked
    assert group["b"].ask("GET", "k", origin=origin) == [b"v"]


def test_stale_reads_are_answered_by_a_leader_without_a_lease(group: NodeGroup) -> None:
    group["a"].ask("SET", "k", "v")
    group.settle()
    group.tick(10)
    group["a"].shards[0].attend()
    group.cut("a")
    group.tick(13)
    assert group["a"].shards[0].leads
    origin = Origin(5.0)
    origin.readonly = True
    assert group["a"].ask("GET", "k", origin=origin) == [b"v"]
    origin.lag_max_s = 0.1
    read = group["a"].ask("GET", "k", origin=origin)
    group.tick(15)
    group["a"].shards[0].attend()
    assert code(read) == "STALE"


def test_reads_that_wait_are_given_back_in_order(group: NodeGroup) -> None:
    """The first was asked of the old leader in vain; the second, of the same connection and not yet
    asked, must not see less than it."""
    old = group["a"]
    old.ask("SET", "k", "1")
    group.settle()
    group.tick(10)
    group.cut("a")
    shard = old.shards[0]
    while shard.driver.reads_now():
        group.tick()
    assert shard.leads
    origin = Origin(0.5)
    first = old.ask("GET", "k", origin=origin)
    group.settle()
    while not any(group[name].shards[0].leads for name in "bc"):
        for name in "bc":
            group[name].time.pass_s(0.01)
            group[name].time.catch_up()
            group[name].router.tick()
        group.settle()
    new = next(group[name] for name in "bc" if group[name].shards[0].leads)
    group.cuts.clear()
    second = old.ask("GET", "k", origin=origin)
    while not any(message.to == "a" for _, message in group.messages):
        new.time.pass_s(0.01)
        new.time.catch_up()
    messages, group.messages = group.messages, []
    for number, message in messages:  # before the turn of the old leader ends
        if message.to == "a":
            old.shards[number].driver.receive(message)
        else:
            group.messages.append((number, message))
    group.settle()
    new.ask("SET", "k", "2")
    group.settle()
    group.tick(30)
    assert first + second in ([b"1", b"1"], [b"1", b"2"], [b"2", b"2"])


def test_stale_reads_that_were_given_back_are_answered(group: NodeGroup) -> None:
    """They waited for the leader that this node was."""
    node = group["a"]
    node.ask("SET", "k", "v")
    group.settle()
    group.tick(10)
    node.shards[0].attend()
    group.cut("a")
    origin = Origin(5.0)
    origin.readonly = True
    errands = [("GET", "k")] * 2
    node.router._parked[0] = []
    replies = [node.ask(*args, origin=Origin(5.0)) for args in errands]
    for errand in node.router._parked[0]:
        errand.origin = origin
    group.tick(25)
    assert replies == [[b"v"], [b"v"]]


# --- WAIT -------------------------------------------------------------------------------------


def test_wait_counts_replicas(group: NodeGroup) -> None:
    node = group["a"]
    node.ask("SET", "k", "v")
    group.settle()
    assert node.router.wait(node.origin, 2, 100, Answer()) == 2
    group.cut("c")
    node.ask("SET", "k", "w")
    group.settle()
    answer = Answer()
    assert node.router.wait(node.origin, 2, 100, answer) is PENDING
    group.tick(11)
    assert answer.got == [1]
    answer = Answer()
    assert node.router.wait(node.origin, 2, 0, answer) is PENDING
    group.cuts = set()
    group.tick(20)
    assert answer.got == [2]
    assert node.router.wait(Origin(0.5), 1, 100, Answer()) == 1


def test_waits_of_clients_that_have_gone_are_dropped(group: NodeGroup) -> None:
    node = group["a"]
    for _ in range(100):
        origin = Origin(0.5)
        node.ask("SET", "k", "v", origin=origin)
        group.settle()
        assert node.router.wait(origin, 9, 0, Answer()) is PENDING
        origin.is_closed = True
    group.tick(2)
    assert len(node.router._waits) <= 1
    group.tick(110)
    assert not node.router._waits


def test_a_session_that_is_closed_waits_for_nothing(group: NodeGroup) -> None:
    cluster: Any = group["a"]
    session = Session(Service(group["a"].router, cluster), lambda session: None)
    session.receive(b"SET k v\r\n")
    group.settle()
    session.drain()
    assert session.take() == b"+OK\r\n"
    session.receive(b"WAIT 9 0\r\n")
    assert len(group["a"].router._waits) == 1
    session.close()
    group.tick(110)
    assert not group["a"].router._waits


def test_waits_are_looked_at_when_something_has_happened(
    group: NodeGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = group["a"]
    looks: list[int] = []
    held = Router._held
    monkeypatch.setattr(Router, "_held", lambda *args: looks.append(1) or held(*args))  # type: ignore[func-returns-value]
    node.ask("SET", "k", "v")
    group.settle()
    answer = Answer()
    assert node.router.wait(node.origin, 3, 600, answer) is PENDING
    group.tick(50)
    assert len(looks) <= 3
    group.tick(11)
    assert answer.got == [2]
