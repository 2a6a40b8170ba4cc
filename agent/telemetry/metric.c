// SPDX-License-Identifier: Apache-2.0
/*
 * metric.c - the table of series. Found by a linear scan from where the last one was found: values come in the same
 * order each time.
 */
#include "agent/telemetry/metric.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/telemetry/stats.h"

#define METRIC_ROW(id, name, kind, unit, label, help) \
	[METRIC_##id] = { name, METRIC_##kind, METRIC_##unit, label, help },
const struct metric_def metric_defs[METRIC_NR] = { METRICS(METRIC_ROW) };

const char *metric_kind_name(enum metric_kind kind)
{
	static const char *const names[] = { "times", "rate", "level" };

	return names[kind];
}

const char *metric_unit_name(enum metric_unit unit)
{
	static const char *const names[] = { "seconds", "bytes", "ratio", "" };

	return names[unit];
}

struct series {
	enum metric_name name;
	char label[METRIC_LABEL];
	bool has_raw, fresh; /* fresh: this snapshot has its row already */
	uint64_t raw; /* the counter, last time */
	uint32_t rows; /* so far, METRIC_ROWS at most */
	uint32_t silent; /* snapshots since the last value */
	double anomalies, sum;
	uint64_t events;
	struct metric_row row[METRIC_ROWS]; /* a ring; the newest at metrics->newest */
};

struct metrics {
	struct series *series[METRIC_MAX_SERIES];
	size_t n, at;
	uint32_t newest;
	double interval_s;
	struct metrics_counts counts;
};

_Static_assert(sizeof(struct series) <= METRIC_ROWS * sizeof(struct metric_row) + 256,
	"METRIC_MAX_BYTES is what it says");

struct metrics *metrics_new(void)
{
	return calloc(1, sizeof(struct metrics));
}

void metrics_free(struct metrics *metrics)
{
	if (!metrics)
		return;
	for (size_t i = 0; i < metrics->n; i++)
		free(metrics->series[i]);
	free(metrics);
}

void metrics_begin(struct metrics *metrics, double interval_s)
{
	metrics->newest = (metrics->newest + 1) % METRIC_ROWS;
	metrics->interval_s = interval_s;
	metrics->at = 0;
	for (size_t i = 0; i < metrics->n; i++)
		metrics->series[i]->fresh = false;
}

static struct series *find(struct metrics *metrics, enum metric_name name, const char *label)
{
	struct series *series;

	for (size_t i = 0; i < metrics->n; i++) {
		size_t at = (metrics->at + i) % metrics->n;

		series = metrics->series[at];
		if (series->name == name && strcmp(series->label, label) == 0) {
			metrics->at = at + 1;
			return series;
		}
	}
	series = metrics->n < METRIC_MAX_SERIES ? calloc(1, sizeof(*series)) : NULL;
	if (!series) {
		metrics->counts.refused++;
		return NULL;
	}
	series->name = name;
	snprintf(series->label, sizeof(series->label), "%s", label);
	series->anomalies = NAN;
	metrics->at = metrics->n;
	metrics->series[metrics->n++] = series;
	return series;
}

/* The last METRIC_WINDOW values, in no order; NaN where there was none. */
static size_t window(const struct metrics *metrics, const struct series *series, float *value)
{
	size_t n = series->rows < METRIC_WINDOW ? series->rows : METRIC_WINDOW;

	for (size_t i = 0; i < n; i++)
		value[i] = series->row[(metrics->newest + METRIC_ROWS - i) % METRIC_ROWS].value;
	return n;
}

static void put(struct metrics *metrics, struct series *series, const struct metric_row *row)
{
	float value[METRIC_WINDOW], scratch[METRIC_WINDOW];
	struct metric_row *to = &series->row[metrics->newest];
	size_t n;

	if (!series->fresh && series->rows < METRIC_ROWS)
		series->rows++;
	series->fresh = true;
	series->silent = isnan(row->value) ? series->silent + 1 : 0;
	*to = *row;
	n = window(metrics, series, value);
	series->anomalies = stats_anomalies(value, n, METRIC_LEAST, scratch);
	if (metric_defs[series->name].kind == METRIC_TIMES)
		return;
	n = stats_sort(value, n);
	to->median = (float)stats_quantile(value, n, 0.5);
	to->p95 = (float)stats_quantile(value, n, 0.95);
	to->p99 = (float)stats_quantile(value, n, 0.99);
}

static const struct metric_row empty = { NAN, NAN, NAN, NAN, NAN };

void metrics_counter(struct metrics *metrics, enum metric_name name, const char *label,
	uint64_t raw, double scale)
{
	struct series *series = find(metrics, name, label);
	struct metric_row row = empty;

	if (!series)
		return;
	if (series->has_raw && raw < series->raw) {
		metrics->counts.resets++;
	} else if (series->has_raw && metrics->interval_s > 0) {
		double grown = (double)(raw - series->raw) * scale;

		series->sum += grown;
		row.value = (float)(grown / metrics->interval_s);
		if (metric_defs[name].kind == METRIC_RATE)
			row.per_s = row.value;
	}
	series->raw = raw;
	series->has_raw = true;
	put(metrics, series, &row);
}

void metrics_level(struct metrics *metrics, enum metric_name name, const char *label, double value)
{
	struct series *series = find(metrics, name, label);
	struct metric_row row = empty;

	if (!series)
		return;
	row.value = (float)value;
	put(metrics, series, &row);
}

void metrics_times(struct metrics *metrics, enum metric_name name, const char *label,
	const uint32_t *bucket, uint64_t count, uint64_t sum_ns)
{
	struct series *series = find(metrics, name, label);
	struct metric_row row = empty;

	if (!series)
		return;
	series->events += count;
	series->sum += (double)sum_ns / 1e9;
	row.median = (float)(stats_hist_quantile(bucket, count, 0.5) / 1e9);
	row.p95 = (float)(stats_hist_quantile(bucket, count, 0.95) / 1e9);
	row.p99 = (float)(stats_hist_quantile(bucket, count, 0.99) / 1e9);
	row.value = row.p99;
	if (metrics->interval_s > 0)
		row.per_s = (float)((double)count / metrics->interval_s);
	put(metrics, series, &row);
	/* A disk without a request is there all the same. */
	series->silent = 0;
}

void metrics_end(struct metrics *metrics)
{
	size_t kept = 0;

	for (size_t i = 0; i < metrics->n; i++) {
		struct series *series = metrics->series[i];

		if (!series->fresh)
			put(metrics, series, &empty);
		if (series->silent >= METRIC_WINDOW)
			free(series);
		else
			metrics->series[kept++] = series;
	}
	metrics->n = kept;
}

size_t metrics_count(const struct metrics *metrics)
{
	return metrics->n;
}

void metrics_view(const struct metrics *metrics, size_t i, struct metric_view *view)
{
	const struct series *series = metrics->series[i];
	const struct metric_row *row = &series->row[metrics->newest];

	view->def = series->name;
	memcpy(view->label, series->label, sizeof(view->label));
	view->value = (double)row->value;
	view->median = (double)row->median;
	view->p95 = (double)row->p95;
	view->p99 = (double)row->p99;
	view->per_s = (double)row->per_s;
	view->anomalies = series->anomalies;
	view->events = series->events;
	view->sum = series->sum;
}

size_t metrics_history(const struct metrics *metrics, size_t i, struct metric_row *row, size_t n)
{
	const struct series *series = metrics->series[i];

	if (n > series->rows)
		n = series->rows;
	for (size_t k = 0; k < n; k++)
		row[k] = series->row[(metrics->newest + METRIC_ROWS - (n - 1) + k) % METRIC_ROWS];
	return n;
}

size_t metrics_bytes(const struct metrics *metrics)
{
	return sizeof(*metrics) + metrics->n * sizeof(struct series);
}

void metrics_counts(const struct metrics *metrics, struct metrics_counts *counts)
{
	*counts = metrics->counts;
}
