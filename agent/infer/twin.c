// SPDX-License-Identifier: Apache-2.0
/*
 * twin.c - see twin.h. Running never allocates.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/twin.h"

#define CALIBRATION_BLOCKS 128 /* 4,096 rows */

void *twin_new(bool suits, size_t size)
{
	if (suits)
		return calloc(1, size);
	errno = 0;
	return NULL;
}

bool twin_suits(const struct infer_plan *plan, size_t *products)
{
	*products = 0;
	if (plan->n_layers < 2 || !plan->score.weight || plan->score.activation != MODEL_LINEAR)
		return false;
	for (uint32_t l = 0; l + 1 < plan->n_layers; l++) {
		if (plan->layer[l].activation != MODEL_RELU)
			return false;
		*products += (size_t)plan->layer[l].inputs * plan->layer[l].outputs;
	}
	return true;
}

int twin_take_scaling(
	const struct infer_plan *plan, const struct model *model, float **scale, float **shift)
{
	if (!model->mean)
		return 0;
	*scale = gemm_alloc(GEMM_PAD((size_t)plan->inputs));
	*shift = gemm_alloc(GEMM_PAD((size_t)plan->inputs));
	if (!*scale || !*shift)
		return -ENOMEM;
	for (size_t i = 0; i < plan->inputs; i++) {
		(*scale)[i] = model->scale[i];
		(*shift)[i] = (float)(-(double)model->mean[i] * model->scale[i]);
	}
	return 0;
}

static double normal(struct random_state *random)
{
	double sum = 0;

	for (int i = 0; i < 12; i++)
		sum += random_unit(random);
	return sum - 6;
}

void twin_draw(const struct infer_plan *plan, const float *scale, const float *shift,
	struct random_state *random, size_t kind, float *row)
{
	for (size_t i = 0; i < plan->inputs; i++) {
		double x = normal(random);

		if (kind % 4 == 1)
			x = random_unit(random) < 0.6 ? 0 : x;
		else if (kind % 4 == 2)
			x *= exp2(8 * random_unit(random) - 4);
		else if (kind % 4 == 3)
			x = (double)random_below(random, 10);
		if (scale)
			x = scale[i] != 0 ? (x - shift[i]) / scale[i] : 0;
		row[i] = (float)x;
	}
}

/* Rows near the threshold are gathered and answered together, in floats. */
struct again {
	size_t n;
	float *rows, *to[ENGINE_BLOCK_ROWS]; /* rows: [ENGINE_BLOCK_ROWS][inputs] */
};

static void answer_again(
	const struct infer_plan *plan, struct infer_scratch *scratch, struct again *again)
{
	float scores[ENGINE_BLOCK_ROWS];

	if (!again->n)
		return;
	plan->engine->run(plan, scratch, again->rows, again->n, NULL, scores);
	for (size_t i = 0; i < again->n; i++)
		*again->to[i] = scores[i];
	again->n = 0;
}

/* Each bit of `near` is one of up to TWIN_ROWS rows. Answers whenever enough are there. */
static void gather(const struct infer_plan *plan, struct infer_scratch *scratch,
	struct again *again, uint32_t near, const float *rows, float *scores)
{
	for (; near; near &= near - 1) {
		size_t r = (size_t)__builtin_ctz(near);

		memcpy(again->rows + again->n * plan->inputs, rows + r * plan->inputs,
			plan->inputs * sizeof(float));
		again->to[again->n++] = scores + r;
		scratch->recomputed++;
		if (again->n == ENGINE_BLOCK_ROWS)
			answer_again(plan, scratch, again);
	}
}

size_t twin_run(const struct twin *twin, const struct infer_plan *plan,
	struct infer_scratch *scratch, const float *rows, size_t n, float *scores)
{
	struct again again = { .rows = scratch->again };
	const size_t width = plan->inputs;
	size_t done = 0, step;

	for (; done < n; done += step, rows += step * width, scores += step) {
		const float *block = rows;
		float some[TWIN_ROWS];
		uint32_t near;
		bool unfit = false;

		step = n - done < TWIN_ROWS ? n - done : TWIN_ROWS;
		if (step < twin->least)
			break;
		if (step < TWIN_ROWS) {
			memcpy(scratch->block, rows, step * width * sizeof(float));
			memset(scratch->block + step * width, 0,
				(TWIN_ROWS - step) * width * sizeof(float));
			block = scratch->block;
		}
		near = twin->block(
			plan, scratch, block, step, step < TWIN_ROWS ? some : scores, NULL, &unfit);
		if (unfit)
			break;
		if (step < TWIN_ROWS) {
			near &= (1u << step) - 1;
			memcpy(scores, some, step * sizeof(float));
		}
		if (twin->most_near < TWIN_ROWS &&
			(size_t)__builtin_popcount(near) > twin->most_near)
			break; /* this block too is answered otherwise */
		gather(plan, scratch, &again, near, rows, scores);
	}
	answer_again(plan, scratch, &again);
	return done;
}

int twin_calibrate(const struct twin *twin, const struct infer_plan *trial, double *worst)
{
	struct infer_scratch *scratch = infer_scratch_new(trial);
	float *rows = malloc(TWIN_ROWS * trial->inputs * sizeof(float));
	struct random_state random = random_seed(1);
	int err = scratch && rows ? 0 : -ENOMEM;

	*worst = 0;
	for (size_t block = 0; !err && block < CALIBRATION_BLOCKS; block++) {
		float quickly[TWIN_ROWS], exactly[TWIN_ROWS], reach[TWIN_ROWS];
		bool unfit = false;

		for (size_t r = 0; r < TWIN_ROWS; r++)
			twin->draw(trial, &random, block, r, rows + r * trial->inputs);
		twin->block(trial, scratch, rows, TWIN_ROWS, quickly, reach, &unfit);
		trial->engine->run(trial, scratch, rows, TWIN_ROWS, NULL, exactly);
		for (size_t r = 0; !unfit && r < TWIN_ROWS; r++)
			if (reach[r] > 0)
				*worst = fmax(*worst,
					fabs((double)quickly[r] - exactly[r]) / (double)reach[r]);
	}
	infer_scratch_free(scratch);
	free(rows);
	return err;
}
