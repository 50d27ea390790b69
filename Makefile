# SPDX-License-Identifier: GPL-2.0-only
#
# make          build everything below build/
# make check    unit tests, fuzz targets for a moment: no root, no network, seconds
# make check-sanitize   the daemon under sanitizers and load (root)
# make test     everything; as root on a fresh Debian 12 it installs what it needs
# make test-service  the systemd unit, in an emulated machine
# make demo     the main job, for real, in network namespaces (root)
# make bench    speed, as ratios to peers (root); QUICK=1: under 50 seconds
# make install  DESTDIR, PREFIX

VERSION := 0.1.0
PREFIX  ?= /usr/local
BUILD   ?= build
CC      ?= gcc
CLANG   ?= clang
PYTHON  ?= /usr/bin/python3
ifeq ($(origin CC),default)
CC := gcc
endif

# ---- sources, in path order ----

base    := base/log.c base/addr.c base/cidr.c base/file.c base/prefix.c
lib     := lib/open.c lib/programs.c lib/layout.c lib/links.c lib/forward.c lib/cleanup.c lib/guard.c lib/source.c lib/segment.c lib/limits.c lib/probe.c lib/handoff.c lib/leave.c lib/flows.c lib/hops.c lib/conntrack.c lib/stack.c lib/foreign.c lib/learned.c lib/table.c lib/rules.c lib/rule.c lib/reason.c lib/prefix.c
config  := gateway/config.c gateway/config_pool.c gateway/config_health.c gateway/config_admit.c gateway/config_targets.c gateway/target.c \
	   gateway/config_users.c gateway/users.c gateway/config_proxy.c gateway/config_tokens.c base/keys.c base/token.c gateway/config_words.c gateway/config_forwards.c gateway/taken.c gateway/config_accelerate.c \
	   gateway/config_value.c gateway/config_node.c paths/listing.c paths/place.c base/addr.c base/cidr.c base/file.c
resolve := paths/resolve.c paths/source.c paths/srv.c
pool    := paths/pool.c paths/roster.c paths/backend.c paths/turn.c paths/ring.c base/addr.c
health  := paths/health.c paths/plan.c paths/exam.c paths/exam_tls.c paths/exam_http.c paths/exam_script.c paths/status.c
peek    := gateway/peek.c gateway/peek_tls.c gateway/peek_http.c gateway/peek_socks.c gateway/peek_prefix.c gateway/words.c base/prefix.c
gateway := gateway/main.c $(filter gateway/%,$(config)) base/keys.c base/token.c gateway/flows.c gateway/worker.c \
	   gateway/reload.c gateway/removed.c gateway/setup.c gateway/tally.c \
	   gateway/ends.c gateway/ticket.c gateway/access.c gateway/access_line.c \
	   gateway/loop.c base/note.c gateway/verdict.c gateway/timer.c gateway/shortage.c \
	   gateway/listen.c gateway/admit.c gateway/callers.c gateway/first.c $(filter gateway/%,$(peek)) gateway/vouch.c gateway/proxy_header.c gateway/proxied.c \
	   gateway/route.c gateway/asked.c gateway/original.c gateway/locals.c gateway/connect.c gateway/say.c gateway/handoff.c \
	   gateway/relay.c gateway/lane.c gateway/kept.c gateway/pipe.c gateway/refuse.c gateway/conn.c gateway/control.c \
	   gateway/report.c gateway/privilege.c gateway/accelerate.c gateway/forwards.c gateway/forward_table.c gateway/forward_pools.c gateway/forward_conns.c gateway/forward_owner.c gateway/nft.c \
	   $(filter paths/%,$(config)) $(filter paths/%,$(pool)) $(resolve) paths/lookup.c $(health)
cli     := cli/main.c cli/request.c cli/flow.c cli/reload.c cli/show.c cli/forward.c cli/pool.c cli/stats.c cli/top.c cli/out.c \
	   cli/connect.c cli/token.c cli/endpoint.c base/keys.c base/token.c

# Each unit test and fuzz target is one file; these are the modules it tests.
unit_addr      := base/addr.c
unit_cidr      := base/cidr.c base/addr.c
unit_peek      := $(peek)
unit_talk      := $(peek)
unit_prefix    := $(peek) lib/prefix.c gateway/vouch.c base/token.c base/keys.c base/file.c
unit_proxy_header := gateway/proxy_header.c base/addr.c
unit_words     := gateway/words.c
unit_route     := gateway/route.c $(peek)
unit_config    := $(config) $(peek) gateway/proxy_header.c
unit_flows     := gateway/flows.c $(pool) base/log.c
unit_timer     := gateway/timer.c
unit_loop      := gateway/loop.c gateway/timer.c
unit_access    := gateway/access.c gateway/access_line.c gateway/ticket.c base/log.c
unit_nft       := gateway/nft.c base/cidr.c base/addr.c
unit_forward_table := gateway/forward_table.c gateway/taken.c base/addr.c
unit_taken     := gateway/taken.c base/addr.c
unit_callers   := gateway/callers.c base/addr.c
unit_users     := gateway/users.c
unit_lookup    := paths/lookup.c paths/srv.c paths/listing.c paths/place.c gateway/loop.c gateway/timer.c base/note.c base/addr.c
unit_listing   := paths/listing.c paths/place.c base/addr.c
unit_srv       := paths/srv.c $(unit_listing)
unit_verdict   := gateway/verdict.c base/note.c gateway/users.c
unit_target    := gateway/target.c gateway/locals.c base/cidr.c base/addr.c
unit_lane      := gateway/lane.c gateway/kept.c gateway/pipe.c
unit_pool      := $(pool) paths/listing.c paths/place.c
unit_ring      := paths/ring.c paths/turn.c
unit_backend   := paths/backend.c paths/ring.c paths/turn.c base/addr.c
unit_resolve   := $(resolve) paths/listing.c paths/place.c $(pool) gateway/loop.c gateway/timer.c base/note.c base/file.c base/log.c
unit_health    := $(health) gateway/loop.c gateway/timer.c $(pool) base/log.c
unit_control   := gateway/control.c gateway/report.c gateway/tally.c lib/reason.c base/cidr.c base/addr.c base/log.c
unit_out       := cli/out.c
unit_source    := lib/source.c base/addr.c
unit_leave     := lib/leave.c
unit_table     := lib/table.c
unit_translate :=
unit_packet    :=
unit_icmp      :=
unit_raise     :=
unit_cross     :=
unit_probe     := lib/probe.c lib/segment.c base/addr.c
unit_limits    := lib/limits.c
units          := nft forward_table taken addr cidr lookup listing srv peek talk prefix words proxy_header route config pool ring backend flows timer loop access callers users verdict target lane resolve health control out source leave table limits probe translate packet icmp raise cross

fuzz_peek      := $(peek)
fuzz_prefix    := $(unit_prefix)
fuzz_proxy_header := gateway/proxy_header.c base/addr.c
fuzz_config    := $(config) $(peek) gateway/proxy_header.c
fuzz_cidr      := base/cidr.c base/addr.c
fuzz_users     := gateway/users.c
fuzz_translate :=
fuzz_icmp      :=
fuzz_cross     :=
fuzz_rewrite   :=
fuzz_listing   := paths/listing.c paths/place.c base/addr.c
fuzz_srv       := paths/srv.c $(fuzz_listing)
fuzz_status    := paths/status.c
fuzzers        := peek prefix proxy_header config listing srv status cidr users translate icmp cross rewrite

# ---- how ----

warnings := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
CFLAGS   ?= -O2 -g
cflags   := -std=gnu11 -D_GNU_SOURCE -DLADON_BUILD -DLADON_VERSION='"$(VERSION)"' -Iinclude -I$(BUILD) \
	    -fvisibility=hidden -fPIC -pthread $(warnings)
sanitize := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
arch     := $(shell $(CC) -dumpmachine 2>/dev/null)
bpfarch  := $(if $(filter x86_64-%,$(arch)),-D__TARGET_ARCH_x86)
bpfflags := -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Werror -I/usr/include/$(subst -pc-,-,$(arch)) $(bpfarch) -Iinclude

lib_libs     := -lbpf -lelf -lz -lmnl
gateway_libs := -lyaml -ljansson -lsystemd -lcap -lssl -lcrypto -lcrypt -lpcre2-8 -lcares -lnftables
cli_libs     := -ljansson -lcrypto
unit_libs    := -lcmocka -lyaml -ljansson -lssl -lcrypto -lcrypt -lpcre2-8 -lcares -lmnl -lnftables
fuzz_libs    := -lyaml -lcrypto -lcrypt -lpcre2-8 -lcares

objects   = $(patsubst %.c,$(BUILD)/%.o,$(1))
sanitized = $(patsubst %.c,$(BUILD)/sanitized/%.o,$(1))
fuzzed    = $(patsubst %.c,$(BUILD)/fuzzed/%.o,$(1))

all: $(BUILD)/ladond $(BUILD)/ladon $(BUILD)/libladon.so $(BUILD)/libladon.a $(BUILD)/example-proxy

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(cflags) -MMD -MP -c $< -o $@

$(BUILD)/%.bpf.o: datapath/%.bpf.c
	@mkdir -p $(@D)
	$(CLANG) $(bpfflags) -MMD -MP -MF $(@:.o=.d) -MT $@ -c $< -o $@

$(BUILD)/%.skel.h: $(BUILD)/%.bpf.o
	bpftool gen skeleton $< name $*_bpf > $@.tmp && mv $@.tmp $@

.SECONDARY:
skeleton := $(BUILD)/ladon.skel.h $(BUILD)/learn.skel.h
$(call objects,$(lib)): | $(skeleton)
$(BUILD)/lib/programs.o $(BUILD)/lib/learned.o: $(skeleton)

$(BUILD)/libladon.a: $(call objects,$(lib) $(base))
	rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/libladon.so: $(call objects,$(lib) $(base)) lib/ladon.map
	$(CC) $(CFLAGS) -shared -Wl,-soname,libladon.so.0 -Wl,--version-script=lib/ladon.map -Wl,-z,defs \
		$(filter %.o,$^) $(lib_libs) -pthread -o $@
	ln -sf libladon.so $(BUILD)/libladon.so.0

$(BUILD)/ladond: $(call objects,$(gateway)) $(BUILD)/libladon.a
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(lib_libs) $(gateway_libs) -pthread -o $@

$(BUILD)/ladon: $(call objects,$(cli)) $(BUILD)/libladon.a
	$(CC) $(CFLAGS) $(LDFLAGS) $^ $(cli_libs) -pthread -o $@

# Only what is installed: the public header and the shared library.
$(BUILD)/example-proxy: contrib/example-proxy.c include/ladon/ladon.h $(BUILD)/libladon.so
	$(CC) $(CFLAGS) -D_GNU_SOURCE $(warnings) -Iinclude $< -L$(BUILD) -lladon -Wl,-rpath,'$$ORIGIN' -o $@

# ---- tests ----

# What they test is compiled once for all units, and once for all fuzz targets.
$(BUILD)/sanitized/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(cflags) $(sanitize) -MMD -MP -c $< -o $@

$(BUILD)/fuzzed/%.o: %.c
	@mkdir -p $(@D)
	$(CLANG) $(CFLAGS) $(cflags) $(sanitize) -fsanitize=fuzzer-no-link -MMD -MP -c $< -o $@

.SECONDEXPANSION:
$(BUILD)/unit/%: $(BUILD)/sanitized/tests/unit/%.o $$(call sanitized,$$(unit_$$*))
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(sanitize) -pthread $(filter %.o,$^) $(unit_libs) -o $@

$(BUILD)/fuzz/%: $(BUILD)/fuzzed/tests/fuzz/%.o $$(call fuzzed,$$(fuzz_$$*))
	@mkdir -p $(@D)
	$(CLANG) $(CFLAGS) $(sanitize) -fsanitize=fuzzer -pthread $(filter %.o,$^) $(fuzz_libs) -o $@

-include $(shell find $(BUILD) -type f -name '*.d' 2>/dev/null)

# Each is a target of its own, so that with -j they run side by side, too.
check-unit: $(units:%=run-unit-%)
$(units:%=run-unit-%): run-unit-%: $(BUILD)/unit/%
	@echo "== unit/$*"; $<

FUZZ_SECONDS ?= 3
check-fuzz: $(fuzzers:%=run-fuzz-%)
$(fuzzers:%=run-fuzz-%): run-fuzz-%: $(BUILD)/fuzz/%
	@mkdir -p $(BUILD)/corpus/$* tests/fuzz/corpus/$*; echo "== fuzz/$*"; \
	$< -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=0 \
		-verbosity=0 -artifact_prefix=$(BUILD)/ $(BUILD)/corpus/$* tests/fuzz/corpus/$*

check: check-unit check-fuzz

# As root: the loaded programs by BPF_PROG_TEST_RUN, packet in, packet out.
progs := tc odd handoff

$(progs:%=$(BUILD)/prog/%): $(skeleton)
$(BUILD)/prog/%: tests/prog/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(cflags) -MMD -MP -MF $@.d $< -lcmocka -lbpf -o $@

check-prog: $(progs:%=$(BUILD)/prog/%)
	@set -e; for t in $(progs); do echo "== prog/$$t"; $(BUILD)/prog/$$t; done

# As root: real clients and backends around ladond in network namespaces.
# NET: more options of pytest, as in NET="-k loss -x". NET_JOBS: how many at once; each has namespaces
# of its own, and many do nothing but wait.
NET_JOBS ?= 4
pytest_net = LADON_BUILD=$(abspath $(BUILD)) $(PYTHON) -m pytest -q -rs -p no:cacheprovider

check-net: all
	$(pytest_net) -n $(NET_JOBS) tests/net $(NET)

# ladond under thread, then address and undefined behaviour sanitizers, with random ends and kills,
# and what else stresses the daemon; what they say fails the test. Three minutes, half of it to build.
# Address randomisation is off: gcc 12's thread sanitizer does not find its way in all of it.
SANITIZE := thread address,undefined
SANITIZE_NET ?= test_chaos.py test_ends.py test_relay.py test_peek.py test_stop.py test_cli.py \
		test_targets.py test_names.py test_proxied.py test_prefix.py

check-sanitize:
	@set -e; for s in $(SANITIZE); do \
		b=$(BUILD)/$${s%%,*}; echo "== $$s"; \
		$(MAKE) --no-print-directory $$b/ladond $$b/ladon BUILD=$$b \
			CFLAGS="-O1 -g -fno-omit-frame-pointer -fsanitize=$$s" >/dev/null; \
		LADON_BUILD=$$b setarch -R $(PYTHON) -m pytest -q -p no:cacheprovider \
			$(addprefix tests/net/,$(SANITIZE_NET)) $(NET); \
	done

.PHONY: all check check-unit check-fuzz check-prog check-net check-sanitize $(units:%=run-unit-%) $(fuzzers:%=run-fuzz-%)

# ---- other kernels ----

# What we assume of Linux, one small program each: on the host, and below in the guests.
assumptions := $(patsubst tests/kernel/%.c,$(BUILD)/kernel/%.o,$(wildcard tests/kernel/assumptions/*.bpf.c))

$(BUILD)/kernel/assumptions/%.bpf.o: tests/kernel/assumptions/%.bpf.c
	@mkdir -p $(@D)
	$(CLANG) $(bpfflags) -MMD -MP -MF $(@:.o=.d) -MT $@ -c $< -o $@

check-assumptions: $(assumptions)
	@LADON_BUILD=$(abspath $(BUILD)) $(PYTHON) tests/kernel/assume.py

# The same and the programs (test-kernels: some of the network tests, too) under Debian's 6.1 and 6.12, in
# emulated machines side by side: three minutes. The first time it downloads 170 MB and keeps 650.
guest = LADON_BUILD=$(abspath $(BUILD)) $(PYTHON) tests/kernel/guest.py

guests: all $(assumptions) $(progs:%=$(BUILD)/prog/%)
	$(MAKE) --no-print-directory install DESTDIR=$(abspath $(BUILD))/kernel/stage PREFIX=/usr/local >/dev/null

test-kernels: deps-kernels
	$(MAKE) guests
	@$(guest) --seconds 1500 check tests/kernel/inside net $(progs)

# The shipped unit under systemd, in such a machine: two minutes.
test-service: deps-kernels
	$(MAKE) guests
	@$(guest) run --systemd 6.12 -- $(PYTHON) -m pytest -q -p no:cacheprovider tests/kernel/service.py

.PHONY: check-assumptions guests test-kernels test-service

# ---- bench ----

$(BUILD)/bench/load: bench/load.c base/addr.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(cflags) -MMD -MP -MF $@.d $(filter %.c,$^) -o $@

$(BUILD)/bench/flood: bench/flood.c base/addr.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(cflags) -MMD -MP -MF $@.d $(filter %.c,$^) -o $@

$(BUILD)/bench/pool: bench/pool.c $(unit_pool)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(cflags) -MMD -MP -MF $@.d $(filter %.c,$^) -o $@

# What moves when a backend of a pool of hash leaves: no part of `make bench`, for it is no matter of speed
$(BUILD)/bench/ring: bench/ring.c $(unit_ring)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(cflags) -MMD -MP -MF $@.d $(filter %.c,$^) -o $@

$(BUILD)/bench/peek: bench/peek.c $(unit_route)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(cflags) -MMD -MP -MF $@.d $(filter %.c,$^) -lpcre2-8 -lcrypto -o $@

# BENCH: more options, as in BENCH="--rounds 5 --tls"; see bench/README.md
bench: deps-bench
	@$(MAKE) --no-print-directory $(BUILD)/bench/load $(BUILD)/bench/flood $(BUILD)/bench/pool $(BUILD)/bench/peek $(BUILD)/ladond $(BUILD)/ladon $(BUILD)/prog/tc >&2
	@LADON_BUILD=$(abspath $(BUILD)) $(PYTHON) bench/bench.py $(if $(QUICK),--quick) $(BENCH)

# Those that `make bench BENCH=--ways` compares with, as far as they are to be had
bench-peers:
	$(call install,$(packages_peers_need))
	@mkdir -p $(BUILD)/bench/peers && cd $(BUILD)/bench/peers && for p in $(packages_peers); do \
		ls $${p}_*.deb >/dev/null 2>&1 || apt-get download -qq $$p >/dev/null 2>&1; \
		dpkg-deb -x $${p}_*.deb . 2>/dev/null || echo "bench: no package $$p"; \
	done

.PHONY: bench bench-peers

# ---- demo ----

demo: deps-demo
	@echo "building ..."
	@$(MAKE) --no-print-directory all $(BUILD)/bench/load >/dev/null
	@LADON_BUILD=$(abspath $(BUILD)) $(PYTHON) demo/demo.py

.PHONY: demo

# ---- everything, from a machine with nothing installed ----

packages_build := gcc make pkg-config clang llvm bpftool libbpf-dev libelf-dev zlib1g-dev libmnl-dev \
		  libyaml-dev libjansson-dev libsystemd-dev libcap-dev libssl-dev libcrypt-dev libpcre2-dev libc-ares-dev libnftables-dev linux-libc-dev
packages_test  := libcmocka-dev libclang-rt-14-dev python3 python3-pytest python3-pytest-xdist curl haproxy openssl iproute2 \
		  nftables ethtool procps mandoc clang-format util-linux conntrack strace \
		  openssh-client openssh-server git gnutls-bin netcat-openbsd socat nginx iperf3
packages_browser := chromium-headless-shell
packages_kernels := qemu-system-x86 busybox-static cpio kmod zstd systemd logrotate
packages_demo  := python3 curl openssl iproute2 nftables ethtool procps util-linux
# Others' daemons, which bench-peers unpacks below build/ and does not install, so that no service
# starts now or at the next boot; and the libraries that they need
packages_peers := microsocks dante-server sslh sniproxy
packages_peers_need := libwrap0 libconfig9 libev4 libudns0 libpcre3
packages_bench := python3 iproute2 nftables ethtool procps util-linux haproxy nginx-light libnginx-mod-stream \
		  gnuplot-nox libcmocka-dev

# As root, with apt-get at hand, install what is missing; else say so and go on. Servers among it are for
# tests: they start neither now (policy-rc.d is for that; one that is there already stays) nor at boot.
services := haproxy:haproxy nginx:nginx nginx-light:nginx openssh-server:ssh
policy   := /usr/sbin/policy-rc.d

define install
	@missing=; for p in $(1); do \
		dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q ' installed$$' || missing="$$missing $$p"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "not installed:$$missing"; exit 0; \
	fi; \
	echo "installing:$$missing"; \
	if [ ! -e $(policy) ]; then \
		trap 'rm -f $(policy)' EXIT INT TERM; \
		printf '#!/bin/sh\nexit 101\n' >$(policy) && chmod 755 $(policy); \
	fi; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	rc=$$?; \
	for s in $(services); do \
		case "$$missing " in *" $${s%:*} "*) update-rc.d $${s#*:} disable || true; esac; \
	done; \
	exit $$rc
endef

deps-build:
	$(call install,$(packages_build))
# A hundred megabytes; the tests go without, if it is not to be had.
deps-browser:
	$(call install,$(packages_browser))
deps-test:
	$(call install,$(packages_build) $(packages_test))
	@$(MAKE) --no-print-directory deps-browser || echo "deps-browser: not installed"
deps-kernels:
	$(call install,$(packages_build) $(packages_test) $(packages_kernels))
deps-demo:
	$(call install,$(packages_build) $(packages_demo))
deps-bench:
	$(call install,$(packages_build) $(packages_bench))

# Both compilers, then each kind of test, quick ones first. Where no other kernel is to be had
# (guest.py says so with exit status 77), the last line is that it did not run.
test: CPUS = $(shell nproc)
test: deps-test
	$(MAKE) -j$(CPUS) -Otarget all CC=gcc
	$(MAKE) -j$(CPUS) -Otarget all CC=clang BUILD=$(BUILD)/clang
	$(MAKE) -j$(CPUS) -Otarget check
	$(MAKE) check-man
	$(MAKE) check-prog
	$(MAKE) check-assumptions
	$(MAKE) check-net
	@$(MAKE) --no-print-directory deps-kernels || echo "deps-kernels: not installed"
	$(MAKE) guests
	@$(guest) --seconds 600 check tests/kernel/inside $(progs) || [ $$? = 77 ]

check-man:
	mandoc -T lint -W warning man/*.[358]

.PHONY: test deps-build deps-test deps-browser deps-kernels deps-demo deps-bench check-man

# ---- install ----

bindir     := $(PREFIX)/sbin
libdir     := $(PREFIX)/lib
includedir := $(PREFIX)/include
mandir     := $(PREFIX)/share/man
sharedir   := $(PREFIX)/share/ladon
unitdir    := $(PREFIX)/lib/systemd/system
usersdir   := $(PREFIX)/lib/sysusers.d
logrotatedir := /etc/logrotate.d
completion := $(PREFIX)/share/bash-completion/completions

install: all
	install -d $(addprefix $(DESTDIR),$(bindir) $(libdir) $(includedir)/ladon $(mandir)/man3 $(mandir)/man5 \
		$(mandir)/man8 $(sharedir) $(unitdir) $(usersdir) $(completion) $(logrotatedir) /etc/ladon)
	install $(BUILD)/ladond $(BUILD)/ladon $(DESTDIR)$(bindir)
	install $(BUILD)/libladon.so $(DESTDIR)$(libdir)/libladon.so.$(VERSION)
	ln -sf libladon.so.$(VERSION) $(DESTDIR)$(libdir)/libladon.so.0
	ln -sf libladon.so.0 $(DESTDIR)$(libdir)/libladon.so
	install -m 644 $(BUILD)/libladon.a $(DESTDIR)$(libdir)
	install -m 644 include/ladon/ladon.h $(DESTDIR)$(includedir)/ladon
	install -m 644 man/*.3 $(DESTDIR)$(mandir)/man3
	install -m 644 man/*.5 $(DESTDIR)$(mandir)/man5
	install -m 644 man/*.8 $(DESTDIR)$(mandir)/man8
	install -m 644 contrib/config/*.yaml contrib/example-proxy.c PREFIX.md $(DESTDIR)$(sharedir)
	sed 's|@sbindir@|$(bindir)|' contrib/systemd/ladond.service >$(DESTDIR)$(unitdir)/ladond.service
	install -m 644 contrib/logrotate/ladon $(DESTDIR)$(logrotatedir)/ladon
	install -m 644 contrib/systemd/ladon.sysusers $(DESTDIR)$(usersdir)/ladon.conf
	install -m 644 contrib/bash-completion/ladon $(DESTDIR)$(completion)/ladon
	if [ ! -e $(DESTDIR)/etc/ladon/ladon.yaml ]; then \
		install -m 644 contrib/config/ladon.yaml $(DESTDIR)/etc/ladon/ladon.yaml; fi

clean:
	rm -rf $(BUILD)

.PHONY: install clean
