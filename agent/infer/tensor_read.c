// SPDX-License-Identifier: Apache-2.0
/*
 * tensor_read.c - what every reader of a checked safetensors view asks it for: entries of its metadata, and tensors of a
 * shape that is known beforehand. Any thread.
 */
#include <math.h>
#include <string.h>
#include "agent/infer/model_file.h"

const char *tensor_metadata(const struct tensor_file *file, const char *key)
{
	return json_string_value(json_object_get(file->metadata, key));
}

/* Parsed as a JSON number, so that no locale has a say. */
bool tensor_metadata_number(
	const struct tensor_file *file, const char *key, float *out, struct model_error *error)
{
	const char *text = tensor_metadata(file, key);
	json_t *value;
	bool ok;

	*out = 0;
	if (!json_object_get(file->metadata, key))
		return true;
	value = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
	ok = json_is_number(value) && fabs(json_number_value(value)) <= 3.4e38;
	if (ok)
		*out = (float)json_number_value(value);
	else
		model_refuse(
			error, "The entry %s is no number in quotes; export the model again.", key);
	json_decref(value);
	return ok;
}

bool tensor_metadata_strings(const struct tensor_file *file, struct model_error *error)
{
	const char *key;
	json_t *value;

	json_object_foreach(file->metadata, key, value)
	{
		if (json_is_string(value))
			continue;
		model_refuse(error, "The entry '%.64s' of __metadata__ is no string; export again.",
			key);
		return false;
	}
	return true;
}

bool tensor_kind(const struct tensor_file *file, const char *kind, const char *what,
	struct model_error *error)
{
	const char *format = tensor_metadata(file, "format");
	const char *name = tensor_metadata(file, "name");

	if (!format || strcmp(format, kind)) {
		model_refuse(error, "The file's format is '%.32s' and not %s; give %s.",
			format ? format : "", kind, what);
		return false;
	}
	if (!name || !model_name_valid(name)) {
		model_refuse(error,
			"The name of the model is missing, longer than %d bytes or not "
			"printable.",
			MODEL_NAME_LEN - 1);
		return false;
	}
	return tensor_metadata_strings(file, error);
}

bool tensor_all_used(const struct tensor_file *file, size_t used, struct model_error *error)
{
	if (used == file->n)
		return true;
	model_refuse(error,
		"The file holds %zu tensors this format does not know; export the model again.",
		file->n - used);
	return false;
}

bool tensor_expect(const struct tensor_file *file, const char *name, enum tensor_type type,
	uint32_t rows, uint32_t columns, const struct tensor **out, struct model_error *error)
{
	const struct tensor *tensor = tensor_find(file, name);

	*out = tensor;
	if (!tensor) {
		model_refuse(error, "Tensor '%s' is missing; export the model again.", name);
		return false;
	}
	if (tensor->type != type || tensor->n_dims != (columns ? 2 : 1) || tensor->dim[0] != rows ||
		(columns && tensor->dim[1] != columns)) {
		model_refuse(error,
			"Tensor '%s' has the wrong shape or type; its layers do not fit together.",
			name);
		return false;
	}
	return true;
}
