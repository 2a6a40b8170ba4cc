// SPDX-License-Identifier: Apache-2.0
/*
 * test_breaker.c - three ejections within ten minutes quarantine a policy until a person lifts it, over restarts,
 * reboots, segments of the journal and clocks that jump.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "agent/safety/breaker.h"
#include "tests/unit/safety_root.h"

#define MINUTE 60000000000ULL

static struct fake f;
static struct safety *s;
static struct safety_error error;

static int setup(void **state)
{
	(void)state;
	fake_make(&f);
	assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	safety_close(s, SAFETY_STOP);
	fake_unmake(&f);
	return 0;
}

static bool eject(const char *policy, bool environment)
{
	struct exit_record exit = { .environment = environment, .kind = "accuracy" };
	bool quarantined = true;

	strcpy(exit.policy, policy);
	strcpy(exit.reason, "the AUC fell below its floor");
	strcpy(exit.evidence, "AUC 0.51 over 4,096 reads");
	assert_int_equal(safety_exit(s, &exit, &quarantined, &error), 0);
	return quarantined;
}

static void reopen(void)
{
	safety_close(s, SAFETY_STOP);
	assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
}

static void reboot(uint64_t uptime_ns)
{
	file_put(f.root, "proc/sys/kernel/random/boot_id", BOOT_2);
	f.boot_ns = uptime_ns;
	reopen();
}

static void test_three_times(void **state)
{
	(void)state;
	assert_false(eject("linnos", false));
	assert_false(eject("kml", false));
	f.boot_ns += 9 * MINUTE;
	assert_false(eject("linnos", false));
	assert_int_equal(safety_admit(s, "linnos", &error), 0);
	assert_true(eject("linnos", false));
	assert_int_equal(safety_admit(s, "linnos", &error), -EPERM);
	assert_non_null(strstr(error.text, "ejected 3 times"));
	assert_non_null(strstr(error.text, "semantosctl unquarantine linnos"));
	assert_int_equal(safety_admit(s, "kml", &error), 0);
	assert_true(eject("linnos", false));
	/* it lasts: over restarts, reboots, years */
	f.boot_ns += 1000000 * MINUTE;
	reopen();
	assert_int_equal(safety_admit(s, "linnos", &error), -EPERM);
	reboot(MINUTE);
	assert_int_equal(safety_admit(s, "linnos", &error), -EPERM);
	/* until a person lifts it, and then it begins anew */
	assert_int_equal(safety_unquarantine(s, "linnos", &error), 0);
	assert_int_equal(safety_admit(s, "linnos", &error), 0);
	assert_int_equal(safety_unquarantine(s, "linnos", &error), -ENOENT);
	assert_false(eject("linnos", false));
	reopen();
	assert_int_equal(safety_admit(s, "linnos", &error), 0);
	assert_false(eject("linnos", false));
	assert_true(eject("linnos", false));
}

static void test_not_in_ten_minutes(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++) {
		assert_false(eject("linnos", false));
		f.boot_ns += 5 * MINUTE;
	}
}

/* Not its fault: on record, and it counts for nothing. */
static void test_environment(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++)
		assert_false(eject("linnos", true));
	assert_false(eject("linnos", false));
	assert_false(eject("linnos", false));
	assert_true(eject("linnos", false));
}

static void test_over_a_restart(void **state)
{
	(void)state;
	assert_false(eject("linnos", false));
	reopen();
	assert_false(eject("linnos", false));
	reopen();
	assert_true(eject("linnos", false));
}

static void test_over_a_reboot(void **state)
{
	(void)state;
	assert_false(eject("linnos", false));
	assert_false(eject("linnos", false));
	/* the wall clock says two minutes, and so it is */
	f.real_ns += 2 * MINUTE;
	reboot(MINUTE);
	assert_true(eject("linnos", false));
}

static void test_clock_jumps(void **state)
{
	struct record_stamp then = {
		.real_ns = 100 * MINUTE, .boot_ns = 50 * MINUTE, .boot_id = "a"
	};
	struct record_stamp now = then;

	(void)state;
	/* within a boot the wall clock is not asked */
	now.real_ns = 0;
	now.boot_ns = 53 * MINUTE;
	assert_int_equal(breaker_age_ns(&then, &now), 3 * MINUTE);
	now.real_ns = 100000 * MINUTE;
	assert_int_equal(breaker_age_ns(&then, &now), 3 * MINUTE);
	now.boot_ns = 40 * MINUTE;
	assert_int_equal(breaker_age_ns(&then, &now), 0);
	/* in another boot: at least as old as that one is up */
	strcpy(now.boot_id, "b");
	now.real_ns = 101 * MINUTE;
	now.boot_ns = 20 * MINUTE;
	assert_int_equal(breaker_age_ns(&then, &now), 20 * MINUTE);
	/* set back: recent, not forgotten */
	now.real_ns = 10 * MINUTE;
	now.boot_ns = MINUTE;
	assert_int_equal(breaker_age_ns(&then, &now), MINUTE);
	now.real_ns = 160 * MINUTE;
	assert_int_equal(breaker_age_ns(&then, &now), 60 * MINUTE);
}

/* New segments carry quarantines and what leads to them. */
static void test_over_segments(void **state)
{
	(void)state;
	safety_close(s, SAFETY_STOP);
	f.options.max_bytes = 2048;
	assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
	assert_false(eject("linnos", false));
	assert_false(eject("linnos", false));
	for (int i = 0; i < 3; i++)
		eject("kml", false);
	for (int i = 0; i < 12; i++)
		reopen();
	assert_int_equal(safety_admit(s, "kml", &error), -EPERM);
	assert_true(eject("linnos", false));
	assert_int_equal(safety_unquarantine(s, "kml", &error), 0);
	for (int i = 0; i < 40; i++)
		reopen();
	assert_int_equal(safety_admit(s, "linnos", &error), -EPERM);
	assert_int_equal(safety_admit(s, "kml", &error), 0);
	assert_false(eject("kml", false));
}

static void test_names(void **state)
{
	struct exit_record exit = { .kind = "x" };
	bool quarantined;

	(void)state;
	assert_int_equal(safety_exit(s, &exit, &quarantined, &error), -EINVAL);
	memset(exit.policy, 'x', sizeof(exit.policy));
	assert_int_equal(safety_exit(s, &exit, &quarantined, &error), -EINVAL);
	assert_int_equal(safety_admit(s, "", &error), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_three_times),
		T(test_not_in_ten_minutes),
		T(test_environment),
		T(test_over_a_restart),
		T(test_over_a_reboot),
		T(test_clock_jumps),
		T(test_over_segments),
		T(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
