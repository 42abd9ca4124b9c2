from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from ringleader._native.keys import Column
from ringleader._native.ring import Table
from ringleader.keys import Key

def simd_supported() -> int: ...
def simd() -> int: ...
def simd_force(level: int) -> None: ...
def hash_keys(
    table: Table, column: Column, out: NDArray[np.uint64], lo: int, hi: int
) -> None: ...
def surplus(
    hashes: NDArray[np.uint64], owners: NDArray[np.uint32], room: NDArray[np.uint64]
) -> NDArray[np.uint64]: ...
def assign(
    table: Table,
    hashes: NDArray[np.uint64],
    room: NDArray[np.uint64],
    out: NDArray[np.uint32],
) -> int: ...
@disjoint_base
class LoadsBase:
    def _open(self, locator: Any, has_table: bool) -> None: ...
    @property
    def _bound(self) -> tuple[object, tuple[str, ...], dict[str, int], int, list[int]]: ...
    def _bind(
        self,
        before: object,
        source: object,
        table: Table | None,
        names: tuple[str, ...],
        present: int,
        mapping: Sequence[int],
        shares: Sequence[int],
        whole: int,
    ) -> bool: ...
    def acquire(self, key: Key) -> str: ...
    def _take(self, source: object, slot: int) -> bool: ...
    def release(self, name: str) -> None: ...
    def _counts(self) -> tuple[tuple[str, ...], int, list[int], list[int], int]: ...
    def __len__(self) -> int: ...
