"""Which slots a Redis Cluster says that its masters have: CLUSTER SHARDS, SLOTS and NODES, as they
come from the wire and as redis-py gives them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ringleader.errors import SlotTypeError


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where a text should be")
    return value


def _named(fields: Any) -> dict[str, Any]:
    """A map of RESP3, or the flat list of RESP2, with text for keys."""
    if isinstance(fields, Mapping):
        return {_text(name): value for name, value in fields.items()}
    return {_text(name): value for name, value in zip(fields[::2], fields[1::2], strict=True)}


def _address(host: Any, port: Any) -> str:
    return f"{_text(host)}:{int(port)}"


def cluster_ranges(reply: Any) -> Iterator[tuple[str, int, int]]:
    """The name of a master, its first slot and its last, for each range in a cluster's reply."""
    if isinstance(reply, (str, bytes)):
        return _of_node_lines(_text(reply).splitlines())
    if isinstance(reply, Mapping):
        if reply and all(isinstance(key, tuple) for key in reply):
            return _of_slot_mapping(reply)
        return _of_node_mapping(reply)
    if isinstance(reply, (list, tuple)):
        if not reply:
            return iter(())
        first = reply[0]
        if isinstance(first, (list, tuple)) and first and isinstance(first[0], int):
            return _of_slot_rows(reply)
        return _of_shards(reply)
    raise SlotTypeError(
        f"a cluster's reply is a list, a mapping or a text, not {type(reply).__name__}"
    )


def _of_slot_rows(rows: Sequence[Any]) -> Iterator[tuple[str, int, int]]:
    """CLUSTER SLOTS from the wire: first, last, master (host, port, ...), replicas ..."""
    for first, last, master, *_ in rows:
        yield _address(master[0], master[1]), int(first), int(last)


def _of_slot_mapping(reply: Mapping[Any, Any]) -> Iterator[tuple[str, int, int]]:
    """CLUSTER SLOTS by redis-py: (first, last) to primary (host, port) and replicas."""
    for (first, last), found in reply.items():
        host, port = found["primary"][:2]
        yield _address(host, port), int(first), int(last)


def _of_shards(shards: Sequence[Any]) -> Iterator[tuple[str, int, int]]:
    """CLUSTER SHARDS: slots as a flat list of ends, or as pairs, and nodes with their roles."""
    for fields in shards:
        shard = _named(fields)
        ends = list(shard["slots"])
        if ends and isinstance(ends[0], (list, tuple)):
            ends = [end for pair in ends for end in pair]
        if not ends:
            continue
        masters = [node for node in map(_named, shard["nodes"]) if _text(node["role"]) == "master"]
        if not masters:
            raise SlotTypeError(f"the shard of slots {ends} has no master")
        master = masters[0]
        host = master.get("endpoint") or master.get("ip") or ""
        port = master["port"] if "port" in master else master["tls-port"]
        for first, last in zip(ends[::2], ends[1::2], strict=True):
            yield _address(host, port), int(first), int(last)


def _of_node_mapping(reply: Mapping[Any, Any]) -> Iterator[tuple[str, int, int]]:
    """CLUSTER NODES by redis-py: "host:port" to slots as pairs, or single, of text."""
    for name, found in reply.items():
        for ends in found["slots"]:
            yield _text(name), int(ends[0]), int(ends[-1])


def _of_node_lines(lines: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """CLUSTER NODES: id, address, flags, master, ping, pong, epoch, link, slots ..."""
    for line in lines:
        fields = line.split()
        if not fields:
            continue
        if len(fields) < 8:
            raise SlotTypeError(f"the line {line!r} is not one of CLUSTER NODES")
        for ends in fields[8:]:
            if ends.startswith("["):  # a slot that is being moved is still its source's
                continue
            first, _, last = ends.partition("-")
            yield fields[1].partition("@")[0], int(first), int(last or first)
