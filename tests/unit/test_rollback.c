// SPDX-License-Identifier: Apache-2.0
/*
 * test_rollback.c - changes on a fake root: made, kept, undone, left alone, refused, limited, recovered, explained.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>
#include <signal.h>
#include <cmocka.h>
#include "agent/safety/safety.h"
#include "tests/unit/safety_root.h"

static struct fake f;
static struct safety *s;
static struct safety_error error;
static struct safety_report report;
static uint64_t id, other;

static int setup(void **state)
{
	(void)state;
	fake_make(&f);
	assert_int_equal(safety_open(&s, &f.options, &report, &error), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	safety_close(s, SAFETY_STOP);
	s = NULL;
	fake_unmake(&f);
	return 0;
}

/* The agent dies: nothing is undone by it. */
static void die(void)
{
	/* an upgrade mark would say so on purpose; a death says nothing, so take the journal as it lies */
	char from[200], to[200];

	snprintf(from, sizeof(from), "%s/journal", f.dir);
	snprintf(to, sizeof(to), "%s/saved", f.root);
	{
		size_t n;
		char *bytes = file_read(f.dir, "journal", &n);

		file_write(f.root, "saved", bytes, n);
		free(bytes);
	}
	safety_close(s, SAFETY_UPGRADE);
	s = NULL;
	assert_int_equal(rename(to, from), 0);
}

/* Somebody removes the journal under a running agent: nothing more is changed, and what is in force is still undone. */
static void test_journal_taken_away(void **state)
{
	char path[200];

	(void)state;
	assert_int_equal(change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "10", &id, &error), 0);
	snprintf(path, sizeof(path), "%s/journal", f.dir);
	assert_int_equal(unlink(path), 0);
	assert_int_not_equal(
		change_one(s, "tuner", CHANGE_AUTO, READ_AHEAD, "64", &other, &error), 0);
	assert_true(file_is(f.root, READ_AHEAD_FILE, "128"));
	assert_true(file_is(f.root, SWAPPINESS_FILE, "10"));
	assert_int_equal(safety_close(s, SAFETY_STOP), 0);
	s = NULL;
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
}

static void test_apply_keep_rollback(void **state)
{
	char text[4096];

	(void)state;
	assert_int_equal(change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "10", &id, &error), 0);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "10"));
	assert_int_equal(safety_keep(s, id, "p99 14 ms", &error), 0);
	assert_int_equal(safety_explain(f.dir, id, text, sizeof(text), &error), 0);
	assert_non_null(strstr(text, "applied"));
	assert_non_null(strstr(text, "kept"));
	assert_non_null(strstr(text, "060 -> 10, because a test asks for it"));
	assert_non_null(strstr(text, "evidence: p99 21 ms"));
	assert_non_null(strstr(text, "expected: p99 15 ms"));
	assert_non_null(strstr(text, "observed: p99 14 ms"));
	assert_non_null(strstr(text, "echo 060 > /proc/sys/vm/swappiness"));
	assert_int_equal(safety_rollback(s, id, "somebody asked", NULL, &error), 0);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
	assert_non_null(strstr(error.text, "rolled back"));
	assert_int_equal(safety_rollback(s, id, "again", NULL, &error), -EALREADY);
	assert_int_equal(safety_keep(s, id, "x", &error), -EALREADY);
	assert_int_equal(safety_rollback(s, 4711, "x", NULL, &error), -ENOENT);
	assert_int_equal(safety_explain(f.dir, 4711, text, sizeof(text), &error), -ENOENT);
	assert_int_equal(safety_explain(f.dir, id, text, sizeof(text), &error), 0);
	assert_non_null(strstr(text, "undo: nothing is left to undo"));
}

static void test_theirs_is_left_alone(void **state)
{
	(void)state;
	assert_int_equal(change_two(s, CHANGE_AUTO, &id, &error), 0);
	file_put(f.root, SWAPPINESS_FILE, "33\n");
	assert_int_equal(safety_rollback(s, id, "a test ends", NULL, &error), 0);
	assert_non_null(strstr(error.text, "left alone"));
	assert_non_null(strstr(error.text, "reads 33, neither the old value 060 nor ours 10"));
	assert_true(file_is(f.root, SWAPPINESS_FILE, "33"));
	assert_true(file_is(f.root, READ_AHEAD_FILE, "128"));
}

static void test_already_back_and_gone(void **state)
{
	char path[200];

	(void)state;
	assert_int_equal(change_two(s, CHANGE_AUTO, &id, &error), 0);
	file_put(f.root, SWAPPINESS_FILE, "60\n");
	snprintf(path, sizeof(path), "%s/%s", f.root, READ_AHEAD_FILE);
	unlink(path);
	assert_int_equal(safety_rollback(s, id, "a test ends", NULL, &error), 0);
	assert_non_null(strstr(error.text, "is gone"));
	assert_non_null(strstr(error.text, "rolled back"));
	fake_reset_knobs(&f);
	assert_int_equal(change_one(s, "tuner", CHANGE_AUTO, READ_AHEAD, "64", &id, &error), 0);
	unlink(path);
	assert_int_equal(safety_rollback(s, id, "a test ends", NULL, &error), 0);
	assert_non_null(strstr(error.text, "left alone"));
}

/* The kernel sets the other one of a coupled pair to 0; here the test does. */
static void test_coupled(void **state)
{
	char text[4096];

	(void)state;
	/* the pair's other half does not follow yet: it is recorded as it reads */
	assert_int_equal(
		change_one(s, "tuner", CHANGE_AUTO, DIRTY_BYTES, "104857600", &id, &error), 0);
	assert_int_equal(safety_explain(f.dir, id, text, sizeof(text), &error), 0);
	assert_non_null(strstr(text, "echo 20 > /proc/sys/vm/dirty_ratio"));
	assert_null(strstr(text, "> /proc/sys/vm/dirty_bytes"));
	/* one owner for both */
	assert_int_equal(
		change_one(s, "kml", CHANGE_AUTO, DIRTY_RATIO, "30", &other, &error), -EBUSY);
	assert_non_null(strstr(error.text, "held by change"));
	/* somebody writes the ratio, and the kernel forgets the bytes */
	file_put(f.root, DIRTY_RATIO_FILE, "35\n");
	file_put(f.root, DIRTY_BYTES_FILE, "0\n");
	assert_int_equal(safety_rollback(s, id, "a test ends", NULL, &error), 0);
	assert_non_null(strstr(error.text, "left alone"));
	assert_true(file_is(f.root, DIRTY_RATIO_FILE, "35"));
	{
		static const struct safety_knob both[] = { { DIRTY_RATIO, "10" },
			{ DIRTY_BYTES, "2097152" } };
		const struct safety_request rq = {
			.owner = "tuner", .mode = CHANGE_AUTO, .knob = both, .n_knobs = 2
		};

		assert_int_equal(safety_apply(s, &rq, &id, &error), -EINVAL);
		assert_non_null(strstr(error.text, "excludes"));
	}
}

static void test_refused(void **state)
{
	(void)state;
	assert_int_equal(
		change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "300", &id, &error), -ERANGE);
	assert_int_equal(
		change_one(s, "tuner", CHANGE_AUTO, "sysctl:kernel.panic", "1", &id, &error),
		-ENOENT);
	assert_int_equal(
		change_one(s, "tuner", CHANGE_AUTO, "sysctl:vm.page-cluster", "1", &id, &error),
		-ENOENT);
	assert_int_equal(change_one(s, "", CHANGE_AUTO, SWAPPINESS, "10", &id, &error), -EINVAL);
	assert_int_equal(change_one(s, "tuner", 0, SWAPPINESS, "10", &id, &error), -EINVAL);
	assert_int_equal(
		change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "60", &id, &error), -EALREADY);
	assert_int_equal(id, 0);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
}

static void test_owner_and_duplicates(void **state)
{
	size_t before, after;

	(void)state;
	assert_int_equal(change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "10", &id, &error), 0);
	free(file_read(f.dir, "journal", &before));
	assert_int_equal(
		change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "010", &other, &error), -EALREADY);
	assert_int_equal(other, id);
	assert_int_equal(
		change_one(s, "kml", CHANGE_AUTO, SWAPPINESS, "20", &other, &error), -EBUSY);
	free(file_read(f.dir, "journal", &after));
	assert_int_equal(before, after);
	{
		static const struct safety_knob twice[] = { { READ_AHEAD, "64" },
			{ "blkra:vda", "64" } };
		const struct safety_request rq = {
			.owner = "tuner", .mode = CHANGE_AUTO, .knob = twice, .n_knobs = 2
		};

		assert_int_equal(safety_apply(s, &rq, &other, &error), -EINVAL);
	}
}

static void test_rates(void **state)
{
	int err = 0;

	(void)state;
	/* undone three times: not tried a fourth time within ten minutes */
	for (int i = 0; i < SAFETY_RETRIES; i++) {
		assert_int_equal(
			change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "10", &id, &error), 0);
		assert_int_equal(safety_rollback(s, id, "it did not help", NULL, &error), 0);
		f.boot_ns += SAFETY_RATE_WINDOW_NS;
	}
	assert_int_equal(
		change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "10", &id, &error), -EAGAIN);
	assert_int_equal(change_one(s, "kml", CHANGE_AUTO, SWAPPINESS, "10", &id, &error), 0);
	assert_int_equal(safety_rollback(s, id, "x", NULL, &error), 0);
	f.boot_ns += SAFETY_RETRY_WINDOW_NS;
	assert_int_equal(change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "10", &id, &error), 0);
	assert_int_equal(safety_rollback(s, id, "x", NULL, &error), 0);
	/* twelve a minute */
	f.boot_ns += SAFETY_RETRY_WINDOW_NS;
	for (unsigned int i = 0; i < SAFETY_RATE; i++) {
		char value[8];

		snprintf(value, sizeof(value), "%u", 100 + i);
		assert_int_equal(
			change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, value, &id, &error), 0);
		assert_int_equal(safety_rollback(s, id, "x", NULL, &error), 0);
	}
	err = change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "99", &id, &error);
	assert_int_equal(err, -EAGAIN);
	f.boot_ns += SAFETY_RATE_WINDOW_NS;
	assert_int_equal(change_one(s, "tuner", CHANGE_AUTO, SWAPPINESS, "99", &id, &error), 0);
}

static void test_modes_at_the_end(void **state)
{
	(void)state;
	assert_int_equal(change_one(s, "a", CHANGE_AUTO, SWAPPINESS, "10", &id, &error), 0);
	assert_int_equal(change_one(s, "a", CHANGE_ON_BREACH, READ_AHEAD, "64", &id, &error), 0);
	assert_int_equal(change_one(s, "a", CHANGE_NEVER, DIRTY_RATIO, "30", &other, &error), 0);
	assert_int_equal(safety_close(s, SAFETY_STOP), 0);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
	assert_true(file_is(f.root, READ_AHEAD_FILE, "64"));
	assert_true(file_is(f.root, DIRTY_RATIO_FILE, "30"));
	/* they are still known, and a breach undoes the second */
	assert_int_equal(safety_open(&s, &f.options, &report, &error), 0);
	assert_int_equal(report.in_force, 2);
	assert_int_equal(report.rolled_back, 0);
	assert_int_equal(safety_breach(s, "a", "p99 rose"), 0);
	assert_true(file_is(f.root, READ_AHEAD_FILE, "128"));
	assert_true(file_is(f.root, DIRTY_RATIO_FILE, "30"));
	assert_int_equal(safety_rollback(s, other, "somebody asked", NULL, &error), 0);
	assert_true(file_is(f.root, DIRTY_RATIO_FILE, "20"));
}

static void test_upgrade(void **state)
{
	(void)state;
	assert_int_equal(change_one(s, "a", CHANGE_AUTO, SWAPPINESS, "10", &id, &error), 0);
	assert_int_equal(safety_close(s, SAFETY_UPGRADE), 0);
	s = NULL;
	assert_true(file_is(f.root, SWAPPINESS_FILE, "10"));
	/* what runs after the service stops honours it too */
	assert_int_equal(safety_recover(&f.options, &report, &error), 0);
	assert_int_equal(report.in_force, 1);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "10"));
	assert_int_equal(safety_open(&s, &f.options, &report, &error), 0);
	assert_int_equal(report.in_force, 1);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "10"));
	/* the mark holds once: a death after it is a death */
	die();
	assert_int_equal(safety_recover(&f.options, &report, &error), 0);
	assert_int_equal(report.rolled_back, 1);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
	/* nobody came in time */
	assert_int_equal(safety_open(&s, &f.options, &report, &error), 0);
	assert_int_equal(change_one(s, "a", CHANGE_AUTO, SWAPPINESS, "11", &id, &error), 0);
	assert_int_equal(safety_close(s, SAFETY_UPGRADE), 0);
	f.boot_ns += SAFETY_UPGRADE_NS + 1;
	f.real_ns -= 86400000000000ULL;
	assert_int_equal(safety_open(&s, &f.options, &report, &error), 0);
	assert_int_equal(report.rolled_back, 1);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
	/* or it is not to count */
	assert_int_equal(change_one(s, "a", CHANGE_AUTO, SWAPPINESS, "12", &id, &error), 0);
	assert_int_equal(safety_close(s, SAFETY_UPGRADE), 0);
	s = NULL;
	f.options.ignore_upgrade = true;
	assert_int_equal(safety_recover(&f.options, &report, &error), 0);
	assert_int_equal(report.rolled_back, 1);
}

/* What was changed in another boot went with it, whatever the knob reads now. */
static void test_another_boot(void **state)
{
	char text[4096];

	(void)state;
	assert_int_equal(change_one(s, "a", CHANGE_AUTO, SWAPPINESS, "10", &id, &error), 0);
	assert_int_equal(change_one(s, "a", CHANGE_NEVER, READ_AHEAD, "64", &other, &error), 0);
	die();
	file_put(f.root, "proc/sys/kernel/random/boot_id", BOOT_2);
	assert_int_equal(safety_recover(&f.options, &report, &error), 0);
	assert_int_equal(report.left_alone, 2);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "10"));
	assert_int_equal(safety_explain(f.dir, id, text, sizeof(text), &error), 0);
	assert_non_null(strstr(text, "started anew"));
}

static void test_recover(void **state)
{
	struct safety_audit audit;

	(void)state;
	assert_int_equal(change_two(s, CHANGE_AUTO, &id, &error), 0);
	assert_int_equal(safety_recover(&f.options, &report, &error), -EBUSY);
	assert_int_equal(safety_audit(f.dir, f.root, &audit, &error), 0);
	assert_int_equal(audit.open, 1);
	assert_int_equal(audit.differs, 0);
	file_put(f.root, READ_AHEAD_FILE, "999\n");
	assert_int_equal(safety_audit(f.dir, f.root, &audit, &error), 0);
	assert_int_equal(audit.differs, 1);
	file_put(f.root, READ_AHEAD_FILE, "512\n");
	die();
	assert_int_equal(safety_recover(&f.options, &report, &error), 0);
	assert_int_equal(report.rolled_back, 1);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
	assert_true(file_is(f.root, READ_AHEAD_FILE, "128"));
	assert_int_equal(safety_recover(&f.options, &report, &error), 0);
	assert_int_equal(report.rolled_back, 0);
	f.options.dir = "/nowhere/at/all";
	assert_int_equal(safety_recover(&f.options, &report, &error), 0);
}

/* A knob that cannot be written stays on record until it can. */
static void test_undo_fails(void **state)
{
	char path[200];

	(void)state;
	assert_int_equal(change_one(s, "a", CHANGE_AUTO, SWAPPINESS, "10", &id, &error), 0);
	snprintf(path, sizeof(path), "%s/%s", f.root, SWAPPINESS_FILE);
	unlink(path);
	mkdir(path, 0700);
	assert_true(safety_rollback(s, id, "a test ends", NULL, &error) < 0);
	assert_non_null(strstr(error.text, "is not undone"));
	assert_int_equal(safety_close(s, SAFETY_STOP), 1);
	s = NULL;
	assert_int_equal(safety_recover(&f.options, &report, &error), -EIO);
	assert_int_equal(report.failed, 1);
	rmdir(path);
	file_put(f.root, SWAPPINESS_FILE, "10\n");
	assert_int_equal(safety_recover(&f.options, &report, &error), 0);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
}

/* No room in the journal: nothing is changed, and what is in force is undone all the same. */
static void test_no_room(void **state)
{
	struct rlimit old, low;
	bool between = false, whole = false;
	size_t n, after;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	low = old;
	assert_int_equal(change_one(s, "a", CHANGE_ON_BREACH, READ_AHEAD, "64", &id, &error), 0);
	for (size_t extra = 0; !whole && extra < 4096; extra += 20) {
		int err;

		free(file_read(f.dir, "journal", &n));
		low.rlim_cur = n + extra;
		setrlimit(RLIMIT_FSIZE, &low);
		err = change_one(s, "b", CHANGE_AUTO, SWAPPINESS, "10", &other, &error);
		setrlimit(RLIMIT_FSIZE, &old);
		free(file_read(f.dir, "journal", &after));
		/* nothing on record, the intent alone, or all of it */
		whole = err == 0;
		between |= err != 0 && after > n;
		assert_true(err == 0 || err == -EFBIG);
		assert_true(whole || error.text[0]);
		assert_true(file_is(f.root, SWAPPINESS_FILE, whole ? "10" : "060"));
		f.boot_ns += SAFETY_RETRY_WINDOW_NS;
		/* an intent whose end found no room is still open: undoing it is harmless */
		safety_close(s, SAFETY_UPGRADE);
		f.options.ignore_upgrade = true;
		assert_int_equal(safety_open(&s, &f.options, &report, &error), 0);
		assert_int_equal(report.failed, 0);
		assert_int_equal(report.in_force, 1);
		assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
	}
	assert_true(between);
	assert_true(whole);
	free(file_read(f.dir, "journal", &n));
	low.rlim_cur = n;
	setrlimit(RLIMIT_FSIZE, &low);
	assert_int_equal(safety_breach(s, "a", "p99 rose"), 0);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_true(file_is(f.root, READ_AHEAD_FILE, "128"));
}

static void test_segments(void **state)
{
	struct safety_audit audit;
	char text[4096];

	(void)state;
	safety_close(s, SAFETY_STOP);
	f.options.max_bytes = 4096;
	assert_int_equal(safety_open(&s, &f.options, &report, &error), 0);
	assert_int_equal(
		change_one(s, "first", CHANGE_ON_BREACH, READ_AHEAD, "64", &id, &error), 0);
	for (int i = 0; i < 60; i++) {
		char value[8];

		snprintf(value, sizeof(value), "%d", 100 + i % 50);
		assert_int_equal(
			change_one(s, "a", CHANGE_AUTO, SWAPPINESS, value, &other, &error), 0);
		assert_int_equal(safety_rollback(s, other, "x", NULL, &error), 0);
		f.boot_ns += SAFETY_RETRY_WINDOW_NS;
	}
	assert_int_equal(safety_audit(f.dir, f.root, &audit, &error), 0);
	assert_true(audit.segments > 5);
	assert_int_equal(audit.open, 1);
	assert_int_equal(audit.differs, 0);
	die();
	assert_int_equal(safety_open(&s, &f.options, &report, &error), 0);
	assert_int_equal(report.in_force, 1);
	assert_int_equal(safety_explain(f.dir, id, text, sizeof(text), &error), 0);
	assert_int_equal(safety_breach(s, "first", "p99 rose"), 0);
	assert_true(file_is(f.root, READ_AHEAD_FILE, "128"));
	/* a segment that was replaced is noticed */
	{
		char *bytes, path[200];
		size_t n;

		snprintf(path, sizeof(path), "%s/journal.0000000003", f.dir);
		bytes = file_read(f.dir, "journal.0000000004", &n);
		unlink(path);
		file_write(f.dir, "journal.0000000003", bytes, n);
		free(bytes);
		assert_int_equal(safety_audit(f.dir, f.root, &audit, &error), -EBADMSG);
	}
}

/* What has ended is forgotten in time, what is open and who is quarantined never. */
static void test_many(void **state)
{
	struct exit_record exit = { .environment = 1, .policy = "kml", .kind = "device" };
	bool quarantined;

	(void)state;
	assert_int_equal(
		change_one(s, "first", CHANGE_ON_BREACH, READ_AHEAD, "64", &id, &error), 0);
	for (int i = 0; i < 250; i++) {
		char value[8];

		snprintf(value, sizeof(value), "%d", 100 + i % 50);
		assert_int_equal(
			change_one(s, "a", CHANGE_AUTO, SWAPPINESS, value, &other, &error), 0);
		assert_int_equal(safety_rollback(s, other, "x", "no better", &error), 0);
		f.boot_ns += SAFETY_RETRY_WINDOW_NS;
	}
	for (int i = 0; i < 100; i++)
		assert_int_equal(safety_exit(s, &exit, &quarantined, &error), 0);
	assert_int_equal(safety_rollback(s, other, "x", NULL, &error), -EALREADY);
	assert_int_equal(safety_rollback(s, 3, "x", NULL, &error), id == 3 ? 0 : -ENOENT);
	assert_int_equal(safety_breach(s, "first", "p99 rose"), 0);
	assert_true(file_is(f.root, READ_AHEAD_FILE, "128"));
}

static void test_damaged(void **state)
{
	size_t n;
	char *bytes;

	(void)state;
	assert_int_equal(change_one(s, "a", CHANGE_AUTO, SWAPPINESS, "10", &id, &error), 0);
	die();
	bytes = file_read(f.dir, "journal", &n);
	bytes[n / 2] ^= 1;
	file_write(f.dir, "journal", bytes, n);
	free(bytes);
	assert_int_equal(safety_recover(&f.options, &report, &error), -EBADMSG);
	assert_non_null(strstr(error.text, "damaged at byte"));
	assert_int_equal(safety_open(&s, &f.options, &report, &error), -EBADMSG);
	assert_null(s);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "10"));
}

/* A change of mode auto is made only when somebody would undo it. */
static void test_needs_a_keeper(void **state)
{
	(void)state;
	safety_close(s, SAFETY_STOP);
	f.options.no_keeper_needed = false;
	assert_int_equal(safety_open(&s, &f.options, &report, &error), 0);
	assert_int_equal(change_one(s, "a", CHANGE_AUTO, SWAPPINESS, "10", &id, &error), -EAGAIN);
	assert_non_null(strstr(error.text, "keeper"));
	assert_int_equal(change_one(s, "a", CHANGE_ON_BREACH, SWAPPINESS, "10", &id, &error), 0);
	safety_close(s, SAFETY_STOP);
	f.options.keeper = "/nowhere/semantos-keeper";
	assert_int_equal(safety_open(&s, &f.options, &report, &error), -ENOENT);
	assert_null(s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_apply_keep_rollback),
		T(test_journal_taken_away),
		T(test_theirs_is_left_alone),
		T(test_already_back_and_gone),
		T(test_coupled),
		T(test_refused),
		T(test_owner_and_duplicates),
		T(test_rates),
		T(test_modes_at_the_end),
		T(test_upgrade),
		T(test_another_boot),
		T(test_recover),
		T(test_undo_fails),
		T(test_no_room),
		T(test_segments),
		T(test_many),
		T(test_damaged),
		T(test_needs_a_keeper),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
