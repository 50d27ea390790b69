// SPDX-License-Identifier: GPL-2.0-only
/*
 * config.c - ladon.yaml is read as written, and each mistake has its exact message
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../base/cidr.h"
#include "../../base/keys.h"
#include "../../base/own.h"
#include "../../paths/listing.h"
#include "../../gateway/config.h"
#include "../../gateway/config_admit.h"
#include "../../gateway/config_node.h"
#include "../../gateway/target.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

/* Two lines that make a file complete, for mistakes that are elsewhere. */
#define POOLS		 "pools: [{ name: web, backends: 10.0.2.2:443 }]\n"
#define LISTENERS	 "listeners: [{ listen: '0.0.0.0:443', pool: web }]\n"
#define ROUTE(rule)	 POOLS "listeners:\n- listen: 0.0.0.0:443\n  routes:\n  - " rule "\n"
#define BACKEND(backend) LISTENERS "pools:\n- name: web\n  backends:\n  - " backend "\n"
#define FORWARD(keys)	 "forwards:\n- {" keys "}\n"
#define LISTEN(address)	 POOLS "listeners:\n- listen: " address "\n  pool: web\n"

struct mistake {
	const char *name;
	const char *text;
	const char *error;
};

/* clang-format off */
static const struct mistake file_mistakes[] = {
	{ "empty", "", "f:1: the file is empty; it takes at least 'listeners' and 'pools', see ladon.yaml(5)" },
	{ "comments only", "# nothing\n", "f:1: the file is empty; it takes at least 'listeners' and 'pools', see ladon.yaml(5)" },
	{ "a word", "ladon\n", "f:1: must be a mapping; its keys are: listeners, pools, workers, handoff, mode, timeouts, flows, source-ports, sources, name-servers, interfaces, control, control-group, user, pin, access-log, removed-backends, forwards, accelerate" },
	{ "a list", "- a\n", "f:1: must be a mapping; its keys are: listeners, pools, workers, handoff, mode, timeouts, flows, source-ports, sources, name-servers, interfaces, control, control-group, user, pin, access-log, removed-backends, forwards, accelerate" },
	{ "two documents", LISTENERS POOLS "---\nworkers: 2\n", "f:3: a second document begins here; one file is one configuration" },
	{ "a second document that is not YAML", LISTENERS POOLS "---\n[\n", "f:5: not YAML: did not find expected node content (while parsing a flow node of line 5); see ladon.yaml(5)" },
	{ "a tab", "workers: 2\n\tflows: 3\n", "f:2: not YAML: found a tab character that violates indentation; indent with spaces, not with tabs, and put values with special characters in quotes" },
	{ "an open bracket", "workers: 2\nsources: [10.0.0.1\nflows: 3\n", "f:3: not YAML: did not find expected ',' or ']' (while parsing a flow sequence of line 2); see ladon.yaml(5)" },
	{ "a bare asterisk", ROUTE("{ tls: *.example.org, pool: web }"), "f:5: not YAML: did not find expected alphabetic or numeric character (while scanning an alias of line 5); see ladon.yaml(5)" },
	{ "an undefined alias", "workers: *two\n", "f:1: not YAML: found undefined alias; see ladon.yaml(5)" },
	{ "bytes that are not UTF-8", "workers: 2\nflows: \xff\n", "f:2: not text in UTF-8; a configuration is a text file in YAML" },
	{ "unknown key", "worker: 2\n", "f:1: worker: there is no such key; did you mean \"workers\"?" },
	{ "unknown key unlike any", "\ncolour: 2\n", "f:2: colour: there is no such key; here go: listeners, pools, workers, handoff, mode, timeouts, flows, source-ports, sources, name-servers, interfaces, control, control-group, user, pin, access-log, removed-backends, forwards, accelerate" },
	{ "a key with a zero byte", "\"flows\\0\": 2\n", "f:1: flows: there is no such key; did you mean \"flows\"?" },
	{ "repeated key", "workers: 2\nflows: 9\nworkers: 3\n", "f:3: workers: the key is here a second time, after line 1; remove one of them" },
	{ "a key that is a list", "[a]: 2\n", "f:1: has a mapping or a list for a key; a key is one word" },
	{ "no listeners", POOLS, "f:1: listeners: is missing; without one nobody can connect" },
	{ "no pools", LISTENERS, "f:1: pools: is missing; without one there is nowhere to go" },
	{ "no listener", "listeners: []\n" POOLS, "f:1: listeners: is an empty list; write at least one item, or leave the key out" },
};

static const struct mistake setting_mistakes[] = {
	{ "not a number", LISTENERS POOLS "workers: many\n", "f:3: workers: \"many\" will not do; it takes a number from 1 to 1024" },
	{ "too small", LISTENERS POOLS "workers: 0\n", "f:3: workers: \"0\" will not do; it takes a number from 1 to 1024" },
	{ "too large", LISTENERS POOLS "flows: 16777217\n", "f:3: flows: \"16777217\" will not do; it takes a number from 1 to 16777216" },
	{ "beyond 32 bits", LISTENERS POOLS "flows: 4294967297\n", "f:3: flows: \"4294967297\" will not do; it takes a number from 1 to 16777216" },
	{ "beyond 64 bits", LISTENERS POOLS "flows: 18446744073709551617\n", "f:3: flows: \"18446744073709551617\" will not do; it takes a number from 1 to 16777216" },
	{ "negative", LISTENERS POOLS "flows: -1\n", "f:3: flows: \"-1\" will not do; it takes a number from 1 to 16777216" },
	{ "a list for a number", LISTENERS POOLS "workers: [1]\n", "f:3: workers: must be a single value, not a list" },
	{ "no value", LISTENERS POOLS "workers:\n", "f:3: workers: has no value; write one, or leave the key out" },
	{ "neither yes nor no", LISTENERS POOLS "handoff: maybe\n", "f:3: handoff: \"maybe\" will not do; it takes yes or no" },
	{ "a time without a unit we know", LISTENERS POOLS "timeouts:\n  idle: 2weeks\n", "f:4: timeouts.idle: \"2weeks\" will not do; it takes a time from 1ms to 30d, such as 500ms, 10s, 5m or 2h" },
	{ "no time", LISTENERS POOLS "timeouts: { connect: 0 }\n", "f:3: timeouts.connect: \"0\" will not do; it takes a time from 1ms to 30d, such as 500ms, 10s, 5m or 2h" },
	{ "too long a time", LISTENERS POOLS "timeouts: { connect: 31d }\n", "f:3: timeouts.connect: \"31d\" will not do; it takes a time from 1ms to 30d, such as 500ms, 10s, 5m or 2h" },
	{ "an access log without a place", LISTENERS POOLS "access-log: { format: json }\n", "f:3: access-log.to: is missing; it takes off, stderr or the path of a file" },
	{ "a place that is no path", LISTENERS POOLS "access-log: { to: log }\n", "f:3: access-log.to: \"log\" will not do; it takes off, stderr or the path of a file" },
	{ "an unknown form", LISTENERS POOLS "access-log: { to: stderr, format: xml }\n", "f:3: access-log.format: \"xml\" will not do; it takes json or text" },
	{ "a link-local source, and no interface", LISTENERS POOLS "sources: fe80::1\n", "f:3: sources: \"fe80::1\" will not do; a link-local address needs its interface, as in \"fe80::1%eth0\"" },
	{ "a link-local name server, and no interface", LISTENERS POOLS "name-servers: fe80::1\n", "f:3: name-servers: \"fe80::1\" will not do; a link-local address needs its interface, as in \"fe80::1%eth0\"" },
	{ "a name server by name", LISTENERS POOLS "name-servers: dns.example.org\n", "f:3: name-servers: \"dns.example.org\" will not do; it takes the address of a name server, as in 192.0.2.1, \"192.0.2.1:5353\" or \"[2001:db8::1]:53\"" },
	{ "a name server of any address", LISTENERS POOLS "name-servers: [192.0.2.1, 0.0.0.0]\n", "f:3: name-servers[1]: \"0.0.0.0\" will not do; it takes the address of a name server, as in 192.0.2.1, \"192.0.2.1:5353\" or \"[2001:db8::1]:53\"" },
	{ "neither a word nor a time", LISTENERS POOLS "removed-backends: drain\n", "f:3: removed-backends: \"drain\" will not do; it takes keep, cut or a time such as 10m" },
	{ "a time that is none", LISTENERS POOLS "removed-backends: 10x\n", "f:3: removed-backends: \"10x\" will not do; it takes a time from 1ms to 30d, such as 500ms, 10s, 5m or 2h" },
	{ "no mapping for the access log", LISTENERS POOLS "access-log: stderr\n", "f:3: access-log: must be a mapping; its keys are: to, format" },
	{ "unknown timeout", LISTENERS POOLS "timeouts: { conect: 1 }\n", "f:3: timeouts.conect: there is no such key; did you mean \"connect\"?" },
	{ "no mode", LISTENERS POOLS "mode: fast\n", "f:3: mode: \"fast\" will not do; it takes direct or stack" },
	{ "a number for the timeouts", LISTENERS POOLS "timeouts: 10s\n", "f:3: timeouts: must be a mapping; its keys are: first-bytes, silence, connect, idle, half-closed, keepalive" },
	{ "keepalive, yes", LISTENERS POOLS "timeouts: { keepalive: yes }\n", "f:3: timeouts.keepalive: will not do; it takes no, or 'after' and the rest, as in {after: 10m}" },
	{ "keepalive, but when", LISTENERS POOLS "timeouts: { keepalive: { probes: 3 } }\n", "f:3: timeouts.keepalive.after: is missing; it takes a time, as in 10m" },
	{ "keepalive more often than anybody looks", LISTENERS POOLS "timeouts: { keepalive: { after: 1s, interval: 999ms } }\n", "f:3: timeouts.keepalive.interval: will not do; it takes a second or more" },
	{ "keepalive without probes", LISTENERS POOLS "timeouts: { keepalive: { after: 1s, probes: 0 } }\n", "f:3: timeouts.keepalive.probes: \"0\" will not do; it takes a number from 1 to 30" },
	{ "backward range", LISTENERS POOLS "source-ports: 3-2\n", "f:3: source-ports: \"3-2\" will not do; it takes a range FROM-TO from 1 to 65535, such as 10000-32767" },
	{ "half a range", LISTENERS POOLS "source-ports: 3000\n", "f:3: source-ports: \"3000\" will not do; it takes a range FROM-TO from 1 to 65535, such as 10000-32767" },
	{ "a range past the last port", LISTENERS POOLS "source-ports: 3000-65536\n", "f:3: source-ports: \"3000-65536\" will not do; it takes a range FROM-TO from 1 to 65535, such as 10000-32767" },
	{ "a source with a port", LISTENERS POOLS "sources: [10.0.0.1, \"10.0.0.2:80\"]\n", "f:3: sources[1]: \"10.0.0.2:80\" will not do; it takes an address of this host without a port, as in 192.0.2.1 or 2001:db8::1" },
	{ "any address as a source", LISTENERS POOLS "sources: 0.0.0.0\n", "f:3: sources: \"0.0.0.0\" will not do; it takes an address of this host without a port, as in 192.0.2.1 or 2001:db8::1" },
	{ "a long interface", LISTENERS POOLS "interfaces:\n- eth0\n- interface-number-1\n", "f:5: interfaces[1]: \"interface-number-1\" will not do; it takes the name of an interface, such as eth0" },
	{ "a relative path", LISTENERS POOLS "control: run/ladon\n", "f:3: control: \"run/ladon\" will not do; it takes a path that begins with '/' and has at most 107 characters" },
	{ "a control character", LISTENERS POOLS "pin: \"/a\\nb\"\n", "f:3: pin: has a control character in it; remove it" },
	{ "no user's name", LISTENERS POOLS "user: a/b\n", "f:3: user: \"a/b\" will not do; it takes up to 63 letters, digits, '-' and '_'" },
	{ "no group's name", LISTENERS POOLS "control-group: \"a:b\"\n", "f:3: control-group: \"a:b\" will not do; it takes up to 63 letters, digits, '-' and '_'" },
	{ "a zero byte", LISTENERS POOLS "pin: \"/a\\0b\"\n", "f:3: pin: has a control character in it; remove it" },
};

#define HEALTH(health) LISTENERS "pools:\n- { name: web, backends: 'a:1',\n    health: " health " }\n"

static const struct mistake pool_mistakes[] = {
	{ "unnamed", LISTENERS "pools:\n- backends: 10.0.0.1:1\n", "f:3: pools[0].name: is missing; routes find the pool by its name" },
	{ "odd name", LISTENERS "pools:\n- name: a b\n", "f:3: pools[0].name: \"a b\" will not do; it takes up to 63 letters, digits, '-' and '_'" },
	{ "repeated name", LISTENERS "pools:\n- { name: web, backends: 10.0.0.1:1 }\n- { name: web, backends: 10.0.0.1:1 }\n", "f:4: pools[1].name: a pool in line 3 is named \"web\" already; rename one of them" },
	{ "unknown policy", LISTENERS "pools:\n- name: web\n  policy: random\n", "f:4: pools[0].policy: \"random\" will not do; it takes round-robin, least-flows, first or hash" },
	{ "no backends", LISTENERS "pools:\n- name: web\n", "f:3: pools[0].backends: is missing; name one backend at least, as in backends: [\"10.0.2.2:443\"]" },
	{ "empty list of backends", LISTENERS "pools:\n- name: web\n  backends: []\n", "f:4: pools[0].backends: is an empty list; write at least one item, or leave the key out" },
	{ "requested and others", BACKEND("requested"), "f:5: pools[0].backends[0]: \"requested\" will not do; it takes an address or a name, and a port, as in \"10.0.2.2:443\", \"[2001:db8::1]:443\" or \"www.example.org:443\"" },
	{ "a hash without the policy", LISTENERS "pools:\n- name: web\n  hash: name\n", "f:4: pools[0].hash: goes only with 'policy: hash'" },
	{ "a hash of what nobody knows", LISTENERS "pools:\n- name: web\n  policy: hash\n  hash: port\n", "f:5: pools[0].hash: \"port\" will not do; it takes source, name or source-name" },
	{ "ejected, always", LISTENERS "pools:\n- name: web\n  eject: maybe\n", "f:4: pools[0].eject: \"maybe\" will not do; it takes yes or no" },
	{ "no share", LISTENERS "pools:\n- name: web\n  eject:\n    share: 50\n", "f:5: pools[0].eject.share: \"50\" will not do; it takes a share from 1% to 100%, such as 50%" },
	{ "all and more", LISTENERS "pools:\n- name: web\n  eject:\n    share: 101%\n", "f:5: pools[0].eject.share: \"101%\" will not do; it takes a share from 1% to 100%, such as 50%" },
	{ "ejected without a failure", LISTENERS "pools:\n- name: web\n  eject: { failures: 0 }\n", "f:4: pools[0].eject.failures: \"0\" will not do; it takes a number from 1 to 1000" },
	{ "another word for reset", LISTENERS "pools:\n- name: web\n  when-down: cut\n", "f:4: pools[0].when-down: \"cut\" will not do; it takes keep or reset" },
	{ "health by a word", HEALTH("tcp"), "f:4: pools[0].health: must be a mapping; its keys are: check, interval, timeout, rise, fall, port, path, host, status, sni, verify, ca, command" },
	{ "health without a check", HEALTH("{ rise: 2 }"), "f:4: pools[0].health.check: is missing; it takes the kind of check, such as tcp" },
	{ "checks of whatever is asked for", LISTENERS "pools:\n- name: web\n  backends: requested\n  health: { check: tcp }\n", "f:5: pools[0].health: goes not with requested backends, of which none is known before a client asks for it" },
	{ "an unknown check", HEALTH("{ check: ping }"), "f:4: pools[0].health.check: \"ping\" will not do; it takes tcp, http, tls, https or script" },
	{ "checks without a pause", HEALTH("{ check: tcp, interval: 99ms }"), "f:4: pools[0].health.interval: is too short; it takes 100 ms at least" },
	{ "checks with a bad limit", HEALTH("{ check: tcp, timeout: 0 }"), "f:4: pools[0].health.timeout: \"0\" will not do; it takes a time from 1ms to 30d, such as 500ms, 10s, 5m or 2h" },
	{ "never sick", HEALTH("{ check: tcp, fall: 0 }"), "f:4: pools[0].health.fall: \"0\" will not do; it takes a number from 1 to 1000" },
	{ "never well", HEALTH("{ check: tcp, rise: 1001 }"), "f:4: pools[0].health.rise: \"1001\" will not do; it takes a number from 1 to 1000" },
	{ "a path for TCP", HEALTH("{ check: tcp, path: / }"), "f:4: pools[0].health.path: goes only with 'check: http' or 'https'" },
	{ "a status for TCP", HEALTH("{ check: tcp, status: 200 }"), "f:4: pools[0].health.status: goes only with 'check: http' or 'https'" },
	{ "half a path", HEALTH("{ check: http, path: alive }"), "f:4: pools[0].health.path: \"alive\" will not do; it takes up to 1023 visible ASCII characters, such as /alive" },
	{ "a request in a path", HEALTH("{ check: http, path: '/ HTTP/1.0' }"), "f:4: pools[0].health.path: \"/ HTTP/1.0\" will not do; it takes up to 1023 visible ASCII characters, such as /alive" },
	{ "a host of two words", HEALTH("{ check: http, host: 'a b' }"), "f:4: pools[0].health.host: \"a b\" will not do; it takes up to 255 visible ASCII characters, such as www.example.org" },
	{ "a status in words", HEALTH("{ check: http, status: ok }"), "f:4: pools[0].health.status: \"ok\" will not do; it takes a status or a range of them, such as 200 or 200-399" },
	{ "a status too low", HEALTH("{ check: http, status: 99-200 }"), "f:4: pools[0].health.status: \"99-200\" will not do; it takes a status or a range of them, such as 200 or 200-399" },
	{ "a range backward", HEALTH("{ check: http, status: 300-200 }"), "f:4: pools[0].health.status: \"300-200\" will not do; it takes a status or a range of them, such as 200 or 200-399" },
	{ "half a range", HEALTH("{ check: http, status: 200- }"), "f:4: pools[0].health.status: \"200-\" will not do; it takes a status or a range of them, such as 200 or 200-399" },
	{ "one bad status of a list", HEALTH("{ check: http, status: [200, 3xx] }"), "f:4: pools[0].health.status[1]: \"3xx\" will not do; it takes a status or a range of them, such as 200 or 200-399" },
	{ "too many statuses", HEALTH("{ check: http, status: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17] }"), "f:4: pools[0].health.status: has 17 items; it takes up to 16" },
	{ "a name for HTTP", HEALTH("{ check: http, sni: a }"), "f:4: pools[0].health.sni: goes only with 'check: tls' or 'https'" },
	{ "a status for TLS", HEALTH("{ check: tls, status: 200 }"), "f:4: pools[0].health.status: goes only with 'check: http' or 'https'" },
	{ "a CA for nothing", HEALTH("{ check: tls, ca: /a }"), "f:4: pools[0].health.ca: goes only with 'verify: yes'" },
	{ "a CA nowhere", HEALTH("{ check: https, verify: yes, ca: a }"), "f:4: pools[0].health.ca: \"a\" will not do; it takes a path that begins with '/' and has at most 4095 characters" },
	{ "a command for TCP", HEALTH("{ check: tcp, command: /a }"), "f:4: pools[0].health.command: goes only with 'check: script'" },
	{ "a script without a command", HEALTH("{ check: script }"), "f:4: pools[0].health.command: is missing; it takes a path, and arguments, as in [/usr/local/bin/check, --quick]" },
	{ "a command to be searched for", HEALTH("{ check: script, command: [true, /a] }"), "f:4: pools[0].health.command[0]: \"true\" will not do; it takes a path that begins with '/' and has at most 4095 characters" },
	{ "an argument that is a list", HEALTH("{ check: script, command: [/a, [b]] }"), "f:4: pools[0].health.command[1]: must be a single value, not a list" },
	{ "a path for a script", HEALTH("{ check: script, command: /a, path: / }"), "f:4: pools[0].health.path: goes only with 'check: http' or 'https'" },
	{ "a check of port 0", HEALTH("{ check: tcp, port: 0 }"), "f:4: pools[0].health.port: \"0\" will not do; it takes a number from 1 to 65535" },
	{ "a mapping without an address", BACKEND("{ weight: 2 }"), "f:5: pools[0].backends[0].address: is missing; it takes an address or a name, and a port, as in \"10.0.2.2:443\"" },
	{ "a mapping with half an address", BACKEND("{ address: 10.0.0.1 }"), "f:5: pools[0].backends[0].address: \"10.0.0.1\" has no port; write \"10.0.0.1:443\"" },
	{ "a slip in a backend's key", BACKEND("{ address: 'a:1', wieght: 2 }"), "f:5: pools[0].backends[0].wieght: there is no such key; did you mean \"weight\"?" },
	{ "no weight", BACKEND("{ address: 'a:1', weight: 0 }"), "f:5: pools[0].backends[0].weight: \"0\" will not do; it takes a number from 1 to 1000" },
	{ "too heavy", BACKEND("{ address: 'a:1', weight: 1001 }"), "f:5: pools[0].backends[0].weight: \"1001\" will not do; it takes a number from 1 to 1000" },
	{ "a limit of nothing", BACKEND("{ address: 'a:1', max-flows: 0 }"), "f:5: pools[0].backends[0].max-flows: \"0\" will not do; it takes a number from 1 to 4294967295" },
	{ "weights of SRV records", BACKEND("{ srv: _a._tcp.b, weight: 2 }"), "f:5: pools[0].backends[0].weight: does not go with 'srv'" },
	{ "SRV records without a domain", BACKEND("{ srv: _http }"), "f:5: pools[0].backends[0].srv: \"_http\" will not do; it takes the name of SRV records, as in _https._tcp.example.org" },
	{ "SRV records of any name", BACKEND("{ srv: '*.b' }"), "f:5: pools[0].backends[0].srv: \"*.b\" will not do; it takes the name of SRV records, as in _https._tcp.example.org" },
	{ "a file beside an address", BACKEND("{ file: /a, address: 'a:1' }"), "f:5: pools[0].backends[0].address: does not go with 'file'" },
	{ "a file of backups", BACKEND("{ file: /a, backup: yes }"), "f:5: pools[0].backends[0].backup: does not go with 'file'" },
	{ "a file somewhere", BACKEND("{ file: backends }"), "f:5: pools[0].backends[0].file: \"backends\" will not do; it takes a path that begins with '/' and has at most 4096 characters" },
	{ "a file that is none", BACKEND("{ file: /dev/null }"), "f:5: pools[0].backends[0].file: /dev/null is no ordinary file" },
	{ "backups for nobody", BACKEND("{ address: 'a:1', backup: yes }"), "f:4: pools[0].backends: has only backups; leave 'backup' out of one at least" },
	{ "IPv4 without a port", BACKEND("10.0.0.1"), "f:5: pools[0].backends[0]: \"10.0.0.1\" has no port; write \"10.0.0.1:443\"" },
	{ "IPv6 without brackets", BACKEND("2001:db8::1:443"), "f:5: pools[0].backends[0]: \"2001:db8::1:443\" will not do; IPv6 is written in brackets and with a port, as in \"[2001:db8::1]:443\"" },
	{ "IPv6 in brackets without a port", BACKEND("'[2001:db8::1]'"), "f:5: pools[0].backends[0]: \"[2001:db8::1]\" will not do; it takes an address or a name, and a port, as in \"10.0.2.2:443\", \"[2001:db8::1]:443\" or \"www.example.org:443\"" },
	{ "a name without a port", BACKEND("www.example.org"), "f:5: pools[0].backends[0]: \"www.example.org\" will not do; it takes an address or a name, and a port, as in \"10.0.2.2:443\", \"[2001:db8::1]:443\" or \"www.example.org:443\"" },
	{ "port 0", BACKEND("10.0.0.1:0"), "f:5: pools[0].backends[0]: \"10.0.0.1:0\" cannot be connected to; it takes the address and the port of a backend" },
	{ "port 65536", BACKEND("a:65536"), "f:5: pools[0].backends[0]: \"a:65536\" will not do; it takes an address or a name, and a port, as in \"10.0.2.2:443\", \"[2001:db8::1]:443\" or \"www.example.org:443\"" },
	{ "link-local, and no interface", BACKEND("'[fe80::1]:443'"), "f:5: pools[0].backends[0]: \"[fe80::1]:443\" will not do; a link-local address needs its interface, as in \"[fe80::1%eth0]:443\"" },
	{ "any address", BACKEND("'[::]:443'"), "f:5: pools[0].backends[0]: \"[::]:443\" cannot be connected to; it takes the address and the port of a backend" },
	{ "an octet too large", BACKEND("10.0.0.256:443"), "f:5: pools[0].backends[0]: \"10.0.0.256:443\" will not do; it takes an address or a name, and a port, as in \"10.0.2.2:443\", \"[2001:db8::1]:443\" or \"www.example.org:443\"" },
	{ "an octet too few", BACKEND("10.0.2:443"), "f:5: pools[0].backends[0]: \"10.0.2:443\" will not do; it takes an address or a name, and a port, as in \"10.0.2.2:443\", \"[2001:db8::1]:443\" or \"www.example.org:443\"" },
	{ "a wildcard", BACKEND("'*.example.org:443'"), "f:5: pools[0].backends[0]: \"*.example.org:443\" will not do; a name has letters, digits, '-' and '_' between its dots (other scripts as xn--...), no scheme, port or path" },
	{ "neither version 1 nor 2", BACKEND("10.0.0.1:1\n  send-proxy: v3"), "f:6: pools[0].send-proxy: \"v3\" will not do; it takes v1 or v2" },
	{ "checks of where anybody was headed", LISTENERS "pools:\n- name: web\n  backends: original\n  health: { check: tcp }\n", "f:5: pools[0].health: goes not with original backends, of which none is known before a client asks for it" },
	{ "whose source", LISTENERS "pools:\n- name: web\n  backends: 10.0.2.2:443\n  source: client\n", "f:5: pools[0].source: \"client\" will not do; it takes gateway or transparent" },
	{ "a header for strangers", LISTENERS "pools:\n- name: web\n  backends: requested\n  send-proxy: v1\n", "f:5: pools[0].send-proxy: goes not with requested backends, which expect none; leave it out" },
	{ "TLVs in version 1", BACKEND("10.0.0.1:1\n  send-proxy: v1\n  proxy-tlvs: alpn"), "f:7: pools[0].proxy-tlvs: only version 2 has them; write \"send-proxy: v2\"" },
	{ "TLVs of nothing", BACKEND("10.0.0.1:1\n  proxy-tlvs: alpn"), "f:6: pools[0].proxy-tlvs: only version 2 has them; write \"send-proxy: v2\"" },
	{ "an unknown TLV", BACKEND("10.0.0.1:1\n  send-proxy: v2\n  proxy-tlvs: [alpn, sni]"), "f:7: pools[0].proxy-tlvs[1]: \"sni\" will not do; it takes authority, alpn or unique-id" },
	{ "a TLV twice", BACKEND("10.0.0.1:1\n  send-proxy: v2\n  proxy-tlvs: [alpn, alpn]"), "f:7: pools[0].proxy-tlvs[1]: alpn is in the list already; remove one of them" },
	{ "two dots", BACKEND("www..org:443"), "f:5: pools[0].backends[0]: \"www..org:443\" will not do; a name neither begins nor ends with a dot, nor has two in a row" },
};

static const struct mistake listener_mistakes[] = {
	{ "bits beyond the prefix", LISTEN("0.0.0.0:1\n  allow: 10.0.0.1/8"), "f:4: listeners[0].allow: \"10.0.0.1/8\" has bits set beyond the first 8; write 10.0.0.0/8, or 10.0.0.1 for that one address" },
	{ "a limit of nothing", LISTEN("0.0.0.0:1\n  limits: { per-source: 0 }"), "f:4: listeners[0].limits.per-source: \"0\" will not do; it takes a number from 1 to 16777216" },
	{ "an unknown limit", LISTEN("0.0.0.0:1\n  limits: { per-sorce: 1 }"), "f:4: listeners[0].limits.per-sorce: there is no such key; did you mean \"per-source\"?" },
	{ "users in a place that is no path", LISTEN("0.0.0.0:1\n  users: users"), "f:4: listeners[0].users: \"users\" will not do; it takes a path that begins with '/'" },
	{ "users that are not there", LISTEN("0.0.0.0:1\n  users: /tmp"), "f:4: listeners[0].users: /tmp is no ordinary file" },
	{ "a target that is a name", LISTEN("0.0.0.0:1\n  targets: { deny: localhost }"), "f:4: listeners[0].targets.deny: \"localhost\" will not do; it takes an address or a prefix, such as 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32" },
	{ "a port that is none", LISTEN("0.0.0.0:1\n  targets: { ports: [443, 0] }"), "f:4: listeners[0].targets.ports[1]: \"0\" will not do; it takes a number from 1 to 65535" },
	{ "ports the wrong way round", LISTEN("0.0.0.0:1\n  targets: { ports: 90-80 }"), "f:4: listeners[0].targets.ports: \"90-80\" will not do; it takes a range FROM-TO from 1 to 65535, such as 10000-32767" },
	{ "nobody is allowed", LISTEN("0.0.0.0:1\n  allow: []"), "f:4: listeners[0].allow: is an empty list; write at least one item, or leave the key out" },
	{ "a file without a directory", LISTEN("0.0.0.0:1\n  deny: [file:office.list]"), "f:4: listeners[0].deny[0]: \"office.list\" will not do; it takes a path that begins with '/'" },
	{ "a file that is none", LISTEN("0.0.0.0:1\n  deny: [10.0.0.1, file:/dev/null]"), "f:4: listeners[0].deny[1]: /dev/null is no ordinary file" },
	{ "a protocol that is not learned", LISTENERS POOLS "accelerate: { protocols: sctp }\n", "f:3: accelerate.protocols: \"sctp\" will not do; it takes tcp or udp" },
	{ "too many packets first", LISTENERS POOLS "accelerate: { packets: 201 }\n", "f:3: accelerate.packets: \"201\" will not do; it takes a number from 1 to 200" },
	{ "an exception of another kind", LISTENERS POOLS "accelerate: { except: { names: a } }\n", "f:3: accelerate.except.names: there is no such key; here go: addresses, ports, marks" },
	{ "a mark beyond its mask", LISTENERS POOLS "accelerate: { except: { marks: [1, 0x100/0xff] } }\n", "f:3: accelerate.except.marks[1]: \"0x100/0xff\" will not do; it takes a mark, or one and a mask, as in 0x10 or 0x100/0xff00" },
	{ "a negative mark", LISTENERS POOLS "accelerate: { except: { marks: -1 } }\n", "f:3: accelerate.except.marks: \"-1\" will not do; it takes a mark, or one and a mask, as in 0x10 or 0x100/0xff00" },
	{ "nine marks", LISTENERS POOLS "accelerate: { except: { marks: [1, 2, 3, 4, 5, 6, 7, 8, 9] } }\n", "f:3: accelerate.except.marks: has 9 items; it takes 8 at most" },
	{ "a confirmation that comes too late", LISTENERS POOLS "accelerate: { confirm: 31s }\n", "f:3: accelerate.confirm: takes a time from 100ms to 30s" },
	{ "half a yes", LISTENERS POOLS "accelerate: maybe\n", "f:3: accelerate: \"maybe\" will not do; it takes yes or no" },
	{ "a word for a listener", POOLS "listeners: web\n", "f:2: listeners: must be a mapping; its keys are: listen, routes, pool, handoff, mode, timeouts, mss, allow, deny, limits, users, targets, proxy-from, tokens, transparent" },
	{ "no address", POOLS "listeners:\n- pool: web\n", "f:3: listeners[0].listen: is missing; it takes an address and a port, as in \"0.0.0.0:443\"" },
	{ "a port only", LISTEN("443"), "f:3: listeners[0].listen: \"443\" will not do; it takes an address and a port, as in \"0.0.0.0:443\" or \"[::]:443\"" },
	{ "a name", LISTEN("example.org:443"), "f:3: listeners[0].listen: \"example.org:443\" will not do; it takes an address and a port, as in \"0.0.0.0:443\" or \"[::]:443\"" },
	{ "an interface that is not there", LISTEN("'[fe80::1%no-such]:1'"), "f:3: listeners[0].listen: \"[fe80::1%no-such]:1\" will not do; what stands after '%' must be an interface of this host" },
	{ "link-local, and no interface", LISTEN("'[fe80::1]:443'"), "f:3: listeners[0].listen: \"[fe80::1]:443\" will not do; a link-local address needs its interface, as in \"[fe80::1%eth0]:443\"" },
	{ "IPv6 without brackets", LISTEN("'::'"), "f:3: listeners[0].listen: \"::\" will not do; IPv6 is written in brackets and with a port, as in \"[2001:db8::1]:443\"" },
	{ "port 0", LISTEN("0.0.0.0:0"), "f:3: listeners[0].listen: \"0.0.0.0:0\" will not do; it takes an address and a port, as in \"0.0.0.0:443\" or \"[::]:443\"" },
	{ "same address twice in a list", LISTEN("['0.0.0.0:1', '0.0.0.0:1']"), "f:3: listeners[0].listen[1]: 0.0.0.0:1 is listened on already in line 3; give that listener the routes of both" },
	{ "same address in two listeners", POOLS "listeners:\n- listen: '[::0]:443'\n  pool: web\n- listen: '[::]:443'\n  pool: web\n", "f:5: listeners[1].listen: [::]:443 is listened on already in line 3; give that listener the routes of both" },
	{ "neither pool nor routes", POOLS "listeners:\n- listen: 0.0.0.0:1\n", "f:3: listeners[0].routes: is missing; a listener has 'routes', or one 'pool' for every connection" },
	{ "pool and routes", POOLS "listeners:\n- listen: 0.0.0.0:1\n  pool: web\n  routes: [{ pool: web }]\n", "f:4: listeners[0].pool: goes not with 'routes'; make it the last route, without a condition" },
	{ "no such pool", POOLS "listeners:\n- listen: 0.0.0.0:1\n  pool: wbe\n", "f:4: listeners[0].pool: no pool is named \"wbe\"; did you mean \"web\"?" },
	{ "mss too small", POOLS "listeners:\n- listen: 0.0.0.0:1\n  mss: 87\n  pool: web\n", "f:4: listeners[0].mss: \"87\" will not do; it takes a number from 88 to 32767" },
	{ "a name that is to say who its clients are", POOLS "listeners:\n- listen: 0.0.0.0:1\n  proxy-from: [10.0.0.1, lb]\n  pool: web\n", "f:4: listeners[0].proxy-from[1]: \"lb\" will not do; it takes an address or a prefix, such as 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32" },
	{ "nowhere to go in silence", POOLS "timeouts: { silence: 1s }\nlisteners:\n- listen: 0.0.0.0:1\n  routes: { tls: a, pool: web }\n", "f:5: listeners[0].routes: after the time 'silence' a client that has said nothing has nowhere to go; add a route without conditions" },
	{ "a silence that is too long", POOLS "listeners:\n- listen: 0.0.0.0:1\n  timeouts: { silence: 10s }\n  routes: [{ tls: a, pool: web }, { pool: web }]\n", "f:4: listeners[0].timeouts: 'silence' would never be reached; it must be shorter than 'first-bytes'" },
	{ "a bad time", POOLS "listeners:\n- listen: 0.0.0.0:1\n  timeouts:\n    idle: x\n  pool: web\n", "f:5: listeners[0].timeouts.idle: \"x\" will not do; it takes a time from 1ms to 30d, such as 500ms, 10s, 5m or 2h" },
};

static const struct mistake forward_mistakes[] = {
	{ "no address", FORWARD("to: '10.0.0.1:80'"), "f:2: forwards[0].listen: is missing; it takes an address and a port or a range of ports, as in \"192.0.2.1:8000-8010\" or \"[2001:db8::1]:443\"" },
	{ "no port", FORWARD("listen: 192.0.2.1, to: '10.0.0.1:80'"), "f:2: forwards[0].listen: \"192.0.2.1\" will not do; it takes an address and a port or a range of ports, as in \"192.0.2.1:8000-8010\" or \"[2001:db8::1]:443\"" },
	{ "port 0", FORWARD("listen: '192.0.2.1:0', to: '10.0.0.1:80'"), "f:2: forwards[0].listen: \"192.0.2.1:0\" will not do; it takes an address and a port or a range of ports, as in \"192.0.2.1:8000-8010\" or \"[2001:db8::1]:443\"" },
	{ "a port too high", FORWARD("listen: '192.0.2.1:1-65536', to: '10.0.0.1:80'"), "f:2: forwards[0].listen: \"192.0.2.1:1-65536\" will not do; it takes an address and a port or a range of ports, as in \"192.0.2.1:8000-8010\" or \"[2001:db8::1]:443\"" },
	{ "backward", FORWARD("listen: '192.0.2.1:9-8', to: '10.0.0.1:80'"), "f:2: forwards[0].listen: \"192.0.2.1:9-8\" ends before it begins" },
	{ "a link-local address", FORWARD("listen: '[2001:db8::1]:80', to: '[fe80::1%lo]:80'"), "f:2: forwards[0].to: \"[fe80::1%lo]:80\" is a link-local address, and packets to such are not forwarded; use another one of that host" },
	{ "to this host itself", FORWARD("listen: '192.0.2.1:80', to: '127.0.0.1:80'"), "f:2: forwards[0].to: \"127.0.0.1:80\" is a loopback address, and packets to such are not forwarded; use another one of that host" },
	{ "... by IPv6", FORWARD("listen: '[2001:db8::1]:80', to: '[::1]:80'"), "f:2: forwards[0].to: \"[::1]:80\" is a loopback address, and packets to such are not forwarded; use another one of that host" },
	{ "to a group", FORWARD("listen: '192.0.2.1:80', to: '224.0.0.1:80'"), "f:2: forwards[0].to: \"224.0.0.1:80\" is a multicast address, and packets to such are not forwarded; use another one of that host" },
	{ "of a group", FORWARD("listen: '[ff02::1]:80', to: '[2001:db8::1]:80'"), "f:2: forwards[0].listen: \"[ff02::1]:80\" is a multicast address, and packets to such are not forwarded; use another one of that host" },
	{ "to everybody", FORWARD("listen: '192.0.2.1:80', to: '255.255.255.255:80'"), "f:2: forwards[0].to: \"255.255.255.255:80\" is a broadcast address, and packets to such are not forwarded; use another one of that host" },
	{ "IPv4 as IPv6", FORWARD("listen: '[::ffff:192.0.2.1]:80', to: '[fd00::1]:80'"), "f:2: forwards[0].listen: \"[::ffff:192.0.2.1]:80\" is an IPv4 address, which no IPv6 packet has; write it as one" },
	{ "to any address", FORWARD("listen: '192.0.2.1:80', to: '0.0.0.0:80'"), "f:2: forwards[0].to: is no address to forward to; name the server's" },
	{ "a pool and an address", FORWARD("listen: '192.0.2.1:80', to: '10.0.0.1:80', pool: web") POOLS, "f:2: forwards[0].pool: does not go with 'to'; leave one of them out" },
	{ "no such pool", FORWARD("listen: '192.0.2.1:80', pool: wob") POOLS, "f:2: forwards[0].pool: no pool is named \"wob\"; did you mean \"web\"?" },
	{ "a range to a pool", FORWARD("listen: '192.0.2.1:80-81', pool: web") POOLS, "f:2: forwards[0].pool: takes one port, since its backends have one each, and 'listen' has 2" },
	{ "a pool of requested backends", FORWARD("listen: '192.0.2.1:80', pool: any") "pools: {name: any, backends: requested}\n", "f:2: forwards[0].pool: pool \"any\" has no backends of its own, and the kernel asks nobody; use a listener" },
	{ "a pool with a PROXY header", FORWARD("listen: '192.0.2.1:80', pool: p") "pools: {name: p, backends: '10.0.0.1:80', send-proxy: v1}\n", "f:2: forwards[0].pool: pool \"p\" has send-proxy, and the kernel says nothing by itself; use a listener" },
	{ "unequal ranges", FORWARD("listen: '192.0.2.1:80-82', to: '10.0.0.1:80-81'"), "f:2: forwards[0].to: has 2 ports and 'listen' 3; give both as many" },
	{ "families", FORWARD("listen: '192.0.2.1:80', to: '[fd00::1]:80'"), "f:2: forwards[0].to: is IPv6 and 'listen' is IPv4, and the kernel translates no family into the other; use a listener and a pool for that" },
	{ "a source of the other family", FORWARD("listen: '[fd00::1]:80', to: '[fd00::2]:80', source: 10.0.0.1"), "f:2: forwards[0].source: is IPv4 and 'listen' is IPv6, and the kernel translates no family into the other; use a listener and a pool for that" },
	{ "a hairpin of the other family", FORWARD("listen: '[fd00::1]:80', to: '[fd00::2]:80', hairpin: 10.0.0.0/8"), "f:2: forwards[0].hairpin: is of another family than 'listen'" },
	{ "a hairpin for nothing", FORWARD("listen: '192.0.2.1:80', to: '10.0.0.1:80', source: masquerade, hairpin: 10.0.0.0/8"), "f:2: forwards[0].hairpin: goes only with 'source: keep'; otherwise every client's source is changed already" },
	{ "twice", FORWARD("listen: '192.0.2.1:80-90', to: '10.0.0.1:80-90'") "- {listen: '192.0.2.1:1-79', to: '10.0.0.1:1-79'}\n- {listen: '192.0.2.1:85', to: '10.0.0.1:80', protocol: both}\n", "f:4: forwards[2]: takes TCP port 85, which the forward of line 2 has; leave it to one of them" },
	{ "a listener's", FORWARD("listen: '192.0.2.1:440-450', to: '10.0.0.1:440-450'") LISTENERS POOLS, "f:2: forwards[0]: takes port 443 from the listener 0.0.0.0:443 of line 3; leave it to one of them" },
	{ "too many ports that change", FORWARD("listen: '192.0.2.1:1-65534', to: '10.0.0.1:2-65535', protocol: both") "- {listen: '192.0.2.2:1-65534', to: '10.0.0.1:2-65535', protocol: both}\n- {listen: '192.0.2.3:1-65534', to: '10.0.0.1:2-65535'}\n", "f:1: forwards: changes 327670 port numbers; up to 262144 may be, the others must stay as they are" },
};

static const struct mistake route_mistakes[] = {
	{ "no routes", POOLS "listeners:\n- listen: 0.0.0.0:1\n  routes: []\n", "f:4: listeners[0].routes: is an empty list; write at least one item, or leave the key out" },
	{ "no pool", ROUTE("tls: a"), "f:5: listeners[0].routes[0].pool: is missing; it takes the name of a pool" },
	{ "no such pool", ROUTE("pool: database"), "f:5: listeners[0].routes[0].pool: no pool is named \"database\"; add it to 'pools'" },
	{ "slip of a letter in a key", ROUTE("{ tsl: a, pool: web }"), "f:5: listeners[0].routes[0].tsl: there is no such key; did you mean \"tls\"?" },
	{ "TLS and HTTP", ROUTE("{ tls: a, http: b, pool: web }"), "f:5: listeners[0].routes[0]: asks for TLS and for HTTP, and no connection is both; make it two rules" },
	{ "ALPN and path", ROUTE("{ alpn: h2, path: /, pool: web }"), "f:5: listeners[0].routes[0]: asks for TLS and for HTTP, and no connection is both; make it two rules" },
	{ "no such escape", ROUTE("{ starts: '\\d', pool: web }"), "f:5: listeners[0].routes[0].starts: \"\\d\" will not do; it takes up to 255 characters, \\xHH, \\r, \\n, \\t, \\0 and \\\\" },
	{ "an escape that YAML undoes", ROUTE("{ starts: \"\\x00\", pool: web }"), "f:5: listeners[0].routes[0].starts: has a byte in it that is not printable ASCII; write it as \\xHH, and all within single quotes" },
	{ "a regex that is none", ROUTE("{ regex: 'a(b', pool: web }"), "f:5: listeners[0].routes[0].regex: \"a(b\" will not do; missing closing parenthesis (at character 4); see pcre2pattern(3)" },
	{ "a regex of nothing", ROUTE("{ regex: 'x*', pool: web }"), "f:5: listeners[0].routes[0].regex: \"x*\" will not do; it matches nothing at all, and so anything; leave it out, or let it ask for a byte" },
	{ "the same bytes, written otherwise", ROUTE("{ starts: 'A', pool: web }\n  - { starts: '\\x41', pool: web }"), "f:6: listeners[0].routes[1].starts: matches the same as the rule of line 5 and would never be used; remove one of them" },
	{ "TLS is known", ROUTE("{ starts: ['SSH-', '\\x16\\x03'], pool: web }"), "f:5: listeners[0].routes: a client that starts with \"\\x16\\x03\" may mean TLS; let it be longer, or ask for that" },
	{ "HTTP is known", ROUTE("{ starts: 'GET /x', pool: web }"), "f:5: listeners[0].routes: a client that starts with \"GET /x\" may mean HTTP; let it be longer, or ask for that" },
	{ "too short for HTTP", ROUTE("{ starts: P, pool: web }"), "f:5: listeners[0].routes: a client that starts with \"P\" may mean HTTP; let it be longer, or ask for that" },
	{ "SOCKS is looked for", ROUTE("{ starts: '\\x05', pool: web }\n  - { target: a, pool: web }"), "f:5: listeners[0].routes: a client that starts with \"\\x05\" may mean SOCKS; let it be longer, or ask for that" },
	{ "a ladon prefix is looked for", ROUTE("{ starts: '\\xfbl', pool: web }\n  - { target: a, pool: web }"), "f:5: listeners[0].routes: a client that starts with \"\\xfbl\" may mean a ladon prefix; let it be longer, or ask for that" },
	{ "a PROXY header is looked for", POOLS "listeners:\n- listen: 0.0.0.0:443\n  proxy-from: 10.0.0.1\n  routes: { starts: PROX, pool: web }\n", "f:5: listeners[0].routes: a client that starts with \"PROX\" may mean a PROXY header; let it be longer, or ask for that" },
	{ "TLS and first bytes", ROUTE("{ tls: a, starts: b, pool: web }"), "f:5: listeners[0].routes[0]: asks for TLS and for certain first bytes, and no connection is both; make it two rules" },
	{ "TLS and a target", ROUTE("{ tls: a, target: b, pool: web }"), "f:5: listeners[0].routes[0]: asks for TLS and for a target, and no connection is both; make it two rules" },
	{ "the same target twice", ROUTE("{ target: [a, A], pool: web }"), "f:5: listeners[0].routes[0].target[1]: matches the same as the rule of line 5 and would never be used; remove one of them" },
	{ "requested by nobody", "pools:\n- name: exit\n  backends: requested\nlisteners:\n- listen: 0.0.0.0:1\n  pool: exit\n", "f:6: listeners[0].pool: is for clients that name a target; give the rule the condition 'target', as in {target: \"*\", pool: exit}" },
	{ "requested by TLS", "pools:\n- name: exit\n  backends: requested\nlisteners:\n- listen: 0.0.0.0:1\n  routes:\n  - { tls: a, pool: exit }\n", "f:7: listeners[0].routes[0].pool: is for clients that name a target; give the rule the condition 'target', as in {target: \"*\", pool: exit}" },
	{ "original for who asks", "pools:\n- name: onward\n  backends: original\nlisteners:\n- listen: 0.0.0.0:1\n  routes:\n  - { target: a, pool: onward }\n", "f:7: listeners[0].routes[0].pool: takes clients where their packets were headed, and these name a target; use a pool with \"backends: requested\"" },
	{ "TPROXY through the stack", POOLS "listeners:\n- listen: 0.0.0.0:443\n  pool: web\n  mode: stack\n  transparent: yes\n", "f:6: listeners[0].transparent: goes not with 'mode: stack'; leave one of them out" },
	{ "the client's address, relayed", "pools: [{ name: web, source: transparent, backends: 10.0.2.2:443 }]\nlisteners:\n- listen: 0.0.0.0:443\n  handoff: no\n  pool: web\n", "f:5: listeners[0].pool: has \"source: transparent\", which goes not with 'handoff: no' or 'mode: stack'; leave one of them out" },
	{ "the client's address, through the stack", "pools: [{ name: web, source: transparent, backends: 10.0.2.2:443 }]\nlisteners:\n- listen: 0.0.0.0:443\n  mode: stack\n  routes:\n  - { tls: a, pool: web }\n", "f:6: listeners[0].routes[0].pool: has \"source: transparent\", which goes not with 'handoff: no' or 'mode: stack'; leave one of them out" },
	{ "perhaps transparent", POOLS "listeners:\n- listen: 0.0.0.0:443\n  pool: web\n  transparent: maybe\n", "f:5: listeners[0].transparent: \"maybe\" will not do; it takes yes or no" },
	{ "an asterisk inside", ROUTE("{ tls: www.*.org, pool: web }"), "f:5: listeners[0].routes[0].tls: \"www.*.org\" will not do; a \"*\" stands alone or for what comes first, as in \"*.example.org\"" },
	{ "half a label", ROUTE("{ tls: '*www.org', pool: web }"), "f:5: listeners[0].routes[0].tls: \"*www.org\" will not do; a \"*\" stands alone or for what comes first, as in \"*.example.org\"" },
	{ "two asterisks", ROUTE("{ tls: '*.*.org', pool: web }"), "f:5: listeners[0].routes[0].tls: \"*.*.org\" will not do; a \"*\" stands alone or for what comes first, as in \"*.example.org\"" },
	{ "an asterisk and a dot", ROUTE("{ tls: '*.', pool: web }"), "f:5: listeners[0].routes[0].tls: \"*.\" will not do; a name neither begins nor ends with a dot, nor has two in a row" },
	{ "a host with a port", ROUTE("{ http: 'example.org:80', pool: web }"), "f:5: listeners[0].routes[0].http: \"example.org:80\" will not do; a name has letters, digits, '-' and '_' between its dots (other scripts as xn--...), no scheme, port or path" },
	{ "a label of 64", ROUTE("{ tls: a234567890123456789012345678901234567890123456789012345678901234.org, pool: web }"), "f:5: listeners[0].routes[0].tls: \"a234567890123456789012345678901234567890123456789012345678901234.org\" will not do; between two dots there are at most 63 characters" },
	{ "an ALPN with a space", ROUTE("{ alpn: 'h 2', pool: web }"), "f:5: listeners[0].routes[0].alpn: \"h 2\" will not do; it takes an ALPN protocol, such as h2 or http/1.1" },
	{ "a path without a slash", ROUTE("{ path: api, pool: web }"), "f:5: listeners[0].routes[0].path: \"api\" will not do; it takes the beginning of a path, such as /api/, without '?', '#', '*' and spaces" },
	{ "a pattern for a path", ROUTE("{ path: /api/*, pool: web }"), "f:5: listeners[0].routes[0].path: \"/api/*\" will not do; it takes the beginning of a path, such as /api/, without '?', '#', '*' and spaces" },
	{ "second item of a list on its own line", ROUTE("tls:\n    - a.org\n    - b..org\n    pool: web"), "f:7: listeners[0].routes[0].tls[1]: \"b..org\" will not do; a name neither begins nor ends with a dot, nor has two in a row" },
	{ "a route for addresses that are none", ROUTE("{ tls: a.org, allow: [10.0.0.0/8, office], pool: web }"), "f:5: listeners[0].routes[0].allow[1]: \"office\" will not do; it takes an address or a prefix, such as 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32" },
	{ "same rule for others", ROUTE("{ tls: a.org, allow: 10.0.0.1, pool: web }\n  - { tls: a.org, pool: web }"), "f:6: listeners[0].routes[1].tls: matches the same as the rule of line 5 and would never be used; remove one of them" },
	{ "same rule in other letters", ROUTE("{ tls: A.org, pool: web }\n  - { tls: a.ORG, pool: web }"), "f:6: listeners[0].routes[1].tls: matches the same as the rule of line 5 and would never be used; remove one of them" },
	{ "two defaults", ROUTE("pool: web\n  - pool: web"), "f:6: listeners[0].routes[1]: matches the same as the rule of line 5 and would never be used; remove one of them" },
	{ "ALPN with and without the name of any", ROUTE("{ alpn: h2, pool: web }\n  - { tls: '*', alpn: h2, pool: web }"), "f:6: listeners[0].routes[1].tls: matches the same as the rule of line 5 and would never be used; remove one of them" },
	{ "same name twice in a list", ROUTE("{ tls: [a, b, a], pool: web }"), "f:5: listeners[0].routes[0].tls[2]: matches the same as the rule of line 5 and would never be used; remove one of them" },
};
/* clang-format on */

static void check_mistakes(const struct mistake *rows, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		const struct mistake *row = &rows[i];
		_free_ char *error = NULL;
		struct config *config = config_parse("f", row->text, strlen(row->text), &error);

		if (!error || strcmp(error, row->error) != 0)
			fail_msg("%s:\n  got  %s\n  want %s", row->name, error, row->error);
		assert_null(config);
	}
}

#define MISTAKES(what)                                                                             \
	static void each_##what##_mistake_has_its_message(void **state)                            \
	{                                                                                          \
		(void)state;                                                                       \
		check_mistakes(what##_mistakes, ROWS(what##_mistakes));                            \
	}
MISTAKES(file)
MISTAKES(setting)
MISTAKES(pool)
MISTAKES(listener)
MISTAKES(forward)
MISTAKES(route)

static struct config *parse(const char *text)
{
	_free_ char *error = NULL;
	struct config *config = config_parse("f", text, strlen(text), &error);

	if (error)
		fail_msg("%s", error);
	return config;
}

static void forwards_arrive(void **state)
{
	struct config *config = parse(FORWARD("listen: '192.0.2.1:80-89', to: '10.0.0.1:8080-8089', "
					      "protocol: both, source: 10.0.0.9")
				      "- {listen: '192.0.2.1:90', to: '10.0.0.1:90', hairpin: 10.0.0.0/8}\n"
				      "- {listen: '192.0.2.1:90', to: '10.0.0.1:90', protocol: udp}\n");
	const struct config_forward *forward = config->forwards;

	(void)state;
	assert_int_equal(config->listeners_len, 0);
	assert_int_equal(config->forwards_len, 3);
	assert_true(forward[0].tcp && forward[0].udp && !forward[0].has_hairpin);
	assert_int_equal(addr_port(&forward[0].listen), 80);
	assert_int_equal(forward[0].last, 89);
	assert_int_equal(addr_port(&forward[0].to), 8080);
	assert_int_equal(forward[0].source, FORWARD_FIXED);
	assert_true(forward[1].tcp && !forward[1].udp && forward[1].has_hairpin);
	assert_int_equal(forward[1].source, FORWARD_KEEP);
	assert_true(!forward[2].tcp && forward[2].udp);
	config_free(config);
}

static void defaults_are_filled_in(void **state)
{
	struct config *config = parse(LISTENERS POOLS);
	const struct config_listener *l = &config->listeners[0];

	(void)state;
	assert_int_equal(config->workers, sysconf(_SC_NPROCESSORS_ONLN));
	assert_true(config->handoff);
	assert_int_equal(config->flows_max, 65536);
	assert_int_equal(config->port_min, 0);
	assert_null(config->sources);
	assert_null(config->interfaces);
	assert_string_equal(config->control, "/run/ladon/control");
	assert_null(config->pin);
	assert_int_equal(config->access_to, ACCESS_OFF);
	assert_null(config->access_path);
	assert_int_equal(config->removed_ms, CONFIG_KEEP);
	assert_null(config->user);
	assert_null(config->control_group);
	assert_int_equal(config->idle_ms, 7200000);
	assert_int_equal(config->listeners_len, 1);
	assert_string_equal(l->name, "0.0.0.0:443");
	assert_int_equal(l->first_bytes_ms, 10000);
	assert_int_equal(l->connect_ms, 5000);
	assert_int_equal(l->idle_ms, 7200000);
	assert_int_equal(l->half_closed_ms, 3600000);
	assert_int_equal(l->keepalive.after_ms, 0);
	assert_int_equal(l->mss, 0);
	assert_true(l->handoff);
	assert_false(l->stack);
	assert_false(l->peek);
	assert_int_equal(config->pools[0].policy, POOL_ROUND_ROBIN);
	assert_int_equal(config->pools[0].slow_ms, 0);
	assert_false(config->pools[0].reset);
	assert_int_equal(config->pools[0].eject.failures, 5);
	assert_int_equal(config->pools[0].eject.for_ms, 10000);
	assert_int_equal(config->pools[0].eject.share, 50);
	assert_int_equal(config->pools[0].backends[0].weight, 1);
	assert_int_equal(config->pools[0].backends[0].flows_max, 0);
	config_free(config);
}

static void every_setting_of_a_pool_arrives(void **state)
{
	struct config *config = parse(
		"listeners: { listen: '0.0.0.0:1', pool: a }\n"
		"pools:\n"
		"- { name: a, policy: hash, hash: source-name, slow-start: 30s, when-down: reset,\n"
		"    eject: { failures: 3, for: 2s, share: 20% },\n"
		"    backends: [\"10.0.0.1:1\", { address: \"b:2\", weight: 3, max-flows: 9 },\n"
		"      { address: \"10.0.0.3:3\", backup: yes }] }\n"
		"- { name: b, policy: first, eject: no, backends: { address: \"10.0.0.1:1\" } }\n");
	const struct config_pool *a = &config->pools[0], *b = &config->pools[1];

	(void)state;
	assert_int_equal(a->policy, POOL_HASH);
	assert_int_equal(a->hash, HASH_SOURCE_NAME);
	assert_int_equal(a->slow_ms, 30000);
	assert_true(a->reset);
	assert_int_equal(a->eject.failures, 3);
	assert_int_equal(a->eject.for_ms, 2000);
	assert_int_equal(a->eject.share, 20);
	assert_int_equal(a->backends_len, 3);
	assert_int_equal(a->backends[0].weight, 1);
	assert_string_equal(a->backends[1].text, "b:2");
	assert_string_equal(a->backends[1].host, "b");
	assert_int_equal(a->backends[1].weight, 3);
	assert_int_equal(a->backends[1].flows_max, 9);
	assert_false(a->backends[1].backup);
	assert_true(a->backends[2].backup);
	assert_int_equal(b->policy, POOL_FIRST);
	assert_int_equal(b->eject.failures, 0);
	assert_int_equal(b->backends_len, 1);
	config_free(config);
}

static void assert_statuses(const struct config_health *health, uint16_t from, uint16_t to)
{
	assert_int_equal(health->statuses_len, 1);
	assert_int_equal(health->statuses[0].from, from);
	assert_int_equal(health->statuses[0].to, to);
}

static struct config *parse_health(const char *health)
{
	char text[500];

	snprintf(text, sizeof(text), LISTENERS "pools:\n- name: web\n  backends: 'a:1'\n  %s\n",
		 health);
	return parse(text);
}

static void checks_arrive(void **state)
{
	struct config *config = parse_health("");
	const struct config_health *health = &config->pools[0].health;

	(void)state;
	assert_int_equal(health->check, HEALTH_NONE);
	config_free(config);

	config = parse_health("health: { check: tcp }");
	health = &config->pools[0].health;
	assert_int_equal(health->check, HEALTH_TCP);
	assert_int_equal(health->interval_ms, 5000);
	assert_int_equal(health->timeout_ms, 2000);
	assert_int_equal(health->rise, 2);
	assert_int_equal(health->fall, 3);
	assert_int_equal(health->port, 0);
	config_free(config);

	config = parse_health("health: { check: tcp, interval: 1m, timeout: 100ms, rise: 4, "
			      "fall: 5, port: 81 }");
	health = &config->pools[0].health;
	assert_int_equal(health->interval_ms, 60000);
	assert_int_equal(health->timeout_ms, 100);
	assert_int_equal(health->rise, 4);
	assert_int_equal(health->fall, 5);
	assert_int_equal(health->port, 81);
	config_free(config);

	config = parse_health("health: { check: http }");
	health = &config->pools[0].health;
	assert_null(health->texts[HEALTH_PATH]);
	assert_null(health->texts[HEALTH_HOST]);
	assert_statuses(health, 200, 399);
	config_free(config);

	config = parse_health("health: { check: http, path: '/a?b', host: c, status: 204 }");
	health = &config->pools[0].health;
	assert_string_equal(health->texts[HEALTH_PATH], "/a?b");
	assert_string_equal(health->texts[HEALTH_HOST], "c");
	assert_statuses(health, 204, 204);
	assert_false(health->verify);
	config_free(config);

	config = parse_health("health: { check: http, status: [200, 300-399] }");
	health = &config->pools[0].health;
	assert_int_equal(health->statuses_len, 2);
	assert_int_equal(health->statuses[0].to, 200);
	assert_int_equal(health->statuses[1].from, 300);
	assert_int_equal(health->statuses[1].to, 399);
	config_free(config);

	config = parse_health("health: { check: https, sni: a, verify: yes, ca: /b }");
	health = &config->pools[0].health;
	assert_int_equal(health->check, HEALTH_HTTPS);
	assert_string_equal(health->texts[HEALTH_SNI], "a");
	assert_string_equal(health->texts[HEALTH_CA], "/b");
	assert_true(health->verify);
	assert_statuses(health, 200, 399);
	config_free(config);

	config = parse_health("health: { check: script, command: [/a, -b, c d] }");
	health = &config->pools[0].health;
	assert_int_equal(health->check, HEALTH_SCRIPT);
	assert_string_equal(health->command[0], "/a");
	assert_string_equal(health->command[1], "-b");
	assert_string_equal(health->command[2], "c d");
	assert_null(health->command[3]);
	config_free(config);
}

/* What an IPv4 client may send is to fit when it leaves as IPv6, if that may be. */
static void segments_that_fit_both_families(void **state)
{
	static const struct {
		const char *listen, *backend, *more;
		uint16_t mss;
	} rows[] = {
		{ "0.0.0.0:1", "'[2001:db8::1]:1'", "", 1440 },
		{ "0.0.0.0:1", "'192.0.2.1:1', '[2001:db8::1]:1'", "", 1440 },
		{ "0.0.0.0:1", "'some.name:1'", "", 1440 },
		{ "0.0.0.0:1", "'192.0.2.1:1'", "", 0 },
		{ "[::]:1", "'[2001:db8::1]:1'", "", 0 },
		{ "[::]:1", "'192.0.2.1:1'", "", 0 },
		{ "0.0.0.0:1", "'[2001:db8::1]:1'", ", mss: 1460", 1460 },
		{ "0.0.0.0:1", "'[2001:db8::1]:1'", ", handoff: no", 0 },
		{ "0.0.0.0:1", "'[2001:db8::1]:1'", ", mode: stack", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config *config;
		char text[300];

		snprintf(text, sizeof(text),
			 "pools: [{ name: web, backends: [%s] }]\n"
			 "listeners: [{ listen: ['%s', '[::]:2'], pool: web%s }]\n",
			 rows[i].backend, rows[i].listen, rows[i].more);
		config = parse(text);
		assert_int_equal(config->listeners[0].mss, rows[i].mss);
		assert_int_equal(config->listeners[1].mss, rows[i].mss == 1460 ? 1460 : 0);
		config_free(config);
	}
}

static void every_setting_arrives(void **state)
{
	struct config *config =
		parse("workers: 3\nhandoff: off\nmode: stack\nflows: 77\nsource-ports: 1024-2047\n"
		      "timeouts: { first-bytes: 1500ms, silence: 300ms, connect: 2, idle: 1d, half-closed: 5m,\n"
		      "  keepalive: { after: 10m, probes: 4 } }\n"
		      "sources: [192.0.2.1, 2001:db8::1]\ninterfaces: [a0, b0]\n"
		      "control: /c\ncontrol-group: operators\nuser: ladon\npin: /p\n"
		      "access-log: { to: /a, format: text }\nremoved-backends: 10m\n"
		      "name-servers: [192.0.2.1, '[2001:db8::1]:5353']\n" POOLS
		      "listeners:\n"
		      "- { listen: '0.0.0.0:1', pool: web }\n"
		      "- { listen: '[::]:2', pool: web, handoff: yes, mode: direct, mss: 1200,\n"
		      "    limits: { per-source: 7, undecided: 8 },\n"
		      "    timeouts: { connect: 3m, half-closed: 6m, keepalive: no } }\n");
	const struct config_listener *l = config->listeners;

	(void)state;
	assert_int_equal(config->workers, 3);
	assert_true(config->handoff); /* one listener hands off */
	assert_int_equal(config->flows_max, 77);
	assert_int_equal(config->port_min, 1024);
	assert_int_equal(config->port_max, 2047);
	assert_int_equal(config->sources_len, 2);
	assert_int_equal(config->sources[1].sa.sa_family, AF_INET6);
	assert_string_equal(config->interfaces[1], "b0");
	assert_null(config->interfaces[2]);
	assert_string_equal(config->control, "/c");
	assert_string_equal(config->control_group, "operators");
	assert_string_equal(config->user, "ladon");
	assert_string_equal(config->pin, "/p");
	assert_int_equal(config->access_to, ACCESS_FILE);
	assert_string_equal(config->access_path, "/a");
	assert_int_equal(config->access_format, ACCESS_TEXT);
	assert_string_equal(config->name_servers, "192.0.2.1:53,[2001:db8::1]:5353");
	assert_int_equal(config->removed_ms, 600000);
	assert_int_equal(config->idle_ms, 86400000);
	assert_false(l[0].handoff);
	assert_true(l[0].stack);
	assert_false(l[1].stack);
	assert_false(config->stack); /* the one that is of this mode relays */
	assert_int_equal(l[0].first_bytes_ms, 1500);
	assert_int_equal(l[0].silence_ms, 300);
	assert_int_equal(l[0].connect_ms, 2000);
	assert_true(l[1].handoff);
	assert_int_equal(l[1].mss, 1200);
	assert_int_equal(l[1].limits.per_source, 7);
	assert_int_equal(l[1].limits.undecided, 8);
	assert_int_equal(l[0].limits.per_source, 0);
	assert_int_equal(l[1].connect_ms, 180000);
	assert_int_equal(l[0].half_closed_ms, 300000);
	assert_int_equal(l[0].keepalive.after_ms, 600000);
	assert_int_equal(l[0].keepalive.interval_ms, 75000);
	assert_int_equal(l[0].keepalive.probes, 4);
	assert_int_equal(l[1].half_closed_ms, 360000);
	assert_int_equal(l[1].keepalive.after_ms, 0);
	assert_int_equal(l[1].idle_ms, 86400000);
	config_free(config);
}

static void removed_backends_are_kept_or_cut(void **state)
{
	static const struct {
		const char *text;
		uint32_t ms;
	} rows[] = {
		{ LISTENERS POOLS "removed-backends: keep\n", CONFIG_KEEP },
		{ LISTENERS POOLS "removed-backends: cut\n", 0 },
		{ LISTENERS POOLS "removed-backends: 5\n", 5000 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config *config = parse(rows[i].text);

		assert_int_equal(config->removed_ms, rows[i].ms);
		config_free(config);
	}
}

static void what_was_said_is_kept_for_messages(void **state)
{
	struct config *config =
		parse(LISTENERS POOLS "flows: 77\nsources: [192.0.2.1, '2001:db8::1']\n"
				      "access-log: { to: /a, format: text }\ninterfaces: a0\n");

	(void)state;
	assert_string_equal(config_said(config, "flows")->text, "77");
	assert_int_equal(config_said(config, "flows")->line, 3);
	assert_string_equal(config_said(config, "sources")->text, "[192.0.2.1, 2001:db8::1]");
	assert_string_equal(config_said(config, "access-log")->text, "{to: /a, format: text}");
	assert_string_equal(config_said(config, "interfaces")->text, "a0");
	assert_null(config_said(config, "pin")->text);
	assert_int_equal(config_said(config, "pin")->line, 1);
	assert_int_equal(config->listeners[0].line, 1);
	config_free(config);
}

static void without_a_listener_that_hands_off_nothing_does(void **state)
{
	struct config *config = parse(LISTENERS POOLS "handoff: no\n");

	(void)state;
	assert_false(config->handoff);
	config_free(config);
}

static void proxy_headers_are_expected_and_sent(void **state)
{
	struct addr in, out;
	struct config *config = parse(
		"listeners:\n"
		"- { listen: ['0.0.0.0:1', '[::]:1'], pool: one, proxy-from: [10.0.0.0/8, '2001:db8::1'] }\n"
		"- { listen: '0.0.0.0:2', pool: two }\n"
		"pools:\n"
		"- { name: one, backends: 10.0.2.2:443, send-proxy: v1 }\n"
		"- { name: two, backends: 10.0.2.2:443, send-proxy: v2, proxy-tlvs: [unique-id, authority] }\n"
		"- { name: three, backends: 10.0.2.2:443 }\n");

	(void)state;
	assert_int_equal(addr_parse_host("10.1.2.3", 0, &in), 0);
	assert_int_equal(addr_parse_host("2001:db8::2", 0, &out), 0);
	for (unsigned int i = 0; i < 2; i++) {
		assert_true(cidrs_has(config->listeners[i].proxy_from, &in));
		assert_false(cidrs_has(config->listeners[i].proxy_from, &out));
	}
	assert_null(config->listeners[2].proxy_from);
	assert_int_equal(config->pools[0].send_proxy.version, 1);
	assert_false(config->pools[0].send_proxy.authority);
	assert_int_equal(config->pools[1].send_proxy.version, 2);
	assert_true(config->pools[1].send_proxy.authority);
	assert_true(config->pools[1].send_proxy.unique_id);
	assert_false(config->pools[1].send_proxy.alpn);
	assert_int_equal(config->pools[2].send_proxy.version, 0);
	config_free(config);
}

static void first_words_are_kept_as_text(void **state)
{
	struct config *config = parse(ROUTE(
		"{ starts: [SSH-, '\\x05\\0\\n'], pool: web }\n  - { regex: '\\x05\\0', pool: web }"));
	const struct config_listener *l = config->listeners;

	(void)state;
	assert_true(l->peek);
	assert_int_equal(l->routes_len, 3);
	assert_string_equal(l->routes[0].starts, "SSH-");
	assert_string_equal(l->routes[1].starts, "\\x05\\x00\\x0a");
	assert_null(l->routes[1].regex);
	assert_string_equal(l->routes[2].regex, "\\x05\\0");
	config_free(config);
}

static void lists_become_rules_and_listeners(void **state)
{
	struct config *config =
		parse("listeners:\n- listen: ['0.0.0.0:443', '[::]:443']\n  routes:\n"
		      "  - { tls: [Example.ORG, '*.example.org'], alpn: [h2, http/1.1], pool: b }\n"
		      "  - { path: /x, pool: a }\n"
		      "  - pool: a\n"
		      "pools:\n- { name: a, backends: [10.0.0.1:1, 'h:2'] }\n"
		      "- { name: b, policy: least-flows, backends: '[2001:db8::1]:3' }\n");
	const struct config_listener *l = config->listeners;
	const struct config_route *r = l[0].routes;

	(void)state;
	assert_int_equal(config->listeners_len, 2);
	assert_string_equal(l[1].name, "[::]:443");
	assert_true(l[0].peek && l[1].peek);
	assert_ptr_equal(l[0].routes, l[1].routes);
	assert_int_equal(l[0].routes_len, 6);
	assert_string_equal(r[0].tls, "example.org");
	assert_string_equal(r[1].alpn, "http/1.1");
	assert_string_equal(r[2].tls, "*.example.org");
	assert_int_equal(r[3].pool, 1);
	assert_int_equal(r[3].line, 4);
	assert_string_equal(r[4].http_host, "*");
	assert_string_equal(r[4].http_path, "/x");
	assert_null(r[5].tls);
	assert_null(r[5].http_host);
	assert_int_equal(config->pools[0].backends_len, 2);
	assert_null(config->pools[0].backends[0].host);
	assert_string_equal(config->pools[0].backends[1].host, "h");
	assert_int_equal(config->pools[0].backends[1].port, 2);
	assert_int_equal(config->pools[1].policy, POOL_LEAST_FLOWS);
	assert_int_equal(addr_port(&config->pools[1].backends[0].addr), 3);
	config_free(config);
}

static bool admits(const struct config_admit *admit, const char *host)
{
	struct addr addr;

	assert_int_equal(addr_parse_host(host, 0, &addr), 0);
	return config_admit_has(admit, &addr);
}

static void deny_wins_over_allow(void **state)
{
	struct config *config =
		parse(POOLS "listeners:\n"
			    "- listen: ['0.0.0.0:1', '[::]:1']\n"
			    "  allow: [10.0.0.0/8, 2001:db8::/32]\n"
			    "  deny: [10.1.0.0/16, '2001:db8::1']\n"
			    "  routes:\n"
			    "  - { tls: [a.org, b.org], deny: 10.2.0.0/16, pool: web }\n"
			    "  - pool: web\n");
	const struct config_listener *l = config->listeners;

	(void)state;
	assert_ptr_equal(l[0].admit, l[1].admit);
	assert_true(admits(l->admit, "10.0.0.1"));
	assert_true(admits(l->admit, "::ffff:10.0.0.1"));
	assert_false(admits(l->admit, "10.1.0.1"));
	assert_false(admits(l->admit, "192.0.2.1"));
	assert_true(admits(l->admit, "2001:db8::2"));
	assert_false(admits(l->admit, "2001:db8::1"));
	assert_ptr_equal(l->routes[0].admit, l->routes[1].admit);
	assert_false(admits(l->routes[0].admit, "10.2.0.1"));
	assert_true(admits(l->routes[0].admit, "192.0.2.1"));
	assert_null(l->routes[2].admit);
	assert_true(admits(NULL, "192.0.2.1"));
	config_free(config);
}

/* With @list in the file, whose path stands behind @before */
static struct config *parse_listed(const char *list, const char *path, const char *before,
				   char **error)
{
	_free_ char *text = NULL;
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(list, file);
	fclose(file);
	assert_true(asprintf(&text, "%s%s\n", before, path) > 0);
	return config_parse("f", text, strlen(text), error);
}

static void addresses_from_a_file(void **state)
{
	static const char allow[] = LISTEN("0.0.0.0:1") "  allow:\n  - 192.0.2.1\n  - file:";
	char path[] = "/tmp/ladon-unit-XXXXXX";
	_free_ char *error = NULL, *wanted = NULL;
	struct config *config;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	config = parse_listed("# all of us\n10.0.0.0/8 # here\n\n2001:db8::/32\n", path, allow,
			      &error);
	assert_null(error);
	assert_true(admits(config->listeners[0].admit, "192.0.2.1"));
	assert_true(admits(config->listeners[0].admit, "10.1.1.1"));
	assert_true(admits(config->listeners[0].admit, "2001:db8::1"));
	assert_false(admits(config->listeners[0].admit, "192.0.2.2"));
	config_free(config);

	assert_null(parse_listed("10.0.0.0/8\n10.0.0.1/8\n", path, allow, &error));
	assert_true(asprintf(&wanted,
			     "f:7: listeners[0].allow[1]: %s:2: \"10.0.0.1/8\" has bits set beyond "
			     "the first 8; write 10.0.0.0/8, or 10.0.0.1 for that one address",
			     path) > 0);
	assert_string_equal(error, wanted);
	unlink(path);
}

#define KEY_TEXT "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"

static void keys_from_a_file_that_is_private(void **state)
{
	static const char tokens[] = LISTEN("0.0.0.0:1") "  tokens: ";
	char path[] = "/tmp/ladon-unit-XXXXXX";
	_free_ char *error = NULL, *malformed = NULL, *public = NULL;
	struct config *config;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	config = parse_listed("7:" KEY_TEXT, path, tokens, &error);
	assert_null(error);
	assert_int_equal(keys_find(config->listeners[0].keys, 7)->bytes[31], 0x1f);
	config_free(config);

	assert_null(parse_listed("7:" KEY_TEXT "8;" KEY_TEXT, path, tokens, &error));
	assert_true(asprintf(&malformed,
			     "f:5: listeners[0].tokens: %s:2: no ':' stands in it; a line is "
			     "ID:KEY, and `ladon token key` makes one",
			     path) > 0);
	assert_string_equal(error, malformed);
	free(error);
	assert_int_equal(chmod(path, 0644), 0);
	assert_null(parse_listed("7:" KEY_TEXT, path, tokens, &error));
	assert_true(asprintf(&public,
			     "f:5: listeners[0].tokens: everybody may read %s, and make tokens "
			     "then; chmod o= it",
			     path) > 0);
	assert_string_equal(error, public);
	unlink(path);
}

static void backends_from_a_file_and_srv_records(void **state)
{
	static const char before[] = LISTENERS "pools:\n- name: web\n  backends:\n"
					       "  - { srv: _A._tcp.B, backup: yes, max-flows: 9 }\n"
					       "  - file: ";
	char path[] = "/tmp/ladon-unit-XXXXXX";
	_free_ char *error = NULL, *wanted = NULL;
	const struct config_backend *backends;
	struct config *config;
	int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	config = parse_listed("# all of us\n10.0.0.1:1\nb:2 weight=3\n", path, before, &error);
	assert_null(error);
	backends = config->pools[0].backends;
	assert_string_equal(backends[0].text, "srv:_a._tcp.b");
	assert_string_equal(backends[0].srv, "_a._tcp.b");
	assert_int_equal(backends[0].flows_max, 9);
	assert_true(backends[0].backup);
	assert_null(backends[0].file);
	assert_string_equal(backends[1].file, path);
	assert_int_equal(backends[1].listed->len, 2);
	assert_int_equal(backends[1].listed->list[1].config.weight, 3);
	config_free(config);

	assert_null(parse_listed("10.0.0.1:1\n10.0.0.1:2 wait=1\n", path, before, &error));
	assert_true(asprintf(&wanted,
			     "f:6: pools[0].backends[1].file: %s:2: \"wait=1\" is unknown; after the "
			     "backend there may be weight=N, max-flows=N and backup=yes",
			     path) > 0);
	assert_string_equal(error, wanted);
	unlink(path);
}

static bool nothing_is_own(void *arg, const struct addr *addr)
{
	(void)arg;
	(void)addr;
	return false;
}

static bool reaches(const struct targets *targets, const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return target_admits(targets, &addr, nothing_is_own, NULL);
}

static void targets_are_addresses_and_ports(void **state)
{
	struct config *config =
		parse(POOLS "listeners:\n"
			    "- listen: 0.0.0.0:1\n  pool: web\n"
			    "  targets: { allow: [0.0.0.0/0, 127.0.0.1], deny: 10.0.0.0/8,\n"
			    "    ports: [443, 8000-8999] }\n"
			    "- listen: 0.0.0.0:2\n  pool: web\n");
	const struct targets *reach = config->listeners[0].reach;

	(void)state;
	assert_true(reaches(reach, "192.0.2.1:443"));
	assert_true(reaches(reach, "192.0.2.1:8500"));
	assert_false(reaches(reach, "192.0.2.1:80"));
	assert_false(reaches(reach, "10.0.0.1:443"));
	assert_true(reaches(reach, "127.0.0.1:443"));
	assert_false(reaches(reach, "127.0.0.2:443"));
	assert_false(reaches(reach, "[2001:db8::1]:443"));
	assert_null(config->listeners[1].reach);
	assert_true(reaches(NULL, "[2001:db8::1]:1"));
	assert_false(reaches(NULL, "127.0.0.1:1"));
	config_free(config);
}

/* They are of the clients' family: the MSS need not be smaller. */
static void original_backends_are_where_clients_were_headed(void **state)
{
	struct config *config = parse("pools: [{ name: onward, backends: original }]\n"
				      "listeners:\n"
				      "- { listen: '0.0.0.0:1', transparent: yes, pool: onward }\n"
				      "- { listen: '0.0.0.0:2', routes: [{ tls: a, pool: onward }] }\n");

	(void)state;
	assert_true(config->pools[0].backends[0].requested && config->pools[0].backends[0].original);
	assert_string_equal(config->pools[0].backends[0].text, "original");
	assert_true(config->listeners[0].transparent && !config->listeners[0].peek);
	assert_false(config->listeners[1].transparent);
	assert_int_equal(config->listeners[0].mss, 0);
	config_free(config);
}

static void the_source_is_the_gateways_unless_it_is_said(void **state)
{
	struct config *config = parse("pools:\n"
				      "- { name: a, backends: '192.0.2.1:1' }\n"
				      "- { name: b, backends: '192.0.2.1:1', source: gateway }\n"
				      "listeners: [{ listen: '0.0.0.0:1', pool: a }]\n");

	(void)state;
	assert_false(config->transparent || config->pools[0].transparent || config->pools[1].transparent);
	config_free(config);
	config = parse("pools: [{ name: a, backends: original, source: transparent }]\n"
		       "listeners: [{ listen: '0.0.0.0:1', pool: a }]\n");
	assert_true(config->transparent && config->pools[0].transparent);
	config_free(config);
}

static void an_alias_stands_for_its_anchor(void **state)
{
	struct config *config =
		parse("pools:\n- { name: a, backends: &b [10.0.0.1:1, 10.0.0.2:1] }\n"
		      "- { name: b, policy: least-flows, backends: *b }\n"
		      "listeners: [{ listen: '0.0.0.0:1', pool: a }]\n");

	(void)state;
	assert_int_equal(config->pools[1].backends_len, 2);
	config_free(config);
}

/* a thousand names times a thousand protocols, each of which is read */
static void aliases_do_not_multiply_without_end(void **state)
{
	_free_ char *text = malloc(64 * 1024);
	_free_ char *error = NULL;
	char *at = text;
	struct config *config;

	(void)state;
	at += sprintf(at, "listeners: [{ listen: '0.0.0.0:1', routes: [&r { pool: web, tls: &n [");
	for (int i = 0; i < 1000; i++)
		at += sprintf(at, "n%d%s", i, i < 999 ? "," : "], alpn: *n }]}]\n");
	sprintf(at, POOLS);
	config = config_parse("f", text, strlen(text), &error);
	assert_null(config);
	assert_non_null(strstr(error, "aliases and lists multiply to more than 1000000 values"));
}

static void ten_thousand_routes_load_at_once(void **state)
{
	const int count = 10000;
	_free_ char *text = malloc((size_t)count * 128);
	struct timespec began, ended;
	struct config *config;
	char *at = text;

	(void)state;
	at += sprintf(at, "pools:\n");
	for (int i = 0; i < count; i++)
		at += sprintf(at, "- { name: p%d, backends: 10.0.0.1:1 }\n", i);
	at += sprintf(at, "listeners:\n- listen: 0.0.0.0:1\n  routes:\n");
	for (int i = 0; i < count; i++)
		at += sprintf(at, "  - { tls: n%d.example.org, pool: p%d }\n", i, i);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &began);
	config = parse(text);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
	assert_int_equal(config->listeners[0].routes[count - 1].pool, count - 1);
	/* a fifth of a second with sanitizers; what is quadratic takes minutes */
	assert_true(ended.tv_sec - began.tv_sec < 5);
	config_free(config);
}

static void words_are_near_when_one_could_be_meant(void **state)
{
	static const char *const words[] = { "web", "api", NULL, "database" };

	(void)state;
	assert_string_equal(node_nearest("wbe", words, 4), "web");
	assert_string_equal(node_nearest("databse", words, 4), "database");
	assert_string_equal(node_nearest("dtabsae", words, 4), "database");
	assert_null(node_nearest("x", words, 4));
	assert_null(node_nearest("server", words, 4));
}

static void files_that_cannot_be_read_are_named(void **state)
{
	static const struct {
		const char *path;
		const char *error;
	} rows[] = {
		{ "/nonexistent/ladon.yaml",
		  "/nonexistent/ladon.yaml: cannot be read: No such file or directory" },
		{ "/", "/: cannot be read: Is a directory" },
		{ "/proc/self/mem", "/proc/self/mem: cannot be read: Input/output error" },
		{ "/dev/zero", "/dev/zero: cannot be read: File too large" },
		{ "/dev/null", "/dev/null:1: the file is empty; it takes at least 'listeners' and "
			       "'pools', see ladon.yaml(5)" },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		_free_ char *error = NULL;

		assert_null(config_load(rows[i].path, &error));
		assert_string_equal(error, rows[i].error);
	}
}

static void the_examples_load(void **state)
{
	static const char *const examples[] = {
		"ladon",       "tls-router", "http-router", "mixed",
		"tcp-forward", "ipv6",	     "least-flows", "unprivileged-relay",
		"health",
	};

	(void)state;
	for (size_t i = 0; i < ROWS(examples); i++) {
		_free_ char *error = NULL;
		struct config *config;
		char path[128];

		snprintf(path, sizeof(path), "contrib/config/%s.yaml", examples[i]);
		config = config_load(path, &error);
		if (!config)
			fail_msg("%s", error);
		assert_string_equal(config->path, path);
		config_free(config);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_file_mistake_has_its_message),
		cmocka_unit_test(each_setting_mistake_has_its_message),
		cmocka_unit_test(each_pool_mistake_has_its_message),
		cmocka_unit_test(each_listener_mistake_has_its_message),
		cmocka_unit_test(each_forward_mistake_has_its_message),
		cmocka_unit_test(forwards_arrive),
		cmocka_unit_test(each_route_mistake_has_its_message),
		cmocka_unit_test(defaults_are_filled_in),
		cmocka_unit_test(segments_that_fit_both_families),
		cmocka_unit_test(every_setting_arrives),
		cmocka_unit_test(every_setting_of_a_pool_arrives),
		cmocka_unit_test(checks_arrive),
		cmocka_unit_test(removed_backends_are_kept_or_cut),
		cmocka_unit_test(what_was_said_is_kept_for_messages),
		cmocka_unit_test(without_a_listener_that_hands_off_nothing_does),
		cmocka_unit_test(proxy_headers_are_expected_and_sent),
		cmocka_unit_test(first_words_are_kept_as_text),
		cmocka_unit_test(lists_become_rules_and_listeners),
		cmocka_unit_test(deny_wins_over_allow),
		cmocka_unit_test(addresses_from_a_file),
		cmocka_unit_test(backends_from_a_file_and_srv_records),
		cmocka_unit_test(keys_from_a_file_that_is_private),
		cmocka_unit_test(targets_are_addresses_and_ports),
		cmocka_unit_test(original_backends_are_where_clients_were_headed),
		cmocka_unit_test(the_source_is_the_gateways_unless_it_is_said),
		cmocka_unit_test(an_alias_stands_for_its_anchor),
		cmocka_unit_test(aliases_do_not_multiply_without_end),
		cmocka_unit_test(ten_thousand_routes_load_at_once),
		cmocka_unit_test(words_are_near_when_one_could_be_meant),
		cmocka_unit_test(files_that_cannot_be_read_are_named),
		cmocka_unit_test(the_examples_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
