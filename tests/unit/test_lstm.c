// SPDX-License-Identifier: Apache-2.0
/*
 * test_lstm.c - LSTM stacks agree with a double-precision reference by every engine: probabilities, the likeliest class,
 * one-hot and dense inputs, widths that fill no vector, any number of sequences.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <malloc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/lstm.h"
#include "agent/infer/random.h"
#include "cpu_engines.h"
#include "lstm_reference.h"

static const char *const engines[] = { "scalar", "avx2", "avx512", "avx512-bf16" };
#define N_ENGINES (sizeof(engines) / sizeof(engines[0]))

struct shape {
	uint32_t n_layers, widths[4], steps, classes; /* widths: inputs, units of each layer */
	size_t n;
};

static const struct shape shapes[] = {
	{ 2, { 621, 256, 256 }, 6, 621, 30 }, /* Kleio */
	{ 1, { 1, 1 }, 1, 1, 3 },
	{ 1, { 7, 5 }, 3, 2, 26 },
	{ 3, { 33, 17, 40, 9 }, 5, 31, 49 },
};
#define N_SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static float *draw(struct random_state *random, size_t n, double spread)
{
	float *values = malloc(n * sizeof(*values));

	assert_non_null(values);
	for (size_t i = 0; i < n; i++)
		values[i] = (float)((2 * random_unit(random) - 1) * spread);
	return values;
}

/* Uniform within +-sqrt(6 / (in + out)), the usual start of training, times four so that gates open and close. */
static struct lstm_model make(const struct shape *shape)
{
	struct random_state random = random_seed(shape->steps);
	struct lstm_model model = {
		.n_layers = shape->n_layers, .steps = shape->steps, .classes = shape->classes
	};
	uint32_t units = 0;

	for (uint32_t l = 0; l < shape->n_layers; l++) {
		uint32_t inputs = shape->widths[l];

		units = shape->widths[l + 1];
		model.layer[l] = (struct lstm_layer){ inputs, units,
			draw(&random, (size_t)inputs * 4 * units, 4 * sqrt(6.0 / (inputs + units))),
			draw(&random, (size_t)units * 4 * units, 4 * sqrt(3.0 / units)),
			draw(&random, 4 * (size_t)units, 1) };
	}
	model.dense = draw(
		&random, (size_t)units * shape->classes, 4 * sqrt(6.0 / (units + shape->classes)));
	model.dense_bias = draw(&random, shape->classes, 0.1);
	return model;
}

static void unmake(struct lstm_model *model)
{
	for (uint32_t l = 0; l < model->n_layers; l++) {
		free((void *)model->layer[l].kernel);
		free((void *)model->layer[l].recurrent);
		free((void *)model->layer[l].bias);
	}
	free((void *)model->dense);
	free((void *)model->dense_bias);
}

static struct lstm_plan *prepare(const struct lstm_model *model, const char *engine)
{
	struct lstm_plan *plan;

	setenv("SEMANTOS_INFER", engine, 1);
	plan = lstm_prepare(model);
	unsetenv("SEMANTOS_INFER");
	assert_non_null(plan);
	if (strcmp(lstm_engine(plan), engine) == 0)
		return plan;
	print_message("  this CPU has no %s\n", engine);
	assert_false(cpu_has_engine(engine));
	lstm_free(plan);
	return NULL;
}

static void check(const struct shape *shape, const char *engine, bool one_hot)
{
	struct lstm_model model = make(shape);
	struct lstm_plan *plan = prepare(&model, engine);
	struct lstm_scratch *scratch = plan ? lstm_scratch_new(plan) : NULL;
	struct random_state random = random_seed(5);
	size_t n = shape->n, steps = shape->steps, inputs = shape->widths[0];
	float *x = draw(&random, n * steps * inputs, 1);
	uint32_t *hot = malloc(n * steps * sizeof(*hot)), *best = malloc(n * sizeof(*best));
	float *probability = malloc(n * shape->classes * sizeof(float));
	double worst = 0, expected[LSTM_REFERENCE_WIDEST];
	size_t agree = 0;

	for (size_t i = 0; i < n * steps; i++) {
		hot[i] = (uint32_t)random_below(&random, inputs);
		if (one_hot)
			for (size_t k = 0; k < inputs; k++)
				x[i * inputs + k] = k == hot[i];
	}
	if (plan) {
		if (one_hot)
			assert_int_equal(lstm_run_hot(plan, scratch, hot, n, probability, best), 0);
		else
			assert_int_equal(lstm_run(plan, scratch, x, n, probability, best), 0);
		for (size_t r = 0; r < n; r++) {
			uint32_t most = 0;

			lstm_reference(&model, x + r * steps * inputs, NULL, expected);
			for (uint32_t c = 0; c < shape->classes; c++) {
				most = expected[c] > expected[most] ? c : most;
				worst = fmax(worst,
					fabs(expected[c] - probability[r * shape->classes + c]));
			}
			agree += best[r] == most;
		}
		print_message(
			"  %u classes, %s, %s: %zu of %zu agree, error %.2g, %llu run again\n",
			shape->classes, engine, one_hot ? "one-hot" : "dense", agree, n, worst,
			(unsigned long long)lstm_recomputed(scratch));
		assert_int_equal(agree, n);
		assert_true(worst < (strcmp(engine, "avx512-bf16") == 0 ? 0.03 : 1e-4));
		/* One at a time, nothing changes but roundings. */
		if (strcmp(engine, "avx512-bf16") != 0) {
			assert_int_equal(one_hot ? lstm_run_hot(plan, scratch, hot + steps, 1,
							   probability, NULL)
						 : lstm_run(plan, scratch, x + steps * inputs, 1,
							   probability, NULL),
				0);
			lstm_reference(&model, x + steps * inputs, NULL, expected);
			for (uint32_t c = 0; c < shape->classes; c++)
				assert_true(fabs(expected[c] - probability[c]) < 1e-4);
		}
	}
	lstm_scratch_free(scratch);
	lstm_free(plan);
	unmake(&model);
	free(x);
	free(hot);
	free(best);
	free(probability);
}

static void one_hot_sequences_agree(void **state)
{
	(void)state;
	for (size_t s = 0; s < N_SHAPES; s++)
		for (size_t e = 0; e < N_ENGINES; e++)
			check(&shapes[s], engines[e], true);
}

static void dense_sequences_agree(void **state)
{
	(void)state;
	for (size_t s = 1; s < N_SHAPES; s++)
		for (size_t e = 0; e < N_ENGINES; e++)
			check(&shapes[s], engines[e], false);
}

/* 4,096 sequences at once, and the same ones in calls of every size from one to ninety: no bit differs. */
static void any_batch_is_its_parts(void **state)
{
	enum { N = 4096 };
	struct lstm_model model = make(&shapes[2]);
	const size_t steps = model.steps, inputs = model.layer[0].inputs;
	struct random_state random = random_seed(8);
	float *x = draw(&random, N * steps * inputs, 1), *whole, *parts;
	uint32_t *best = malloc(2 * N * sizeof(*best));

	(void)state;
	whole = malloc((size_t)N * model.classes * sizeof(*whole));
	parts = malloc((size_t)N * model.classes * sizeof(*parts));
	assert_true(whole && parts && best);
	for (size_t e = 0; e < N_ENGINES; e++) {
		struct lstm_plan *plan = prepare(&model, engines[e]);
		struct lstm_scratch *scratch = plan ? lstm_scratch_new(plan) : NULL;

		if (!plan)
			continue;
		assert_int_equal(lstm_run(plan, scratch, x, N, whole, best), 0);
		for (size_t at = 0, n = 1; at < N; at += n, n++) {
			n = n < N - at ? n : N - at;
			assert_int_equal(lstm_run(plan, scratch, x + at * steps * inputs, n,
						 parts + at * model.classes, best + N + at),
				0);
		}
		assert_memory_equal(whole, parts, N * model.classes * sizeof(*whole));
		assert_memory_equal(best, best + N, N * sizeof(*best));
		lstm_scratch_free(scratch);
		lstm_free(plan);
	}
	unmake(&model);
	free(x);
	free(whole);
	free(parts);
	free(best);
}

static void the_widest_is_the_default(void **state)
{
	static const char *const all[] = { "scalar", "avx2", "avx512", "avx512-bf16", "amx" };
	struct lstm_model model = make(&shapes[2]);
	struct lstm_plan *plan = lstm_prepare(&model);
	const char *widest = NULL;

	(void)state;
	for (size_t e = 0; e < sizeof(all) / sizeof(all[0]); e++) {
		struct lstm_plan *forced = prepare(&model, all[e]);

		widest = forced ? all[e] : widest;
		lstm_free(forced);
	}
	assert_string_equal(lstm_engine(plan), widest);
	lstm_free(plan);
	unmake(&model);
}

static void running_allocates_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * N_ENGINES; i++) {
		struct lstm_model model = make(&shapes[i < N_ENGINES ? 0 : 3]);
		const size_t n = 49, steps = model.steps, inputs = model.layer[0].inputs;
		struct lstm_plan *plan = prepare(&model, engines[i % N_ENGINES]);
		struct lstm_scratch *scratch = plan ? lstm_scratch_new(plan) : NULL;
		struct random_state random = random_seed(i);
		float *x = draw(&random, n * steps * inputs, 1);
		uint32_t *hot = malloc(n * steps * sizeof(*hot)), *best = malloc(n * sizeof(*best));
		float *probability = malloc(n * model.classes * sizeof(float));
		struct mallinfo2 before, after;

		assert_true(hot && best && probability);
		for (size_t k = 0; k < n * steps; k++)
			hot[k] = (uint32_t)random_below(&random, inputs);
		before = mallinfo2();
		for (size_t k = 1; plan && k <= n; k += 8) {
			assert_int_equal(lstm_run_hot(plan, scratch, hot, k, probability, best), 0);
			assert_int_equal(lstm_run(plan, scratch, x, k, probability, best), 0);
		}
		after = mallinfo2();
		assert_int_equal(before.uordblks, after.uordblks);
		assert_int_equal(before.hblkhd, after.hblkhd);
		lstm_scratch_free(scratch);
		lstm_free(plan);
		unmake(&model);
		free(x);
		free(hot);
		free(best);
		free(probability);
	}
}

static void wrong_calls_are_refused(void **state)
{
	struct lstm_model model = make(&shapes[2]), bad = model;
	struct lstm_plan *plan = lstm_prepare(&model);
	struct lstm_scratch *scratch = lstm_scratch_new(plan);
	uint32_t hot[] = { 0, 6, 7 }, best[1];

	(void)state;
	assert_int_equal(lstm_run_hot(plan, scratch, hot, 1, NULL, best), -EINVAL);
	bad.steps = 0;
	assert_null(lstm_prepare(&bad));
	assert_int_equal(errno, EINVAL);
	bad = model;
	bad.layer[0].units = LSTM_MAX_WIDTH + 1;
	assert_null(lstm_prepare(&bad));
	lstm_scratch_free(scratch);
	lstm_scratch_free(NULL);
	lstm_free(plan);
	lstm_free(NULL);
	unmake(&model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_hot_sequences_agree),
		cmocka_unit_test(dense_sequences_agree),
		cmocka_unit_test(any_batch_is_its_parts),
		cmocka_unit_test(the_widest_is_the_default),
		cmocka_unit_test(running_allocates_nothing),
		cmocka_unit_test(wrong_calls_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
