// SPDX-License-Identifier: Apache-2.0
/*
 * test_journal.c - what was acknowledged is read back; a torn end is cut, any other damage is refused.
 *
 * Each byte of a journal is damaged and each length of it tried. A full and a read-only disk are a tmpfs in a mount
 * namespace of a child, where that is permitted.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <cmocka.h>
#include "agent/safety/journal.h"
#include "tests/unit/own_mounts.h"
#include "tests/unit/safety_dir.h"

#define N_CHANGES 4

static char top[64], dir[80];

static int setup(void **state)
{
	(void)state;
	dir_make(top);
	snprintf(dir, sizeof(dir), "%s/safety", top);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	dir_remove(top);
	return 0;
}

/* What a replay saw. */
struct seen {
	uint64_t n, last_id, starts;
	char sentence[RECORD_TEXT_MAX];
};

static int see(void *ctx, const struct record *record)
{
	struct seen *seen = ctx;

	seen->n++;
	if (record->kind == RECORD_CHANGE) {
		seen->last_id = record->change.id;
		strcpy(seen->sentence, record->change.sentence);
	}
	seen->starts += record->kind == RECORD_START;
	return 0;
}

static int open_journal(struct journal **j, enum journal_access access, size_t max,
	struct seen *seen, struct safety_error *error)
{
	struct journal_options options = { .dir = dir, .access = access, .max_bytes = max };

	memset(error, 0, sizeof(*error));
	memset(seen, 0, sizeof(*seen));
	return journal_open(j, &options, see, seen, error);
}

static struct record *change_record(uint64_t id)
{
	struct record *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->kind = RECORD_CHANGE;
	r->stamp.real_ns = 1700000000000000000ULL + id;
	strcpy(r->stamp.boot_id, "11111111-2222-3333-4444-555555555555");
	r->change.id = id;
	r->change.state = CHANGE_INTENT;
	r->change.mode = CHANGE_AUTO;
	r->change.n_knobs = 1;
	strcpy(r->change.knob[0].name, "sysctl:vm.swappiness");
	strcpy(r->change.knob[0].original, "60");
	strcpy(r->change.knob[0].intended, "10");
	snprintf(r->change.sentence, sizeof(r->change.sentence), "change %u", (unsigned int)id);
	return r;
}

static int append(struct journal *j, uint64_t id)
{
	struct record *r = change_record(id);
	struct safety_error error;
	int err = journal_append(j, r, &error);

	free(r);
	return err;
}

/* A journal with N_CHANGES records; its bytes, malloc'ed. */
static char *sample(size_t *n)
{
	struct safety_error error;
	struct journal *j;
	struct seen seen;

	assert_int_equal(open_journal(&j, JOURNAL_OWN, 0, &seen, &error), 0);
	for (uint64_t id = 1; id <= N_CHANGES; id++)
		assert_int_equal(append(j, id), 0);
	journal_close(j);
	return file_read(dir, JOURNAL_NAME, n);
}

static void test_sha256(void **state)
{
	/* FIPS 180-4 examples: one block, the empty message, two blocks; and a million times 'a' */
	static const struct {
		const char *text, *digest;
	} row[] = {
		{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
		{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
		{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
			"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
	};
	char *million = malloc(1000000), hex[65];
	uint8_t digest[SHA256_BYTES];

	(void)state;
	for (size_t i = 0; i <= 3; i++) {
		memset(million, 'a', 1000000);
		if (i < 3)
			sha256(row[i].text, strlen(row[i].text), digest);
		else
			sha256(million, 1000000, digest);
		for (size_t k = 0; k < SHA256_BYTES; k++)
			sprintf(hex + 2 * k, "%02x", digest[k]);
		assert_string_equal(hex, i < 3 ? row[i].digest
					       : "cdc76e5c9914fb9281a1c7e284d73e67"
						 "f1809a48a497200e046d39ccc7112cd0");
	}
	free(million);
}

static void test_record(void **state)
{
	struct record *r = change_record(7), *back = calloc(1, sizeof(*back));
	uint8_t bytes[RECORD_PAYLOAD_MAX];
	char text[8];
	size_t n;

	(void)state;
	/* the longest there can be */
	r->change.n_knobs = RECORD_KNOBS_MAX;
	for (size_t i = 0; i < RECORD_KNOBS_MAX; i++) {
		memset(r->change.knob[i].name, 'n', RECORD_NAME_MAX - 1);
		memset(r->change.knob[i].readback, 'v', RECORD_VALUE_MAX - 1);
	}
	memset(r->change.why, 'w', RECORD_TEXT_MAX - 1);
	n = record_pack(r, bytes);
	assert_true(n > 2000);
	back->kind = RECORD_CHANGE;
	assert_int_equal(record_unpack(back, bytes, n), 0);
	assert_memory_equal(&back->change, &r->change, sizeof(r->change));
	/* every other length is refused */
	for (size_t k = 0; k < n; k++)
		assert_int_equal(record_unpack(back, bytes, k), -EINVAL);
	bytes[n] = 0;
	assert_int_equal(record_unpack(back, bytes, n + 1), -EINVAL);
	free(r);
	free(back);

	record_text(text, sizeof(text), "a\nb\x7f");
	assert_string_equal(text, "a b ");
	record_text(text, sizeof(text), "abcdef\xc3\xa9");
	assert_string_equal(text, "abcdef");
	record_text(text, sizeof(text), NULL);
	assert_string_equal(text, "");
}

static void test_replay(void **state)
{
	struct safety_error error;
	struct journal *j;
	struct seen seen;
	size_t n;

	(void)state;
	free(sample(&n));
	assert_int_equal(open_journal(&j, JOURNAL_OWN, 0, &seen, &error), 0);
	assert_int_equal(seen.n, N_CHANGES + 1);
	assert_string_equal(seen.sentence, "change 4");
	assert_int_equal(journal_cut_bytes(j), 0);
	assert_int_equal(append(j, 5), 0);
	assert_true(journal_owned(j));
	journal_close(j);
	assert_int_equal(open_journal(&j, JOURNAL_READ, 0, &seen, &error), 0);
	assert_int_equal(seen.last_id, 5);
	journal_close(j);
}

static void test_absent(void **state)
{
	struct safety_error error;
	struct journal *j;
	struct seen seen;

	(void)state;
	assert_int_equal(open_journal(&j, JOURNAL_READ, 0, &seen, &error), -ENOENT);
	assert_null(j);
	assert_true(error.text[0]);
}

/* One byte is not what it was: refused, whichever it is; what stands before it can still be read. */
static void test_damaged_everywhere(void **state)
{
	static const uint8_t flip[] = { 0x01, 0x80, 0xff };
	struct safety_error error;
	struct journal *j;
	struct seen seen;
	size_t n;
	char *good = sample(&n);

	(void)state;
	for (size_t at = 0; at < n; at++) {
		for (size_t k = 0; k < sizeof(flip); k++) {
			good[at] ^= (char)flip[k];
			file_write(dir, JOURNAL_NAME, good, n);
			good[at] ^= (char)flip[k];
			if (open_journal(&j, JOURNAL_OWN, 0, &seen, &error) != -EBADMSG)
				fail_msg("byte %zu changed by %02x is not refused", at, flip[k]);
			assert_non_null(strstr(error.text, "damaged at byte"));
			assert_true(seen.n <= at * (N_CHANGES + 1) / n + 1);
		}
	}
	print_message("%zu bytes, each damaged in %zu ways: all refused\n", n, sizeof(flip));
	free(good);
}

/* Every length: a whole number of records is left, and the next record can be appended. */
static void test_cut_everywhere(void **state)
{
	struct safety_error error;
	struct journal *j;
	struct seen seen;
	size_t n, torn = 0;
	uint64_t last = 0;
	char *good = sample(&n);

	(void)state;
	for (size_t len = 0; len <= n; len++) {
		int err;

		file_write(dir, JOURNAL_NAME, good, len);
		err = open_journal(&j, JOURNAL_OWN, 0, &seen, &error);
		if (err == -EBADMSG && last == 0)
			continue; /* the first record is not whole: it never was a journal */
		assert_int_equal(err, 0);
		assert_in_range(seen.n, last, last + 1);
		last = seen.n;
		torn += journal_cut_bytes(j) > 0;
		assert_int_equal(append(j, 99), 0);
		journal_close(j);
		assert_int_equal(open_journal(&j, JOURNAL_READ, 0, &seen, &error), 0);
		assert_int_equal(seen.n, last + 1);
		journal_close(j);
	}
	assert_int_equal(last, N_CHANGES + 1);
	assert_true(torn > n / 2);
	free(good);
}

/* A file that grew before its bytes arrived ends in zeros, from any byte of the last record on. */
static void test_zeros_at_the_end(void **state)
{
	struct safety_error error;
	struct journal *j;
	struct seen seen;
	size_t n, first;
	char *good, *bytes;

	(void)state;
	assert_int_equal(open_journal(&j, JOURNAL_OWN, 0, &seen, &error), 0);
	assert_int_equal(append(j, 1), 0);
	free(file_read(dir, JOURNAL_NAME, &first));
	assert_int_equal(append(j, 2), 0);
	journal_close(j);
	good = file_read(dir, JOURNAL_NAME, &n);
	bytes = calloc(1, n + 4096);
	for (size_t at = first; at <= n - 4; at++) {
		memset(bytes, 0, n);
		memcpy(bytes, good, at);
		file_write(dir, JOURNAL_NAME, bytes, n);
		assert_int_equal(open_journal(&j, JOURNAL_OWN, 0, &seen, &error), 0);
		assert_int_equal(seen.last_id, 1);
		journal_close(j);
	}
	memcpy(bytes, good, n);
	file_write(dir, JOURNAL_NAME, bytes, n + 4096);
	assert_int_equal(open_journal(&j, JOURNAL_OWN, 0, &seen, &error), 0);
	assert_int_equal(seen.last_id, 2);
	assert_int_equal(journal_cut_bytes(j), 4096);
	journal_close(j);
	/* damage: a whole record in the middle that has lost its last bytes to zeros */
	memcpy(bytes, good, n);
	memset(bytes + first - 4, 0, 4);
	file_write(dir, JOURNAL_NAME, bytes, n);
	assert_int_equal(open_journal(&j, JOURNAL_OWN, 0, &seen, &error), -EBADMSG);
	/* and zeros before a record that is whole */
	memset(bytes, 0, n + 4096);
	memcpy(bytes, good, first);
	memcpy(bytes + first + 100, good + first, n - first);
	file_write(dir, JOURNAL_NAME, bytes, n + 200);
	assert_int_equal(open_journal(&j, JOURNAL_OWN, 0, &seen, &error), -EBADMSG);
	free(bytes);
	free(good);
}

static void test_another_version(void **state)
{
	struct safety_error error;
	struct journal *j;
	struct seen seen;
	size_t n;
	char *good = sample(&n);

	(void)state;
	/* version is at byte 4, and the checksum of the head, at 20, covers it */
	good[4] = JOURNAL_VERSION + 1;
	memset(good + 20, 0, 4);
	{
		uint32_t crc = 0xffffffff;

		for (size_t i = 0; i < 56; i++) {
			crc ^= (uint8_t)good[i];
			for (int k = 0; k < 8; k++)
				crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
		}
		crc = ~crc;
		memcpy(good + 20, &crc, 4);
	}
	file_write(dir, JOURNAL_NAME, good, n);
	assert_int_equal(open_journal(&j, JOURNAL_OWN, 0, &seen, &error), -EPROTO);
	assert_non_null(strstr(error.text, "another version"));
	free(good);
}

static void test_rotation(void **state)
{
	struct record *carry = change_record(3);
	struct journal_scan older, newer;
	struct record_stamp stamp = { 0 };
	struct safety_error error;
	struct journal *j;
	struct seen seen;
	int dir_fd;

	(void)state;
	assert_int_equal(open_journal(&j, JOURNAL_OWN, 512, &seen, &error), 0);
	assert_false(journal_full(j));
	for (uint64_t id = 1; id <= 8; id++)
		append(j, id);
	assert_true(journal_full(j));
	assert_true(journal_overfull(j));
	assert_int_equal(journal_rotate(j, &carry, 1, &stamp, &error), 0);
	assert_int_equal(journal_segment(j), 2);
	assert_false(journal_full(j));
	assert_int_equal(append(j, 9), 0);
	dir_fd = open(dir, O_RDONLY);
	assert_int_equal(
		journal_scan_file(dir_fd, "journal.0000000001", NULL, NULL, &older, &error), 0);
	assert_int_equal(journal_scan_file(dir_fd, JOURNAL_NAME, see, &seen, &newer, &error), 0);
	assert_int_equal(seen.n, 3);
	assert_memory_equal(newer.before, older.last, SHA256_BYTES);
	assert_int_equal(newer.first_seq, older.last_seq + 1);
	/* old ones go */
	for (int i = 0; i < JOURNAL_ARCHIVES; i++)
		assert_int_equal(journal_rotate(j, &carry, 1, &stamp, &error), 0);
	assert_int_equal(faccessat(dir_fd, "journal.0000000001", F_OK, 0), -1);
	assert_int_equal(faccessat(dir_fd, "journal.0000000002", F_OK, 0), 0);
	journal_close(j);
	/* moved away: the numbers go on */
	assert_int_equal(unlinkat(dir_fd, JOURNAL_NAME, 0), 0);
	assert_int_equal(open_journal(&j, JOURNAL_OWN, 512, &seen, &error), 0);
	assert_int_equal(journal_segment(j), JOURNAL_ARCHIVES + 2);
	journal_close(j);
	close(dir_fd);
	free(carry);
}

static void test_one_owner(void **state)
{
	struct record_stamp stamp = { 0 };
	struct safety_error error;
	struct journal *j, *other;
	struct seen seen;

	(void)state;
	assert_int_equal(open_journal(&j, JOURNAL_OWN, 0, &seen, &error), 0);
	assert_int_equal(open_journal(&other, JOURNAL_OWN, 0, &seen, &error), -EBUSY);
	assert_non_null(strstr(error.text, "in use"));
	/* taken over: the first owner notices, and what it still writes is in nobody's way */
	assert_int_equal(open_journal(&other, JOURNAL_TAKE_OVER, 0, &seen, &error), 0);
	assert_true(journal_owned(j));
	assert_int_equal(journal_rotate(other, NULL, 0, &stamp, &error), 0);
	assert_false(journal_owned(j));
	assert_true(journal_owned(other));
	assert_int_equal(append(j, 1), 0);
	assert_int_equal(append(other, 2), 0);
	journal_close(j);
	journal_close(other);
	assert_int_equal(open_journal(&j, JOURNAL_OWN, 0, &seen, &error), 0);
	assert_int_equal(seen.last_id, 2);
	journal_close(j);
}

/* No room: nothing of the record stays, and the next one finds its place. */
static void test_file_size_limit(void **state)
{
	struct rlimit old, low;
	struct safety_error error;
	struct journal *j;
	struct seen seen;
	size_t n;

	(void)state;
	assert_int_equal(open_journal(&j, JOURNAL_OWN, 0, &seen, &error), 0);
	assert_int_equal(append(j, 1), 0);
	free(file_read(dir, JOURNAL_NAME, &n));
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	low = old;
	for (size_t extra = 0; extra < 200; extra += 7) {
		low.rlim_cur = n + extra;
		setrlimit(RLIMIT_FSIZE, &low);
		assert_int_equal(append(j, 2), -EFBIG);
		setrlimit(RLIMIT_FSIZE, &old);
		{
			size_t now;

			free(file_read(dir, JOURNAL_NAME, &now));
			assert_int_equal(now, n);
		}
	}
	assert_int_equal(append(j, 3), 0);
	journal_close(j);
	assert_int_equal(open_journal(&j, JOURNAL_READ, 0, &seen, &error), 0);
	assert_int_equal(seen.last_id, 3);
	journal_close(j);
}

static int on_small_disk(void)
{
	struct record_stamp stamp = { 0 };
	struct safety_error error;
	struct journal *j;
	struct seen seen;
	uint64_t id = 0;

	if (mount("none", top, "tmpfs", 0, "size=32k") < 0)
		return 77;
	if (open_journal(&j, JOURNAL_OWN, 1024 * 1024, &seen, &error))
		return 1;
	while (id < 1000 && append(j, id + 1) == 0)
		id++;
	if (id < 10 || id == 1000 || append(j, 1) != -ENOSPC)
		return 2;
	if (journal_rotate(j, NULL, 0, &stamp, &error) != -ENOSPC || !journal_owned(j))
		return 3;
	journal_close(j);
	if (mount(NULL, top, NULL, MS_REMOUNT | MS_RDONLY, "size=32k") < 0)
		return 4;
	if (open_journal(&j, JOURNAL_READ, 0, &seen, &error) || seen.last_id != id)
		return 5;
	journal_close(j);
	/* opens, so that what it lists can be undone, and takes nothing */
	if (open_journal(&j, JOURNAL_OWN, 0, &seen, &error) || seen.last_id != id)
		return 6;
	if (append(j, 1) != -EROFS)
		return 7;
	journal_close(j);
	return 0;
}

static void test_full_and_read_only_disk(void **state)
{
	int status = own_mounts(on_small_disk);

	(void)state;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
		print_message("skipped: no mount namespace is permitted here\n");
		skip();
	}
	assert_int_equal(status, 0);
}

static void test_links_and_strange_files(void **state)
{
	struct safety_error error;
	struct journal *j;
	struct seen seen;
	char path[128];
	size_t n;

	(void)state;
	free(sample(&n));
	snprintf(path, sizeof(path), "%s/%s", dir, JOURNAL_NAME);
	unlink(path);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(open_journal(&j, JOURNAL_OWN, 0, &seen, &error), -ELOOP);
	unlink(path);
	mkdir(path, 0700);
	assert_int_equal(open_journal(&j, JOURNAL_OWN, 0, &seen, &error), -EBADMSG);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sha256),
		cmocka_unit_test(test_record),
		T(test_replay),
		T(test_absent),
		T(test_damaged_everywhere),
		T(test_cut_everywhere),
		T(test_zeros_at_the_end),
		T(test_another_version),
		T(test_rotation),
		T(test_one_owner),
		T(test_file_size_limit),
		T(test_full_and_read_only_disk),
		T(test_links_and_strange_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
