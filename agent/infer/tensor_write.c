// SPDX-License-Identifier: Apache-2.0
/*
 * tensor_write.c - collects tensors and metadata and writes them as one safetensors file, atomically.
 *
 * A reader sees the old file or the whole new one, never a part: a temporary file beside it is filled, synced and
 * renamed. What went wrong on the way is remembered and told once, at the end. Any thread.
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

void tensor_writer_open(struct tensor_writer *w)
{
	*w = (struct tensor_writer){ .header = json_object(), .metadata = json_object() };
	if (!w->header || json_object_set_new(w->header, "__metadata__", w->metadata))
		w->failed = true;
}

static uint8_t *claim(struct tensor_writer *w, size_t n_bytes)
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

static void describe(struct tensor_writer *w, const char *name, const char *dtype, uint32_t rows,
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
void tensor_put_f32(struct tensor_writer *w, const char *name, uint32_t rows, uint32_t columns,
	const float *values)
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

void tensor_put_i64(struct tensor_writer *w, const char *name, uint32_t rows, uint32_t columns,
	const int64_t *values)
{
	size_t n = (size_t)rows * (columns ? columns : 1), begin = w->n;
	uint8_t *to = claim(w, n * 8);

	if (!to)
		return;
	for (size_t i = 0; i < n; i++)
		store_le(to + 8 * i, (uint64_t)values[i], 8);
	describe(w, name, "I64", rows, columns, begin);
}

void tensor_put_string(struct tensor_writer *w, const char *key, const char *text)
{
	if (json_object_set_new(w->metadata, key, json_string(text)))
		w->failed = true;
}

/* Nine digits bring a float back exactly; jansson's own printing does not follow the locale. */
void tensor_put_number(struct tensor_writer *w, const char *key, float value)
{
	json_t *number = json_real((double)value);
	char *text = number ? json_dumps(number, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)) : NULL;

	if (text)
		tensor_put_string(w, key, text);
	else
		w->failed = true;
	free(text);
	json_decref(number);
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

static int write_file(int fd, const char *header, const struct tensor_writer *w)
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

static int replace_file(const char *path, const char *header, const struct tensor_writer *w)
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

int tensor_writer_save(struct tensor_writer *w, const char *path, struct model_error *error)
{
	char *header = NULL;
	int err = -ENOMEM;

	if (w->not_finite) {
		err = -EINVAL;
		model_refuse(error, "The model was not saved: %s cannot be stored; train it again.",
			w->not_finite);
		goto out;
	}
	header = w->failed ? NULL : json_dumps(w->header, JSON_COMPACT);
	if (header)
		err = replace_file(path, header, w);
	if (err)
		model_refuse(error,
			"The model was not saved to %.120s: %s; the old one still stands.", path,
			strerror(-err));
out:
	free(header);
	free(w->data);
	json_decref(w->header);
	return err;
}
