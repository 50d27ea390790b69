// SPDX-License-Identifier: GPL-2.0-only
#include "access.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../base/log.h"

#define PAUSE_MS 20   /* between two writes: waking up for each line would cost its writer more */
#define AGAIN_MS 1000 /* before a file that could not be opened is tried again */
#define LOOK_MS	 250  /* a thread that waits for a pipe looks whether it is to stop */
#define CLOSE_MS 1000 /* that a stop waits for a disk */

struct batch {
	char *bytes; /* [ACCESS_BUFFER_BYTES], touched as far as it was ever filled */
	size_t len;
	uint64_t lines;
};

struct access {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under the lock */
	struct batch filling;
	bool reopen;
	struct timespec reopen_at; /* CLOCK_MONOTONIC */
	struct access_counts counts;
	/* set under it */
	atomic_bool stop;
	/* the thread's */
	struct batch writing;
	int fd;
	char *path;    /* NULL: stderr */
	bool torn;     /* the file ends within a line */
	bool failing;  /* the last write failed, and this was said */
	bool stale;    /* the file could not be opened anew, and this was said */
	uint64_t said; /* lines that were lost, and said to be */
};

static const char *access_name(const struct access *access)
{
	return access->path ? access->path : "stderr";
}

static int file_open(const char *path)
{
	/* A pipe without a reader is an error now, and not a thread that waits for ever. */
	int fd =
		open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);

	return fd < 0 ? -errno : fd;
}

/* ---- the thread ---- */

static struct timespec soon(unsigned int ms)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += ms / 1000;
	at.tv_nsec += (long)(ms % 1000) * 1000000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_sec++;
		at.tv_nsec -= 1000000000;
	}
	return at;
}

static bool is_past(const struct timespec *at)
{
	struct timespec now = soon(0);

	return now.tv_sec != at->tv_sec ? now.tv_sec > at->tv_sec : now.tv_nsec >= at->tv_nsec;
}

/* Return: false: to be tried again */
static bool reopen(struct access *access)
{
	int fd;

	if (!access->path)
		return true;
	fd = file_open(access->path);
	if (fd < 0) {
		if (!access->stale)
			log_warn("access-log %s: %s; going on with the old file, trying again",
				 access->path, strerror(-fd));
		access->stale = true;
		return false;
	}
	close(access->fd);
	access->fd = fd;
	access->torn = false;
	access->stale = false;
	log_info("access-log %s: opened anew", access->path);
	return true;
}

/*
 * A stop does not wait for a pipe that nobody reads. stderr is shared, so that it
 * cannot be made non-blocking; what poll(2) calls writable takes PIPE_BUF bytes.
 *
 * Return: 0 or a negative errno; @done is how far it got
 */
static int write_all(struct access *access, const char *bytes, size_t len, size_t *done)
{
	struct pollfd pollfd = { .fd = access->fd, .events = POLLOUT };

	for (*done = 0; *done < len;) {
		size_t piece = access->path || len - *done < PIPE_BUF ? len - *done : PIPE_BUF;
		ssize_t n;

		if (poll(&pollfd, 1, LOOK_MS) == 0) {
			if (atomic_load(&access->stop))
				return -ETIMEDOUT;
			continue;
		}
		n = write(access->fd, bytes + *done, piece);
		if (n > 0)
			*done += (size_t)n;
		else if (n == 0 || (errno != EINTR && errno != EAGAIN))
			return n < 0 ? -errno : -EIO;
	}
	return 0;
}

static uint64_t lines_in(const char *bytes, size_t len)
{
	uint64_t lines = 0;
	const char *end;

	while ((end = memchr(bytes, '\n', len))) {
		len -= (size_t)(end + 1 - bytes);
		bytes = end + 1;
		lines++;
	}
	return lines;
}

/*
 * A line that a full disk has cut off is ended before the next one begins.
 * Return: how many lines were written.
 */
static uint64_t batch_write(struct access *access)
{
	struct batch *b = &access->writing;
	size_t done = 0;
	int rc = 0;

	if (access->torn) {
		rc = write_all(access, "\n", 1, &done);
		access->torn = rc < 0;
		done = 0;
	}
	if (rc == 0) {
		rc = write_all(access, b->bytes, b->len, &done);
		access->torn = done && b->bytes[done - 1] != '\n';
	}
	if (rc < 0 && !access->failing)
		log_warn("access-log %s: %s; lines are lost", access_name(access), strerror(-rc));
	access->failing = rc < 0;
	return rc < 0 ? lines_in(b->bytes, done) : b->lines;
}

/* Once it works again: how much is missing? */
static void losses_say(struct access *access, uint64_t lost)
{
	if (access->failing || lost == access->said)
		return;
	log_limited(LOG_LEVEL_WARN, "access-log %s: %" PRIu64 " lines were lost",
		    access_name(access), lost - access->said);
	access->said = lost;
}

/* With the lock held, but for the file system's time */
static void reopen_now(struct access *access)
{
	bool done;

	access->reopen = false;
	pthread_mutex_unlock(&access->lock);
	done = reopen(access);
	pthread_mutex_lock(&access->lock);
	if (done)
		return;
	access->reopen = true;
	access->reopen_at = soon(AGAIN_MS);
}

static bool reopen_is_due(const struct access *access)
{
	return access->reopen && is_past(&access->reopen_at);
}

/* With the lock held. Return: there is something to write */
static bool batch_wait(struct access *access)
{
	while (!access->filling.len && !access->stop && !reopen_is_due(access)) {
		if (access->reopen)
			pthread_cond_timedwait(&access->changed, &access->lock, &access->reopen_at);
		else
			pthread_cond_wait(&access->changed, &access->lock);
	}
	if (reopen_is_due(access))
		reopen_now(access);
	return access->filling.len;
}

/* With the lock held, but for as long as somebody may have to be waited for */
static void batch_take(struct access *access)
{
	struct batch taken = access->filling;
	uint64_t lost = access->counts.lost, written;

	access->filling = (struct batch){ .bytes = access->writing.bytes };
	access->writing = taken;
	pthread_mutex_unlock(&access->lock);
	written = batch_write(access);
	losses_say(access, lost + taken.lines - written);
	pthread_mutex_lock(&access->lock);
	access->counts.written += written;
	access->counts.lost += taken.lines - written;
}

static void *access_main(void *arg)
{
	struct access *access = arg;
	struct timespec until;

	pthread_mutex_lock(&access->lock);
	for (;;) {
		if (batch_wait(access))
			batch_take(access);
		else if (access->stop)
			break;
		until = soon(PAUSE_MS);
		while (!access->stop && !reopen_is_due(access) &&
		       pthread_cond_timedwait(&access->changed, &access->lock, &until) == 0)
			;
	}
	pthread_mutex_unlock(&access->lock);
	return NULL;
}

/* ---- life ---- */

static void access_free(struct access *access)
{
	if (access->path && access->fd >= 0)
		close(access->fd);
	free(access->filling.bytes);
	free(access->writing.bytes);
	free(access->path);
	free(access);
}

static int access_prepare(struct access *access, const char *path)
{
	access->filling.bytes = malloc(ACCESS_BUFFER_BYTES);
	access->writing.bytes = malloc(ACCESS_BUFFER_BYTES);
	access->path = path ? strdup(path) : NULL;
	if (!access->filling.bytes || !access->writing.bytes || (path && !access->path))
		return -ENOMEM;
	access->fd = path ? file_open(path) : STDERR_FILENO;
	return access->fd < 0 ? access->fd : 0;
}

int access_open(const char *path, struct access **out)
{
	struct access *access = calloc(1, sizeof(*access));
	pthread_condattr_t attr;
	int rc = access ? access_prepare(access, path) : -ENOMEM;

	if (rc == 0) {
		pthread_mutex_init(&access->lock, NULL);
		pthread_condattr_init(&attr);
		pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
		pthread_cond_init(&access->changed, &attr);
		pthread_condattr_destroy(&attr);
		rc = -pthread_create(&access->thread, NULL, access_main, access);
	}
	if (rc == 0)
		*out = access;
	else if (access)
		access_free(access);
	return rc;
}

/* A write that nobody ends (a dead file server) must not keep the daemon: then all is left as it is. */
static bool access_join(struct access *access)
{
	struct timespec until = soon(CLOSE_MS);

	if (pthread_clockjoin_np(access->thread, NULL, CLOCK_MONOTONIC, &until) == 0)
		return true;
	log_warn("access-log %s: it takes nothing any more; lines are lost", access_name(access));
	return false;
}

void access_close(struct access *access)
{
	if (!access)
		return;
	pthread_mutex_lock(&access->lock);
	access->stop = true;
	pthread_cond_signal(&access->changed);
	pthread_mutex_unlock(&access->lock);
	if (access_join(access))
		access_free(access);
}

/* ---- for all others ---- */

void access_add(struct access *access, const char *lines, size_t len)
{
	struct batch *b = &access->filling;
	uint64_t n = lines_in(lines, len);

	pthread_mutex_lock(&access->lock);
	if (len > ACCESS_BUFFER_BYTES - b->len) {
		access->counts.lost += n;
	} else {
		memcpy(b->bytes + b->len, lines, len);
		b->lines += n;
		b->len += len;
		if (b->len == len)
			pthread_cond_signal(&access->changed);
	}
	pthread_mutex_unlock(&access->lock);
}

void access_reopen(struct access *access)
{
	pthread_mutex_lock(&access->lock);
	access->reopen = true;
	access->reopen_at = soon(0);
	pthread_cond_signal(&access->changed);
	pthread_mutex_unlock(&access->lock);
}

void access_count(struct access *access, struct access_counts *out)
{
	pthread_mutex_lock(&access->lock);
	*out = access->counts;
	pthread_mutex_unlock(&access->lock);
}
