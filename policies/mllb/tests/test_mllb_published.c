// SPDX-License-Identifier: Apache-2.0
/*
 * test_mllb_published.c - MLLB's own numbers: recorded candidates give its published features, its published weights give
 * its published answers, in the very integers that the kernel runs; and a net learned from one half of a recording
 * tells the other half apart.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <zlib.h>
#include "agent/core/learn.h"
#include "agent/infer/encode.h"
#include "agent/infer/import.h"
#include "agent/infer/infer.h"
#include "agent/infer/mlp_pack.h"
#include "agent/infer/sched_net.h"
#include "agent/infer/score.h"
#include "tests/unit/data.h"

#define MAX_ROWS 6000
#define RAW_COLUMNS 30
#define FEATURE_COLUMNS 16 /* the 15, and the answer */
#define PREDICTED_COLUMNS 18 /* and the decision and the output of the published net */

/* Columns of a raw row, as its first line names them. */
enum raw {
	RAW_TS,
	RAW_PID = 2,
	RAW_SRC_CPU,
	RAW_DST_CPU,
	RAW_SRC_LEN = 6,
	RAW_SRC_PREFERRED = 8,
	RAW_DELTA,
	RAW_CPU_IDLE,
	RAW_CPU_NEWLY_IDLE = 12,
	RAW_SAME_NODE,
	RAW_PREFER_SRC,
	RAW_PREFER_DST,
	RAW_DELTA_FAULTS,
	RAW_TOTAL_FAULTS,
	RAW_DST_LEN,
	RAW_SRC_LOAD,
	RAW_DST_LOAD,
	RAW_FAILS,
	RAW_NICE_TRIES,
	RAW_BUDDY_HOT,
	RAW_RUNNING = 25,
	RAW_ANSWER = 27,
};

static double table[MAX_ROWS * RAW_COLUMNS];
static struct semantos_sched_record record[MAX_ROWS];

/* Numbers of a csv.gz below its first line; how many rows. 0 = it is not there. */
static size_t read_rows(const char *name, size_t columns)
{
	char path[512], line[4096], *at;
	size_t n = 0;
	gzFile file;

	if (!data_path(name, path, sizeof(path)))
		return 0;
	file = gzopen(path, "r");
	assert_non_null(file);
	assert_non_null(gzgets(file, line, sizeof(line)));
	while (gzgets(file, line, sizeof(line))) {
		assert_true(n < MAX_ROWS);
		at = line;
		for (size_t c = 0; c < columns; c++) {
			table[n * columns + c] = strtod(at, &at);
			assert_true(c + 1 == columns || *at == ',');
			at++;
		}
		n++;
	}
	gzclose(file);
	return n;
}

/* Those candidates that do not run at the moment, as records; the published tooling leaves out the others as well. */
static size_t take_raw(size_t n)
{
	size_t kept = 0;

	for (size_t r = 0; r < n; r++) {
		const double *raw = &table[r * RAW_COLUMNS];
		struct semantos_sched_record *to = &record[kept];

		if (raw[RAW_RUNNING] != 0)
			continue;
		*to = (struct semantos_sched_record){
			.head = { .kind = SEMANTOS_OUTCOME,
				.ts_ns = (uint64_t)raw[RAW_TS],
				.request_id = ++kept },
			.src_nr = (uint32_t)raw[RAW_SRC_LEN],
			.dst_nr = (uint32_t)raw[RAW_DST_LEN],
			.one = 1,
			.delta_ns = (int64_t)raw[RAW_DELTA],
			.src_load = (uint32_t)raw[RAW_SRC_LOAD],
			.dst_load = (uint32_t)raw[RAW_DST_LOAD],
			.delta_faults = (int32_t)raw[RAW_DELTA_FAULTS],
			.total_faults = (uint32_t)raw[RAW_TOTAL_FAULTS],
			.src_preferred_nr = (uint32_t)raw[RAW_SRC_PREFERRED],
			.nr_fails = (uint32_t)raw[RAW_FAILS],
			.cache_nice_tries = (uint32_t)raw[RAW_NICE_TRIES],
			.flags = (raw[RAW_CPU_IDLE] != 0 ? SEMANTOS_SCHED_IDLE : 0) |
				 (raw[RAW_CPU_NEWLY_IDLE] != 0 ? SEMANTOS_SCHED_NEWLY_IDLE : 0) |
				 (raw[RAW_SAME_NODE] != 0 ? SEMANTOS_SCHED_SAME_NODE : 0) |
				 (raw[RAW_PREFER_SRC] != 0 ? SEMANTOS_SCHED_PREFER_SRC : 0) |
				 (raw[RAW_PREFER_DST] != 0 ? SEMANTOS_SCHED_PREFER_DST : 0) |
				 (raw[RAW_BUDDY_HOT] != 0 ? SEMANTOS_SCHED_BUDDY_HOT : 0),
			.pid = (uint32_t)raw[RAW_PID],
			.src_cpu = (uint16_t)raw[RAW_SRC_CPU],
			.dst_cpu = (uint16_t)raw[RAW_DST_CPU],
			.history_len = SEMANTOS_HISTORY,
			.class_in_force = SEMANTOS_CLASS_DEFAULT,
			.answer = raw[RAW_ANSWER] != 0,
		};
	}
	return kept;
}

/* raw_tag1 -> post_default: all 15 features and the answer of all 672 rows, in their order. */
static void features_are_the_published_ones(void **state)
{
	size_t n = read_rows("mllb/raw_tag1.csv.gz", RAW_COLUMNS), published;
	const struct encoder *encoder = encoder_find("mllb");

	(void)state;
	if (!n)
		skip();
	assert_int_equal(n, 1091);
	n = take_raw(n);
	published = read_rows("mllb/post_default.csv.gz", FEATURE_COLUMNS);
	assert_int_equal(published, 672);
	assert_int_equal(n, published);
	for (size_t r = 0; r < n; r++) {
		const double *expected = &table[r * FEATURE_COLUMNS];
		float features[SCHED_FEATURES];
		wire_s64 x[SCHED_FEATURES];

		encoder->encode((const struct semantos_block_record *)&record[r], features);
		sched_features(&record[r], x);
		for (int f = 0; f < SCHED_FEATURES; f++) {
			/* shares are cut off at 16 bits behind the point; all else is whole */
			assert_true(fabs((double)x[f] / (double)MLP_ONE - expected[f]) <
				    1.0 / (double)MLP_ONE);
			if (f != SCHED_DELTA_FAULTS)
				assert_true((double)x[f] == expected[f] * (double)MLP_ONE);
			assert_true(fabs((double)features[f] - expected[f]) < 1e-4);
		}
		assert_true(record[r].answer == expected[SCHED_FEATURES]);
	}
}

static struct model *published_model(void)
{
	const struct import_options options = { .encoder = "mllb", .decision_threshold = NAN };
	struct model_error error = { "" };
	char path[512];
	const char *paths[] = { path };
	struct model *model;

	if (!data_path("mllb/weights_model1.json", path, sizeof(path)))
		return NULL;
	model = import_model(paths, 1, &options, &error);
	if (!model)
		fail_msg("%s", error.text);
	return model;
}

/* The integer net on rows of features: the published decision each time, its published output to a ten-thousandth. */
static void integer_net_answers_as_published(void **state)
{
	struct model *model = published_model();
	struct mlp_model net;
	size_t n;

	(void)state;
	if (!model)
		skip();
	n = read_rows("mllb/predict_model1.csv.gz", PREDICTED_COLUMNS);
	assert_int_equal(n, 67);
	assert_int_equal(sched_net_pack(model, 7, &net), 0);
	assert_int_equal(net.generation, 7);
	assert_int_equal(net.inputs, 15);
	assert_int_equal(net.layer[0].outputs, 10);
	assert_int_equal(net.outputs, 1);
	for (size_t r = 0; r < n; r++) {
		const double *line = &table[r * PREDICTED_COLUMNS];
		struct mlp_vectors v = { { 0 }, { 0 } };
		double score;

		for (int f = 0; f < SCHED_FEATURES; f++)
			v.x[f] = mlp_fixed(line[f]);
		mlp_run(&net, &v);
		score = (double)v.x[0] / (double)MLP_ONE + (double)model->decision_threshold;
		/* sums of up to 1,214 tasks times ten weights of 16 bits: a few hundredths at the most */
		if (fabs(score - line[17]) > 0.05)
			fail_msg("row %zu: %f, published %f", r, score, line[17]);
		assert_int_equal(sched_says_yes(&v), line[16]);
	}
	model_free(model);
}

/* From raw rows to decisions: integers and floats agree on every recorded candidate. */
static void integers_and_floats_decide_alike(void **state)
{
	static const char *const names[] = { "mllb/raw_tag1.csv.gz",
		"mllb/raw_tag2_first60.csv.gz" };
	const struct encoder *encoder = encoder_find("mllb");
	struct model *model = published_model();
	struct infer_scratch *scratch;
	struct infer_plan *plan;
	struct mlp_model net;
	size_t rows = 0, yes = 0;

	(void)state;
	if (!model)
		skip();
	assert_int_equal(sched_net_pack(model, 1, &net), 0);
	plan = infer_prepare(model, 1, INFER_FLOAT);
	scratch = infer_scratch_new(plan);
	for (int i = 0; i < 2; i++) {
		size_t n = take_raw(read_rows(names[i], RAW_COLUMNS));

		assert_true(n > 0);
		for (size_t r = 0; r < n; r++) {
			float features[SCHED_FEATURES], score;
			int said = sched_net_says_yes(&net, &record[r]);

			encoder->encode((const struct semantos_block_record *)&record[r], features);
			assert_int_equal(infer_run(plan, scratch, features, 1, &score), 0);
			assert_int_equal(said, score >= model->decision_threshold);
			rows++;
			yes += (size_t)said;
		}
	}
	print_message("  %zu candidates, %zu to be moved\n", rows, yes);
	infer_scratch_free(scratch);
	infer_free(plan);
	model_free(model);
}

/* A model of two outputs decides by their difference; one of another shape is refused. */
static void threshold_and_outputs_are_folded_in(void **state)
{
	const uint32_t two[] = { SCHED_FEATURES, 4, 2 }, narrow[] = { 5, 2 };
	struct model *model = model_new("two", "mllb", two, 3), *other;
	struct mlp_model net, untouched;

	(void)state;
	assert_non_null(model);
	model->layer[0].activation = MODEL_RELU;
	model->layer[0].weight[SCHED_SRC_LEN] = 1; /* unit 0: how many wait, less 2 */
	model->layer[1].weight[0] = 1; /* out 0 */
	model->layer[1].weight[4] = 3; /* out 1: the difference is twice the unit */
	model->decision_threshold = 6;
	assert_int_equal(sched_net_pack(model, 1, &net), 0);
	for (uint32_t nr = 0; nr < 10; nr++) {
		const struct semantos_sched_record asked = { .src_nr = nr };

		assert_int_equal(sched_net_says_yes(&net, &asked), nr >= 5);
	}
	memset(&net, 0x5a, sizeof(net));
	untouched = net;
	other = model_new("narrow", "mllb", narrow, 2);
	assert_int_equal(sched_net_pack(other, 1, &net), -22);
	assert_memory_equal(&net, &untouched, sizeof(net));
	model_free(other);
	model_free(model);
}

/* Hostile numbers stay within what the net takes, and divide by nothing. */
static void features_are_bounded(void **state)
{
	const struct semantos_sched_record most = { .src_nr = UINT32_MAX,
		.dst_nr = UINT32_MAX,
		.src_load = UINT32_MAX,
		.dst_load = UINT32_MAX,
		.delta_ns = INT64_MIN,
		.delta_faults = INT32_MIN,
		.total_faults = 1,
		.flags = UINT32_MAX };
	struct semantos_sched_record none = { .delta_faults = INT32_MIN };
	wire_s64 x[SCHED_FEATURES];

	(void)state;
	sched_features(&most, x);
	for (int f = 0; f < SCHED_FEATURES; f++)
		assert_in_range(llabs(x[f]), 0, (wire_s64)SCHED_FEATURE_MOST << MLP_SHIFT);
	assert_true(x[SCHED_DELTA_FAULTS] == -((wire_s64)SCHED_FEATURE_MOST << MLP_SHIFT));
	sched_features(&none, x);
	assert_true(x[SCHED_DELTA_FAULTS] == 0 && x[SCHED_CPU_NOT_IDLE] == MLP_ONE);
	assert_int_equal(sched_plain(&none), 0);
	none.delta_ns = SCHED_HOT_NS;
	assert_int_equal(sched_plain(&none), 1);
}

/* A recording of another machine's kernel: learned from its first 70 %, in time order, judged by the rest. */
static void the_kernels_answers_can_be_learned(void **state)
{
	struct learn_recipe recipe = { .encoder = "mllb",
		.labeler = "answer",
		.hidden = { 10 },
		.n_hidden = 1,
		.outputs = 2,
		.margin = 0.05,
		.train = { .optimiser = TRAIN_ADAM,
			.loss = TRAIN_CROSS_ENTROPY,
			.learning_rate = 0.002f,
			.slow_weight = 0.2f,
			.epochs = 60,
			.batch = 64,
			.seed = 1,
			.standardise = true } };
	struct learn_result result;
	struct mlp_model net;
	size_t n = take_raw(read_rows("mllb/raw_tag2_first60.csv.gz", RAW_COLUMNS));

	(void)state;
	if (!n)
		skip();
	learn((const struct semantos_block_record *)record, n, &recipe, "mllb-cpus", &result);
	if (!result.model)
		fail_msg("%s", result.text);
	print_message("  %s\n", result.text);
	assert_true(result.heldout.auc > 0.66);
	assert_int_equal(sched_net_pack(result.model, 1, &net), 0);
	model_free(result.model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(features_are_the_published_ones),
		cmocka_unit_test(integer_net_answers_as_published),
		cmocka_unit_test(integers_and_floats_decide_alike),
		cmocka_unit_test(threshold_and_outputs_are_folded_in),
		cmocka_unit_test(features_are_bounded),
		cmocka_unit_test(the_kernels_answers_can_be_learned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
