// SPDX-License-Identifier: Apache-2.0
/*
 * model_save.c - writes a model as safetensors bytes (docs/model-format.md), atomically.
 *
 * A reader sees the old file or the whole new one, never a part: a temporary file beside it is filled, synced and
 * renamed. Refuses to write what model_file.c would refuse to read. Any thread; the model is only read.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
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

struct writer {
	json_t *header;
	uint8_t *data;
	size_t n, room;
	bool failed; /* memory ran out */
	const char *not_finite; /* name of the first tensor with a NaN or an infinity */
};

static uint8_t *claim(struct writer *w, size_t n_bytes)
{
	if (w->room - w->n < n_bytes) {
		size_t room = (w->n + n_bytes) * 2;
		uint8_t *data = realloc(w->data, room);

		if (!data) {
			w->failed = true;
			return NULL;
		}
		w->data = data;
		w->room = room;
	}
	w->n += n_bytes;
	return w->data + w->n - n_bytes;
}

static void store_le(uint8_t *to, uint64_t value, unsigned int n_bytes)
{
	for (unsigned int i = 0; i < n_bytes; i++)
		to[i] = (uint8_t)(value >> 8 * i);
}

static void describe(struct writer *w, const char *name, const char *dtype, uint32_t rows,
	uint32_t columns, size_t begin)
{
	json_t *entry =
		columns ? json_pack("{s:s, s:[i,i], s:[I,I]}", "dtype", dtype, "shape", (int)rows,
				  (int)columns, "data_offsets", (json_int_t)begin, (json_int_t)w->n)
			: json_pack("{s:s, s:[i], s:[I,I]}", "dtype", dtype, "shape", (int)rows,
				  "data_offsets", (json_int_t)begin, (json_int_t)w->n);

	if (!entry || json_object_set_new(w->header, name, entry))
		w->failed = true;
}

/* columns = 0: a vector */
static void put_f32(
	struct writer *w, const char *name, uint32_t rows, uint32_t columns, const float *values)
{
	size_t n = (size_t)rows * (columns ? columns : 1), begin = w->n;
	uint8_t *to = claim(w, n * 4);

	if (!to)
		return;
	for (size_t i = 0; i < n; i++) {
		uint32_t bits;

		if (!isfinite(values[i]) && !w->not_finite)
			w->not_finite = strstr(name, "scale") ? "its scaling" : "its weights";
		memcpy(&bits, &values[i], sizeof(bits));
		store_le(to + 4 * i, bits, 4);
	}
	describe(w, name, "F32", rows, columns, begin);
}

static void put_i64(
	struct writer *w, const char *name, uint32_t rows, uint32_t columns, const int64_t *values)
{
	size_t n = (size_t)rows * (columns ? columns : 1), begin = w->n;
	uint8_t *to = claim(w, n * 8);

	if (!to)
		return;
	for (size_t i = 0; i < n; i++)
		store_le(to + 8 * i, (uint64_t)values[i], 8);
	describe(w, name, "I64", rows, columns, begin);
}

static void put_string(struct writer *w, json_t *metadata, const char *key, const char *text)
{
	if (json_object_set_new(metadata, key, json_string(text)))
		w->failed = true;
}

/* Nine digits bring a float back exactly; jansson's own printing does not follow the locale. */
static void put_number(struct writer *w, json_t *metadata, const char *key, float value)
{
	json_t *number = json_real((double)value);
	char *text = number ? json_dumps(number, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)) : NULL;

	if (text)
		put_string(w, metadata, key, text);
	else
		w->failed = true;
	free(text);
	json_decref(number);
}

static void put_metadata(struct writer *w, const struct model *model)
{
	char activations[MODEL_MAX_LAYERS * 16] = "", key[MODEL_NOTE_MAX_BYTES + 8];
	json_t *metadata = json_object();

	if (!metadata || json_object_set_new(w->header, "__metadata__", metadata)) {
		w->failed = true;
		return;
	}
	for (uint32_t i = 0; i < model->n_layers; i++) {
		strcat(activations, i ? "," : "");
		strcat(activations, model_activation_name(model->layer[i].activation));
	}
	put_string(w, metadata, "format", MODEL_FORMAT);
	put_string(w, metadata, "name", model->name);
	put_string(w, metadata, "encoder", model->encoder);
	put_string(w, metadata, "activations", activations);
	put_number(w, metadata, "decision_threshold", model->decision_threshold);
	put_number(w, metadata, "slow_threshold_us", model->slow_threshold_us);
	if (model->latency_error_us > 0)
		put_number(w, metadata, "latency_error_us", model->latency_error_us);
	if (model->silence_us > 0)
		put_number(w, metadata, "silence_us", model->silence_us);
	for (uint32_t i = 0; i < model->n_notes; i++) {
		snprintf(key, sizeof(key), "note.%s", model->note[i].key);
		put_string(w, metadata, key, model->note[i].value);
	}
}

static void put_tensors(struct writer *w, const struct model *model)
{
	char name[48];

	/* The eight-byte ones first, so that every tensor is aligned to its own size. */
	for (uint32_t i = 0; model->has_integer && i < model->n_layers; i++) {
		const struct model_layer *layer = &model->layer[i];

		snprintf(name, sizeof(name), "layer.%u.weight_int", i);
		put_i64(w, name, layer->outputs, layer->inputs, model->integer[i].weight);
		snprintf(name, sizeof(name), "layer.%u.bias_int", i);
		put_i64(w, name, layer->outputs, 0, model->integer[i].bias);
	}
	for (uint32_t i = 0; i < model->n_layers; i++) {
		const struct model_layer *layer = &model->layer[i];

		snprintf(name, sizeof(name), "layer.%u.weight", i);
		put_f32(w, name, layer->outputs, layer->inputs, layer->weight);
		snprintf(name, sizeof(name), "layer.%u.bias", i);
		put_f32(w, name, layer->outputs, 0, layer->bias);
	}
	if (model->mean) {
		put_f32(w, "scale.mean", model_inputs(model), 0, model->mean);
		put_f32(w, "scale.scale", model_inputs(model), 0, model->scale);
	}
}

static int write_all(int fd, const void *bytes, size_t n_bytes)
{
	const uint8_t *from = bytes;

	while (n_bytes) {
		ssize_t n = write(fd, from, n_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		from += n;
		n_bytes -= (size_t)n;
	}
	return 0;
}

static int write_file(int fd, const char *header, const struct writer *w)
{
	size_t length = strlen(header), padded = (length + 7) & ~(size_t)7;
	uint8_t head[8];
	int err;

	store_le(head, padded, 8);
	err = write_all(fd, head, sizeof(head));
	if (!err)
		err = write_all(fd, header, length);
	if (!err)
		err = write_all(fd, "        ", padded - length);
	if (!err)
		err = write_all(fd, w->data, w->n);
	if (!err && fsync(fd) < 0)
		err = -errno;
	return err;
}

static int sync_folder(const char *path)
{
	char *copy = strdup(path);
	int fd, err = 0;

	if (!copy)
		return -ENOMEM;
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		err = -errno;
	if (fd >= 0)
		close(fd);
	free(copy);
	return err;
}

static int replace_file(const char *path, const char *header, const struct writer *w)
{
	char *temporary = NULL;
	int fd, err;

	if (asprintf(&temporary, "%s.XXXXXX", path) < 0)
		return -ENOMEM;
	fd = mkostemp(temporary, O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		goto out;
	}
	err = write_file(fd, header, w);
	if (!err && fchmod(fd, 0644) < 0)
		err = -errno;
	if (close(fd) < 0 && !err)
		err = -errno;
	if (!err && rename(temporary, path) < 0)
		err = -errno;
	if (err)
		unlink(temporary);
	else
		err = sync_folder(path);
out:
	free(temporary);
	return err;
}

int model_save(const struct model *model, const char *path, struct model_error *error)
{
	struct writer w = { .header = json_object() };
	char *header = NULL;
	int err = -ENOMEM;

	if (!w.header)
		goto out;
	put_metadata(&w, model);
	put_tensors(&w, model);
	if (!model_name_valid(model->name) || !model_name_valid(model->encoder) ||
		!isfinite(model->decision_threshold) || !isfinite(model->slow_threshold_us) ||
		!isfinite(model->latency_error_us) || !isfinite(model->silence_us) ||
		w.not_finite) {
		err = -EINVAL;
		model_refuse(error, "The model was not saved: %s cannot be stored; train it again.",
			w.not_finite ? w.not_finite : "its name, encoder or threshold");
		goto out_told;
	}
	if (w.failed)
		goto out;
	header = json_dumps(w.header, JSON_COMPACT);
	if (header)
		err = replace_file(path, header, &w);
out:
	if (err)
		model_refuse(error,
			"The model was not saved to %.120s: %s; the old one still stands.", path,
			strerror(-err));
out_told:
	free(header);
	free(w.data);
	json_decref(w.header);
	return err;
}
