/* canonical's libraft, a whole group in one process: proposals until every node has applied them.
 *
 * A lap is asked for by a line "nodes batch count" on standard input, and answered by a line
 * "nanoseconds entries checksum": the checksum is the CRC32C of all payloads in their order, the
 * same on every node, or the program ends.  Each lap has a group of its own, which has applied as
 * many entries before as are then measured.
 *
 * Disk and network are a queue: what was written is durable, and what was sent has arrived, as soon
 * as its turn comes; entries are copied once for each peer, as they would be by a socket.  libraft
 * tells followers of a commit with the next entries, or with a heartbeat; here with the next
 * entries, and one heartbeat ends a lap. */
#include "crc.h"

#include <raft.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NODES_MAX = 7, PAYLOAD_BYTES = 64, HEARTBEAT_MS = 100, ELECTION_MS = 1000 };

#define REQUIRE(condition)                                                       \
    do {                                                                         \
        if (!(condition)) {                                                      \
            fprintf(stderr, "peer_libraft.c:%d: %s\n", __LINE__, #condition);    \
            exit(1);                                                             \
        }                                                                        \
    } while (0)

/* --- the queue: what will happen, in order ------------------------------------------------ */

enum { SENT, WRITTEN, ARRIVED };

typedef struct event {
    int kind;
    int source, target;
    void *request;
    struct raft_message message;
} event;

static event *queue;
static size_t queue_room, queue_begin, queue_end; /* positions count up; room is a power of two */

static event *push(int kind) {
    if (queue_end - queue_begin == queue_room) {
        size_t room = queue_room ? 2 * queue_room : 1024;
        event *larger = malloc(room * sizeof *larger);
        REQUIRE(larger != NULL);
        for (size_t at = queue_begin; at != queue_end; at++)
            larger[at & (room - 1)] = queue[at & (queue_room - 1)];
        free(queue);
        queue = larger;
        queue_room = room;
    }
    event *made = &queue[queue_end++ & (queue_room - 1)];
    made->kind = kind;
    return made;
}

/* --- a node ------------------------------------------------------------------------------- */

typedef struct node {
    int number;
    char address[8];
    struct raft raft;
    struct raft_io io;
    struct raft_fsm fsm;
    raft_io_tick_cb tick;
    raft_io_recv_cb receive;
    struct raft_configuration first;
    raft_time now;
    uint64_t applied;
    uint32_t crc;
} node;

static node nodes[NODES_MAX];
static int node_count;

static int io_init(struct raft_io *io, raft_id id, const char *address) {
    (void)io, (void)id, (void)address;
    return 0;
}
static void io_close(struct raft_io *io, raft_io_close_cb done) {
    if (done != NULL) done(io);
}
static int io_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                   struct raft_snapshot **snapshot, raft_index *start_index,
                   struct raft_entry *entries[], size_t *n_entries) {
    node *self = io->impl;
    *term = 1;
    *voted_for = 0;
    *snapshot = NULL;
    *start_index = 1;
    *n_entries = 1;
    *entries = raft_malloc(sizeof **entries);
    REQUIRE(*entries != NULL);
    (*entries)[0].term = 1;
    (*entries)[0].type = RAFT_CHANGE;
    REQUIRE(raft_configuration_encode(&self->first, &(*entries)[0].buf) == 0);
    (*entries)[0].batch = (*entries)[0].buf.base;
    return 0;
}
static int io_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick,
                    raft_io_recv_cb receive) {
    node *self = io->impl;
    (void)msecs;
    self->tick = tick;
    self->receive = receive;
    return 0;
}
static int io_set_term(struct raft_io *io, raft_term term) {
    (void)io, (void)term;
    return 0;
}
static int io_set_vote(struct raft_io *io, raft_id id) {
    (void)io, (void)id;
    return 0;
}

/* One piece of memory for all payloads: the receiver frees it as a batch. */
static struct raft_entry *copied(const struct raft_entry *entries, unsigned count) {
    size_t bytes = 0;
    for (unsigned i = 0; i < count; i++) bytes += entries[i].buf.len;
    struct raft_entry *made = raft_malloc(count * sizeof *made);
    uint8_t *at = raft_malloc(bytes);
    REQUIRE(made != NULL && at != NULL);
    void *batch = at;
    for (unsigned i = 0; i < count; i++) {
        made[i] = entries[i];
        made[i].batch = batch;
        made[i].buf.base = at;
        memcpy(at, entries[i].buf.base, entries[i].buf.len);
        at += entries[i].buf.len;
    }
    return made;
}

static int io_send(struct raft_io *io, struct raft_io_send *request,
                   const struct raft_message *message, raft_io_send_cb done) {
    node *self = io->impl;
    request->cb = done;
    event *arrival = push(ARRIVED);
    arrival->source = self->number;
    arrival->target = (int)message->server_id - 1;
    arrival->message = *message;
    if (message->type == RAFT_IO_APPEND_ENTRIES) {
        struct raft_append_entries *append = &arrival->message.append_entries;
        append->entries =
            append->n_entries ? copied(append->entries, append->n_entries) : NULL;
    }
    push(SENT)->request = request;
    return 0;
}
static int io_append(struct raft_io *io, struct raft_io_append *request,
                     const struct raft_entry entries[], unsigned n, raft_io_append_cb done) {
    (void)io, (void)entries, (void)n;
    request->cb = done;
    push(WRITTEN)->request = request;
    return 0;
}
static int io_truncate(struct raft_io *io, raft_index index) {
    (void)io, (void)index;
    return 0;
}
static raft_time io_time(struct raft_io *io) { return ((node *)io->impl)->now; }
static int io_random(struct raft_io *io, int min, int max) {
    int value = min + ((node *)io->impl)->number;
    return value < max ? value : min;
}

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buffer, void **result) {
    node *self = fsm->data;
    self->crc = rl_crc32c(self->crc, buffer->base, buffer->len);
    self->applied++;
    *result = NULL;
    return 0;
}

/* --- the group ---------------------------------------------------------------------------- */

static void work(void) {
    while (queue_begin != queue_end) {
        event next = queue[queue_begin++ & (queue_room - 1)];
        if (next.kind == SENT) {
            struct raft_io_send *request = next.request;
            request->cb(request, 0);
        } else if (next.kind == WRITTEN) {
            struct raft_io_append *request = next.request;
            request->cb(request, 0);
        } else {
            node *target = &nodes[next.target];
            next.message.server_id = (raft_id)next.source + 1;
            next.message.server_address = nodes[next.source].address;
            target->receive(&target->io, &next.message);
        }
    }
}

static void set_up(int count) {
    node_count = count;
    memset(nodes, 0, sizeof nodes);
    for (int i = 0; i < count; i++) {
        node *self = &nodes[i];
        self->number = i;
        snprintf(self->address, sizeof self->address, "%d", i + 1);
        raft_configuration_init(&self->first);
    }
    for (int i = 0; i < count; i++) {
        node *self = &nodes[i];
        for (int j = 0; j < count; j++)
            REQUIRE(raft_configuration_add(&self->first, (raft_id)j + 1, nodes[j].address,
                                           RAFT_VOTER) == 0);
        self->io.version = 1;
        self->io.impl = self;
        self->io.init = io_init;
        self->io.close = io_close;
        self->io.load = io_load;
        self->io.start = io_start;
        self->io.set_term = io_set_term;
        self->io.set_vote = io_set_vote;
        self->io.send = io_send;
        self->io.append = io_append;
        self->io.truncate = io_truncate;
        self->io.time = io_time;
        self->io.random = io_random;
        self->fsm.version = 1;
        self->fsm.data = self;
        self->fsm.apply = fsm_apply;
        REQUIRE(raft_init(&self->raft, &self->io, &self->fsm, (raft_id)i + 1, self->address) == 0);
        raft_set_election_timeout(&self->raft, ELECTION_MS);
        raft_set_heartbeat_timeout(&self->raft, HEARTBEAT_MS);
        raft_set_snapshot_threshold(&self->raft, UINT32_MAX); /* never */
        REQUIRE(raft_start(&self->raft) == 0);
    }
    while (raft_state(&nodes[0].raft) != RAFT_LEADER) {
        REQUIRE(nodes[0].now < 100 * ELECTION_MS);
        nodes[0].now += HEARTBEAT_MS;
        nodes[0].tick(&nodes[0].io);
        work();
    }
}

static void closed(struct raft *raft) { (void)raft; }

static void tear_down(void) {
    for (int i = 0; i < node_count; i++) {
        raft_close(&nodes[i].raft, closed);
        raft_configuration_close(&nodes[i].first);
    }
    work();
}

static unsigned acknowledged;

static void on_applied(struct raft_apply *request, int status, void *result) {
    (void)request, (void)result;
    REQUIRE(status == 0);
    acknowledged++;
}

/* Proposals first ... first + count - 1, each answered before the next batch is proposed. */
static void propose(uint64_t count, unsigned batch, const uint8_t *payloads) {
    struct raft_buffer *buffers = malloc(batch * sizeof *buffers);
    REQUIRE(buffers != NULL);
    for (uint64_t at = 0; at < count; at += batch) {
        struct raft_apply request;
        unsigned size = count - at < batch ? (unsigned)(count - at) : batch;
        for (unsigned i = 0; i < size; i++) {
            buffers[i].len = PAYLOAD_BYTES;
            buffers[i].base = raft_malloc(PAYLOAD_BYTES);
            REQUIRE(buffers[i].base != NULL);
            memcpy(buffers[i].base, payloads + (at + i) * PAYLOAD_BYTES, PAYLOAD_BYTES);
        }
        acknowledged = 0;
        REQUIRE(raft_apply(&nodes[0].raft, &request, buffers, size, on_applied) == 0);
        work();
        REQUIRE(acknowledged == 1);
    }
    nodes[0].now += HEARTBEAT_MS;
    nodes[0].tick(&nodes[0].io);
    work();
    free(buffers);
}

static uint64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int main(void) {
    int count;
    unsigned batch;
    uint64_t proposals;
    while (scanf("%d %u %" SCNu64, &count, &batch, &proposals) == 3) {
        REQUIRE(1 <= count && count <= NODES_MAX && batch > 0 && proposals > 0);
        uint8_t *payloads = malloc(proposals * PAYLOAD_BYTES);
        REQUIRE(payloads != NULL);
        for (uint64_t i = 0; i < proposals; i++) {
            for (unsigned j = 0; j < PAYLOAD_BYTES; j++)
                payloads[i * PAYLOAD_BYTES + j] = (uint8_t)(i >> 8 * (j % 8));
        }
        set_up(count);
        propose(proposals, batch, payloads);
        for (int i = 0; i < count; i++) {
            REQUIRE(nodes[i].applied == proposals);
            nodes[i].applied = nodes[i].crc = 0;
        }
        uint64_t began = nanoseconds();
        propose(proposals, batch, payloads);
        uint64_t took = nanoseconds() - began;
        for (int i = 0; i < count; i++)
            REQUIRE(nodes[i].applied == proposals && nodes[i].crc == nodes[0].crc);
        printf("%" PRIu64 " %" PRIu64 " %" PRIu32 "\n", took, nodes[0].applied, nodes[0].crc);
        fflush(stdout);
        tear_down();
        free(payloads);
    }
    return 0;
}
