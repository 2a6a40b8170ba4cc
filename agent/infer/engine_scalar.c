// SPDX-License-Identifier: Apache-2.0
/*
 * engine_scalar.c - the plain C engine: what every CPU can run, and what the vector engines are held against.
 *
 * Rows pass through all layers in blocks that stay in the first-level cache. Never calls the system while running, never
 * looks at what a feature means.
 */
#include <math.h>
#include <string.h>
#include "agent/infer/engine.h"

#define BLOCK_ROWS \
	24 /* a multiple of the product's two rows; 24 x 256 floats are half an L1 cache */

static void run_narrow(const struct packed_layer *layer, const float *x, size_t n, float *y)
{
	for (size_t r = 0; r < n; r++, x += layer->padded_inputs, y += layer->padded) {
		for (size_t o = 0; o < layer->outputs; o++) {
			const float *weight = layer->weight + o * layer->padded_inputs;
			float lane[GEMM_LANES] = { 0 }, sum = 0;

			for (size_t i = 0; i < layer->padded_inputs; i += GEMM_LANES)
				for (size_t l = 0; l < GEMM_LANES; l++)
					lane[l] += weight[i + l] * x[i + l];
			for (size_t l = 0; l < GEMM_LANES; l++)
				sum += lane[l];
			y[o] = layer->bias[o] + sum;
		}
	}
}

/* n is a multiple of the lanes: the inner loop of known length is what the compiler turns into vectors. */
static void activate(enum model_activation activation, float *y, size_t n)
{
	if (activation == MODEL_RELU)
		for (size_t i = 0; i < n; i += GEMM_LANES)
			for (size_t l = 0; l < GEMM_LANES; l++)
				y[i + l] = y[i + l] < 0 ? 0 : y[i + l];
	else if (activation == MODEL_SIGMOID)
		for (size_t i = 0; i < n; i++)
			y[i] = 1.0f / (1.0f + expf(-y[i]));
}

/* One block through all layers; returns where its outputs lie, rows `padded` of the last layer apart. */
static const float *run_block(
	const struct infer_plan *plan, struct infer_scratch *scratch, const float *rows, size_t n)
{
	const float *x = rows;
	float *y = scratch->a, *other = scratch->b;

	for (uint32_t i = 0; i < plan->n_layers; i++) {
		const struct packed_layer *layer = &plan->layer[i];

		if (layer->narrow) {
			run_narrow(layer, x, n, y);
		} else {
			for (size_t r = 0; r < n; r++)
				memcpy(y + r * layer->padded, layer->bias,
					layer->padded * sizeof(float));
			gemm_plain(n, layer->padded, layer->inputs, x, layer->padded_inputs, 1,
				layer->weight, layer->padded, y, layer->padded);
		}
		activate(layer->activation, y, n * layer->padded);
		x = y;
		y = other;
		other = (float *)x;
	}
	return x;
}

static void run_scalar(const struct infer_plan *plan, struct infer_scratch *scratch,
	const float *rows, size_t n, float *outputs, float *scores)
{
	size_t padded = plan->layer[plan->n_layers - 1].padded;

	for (size_t done = 0; done < n; done += BLOCK_ROWS) {
		size_t block = n - done < BLOCK_ROWS ? n - done : BLOCK_ROWS;
		const float *y = run_block(plan, scratch, rows + done * plan->inputs, block);

		if (scores)
			for (size_t r = 0; r < block; r++, y += padded)
				scores[done + r] = plan->outputs == 1 ? y[0] : y[1] - y[0];
		else
			for (size_t r = 0; r < block; r++, y += padded, outputs += plan->outputs)
				memcpy(outputs, y, plan->outputs * sizeof(float));
	}
}

const struct engine engine_scalar = {
	.name = "scalar",
	.run = run_scalar,
};
