/* Writing and syncing files on threads of its own: the disk's worker.
 *
 * Jobs go into lanes; each lane has a thread, which does one job after the other, wholly or until
 * its first error.  What is done can be taken at any time, and a file descriptor is readable when
 * there is something to take, so that an event loop can watch it.
 *
 * Not there on Windows: rl_writer_new() fails with ENOSYS (the twin in Python is used there). */
#ifndef RL_WRITER_H
#define RL_WRITER_H

#include "hash.h" /* rl_span */

enum { RL_WRITER_LANES_MAX = 8, RL_WRITER_BLOCK_BYTES = 4096 };

/* What is done when the bytes are written: nothing, the file's bytes are made durable, or all of the
 * file (which may be a directory).  RL_FLUSH_DIRECT is added for a file that was opened with
 * O_DIRECT: its bytes are written out of an aligned copy, and the last block is filled up with
 * zeros. */
enum { RL_FLUSH_NONE = 0, RL_FLUSH_DATA = 1, RL_FLUSH_FILE = 2, RL_FLUSH_DIRECT = 4 };

/* The caller's; neither it nor the bytes of its pieces may change or go before it was taken.  With
 * RL_FLUSH_DIRECT offset is a multiple of RL_WRITER_BLOCK_BYTES. */
typedef struct rl_job {
    struct rl_job *next; /* the writer's */
    const rl_span *pieces;
    size_t count;
    uint64_t offset;
    int fd;
    int flush;
    /* Set when it is taken: 0 or an errno, and how long it took at the disk. */
    int error;
    uint64_t nanoseconds;
} rl_job;

typedef struct rl_writer rl_writer;

/* 1 <= lanes <= RL_WRITER_LANES_MAX.  The threads run when this returns, so that nothing but memory
 * can be missing later.  NULL: *error says why. */
rl_writer *rl_writer_new(unsigned lanes, int *error);

/* Readable when there is something to take. */
int rl_writer_fd(const rl_writer *writer);

/* Hand over a job; 0, or an errno (it was not taken over): ECHILD in a process that was forked
 * since, which has none of the threads. */
int rl_writer_submit(rl_writer *writer, unsigned lane, rl_job *job);

/* All jobs that are done, in the order in which they were; NULL when there are none. */
rl_job *rl_writer_take(rl_writer *writer);

/* Wait until all that was submitted is done, and end the threads; then rl_writer_take() gives the
 * rest.  In a process that was forked since: does nothing. */
void rl_writer_finish(rl_writer *writer);

/* After rl_writer_finish(). */
void rl_writer_free(rl_writer *writer);

#endif
