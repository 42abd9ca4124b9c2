"""What the roles of a single decree say to each other; the package's text says how it works."""

from __future__ import annotations

from typing import Any

from ringleader.consensus.membership import NodeId
from ringleader.consensus.message import MessageBase
from ringleader.consensus.paxos.ballot import NUMBER_BITS, ROUND_MAX
from ringleader.limits import PAYLOAD_BYTES_MAX

#: The bits of a ballot that name its owner.
_OWNER = (1 << NUMBER_BITS) - 1
_BALLOT_MAX = (ROUND_MAX + 1 << NUMBER_BITS) - 1
_VALUE_BYTES_MAX = PAYLOAD_BYTES_MAX


class DecreeMessage(MessageBase):
    """What every message has besides: the ballot that it is about."""

    __slots__ = ("ballot",)

    FIELDS = (*MessageBase.FIELDS, "ballot")

    ballot: int

    def __init__(self, sender: NodeId, to: NodeId, ballot: int) -> None:
        self.sender = sender
        self.to = to
        self.ballot = ballot

    def problem(self) -> str | None:
        """Why no honest sender can have sent this, or None."""
        if not _OWNER < self.ballot <= _BALLOT_MAX:
            return "impossible ballot"
        return None


class DecreePrepare(DecreeMessage):
    """§2.2, phase 1(a): a prepare request with number `ballot`."""

    __slots__ = ()


class DecreePromise(DecreeMessage):
    """§2.2, phase 1(b): the sender accepts nothing below `ballot` any more; the highest-numbered
    proposal that it has accepted is `value` in ballot `accepted` (0, None: none)."""

    __slots__ = ("accepted", "value")
    FIELDS = ("sender", "to", "ballot", "accepted", "value")

    def __init__(
        self,
        sender: NodeId,
        to: NodeId,
        ballot: int,
        accepted: int = 0,
        value: bytes | None = None,
    ) -> None:
        self.sender = sender
        self.to = to
        self.ballot = ballot
        self.accepted = accepted
        self.value = value

    def problem(self) -> str | None:
        # It is given before anything is accepted in its own ballot.
        if self.accepted != 0 and not _OWNER < self.accepted < self.ballot:
            return "impossible ballot"
        if self.accepted == 0:
            if self.value is not None:
                return "a value that was accepted in no ballot"
        elif not is_value(self.value):
            return "not a value"
        return DecreeMessage.problem(self)


class DecreeProposal(DecreeMessage):
    """What both messages of phase 2 are about: the proposal `value` numbered `ballot`."""

    __slots__ = ("value",)
    FIELDS = ("sender", "to", "ballot", "value")

    def __init__(self, sender: NodeId, to: NodeId, ballot: int, value: bytes) -> None:
        self.sender = sender
        self.to = to
        self.ballot = ballot
        self.value = value

    def problem(self) -> str | None:
        return DecreeMessage.problem(self) if is_value(self.value) else "not a value"


class DecreeAccept(DecreeProposal):
    """§2.2, phase 2(a): an accept request for the proposal `value` numbered `ballot`."""

    __slots__ = ()


class DecreeAccepted(DecreeProposal):
    """§2.2, phase 2(b): the sender has accepted the proposal `value` numbered `ballot`."""

    __slots__ = ()


class DecreeNack(DecreeMessage):
    """§2.5, end: a request of `ballot` is refused, since the sender has promised `promised`."""

    __slots__ = ("promised",)
    FIELDS = ("sender", "to", "ballot", "promised")

    def __init__(self, sender: NodeId, to: NodeId, ballot: int, promised: int) -> None:
        self.sender = sender
        self.to = to
        self.ballot = ballot
        self.promised = promised

    def problem(self) -> str | None:
        if not self.ballot < self.promised <= _BALLOT_MAX:
            return "impossible ballot"
        return DecreeMessage.problem(self)


class DecreeAsk(DecreeMessage):
    """§2.3: a learner asks an acceptor what it has accepted."""

    __slots__ = ()
    FIELDS = ("sender", "to")

    def __init__(self, sender: NodeId, to: NodeId) -> None:
        self.sender = sender
        self.to = to
        self.ballot = 0

    def problem(self) -> str | None:
        return None if self.ballot == 0 else "impossible ballot"


def is_value(value: object) -> bool:
    return type(value) is bytes and len(value) <= _VALUE_BYTES_MAX


def new_prepare(sender: NodeId, to: NodeId, ballot: int) -> DecreePrepare:
    """`DecreePrepare(...)`, made without the cost of a Python call when compiled."""
    message = DecreePrepare.__new__(DecreePrepare)
    message.sender = sender
    message.to = to
    message.ballot = ballot
    return message


def new_promise(
    sender: NodeId, to: NodeId, ballot: int, accepted: int, value: bytes | None
) -> DecreePromise:
    """`DecreePromise(...)`; see `new_prepare`."""
    message = DecreePromise.__new__(DecreePromise)
    message.sender = sender
    message.to = to
    message.ballot = ballot
    message.accepted = accepted
    message.value = value
    return message


def new_accept(sender: NodeId, to: NodeId, ballot: int, value: Any) -> DecreeAccept:
    """`DecreeAccept(...)`; see `new_prepare`."""
    message = DecreeAccept.__new__(DecreeAccept)
    message.sender = sender
    message.to = to
    message.ballot = ballot
    message.value = value
    return message


def new_accepted(sender: NodeId, to: NodeId, ballot: int, value: Any) -> DecreeAccepted:
    """`DecreeAccepted(...)`; see `new_prepare`."""
    message = DecreeAccepted.__new__(DecreeAccepted)
    message.sender = sender
    message.to = to
    message.ballot = ballot
    message.value = value
    return message
