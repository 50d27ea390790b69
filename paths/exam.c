// SPDX-License-Identifier: GPL-2.0-only
/*
 * exam.c - one check of one backend: is there an address of it that answers?
 *
 * Edges of the descriptor are enough (EPOLLET), because a step goes on until it gets
 * EAGAIN, and the next one begins at once.
 */
#include "exam.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

/* ---- steps ---- */

static int socket_open(const struct addr *addr)
{
	const struct linger reset = { .l_onoff = 1 };
	int fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	return fd;
}

/* connect(2), asked again, says how the first one went. */
static int exam_connect(struct exam *exam)
{
	const struct addr *addr = &exam->addrs[exam->at];
	struct watch *watch = &exam->watch;
	int rc;

	if (watch->fd < 0)
		watch->fd = socket_open(addr);
	if (watch->fd < 0)
		return watch->fd;
	rc = connect(watch->fd, &addr->sa, addr_len(addr)) < 0 ? -errno : 0;
	if (rc == -EISCONN)
		rc = 0;
	else if (rc == -EINPROGRESS || rc == -EALREADY)
		rc = -EAGAIN;
	else if (rc < 0)
		return rc;
	if (!watch->events) {
		int failed = loop_watch(exam->loop, watch, EVENTS);

		if (failed < 0)
			return failed;
	}
	return rc;
}

ssize_t exam_send(struct exam *exam, const void *bytes, size_t len)
{
	ssize_t sent;

	if (exam->tls)
		return exam_tls_send(exam, bytes, len);
	sent = send(exam->watch.fd, bytes, len, MSG_NOSIGNAL);
	return sent < 0 ? -errno : sent;
}

ssize_t exam_receive(struct exam *exam, void *bytes, size_t len)
{
	ssize_t received;

	if (exam->tls)
		return exam_tls_receive(exam, bytes, len);
	received = recv(exam->watch.fd, bytes, len, 0);
	return received < 0 ? -errno : received;
}

struct exam_step {
	const char *name;
	int (*run)(struct exam *exam);
};

static const struct exam_step connecting = { "connect", exam_connect };
static const struct exam_step shaking = { "TLS", exam_tls };
static const struct exam_step running = { "script", exam_script };
static const struct exam_step asking = { "HTTP", exam_http };

#define STEPS_MAX 4

static const struct exam_step *const steps[HEALTH_CHECKS][STEPS_MAX] = {
	[HEALTH_TCP] = { &connecting },
	[HEALTH_HTTP] = { &connecting, &asking },
	[HEALTH_TLS] = { &connecting, &shaking },
	[HEALTH_HTTPS] = { &connecting, &shaking, &asking },
	[HEALTH_SCRIPT] = { &running },
};

static const struct exam_step *exam_step(const struct exam *exam)
{
	return steps[exam->plan->config.check][exam->step];
}

/* ---- one address after the other ---- */

void exam_say(struct exam *exam, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(exam->why, sizeof(exam->why), fmt, args);
	va_end(args);
}

static void try_close(struct exam *exam)
{
	timer_stop(&exam->loop->timers, &exam->limit);
	exam_script_close(exam);
	exam_tls_close(exam);
	if (exam->watch.fd >= 0)
		close(exam->watch.fd);
	exam->watch.fd = -1;
	exam->watch.events = 0;
	free(exam->request);
	exam->request = NULL;
}

static void exam_end(struct exam *exam, enum exam_result result)
{
	try_close(exam);
	exam->result = result;
	exam->took_ms = clock_ms() - exam->begun_ms;
	loop_later(exam->loop, &exam->ended);
}

/* Put the address and the step before what was said, as far as they tell something. */
static void why_complete(struct exam *exam, int rc)
{
	const struct addr *addr = &exam->addrs[exam->at];
	char said[BACKEND_WHY_MAX], text[ADDR_TEXT_MAX];
	bool known;

	memcpy(said, exam->why, sizeof(said));
	known = strcmp(addr_format(addr, text), exam->backend->config->text) == 0;
	exam_say(exam, "%s%s%s: %s%s%s", known ? "" : text, known ? "" : ": ",
		 exam_step(exam)->name, *said ? said : strerror(-rc), *exam->said ? ": " : "",
		 exam->said);
}

/* Does it say nothing about the backend? */
static bool is_void(int rc)
{
	return rc == EXAM_NO_VERDICT || rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM ||
	       rc == -ENOBUFS;
}

static void try_begin(struct exam *exam)
{
	exam->why[0] = '\0';
	exam->said[0] = '\0';
	exam->said_len = 0;
	exam->step = 0;
	timer_set(&exam->loop->timers, &exam->limit,
		  exam->loop->now_ms + exam->plan->config.timeout_ms);
	exam_go_on(exam);
}

static void try_fail(struct exam *exam, int rc)
{
	why_complete(exam, rc);
	if (is_void(rc)) {
		exam_end(exam, EXAM_VOID);
	} else if (++exam->tried == exam->len) {
		exam_end(exam, EXAM_SICK);
	} else {
		try_close(exam);
		exam->at = (exam->at + 1) % exam->len;
		try_begin(exam);
	}
}

void exam_go_on(struct exam *exam)
{
	const struct exam_step *step;

	while ((step = exam_step(exam))) {
		int rc = step->run(exam);

		if (rc == -EAGAIN)
			return;
		if (rc < 0) {
			try_fail(exam, rc);
			return;
		}
		exam->step++;
	}
	exam->why[0] = '\0';
	exam_end(exam, EXAM_WELL);
}

/* An event may be left from a descriptor that was closed in the same round. */
static void exam_event(struct watch *watch, uint32_t ready)
{
	struct exam *exam = container_of(watch, struct exam, watch);

	(void)ready;
	if (watch->fd >= 0)
		exam_go_on(exam);
}

static void exam_late(struct timer *timer)
{
	struct exam *exam = container_of(timer, struct exam, limit);

	exam_say(exam, "no answer in %u ms", exam->plan->config.timeout_ms);
	try_fail(exam, -ETIMEDOUT);
}

void exam_begin(struct exam *exam)
{
	exam->begun_ms = clock_ms();
	exam->tried = 0;
	exam->watch = (struct watch){ .run = exam_event, .fd = -1 };
	exam->limit = (struct timer){ .run = exam_late };
	try_begin(exam);
}

void exam_stop(struct exam *exam)
{
	if (!exam->ended.queued)
		exam_end(exam, EXAM_VOID);
}
