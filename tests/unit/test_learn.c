// SPDX-License-Identifier: Apache-2.0
/*
 * test_learn.c - a disk whose slow periods have memory is learned; one without memory is said to have no signal.
 *
 * Both disks are generated, ten seeds each: reads arrive at random and share one history as on a real disk. On the
 * first kind slow periods last some forty reads; on the second every latency is drawn anew, so that whatever the
 * history holds says nothing, and a model that finds "signal" there has found a mistake of ours.
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
#include "agent/core/learn.h"
#include "agent/core/trace.h"

#define READS 9000
#define GAP_NS 1e6 /* mean time between reads: few overlap, so that depth alone says little */
#define SEEDS 10

static uint64_t next(uint64_t *state)
{
	/* splitmix64 (Steele et al., OOPSLA'14) */
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static double uniform(uint64_t *state)
{
	return ((double)(next(state) >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(uint64_t *state)
{
	double u = uniform(state);

	return sqrt(-2 * log(u)) * cos(2 * M_PI * uniform(state));
}

/* slow_enter, slow_leave: chance at each read that the state changes. slow_share: of the memoryless disk. */
static size_t generate(uint64_t seed, bool memory, struct semantos_block_record **records)
{
	struct trace_request *requests = calloc(READS, sizeof(*requests));
	double slow_enter = 0.005, slow_leave = 0.025, slow_share = 0.17, now_ns = 1e9;
	uint64_t state = seed * 7919 + 1;
	bool slow = false;
	size_t n;

	assert_non_null(requests);
	for (size_t i = 0; i < READS; i++) {
		now_ns += -log(uniform(&state)) * GAP_NS;
		if (memory)
			slow = slow ? uniform(&state) >= slow_leave : uniform(&state) < slow_enter;
		else
			slow = uniform(&state) < slow_share;
		requests[i] = (struct trace_request){
			.issue_ns = (uint64_t)now_ns,
			.latency_us = (uint32_t)((slow ? 1500 : 120) * exp(0.4 * normal(&state))),
			.sectors = 8u << next(&state) % 5,
			.sector = next(&state) % (1u << 30),
			.op = SEMANTOS_OP_READ,
		};
	}
	assert_int_equal(trace_records(requests, READS, records, &n), 0);
	free(requests);
	return n;
}

static struct learn_recipe recipe_of(const char *encoder)
{
	struct learn_recipe recipe = {
		.labeler = "inflection",
		.hidden = { 32 },
		.n_hidden = 1,
		.outputs = 2,
		.margin = 0.02,
		.train = {
			.optimiser = TRAIN_ADAM,
			.loss = TRAIN_CROSS_ENTROPY,
			.learning_rate = 1e-3f,
			.slow_weight = 5,
			.epochs = 12,
			.batch = 64,
			.seed = 1,
			.standardise = strcmp(encoder, "linnos-digits") != 0,
		},
	};

	snprintf(recipe.encoder, sizeof(recipe.encoder), "%s", encoder);
	return recipe;
}

static int count_signals(const char *encoder, bool memory)
{
	struct learn_recipe recipe = recipe_of(encoder);
	int signals = 0;

	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct semantos_block_record *records;
		struct learn_result result;
		size_t n = generate(seed, memory, &records);

		learn(records, n, &recipe, "test", &result);
		assert_int_equal(result.error, 0);
		assert_non_null(result.model);
		signals += result.heldout.signal;
		print_message("  %s, seed %d: %s\n", encoder, (int)seed, result.text);
		model_free(result.model);
		free(records);
	}
	print_message("%s, %s: signal in %d of %d seeds\n", encoder,
		memory ? "slow periods with memory" : "memoryless", signals, SEEDS);
	return signals;
}

static void memory_is_signal(void **state)
{
	(void)state;
	assert_true(count_signals("linnos-digits", true) >= 9);
	assert_true(count_signals("latency-ages", true) >= 9);
}

static void no_memory_is_no_signal(void **state)
{
	(void)state;
	assert_true(count_signals("linnos-digits", false) <= 1);
	assert_true(count_signals("latency-ages", false) <= 1);
}

/* Where depth says all there is, in whichever direction, a model that has learned just that adds nothing. */
static void depth_alone_is_no_signal(void **state)
{
	struct learn_recipe recipe = recipe_of("latency-ages");

	(void)state;
	for (int direction = -1; direction <= 1; direction += 2) {
		struct semantos_block_record *records;
		struct learn_result result;
		size_t n = generate(7, false, &records);
		uint64_t noise = 1;

		for (size_t i = 0; i < n; i++) {
			double depth = log2(1 + records[i].pending_pages) + normal(&noise);

			records[i].latency_us = (uint32_t)(300 * exp(0.5 * direction * depth));
		}
		learn(records, n, &recipe, "test", &result);
		print_message("  %s\n", result.text);
		assert_int_equal(result.error, 0);
		assert_false(result.heldout.signal);
		assert_true(result.heldout.baseline_auc > 0.7);
		assert_true(result.heldout.auc > 0.7);
		model_free(result.model);
		free(records);
	}
}

/* Two runs of the same rows give the same model; the order in which records arrive does not matter. */
static void same_rows_same_model(void **state)
{
	struct learn_recipe recipe = recipe_of("latency-ages");
	struct semantos_block_record *records, swapped;
	struct learn_result first, second;
	size_t n = generate(3, true, &records);

	(void)state;
	learn(records, n, &recipe, "test", &first);
	for (size_t i = 0; i < n / 2; i++) {
		swapped = records[i];
		records[i] = records[n - 1 - i];
		records[n - 1 - i] = swapped;
	}
	learn(records, n, &recipe, "test", &second);
	assert_int_equal(first.error, 0);
	assert_int_equal(second.error, 0);
	assert_memory_equal(first.model->layer[0].weight, second.model->layer[0].weight,
		sizeof(float) * first.model->layer[0].inputs * first.model->layer[0].outputs);
	assert_true(first.heldout.auc == second.heldout.auc);
	assert_true(first.rows_train + first.rows_heldout < n - SEMANTOS_HISTORY); /* the gap */
	assert_string_equal(model_note_get(first.model, "signal"), "yes");
	assert_string_equal(model_note_get(first.model, "encoder"), "latency-ages");
	assert_int_equal(strlen(model_note_get(first.model, "date")), 20);
	model_free(first.model);
	model_free(second.model);
	free(records);
}

/* What held-out reads turn out to be must not reach the weights: change them all, the model stays the same. */
static void heldout_never_trains(void **state)
{
	struct learn_recipe recipe = recipe_of("linnos-digits");
	struct semantos_block_record *records;
	struct learn_result first, second;
	size_t n = generate(4, true, &records);
	uint64_t boundary = 0;

	(void)state;
	learn(records, n, &recipe, "test", &first);
	assert_int_equal(first.error, 0);
	for (size_t i = 0; i < n; i++)
		boundary += records[i].head.request_id == (uint64_t)(n * 0.72)
				    ? records[i].head.ts_ns
				    : 0;
	assert_true(boundary);
	for (size_t i = 0; i < n; i++) {
		if (records[i].head.ts_ns >= boundary)
			records[i].latency_us = records[i].latency_us * 7 + 11;
	}
	learn(records, n, &recipe, "test", &second);
	assert_int_equal(second.error, 0);
	assert_true(first.model->slow_threshold_us == second.model->slow_threshold_us);
	assert_memory_equal(first.model->layer[0].weight, second.model->layer[0].weight,
		sizeof(float) * first.model->layer[0].inputs * first.model->layer[0].outputs);
	assert_true(first.heldout.auc != second.heldout.auc);
	model_free(first.model);
	model_free(second.model);
	free(records);
}

static void expect_refusal(const struct semantos_block_record *records, size_t n,
	const struct learn_recipe *recipe, int error, const char *word)
{
	struct learn_result result;

	learn(records, n, recipe, "test", &result);
	assert_int_equal(result.error, error);
	assert_null(result.model);
	assert_non_null(strstr(result.text, word));
}

static void refusals_are_sentences(void **state)
{
	struct learn_recipe recipe = recipe_of("latency-ages"), bad = recipe;
	struct semantos_block_record *records;
	atomic_bool cancel = true;
	size_t n = generate(5, true, &records);

	(void)state;
	expect_refusal(records, 50, &recipe, -ENODATA, "too few");
	expect_refusal(NULL, 0, &recipe, -ENODATA, "too few");
	snprintf(bad.encoder, sizeof(bad.encoder), "nonsense");
	expect_refusal(records, n, &bad, -EINVAL, "nonsense");
	bad = recipe;
	snprintf(bad.labeler, sizeof(bad.labeler), "nonsense");
	expect_refusal(records, n, &bad, -EINVAL, "nonsense");
	bad = recipe;
	bad.outputs = 3;
	expect_refusal(records, n, &bad, -EINVAL, "outputs");
	bad = recipe;
	bad.train.cancel = &cancel;
	expect_refusal(records, n, &bad, -ECANCELED, "stopped");
	for (size_t i = 0; i < n; i++)
		records[i].latency_us = 100;
	expect_refusal(records, n, &recipe, -EINVAL, "equally long");
	for (size_t i = 0; i < n; i++)
		records[i].head.flags = SEMANTOS_F_ERROR;
	expect_refusal(records, n, &recipe, -ENODATA, "too few");
	free(records);
}

static void replay_agrees(void **state)
{
	struct learn_recipe recipe = recipe_of("latency-ages");
	struct semantos_block_record *records;
	struct learn_result learned, replayed;
	size_t usable = 0, n = generate(6, true, &records);

	(void)state;
	learn(records, n, &recipe, "test", &learned);
	assert_int_equal(learned.error, 0);
	free(records);
	n = generate(16, true, &records); /* another hour of the same disk */
	learn_replay(records, n, learned.model, 0.02, &replayed);
	print_message("  %s\n", replayed.text);
	assert_int_equal(replayed.error, 0);
	assert_null(replayed.model);
	for (size_t i = 0; i < n; i++)
		usable += records[i].history_len == SEMANTOS_HISTORY;
	assert_int_equal(replayed.rows_heldout, usable);
	assert_true(replayed.heldout.signal);
	assert_true(fabs(replayed.heldout.auc - learned.heldout.auc) < 0.1);
	snprintf(learned.model->encoder, MODEL_NAME_LEN, "nonsense");
	learn_replay(records, n, learned.model, 0.02, &replayed);
	assert_int_equal(replayed.error, -EINVAL);
	assert_non_null(strstr(replayed.text, "nonsense"));
	model_free(learned.model);
	free(records);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_signal),
		cmocka_unit_test(no_memory_is_no_signal),
		cmocka_unit_test(depth_alone_is_no_signal),
		cmocka_unit_test(same_rows_same_model),
		cmocka_unit_test(heldout_never_trains),
		cmocka_unit_test(refusals_are_sentences),
		cmocka_unit_test(replay_agrees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
