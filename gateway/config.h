/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * config.h - what ladon.yaml says, checked
 *
 * A struct config is complete and consistent: every reference is resolved,
 * every default filled in. It never changes after config_load(); its owner,
 * a setup (setup.h), frees it when no connection uses it any more.
 */
#ifndef LADON_CONFIG_H
#define LADON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/addr.h"
#include "../base/cidr.h"

struct config_admit; /* config_admit.h */
struct keys;	     /* base/keys.h */
struct listing;	     /* paths/listing.h */
struct targets;	     /* target.h */
struct users;	     /* users.h */

enum pool_policy {
	POOL_ROUND_ROBIN,
	POOL_LEAST_FLOWS,
	POOL_FIRST, /* in the file's order */
	POOL_HASH,
	POOL_POLICIES,
};

/* What the policy hash goes by. A client that told no name is known by its address. */
enum pool_hash {
	HASH_SOURCE,
	HASH_NAME,
	HASH_SOURCE_NAME,
};

/* Where the access log goes, and in which form. */
enum access_to {
	ACCESS_OFF,
	ACCESS_STDERR,
	ACCESS_FILE,
};

enum access_format {
	ACCESS_JSON,
	ACCESS_TEXT,
};

/*
 * A source is one that stands for others: .listed of a file, and the targets that the SRV records of a
 * name have at the moment. Of its own it has .text, and for SRV .flows_max and .backup of all of them.
 */
struct config_backend {
	char *text; /* as written: "10.0.2.2:443", "www.internal:443"; "srv:NAME", "file:PATH" */
	char *srv;  /* NULL: no such source */
	char *file; /* NULL: no such source; of it, what the file says: */
	struct listing *listed;
	char *host; /* NULL if .addr is numeric */
	bool requested; /* "requested": the target that the client asks for; it has no address */
	bool original;	/* "original": the same, and nobody asks: where it was headed, see original.h */
	uint16_t port;
	struct addr addr;
	uint32_t weight;    /* at least 1 */
	uint32_t flows_max; /* 0: no limit */
	bool backup;	    /* only when no other can be used; not all of a pool are */
	uint16_t rank;	    /* up to CONFIG_RANK_MAX; likewise, of backends that are both backups or not */
};

/* When a backend that fails is left alone for a while. */
struct config_eject {
	uint32_t failures; /* in a row; 0: never */
	uint32_t for_ms;   /* at first; longer each time */
	uint32_t share;	   /* of a pool's backends, percent, that may be at a time */
};

enum health_check {
	HEALTH_NONE,
	HEALTH_TCP,
	HEALTH_HTTP,
	HEALTH_TLS,
	HEALTH_HTTPS,
	HEALTH_SCRIPT,
	HEALTH_CHECKS,
};

enum health_text {
	HEALTH_PATH, /* HTTP only; begins with '/' */
	HEALTH_HOST, /* HTTP only */
	HEALTH_SNI,  /* TLS only */
	HEALTH_CA,   /* TLS only, and if .verify: a file; NULL: the system's */
	HEALTH_TEXTS,
};

#define CONFIG_STATUSES_MAX 16

struct config_statuses {
	uint16_t from, to;
};

/* How a pool's backends are checked. */
struct config_health {
	enum health_check check; /* HEALTH_NONE: not at all, and nothing else is set */
	uint32_t interval_ms;
	uint32_t timeout_ms; /* of one address */
	uint32_t rise, fall; /* checks in a row that make it well, or sick */
	uint16_t port;	     /* 0: that of the connections */
	struct config_statuses statuses[CONFIG_STATUSES_MAX]; /* HTTP only: what counts as well */
	unsigned int statuses_len;
	bool verify;		   /* TLS only: the certificate is judged */
	char *texts[HEALTH_TEXTS]; /* NULL: not given */
	char **command;		   /* script only: a path and arguments, ended by NULL */
};

/* The PROXY header that a pool's backends get before the client's bytes: proxy_header.h */
struct config_send_proxy {
	uint8_t version; /* enum proxy_version; 0: none */
	bool authority;	 /* TLVs; with version 2 only */
	bool alpn;
	bool unique_id;
};

struct config_pool {
	char *name;
	enum pool_policy policy;
	enum pool_hash hash; /* POOL_HASH only */
	uint32_t slow_ms;    /* in which a backend that comes back gets its whole share; 0: at once */
	bool reset;	     /* live flows of a backend that went down are reset; else kept */
	struct config_eject eject;
	struct config_health health;
	struct config_backend *backends;
	unsigned int backends_len; /* 1 to CONFIG_BACKENDS_MAX; 1 if it is a requested one */
	struct config_send_proxy send_proxy;
	bool transparent; /* backends see the client's own address; else the gateway's */
};

#define CONFIG_BACKENDS_MAX 65535 /* of a pool */
#define CONFIG_WEIGHT_MAX   1000
#define CONFIG_RANK_MAX	    63

/*
 * One rule; all that is set must match. A rule with nothing set matches all.
 * Names are lower case; "*.example.org" stands for one or more labels before
 * .example.org, "*" for any name and for none at all. No two rules of a listener
 * have the same conditions.
 */
struct config_route {
	char *tls;	 /* server name; NULL: not only TLS */
	char *alpn;	 /* one protocol that the client must offer; NULL. Only with .tls */
	char *http_host; /* without port; NULL: not only HTTP */
	char *http_path; /* prefix, begins with '/'; NULL. Only with .http_host */
	char *starts;	 /* first bytes, see word_decode(); NULL: any */
	char *regex;	 /* of the first bytes, see words.h; NULL: any */
	char *target;	 /* host that a client asks for, see .targets; NULL: not only these */
	unsigned int pool; /* index into config.pools */
	const struct config_admit *admit; /* whom it is for; NULL: everybody */
	unsigned int line; /* of the file, for messages */
};

/* When ends that say nothing are asked whether they are there. */
struct config_keepalive {
	uint32_t after_ms; /* 0: never */
	uint32_t interval_ms;
	uint32_t probes;
};

/* Of a listener, over all workers; 0: none */
struct config_limits {
	uint32_t per_source; /* connections of one source (callers.h), handed off or not */
	uint32_t undecided;  /* connections that have not said what they want */
};

struct config_listener {
	char *name;	    /* the address as text */
	struct addr addr;
	uint16_t mss;	    /* TCP_MAXSEG to announce to clients; 0: the kernel's choice */
	bool targets;	    /* SOCKS, CONNECT and ladon prefixes: a rule at least has a target */
	bool peek;	    /* false: one route that matches all: first bytes are not waited for */
	bool handoff;
	bool transparent; /* it takes what TPROXY brings, whatever its destination */
	bool stack; /* mode: stack: handed-off flows pass netfilter; else direct */
	unsigned int line; /* of the file, for messages */
	uint32_t first_bytes_ms;
	uint32_t silence_ms; /* after which a client gets the default route; 0: it is awaited */
	uint32_t connect_ms;
	uint32_t idle_ms;
	uint32_t half_closed_ms;
	struct config_keepalive keepalive;
	const struct config_admit *admit; /* who may connect; NULL: everybody */
	struct config_limits limits;
	const struct targets *reach; /* where its clients may ask to go; NULL: as target.h says */
	struct users *users; /* who may use it as an open proxy, see .keys; NULL: nobody by name */
	struct keys *keys; /* that tokens are checked with: who has one may, too. If there are neither
			    * users nor keys, whoever may connect. Shared like the routes */
	struct cidrs *proxy_from; /* sources that begin with a PROXY header; NULL: it is not looked
				   * for. Shared like the routes */
	struct config_route *routes; /* shared by neighbours that were written as one listener */
	unsigned int routes_len;     /* at least 1 */
};

/* What becomes of the client's address when a port is forwarded. */
enum forward_source {
	FORWARD_KEEP,
	FORWARD_MASQUERADE, /* the address of the interface that the packets leave by */
	FORWARD_FIXED,
};

/* A port forward: the kernel's NAT, without a connection of ladon's. All of one family. */
struct config_forward {
	struct addr listen; /* what clients ask for, with the first port */
	uint16_t last;	    /* port, host order; at least the first */
	struct addr to;	    /* with the port that the first becomes; others follow in order */
	bool has_pool;	    /* instead of .to: */
	unsigned int pool;  /* index into config.pools */
	bool tcp, udp;	    /* one at least */
	bool has_hairpin;
	bool reset; /* what goes on with a server that is not its any more */
	enum forward_source source;
	struct addr source_addr; /* FORWARD_FIXED only; without a port */
	struct cidr hairpin;	 /* clients whose source is masqueraded all the same */
	unsigned int line;	 /* of the file, for messages */
};

/* What a key of the file's top level was given, for messages. */
struct config_said {
	const char *key;
	unsigned int line; /* of the key, or of the file's first one if it is not there */
	char *text;	   /* its value in one line of YAML; NULL: it is not there */
};

#define CONFIG_KEYS 19	       /* of the top level */
#define CONFIG_KEEP UINT32_MAX /* config.removed_ms: for ever */

/* skb->mark: .value after .mask */
struct config_mark {
	uint32_t value, mask;
};

/* Which of the connections that this host forwards are learned. 0: libladon's default */
struct config_accelerate {
	bool on;
	bool tcp, udp;
	uint32_t packets;
	uint32_t flows_max;
	uint32_t confirm_ms;
	char **interfaces; /* ended by NULL; NULL: any */
	struct cidrs except; /* not sealed: as they were written */
	struct target_ports *except_ports;
	unsigned int except_ports_len; /* 32 at most */
	struct config_mark *except_marks;
	unsigned int except_marks_len; /* 8 at most */
	bool drops;		       /* what the firewall drops, before it */
};

struct config {
	char *path;
	struct config_said said[CONFIG_KEYS];
	unsigned int workers; /* at least 1 */
	bool workers_given;   /* by the file; else one per CPU */
	bool handoff;	      /* false: relay everything; true: one listener at least hands off */
	bool stack;	      /* one listener at least is of mode stack */
	bool transparent;     /* one pool at least is */
	uint32_t flows_max;
	uint16_t port_min, port_max; /* source ports; both 0: libladon's default */
	struct addr *sources;
	unsigned int sources_len; /* 0: what the routes say */
	char *name_servers;	  /* "address,[address]:port"; NULL: of resolv.conf */
	char **interfaces;	  /* ended by NULL; NULL: found */
	char *control;		  /* path of the control socket */
	char *control_group;	  /* whose members may use it; NULL: nobody's */
	char *user;		  /* to become after the start; NULL: stay */
	char *pin;		  /* directory; NULL: libladon's default */
	uint32_t idle_ms, half_closed_ms; /* of flows that were made by older versions */
	uint32_t removed_ms; /* how long flows to removed backends go on: 0, or CONFIG_KEEP */
	enum access_to access_to;
	enum access_format access_format;
	char *access_path; /* ACCESS_FILE only */
	struct config_pool *pools;
	unsigned int pools_len;
	struct config_admit *admits; /* of listeners and routes */
	struct targets *targets;     /* of listeners */
	struct users **users;	     /* of listeners */
	unsigned int users_len;
	struct config_listener *listeners;
	unsigned int listeners_len; /* at least 1, if there are no forwards */
	struct config_accelerate accelerate;
	struct config_forward *forwards; /* no two take the same port, nor a listener's */
	unsigned int forwards_len;
};

/**
 * config_load() - read and check a file
 * @path: of the file
 * @error: on failure one line, "FILE:LINE: KEY: what is wrong; what would be
 *	right", to be freed by the caller; NULL on success
 *
 * Return: the configuration, or NULL. Free it with config_free().
 */
struct config *config_load(const char *path, char **error);

/** config_is_source() - does it stand for others? */
static inline bool config_is_source(const struct config_backend *backend)
{
	return backend->srv || backend->file;
}

/** config_parse() - the same from memory; @path is for messages */
struct config *config_parse(const char *path, const void *text, size_t len, char **error);

/** config_said() - what was said of a key of the top level; it must be one */
const struct config_said *config_said(const struct config *config, const char *key);

void config_free(struct config *config);

#endif
