// SPDX-License-Identifier: Apache-2.0
/*
 * test_safety_segments.c - journals that were tampered with, cut, doubled or moved: records with right checksums that say what
 * cannot be, segments under odd names, a new segment that cannot be begun.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include "agent/safety/journal_bytes.h"
#include "tests/unit/safety_open.h"

/* The last record of the journal, rewritten and with right checksums: only what it says is wrong. */
static void craft(void (*change)(struct journal_head *, uint8_t *payload), int want)
{
	size_t n, at = 0;
	char *bytes = file_read(f.dir, JOURNAL_NAME, &n);
	struct journal_head head;
	struct journal_tail tail;
	struct journal_scan scan;

	for (;;) {
		memcpy(&head, bytes + at, sizeof(head));
		if (at + head.bytes >= n)
			break;
		at += head.bytes;
	}
	change(&head, (uint8_t *)bytes + at + sizeof(head));
	head.head_crc = journal_head_crc(head);
	memcpy(bytes + at, &head, sizeof(head));
	memcpy(&tail, bytes + n - sizeof(tail), sizeof(tail));
	tail.crc = journal_crc(bytes + at, n - at - sizeof(tail));
	memcpy(bytes + n - sizeof(tail), &tail, sizeof(tail));
	assert_int_equal(journal_scan(bytes, n, NULL, NULL, &scan, &error), want);
	free(bytes);
}

static void keep(struct journal_head *head, uint8_t *payload)
{
	(void)head, (void)payload;
}
static void version_0(struct journal_head *head, uint8_t *payload)
{
	(void)payload;
	head->version = 0;
}
static void version_1(struct journal_head *head, uint8_t *payload)
{
	(void)payload;
	head->version = 1;
}
static void tiny(struct journal_head *head, uint8_t *payload)
{
	(void)payload;
	head->bytes = 10;
}
static void huge(struct journal_head *head, uint8_t *payload)
{
	(void)payload;
	head->bytes = JOURNAL_RECORD_MAX + 1;
}
static void another_seq(struct journal_head *head, uint8_t *payload)
{
	(void)payload;
	head->seq++;
}
static void another_chain(struct journal_head *head, uint8_t *payload)
{
	(void)payload;
	head->before[3] ^= 1;
}
static void no_such_kind(struct journal_head *head, uint8_t *payload)
{
	(void)payload;
	head->kind = 77;
}
static void a_second_start(struct journal_head *head, uint8_t *payload)
{
	(void)payload;
	head->kind = RECORD_START;
}
/* a mark's number is its last eight bytes */
static void no_such_mark(struct journal_head *head, uint8_t *payload)
{
	memset(payload + head->bytes - sizeof(*head) - sizeof(struct journal_tail) - 8, 0xff, 8);
}
static void no_mark(struct journal_head *head, uint8_t *payload)
{
	memset(payload + head->bytes - sizeof(*head) - sizeof(struct journal_tail) - 8, 0, 8);
}

static void crafted_records_are_refused(void **state)
{
	size_t n;
	char *bytes;
	struct journal_scan scan;
	struct journal_head head;

	(void)state;
	craft(keep, 0);
	craft(version_1, 0);
	craft(version_0, -EPROTO);
	craft(tiny, -EBADMSG);
	craft(huge, -EBADMSG);
	craft(another_seq, -EBADMSG);
	craft(another_chain, -EBADMSG);
	craft(no_such_kind, -EBADMSG);
	craft(a_second_start, -EBADMSG);
	craft(no_such_mark, -EBADMSG);
	craft(no_mark, -EBADMSG);
	/* the first record says it is number 0; it is longer than the file, with another one inside */
	bytes = file_read(f.dir, JOURNAL_NAME, &n);
	memcpy(&head, bytes, sizeof(head));
	for (int i = 0; i < 3; i++) {
		struct journal_head other = head;
		struct journal_tail tail;

		if (i == 0)
			other.seq = 0;
		else
			other.bytes = (uint32_t)n + 8;
		other.head_crc = journal_head_crc(other);
		memcpy(bytes, &other, sizeof(other));
		memcpy(&tail, bytes + head.bytes - sizeof(tail), sizeof(tail));
		tail.crc = journal_crc(bytes, head.bytes - sizeof(tail));
		memcpy(bytes + head.bytes - sizeof(tail), &tail, sizeof(tail));
		/* alone it is a record that was cut short, and no segment begins with one */
		assert_int_equal(
			journal_scan(bytes, i == 2 ? head.bytes : n, NULL, NULL, &scan, &error),
			-EBADMSG);
	}
	free(bytes);
}

static void lengths_in_records(void **state)
{
	struct record r = { .kind = RECORD_EXIT }, back = { .kind = RECORD_EXIT };
	uint8_t bytes[RECORD_PAYLOAD_MAX];
	size_t n, at;

	(void)state;
	strcpy(r.exit.policy, "linnos");
	n = record_pack(&r, bytes);
	assert_int_equal(record_unpack(&back, bytes, n), 0);
	at = n - 2 - 2 - 2 - 6 - 2; /* where the policy's length stands, before three empty texts */
	assert_int_equal(bytes[at], 6);
	bytes[at] = RECORD_OWNER_MAX;
	assert_int_equal(record_unpack(&back, bytes, n), -EINVAL);
	bytes[at] = 30;
	assert_int_equal(record_unpack(&back, bytes, n), -EINVAL);
	bytes[at] = 6;
	bytes[at + 4] = 0;
	assert_int_equal(record_unpack(&back, bytes, n), -EINVAL);
	r.kind = 99;
	assert_int_equal(record_pack(&r, bytes), 0);
	assert_string_equal(change_state_name(99), "?");
	assert_string_equal(change_mode_name(99), "?");
}

static void texts_are_cut_at_a_character(void **state)
{
	char out[8] = "x";
	size_t len = 0;

	(void)state;
	record_text(out, 0, "abc");
	assert_string_equal(out, "x");
	record_text(out, 4,
		"ab\xc3\xa4"
		"c");
	assert_string_equal(out, "ab");
	record_text(out, sizeof(out),
		"a\x01\x7f"
		"b");
	assert_string_equal(out, "a  b");
	record_text(out, 3, "\x80\x80\x80\x80");
	assert_string_equal(out, "");
	record_text(out, sizeof(out), NULL);
	assert_string_equal(out, "");
	record_add(out, sizeof(out), &len, "%s", "0123456789");
	assert_int_equal(len, 7);
	record_add(out, sizeof(out), &len, "%s", "a");
	assert_string_equal(out, "0123456");
}

static void what_is_no_journal_is_left_alone(void **state)
{
	char path[160];

	(void)state;
	safety_close(s, SAFETY_STOP);
	s = NULL;
	snprintf(path, sizeof(path), "%s/journal", f.dir);
	assert_int_equal(truncate(path, JOURNAL_FILE_MAX + 1), 0);
	assert_int_equal(safety_open(&s, &f.options, NULL, &error), -EBADMSG);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(safety_open(&s, &f.options, NULL, &error), -EBADMSG);
	assert_non_null(strstr(error.text, "no journal of ours"));
	s = NULL;
	/* below a file there is no folder, and so nothing to recover */
	{
		struct safety_options o = { .dir = path };
		struct safety_report report;
		char below[200];

		rmdir(path);
		file_put(f.dir, "journal", "x");
		snprintf(below, sizeof(below), "%s/x", path);
		o.dir = below;
		assert_int_equal(safety_recover(&o, &report, &error), 0);
	}
}

static void a_new_segment_that_cannot_be_begun(void **state)
{
	char path[160], file[64], name[40], owner[16];
	int err = 0, made = 0;
	uint64_t id, last = 0;

	(void)state;
	safety_close(s, SAFETY_STOP);
	f.options.max_bytes = 4096;
	assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
	snprintf(path, sizeof(path), "%s/journal.new", f.dir);
	assert_int_equal(mkdir(path, 0700), 0);
	/* it grows to twice its size, then no new change begins */
	for (int i = 0; i < 40 && !err; i++, made++) {
		snprintf(name, sizeof(name), "cgroup:s%d/cpu.weight", i);
		snprintf(file, sizeof(file), "sys/fs/cgroup/s%d/cpu.weight", i);
		snprintf(owner, sizeof(owner), "o%d", i);
		file_put(f.root, file, "100\n");
		err = change_one(s, owner, CHANGE_AUTO, name, "50", &id, &error);
		last = err ? last : id;
	}
	assert_int_equal(err, -EISDIR);
	assert_true(made > 2);
	/* what is in force can be undone all the same */
	assert_int_equal(safety_rollback(s, last, "x", NULL, &error), 0);
	assert_int_equal(safety_close(s, SAFETY_STOP), 0);
	rmdir(path);
	assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
	assert_int_equal(book_open(s->book), 0);
}

static int count_record(void *ctx, const struct record *record)
{
	(void)record;
	++*(int *)ctx;
	return 0;
}

static void segments_under_odd_names(void **state)
{
	char path[160], other[170];
	struct safety_audit audit;
	int once = 0, twice = 0;

	(void)state;
	assert_int_equal(safety_history(f.dir, count_record, &once, &error), 0);
	/* a rotation that was interrupted leaves a segment under two names: it counts once */
	snprintf(path, sizeof(path), "%s/journal", f.dir);
	snprintf(other, sizeof(other), "%s/journal.%010d", f.dir, 1);
	assert_int_equal(link(path, other), 0);
	assert_int_equal(safety_history(f.dir, count_record, &twice, &error), 0);
	assert_int_equal(once, twice);
	/* and goes on where it stopped */
	{
		struct record_stamp stamp = { 0 };

		assert_int_equal(journal_rotate(s->journal, NULL, 0, &stamp, &error), 0);
		/* unless the name is another file's */
		snprintf(other, sizeof(other), "%s/journal.%010d", f.dir, 2);
		file_put(f.dir, strrchr(other, '/') + 1, "x");
		assert_int_equal(journal_rotate(s->journal, NULL, 0, &stamp, &error), -EEXIST);
		unlink(other);
	}
	file_put(f.dir, "journal.7", "not ten digits");
	file_put(f.dir, "journal.x", "no number");
	assert_int_equal(safety_audit(f.dir, NULL, &audit, &error), 0);
	/* no more of them are looked at than there can be */
	for (int i = 10; i < 80; i++) {
		char name[24];

		snprintf(name, sizeof(name), "journal.%010d", i);
		file_put(f.dir, name, "x");
	}
	assert_int_equal(safety_audit(f.dir, NULL, &audit, &error), -EBADMSG);
}

static void a_segment_that_was_replaced_is_noticed(void **state)
{
	char path[2][200], dir[96];
	struct safety_options o = f.options;
	struct safety_audit audit;
	struct record_stamp stamp = { .real_ns = 5 };
	struct safety *other;
	uint64_t id;

	(void)state;
	snprintf(dir, sizeof(dir), "%s/other.d", f.root);
	o.dir = dir;
	f.real_ns++;
	assert_int_equal(safety_open(&other, &o, NULL, &error), 0);
	assert_int_equal(journal_rotate(s->journal, NULL, 0, &stamp, &error), 0);
	assert_int_equal(journal_rotate(other->journal, NULL, 0, &stamp, &error), 0);
	safety_leave(other);
	assert_int_equal(safety_audit(f.dir, f.root, &audit, &error), 0);
	snprintf(path[0], sizeof(path[0]), "%s/journal.%010d", dir, 1);
	snprintf(path[1], sizeof(path[1]), "%s/journal.%010d", f.dir, 1);
	assert_int_equal(rename(path[0], path[1]), 0);
	assert_int_equal(safety_audit(f.dir, f.root, &audit, &error), -EBADMSG);
	assert_non_null(strstr(error.text, "does not follow"));
	unlink(path[1]);
	/* this machine's own settings, when no root is named: looked at, not touched */
	assert_int_equal(change_one(s, "a", CHANGE_NEVER, SWAPPINESS, "199", &id, &error), 0);
	assert_int_equal(safety_audit(f.dir, NULL, &audit, &error), 0);
	assert_int_equal(audit.differs, 1);
}

static void a_take_over_of_a_torn_journal(void **state)
{
	struct safety *other;
	char path[160];
	struct stat st;
	uint64_t id;

	(void)state;
	assert_int_equal(change_one(s, "a", CHANGE_AUTO, SWAPPINESS, "010", &id, &error), 0);
	snprintf(path, sizeof(path), "%s/journal", f.dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, st.st_size - 5), 0);
	assert_int_equal(safety_begin(&other, &f.options, JOURNAL_TAKE_OVER, &error), 0);
	/* the owner may be about to write the rest: nothing is cut off */
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(journal_cut_bytes(other->journal), 0);
	safety_free(other);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(crafted_records_are_refused),
		T(lengths_in_records),
		T(texts_are_cut_at_a_character),
		T(what_is_no_journal_is_left_alone),
		T(a_new_segment_that_cannot_be_begun),
		T(segments_under_odd_names),
		T(a_segment_that_was_replaced_is_noticed),
		T(a_take_over_of_a_torn_journal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
