// SPDX-License-Identifier: Apache-2.0
/*
 * test_engines_recorded.c - published weights on recorded rows: every engine's verdicts agree with double precision on at
 * least 99.9 % of them, the 8-bit twin's too, and how many of its rows were computed again is printed.
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
#include "agent/infer/import.h"
#include "agent/infer/infer.h"
#include "engine_nets.h"
#include "data.h"

#define MAX_ROWS 8192
#define MAX_PATHS 4

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

static void linnos_digits(void **state)
{
	static const char *const weights[] = { "linnos-lake/weights/float_c47a304_bias_0.csv.gz",
		"linnos-lake/weights/float_c47a304_bias_1.csv.gz",
		"linnos-lake/weights/float_c47a304_weight_0.csv.gz",
		"linnos-lake/weights/float_c47a304_weight_1.csv.gz" };
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(linnos_digits),
		cmocka_unit_test(mllb_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
