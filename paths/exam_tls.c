// SPDX-License-Identifier: GPL-2.0-only
/*
 * exam_tls.c - a TLS handshake with a backend, and what is said through it
 *
 * OpenSSL on the exam's socket, which does not block. The certificate is judged only if
 * the plan says so: by its chain, and by the name that was asked for, or else the address.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

#include "exam.h"

static const char *server_name(const struct exam *exam)
{
	const char *name = exam->plan->config.texts[HEALTH_SNI];

	return name ? name : exam->backend->config->host;
}

/* The port, and the brackets of IPv6, are left out. */
static int verify_address(SSL *tls, const struct addr *addr)
{
	const void *bytes = addr->sa.sa_family == AF_INET ? (const void *)&addr->in.sin_addr
							  : (const void *)&addr->in6.sin6_addr;
	size_t len = addr->sa.sa_family == AF_INET ? 4 : 16;

	return X509_VERIFY_PARAM_set1_ip(SSL_get0_param(tls), bytes, len);
}

static int tls_prepare(struct exam *exam, SSL *tls)
{
	const char *name = server_name(exam);

	SSL_set_connect_state(tls);
	if (!SSL_set_fd(tls, exam->watch.fd) || (name && !SSL_set_tlsext_host_name(tls, name)))
		return -ENOMEM;
	if (!exam->plan->config.verify)
		return 0;
	SSL_set_verify(tls, SSL_VERIFY_PEER, NULL);
	if (!(name ? SSL_set1_host(tls, name) : verify_address(tls, &exam->addrs[exam->at])))
		return -ENOMEM;
	return 0;
}

static void say_refused(struct exam *exam)
{
	unsigned long error = ERR_peek_error();
	const char *reason = ERR_reason_error_string(error);
	long verdict = SSL_get_verify_result(exam->tls);

	if (exam->plan->config.verify && verdict != X509_V_OK)
		reason = X509_verify_cert_error_string(verdict);
	exam_say(exam, "%s", reason ? reason : "the handshake failed");
}

/* What an operation that gave @rc, which is no success, means. Return: 0: the end; else as steps */
static int tls_failure(struct exam *exam, int rc)
{
	int saved = errno;

	switch (SSL_get_error(exam->tls, rc)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		return saved ? -saved : -EPROTO;
	default:
		say_refused(exam);
		return -EPROTO;
	}
}

/* OpenSSL keeps errors per thread, and takes an old one for that of the next call. */
static void errors_forget(void)
{
	ERR_clear_error();
	errno = 0;
}

int exam_tls(struct exam *exam)
{
	int rc;

	if (!exam->tls) {
		exam->tls = SSL_new(exam->plan->tls);
		rc = exam->tls ? tls_prepare(exam, exam->tls) : -ENOMEM;
		if (rc < 0)
			return rc;
	}
	errors_forget();
	rc = SSL_do_handshake(exam->tls);
	if (rc == 1)
		return 0;
	rc = tls_failure(exam, rc);
	return rc ? rc : -EPROTO;
}

ssize_t exam_tls_send(struct exam *exam, const void *bytes, size_t len)
{
	size_t sent;
	int rc;

	errors_forget();
	rc = SSL_write_ex(exam->tls, bytes, len, &sent);
	if (rc == 1)
		return (ssize_t)sent;
	rc = tls_failure(exam, rc);
	return rc ? rc : -EPIPE;
}

ssize_t exam_tls_receive(struct exam *exam, void *bytes, size_t len)
{
	size_t received;
	int rc;

	errors_forget();
	rc = SSL_read_ex(exam->tls, bytes, len, &received);
	return rc == 1 ? (ssize_t)received : tls_failure(exam, rc);
}

/* A session that stands is told its end; nobody waits for the other one's. */
void exam_tls_close(struct exam *exam)
{
	if (exam->tls && SSL_is_init_finished(exam->tls))
		SSL_shutdown(exam->tls);
	SSL_free(exam->tls);
	exam->tls = NULL;
}
