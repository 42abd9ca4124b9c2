"""The replicated log, beside what one would write in plain Python for it.

Unless a contestant says "fresh memory", a log is one that has run for a while: its entries were
compacted before each lap, and the lap writes into memory that the log has already.  Python's lists
refer to the payloads that they are given; ours copies them, for they are to be sent and stored.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from bench.cases import LEVELS, at_level, scaled
from bench.harness import AtMost, Case, Compare, Contestant, Faster, Goal, Kind
from ringleader.consensus.log import Block, Log

CALLS = scaled(1_000, 5)
TERM = 3


def payloads(size: int, count: int) -> list[bytes]:
    return [bytes([number % 251]) * size for number in range(count)]


def logged(size: int, count: int) -> Log:
    log = Log()
    log.append(TERM, payloads(size, count))
    return log


# --- appending ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "batch", "goal"),
    [
        (100, 1000, 8),
        (100, 100, 10),
        (100, 10, 16),
        (100, 1, 80),
        (16, 1000, 4),
        (1000, 1000, 50),
    ],
)
def test_append(compare: Compare, size: int, batch: int, goal: float) -> None:
    given = payloads(size, batch)
    calls = range(max(1, scaled(10_000, 20) // batch))
    ops = len(calls) * batch

    def into(log: Log) -> Callable[[], None]:
        def run() -> None:
            append = log.append
            for _ in calls:
                append(TERM, given)

        return run

    def into_fresh() -> Log:
        log = Log()
        into(log)()
        return log

    def tuples() -> list[tuple[int, bytes]]:
        entries: list[tuple[int, bytes]] = []
        for _ in calls:
            entries += [(TERM, payload) for payload in given]
        return entries

    def columns() -> tuple[list[int], list[bytes]]:
        terms: list[int] = []
        entries: list[bytes] = []
        for _ in calls:
            terms += [TERM] * len(given)
            entries += given
        return terms, entries

    ours = Log()
    into(ours)()

    def held() -> bytes:
        ours.compact(ours.last)
        into(ours)()
        return ours.payload.tobytes()

    wanted = b"".join(given) * len(calls)
    assert held() == wanted
    assert into_fresh().payload.tobytes() == wanted
    assert b"".join(payload for _, payload in tuples()) == b"".join(columns()[1]) == wanted
    goals: list[Goal] = [AtMost(goal)]
    if size <= 1000:
        goals.append(Faster(1, "list of (term, bytes)"))
    compare(
        Case(
            f"append {size} bytes, {batch} in a call",
            "entry",
            [
                Contestant(
                    "ringleader",
                    into(ours),
                    ops,
                    "ours",
                    prepare=lambda: ours.compact(ours.last),
                    answers=held,
                ),
                Contestant(
                    "ringleader, fresh memory",
                    into_fresh,
                    ops,
                    answers=lambda: into_fresh().payload.tobytes(),
                ),
                Contestant("list of (term, bytes)", tuples, ops, answers=lambda: len(tuples())),
                Contestant("two lists", columns, ops, answers=lambda: len(columns()[1])),
            ],
            goals,
        )
    )


# --- the follower -------------------------------------------------------------------------------


class PlainFollower:
    """The receiver's rule in plain Python: a list of (word, payload), struct and zlib's CRC."""

    def __init__(self) -> None:
        self.entries: list[tuple[int, bytes]] = []

    @staticmethod
    def sealed(block: Block) -> bytes:
        """A block with zlib's CRC in front, since Python has no CRC32C of its own."""
        data = bytes(block)
        return struct.pack("<I", zlib.crc32(data)) + data

    def try_append(self, prev_index: int, prev_term: int, sent: bytes | None) -> int:
        entries = self.entries
        assert prev_index <= len(entries)
        assert prev_index == 0 or entries[prev_index - 1][0] == prev_term
        if sent is None:
            return prev_index
        (crc,) = struct.unpack_from("<I", sent)
        data = memoryview(sent)[4:]
        if zlib.crc32(data) != crc:
            raise ValueError("checksum")
        first, count = struct.unpack_from("<QI", data, 8)
        assert first == prev_index + 1
        words = struct.unpack_from(f"<{count}Q", data, 32)
        ends = struct.unpack_from(f"<{count}Q", data, 32 + 8 * count)
        payload = sent[4 + 32 + 16 * count :]
        at = 0
        while at < count and prev_index + at < len(entries):
            if entries[prev_index + at][0] != words[at]:
                del entries[prev_index + at :]
                break
            at += 1
        starts = (0, *ends)
        entries += [
            (word, payload[start:end])
            for word, (start, end) in zip(words[at:], pairwise(starts[at:]), strict=True)
        ]
        return int(prev_index + count)


@pytest.mark.parametrize(("count", "goal"), [(0, 100), (1, 110), (10, 150), (100, 600)])
def test_follower_step(compare: Compare, count: int, goal: float) -> None:
    """Blocks one after the other, as they come from a leader: try_append of their bytes."""
    steps = scaled(100, 5)
    source = logged(100, steps * count)
    starts = range(0, steps * count, count) if count else [0] * steps
    blocks = [source.block(at + 1, at + count + 1) for at in starts] if count else []
    calls = list(zip(starts, map(bytes, blocks), strict=True)) if count else [(0, None)] * steps
    plain_sent = [PlainFollower.sealed(block) for block in blocks] if count else [None] * steps
    plain_calls = list(zip(starts, plain_sent, strict=True))

    def follow(follower: Any, given: list[tuple[int, Any]]) -> Callable[[], int]:
        def run() -> int:
            try_append, term, known = follower.try_append, 0, 0
            for prev, data in given:
                known = try_append(prev, term, data)
                if data is not None:
                    term = TERM
            return known

        return run

    ours, plain = Log(), PlainFollower()

    def whole() -> bytes:
        ours.truncate(1)
        assert follow(ours, calls)() == steps * count
        return ours.payload.tobytes()

    assert whole() == source.payload.tobytes()
    assert follow(plain, plain_calls)() == steps * count
    compare(
        Case(
            f"follower's step, {count} entries of 100 bytes, checked",
            "step",
            [
                Contestant(
                    "ringleader",
                    follow(ours, calls),
                    steps,
                    "ours",
                    prepare=lambda: ours.truncate(1),
                    answers=whole,
                ),
                Contestant(
                    "plain Python",
                    follow(plain, plain_calls),
                    steps,
                    prepare=plain.entries.clear,
                ),
            ],
            [AtMost(goal)],
        )
    )


def test_follower_block(compare: Compare) -> None:
    """One large block, with all instructions that this CPU has."""
    count = scaled(1_000, 20)
    data = bytes(logged(100, count).block(1, count + 1))
    sent = PlainFollower.sealed(Block(data))
    calls = range(scaled(10, 2))

    def contestant(name: str, kind: Kind, level: str) -> Contestant:
        log = Log()

        def run() -> int:
            known: Any = 0
            for _ in calls:
                log.truncate(1)
                known = log.try_append(0, 0, data)
            return known  # type: ignore[no-any-return]

        return Contestant(name, run, count * len(calls), kind, turn=at_level(level))

    plain = PlainFollower()

    def run_plain() -> int:
        for _ in calls:
            plain.entries.clear()
            plain.try_append(0, 0, sent)
        return len(plain.entries)

    compare(
        Case(
            f"try_append of a block of {count:,} entries of 100 bytes, checked",
            "entry",
            [
                contestant("ringleader", "ours", LEVELS[-1]),
                *(contestant(f"ringleader, {level}", "peer", level) for level in LEVELS[:-1]),
                Contestant("plain Python", run_plain, count * len(calls)),
            ],
            [AtMost(14)],
        )
    )


@pytest.mark.parametrize(("count", "goal"), [(10, 80), (1_000, 200)])
def test_conflict_search(compare: Compare, count: int, goal: float) -> None:
    """A block that the log has already: all its terms are compared, and nothing changes."""
    log = logged(16, count)
    block = log.block(1, count + 1)
    mine, theirs = log.terms.copy(), block.terms.copy()
    my_list, their_list = mine.tolist(), theirs.tolist()

    def ours() -> int:
        known: Any = 0
        try_append = log.try_append
        for _ in range(CALLS):
            known = try_append(0, 0, block)
        return known  # type: ignore[no-any-return]

    def with_numpy() -> int:
        at = 0
        for _ in range(CALLS):
            differ = mine != theirs
            at = int(differ.argmax()) if differ.any() else count
        return at

    plain_calls = scaled(50, 5)

    def with_loop() -> int:
        at = 0
        for _ in range(plain_calls):
            at = count
            for index, (one, other) in enumerate(zip(my_list, their_list, strict=True)):
                if one != other:
                    at = index
                    break
        return at

    assert ours() == with_numpy() == with_loop() == count
    compare(
        Case(
            f"conflict search among {count:,} terms",
            "search",
            [
                Contestant("ringleader", ours, CALLS, "ours"),
                Contestant("NumPy", with_numpy, CALLS),
                Contestant("loop over lists", with_loop, plain_calls),
            ],
            [AtMost(goal)],
        )
    )


# --- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["term(i)", "match(i, t)"])
def test_ask(compare: Compare, what: str) -> None:
    log = logged(16, 1_000)
    entries = [(TERM, payload) for payload in payloads(16, 1_000)]
    indices = [1 + number * 7 % 1_000 for number in range(CALLS)]

    def term() -> int:
        total, ask = 0, log.term
        for index in indices:
            total += ask(index)
        return total

    def match() -> int:
        total, ask = 0, log.match
        for index in indices:
            total += ask(index, TERM)
        return total

    def listed() -> int:
        total = 0
        for index in indices:
            total += entries[index - 1][0]
        return total

    def listed_match() -> int:
        total = 0
        for index in indices:
            total += 0 < index <= len(entries) and entries[index - 1][0] == TERM
        return total

    ours, peer = (term, listed) if what == "term(i)" else (match, listed_match)
    assert ours() == peer()
    compare(
        Case(
            what,
            "call",
            [
                Contestant("ringleader", ours, CALLS, "ours"),
                Contestant("list of (term, bytes)", peer, CALLS),
            ],
            [AtMost(60)],
        )
    )


@pytest.mark.parametrize("count", [1, 100, 1_000])
def test_block_and_apply(compare: Compare, count: int) -> None:
    """What a leader does with new entries: a block to send and store; and the commands applied."""
    log = logged(100, count)
    entries = [(TERM, payload) for payload in payloads(100, count)]

    def ours() -> int:
        block = log.block(1, count + 1)
        total = block.nbytes
        for index, command in log.entries(1, count + 1):
            total += index + len(command)
        return total

    def plain() -> int:
        ends, end = [], 0
        for _, payload in entries:
            end += len(payload)
            ends.append(end)
        words = [word for word, _ in entries]
        data = struct.pack("<4sHHQIIQ", b"RLBK", 1, 0, 1, count, 0, end)
        data += struct.pack(f"<{2 * count}Q", *words, *ends)
        data += b"".join(payload for _, payload in entries)
        zlib.crc32(data)
        total = len(data)
        for index, (_, command) in enumerate(entries, 1):
            total += index + len(command)
        return total

    assert ours() == plain()
    compare(
        Case(
            f"a block of {count:,} entries of 100 bytes, and its commands",
            "entry",
            [
                Contestant("ringleader", ours, count, "ours"),
                Contestant("plain Python", plain, count),
            ],
        )
    )
