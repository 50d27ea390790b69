/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * top.c - ladon top: the busiest flows, again and again
 *
 * A flow's rate is what its bytes grew by since the sample before, or since the
 * handoff for a flow that was not in it. So of all flows two counters are
 * kept, in a table that grows to SAMPLES_MAX flows and no further, and of the
 * busiest ones the whole row.
 *
 * On a terminal it takes the alternate screen and reads keys; signals arrive
 * through a descriptor, so that the screen is given back whatever ends us.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <time.h>

#include "../base/own.h"
#include "cli.h"
#include "request.h"

#define INTERVAL_DEFAULT_S 2
#define ROWS_DEFAULT	   20
#define ROWS_MAX	   1000
#define SAMPLES_MIN	   1024
#define SAMPLES_MAX	   (1u << 21) /* 24 bytes each; at most half of them are filled */
#define SCREEN_HEADER	   5	      /* lines above the rows: totals, blank, labels */

/* ---- what the flows had carried when we last looked ---- */

struct sample {
	uint64_t id; /* plus one; 0: free */
	uint64_t bytes_in, bytes_out;
};

struct samples {
	struct sample *slots; /* a power of two of them */
	size_t room, len;
};

static struct sample *samples_slot(const struct samples *s, uint64_t id)
{
	size_t i = (size_t)(id * 0x9e3779b97f4a7c15ull >> 32) & (s->room - 1);

	while (s->slots[i].id && s->slots[i].id != id + 1)
		i = (i + 1) & (s->room - 1);
	return &s->slots[i];
}

static const struct sample *samples_find(const struct samples *s, uint64_t id)
{
	const struct sample *sample = s->room ? samples_slot(s, id) : NULL;

	return sample && sample->id ? sample : NULL;
}

/* Return: false when the table has its full size, or there is no memory. */
static bool samples_grow(struct samples *s)
{
	struct samples larger = { .room = s->room ? 2 * s->room : SAMPLES_MIN, .len = s->len };

	if (larger.room > SAMPLES_MAX)
		return false;
	larger.slots = calloc(larger.room, sizeof(*larger.slots));
	if (!larger.slots)
		return false;
	for (size_t i = 0; i < s->room; i++) {
		if (s->slots[i].id)
			*samples_slot(&larger, s->slots[i].id - 1) = s->slots[i];
	}
	free(s->slots);
	*s = larger;
	return true;
}

/* A flow that finds no room is averaged over its life, not since the last look. */
static void samples_add(struct samples *s, uint64_t id, uint64_t bytes_in, uint64_t bytes_out)
{
	struct sample *slot;

	if (2 * (s->len + 1) > s->room && !samples_grow(s))
		return;
	slot = samples_slot(s, id);
	if (!slot->id)
		s->len++;
	*slot = (struct sample){ .id = id + 1, .bytes_in = bytes_in, .bytes_out = bytes_out };
}

static void samples_clear(struct samples *s)
{
	free(s->slots);
	*s = (struct samples){ 0 };
}

/* ---- one look ---- */

struct row {
	uint64_t in_bps, out_bps;
	json_t *flow;
};

struct top {
	struct cli *cli;
	struct samples before, now;
	int64_t before_ms, now_ms; /* CLOCK_MONOTONIC */
	uint64_t flows, in_bps, out_bps;
	struct row *rows; /* sorted, busiest first */
	size_t rows_len, rows_room;
};

static int64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint64_t u64(const json_t *flow, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(flow, key));
}

static uint64_t bps(uint64_t bytes, uint64_t ms)
{
	return (uint64_t)((double)bytes * 8000 / (double)(ms ? ms : 1));
}

static bool row_is_busier(const struct row *a, const struct row *b)
{
	uint64_t a_bps = a->in_bps + a->out_bps, b_bps = b->in_bps + b->out_bps;

	return a_bps != b_bps ? a_bps > b_bps : u64(a->flow, "id") < u64(b->flow, "id");
}

/* Keep @row if it is among the busiest so far. */
static void rows_add(struct top *top, const struct row *row)
{
	size_t i = top->rows_len;

	if (i == top->rows_room) {
		if (i == 0 || !row_is_busier(row, &top->rows[i - 1]))
			return;
		json_decref(top->rows[--i].flow);
	} else {
		top->rows_len++;
	}
	for (; i > 0 && row_is_busier(row, &top->rows[i - 1]); i--)
		top->rows[i] = top->rows[i - 1];
	top->rows[i] = *row;
	json_incref(row->flow);
}

static void flow_add(void *arg, const json_t *flow)
{
	struct top *top = arg;
	uint64_t id = u64(flow, "id"), in = u64(flow, "bytes_in"), out = u64(flow, "bytes_out");
	const struct sample *before = samples_find(&top->before, id);
	struct row row = { .flow = (json_t *)flow };

	samples_add(&top->now, id, in, out);
	/* fewer bytes than before: another flow got the number */
	if (before && before->bytes_in <= in && before->bytes_out <= out) {
		uint64_t ms = (uint64_t)(top->now_ms - top->before_ms);

		row.in_bps = bps(in - before->bytes_in, ms);
		row.out_bps = bps(out - before->bytes_out, ms);
	} else {
		row.in_bps = bps(in, u64(flow, "age_ms"));
		row.out_bps = bps(out, u64(flow, "age_ms"));
	}
	top->flows++;
	top->in_bps += row.in_bps;
	top->out_bps += row.out_bps;
	rows_add(top, &row);
}

static void rows_clear(struct top *top)
{
	for (size_t i = 0; i < top->rows_len; i++)
		json_decref(top->rows[i].flow);
	top->rows_len = 0;
}

/* Return: 0 or -1, as request_flows(). */
static int top_look(struct top *top)
{
	samples_clear(&top->before);
	top->before = top->now;
	top->now = (struct samples){ 0 };
	top->before_ms = top->now_ms;
	top->now_ms = clock_ms();
	top->flows = top->in_bps = top->out_bps = 0;
	rows_clear(top);
	return request_flows(top->cli, NULL, flow_add, top);
}

static void top_print(const struct top *top, struct out *o)
{
	static const struct out_field fields[] = {
		{ "id", OUT_COUNT, NULL },
		{ "client", OUT_TEXT, NULL },
		{ "listener_name", OUT_TEXT, "listener" },
		{ "backend", OUT_TEXT, NULL },
		{ "pool", OUT_TEXT, NULL },
		{ "bytes_in", OUT_BYTES, NULL },
		{ "bytes_out", OUT_BYTES, NULL },
		{ "age_ms", OUT_MS, NULL },
		{ "idle_ms", OUT_MS, NULL },
	};

	out_open(o, NULL);
	out_u64(o, "live", OUT_COUNT, top->flows);
	out_u64(o, "in_bps", OUT_BPS, top->in_bps);
	out_u64(o, "out_bps", OUT_BPS, top->out_bps);
	out_list(o, "flows");
	for (size_t i = 0; i < top->rows_len; i++) {
		out_open(o, NULL);
		out_u64(o, "in_bps", OUT_BPS, top->rows[i].in_bps);
		out_u64(o, "out_bps", OUT_BPS, top->rows[i].out_bps);
		out_fields(o, top->rows[i].flow, fields, sizeof(fields) / sizeof(fields[0]));
		out_close(o);
	}
	out_end(o);
	out_close(o);
}

/* ---- the terminal ---- */

struct screen {
	bool on;
	bool reads_keys;
	int signals; /* signalfd(2), while .on */
	struct termios before;
};

enum answer {
	TOP_AGAIN,
	TOP_QUIT,
};

static void screen_enter(const struct screen *s)
{
	struct termios raw = s->before;

	if (s->reads_keys) {
		raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	}
	fputs("\033[?1049h\033[?25l",
	      stdout); /* alternate screen, no cursor: xterm, and all since */
	fflush(stdout);
}

static void screen_leave(const struct screen *s)
{
	fputs("\033[?25h\033[?1049l", stdout);
	fflush(stdout);
	if (s->reads_keys)
		tcsetattr(STDIN_FILENO, TCSANOW, &s->before);
}

/* Return: 0 or a negative errno. Without a terminal there is nothing to open. */
static int screen_open(struct screen *s, bool json)
{
	sigset_t signals;

	s->on = !json && isatty(STDOUT_FILENO);
	s->signals = -1;
	if (!s->on)
		return 0;
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGTSTP);
	s->signals = signalfd(-1, &signals, SFD_CLOEXEC);
	if (s->signals < 0)
		return -errno;
	sigprocmask(SIG_BLOCK, &signals, NULL);
	s->reads_keys = tcgetattr(STDIN_FILENO, &s->before) == 0;
	screen_enter(s);
	return 0;
}

static void screen_close(struct screen *s)
{
	if (!s->on)
		return;
	screen_leave(s);
	close(s->signals);
}

/* How many flows fit below the header; @columns is the width. */
static size_t screen_rows(unsigned int *columns)
{
	struct winsize size = { 0 };
	size_t rows;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0) {
		size.ws_row = 24;
		size.ws_col = 80;
	}
	*columns = size.ws_col;
	rows = size.ws_row > SCREEN_HEADER ? size.ws_row - SCREEN_HEADER : 1;
	return rows < ROWS_MAX ? rows : ROWS_MAX;
}

/* Over what is there, line by line, so that nothing flickers. */
static void screen_draw(const char *text, size_t rows, unsigned int columns)
{
	fputs("\033[H", stdout);
	for (size_t line = 0; *text && line < rows + SCREEN_HEADER; line++) {
		size_t len = strcspn(text, "\n");

		fprintf(stdout, "%s%.*s\033[K", line ? "\n" : "",
			(int)(len < columns ? len : columns), text);
		text += len + (text[len] == '\n');
	}
	fputs("\033[J", stdout);
}

/* Ctrl-Z: the shell gets its own screen back until it continues us. */
static enum answer signal_take(const struct screen *s)
{
	struct signalfd_siginfo info;

	if (read(s->signals, &info, sizeof(info)) != sizeof(info) || info.ssi_signo != SIGTSTP)
		return TOP_QUIT;
	screen_leave(s);
	raise(SIGSTOP);
	screen_enter(s);
	return TOP_AGAIN;
}

/* Wait until the next look is due, or somebody has had enough. */
static enum answer screen_wait(struct screen *s, int64_t until_ms)
{
	for (;;) {
		struct pollfd fds[] = {
			{ .fd = s->signals, .events = POLLIN },
			{ .fd = s->on && s->reads_keys ? STDIN_FILENO : -1, .events = POLLIN },
		};
		int64_t left_ms = until_ms - clock_ms();
		char key;

		if (left_ms <= 0)
			return TOP_AGAIN;
		if (poll(fds, 2, (int)left_ms) <= 0)
			continue;
		if (fds[0].revents)
			return signal_take(s);
		if (read(STDIN_FILENO, &key, 1) != 1)
			s->reads_keys = false; /* the terminal is gone, or behaves oddly */
		else if (key == 'q' || key == 'Q')
			return TOP_QUIT;
	}
}

/* ---- both together ---- */

/* Look once and show it. @talk: what there was to say; to be freed. Return: 0 or -1. */
static int top_update(struct top *top, const struct screen *s, char **talk)
{
	unsigned int columns = 0;
	size_t talk_len, len;
	char *text = NULL;
	struct out o;
	FILE *f;
	int rc;

	if (s->on)
		top->rows_room = screen_rows(&columns);
	top->cli->talk = open_memstream(talk, &talk_len);
	if (!top->cli->talk)
		return -1;
	rc = top_look(top);
	fclose(top->cli->talk);
	top->cli->talk = stderr;
	if (rc < 0)
		return rc;
	f = s->on ? open_memstream(&text, &len) : stdout;
	if (!f)
		return -1;
	out_init(&o, f, top->cli->out.json);
	top_print(top, &o);
	if (s->on) {
		fclose(f);
		screen_draw(text, top->rows_room, columns);
		free(text);
	}
	return fflush(stdout) == 0 ? 0 : -1;
}

static size_t rows_wanted(const json_t *keys)
{
	json_int_t rows = json_integer_value(json_object_get(keys, "flows"));

	if (rows == 0)
		return ROWS_DEFAULT;
	return rows < ROWS_MAX ? (size_t)rows : ROWS_MAX;
}

static int top_run(struct top *top, struct screen *s)
{
	double seconds = json_real_value(json_object_get(top->cli->keys, "interval"));
	json_int_t count = json_integer_value(json_object_get(top->cli->keys, "count"));
	int64_t interval_ms = (int64_t)((seconds > 0 ? seconds : INTERVAL_DEFAULT_S) * 1000);

	for (json_int_t i = 1;; i++) {
		int64_t next_ms = clock_ms() + interval_ms;
		_free_ char *talk = NULL;
		int rc = top_update(top, s, &talk);

		if (rc < 0) {
			screen_close(s);
			fputs(talk ? talk : "ladon: out of memory\n", stderr);
			return CLI_FAILED;
		}
		if (i == count || screen_wait(s, next_ms) == TOP_QUIT)
			break;
		if (!s->on && !top->cli->out.json)
			fputc('\n', stdout);
	}
	screen_close(s);
	return CLI_DONE;
}

int top_show(struct cli *cli)
{
	struct top top = { .cli = cli, .rows_room = rows_wanted(cli->keys) };
	struct screen screen = { 0 };
	int rc = CLI_FAILED;

	top.rows = calloc(ROWS_MAX, sizeof(*top.rows));
	if (!top.rows || screen_open(&screen, cli->out.json) < 0)
		fprintf(stderr, "ladon: top: %s\n", strerror(errno));
	else
		rc = top_run(&top, &screen);
	rows_clear(&top);
	samples_clear(&top.before);
	samples_clear(&top.now);
	free(top.rows);
	return rc;
}
