// SPDX-License-Identifier: Apache-2.0
/*
 * journal_scan.c - reads the bytes of a segment and tells a record that was cut short from one that was damaged.
 *
 * A record is acknowledged after fsync, and nothing it announces happens before. So an incomplete last record is
 * harmless and cut off; a complete one that does not add up was acknowledged and changed later, and whatever follows
 * cannot be trusted. Must never read beyond the bytes given. Pure but for journal_scan_file().
 */
#include "agent/safety/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include "agent/safety/journal_bytes.h"

void safety_say(struct safety_error *error, const char *fmt, ...)
{
	va_list args;

	if (!error)
		return;
	va_start(args, fmt);
	vsnprintf(error->text, sizeof(error->text), fmt, args);
	va_end(args);
}

uint32_t journal_crc(const void *bytes, size_t n)
{
	return (uint32_t)crc32(0, bytes, (uInt)n);
}

uint32_t journal_head_crc(struct journal_head head)
{
	head.head_crc = 0;
	return journal_crc(&head, sizeof(head));
}

static bool head_valid(const uint8_t *bytes, size_t n, struct journal_head *head)
{
	if (n < sizeof(*head))
		return false;
	memcpy(head, bytes, sizeof(*head));
	return head->magic == JOURNAL_MAGIC && head->head_crc == journal_head_crc(*head);
}

/* Is there a record after the first byte of these? Then what stands at the first byte is damage, no torn end. */
static bool head_follows(const uint8_t *bytes, size_t n)
{
	struct journal_head head;

	for (size_t at = 1; at + sizeof(head) <= n; at++) {
		if (head_valid(bytes + at, n - at, &head))
			return true;
	}
	return false;
}

/* Of at least four bytes. */
static bool ends_in_zeros(const uint8_t *bytes, size_t n)
{
	static const uint8_t zeros[4];

	return memcmp(bytes + n - sizeof(zeros), zeros, sizeof(zeros)) == 0;
}

static int damaged(struct safety_error *error, size_t at, const char *what)
{
	safety_say(error,
		"the journal is damaged at byte %zu: %s. Nothing after it is trusted and nothing "
		"was changed; "
		"compare the knobs with `semantosctl history`, then move the file away",
		at, what);
	return -EBADMSG;
}

/* One record at bytes[0..n): 0 with *head and *record, 1 = torn, -errno. */
static int read_record(const uint8_t *bytes, size_t n, size_t at, const struct journal_scan *scan,
	struct journal_head *head, struct record *record, struct safety_error *error)
{
	struct journal_tail tail;
	size_t payload;

	if (!head_valid(bytes, n, head)) {
		if ((n < sizeof(*head) || ends_in_zeros(bytes, n)) && !head_follows(bytes, n))
			return 1;
		return damaged(error, at, "no record begins there");
	}
	if (head->version < JOURNAL_OLDEST || head->version > JOURNAL_VERSION) {
		safety_say(error,
			"the journal was written by another version of semantos (format %u, this "
			"one reads up to %u); "
			"run that version's `semantosctl recover`, then move the file away",
			head->version, JOURNAL_VERSION);
		return -EPROTO;
	}
	if (head->bytes < sizeof(*head) + sizeof(tail) || head->bytes > JOURNAL_RECORD_MAX)
		return damaged(error, at, "the length of a record is impossible");
	if (head->bytes > n)
		return head_follows(bytes, n) ? damaged(error, at, "a record has lost bytes") : 1;
	memcpy(&tail, bytes + head->bytes - sizeof(tail), sizeof(tail));
	if (tail.end == 0 && head->bytes == n)
		return 1;
	payload = head->bytes - sizeof(*head) - sizeof(tail);
	if (tail.end != JOURNAL_END || tail.crc != journal_crc(bytes, sizeof(*head) + payload))
		return damaged(error, at, "the checksum of a record does not match");
	if (scan->records > 0 && (head->seq != scan->last_seq + 1 ||
					 memcmp(head->before, scan->last, SHA256_BYTES) != 0))
		return damaged(error, at, "a record does not follow from the one before it");
	record->kind = head->kind;
	record->seq = head->seq;
	if (head->seq == 0 || record_unpack(record, bytes + sizeof(*head), payload) ||
		(record->kind == RECORD_START) != (scan->records == 0))
		return damaged(error, at, "a record says what cannot be");
	return 0;
}

int journal_scan(const void *bytes, size_t n, journal_visit *visit, void *ctx,
	struct journal_scan *scan, struct safety_error *error)
{
	struct record *record = calloc(1, sizeof(*record));
	const uint8_t *p = bytes;
	struct journal_head head;
	int err = record ? 0 : -ENOMEM;

	memset(scan, 0, sizeof(*scan));
	if (err)
		safety_say(error, "there is no memory left to read the journal");
	while (!err && scan->good_bytes < n) {
		size_t at = scan->good_bytes;

		memset(record, 0, sizeof(*record));
		err = read_record(p + at, n - at, at, scan, &head, record, error);
		if (err == 1) {
			scan->torn = true;
			err = 0;
			break;
		}
		if (err)
			break;
		if (scan->records == 0) {
			scan->first_seq = head.seq;
			scan->segment = record->segment;
			memcpy(scan->before, head.before, SHA256_BYTES);
		}
		sha256(p + at, head.bytes, scan->last);
		scan->last_seq = head.seq;
		scan->records++;
		scan->good_bytes += head.bytes;
		if (visit)
			err = visit(ctx, record);
	}
	free(record);
	/* a segment gets its name only when its first record is whole and on the disk */
	if (!err && scan->records == 0)
		err = damaged(error, 0, "it has lost its first record");
	return err;
}

static int read_all(int fd, uint8_t *bytes, size_t n, size_t *got)
{
	for (*got = 0; *got < n;) {
		ssize_t k = pread(fd, bytes + *got, n - *got, (off_t)*got);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		if (k == 0)
			break;
		*got += (size_t)k;
	}
	return 0;
}

int journal_scan_file(int dir_fd, const char *name, journal_visit *visit, void *ctx,
	struct journal_scan *scan, struct safety_error *error)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint8_t *bytes = NULL;
	struct stat st;
	size_t got;
	int err = 0;

	memset(scan, 0, sizeof(*scan));
	if (fd < 0 || fstat(fd, &st) < 0) {
		err = -errno;
		goto out;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > JOURNAL_FILE_MAX) {
		safety_say(error, "%s is no journal of ours; move it away", name);
		err = -EBADMSG;
		goto out_close;
	}
	bytes = malloc((size_t)st.st_size + 1);
	if (!bytes) {
		err = -ENOMEM;
		goto out;
	}
	err = read_all(fd, bytes, (size_t)st.st_size, &got);
	if (err)
		goto out;
	err = journal_scan(bytes, got, visit, ctx, scan, error);
	goto out_close;
out:
	safety_say(error, "%s cannot be read: %s", name, strerror(-err));
out_close:
	free(bytes);
	if (fd >= 0)
		close(fd);
	return err;
}
