/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ladon.h - hand two connected TCP sockets to the kernel and leave
 *
 *	if (ladon_open(&ladon, NULL) == 0 &&
 *	    ladon_handoff(ladon, client, backend, NULL) == 0)
 *		return;                    // the kernel forwards from here on
 *	relay(client, backend);            // refused: both sockets are still yours
 *
 * Functions return 0 or a negative errno, write their results only on success,
 * never print, never exit and start no thread. Unless a function says
 * otherwise, any number of threads may call it with one handle. Strings that
 * are returned are static.
 *
 * Every struct that a caller fills begins with its own size, so that it can
 * grow: use the _INIT macro.
 */
#ifndef LADON_LADON_H
#define LADON_LADON_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <netinet/in.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef LADON_BUILD
#define LADON_API __attribute__((visibility("default")))
#else
#define LADON_API
#endif

/** struct ladon - programs, maps, source ports: opaque, see ladon_open() */
struct ladon;

/** Addresses are AF_INET or AF_INET6; IPv4 never appears as ::ffff:a.b.c.d. */
union ladon_address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/** How a flow stands */
enum ladon_flow_state {
	LADON_FLOW_OPEN,
	LADON_FLOW_HALF_CLOSED, /* one end sent a FIN */
	LADON_FLOW_CLOSED,	/* both did and both were acknowledged, or a RST passed */
	LADON_FLOW_KILLED,	/* by ladon_flow_kill() or a limit; its ends are being told */
};

/** Why a flow ended, in ladon_options.ended */
enum ladon_end {
	LADON_END_FIN,	  /* both ends closed */
	LADON_END_RESET,  /* one end sent a RST */
	LADON_END_IDLE,	  /* no packet for idle_ms */
	LADON_END_KILLED, /* by ladon_flow_kill() */
	LADON_END_DEAD,	  /* one end did not answer keepalive probes */
};

/**
 * struct ladon_flow - one handed-off connection
 * @id: unique among live flows
 * @client, @listener: the client's connection as the client sees it
 * @source, @backend: the same connection as the backend sees it
 * @packets_in, @bytes_in: client to backend; bytes are IP lengths
 * @packets_out, @bytes_out: backend to client
 * @age_ms, @idle_ms: since the handoff, since the last packet of either side
 * @by_client: in ladon_options.ended: the client closed or reset first, or is dead
 */
struct ladon_flow {
	uint32_t id;
	enum ladon_flow_state state;
	union ladon_address client, listener, source, backend;
	uint64_t packets_in, bytes_in;
	uint64_t packets_out, bytes_out;
	uint64_t age_ms, idle_ms;
	int by_client;
};

/** Urgency of a message given to ladon_options.message, as in syslog(3) */
enum ladon_level {
	LADON_LEVEL_ERR = 3,
	LADON_LEVEL_WARN = 4,
	LADON_LEVEL_INFO = 6,
	LADON_LEVEL_DEBUG = 7,
};

/**
 * struct ladon_options - what ladon_open() should know
 * @size: sizeof(struct ladon_options)
 * @pin_dir: where programs and maps are pinned, in a BPF file system (one is
 *	mounted there if it is none); NULL: /sys/fs/bpf/ladon. One directory per
 *	network namespace, one open handle per directory.
 * @interfaces: names, ended by NULL; NULL: every interface that is up and is
 *	neither a loopback, nor a bond's port, nor in another VRF than the process
 *	that opens (ip vrf exec), followed as they come and go
 * @flows_max: size of the flow table; 0: 65536. Ignored if a pinned table exists
 * @port_min, @port_max: source ports, both included; 0: 10000 to 32767. Keep
 *	them out of net.ipv4.ip_local_port_range
 * @sources: source addresses, tried in turn; NULL: what the routes say
 * @sources_len: how many
 * @quarantine_ms: how long a source port rests after its flow was deleted; 0: 500
 * @linger_ms: how long a closed flow is kept for late packets; 0: 1000
 * @idle_ms: a flow without packets for this long ends, and both ends are told so by a RST;
 *	0: 2 hours. Where a handoff says nothing else
 * @half_closed_ms: the same for a flow that one end has closed; 0: 1 hour
 * @message: told what happens, from the thread that called in; NULL: nobody
 * @ended: told of each flow that ended, once, from ladon_dispatch(),
 *	ladon_flow_kill() or ladon_handoff(); NULL: nobody
 * @arg: passed to both
 */
struct ladon_options {
	size_t size;
	const char *pin_dir;
	const char *const *interfaces;
	uint32_t flows_max;
	uint16_t port_min, port_max;
	const union ladon_address *sources;
	size_t sources_len;
	uint32_t quarantine_ms;
	uint32_t linger_ms;
	uint32_t idle_ms;
	uint32_t half_closed_ms;
	void (*message)(void *arg, enum ladon_level level, const char *text);
	void (*ended)(void *arg, const struct ladon_flow *flow, enum ladon_end why);
	void *arg;
};
#define LADON_OPTIONS_INIT { .size = sizeof(struct ladon_options) }

/**
 * ladon_open() - load the programs, or adopt those that are pinned, and attach
 * @out: the handle; free it with ladon_close()
 * @options: NULL: defaults
 *
 * Return: 0, or -EPERM: CAP_BPF, CAP_NET_ADMIN or CAP_PERFMON is missing;
 * -EOPNOTSUPP: the kernel refused the programs (older than 6.1, no BTF);
 * -EBUSY: flows are pinned in pin_dir whose layout this version does not know,
 * or another process has it open: nothing was changed, and they go on; -EINVAL:
 * an option is out of range; -ENODEV: a named interface does not exist; -ENOMEM.
 * A message says more.
 */
LADON_API int ladon_open(struct ladon **out, const struct ladon_options *options);

/**
 * ladon_close() - forget the handle
 *
 * Programs, maps and flows stay and go on without this process.
 */
LADON_API void ladon_close(struct ladon *ladon);

/**
 * ladon_cleanup() - take off everything that is ladon's: all flows end
 * @pin_dir: as in struct ladon_options; NULL: the default
 *
 * Detaches the programs, removes qdiscs that ladon made and nobody else uses,
 * and unpins and unmounts. Filters, programs and qdiscs of others stay; as long
 * as there are pins, also those of a ladon that has another pin_dir.
 *
 * Return: 0, also if there was nothing; -EBUSY: a handle is open, in this or
 * another process, and nothing was touched; or another negative errno: something
 * is left.
 */
LADON_API int ladon_cleanup(const char *pin_dir);

/**
 * ladon_fd() - a descriptor that is readable when ladon_dispatch() has work
 *
 * It stays the handle's. Watch it with poll(2) or epoll(7), level-triggered.
 */
LADON_API int ladon_fd(const struct ladon *ladon);

/**
 * ladon_dispatch() - handle ends of flows, interfaces that came or went, time limits
 *
 * Does not block. Call it from one thread at a time, whenever ladon_fd() is
 * readable; a timer in there makes it so four times a second.
 */
LADON_API int ladon_dispatch(struct ladon *ladon);

/**
 * ladon_listen() - lay the acknowledgement rule on a listening socket
 *
 * Sockets that are accepted from it do not acknowledge what the client sends,
 * so that the client repeats what a handoff might lose. They stay so until
 * ladon_handoff() succeeds or ladon_acknowledge() is called. The client waits
 * meanwhile, with its initial window unacknowledged: be quick.
 * Call it before listen(2) or right after.
 *
 * Packets of an IPv4 client leave 20 bytes longer for an IPv6 backend: if there may be
 * some, let the socket announce segments that fit then (TCP_MAXSEG; 1440 for Ethernet).
 * Else such connections are refused for their MSS.
 *
 * Return: 0 or a negative errno; then the socket is an ordinary one.
 */
LADON_API int ladon_listen(struct ladon *ladon, int listen_fd);

/**
 * ladon_connect() - connect the back socket so that it can be handed off
 * @front_fd: the accepted socket whose options the back socket mirrors
 * @back_fd: a fresh, unbound TCP socket
 * @to: the backend
 * @source: the port that was taken: give it to ladon_handoff(), which keeps it
 *	on success, or to ladon_source_free() after close(back_fd)
 *
 * Binds to a source port of ladon's own, announces no larger segments and no
 * other options than the client did, lays the acknowledgement rule on the
 * socket and calls connect(2). TCP_NODELAY is the caller's to set, should the socket
 * be relayed.
 *
 * Return: 0: connected; -EINPROGRESS: as connect(2) on a non-blocking socket,
 * @source is written; -EADDRNOTAVAIL: no source port is free; -EADDRINUSE: the
 * port that was chosen is still in use towards @to, by a socket of another
 * process or one in TIME_WAIT: it rests now, and a call with a fresh @back_fd
 * tries the next one; -EOPNOTSUPP: the rule or the port could not be had, most likely for
 * want of memory in the kernel: a fresh @back_fd may be connected by other means, and
 * relayed; else the errno of connect(2). On any error no port is taken.
 */
LADON_API int ladon_connect(struct ladon *ladon, int front_fd, int back_fd,
			    const struct sockaddr *to, uint64_t *source);

/**
 * ladon_transparent() - prepare for ladon_connect_from() with addresses that are not this host's
 *
 * What a backend answers to such an address is delivered here, as long as there is a socket for
 * it: the programs mark it, and a routing rule and a table, both with the number 2768 and of both
 * families, make it this host's. They are made again when somebody deletes them, and
 * ladon_cleanup() deletes them. Before the first such connect; again, it does nothing.
 *
 * The backend's own network must send what is for those addresses by way of this host.
 *
 * Return: 0, or -EPERM: CAP_NET_ADMIN is missing; -EOPNOTSUPP: in a VRF, or the kernel has no
 * policy routing; or another negative errno. A message says more, also about what is in the way.
 */
LADON_API int ladon_transparent(struct ladon *ladon);

/**
 * ladon_connect_from() - ladon_connect(), from an address of the caller's choice
 * @from: as a rule the client's, of the family of @to. Its port: the one to take; 0: any that is free
 *
 * What is free is asked of the kernel and of the flow table each time: the port is none of
 * ladon's own, there is nothing to give back, and ladon_handoff.source is 0.
 *
 * Return: as ladon_connect(); but -EADDRINUSE also if that port is not to be had: a call
 * with a fresh @back_fd and port 0 takes another; and -EPERM: CAP_NET_ADMIN or CAP_NET_RAW is missing.
 */
LADON_API int ladon_connect_from(struct ladon *ladon, int front_fd, int back_fd,
				 const struct sockaddr *from, const struct sockaddr *to);

/** ladon_source_free() - give a port back, after its socket was closed; 0 is ignored */
LADON_API void ladon_source_free(struct ladon *ladon, uint64_t source);

/**
 * ladon_acknowledge() - make a guarded socket an ordinary one
 *
 * What it kept quiet about is acknowledged at once. Needs CAP_NET_RAW for that;
 * without it, the next segment or the peer's repetition does it.
 */
LADON_API int ladon_acknowledge(struct ladon *ladon, int fd);

/**
 * ladon_consumed() - the first @bytes that came from the peer were for the caller itself
 *
 * A request, or a header, that is not forwarded: it may be acknowledged, and is by the next
 * segment that the caller sends. What comes after it is kept quiet about, also on a socket
 * that was an ordinary one. What the caller sends itself must have been acknowledged
 * (SIOCOUTQ of tcp(7)) before ladon_handoff().
 *
 * @bytes: all of them since the connection began
 *
 * Return: 0; -EAGAIN: more than that has been acknowledged already: nothing was changed;
 * or another negative errno.
 */
LADON_API int ladon_consumed(struct ladon *ladon, int fd, uint64_t bytes);

/**
 * ladon_acknowledge_consumed() - acknowledge what ladon_consumed() was told, now
 *
 * For a peer that waits for that before it says more, when the caller has nothing to say. The
 * socket stays guarded. If the peer has said more already, nothing is sent. Needs CAP_NET_RAW,
 * as ladon_acknowledge() does.
 *
 * @bytes: as ladon_consumed() was told
 */
LADON_API void ladon_acknowledge_consumed(struct ladon *ladon, int fd, uint64_t bytes);

/**
 * ladon_stack() - prepare for handoffs with ladon_handoff.stack
 *
 * The packets of such flows pass netfilter: an entry of conntrack, which lives as
 * long as the flow, does their NAT. For NAT to happen, a chain of type nat must
 * be there: this makes one, in the nft table "inet ladon", makes it again when
 * it is deleted, and ladon_cleanup() deletes it. IP forwarding must be on in
 * the moment of each handoff. Before the first such handoff; again, it does nothing.
 *
 * Return: 0, or -EPERM: CAP_NET_ADMIN is missing; -EPROTONOSUPPORT or another
 * negative errno: the kernel lacks nf_tables, NAT or ctnetlink. A message says more.
 */
LADON_API int ladon_stack(struct ladon *ladon);

/* struct ladon_handoff: what 0 stands for */
#define LADON_KEEPALIVE_INTERVAL_MS 75000
#define LADON_KEEPALIVE_PROBES	    9

/**
 * struct ladon_handoff - the state of a connection that is handed off
 * @size: sizeof(struct ladon_handoff)
 * @front_data: bytes that were read from the front and not yet sent to the back
 * @back_data: bytes that were read from the back and not yet sent to the front
 * @source: from ladon_connect(); 0: the back socket's port is the caller's own
 * @stack: not 0: the kernel's stack forwards the flow, with all rules of FORWARD,
 *	see ladon_stack()
 * @client, @listener, @source_address, @backend: the addresses of the two
 *	sockets if the caller knows them: it saves four system calls; NULL: unknown
 * @reason: written always: 0, or why the handoff was refused, for
 *	ladon_reason_name()
 * @id: the flow's, from ladon_flow_id(); 0: any. Written on success
 * @front_rtt_us, @back_rtt_us: written on success: smoothed round trip times
 *	between ladon and the two ends; 0: unknown
 * @idle_ms, @half_closed_ms: the flow's limits, which it keeps, also under another
 *	process; 0: as in struct ladon_options. All flows together can have 255 different
 *	sets of limits; if it would need one more, the flow gets those of struct ladon_options
 * @keepalive_after_ms: silence after which both ends are probed, as with SO_KEEPALIVE; 0:
 *	never. Answers do not make the flow less idle. ladon_dispatch() does it, about once a
 *	second: without a process nobody is probed
 * @keepalive_interval_ms: how long an answer is waited for; 0: 75 seconds. Linux answers
 *	twice a second at most
 * @keepalive_probes: an end that leaves as many unanswered is dead: the flow ends, and the
 *	other end is told by a RST; 0: 9. At most 63
 * @leavers: where the sockets wait until they vanish, see ladon_leavers_new(); NULL: nowhere
 */
struct ladon_handoff {
	size_t size;
	const void *front_data;
	size_t front_len;
	const void *back_data;
	size_t back_len;
	uint64_t source;
	const struct sockaddr *client, *listener, *source_address, *backend;
	unsigned int reason;
	uint32_t id;
	int stack;
	uint32_t front_rtt_us, back_rtt_us;
	uint32_t idle_ms, half_closed_ms;
	uint32_t keepalive_after_ms, keepalive_interval_ms, keepalive_probes;
	struct ladon_leavers *leavers;
};
#define LADON_HANDOFF_INIT { .size = sizeof(struct ladon_handoff) }

/**
 * ladon_handoff() - make the two connections one, and let both sockets vanish
 *
 * All or nothing. On success both descriptors are closed, or in how->leavers, without a FIN or
 * a RST, and both ends go on talking to each other. On failure neither socket was
 * touched, nothing was sent, and the bytes of @how are still the caller's.
 *
 * With sockets from ladon_listen() and ladon_connect() it may be called as
 * soon as the back socket is connected. With others, or after
 * ladon_acknowledge(), only while the connection is quiet: everything read was
 * sent and acknowledged, on both sides; no bytes may be given then.
 *
 * Return: 0, or -EAGAIN: not now, but perhaps later (unacknowledged bytes,
 * connection not quiet); -ENOTCONN: a socket is not ESTABLISHED; -ENOSPC: the
 * flow table is full; -EEXIST: a flow with these addresses exists;
 * -EOPNOTSUPP: these two connections cannot be translated into each other;
 * -ENOMEM: the kernel had no memory for it; -EPERM: a privilege is missing.
 * how->reason says which.
 */
LADON_API int ladon_handoff(struct ladon *ladon, int front_fd, int back_fd,
			    struct ladon_handoff *how);

/**
 * ladon_leavers_new() - let sockets stay for a moment after their handoff; of one thread
 *
 * What an end says in the very moment of the handoff may be on its way through this host's stack,
 * past the programs and not yet at the socket. A socket that is closed by then loses it, and
 * the end repeats it after 200 ms. One that is here sends it on. And many are closed at once for less.
 *
 * The descriptors are no longer the caller's, but open: take them out of epoll(7) before it is asked again, or
 * it goes on telling of them. Sockets of a flow of the stack's (how->stack) do not wait here: they are
 * closed at once. ladon_leavers_free() before ladon_close().
 *
 * Return: NULL: no memory
 */
LADON_API struct ladon_leavers *ladon_leavers_new(struct ladon *ladon);

/**
 * ladon_leavers_run() - close those that have been here for a millisecond
 *
 * To be called after a ladon_handoff(), and again when it says so. Return: in how many
 * milliseconds; -1: nobody is here.
 */
LADON_API int ladon_leavers_run(struct ladon_leavers *leavers);

/** ladon_leavers_free() - close all; NULL is fine */
LADON_API void ladon_leavers_free(struct ladon_leavers *leavers);

/**
 * ladon_flow_id() - a number for a flow that is to be made, for ladon_handoff.id
 *
 * Whoever keeps something about a flow must do so before the handoff: its end
 * may be told before ladon_handoff() has returned. Never 0.
 */
LADON_API uint32_t ladon_flow_id(struct ladon *ladon);

/**
 * ladon_flow_each() - call @fn with every flow, until it returns non-zero
 *
 * Return: what @fn returned last, or a negative errno. Flows that come or go
 * meanwhile may be missed.
 */
LADON_API int ladon_flow_each(struct ladon *ladon, int (*fn)(void *arg, const struct ladon_flow *),
			      void *arg);

/**
 * ladon_flow_kill() - end a flow: both ends are told with a RST
 *
 * At once: each is sent what it has to answer. Who is not reached is told when it speaks.
 *
 * @flow: as ladon_flow_each() told of it, whose @fn may call this
 *
 * Return: 0, or -ENOENT: it has ended meanwhile.
 */
LADON_API int ladon_flow_kill(struct ladon *ladon, const struct ladon_flow *flow);

/** struct ladon_network - a prefix; IPv4 as ::ffff:a.b.c.d, with 96 bits more. ::/0 is IPv6 alone */
struct ladon_network {
	uint8_t address[16];
	unsigned int bits;
};

/* struct ladon_acceleration: how many at most */
#define LADON_EXCEPT_NETWORKS 32768
#define LADON_EXCEPT_PORTS    32
#define LADON_EXCEPT_MARKS    8

/**
 * struct ladon_acceleration - which of the connections that this host forwards are learned
 * @size: sizeof(struct ladon_acceleration)
 * @tcp, @udp: not 0: these are
 * @packets: of one direction that the stack forwards first; 0: 8. At most 200
 * @flows_max: room for so many; 0: 65536. One takes 400 bytes
 * @confirm_ms: how often the stack is asked again; 0: every second. At most 30000, and half of the time that conntrack
 *	has for UDP. With tens of thousands of flows ladon_dispatch() makes it longer, up to 10 s. Without an
 *	answer for twice as long, the stack gets all packets
 * @interfaces: names, ended by NULL: between these only, as they come and go; NULL: between any. The
 *	programs must be on them in any case: see ladon_options.interfaces
 * @except_networks: connections that one of these is an end of are not learned, before or after NAT
 * @except_ports: likewise, ranges of ports; .to 0: no more
 * @except_marks: likewise, of packets as they leave: .value after .mask; .mask 0: no more
 * @no_drops: not 0: what the firewall drops is left to it. Else a flow that it drops is dropped before it, after
 *	.packets of them and as long as ladon_dispatch() finds that its rules judge flows, not packets
 */
struct ladon_acceleration {
	size_t size;
	int tcp, udp;
	uint32_t packets;
	uint32_t flows_max;
	uint32_t confirm_ms;
	const char *const *interfaces;
	const struct ladon_network *except_networks;
	size_t except_networks_len;
	struct {
		uint16_t from, to;
	} except_ports[LADON_EXCEPT_PORTS];
	struct {
		uint32_t value, mask;
	} except_marks[LADON_EXCEPT_MARKS];
	int no_drops;
};
#define LADON_ACCELERATION_INIT { .size = sizeof(struct ladon_acceleration) }

/**
 * ladon_accelerate() - learn connections that this host forwards, and send their packets past the stack
 * @how: NULL: no longer; the stack has all packets from then on
 *
 * What netfilter and the routes have made of a connection's first packets is done with those that
 * follow, until a rule, a route or a neighbour changes; then, and once in a second, the stack is asked
 * again. It needs conntrack. Again: with other settings, and nothing is learned yet.
 *
 * TCP connections are made liberal in conntrack (IP_CT_TCP_FLAG_BE_LIBERAL) by ladon_dispatch() before they are
 * learned. Without a process that calls it, none are from then on, and what was learned goes on.
 *
 * Return: 0, or -EOPNOTSUPP: Linux before 6.2, no conntrack, or in a VRF; -EINVAL: a number is out of
 * range; or another negative errno. A message says more.
 */
LADON_API int ladon_accelerate(struct ladon *ladon, const struct ladon_acceleration *how);

/**
 * struct ladon_learned_flow - a learned flow
 * @protocol: IPPROTO_TCP or IPPROTO_UDP
 * @from, @to: who opened it, and to where
 * @as_from, @as_to: the same as that is sent on: what NAT has made of it
 * @in, @out: interfaces by which its packets come, and leave
 * @packets_in, @bytes_in: from who opened it, sent past the stack; bytes are IP lengths
 * @packets_out, @bytes_out: of what answers; all 0 if that was not learned
 * @stack_packets: of both, those that took the stack since it was learned
 * @confirmed_ms: how long ago the last of these was
 * @mark: that packets leave with
 */
struct ladon_learned_flow {
	int protocol;
	union ladon_address from, to, as_from, as_to;
	uint32_t in, out;
	uint64_t packets_in, bytes_in;
	uint64_t packets_out, bytes_out;
	uint64_t stack_packets;
	uint64_t confirmed_ms;
	uint32_t mark;
};

/** ladon_learned_each() - call @fn with every learned flow, until it returns non-zero; as ladon_flow_each() */
LADON_API int ladon_learned_each(struct ladon *ladon,
				 int (*fn)(void *arg, const struct ladon_learned_flow *), void *arg);

/**
 * ladon_learned_why() - why packets of a connection that this host forwards take the stack
 * @protocol: IPPROTO_TCP or IPPROTO_UDP
 * @from, @to: as its packets come, of either direction
 * @reason: 0: they are sent past it; or why they are not, now; "no_flow" if conntrack knows no such
 *	connection
 *
 * Return: 0, or -EOPNOTSUPP: nothing is learned, see ladon_accelerate(); -EINVAL: of two families, or
 * another protocol; or another negative errno.
 */
LADON_API int ladon_learned_why(struct ladon *ladon, int protocol, const struct sockaddr *from,
				const struct sockaddr *to, unsigned int *reason);

/* Durations are counted in steps of a fifth to a quarter: four for each power of two */
#define LADON_DURATIONS 64

/** ladon_duration_ns() - what was counted in [i] took less than this, and no less than [i - 1] */
static inline uint64_t ladon_duration_ns(unsigned int i)
{
	return (uint64_t)(5 + i % 4) << (i / 4 + 6);
}

/** struct ladon_stats - counters since the programs were loaded; reasons by number */
struct ladon_stats {
	size_t size;
	uint64_t flows, flows_max;
	uint64_t packets, bytes; /* translated; bytes are lengths on the wire */
	uint64_t handoffs; /* of this handle */
	uint64_t handoff_ns[LADON_DURATIONS]; /* by duration; the last one: all longer ones, too */
};
#define LADON_STATS_INIT { .size = sizeof(struct ladon_stats) }

LADON_API int ladon_stats(struct ladon *ladon, struct ladon_stats *out);

/** ladon_reason_packets() - how many packets left the fast path for @reason */
LADON_API int ladon_reason_packets(struct ladon *ladon, unsigned int reason, uint64_t *out);

/** ladon_reason_name() - the word for a reason, as "table_full"; NULL past the last */
LADON_API const char *ladon_reason_name(unsigned int reason);

/** ladon_reason_text() - the sentence for a reason; NULL past the last */
LADON_API const char *ladon_reason_text(unsigned int reason);

/** ladon_interface_each() - call @fn with every interface that the programs are attached to */
LADON_API int ladon_interface_each(struct ladon *ladon, int (*fn)(void *arg, const char *name),
				   void *arg);

/* ---- for clients of a gateway: no handle, no privilege, no memory; PREFIX.md has the format ---- */

#define LADON_PREFIX_MAX    1024 /* bytes: no prefix is longer, and no answer */
#define LADON_PREFIX_ANSWER 1	 /* the gateway is to say whether it has connected */

/**
 * ladon_prefix() - the bytes that tell a gateway where a connection is to go
 * @out: room for @size bytes; LADON_PREFIX_MAX will always do
 * @host: an IPv4 or IPv6 address, without brackets, or a name, which the gateway looks up
 * @port: in host order; not 0
 * @token: as `ladon token make` prints it, without the line's end; NULL: none
 * @flags: 0, or LADON_PREFIX_ANSWER
 *
 * Send them before anything else, best in one go with the first bytes for the target, or with
 * TCP_NODELAY: nobody need be waited for.
 *
 * Return: their number; -EINVAL: @host, @port, @token or @flags is none; -ENOBUFS: @size is too
 * small.
 */
LADON_API int ladon_prefix(void *out, size_t size, const char *host, uint16_t port,
			   const char *token, unsigned int flags);

/**
 * ladon_prefix_answer() - has it connected? The first bytes from a gateway that was to say
 * @len: of @bytes, all that have come so far
 *
 * Return: how many were the answer: it has, and what follows is the target's; -EAGAIN: it takes
 * more bytes to know; or why not: -EACCES: the target is not allowed; -ECONNREFUSED,
 * -EHOSTUNREACH (also: there is no such name), -ENETUNREACH, -ETIMEDOUT: it cannot be reached;
 * -ENOKEY: a token is required; -EKEYREJECTED: the token was not made with a key of the
 * gateway's; -EKEYEXPIRED: its time is over; -EPERM: it is for another target; -EPROTONOSUPPORT:
 * the gateway knows less than the prefix asks for; -EINVAL: it found the prefix malformed; -EIO:
 * anything else; -EBADMSG: this is no answer.
 */
LADON_API int ladon_prefix_answer(const void *bytes, size_t len);

#ifdef __cplusplus
}
#endif
#endif
