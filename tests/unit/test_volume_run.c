// SPDX-License-Identifier: Apache-2.0
/*
 * test_volume_run.c - what `semantosctl volume` runs is bounded in time and in what it may say.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <cmocka.h>
#include "agent/cli/volume_dm.h"

static int shell(const char *script, char *out, size_t len, unsigned int wait_ms)
{
	const char *const argv[] = { "sh", "-c", script, NULL };

	return volume_run_for(argv, out, len, wait_ms);
}

static void test_status_and_words(void **state)
{
	char out[100];

	(void)state;
	assert_int_equal(shell("echo one; echo two >&2", out, sizeof(out), 30000), 0);
	assert_string_equal(out, "one\ntwo");
	assert_int_equal(shell("exit 3", out, sizeof(out), 30000), 3);
	assert_string_equal(out, "");
	assert_int_equal(shell("kill -9 $$", out, sizeof(out), 30000), -EINTR);
}

static void test_too_many_words(void **state)
{
	char out[8];

	(void)state;
	assert_int_equal(shell("yes | head -c 300000", out, sizeof(out), 30000), 0);
	assert_string_equal(out, "y\ny\ny\ny");
}

static void test_not_there(void **state)
{
	const char *const argv[] = { "semantos-no-such-program", NULL };
	char out[100];

	(void)state;
	assert_int_equal(volume_run(argv, out, sizeof(out)), -ENOENT);
	assert_non_null(strstr(out, "cannot be run"));
}

/* One that hangs, with its output open or closed, is left alone, and said to be. */
static void test_hangs(void **state)
{
	static const char *const scripts[] = { "exec sleep 1000", "exec sleep 1000 >&- 2>&-" };

	(void)state;
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		char out[200];
		const char *at;
		pid_t pid;

		assert_int_equal(shell(scripts[i], out, sizeof(out), 200), -ETIMEDOUT);
		at = strstr(out, "process ");
		assert_non_null(at);
		pid = (pid_t)strtol(at + strlen("process "), NULL, 10);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status_and_words),
		cmocka_unit_test(test_too_many_words),
		cmocka_unit_test(test_not_there),
		cmocka_unit_test(test_hangs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
