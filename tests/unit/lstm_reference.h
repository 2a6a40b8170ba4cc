/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lstm_reference.h - an LSTM stack straight from its definition, in double: what the engines are held against.
 */
#ifndef SEMANTOS_TESTS_LSTM_REFERENCE_H
#define SEMANTOS_TESTS_LSTM_REFERENCE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "agent/infer/lstm.h"

#define LSTM_REFERENCE_WIDEST 1025 /* inputs, units, classes */
#define LSTM_REFERENCE_STEPS 8

static inline double lstm_sigmoid(double x)
{
	return 1 / (1 + exp(-x));
}

/* sum[n] += x * weight[n]: nearly all of the time goes here, and tests of many sequences have to end. */
#if defined(__GNUC__) && !defined(__clang__)
__attribute__((optimize("O3")))
#endif
static inline void
lstm_add_row(double *sum, double x, const float *weight, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum[i] += x * (double)weight[i];
}

/* One sequence, x: [steps][inputs] or hot: [steps], the other is NULL. probability: [classes] */
static inline void lstm_reference(
	const struct lstm_model *model, const float *x, const uint32_t *hot, double *probability)
{
	static double in[LSTM_REFERENCE_STEPS][LSTM_REFERENCE_WIDEST],
		out[LSTM_REFERENCE_STEPS][LSTM_REFERENCE_WIDEST];
	const struct lstm_layer *layer = model->layer;
	double sum = 0;

	memset(in, 0, sizeof(in));
	for (uint32_t t = 0; t < model->steps; t++)
		for (uint32_t i = 0; i < layer->inputs; i++)
			in[t][i] = x ? (double)x[t * layer->inputs + i] : i == hot[t];
	for (uint32_t l = 0; l < model->n_layers; l++, layer++) {
		double cell[LSTM_REFERENCE_WIDEST] = { 0 }, hidden[LSTM_REFERENCE_WIDEST] = { 0 };
		double gate[4 * LSTM_REFERENCE_WIDEST];
		uint32_t units = layer->units;

		for (uint32_t t = 0; t < model->steps; t++) {
			for (uint32_t g = 0; g < 4 * units; g++)
				gate[g] = layer->bias[g];
			for (uint32_t i = 0; i < layer->inputs; i++)
				if (in[t][i] != 0)
					lstm_add_row(gate, in[t][i],
						layer->kernel + (size_t)i * 4 * units, 4 * units);
			for (uint32_t i = 0; i < units; i++)
				lstm_add_row(gate, hidden[i],
					layer->recurrent + (size_t)i * 4 * units, 4 * units);
			for (uint32_t u = 0; u < units; u++) {
				cell[u] = lstm_sigmoid(gate[units + u]) * cell[u] +
					  lstm_sigmoid(gate[u]) * tanh(gate[2 * units + u]);
				hidden[u] = lstm_sigmoid(gate[3 * units + u]) * tanh(cell[u]);
			}
			memcpy(out[t], hidden, sizeof(hidden));
		}
		memcpy(in, out, sizeof(in));
	}
	layer--;
	for (uint32_t c = 0; c < model->classes; c++)
		probability[c] = (double)model->dense_bias[c];
	for (uint32_t u = 0; u < layer->units; u++)
		lstm_add_row(probability, in[model->steps - 1][u],
			model->dense + (size_t)u * model->classes, model->classes);
	for (uint32_t c = 0; c < model->classes; c++)
		sum += probability[c] = exp(probability[c]);
	for (uint32_t c = 0; c < model->classes; c++)
		probability[c] /= sum;
}

#endif
