// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * table.c - see table.h; datapath/bucket.h says how the table is made
 */
#include "table.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/random.h>

uint64_t table_secret(void)
{
	uint64_t secret;

	if (getrandom(&secret, sizeof(secret), 0) != sizeof(secret))
		return 0;
	return secret | 1;
}

/* Return: NULL: see errno */
static void *map(int fd, size_t len)
{
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

static size_t tags_len(const struct table *table)
{
	return table->len * sizeof(*table->tags);
}

static size_t entries_len(const struct table *table)
{
	return table->len * sizeof(*table->entries);
}

int table_map(struct table *table, int filter_fd, int tags_fd, int entries_fd, uint32_t len,
	      uint64_t secret)
{
	*table = (struct table){ .secret = secret, .len = len };
	table->filter = map(filter_fd, sizeof(*table->filter));
	table->tags = map(tags_fd, tags_len(table));
	table->entries = map(entries_fd, entries_len(table));
	return table->filter && table->tags && table->entries ? 0 : -errno;
}

void table_unmap(struct table *table)
{
	if (table->filter)
		munmap(table->filter, sizeof(*table->filter));
	if (table->tags)
		munmap(table->tags, tags_len(table));
	if (table->entries)
		munmap(table->entries, entries_len(table));
	*table = (struct table){ 0 };
}

static struct bucket bucket_of(const struct table *table, const struct spot *spot)
{
	return (struct bucket){ .filter = table->filter,
				.tags = &table->tags[spot->bucket],
				.entries = &table->entries[spot->bucket] };
}

const struct ladon_learned *table_find(const struct table *table,
				       const struct ladon_learned_key *key)
{
	struct spot spot = spot_of(key, table->secret, table->len);
	struct bucket bucket = bucket_of(table, &spot);
	uint32_t place;

	return bucket_find(&bucket, key, spot.tag, &place);
}

void table_delete(const struct table *table, const struct ladon_learned_key *key,
		  uint64_t (*now)(void))
{
	struct spot spot = spot_of(key, table->secret, table->len);
	struct bucket bucket = bucket_of(table, &spot);
	uint32_t place;

	while (bucket_take(&bucket, key, spot.tag, &place))
		bucket_free(&bucket, place, (uint32_t)now());
}

static bool is_empty(const struct ladon_tags *tags)
{
	uint64_t all = 0;

	for (size_t i = 0; i < sizeof(tags->words) / sizeof(tags->words[0]); i++)
		all |= tags->words[i];
	return all == 0;
}

int table_each(const struct table *table, uint32_t from, uint32_t len,
	       int (*fn)(void *arg, const struct ladon_learned *learned), void *arg)
{
	int rc = 0;

	for (uint32_t at = from; rc == 0 && at < table->len && at - from < len; at++) {
		if (is_empty(&table->tags[at]))
			continue;
		for (uint32_t i = 0; rc == 0 && i < LADON_PLACES; i++)
			if (table->tags[at].of[i] >= BUCKET_TAG_MIN)
				rc = fn(arg, &table->entries[at].of[i]);
	}
	return rc;
}
