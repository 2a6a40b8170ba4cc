/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine_nets.h - the published shapes and awkward ones, with random weights and rows, and their answers in double.
 */
#ifndef SEMANTOS_TESTS_ENGINE_NETS_H
#define SEMANTOS_TESTS_ENGINE_NETS_H

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/model.h"
#include "agent/infer/random.h"

struct net {
	const char *name;
	uint32_t widths[6], n_widths;
	float x_max;
	bool scaled, digits;
	enum model_activation hidden, last;
};

static const struct net nets[] = {
	{ "LinnOS", { 31, 256, 2 }, 3, 9, false, true, MODEL_RELU, MODEL_LINEAR },
	{ "LinnOS+1", { 31, 256, 256, 2 }, 4, 9, false, true, MODEL_RELU, MODEL_LINEAR },
	{ "LinnOS+2", { 31, 256, 256, 256, 2 }, 5, 9, false, true, MODEL_RELU, MODEL_LINEAR },
	{ "Heimdall", { 12, 128, 16, 1 }, 4, 1000, true, false, MODEL_RELU, MODEL_LINEAR },
	{ "MLLB", { 15, 10, 1 }, 3, 1000, false, false, MODEL_RELU, MODEL_LINEAR },
	{ "KML", { 5, 15, 5, 4 }, 4, 100000, true, false, MODEL_SIGMOID, MODEL_LINEAR },
	{ "one number", { 1, 1 }, 2, 65535, true, false, MODEL_RELU, MODEL_LINEAR },
	{ "one layer", { 3, 2 }, 2, 1, true, false, MODEL_RELU, MODEL_LINEAR },
	{ "primes", { 17, 5, 37, 3, 2 }, 5, 2, true, false, MODEL_LINEAR, MODEL_LINEAR },
	{ "two sigmoids", { 9, 23, 2 }, 3, 2, true, false, MODEL_RELU, MODEL_SIGMOID },
	{ "a sigmoid", { 33, 71, 1 }, 3, 2, false, false, MODEL_SIGMOID, MODEL_SIGMOID },
	{ "a wide one", { 65, 131, 259, 1 }, 4, 2, false, false, MODEL_RELU, MODEL_RELU },
	/* Tiles take twelve outputs: with these two every number is left over somewhere, and none. */
	{ "whole tiles", { 20, 36, 18, 1 }, 4, 2, true, false, MODEL_RELU, MODEL_LINEAR },
	{ "rests", { 31, 74, 45, 21, 60, 2 }, 6, 9, false, true, MODEL_RELU, MODEL_LINEAR },
};
#define N_NETS (sizeof(nets) / sizeof(nets[0]))
#define NETS_WIDEST 260

static inline struct model *nets_make(const struct net *net, uint64_t seed)
{
	struct model *model = model_new("m", "e", net->widths, net->n_widths);
	struct random_state random = random_seed(seed);

	if (!model)
		abort();
	for (uint32_t l = 0; l < model->n_layers; l++) {
		struct model_layer *layer = &model->layer[l];

		layer->activation = l + 1 < model->n_layers ? net->hidden : net->last;
		for (uint32_t i = 0; i < layer->inputs * layer->outputs; i++)
			layer->weight[i] =
				(float)(4 * random_unit(&random) - 2) / sqrtf((float)layer->inputs);
		for (uint32_t o = 0; o < layer->outputs; o++)
			layer->bias[o] = (float)(random_unit(&random) - 0.5);
	}
	if (!net->scaled)
		return model;
	model->mean = calloc(net->widths[0], sizeof(float));
	model->scale = calloc(net->widths[0], sizeof(float));
	if (!model->mean || !model->scale)
		abort();
	for (uint32_t i = 0; i < net->widths[0]; i++) {
		model->mean[i] = (float)(random_unit(&random) * net->x_max / 2);
		model->scale[i] = (float)(4 / net->x_max * (0.5 + random_unit(&random)));
	}
	return model;
}

static inline void nets_fill(
	const struct net *net, struct random_state *random, float *rows, size_t n)
{
	for (size_t i = 0; i < n * net->widths[0]; i++)
		rows[i] = net->digits ? (float)random_below(random, 10)
				      : (float)((2 * random_unit(random) - 1) * net->x_max);
}

/* Straight from the definition, in double. out: [outputs] */
static inline void nets_reference(const struct model *model, const float *row, double *out)
{
	double x[NETS_WIDEST], y[NETS_WIDEST];

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

#endif
