import numpy as np
from numpy.typing import NDArray

def owners(
    a_ends: NDArray[np.uint64],
    a_owners: NDArray[np.uint32],
    a_ids: NDArray[np.uint32],
    b_ends: NDArray[np.uint64],
    b_owners: NDArray[np.uint32],
    b_ids: NDArray[np.uint32],
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint32], NDArray[np.uint32]]: ...
def replicas(
    a_ends: NDArray[np.uint64],
    a_owners: NDArray[np.uint32],
    a_ids: NDArray[np.uint32],
    b_ends: NDArray[np.uint64],
    b_owners: NDArray[np.uint32],
    b_ids: NDArray[np.uint32],
    zones: NDArray[np.uint32],
    dcs: NDArray[np.uint32],
) -> tuple[
    NDArray[np.uint64],
    NDArray[np.uint64],
    NDArray[np.uint32],
    NDArray[np.uint32],
    NDArray[np.uint32],
    NDArray[np.uint32],
    NDArray[np.uint32],
]: ...
def schedule(
    senders: NDArray[np.uint32],
    receivers: NDArray[np.uint32],
    links: NDArray[np.uint32],
    costs: NDArray[np.float64],
    link_costs: NDArray[np.float64],
    node_count: int,
    link_count: int,
    concurrent: int,
) -> tuple[NDArray[np.uint32], int]: ...
