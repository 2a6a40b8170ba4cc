/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_command.c - commands that print, fail, hang, flood, leave children behind: what comes back, and that all end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "agent/cli/command.h"

static struct command_result result;
static char folder[] = "/tmp/semantos-command-XXXXXX";

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int run(const char *command)
{
	return command_run(command, 10000, -1, &result);
}

static void the_last_line_that_is_not_empty(void **state)
{
	(void)state;
	assert_int_equal(run("echo one; echo; echo 'two 2'; echo; printf '  \n'"), 0);
	assert_string_equal(result.line, "two 2");
	assert_int_equal(result.exit, 0);
	assert_string_equal(result.why, "");
	assert_int_equal(run("echo 1; printf 'no end 7'"), 0);
	assert_string_equal(result.line, "no end 7");
	assert_int_equal(run("true"), 0);
	assert_string_equal(result.line, "");
	assert_int_equal(run("echo 3; echo 4 >&2"), 0);
	assert_string_equal(result.line, "3");
	assert_int_equal(run("printf '\\033[2J5\\r\\n'"), 0);
	assert_string_equal(result.line, " [2J5 ");
	assert_int_equal(run("cat; echo 6"), 0);
	assert_string_equal(result.line, "6");
}

static void a_failure_has_a_sentence(void **state)
{
	(void)state;
	assert_int_equal(run("echo 5; echo 'no such table' >&2; exit 3"), -EIO);
	assert_int_equal(result.exit, 3);
	assert_string_equal(result.why, "it ended with code 3 (no such table)");
	assert_int_equal(run("kill -SEGV $$"), -EIO);
	assert_int_equal(result.exit, 128 + SIGSEGV);
	assert_string_equal(result.why, "signal 11 ended it");
	assert_int_equal(run("/nowhere/at/all"), -EIO);
	assert_int_equal(result.exit, 127);
	assert_non_null(strstr(result.why, "not found"));
}

static void output_is_bounded_and_never_waited_for(void **state)
{
	(void)state;
	assert_int_equal(run("yes 0123456789 | head -c 20000000; yes 1 | head -c 1000000 >&2; "
			     "echo; echo 42"),
		0);
	assert_string_equal(result.line, "42");
	assert_int_equal(run("head -c 100000 /dev/zero | tr '\\0' x; echo ' 43'"), 0);
	assert_true(strlen(result.line) < sizeof(result.line));
	assert_string_equal(result.line + strlen(result.line) - 3, " 43");
}

/* Whoever wrote its number into the file is gone, a moment later at most. */
static void assert_ended(const char *path)
{
	FILE *file = fopen(path, "r");
	int pid = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%d", &pid), 1);
	fclose(file);
	for (int i = 0; kill(pid, 0) == 0; i++) {
		char stat[64], line[128] = "";

		snprintf(stat, sizeof(stat), "/proc/%d/stat", pid);
		file = fopen(stat, "r");
		if (file) {
			/* nobody may be there to reap it: a zombie runs no more */
			if (fgets(line, sizeof(line), file) && strstr(line, ") Z")) {
				fclose(file);
				return;
			}
			fclose(file);
		}
		assert_true(i < 100);
		usleep(20000);
	}
}

static void what_hangs_is_killed_with_all_it_began(void **state)
{
	char command[300], path[100];
	uint64_t begin = now_ms();

	(void)state;
	snprintf(path, sizeof(path), "%s/hangs", folder);
	snprintf(command, sizeof(command),
		"sh -c 'trap \"\" TERM INT HUP; echo $$ >%s; while :; do sleep 1; done' & wait",
		path);
	assert_int_equal(command_run(command, 300, -1, &result), -ETIMEDOUT);
	assert_true(now_ms() - begin >= 300 && now_ms() - begin < 5000);
	assert_string_equal(result.why, "it did not end within 0.3 s and was killed");
	assert_ended(path);
	/* one that ends and leaves a child with its pipe */
	snprintf(path, sizeof(path), "%s/left", folder);
	snprintf(command, sizeof(command),
		"(echo $$ >/dev/null; exec sleep 100) & echo $! >%s; echo 9", path);
	begin = now_ms();
	assert_int_equal(run(command), 0);
	assert_string_equal(result.line, "9");
	assert_true(now_ms() - begin < 5000);
	assert_ended(path);
}

static void nobody_waits_any_more(void **state)
{
	int pair[2];
	pid_t pid;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		/* a word does not end it, and stays where it is */
		usleep(100000);
		if (send(pair[1], "m", 1, 0) != 1)
			_exit(1);
		usleep(200000);
		_exit(0);
	}
	close(pair[1]);
	{
		uint64_t begin = now_ms();
		char byte;

		assert_int_equal(command_run("sleep 100", 20000, pair[0], &result), -ECANCELED);
		assert_true(now_ms() - begin >= 250 && now_ms() - begin < 5000);
		assert_int_equal(recv(pair[0], &byte, 1, 0), 1);
	}
	waitpid(pid, NULL, 0);
	close(pair[0]);
}

static void time_is_measured(void **state)
{
	(void)state;
	assert_int_equal(run("sleep 0.2"), 0);
	assert_true(result.took_ns >= 200000000 && result.took_ns < 2000000000);
}

static void signals_and_descriptors_are_its_own(void **state)
{
	(void)state;
	signal(SIGINT, SIG_IGN);
	assert_int_equal(run("exec ls -m /proc/self/fd"), 0);
	signal(SIGINT, SIG_DFL);
	/* the last is the folder that ls reads */
	assert_string_equal(result.line, "0, 1, 2, 3");
	signal(SIGINT, SIG_IGN);
	assert_int_equal(run("awk '/SigIgn/ { print $2 }' /proc/self/status"), 0);
	signal(SIGINT, SIG_DFL);
	/* 32 and 33 are the C library's own, which nobody can set: they are as whoever started this left them */
	assert_int_equal(strtoull(result.line, NULL, 16) & ~(3ULL << 31), 0);
}

static void numbers_in_lines(void **state)
{
	static const struct {
		const char *line;
		double value;
	} known[] = { { "42", 42 }, { "p99 = 1.25 ms", 1.25 }, { "a 1 b 2", 2 }, { "-3e-2", -0.03 },
		{ "lat p99=12ms", 12 }, { "50%", 50 }, { "1, 2, 3.", 3 }, { "+.5", 0.5 },
		{ "7 p99", 7 }, { "8 0x10", 8 }, { "9 inf nan", 9 }, { "10 1e999", 10 } };
	static const char *const none[] = { "", "no number", "p99", "0x10", "inf", "nan", "-", ".",
		"1e999" };
	double value = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (!command_number(known[i].line, &value))
			fail_msg("no number in \"%s\"", known[i].line);
		if (value < known[i].value - 1e-9 || value > known[i].value + 1e-9)
			fail_msg("%g in \"%s\"", value, known[i].line);
	}
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		if (command_number(none[i], &value))
			fail_msg("%g in \"%s\"", value, none[i]);
	}
	assert_true(command_metric(" metric=12.5 ", &value));
	assert_float_equal(value, 12.5, 1e-9);
	assert_false(command_metric("metric=", &value));
	assert_false(command_metric("metric=12ms", &value));
	assert_false(command_metric("the metric=12", &value));
}

static int setup(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_line_that_is_not_empty),
		cmocka_unit_test(a_failure_has_a_sentence),
		cmocka_unit_test(output_is_bounded_and_never_waited_for),
		cmocka_unit_test(what_hangs_is_killed_with_all_it_began),
		cmocka_unit_test(nobody_waits_any_more),
		cmocka_unit_test(time_is_measured),
		cmocka_unit_test(signals_and_descriptors_are_its_own),
		cmocka_unit_test(numbers_in_lines),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
