// SPDX-License-Identifier: Apache-2.0
/*
 * engine_half.c - prepares the bfloat16 twin of a ReLU net and answers batches with it; the products are in half_lanes.c.
 *
 * Every number is rounded to eight bits of mantissa, so a score is off in proportion to what the row's numbers and the
 * biases add up to along the way, at most 2^-8 of that a layer, far less on average because roundings cancel. The
 * factor is measured at prepare time against the float engine and kept with a margin. Needs no idea of what
 * the features are like.
 */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/bf16.h"
#include "agent/infer/half.h"
#include "agent/infer/twin.h"

#define LEAST_IN_LANES 20 /* rows; fewer take floats no longer */
#define LEAST_PRODUCTS 100 /* of a net: below that a call costs more than its products */

void half_free(struct half_plan *half)
{
	if (!half)
		return;
	for (size_t l = 0; l < MODEL_MAX_LAYERS; l++) {
		free(half->layer[l].weight);
		free(half->layer[l].packed);
		free(half->layer[l].bias);
	}
	free(half->scale);
	free(half->shift);
	free(half->reach);
	free(half->plain_reach);
	free(half);
}

/* The weights turned, as the tiles want them. */
static int pack_tiles(struct half_layer *to, const struct model_layer *layer)
{
	size_t padded = GEMM_PAD((size_t)layer->outputs);
	float *turned = gemm_alloc(layer->inputs * padded);

	to->packed = (uint32_t *)gemm_alloc(bf16_packed_words(layer->inputs, padded));
	if (!turned || !to->packed) {
		free(turned);
		return -ENOMEM;
	}
	for (size_t o = 0; o < layer->outputs; o++)
		for (size_t i = 0; i < layer->inputs; i++)
			turned[i * padded + o] = layer->weight[o * layer->inputs + i];
	bf16_pack(turned, layer->inputs, padded, to->packed);
	free(turned);
	return 0;
}

static int pack(struct half_layer *to, const struct model_layer *layer, bool amx)
{
	uint32_t *at;

	to->inputs = layer->inputs;
	to->outputs = layer->outputs;
	to->pairs = (layer->inputs + 1) / 2;
	at = to->weight = (uint32_t *)gemm_alloc(to->pairs * layer->outputs);
	to->bias = gemm_alloc(GEMM_PAD((size_t)layer->outputs));
	if (!to->weight || !to->bias)
		return -ENOMEM;
	memcpy(to->bias, layer->bias, layer->outputs * sizeof(float));
	for (size_t first = 0; first < layer->outputs; first += HALF_TILE) {
		size_t n = layer->outputs - first < HALF_TILE ? layer->outputs - first : HALF_TILE;

		for (size_t p = 0; p < to->pairs; p++)
			for (size_t o = first; o < first + n; o++) {
				const float *w = layer->weight + o * layer->inputs + 2 * p;

				*at++ = bf16(w[0]) |
					(2 * p + 1 < layer->inputs ? bf16(w[1]) << 16 : 0);
			}
	}
	return amx ? pack_tiles(to, layer) : 0;
}

/* What each input, and all biases together, can add to the score at most: absolute weights, multiplied through. */
static int reach_of(
	struct half_plan *half, const struct infer_plan *plan, const struct model *model)
{
	double *memory = calloc(2 * plan->widest, sizeof(double)), *of = memory,
	       *below = of + plan->widest, *swap, fixed = fabs((double)plan->score.bias);

	half->reach = (uint32_t *)gemm_alloc(half->layer[0].pairs + 1);
	half->plain_reach = gemm_alloc(GEMM_PAD((size_t)plan->inputs));
	if (!memory || !half->reach || !half->plain_reach) {
		free(memory);
		return -ENOMEM;
	}
	for (uint32_t o = 0; o < half->layer[half->n_layers - 1].outputs; o++)
		of[o] = fabs((double)plan->score.weight[o]);
	for (uint32_t l = half->n_layers; l-- > 0;) {
		const struct model_layer *layer = &model->layer[l];

		memset(below, 0, plan->widest * sizeof(double));
		for (uint32_t o = 0; o < layer->outputs; o++) {
			fixed += of[o] * fabs((double)layer->bias[o]);
			for (uint32_t i = 0; i < layer->inputs; i++)
				below[i] +=
					of[o] * fabs((double)layer->weight[o * layer->inputs + i]);
		}
		swap = of;
		of = below;
		below = swap;
	}
	for (uint32_t i = 0; i < plan->inputs; i++) {
		half->reach[i / 2] |= bf16((float)of[i]) << (16 * (i % 2));
		half->plain_reach[i] = (float)of[i];
	}
	half->fixed = (float)fixed;
	free(memory);
	return 0;
}

static void draw(const struct infer_plan *plan, struct random_state *random, size_t block, size_t r,
	float *row)
{
	(void)r;
	twin_draw(plan, plan->half->scale, plan->half->shift, random, block, row);
}

/* Lanes left empty cost as much as full ones; tiles have as many rows as there are. */
static const struct twin by_lanes = {
	.least = LEAST_IN_LANES,
	.most_near = TWIN_ROWS,
	.block = half_block,
	.draw = draw,
};
static const struct twin by_tiles = {
	.least = ENGINE_FEW_ROWS,
	.most_near = TWIN_ROWS,
	.block = half_block_amx,
	.draw = draw,
};

const struct twin *half_twin(const struct half_plan *half)
{
	return half->layer[0].packed ? &by_tiles : &by_lanes;
}

struct half_plan *half_prepare(const struct infer_plan *plan, const struct model *model, bool amx)
{
	struct infer_plan trial = *plan;
	size_t products;
	bool suits = twin_suits(plan, &products) && products >= LEAST_PRODUCTS;
	struct half_plan *half = twin_new(suits, sizeof(*half));
	double worst = 0;
	int err = -ENOMEM;

	if (!half)
		return NULL;
	half->n_layers = plan->n_layers - 1;
	half->score_weight = plan->score.weight;
	half->most_pairs = GEMM_PAD((size_t)plan->inputs) / 2;
	for (size_t l = 0; l < half->n_layers; l++) {
		err = pack(&half->layer[l], &model->layer[l], amx);
		if (err)
			goto fail;
		if (half->most_pairs < GEMM_PAD((size_t)half->layer[l].outputs) / 2)
			half->most_pairs = GEMM_PAD((size_t)half->layer[l].outputs) / 2;
	}
	err = twin_take_scaling(plan, model, &half->scale, &half->shift);
	if (!err)
		err = reach_of(half, plan, model);
	trial.half = half;
	if (!err)
		err = twin_calibrate(half_twin(half), &trial, &worst);
	/* Never more than can be: every product has two rounded factors, a layer after another. */
	half->near = (float)fmin(TWIN_MARGIN * worst + 0x1p-20, half->n_layers * 0x1.02p-8);
	if (!err)
		return half;
fail:
	half_free(half);
	errno = -err;
	return NULL;
}

const char *half_name(const struct half_plan *half)
{
	return half->layer[0].packed ? "amx" : "avx512-bf16";
}

size_t half_scratch_words(const struct half_plan *half)
{
	/* a layer's inputs and its outputs (as floats with AMX) */
	return HALF_ROWS * 3 * half->most_pairs;
}

/*
 * As infer_error_bound(), with numbers and weights rounded to bfloat16. The worst case, far above what is seen.
 */
float half_error_bound(const struct infer_plan *plan, float x_max)
{
	const struct half_plan *half = plan->half;
	const double u = FLT_EPSILON / 2, round = 0x1.02p-9;
	double *memory = calloc(4 * plan->widest, sizeof(double)), *size = memory;
	double *err = size + plan->widest, *next_size = err + plan->widest,
	       *next_err = next_size + plan->widest, *swap, bound = 0;

	if (!memory)
		return INFINITY;
	for (uint32_t i = 0; i < plan->inputs; i++) {
		size[i] = fabs((double)x_max);
		if (half->scale) {
			size[i] = size[i] * fabs((double)half->scale[i]) +
				  fabs((double)half->shift[i]);
			err[i] = 4 * u * size[i];
		}
	}
	for (uint32_t l = 0; l < half->n_layers; l++) {
		const struct packed_layer *layer = &plan->layer[l];

		for (size_t o = 0; o < layer->outputs; o++) {
			double magnitude = fabs((double)half->layer[l].bias[o]), more = 0;

			for (size_t i = 0; i < layer->inputs; i++) {
				double w = fabs((double)layer->weight[i * layer->padded + o]);

				/* the float plan's first weights have the scaling in them */
				if (l == 0 && half->scale)
					w = half->scale[i] != 0 ? w / fabs((double)half->scale[i])
								: 0;
				magnitude += w * (size[i] + err[i]);
				more += w * err[i] +
					w * (2 * round + round * round) * (size[i] + err[i]);
			}
			next_size[o] = magnitude;
			next_err[o] = more + (layer->inputs + 8) * u * (magnitude + more);
		}
		swap = size;
		size = next_size;
		next_size = swap;
		swap = err;
		err = next_err;
		next_err = swap;
	}
	for (size_t i = 0; i < half->layer[half->n_layers - 1].outputs; i++)
		bound += fabs((double)half->score_weight[i]) *
			 (err[i] + (plan->layer[plan->n_layers - 1].inputs + 8) * u *
					   (size[i] + err[i]));
	bound += 4 * u * fabs((double)plan->score.bias);
	free(memory);
	return nextafterf((float)bound, INFINITY);
}
