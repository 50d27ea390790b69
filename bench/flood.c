/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * flood.c - packets through a gateway as fast as one CPU can, and what one costs
 *
 *     flood udp DEVICE,DIRECT MAC CLIENT:PORT SERVER:PORT BYTES FLOWS
 *     flood answers DEVICE,DIRECT MAC CLIENT:PORT SERVER:PORT BYTES FLOWS
 *     flood tcp DEVICE,DIRECT MAC SERVER:PORT BYTES
 *
 * On veth links, and without RPS, the softirq that a packet causes runs in the context of who
 * sent it, from the gateway's reception to the drop behind it: all of it is this thread's CPU
 * time, if it stays on one CPU. Packets go by a packet socket, with a checksum left to the device, as those of sockets do;
 * a part of them to a link without a gateway, with a drop at its end: what they cost
 * is the generator's own.
 *
 * Flow i is from CLIENT's port + i % PORTS to SERVER's port + i / PORTS; "answers" go the other way. "tcp"
 * makes a connection to a server of load.c first and sends segments that fit into its window.
 *
 * Orders come by stdin, a line each, and each is answered by a line of JSON:
 *     each       a packet of every flow, in their order
 *     measure S  packets of flows at random, for so many seconds of CPU time
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../base/addr.h"

#define BATCH	    64
#define SAMPLE	    512
#define PORTS	    50000
#define SAMPLES_MAX 100000
#define PAYLOAD_MAX 1460
#define ECHO_LEN    64
#define ECHOES	    20		       /* more than a flow needs to be learned */
#define TCP_SPAN    (16 * PAYLOAD_MAX) /* of the window: less than any that a server begins with */

struct packet {
	struct virtio_net_hdr offload;
	struct ether_header eth;
	struct iphdr ip;
	union {
		struct udphdr udp;
		struct tcphdr tcp;
	};
} __attribute__((packed));

static struct packet packets[BATCH];
static unsigned char payload[PAYLOAD_MAX];
static struct iovec parts[BATCH][2];
static struct mmsghdr messages[BATCH];
static struct sockaddr_ll ways[2]; /* past the gateway's end, and through it */
enum {
	DIRECT,
	THROUGH
};

static struct {
	int fd;
	bool is_tcp, answers;
	uint32_t flows, next, seq, span;
	uint16_t client_port, server_port, len;
} flood;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "flood: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- packets ---- */

static uint32_t sum16(const void *data, size_t len, uint32_t sum)
{
	const uint16_t *words = data;

	for (size_t i = 0; i < len / 2; i++)
		sum += words[i];
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static size_t transport_len(void)
{
	return flood.is_tcp ? sizeof(struct tcphdr) : sizeof(struct udphdr);
}

/* @ack: TCP: what has been received. The checksum is that of the pseudo header, the device does the rest. */
static void packet_init(struct packet *p, const struct ether_addr *to, const struct addr *src,
			const struct addr *dst, uint32_t ack)
{
	uint16_t len = (uint16_t)(flood.len - sizeof(p->ip));
	uint32_t pseudo;

	p->offload.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	p->offload.csum_start = sizeof(p->eth) + sizeof(p->ip);
	p->offload.csum_offset =
		flood.is_tcp ? offsetof(struct tcphdr, check) : offsetof(struct udphdr, check);
	memcpy(p->eth.ether_dhost, to, ETH_ALEN);
	p->eth.ether_shost[0] = 2;
	p->eth.ether_type = htons(ETHERTYPE_IP);
	p->ip = (struct iphdr){ .version = 4,
				.ihl = 5,
				.tot_len = htons(flood.len),
				.frag_off = htons(IP_DF),
				.ttl = 64,
				.protocol = flood.is_tcp ? IPPROTO_TCP : IPPROTO_UDP,
				.saddr = src->in.sin_addr.s_addr,
				.daddr = dst->in.sin_addr.s_addr };
	p->ip.check = (uint16_t)~fold(sum16(&p->ip, sizeof(p->ip), 0));
	pseudo = sum16(&p->ip.saddr, 8, 0) + htons(p->ip.protocol) + htons(len);
	if (!flood.is_tcp) {
		p->udp = (struct udphdr){ .len = htons(len), .check = fold(pseudo) };
		return;
	}
	p->tcp = (struct tcphdr){ .ack_seq = htonl(ack),
				  .doff = 5,
				  .ack = 1,
				  .window = htons(0xffff),
				  .check = fold(pseudo) };
}

static void packets_init(const char *mac, const struct addr *client, const struct addr *server,
			 uint32_t ack)
{
	const struct ether_addr *to = ether_aton(mac);
	size_t headers = offsetof(struct packet, udp) + transport_len();

	if (!to)
		die(mac);
	flood.client_port = addr_port(client);
	flood.server_port = addr_port(server);
	for (int i = 0; i < BATCH; i++) {
		packet_init(&packets[i], to, flood.answers ? server : client,
			    flood.answers ? client : server, ack);
		parts[i][0] = (struct iovec){ &packets[i], headers };
		parts[i][1] = (struct iovec){ payload,
					      flood.len - (headers - offsetof(struct packet, ip)) };
		messages[i].msg_hdr.msg_iov = parts[i];
		messages[i].msg_hdr.msg_iovlen = 2;
		messages[i].msg_hdr.msg_namelen = sizeof(ways[0]);
	}
}

/* Both headers begin with the ports. */
static void packet_flow(struct packet *p, uint32_t flow)
{
	uint16_t client = htons((uint16_t)(flood.client_port + flow % PORTS));
	uint16_t server = htons((uint16_t)(flood.server_port + flow / PORTS));

	p->udp.uh_sport = flood.answers ? server : client;
	p->udp.uh_dport = flood.answers ? client : server;
	if (flood.is_tcp) {
		p->tcp.seq = htonl(flood.seq + flood.span);
		flood.span = (flood.span + PAYLOAD_MAX) % TCP_SPAN;
	}
}

static uint32_t random_flow(void)
{
	static uint32_t x = 2463534242u; /* xorshift32 */

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return (uint32_t)((uint64_t)x * flood.flows >> 32);
}

/* send_batch() - of @n packets of the flows that @flow_next tells */
static void send_batch(int way, uint32_t n, uint32_t (*flow_next)(void))
{
	for (uint32_t i = 0; i < n; i++) {
		packet_flow(&packets[i], flow_next());
		messages[i].msg_hdr.msg_name = &ways[way];
	}
	for (uint32_t sent = 0; sent < n;) {
		int rc = sendmmsg(flood.fd, messages + sent, n - sent, 0);

		if (rc < 0)
			die("send");
		sent += (uint32_t)rc;
	}
}

/* ---- orders ---- */

static uint32_t flow_after(void)
{
	return flood.next++ % flood.flows;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int n)
{
	qsort(values, (size_t)n, sizeof(*values), by_value);
	return values[n / 2];
}

/* Return: CPU ns per packet */
static double sample(int way, uint32_t n, uint32_t (*flow_next)(void))
{
	uint64_t began = cpu_ns();

	for (uint32_t sent = 0; sent < n; sent += BATCH)
		send_batch(way, n - sent < BATCH ? n - sent : BATCH, flow_next);
	return (double)(cpu_ns() - began) / n;
}

/*
 * measure() - @least packets, and then for @seconds of CPU time
 *
 * In turns, so that whatever else the machine does meets both; and medians, so that little of it counts.
 */
static void measure(uint32_t least, double seconds, uint32_t (*flow_next)(void))
{
	static double took[2][SAMPLES_MAX];
	uint64_t ends = cpu_ns() + (uint64_t)(seconds * 1e9);
	uint32_t sent = 0;
	int n = 0;

	while (n < SAMPLES_MAX && (sent < least || cpu_ns() < ends)) {
		uint32_t left = sent < least ? least - sent : SAMPLE;
		uint32_t count = left < SAMPLE ? left : SAMPLE;

		took[DIRECT][n] = sample(DIRECT, count, random_flow);
		took[THROUGH][n++] = sample(THROUGH, count, flow_next);
		sent += count;
	}
	printf("{\"packets\": %u, \"direct_ns\": %.1f, \"through_ns\": %.1f}\n", sent,
	       median(took[DIRECT], n), median(took[THROUGH], n));
}

static void each(void)
{
	flood.next = 0;
	measure(flood.flows, 0, flow_after);
}

static void obey(void)
{
	char line[64];
	double seconds;

	puts("{\"ready\": true}");
	while (fflush(stdout), fgets(line, sizeof(line), stdin))
		if (!strcmp(line, "each\n"))
			each();
		else if (sscanf(line, "measure %lf", &seconds) == 1)
			measure(5 * SAMPLE, seconds, random_flow);
		else
			exit(2);
}

/* ---- a connection ---- */

/* TCP_REPAIR_QUEUE; in linux/tcp.h, which netinet/tcp.h does not go with */
enum {
	RECV_QUEUE = 1,
	SEND_QUEUE
};

static uint32_t queue_seq(int fd, int queue)
{
	uint32_t seq;
	socklen_t len = sizeof(seq);

	if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, &queue, sizeof(queue)) < 0 ||
	    getsockopt(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, &seq, &len) < 0)
		die("sequence number");
	return seq;
}

/*
 * connection_make() - used by both ends, then silent: nothing is sent for it but what is here
 * @client: its own address
 * @ack: what it has received
 */
static void connection_make(const struct addr *server, struct addr *client, uint32_t *ack)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	char word[ECHO_LEN] = "e";
	socklen_t len = sizeof(client->in);

	if (fd < 0 || connect(fd, &server->sa, addr_len(server)) < 0)
		die("connect");
	for (int i = 0; i < ECHOES; i++)
		if (send(fd, word, sizeof(word), 0) != sizeof(word) ||
		    recv(fd, word, sizeof(word), MSG_WAITALL) != sizeof(word))
			die("echo");
	if (getsockname(fd, &client->sa, &len) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) < 0)
		die("repair mode");
	*ack = queue_seq(fd, RECV_QUEUE);
	flood.seq = queue_seq(fd, SEND_QUEUE);
}

/* ---- the start ---- */

static void ways_init(char *devices)
{
	char *direct = strchr(devices, ',');
	int on = 1;

	if (!direct)
		die("DEVICE,DIRECT");
	*direct++ = '\0';
	for (int i = 0; i < 2; i++) {
		const char *device = i == DIRECT ? direct : devices;

		ways[i] = (struct sockaddr_ll){ .sll_family = AF_PACKET,
						.sll_protocol = htons(ETH_P_IP),
						.sll_ifindex = (int)if_nametoindex(device) };
		if (!ways[i].sll_ifindex)
			die(device);
	}
	flood.fd = socket(AF_PACKET, SOCK_RAW, 0); /* 0: receives nothing */
	if (flood.fd < 0 || setsockopt(flood.fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0)
		die("packet socket");
}

static struct addr address(const char *text)
{
	struct addr a;

	errno = EINVAL;
	if (addr_parse(text, &a) < 0 || a.sa.sa_family != AF_INET)
		die(text);
	return a;
}

int main(int argc, char **argv)
{
	struct addr client, server;
	uint32_t ack = 0;

	if (argc < 6 || (argc != 8 && strcmp(argv[1], "tcp") != 0)) {
		fputs("usage: flood udp|answers|tcp ...\n", stderr);
		return 2;
	}
	flood.is_tcp = !strcmp(argv[1], "tcp");
	flood.answers = !strcmp(argv[1], "answers");
	ways_init(argv[2]);
	if (flood.is_tcp) {
		server = address(argv[4]);
		connection_make(&server, &client, &ack);
	} else {
		client = address(argv[4]);
		server = address(argv[5]);
	}
	flood.len = (uint16_t)atoi(argv[flood.is_tcp ? 5 : 6]);
	flood.flows = flood.is_tcp ? 1 : (uint32_t)atoi(argv[7]);
	packets_init(argv[3], &client, &server, ack);
	obey();
	return 0;
}
