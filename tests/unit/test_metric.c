// SPDX-License-Identifier: Apache-2.0
/*
 * test_metric.c - the table of series: rates, percentiles of a window, anomalies, and its bounds.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "agent/telemetry/metric.h"
#include "bpf/telemetry_wire.h"

static struct metric_view look(
	const struct metrics *metrics, enum metric_name name, const char *label)
{
	struct metric_view view;

	for (size_t i = 0; i < metrics_count(metrics); i++) {
		metrics_view(metrics, i, &view);
		if (view.def == name && strcmp(view.label, label) == 0)
			return view;
	}
	fail_msg("there is no series %s %s", metric_defs[name].name, label);
	return view;
}

static bool is(double got, double wanted)
{
	return fabs(got - wanted) <= 1e-6 * (1 + fabs(wanted));
}

static void counters_become_rates(void **state)
{
	struct metrics *metrics = metrics_new();
	struct metrics_counts counts;
	struct metric_view view;

	(void)state;
	metrics_begin(metrics, NAN);
	metrics_counter(metrics, METRIC_PAGE_IN, "", 1000, 1024);
	metrics_end(metrics);
	assert_true(isnan(look(metrics, METRIC_PAGE_IN, "").value));
	metrics_begin(metrics, 4);
	metrics_counter(metrics, METRIC_PAGE_IN, "", 1010, 1024);
	metrics_end(metrics);
	view = look(metrics, METRIC_PAGE_IN, "");
	assert_true(is(view.value, 2560) && is(view.per_s, 2560) && is(view.sum, 10240));
	/* it began anew: no rate, and counted; the next one is right again */
	metrics_begin(metrics, 4);
	metrics_counter(metrics, METRIC_PAGE_IN, "", 3, 1024);
	metrics_end(metrics);
	assert_true(isnan(look(metrics, METRIC_PAGE_IN, "").value));
	metrics_counts(metrics, &counts);
	assert_int_equal(counts.resets, 1);
	metrics_begin(metrics, 1);
	metrics_counter(metrics, METRIC_PAGE_IN, "", 4, 1024);
	metrics_end(metrics);
	assert_true(is(look(metrics, METRIC_PAGE_IN, "").value, 1024));
	/* a share of the interval is a level: nothing is counted in a second */
	metrics_begin(metrics, 2);
	metrics_counter(metrics, METRIC_PSI_IO_SOME, "", 0, 1e-6);
	metrics_end(metrics);
	metrics_begin(metrics, 2);
	metrics_counter(metrics, METRIC_PSI_IO_SOME, "", 500000, 1e-6);
	metrics_end(metrics);
	view = look(metrics, METRIC_PSI_IO_SOME, "");
	assert_true(is(view.value, 0.25) && isnan(view.per_s));
	metrics_free(metrics);
}

static void levels_have_percentiles_of_their_window(void **state)
{
	struct metrics *metrics = metrics_new();
	struct metric_row row[METRIC_ROWS + 1];
	struct metric_view view;

	(void)state;
	for (int i = 1; i <= 100; i++) {
		metrics_begin(metrics, 5);
		metrics_level(metrics, METRIC_MEMORY_DIRTY, "", i);
		metrics_end(metrics);
		view = look(metrics, METRIC_MEMORY_DIRTY, "");
		assert_true(isnan(view.anomalies) == (i < METRIC_LEAST));
	}
	/* 41 .. 100 */
	assert_true(is(view.value, 100) && is(view.median, 70.5) && is(view.p95, 97.05) &&
		    is(view.p99, 99.41));
	assert_true(view.anomalies == 0);
	for (int i = 0; i < 3; i++) {
		metrics_begin(metrics, 5);
		metrics_level(metrics, METRIC_MEMORY_DIRTY, "", 1000);
		metrics_end(metrics);
	}
	assert_true(is(look(metrics, METRIC_MEMORY_DIRTY, "").anomalies, 3.0 / METRIC_WINDOW));
	assert_int_equal(metrics_history(metrics, 0, row, METRIC_ROWS + 1), 103);
	assert_true(row[0].value == 1 && row[99].value == 100 && row[102].value == 1000);
	assert_int_equal(metrics_history(metrics, 0, row, 2), 2);
	assert_true(row[0].value == 1000);
	for (int i = 0; i < METRIC_ROWS + 50; i++) {
		metrics_begin(metrics, 5);
		metrics_level(metrics, METRIC_MEMORY_DIRTY, "", i);
		metrics_end(metrics);
	}
	assert_int_equal(metrics_history(metrics, 0, row, METRIC_ROWS + 1), METRIC_ROWS);
	assert_true(row[0].value == 50 && row[METRIC_ROWS - 1].value == METRIC_ROWS + 49);
	metrics_free(metrics);
}

static void times_have_percentiles_of_their_events(void **state)
{
	struct metrics *metrics = metrics_new();
	uint32_t bucket[TELEMETRY_BUCKETS] = { 0 };
	struct metric_view view;

	(void)state;
	bucket[telemetry_bucket(100000)] = 98;
	bucket[telemetry_bucket(20000000)] = 2;
	metrics_begin(metrics, 5);
	metrics_times(metrics, METRIC_BLOCK_READ, "vda", bucket, 100, 98 * 100000 + 2 * 20000000);
	metrics_end(metrics);
	view = look(metrics, METRIC_BLOCK_READ, "vda");
	assert_true(fabs(view.median - 1e-4) < 1.3e-5 && fabs(view.p95 - 1e-4) < 1.3e-5);
	assert_true(fabs(view.p99 - 0.02) < 0.0025 && view.value == view.p99);
	assert_true(is(view.per_s, 20) && view.events == 100 && is(view.sum, 0.0498));
	/* an interval without events has a rate, 0, and no latency */
	memset(bucket, 0, sizeof(bucket));
	for (int i = 0; i < METRIC_WINDOW + 5; i++) {
		metrics_begin(metrics, 5);
		metrics_times(metrics, METRIC_BLOCK_READ, "vda", bucket, 0, 0);
		metrics_end(metrics);
	}
	view = look(metrics, METRIC_BLOCK_READ, "vda");
	assert_true(
		isnan(view.p99) && isnan(view.anomalies) && view.per_s == 0 && view.events == 100);
	metrics_free(metrics);
}

static void what_is_gone_leaves(void **state)
{
	struct metrics *metrics = metrics_new();

	(void)state;
	metrics_begin(metrics, 5);
	metrics_level(metrics, METRIC_CGROUP_MEMORY, "gone", 1);
	metrics_level(metrics, METRIC_CGROUP_MEMORY, "here", 1);
	metrics_end(metrics);
	for (int i = 1; i <= METRIC_WINDOW; i++) {
		size_t n = metrics_count(metrics);

		assert_int_equal(n, 2);
		metrics_begin(metrics, 5);
		metrics_level(metrics, METRIC_CGROUP_MEMORY, "here", 1);
		metrics_end(metrics);
		if (i < METRIC_WINDOW)
			assert_true(isnan(look(metrics, METRIC_CGROUP_MEMORY, "gone").value));
	}
	assert_int_equal(metrics_count(metrics), 1);
	look(metrics, METRIC_CGROUP_MEMORY, "here");
	metrics_free(metrics);
}

static void the_table_is_bounded(void **state)
{
	struct metrics *metrics = metrics_new();
	struct metrics_counts counts;
	char label[32];

	(void)state;
	for (int round = 0; round < 2; round++) {
		metrics_begin(metrics, 5);
		for (int i = 0; i < METRIC_MAX_SERIES + 7; i++) {
			snprintf(label, sizeof(label), "group%d", i);
			metrics_level(metrics, METRIC_CGROUP_MEMORY, label, i);
		}
		metrics_end(metrics);
	}
	metrics_counts(metrics, &counts);
	assert_int_equal(metrics_count(metrics), METRIC_MAX_SERIES);
	assert_int_equal(counts.refused, 14);
	assert_true(metrics_bytes(metrics) <= METRIC_MAX_BYTES + 16384);
	assert_true(METRIC_MAX_BYTES < 10 << 20);
	metrics_free(metrics);
}

/* docs/telemetry.md has a row for each. */
static void every_metric_is_documented(void **state)
{
	FILE *file = fopen("docs/telemetry.md", "r");
	static char text[64 << 10];
	char row[64];

	(void)state;
	if (!file) {
		print_message(
			"skipped: docs/telemetry.md is not here; run from the root of the tree\n");
		skip();
	}
	text[fread(text, 1, sizeof(text) - 1, file)] = 0;
	fclose(file);
	for (int i = 0; i < METRIC_NR; i++) {
		snprintf(row, sizeof(row), "| `%s`", metric_defs[i].name);
		if (!strstr(text, row))
			fail_msg("docs/telemetry.md has no row %s", row);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counters_become_rates),
		cmocka_unit_test(levels_have_percentiles_of_their_window),
		cmocka_unit_test(times_have_percentiles_of_their_events),
		cmocka_unit_test(what_is_gone_leaves),
		cmocka_unit_test(the_table_is_bounded),
		cmocka_unit_test(every_metric_is_documented),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
