// SPDX-License-Identifier: Apache-2.0
/*
 * journal.c - the folder of the journal: its lock, appending, and going over to a new segment.
 *
 * Must never acknowledge a record that is not on the disk, and never take the old segment out of use before the new
 * one is complete. No file of it is opened through a symbolic link. One thread at a time per struct journal.
 */
#include "agent/safety/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#include "agent/safety/journal_bytes.h"

#define LOCK_NAME "lock"
#define NEW_NAME JOURNAL_NAME ".new"
#define LOCK_POLL_NS 5000000L
#define RELOAD_WAIT_NS 1000000000ULL /* for a keeper that writes what it undid */

struct journal {
	int dir_fd, lock_fd, fd;
	size_t max_bytes;
	size_t end; /* where the next record goes */
	size_t cut_bytes;
	uint64_t seq, segment; /* of the last record */
	uint8_t last[SHA256_BYTES];
	int broken; /* -errno of a disk that could not say what it holds */
	uint8_t buf[JOURNAL_RECORD_MAX];
};

static int fail(struct safety_error *error, int err, const char *what)
{
	safety_say(error, "%s: %s", what, strerror(-err));
	return err;
}

static int take_lock(struct journal *j, uint32_t wait_ms, struct safety_error *error)
{
	const struct timespec poll = { .tv_nsec = LOCK_POLL_NS };
	uint64_t left_ns = (uint64_t)wait_ms * 1000000;

	j->lock_fd = openat(j->dir_fd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	/* what is in force must be undone on a read-only disk too */
	if (j->lock_fd < 0 && errno == EROFS)
		j->lock_fd = openat(j->dir_fd, LOCK_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (j->lock_fd < 0)
		return fail(error, -errno, "the journal cannot be locked");
	while (flock(j->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return fail(error, -errno, "the journal cannot be locked");
		if (left_ns < LOCK_POLL_NS) {
			safety_say(error, "the journal is in use by a running agent; ask it, or "
					  "stop it first");
			return -EBUSY;
		}
		nanosleep(&poll, NULL);
		left_ns -= LOCK_POLL_NS;
	}
	return 0;
}

static int sync_parent(int dir_fd)
{
	int fd = openat(dir_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fd < 0 || fsync(fd) < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return err;
}

static int open_dir(struct journal *j, const struct journal_options *o, struct safety_error *error)
{
	j->dir_fd = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (j->dir_fd < 0 && errno == ENOENT && o->access == JOURNAL_OWN) {
		if (mkdir(o->dir, 0700) == 0 || errno == EEXIST)
			j->dir_fd = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (j->dir_fd >= 0) {
			int err = sync_parent(j->dir_fd);

			if (err)
				return fail(error, err, "the journal's folder cannot be made");
		}
	}
	if (j->dir_fd < 0) {
		safety_say(error, "the journal's folder %.200s cannot be opened: %s", o->dir,
			strerror(errno));
		return -errno;
	}
	return 0;
}

/* The bytes of `record` in j->buf, following hash `before`. Their number. */
static size_t frame(
	struct journal *j, struct record *record, uint64_t seq, const uint8_t before[SHA256_BYTES])
{
	size_t n = record_pack(record, j->buf + sizeof(struct journal_head));
	struct journal_head head = { .magic = JOURNAL_MAGIC,
		.version = JOURNAL_VERSION,
		.kind = (uint16_t)record->kind,
		.seq = seq };
	struct journal_tail tail = { .end = JOURNAL_END };

	if (n == 0)
		return 0;
	record->seq = seq;
	head.bytes = (uint32_t)(sizeof(head) + n + sizeof(tail));
	memcpy(head.before, before, SHA256_BYTES);
	head.head_crc = journal_head_crc(head);
	memcpy(j->buf, &head, sizeof(head));
	tail.crc = journal_crc(j->buf, sizeof(head) + n);
	memcpy(j->buf + sizeof(head) + n, &tail, sizeof(tail));
	return head.bytes;
}

static int write_at(int fd, const uint8_t *bytes, size_t n, size_t at)
{
	while (n > 0) {
		ssize_t k = pwrite(fd, bytes, n, (off_t)at);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return k < 0 ? -errno : -EIO;
		bytes += k;
		n -= (size_t)k;
		at += (size_t)k;
	}
	return 0;
}

/* A whole new segment under NEW_NAME, on the disk. On success *fd, *end, *seq and *last describe it. */
static int write_segment(struct journal *j, struct record *const *carry, size_t n,
	const struct record_stamp *stamp, int *fd, size_t *end, uint64_t *seq,
	uint8_t last[SHA256_BYTES])
{
	struct record *start = calloc(1, sizeof(*start));
	int err = start ? 0 : -ENOMEM;

	*fd = -1;
	if (err)
		goto out;
	start->kind = RECORD_START;
	start->stamp = *stamp;
	start->segment = j->segment + 1;
	*end = 0;
	*seq = j->seq;
	memcpy(last, j->last, SHA256_BYTES);
	*fd = openat(
		j->dir_fd, NEW_NAME, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*fd < 0) {
		err = -errno;
		goto out;
	}
	for (size_t i = 0; i <= n; i++) {
		size_t bytes = frame(j, i == 0 ? start : carry[i - 1], *seq + 1, last);

		err = bytes > 0 ? write_at(*fd, j->buf, bytes, *end) : -EINVAL;
		if (err)
			break;
		sha256(j->buf, bytes, last);
		*end += bytes;
		(*seq)++;
	}
	if (!err && fsync(*fd) < 0)
		err = -errno;
out:
	if (err && *fd >= 0) {
		close(*fd);
		unlinkat(j->dir_fd, NEW_NAME, 0);
	}
	free(start);
	return err;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return ((a->st_dev ^ b->st_dev) | (a->st_ino ^ b->st_ino)) == 0;
}

/* Give the segment in use a name of its own; it may have it already, from a rotation that was interrupted. */
static int archive(struct journal *j)
{
	struct stat now, old;
	char name[40];

	snprintf(name, sizeof(name), JOURNAL_ARCHIVE_NAME, (unsigned long long)j->segment);
	if (linkat(j->dir_fd, JOURNAL_NAME, j->dir_fd, name, 0) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	if (fstatat(j->dir_fd, name, &old, AT_SYMLINK_NOFOLLOW) < 0 || fstat(j->fd, &now) < 0)
		return -errno;
	return same_file(&old, &now) ? 0 : -EEXIST;
}

int journal_rotate(struct journal *j, struct record *const *carry, size_t n,
	const struct record_stamp *stamp, struct safety_error *error)
{
	uint8_t last[SHA256_BYTES];
	uint64_t seq;
	size_t end;
	int fd, err;

	err = write_segment(j, carry, n, stamp, &fd, &end, &seq, last);
	if (err)
		return fail(error, err, "a new segment of the journal cannot be written");
	/* who takes over is not alone: the owner waits for this lock before it goes on in the new segment */
	if (j->lock_fd < 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
		err = -errno;
	if (!err && j->fd >= 0)
		err = archive(j);
	if (!err && renameat(j->dir_fd, NEW_NAME, j->dir_fd, JOURNAL_NAME) < 0)
		err = -errno;
	if (err) {
		close(fd);
		unlinkat(j->dir_fd, NEW_NAME, 0);
		return fail(error, err, "the new segment of the journal cannot be put in place");
	}
	if (j->fd >= 0)
		close(j->fd);
	j->fd = fd;
	j->end = end;
	j->seq = seq;
	j->segment++;
	memcpy(j->last, last, SHA256_BYTES);
	j->broken = 0;
	/* which of the two segments a power failure leaves is then open: nothing more may be acknowledged */
	if (fsync(j->dir_fd) < 0) {
		j->broken = -errno;
		return fail(error, j->broken, "the journal's folder cannot be written");
	}
	if (j->segment > JOURNAL_ARCHIVES + 1) {
		char name[40];

		snprintf(name, sizeof(name), JOURNAL_ARCHIVE_NAME,
			(unsigned long long)(j->segment - JOURNAL_ARCHIVES - 1));
		unlinkat(j->dir_fd, name, 0);
	}
	return 0;
}

/* Somebody moved the segment in use away: the numbers of those that are left are not given twice. */
static void find_segment(struct journal *j)
{
	int fd = dup(j->dir_fd);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return;
	}
	rewinddir(dir);
	while ((entry = readdir(dir))) {
		unsigned long long n;
		char name[40];

		if (strncmp(entry->d_name, JOURNAL_NAME ".", sizeof(JOURNAL_NAME)) != 0)
			continue;
		n = strtoull(entry->d_name + sizeof(JOURNAL_NAME), NULL, 10);
		snprintf(name, sizeof(name), JOURNAL_ARCHIVE_NAME, n);
		if (strcmp(name, entry->d_name) == 0 && n > j->segment)
			j->segment = n;
	}
	closedir(dir);
}

/* The segment exists and was replayed: from here on it is ours to write, unless its disk has turned read-only. */
static int adopt(struct journal *j, const struct journal_scan *scan, struct safety_error *error)
{
	struct stat st;

	j->end = scan->good_bytes;
	j->seq = scan->last_seq;
	j->segment = scan->segment;
	memcpy(j->last, scan->last, SHA256_BYTES);
	j->broken = 0;
	j->fd = openat(j->dir_fd, JOURNAL_NAME, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (j->fd < 0 && errno == EROFS) {
		j->broken = -EROFS;
		j->fd = openat(j->dir_fd, JOURNAL_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	}
	if (j->fd < 0 || fstat(j->fd, &st) < 0)
		return fail(error, -errno, "the journal cannot be written");
	/* of a silent owner, who may be about to write the rest; a new segment follows */
	if (!scan->torn || j->lock_fd < 0 || j->broken)
		return 0;
	j->cut_bytes = (size_t)st.st_size - scan->good_bytes;
	if (ftruncate(j->fd, (off_t)j->end) < 0 || fsync(j->fd) < 0)
		return fail(error, -errno, "the torn end of the journal cannot be cut off");
	return 0;
}

int journal_open(struct journal **out, const struct journal_options *o, journal_visit *visit,
	void *ctx, struct safety_error *error)
{
	struct journal *j = calloc(1, sizeof(*j));
	struct journal_scan scan;
	int err;

	*out = NULL;
	if (!j)
		return fail(error, -ENOMEM, "the journal cannot be opened");
	j->dir_fd = j->lock_fd = j->fd = -1;
	j->max_bytes = o->max_bytes ? o->max_bytes : JOURNAL_MAX_BYTES;
	err = open_dir(j, o, error);
	if (!err && o->access == JOURNAL_OWN)
		err = take_lock(j, o->wait_ms, error);
	if (err)
		goto out;
	err = journal_scan_file(j->dir_fd, JOURNAL_NAME, visit, ctx, &scan, error);
	if (err == -ENOENT && o->access == JOURNAL_OWN) {
		find_segment(j);
		err = journal_rotate(j, NULL, 0, &o->stamp, error);
	} else if (!err && o->access != JOURNAL_READ) {
		err = adopt(j, &scan, error);
	}
	if (err)
		goto out;
	*out = j;
	return 0;
out:
	journal_close(j);
	return err;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	if (j->fd >= 0)
		close(j->fd);
	if (j->lock_fd >= 0)
		close(j->lock_fd);
	if (j->dir_fd >= 0)
		close(j->dir_fd);
	free(j);
}

/* fsync(), and on a disk that has turned read-only under an open file an error too: ext4 calls that a success. */
static int to_disk(int fd)
{
	struct statvfs st;

	if (fsync(fd) < 0 || fstatvfs(fd, &st) < 0)
		return -errno;
	return st.f_flag & ST_RDONLY ? -EROFS : 0;
}

int journal_append(struct journal *j, struct record *record, struct safety_error *error)
{
	size_t bytes;
	int err;

	if (j->broken)
		return fail(error, j->broken,
			"the journal takes no more records since its disk failed; mend the disk "
			"and "
			"restart the agent");
	bytes = frame(j, record, j->seq + 1, j->last);
	if (bytes == 0)
		return fail(error, -EINVAL, "a record does not fit the journal");
	err = write_at(j->fd, j->buf, bytes, j->end);
	if (err) {
		if (ftruncate(j->fd, (off_t)j->end) < 0)
			j->broken = -errno;
		return fail(error, err, "the journal cannot be written, so nothing is changed");
	}
	/* after a failed fsync nobody knows what the disk holds; whoever opens the journal next finds the record whole or not */
	err = to_disk(j->fd);
	if (err) {
		j->broken = ftruncate(j->fd, (off_t)j->end) < 0 ? -errno : err;
		return fail(error, j->broken, "the journal's disk failed, so nothing is changed");
	}
	sha256(j->buf, bytes, j->last);
	j->end += bytes;
	j->seq++;
	return 0;
}

bool journal_full(const struct journal *j)
{
	return j->end >= j->max_bytes;
}

bool journal_overfull(const struct journal *j)
{
	return j->end >= 2 * j->max_bytes;
}

bool journal_owned(const struct journal *j)
{
	struct stat ours, named;

	return j->fd >= 0 && fstat(j->fd, &ours) == 0 &&
	       fstatat(j->dir_fd, JOURNAL_NAME, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
	       same_file(&ours, &named);
}

/* Wait until whoever took over has written all it has to: the segment is then locked by nobody. Its descriptor. */
static int settle(struct journal *j)
{
	const struct timespec poll = { .tv_nsec = LOCK_POLL_NS };
	int err = -EBUSY;

	for (uint64_t ns = 0; ns < RELOAD_WAIT_NS; ns += LOCK_POLL_NS) {
		int fd = openat(j->dir_fd, JOURNAL_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_SH | LOCK_NB) == 0)
			return fd;
		err = errno == EWOULDBLOCK || errno == EINTR ? -EBUSY : -errno;
		close(fd);
		if (err != -EBUSY)
			break;
		nanosleep(&poll, NULL);
	}
	return err;
}

int journal_reload(struct journal *j, journal_visit *visit, void *ctx, struct safety_error *error)
{
	struct stat before, after;
	struct journal_scan scan;
	int settled = settle(j), err;

	if (settled < 0)
		return fail(error, settled, "the keeper is not done with the journal it took over");
	err = journal_scan_file(j->dir_fd, JOURNAL_NAME, visit, ctx, &scan, error);
	if (j->fd >= 0)
		close(j->fd);
	j->fd = -1;
	if (!err)
		err = adopt(j, &scan, error);
	/* taken over once more in between: the next call begins anew */
	if (!err && (fstat(settled, &before) < 0 || fstat(j->fd, &after) < 0 ||
			    !same_file(&before, &after)))
		err = fail(error, -EBUSY, "the keeper took the journal over again");
	if (err)
		j->broken = -EBADF;
	close(settled);
	return err;
}

uint64_t journal_next_seq(const struct journal *j)
{
	return j->seq + 1;
}

uint64_t journal_segment(const struct journal *j)
{
	return j->segment;
}

size_t journal_cut_bytes(const struct journal *j)
{
	return j->cut_bytes;
}
