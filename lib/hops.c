// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * hops.c - mark and sweep: the table of next hops is small, and gateways come and go
 *
 * Programs read hops and take free places without a lock, at any time. So a hop goes in three
 * steps, a second apart or more, which is a million times what a program takes:
 *
 *	a walk meets no flow that uses it: it is retired. No program gives it to
 *		a flow any more; one that was about to has done so before the next walk
 *	nor does that walk: then no flow ever will, for a flow that is met with
 *		another hop cannot come back to this one
 *	nor the next: a packet whose flow used it until then has left. Its place
 *		is free
 *
 * If a walk meets one that is retired, it is as good as before.
 */
#include "hops.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

/* Walks that have met no flow of a hop's */
enum {
	RETIRE_AFTER = 1,
	FREE_AFTER = 3,
};

void hops_mark(struct ladon *ladon, const struct ladon_entry *entries, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		ladon->hops_met[LADON_ROUTE_HOP(entries[i].route)] = true;
}

static void hop_edit(const struct ladon *ladon, uint32_t index, uint16_t op)
{
	struct ladon_request req = { .op = op, .id = index };

	ladon_run(ladon->edit_fd, &req, sizeof(req)); /* else at the next walk */
}

/* Return: LADON_EDIT_*, or 0: it stays as it is */
static uint16_t hop_step(uint32_t state, bool is_met, unsigned int unmet)
{
	if (state == LADON_HOP_RETIRED && is_met)
		return LADON_EDIT_HOP_RENEW;
	if (state == LADON_HOP_RETIRED && unmet >= FREE_AFTER)
		return LADON_EDIT_HOP_FREE;
	if (state == LADON_HOP_READY && unmet >= RETIRE_AFTER)
		return LADON_EDIT_HOP_RETIRE;
	return 0;
}

static void hop_sweep(struct ladon *ladon, uint32_t index, uint32_t state)
{
	bool is_met = ladon->hops_met[index];
	uint8_t *unmet = &ladon->hops_unmet[index];
	uint16_t op;

	if (is_met)
		*unmet = 0;
	else if (*unmet < FREE_AFTER)
		(*unmet)++;
	op = hop_step(state, is_met, *unmet);
	if (op)
		hop_edit(ladon, index, op);
	if (op == LADON_EDIT_HOP_RETIRE)
		*unmet = RETIRE_AFTER; /* it is from now on that walks count */
	else if (state != LADON_HOP_READY && state != LADON_HOP_RETIRED)
		*unmet = 0; /* whoever takes the place begins anew */
}

void hops_sweep(struct ladon *ladon, bool is_whole)
{
	static _Thread_local struct ladon_hop hops[LADON_HOPS];
	static _Thread_local uint32_t keys[LADON_HOPS];
	uint32_t next, len = LADON_HOPS;
	int rc;

	if (is_whole) {
		rc = bpf_map_lookup_batch(ladon->hops_fd, NULL, &next, keys, hops, &len, NULL);
		for (uint32_t i = 0; (rc == 0 || rc == -ENOENT) && i < len; i++)
			hop_sweep(ladon, keys[i], hops[i].state);
	}
	memset(ladon->hops_met, 0, sizeof(ladon->hops_met));
}
