/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telemetry.h - what the machine does, every few seconds: taken by a thread of its own, read by any.
 *
 * Sources are the hooks of bpf/telemetry and the files of /proc and cgroup v2 below `root`. A source that is not there
 * leaves its metrics out; nothing is ever made up. Failures are counted by cause (telemetry_losses).
 */
#ifndef SEMANTOS_TELEMETRY_TELEMETRY_H
#define SEMANTOS_TELEMETRY_TELEMETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/telemetry/metric.h"

#define TELEMETRY_INTERVAL_S 5
#define TELEMETRY_INTERVAL_MAX_S 300
#define TELEMETRY_SYSCALL_WINDOW_MS 50 /* of each interval: 1 % of 5 s */

struct telemetry;

struct telemetry_options {
	const char *root; /* of tests: "" or NULL = this machine */
	const char *object; /* telemetry.bpf.o; NULL = without the kernel's half */
	uint32_t interval_s; /* 0 = TELEMETRY_INTERVAL_S */
	bool no_syscalls; /* do not sample system calls */
	const char *const
		*device; /* [n_device] names, globs or /dev paths followed besides physical disks */
	uint32_t n_device;
};

/*
 * Never fails for want of a source: what is missing is logged, and in telemetry_view.note. NULL with errno ENOMEM only.
 * No thread yet, no snapshot yet. The strings of options must live as long.
 */
struct telemetry *telemetry_new(const struct telemetry_options *options);
/* Take one snapshot now, on the caller's thread: for tests and benchmarks; not once the thread runs. */
void telemetry_take(struct telemetry *telemetry);
int telemetry_start(struct telemetry *telemetry); /* the thread; 0 or -errno */
/* End the thread, and wake all who wait; the last snapshot can still be read. Accepts NULL. */
void telemetry_stop(struct telemetry *telemetry);
void telemetry_free(struct telemetry *telemetry); /* accepts NULL; when nobody uses it any more */

struct telemetry_loss_view {
	const char *name; /* static */
	const char *meaning; /* static, half a sentence */
	uint64_t value;
};
#define TELEMETRY_LOSSES 12

struct telemetry_view {
	uint64_t number; /* of the snapshot, from 1; 0 = none was taken yet */
	uint64_t unix_ms; /* when it was taken */
	double interval_s; /* it covers; NaN at the first */
	size_t n_metrics;
	struct metric_view *metric; /* [n_metrics] by name and label */
	struct telemetry_loss_view loss[TELEMETRY_LOSSES];
	uint64_t history_rows, bytes,
		kernel_bytes; /* rows kept at most; memory held now; in BPF maps */
	char note[640]; /* what is missing, one sentence; "" = nothing */
};

/* A copy of the last snapshot. 0 or -ENOMEM. */
int telemetry_view(struct telemetry *telemetry, struct telemetry_view *view);
void telemetry_view_free(struct telemetry_view *view); /* accepts a zeroed one */

/* Wait until a snapshot newer than `number` was taken: 0, -ETIMEDOUT, or -ESHUTDOWN once it was stopped. */
int telemetry_wait(struct telemetry *telemetry, uint64_t number, uint32_t timeout_ms);

enum telemetry_figure {
	TELEMETRY_VALUE,
	TELEMETRY_MEDIAN,
	TELEMETRY_P95,
	TELEMETRY_P99,
	TELEMETRY_PER_S,
	TELEMETRY_ANOMALIES
};

uint64_t telemetry_number(
	struct telemetry *telemetry); /* of the last snapshot, 0 = none was taken yet */
uint32_t telemetry_interval_s(
	const struct telemetry *telemetry); /* meant to lie between snapshots */

/*
 * One figure of the last snapshot, by the metric's name and label ("" = the whole machine). 0 with *number, the
 * snapshot's; -ENOENT: there is no such series; -ENODATA: it has no such value now.
 */
int telemetry_figure(struct telemetry *telemetry, const char *name, const char *label,
	enum telemetry_figure figure, double *value, uint64_t *number);

/*
 * The last n rows of one series, oldest first, into row[n]: how many there are, or -ENOENT. *number: of the newest.
 * *interval_s: what is meant to lie between them.
 */
int telemetry_history(struct telemetry *telemetry, const char *name, const char *label,
	struct metric_row *row, size_t n, uint64_t *number, double *interval_s);

#endif
