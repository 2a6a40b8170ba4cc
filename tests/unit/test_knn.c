// SPDX-License-Identifier: Apache-2.0
/*
 * test_knn.c - the nearest neighbours are those of measuring every row, by every engine: random rows, whole numbers full
 * of ties, outliers, rows far from the origin, widths and counts that fill no panel.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/knn.h"
#include "agent/infer/random.h"
#include "cpu_engines.h"

#define QUERIES 23

static const char *const engines[] = { "scalar", "avx2", "avx512-vnni" };
#define N_ENGINES (sizeof(engines) / sizeof(engines[0]))

struct kind {
	const char *name;
	size_t n, width, k;
	float spread, centre;
	int whole; /* numbers are whole, in 0..whole-1 */
	bool outlier;
};

static const struct kind kinds[] = {
	{ "LAKE's size", 4096, 128, 16, 1, 0, 0, false },
	{ "ties", 500, 3, 16, 1, 0, 3, false },
	{ "all equal", 200, 5, 64, 1, 0, 1, false },
	{ "one row", 1, 1, 1, 1, 0, 0, false },
	{ "a row more than a panel", 65, 7, 1, 1, 0, 0, false },
	{ "all of them", 63, 30, 63, 1, 0, 0, false },
	{ "more than the filter takes", 300, 9, 100, 1, 0, 0, false },
	{ "an outlier", 1000, 33, 5, 1, 0, 0, true },
	{ "far from the origin", 1000, 17, 5, 1, 1000, 0, false },
	{ "very far from it", 1000, 17, 5, 1, 1e6f, 0, false },
	{ "tiny", 300, 12, 5, 1e-20f, 0, 0, false },
	{ "huge", 300, 12, 5, 1e14f, 0, 0, false },
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static float *draw(const struct kind *kind, size_t n, uint64_t seed)
{
	struct random_state random = random_seed(seed);
	float *rows = malloc(n * kind->width * sizeof(float));

	assert_non_null(rows);
	for (size_t i = 0; i < n * kind->width; i++)
		rows[i] = kind->whole ? (float)random_below(&random, (uint64_t)kind->whole)
				      : kind->centre +
						kind->spread * (float)(random_unit(&random) +
								       random_unit(&random) +
								       random_unit(&random) - 1.5);
	if (kind->outlier)
		rows[n * kind->width / 2] = 1e5f;
	return rows;
}

/* NULL when this CPU lacks the engine, and only then. */
static struct knn_set *set_by(
	const char *engine, const struct kind *kind, const float *rows, const uint32_t *labels)
{
	struct knn_set *set;

	setenv("SEMANTOS_INFER", engine, 1);
	set = knn_new(rows, labels, kind->n, kind->width);
	unsetenv("SEMANTOS_INFER");
	assert_non_null(set);
	if (strcmp(knn_engine(set), engine) == 0)
		return set;
	print_message("  this CPU has no %s\n", engine);
	assert_false(cpu_has_engine(engine));
	knn_free(set);
	return NULL;
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

static void check(const struct kind *kind, const char *engine)
{
	float *rows = draw(kind, kind->n, 1), *queries = draw(kind, QUERIES, 2);
	uint32_t *labels = malloc(kind->n * sizeof(*labels));
	struct measured *all = malloc(kind->n * sizeof(*all));
	struct knn_neighbour *found = calloc(QUERIES * kind->k, sizeof(*found));
	struct knn_scratch *scratch;
	struct knn_set *set;

	assert_true(labels && all && found);
	for (size_t r = 0; r < kind->n; r++)
		labels[r] = (uint32_t)(r * 7 % 13);
	/* A query may be a reference, or far from all of them. */
	memcpy(queries + kind->width, rows + kind->n / 2 * kind->width,
		kind->width * sizeof(float));
	memset(queries + 2 * kind->width, 0, kind->width * sizeof(float));
	for (size_t i = 0; i < kind->width; i++)
		queries[3 * kind->width + i] *= 9;
	set = set_by(engine, kind, rows, labels);
	scratch = set ? knn_scratch_new(set) : NULL;
	if (set)
		assert_int_equal(knn_search(set, scratch, queries, QUERIES, kind->k, found), 0);
	for (size_t q = 0; set && q < QUERIES; q++) {
		for (size_t r = 0; r < kind->n; r++) {
			all[r] = (struct measured){ 0, (uint32_t)r };
			for (size_t i = 0; i < kind->width; i++) {
				double d = (double)queries[q * kind->width + i] -
					   rows[r * kind->width + i];

				all[r].distance += d * d;
			}
		}
		qsort(all, kind->n, sizeof(*all), nearer);
		for (size_t i = 0; i < kind->k; i++) {
			const struct knn_neighbour *at = &found[q * kind->k + i];

			assert_int_equal(at->index, all[i].index);
			assert_int_equal(at->label, labels[at->index]);
			assert_true(
				fabs(at->distance - all[i].distance) <= 1e-13 * all[i].distance);
		}
	}
	if (set)
		print_message("  %s by %s: %.1f of %zu measured for a query\n", kind->name, engine,
			(double)knn_measured(scratch) / QUERIES, kind->n);
	knn_scratch_free(scratch);
	knn_free(set);
	free(rows);
	free(queries);
	free(labels);
	free(all);
	free(found);
}

static void neighbours_are_those_of_measuring_all(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_KINDS; i++)
		for (size_t e = 0; e < N_ENGINES; e++)
			check(&kinds[i], engines[e]);
}

/*
 * 4,096 queries at once, and the same ones in calls of every size from one to ninety, by every engine: the same neighbours, and
 * from AVX2 and AVX-512 the same distances to the bit.
 */
static void any_batch_by_any_engine_is_the_same(void **state)
{
	enum { N = 4096, K = 5 };
	static const struct kind kind = { "many queries", 321, 37, K, 1, 0, 0, false };
	float *rows = draw(&kind, kind.n, 3), *queries = draw(&kind, N, 4);
	struct knn_neighbour *first = calloc(N * K, sizeof(*first)),
			     *whole = calloc(N * K, sizeof(*whole)),
			     *parts = calloc(N * K, sizeof(*parts));

	(void)state;
	assert_true(first && whole && parts);
	/* Whole rows of one large number: sums of bytes as large as they get, of both signs. */
	for (size_t i = 0; i < 40 * kind.width; i++)
		rows[i] = i / kind.width % 2 ? 3 : -3;
	for (size_t i = 0; i < 40 * kind.width; i++)
		queries[i] = i / kind.width % 3 ? 3 : -3;
	for (size_t e = 0; e < N_ENGINES; e++) {
		struct knn_set *set = set_by(engines[e], &kind, rows, NULL);
		struct knn_scratch *scratch = set ? knn_scratch_new(set) : NULL;

		if (!set)
			continue;
		assert_int_equal(knn_search(set, scratch, queries, N, K, whole), 0);
		for (size_t at = 0, n = 1; at < N; at += n, n++) {
			n = n < N - at ? n : N - at;
			assert_int_equal(knn_search(set, scratch, queries + at * kind.width, n, K,
						 parts + at * K),
				0);
		}
		assert_memory_equal(whole, parts, N * K * sizeof(*whole));
		for (size_t i = 0; e > 0 && i < N * K; i++)
			assert_int_equal(whole[i].index, first[i].index);
		if (e > 1 && cpu_has_engine(engines[1]))
			assert_memory_equal(whole, first, N * K * sizeof(*whole));
		memcpy(first, whole, N * K * sizeof(*whole));
		knn_scratch_free(scratch);
		knn_free(set);
	}
	free(rows);
	free(queries);
	free(first);
	free(whole);
	free(parts);
}

static void the_widest_is_the_default(void **state)
{
	static const char *const all[] = { "scalar", "avx2", "avx512-vnni", "amx" };
	static const struct kind kind = { "one row", 1, 1, 1, 1, 0, 0, false };
	const float row[] = { 1 };
	struct knn_set *set = knn_new(row, NULL, 1, 1);
	const char *widest = NULL;

	(void)state;
	for (size_t e = 0; e < sizeof(all) / sizeof(all[0]); e++) {
		struct knn_set *forced = set_by(all[e], &kind, row, NULL);

		widest = forced ? all[e] : widest;
		knn_free(forced);
	}
	assert_string_equal(knn_engine(set), widest);
	knn_free(set);
}

static void the_vote_is_the_commonest_label(void **state)
{
	static const struct knn_neighbour found[] = { { 0, 5, 0 }, { 1, 3, 1 }, { 2, 3, 2 },
		{ 3, 5, 3 }, { 4, 9, 4 }, { 5, 3, 5 } };

	(void)state;
	assert_int_equal(knn_vote(found, 1), 5);
	assert_int_equal(knn_vote(found, 3), 3);
	assert_int_equal(knn_vote(found, 4), 5);
	assert_int_equal(knn_vote(found, 6), 3);
}

static void searching_allocates_nothing(void **state)
{
	(void)state;
	for (size_t e = 0; e < N_ENGINES; e++) {
		const struct kind *kind = &kinds[0];
		float *rows = draw(kind, kind->n, 1), *queries = draw(kind, QUERIES, 2);
		struct knn_neighbour *found = calloc(QUERIES * kind->k, sizeof(*found));
		struct knn_set *set = set_by(engines[e], kind, rows, NULL);
		struct knn_scratch *scratch = set ? knn_scratch_new(set) : NULL;
		struct mallinfo2 before, after;

		assert_non_null(found);
		before = mallinfo2();
		for (size_t n = 0; set && n <= QUERIES; n++)
			assert_int_equal(knn_search(set, scratch, queries, n, kind->k, found), 0);
		after = mallinfo2();
		assert_int_equal(before.uordblks, after.uordblks);
		assert_int_equal(before.hblkhd, after.hblkhd);
		knn_scratch_free(scratch);
		knn_free(set);
		free(rows);
		free(queries);
		free(found);
	}
}

static void wrong_calls_are_refused(void **state)
{
	float rows[] = { 1, 2, 3 }, bad[] = { NAN }, large[] = { 1e20f };
	struct knn_neighbour found[4];
	struct knn_scratch *scratch;
	struct knn_set *set;

	(void)state;
	assert_null(knn_new(rows, NULL, 0, 1));
	assert_int_equal(errno, EINVAL);
	assert_null(knn_new(rows, NULL, 1, 0));
	assert_null(knn_new(bad, NULL, 1, 1));
	assert_null(knn_new(large, NULL, 1, 1));
	set = knn_new(rows, NULL, 3, 1);
	scratch = knn_scratch_new(set);
	assert_int_equal(knn_search(set, scratch, rows, 1, 4, found), -EINVAL);
	assert_int_equal(knn_search(set, scratch, rows, 1, 0, found), -EINVAL);
	assert_int_equal(knn_search(set, scratch, bad, 1, 1, found), -EINVAL);
	assert_int_equal(knn_search(set, scratch, rows, 0, 1, found), 0);
	knn_scratch_free(scratch);
	knn_scratch_free(NULL);
	knn_free(set);
	knn_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(neighbours_are_those_of_measuring_all),
		cmocka_unit_test(any_batch_by_any_engine_is_the_same),
		cmocka_unit_test(the_widest_is_the_default),
		cmocka_unit_test(the_vote_is_the_commonest_label),
		cmocka_unit_test(searching_allocates_nothing),
		cmocka_unit_test(wrong_calls_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
