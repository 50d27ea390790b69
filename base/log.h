/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * log.h - one line to stderr, with a level that journald understands
 *
 * err: someone must act. warn: odd, we go on. info: start, stop, reload.
 * debug: a line per step of a connection. A message names the thing, the try
 * and the reason. log_limited() is for what the network can cause: at most
 * ten lines a second, and the number kept back is said with the next one.
 */
#ifndef LADON_LOG_H
#define LADON_LOG_H

#include <stdbool.h>

enum log_level {
	LOG_LEVEL_ERR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

extern enum log_level log_level_max;

/**
 * log_init() - choose how lines look
 * @level: the least urgent level that is printed
 *
 * With JOURNAL_STREAM in the environment lines begin with <N> as sd-daemon(3)
 * describes, else with the level's name.
 */
void log_init(enum log_level level);

/** log_level_parse() - "err", "warn", "info" or "debug"; false if neither */
bool log_level_parse(const char *name, enum log_level *out);

__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void log_limited(enum log_level level, const char *fmt, ...);

#define log_err(...) log_line(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warn(...) log_line(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                \
	do {                                                          \
		if (log_level_max >= LOG_LEVEL_DEBUG)                 \
			log_line(LOG_LEVEL_DEBUG, __VA_ARGS__);       \
	} while (0)

#endif
