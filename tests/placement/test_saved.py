"""Saved rings: round trips, and every way in which bytes can be wrong."""

from __future__ import annotations

import random
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringleader import HashRing, Node, errors, limits
from ringleader._reference.hashing import crc32c
from ringleader.placement import saved

RING = HashRing(
    [
        Node("eu-1", 1.5, "eu", "eu-a", "10.0.0.1:7000", {"disk": "nvme", "arch": "arm64"}),
        Node("eu-2", 0.0, "eu", "eu-b"),
        Node("us-1é", 2.0, "us"),
    ],
    vnodes=10,
    hash="siphash13",
    seed=(1 << 127) + 5,
)
DATA = RING.to_bytes()


def sealed(body: bytes, *, version: int = 1, kind: int = 1) -> bytes:
    """`body` under a right header and checksum."""
    head = struct.pack("<4sHHQ", b"RLRG", version, kind, 16 + len(body) + 4)
    return head + body + struct.pack("<I", crc32c(head + body))


def test_round_trip_keeps_everything() -> None:
    again = HashRing.from_bytes(DATA)
    assert again == RING
    assert again.nodes == RING.nodes
    assert again.to_bytes() == DATA
    assert (again.tokens == RING.tokens).all()
    for kind in (bytearray, memoryview):
        assert HashRing.from_bytes(kind(DATA)) == RING


def test_every_prefix_is_refused() -> None:
    for size in range(len(DATA)):
        with pytest.raises(errors.FormatError):
            HashRing.from_bytes(DATA[:size])
    with pytest.raises(errors.FormatError, match="something was added"):
        HashRing.from_bytes(DATA + b"\0")


def test_every_flipped_bit_is_refused() -> None:
    for bit in range(len(DATA) * 8):
        damaged = bytearray(DATA)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(errors.FormatError):
            HashRing.from_bytes(damaged)


def test_a_newer_version_says_upgrade() -> None:
    for data in (sealed(DATA[16:-4], version=2), sealed(b"\x02\0" + DATA[18:-4])):
        with pytest.raises(errors.VersionError, match="upgrade"):
            HashRing.from_bytes(data)


@pytest.mark.parametrize("data", [b"", b"RL", b"PK\3\4" * 20, zlib.compress(DATA)])
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(errors.FormatError, match="not a saved ring"):
        HashRing.from_bytes(data)


def test_a_wrong_type_is_a_type_error() -> None:
    with pytest.raises(errors.FormatTypeError, match="str"):
        HashRing.from_bytes("RLRG")  # type: ignore[arg-type]


def node_bytes(name: bytes, weight: float, tags: bytes = b"\0\0") -> bytes:
    return struct.pack("<H", len(name)) + name + struct.pack("<d", weight) + b"\0" * 6 + tags


def body(
    nodes: list[bytes],
    *,
    count: int | None = None,
    hash_number: int = 0,
    vnodes: int = 4,
    seed: int = 0,
) -> bytes:
    claimed = len(nodes) if count is None else count
    head = struct.pack("<HHI16sI", 1, hash_number, vnodes, seed.to_bytes(16, "little"), claimed)
    return head + b"".join(nodes)


A, B = node_bytes(b"a", 1.0), node_bytes(b"b", 1.0)


def test_the_hand_made_form_is_the_format() -> None:
    assert HashRing.from_bytes(sealed(body([A, B]))) == HashRing(["a", "b"], vnodes=4)


@pytest.mark.parametrize(
    "wrong",
    [
        body([A, A]),
        body([B, A]),
        body([A], count=2),
        body([A], count=2**32 - 1),
        body([A, B], count=1),
        body([A], hash_number=9),
        body([A], vnodes=0),
        body([A], vnodes=2**32 - 1),
        body([A], seed=1 << 64),
        body([node_bytes(b"", 1.0)]),
        body([node_bytes(b"\xff", 1.0)]),
        body([node_bytes(b"\xed\xa0\x80", 1.0)]),
        body([node_bytes(b"a", -1.0)]),
        body([node_bytes(b"a", float("nan"))]),
        body([node_bytes(b"a", float("inf"))]),
        body([node_bytes(b"a", 1e300)]),
        body([node_bytes(b"a", 1.0, b"\2\0" + b"\1\0x\0\0" * 2)]),
        body([node_bytes(b"a", 1.0, b"\xff\xff")]),
        b"",
    ],
)
def test_wrong_values_under_a_right_checksum(wrong: bytes) -> None:
    with pytest.raises((errors.FormatError, errors.LimitError)):
        HashRing.from_bytes(sealed(wrong))


def test_a_ring_too_large_to_read_back_is_not_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SAVED_RING_BYTES_MAX", len(DATA))
    assert RING.to_bytes() == DATA
    with pytest.raises(errors.LimitError, match="read back"):
        HashRing(["x" * 500]).to_bytes()


def test_a_small_file_cannot_ask_for_a_huge_ring_unseen() -> None:
    big = sealed(body([node_bytes(b"a", 60.0)], vnodes=2**20))
    with pytest.raises(errors.LimitError, match="points_max=1000"):
        HashRing.from_bytes(big, points_max=1000)
    with pytest.raises(errors.SettingTypeError):
        HashRing.from_bytes(DATA, points_max="1000")  # type: ignore[arg-type]


@given(st.binary(max_size=300))
def test_random_bytes_never_crash(data: bytes) -> None:
    for attempt in (data, sealed(data)):
        with pytest.raises(errors.RingleaderError):
            HashRing.from_bytes(attempt, points_max=10_000)


def test_mutated_bytes_never_crash() -> None:
    """Bodies changed at random under a right checksum: a ring, or an error of ours."""
    rng = random.Random(5)
    outcomes = set()
    for _ in range(3000):
        changed = bytearray(DATA[16:-4])
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(changed))
            match rng.randrange(3):
                case 0:
                    changed[at] = rng.randrange(256)
                case 1:
                    del changed[at : at + rng.randrange(1, 5)]
                case _:
                    changed[at:at] = rng.randbytes(rng.randrange(1, 5))
        try:
            ring = HashRing.from_bytes(sealed(bytes(changed)), points_max=10_000)
        except errors.RingleaderError:
            outcomes.add("refused")
        else:
            outcomes.add("read")
            assert HashRing.from_bytes(ring.to_bytes()) == ring
    assert outcomes == {"refused", "read"}


def test_the_limits_of_dump_and_load_agree() -> None:
    tags = {f"{i:05}": "" for i in range(65_535)}
    ring = HashRing([Node("n" * 65_535, tags=tags)], vnodes=1)
    assert HashRing.from_bytes(ring.to_bytes()) == ring
    assert saved.load(ring.to_bytes()).vnodes == 1
