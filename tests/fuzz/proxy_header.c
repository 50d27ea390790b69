// SPDX-License-Identifier: GPL-2.0-only
/*
 * proxy_header.c - what must hold for a PROXY header whatever is sent as one
 *
 * - An answer other than PEEK_MORE is final: more bytes do not change it, nor the header.
 * - Texts lie within the header, and no read goes past its end: each length gets a heap
 *   copy of its own.
 * - What was read and written again reads the same, but for unlike ways to write it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../base/own.h"
#include "../../gateway/proxy_header.h"

#define must(what)   ((what) ? (void)0 : abort())
#define PREFIXES_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static bool text_fits(struct proxy_text text, const uint8_t *bytes, size_t len)
{
	return !text.at || (text.at >= bytes && text.len <= (size_t)(bytes + len - text.at));
}

static bool text_equal(struct proxy_text a, struct proxy_text b)
{
	return !a.at == !b.at && a.len == b.len && (!a.len || !memcmp(a.at, b.at, a.len));
}

static void check_found(const struct proxy_header *h, const uint8_t *bytes, size_t len)
{
	must(!h->reason && h->len <= len && h->len <= PROXY_BYTES_MAX);
	must(h->version == PROXY_V2 || (h->version == PROXY_V1 && h->len <= PROXY_LINE_MAX));
	must(text_fits(h->alpn, bytes, h->len) && text_fits(h->authority, bytes, h->len));
	must(text_fits(h->unique_id, bytes, h->len) && text_fits(h->ssl, bytes, h->len));
	must(text_fits(h->tlvs, bytes, h->len) && h->unique_id.len <= PROXY_UNIQUE_ID_MAX);
	must(h->has_addresses == (h->source.sa.sa_family != 0));
}

static bool same(const struct proxy_header *a, const struct proxy_header *b)
{
	return a->version == b->version && a->has_addresses == b->has_addresses &&
	       a->has_checksum == b->has_checksum &&
	       !memcmp(&a->source, &b->source, sizeof(a->source)) &&
	       !memcmp(&a->destination, &b->destination, sizeof(a->source)) &&
	       text_equal(a->alpn, b->alpn) && text_equal(a->authority, b->authority) &&
	       text_equal(a->unique_id, b->unique_id) && text_equal(a->ssl, b->ssl);
}

/* Without addresses nothing but LOCAL is said, so TLVs are not read again. */
static void check_again(const struct proxy_header *h)
{
	uint8_t bytes[PROXY_BYTES_MAX], twice[PROXY_BYTES_MAX];
	size_t len = proxy_header_format(h, bytes);
	struct proxy_header again;

	must(len);
	must(proxy_header_parse(bytes, len, &again) == PEEK_FOUND && again.len == len);
	if (!h->has_addresses)
		return;
	must(same(h, &again));
	must(proxy_header_format(&again, twice) == len && !memcmp(bytes, twice, len));
}

static enum peek_answer parse(const uint8_t *bytes, size_t len, uint8_t **copy,
			      struct proxy_header *out)
{
	enum peek_answer answer;

	*copy = malloc(len);
	if (len)
		memcpy(*copy, bytes, len);
	answer = proxy_header_parse(*copy, len, out);
	if (answer == PEEK_FOUND)
		check_found(out, *copy, len);
	must(answer != PEEK_MORE || len < PROXY_BYTES_MAX);
	return answer;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct proxy_header whole = { 0 }, part = { 0 };
	size_t step = 1 + len / PREFIXES_MAX;
	_free_ uint8_t *all = NULL;
	enum peek_answer answer = parse(bytes, len, &all, &whole);

	for (size_t n = len % step; n < len; n += step) {
		_free_ uint8_t *some = NULL;
		enum peek_answer before = parse(bytes, n, &some, &part);

		must(before == PEEK_MORE || before == answer);
		must(before != PEEK_FOUND || (part.len == whole.len && same(&part, &whole)));
		must(before != PEEK_BAD || part.reason == whole.reason);
	}
	if (answer == PEEK_FOUND)
		check_again(&whole);
	return 0;
}
