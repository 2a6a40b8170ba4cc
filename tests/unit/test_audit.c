// SPDX-License-Identifier: Apache-2.0
/*
 * test_audit.c - semantosctl history, explain, audit, rollback, recover, unquarantine on a fake root: what they print
 * and the exit codes they give, with an agent at work and without.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include "agent/cli/cmd_safety.h"
#include "agent/util/exitcode.h"
#include "tests/unit/safety_root.h"

static struct fake f;
static char said[32768];

static int setup(void **state)
{
	(void)state;
	fake_make(&f);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_unmake(&f);
	return 0;
}

static const char *observed; /* one word more for the next command, NULL = none */

/* Run one command on the fake root; what it prints, on either stream, is in `said`. */
static int run(int (*command)(int, char **), const char *arg, const char *more)
{
	char *argv[] = { (char *)"command", (char *)"--dir", f.dir, (char *)"--root", f.root,
		(char *)(arg ? arg : more), (char *)(arg ? more : NULL), (char *)observed, NULL };
	int argc = 5 + (arg != NULL) + (more != NULL) + (observed != NULL), code, out, keep[2];
	char *text;

	fflush(stdout);
	keep[0] = dup(1);
	keep[1] = dup(2);
	file_put(f.root, "said", "");
	{
		char path[128];

		snprintf(path, sizeof(path), "%s/said", f.root);
		out = open(path, O_WRONLY | O_APPEND);
	}
	dup2(out, 1);
	dup2(out, 2);
	close(out);
	code = command(argc, argv);
	fflush(stdout);
	dup2(keep[0], 1);
	dup2(keep[1], 2);
	close(keep[0]);
	close(keep[1]);
	text = file_read(f.root, "said", NULL);
	snprintf(said, sizeof(said), "%s", text);
	free(text);
	return code;
}

static void has(const char *word)
{
	if (!strstr(said, word))
		fail_msg("\"%s\" is not in: %s", word, said);
}

static void test_nothing_yet(void **state)
{
	(void)state;
	assert_int_equal(run(cmd_history, NULL, NULL), EXIT_CODE_NOT_FOUND);
	assert_int_equal(run(cmd_audit, NULL, NULL), EXIT_CODE_NOT_FOUND);
	assert_int_equal(run(cmd_explain, "1", NULL), EXIT_CODE_NOT_FOUND);
	assert_int_equal(run(cmd_rollback, "1", NULL), EXIT_CODE_NOT_FOUND);
	assert_int_equal(run(cmd_unquarantine, "linnos", NULL), EXIT_CODE_NOT_FOUND);
	/* nothing to undo is no failure: a service's end runs it every time */
	assert_int_equal(run(cmd_recover, NULL, NULL), EXIT_CODE_OK);
	assert_int_equal(run(cmd_explain, "x", NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(cmd_explain, "0", NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(cmd_explain, NULL, NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(cmd_history, "--nonsense", NULL), EXIT_CODE_USAGE);
	assert_int_equal(run(cmd_audit, "--help", NULL), EXIT_CODE_OK);
	has("Usage: semantosctl audit");
}

static void test_all(void **state)
{
	struct exit_record exit = {
		.policy = "linnos", .kind = "slo", .reason = "p99 rose", .evidence = "33 ms"
	};
	struct safety_error error;
	uint64_t id, never;
	struct safety *s;
	bool quarantined;
	char number[24];
	json_t *json;

	(void)state;
	/* the commands know no clock but the machine's */
	f.options.clock = NULL;
	assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
	assert_int_equal(run(cmd_history, NULL, NULL), EXIT_CODE_OK);
	has("Nothing was changed yet.");
	assert_int_equal(change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "10", &id, &error), 0);
	assert_int_equal(change_one(s, "tuner", CHANGE_NEVER, READ_AHEAD, "64", &never, &error), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(safety_exit(s, &exit, &quarantined, &error), 0);
	/* beside an agent: looking is allowed, changing is not */
	assert_int_equal(run(cmd_history, NULL, NULL), EXIT_CODE_OK);
	has("applied");
	has("ejected");
	has("slo: p99 rose; 33 ms");
	has("quarantined");
	has("tuner: sysctl:vm.swappiness 060 -> 10, because a test asks for it");
	assert_int_equal(run(cmd_audit, NULL, NULL), EXIT_CODE_OK);
	has("2 changes are in force, 0 of them");
	snprintf(number, sizeof(number), "%llu", (unsigned long long)id);
	assert_int_equal(run(cmd_rollback, number, NULL), EXIT_CODE_BUSY);
	has("running agent");
	assert_int_equal(run(cmd_recover, NULL, NULL), EXIT_CODE_BUSY);
	assert_int_equal(run(cmd_unquarantine, "linnos", NULL), EXIT_CODE_BUSY);
	safety_close(s, SAFETY_UPGRADE);

	/* without one */
	assert_int_equal(run(cmd_recover, NULL, NULL), EXIT_CODE_OK);
	has("0 changes were rolled back, 0 left alone");
	assert_int_equal(run(cmd_explain, number, NULL), EXIT_CODE_OK);
	has("evidence: p99 21 ms");
	has("echo 060 > /proc/sys/vm/swappiness");
	observed = "--observed=p99 22 ms";
	assert_int_equal(run(cmd_rollback, number, "--because=why not"), EXIT_CODE_OK);
	observed = NULL;
	has("is rolled back");
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
	assert_int_equal(run(cmd_rollback, number, NULL), EXIT_CODE_REFUSED);
	has("rolled-back already");
	assert_int_equal(run(cmd_explain, number, NULL), EXIT_CODE_OK);
	has("because why not");
	assert_int_equal(run(cmd_unquarantine, "linnos", NULL), EXIT_CODE_OK);
	has("linnos may be attached again");
	assert_int_equal(run(cmd_unquarantine, "linnos", NULL), EXIT_CODE_NOT_FOUND);

	assert_int_equal(run(cmd_history, "--json", NULL), EXIT_CODE_OK);
	json = json_loads(said, 0, NULL);
	assert_non_null(json);
	has("Z\",\"id\":");
	/* two changes, three ejections, a quarantine and its end */
	assert_int_equal(json_array_size(json_object_get(json, "history")), 7);
	json_decref(json);
	assert_int_equal(run(cmd_audit, "--json", NULL), EXIT_CODE_OK);
	json = json_loads(said, 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(json, "open")), 1);
	json_decref(json);
	assert_int_equal(run(cmd_explain, number, "--json"), EXIT_CODE_OK);
	json = json_loads(said, 0, NULL);
	assert_true(json_is_true(json_object_get(json, "ok")));
	assert_string_equal(json_string_value(json_object_get(json, "state")), "rolled-back");
	assert_string_equal(json_string_value(json_object_get(json, "owner")), "tuner");
	assert_string_equal(json_string_value(json_object_get(json, "evidence")), "p99 21 ms");
	assert_string_equal(json_string_value(json_object_get(json, "observed")), "p99 22 ms");
	assert_string_equal(json_string_value(json_object_get(json, "undo")), "");
	assert_string_equal(json_string_value(json_object_get(
				    json_array_get(json_object_get(json, "knobs"), 0), "readback")),
		"10");
	json_decref(json);
	snprintf(number, sizeof(number), "%llu", (unsigned long long)never);
	assert_int_equal(run(cmd_explain, number, "--json"), EXIT_CODE_OK);
	has("\"undo\":\"semantosctl rollback");
}

static void test_forced_recovery(void **state)
{
	struct safety_error error;
	struct safety *s;
	uint64_t id;

	(void)state;
	f.options.clock = NULL;
	assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
	assert_int_equal(change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "10", &id, &error), 0);
	safety_close(s, SAFETY_UPGRADE);
	assert_int_equal(run(cmd_recover, NULL, NULL), EXIT_CODE_OK);
	has("1 stay in force");
	/* a service manager says that the unit ended as it should */
	setenv("SERVICE_RESULT", "success", 1);
	assert_int_equal(run(cmd_recover, NULL, NULL), EXIT_CODE_OK);
	unsetenv("SERVICE_RESULT");
	has("1 stay in force");
	assert_true(file_is(f.root, SWAPPINESS_FILE, "10"));
	assert_int_equal(run(cmd_recover, "--force", NULL), EXIT_CODE_OK);
	has("1 changes were rolled back");
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
}

/* What was left for a successor that does not start would be in force with nobody to undo it. */
static void test_successor_that_failed(void **state)
{
	struct safety_error error;
	struct safety *s;
	uint64_t id;

	(void)state;
	f.options.clock = NULL;
	assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
	assert_int_equal(change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "10", &id, &error), 0);
	safety_close(s, SAFETY_UPGRADE);
	setenv("SERVICE_RESULT", "exit-code", 1);
	assert_int_equal(run(cmd_recover, NULL, NULL), EXIT_CODE_OK);
	unsetenv("SERVICE_RESULT");
	has("1 changes were rolled back");
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
}

static void test_damage(void **state)
{
	struct safety_error error;
	struct safety *s;
	uint64_t id;
	char *bytes;
	size_t n;

	(void)state;
	assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
	assert_int_equal(change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "10", &id, &error), 0);
	safety_close(s, SAFETY_UPGRADE);
	bytes = file_read(f.dir, "journal", &n);
	bytes[n - 20] ^= 1;
	file_write(f.dir, "journal", bytes, n);
	free(bytes);
	assert_int_equal(run(cmd_audit, NULL, NULL), EXIT_CODE_REFUSED);
	has("damaged at byte");
	/* what stands before the damage is shown */
	assert_int_equal(run(cmd_history, NULL, NULL), EXIT_CODE_REFUSED);
	has("tuner: sysctl:vm.swappiness");
	has("damaged at byte");
	assert_int_equal(run(cmd_recover, NULL, NULL), EXIT_CODE_REFUSED);
	assert_int_equal(run(cmd_recover, "--json", NULL), EXIT_CODE_REFUSED);
	assert_true(said[0] == '{');
	assert_true(file_is(f.root, SWAPPINESS_FILE, "10"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = { T(test_nothing_yet), T(test_all),
		T(test_forced_recovery), T(test_successor_that_failed), T(test_damage) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
