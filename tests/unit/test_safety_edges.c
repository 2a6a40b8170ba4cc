// SPDX-License-Identifier: Apache-2.0
/*
 * test_safety_edges.c - what agent/safety does at its edges: full tables, odd requests, crafted records, clocks that jump.
 *
 * Each case names what must hold there; together with the sweeps they take every branch (make coverage).
 */
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "agent/safety/breaker.h"
#include "agent/safety/canary.h"
#include "agent/safety/knob_kind.h"
#include "agent/safety/safety_internal.h"
#include "agent/safety/undo.h"
#include "agent/safety/watch.h"
#include "tests/unit/safety_open.h"

static void again(enum safety_end end)
{
	safety_close(s, end);
	assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
}

/* ---- requests ---- */

static void odd_requests_are_refused(void **state)
{
	struct safety_knob knob[9] = { { SWAPPINESS, "10" }, { READ_AHEAD, "256" } };
	struct safety_request rq = { "a", CHANGE_AUTO, knob, 1, NULL, NULL, NULL, 0 };
	char longer[RECORD_OWNER_MAX + 1];
	char name[9][40];
	uint64_t id;

	(void)state;
	rq.n_knobs = 0;
	assert_int_equal(safety_apply(s, &rq, &id, &error), -EINVAL);
	rq.n_knobs = 1;
	rq.mode = 0;
	assert_int_equal(safety_apply(s, &rq, &id, &error), -EINVAL);
	rq.mode = CHANGE_ONCE + 1;
	assert_int_equal(safety_apply(s, &rq, &id, NULL), -EINVAL);
	rq.mode = CHANGE_AUTO;
	rq.owner = "";
	assert_int_equal(safety_apply(s, &rq, &id, &error), -EINVAL);
	memset(longer, 'x', sizeof(longer));
	longer[RECORD_OWNER_MAX] = '\0';
	rq.owner = longer;
	assert_int_equal(safety_apply(s, &rq, &id, &error), -EINVAL);
	rq.owner = "a";
	/* the first of two is refused: the second is not looked at */
	knob[0].value = "999";
	rq.n_knobs = 2;
	assert_int_equal(safety_apply(s, &rq, &id, &error), -ERANGE);
	/* one of two stands already; no reason given */
	knob[0].value = "60";
	assert_int_equal(safety_apply(s, &rq, &id, &error), 0);
	assert_int_equal(safety_rollback(s, id, "x", NULL, &error), 0);
	/* eight settings and the ninth that is coupled */
	for (int i = 0; i < 8; i++) {
		snprintf(name[i], sizeof(name[i]), "cgroup:s%d/cpu.weight", i);
		knob[i] = (struct safety_knob){ name[i], "50" };
	}
	knob[7] = (struct safety_knob){ DIRTY_BYTES, "1048576" };
	rq.n_knobs = 8;
	assert_int_equal(safety_apply(s, &rq, &id, &error), -E2BIG);
}

static void as_many_changes_as_there_is_room_for(void **state)
{
	char name[40], file[64], owner[16];
	struct safety_report report;
	struct change one = { .state = CHANGE_APPLIED, .id = 1 };
	struct book *book = book_new();
	uint64_t id;

	(void)state;
	for (int i = 0; i <= BOOK_OPEN_MAX; i++) {
		snprintf(name, sizeof(name), "cgroup:s%d/cpu.weight", i);
		snprintf(file, sizeof(file), "sys/fs/cgroup/s%d/cpu.weight", i);
		snprintf(owner, sizeof(owner), "o%d", i);
		file_put(f.root, file, "100\n");
		assert_int_equal(change_one(s, owner, CHANGE_AUTO, name, "50", &id, &error),
			i < BOOK_OPEN_MAX ? 0 : -EAGAIN);
	}
	safety_leave(s);
	s = NULL;
	assert_int_equal(safety_recover(&f.options, &report, &error), 0);
	assert_int_equal(report.rolled_back, BOOK_OPEN_MAX);
	for (int i = 0; i < BOOK_OPEN_MAX; i++, one.id++)
		assert_int_equal(
			book_add(book, &(struct record){ .kind = RECORD_CHANGE, .change = one }),
			0);
	assert_int_equal(book_add(book, &(struct record){ .kind = RECORD_CHANGE, .change = one }),
		-EOVERFLOW);
	book_free(book);
}

static void the_book_forgets_what_ended_first(void **state)
{
	struct record r = { .kind = RECORD_CHANGE };
	struct book *book = book_new();
	struct record **carry;
	size_t n;

	(void)state;
	/* nothing in it, nothing to carry */
	assert_int_equal(book_carry(book, &carry, &n), 0);
	assert_int_equal(n, 0);
	book_carry_free(carry, n);
	r.change.id = 1;
	r.change.state = CHANGE_APPLIED;
	assert_int_equal(book_add(book, &r), 0);
	r.change.state = CHANGE_ROLLED_BACK;
	for (r.change.id = 2; r.change.id < BOOK_ENDED_MAX + 5; r.change.id++)
		assert_int_equal(book_add(book, &r), 0);
	assert_non_null(book_find(book, 1));
	assert_null(book_find(book, 2));
	r.kind = 99;
	assert_int_equal(book_add(book, &r), -EINVAL);
	memset(&r, 0, sizeof(r));
	r.kind = RECORD_QUARANTINE;
	strcpy(r.quarantine.policy, "nobody");
	assert_int_equal(book_add(book, &r), 0);
	r.quarantine.on = 1;
	for (int i = 0; i <= BOOK_QUARANTINE_MAX; i++) {
		snprintf(r.quarantine.policy, sizeof(r.quarantine.policy), "p%d", i);
		assert_int_equal(book_add(book, &r), i < BOOK_QUARANTINE_MAX ? 0 : -EOVERFLOW);
	}
	book_free(book);
}

/* What there is no room for is not on the disk either: a journal that could not be read again would keep all from starting. */
static void a_quarantine_too_many_is_not_written(void **state)
{
	struct exit_record exit = { .kind = "slo", .reason = "slow" };
	bool quarantined;
	uint64_t next;

	(void)state;
	for (int i = 0; i <= BOOK_QUARANTINE_MAX; i++) {
		int err = 0;

		snprintf(exit.policy, sizeof(exit.policy), "p%d", i);
		for (int k = 0; k < BREAKER_EJECTIONS; k++) {
			next = journal_next_seq(s->journal);
			err = safety_exit(s, &exit, &quarantined, &error);
		}
		assert_int_equal(quarantined, i < BOOK_QUARANTINE_MAX);
		assert_int_equal(err, i < BOOK_QUARANTINE_MAX ? 0 : -EOVERFLOW);
	}
	assert_non_null(strstr(error.text, "no room left"));
	/* the ejection is on record, the quarantine is not */
	assert_int_equal(journal_next_seq(s->journal), next + 1);
	again(SAFETY_STOP);
	assert_int_equal(s->book->n_quarantine, BOOK_QUARANTINE_MAX);
	assert_int_equal(safety_admit(s, "p0", &error), -EPERM);
	/* three ejections are three ejections: it stays out, for want of room to say why */
	assert_int_equal(safety_admit(s, exit.policy, &error), -EOVERFLOW);
	/* there is room for one that is listed already, and again once another was lifted */
	{
		struct record r = { .kind = RECORD_QUARANTINE, .quarantine = { .on = 1 } };

		strcpy(r.quarantine.policy, "p0");
		assert_int_equal(book_reserve(s->book, &r), 0);
		strcpy(r.quarantine.policy, exit.policy);
		assert_int_equal(book_reserve(s->book, &r), -EOVERFLOW);
		assert_int_equal(safety_unquarantine(s, "p7", &error), 0);
		assert_int_equal(book_reserve(s->book, &r), 0);
	}
	assert_int_equal(safety_admit(s, exit.policy, &error), -EPERM);
	assert_true(book_quarantined(s->book, exit.policy));
}

static void more_quarantines_than_there_is_room_for(void **state)
{
	struct record *r = calloc(1, sizeof(*r));

	(void)state;
	for (int i = 0; i <= BOOK_QUARANTINE_MAX; i++) {
		memset(r, 0, sizeof(*r));
		r->kind = RECORD_QUARANTINE;
		r->quarantine.on = 1;
		snprintf(r->quarantine.policy, sizeof(r->quarantine.policy), "p%d", i);
		assert_int_equal(journal_append(s->journal, r, &error), 0);
	}
	r->kind = 99;
	assert_int_equal(journal_append(s->journal, r, &error), -EINVAL);
	assert_int_equal(journal_rotate(s->journal, &r, 1, &r->stamp, &error), -EINVAL);
	free(r);
	safety_leave(s);
	assert_int_equal(safety_open(&s, &f.options, NULL, &error), -EOVERFLOW);
	assert_non_null(strstr(error.text, "more than there is room for"));
	s = NULL;
}

/* Undone, and nobody could record it: recovery finds the old values and says so, though the mode is not its to undo. */
static void what_is_back_already_is_recorded(void **state)
{
	static const struct {
		const char *swappiness, *read_ahead;
		unsigned int rolled_back;
	} row[] = { { "010", "512", 0 }, { "060", "512", 0 }, { "010", "128", 0 },
		{ "060", "128", 1 } };
	struct safety_report report;
	uint64_t id;

	(void)state;
	assert_int_equal(change_two(s, CHANGE_NEVER, &id, &error), 0);
	safety_leave(s);
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		file_put(f.root, SWAPPINESS_FILE, row[i].swappiness);
		file_put(f.root, READ_AHEAD_FILE, row[i].read_ahead);
		assert_int_equal(safety_recover(&f.options, &report, &error), 0);
		assert_int_equal(report.rolled_back, row[i].rolled_back);
		assert_int_equal(report.in_force, !row[i].rolled_back);
		assert_true(file_is(f.root, SWAPPINESS_FILE, row[i].swappiness));
		assert_true(file_is(f.root, READ_AHEAD_FILE, row[i].read_ahead));
	}
	assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
	assert_int_equal(book_find(s->book, id)->state, CHANGE_ROLLED_BACK);
}

/* A word is written as a word and a number as the kernel reads one, whatever was asked for. */
static void words_and_numbers_are_written(void **state)
{
	static const struct {
		const char *name, *file, *was, *value, *written;
	} row[] = {
		{ "sysfs:kernel/mm/transparent_hugepage/enabled",
			"sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n",
			"never", "never\n" },
		{ "cgroup:a/memory.high", "sys/fs/cgroup/a/memory.high", "max\n", "010485760",
			"10485760\n" },
		{ "cgroup:b/memory.high", "sys/fs/cgroup/b/memory.high", "8388608\n", "max",
			"max\n" },
		{ SWAPPINESS, SWAPPINESS_FILE, "60\n", "0x10", "16\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		uint64_t id;
		char *text;

		file_put(f.root, row[i].file, row[i].was);
		assert_int_equal(
			change_one(s, "a", CHANGE_AUTO, row[i].name, row[i].value, &id, &error), 0);
		text = file_read(f.root, row[i].file, NULL);
		assert_string_equal(text, row[i].written);
		free(text);
		assert_int_equal(safety_rollback(s, id, "x", NULL, &error), 0);
		text = file_read(f.root, row[i].file, NULL);
		assert_string_equal(text, i == 0 ? "madvise\n" : row[i].was);
		free(text);
	}
}

static void breach_is_of_one_owner(void **state)
{
	uint64_t id;

	(void)state;
	assert_int_equal(change_one(s, "a", CHANGE_AUTO, SWAPPINESS, "010", &id, &error), 0);
	assert_int_equal(safety_breach(s, "b", "p99 rose"), 0);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "010"));
	assert_int_equal(safety_breach(s, "a", "p99 rose"), 0);
	assert_true(file_is(f.root, SWAPPINESS_FILE, "060"));
}

/* ---- boots and clocks ---- */

static void another_boot_counts_for_no_rate(void **state)
{
	uint64_t id;

	(void)state;
	for (int i = 0; i < SAFETY_RATE; i++) {
		assert_int_equal(change_one(s, "a", CHANGE_AUTO, SWAPPINESS, i % 2 ? "010" : "011",
					 &id, &error),
			0);
		safety_rollback(s, id, "x", NULL, &error);
		f.boot_ns += SAFETY_RETRY_WINDOW_NS;
	}
	f.boot_ns -= SAFETY_RETRY_WINDOW_NS;
	file_put(f.root, "proc/sys/kernel/random/boot_id", BOOT_2);
	again(SAFETY_STOP);
	assert_int_equal(change_one(s, "a", CHANGE_AUTO, SWAPPINESS, "010", &id, &error), 0);
	/* no boot id on either side: counts as this boot */
	{
		struct change change = {
			.n_knobs = 1, .mode = CHANGE_AUTO, .state = CHANGE_APPLIED
		};

		strcpy(change.knob[0].name, DIRTY_RATIO);
		strcpy(change.knob[0].original, "20");
		strcpy(change.knob[0].readback, "20");
		assert_int_equal(change_undo(&change, f.root, "", "x", NULL), 0);
		change.state = CHANGE_APPLIED;
		assert_int_equal(change_undo(&change, f.root, "some", "x", NULL), 0);
		assert_int_equal(change.state, CHANGE_ROLLED_BACK);
	}
}

static void an_upgrade_has_its_time(void **state)
{
	static const struct {
		int64_t later_ns;
		const char *boot;
		bool kept;
	} row[] = {
		{ 1000000000, BOOT_1, true },
		{ (int64_t)SAFETY_UPGRADE_NS + 1, BOOT_1, false },
		/* a clock that went backwards is no proof of an upgrade under way */
		{ -1000000000, BOOT_1, false },
		{ 1000000000, BOOT_2, false },
	};
	uint64_t id;

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		const struct change *change;

		file_put(f.root, "proc/sys/kernel/random/boot_id", BOOT_1);
		again(SAFETY_STOP);
		assert_int_equal(
			change_one(s, "a", CHANGE_AUTO, SWAPPINESS, "010", &id, &error), 0);
		safety_close(s, SAFETY_UPGRADE);
		f.boot_ns += (uint64_t)row[i].later_ns;
		file_put(f.root, "proc/sys/kernel/random/boot_id", row[i].boot);
		assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
		change = book_find(s->book, id);
		assert_int_equal(change_open(change), row[i].kept);
		f.boot_ns += SAFETY_RETRY_WINDOW_NS + 2000000000;
		file_put(f.root, SWAPPINESS_FILE, "060\n");
	}
}

/* ---- policies ---- */

static int note(
	const char *policy, const char *from, const char *to, const char *evidence, uint64_t *id)
{
	struct policy_event event = { 0 };
	int err;

	strcpy(event.policy, policy);
	strcpy(event.from, from);
	strcpy(event.to, to);
	snprintf(event.sentence, sizeof(event.sentence), "%s: %s -> %s, because of a test", policy,
		from, to);
	strcpy(event.evidence, evidence);
	strcpy(event.undo, "semantosctl mode linnos shadow");
	err = safety_note(s, &event, &error);
	*id = event.id;
	return err;
}

static void what_was_done_to_a_policy_is_explained(void **state)
{
	uint64_t first, other, second, third, change;
	char text[8192];

	(void)state;
	assert_int_equal(note("", "a", "b", "", &first), -EALREADY);
	assert_int_equal(note("linnos", "shadow", "shadow", "", &first), -EALREADY);
	assert_int_equal(note("linnos", "detached", "shadow", "AUC 0.97", &first), 0);
	assert_int_equal(note("kml", "detached", "shadow", "", &other), 0);
	assert_int_equal(note("linnos", "shadow", "canary:5", "", &second), 0);
	assert_int_equal(note("linnos", "canary:5", "enforce", "treated -20 us", &third), 0);
	assert_int_equal(change_one(s, "a", CHANGE_AUTO, SWAPPINESS, "010", &change, &error), 0);

	assert_int_equal(safety_explain(f.dir, first, text, sizeof(text), &error), 0);
	assert_non_null(strstr(text, "evidence: AUC 0.97"));
	assert_non_null(strstr(text, "expected: nothing was recorded"));
	assert_non_null(strstr(text, "observed: until change"));
	assert_non_null(strstr(text, "shadow -> canary:5"));
	assert_null(strstr(text, "kml"));
	assert_null(strstr(text, "enforce"));
	assert_non_null(strstr(text, "undo: semantosctl mode linnos shadow"));
	assert_int_equal(safety_explain(f.dir, second, text, sizeof(text), &error), 0);
	assert_non_null(strstr(text, "treated -20 us"));
	assert_int_equal(safety_explain(f.dir, third, text, sizeof(text), &error), 0);
	assert_non_null(strstr(text, "no later change of linnos"));
	assert_int_equal(safety_explain(f.dir, other, text, sizeof(text), &error), 0);
	assert_non_null(strstr(text, "evidence: none was recorded"));
	/* a keeper that takes over writes an event once more: it is the same one */
	{
		struct record *r = calloc(1, sizeof(*r));

		r->kind = RECORD_POLICY;
		r->policy.id = third;
		strcpy(r->policy.policy, "linnos");
		strcpy(r->policy.to, "enforce");
		assert_int_equal(journal_append(s->journal, r, &error), 0);
		free(r);
	}
	assert_int_equal(safety_explain(f.dir, third, text, sizeof(text), &error), 0);
	assert_non_null(strstr(text, "no later change of linnos"));
	/* a page too small for it is filled and no more */
	assert_int_equal(safety_explain(f.dir, first, text, 40, &error), 0);
	assert_int_equal(strlen(text), 39);
}

static void undo_of_a_coupled_pair_names_one_command(void **state)
{
	char text[8192];
	uint64_t id;

	(void)state;
	assert_int_equal(change_one(s, "a", CHANGE_AUTO, DIRTY_RATIO, "30", &id, &error), 0);
	assert_int_equal(safety_explain(f.dir, id, text, sizeof(text), &error), 0);
	assert_non_null(strstr(text, "echo 20 > /proc/sys/vm/dirty_ratio"));
	assert_null(strstr(text, "dirty_bytes\n"));
	assert_int_equal(safety_rollback(s, id, "x", NULL, &error), 0);
	/* a value that is 0 and coupled with nothing is named */
	file_put(f.root, SWAPPINESS_FILE, "0\n");
	assert_int_equal(change_one(s, "a", CHANGE_AUTO, SWAPPINESS, "30", &id, &error), 0);
	assert_int_equal(safety_explain(f.dir, id, text, sizeof(text), &error), 0);
	assert_non_null(strstr(text, "echo 0 > /proc/sys/vm/swappiness"));
}

/* Stopped between the write and the read after it: what the write would have led to is ours, anything else is not. */
static void half_a_coupled_change(void **state)
{
	struct change change = { .n_knobs = 2, .mode = CHANGE_AUTO, .state = CHANGE_INTENT };

	(void)state;
	strcpy(change.knob[0].name, DIRTY_RATIO);
	strcpy(change.knob[0].original, "0");
	strcpy(change.knob[0].intended, "40");
	strcpy(change.knob[1].name, DIRTY_BYTES);
	strcpy(change.knob[1].original, "1048576");
	file_put(f.root, DIRTY_RATIO_FILE, "40\n");
	file_put(f.root, DIRTY_BYTES_FILE, "777\n");
	assert_int_equal(change_undo(&change, f.root, "", "x", NULL), 0);
	assert_int_equal(change.state, CHANGE_LEFT_ALONE);
	change.state = CHANGE_INTENT;
	file_put(f.root, DIRTY_BYTES_FILE, "0\n");
	/* the old value is written; that its partner then reads 0 is the kernel's part, which nobody plays here */
	assert_int_equal(change_undo(&change, f.root, "", "x", NULL), -EIO);
	assert_true(file_is(f.root, DIRTY_BYTES_FILE, "1048576"));
}

/* ---- the keeper on demand ---- */

static void a_keeper_is_started_when_it_is_needed(void **state)
{
	(void)state;
	assert_int_equal(safety_watch(s, &error), -ENOENT);
	assert_int_equal(safety_tick(s, &error), 0);
	safety_keeper_later(s, "/bin/true");
	safety_watch(s, &error);
	/* /bin/true ends at once: it is seen to be dead, and started anew */
	while (keeper_alive(&s->keeper))
		usleep(1000);
	safety_tick(s, &error);
	safety_watch(s, &error);
	safety_keeper_later(s, "/bin/cat");
	assert_non_null(safety_book(s, &error));
}

static void roots_and_no_roots(void **state)
{
	struct safety_options o = f.options;
	char dir[96], value[RECORD_VALUE_MAX];
	struct safety *other;
	struct knob knob;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/other.d", f.root);
	o.dir = dir;
	o.root = NULL;
	assert_int_equal(safety_open(&other, &o, NULL, &error), 0);
	assert_string_equal(other->root, "");
	safety_close(other, SAFETY_STOP);
	o.root = "/";
	assert_int_equal(safety_open(&other, &o, NULL, &error), 0);
	assert_string_equal(other->root, "");
	safety_close(other, SAFETY_STOP);
	/* this machine's, looked at only */
	assert_int_equal(knob_open(&knob, "/", SWAPPINESS, false, &error), 0);
	assert_false(knob.fake);
	assert_int_equal(knob_read(&knob, value), 0);
	knob_close(&knob);
	assert_int_equal(knob_open(&knob, "/", "blkra:no-such-disk", false, &error), -ENOENT);
	assert_non_null(strstr(error.text, ": /sys/block/no-such-disk: "));
	assert_int_equal(knob_open(&knob, "/", "sysfs:block/../queue/read_ahead_kb", false, &error),
		-EINVAL);
}

/* ---- knobs ---- */

static void names_of_knobs(void **state)
{
	char key[RECORD_NAME_MAX], longer[2 * RECORD_NAME_MAX];

	(void)state;
	assert_false(knob_is_action("nothing"));
	assert_false(knob_is_action(SWAPPINESS));
	assert_false(knob_waits("nothing"));
	assert_false(knob_waits(SWAPPINESS));
	assert_false(knob_resets("nothing"));
	assert_true(knob_waits(READ_AHEAD));
	{
		static const char *const words[] = { "nice", NULL };
		struct knob knob = { .fd = -1 };
		pid_t pid = 0;

		assert_false(knob_process("nothing", &pid));
		assert_false(knob_process(SWAPPINESS, &pid));
		assert_true(knob_process("sched:7@9/nice", &pid));
		assert_int_equal(pid, 7);
		/* a row of the table whose word the kind does not know */
		assert_int_equal(knob_task_open(&knob, "7@9/odd", words, &error), -EINVAL);
		assert_int_equal(knob.fd, -1);
	}
	assert_false(knob_partner("nothing", key));
	knob_key("nothing", key);
	assert_string_equal(key, "nothing");
	assert_int_equal(knob_check("sysfs:block/.a/queue/read_ahead_kb", "128", NULL), 0);
	assert_int_equal(knob_check("sysfs:block/a./queue/read_ahead_kb", "128", NULL), 0);
	assert_int_equal(knob_check("cgroup:ab/cpu.weight/", "50", NULL), -ENOENT);
	assert_int_equal(knob_full_name("sysctl:vm.a/b", key, NULL), 0);
	knob_key("sysctl:vm.a/b", key);
	assert_string_equal(key, "/proc/sys/vm/a.b");
	memset(longer, 'x', sizeof(longer));
	memcpy(longer, "cgroup:", 7);
	strcpy(longer + sizeof(longer) - sizeof("/cpu.weight"), "/cpu.weight");
	assert_int_equal(knob_check(longer, "50", NULL), -ENOENT);
	{
		const struct knob_def *high = knob_find("cgroup:x/memory.high");

		assert_false(knob_took(high, "max", "1"));
		assert_false(knob_took(high, "1", "max"));
		assert_true(knob_took(high, "1048576", "1048577"));
		assert_true(knob_took(high, "1048577", "1048576"));
	}
}

static void ranges_and_commands(void **state)
{
	static const char *const bad[] = { "2000-1000", "1001-2000", "1000-2001", "1000",
		"0x1000-2000", "1000-2000 ", "" };
	struct knob madvise = { .fd = -1, .kind = KNOB_MADVISE };
	struct knob sched = { .fd = -1, .kind = KNOB_SCHED, .pid = getpid() };
	char text[300], many[1000] = "0", value[RECORD_VALUE_MAX];
	uint64_t start, end;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(knob_range(bad[i], &start, &end));
	assert_true(knob_range("1000-2000", &start, &end));
	assert_int_equal(knob_write(&madvise, "x"), -EINVAL);
	assert_int_equal(knob_read(&madvise, value), -EOPNOTSUPP);
	knob_command("madvise:1@2/cold", "1000-2000", text, sizeof(text));
	assert_non_null(strstr(text, "nothing undoes"));
	knob_command("sched:1@2/nice", "5", text, sizeof(text));
	assert_string_equal(text, "renice -n 5 -p 1");
	knob_command("sched:1@2/affinity", "0-3", text, sizeof(text));
	assert_string_equal(text, "taskset -cp 0-3 1");
	knob_command("sched:1@2/policy", "batch", text, sizeof(text));
	assert_string_equal(text, "chrt --batch -p 0 1");
	knob_command("sched:1@2/policy", "idle", text, sizeof(text));
	assert_string_equal(text, "chrt --idle -p 0 1");
	/* more ranges than a value holds */
	for (int cpu = 2; strlen(many) < 300; cpu += 2)
		sprintf(many + strlen(many), ",%d", cpu);
	assert_false(knob_cpus_canonical(many));
	/* values no check has seen, on a descriptor that is none */
	sched.which = 0;
	assert_int_equal(knob_write(&sched, "x"), -EINVAL);
	sched.which = 1;
	assert_int_equal(knob_write(&sched, "x"), -EINVAL);
	sched.which = 2;
	assert_int_equal(knob_write(&sched, "x"), -EINVAL);
}

static void files_that_are_odd(void **state)
{
	char path[160], value[RECORD_VALUE_MAX];
	struct knob knob;

	(void)state;
	file_put(f.root, "sys/block/vda/queue/scheduler", "none mq-deadline\n");
	assert_int_equal(
		knob_open(&knob, f.root, "sysfs:block/vda/queue/scheduler", true, &error), 0);
	assert_int_equal(knob_read(&knob, value), 0);
	assert_string_equal(value, "none mq-deadline");
	file_put(f.root, "sys/block/vda/queue/scheduler", "  none  [mq-deadline\n");
	assert_int_equal(knob_read(&knob, value), 0);
	assert_string_equal(value, "mq-deadline");
	knob_close(&knob);
	/* a real knob is not cut to the length written */
	snprintf(path, sizeof(path), "%s/%s", f.root, SWAPPINESS_FILE);
	knob = (struct knob){ .fd = open(path, O_RDWR | O_CLOEXEC),
		.kind = KNOB_SYSCTL,
		.def = knob_find(SWAPPINESS) };
	assert_int_equal(knob_write(&knob, "7"), 0);
	assert_int_equal(lseek(knob.fd, 0, SEEK_END), 4);
	knob_close(&knob);
}

/* ---- the canary ---- */

static void a_canary_looked_at(void **state)
{
	struct canary canary;
	struct canary_view view;
	char why[256];

	(void)state;
	canary_reset(&canary);
	canary_view(&canary, &view);
	assert_true(isnan(view.control_us) && isnan(view.treated_us) && isnan(view.difference_us) &&
		    isnan(view.low_us));
	/* a block with one group alone says nothing */
	for (int i = 0; i < 20; i++)
		canary_add(&canary, 1, false, 100);
	canary_add(&canary, 2 * CANARY_BLOCK_NS, true, 100);
	assert_int_equal(canary.blocks, 0);
	for (uint64_t block = 3; canary_decide(&canary, why, sizeof(why)) == CANARY_WAIT; block++) {
		uint64_t n[2] = { 100, 10 };
		double sum[2] = { 10000 + (double)(block % 3), 900 };

		canary_add_block(&canary, n, sum);
	}
	assert_int_equal(canary_decide(&canary, why, sizeof(why)), CANARY_PROMOTE);
	canary_view(&canary, &view);
	assert_true(view.high_us < 0 && view.low_us < view.high_us &&
		    view.control_us > view.treated_us);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(odd_requests_are_refused),
		T(as_many_changes_as_there_is_room_for),
		T(the_book_forgets_what_ended_first),
		T(a_quarantine_too_many_is_not_written),
		T(more_quarantines_than_there_is_room_for),
		T(what_is_back_already_is_recorded),
		T(words_and_numbers_are_written),
		T(breach_is_of_one_owner),
		T(another_boot_counts_for_no_rate),
		T(an_upgrade_has_its_time),
		T(what_was_done_to_a_policy_is_explained),
		T(undo_of_a_coupled_pair_names_one_command),
		T(half_a_coupled_change),
		T(a_keeper_is_started_when_it_is_needed),
		T(roots_and_no_roots),
		cmocka_unit_test(names_of_knobs),
		cmocka_unit_test(ranges_and_commands),
		T(files_that_are_odd),
		cmocka_unit_test(a_canary_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
