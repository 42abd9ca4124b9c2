#if !defined(_WIN32)
#if defined(__linux__)
#define _GNU_SOURCE
#elif defined(__APPLE__)
#define _DARWIN_C_SOURCE
#endif
#endif

#include "writer.h"

#include <errno.h>
#include <stdlib.h>

#if defined(_WIN32)

rl_writer *rl_writer_new(unsigned lanes, int *error) {
    *error = ENOSYS;
    return NULL;
}
int rl_writer_fd(const rl_writer *writer) { return -1; }
int rl_writer_submit(rl_writer *writer, unsigned lane, rl_job *job) { return ENOSYS; }
rl_job *rl_writer_take(rl_writer *writer) { return NULL; }
void rl_writer_finish(rl_writer *writer) {}
void rl_writer_free(rl_writer *writer) {}

#else

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/eventfd.h>
#include <sys/uio.h>
#endif

/* Bytes of the aligned copy, and pieces that one system call takes. */
enum { STAGE_BYTES = 1 << 20, PIECES = 64 };

typedef struct lane {
    rl_writer *writer;
    pthread_t thread;
    pthread_cond_t ready;
    int started;
    rl_job *head, *tail;
    uint8_t *stage; /* the thread's own */
} lane;

struct rl_writer {
    pthread_mutex_t lock;
    rl_job *head, *tail; /* done */
    int ends;
    int out, in; /* a pipe's two ends, or one eventfd */
    pid_t process;
    unsigned lane_count;
    lane lanes[RL_WRITER_LANES_MAX];
};

/* --- the work ----------------------------------------------------------------------------- */

/* In steps of whole blocks: a direct write that goes on within a block is refused, and that would
 * hide why the one before it was short. */
static int write_run(int fd, const uint8_t *data, size_t size, uint64_t offset, size_t block) {
    int was_stuck = 0;
    while (size) {
        ssize_t done = pwrite(fd, data, size, (off_t)offset);
        if (done < 0) {
            if (errno == EINTR) continue;
            return errno;
        }
        size_t whole = (size_t)done - (size_t)done % block;
        if (!whole && was_stuck) return EIO;
        was_stuck = !whole;
        data += whole;
        size -= whole;
        offset += whole;
    }
    return 0;
}

#if defined(__linux__)
static int write_pieces(const rl_job *job) {
    struct iovec some[PIECES];
    uint64_t offset = job->offset;
    size_t at = 0;   /* the first piece that is not wholly written */
    size_t used = 0; /* of its bytes, those that are */
    for (;;) {
        int count = 0;
        size_t skip = used;
        for (size_t i = at; i < job->count && count < PIECES; i++) {
            if (job->pieces[i].size > skip) {
                some[count].iov_base = (void *)(job->pieces[i].data + skip);
                some[count++].iov_len = job->pieces[i].size - skip;
            }
            skip = 0;
        }
        if (!count) return 0;
        ssize_t done = pwritev(job->fd, some, count, (off_t)offset);
        if (done < 0) {
            if (errno == EINTR) continue;
            return errno;
        }
        if (done == 0) return EIO;
        offset += (uint64_t)done;
        used += (size_t)done;
        while (at < job->count && used >= job->pieces[at].size) used -= job->pieces[at++].size;
    }
}
#else
static int write_pieces(const rl_job *job) {
    uint64_t offset = job->offset;
    for (size_t i = 0; i < job->count; i++) {
        const rl_span *piece = &job->pieces[i];
        int error = write_run(job->fd, piece->data, piece->size, offset, 1);
        if (error) return error;
        offset += piece->size;
    }
    return 0;
}
#endif

/* Out of the aligned copy, a stage at a time. */
static int write_direct(lane *own, const rl_job *job) {
    void *memory = own->stage;
    if (!memory) {
        int error = posix_memalign(&memory, RL_WRITER_BLOCK_BYTES, STAGE_BYTES);
        if (error) return error;
        own->stage = memory;
    }
    uint8_t *stage = memory;
    uint64_t offset = job->offset;
    size_t filled = 0;
    for (size_t i = 0; i < job->count; i++) {
        const uint8_t *data = job->pieces[i].data;
        size_t left = job->pieces[i].size;
        while (left) {
            size_t size = STAGE_BYTES - filled;
            if (size > left) size = left;
            memcpy(stage + filled, data, size);
            filled += size;
            data += size;
            left -= size;
            if (filled == STAGE_BYTES) {
                int error = write_run(job->fd, stage, filled, offset, RL_WRITER_BLOCK_BYTES);
                if (error) return error;
                offset += filled;
                filled = 0;
            }
        }
    }
    if (!filled) return 0;
    size_t whole = (filled + RL_WRITER_BLOCK_BYTES - 1) & ~(size_t)(RL_WRITER_BLOCK_BYTES - 1);
    memset(stage + filled, 0, whole - filled);
    return write_run(job->fd, stage, whole, offset, RL_WRITER_BLOCK_BYTES);
}

static int flush(int fd, int how) {
    for (;;) {
        int failed;
#if defined(__APPLE__) && defined(F_FULLFSYNC)
        failed = fcntl(fd, F_FULLFSYNC);
        if (failed < 0 && errno != EINTR) failed = fsync(fd); /* not every file system has it */
#elif defined(_POSIX_SYNCHRONIZED_IO) && _POSIX_SYNCHRONIZED_IO > 0
        failed = how == RL_FLUSH_DATA ? fdatasync(fd) : fsync(fd);
#else
        failed = fsync(fd);
#endif
        if (failed >= 0) return 0;
        if (errno != EINTR) return errno;
    }
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void do_job(lane *own, rl_job *job) {
    uint64_t start = now();
    int how = job->flush & ~RL_FLUSH_DIRECT;
    job->error = job->flush & RL_FLUSH_DIRECT ? write_direct(own, job) : write_pieces(job);
    if (!job->error && how != RL_FLUSH_NONE) job->error = flush(job->fd, how);
    job->nanoseconds = now() - start;
}

static void wake(rl_writer *writer) {
    uint64_t one = 1;
    /* When a pipe is full it is readable already. */
    while (write(writer->in, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

static void *work(void *arg) {
    lane *own = arg;
    rl_writer *writer = own->writer;
    pthread_mutex_lock(&writer->lock);
    for (;;) {
        while (!own->head && !writer->ends) pthread_cond_wait(&own->ready, &writer->lock);
        rl_job *job = own->head;
        if (!job) break;
        own->head = job->next;
        if (!own->head) own->tail = NULL;
        pthread_mutex_unlock(&writer->lock);
        do_job(own, job);
        job->next = NULL;
        pthread_mutex_lock(&writer->lock);
        int is_first = !writer->head;
        if (is_first)
            writer->head = job;
        else
            writer->tail->next = job;
        writer->tail = job;
        if (is_first) {
            pthread_mutex_unlock(&writer->lock);
            wake(writer);
            pthread_mutex_lock(&writer->lock);
        }
    }
    pthread_mutex_unlock(&writer->lock);
    return NULL;
}

/* --- from outside ------------------------------------------------------------------------- */

static int open_signal(rl_writer *writer) {
#if defined(__linux__)
    writer->out = writer->in = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return writer->out < 0 ? errno : 0;
#else
    int ends[2];
    if (pipe(ends) < 0) return errno;
    for (int i = 0; i < 2; i++) {
        fcntl(ends[i], F_SETFL, O_NONBLOCK);
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    }
    writer->out = ends[0];
    writer->in = ends[1];
    return 0;
#endif
}

/* The thread takes no signals: they are the main thread's. */
static int start(lane *own) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&own->thread, NULL, work, own);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    own->started = !error;
    return error;
}

rl_writer *rl_writer_new(unsigned lanes, int *error) {
    rl_writer *writer = calloc(1, sizeof *writer);
    if (!writer) {
        *error = ENOMEM;
        return NULL;
    }
    *error = open_signal(writer);
    if (*error) {
        free(writer);
        return NULL;
    }
    pthread_mutex_init(&writer->lock, NULL);
    writer->process = getpid();
    writer->lane_count = lanes;
    for (unsigned i = 0; i < lanes; i++) {
        writer->lanes[i].writer = writer;
        pthread_cond_init(&writer->lanes[i].ready, NULL);
    }
    for (unsigned i = 0; i < lanes && !*error; i++) *error = start(&writer->lanes[i]);
    if (*error) {
        rl_writer_finish(writer);
        rl_writer_free(writer);
        return NULL;
    }
    return writer;
}

int rl_writer_fd(const rl_writer *writer) { return writer->out; }

int rl_writer_submit(rl_writer *writer, unsigned lane_index, rl_job *job) {
    if (getpid() != writer->process) return ECHILD;
    lane *own = &writer->lanes[lane_index];
    job->next = NULL;
    pthread_mutex_lock(&writer->lock);
    int is_first = !own->head;
    if (is_first)
        own->head = job;
    else
        own->tail->next = job;
    own->tail = job;
    pthread_mutex_unlock(&writer->lock);
    /* Not under the lock, which the thread would wake up only to wait for. */
    if (is_first) pthread_cond_signal(&own->ready);
    return 0;
}

rl_job *rl_writer_take(rl_writer *writer) {
    if (getpid() != writer->process) return NULL;
    uint64_t ignored[64];
    ssize_t done = read(writer->out, ignored, sizeof ignored);
    (void)done; /* nothing there: nothing was signalled since */
    pthread_mutex_lock(&writer->lock);
    rl_job *jobs = writer->head;
    writer->head = writer->tail = NULL;
    pthread_mutex_unlock(&writer->lock);
    return jobs;
}

void rl_writer_finish(rl_writer *writer) {
    if (getpid() != writer->process) return;
    pthread_mutex_lock(&writer->lock);
    writer->ends = 1;
    for (unsigned i = 0; i < writer->lane_count; i++) pthread_cond_signal(&writer->lanes[i].ready);
    pthread_mutex_unlock(&writer->lock);
    for (unsigned i = 0; i < writer->lane_count; i++) {
        lane *own = &writer->lanes[i];
        if (own->started) pthread_join(own->thread, NULL);
        own->started = 0;
    }
}

void rl_writer_free(rl_writer *writer) {
    close(writer->out);
    if (writer->in != writer->out) close(writer->in);
    if (getpid() == writer->process) {
        for (unsigned i = 0; i < writer->lane_count; i++) {
            pthread_cond_destroy(&writer->lanes[i].ready);
            free(writer->lanes[i].stage);
        }
        pthread_mutex_destroy(&writer->lock);
    }
    free(writer);
}

#endif
