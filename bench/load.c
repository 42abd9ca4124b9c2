/* Load on a replicated store, by one thread: etcd (gRPC), ZooKeeper, or whatever speaks RESP.
 *
 *   load PROTOCOL ENDPOINTS CONNECTIONS COUNT OPERATION VALUE_BYTES KEYS [DEPTH]
 *   load PROTOCOL ENDPOINTS CONNECTIONS 0     probe     VALUE_BYTES KEYS
 *
 * PROTOCOL   grpc, zookeeper, resp, or readonly (resp after a READONLY)
 * ENDPOINTS  a.b.c.d:port, with commas; connections are dealt out to them in turn
 * OPERATION  put, get (linearizable), local (a read that may be stale), fill (put of every key, in
 *            order), probe
 * DEPTH      requests in flight on each connection (1); gRPC answers out of order, so 1 there
 *
 * Every connection sends its next request when an answer to one of its own has come, COUNT in all.
 * At the end a line goes to the standard output:
 *   {"count": N, "failed": N, "seconds": S, "p50_us": N, "p99_us": N, "max_us": N}
 *
 * A probe sends a put on each connection every PROBE_MS, answered or not, connects again when one
 * is lost, and writes the time (CLOCK_MONOTONIC, seconds) of every answer that is no error on a line of
 * its own, until its standard input ends.
 *
 * What a request costs here is next to nothing: gRPC's headers are sent as plain literals, and of
 * an answer no more is read than whether it is one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PROBE_MS = 5, PROBE_OPEN_MAX = 1000, DEPTH_MAX = 1024, ENDPOINTS_MAX = 16 };
enum { IN_BYTES = 1 << 16, OUT_BYTES = 1 << 20, VALUE_BYTES_MAX = 4096 };

typedef enum { GRPC, ZOOKEEPER, RESP, READONLY } protocol_t;
typedef enum { PUT, GET, LOCAL, FILL, PROBE } operation_t;

typedef struct {
    int fd, ready;             /* ready: the protocol's greeting is over */
    struct sockaddr_in to;
    uint8_t *in, *out;
    size_t in_size, out_size, out_sent;
    uint32_t next_id;          /* gRPC: stream; ZooKeeper: xid */
    uint32_t ended;            /* gRPC: the last stream that was answered */
    uint32_t open;             /* requests in flight */
    uint64_t sent_ns[DEPTH_MAX];
    uint64_t first, last;      /* numbers of the oldest request in flight and of the next */
    uint32_t unacknowledged;   /* gRPC: bytes taken since the last WINDOW_UPDATE */
    int has_data;              /* gRPC: the open stream has had a DATA frame */
    int is_armed;              /* waits for writability */
} connection_t;

static protocol_t protocol;
static operation_t operation;
static int epoll_fd, endpoint_count;
static struct sockaddr_in endpoints[ENDPOINTS_MAX];
static uint32_t value_size, key_count, depth = 1;
static uint64_t to_send, answered, failed, fill_next, rng = 88172645463325252ull;
static uint32_t *latencies_us;
static uint8_t value[VALUE_BYTES_MAX];

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint64_t next_random(void) {
    rng ^= rng << 13;
    rng ^= rng >> 7;
    return rng ^= rng << 17;
}

static void die(const char *what) {
    fprintf(stderr, "load: %s (%s)\n", what, strerror(errno));
    exit(1);
}

/* --- bytes out ------------------------------------------------------------------------------- */

static void put(connection_t *c, const void *data, size_t size) {
    if (c->out_size + size > OUT_BYTES) die("too much waits to be sent");
    memcpy(c->out + c->out_size, data, size);
    c->out_size += size;
}

static void put_u8(connection_t *c, uint32_t x) { put(c, &(uint8_t){(uint8_t)x}, 1); }

static void put_u32(connection_t *c, uint32_t x) {
    x = htonl(x);
    put(c, &x, 4);
}

static void put_text(connection_t *c, const char *text) { put(c, text, strlen(text)); }

/* A length and the bytes, as ZooKeeper has them. */
static void put_buffer(connection_t *c, const void *data, size_t size) {
    put_u32(c, (uint32_t)size);
    put(c, data, size);
}

static void frame(connection_t *c, size_t size, int type, int flags, uint32_t stream) {
    uint8_t head[5] = {(uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size, (uint8_t)type,
                       (uint8_t)flags};
    put(c, head, 5);
    put_u32(c, stream);
}

static void literal(connection_t *c, const char *name, const char *text) {
    put_u8(c, 0);
    put_u8(c, (uint32_t)strlen(name));
    put_text(c, name);
    put_u8(c, (uint32_t)strlen(text));
    put_text(c, text);
}

static size_t varint(uint8_t *at, uint32_t x) {
    size_t size = 0;
    for (; x >= 128; x >>= 7) at[size++] = (uint8_t)(x | 128);
    at[size++] = (uint8_t)x;
    return size;
}

static void request_grpc(connection_t *c, int is_put, int is_local, const char *key) {
    size_t begin = c->out_size;
    frame(c, 0, 1, 4, c->next_id); /* HEADERS, END_HEADERS; the size is filled in below */
    size_t at = c->out_size;
    literal(c, ":method", "POST");
    literal(c, ":scheme", "http");
    literal(c, ":path", is_put ? "/etcdserverpb.KV/Put" : "/etcdserverpb.KV/Range");
    literal(c, ":authority", "localhost");
    literal(c, "content-type", "application/grpc");
    literal(c, "te", "trailers");
    size_t size = c->out_size - at;
    c->out[begin] = (uint8_t)(size >> 16);
    c->out[begin + 1] = (uint8_t)(size >> 8);
    c->out[begin + 2] = (uint8_t)size;
    uint8_t message[64 + VALUE_BYTES_MAX];
    size_t used = 0;
    message[used++] = 0x0a;
    used += varint(message + used, (uint32_t)strlen(key));
    memcpy(message + used, key, strlen(key));
    used += strlen(key);
    if (is_put) {
        message[used++] = 0x12;
        used += varint(message + used, value_size);
        memcpy(message + used, value, value_size);
        used += value_size;
    } else if (is_local) {
        message[used++] = 0x38;
        message[used++] = 1;
    }
    frame(c, used + 5, 0, 1, c->next_id); /* DATA, END_STREAM */
    put_u8(c, 0);
    put_u32(c, (uint32_t)used);
    put(c, message, used);
    c->next_id += 2;
}

static void request_zookeeper(connection_t *c, int is_put, int is_local, const char *key) {
    char path[40];
    snprintf(path, sizeof path, "/%s", key);
    size_t path_size = strlen(path);
    if (operation == FILL) { /* create: an answer that it exists is as good */
        put_u32(c, (uint32_t)(8 + 4 + path_size + 4 + value_size + 4 + 4 + 9 + 10 + 4));
        put_u32(c, c->next_id++);
        put_u32(c, 1);
        put_buffer(c, path, path_size);
        put_buffer(c, value, value_size);
        put_u32(c, 1);
        put_u32(c, 31);
        put_buffer(c, "world", 5);
        put_buffer(c, "anyone", 6);
        put_u32(c, 0);
        return;
    }
    if (is_put) {
        put_u32(c, (uint32_t)(8 + 4 + path_size + 4 + value_size + 4));
        put_u32(c, c->next_id++);
        put_u32(c, 5);
        put_buffer(c, path, path_size);
        put_buffer(c, value, value_size);
        put_u32(c, 0xffffffffu);
        return;
    }
    if (!is_local) { /* sync; its answer is known by its xid, and counts for nothing */
        put_u32(c, (uint32_t)(8 + 4 + path_size));
        put_u32(c, c->next_id++ | 0x40000000u);
        put_u32(c, 9);
        put_buffer(c, path, path_size);
    }
    put_u32(c, (uint32_t)(8 + 4 + path_size + 1));
    put_u32(c, c->next_id++);
    put_u32(c, 4);
    put_buffer(c, path, path_size);
    put_u8(c, 0);
}

static void request_resp(connection_t *c, int is_put, const char *key) {
    char head[80];
    int size = snprintf(head, sizeof head, "*%d\r\n$3\r\n%s\r\n$%zu\r\n%s\r\n", is_put ? 3 : 2,
                        is_put ? "SET" : "GET", strlen(key), key);
    put(c, head, (size_t)size);
    if (!is_put) return;
    size = snprintf(head, sizeof head, "$%u\r\n", value_size);
    put(c, head, (size_t)size);
    put(c, value, value_size);
    put_text(c, "\r\n");
}

static void request(connection_t *c) {
    char key[24];
    uint64_t number = operation == FILL ? fill_next++ : next_random() % key_count;
    snprintf(key, sizeof key, "key:%08llu", (unsigned long long)number);
    int is_put = operation == PUT || operation == FILL || operation == PROBE;
    int is_local = operation == LOCAL;
    if (protocol == GRPC) request_grpc(c, is_put, is_local, key);
    else if (protocol == ZOOKEEPER) request_zookeeper(c, is_put, is_local, key);
    else request_resp(c, is_put, key);
    c->sent_ns[c->last++ % DEPTH_MAX] = now_ns();
    c->open++;
}

/* --- connections ----------------------------------------------------------------------------- */

static void watch(connection_t *c, int is_new, int writes) {
    struct epoll_event event = {.events = EPOLLIN | (writes ? EPOLLOUT : 0u), .data.ptr = c};
    c->is_armed = writes;
    if (epoll_ctl(epoll_fd, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, c->fd, &event)) die("epoll");
}

/* 0 when the connection is lost. */
static int flush(connection_t *c) {
    while (c->out_sent < c->out_size) {
        ssize_t sent = send(c->fd, c->out + c->out_sent, c->out_size - c->out_sent, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == ENOTCONN || errno == EINPROGRESS)) {
            if (!c->is_armed) watch(c, 0, 1);
            return 1;
        }
        if (sent <= 0) return 0;
        c->out_sent += (size_t)sent;
    }
    c->out_sent = c->out_size = 0;
    if (c->is_armed) watch(c, 0, 0);
    return 1;
}

static void greet(connection_t *c) {
    if (protocol == GRPC) {
        put_text(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        frame(c, 0, 4, 0, 0);
        c->next_id = 1;
        c->ready = 1;
    } else if (protocol == ZOOKEEPER) {
        static const uint8_t zeros[16];
        put_u32(c, 45);
        put_u32(c, 0);
        put(c, zeros, 8);
        put_u32(c, 30000);
        put(c, zeros, 8);
        put_buffer(c, zeros, 16);
        put_u8(c, 0);
        c->next_id = 1;
        c->ready = 0;
    } else if (protocol == READONLY) {
        put_text(c, "READONLY\r\n");
        c->ready = 0;
    } else c->ready = 1;
}

static void dial(connection_t *c) {
    c->in_size = c->out_size = c->out_sent = 0;
    c->open = 0;
    c->first = c->last = 0;
    c->unacknowledged = 0;
    c->has_data = 0;
    c->ended = 0;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("socket");
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch(c, 1, 1);
    if (connect(c->fd, (struct sockaddr *)&c->to, sizeof c->to) && errno != EINPROGRESS) return;
    greet(c);
}

static void hang_up(connection_t *c) {
    if (operation != PROBE) die("a connection was lost");
    close(c->fd);
    c->fd = -1;
}

/* --- bytes in -------------------------------------------------------------------------------- */

static void done(connection_t *c, int is_good) {
    if (!c->open) die("an answer that nobody asked for");
    uint64_t at = now_ns();
    uint64_t took = (at - c->sent_ns[c->first++ % DEPTH_MAX]) / 1000;
    c->open--;
    if (operation == PROBE) {
        if (is_good) {
            printf("%.6f\n", (double)at / 1e9);
            fflush(stdout);
        }
        return;
    }
    if (!is_good) failed++;
    latencies_us[answered++] = (uint32_t)took;
    if (to_send) {
        to_send--;
        request(c);
    }
}

static uint32_t get_u32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* How many bytes of the buffer were used; 0: the message is not whole yet; -1: hang up. */
static long take_grpc(connection_t *c, const uint8_t *p, size_t size) {
    if (size < 9) return 0;
    size_t length = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
    int type = p[3], flags = p[4];
    if (size < 9 + length) return 0;
    if (type == 0) {
        c->has_data = 1;
        c->unacknowledged += (uint32_t)length;
        if (c->unacknowledged > 16384) {
            frame(c, 4, 8, 0, 0);
            put_u32(c, c->unacknowledged);
            c->unacknowledged = 0;
        }
    }
    if (type == 4 && !(flags & 1)) frame(c, 0, 4, 1, 0);
    if (type == 6 && !(flags & 1)) {
        frame(c, 8, 6, 1, 0);
        put(c, p + 9, 8);
    }
    if (type == 7) return -1;
    uint32_t stream = get_u32(p + 5) & 0x7fffffffu;
    /* gRPC's server may reset a stream that it has just answered, should it not know of its end. */
    if (type == 3 && stream == c->ended) return (long)(9 + length);
    if (((type == 0 || type == 1) && (flags & 1)) || type == 3) {
        int is_good = c->has_data && type != 3;
        c->has_data = 0;
        c->ended = stream;
        done(c, is_good);
    }
    return (long)(9 + length);
}

static long take_zookeeper(connection_t *c, const uint8_t *p, size_t size) {
    if (size < 4) return 0;
    size_t length = get_u32(p);
    if (size < 4 + length) return 0;
    if (!c->ready) c->ready = 1;
    else if (!(get_u32(p + 4) & 0x40000000u)) {
        int error = (int)get_u32(p + 16);
        done(c, error == 0 || (operation == FILL && error == -110));
    }
    return (long)(4 + length);
}

static long take_resp(connection_t *c, const uint8_t *p, size_t size) {
    const uint8_t *end = memchr(p, '\n', size);
    if (!end) return 0;
    size_t used = (size_t)(end - p) + 1;
    if (*p == '$' && p[1] != '-') {
        used += (size_t)atol((const char *)p + 1) + 2;
        if (size < used) return 0;
    }
    if (c->ready) done(c, *p != '-');
    else if (*p == '-') die("READONLY was refused");
    c->ready = 1;
    return (long)used;
}

/* 0 when the connection is lost. */
static int take(connection_t *c) {
    ssize_t got = recv(c->fd, c->in + c->in_size, IN_BYTES - c->in_size, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 1;
    if (got <= 0) return 0;
    c->in_size += (size_t)got;
    size_t at = 0;
    while (at < c->in_size) {
        const uint8_t *p = c->in + at;
        size_t size = c->in_size - at;
        int was_ready = c->ready;
        long used = protocol == GRPC        ? take_grpc(c, p, size)
                    : protocol == ZOOKEEPER ? take_zookeeper(c, p, size)
                                            : take_resp(c, p, size);
        if (used < 0) return 0;
        if (!used) break;
        at += (size_t)used;
        if (!was_ready && c->ready && operation != PROBE)
            for (uint32_t i = 0; i < depth && to_send; i++, to_send--) request(c);
    }
    memmove(c->in, c->in + at, c->in_size - at);
    c->in_size -= at;
    return 1;
}

/* --- the two ways of working ----------------------------------------------------------------- */

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void turn(int wait_ms) {
    struct epoll_event events[256];
    int count = epoll_wait(epoll_fd, events, 256, wait_ms);
    for (int i = 0; i < count; i++) {
        connection_t *c = events[i].data.ptr;
        if (c->fd < 0) continue;
        int alive = !(events[i].events & EPOLLERR);
        if (alive && events[i].events & (EPOLLIN | EPOLLHUP)) alive = take(c);
        if (alive && (c->out_size || c->is_armed)) alive = flush(c);
        if (!alive) hang_up(c);
    }
}

static void measure(connection_t *all, int connections, uint64_t count) {
    latencies_us = malloc(count * sizeof *latencies_us);
    if (!latencies_us) die("memory");
    to_send = count;
    uint64_t began = now_ns();
    for (int i = 0; i < connections; i++)
        if (all[i].ready)
            for (uint32_t k = 0; k < depth && to_send; k++, to_send--) request(&all[i]);
    while (answered < count) {
        if (now_ns() - began > 600ull * 1000000000ull) die("no answers");
        turn(1000);
    }
    double seconds = (double)(now_ns() - began) / 1e9;
    qsort(latencies_us, count, sizeof *latencies_us, by_size);
    printf("{\"count\": %llu, \"failed\": %llu, \"seconds\": %.6f, \"p50_us\": %u, \"p99_us\": %u, "
           "\"max_us\": %u}\n",
           (unsigned long long)count, (unsigned long long)failed, seconds, latencies_us[count / 2],
           latencies_us[count * 99 / 100], latencies_us[count - 1]);
}

static void probe(connection_t *all, int connections) {
    fcntl(0, F_SETFL, O_NONBLOCK);
    uint64_t due = now_ns();
    for (;;) {
        char byte;
        if (read(0, &byte, 1) == 0) return;
        uint64_t at = now_ns();
        if (at >= due) {
            due = at + PROBE_MS * 1000000ull;
            for (int i = 0; i < connections; i++) {
                connection_t *c = &all[i];
                if (c->fd < 0) dial(c);
                else if (c->ready && c->open < PROBE_OPEN_MAX && !c->is_armed) request(c);
                if (c->fd >= 0 && c->out_size && !flush(c)) hang_up(c);
            }
        }
        turn(1);
    }
}

int main(int argc, char **argv) {
    if (argc < 8) die("arguments: see the top of load.c");
    protocol = !strcmp(argv[1], "grpc")        ? GRPC
               : !strcmp(argv[1], "zookeeper") ? ZOOKEEPER
               : !strcmp(argv[1], "readonly")  ? READONLY
                                               : RESP;
    for (char *at = strtok(argv[2], ","); at; at = strtok(NULL, ",")) {
        char *colon = strchr(at, ':');
        if (!colon || endpoint_count == ENDPOINTS_MAX) die("endpoints");
        *colon = 0;
        struct sockaddr_in *to = &endpoints[endpoint_count++];
        to->sin_family = AF_INET;
        to->sin_port = htons((uint16_t)atoi(colon + 1));
        if (!inet_aton(at, &to->sin_addr)) die("an endpoint's address");
    }
    int connections = atoi(argv[3]);
    uint64_t count = strtoull(argv[4], NULL, 10);
    operation = !strcmp(argv[5], "put")     ? PUT
                : !strcmp(argv[5], "get")   ? GET
                : !strcmp(argv[5], "local") ? LOCAL
                : !strcmp(argv[5], "fill")  ? FILL
                                            : PROBE;
    value_size = (uint32_t)atoi(argv[6]);
    key_count = (uint32_t)atoi(argv[7]);
    if (argc > 8) depth = (uint32_t)atoi(argv[8]);
    if (!endpoint_count || connections < 1 || value_size > VALUE_BYTES_MAX || !key_count || !depth ||
        depth > DEPTH_MAX || (protocol == GRPC && depth > 1))
        die("arguments");
    memset(value, 'x', sizeof value);
    epoll_fd = epoll_create1(0);
    connection_t *all = calloc((size_t)connections, sizeof *all);
    if (epoll_fd < 0 || !all) die("memory");
    for (int i = 0; i < connections; i++) {
        all[i].to = endpoints[i % endpoint_count];
        all[i].in = malloc(IN_BYTES);
        all[i].out = malloc(OUT_BYTES);
        if (!all[i].in || !all[i].out) die("memory");
        dial(&all[i]);
    }
    if (operation == PROBE) probe(all, connections);
    else measure(all, connections, count);
    return 0;
}
