// SPDX-License-Identifier: GPL-2.0-only
/*
 * backend.c - who has a say in whether a backend gets connections, and who has the last word
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../paths/backend.h"

#define NOW 1000 /* ms */

static struct backend *backend_at(const char *text)
{
	struct config_backend config = { .text = (char *)text };
	struct backend *backend;

	assert_int_equal(addr_parse(text, &config.addr), 0);
	backend = backend_new(&config, "p");
	assert_non_null(backend);
	return backend;
}

static void the_operator_has_the_last_word(void **state)
{
	/* clang-format off */
	static const struct {
		const char *name;
		enum backend_admin admin;
		bool sick, ejected, valid, down;
	} rows[] = {
		/*                          admin          sick   ejected valid  down  */
		{ "as it begins",           BACKEND_AUTO,  false, false,  true,  false },
		{ "sick",                   BACKEND_AUTO,  true,  false,  false, true  },
		{ "ejected is not down",    BACKEND_AUTO,  false, true,   false, false },
		{ "up overrules a check",   BACKEND_UP,    true,  false,  true,  false },
		{ "up overrules connects",  BACKEND_UP,    false, true,   true,  false },
		{ "down though well",       BACKEND_DOWN,  false, false,  false, true  },
		{ "draining is not down",   BACKEND_DRAIN, false, false,  false, false },
		{ "... not even when sick", BACKEND_DRAIN, true,  false,  false, false },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct backend *backend = backend_at("10.0.0.1:1");

		backend_set_admin(backend, rows[i].admin);
		backend_set_sick(backend, rows[i].sick);
		backend->ejected_ms = rows[i].ejected ? NOW + 1 : 0;
		if (backend_is_valid(backend, NOW) != rows[i].valid ||
		    backend_is_down(backend) != rows[i].down)
			fail_msg("%s", rows[i].name);
		backend_drop(backend);
	}
}

static void an_ejection_ends_by_itself(void **state)
{
	struct backend *backend = backend_at("10.0.0.1:1");

	(void)state;
	backend->ejected_ms = NOW;
	assert_false(backend_is_valid(backend, NOW - 1));
	assert_true(backend_is_valid(backend, NOW));
	backend_drop(backend);
}

static void without_an_address_nobody_s_word_counts(void **state)
{
	struct config_backend config = { .text = "name:1", .host = "name", .port = 1 };
	struct backend *backend = backend_new(&config, "p");
	uint64_t changes = backend_changes();
	struct addr addr;

	(void)state;
	assert_int_equal(addr_parse("10.0.0.1:1", &addr), 0);
	backend_set_admin(backend, BACKEND_UP);
	assert_false(backend_is_valid(backend, NOW));
	backend_set_addrs(backend, &addr, 1);
	assert_true(backend_is_valid(backend, NOW));
	assert_int_equal(backend_changes(), changes + 2);
	backend_drop(backend);
}

static void only_a_change_is_one(void **state)
{
	struct backend *backend = backend_at("10.0.0.1:1");
	uint64_t changes = backend_changes();

	(void)state;
	assert_false(backend_set_sick(backend, false));
	assert_false(backend_set_admin(backend, BACKEND_AUTO));
	assert_int_equal(backend_changes(), changes);
	assert_true(backend_set_sick(backend, true));
	assert_true(backend_set_admin(backend, BACKEND_DRAIN));
	assert_int_equal(backend_changes(), changes + 2);
	assert_false(backend_set_sick(backend, true));
	assert_int_equal(backend->times_sick, 1);
	assert_true(backend_set_sick(backend, false));
	assert_true(backend_set_sick(backend, true));
	assert_int_equal(backend->times_sick, 2);
	backend_drop(backend);
}

static void a_return_is_remembered(void **state)
{
	struct backend *backend = backend_at("10.0.0.1:1");

	(void)state;
	backend_set_admin(backend, BACKEND_DRAIN);
	backend_set_sick(backend, true);
	backend_set_admin(backend, BACKEND_AUTO);
	assert_int_equal(backend->returned_ms, 0);
	backend_set_sick(backend, false);
	assert_int_not_equal(backend->returned_ms, 0);
	backend_drop(backend);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_operator_has_the_last_word),
		cmocka_unit_test(an_ejection_ends_by_itself),
		cmocka_unit_test(without_an_address_nobody_s_word_counts),
		cmocka_unit_test(only_a_change_is_one),
		cmocka_unit_test(a_return_is_remembered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
