// SPDX-License-Identifier: Apache-2.0
/*
 * peer_blas.c - the nets on OpenBLAS, written as somebody who knows it would: one product a layer, in place of nothing.
 *
 * One thread: OPENBLAS_NUM_THREADS=1 is set by the caller of the bench.
 */
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/gemm.h"
#include "peers.h"

struct blas_mlp {
	struct model *model;
	size_t n;
	float *turned[MODEL_MAX_LAYERS]; /* [inputs][outputs] */
	float *a, *b;
};

static void *make_mlp(const struct model *model, size_t n)
{
	struct blas_mlp *mlp = calloc(1, sizeof(*mlp));

	mlp->model = model_clone(model);
	mlp->n = n;
	for (uint32_t l = 0; l < model->n_layers; l++) {
		const struct model_layer *layer = &model->layer[l];

		mlp->turned[l] = gemm_alloc((size_t)layer->inputs * layer->outputs);
		for (size_t o = 0; o < layer->outputs; o++)
			for (size_t i = 0; i < layer->inputs; i++)
				mlp->turned[l][i * layer->outputs + o] =
					layer->weight[o * layer->inputs + i];
	}
	mlp->a = gemm_alloc(n * MODEL_MAX_WIDTH);
	mlp->b = gemm_alloc(n * MODEL_MAX_WIDTH);
	return mlp;
}

GEMM_CLONES static void activate(enum model_activation activation, float *y, size_t n)
{
	if (activation == MODEL_RELU)
		for (size_t i = 0; i < n; i++)
			y[i] = y[i] > 0 ? y[i] : 0;
	else if (activation == MODEL_SIGMOID)
		for (size_t i = 0; i < n; i++)
			y[i] = 1 / (1 + expf(-y[i]));
}

static void run_mlp(void *of, const float *rows, float *outputs)
{
	struct blas_mlp *mlp = of;
	const float *x = rows;

	for (uint32_t l = 0; l < mlp->model->n_layers; l++) {
		const struct model_layer *layer = &mlp->model->layer[l];
		int in = (int)layer->inputs, out = (int)layer->outputs, n = (int)mlp->n;
		float *y = l + 1 == mlp->model->n_layers ? outputs : l % 2 ? mlp->b : mlp->a;

		for (size_t r = 0; r < mlp->n; r++)
			memcpy(y + r * layer->outputs, layer->bias, layer->outputs * sizeof(float));
		if (n == 1)
			cblas_sgemv(CblasRowMajor, CblasTrans, in, out, 1, mlp->turned[l], out, x,
				1, 1, y, 1);
		else
			cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, out, in, 1, x, in,
				mlp->turned[l], out, 1, y, out);
		activate(layer->activation, y, mlp->n * layer->outputs);
		x = y;
	}
}

static void free_mlp(void *of)
{
	struct blas_mlp *mlp = of;

	for (uint32_t l = 0; l < mlp->model->n_layers; l++)
		free(mlp->turned[l]);
	model_free(mlp->model);
	free(mlp->a);
	free(mlp->b);
	free(mlp);
}

/* ---- LSTM --------------------------------------------------------------------------------------------- */

struct blas_lstm {
	struct lstm_model model; /* borrows the weights */
	const uint32_t *hot;
	size_t n;
	float *z, *hidden[2], *cell;
};

static void *make_lstm(const struct lstm_model *model, const uint32_t *hot, size_t n)
{
	struct blas_lstm *lstm = calloc(1, sizeof(*lstm));
	size_t units = model->layer[0].units;

	lstm->model = *model;
	lstm->hot = hot;
	lstm->n = n;
	lstm->z = gemm_alloc(n * model->steps * 4 * units);
	lstm->hidden[0] = gemm_alloc(n * model->steps * units);
	lstm->hidden[1] = gemm_alloc(n * model->steps * units);
	lstm->cell = gemm_alloc(n * units);
	return lstm;
}

static void cell(const float *z, size_t units, float *state, float *hidden)
{
	for (size_t u = 0; u < units; u++) {
		float input = 1 / (1 + expf(-z[u])), forget = 1 / (1 + expf(-z[units + u]));

		state[u] = forget * state[u] + input * tanhf(z[2 * units + u]);
		hidden[u] = tanhf(state[u]) / (1 + expf(-z[3 * units + u]));
	}
}

/* As ours: a row of the kernel for a one-hot input, input products of all steps at once. */
static void run_lstm(void *of, float *probability)
{
	struct blas_lstm *lstm = of;
	const uint32_t *hot = lstm->hot;
	const struct lstm_model *model = &lstm->model;
	size_t n = lstm->n, steps = model->steps, units = model->layer[0].units, gates = 4 * units;

	for (uint32_t l = 0; l < model->n_layers; l++) {
		const struct lstm_layer *layer = &model->layer[l];
		float *hidden = lstm->hidden[l % 2];

		for (size_t t = 0; t < steps; t++)
			for (size_t r = 0; r < n; r++) {
				float *z = lstm->z + (t * n + r) * gates;
				const float *row = layer->kernel + hot[r * steps + t] * gates;

				memcpy(z, layer->bias, gates * sizeof(float));
				for (size_t i = 0; l == 0 && i < gates; i++)
					z[i] += row[i];
			}
		if (l)
			cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)(n * steps),
				(int)gates, (int)units, 1, lstm->hidden[1 - l % 2], (int)units,
				layer->kernel, (int)gates, 1, lstm->z, (int)gates);
		memset(lstm->cell, 0, n * units * sizeof(float));
		for (size_t t = 0; t < steps; t++) {
			float *z = lstm->z + t * n * gates;

			if (t)
				cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n,
					(int)gates, (int)units, 1, hidden + (t - 1) * n * units,
					(int)units, layer->recurrent, (int)gates, 1, z, (int)gates);
			for (size_t r = 0; r < n; r++)
				cell(z + r * gates, units, lstm->cell + r * units,
					hidden + (t * n + r) * units);
		}
	}
	for (size_t r = 0; r < n; r++)
		memcpy(probability + r * model->classes, model->dense_bias,
			model->classes * sizeof(float));
	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)n, (int)model->classes,
		(int)units, 1, lstm->hidden[(model->n_layers - 1) % 2] + (steps - 1) * n * units,
		(int)units, model->dense, (int)model->classes, 1, probability, (int)model->classes);
	for (size_t r = 0; r < n; r++, probability += model->classes) {
		float largest = probability[0], sum = 0;

		for (uint32_t c = 1; c < model->classes; c++)
			largest = fmaxf(largest, probability[c]);
		for (uint32_t c = 0; c < model->classes; c++)
			sum += probability[c] = expf(probability[c] - largest);
		for (uint32_t c = 0; c < model->classes; c++)
			probability[c] /= sum;
	}
}

static void free_lstm(void *of)
{
	struct blas_lstm *lstm = of;

	free(lstm->z);
	free(lstm->hidden[0]);
	free(lstm->hidden[1]);
	free(lstm->cell);
	free(lstm);
}

/* ---- nearest neighbours ------------------------------------------------------------------------------- */

struct blas_knn {
	const float *row, *queries; /* borrowed */
	float *length, *product;
	size_t n_rows, width, n, k;
};

/* |r|^2 - 2 q.r by one sgemm, then the k smallest of each row. */
static void *make_knn(
	const float *rows, size_t n_rows, size_t width, const float *queries, size_t n, size_t k)
{
	struct blas_knn *knn = calloc(1, sizeof(*knn));

	*knn = (struct blas_knn){ rows, queries, gemm_alloc(n_rows), gemm_alloc(n * n_rows), n_rows,
		width, n, k };
	for (size_t r = 0; r < n_rows; r++)
		knn->length[r] = cblas_sdot((int)width, rows + r * width, 1, rows + r * width, 1);
	return knn;
}

static void run_knn(void *of, uint32_t *index)
{
	struct blas_knn *knn = of;
	const float *queries = knn->queries;
	size_t k = knn->k;

	cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)knn->n, (int)knn->n_rows,
		(int)knn->width, -2, queries, (int)knn->width, knn->row, (int)knn->width, 0,
		knn->product, (int)knn->n_rows);
	for (size_t q = 0; q < knn->n; q++, index += k) {
		const float *product = knn->product + q * knn->n_rows;
		float best[64];
		size_t have = 0;

		for (size_t r = 0; r < knn->n_rows; r++) {
			float distance = product[r] + knn->length[r];
			size_t at;

			if (have == k && distance >= best[k - 1])
				continue;
			have += have < k;
			for (at = have - 1; at && best[at - 1] > distance; at--) {
				best[at] = best[at - 1];
				index[at] = index[at - 1];
			}
			best[at] = distance;
			index[at] = (uint32_t)r;
		}
	}
}

static void free_knn(void *of)
{
	struct blas_knn *knn = of;

	free(knn->length);
	free(knn->product);
	free(knn);
}

const struct peer peer_openblas = {
	.name = "OpenBLAS",
	.mlp_make = make_mlp,
	.mlp_run = run_mlp,
	.mlp_free = free_mlp,
	.lstm_make = make_lstm,
	.lstm_run = run_lstm,
	.lstm_free = free_lstm,
	.knn_make = make_knn,
	.knn_run = run_knn,
	.knn_free = free_knn,
};
