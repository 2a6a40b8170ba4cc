/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel.h - the BPF half of telemetry: loaded, attached, read.
 *
 * Only hooks; nothing is pinned, so all of it goes with the process. A hook this kernel lacks is left out and named.
 * One thread.
 */
#ifndef SEMANTOS_TELEMETRY_KERNEL_H
#define SEMANTOS_TELEMETRY_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "bpf/telemetry_wire.h"

struct kernel;

/* What a difference of two readings says of one histogram. */
struct kernel_times {
	uint32_t bucket[TELEMETRY_BUCKETS];
	uint64_t count, sum_ns;
};

/* What was counted since the last reading, over all CPUs. `has_`: its hooks are attached. */
struct kernel_reading {
	bool has_block, has_runq, has_reclaim, has_memcg, has_softirq, has_retransmits, has_rtt;
	struct kernel_times runq, rtt, softirq, reclaim[TELEMETRY_RECLAIMS];
	uint64_t softirq_ns[TELEMETRY_SOFTIRQS], retransmits;
	uint64_t loss[TELEMETRY_L_NR]; /* since the start */
	uint64_t
		missed; /* runs the kernel skipped since the start: the hook was active on that CPU */
	uint64_t hook_runs, hook_ns; /* since the start, while the kernel counted them */
};

struct kernel_disk_reading {
	struct kernel_times latency[TELEMETRY_DIRECTIONS];
	uint64_t bytes[TELEMETRY_DIRECTIONS], errors;
};

/* Load `path`, with room for so many disks. NULL with one sentence in error[error_len]. */
struct kernel *kernel_open(const char *path, uint32_t n_disks, char *error, size_t error_len);
void kernel_close(struct kernel *kernel); /* accepts NULL; detaches */

/* The hooks that are missing, by name, separated by commas; "" = none. */
const char *kernel_missing(const struct kernel *kernel);

/* Follow a disk (kernel dev_t), or no longer. Its row, or -ENOSPC, -errno. A row that is used anew starts from 0. */
int kernel_disk_add(struct kernel *kernel, uint32_t dev);
void kernel_disk_remove(struct kernel *kernel, uint32_t row);

int kernel_read(struct kernel *kernel, struct kernel_reading *reading); /* 0 or -errno */
int kernel_disk_read(struct kernel *kernel, uint32_t row, struct kernel_disk_reading *reading);

/*
 * System calls per second, by a hook that is attached for window_ms: while it is, each call takes about a tenth of a
 * microsecond longer. NaN when that hook is missing or cannot be attached.
 */
double kernel_syscalls_per_s(struct kernel *kernel, uint32_t window_ms);

size_t kernel_bytes(const struct kernel *kernel); /* of the maps, in the kernel */

/* For benchmarks: the programs, by number until -1 is returned, with what they cost so far. */
struct kernel_program {
	const char *name;
	uint64_t runs, run_ns, missed;
};
int kernel_program(const struct kernel *kernel, size_t i, struct kernel_program *program);

#endif
