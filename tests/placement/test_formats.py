"""KetamaRing, NginxRing, EnvoyRing, TokenRing and RedisSlots: what is particular to each."""

from __future__ import annotations

import json
import random
import struct
import sys
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringleader import HashRing, Node, errors, hashing, kernels
from ringleader.placement import EnvoyRing, KetamaRing, NginxRing, RedisSlots, TokenRing
from ringleader.placement.envoy import murmur_hash_2
from ringleader.placement.ketama import memcached_name
from ringleader.placement.nginx import host_and_port
from ringleader.placement.slots import SLOTS

VECTORS = Path(__file__).parent.parent / "vectors"
sys.path.insert(0, str(VECTORS))
import make_formats  # noqa: E402

RECORDED = json.loads((VECTORS / "formats.json").read_text())
LISTED: list[Callable[..., Any]] = [KetamaRing, NginxRing, EnvoyRing]


def random_keys(count: int, seed: int = 0) -> list[bytes]:
    """Texts, ASCII and not, and any bytes."""
    chance = random.Random(seed)
    makers = (
        lambda: f"user:{chance.getrandbits(40)}".encode(),
        lambda: f"ключ-{chance.getrandbits(30)}-日本".encode(),
        lambda: chance.randbytes(chance.randrange(70)),
    )
    return [makers[number % 3]() for number in range(count)]


def owner_indices(locator: Any, servers: list[str], keys: Any) -> list[int]:
    index = {name: at for at, name in enumerate(servers)}
    return [index[locator.names[position]] for position in locator.lookup(keys)]


def check_recorded(locator: Any, vector: dict[str, Any], count: int) -> None:
    keys = make_formats.keys(vector["seed"], vector["count"])
    servers = list(vector["servers"])
    got = owner_indices(locator, servers, keys[:count])
    assert got[: make_formats.SAMPLE] == vector["sample"]
    if count == vector["count"]:
        packed = struct.pack(f"<{len(got)}H", *got)
        assert f"{zlib.crc32(packed):08x}" == vector["crc32"]


# --- ketama -------------------------------------------------------------------------------------


def test_ketama_hashes_as_published() -> None:
    ring = KetamaRing(["a"])
    assert hashing.md5("test")[:4] == (3446378249).to_bytes(4, "little")
    digest = hashing.md5("a-0")
    points = [int.from_bytes(digest[at : at + 4], "little") << 32 for at in (0, 4, 8, 12)]
    assert set(points) <= set(ring.tokens.tolist())
    assert ring.point_count == 160
    assert ring.space.bits == 32


@pytest.mark.parametrize("weights", [[1] * 10, [1] * 3, [3, 1, 4, 1, 5], [100, 300, 25]])
def test_ketama_is_what_uhashring_says(weights: list[int], sized: Callable[[int], int]) -> None:
    uhashring = pytest.importorskip("uhashring")
    servers = {f"10.0.1.{at}:11211": weight for at, weight in enumerate(weights)}
    peer = uhashring.HashRing(
        nodes={name: {"weight": weight} for name, weight in servers.items()}, hash_fn="ketama"
    )
    keys = [key.decode(errors="replace") for key in random_keys(sized(100_000))]
    ring = KetamaRing(servers)
    names = ring.names
    assert [names[at] for at in ring.lookup(keys)] == [peer.get_node(key) for key in keys]


def single(number: float) -> float:
    """`number` as C's float."""
    return float(struct.unpack("f", struct.pack("f", number))[0])


def libketama_digests(weight: int, total: int, servers: int) -> int:
    """`floorf(pct * 40.0 * (float)servers)`, of which the product is a double."""
    share = single(single(weight) / single(total))
    return int(single(share * 40.0 * single(servers)))


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=60))
def test_libketama_rounds_in_single_precision(weights: list[int]) -> None:
    nodes = [Node(f"n{at}", weight) for at, weight in enumerate(weights)]
    wanted = [4 * libketama_digests(w, sum(weights), len(weights)) for w in weights]
    assert KetamaRing()._counts(nodes) == wanted


def test_rounding_takes_points_of_equal_servers() -> None:
    assert [n for n in range(1, 130) if libketama_digests(1, n, n) != 40] == [61, 122]
    ring = KetamaRing([f"n{at}" for at in range(61)])
    assert ring.point_count == 61 * 39 * 4


@pytest.mark.parametrize("vector", RECORDED["libmemcached"], ids=lambda v: str(len(v["servers"])))
def test_libmemcached_recorded(vector: dict[str, Any], sized: Callable[[int], int]) -> None:
    check_recorded(
        KetamaRing(vector["servers"], flavor="libmemcached"), vector, sized(vector["count"])
    )


@pytest.mark.parametrize(
    ("name", "hashed"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1:11211", "10.0.0.1"),
        ("10.0.0.1:11212", "10.0.0.1:11212"),
        ("cache:0", "cache:0"),
        ("/run/mc.sock", "/run/mc.sock:0"),
        ("[::1]:11211", "::1"),
        ("[::1]:11212", "::1:11212"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("host:name", "host:name"),
        ("host:", "host:"),
        ("host:१२", "host:१२"),
    ],
)
def test_libmemcached_names(name: str, hashed: str) -> None:
    assert memcached_name(name) == hashed


def test_two_names_of_one_server() -> None:
    with pytest.raises(errors.DuplicateNode, match="default"):
        KetamaRing(["a", "a:11211"], flavor="libmemcached")
    ring = KetamaRing(["a"], flavor="libmemcached")
    with pytest.raises(errors.DuplicateNode):
        ring.add_node("a:11211")
    assert ring == KetamaRing(["a"], flavor="libmemcached")
    assert len(KetamaRing(["a", "a:11211"])) == 2


@pytest.mark.parametrize("flavor", ["spy", "", None, 5])
def test_unknown_flavors(flavor: Any) -> None:
    with pytest.raises(errors.SettingError, match="libketama, libmemcached"):
        KetamaRing(["a"], flavor=flavor)


def test_a_weight_moves_unrelated_keys() -> None:
    """What the docstring warns of."""
    servers = {f"10.0.1.{at}:11211": 100 for at in range(10)}
    before = KetamaRing(servers)
    after = before.copy()
    after.set_weight("10.0.1.0:11211", 150)
    keys = [f"key:{number}" for number in range(50_000 if not kernels.PURE else 1000)]
    old, new = before.lookup(keys), after.lookup(keys)
    unrelated = (old != new) & (old != 0) & (new != 0)
    assert unrelated.any()
    assert 0.02 < unrelated.mean() < 0.05


# --- nginx --------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", RECORDED["nginx"], ids=["equal", "weighted"])
def test_nginx_recorded(vector: dict[str, Any], sized: Callable[[int], int]) -> None:
    check_recorded(NginxRing(vector["servers"]), vector, sized(vector["count"]))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("10.0.0.1:8080", ("10.0.0.1", "8080")),
        ("10.0.0.1", ("10.0.0.1", "")),
        ("app.internal", ("app.internal", "")),
        ("[::1]:80", ("[::1]", "80")),
        ("[::1]", ("[::1]", "")),
        ("unix:/run/a:1", ("/run/a:1", "")),
        ("UNIX:/run/a", ("/run/a", "")),
        ("host:", ("host", "")),
        ("host:8o", ("host:8o", "")),
    ],
)
def test_nginx_names(name: str, parts: tuple[str, str]) -> None:
    assert host_and_port(name) == parts


def test_nginx_points_by_the_definition() -> None:
    ring = NginxRing({"a:1": 2, "b": 1})
    points = {}
    for name, count in (("a\0001", 320), ("b\0", 160)):
        point = 0
        for _ in range(count):
            point = zlib.crc32(name.encode() + point.to_bytes(4, "little"))
            points.setdefault(point, name)
    assert (ring.tokens >> np.uint64(32)).tolist() == sorted(points)


# --- envoy --------------------------------------------------------------------------------------


def hosts(ports: range, weights: list[int] | None = None) -> list[Node]:
    return [
        Node(f"127.0.0.1:{port}", weight)
        for port, weight in zip(ports, weights or [1] * len(ports), strict=True)
    ]


def port_at(ring: EnvoyRing, point: int) -> int:
    at = np.searchsorted(ring.tokens, np.uint64(point)) % ring.point_count
    return int(ring.names[ring.token_owners[at]].rpartition(":")[2])


#: The rings that Envoy's own tests describe.
ENVOY_POINTS = {
    833437586790550860: 94, 928266305478181108: 92, 1033482794131418490: 90,
    3551244743356806947: 95, 3851675632748031481: 93, 5583722120771150861: 91,
    6311230543546372928: 91, 7700377290971790572: 93, 13144177310400110813: 95,
    13444792449719432967: 92, 15516499411664133160: 94, 16117243373044804889: 90,
}  # fmt: skip
ENVOY_MURMUR_POINTS = {
    1358027074129602068: 85, 4361834613929391114: 83, 7224494972555149682: 84,
    7701421856454313576: 81, 8649315368077433379: 82, 8739448859063030639: 84,
    9887544217113020895: 81, 10150910876324007731: 82, 15168472011420622455: 83,
    15427156902705414897: 80, 16375050414328759093: 85, 17613279263364193813: 80,
}  # fmt: skip


@pytest.mark.parametrize(
    ("function", "ports", "points"),
    [
        ("xx_hash", range(90, 96), ENVOY_POINTS),
        ("murmur_hash_2", range(80, 86), ENVOY_MURMUR_POINTS),
    ],
)
def test_envoy_rings_as_published(function: str, ports: range, points: dict[int, int]) -> None:
    ring = EnvoyRing(hosts(ports), minimum_ring_size=12, hash_function=function)
    assert ring.tokens.tolist() == sorted(points)
    assert {point: port_at(ring, point) for point in points} == points
    assert port_at(ring, 0) == points[min(points)]
    assert port_at(ring, 2**64 - 1) == points[min(points)]


def test_envoy_weights_as_published() -> None:
    tiny = EnvoyRing(hosts(range(90, 93), [1, 2, 3]), minimum_ring_size=6, maximum_ring_size=6)
    points = {
        928266305478181108: 92, 4443673547860492590: 92, 5583722120771150861: 91,
        6311230543546372928: 91, 13444792449719432967: 92, 16117243373044804889: 90,
    }  # fmt: skip
    assert {point: port_at(tiny, point) for point in tiny.tokens.tolist()} == points
    large = EnvoyRing(hosts(range(90, 93), [1, 2, 3]), minimum_ring_size=6144)
    assert sorted(large.stats().points.tolist()) == [1024, 2048, 3072]
    step = (2**64 - 1) // 6000
    asked = [port_at(large, i * step) for i in range(6000)]
    assert [asked.count(port) for port in (90, 91, 92)] == [987, 1932, 3081]


def test_envoy_fractions_as_published() -> None:
    uneven = EnvoyRing(hosts(range(80, 82)), minimum_ring_size=3)
    assert uneven.tokens.tolist() == [
        5454692015285649509, 7859399908942313493, 13838424394637650569, 16064866803292627174
    ]  # fmt: skip
    few = EnvoyRing(hosts(range(90, 94)), minimum_ring_size=2, maximum_ring_size=2)
    assert sorted(few.stats().points.tolist()) == [0, 0, 1, 1]
    odd = EnvoyRing(hosts(range(90, 92)), minimum_ring_size=1023, maximum_ring_size=1023)
    step = (2**64 - 1) // 1023
    asked = [port_at(odd, i * step) for i in range(1023)]
    assert [asked.count(port) for port in (90, 91)] == [526, 497]


def test_envoy_by_the_definition(sized: Callable[[int], int]) -> None:
    """Every point and 100,000 keys, by a loop that goes as Envoy's does and another XXH64."""
    xxhash = pytest.importorskip("xxhash")
    chance = random.Random(3)
    listed = hosts(range(100, 140), [chance.randint(1, 9) for _ in range(40)])
    total = sum(node.weight for node in listed)
    shares = [node.weight / total for node in listed]
    scale = min(-(-min(shares) * 1024 // 1) / min(shares), 8388608.0)
    points, made, wanted = {}, 0.0, 0.0
    for node, share in zip(listed, shares, strict=True):
        wanted += scale * share
        number = 0
        while made < wanted:
            points[xxhash.xxh64_intdigest(f"{node.name}_{number}".encode())] = node.name
            number, made = number + 1, made + 1
    ring = EnvoyRing(listed)
    assert ring.tokens.tolist() == sorted(points)
    tokens, keys = np.array(sorted(points), np.uint64), random_keys(sized(100_000))
    digests = np.array([xxhash.xxh64_intdigest(key) for key in keys], np.uint64)
    at = np.searchsorted(tokens, digests) % len(tokens)
    expected = [points[point] for point in tokens[at].tolist()]
    assert [ring.names[owner] for owner in ring.lookup(keys)] == expected


def test_envoy_compares_with_a_hash_ring_of_its_hash() -> None:
    assert EnvoyRing(["a"]).space == HashRing(["a"], hash="xxh64").space


@pytest.mark.parametrize("size", range(20))
def test_murmur_hash_2_of_every_tail(size: int) -> None:
    assert 0 <= murmur_hash_2(b"\xff" * size) < 2**64


@pytest.mark.parametrize(
    "settings",
    [
        {"minimum_ring_size": 0},
        {"minimum_ring_size": 10, "maximum_ring_size": 9},
        {"maximum_ring_size": 8 * 2**20 + 1},
        {"hash_function": "md5"},
    ],
)
def test_envoy_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(errors.SettingError):
        EnvoyRing(["a"], **settings)
    with pytest.raises(errors.SettingTypeError):
        EnvoyRing(["a"], minimum_ring_size=1.5)  # type: ignore[arg-type]


# --- what rings of listed servers have in common ------------------------------------------------


@pytest.mark.parametrize("make", LISTED)
def test_the_list_is_kept(make: Callable[..., Any]) -> None:
    ring = make(["c", "a", "b"])
    assert ring.servers == ("c", "a", "b")
    assert ring.names == ("a", "b", "c")
    ring.add_node("0")
    ring.set_weight("c", 3)
    ring.remove_node("a")
    assert ring.servers == ("c", "b", "0")
    assert ring == make([Node("c", 3), "b", "0"])
    assert ring != make(["b", Node("c", 3), "0"])
    assert type(ring).from_bytes(ring.to_bytes()) == ring
    assert type(ring).from_bytes(ring.to_bytes()).servers == ring.servers
    assert make({"c": 2, "a": 1}).servers == ("c", "a")
    assert make(iter(["c", "a"])).servers == ("c", "a")
    with pytest.raises(TypeError, match="unhashable"):
        hash(ring)


@pytest.mark.parametrize("make", LISTED)
def test_a_drained_server_is_off_the_list(make: Callable[..., Any]) -> None:
    ring = make({"a": 1, "b": 0, "c": 2})
    without = make({"a": 1, "c": 2})
    assert ring.tokens.tolist() == without.tokens.tolist()
    keys = random_keys(300)
    assert [ring[key] for key in keys] == [without[key] for key in keys]
    assert make({"a": 0}).point_count == 0
    with pytest.raises(errors.EmptyRingError):
        make({"a": 0})["k"]


@pytest.mark.parametrize("make", LISTED)
@pytest.mark.parametrize("weight", [0.5, 1.25, 2.0**33, 1e300])
def test_weights_are_whole(make: Callable[..., Any], weight: float) -> None:
    with pytest.raises(errors.WeightError, match="whole numbers"):
        make({"a": weight})
    ring = make(["a", "b"])
    before = ring.to_bytes()
    for change in (lambda: ring.set_weight("a", weight), lambda: ring.add_node("c", weight)):
        with pytest.raises(errors.WeightError):
            change()
    assert ring.to_bytes() == before


@pytest.mark.parametrize("make", [KetamaRing, EnvoyRing])
def test_sums_of_weights_stay_in_32_bits(make: Callable[..., Any]) -> None:
    make({"a": 2**31, "b": 2**31 - 1})
    with pytest.raises(errors.WeightError, match="32 bits"):
        make({"a": 2**31, "b": 2**31})


def test_points_are_bounded() -> None:
    with pytest.raises(errors.LimitError):
        NginxRing({"a": 2**30})
    data = NginxRing({"a": 10}).to_bytes()
    with pytest.raises(errors.LimitError, match="points_max=1599"):
        NginxRing.from_bytes(data, points_max=1599)
    assert NginxRing.from_bytes(data, points_max=1600).point_count == 1600


@pytest.mark.parametrize("make", LISTED)
def test_equal_points_belong_to_the_first_listed(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By tokens of a test's own: real ones hardly ever meet."""
    same = [np.array([5, 9], np.uint64), np.array([9, 2], np.uint64)]
    monkeypatch.setattr(make, "_counts", lambda self, live: [2, 2])
    monkeypatch.setattr(make, "_points", lambda self, live, counts: same)
    for servers, owners in ((["a", "b"], [1, 0, 0]), (["b", "a"], [0, 1, 1])):
        ring = make(servers)
        assert ring.tokens.tolist() == [2, 5, 9]
        assert ring.token_owners.tolist() == owners


@pytest.mark.parametrize("make", [*LISTED, TokenRing, RedisSlots])
def test_movement_is_what_keys_do(make: Callable[..., Any], sized: Callable[[int], int]) -> None:
    before = make([f"n{at}:1" for at in range(5)])
    after = before.copy()
    after.add_node("x:1")
    movement = before.diff(after)
    keys = random_keys(sized(20_000))
    old, new = (np.array(ring.names)[ring.lookup(keys)] for ring in (before, after))
    assert movement.share == pytest.approx(
        (old != new).mean(), abs=0.015 if len(keys) > 999 else 0.1
    )
    if make in (NginxRing, TokenRing, RedisSlots):
        assert movement.share == movement.needed_share


# --- tokens -------------------------------------------------------------------------------------


def test_tokens_of_random_keys_are_the_drivers(sized: Callable[[int], int]) -> None:
    murmur3 = pytest.importorskip("cassandra.cmurmur3").murmur3
    keys = random_keys(sized(100_000))
    wanted = [murmur3(key) for key in keys]
    column = TokenRing.token_column(keys)
    assert column.dtype == np.int64
    assert column.tolist() == wanted
    assert [TokenRing.token(key) for key in keys[:5000]] == wanted[:5000]


def test_tokens_as_published() -> None:
    composite = bytes.fromhex("00104327529fb645dd00b883ec39ae448bb800000400066a6b00")
    assert TokenRing.token(composite) == -9223371632693506265
    assert TokenRing.token(b"") == 0
    assert TokenRing.token("é") == TokenRing.token("é".encode())


def test_a_composite_key() -> None:
    parts = bytes.fromhex("4327529fb645dd00b883ec39ae448bb8"), b"\0\0\0\4", b"jk"
    assert TokenRing.partition_key(parts[0], parts[2]) == (
        b"\0\x10" + parts[0] + b"\0" + b"\0\2jk\0"
    )
    assert TokenRing.partition_key("é") == "é".encode()
    with pytest.raises(errors.SettingError):
        TokenRing.partition_key()
    with pytest.raises(errors.LimitError):
        TokenRing.partition_key(b"x" * 65536, b"y")


def test_tokens_own_what_lies_before_them(sized: Callable[[int], int]) -> None:
    own = {"a": [-(2**63), 0, 2**62], "b": [-5, 17, 2**63 - 1], "c": [-(2**62)]}
    ring = TokenRing(tokens=own)
    assert ring.signed_tokens.tolist() == sorted(token for some in own.values() for token in some)
    assert ring.tokens_of("b") == [-5, 17, 2**63 - 1]
    keys = random_keys(sized(100_000))
    at = np.searchsorted(ring.signed_tokens, TokenRing.token_column(keys))
    owners = ring.token_owners[at % 7]
    assert ring.lookup(keys).tolist() == owners.tolist()
    assert ring.ranges().space == ring.space


def test_replicas_are_the_drivers() -> None:
    metadata = pytest.importorskip("cassandra.metadata")
    chance = random.Random(9)
    own = {f"n{at}": [chance.randrange(-(2**63), 2**63) for _ in range(8)] for at in range(6)}
    ring = TokenRing(tokens=own)
    owners = {metadata.Murmur3Token(t): name for name, some in own.items() for t in some}
    tokens = sorted(owners)
    strategy = metadata.SimpleStrategy({"replication_factor": "3"})
    replicas = strategy.make_token_replica_map(owners, tokens)
    placed = metadata.TokenMap(metadata.Murmur3Token, owners, tokens, None)
    placed.tokens_to_hosts_by_ks["ks"] = replicas
    for key in random_keys(2000):
        token = metadata.Murmur3Token.from_key(key)
        assert ring.get_nodes(key, 3) == list(placed.get_replicas("ks", token))


def test_generated_tokens_follow_from_names() -> None:
    ring = TokenRing({"a": 1, "b": 2.5}, vnodes=4)
    assert ring.tokens_of("b") == sorted(TokenRing.token(f"b-{i}") for i in range(10))
    assert ring.point_count == 14
    mixed = TokenRing({"a": 1, "b": 2.5, "c": 0}, tokens={"a": [7], "c": [8]}, vnodes=4)
    assert mixed.tokens_of("a") == [7]
    assert mixed.tokens_of("c") == [8]
    assert mixed.point_count == 11
    mixed.set_weight("c", 1)
    assert 8 in mixed.signed_tokens
    mixed.set_weight("a", 9)
    assert mixed.point_count == 12
    mixed.remove_node("a")
    mixed.add_node("a")
    assert len(mixed.tokens_of("a")) == 4
    mixed.add_node("d", tokens=[99, 3])
    assert mixed.tokens_of("d") == [3, 99]
    again = TokenRing.from_bytes(mixed.to_bytes())
    assert again == mixed
    assert again.signed_tokens.tolist() == mixed.signed_tokens.tolist()
    assert again.vnodes == 4
    again.remove_node("d")
    assert again != mixed


@pytest.mark.parametrize(
    ("tokens", "error"),
    [
        ({"a": [1, 1]}, errors.TokenError),
        ({"a": [1], "b": [1]}, errors.TokenError),
        ({"a": []}, errors.TokenError),
        ({"a": [2**63]}, errors.TokenError),
        ({"a": [-(2**63) - 1]}, errors.TokenError),
        ({"a": [1.0]}, errors.TokenTypeError),
        ({"a": [True]}, errors.TokenTypeError),
        ({"a": "12"}, errors.TokenTypeError),
        ({"a": 12}, errors.TokenTypeError),
        ({"z": [1]}, errors.NodeNotFound),
        ({5: [1]}, errors.NodeNotFound),
        ([1, 2], errors.SettingTypeError),
    ],
)
def test_tokens_that_cannot_be(tokens: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        TokenRing(["a", "b"], tokens=tokens)


def test_a_refused_change_changes_nothing() -> None:
    ring = TokenRing(tokens={"a": [1], "b": [2]})
    before = ring.to_bytes()
    for tokens in ([1], [3, 3], []):
        with pytest.raises(errors.TokenError):
            ring.add_node("c", tokens=tokens)
    with pytest.raises(errors.DuplicateNode):
        ring.add_node("a", tokens=[9])
    with pytest.raises(errors.SettingError):
        TokenRing(["a"], vnodes=0)
    assert ring.to_bytes() == before
    with pytest.raises(errors.LimitError, match="points_max=1"):
        TokenRing.from_bytes(before, points_max=1)


# --- redis --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        ("123456789", 12739),
        ("foo", 12182),
        ("{user1000}.following", 3443),
        ("{user1000}.followers", 3443),
        ("foo{}{bar}", 8363),
        ("foo{{bar}}zap", 4015),
        ("foo{bar}{zap}", 5061),
        ("", 0),
    ],
)
def test_slots_as_published(key: str, slot: int) -> None:
    assert RedisSlots.slot(key) == slot
    assert RedisSlots.slots([key]).tolist() == [slot]


def braced_keys(count: int) -> list[bytes]:
    chance = random.Random(11)
    return [
        bytes(chance.choice(b"ab{}") for _ in range(chance.randrange(140))) for _ in range(count)
    ]


def test_slots_of_random_keys_are_redis_pys(simd: str, sized: Callable[[int], int]) -> None:
    key_slot = pytest.importorskip("redis.crc").key_slot
    keys = random_keys(sized(100_000)) + braced_keys(sized(20_000))
    wanted = [key_slot(key) for key in keys]
    assert RedisSlots.slots(keys).tolist() == wanted
    assert [RedisSlots.slot(key) for key in keys[-5000:]] == wanted[-5000:]
    table = RedisSlots(["a", "b", "c"])
    assert table.lookup(keys).tolist() == table.slot_owners[wanted].tolist()


def test_slots_are_dealt_as_redis_cli_does() -> None:
    assert RedisSlots(["a", "b", "c"]).slot_ranges() == {
        "a": [(0, 5460)],
        "b": [(5461, 10922)],
        "c": [(10923, 16383)],
    }
    table = RedisSlots({"a": 1, "b": 0, "c": 3})
    assert table.slot_ranges() == {"a": [(0, 4095)], "b": [], "c": [(4096, 16383)]}
    assert table.get_nodes("k", 2) in (["a", "c"], ["c", "a"])
    assert sum(table.stats().arcs) == 2**64


def test_tables_are_given_and_given_back() -> None:
    slots: dict[str, Any] = {"b": [(0, 99), 101, (200, 16383)], "a": [100, (102, 199)]}
    table = RedisSlots(slots=slots)
    assert table.slot_ranges() == {
        "a": [(100, 100), (102, 199)],
        "b": [(0, 99), (101, 101), (200, 16383)],
    }
    assert RedisSlots(slots=table.slot_ranges()) == table
    assert table.slot_counts.tolist() == [99, 16285]
    ranges = table.ranges()
    assert (ranges.ends >> np.uint64(50)).tolist() == [99, 100, 101, 199, 16383]
    assert ranges.owners[:, 0].tolist() == [1, 0, 1, 0, 1]
    assert ranges.widths.sum() == 0
    again = RedisSlots.from_bytes(table.to_bytes())
    assert again == table
    assert again != RedisSlots(["a", "b"])


@pytest.mark.parametrize(
    ("slots", "error", "match"),
    [
        ({"a": [(0, 5460)], "b": [(5461, 16382)]}, errors.SlotError, "16383 to 16383"),
        ({"a": [(1, 16383)]}, errors.SlotError, "0 to 0"),
        ({"a": [(0, 99), (102, 16383)]}, errors.SlotError, "2 slots belong to nobody"),
        ({"a": [(0, 100)], "b": [(100, 16383)]}, errors.SlotError, "slot 100 is given to 'a' and"),
        ({"a": [(0, 16384)]}, errors.SlotError, "within"),
        ({"a": [(-1, 5)]}, errors.SlotError, "within"),
        ({"a": [(9, 5)]}, errors.SlotError, "within"),
        ({}, errors.SlotError, "nobody"),
        ({"a": [(0, 1.5)]}, errors.SlotTypeError, "float"),
        ({"a": [True]}, errors.SlotTypeError, "bool"),
        ({"a": [(1, 2, 3)]}, errors.SlotTypeError, "pair"),
        ({"a": "0-5"}, errors.SlotTypeError, "str"),
        ({"a": 7}, errors.SlotTypeError, "int"),
        ({"z": [(0, 16383)]}, errors.NodeNotFound, "'z'"),
        ([(0, 16383)], errors.SlotTypeError, "list"),
    ],
)
def test_tables_that_cannot_be(slots: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        RedisSlots(["a", "b"], slots=slots)


def test_a_drained_node_may_have_no_slots() -> None:
    with pytest.raises(errors.SlotError, match="weight 0"):
        RedisSlots({"a": 0, "b": 1}, slots={"a": [0], "b": [(1, 16383)]})
    table = RedisSlots({"a": 0, "b": 1})
    with pytest.raises(errors.SlotError, match="weight 0"):
        table.assign("a", [5])
    with pytest.raises(errors.LimitError):
        RedisSlots(f"n{at}" for at in range(SLOTS + 1))


def dues(table: RedisSlots) -> list[Fraction]:
    weights = [Fraction(node.weight) for node in table.nodes]
    return [weight * SLOTS / sum(weights) for weight in weights]


def owners_by_name(table: RedisSlots) -> Any:
    return np.array(table.names)[table.slot_owners]


def fewest_moves(before: Any, table: RedisSlots) -> int:
    """A node keeps what it has up to its due, and one more where that may be rounded up."""
    counts = [int((before == name).sum()) for name in table.names]
    floors = [int(due) for due in dues(table)]
    spare = SLOTS - sum(floors)
    above = sum(
        1
        for count, floor, due in zip(counts, floors, dues(table), strict=True)
        if count > floor and due != floor
    )
    kept = sum(map(min, counts, floors)) + min(spare, above)
    return SLOTS - kept


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefg"), st.sampled_from([0, 1, 1, 1, 2, 0.3, 7])),
        min_size=1,
        max_size=12,
    )
)
def test_a_reshard_moves_the_fewest_slots(changes: list[tuple[str, float]]) -> None:
    table = RedisSlots(["m"])
    for name, weight in changes:
        before = owners_by_name(table)
        if name not in table:
            table.add_node(name, weight)
        elif weight == 7:
            table.remove_node(name)
        else:
            table.set_weight(name, weight)
        after = owners_by_name(table)
        counts = [int((after == node).sum()) for node in table.names]
        assert all(abs(n - due) < 1 for n, due in zip(counts, dues(table), strict=True))
        moved = int((before != after).sum())
        assert moved == fewest_moves(before, table)
        assert RedisSlots.from_bytes(table.to_bytes()) == table


def test_assign_and_rebalance() -> None:
    table = RedisSlots(["a", "b"])
    assert table.assign("a", [(8192, 8291), 3]) == 100
    assert table.slot_counts.tolist() == [8292, 8092]
    assert table.assign("a", [(8192, 8291)]) == 0
    assert table.rebalance() == 100
    assert table.slot_counts.tolist() == [8192, 8192]
    assert table.rebalance() == 0
    before = table.to_bytes()
    with pytest.raises(errors.SlotError):
        table.assign("a", [5, 16384])
    with pytest.raises(errors.NodeNotFound):
        table.assign("z", [5])
    assert table.to_bytes() == before


def test_all_drained_and_back() -> None:
    table = RedisSlots(["a", "b"])
    table.set_weight("a", 0)
    assert table.slot_counts.tolist() == [0, SLOTS]
    table.set_weight("b", 0)
    with pytest.raises(errors.EmptyRingError):
        table["k"]
    with pytest.raises(errors.EmptyRingError):
        table.ranges()
    assert RedisSlots.from_bytes(table.to_bytes()) == table
    table.set_weight("a", 1)
    assert table["k"] == "a"
    assert RedisSlots([]).slot_counts.tolist() == []


RAW_SLOTS = [
    [0, 5460, [b"10.0.0.1", 7000, b"id1", []], [b"10.0.0.4", 7003, b"id4", []]],
    [5461, 10922, [b"10.0.0.2", 7001, b"id2", []]],
    [10923, 16383, [b"10.0.0.1", 7000, b"id1", []]],
]
NODE_LINES = """\
id1 10.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-5460 10923-16382 16383 [5461-<-id2]
id2 10.0.0.2:7001@17001,host2 master - 0 0 2 connected 5461-10922 [5461->-id1]
id4 10.0.0.4:7003@17003 slave id1 0 0 1 connected
"""
SHARDS: list[Any] = [
    {
        "slots": [(0, 5460), (10923, 16383)],
        "nodes": [
            {"id": "id4", "port": 7003, "ip": "10.0.0.4", "role": "replica", "health": "online"},
            {"id": "id1", "port": 7000, "ip": "10.0.0.1", "endpoint": "10.0.0.1", "role": "master"},
        ],
    },
    {
        "slots": [(5461, 10922)],
        "nodes": [{"id": "id2", "port": 7001, "ip": "10.0.0.2", "role": "master"}],
    },
    {"slots": [], "nodes": [{"id": "id9", "port": 1, "ip": "10.0.0.9", "role": "master"}]},
]
RAW_SHARDS: list[Any] = [
    [
        b"slots", [0, 5460, 10923, 16383],
        b"nodes", [[b"id", b"id1", b"port", 7000, b"ip", b"10.0.0.1", b"role", b"master"]],
    ],
    [
        b"slots", [5461, 10922],
        b"nodes", [[b"id", b"id2", b"tls-port", 7001, b"ip", b"10.0.0.2", b"role", b"master"]],
    ],
]  # fmt: skip
SLOT_MAPPING: dict[Any, Any] = {
    (0, 5460): {"primary": ("10.0.0.1", 7000), "replicas": [("10.0.0.4", 7003)]},
    (5461, 10922): {"primary": ("10.0.0.2", 7001), "replicas": []},
    (10923, 16383): {"primary": ("10.0.0.1", 7000), "replicas": []},
}
NODE_MAPPING: dict[Any, Any] = {
    "10.0.0.1:7000": {"flags": "master", "slots": [["0", "5460"], ["10923", "16382"], ["16383"]]},
    "10.0.0.2:7001": {"flags": "master", "slots": [["5461", "10922"]]},
    "10.0.0.4:7003": {"flags": "slave", "slots": []},
}


@pytest.mark.parametrize(
    "reply",
    [RAW_SLOTS, NODE_LINES, NODE_LINES.encode(), SHARDS, RAW_SHARDS, SLOT_MAPPING, NODE_MAPPING],
    ids=["slots", "lines", "bytes", "shards", "raw shards", "slot mapping", "node mapping"],
)
def test_tables_of_clusters(reply: Any) -> None:
    table = RedisSlots.from_cluster(reply, weights={"10.0.0.1:7000": 2})
    assert table.slot_ranges() == {
        "10.0.0.1:7000": [(0, 5460), (10923, 16383)],
        "10.0.0.2:7001": [(5461, 10922)],
    }
    assert [node.weight for node in table.nodes] == [2.0, 1.0]


def test_redis_py_reads_the_same() -> None:
    helpers = pytest.importorskip("redis._parsers.helpers")
    table = RedisSlots.from_cluster(NODE_LINES)
    assert RedisSlots.from_cluster(helpers.parse_cluster_nodes(NODE_LINES)) == table
    assert RedisSlots.from_cluster(NODE_LINES.strip().encode().splitlines()[0].decode() + "\n"
                                   + NODE_LINES.splitlines()[1]) == table  # fmt: skip


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (RAW_SLOTS[:2], errors.SlotError),
        ([*RAW_SLOTS, RAW_SLOTS[0]], errors.SlotError),
        ([], errors.SlotError),
        ({}, errors.SlotError),
        ("", errors.SlotError),
        ("what is this", errors.SlotTypeError),
        (5, errors.SlotTypeError),
        (None, errors.SlotTypeError),
        ([[0]], errors.SlotTypeError),
        ([5], errors.SlotTypeError),
        ([{"slots": [0, 1], "nodes": []}], errors.SlotTypeError),
        (
            [{"slots": [0], "nodes": [{"role": "master", "ip": "a", "port": 1}]}],
            errors.SlotTypeError,
        ),
        ({"a:1": 5}, errors.SlotTypeError),
        ({(0, 1): {}}, errors.SlotTypeError),
    ],
)
def test_replies_that_are_none(reply: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        RedisSlots.from_cluster(reply)
    with pytest.raises(errors.NodeNotFound):
        RedisSlots.from_cluster(RAW_SLOTS, weights={"x": 1})


# --- saved: wrong values under a right checksum -------------------------------------------------


def sealed(kind: int, body: bytes) -> bytes:
    head = struct.pack("<4sHHQ", b"RLRG", 1, kind, 16 + len(body) + 4) + body
    return head + struct.pack("<I", hashing.crc32c(head))


def nodes_bytes(*weights: float) -> bytes:
    made = struct.pack("<I", len(weights))
    for name, weight in zip("abcdefgh", weights, strict=False):
        made += struct.pack("<H1sdHHHH", 1, name.encode(), weight, 0, 0, 0, 0)
    return made


@pytest.mark.parametrize(
    ("make", "kind", "body"),
    [
        (KetamaRing, 3, struct.pack("<HH", 1, 2) + nodes_bytes(1) + struct.pack("<I", 0)),
        (KetamaRing, 3, struct.pack("<HH", 2, 0) + nodes_bytes(1) + struct.pack("<I", 0)),
        (KetamaRing, 3, struct.pack("<HH", 0, 0) + nodes_bytes(1) + struct.pack("<I", 0)),
        (KetamaRing, 3, struct.pack("<HH", 1, 0) + nodes_bytes(1) + struct.pack("<I", 1)),
        (KetamaRing, 3, struct.pack("<HH", 1, 0) + nodes_bytes(1, 1) + struct.pack("<II", 0, 0)),
        (KetamaRing, 3, struct.pack("<HH", 1, 0) + nodes_bytes(1.5) + struct.pack("<I", 0)),
        (NginxRing, 4, struct.pack("<H", 1) + nodes_bytes(1)),
        (NginxRing, 4, struct.pack("<H", 1) + nodes_bytes(2.0**30) + struct.pack("<I", 0)),
        (EnvoyRing, 5, struct.pack("<HHII", 1, 2, 1, 2) + nodes_bytes()),
        (EnvoyRing, 5, struct.pack("<HHII", 1, 0, 2, 1) + nodes_bytes()),
        (EnvoyRing, 5, struct.pack("<HHII", 1, 0, 1, 2**31) + nodes_bytes()),
        (TokenRing, 13, struct.pack("<HI", 1, 0) + nodes_bytes()),
        (TokenRing, 13, struct.pack("<HI", 1, 4) + nodes_bytes(1) + struct.pack("<I", 5)),
        (TokenRing, 13, struct.pack("<HI", 1, 4) + nodes_bytes(1) + struct.pack("<Iqq", 2, 1, 1)),
        (
            TokenRing,
            13,
            struct.pack("<HI", 1, 4) + nodes_bytes(1, 1) + struct.pack("<IqIq", 1, 1, 1, 1),
        ),
        (RedisSlots, 12, struct.pack("<H", 1) + nodes_bytes(1) + struct.pack("<H", 0)),
        (RedisSlots, 12, struct.pack("<H", 1) + nodes_bytes(1) + struct.pack("<HHH", 1, 9, 0)),
        (RedisSlots, 12, struct.pack("<H", 1) + nodes_bytes(1) + struct.pack("<HHH", 1, 16383, 1)),
        (RedisSlots, 12, struct.pack("<H", 1) + nodes_bytes(0) + struct.pack("<HHH", 1, 16383, 0)),
        (
            RedisSlots,
            12,
            struct.pack("<H", 1) + nodes_bytes(1, 1) + struct.pack("<HHHHH", 2, 5, 16383, 1, 1),
        ),
        (
            RedisSlots,
            12,
            struct.pack("<H", 1) + nodes_bytes(1, 1) + struct.pack("<HHHHH", 2, 16383, 5, 1, 0),
        ),
    ],
)
def test_wrong_values_under_a_right_checksum(make: Any, kind: int, body: bytes) -> None:
    with pytest.raises((errors.FormatError, errors.LimitError)):
        make.from_bytes(sealed(kind, body))


@pytest.mark.parametrize(
    ("made", "kind", "body"),
    [
        (
            KetamaRing(["b", "a"], flavor="libmemcached"),
            3,
            struct.pack("<HH", 1, 1) + nodes_bytes(1, 1) + struct.pack("<II", 1, 0),
        ),
        (NginxRing(["a"]), 4, struct.pack("<H", 1) + nodes_bytes(1) + struct.pack("<I", 0)),
        (
            EnvoyRing(["a"], minimum_ring_size=7),
            5,
            struct.pack("<HHII", 1, 0, 7, 2**23) + nodes_bytes(1) + struct.pack("<I", 0),
        ),
        (
            TokenRing(["a", "b"], tokens={"b": [-1, 4]}, vnodes=9),
            13,
            struct.pack("<HI", 1, 9) + nodes_bytes(1, 1) + struct.pack("<IIqq", 0, 2, -1, 4),
        ),
        (
            RedisSlots(["a", "b"]),
            12,
            struct.pack("<H", 1) + nodes_bytes(1, 1) + struct.pack("<HHHHH", 2, 8191, 16383, 0, 1),
        ),
    ],
)
def test_the_hand_made_form_is_the_format(made: Any, kind: int, body: bytes) -> None:
    assert made.to_bytes() == sealed(kind, body)
    assert type(made).from_bytes(sealed(kind, body)) == made
