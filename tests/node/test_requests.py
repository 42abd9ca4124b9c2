"""The bytes of clients become commands, however they are cut into pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringleader.limits import CLIENT_INLINE_BYTES_MAX
from ringleader.node.requests import (
    ProtocolError,
    RequestLimits,
    RequestParser,
    split_inline,
)


def encoded(*args: bytes) -> bytes:
    head = b"*%d\r\n" % len(args)
    return head + b"".join(b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args)


def parsed(
    pieces: list[bytes], limits: RequestLimits | None = None
) -> tuple[list[list[bytes]], str | None, bool]:
    parser = RequestParser(limits)
    commands = list(itertools.chain.from_iterable(parser.feed(piece) for piece in pieces))
    return commands, parser.error, parser.partial


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


GET = encoded(b"GET", b"key")
SET = encoded(b"SET", b"key", b"value\r\n*1\r\n$4\r\nPING\r\n")


class TestWhole:
    def test_a_pipeline(self) -> None:
        assert parsed([GET + SET + GET]) == (
            [
                [b"GET", b"key"],
                [b"SET", b"key", b"value\r\n*1\r\n$4\r\nPING\r\n"],
                [b"GET", b"key"],
            ],
            None,
            False,
        )

    def test_empty_arrays_and_lines_are_passed_over(self) -> None:
        data = b"*0\r\n" + GET + b"\r\n*-1\r\n\n" + GET + b"*0\r\n"
        assert parsed([data]) == ([[b"GET", b"key"]] * 2, None, False)
        assert parsed(bytewise(data)) == ([[b"GET", b"key"]] * 2, None, False)

    def test_inline_commands_between_others(self) -> None:
        data = GET + b"PING\r\n" + SET + b'set a "b c"\n' + GET
        expected = [
            [b"GET", b"key"],
            [b"PING"],
            [b"SET", b"key", b"value\r\n*1\r\n$4\r\nPING\r\n"],
            [b"set", b"a", b"b c"],
            [b"GET", b"key"],
        ]
        assert parsed([data]) == (expected, None, False)
        assert parsed(bytewise(data)) == (expected, None, False)

    def test_a_type_byte_of_resp_begins_an_inline_command(self) -> None:
        """As in Redis, where all that is no array is a line."""
        assert parsed([b"+OK\r\n:5\r\n" + GET])[0] == [[b"+OK"], [b":5"], [b"GET", b"key"]]

    @pytest.mark.parametrize("size", [0, 1, 9, 10, 99, 100, 2047, 2048, 70_000])
    def test_sizes_around_the_tables(self, size: int) -> None:
        data = encoded(b"SET", b"k", b"x" * size)
        for tail in (b"", b"*", b"*1\r\n$4\r\nPI"):
            commands, error, partial = parsed([data + GET + data + tail])
            long = [b"SET", b"k", b"x" * size]
            assert commands == [long, [b"GET", b"key"], long]
            assert error is None
            assert partial is bool(tail)

    @pytest.mark.parametrize("count", [1, 9, 10, 255, 256, 300, 99_999, 100_000])
    def test_counts_around_the_tables(self, count: int) -> None:
        args = [b"DEL"] + [b"k"] * (count - 1)
        assert parsed([encoded(*args) + GET]) == ([args, [b"GET", b"key"]], None, False)

    def test_a_value_that_looks_like_a_huge_count(self) -> None:
        value = b"\r\n*1234567\r\n>1"
        assert parsed([encoded(b"SET", b"k", value) + GET])[0] == [
            [b"SET", b"k", value],
            [b"GET", b"key"],
        ]

    def test_large_is_said_of_long_arguments(self) -> None:
        parser = RequestParser()
        parser.feed(encoded(b"SET", b"k", b"x" * 70_000))
        assert parser.large
        parser.feed(GET)
        assert not parser.large
        data = encoded(b"SET", b"k" * 70_000, b"x")
        assert parser.feed(data[:5_000]) == []
        assert len(parser.feed(data[5_000:] + GET)) == 2
        assert parser.large


class TestPieces:
    def test_every_cut_of_a_stream(self) -> None:
        data = SET + b"ping\r\n" + GET + b"*0\r\n" + SET
        whole = parsed([data])
        for at in range(len(data)):
            assert parsed([data[:at], data[at:]]) == whole
        assert parsed(bytewise(data)) == whole

    def test_a_long_value_in_pieces(self) -> None:
        value = bytes(range(256)) * 4096
        data = encoded(b"SET", b"k", value) + GET
        pieces = [data[at : at + 50_000] for at in range(0, len(data), 50_000)]
        parser = RequestParser()
        held = []
        commands = []
        for piece in pieces:
            commands += parser.feed(piece)
            held.append(parser.buffered_bytes)
        assert commands == [[b"SET", b"k", value], [b"GET", b"key"]]
        assert max(held) <= len(data)
        assert held[-1] == 0

    @given(st.data())
    def test_cuts_change_nothing(self, data: st.DataObject) -> None:
        args = st.lists(st.binary(max_size=12), min_size=1, max_size=4).map(
            lambda args: encoded(*args)
        )
        junk = st.sampled_from(
            [
                b"*0\r\n",
                b"*-1\r\n",
                b"\r\n",
                b"PING\r\n",
                b"get 'a b'\n",
                b"*1\r\n$3000\r\n" + b"*123456\r\n" * 300 + b"\r\n",
                b"*x\r\n",
                b"*1\r\n:5\r\n",
                b"*1\r\n$-1\r\n",
                b"*2\r\n$1\r\na\r\n*0\r\n",
                b'"open\r\n',
                b"$4\r\nPING\r\n",
                b"*1\r\n$9999999999\r\n",
                b"*1234567890\r\n",
            ]
        )
        stream = b"".join(data.draw(st.lists(st.one_of(args, args, junk), max_size=8)))
        cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
        pieces = [
            stream[first:last] for first, last in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        ]
        assert parsed(pieces) == parsed([stream])

    @given(
        st.lists(
            st.one_of(
                st.binary(max_size=30),
                st.text("*$+-:_#,(!=%~>|0123456789\r\n aPING\"'\\x", max_size=40).map(str.encode),
            ),
            max_size=12,
        )
    )
    def test_any_bytes(self, pieces: list[bytes]) -> None:
        parser = RequestParser(RequestLimits(arguments_max=1000, bulk_bytes_max=1000))
        for piece in pieces:
            for command in parser.feed(piece):
                assert command
                assert {type(arg) for arg in command} == {bytes}
        if parser.error is not None:
            assert parser.error.startswith("Protocol error: ")
            assert parser.feed(GET) == []
            assert not parser.partial


class TestRefusals:
    @pytest.mark.parametrize(
        ("data", "text"),
        [
            (b"*x\r\n", "invalid multibulk length"),
            (b"*01\r\n", "invalid multibulk length"),
            (b"*+1\r\n", "invalid multibulk length"),
            (b"*\r\n", "invalid multibulk length"),
            (b"*1048577\r\n", "invalid multibulk length"),
            (b"*4294967295\r\n", "invalid multibulk length"),
            (b"*99999999999999999999\r\n", "invalid multibulk length"),
            (b"*1\r\n$x\r\n", "invalid bulk length"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$33554433\r\n", "invalid bulk length"),
            (b"*1\r\n$\r\n", "invalid bulk length"),
            (b"*1\r\n:1\r\n", "expected '$', got ':'"),
            (b"*1\r\n*1\r\n$4\r\nPING\r\n", "expected '$', got '*'"),
            (b"*2\r\n$3\r\nGET\r\n>1\r\n", "expected '$', got '>'"),
            (b"*2\r\n$3\r\nGET\r\n%1\r\n$1\r\na\r\n$1\r\nb\r\n", "expected '$', got '%'"),
            (b"*2\r\n$3\r\nGET\r\n_\r\n", "expected '$', got '_'"),
            (b"*2\r\n$3\r\nGET\r\n#t\r\n", "expected '$', got '#'"),
            (b"*2\r\n$3\r\nGET\r\n-ERR x\r\n", "expected '$', got '-'"),
            (b"*1" + b"1" * CLIENT_INLINE_BYTES_MAX, "too big mbulk count string"),
            (b"*1\r\n$1" + b"1" * CLIENT_INLINE_BYTES_MAX, "too big bulk count string"),
            (b"x" * (CLIENT_INLINE_BYTES_MAX + 1), "too big inline request"),
            (b'get "a\r\n', "unbalanced quotes in request"),
            (b"get 'a'b\r\n", "unbalanced quotes in request"),
        ],
    )
    def test_what_breaks_the_protocol(self, data: bytes, text: str) -> None:
        for pieces in ([data], [GET + data], [data[:3], data[3:]]):
            commands, error, partial = parsed(pieces)
            assert error == f"Protocol error: {text}"
            assert commands == ([[b"GET", b"key"]] if pieces == [GET + data] else [])
            assert not partial

    def test_nothing_comes_after_an_error(self) -> None:
        assert parsed([b"*x\r\n" + GET, GET])[0] == []

    def test_a_command_may_not_be_larger_than_its_limit(self) -> None:
        limits = RequestLimits(bulk_bytes_max=100, command_bytes_max=250)
        data = encoded(b"MSET", *[b"x" * 100] * 3)
        commands, error, _ = parsed(bytewise(data), limits)
        assert (commands, error) == ([], "Protocol error: too big command")

    def test_headers_that_would_reserve_memory(self) -> None:
        """Each asks for an array of 2^32 elements, or for one of 10^5 within another."""
        for data in (b"*4294967295\r\n", b"*2\r\n>4294967295\r\n", b"*1\r\n*999999999\r\n"):
            assert parsed([data])[1] is not None


class TestStrangers:
    def test_one_by_one(self) -> None:
        parser = RequestParser(trusted=False)
        assert parser.feed(GET + SET + b"PING\r\n") == [[b"GET", b"key"]]
        assert len(parser.feed(b"")) == 1
        assert parser.feed(b"") == [[b"PING"]]
        assert parser.feed(b"") == []

    def test_limits_end_with_authentication(self) -> None:
        large = encoded(b"SET", b"k", b"x" * 20_000)
        parser = RequestParser(trusted=False)
        assert parser.feed(encoded(b"AUTH", b"p") + large + GET) == [[b"AUTH", b"p"]]
        parser.trusted = True
        assert [command[0] for command in parser.feed(b"")] == [b"SET", b"GET"]
        parser = RequestParser(trusted=False)
        parser.feed(encoded(b"AUTH", b"p") + large)
        assert parser.feed(b"") == []
        assert parser.error == "Protocol error: unauthenticated bulk length"

    def test_few_arguments(self) -> None:
        parser = RequestParser(trusted=False)
        assert parser.feed(encoded(*[b"x"] * 11)) == []
        assert parser.error == "Protocol error: unauthenticated multibulk length"


class TestInline:
    @pytest.mark.parametrize(
        ("line", "args"),
        [
            (b"", []),
            (b"   ", []),
            (b"PING", [b"PING"]),
            (b"  set  a\tb ", [b"set", b"a", b"b"]),
            (rb'"\x41\n\"" end', [b'A\n"', b"end"]),
            (rb'"\q\xzz"', [b"qxzz"]),
            (rb"'it\'s' '\n'", [b"it's", rb"\n"]),
            (b'""', [b""]),
            (b"'' ''", [b"", b""]),
            (b'a"b c"', [b"ab c"]),
        ],
    )
    def test_quoting(self, line: bytes, args: list[bytes]) -> None:
        assert split_inline(line) == args

    @pytest.mark.parametrize("line", [b'"', b"'", b'"a', b'"a"b', b"'a'b", b'"a\\"', rb"'a\'"])
    def test_unbalanced(self, line: bytes) -> None:
        with pytest.raises(ProtocolError, match="unbalanced"):
            split_inline(line)

    @given(st.text("ab \"'\\xn0\0\t", max_size=30))
    def test_any_line(self, text: str) -> None:
        try:
            args = split_inline(text.encode())
        except ProtocolError:
            return
        assert all(type(arg) is bytes for arg in args)
