// SPDX-License-Identifier: Apache-2.0
/*
 * test_safety_crash.c - the agent is killed before and after every system call of apply, keep, rollback, breach, swap, of a
 * change on a kept one, promotion, ejection, recovery, a new segment, its end and an upgrade; then recovery runs: knobs as they should be, the log intact,
 * every time.
 *
 * Enumerated, not sampled: N = 0, 1, … until the operation ends by itself. Counts are printed. The knobs are files of
 * a fake root.
 *
 * timeout: 300
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "agent/safety/journal.h"
#include "tests/fault/steps.h"
#include "tests/unit/safety_root.h"

static struct fake f;

/* What the child does; each begins at the same state, which it makes before steps_begin(). */
enum operation {
	APPLY,
	KEEP,
	ROLLBACK,
	BREACH,
	RECOVER,
	ROTATE,
	CLOSE,
	UPGRADE,
	SWAP,
	STACK,
	PROMOTE,
	DEMOTE,
	EJECT,
	N_OPERATIONS
};
static const char *const names[] = { "apply", "keep", "rollback", "breach", "recover",
	"new segment", "close", "upgrade", "swap", "change on a kept one", "promotion", "demotion",
	"ejection" };

/* Half of a policy's life, on record by its id; 0 or -errno. */
static int note(struct safety *s, const char *from, const char *to)
{
	struct policy_event event = { .policy = "tuner", .sentence = "s", .evidence = "e" };
	struct safety_error error;

	strcpy(event.from, from);
	strcpy(event.to, to);
	return safety_note(s, &event, &error);
}

static int eject(struct safety *s)
{
	struct exit_record ejection = { .policy = "tuner", .kind = "slo", .reason = "slow" };
	struct safety_error error;
	bool quarantined;

	return safety_exit(s, &ejection, &quarantined, &error);
}

static int operate(void *arg)
{
	enum operation op = *(enum operation *)arg;
	struct safety_report report;
	struct safety_error error;
	uint64_t id = 0, other;
	struct safety *s;
	int err;

	if (op == RECOVER) {
		steps_begin();
		return safety_recover(&f.options, &report, &error) ? 1 : 0;
	}
	f.options.max_bytes = op == ROTATE ? 1024 : 0;
	if (safety_open(&s, &f.options, &report, &error))
		return 2;
	if (op == STACK && (change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "040", &id, &error) ||
				   safety_keep(s, id, "better", &error)))
		return 3;
	if (op != APPLY && op != STACK && change_two(s, CHANGE_AUTO, &id, &error))
		return 3;
	if (op == PROMOTE || op == DEMOTE)
		note(s, "detached", "canary:10");
	if (op == DEMOTE)
		note(s, "canary:10", "enforce");
	if (op == EJECT)
		eject(s), eject(s);
	steps_begin();
	switch (op) {
	case APPLY:
		err = change_two(s, CHANGE_AUTO, &id, &error);
		break;
	case KEEP:
		err = safety_keep(s, id, "better", &error);
		break;
	case ROLLBACK:
		err = safety_rollback(s, id, "a test ends", NULL, &error);
		break;
	case BREACH:
		err = (int)safety_breach(s, "tuner", "p99 rose");
		break;
	case ROTATE:
		err = change_one(s, "kml", CHANGE_AUTO, DIRTY_RATIO, "40", &other, &error);
		break;
	case PROMOTE:
		err = note(s, "canary:10", "enforce");
		break;
	case DEMOTE:
		err = (int)safety_breach(s, "tuner", "p99 rose") | note(s, "enforce", "shadow");
		break;
	/* as the agent does it: the ejection is the third, so that a quarantine follows */
	case EJECT:
		err = eject(s) | (int)safety_breach(s, "tuner", "it was ejected");
		break;
	/* two slices under the new values, each after one under the old ones */
	case SWAP:
		err = safety_swap(s, id, false, &error) | safety_swap(s, id, true, &error) |
		      safety_swap(s, id, false, &error) | safety_swap(s, id, true, &error);
		break;
	/* what was kept is tried further, and that is kept too */
	case STACK:
		err = change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "010", &id, &error) |
		      safety_swap(s, id, false, &error) | safety_swap(s, id, true, &error) |
		      safety_keep(s, id, "better", &error);
		break;
	case UPGRADE:
		safety_close(s, SAFETY_UPGRADE);
		return 0;
	default:
		err = (int)safety_close(s, SAFETY_STOP);
	}
	return err ? 4 : 0;
}

static enum step_action kill_at(void *ctx, struct step *step)
{
	return step->n == *(long *)ctx ? STEP_KILL : STEP_GO_ON;
}

static void begin_anew(enum operation op)
{
	enum operation apply = APPLY;
	long steps;

	dir_remove(f.dir);
	fake_reset_knobs(&f);
	if (op != RECOVER)
		return;
	/* something to recover: an agent that ended without a word */
	assert_int_equal(steps_run(operate, &apply, NULL, NULL, &steps), 0);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "010"));
}

static bool originals(void)
{
	return file_is(f.root, SWAPPINESS_FILE, "060") && file_is(f.root, READ_AHEAD_FILE, "128") &&
	       file_is(f.root, DIRTY_RATIO_FILE, "20");
}

static void check_log(const char *what, long n)
{
	struct safety_audit audit;
	struct safety_error error = { "" };

	if (safety_audit(f.dir, f.root, &audit, &error))
		fail_msg("%s killed at stop %ld: %s", what, n, error.text);
	if (audit.open != 0 || audit.torn)
		fail_msg("%s killed at stop %ld: %u changes are open", what, n, audit.open);
}

/* What a journal says of the policy. */
struct told {
	unsigned int notes, ejections;
	char mode[RECORD_OWNER_MAX];
	uint64_t id;
};

static int tell(void *ctx, const struct record *record)
{
	struct told *told = ctx;

	told->ejections += record->kind == RECORD_EXIT;
	if (record->kind != RECORD_POLICY)
		return 0;
	told->notes++;
	told->id = record->policy.id;
	strcpy(told->mode, record->policy.to);
	return 0;
}

/*
 * The step is on record whole or not at all, and never without the ones before it; what is on record can be explained. True:
 * it is. A third ejection keeps the policy out, whether or not the quarantine that follows it came to be written.
 */
static bool check_policy(enum operation op, long n)
{
	static const char *const after[] = { "canary:10", "enforce", "shadow" };
	unsigned int before = op == PROMOTE ? 1 : op == DEMOTE ? 2 : 0;
	struct told told = { 0 };
	struct safety_error error = { "" };
	struct safety *s;
	char text[4096];

	assert_int_equal(safety_history(f.dir, tell, &told, &error), 0);
	if (op == EJECT) {
		assert_in_range(told.ejections, 2, 3);
		assert_int_equal(safety_attend(&s, &f.options, &error), 0);
		for (int i = 0; i < 2; i++) {
			int err = safety_admit(s, "tuner", &error);

			if (err != (told.ejections == 3 ? -EPERM : 0))
				fail_msg("stop %ld: %u ejections, admitted with %d", n,
					told.ejections, err);
		}
		safety_leave(s);
		return told.ejections == 3;
	}
	if (told.notes != before && told.notes != before + 1)
		fail_msg("%s killed at stop %ld: %u of %u events", names[op], n, told.notes,
			before + 1);
	assert_string_equal(told.mode, after[told.notes - 1]);
	assert_int_equal(safety_explain(f.dir, told.id, text, sizeof(text), &error), 0);
	assert_non_null(strstr(text, "evidence: e"));
	return told.notes > before;
}

static void sweep(enum operation op)
{
	long with = 0;
	struct safety_report report;
	struct safety_error error;
	long n, steps = 0;

	for (n = 0;; n++) {
		int status;

		begin_anew(op);
		status = steps_run(operate, &op, kill_at, &n, &steps);
		if (WIFEXITED(status)) {
			assert_int_equal(WEXITSTATUS(status), 0);
			break;
		}
		if (op == UPGRADE && n % 3 == 0) {
			/* killed on its way out: undone or left for the next agent, never in between */
			f.options.ignore_upgrade = false;
			if (safety_recover(&f.options, &report, &error))
				fail_msg("stop %ld: %s", n, error.text);
			assert_true(report.in_force == 1 ? file_is(f.root, SWAPPINESS_FILE, "010")
							 : originals());
		}
		f.options.ignore_upgrade = op == UPGRADE;
		if (safety_recover(&f.options, &report, &error))
			fail_msg("%s killed at stop %ld: %s", names[op], n, error.text);
		f.options.ignore_upgrade = false;
		if (!originals())
			fail_msg("%s killed at stop %ld: the knobs are not as they were", names[op],
				n);
		if (access(f.dir, F_OK) == 0)
			check_log(names[op], n);
		if (op >= PROMOTE)
			with += check_policy(op, n);
	}
	/* it is not on record at first, and is before the end */
	assert_true(op < PROMOTE || (with > 0 && with < n));
	print_message(
		"%s: killed at each of %ld stops, undone and recorded every time\n", names[op], n);
	assert_true(n > 6);
	assert_int_equal(n, steps);
	if (op == ROTATE)
		free(file_read(f.dir, "journal.0000000001", NULL));
}

#define SWEEP(name, op)                \
	static void name(void **state) \
	{                              \
		(void)state;           \
		sweep(op);             \
	}
SWEEP(test_apply, APPLY)
SWEEP(test_keep, KEEP)
SWEEP(test_rollback, ROLLBACK)
SWEEP(test_breach, BREACH)
SWEEP(test_recover, RECOVER)
SWEEP(test_new_segment, ROTATE)
SWEEP(test_close, CLOSE)
SWEEP(test_upgrade, UPGRADE)
SWEEP(test_swap, SWAP)
SWEEP(test_stack, STACK)
SWEEP(test_promotion, PROMOTE)
SWEEP(test_demotion, DEMOTE)
SWEEP(test_ejection, EJECT)

/* Recovery itself is killed, again and again, at its first stop, its second…: in the end all is undone. */
static void test_recovery_killed_each_time(void **state)
{
	enum operation recover = RECOVER;
	long n = 0, steps;

	(void)state;
	begin_anew(RECOVER);
	while (!WIFEXITED(steps_run(operate, &recover, kill_at, &n, &steps)))
		n++;
	assert_true(originals());
	check_log("recover", n);
}

/* A change that outlives its agent is made whole or not at all. */
static int apply_never(void *arg)
{
	struct safety_report report;
	struct safety_error error;
	struct safety *s;
	uint64_t id;

	(void)arg;
	if (safety_open(&s, &f.options, &report, &error))
		return 2;
	steps_begin();
	return change_two(s, CHANGE_NEVER, &id, &error) ? 4 : 0;
}

static void test_apply_never(void **state)
{
	long n, steps, whole = 0;

	(void)state;
	for (n = 0;; n++) {
		struct safety_report report;
		struct safety_error error = { "" };
		struct safety_audit audit;
		int status;

		begin_anew(APPLY);
		status = steps_run(apply_never, NULL, kill_at, &n, &steps);
		if (safety_recover(&f.options, &report, &error) ||
			safety_audit(f.dir, f.root, &audit, &error))
			fail_msg("killed at stop %ld: %s", n, error.text);
		assert_int_equal(audit.open, report.in_force);
		assert_int_equal(audit.differs, 0);
		assert_true(audit.open ? file_is(f.root, SWAPPINESS_FILE, "010") &&
						 file_is(f.root, READ_AHEAD_FILE, "512")
				       : originals());
		whole += audit.open;
		if (WIFEXITED(status))
			break;
	}
	assert_true(whole > 0);
	assert_true(whole < n);
}

/* Where the journal stands when a knob is written. */
struct ahead {
	long records, writes;
	bool dirty;
};

static enum step_action watch(void *ctx, struct step *step)
{
	struct ahead *a = ctx;

	if (!step->before)
		return STEP_GO_ON;
	if (step->call == SYS_pwrite64 && step_on(step, "/journal")) {
		a->dirty = true;
		a->records++;
	} else if (step->call == SYS_fsync && step_on(step, "/journal")) {
		a->dirty = false;
	} else if (step->call == SYS_pwrite64) {
		assert_true(a->records > 0);
		assert_false(a->dirty);
		a->writes++;
	}
	return STEP_GO_ON;
}

/* No knob is written while something announced is not on the disk. */
static void test_write_ahead(void **state)
{
	enum operation op = APPLY;
	struct ahead ahead = { 0 };
	long steps;

	(void)state;
	begin_anew(op);
	assert_int_equal(steps_run(operate, &op, watch, &ahead, &steps), 0);
	assert_int_equal(ahead.writes, 2);
	assert_int_equal(ahead.records, 2);
	assert_false(ahead.dirty);
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
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_ahead),
		cmocka_unit_test(test_apply),
		cmocka_unit_test(test_apply_never),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_rollback),
		cmocka_unit_test(test_breach),
		cmocka_unit_test(test_recover),
		cmocka_unit_test(test_new_segment),
		cmocka_unit_test(test_close),
		cmocka_unit_test(test_upgrade),
		cmocka_unit_test(test_swap),
		cmocka_unit_test(test_stack),
		cmocka_unit_test(test_promotion),
		cmocka_unit_test(test_demotion),
		cmocka_unit_test(test_ejection),
		cmocka_unit_test(test_recovery_killed_each_time),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	if (argc > 2)
		cmocka_set_skip_filter(argv[2]);
	return cmocka_run_group_tests(tests, setup, teardown);
}
