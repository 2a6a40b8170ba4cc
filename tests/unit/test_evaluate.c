// SPDX-License-Identifier: Apache-2.0
/*
 * test_evaluate.c - predictions meet their outcomes by request id, in fixed memory, and the window slides.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "agent/core/evaluate.h"

#define THRESHOLD_US 1000

static struct semantos_block_record record_of(uint64_t id, uint32_t pending, uint32_t latency_us)
{
	return (struct semantos_block_record){
		.head = { .request_id = id },
		.pending_pages = pending,
		.latency_us = latency_us,
		.class_in_force = SEMANTOS_CLASS_DEFAULT,
	};
}

static void predict(struct evaluator *evaluator, const struct semantos_block_record *request,
	float score, uint8_t cls)
{
	evaluator_predicted(
		evaluator, request->head.request_id, request->pending_pages, score, cls);
}

static bool outcome(struct evaluator *evaluator, const struct semantos_block_record *record)
{
	struct evaluator_outcome of = evaluator_outcome_of(record);

	return evaluator_judge(evaluator, &of, THRESHOLD_US);
}

static bool judge(
	struct evaluator *evaluator, uint64_t id, float score, bool slow, uint32_t pending)
{
	struct semantos_block_record record = record_of(id, pending, slow ? THRESHOLD_US : 999);

	predict(evaluator, &record, score, score >= 0);
	return outcome(evaluator, &record);
}

static void arguments(void **state)
{
	(void)state;
	assert_null(evaluator_new(0));
	assert_int_equal(errno, EINVAL);
	assert_null(evaluator_new(257));
	assert_null(evaluator_new(131072));
	evaluator_free(NULL);
}

static void empty_is_nan(void **state)
{
	struct evaluator *evaluator = evaluator_new(256);
	struct score_view view;
	char why[128];

	(void)state;
	evaluator_score(evaluator, &view);
	assert_true(isnan(view.auc) && isnan(view.auc_pending) && isnan(view.recall));
	assert_true(isnan(view.majority) && isnan(view.slow_share));
	assert_true(isnan(view.in_force_accuracy));
	assert_int_equal(view.evaluated, 0);
	assert_false(evaluator_below_floor(evaluator, 0.9, 0, why, sizeof(why)));
	evaluator_free(evaluator);
}

/* By hand: slow reads score 3 and -1, fast ones -2, -3 and 1. Pairs ranked right: 3>all (3), -1>-2,-3 (2) of 6. */
static void scores_by_hand(void **state)
{
	struct evaluator *evaluator = evaluator_new(256);
	struct semantos_block_record record;
	struct score_view view;

	(void)state;
	assert_true(judge(evaluator, 1, 3, true, 5));
	assert_true(judge(evaluator, 2, -1, true, 5));
	assert_true(judge(evaluator, 3, -2, false, 5));
	assert_true(judge(evaluator, 4, -3, false, 5));
	assert_true(judge(evaluator, 5, 1, false, 5));
	evaluator_score(evaluator, &view);
	assert_float_equal(view.auc, 5.0 / 6, 1e-9);
	assert_float_equal(view.auc_pending, 0.5, 1e-9);
	assert_float_equal(view.recall, 0.5, 1e-9);
	assert_float_equal(view.precision, 0.5, 1e-9);
	assert_float_equal(view.accuracy, 0.6, 1e-9);
	assert_float_equal(view.majority, 0.6, 1e-9);
	assert_float_equal(view.slow_share, 0.4, 1e-9);
	assert_int_equal(view.in_force_rows, 0);

	record = record_of(6, 9, 2000);
	record.class_in_force = 1; /* slow was in force, and it was slow */
	predict(evaluator, &record, 1, 1);
	assert_true(outcome(evaluator, &record));
	record = record_of(7, 9, 10);
	record.class_in_force = 1; /* slow was in force, and it was fast */
	predict(evaluator, &record, 1, 1);
	assert_true(outcome(evaluator, &record));
	record = record_of(8, 1, 10);
	record.class_in_force = 0;
	predict(evaluator, &record, -1, 0);
	assert_true(outcome(evaluator, &record));
	evaluator_score(evaluator, &view);
	assert_int_equal(view.in_force_rows, 3);
	assert_float_equal(view.in_force_accuracy, 2.0 / 3, 1e-9);
	evaluator_free(evaluator);
}

static void only_pairs_count(void **state)
{
	struct evaluator *evaluator = evaluator_new(256);
	struct semantos_block_record record = record_of(10, 1, 10);
	struct score_view view;

	(void)state;
	assert_false(outcome(evaluator, &record)); /* never predicted */
	predict(evaluator, &record, 1, 1);
	record.head.flags = SEMANTOS_F_ERROR;
	assert_false(outcome(evaluator, &record));
	record.head.flags = 0;
	assert_false(outcome(evaluator, &record)); /* the error took it */
	predict(evaluator, &record, 1, 1);
	assert_true(outcome(evaluator, &record));
	assert_false(outcome(evaluator, &record)); /* twice */
	record.head.request_id = 0;
	assert_false(outcome(evaluator, &record));
	evaluator_score(evaluator, &view);
	assert_int_equal(view.evaluated, 1);
	assert_int_equal(evaluator_lost(evaluator), 0);
	evaluator_free(evaluator);
}

/* predicted = judged + lost + still waiting, whatever the ids are; the newest predictions are the ones kept. */
static void nothing_grows(void **state)
{
	struct evaluator *evaluator = evaluator_new(256);
	const uint64_t predicted = 100000, recent = 200;
	uint64_t judged = 0;

	(void)state;
	for (uint64_t i = 1; i <= predicted; i++) {
		struct semantos_block_record record = record_of(i << 12 | i % 2, 1, 10);

		predict(evaluator, &record, 0, 1);
	}
	for (uint64_t i = predicted - recent + 1; i <= predicted; i++) {
		struct semantos_block_record record = record_of(i << 12 | i % 2, 1, 10);

		assert_true(outcome(evaluator, &record));
	}
	for (uint64_t i = 1; i <= predicted - recent; i++) {
		struct semantos_block_record record = record_of(i << 12 | i % 2, 1, 10);

		judged += outcome(evaluator, &record);
	}
	assert_int_equal(judged + recent + evaluator_lost(evaluator), predicted);
	assert_true(judged + recent <= 4096);
	evaluator_free(evaluator);
}

static void window_slides_and_resets(void **state)
{
	struct evaluator *evaluator = evaluator_new(256);
	struct semantos_block_record old = record_of(999999, 1, 10);
	struct score_view view;
	uint64_t id = 1;

	(void)state;
	for (int i = 0; i < 256; i++, id++) /* wrong throughout */
		judge(evaluator, id, i % 2 ? 1 : -1, i % 2 == 0, 1);
	evaluator_score(evaluator, &view);
	assert_float_equal(view.auc, 0, 1e-9);
	for (int i = 0; i < 256; i++, id++) /* right throughout */
		judge(evaluator, id, i % 2 ? 1 : -1, i % 2 == 1, 1);
	evaluator_score(evaluator, &view);
	assert_float_equal(view.auc, 1, 1e-9);
	assert_int_equal(view.window_rows, 256);
	assert_int_equal(view.evaluated, 512);
	predict(evaluator, &old, 1, 1);
	evaluator_reset_window(evaluator);
	assert_false(outcome(evaluator, &old)); /* the old model's word */
	evaluator_score(evaluator, &view);
	assert_int_equal(view.window_rows, 0);
	assert_int_equal(view.evaluated, 512);
	evaluator_free(evaluator);
}

static void floor_is_a_sentence(void **state)
{
	struct evaluator *evaluator = evaluator_new(256);
	char why[128] = "";
	uint64_t id = 1;

	(void)state;
	for (int i = 0; i < 100; i++, id++) /* one class: nothing is ranked */
		judge(evaluator, id, 1, false, 1);
	assert_false(evaluator_below_floor(evaluator, 0.6, 100, why, sizeof(why)));
	for (int i = 0; i < 100; i++, id++) /* pending pages rank perfectly, the model not at all */
		judge(evaluator, id, 1, true, 2);
	assert_false(evaluator_below_floor(evaluator, 0.6, 201, why, sizeof(why)));
	assert_true(evaluator_below_floor(evaluator, 0.6, 200, why, sizeof(why)));
	assert_non_null(strstr(why, "floor of 0.60"));
	assert_true(evaluator_below_floor(evaluator, 0.4, 200, why, sizeof(why)));
	assert_non_null(strstr(why, "200 judged reads"));
	assert_non_null(strstr(why, "pending pages alone"));
	evaluator_words(evaluator, "answers", "time since it ran");
	assert_true(evaluator_below_floor(evaluator, 0.4, 200, why, sizeof(why)));
	assert_non_null(strstr(why, "200 judged answers"));
	assert_non_null(strstr(why, "of time since it ran alone"));
	evaluator_reset_window(evaluator);
	for (int i = 0; i < 256; i++, id++)
		judge(evaluator, id, i % 2 ? 1 : -1, i % 2 == 1, 1);
	assert_false(evaluator_below_floor(evaluator, 0.6, 100000, why, sizeof(why)));
	evaluator_reset_window(evaluator);
	for (int i = 0; i < 256; i++, id++) /* a full window is enough, whatever is asked for */
		judge(evaluator, id, i % 2 ? 1 : -1, i % 2 == 0, 1);
	assert_true(evaluator_below_floor(evaluator, 0.6, 100000, why, sizeof(why)));
	evaluator_free(evaluator);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arguments),
		cmocka_unit_test(empty_is_nan),
		cmocka_unit_test(scores_by_hand),
		cmocka_unit_test(only_pairs_count),
		cmocka_unit_test(nothing_grows),
		cmocka_unit_test(window_slides_and_resets),
		cmocka_unit_test(floor_is_a_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
