// SPDX-License-Identifier: GPL-2.0-only
/*
 * exam_http.c - ask a backend for a path, and look at the status of its answer
 *
 * HTTP/1.1 with "Connection: close". Nothing behind the status is read: how long
 * an answer is costs nothing. An interim answer (1xx) is a status like others.
 */
#include "exam.h"

#include <errno.h>
#include <stdio.h>

static const char *text_or(const struct exam *exam, enum health_text which, const char *other)
{
	const char *text = exam->plan->config.texts[which];

	return text ? text : other;
}

/* What is said is what is connected to, with its port. */
static int request_make(struct exam *exam)
{
	const struct config_backend *backend = exam->backend->config;
	const struct addr *addr = &exam->addrs[exam->at];
	char host[ADDR_TEXT_MAX + 256];
	int len;

	if (backend->host)
		snprintf(host, sizeof(host), "%s:%u", backend->host, addr_port(addr));
	else
		addr_format(addr, host);
	len = asprintf(&exam->request,
		       "GET %s HTTP/1.1\r\n"
		       "Host: %s\r\n"
		       "User-Agent: ladon\r\n"
		       "Connection: close\r\n\r\n",
		       text_or(exam, HEALTH_PATH, "/"), text_or(exam, HEALTH_HOST, host));
	if (len < 0) {
		exam->request = NULL;
		return -ENOMEM;
	}
	exam->request_len = (size_t)len;
	exam->sent = 0;
	exam->answer_len = 0;
	return 0;
}

static int request_send(struct exam *exam)
{
	while (exam->sent < exam->request_len) {
		ssize_t len =
			exam_send(exam, exam->request + exam->sent, exam->request_len - exam->sent);

		if (len < 0)
			return (int)len;
		exam->sent += (size_t)len;
	}
	return 0;
}

/* Return: 0 with the status, as far as the bytes go */
static int answer_read(struct exam *exam, unsigned int *status)
{
	int rc;

	while ((rc = status_read(exam->answer, exam->answer_len, status)) == -EAGAIN) {
		ssize_t len = exam_receive(exam, exam->answer + exam->answer_len,
					   sizeof(exam->answer) - exam->answer_len);

		if (len < 0)
			return (int)len;
		if (len == 0) {
			exam_say(exam, "closed before the answer");
			return -EPROTO;
		}
		exam->answer_len += (size_t)len;
	}
	if (rc < 0)
		exam_say(exam, "the answer is not HTTP/1");
	return rc;
}

static bool status_is_well(const struct config_health *config, unsigned int status)
{
	for (unsigned int i = 0; i < config->statuses_len; i++)
		if (status >= config->statuses[i].from && status <= config->statuses[i].to)
			return true;
	return false;
}

int exam_http(struct exam *exam)
{
	unsigned int status;
	int rc = exam->request ? 0 : request_make(exam);

	if (rc == 0)
		rc = request_send(exam);
	if (rc == 0)
		rc = answer_read(exam, &status);
	if (rc < 0)
		return rc;
	if (status_is_well(&exam->plan->config, status))
		return 0;
	exam_say(exam, "status %u", status);
	return -EPROTO;
}
