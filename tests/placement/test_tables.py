"""JumpHash, Maglev and MultiProbe: golden vectors, made by an independent program, and oracles."""

from __future__ import annotations

import ast
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ringleader import errors
from ringleader.hashing import crc32c
from ringleader.placement import JumpHash, Maglev, MultiProbe

PATH = Path(__file__).parent.parent / "vectors" / "tables.json"
VECTORS: dict[str, Any] = json.loads(PATH.read_text())


def named(vector: dict[str, Any]) -> str:
    return f"{vector['hash']}-{vector['seed']}"


def keys_of(answers: dict[str, Any]) -> list[Any]:
    return [ast.literal_eval(key) for key in answers]


def test_golden_buckets() -> None:
    for value, count, bucket in VECTORS["jump"]:
        assert JumpHash(count).bucket(value) == bucket
        assert JumpHash(count).buckets(np.array([value], np.uint64)).tolist() == [bucket]
    assert JumpHash(1024).bucket(256) == 520


@pytest.mark.parametrize("vector", VECTORS["jump_saved"], ids=named)
def test_golden_jump_hash(vector: dict[str, Any]) -> None:
    jump = JumpHash(vector["nodes"], hash=vector["hash"], seed=vector["seed"])
    keys = keys_of(vector["owners"])
    assert [jump[key] for key in keys] == list(vector["owners"].values())
    assert [jump.names[at] for at in jump.lookup(keys)] == list(vector["owners"].values())
    assert jump.to_bytes().hex() == vector["saved"]
    assert JumpHash.from_bytes(bytes.fromhex(vector["saved"])) == jump


def test_jump_hash_is_its_package() -> None:
    oracle = pytest.importorskip("jump")
    rng = random.Random(4)
    values = [rng.getrandbits(64) for _ in range(100_000)]
    for count in (1, 10, 1000, 10**6):
        found = JumpHash(count).buckets(np.array(values, np.uint64)).tolist()
        assert found == [oracle.hash(value, count) for value in values]


@pytest.mark.parametrize("vector", VECTORS["maglev"], ids=named)
def test_golden_maglev(vector: dict[str, Any]) -> None:
    maglev = Maglev(
        vector["weights"],
        table_size=vector["table_size"],
        hash=vector["hash"],
        seed=vector["seed"],
    )
    slots = maglev.slots
    assert [maglev.names[at] for at in slots[:17]] == vector["first_slots"]
    assert f"{crc32c(slots.astype('<u4').tobytes()):08x}" == vector["slots_crc32c"]
    keys = keys_of(vector["owners"])
    assert [maglev[key] for key in keys] == list(vector["owners"].values())
    assert [maglev.names[at] for at in maglev.lookup(keys)] == list(vector["owners"].values())
    assert maglev.to_bytes().hex() == vector["saved"]
    assert Maglev.from_bytes(bytes.fromhex(vector["saved"])) == maglev


def test_envoys_own_tables() -> None:
    """The tables that Envoy's tests of its Maglev policy expect."""
    six = Maglev([f"127.0.0.1:{port}" for port in range(90, 96)], table_size=7)
    assert six.slots.tolist() == [2, 4, 0, 1, 5, 0, 3]
    weighted = Maglev({"127.0.0.1:91": 2, "127.0.0.1:90": 1}, table_size=17)
    assert weighted.slots.tolist() == [1, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 0, 1]


def test_maglev_owners_are_envoys_on_random_keys() -> None:
    xxhash = pytest.importorskip("xxhash")
    rng = random.Random(3)
    keys = [rng.randbytes(rng.randrange(40)) for _ in range(100_000)]
    maglev = Maglev([f"10.1.2.{host}:8080" for host in range(50)])
    slots = maglev.slots
    hashes = np.array([xxhash.xxh64_intdigest(key) for key in keys], np.uint64)
    assert (maglev.lookup(keys) == slots[(hashes % np.uint64(65_537)).astype(np.int64)]).all()


@pytest.mark.parametrize("vector", VECTORS["multiprobe"], ids=named)
def test_golden_multiprobe(vector: dict[str, Any]) -> None:
    multi = MultiProbe(
        vector["weights"],
        probes=vector["probes"],
        points=vector["points"],
        hash=vector["hash"],
        seed=vector["seed"],
    )
    state: Any = multi.table.state
    points = [
        [f"{token:016x}", multi.names[owner]]
        for token, owner in zip(state.tokens().tolist(), state.owners().tolist(), strict=True)
    ]
    assert points[:4] == vector["first_points"]
    keys = keys_of(vector["replicas"])
    wanted = len(vector["replicas"]["'a'"])
    assert [multi.get_nodes(key, wanted) for key in keys] == list(vector["replicas"].values())
    assert [multi[key] for key in keys] == [row[0] for row in vector["replicas"].values()]
    assert [multi.names[at] for at in multi.lookup(keys)] == [multi[key] for key in keys]
    assert multi.to_bytes().hex() == vector["saved"]
    assert MultiProbe.from_bytes(bytes.fromhex(vector["saved"])) == multi


@pytest.mark.parametrize("kind", [JumpHash, Maglev, MultiProbe])
def test_mutated_bytes_never_crash(kind: Any) -> None:
    """Bodies changed at random under a right checksum: a locator, or an error of ours."""
    small = {"table_size": 53} if kind is Maglev else {}
    bounds = {Maglev: {"table_size_max": 1000}, MultiProbe: {"points_max": 1000}}.get(kind, {})
    data = kind(["a", "é", "b"], hash="siphash13", seed=1 << 100, **small).to_bytes()
    rng = random.Random(5)
    outcomes = set()
    for _ in range(1500):
        changed = bytearray(data[16:-4])
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(changed))
            match rng.randrange(3):
                case 0:
                    changed[at] = rng.randrange(256)
                case 1:
                    del changed[at : at + rng.randrange(1, 5)]
                case _:
                    changed[at:at] = rng.randbytes(rng.randrange(1, 5))
        whole = data[:8] + (20 + len(changed)).to_bytes(8, "little") + bytes(changed)
        whole += crc32c(whole).to_bytes(4, "little")
        try:
            again = kind.from_bytes(whole, **bounds)
        except errors.RingleaderError:
            outcomes.add("refused")
        else:
            outcomes.add("read")
            assert kind.from_bytes(again.to_bytes()) == again
    assert outcomes == {"refused", "read"}
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(errors.FormatError):
            kind.from_bytes(damaged)


@pytest.mark.parametrize("kind", [JumpHash, Maglev, MultiProbe])
def test_newer_and_unknown_versions(kind: Any) -> None:
    data = kind(["a", "b"]).to_bytes()
    for version, error in ((2, errors.VersionError), (0, errors.FormatError)):
        changed = data[:16] + version.to_bytes(2, "little") + data[18:-4]
        with pytest.raises(error, match=f"version {version}"):
            kind.from_bytes(changed + crc32c(changed).to_bytes(4, "little"))
