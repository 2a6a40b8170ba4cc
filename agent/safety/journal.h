/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal.h - the append-only log of every change: what is in it has happened or may have, what is not has not.
 *
 * A folder: `journal` (the segment in use), `journal.NNNNNNNNNN` (older ones), `lock` (held by who may change things).
 * Each record is checksummed, carries the SHA-256 of the one before it and is on the disk when journal_append()
 * returns. A record cut short at the end of the file was never acknowledged and is cut off; any other damage is
 * refused. What stays undetected: whole records removed from the end. One thread at a time per struct journal.
 */
#ifndef SEMANTOS_SAFETY_JOURNAL_H
#define SEMANTOS_SAFETY_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/safety/record.h"
#include "agent/safety/sha256.h"

#define JOURNAL_VERSION 2
#define JOURNAL_OLDEST 1 /* version that is read as well: it lacks policy events and mode once */
#define JOURNAL_MAX_BYTES (1024 * 1024) /* of a segment, then a new one is begun */
#define JOURNAL_FILE_MAX (64 * 1024 * 1024) /* a larger file is not ours */
#define JOURNAL_ARCHIVES 16 /* older segments kept */
#define JOURNAL_NAME "journal"
#define JOURNAL_ARCHIVE_NAME "journal.%010llu"

struct safety_error {
	char text[512]; /* one sentence: what happened, to what, what to do next */
};

struct journal;

/* Called for each record, in order. Non-zero ends the scan and is returned. */
typedef int journal_visit(void *ctx, const struct record *record);

enum journal_access {
	JOURNAL_READ, /* changes nothing, takes no lock */
	JOURNAL_OWN, /* takes the lock, creates folder and file, cuts a torn tail */
	JOURNAL_TAKE_OVER, /* as OWN without the lock: of a silent owner, who notices by journal_owned() */
};

struct journal_options {
	const char *dir;
	enum journal_access access;
	uint32_t wait_ms; /* OWN: how long to wait for the lock */
	size_t max_bytes; /* 0 = JOURNAL_MAX_BYTES */
	struct record_stamp stamp; /* of a first record, should one be written */
};

/*
 * Replay everything into `visit` (may be NULL). 0; -EBUSY: another owner; -ENOENT (READ); -EBADMSG: damaged;
 * -EPROTO: of another version; -EROFS, -ENOSPC… *out is the caller's to close, and NULL after an error. A journal on a
 * disk that has turned read-only opens all the same, but takes no record: what it lists can be undone.
 */
int journal_open(struct journal **out, const struct journal_options *options, journal_visit *visit,
	void *ctx, struct safety_error *error);
void journal_close(struct journal *journal); /* accepts NULL */

/*
 * Write one record; on the disk when 0 is returned. record->seq is filled in. After -errno nothing of it remains, or,
 * when the disk itself failed, the journal takes no more records until it is opened again.
 */
int journal_append(struct journal *journal, struct record *record, struct safety_error *error);

bool journal_full(const struct journal *journal); /* begin a new segment before the next change */
bool journal_overfull(
	const struct journal *journal); /* that failed for long: no new change may begin */

/*
 * Begin a new segment whose first records are carry[0..n), which the caller made from the open changes and what else
 * must outlive a segment. Crash-safe: before the last step the old segment is in use, after it the new one.
 */
int journal_rotate(struct journal *journal, struct record *const *carry, size_t n,
	const struct record_stamp *stamp, struct safety_error *error);

/* Is the file we write still the one in use? False after somebody took over. */
bool journal_owned(const struct journal *journal);

/* After a take-over: replay the segment now in use and write there from here on. As journal_open(), lock kept. */
int journal_reload(
	struct journal *journal, journal_visit *visit, void *ctx, struct safety_error *error);

uint64_t journal_next_seq(const struct journal *journal); /* of the record appended next */
uint64_t journal_segment(const struct journal *journal);
size_t journal_cut_bytes(const struct journal *journal); /* torn tail found at open */

/* ---- bytes: for readers of any segment, and tests ---- */

struct journal_scan {
	size_t good_bytes; /* whole, valid records */
	uint64_t records, first_seq, last_seq, segment;
	uint8_t before[SHA256_BYTES]; /* what the first record follows */
	uint8_t last[SHA256_BYTES]; /* hash of the last one */
	bool torn; /* bytes after good_bytes are a record that was never acknowledged */
};

/* 0, -EBADMSG, -EPROTO or what visit returned; error->text says where. *scan counts what was good so far. */
int journal_scan(const void *bytes, size_t n, journal_visit *visit, void *ctx,
	struct journal_scan *scan, struct safety_error *error);

/* The same for a file of the folder. */
int journal_scan_file(int dir_fd, const char *name, journal_visit *visit, void *ctx,
	struct journal_scan *scan, struct safety_error *error);

__attribute__((format(printf, 2, 3))) void safety_say(
	struct safety_error *error, const char *fmt, ...); /* error may be NULL */

#endif
