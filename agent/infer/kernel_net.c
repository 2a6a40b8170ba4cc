// SPDX-License-Identifier: Apache-2.0
/*
 * kernel_net.c - writes a model's integer twin as the bytes that semantos.ko takes.
 *
 * What the module would refuse is refused here already, by the module's own source. Owns no state; any thread.
 */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/kernel_net.h"
#include "kmod/infer/net.h"

static const struct {
	const char *name;
	uint8_t number;
} encoders[] = {
	{ "linnos-digits", INFER_LINNOS_DIGITS },
};

static uint8_t encoder_number(const char *name)
{
	for (size_t i = 0; i < sizeof(encoders) / sizeof(encoders[0]); i++)
		if (!strcmp(encoders[i].name, name))
			return encoders[i].number;
	return 0;
}

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

/* The twin's score is 10^6 times the model's for two layers: 1000 for the inputs' weights, again for each layer. */
static double twin_scale(const struct model *model)
{
	return pow(1000, model->n_layers);
}

static size_t blob_bytes(const struct model *model)
{
	size_t bytes = sizeof(struct infer_blob_head);

	for (uint32_t i = 0; i < model->n_layers; i++) {
		const struct model_layer *layer = &model->layer[i];

		bytes += sizeof(struct infer_blob_layer) + layer->outputs * sizeof(int64_t) +
			 (size_t)layer->inputs * layer->outputs * sizeof(int16_t);
	}
	return bytes;
}

static int write_layers(const struct model *model, uint8_t *at)
{
	for (uint32_t i = 0; i < model->n_layers; i++) {
		struct infer_blob_layer layer = {
			.inputs = (uint16_t)model->layer[i].inputs,
			.outputs = (uint16_t)model->layer[i].outputs,
		};

		memcpy(at, &layer, sizeof(layer));
		at += sizeof(layer);
	}
	for (uint32_t i = 0; i < model->n_layers; i++) {
		size_t bytes = model->layer[i].outputs * sizeof(int64_t);

		memcpy(at, model->integer[i].bias, bytes);
		at += bytes;
	}
	for (uint32_t i = 0; i < model->n_layers; i++) {
		size_t cells = (size_t)model->layer[i].inputs * model->layer[i].outputs;

		for (size_t c = 0; c < cells; c++, at += sizeof(int16_t)) {
			int64_t weight = model->integer[i].weight[c];
			int16_t narrow = (int16_t)weight;

			if (narrow != weight)
				return -ERANGE;
			memcpy(at, &narrow, sizeof(narrow));
		}
	}
	return 0;
}

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

void *kernel_net_build(
	const struct model *model, uint32_t number, size_t *n_bytes, struct model_error *error)
{
	struct infer_blob_head head = {
		.magic = INFER_NET_MAGIC,
		.version = INFER_NET_VERSION,
		.encoder = encoder_number(model->encoder),
		.n_layers = (uint8_t)model->n_layers,
		.model = number,
	};
	const char *why = NULL;
	double threshold;
	uint8_t *blob;

	if (!head.encoder)
		return refuse(error, "%s takes the features of %s, which the kernel cannot compute",
			model->name, model->encoder);
	if (!model->has_integer)
		return refuse(error,
			"%s has no integer twin, which is what the kernel runs; train it with one",
			model->name);
	for (uint32_t i = 0; i < model->n_layers; i++)
		if (model->layer[i].inputs > INFER_MAX_WIDTH ||
			model->layer[i].outputs > INFER_MAX_WIDTH ||
			(model->layer[i].activation != MODEL_RELU && i + 1 < model->n_layers) ||
			(model->layer[i].activation != MODEL_LINEAR && i + 1 == model->n_layers))
			return refuse(error,
				"layer %u of %s is wider than %d or of a kind the kernel does not "
				"run",
				i, model->name, INFER_MAX_WIDTH);
	threshold = round((double)model->decision_threshold * twin_scale(model));
	if (!(fabs(threshold) < 0x1p62))
		return refuse(error, "the decision threshold of %s is out of range", model->name);
	head.threshold = (int64_t)threshold;
	head.bytes = (uint32_t)blob_bytes(model);
	snprintf(head.name, sizeof(head.name), "%.31s", model->name);
	blob = malloc(head.bytes);
	if (!blob)
		return refuse(error, "there is no memory for the kernel's copy of %s", model->name);
	memcpy(blob, &head, sizeof(head));
	if (write_layers(model, blob + sizeof(head))) {
		free(blob);
		return refuse(
			error, "%s has weights that do not fit the kernel's 16 bits", model->name);
	}
	if (try_it(blob, head.bytes, &why)) {
		free(blob);
		return refuse(error, "the kernel would refuse %s: %s", model->name, why);
	}
	*n_bytes = head.bytes;
	return blob;
}
