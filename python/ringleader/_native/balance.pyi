from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

def change(
    tokens: NDArray[np.uint64],
    owners: NDArray[np.uint32],
    weights: NDArray[np.uint64] | Sequence[int],
    counts: NDArray[np.uint32] | Sequence[int],
    node: int,
    offset: int,
    points_max: int,
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]: ...
def build(
    weights: NDArray[np.uint64] | Sequence[int],
    counts: NDArray[np.uint32] | Sequence[int],
    offset: int,
    points_max: int,
) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]: ...
