"""The store answers what a real Redis answers, byte for byte, to random commands.

Time stands still: no expiry of these commands comes near, so that what remains of one is compared
in whole seconds or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from redis.lock import Lock
from store_parts import Redis, Shard, redis_server

from ringleader.node.commands import COMMANDS
from ringleader.node.replies import encoded

#: Where Redis 7.0 has nothing to compare with, or chance answers.
NOT_COMPARED = {b"DELIFEQ", b"RANDOMKEY", b"SCAN"}
#: Milliseconds pass between the two: what they count is compared with some room.
IN_MILLISECONDS = {b"PTTL", b"PEXPIRETIME"}

NOW = int(time.time())

keys = st.sampled_from([b"a", b"b", b"c", b"{t}d", b""])
fields = st.sampled_from([b"f", b"g", b"h", b""])
numbers = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**63 - 1, -(2**63), 2**63, 10**20, 2**31, 2**53 + 1, 127, 128, 65536]),
    st.integers(-(2**63), 2**63 - 1),
).map(lambda number: b"%d" % number)
floats = st.one_of(
    st.floats(allow_nan=False).map(lambda x: repr(x).encode()),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(lambda x: str(x).encode()),
    st.sampled_from(
        b"0.1 0.2 1e3 -1e-5 .5 5. +1 -0 -0.0 1e4932 -1e4932 1e-4940 1e-4951 1e5000 1e-6000 inf "
        b"-INF "
        b"nan infinity 0x10 0x1.8p1 0x.8 0xp1 0x 1e 1e+ 3.0e3 1.17549435e-38 123456789.123456789 "
        b"9007199254740993 18446744073709551615 18446744073709551617 0.3 1e17 1e18 1e19 1e400 "
        b"99999999999999999999999999999999 5e-18 4.9e-18 1e99999999999999999999 0x1p16383 "
        b"0x1p16384 0x1p-16445 0x1p-16446 0x1p-20000 1,5 1e2.5 --1 1e-400".split()
    ),
)
odd = st.sampled_from(
    [b" 1", b"1 ", b"+1", b"01", b"-0", b"1.0", b"", b"x", b"1_0", b"\x00", b"0x1", b"-", b"0"]
)
values = st.one_of(numbers, floats, odd, st.binary(max_size=8), st.binary(min_size=60, max_size=80))
offsets = st.one_of(st.integers(-12, 90).map(lambda number: b"%d" % number), numbers, odd)
#: Far enough that no test sees them come.
spans = st.one_of(
    st.sampled_from([b"100000", b"200000000", b"0", b"-1", b"-5", b"5000000"]),
    numbers.filter(lambda number: not 0 < int(number) < 100_000),
    odd,
)
moments = st.one_of(
    st.sampled_from(
        [b"%d" % (NOW + 500_000), b"%d000" % (NOW + 400_000), b"%d" % (NOW - 9), b"1", b"0"]
    ),
    numbers,
    odd,
)


def any_case(word: str) -> st.SearchStrategy[bytes]:
    return st.sampled_from([word.encode(), word.lower().encode(), word.title().encode()])


def option(word: str, *rest: Any) -> st.SearchStrategy[list[bytes]]:
    return st.tuples(any_case(word), *rest).map(list)


def options(*some: Any, max_size: int = 3) -> st.SearchStrategy[list[bytes]]:
    return st.lists(st.one_of(*some), max_size=max_size).map(
        lambda lists: [arg for some in lists for arg in some]
    )


times = [
    option("EX", spans), option("PX", spans), option("EXAT", moments), option("PXAT", moments),
    option("EX"), option("PXAT"),
]  # fmt: skip
set_options = options(*times, option("NX"), option("XX"), option("GET"), option("KEEPTTL"))
getex_options = options(*times, option("PERSIST"), option("NX"), max_size=2)
expire_options = options(option("NX"), option("XX"), option("GT"), option("LT"), option("ZZ"))
patterns = st.one_of(
    st.text("abct{}[]^-*?\\d", max_size=6).map(str.encode), st.binary(max_size=5), st.just(b"*")
)

#: What stands after the name.
ARGUMENTS: dict[str, list[Any]] = {
    "APPEND": [keys, values],
    "DBSIZE": [],
    "DECR": [keys],
    "DECRBY": [keys, numbers | odd],
    "DEL": [st.lists(keys, min_size=1, max_size=3)],
    "EXISTS": [st.lists(keys, min_size=1, max_size=3)],
    "EXPIRE": [keys, spans, expire_options],
    "EXPIREAT": [keys, moments, expire_options],
    "EXPIRETIME": [keys],
    "GET": [keys],
    "GETDEL": [keys],
    "GETEX": [keys, getex_options],
    "GETRANGE": [keys, offsets, offsets],
    "GETSET": [keys, values],
    "HDEL": [keys, st.lists(fields, min_size=1, max_size=3)],
    "HEXISTS": [keys, fields],
    "HGET": [keys, fields],
    "HGETALL": [keys],
    "HINCRBY": [keys, fields, numbers | odd],
    "HINCRBYFLOAT": [keys, fields, floats | odd],
    "HKEYS": [keys],
    "HLEN": [keys],
    "HMGET": [keys, st.lists(fields, min_size=1, max_size=3)],
    "HMSET": [keys, st.lists(fields | values, min_size=1, max_size=6)],
    "HSET": [keys, st.lists(fields | values, min_size=1, max_size=6)],
    "HSETNX": [keys, fields, values],
    "HSTRLEN": [keys, fields],
    "HVALS": [keys],
    "INCR": [keys],
    "INCRBY": [keys, numbers | odd],
    "INCRBYFLOAT": [keys, floats | odd],
    "KEYS": [patterns],
    "MGET": [st.lists(keys, min_size=1, max_size=3)],
    "MSET": [st.lists(keys | values, min_size=1, max_size=5)],
    "MSETNX": [st.lists(keys | values, min_size=1, max_size=5)],
    "PERSIST": [keys],
    "PEXPIRE": [keys, spans,
                expire_options],
    "PEXPIREAT": [keys, moments, expire_options],
    "PEXPIRETIME": [keys],
    "PSETEX": [keys, spans, values],
    "PTTL": [keys],
    "SET": [keys, values, set_options],
    "SETEX": [keys, spans, values],
    "SETNX": [keys, values],
    "SETRANGE": [keys, st.one_of(st.integers(-2, 40).map(lambda n: b"%d" % n), odd), values],
    "STRLEN": [keys],
    "SUBSTR": [keys, offsets, offsets],
    "TOUCH": [st.lists(keys, min_size=1, max_size=3)],
    "TTL": [keys],
    "TYPE": [keys],
    "UNLINK": [st.lists(keys, min_size=1, max_size=3)],
}  # fmt: skip


def flat(parts: tuple[Any, ...]) -> list[bytes]:
    return [arg for part in parts for arg in (part if isinstance(part, list) else [part])]


commands = st.one_of(
    st.tuples(any_case(name), *arguments).map(flat) for name, arguments in ARGUMENTS.items()
)
#: With an argument too many or too few.
any_arity = st.one_of(
    commands,
    commands,
    commands.map(lambda args: args[:-1] if len(args) > 1 else args),
    st.tuples(commands, values).map(flat),
)


def test_nothing_is_left_out() -> None:
    assert {name.encode() for name in ARGUMENTS} | NOT_COMPARED == set(COMMANDS)


def comparable(args: list[bytes], reply: bytes) -> Any:
    """What must be the same of a reply."""
    name = args[0].upper()
    if name in IN_MILLISECONDS and reply[:1] == b":":
        number = int(reply[1:])
        return number if number < 0 else "some time"
    if name in (b"TTL", b"EXPIRETIME") and reply[:1] == b":":
        number = int(reply[1:])
        return number if number < 0 else "some time"
    if name == b"DBSIZE":
        return None  # Redis counts keys whose time has come until it finds them
    if name == b"KEYS":
        return sorted(reply.split(b"\r\n"))
    return reply


def near(args: list[bytes], one: bytes, other: bytes) -> bool:
    """Whether two replies that count time are as near as the two clocks."""
    if one == other or args[0].upper() not in {*IN_MILLISECONDS, b"TTL", b"EXPIRETIME"}:
        return True
    room = 10_000 if args[0].upper() in IN_MILLISECONDS else 10
    return one[:1] != b":" or abs(int(one[1:]) - int(other[1:])) <= room


@pytest.fixture(scope="module")
def redis_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with redis_server(tmp_path_factory.mktemp("redis")) as path:
        yield path


@pytest.fixture
def redis(redis_path: Path) -> Iterator[Redis]:
    made = Redis(redis_path)
    made(b"FLUSHALL")
    yield made
    made.close()


@pytest.fixture(params=[2, 3])
def protocol(request: pytest.FixtureRequest, redis: Redis) -> int:
    protocol: int = request.param
    redis(b"HELLO", b"%d" % protocol)
    return protocol


def compare(redis: Redis, protocol: int, sequence: list[list[bytes]]) -> None:
    redis(b"FLUSHALL")
    shard = Shard(int(time.time() * 1000))
    theirs = redis.pipeline(sequence)
    ours = shard.batch([tuple(args) for args in sequence])
    for at, (args, reply, value) in enumerate(zip(sequence, theirs, ours, strict=True)):
        own = encoded(value, protocol)
        assert comparable(args, own) == comparable(args, reply), (at, sequence[: at + 1])
        assert near(args, own, reply), (at, sequence[: at + 1], own, reply)
    present = redis(b"KEYS", b"*")
    assert sorted(encoded(shard("KEYS", "*"), 2).split()) == sorted(present.split())
    for key in list(shard.store.data):
        kind = shard.store.data[key]
        read = b"GET" if isinstance(kind, bytes) else b"HGETALL"
        assert encoded(shard(read, key), protocol) == redis(read, key)


CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=250, deadline=None, suppress_health_check=CHECKS)
@given(sequence=st.lists(any_arity, min_size=1, max_size=25))
@example(sequence=[[b"SET", b"a", b"x", b"NX", b"GET"], [b"SET", b"a", b"y", b"NX", b"GET"]])
def test_random_commands(redis: Redis, protocol: int, sequence: list[list[bytes]]) -> None:
    compare(redis, protocol, sequence)


@settings(max_examples=120, deadline=None, suppress_health_check=CHECKS)
@given(pairs=st.lists(st.tuples(floats, floats), min_size=1, max_size=20))
def test_floats(redis: Redis, protocol: int, pairs: list[tuple[bytes, bytes]]) -> None:
    sequence: list[list[bytes]] = []
    for one, other in pairs:
        sequence += [[b"SET", b"a", one], [b"INCRBYFLOAT", b"a", other]]
        sequence += [[b"HSET", b"h", b"f", one], [b"HINCRBYFLOAT", b"h", b"f", other]]
    compare(redis, protocol, sequence)


@settings(max_examples=250, deadline=None, suppress_health_check=CHECKS)
@given(
    names=st.lists(st.text("ab[]^-\\", max_size=4).map(str.encode), max_size=8),
    some=st.lists(st.text("ab[]^-*?\\", max_size=8).map(str.encode), min_size=1, max_size=8),
)
def test_patterns(redis: Redis, protocol: int, names: list[bytes], some: list[bytes]) -> None:
    sequence = [[b"SET", name, b""] for name in names]
    compare(redis, protocol, sequence + [[b"KEYS", pattern] for pattern in some])


lock_spans = st.sampled_from([b"100000", b"200000", b"0", b"-1", b"-200000", b"x", b"1.5"])
lock_steps = st.one_of(
    st.tuples(st.just(b"SET"), keys, st.sampled_from([b"t", b"u"])).map(list),
    st.tuples(
        st.just(b"SET"), keys, st.sampled_from([b"t", b"u"]), st.just(b"PX"), st.just(b"100000")
    ).map(list),
    st.tuples(st.just(b"HSET"), keys, st.just(b"t"), st.just(b"t")).map(list),
    st.tuples(st.just(b"LOCK.RELEASE"), keys, st.just(b"t")).map(list),
    st.tuples(
        st.just(b"LOCK.EXTEND"), keys, st.just(b"t"), lock_spans, st.sampled_from([b"0", b"1"])
    ).map(list),
    st.tuples(st.just(b"LOCK.REACQUIRE"), keys, st.just(b"t"), lock_spans).map(list),
    st.tuples(st.just(b"PTTL"), keys).map(list),
)


@settings(max_examples=120, deadline=None, suppress_health_check=CHECKS)
@given(sequence=st.lists(lock_steps, min_size=1, max_size=15))
def test_locks_are_the_scripts(redis: Redis, sequence: list[list[bytes]]) -> None:
    """The three commands do what the Lua of redis-py does."""
    scripts = {
        b"LOCK.RELEASE": Lock.LUA_RELEASE_SCRIPT,
        b"LOCK.EXTEND": Lock.LUA_EXTEND_SCRIPT,
        b"LOCK.REACQUIRE": Lock.LUA_REACQUIRE_SCRIPT,
    }
    redis(b"FLUSHALL")
    shard = Shard(int(time.time() * 1000))
    for args in sequence:
        own = encoded(shard(*args), 2)
        script = scripts.get(args[0])
        their = redis(*(args if script is None else [b"EVAL", script.encode(), b"1", *args[1:]]))
        if own[:1] == b"-":
            assert their[:1] == b"-", (sequence, their)
        elif args[0] == b"PTTL":
            assert comparable(args, own) == comparable(args, their), sequence
            assert near(args, own, their), (sequence, own, their)
        else:
            assert own == their, sequence
    assert sorted(shard.store.data) == sorted(redis(b"KEYS", b"*").split(b"\r\n")[2::2])


def scan_all(redis: Redis, *rest: bytes) -> set[bytes]:
    """All that a real SCAN finds."""
    found: set[bytes] = set()
    cursor = b"0"
    while True:
        lines = redis(b"SCAN", cursor, *rest).split(b"\r\n")
        cursor = lines[2]
        found.update(lines[5::2])
        if cursor == b"0":
            return found


def test_scan(redis: Redis) -> None:
    shard = Shard()
    for number in range(300):
        args = (
            (b"SET", b"k%d" % number, b"") if number % 3 else (b"HSET", b"k%d" % number, b"f", b"1")
        )
        redis(*args)
        shard(*args)
    for rest in (
        (),
        (b"MATCH", b"k1*"),
        (b"COUNT", b"100"),
        (b"TYPE", b"hash", b"COUNT", b"7"),
        (b"TYPE", b"STRING"),
        (b"TYPE", b"list"),
    ):
        found: set[bytes] = set()
        cursor = b"0"
        while True:
            cursor, some = shard("SCAN", cursor, *rest)
            found.update(some)
            if cursor == b"0":
                break
        assert found == scan_all(redis, *rest) - {b""}
    for wrong in (
        b"SCAN", b"SCAN x", b"SCAN 0 COUNT", b"SCAN 0 COUNT 0", b"SCAN 0 COUNT x",
        b"SCAN 0 MATCH", b"SCAN 0 FOO 1", b"SCAN 99999999999999999999999", b"SCAN 0 COUNT -1",
    ):  # fmt: skip
        assert encoded(shard(*wrong.split()), 2) == redis(*wrong.split()), wrong
