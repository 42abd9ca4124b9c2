/* Points that share a circle out evenly: which ranges a node gets when it comes or grows, and who
 * gets them when it goes or shrinks.
 *
 * A node's due is its weight's part of the circle.  Only the node that changes gains or loses:
 *
 * grow    It takes exactly what it lacks, at as many boundaries between two ranges as it is to
 *         have new points: each such site cuts the range before and the range after, so that a
 *         point relieves two nodes.  Sites are chosen one by one: the fullest node's larger
 *         ranges, and of these the one beside the fullest neighbour.  What is taken where is
 *         then worked out at once: the fullest of the nodes concerned are brought down to one
 *         level.  A node with points takes the rest on both sides of its own ranges.
 *
 * shrink  What it had goes to the neighbours of its ranges, of which each has two: it is split
 *         between them until their levels are as equal as they get (a relaxation).  What would
 *         lift a node above its due by more than a quarter of a range goes to the emptiest nodes
 *         instead, as a point more, as long as the ring has no more than RL_BALANCE_ROOM times
 *         the points that the weights ask for.
 *
 * The circle has 2**62 numbers here, so that a whole one fits a word; levels are in units of
 * 2**-32.  All is integer arithmetic and every order is total: the same history gives the same
 * points on every machine. */
#ifndef RL_BALANCE_H
#define RL_BALANCE_H

#include "base.h"

#define RL_BALANCE_BITS 62
#define RL_BALANCE_CIRCLE ((uint64_t)1 << RL_BALANCE_BITS)
#define RL_BALANCE_NONE UINT32_MAX

/* How many of a node's largest ranges are weighed against each other for a new site. */
#define RL_BALANCE_WINDOW 32
/* Rounds of bringing donors to one level, and of the relaxation; each stops when it is done. */
#define RL_BALANCE_FILLS 8
#define RL_BALANCE_SWEEPS 64
#define RL_BALANCE_ROOM 4

/* A point ends a range of its owner's, which begins where the point before it stands. */
typedef struct rl_balance_point {
    uint64_t token; /* in the circle */
    uint32_t owner;
    uint32_t prev, next;
    uint32_t slot; /* its place in the owner's list */
    uint32_t used; /* the round in which its range was last cut */
} rl_balance_point;

typedef struct rl_balance_node {
    uint64_t weight; /* 0: none of its own */
    uint64_t due;
    uint64_t load; /* numbers of the circle that it owns */
    uint64_t guess, level;
    uint32_t count; /* points that its weight asks for; 0 if weight is */
    uint32_t have, room;
    uint32_t *points; /* [have], in no order */
    /* For choosing sites: a heap of its ranges, largest first, and the largest unused of them. */
    struct rl_balance_range *heap;
    uint32_t heap_count, window_count;
    uint32_t chosen; /* the round in which the two above were made */
    uint32_t window[RL_BALANCE_WINDOW];
} rl_balance_node;

/* Everything in it is its own: rl_balance_free gives it back. */
typedef struct rl_balance {
    rl_balance_node *nodes;
    size_t node_count;
    rl_balance_point *points;
    uint32_t point_count; /* Invariant: those in the circle, the sum of all `have` */
    uint32_t point_end;   /* places in points[] that were ever used */
    uint32_t point_room;
    uint32_t spare; /* the first free place below point_end, linked by next; or NONE */
    uint32_t round;
    uint64_t points_max;
    struct rl_balance_range *ranges; /* [range_room], from which the heaps are taken */
    size_t range_room;
} rl_balance;

/* A circle of no points, and nodes that ask for none.  0, or -1 without memory (then free it all
 * the same). */
int rl_balance_init(rl_balance *balance, size_t node_count, uint64_t points_max);

/* Put points there, which ascend strictly (as numbers of the circle); all nodes have none yet. */
int rl_balance_load(rl_balance *balance, const uint64_t *tokens, const uint32_t *owners,
                    size_t count);

/* Set what a node asks for: both 0 or neither; the sum of all weights is below 2**63. */
void rl_balance_ask(rl_balance *balance, uint32_t node, uint64_t weight, uint32_t count);

/* Give `node` its due.  The first node's points stand at equal distances from `offset` (a number
 * of the circle).  0, or -1 without memory: the circle is then of no more use. */
int rl_balance_change(rl_balance *balance, uint32_t node, uint64_t offset);

/* The points: those of node 0 first, and so on, each node's ascending; haves[i] of node i. */
void rl_balance_store(rl_balance *balance, uint64_t *tokens, uint32_t *haves);

void rl_balance_free(rl_balance *balance);

#endif
