/* SPDX-License-Identifier: Apache-2.0 */
/*
 * knob.h - one way to read and write a kernel setting; nothing else in the project opens one for writing.
 *
 * A knob is named by kind and place: sysctl:vm.swappiness, sysfs:block/vda/queue/read_ahead_kb,
 * cgroup:system.slice/x.service/memory.high, blkra:vda (BLKRASET, in 512-byte sectors), sched:PID@START/nice and
 * madvise:PID@START/pageout, where START is the process's start time (/proc/PID/stat, field 22), so that a number given to
 * another process is never touched. Only knobs with a row in knob_table.c exist here: the row holds type, range and what
 * else a write changes. A kind is one entry in knob.c and one file, knob_KIND.c. Paths stay below their folder, symbolic
 * links included. Any thread, one at a time per struct knob. Who may write what is safety.h's business.
 */
#ifndef SEMANTOS_SAFETY_KNOB_H
#define SEMANTOS_SAFETY_KNOB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "agent/safety/journal.h"
#include "agent/safety/record.h"
#include "agent/util/knob_desc.h"

enum knob_kind {
	KNOB_SYSCTL,
	KNOB_SYSFS,
	KNOB_CGROUP,
	KNOB_DEBUGFS,
	KNOB_BLKRA,
	KNOB_SCHED,
	KNOB_MADVISE
};

struct knob {
	int fd;
	enum knob_kind kind;
	const struct knob_def *def;
	bool fake; /* below another root than /: a plain file, cut to the length written */
	pid_t pid; /* of sched and madvise: fd is a pidfd of it */
	int which; /* of sched and madvise: index of the last part of the name */
};

/* The row of this knob, or NULL: such a knob is not offered. */
const struct knob_def *knob_find(const char *name);

/* Is this a name, and this a value it may be given? 0; -ENOENT: no row; -EINVAL; -ERANGE. One sentence in error. */
int knob_check(const char *name, const char *value, struct safety_error *error);

/*
 * The name as it goes into the journal, into out[RECORD_NAME_MAX]: a PID without its start time gets that of the process
 * that runs now. 0; -ESRCH: no such process; -EINVAL.
 */
int knob_full_name(const char *name, char *out, struct safety_error *error);

/*
 * root: "" or "/" = the machine; otherwise a folder that holds proc/sys, sys, sys/fs/cgroup and dev; processes are this
 * machine's in any case. 0, or -errno: -ENOENT when it is not there, -ESRCH when the process is gone, -EXDEV or -ELOOP
 * when the path leads out of its folder.
 */
int knob_open(struct knob *knob, const char *root, const char *name, bool write,
	struct safety_error *error);
void knob_close(struct knob *knob); /* accepts one that is not open (fd < 0) */

/* The value in force, without blanks at its ends; for a choice the word in brackets. 0 or -errno; -E2BIG: too long. */
int knob_read(const struct knob *knob, char value[RECORD_VALUE_MAX]);

bool knob_is_action(
	const char *name); /* has no value: it can be written and neither read nor undone */
bool knob_waits(const char *name); /* may hang with a disk that hangs */
bool knob_resets(const char *name); /* its partner is to be set anew after it */
/*
 * May the partner of such a knob read `live` by the kernel's own doing, after that was given this value? A scheduler sets
 * nr_requests to the disk's tags, or, with any but none, to twice as many, at most 256 (blk-mq, 6.1 to 7.3). A limit of the
 * queue sets read_ahead_kb to twice the best request, of a turning disk that names none the largest one, and to 128 KiB at
 * least; newer kernels only where it reads less (blk_apply_bdi_limits).
 */
bool knob_reset_may_read(const char *root, const char *name, const char *value, const char *live);
/* Of one process? Then *pid is its number. */
bool knob_process(const char *name, pid_t *pid);

/* What the kernel answered: 0 or -errno. Whether it did it is told by knob_read(). */
int knob_write(const struct knob *knob, const char *value);

/*
 * Does the device take so much? A file beside the knob's says the most: newer kernels cut a larger number down to that
 * without a word, and what then stands there looks like another's. 0, also when there is no such file; or -ERANGE.
 */
int knob_fits(const char *root, const char *name, const char *value, struct safety_error *error);
bool knob_is_fixed(const char *root,
	const char *name); /* the device takes nothing above 0: it has no such thing */

/* Do both say the same to the kernel? "0x10" and "16" do. */
bool knob_same(const char *a, const char *b);
/* Is `got` what the kernel may answer after `put` was written? */
bool knob_took(const struct knob_def *def, const char *put, const char *got);

/* Name of the coupled knob into out[RECORD_NAME_MAX]; false: there is none. */
bool knob_partner(const char *name, char *out);
/* Names of one and the same setting give the same key: blkra:vda is sysfs:block/vda/queue/read_ahead_kb. */
void knob_key(const char *name, char *out);
/* How a person would write it: `echo 60 > /proc/sys/vm/swappiness`. */
void knob_command(const char *name, const char *value, char *out, size_t size);

#endif
