/* SPDX-License-Identifier: Apache-2.0 */
/*
 * learn_record.h - windows of system calls for `semantosctl learn`: of a command that is run, or of recorded traces.
 *
 * One thread.
 */
#ifndef SEMANTOS_CLI_LEARN_RECORD_H
#define SEMANTOS_CLI_LEARN_RECORD_H

#include <stddef.h>
#include <stdint.h>
#include "agent/infer/kin_store.h"

struct learn_windows {
	uint16_t (*count)[SEMANTOS_CALLS]; /* [most] */
	size_t n, most;
	uint64_t dropped; /* beyond `most`, or what the kernel side dropped */
	uint64_t short_calls; /* in windows of too few calls */
	int status; /* of the command, as waitpid() has it */
};

struct learn_run {
	const char *
		policies; /* folders, colon-separated: knn/knn.bpf.o and ../bpf/lib/lease.bpf.o are in one */
	const char *bpffs_dir; /* NULL = one of this process below /sys/fs/bpf */
	char **argv; /* ended by NULL */
	uint32_t seconds; /* then it is ended, with all it started */
};

/*
 * Run the command and collect the windows of it and all its descendants. As root. 0, or -errno with one sentence: -ENOENT
 * (no such object, or no such command), -EPERM, -EPROTO.
 */
int learn_run(
	const struct learn_run *run, struct learn_windows *windows, char *error, size_t error_len);

/*
 * Read every file below a folder as one trace: numbers of i386 system calls between blanks, as ADFA-LD has them. label: of
 * all; NULL: the name of the folder a file lies in, without _1, _2 ... at its end, and benign where that begins with
 * Training, Validation, benign or normal. Exact copies are left out, near ones become one recording.
 */
struct learn_import {
	size_t files, copies, bad, added, full; /* bad: no trace; full: found no room */
	size_t recordings;
};
int learn_traces(const char *folder, const char *label, struct kin_store *store,
	struct learn_import *import, char *error, size_t error_len);

#endif
