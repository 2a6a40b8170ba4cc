// SPDX-License-Identifier: Apache-2.0
/*
 * model.c - a model in memory: making, copying and freeing it, its provenance notes, its integer twin.
 *
 * Owns struct model and everything it points to. Knows nothing of files (model_file.c) and never looks at a
 * feature. A model is written by one thread until it is handed out, then only read.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/model.h"

static bool copy_name(char *to, const char *from)
{
	if (!from || strlen(from) >= MODEL_NAME_LEN)
		return false;
	memcpy(to, from, strlen(from) + 1);
	return true;
}

struct model *model_new(
	const char *name, const char *encoder, const uint32_t *widths, uint32_t n_widths)
{
	struct model *model;

	if (n_widths < 2 || n_widths > MODEL_MAX_LAYERS + 1)
		return NULL;
	for (uint32_t i = 0; i < n_widths; i++)
		if (widths[i] == 0 || widths[i] > MODEL_MAX_WIDTH)
			return NULL;
	model = calloc(1, sizeof(*model));
	if (!model)
		return NULL;
	if (!copy_name(model->name, name) || !copy_name(model->encoder, encoder))
		goto fail;
	model->n_layers = n_widths - 1;
	for (uint32_t i = 0; i < model->n_layers; i++) {
		struct model_layer *layer = &model->layer[i];

		layer->inputs = widths[i];
		layer->outputs = widths[i + 1];
		layer->activation = i + 1 < model->n_layers ? MODEL_RELU : MODEL_LINEAR;
		layer->weight = calloc((size_t)layer->inputs * layer->outputs, sizeof(float));
		layer->bias = calloc(layer->outputs, sizeof(float));
		if (!layer->weight || !layer->bias)
			goto fail;
	}
	return model;
fail:
	model_free(model);
	return NULL;
}

static void free_integer(struct model *model)
{
	for (uint32_t i = 0; i < MODEL_MAX_LAYERS; i++) {
		free(model->integer[i].weight);
		free(model->integer[i].bias);
		model->integer[i].weight = NULL;
		model->integer[i].bias = NULL;
	}
	model->has_integer = false;
}

void model_free(struct model *model)
{
	if (!model)
		return;
	for (uint32_t i = 0; i < MODEL_MAX_LAYERS; i++) {
		free(model->layer[i].weight);
		free(model->layer[i].bias);
	}
	free_integer(model);
	free(model->mean);
	free(model->scale);
	for (uint32_t i = 0; i < model->n_notes; i++) {
		free(model->note[i].key);
		free(model->note[i].value);
	}
	free(model);
}

static void *duplicate(const void *from, size_t n_bytes)
{
	void *to = malloc(n_bytes);

	if (to)
		memcpy(to, from, n_bytes);
	return to;
}

struct model *model_clone(const struct model *model)
{
	uint32_t widths[MODEL_MAX_LAYERS + 1];
	struct model *copy;

	widths[0] = model_inputs(model);
	for (uint32_t i = 0; i < model->n_layers; i++)
		widths[i + 1] = model->layer[i].outputs;
	copy = model_new(model->name, model->encoder, widths, model->n_layers + 1);
	if (!copy)
		return NULL;
	copy->slow_threshold_us = model->slow_threshold_us;
	copy->decision_threshold = model->decision_threshold;
	copy->latency_error_us = model->latency_error_us;
	copy->silence_us = model->silence_us;
	for (uint32_t i = 0; i < model->n_layers; i++) {
		const struct model_layer *layer = &model->layer[i];
		size_t cells = (size_t)layer->inputs * layer->outputs;

		copy->layer[i].activation = layer->activation;
		memcpy(copy->layer[i].weight, layer->weight, cells * sizeof(float));
		memcpy(copy->layer[i].bias, layer->bias, layer->outputs * sizeof(float));
		if (!model->has_integer)
			continue;
		copy->integer[i].weight =
			duplicate(model->integer[i].weight, cells * sizeof(int64_t));
		copy->integer[i].bias =
			duplicate(model->integer[i].bias, layer->outputs * sizeof(int64_t));
		if (!copy->integer[i].weight || !copy->integer[i].bias)
			goto fail;
	}
	copy->has_integer = model->has_integer;
	if (model->mean) {
		copy->mean = duplicate(model->mean, widths[0] * sizeof(float));
		copy->scale = duplicate(model->scale, widths[0] * sizeof(float));
		if (!copy->mean || !copy->scale)
			goto fail;
	}
	for (uint32_t i = 0; i < model->n_notes; i++)
		if (model_note_set(copy, model->note[i].key, model->note[i].value))
			goto fail;
	return copy;
fail:
	model_free(copy);
	return NULL;
}

uint32_t model_inputs(const struct model *model)
{
	return model->layer[0].inputs;
}

uint32_t model_outputs(const struct model *model)
{
	return model->layer[model->n_layers - 1].outputs;
}

/* A note ends up on terminals: control characters become blanks, the length is bounded. */
static char *clean_copy(const char *text)
{
	char *copy = strndup(text, MODEL_NOTE_MAX_BYTES);

	for (char *c = copy; c && *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';
	return copy;
}

int model_note_set(struct model *model, const char *key, const char *value)
{
	char *clean_key = clean_copy(key), *clean_value = clean_copy(value);
	int err = -ENOMEM;

	if (!clean_key || !clean_value)
		goto out;
	err = 0;
	for (uint32_t i = 0; i < model->n_notes; i++)
		if (!strcmp(model->note[i].key, clean_key)) {
			free(model->note[i].value);
			model->note[i].value = clean_value;
			clean_value = NULL;
			goto out;
		}
	err = -ENOSPC;
	if (model->n_notes == MODEL_NOTES_MAX)
		goto out;
	model->note[model->n_notes++] =
		(struct model_note){ .key = clean_key, .value = clean_value };
	return 0;
out:
	free(clean_key);
	free(clean_value);
	return err;
}

const char *model_note_get(const struct model *model, const char *key)
{
	for (uint32_t i = 0; i < model->n_notes; i++)
		if (!strcmp(model->note[i].key, key))
			return model->note[i].value;
	return NULL;
}

static bool to_integer(double value, int64_t *out)
{
	/* 2^62 leaves a bit for the sums; NaN fails the comparison as well. */
	if (!(fabs(value) < 0x1p62))
		return false;
	*out = llround(value);
	return true;
}

/*
 * Published rule (LinnOS as LAKE runs it): every layer multiplies the scale of what passes by 1000, so layer i's
 * bias carries 1000^(i+1). All but the last bias were rounded to thousandths first, the last one was not.
 */
int model_quantise(struct model *model)
{
	double carried = 1; /* 1000^i: the scale of layer i's inputs */
	int err;

	if (model->n_layers == 0)
		return -EINVAL;
	free_integer(model);
	for (uint32_t i = 0; i < model->n_layers; i++, carried *= 1000) {
		const struct model_layer *layer = &model->layer[i];
		struct model_integer_layer *integer = &model->integer[i];
		bool last = i + 1 == model->n_layers;

		err = -EINVAL;
		if (layer->activation == MODEL_SIGMOID)
			goto fail;
		err = -ENOMEM;
		integer->weight =
			malloc((size_t)layer->inputs * layer->outputs * sizeof(*integer->weight));
		integer->bias = malloc(layer->outputs * sizeof(*integer->bias));
		if (!integer->weight || !integer->bias)
			goto fail;
		err = -ERANGE;
		for (uint32_t o = 0; o < layer->outputs; o++) {
			const float *weight = layer->weight + (size_t)o * layer->inputs;
			int64_t *to = integer->weight + (size_t)o * layer->inputs;
			double bias = layer->bias[o];

			for (uint32_t k = 0; k < layer->inputs; k++) {
				double w = weight[k];

				if (i == 0 && model->mean) {
					w *= model->scale[k];
					bias -= w * model->mean[k];
				}
				if (!to_integer(w * 1000, &to[k]))
					goto fail;
			}
			bias = last ? bias * 1000 * carried : (double)round(bias * 1000) * carried;
			if (!to_integer(bias, &integer->bias[o]))
				goto fail;
		}
	}
	model->has_integer = true;
	return 0;
fail:
	free_integer(model);
	return err;
}
