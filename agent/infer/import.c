// SPDX-License-Identifier: Apache-2.0
/*
 * import.c - picks the reader for a file and builds a model of the matrices it found.
 *
 * Owns reading (plain or gzip, bounded after unpacking) and the checks all foreign formats share: shapes that follow
 * each other, finite numbers, a known encoder. Never guesses what a file does not say. Any thread.
 */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>
#include "agent/infer/encode.h"
#include "agent/infer/import_build.h"

void import_layers_free(struct import_layer *layers, uint32_t n_layers)
{
	for (uint32_t i = 0; i < n_layers; i++) {
		free(layers[i].weight.value);
		free(layers[i].bias.value);
	}
}

/* ---- matrices to model ----------------------------------------------------------------------------- */

/* Columns of a weight are its outputs or its inputs; the bias says which. */
static bool layer_shape(const struct import_layer *layer, uint32_t *inputs, uint32_t *outputs)
{
	const struct import_matrix *w = &layer->weight;
	uint64_t n_bias = (uint64_t)layer->bias.rows * layer->bias.columns;

	if (!w->value || !layer->bias.value || n_bias == 0 || n_bias > MODEL_MAX_WIDTH)
		return false;
	*outputs = (uint32_t)n_bias;
	*inputs = layer->outputs_first ? w->columns : w->rows;
	return (layer->outputs_first ? w->rows : w->columns) == *outputs && *inputs > 0 &&
	       *inputs <= MODEL_MAX_WIDTH;
}

static bool fill_layer(struct model *model, uint32_t index, const struct import_layer *from)
{
	struct model_layer *layer = &model->layer[index];
	bool finite = true;

	for (size_t o = 0; o < layer->outputs; o++) {
		for (size_t i = 0; i < layer->inputs; i++) {
			size_t at = from->outputs_first ? o * layer->inputs + i
							: i * layer->outputs + o;
			float w = (float)from->weight.value[at];

			finite &= isfinite(w) != 0;
			layer->weight[o * layer->inputs + i] = w;
		}
		layer->bias[o] = (float)from->bias.value[o];
		finite &= isfinite(layer->bias[o]) != 0;
	}
	return finite;
}

static bool apply_options(
	struct model *model, const struct import_options *options, struct model_error *error)
{
	const struct encoder *encoder = encoder_find(model->encoder);

	if (encoder && encoder->n_features != model_inputs(model)) {
		model_refuse(error,
			"The model takes %u inputs and encoder %s gives %u; name another encoder.",
			model_inputs(model), encoder->name, encoder->n_features);
		return false;
	}
	if (options->activations && !model_read_activations(model, options->activations, error))
		return false;
	model->decision_threshold = options->decision_threshold;
	if (isnan(options->decision_threshold))
		model->decision_threshold =
			model_outputs(model) == 1 ? nextafterf(0.5f, 1) : FLT_MIN;
	model->slow_threshold_us = options->slow_threshold_us;
	if (isfinite(model->decision_threshold) && isfinite(model->slow_threshold_us) &&
		model->slow_threshold_us >= 0)
		return true;
	model_refuse(error, "A threshold given for the import is no usable number; give another.");
	return false;
}

struct model *import_build(const struct import_layer *layers, uint32_t n_layers,
	const struct import_options *options, struct model_error *error)
{
	const char *name = options->name ? options->name : "imported";
	const char *encoder = options->encoder;
	uint32_t widths[MODEL_MAX_LAYERS + 1];
	struct model *model;

	if (n_layers == 0 || n_layers > MODEL_MAX_LAYERS) {
		model_refuse(error, "The import has %u layers; a model has 1 to %d.", n_layers,
			MODEL_MAX_LAYERS);
		return NULL;
	}
	for (uint32_t i = 0; i < n_layers; i++) {
		uint32_t inputs;

		if (!layer_shape(&layers[i], &inputs, &widths[i + 1]) ||
			(i && inputs != widths[i])) {
			model_refuse(error,
				"Weights and biases of layer %u do not fit together; check the "
				"files.",
				i);
			return NULL;
		}
		widths[i] = inputs;
	}
	if (!encoder && widths[0] == encoder_find("linnos-digits")->n_features)
		encoder = "linnos-digits";
	if (!encoder) {
		model_refuse(error,
			"The file does not say what its %u inputs are; name the encoder.",
			widths[0]);
		return NULL;
	}
	if (!model_name_valid(name) || !model_name_valid(encoder)) {
		model_refuse(error,
			"Model and encoder names have 1 to %d printable characters; choose others.",
			MODEL_NAME_LEN - 1);
		return NULL;
	}
	model = model_new(name, encoder, widths, n_layers + 1);
	if (!model) {
		model_refuse(error, MODEL_NO_MEMORY);
		return NULL;
	}
	for (uint32_t i = 0; i < n_layers; i++)
		if (!fill_layer(model, i, &layers[i])) {
			model_refuse(error,
				"Layer %u holds a number that is infinite, no number or too large.",
				i);
			goto fail;
		}
	if (apply_options(model, options, error))
		return model;
fail:
	model_free(model);
	return NULL;
}

/* ---- files to bytes -------------------------------------------------------------------------------- */

/* What a bomb unpacks to is bounded, not only what it weighs. */
static void *read_unpacked(const char *path, size_t *n_bytes, struct model_error *error)
{
	size_t room = 1 << 16, n = 0;
	struct stat st;
	char *bytes = NULL;
	gzFile file = NULL;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode)) {
		model_refuse(
			error, "%.160s is no regular file that can be read; check the path.", path);
		return NULL;
	}
	file = gzopen(path, "rbe");
	if (!file) {
		model_refuse(error, "%.160s cannot be read: %s.", path, strerror(errno));
		return NULL;
	}
	for (;;) {
		char *larger = realloc(bytes, room);
		int got;

		if (!larger) {
			model_refuse(error, MODEL_NO_MEMORY);
			goto fail;
		}
		bytes = larger;
		got = gzread(file, bytes + n, (unsigned int)(room - n));
		if (got < 0) {
			model_refuse(error,
				"%.160s cannot be unpacked; it is damaged, copy it again.", path);
			goto fail;
		}
		n += (size_t)got;
		if (n < room)
			break;
		if (room >= MODEL_MAX_FILE_BYTES) {
			model_refuse(error, "%.160s has more than %u MiB; it is no model.", path,
				MODEL_MAX_FILE_BYTES >> 20);
			goto fail;
		}
		room *= 2;
	}
	/* A file cut short inside its gzip stream only shows when it is closed. */
	if (gzclose_r(file) != Z_OK) {
		file = NULL;
		model_refuse(error, "%.160s is truncated; copy it again.", path);
		goto fail;
	}
	*n_bytes = n;
	return bytes;
fail:
	free(bytes);
	if (file)
		gzclose_r(file);
	return NULL;
}

static bool ends_with(const char *path, const char *ending)
{
	size_t length = strlen(path);

	if (length > 3 && !strcmp(path + length - 3, ".gz"))
		length -= 3;
	return length >= strlen(ending) &&
	       !strncmp(path + length - strlen(ending), ending, strlen(ending));
}

static struct model *import_files(const struct import_file *files, uint32_t n_files,
	const struct import_options *options, struct model_error *error, const char **format)
{
	if (ends_with(files[0].name, ".csv")) {
		*format = "linnos-csv";
		return import_linnos_csv(files, n_files, options, error);
	}
	if (n_files > 1) {
		model_refuse(error, "Only CSV weights come in several files; give one file.");
		return NULL;
	}
	if (ends_with(files[0].name, ".json")) {
		*format = "keras-json";
		return import_keras(&files[0], options, error);
	}
	if (ends_with(files[0].name, ".safetensors")) {
		*format = "safetensors";
		return import_safetensors(&files[0], options, error);
	}
	model_refuse(error, "%.160s ends in none of .csv, .json, .safetensors; convert it first.",
		files[0].name);
	return NULL;
}

struct model *import_model(const char *const *paths, uint32_t n_paths,
	const struct import_options *options, struct model_error *error)
{
	struct import_file files[IMPORT_MAX_FILES] = { 0 };
	struct model *model = NULL;
	const char *format = "";
	uint32_t n = 0;

	if (n_paths == 0 || n_paths > IMPORT_MAX_FILES) {
		model_refuse(error, "An import takes 1 to %d files; give the model's own.",
			IMPORT_MAX_FILES);
		return NULL;
	}
	for (; n < n_paths; n++) {
		files[n].name = paths[n];
		files[n].bytes = read_unpacked(paths[n], &files[n].n_bytes, error);
		if (!files[n].bytes)
			goto out;
	}
	model = import_files(files, n, options, error, &format);
	if (model && (model_note_set(model, "imported", format) == -ENOMEM ||
			     model_note_set(model, "imported_from", paths[0]) == -ENOMEM)) {
		model_refuse(error, MODEL_NO_MEMORY);
		model_free(model);
		model = NULL;
	}
out:
	for (uint32_t i = 0; i < n; i++)
		free((void *)files[i].bytes);
	return model;
}
