// SPDX-License-Identifier: Apache-2.0
/*
 * import_safetensors.c - reads plain safetensors, e.g. what a torch.nn.Sequential saves.
 *
 * Owns the pairing of tensors by name; the container itself is checked by tensor.c. A file of our own format is passed
 * on unchanged. Any thread.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/import_build.h"

#define WEIGHT ".weight"

struct named_layer {
	const struct tensor *weight, *bias;
	unsigned long number;
};

static int by_number(const void *a, const void *b)
{
	const struct named_layer *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

/* The number before ".weight"; false when the name has none. */
static bool weight_number(const char *name, unsigned long *number)
{
	size_t length = strlen(name), digits = 0;

	if (length <= strlen(WEIGHT) || strcmp(name + length - strlen(WEIGHT), WEIGHT))
		return false;
	length -= strlen(WEIGHT);
	while (digits < length && digits < 9 && isdigit((unsigned char)name[length - digits - 1]))
		digits++;
	if (digits)
		*number = strtoul(name + length - digits, NULL, 10);
	return digits > 0;
}

static const struct tensor *bias_of(const struct tensor_file *file, const char *weight)
{
	size_t stem = strlen(weight) - strlen(WEIGHT);

	for (size_t i = 0; i < file->n; i++)
		if (!strncmp(file->tensor[i].name, weight, stem) &&
			!strcmp(file->tensor[i].name + stem, ".bias"))
			return &file->tensor[i];
	return NULL;
}

static bool copy_matrix(const struct tensor *tensor, size_t n_dims, struct import_matrix *to)
{
	float *floats;

	if (!tensor || tensor->type != TENSOR_F32 || tensor->n_dims != n_dims)
		return false;
	floats = malloc(tensor->n * sizeof(*floats));
	to->value = malloc(tensor->n * sizeof(*to->value));
	if (!floats || !to->value) {
		free(floats);
		return false;
	}
	tensor_copy_f32(tensor, floats);
	for (uint64_t i = 0; i < tensor->n; i++)
		to->value[i] = floats[i];
	free(floats);
	to->rows = tensor->dim[0];
	to->columns = n_dims == 2 ? tensor->dim[1] : 1;
	return true;
}

static bool take_scaling(
	struct model *model, const struct tensor_file *file, struct model_error *error)
{
	const struct tensor *mean = tensor_find(file, "scale.mean"),
			    *scale = tensor_find(file, "scale.scale");
	uint32_t inputs = model_inputs(model);

	if (!mean && !scale)
		return true;
	if (!mean || !scale || mean->n != inputs || scale->n != inputs ||
		mean->type != TENSOR_F32 || scale->type != TENSOR_F32) {
		model_refuse(error, "scale.mean and scale.scale need %u floats each; export both.",
			inputs);
		return false;
	}
	model->mean = malloc(inputs * sizeof(float));
	model->scale = malloc(inputs * sizeof(float));
	if (!model->mean || !model->scale) {
		model_refuse(error, MODEL_NO_MEMORY);
		return false;
	}
	tensor_copy_f32(mean, model->mean);
	tensor_copy_f32(scale, model->scale);
	return true;
}

static struct model *build(const struct tensor_file *file, const struct import_options *options,
	struct model_error *error)
{
	struct named_layer named[MODEL_MAX_LAYERS] = { 0 };
	struct import_layer layers[MODEL_MAX_LAYERS] = { 0 };
	size_t used = 0;
	uint32_t n = 0;
	struct model *model = NULL;

	for (size_t i = 0; i < file->n; i++) {
		const struct tensor *tensor = &file->tensor[i];
		unsigned long number;

		if (!strncmp(tensor->name, "scale.", 6))
			used++;
		if (!weight_number(tensor->name, &number))
			continue;
		if (n == MODEL_MAX_LAYERS) {
			model_refuse(error, "The file has more than %d layers; it does not fit.",
				MODEL_MAX_LAYERS);
			return NULL;
		}
		named[n++] = (struct named_layer){ tensor, bias_of(file, tensor->name), number };
		used += 2;
	}
	qsort(named, n, sizeof(named[0]), by_number);
	for (uint32_t i = 1; i < n; i++)
		if (named[i].number == named[i - 1].number) {
			model_refuse(error,
				"Two weights have the number %lu; give one chain of layers.",
				named[i].number);
			return NULL;
		}
	if (n == 0 || used != file->n) {
		model_refuse(error, "Tensors must be named <prefix><number>.weight and .bias, "
				    "nothing else; rename them.");
		return NULL;
	}
	for (uint32_t i = 0; i < n; i++) {
		layers[i].outputs_first = true;
		if (!copy_matrix(named[i].weight, 2, &layers[i].weight) ||
			!copy_matrix(named[i].bias, 1, &layers[i].bias)) {
			model_refuse(error,
				"'%.64s' needs two dimensions of F32 and a .bias beside it; export "
				"it again.",
				named[i].weight->name);
			goto out;
		}
	}
	model = import_build(layers, n, options, error);
	if (model && !take_scaling(model, file, error)) {
		model_free(model);
		model = NULL;
	}
out:
	import_layers_free(layers, n);
	return model;
}

struct model *import_safetensors(const struct import_file *file,
	const struct import_options *options, struct model_error *error)
{
	struct tensor_file tensors;
	struct model *model;
	const char *format;
	bool ours;

	if (!tensor_file_open(&tensors, file->bytes, file->n_bytes, MODEL_MAX_WIDTH, error))
		return NULL;
	/* What torch saves has a format too, "pt": only our own word means our own file. */
	format = json_string_value(json_object_get(tensors.metadata, "format"));
	ours = format && !strcmp(format, MODEL_FORMAT);
	model = ours ? NULL : build(&tensors, options, error);
	tensor_file_close(&tensors);
	return ours ? model_parse(file->bytes, file->n_bytes, error) : model;
}
