"""The ring of Cassandra's Murmur3Partitioner (and of ScyllaDB): tokens are given, not computed.

In short:

    token(key)   = MurmurHash3_x64_128's first half of the serialized partition key, signed, with
                   the last bytes sign-extended; -2**63 becomes 2**63 - 1
    owner(key)   = the node of the first token >= token(key), wrapping past the last to the first
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from ringleader import hashing, limits
from ringleader.errors import (
    FormatError,
    LimitError,
    NodeNotFound,
    SettingError,
    SettingTypeError,
    TokenError,
    TokenTypeError,
)
from ringleader.keys import Key, KeyColumn, key_bytes
from ringleader.placement import saved
from ringleader.placement.located import (
    checked_int,
    checked_names,
    found_position,
    heading,
    joined,
    position_of,
)
from ringleader.placement.node import Node, as_node, sorted_nodes
from ringleader.placement.points import PointRing
from ringleader.placement.ranges import Space
from ringleader.placement.ring import points_of

Self = TypeVar("Self", bound="TokenRing")

KIND = 13
VERSION = 1
#: csrc/hash.h; its hashes have the sign bit flipped, so that signed order is unsigned order.
HASH_KIND = 6
FLIP = np.uint64(1 << 63)
TOKEN_MIN, TOKEN_MAX = -(2**63), 2**63 - 1
COMPONENT_BYTES_MAX = 65_535

Tokens = NDArray[np.int64]


def checked_tokens(name: str, tokens: object) -> Tokens:
    """The tokens of a node, ascending.

    Raises:
        TokenTypeError: they are no iterable of ints.
        TokenError: one is out of range or given twice, or there are none.
    """
    if isinstance(tokens, (str, bytes)) or not isinstance(tokens, Iterable):
        raise TokenTypeError(
            f"the tokens of node {name!r} must be a list of ints, not {type(tokens).__name__}"
        )
    numbers: list[int] = []
    for token in tokens:
        if isinstance(token, bool) or not hasattr(token, "__index__"):
            raise TokenTypeError(
                f"a token of node {name!r} is {type(token).__name__}, but a token is an int"
            )
        number = token.__index__()
        if not TOKEN_MIN <= number <= TOKEN_MAX:
            raise TokenError(f"the token {number} of node {name!r} is not in -2**63 ... 2**63 - 1")
        numbers.append(number)
    if not numbers:
        raise TokenError(
            f"node {name!r} has an empty list of tokens; leave it out to have them generated, or "
            "give it weight 0"
        )
    numbers.sort()
    for left, right in pairwise(numbers):
        if left == right:
            raise TokenError(f"the token {left} of node {name!r} is given twice")
    return np.array(numbers, np.int64)


def generated_tokens(node: Node, vnodes: int) -> Tokens:
    """The tokens of a node that has none of its own: of the keys "<name>-0", "<name>-1", ..."""
    texts = (f"{node.name}-{i}" for i in range(points_of(node, vnodes)))
    return np.sort(hashing.cassandra_token_column(texts))


class TokenRing(PointRing):
    """A ring of Cassandra's tokens: which node is a partition's first replica.

    Args:
        nodes: names, `Node` objects, or a mapping of names to weights, in any order; may be left
            out where `tokens` names all of them.
        tokens: of each node, as `nodetool ring` or `system.peers` shows them; a node without gets
            generated ones.
        vnodes: generated tokens of a node of weight 1.

    Keys are partition keys as Cassandra serializes them: text as UTF-8 and blobs as they are, so
    `str` and `bytes` fit; numbers are big-endian there (`number.to_bytes(8, "big", signed=True)`
    for a bigint), whereas an int key is hashed here as everywhere in ringleader, as its 8
    little-endian bytes; `partition_key()` puts composite keys together.  Cassandra refuses an empty
    key.

    A node's own tokens stay as they are whatever its weight, which then only says what `stats()`
    compares with; weight 0 drains the node.  Generated tokens are as many as `HashRing` would make.
    Equal tokens of two nodes are refused where they are given; a generated one belongs to the first
    of the names.

    Cost: a lookup one hash and O(1) on average; building, and each change, O(points).

    Raises:
        DuplicateNode, NodeError, NodeTypeError, WeightError: as `HashRing`.
        NodeNotFound: `tokens` names a node that `nodes` has not.
        TokenError, TokenTypeError: tokens that no ring can have.
        SettingError, SettingTypeError: vnodes.
        LimitError: more tokens or nodes than `ringleader.limits` allows.
    """

    __hash__: ClassVar[None]  # type: ignore[assignment]

    token = staticmethod(hashing.cassandra_token)

    def __init__(
        self,
        nodes: Iterable[str | Node] | Mapping[str, float] = (),
        *,
        tokens: Mapping[str, Iterable[int]] | None = None,
        vnodes: int = 16,
    ) -> None:
        vnodes = checked_int("vnodes", vnodes)
        if not 1 <= vnodes <= limits.VNODES_MAX:
            raise SettingError(f"vnodes={vnodes} is not in 1 ... {limits.VNODES_MAX}")
        if tokens is not None and not isinstance(tokens, Mapping):
            raise SettingTypeError(
                f"tokens must be a mapping of names to lists of ints, not {type(tokens).__name__}"
            )
        members = sorted_nodes(nodes)
        if tokens and not members:
            members = sorted_nodes(tokens.keys())
        given: dict[str, Tokens] = {}
        for name, numbers in (tokens or {}).items():
            if not isinstance(name, str) or not position_of(members, name)[1]:
                raise NodeNotFound(f"tokens are given for {name!r}, which is no node of the ring")
            given[str(name)] = checked_tokens(name, numbers)
        self._changing = threading.Lock()
        self._vnodes = vnodes
        self._settle(members, given)

    def _settle(self, members: Sequence[Node], given: dict[str, Tokens]) -> None:
        """Publish the ring of these nodes, sorted by name, or raise and change nothing."""
        if len(members) > limits.NODES_MAX:
            raise LimitError(f"{len(members)} nodes are too many; at most {limits.NODES_MAX} are")
        own = [(node.name, given[node.name]) for node in members if node.name in given]
        if own:
            everyone = np.concatenate([tokens for _, tokens in own])
            distinct, counts = np.unique(everyone, return_counts=True)
            if len(distinct) < len(everyone):
                twice = int(distinct[counts > 1][0])
                names = [repr(name) for name, tokens in own if twice in tokens]
                raise TokenError(f"the token {twice} is given to {' and '.join(names)}")
        total = sum(
            len(given[node.name]) if node.name in given else points_of(node, self._vnodes)
            for node in members
            if node.weight > 0
        )
        if total > limits.POINTS_MAX:
            raise LimitError(
                f"the ring would have {total} tokens; at most {limits.POINTS_MAX} are allowed"
            )
        parts = []
        for node in members:
            if node.weight == 0:
                parts.append(np.empty(0, np.int64))
            elif node.name in given:
                parts.append(given[node.name])
            else:
                parts.append(generated_tokens(node, self._vnodes))
        counts_of = np.array([len(part) for part in parts], np.uint32)
        flipped = np.concatenate([*parts, np.empty(0, np.int64)]).view(np.uint64) ^ FLIP
        self._build(HASH_KIND, 0, 0, tuple(members), counts_of, flipped)
        self._given = given

    # --- tokens of keys -------------------------------------------------------------------------

    @staticmethod
    def token_column(
        keys: KeyColumn, *, out: NDArray[np.int64] | None = None, threads: int = 1
    ) -> NDArray[np.int64]:
        """The token of every key, int64, shape (n,): see `ringleader.hashing`."""
        return hashing.cassandra_token_column(keys, out=out, threads=threads)

    @staticmethod
    def partition_key(*components: Key) -> bytes:
        """A composite partition key, serialized: of each component its length as two big-endian
        bytes, its bytes, and a zero byte.  A single component is a key by itself.

        Raises:
            LimitError: a component has more than 65,535 bytes.
            SettingError: there is no component.
            KeyTypeError, KeyRangeError, KeyEncodingError: a component is not a key.
        """
        if not components:
            raise SettingError("a partition key has at least one component")
        parts = [key_bytes(component) for component in components]
        if len(parts) == 1:
            return parts[0]
        for part in parts:
            if len(part) > COMPONENT_BYTES_MAX:
                raise LimitError(
                    f"a component of a composite key has {len(part)} bytes; "
                    f"at most {COMPONENT_BYTES_MAX} fit"
                )
        return b"".join(len(part).to_bytes(2, "big") + part + b"\0" for part in parts)

    # --- what the ring is -----------------------------------------------------------------------

    @property
    def vnodes(self) -> int:
        """Generated tokens of a node of weight 1."""
        return self._vnodes

    @property
    def signed_tokens(self) -> NDArray[np.int64]:
        """A copy of the ring's tokens as Cassandra writes them, ascending; `tokens` has them with
        the sign bit flipped."""
        return (self.tokens ^ FLIP).view(np.int64)

    def tokens_of(self, name: str) -> list[int]:
        """The tokens of a node, ascending: those given, or those generated.

        Raises:
            NodeNotFound: the ring has no node of this name.
        """
        node = self.node(name)
        tokens = self._given.get(node.name)
        if tokens is None:
            tokens = generated_tokens(node, self._vnodes)
        return [int(token) for token in tokens]

    @property
    def space(self) -> Space:
        """Which hash space the ring cuts into ranges: tokens with the sign bit flipped."""
        return Space("hash", "cassandra")

    def _state(self) -> tuple[tuple[Node, ...], dict[str, Tokens]]:
        with self._changing:
            return self.nodes, self._given

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TokenRing):
            return NotImplemented
        (nodes, given), (others, theirs) = self._state(), other._state()
        return (
            self._vnodes == other._vnodes
            and nodes == others
            and given.keys() == theirs.keys()
            and all(np.array_equal(tokens, theirs[name]) for name, tokens in given.items())
        )

    def __repr__(self) -> str:
        table = self.table
        return f"<{heading(self, table.names)}, {table.point_count} tokens, vnodes={self._vnodes}>"

    # --- changes --------------------------------------------------------------------------------

    def add_node(
        self, node: str | Node, weight: float = 1.0, *, tokens: Iterable[int] | None = None
    ) -> None:
        """Add a node.  Only keys that now belong to it move.

        Args:
            node: a name, or a `Node`, which carries its own weight.
            weight: of a node given by name.
            tokens: its own; generated if left out.

        Raises:
            DuplicateNode: the ring has a node of this name.
            NodeError, NodeTypeError, WeightError, LimitError: as `Node`.
            TokenError, TokenTypeError: as for the class.

        Cost: that of building the ring.
        """
        added = as_node(node, weight)
        own = None if tokens is None else checked_tokens(added.name, tokens)
        with self._changing:
            together = joined(self.nodes, [added])
            given = self._given if own is None else {**self._given, added.name: own}
            self._settle(list(together), given)

    def add_nodes(self, nodes: Iterable[str | Node] | Mapping[str, float]) -> None:
        """Add nodes, whose tokens are generated: all of them in one step, or none.

        Raises:
            DuplicateNode: a name stands twice, or is there already.
            NodeError, NodeTypeError, WeightError, LimitError: as `Node`.

        Cost: that of building the ring.
        """
        added = sorted_nodes(nodes)
        with self._changing:
            self._settle(list(joined(self.nodes, added)), self._given)

    def remove_node(self, name: str) -> None:
        """Remove a node.  Only the keys it owned move.

        Raises:
            NodeNotFound: the ring has no node of this name.

        Cost: that of building the ring.
        """
        with self._changing:
            nodes = self.nodes
            position = found_position(nodes, name)
            gone = nodes[position].name
            given = {other: tokens for other, tokens in self._given.items() if other != gone}
            self._settle([*nodes[:position], *nodes[position + 1 :]], given)

    def remove_nodes(self, names: Iterable[str]) -> None:
        """Remove nodes: all of them in one step, or none.

        Raises:
            NodeNotFound: there is no node of one of these names.
            NodeTypeError: `names` is no list of names.

        Cost: that of building the ring.
        """
        names = checked_names(names)
        with self._changing:
            nodes = self.nodes
            going = {nodes[found_position(nodes, name)].name for name in names}
            given = {name: tokens for name, tokens in self._given.items() if name not in going}
            self._settle([node for node in nodes if node.name not in going], given)

    def set_weight(self, name: str, weight: float) -> None:
        """Change a node's weight: the number of its tokens, unless they are its own; 0 drains it.

        Raises:
            NodeNotFound: the ring has no node of this name.
            WeightError, NodeTypeError, LimitError: as `Node`.

        Cost: that of building the ring.
        """
        with self._changing:
            nodes = self.nodes
            position = found_position(nodes, name)
            changed = nodes[position].with_weight(weight)
            self._settle([*nodes[:position], changed, *nodes[position + 1 :]], self._given)

    # --- copies and bytes -----------------------------------------------------------------------

    def copy(self: Self) -> Self:
        """A ring that is equal now and changes on its own.  Shares the table: O(1)."""
        twin = type(self).__new__(type(self))
        twin._changing = threading.Lock()
        with self._changing:
            twin._vnodes, twin._given = self._vnodes, self._given
            twin._share(self)
        return twin

    def to_bytes(self) -> bytes:
        """The ring, saved (docs/formats.md): nodes and the tokens given, checksummed."""
        nodes, given = self._state()
        body = saved.Writer()
        body.put("HI", VERSION, self._vnodes)
        body.nodes(nodes)
        for node in nodes:
            tokens = given.get(node.name)
            if tokens is None:
                body.put("I", 0)
            else:
                body.put("I", len(tokens))
                body.array(tokens)
        return saved.frame(KIND, body)

    @classmethod
    def from_bytes(
        cls: type[Self],
        data: bytes | bytearray | memoryview,
        *,
        points_max: int = limits.POINTS_MAX,
    ) -> Self:
        """The ring that `to_bytes` saved; see `HashRing.from_bytes`.

        Raises:
            FormatError: the bytes are cut short, altered, or no saved token ring.
            VersionError: they were written by a newer version.
            LimitError: the ring has more than `points_max` tokens.
            FormatTypeError, SettingTypeError: `data` is no bytes, `points_max` no int.
        """
        points_max = checked_int("points_max", points_max)

        def body(reader: saved.Reader) -> tuple[int, tuple[Node, ...], dict[str, Tokens], int]:
            reader.version(VERSION)
            (vnodes,) = reader.take("I")
            if not 1 <= vnodes <= limits.VNODES_MAX:
                raise FormatError(f"the saved token ring has {vnodes} virtual nodes a node")
            nodes = reader.nodes()
            given, total = {}, 0
            for node in nodes:
                (count,) = reader.take("I")
                if count:
                    tokens = reader.array(np.int64, count)
                    if (tokens[1:] <= tokens[:-1]).any():
                        raise FormatError("the tokens of a saved token ring are not in order")
                    given[node.name] = tokens
                if node.weight > 0:
                    total += count or points_of(node, vnodes)
            own = np.concatenate([*given.values(), np.empty(0, np.int64)])
            if len(np.unique(own)) < len(own):
                raise FormatError("two nodes of the saved token ring have the same token")
            return vnodes, nodes, given, total

        vnodes, nodes, given, total = saved.unframe(data, KIND, body)
        if total > points_max:
            raise LimitError(f"the saved ring has {total} tokens; points_max={points_max}")
        ring = cls(vnodes=vnodes)
        ring._settle(nodes, given)
        return ring
