/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metric.h - the table of what is measured: one series for each metric and label, with its recent snapshots.
 *
 * A snapshot is metrics_begin(), any number of metrics_counter(), _level() and _times(), metrics_end(). Bounded:
 * METRIC_MAX_SERIES series of METRIC_ROWS snapshots, METRIC_MAX_BYTES in all; what does not fit is counted. One thread
 * at a time.
 */
#ifndef SEMANTOS_TELEMETRY_METRIC_H
#define SEMANTOS_TELEMETRY_METRIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/telemetry/metric_defs.h"

#define METRIC_MAX_SERIES 512
#define METRIC_ROWS 720 /* an hour at 5 s */
#define METRIC_WINDOW \
	60 /* snapshots that percentiles of single values, and anomalies, are taken of */
#define METRIC_LEAST 12 /* snapshots before anomalies are told */
#define METRIC_LABEL 64

/* One snapshot of a series. */
struct metric_row {
	float value; /* of a METRIC_TIMES: its p99 */
	float median, p95,
		p99; /* of a METRIC_TIMES: of the interval's events; else of the window's values */
	float per_s; /* events, or what the metric counts, in a second; NaN for a level */
};

#define METRIC_MAX_BYTES (METRIC_MAX_SERIES * (METRIC_ROWS * sizeof(struct metric_row) + 256))

/* What a reader gets of a series; a copy. */
struct metric_view {
	uint32_t def; /* index into metric_defs[] */
	char label[METRIC_LABEL]; /* "" = the whole machine */
	double value, median, p95, p99, per_s, anomalies; /* NaN = not defined */
	uint64_t events; /* of a METRIC_TIMES: since the start */
	double sum; /* of a METRIC_TIMES: their seconds since the start; of a METRIC_RATE: counted since then */
};

struct metrics;

struct metrics *metrics_new(void); /* NULL with errno */
void metrics_free(struct metrics *metrics); /* accepts NULL */

void metrics_begin(struct metrics *metrics, double interval_s);

/*
 * A counter as it stands; the series gets how much it grew in a second, times scale, from the second time on. One that
 * went down began anew: no value this time, and counted.
 */
void metrics_counter(struct metrics *metrics, enum metric_name name, const char *label,
	uint64_t raw, double scale);
void metrics_level(struct metrics *metrics, enum metric_name name, const char *label, double value);
/* A histogram of the interval alone: bucket[TELEMETRY_BUCKETS], their sum, and the sum of the durations. */
void metrics_times(struct metrics *metrics, enum metric_name name, const char *label,
	const uint32_t *bucket, uint64_t count, uint64_t sum_ns);

/* Series without a value this time get an empty row; those without one for METRIC_WINDOW snapshots are dropped. */
void metrics_end(struct metrics *metrics);

size_t metrics_count(const struct metrics *metrics);
/* The i-th series, i < metrics_count(). Order may change with any snapshot. */
void metrics_view(const struct metrics *metrics, size_t i, struct metric_view *view);
/* Copy the last n rows, oldest first, into row[n]; how many there are. */
size_t metrics_history(const struct metrics *metrics, size_t i, struct metric_row *row, size_t n);
size_t metrics_bytes(const struct metrics *metrics); /* memory held */

struct metrics_counts {
	uint64_t refused; /* values of series that found no room */
	uint64_t resets; /* counters that went down */
};
void metrics_counts(const struct metrics *metrics, struct metrics_counts *counts);

#endif
