/* csrc/ring.c against a model, a sorted list, on hand-made tokens that no hash can be made to give:
 * duplicates, crowds in one bucket, 0 and 2**64-1, tokens that share their first bits with a
 * bucket's split.  Each round draws histories of changes; every ring in them, built, patched or
 * with a recycled direct table, is compared on every instruction level.
 *
 *     cc -std=c11 -g -O1 -UNDEBUG -fsanitize=address,undefined -Icsrc -o /tmp/ring_harness \
 *         tests/c/ring_harness.c csrc/ring.c csrc/hash.c csrc/xxh3.c csrc/simd.c
 *     /tmp/ring_harness [ROUNDS [SEED]]
 *
 * Every buffer has exactly the size that ring.h asks for, so that AddressSanitizer sees the first
 * byte too many.  Round i has the seed SEED + i, and a failure prints how to run it alone. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ring.h"
#include "simd.h"
#include "xxh3_words.h"

static uint64_t round_seed;

#define CHECK(condition, ...)                                                             \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);               \
            fprintf(stderr, __VA_ARGS__);                                                 \
            fprintf(stderr, "\nrun it again: ring_harness 1 %" PRIu64 "\n", round_seed); \
            abort();                                                                      \
        }                                                                                 \
    } while (0)

enum { NODES_MAX = 24, POINTS_MAX = 1200, HASHES_MAX = 12000 };

/* --- chance -------------------------------------------------------------------------------- */

static uint64_t state;

static uint64_t chance(void) { /* splitmix64 */
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static size_t below(size_t bound) { return (size_t)(chance() % bound); }

/* How tokens are drawn: all of a ring's in the same way. */
enum { UNIFORM, FEW_VALUES, ONE_BUCKET, EDGES, SAME_SPLIT, LAST_BUCKETS, STYLES };

static uint64_t draw(int style) {
    static const uint64_t edges[] = {0, 1, 2, UINT64_MAX, UINT64_MAX - 1, UINT64_MAX / 2,
                                     UINT64_MAX / 2 + 1, 0xFFFFFFFF00000000u, 0xFFFFFFFFu};
    switch (style) {
    case FEW_VALUES:
        return (uint64_t)below(17) * 0x0F0F0F0F0F0F0F0Fu;
    case ONE_BUCKET: /* a crowd that shares its top 40 bits */
        return 0xABCDEF0123000000u | (chance() & 0xFFFFFF);
    case EDGES:
        return edges[below(sizeof edges / sizeof *edges)] + (below(4) ? 0 : below(3));
    case SAME_SPLIT: { /* the bits after any bucket's own are all ones, all zeros or equal */
        uint64_t low = below(3) == 0 ? 0 : below(2) ? UINT64_MAX : 0x5555555555555555u;
        uint32_t bits = 6 + (uint32_t)below(20);
        return (chance() << (64 - bits)) | (low >> bits) | (below(3) ? 0 : 1);
    }
    case LAST_BUCKETS:
        return UINT64_MAX - (chance() & (below(2) ? 0xFFFFFFFFFFFFu : 0xFFFFFFFFFFFFFFFu));
    default:
        return chance();
    }
}

/* --- the model: a list of points, and a scan ------------------------------------------------ */

typedef struct point {
    uint64_t token;
    uint32_t rank, id;
} point;

typedef struct node {
    uint32_t rank; /* its place in the order of names */
    uint32_t id;   /* what points hold */
    size_t count;
    uint64_t tokens[POINTS_MAX];
} node;

static int by_token_then_rank(const void *left, const void *right) {
    const point *a = left, *b = right;
    if (a->token != b->token) return a->token < b->token ? -1 : 1;
    return a->rank < b->rank ? -1 : a->rank > b->rank;
}

static int by_value(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

static node nodes[NODES_MAX]; /* in the order of names */
static size_t node_count;
static uint32_t id_bound;
static point points[NODES_MAX * POINTS_MAX];
static size_t point_count;

static void model_sort(void) {
    point_count = 0;
    for (size_t n = 0; n < node_count; n++)
        for (size_t i = 0; i < nodes[n].count; i++)
            points[point_count++] = (point){nodes[n].tokens[i], nodes[n].rank, nodes[n].id};
    qsort(points, point_count, sizeof *points, by_token_then_rank);
}

static size_t model_find(uint64_t hash) {
    size_t lo = 0, hi = point_count;
    while (lo < hi) {
        size_t middle = (lo + hi) / 2;
        if (points[middle].token < hash) {
            lo = middle + 1;
        } else {
            hi = middle;
        }
    }
    return lo;
}

/* --- rings in buffers of exactly the right size ---------------------------------------------- */

static rl_ring ring_alloc(size_t count, uint32_t start_bits, uint32_t direct_bits) {
    rl_ring ring = {.count = count, .start_bits = start_bits, .direct_bits = direct_bits};
    ring.tokens = malloc((count + RL_TOKENS_PAD) * sizeof *ring.tokens);
    ring.owners = malloc((count + RL_OWNERS_PAD) * sizeof *ring.owners);
    ring.starts = malloc((((size_t)1 << start_bits) + 1) * sizeof *ring.starts);
    size_t words = direct_bits ? ((size_t)1 << direct_bits) + RL_DIRECT_PAD : 1;
    ring.direct = direct_bits ? malloc(words * sizeof *ring.direct) : NULL;
    CHECK(ring.tokens && ring.owners && ring.starts && (!direct_bits || ring.direct), "memory");
    memset(ring.tokens, 0xA5, (count + RL_TOKENS_PAD) * sizeof *ring.tokens);
    memset(ring.owners, 0xA5, (count + RL_OWNERS_PAD) * sizeof *ring.owners);
    memset(ring.starts, 0xA5, (((size_t)1 << start_bits) + 1) * sizeof *ring.starts);
    if (direct_bits) memset(ring.direct, 0xA5, words * sizeof *ring.direct);
    return ring;
}

static void ring_free(rl_ring *ring) {
    free(ring->tokens);
    free(ring->owners);
    free(ring->starts);
    free(ring->direct);
    memset(ring, 0, sizeof *ring);
}

/* What rl_ring_build makes of the model; its ids are ranks. */
static rl_ring ring_built(uint32_t start_bits, uint32_t direct_bits) {
    uint64_t *tokens = malloc(point_count * sizeof *tokens);
    uint32_t *counts = malloc(node_count * sizeof *counts);
    CHECK(tokens && counts, "memory");
    size_t at = 0;
    for (size_t n = 0; n < node_count; n++) {
        counts[n] = (uint32_t)nodes[n].count;
        for (size_t i = 0; i < nodes[n].count; i++) tokens[at++] = nodes[n].tokens[i];
    }
    rl_ring ring = ring_alloc(point_count, start_bits, direct_bits);
    rl_ring_build(&ring, tokens, counts);
    free(tokens);
    free(counts);
    return ring;
}

/* --- comparison ----------------------------------------------------------------------------- */

static uint64_t hashes[HASHES_MAX];
static size_t hash_count;

/* Each token and its neighbours, each bucket's borders, and chance. */
static void choose_hashes(const rl_ring *ring) {
    hash_count = 0;
    for (size_t i = 0; i < point_count && hash_count + 8 < HASHES_MAX / 2; i++) {
        uint64_t token = points[i].token;
        hashes[hash_count++] = token;
        hashes[hash_count++] = token - 1;
        hashes[hash_count++] = token + 1;
        if (ring->direct_bits) { /* the same bucket and split, other bits below */
            uint64_t rest = UINT64_MAX >> ring->direct_bits >> 16;
            hashes[hash_count++] = token & ~rest;
            hashes[hash_count++] = token | rest;
            hashes[hash_count++] = (token | (UINT64_MAX >> ring->direct_bits)) + below(2);
        }
    }
    while (hash_count < HASHES_MAX - HASHES_MAX / 4) {
        uint64_t hash = below(2) ? chance() : draw((int)below(STYLES));
        if (ring->direct_bits && below(3) == 0) hash &= ~(UINT64_MAX >> ring->direct_bits);
        hashes[hash_count++] = hash;
    }
    hashes[hash_count++] = 0;
    hashes[hash_count++] = UINT64_MAX;
    for (size_t i = hash_count; i > 1; i--) { /* mixed, so that undecided ones fall anywhere */
        size_t j = below(i);
        uint64_t swap = hashes[i - 1];
        hashes[i - 1] = hashes[j];
        hashes[j] = swap;
    }
}

static uint32_t id_of(size_t place, int ids_are_ranks) {
    const point *p = &points[place % point_count];
    return ids_are_ranks ? p->rank : p->id;
}

static void check_walks(const rl_ring *ring, int ids_are_ranks) {
    size_t live = 0;
    for (size_t n = 0; n < node_count; n++) live += nodes[n].count != 0;
    uint64_t *seen = calloc(id_bound / 64 + 1, sizeof *seen);
    const size_t tried[] = {1, 2, 3, 4, 15, 16, 17, live};
    for (size_t t = 0; t < sizeof tried / sizeof *tried; t++) {
        size_t wanted = tried[t], count = 130;
        if (wanted > live || wanted == 0) continue;
        uint32_t *ids = malloc(count * wanted * sizeof *ids);
        uint32_t *one = malloc(wanted * sizeof *one);
        rl_ring_walks(ring, hashes, count, wanted, ids, wanted > RL_WALK_LINEAR ? seen : NULL);
        for (size_t i = 0; i < count; i++) {
            size_t place = model_find(hashes[i]), found = 0;
            for (size_t step = 0; found < wanted; step++) {
                uint32_t id = id_of(place + step, ids_are_ranks);
                size_t j = 0;
                while (j < found && one[j] != id) j++;
                if (j == found) one[found++] = id;
                CHECK(step <= point_count, "the model found too few nodes");
            }
            CHECK(memcmp(one, ids + i * wanted, wanted * sizeof *one) == 0,
                  "walk of %zu from %016" PRIx64, wanted, hashes[i]);
            rl_ring_walk(ring, hashes[i], wanted, ids + i * wanted,
                         wanted > RL_WALK_LINEAR ? seen : NULL);
            CHECK(memcmp(one, ids + i * wanted, wanted * sizeof *one) == 0, "one walk");
        }
        for (size_t i = 0; i < id_bound / 64 + 1; i++) CHECK(seen[i] == 0, "seen is left dirty");
        free(ids);
        free(one);
    }
    free(seen);
}

static void check_arcs(const rl_ring *ring, int ids_are_ranks) {
    uint64_t *low = calloc(id_bound, 8), *high = calloc(id_bound, 8);
    uint64_t *want_low = calloc(id_bound, 8), *want_high = calloc(id_bound, 8);
    rl_ring_arcs(ring, low, high);
    uint64_t total = 0, wraps = 0;
    for (size_t i = 0; i < point_count; i++) {
        uint64_t before = points[i ? i - 1 : point_count - 1].token;
        uint64_t arc = points[i].token - before;
        uint32_t id = id_of(i, ids_are_ranks);
        if (i == 0 && arc == 0) want_high[id]++;
        want_low[id] += arc;
        want_high[id] += want_low[id] < arc;
    }
    for (uint32_t id = 0; id < id_bound; id++) {
        CHECK(low[id] == want_low[id] && high[id] == want_high[id], "arc of id %u", id);
        total += low[id];
        wraps += high[id] + (total < low[id]);
    }
    CHECK(total == 0 && wraps == 1, "the arcs do not sum to 2**64");
    free(low), free(high), free(want_low), free(want_high);
}

/* The word whose XXH3 is `hash`: each step can be undone. */
static uint64_t word_of(rl_xxh3_word_keys keys, uint64_t hash) {
    uint64_t inverse = RL_XXH3_WORD_MULTIPLIER; /* Newton: doubles the bits that are right */
    for (int i = 0; i < 6; i++) inverse *= 2 - RL_XXH3_WORD_MULTIPLIER * inverse;
    uint64_t x = hash ^ (hash >> 28) ^ (hash >> 56);
    x *= inverse;
    x ^= (x >> 35) + 8;
    x *= inverse;
    /* Of p, the sum of three rotations, p^64 = 1: squaring a sum of rotations squares its terms,
     * as all others come twice.  So p's inverse is p^63. */
    for (int i = 0; i < 63; i++) x = rl_rotl64(x, 32) ^ rl_rotl64(x, 17) ^ rl_rotl64(x, 56);
    return x ^ keys.flip;
}

static void check_ring(const rl_ring *ring, int ids_are_ranks) {
    CHECK(ring->count == point_count, "%zu points, not %zu", ring->count, point_count);
    for (size_t i = 0; i < point_count; i++) {
        CHECK(ring->tokens[i] == points[i].token, "token %zu", i);
        CHECK(ring->owners[i] == id_of(i, ids_are_ranks), "owner %zu", i);
    }
    for (size_t i = 0; i < RL_TOKENS_PAD; i++)
        CHECK(ring->tokens[point_count + i] == UINT64_MAX, "tokens' pad %zu", i);
    for (size_t i = 0; i < RL_OWNERS_PAD; i++)
        CHECK(ring->owners[point_count + i] == id_of(i, ids_are_ranks), "owners' pad %zu", i);
    size_t at = 0;
    for (size_t b = 0; b <= (size_t)1 << ring->start_bits; b++) {
        while (at < point_count && points[at].token >> (64 - ring->start_bits) < b) at++;
        CHECK(ring->starts[b] == at, "starts[%zu]", b);
    }

    choose_hashes(ring);
    static uint32_t want[HASHES_MAX], got[HASHES_MAX];
    for (size_t i = 0; i < hash_count; i++) {
        size_t place = model_find(hashes[i]);
        want[i] = id_of(place, ids_are_ranks);
        CHECK(rl_ring_find(ring, hashes[i]) == place, "find %016" PRIx64, hashes[i]);
    }
    uint64_t seed = chance();
    rl_hasher hasher;
    rl_hasher_init(&hasher, RL_HASH_XXH3, seed, 0);
    rl_xxh3_word_keys keys = rl_xxh3_word_keys_init(seed);
    static uint64_t words[HASHES_MAX];
    for (size_t i = 0; i < hash_count; i++) {
        words[i] = word_of(keys, hashes[i]);
        CHECK(rl_xxh3_word(keys, words[i]) == hashes[i], "word_of %016" PRIx64, hashes[i]);
    }
    for (int level = RL_SIMD_SCALAR; level <= rl_simd_supported(); level++) {
        rl_simd_force(level);
        for (size_t i = 0; i < hash_count; i++)
            CHECK(rl_ring_owner(ring, hashes[i]) == want[i], "owner of %016" PRIx64, hashes[i]);
        /* Any part of them, in heap memory of exactly its size. */
        size_t from = below(hash_count), count = below(8) ? hash_count - from : below(40);
        if (count > hash_count - from) count = hash_count - from;
        uint64_t *copy = malloc(count * sizeof *copy);
        uint32_t *out = malloc(count * sizeof *out);
        CHECK(copy && out, "memory");
        memcpy(copy, hashes + from, count * sizeof *copy);
        rl_ring_owners(ring, copy, count, out);
        for (size_t i = 0; i < count; i++)
            CHECK(out[i] == want[from + i], "level %d: owner of %016" PRIx64 ": %u, not %u", level,
                  copy[i], out[i], want[from + i]);
        memcpy(copy, words + from, count * sizeof *copy);
        memset(out, 0xEE, count * sizeof *out);
        rl_ring_word_owners(ring, &hasher, copy, count, out);
        for (size_t i = 0; i < count; i++)
            CHECK(out[i] == want[from + i], "level %d: owner of word %016" PRIx64, level, copy[i]);
        free(copy);
        free(out);
        rl_ring_owners(ring, hashes, hash_count, got);
        CHECK(memcmp(got, want, hash_count * sizeof *got) == 0, "level %d", level);
    }
    check_walks(ring, ids_are_ranks);
    check_arcs(ring, ids_are_ranks);
}

/* A patched direct table is that of a fresh ring, whose ids are ranks. */
static void check_direct(const rl_ring *ring, const rl_ring *fresh, const uint32_t *ranks) {
    for (size_t b = 0; b <= (size_t)1 << ring->direct_bits; b++) {
        CHECK((uint16_t)ring->direct[b] == (uint16_t)fresh->direct[b], "split of bucket %zu", b);
        CHECK(ranks[ring->direct[b] >> 16] == fresh->direct[b] >> 16, "owner of bucket %zu", b);
    }
}

/* --- changes -------------------------------------------------------------------------------- */

static void ranks_of(uint32_t *ranks) {
    for (uint32_t id = 0; id < id_bound; id++) ranks[id] = UINT32_MAX;
    for (size_t n = 0; n < node_count; n++) {
        nodes[n].rank = (uint32_t)n;
        ranks[nodes[n].id] = (uint32_t)n;
    }
}

static uint32_t free_id(void) {
    for (uint32_t id = 0; id < id_bound; id++) {
        size_t n = 0;
        while (n < node_count && nodes[n].id != id) n++;
        if (n == node_count) return id;
    }
    return id_bound++;
}

static void draw_tokens(node *one, size_t count, int style) {
    for (size_t i = 0; i < count; i++) {
        if (below(5) == 0 && point_count > 0) { /* collide with anyone */
            one->tokens[one->count++] = points[below(point_count)].token;
        } else {
            one->tokens[one->count++] = draw(style);
        }
    }
}

static size_t draw_count(void) {
    switch (below(4)) {
    case 0: return 1;
    case 1: return 1 + below(5);
    case 2: return 40;
    default: return 1 + below(200);
    }
}

static void one_history(int style, uint32_t start_bits, uint32_t direct_bits, int steps) {
    uint32_t ranks[NODES_MAX + 1];
    node_count = 1 + below(below(3) ? 5 : NODES_MAX - 2); /* over RL_WALK_LINEAR at times */
    id_bound = 0;
    point_count = 0;
    for (size_t n = 0; n < node_count; n++) {
        nodes[n].id = nodes[n].rank = (uint32_t)n;
        nodes[n].count = 0;
        draw_tokens(&nodes[n], n ? (below(6) ? draw_count() : 0) : draw_count(), style);
        id_bound++;
        model_sort();
    }
    ranks_of(ranks);
    rl_ring now = ring_built(start_bits, direct_bits);
    check_ring(&now, 1);
    rl_ring spare = {0};
    static uint64_t changes[POINTS_MAX], before[POINTS_MAX];
    size_t change_count, before_count = 0;

    for (int step = 0; step < steps; step++) {
        rl_ring next;
        uint32_t id;
        int insert;
        size_t at = below(node_count);
        change_count = 0;
        if (below(3) == 0 && node_count < NODES_MAX) { /* a node comes */
            at = below(node_count + 1);
            memmove(nodes + at + 1, nodes + at, (node_count - at) * sizeof *nodes);
            nodes[at].count = 0;
            node_count++;
            nodes[at].id = UINT32_MAX;
            nodes[at].id = free_id();
            draw_tokens(&nodes[at], below(8) ? draw_count() : 0, style);
            change_count = nodes[at].count;
            memcpy(changes, nodes[at].tokens, change_count * sizeof *changes);
            id = nodes[at].id;
            insert = 1;
        } else if (below(3) == 0 && nodes[at].count < point_count) { /* one goes */
            id = nodes[at].id;
            change_count = nodes[at].count;
            memcpy(changes, nodes[at].tokens, change_count * sizeof *changes);
            memmove(nodes + at, nodes + at + 1, (node_count - at - 1) * sizeof *nodes);
            node_count--;
            insert = 0;
        } else if (below(2) && nodes[at].count + 200 < POINTS_MAX) { /* one grows */
            id = nodes[at].id;
            size_t old = nodes[at].count;
            draw_tokens(&nodes[at], draw_count(), style);
            change_count = nodes[at].count - old;
            memcpy(changes, nodes[at].tokens + old, change_count * sizeof *changes);
            insert = 1;
        } else { /* one shrinks, perhaps to nothing */
            id = nodes[at].id;
            change_count = below(nodes[at].count + 1);
            if (change_count >= point_count) change_count = point_count - 1;
            nodes[at].count -= change_count;
            memcpy(changes, nodes[at].tokens + nodes[at].count, change_count * sizeof *changes);
            insert = 0;
        }
        qsort(changes, change_count, sizeof *changes, by_value);
        size_t count = insert ? now.count + change_count : now.count - change_count;
        next = ring_alloc(count, start_bits, direct_bits);
        int recycled = spare.count != 0 && direct_bits != 0 && below(4) != 0;
        if (recycled) { /* the direct table of the state before last */
            free(next.direct);
            next.direct = spare.direct;
            spare.direct = NULL;
        }
        /* Ranks are those of the new state: a node that comes has one. */
        if (insert) {
            ranks_of(ranks);
            rl_ring_insert(&next, &now, changes, change_count, id, ranks);
        } else {
            CHECK(rl_ring_remove(&next, &now, changes, change_count, id) == 0, "points not found");
            ranks_of(ranks);
        }
        if (direct_bits) {
            if (recycled) {
                rl_ring_patch_direct(&next, before, before_count);
            } else {
                memcpy(next.direct, now.direct,
                       (((size_t)1 << direct_bits) + 1) * sizeof *next.direct);
            }
            rl_ring_patch_direct(&next, changes, change_count);
        }
        model_sort();
        check_ring(&next, 0);
        rl_ring fresh = ring_built(start_bits, direct_bits);
        check_ring(&fresh, 1);
        if (direct_bits) check_direct(&next, &fresh, ranks);
        ring_free(&fresh);
        /* A point that is not there is refused, not invented. */
        uint64_t absent = draw(UNIFORM) | 1;
        rl_ring scratch = ring_alloc(next.count, start_bits, 0);
        if (points[model_find(absent) % point_count].token != absent)
            CHECK(rl_ring_remove(&scratch, &next, &absent, 1, id) == -1, "an absent point");
        ring_free(&scratch);
        ring_free(&spare);
        spare = now;
        now = next;
        memcpy(before, changes, change_count * sizeof *changes);
        before_count = change_count;
    }
    ring_free(&spare);
    ring_free(&now);
}

int main(int argc, char **argv) {
    long rounds = argc > 1 ? strtol(argv[1], NULL, 0) : 40;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
    for (long round = 0; round < rounds; round++) {
        state = round_seed = seed + (uint64_t)round;
        for (int style = 0; style < STYLES; style++) {
            uint32_t start_bits = 1 + (uint32_t)below(14);
            uint32_t direct_bits = below(5) ? 8 + (uint32_t)below(9) : 0;
            one_history(style, start_bits, direct_bits, 12);
        }
    }
    printf("%ld rounds of %d styles on levels 0 .. %d: ok\n", rounds, STYLES, rl_simd_supported());
    return 0;
}
