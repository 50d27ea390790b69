// SPDX-License-Identifier: GPL-2.0-only
/*
 * main.c - ladond: start everything in order, wait for signals, stop in order
 *
 * Addresses are bound before the kernel side is touched: a second ladond with
 * the same configuration fails there, and changes nothing for the first.
 *
 * The main thread serves libladon (ends of flows, interfaces) and signals;
 * workers, the resolver, the health checks and the control socket have threads of their own.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "../base/log.h"
#include "../base/own.h"
#include "../paths/health.h"
#include "../paths/lookup.h"
#include "../paths/resolve.h"
#include "accelerate.h"
#include "callers.h"
#include "control.h"
#include "ends.h"
#include "flows.h"
#include "forwards.h"
#include "gateway.h"
#include "loop.h"
#include "privilege.h"
#include "reload.h"
#include "removed.h"
#include "setup.h"
#include "ticket.h"
#include "verdict.h"
#include "worker.h"

#define CONFIG_PATH	  "/etc/ladon/ladon.yaml"
#define DISPATCH_PAUSE_MS 20

enum {
	EXIT_USAGE = 2
};

/* What becomes of handed-off flows when the daemon stops. */
enum at_stop {
	STOP_LEAVE,
	STOP_DRAIN, /* wait for their end, and for that of relayed connections */
	STOP_CUT,
};

struct options {
	const char *path;
	enum at_stop at_stop;
	enum log_level level;
	bool check;
	bool cleanup;
};

struct daemon {
	const struct options *options;
	struct gateway gateway;
	struct control *control; /* NULL: it could not be made */
	struct privilege privilege;
	int signal_fd;
	int done_fd; /* eventfd: workers that have ended */
	unsigned int workers_done;
	bool at_once;	     /* a second signal came */
	char complaint[512]; /* of libladon, while it is opened */
};

/* ---- command line ---- */

static const char usage[] =
	"usage: ladond [--check | --cleanup] [--drain | --cut] [--log LEVEL] [[-c] FILE]\n"
	"\n"
	"  -c, --config FILE  instead of " CONFIG_PATH "\n"
	"      --check        say what is wrong with the file, and exit\n"
	"      --cleanup      take off what ladon left in the kernel: all flows end; and exit\n"
	"      --drain        at SIGTERM: wait until the last flow has ended\n"
	"      --cut          at SIGTERM: end all flows; without either, handed-off ones live on\n"
	"      --log LEVEL    err, warn, info (default) or debug\n"
	"  -V, --version\n"
	"  -h, --help\n";

enum {
	OPT_CHECK = 256,
	OPT_CLEANUP,
	OPT_DRAIN,
	OPT_CUT,
	OPT_LOG
};

static const struct option long_options[] = {
	{ "config", required_argument, NULL, 'c' },  { "check", no_argument, NULL, OPT_CHECK },
	{ "drain", no_argument, NULL, OPT_DRAIN },   { "cut", no_argument, NULL, OPT_CUT },
	{ "log", required_argument, NULL, OPT_LOG }, { "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },	     { "cleanup", no_argument, NULL, OPT_CLEANUP },
	{ NULL, 0, NULL, 0 },
};

_Noreturn static void misused(const char *what)
{
	if (what)
		fprintf(stderr, "ladond: %s\n", what);
	fputs(usage, stderr);
	exit(EXIT_USAGE);
}

static void option_file(struct options *o, const char *path)
{
	if (o->path)
		misused("one configuration file, please");
	o->path = path;
}

static void option_at_stop(struct options *o, enum at_stop at_stop)
{
	if (o->at_stop != STOP_LEAVE && o->at_stop != at_stop)
		misused("--drain or --cut, not both");
	o->at_stop = at_stop;
}

_Noreturn static void say_and_exit(const char *text)
{
	fputs(text, stdout);
	exit(EXIT_SUCCESS);
}

static void option_take(struct options *o, int opt)
{
	switch (opt) {
	case 'c':
		option_file(o, optarg);
		break;
	case OPT_CHECK:
		o->check = true;
		break;
	case OPT_CLEANUP:
		o->cleanup = true;
		break;
	case OPT_DRAIN:
		option_at_stop(o, STOP_DRAIN);
		break;
	case OPT_CUT:
		option_at_stop(o, STOP_CUT);
		break;
	case OPT_LOG:
		if (!log_level_parse(optarg, &o->level))
			misused("--log: err, warn, info or debug");
		break;
	case 'V':
		say_and_exit("ladond " LADON_VERSION "\n");
	case 'h':
		say_and_exit(usage);
	default:
		misused(NULL);
	}
}

static void options_parse(struct options *o, int argc, char **argv)
{
	int opt;

	while ((opt = getopt_long(argc, argv, "c:Vh", long_options, NULL)) != -1)
		option_take(o, opt);
	for (; optind < argc; optind++)
		option_file(o, argv[optind]);
	if (!o->path)
		o->path = CONFIG_PATH;
}

/* ---- the gateway ---- */

static int gateway_init(struct gateway *g, const struct config *config)
{
	g->started_ms = clock_ms();
	g->workers_len = config->workers;
	tallies_init(&g->tallies);
	pthread_mutex_init(&g->changing, NULL);
	pthread_mutex_init(&g->lock, NULL);
	sem_init(&g->obeyed, 0, 0);
	g->workers = calloc(config->workers, sizeof(struct worker *));
	g->counts = calloc(config->workers, sizeof(struct worker_counts));
	g->flows = flows_new(g);
	g->removed = removed_new(g);
	g->tickets = tickets_new(config->flows_max);
	g->callers = callers_new(config->flows_max);
	g->verifier = verifier_new();
	g->lookups = lookups_new(config->name_servers, false);
	return g->workers && g->counts && g->flows && g->removed && g->tickets && g->callers &&
			       g->verifier && g->lookups
		       ? 0
		       : -ENOMEM;
}

static void gateway_fini(struct gateway *g)
{
	lookups_free(g->lookups);
	verifier_free(g->verifier);
	callers_free(g->callers);
	tickets_free(g->tickets);
	removed_free(g->removed);
	flows_free(g->flows);
	free(g->counts);
	free(g->workers);
	sem_destroy(&g->obeyed);
	pthread_mutex_destroy(&g->lock);
	pthread_mutex_destroy(&g->changing);
	tallies_fini(&g->tallies);
}

/* ---- libladon ---- */

/* The daemon works without, so libladon's errors are no errors of the daemon's. */
static void ladon_message(void *arg, enum ladon_level level, const char *text)
{
	struct daemon *d = arg;

	if (level <= LADON_LEVEL_ERR && !d->gateway.ladon)
		snprintf(d->complaint, sizeof(d->complaint), "%s", text);
	else if (level <= LADON_LEVEL_WARN)
		log_warn("%s", text);
	else if (level <= LADON_LEVEL_INFO)
		log_info("%s", text);
	else
		log_debug("%s", text);
}

static void ladon_ended(void *arg, const struct ladon_flow *flow, enum ladon_end why)
{
	struct daemon *d = arg;

	flows_ended(d->gateway.flows, flow, why);
	ends_flow(&d->gateway, flow, why);
}

_Static_assert(sizeof(union ladon_address) == sizeof(struct addr), "one array serves both");

/*
 * A mistake in the file is to be mended; a lack of rights or of a kernel may be meant. Flows of
 * another version are an upgrade gone wrong: whoever made it goes back to the former version, which
 * takes them over, and must not find out by the speed. So must not who starts a second ladond.
 */
static int handoff_failed(struct daemon *d, const struct config *config, int rc)
{
	const char *why = d->complaint[0] ? d->complaint : strerror(-rc);

	if (rc == -ENODEV || rc == -EINVAL) {
		log_err("%s: %s", config->path, why);
		return rc;
	}
	if (rc == -EBUSY) {
		log_err("%s", why);
		return rc;
	}
	if (config->transparent) {
		log_err("source transparent: not without the handoff's programs: %s", why);
		return rc;
	}
	d->gateway.no_handoff = rc == -EPERM ? LADON_REASON_NO_PRIVILEGE : LADON_REASON_NO_BPF;
	log_warn("handoff: not possible, everything is relayed: %s", why);
	return 0;
}

static int handoff_open(struct daemon *d, const struct config *config)
{
	struct ladon_options options = LADON_OPTIONS_INIT;
	int rc;

	d->gateway.no_handoff = LADON_REASON_HANDOFF_OFF;
	if (!config->handoff && !config->accelerate.on)
		return 0;
	options.pin_dir = config->pin;
	options.interfaces = (const char *const *)config->interfaces;
	options.flows_max = config->flows_max;
	options.port_min = config->port_min;
	options.port_max = config->port_max;
	options.sources = (const union ladon_address *)config->sources;
	options.sources_len = config->sources_len;
	options.idle_ms = config->idle_ms;
	options.half_closed_ms = config->half_closed_ms;
	options.message = ladon_message;
	options.ended = ladon_ended;
	options.arg = d;
	rc = ladon_open(&d->gateway.ladon, &options);
	if (rc < 0)
		return handoff_failed(d, config, rc);
	if (config->stack)
		ladon_stack(d->gateway.ladon); /* on failure said so, and relayed */
	accelerate(d->gateway.ladon, &config->accelerate);
	return config->transparent ? ladon_transparent(d->gateway.ladon) : 0;
}

/* ---- start ---- */

/* Signals come through a descriptor, to this thread only; the others inherit the mask. */
static int signals_open(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void descriptors_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int complain(const struct config_listener *failed, int rc)
{
	if (failed)
		log_err("listen %s: %s", failed->name, listener_complaint(failed, rc));
	else
		log_err("workers: %s", strerror(-rc));
	return rc;
}

static int workers_make(struct daemon *d)
{
	for (unsigned int i = 0; i < d->gateway.workers_len; i++) {
		int rc = worker_new(&d->gateway, i, &d->gateway.workers[i]);

		if (rc < 0)
			return complain(NULL, rc);
	}
	return 0;
}

static int workers_start(struct daemon *d)
{
	for (unsigned int i = 0; i < d->gateway.workers_len; i++) {
		int rc = worker_start(d->gateway.workers[i], d->done_fd);

		if (rc < 0)
			return complain(NULL, rc);
	}
	return 0;
}

/* Two daemons must not share a control socket; a socket that cannot be made is no reason to stop. */
static int control_listen(struct daemon *d, const char *path)
{
	int rc = control_open(&d->gateway, path, &d->privilege, &d->control);

	if (rc == -EADDRINUSE) {
		log_err("control %s: in use: another ladond answers there", path);
		return rc;
	}
	if (rc < 0)
		log_warn("control %s: %s; ladon(8) will find nobody", path, strerror(-rc));
	return 0;
}

/* Found out now, and not when somebody needs it. */
static void reload_foresee(const char *path)
{
	if (euidaccess(path, R_OK) < 0)
		log_warn("%s: cannot be read by user %u: %s; a reload will be refused", path,
			 geteuid(), strerror(errno));
}

/* The socket is made with all rights, and served by threads that never had them. */
static int rights_drop(struct daemon *d, const struct config *config)
{
	int rc = control_listen(d, config->control);

	if (rc < 0)
		return rc;
	if (config->access_to == ACCESS_FILE)
		privilege_leave_file(&d->privilege, config->access_path);
	rc = privilege_drop(&d->privilege, d->gateway.ladon || config->forwards_len);
	if (rc < 0) {
		log_err("privileges: cannot be given up: %s", strerror(-rc));
		return rc;
	}
	reload_foresee(config->path);
	rc = ends_open(config, &d->gateway.ends); /* as who will have to open it again */
	if (rc < 0)
		return rc;
	rc = d->control ? control_start(d->control) : 0;
	if (rc < 0)
		log_err("control: %s", strerror(-rc));
	return rc;
}

static int checks_open(struct daemon *d, const struct setup *setup)
{
	struct checks *checks = NULL;
	_free_ char *error = NULL;
	int rc = checks_new(setup->pools, setup->config->pools, setup->config->pools_len, &checks,
			    &error);

	if (rc == 0)
		rc = health_start(&d->gateway.health);
	if (rc < 0) {
		checks_free(checks);
		log_err("health: %s", error ? error : strerror(-rc));
		return rc;
	}
	health_use(d->gateway.health, checks);
	return 0;
}

/* Names are looked up from now on, and flows of a former daemon find their backends. */
static int paths_open(struct daemon *d, const struct setup *setup)
{
	struct names *names = names_new(setup->pools, setup->config->pools_len);
	int rc = names ? flows_follow(d->gateway.flows, setup) : -ENOMEM;

	if (rc == 0)
		rc = resolver_start(setup->config->name_servers, reload_source, &d->gateway,
				    &d->gateway.resolver);
	if (rc < 0) {
		names_free(names);
		log_err("look-ups of names: %s", strerror(-rc));
		return rc;
	}
	resolver_use(d->gateway.resolver, names);
	rc = checks_open(d, setup);
	if (rc < 0)
		return rc;
	if (d->gateway.ladon) {
		flows_adopt(d->gateway.flows);
		ends_adopt(&d->gateway);
	}
	return 0;
}

/* Nobody is accepted before the last thing that can fail has not. */
static int setup_begin(struct daemon *d, struct setup *setup)
{
	const struct config_listener *failed;
	int rc = rights_drop(d, setup->config);

	if (rc == 0)
		rc = forwards_watch(d->gateway.forwards);
	if (rc == 0)
		rc = paths_open(d, setup);
	if (rc < 0)
		return rc;
	rc = setup_listen(setup, &failed);
	if (rc < 0)
		return complain(failed, rc);
	rc = workers_start(d);
	if (rc < 0)
		return rc;
	setup_hold(setup);
	setup_use(setup);
	removed_follow(d->gateway.removed);
	return 0;
}

/* @config: taken over */
static int daemon_start(struct daemon *d, struct config *config)
{
	const struct config_listener *failed = NULL;
	struct setup *setup;
	int rc = gateway_init(&d->gateway, config);

	if (rc < 0)
		log_err("start: %s", strerror(-rc));
	if (rc == 0)
		rc = privilege_find(config, &d->privilege);
	if (rc == 0)
		rc = workers_make(d);
	if (rc == 0) {
		rc = setup_new(&d->gateway, config, NULL, &setup, &failed);
		if (rc < 0)
			complain(failed, rc);
	}
	if (rc < 0) {
		config_free(config);
		return rc;
	}
	d->gateway.setup = setup; /* for who asks; setup_use() puts it in force */
	rc = handoff_open(d, config);
	if (rc == 0)
		rc = forwards_start(setup, &d->gateway.forwards);
	pthread_mutex_lock(&d->gateway.changing); /* ladon reload has to wait */
	if (rc == 0)
		rc = setup_begin(d, setup);
	pthread_mutex_unlock(&d->gateway.changing);
	return rc;
}

/* ---- run ---- */

static void workers_tell(struct daemon *d, enum worker_order order)
{
	for (unsigned int i = 0; i < d->gateway.workers_len; i++)
		worker_tell(d->gateway.workers[i], order);
}

static uint64_t flows_live(const struct daemon *d)
{
	struct ladon_stats stats = LADON_STATS_INIT;

	if (!d->gateway.ladon || ladon_stats(d->gateway.ladon, &stats) < 0)
		return 0;
	return stats.flows;
}

static bool daemon_is_done(const struct daemon *d)
{
	if (!atomic_load(&d->gateway.stopping) || d->workers_done < d->gateway.workers_len)
		return false;
	return d->at_once || d->options->at_stop != STOP_DRAIN || flows_live(d) == 0;
}

/* A reload that is under way comes to its end first. Return: was it set before? */
static bool stopping_set(struct gateway *gateway)
{
	bool before;

	pthread_mutex_lock(&gateway->changing);
	before = atomic_exchange(&gateway->stopping, true);
	pthread_mutex_unlock(&gateway->changing);
	return before;
}

static void signal_take(struct daemon *d, int signo)
{
	bool again = stopping_set(&d->gateway);
	bool drain = d->options->at_stop == STOP_DRAIN && !again;

	log_info("stop: %s%s", strsignal(signo), drain ? ", waiting for the last flow to end" : "");
	sd_notify(0, drain ? "STOPPING=1\nSTATUS=waiting for the last flow to end" : "STOPPING=1");
	d->at_once = again;
	workers_tell(d, drain ? WORKER_DRAIN : WORKER_STOP);
}

static void signal_reload(struct daemon *d)
{
	struct reloaded reloaded;
	char *error;

	reload(&d->gateway, &reloaded, &error); /* it says what became of it */
	free(error);
}

static void signals_read(struct daemon *d)
{
	struct signalfd_siginfo info;

	while (read(d->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGUSR1)
			ends_reopen(d->gateway.ends);
		else if (info.ssi_signo == SIGHUP)
			signal_reload(d);
		else
			signal_take(d, (int)info.ssi_signo);
	}
}

/* After libladon was served it has to wait for a moment: at thousands of flows a
 * second, waking up for each that ends would cost as much as handing it off.
 */
static void daemon_run(struct daemon *d)
{
	struct pollfd fds[] = {
		{ .fd = d->signal_fd, .events = POLLIN },
		{ .fd = d->done_fd, .events = POLLIN },
		{ .fd = removed_fd(d->gateway.removed), .events = POLLIN },
		{ .fd = d->gateway.ladon ? ladon_fd(d->gateway.ladon) : -1, .events = POLLIN },
	};
	bool pause = false;
	eventfd_t n;

	while (!daemon_is_done(d)) {
		int ready = poll(fds, pause ? 3 : 4, pause ? DISPATCH_PAUSE_MS : -1);

		if (ready < 0 && errno != EINTR)
			break;
		if (fds[0].revents)
			signals_read(d);
		if (fds[1].revents && eventfd_read(d->done_fd, &n) == 0)
			d->workers_done += (unsigned int)n;
		if (fds[2].revents)
			removed_tick(d->gateway.removed);
		if (!pause && fds[3].revents)
			ladon_dispatch(d->gateway.ladon);
		pause = !pause && fds[3].revents;
	}
}

/* ---- stop ---- */

static uint64_t count_reason(const struct daemon *d, enum ladon_reason reason)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < d->gateway.workers_len; i++)
		sum += atomic_load(&d->gateway.counts[i].reasons[reason]);
	return sum;
}

static void say_goodbye(struct daemon *d)
{
	uint64_t cut = count_reason(d, LADON_REASON_CUT);
	int killed;

	if (d->gateway.ladon && d->options->at_stop == STOP_CUT) {
		killed = flows_kill(&d->gateway);
		log_info("stop: cut %" PRIu64 " connections and %d handed-off flows", cut, killed);
		return;
	}
	log_info("stop: cut %" PRIu64 " connections; %" PRIu64 " handed-off flows go on", cut,
		 flows_live(d));
}

/* Also after a start that failed half-way. */
static void daemon_stop(struct daemon *d)
{
	struct gateway *g = &d->gateway;

	control_stop(d->control);
	resolver_stop(g->resolver); /* it changes pools */
	lookups_stop(g->lookups); /* they leave notes with the workers */
	verifier_stop(g->verifier);
	for (unsigned int i = 0; g->workers && i < g->workers_len && g->workers[i]; i++) {
		worker_tell(g->workers[i], WORKER_STOP);
		worker_free(g->workers[i]);
	}
	forwards_stop(g->forwards);
	if (g->setup)
		setup_drop(g->setup);
	health_stop(g->health);
	if (g->ladon)
		ladon_close(g->ladon);
	ends_close(g->ends);
	gateway_fini(g);
}

/* @config: taken over */
static int daemon_main(struct daemon *d, struct config *config)
{
	unsigned int listeners = config->listeners_len;
	int rc;

	d->signal_fd = signals_open();
	d->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	descriptors_raise();
	rc = daemon_start(d, config);
	if (rc == 0) {
		log_info("start: %u listeners, %u workers, handoff %s", listeners,
			 d->gateway.workers_len, d->gateway.ladon ? "on" : "off");
		sd_notifyf(0, "READY=1\nSTATUS=%u listeners, handoff %s", listeners,
			   d->gateway.ladon ? "on" : "off");
		daemon_run(d);
		say_goodbye(d);
	}
	daemon_stop(d);
	close(d->signal_fd);
	close(d->done_fd);
	return rc;
}

/* ---- cleanup ---- */

static int cleanup(const struct config *config)
{
	int rc;

	if (control_is_answered(config->control)) {
		log_err("cleanup: a ladond answers on %s; stop it first", config->control);
		return -EBUSY;
	}
	rc = ladon_cleanup(config->pin);
	if (rc == 0)
		rc = forwards_cleanup();
	if (rc == -EBUSY)
		log_err("cleanup: another process uses the pin directory; stop it first");
	else if (rc < 0)
		log_err("cleanup: not everything could be taken off: %s", strerror(-rc));
	else
		log_info("cleanup: ladon's programs, maps and qdiscs are off; all flows have ended");
	return rc;
}

int main(int argc, char **argv)
{
	struct options options = { .level = LOG_LEVEL_INFO };
	struct daemon d = { .options = &options };
	struct config *config;
	char *error;
	int rc = 0;

	options_parse(&options, argc, argv);
	log_init(options.level);
	config = config_load(options.path, &error);
	if (!config) {
		fprintf(stderr, "%s\n", error ? error : strerror(ENOMEM));
		free(error);
		return EXIT_FAILURE;
	}
	if (options.check) {
		printf("%s: fine\n", options.path);
		config_free(config);
	} else if (options.cleanup) {
		rc = cleanup(config);
		config_free(config);
	} else {
		rc = daemon_main(&d, config);
	}
	return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
