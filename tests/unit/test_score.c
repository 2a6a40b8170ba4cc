// SPDX-License-Identifier: Apache-2.0
/*
 * test_score.c - the AUC equals its definition pair by pair, and the bootstrap finds a signal where there is one, none
 * where there is none, and none that pending pages alone would give.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <time.h>
#include "agent/infer/random.h"
#include "agent/infer/score.h"

#define ROWS 10000
#define BLOCK 50
#define RESAMPLES 200

static float scores[ROWS], baseline[ROWS];
static uint8_t labels[ROWS];

static void auc_counts_pairs(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 50; seed++) {
		struct random_state random = random_seed(seed);
		size_t n = 2 + random_below(&random, 60);
		double won = 0, pairs = 0, auc;

		for (size_t i = 0; i < n; i++) {
			scores[i] = (float)random_below(&random, 12) - 6; /* many ties */
			labels[i] = random_below(&random, 3) == 0;
		}
		for (size_t i = 0; i < n; i++)
			for (size_t j = 0; j < n; j++)
				if (labels[i] && !labels[j]) {
					pairs++;
					won += scores[i] > scores[j]	? 1
					       : scores[i] == scores[j] ? 0.5
									: 0;
				}
		auc = score_auc(scores, labels, n);
		if (pairs == 0)
			assert_true(isnan(auc));
		else
			assert_true(fabs(auc - won / pairs) < 1e-12);
	}
	assert_true(isnan(score_auc(scores, labels, 0)));
	scores[3] = NAN;
	assert_true(isnan(score_auc(scores, labels, 10)));
	scores[3] = INFINITY;
}

static void confusion_counts_rows(void **state)
{
	const float s[] = { 1, 0, -1, 2, 0.5f, -3 };
	const uint8_t l[] = { 1, 1, 1, 0, 0, 0 };
	struct score_confusion c = score_confuse(s, l, 6, 0), none = { 0 };

	(void)state;
	assert_int_equal(c.tp, 2); /* a score equal to the threshold is class 1 */
	assert_int_equal(c.fn, 1);
	assert_int_equal(c.fp, 2);
	assert_int_equal(c.tn, 1);
	assert_true(fabs(score_recall(c) - 2.0 / 3) < 1e-12);
	assert_true(fabs(score_precision(c) - 0.5) < 1e-12);
	assert_true(fabs(score_accuracy(c) - 0.5) < 1e-12);
	assert_true(isnan(score_recall(none)) && isnan(score_precision(none)) &&
		    isnan(score_accuracy(none)));
	assert_true(fabs(score_majority_accuracy(l, 5) - 0.6) < 1e-12);
	assert_true(isnan(score_majority_accuracy(l, 0)));
}

/* Slow periods of about 100 rows; `own` and `of_baseline` say how much each score knows of them. */
static void make(uint64_t seed, double own, double of_baseline, bool same_noise)
{
	struct random_state random = random_seed(seed);
	bool slow = false;

	for (size_t i = 0; i < ROWS; i++) {
		double noise = random_unit(&random), other = random_unit(&random);

		if (random_below(&random, 100) == 0)
			slow = !slow;
		labels[i] = slow;
		scores[i] = (float)(own * slow + noise);
		baseline[i] = (float)(of_baseline * slow + (same_noise ? noise : other));
	}
}

static void signal_is_found_where_it_is(void **state)
{
	int found = 0, imagined = 0, no_better = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct score_signal out;

		make(seed, 0.3, 0.05, false);
		assert_int_equal(score_signal_test(scores, baseline, labels, ROWS, BLOCK, RESAMPLES,
					 0.02, seed, &out),
			0);
		assert_true(out.auc_low <= out.auc && out.auc <= out.auc_high);
		assert_true(out.gain_low <= out.auc - out.baseline_auc &&
			    out.auc - out.baseline_auc <= out.gain_high);
		found += out.signal;
		make(seed, 0, 0, false);
		score_signal_test(
			scores, baseline, labels, ROWS, BLOCK, RESAMPLES, 0.02, seed, &out);
		imagined += out.signal;
		make(seed, 0.3, 0.3, true);
		score_signal_test(
			scores, baseline, labels, ROWS, BLOCK, RESAMPLES, 0.02, seed, &out);
		no_better += out.signal;
	}
	assert_int_equal(found, 20);
	assert_int_equal(imagined, 0);
	assert_int_equal(no_better, 0);
}

static void the_margin_is_asked_for(void **state)
{
	struct score_signal out;

	(void)state;
	make(1, 0.1, 0, false); /* an AUC of about 0.6 */
	score_signal_test(scores, baseline, labels, ROWS, BLOCK, RESAMPLES, 0, 1, &out);
	assert_true(out.signal);
	score_signal_test(scores, baseline, labels, ROWS, BLOCK, RESAMPLES, 0.2, 1, &out);
	assert_true(!out.signal && out.auc_low > 0.5 && out.gain_low > 0);
}

/* A score that only knows the period, not the row: blocks must make its interval wider than single rows do. */
static void blocks_widen_the_interval(void **state)
{
	struct score_signal rows, blocks;
	struct random_state random = random_seed(4);
	float level = 0;

	(void)state;
	make(7, 0, 0, false);
	for (size_t i = 0; i < ROWS; i++) {
		if (i % 200 == 0)
			level = (float)random_unit(&random);
		scores[i] = level;
	}
	score_signal_test(scores, baseline, labels, ROWS, 1, RESAMPLES, 0, 1, &rows);
	score_signal_test(scores, baseline, labels, ROWS, 400, RESAMPLES, 0, 1, &blocks);
	assert_true(blocks.auc_high - blocks.auc_low > 3 * (rows.auc_high - rows.auc_low));
}

static void bootstrap_is_fast_and_repeatable(void **state)
{
	struct timespec start, end;
	struct score_signal a, b;

	(void)state;
	make(1, 0.2, 0.1, false);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
	score_signal_test(scores, baseline, labels, ROWS, BLOCK, RESAMPLES, 0.02, 9, &a);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
	assert_true(
		(double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9 <
		2);
	score_signal_test(scores, baseline, labels, ROWS, BLOCK, RESAMPLES, 0.02, 9, &b);
	assert_true(a.auc_low == b.auc_low && a.gain_high == b.gain_high);
}

static void odd_input_is_refused(void **state)
{
	struct score_signal out;

	(void)state;
	make(1, 0.2, 0.1, false);
	assert_int_equal(
		score_signal_test(scores, baseline, labels, 3, 1, 100, 0, 1, &out), -EINVAL);
	assert_int_equal(
		score_signal_test(scores, baseline, labels, ROWS, 0, 100, 0, 1, &out), -EINVAL);
	assert_int_equal(
		score_signal_test(scores, baseline, labels, ROWS, 9, 5, 0, 1, &out), -EINVAL);
	assert_int_equal(score_signal_test(scores, NULL, labels, ROWS, 9, 99, 0, 1, &out), -EINVAL);
	baseline[5] = NAN;
	assert_int_equal(
		score_signal_test(scores, baseline, labels, ROWS, 9, 99, 0, 1, &out), -EINVAL);
	assert_false(out.signal);
	baseline[5] = 0;
	/* one class only: nothing can be said, and nothing is */
	for (size_t i = 0; i < ROWS; i++)
		labels[i] = 0;
	assert_int_equal(score_signal_test(scores, baseline, labels, ROWS, 9, 99, 0, 1, &out), 0);
	assert_true(isnan(out.auc) && isnan(out.auc_low) && !out.signal);
	/* a block longer than the recording is shortened */
	make(1, 0.5, 0, false);
	assert_int_equal(
		score_signal_test(scores, baseline, labels, ROWS, ROWS * 2, 99, 0, 1, &out), 0);
	assert_true(out.auc_high > out.auc_low);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(auc_counts_pairs),
		cmocka_unit_test(confusion_counts_rows),
		cmocka_unit_test(signal_is_found_where_it_is),
		cmocka_unit_test(the_margin_is_asked_for),
		cmocka_unit_test(blocks_widen_the_interval),
		cmocka_unit_test(bootstrap_is_fast_and_repeatable),
		cmocka_unit_test(odd_input_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
