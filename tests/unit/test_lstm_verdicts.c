// SPDX-License-Identifier: Apache-2.0
/*
 * test_lstm_verdicts.c - the likeliest class is that of double precision for at least 99.9 % of many sequences, and its
 * probability nearly so, by every engine: a published stack (1025 inputs and classes, twice 128 units) on the pages of two
 * recorded programs, and one of Kleio's size with random weights on random sequences (2,000; 100,000 with
 * SEMANTOS_SOAK=1). The published one has one or two classes for nearly everything.
 *
 * timeout: 900
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "agent/infer/lstm.h"
#include "agent/infer/random.h"
#include "cpu_engines.h"
#include "data.h"
#include "lstm_reference.h"

#define STEPS 6
#define LEAST 0.999

/* Memory is what the sanitizers look at, and the reference takes ten times as long with them. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RECORDED 200
#define RANDOM 200
#endif
#endif
#ifndef RECORDED
#define RECORDED 2000 /* sequences of a trace */
#define RANDOM (getenv("SEMANTOS_SOAK") ? 100000 : 2000)
#endif

static void agree(const struct lstm_model *model, const uint32_t *hot, size_t n, const char *name)
{
	static const char *const engines[] = { "scalar", "avx2", "avx512", "avx512-bf16" };
	double expected[LSTM_REFERENCE_WIDEST];
	uint32_t *wanted = malloc(n * sizeof(*wanted)), *best = malloc(n * sizeof(*best));
	float *probability = malloc(n * model->classes * sizeof(*probability));
	float *likely = malloc(n * sizeof(*likely));
	bool seen[LSTM_REFERENCE_WIDEST] = { false };
	size_t classes = 0;

	assert_true(wanted && best && probability && likely);
	for (size_t r = 0; r < n; r++) {
		lstm_reference(model, NULL, hot + r * STEPS, expected);
		wanted[r] = 0;
		for (uint32_t c = 1; c < model->classes; c++)
			wanted[r] = expected[c] > expected[wanted[r]] ? c : wanted[r];
		likely[r] = (float)expected[wanted[r]];
		classes += !seen[wanted[r]];
		seen[wanted[r]] = true;
	}
	print_message("  %s: %zu different classes\n", name, classes);
	for (size_t e = 0; e < sizeof(engines) / sizeof(engines[0]); e++) {
		struct lstm_scratch *scratch;
		struct lstm_plan *plan;
		double worst = 0;
		size_t same = 0;

		if (!cpu_has_engine(engines[e]))
			continue;
		setenv("SEMANTOS_INFER", engines[e], 1);
		plan = lstm_prepare(model);
		unsetenv("SEMANTOS_INFER");
		scratch = lstm_scratch_new(plan);
		assert_string_equal(lstm_engine(plan), engines[e]);
		assert_int_equal(lstm_run_hot(plan, scratch, hot, n, probability, best), 0);
		for (size_t r = 0; r < n; r++) {
			same += best[r] == wanted[r];
			worst = fmax(
				worst, fabs((double)probability[r * model->classes + wanted[r]] -
					       (double)likely[r]));
		}
		print_message(
			"  %s by %s: %zu of %zu classes agree, their probabilities within %.2g, "
			"%.2f %% run again\n",
			name, engines[e], same, n, worst,
			100.0 * (double)lstm_recomputed(scratch) / (double)n);
		assert_true((double)same >= LEAST * (double)n);
		assert_true(worst < (strcmp(engines[e], "avx512-bf16") == 0 ? 0.03 : 1e-4));
		lstm_scratch_free(scratch);
		lstm_free(plan);
	}
	free(wanted);
	free(best);
	free(probability);
	free(likely);
}

#define TABLE \
	1025 /* what the published net knows; read here as differences of pages, -512 to 512 */

static uint8_t *read_all(const char *path, size_t n_bytes)
{
	uint8_t *bytes = malloc(n_bytes);
	gzFile in = gzopen(path, "rb");

	assert_true(bytes && in);
	assert_int_equal(gzread(in, bytes, (unsigned)n_bytes), n_bytes);
	gzclose(in);
	return bytes;
}

/* Lines of an address and a letter, to differences of their pages. */
static size_t read_differences(const char *path, uint32_t *to, size_t most)
{
	gzFile in = gzopen(path, "rb");
	long before = 0;
	char line[64];
	size_t n = 0;

	assert_non_null(in);
	while (n < most && gzgets(in, line, sizeof(line))) {
		long page = (long)(strtoul(line, NULL, 16) >> 12), gap = page - before;

		before = page;
		to[n++] = (uint32_t)((gap < -512 ? -512 : gap > 512 ? 512 : gap) + 512);
	}
	gzclose(in);
	return n;
}

static void recorded_pages_get_the_same_class(void **state)
{
	static const char *const names[] = { "page-traces/gcc.trace.gz",
		"page-traces/bzip.trace.gz" };
	enum { N_BYTES = 3418648 };
	char path[512];
	struct lstm_model model = { .n_layers = 2, .steps = STEPS, .classes = TABLE };
	uint32_t *page = malloc(RECORDED * STEPS * sizeof(*page));
	uint8_t *bytes;

	(void)state;
	assert_non_null(page);
	if (!data_path("kleio-lstm/readahead_lstm_v1_10epoch.variables.data-00000-of-00001.gz",
		    path, sizeof(path))) {
		free(page);
		skip();
	}
	bytes = read_all(path, N_BYTES);
	/* Where each tensor begins: as the file's index has it. */
	model.dense = (const float *)bytes;
	model.dense_bias = (const float *)(bytes + 524800);
	model.layer[0] = (struct lstm_layer){ TABLE, 128, (const float *)(bytes + 528920),
		(const float *)(bytes + 2628120), (const float *)(bytes + 2890264) };
	model.layer[1] = (struct lstm_layer){ 128, 128, (const float *)(bytes + 2892312),
		(const float *)(bytes + 3154456), (const float *)(bytes + 3416600) };
	for (size_t t = 0; t < 2; t++) {
		if (!data_path(names[t], path, sizeof(path)))
			continue;
		assert_int_equal(read_differences(path, page, RECORDED * STEPS), RECORDED * STEPS);
		agree(&model, page, RECORDED, t ? "pages of bzip" : "pages of gcc");
	}
	free(bytes);
	free(page);
}

static float *draw(struct random_state *random, size_t n, double spread)
{
	float *values = malloc(n * sizeof(*values));

	assert_non_null(values);
	for (size_t i = 0; i < n; i++)
		values[i] = (float)((2 * random_unit(random) - 1) * spread);
	return values;
}

static void random_sequences_get_the_same_class(void **state)
{
	enum { HOT = 621, UNITS = 256 };
	const size_t n = (size_t)RANDOM;
	struct random_state random = random_seed(11);
	struct lstm_model model = { 2, STEPS, HOT,
		{ { HOT, UNITS, draw(&random, HOT * 4 * UNITS, 0.15),
			  draw(&random, UNITS * 4 * UNITS, 0.15), draw(&random, 4 * UNITS, 0.1) },
			{ UNITS, UNITS, draw(&random, UNITS * 4 * UNITS, 0.15),
				draw(&random, UNITS * 4 * UNITS, 0.15),
				draw(&random, 4 * UNITS, 0.1) } },
		draw(&random, UNITS * HOT, 0.15), draw(&random, HOT, 0.1) };
	uint32_t *hot = malloc(n * STEPS * sizeof(*hot));

	(void)state;
	assert_non_null(hot);
	for (size_t i = 0; i < n * STEPS; i++)
		hot[i] = (uint32_t)random_below(&random, HOT);
	agree(&model, hot, n, "Kleio's size");
	for (size_t l = 0; l < 2; l++) {
		free((void *)model.layer[l].kernel);
		free((void *)model.layer[l].recurrent);
		free((void *)model.layer[l].bias);
	}
	free((void *)model.dense);
	free((void *)model.dense_bias);
	free(hot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recorded_pages_get_the_same_class),
		cmocka_unit_test(random_sequences_get_the_same_class),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
