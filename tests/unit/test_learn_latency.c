// SPDX-License-Identifier: Apache-2.0
/*
 * test_learn_latency.c - a net that foresees latencies: right to within its error on reads whose truth is known, the same
 * after a save and in the kernel's integers, and no better than the mean where nothing can be foreseen.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/core/learn.h"
#include "agent/infer/encode.h"
#include "agent/infer/infer.h"
#include "agent/infer/kernel_net.h"
#include "agent/infer/random.h"
#include "kmod/infer/features.h"
#include "kmod/infer/net.h"

#define READS 6000

static struct semantos_block_record *reads;

/* A disk of 100 us that takes 2 ms in slow periods of 30 reads; `memory` false: as many slow reads, drawn one by one. */
static void make_reads(bool memory)
{
	struct random_state random = random_seed(5);
	uint32_t latency = 100, ewma = 100, left = 200;
	uint64_t history[SEMANTOS_HISTORY] = { 0 };
	bool slow = false;

	for (int i = 0; i < READS; i++) {
		struct semantos_block_record *r = &reads[i];

		if (!left--) {
			slow = !slow;
			left = slow ? 30 : 90 + (uint32_t)random_below(&random, 60);
		}
		if (!memory)
			slow = random_below(&random, 100) < 20;
		memset(r, 0, sizeof(*r));
		r->head.version = SEMANTOS_WIRE_VERSION;
		r->head.bytes = sizeof(*r);
		r->head.kind = SEMANTOS_OUTCOME;
		r->head.ts_ns = 5000000ULL * (uint64_t)(i + 1);
		r->head.request_id = (uint64_t)i + 1;
		r->pending_pages = r->inflight = r->inflight_reads = 1;
		r->sectors = 8;
		memcpy(r->history, history, sizeof(history));
		r->history_len = SEMANTOS_HISTORY;
		r->since_done_us = 5000 - latency;
		r->last_latency_us = latency;
		r->ewma_latency_us = ewma;
		latency = (slow ? 2000 : 100) + (uint32_t)random_below(&random, 20);
		r->latency_us = latency;
		ewma = (uint32_t)((int)ewma + ((int)latency - (int)ewma) / 8);
		memmove(history, history + 1, sizeof(history) - sizeof(history[0]));
		history[SEMANTOS_HISTORY - 1] = semantos_hist_pack(latency, 1, 1, 8);
	}
}

static void learned(struct learn_result *result)
{
	struct learn_recipe recipe = { .encoder = "latency-ages",
		.labeler = "inflection",
		.hidden = { 32 },
		.n_hidden = 1,
		.outputs = 1,
		.latency = true,
		.train = { .optimiser = TRAIN_ADAM,
			.learning_rate = 0.001f,
			.slow_weight = 5,
			.epochs = 30,
			.batch = 64,
			.seed = 1,
			.standardise = true },
		.margin = 0.05 };

	learn(reads, READS, &recipe, "foresees", result);
}

/* The score as the agent has it: of a model of latencies log2 us. */
static float score_of(const struct model *model, const struct semantos_block_record *record)
{
	struct infer_plan *plan = infer_prepare(model, 1, INFER_FLOAT);
	struct infer_scratch *scratch = infer_scratch_new(plan);
	float features[ENCODE_MAX_FEATURES], score;

	encoder_find(model->encoder)->encode(record, features);
	assert_int_equal(infer_run(plan, scratch, features, 1, &score), 0);
	infer_scratch_free(scratch);
	infer_free(plan);
	return score;
}

static double foreseen(const struct model *model, const struct semantos_block_record *record)
{
	return exp2((double)score_of(model, record));
}

static void what_can_be_foreseen_is(void **state)
{
	struct learn_result result;
	double fast = 0, slow = 0;
	int n_fast = 0, n_slow = 0;

	(void)state;
	make_reads(true);
	learned(&result);
	assert_non_null(result.model);
	assert_true(result.heldout.signal);
	/* 100 us and, of one in six, 2 ms: a slow read called fast costs five times as much as the reverse. */
	assert_true(exp2((double)result.model->decision_threshold) > 300);
	assert_true(exp2((double)result.model->decision_threshold) < 600);
	assert_true(result.choice.low > .1);
	assert_true(result.model->latency_error_us > 0 && result.model->latency_error_us < 200);
	/* Two of the same kind before it: this read is not at the edge of a period. */
	for (int i = READS * 3 / 4; i < READS; i++) {
		const struct semantos_block_record *r = &reads[i];
		bool was_slow = r->last_latency_us > 1000;

		if (was_slow != (semantos_hist_latency_us(r->history[2]) > 1000) ||
			was_slow != (r->latency_us > 1000))
			continue;
		if (was_slow)
			slow += foreseen(result.model, r), n_slow++;
		else
			fast += foreseen(result.model, r), n_fast++;
	}
	assert_true(n_slow > 50 && n_fast > 500);
	assert_true(slow / n_slow > 1500 && slow / n_slow < 2300);
	assert_true(fast / n_fast < 400);
	model_free(result.model);
}

static void it_is_the_same_in_a_file_and_in_the_kernel(void **state)
{
	char path[] = "/tmp/semantos-latency-XXXXXX";
	struct learn_result result;
	struct model_error error = { "" };
	static struct infer_scratch scratch;
	int64_t outputs[INFER_MAX_OUTPUTS];
	struct infer_net *net;
	struct model *again;
	const char *why;
	size_t n_bytes, packed;
	void *blob;

	(void)state;
	make_reads(true);
	learned(&result);
	assert_non_null(result.model);
	close(mkstemp(path));
	assert_int_equal(model_save(result.model, path, &error), 0);
	again = model_load(path, &error);
	unlink(path);
	assert_non_null(again);
	assert_true(again->latency_error_us == result.model->latency_error_us);
	blob = kernel_net_build(again, 0, &n_bytes, &error);
	if (!blob)
		fail_msg("%s", error.text);
	assert_int_equal(infer_net_check(blob, n_bytes, &packed, &why), 0);
	net = aligned_alloc(64, (packed + 63) / 64 * 64);
	assert_non_null(net);
	memset(net, 0, packed);
	assert_int_equal(infer_net_pack(net, blob, &why), 0);
	for (int i = READS - 500; i < READS; i++) {
		double expected = foreseen(again, &reads[i]), kernel;

		infer_encode(net->encoder, &reads[i], scratch.feature);
		infer_load(net, &scratch, scratch.feature);
		infer_run_scalar(net, &scratch, outputs);
		kernel = exp2((double)infer_score(net, outputs) / (double)net->threshold *
			      (double)again->decision_threshold);
		if (fabs(kernel - expected) > 20 + expected / 50)
			fail_msg("read %d: %g us in the kernel, %g us by the agent", i, kernel,
				expected);
	}
	free(net);
	free(blob);
	model_free(again);
	model_free(result.model);
}

/* What an operator writes into policy.conf for the two published ones: learned, and of one mind in the kernel. */
static void the_published_nets_run_in_the_kernel(void **state)
{
	static const struct {
		const char *encoder;
		uint32_t hidden[2], n_hidden, outputs;
		bool standardise;
	} nets[] = {
		{ "heimdall", { 128, 16 }, 2, 1, true },
		{ "linnos-digits", { 256 }, 1, 2, false },
	};

	(void)state;
	make_reads(true);
	for (size_t k = 0; k < sizeof(nets) / sizeof(nets[0]); k++) {
		struct learn_recipe recipe = { .labeler = "inflection",
			.hidden = { nets[k].hidden[0], nets[k].hidden[1] },
			.n_hidden = nets[k].n_hidden,
			.outputs = nets[k].outputs,
			.train = { .optimiser = TRAIN_ADAM,
				.learning_rate = 0.001f,
				.slow_weight = 5,
				.epochs = 8,
				.batch = 64,
				.seed = 1,
				.standardise = nets[k].standardise },
			.margin = 0.05 };
		static struct infer_scratch scratch;
		int64_t outputs[INFER_MAX_OUTPUTS];
		struct learn_result result;
		struct model_error error = { "" };
		struct infer_net *net;
		const char *why;
		size_t n_bytes, packed;
		int differ = 0;
		void *blob;

		snprintf(recipe.encoder, sizeof(recipe.encoder), "%s", nets[k].encoder);
		learn(reads, READS, &recipe, "published", &result);
		assert_non_null(result.model);
		assert_true(result.heldout.signal);
		assert_true(result.model->latency_error_us == 0);
		blob = kernel_net_build(result.model, 0, &n_bytes, &error);
		if (!blob)
			fail_msg("%s", error.text);
		assert_int_equal(infer_net_check(blob, n_bytes, &packed, &why), 0);
		net = aligned_alloc(64, (packed + 63) / 64 * 64);
		assert_non_null(net);
		memset(net, 0, packed);
		assert_int_equal(infer_net_pack(net, blob, &why), 0);
		for (int i = READS - 1000; i < READS; i++) {
			float score = score_of(result.model, &reads[i]);

			infer_encode(net->encoder, &reads[i], scratch.feature);
			infer_load(net, &scratch, scratch.feature);
			infer_run_scalar(net, &scratch, outputs);
			differ += (score >= result.model->decision_threshold) !=
				  (infer_score(net, outputs) >= net->threshold);
		}
		assert_true(differ <= 10);
		free(net);
		free(blob);
		model_free(result.model);
	}
}

static void chance_has_no_signal(void **state)
{
	struct learn_result result;

	(void)state;
	make_reads(false);
	learned(&result);
	if (result.model)
		assert_false(result.heldout.signal);
	model_free(result.model);
}

static int setup(void **state)
{
	(void)state;
	reads = calloc(READS, sizeof(*reads));
	return reads ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	free(reads);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_can_be_foreseen_is),
		cmocka_unit_test(it_is_the_same_in_a_file_and_in_the_kernel),
		cmocka_unit_test(the_published_nets_run_in_the_kernel),
		cmocka_unit_test(chance_has_no_signal),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
