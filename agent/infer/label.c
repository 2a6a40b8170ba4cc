// SPDX-License-Identifier: Apache-2.0
/*
 * label.c - the labelers: which latencies of a recording count as slow.
 *
 * Owns the table of names, and the labelers that need no more than a threshold. Sees one device and one recording, and
 * remembers nothing between calls. Any thread; allocates one sorted copy.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/label_internal.h"

#define LABEL_MIN_ROWS 32
#define INFLECTION_POINTS 10000
#define INFLECTION_KEEP 0.97 /* what is slower than this share is left out of the curve */

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return x < y ? -1 : x > y;
}

float *label_sorted(const float *value, size_t n, int *err)
{
	float *sorted;

	*err = -EINVAL;
	if (n < LABEL_MIN_ROWS)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (!isfinite(value[i]) || value[i] < 0)
			return NULL;
	*err = -ENOMEM;
	sorted = malloc(n * sizeof(*sorted));
	if (!sorted)
		return NULL;
	memcpy(sorted, value, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_value);
	if (sorted[0] == sorted[n - 1]) {
		free(sorted);
		*err = -EINVAL;
		return NULL;
	}
	*err = 0;
	return sorted;
}

double label_percentile(const float *sorted, size_t n, double share)
{
	double rank = share * (double)(n - 1);
	size_t below = (size_t)rank;
	size_t above = below + 1 < n ? below + 1 : below;

	return sorted[below] +
	       ((double)sorted[above] - (double)sorted[below]) * (rank - (double)below);
}

/*
 * Some rows are always slow and some always fast: a threshold at or below the fastest read (a device so even that the
 * rule finds no bend) is moved just above it.
 */
static void apply(const float *latency_us, const float *sorted, size_t n, double threshold_us,
	uint8_t *labels, struct label_result *result)
{
	/* The smallest float not below: rounding down would count rows the exact threshold leaves out. */
	result->threshold_us = (float)threshold_us;
	if ((double)result->threshold_us < threshold_us)
		result->threshold_us = nextafterf(result->threshold_us, INFINITY);
	if (result->threshold_us <= sorted[0])
		result->threshold_us = nextafterf(sorted[0], INFINITY);
	result->n_slow = result->n_left_out = result->n_periods = 0;
	for (size_t i = 0; i < n; i++) {
		labels[i] = latency_us[i] >= result->threshold_us;
		result->n_slow += labels[i];
	}
}

/*
 * Where the empirical distribution of sorted[0..n) stands highest above the diagonal from `from_us` (height 0) to the
 * largest value (height 1). The first highest point counts.
 */
static double bend(const float *sorted, size_t n, double from_us)
{
	double best = -INFINITY, best_us = from_us, span_us = (double)sorted[n - 1] - from_us;
	size_t below = 0;

	for (size_t i = 0; i < INFLECTION_POINTS; i++) {
		double x = (double)i / (INFLECTION_POINTS - 1);
		double us = from_us + x * span_us;
		double height;

		while (below < n && (double)sorted[below] <= us)
			below++;
		height = (double)below / (double)n - x;
		if (height > best) {
			best = height;
			best_us = us;
		}
	}
	return best_us;
}

/*
 * The tail beyond p97 is dropped, the rest divided by its largest; where the empirical distribution stands highest
 * above the diagonal, its bend, fast ends (the tooling LAKE ships for LinnOS). On a device whose reads differ little
 * that rule calls all of them slow: then the diagonal starts at the fastest read instead of at zero.
 */
double label_inflection_us(const float *sorted, size_t n)
{
	double cut = label_percentile(sorted, n, INFLECTION_KEEP), threshold_us;
	size_t kept;

	for (kept = n; kept > 1 && (double)sorted[kept - 1] > cut; kept--)
		;
	threshold_us = bend(sorted, kept, 0);
	return threshold_us > (double)sorted[0] ? threshold_us : bend(sorted, kept, sorted[0]);
}

static int label_inflection(const float *latency_us, const float *sectors, size_t n,
	uint8_t *labels, struct label_result *result)
{
	float *sorted;
	int err;

	(void)sectors;
	sorted = label_sorted(latency_us, n, &err);
	if (!sorted)
		return err;
	apply(latency_us, sorted, n, label_inflection_us(sorted, n), labels, result);
	free(sorted);
	return 0;
}

static int label_percentile_85(const float *latency_us, const float *sectors, size_t n,
	uint8_t *labels, struct label_result *result)
{
	float *sorted;
	int err;

	(void)sectors;
	sorted = label_sorted(latency_us, n, &err);
	if (!sorted)
		return err;
	apply(latency_us, sorted, n, label_percentile(sorted, n, 0.85), labels, result);
	free(sorted);
	return 0;
}

/* The outcome is an answer already, 0 or 1, as in records of the kind `sched`: nothing is to be found out. */
static int label_answer(const float *latency_us, const float *sectors, size_t n, uint8_t *labels,
	struct label_result *result)
{
	(void)sectors;
	*result = (struct label_result){ .threshold_us = 1 };
	for (size_t i = 0; i < n; i++) {
		if (!isfinite(latency_us[i]) || latency_us[i] < 0)
			return -EINVAL;
		labels[i] = latency_us[i] >= 1;
		result->n_slow += labels[i];
	}
	return n < LABEL_MIN_ROWS || !result->n_slow || result->n_slow == n ? -EINVAL : 0;
}

static const struct labeler labelers[] = {
	{ "inflection",
		"slow begins where the latency distribution bends (LinnOS, as LAKE labels it)",
		label_inflection },
	{ "percentile-85", "slow is the slowest 15 %", label_percentile_85 },
	{ "periods", "slow are the reads of slow periods, outliers left out (Heimdall)",
		label_periods },
	{ "answer", "1 is what the kernel itself answered yes to", label_answer },
};

const struct labeler *labeler_at(uint32_t index)
{
	return index < sizeof(labelers) / sizeof(labelers[0]) ? &labelers[index] : NULL;
}

const struct labeler *labeler_find(const char *name)
{
	for (uint32_t i = 0; labeler_at(i); i++)
		if (!strcmp(labelers[i].name, name))
			return &labelers[i];
	return NULL;
}
