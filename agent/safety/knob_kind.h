/* SPDX-License-Identifier: Apache-2.0 */
/*
 * knob_kind.h - what a kind of knob is made of. Of knob*.c only.
 *
 * A kind has one file and one entry in knob.c. open() fills in the knob after name and row were checked; on -errno it says a
 * sentence and leaves fd to be closed by the caller. read() and write() are one system call each, so that a compare and
 * the write after it lie as close as they can, unless the kind's file says why not.
 */
#ifndef SEMANTOS_SAFETY_KNOB_KIND_H
#define SEMANTOS_SAFETY_KNOB_KIND_H

#include "agent/safety/knob.h"

struct knob_kind_ops {
	const char *prefix; /* of the name, with its colon */
	const char *base; /* folder the rest of the name lies in; "" = none */
	bool process; /* the rest of the name is PID@START/WHICH */
	int (*open)(struct knob *knob, const char *root, const char *path, bool write,
		struct safety_error *error);
	int (*read)(const struct knob *knob, char value[RECORD_VALUE_MAX]);
	int (*write)(const struct knob *knob, const char *value);
	/* how a person would do it, into out */
	void (*command)(
		const char *base, const char *path, const char *value, char *out, size_t size);
};

/* A decimal number, or a hexadecimal one with 0x; the whole text. */
bool knob_number(const char *text, int64_t *value);

/* ---- knob_file.c: a file below the kind's folder ---- */

/* Open `path` below root and base, never outside. 0 or -errno with a sentence that names `name`. */
int knob_open_below(struct knob *knob, const char *root, const char *base, const char *path,
	int flags, mode_t type, struct safety_error *error);
int knob_file_open(struct knob *knob, const char *root, const char *path, bool write,
	struct safety_error *error);
int knob_file_read(const struct knob *knob, char value[RECORD_VALUE_MAX]);
int knob_file_write(const struct knob *knob, const char *value);
void knob_file_command(
	const char *base, const char *path, const char *value, char *out, size_t size);

/* ---- knob_debugfs.c: opened and named as any file ---- */

int knob_debugfs_read(const struct knob *knob, char value[RECORD_VALUE_MAX]);
int knob_debugfs_write(const struct knob *knob, const char *value);

/* ---- knob_blkra.c ---- */

int knob_blkra_open(struct knob *knob, const char *root, const char *path, bool write,
	struct safety_error *error);
int knob_blkra_read(const struct knob *knob, char value[RECORD_VALUE_MAX]);
int knob_blkra_write(const struct knob *knob, const char *value);
void knob_blkra_command(
	const char *base, const char *path, const char *value, char *out, size_t size);

/* ---- knob_task.c: one process, told from others that had its number ---- */

struct knob_task {
	pid_t pid;
	uint64_t start; /* clock ticks since boot, 0 = not given */
	const char *which; /* into the text that was split */
};

/* "PID@START/WHICH" or "PID/WHICH". False: neither. */
bool knob_task_split(const char *path, struct knob_task *task);
/* Of the process that has this number now: 0 or -errno. */
int knob_task_start(pid_t pid, uint64_t *start);
/* knob->fd becomes a pidfd of that very process, knob->which the index of its last part in words. */
int knob_task_open(
	struct knob *knob, const char *path, const char *const *words, struct safety_error *error);
/* Is it still there? 0 or -ESRCH. While it is, its number is nobody else's. */
int knob_task_alive(const struct knob *knob);

/* ---- knob_state.c: sched:PID@START/state, running or stopped ---- */

int knob_state_read(const struct knob *knob, char value[RECORD_VALUE_MAX]);
int knob_state_write(const struct knob *knob, const char *value);

/* ---- knob_sched.c, knob_madvise.c ---- */

int knob_sched_open(struct knob *knob, const char *root, const char *path, bool write,
	struct safety_error *error);
int knob_sched_read(const struct knob *knob, char value[RECORD_VALUE_MAX]);
int knob_sched_write(const struct knob *knob, const char *value);
void knob_sched_command(
	const char *base, const char *path, const char *value, char *out, size_t size);
bool knob_cpus_canonical(const char *text); /* 0-3,8 and not 0,1,2,3,8 */
/* Is `part` some of `whole`? The kernel leaves out what the machine or the cpuset does not have. */
bool knob_cpus_within(const char *part, const char *whole);

int knob_madvise_open(struct knob *knob, const char *root, const char *path, bool write,
	struct safety_error *error);
int knob_madvise_read(const struct knob *knob, char value[RECORD_VALUE_MAX]);
int knob_madvise_write(const struct knob *knob, const char *value);
void knob_madvise_command(
	const char *base, const char *path, const char *value, char *out, size_t size);
/* "START-END" in hex, whole pages, START below END. */
bool knob_range(const char *text, uint64_t *start, uint64_t *end);

extern const struct knob_kind_ops knob_kinds[KNOB_MADVISE + 1]; /* by enum knob_kind */

#endif
