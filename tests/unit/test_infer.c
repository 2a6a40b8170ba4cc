// SPDX-License-Identifier: Apache-2.0
/*
 * test_infer.c - the engine agrees with a double-precision reference within its own stated bound, integer plans agree
 * exactly, a batch changes a row's answer by rounding only, and running allocates nothing.
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
#include "agent/infer/infer.h"
#include "agent/infer/random.h"

#define MAX_ROWS 100
#define MAX_WIDE 300

struct shape {
	uint32_t widths[6], n_widths;
	float x_max;
	bool scaled, digits;
	enum model_activation hidden;
};

static const struct shape shapes[] = {
	{ { 31, 256, 2 }, 3, 9, false, true, MODEL_RELU }, /* LinnOS */
	{ { 31, 256, 256, 2 }, 4, 9, false, true, MODEL_RELU }, /* LinnOS+1 */
	{ { 12, 128, 16, 1 }, 4, 0x1p24f, true, false, MODEL_RELU }, /* Heimdall */
	{ { 15, 10, 1 }, 3, 1000, false, false, MODEL_RELU }, /* MLLB */
	{ { 5, 15, 5, 4 }, 4, 100000, true, false, MODEL_SIGMOID }, /* KML */
	{ { 1, 1 }, 2, 65535, true, false, MODEL_RELU },
	{ { 3, 2 }, 2, 1, false, false, MODEL_RELU },
	{ { 17, 5, 33, 3, 2 }, 5, 2, true, false, MODEL_LINEAR },
};
#define N_SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static struct model *make(const struct shape *shape, uint64_t seed)
{
	struct model *model = model_new("m", "e", shape->widths, shape->n_widths);
	struct random_state random = random_seed(seed);

	assert_non_null(model);
	for (uint32_t l = 0; l < model->n_layers; l++) {
		struct model_layer *layer = &model->layer[l];

		if (l + 1 < model->n_layers)
			layer->activation = shape->hidden;
		for (uint32_t i = 0; i < layer->inputs * layer->outputs; i++)
			layer->weight[i] =
				(float)(4 * random_unit(&random) - 2) / sqrtf((float)layer->inputs);
		for (uint32_t o = 0; o < layer->outputs; o++)
			layer->bias[o] = (float)(random_unit(&random) - 0.5);
	}
	if (!shape->scaled)
		return model;
	model->mean = calloc(shape->widths[0], sizeof(float));
	model->scale = calloc(shape->widths[0], sizeof(float));
	assert_true(model->mean && model->scale);
	for (uint32_t i = 0; i < shape->widths[0]; i++) {
		model->mean[i] = (float)(random_unit(&random) * shape->x_max / 2);
		model->scale[i] = (float)(4 / shape->x_max * (0.5 + random_unit(&random)));
	}
	return model;
}

static void fill(const struct shape *shape, struct random_state *random, float *rows, size_t n)
{
	for (size_t i = 0; i < n * shape->widths[0]; i++)
		rows[i] = shape->digits ? (float)random_below(random, 10)
					: (float)((2 * random_unit(random) - 1) * shape->x_max);
}

/* Straight from the definition, in double. */
static void reference(const struct model *model, const float *row, double *out)
{
	double x[MAX_WIDE], y[MAX_WIDE];

	for (uint32_t i = 0; i < model_inputs(model); i++)
		x[i] = model->mean ? ((double)row[i] - model->mean[i]) * model->scale[i] : row[i];
	for (uint32_t l = 0; l < model->n_layers; l++) {
		const struct model_layer *layer = &model->layer[l];

		for (uint32_t o = 0; o < layer->outputs; o++) {
			y[o] = layer->bias[o];
			for (uint32_t i = 0; i < layer->inputs; i++)
				y[o] += x[i] * (double)layer->weight[o * layer->inputs + i];
			if (layer->activation == MODEL_RELU)
				y[o] = y[o] > 0 ? y[o] : 0;
			else if (layer->activation == MODEL_SIGMOID)
				y[o] = 1 / (1 + exp(-y[o]));
		}
		memcpy(x, y, sizeof(x));
	}
	memcpy(out, x, model_outputs(model) * sizeof(*out));
}

static void float_is_within_its_bound(void **state)
{
	static float rows[MAX_ROWS * 31], outputs[MAX_ROWS * 4], scores[MAX_ROWS];

	(void)state;
	for (size_t s = 0; s < N_SHAPES; s++) {
		struct random_state random = random_seed(100 + s);
		struct model *model = make(&shapes[s], s);
		struct infer_plan *plan = infer_prepare(model, MAX_ROWS, INFER_FLOAT);
		struct infer_scratch *scratch = infer_scratch_new(plan);
		float bound = infer_error_bound(plan, shapes[s].x_max);
		uint32_t n_out = model_outputs(model);
		double worst = 0, largest = 0;

		assert_true(plan && scratch);
		assert_true(isfinite(bound) && bound > 0);
		fill(&shapes[s], &random, rows, MAX_ROWS);
		assert_int_equal(infer_run_outputs(plan, scratch, rows, MAX_ROWS, outputs), 0);
		if (n_out <= 2)
			assert_int_equal(infer_run(plan, scratch, rows, MAX_ROWS, scores), 0);
		for (size_t r = 0; r < MAX_ROWS; r++) {
			double expected[4];

			reference(model, rows + r * shapes[s].widths[0], expected);
			for (uint32_t o = 0; o < n_out; o++) {
				worst = fmax(worst, fabs(outputs[r * n_out + o] - expected[o]));
				largest = fmax(largest, fabs(expected[o]));
			}
			if (n_out == 2)
				worst = fmax(worst, fabs(scores[r] - (expected[1] - expected[0])));
			/* a score may be summed in another order than the output it is */
			if (n_out == 1)
				worst = fmax(worst, fabs(scores[r] - expected[0]));
		}
		print_message("  shape %zu: largest output %.3g, error %.2g, bound %.2g\n", s,
			largest, worst, (double)bound);
		assert_true(worst <= bound);
		/* A bound so loose that it says nothing would pass as well; each layer more widens it. */
		if (shapes[s].n_widths <= 3)
			assert_true(bound < 0.01 * largest + 0.01);
		infer_scratch_free(scratch);
		infer_free(plan);
		model_free(model);
	}
}

/* Terms of one sign, whose roundings pull the same way: near the worst case the bound is made for. */
static void the_bound_holds_where_errors_add_up(void **state)
{
	const uint32_t widths[] = { MAX_WIDE, 1 };
	struct model *model = model_new("m", "e", widths, 2);
	struct infer_plan *plan;
	struct infer_scratch *scratch;
	float row[MAX_WIDE], score;
	double expected, error, worst = 0;

	(void)state;
	for (float value = 0.1f; value < 2; value *= 1.07f) {
		for (int i = 0; i < MAX_WIDE; i++) {
			row[i] = value;
			model->layer[0].weight[i] = 0.7f;
		}
		plan = infer_prepare(model, 1, INFER_FLOAT);
		scratch = infer_scratch_new(plan);
		assert_int_equal(infer_run(plan, scratch, row, 1, &score), 0);
		reference(model, row, &expected);
		error = fabs(score - expected);
		assert_true(error <= infer_error_bound(plan, value));
		worst = fmax(worst, error / expected);
		infer_scratch_free(scratch);
		infer_free(plan);
	}
	/* otherwise this was no hard case */
	assert_true(worst > 4 * 0x1p-24);
	model_free(model);
}

static void batch_size_changes_little(void **state)
{
	const struct shape *shape = &shapes[0];
	static float rows[MAX_ROWS * 31], whole[MAX_ROWS], part[MAX_ROWS];
	struct random_state random = random_seed(3);
	struct model *model = make(shape, 9);
	struct infer_plan *plan = infer_prepare(model, MAX_ROWS, INFER_FLOAT);
	struct infer_scratch *scratch = infer_scratch_new(plan);
	const float bound = infer_error_bound(plan, shape->x_max);

	(void)state;
	model_free(model); /* the plan stands alone */
	fill(shape, &random, rows, MAX_ROWS);
	assert_int_equal(infer_run(plan, scratch, rows, MAX_ROWS, whole), 0);
	for (size_t n = 1; n <= 30; n++) {
		for (size_t at = 0; at + n <= MAX_ROWS; at += n) {
			assert_int_equal(infer_run(plan, scratch, rows + at * 31, n, part), 0);
			for (size_t i = 0; i < n; i++)
				assert_true(fabsf(part[i] - whole[at + i]) <= 2 * bound);
		}
	}
	infer_scratch_free(scratch);
	infer_free(plan);
}

static void integer_is_exact(void **state)
{
	static float rows[MAX_ROWS * 31], scores[MAX_ROWS];
	static int64_t outputs[MAX_ROWS * 2];

	(void)state;
	for (size_t s = 0; s < 2; s++) {
		struct random_state random = random_seed(s);
		struct model *model = make(&shapes[s], 40 + s);
		struct infer_plan *plan;
		struct infer_scratch *scratch;

		assert_null(infer_prepare(model, 1, INFER_INTEGER));
		assert_int_equal(errno, EINVAL);
		assert_int_equal(model_quantise(model), 0);
		plan = infer_prepare(model, MAX_ROWS, INFER_INTEGER);
		scratch = infer_scratch_new(plan);
		assert_true(plan && scratch);
		fill(&shapes[s], &random, rows, MAX_ROWS);
		assert_int_equal(infer_run_integer(plan, scratch, rows, MAX_ROWS, outputs), 0);
		assert_int_equal(infer_run(plan, scratch, rows, MAX_ROWS, scores), 0);
		assert_true(infer_error_bound(plan, 9) == 0);
		for (size_t r = 0; r < MAX_ROWS; r++) {
			__int128 x[MAX_WIDE], y[MAX_WIDE];

			for (uint32_t i = 0; i < 31; i++)
				x[i] = (int)rows[r * 31 + i];
			for (uint32_t l = 0; l < model->n_layers; l++) {
				uint32_t n_in = model->layer[l].inputs,
					 n_out = model->layer[l].outputs;

				for (uint32_t o = 0; o < n_out; o++) {
					y[o] = model->integer[l].bias[o];
					for (uint32_t i = 0; i < n_in; i++)
						y[o] += x[i] *
							model->integer[l].weight[o * n_in + i];
					if (l + 1 < model->n_layers && y[o] < 0)
						y[o] = 0;
				}
				memcpy(x, y, sizeof(x));
			}
			assert_true(x[0] == outputs[2 * r] && x[1] == outputs[2 * r + 1]);
			assert_true(scores[r] == (float)(int64_t)(x[1] - x[0]));
		}
		infer_scratch_free(scratch);
		infer_free(plan);
		model_free(model);
	}
}

static void integer_wraps_without_a_trap(void **state)
{
	const uint32_t widths[] = { 1, 1, 1 };
	struct model *model = model_new("m", "e", widths, 3);
	float rows[4] = { 1e30f, -1e30f, NAN, 3 }, scores[4];
	struct infer_plan *plan;
	struct infer_scratch *scratch;

	(void)state;
	model->layer[0].weight[0] = 1e15f;
	model->layer[1].weight[0] = 1e15f;
	assert_int_equal(model_quantise(model), 0);
	plan = infer_prepare(model, 4, INFER_INTEGER);
	scratch = infer_scratch_new(plan);
	assert_int_equal(infer_run(plan, scratch, rows, 4, scores), 0);
	infer_scratch_free(scratch);
	infer_free(plan);
	model_free(model);
}

static void wrong_calls_are_refused(void **state)
{
	struct model *model = make(&shapes[4], 1);
	float rows[10] = { 0 }, scores[10];
	int64_t integers[8];
	struct infer_plan *plan;
	struct infer_scratch *scratch;

	(void)state;
	assert_null(infer_prepare(model, 0, INFER_FLOAT));
	assert_null(infer_prepare(model, INFER_MAX_BATCH + 1, INFER_FLOAT));
	plan = infer_prepare(model, 2, INFER_FLOAT);
	scratch = infer_scratch_new(plan);
	assert_int_equal(infer_run_outputs(plan, scratch, rows, 0, scores), -EINVAL);
	assert_int_equal(infer_run_outputs(plan, scratch, rows, 3, scores), -EINVAL);
	assert_int_equal(infer_run(plan, scratch, rows, 1, scores), -EINVAL); /* four outputs */
	assert_int_equal(infer_run_integer(plan, scratch, rows, 1, integers), -EINVAL);
	infer_scratch_free(scratch);
	infer_scratch_free(NULL);
	infer_free(plan);
	infer_free(NULL);
	model_free(model);
}

/* Digits and numbers, so both quick twins where the CPU has them. */
static void running_allocates_nothing(void **state)
{
	static float rows[MAX_ROWS * 31], scores[MAX_ROWS];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		const struct shape *shape = &shapes[i < 2 ? 0 : 3];
		struct model *model = make(shape, 1);
		struct infer_plan *plan =
			infer_prepare(model, MAX_ROWS, i % 2 ? INFER_QUICK : INFER_FLOAT);
		struct infer_scratch *scratch = infer_scratch_new(plan);
		struct random_state random = random_seed(i);
		struct mallinfo2 before, after;

		fill(shape, &random, rows, MAX_ROWS);
		before = mallinfo2();
		for (size_t n = 1; n <= MAX_ROWS; n++)
			assert_int_equal(infer_run(plan, scratch, rows, n, scores), 0);
		after = mallinfo2();
		assert_int_equal(before.uordblks, after.uordblks);
		infer_scratch_free(scratch);
		infer_free(plan);
		model_free(model);
	}
}

/* The largest batch there is gives what its parts give, by rounding. */
static void the_largest_batch_is_its_parts(void **state)
{
	static const size_t of_shape[] = { 0, 3 };

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		const struct shape *shape = &shapes[of_shape[i / 2]];
		struct model *model = make(shape, 2);
		struct infer_plan *plan =
			infer_prepare(model, INFER_MAX_BATCH, i % 2 ? INFER_QUICK : INFER_FLOAT);
		struct infer_scratch *scratch = infer_scratch_new(plan);
		size_t width = shape->widths[0];
		float *rows = malloc(INFER_MAX_BATCH * width * sizeof(float));
		float *whole = malloc(INFER_MAX_BATCH * sizeof(float)), part[117];
		float bound = infer_error_bound(plan, shape->x_max);
		struct random_state random = random_seed(i);

		assert_true(rows && whole);
		fill(shape, &random, rows, INFER_MAX_BATCH);
		assert_int_equal(infer_run(plan, scratch, rows, INFER_MAX_BATCH, whole), 0);
		for (size_t at = 0, n; at < INFER_MAX_BATCH; at += n) {
			n = INFER_MAX_BATCH - at < 117 ? INFER_MAX_BATCH - at : 117;
			assert_int_equal(infer_run(plan, scratch, rows + at * width, n, part), 0);
			for (size_t r = 0; r < n; r++)
				assert_true(fabsf(part[r] - whole[at + r]) <= 2 * bound);
		}
		infer_scratch_free(scratch);
		infer_free(plan);
		model_free(model);
		free(rows);
		free(whole);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(float_is_within_its_bound),
		cmocka_unit_test(the_bound_holds_where_errors_add_up),
		cmocka_unit_test(batch_size_changes_little),
		cmocka_unit_test(integer_is_exact),
		cmocka_unit_test(integer_wraps_without_a_trap),
		cmocka_unit_test(wrong_calls_are_refused),
		cmocka_unit_test(running_allocates_nothing),
		cmocka_unit_test(the_largest_batch_is_its_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
