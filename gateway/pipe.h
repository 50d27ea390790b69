/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pipe.h - what splice(2) needs between two sockets
 *
 * A connection has a pipe only while bytes are in it: empty ones wait in their
 * worker's cache for whoever needs one next.
 */
#ifndef LADON_PIPE_H
#define LADON_PIPE_H

#include <stdint.h>

#define PIPES_MAX 32

/* @read is -1: no pipe */
struct pipe {
	int read, write;
	uint32_t size; /* bytes that fit into it */
};

struct pipes {
	struct pipe idle[PIPES_MAX];
	unsigned int len;
};

/** pipe_take() - an empty pipe, made or from the cache. Return: 0 or a negative errno */
int pipe_take(struct pipes *pipes, struct pipe *out);

/** pipe_give() - back to the cache; the pipe must be empty. No pipe is fine */
void pipe_give(struct pipes *pipes, struct pipe *pipe);

/** pipe_close() - with whatever is in it. No pipe is fine */
void pipe_close(struct pipe *pipe);

/** pipes_fini() - close those in the cache, which may be used again */
void pipes_fini(struct pipes *pipes);

#endif
