// SPDX-License-Identifier: Apache-2.0
/*
 * test_telemetry_stats.c - order statistics against answers worked out by hand, and histograms against the values
 * they were made of.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include "agent/telemetry/stats.h"
#include "bpf/telemetry_wire.h"

static void close_to(double got, double wanted)
{
	if (!(fabs(got - wanted) <= 1e-6 * (1 + fabs(wanted))))
		fail_msg("%.9g, not %.9g", got, wanted);
}

static void quantiles_are_known(void **state)
{
	float value[] = { 4, NAN, 1, 3, 2, NAN, 5 };
	size_t n = stats_sort(value, 7);

	(void)state;
	assert_int_equal(n, 5);
	close_to(stats_quantile(value, n, 0), 1);
	close_to(stats_quantile(value, n, 0.5), 3);
	close_to(stats_quantile(value, n, 0.95), 4.8);
	close_to(stats_quantile(value, n, 1), 5);
	close_to(stats_quantile(value, 1, 0.99), 1);
	assert_true(isnan(stats_quantile(value, 0, 0.5)));
}

/* Median 10, deviations 0 0 0 1 1 1 1 2 2 and two beyond: MAD 1, limit 10 + 3 x 1.4826 = 14.4478. */
static void anomalies_are_known(void **state)
{
	float value[] = { 10, 10, 9, 11, 9, 11, 8, 12, 10, 14.44F, 14.45F }, scratch[11];
	float same[10] = { 5, 5, 5, 5, 5, 5, 5, 5, 5, 5 };

	(void)state;
	close_to(stats_anomalies(value, 11, 11, scratch), 1.0 / 11);
	assert_true(value[9] == 14.44F && value[10] == 14.45F); /* in place */
	value[9] = 100;
	close_to(stats_anomalies(value, 11, 11, scratch), 2.0 / 11);
	close_to(stats_anomalies(same, 10, 10, scratch), 0);
	same[3] = 6; /* no spread at all: whatever is above stands out */
	close_to(stats_anomalies(same, 10, 10, scratch), 0.1);
	assert_true(isnan(stats_anomalies(value, 11, 12, scratch)));
	value[0] = value[1] = NAN;
	assert_true(isnan(stats_anomalies(value, 11, 10, scratch)));
	assert_false(isnan(stats_anomalies(value, 11, 9, scratch)));
	assert_true(isnan(stats_anomalies(value, 0, 0, scratch)));
}

static void buckets_cover_all_durations(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < TELEMETRY_BUCKETS; i++) {
		uint64_t low = telemetry_bucket_ns(i), high = telemetry_bucket_ns(i + 1);

		assert_true(high > low);
		assert_true(high - low <= (low > 512 ? low / 8 : 64));
		assert_int_equal(telemetry_bucket(low), i);
		assert_int_equal(telemetry_bucket(high - 1), i);
	}
	assert_int_equal(telemetry_bucket(0), 0);
	assert_true(telemetry_bucket_ns(TELEMETRY_BUCKETS) > 17000000000ULL);
	assert_int_equal(telemetry_bucket(UINT64_MAX), TELEMETRY_BUCKETS - 1);
	assert_int_equal(telemetry_bucket(1ULL << 40), TELEMETRY_BUCKETS - 1);
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Any distribution: within a bucket's width of the value that really stands there. */
static void histogram_quantiles_are_near_the_truth(void **state)
{
	enum { N = 20000 };
	uint64_t *ns = calloc(N, sizeof(*ns));
	uint64_t seed = 12345;

	(void)state;
	assert_non_null(ns);
	for (int shape = 0; shape < 3; shape++) {
		uint32_t bucket[TELEMETRY_BUCKETS] = { 0 };

		for (int i = 0; i < N; i++) {
			double u;

			seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
			u = (double)(seed >> 11) / (double)(1ULL << 53);
			ns[i] = shape == 0   ? (uint64_t)(1e5 + 1e6 * u)
				: shape == 1 ? (uint64_t)(-1e5 * log(1 - u))
					     : (uint64_t)(u < 0.985 ? 9e4 : 2e7 + 1e5 * u);
			bucket[telemetry_bucket(ns[i])]++;
		}
		qsort(ns, N, sizeof(*ns), by_size);
		for (int k = 0; k < 3; k++) {
			const double share[] = { 0.5, 0.95, 0.99 };
			double truth = (double)ns[(int)(share[k] * N)];
			double got = stats_hist_quantile(bucket, N, share[k]);

			if (fabs(got - truth) > truth / 8 + 64)
				fail_msg("shape %d, p%g: %g ns, not %g", shape, 100 * share[k], got,
					truth);
		}
	}
	free(ns);
}

static void histogram_edges(void **state)
{
	uint32_t bucket[TELEMETRY_BUCKETS] = { 0 };

	(void)state;
	assert_true(isnan(stats_hist_quantile(bucket, 0, 0.5)));
	bucket[8] = 4; /* 512 .. 576 ns */
	close_to(stats_hist_quantile(bucket, 4, 0.5), 544);
	close_to(stats_hist_quantile(bucket, 4, 1), 576);
	/* a sum that says more than there is (read while it grew) gives the last bucket's end */
	close_to(stats_hist_quantile(bucket, 100, 0.99), 576);
	bucket[TELEMETRY_BUCKETS - 1] = 1;
	close_to(stats_hist_quantile(bucket, 5, 1), (double)telemetry_bucket_ns(TELEMETRY_BUCKETS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quantiles_are_known),
		cmocka_unit_test(anomalies_are_known),
		cmocka_unit_test(buckets_cover_all_durations),
		cmocka_unit_test(histogram_quantiles_are_near_the_truth),
		cmocka_unit_test(histogram_edges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
