// SPDX-License-Identifier: Apache-2.0
/*
 * model_save.c - writes a model as safetensors bytes (docs/model-format.md).
 *
 * Refuses to write what model_load.c would refuse to read. Any thread; the model is only read.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "agent/infer/model_file.h"

static const char *const activation_names[] = {
	[MODEL_LINEAR] = "linear",
	[MODEL_RELU] = "relu",
	[MODEL_SIGMOID] = "sigmoid",
};

const char *model_activation_name(enum model_activation activation)
{
	return activation_names[activation];
}

int model_activation_find(const char *text, size_t length)
{
	for (size_t i = 0; i < sizeof(activation_names) / sizeof(activation_names[0]); i++)
		if (strlen(activation_names[i]) == length &&
			!strncmp(activation_names[i], text, length))
			return (int)i;
	return -1;
}

static void put_metadata(struct tensor_writer *w, const struct model *model)
{
	char activations[MODEL_MAX_LAYERS * 16] = "", key[MODEL_NOTE_MAX_BYTES + 8];

	for (uint32_t i = 0; i < model->n_layers; i++) {
		strcat(activations, i ? "," : "");
		strcat(activations, model_activation_name(model->layer[i].activation));
	}
	tensor_put_string(w, "format", MODEL_FORMAT);
	tensor_put_string(w, "name", model->name);
	tensor_put_string(w, "encoder", model->encoder);
	tensor_put_string(w, "activations", activations);
	tensor_put_number(w, "decision_threshold", model->decision_threshold);
	tensor_put_number(w, "slow_threshold_us", model->slow_threshold_us);
	if (model->latency_error_us > 0)
		tensor_put_number(w, "log2_latency_error_us", model->latency_error_us);
	if (model->silence_us > 0)
		tensor_put_number(w, "silence_us", model->silence_us);
	for (uint32_t i = 0; i < model->n_notes; i++) {
		snprintf(key, sizeof(key), "note.%s", model->note[i].key);
		tensor_put_string(w, key, model->note[i].value);
	}
}

static void put_tensors(struct tensor_writer *w, const struct model *model)
{
	char name[48];

	/* The eight-byte ones first, so that every tensor is aligned to its own size. */
	for (uint32_t i = 0; model->has_integer && i < model->n_layers; i++) {
		const struct model_layer *layer = &model->layer[i];

		snprintf(name, sizeof(name), "layer.%u.weight_int", i);
		tensor_put_i64(w, name, layer->outputs, layer->inputs, model->integer[i].weight);
		snprintf(name, sizeof(name), "layer.%u.bias_int", i);
		tensor_put_i64(w, name, layer->outputs, 0, model->integer[i].bias);
	}
	for (uint32_t i = 0; i < model->n_layers; i++) {
		const struct model_layer *layer = &model->layer[i];

		snprintf(name, sizeof(name), "layer.%u.weight", i);
		tensor_put_f32(w, name, layer->outputs, layer->inputs, layer->weight);
		snprintf(name, sizeof(name), "layer.%u.bias", i);
		tensor_put_f32(w, name, layer->outputs, 0, layer->bias);
	}
	if (model->mean) {
		tensor_put_f32(w, "scale.mean", model_inputs(model), 0, model->mean);
		tensor_put_f32(w, "scale.scale", model_inputs(model), 0, model->scale);
	}
}

int model_save(const struct model *model, const char *path, struct model_error *error)
{
	struct tensor_writer w;

	tensor_writer_open(&w);
	if (!w.failed) {
		put_metadata(&w, model);
		put_tensors(&w, model);
	}
	if (!w.not_finite &&
		(!model_name_valid(model->name) || !model_name_valid(model->encoder) ||
			!isfinite(model->decision_threshold) ||
			!isfinite(model->slow_threshold_us) || !isfinite(model->latency_error_us) ||
			!isfinite(model->silence_us)))
		w.not_finite = "its name, encoder or threshold";
	return tensor_writer_save(&w, path, error);
}
