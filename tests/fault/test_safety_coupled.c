// SPDX-License-Identifier: Apache-2.0
/*
 * test_safety_coupled.c - dirty_ratio and dirty_bytes, where writing one sets the other to 0, and a disk's max_sectors_kb,
 * which sets its read_ahead_kb anew: the pair comes back as it was, whichever of the two was in force, and wherever the
 * agent is killed.
 *
 * The fake root's files do not know each other, so after each write of the child the test does what the kernel does;
 * on the settings of a machine of the lab (SEMANTOS_REAL_KNOBS) the kernel does it.
 *
 * timeout: 400
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/fault/steps.h"
#include "tests/unit/safety_root.h"

static struct fake f;

/* A change of `name` to `value`, then its rollback; or recovery. */
struct work {
	const char *name, *value;
	bool rollback, recover, swap;
};

static int operate(void *arg)
{
	const struct work *work = arg;
	struct safety_report report;
	struct safety_error error;
	struct safety *s;
	uint64_t id;

	if (work->recover) {
		steps_begin();
		return safety_recover(&f.options, &report, &error) ? 1 : 0;
	}
	if (safety_open(&s, &f.options, &report, &error))
		return 2;
	steps_begin();
	if (change_one(s, "tuner", CHANGE_AUTO, work->name, work->value, &id, &error)) {
		fprintf(stderr, "%s\n", error.text);
		return 3;
	}
	for (int i = 0; work->swap && i < 4; i++) {
		if (safety_swap(s, id, i % 2 != 0, &error)) {
			fprintf(stderr, "%s\n", error.text);
			return 5;
		}
	}
	if (work->rollback && safety_rollback(s, id, "a test ends", NULL, &error))
		return 4;
	return 0;
}

struct kernel {
	long kill_at; /* -1 = never */
	int other; /* the knob just written: 1 = bytes, 2 = ratio */
};

/* The kernel's part: after a write that was carried out, the other one reads 0. */
static enum step_action couple(void *ctx, struct step *step)
{
	struct kernel *k = ctx;

	if (step->before && step->call == SYS_pwrite64)
		k->other = step_on(step, "/dirty_bytes")   ? 1
			   : step_on(step, "/dirty_ratio") ? 2
							   : 0;
	if (!f.real && !step->before && step->call == SYS_pwrite64 && k->other) {
		file_put(f.root, k->other == 1 ? DIRTY_RATIO_FILE : DIRTY_BYTES_FILE, "0\n");
		k->other = 0;
	}
	return step->n == k->kill_at ? STEP_KILL : STEP_GO_ON;
}

static void begin_anew(const char *ratio, const char *bytes)
{
	dir_remove(f.dir);
	fake_reset_knobs(&f);
	/* a real one refuses 0 bytes, and sets the other to 0 by itself */
	if (!f.real || strcmp(ratio, "0") != 0)
		file_put(f.root, DIRTY_RATIO_FILE, ratio);
	if (!f.real || strcmp(bytes, "0") != 0)
		file_put(f.root, DIRTY_BYTES_FILE, bytes);
}

static void pair(struct work *work, const char *ratio, const char *bytes)
{
	struct work recover = { .recover = true };
	long n, steps;

	for (n = 0;; n++) {
		struct kernel kernel = { .kill_at = n };
		int status;

		begin_anew(ratio, bytes);
		status = steps_run(operate, work, couple, &kernel, &steps);
		if (WIFEXITED(status)) {
			assert_int_equal(status, 0);
			if (!work->rollback) {
				assert_true(file_is(f.root, DIRTY_BYTES_FILE, work->value));
				assert_true(file_is(f.root, DIRTY_RATIO_FILE, "0"));
			}
		}
		kernel = (struct kernel){ .kill_at = -1 };
		assert_int_equal(steps_run(operate, &recover, couple, &kernel, &(long){ 0 }), 0);
		if (!file_is(f.root, DIRTY_RATIO_FILE, ratio) ||
			!file_is(f.root, DIRTY_BYTES_FILE, bytes))
			fail_msg("killed at stop %ld: the pair is not as it was", n);
		if (WIFEXITED(status))
			break;
	}
	print_message(
		"%s: killed at each of %ld stops, the pair came back every time\n", work->name, n);
}

static void test_ratio_was_in_force(void **state)
{
	struct work work = { DIRTY_BYTES, "104857600", false, false, false };

	(void)state;
	pair(&work, "20", "0");
	work.rollback = true;
	pair(&work, "20", "0");
}

/* The old pair and the new one in turn. */
static void test_swapped(void **state)
{
	struct work work = { .name = DIRTY_BYTES, .value = "104857600", .swap = true };

	(void)state;
	pair(&work, "20", "0");
	pair(&work, "0", "209715200");
	work = (struct work){ .name = DIRTY_RATIO, .value = "40", .rollback = true, .swap = true };
	pair(&work, "0", "209715200");
}

static void test_bytes_were_in_force(void **state)
{
	struct work work = { DIRTY_RATIO, "40", true, false, false };

	(void)state;
	pair(&work, "0", "209715200");
	work = (struct work){ DIRTY_BYTES, "104857600", false, false, false };
	pair(&work, "0", "209715200");
}

#define MAX_SECTORS "sysfs:block/vda/queue/max_sectors_kb"
#define MAX_SECTORS_FILE "sys/block/vda/queue/max_sectors_kb"

struct limits {
	bool outright; /* as 6.12 does; else it is only raised, and a turning disk's to twice the limit */
	long kill_at;
	bool kill_between; /* once the limit is written, before read-ahead is */
	bool written;
};

/* The kernel's part: after a write of the limit read-ahead reads what goes with it. */
static enum step_action limit(void *ctx, struct step *step)
{
	struct limits *k = ctx;

	if (step->before && step->call == SYS_pwrite64)
		k->written = step_on(step, "/max_sectors_kb");
	if (step->before || step->call != SYS_pwrite64 || !k->written)
		return step->n == k->kill_at ? STEP_KILL : STEP_GO_ON;
	k->written = false;
	if (!f.real) {
		char *ahead = file_read(f.root, READ_AHEAD_FILE, NULL);
		char *most = file_read(f.root, MAX_SECTORS_FILE, NULL), text[32];
		int least = k->outright || 2 * atoi(most) < 128 ? 128 : 2 * atoi(most);

		snprintf(text, sizeof(text), "%d\n",
			!k->outright && atoi(ahead) > least ? atoi(ahead) : least);
		file_put(f.root, READ_AHEAD_FILE, text);
		free(ahead);
		free(most);
	}
	return k->kill_between || step->n == k->kill_at ? STEP_KILL : STEP_GO_ON;
}

static void swapped_limit(bool outright, const char *ahead, const char *was, const char *value)
{
	struct work work = { .name = MAX_SECTORS, .value = value, .rollback = true, .swap = true };
	struct work recover = { .recover = true };
	long n, steps;

	for (n = 0;; n++) {
		struct limits kernel = { .outright = outright, .kill_at = n };
		int status;

		dir_remove(f.dir);
		file_put(f.root, MAX_SECTORS_FILE, was);
		file_put(f.root, READ_AHEAD_FILE, ahead);
		status = steps_run(operate, &work, limit, &kernel, &steps);
		if (WIFEXITED(status))
			assert_int_equal(status, 0);
		/* whoever mends it is stopped between the two as well */
		kernel = (struct limits){
			.outright = outright, .kill_at = -1, .kill_between = true
		};
		steps_run(operate, &recover, limit, &kernel, &(long){ 0 });
		kernel.kill_between = false;
		assert_int_equal(steps_run(operate, &recover, limit, &kernel, &(long){ 0 }), 0);
		if (!file_is(f.root, MAX_SECTORS_FILE, was) ||
			!file_is(f.root, READ_AHEAD_FILE, ahead))
			fail_msg("%s -> %s, killed at stop %ld: the limit is %.5s, read-ahead "
				 "%.5s, not %s",
				was, value, n, file_read(f.root, MAX_SECTORS_FILE, NULL),
				file_read(f.root, READ_AHEAD_FILE, NULL), ahead);
		if (WIFEXITED(status))
			break;
	}
	print_message("%s -> %s: killed at each of %ld stops, read-ahead was %s again every time\n",
		was, value, n, ahead);
}

static void test_swapped_limit(void **state)
{
	char *was = f.real ? file_read(f.root, MAX_SECTORS_FILE, NULL) : NULL;

	(void)state;
	swapped_limit(false, "16", "256", "128");
	swapped_limit(false, "16", "128", "256");
	if (!f.real) {
		swapped_limit(false, "16", "32", "64");
		swapped_limit(true, "1024", "256", "128");
		swapped_limit(true, "0", "128", "256");
	}
	if (was)
		file_put(f.root, MAX_SECTORS_FILE, was);
	free(was);
}

static int setup(void **state)
{
	(void)state;
	fake_make(&f);
	f.options.clock = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_unmake(&f);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_ratio_was_in_force),
		cmocka_unit_test(test_bytes_were_in_force), cmocka_unit_test(test_swapped),
		cmocka_unit_test(test_swapped_limit) };

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	if (argc > 2)
		cmocka_set_skip_filter(argv[2]);
	return cmocka_run_group_tests(tests, setup, teardown);
}
