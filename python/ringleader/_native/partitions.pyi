from typing import final

import numpy as np
from numpy.typing import NDArray

def simd_supported() -> int: ...
def simd() -> int: ...
def simd_force(level: int) -> None: ...

@final
class State:
    def __init__(
        self,
        kind: int,
        seed: int,
        seed_hi: int,
        cells: NDArray[np.uint32],
        full_rows: int,
        tiers: NDArray[np.uint32],
        tier_count: int,
        live: NDArray[np.uint32],
    ) -> None: ...
    @property
    def capsule(self) -> object: ...
    @property
    def nbytes(self) -> int: ...
    def cells(self) -> NDArray[np.uint32]: ...
    def holders(self, part: int) -> list[int]: ...
    def handoffs(self, part: int, wanted: int) -> list[int]: ...

@final
class Tree:
    def __init__(
        self,
        first_child: NDArray[np.uint32],
        paths: NDArray[np.uint32],
        wanted: NDArray[np.uint32],
        limit: NDArray[np.uint32],
    ) -> None: ...
    def fill(self, power: int, rows: int, seed: int) -> NDArray[np.uint32]: ...
    def rebalance(
        self, old: NDArray[np.uint32], ready: NDArray[np.uint8], seed: int
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint32], int]: ...
    def at_risk(self, cells: NDArray[np.uint32], allowed: NDArray[np.uint32]) -> int: ...
