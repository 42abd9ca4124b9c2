#include "movement.h"

int rl_cut_check(const uint64_t *ends, size_t count, const uint32_t *owners, size_t cell_count,
                 size_t owner_count) {
    int descends = 0;
    uint32_t largest = 0;
    for (size_t i = 1; i < count; i++) descends |= ends[i - 1] >= ends[i];
    for (size_t i = 0; i < cell_count; i++) largest = owners[i] > largest ? owners[i] : largest;
    return descends ? 1 : (cell_count > 0 && largest >= owner_count) ? 2 : 0;
}

/* --- owners --------------------------------------------------------------------------------- */

size_t rl_movement_owners(const rl_cut *a, const rl_cut *b, uint64_t *starts, uint64_t *ends,
                          uint32_t *from, uint32_t *to) {
    const uint64_t *a_ends = a->ends, *b_ends = b->ends;
    size_t i = 0, j = 0, count = 0;
    const uint64_t a_last = a_ends[a->count - 1], b_last = b_ends[b->count - 1];
    const uint64_t last = a_last > b_last ? a_last : b_last;
    uint64_t start = last;
    while (i < a->count || j < b->count) {
        /* Past its last end, a cut is in its first range again. */
        int a_left = i < a->count, b_left = j < b->count;
        uint32_t source = a->ids[a->owners[a_left ? i : 0]];
        uint32_t target = b->ids[b->owners[b_left ? j : 0]];
        uint64_t end;
        if (RL_LIKELY(a_left && b_left)) {
            uint64_t a_end = a_ends[i], b_end = b_ends[j];
            end = a_end < b_end ? a_end : b_end;
            i += a_end == end;
            j += b_end == end;
        } else {
            end = a_left ? a_ends[i++] : b_ends[j++];
        }
        if (source != target) {
            if (count > 0 && ends[count - 1] == start && from[count - 1] == source &&
                to[count - 1] == target) {
                ends[count - 1] = end;
            } else {
                starts[count] = start;
                ends[count] = end;
                from[count] = source;
                to[count] = target;
                count++;
            }
        }
        start = end;
    }
    if (count > 1 && starts[0] == last && ends[count - 1] == last && from[0] == from[count - 1] &&
        to[0] == to[count - 1]) {
        starts[0] = starts[--count];
    }
    return count;
}

/* --- replicas ------------------------------------------------------------------------------- */

RL_INLINE int same_row(const rl_cut *cut, size_t i, size_t j) {
    const uint32_t *one = cut->owners + i * cut->width, *other = cut->owners + j * cut->width;
    uint32_t differ = 0;
    for (size_t k = 0; k < cut->width; k++) differ |= one[k] ^ other[k];
    return differ == 0;
}

/* Add the piece (start, end], on which range i of a gives way to range j of b. */
static void add_piece(const rl_cut *a, const rl_cut *b, size_t i, size_t j, uint64_t start,
                      uint64_t end, const uint32_t *zones, const uint32_t *dcs, uint32_t *marks,
                      uint64_t *sent, rl_replica_moves *moves) {
    const uint32_t *olds = a->owners + i * a->width, *news = b->owners + j * b->width;
    if (a->width == b->width) { /* nearly every piece, when little changes */
        uint32_t differ = 0;
        for (size_t k = 0; k < a->width; k++) differ |= a->ids[olds[k]] ^ b->ids[news[k]];
        if (differ == 0) return;
    }
    /* Every piece has two marks of its own: an old replica, and one that stays. */
    const uint32_t piece = (uint32_t)moves->piece_count;
    const uint32_t is_old = 2 * piece + 1, stays = 2 * piece + 2;
    const size_t adds_before = moves->add_count, drops_before = moves->drop_count;
    for (size_t k = 0; k < a->width; k++) marks[a->ids[olds[k]]] = is_old;
    for (size_t k = 0; k < b->width; k++) {
        uint32_t target = b->ids[news[k]];
        if (marks[target] == is_old || marks[target] == stays) {
            marks[target] = stays;
            continue;
        }
        uint32_t source = RL_NOWHERE;
        int closest = 3;
        for (size_t m = 0; m < a->width; m++) {
            uint32_t id = a->ids[olds[m]];
            if (zones[id] == RL_NOWHERE) continue;
            int distance = zones[id] == zones[target] ? 0 : dcs[id] == dcs[target] ? 1 : 2;
            if (distance < closest || (distance == closest && sent[id] < sent[source])) {
                source = id;
                closest = distance;
            }
        }
        /* Scaled, so that 255 replicas of the whole circle fit; the whole circle has width 0. */
        if (source != RL_NOWHERE)
            sent[source] += start == end ? UINT64_C(1) << 56 : (end - start) >> 8;
        moves->add_piece[moves->add_count] = piece;
        moves->add_from[moves->add_count] = source;
        moves->add_to[moves->add_count] = target;
        moves->add_count++;
    }
    for (size_t k = 0; k < a->width; k++) {
        uint32_t id = a->ids[olds[k]];
        if (marks[id] == stays) continue;
        moves->drop_piece[moves->drop_count] = piece;
        moves->drop_node[moves->drop_count] = id;
        moves->drop_count++;
    }
    if (moves->add_count == adds_before && moves->drop_count == drops_before) {
        /* The marks of this piece serve the next one: none of them may be left. */
        for (size_t k = 0; k < a->width; k++) marks[a->ids[olds[k]]] = 0;
        return;
    }
    moves->starts[piece] = start;
    moves->ends[piece] = end;
    moves->piece_count++;
}

void rl_movement_replicas(const rl_cut *a, const rl_cut *b, const uint32_t *zones,
                          const uint32_t *dcs, uint32_t *marks, uint64_t *sent,
                          rl_replica_moves *moves) {
    const size_t a_count = a->count, b_count = b->count;
    moves->piece_count = moves->add_count = moves->drop_count = 0;
    /* Neighbours with the same rows are one piece, which begins and ends where a row changes: the
     * walk starts at the first such place, or takes the whole circle if there is none. */
    const uint64_t a_last = a->ends[a_count - 1], b_last = b->ends[b_count - 1];
    const uint64_t last = a_last > b_last ? a_last : b_last;
    size_t i = 0, j = 0, run_i = 0, run_j = 0, first_i = 0, first_j = 0;
    uint64_t start = last, run_start = last, first_end = last;
    int seen_change = 0;
    while (i < a_count || j < b_count) {
        size_t at_i = i < a_count ? i : 0, at_j = j < b_count ? j : 0;
        if (!(same_row(a, at_i, run_i) && same_row(b, at_j, run_j))) {
            if (seen_change) {
                add_piece(a, b, run_i, run_j, run_start, start, zones, dcs, marks, sent, moves);
            } else { /* the run from the circle's begin on: it may go on at the circle's end */
                first_i = run_i;
                first_j = run_j;
                first_end = start;
                seen_change = 1;
            }
            run_i = at_i;
            run_j = at_j;
            run_start = start;
        }
        if (i < a_count && j < b_count) {
            uint64_t a_end = a->ends[i], b_end = b->ends[j];
            start = a_end < b_end ? a_end : b_end;
            i += a_end == start;
            j += b_end == start;
        } else {
            start = i < a_count ? a->ends[i++] : b->ends[j++];
        }
    }
    if (!seen_change) {
        add_piece(a, b, run_i, run_j, last, last, zones, dcs, marks, sent, moves);
    } else if (same_row(a, first_i, run_i) && same_row(b, first_j, run_j)) {
        add_piece(a, b, run_i, run_j, run_start, first_end, zones, dcs, marks, sent, moves);
    } else {
        add_piece(a, b, run_i, run_j, run_start, last, zones, dcs, marks, sent, moves);
        add_piece(a, b, first_i, first_j, last, first_end, zones, dcs, marks, sent, moves);
    }
}

/* --- steps ---------------------------------------------------------------------------------- */

size_t rl_schedule_steps_max(const rl_transfers *transfers, size_t node_count, uint32_t concurrent,
                             uint32_t *degrees) {
    size_t steps = 0;
    for (size_t i = 0; i < transfers->count; i++) {
        degrees[transfers->from[i]]++;
        degrees[node_count + transfers->to[i]]++;
    }
    for (size_t i = 0; i < transfers->count; i++) {
        /* Its two nodes can have filled so many steps with their other transfers. */
        size_t filled = (degrees[transfers->from[i]] - 1) / concurrent;
        filled += (degrees[node_count + transfers->to[i]] - 1) / concurrent;
        steps = filled + 1 > steps ? filled + 1 : steps;
    }
    return steps;
}

size_t rl_movement_schedule(const rl_transfers *transfers, size_t node_count, size_t link_count,
                            uint32_t concurrent, rl_schedule_room *room, uint32_t *steps) {
    const size_t lane_count = 2 * node_count + link_count;
    size_t step_count = 0;
    for (size_t lane = 0; lane <= lane_count; lane++) room->firsts[lane] = 0;
    for (size_t i = 0; i < transfers->count; i++) {
        room->firsts[transfers->from[i] + 1]++;
        room->firsts[node_count + transfers->to[i] + 1]++;
        room->firsts[2 * node_count + transfers->link[i] + 1]++;
    }
    for (size_t lane = 0; lane < lane_count; lane++) room->firsts[lane + 1] += room->firsts[lane];
    for (size_t i = 0; i < transfers->count; i++) {
        const double costs[3] = {transfers->cost[i], transfers->cost[i], transfers->link_cost[i]};
        const size_t lanes[3] = {transfers->from[i], node_count + transfers->to[i],
                                 2 * node_count + transfers->link[i]};
        /* Lay out what the three lanes do in each step, side by side. */
        for (int k = 0; k < 3; k++) {
            const rl_lane_use *uses = room->uses + room->firsts[lanes[k]];
            for (uint32_t u = 0; u < room->counts[lanes[k]]; u++) {
                room->busy[3 * (size_t)uses[u].step + (size_t)k] = uses[u].busy;
                if (k < 2 && uses[u].streams >= concurrent) room->full[uses[u].step] = 1;
            }
        }
        size_t best = step_count;
        double best_longer = 0, best_room = 0;
        for (size_t step = 0; step < step_count; step++) {
            if (room->full[step]) continue;
            const double *busy = room->busy + 3 * step;
            double needed = busy[0] > busy[1] ? busy[0] + costs[0] : busy[1] + costs[1];
            if (busy[2] + costs[2] > needed) needed = busy[2] + costs[2];
            double longer = needed - room->seconds[step], left = -longer;
            if (longer < 0) longer = 0;
            if (left < 0) left = 0;
            if (best == step_count || longer < best_longer ||
                (longer == best_longer && left < best_room)) {
                best = step;
                best_longer = longer;
                best_room = left;
            }
        }
        for (int k = 0; k < 3; k++) { /* and wipe it again */
            const rl_lane_use *uses = room->uses + room->firsts[lanes[k]];
            for (uint32_t u = 0; u < room->counts[lanes[k]]; u++) {
                room->busy[3 * (size_t)uses[u].step + (size_t)k] = 0;
                room->full[uses[u].step] = 0;
            }
        }
        if (best == step_count) step_count++;
        steps[i] = (uint32_t)best;
        for (int k = 0; k < 3; k++) {
            rl_lane_use *uses = room->uses + room->firsts[lanes[k]];
            uint32_t u = 0;
            while (u < room->counts[lanes[k]] && uses[u].step != best) u++;
            if (u == room->counts[lanes[k]]) {
                uses[u].step = (uint32_t)best;
                uses[u].streams = 0;
                uses[u].busy = 0;
                room->counts[lanes[k]]++;
            }
            uses[u].streams++;
            uses[u].busy += costs[k];
            if (uses[u].busy > room->seconds[best]) room->seconds[best] = uses[u].busy;
        }
    }
    return step_count;
}
