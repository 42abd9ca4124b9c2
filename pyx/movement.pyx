"""What moves between two cuts of a circle into ranges, and the steps of the transfers."""

from libc.stdint cimport UINT32_MAX, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from csrc cimport (
    rl_cut,
    rl_cut_check,
    rl_lane_use,
    rl_movement_owners,
    rl_movement_replicas,
    rl_movement_schedule,
    rl_replica_moves,
    rl_schedule_room,
    rl_schedule_steps_max,
    rl_transfers,
)

import numpy as np


cdef int _cut(
    rl_cut *cut, const uint64_t[::1] ends, const uint32_t[:, ::1] owners, const uint32_t[::1] ids
) except -1:
    cdef int wrong
    if ends.shape[0] != owners.shape[0]:
        raise ValueError(f"{ends.shape[0]} ends for {owners.shape[0]} rows of owners")
    if not 1 <= ends.shape[0] < 1 << 28 or owners.shape[1] < 1:
        raise ValueError(f"{ends.shape[0]} ranges of {owners.shape[1]} owners")
    cut.count = <size_t>ends.shape[0]
    cut.width = <size_t>owners.shape[1]
    cut.ends = &ends[0]
    cut.owners = &owners[0, 0]
    cut.ids = &ids[0] if ids.shape[0] else NULL
    with nogil:
        wrong = rl_cut_check(
            cut.ends, cut.count, cut.owners, cut.count * cut.width, <size_t>ids.shape[0]
        )
    if wrong == 1:
        raise ValueError("the ends do not ascend")
    if wrong == 2:
        raise ValueError(f"an owner is not below {ids.shape[0]}")
    return 0


cdef object _cut_off(object column, size_t count):
    """The first `count` values; in memory of their own if much would be kept for nothing."""
    values = np.asarray(column)[:count]
    return values if 2 * count >= <size_t>len(column) else values.copy()


def owners(
    const uint64_t[::1] a_ends not None, const uint32_t[:, ::1] a_owners not None,
    const uint32_t[::1] a_ids not None,
    const uint64_t[::1] b_ends not None, const uint32_t[:, ::1] b_owners not None,
    const uint32_t[::1] b_ids not None,
):
    """The pieces whose owner changes: starts, ends, and the owners' ids before and after."""
    cdef rl_cut a, b
    cdef size_t count
    _cut(&a, a_ends, a_owners, a_ids)
    _cut(&b, b_ends, b_owners, b_ids)
    if a.width != 1 or b.width != 1:
        raise ValueError("owners() is for cuts with one owner a range")
    cdef uint64_t[::1] starts = np.empty(a.count + b.count, dtype=np.uint64)
    cdef uint64_t[::1] ends = np.empty(a.count + b.count, dtype=np.uint64)
    cdef uint32_t[::1] before = np.empty(a.count + b.count, dtype=np.uint32)
    cdef uint32_t[::1] after = np.empty(a.count + b.count, dtype=np.uint32)
    with nogil:
        count = rl_movement_owners(&a, &b, &starts[0], &ends[0], &before[0], &after[0])
    return (
        _cut_off(starts, count), _cut_off(ends, count), _cut_off(before, count),
        _cut_off(after, count),
    )


def replicas(
    const uint64_t[::1] a_ends not None, const uint32_t[:, ::1] a_owners not None,
    const uint32_t[::1] a_ids not None,
    const uint64_t[::1] b_ends not None, const uint32_t[:, ::1] b_owners not None,
    const uint32_t[::1] b_ids not None,
    const uint32_t[::1] zones not None, const uint32_t[::1] dcs not None,
):
    """The pieces whose replicas change: starts, ends; of each added replica the piece, the source
    and the replica; of each dropped one the piece and the replica."""
    cdef rl_cut a, b
    cdef rl_replica_moves moves
    _cut(&a, a_ends, a_owners, a_ids)
    _cut(&b, b_ends, b_owners, b_ids)
    cdef Py_ssize_t id_count = zones.shape[0]
    if dcs.shape[0] != id_count:
        raise ValueError(f"{id_count} zones for {dcs.shape[0]} datacenters")
    if max(np.max(a_ids), np.max(b_ids)) >= id_count:
        raise ValueError(f"an id is not below {id_count}")
    cdef size_t most = a.count + b.count
    cdef uint64_t[::1] starts = np.empty(most, dtype=np.uint64)
    cdef uint64_t[::1] ends = np.empty(most, dtype=np.uint64)
    cdef uint32_t[::1] add_piece = np.empty(most * b.width, dtype=np.uint32)
    cdef uint32_t[::1] add_from = np.empty(most * b.width, dtype=np.uint32)
    cdef uint32_t[::1] add_to = np.empty(most * b.width, dtype=np.uint32)
    cdef uint32_t[::1] drop_piece = np.empty(most * a.width, dtype=np.uint32)
    cdef uint32_t[::1] drop_node = np.empty(most * a.width, dtype=np.uint32)
    cdef uint32_t[::1] marks = np.zeros(id_count, dtype=np.uint32)
    cdef uint64_t[::1] sent = np.zeros(id_count, dtype=np.uint64)
    moves.starts = &starts[0]
    moves.ends = &ends[0]
    moves.add_piece = &add_piece[0]
    moves.add_from = &add_from[0]
    moves.add_to = &add_to[0]
    moves.drop_piece = &drop_piece[0]
    moves.drop_node = &drop_node[0]
    with nogil:
        rl_movement_replicas(&a, &b, &zones[0], &dcs[0], &marks[0], &sent[0], &moves)
    return (
        _cut_off(starts, moves.piece_count),
        _cut_off(ends, moves.piece_count),
        _cut_off(add_piece, moves.add_count),
        _cut_off(add_from, moves.add_count),
        _cut_off(add_to, moves.add_count),
        _cut_off(drop_piece, moves.drop_count),
        _cut_off(drop_node, moves.drop_count),
    )


cdef int _below(const uint32_t[::1] values, size_t count, size_t bound, str what) except -1:
    if <size_t>values.shape[0] != count:
        raise ValueError(f"{values.shape[0]} {what} for {count} transfers")
    if count and np.max(values) >= bound:
        raise ValueError(f"one of {what} is not below {bound}")
    return 0


def schedule(
    const uint32_t[::1] senders not None, const uint32_t[::1] receivers not None,
    const uint32_t[::1] links not None, const double[::1] costs not None,
    const double[::1] link_costs not None,
    size_t node_count, size_t link_count, size_t concurrent,
):
    """The step of each transfer, in the order given, and how many steps there are."""
    cdef rl_transfers transfers
    cdef rl_schedule_room room
    cdef size_t count = <size_t>senders.shape[0], steps_max, step_count
    _below(senders, count, node_count, "senders")
    _below(receivers, count, node_count, "receivers")
    _below(links, count, link_count, "links")
    if <size_t>costs.shape[0] != count or <size_t>link_costs.shape[0] != count:
        raise ValueError(f"the costs are not those of {count} transfers")
    if not 1 <= concurrent <= UINT32_MAX:
        raise ValueError(f"{concurrent} transfers at once")
    cdef uint32_t[::1] steps = np.empty(count, dtype=np.uint32)
    if count == 0:
        return np.asarray(steps), 0
    transfers.count = count
    transfers.from_ = &senders[0]
    transfers.to = &receivers[0]
    transfers.link = &links[0]
    transfers.cost = &costs[0]
    transfers.link_cost = &link_costs[0]
    cdef size_t lanes = 2 * node_count + link_count
    cdef uint32_t[::1] degrees = np.zeros(2 * node_count, dtype=np.uint32)
    steps_max = rl_schedule_steps_max(&transfers, node_count, <uint32_t>concurrent, &degrees[0])
    room.firsts = <size_t *>calloc(lanes + 1, sizeof(size_t))
    room.counts = <uint32_t *>calloc(lanes, sizeof(uint32_t))
    room.uses = <rl_lane_use *>calloc(3 * count, sizeof(rl_lane_use))
    room.seconds = <double *>calloc(steps_max, sizeof(double))
    room.busy = <double *>calloc(3 * steps_max, sizeof(double))
    room.full = <uint8_t *>calloc(steps_max, sizeof(uint8_t))
    try:
        if (
            room.firsts == NULL or room.counts == NULL or room.uses == NULL
            or room.seconds == NULL or room.busy == NULL or room.full == NULL
        ):
            raise MemoryError
        with nogil:
            step_count = rl_movement_schedule(
                &transfers, node_count, link_count, <uint32_t>concurrent, &room, &steps[0]
            )
    finally:
        free(room.firsts)
        free(room.counts)
        free(room.uses)
        free(room.seconds)
        free(room.busy)
        free(room.full)
    return np.asarray(steps), step_count
