// SPDX-License-Identifier: Apache-2.0
/*
 * kernel_net.c - writes a model as the bytes that semantos.ko takes: the integer twin as it is, or rounded to 16 bits.
 *
 * What the module would refuse is refused here already, by the module's own source. Owns no state; any thread.
 */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/kernel_net.h"
#include "kmod/infer/net.h"

/* Where the parts of the blob lie that is being written. */
struct writer {
	const struct model *model;
	uint8_t *blob;
	struct infer_blob_head head;
	struct infer_blob_layer *layer; /* in the blob, like the rest */
	struct infer_blob_scale *scale; /* NULL: inputs are digits */
	uint8_t *bias, *weight;
};

static const struct {
	const char *name;
	uint8_t number;
	double unit; /* of a feature as the kernel computes it, in those of the agent */
} encoders[] = {
	{ "linnos-digits", INFER_LINNOS_DIGITS, 1 },
	{ "heimdall", INFER_HEIMDALL, 1 },
	{ "latency-ages", INFER_LATENCY_AGES, 1.0 / 1024 },
};

__attribute__((format(printf, 2, 3))) static void *refuse(
	struct model_error *error, const char *format, ...)
{
	va_list args;

	if (error) {
		va_start(args, format);
		vsnprintf(error->text, sizeof(error->text), format, args);
		va_end(args);
	}
	return NULL;
}

static int put_weight(struct writer *w, double value)
{
	int16_t narrow = (int16_t)(value < -32768 || value > 32767 ? 0 : value);

	if (narrow != value)
		return -ERANGE;
	memcpy(w->weight, &narrow, sizeof(narrow));
	w->weight += sizeof(narrow);
	return 0;
}

static void put_bias(struct writer *w, int64_t value)
{
	memcpy(w->bias, &value, sizeof(value));
	w->bias += sizeof(value);
}

/* ---- the twin ---- */

static int write_twin(struct writer *w)
{
	/* Each layer multiplies by 1000. */
	double threshold =
		round((double)w->model->decision_threshold * pow(1000, w->model->n_layers));

	if (!(fabs(threshold) < 0x1p62))
		return -ERANGE;
	w->head.threshold = (int64_t)threshold;
	for (uint32_t l = 0; l < w->model->n_layers; l++) {
		const struct model_layer *layer = &w->model->layer[l];
		const struct model_integer_layer *twin = &w->model->integer[l];

		for (uint32_t o = 0; o < layer->outputs; o++)
			put_bias(w, twin->bias[o]);
		for (size_t i = 0; i < (size_t)layer->inputs * layer->outputs; i++)
			if (llabs(twin->weight[i]) > 32768 ||
				put_weight(w, (double)twin->weight[i]))
				return -ERANGE;
	}
	return 0;
}

/* ---- rounding to 16 bits ---- */

#define INPUT_BITS 12 /* an input of one standard deviation is 4096 */
#define TYPICAL_MOST 6.0 /* a sum is taken to stay within so many standard deviations */

/*
 * x' = (f * unit - mean) * scale in units of 2^-12, as the kernel computes it; what its whole offset leaves over is a
 * constant, returned to become part of the first layer's biases.
 */
static int write_scale(
	struct infer_blob_scale *to, double mean, double scale, double unit, double *left_over)
{
	double factor = scale * unit * (1 << INPUT_BITS), offset = round(mean / unit);

	if (!(offset >= 0 && offset <= UINT32_MAX) || !(fabs(factor) <= 0x1p24))
		return -ERANGE;
	to->offset = (uint32_t)offset;
	to->shift = 0;
	while (to->shift < 40 && fabs(factor) <= 0x1p23) {
		factor *= 2;
		to->shift++;
	}
	to->factor = (int32_t)lrint(factor);
	*left_over = (offset * unit - mean) * scale;
	return 0;
}

/*
 * One layer whose inputs are in units of 2^-in_bits and spread by `spread`; leaves both for the next. Weights get as many
 * bits as let every sum fit 32, so that the kernel can add products in pairs.
 */
static int write_layer(
	struct writer *w, uint32_t l, const double *constant, int *in_bits, double *spread)
{
	const struct model_layer *layer = &w->model->layer[l];
	double most_weight = 0, most_sum = 0, typical = 0;
	int bits = 0, out_bits;

	for (uint32_t o = 0; o < layer->outputs; o++) {
		const float *row = layer->weight + (size_t)o * layer->inputs;
		double sum = fabs(layer->bias[o]) * ldexp(1, *in_bits), squares = 0;

		for (uint32_t i = 0; i < layer->inputs; i++) {
			most_weight = fmax(most_weight, fabs(row[i]));
			/* half a unit for its rounding is in the 33000 */
			sum += fabs(row[i]) *
			       (33000 + (constant ? fabs(constant[i]) * ldexp(1, *in_bits) : 0));
			squares += (double)row[i] * row[i];
		}
		most_sum = fmax(most_sum, sum);
		typical = fmax(
			typical, fabs(layer->bias[o]) + TYPICAL_MOST * sqrt(squares) * *spread);
	}
	if (!isfinite(most_sum))
		return -ERANGE;
	while (bits < 24 && ldexp(most_weight, bits + 1) < 32767 &&
		ldexp(most_sum, bits + 1) + layer->inputs * 33000.0 < INT_MAX)
		bits++;
	for (uint32_t o = 0; o < layer->outputs; o++) {
		const float *row = layer->weight + (size_t)o * layer->inputs;
		double bias = layer->bias[o];

		for (uint32_t i = 0; i < layer->inputs; i++) {
			bias += constant ? constant[i] * row[i] : 0;
			if (put_weight(w, rint(ldexp(row[i], bits))))
				return -ERANGE;
		}
		bias = rint(ldexp(bias, bits + *in_bits));
		if (!(fabs(bias) < 0x1p60))
			return -ERANGE;
		put_bias(w, (int64_t)bias);
	}
	if (l + 1 == w->model->n_layers) {
		*in_bits += bits; /* of the score */
		return 0;
	}
	out_bits = (int)floor(log2(32767 / fmax(typical, 1e-6)));
	out_bits = out_bits < *in_bits + bits - 1 ? out_bits : *in_bits + bits - 1;
	if (*in_bits + bits - out_bits > INFER_MAX_SHIFT)
		return -ERANGE;
	w->layer[l].shift = (uint8_t)(*in_bits + bits - out_bits);
	*in_bits = out_bits;
	*spread = typical / TYPICAL_MOST;
	return 0;
}

/* A threshold of a sigmoid's output as one of what goes into it. */
static double linear_threshold(const struct model *model)
{
	double t = model->decision_threshold;

	return model->layer[model->n_layers - 1].activation == MODEL_SIGMOID ? log(t / (1 - t)) : t;
}

static int write_rounded(struct writer *w, double unit)
{
	double constant[INFER_MAX_WIDTH], spread = 1, threshold;
	int bits = INPUT_BITS;

	for (uint32_t i = 0; i < model_inputs(w->model); i++)
		if (write_scale(&w->scale[i], w->model->mean[i], w->model->scale[i], unit,
			    &constant[i]))
			return -ERANGE;
	for (uint32_t l = 0; l < w->model->n_layers; l++)
		if (write_layer(w, l, l ? NULL : constant, &bits, &spread))
			return -ERANGE;
	threshold = rint(ldexp(linear_threshold(w->model), bits));
	if (!(fabs(threshold) < 0x1p62))
		return -ERANGE;
	w->head.threshold = (int64_t)threshold;
	return 0;
}

/* ---- the blob ---- */

/* Would the module take it? Asked of the module's own source. */
static int try_it(const void *blob, size_t n_bytes, const char **why)
{
	struct infer_net *net;
	size_t packed = 0;
	int err = infer_net_check(blob, n_bytes, &packed, why);

	if (err)
		return err;
	net = aligned_alloc(64, (packed + 63) / 64 * 64);
	*why = "there is no memory to try it";
	if (!net)
		return -ENOMEM;
	memset(net, 0, packed);
	err = infer_net_pack(net, blob, why);
	free(net);
	return err;
}

static bool can_run(const struct model_layer *layer, bool last, bool rounded)
{
	if (layer->inputs > INFER_MAX_WIDTH || layer->outputs > INFER_MAX_WIDTH)
		return false;
	if (!last)
		return layer->activation == MODEL_RELU;
	return layer->activation == MODEL_LINEAR ||
	       (rounded && layer->activation == MODEL_SIGMOID && layer->outputs == 1);
}

static void *build(
	struct writer *w, double unit, bool rounded, size_t *n_bytes, struct model_error *error)
{
	const char *why = NULL;
	uint32_t biases = 0, cells = 0;
	size_t at = sizeof(w->head);

	for (uint32_t l = 0; l < w->model->n_layers; l++) {
		biases += w->model->layer[l].outputs;
		cells += w->model->layer[l].inputs * w->model->layer[l].outputs;
	}
	*n_bytes = at + w->model->n_layers * sizeof(*w->layer) +
		   (rounded ? model_inputs(w->model) : 0) * sizeof(*w->scale) +
		   biases * sizeof(int64_t) + cells * sizeof(int16_t);
	w->blob = calloc(1, *n_bytes);
	if (!w->blob)
		return refuse(
			error, "there is no memory for the kernel's copy of %s", w->model->name);
	w->layer = (struct infer_blob_layer *)(w->blob + at);
	at += w->model->n_layers * sizeof(*w->layer);
	w->scale = rounded ? (struct infer_blob_scale *)(w->blob + at) : NULL;
	at += (rounded ? model_inputs(w->model) : 0) * sizeof(*w->scale);
	w->bias = w->blob + at;
	w->weight = w->bias + biases * sizeof(int64_t);
	for (uint32_t l = 0; l < w->model->n_layers; l++) {
		w->layer[l].inputs = (uint16_t)w->model->layer[l].inputs;
		w->layer[l].outputs = (uint16_t)w->model->layer[l].outputs;
	}
	w->head.bytes = (uint32_t)*n_bytes;
	w->head.has_scaling = rounded;
	if (rounded ? write_rounded(w, unit) : write_twin(w)) {
		free(w->blob);
		return refuse(error, "%s has numbers that do not fit the kernel's 16-bit nets",
			w->model->name);
	}
	memcpy(w->blob, &w->head, sizeof(w->head));
	if (try_it(w->blob, *n_bytes, &why)) {
		free(w->blob);
		return refuse(error, "the kernel would refuse %s: %s", w->model->name, why);
	}
	return w->blob;
}

void *kernel_net_build(
	const struct model *model, uint32_t number, size_t *n_bytes, struct model_error *error)
{
	struct writer w = { .model = model,
		.head = { .magic = INFER_NET_MAGIC,
			.version = INFER_NET_VERSION,
			.n_layers = (uint8_t)model->n_layers,
			.model = number } };
	bool rounded;
	double unit = 1;

	for (size_t i = 0; i < sizeof(encoders) / sizeof(encoders[0]); i++)
		if (!strcmp(encoders[i].name, model->encoder)) {
			w.head.encoder = encoders[i].number;
			unit = encoders[i].unit;
		}
	if (!w.head.encoder)
		return refuse(error, "%s takes the features of %s, which the kernel cannot compute",
			model->name, model->encoder);
	rounded = w.head.encoder != INFER_LINNOS_DIGITS || !model->has_integer;
	if (rounded && !model->mean)
		return refuse(error,
			"%s has neither an integer twin nor mean and scale; train it with one",
			model->name);
	for (uint32_t l = 0; l < model->n_layers; l++)
		if (!can_run(&model->layer[l], l + 1 == model->n_layers, rounded))
			return refuse(error,
				"layer %u of %s is wider than %d or of a kind the kernel does not "
				"run",
				l, model->name, INFER_MAX_WIDTH);
	snprintf(w.head.name, sizeof(w.head.name), "%.31s", model->name);
	return build(&w, unit, rounded, n_bytes, error);
}
