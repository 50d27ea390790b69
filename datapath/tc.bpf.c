// SPDX-License-Identifier: GPL-2.0-only
/*
 * tc.bpf.c - the pipeline at tc ingress
 *
 * Attached to every interface that clients or backends are behind. What is not
 * ladon's goes on to whatever else is attached, and to the stack.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

#include "count.h"
#include "ctx.h"
#include "out.h"
#include "packet.h"
#include "pipeline.h"
#include "reset.h"

SEC("tc")
int ladon_ingress(struct __sk_buff *skb)
{
	struct packet pkt = {};
	struct way way = {};
	enum verdict verdict = pipeline(skb, &pkt, &way);

	count(pkt.why, pkt.len_bytes);
	switch (verdict) {
	case VERDICT_CONTINUE:
		return out_send(&way);
	case VERDICT_STACK:
		return TC_ACT_UNSPEC; /* the next program's, then the stack's */
	case VERDICT_RESET:
		if (reset_answer(skb, &pkt) == VERDICT_RESET)
			return bpf_redirect(skb->ifindex, 0);
		return TC_ACT_SHOT;
	case VERDICT_DROP:
		break;
	}
	return TC_ACT_SHOT;
}

char _license[] SEC("license") = "GPL";
