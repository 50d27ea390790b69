// SPDX-License-Identifier: GPL-2.0-only
/*
 * forward_table.c - who takes a port, and what is counted while tables come and go
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "../../gateway/config_forwards.h"
#include "../../gateway/forward_conns.h"
#include "../../gateway/forward_table.h"

/* ---- stand-ins: a kernel that says what it is told, and no pools ---- */

static uint64_t kernel_flows;
static int kernel_rc;
static struct config_forward forwards[3];
static struct config config = { .forwards = forwards };
static struct setup setup = { .config = &config };

int nft_count(void (*fn)(void *arg, bool udp, const struct addr *at, uint64_t flows), void *arg)
{
	if (kernel_rc == 0)
		fn(arg, false, &forwards[0].listen, kernel_flows);
	return kernel_rc;
}

void nft_write(FILE *f, const struct config_forward *list, unsigned int len,
	       const struct nft_pools *pools)
{
	(void)f;
	(void)list;
	(void)len;
	(void)pools;
}

int forward_pools_init(struct forward_pools *pools, const struct setup *of,
		       const struct config_forward *list, unsigned int len, uint64_t now_ms)
{
	(void)pools;
	(void)of;
	(void)list;
	(void)len;
	(void)now_ms;
	return 0;
}

void forward_pools_fini(struct forward_pools *pools)
{
	(void)pools;
}

bool forward_pools_equal(const struct forward_pools *a, const struct forward_pools *b)
{
	return a == b;
}

bool forward_pools_serve(const struct forward_pools *pools, const struct config_forward *forward)
{
	(void)pools;
	(void)forward;
	return true;
}

bool forward_pools_have(const struct forward_pools *pools, unsigned int pool,
			const struct addr *server)
{
	(void)pools;
	(void)pool;
	(void)server;
	return false;
}

int forward_conns_end(bool (*is_over)(void *arg, bool udp, const struct addr *asked,
				      const struct addr *server),
		      void *arg)
{
	(void)is_over;
	(void)arg;
	return 0;
}

const struct config_listener *config_forward_listener(const struct config *of,
						      const struct config_forward *forward)
{
	(void)of;
	(void)forward;
	return NULL;
}

int config_forwards_fit(const struct config_forward *list, unsigned int len, char **why)
{
	(void)list;
	(void)len;
	(void)why;
	return 0;
}

char *config_ports_format(const struct config_forward *forward, const struct addr *first,
			  char out[PORTS_TEXT_MAX])
{
	(void)forward;
	return addr_format(first, out);
}

void setup_hold(struct setup *of)
{
	(void)of;
}

void setup_drop(struct setup *of)
{
	(void)of;
}

bool locals_has(void *locals, const struct addr *addr)
{
	struct addr local;

	(void)locals;
	assert_int_equal(addr_parse_host("192.0.2.1", addr_port(addr), &local), 0);
	return addr_equal(addr, &local);
}

/* ---- the table ---- */

static void forward_set(struct config_forward *out, const char *listen, uint16_t last)
{
	*out = (struct config_forward){ .last = last, .tcp = true };
	assert_int_equal(addr_parse(listen, &out->listen), 0);
}

static struct forward_table *table_of(unsigned int len)
{
	struct forward_table *table;
	char *why;

	config.forwards_len = len;
	assert_int_equal(forward_table_new(&setup, NULL, 0, &table, &why), 0);
	return table;
}

/* A flush of all rules, say: what the kernel has said before is not forgotten. */
static void counts_outlive_a_table_that_has_gone(void **state)
{
	struct forward_table *table, *next;

	(void)state;
	forward_set(&forwards[0], "192.0.2.1:80", 80);
	table = table_of(1);
	kernel_flows = 5;
	kernel_rc = 0;
	forward_table_count(table);
	assert_int_equal(forward_table_flows(table, 0), 5);
	kernel_rc = -EIO;
	forward_table_count(table);
	assert_int_equal(forward_table_flows(table, 0), 5);
	forward_table_restart(table);
	kernel_rc = 0;
	kernel_flows = 2;
	forward_table_count(table);
	assert_int_equal(forward_table_flows(table, 0), 7);
	next = table_of(1);
	forward_table_follow(next, table);
	assert_int_equal(forward_table_flows(next, 0), 7);
	forward_table_free(table);
	forward_table_free(next);
}

static const struct config_forward *find(const struct forward_table *table, const char *at)
{
	struct addr addr;

	assert_int_equal(addr_parse(at, &addr), 0);
	return forward_table_find(table, false, &addr, NULL);
}

static void one_address_comes_before_any(void **state)
{
	struct forward_table *table;

	(void)state;
	forward_set(&forwards[0], "0.0.0.0:80", 89);
	forward_set(&forwards[1], "192.0.2.1:81", 81);
	forward_set(&forwards[2], "192.0.2.2:82", 82);
	table = table_of(3);
	assert_ptr_equal(find(table, "192.0.2.1:80"), &table->forwards[0]);
	assert_ptr_equal(find(table, "192.0.2.1:81"), &table->forwards[1]);
	assert_ptr_equal(find(table, "192.0.2.1:82"), &table->forwards[0]);
	assert_null(find(table, "192.0.2.1:90"));
	assert_null(find(table, "192.0.2.2:80")); /* it only passes */
	assert_ptr_equal(find(table, "192.0.2.2:82"), &table->forwards[2]);
	assert_null(find(table, "[2001:db8::1]:80"));
	forward_table_free(table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_outlive_a_table_that_has_gone),
		cmocka_unit_test(one_address_comes_before_any),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
