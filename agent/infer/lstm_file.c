// SPDX-License-Identifier: Apache-2.0
/*
 * lstm_file.c - reads and writes LSTM stacks (docs/model-format.md).
 *
 * Sizes come from the kernels' shapes; every other tensor must fit them. Copies all numbers, so the bytes may go. Any
 * thread.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/lstm_file.h"
#include "agent/infer/model_file.h"

#define PER_LAYER 3 /* tensors */
#define MOST_UNITS (MODEL_MAX_WIDTH / 4) /* four gates side by side are one dimension */

static const char *key_of(char *key, size_t n, uint32_t layer, const char *what)
{
	snprintf(key, n, "lstm.%u.%s", layer, what);
	return key;
}

/* Layers, widths and classes, and how many floats they are. */
static bool read_shape(const struct tensor_file *tensors, struct lstm_model *model,
	size_t *n_floats, struct model_error *error)
{
	const struct tensor *dense = tensor_find(tensors, "dense.weight");
	float steps;
	char key[48];

	for (;; model->n_layers++) {
		const struct tensor *kernel =
			tensor_find(tensors, key_of(key, sizeof(key), model->n_layers, "kernel"));
		struct lstm_layer *layer;

		if (!kernel)
			break;
		if (model->n_layers == LSTM_MAX_LAYERS || kernel->n_dims != 2 ||
			kernel->dim[1] % 4) {
			model_refuse(error,
				"Tensor '%s' is one layer too many, not two-dimensional, or not "
				"four gates wide.",
				key);
			return false;
		}
		layer = &model->layer[model->n_layers];
		layer->inputs = kernel->dim[0];
		layer->units = kernel->dim[1] / 4;
		*n_floats += (size_t)4 * layer->units * (layer->inputs + layer->units + 1);
	}
	if (!model->n_layers || !dense || dense->n_dims != 2) {
		model_refuse(error,
			"Tensor '%s' is missing or has the wrong shape; export the "
			"model again.",
			model->n_layers ? "dense.weight" : "lstm.0.kernel");
		return false;
	}
	model->classes = dense->dim[1];
	*n_floats += (size_t)(dense->dim[0] + 1) * model->classes;
	if (!tensor_metadata_number(tensors, "steps", &steps, error))
		return false;
	if (!(steps >= 1 && steps <= LSTM_MAX_STEPS) || steps != (float)(uint32_t)steps) {
		model_refuse(error,
			"The entry steps is no whole number from 1 to %d; export the "
			"model again.",
			LSTM_MAX_STEPS);
		return false;
	}
	model->steps = (uint32_t)steps;
	return true;
}

/* One tensor to where *to points, which is moved on. */
static bool take(const struct tensor_file *tensors, const char *name, uint32_t rows,
	uint32_t columns, float **to, const float **out, struct model_error *error)
{
	const struct tensor *tensor;

	if (!tensor_expect(tensors, name, TENSOR_F32, rows, columns, &tensor, error))
		return false;
	tensor_copy_f32(tensor, *to);
	*out = *to;
	*to += tensor->n;
	return true;
}

static bool read_numbers(
	const struct tensor_file *tensors, struct lstm_file *file, struct model_error *error)
{
	struct lstm_model *model = &file->model;
	uint32_t below = model->layer[0].inputs;
	float *to = file->memory;
	char key[48];

	for (uint32_t l = 0; l < model->n_layers; l++) {
		struct lstm_layer *layer = &model->layer[l];

		/* The kernel's rows are what the layer below gives. */
		if (!take(tensors, key_of(key, sizeof(key), l, "kernel"), below, 4 * layer->units,
			    &to, &layer->kernel, error) ||
			!take(tensors, key_of(key, sizeof(key), l, "recurrent"), layer->units,
				4 * layer->units, &to, &layer->recurrent, error) ||
			!take(tensors, key_of(key, sizeof(key), l, "bias"), 4 * layer->units, 0,
				&to, &layer->bias, error))
			return false;
		below = layer->units;
	}
	return take(tensors, "dense.weight", below, model->classes, &to, &model->dense, error) &&
	       take(tensors, "dense.bias", model->classes, 0, &to, &model->dense_bias, error) &&
	       tensor_all_used(tensors, PER_LAYER * model->n_layers + 2, error);
}

static bool read_all(
	const struct tensor_file *tensors, struct lstm_file *file, struct model_error *error)
{
	size_t n_floats = 0;

	if (!tensor_kind(tensors, LSTM_FORMAT, "an LSTM", error) ||
		!read_shape(tensors, &file->model, &n_floats, error))
		return false;
	snprintf(file->name, sizeof(file->name), "%s", tensor_metadata(tensors, "name"));
	file->memory = malloc(n_floats * sizeof(float));
	if (!file->memory) {
		model_refuse(error, MODEL_NO_MEMORY);
		return false;
	}
	return read_numbers(tensors, file, error);
}

struct lstm_file *lstm_parse(const void *bytes, size_t n_bytes, struct model_error *error)
{
	struct tensor_file tensors;
	struct lstm_file *file;

	if (!tensor_file_open(&tensors, bytes, n_bytes, MODEL_MAX_WIDTH, error))
		return NULL;
	file = calloc(1, sizeof(*file));
	if (!file)
		model_refuse(error, MODEL_NO_MEMORY);
	if (file && !read_all(&tensors, file, error)) {
		lstm_file_free(file);
		file = NULL;
	}
	tensor_file_close(&tensors);
	return file;
}

struct lstm_file *lstm_load(const char *path, struct model_error *error)
{
	size_t n_bytes;
	void *bytes = model_slurp(path, &n_bytes, error);
	struct lstm_file *file = bytes ? lstm_parse(bytes, n_bytes, error) : NULL;

	free(bytes);
	return file;
}

void lstm_file_free(struct lstm_file *file)
{
	if (!file)
		return;
	free(file->memory);
	free(file);
}

/* What the reader would refuse. */
static bool storable(const struct lstm_model *model, const char *name)
{
	if (!model_name_valid(name) || model->n_layers == 0 || model->n_layers > LSTM_MAX_LAYERS ||
		model->steps == 0 || model->steps > LSTM_MAX_STEPS || model->classes == 0 ||
		model->classes > MODEL_MAX_WIDTH)
		return false;
	for (uint32_t l = 0; l < model->n_layers; l++)
		if (model->layer[l].inputs == 0 || model->layer[l].inputs > MODEL_MAX_WIDTH ||
			model->layer[l].units == 0 || model->layer[l].units > MOST_UNITS ||
			(l && model->layer[l].inputs != model->layer[l - 1].units))
			return false;
	return true;
}

int lstm_save(const struct lstm_model *model, const char *name, const char *path,
	struct model_error *error)
{
	struct tensor_writer w;
	char key[48];

	if (!storable(model, name)) {
		model_refuse(error, "The LSTM was not saved: its name does not fit, or it has more "
				    "layers, units or steps than a file takes; make it smaller.");
		return -EINVAL;
	}
	tensor_writer_open(&w);
	if (!w.failed) {
		tensor_put_string(&w, "format", LSTM_FORMAT);
		tensor_put_string(&w, "name", name);
		tensor_put_number(&w, "steps", (float)model->steps);
	}
	for (uint32_t l = 0; l < model->n_layers; l++) {
		const struct lstm_layer *layer = &model->layer[l];

		tensor_put_f32(&w, key_of(key, sizeof(key), l, "kernel"), layer->inputs,
			4 * layer->units, layer->kernel);
		tensor_put_f32(&w, key_of(key, sizeof(key), l, "recurrent"), layer->units,
			4 * layer->units, layer->recurrent);
		tensor_put_f32(
			&w, key_of(key, sizeof(key), l, "bias"), 4 * layer->units, 0, layer->bias);
	}
	tensor_put_f32(&w, "dense.weight", model->layer[model->n_layers - 1].units, model->classes,
		model->dense);
	tensor_put_f32(&w, "dense.bias", model->classes, 0, model->dense_bias);
	return tensor_writer_save(&w, path, error);
}
