// SPDX-License-Identifier: Apache-2.0
/*
 * engine_byte.c - prepares the 8-bit twin for features of any kind and answers batches with it; the products are in
 * byte_lanes.c.
 *
 * Four things are rounded: weights (one unit an output), a block's inputs (one step a block), its hidden numbers (256 of
 * their sums' units), and starts. Each moves a score like a random
 * walk, so its square is off in proportion to what byte.h calls the reach of a row; the factor is measured at prepare
 * time against the float engine and kept with a margin. Rows nearer to the threshold than that take floats.
 */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/byte.h"
#include "agent/infer/twin.h"

#define LEAST_IN_LANES 20 /* rows; fewer take floats no longer */
#define LEAST_PRODUCTS 1000 /* of a net: below that bfloat16 is as fast and has fewer near rows */
#define TOO_NEAR (BYTE_ROWS / 4) /* so many near rows in a block, and bytes do not suit them */

void byte_free(struct byte_plan *bytes)
{
	if (!bytes)
		return;
	for (size_t l = 0; l < 2; l++) {
		free(bytes->layer[l].weight);
		free(bytes->layer[l].unit);
		free(bytes->layer[l].start);
		free(bytes->layer[l].offset);
	}
	free(bytes->score_weight);
	free(bytes->scale);
	free(bytes->shift);
	free(bytes);
}

static bool suitable(const struct infer_plan *plan)
{
	size_t products;

	if (!twin_suits(plan, &products) || plan->n_layers > 3 || plan->inputs > BYTE_INPUTS)
		return false;
	for (uint32_t l = 0; l + 1 < plan->n_layers; l++)
		if (plan->layer[l].outputs > BYTE_HIDDEN)
			return false;
	return products >= LEAST_PRODUCTS;
}

/* A weight of an output as the layer's inputs come: hidden numbers below bring their unit with them. */
static double weight_of(const struct model_layer *layer, const struct byte_layer *below,
	size_t output, size_t input)
{
	double weight = layer->weight[output * layer->inputs + input];

	return below ? weight * (double)below->unit[input] : weight;
}

/* An output's largest weight becomes 127, or its length BYTE_LENGTH where sums have to fit 16 bits. */
static int pack(struct byte_layer *to, const struct model_layer *layer,
	const struct byte_layer *below, bool tight)
{
	const size_t padded = GEMM_PAD((size_t)layer->outputs);
	int8_t *at;

	to->inputs = layer->inputs;
	to->outputs = layer->outputs;
	to->groups = (layer->inputs + 3) / 4;
	at = to->weight = (int8_t *)gemm_alloc(to->groups * padded);
	to->unit = gemm_alloc(padded);
	to->start = gemm_alloc(padded);
	if (!to->weight || !to->unit || !to->start)
		return -ENOMEM;
	for (size_t o = 0; o < layer->outputs; o++) {
		double largest = 0, square = 0;

		for (size_t i = 0; i < layer->inputs; i++) {
			double weight = weight_of(layer, below, o, i);

			largest = fmax(largest, fabs(weight));
			square += weight * weight;
		}
		largest = tight ? fmax(largest / 127, sqrt(square) / BYTE_LENGTH) : largest / 127;
		to->unit[o] = largest > 0 ? (float)largest : 1;
		to->start[o] = layer->bias[o] / to->unit[o];
	}
	for (size_t first = 0; first < layer->outputs; first += BYTE_TILE) {
		size_t n = layer->outputs - first < BYTE_TILE ? layer->outputs - first : BYTE_TILE;

		for (size_t g = 0; g < to->groups; g++)
			for (size_t o = first; o < first + n; o++)
				for (size_t i = 4 * g; i < 4 * g + 4; i++)
					*at++ = i < layer->inputs
							? (int8_t)lrint(
								  weight_of(layer, below, o, i) /
								  (double)to->unit[o])
							: 0;
	}
	return 0;
}

static double whole_weight(const struct byte_layer *to, const struct model_layer *layer,
	const struct byte_layer *below, size_t output, size_t input)
{
	return rint(weight_of(layer, below, output, input) / (double)to->unit[output]);
}

/* What the first layer's sums can be, and what a bias counts for beside the inputs. False when a number is too large. */
static bool measure_first(struct byte_plan *bytes, const struct model *model)
{
	const struct model_layer *layer = &model->layer[0];
	double biases = 0, weights = 0;

	for (size_t o = 0; o < layer->outputs; o++) {
		double square = 0, sum = 0;

		for (size_t i = 0; i < layer->inputs; i++) {
			double whole = whole_weight(&bytes->layer[0], layer, NULL, o, i);

			square += whole * whole;
			sum += whole;
			weights += (double)layer->weight[o * layer->inputs + i] *
				   (double)layer->weight[o * layer->inputs + i];
		}
		biases += (double)layer->bias[o] * (double)layer->bias[o];
		bytes->layer[0].offset[o] = (int32_t)(-128 * sum);
		bytes->length = fmaxf(bytes->length, (float)(sqrt(square) * 1.0001));
		bytes->most_start = fmaxf(bytes->most_start, fabsf(bytes->layer[0].start[o]));
	}
	bytes->bias = weights > 0 ? (float)(biases / weights) : 0;
	/* Rounding the inputs moves a sum as far as rounding weights of that length; hidden numbers are in units of 2^8. */
	bytes->rounding = bytes->length * bytes->length + (bytes->n_layers == 2 ? 0x1p16f : 0);
	bytes->room_again = BYTE_ROOM - bytes->length * sqrtf((float)layer->inputs);
	bytes->least_step = fmaxf(bytes->most_start / BYTE_MOST_START, 0x1p-60f);
	if (bytes->n_layers == 2)
		for (size_t o = 0; o < bytes->layer[1].outputs; o++)
			bytes->least_step = fmaxf(bytes->least_step,
				fabsf(bytes->layer[1].start[o]) / BYTE_START_BITS);
	return isfinite(bytes->bias) && bytes->least_step < 0x1p60f;
}

/* Every fifth block has rows of all kinds in it. */
static void draw(const struct infer_plan *plan, struct random_state *random, size_t block, size_t r,
	float *row)
{
	twin_draw(plan, plan->bytes->scale, plan->bytes->shift, random,
		block % 5 == 4 ? r : block % 5, row);
}

const struct twin byte_twin = {
	.least = LEAST_IN_LANES,
	.most_near = TOO_NEAR,
	.block = byte_block,
	.draw = draw,
};

struct byte_plan *byte_prepare(const struct infer_plan *plan, const struct model *model)
{
	struct infer_plan trial = *plan;
	struct byte_plan *bytes = twin_new(suitable(plan), sizeof(*bytes));
	const struct byte_layer *last;
	double worst = 0;
	int err = 0;

	if (!bytes)
		return NULL;
	bytes->n_layers = plan->n_layers - 1;
	for (size_t l = 0; !err && l < bytes->n_layers; l++) {
		err = pack(&bytes->layer[l], &model->layer[l], l ? &bytes->layer[0] : NULL,
			!l && bytes->n_layers == 2);
		if (bytes->most_groups < bytes->layer[l].groups)
			bytes->most_groups = bytes->layer[l].groups;
	}
	if (!err)
		err = twin_take_scaling(plan, model, &bytes->scale, &bytes->shift);
	if (err)
		goto fail;
	last = &bytes->layer[bytes->n_layers - 1];
	bytes->layer[0].offset = (int32_t *)gemm_alloc(GEMM_PAD((size_t)bytes->layer[0].outputs));
	bytes->score_weight = gemm_alloc(GEMM_PAD((size_t)last->outputs));
	err = bytes->layer[0].offset && bytes->score_weight ? 0 : -ENOMEM;
	if (err)
		goto fail;
	for (size_t o = 0; o < last->outputs; o++)
		bytes->score_weight[o] = plan->score.weight[o] * last->unit[o];
	if (!measure_first(bytes, model))
		goto fail; /* with errno 0: no twin */
	trial.bytes = bytes;
	err = twin_calibrate(&byte_twin, &trial, &worst);
	bytes->near = (float)(TWIN_MARGIN * TWIN_MARGIN * worst * worst);
	if (!err)
		return bytes;
fail:
	byte_free(bytes);
	errno = -err;
	return NULL;
}

size_t byte_scratch_words(const struct byte_plan *bytes)
{
	size_t stride = GEMM_PAD((size_t)bytes->layer[0].inputs), widest = 0;

	for (size_t l = 0; l < bytes->n_layers; l++)
		if (widest < GEMM_PAD((size_t)bytes->layer[l].outputs))
			widest = GEMM_PAD((size_t)bytes->layer[l].outputs);
	/* inputs as bytes, hidden numbers as bytes, scaled rows, starts */
	return BYTE_ROWS * (stride / 4 + bytes->most_groups + stride) + widest;
}

/*
 * As infer_error_bound(), with what rounding adds. The worst case, far above what is seen: the step of the largest input
 * there may be, or the one that the longest row's sums ask for.
 */
float byte_error_bound(const struct infer_plan *plan, float x_max)
{
	const double u = FLT_EPSILON / 2, half = 0.51; /* of a step, and what dividing by it adds */
	const struct byte_plan *bytes = plan->bytes;
	double *memory = calloc(4 * plan->widest, sizeof(double)), *size = memory;
	double *err = size + plan->widest, *next_size = err + plan->widest,
	       *next_err = next_size + plan->widest, *swap;
	double step = (double)bytes->least_step, square = 0, bound;

	if (!memory)
		return INFINITY;
	for (uint32_t i = 0; i < plan->inputs; i++) {
		size[i] = fabs((double)x_max);
		if (bytes->scale)
			size[i] = size[i] * fabs((double)bytes->scale[i]) +
				  fabs((double)bytes->shift[i]);
		step = fmax(step, size[i] / 127 * 1.0001);
	}
	for (uint32_t i = 0; i < plan->inputs; i++)
		square += (size[i] + step) * (size[i] + step);
	if (bytes->n_layers == 2)
		step = fmax(step,
			1.01 * ((double)bytes->length * sqrt(square) + (double)bytes->most_start) /
				(double)bytes->room_again);
	for (uint32_t i = 0; i < plan->inputs; i++)
		err[i] = half * step + 4 * u * size[i];
	for (uint32_t l = 0; l < bytes->n_layers; l++) {
		const struct packed_layer *layer = &plan->layer[l];
		const struct byte_layer *of = &bytes->layer[l];

		for (size_t o = 0; o < layer->outputs; o++) {
			double unit = (double)of->unit[o], magnitude = fabs(of->start[o] * unit);
			double more = half * unit * step * (l ? 256 : 1);

			for (size_t i = 0; i < layer->inputs; i++) {
				double w = fabs((double)layer->weight[i * layer->padded + o]);
				double off = half * unit;

				/* the float plan's first weights have the scaling in them */
				if (!l && bytes->scale)
					w = bytes->scale[i] != 0 ? w / fabs((double)bytes->scale[i])
								 : 0;
				if (l)
					off /= (double)bytes->layer[0].unit[i];
				magnitude += w * (size[i] + err[i]);
				more += w * err[i] + off * (size[i] + err[i]);
			}
			next_size[o] = magnitude;
			next_err[o] = more + (layer->inputs + 8) * u * (magnitude + more);
			if (l + 1 < bytes->n_layers)
				next_err[o] += half * 256 * step * unit;
		}
		swap = size;
		size = next_size;
		next_size = swap;
		swap = err;
		err = next_err;
		next_err = swap;
	}
	bound = 4 * u * fabs((double)plan->score.bias);
	for (size_t o = 0; o < bytes->layer[bytes->n_layers - 1].outputs; o++)
		bound += fabs((double)plan->score.weight[o]) *
			 (err[o] + (plan->layer[plan->n_layers - 1].inputs + 8) * u *
					   (size[o] + err[o]));
	free(memory);
	return nextafterf((float)bound, INFINITY);
}
