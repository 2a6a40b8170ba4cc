/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stats.h - order statistics of a few numbers, and of a histogram the kernel side filled.
 *
 * Pure functions, no state, any thread. What is not defined (no values) is NaN, never 0.
 */
#ifndef SEMANTOS_TELEMETRY_STATS_H
#define SEMANTOS_TELEMETRY_STATS_H

#include <stddef.h>
#include <stdint.h>

/* A value beyond the median by more than this many scaled deviations is an anomaly. */
#define STATS_ANOMALY_DEVIATIONS 3.0
/* The median absolute deviation of a normal distribution times this is its standard deviation (Hampel 1974). */
#define STATS_MAD_SCALE 1.4826

/* Sort value[n], leaving out what is NaN: how many are left. */
size_t stats_sort(float *value, size_t n);

/* Of sorted values, linear between neighbours; share 0..1. */
double stats_quantile(const float *sorted, size_t n, double share);

/*
 * Share of value[n] (NaN left out) above median + 3 x 1.4826 MAD of the same values; NaN with fewer than `least`.
 * scratch[n] is the caller's.
 */
double stats_anomalies(const float *value, size_t n, size_t least, float *scratch);

/*
 * Duration in ns below which `share` of a histogram's events lie (bpf/telemetry_wire.h), linear within a bucket: within
 * an eighth of the truth. bucket[TELEMETRY_BUCKETS] holds counts of the interval, count their sum; NaN when it is 0.
 */
double stats_hist_quantile(const uint32_t *bucket, uint64_t count, double share);

#endif
