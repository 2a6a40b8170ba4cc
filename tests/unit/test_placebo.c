// SPDX-License-Identifier: Apache-2.0
/*
 * test_placebo.c - each control knows nothing: of scores that rank perfectly nothing is left.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "agent/core/placebo.h"
#include "agent/infer/score.h"

#define N 200000

static float scores[N];
static uint8_t labels[N];

/* Slow periods of 100 reads in 400, and scores that see them perfectly. */
static void perfect(void)
{
	for (int i = 0; i < N; i++) {
		labels[i] = i % 400 < 100;
		scores[i] = labels[i] ? 1.0f + (float)(i % 7) : -1.0f - (float)(i % 5);
	}
}

static void permuted_scores_keep_their_mix_and_lose_their_time(void **state)
{
	struct placebo placebo;
	size_t slow = 0;
	double auc;

	(void)state;
	perfect();
	assert_true(score_auc(scores, labels, N) > 0.999);
	placebo_init(&placebo, PLACEBO_PERMUTE, 3);
	for (int i = 0; i < N; i += 8)
		placebo_apply(&placebo, scores + i, 8, 0);
	auc = score_auc(scores, labels, N);
	for (int i = 0; i < N; i++)
		slow += scores[i] >= 0;
	printf("AUC 1.00 -> %.3f; slow share 0.25 -> %.3f\n", auc, (double)slow / N);
	placebo_free(&placebo);
	assert_true(fabs(auc - 0.5) < 0.05);
	assert_true(fabs((double)slow / N - 0.25) < 0.02);
}

static void others_say_always_the_same(void **state)
{
	struct placebo placebo;

	(void)state;
	perfect();
	placebo_init(&placebo, PLACEBO_FAST, 1);
	placebo_apply(&placebo, scores, N, 0.5f);
	for (int i = 0; i < N; i++)
		assert_true(scores[i] < 0.5f);
	placebo_init(&placebo, PLACEBO_SLOW, 1);
	placebo_apply(&placebo, scores, N, 0.5f);
	for (int i = 0; i < N; i++)
		assert_true(scores[i] >= 0.5f);
	perfect();
	placebo_init(&placebo, PLACEBO_CONSTANT, 1);
	placebo_apply(&placebo, scores, N, 0);
	/* The average settles; the class it gives no longer depends on the read. */
	for (int i = N / 2; i < N; i++)
		assert_true(scores[i] < 0);
	perfect();
	placebo_init(&placebo, PLACEBO_NONE, 1);
	placebo_apply(&placebo, scores, N, 0);
	assert_true(score_auc(scores, labels, N) > 0.999);
}

static void names_are_parsed(void **state)
{
	enum placebo_kind kind;

	(void)state;
	for (enum placebo_kind k = PLACEBO_NONE; k <= PLACEBO_CONSTANT; k++) {
		assert_int_equal(placebo_parse(placebo_name(k), &kind), 0);
		assert_int_equal(kind, k);
	}
	assert_int_equal(placebo_parse("perm", &kind), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(permuted_scores_keep_their_mix_and_lose_their_time),
		cmocka_unit_test(others_say_always_the_same),
		cmocka_unit_test(names_are_parsed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
