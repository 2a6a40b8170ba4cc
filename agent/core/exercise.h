/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exercise.h - a bounded load on a scratch file, for a disk that is otherwise idle.
 *
 * The scratch file never has a name (or loses it right after it was opened), so nothing is left behind even after
 * SIGKILL. Reads and writes are O_DIRECT: they reach the disk. Own threads; whoever starts it may run anything else.
 * It never touches another file, never writes more than it was allowed and ends by itself.
 */
#ifndef SEMANTOS_CORE_EXERCISE_H
#define SEMANTOS_CORE_EXERCISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXERCISE_MAX_DEPTH 16 /* reads in flight at once */
#define EXERCISE_FILE_BYTES (1ULL << 30) /* default size of the scratch file */
#define EXERCISE_FILE_MIN_BYTES (16ULL << 20) /* below this there is nothing worth reading */
#define EXERCISE_WRITE_BYTES (4ULL << 30) /* default bound on all that is ever written */
#define EXERCISE_READS_PER_S 2000 /* default bound on the rate, averaged over a phase */
#define EXERCISE_SECONDS 3600 /* default bound on the time */

struct exercise_options {
	const char *dir; /* an existing folder on ext4, xfs, btrfs or f2fs */
	uint64_t file_bytes; /* at most; also at most a quarter of the free space. 0 = default */
	uint64_t write_bytes; /* filling the file included; at least file_bytes. 0 = default */
	uint32_t reads_per_s; /* 0 = default */
	uint32_t seconds; /* ends by itself after this, filling included. 0 = default */
};

struct exercise_view {
	bool running; /* false once it ended, by request or by itself */
	uint64_t file_bytes;
	uint64_t filled_bytes; /* == file_bytes once the reads have begun */
	uint64_t reads, read_bytes, written_bytes;
	uint32_t depth; /* of the present phase */
	int error; /* -errno of the first read or write that failed; the load ended there */
	uint32_t dev_major,
		dev_minor; /* of the file system the file lies on; major 0 = not one disk */
};

struct exercise;

/*
 * Check `dir`, open the scratch file and start the threads. Returns at once: filling happens on them. NULL on refusal
 * with one sentence in error[error_len] and errno: EINVAL (not a folder, kind of file system, no O_DIRECT), ENOSPC, ...
 */
struct exercise *exercise_start(
	const struct exercise_options *options, char *error, size_t error_len);
void exercise_view(const struct exercise *exercise, struct exercise_view *view); /* any thread */
void exercise_stop(struct exercise *exercise); /* joins the threads and frees; accepts NULL */

/*
 * May a load run on a file system of this statfs(2) f_type? NULL when it may, else what kind it is, as the sentence
 * names it ("tmpfs, which is memory").
 */
const char *exercise_refused_kind(uint64_t fs_type);

#endif
