"""What the roles of a single decree must never forget, and what they may say once it is durable."""

from __future__ import annotations

import struct
from typing import Any

from ringleader.consensus.paxos.ballot import NUMBER_BITS, ROUND_MAX, describe
from ringleader.consensus.paxos.decree.messages import DecreeMessage, is_value
from ringleader.errors import FormatError, SettingError
from ringleader.kernels import hashing

#: The bits of a ballot that name its owner.
_OWNER = (1 << NUMBER_BITS) - 1
_BALLOT_MAX = (ROUND_MAX + 1 << NUMBER_BITS) - 1

_ACCEPTOR = struct.Struct("<4sQQQ")  # magic, promised, accepted, bytes of the value and 1, or 0
_PROPOSER = struct.Struct("<4sQ")  # magic, ballot
_CRC = struct.Struct("<I")
_ACCEPTOR_MAGIC = b"RDA1"
_PROPOSER_MAGIC = b"RDP1"


class AcceptorState:
    """All that an acceptor must never forget (§2.5).  Immutable.

    Attributes:
        promised: it accepts nothing below this ballot (0: it has promised nothing).
        accepted: the highest ballot in which it has accepted a value (0: none).
            Invariant: <= promised.
        value: the value; None exactly if `accepted` is 0.

    Raises:
        SettingError: no acceptor can be in such a state.
    """

    __slots__ = ("accepted", "promised", "value")

    def __init__(self, promised: int = 0, accepted: int = 0, value: bytes | None = None) -> None:
        for ballot in (promised, accepted):
            if ballot != 0 and not _OWNER < ballot <= _BALLOT_MAX:
                raise SettingError(f"{ballot} is no ballot")
        if accepted > promised:
            raise SettingError(
                f"accepted in ballot {describe(accepted)}, above the promise {describe(promised)}"
            )
        if (accepted == 0) != (value is None) or not (value is None or is_value(value)):
            raise SettingError("a value stands with the ballot in which it was accepted, as bytes")
        self.promised = promised
        self.accepted = accepted
        self.value = value

    def to_bytes(self) -> bytes:
        """32 bytes and the value."""
        length = 0 if self.value is None else len(self.value) + 1
        head = _ACCEPTOR.pack(_ACCEPTOR_MAGIC, self.promised, self.accepted, length)
        return _sealed(head + (self.value or b""))

    @classmethod
    def from_bytes(cls, data: bytes) -> AcceptorState:
        """
        Raises:
            FormatError: these are not the bytes of a state.
        """
        body = _unsealed(data, _ACCEPTOR_MAGIC, _ACCEPTOR.size)
        _, promised, accepted, length = _ACCEPTOR.unpack_from(body)
        value = body[_ACCEPTOR.size :] if length else None
        if len(value or b"") != max(length - 1, 0) or (not length and len(body) > _ACCEPTOR.size):
            raise FormatError("an acceptor's state of another length than it says")
        if max(promised, accepted) > _BALLOT_MAX:
            raise FormatError("an acceptor's state with an impossible ballot")
        try:
            return cls(promised, accepted, value)
        except SettingError as error:
            raise FormatError(f"an acceptor's state that cannot be: {error}") from error

    def _identity(self) -> tuple[int, int, bytes | None]:
        return self.promised, self.accepted, self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AcceptorState) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        return (
            f"AcceptorState(promised={self.promised}, accepted={self.accepted}, "
            f"value={self.value!r})"
        )

    def __reduce__(self) -> tuple[type[AcceptorState], tuple[int, int, bytes | None]]:
        return AcceptorState, self._identity()


class ProposerState:
    """All that a proposer must never forget: the last ballot that it has used.  Immutable.

    §2.5: "Each proposer remembers (in stable storage) the highest-numbered proposal it has tried to
    issue, and begins phase 1 with a higher proposal number than any it has already used."

    Raises:
        SettingError: this is no ballot.
    """

    __slots__ = ("ballot",)

    def __init__(self, ballot: int = 0) -> None:
        if ballot != 0 and not _OWNER < ballot <= _BALLOT_MAX:
            raise SettingError(f"{ballot} is no ballot")
        self.ballot = ballot

    def to_bytes(self) -> bytes:
        """16 bytes."""
        return _sealed(_PROPOSER.pack(_PROPOSER_MAGIC, self.ballot))

    @classmethod
    def from_bytes(cls, data: bytes) -> ProposerState:
        """
        Raises:
            FormatError: these are not the bytes of a state.
        """
        body = _unsealed(data, _PROPOSER_MAGIC, _PROPOSER.size)
        _, ballot = _PROPOSER.unpack_from(body)
        if len(body) != _PROPOSER.size or (ballot != 0 and not _OWNER < ballot <= _BALLOT_MAX):
            raise FormatError("a proposer's state that cannot be")
        return cls(ballot)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ProposerState) and self.ballot == other.ballot

    def __hash__(self) -> int:
        return hash(self.ballot)

    def __repr__(self) -> str:
        return f"ProposerState({self.ballot})"

    def __reduce__(self) -> tuple[type[ProposerState], tuple[int]]:
        return ProposerState, (self.ballot,)


def _sealed(body: bytes) -> bytes:
    return body + _CRC.pack(hashing.crc32c(body))


def _unsealed(data: bytes, magic: bytes, least: int) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise FormatError(f"a state is bytes, not {type(data).__name__}")
    data = bytes(data)
    body = data[: -_CRC.size]
    if len(body) < least or body[: len(magic)] != magic:
        raise FormatError(f"no state: it does not begin with {magic!r}, or is cut off")
    if data[-_CRC.size :] != _CRC.pack(hashing.crc32c(body)):
        raise FormatError("a state whose checksum does not fit")
    return body


class Step:
    """What came of a message, a tick or a proposal.

    Attributes:
        state: what must be durable before anything is sent; None when all is.  It is handed out
            again by each step until one that had it was `saved()`, and later ones contain earlier
            ones: who writes for several steps at once writes the last one's.
    """

    __slots__ = ("_messages", "_owner", "state")

    state: AcceptorState | ProposerState | None
    _owner: Any
    _messages: tuple[DecreeMessage, ...]

    def saved(self) -> tuple[DecreeMessage, ...]:
        """Say that `state`, if there is one, is durable: the messages that may be sent now.  They
        are nowhere else to be had."""
        if self.state is not None:
            self._owner._saved(self.state)
        return self._messages

    def __repr__(self) -> str:
        return f"<Step: state {self.state!r}, then {len(self._messages)} messages>"


def new_step(owner: Any, state: Any, messages: tuple[DecreeMessage, ...]) -> Step:
    if state is None and len(messages) == 0:
        return _NO_STEP
    step = Step.__new__(Step)
    step._owner = owner
    step.state = state
    step._messages = messages
    return step


def new_state(promised: int, accepted: int, value: bytes | None) -> AcceptorState:
    """One that is known to be possible, made without the cost of a Python call when compiled."""
    state = AcceptorState.__new__(AcceptorState)
    state.promised = promised
    state.accepted = accepted
    state.value = value
    return state


def new_proposer_state(ballot: int) -> ProposerState:
    """See `new_state`."""
    state = ProposerState.__new__(ProposerState)
    state.ballot = ballot
    return state


_NO_STEP = Step.__new__(Step)
_NO_STEP._owner = None
_NO_STEP.state = None
_NO_STEP._messages = ()
