// SPDX-License-Identifier: Apache-2.0
/*
 * test_safety_stop.c - a process is to be stopped and the Nth call into the C library fails, N = 0, 1, … until none is left;
 * a value is swapped, and the kernel takes it without a word and does nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/fault/calls.h"

static pid_t victim;

/* calls.h would have another agent come in between; here none does. */
static void take_over(void)
{
}

static char victim_state(void)
{
	char path[40], text[256] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", victim);
	file = fopen(path, "re");
	assert_true(file && fgets(text, sizeof(text), file));
	fclose(file);
	return strrchr(text, ')')[2];
}

/* A stop that failed, at whichever call, leaves nothing stopped. */
static void a_stop_that_fails(void **state)
{
	static const int errnos[] = { EPERM, ENOENT, 0, -1 };
	struct safety_error error;
	char name[64], full[RECORD_NAME_MAX], value[RECORD_VALUE_MAX];
	struct knob knob;
	int errors = 0;

	(void)state;
	snprintf(name, sizeof(name), "sched:%d/state", victim);
	assert_int_equal(knob_full_name(name, full, &error), 0);
	assert_int_equal(knob_open(&knob, f.root, full, true, &error), 0);
	for (size_t k = 0; k < sizeof(errnos) / sizeof(errnos[0]); k++) {
		with = errnos[k];
		from_there_on = false;
		for (long n = 0;; n++) {
			int err;

			counted = 0;
			fired = false;
			nth = n;
			err = knob_write(&knob, "stopped");
			nth = -1;
			if (err) {
				errors++;
				for (int i = 0; i < 1000 && victim_state() == 'T'; i++)
					usleep(1000);
				assert_int_not_equal(victim_state(), 'T');
			}
			assert_int_equal(knob_write(&knob, "running"), 0);
			if (!fired)
				break;
			assert_true(n < 100);
			nth = n;
			counted = 0;
			err = knob_read(&knob, value);
			nth = -1;
			assert_true(err || strcmp(value, "running") == 0);
		}
	}
	knob_close(&knob);
	print_message("a stop that fails: %d times, nothing stays stopped\n", errors);
	assert_true(errors >= 8);
}

/* What was swapped is looked at. */
static void what_is_swapped_and_does_not_stand(void **state)
{
	static const struct safety_knob knob = { SWAPPINESS, "99" };
	struct safety_request rq = { .owner = "tuner",
		.mode = CHANGE_AUTO,
		.knob = &knob,
		.n_knobs = 1,
		.because = "a test asks for it" };
	struct safety_error error;
	uint64_t id;
	char *value;
	int err;

	(void)state;
	assert_int_equal(safety_open(&agent, &f.options, NULL, &error), 0);
	/* to the old value, to the new one again, and to a new one that was announced for later */
	for (int way = 0; way < 3; way++) {
		f.boot_ns += SAFETY_RETRY_WINDOW_NS;
		rq.later = way == 2;
		assert_int_equal(safety_apply(agent, &rq, &id, &error), 0);
		if (way == 1)
			assert_int_equal(safety_swap(agent, id, false, &error), 0);
		swallow = true;
		assert_int_equal(safety_swap(agent, id, way > 0, &error), -EIO);
		assert_non_null(strstr(error.text, way ? "99 was written" : "60 was written"));
		swallow = false;
		/* undone at once, or when the kernel takes values again */
		err = safety_rollback(agent, id, "a test ends", NULL, &error);
		assert_true(err == 0 || err == -EALREADY);
		value = file_read(f.root, SWAPPINESS_FILE, NULL);
		assert_int_equal(atoi(value), 60);
		free(value);
	}
	safety_close(agent, SAFETY_STOP);
	agent = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_stop_that_fails),
		cmocka_unit_test(what_is_swapped_and_does_not_stand) };
	int failed;

	victim = fork();
	if (victim == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	fake_make(&f);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	kill(victim, SIGKILL);
	waitpid(victim, NULL, 0);
	dir_remove(f.root);
	return failed;
}
