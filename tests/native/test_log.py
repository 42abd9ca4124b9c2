"""The native log does what its reference does, and both keep their contract."""

from __future__ import annotations

import gc
import json
import operator
import os
import pickle
import random
import struct
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from ringleader import hashing
from ringleader._native import log as native
from ringleader._reference import log as reference
from ringleader.errors import (
    BlockError,
    FormatTypeError,
    LimitError,
    LogError,
    LogIndexError,
    RingleaderError,
    SettingError,
    SettingTypeError,
    VersionError,
)
from ringleader.limits import (
    BLOCK_BYTES_MAX,
    BLOCK_ENTRIES_MAX,
    INDEX_MAX,
    PAYLOAD_BYTES_MAX,
    TERM_MAX,
)

VECTORS = json.loads((Path(__file__).resolve().parent.parent / "vectors" / "log.json").read_text())
CONTROL = 1 << 63


@pytest.fixture(params=["native", "reference"])
def log(request: pytest.FixtureRequest) -> ModuleType:
    return {"native": native, "reference": reference}[request.param]


def other(module: ModuleType) -> ModuleType:
    return reference if module is native else native


def filled(module: ModuleType, words: list[int], index: int = 0, term: int = 0) -> Any:
    """A log with such words behind (index, term); the payload of entry i is i as text."""
    made = module.Log(index, term)
    for word in words:
        at = made.append(word & ~CONTROL, [b"%d" % (made.last + 1)], bool(word & CONTROL))
        assert at == made.last
    return made


def content(made: Any) -> tuple[Any, ...]:
    """Everything that a log, or entries, or a block, show."""
    indices = range(made.first, made.last + 1)
    shown = (
        made.first,
        made.last,
        len(made),
        made.terms.tolist(),
        (made.ends - np.uint64(made.ends_origin)).tolist(),
        made.payload.tobytes(),
        made.payload_bytes,
        [bytes(made[at]) for at in indices],
        [made.term(at) for at in indices],
        [made.is_control(at) for at in indices],
    )
    for column in (made.terms, made.ends, made.payload):
        assert not column.flags.writeable
    assert (made.terms.dtype, made.payload.dtype) == (np.uint64, np.uint8)
    return shown


def state(made: Any) -> tuple[Any, ...]:
    """All that a log is: content, and where it begins."""
    return (*content(made), made.base, made.base_term, made.last_term, made.written_from)


def refused(
    made: Any, error: type[Exception], call: Callable[[], Any], match: str | None = None
) -> None:
    """The call raises, and the log stays as it was."""
    before = state(made)
    with pytest.raises(error, match=match) as caught:
        call()
    assert isinstance(caught.value, RingleaderError)
    assert state(made) == before


def sealed(data: bytes | bytearray) -> bytes:
    """The same bytes with the right checksum."""
    crc = hashing.crc32c(bytes(data[:20]) + bytes(data[24:]))
    return bytes(data[:20]) + struct.pack("<I", crc) + bytes(data[24:])


# --- blocks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS["blocks"], ids=lambda vector: str(vector["first"]))
def test_golden_blocks(log: ModuleType, vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["block"])
    payloads = [bytes.fromhex(payload) for payload in vector["payloads"]]
    words = [
        term | (CONTROL if control else 0)
        for term, control in zip(vector["terms"], vector["control"], strict=True)
    ]
    block = log.Block(data)
    assert block.first == vector["first"]
    assert block.last == vector["first"] + len(words) - 1
    assert block.terms.tolist() == words
    assert [block.term(at) for at in range(block.first, block.last + 1)] == vector["terms"]
    assert [bytes(block[at]) for at in range(block.first, block.last + 1)] == payloads
    assert block.has_control == any(vector["control"])
    assert bytes(log.Block.pack(vector["first"], words, payloads)) == data
    made = log.Log(vector["first"] - 1, 1 if vector["first"] > 1 else 0)
    for word, payload in zip(words, payloads, strict=True):
        made.append(word & ~CONTROL, [payload], bool(word & CONTROL))
    assert bytes(made.block(made.first, made.last + 1)) == data
    arrived = log.Log(made.base, made.base_term)
    assert arrived.try_append(arrived.base, arrived.base_term, data) == made.last
    assert content(arrived) == content(made)


def test_the_documented_block_is_golden() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "formats.md"
    if not page.exists():
        pytest.skip("the docs are not here")
    text = page.read_text().partition("## Block, format")[2]
    documented = bytes.fromhex(text.partition("```text")[2].partition("```")[0])
    assert documented.hex() in [vector["block"] for vector in VECTORS["blocks"]]
    block = native.Block(documented)
    assert list(block) == [(1, b"set x 1"), (2, b""), (3, b"set y 2")]


def test_a_block_shows_its_entries(log: ModuleType) -> None:
    block = filled(log, [1, 2 | CONTROL, 2], 6, 1).block(7, 10)
    twin = filled(other(log), [1, 2 | CONTROL, 2], 6, 1).block(7, 10)
    assert content(block) == content(twin)
    assert (block.first, block.last, block.last_term, len(block)) == (7, 9, 2, 3)
    assert (block.payload_bytes, block.nbytes) == (3, 32 + 3 * 16 + 3)
    assert block.crc == struct.unpack_from("<I", bytes(block), 20)[0]
    assert bytes(block) == bytes(twin)
    assert list(block) == [(7, b"7"), (9, b"9")]
    assert isinstance(block[7], memoryview)
    assert block[7].readonly
    assert repr(block) == repr(twin) == f"<Block of entries 7 ... 9, {block.nbytes} bytes>"
    for index in (0, 6, 10, INDEX_MAX):
        for call in (block.term, block.is_control, block.__getitem__):
            with pytest.raises(LogIndexError, match=r"7 \.\.\. 9"):
                call(index)
    with pytest.raises(LogIndexError):
        block.term(-1)
    with pytest.raises(SettingTypeError):
        block.term("7")


def test_blocks_are_values(log: ModuleType) -> None:
    one, two, three = (log.Block.pack(1, 1, payloads) for payloads in ([b"a"], [b"a"], [b"b"]))
    assert one == two
    assert hash(one) == hash(two)
    assert one != three
    assert one != bytes(one)
    again = pickle.loads(pickle.dumps(one))
    assert again == one
    assert type(again) is type(one)
    with pytest.raises(TypeError):
        one.__init__(bytes(three))
    assert bytes(one) == bytes(two)


def test_bytes_are_not_copied_and_other_buffers_are() -> None:
    data = bytes(native.Block.pack(1, 1, [b"abc"]))
    assert bytes(native.Block(data)) is data
    mutable = bytearray(data)
    block = native.Block(mutable)
    mutable[-1] ^= 1
    assert bytes(block) == data
    assert memoryview(block) == data
    assert memoryview(block).readonly


def test_views_of_a_block_keep_it_alive(log: ModuleType) -> None:
    block = log.Block.pack(1, [1, 2], [b"abc", b"de"])
    views = [block[1], block[2], block.terms, block.ends, block.payload]
    iterator = iter(block)
    del block
    gc.collect()
    assert [bytes(views[0]), bytes(views[1])] == [b"abc", b"de"]
    assert [view.tolist() for view in views[2:]] == [[1, 2], [3, 5], list(b"abcde")]
    assert list(iterator) == [(1, b"abc"), (2, b"de")]


def test_pack_refuses(log: ModuleType) -> None:
    pack = log.Block.pack
    refusals: list[tuple[type[Exception], tuple[Any, ...]]] = [
        (LogIndexError, (0, 1, [b""])),
        (LogIndexError, (-1, 1, [b""])),
        (LogIndexError, (2**64, 1, [b""])),
        (LogIndexError, (INDEX_MAX, 1, [b"", b""])),
        (SettingTypeError, (True, 1, [b""])),
        (SettingTypeError, (1.0, 1, [b""])),
        (SettingError, (1, 1, [])),
        (SettingError, (1, [1], [b"", b""])),
        (LogError, (1, 0, [b""])),
        (LogError, (1, CONTROL, [b""])),
        (LogError, (1, TERM_MAX + 1, [b""])),
        (LogError, (1, -1, [b""])),
        (LogError, (1, 2**64, [b""])),
        (LogError, (1, 2**64 - 1, [b""])),
        (LogError, (1, [2, 1], [b"", b""])),
        (LogError, (1, [2, 1 | CONTROL], [b"", b""])),
        (SettingTypeError, (1, ["1"], [b""])),
        (SettingTypeError, (1, 1, ["x"])),
        (SettingTypeError, (1, 1, b"x")),
        (SettingTypeError, (1, 1, 5)),
        (LimitError, (1, 1, [b""] * (BLOCK_ENTRIES_MAX + 1))),
    ]
    for error, arguments in refusals:
        with pytest.raises(error):
            pack(*arguments)
    assert pack(INDEX_MAX, TERM_MAX, [b"x"]).last == INDEX_MAX
    assert pack(1, 1, [bytearray(b"x"), memoryview(b"yz")[::2]], True).is_control(2)
    assert pack(np.int64(1), np.uint8(1), (b"x" for _ in range(3))).last == 3


def test_block_takes_buffers_only(log: ModuleType) -> None:
    made = log.Log()
    for nothing in ("RLBK", 5, None, ["RLBK"]):
        with pytest.raises(FormatTypeError):
            log.Block(nothing)
        refused(made, FormatTypeError, lambda nothing=nothing: made.append_block(nothing))
        if nothing is not None:
            refused(made, FormatTypeError, lambda it=nothing: made.try_append(0, 0, it))


GOOD = bytes(reference.Block.pack(5, [1, 2, 2 | CONTROL, 9], [b"abc", b"", b"defg", b"h" * 20]))


def with_field(at: int, form: str, value: int, data: bytes = GOOD) -> bytes:
    changed = bytearray(data)
    struct.pack_into(form, changed, at, value)
    return sealed(changed)


HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "short": GOOD[:31],
    "header only": sealed(GOOD[:32]),
    "magic": sealed(b"RLBX" + GOOD[4:]),
    "version 0": with_field(4, "<H", 0),
    "flags": with_field(6, "<H", 3),
    "high flag": with_field(6, "<H", 0x8001),
    "no entries": with_field(16, "<I", 0),
    "no entries at all": sealed(with_field(16, "<I", 0, with_field(24, "<Q", 0))[:32]),
    "too many entries": with_field(16, "<I", BLOCK_ENTRIES_MAX + 1),
    "2**32-1 entries": with_field(16, "<I", 2**32 - 1),
    "one entry more": with_field(16, "<I", 5),
    "one entry fewer": with_field(16, "<I", 3),
    "index 0": with_field(8, "<Q", 0),
    "index over": with_field(8, "<Q", INDEX_MAX - 2),
    "index 2**64-1": with_field(8, "<Q", 2**64 - 1),
    "payload one more": with_field(24, "<Q", 28),
    "payload one fewer": with_field(24, "<Q", 26),
    "payload 2**64-1": with_field(24, "<Q", 2**64 - 1),
    "payload wraps": with_field(24, "<Q", 2**64 - 64),
    "trailing": sealed(GOOD + b"x"),
    "cut": sealed(GOOD[:-1]),
    "crc": GOOD[:20] + bytes(4) + GOOD[24:],
    "term 0": with_field(32, "<Q", 0),
    "control of term 0": with_field(32, "<Q", CONTROL),
    "term back": with_field(40, "<Q", 10),
    "term back at the end": with_field(56, "<Q", 1),
    "term over": with_field(56, "<Q", TERM_MAX + 1),
    "term all ones": with_field(56, "<Q", 2**64 - 1),
    "flag without control": with_field(48, "<Q", 2),
    "control without flag": with_field(6, "<H", 0),
    "end back": with_field(72, "<Q", 2),
    "first end over": with_field(64, "<Q", 100),
    "end over": with_field(80, "<Q", 28),
    "end 2**63": with_field(80, "<Q", 2**63),
    "end 2**64-1": with_field(64, "<Q", 2**64 - 1),
    "last end fewer": with_field(88, "<Q", 26),
    "last end more": with_field(88, "<Q", 28),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_every_guarantee_is_checked(log: ModuleType, simd: str, name: str) -> None:
    data = HOSTILE[name]
    made = log.Log(4, 1)
    for call in (
        lambda: log.Block(data),
        lambda: made.append_block(data),
        lambda: made.try_append(4, 1, data),
        lambda: made.try_append(4, 1, bytearray(data)),
    ):
        refused(made, BlockError, call, "not a block")
    texts = []
    for module in (native, reference):
        with pytest.raises(BlockError) as caught:
            module.Block(data)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]
    assert made.try_append(4, 1, GOOD) == 8


def test_a_newer_version_says_so(log: ModuleType) -> None:
    for version in (2, 65535):
        with pytest.raises(VersionError, match=f"version {version}.*upgrade"):
            log.Block(with_field(4, "<H", version))


@pytest.mark.parametrize("count", [2, 7, 8, 9, 15, 16, 17, 33, 100])
def test_wrong_columns_are_found_wherever_they_are(simd: str, count: int) -> None:
    block = bytes(native.Block.pack(1, list(range(5, 5 + count)), [b"xyz"] * count))
    for at in range(count):
        for value in (0, 4, TERM_MAX + 1, TERM_MAX + 1 | CONTROL, 2**64 - 1):
            if at or value != 4:
                with pytest.raises(BlockError):
                    native.Block(with_field(32 + 8 * at, "<Q", value, block))
        for value in (3 * at - 1, 3 * at + 7, 2**63, 2**64 - 3):
            with pytest.raises(BlockError):
                native.Block(with_field(32 + 8 * (count + at), "<Q", value % 2**64, block))
        marked = with_field(32 + 8 * at, "<Q", 5 + at | CONTROL, block)
        with pytest.raises(BlockError, match="control"):
            native.Block(marked)
        assert native.Block(with_field(6, "<H", 1, marked)).is_control(1 + at)


def test_a_payload_over_its_bound_is_found() -> None:
    """Twice: by the check of ends, and as bytes that are really there."""
    long = bytes(PAYLOAD_BYTES_MAX + 1)
    for call in (
        lambda: native.Block.pack(1, 1, [b"", long]),
        lambda: native.Log().append(1, [b"", long]),
        lambda: native.Log().append(1, [b"", bytearray(b"x"), long]),
    ):
        with pytest.raises(LimitError, match=r"position [12] .*PAYLOAD_BYTES_MAX"):
            call()
    assert native.Log().append(1, [long[:-1]]) == 1
    front = struct.pack("<4sHHQI", b"RLBK", 1, 0, 1, 2)
    rest = struct.pack("<5Q", len(long), 1, 1, 0, len(long)) + long
    crc = hashing.crc32c(rest, hashing.crc32c(front))
    with pytest.raises(BlockError, match="payload has more than"):
        native.Block(front + struct.pack("<I", crc) + rest)
    rest = struct.pack("<5Q", len(long), 1, 1, 1, len(long)) + long
    crc = hashing.crc32c(rest, hashing.crc32c(front))
    assert native.Block(front + struct.pack("<I", crc) + rest).payload_bytes == len(long)


def outcome(call: Callable[[], Any]) -> Any:
    try:
        return bytes(call())
    except RingleaderError as error:
        return type(error), str(error)


@settings(max_examples=400)
@given(data=st.data(), seal=st.booleans())
def test_hostile_bytes_meet_the_same_answer(data: st.DataObject, seal: bool) -> None:
    """Truncations, bit flips, overwritten fields: sealed anew, so that the deep checks see them."""
    count = data.draw(st.integers(1, 12))
    words = sorted(data.draw(st.lists(st.integers(1, 5), min_size=count, max_size=count)))
    marks = data.draw(st.lists(st.sampled_from([0, 0, CONTROL]), min_size=count, max_size=count))
    payloads = data.draw(st.lists(st.binary(max_size=20), min_size=count, max_size=count))
    words = list(map(operator.or_, words, marks))
    hostile = bytearray(bytes(reference.Block.pack(3, words, payloads)))
    for _ in range(data.draw(st.integers(0, 3))):
        if not hostile:
            break
        kind = data.draw(st.sampled_from(["flip", "cut", "grow", "word"]))
        if kind == "flip":
            bit = data.draw(st.integers(0, 8 * len(hostile) - 1))
            hostile[bit // 8] ^= 1 << bit % 8
        elif kind == "cut":
            del hostile[data.draw(st.integers(0, len(hostile))) :]
        elif kind == "grow":
            hostile += data.draw(st.binary(max_size=9))
        elif len(hostile) >= 40:
            at = data.draw(st.integers(1, len(hostile) // 8 - 1)) * 8
            value = data.draw(
                st.sampled_from([0, 1, 2, 3, 255, 2**31, 2**62 - 1, 2**62, 2**63, 2**64 - 1])
                | st.integers(0, 2**64 - 1)
            )
            struct.pack_into("<Q", hostile, at, value)
    sent = sealed(hostile) if seal and len(hostile) >= 24 else bytes(hostile)
    answer = outcome(lambda: native.Block(sent))
    assert answer == outcome(lambda: reference.Block(sent))
    made = filled(native, [1, 1])
    before = state(made)
    if isinstance(answer, bytes):
        assert content(native.Block(sent)) == content(reference.Block(sent))
    else:
        with pytest.raises(answer[0]):
            made.try_append(2, 1, sent)
        assert state(made) == before


# --- appending ----------------------------------------------------------------------------------


def test_append_numbers_from_one(log: ModuleType) -> None:
    made = log.Log()
    assert (made.first, made.last, made.base, made.last_term, len(made)) == (1, 0, 0, 0, 0)
    assert made.written_from == 1
    assert made.append(1, [b"a", b"bc"]) == 1
    assert made.append(1, (b"",)) == 3
    assert made.written_from == 3
    assert made.append(4, (bytearray(b"de"), memoryview(b"fghi")[::2]), control=True) == 4
    assert made.append(4, iter([np.array([1], np.uint16)])) == 6
    assert (made.last, made.last_term) == (6, 4)
    assert made.terms.tolist() == [1, 1, 1, 4 | CONTROL, 4 | CONTROL, 4]
    assert made.ends.tolist() == [1, 3, 3, 5, 7, 9]
    assert made.payload.tobytes() == b"abcdefh\1\0"
    assert made.written_from == 6
    assert made.append(4, []) == 7
    assert made.written_from == 7
    assert len(made) == 6
    assert repr(made) == "<Log of entries 1 ... 6>"
    assert repr(log.Log(5, 2)) == "<Log: no entries after 5>"


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 255, 256, 257, 1000])
def test_payloads_of_every_length_arrive(log: ModuleType, simd: str, count: int) -> None:
    rng = random.Random(count)
    payloads = [rng.randbytes(rng.choice([i % 150, 0, 63, 64, 65, 511, 513])) for i in range(count)]
    made = log.Log()
    for term in (1, 2):
        made.append(term, payloads)
        assert made.payload.tobytes() == b"".join(payloads) * term
    assert [bytes(made[at]) for at in range(1, 2 * count + 1)] == payloads * 2
    assert list(made.entries(1, count + 1)) == list(enumerate(payloads, 1))


@pytest.mark.parametrize("size", range(0, 200, 7))
def test_nothing_is_written_past_the_last_payload(simd: str, size: int) -> None:
    """Short copies store whole vectors where there is room, and only there."""
    held = native.Log()
    for count in range(1, 12):
        held.append(1, [bytes([count]) * size] * count)
        assert held.payload.tobytes() == b"".join(
            bytes([i]) * (size * i) for i in range(1, count + 1)
        )
    packed = native.Block.pack(1, 1, [b"\xaa" * size] * 9)
    assert native.Block(bytes(packed)).payload.tobytes() == b"\xaa" * (9 * size)


def test_append_refuses(log: ModuleType) -> None:
    made = filled(log, [1, 3])
    append = made.append
    for number in range(3):
        few = [b"x"] * (300 * number)
        for wrong in ("x", 1, None, True, 1.5, [b"x"], object()):
            refused(
                made,
                SettingTypeError,
                lambda few=few, wrong=wrong: append(3, [*few, wrong, b"y"]),
                f"position {len(few)} is {type(wrong).__name__}",
            )
    for wrong in (b"x", "x", bytearray(b"x"), memoryview(b"x"), "", 5, None):
        refused(made, SettingTypeError, lambda wrong=wrong: append(3, wrong), "payloads is")
    for term in (0, 1, 2, -1, TERM_MAX + 1, 2**63, 2**64, CONTROL | 3):
        refused(made, LogError, lambda term=term: append(term, [b"x"]))
        refused(made, LogError, lambda term=term: append(term, []))
    for term in (True, "3", 3.0, None):
        refused(made, SettingTypeError, lambda term=term: append(term, [b"x"]))
    assert append(TERM_MAX, [b"x"]) == 3
    full = log.Log(INDEX_MAX - 2, 1)
    refused(full, LimitError, lambda: full.append(1, [b"x"] * 3))
    assert full.append(1, [b"x", b"y"]) == INDEX_MAX - 1
    refused(full, LimitError, lambda: full.append(1, [b"x"]))


def test_an_iterable_that_fails_changes_nothing(log: ModuleType) -> None:
    made = filled(log, [1])

    def payloads() -> Any:
        yield b"x"
        raise KeyError("its own error")

    before = state(made)
    with pytest.raises(KeyError, match="its own error"):
        made.append(1, payloads())
    assert state(made) == before


def test_an_iterable_may_use_the_log_itself(log: ModuleType) -> None:
    made = log.Log()

    def payloads() -> Any:
        made.append(7, [b"inner"])
        yield b"outer"

    made.append(7, payloads())
    assert list(made.entries(1, 3)) == [(1, b"inner"), (2, b"outer")]


def test_append_block(log: ModuleType) -> None:
    made = filled(log, [1, 3])
    block = log.Block.pack(3, [3, 4 | CONTROL], [b"x", b"yz"])
    assert made.append_block(block) == 4
    assert made.written_from == 3
    assert made.terms.tolist() == [1, 3, 3, 4 | CONTROL]
    assert bytes(made[4]) == b"yz"
    refused(made, LogError, lambda: made.append_block(block), "does not follow")
    refused(made, LogError, lambda: made.append_block(log.Block.pack(6, 4, [b""])))
    refused(made, LogError, lambda: made.append_block(log.Block.pack(5, 3, [b""])), "goes back")
    for kind in (bytes, bytearray, memoryview):
        data = bytes(log.Block.pack(made.last + 1, 4, [b"q"]))
        assert made.append_block(kind(data)) == made.last
    assert made.last == 7


# --- the receiver's rule ------------------------------------------------------------------------


def block_of(module: ModuleType, first: int, words: list[int]) -> Any:
    return module.Block.pack(first, words, [b"new %d" % i for i in range(len(words))])


#: The log's words, prev_index, prev_term, the block's words; the answer, what the log then holds
#: and written_from.  The log's base is 0.
RULE: dict[str, tuple[list[int], int, int, list[int], Any, list[int], int]] = {
    "first of all": ([], 0, 0, [1, 1], 2, [1, 1], 1),
    "heartbeat on nothing": ([], 0, 0, [], 0, [], 1),
    "heartbeat at the end": ([1, 1], 2, 1, [], 2, [1, 1], 3),
    "heartbeat before the end": ([1, 1, 2], 2, 1, [], 2, [1, 1, 2], 4),
    "at the end": ([1, 1], 2, 1, [2, 3], 4, [1, 1, 2, 3], 3),
    "nothing there": ([1, 1], 5, 1, [2], (2, 1), [1, 1], 3),
    "nothing at all": ([], 5, 3, [3], (0, 0), [], 1),
    "another term there": ([1, 1, 2, 2], 3, 1, [3], (2, 1), [1, 1, 2, 2], 5),
    "older term there": ([1, 1, 1], 3, 4, [5], (3, 1), [1, 1, 1], 4),
    "all terms too new": ([4, 4], 2, 1, [5], (0, 0), [4, 4], 3),
    "duplicate": ([1, 1, 2], 1, 1, [1, 2], 3, [1, 1, 2], 4),
    "stale, shorter": ([1, 1, 2, 2], 1, 1, [1], 2, [1, 1, 2, 2], 5),
    "overlap": ([1, 1, 2], 1, 1, [1, 2, 2, 3], 5, [1, 1, 2, 2, 3], 4),
    "conflict at once": ([1, 1, 2, 2], 2, 1, [3], 3, [1, 1, 3], 3),
    "conflict later": ([1, 1, 2, 2, 2], 2, 1, [2, 3, 3], 5, [1, 1, 2, 3, 3], 4),
    "conflict, lower term": ([1, 1, 4, 4], 2, 1, [2, 3], 4, [1, 1, 2, 3], 3),
    "conflict from the first": ([2, 2], 0, 0, [1], 1, [1], 1),
    "kinds differ": ([1, 1], 0, 0, [1, 1 | CONTROL], 2, [1, 1 | CONTROL], 2),
    "index 0 of a term": ([1], 0, 1, [1], (0, 0), [1], 2),
}


@pytest.mark.parametrize("name", RULE)
@pytest.mark.parametrize("base", [0, 10])
def test_the_receivers_rule(log: ModuleType, simd: str, name: str, base: int) -> None:
    words, prev, prev_term, arrived, answer, then, written = RULE[name]
    if base:  # the same story behind a snapshot whose last entry has term 1
        if name == "index 0 of a term":
            pytest.skip("the base has that term")
        prev_term = 1 if prev == 0 else prev_term
        prev, written = prev + base, written + base
        if isinstance(answer, tuple):
            answer = (answer[0] + base, answer[1] or 1)
        else:
            answer += base
    for form in (lambda block: block, bytes, lambda block: bytearray(bytes(block))):
        made = filled(log, words, base, 1 if base else 0)
        block = form(block_of(log, prev + 1, arrived)) if arrived else None
        assert made.try_append(prev, prev_term, block) == answer
        assert made.terms.tolist() == then
        assert made.written_from == written
        assert made.last == base + len(then)
        new = [at for at in range(base + 1, made.last + 1) if bytes(made[at])[:3] == b"new"]
        assert new == list(range(written, made.last + 1))


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17, 40, 1000])
def test_a_conflict_is_found_wherever_it_is(simd: str, count: int) -> None:
    mine = filled(native, [5] * count)
    for at in {0, 1, 6, 7, 8, 9, 15, 16, 17, count - 2, count - 1} & set(range(count)):
        words = [5] * at + [6] * (count - at)
        held = filled(native, [])
        held.append_block(mine.block(1, count + 1))
        assert held.try_append(0, 0, native.Block.pack(1, words, [b"n"] * count)) == count
        assert held.written_from == at + 1
        assert held.terms.tolist() == words
        marked = [5] * at + [5 | CONTROL] + [5] * (count - at - 1)
        held = filled(native, [])
        held.append_block(mine.block(1, count + 1))
        held.try_append(0, 0, native.Block.pack(1, marked, [b"n"] * count))
        assert held.written_from == at + 1
        assert held.find_control(1) == at + 1
    assert mine.try_append(0, 0, bytes(mine.block(1, count + 1))) == count
    assert mine.written_from == count + 1


def test_blocks_from_before_the_base(log: ModuleType) -> None:
    def made() -> Any:
        return filled(log, [2, 3], 5, 2)  # entries 6 and 7

    assert made().try_append(2, 1, None) == 2
    assert made().try_append(2, 1, block_of(log, 3, [1, 9])) == 4
    assert made().try_append(2, 1, block_of(log, 3, [1, 9, 9])) == 5
    assert made().try_append(2, 1, block_of(log, 3, [1, 1, 2, 2])) == 6
    one = made()
    assert one.try_append(2, 1, block_of(log, 3, [1, 1, 2, 2, 3, 3])) == 8
    assert (one.written_from, one.last) == (8, 8)
    one = made()
    assert one.try_append(4, 1, block_of(log, 5, [2, 4])) == 6
    assert (one.written_from, one.last, bytes(one[6])) == (6, 6, b"new 1")
    one = made()
    refused(
        one,
        LogError,
        lambda: one.try_append(2, 1, block_of(log, 3, [1, 1, 3, 3])),
        "entry 5 has term 2",
    )
    assert one.try_append(5, 2, None) == 5
    assert one.try_append(5, 1, None) == (5, 2)
    empty = log.Log(5, 2)
    assert empty.try_append(3, 2, block_of(log, 4, [2, 2, 2])) == 6
    assert (empty.written_from, empty.last) == (6, 6)
    assert empty.try_append(9, 2, None) == (6, 2)
    assert empty.try_append(9, 1, None) == (5, 2)


def test_try_append_refuses(log: ModuleType) -> None:
    made = filled(log, [1, 1, 2])
    block = block_of(log, 4, [2])
    refused(made, LogError, lambda: made.try_append(2, 1, block), "does not follow")
    refused(made, LogError, lambda: made.try_append(3, 3, block), "goes back")
    for index in (-1, INDEX_MAX + 1, 2**64, 2**64 - 1):
        refused(made, LogIndexError, lambda index=index: made.try_append(index, 2, None))
        refused(made, LogIndexError, lambda index=index: made.match(index, 2))
    for term in (-1, TERM_MAX + 1, 2**64, 2 | CONTROL):
        refused(made, LogError, lambda term=term: made.try_append(3, term, None))
        refused(made, LogError, lambda term=term: made.match(3, term))
    for wrong in (True, "1", 1.0, None):
        refused(made, SettingTypeError, lambda wrong=wrong: made.try_append(wrong, 2, None))
        refused(made, SettingTypeError, lambda wrong=wrong: made.try_append(3, wrong, None))
    assert made.try_append(INDEX_MAX, TERM_MAX, None) == (3, 2)


# --- reading ------------------------------------------------------------------------------------


def test_terms_and_matches(log: ModuleType) -> None:
    made = filled(log, [2, 4 | CONTROL, 4, 7], 5, 2)
    assert [made.term(at) for at in range(5, 10)] == [2, 2, 4, 4, 7]
    assert [made.is_control(at) for at in range(6, 10)] == [False, True, False, False]
    for index, term in ((5, 2), (6, 2), (7, 4), (8, 4), (9, 7)):
        assert made.match(index, term)
        assert not made.match(index, term + 1)
        assert not made.match(index, 0)
    assert not made.match(4, 2)
    assert not made.match(10, 7)
    assert not made.match(0, 0)
    assert log.Log().match(0, 0)
    assert not log.Log().match(0, 1)
    assert log.Log().term(0) == 0
    for index in (0, 4):
        with pytest.raises(LogIndexError, match=r"compacted|no entry 0"):
            made.term(index)
    with pytest.raises(LogIndexError, match="last one is 9"):
        made.term(10)
    for call in (made.is_control, made.__getitem__):
        for index in (0, 4, 5, 10, -1, 2**64):
            with pytest.raises(LogIndexError):
                call(index)
    for wrong in (True, "6", 6.0, None):
        for call in (made.term, made.is_control, made.__getitem__, made.find_control):
            with pytest.raises(SettingTypeError):
                call(wrong)
    assert made.term(np.int32(7)) == 4


def test_control_entries_are_found(log: ModuleType) -> None:
    made = filled(log, [1, 1 | CONTROL, *[1] * 20, 2 | CONTROL, 2], 5, 1)
    assert [made.find_control(lo) for lo in (0, 5, 6, 7, 8, 27, 28, 29, 30, INDEX_MAX)] == (
        [7, 7, 7, 7, 28, 28, 28, 0, 0, 0]
    )
    assert log.Log().find_control(1) == 0
    assert list(made.entries(6, 9)) == [(6, b"6"), (8, b"8")]


def test_last_not_after(log: ModuleType) -> None:
    made = filled(log, [2, 2, 4, 4, 7], 5, 2)
    answers = {
        (10, 7): (10, 7),
        (10, 6): (9, 4),
        (10, 3): (7, 2),
        (10, 2): (7, 2),
        (10, 1): (5, 2),
        (8, 7): (8, 4),
        (6, 7): (6, 2),
        (5, 7): (5, 2),
        (4, 7): (5, 2),
        (0, 0): (5, 2),
        (INDEX_MAX, TERM_MAX): (10, 7),
    }
    for (index, term), answer in answers.items():
        assert made.last_not_after(index, term) == answer
    assert log.Log().last_not_after(9, 9) == (0, 0)
    for index, term in ((-1, 1), (2**64, 1)):
        with pytest.raises(LogIndexError):
            made.last_not_after(index, term)
    with pytest.raises(LogError):
        made.last_not_after(6, -1)


def test_blocks_and_entries_of_a_log(log: ModuleType) -> None:
    made = log.Log(10, 1)
    made.append(1, [b"x" * size for size in (5, 0, 20, 1)])
    made.append(2, [b"y" * 9, b"z"], control=True)
    both: tuple[Callable[..., Any], ...] = (made.block, made.entries)
    for take in both:
        assert content(take(11, 17)) == content(made)
        assert content(take(13, 15)) == content(made)[:0] + content(
            log.Block.pack(13, 1, [b"x" * 20, b"x"])
        )
        sizes = [len(take(11, 17, max_bytes)) for max_bytes in (0, 1, 53, 68, 69, 104, 105, 2**40)]
        assert sizes == [1, 1, 1, 1, 2, 2, 3, 6]
        assert len(take(13, 17, max_bytes=10)) == 1
        for lo, hi in ((10, 12), (0, 12), (12, 18), (18, 18), (18, 19), (14, 13), (11, 2**64)):
            with pytest.raises(LogIndexError):
                take(lo, hi)
        for wrong in (-1, 2**64):
            with pytest.raises(SettingError):
                take(11, 12, wrong)
        for wrong in (True, "1", None):
            with pytest.raises(SettingTypeError):
                take(11, 12, wrong)
            with pytest.raises(SettingTypeError):
                take(wrong, 12)
    with pytest.raises(LogIndexError):
        made.block(12, 12)
    none = made.entries(12, 12)
    assert (len(none), none.first, none.last, list(none)) == (0, 12, 11, [])
    assert content(none)[3:] == ([], [], b"", 0, [], [], [])
    assert len(made.entries(17, 17)) == 0
    assert repr(none) == "<Entries: none, before 12>"
    assert repr(made.entries(12, 15)) == "<Entries 12 ... 14>"
    with pytest.raises(LogIndexError):
        none.term(12)
    with pytest.raises(LogIndexError):
        log.Log().block(1, 1)
    assert len(log.Log().entries(1, 1)) == 0
    with pytest.raises(LogIndexError):
        log.Log().entries(0, 0)


def test_bare_blocks_keep_control_payloads(log: ModuleType) -> None:
    made = log.Log()
    made.append(1, [b"abc", b"de"])
    made.append(2, [b"member"], control=True)
    made.append(2, [b"f" * 100])
    bare = made.block(1, 5, bare=True)
    assert bytes(bare) == bytes(log.Block.pack(1, made.terms.tolist(), [b"", b"", b"member", b""]))
    assert log.Block(bytes(bare)) == bare
    assert [len(made.block(1, 5, size, bare=True)) for size in (0, 63, 64, 85, 86, 102)] == (
        [1, 1, 2, 2, 3, 4]
    )


def test_a_block_has_at_most_so_many_entries() -> None:
    made = native.Log()
    made.append(1, [b""] * (BLOCK_ENTRIES_MAX + 5))
    assert len(made.block(1, made.last + 1)) == BLOCK_ENTRIES_MAX
    assert len(made.block(1, made.last + 1, bare=True)) == BLOCK_ENTRIES_MAX
    assert len(made.entries(1, made.last + 1)) == BLOCK_ENTRIES_MAX
    block = native.Block(bytes(made.block(3, made.last + 1)))
    assert (block.first, len(block)) == (3, BLOCK_ENTRIES_MAX)
    assert block.nbytes <= BLOCK_BYTES_MAX


# --- dropping -----------------------------------------------------------------------------------


def test_truncate(log: ModuleType) -> None:
    made = filled(log, [1, 2, 3, 3], 5, 1)
    made.truncate(10)
    made.truncate(INDEX_MAX)
    assert made.last == 9
    made.truncate(8)
    assert (made.last, made.last_term) == (7, 2)
    assert made.append(2, [b"again"]) == 8
    for index in (5, 4, 0):
        refused(made, LogError, lambda index=index: made.truncate(index))
    refused(made, LogIndexError, lambda: made.truncate(-1))
    made.truncate(6)
    assert (made.last, made.last_term, made.payload_bytes) == (5, 1, 0)


def test_compact(log: ModuleType) -> None:
    made = filled(log, [1, 2, 3, 3 | CONTROL])
    made.compact(0)
    assert made.base == 0
    made.compact(2)
    assert (made.base, made.base_term, made.first, made.last) == (2, 2, 3, 4)
    assert (made.ends.tolist(), made.ends_origin) == ([3, 4], 2)
    assert content(made)[3:7] == ([3, 3 | CONTROL], [1, 2], b"34", 2)
    made.compact(1)
    made.compact(2)
    refused(made, LogError, lambda: made.compact(5), "last entry is 4")
    made.compact(4)
    assert (made.base, made.base_term, made.last_term, len(made)) == (4, 3, 3, 0)
    refused(made, LogError, lambda: made.append(2, [b""]))
    assert made.append(3, [b"five"]) == 5
    assert made.term(4) == 3


def test_restore(log: ModuleType) -> None:
    made = filled(log, [1, 2])
    made.restore(7, 4)
    assert state(made) == state(log.Log(7, 4))
    assert (made.written_from, made.last_term, made.ends_origin) == (8, 4, 0)
    made.restore(0, 0)
    assert state(made) == state(log.Log())
    for index, term, error in (
        (0, 1, LogError),
        (1, 0, LogError),
        (-1, 1, LogIndexError),
        (INDEX_MAX + 1, 1, LogIndexError),
        (1, TERM_MAX + 1, LogError),
        ("1", 1, SettingTypeError),
    ):
        refused(made, error, lambda index=index, term=term: made.restore(index, term))
        with pytest.raises(error):
            log.Log(index, term)


def test_memory_of_a_log() -> None:
    made = native.Log()
    assert made.nbytes == 0
    made.append(1, [b"x"])
    assert 0 < made.nbytes <= 128
    for _ in range(100):
        made.append(1, [bytes(100)] * 1000)
    assert made.nbytes <= 1.6 * 116 * 100_000
    # What is kept decays with the use that is made of it.
    for _ in range(200):
        made.append(1, [bytes(100)] * 10)
        made.compact(made.last)
    assert made.nbytes < 100_000
    made.restore(9, 9)
    assert made.nbytes == 0
    assert sys.getsizeof(made) < 250


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells it on Linux only")
@pytest.mark.skipif("RINGLEADER_SANITIZED" in os.environ, reason="sanitizers use memory too")
def test_resident_memory_is_the_payload_and_17_bytes_an_entry() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    batch = [bytes(100)] * 1000
    made = native.Log()
    gc.collect()
    before = resident()
    for _ in range(1000):
        made.append(1, batch)
    assert resident() - before <= (100 + 17) * len(made)


def test_recycled_memory_is_not_grown() -> None:
    made = native.Log()
    for _ in range(20):
        made.append(1, [bytes(100)] * 1000)
        made.compact(made.last)
    size = made.nbytes
    for _ in range(100):
        made.append(1, [bytes(100)] * 1000)
        made.compact(made.last - 5)
    assert made.nbytes <= 2 * size


# --- views --------------------------------------------------------------------------------------


def everything_held(made: Any) -> list[tuple[Any, Any]]:
    """Views of a log, each with what it has to show for ever."""
    views = [made[made.last], made.terms, made.ends, made.payload]
    entries = made.entries(made.first, made.last + 1)
    views += [entries.terms, entries.payload, entries[entries.first]]
    return [*((view, view.tobytes()) for view in views), (entries, content(entries))]


def unchanged(held: list[tuple[Any, Any]]) -> None:
    for view, shown in held:
        assert (content(view) if hasattr(view, "first") else view.tobytes()) == shown


def test_views_never_change(log: ModuleType) -> None:
    rng = random.Random(5)
    made = log.Log()
    held = []
    for step in range(300):
        made.append(made.last_term + 1, [rng.randbytes(rng.randrange(60)) for _ in range(5)])
        kind = rng.randrange(12)
        if kind == 0:
            made.truncate(rng.randint(made.first, made.last + 1))
        elif kind == 1:
            made.compact(rng.randint(made.base, made.last))
        elif kind == 2:
            made.compact(made.last)
        elif kind == 3:
            prev = rng.randint(made.base, made.last)
            block = log.Block.pack(prev + 1, made.last_term + 1, [rng.randbytes(30)] * 9)
            made.try_append(prev, made.term(prev), block)
        elif kind == 4 and step % 5 == 0:
            made.restore(made.last + 1, made.last_term + 1)
        elif len(made):
            held.append(everything_held(made))
        if rng.randrange(3) == 0 and held:
            unchanged(held.pop(rng.randrange(len(held))))
    for views in held:
        unchanged(views)
    del made
    gc.collect()
    for views in held:
        unchanged(views)


@pytest.mark.parametrize("seed", range(4))
def test_large_logs_keep_their_bytes(seed: int) -> None:
    """Regions that are pages of their own: they grow, slide, are left to their holders, shrink."""
    rng = random.Random(seed)
    made, twin = native.Log(), bytearray()
    held: list[tuple[Any, bytes]] = []
    noise = rng.randbytes(2**20)
    for step in range(60):
        count = rng.choice([1, 50, 700, 3000])
        at = rng.randrange(2**19)
        batch = [noise[at + i : at + i + rng.choice([0, 90, 300])] for i in range(count)]
        made.append(1, batch)
        twin += b"".join(batch)
        if rng.randrange(3) == 0:
            held.append((made.payload, bytes(twin)))
        if rng.randrange(4) == 0:
            held = held[: rng.randint(0, len(held))]
        if step % 11 == 10:
            index = rng.randint(made.base, made.last)
            kept = made.payload_bytes
            made.compact(index)
            del twin[: kept - made.payload_bytes]
        elif step % 7 == 6:
            made.truncate(rng.randint(made.first, made.last + 1))
            del twin[made.payload_bytes :]
        elif step % 25 == 24:
            made.compact(made.last)
            twin.clear()
        assert made.payload.tobytes() == twin
        assert len(made.ends) == 0 or made.ends[-1] - np.uint64(made.ends_origin) == len(twin)
    assert all(payload.tobytes() == shown for payload, shown in held)
    held.clear()
    size = made.nbytes
    for _ in range(100):
        made.append(1, [b"x"])
        made.compact(made.last - 1)
    assert made.nbytes < max(size / 10, 2000)
    assert bytes(made[made.last]) == b"x"


def test_appending_behind_a_view_moves_nothing() -> None:
    made = native.Log()
    made.append(1, [b"x" * 50] * 100)
    made.truncate(50)
    view = made.entries(1, 50)
    before = made.payload.__array_interface__["data"][0]
    made.append(1, [b"y" * 50] * 20)
    assert made.payload.__array_interface__["data"][0] == before
    made.truncate(45)
    made.append(2, [b"z" * 50])
    assert made.payload.__array_interface__["data"][0] != before
    assert view.payload.tobytes() == b"x" * 50 * 49


def test_views_cannot_be_made_or_written() -> None:
    made = filled(native, [1, 1])
    with pytest.raises(TypeError):
        native.Entries()
    with pytest.raises(TypeError):
        made[1][0] = 0
    with pytest.raises(ValueError, match="read-only"):
        made.terms[0] = 5
    with pytest.raises(ValueError, match="WRITEABLE"):
        made.payload.flags.writeable = True
    empty = native.Entries.__new__(native.Entries)
    assert (len(empty), list(empty)) == (0, [])
    blank = native.Block.__new__(native.Block)
    assert len(blank) == 0
    with pytest.raises(BlockError):
        made.append_block(blank)
    with pytest.raises(LogIndexError):
        blank.term(1)


# --- a model ------------------------------------------------------------------------------------

payload_lists = st.lists(st.binary(max_size=40) | st.binary(min_size=60, max_size=600), max_size=12)


class Twins(RuleBasedStateMachine):
    """One native log and one reference log, driven alike; and views that must never change."""

    views = Bundle("views")

    @initialize(index=st.sampled_from([0, 0, 5]))
    def begin(self, index: int) -> None:
        self.one = native.Log(index, 1 if index else 0)
        self.two = reference.Log(index, 1 if index else 0)

    def both(self, call: Callable[[Any, ModuleType], Any]) -> Any:
        answers = []
        for made, module in ((self.one, native), (self.two, reference)):
            try:
                answers.append(call(made, module))
            except RingleaderError as error:
                answers.append((type(error), str(error)))
        assert answers[0] == answers[1]
        return answers[0]

    @rule(rise=st.integers(-1, 2), payloads=payload_lists, control=st.booleans())
    def append(self, rise: int, payloads: list[bytes], control: bool) -> None:
        term = self.two.last_term + rise
        self.both(lambda made, _: made.append(term, payloads, control))

    @rule(payloads=st.lists(st.binary(max_size=9) | st.just("text"), max_size=5))
    def append_perhaps_wrong(self, payloads: list[Any]) -> None:
        term = max(1, self.two.last_term)
        self.both(lambda made, _: made.append(term, payloads))

    @rule(count=st.integers(1, 700), size=st.integers(0, 99))
    def append_many(self, count: int, size: int) -> None:
        term = max(1, self.two.last_term)
        self.both(lambda made, _: made.append(term, [bytes([count % 256]) * size] * count))

    @rule(
        back=st.integers(-2, 15),
        wrong_term=st.sampled_from([0, 0, 0, 1, -1]),
        keep=st.integers(0, 9),
        rises=st.lists(st.integers(0, 2), max_size=9),
        mark=st.sampled_from([0, CONTROL]),
        form=st.sampled_from([bytes, bytearray, None]),
    )
    def try_append(
        self, back: int, wrong_term: int, keep: int, rises: list[int], mark: int, form: Any
    ) -> None:
        prev = max(0, self.two.last - back)
        term = self.two.term(prev) if self.two.base <= prev <= self.two.last else 1
        term = max(0, term + wrong_term)
        words = []
        if prev >= self.two.base:
            words = self.two.terms[prev - self.two.base :][:keep].tolist()
        at = max(1, words[-1] & ~CONTROL if words else term)
        for step in rises:
            at += step
            words.append(at | mark)
        payloads = [b"arrived %d" % number for number in range(len(words))]

        def call(made: Any, module: ModuleType) -> Any:
            if not words:
                return made.try_append(prev, term, None)
            block = module.Block.pack(prev + 1, words, payloads)
            return made.try_append(prev, term, form(bytes(block)) if form else block)

        self.both(call)

    @rule(back=st.integers(-1, 12))
    def truncate(self, back: int) -> None:
        self.both(lambda made, _: made.truncate(max(0, made.last - back)))

    @rule(back=st.integers(-1, 12) | st.integers(0, 2000))
    def compact(self, back: int) -> None:
        self.both(lambda made, _: made.compact(max(0, made.last - back)))

    @rule(ahead=st.integers(0, 3))
    def restore(self, ahead: int) -> None:
        index, term = self.two.last + ahead, self.two.last_term + ahead
        self.both(lambda made, _: made.restore(index, term))

    @rule(
        lo=st.integers(0, 20), hi=st.integers(0, 40), size=st.integers(0, 3000), bare=st.booleans()
    )
    def block(self, lo: int, hi: int, size: int, bare: bool) -> None:
        low, high = self.two.base + lo, self.two.base + hi
        self.both(lambda made, _: bytes(made.block(low, high, size, bare)))
        self.both(lambda made, _: list(made.entries(low, high, size)))

    @rule(back=st.integers(-1, 12), term=st.integers(0, 20))
    def ask(self, back: int, term: int) -> None:
        index = max(0, self.two.last - back)
        self.both(lambda made, _: made.last_not_after(index, term))
        self.both(lambda made, _: made.match(index, term))
        self.both(lambda made, _: made.term(index))
        self.both(lambda made, _: made.is_control(index))
        self.both(lambda made, _: bytes(made[index]))
        self.both(lambda made, _: made.find_control(index))

    @precondition(lambda self: len(self.two) > 0)
    @rule(target=views)
    def hold(self) -> Any:
        return everything_held(self.one)

    @rule(held=consumes(views))
    def release(self, held: list[tuple[Any, Any]]) -> None:
        unchanged(held)

    @rule(held=views)
    def look(self, held: list[tuple[Any, Any]]) -> None:
        unchanged(held)

    @invariant()
    def alike(self) -> None:
        if len(self.two) < 100:
            assert state(self.one) == state(self.two)
        assert (self.one.terms == self.two.terms).all()
        assert (self.one.ends == self.two.ends).all()
        assert (self.one.payload == self.two.payload).all()
        assert (self.one.ends_origin, self.one.written_from) == (
            *(self.two.ends_origin, self.two.written_from),
        )
        terms = [self.one.base_term, *(self.one.terms & np.uint64(TERM_MAX)).tolist()]
        assert all(before <= after for before, after in pairwise(terms))


Twins.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestTwins = Twins.TestCase
