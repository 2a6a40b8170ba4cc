// SPDX-License-Identifier: Apache-2.0
/*
 * test_amx.c - the AMX engine's machine code: products, nets, LSTMs and neighbours, against plain C; and that it is never
 * chosen where CPU and kernel have not both agreed. Where the CPU has no AMX every tile instruction is emulated
 * (amx_emulator.h), and the output says so: this shows that answers are right, and nothing about speed.
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
#include "agent/infer/amx.h"
#include "agent/infer/bf16.h"
#include "agent/infer/engine.h"
#include "agent/infer/infer.h"
#include "agent/infer/knn.h"
#include "agent/infer/lstm.h"
#include "agent/infer/random.h"
#include "amx_emulator.h"
#include "engine_nets.h"

static bool (*really_usable)(void);

static void force(const char *engine)
{
	if (engine)
		setenv("SEMANTOS_INFER", engine, 1);
	else
		unsetenv("SEMANTOS_INFER");
}

/*
 * Nothing below runs without the AVX-512 half of the engine, which is not emulated. cmocka takes the signal of illegal
 * instructions for itself before each test, so each takes it back here.
 */
static bool have_rest(void)
{
	if (!really_usable())
		amx_emulate();
	if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512bf16"))
		return true;
	puts("skipped: this CPU has no AVX-512 BF16, which the AMX engine needs beside the tiles");
	return false;
}

static void chosen_only_with_consent(void **state)
{
	struct model *model = nets_make(&nets[3], 1);
	struct infer_plan *plan;

	(void)state;
	for (int forced = 0; forced < 2; forced++) {
		amx_usable = amx_no;
		force(forced ? "amx" : NULL);
		plan = infer_prepare(model, 100, INFER_QUICK);
		assert_string_not_equal(infer_engine(plan), "amx");
		infer_free(plan);
		/* as on this machine: the same, where it has none */
		amx_usable = really_usable;
		if (!really_usable()) {
			plan = infer_prepare(model, 100, INFER_QUICK);
			assert_string_not_equal(infer_engine(plan), "amx");
			infer_free(plan);
		}
	}
	force(NULL);
	model_free(model);
	if (!have_rest())
		skip();
	amx_usable = amx_yes;
	model = nets_make(&nets[3], 1);
	plan = infer_prepare(model, 100, INFER_QUICK);
	assert_string_equal(infer_engine(plan), "amx");
	infer_free(plan);
	force("avx512");
	plan = infer_prepare(model, 100, INFER_QUICK);
	assert_string_equal(infer_engine(plan), "avx512");
	infer_free(plan);
	force(NULL);
	model_free(model);
}

/* Small whole numbers: bfloat16 holds them and every sum is exact, so one wrong element shows. */
static void products_are_exact(void **state)
{
	static const size_t sizes[][3] = { { 1, 16, 1 }, { 16, 64, 16 }, { 17, 80, 17 },
		{ 32, 48, 5 }, { 33, 144, 40 }, { 2, 256, 128 } };
	struct random_state random = random_seed(5);

	(void)state;
	if (!have_rest())
		skip();
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		size_t m = sizes[s][0], n = sizes[s][1], half = sizes[s][2], k = 2 * half;
		float *b = gemm_alloc(k * n), *c = gemm_alloc(m * n);
		uint32_t *packed = (uint32_t *)gemm_alloc(bf16_packed_words(k, n));
		uint32_t *pairs = (uint32_t *)gemm_alloc(m * half);
		int *a = calloc(m * k, sizeof(*a));

		for (size_t i = 0; i < k * n; i++)
			b[i] = (float)random_below(&random, 17) - 8;
		for (size_t i = 0; i < m * k; i++) {
			float value = (float)(a[i] = (int)random_below(&random, 17) - 8);
			uint32_t bits;

			memcpy(&bits, &value, sizeof(bits));
			pairs[i / 2] |= i % 2 ? bits & 0xffff0000 : bits >> 16;
		}
		bf16_pack(b, k, n, packed);
		for (size_t i = 0; i < m * n; i++)
			c[i] = (float)(i % 5);
		amx_bf16_product(m, n, half, pairs, packed, c);
		for (size_t i = 0; i < m * n; i++) {
			float expected = (float)(i % 5);

			for (size_t p = 0; p < k; p++)
				expected += (float)a[i / n * k + p] * b[p * n + i % n];
			assert_true(c[i] == expected);
		}
		free(a);
		free(b);
		free(c);
		free(packed);
		free(pairs);
	}
}

/* Halves round to even after each addition, denormals vanish, whichever way they arise. */
static void rounding_is_the_manuals(void **state)
{
	static const struct {
		float start, a[2], b[2], expected;
	} cases[] = {
		{ 0x1p24f, { 1, 0 }, { 1, 0 }, 0x1p24f }, /* tie, to even */
		{ 0x1p24f + 2, { 1, 0 }, { 1, 0 }, 0x1p24f + 4 },
		{ 0, { 0x1p24f, 1 }, { 1, 1 }, 0x1p24f }, /* the two streams meet first */
		{ 0x1p-130f, { 0, 0 }, { 0, 0 }, 0 },
		{ 0, { 0x1p-70f, 0 }, { 0x1p-60f, 0 }, 0 },
		{ 0, { 0x1p-130f, 0 }, { 0x1p100f, 0 }, 0 },
		{ 1, { 0x1p-60f, 0 }, { 0x1p-60f, 0 }, 1 },
	};

	(void)state;
	if (!have_rest())
		skip();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		float b[32] = { 0 }, c[16];
		uint32_t packed[BF16_PANEL] __attribute__((aligned(64))), low, high, pair;

		for (size_t n = 0; n < 16; n++) {
			b[n] = cases[i].b[0];
			b[16 + n] = cases[i].b[1];
			c[n] = cases[i].start;
		}
		memcpy(&low, &cases[i].a[0], 4);
		memcpy(&high, &cases[i].a[1], 4);
		pair = low >> 16 | (high & 0xffff0000);
		bf16_pack(b, 2, 16, packed);
		amx_bf16_product(1, 16, 1, &pair, packed, c);
		for (size_t n = 0; n < 16; n++)
			assert_true(c[n] == cases[i].expected);
	}
}

static void nets_agree(void **state)
{
	enum { ROWS = 1500 };

	(void)state;
	if (!have_rest())
		skip();
	force("amx");
	for (size_t s = 0; s < N_NETS; s++) {
		struct model *model = nets_make(&nets[s], s);
		uint32_t width = model_inputs(model);
		float *rows = malloc(ROWS * width * sizeof(float)), scores[ROWS], bound;
		double *expected = malloc(ROWS * sizeof(double)), y[4], sum = 0, worst = 0;
		struct random_state random = random_seed(s + 70);
		struct infer_scratch *scratch;
		struct infer_plan *plan;
		size_t agree = 0, step = 1;

		/* two layers of 256 at once are emulated for long and say nothing that one does not */
		if (s == 2 && !getenv("SEMANTOS_SOAK")) {
			model_free(model);
			free(rows);
			free(expected);
			continue;
		}
		assert_true(rows && expected);
		nets_fill(&nets[s], &random, rows, ROWS);
		for (size_t r = 0; r < ROWS; r++) {
			nets_reference(model, rows + r * width, y);
			expected[r] = model_outputs(model) == 2 ? y[1] - y[0] : y[0];
			sum += expected[r];
		}
		model->decision_threshold = (float)(sum / ROWS);
		plan = infer_prepare(model, ROWS, INFER_QUICK);
		scratch = infer_scratch_new(plan);
		assert_true(plan && scratch);
		if (strcmp(infer_engine(plan), "amx") == 0) {
			/* batches of all sizes: 8, 9, ... */
			for (size_t at = 0; at < ROWS; at += step) {
				step = at % 61 + 8 < ROWS - at ? at % 61 + 8 : ROWS - at;
				assert_int_equal(infer_run(plan, scratch, rows + at * width, step,
							 scores + at),
					0);
			}
			bound = infer_error_bound(plan, nets[s].x_max);
			for (size_t r = 0; r < ROWS; r++) {
				agree += (scores[r] >= model->decision_threshold) ==
					 (expected[r] >= model->decision_threshold);
				worst = fmax(worst, fabs(scores[r] - expected[r]));
			}
			print_message("  %s: %zu of %d verdicts agree, error %.2g, bound %.2g, "
				      "%.2f %% computed again\n",
				nets[s].name, agree, ROWS, worst, (double)bound,
				100.0 * (double)infer_recomputed(scratch) / ROWS);
			assert_true(agree >= 0.999 * ROWS && worst <= bound);
			assert_true(infer_recomputed(scratch) < ROWS / 4);
		}
		infer_scratch_free(scratch);
		infer_free(plan);
		model_free(model);
		free(rows);
		free(expected);
	}
	force(NULL);
}

static float *draw(struct random_state *random, size_t n, double spread)
{
	float *values = malloc(n * sizeof(*values));

	for (size_t i = 0; i < n; i++)
		values[i] = (float)((2 * random_unit(random) - 1) * spread);
	return values;
}

static void sequences_agree(void **state)
{
	enum { HOT = 37, UNITS = 40, STEPS = 3, N = 50 };
	struct random_state random = random_seed(3);
	struct lstm_model model = { 2, STEPS, HOT,
		{ { HOT, UNITS, draw(&random, HOT * 4 * UNITS, 0.4),
			  draw(&random, UNITS * 4 * UNITS, 0.4), draw(&random, 4 * UNITS, 0.1) },
			{ UNITS, UNITS, draw(&random, UNITS * 4 * UNITS, 0.4),
				draw(&random, UNITS * 4 * UNITS, 0.4),
				draw(&random, 4 * UNITS, 0.1) } },
		draw(&random, UNITS * HOT, 0.6), draw(&random, HOT, 0.1) };
	static const char *const engines[] = { "scalar", "amx" };
	static float probability[2][N * HOT];
	uint32_t hot[N * STEPS], best[2][N];

	(void)state;
	for (size_t i = 0; i < N * STEPS; i++)
		hot[i] = (uint32_t)random_below(&random, HOT);
	for (size_t e = 0; have_rest() && e < 2; e++) {
		struct lstm_plan *plan;
		struct lstm_scratch *scratch;

		force(engines[e]);
		plan = lstm_prepare(&model);
		scratch = lstm_scratch_new(plan);
		assert_true(plan && scratch);
		assert_string_equal(lstm_engine(plan), engines[e]);
		assert_int_equal(lstm_run_hot(plan, scratch, hot, N, probability[e], best[e]), 0);
		lstm_scratch_free(scratch);
		lstm_free(plan);
	}
	force(NULL);
	/* Without the rest of what the engine needs nothing was computed. */
	for (size_t i = 0; have_rest() && i < N; i++)
		assert_int_equal(best[0][i], best[1][i]);
	for (size_t i = 0; have_rest() && i < N * HOT; i++)
		assert_true(fabsf(probability[0][i] - probability[1][i]) < 0.01f);
	for (size_t l = 0; l < 2; l++) {
		free((void *)model.layer[l].kernel);
		free((void *)model.layer[l].recurrent);
		free((void *)model.layer[l].bias);
	}
	free((void *)model.dense);
	free((void *)model.dense_bias);
}

static void neighbours_are_identical(void **state)
{
	static const size_t sizes[][3] = { { 700, 128, 16 }, { 200, 70, 5 }, { 300, 3, 9 } };

	(void)state;
	for (size_t s = 0; have_rest() && s < 3; s++) {
		size_t n = sizes[s][0], width = sizes[s][1], k = sizes[s][2], queries = 20;
		struct random_state random = random_seed(s);
		float *rows = draw(&random, n * width, 1),
		      *query = draw(&random, queries * width, 1);
		struct knn_neighbour *found[2];
		static const char *const engines[] = { "scalar", "amx" };

		/* ties: a few numbers only */
		for (size_t i = 0; s == 2 && i < n * width; i++)
			rows[i] = rintf(rows[i]);
		for (size_t e = 0; e < 2; e++) {
			struct knn_set *set;
			struct knn_scratch *scratch;

			force(engines[e]);
			set = knn_new(rows, NULL, n, width);
			scratch = knn_scratch_new(set);
			found[e] = calloc(queries * k, sizeof(*found[e]));
			assert_string_equal(knn_engine(set), engines[e]);
			assert_int_equal(knn_search(set, scratch, query, queries, k, found[e]), 0);
			if (e)
				assert_true(knn_measured(scratch) < queries * n / 2 || s == 2);
			knn_scratch_free(scratch);
			knn_free(set);
		}
		for (size_t i = 0; i < queries * k; i++)
			assert_int_equal(found[0][i].index, found[1][i].index);
		free(found[0]);
		free(found[1]);
		free(rows);
		free(query);
	}
	force(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(chosen_only_with_consent),
		cmocka_unit_test(products_are_exact),
		cmocka_unit_test(rounding_is_the_manuals),
		cmocka_unit_test(nets_agree),
		cmocka_unit_test(sequences_agree),
		cmocka_unit_test(neighbours_are_identical),
	};
	int failed;

	really_usable = amx_usable;
	puts(really_usable() ? "AMX of this CPU, not emulated" : "AMX emulated: this CPU has none");
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (!really_usable())
		printf("AMX emulated: %llu instructions\n", (unsigned long long)amx.executed);
	return failed;
}
