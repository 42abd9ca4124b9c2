"""Ring files: TOML for people, or saved bytes."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ringleader import HashRing, Node, errors
from ringleader.placement import load_ring

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
