// SPDX-License-Identifier: Apache-2.0
/*
 * train.c - trains a multi-layer perceptron by minibatches: forward, loss, backward, Adam or momentum SGD.
 *
 * Owns its working copy of the weights, laid out for the product in gemm.h; the caller's model is written only when
 * training ends well. No thread of its own, no I/O, the same numbers for the same seed on the same CPU.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "agent/infer/gemm.h"
#include "agent/infer/random.h"
#include "agent/infer/train.h"

#define GAMMA_STEEPEST 20.0 /* slope of one row, so that a hiccup is not the lesson */

#define ADAM_BETA1 0.9f
#define ADAM_BETA2 0.999f
#define ADAM_EPSILON 1e-7f

/* Weights lie input-major with the bias as a last row: [inputs + 1][padded]; so do gradient and moments. */
struct train_layer {
	size_t inputs, outputs, padded, n;
	enum model_activation activation;
	float *weight, *gradient, *first, *second;
	float *turned; /* [outputs][padded inputs]: the weights transposed, for the way back */
	float *out, *delta; /* [batch][padded] */
};

struct trainer {
	const struct train_options *options;
	struct train_layer layer[MODEL_MAX_LAYERS];
	uint32_t n_layers;
	size_t inputs, padded_inputs, batch;
	float *mean, *scale; /* [inputs] or NULL */
	float *x; /* [batch][padded_inputs], scaled */
	uint8_t *y; /* [batch] */
	float *wanted; /* [batch]: targets */
	uint32_t *order; /* [n] */
	uint64_t step;
};

/* ---- memory ---------------------------------------------------------------------------------------- */

static void trainer_free(struct trainer *t)
{
	for (uint32_t i = 0; i < t->n_layers; i++) {
		struct train_layer *layer = &t->layer[i];

		free(layer->weight);
		free(layer->gradient);
		free(layer->first);
		free(layer->second);
		free(layer->turned);
		free(layer->out);
		free(layer->delta);
	}
	free(t->mean);
	free(t->scale);
	free(t->x);
	free(t->y);
	free(t->wanted);
	free(t->order);
}

static int trainer_init(
	struct trainer *t, const struct model *model, size_t n, const struct train_options *options)
{
	struct random_state random = random_seed(options->seed);

	t->options = options;
	t->inputs = model_inputs(model);
	t->padded_inputs = GEMM_PAD(t->inputs);
	t->batch = options->batch < n ? options->batch : n;
	t->n_layers = model->n_layers;
	t->x = gemm_alloc(t->batch * t->padded_inputs);
	t->y = malloc(t->batch);
	t->wanted = calloc(t->batch, sizeof(*t->wanted));
	t->order = malloc(n * sizeof(*t->order));
	t->mean = calloc(t->inputs, sizeof(float));
	t->scale = calloc(t->inputs, sizeof(float));
	if (!t->x || !t->y || !t->wanted || !t->order || !t->mean || !t->scale)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		t->order[i] = (uint32_t)i;
	for (uint32_t i = 0; i < t->n_layers; i++) {
		struct train_layer *layer = &t->layer[i];
		double limit;

		layer->inputs = model->layer[i].inputs;
		layer->outputs = model->layer[i].outputs;
		layer->padded = GEMM_PAD(layer->outputs);
		layer->activation = model->layer[i].activation;
		layer->n = (layer->inputs + 1) * layer->padded;
		layer->weight = gemm_alloc(layer->n);
		layer->gradient = gemm_alloc(layer->n);
		layer->first = gemm_alloc(layer->n);
		layer->second = gemm_alloc(layer->n);
		layer->turned = gemm_alloc(layer->outputs * GEMM_PAD(layer->inputs));
		layer->out = gemm_alloc(t->batch * layer->padded);
		layer->delta = gemm_alloc(t->batch * layer->padded);
		if (!layer->weight || !layer->gradient || !layer->first || !layer->second ||
			!layer->turned || !layer->out || !layer->delta)
			return -ENOMEM;
		/* Glorot and Bengio, AISTATS'10: keeps the spread of signals and gradients across layers. */
		limit = sqrt(6.0 / (double)(layer->inputs + layer->outputs));
		for (size_t k = 0; k < layer->inputs; k++)
			for (size_t o = 0; o < layer->outputs; o++)
				layer->weight[k * layer->padded + o] =
					(float)((2 * random_unit(&random) - 1) * limit);
	}
	return 0;
}

/* ---- rows ------------------------------------------------------------------------------------------ */

static int rows_check(const float *rows, const uint8_t *labels, size_t n, size_t inputs)
{
	size_t n_slow = 0;

	for (size_t i = 0; i < n * inputs; i++)
		if (!isfinite(rows[i]))
			return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (labels[i] > 1)
			return -EINVAL;
		n_slow += labels[i];
	}
	return n_slow > 0 && n_slow < n ? 0 : -EINVAL;
}

/* A feature that never varies says nothing, and later might: its scale is 0, so it stays out of the net. */
static int measure(struct trainer *t, const float *rows, size_t n)
{
	double *sum = calloc(2 * t->inputs, sizeof(double)), *squares;

	if (!sum)
		return -ENOMEM;
	squares = sum + t->inputs;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < t->inputs; k++)
			sum[k] += rows[i * t->inputs + k];
	for (size_t k = 0; k < t->inputs; k++)
		t->mean[k] = (float)(sum[k] / (double)n);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < t->inputs; k++) {
			double d = rows[i * t->inputs + k] - t->mean[k];

			squares[k] += d * d;
		}
	for (size_t k = 0; k < t->inputs; k++) {
		double deviation = sqrt(squares[k] / (double)n);

		t->scale[k] = deviation > 1e-6 * fabs((double)t->mean[k]) && deviation > 1e-30
				      ? (float)(1 / deviation)
				      : 0;
	}
	free(sum);
	return 0;
}

static void shuffle(uint32_t *order, size_t n, struct random_state *random)
{
	for (size_t i = n - 1; i > 0; i--) {
		size_t j = random_below(random, i + 1);
		uint32_t swap = order[i];

		order[i] = order[j];
		order[j] = swap;
	}
}

static void gather(struct trainer *t, const float *rows, const uint8_t *labels,
	const uint32_t *order, size_t m)
{
	for (size_t r = 0; r < m; r++) {
		const float *from = rows + (size_t)order[r] * t->inputs;
		float *to = t->x + r * t->padded_inputs;

		t->y[r] = labels[order[r]];
		if (t->options->loss == TRAIN_GAMMA)
			t->wanted[r] = t->options->target[order[r]];
		for (size_t k = 0; k < t->inputs; k++)
			to[k] = (from[k] - t->mean[k]) * t->scale[k];
	}
}

/* ---- one minibatch --------------------------------------------------------------------------------- */

/* Lengths are multiples of the lanes: inner loops of known length become vectors at -O2. */
GEMM_CLONES static void relu(float *out, size_t n)
{
	for (size_t i = 0; i < n; i += GEMM_LANES)
		for (size_t k = i; k < i + GEMM_LANES; k++)
			out[k] = out[k] < 0 ? 0 : out[k];
}

GEMM_CLONES static void relu_back(const float *restrict out, float *restrict delta, size_t n)
{
	for (size_t i = 0; i < n; i += GEMM_LANES)
		for (size_t k = i; k < i + GEMM_LANES; k++)
			delta[k] = out[k] > 0 ? delta[k] : 0;
}

GEMM_CLONES static void add(float *restrict to, const float *restrict from, size_t n)
{
	for (size_t i = 0; i < n; i += GEMM_LANES)
		for (size_t k = i; k < i + GEMM_LANES; k++)
			to[k] += from[k];
}

static void forward(struct trainer *t, size_t m)
{
	const float *x = t->x;
	size_t ldx = t->padded_inputs;

	for (uint32_t i = 0; i < t->n_layers; i++) {
		struct train_layer *layer = &t->layer[i];
		const float *bias = layer->weight + layer->inputs * layer->padded;
		float *out = layer->out;

		for (size_t r = 0; r < m; r++)
			memcpy(out + r * layer->padded, bias, layer->padded * sizeof(float));
		gemm_add(m, layer->padded, layer->inputs, x, ldx, 1, layer->weight, layer->padded,
			out, layer->padded);
		if (layer->activation == MODEL_RELU)
			relu(out, m * layer->padded);
		else if (layer->activation == MODEL_SIGMOID)
			for (size_t k = 0; k < m * layer->padded; k++)
				out[k] = 1 / (1 + expf(-out[k]));
		x = out;
		ldx = layer->padded;
	}
}

/*
 * Loss and its slope at score z (out1 - out0, or the one output). Cross entropy counts every slow row slow_weight
 * times; hinge does so only while the slow row is called fast, as LinnOS was trained.
 */
static double loss_at(const struct train_options *options, double z, bool slow, double *slope)
{
	double side = slow ? z : -z, weight = slow ? (double)options->slow_weight : 1;

	if (options->loss == TRAIN_HINGE) {
		weight = side < 0 ? weight : 1;
		*slope = side < 1 ? (slow ? -weight : weight) : 0;
		return side < 1 ? weight * (1 - side) : 0;
	}
	/* log(1 + exp(-side)) without overflow */
	*slope = (slow ? -weight : weight) / (1 + exp(side));
	return weight * (side > 0 ? log1p(exp(-side)) : log1p(exp(side)) - side);
}

static double output_delta(struct trainer *t, size_t m)
{
	struct train_layer *last = &t->layer[t->n_layers - 1];
	double loss = 0;

	for (size_t r = 0; r < m; r++) {
		const float *out = last->out + r * last->padded;
		float *delta = last->delta + r * last->padded;
		double z = last->outputs == 2 ? (double)out[1] - (double)out[0] : (double)out[0],
		       slope;

		if (t->options->loss == TRAIN_GAMMA) {
			double times = (double)t->wanted[r] * exp(-z);

			loss += times + z;
			slope = times > 1 + GAMMA_STEEPEST ? -GAMMA_STEEPEST : 1 - times;
		} else {
			loss += loss_at(t->options, z, t->y[r], &slope);
		}
		slope /= (double)m;
		delta[last->outputs - 1] = (float)slope;
		if (last->outputs == 2)
			delta[0] = (float)-slope;
	}
	return loss;
}

/* delta of the layer below, through the transposed weights and the slope of its activation. */
static void push_down(struct train_layer *layer, struct train_layer *below, size_t m)
{
	for (size_t k = 0; k < layer->inputs; k++)
		for (size_t o = 0; o < layer->outputs; o++)
			layer->turned[o * below->padded + k] = layer->weight[k * layer->padded + o];
	memset(below->delta, 0, m * below->padded * sizeof(float));
	gemm_add(m, below->padded, layer->outputs, layer->delta, layer->padded, 1, layer->turned,
		below->padded, below->delta, below->padded);
	if (below->activation == MODEL_RELU)
		relu_back(below->out, below->delta, m * below->padded);
	else if (below->activation == MODEL_SIGMOID)
		for (size_t k = 0; k < m * below->padded; k++)
			below->delta[k] *= below->out[k] * (1 - below->out[k]);
}

static void backward(struct trainer *t, size_t m)
{
	for (uint32_t i = t->n_layers; i-- > 0;) {
		struct train_layer *layer = &t->layer[i];
		const float *x = i ? t->layer[i - 1].out : t->x;
		size_t ldx = i ? t->layer[i - 1].padded : t->padded_inputs;
		float *bias = layer->gradient + layer->inputs * layer->padded;

		if (i)
			push_down(layer, &t->layer[i - 1], m);
		memset(layer->gradient, 0, layer->n * sizeof(float));
		gemm_add(layer->inputs, layer->padded, m, x, 1, ldx, layer->delta, layer->padded,
			layer->gradient, layer->padded);
		for (size_t r = 0; r < m; r++)
			add(bias, layer->delta + r * layer->padded, layer->padded);
	}
}

/* Kingma and Ba, ICLR'15; `rate` carries the bias correction. */
GEMM_CLONES static void step_adam(struct train_layer *layer, float rate)
{
	float *restrict w = layer->weight, *restrict first = layer->first,
			*restrict second = layer->second;
	const float *restrict g = layer->gradient;

	for (size_t i = 0; i < layer->n; i += GEMM_LANES)
		for (size_t k = i; k < i + GEMM_LANES; k++) {
			first[k] = ADAM_BETA1 * first[k] + (1 - ADAM_BETA1) * g[k];
			second[k] = ADAM_BETA2 * second[k] + (1 - ADAM_BETA2) * g[k] * g[k];
			w[k] -= rate * first[k] / (__builtin_sqrtf(second[k]) + ADAM_EPSILON);
		}
}

GEMM_CLONES static void step_sgd(struct train_layer *layer, float rate, float momentum)
{
	float *restrict w = layer->weight, *restrict first = layer->first;
	const float *restrict g = layer->gradient;

	for (size_t i = 0; i < layer->n; i += GEMM_LANES)
		for (size_t k = i; k < i + GEMM_LANES; k++) {
			first[k] = momentum * first[k] - rate * g[k];
			w[k] += first[k];
		}
}

static void step(struct trainer *t)
{
	const struct train_options *options = t->options;
	double n = (double)++t->step;
	float adam_rate = (float)(options->learning_rate * sqrt(1 - pow(ADAM_BETA2, n)) /
				  (1 - pow(ADAM_BETA1, n)));

	for (uint32_t i = 0; i < t->n_layers; i++)
		if (options->optimiser == TRAIN_ADAM)
			step_adam(&t->layer[i], adam_rate);
		else
			step_sgd(&t->layer[i], options->learning_rate, options->momentum);
}

/* ---- the whole ------------------------------------------------------------------------------------- */

static int train_epochs(struct trainer *t, const float *rows, const uint8_t *labels, size_t n,
	struct train_report *report)
{
	const struct train_options *options = t->options;
	struct random_state random = random_seed(~options->seed);

	for (uint32_t epoch = 0; epoch < options->epochs; epoch++) {
		double loss = 0;

		shuffle(t->order, n, &random);
		for (size_t done = 0; done < n; done += t->batch) {
			size_t m = n - done < t->batch ? n - done : t->batch;

			if (options->cancel &&
				atomic_load_explicit(options->cancel, memory_order_relaxed))
				return -ECANCELED;
			gather(t, rows, labels, t->order + done, m);
			forward(t, m);
			loss += output_delta(t, m);
			if (!isfinite(loss))
				return -ERANGE;
			backward(t, m);
			step(t);
		}
		report->loss_last = (float)(loss / (double)n);
		if (epoch == 0)
			report->loss_first = report->loss_last;
		report->epochs = epoch + 1;
	}
	return 0;
}

static int store(struct trainer *t, struct model *model)
{
	for (uint32_t i = 0; i < t->n_layers; i++)
		for (size_t k = 0; k < t->layer[i].n; k++)
			if (!isfinite(t->layer[i].weight[k]))
				return -ERANGE;
	for (uint32_t i = 0; i < t->n_layers; i++) {
		const struct train_layer *layer = &t->layer[i];
		struct model_layer *to = &model->layer[i];

		for (size_t o = 0; o < layer->outputs; o++) {
			for (size_t k = 0; k < layer->inputs; k++)
				to->weight[o * layer->inputs + k] =
					layer->weight[k * layer->padded + o];
			to->bias[o] = layer->weight[layer->inputs * layer->padded + o];
		}
	}
	free(model->mean);
	free(model->scale);
	model->mean = model->scale = NULL;
	if (t->options->standardise) {
		model->mean = t->mean;
		model->scale = t->scale;
		t->mean = t->scale = NULL;
	}
	model->decision_threshold = 0;
	return model->has_integer ? model_quantise(model) : 0;
}

static bool options_fit(const struct model *model, size_t n, const struct train_options *options)
{
	uint32_t outputs = model->n_layers ? model_outputs(model) : 0;

	if (options->loss == TRAIN_GAMMA && (outputs != 1 || !options->target))
		return false;
	return n >= 2 && n <= UINT32_MAX && (outputs == 1 || outputs == 2) &&
	       model->layer[model->n_layers - 1].activation == MODEL_LINEAR &&
	       options->epochs > 0 && options->batch > 0 && isfinite(options->learning_rate) &&
	       options->learning_rate > 0 && isfinite(options->slow_weight) &&
	       options->slow_weight > 0 && options->momentum >= 0 && options->momentum < 1;
}

int train_mlp(struct model *model, const float *rows, const uint8_t *labels, size_t n,
	const struct train_options *options, struct train_report *report)
{
	struct trainer t = { 0 };
	struct train_report own;
	struct timespec start, end;
	int err;

	if (!report)
		report = &own;
	*report = (struct train_report){ 0 };
	if (!options_fit(model, n, options))
		return -EINVAL;
	err = rows_check(rows, labels, n, model_inputs(model));
	if (err)
		return err;
	clock_gettime(CLOCK_MONOTONIC, &start);
	err = trainer_init(&t, model, n, options);
	if (err)
		goto out;
	if (options->standardise)
		err = measure(&t, rows, n);
	else
		for (size_t k = 0; k < t.inputs; k++)
			t.scale[k] = 1;
	if (!err)
		err = train_epochs(&t, rows, labels, n, report);
	if (!err)
		err = store(&t, model);
	clock_gettime(CLOCK_MONOTONIC, &end);
	report->seconds =
		(double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9;
out:
	trainer_free(&t);
	return err;
}
