// SPDX-License-Identifier: Apache-2.0
/*
 * stats.c - see stats.h.
 */
#include "agent/telemetry/stats.h"

#include <math.h>
#include <stdlib.h>
#include "bpf/telemetry_wire.h"

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

size_t stats_sort(float *value, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (!isnan(value[i]))
			value[kept++] = value[i];
	}
	if (kept)
		qsort(value, kept, sizeof(*value), by_value);
	return kept;
}

double stats_quantile(const float *sorted, size_t n, double share)
{
	double at = share * (double)(n ? n - 1 : 0);
	size_t low = (size_t)at;

	if (!n)
		return NAN;
	if (low + 1 >= n)
		return (double)sorted[n - 1];
	return (double)sorted[low] +
	       (at - (double)low) * ((double)sorted[low + 1] - (double)sorted[low]);
}

double stats_anomalies(const float *value, size_t n, size_t least, float *scratch)
{
	double median, mad, limit;
	size_t kept = 0, above = 0;

	for (size_t i = 0; i < n; i++)
		scratch[i] = value[i];
	kept = stats_sort(scratch, n);
	if (!kept || kept < least)
		return NAN;
	median = stats_quantile(scratch, kept, 0.5);
	for (size_t i = 0; i < kept; i++)
		scratch[i] = (float)fabs((double)scratch[i] - median);
	kept = stats_sort(scratch, kept);
	mad = stats_quantile(scratch, kept, 0.5);
	limit = median + STATS_ANOMALY_DEVIATIONS * STATS_MAD_SCALE * mad;
	for (size_t i = 0; i < n; i++)
		above += !isnan(value[i]) && (double)value[i] > limit;
	return (double)above / (double)kept;
}

double stats_hist_quantile(const uint32_t *bucket, uint64_t count, double share)
{
	double rank = share * (double)count, before = 0;
	double end = NAN;

	for (uint32_t i = 0; i < TELEMETRY_BUCKETS && count; i++) {
		double low = (double)telemetry_bucket_ns(i),
		       high = (double)telemetry_bucket_ns(i + 1);

		if (!bucket[i])
			continue;
		end = high;
		if (before + bucket[i] >= rank)
			return low + (high - low) * (rank - before) / bucket[i];
		before += bucket[i];
	}
	return end; /* the sum said more than the buckets hold */
}
