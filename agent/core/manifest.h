/* SPDX-License-Identifier: Apache-2.0 */
/*
 * manifest.h - a policy folder's policy.conf: everything the agent must know of a policy, by name.
 *
 * Strict: an unknown section or key, a value out of range or a missing required key refuses the folder with one
 * sentence that names file and line. Every key is listed once, in manifest.c, with its range and default.
 */
#ifndef SEMANTOS_CORE_MANIFEST_H
#define SEMANTOS_CORE_MANIFEST_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/core/learn.h"
#include "bpf/wire.h"

#define MANIFEST_MAX_BYTES 65536

struct manifest {
	char directory[PATH_MAX];
	char name[32];
	char summary[128];
	char object[NAME_MAX + 1]; /* BPF object, a file of the folder */
	char record[32]; /* kind of record: block, calls, sched */
	char decide
		[32]; /* how it decides for volumes: async (by verdicts) or inline (by its model, in the kernel) */
	char volume[NAME_MAX +
		    1]; /* BPF object that decides for replica volumes, a file of the folder; "" = none */
	char mode[32]; /* shadow, canary:N, enforce */
	uint32_t wire; /* SEMANTOS_WIRE_VERSION it was written for */
	uint32_t ttl_ms;
	uint32_t budget_per_s;
	char encoder[32];
	char hidden[64]; /* widths, comma-separated */
	uint32_t outputs;
	char predicts[16]; /* class, latency */
	char model[NAME_MAX + 1]; /* shipped model, "" = none: it learns */
	char labeler[32];
	uint32_t min_rows, max_rows, min_seconds;
	uint32_t epochs, batch;
	double slow_weight, learning_rate, margin;
	uint32_t window, floor_rows;
	double floor_auc, drift;
	uint32_t batch_max, batch_window_us; /* window 0: drain_window() */
	char spin[8]; /* never, auto, always: agent/core/drain.h */
	/* of record = calls: agent/core/watch.h */
	char action[8]; /* log, stop, freeze */
	char allow[512]; /* globs of units that are left alone, between commas */
	uint32_t classes, windows;
	double false_positives; /* share of benign windows that may be flagged */
};

/* Read <directory>/policy.conf. 0, or -errno with one sentence in error[error_len]. */
int manifest_load(const char *directory, struct manifest *manifest, char *error, size_t error_len);
int manifest_parse(const char *text, const char *directory, struct manifest *manifest, char *error,
	size_t error_len);

/* Find <name>/policy.conf along a colon-separated path and load it. -ENOENT when no folder has that name. */
int manifest_find(const char *path, const char *name, struct manifest *manifest, char *error,
	size_t error_len);

/* Its records are windows of system calls: it watches processes, and has no devices and no net. */
bool manifest_watches(const struct manifest *manifest);
/* Its records are of tasks and CPUs (bpf/sched_wire.h), not of reads of disks. */
bool manifest_is_sched(const struct manifest *manifest);

/* The recipe learn() needs. 0 or -EINVAL with a sentence (an encoder or labeler nobody knows, bad widths). */
int manifest_recipe(const struct manifest *manifest, struct learn_recipe *recipe, char *error,
	size_t error_len);

#endif
