// SPDX-License-Identifier: Apache-2.0
/*
 * tensor.c - opens safetensors bytes as a checked view, and says in one sentence why it will not.
 *
 * Treats every byte as hostile: lengths, offsets, shapes and values are checked before they are used. Knows nothing
 * of models (model_load.c) and copies no tensor unasked. Any thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/infer/model_file.h"

void model_refuse(struct model_error *error, const char *fmt, ...)
{
	va_list args;

	if (!error)
		return;
	va_start(args, fmt);
	vsnprintf(error->text, sizeof(error->text), fmt, args);
	va_end(args);
	/* The sentence may quote the file: nothing of it may steer a terminal. */
	for (char *c = error->text; *c; c++)
		if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
			*c = '?';
}

static uint64_t load_le64(const uint8_t *bytes)
{
	uint64_t value = 0;

	for (int i = 7; i >= 0; i--)
		value = value << 8 | bytes[i];
	return value;
}

static uint32_t load_le32(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
	       (uint32_t)bytes[3] << 24;
}

static bool get_u64(const json_t *value, uint64_t limit, uint64_t *out)
{
	if (!json_is_integer(value) || json_integer_value(value) < 0 ||
		(uint64_t)json_integer_value(value) > limit)
		return false;
	*out = (uint64_t)json_integer_value(value);
	return true;
}

static bool read_tensor(struct tensor_file *file, struct tensor *tensor, const char *name,
	const json_t *entry, uint64_t n_data, uint32_t most, struct model_error *error)
{
	const json_t *shape = json_object_get(entry, "shape"),
		     *offsets = json_object_get(entry, "data_offsets");
	const char *dtype = json_string_value(json_object_get(entry, "dtype"));
	uint64_t item, begin, end;

	if (!dtype || !json_is_array(shape) || !json_is_array(offsets) ||
		json_array_size(offsets) != 2) {
		model_refuse(error,
			"Tensor '%.64s' lacks dtype, shape or data_offsets; export the model "
			"again.",
			name);
		return false;
	}
	if (!strcmp(dtype, "F32")) {
		tensor->type = TENSOR_F32;
		item = 4;
	} else if (!strcmp(dtype, "I64")) {
		tensor->type = TENSOR_I64;
		item = 8;
	} else {
		model_refuse(error,
			"Tensor '%.64s' has type '%.16s'; only F32 and I64 are read, so convert "
			"it.",
			name, dtype);
		return false;
	}
	tensor->n_dims = json_array_size(shape);
	if (tensor->n_dims < 1 || tensor->n_dims > 2) {
		model_refuse(error,
			"Tensor '%.64s' has %zu dimensions; a weight has two and a bias one.", name,
			tensor->n_dims);
		return false;
	}
	tensor->n = 1;
	for (size_t i = 0; i < tensor->n_dims; i++) {
		uint64_t dim;

		if (!get_u64(json_array_get(shape, i), most, &dim) || dim == 0) {
			model_refuse(error,
				"Tensor '%.64s' has a dimension outside 1..%u; the model does not "
				"fit this agent.",
				name, most);
			return false;
		}
		tensor->dim[i] = (uint32_t)dim;
		tensor->n *= dim;
	}
	if (!get_u64(json_array_get(offsets, 0), n_data, &begin) ||
		!get_u64(json_array_get(offsets, 1), n_data, &end) || begin > end) {
		model_refuse(error,
			"Tensor '%.64s' lies outside the file; it is truncated or damaged, copy it "
			"again.",
			name);
		return false;
	}
	if (end - begin != tensor->n * item) {
		model_refuse(error,
			"Tensor '%.64s' has %llu bytes where its shape needs %llu; export the "
			"model again.",
			name, (unsigned long long)(end - begin),
			(unsigned long long)(tensor->n * item));
		return false;
	}
	tensor->name = name;
	tensor->begin = begin;
	tensor->end = end;
	tensor->data = file->data + begin;
	return true;
}

static int by_offset(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;

	return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* Values are looked at once, here, so that whoever copies a tensor need not. */
static bool values_finite(const struct tensor *tensor, struct model_error *error)
{
	if (tensor->type != TENSOR_F32)
		return true;
	for (uint64_t i = 0; i < tensor->n; i++)
		/* all exponent bits set: an infinity or a NaN */
		if ((load_le32(tensor->data + 4 * i) & 0x7f800000u) == 0x7f800000u) {
			model_refuse(error,
				"Tensor '%.64s' holds a NaN or an infinity; train the model again.",
				tensor->name);
			return false;
		}
	return true;
}

bool tensor_file_open(struct tensor_file *file, const void *bytes, size_t n_bytes, uint32_t most,
	struct model_error *error)
{
	uint64_t n_header, n_data, expected = 0;
	json_error_t json_error;
	const char *key;
	json_t *value;

	memset(file, 0, sizeof(*file));
	if (n_bytes > MODEL_MAX_FILE_BYTES) {
		model_refuse(error, "The file has %zu bytes and a model at most %u; it is not one.",
			n_bytes, MODEL_MAX_FILE_BYTES);
		return false;
	}
	if (n_bytes < 8) {
		model_refuse(error,
			"The file has %zu bytes, too few for a model; it is truncated, copy it "
			"again.",
			n_bytes);
		return false;
	}
	n_header = load_le64(bytes);
	if (n_header > TENSOR_MAX_HEADER) {
		model_refuse(error,
			"The file does not begin like safetensors (a header of %llu bytes); give a "
			"model file.",
			(unsigned long long)n_header);
		return false;
	}
	if (n_header > n_bytes - 8) {
		model_refuse(error,
			"The header needs %llu bytes and the file ends after %zu; it is truncated, "
			"copy it again.",
			(unsigned long long)n_header, n_bytes - 8);
		return false;
	}
	n_data = n_bytes - 8 - n_header;
	file->data = (const uint8_t *)bytes + 8 + n_header;
	file->json =
		json_loadb((const char *)bytes + 8, n_header, JSON_REJECT_DUPLICATES, &json_error);
	if (!json_is_object(file->json)) {
		model_refuse(error,
			"The header is no JSON object (%.120s); give a safetensors file.",
			file->json ? "another value" : json_error.text);
		goto fail;
	}
	json_object_foreach(file->json, key, value)
	{
		if (!strcmp(key, "__metadata__"))
			continue;
		if (file->n == TENSOR_MAX) {
			model_refuse(error,
				"The file has more than %d tensors; it is no model of this kind.",
				TENSOR_MAX);
			goto fail;
		}
		if (!read_tensor(file, &file->tensor[file->n], key, value, n_data, most, error))
			goto fail;
		file->n++;
	}
	file->metadata = json_object_get(file->json, "__metadata__");
	if (file->metadata && !json_is_object(file->metadata)) {
		model_refuse(error, "The entry __metadata__ is no object; export the model again.");
		goto fail;
	}
	qsort(file->tensor, file->n, sizeof(file->tensor[0]), by_offset);
	for (size_t i = 0; i < file->n; i++) {
		if (file->tensor[i].begin != expected) {
			model_refuse(error, "Tensor '%.64s' %s; export the model again.",
				file->tensor[i].name,
				file->tensor[i].begin < expected ? "overlaps another"
								 : "follows a gap");
			goto fail;
		}
		expected = file->tensor[i].end;
		if (!values_finite(&file->tensor[i], error))
			goto fail;
	}
	if (expected != n_data) {
		model_refuse(error,
			"The file has %llu bytes that belong to no tensor; it is damaged, copy it "
			"again.",
			(unsigned long long)(n_data - expected));
		goto fail;
	}
	return true;
fail:
	tensor_file_close(file);
	return false;
}

void tensor_file_close(struct tensor_file *file)
{
	json_decref(file->json);
	file->json = NULL;
	file->n = 0;
}

const struct tensor *tensor_find(const struct tensor_file *file, const char *name)
{
	for (size_t i = 0; i < file->n; i++)
		if (!strcmp(file->tensor[i].name, name))
			return &file->tensor[i];
	return NULL;
}

void tensor_copy_f32(const struct tensor *tensor, float *to)
{
	for (uint64_t i = 0; i < tensor->n; i++) {
		uint32_t bits = load_le32(tensor->data + 4 * i);

		memcpy(&to[i], &bits, sizeof(bits));
	}
}

void tensor_copy_i64(const struct tensor *tensor, int64_t *to)
{
	for (uint64_t i = 0; i < tensor->n; i++)
		to[i] = (int64_t)load_le64(tensor->data + 8 * i);
}

void *model_slurp(const char *path, size_t *n_bytes, struct model_error *error)
{
	/* A FIFO must not hang the caller, a device must not be read. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	uint8_t *bytes = NULL;
	size_t got = 0;

	if (fd < 0 || fstat(fd, &st) < 0) {
		model_refuse(error, "%.160s cannot be read: %s.", path, strerror(errno));
		goto fail;
	}
	if (!S_ISREG(st.st_mode) || st.st_size > MODEL_MAX_FILE_BYTES) {
		model_refuse(error,
			"%.160s is no regular file of at most %u MiB; give a model file.", path,
			MODEL_MAX_FILE_BYTES >> 20);
		goto fail;
	}
	bytes = malloc((size_t)st.st_size + 1);
	if (!bytes) {
		model_refuse(error, MODEL_NO_MEMORY);
		goto fail;
	}
	while (got < (size_t)st.st_size) {
		ssize_t n = read(fd, bytes + got, (size_t)st.st_size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			model_refuse(error, "%.160s cannot be read: %s.", path, strerror(errno));
			goto fail;
		}
		if (n == 0)
			break;
		got += (size_t)n;
	}
	close(fd);
	bytes[got] = 0;
	*n_bytes = got;
	return bytes;
fail:
	free(bytes);
	if (fd >= 0)
		close(fd);
	return NULL;
}
