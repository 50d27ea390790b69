// SPDX-License-Identifier: GPL-2.0-only
#include "users.h"

#include <crypt.h>
#include <ctype.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "../base/own.h"

#define HASH_CHARS_MIN 43 /* after the last '$': 256 bits in base 64, as the shortest have */
#define DIGEST_BYTES   32 /* of SHA-256 */

struct user {
	const char *name, *hash;
	unsigned int line;

	/* what was right last; under the lock */
	uint8_t digest[DIGEST_BYTES];
	uint64_t until_ms; /* 0: nothing was */
};

struct users {
	atomic_uint holders;
	pthread_mutex_t lock;
	uint8_t secret[DIGEST_BYTES];
	char *text;	   /* names and hashes point into it */
	struct user *list; /* sorted by name */
	unsigned int len;
};

_Static_assert(USERS_PASS_MAX < CRYPT_MAX_PASSPHRASE_SIZE, "crypt(3) takes it whole");

/* ---- reading ---- */

static int refuse(char why[USERS_WHY_MAX], const char *what)
{
	snprintf(why, USERS_WHY_MAX, "%s", what);
	return -EINVAL;
}

static int name_check(const char *name, char why[USERS_WHY_MAX])
{
	size_t len = strlen(name);

	if (len == 0)
		return refuse(why, "no name stands before the ':'");
	if (len > USERS_NAME_MAX)
		return refuse(why, "the name is longer than 255 bytes");
	for (const char *c = name; *c; c++)
		if (iscntrl((unsigned char)*c))
			return refuse(why, "the name has a control character in it");
	return 0;
}

/* crypt(5) calls sha256crypt weak for its small states, but htpasswd -2 makes it. */
static int hash_check(const char *hash, char why[USERS_WHY_MAX])
{
	const char *last = strrchr(hash, '$');
	int salt = strncmp(hash, "$5$", 3) == 0 ? CRYPT_SALT_OK : crypt_checksalt(hash);

	if (!*hash)
		return refuse(why, "no hash stands after the ':'; mkpasswd(1) and htpasswd -nB "
				   "make one");
	if (strchr(hash, ':'))
		return refuse(why, "a second ':' stands after the hash; a line is NAME:HASH");
	if (salt != CRYPT_SALT_OK)
		return refuse(why, "what stands after the ':' is no hash of crypt(5), or of a "
				   "method that is too weak, such as DES or MD5; mkpasswd(1) and "
				   "htpasswd -nB make good ones");
	return last && strlen(last + 1) >= HASH_CHARS_MIN ? 0 : refuse(why, "the hash is cut off");
}

/* A line without its end: NUL-terminated, and the caller's to change */
static int line_read(struct users *users, char *line, unsigned int number, char why[USERS_WHY_MAX])
{
	struct user *user = &users->list[users->len];
	char *colon = strchr(line, ':');
	int rc;

	if (!colon)
		return refuse(why, "no ':' stands in it; a line is NAME:HASH");
	*colon = '\0';
	user->name = line;
	user->hash = colon + 1;
	user->line = number;
	rc = name_check(user->name, why);
	if (rc == 0)
		rc = hash_check(user->hash, why);
	users->len += rc == 0;
	return rc;
}

static unsigned int lines_count(const char *text)
{
	unsigned int lines = 1;

	for (; *text; text++)
		lines += *text == '\n';
	return lines;
}

static int lines_read(struct users *users, unsigned int *line, char why[USERS_WHY_MAX])
{
	char *next = users->text, *at;
	int rc = 0;

	for (*line = 0; rc == 0 && (at = strsep(&next, "\n"));) {
		size_t len = strlen(at);

		(*line)++;
		while (len > 0 && isspace((unsigned char)at[len - 1]))
			at[--len] = '\0';
		if (len > 0 && *at != '#')
			rc = line_read(users, at, *line, why);
	}
	return rc;
}

static int user_compare(const void *a, const void *b)
{
	return strcmp(((const struct user *)a)->name, ((const struct user *)b)->name);
}

static int names_sort(struct users *users, unsigned int *line, char why[USERS_WHY_MAX])
{
	qsort(users->list, users->len, sizeof(*users->list), user_compare);
	for (unsigned int i = 1; i < users->len; i++) {
		const struct user *a = &users->list[i - 1], *b = &users->list[i];

		if (user_compare(a, b) != 0)
			continue;
		*line = a->line > b->line ? a->line : b->line;
		snprintf(why, USERS_WHY_MAX, "\"%.80s\" has a line already, %u; remove one of them",
			 a->name, a->line < b->line ? a->line : b->line);
		return -EINVAL;
	}
	return 0;
}

static int text_read(struct users *users, const char *text, size_t len, unsigned int *line,
		     char why[USERS_WHY_MAX])
{
	int rc;

	*line = 1;
	if (memchr(text, '\0', len))
		return refuse(why, "the file has a NUL in it");
	users->text = strndup(text, len);
	if (!users->text)
		return -ENOMEM;
	users->list = calloc(lines_count(users->text), sizeof(*users->list));
	if (!users->list || getrandom(users->secret, sizeof(users->secret), 0) < 0)
		return -ENOMEM;
	rc = lines_read(users, line, why);
	if (rc == 0 && users->len == 0)
		rc = refuse(why, "the file names nobody");
	return rc < 0 ? rc : names_sort(users, line, why);
}

int users_read(const char *text, size_t len, struct users **out, unsigned int *line,
	       char why[USERS_WHY_MAX])
{
	struct users *users = calloc(1, sizeof(*users));
	int rc;

	if (!users)
		return -ENOMEM;
	users->holders = 1;
	pthread_mutex_init(&users->lock, NULL);
	rc = text_read(users, text, len, line, why);
	if (rc < 0)
		users_drop(users);
	else
		*out = users;
	return rc;
}

struct users *users_hold(struct users *users)
{
	atomic_fetch_add(&users->holders, 1);
	return users;
}

void users_drop(struct users *users)
{
	if (!users || atomic_fetch_sub(&users->holders, 1) > 1)
		return;
	pthread_mutex_destroy(&users->lock);
	free(users->list);
	free(users->text);
	explicit_bzero(users->secret, sizeof(users->secret));
	free(users);
}

/* ---- asking ---- */

static struct user *user_find(const struct users *users, const char *name)
{
	const struct user wanted = { .name = name };

	return bsearch(&wanted, users->list, users->len, sizeof(wanted), user_compare);
}

static void digest_make(const struct users *users, const char *text, uint8_t out[DIGEST_BYTES])
{
	HMAC(EVP_sha256(), users->secret, sizeof(users->secret), (const uint8_t *)text,
	     strlen(text), out, NULL);
}

/* Whose hash an unknown name is checked against: nobody can tell, but it is the same each time. */
static const struct user *user_stand_in(const struct users *users, const char *name)
{
	uint8_t digest[DIGEST_BYTES];
	uint32_t number;

	digest_make(users, name, digest);
	memcpy(&number, digest, sizeof(number));
	return &users->list[number % users->len];
}

/* Of each user's own: who has the password of another is nobody known. */
static bool user_knows(struct users *users, const struct user *user, const char *pass,
		       uint64_t now_ms)
{
	uint8_t digest[DIGEST_BYTES];
	bool known;

	digest_make(users, pass, digest);
	pthread_mutex_lock(&users->lock);
	known = user->until_ms > now_ms && CRYPTO_memcmp(user->digest, digest, DIGEST_BYTES) == 0;
	pthread_mutex_unlock(&users->lock);
	return known;
}

static void user_learn(struct users *users, struct user *user, const char *pass, uint64_t now_ms)
{
	uint8_t digest[DIGEST_BYTES];

	digest_make(users, pass, digest);
	pthread_mutex_lock(&users->lock);
	memcpy(user->digest, digest, DIGEST_BYTES);
	user->until_ms = now_ms + USERS_KNOWN_MS;
	pthread_mutex_unlock(&users->lock);
}

bool users_know(struct users *users, const char *name, const char *pass, uint64_t now_ms)
{
	const struct user *user = user_find(users, name);

	return user && user_knows(users, user, pass, now_ms);
}

/* Without memory nothing is right. */
static bool hash_fits(const char *hash, const char *pass)
{
	void *data = NULL;
	int size = 0;
	const char *made = crypt_ra(pass, hash, &data, &size);
	size_t len = strlen(hash);
	bool fits = made && strlen(made) == len && CRYPTO_memcmp(made, hash, len) == 0;

	if (data)
		explicit_bzero(data, (size_t)size);
	free(data);
	return fits;
}

bool users_check(struct users *users, const char *name, const char *pass, uint64_t now_ms)
{
	struct user *user = user_find(users, name);
	const struct user *judge = user ? user : user_stand_in(users, name);

	if (strlen(pass) > USERS_PASS_MAX)
		return false;
	if (user && user_knows(users, user, pass, now_ms))
		return true; /* somebody asked the same just before */
	if (!hash_fits(judge->hash, pass) || !user)
		return false;
	user_learn(users, user, pass, now_ms);
	return true;
}
