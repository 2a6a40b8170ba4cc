// SPDX-License-Identifier: Apache-2.0
/*
 * lstm_scalar.c - LSTM steps in plain C: what every CPU can run, and what the vector engines are held against.
 */
#include <math.h>
#include "agent/infer/lstm_engine.h"

static float sigmoid(float x)
{
	return 1 / (1 + expf(-x));
}

static void cell_of(const float *z, size_t units, float *cell, float *hidden)
{
	for (size_t u = 0; u < units; u++) {
		cell[u] = sigmoid(z[units + u]) * cell[u] + sigmoid(z[u]) * tanhf(z[2 * units + u]);
		hidden[u] = sigmoid(z[3 * units + u]) * tanhf(cell[u]);
	}
}

static float exponentials(const float *x, size_t n, float largest, float *to)
{
	float sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += to[i] = expf(x[i] - largest);
	return sum;
}

const struct lstm_engine lstm_scalar = {
	.name = "scalar",
	.product = gemm_plain,
	.cell = cell_of,
	.exponentials = exponentials,
};
