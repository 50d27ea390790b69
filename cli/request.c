/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * request.c - ask the daemon over its control socket
 */
#include "request.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include "../base/own.h"

/* The daemon gives up sooner, so a longer wait would not help. */
#define TIMEOUT_S 10

static void own_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define _fclose_ __attribute__((cleanup(own_fclose)))

/* Who may: the daemon has written it on the socket's file, if we are let see that. */
static void say_who_may(FILE *talk, const char *path)
{
	const struct passwd *user;
	const struct group *group;
	struct stat st;

	fputs("; only root", talk);
	if (stat(path, &st) < 0) {
		fputs(", the daemon's user and its control-group may", talk);
		return;
	}
	user = st.st_uid ? getpwuid(st.st_uid) : NULL;
	group = st.st_mode & S_IWGRP ? getgrgid(st.st_gid) : NULL;
	if (user)
		fprintf(talk, "%s %s", group ? "," : " and", user->pw_name);
	if (group)
		fprintf(talk, " and the group %s", group->gr_name);
	fputs(" may", talk);
}

static void connect_failed(const struct cli *cli, int error)
{
	fprintf(cli->talk, "ladon: %s: %s", cli->socket, strerror(error));
	if (error == ENOENT || error == ECONNREFUSED)
		fputs("; no ladond listens there (is it running? -s names another socket)",
		      cli->talk);
	else if (error == EACCES || error == EPERM)
		say_who_may(cli->talk, cli->socket);
	fputc('\n', cli->talk);
}

/* Return: a connected socket, or -1. */
static int request_connect(const struct cli *cli)
{
	const struct timeval limit = { .tv_sec = TIMEOUT_S };
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	const char *path = cli->socket;
	_close_ int fd = -1;

	if (strlen(path) >= sizeof(name.sun_path)) {
		fprintf(cli->talk, "ladon: %s: longer than the path of a socket may be\n", path);
		return -1;
	}
	strcpy(name.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
	    connect(fd, (const struct sockaddr *)&name, sizeof(name)) < 0) {
		connect_failed(cli, errno);
		return -1;
	}
	return TAKE_FD(fd);
}

/* A request fits the socket's buffer, so it is sent whole or not at all. */
static int request_write(int fd, const char *command, const json_t *keys)
{
	json_t *request = json_object();
	_free_ char *line = NULL;
	ssize_t sent = -1;

	if (keys)
		json_object_update(request, (json_t *)keys);
	json_object_set_new(request, "command", json_string(command));
	line = json_dumps(request, JSON_COMPACT);
	json_decref(request);
	if (line) {
		size_t len = strlen(line);

		line[len] = '\n'; /* in place of the NUL: nobody reads it as a string again */
		sent = send(fd, line, len + 1, MSG_NOSIGNAL);
	}
	return sent < 0 ? -1 : 0;
}

/* Return: the answer to be read, or NULL. */
static FILE *request_send(const struct cli *cli, const char *command, const json_t *keys)
{
	_close_ int fd = request_connect(cli);
	FILE *answer = NULL;

	if (fd < 0)
		return NULL;
	/* A daemon that refuses at once may have closed already; its answer can still be read. */
	if (request_write(fd, command, keys) == 0 || errno == EPIPE)
		answer = fdopen(fd, "r");
	if (answer)
		TAKE_FD(fd);
	else
		fprintf(cli->talk, "ladon: %s: %s\n", cli->socket, strerror(errno));
	return answer;
}

static void answer_cut_short(const struct cli *cli, FILE *answer)
{
	if (ferror(answer) && errno == EAGAIN)
		fprintf(cli->talk, "ladon: %s: no answer for %d seconds\n", cli->socket, TIMEOUT_S);
	else
		fprintf(cli->talk, "ladon: %s: the answer is not complete\n", cli->socket);
}

/* Return: true when @document says what went wrong; it has been passed on then. */
static bool answer_is_error(const struct cli *cli, const json_t *document)
{
	const char *error = json_string_value(json_object_get(document, "error"));

	if (error)
		fprintf(cli->talk, "ladon: %s\n", error);
	return error;
}

json_t *request_document(const struct cli *cli, const char *command)
{
	_fclose_ FILE *answer = request_send(cli, command, cli->keys);
	json_t *document;

	if (!answer)
		return NULL;
	document = json_loadf(answer, 0, NULL);
	if (!document) {
		answer_cut_short(cli, answer);
		return NULL;
	}
	if (answer_is_error(cli, document)) {
		json_decref(document);
		return NULL;
	}
	return document;
}

/* The first line is a document as it stands (an error), or once its list is ended. */
static json_t *head_parse(const char *line, size_t len)
{
	_free_ char *whole = NULL;
	json_t *head = json_loadb(line, len, 0, NULL);

	if (head)
		return head;
	if (asprintf(&whole, "%.*s]}", (int)len, line) < 0)
		return NULL;
	return json_loads(whole, 0, NULL);
}

/* Return: 0: flows follow; -1: none do, and it was said why. */
static int head_read(const struct cli *cli, FILE *answer)
{
	_free_ char *line = NULL;
	size_t room = 0;
	ssize_t len = getline(&line, &room, answer);
	json_t *head = len > 0 ? head_parse(line, (size_t)len) : NULL;
	const char *note = json_string_value(json_object_get(head, "note"));
	int rc = -1;

	if (!head)
		answer_cut_short(cli, answer);
	else if (!answer_is_error(cli, head))
		rc = 0;
	if (note)
		fprintf(cli->talk, "ladon: there are no flows: %s\n", note);
	json_decref(head);
	return rc;
}

json_t *request_quietly(const struct cli *cli, const char *command)
{
	FILE *nowhere = fopen("/dev/null", "w");
	struct cli quiet = { .socket = cli->socket, .talk = nowhere };
	json_t *document = nowhere ? request_document(&quiet, command) : NULL;

	if (nowhere)
		fclose(nowhere);
	return document;
}

int request_print(struct cli *cli, const char *command, const struct out_field *fields, size_t len)
{
	json_t *document = request_document(cli, command);

	if (!document)
		return CLI_FAILED;
	out_open(&cli->out, NULL);
	out_fields(&cli->out, document, fields, len);
	out_close(&cli->out);
	json_decref(document);
	return CLI_DONE;
}

int request_flows(const struct cli *cli, const json_t *keys,
		  void (*fn)(void *arg, const json_t *flow), void *arg)
{
	_fclose_ FILE *answer = request_send(cli, "flow show", keys);
	_free_ char *line = NULL;
	size_t room = 0;
	ssize_t len;

	if (!answer || head_read(cli, answer) < 0)
		return -1;
	while ((len = getline(&line, &room, answer)) > 0 && line[0] != ']') {
		/* the comma after it is none of the parser's business */
		json_t *flow = json_loadb(line, (size_t)len, JSON_DISABLE_EOF_CHECK, NULL);

		if (!flow)
			break;
		fn(arg, flow);
		json_decref(flow);
	}
	if (len > 0 && line[0] == ']')
		return 0;
	answer_cut_short(cli, answer);
	return -1;
}
