// SPDX-License-Identifier: Apache-2.0
/*
 * mlp_pack.c - weights to fixed point, and what that can change about an answer.
 */
#include "agent/infer/mlp_pack.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#define BIAS_MOST 131072.0 /* 2^17, as what a layer takes */
#define INPUT_MOST 16777216.0 /* 2^24 */
#define HALF_BIT (0.5 / (double)MLP_ONE)

int64_t mlp_fixed(double x)
{
	if (!(x > -INPUT_MOST))
		return -MLP_INPUT_MOST; /* no number at all as well */
	return x < INPUT_MOST ? llrint(x * (double)MLP_ONE) : MLP_INPUT_MOST;
}

/* scale = factor / 2^shift, to MLP_FACTOR_BITS bits. */
static bool pack_scale(float scale, wire_s32 *factor, wire_u32 *shift)
{
	int exponent, bits;

	if (!isfinite(scale))
		return false;
	*factor = 0;
	*shift = 0;
	if (scale == 0)
		return true;
	frexp((double)scale, &exponent);
	bits = MLP_FACTOR_BITS - exponent;
	if (bits < 0)
		return false;
	*shift = (wire_u32)(bits < 62 ? bits : 62);
	*factor = (wire_s32)lrint(ldexp((double)scale, (int)*shift));
	if (*factor == 1 << MLP_FACTOR_BITS || *factor == -(1 << MLP_FACTOR_BITS))
		*factor -= *factor > 0 ? 1 : -1;
	return true;
}

static int pack_layer(const struct model_layer *from, struct mlp_layer *to)
{
	static const enum mlp_activation activation[] = {
		[MODEL_LINEAR] = MLP_LINEAR, [MODEL_RELU] = MLP_RELU, [MODEL_SIGMOID] = MLP_SIGMOID
	};

	if (from->inputs > MLP_WIDTH || from->outputs > MLP_WIDTH)
		return -EINVAL;
	to->outputs = from->outputs;
	to->chunks = (from->inputs + MLP_CHUNK - 1) / MLP_CHUNK;
	to->activation = activation[from->activation];
	for (uint32_t o = 0; o < from->outputs; o++) {
		if (!(fabsf(from->bias[o]) < BIAS_MOST))
			return -ERANGE;
		to->bias[o] = llrint(ldexp((double)from->bias[o], 2 * MLP_SHIFT));
		for (uint32_t i = 0; i < from->inputs; i++) {
			float weight = from->weight[o * from->inputs + i];

			if (!(fabsf(weight) < (float)MLP_WEIGHT_MOST))
				return -ERANGE;
			to->weight[o][i] = (wire_s32)lrint(ldexp((double)weight, MLP_SHIFT));
		}
	}
	return 0;
}

int mlp_pack(const struct model *model, uint32_t generation, struct mlp_model *out)
{
	struct mlp_model packed = { .generation = generation,
		.n_layers = model->n_layers,
		.inputs = model_inputs(model),
		.outputs = model_outputs(model) };
	int err;

	if (!model->n_layers || model->n_layers > MLP_LAYERS || packed.inputs > MLP_WIDTH)
		return -EINVAL;
	for (uint32_t i = 0; i < MLP_WIDTH; i++) {
		packed.factor[i] = 1;
		if (!model->mean || i >= packed.inputs)
			continue;
		if (!(fabsf(model->mean[i]) < (float)INPUT_MOST) ||
			!pack_scale(model->scale[i], &packed.factor[i], &packed.shift[i]))
			return -ERANGE;
		packed.mean[i] = llrint((double)model->mean[i] * (double)MLP_ONE);
	}
	for (uint32_t l = 0; l < model->n_layers; l++) {
		err = pack_layer(&model->layer[l], &packed.layer[l]);
		if (err)
			return err;
	}
	*out = packed;
	return 0;
}

/* Of one layer: sizes and errors of its inputs become those of its outputs. */
static bool layer_error(const struct model_layer *layer, double *size, double *error)
{
	double out_size[MLP_WIDTH], out_error[MLP_WIDTH];

	for (uint32_t o = 0; o < layer->outputs; o++) {
		out_size[o] = fabs((double)layer->bias[o]);
		out_error[o] = 2 * HALF_BIT; /* of the bias and of the sum */
		for (uint32_t i = 0; i < layer->inputs; i++) {
			double weight = fabs((double)layer->weight[o * layer->inputs + i]);

			out_size[o] += weight * size[i];
			out_error[o] += (weight + HALF_BIT) * error[i] + HALF_BIT * size[i];
		}
		if (out_size[o] + out_error[o] >= BIAS_MOST)
			return false;
		if (layer->activation == MODEL_SIGMOID) {
			out_size[o] = 1;
			out_error[o] = out_error[o] / 4 + MLP_SIGMOID_ERROR;
		}
	}
	memcpy(size, out_size, layer->outputs * sizeof(*size));
	memcpy(error, out_error, layer->outputs * sizeof(*error));
	return true;
}

double mlp_error_bound(const struct model *model, const double *x_most)
{
	double size[MLP_WIDTH] = { 0 }, error[MLP_WIDTH] = { 0 }, most = 0;
	struct mlp_model packed;

	if (mlp_pack(model, 0, &packed))
		return INFINITY;
	for (uint32_t i = 0; i < packed.inputs; i++) {
		size[i] = x_most[i];
		error[i] = HALF_BIT;
		if (x_most[i] >= INPUT_MOST)
			return INFINITY;
		if (model->mean) {
			double scale = fabs((double)model->scale[i]);
			double taken = ldexp((double)packed.factor[i], -(int)packed.shift[i]);

			size[i] = x_most[i] + fabs((double)model->mean[i]);
			error[i] = 2 * HALF_BIT * scale + 2 * HALF_BIT +
				   fabs(taken - (double)model->scale[i]) * size[i];
			size[i] *= scale;
		}
		if (size[i] + error[i] >= BIAS_MOST)
			return INFINITY;
	}
	for (uint32_t l = 0; l < model->n_layers; l++)
		if (!layer_error(&model->layer[l], size, error))
			return INFINITY;
	for (uint32_t o = 0; o < model_outputs(model); o++)
		most = error[o] > most ? error[o] : most;
	return most;
}
