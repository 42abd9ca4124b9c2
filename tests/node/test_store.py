"""What the store's commands answer and change: what a real Redis has no counterpart of, and what
hangs on time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from store_parts import Shard

from ringleader.consensus.ready import BytesSource
from ringleader.limits import (
    CLOCK_MS_MAX,
    COMMAND_BYTES_MAX,
    STORE_KEY_BYTES_MAX,
    STORE_VALUE_BYTES_MAX,
    WATCH_MS,
)
from ringleader.node import commands, internal, store
from ringleader.node.internal import exec_args
from ringleader.node.replies import INT64_MAX, INT64_MIN, NULL_ARRAY, CommandError, ReplyError
from ringleader.node.slots import slot_of
from ringleader.node.store import Store, decode_batch, encode_batch

WRONG_TYPE = ReplyError("WRONGTYPE Operation against a key holding the wrong kind of value")
SYNTAX = ReplyError("ERR syntax error")


def wrong_count(name: str) -> ReplyError:
    return ReplyError(f"ERR wrong number of arguments for '{name}' command")


@pytest.fixture
def shard() -> Shard:
    return Shard()


def copied(shard: Shard) -> Store:
    made = Store()
    made.restore(BytesSource(shard.store.snapshot()))
    return made


# --- commands of later Redis and Valkey ----------------------------------------------------------


def test_set_if_equal(shard: Shard) -> None:
    assert shard.line("SET k new IFEQ old") is None
    assert shard.line("EXISTS k") == 0
    shard.line("SET k old EX 100")
    assert shard.line("SET k new IFEQ other") is None
    assert shard.line("SET k new ifeq other GET") == b"old"
    assert shard.line("TTL k") == 100
    assert shard.line("SET k new IFEQ old KEEPTTL") == "OK"
    assert shard.line("TTL k") == 100
    assert shard.line("SET k newer GET IFEQ new") == b"new"
    assert shard.line("TTL k") == -1
    assert shard.line("SET k x IFEQ newer PX 5000") == "OK"
    assert shard.line("PTTL k") == 5000
    shard.line("HSET h f v")
    assert shard.line("SET h x IFEQ v") == WRONG_TYPE
    for wrong in ("IFEQ", "NX IFEQ a", "IFEQ a NX", "XX IFEQ a", "IFEQ a IFEQ a"):
        assert shard.line(f"SET k x {wrong}") == SYNTAX
    assert shard.line("GET k") == b"x"


def test_del_if_equal(shard: Shard) -> None:
    assert shard.line("DELIFEQ k v") == 0
    shard.line("SET k v")
    assert shard.line("DELIFEQ k w") == 0
    assert shard.line("DELIFEQ k v") == 1
    assert shard.line("EXISTS k") == 0
    shard.line("HSET h f v")
    assert shard.line("DELIFEQ h v") == WRONG_TYPE
    assert shard.line("DELIFEQ h") == wrong_count("delifeq")


# --- time ----------------------------------------------------------------------------------------


def test_a_key_is_gone_at_its_expiry_and_not_before(shard: Shard) -> None:
    start = shard.now
    shard.line("SET k v PX 50")
    shard.now = start + 49
    assert shard.line("GET k") == b"v"
    assert shard.line("PTTL k") == 1
    shard.now = start + 50
    assert shard.line("GET k") is None
    assert shard.line("PTTL k") == -2
    assert not shard.store.expires


def test_an_expiry_that_was_moved(shard: Shard) -> None:
    start = shard.now
    shard.line("SET later v PX 50")
    shard.line("PEXPIRE later 100")
    shard.line("SET sooner v PX 100")
    shard.line("PEXPIRE sooner 50")
    shard.line("SET back v PX 50")
    shard.line("PEXPIRE back 100")
    shard.line("PEXPIRE back 50")
    shard.line("SET never v PX 50")
    shard.line("SET never v")
    shard.line("SET kept v PX 50")
    shard.line("PERSIST kept")
    shard.now = start + 50
    assert sorted(shard.line("KEYS *")) == [b"kept", b"later", b"never"]
    assert shard.store.next_due_ms == start + 100
    shard.now = start + 100
    assert sorted(shard.line("KEYS *")) == [b"kept", b"never"]
    assert shard.store.next_due_ms is None


def test_time_never_goes_back(shard: Shard) -> None:
    shard.line("SET k v PX 50")
    shard.now += 60
    shard.batch([])
    shard.now -= 40
    assert shard.line("GET k") is None
    shard.line("SET k v PX 10")
    assert shard.store.expires[b"k"] == shard.now + 40 + 10


def test_a_key_that_would_expire_at_once_is_removed(shard: Shard) -> None:
    for command in (
        "SET k v PXAT 1", "SET k v EXAT 1", "EXPIRE k 0", "EXPIRE k -5", "PEXPIRE k -1",
        "EXPIREAT k 1", "PEXPIREAT k 999", "GETEX k PXAT 1",
    ):  # fmt: skip
        shard.line("SET k v")
        shard.line(command)
        assert shard.line("EXISTS k") == 0, command
        assert not shard.store.expires


def overdue(monkeypatch: pytest.MonkeyPatch) -> Shard:
    """Of four keys that are due at once, a batch removes no more than one."""
    monkeypatch.setattr(store, "EXPIRED_KEYS_MAX", 1)
    shard = Shard()
    shard.line("HSET h f v")
    shard.batch([("SET", key, "v", "PX", 50) for key in "abc"])
    shard.line("PEXPIRE h 50")
    shard.line("WATCH b c")
    return shard


def test_keys_that_are_due_and_still_there_are_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    shard = overdue(monkeypatch)
    version = shard.store.mark
    shard.now += 50
    replies = shard.batch(
        [
            ("GET", "b"), ("DBSIZE",), ("KEYS", "*"), ("SCAN", "0"), ("RANDOMKEY",),
            ("MGET", "a", "b", "c"), ("HGETALL", "h"), ("PTTL", "c"), ("EXISTS", "b", "h"),
        ]
    )  # fmt: skip
    assert replies == [None, 0, [], [b"0", []], None, [None] * 3, {}, -2, 0]
    # To read is not to remove: a follower that answers nobody has the same state.
    assert sorted(shard.store.data) == [b"b", b"c", b"h"]
    assert shard.store.next_due_ms == shard.now
    assert shard.store.read([b"GET", b"b"]) is None
    assert shard.store.read([b"DBSIZE"], hide_due_ms=0) == 0
    assert shard.store.is_due(commands.COMMANDS[b"GET"], [b"GET", b"c"], shard.now)
    assert copied(shard).snapshot() == shard.store.snapshot()
    # The next batch removes b; c is still there, and has been modified all the same.
    assert execute(shard, [(b"c", version)], "GET c") is NULL_ARRAY
    assert sorted(shard.store.data) == [b"h"]


def test_keys_that_are_due_and_still_there_are_not_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shard = overdue(monkeypatch)
    shard.now += 50
    assert shard.batch([("SET", "c", "w", "XX"), ("SETNX", "b", "w"), ("HSET", "h", "g", "w")]) == [
        None,
        1,
        1,
    ]
    assert shard.store.data == {b"b": b"w", b"h": {b"g": b"w"}}
    assert not shard.store.expires
    assert shard.store.next_due_ms is None


def test_an_expiry_that_is_not_later_or_earlier(shard: Shard) -> None:
    shard.line("SET k v PX 500")
    assert shard.line("PEXPIRE k 500 GT") == 0
    assert shard.line("PEXPIRE k 500 LT") == 0
    assert shard.line("PEXPIRE k 501 GT") == 1
    assert shard.line("PEXPIRE k 500 LT") == 1
    assert shard.line("SET k w KEEPTTL") == "OK"
    assert shard.line("PTTL k") == 500


def test_reads_of_the_leader_are_due_when_a_key_of_theirs_is(shard: Shard) -> None:
    shard.line("SET k v PX 50")
    shard.line("SET other v")
    get, dbsize = commands.lookup(b"GET"), commands.lookup(b"dbsize")
    assert get is not None
    assert dbsize is not None
    for wall, due in ((shard.now + 49, False), (shard.now + 50, True)):
        assert shard.store.is_due(get, [b"GET", b"k"], wall) is due
        assert shard.store.is_due(dbsize, [b"DBSIZE"], wall) is due
        assert not shard.store.is_due(get, [b"GET", b"other"], wall)
        assert not shard.store.is_due(get, [b"GET", b"none"], wall)
    shard.line("PERSIST k")
    assert not shard.store.is_due(get, [b"GET", b"k"], shard.now + 50)
    assert shard.store.next_due_ms is None


def test_a_reader_ahead_of_the_store_sees_no_key_that_is_due(shard: Shard) -> None:
    shard.line("SET k v PX 50")
    shard.line("SET later w PX 500")
    shard.line("HSET h f v")
    shard.line("PEXPIRE h 60")
    shard.line("SET stays x")
    before = shard.store.snapshot()

    def read(line: str, wall: int = shard.now + 60) -> Any:
        return shard.store.read(line.encode().split(), hide_due_ms=wall)

    assert read("GET k", shard.now + 49) == b"v"
    assert read("get k", shard.now + 50) is None
    assert read("TTL k") == -2
    assert read("PTTL later") == 440
    assert read("PTTL later", shard.now - 1000) == 500
    assert read("PEXPIRETIME later") == shard.now + 500
    assert read("HGETALL h") == {}
    assert read("TYPE h") == "none"
    assert read("MGET k later stays none") == [None, b"w", b"x", None]
    assert read("EXISTS k k stays later") == 2
    assert sorted(read("KEYS *")) == [b"later", b"stays"]
    assert sorted(read("SCAN 0")[1]) == [b"later", b"stays"]
    assert read("DBSIZE") == 2
    assert {read("RANDOMKEY") for _ in range(99)} == {b"later", b"stays"}
    assert read("GET h") is None
    assert read("HGET stays f") == WRONG_TYPE
    assert shard.store.hide_ms is None
    assert shard.store.read([b"GET", b"k"]) == b"v"
    assert shard.store.read([b"DBSIZE"]) == 4
    assert shard.store.snapshot() == before
    assert read("RANDOMKEY", 10**12) == b"stays"


def test_reading_runs_no_command_that_writes(shard: Shard) -> None:
    shard.line("SET due v PX 9")
    for line in ("SET k v", "WATCH k", "FOO", "GETDEL k", "MSET k"):
        for wall in (None, 10**13):
            assert isinstance(shard.store.read(line.encode().split(), hide_due_ms=wall), ReplyError)
    assert shard.store.read([b"GET"]) == wrong_count("get")
    assert list(shard.store.data) == [b"due"]


def test_the_heap_of_expiries_stays_bounded(shard: Shard) -> None:
    for at in range(200):
        shard.batch([("EXPIRE" if at else "SET", f"k{n}", 1000 + at) for n in range(100)])
        if not at:
            shard.batch([("EXPIRE", f"k{n}", 1000) for n in range(100)])
        assert len(shard.store._heap) <= 2 * 100 + 1024
    shard.batch([("SET", f"n{n}", "v", "EX", 9) for n in range(5000)])
    shard.batch([("DEL", f"n{n}") for n in range(5000)])
    assert len(shard.store._heap) <= 2 * 100 + 1024
    shard.now += 10**7
    shard.batch([])
    assert not shard.store.data
    assert not shard.store._heap
    assert shard.store.size == 0


# --- transactions --------------------------------------------------------------------------------


def execute(shard: Shard, watches: list[tuple[bytes, int]], *lines: str) -> Any:
    raw = [line.encode().split() for line in lines]
    return shard(*internal.exec_args(watches, raw))


def test_a_transaction_answers_with_all_replies(shard: Shard) -> None:
    assert execute(shard, []) == []
    assert execute(shard, [], "SET k 1", "INCR k", "GET k", "HGET k f", "INCR", "NONE") == [
        "OK",
        2,
        b"2",
        WRONG_TYPE,
        wrong_count("incr"),
        ReplyError("ERR unknown command"),
    ]
    replies = execute(shard, [], "EXEC a b", "watch k", "GET k")
    assert [isinstance(reply, ReplyError) for reply in replies] == [True, True, False]
    for parts in ((b"", b""), (b"\x90", b"\x91\x90"), (b"\xc0", b"\x90"), (b"\x90", b"\xc1")):
        assert isinstance(shard("EXEC", *parts), ReplyError)


@pytest.mark.parametrize(
    ("line", "modifies"),
    [
        ("SET k v", True), ("SET k v XX", True), ("SET k w NX", False), ("SET k w EX 9", True),
        ("GET k", False), ("APPEND k x", True), ("DEL k", True), ("UNLINK k other", True),
        ("SET other v", False), ("EXPIRE k 100", True), ("EXPIRE k 100 XX", False),
        ("PERSIST k", False), ("GETEX k", False), ("GETEX k EX 9", True), ("GETDEL k", True),
        ("GETSET k v", True), ("MSET other 1 k 2", True), ("MSETNX other 1 k 2", False),
        ("SETRANGE k 0 x", True), ("INCR k", False), ("HSET k f v", False), ("TOUCH k", False),
        ("DELIFEQ k none", False), ("DELIFEQ k 1.5", True), ("INCRBYFLOAT k 1", True),
        ("HSET h f v", True), ("HDEL h none", False), ("HDEL h f", True), ("HGETALL h", False),
        ("HSETNX h f v", False), ("HSETNX h new v", True), ("HINCRBY h f 1", False),
        ("HINCRBY h n 1", True), ("HINCRBYFLOAT h n 1", True), ("SET h v", True),
        ("LOCK.RELEASE k 1.5", True), ("LOCK.RELEASE k x", False), ("WATCH k h", False),
        ("LOCK.REACQUIRE k 1.5 9", True), ("DEL gone", False), ("SET gone v", True),
    ],
)  # fmt: skip
def test_what_modifies_a_watched_key(shard: Shard, line: str, modifies: bool) -> None:
    shard.line("SET k 1.5")
    shard.line("HSET h f v")
    version = shard.line("WATCH k h gone")
    # In the same batch as the transaction, and in one of its own.
    shard_too = Shard()
    shard_too.store = copied(shard)
    watches = [(b"k", version), (b"h", version), (b"gone", version)]
    shard.line(line)
    wanted = NULL_ARRAY if modifies else [b"fine"]
    shard.line("SET answer fine")
    assert execute(shard, watches, "GET answer") == wanted
    transaction = internal.exec_args(watches, [[b"GET", b"answer"]])
    raw = [tuple(line.split()), ("SET", "answer", "fine"), tuple(transaction)]
    assert shard_too.batch(raw)[2] == wanted


def test_a_transaction_that_has_begun_is_not_stopped_by_itself(shard: Shard) -> None:
    version = shard.line("WATCH k")
    assert execute(shard, [(b"k", version)], "SET k 1", "INCR k") == ["OK", 2]
    assert execute(shard, [(b"k", version)], "SET k 1") is NULL_ARRAY
    version = shard.line("WATCH k")
    assert execute(shard, [(b"k", version)], "GET k") == [b"2"]


def test_expiry_modifies_a_watched_key(shard: Shard) -> None:
    shard.line("SET k v PX 50")
    version = shard.line("WATCH k")
    shard.now += 50
    assert execute(shard, [(b"k", version)], "GET k") is NULL_ARRAY


def test_two_watchers_have_versions_of_their_own(shard: Shard) -> None:
    first = shard.line("WATCH k")
    shard.line("SET k 1")
    second = shard.line("WATCH k other")
    assert execute(shard, [(b"k", first)], "GET k") is NULL_ARRAY
    assert execute(shard, [(b"k", second), (b"other", second)], "GET k") == [b"1"]


def test_a_watch_ends(shard: Shard) -> None:
    version = shard.line("WATCH k other")
    shard.now += WATCH_MS - 1
    shard.line("WATCH other")
    assert execute(shard, [(b"k", version), (b"other", version)]) == []
    shard.now += 1
    assert execute(shard, [(b"k", version)]) is NULL_ARRAY
    assert execute(shard, [(b"other", version)]) == []
    assert list(shard.store.armed) == [b"other"]
    shard.now += WATCH_MS
    shard.batch([])
    assert not shard.store.armed
    assert not shard.store.armed_until


def test_too_many_watched_keys(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest make room, and fail the transactions of who watched them: nobody is refused."""
    monkeypatch.setattr(internal, "WATCHED_KEYS_MAX", 3)
    first = shard.line("WATCH a b")
    second = shard.line("WATCH c d")
    assert list(shard.store.armed_until) == [b"b", b"c", b"d"]
    assert shard.store.armed.keys() == shard.store.armed_until.keys()
    assert shard(*exec_args([(b"a", first)], [])) is NULL_ARRAY
    assert shard(*exec_args([(b"b", first), (b"d", second)], [])) == []
    assert shard.line("WATCH a b c c") == second + 1
    assert list(shard.store.armed_until) == [b"a", b"b", b"c"]
    assert shard(*exec_args([(b"a", first)], [])) is NULL_ARRAY, "it was watched anew since"
    assert isinstance(shard.line("WATCH a b c d"), ReplyError)


# --- the locks of redis-py -----------------------------------------------------------------------


def test_lock_scripts(shard: Shard) -> None:
    assert shard.line("LOCK.RELEASE l t") == 0
    assert shard.line("LOCK.EXTEND l t 1000 0") == 0
    assert shard.line("LOCK.REACQUIRE l t 1000") == 0
    shard.line("SET l t NX PX 5000")
    assert shard.line("LOCK.EXTEND l other 1000 0") == 0
    assert shard.line("LOCK.EXTEND l t 1000 0") == 1
    assert shard.line("PTTL l") == 6000
    assert shard.line("LOCK.EXTEND l t 1000 1") == 1
    assert shard.line("PTTL l") == 1000
    assert shard.line("LOCK.REACQUIRE l other 7000") == 0
    assert shard.line("LOCK.REACQUIRE l t 7000") == 1
    assert shard.line("PTTL l") == 7000
    assert shard.line("LOCK.RELEASE l other") == 0
    assert shard.line("LOCK.RELEASE l t") == 1
    assert shard.line("EXISTS l") == 0
    shard.line("SET l t")
    assert shard.line("LOCK.EXTEND l t 1000 0") == 0  # it does not expire
    assert shard.line("LOCK.REACQUIRE l t x") == ReplyError(
        "ERR value is not an integer or out of range"
    )
    assert shard.line("LOCK.REACQUIRE l t 0") == 1
    assert shard.line("EXISTS l") == 0
    shard.line("HSET l f v")
    assert shard.line("LOCK.RELEASE l t") == WRONG_TYPE


def test_locks_do_not_outlast_all_time(shard: Shard) -> None:
    """Beyond 64 bits no snapshot could be made, and the shard would stop."""
    shard.line("SET l t PX 5000")
    refused = ReplyError("ERR invalid expire time in 'pexpire' command")
    for time in (INT64_MAX, INT64_MAX - shard.now + 1):
        assert shard("LOCK.EXTEND", "l", "t", time, 0) == refused
        assert shard("LOCK.REACQUIRE", "l", "t", time) == refused
    assert shard.line("PTTL l") == 5000
    assert shard("LOCK.REACQUIRE", "l", "t", INT64_MAX - shard.now) == 1
    assert shard("LOCK.EXTEND", "l", "t", 1, 0) == refused
    assert shard.line("PEXPIRETIME l") == INT64_MAX
    shard.store.expire_at(b"l", 2**64)
    assert shard.line("PEXPIRETIME l") == INT64_MAX
    restored = Store()
    restored.restore(BytesSource(shard.store.snapshot()))
    assert restored.expires == {b"l": INT64_MAX}
    assert shard("LOCK.EXTEND", "l", "t", INT64_MIN, 1) == 1
    assert shard.line("EXISTS l") == 0


# --- limits and errors ---------------------------------------------------------------------------


def test_values_do_not_outgrow_their_limit(shard: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    from ringleader.node import strings

    monkeypatch.setattr(strings, "STORE_VALUE_BYTES_MAX", 10)
    too_long = ReplyError("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
    assert shard.line("APPEND k 12345") == 5
    assert shard.line("APPEND k 123456") == too_long
    assert shard.line("SETRANGE k 8 abc") == too_long
    assert shard.line("SETRANGE k 7 abc") == 10
    assert shard.line("SETRANGE k 4611686018427387904 abc") == too_long
    assert shard("SETRANGE", "k", 2**63 - 1, "") == 10
    assert shard.line("GET k") == b"12345\0\0abc"


def test_what_a_session_refuses() -> None:
    set_ = commands.lookup(b"sEt")
    mset = commands.lookup(b"MSET")
    assert set_ is commands.COMMANDS[b"SET"]
    assert mset is not None
    commands.check_arity(set_, [b"SET", b"k", b"v"])
    with pytest.raises(CommandError, match="wrong number of arguments for 'set' command"):
        commands.check_arity(set_, [b"SET", b"k"])
    with pytest.raises(CommandError, match="wrong number"):
        commands.keys_of(mset, [b"MSET", b"k", b"v", b"l"])
    assert commands.keys_of(mset, [b"MSET", b"k", b"v", b"l", b"w"]) == [b"k", b"l"]
    assert commands.keys_of(set_, [b"SET", b"k", b"v"]) == [b"k"]
    assert commands.keys_of(set_, [b"SET"]) == []
    delete, scan = commands.lookup(b"DEL"), commands.lookup(b"SCAN")
    assert delete is not None
    assert scan is not None
    assert commands.keys_of(delete, [b"DEL", b"a", b"b", b"a"]) == [b"a", b"b", b"a"]
    assert commands.keys_of(scan, [b"SCAN", b"0"]) == []
    commands.check_sizes(set_, [b"SET", b"k" * STORE_KEY_BYTES_MAX, b"v"])
    with pytest.raises(CommandError, match="key exceeds"):
        commands.check_sizes(set_, [b"SET", b"k" * (STORE_KEY_BYTES_MAX + 1), b"v"])
    value = b"v" * STORE_VALUE_BYTES_MAX
    commands.check_sizes(set_, [b"SET", b"k", value])
    with pytest.raises(CommandError, match="maximum allowed size"):
        commands.check_sizes(set_, [b"SET", b"k", value + b"v"])
    with pytest.raises(CommandError, match=str(COMMAND_BYTES_MAX)):
        commands.check_sizes(mset, [b"MSET", b"k", value, b"l", value])


def test_spellings_are_remembered_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "_spellings", {})
    monkeypatch.setattr(commands, "COMMAND_SPELLINGS_MAX", 3)
    for name in (b"get", b"Get", b"gEt", b"GET", b"geT"):
        assert commands.lookup(name) is commands.COMMANDS[b"GET"]
    assert commands.lookup(b"nothing") is None
    assert len(commands._spellings) == 3


def test_internal_commands_are_not_for_clients() -> None:
    for name in commands.INTERNAL:
        assert commands.lookup(name) is None
        command = commands.find(name.lower())
        assert command is not None
        assert "internal" in command.flags


def test_what_no_session_lets_through(shard: Shard) -> None:
    """A batch may come from another version: it changes nothing, and stops nobody."""
    assert [type(reply) for reply in shard.batch([("FOO",), ("GET",), ("SET", "k"), ("",)])] == [
        ReplyError
    ] * 4
    assert not shard.store.data


def test_a_command_that_fails_as_none_should_stops_nobody(
    shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*args: Any) -> Any:
        raise TypeError

    monkeypatch.setattr(commands.COMMANDS[b"INCR"], "run", wrong)
    replies = shard.store.apply([(1, encode_batch(5, [[b"INCR", b"k"], [b"GET", b"k"]]))])
    assert replies == [[ReplyError("ERR internal error: TypeError"), None]]
    assert shard.store.faults == 1


def test_a_read_that_fails_as_none_should_is_answered(
    shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*args: Any) -> Any:
        raise TypeError

    monkeypatch.setattr(commands.COMMANDS[b"STRLEN"], "run", wrong)
    shard.line("SET k v PX 10")
    for moment in (None, shard.now + 20):
        reply = shard.store.read([b"STRLEN", b"k"], hide_due_ms=moment)
        assert reply == ReplyError("ERR internal error: TypeError")
    assert shard.store.faults == 2


def test_the_order_of_a_scan_is_dropped_though_nobody_writes(shard: Shard) -> None:
    shard.line("SET k v")
    shard.store.read([b"SCAN", b"0"], hide_due_ms=shard.now)
    shard.store.drop_idle(shard.now + 60_000)
    assert shard.store._index is not None
    shard.store.drop_idle(shard.now + 60_001)
    assert shard.store._index is None


def test_nobody_waits_for_the_answers_of_a_follower(
    shard: Shard, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(commands.COMMANDS[b"KEYS"], "run", lambda *args: asked.append(args))
    shard.store.answering = False
    raw = [[b"SET", b"k", b"v"], [b"KEYS", b"*"], [b"INCR", b"n"]]
    assert shard.store.apply([(1, encode_batch(shard.now, raw))]) == [None]
    assert shard.store.data == {b"k": b"v", b"n": b"1"}
    assert shard.store.applied == 1
    assert not asked


def test_times_a_clock_cannot_say() -> None:
    fresh = Store()
    for now in (-1, CLOCK_MS_MAX + 1, 2**63):
        replies = fresh.apply([(1, msgspec.msgpack.encode([now, [[b"SET", b"k", b"v"]]]))])
        assert isinstance((replies[0] or ())[0], ReplyError)
    assert fresh.now == 0
    assert fresh.faults == 3
    assert decode_batch(encode_batch(-5, [])) == (0, [])
    fresh.apply([(4, encode_batch(2**70, [[b"SET", b"k", b"v", b"EX", b"1000"]]))])
    assert fresh.next_due_ms == CLOCK_MS_MAX + 1_000_000


# --- all keys ------------------------------------------------------------------------------------


def test_keys_of_a_slot(shard: Shard) -> None:
    assert shard("SLOT.COUNT", 5) == 0
    assert shard("SLOT.KEYS", 5, 10) == []
    for number in range(50):
        shard("SET", f"{{tag}}{number}", "")
        shard("SET", f"k{number}", "")
    slot = slot_of(b"tag")
    assert shard("SLOT.COUNT", slot) == 50
    assert len(shard("SLOT.KEYS", slot, 7)) == 7
    assert shard("SLOT.KEYS", slot, 0) == shard("SLOT.KEYS", slot, -1) == []
    assert {slot_of(key) for key in shard("SLOT.KEYS", slot, 99)} == {slot}
    assert shard("SLOT.COUNT", 2**63 - 1) == shard("SLOT.COUNT", -1) == 0
    shard("PEXPIRE", "{tag}7", 10)
    count = [b"SLOT.COUNT", b"%d" % slot]
    assert shard.store.read(count, hide_due_ms=shard.now + 9) == 50
    assert shard.store.read(count, hide_due_ms=shard.now + 10) == 49


def test_size_is_what_is_there(shard: Shard) -> None:
    assert shard.store.size == 0
    for line in (
        "SET k v", "SET k longer", "APPEND k xyz", "HSET h f v g w", "HSET h f longer", "HDEL h g",
        "SET h v", "HSET g a b", "SETRANGE k 2 z", "SET new v NX", "INCR n", "SET gone v PXAT 1",
        "SET gone v", "DEL gone", "HSET e f v", "HDEL e f", "HSETNX e f v", "EXPIRE e 0",
    ):  # fmt: skip
        shard.line(line)
        assert copied(shard).size == shard.store.size, line
    shard.line("DEL k h g new n")
    assert shard.store.size == 0
    assert not shard.store.data


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
def test_overheads_are_near_the_truth() -> None:
    program = """
import os, sys
from ringleader.node.store import Store

def resident_bytes():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

store, before = Store(), resident_bytes()
for number in range(300_000):
    store.put(b"key:%012d" % number, b"v" * 100)
print(store.size, resident_bytes() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    counted, real = map(int, done.stdout.split())
    assert 0.8 < counted / real < 1.25


def test_a_watch_that_ended_does_not_come_back(shard: Shard) -> None:
    version = shard.line("WATCH k")
    shard.now += WATCH_MS
    shard.line("SET k unseen")
    shard.line("WATCH k")
    assert execute(shard, [(b"k", version)]) is NULL_ARRAY


def test_every_command_is_on_its_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
    named = set(re.findall(r"[A-Z]+", page))
    assert {name.decode() for name in commands.COMMANDS} <= named
