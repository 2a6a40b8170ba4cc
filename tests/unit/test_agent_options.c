// SPDX-License-Identifier: Apache-2.0
/*
 * test_agent_options.c - the command line of semantos-agent: what is taken, what is refused with a sentence.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/cli/agent_options.h"

#define MOST_ARGS 64

static struct agent_options options;
static char error[256];

static int parse_as(const char *exe, char *words)
{
	char *argv[MOST_ARGS] = { (char *)(uintptr_t)"semantos-agent" };
	int argc = 1;

	for (char *word = strtok(words, " "); word && argc < MOST_ARGS - 1;
		word = strtok(NULL, " "))
		argv[argc++] = word;
	error[0] = 0;
	return agent_options_parse(argc, argv, exe, &options, error, sizeof(error));
}

/* The strings live as long as the words do: one array a call. */
#define parse(text)                                          \
	({                                                   \
		static char words[] = text;                  \
		parse_as("/none/bin/semantos-agent", words); \
	})

/* Refused, by a sentence that names `what`. */
#define refused(text, what)                                      \
	do {                                                     \
		assert_int_equal(parse(text), -EINVAL);          \
		assert_non_null(strstr(error, what));            \
		assert_int_equal(error[strlen(error) - 1], '.'); \
	} while (0)

static void nothing_given_is_the_default(void **state)
{
	(void)state;
	assert_int_equal(parse(""), 0);
	assert_int_equal(options.n_policies, 0);
	assert_null(options.mode);
	assert_null(options.exercise);
	assert_null(options.socket);
	assert_null(options.core.state_dir);
	assert_int_equal(options.duration_s, 0);
	assert_int_equal(options.learn_timeout_s, 0);
	assert_false(options.json || options.quiet || options.no_api || options.core.fresh);
	assert_string_equal(options.core.policy_path, "/usr/lib/semantos/policies");
}

static void everything_is_taken(void **state)
{
	(void)state;
	assert_int_equal(
		parse("--policy linnos,template --policy mine --mode canary:10 --device nvme* "
		      "--device vdb --exclude nvme9n1 --exercise /mnt --rows 3000 --fresh "
		      "--learn-timeout 30 --duration 60 --json -q --policy-path /a:/b "
		      "--state-dir /s --run-dir /r --bpffs-dir /b --socket /k --no-api"),
		0);
	assert_int_equal(options.n_policies, 3);
	assert_string_equal(options.policy[0], "linnos");
	assert_string_equal(options.policy[1], "template");
	assert_string_equal(options.policy[2], "mine");
	assert_string_equal(options.mode, "canary:10");
	assert_int_equal(options.core.n_device, 2);
	assert_string_equal(options.core.device[1], "vdb");
	assert_int_equal(options.core.n_exclude, 1);
	assert_string_equal(options.exercise, "/mnt");
	assert_int_equal(options.core.min_rows, 3000);
	assert_int_equal(options.learn_timeout_s, 30);
	assert_int_equal(options.duration_s, 60);
	assert_true(options.json && options.quiet && options.no_api && options.core.fresh);
	assert_string_equal(options.core.policy_path, "/a:/b");
	assert_string_equal(options.core.state_dir, "/s");
	assert_string_equal(options.core.run_dir, "/r");
	assert_string_equal(options.core.bpffs_dir, "/b");
	assert_string_equal(options.socket, "/k");
}

static void duration_bounds_learning_unless_told(void **state)
{
	(void)state;
	assert_int_equal(parse("--duration 5"), 0);
	assert_int_equal(options.learn_timeout_s, 600);
	assert_int_equal(parse("--duration 5 --learn-timeout 0"), 0);
	assert_int_equal(options.learn_timeout_s, 0);
	assert_int_equal(parse("--learn-timeout 0 --duration 5"), 0);
	assert_int_equal(options.learn_timeout_s, 0);
}

static void numbers_out_of_range_are_refused(void **state)
{
	(void)state;
	refused("--duration soon", "--duration takes a whole number");
	refused("--duration -1", "'-1'");
	refused("--duration 5s", "'5s'");
	refused("--duration 31536001", "31536000");
	refused("--duration 99999999999999999999", "--duration");
	refused("--rows 1000001", "1000000");
	refused("--rows 1e3", "'1e3'");
	refused("--learn-timeout ten", "--learn-timeout");
	assert_int_equal(parse("--duration 31536000"), 0);
}

static void words_out_of_place_are_refused(void **state)
{
	(void)state;
	refused("--nonsense", "--nonsense");
	refused("--duration", "--duration");
	refused("linnos", "'linnos'");
	refused("--mode loud", "--mode is shadow");
	refused("--mode canary:0", "canary:N");
	refused("--mode canary:100", "canary:N");
	refused("--policy ,linnos", "--policy");
	refused("--policy a23456789012345678901234567890123", "31 characters");
	refused("--policy 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", "16 names");
	assert_int_equal(parse("--mode enforce"), 0);
	assert_int_equal(parse("--policy a234567890123456789012345678901"), 0);
}

static void empty_patterns_are_refused(void **state)
{
	char *argv[] = { (char *)(uintptr_t)"semantos-agent", (char *)(uintptr_t)"--device",
		(char *)(uintptr_t)"", NULL };

	(void)state;
	assert_int_equal(
		agent_options_parse(3, argv, "/x", &options, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "empty"));
}

static void help_and_version_are_noticed(void **state)
{
	char text[4096] = "";
	FILE *file = fmemopen(text, sizeof(text), "w");

	(void)state;
	assert_int_equal(parse("--help"), 0);
	assert_true(options.show_help);
	assert_int_equal(parse("--version"), 0);
	assert_true(options.show_version);
	agent_options_help(file);
	fclose(file);
	assert_non_null(strstr(text, "--exercise DIR"));
	assert_non_null(strstr(text, "--learn-timeout S"));
}

static void policies_beside_the_program_come_first(void **state)
{
	char dir[] = "/tmp/semantos-options-XXXXXX", path[128], exe[128], none[] = "";

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(exe, sizeof(exe), "%s/semantos-agent", dir);
	snprintf(path, sizeof(path), "%s/policies", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(parse_as(exe, none), 0);
	assert_string_equal(options.core.policy_path, path);
	rmdir(path);
	rmdir(dir);
}

static void telemetry_is_on_by_default(void **state)
{
	(void)state;
	assert_int_equal(parse(""), 0);
	assert_false(options.no_telemetry || options.no_syscalls);
	assert_null(options.metrics);
	assert_int_equal(parse("--no-telemetry --no-syscall-rate --telemetry-interval 7 --metrics "
			       "127.0.0.1:1"),
		0);
	assert_true(options.no_telemetry && options.no_syscalls);
	assert_int_equal(options.telemetry_interval_s, 7);
	assert_string_equal(options.metrics, "127.0.0.1:1");
	refused("--telemetry-interval 0", "1 to 300");
	refused("--telemetry-interval 301", "300");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(telemetry_is_on_by_default),
		cmocka_unit_test(nothing_given_is_the_default),
		cmocka_unit_test(everything_is_taken),
		cmocka_unit_test(duration_bounds_learning_unless_told),
		cmocka_unit_test(numbers_out_of_range_are_refused),
		cmocka_unit_test(words_out_of_place_are_refused),
		cmocka_unit_test(empty_patterns_are_refused),
		cmocka_unit_test(help_and_version_are_noticed),
		cmocka_unit_test(policies_beside_the_program_come_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
