// SPDX-License-Identifier: Apache-2.0
/*
 * test_engines_recorded.c - published weights on recorded rows: every engine's verdicts agree with double precision on at
 * least 99.9 % of them, the twins' too, and how many of their rows were computed again is printed. Heimdall's weights were
 * never published: a net of its shape is trained on recorded reads, whose features are its rows.
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
#include "agent/core/learn.h"
#include "agent/core/trace.h"
#include "agent/infer/encode.h"
#include "agent/infer/import.h"
#include "agent/infer/infer.h"
#include "engine_nets.h"
#include "data.h"

#define MAX_ROWS 8192
#define MAX_PATHS 6

static char paths[MAX_PATHS][512];
static const char *path_list[MAX_PATHS];

static bool find(const char *const *names, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (!data_path(names[i], paths[i], sizeof(paths[i])))
			return false;
		path_list[i] = paths[i];
	}
	return true;
}

/* The first `width` numbers of every line that starts with one; returns the lines. */
static size_t read_rows(const char *path, size_t width, float *rows)
{
	gzFile in = gzopen(path, "rb");
	static char line[1 << 14];
	size_t n = 0;

	assert_non_null(in);
	while (n < MAX_ROWS && gzgets(in, line, sizeof(line))) {
		char *at = line, *end;
		size_t i = 0;

		for (; i < width; i++, at = *end ? end + 1 : end) {
			rows[n * width + i] = strtof(at, &end);
			if (end == at)
				break;
		}
		n += i == width;
	}
	gzclose(in);
	return n;
}

static void agree(const struct model *model, const float *rows, size_t n, const char *name)
{
	static const char *const engines[] = { "scalar", "avx2", "avx512", "avx512-vnni",
		"avx512-bf16", "" };
	uint32_t width = model_inputs(model);
	double *expected = malloc(n * sizeof(*expected)), y[4];
	float *scores = malloc(n * sizeof(*scores));

	assert_true(expected && scores && n > 0);
	for (size_t r = 0; r < n; r++) {
		nets_reference(model, rows + r * width, y);
		expected[r] = model_outputs(model) == 2 ? y[1] - y[0] : y[0];
	}
	for (size_t e = 0; e < sizeof(engines) / sizeof(engines[0]); e++) {
		struct infer_plan *plan;
		struct infer_scratch *scratch;
		size_t same = 0;

		setenv("SEMANTOS_INFER", engines[e], 1);
		plan = infer_prepare(model, INFER_MAX_BATCH, INFER_QUICK);
		unsetenv("SEMANTOS_INFER");
		scratch = infer_scratch_new(plan);
		assert_true(plan && scratch);
		for (size_t at = 0; at < n; at += 256)
			assert_int_equal(infer_run(plan, scratch, rows + at * width,
						 n - at < 256 ? n - at : 256, scores + at),
				0);
		for (size_t r = 0; r < n; r++)
			same += (scores[r] >= model->decision_threshold) ==
				(expected[r] >= model->decision_threshold);
		print_message("  %s by %s: %zu of %zu verdicts agree, %.2f %% computed again\n",
			name, infer_engine(plan), same, n,
			100.0 * (double)infer_recomputed(scratch) / (double)n);
		assert_true((double)same >= 0.999 * (double)n);
		infer_scratch_free(scratch);
		infer_free(plan);
	}
	free(expected);
	free(scores);
}

/* Five counts of pages to three digits each, then four latencies to four; all nines for what does not fit. */
static void put_digits(const float *numbers, float *digits)
{
	for (size_t i = 0; i < 9; i++) {
		size_t n_digits = i < 5 ? 3 : 4;
		uint32_t most = i < 5 ? 999 : 9999;
		uint32_t value = numbers[i] < (float)most ? (uint32_t)numbers[i] : most;

		for (size_t d = n_digits; d-- > 0; value /= 10)
			digits[d] = (float)(value % 10);
		digits += n_digits;
	}
}

static void linnos_digits(void **state)
{
	static const char *const weights[] = { "linnos-lake/weights/float_c47a304_bias_0.csv.gz",
		"linnos-lake/weights/float_c47a304_bias_1.csv.gz",
		"linnos-lake/weights/float_c47a304_weight_0.csv.gz",
		"linnos-lake/weights/float_c47a304_weight_1.csv.gz" };
	static const char *const raw[] = { "linnos-lake/rawvec/20221023_33af916_temp1.csv.gz",
		"linnos-lake/rawvec/20221026_1fd90f0_temp1.csv.gz",
		"linnos-lake/rawvec/20221026_8cb3d72_temp1.csv.gz",
		"linnos-lake/rawvec/null_5977be9_temp1_gran_1.csv.gz" };
	static const char *const drives[] = { "linnos-lake/golden/20230512_de58b78_mldrive0.csv.gz",
		"linnos-lake/golden/20230512_de58b78_mldrive1.csv.gz" };
	const struct import_options options = { .decision_threshold = NAN };
	static float rows[MAX_ROWS * 31];
	struct model_error error = { "" };
	struct model *model;

	(void)state;
	if (!find(weights, 4))
		skip();
	model = import_model(path_list, 4, &options, &error);
	if (!model)
		fail_msg("%s", error.text);
	for (size_t d = 0; d < 2; d++) {
		size_t n;

		if (!find(drives + d, 1))
			skip();
		n = read_rows(paths[0], 31, rows);
		assert_true(n > 1000);
		agree(model, rows, n, d ? "LinnOS, drive 1" : "LinnOS, drive 0");
	}
	for (size_t f = 0; f < sizeof(raw) / sizeof(raw[0]); f++) {
		static float numbers[MAX_ROWS * 9];
		size_t n;

		if (!find(raw + f, 1))
			skip();
		n = read_rows(paths[0], 9, numbers);
		assert_true(n > 1000);
		for (size_t r = 0; r < n; r++)
			put_digits(numbers + 9 * r, rows + 31 * r);
		agree(model, rows, n, raw[f] + strlen("linnos-lake/rawvec/"));
	}
	model_free(model);
}

static void mllb_rows(void **state)
{
	static const char *const names[] = { "mllb/weights_model1.json",
		"mllb/post_default.csv.gz" };
	const struct import_options options = { .encoder = "mllb", .decision_threshold = NAN };
	static float rows[MAX_ROWS * 15];
	struct model_error error = { "" };
	struct model *model;
	size_t n;

	(void)state;
	if (!find(names, 2))
		skip();
	model = import_model(path_list, 1, &options, &error);
	if (!model)
		fail_msg("%s", error.text);
	n = read_rows(paths[1], 15, rows);
	assert_true(n > 500);
	agree(model, rows, n, "MLLB");
	model_free(model);
}

/* Four classes, so the verdict is the largest output. */
static void kml_agree(const struct model *model, const float *rows, size_t n, const char *name)
{
	static const char *const engines[] = { "scalar", "avx2", "avx512", "" };
	static float outputs[MAX_ROWS * 4];

	for (size_t e = 0; e < sizeof(engines) / sizeof(engines[0]); e++) {
		struct infer_plan *plan;
		struct infer_scratch *scratch;
		size_t same = 0;

		setenv("SEMANTOS_INFER", engines[e], 1);
		plan = infer_prepare(model, INFER_MAX_BATCH, INFER_QUICK);
		unsetenv("SEMANTOS_INFER");
		scratch = infer_scratch_new(plan);
		assert_true(plan && scratch);
		assert_int_equal(infer_run_outputs(plan, scratch, rows, n, outputs), 0);
		for (size_t r = 0; r < n; r++) {
			const float *of = outputs + 4 * r;
			double y[4];
			size_t most = 0, expected = 0;

			nets_reference(model, rows + 5 * r, y);
			for (size_t o = 1; o < 4; o++) {
				most = of[o] > of[most] ? o : most;
				expected = y[o] > y[expected] ? o : expected;
			}
			same += most == expected;
		}
		print_message("  %s by %s: %zu of %zu verdicts agree\n", name, infer_engine(plan),
			same, n);
		assert_true((double)same >= 0.999 * (double)n);
		infer_scratch_free(scratch);
		infer_free(plan);
	}
}

/*
 * Its feature files, one for each readahead window: a first line that counts, then four features a line; the fifth is the
 * window in MiB. Scaled as published.
 */
static size_t kml_feature_files(float *rows)
{
	static const char *const scaling[] = { "kml/nn_arch_data/mean.csv",
		"kml/nn_arch_data/stddev.csv" };
	float mean[5], deviation[5];
	size_t n = 0;

	if (!find(scaling, 2))
		return 0;
	assert_int_equal(read_rows(paths[0], 1, rows), 5);
	memcpy(mean, rows, sizeof(mean));
	assert_int_equal(read_rows(paths[1], 1, rows), 5);
	memcpy(deviation, rows, sizeof(deviation));
	for (int kib = 1; kib <= 1024; kib = kib / 32 * 32 + 32) {
		static float four[MAX_ROWS * 4];
		char name[128], path[512];
		size_t lines;

		snprintf(name, sizeof(name),
			"kml/feature_results/feature_final_readrandomwriterandom_%d.csv", kib);
		if (!data_path(name, path, sizeof(path)))
			continue;
		lines = read_rows(path, 4, four);
		assert_true(lines > 0 && n + lines <= MAX_ROWS);
		for (size_t r = 0; r < lines; r++, n++)
			for (size_t i = 0; i < 5; i++)
				rows[5 * n + i] =
					((i < 4 ? four[4 * r + i] : (float)kib / 1024) - mean[i]) /
					deviation[i];
	}
	return n;
}

static void kml_rows(void **state)
{
	static const char *const names[] = { "kml/nn_arch_data/linear0_w.csv",
		"kml/nn_arch_data/linear0_bias.csv", "kml/nn_arch_data/linear1_w.csv",
		"kml/nn_arch_data/linear1_bias.csv", "kml/nn_arch_data/linear2_w.csv",
		"kml/nn_arch_data/linear2_bias.csv" };
	static const char *const recorded[] = { "kml/nn_arch_data/input.csv" };
	const struct import_options options = {
		.encoder = "kml", .decision_threshold = NAN, .activations = "sigmoid,sigmoid,linear"
	};
	static float rows[MAX_ROWS * 5];
	struct model_error error = { "" };
	struct model *model;
	size_t n;

	(void)state;
	if (!find(names, 6))
		skip();
	model = import_model(path_list, 6, &options, &error);
	if (!model)
		fail_msg("%s", error.text);
	if (!find(recorded, 1))
		skip();
	n = read_rows(paths[0], 5, rows);
	assert_int_equal(n, 422);
	kml_agree(model, rows, n, "KML");
	n = kml_feature_files(rows);
	assert_true(n > 200);
	kml_agree(model, rows, n, "KML, feature files");
	model_free(model);
}

static void heimdall_rows(void **state)
{
	static const char *const traces[] = {
		"flashnet-trovi/tencent.cut.per_50k.most_rand_iops.537.trace.gz",
		"flashnet-trovi/tencent.cut.per_50k.rw_60_40.490.trace.gz",
		"flashnet-trovi/tencent.cut.per_50k.rw_75_25.379.trace.gz"
	};
	const struct encoder *encoder = encoder_find("heimdall");
	const struct learn_recipe recipe = {
		.encoder = "heimdall",
		.labeler = "inflection",
		.hidden = { 128, 16 },
		.n_hidden = 2,
		.outputs = 1,
		.margin = 0.02,
		.train = { .optimiser = TRAIN_ADAM,
			.loss = TRAIN_CROSS_ENTROPY,
			.learning_rate = 1e-3f,
			.slow_weight = 5,
			.epochs = 1,
			.batch = 128,
			.seed = 1,
			.standardise = true },
	};

	(void)state;
	for (size_t t = 0; t < sizeof(traces) / sizeof(traces[0]); t++) {
		static float rows[MAX_ROWS * 12];
		struct learn_result result;
		struct capture capture;
		char error[256];
		size_t n = 0;

		if (!find(traces + t, 1))
			skip();
		assert_int_equal(trace_read(paths[0], 0, &capture, error, sizeof(error)), 0);
		learn(capture.record, capture.n, &recipe, "heimdall", &result);
		if (result.error)
			fail_msg("%s", result.text);
		for (size_t i = 0; i < capture.n && n < MAX_ROWS; i++)
			if (capture.record[i].history_len == SEMANTOS_HISTORY)
				encoder->encode(&capture.record[i], rows + 12 * n++);
		agree(result.model, rows, n,
			t == 0	 ? "Heimdall, 537"
			: t == 1 ? "Heimdall, 490"
				 : "Heimdall, 379");
		model_free(result.model);
		capture_free(&capture);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(linnos_digits),
		cmocka_unit_test(mllb_rows),
		cmocka_unit_test(kml_rows),
		cmocka_unit_test(heimdall_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
