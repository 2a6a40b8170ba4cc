// SPDX-License-Identifier: Apache-2.0
/*
 * import_keras.c - reads the weights of a Keras Sequential of Dense layers, written out as JSON.
 *
 * Owns the two shapes such files have: an object of "<layer>/.../kernel:0" and "bias:0", and a bare list of matrices
 * as get_weights() returns them. Other layer kinds are refused. Any thread.
 */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/import_build.h"

/* Nested lists of numbers to a matrix; a flat list is one row. */
static bool read_matrix(const json_t *from, struct import_matrix *to)
{
	bool nested = json_is_array(json_array_get(from, 0));
	size_t rows = nested ? json_array_size(from) : 1;
	size_t columns = json_array_size(nested ? json_array_get(from, 0) : from);

	if (!json_is_array(from) || rows == 0 || columns == 0 || rows > MODEL_MAX_WIDTH ||
		columns > MODEL_MAX_WIDTH)
		return false;
	to->value = malloc(rows * columns * sizeof(double));
	if (!to->value)
		return false;
	to->rows = (uint32_t)rows;
	to->columns = (uint32_t)columns;
	for (size_t r = 0; r < rows; r++) {
		const json_t *row = nested ? json_array_get(from, r) : from;

		if (!json_is_array(row) || json_array_size(row) != columns)
			return false;
		for (size_t c = 0; c < columns; c++) {
			const json_t *number = json_array_get(row, c);

			if (!json_is_number(number))
				return false;
			to->value[r * columns + c] = json_number_value(number);
		}
	}
	return true;
}

/* "dense" is 0, "dense_1" is 1: Keras numbers layers of a kind in the order they were made. */
static unsigned long layer_number(const char *key, size_t length)
{
	size_t digits = 0;

	while (digits < length && digits < 9 && isdigit((unsigned char)key[length - digits - 1]))
		digits++;
	if (digits == 0 || digits == length || key[length - digits - 1] != '_')
		return 0;
	return strtoul(key + length - digits, NULL, 10);
}

struct keras_layer {
	const char *name; /* not terminated */
	size_t length;
	unsigned long number;
	const json_t *kernel, *bias;
};

static int by_number(const void *a, const void *b)
{
	const struct keras_layer *x = a, *y = b;

	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	return x->name < y->name ? -1 : x->name > y->name;
}

static struct keras_layer *find_layer(
	struct keras_layer *layers, uint32_t *n_layers, const char *key)
{
	size_t length = strcspn(key, "/");

	for (uint32_t i = 0; i < *n_layers; i++)
		if (layers[i].length == length && !memcmp(layers[i].name, key, length))
			return &layers[i];
	if (*n_layers == MODEL_MAX_LAYERS)
		return NULL;
	layers[*n_layers] = (struct keras_layer){
		.name = key, .length = length, .number = layer_number(key, length)
	};
	return &layers[(*n_layers)++];
}

static bool collect_object(
	json_t *root, struct keras_layer *layers, uint32_t *n_layers, struct model_error *error)
{
	const char *key;
	json_t *value;

	json_object_foreach(root, key, value)
	{
		const char *slash = strrchr(key, '/'), *kind = slash ? slash + 1 : key;
		bool kernel = !strncmp(kind, "kernel", 6), bias = !strncmp(kind, "bias", 4);
		struct keras_layer *layer =
			slash && (kernel || bias) ? find_layer(layers, n_layers, key) : NULL;

		if (!layer || (kernel ? layer->kernel : layer->bias)) {
			model_refuse(error,
				"Entry '%.64s' is no kernel or bias of at most %d Dense layers; "
				"export only those.",
				key, MODEL_MAX_LAYERS);
			return false;
		}
		*(kernel ? &layer->kernel : &layer->bias) = value;
	}
	qsort(layers, *n_layers, sizeof(*layers), by_number);
	for (uint32_t i = 1; i < *n_layers; i++)
		if (layers[i].number == layers[i - 1].number) {
			model_refuse(error,
				"Layers '%.*s' and '%.*s' have no order; name them dense, dense_1, "
				"...",
				(int)(layers[i - 1].length < 32 ? layers[i - 1].length : 32),
				layers[i - 1].name,
				(int)(layers[i].length < 32 ? layers[i].length : 32),
				layers[i].name);
			return false;
		}
	return true;
}

static bool collect_list(const json_t *root, struct keras_layer *layers, uint32_t *n_layers,
	struct model_error *error)
{
	size_t n = json_array_size(root);

	if (n == 0 || n % 2 || n / 2 > MODEL_MAX_LAYERS) {
		model_refuse(error,
			"The list has %zu entries; it must be kernel and bias of 1 to %d layers.",
			n, MODEL_MAX_LAYERS);
		return false;
	}
	for (size_t i = 0; i < n; i += 2) {
		layers[i / 2].kernel = json_array_get(root, i);
		layers[i / 2].bias = json_array_get(root, i + 1);
	}
	*n_layers = (uint32_t)(n / 2);
	return true;
}

struct model *import_keras(const struct import_file *file, const struct import_options *options,
	struct model_error *error)
{
	struct keras_layer found[MODEL_MAX_LAYERS] = { 0 };
	struct import_layer layers[MODEL_MAX_LAYERS] = { 0 };
	uint32_t n_layers = 0;
	struct model *model = NULL;
	json_error_t json_error;
	json_t *root;
	bool ok;

	root = file->n_bytes <= MODEL_MAX_FILE_BYTES
		       ? json_loadb(file->bytes, file->n_bytes, JSON_REJECT_DUPLICATES, &json_error)
		       : NULL;
	if (!json_is_object(root) && !json_is_array(root)) {
		model_refuse(error, "%.120s is no JSON object or list of weights; export it again.",
			file->name);
		goto out;
	}
	ok = json_is_object(root) ? collect_object(root, found, &n_layers, error)
				  : collect_list(root, found, &n_layers, error);
	if (!ok)
		goto out;
	for (uint32_t i = 0; i < n_layers; i++)
		if (!read_matrix(found[i].kernel, &layers[i].weight) ||
			!read_matrix(found[i].bias, &layers[i].bias)) {
			model_refuse(error,
				"Kernel or bias of layer %u is missing or no table of numbers; "
				"export it again.",
				i);
			goto out;
		}
	model = import_build(layers, n_layers, options, error);
out:
	import_layers_free(layers, MODEL_MAX_LAYERS);
	json_decref(root);
	return model;
}
