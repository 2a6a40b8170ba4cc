// SPDX-License-Identifier: Apache-2.0
/*
 * test_swap.c - the new and the old values in turn within one change: no new record, no rate used up, undone from either,
 * kept only from the new one, ended by a third party's write, which stays; and the same of some of its knobs at a time.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "agent/safety/watch.h"
#include "tests/unit/safety_open.h"

#define SCHEDULER "sysfs:block/vda/queue/scheduler"
#define SCHEDULER_FILE "sys/block/vda/queue/scheduler"
#define NR_REQUESTS "sysfs:block/vda/queue/nr_requests"
#define NR_REQUESTS_FILE "sys/block/vda/queue/nr_requests"

static uint64_t id;

static bool stand(const char *swappiness, const char *read_ahead)
{
	return file_is(f.root, SWAPPINESS_FILE, swappiness) &&
	       file_is(f.root, READ_AHEAD_FILE, read_ahead);
}

static uint64_t records(void)
{
	struct safety_audit audit;

	assert_int_equal(safety_audit(f.dir, f.root, &audit, &error), 0);
	assert_int_equal(audit.differs, 0);
	return audit.records;
}

static void values_stand_in_turn(void **state)
{
	uint64_t before;

	(void)state;
	assert_int_equal(change_two(s, CHANGE_AUTO, &id, &error), 0);
	before = records();
	/* far more often than changes may be made */
	for (int i = 0; i < 10 * SAFETY_RATE; i++) {
		assert_int_equal(safety_swap(s, id, false, &error), 0);
		assert_true(stand("060", "128"));
		assert_int_equal(safety_swap(s, id, false, NULL), 0);
		assert_int_equal(records(), before);
		assert_int_equal(safety_swap(s, id, true, &error), 0);
		assert_true(stand("010", "512"));
	}
	assert_int_equal(records(), before);
	assert_int_equal(safety_keep(s, id, "p99 fell", &error), 0);
	assert_true(stand("010", "512"));
	/* what is kept is tried no more */
	assert_int_equal(safety_swap(s, id, false, &error), -EINVAL);
	assert_non_null(strstr(error.text, "is kept"));
	assert_true(stand("010", "512"));
	assert_int_equal(safety_rollback(s, id, "x", NULL, &error), 0);
	assert_true(stand("060", "128"));
	assert_int_equal(safety_swap(s, id, true, &error), -EALREADY);
	assert_non_null(strstr(error.text, "not in force any more"));
	assert_true(stand("060", "128"));
	assert_int_equal(safety_swap(s, 4711, true, &error), -ENOENT);
}

static void it_is_undone_from_either(void **state)
{
	(void)state;
	assert_int_equal(change_two(s, CHANGE_AUTO, &id, &error), 0);
	assert_int_equal(safety_swap(s, id, false, &error), 0);
	/* nothing to keep while the old values stand */
	assert_int_equal(safety_keep(s, id, "p99 fell", &error), -EINVAL);
	assert_int_equal(safety_rollback(s, id, "x", NULL, &error), 0);
	assert_non_null(strstr(error.text, "rolled back"));
	assert_true(stand("060", "128"));
	assert_int_equal(change_two(s, CHANGE_AUTO, &id, &error), 0);
	assert_int_equal(safety_swap(s, id, false, &error), 0);
	assert_int_equal(safety_breach(s, "tuner", "p99 rose"), 0);
	assert_true(stand("060", "128"));
	assert_int_equal(change_two(s, CHANGE_AUTO, &id, &error), 0);
	assert_int_equal(safety_swap(s, id, false, &error), 0);
	assert_int_equal(safety_swap(s, id, true, &error), 0);
	assert_int_equal(safety_close(s, SAFETY_STOP), 0);
	assert_true(stand("060", "128"));
	assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
}

static void a_third_partys_value_stays(void **state)
{
	static const char *const theirs[] = { "33", "010" };

	(void)state;
	/* under the new value */
	assert_int_equal(change_two(s, CHANGE_AUTO, &id, &error), 0);
	file_put(f.root, SWAPPINESS_FILE, "33\n");
	assert_int_equal(safety_swap(s, id, false, &error), -EBUSY);
	assert_true(stand("33", "128"));
	assert_int_equal(safety_swap(s, id, true, &error), -EALREADY);
	assert_true(stand("33", "128"));
	/* under the old one: any other value, the one of the change among them */
	for (int i = 0; i < 2; i++) {
		fake_reset_knobs(&f);
		assert_int_equal(change_two(s, CHANGE_AUTO, &id, &error), 0);
		assert_int_equal(safety_swap(s, id, false, &error), 0);
		file_put(f.root, SWAPPINESS_FILE, theirs[i]);
		assert_int_equal(safety_swap(s, id, true, &error), -EBUSY);
		assert_non_null(strstr(error.text, "somebody else"));
		assert_true(stand(theirs[i], "128"));
		assert_int_equal(safety_close(s, SAFETY_STOP), 0);
		assert_true(stand(theirs[i], "128"));
		assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
	}
}

static void a_knob_that_goes_ends_it(void **state)
{
	char path[200];

	(void)state;
	assert_int_equal(change_two(s, CHANGE_AUTO, &id, &error), 0);
	snprintf(path, sizeof(path), "%s/" READ_AHEAD_FILE, f.root);
	assert_int_equal(unlink(path), 0);
	assert_int_not_equal(safety_swap(s, id, false, &error), 0);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
	assert_int_equal(safety_swap(s, id, true, &error), -EALREADY);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
}

static void a_journal_that_goes_ends_it(void **state)
{
	char path[200];

	(void)state;
	assert_int_equal(change_two(s, CHANGE_AUTO, &id, &error), 0);
	snprintf(path, sizeof(path), "%s/journal", f.dir);
	assert_int_equal(unlink(path), 0);
	assert_int_not_equal(safety_swap(s, id, false, &error), 0);
	assert_true(stand("060", "128"));
	assert_int_not_equal(safety_swap(s, id, true, &error), 0);
	assert_int_not_equal(safety_swap(s, 4711, true, &error), 0);
	assert_true(stand("060", "128"));
}

/* Nothing was in force of either: going back writes the one that was changed. */
static void a_pair_that_was_nothing(void **state)
{
	(void)state;
	file_put(f.root, DIRTY_RATIO_FILE, "0\n");
	assert_int_equal(
		change_one(s, "tuner", CHANGE_AUTO, DIRTY_BYTES, "1048576", &id, &error), 0);
	assert_int_equal(safety_swap(s, id, false, &error), 0);
	assert_true(file_is(f.root, DIRTY_BYTES_FILE, "0"));
	assert_int_equal(safety_swap(s, id, true, &error), 0);
	assert_true(file_is(f.root, DIRTY_BYTES_FILE, "1048576"));
}

static void one_that_sets_another_anew(void **state)
{
	const struct safety_knob knob[] = { { SCHEDULER, "none" }, { NR_REQUESTS, "32" } };
	struct safety_request rq = { "tuner", CHANGE_AUTO, knob, 2, "a test asks for it", NULL,
		NULL, 0 };

	(void)state;
	file_put(f.root, SCHEDULER_FILE, "mq-deadline\n");
	file_put(f.root, NR_REQUESTS_FILE, "64\n");
	assert_int_equal(safety_apply(s, &rq, &id, &error), 0);
	assert_int_equal(safety_swap(s, id, false, &error), -EINVAL);
	assert_non_null(strstr(error.text, "sets"));
	assert_true(file_is(f.root, SCHEDULER_FILE, "none"));
	assert_int_equal(safety_rollback(s, id, "x", NULL, &error), 0);
	file_put(f.root, SCHEDULER_FILE, "mq-deadline\n");
	file_put(f.root, NR_REQUESTS_FILE, "64\n");
	/* alone: what it set anew comes back with it */
	rq.n_knobs = 1;
	assert_int_equal(safety_apply(s, &rq, &id, &error), 0);
	file_put(f.root, SCHEDULER_FILE, "none\n");
	assert_int_equal(safety_swap(s, id, false, &error), 0);
	assert_true(file_is(f.root, SCHEDULER_FILE, "mq-deadline"));
	assert_true(file_is(f.root, NR_REQUESTS_FILE, "64"));
	assert_int_equal(safety_swap(s, id, true, &error), 0);
	assert_true(file_is(f.root, SCHEDULER_FILE, "none"));
}

/*
 * Stopped exactly between the write of the old scheduler and that of the number it had: what the kernel put there meanwhile
 * is not somebody's wish. Anything else is.
 */
static void stopped_between_the_two(void **state)
{
	static const struct {
		const char *scheduler, *left, *then;
	} row[] = { { "bfq", "256", "64" }, { "none", "1023", "64" }, { "bfq", "99", "99" },
		{ "none", "256", "256" } };

	(void)state;
	file_put(f.root, "sys/block/vda/mq/0/nr_tags", "1023\n");
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		f.boot_ns += SAFETY_RETRY_WINDOW_NS;
		file_put(f.root, SCHEDULER_FILE, row[i].scheduler);
		file_put(f.root, NR_REQUESTS_FILE, "64\n");
		assert_int_equal(
			change_one(s, "tuner", CHANGE_AUTO, SCHEDULER, "mq-deadline", &id, &error),
			0);
		file_put(f.root, SCHEDULER_FILE, row[i].scheduler);
		file_put(f.root, NR_REQUESTS_FILE, row[i].left);
		assert_int_equal(safety_close(s, SAFETY_UPGRADE), 0);
		f.options.ignore_upgrade = true;
		assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
		assert_true(file_is(f.root, SCHEDULER_FILE, row[i].scheduler));
		if (!file_is(f.root, NR_REQUESTS_FILE, row[i].then))
			fail_msg("%s: %s stays", row[i].scheduler, row[i].left);
	}
	f.options.ignore_upgrade = false;
}

/* ---- some of a change's knobs ---- */

#define MEMBERS 4
static const char *const ahead_file[MEMBERS] = { "sys/block/vda/queue/read_ahead_kb",
	"sys/block/vdb/queue/read_ahead_kb", "sys/block/vdc/queue/read_ahead_kb",
	"sys/block/vdd/queue/read_ahead_kb" };

/* The same value for four disks, the first of them at once. */
static int change_members(uint32_t later)
{
	static const struct safety_knob knob[MEMBERS] = {
		{ "sysfs:block/vda/queue/read_ahead_kb", "512" },
		{ "sysfs:block/vdb/queue/read_ahead_kb", "512" },
		{ "sysfs:block/vdc/queue/read_ahead_kb", "512" },
		{ "sysfs:block/vdd/queue/read_ahead_kb", "512" },
	};
	const struct safety_request rq = { .owner = "tuner",
		.mode = CHANGE_AUTO,
		.knob = knob,
		.n_knobs = MEMBERS,
		.because = "a test asks for it",
		.later = later };

	for (int i = 0; i < MEMBERS; i++)
		file_put(f.root, ahead_file[i], "128\n");
	return safety_apply(s, &rq, &id, &error);
}

static bool new_ones(uint32_t set)
{
	for (int i = 0; i < MEMBERS; i++) {
		if (!file_is(f.root, ahead_file[i], set >> i & 1 ? "512" : "128"))
			return false;
	}
	return true;
}

static void members_take_turns_within_one_change(void **state)
{
	uint64_t before;

	(void)state;
	assert_int_equal(change_members(0xe), 0);
	assert_true(new_ones(0x1));
	before = records();
	for (uint32_t set = 0; set < 1 << MEMBERS; set++) {
		assert_int_equal(safety_swap_some(s, id, set, &error), 0);
		assert_true(new_ones(set));
		/* the crossover: what had the new value has the old one, and the other way round */
		assert_int_equal(safety_swap_some(s, id, ~set, &error), 0);
		assert_true(new_ones(~set));
		assert_int_equal(records(), before);
	}
	/* kept only when all of them stand */
	assert_int_equal(safety_swap_some(s, id, 0x7, &error), 0);
	assert_int_equal(safety_keep(s, id, "better", &error), -EINVAL);
	assert_int_equal(safety_swap(s, id, true, &error), 0);
	assert_int_equal(safety_keep(s, id, "better", &error), 0);
	assert_int_equal(records(), before + 1);
	assert_true(new_ones(0xf));
	assert_int_equal(safety_rollback(s, id, "x", NULL, &error), 0);
	assert_true(new_ones(0));
}

/* The agent dies: what the next one finds is on the disk only, where of three no new value was ever read back. */
static void members_are_undone_by_the_next_agent(void **state)
{
	(void)state;
	for (uint32_t set = 0; set < 1 << MEMBERS; set++) {
		f.boot_ns += SAFETY_RETRY_WINDOW_NS;
		assert_int_equal(change_members(0xe), 0);
		assert_int_equal(safety_swap_some(s, id, set, &error), 0);
		assert_true(new_ones(set));
		assert_int_equal(safety_close(s, SAFETY_UPGRADE), 0);
		f.options.ignore_upgrade = true;
		assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
		assert_true(new_ones(0));
	}
	f.options.ignore_upgrade = false;
}

static void one_members_foreign_value_stays(void **state)
{
	static const char *const theirs[] = { "33", "512" };

	(void)state;
	/* on one that waits its turn, and on one that had it: whatever they write is theirs */
	for (int i = 0; i < 4; i++) {
		f.boot_ns += SAFETY_RETRY_WINDOW_NS;
		assert_int_equal(change_members(0xe), 0);
		assert_int_equal(safety_swap_some(s, id, 0x2, &error), 0);
		file_put(f.root, ahead_file[i / 2 ? 0 : 3], theirs[i % 2]);
		assert_int_equal(safety_swap_some(s, id, 0x9, &error), -EBUSY);
		assert_non_null(strstr(error.text, "somebody else set sysfs:block/vd"));
		assert_int_equal(safety_swap_some(s, id, 0x9, &error), -EALREADY);
		assert_true(file_is(f.root, ahead_file[i / 2 ? 0 : 3], theirs[i % 2]));
		file_put(f.root, ahead_file[i / 2 ? 0 : 3], "128");
		assert_true(new_ones(0));
	}
}

/* Each has its own that is set anew, and announced for later it was never read. */
static void coupled_members_take_turns(void **state)
{
	static const struct safety_knob knob[] = { { SCHEDULER, "none" },
		{ "sysfs:block/vdb/queue/scheduler", "none" } };
	const struct safety_request rq = { .owner = "tuner",
		.mode = CHANGE_AUTO,
		.knob = knob,
		.n_knobs = 2,
		.because = "a test asks for it",
		.later = 0x2 };

	(void)state;
	for (int i = 0; i < 2; i++) {
		file_put(f.root, i ? "sys/block/vdb/queue/scheduler" : SCHEDULER_FILE, "bfq\n");
		file_put(f.root, i ? "sys/block/vdb/queue/nr_requests" : NR_REQUESTS_FILE, "64\n");
	}
	assert_int_equal(safety_apply(s, &rq, &id, &error), 0);
	assert_true(file_is(f.root, "sys/block/vdb/queue/scheduler", "bfq"));
	assert_int_equal(safety_swap_some(s, id, 0x2, &error), 0);
	assert_true(file_is(f.root, SCHEDULER_FILE, "bfq"));
	assert_true(file_is(f.root, "sys/block/vdb/queue/scheduler", "none"));
	/* as a kernel would that sets it anew */
	file_put(f.root, "sys/block/vdb/queue/nr_requests", "64\n");
	assert_int_equal(safety_close(s, SAFETY_STOP), 0);
	assert_true(file_is(f.root, "sys/block/vdb/queue/scheduler", "bfq"));
	assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
}

static void only_a_trial_begins_later(void **state)
{
	const struct safety_knob knob = { SWAPPINESS, "10" };
	struct safety_request rq = {
		.owner = "operator", .mode = CHANGE_NEVER, .knob = &knob, .n_knobs = 1, .later = 1
	};

	(void)state;
	assert_int_equal(safety_apply(s, &rq, &id, &error), -EINVAL);
	assert_non_null(strstr(error.text, "mode auto"));
}

/* The tuner goes on from what it kept, and nobody else; undone from the top down, by whomever. */
static void one_lies_on_a_kept_one(void **state)
{
	struct safety_audit audit;
	uint64_t lower, upper;

	(void)state;
	assert_int_equal(change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "040", &lower, &error), 0);
	/* not before it is kept */
	assert_int_equal(
		change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "020", &upper, &error), -EBUSY);
	assert_int_equal(safety_keep(s, lower, "better", &error), 0);
	assert_int_equal(
		change_one(s, "operator", CHANGE_AUTO, SWAPPINESS, "020", &upper, &error), -EBUSY);
	assert_int_equal(
		change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "040", &upper, &error), -EALREADY);
	assert_int_equal(change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "020", &upper, &error), 0);
	assert_int_equal(safety_audit(f.dir, f.root, &audit, &error), 0);
	assert_int_equal(audit.open, 2);
	assert_int_equal(audit.differs, 0);
	assert_int_equal(safety_swap(s, upper, false, &error), 0);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "040"));
	assert_int_equal(safety_audit(f.dir, f.root, &audit, &error), 0);
	assert_int_equal(audit.differs, 0);
	assert_int_equal(safety_rollback(s, lower, "x", NULL, &error), -EBUSY);
	assert_int_equal(safety_rollback(s, upper, "x", NULL, &error), 0);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "040"));
	assert_int_equal(change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "030", &upper, &error), 0);
	/* nor on what the operator kept */
	assert_int_equal(
		change_one(s, "operator", CHANGE_AUTO, READ_AHEAD, "256", &lower, &error), 0);
	assert_int_equal(safety_keep(s, lower, "better", &error), 0);
	assert_int_equal(
		change_one(s, "tuner", CHANGE_AUTO, READ_AHEAD, "512", &lower, &error), -EBUSY);
	/* the journal of an agent that died, read by the next one */
	assert_int_equal(safety_close(s, SAFETY_UPGRADE), 0);
	f.options.ignore_upgrade = true;
	assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
	/* a breach undoes both */
	assert_int_equal(change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "040", &lower, &error), 0);
	assert_int_equal(safety_keep(s, lower, "better", &error), 0);
	/* one that may wait for a disk does not lie on one that may not: they would be undone in another order */
	assert_int_equal(change_two(s, CHANGE_AUTO, &upper, &error), -EBUSY);
	assert_int_equal(change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "010", &upper, &error), 0);
	assert_int_equal(change_one(s, "tuner", CHANGE_AUTO, READ_AHEAD, "512", &lower, &error), 0);
	assert_true(stand("010", "512"));
	assert_int_equal(safety_breach(s, "tuner", "p99 rose"), 0);
	assert_true(stand("060", "128"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(values_stand_in_turn, setup, teardown),
		cmocka_unit_test_setup_teardown(it_is_undone_from_either, setup, teardown),
		cmocka_unit_test_setup_teardown(a_third_partys_value_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(a_knob_that_goes_ends_it, setup, teardown),
		cmocka_unit_test_setup_teardown(a_journal_that_goes_ends_it, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pair_that_was_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_sets_another_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(stopped_between_the_two, setup, teardown),
		cmocka_unit_test_setup_teardown(one_lies_on_a_kept_one, setup, teardown),
		cmocka_unit_test_setup_teardown(
			members_take_turns_within_one_change, setup, teardown),
		cmocka_unit_test_setup_teardown(
			members_are_undone_by_the_next_agent, setup, teardown),
		cmocka_unit_test_setup_teardown(one_members_foreign_value_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(coupled_members_take_turns, setup, teardown),
		cmocka_unit_test_setup_teardown(only_a_trial_begins_later, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
