"""What a client's session asks of the node behind it: where commands go, and how replies return.

A `Session` hands each data command to `Router.execute`, with the shard that its keys are in.  The
answer is a reply, or `PENDING`: then the waiter that came with the command is resolved later, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, final

from ringleader.node.commands import Command
from ringleader.node.replies import Reply


@final
class _Pending:
    """The type of `PENDING`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "PENDING"


#: Instead of a reply: there is none yet, the waiter will get it.
PENDING: Final = _Pending()


class Waiting(Protocol):
    """What gets a reply that was not there at once."""

    def resolve(self, reply: Reply) -> None: ...


@final
class Origin:
    """One client's connection, as a router sees it.

    Attributes:
        readonly: its reads may be answered by any replica that is no older than `lag_max_s`.
        is_closed: nobody waits for replies any more.
        pending, remote: the router's own.  Of each shard: the number of its last command in the
            queue here; and how many commands are on another node, which one, and in what epoch.
    """

    __slots__ = ("is_closed", "lag_max_s", "pending", "readonly", "remote")

    def __init__(self, lag_max_s: float) -> None:
        self.readonly = False
        self.is_closed = False
        self.lag_max_s = lag_max_s
        self.pending: dict[int, int] = {}
        self.remote: dict[int, tuple[int, str, int]] = {}


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node of the cluster, as the node asked sees it; `id` has 40 hexadecimal digits."""

    name: str
    id: str
    host: str
    port: int
    dc: str = ""
    zone: str = ""
    alive: bool = True
    peer_port: int = 0


@dataclass(frozen=True, slots=True)
class ShardView:
    """A shard: the ranges of its slots (both ends in it), its leader's name if one is known, and
    the names of all its replicas, the leader's among them or not; `term` of that leader."""

    number: int
    ranges: tuple[tuple[int, int], ...]
    leader: str | None
    replicas: tuple[str, ...]
    term: int = 0


@dataclass(frozen=True, slots=True)
class Topology:
    nodes: tuple[NodeView, ...]
    shards: tuple[ShardView, ...]
    by_name: Mapping[str, NodeView] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {node.name: node for node in self.nodes})


class Router(Protocol):
    """Where commands go.

    Attributes:
        shard_of_slot: the shard of each of the 16384 slots.
    """

    shard_count: int
    shard_of_slot: Sequence[int]

    def execute(
        self, origin: Origin, command: Command, args: list[bytes], number: int, waiter: Waiting
    ) -> Reply:
        """The command's reply, or `PENDING`.  All its keys are in shard `number`; its arity is
        right."""
        ...

    def wait(self, origin: Origin, count: int, timeout_ms: int, waiter: Waiting) -> Reply:
        """How many replicas besides the leaders hold all that this connection has written (int);
        or `PENDING`, until there are `count` of them or the time (0: never) is up."""
        ...


class Cluster(Protocol):
    """The node and its cluster, as INFO and CLUSTER tell of them."""

    name: str
    dc: str

    def topology(self) -> Topology: ...

    def info(self) -> Mapping[str, Mapping[str, Any]]:
        """Sections of INFO, by name, each of fields and their values."""
        ...


@final
class Mapped:
    """Hands on what `change` makes of a reply."""

    __slots__ = ("_change", "_waiter")

    def __init__(self, waiter: Waiting, change: Callable[[Reply], Reply]) -> None:
        self._waiter = waiter
        self._change = change

    def resolve(self, reply: Reply) -> None:
        self._waiter.resolve(self._change(reply))

    def answer(self, reply: Reply) -> Reply:
        """What `execute` answered, changed if it is a reply."""
        return reply if reply is PENDING else self._change(reply)


@final
class Gather:
    """One reply from those of several parts of a command, when all are there."""

    __slots__ = ("_merge", "_missing_count", "_replies", "_waiter", "_waiting")

    def __init__(
        self, waiter: Waiting, part_count: int, merge: Callable[[list[Reply]], Reply]
    ) -> None:
        self._waiter = waiter
        self._merge = merge
        self._replies: list[Reply] = [PENDING] * part_count
        self._missing_count = part_count
        self._waiting = False

    def part(self, index: int) -> Part:
        return Part(self, index)

    def put(self, index: int, reply: Reply) -> None:
        """The reply of a part; `PENDING` when it will come through `Part.resolve`."""
        if reply is PENDING:
            return
        self._replies[index] = reply
        self._missing_count -= 1
        if self._missing_count == 0 and self._waiting:
            self._waiter.resolve(self._merge(self._replies))

    def answer(self) -> Reply:
        """The merged reply, or `PENDING`; called when all parts are under way."""
        if self._missing_count == 0:
            return self._merge(self._replies)
        self._waiting = True
        return PENDING


@final
class Part:
    """The waiter of one part of a `Gather`."""

    __slots__ = ("_gather", "_index")

    def __init__(self, gather: Gather, index: int) -> None:
        self._gather = gather
        self._index = index

    def resolve(self, reply: Reply) -> None:
        self._gather.put(self._index, reply)
