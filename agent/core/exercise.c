// SPDX-License-Identifier: Apache-2.0
/*
 * exercise.c - runs the bounded load: fill the file, then phases of random reads with bursts of writes.
 *
 * Threads: one conductor fills the file, opens phases and writes the bursts; EXERCISE_MAX_DEPTH readers each keep one
 * read in flight while their number is below the phase's depth and the phase has reads left. The lock guards the
 * phase only; totals are atomics. A phase hands out its reads as fast as the disk takes them and rests for what is
 * left of its time: so the depth is real and the average rate bounded.
 */
#include "agent/core/exercise.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>
#include "agent/util/log.h"

#define BLOCK_BYTES 4096u
#define READ_MAX_BYTES 65536u
#define CHUNK_BYTES (1u << 20) /* filling, and one write of a burst */
#define PHASE_MS 250
#define BURST_EVERY 4 /* phases; one in this many carries a burst of writes */
#define BURST_CHUNKS 8 /* largest burst */
#define STACK_BYTES (128u << 10)

struct reader {
	struct exercise *ex;
	pthread_t thread;
	uint32_t index;
	uint64_t random;
};

struct exercise {
	int fd;
	uint32_t reads_per_s, seconds;
	uint64_t file_bytes, write_bytes;
	uint32_t dev_major, dev_minor;
	pthread_t conductor;
	struct reader reader[EXERCISE_MAX_DEPTH];
	uint32_t n_readers;

	pthread_mutex_t lock;
	pthread_cond_t changed; /* a phase opened, or the end */
	uint64_t phase; /* number of the open phase, 0 = none yet */
	uint32_t depth, max_blocks; /* of the open phase */
	uint32_t reads_left;

	atomic_bool stop, running;
	atomic_int error;
	atomic_uint shown_depth;
	atomic_ullong filled, reads, read_bytes, written;
};

/* xorshift64*: spread is all that is asked of it. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dULL;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool stopping(const struct exercise *ex)
{
	return atomic_load(&ex->stop) || atomic_load(&ex->error) != 0;
}

/* The first failure ends the load; the conductor says so. */
static void fail(struct exercise *ex, int error)
{
	int none = 0;

	atomic_compare_exchange_strong(&ex->error, &none, error);
}

const char *exercise_refused_kind(uint64_t fs_type)
{
	/* Named are those people meet; what is not known to reach a local disk is refused as well. */
	static const struct {
		uint64_t type;
		const char *kind;
	} refused[] = {
		{ TMPFS_MAGIC, "tmpfs, which is memory" },
		{ RAMFS_MAGIC, "ramfs, which is memory" },
		{ HUGETLBFS_MAGIC, "hugetlbfs, which is memory" },
		{ OVERLAYFS_SUPER_MAGIC, "an overlay (a container's own root)" },
		{ NFS_SUPER_MAGIC, "a network file system (NFS)" },
		{ 0xff534d42, "a network file system (CIFS)" },
		{ 0xfe534d42, "a network file system (SMB)" },
		{ SMB_SUPER_MAGIC, "a network file system (SMB)" },
		{ CEPH_SUPER_MAGIC, "a network file system (Ceph)" },
		{ AFS_SUPER_MAGIC, "a network file system (AFS)" },
		{ V9FS_MAGIC, "a network file system (9p)" },
		{ FUSE_SUPER_MAGIC, "a FUSE file system" },
		{ SQUASHFS_MAGIC, "squashfs, which is read-only" },
		{ ISOFS_SUPER_MAGIC, "ISO 9660, which is read-only" },
		{ PROC_SUPER_MAGIC, "procfs, which holds no files" },
		{ SYSFS_MAGIC, "sysfs, which holds no files" },
	};
	static const uint64_t allowed[] = { EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
		F2FS_SUPER_MAGIC };

	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
		if (fs_type == allowed[i])
			return NULL;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		if (fs_type == refused[i].type)
			return refused[i].kind;
	return "of a kind not known to reach a local disk";
}

/* ---- readers ------------------------------------------------------------------------------------------ */

/* Wait until this reader may issue one read; *blocks gets its largest size. False = the end. */
static bool reader_admit(struct reader *reader, uint32_t *blocks)
{
	struct exercise *ex = reader->ex;
	bool go;

	pthread_mutex_lock(&ex->lock);
	while (!stopping(ex) && (reader->index >= ex->depth || ex->reads_left == 0))
		pthread_cond_wait(&ex->changed, &ex->lock);
	go = !stopping(ex);
	if (go) {
		ex->reads_left--;
		*blocks = ex->max_blocks;
	}
	pthread_mutex_unlock(&ex->lock);
	return go;
}

static void *reader_main(void *arg)
{
	struct reader *reader = arg;
	struct exercise *ex = reader->ex;
	uint32_t max_blocks;
	void *buffer;

	if (posix_memalign(&buffer, BLOCK_BYTES, READ_MAX_BYTES) != 0) {
		fail(ex, -ENOMEM);
		return NULL;
	}
	while (reader_admit(reader, &max_blocks)) {
		size_t bytes = (1 + next_random(&reader->random) % max_blocks) * BLOCK_BYTES;
		uint64_t slots = (ex->file_bytes - bytes) / BLOCK_BYTES + 1;
		off_t at = (off_t)(next_random(&reader->random) % slots * BLOCK_BYTES);
		ssize_t got = pread(ex->fd, buffer, bytes, at);

		if (got != (ssize_t)bytes) {
			fail(ex, got < 0 ? -errno : -EIO);
			break;
		}
		atomic_fetch_add(&ex->reads, 1);
		atomic_fetch_add(&ex->read_bytes, (uint64_t)got);
	}
	free(buffer);
	return NULL;
}

/* ---- conductor ---------------------------------------------------------------------------------------- */

/* One chunk at `at`, unless the bound on writes would be passed. */
static bool write_chunk(struct exercise *ex, const void *chunk, uint64_t at)
{
	ssize_t put;

	if (atomic_load(&ex->written) + CHUNK_BYTES > ex->write_bytes)
		return false;
	put = pwrite(ex->fd, chunk, CHUNK_BYTES, (off_t)at);
	if (put != (ssize_t)CHUNK_BYTES) {
		fail(ex, put < 0 ? -errno : -ENOSPC);
		return false;
	}
	atomic_fetch_add(&ex->written, CHUNK_BYTES);
	return true;
}

/* A file whose blocks were never written would be answered from memory. */
static bool fill(struct exercise *ex, void *chunk, uint64_t *random, uint64_t end_ms)
{
	uint64_t *word = chunk;

	for (uint64_t at = 0; at < ex->file_bytes; at += CHUNK_BYTES) {
		if (stopping(ex) || now_ms() >= end_ms)
			return false;
		/* no two blocks alike, so that nothing below can store them once */
		for (size_t i = 0; i < CHUNK_BYTES / sizeof(*word); i += BLOCK_BYTES / 64)
			word[i] = next_random(random);
		if (!write_chunk(ex, chunk, at))
			return false;
		atomic_store(&ex->filled, at + CHUNK_BYTES);
	}
	if (fsync(ex->fd) != 0) {
		fail(ex, -errno);
		return false;
	}
	return !stopping(ex);
}

static void phase_open(struct exercise *ex, uint64_t *random)
{
	static const uint32_t sizes[] = { 1, 1, 4,
		16 }; /* blocks: half of the phases read 4 KiB only */

	pthread_mutex_lock(&ex->lock);
	ex->phase++;
	ex->depth = 1 + (uint32_t)(next_random(random) % EXERCISE_MAX_DEPTH);
	ex->max_blocks = sizes[next_random(random) % (sizeof(sizes) / sizeof(sizes[0]))];
	/* a third to five thirds of the share, so that busy and quiet phases alternate */
	ex->reads_left = (uint32_t)((uint64_t)ex->reads_per_s * PHASE_MS / 1000 *
				    (5 + next_random(random) % 21) / 15) +
			 1;
	atomic_store(&ex->shown_depth, ex->depth);
	pthread_cond_broadcast(&ex->changed);
	pthread_mutex_unlock(&ex->lock);
}

static void sleep_until(const struct exercise *ex, uint64_t until_ms)
{
	const struct timespec slice = { .tv_nsec = 20000000 };

	while (!stopping(ex) && now_ms() < until_ms)
		nanosleep(&slice, NULL);
}

static void burst(struct exercise *ex, const void *chunk, uint64_t *random, uint64_t until_ms)
{
	uint64_t chunks = 1 + next_random(random) % BURST_CHUNKS;

	while (chunks-- > 0 && !stopping(ex) && now_ms() < until_ms) {
		uint64_t at = next_random(random) % (ex->file_bytes / CHUNK_BYTES) * CHUNK_BYTES;

		if (!write_chunk(ex, chunk, at))
			return;
	}
}

static void *conductor_main(void *arg)
{
	struct exercise *ex = arg;
	uint64_t end_ms = now_ms() + (uint64_t)ex->seconds * 1000;
	uint64_t random = now_ms() | 1;
	void *chunk;

	if (posix_memalign(&chunk, BLOCK_BYTES, CHUNK_BYTES) != 0) {
		fail(ex, -ENOMEM);
		goto out;
	}
	memset(chunk, 0xa5, CHUNK_BYTES);
	if (fill(ex, chunk, &random, end_ms)) {
		while (!stopping(ex) && now_ms() < end_ms) {
			uint64_t until_ms = now_ms() + PHASE_MS;

			phase_open(ex, &random);
			if (ex->phase % BURST_EVERY == 0)
				burst(ex, chunk, &random, until_ms);
			sleep_until(ex, until_ms);
		}
	}
	free(chunk);
out:
	pthread_mutex_lock(&ex->lock);
	atomic_store(&ex->stop, true);
	pthread_cond_broadcast(&ex->changed);
	pthread_mutex_unlock(&ex->lock);
	atomic_store(&ex->running, false);
	if (atomic_load(&ex->error) != 0)
		log_warn("The exercise ended early because its scratch file failed: %s.",
			strerror(-atomic_load(&ex->error)));
	return NULL;
}

/* ---- start and stop ----------------------------------------------------------------------------------- */

static int open_scratch(const char *dir)
{
	char path[4096];
	int fd = open(dir, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);

	/* EISDIR and EOPNOTSUPP: a file system without O_TMPFILE. Then the name lives for an instant. */
	if (fd >= 0 || (errno != EISDIR && errno != EOPNOTSUPP && errno != ENOENT))
		return fd;
	if (snprintf(path, sizeof(path), "%s/.semantos-exercise-%d", dir, (int)getpid()) >=
		(int)sizeof(path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_DIRECT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		unlink(path);
	return fd;
}

/* Open and size the scratch file. 0, or -errno with *error. */
static int prepare(
	struct exercise *ex, const struct exercise_options *options, char *error, size_t len)
{
	const char *dir = options->dir, *kind;
	struct statfs fs;
	struct stat st;
	uint64_t quarter;
	int saved;

	if (stat(dir, &st) != 0 || statfs(dir, &fs) != 0) {
		saved = errno;
		snprintf(error, len,
			"The folder %s cannot be exercised: %s; name an existing folder.", dir,
			strerror(saved));
		return -saved;
	}
	if (!S_ISDIR(st.st_mode)) {
		snprintf(error, len,
			"%s is not a folder; --exercise takes a folder on the disk to load.", dir);
		return -EINVAL;
	}
	kind = exercise_refused_kind((uint64_t)fs.f_type & 0xffffffffu);
	if (kind) {
		snprintf(error, len,
			"The folder %s cannot be exercised because it lies on a file system that "
			"is %s; name a "
			"folder on ext4, xfs, btrfs or f2fs.",
			dir, kind);
		return -EINVAL;
	}
	quarter = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize / 4;
	if (ex->file_bytes > quarter)
		ex->file_bytes = quarter;
	ex->file_bytes -= ex->file_bytes % CHUNK_BYTES;
	if (ex->file_bytes < EXERCISE_FILE_MIN_BYTES) {
		snprintf(error, len,
			"The folder %s has too little free space for a scratch file: a quarter of "
			"what is free "
			"must be at least %llu MiB.",
			dir, EXERCISE_FILE_MIN_BYTES >> 20);
		return -ENOSPC;
	}
	if (ex->write_bytes < ex->file_bytes)
		ex->write_bytes = ex->file_bytes;
	ex->fd = open_scratch(dir);
	if (ex->fd < 0) {
		saved = errno;
		snprintf(error, len, "No scratch file for direct I/O could be opened in %s: %s.",
			dir, strerror(saved));
		return -saved;
	}
	ex->dev_major = major(st.st_dev);
	ex->dev_minor = minor(st.st_dev);
	return 0;
}

static int start_thread(pthread_t *thread, void *(*fn)(void *), void *arg)
{
	pthread_attr_t attr;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	err = pthread_create(thread, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	return -err;
}

/* Ends and joins the readers; the conductor, which may be running, sees the same flag. */
static void end_readers(struct exercise *ex)
{
	pthread_mutex_lock(&ex->lock);
	atomic_store(&ex->stop, true);
	pthread_cond_broadcast(&ex->changed);
	pthread_mutex_unlock(&ex->lock);
	for (uint32_t i = 0; i < ex->n_readers; i++)
		pthread_join(ex->reader[i].thread, NULL);
}

struct exercise *exercise_start(
	const struct exercise_options *options, char *error, size_t error_len)
{
	struct exercise *ex = calloc(1, sizeof(*ex));
	int err = -ENOMEM;

	if (!ex) {
		snprintf(error, error_len, "There is no memory for the exercise.");
		goto out;
	}
	ex->fd = -1;
	ex->file_bytes = options->file_bytes ? options->file_bytes : EXERCISE_FILE_BYTES;
	ex->write_bytes = options->write_bytes ? options->write_bytes : EXERCISE_WRITE_BYTES;
	ex->reads_per_s = options->reads_per_s ? options->reads_per_s : EXERCISE_READS_PER_S;
	ex->seconds = options->seconds ? options->seconds : EXERCISE_SECONDS;
	err = prepare(ex, options, error, error_len);
	if (err)
		goto out_free;
	pthread_mutex_init(&ex->lock, NULL);
	pthread_cond_init(&ex->changed, NULL);
	atomic_store(&ex->running, true);
	for (uint32_t i = 0; i < EXERCISE_MAX_DEPTH; i++) {
		struct reader *reader = &ex->reader[i];

		*reader = (struct reader){
			.ex = ex, .index = i, .random = now_ms() * 2 + 1 + i * 2654435761u
		};
		err = start_thread(&reader->thread, reader_main, reader);
		if (err)
			goto out_threads;
		ex->n_readers++;
	}
	err = start_thread(&ex->conductor, conductor_main, ex);
	if (err)
		goto out_threads;
	log_info("Exercising %s: a scratch file of %llu MiB without a name, at most %u reads a "
		 "second for at most "
		 "%u s, never more than %llu MiB written, because --exercise asked for it.",
		options->dir, (unsigned long long)(ex->file_bytes >> 20), ex->reads_per_s,
		ex->seconds, (unsigned long long)(ex->write_bytes >> 20));
	return ex;

out_threads:
	snprintf(error, error_len, "The exercise could not start its threads: %s.", strerror(-err));
	end_readers(ex);
	pthread_cond_destroy(&ex->changed);
	pthread_mutex_destroy(&ex->lock);
	close(ex->fd);
out_free:
	free(ex);
out:
	errno = -err;
	return NULL;
}

void exercise_view(const struct exercise *exercise, struct exercise_view *view)
{
	*view = (struct exercise_view){
		.running = atomic_load(&exercise->running),
		.file_bytes = exercise->file_bytes,
		.filled_bytes = atomic_load(&exercise->filled),
		.reads = atomic_load(&exercise->reads),
		.read_bytes = atomic_load(&exercise->read_bytes),
		.written_bytes = atomic_load(&exercise->written),
		.depth = atomic_load(&exercise->shown_depth),
		.error = atomic_load(&exercise->error),
		.dev_major = exercise->dev_major,
		.dev_minor = exercise->dev_minor,
	};
}

void exercise_stop(struct exercise *exercise)
{
	if (!exercise)
		return;
	end_readers(exercise);
	pthread_join(exercise->conductor, NULL);
	pthread_cond_destroy(&exercise->changed);
	pthread_mutex_destroy(&exercise->lock);
	close(exercise->fd);
	free(exercise);
}
