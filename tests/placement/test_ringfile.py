"""Ring files: TOML for people, or saved bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from ringleader import HashRing, Node, errors, placement
from ringleader.placement import load_locator, load_ring, locator_from_bytes
from ringleader.placement.ringfile import ALGORITHMS

FULL = """
[ring]
vnodes = 40
hash = "murmur3"
seed = 7

[[node]]
name = "eu-1"
weight = 2
dc = "eu"
zone = "eu-a"
address = "10.0.0.1:7000"
tags = { disk = "nvme" }

[[node]]
name = "us-1"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ring.toml"


def test_every_field(path: Path) -> None:
    path.write_text(FULL)
    nodes = [Node("eu-1", 2, "eu", "eu-a", "10.0.0.1:7000", {"disk": "nvme"}), Node("us-1")]
    ring = load_ring(path)
    assert ring == HashRing(nodes, vnodes=40, hash="murmur3", seed=7)
    path.write_bytes(ring.to_bytes())
    assert load_ring(str(path)) == ring


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names no node"),
        ("[ring]\nvnodes = 0\n[[node]]\nname = 'a'", "vnodes=0"),
        ("[ring]\nnodes = 5\n[[node]]\nname = 'a'", "unknown field 'nodes'"),
        ("[rings]", "unknown field 'rings'"),
        ("ring = 5", "must be a table"),
        ("node = 5", r"\[\[node\]\]"),
        ("[node]\nname = 'a'", r"\[\[node\]\]"),
        ("[[node]]\nweight = 1", "number 1 has no name"),
        ("[[node]]\nname = 'a'\n[[node]]\nname = 'a'", "given twice"),
        ("[[node]]\nname = 'a'\nweight = nan", "nan"),
        ("[[node]]\nname = 1", "must be str, not int"),
        ("x = " + "[" * 5000, "not a ring file"),
        ("=", "line 1"),
    ],
)
def test_refusals_name_the_file_and_what_is_wrong(path: Path, text: str, words: str) -> None:
    path.write_text(text)
    with pytest.raises(errors.FormatError, match=words) as caught:
        load_ring(path)
    assert str(path) in str(caught.value)


def test_other_failures(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_ring(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(errors.FormatError, match="not a ring file"):
        load_ring(path)
    path.write_bytes(b"RLRG" + struct.pack("<HHQ", 2, 1, 20) + bytes(4))
    with pytest.raises(errors.VersionError, match="upgrade"):
        load_ring(path)


# --- other algorithms -----------------------------------------------------------------------------

SETTINGS: dict[str, tuple[str, Callable[[list[Node]], object]]] = {
    "ketama": ("flavor = 'libmemcached'", partial(placement.KetamaRing, flavor="libmemcached")),
    "maglev": ("table_size = 1009", partial(placement.Maglev, table_size=1009)),
    "anchor": ("capacity = 10", partial(placement.AnchorHash, capacity=10)),
    "multiprobe": (
        "hash = 'xxh64'\nprobes = 7",
        partial(placement.MultiProbe, hash="xxh64", probes=7),
    ),
    "partitions": ("power = 6\nreplicas = 2", partial(placement.Partitions, 6, 2)),
    "rendezvous": ("skeleton = true", partial(placement.Rendezvous, skeleton=True)),
}
NODES = [Node("a:1", dc="eu"), Node("b:1"), Node("c:1")]
TABLES = "[[node]]\nname = 'a:1'\ndc = 'eu'\n[[node]]\nname = 'b:1'\n[[node]]\nname = 'c:1'\n"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_has_a_file(path: Path, algorithm: str) -> None:
    _, name, _ = ALGORITHMS[algorithm]
    settings, make = SETTINGS.get(algorithm, ("", getattr(placement, name)))
    path.write_text(f"[ring]\nalgorithm = '{algorithm}'\n{settings}\n{TABLES}")
    loaded = load_locator(path)
    assert type(loaded).__name__ == name
    if algorithm != "partitions":  # which remembers when it was made
        assert loaded == make(NODES)
    assert loaded.names == ("a:1", "b:1", "c:1")
    path.write_bytes(loaded.to_bytes())
    assert load_locator(path) == loaded
    assert locator_from_bytes(loaded.to_bytes()) == loaded
    if algorithm != "ring":
        with pytest.raises(errors.FormatError, match=f"is a {name}, but a HashRing is wanted"):
            load_ring(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("algorithm = 'kettle'", "unknown algorithm 'kettle'; known are ring, ketama"),
        ("algorithm = 5", "unknown algorithm 5"),
        ("algorithm = 'maglev'\nvnodes = 5", "unknown field 'vnodes'"),
        ("algorithm = 'maglev'\ntable_size = 10", "prime"),
        ("algorithm = 'maglev'\ntable_size = '10'", "table_size"),
        ("algorithm = 'partitions'", "power"),
        ("algorithm = 'maglev'\nspread = 'zone'", "unknown field 'spread'"),
    ],
)
def test_algorithms_that_cannot_be(path: Path, text: str, words: str) -> None:
    path.write_text(f"[ring]\n{text}\n{TABLES}")
    with pytest.raises(errors.FormatError, match=words):
        load_locator(path)


def test_bytes_that_are_no_locator() -> None:
    data = bytearray(HashRing(["a"]).to_bytes())
    data[6] = 77
    with pytest.raises(errors.FormatError, match="kind 77"):
        locator_from_bytes(data)
    with pytest.raises(errors.FormatTypeError):
        locator_from_bytes("text")  # type: ignore[arg-type]
