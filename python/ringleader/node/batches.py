"""The payload of a shard's log entry: the leader's clock, and commands, in msgpack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, TypeAlias

import msgspec

from ringleader.errors import FormatError
from ringleader.limits import BATCH_COMMANDS_MAX, CLOCK_MS_MAX

Args: TypeAlias = Annotated[list[bytes], msgspec.Meta(min_length=1)]
Commands: TypeAlias = Annotated[list[Args], msgspec.Meta(max_length=BATCH_COMMANDS_MAX)]
Now: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=CLOCK_MS_MAX)]

#: What `decoded` raises for bytes that are no batch.
BAD_BATCH: Final = (msgspec.DecodeError, ValueError, RecursionError)

_encode = msgspec.msgpack.Encoder().encode
#: As `decode_batch`, with errors of its own.
decoded = msgspec.msgpack.Decoder(tuple[Now, Commands]).decode


def encode_batch(now_ms: int, commands: Sequence[Sequence[bytes]]) -> bytes:
    """The payload of one log entry.

    Args:
        now_ms: the leader's clock, in ms since 1970; a clock that is out of its mind counts as 0,
            or as `CLOCK_MS_MAX`.
        commands: each with all its arguments, the name first; none at all: time passes.
    """
    return _encode((max(0, min(now_ms, CLOCK_MS_MAX)), commands))


def decode_batch(payload: bytes) -> tuple[int, list[list[bytes]]]:
    """What `encode_batch` made a payload of.

    Raises:
        FormatError: it is no batch, or exceeds `ringleader.limits`.
    """
    try:
        return decoded(payload)
    except BAD_BATCH as error:
        raise FormatError(f"no batch of commands: {error}") from None
