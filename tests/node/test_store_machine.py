"""The store as a replicated state machine: deterministic, restored from any point, never upset by
bytes, and equal to a model that is as simple as can be."""

from __future__ import annotations

import random
import struct
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from store_parts import Shard

from ringleader.consensus.log import Log
from ringleader.consensus.ready import BytesSource
from ringleader.errors import FormatError, VersionError
from ringleader.kernels import hashing
from ringleader.limits import BATCH_COMMANDS_MAX, EXPIRED_KEYS_MAX, WATCH_MS
from ringleader.node import internal
from ringleader.node import store as store_module
from ringleader.node.commands import COMMANDS, INTERNAL
from ringleader.node.replies import NULL_ARRAY, ReplyError, pack
from ringleader.node.store import (
    SNAPSHOT_MAGIC,
    Store,
    decode_batch,
    encode_batch,
)

NEVER = 2**63

keys = st.sampled_from([b"a", b"b", b"c", b"d"])
#: So few that much happens to each.
few = st.sampled_from([b"a", b"b"])
short = st.one_of(keys, st.integers(-5, 300).map(lambda number: b"%d" % number), st.just(b"0.5"))
words = st.sampled_from(
    b"EX PX NX XX GET KEEPTTL IFEQ PERSIST GT LT COUNT MATCH EXAT PXAT 10 50 0 -1".split()
)
names = st.sampled_from(sorted({*COMMANDS, *INTERNAL} - {b"RANDOMKEY", b"EXEC"}))
#: Often the right number of arguments.
commands = st.one_of(
    st.tuples(names, st.lists(st.one_of(short, words), max_size=5)).map(lambda p: [p[0], *p[1]]),
    st.tuples(names, keys, short).map(list),
    st.tuples(names, keys).map(list),
    st.tuples(st.just(b"SET"), keys, short, st.just(b"PX"), st.just(b"40")).map(list),
    st.tuples(st.just(b"HSET"), keys, keys, short).map(list),
)
transactions = st.tuples(
    st.lists(st.tuples(keys, st.integers(0, 20)), max_size=2), st.lists(commands, max_size=4)
).map(lambda parts: internal.exec_args(*parts))
batches = st.tuples(
    st.integers(-20, 60), st.lists(st.one_of(commands, commands, transactions), max_size=6)
)


def entries_of(steps: list[tuple[int, list[list[bytes]]]]) -> list[tuple[int, bytes]]:
    now, entries = 1_000_000, []
    for at, (step, batch) in enumerate(steps):
        now += step
        entries.append((at + 1, encode_batch(now, batch)))
    return entries


def state(store: Store) -> Any:
    return (
        store.now, store.applied, store.data, store.expires, store.size, store.mark, store.armed,
        list(store.armed_until.items()),
    )  # fmt: skip


def check_invariants(store: Store) -> None:
    assert store.expires.keys() <= store.data.keys()
    assert store.hide_ms is None
    overdue = sum(moment <= store.now for moment in store.expires.values())
    assert not overdue or store_module.EXPIRED_KEYS_MAX < 5
    assert {} not in store.data.values()
    assert store.armed.keys() == store.armed_until.keys()
    assert list(store.armed_until.values()) == sorted(store.armed_until.values())
    assert all(mark <= store.mark for mark in store.armed.values())
    assert all(store.now < moment <= store.now + WATCH_MS for moment in store.armed_until.values())
    assert {(moment, key) for key, moment in store.expires.items()} <= set(store._heap)
    assert store.next_due_ms == min(store.expires.values(), default=None)
    assert store.faults == 0


@settings(max_examples=150)
@given(steps=st.lists(batches, max_size=12), cut=st.integers(0, 12), data=st.data())
def test_the_same_entries_give_the_same_state(
    steps: list[tuple[int, list[list[bytes]]]], cut: int, data: st.DataObject
) -> None:
    entries = entries_of(steps)
    limit = data.draw(st.sampled_from([1, 2, EXPIRED_KEYS_MAX]), "keys that expire in a batch")
    with mock.patch.object(store_module, "EXPIRED_KEYS_MAX", limit):
        check_the_same(entries, cut, data)


def check_the_same(entries: list[tuple[int, bytes]], cut: int, data: st.DataObject) -> None:
    whole, silent, parted = Store(), Store(), Store()
    silent.answering = False
    replies = whole.apply(entries)
    check_invariants(whole)
    assert silent.apply(entries) == [None] * len(entries)
    assert state(silent) == state(whole)

    parted.apply(entries[:cut])
    if data.draw(st.booleans(), "someone reads meanwhile"):
        for line in (b"SCAN 0", b"KEYS *", b"GET a", b"HGETALL b", b"RANDOMKEY"):
            parted.read(line.split(), hide_due_ms=data.draw(st.integers(0, 1_000_200)))
    restored = Store()
    restored.apply(entries_of([(7, [[b"SET", b"old", b"x", b"EX", b"9"]])]))
    restored.restore(BytesSource(parted.snapshot()))
    assert state(restored) == state(parted)
    assert restored.apply(entries[cut:]) == replies[cut:]
    assert state(restored) == state(whole)
    assert restored.snapshot() == whole.snapshot()
    check_invariants(restored)


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 60), st.lists(commands, max_size=6)), min_size=2, max_size=12
    )
)
def test_nobody_sees_that_keys_expire_in_portions(
    steps: list[tuple[int, list[list[bytes]]]],
) -> None:
    steps = [(step, [args for args in batch if args[0] != b"WATCH"]) for step, batch in steps]
    steps = [
        (step, [*batch, *([b"SET", b"key%d" % n, b"1", b"PX", b"30"] for n in range(4))])
        for step, batch in steps
    ]
    entries = entries_of(steps)
    replies = Store().apply(entries)
    with mock.patch.object(store_module, "EXPIRED_KEYS_MAX", 1):
        slow = Store()
        for entry, wanted in zip(entries, replies, strict=True):
            assert slow.apply([entry]) == [wanted]
            check_invariants(slow)


def test_entries_of_a_log() -> None:
    log = Log()
    log.append(1, [encode_batch(5, [[b"SET", b"k", b"1"]])])
    log.append(1, [b"the core's own"], control=True)
    log.append(1, [encode_batch(6, [[b"INCR", b"k"], [b"GET", b"k"]]), encode_batch(7, [])])
    store = Store()
    assert store.apply(log.entries(1, 5)) == [["OK"], [2, b"2"], []]
    assert store.applied == 4
    assert store.now == 7


# --- a model -------------------------------------------------------------------------------------


class Expiring(RuleBasedStateMachine):
    """Strings, expiries and watched keys beside two dicts and a list of what was modified."""

    def __init__(self) -> None:
        super().__init__()
        self.shard = Shard()
        self.values: dict[bytes, bytes] = {}
        self.moments: dict[bytes, int] = {}
        self.watches: list[tuple[bytes, int, list[bool], int]] = []

    def modified(self, key: bytes) -> None:
        for watched, _, done, _ in self.watches:
            if watched == key:
                done[0] = True

    def gone(self, key: bytes) -> None:
        del self.values[key]
        self.moments.pop(key, None)
        self.modified(key)

    @rule(step=st.integers(0, 70))
    def time_passes(self, step: int) -> None:
        self.shard.now += step
        self.shard.batch([])
        for key in [key for key, moment in self.moments.items() if moment <= self.shard.now]:
            self.gone(key)

    @rule()
    def a_minute_passes(self) -> None:
        self.time_passes(WATCH_MS)

    @rule(key=few, value=short)
    def set(self, key: bytes, value: bytes) -> None:
        assert self.shard("SET", key, value) == "OK"
        self.values[key] = value
        self.moments.pop(key, None)
        self.modified(key)

    @rule(key=few, value=short, span=st.integers(1, 99))
    def set_for(self, key: bytes, value: bytes, span: int) -> None:
        assert self.shard("SET", key, value, "PX", span) == "OK"
        self.values[key] = value
        self.moments[key] = self.shard.now + span
        self.modified(key)

    @rule(key=few, span=st.integers(-1, 99), only=st.sampled_from(["", "NX", "XX", "GT", "LT"]))
    def expire(self, key: bytes, span: int, only: str) -> None:
        moment, old = self.shard.now + span, self.moments.get(key)
        allowed = {
            "": True,
            "NX": old is None,
            "XX": old is not None,
            "GT": old is not None and moment > old,
            "LT": old is None or moment < old,
        }[only]
        does = key in self.values and allowed
        args = ("PEXPIRE", key, span, only) if only else ("PEXPIRE", key, span)
        assert self.shard(*args) == int(does)
        if does:
            self.moments[key] = moment
            self.modified(key)
            if span <= 0:
                self.gone(key)

    @rule(key=few)
    def persist(self, key: bytes) -> None:
        assert self.shard("PERSIST", key) == int(key in self.moments)
        if self.moments.pop(key, None) is not None:
            self.modified(key)

    @rule(key=few)
    def delete(self, key: bytes) -> None:
        assert self.shard("DEL", key) == int(key in self.values)
        if key in self.values:
            self.gone(key)

    @rule(key=few)
    def watch(self, key: bytes) -> None:
        version = self.shard("WATCH", key)
        # Whoever watches the key later keeps it watched for those before.
        self.watches = [
            (*watch[:3], self.shard.now + WATCH_MS)
            if watch[0] == key and watch[3] > self.shard.now
            else watch
            for watch in self.watches
        ]
        self.watches.append((key, version, [False], self.shard.now + WATCH_MS))

    @rule()
    def watch_both(self) -> None:
        self.watch(b"a")
        self.time_passes(1)
        self.watch(b"b")
        self.time_passes(1)
        self.watch(b"a")

    @precondition(lambda self: self.watches)
    @rule(data=st.data())
    def execute(self, data: st.DataObject) -> None:
        key, version, done, until = data.draw(st.sampled_from(self.watches))
        reply = self.shard(*internal.exec_args([(key, version)], [[b"GET", key]]))
        if done[0] or until <= self.shard.now:
            assert reply is NULL_ARRAY
        else:
            assert reply == [self.values.get(key)]

    @rule()
    def restore(self) -> None:
        restored = Store()
        restored.restore(BytesSource(self.shard.store.snapshot()))
        self.shard.store = restored

    @invariant()
    def agrees(self) -> None:
        store = self.shard.store
        there = {key for key in store.data if store.expires.get(key, NEVER) > store.now}
        assert {key: store.data[key] for key in there} == self.values
        assert {key: store.expires[key] for key in there & store.expires.keys()} == self.moments
        assert sorted(store.read([b"KEYS", b"*"])) == sorted(self.values)
        assert store.read([b"DBSIZE"]) == len(self.values)
        for key in (b"a", b"b"):
            assert store.read([b"GET", key]) == self.values.get(key)
        check_invariants(store)

    @invariant()
    def hides_what_is_due(self) -> None:
        ahead = self.shard.now + 30
        for key, value in self.values.items():
            due = self.moments.get(key, ahead + 1) <= ahead
            wanted = None if due else value
            assert self.shard.store.read([b"GET", key], hide_due_ms=ahead) == wanted
            assert self.shard.store.is_due(COMMANDS[b"GET"], [b"GET", key], ahead) is due


Expiring.TestCase.settings = settings(max_examples=80, stateful_step_count=40)
TestExpiring = Expiring.TestCase


class ExpiringInPortions(Expiring):
    """The same, while a batch removes no more than one key."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = mock.patch.object(store_module, "EXPIRED_KEYS_MAX", 1)
        self.patch.start()

    def teardown(self) -> None:
        self.patch.stop()


ExpiringInPortions.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestExpiringInPortions = ExpiringInPortions.TestCase


# --- bytes ---------------------------------------------------------------------------------------


@given(now=st.integers(0, 2**48 - 1), batch=st.lists(st.lists(st.binary(), min_size=1)))
def test_batches_come_back(now: int, batch: list[list[bytes]]) -> None:
    assert decode_batch(encode_batch(now, batch)) == (now, batch)


def refuse_or_apply(payload: bytes) -> None:
    """Bytes are a batch or none; the store says the same, and stays whole."""
    store = Store()
    store.apply([(1, encode_batch(9, [[b"SET", b"k", b"v"]]))])
    try:
        decoded = decode_batch(payload)
    except FormatError:
        before = store.data.copy()
        assert [type(reply) for reply in store.apply([(2, payload)])[0] or ()] == [ReplyError]
        assert store.faults == 1
        assert store.data == before
    else:
        replies = store.apply([(2, payload)])[0]
        assert replies is not None
        assert len(replies) == len(decoded[1])
    assert store.applied == 2


@given(st.binary(max_size=60))
def test_any_bytes_as_a_batch(payload: bytes) -> None:
    refuse_or_apply(payload)


@given(batch=batches, data=st.data())
def test_damaged_batches(batch: tuple[int, list[list[bytes]]], data: st.DataObject) -> None:
    payload = bytearray(encode_batch(1000 + batch[0], batch[1]))
    for _ in range(data.draw(st.integers(1, 3))):
        if data.draw(st.booleans()):
            payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
        elif len(payload) > 1:
            del payload[data.draw(st.integers(1, len(payload) - 1)) :]
    refuse_or_apply(bytes(payload))


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\xc0", b"\x90", b"\x92\x01", b"\x92\x01\xc0", b"\x93\x01\x90\x90", b"\x92\xc0\x90",
        b"\x92\x01\x91\x90", b"\x92\x01\x91\x91\x01", b"\x92\x01\x91\x91\xa1k", b"\x92\x01\x90x",
        b"\x92\x01\xdd\xff\xff\xff\xff", b"\x92\x01\x91\xdd\xff\xff\xff\xff",
        b"\x92\x01\x91\x91\xc6\xff\xff\xff\xff", b"\x92\x01\x91\x91\xc6\x7f\xff\xff\xffabc",
        b"\x92\xcf\xff\xff\xff\xff\xff\xff\xff\xff\x90", b"\x92\xff\x90", b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff" * 1000, b"\x92\xcb" + struct.pack(">d", 5.0) + b"\xc0",
    ],
)  # fmt: skip
def test_what_is_no_batch(payload: bytes) -> None:
    with pytest.raises(FormatError, match="no batch"):
        decode_batch(payload)
    refuse_or_apply(payload)


def test_too_many_commands_are_no_batch() -> None:
    batch = [[b"GET", b"k"]] * BATCH_COMMANDS_MAX
    assert len(decode_batch(encode_batch(1, batch))[1]) == BATCH_COMMANDS_MAX
    with pytest.raises(FormatError):
        decode_batch(encode_batch(1, [*batch, [b"GET", b"k"]]))


# --- snapshots -----------------------------------------------------------------------------------


def filled() -> Store:
    shard = Shard()
    for line in (
        "SET k v", "SET e v PX 100", "HSET h f v g w", "PEXPIRE h 70", "WATCH k none", "SET k w",
    ):  # fmt: skip
        shard.line(line)
    return shard.store


def test_every_damaged_byte_of_a_snapshot_is_seen() -> None:
    store = filled()
    good = store.snapshot()
    before = state(store)
    rng = random.Random(1)
    for at in range(len(good)):
        damaged = bytearray(good)
        damaged[at] ^= 1 << rng.randrange(8)
        for data in (bytes(damaged), good[:at]):
            with pytest.raises(FormatError):
                store.restore(BytesSource(data))
    with pytest.raises(FormatError):
        store.restore(BytesSource(good + b"\0"))
    with pytest.raises(VersionError):
        store.restore(BytesSource(SNAPSHOT_MAGIC + b"\x02" + good[8:]))
    with pytest.raises(FormatError, match="never was"):
        store.restore(BytesSource(SNAPSHOT_MAGIC + b"\x00" + good[8:]))
    assert state(store) == before


def sealed(body: bytes) -> BytesSource:
    checksum = hashing.crc32c(body).to_bytes(4, "little")
    return BytesSource(SNAPSHOT_MAGIC + b"\x01" + checksum + body)


@given(st.binary(max_size=60))
def test_any_bytes_with_a_right_checksum(body: bytes) -> None:
    with pytest.raises(FormatError):
        Store().restore(sealed(body))


@given(at=st.integers(0, 200), byte=st.integers(0, 255))
def test_damage_with_a_right_checksum_is_seen_or_harmless(at: int, byte: int) -> None:
    body = bytearray(filled().snapshot()[12:])
    body[at % len(body)] = byte
    store = Store()
    try:
        store.restore(sealed(bytes(body)))
    except FormatError:
        assert state(store) == state(Store())
    else:
        assert store.expires.keys() <= store.data.keys()
        store.apply([(10**6, encode_batch(store.now + 10**7, [[b"SET", b"k", b"v"]]))])
        assert store.data[b"k"] == b"v"


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ([5, 1, 0, {}, {b"k": 9}, {}, {}], "not there expires"),
        ([5, 1, 0, {b"k": {}}, {}, {}, {}], "empty hash"),
        ([5, 1, 0, {}, {}, {b"k": 0}, {}], "without an end"),
        ([5, 1, 0, {}, {}, {b"k": 1}, {b"k": 9}], "mark of the future"),
        ([5, 1, 0, {}, {}, {b"k": 0, b"l": 0}, {b"k": 9, b"l": 8}], "out of order"),
        ([-1, 1, 0, {}, {}, {}, {}], "no snapshot"),
        ([1, 1, 0, {b"k": 1}, {}, {}, {}], "no snapshot"),
        ([1, 1, 0, {}, {}, {}, {}, {}], "no snapshot"),
        ([1, 1, 0, {}, {}, {}], "no snapshot"),
        ([1, 1, 0, {b"k": {b"f": {b"g": b"v"}}}, {}, {}, {}], "no snapshot"),
        ([1, 1, 0, {b"k": b""}, {b"k": 2**63}, {}, {}], "no snapshot"),
        ([1, 1, 0, {b"k": b""}, {b"k": -1}, {}, {}], "no snapshot"),
        ([1, 1, 0, {}, {}, {b"k": -1}, {b"k": 9}], "no snapshot"),
        ([1, 1, 0, {}, {}, {b"k": 0}, {b"k": 2**63}], "no snapshot"),
    ],
)
def test_snapshots_that_contradict_themselves(parts: list[Any], why: str) -> None:
    store = Store()
    with pytest.raises(FormatError, match=why):
        store.restore(sealed(msgspec.msgpack.encode(parts)))
    assert state(store) == state(Store())
    good = [5, 1, 0, {b"k": b""}, {b"k": 6}, {b"l": 0}, {b"l": 9}]
    store.restore(sealed(msgspec.msgpack.encode(good)))
    assert store.data == {b"k": b""}


extremes = st.sampled_from(
    [b"%d" % (sign * 2**63 // scale + by) for sign in (-1, 1) for scale in (1, 1000)
     for by in (-1_000_001, -1000, -1, 0, 1)]
    + [b"0", b"1", b"-1", b"1e4932", b"18446744073709551615"]
)  # fmt: skip
extreme_commands = st.one_of(
    st.tuples(names, few, st.lists(st.one_of(extremes, few, words), max_size=4)).map(
        lambda parts: [parts[0], parts[1], *parts[2]]
    ),
    extremes.map(lambda number: [b"LOCK.EXTEND", b"a", b"a", number, b"0"]),
    extremes.map(lambda number: [b"LOCK.REACQUIRE", b"a", b"a", number]),
    st.just([b"SET", b"a", b"a", b"PX", b"40"]),
)


@settings(max_examples=300)
@given(st.lists(extreme_commands, max_size=12))
def test_no_number_makes_a_state_that_no_snapshot_holds(batch: list[list[bytes]]) -> None:
    """Of any command, also of those that only nodes send; nor a reply that none can send."""
    store = Store()
    for at, args in enumerate(batch):
        [replies] = store.apply([(at + 1, encode_batch(1_000_000, [args]))])
        assert replies is not None
        pack(replies)
        assert store.faults == 0
        restored = Store()
        restored.restore(BytesSource(store.snapshot()))
        assert state(restored) == state(store)
        for args in ([b"PTTL", b"a"], [b"PEXPIRETIME", b"b"], [b"HGETALL", b"a"]):
            pack(store.read(args, hide_due_ms=1_000_001))


# --- the published formats (docs/formats.md), spelled out ----------------------------------------


def text(value: bytes) -> bytes:
    return b"\xc4" + bytes([len(value)]) + value


def test_the_format_of_a_batch() -> None:
    now = b"\xcf" + struct.pack(">Q", 1_700_000_000_123)
    command = b"\x93" + text(b"SET") + text(b"k") + text(b"")
    batch = b"\x92" + now + b"\x92" + command + b"\x91" + text(b"DBSIZE")
    assert encode_batch(1_700_000_000_123, [[b"SET", b"k", b""], [b"DBSIZE"]]) == batch
    assert encode_batch(0, []) == b"\x92\x00\x90"


def test_the_format_of_a_snapshot() -> None:
    fields = b"\x81" + text(b"f") + text(b"v")
    data = b"\x82" + text(b"h") + fields + text(b"s") + text(b"x")
    expires = b"\x81" + text(b"s") + b"\xcd" + struct.pack(">H", 1500)
    armed = b"\x81" + text(b"s") + b"\x02"
    until = b"\x81" + text(b"s") + b"\xcd" + struct.pack(">H", 61_000)
    now = b"\xcd" + struct.pack(">H", 1000)
    body = b"\x97" + now + b"\x05\x02" + data + expires + armed + until
    snapshot = b"RLSTORE\x01" + hashing.crc32c(body).to_bytes(4, "little") + body
    store = Store()
    store.restore(BytesSource(snapshot))
    assert store.data == {b"h": {b"f": b"v"}, b"s": b"x"}
    assert store.snapshot() == snapshot
    shard = Shard(1000)
    shard.line("HSET h f v")
    shard.line("SET s y")
    shard.line("WATCH s")
    shard.line("SET s x")
    shard.store.expires[b"s"] = 1500
    shard.store.applied = 5
    assert shard.store.snapshot() == snapshot
