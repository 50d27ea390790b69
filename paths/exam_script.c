// SPDX-License-Identifier: GPL-2.0-only
/*
 * exam_script.c - a program of the operator's says whether a backend is well
 *
 * It runs in a process group of its own, which is killed when it has ended, is late, or
 * is not wanted any more. The loop hears of its end by a pidfd. Who was killed is
 * waited for behind the exam's back, since a process that hangs in the kernel may take
 * long to die; as many as that may be at a time are counted, or they would become ever more.
 *
 * The exam's descriptor is a pipe with what the program says, which is read as it comes, or
 * the program would wait for ever; the last line is kept. That the pipe ends means nothing.
 */
#include "exam.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../base/own.h"

struct child {
	struct watch watch; /* a pidfd */
	pid_t pid;	    /* and process group */
	struct exam *exam;  /* NULL: killed, and nobody waits for it */
	bool ended;	    /* the loop says so; only then it may be freed, by the pidfd's event */
	struct children *among;
	LIST_ENTRY(child) others;
};

/* ---- what it gets to know ---- */

enum env {
	ENV_POOL,
	ENV_BACKEND,
	ENV_ADDRESS,
	ENV_PORT,
	ENV_PATH,
	ENV_LEN,
};

#define ENV_MAX 400 /* a name of 253 characters and a port fit */

static void env_fill(const struct exam *exam, char texts[ENV_LEN][ENV_MAX], char *env[ENV_LEN + 1])
{
	const struct addr *addr = &exam->addrs[exam->at];
	char host[ADDR_TEXT_MAX] = "";

	getnameinfo(&addr->sa, addr_len(addr), host, sizeof(host), NULL, 0, NI_NUMERICHOST);
	snprintf(texts[ENV_POOL], ENV_MAX, "LADON_POOL=%s", exam->backend->pool);
	snprintf(texts[ENV_BACKEND], ENV_MAX, "LADON_BACKEND=%s", exam->backend->config->text);
	snprintf(texts[ENV_ADDRESS], ENV_MAX, "LADON_ADDRESS=%s", host);
	snprintf(texts[ENV_PORT], ENV_MAX, "LADON_PORT=%u", addr_port(addr));
	snprintf(texts[ENV_PATH], ENV_MAX,
		 "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	for (int i = 0; i < ENV_LEN; i++)
		env[i] = texts[i];
	env[ENV_LEN] = NULL;
}

/* ---- what it says ---- */

#define SAID_BYTES 4096 /* at a time */
#define SAID_TIMES 16	/* at its end: what a pipe holds (pipe(7)) */

/* It goes into the log and into JSON, so nothing but visible ASCII is let through. */
static void said_add(struct exam *exam, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = bytes[i];

		if (c == '\n') {
			exam->said_whole = true;
			continue;
		}
		if (exam->said_whole)
			exam->said_len = 0;
		exam->said_whole = false;
		if (exam->said_len < sizeof(exam->said) - 1)
			exam->said[exam->said_len++] = c >= ' ' && c <= '~' ? c : '?';
		exam->said[exam->said_len] = '\0';
	}
}

static void said_read(struct exam *exam, unsigned int times)
{
	struct watch *watch = &exam->watch;
	char bytes[SAID_BYTES];

	while (times-- > 0 && watch->fd >= 0) {
		ssize_t len = read(watch->fd, bytes, sizeof(bytes));

		if (len < 0)
			return;
		said_add(exam, bytes, (size_t)len);
		if (len > 0)
			continue;
		close(watch->fd);
		watch->fd = -1;
		watch->events = 0;
	}
}

/* The exam's end does not block, the program's does. */
static int said_open(struct exam *exam, int *out)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	exam->said_whole = false;
	exam->watch.fd = fds[0];
	*out = fds[1];
	if (fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return loop_watch(exam->loop, &exam->watch, EPOLLIN);
}

/* ---- begin ---- */

/* None of ladond's descriptors; @said takes what it says. Return: 0 or an errno */
static int actions_fill(posix_spawn_file_actions_t *actions, int said)
{
	int rc = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDWR, 0);

	for (int fd = 1; rc == 0 && fd <= 2; fd++)
		rc = posix_spawn_file_actions_adddup2(actions, said, fd);
	if (rc == 0)
		rc = posix_spawn_file_actions_addclosefrom_np(actions, 3);
	if (rc == 0)
		rc = posix_spawn_file_actions_addchdir_np(actions, "/");
	return rc;
}

/* ladond blocks signals and ignores SIGPIPE; a program expects neither. */
static void attributes_fill(posix_spawnattr_t *attributes)
{
	sigset_t none, ignored;

	sigemptyset(&none);
	sigemptyset(&ignored);
	sigaddset(&ignored, SIGPIPE);
	posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
						     POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setpgroup(attributes, 0);
	posix_spawnattr_setsigmask(attributes, &none);
	posix_spawnattr_setsigdefault(attributes, &ignored);
}

/* Return: 0 or an errno */
static int spawn(const struct exam *exam, int said, pid_t *out)
{
	char **command = exam->plan->config.command;
	char texts[ENV_LEN][ENV_MAX], *env[ENV_LEN + 1];
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	int rc;

	env_fill(exam, texts, env);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attributes);
	attributes_fill(&attributes);
	rc = actions_fill(&actions, said);
	if (rc == 0)
		rc = posix_spawn(out, command[0], &actions, &attributes, command, env);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

static void child_free(struct child *child)
{
	if (child->watch.fd >= 0)
		close(child->watch.fd);
	LIST_REMOVE(child, others);
	child->among->len--;
	free(child);
}

static void child_kill(const struct child *child)
{
	kill(-child->pid, SIGKILL);
}

/* Return: has it ended? Then its group has, too, and it is reaped. */
static bool child_wait(const struct child *child, siginfo_t *info)
{
	info->si_pid = 0;
	if (waitid(P_PIDFD, (id_t)child->watch.fd, info, WEXITED | WNOHANG | WNOWAIT) < 0 ||
	    !info->si_pid)
		return false;
	child_kill(child); /* as long as it is not reaped, nobody else can have this number */
	waitid(P_PIDFD, (id_t)child->watch.fd, info, WEXITED | WNOHANG);
	return true;
}

static void child_event(struct watch *watch, uint32_t ready)
{
	struct child *child = container_of(watch, struct child, watch);
	siginfo_t info;

	(void)ready;
	child->ended = true;
	if (child->exam)
		exam_go_on(child->exam);
	else if (child_wait(child, &info))
		child_free(child);
}

/* A pidfd cannot be had, or not be watched */
static int child_fail(struct child *child, int rc)
{
	child_kill(child);
	waitpid(child->pid, NULL, 0);
	child_free(child);
	return rc;
}

static int child_start(struct exam *exam)
{
	_close_ int said = -1;
	struct child *child;
	int rc;

	if (exam->children->len >= CHILDREN_MAX) {
		exam_say(exam, "%u scripts that were killed have not ended", exam->children->len);
		return EXAM_NO_VERDICT;
	}
	rc = said_open(exam, &said);
	if (rc < 0)
		return rc;
	child = calloc(1, sizeof(*child));
	if (!child)
		return -ENOMEM;
	child->watch = (struct watch){ .run = child_event, .fd = -1 };
	child->exam = exam;
	child->among = exam->children;
	rc = spawn(exam, said, &child->pid);
	if (rc) {
		free(child);
		exam_say(exam, "%s: %s", exam->plan->config.command[0], strerror(rc));
		return EXAM_NO_VERDICT;
	}
	LIST_INSERT_HEAD(&exam->children->list, child, others);
	exam->children->len++;
	child->watch.fd = pidfd_open(child->pid, 0);
	if (child->watch.fd < 0)
		return child_fail(child, -errno);
	rc = loop_watch(exam->loop, &child->watch, EPOLLIN);
	if (rc < 0)
		return child_fail(child, rc);
	exam->child = child;
	return 0;
}

/* ---- end ---- */

int exam_script(struct exam *exam)
{
	siginfo_t info;
	int rc;

	if (!exam->child) {
		rc = child_start(exam);
		return rc < 0 ? rc : -EAGAIN;
	}
	said_read(exam, exam->child->ended ? SAID_TIMES : 1);
	if (!exam->child->ended || !child_wait(exam->child, &info))
		return -EAGAIN;
	child_free(exam->child);
	exam->child = NULL;
	if (info.si_code == CLD_EXITED && info.si_status == 0)
		return 0;
	exam_say(exam, info.si_code == CLD_EXITED ? "exit status %d" : "ended by signal %d",
		 info.si_status);
	return -EPROTO;
}

void exam_script_close(struct exam *exam)
{
	if (!exam->child)
		return;
	child_kill(exam->child);
	exam->child->exam = NULL;
	exam->child = NULL;
}

void children_forget(struct children *children)
{
	struct child *child;
	siginfo_t info;

	while ((child = LIST_FIRST(&children->list))) {
		child_wait(child, &info);
		child_free(child);
	}
}
