#include "rebalance.h"

#include <assert.h>
#include <stdlib.h>

/* --- the generator: splitmix64 (Steele, Lea, Flood, OOPSLA 2014) ------------------------------ */

RL_INLINE uint64_t draw(uint64_t *state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* 0 ... count - 1. */
RL_INLINE size_t draw_below(uint64_t *state, size_t count) {
    return (size_t)(((draw(state) >> 32) * (uint64_t)count) >> 32);
}

RL_INLINE const uint32_t *path_of(const rl_parts_tree *tree, uint32_t leaf) {
    return tree->paths + (leaf - tree->leaf_first) * RL_PARTS_LEVELS;
}

/* --- filling: halve the table until one partition is left ------------------------------------- */

typedef struct share {
    uint32_t leaf;
    uint32_t count;
} share;

typedef struct filling {
    const rl_parts_tree *tree;
    uint64_t random;
    uint32_t power, rows;
    uint32_t *cells;
    share *room;      /* what the halves still to be done are due, a stack */
    uint32_t *odd;    /* shares that do not halve evenly, by index */
    uint8_t *goes_left;
    uint32_t *in_row; /* [rows][leaves] cells so far */
    uint32_t *seen;   /* [leaves] the same, all rows */
} filling;

/* Of the odd shares from `base` on a random half goes left and the rest right; of an odd number of
 * them one, drawn at random, is left over to be settled with those of the tier above. */
static size_t settle(filling *f, size_t base, size_t top) {
    size_t count = top - base, half = count / 2;
    uint32_t *odd = f->odd + base;
    for (size_t i = 0; i < half + (count & 1); i++) {
        size_t other = i + draw_below(&f->random, count - i);
        uint32_t chosen = odd[other];
        odd[other] = odd[i];
        odd[i] = chosen;
        if (i < half) f->goes_left[chosen] = 1;
    }
    if (count & 1) odd[0] = odd[half];
    return base + (count & 1);
}

/* Decide for shares[0 .. count) of one run of partitions which odd ones the left half gets. */
static void halve(filling *f, const share *shares, size_t count) {
    size_t base[RL_PARTS_LEVELS] = {0, 0, 0, 0}; /* of the root, region, zone and server at hand */
    size_t top = 0;
    const uint32_t *last = NULL;
    for (size_t i = 0; i < count; i++) {
        const uint32_t *path = path_of(f->tree, shares[i].leaf);
        if (last != NULL) {
            int same = 0; /* levels that are still the ones before */
            while (same < RL_PARTS_LEVELS - 1 && path[same] == last[same]) same++;
            for (int level = RL_PARTS_LEVELS - 1; level > same; level--)
                top = settle(f, base[level], top);
            for (int level = same + 1; level < RL_PARTS_LEVELS; level++) base[level] = top;
        }
        last = path;
        f->goes_left[i] = 0;
        if (shares[i].count & 1) f->odd[top++] = (uint32_t)i;
    }
    for (int level = RL_PARTS_LEVELS - 1; level >= 0; level--) top = settle(f, base[level], top);
    if (top) f->goes_left[f->odd[0]] = 1;
}

/* The replicas of one partition, into rows such that each node has its share of every row. */
static void write_part(filling *f, size_t part, const share *shares, size_t count) {
    size_t leaves = f->tree->tier_count - f->tree->leaf_first;
    uint32_t waiting[RL_PARTS_ROWS_MAX];
    assert(count <= f->rows);
    for (size_t i = 0; i < count; i++) {
        assert(shares[i].count == 1);
        waiting[i] = shares[i].leaf - (uint32_t)f->tree->leaf_first;
    }
    for (size_t row = 0; row < f->rows; row++) {
        uint32_t *cell = f->cells + ((row << f->power) | part);
        if (row >= count) {
            *cell = RL_PARTS_ABSENT;
            continue;
        }
        uint32_t *in_row = f->in_row + row * leaves;
        size_t best = row;
        int64_t least = INT64_MAX;
        for (size_t i = row; i < count; i++) {
            int64_t ahead = (int64_t)in_row[waiting[i]] * f->rows - f->seen[waiting[i]];
            if (ahead < least) {
                least = ahead;
                best = i;
            }
        }
        uint32_t leaf = waiting[best];
        waiting[best] = waiting[row];
        waiting[row] = leaf;
        in_row[leaf]++;
        *cell = leaf + (uint32_t)f->tree->leaf_first;
    }
    for (size_t i = 0; i < count; i++) f->seen[waiting[i]]++;
}

static void fill_run(filling *f, uint32_t bits, size_t first, const share *shares, size_t count) {
    if (bits == 0) {
        write_part(f, first, shares, count);
        return;
    }
    halve(f, shares, count);
    /* The left half's shares stand behind the right half's, which wait below all that the left half
     * puts behind its own. */
    share *right = (share *)shares + count;
    size_t left_count = 0, right_count = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t due = shares[i].count / 2 + (shares[i].count & (f->goes_left[i] ^ 1u));
        if (due) right[right_count++] = (share){shares[i].leaf, due};
    }
    share *left = right + right_count;
    for (size_t i = 0; i < count; i++) {
        uint32_t due = shares[i].count / 2 + (shares[i].count & f->goes_left[i]);
        if (due) left[left_count++] = (share){shares[i].leaf, due};
    }
    fill_run(f, bits - 1, first, left, left_count);
    fill_run(f, bits - 1, first + ((size_t)1 << (bits - 1)), right, right_count);
}

int rl_parts_fill(const rl_parts_tree *tree, uint32_t power, uint32_t rows, uint64_t seed,
                  uint32_t *cells) {
    assert(power <= RL_PARTS_POWER_MAX && rows <= RL_PARTS_ROWS_MAX);
    size_t leaves = tree->tier_count - tree->leaf_first;
    size_t room = leaves * (2 * (size_t)power + 1); /* two lists of all leaves at most, each level */
    filling f = {tree, seed, power, rows, cells, NULL, NULL, NULL, NULL, NULL};
    f.room = malloc(room * sizeof(share));
    f.odd = malloc(leaves * sizeof(uint32_t));
    f.goes_left = malloc(leaves);
    f.in_row = calloc(leaves * rows, sizeof(uint32_t));
    f.seen = calloc(leaves, sizeof(uint32_t));
    int done = -1;
    if (f.room != NULL && f.odd != NULL && f.goes_left != NULL && f.in_row != NULL &&
        f.seen != NULL) {
        size_t count = 0;
        for (size_t i = 0; i < leaves; i++) {
            uint32_t leaf = (uint32_t)(tree->leaf_first + i);
            if (tree->wanted[leaf]) f.room[count++] = (share){leaf, tree->wanted[leaf]};
        }
        fill_run(&f, power, 0, f.room, count);
        done = 0;
    }
    free(f.room);
    free(f.odd);
    free(f.goes_left);
    free(f.in_row);
    free(f.seen);
    return done;
}

/* --- rebalancing ------------------------------------------------------------------------------ */

#define NONE UINT32_MAX
/* In a chain: the cell does not move itself, but takes the place of the one that moved before. */
#define BY_UNDOING ((uint64_t)1 << 63)

typedef struct balance {
    const rl_parts_tree *tree;
    uint32_t power, rows;
    uint32_t *cells;
    const uint32_t *old;
    const uint8_t *ready;
    uint32_t *changed;
    size_t first, stride;    /* the order that partitions are visited in */
    uint64_t surplus;        /* cells above what their leaf wants, all leaves */
    uint64_t total;          /* cells that are not absent */
    uint32_t *count;         /* [tier_count] cells below each tier */
    uint32_t *lack;          /* [tier_count] cells that the leaves below lack */
    uint32_t *tally;         /* [tier_count] those of the partition at hand */
    uint32_t *fresh;         /* [tier_count] leaves below that no chain has reached */
    uint32_t *in_row;        /* [rows][leaves] */
    uint64_t *row_total;     /* [rows] cells that are not absent */
    uint32_t *queue, *from;  /* [leaves] */
    uint64_t *by;            /* [leaves] the cell by which a chain reaches the leaf */
    int any_tier;            /* whether a chain may leave a tier too few of a partition */
    uint32_t *starts;        /* [leaves + 1] where each leaf's cells begin in ... */
    uint32_t *held;          /* [rows << power] */
} balance;

RL_INLINE uint32_t *cell_at(balance *b, size_t row, size_t part) {
    return b->cells + ((row << b->power) | part);
}

RL_INLINE size_t part_at(const balance *b, size_t step) {
    return (b->first + step * b->stride) & (((size_t)1 << b->power) - 1);
}

RL_INLINE uint32_t *row_count(balance *b, size_t row, uint32_t leaf) {
    size_t leaves = b->tree->tier_count - b->tree->leaf_first;
    return b->in_row + row * leaves + (leaf - b->tree->leaf_first);
}

RL_INLINE int is_leaf(uint32_t cell) { return cell < RL_PARTS_ABSENT; }

/* Count a cell of `leaf` in (+1) or out (-1). */
RL_INLINE void count_cell(balance *b, size_t row, uint32_t leaf, int by) {
    const uint32_t *path = path_of(b->tree, leaf);
    uint32_t before = b->count[leaf], after = before + (uint32_t)by, wanted = b->tree->wanted[leaf];
    uint32_t lacked = before < wanted ? wanted - before : 0;
    uint32_t lacks = after < wanted ? wanted - after : 0;
    b->surplus += (uint64_t)(after > wanted ? after - wanted : 0) -
                  (uint64_t)(before > wanted ? before - wanted : 0);
    for (int level = 0; level < RL_PARTS_LEVELS; level++) {
        b->count[path[level]] += (uint32_t)by;
        b->lack[path[level]] += lacks - lacked;
        b->tally[path[level]] += (uint32_t)by;
    }
    b->count[0] += (uint32_t)by;
    b->lack[0] += lacks - lacked;
    *row_count(b, row, leaf) += (uint32_t)by;
}

RL_INLINE void tally_leaf(balance *b, uint32_t leaf, int by) {
    const uint32_t *path = path_of(b->tree, leaf);
    for (int level = 0; level < RL_PARTS_LEVELS; level++) b->tally[path[level]] += (uint32_t)by;
}

RL_INLINE void open_part(balance *b, size_t part) {
    for (size_t row = 0; row < b->rows; row++) {
        uint32_t cell = *cell_at(b, row, part);
        if (is_leaf(cell)) tally_leaf(b, cell, 1);
    }
}

RL_INLINE void close_part(balance *b, size_t part) {
    for (size_t row = 0; row < b->rows; row++) {
        uint32_t cell = *cell_at(b, row, part);
        if (is_leaf(cell)) tally_leaf(b, cell, -1);
    }
}

RL_INLINE int may_move(const balance *b, size_t row, size_t part) {
    uint32_t changed = b->changed[part];
    return (changed >> row & 1) || (changed == 0 && b->ready[part]);
}

RL_INLINE int64_t spare_of(const balance *b, uint32_t tier) {
    return (int64_t)b->count[tier] - (int64_t)b->tree->wanted[tier];
}

RL_INLINE int is_legal(const balance *b, uint32_t leaf) {
    const uint32_t *path = path_of(b->tree, leaf);
    for (int level = 0; level < RL_PARTS_LEVELS; level++)
        if (b->tally[path[level]] >= b->tree->limit[path[level]]) return 0;
    return 1;
}

/* What every partition has at a tier, at least, in a table as it should be. */
RL_INLINE uint32_t least_of(const balance *b, uint32_t tier) {
    return b->tree->wanted[tier] >> b->power;
}

/* The tier that a replica of the partition at hand, which stood on `from` and is taken out, must
 * not leave, or the tier would have too few of the partition; 0 if there is none. */
static uint32_t bound_to(const balance *b, uint32_t from) {
    const uint32_t *path = path_of(b->tree, from);
    for (int level = RL_PARTS_LEVELS - 1; level >= 0; level--)
        if (b->tally[path[level]] < least_of(b, path[level])) return path[level];
    return 0;
}

/* Whether `leaf` stands below `tier`. */
RL_INLINE int is_below(const balance *b, uint32_t leaf, uint32_t tier) {
    const uint32_t *path = path_of(b->tree, leaf);
    int found = tier == 0;
    for (int level = 0; level < RL_PARTS_LEVELS; level++) found |= path[level] == tier;
    return found;
}

/* The legal place for one more replica of the partition at hand, by way of the tiers that have too
 * few of the partition, and of those that lack most.  There is one: below a tier that is not full,
 * the children's limits leave room. */
static uint32_t roomiest(const balance *b) {
    uint32_t tier = 0;
    while (tier < b->tree->leaf_first) {
        uint32_t best = NONE, end = b->tree->first_child[tier + 1];
        int64_t least = INT64_MAX;
        for (uint32_t child = b->tree->first_child[tier]; child < end; child++) {
            if (b->tally[child] >= b->tree->limit[child]) continue;
            int64_t spare = spare_of(b, child);
            if (b->tally[child] < least_of(b, child)) spare -= (int64_t)1 << 40;
            if (spare < least) {
                least = spare;
                best = child;
            }
        }
        assert(best != NONE);
        tier = best;
    }
    return tier;
}

/* The first legal leaf below `tier` that lacks cells; NONE if there is none. */
static uint32_t lacking(const balance *b, uint32_t tier) {
    if (tier >= b->tree->leaf_first) return tier;
    for (uint32_t child = b->tree->first_child[tier]; child < b->tree->first_child[tier + 1];
         child++) {
        if (b->lack[child] == 0 || b->tally[child] >= b->tree->limit[child]) continue;
        uint32_t found = lacking(b, child);
        if (found != NONE) return found;
    }
    return NONE;
}

/* For the partition at hand, whose tally is open. */
RL_INLINE void take_out(balance *b, size_t row, size_t part) {
    count_cell(b, row, *cell_at(b, row, part), -1);
}

RL_INLINE void put_in(balance *b, size_t row, size_t part, uint32_t leaf) {
    count_cell(b, row, leaf, 1);
    *cell_at(b, row, part) = leaf;
}

RL_INLINE void note_change(balance *b, size_t row, size_t part) {
    size_t at = (row << b->power) | part;
    /* A cell that came back has not moved; then its partition may move again. */
    if (b->cells[at] == b->old[at])
        b->changed[part] &= ~((uint32_t)1 << row);
    else
        b->changed[part] |= (uint32_t)1 << row;
}

static uint64_t fill_holes(balance *b) {
    uint64_t filled = 0;
    for (size_t step = 0; step < (size_t)1 << b->power; step++) {
        size_t part = part_at(b, step);
        int opened = 0;
        for (size_t row = 0; row < b->rows; row++) {
            if (*cell_at(b, row, part) != RL_PARTS_HOLE) continue;
            if (!opened) open_part(b, part);
            opened = 1;
            put_in(b, row, part, roomiest(b));
            note_change(b, row, part);
            filled++;
        }
        if (opened) close_part(b, part);
    }
    return filled;
}

/* By how much a leaf has more than its share of a row, times the cells of the table. */
RL_INLINE int64_t in_row_excess(balance *b, size_t row, uint32_t leaf) {
    return (int64_t)(*row_count(b, row, leaf) * b->total) -
           (int64_t)(b->tree->wanted[leaf] * b->row_total[row]);
}

/* Partitions with more replicas under a tier than its limit give one up. */
static void spread(balance *b) {
    for (size_t step = 0; step < (size_t)1 << b->power; step++) {
        size_t part = part_at(b, step);
        if (!b->ready[part] || b->changed[part]) continue;
        open_part(b, part);
        size_t best = b->rows;
        int most = 0;
        int64_t fullest = 0;
        for (size_t row = 0; row < b->rows; row++) {
            uint32_t leaf = *cell_at(b, row, part);
            if (!is_leaf(leaf)) continue;
            const uint32_t *path = path_of(b->tree, leaf);
            int helps = 0;
            for (int level = 0; level < RL_PARTS_LEVELS; level++) {
                uint32_t tally = b->tally[path[level]];
                if (tally > b->tree->limit[path[level]])
                    helps += 16;
                else if (tally <= least_of(b, path[level]))
                    helps -= 2;
            }
            if (helps > 0 && spare_of(b, leaf) > 0) helps++;
            if (helps < most || helps <= 0) continue;
            int64_t full = in_row_excess(b, row, leaf);
            if (helps > most || full > fullest) {
                most = helps;
                fullest = full;
                best = row;
            }
        }
        if (most) {
            take_out(b, best, part);
            put_in(b, best, part, roomiest(b));
            note_change(b, best, part);
        }
        close_part(b, part);
    }
}

enum { EVEN_ROWS, ANY_ROW, ANY_LEAF, ANY_TIER };

/* Whether a cell of this row, taken out of one leaf, makes both more even in the row if it goes to
 * the other. */
static int evens_row(balance *b, size_t row, uint32_t from, uint32_t to) {
    return in_row_excess(b, row, from) > -(int64_t)b->total && in_row_excess(b, row, to) < 0;
}

/* Where the replica just taken out of `from` may go, so that neither leaf has too many then; NONE
 * if there is no such place. */
static uint32_t better_place(balance *b, size_t row, uint32_t from, int how) {
    uint32_t bound = how == ANY_TIER ? 0 : bound_to(b, from), to;
    if (how == EVEN_ROWS || how == ANY_ROW) {
        to = roomiest(b);
        if (spare_of(b, to) >= 0 || !is_below(b, to, bound)) return NONE;
        return how == ANY_ROW || evens_row(b, row, from, to) ? to : NONE;
    }
    to = lacking(b, bound);
    /* Below the bound everything was looked at but the way down to it. */
    return to != NONE && (bound == 0 || is_legal(b, to)) ? to : NONE;
}

/* From leaves with more than they want to leaves with less, one cell of a partition. */
static void move_surplus(balance *b, int how) {
    for (size_t step = 0; step < (size_t)1 << b->power && b->surplus; step++) {
        size_t part = part_at(b, step);
        uint32_t tried = 0;
        int opened = 0;
        for (;;) {
            size_t best = b->rows;
            int64_t fullest = 0;
            for (size_t row = 0; row < b->rows; row++) {
                uint32_t leaf = *cell_at(b, row, part);
                if (!is_leaf(leaf) || (tried >> row & 1) || spare_of(b, leaf) <= fullest) continue;
                if (!may_move(b, row, part)) continue;
                fullest = spare_of(b, leaf);
                best = row;
            }
            if (best == b->rows) break;
            if (!opened) open_part(b, part);
            opened = 1;
            tried |= (uint32_t)1 << best;
            uint32_t from = *cell_at(b, best, part);
            take_out(b, best, part);
            uint32_t to = better_place(b, best, from, how);
            if (to != NONE && to != from) {
                put_in(b, best, part, to);
                note_change(b, best, part);
                break;
            }
            put_in(b, best, part, from);
        }
        if (opened) close_part(b, part);
    }
}

/* --- chains: what one leaf has too many of reaches one that lacks through others -------------- */

static void list_held(balance *b) {
    size_t leaves = b->tree->tier_count - b->tree->leaf_first;
    size_t cells = (size_t)b->rows << b->power;
    memset(b->starts, 0, (leaves + 1) * sizeof(uint32_t));
    for (size_t at = 0; at < cells; at++)
        if (is_leaf(b->cells[at])) b->starts[b->cells[at] - b->tree->leaf_first]++;
    uint32_t end = 0;
    for (size_t i = 0; i <= leaves; i++) {
        end += b->starts[i];
        b->starts[i] = end;
    }
    /* Partition by partition, so that no row is looked at before the others. */
    for (size_t step = (size_t)1 << b->power; step-- > 0;) {
        size_t part = part_at(b, step);
        for (size_t row = b->rows; row-- > 0;) {
            uint32_t cell = *cell_at(b, row, part);
            if (is_leaf(cell))
                b->held[--b->starts[cell - b->tree->leaf_first]] =
                    (uint32_t)((row << b->power) | part);
        }
    }
}

typedef struct search {
    size_t head, tail;
    size_t ends; /* leaves reached that lack cells */
    uint32_t from;
    uint64_t by;
} search;

RL_INLINE void reach(balance *b, search *s, uint32_t leaf) {
    const uint32_t *path = path_of(b->tree, leaf);
    for (int level = 0; level < RL_PARTS_LEVELS; level++) b->fresh[path[level]]--;
    b->fresh[0]--;
    size_t i = leaf - b->tree->leaf_first;
    b->from[i] = s->from;
    b->by[i] = s->by;
    b->queue[s->tail++] = leaf;
    s->ends += spare_of(b, leaf) < 0;
}

/* Every legal leaf below `tier`, itself legal, that no chain has reached yet. */
static void reach_legal(balance *b, search *s, uint32_t tier) {
    for (uint32_t child = b->tree->first_child[tier]; child < b->tree->first_child[tier + 1];
         child++) {
        if (b->fresh[child] == 0 || b->tally[child] >= b->tree->limit[child]) continue;
        if (child >= b->tree->leaf_first)
            reach(b, s, child);
        else
            reach_legal(b, s, child);
    }
}

/* Whether `tier` and all above it, but the root, have room for one more of the partition. */
static int is_open(const balance *b, uint32_t tier) {
    if (tier == 0) return 1;
    uint32_t leaf = tier;
    while (leaf < b->tree->leaf_first) leaf = b->tree->first_child[leaf];
    const uint32_t *path = path_of(b->tree, leaf);
    for (int level = 0; level < RL_PARTS_LEVELS; level++) {
        if (b->tally[path[level]] >= b->tree->limit[path[level]]) return 0;
        if (path[level] == tier) break;
    }
    return 1;
}

/* The only other cell of the partition that has changed, if it could go back to its old leaf and
 * leave the move to this one; rows if not. */
static size_t undoable(const balance *b, size_t row, size_t part) {
    uint32_t changed = b->changed[part];
    if (!b->ready[part] || changed == 0 || (changed & (changed - 1)) || (changed >> row & 1))
        return b->rows;
    size_t other = 0;
    while (!(changed >> other & 1)) other++;
    return is_leaf(b->old[(other << b->power) | part]) ? other : b->rows;
}

/* One step of a chain: a cell leaves `from`, and `to` has one more.  0 if that is not legal (any
 * more); done only if asked to. */
static int step_chain(balance *b, uint32_t from, uint32_t to, uint64_t by, int act) {
    size_t at = (size_t)(by & ~BY_UNDOING), part = at & (((size_t)1 << b->power) - 1);
    size_t row = at >> b->power, other = b->rows;
    if (b->cells[at] != from) return 0;
    if (by & BY_UNDOING) {
        other = undoable(b, row, part);
        if (other == b->rows || b->old[(other << b->power) | part] != to) return 0;
    } else if (!may_move(b, row, part)) {
        return 0;
    }
    open_part(b, part);
    tally_leaf(b, from, -1);
    int legal = is_legal(b, to) && is_below(b, to, b->any_tier ? 0 : bound_to(b, from));
    tally_leaf(b, from, 1);
    if (legal && act) {
        take_out(b, row, part);
        uint32_t goes = to;
        if (other != b->rows) {
            goes = *cell_at(b, other, part);
            take_out(b, other, part);
            put_in(b, other, part, to);
            note_change(b, other, part);
        }
        put_in(b, row, part, goes);
        note_change(b, row, part);
    }
    close_part(b, part);
    return legal;
}

/* Follow the chain that ends at `to` from its end to its source, all of it or nothing. */
static int follow_chain(balance *b, uint32_t to) {
    size_t first = b->tree->leaf_first, mask = ((size_t)1 << b->power) - 1;
    uint32_t at = to;
    for (; b->from[at - first] != NONE; at = b->from[at - first]) {
        uint64_t by = b->by[at - first];
        if (!step_chain(b, b->from[at - first], at, by, 0)) return 0;
        /* Steps in one partition would change each other. */
        for (uint32_t later = to; later != at; later = b->from[later - first])
            if (((b->by[later - first] ^ by) & mask) == 0) return 0;
    }
    if (spare_of(b, at) <= 0) return 0;
    for (at = to; b->from[at - first] != NONE; at = b->from[at - first])
        step_chain(b, b->from[at - first], at, b->by[at - first], 1);
    return 1;
}

/* Look for chains from all leaves with a surplus at once, breadth first, and follow those found.
 * Returns how many. */
static uint64_t follow_chains(balance *b, uint64_t *checked, uint64_t checked_max) {
    const rl_parts_tree *tree = b->tree;
    size_t leaves = tree->tier_count - tree->leaf_first;
    search s = {0, 0, 0, NONE, 0};
    memset(b->fresh, 0, tree->tier_count * sizeof(uint32_t));
    for (size_t i = 0; i < leaves; i++) {
        uint32_t leaf = (uint32_t)(tree->leaf_first + i);
        const uint32_t *path = path_of(tree, leaf);
        for (int level = 0; level < RL_PARTS_LEVELS; level++) b->fresh[path[level]]++;
    }
    b->fresh[0] = (uint32_t)leaves;
    for (size_t i = 0; i < leaves; i++)
        if (spare_of(b, (uint32_t)(tree->leaf_first + i)) > 0)
            reach(b, &s, (uint32_t)(tree->leaf_first + i));
    while (s.head < s.tail && b->fresh[0] && !s.ends && *checked < checked_max) {
        s.from = b->queue[s.head++];
        size_t i = s.from - tree->leaf_first;
        if (spare_of(b, s.from) < 0) continue; /* here a chain ends */
        for (uint32_t k = b->starts[i]; k < b->starts[i + 1] && b->fresh[0]; k++) {
            uint32_t at = b->held[k];
            size_t part = at & (((size_t)1 << b->power) - 1), row = at >> b->power;
            ++*checked;
            if (b->cells[at] != s.from) continue;
            if (may_move(b, row, part)) {
                s.by = at;
                open_part(b, part);
                tally_leaf(b, s.from, -1);
                uint32_t bound = b->any_tier ? 0 : bound_to(b, s.from);
                if (bound < b->tree->leaf_first && is_open(b, bound)) reach_legal(b, &s, bound);
                tally_leaf(b, s.from, 1);
                close_part(b, part);
                continue;
            }
            size_t other = undoable(b, row, part);
            if (other == b->rows) continue;
            uint32_t to = b->old[(other << b->power) | part];
            if (b->fresh[to] == 0) continue;
            s.by = at | BY_UNDOING;
            open_part(b, part);
            tally_leaf(b, s.from, -1);
            if (is_legal(b, to) && is_below(b, to, b->any_tier ? 0 : bound_to(b, s.from)))
                reach(b, &s, to);
            tally_leaf(b, s.from, 1);
            close_part(b, part);
        }
    }
    uint64_t followed = 0;
    for (size_t end = 0; end < s.tail && b->surplus; end++)
        if (spare_of(b, b->queue[end]) < 0) followed += (uint64_t)follow_chain(b, b->queue[end]);
    return followed;
}

static void *room(size_t count, size_t size) { return calloc(count ? count : 1, size); }

/* Chains until there is nothing to move, none is found, or it takes too long; -1 without memory. */
static int chain(balance *b, uint64_t *checked) {
    uint64_t cells = (uint64_t)b->rows << b->power;
    uint64_t checked_max = *checked + RL_PARTS_CHECKS * cells, before;
    if (b->held == NULL) b->held = room((size_t)cells, sizeof(uint32_t));
    if (b->held == NULL) return -1;
    do {
        before = b->surplus;
        list_held(b);
        while (b->surplus && *checked < checked_max && follow_chains(b, checked, checked_max)) continue;
    } while (b->surplus && b->surplus < before && *checked < checked_max);
    return 0;
}

int rl_parts_rebalance(const rl_parts_tree *tree, uint32_t power, uint32_t rows, uint64_t seed,
                       const uint32_t *old, const uint8_t *ready, uint32_t *cells,
                       uint32_t *changed, rl_parts_work *work) {
    assert(power <= RL_PARTS_POWER_MAX && rows <= RL_PARTS_ROWS_MAX);
    size_t leaves = tree->tier_count - tree->leaf_first, tiers = tree->tier_count;
    size_t parts = (size_t)1 << power;
    balance state = {0}, *b = &state;
    b->tree = tree;
    b->power = power;
    b->rows = rows;
    b->cells = cells;
    b->old = old;
    b->ready = ready;
    b->changed = changed;
    b->first = (size_t)draw(&seed);
    b->stride = (size_t)draw(&seed) | 1;
    b->count = room(tiers, sizeof(uint32_t));
    b->lack = room(tiers, sizeof(uint32_t));
    b->tally = room(tiers, sizeof(uint32_t));
    b->fresh = room(tiers, sizeof(uint32_t));
    b->in_row = room(rows * leaves, sizeof(uint32_t));
    b->row_total = room(rows, sizeof(uint64_t));
    b->queue = room(leaves, sizeof(uint32_t));
    b->from = room(leaves, sizeof(uint32_t));
    b->by = room(leaves, sizeof(uint64_t));
    b->starts = room(leaves + 1, sizeof(uint32_t));
    int done = -1;
    work->filled = work->checked = work->surplus = 0;
    if (b->count == NULL || b->lack == NULL || b->tally == NULL || b->fresh == NULL ||
        b->in_row == NULL || b->row_total == NULL || b->queue == NULL || b->from == NULL ||
        b->by == NULL || b->starts == NULL)
        goto out;

    uint64_t holes = 0;
    for (size_t row = 0; row < rows; row++) {
        for (size_t part = 0; part < parts; part++) {
            uint32_t cell = *cell_at(b, row, part);
            holes += cell == RL_PARTS_HOLE;
            b->row_total[row] += cell != RL_PARTS_ABSENT;
            if (is_leaf(cell)) ++*row_count(b, row, cell);
        }
        b->total += b->row_total[row];
        for (size_t i = 0; i < leaves; i++)
            b->count[tree->leaf_first + i] += b->in_row[row * leaves + i];
    }
    for (size_t i = 0; i < leaves; i++) {
        uint32_t leaf = (uint32_t)(tree->leaf_first + i), count = b->count[leaf];
        uint32_t wanted = tree->wanted[leaf], lack = count < wanted ? wanted - count : 0;
        const uint32_t *path = path_of(tree, leaf);
        for (int level = 0; level < RL_PARTS_LEVELS - 1; level++) {
            b->count[path[level]] += count;
            b->lack[path[level]] += lack;
        }
        b->lack[leaf] = lack;
        b->count[0] += count;
        b->lack[0] += lack;
        b->surplus += count > wanted ? count - wanted : 0;
    }

    if (holes) work->filled = fill_holes(b);
    spread(b);
    move_surplus(b, EVEN_ROWS);
    move_surplus(b, ANY_ROW);
    move_surplus(b, ANY_LEAF);
    if (b->surplus && chain(b, &work->checked) != 0) goto out;
    if (b->surplus) {
        move_surplus(b, ANY_TIER);
        b->any_tier = 1;
        if (b->surplus && chain(b, &work->checked) != 0) goto out;
    }
    work->surplus = b->surplus;
    done = 0;
out:
    free(b->count);
    free(b->lack);
    free(b->tally);
    free(b->fresh);
    free(b->in_row);
    free(b->row_total);
    free(b->queue);
    free(b->from);
    free(b->by);
    free(b->starts);
    free(b->held);
    return done;
}

/* --- what there is ---------------------------------------------------------------------------- */

uint64_t rl_parts_at_risk(const rl_parts_tree *tree, uint32_t power, uint32_t rows,
                          const uint32_t *cells, const uint32_t *allowed, uint32_t *tally) {
    uint64_t risk = 0;
    for (size_t part = 0; part < (size_t)1 << power; part++) {
        uint32_t above[RL_PARTS_LEVELS] = {0, 0, 0, 0}, most = 0;
        for (size_t row = 0; row < rows; row++) {
            uint32_t cell = cells[(row << power) | part];
            if (!is_leaf(cell)) continue;
            const uint32_t *path = path_of(tree, cell);
            for (int level = 0; level < RL_PARTS_LEVELS; level++)
                above[level] += ++tally[path[level]] > allowed[path[level]];
        }
        for (size_t row = 0; row < rows; row++) {
            uint32_t cell = cells[(row << power) | part];
            if (!is_leaf(cell)) continue;
            const uint32_t *path = path_of(tree, cell);
            for (int level = 0; level < RL_PARTS_LEVELS; level++) tally[path[level]] = 0;
        }
        for (int level = 0; level < RL_PARTS_LEVELS; level++)
            if (above[level] > most) most = above[level];
        risk += most;
    }
    return risk;
}
