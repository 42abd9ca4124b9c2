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
        removed: NDArray[np.uint32],
        positions: NDArray[np.uint32],
    ) -> None: ...
    @property
    def capsule(self) -> object: ...
    @property
    def nbytes(self) -> int: ...
