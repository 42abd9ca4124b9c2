"""SCAN: what is there from the first call to the last is returned, whatever comes and goes.  And
the patterns of keys."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from store_parts import Shard

from ringleader import hashing
from ringleader.consensus.ready import BytesSource
from ringleader.limits import PATTERN_BYTES_MAX
from ringleader.node import scan
from ringleader.node.globs import matcher
from ringleader.node.replies import ReplyError

names = st.integers(0, 25).map(lambda number: b"k%d" % number)


class Scanning(RuleBasedStateMachine):
    """Several scans at a time, while keys come and go, on stores that change places."""

    @initialize(added=st.sampled_from([3, 1024]))
    def begin(self, added: int) -> None:
        self.limit = scan._ADDED_MAX
        scan._ADDED_MAX = added  # type: ignore[misc]
        self.shard = Shard()
        self.scans: list[tuple[bytes, set[bytes], set[bytes]]] = []

    def teardown(self) -> None:
        if hasattr(self, "limit"):
            scan._ADDED_MAX = self.limit  # type: ignore[misc]

    @rule(some=st.lists(names, min_size=1, max_size=20))
    def set(self, some: list[bytes]) -> None:
        self.shard.batch([("SET", key, "v") for key in some])

    @rule(some=st.lists(names, min_size=1, max_size=5))
    def hset(self, some: list[bytes]) -> None:
        self.shard.batch([("HSET", key, "f", "v") for key in some])

    @rule(some=st.lists(names, min_size=1, max_size=9))
    def delete(self, some: list[bytes]) -> None:
        self.shard("DEL", *some)
        for _, stayed, _ in self.scans:
            stayed.difference_update(some)

    @rule(step=st.sampled_from([1, 70_000]))
    def time_passes(self, step: int) -> None:
        self.shard.now += step
        self.shard.batch([])

    @rule()
    def another_replica(self) -> None:
        behind = Shard()  # it has scanned what it had
        behind.line("SET k0 v")
        behind.line("SCAN 0")
        behind.store.restore(BytesSource(self.shard.store.snapshot()))
        self.shard.store = behind.store

    @rule()
    def start(self) -> None:
        if len(self.scans) < 4:
            self.scans.append((b"0", set(self.shard.store.data), set()))

    @rule(which=st.integers(0, 3), count=st.sampled_from([1, 2, 5, 10, 100]))
    def go_on(self, which: int, count: int) -> None:
        if not self.scans:
            self.start()
        which %= len(self.scans)
        cursor, stayed, found = self.scans[which]
        following, some = self.shard("SCAN", cursor, "COUNT", count)
        assert set(some) <= self.shard.store.data.keys()
        assert len(set(some)) == len(some)
        found.update(some)
        if following == b"0":
            assert stayed <= found
            del self.scans[which]
        else:
            assert int(following) > int(cursor)
            assert int(following) < scan.HASH_END
            self.scans[which] = (following, stayed, found)


Scanning.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestScanning = Scanning.TestCase


def scanned(shard: Shard, count: int) -> list[list[bytes]]:
    """What each call of a whole scan finds."""
    cursor, calls = b"0", []
    while not calls or cursor != b"0":
        cursor, some = shard("SCAN", cursor, "COUNT", count)
        calls.append(some)
    return [some for some in calls if some]


def test_keys_of_one_hash_come_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_SHIFT", 62)  # four hashes in all
    shard = Shard()
    shard.batch([("SET", f"k{n}", "v") for n in range(64)])
    for later in range(3):
        calls = scanned(shard, 1)
        assert len(calls) == 4
        found = [key for some in calls for key in some]
        assert sorted(found) == sorted(shard.store.data)
        for some in calls:
            assert len({hashing.xxh3_64(key) >> 62 for key in some}) == 1
        shard.batch([("SET", f"later{later}:{n}", "v") for n in range(30)])


def test_keys_that_came_later_keep_their_own_hashes_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scan, "_SHIFT", 62)
    shard = Shard()
    shard("SCAN", 0)
    shard.batch([("SET", f"later{n}", "v") for n in range(50)])
    calls = scanned(shard, 3)
    assert len(calls) == 4
    assert shard.store._index is not None
    assert len(shard.store._index._later) == 50
    assert sorted(key for some in calls for key in some) == sorted(shard.store.data)


def test_a_scan_takes_about_as_many_as_asked_for() -> None:
    shard = Shard()
    shard.batch([("SET", f"k{n}", "v") for n in range(1000)])
    calls = scanned(shard, 100)
    assert [len(some) for some in calls] == [100] * 10
    shard.batch([("SET", f"later{n}", "v") for n in range(900)])
    calls = scanned(shard, 100)
    assert all(len(some) <= 200 for some in calls)
    found = [key for some in calls for key in some]
    assert len(found) == len(set(found)) == 1900
    assert shard("SCAN", 2**48) == [b"0", []]
    assert shard("SCAN", 2**64 - 1) == [b"0", []]


def test_a_key_that_is_gone_does_not_come() -> None:
    shard = Shard()
    shard.batch([("SET", f"k{n}", "v") for n in range(10)])
    shard("SCAN", 0)
    shard("DEL", "k3", "k4")
    assert sorted(shard("SCAN", 0, "COUNT", 100)[1]) == sorted(shard.store.data)


def test_a_key_that_went_and_came_back_comes_once() -> None:
    shard = Shard()
    shard.batch([("SET", f"k{n}", "v") for n in range(10)])
    shard("SCAN", 0)
    shard("DEL", "k3")
    shard("HSET", "k3", "f", "v")
    assert sorted(shard("SCAN", 0, "COUNT", 100)[1]) == sorted(shard.store.data)


def test_the_index_is_dropped_when_nobody_scans() -> None:
    shard = Shard()
    shard.batch([("SET", f"k{n}", "v") for n in range(10)])
    shard("SCAN", 0)
    assert shard.store._index is not None
    shard.now += 60_001
    shard.batch([])
    assert shard.store._index is None
    shard("SCAN", 0)
    shard.batch([("SET", f"new{n}", "v") for n in range(2000)])
    assert shard.store._index is None
    shard("SCAN", 0)
    shard("DEL", *(f"new{n}" for n in range(2000)))
    assert shard.store._index is None
    assert len(shard("SCAN", 0, "COUNT", 5000)[1]) == 10


def test_the_order_is_that_of_the_hash() -> None:
    shard = Shard()
    shard.batch([("SET", f"k{n}", "v") for n in range(100)])
    found = shard("SCAN", 0, "COUNT", 100)[1]
    assert found == sorted(found, key=lambda key: hashing.xxh3_64(key))


# --- patterns ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        ("*", "a ab *", ""),
        ("a*", "a ab", "ba"),
        ("*b*c", "bc abxc bcc", "cb b c bcd"),
        ("h?llo", "hello hallo h?llo", "hllo heello"),
        ("h[ae]llo", "hello hallo", "hillo"),
        ("h[^e]llo", "hallo h^llo", "hello"),
        ("h[a-c]llo", "hallo hbllo", "hdllo"),
        ("h[c-a]llo", "hallo hbllo", "hdllo"),
        ("h\\*llo", "h*llo", "hello"),
        ("[\\]]", "]", "\\"),
        ("[]a", "", "a ]a []a"),
        ("[^]a", "xa", "a"),
        ("[ab", "a b", "c [ab"),
        ("a\\", "a\\", "a"),
        ("", "", "a"),
        ("a.c", "a.c", "abc"),
        ("a+", "a+", "aa"),
    ],
)
def test_patterns(pattern: str, matches: str, others: str) -> None:
    match = matcher(pattern.encode())
    for text in matches.split():
        assert match(text.encode()), text
    for text in others.split():
        assert not match(text.encode()), text


@given(st.binary(max_size=12), st.binary(max_size=12))
def test_any_pattern(pattern: bytes, text: bytes) -> None:
    matcher(pattern)(text)


@given(st.binary(max_size=12))
def test_what_is_escaped_matches_itself(text: bytes) -> None:
    assert matcher(b"".join(b"\\" + text[at : at + 1] for at in range(len(text))))(text)


def test_a_pattern_has_a_limit() -> None:
    assert matcher(b"?" * PATTERN_BYTES_MAX)(b"a" * PATTERN_BYTES_MAX)
    reply = Shard()("KEYS", b"?" * (PATTERN_BYTES_MAX + 1))
    assert isinstance(reply, ReplyError)


def test_a_pattern_of_many_stars_is_no_trap() -> None:
    start = time.perf_counter()
    assert not matcher(b"a*" * 2000 + b"b")(b"a" * 10_000)
    assert not matcher(b"*a" * 2000 + b"b")(b"a" * 10_000)
    assert time.perf_counter() - start < 5
