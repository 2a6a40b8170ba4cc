// SPDX-License-Identifier: Apache-2.0
/*
 * test_knn_recorded.c - the neighbours of recorded system-call traces (ADFA-LD; a trace is the square roots of how often
 * each call occurs in it) are those of measuring every row in double, by every engine. Many traces are alike, so many
 * distances are.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "agent/infer/knn.h"
#include "cpu_engines.h"
#include "data.h"

#define CALLS 341 /* i386 numbers, 0 to 340 */
#define K 16
#define MOST_ROWS 2000
#define MOST_QUERIES 500

static float rows[MOST_ROWS * CALLS], queries[MOST_QUERIES * CALLS];
static uint32_t labels[MOST_ROWS];

/* set, family, session, id, n and the calls, between tabs. Training traces and attacks are rows, the rest queries. */
static void read_traces(const char *path, size_t *n_rows, size_t *n_queries)
{
	static char line[1 << 16];
	gzFile in = gzopen(path, "rb");

	assert_non_null(in);
	assert_non_null(gzgets(in, line, sizeof(line)));
	while (gzgets(in, line, sizeof(line))) {
		bool query = strncmp(line, "val\t", 4) == 0;
		char *at = strrchr(line, '\t'), *end;
		size_t count[CALLS] = { 0 }, n = 0;
		float *to;

		if (query ? *n_queries == MOST_QUERIES : *n_rows == MOST_ROWS)
			continue;
		to = query ? queries + (*n_queries)++ * CALLS : rows + *n_rows * CALLS;
		if (!query)
			labels[(*n_rows)++] = strncmp(line, "attack\t", 7) == 0;
		for (;; at = end, n++) {
			unsigned long call = strtoul(at, &end, 10);

			if (end == at)
				break;
			assert_true(call < CALLS);
			count[call]++;
		}
		assert_true(n > 0);
		for (size_t i = 0; i < CALLS; i++)
			to[i] = (float)sqrt((double)count[i] / (double)n);
	}
	gzclose(in);
}

struct measured {
	double distance;
	uint32_t index;
};

static int nearer(const void *a, const void *b)
{
	const struct measured *x = a, *y = b;

	if (x->distance != y->distance)
		return x->distance < y->distance ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

static void neighbours_of_recorded_traces(void **state)
{
	static const char *const engines[] = { "scalar", "avx2", "avx512-vnni" };
	static struct knn_neighbour found[MOST_QUERIES * K];
	static uint32_t wanted[MOST_QUERIES * K];
	static struct measured all[MOST_ROWS];
	size_t n_rows = 0, n_queries = 0, ties = 0;
	char path[512];

	(void)state;
	if (!data_path("adfa-ld/adfa_ld_dev.tsv.gz", path, sizeof(path)))
		skip();
	read_traces(path, &n_rows, &n_queries);
	assert_true(n_rows > 1000 && n_queries == MOST_QUERIES);
	for (size_t q = 0; q < n_queries; q++) {
		for (size_t r = 0; r < n_rows; r++) {
			all[r] = (struct measured){ 0, (uint32_t)r };
			for (size_t i = 0; i < CALLS; i++) {
				double d = (double)queries[q * CALLS + i] - rows[r * CALLS + i];

				all[r].distance += d * d;
			}
		}
		qsort(all, n_rows, sizeof(*all), nearer);
		for (size_t i = 0; i < K; i++) {
			wanted[q * K + i] = all[i].index;
			ties += i && all[i].distance == all[i - 1].distance;
		}
	}
	for (size_t e = 0; e < sizeof(engines) / sizeof(engines[0]); e++) {
		struct knn_scratch *scratch;
		struct knn_set *set;

		if (!cpu_has_engine(engines[e]))
			continue;
		setenv("SEMANTOS_INFER", engines[e], 1);
		set = knn_new(rows, labels, n_rows, CALLS);
		unsetenv("SEMANTOS_INFER");
		scratch = knn_scratch_new(set);
		assert_true(set && scratch);
		assert_string_equal(knn_engine(set), engines[e]);
		assert_int_equal(knn_search(set, scratch, queries, n_queries, K, found), 0);
		for (size_t i = 0; i < n_queries * K; i++) {
			assert_int_equal(found[i].index, wanted[i]);
			assert_int_equal(found[i].label, labels[wanted[i]]);
		}
		print_message(
			"  %zu traces by %s: %zu neighbours identical, %zu of them as far as the "
			"one before; %.1f of %zu measured for each\n",
			n_queries, engines[e], n_queries * K, ties,
			(double)knn_measured(scratch) / (double)n_queries, n_rows);
		knn_scratch_free(scratch);
		knn_free(set);
	}
	assert_true(ties > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(neighbours_of_recorded_traces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
