"""Writes frames.json: golden vectors of the frames between nodes, format version 1.

Made without ringleader and msgspec: bytes from struct, msgpack from its specification, the CRC32C
from its bit-by-bit definition, kinds and fields from docs/formats.md.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from make_log import block, crc32c

HELLO, MESSAGES, REQUESTS, RESPONSES, PING, PONG, BYE = range(1, 8)

SENDER, RECEIVER = "eu-1", "us-1"  # as in tests/node/test_codec.py
MEMBERSHIP = b"no membership, but bytes"
BLOCK = block(8, [5, 5], [b"set x 1", b""])

#: Kind's number, its name, its fields in their order; flags are bool.
RAFT: list[tuple[int, str, dict[str, Any]]] = [
    (
        1,
        "RequestVote",
        {"term": 6, "last_index": 300, "last_term": 5, "pre": True, "transfer": False},
    ),
    (
        1,
        "RequestVote",
        {"term": 6, "last_index": 300, "last_term": 5, "pre": False, "transfer": True},
    ),
    (2, "VoteReply", {"term": 6, "granted": True, "pre": True}),
    (
        3,
        "AppendEntries",
        {"term": 6, "prev_index": 7, "prev_term": 5, "commit": 7, "round": 70, "block": BLOCK},
    ),
    (
        3,
        "AppendEntries",
        {"term": 6, "prev_index": 9, "prev_term": 5, "commit": 9, "round": 71, "block": None},
    ),
    (
        4,
        "AppendReply",
        {"term": 6, "match": 9, "round": 71, "refused": False, "hint_index": 0, "hint_term": 0},
    ),
    (
        4,
        "AppendReply",
        {
            "term": 6,
            "match": 2**40,
            "round": 2**31,
            "refused": True,
            "hint_index": 65535,
            "hint_term": 128,
        },
    ),
    (
        5,
        "InstallSnapshot",
        {
            "term": 6,
            "index": 9,
            "index_term": 5,
            "membership": MEMBERSHIP,
            "total_bytes": 1000,
            "checksum": 2**32 - 1,
            "offset": 100,
            "data": bytes(range(50)),
            "round": 72,
        },
    ),
    (6, "SnapshotReply", {"term": 6, "index": 9, "offset": 150, "installed": False, "round": 72}),
    (6, "SnapshotReply", {"term": 6, "index": 9, "offset": 0, "installed": True, "round": 72}),
    (7, "TimeoutNow", {"term": 2**62 - 2}),
    (8, "Quiesce", {"term": 6, "index": 256}),
    (9, "ReadRequest", {"term": 6, "context": b"context"}),
    (10, "ReadReply", {"term": 6, "context": b"", "index": 127}),
    (11, "Propose", {"term": 6, "ticket": 1, "payloads": [b"one", b"", b"three"]}),
    (11, "Propose", {"term": 6, "ticket": 2, "payloads": []}),
    (12, "ProposeReply", {"term": 6, "ticket": 1, "index": 10}),
]
BALLOT = 7 << 32 | 0xDEADBEEF
PAXOS: list[tuple[int, str, dict[str, Any]]] = [
    (
        33,
        "Prepare",
        {"term": BALLOT, "commit": 7, "attempt": 1, "probe": True, "asked_in": BALLOT - 1},
    ),
    (
        34,
        "Promise",
        {
            "term": BALLOT,
            "attempt": 1,
            "probe": False,
            "report": 2**32 - 1,
            "part": 0,
            "parts": 2,
            "block": BLOCK,
        },
    ),
    (
        34,
        "Promise",
        {
            "term": BALLOT,
            "attempt": 1,
            "probe": True,
            "report": 0,
            "part": 0,
            "parts": 1,
            "block": None,
        },
    ),
    (35, "Nack", {"term": BALLOT + 1, "ballot": BALLOT, "commit": 7}),
    (36, "Accept", {"term": BALLOT, "commit": 7, "round": 70, "block": BLOCK}),
    (36, "Accept", {"term": BALLOT, "commit": 9, "round": 71, "block": None}),
    (37, "Accepted", {"term": BALLOT, "first": 8, "last": 9, "commit": 7, "round": 70}),
    (38, "Fetch", {"term": BALLOT, "first": 8, "index": 0, "checksum": 0, "offset": 0}),
    (39, "Learn", {"term": BALLOT, "commit": 9, "block": BLOCK}),
    (
        40,
        "SnapshotPart",
        {
            "term": BALLOT,
            "index": 9,
            "ballot": BALLOT,
            "membership": MEMBERSHIP,
            "total_bytes": 3,
            "checksum": 4,
            "offset": 0,
            "data": b"abc",
        },
    ),
    (41, "TimeoutNow", {"term": BALLOT}),
    (42, "ReadRequest", {"term": BALLOT, "context": b"c"}),
    (43, "ReadReply", {"term": BALLOT, "context": b"c", "index": 9}),
    (44, "Propose", {"term": BALLOT, "ticket": 1, "payloads": [b"one"]}),
    (45, "ProposeReply", {"term": BALLOT, "ticket": 1, "index": 0}),
]


def msgpack(value: Any) -> bytes:
    """Integers, texts, bytes and arrays in their shortest forms."""
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        for low, high, head, form in (
            *((0, 2**7, b"", ">B"), (-(2**5), 0, b"", ">b")),
            *((0, 2**8, b"\xcc", ">B"), (0, 2**16, b"\xcd", ">H")),
            *((0, 2**32, b"\xce", ">I"), (0, 2**64, b"\xcf", ">Q")),
            *((-(2**7), 0, b"\xd0", ">b"), (-(2**15), 0, b"\xd1", ">h")),
            *((-(2**31), 0, b"\xd2", ">i"), (-(2**63), 0, b"\xd3", ">q")),
        ):
            if low <= value < high:
                return head + struct.pack(form, value)
    if isinstance(value, str):
        text = value.encode()
        return (bytes([0xA0 + len(text)]) if len(text) < 32 else _sized(0xD9, text)) + text
    if isinstance(value, bytes):
        return _sized(0xC4, value) + value
    assert isinstance(value, list)
    head = bytes([144 + len(value)]) if len(value) < 16 else b"\xdc" + struct.pack(">H", len(value))
    return head + b"".join(map(msgpack, value))


def _sized(code: int, data: bytes) -> bytes:
    if len(data) < 2**8:
        return struct.pack(">BB", code, len(data))
    return struct.pack(">BH", code + 1, len(data))


def sealed(kind: int, control: bytes, tail: bytes = b"") -> str:
    head = struct.pack("<4sBBHII", b"RLPF", 1, kind, 0, len(control), len(tail))
    return (head + struct.pack("<I", crc32c(head + control)) + control + tail).hex()


def of_messages(
    name: str,
    consensus: str,
    messages: list[tuple[int, int, str, dict[str, Any]]],
    data: list[bytes],
) -> dict[str, Any]:
    ints: list[int] = []
    tail = b""
    for group, number, _, fields in messages:
        flags = [value for value in fields.values() if isinstance(value, bool)]
        word = number + sum(256 << place for place, flag in enumerate(flags) if flag)
        ints += [group, word]
        ints += [value for value in fields.values() if type(value) is int]
        for field, value in fields.items():
            if field == "block":
                ints.append(len(value or b""))
                tail += value or b""
            elif field == "payloads":
                ints.append(len(value))
                for payload in value:
                    ints += [len(payload), crc32c(payload)]
                    tail += payload
            elif isinstance(value, bytes):
                ints += [len(value), crc32c(value)]
                tail += value
    for piece in data:
        ints += [0, 0, len(piece), crc32c(piece)]
        tail += piece
    return {
        "name": name,
        "consensus": consensus,
        "kind": MESSAGES,
        "messages": [
            [group, {"kind": kind, "sender": SENDER, "to": RECEIVER, **shown(fields)}]
            for group, _, kind, fields in messages
        ],
        "data": [piece.hex() for piece in data],
        "hex": sealed(MESSAGES, msgpack(ints), tail),
    }


def shown(fields: dict[str, Any]) -> dict[str, Any]:
    made = dict(fields)
    for name, value in fields.items():
        if isinstance(value, bytes):
            made[name] = value.hex()
        elif isinstance(value, list):
            made[name] = [item.hex() for item in value]
    return made


def other(name: str, kind: int, value: Any, written: Any) -> dict[str, Any]:
    return {
        "name": name,
        "consensus": "raft",
        "kind": kind,
        "value": value,
        "hex": sealed(kind, msgpack(written)),
    }


def main() -> None:
    hello = [1, "orders", "paxos", "eu-1", "ü" * 20, 2**62 - 1, 1_700_000_000_000]
    vectors = [
        other("hello", HELLO, [*hello, "AAECAwQFBgcICQoLDA0ODw=="], [*hello, bytes(range(16))]),
        other("ping", PING, [300, False], [300, False]),
        other("ping of one that stops", PING, [0, True], [0, True]),
        other("pong", PONG, [2**63 - 1, -5], [2**63 - 1, -5]),
        other("bye", BYE, ["drain", ""], ["drain", ""]),
        other(
            *("requests", REQUESTS),
            [[1, 7, "write", ["U0VU", "aw==", "/w=="], 5000, 3], [2, 0, "ordered", [], 0, 0]],
            [[1, 7, "write", [b"SET", b"k", b"\xff"], 5000, 3], [2, 0, "ordered", [], 0, 0]],
        ),
        other(
            *("responses", RESPONSES),
            [[1, "done", "ok9L", ""], [2, "refused", "", "us-1"], [3, "unknown", "", ""]],
            [[1, "done", b"\xa2OK", ""], [2, "refused", b"", "us-1"], [3, "unknown", b"", ""]],
        ),
        of_messages("node data alone", "raft", [], [b"", b"data", bytes(300)]),
        *(
            of_messages(kind, consensus, [(group, number, kind, fields)], [])
            for consensus, kinds in (("raft", RAFT), ("paxos", PAXOS))
            for group, (number, kind, fields) in enumerate(kinds)
        ),
        *(
            of_messages(
                f"all of {consensus}",
                consensus,
                [(2**32 - 1 - group, *kind) for group, kind in enumerate(kinds)],
                [b"data"],
            )
            for consensus, kinds in (("raft", RAFT), ("paxos", PAXOS))
        ),
    ]
    lines = ",\n".join(json.dumps(vector, ensure_ascii=False) for vector in vectors)
    Path(__file__).with_name("frames.json").write_text(f'{{"frames": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
