/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collect.h - from sources to the table of metrics: /proc, disks, cgroups, the kernel's half. One thread.
 */
#ifndef SEMANTOS_TELEMETRY_COLLECT_H
#define SEMANTOS_TELEMETRY_COLLECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/telemetry/kernel.h"
#include "agent/telemetry/metric.h"

#define COLLECT_TEXT (256u << 10) /* the longest file that is read whole */
#define COLLECT_MAX_CGROUPS 32

struct collect_disk {
	char name[32];
	uint32_t dev; /* as the kernel has it */
	int row; /* in the kernel's half; negative = not followed there */
	uint64_t bytes[TELEMETRY_DIRECTIONS], errors; /* since the start */
};

struct collect {
	const char *root;
	const char *const *device; /* [n_device] */
	uint32_t n_device;
	struct metrics *metrics;
	struct kernel *kernel; /* NULL = without */
	char *text; /* [COLLECT_TEXT] */
	uint32_t n_cpus; /* of the last /proc/stat */
	uint64_t disks_hash; /* of the devices in /proc/diskstats when they were last looked at */
	struct collect_disk disk[TELEMETRY_MAX_DISKS];
	uint32_t n_disks;
	struct kernel_disk_reading *disk_reading;
	/* counted since the start */
	uint64_t unreadable, unparsed, retransmits;
	/* as they stand */
	uint64_t disks_left_out, cgroups_left_out;
};

/* Read path below root into collect->text. False when it is not there, or failed, which is counted. */
bool collect_read(struct collect *collect, const char *path);

void collect_proc(struct collect *collect); /* collect_proc.c; all of /proc but disks */
/* The same file: what the hooks counted, but for disks. interval_s is not positive at the first snapshot. */
void collect_kernel(
	struct collect *collect, const struct kernel_reading *reading, double interval_s);
void collect_disks(struct collect *collect); /* collect_disks.c; with block latencies */
uint32_t collect_count_disks(struct collect *collect); /* that would be followed */
void collect_cgroups(struct collect *collect); /* collect_cgroups.c */

#endif
