// SPDX-License-Identifier: Apache-2.0
/*
 * import_linnos_csv.c - reads weights as LinnOS, LAKE and KML publish them: one CSV file per matrix.
 *
 * Owns the reading of numbers and the pairing of files to layers by their names. Accepts floats, and the integer sets
 * LAKE runs in the kernel. Any thread.
 */
#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/import_build.h"

#define MAX_CELLS ((size_t)1 << 22) /* twice a 1024 x 2048 layer; LinnOS's largest has 65,536 */
#define MAX_NUMBER 64 /* characters of one number */

struct csv {
	struct import_matrix matrix;
	bool whole; /* no number has a point or an exponent */
};

static bool is_separator(char c)
{
	return c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ';';
}

/* One number at `from`; its length, or 0 when it is none. */
static size_t read_number(
	const char *from, const char *end, locale_t locale, double *value, bool *whole)
{
	char text[MAX_NUMBER + 1], *stop;
	size_t n = 0;

	while (from + n < end && n < MAX_NUMBER && !is_separator(from[n]) && from[n]) {
		/* hexadecimal floats, "nan" and "infinity" are not what these files hold */
		if (!isdigit((unsigned char)from[n]) && !strchr("+-.eE", from[n]))
			return 0;
		if (strchr(".eE", from[n]))
			*whole = false;
		text[n] = from[n];
		n++;
	}
	text[n] = 0;
	*value = strtod_l(text, &stop, locale);
	return n && *stop == 0 && isfinite(*value) ? n : 0;
}

static bool grow(double **values, size_t n, size_t *room)
{
	double *larger;

	if (n < *room)
		return true;
	*room = *room ? *room * 2 : 1024;
	larger = realloc(*values, *room * sizeof(**values));
	if (!larger)
		return false;
	*values = larger;
	return true;
}

static bool read_csv(
	const struct import_file *file, locale_t locale, struct csv *csv, struct model_error *error)
{
	const char *at = file->bytes, *end = at + file->n_bytes;
	size_t n = 0, room = 0, line = 1, columns = 0, in_line = 0;
	double *values = NULL;

	csv->whole = true;
	csv->matrix = (struct import_matrix){ 0 };
	for (;; at++) {
		if (at == end || *at == '\n') {
			if (in_line && columns && in_line != columns) {
				model_refuse(error,
					"%.120s line %zu has %zu numbers and those before it %zu; "
					"check the file.",
					file->name, line, in_line, columns);
				goto fail;
			}
			if (in_line) {
				columns = in_line;
				csv->matrix.rows++;
			}
			in_line = 0;
			line++;
			if (at == end)
				break;
		} else if (!is_separator(*at)) {
			size_t length;

			if (n == MAX_CELLS || !grow(&values, n, &room)) {
				model_refuse(error,
					"%.120s holds too many numbers for one layer; check the "
					"file.",
					file->name);
				goto fail;
			}
			length = read_number(at, end, locale, &values[n], &csv->whole);
			if (!length) {
				model_refuse(error,
					"%.120s line %zu holds something that is no number; check "
					"the file.",
					file->name, line);
				goto fail;
			}
			at += length - 1;
			in_line++;
			n++;
		}
	}
	if (n == 0) {
		model_refuse(error, "%.120s is empty; give the file with the weights.", file->name);
		goto fail;
	}
	csv->matrix.value = values;
	csv->matrix.columns = (uint32_t)columns;
	return true;
fail:
	free(values);
	return false;
}

/* Which layer a name means, and whether its matrix is said to be transposed; -1 when it has no number. */
static int layer_of(const char *name, bool *bias, bool *transposed)
{
	const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
	const char *end = strstr(base, ".csv");
	int layer = -1;

	end = end ? end : base + strlen(base);
	*bias = strstr(base, "bias") && strstr(base, "bias") < end;
	*transposed = end - base >= 2 && !strncmp(end - 2, "_T", 2);
	for (const char *c = base; c < end; c++) {
		if (!isdigit((unsigned char)*c))
			continue;
		for (layer = 0; c < end && isdigit((unsigned char)*c); c++)
			layer = layer < 1000 ? layer * 10 + (*c - '0') : layer;
	}
	return layer;
}

/* A matrix in one column, or one that only fits the other way round. */
static void orient(struct import_layer *layer, bool transposed)
{
	struct import_matrix *w = &layer->weight;
	uint64_t outputs = (uint64_t)layer->bias.rows * layer->bias.columns;
	uint64_t cells = (uint64_t)w->rows * w->columns;

	if (w->columns == 1 && outputs && cells % outputs == 0 && cells != outputs) {
		uint32_t inputs = (uint32_t)(cells / outputs);

		w->rows = transposed ? (uint32_t)outputs : inputs;
		w->columns = transposed ? inputs : (uint32_t)outputs;
	} else if (!transposed) {
		transposed = w->columns != outputs && w->rows == outputs;
	}
	layer->outputs_first = transposed;
}

/* The twin exactly as the files give it. */
static bool take_integers(struct model *model, const struct import_layer *layers)
{
	for (uint32_t l = 0; l < model->n_layers; l++) {
		const struct import_layer *from = &layers[l];
		struct model_integer_layer *to = &model->integer[l];
		size_t inputs = model->layer[l].inputs, outputs = model->layer[l].outputs;

		to->weight = malloc(inputs * outputs * sizeof(*to->weight));
		to->bias = malloc(outputs * sizeof(*to->bias));
		if (!to->weight || !to->bias)
			return false;
		for (size_t o = 0; o < outputs; o++) {
			for (size_t i = 0; i < inputs; i++)
				to->weight[o * inputs + i] =
					(int64_t)from->weight
						.value[from->outputs_first ? o * inputs + i
									   : i * outputs + o];
			to->bias[o] = (int64_t)from->bias.value[o];
		}
	}
	model->has_integer = true;
	return true;
}

/* Of published integers layer i works at 1000^(i+1) times the scale of the floats. */
static void scale_down(struct model *model)
{
	double scale = 1000;

	for (uint32_t l = 0; l < model->n_layers; l++, scale *= 1000) {
		struct model_layer *layer = &model->layer[l];
		const struct model_integer_layer *integer = &model->integer[l];

		for (size_t i = 0; i < (size_t)layer->inputs * layer->outputs; i++)
			layer->weight[i] = (float)((double)integer->weight[i] / 1000);
		for (size_t o = 0; o < layer->outputs; o++)
			layer->bias[o] = (float)((double)integer->bias[o] / scale);
	}
}

static bool all_below(const struct import_matrix *matrix, double limit)
{
	for (size_t i = 0; i < (size_t)matrix->rows * matrix->columns; i++)
		if (fabs(matrix->value[i]) > limit)
			return false;
	return true;
}

static bool collect(const struct import_file *files, uint32_t n_files, struct import_layer *layers,
	bool *whole, struct model_error *error)
{
	bool transposed[MODEL_MAX_LAYERS] = { false };
	locale_t locale = newlocale(LC_NUMERIC_MASK, "C", NULL);
	bool ok = false;

	*whole = true;
	if (!locale) {
		model_refuse(error, MODEL_NO_MEMORY);
		return false;
	}
	for (uint32_t i = 0; i < n_files; i++) {
		bool bias, turned;
		int layer = layer_of(files[i].name, &bias, &turned);
		struct import_matrix *to;
		struct csv csv;

		if (layer < 0 || (uint32_t)layer >= n_files / 2) {
			model_refuse(error,
				"%.120s does not name a layer (weight_0, bias_0, ...) of %u files; "
				"rename it.",
				files[i].name, n_files);
			goto out;
		}
		to = bias ? &layers[layer].bias : &layers[layer].weight;
		if (to->value) {
			model_refuse(error,
				"%.120s names a matrix that another file gave; give it once.",
				files[i].name);
			goto out;
		}
		if (!read_csv(&files[i], locale, &csv, error))
			goto out;
		*to = csv.matrix;
		*whole &= csv.whole && all_below(&csv.matrix, 0x1p53);
		if (!bias)
			transposed[layer] = turned;
	}
	for (uint32_t l = 0; l < n_files / 2; l++)
		orient(&layers[l], transposed[l]);
	ok = true;
out:
	freelocale(locale);
	return ok;
}

struct model *import_linnos_csv(const struct import_file *files, uint32_t n_files,
	const struct import_options *options, struct model_error *error)
{
	struct import_layer layers[MODEL_MAX_LAYERS] = { 0 };
	uint32_t n_layers = n_files / 2;
	struct model *model = NULL;
	bool whole;
	int err;

	if (n_files == 0 || n_files % 2 || n_layers > MODEL_MAX_LAYERS) {
		model_refuse(error,
			"CSV weights come as one weight and one bias file per layer, not as %u "
			"files.",
			n_files);
		return NULL;
	}
	if (!collect(files, n_files, layers, &whole, error))
		goto out;
	if (!whole) {
		model = import_build(layers, n_layers, options, error);
		err = model ? model_quantise(model) : 0;
		if (err == -ENOMEM) {
			model_refuse(error, MODEL_NO_MEMORY);
			model_free(model);
			model = NULL;
		}
		goto out;
	}
	model = import_build(layers, n_layers, options, error);
	if (model && !take_integers(model, layers)) {
		model_refuse(error, MODEL_NO_MEMORY);
		model_free(model);
		model = NULL;
	}
	if (model)
		scale_down(model);
out:
	import_layers_free(layers, n_layers);
	return model;
}
