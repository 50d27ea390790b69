// SPDX-License-Identifier: LGPL-2.1-or-later
#include "log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LIMITED_PER_SECOND 10

enum log_level log_level_max = LOG_LEVEL_INFO;

static const struct {
	const char *name;
	const char *journal;
} levels[] = {
	[LOG_LEVEL_ERR] = { "err", "<3>" },
	[LOG_LEVEL_WARN] = { "warn", "<4>" },
	[LOG_LEVEL_INFO] = { "info", "<6>" },
	[LOG_LEVEL_DEBUG] = { "debug", "<7>" },
};

static bool to_journal;

void log_init(enum log_level level)
{
	log_level_max = level;
	to_journal = getenv("JOURNAL_STREAM") != NULL;
}

bool log_level_parse(const char *name, enum log_level *out)
{
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcmp(levels[i].name, name) == 0) {
			*out = (enum log_level)i;
			return true;
		}
	}
	return false;
}

/* One write() per line, so that lines of several threads do not mix. */
static void line_write(enum log_level level, const char *fmt, va_list args)
{
	int saved = errno;
	char line[1024];
	int used, n;

	if (to_journal)
		used = snprintf(line, sizeof(line), "%s", levels[level].journal);
	else
		used = snprintf(line, sizeof(line), "ladond: %s: ", levels[level].name);
	n = vsnprintf(line + used, sizeof(line) - (size_t)used - 1, fmt, args);
	if (n > 0)
		used += n;
	if ((size_t)used > sizeof(line) - 2)
		used = sizeof(line) - 2;
	line[used++] = '\n';
	(void)!write(STDERR_FILENO, line, (size_t)used); /* nobody left to tell if it fails */
	errno = saved;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	va_list args;

	if (level > log_level_max)
		return;
	va_start(args, fmt);
	line_write(level, fmt, args);
	va_end(args);
}

void log_limited(enum log_level level, const char *fmt, ...)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static time_t second;
	static unsigned int used, kept_back;
	unsigned int missed = 0;
	struct timespec now;
	bool print;
	va_list args;

	if (level > log_level_max)
		return;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	pthread_mutex_lock(&lock);
	if (now.tv_sec != second) {
		second = now.tv_sec;
		used = 0;
		missed = kept_back;
		kept_back = 0;
	}
	print = used < LIMITED_PER_SECOND;
	if (print)
		used++;
	else
		kept_back++;
	pthread_mutex_unlock(&lock);

	if (missed)
		log_line(LOG_LEVEL_WARN, "log: kept back %u lines like these", missed);
	if (!print)
		return;
	va_start(args, fmt);
	line_write(level, fmt, args);
	va_end(args);
}
