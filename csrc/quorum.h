/* What a quorum has: of many groups at a time, the index that so many voters have reached, the
 * result of an election, and the timers that run out.
 *
 * Nothing here allocates; every buffer is the caller's.  No input overlaps an output unless a
 * comment says that it may. */
#ifndef RL_QUORUM_H
#define RL_QUORUM_H

#include "base.h"

/* Voters of one group (ringleader/limits.py: VOTERS_MAX). */
#define RL_VOTERS_MAX 127
/* Ticks of one timer (ringleader/limits.py: TIMER_TICKS_MAX). */
#define RL_TIMER_TICKS_MAX 32767
/* Timers are swept so many rows at a time: the columns of rl_timers are padded to a multiple. */
#define RL_TIMER_BLOCK_ROWS 64

/* --- committed indices ---------------------------------------------------------------------- */

/* out[g] = the quorum-th largest of match[g][0..voters): the largest index that `quorum` of the
 * voters have reached.  1 <= quorum <= voters <= RL_VOTERS_MAX. */
void rl_quorum_committed(const uint64_t *match, size_t groups, size_t voters, size_t quorum,
                         uint64_t *out);

/* One group of any order, whose values are rearranged. */
uint64_t rl_quorum_committed_one(uint64_t *values, size_t voters, size_t quorum);

/* The smaller of what both sets of voters have committed (a joint configuration). */
void rl_quorum_committed_joint(const uint64_t *incoming, size_t incoming_voters,
                               size_t incoming_quorum, const uint64_t *outgoing,
                               size_t outgoing_voters, size_t outgoing_quorum, size_t groups,
                               uint64_t *out);

/* --- elections ------------------------------------------------------------------------------ */

/* A ballot is positive (granted), negative (refused) or 0 (pending).  out[g] = 1 when at least
 * `quorum` of the voters granted, -1 when they no longer can, else 0. */
void rl_quorum_votes(const int8_t *ballots, size_t groups, size_t voters, size_t quorum,
                     int8_t *out);

/* --- timers --------------------------------------------------------------------------------- */

/* A timer for each row, swept by every tick: no lists to link, so setting one is two stores.
 *
 *   soon[row]    ticks until the row is looked at; 0 when it does not run
 *   later[row]   ticks that remain after that
 *
 * A row fires when soon reaches 0 and later is 0; where later is not, soon is loaded from it.  So
 * a tick reads and writes one byte a row, whatever the ticks.  Both columns have room for
 * rl_timers_room(rows) rows; those of the pad do not run. */
typedef struct {
    uint8_t *soon;
    uint16_t *later;
} rl_timers;

RL_INLINE size_t rl_timers_room(size_t rows) {
    return (rows + RL_TIMER_BLOCK_ROWS - 1) / RL_TIMER_BLOCK_ROWS * RL_TIMER_BLOCK_ROWS;
}

/* 0 <= ticks <= RL_TIMER_TICKS_MAX; 0 stops the row. */
RL_INLINE void rl_timers_set(const rl_timers *timers, size_t row, uint32_t ticks) {
    uint32_t soon = ticks < 255 ? ticks : 255;
    timers->soon[row] = (uint8_t)soon;
    timers->later[row] = (uint16_t)(ticks - soon);
}

RL_INLINE uint32_t rl_timers_remaining(const rl_timers *timers, size_t row) {
    return (uint32_t)timers->soon[row] + timers->later[row];
}

/* One tick of rows [0, rows).  Writes the rows that fire to `fired` (room: rows), ascending, and
 * returns how many they are; they stop. */
size_t rl_timers_tick(const rl_timers *timers, size_t rows, uint32_t *fired);

#endif
