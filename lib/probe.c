// SPDX-License-Identifier: LGPL-2.1-or-later
#include "probe.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

#include "private.h"

#define TTL    65   /* one less when it leaves */
#define WINDOW 1024 /* nobody should look at it; 0 would stop who does */

/*
 * What is to arrive at the probed end, less what its peer's entry will add. Of the numbers
 * that it acknowledged only the upper halves are known: that is enough for a number that
 * it has acknowledged, and for one that it has sent.
 */
static struct ladon_view numbers(const struct ladon_entry *asked, const struct ladon_entry *peer)
{
	bool high = !!(asked->state & LADON_STATE_HIGH) != (probe_count(asked) & 1);

	return (struct ladon_view){
		.snd_nxt = ((uint32_t)asked->acked << 16) - 1 - peer->d_seq,
		.rcv_nxt = (uint32_t)peer->acked << 16,
		.tsval = (high ? UINT32_MAX : INT32_MAX) - peer->d_tsval, /* the end of the half */
		.tsecr = 0 - peer->d_tsecr,
		.window = WINDOW,
		.has_ts = !!(peer->what & LADON_FLOW_TS),
	};
}

uint32_t probe_write(uint8_t *out, const struct ladon_entry *asked, const struct ladon_entry *peer)
{
	struct ladon_flow_key key = entry_twin_key(asked);
	struct ladon_view view = numbers(asked, peer);
	uint8_t *ip = out + ETH_HLEN;
	size_t len = segment_write_ack(ip, &key, &view, TTL);

	memset(out, 0xff, ETH_ALEN);
	memset(out + ETH_ALEN, 0, ETH_ALEN);
	out[12] = ip[0] >> 4 == 4 ? ETH_P_IP >> 8 : ETH_P_IPV6 >> 8;
	out[13] = (uint8_t)(ip[0] >> 4 == 4 ? ETH_P_IP : ETH_P_IPV6);
	return (uint32_t)(ETH_HLEN + len);
}

/* @way: of the entry whose packets leave where the probe is put in */
static int inject(struct ladon *ladon, const uint8_t *frame, uint32_t len, uint32_t id,
		  uint32_t way)
{
	struct __sk_buff ctx = { .cb = { id } };
	uint32_t index = LADON_ROUTE_HOP(way);
	struct ladon_hop hop;
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx));
	int rc = bpf_map_lookup_elem(ladon->hops_fd, &index, &hop);

	ctx.ifindex = hop.ifindex;
	if (rc == 0)
		rc = bpf_prog_test_run_opts(ladon->ask_fd, &opts);
	return rc < 0 ? rc : opts.retval ? -ENETDOWN : 0;
}

/* Where the peer's packets come in, or if that is down, those of the probed end. */
int probe_send(struct ladon *ladon, const struct ladon_entry *asked, const struct ladon_entry *peer)
{
	uint8_t frame[PROBE_BYTES_MAX];
	uint32_t len = probe_write(frame, asked, peer);
	int rc = inject(ladon, frame, len, asked->id, asked->route);

	return rc < 0 ? inject(ladon, frame, len, asked->id, peer->route) : rc;
}
