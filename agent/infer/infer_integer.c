// SPDX-License-Identifier: Apache-2.0
/*
 * infer_integer.c - integer nets, bit-exact: int64 sums of whole features and whole weights.
 *
 * Owns no memory; plan and scratch are infer.c's. Any thread with a scratch of its own.
 */
#include <math.h>
#include <string.h>
#include "agent/infer/engine.h"
#include "agent/infer/infer_integer.h"

/* A feature is a whole number for these nets; anything else is rounded and kept where it cannot overflow at once. */
static int64_t whole(float value)
{
	if (!(value > -0x1p31f)) /* NaN too */
		return -(int64_t)0x80000000;
	if (value > 0x1p31f)
		return 0x80000000;
	return llrintf(value);
}

/* Sums wrap instead of being undefined: exact for every published net, the same everywhere for a damaged one. */
GEMM_CLONES static void add_scaled(
	uint64_t *restrict y, const int64_t *restrict weight, uint64_t x, size_t n)
{
	for (size_t o = 0; o < n; o += GEMM_LANES)
		for (size_t l = 0; l < GEMM_LANES; l++)
			y[o + l] += (uint64_t)weight[o + l] * x;
}

const int64_t *integer_run_row(
	const struct infer_plan *plan, struct infer_scratch *scratch, const float *row)
{
	int64_t *x = scratch->x, *y = scratch->y, *swap;

	for (uint32_t i = 0; i < plan->inputs; i++)
		x[i] = whole(row[i]);
	for (uint32_t l = 0; l < plan->n_layers; l++) {
		const struct packed_layer *layer = &plan->layer[l];

		memcpy(y, layer->integer_bias, layer->padded * sizeof(*y));
		for (size_t i = 0; i < layer->inputs; i++)
			if (x[i]) /* most digits and half of the hidden units are zero */
				add_scaled((uint64_t *)y, layer->integer_weight + i * layer->padded,
					(uint64_t)x[i], layer->padded);
		if (layer->activation == MODEL_RELU)
			for (size_t o = 0; o < layer->outputs; o++)
				y[o] = y[o] < 0 ? 0 : y[o];
		swap = x;
		x = y;
		y = swap;
	}
	return x;
}
