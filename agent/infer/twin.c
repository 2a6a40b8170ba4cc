// SPDX-License-Identifier: Apache-2.0
/*
 * twin.c - see twin.h. Gathering never allocates.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/twin.h"

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

void twin_answer(
	const struct infer_plan *plan, struct infer_scratch *scratch, struct twin_again *again)
{
	float scores[ENGINE_BLOCK_ROWS];

	if (!again->n)
		return;
	plan->engine->run(plan, scratch, again->rows, again->n, NULL, scores);
	for (size_t i = 0; i < again->n; i++)
		*again->to[i] = scores[i];
	again->n = 0;
}

size_t twin_gather(const struct infer_plan *plan, struct infer_scratch *scratch,
	struct twin_again *again, uint32_t near, const float *rows, float *scores)
{
	size_t n = 0;

	for (; near; near &= near - 1, n++) {
		size_t r = (size_t)__builtin_ctz(near);

		memcpy(again->rows + again->n * plan->inputs, rows + r * plan->inputs,
			plan->inputs * sizeof(float));
		again->to[again->n++] = scores + r;
		if (again->n == ENGINE_BLOCK_ROWS)
			twin_answer(plan, scratch, again);
	}
	return n;
}
