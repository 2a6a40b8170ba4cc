// SPDX-License-Identifier: Apache-2.0
/*
 * test_learn_choice.c - a model of classes moves reads of volumes only if choosing by it gains: not where it ranks reads well
 * and the slow ones are hardly slower, nor by verdicts that are too old when the next read comes.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "agent/core/learn.h"
#include "tests/unit/synthetic.h"

#define READS 9000
#define GAP_NS 1e6
#define SLIGHTLY_US 170

static void learned(double slow_us, uint64_t verdict_ns, struct learn_result *result)
{
	struct learn_recipe recipe = { .encoder = "latency-ages",
		.labeler = "inflection",
		.hidden = { 32 },
		.n_hidden = 1,
		.outputs = 2,
		.verdict_ns = verdict_ns,
		.margin = 0.02,
		.train = { .optimiser = TRAIN_ADAM,
			.loss = TRAIN_CROSS_ENTROPY,
			.learning_rate = 1e-3f,
			.slow_weight = 5,
			.epochs = 12,
			.batch = 64,
			.seed = 1,
			.standardise = true } };
	struct synthetic disk = { .seed = 3, .memory = true, .slow_us = slow_us, .gap_ns = GAP_NS };
	struct semantos_block_record *records = synthetic_reads(&disk, READS, 1000000000);

	learn(records, READS, &recipe, "chooses", result);
	print_message(
		"  slow %.0f us, verdicts for %.1f ms: %s; choosing gains %.1f %% (%.1f-%.1f)\n",
		slow_us, (double)verdict_ns / 1e6, result->text, 100 * result->choice.gain,
		100 * result->choice.low, 100 * result->choice.high);
	free(records);
	assert_non_null(result->model);
	assert_false(result->by_choice);
	assert_string_equal(
		model_note_get(result->model, "signal"), result->heldout.signal ? "yes" : "no");
	assert_string_equal(
		model_note_get(result->model, "chooses"), result->choice.signal ? "yes" : "no");
	model_free(result->model);
}

static void where_slow_is_slow_it_may_choose(void **state)
{
	struct learn_result result;

	(void)state;
	learned(1500, 0, &result);
	assert_true(result.heldout.signal && result.choice.signal);
	assert_true(result.choice.low > .1);
}

static void where_slow_is_hardly_slower_it_may_not(void **state)
{
	struct learn_result result;

	(void)state;
	learned(SLIGHTLY_US, 0, &result);
	assert_true(result.heldout.signal);
	assert_false(result.choice.signal);
}

static void by_verdicts_it_depends_on_their_age(void **state)
{
	struct learn_result result;

	(void)state;
	learned(1500, (uint64_t)(20 * GAP_NS), &result);
	assert_true(result.heldout.signal && result.choice.signal);
	/* One that is gone before the next read comes moves nothing. */
	learned(1500, 1000, &result);
	assert_true(result.heldout.signal && !result.choice.signal);
	assert_true(result.choice.moved < .05);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(where_slow_is_slow_it_may_choose),
		cmocka_unit_test(where_slow_is_hardly_slower_it_may_not),
		cmocka_unit_test(by_verdicts_it_depends_on_their_age),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
