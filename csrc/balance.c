#include "balance.h"

#include <assert.h>
#include <stdlib.h>

#define MASK (RL_BALANCE_CIRCLE - 1)
#define NONE RL_BALANCE_NONE

typedef rl_balance_point point;
typedef rl_balance_node node;

typedef struct rl_balance_range {
    uint64_t size, token;
    uint32_t point;
} range;

/* A boundary where the node is to get a range, cut from the ranges before and after it. */
typedef struct site {
    uint32_t before, after;
    uint32_t last; /* of the node's own points between the two; NONE if it has none there */
    int cuts[2];
    uint64_t taken[2];
} site;

/* One end of a site, by the node that gives. */
typedef struct use {
    uint32_t owner;
    uint32_t site;
    uint32_t end;
    uint64_t most;
} use;

typedef struct donor {
    uint64_t level;
    uint32_t owner;
    uint32_t first, count; /* of its uses */
    uint64_t room, give;
} donor;

/* --- arithmetic ----------------------------------------------------------------------------- */

/* floor(a * b / c), or UINT64_MAX if it is larger. */
static uint64_t mul_div(uint64_t a, uint64_t b, uint64_t c) {
#if defined(__SIZEOF_INT128__)
    __extension__ typedef unsigned __int128 u128;
    u128 product = (u128)a * b;
    if ((uint64_t)(product >> 64) == 0) return (uint64_t)product / c;
    if ((uint64_t)(product >> 64) >= c) return UINT64_MAX;
#if RL_X86_64 && defined(__GNUC__)
    uint64_t quotient, rest; /* it fits: one instruction instead of the compiler's function */
    __asm__("divq %4"
            : "=a"(quotient), "=d"(rest)
            : "0"((uint64_t)product), "1"((uint64_t)(product >> 64)), "r"(c)
            : "cc");
    (void)rest;
    return quotient;
#else
    return (uint64_t)(product / c);
#endif
#else
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t low = a0 * b0, mid1 = a1 * b0, mid2 = a0 * b1, high = a1 * b1;
    uint64_t cross = (low >> 32) + (uint32_t)mid1 + mid2;
    high += (mid1 >> 32) + (cross >> 32);
    low = (cross << 32) | (uint32_t)low;
    if (high >= c) return UINT64_MAX;
    for (int bit = 0; bit < 64; bit++) {
        uint64_t carry = high >> 63;
        high = (high << 1) | (low >> 63);
        low <<= 1;
        if (carry || high >= c) {
            high -= c;
            low |= 1;
        }
    }
    return low;
#endif
}

static uint64_t level_of(uint64_t load, uint64_t due) {
    return mul_div(load, (uint64_t)1 << 32, due);
}

static uint64_t min_of(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* a - b, or 0 where that is negative. */
static uint64_t less(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

static uint64_t distance(uint64_t from, uint64_t to) {
    uint64_t size = (to - from) & MASK;
    return size ? size : RL_BALANCE_CIRCLE;
}

/* --- points --------------------------------------------------------------------------------- */

static uint64_t size_of(const rl_balance *balance, uint32_t at) {
    const point *points = balance->points;
    return distance(points[points[at].prev].token, points[at].token);
}

static int grow_room(void **data, size_t cell, size_t room) {
    void *moved = realloc(*data, cell * (room ? room : 1));
    if (moved == NULL) return -1;
    *data = moved;
    return 0;
}

static int reserve_points(rl_balance *balance, uint64_t room) {
    if (room <= balance->point_room) return 0;
    if (room >= NONE) return -1;
    if (grow_room((void **)&balance->points, sizeof(point), (size_t)room) != 0) return -1;
    balance->point_room = (uint32_t)room;
    return 0;
}

/* A point behind `after`, or the first of all; NONE without memory. */
static uint32_t insert(rl_balance *balance, uint32_t after, uint64_t token, uint32_t owner) {
    node *own = balance->nodes + owner;
    uint32_t at = balance->spare;
    if (own->have == own->room) {
        size_t room = own->room + own->room / 2 + (own->count ? own->count : 8);
        if (grow_room((void **)&own->points, sizeof *own->points, room) != 0) return NONE;
        own->room = (uint32_t)room;
    }
    if (at != NONE) {
        balance->spare = balance->points[at].next;
    } else {
        uint64_t room = balance->point_room;
        if (balance->point_end == room && reserve_points(balance, room + room / 2 + 64) != 0)
            return NONE;
        at = balance->point_end++;
    }
    point *new = balance->points + at;
    new->token = token & MASK;
    new->owner = owner;
    new->used = 0;
    if (after == NONE) {
        new->prev = new->next = at;
    } else {
        new->prev = after;
        new->next = balance->points[after].next;
        balance->points[new->next].prev = at;
        balance->points[after].next = at;
    }
    new->slot = own->have;
    own->points[own->have++] = at;
    balance->point_count++;
    return at;
}

static void drop(rl_balance *balance, uint32_t at) {
    point *points = balance->points, *old = points + at;
    node *own = balance->nodes + old->owner;
    uint32_t last = own->points[--own->have];
    own->points[old->slot] = last;
    points[last].slot = old->slot;
    balance->point_count--;
    points[old->prev].next = old->next;
    points[old->next].prev = old->prev;
    old->next = balance->spare;
    balance->spare = at;
}

/* --- making and reading --------------------------------------------------------------------- */

int rl_balance_init(rl_balance *balance, size_t node_count, uint64_t points_max) {
    memset(balance, 0, sizeof *balance);
    balance->spare = NONE;
    balance->points_max = points_max;
    balance->nodes = (node *)calloc(node_count ? node_count : 1, sizeof *balance->nodes);
    if (balance->nodes == NULL) return -1;
    balance->node_count = node_count;
    return 0;
}

void rl_balance_free(rl_balance *balance) {
    for (size_t i = 0; i < balance->node_count; i++) free(balance->nodes[i].points);
    free(balance->nodes);
    free(balance->points);
    free(balance->ranges);
    memset(balance, 0, sizeof *balance);
    balance->spare = NONE;
}

int rl_balance_load(rl_balance *balance, const uint64_t *tokens, const uint32_t *owners,
                    size_t count) {
    uint32_t last = NONE;
    if (reserve_points(balance, (uint64_t)count + count / 64 + 64) != 0) return -1;
    for (size_t i = 0; i < count; i++) balance->nodes[owners[i]].room++;
    for (size_t i = 0; i < balance->node_count; i++) {
        node *own = balance->nodes + i;
        if (grow_room((void **)&own->points, sizeof *own->points, own->room) != 0) return -1;
    }
    for (size_t i = 0; i < count; i++) {
        assert(i == 0 || tokens[i - 1] < tokens[i]);
        last = insert(balance, last, tokens[i], owners[i]);
        if (last == NONE) return -1;
    }
    for (size_t i = 0; i < count; i++)
        balance->nodes[owners[i]].load += size_of(balance, (uint32_t)i);
    return 0;
}

void rl_balance_ask(rl_balance *balance, uint32_t at, uint64_t weight, uint32_t count) {
    assert((weight == 0) == (count == 0));
    balance->nodes[at].weight = weight;
    balance->nodes[at].count = count;
}

static int by_number(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

void rl_balance_store(rl_balance *balance, uint64_t *tokens, uint32_t *haves) {
    for (size_t i = 0; i < balance->node_count; i++) {
        const node *own = balance->nodes + i;
        for (uint32_t j = 0; j < own->have; j++) tokens[j] = balance->points[own->points[j]].token;
        qsort(tokens, own->have, sizeof *tokens, by_number);
        haves[i] = own->have;
        tokens += own->have;
    }
}

/* --- more: which sites ---------------------------------------------------------------------- */

/* Whether range a stands before range b: larger, then of the smaller token. */
static int before(const range *a, const range *b) {
    return a->size != b->size ? a->size > b->size : a->token < b->token;
}

static void sift(range *heap, uint32_t count, uint32_t at) {
    range moved = heap[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= count) break;
        if (child + 1 < count && before(heap + child + 1, heap + child)) child++;
        if (!before(heap + child, &moved)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

/* The largest unused ranges, at least half as large as the largest, in own->window. */
static void fill_window(rl_balance *balance, node *own, range **free_ranges) {
    const point *points = balance->points;
    if (own->chosen != balance->round) {
        own->chosen = balance->round;
        own->window_count = 0;
        own->heap = *free_ranges;
        own->heap_count = own->have;
        *free_ranges += own->have;
        for (uint32_t i = 0; i < own->have; i++) {
            uint32_t at = own->points[i];
            own->heap[i] = (range){size_of(balance, at), points[at].token, at};
        }
        for (uint32_t i = own->heap_count / 2; i-- > 0;) sift(own->heap, own->heap_count, i);
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < own->window_count; i++)
        if (points[own->window[i]].used != balance->round)
            own->window[count++] = own->window[i];
    while (count < RL_BALANCE_WINDOW && own->heap_count > 0) {
        range largest = own->heap[0];
        if (points[largest.point].used != balance->round) {
            if (count > 0 && 2 * largest.size < size_of(balance, own->window[0])) break;
            own->window[count++] = largest.point;
        }
        own->heap[0] = own->heap[--own->heap_count];
        sift(own->heap, own->heap_count, 0);
    }
    own->window_count = count;
}

/* A tournament: tree[1] is the fullest node, the first of equals; NONE loses to all. */
static uint32_t fuller(const rl_balance *balance, uint32_t a, uint32_t b) {
    if (a == NONE || b == NONE) return a == NONE ? b : a;
    uint64_t x = balance->nodes[a].level, y = balance->nodes[b].level;
    return x != y ? (x > y ? a : b) : (a < b ? a : b);
}

static void replay(const rl_balance *balance, uint32_t *tree, size_t leaves, uint32_t at) {
    for (size_t i = (leaves + at) / 2; i > 0; i /= 2)
        tree[i] = fuller(balance, tree[2 * i], tree[2 * i + 1]);
}

static size_t choose(rl_balance *balance, uint32_t changed, uint64_t amount, uint32_t extra,
                     uint32_t *tree, size_t leaves, site *sites) {
    point *points = balance->points;
    node *nodes = balance->nodes;
    const uint64_t piece = amount / extra;
    const uint32_t round = balance->round;
    size_t site_count = 0;
    range *free_ranges = balance->ranges;
    for (size_t i = 0; i < leaves; i++) {
        tree[leaves + i] = NONE;
        if (i >= balance->node_count || nodes[i].have == 0) continue;
        nodes[i].guess = nodes[i].load;
        nodes[i].level = level_of(nodes[i].load, nodes[i].due);
        if (i != changed) tree[leaves + i] = (uint32_t)i;
    }
    for (size_t i = leaves - 1; i > 0; i--)
        tree[i] = fuller(balance, tree[2 * i], tree[2 * i + 1]);
    while (site_count < extra && tree[1] != NONE) {
        const uint32_t giver = tree[1];
        node *own = nodes + giver;
        uint32_t best = NONE;
        int best_end = 0, best_enough = 0;
        uint64_t best_helps = 0, best_size = 0;
        fill_window(balance, own, &free_ranges);
        const uint64_t largest = own->window_count ? size_of(balance, own->window[0]) : 0;
        for (uint32_t i = 0; i < own->window_count; i++) {
            const uint32_t at = own->window[i];
            const uint64_t size = size_of(balance, at);
            if (2 * size < largest) break;
            for (int end = 0; end < 2; end++) { /* 0: at its begin, 1: at its end */
                const uint32_t other = end ? points[at].next : points[at].prev;
                const uint32_t owner = points[other].owner;
                uint64_t helps = 0;
                if (owner == changed) continue;
                if (owner != giver && points[other].used != round &&
                    2 * size_of(balance, other) >= piece)
                    helps = nodes[owner].level;
                const int enough = helps ? 2 * size >= piece : size > piece;
                /* Of equals the first: ranges come by size, then by token. */
                if (best != NONE) {
                    if (enough != best_enough) {
                        if (enough < best_enough) continue;
                    } else if (helps != best_helps) {
                        if (helps < best_helps) continue;
                    } else if (size <= best_size) {
                        continue;
                    }
                }
                best = at;
                best_end = end;
                best_enough = enough;
                best_helps = helps;
                best_size = size;
            }
        }
        if (best == NONE) { /* all its ranges are used, or lie between two of the node's */
            tree[leaves + giver] = NONE;
            replay(balance, tree, leaves, giver);
            continue;
        }
        const uint32_t other = best_end ? points[best].next : points[best].prev;
        site *new = sites + site_count++;
        memset(new, 0, sizeof *new);
        new->before = best_end ? best : other;
        new->after = best_end ? other : best;
        new->last = NONE;
        new->cuts[!best_end] = 1;
        points[best].used = round;
        uint64_t x = min_of(piece, best_size);
        if (best_helps) {
            node *second = nodes + points[other].owner;
            points[other].used = round;
            new->cuts[best_end] = 1;
            uint64_t both = less(own->guess + second->guess, piece);
            x = less(own->guess, mul_div(both, own->due, own->due + second->due));
            x = min_of(x, min_of(piece, best_size));
            second->guess = less(second->guess, min_of(piece - x, size_of(balance, other)));
            second->level = level_of(second->guess, second->due);
        }
        own->guess = less(own->guess, x);
        own->level = level_of(own->guess, own->due);
        replay(balance, tree, leaves, giver);
        if (best_helps) replay(balance, tree, leaves, points[other].owner);
    }
    return site_count;
}

static int by_token(const void *a, const void *b) {
    const range *x = (const range *)a, *y = (const range *)b;
    return x->token < y->token ? -1 : x->token > y->token;
}

/* runs[] = the last point before each run of the node's own, in order; returns how many. */
static size_t find_runs(const rl_balance *balance, uint32_t changed, range *runs) {
    const point *points = balance->points;
    const node *own = balance->nodes + changed;
    size_t count = 0;
    for (uint32_t i = 0; i < own->have; i++) {
        uint32_t prev = points[own->points[i]].prev;
        if (points[prev].owner == changed) continue;
        runs[count++] = (range){0, points[prev].token, prev};
    }
    qsort(runs, count, sizeof *runs, by_token);
    return count;
}

static uint32_t last_of_run(const rl_balance *balance, uint32_t changed, uint32_t before_run) {
    const point *points = balance->points;
    uint32_t at = points[before_run].next;
    while (points[points[at].next].owner == changed) at = points[at].next;
    return at;
}

/* The ranges on both sides of what the node has. */
static size_t beside(rl_balance *balance, uint32_t changed, range *runs, site *sites) {
    point *points = balance->points;
    size_t run_count = find_runs(balance, changed, runs), site_count = 0;
    for (size_t i = 0; i < run_count; i++) {
        site *new = sites + site_count;
        memset(new, 0, sizeof *new);
        new->before = runs[i].point;
        new->last = last_of_run(balance, changed, new->before);
        new->after = points[new->last].next;
        new->cuts[0] = points[new->before].used != balance->round;
        points[new->before].used = balance->round;
        new->cuts[1] = points[new->after].used != balance->round;
        points[new->after].used = balance->round;
        if (new->cuts[0] || new->cuts[1]) site_count++;
    }
    return site_count;
}

/* --- more: how much at each site ------------------------------------------------------------ */

static int by_use(const void *a, const void *b) {
    const use *x = (const use *)a, *y = (const use *)b;
    if (x->owner != y->owner) return x->owner < y->owner ? -1 : 1;
    if (x->most != y->most) return x->most < y->most ? -1 : 1;
    if (x->site != y->site) return x->site < y->site ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static int by_level(const void *a, const void *b) {
    const donor *x = (const donor *)a, *y = (const donor *)b;
    if (x->level != y->level) return x->level > y->level ? -1 : 1;
    return x->owner < y->owner ? -1 : x->owner > y->owner;
}

/* Bring the fullest donors to one level by taking `amount`; returns what could not be taken. */
static uint64_t fill(rl_balance *balance, donor *donors, size_t donor_count, uint64_t amount) {
    node *nodes = balance->nodes;
    uint64_t left = amount;
    for (int turn = 0; turn < RL_BALANCE_FILLS && left > 0; turn++) {
        uint64_t loads = 0, dues = 0;
        size_t chosen = 0;
        for (size_t i = 0; i < donor_count; i++)
            donors[i].level = level_of(nodes[donors[i].owner].load, nodes[donors[i].owner].due);
        qsort(donors, donor_count, sizeof *donors, by_level);
        size_t end = 0;
        for (; end < donor_count; end++) {
            if (donors[end].give == donors[end].room) continue;
            const node *own = nodes + donors[end].owner;
            if (chosen > 0 && loads > left && donors[end].level <= level_of(loads - left, dues))
                break;
            chosen++;
            loads += own->load;
            dues += own->due;
        }
        const uint64_t stays = less(loads, left);
        for (size_t i = 0; i < end; i++) {
            donor *from = donors + i;
            node *own = nodes + from->owner;
            if (from->give == from->room) continue;
            uint64_t give = less(own->load, mul_div(stays, own->due, dues));
            give = min_of(give, min_of(from->room - from->give, left));
            from->give += give;
            own->load -= give;
            left -= give;
        }
    }
    return left;
}

/* Take `amount` at these sites; *taken is what could be.  0, or -1 without memory. */
static int cut(rl_balance *balance, uint32_t changed, uint64_t amount, site *sites,
               size_t site_count, uint64_t *taken) {
    use *uses = (use *)malloc((2 * site_count + 1) * sizeof *uses);
    donor *donors = (donor *)malloc((2 * site_count + 1) * sizeof *donors);
    size_t use_count = 0, donor_count = 0;
    int result = -1;
    if (uses == NULL || donors == NULL) goto done;
    for (size_t i = 0; i < site_count; i++)
        for (uint32_t end = 0; end < 2; end++) {
            if (!sites[i].cuts[end]) continue;
            uint32_t at = end ? sites[i].after : sites[i].before;
            uint64_t size = size_of(balance, at), kept = size / 8 ? size / 8 : 1;
            uses[use_count++] =
                (use){balance->points[at].owner, (uint32_t)i, end, size - kept};
        }
    qsort(uses, use_count, sizeof *uses, by_use);
    for (size_t i = 0; i < use_count; i++) {
        if (i == 0 || uses[i].owner != uses[i - 1].owner)
            donors[donor_count++] = (donor){0, uses[i].owner, (uint32_t)i, 0, 0, 0};
        donors[donor_count - 1].count++;
        donors[donor_count - 1].room += uses[i].most;
    }
    for (size_t i = 0; i < donor_count; i++) {
        const node *own = balance->nodes + donors[i].owner;
        donors[i].room = min_of(donors[i].room, less(own->load, own->due - own->due / 4));
    }
    *taken = amount - fill(balance, donors, donor_count, amount);
    for (size_t i = 0; i < donor_count; i++) {
        uint64_t give = donors[i].give;
        for (uint32_t j = 0; j < donors[i].count; j++) {
            const use *here = uses + donors[i].first + j;
            const uint64_t share = (give + (donors[i].count - j) - 1) / (donors[i].count - j);
            const uint64_t x = min_of(share, here->most);
            sites[here->site].taken[here->end] = x;
            give -= x;
        }
        assert(give == 0);
    }
    balance->nodes[changed].load += *taken;
    for (size_t i = 0; i < site_count; i++) {
        const uint64_t x = sites[i].taken[0], y = sites[i].taken[1];
        if (x + y == 0) continue;
        if (sites[i].last == NONE) {
            uint64_t token = balance->points[sites[i].before].token + y;
            if (insert(balance, sites[i].before, token, changed) == NONE) goto done;
        } else {
            point *last = balance->points + sites[i].last;
            last->token = (last->token + y) & MASK;
        }
        point *first = balance->points + sites[i].before;
        first->token = (first->token - x) & MASK;
    }
    result = 0;
done:
    free(uses);
    free(donors);
    return result;
}

static int grow(rl_balance *balance, uint32_t changed) {
    const node *own = balance->nodes + changed;
    const uint32_t extra = own->count > own->have ? own->count - own->have : 0;
    const uint32_t had = own->have;
    uint64_t left = own->due - own->load, now = 0, taken = 0;
    size_t leaves = 1, new_count = 0, old_count;
    int result = -1;
    while (leaves < balance->node_count) leaves *= 2;
    uint32_t *tree = (uint32_t *)malloc(2 * leaves * sizeof *tree);
    site *sites = (site *)malloc(((size_t)extra + had + 1) * sizeof *sites);
    if (tree == NULL || sites == NULL) goto done;
    if (extra > 0) {
        /* Where it has points already, no more than these new ones are for. */
        now = had == 0 ? left : min_of(left, 2 * mul_div(own->due, extra, own->count));
        new_count = choose(balance, changed, now, extra, tree, leaves, sites);
    }
    /* Before anything is cut: new points are not its ranges yet. */
    old_count = had > 0 ? beside(balance, changed, balance->ranges, sites + new_count) : 0;
    if (new_count > 0) {
        if (cut(balance, changed, now, sites, new_count, &taken) != 0) goto done;
        left -= taken;
    }
    if (left > 0 && old_count > 0 &&
        cut(balance, changed, left, sites + new_count, old_count, &taken) != 0)
        goto done;
    result = 0;
done:
    free(tree);
    free(sites);
    return result;
}

/* --- less ----------------------------------------------------------------------------------- */

typedef struct run {
    uint32_t before, last, after;
    int goes;             /* none of it stays the node's */
    uint64_t begin, size; /* begin is where the point before it stood */
    uint64_t freed;       /* = x + y + the middles */
    uint64_t x, y;        /* what goes to the owners before and after it */
    uint32_t middles;     /* the first of them, linked by next; NONE */
    uint32_t last_middle;
} run;

typedef struct middle {
    uint64_t part;
    uint32_t owner;
    uint32_t next;
} middle;

static int by_size(const void *a, const void *b) {
    const range *x = (const range *)a, *y = (const range *)b;
    if (x->size != y->size) return x->size < y->size ? -1 : 1;
    return x->point < y->point ? -1 : x->point > y->point;
}

static int by_size_down(const void *a, const void *b) {
    const range *x = (const range *)a, *y = (const range *)b;
    if (x->size != y->size) return x->size > y->size ? -1 : 1;
    return x->point < y->point ? -1 : x->point > y->point;
}

/* freed and goes of each run; order[] is room for as many. */
static void free_runs(const node *own, run *runs, size_t run_count, range *order) {
    uint64_t left = own->load - own->due, kept = 0;
    size_t surplus = run_count > own->count ? run_count - own->count : 0;
    for (size_t i = 0; i < run_count; i++) order[i] = (range){runs[i].size, 0, (uint32_t)i};
    qsort(order, run_count, sizeof *order, by_size);
    for (size_t i = 0; i < surplus && order[i].size <= left; i++) {
        runs[order[i].point].goes = 1;
        left -= order[i].size;
    }
    for (size_t i = 0; i < run_count; i++) kept += runs[i].goes ? 0 : runs[i].size;
    for (size_t i = 0; i < run_count; i++)
        runs[i].freed = runs[i].goes
                            ? runs[i].size
                            : min_of(mul_div(left, runs[i].size, kept), runs[i].size - 1);
}

/* Split what is freed between the neighbours until their levels are as equal as they get. */
static void relax(rl_balance *balance, run *runs, size_t run_count) {
    const point *points = balance->points;
    node *nodes = balance->nodes;
    for (size_t i = 0; i < run_count; i++) {
        runs[i].y = runs[i].freed;
        nodes[points[runs[i].after].owner].load += runs[i].y;
    }
    for (int sweep = 0; sweep < RL_BALANCE_SWEEPS; sweep++) {
        uint64_t moved = 0;
        for (size_t i = 0; i < run_count; i++) {
            node *p = nodes + points[runs[i].before].owner;
            node *q = nodes + points[runs[i].after].owner;
            if (p == q) continue;
            uint64_t want = mul_div(p->load + q->load, p->due, p->due + q->due);
            uint64_t x = min_of(less(want, p->load - runs[i].x), runs[i].freed);
            moved += x > runs[i].x ? x - runs[i].x : runs[i].x - x;
            p->load += x - runs[i].x;
            q->load -= x - runs[i].x;
            runs[i].x = x;
            runs[i].y = runs[i].freed - x;
        }
        if (moved <= RL_BALANCE_CIRCLE >> 40) break;
    }
}

static uint64_t over_of(const node *own) {
    uint32_t count = own->count ? own->count : 1;
    return less(own->load, own->due + own->due / (4 * (uint64_t)count));
}

static void over(const rl_balance *balance, const run *here, uint64_t *x, uint64_t *y) {
    const point *points = balance->points;
    const uint32_t p = points[here->before].owner, q = points[here->after].owner;
    *x = p == q ? 0 : min_of(here->x, over_of(balance->nodes + p));
    *y = min_of(here->y, over_of(balance->nodes + q));
}

/* What is too much for a range's neighbours goes to the emptiest nodes, as new points. */
static int hand_out(rl_balance *balance, uint32_t changed, run *runs, size_t run_count,
                    range *order, uint32_t *tree, size_t leaves, middle **middles) {
    const point *points = balance->points;
    node *nodes = balance->nodes;
    uint64_t limit = 0, stays = 0;
    size_t middle_count = 0, middle_room = 0;
    int seeded = 0;
    for (size_t i = 0; i < balance->node_count; i++) limit += nodes[i].count;
    limit = min_of(limit * RL_BALANCE_ROOM, balance->points_max);
    for (size_t i = 0; i < run_count; i++) {
        uint64_t x, y;
        over(balance, runs + i, &x, &y);
        order[i] = (range){x + y, 0, (uint32_t)i};
        stays += !runs[i].goes;
    }
    uint64_t spare = less(limit, balance->point_count - nodes[changed].have + stays);
    qsort(order, run_count, sizeof *order, by_size_down);
    for (size_t i = 0; i < run_count; i++) {
        run *here = runs + order[i].point;
        const uint32_t p = points[here->before].owner, q = points[here->after].owner;
        while (here->goes && spare > 0) {
            uint64_t x, y;
            over(balance, here, &x, &y);
            if (x + y == 0) break;
            if (!seeded) { /* the tournament's fullest is the emptiest: levels upside down */
                for (size_t j = 0; j < leaves; j++) {
                    tree[leaves + j] = NONE;
                    if (j >= balance->node_count || nodes[j].due == 0 || j == changed) continue;
                    nodes[j].level = ~level_of(nodes[j].load, nodes[j].due);
                    tree[leaves + j] = (uint32_t)j;
                }
                for (size_t j = leaves - 1; j > 0; j--)
                    tree[j] = fuller(balance, tree[2 * j], tree[2 * j + 1]);
                seeded = 1;
            }
            const uint32_t emptiest = tree[1];
            node *to = nodes + emptiest;
            const uint64_t count = to->count ? to->count : 1;
            const uint64_t part = min_of(x + y, less(to->due + to->due / (4 * count), to->load));
            if (emptiest == p || emptiest == q || part <= to->due / (8 * count)) break;
            if (middle_count == middle_room) {
                middle_room = 2 * middle_room + 64;
                if (grow_room((void **)middles, sizeof **middles, middle_room) != 0) return -1;
            }
            x = min_of(x, part);
            y = part - x;
            here->x -= x;
            here->y -= y;
            nodes[p].load -= x;
            nodes[q].load -= y;
            to->load += part;
            const uint32_t changes[3] = {p, q, emptiest};
            for (int j = 0; j < 3; j++) {
                node *own = nodes + changes[j];
                own->level = ~level_of(own->load, own->due);
                replay(balance, tree, leaves, changes[j]);
            }
            (*middles)[middle_count] = (middle){part, emptiest, NONE};
            if (here->middles == NONE) {
                here->middles = (uint32_t)middle_count;
            } else {
                (*middles)[here->last_middle].next = (uint32_t)middle_count;
            }
            here->last_middle = (uint32_t)middle_count++;
            spare--;
        }
    }
    return 0;
}

static int apply(rl_balance *balance, uint32_t changed, run *here, const middle *middles) {
    const uint32_t p = balance->points[here->before].owner;
    const uint32_t q = balance->points[here->after].owner;
    uint32_t at = balance->points[here->before].next;
    while (at != here->last) {
        uint32_t next = balance->points[at].next;
        drop(balance, at);
        at = next;
    }
    if (here->goes) {
        drop(balance, at);
    } else {
        balance->points[at].token = (balance->points[at].token - here->y) & MASK;
    }
    balance->nodes[changed].load -= here->freed;
    if (here->x > 0) {
        balance->points[here->before].token = (here->begin + here->x) & MASK;
    } else if (here->goes && p == q && here->middles == NONE &&
               balance->nodes[p].have > balance->nodes[p].count) {
        drop(balance, here->before);
    }
    uint64_t token = here->begin + here->x;
    uint32_t cursor = here->before;
    for (uint32_t i = here->middles; i != NONE; i = middles[i].next) {
        token += middles[i].part;
        cursor = insert(balance, cursor, token, middles[i].owner);
        if (cursor == NONE) return -1;
    }
    return 0;
}

static int shrink(rl_balance *balance, uint32_t changed) {
    const node *own = balance->nodes + changed;
    const size_t had = own->have;
    size_t leaves = 1;
    int result = -1;
    while (leaves < balance->node_count) leaves *= 2;
    run *runs = (run *)calloc(had + 1, sizeof *runs);
    uint32_t *tree = (uint32_t *)malloc(2 * leaves * sizeof *tree);
    middle *middles = NULL;
    if (runs == NULL || tree == NULL) goto done;
    range *order = balance->ranges;
    size_t run_count = find_runs(balance, changed, order);
    for (size_t i = 0; i < run_count; i++) {
        run *here = runs + i;
        here->before = order[i].point;
        here->last = last_of_run(balance, changed, here->before);
        here->after = balance->points[here->last].next;
        here->begin = balance->points[here->before].token;
        here->size = distance(here->begin, balance->points[here->last].token);
        here->middles = NONE;
    }
    free_runs(own, runs, run_count, order);
    relax(balance, runs, run_count);
    if (hand_out(balance, changed, runs, run_count, order, tree, leaves, &middles) != 0) goto done;
    for (size_t i = 0; i < run_count; i++)
        if (apply(balance, changed, runs + i, middles) != 0) goto done;
    result = 0;
done:
    free(runs);
    free(tree);
    free(middles);
    return result;
}

/* --- a change ------------------------------------------------------------------------------- */

static int lay_out(rl_balance *balance, uint32_t changed, uint64_t offset) {
    node *own = balance->nodes + changed;
    uint32_t last = NONE;
    while (own->have > 0) drop(balance, own->points[own->have - 1]);
    own->load = own->count ? RL_BALANCE_CIRCLE : 0;
    for (uint32_t i = 0; i < own->count; i++) {
        uint64_t token = offset + mul_div(i, RL_BALANCE_CIRCLE, own->count);
        last = insert(balance, last, token, changed);
        if (last == NONE) return -1;
    }
    return 0;
}

int rl_balance_change(rl_balance *balance, uint32_t changed, uint64_t offset) {
    node *nodes = balance->nodes, *own = nodes + changed;
    uint64_t total = 0;
    balance->round++;
    for (size_t i = 0; i < balance->node_count; i++) total += nodes[i].weight;
    for (size_t i = 0; i < balance->node_count; i++) {
        nodes[i].due = nodes[i].weight ? mul_div(nodes[i].weight, RL_BALANCE_CIRCLE, total) : 0;
        if (nodes[i].weight && nodes[i].due == 0) nodes[i].due = 1;
    }
    if (own->have == balance->point_count) return lay_out(balance, changed, offset);
    if (balance->range_room < balance->point_count) {
        size_t room = (size_t)balance->point_count + balance->point_count / 2;
        if (grow_room((void **)&balance->ranges, sizeof(range), room) != 0) return -1;
        balance->range_room = room;
    }
    if (own->due > own->load) return grow(balance, changed);
    if (own->due < own->load) return shrink(balance, changed);
    return 0;
}
