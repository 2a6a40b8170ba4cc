// SPDX-License-Identifier: Apache-2.0
/*
 * test_safety_kernel.c - single refusals of the kernel, each with what must follow from it: a disk that turns read-only under
 * the open journal, an fsync() that fails, a keeper that gets neither real-time priority nor locked memory, one that cannot
 * be started or listens no more.
 *
 * test_safety_calls makes every call fail and asks for what holds always; here the answer to one is looked at. The calls are
 * this program's own versions (calls.h).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "agent/safety/undo.h"
#include "tests/fault/calls.h"

static void take_over(void)
{
	fail_msg("nobody takes over here");
}

static void only_call(long n, int err)
{
	counted = 0;
	fired = from_there_on = false;
	with = err;
	nth = n;
}

static void open_and_change(void)
{
	struct safety_error error = { "" };
	uint64_t id;

	assert_int_equal(safety_open(&agent, &f.options, NULL, &error), 0);
	assert_int_equal(change_two(agent, CHANGE_AUTO, &id, &error), 0);
	assert_int_equal(id, 3);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "010"));
}

static size_t journal_bytes(void)
{
	size_t n;

	free(file_read(f.dir, "journal", &n));
	return n;
}

static void check_recovered(unsigned int rolled_back)
{
	struct safety_report report;
	struct safety_error error = { "" };
	struct safety_audit audit;

	assert_int_equal(safety_recover(&f.options, &report, &error), 0);
	assert_int_equal(report.rolled_back, rolled_back);
	assert_int_equal(safety_audit(f.dir, f.root, &audit, &error), 0);
	assert_int_equal(audit.open, 0);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
	assert_true(file_is(f.root, READ_AHEAD_FILE, "128"));
	assert_true(file_is(f.root, DIRTY_RATIO_FILE, "20"));
}

/* ---- the journal's disk ---- */

static void a_disk_that_turns_read_only(void **state)
{
	struct safety_error error = { "" };
	uint64_t id;
	size_t bytes;

	(void)state;
	open_and_change();
	bytes = journal_bytes();
	read_only = true;
	/* fsync() calls it a success, so the record would be acknowledged and lost: nothing new is begun on its account */
	assert_int_equal(
		change_one(agent, "a", CHANGE_AUTO, DIRTY_RATIO, "40", &id, &error), -EROFS);
	assert_int_equal(id, 0);
	assert_non_null(strstr(error.text, "disk failed"));
	assert_true(file_is(f.root, DIRTY_RATIO_FILE, "20"));
	/* what is in force ends all the same */
	assert_int_equal(safety_rollback(agent, 3, "a test ends", NULL, &error), 0);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
	assert_true(file_is(f.root, READ_AHEAD_FILE, "128"));
	/* and nothing of either is in the file */
	assert_int_equal(journal_bytes(), bytes);
	read_only = false;
	/* the open file is not trusted any more, whatever became of its disk */
	assert_int_equal(
		change_one(agent, "a", CHANGE_AUTO, DIRTY_RATIO, "40", &id, &error), -EROFS);
	assert_non_null(strstr(error.text, "takes no more records"));
	safety_close(agent, SAFETY_STOP);
	check_recovered(1);
}

/* Of one record: call 0 writes it, 1 is fsync(), 2 fstatvfs(), 3 would cut it off again. */
static void a_disk_that_does_not_sync(void **state)
{
	static const struct {
		long n;
		bool from_there_on;
		bool cut;
	} row[] = { { 1, false, true }, { 2, false, true }, { 1, true, false } };
	struct safety_error error = { "" };

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		size_t bytes;

		dir_remove(f.dir);
		open_and_change();
		bytes = journal_bytes();
		only_call(row[i].n, EIO);
		from_there_on = row[i].from_there_on;
		assert_int_equal(safety_mark(agent, MARK_ENDED, &error), -EIO);
		nth = -1;
		assert_true(fired);
		assert_int_equal(journal_bytes() == bytes, row[i].cut);
		assert_int_equal(safety_keep(agent, 3, "better", &error), -EIO);
		assert_non_null(strstr(error.text, "takes no more records"));
		assert_int_equal(book_find(agent->book, 3)->state, CHANGE_APPLIED);
		/* whether the record that could not be cut off is there, recovery reads a whole journal */
		safety_leave(agent);
		check_recovered(1);
	}
}

/* ---- settings that belong together ---- */

#define SCHEDULER "sysfs:block/vda/queue/scheduler"
#define NR_REQUESTS "sysfs:block/vda/queue/nr_requests"

static void open_with_queue(const char *scheduler, const char *requests)
{
	struct safety_error error;

	safety_close(agent, SAFETY_STOP);
	file_put(f.root, SCHEDULER_FILE, scheduler);
	file_put(f.root, NR_REQUESTS_FILE, requests);
	assert_int_equal(safety_open(&agent, &f.options, NULL, &error), 0);
}

static void check_queue(const char *scheduler, const char *requests)
{
	assert_true(file_is(f.root, SCHEDULER_FILE, scheduler));
	assert_true(file_is(f.root, NR_REQUESTS_FILE, requests));
}

/* It resets the number of requests, and so does going back: what the operator had set is set again. */
static void a_scheduler_takes_its_requests_along(void **state)
{
	static const struct safety_knob both[] = { { SCHEDULER, "mq-deadline" },
		{ NR_REQUESTS, "128" }, { SCHEDULER, "mq-deadline" } };
	static const struct safety_knob same[] = { { SCHEDULER, "mq-deadline" },
		{ NR_REQUESTS, "64" } };
	struct safety_request rq = { "a", CHANGE_AUTO, both, 2, NULL, NULL, NULL, 0 };
	struct safety_error error = { "" };
	uint64_t id, other;

	(void)state;
	open_with_queue("[none] mq-deadline\n", "64\n");
	assert_int_equal(
		change_one(agent, "a", CHANGE_AUTO, SCHEDULER, "mq-deadline", &id, &error), 0);
	check_queue("mq-deadline", "256");
	/* it has an owner now, as it changes with the scheduler */
	assert_int_equal(
		change_one(agent, "b", CHANGE_AUTO, NR_REQUESTS, "32", &other, &error), -EBUSY);
	assert_int_equal(safety_rollback(agent, id, "x", NULL, &error), 0);
	check_queue("none", "64");
	/* both asked for, in the order that works and in the one that does not */
	assert_int_equal(safety_apply(agent, &rq, &id, &error), 0);
	check_queue("mq-deadline", "128");
	assert_int_equal(safety_rollback(agent, id, "x", NULL, &error), 0);
	check_queue("none", "64");
	/* what it had before is still asked for, and the scheduler takes it away */
	rq.knob = same;
	assert_int_equal(safety_apply(agent, &rq, &id, &error), 0);
	check_queue("mq-deadline", "64");
	assert_int_equal(safety_rollback(agent, id, "x", NULL, &error), 0);
	check_queue("none", "64");
	rq.knob = &both[1];
	assert_int_equal(safety_apply(agent, &rq, &id, &error), -EIO);
	assert_non_null(strstr(error.text, "reads 256 after 128"));
	check_queue("none", "64");
	/* the number alone leaves the scheduler alone */
	assert_int_equal(change_one(agent, "a", CHANGE_AUTO, NR_REQUESTS, "32", &id, &error), 0);
	assert_int_equal(safety_rollback(agent, id, "x", NULL, &error), 0);
	check_queue("none", "64");
	/* of one foreign value both are left alone */
	assert_int_equal(
		change_one(agent, "c", CHANGE_AUTO, SCHEDULER, "mq-deadline", &id, &error), 0);
	file_put(f.root, NR_REQUESTS_FILE, "99\n");
	assert_int_equal(safety_rollback(agent, id, "x", NULL, &error), 0);
	assert_non_null(strstr(error.text, "left alone"));
	check_queue("mq-deadline", "99");
	safety_close(agent, SAFETY_STOP);
}

/* What the kernel does not take back is said, and stays on record. */
static void a_queue_that_cannot_be_set_back(void **state)
{
	static const char *const was[][3] = { { "none\n", "2000\n", "none" },
		{ "bfq\n", "64\n", "mq-deadline" } };
	struct safety_error error = { "" };
	uint64_t id;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		open_with_queue(was[i][0], was[i][1]);
		assert_int_equal(
			change_one(agent, "a", CHANGE_AUTO, SCHEDULER, "mq-deadline", &id, &error),
			0);
		assert_int_equal(safety_rollback(agent, id, "x", NULL, &error), -EINVAL);
		assert_non_null(strstr(error.text, "cannot be set back"));
		check_queue(was[i][2], "256");
		assert_true(change_open(book_find(agent->book, id)));
		/* a third party mends it */
		file_put(f.root, SCHEDULER_FILE, was[i][0]);
		file_put(f.root, NR_REQUESTS_FILE, was[i][1]);
		assert_int_equal(safety_rollback(agent, id, "x", NULL, &error), 0);
	}
	safety_close(agent, SAFETY_STOP);
}

/* The agent died between the writes and the reads after them. */
static void half_a_change_of_a_scheduler(void **state)
{
	static const struct {
		size_t n; /* 1: as a journal of an older version has it */
		const char *intended; /* for the number of requests */
		const char *scheduler, *requests; /* as found */
		const char *after, *requests_after;
		uint64_t end;
	} row[] = {
		{ 2, "", "mq-deadline\n", "256\n", "none", "64", CHANGE_ROLLED_BACK },
		{ 2, "128", "mq-deadline\n", "256\n", "none", "64", CHANGE_ROLLED_BACK },
		{ 2, "128", "mq-deadline\n", "128\n", "none", "64", CHANGE_ROLLED_BACK },
		{ 2, "128", "none\n", "64\n", "none", "64", CHANGE_ROLLED_BACK },
		/* the scheduler was not written, so this is somebody else's */
		{ 2, "", "none\n", "99\n", "none", "99", CHANGE_LEFT_ALONE },
		{ 2, "128", "none\n", "99\n", "none", "99", CHANGE_LEFT_ALONE },
		{ 2, "", "kyber\n", "99\n", "kyber", "99", CHANGE_LEFT_ALONE },
		{ 1, "", "mq-deadline\n", "99\n", "none", "256", CHANGE_ROLLED_BACK },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		for (size_t turned = 0; turned < row[i].n; turned++) {
			struct change c = {
				.mode = CHANGE_AUTO, .state = CHANGE_INTENT, .n_knobs = row[i].n
			};

			strcpy(c.knob[turned].name, SCHEDULER);
			strcpy(c.knob[turned].original, "none");
			strcpy(c.knob[turned].intended, "mq-deadline");
			strcpy(c.knob[!turned].name, NR_REQUESTS);
			strcpy(c.knob[!turned].original, "64");
			strcpy(c.knob[!turned].intended, row[i].intended);
			file_put(f.root, SCHEDULER_FILE, row[i].scheduler);
			file_put(f.root, NR_REQUESTS_FILE, row[i].requests);
			assert_int_equal(change_undo(&c, f.root, "", "x", NULL), 0);
			assert_int_equal(c.state, row[i].end);
			check_queue(row[i].after, row[i].requests_after);
		}
	}
}

/* A bound of nothing is written as a ratio: no bytes are none to the kernel. */
static void a_pair_that_was_nothing(void **state)
{
	static const char *const name[][2] = { { DIRTY_BYTES, "1048576" }, { DIRTY_RATIO, "30" } };
	struct safety_error error = { "" };
	uint64_t id;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		file_put(f.root, DIRTY_RATIO_FILE, "0\n");
		file_put(f.root, DIRTY_BYTES_FILE, "0\n");
		assert_int_equal(safety_open(&agent, &f.options, NULL, &error), 0);
		assert_int_equal(
			change_one(agent, "a", CHANGE_AUTO, name[i][0], name[i][1], &id, &error),
			0);
		assert_int_equal(safety_rollback(agent, id, "x", NULL, &error), 0);
		assert_true(file_is(f.root, DIRTY_RATIO_FILE, "0"));
		assert_true(file_is(f.root, DIRTY_BYTES_FILE, "0"));
		safety_close(agent, SAFETY_STOP);
	}
}

/* ---- the keeper ---- */

/* call: number of the call that is answered with EPERM, -1 = none. Call 0 keeps the descriptor to the keeper itself. */
static void watch_until_the_agent_is_gone(long call)
{
	char number[12];
	char *argv[] = { (char *)KEEPER_NAME, (char *)"--dir", f.dir, (char *)"--root", f.root,
		(char *)"--fd", number, NULL };
	int fd[2];

	dir_remove(f.dir);
	fake_reset_knobs(&f);
	open_and_change();
	assert_int_equal(REAL(pipe2)(fd, O_CLOEXEC), 0);
	keeper_pipe = fd[0];
	snprintf(number, sizeof(number), "%d", fd[0]);
	memset(&asked, 0, sizeof(asked));
	script = "bE";
	only_call(call, EPERM);
	assert_int_equal(keeper_main(7, argv), EXIT_CODE_OK);
	script = NULL;
	nth = -1;
	close(fd[0]);
	close(fd[1]);
	check_recovered(0);
}

static void a_keeper_goes_first_as_far_as_it_may(void **state)
{
	(void)state;
	watch_until_the_agent_is_gone(-1);
	assert_int_equal(asked.policy, SCHED_RR | SCHED_RESET_ON_FORK);
	assert_int_equal(asked.priority, 1);
	assert_int_equal(asked.nice, 0);
	assert_int_equal(asked.locked, MCL_CURRENT | MCL_FUTURE);
	watch_until_the_agent_is_gone(1);
	assert_true(fired);
	assert_int_equal(asked.policy, 0);
	assert_int_equal(asked.nice, -20);
	assert_int_equal(asked.locked, MCL_CURRENT | MCL_FUTURE);
}

static void a_keeper_undoes_without_any_priority(void **state)
{
	(void)state;
	played_refusal = EPERM;
	watch_until_the_agent_is_gone(-1);
	played_refusal = 0;
	assert_int_equal(asked.policy | asked.nice | asked.locked, 0);
}

static void no_pair_of_sockets(void **state)
{
	struct keeper_link link = { .fd = -1, .path = "/bin/true" };
	struct safety_error error = { "" };

	(void)state;
	only_call(0, EMFILE);
	assert_int_equal(keeper_start(&link, &error), -EMFILE);
	nth = -1;
	assert_true(fired);
	assert_non_null(strstr(error.text, "cannot be started: Too many open files"));
	assert_int_equal(link.fd, -1);
	assert_false(keeper_alive(&link));
	assert_false(keeper_ready(&link));
	assert_int_equal(keeper_beat(&link), -EPIPE);
}

static void start_script(struct keeper_link *link, const char *text)
{
	struct safety_error error = { "" };

	memset(link, 0, sizeof(*link));
	link->fd = -1;
	snprintf(link->path, sizeof(link->path), "%s/keeper", f.root);
	file_put(f.root, "keeper", text);
	assert_int_equal(chmod(link->path, 0700), 0);
	/* or it has closed its end already */
	if (keeper_start(link, &error))
		assert_non_null(strstr(error.text, "does not listen"));
}

static void end_script(struct keeper_link *link)
{
	kill(link->pid, SIGKILL);
	while (keeper_alive(link))
		usleep(100);
	keeper_end(link, true);
}

/* It runs, says nothing and hears nothing: no change that it would have to undo is begun. */
static void a_keeper_that_closed_its_end(void **state)
{
	struct keeper_link link;

	(void)state;
	start_script(&link, "#!/bin/sh\nexec 3>&-\nexec sleep 100\n");
	assert_false(keeper_ready(&link));
	assert_true(keeper_alive(&link));
	end_script(&link);
}

static void a_keeper_that_watched_and_is_dead(void **state)
{
	struct keeper_link link;

	(void)state;
	start_script(&link, "#!/bin/sh\nprintf r >&3\nexec sleep 100\n");
	assert_true(keeper_ready(&link));
	kill(link.pid, SIGKILL);
	while (keeper_alive(&link))
		usleep(100);
	assert_true(link.ready);
	assert_false(keeper_ready(&link));
	keeper_end(&link, true);
}

/* Now the one scheduler, now the other: what was set by hand under the old one comes back with it each time. */
static void a_scheduler_is_swapped(void **state)
{
	struct safety_error error = { "" };
	uint64_t id;

	(void)state;
	open_with_queue("[none] mq-deadline\n", "64\n");
	assert_int_equal(
		change_one(agent, "a", CHANGE_AUTO, SCHEDULER, "mq-deadline", &id, &error), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(safety_swap(agent, id, false, &error), 0);
		check_queue("none", "64");
		assert_int_equal(safety_swap(agent, id, true, &error), 0);
		check_queue("mq-deadline", "256");
	}
	file_put(f.root, NR_REQUESTS_FILE, "99\n");
	assert_int_equal(safety_swap(agent, id, false, &error), -EBUSY);
	check_queue("mq-deadline", "99");
	safety_close(agent, SAFETY_STOP);
}

/* The kernel takes the old value and does nothing: neither swapped nor undone, and both are said. */
static void a_swap_that_does_nothing(void **state)
{
	struct safety_error error = { "" };

	(void)state;
	open_and_change();
	swallow = true;
	assert_int_equal(safety_swap(agent, 3, false, &error), -EIO);
	assert_non_null(strstr(error.text, "change 3 of tuner is not undone"));
	swallow = false;
	assert_true(file_is(f.root, SWAPPINESS_FILE, "010"));
	assert_int_equal(safety_rollback(agent, 3, "x", NULL, &error), 0);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
	safety_close(agent, SAFETY_STOP);
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
	nth = -1;
	agent = NULL;
	dir_remove(f.root);
	return 0;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_disk_that_turns_read_only),
		T(a_disk_that_does_not_sync),
		T(a_scheduler_takes_its_requests_along),
		T(a_scheduler_is_swapped),
		T(a_swap_that_does_nothing),
		T(a_queue_that_cannot_be_set_back),
		T(half_a_change_of_a_scheduler),
		T(a_pair_that_was_nothing),
		T(a_keeper_goes_first_as_far_as_it_may),
		T(a_keeper_undoes_without_any_priority),
		T(no_pair_of_sockets),
		T(a_keeper_that_closed_its_end),
		T(a_keeper_that_watched_and_is_dead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
