"""Replies: their bytes as hiredis reads them, and their way between nodes."""

from __future__ import annotations

import math
from typing import Any

import hiredis
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringleader.errors import FormatError
from ringleader.limits import REPLY_DEPTH_MAX
from ringleader.node.replies import (
    INT64_MAX,
    INT64_MIN,
    NULL_ARRAY,
    OK,
    CommandError,
    Push,
    ReplyError,
    encode,
    encoded,
    format_double,
    pack,
    unpack,
)

texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=9)
plain = st.one_of(
    st.none(),
    st.binary(max_size=20),
    st.integers(INT64_MIN, INT64_MAX),
    texts,
    st.booleans(),
    st.floats(allow_nan=False),
    texts.map(ReplyError),
    st.just(NULL_ARRAY),
)
names = st.one_of(st.binary(max_size=5), texts, st.integers(-9, 9))
replies = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(names, inner, max_size=4),
        st.sets(st.one_of(st.binary(max_size=4), st.integers(-9, 9)), max_size=4),
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("value", "resp2", "resp3"),
    [
        ("OK", b"+OK\r\n", None),
        ("QUEUED", b"+QUEUED\r\n", None),
        ("a\r\nb", b"+a  b\r\n", None),
        (None, b"$-1\r\n", b"_\r\n"),
        (NULL_ARRAY, b"*-1\r\n", b"_\r\n"),
        (0, b":0\r\n", None),
        (-2, b":-2\r\n", None),
        (1024, b":1024\r\n", None),
        (1025, b":1025\r\n", None),
        (INT64_MIN, b":-9223372036854775808\r\n", None),
        (b"", b"$0\r\n\r\n", None),
        (b"a\r\n", b"$3\r\na\r\n\r\n", None),
        (b"x" * 1024, b"$1024\r\n" + b"x" * 1024 + b"\r\n", None),
        (b"x" * 1025, b"$1025\r\n" + b"x" * 1025 + b"\r\n", None),
        ([], b"*0\r\n", None),
        ([1, [None]], b"*2\r\n:1\r\n*1\r\n$-1\r\n", b"*2\r\n:1\r\n*1\r\n_\r\n"),
        ((1, "OK"), b"*2\r\n:1\r\n+OK\r\n", None),
        ({b"a": 1}, b"*2\r\n$1\r\na\r\n:1\r\n", b"%1\r\n$1\r\na\r\n:1\r\n"),
        ({}, b"*0\r\n", b"%0\r\n"),
        ({1}, b"*1\r\n:1\r\n", b"~1\r\n:1\r\n"),
        (frozenset([1]), b"*1\r\n:1\r\n", b"~1\r\n:1\r\n"),
        (Push([b"m", 1]), b"*2\r\n$1\r\nm\r\n:1\r\n", b">2\r\n$1\r\nm\r\n:1\r\n"),
        (True, b":1\r\n", b"#t\r\n"),
        (False, b":0\r\n", b"#f\r\n"),
        (1.5, b"$3\r\n1.5\r\n", b",1.5\r\n"),
        (ReplyError("ERR no"), b"-ERR no\r\n", None),
        (ReplyError("ERR a\nb"), b"-ERR a b\r\n", None),
        (ReplyError("ERR \udcff"), b"-ERR \xff\r\n", None),
        (ReplyError("ERR \u00e9"), b"-ERR \xc3\xa9\r\n", None),
    ],
)  # fmt: skip
def test_bytes(value: Any, resp2: bytes, resp3: bytes | None) -> None:
    assert encoded(value, 2) == resp2
    assert encoded(value, 3) == (resp2 if resp3 is None else resp3)


def test_what_is_no_reply() -> None:
    for wrong in (object(), bytearray(b"x"), 1j, [object()], {b"a": object()}):
        with pytest.raises(TypeError):
            encoded(wrong, 2)
        with pytest.raises(TypeError):
            pack(wrong)
    with pytest.raises(TypeError):
        pack(Push([1]))


def as_hiredis(value: Any, protocol: int) -> Any:
    """What a client reads of a reply."""
    if isinstance(value, ReplyError):
        return "error"
    if value is NULL_ARRAY:
        return None
    if isinstance(value, str):
        return value.encode()
    if protocol == 2:
        if isinstance(value, bool):
            return int(value)
        if isinstance(value, float):
            return format_double(value)
        if isinstance(value, dict):
            return [as_hiredis(each, 2) for pair in value.items() for each in pair]
    if isinstance(value, dict):
        return [(as_hiredis(key, 3), as_hiredis(item, 3)) for key, item in value.items()]
    if isinstance(value, list | set):
        return [as_hiredis(item, protocol) for item in value]
    return value


def read_back(data: bytes) -> Any:
    reader = hiredis.Reader(replyError=lambda text: "error")
    reader.feed(data)
    value = reader.gets()
    assert not reader.has_data()

    def pairs(value: Any) -> Any:
        if isinstance(value, dict):
            return [(pairs(key), pairs(item)) for key, item in value.items()]
        return [pairs(item) for item in value] if isinstance(value, list) else value

    return pairs(value)


@given(replies)
def test_hiredis_reads_it(value: Any) -> None:
    assert read_back(encoded(value, 2)) == as_hiredis(value, 2)
    out = [b"before"]
    encode(value, 2, out)
    assert b"".join(out) == b"before" + encoded(value, 2)


keyed = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.binary(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(keyed)
def test_hiredis_reads_resp3(value: Any) -> None:
    assert read_back(encoded(value, 3)) == as_hiredis(value, 3)


@given(st.floats())
def test_doubles(value: float) -> None:
    text = format_double(value)
    again = float(text)
    assert again == value or math.isnan(value)
    assert math.copysign(1, again) == math.copysign(1, value) or math.isnan(value)
    assert not text.endswith(b".0")


def test_errors_are_values() -> None:
    assert ReplyError("ERR a") == ReplyError("ERR a") != ReplyError("ERR b")
    assert len({ReplyError("ERR a"), ReplyError("ERR a")}) == 1
    assert repr(ReplyError("ERR a")) == "ReplyError('ERR a')"
    assert repr(NULL_ARRAY) == "NULL_ARRAY"
    assert CommandError("ERR a").reply == ReplyError("ERR a")


# --- between nodes -------------------------------------------------------------------------------


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types: 1, True and 1.0 are not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return same(list(one.items()), list(other.items()))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(replies)
def test_replies_travel(value: Any) -> None:
    assert same(unpack(pack(value)), value)


def test_tuples_and_frozen_sets_travel_as_lists_and_sets() -> None:
    assert unpack(pack((1, (OK,)))) == [1, ["OK"]]
    assert unpack(pack(frozenset([1]))) == {1}


def unpacks_or_refuses(data: bytes) -> None:
    try:
        value = unpack(data)
    except FormatError:
        return
    encoded(value, 2)
    encoded(value, 3)
    pack(value)


@settings(max_examples=300)
@given(st.binary(max_size=40))
def test_any_bytes(data: bytes) -> None:
    unpacks_or_refuses(data)


@settings(max_examples=300)
@given(replies, st.data())
def test_damaged_bytes(value: Any, data: st.DataObject) -> None:
    packed = bytearray(pack(value))
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    unpacks_or_refuses(bytes(packed))
    unpacks_or_refuses(bytes(packed[: data.draw(st.integers(0, len(packed)))]))


def ext(code: int, data: bytes) -> bytes:
    return msgspec.msgpack.encode(msgspec.msgpack.Ext(code, data))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xc1", b"\x91", b"\xc0\xc0", b"\xcf" + b"\xff" * 8, b"\x91\xcf" + b"\xff" * 8,
        b"\xa2a\n", b"\x91\xa1\r", b"\x81\x90\xc0", b"\x81\xc0\xc0", b"\x81\xa1\n\xc0",
        b"\x81\xc3\xc0", ext(1, b"ERR a\nb"), ext(2, b"x"), ext(3, b""), ext(3, b"\xc0"),
        ext(3, b"\x91\x90"), ext(3, b"\x91\xa1\n"), ext(4, b""), ext(-1, b"\0\0\0\0"),
        b"\x81" + ext(2, b"") + b"\xc0", b"\xd6\xff\x00\x00\x00\x00",
        b"\x91" * (REPLY_DEPTH_MAX + 1) + b"\x90", b"\x91" * 200_000, b"\xdd\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff", b"\xa1\xff",
    ],
)  # fmt: skip
def test_what_pack_does_not_make(data: bytes) -> None:
    with pytest.raises(FormatError):
        unpack(data)


def test_depth() -> None:
    assert unpack(b"\x91" * REPLY_DEPTH_MAX + b"\x01") is not None
