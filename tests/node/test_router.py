"""Where commands are executed, and what becomes of them when leaders are lost."""

from __future__ import annotations

from typing import Any

import pytest
from node_group import NAMES, NodeGroup

from ringleader.errors import StorageError
from ringleader.limits import SHARD_QUEUE_COMMANDS_MAX
from ringleader.node.codec import Response
from ringleader.node.replies import ReplyError, pack
from ringleader.node.router import UNCERTAIN
from ringleader.node.routing import Origin
from ringleader.node.shard import BUSY


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


def test_no_memory_left(group: NodeGroup) -> None:
    node = group["a"]
    node.ask("SET", "k", "v")
    group.settle()
    node.router.is_full = True
    assert code(node.ask("SET", "l", "v")) == "OOM"
    deleted = node.ask("DEL", "k")
    group.settle()
    assert deleted == [1]


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


# --- WAIT -------------------------------------------------------------------------------------


def test_wait_counts_replicas(group: NodeGroup) -> None:
    from node_group import Answer

    from ringleader.node.routing import PENDING

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
