/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pipe.h - the only buffer of a relayed connection
 *
 * splice(2) moves bytes from a socket into a pipe and from there into the other
 * socket. A connection has a pipe only while bytes are in it: empty ones wait
 * in their worker's cache for whoever needs one next.
 */
#ifndef LADON_PIPE_H
#define LADON_PIPE_H

#include <stdint.h>

#define PIPES_MAX 32

/* @read is -1: no pipe */
struct pipe {
	int read, write;
	uint32_t size; /* bytes that surely fit into the empty pipe */
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

void pipes_fini(struct pipes *pipes);

#endif
