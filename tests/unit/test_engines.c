// SPDX-License-Identifier: Apache-2.0
/*
 * test_engines.c - every engine this CPU has agrees with a double-precision reference: scores within the stated bound,
 * verdicts on 100,000 random rows (LinnOS+1 and +2: on 5,000, all with SEMANTOS_SOAK=1), at any batch size, without a read
 * or write out of place.
 *
 * timeout: 400
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
#include <sys/mman.h>
#include "agent/infer/infer.h"
#include "agent/infer/random.h"
#include "cpu_engines.h"
#include "engine_nets.h"

/* Memory is what the sanitizers look at, and the reference takes ten times as long with them. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MANY 5000
#endif
#endif
#ifndef MANY
#define MANY 100000
#endif
#define SOME 5000 /* of the nets whose reference takes its time; all with SEMANTOS_SOAK=1 */

static const char *const engines[] = { "scalar", "avx2", "avx512" };
#define N_ENGINES (sizeof(engines) / sizeof(engines[0]))

/* A plan by the engine of that name; NULL when this CPU lacks it. */
static struct infer_plan *prepare(
	const struct model *model, const char *engine, enum infer_arithmetic arithmetic)
{
	struct infer_plan *plan;

	setenv("SEMANTOS_INFER", engine, 1);
	plan = infer_prepare(model, INFER_MAX_BATCH, arithmetic);
	unsetenv("SEMANTOS_INFER");
	assert_non_null(plan);
	if (strcmp(infer_engine(plan), engine) == 0)
		return plan;
	/* A twin may also be missing because it does not suit the net. */
	assert_false(arithmetic == INFER_FLOAT && cpu_has_engine(engine));
	infer_free(plan);
	return NULL;
}

static void the_widest_is_the_default(void **state)
{
	struct model *model = nets_make(&nets[0], 1);
	struct infer_plan *plan = infer_prepare(model, 1, INFER_FLOAT);
	const char *widest = "scalar";

	(void)state;
	for (size_t e = 0; e < N_ENGINES; e++) {
		struct infer_plan *forced = prepare(model, engines[e], INFER_FLOAT);

		if (!forced)
			print_message("  this CPU has no %s\n", engines[e]);
		else
			widest = engines[e];
		infer_free(forced);
	}
	assert_string_equal(infer_engine(plan), widest);
	infer_free(plan);
	model_free(model);
}

/* Rows end where a page nobody may touch begins, so does the answer. */
static void any_batch_stays_in_place_and_within_the_bound(void **state)
{
	const size_t page = 4096, most = 1 << 18;
	char *map = mmap(NULL, 2 * (most + page), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *rows_end = map + most, *scores_end = map + 2 * most + page;
	static const size_t batches[] = { 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 31, 32, 33, 47,
		48, 49, 64, 65, 100, 257 };

	(void)state;
	assert_true(map != MAP_FAILED);
	assert_int_equal(mprotect(rows_end, page, PROT_NONE), 0);
	assert_int_equal(mprotect(scores_end, page, PROT_NONE), 0);
	for (size_t s = 0; s < N_NETS; s++) {
		struct model *model = nets_make(&nets[s], s);
		uint32_t width = model_inputs(model), n_out = model_outputs(model);

		for (size_t e = 0; e < N_ENGINES; e++) {
			struct infer_plan *plan = prepare(model, engines[e], INFER_FLOAT);
			struct infer_scratch *scratch = plan ? infer_scratch_new(plan) : NULL;
			float bound = plan ? infer_error_bound(plan, nets[s].x_max) : 0;
			struct random_state random = random_seed(7 + s);

			if (!plan)
				continue;
			for (size_t b = 0; b < sizeof(batches) / sizeof(batches[0]); b++) {
				size_t n = batches[b];
				float *rows = (float *)rows_end - n * width;
				float *out = (float *)scores_end - n * n_out;
				float *scores = (float *)scores_end - n;

				nets_fill(&nets[s], &random, rows, n);
				assert_int_equal(infer_run_outputs(plan, scratch, rows, n, out), 0);
				for (size_t r = 0; r < n; r++) {
					double expected[4];

					nets_reference(model, rows + r * width, expected);
					for (uint32_t o = 0; o < n_out; o++)
						assert_true(fabs(out[r * n_out + o] -
								    expected[o]) <= bound);
				}
				if (n_out > 2)
					continue;
				assert_int_equal(infer_run(plan, scratch, rows, n, scores), 0);
				for (size_t r = 0; r < n; r++) {
					double expected[4];

					nets_reference(model, rows + r * width, expected);
					assert_true(fabs(scores[r] -
							    (n_out == 2 ? expected[1] - expected[0]
									: expected[0])) <= bound);
				}
			}
			infer_scratch_free(scratch);
			infer_free(plan);
		}
		model_free(model);
	}
	munmap(map, 2 * (most + page));
}

/* Scores in double; the caller frees them. */
static double *reference_scores(const struct model *model, const float *rows, size_t n)
{
	double *scores = malloc(n * sizeof(*scores)), y[4];

	assert_non_null(scores);
	for (size_t r = 0; r < n; r++) {
		nets_reference(model, rows + r * model_inputs(model), y);
		scores[r] = model_outputs(model) == 2 ? y[1] - y[0] : y[0];
	}
	return scores;
}

/* Verdicts against the reference's on all rows: prints, returns the share that agrees. */
static double agreement(const struct model *model, struct infer_plan *plan, const float *rows,
	const double *expected, size_t n, const char *name)
{
	struct infer_scratch *scratch = infer_scratch_new(plan);
	float *scores = malloc(n * sizeof(*scores));
	size_t agree = 0, width = model_inputs(model), slow = 0;
	double worst = 0;

	assert_true(scratch && scores);
	for (size_t at = 0; at < n; at += 1000)
		assert_int_equal(infer_run(plan, scratch, rows + at * width,
					 n - at < 1000 ? n - at : 1000, scores + at),
			0);
	for (size_t r = 0; r < n; r++) {
		slow += expected[r] >= model->decision_threshold;
		agree += (scores[r] >= model->decision_threshold) ==
			 (expected[r] >= model->decision_threshold);
		worst = fmax(worst, fabs(scores[r] - expected[r]));
	}
	print_message("  %s by %s: %zu of %zu verdicts agree (%zu slow), error %.2g\n", name,
		infer_engine(plan), agree, n, slow, worst);
	infer_scratch_free(scratch);
	free(scores);
	return (double)agree / (double)n;
}

/* LinnOS+1 and +2 have nine and sixteen times LinnOS's weights, and the made-up nets are no one's claim. */
static size_t rows_of(size_t s)
{
	const bool wide = s == 1 || s == 2;

	return s > 4 || (wide && !getenv("SEMANTOS_SOAK")) ? SOME : MANY;
}

static void all_engines_agree(
	const struct model *model, const float *rows, size_t n, const char *name)
{
	double *expected = reference_scores(model, rows, n);

	for (size_t e = 0; e < N_ENGINES; e++) {
		struct infer_plan *plan = prepare(model, engines[e], INFER_FLOAT);

		if (plan)
			assert_true(agreement(model, plan, rows, expected, n, name) >= 0.999);
		infer_free(plan);
	}
	free(expected);
}

static void verdicts_agree_on_random_rows(void **state)
{
	(void)state;
	for (size_t s = 0; s < 5; s++) {
		struct model *model = nets_make(&nets[s], s);
		size_t n = rows_of(s);
		float *rows = malloc(n * model_inputs(model) * sizeof(float));
		struct random_state random = random_seed(s);

		assert_non_null(rows);
		nets_fill(&nets[s], &random, rows, n);
		all_engines_agree(model, rows, n, nets[s].name);
		free(rows);
		model_free(model);
	}
}

/* One twin of one net; false when this CPU lacks it. */
static bool quick_agrees(const struct net *net, struct model *model, const char *twin,
	const float *rows, const double *expected, size_t n)
{
	struct infer_plan *plan = prepare(model, twin, INFER_QUICK);
	struct infer_scratch *scratch;
	const size_t width = model_inputs(model);
	size_t same = 0, ran = 0;
	uint64_t again;
	float bound, scores[100];

	if (!plan)
		return false;
	scratch = infer_scratch_new(plan);
	assert_non_null(scratch);
	assert_true(agreement(model, plan, rows, expected, n, net->name) >= 0.9999);
	bound = infer_error_bound(plan, net->x_max);
	/* Batches of every size from 1 to 100: blocks that are not full. */
	for (size_t at = 0, step = 1; at + step <= n; at += step, step = step % 100 + 1) {
		assert_int_equal(infer_run(plan, scratch, rows + at * width, step, scores), 0);
		for (size_t r = 0; r < step; r++) {
			assert_true(fabs(scores[r] - expected[at + r]) <= bound);
			same += (scores[r] >= model->decision_threshold) ==
				(expected[at + r] >= model->decision_threshold);
			ran++;
		}
	}
	assert_true((double)same >= 0.9999 * (double)ran);
	again = infer_recomputed(scratch);
	print_message("  %s: %.2f %% of rows computed again, bound %.2g\n", net->name,
		100.0 * (double)again / (double)ran, (double)bound);
	if (net->digits)
		assert_true(again > 0 && again < ran / 8);
	infer_scratch_free(scratch);
	infer_free(plan);
	return true;
}

/* The twins in fewer bits where the CPU has them: verdicts stay, few rows are computed again. */
static void quick_verdicts_agree_on_random_rows(void **state)
{
	static const char *const twins[] = { "avx512-vnni", "avx512-bf16" };
	bool any = false;

	(void)state;
	for (size_t s = 0; s < N_NETS; s++) {
		struct model *model = nets_make(&nets[s], s);
		size_t n = rows_of(s);
		float *rows = malloc(n * model_inputs(model) * sizeof(float));
		struct random_state random = random_seed(s + 50);
		double *expected, sum = 0;

		assert_non_null(rows);
		nets_fill(&nets[s], &random, rows, n);
		expected = reference_scores(model, rows, n);
		/* Half of the rows on either side, so that there are near ones. */
		for (size_t r = 0; r < n; r++)
			sum += expected[r];
		model->decision_threshold = (float)(sum / (double)n);
		for (size_t t = 0; t < 2; t++)
			any |= quick_agrees(&nets[s], model, twins[t], rows, expected, n);
		free(expected);
		free(rows);
		model_free(model);
	}
	if (!any) {
		puts("skipped: this CPU has neither AVX-512 VNNI nor AVX-512 BF16");
		skip();
	}
}

/* Rows the 8-bit twin for digits cannot take are left to the others, whichever row of a block it is. */
static void what_is_not_whole_is_left_to_others(void **state)
{
	static const float odd[] = { 0.5f, -1, 128, 1e30f, -0x1p-20f };
	struct model *model = nets_make(&nets[0], 3);
	struct infer_plan *plan = prepare(model, "avx512-vnni", INFER_QUICK);
	struct infer_scratch *scratch;
	struct random_state random = random_seed(9);
	float rows[33 * 31], scores[33];

	(void)state;
	if (!plan) {
		puts("skipped: this CPU has no AVX-512 VNNI");
		model_free(model);
		skip();
	}
	scratch = infer_scratch_new(plan);
	for (size_t i = 0; i < 31 * 32; i += 5) {
		double y[4];
		float bound = infer_error_bound(plan, fmaxf(fabsf(odd[i % 5]), 9));

		nets_fill(&nets[0], &random, rows, 33);
		rows[i] = odd[i % 5];
		assert_int_equal(infer_run(plan, scratch, rows, 33, scores), 0);
		for (size_t r = 0; r < 33; r++) {
			double expected;

			nets_reference(model, rows + r * 31, y);
			expected = y[1] - y[0];
			assert_true(fabs(scores[r] - expected) <= (double)bound);
			if (fabs(expected - model->decision_threshold) > 1e-4)
				assert_true((scores[r] >= model->decision_threshold) ==
					    (expected >= model->decision_threshold));
		}
	}
	infer_scratch_free(scratch);
	infer_free(plan);
	model_free(model);
}

/*
 * One step for a block of rows: when one row is a million times the others, they lose all their bits and must be
 * answered in floats; a number that is none spoils no row but its own. Many rows lie close to the threshold.
 */
static void rows_of_all_magnitudes_share_a_block(void **state)
{
	const size_t n = 4096, width = 12;
	struct model *model = nets_make(&nets[3], 5);
	struct infer_plan *plan;
	struct infer_scratch *scratch;
	struct random_state random = random_seed(4);
	float *rows = malloc(n * width * sizeof(float)), *scores = malloc(n * sizeof(float));
	size_t same = 0, finite = 0;
	double y[4];

	(void)state;
	assert_true(rows && scores);
	for (size_t i = 0; i < n * width; i++) {
		/* as scaled, and back; one row in 61 is far beyond the rest */
		size_t r = i / width;
		double x = (2 * random_unit(&random) - 1) *
			   exp2(r % 61 == 0 ? 20 : (double)(r % 6) - 2);

		rows[i] = (float)(x / (double)model->scale[i % width] +
				  (double)model->mean[i % width]);
	}
	/* In the middle of what the rows near it get. */
	nets_reference(model, rows + width, y);
	model->decision_threshold = (float)y[0];
	plan = prepare(model, "avx512-vnni", INFER_QUICK);
	scratch = plan ? infer_scratch_new(plan) : NULL;
	for (size_t r = 100; r < n; r += 257)
		rows[r * width + r % width] = r % 2 ? NAN : INFINITY;
	for (size_t at = 0; plan && at < n; at += 32)
		assert_int_equal(infer_run(plan, scratch, rows + at * width, 32, scores + at), 0);
	for (size_t r = 0; plan && r < n; r++) {
		bool whole = true;

		for (size_t i = 0; i < width; i++)
			whole &= isfinite(rows[r * width + i]) != 0;
		if (!whole)
			continue;
		finite++;
		nets_reference(model, rows + r * width, y);
		same += (scores[r] >= model->decision_threshold) ==
			(y[0] >= model->decision_threshold);
	}
	if (plan) {
		print_message("  %zu of %zu verdicts agree, %llu rows computed again\n", same,
			finite, (unsigned long long)infer_recomputed(scratch));
		assert_true(finite > n - 20 && infer_recomputed(scratch) > 0);
		assert_true((double)same >= 0.999 * (double)finite);
	}
	infer_scratch_free(scratch);
	infer_free(plan);
	model_free(model);
	free(rows);
	free(scores);
	if (!plan) {
		puts("skipped: this CPU has no AVX-512 VNNI");
		skip();
	}
}

/* A block that is not full is filled up with zeros: nothing of those is answered, near the threshold though they are. */
static void rows_that_are_not_there_have_no_answer(void **state)
{
	static const size_t which[] = { 0, 1, 3, 4 }; /* for every twin */
	static const char *const twins[] = { "avx512-vnni", "avx512-bf16" };
	bool any = false;

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(which) / sizeof(which[0]); i++) {
		const struct net *net = &nets[which[i / 2]];
		struct model *model = nets_make(net, 2);
		struct random_state random = random_seed(6);
		struct infer_scratch *scratch;
		struct infer_plan *plan;
		float rows[32 * 31] = { 0 }, scores[32];
		double y[2];

		nets_reference(model, rows, y);
		model->decision_threshold = (float)(model_outputs(model) == 2 ? y[1] - y[0] : y[0]);
		plan = prepare(model, twins[i % 2], INFER_QUICK);
		scratch = plan ? infer_scratch_new(plan) : NULL;
		for (size_t n = 20; plan && n < 32; n++) {
			nets_fill(net, &random, rows, n);
			for (size_t r = 0; r < 32; r++)
				scores[r] = 12345;
			assert_int_equal(infer_run(plan, scratch, rows, n, scores), 0);
			for (size_t r = 0; r < 32; r++)
				assert_true((scores[r] == 12345) == (r >= n));
			any = true;
		}
		infer_scratch_free(scratch);
		infer_free(plan);
		model_free(model);
	}
	if (!any)
		skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_widest_is_the_default),
		cmocka_unit_test(any_batch_stays_in_place_and_within_the_bound),
		cmocka_unit_test(verdicts_agree_on_random_rows),
		cmocka_unit_test(quick_verdicts_agree_on_random_rows),
		cmocka_unit_test(what_is_not_whole_is_left_to_others),
		cmocka_unit_test(rows_of_all_magnitudes_share_a_block),
		cmocka_unit_test(rows_that_are_not_there_have_no_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
