// SPDX-License-Identifier: Apache-2.0
/*
 * model_load.c - makes a model of the tensors and the metadata of a file (docs/model-format.md).
 *
 * Names, shapes and numbers must be exactly those of the format: what is missing, left over or contradictory refuses
 * the file with one sentence. Never writes (model_save.c). Any thread.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/encode.h"
#include "agent/infer/model_file.h"

bool model_name_valid(const char *name)
{
	size_t length = strlen(name);

	if (length == 0 || length >= MODEL_NAME_LEN)
		return false;
	for (; *name; name++)
		if (*name <= 0x20 || *name >= 0x7f || *name == '/')
			return false;
	return true;
}

bool model_read_activations(struct model *model, const char *text, struct model_error *error)
{
	uint32_t n = 0;

	for (const char *word = text; word; n++) {
		const char *comma = strchr(word, ',');
		size_t length = comma ? (size_t)(comma - word) : strlen(word);
		int activation = model_activation_find(word, length);

		if (activation < 0) {
			model_refuse(error,
				"Activation '%.*s' is unknown; this agent has linear, relu and "
				"sigmoid.",
				(int)(length < 32 ? length : 32), word);
			return false;
		}
		if (n < model->n_layers)
			model->layer[n].activation = (enum model_activation)activation;
		word = comma ? comma + 1 : NULL;
	}
	if (n != model->n_layers) {
		model_refuse(error, "The file names %u activations for %u layers; export it again.",
			n, model->n_layers);
		return false;
	}
	return true;
}

static bool read_layers(struct model *model, const struct tensor_file *file,
	struct model_error *error, size_t *used)
{
	const struct tensor *tensor;
	char name[48];

	model->has_integer = tensor_find(file, "layer.0.weight_int") != NULL;
	for (uint32_t i = 0; i < model->n_layers; i++) {
		struct model_layer *layer = &model->layer[i];
		size_t cells = (size_t)layer->inputs * layer->outputs;

		snprintf(name, sizeof(name), "layer.%u.weight", i);
		if (!tensor_expect(
			    file, name, TENSOR_F32, layer->outputs, layer->inputs, &tensor, error))
			return false;
		tensor_copy_f32(tensor, layer->weight);
		snprintf(name, sizeof(name), "layer.%u.bias", i);
		if (!tensor_expect(file, name, TENSOR_F32, layer->outputs, 0, &tensor, error))
			return false;
		tensor_copy_f32(tensor, layer->bias);
		*used += 2;
		if (!model->has_integer)
			continue;
		snprintf(name, sizeof(name), "layer.%u.weight_int", i);
		if (!tensor_expect(
			    file, name, TENSOR_I64, layer->outputs, layer->inputs, &tensor, error))
			return false;
		model->integer[i].weight = malloc(cells * sizeof(int64_t));
		model->integer[i].bias = malloc(layer->outputs * sizeof(int64_t));
		if (!model->integer[i].weight || !model->integer[i].bias) {
			model_refuse(error, MODEL_NO_MEMORY);
			return false;
		}
		tensor_copy_i64(tensor, model->integer[i].weight);
		snprintf(name, sizeof(name), "layer.%u.bias_int", i);
		if (!tensor_expect(file, name, TENSOR_I64, layer->outputs, 0, &tensor, error))
			return false;
		tensor_copy_i64(tensor, model->integer[i].bias);
		*used += 2;
	}
	return true;
}

static bool read_scaling(struct model *model, const struct tensor_file *file,
	struct model_error *error, size_t *used)
{
	const struct tensor *mean, *scale;
	uint32_t inputs = model_inputs(model);

	if (!tensor_find(file, "scale.mean") && !tensor_find(file, "scale.scale"))
		return true;
	if (!tensor_expect(file, "scale.mean", TENSOR_F32, inputs, 0, &mean, error) ||
		!tensor_expect(file, "scale.scale", TENSOR_F32, inputs, 0, &scale, error))
		return false;
	model->mean = malloc(inputs * sizeof(float));
	model->scale = malloc(inputs * sizeof(float));
	if (!model->mean || !model->scale) {
		model_refuse(error, MODEL_NO_MEMORY);
		return false;
	}
	tensor_copy_f32(mean, model->mean);
	tensor_copy_f32(scale, model->scale);
	*used += 2;
	return true;
}

static bool read_notes(
	struct model *model, const struct tensor_file *file, struct model_error *error)
{
	const char *key;
	json_t *value;

	if (!tensor_metadata_strings(file, error))
		return false;
	json_object_foreach(file->metadata, key, value)
	{
		if (strncmp(key, "note.", 5))
			continue;
		if (model_note_set(model, key + 5, json_string_value(value))) {
			model_refuse(error,
				"The file carries more than %d notes, or memory ran out; remove "
				"some.",
				MODEL_NOTES_MAX);
			return false;
		}
	}
	return true;
}

static struct model *model_from(const struct tensor_file *file, struct model_error *error)
{
	uint32_t widths[MODEL_MAX_LAYERS + 1], n_layers = 0;
	const char *format = tensor_metadata(file, "format");
	const char *name = tensor_metadata(file, "name");
	const char *encoder_name = tensor_metadata(file, "encoder");
	const char *activations = tensor_metadata(file, "activations");
	const struct encoder *encoder;
	struct model *model = NULL;
	size_t used = 0;
	char key[48];

	if (!format || strcmp(format, MODEL_FORMAT)) {
		model_refuse(error,
			"The file's format is '%.32s' and not " MODEL_FORMAT
			"; bring other models in with 'semantosctl model import'.",
			format ? format : "");
		return NULL;
	}
	if (!name || !encoder_name || !model_name_valid(name) || !model_name_valid(encoder_name)) {
		model_refuse(error,
			"Name or encoder of the model is missing, longer than %d bytes or not "
			"printable.",
			MODEL_NAME_LEN - 1);
		return NULL;
	}
	for (;; n_layers++) {
		const struct tensor *weight;

		snprintf(key, sizeof(key), "layer.%u.weight", n_layers);
		weight = tensor_find(file, key);
		if (!weight)
			break;
		if (n_layers == MODEL_MAX_LAYERS || weight->n_dims != 2) {
			model_refuse(error,
				"Tensor '%s' is one layer too many or not two-dimensional.", key);
			return NULL;
		}
		widths[n_layers] = weight->dim[1];
		widths[n_layers + 1] = weight->dim[0];
	}
	if (n_layers == 0) {
		model_refuse(error, "Tensor 'layer.0.weight' is missing; export the model again.");
		return NULL;
	}
	/* widths[] takes each layer's own outputs: a mismatch with the next one's inputs is found by tensor_expect(). */
	encoder = encoder_find(encoder_name);
	if (encoder && encoder->n_features != widths[0]) {
		model_refuse(error,
			"The model takes %u inputs and its encoder %s gives %u; they do not belong "
			"together.",
			widths[0], encoder_name, encoder->n_features);
		return NULL;
	}
	model = model_new(name, encoder_name, widths, n_layers + 1);
	if (!model) {
		model_refuse(error, MODEL_NO_MEMORY);
		return NULL;
	}
	if (!read_layers(model, file, error, &used) || !read_scaling(model, file, error, &used) ||
		!read_notes(model, file, error))
		goto fail;
	if (!tensor_all_used(file, used, error))
		goto fail;
	if (!activations) {
		model_refuse(error, "The entry activations is missing; export the model again.");
		goto fail;
	}
	if (!model_read_activations(model, activations, error) ||
		!tensor_metadata_number(
			file, "decision_threshold", &model->decision_threshold, error) ||
		!tensor_metadata_number(
			file, "slow_threshold_us", &model->slow_threshold_us, error) ||
		!tensor_metadata_number(
			file, "log2_latency_error_us", &model->latency_error_us, error) ||
		!tensor_metadata_number(file, "silence_us", &model->silence_us, error))
		goto fail;
	if (model->latency_error_us < 0 || model->silence_us < 0 ||
		(model->latency_error_us > 0 &&
			!(model->decision_threshold > 0 && model->slow_threshold_us > 0))) {
		model_refuse(error,
			"A model that foresees latencies needs a log2_latency_error_us, a "
			"decision_threshold "
			"and a slow_threshold_us above 0; train the model again.");
		goto fail;
	}
	if (model->slow_threshold_us < 0) {
		model_refuse(
			error, "The entry slow_threshold_us is negative; train the model again.");
		goto fail;
	}
	return model;
fail:
	model_free(model);
	return NULL;
}

struct model *model_parse(const void *bytes, size_t n_bytes, struct model_error *error)
{
	struct tensor_file file;
	struct model *model;

	if (!tensor_file_open(&file, bytes, n_bytes, MODEL_MAX_WIDTH, error))
		return NULL;
	model = model_from(&file, error);
	tensor_file_close(&file);
	return model;
}

struct model *model_load(const char *path, struct model_error *error)
{
	size_t n_bytes;
	void *bytes = model_slurp(path, &n_bytes, error);
	struct model *model;

	if (!bytes)
		return NULL;
	model = model_parse(bytes, n_bytes, error);
	free(bytes);
	return model;
}
