from collections.abc import Sequence
from typing import Final, final

from typing_extensions import Buffer

NONE: Final = 0
DATA: Final = 1
FILE: Final = 2
DIRECT: Final = 4
BLOCK_BYTES: Final = 4096

@final
class Writer:
    """Writes and syncs on threads of its own."""
    def __init__(self, lanes: int = 1) -> None: ...
    def fileno(self) -> int: ...
    @property
    def pending(self) -> int: ...
    def submit(
        self,
        token: int,
        fd: int,
        offset: int,
        buffers: Sequence[Buffer],
        flush: int = ...,
        lane: int = ...,
    ) -> None: ...
    def poll(self) -> list[tuple[int, int, int]]: ...
    def close(self) -> None: ...
