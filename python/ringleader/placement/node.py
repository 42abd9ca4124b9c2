"""A node: what keys are placed on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from numbers import Real
from types import MappingProxyType
from typing import Any

from ringleader import limits
from ringleader.errors import DuplicateNode, LimitError, NodeError, NodeTypeError, WeightError

#: The fields that are text, and how long each may be.
_TEXTS = (
    ("name", limits.NODE_NAME_BYTES_MAX),
    ("dc", limits.NODE_FIELD_BYTES_MAX),
    ("zone", limits.NODE_FIELD_BYTES_MAX),
    ("address", limits.NODE_FIELD_BYTES_MAX),
)
#: The tags of every node that has none: one object, so that rings of many nodes stay small.
_NO_TAGS: Mapping[str, str] = MappingProxyType({})


def checked_weight(weight: object, name: str) -> float:
    """`weight` as a float, or an error that names the node."""
    if type(weight) is float and 0.0 < weight < math.inf:
        return weight
    if isinstance(weight, bool) or not isinstance(weight, Real):
        raise NodeTypeError(
            f"the weight of node {name!r} must be a number, not {type(weight).__name__}"
        )
    try:
        value = float(weight)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value) or value < 0:
        raise WeightError(
            f"the weight of node {name!r} is {value}; it must be finite and not negative "
            "(0 drains the node)"
        )
    return value + 0.0  # -0.0 and 0.0 are one weight


def _checked_text(value: object, field_name: str, bytes_max: int) -> str:
    """`value` as exactly a str: subclasses (NumPy's, enums) may sort and print as they like."""
    if type(value) is not str:
        if not isinstance(value, str):
            raise NodeTypeError(f"a node's {field_name} must be str, not {type(value).__name__}")
        value = "".join(value)
    if value.isascii() and len(value) <= bytes_max:
        return value
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise NodeError(
            f"a node's {field_name} {value!r} has a lone surrogate, which UTF-8 cannot encode"
        ) from None
    if size > bytes_max:
        raise LimitError(
            f"a node's {field_name} has {size} bytes in UTF-8; at most {bytes_max} are allowed"
        )
    return value


@dataclass(frozen=True, slots=True)
class Node:
    """One member of a ring: a name, a weight, and where it stands.

    Attributes:
        name: identifies the node in its ring and, hashed, places its points; not empty.
        weight: its share of the keys relative to the others; 0 drains it.
        dc: its datacenter; "" when there is only one.
        zone: its zone or rack inside the datacenter.
        address: for you; ringleader only carries it.
        tags: for you; text to text, read-only once the node is made.

    Raises:
        NodeTypeError: a field is of the wrong type.
        NodeError: the name is empty, or a text cannot be encoded in UTF-8.
        WeightError: the weight is negative, infinite or not a number.
        LimitError: a text is longer than `ringleader.limits` allows.
    """

    name: str
    weight: float = 1.0
    dc: str = ""
    zone: str = ""
    address: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: _NO_TAGS, hash=False)

    def __post_init__(self) -> None:
        for field_name, bytes_max in _TEXTS:
            given = getattr(self, field_name)
            text = _checked_text(given, field_name, bytes_max)
            if text is not given:
                object.__setattr__(self, field_name, text)
        if not self.name:
            raise NodeError("a node's name is empty; give it one that no other node has")
        object.__setattr__(self, "weight", checked_weight(self.weight, self.name))
        if self.tags is _NO_TAGS:
            return
        if not isinstance(self.tags, Mapping):
            raise NodeTypeError(
                f"a node's tags must be a mapping of str to str, not {type(self.tags).__name__}"
            )
        if len(self.tags) > limits.NODE_TAGS_MAX:
            raise LimitError(
                f"node {self.name!r} has {len(self.tags)} tags; "
                f"at most {limits.NODE_TAGS_MAX} are allowed"
            )
        tags = {
            _checked_text(tag, "tag", limits.NODE_FIELD_BYTES_MAX): _checked_text(
                value, f"tag {tag!r}", limits.NODE_FIELD_BYTES_MAX
            )
            for tag, value in self.tags.items()
        }
        object.__setattr__(self, "tags", MappingProxyType(tags))

    def __reduce__(self) -> tuple[Any, ...]:  # a mapping proxy cannot be pickled
        fields = (self.name, self.weight, self.dc, self.zone, self.address, dict(self.tags))
        return (type(self), fields)

    def with_weight(self, weight: float) -> Node:
        """This node with another weight."""
        return replace(self, weight=weight)


def as_node(node: str | Node, weight: float = 1.0) -> Node:
    """A name (with a weight) or a `Node` (which carries its own) as a `Node`."""
    if isinstance(node, Node):
        if weight != 1.0:
            raise NodeError(
                f"node {node.name!r} carries its own weight ({node.weight}); "
                "leave the weight argument out, or pass node.with_weight(...)"
            )
        return node
    if not isinstance(node, str):
        raise NodeTypeError(f"a node is a str or a Node, not {type(node).__name__}")
    return Node(node, weight)


def sorted_nodes(nodes: Iterable[str | Node] | Mapping[str, float]) -> tuple[Node, ...]:
    """Names, `Node`s, or a mapping of names to weights, as nodes in the order of their names.

    Raises:
        NodeTypeError: it is one string, or not iterable, or holds something else.
        DuplicateNode: a name stands twice.
    """
    if isinstance(nodes, (str, bytes)):
        raise NodeTypeError(
            f"nodes is one {type(nodes).__name__}; pass a list of names, such as [{nodes!r}]"
        )
    if isinstance(nodes, Node):
        raise NodeTypeError("nodes is one Node; pass a list of them")
    if isinstance(nodes, Mapping):
        made = [as_node(name, weight) for name, weight in nodes.items()]
    else:
        try:
            members = iter(nodes)
        except TypeError:
            raise NodeTypeError(
                "nodes must be an iterable of names and Nodes, or a mapping of names to "
                f"weights, not {type(nodes).__name__}"
            ) from None
        made = [as_node(node) for node in members]
    if len(made) > limits.NODES_MAX:
        raise LimitError(f"{len(made)} nodes are too many; at most {limits.NODES_MAX} are allowed")
    made.sort(key=lambda node: node.name)
    for left, right in pairwise(made):
        if left.name == right.name:
            raise DuplicateNode(f"node {left.name!r} is given twice; names must be distinct")
    return tuple(made)
