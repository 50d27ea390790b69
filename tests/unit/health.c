/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * health.c - what checks find out about servers of every kind, on loopback
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../gateway/loop.h"
#include "../../paths/health.h"

#define INTERVAL_MS 20
#define PATIENCE_MS 20000 /* for what must happen; never waited out */
#define FOR_EVER_MS 3600000

/* ---- servers ---- */

struct server {
	int fd;
	struct addr addr;
	void (*talk)(int fd); /* with whoever connects, and closes it; NULL: nobody is accepted */
	const char *says;
	pthread_t thread;
	atomic_uint accepted, served;
	atomic_uint reset; /* connections that ended by a RST */
	atomic_uint ended; /* TLS sessions that ended by a close_notify */
	int queued[2];	   /* sockets that fill the queue */
};

static __thread struct server *me;

static void server_bind(struct server *server, const char *address)
{
	socklen_t len = sizeof(server->addr);

	assert_int_equal(addr_parse(address, &server->addr), 0);
	server->fd = socket(server->addr.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server->fd, &server->addr.sa, addr_len(&server->addr)), 0);
	assert_int_equal(getsockname(server->fd, &server->addr.sa, &len), 0);
}

static void *server_run(void *arg)
{
	struct server *server = arg;
	int fd;

	me = server;
	while ((fd = accept(server->fd, NULL, NULL)) >= 0) {
		server->accepted++;
		server->talk(fd);
		server->served++;
	}
	return NULL;
}

static struct server *server_start(const char *address, void (*talk)(int fd), const char *says)
{
	struct server *server = calloc(1, sizeof(*server));

	server_bind(server, address);
	server->talk = talk;
	server->says = says;
	assert_int_equal(listen(server->fd, 64), 0);
	assert_int_equal(pthread_create(&server->thread, NULL, server_run, server), 0);
	return server;
}

/* A port that refuses: bound, and nobody listens */
static struct server *server_refuses(void)
{
	struct server *server = calloc(1, sizeof(*server));

	server_bind(server, "127.0.0.1:0");
	return server;
}

/* Its queue is full, and further SYNs are dropped */
static struct server *server_is_silent(void)
{
	struct server *server = server_refuses();

	assert_int_equal(listen(server->fd, 0), 0);
	for (int i = 0; i < 2; i++) {
		server->queued[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		connect(server->queued[i], &server->addr.sa, addr_len(&server->addr));
	}
	return server;
}

static void server_stop(struct server *server)
{
	shutdown(server->fd, SHUT_RDWR);
	if (server->talk)
		pthread_join(server->thread, NULL);
	for (int i = 0; i < 2; i++)
		if (server->queued[i])
			close(server->queued[i]);
	close(server->fd);
	free(server);
}

/* ---- talks ---- */

static void close_at_once(int fd)
{
	close(fd);
}

/* Until the other end has gone */
static void listen_only(int fd)
{
	char bytes[4096];
	ssize_t len;

	while ((len = read(fd, bytes, sizeof(bytes))) > 0)
		;
	me->reset += len < 0 && errno == ECONNRESET;
	close(fd);
}

/* ---- TLS: a certificate that nobody has signed, for a.example and 127.0.0.1 ---- */

static SSL_CTX *tls_server;
static char ca_path[] = "/tmp/ladon-health-XXXXXX";

static X509 *certificate_make(EVP_PKEY *key)
{
	X509 *certificate = X509_new();
	X509_NAME *name = X509_get_subject_name(certificate);
	X509_EXTENSION *names =
		X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:a.example,IP:127.0.0.1");

	X509_set_version(certificate, 2);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"a.example", -1,
				   -1, 0);
	X509_set_issuer_name(certificate, name);
	X509_set_pubkey(certificate, key);
	X509_add_ext(certificate, names, -1);
	X509_EXTENSION_free(names);
	assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
	return certificate;
}

static char sni[64]; /* what the last client asked for */

/* Before the server answers: the client may be through before the server is */
static int name_note(SSL *tls, int *alert, void *arg)
{
	const char *name = SSL_get_servername(tls, TLSEXT_NAMETYPE_host_name);

	(void)alert;
	(void)arg;
	snprintf(sni, sizeof(sni), "%s", name ? name : "none");
	return SSL_TLSEXT_ERR_OK;
}

static int tls_set_up(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = certificate_make(key);
	FILE *file = fdopen(mkstemp(ca_path), "w");

	(void)state;
	PEM_write_X509(file, certificate);
	fclose(file);
	tls_server = SSL_CTX_new(TLS_server_method());
	SSL_CTX_set_tlsext_servername_callback(tls_server, name_note);
	SSL_CTX_use_certificate(tls_server, certificate);
	SSL_CTX_use_PrivateKey(tls_server, key);
	X509_free(certificate);
	EVP_PKEY_free(key);
	return 0;
}

static int tls_tear_down(void **state)
{
	(void)state;
	SSL_CTX_free(tls_server);
	unlink(ca_path);
	return 0;
}

/* Handshake; then, if there is something to say, a request is read and answered; then its end */
static void tls_answer(int fd)
{
	SSL *tls = SSL_new(tls_server);
	char bytes[1024];
	int rc;

	SSL_set_fd(tls, fd);
	if (SSL_accept(tls) == 1) {
		if (me->says && SSL_read(tls, bytes, sizeof(bytes)) > 0)
			SSL_write(tls, me->says, (int)strlen(me->says));
		rc = SSL_read(tls, bytes, sizeof(bytes));
		me->ended += SSL_get_error(tls, rc) == SSL_ERROR_ZERO_RETURN;
	}
	ERR_clear_error();
	SSL_free(tls);
	listen_only(fd);
}

/* ---- HTTP ---- */

/* The whole request, then an answer, then nothing: whoever waits for more waits for ever */
static char asked[4096];

static void ask_read(int fd)
{
	size_t at = 0;
	ssize_t len;

	memset(asked, 0, sizeof(asked));
	while (!strstr(asked, "\r\n\r\n") &&
	       (len = read(fd, asked + at, sizeof(asked) - 1 - at)) > 0)
		at += (size_t)len;
}

static void answer(int fd)
{
	ask_read(fd);
	(void)!write(fd, me->says, strlen(me->says));
	listen_only(fd);
}

static void answer_and_close(int fd)
{
	ask_read(fd);
	(void)!write(fd, me->says, strlen(me->says));
	close(fd);
}

static void answer_byte_by_byte(int fd)
{
	int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	ask_read(fd);
	for (const char *c = me->says; *c; c++)
		if (write(fd, c, 1) < 0)
			break;
	listen_only(fd);
}

/* A head without end: the status is enough */
static void answer_without_end(int fd)
{
	ask_read(fd);
	(void)!write(fd, me->says, strlen(me->says));
	while (send(fd, "X-Filler: filler\r\n", 18, MSG_NOSIGNAL) > 0)
		;
	close(fd);
}

/* ---- pools ---- */

struct fixture {
	struct config_backend backend;
	struct config_pool config;
	struct pool *pool;
	struct health *health;
};

static struct config_health health_config(enum health_check check)
{
	return (struct config_health){ .check = check,
				       .interval_ms = INTERVAL_MS,
				       .timeout_ms = FOR_EVER_MS,
				       .rise = 2,
				       .fall = 3,
				       .statuses = { { 200, 399 } },
				       .statuses_len = 1 };
}

static void pool_fill(struct fixture *f, const struct server *server, struct config_health health)
{
	static char text[ADDR_TEXT_MAX];

	addr_format(&server->addr, text);
	f->backend = (struct config_backend){
		.text = text, .port = addr_port(&server->addr), .addr = server->addr, .weight = 1
	};
	f->config = (struct config_pool){
		.name = (char *)"p", .health = health, .backends = &f->backend, .backends_len = 1
	};
}

static void checks_use(struct fixture *f)
{
	struct checks *checks = NULL;
	char *error;

	assert_int_equal(checks_new(&f->pool, &f->config, 1, &checks, &error), 0);
	assert_null(error);
	health_use(f->health, checks);
}

static void fixture_start(struct fixture *f, const struct server *server,
			  struct config_health health)
{
	pool_fill(f, server, health);
	f->pool = pool_new(&f->config, NULL);
	assert_non_null(f->pool);
	assert_int_equal(health_start(&f->health), 0);
	checks_use(f);
}

static void fixture_stop(struct fixture *f)
{
	health_stop(f->health);
	pool_free(f->pool);
}

static struct backend *only(const struct fixture *f)
{
	return pool_backend(f->pool, 0);
}

static void nap(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}

static void wait_until_sick(const struct backend *backend, bool sick)
{
	uint64_t until_ms = clock_ms() + PATIENCE_MS;

	while (atomic_load(&backend->sick) != sick) {
		assert_true(clock_ms() < until_ms);
		nap();
	}
}

/* Another result than those of before */
static struct backend_check wait_for_result(struct backend *backend)
{
	uint64_t begun_ms = clock_ms(), until_ms = begun_ms + PATIENCE_MS;
	struct backend_check last;

	do {
		nap();
		assert_true(clock_ms() < until_ms);
		backend_last_check(backend, &last);
	} while (last.at_ms <= begun_ms);
	return last;
}

/* ---- what is found out ---- */

struct row {
	const char *what;
	const char *address; /* NULL: refuses; "": is silent */
	void (*talk)(int fd);
	const char *says;
	enum health_check check;
	uint32_t timeout_ms;
	const char *why; /* NULL: well */
};

static void row_check(const struct row *row)
{
	struct config_health config = health_config(row->check);
	struct server *server;
	struct fixture f;
	struct backend_check last;

	if (!row->address)
		server = server_refuses();
	else if (!*row->address)
		server = server_is_silent();
	else
		server = server_start(row->address, row->talk, row->says);
	if (row->timeout_ms)
		config.timeout_ms = row->timeout_ms;
	fixture_start(&f, server, config);
	last = wait_for_result(only(&f));
	if (!row->why && (!last.well || *last.why))
		fail_msg("%s: %s", row->what, last.why);
	if (row->why && (last.well || strcmp(last.why, row->why) != 0))
		fail_msg("%s: \"%s\" instead of \"%s\"", row->what, last.why, row->why);
	if (row->why)
		wait_until_sick(only(&f), true);
	else
		assert_false(only(&f)->sick);
	fixture_stop(&f);
	server_stop(server);
}

static void servers_are_told_apart(void **state)
{
	/* clang-format off */
	static const struct row rows[] = {
		{ "accepts",           "127.0.0.1:0", listen_only,   NULL, HEALTH_TCP, 0,  NULL },
		{ "accepts, IPv6",     "[::1]:0",     listen_only,   NULL, HEALTH_TCP, 0,  NULL },
		{ "closes at once",    "127.0.0.1:0", close_at_once, NULL, HEALTH_TCP, 0,  NULL },
		{ "refuses",           NULL,          NULL,          NULL, HEALTH_TCP, 0,  "connect: Connection refused" },
		{ "drops SYNs",        "",            NULL,          NULL, HEALTH_TCP, 50, "connect: no answer in 50 ms" },

		{ "answers",           "127.0.0.1:0", answer,        "HTTP/1.1 200 OK\r\n", HEALTH_HTTP, 0,  NULL },
		{ "... over IPv6",     "[::1]:0",     answer,        "HTTP/1.0 399\r\n",    HEALTH_HTTP, 0,  NULL },
		{ "slow by a byte",    "127.0.0.1:0", answer_byte_by_byte, "HTTP/1.1 204 No Content", HEALTH_HTTP, 0, NULL },
		{ "a huge head",       "127.0.0.1:0", answer_without_end, "HTTP/1.1 302 Found\r\n", HEALTH_HTTP, 0, NULL },
		{ "answers and goes",  "127.0.0.1:0", answer_and_close, "HTTP/1.1 200 OK\r\n", HEALTH_HTTP, 0, NULL },
		{ "wrong status",      "127.0.0.1:0", answer,        "HTTP/1.1 503 Service Unavailable\r\n", HEALTH_HTTP, 0, "HTTP: status 503" },
		{ "an interim status", "127.0.0.1:0", answer,        "HTTP/1.1 100 Continue\r\n", HEALTH_HTTP, 0, "HTTP: status 100" },
		{ "another protocol",  "127.0.0.1:0", answer,        "SSH-2.0-OpenSSH\r\n",  HEALTH_HTTP, 0,  "HTTP: the answer is not HTTP/1" },
		{ "half a status",     "127.0.0.1:0", answer_and_close, "HTTP/1.1 20",        HEALTH_HTTP, 0,  "HTTP: closed before the answer" },
		{ "says nothing",      "127.0.0.1:0", listen_only,   NULL,                    HEALTH_HTTP, 50, "HTTP: no answer in 50 ms" },
		{ "half, then nothing", "127.0.0.1:0", answer,       "HTTP/1.1 2",            HEALTH_HTTP, 50, "HTTP: no answer in 50 ms" },
		{ "TLS",               "127.0.0.1:0", tls_answer,    NULL,                    HEALTH_TLS, 0,  NULL },
		{ "no TLS",            "127.0.0.1:0", answer,        "HTTP/1.1 400 Bad Request\r\n\r\n", HEALTH_TLS, 50, "TLS: no answer in 50 ms" },
		{ "TLS, silent",       "127.0.0.1:0", listen_only,   NULL,                    HEALTH_TLS, 50, "TLS: no answer in 50 ms" },
		{ "HTTPS",             "127.0.0.1:0", tls_answer,    "HTTP/1.1 200 OK\r\n",  HEALTH_HTTPS, 0,  NULL },
		{ "HTTPS, wrong status", "127.0.0.1:0", tls_answer,  "HTTP/1.1 500\r\n",     HEALTH_HTTPS, 0,  "HTTP: status 500" },
		{ "TLS without HTTP",  "127.0.0.1:0", tls_answer,    "HTTP",                  HEALTH_HTTPS, 50, "HTTP: no answer in 50 ms" },
		{ "refuses HTTP",      NULL,          NULL,          NULL,                    HEALTH_HTTP, 0,  "connect: Connection refused" },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		row_check(&rows[i]);
}

static void http_is_asked_as_configured(void **state)
{
	struct server *server = server_start("127.0.0.1:0", answer, "HTTP/1.1 418 T\r\n");
	struct config_health config = health_config(HEALTH_HTTP);
	struct backend_check last;
	char want[200], text[ADDR_TEXT_MAX];
	struct fixture f;

	(void)state;
	config.interval_ms = FOR_EVER_MS;
	fixture_start(&f, server, config);
	do
		backend_last_check(only(&f), &last);
	while (!last.at_ms);
	fixture_stop(&f);
	snprintf(want, sizeof(want),
		 "GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: ladon\r\nConnection: close\r\n\r\n",
		 addr_format(&server->addr, text));
	assert_string_equal(asked, want);
	assert_false(last.well);

	config.texts[HEALTH_PATH] = (char *)"/a?b";
	config.texts[HEALTH_HOST] = (char *)"www.example.org";
	config.statuses[1] = (struct config_statuses){ 418, 418 };
	config.statuses_len = 2;
	fixture_start(&f, server, config);
	do
		backend_last_check(only(&f), &last);
	while (!last.at_ms);
	fixture_stop(&f);
	assert_string_equal(asked, "GET /a?b HTTP/1.1\r\nHost: www.example.org\r\n"
				   "User-Agent: ladon\r\nConnection: close\r\n\r\n");
	assert_true(last.well);
	server_stop(server);
}

static void greet(int fd)
{
	(void)!write(fd, "220 mail.example ESMTP\r\n", 24);
	listen_only(fd);
}

/* Certificates are judged if asked to, by the name, or by the address if there is none. */
static void certificates_are_judged_if_asked_to(void **state)
{
	static const struct {
		const char *sni;
		bool verify, ours;
		const char *saw, *why;
	} rows[] = {
		{ NULL, false, false, "none", NULL },
		{ "b.example", false, false, "b.example", NULL },
		{ NULL, true, true, "none", NULL },
		{ "a.example", true, true, "a.example", NULL },
		{ "b.example", true, true, "b.example", "TLS: hostname mismatch" },
		{ "a.example", true, false, "a.example", "TLS: self-signed certificate" },
	};
	struct server *server = server_start("127.0.0.1:0", tls_answer, NULL);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config_health config = health_config(HEALTH_TLS);
		struct backend_check last;
		struct fixture f;

		config.texts[HEALTH_SNI] = (char *)rows[i].sni;
		config.texts[HEALTH_CA] = rows[i].ours ? ca_path : NULL;
		config.verify = rows[i].verify;
		fixture_start(&f, server, config);
		last = wait_for_result(only(&f));
		fixture_stop(&f);
		assert_string_equal(last.why, rows[i].why ? rows[i].why : "");
		assert_int_equal(last.well, !rows[i].why);
		if (last.well)
			assert_string_equal(sni, rows[i].saw);
	}
	server_stop(server);
}

/* A server would else complain of a connection cut off, each time. */
static void sessions_are_closed(void **state)
{
	static const enum health_check checks[] = { HEALTH_TLS, HEALTH_HTTPS };

	(void)state;
	for (int i = 0; i < 2; i++) {
		const char *says = checks[i] == HEALTH_HTTPS ? "HTTP/1.1 200 OK\r\n\r\n" : NULL;
		struct server *server = server_start("127.0.0.1:0", tls_answer, says);
		uint64_t until_ms = clock_ms() + PATIENCE_MS;
		struct fixture f;

		fixture_start(&f, server, health_config(checks[i]));
		while (server->ended < 3 && clock_ms() < until_ms)
			nap();
		assert_false(only(&f)->sick);
		fixture_stop(&f);
		assert_true(server->ended >= 3);
		server_stop(server);
	}
}

static void another_protocol_is_no_tls(void **state)
{
	struct server *server = server_start("127.0.0.1:0", greet, NULL);
	struct backend_check last;
	struct fixture f;

	(void)state;
	fixture_start(&f, server, health_config(HEALTH_TLS));
	last = wait_for_result(only(&f));
	fixture_stop(&f);
	assert_string_equal(last.why, "TLS: wrong version number");
	server_stop(server);
}

static void a_missing_ca_is_named(void **state)
{
	struct config_health health = health_config(HEALTH_TLS);
	struct server *server = server_refuses();
	struct checks *checks;
	struct fixture f;
	char *error;

	(void)state;
	health.verify = true;
	health.texts[HEALTH_CA] = (char *)"/nonexistent";
	pool_fill(&f, server, health);
	f.pool = pool_new(&f.config, NULL);
	assert_int_equal(checks_new(&f.pool, &f.config, 1, &checks, &error), -EINVAL);
	assert_string_equal(error, "pool p: ca /nonexistent: No such file or directory");
	free(error);
	pool_free(f.pool);
	server_stop(server);
}

static void connections_end_by_a_reset(void **state)
{
	struct server *server = server_start("127.0.0.1:0", listen_only, NULL);
	uint64_t until_ms = clock_ms() + PATIENCE_MS;
	unsigned int served;
	struct fixture f;

	(void)state;
	fixture_start(&f, server, health_config(HEALTH_TCP));
	while (server->served < 5 && clock_ms() < until_ms)
		nap();
	fixture_stop(&f);
	served = server->served; /* counted after .reset */
	assert_true(served >= 5);
	assert_true(server->reset >= served);
	server_stop(server);
}

/* ---- scripts ---- */

static struct config_health script_config(char *const command[])
{
	struct config_health config = health_config(HEALTH_SCRIPT);

	config.command = (char **)command;
	return config;
}

#define SHELL(text) ((char *const[]){ (char *)"/bin/sh", (char *)"-c", (char *)(text), NULL })

static void a_script_decides(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{ "exit 0", "" },
		{ "exit 3", "script: exit status 3" },
		{ "kill -9 $$", "script: ended by signal 9" },
		{ "kill -PIPE $$", "script: ended by signal 13" },
		{ "test $LADON_POOL = p -a $LADON_BACKEND = $LADON_ADDRESS:$LADON_PORT", "" },
		{ "test $LADON_ADDRESS = 127.0.0.1 -a $(pwd) = / -a -n \"$PATH\"", "" },
		{ "test $(env | grep -c ^LADON_) = 4 -a -z \"$HOME\"", "" },
		{ "ls -l /proc/$$/fd | grep -v /dev/null | grep -q socket; test $? = 1", "" },
		{ "echo out; echo err >&2; read line; test -z \"$line\"", "" },
		{ "echo one; echo two >&2; echo; exit 4", "script: exit status 4: two" },
		{ "printf 'a\\033[1m\\377\\n'; exit 1", "script: exit status 1: a?[1m?" },
		{ "printf half; kill -9 $$", "script: ended by signal 9: half" },
		{ "head -c 300000 /dev/zero; echo; echo last; exit 1", "script: exit status 1: last" },
		{ "echo bye; exec >&- 2>&-; exit 5", "script: exit status 5: bye" },
	};
	struct server *server = server_refuses();

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct backend_check last;
		struct fixture f;

		fixture_start(&f, server, script_config(SHELL(rows[i].text)));
		last = wait_for_result(only(&f));
		if (strcmp(last.why, rows[i].why) != 0)
			fail_msg("%s: \"%s\"", rows[i].text, last.why);
		assert_int_equal(last.well, !*rows[i].why);
		fixture_stop(&f);
	}
	server_stop(server);
}

static void a_script_that_cannot_run_is_no_verdict(void **state)
{
	char *const command[] = { (char *)"/nonexistent", NULL };
	struct server *server = server_refuses();
	struct backend_check last;
	struct fixture f;

	(void)state;
	fixture_start(&f, server, script_config(command));
	for (int i = 0; i < 5; i++)
		last = wait_for_result(only(&f));
	assert_string_equal(last.why, "script: /nonexistent: No such file or directory");
	assert_false(only(&f)->sick);
	fixture_stop(&f);
	server_stop(server);
}

static void a_script_that_is_late_fails(void **state)
{
	struct config_health config = script_config(SHELL("sleep 1000"));
	struct server *server = server_refuses();
	struct backend_check last;
	struct fixture f;

	(void)state;
	config.timeout_ms = 20;
	fixture_start(&f, server, config);
	assert_string_equal(wait_for_result(only(&f)).why, "script: no answer in 20 ms");
	wait_until_sick(only(&f), true);
	fixture_stop(&f);

	config = script_config(SHELL("echo waiting; exec sleep 1000"));
	config.timeout_ms = 200;
	fixture_start(&f, server, config);
	do
		last = wait_for_result(only(&f));
	while (strcmp(last.why, "script: no answer in 200 ms") == 0); /* a shell may be late, too */
	assert_string_equal(last.why, "script: no answer in 200 ms: waiting");
	fixture_stop(&f);
	server_stop(server);
}

/* Whoever still has the lock is waited for. */
static void wait_for_lock(int file)
{
	uint64_t until_ms = clock_ms() + PATIENCE_MS;

	while (flock(file, LOCK_EX | LOCK_NB) < 0) {
		assert_true(clock_ms() < until_ms);
		nap();
	}
}

/* What the script has left in the background has its lock, and ends with it, or with the checks. */
static void nothing_of_a_script_stays(void **state)
{
	static const char *const ends[] = { "exit 0", "wait" };
	struct server *server = server_refuses();

	(void)state;
	for (int i = 0; i < 2; i++) {
		char path[] = "/tmp/ladon-health-XXXXXX", text[200];
		int file = mkstemp(path);
		struct config_health config;
		struct fixture f;
		struct stat now;

		snprintf(text, sizeof(text), "exec 9>%s; flock 9; sleep 1000 & echo >&9; %s", path,
			 ends[i]);
		config = script_config(SHELL(text));
		config.interval_ms = FOR_EVER_MS;
		fixture_start(&f, server, config);
		do {
			nap();
			fstat(file, &now);
		} while (!now.st_size);
		if (i == 1)
			fixture_stop(&f);
		wait_for_lock(file);
		if (i == 0)
			fixture_stop(&f);
		close(file);
		unlink(path);
	}
	server_stop(server);
}

/* ---- when it counts ---- */

static void a_state_takes_so_many_in_a_row(void **state)
{
	struct server *server = server_refuses();
	struct config_health config = health_config(HEALTH_TCP);
	struct fixture f;

	(void)state;
	config.interval_ms = 5;
	config.fall = 200;
	fixture_start(&f, server, config);
	for (int i = 0; i < 3; i++) {
		assert_false(wait_for_result(only(&f)).well);
		assert_int_equal(backend_changes(), 0);
	}
	wait_until_sick(only(&f), true);
	assert_int_equal(listen(server->fd, 64), 0);
	wait_until_sick(only(&f), false);
	assert_int_equal(backend_changes(), 2);
	fixture_stop(&f);
	server_stop(server);
}

static void pauses_are_no_longer_than_the_interval(void **state)
{
	struct server *server = server_start("127.0.0.1:0", listen_only, NULL);
	struct config_health config = health_config(HEALTH_TCP);
	struct backend_check first, second;
	struct fixture f;

	(void)state;
	config.interval_ms = 400;
	fixture_start(&f, server, config);
	first = wait_for_result(only(&f));
	second = wait_for_result(only(&f));
	assert_true(second.at_ms >= first.at_ms + 250);
	fixture_stop(&f);
	server_stop(server);
}

/* ---- several addresses ---- */

static void one_address_that_answers_is_enough(void **state)
{
	struct server *refuses = server_refuses(), *accepts;
	struct addr addrs[2];
	struct fixture f;

	(void)state;
	accepts = server_start("127.0.0.1:0", listen_only, NULL);
	pool_fill(&f, refuses, health_config(HEALTH_TCP));
	f.backend.host = (char *)"name";
	f.pool = pool_new(&f.config, NULL);
	assert_int_equal(health_start(&f.health), 0);
	checks_use(&f); /* there is no address yet */
	addrs[0] = refuses->addr;
	addrs[1] = accepts->addr;
	backend_set_addrs(only(&f), addrs, 2);
	assert_true(wait_for_result(only(&f)).well);
	backend_set_addrs(only(&f), addrs, 1);
	wait_until_sick(only(&f), true);
	backend_set_addrs(only(&f), addrs, 2);
	wait_until_sick(only(&f), false);
	fixture_stop(&f);
	server_stop(refuses);
	server_stop(accepts);
}

static void another_port_can_be_checked(void **state)
{
	struct server *refuses = server_refuses(), *accepts;
	struct config_health config = health_config(HEALTH_TCP);
	struct fixture f;

	(void)state;
	accepts = server_start("127.0.0.1:0", listen_only, NULL);
	config.port = addr_port(&accepts->addr);
	fixture_start(&f, refuses, config);
	assert_true(wait_for_result(only(&f)).well);
	fixture_stop(&f);
	server_stop(refuses);
	server_stop(accepts);
}

/* ---- reloads ---- */

/* The next configuration has the same backend. */
static void reload(struct fixture *f, struct fixture *next, struct config_health health)
{
	*next = *f;
	next->config.health = health;
	next->pool = pool_new(&next->config, f->pool);
	assert_non_null(next->pool);
	pool_free(f->pool);
}

static void a_reload_keeps_what_is_known(void **state)
{
	struct server *server = server_refuses();
	struct fixture f, next;

	(void)state;
	fixture_start(&f, server, health_config(HEALTH_TCP));
	wait_until_sick(only(&f), true);
	reload(&f, &next, health_config(HEALTH_TCP));
	checks_use(&next);
	assert_false(wait_for_result(only(&next)).well);
	assert_true(only(&next)->sick);
	assert_int_equal(listen(server->fd, 64), 0);
	wait_until_sick(only(&next), false);
	fixture_stop(&next);
	server_stop(server);
}

/* An exam under way would judge by the former list: it begins anew. */
static void another_status_is_another_plan(void **state)
{
	struct server *server = server_start("127.0.0.1:0", listen_only, NULL);
	struct config_health more = health_config(HEALTH_HTTP);
	uint64_t until_ms = clock_ms() + PATIENCE_MS;
	struct fixture f, next;

	(void)state;
	more.statuses[more.statuses_len++] = (struct config_statuses){ 418, 418 };
	fixture_start(&f, server, health_config(HEALTH_HTTP));
	while (!server->accepted && clock_ms() < until_ms)
		nap();
	reload(&f, &next, more);
	checks_use(&next);
	while (!server->reset && clock_ms() < until_ms)
		nap();
	assert_true(server->reset > 0);
	fixture_stop(&next);
	server_stop(server);
}

static void who_is_not_checked_any_more_is_well(void **state)
{
	struct server *server = server_refuses();
	struct backend_check last;
	struct fixture f, next;

	(void)state;
	fixture_start(&f, server, health_config(HEALTH_TCP));
	wait_until_sick(only(&f), true);
	reload(&f, &next, health_config(HEALTH_NONE));
	checks_use(&next);
	wait_until_sick(only(&next), false);
	backend_last_check(only(&next), &last);
	assert_int_equal(last.at_ms, 0);
	fixture_stop(&next);
	server_stop(server);
}

static void nobody_waits_for_a_slow_check(void **state)
{
	struct server *server = server_is_silent();
	struct config_health quick = health_config(HEALTH_TCP);
	struct fixture f, next;

	(void)state;
	quick.timeout_ms = 50;
	fixture_start(&f, server, health_config(HEALTH_TCP));
	for (int i = 0; i < 10; i++)
		checks_use(&f);	  /* the same: it goes on */
	reload(&f, &next, quick); /* another one: it begins anew */
	checks_use(&next);
	wait_until_sick(only(&next), true);
	fixture_stop(&next);
	server_stop(server);
}

/* ---- many ---- */

/* More than may be under way; the last ones have their turn all the same. */
static void many_get_their_turn(struct config_health health, unsigned int len)
{
	struct server *server = server_start("127.0.0.1:0", close_at_once, NULL);
	struct config_backend *backends = calloc(len, sizeof(*backends));
	uint64_t until_ms = clock_ms() + PATIENCE_MS;
	struct fixture f;

	health.interval_ms = FOR_EVER_MS;
	pool_fill(&f, server, health);
	for (unsigned int i = 0; i < len; i++)
		backends[i] = f.backend;
	f.config.backends = backends;
	f.config.backends_len = len;
	f.pool = pool_new(&f.config, NULL);
	assert_int_equal(health_start(&f.health), 0);
	checks_use(&f);
	for (unsigned int i = 0; i < len; i++) {
		struct backend_check last;

		do {
			assert_true(clock_ms() < until_ms);
			nap();
			backend_last_check(pool_backend(f.pool, i), &last);
		} while (!last.at_ms);
		assert_true(last.well);
	}
	fixture_stop(&f);
	free(backends);
	server_stop(server);
}

static void all_get_their_turn(void **state)
{
	(void)state;
	many_get_their_turn(health_config(HEALTH_TCP), 2 * HEALTH_EXAMS_MAX + 10);
	many_get_their_turn(script_config(SHELL("exit 0")), 2 * HEALTH_SCRIPTS_MAX + 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_state_takes_so_many_in_a_row),
		cmocka_unit_test(servers_are_told_apart),
		cmocka_unit_test(http_is_asked_as_configured),
		cmocka_unit_test(certificates_are_judged_if_asked_to),
		cmocka_unit_test(sessions_are_closed),
		cmocka_unit_test(another_protocol_is_no_tls),
		cmocka_unit_test(a_missing_ca_is_named),
		cmocka_unit_test(a_script_decides),
		cmocka_unit_test(a_script_that_cannot_run_is_no_verdict),
		cmocka_unit_test(a_script_that_is_late_fails),
		cmocka_unit_test(nothing_of_a_script_stays),
		cmocka_unit_test(connections_end_by_a_reset),
		cmocka_unit_test(pauses_are_no_longer_than_the_interval),
		cmocka_unit_test(one_address_that_answers_is_enough),
		cmocka_unit_test(another_port_can_be_checked),
		cmocka_unit_test(a_reload_keeps_what_is_known),
		cmocka_unit_test(another_status_is_another_plan),
		cmocka_unit_test(who_is_not_checked_any_more_is_well),
		cmocka_unit_test(nobody_waits_for_a_slow_check),
		cmocka_unit_test(all_get_their_turn),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, tls_set_up, tls_tear_down);
}
