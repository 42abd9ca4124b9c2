/* What moves when one cut of the circle of 2**64 numbers into ranges gives way to another, and how
 * the transfers that follow from it are put into steps.
 *
 * A cut is `count` ranges: range i holds the numbers x with ends[i-1] < x <= ends[i], range 0 also
 * those past the last end; a single range is the whole circle.  Laid over each other, two cuts
 * make pieces, on which neither changes its owners.  Both functions walk the pieces in order and
 * join neighbours that tell the same, across the end of the circle, too: a piece whose start is
 * not below its end goes around, and a single one with start == end is the whole circle.
 *
 * The caller owns every buffer. */
#ifndef RL_MOVEMENT_H
#define RL_MOVEMENT_H

#include "base.h"

/* A node that is down has this for a zone, and what only such nodes have this for a source. */
#define RL_NOWHERE 0xFFFFFFFFu

typedef struct rl_cut {
    size_t count;           /* ranges; Invariant: 1 <= count < 2**28 */
    size_t width;           /* replicas of each; Invariant: 1 <= width */
    const uint64_t *ends;   /* [count], strictly ascending */
    const uint32_t *owners; /* [count * width] */
    const uint32_t *ids;    /* owner -> id: what owners of both cuts are compared by */
} rl_cut;

/* Whether a cut is what it should be: 0, or 1 when its ends do not ascend, or 2 when an owner is
 * not below owner_count. */
int rl_cut_check(const uint64_t *ends, size_t count, const uint32_t *owners, size_t cell_count,
                 size_t owner_count);

/* For cuts of width 1: the pieces whose owner changes, as four columns with room for the ranges
 * of both cuts.  Returns how many there are. */
size_t rl_movement_owners(const rl_cut *a, const rl_cut *b, uint64_t *starts, uint64_t *ends,
                          uint32_t *from, uint32_t *to);

/* The pieces whose set of replicas changes, and for each of them the replicas that are added, each
 * with a source among the old ones, and those that are dropped. */
typedef struct rl_replica_moves {
    /* By piece; room for the ranges of both cuts. */
    size_t piece_count;
    uint64_t *starts, *ends;
    /* By added replica, in the order of pieces; room for as many times b's width. */
    size_t add_count;
    uint32_t *add_piece, *add_from, *add_to;
    /* By dropped replica, likewise; a's width. */
    size_t drop_count;
    uint32_t *drop_piece, *drop_node;
} rl_replica_moves;

/* A source stands in the zone of the replica it feeds if there is one there, else in its
 * datacenter, else anywhere; of equally close ones that which has sent least so far, and of those
 * the first.  A node in the zone RL_NOWHERE is no source; where all old replicas are such, the
 * source is RL_NOWHERE.
 *
 * zones, dcs: of each id; zones of different datacenters differ.
 * marks, sent: [number of ids], zeroed. */
void rl_movement_replicas(const rl_cut *a, const rl_cut *b, const uint32_t *zones,
                          const uint32_t *dcs, uint32_t *marks, uint64_t *sent,
                          rl_replica_moves *moves);

/* Transfers that compete for lanes: a sender's, a receiver's, and a link's. */
typedef struct rl_transfers {
    size_t count;
    const uint32_t *from, *to;        /* [count] node ids */
    const uint32_t *link;             /* [count], below link_count */
    const double *cost, *link_cost;   /* [count] seconds that it keeps a node, and the link, busy */
} rl_transfers;

/* One step in which a lane is used. */
typedef struct rl_lane_use {
    uint32_t step;
    uint32_t streams;
    double busy;
} rl_lane_use;

/* Working space of a schedule. */
typedef struct rl_schedule_room {
    size_t *firsts;     /* [2 * node_count + link_count + 1]: where a lane's uses begin */
    uint32_t *counts;   /* [2 * node_count + link_count], zeroed */
    rl_lane_use *uses;  /* [3 * count] */
    double *seconds;    /* [step_count_max], zeroed */
    double *busy;       /* [3 * step_count_max], zeroed */
    uint8_t *full;      /* [step_count_max], zeroed */
} rl_schedule_room;

/* An upper bound on the steps that a schedule will have. */
size_t rl_schedule_steps_max(const rl_transfers *transfers, size_t node_count, uint32_t concurrent,
                             uint32_t *degrees /* [2 * node_count], zeroed */);

/* steps[i] = the step of transfer i, taking them in order (the longest first).  In no step has a
 * node more than `concurrent` transfers out, or in.  A step lasts as long as its busiest lane;
 * each transfer goes where that makes the whole last least longer, and of such steps where it fits
 * closest, and of those into the first; into a new one only if all are full, which never makes
 * the whole shorter.  Returns the number of steps.
 *
 * Sums and comparisons of doubles only, so that every platform gives the same steps. */
size_t rl_movement_schedule(const rl_transfers *transfers, size_t node_count, size_t link_count,
                            uint32_t concurrent, rl_schedule_room *room, uint32_t *steps);

#endif
