// SPDX-License-Identifier: Apache-2.0
/*
 * test_safety_own.c - what would hold the agent or its keeper is refused, and what may hang with a disk is undone after all
 * else.
 *
 * On a fake root, which says by its proc/self/cgroup in which group we are.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "agent/safety/undo.h"
#include "tests/unit/safety_open.h"

#define OUR_GROUP "proc/self/cgroup"
#define NR_REQUESTS "sysfs:block/vda/queue/nr_requests"

static int asked(const char *name, const char *value)
{
	uint64_t id;
	int err = change_one(s, "a", CHANGE_AUTO, name, value, &id, &error);

	if (!err)
		assert_int_equal(safety_rollback(s, id, "x", NULL, &error), 0);
	/* no rate of one owner shall decide */
	f.boot_ns += SAFETY_RETRY_WINDOW_NS;
	return err;
}

static void groups(void)
{
	static const char *const group[] = { "system.slice", "system.slice/agent.service",
		"system.slice/agent.service/x", "system.slice/other.service", "system",
		"batch.slice" };
	char file[200];

	for (size_t i = 0; i < sizeof(group) / sizeof(group[0]); i++) {
		snprintf(file, sizeof(file), "sys/fs/cgroup/%s/cgroup.freeze", group[i]);
		file_put(f.root, file, "0\n");
		snprintf(file, sizeof(file), "sys/fs/cgroup/%s/memory.high", group[i]);
		file_put(f.root, file, "max\n");
		snprintf(file, sizeof(file), "sys/fs/cgroup/%s/cpu.weight", group[i]);
		file_put(f.root, file, "100\n");
		snprintf(file, sizeof(file), "sys/fs/cgroup/%s/cpu.max", group[i]);
		file_put(f.root, file, "max 100000\n");
		snprintf(file, sizeof(file), "sys/fs/cgroup/%s/pids.max", group[i]);
		file_put(f.root, file, "max\n");
	}
}

static void our_group_is_not_held(void **state)
{
	static const struct {
		const char *name, *value;
		int err;
	} row[] = {
		{ "cgroup:system.slice/agent.service/cgroup.freeze", "1", -EPERM },
		{ "cgroup:system.slice/agent.service/cgroup.freeze", "01", -EPERM },
		{ "cgroup:system.slice/cgroup.freeze", "1", -EPERM },
		{ "cgroup:system.slice/memory.high", "104857600", -EPERM },
		{ "cgroup:system.slice/agent.service/memory.high", "104857600", -EPERM },
		{ "cgroup:system.slice/cpu.max", "50000 100000", -EPERM },
		{ "cgroup:system.slice/pids.max", "500", -EPERM },
		{ "cgroup:batch.slice/cpu.max", "50000 100000", 0 },
		{ "cgroup:system.slice/cpu.max", "max 50000", 0 },
		/* to let go is no harm, nor is a share of the CPU */
		{ "cgroup:system.slice/cgroup.freeze", "0", -EALREADY },
		{ "cgroup:system.slice/memory.high", "max", -EALREADY },
		{ "cgroup:system.slice/cpu.weight", "50", 0 },
		/* beside ours, below it, and one whose name only begins alike */
		{ "cgroup:system.slice/other.service/cgroup.freeze", "1", 0 },
		{ "cgroup:system.slice/agent.service/x/cgroup.freeze", "1", 0 },
		{ "cgroup:system/cgroup.freeze", "1", 0 },
		{ "cgroup:batch.slice/memory.high", "104857600", 0 },
	};
	static const char *const ours[] = { "0::/system.slice/agent.service\n",
		"4:memory:/batch.slice\n0::/system.slice/agent.service\n1:name=x:/\n" };

	(void)state;
	groups();
	for (size_t k = 0; k < 2; k++) {
		file_put(f.root, OUR_GROUP, ours[k]);
		for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
			int err = asked(row[i].name, row[i].value);

			if (err != row[i].err)
				fail_msg("%s=%s: %d: %s", row[i].name, row[i].value, err,
					error.text);
			if (err == -EPERM)
				assert_non_null(strstr(error.text, "could then undo nothing"));
		}
	}
}

static void a_group_that_is_not_known(void **state)
{
	static const char *const none[] = { "0::/\n", "4:memory:/system.slice\n", "" };
	char path[200];

	(void)state;
	groups();
	/* there is none: a kernel without control groups */
	assert_int_equal(asked("cgroup:system.slice/cgroup.freeze", "1"), 0);
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		file_put(f.root, OUR_GROUP, none[i]);
		assert_int_equal(asked("cgroup:system.slice/cgroup.freeze", "1"), 0);
	}
	/* there is one, and it cannot be read: then nothing is frozen */
	snprintf(path, sizeof(path), "%s/%s", f.root, OUR_GROUP);
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(asked("cgroup:system.slice/cgroup.freeze", "1"), -EIO);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("cgroup", path), 0);
	assert_int_equal(asked("cgroup:system.slice/cgroup.freeze", "1"), -ELOOP);
	assert_int_equal(asked("cgroup:system.slice/cpu.weight", "50"), 0);
}

static void our_processes_are_not_changed(void **state)
{
	char name[64];
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	snprintf(name, sizeof(name), "sched:%d/nice", getpid());
	assert_int_equal(asked(name, "19"), -EPERM);
	snprintf(name, sizeof(name), "sched:%d/nice", child);
	s->keeper.pid = child;
	assert_int_equal(asked(name, "19"), -EPERM);
	assert_non_null(strstr(error.text, "its keeper"));
	s->keeper.pid = 0;
	/* it is an ordinary process again: what is lowered can be raised by root alone */
	if (geteuid() == 0)
		assert_int_equal(asked(name, "19"), 0);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/* ---- what waits for a disk ---- */

static const struct safety_knob both[] = { { SWAPPINESS, "010" }, { NR_REQUESTS, "64" },
	{ "sysctl:vm.page-cluster", "4" } };

static uint64_t change(const char *owner, const struct safety_knob *knob, size_t n)
{
	const struct safety_request rq = {
		.owner = owner, .mode = CHANGE_AUTO, .knob = knob, .n_knobs = n
	};
	uint64_t id;

	assert_int_equal(safety_apply(s, &rq, &id, &error), 0);
	return id;
}

static int waiting_setup(void **state)
{
	int err = setup(state);

	file_put(f.root, "sys/block/vda/queue/nr_requests", "256\n");
	file_put(f.root, "proc/sys/vm/page-cluster", "3\n");
	return err;
}

static void within_a_change(void **state)
{
	uint64_t id = change("a", both, 3);
	const char *disk, *swappiness, *cluster, *why;

	(void)state;
	assert_int_equal(safety_rollback(s, id, "x", NULL, &error), 0);
	why = book_find(s->book, id)->why;
	disk = strstr(why, "nr_requests");
	swappiness = strstr(why, "swappiness");
	cluster = strstr(why, "page-cluster");
	assert_true(disk && swappiness && cluster);
	/* otherwise the last one first */
	assert_true(cluster < swappiness && swappiness < disk);
}

/* In which order the changes of a journal ended. */
static int note_end(void *ctx, const struct record *record)
{
	uint64_t *ended = ctx;

	if (record->kind == RECORD_CHANGE && !change_open(&record->change))
		ended[++ended[0]] = record->change.id;
	return 0;
}

static void among_changes(void **state)
{
	struct safety_report report;

	(void)state;
	for (int breach = 0; breach < 2; breach++) {
		uint64_t ended[16] = { 0 }, a, disk, b;

		a = change("a", &both[0], 1);
		disk = change("a", &both[1], 1);
		b = change("a", &both[2], 1);
		assert_false(change_waits(book_find(s->book, a)));
		assert_true(change_waits(book_find(s->book, disk)));
		if (breach) {
			assert_int_equal(safety_breach(s, "a", "p99 rose"), 0);
		} else {
			safety_leave(s);
			assert_int_equal(safety_recover(&f.options, &report, &error), 0);
			assert_int_equal(report.rolled_back, 3);
			assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
		}
		assert_int_equal(safety_history(f.dir, note_end, ended, &error), 0);
		assert_true(ended[0] >= 3);
		assert_int_equal(ended[ended[0]], disk);
		assert_int_equal(ended[ended[0] - 1], a);
		assert_int_equal(ended[ended[0] - 2], b);
	}
}

int main(void)
{
#define T(name, setup) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(our_group_is_not_held, setup),
		T(a_group_that_is_not_known, setup),
		T(our_processes_are_not_changed, setup),
		T(within_a_change, waiting_setup),
		T(among_changes, waiting_setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
