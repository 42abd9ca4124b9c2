"""Who belongs to a group: the configuration, its joint form, and the steps between them.

Raft, section 6; dissertation, chapter 4.  A configuration is in force on a node from the moment
that it stands in the node's log, committed or not (§6), so every entry that changes it carries the
whole configuration and not a difference: a node that begins with none takes the first it sees.

    voters      count for elections and commitment
    witnesses   voters that store the log without its payloads, run no state machine and never lead
    learners    receive the log, count for nothing (§4.2.1 of the dissertation: catch up first)
    retired     were witnesses once: what they have on disk lacks payloads, so the id may come back
                as a witness only
    outgoing    in a joint configuration, the voters of the old one: whatever is decided needs a
                quorum of `voters` and a quorum of `outgoing`
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from ringleader.errors import FormatError, MembershipError
from ringleader.limits import MEMBERS_MAX, NODE_ID_BYTES_MAX, VOTERS_MAX

#: How a node is named: a positive integer or a non-empty text; one kind in one group.
NodeId = int | str

_VERSION = 1
_HEADER = struct.Struct("<BBHHHH")  # version, flags, then the four counts
_AUTO_LEAVE = 1
_RETIRED = 2
_COUNT = struct.Struct("<H")


def check_id(node: object) -> NodeId:
    """`node` if it can name a node.

    Raises:
        MembershipError: it is neither a positive integer below 2**63 nor a non-empty text.
    """
    if isinstance(node, str):
        try:
            size = len(node.encode())
        except UnicodeEncodeError:
            size = 0
        if not 0 < size <= NODE_ID_BYTES_MAX or any(character < " " for character in node):
            raise MembershipError(
                f"node id {node!r}: a text id has 1 to {NODE_ID_BYTES_MAX} bytes of UTF-8, and no "
                "control characters"
            )
    elif isinstance(node, bool) or not isinstance(node, int):
        raise MembershipError(f"node id {node!r} is neither an int nor a str")
    elif not 0 < node < 2**63:
        raise MembershipError(f"node id {node}: an integer id lies in 1 ... 2**63-1")
    return node


def _order(node: NodeId) -> tuple[bool, int | str]:
    return isinstance(node, str), node


def _sorted(nodes: Iterable[NodeId], role: str) -> tuple[NodeId, ...]:
    listed = [check_id(node) for node in nodes]
    ordered = tuple(sorted(set(listed), key=_order))
    if len(ordered) != len(listed):
        raise MembershipError(f"a node is named twice among the {role}")
    return ordered


def _id_bytes(node: NodeId) -> bytes:
    if isinstance(node, str):
        text = node.encode()
        return bytes((1, len(text))) + text
    return b"\0" + node.to_bytes(8, "little")


def _read_ids(data: bytes, at: int, count: int) -> tuple[list[NodeId], int]:
    """`count` ids from byte `at` on, and where they end."""
    nodes: list[NodeId] = []
    for _ in range(count):
        kind = data[at] if at < len(data) else -1
        if kind == 0 and at + 9 <= len(data):
            nodes.append(int.from_bytes(data[at + 1 : at + 9], "little"))
            at += 9
        elif kind == 1 and at + 2 <= len(data) and at + 2 + data[at + 1] <= len(data):
            try:
                nodes.append(data[at + 2 : at + 2 + data[at + 1]].decode())
            except UnicodeDecodeError as error:
                raise FormatError(f"a node id is not UTF-8: {error}") from error
            at += 2 + data[at + 1]
        else:
            raise FormatError(f"a membership is cut short or damaged at byte {at}")
    return nodes, at


class Membership:
    """One configuration: an immutable value.

    Invariants: learners are no voters (those of a joint configuration may still be outgoing ones);
    witnesses are voters of one half; not every voter is a witness.
    """

    __slots__ = (
        "auto_leave",
        "learners",
        "members",
        "outgoing",
        "retired",
        "voters",
        "witnesses",
    )

    def __init__(
        self,
        voters: Iterable[NodeId] = (),
        *,
        outgoing: Iterable[NodeId] = (),
        learners: Iterable[NodeId] = (),
        witnesses: Iterable[NodeId] = (),
        retired: Iterable[NodeId] = (),
        auto_leave: bool = False,
    ) -> None:
        if isinstance(voters, str | bytes):
            raise MembershipError(f"voters={voters!r} is one text, not several ids")
        self.retired = _sorted(retired, "retired witnesses")
        self.voters = _sorted(voters, "voters")
        self.outgoing = _sorted(outgoing, "outgoing voters")
        self.learners = _sorted(learners, "learners")
        self.witnesses = _sorted(witnesses, "witnesses")
        self.auto_leave = auto_leave
        named = (
            *(*self.voters, *self.outgoing, *self.learners),
            *(*self.witnesses, *self.retired),
        )
        if len({isinstance(node, str) for node in named}) > 1:
            raise MembershipError(f"the ids of one group are all ints or all texts, not {named}")
        every_voter = {*self.voters, *self.outgoing}
        #: Every node that receives the log.
        self.members: tuple[NodeId, ...] = tuple(sorted(every_voter | {*self.learners}, key=_order))
        if len(self.voters) > VOTERS_MAX or len(self.outgoing) > VOTERS_MAX:
            raise MembershipError(f"a configuration has at most {VOTERS_MAX} voters")
        if len(self.members) > MEMBERS_MAX:
            raise MembershipError(f"a configuration has at most {MEMBERS_MAX} members")
        if not self.voters and self.members:
            raise MembershipError("a configuration needs at least one voter")
        if both := {*self.voters} & {*self.learners}:
            raise MembershipError(f"{sorted(both, key=_order)} cannot vote and only learn")
        if strange := {*self.witnesses} - every_voter:
            raise MembershipError(f"{sorted(strange, key=_order)} are witnesses but no voters")
        if self.voters and {*self.voters} <= {*self.witnesses}:
            raise MembershipError(
                "witnesses alone cannot elect a leader: one voter must store data"
            )

    @property
    def joint(self) -> bool:
        return bool(self.outgoing)

    def is_voter(self, node: NodeId | None) -> bool:
        return node in self.voters or node in self.outgoing

    def is_witness(self, node: NodeId | None) -> bool:
        return node in self.witnesses

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Membership) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def _values(self) -> tuple[object, ...]:
        return (
            self.voters,
            self.outgoing,
            self.learners,
            self.witnesses,
            self.retired,
            self.auto_leave,
        )

    def __repr__(self) -> str:
        parts = [repr(self.voters)]
        for name in ("outgoing", "learners", "witnesses", "retired"):
            if nodes := getattr(self, name):
                parts.append(f"{name}={nodes!r}")
        if self.auto_leave:
            parts.append("auto_leave=True")
        return f"Membership({', '.join(parts)})"

    def __reduce__(self) -> tuple[object, ...]:
        return Membership.from_bytes, (self.to_bytes(),)

    # --- on disk and on the wire -------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Version, flags, four counts (u16), the ids: 0 and a u64, or 1, a length and UTF-8; with
        flag 2, a count and the retired ids."""
        lists = (self.voters, self.outgoing, self.learners, self.witnesses)
        flags = (_AUTO_LEAVE if self.auto_leave else 0) | (_RETIRED if self.retired else 0)
        parts = [_HEADER.pack(_VERSION, flags, *map(len, lists))]
        parts += (_id_bytes(node) for nodes in lists for node in nodes)
        if self.retired:
            parts.append(_COUNT.pack(len(self.retired)))
            parts += map(_id_bytes, self.retired)
        return b"".join(parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> Membership:
        """The inverse of `to_bytes`.

        Raises:
            FormatError: the bytes are damaged or of a newer version.
        """
        if len(data) < _HEADER.size:
            raise FormatError(f"a membership has {_HEADER.size} bytes or more, not {len(data)}")
        version, flags, *counts = _HEADER.unpack_from(data)
        if version != _VERSION or flags & ~(_AUTO_LEAVE | _RETIRED):
            raise FormatError(f"membership version {version}, flags {flags:#x}: not known here")
        at = _HEADER.size
        lists: list[list[NodeId]] = []
        for count in counts:
            nodes, at = _read_ids(data, at, count)
            lists.append(nodes)
        retired: list[NodeId] = []
        if flags & _RETIRED:
            if at + _COUNT.size > len(data):
                raise FormatError(f"a membership is cut short or damaged at byte {at}")
            (count,) = _COUNT.unpack_from(data, at)
            if not count:
                raise FormatError("a membership says that some retired, and names none")
            retired, at = _read_ids(data, at + _COUNT.size, count)
        if at != len(data):
            raise FormatError(f"a membership has {len(data) - at} bytes too many")
        try:
            return cls(
                lists[0],
                outgoing=lists[1],
                learners=lists[2],
                witnesses=lists[3],
                retired=retired,
                auto_leave=bool(flags & _AUTO_LEAVE),
            )
        except MembershipError as error:
            raise FormatError(f"an impossible membership: {error}") from error

    # --- the steps between configurations ----------------------------------------------------

    def changed(self, change: ConfChange, one_step: bool = True) -> Membership:
        """The configuration that comes after `change`: the final one when at most one voter comes
        or goes (none, where `one_step` is false), else the joint one on the way to it.

        Raises:
            MembershipError: the change is impossible from here, or changes nothing.
        """
        if change.leave:
            return self.left()
        if self.joint:
            raise MembershipError(
                "the last change is still joint; wait until it is left, or leave it: "
                "change_config(ConfChange.leave_joint())"
            )
        voters, learners, witnesses = {*self.voters}, {*self.learners}, {*self.witnesses}
        retired = {*self.retired} | witnesses
        for node in (*change.voters, *change.learners):
            if node in self.retired:
                raise MembershipError(
                    f"{node!r} was a witness and its log lacks payloads; give the node another id"
                )
        for node in change.remove:
            if node not in voters | learners:
                raise MembershipError(f"{node!r} cannot be removed: it is no member")
            voters.discard(node)
            learners.discard(node)
            witnesses.discard(node)
        for node in (*change.voters, *change.witnesses):
            wants_data = node in change.voters
            if wants_data and node in witnesses:
                raise MembershipError(
                    f"{node!r} is a witness and has no payloads; remove it, and add the node empty "
                    "under another id"
                )
            if not wants_data and node in voters - witnesses | learners:
                raise MembershipError(f"{node!r} stores data; remove it and add it empty")
            voters.add(node)
            learners.discard(node)
            if not wants_data:
                witnesses.add(node)
        for node in change.learners:
            if node in witnesses:
                raise MembershipError(
                    f"{node!r} is a witness and has no payloads; remove it, and add the node empty "
                    "under another id"
                )
            voters.discard(node)
            learners.add(node)
        if not voters:
            raise MembershipError("a group needs at least one voter: this change removes the last")
        if len(voters ^ {*self.voters}) <= one_step and change.transition == "auto":
            after = Membership(
                voters, learners=learners, witnesses=witnesses, retired=retired - witnesses
            )
        else:
            after = Membership(
                voters,
                outgoing=self.voters,
                learners=learners,  # a voter that becomes one still votes in the old half
                witnesses=witnesses | {*self.witnesses},
                retired=retired - witnesses - {*self.witnesses},
                auto_leave=change.transition != "explicit",
            )
        if after == self:
            raise MembershipError("this change changes nothing")
        return after

    def left(self) -> Membership:
        """The configuration after a joint one.

        Raises:
            MembershipError: this one is not joint.
        """
        if not self.joint:
            raise MembershipError("there is no joint configuration to leave")
        witnesses = {*self.witnesses} & {*self.voters}
        return Membership(
            self.voters,
            learners=self.learners,
            witnesses=witnesses,
            retired={*self.retired} | {*self.witnesses} - witnesses,
        )


class ConfChange:
    """A wish to change the membership: an immutable value.

    Args:
        voters: become voters: added, or promoted from learners.
        learners: become learners: added, or demoted from voters.
        witnesses: are added as witnesses.
        remove: leave the group.
        transition: "auto": in one step when one voter changes, else by a joint configuration which
            is left as soon as that is safe; "joint": always by a joint one; "explicit": by a joint
            one that stays until `ConfChange.leave_joint()`.

    Raises:
        MembershipError: a node stands in two places, or nothing is asked for.
    """

    __slots__ = ("learners", "leave", "remove", "transition", "voters", "witnesses")

    def __init__(
        self,
        *,
        voters: Iterable[NodeId] = (),
        learners: Iterable[NodeId] = (),
        witnesses: Iterable[NodeId] = (),
        remove: Iterable[NodeId] = (),
        transition: str = "auto",
    ) -> None:
        self.voters = _sorted(voters, "voters")
        self.learners = _sorted(learners, "learners")
        self.witnesses = _sorted(witnesses, "witnesses")
        self.remove = _sorted(remove, "removed")
        self.transition = transition
        self.leave = False
        named = (*self.voters, *self.learners, *self.witnesses, *self.remove)
        if not named:
            raise MembershipError("an empty change: name nodes to add, move or remove")
        if len(set(named)) != len(named):
            raise MembershipError("a node stands in two places of one change")
        if transition not in ("auto", "joint", "explicit"):
            raise MembershipError(f"transition {transition!r} is not auto, joint or explicit")

    @classmethod
    def leave_joint(cls) -> ConfChange:
        """Leaves a joint configuration that was entered with transition="explicit"."""
        change = cls.__new__(cls)
        change.voters = change.learners = change.witnesses = change.remove = ()
        change.transition = "auto"
        change.leave = True
        return change

    def __repr__(self) -> str:
        if self.leave:
            return "ConfChange.leave_joint()"
        parts = [
            f"{name}={nodes!r}"
            for name in ("voters", "learners", "witnesses", "remove")
            if (nodes := getattr(self, name))
        ]
        if self.transition != "auto":
            parts.append(f"transition={self.transition!r}")
        return f"ConfChange({', '.join(parts)})"
