// SPDX-License-Identifier: Apache-2.0
/*
 * test_safety_race.c - somebody else writes the same knob between any two system calls of ours: their value stays.
 *
 * Interleavings are enumerated: one foreign write at every stop of apply, rollback and recovery, then two at every
 * pair of stops, 1,000 in all (each pair there is with SEMANTOS_SOAK=1). On the settings of an emulated machine,
 * SEMANTOS_REAL_KNOBS, it is only one write at every stop, and 1,000 in all with SEMANTOS_SOAK=1. The one exception is
 * the window that agent/safety/undo.h states: a foreign write that falls between our compare and the write that follows
 * it is lost. How many fell there is printed, and checked to be no more than the stops between those two calls.
 *
 * timeout: 300
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "tests/fault/steps.h"
#include "tests/unit/safety_root.h"

#define INTERLEAVINGS 1000

static struct fake f;

enum operation { APPLY, ROLLBACK, RECOVER, N_OPERATIONS };
static const char *const names[] = { "apply", "rollback", "recover" };

static int operate(void *arg)
{
	enum operation op = *(enum operation *)arg;
	struct safety_report report;
	struct safety_error error;
	struct safety *s;
	uint64_t id;

	if (op == RECOVER) {
		steps_begin();
		safety_recover(&f.options, &report, &error);
		return 0;
	}
	if (safety_open(&s, &f.options, &report, &error))
		return 2;
	if (op == ROLLBACK && change_two(s, CHANGE_AUTO, &id, &error))
		return 3;
	steps_begin();
	if (op == APPLY)
		change_two(s, CHANGE_AUTO, &id, &error);
	else if (safety_rollback(s, id, "a test ends", NULL, &error))
		return 4;
	return 0;
}

/* One or two foreign writes, and where the last of them fell. */
struct foreign {
	long at[2]; /* -1 = none */
	const char *file;
	const char
		*last; /* what it wrote last: a run it cut short does not reach the second stop */
	bool after_read; /* the last foreign write came right after our read of this knob */
	bool in_window; /* and our write followed at once */
};

static enum step_action interfere(void *ctx, struct step *step)
{
	struct foreign *who = ctx;
	bool now = step->n == who->at[0] || step->n == who->at[1];
	bool our_write =
		step->before && step->call == SYS_pwrite64 && step_to(step, f.root, who->file);

	if (our_write && who->after_read)
		who->in_window = true;
	if (step->before)
		who->after_read = false;
	if (!now)
		return STEP_GO_ON;
	who->last = step->n == who->at[1] ? "088" : "076";
	file_put(f.root, who->file, who->last);
	who->after_read =
		!step->before && step->call == SYS_pread64 && step_to(step, f.root, who->file);
	who->in_window = our_write;
	return STEP_GO_ON;
}

static void begin_anew(enum operation op)
{
	enum operation apply = APPLY;
	long steps;

	dir_remove(f.dir);
	fake_reset_knobs(&f);
	if (op == RECOVER)
		assert_int_equal(steps_run(operate, &apply, NULL, NULL, &steps), 0);
}

/* True when the foreign value was lost in the window. */
static bool one(enum operation op, struct foreign *who, long *steps)
{
	bool swappiness = strcmp(who->file, SWAPPINESS_FILE) == 0;
	const char *original = swappiness ? "060" : "128";
	struct safety_report report;
	struct safety_error error = { "" };
	struct safety_audit audit;
	int status;

	begin_anew(op);
	who->in_window = who->after_read = false;
	who->last = original;
	status = steps_run(operate, &op, interfere, who, steps);
	if (status)
		fail_msg("%s: status %x, foreign writes at %ld and %ld", names[op], status,
			who->at[0], who->at[1]);
	if (safety_recover(&f.options, &report, &error))
		fail_msg("%s: %s", names[op], error.text);
	/* what we restore is what the change found, which may be the first foreign value */
	if (!file_is(f.root, who->file, who->in_window ? original : who->last) &&
		!(who->in_window && who->at[1] >= 0 && file_is(f.root, who->file, "076")))
		fail_msg("%s: foreign writes at stops %ld and %ld, %s", names[op], who->at[0],
			who->at[1], who->in_window ? "in the window" : "outside the window");
	assert_true(file_is(f.root, swappiness ? READ_AHEAD_FILE : SWAPPINESS_FILE,
		swappiness ? "128" : "060"));
	assert_int_equal(safety_audit(f.dir, f.root, &audit, &error), 0);
	assert_int_equal(audit.open, 0);
	return who->in_window;
}

static void test_race(void **state)
{
	static const char *const files[] = { SWAPPINESS_FILE, READ_AHEAD_FILE };
	long done = 0, lost = 0, stops[N_OPERATIONS], lost_alone[N_OPERATIONS] = { 0 };
	bool soak = getenv("SEMANTOS_SOAK") != NULL;
	bool all = soak && !f.real, few = f.real && !soak;
	long wanted = few ? 0 : INTERLEAVINGS;

	(void)state;
	for (enum operation op = APPLY; op < N_OPERATIONS; op++) {
		struct foreign none = { .at = { -1, -1 }, .file = SWAPPINESS_FILE };

		begin_anew(op);
		assert_int_equal(steps_run(operate, &op, interfere, &none, &stops[op]), 0);
		for (size_t k = 0; k < (few ? 1 : 2); k++) {
			for (long n = 0; n < stops[op]; n++) {
				struct foreign who = { .at = { n, -1 }, .file = files[k] };
				long steps;

				lost_alone[op] += one(op, &who, &steps);
				done++;
			}
		}
		/* each knob is compared and written once: two stops lie between */
		assert_in_range(lost_alone[op], few ? 1 : 2, few ? 2 : 4);
		lost += lost_alone[op];
	}
	for (long distance = 1, more = 1; more && (all || done < wanted); distance++) {
		more = 0;
		for (enum operation op = APPLY; op < N_OPERATIONS; op++) {
			for (long n = 0; n + distance < stops[op]; n++) {
				struct foreign who = { .at = { n, n + distance },
					.file = files[n % 2] };
				long steps;

				if (!all && done >= wanted)
					break;
				lost += one(op, &who, &steps);
				more = ++done;
			}
		}
	}
	print_message(
		"%ld interleavings, %ld of them in the stated window, the foreign value stood in "
		"all others\n",
		done, lost);
	assert_true(done > 0 && done >= wanted);
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
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_race) };

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, setup, teardown);
}
