/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace.h - recorded I/O in text form, turned into the records our own hooks would have delivered.
 *
 * Two layouts with seven comma-separated columns are read, plain or gzipped: LinnOS's replay output (times in whole
 * microseconds: completion, latency, is-read, bytes, offset, submission, device number) and FlashNet's (the same, but
 * times are milliseconds with a decimal point and the last column is no device). Issues and completions are merged by
 * time, so a record knows only what a kernel would have known. Blocking, any thread.
 */
#ifndef SEMANTOS_CORE_TRACE_H
#define SEMANTOS_CORE_TRACE_H

#include <stddef.h>
#include <stdint.h>
#include "agent/core/capture.h"

#define TRACE_MAX_REQUESTS 5000000u
#define TRACE_DEVICES 64 /* device numbers 0..63 */

/* One request of a trace. */
struct trace_request {
	uint64_t issue_ns;
	uint32_t latency_us;
	uint32_t sectors;
	uint64_t sector;
	uint8_t op; /* enum semantos_op */
};

/*
 * requests: [n] of one device, in any order. OUTCOME records of all reads, in order of completion, into *records, owned
 * by the caller; request ids count issues from 1. Early reads have history_len < SEMANTOS_HISTORY. 0 or -ENOMEM.
 */
int trace_records(const struct trace_request *requests, size_t n,
	struct semantos_block_record **records, size_t *n_records);

/* Read device `device` of a trace file. 0 with *out filled (free with capture_free()), or -errno with one sentence. */
int trace_read(
	const char *path, uint32_t device, struct capture *out, char *error, size_t error_len);

/* Does the file begin as a trace does (a digit, or gzip's mark)? */
int trace_looks_like(const char *path);

#endif
