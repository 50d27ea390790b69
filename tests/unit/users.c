// SPDX-License-Identifier: GPL-2.0-only
/*
 * users.c - files of users, what is right, and what is remembered of it
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../gateway/users.h"

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

/* Of "secret", as cheap as each method can be made */
#define BCRYPT "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
#define SHA512                                                                                     \
	"$6$rounds=1000$abcdefgh$nhYjN017qxiYztzyUpZtPnUQcnLy62KsunSLHNeLahp2EHPlAKmFFlrjEwSXGo2kgY5hR2.peKEg2VGUqIJJu1"
#define SHA256	 "$5$rounds=1000$abcdefgh$XIppta5rT8zJUu4vAOKQXrwq9uY4Ijlz6VjyOmkx5i4"
#define YESCRYPT "$y$j75$F5Jx5fExrKuPp53xLKQ..1$l5YiXCKNY/N9ezall4xjJAFS/wg.kWVcFXfOzyxVn1."
#define GOST	 "$gy$j75$F5Jx5fExrKuPp53xLKQ..1$bgmrgn26CneQR5xZzYw0CauRM62c6nuTmzWYctqxBg7"

#define FILE_TEXT                                                                                  \
	"# who may\n\nanna:" BCRYPT "\r\nbob:" SHA512 "  \ncarla:" SHA256 "\ndora d.:" YESCRYPT    \
	"\nemil:" GOST

static struct users *read_users(const char *text)
{
	struct users *users = NULL;
	char why[USERS_WHY_MAX];
	unsigned int line;

	if (users_read(text, strlen(text), &users, &line, why) < 0)
		fail_msg("%u: %s", line, why);
	return users;
}

static void each_method_tells_right_from_wrong(void **state)
{
	static const char *const names[] = { "anna", "bob", "carla", "dora d.", "emil" };
	struct users *users = read_users(FILE_TEXT);

	(void)state;
	for (size_t i = 0; i < ROWS(names); i++) {
		assert_true(users_check(users, names[i], "secret", 1));
		assert_false(users_check(users, names[i], "Secret", 1));
		assert_false(users_check(users, names[i], "secret ", 1));
		assert_false(users_check(users, names[i], "", 1));
	}
	assert_false(users_check(users, "fred", "secret", 1));
	assert_false(users_check(users, "", "secret", 1));
	assert_false(users_check(users, "ann", "secret", 1));
	users_drop(users);
}

static void what_was_right_is_known_for_a_while(void **state)
{
	struct users *users = read_users(FILE_TEXT);
	uint64_t at = 1000, end = at + USERS_KNOWN_MS;

	(void)state;
	assert_false(users_know(users, "anna", "secret", at));
	assert_false(users_check(users, "anna", "wrong", at));
	assert_false(users_know(users, "anna", "wrong", at));
	assert_true(users_check(users, "anna", "secret", at));
	assert_true(users_know(users, "anna", "secret", at));
	assert_true(users_know(users, "anna", "secret", end - 1));
	assert_false(users_know(users, "anna", "secret", end));
	assert_false(users_know(users, "anna", "wrong", at));
	assert_false(users_know(users, "bob", "secret", at));
	assert_false(users_know(users, "fred", "secret", at));

	/* asked in between, it is not known for longer; a wrong one changes nothing */
	assert_true(users_check(users, "anna", "secret", end - 1));
	assert_false(users_check(users, "anna", "wrong", end - 1));
	assert_false(users_know(users, "anna", "secret", end));
	assert_true(users_check(users, "anna", "secret", end));
	assert_true(users_know(users, "anna", "secret", end + 1));
	users_drop(users);
}

static void a_password_too_long_for_crypt_is_wrong(void **state)
{
	struct users *users = read_users(FILE_TEXT);
	char pass[USERS_PASS_MAX + 2];

	(void)state;
	memset(pass, 'x', sizeof(pass) - 1);
	pass[sizeof(pass) - 1] = '\0';
	assert_false(users_check(users, "anna", pass, 1));
	users_drop(users);
}

/* The same hash again and again for a name that nobody has, so that its time tells nothing. */
static void an_unknown_name_takes_its_time(void **state)
{
	struct users *users = read_users("anna:$2b$08$abcdefghijklmnopqrstuu" /* 16 times as dear */
					 "2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n");
	struct timespec from, to;
	double ms[2];

	(void)state;
	for (int i = 0; i < 2; i++) {
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
		assert_false(users_check(users, i ? "fred" : "anna", "wrong", 1));
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
		ms[i] = (double)(to.tv_sec - from.tv_sec) * 1e3 +
			(double)(to.tv_nsec - from.tv_nsec) / 1e6;
	}
	assert_true(ms[1] > ms[0] / 4);
	users_drop(users);
}

static void each_mistake_has_its_line(void **state)
{
#define MAKE "mkpasswd(1) and htpasswd -nB make one"
#define NONE                                                                                       \
	"what stands after the ':' is no hash of crypt(5), or of a method that is too weak, such " \
	"as DES or MD5; mkpasswd(1) and htpasswd -nB make good ones"
	static const struct {
		const char *text;
		unsigned int line;
		const char *why;
	} rows[] = {
		{ "", 1, "the file names nobody" },
		{ "# nobody\n", 2, "the file names nobody" },
		{ "anna\n", 1, "no ':' stands in it; a line is NAME:HASH" },
		{ "\n#\n:" BCRYPT, 3, "no name stands before the ':'" },
		{ "an\tna:" BCRYPT, 1, "the name has a control character in it" },
		{ "anna:\n", 1, "no hash stands after the ':'; " MAKE },
		{ "anna:secret\n", 1, NONE },
		{ "anna:!\n", 1, NONE },
		{ "anna:*\n", 1, NONE },
		{ "anna:$apr1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1", 1, NONE },
		{ "anna:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=", 1, NONE },
		{ "anna:abNANd1rDfiNc", 1, NONE },
		{ "anna:$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1", 1, NONE },
		{ "anna:$6$abcdefgh$", 1, "the hash is cut off" },
		{ "anna:" BCRYPT ":19000:0", 1,
		  "a second ':' stands after the hash; a line is NAME:HASH" },
		{ "anna:" BCRYPT "\nbob:" BCRYPT "\nanna:" SHA512, 3,
		  "\"anna\" has a line already, 1; remove one of them" },
	};
	char why[USERS_WHY_MAX];
	struct users *users;
	unsigned int line;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		assert_int_equal(users_read(rows[i].text, strlen(rows[i].text), &users, &line, why),
				 -EINVAL);
		assert_string_equal(why, rows[i].why);
		assert_int_equal(line, rows[i].line);
	}
	assert_int_equal(users_read("a\0b", 3, &users, &line, why), -EINVAL);
	assert_string_equal(why, "the file has a NUL in it");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_method_tells_right_from_wrong),
		cmocka_unit_test(what_was_right_is_known_for_a_while),
		cmocka_unit_test(a_password_too_long_for_crypt_is_wrong),
		cmocka_unit_test(an_unknown_name_takes_its_time),
		cmocka_unit_test(each_mistake_has_its_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
