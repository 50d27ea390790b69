// SPDX-License-Identifier: GPL-2.0-only
#include "first.h"

#include <assert.h>
#include <errno.h>
#include <sys/socket.h>
#include <time.h>

#include "admit.h"
#include "conn.h"
#include "ends.h"
#include "proxied.h"
#include "vouch.h"

/* Bytes of c->first that were for ladon itself */
static uint32_t first_own(const struct conn *c)
{
	return c->consumed - c->header.len;
}

/* One read, as much as there is room for: what did not fit stays in the socket. */
static int first_read(struct conn *c)
{
	uint32_t room = PEEK_BYTES_MAX - c->first.len;
	uint8_t *scratch = c->worker->scratch;
	ssize_t n = recv(c->front.fd, scratch, room, 0);

	if (n < 0 && errno == EAGAIN)
		return -EAGAIN;
	if (n <= 0)
		return conn_end(c, LADON_REASON_CLIENT_GONE);
	if (!c->first.len)
		conn_sleep(c); /* it is not silent */
	if (kept_append(&c->first, scratch, (uint32_t)n) < 0)
		return conn_lack(c, "memory for first bytes", -ENOMEM);
	return 0;
}

/* Ladon's half of a dialogue, as far as it goes by now */
static int first_talk(struct conn *c, const struct talk *talk)
{
	size_t len;

	if (talk->consumed > first_own(c))
		conn_consumed(c, c->header.len + (uint32_t)talk->consumed);
	if (talk->say_len <= c->said)
		return 0;
	len = talk->say_len - c->said;
	if (send(c->front.fd, talk->say + c->said, len, MSG_NOSIGNAL) != (ssize_t)len)
		return conn_end(c, LADON_REASON_CLIENT_GONE);
	c->said = (uint8_t)talk->say_len;
	return 0;
}

/*
 * Part of a message to ladon: it may be acknowledged, and Nagle's algorithm keeps the rest back
 * until it is. Some clients write each line of a CONNECT for itself.
 */
static void first_encourage(struct conn *c, const struct talk *talk)
{
	if (talk->begun && !talk->asks && c->first.len > first_own(c))
		conn_acknowledge(c, LADON_REASON_ACKED);
}

static int first_refuse(struct conn *c, const struct hello *hello)
{
	c->protocol = hello->protocol;
	c->alert = hello->alert;
	c->answered |= c->said > 0; /* the dialogue's last word */
	return conn_turn_away(c, c->unheard ? LADON_REASON_USERS_BUSY : hello->reason);
}

/* Who sends a prefix says no more than that. Is it enough? */
static bool first_vouched(const struct conn *c, const struct talk *talk, struct hello *hello)
{
	if (hello->protocol != PEEK_PROTOCOL_PREFIX || !c->listener->peek.users)
		return true;
	hello->reason = token_judge(c->listener->config->keys, talk, (uint64_t)time(NULL));
	return !hello->reason;
}

static int first_found(struct conn *c, const struct talk *talk, struct hello *hello)
{
	c->protocol = hello->protocol;
	ends_name(c, hello->name);
	conn_debug(c, "peek: %u bytes, \"%s\"", c->first.len, hello->name);
	if (!first_vouched(c, talk, hello))
		return first_refuse(c, hello);
	if (first_own(c))
		kept_drop(&c->first, first_own(c));
	return 0;
}

static void first_told(struct verdict *verdict, bool right)
{
	struct conn *c = container_of(verdict, struct conn, verdict);

	c->user_is = right ? PEEK_USER_RIGHT : PEEK_USER_WRONG;
	conn_later(c);
}

/* Is it the user's password? Return: 0: c->user_is says it; -EAGAIN: later */
static int first_ask(struct conn *c, const struct talk *talk)
{
	struct users *users = c->listener->config->users;
	struct worker *worker = c->worker;
	int rc;

	if (c->verdict.question)
		return -EAGAIN;
	if (!users) {
		c->user_is = PEEK_USER_WRONG; /* those who have a token may */
		return 0;
	}
	c->verdict.told = first_told;
	rc = verdict_ask(&c->verdict, worker->gateway->verifier, &worker->notes, users, talk->user,
			 talk->password, conn_now(c));
	if (rc == -EINPROGRESS)
		return -EAGAIN;
	c->unheard = rc < 0;
	c->user_is = rc > 0 ? PEEK_USER_RIGHT : PEEK_USER_WRONG;
	return 0;
}

static int first_none(struct hello *hello)
{
	*hello = (struct hello){ .protocol = PEEK_PROTOCOL_NONE };
	return 0;
}

/*
 * Has it been waited for long enough? Then the client waits for its server, too. Whatever
 * it says from now on stays in the socket until the handoff or the relay reads it.
 */
static bool first_is_silent(struct conn *c)
{
	uint32_t silence_ms = c->listener->config->silence_ms;
	bool silent;

	if (!silence_ms || c->first.len || c->header_due)
		return false;
	if (!c->wake_ms)
		conn_wake(c, silence_ms);
	silent = c->woken;
	if (silent)
		conn_sleep(c);
	return silent;
}

/* What the client wants may come in many pieces. It must not wait for an
 * acknowledgement meanwhile: Nagle's algorithm keeps its second piece back until
 * the first is acknowledged, and a large hello may exceed its initial window.
 */
static int first_wait(struct conn *c)
{
	int rc;

	if (c->late)
		return conn_turn_away(c, LADON_REASON_FIRST_BYTES);
	rc = admit_wait(c);
	if (rc < 0)
		return rc;
	if (!c->limit_ms)
		conn_limit(c, c->listener->config->first_bytes_ms);
	if (first_is_silent(c))
		return first_none(&c->worker->hello);
	if (c->guarded && c->first.len > first_own(c) && !c->wake_ms)
		conn_wake(c, CONN_PATIENCE_MS);
	if (c->guarded && c->woken)
		conn_acknowledge(c, LADON_REASON_ACKED);
	if (c->front.events)
		return -EAGAIN;
	rc = loop_watch(&c->worker->loop, &c->front, CONN_READING);
	return rc < 0 ? conn_lack(c, "epoll", rc) : -EAGAIN;
}

static int first_look(struct conn *c, struct hello *hello)
{
	struct talk *talk = &c->worker->talk;
	enum peek_answer answer;
	int rc = proxied_read(c);

	if (rc < 0)
		return rc;
	if (!c->listener->config->peek)
		return first_none(hello);
	do {
		talk_start(talk);
		talk->user_is = c->user_is;
		answer = peek_first(&c->listener->peek, talk, c->first.bytes, c->first.len, hello);
		rc = first_talk(c, talk);
		if (rc == 0 && answer == PEEK_MORE) {
			first_encourage(c, talk);
			rc = talk->asks ? first_ask(c, talk) : -EAGAIN;
		}
	} while (rc == 0 && answer == PEEK_MORE);
	if (rc < 0)
		return rc;
	c->answered = talk->silent;
	return answer == PEEK_BAD ? first_refuse(c, hello) : first_found(c, talk, hello);
}

int conn_peek(struct conn *c)
{
	struct hello *hello = &c->worker->hello;
	int rc;

	if (!c->listener->config->peek && !c->header_due)
		return first_none(hello);
	rc = c->first.len && c->user_is ? first_look(c, hello) : -EAGAIN; /* told meanwhile */
	while (rc == -EAGAIN) {
		if (c->verdict.question)
			return first_wait(c);
		assert(c->first.len < PEEK_BYTES_MAX);
		rc = first_read(c);
		if (rc == -EAGAIN)
			return first_wait(c);
		if (rc == 0)
			rc = first_look(c, hello);
	}
	return rc;
}
