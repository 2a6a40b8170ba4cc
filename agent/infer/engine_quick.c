// SPDX-License-Identifier: Apache-2.0
/*
 * engine_quick.c - prepares the 8-bit twin of a ReLU net and answers batches with it; the products are in quick_lanes.c.
 *
 * Weights are rounded to 8 bits with one scale an output; inputs are exact; hidden numbers get one scale a row and
 * block. A score is off by something like a random walk over the weights' roundings, so proportional to the length of
 * the row: the factor is measured at prepare time against the float engine and kept with a margin. Rows whose score is
 * nearer to the threshold than that are computed again in floats.
 */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/quick.h"
#include "agent/infer/twin.h"

#define LEAST_ROWS 10 /* of a block */
#define LEAST_PRODUCTS 2048 /* of the first layer */
#define DIGIT 9 /* rows of decimal digits must fit the 16-bit sums, or these are not used */

void quick_free(struct quick_plan *quick)
{
	if (!quick)
		return;
	for (size_t l = 0; l < MODEL_MAX_LAYERS; l++) {
		free(quick->layer[l].weight);
		free(quick->layer[l].scale);
		free(quick->layer[l].start);
		free(quick->layer[l].whole_start);
		free(quick->layer[l].pair_weight);
	}
	free(quick->score_weight);
	free(quick);
}

/* Below those products the turning and rounding of inputs costs more than it saves. */
static bool suitable(const struct infer_plan *plan)
{
	size_t products;

	if (!twin_suits(plan, &products))
		return false;
	for (uint32_t l = 0; l + 1 < plan->n_layers; l++)
		if (plan->layer[l].inputs > 1024)
			return false;
	return (size_t)plan->layer[0].inputs * plan->layer[0].outputs >= LEAST_PRODUCTS;
}

/* The scale of an output: its largest weight becomes 127. 1 when all are zero. */
static float scale_of(const struct packed_layer *layer, size_t output)
{
	float largest = 0;

	for (size_t i = 0; i < layer->inputs; i++)
		largest = fmaxf(largest, fabsf(layer->weight[i * layer->padded + output]));
	return largest > 0 ? largest / 127 : 1;
}

static int pack(struct quick_layer *to, const struct packed_layer *layer)
{
	int8_t *at;

	to->inputs = layer->inputs;
	to->outputs = layer->outputs;
	to->groups = (layer->inputs + 3) / 4;
	to->weight = aligned_alloc(64, (to->groups * layer->padded * 4 + 63) / 64 * 64);
	to->scale = gemm_alloc(layer->padded);
	to->start = gemm_alloc(layer->padded);
	if (!to->weight || !to->scale || !to->start)
		return -ENOMEM;
	at = to->weight;
	for (size_t first = 0; first < layer->outputs; first += QUICK_TILE) {
		size_t n =
			layer->outputs - first < QUICK_TILE ? layer->outputs - first : QUICK_TILE;

		for (size_t g = 0; g < to->groups; g++)
			for (size_t o = first; o < first + n; o++)
				for (size_t i = 4 * g; i < 4 * g + 4; i++)
					*at++ = i < layer->inputs
							? (int8_t)lrintf(
								  layer->weight[i * layer->padded +
										o] /
								  scale_of(layer, o))
							: 0;
	}
	for (size_t o = 0; o < layer->outputs; o++) {
		to->scale[o] = scale_of(layer, o);
		to->start[o] = layer->bias[o];
	}
	return 0;
}

/*
 * The only hidden layer's sums in 16 bits: by Cauchy and Schwarz |sum| <= |start| + |weights| |row|, so that rows up to some
 * length cannot leave them; the last layer's weights are such that its sum cannot leave 32 bits.
 */
static int pack_pairs(struct quick_plan *quick)
{
	struct quick_layer *layer = &quick->layer[0];
	double most_start = 0, most_weight = 0, sum = 0, largest = 0, most;
	const int8_t *weight = layer->weight;

	for (size_t first = 0; first < layer->outputs; first += QUICK_TILE) {
		size_t n =
			layer->outputs - first < QUICK_TILE ? layer->outputs - first : QUICK_TILE;
		double square[QUICK_TILE] = { 0 };

		for (size_t i = 0; i < layer->groups * n * 4; i++, weight++)
			square[i / 4 % n] += *weight * *weight;
		for (size_t o = 0; o < n; o++)
			most_weight = fmax(most_weight, sqrt(square[o]));
	}
	for (size_t o = 0; o < layer->outputs; o++) {
		most_start = fmax(most_start, fabs((double)layer->whole_start[o]));
		sum += fabs((double)quick->score_weight[o]);
		largest = fmax(largest, fabs((double)quick->score_weight[o]));
	}
	most = most_weight > 0 ? (32767 - most_start) / most_weight : 0;
	if (sum == 0 || most < DIGIT * sqrt(layer->inputs))
		return 0;
	quick->most_length = (int32_t)fmin(most * most, 1 << 30);
	quick->pair_unit = (float)fmax(sum / (65535 - layer->outputs), largest / 32767);
	layer->pair_weight = (int16_t *)gemm_alloc(GEMM_PAD((size_t)layer->outputs) / 2);
	if (!layer->pair_weight)
		return -ENOMEM;
	for (size_t o = 0; o < layer->outputs; o++)
		layer->pair_weight[o] = (int16_t)lrintf(quick->score_weight[o] / quick->pair_unit);
	return 0;
}

/* Rows of several kinds: dense digits, mostly zeros, small, and up to the largest input there may be. */
static void draw(const struct infer_plan *plan, struct random_state *random, size_t block, size_t r,
	float *row)
{
	static const uint32_t limits[] = { 10, 10, 4, 128 };

	(void)r;
	for (size_t i = 0; i < plan->inputs; i++) {
		uint64_t word = random_u64(random);

		row[i] = (float)((word >> 32) % limits[block % 4]);
		if (block % 4 == 1 && word % 3)
			row[i] = 0;
	}
}

const struct twin quick_twin = {
	.least = LEAST_ROWS,
	.most_near = TWIN_ROWS,
	.block = quick_block,
	.draw = draw,
};

struct quick_plan *quick_prepare(const struct infer_plan *plan)
{
	struct infer_plan trial = *plan;
	struct quick_plan *quick = twin_new(suitable(plan), sizeof(*quick));
	double worst = 0;
	int err = -ENOMEM;

	if (!quick)
		return NULL;
	quick->n_layers = plan->n_layers - 1;
	quick->score_weight = gemm_alloc(plan->layer[plan->n_layers - 1].inputs);
	if (!quick->score_weight)
		goto fail;
	for (size_t l = 0; l < quick->n_layers; l++) {
		err = pack(&quick->layer[l], &plan->layer[l]);
		if (err)
			goto fail;
		if (quick->most_groups < quick->layer[l].groups)
			quick->most_groups = quick->layer[l].groups;
	}
	memcpy(quick->score_weight, plan->score.weight,
		plan->layer[plan->n_layers - 1].inputs * sizeof(float));
	/* The first layer starts from its rounded bias; its scale is positive, so it may wait behind the ReLU. */
	err = -ENOMEM;
	quick->layer[0].whole_start =
		(int32_t *)gemm_alloc(GEMM_PAD((size_t)quick->layer[0].outputs));
	if (!quick->layer[0].whole_start)
		goto fail;
	for (size_t o = 0; o < quick->layer[0].outputs; o++) {
		float start = rintf(quick->layer[0].start[o] / quick->layer[0].scale[o]);

		/* With inputs up to 127 and 1,024 of them sums stay below 2^25; so must this. */
		if (!(fabsf(start) < 0x1p29f)) {
			quick_free(quick);
			errno = 0;
			return NULL;
		}
		quick->layer[0].whole_start[o] = (int32_t)start;
		if (quick->n_layers == 1)
			quick->score_weight[o] *= quick->layer[0].scale[o];
	}
	quick->most_length = INT32_MAX;
	err = quick->n_layers == 1 ? pack_pairs(quick) : 0;
	trial.quick = quick;
	if (!err)
		err = twin_calibrate(&quick_twin, &trial, &worst);
	quick->near = (float)(TWIN_MARGIN * TWIN_MARGIN * worst * worst);
	if (!err)
		return quick;
fail:
	quick_free(quick);
	errno = -err;
	return NULL;
}

size_t quick_scratch_bytes(const struct quick_plan *quick)
{
	/* what a layer takes, as bytes */
	return QUICK_ROWS * 4 * (quick->most_groups + 8);
}

/*
 * As infer_error_bound(), with what rounding to 8 bits adds: of every weight, and half a step of a layer's hidden
 * numbers, whose largest decides the step. The worst case, far above what is seen.
 */
float quick_error_bound(const struct infer_plan *plan, float x_max)
{
	const double u = FLT_EPSILON / 2;
	const struct packed_layer *last = &plan->layer[plan->n_layers - 1];
	double *size = calloc(4 * plan->widest, sizeof(double)), *memory = size;
	double *err = size + plan->widest, *next_size = err + plan->widest,
	       *next_err = next_size + plan->widest, *swap, bound = 0, step = 0;

	if (!size)
		return INFINITY;
	for (uint32_t i = 0; i < plan->inputs; i++)
		size[i] = fabs((double)x_max);
	for (uint32_t l = 0; l + 1 < plan->n_layers; l++) {
		const struct packed_layer *layer = &plan->layer[l];
		double largest = 0;

		for (size_t o = 0; o < layer->outputs; o++) {
			float scale = plan->quick->layer[l].scale[o];
			double magnitude = fabs((double)layer->bias[o]), more = l ? 0 : scale;

			for (size_t i = 0; i < layer->inputs; i++) {
				double w = layer->weight[i * layer->padded + o];
				double rounded = rint(w / scale) * scale;

				magnitude += fabs(w) * (size[i] + err[i]);
				more += fabs(w) * err[i] + fabs(rounded) * step +
					(fabs(w - rounded) + scale * 1e-5) *
						(size[i] + err[i] + step);
			}
			next_size[o] = magnitude;
			next_err[o] = more + (layer->inputs + 8) * u * (magnitude + more);
			largest = fmax(largest, next_size[o] + next_err[o]);
		}
		step = largest / 255 * 0.51;
		swap = size;
		size = next_size;
		next_size = swap;
		swap = err;
		err = next_err;
		next_err = swap;
	}
	for (size_t i = 0; plan->quick->layer[0].pair_weight && i < last->inputs; i++)
		bound += 0.51 * plan->quick->pair_unit *
			 ((size[i] + err[i]) / plan->quick->layer[0].scale[i] + 1);
	for (size_t i = 0; i < last->inputs; i++)
		bound += fabs((double)plan->score.weight[i]) *
			 (err[i] + (last->inputs + 8) * u * (size[i] + err[i]));
	bound += 4 * u * fabs((double)plan->score.bias);
	free(memory);
	return nextafterf((float)bound, INFINITY);
}
