// SPDX-License-Identifier: Apache-2.0
/*
 * kin_store.c - the references on the disk and in memory.
 *
 * What a file says is checked before it is believed: sizes, whole counts, labels that have a name.
 */
#include "agent/infer/kin_store.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent/infer/knn_file.h"
#include "agent/infer/model_file.h"

static void put_name(char *to, size_t size, const char *from, size_t n)
{
	if (n >= size)
		n = size - 1;
	for (size_t i = 0; i < n; i++)
		to[i] = (char)(from[i] > ' ' && from[i] < 127 ? from[i] : '?');
	to[n] = '\0';
}

int kin_store_new(struct kin_store *store)
{
	memset(store, 0, sizeof(*store));
	store->reference = calloc(KIN_MAX_REFERENCES, sizeof(*store->reference));
	store->name = calloc(KIN_MAX_REFERENCES, sizeof(*store->name));
	if (!store->reference || !store->name) {
		kin_store_free(store);
		return -ENOMEM;
	}
	strcpy(store->label[0], KIN_BENIGN);
	store->n_labels = 1;
	return 0;
}

void kin_store_free(struct kin_store *store)
{
	free(store->reference);
	free(store->name);
	memset(store, 0, sizeof(*store));
}

bool kin_label_valid(const char *label)
{
	size_t n =
		strspn(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

	return n > 0 && n < KIN_LABEL_LEN && !label[n];
}

/* Of this name, a new one where there is none; -ENOSPC. */
static int label_of(struct kin_store *store, const char *label)
{
	size_t i = 0;

	while (i < store->n_labels && strcmp(store->label[i], label) != 0)
		i++;
	if (i == KIN_LABELS)
		return -ENOSPC;
	if (i == store->n_labels)
		strcpy(store->label[store->n_labels++], label);
	return (int)i;
}

int64_t kin_store_add(struct kin_store *store, const char *label, const char *name,
	const uint16_t (*count)[SEMANTOS_CALLS], size_t n, int64_t same)
{
	uint32_t recording = same >= 0 ? (uint32_t)same : store->next_recording;
	int number;

	if (!kin_label_valid(label))
		return -EINVAL;
	if (n > KIN_MAX_REFERENCES - store->n)
		return -ENOSPC;
	number = label_of(store, label);
	if (number < 0)
		return number;
	for (size_t i = 0; i < n; i++) {
		struct kin_reference *to = &store->reference[store->n];

		memcpy(to->count, count[i], sizeof(to->count));
		to->label = (uint32_t)number;
		to->recording = recording;
		put_name(store->name[store->n++], KIN_NAME_LEN, name, strlen(name));
	}
	if (same < 0)
		store->next_recording++;
	return recording;
}

size_t kin_store_forget(struct kin_store *store, const char *label)
{
	size_t kept = 0, before = store->n;

	for (size_t i = 0; i < before; i++) {
		if (!label || strcmp(store->label[store->reference[i].label], label) == 0)
			continue;
		store->reference[kept] = store->reference[i];
		memmove(store->name[kept++], store->name[i], KIN_NAME_LEN);
	}
	store->n = kept;
	return before - kept;
}

/* The i-th line of a text; its length, or 0 when there is none. */
static size_t next_line(const char **at, const char **line)
{
	size_t n = strcspn(*at, "\n");

	*line = *at;
	*at += n + ((*at)[n] == '\n');
	return n;
}

static bool read_labels(struct kin_store *store, const char *text, struct model_error *error)
{
	const char *line;
	size_t n;

	store->n_labels = 0;
	while (*text && store->n_labels < KIN_LABELS) {
		n = next_line(&text, &line);
		put_name(store->label[store->n_labels], KIN_LABEL_LEN, line, n);
		if (!kin_label_valid(store->label[store->n_labels++]))
			goto bad;
	}
	if (!*text && store->n_labels && strcmp(store->label[0], KIN_BENIGN) == 0)
		return true;
bad:
	model_refuse(error,
		"The names of its labels are not 1 to %d words of which the first is " KIN_BENIGN
		"; record the references again.",
		KIN_LABELS);
	return false;
}

static bool read_rows(struct kin_store *store, const struct tensor *rows, struct model_error *error)
{
	float *values = malloc(rows->n * sizeof(*values));
	bool whole = true;

	if (!values) {
		model_refuse(error, MODEL_NO_MEMORY);
		return false;
	}
	tensor_copy_f32(rows, values);
	for (uint64_t i = 0; i < rows->n && whole; i++) {
		whole = values[i] >= 0 && values[i] <= UINT16_MAX && values[i] == floorf(values[i]);
		if (whole)
			store->reference[i / SEMANTOS_CALLS].count[i % SEMANTOS_CALLS] =
				(uint16_t)values[i];
	}
	free(values);
	if (!whole)
		model_refuse(error,
			"Tensor 'rows' holds what is no count of system calls, 0 to %d; record the "
			"references again.",
			UINT16_MAX);
	return whole;
}

static bool read_numbers(struct kin_store *store, const struct tensor *labels,
	const struct tensor *recordings, struct model_error *error)
{
	int64_t *label = malloc(labels->n * sizeof(*label));
	int64_t *recording = malloc(recordings->n * sizeof(*recording));
	bool good = label && recording;

	if (!good)
		model_refuse(error, MODEL_NO_MEMORY);
	else {
		tensor_copy_i64(labels, label);
		tensor_copy_i64(recordings, recording);
	}
	for (size_t i = 0; good && i < store->n; i++) {
		good = label[i] >= 0 && label[i] < (int64_t)store->n_labels && recording[i] >= 0 &&
		       recording[i] < UINT32_MAX;
		if (!good) {
			model_refuse(error,
				"Row %zu has a label without a name, or no recording; record the "
				"references again.",
				i);
			break;
		}
		store->reference[i].label = (uint32_t)label[i];
		store->reference[i].recording = (uint32_t)recording[i];
		if (recording[i] >= store->next_recording)
			store->next_recording = (uint32_t)recording[i] + 1;
	}
	free(label);
	free(recording);
	return good;
}

static bool read_file(
	struct kin_store *store, const struct tensor_file *file, struct model_error *error)
{
	const struct tensor *rows = tensor_find(file, "rows"), *labels, *recordings;
	const char *names = tensor_metadata(file, "names"), *line;
	const char *label_names = tensor_metadata(file, "label_names");
	size_t n;

	if (!tensor_kind(file, KNN_FORMAT, "a set of references", error))
		return false;
	if (!rows || rows->type != TENSOR_F32 || rows->n_dims != 2 ||
		rows->dim[1] != SEMANTOS_CALLS || rows->dim[0] > KIN_MAX_REFERENCES || !names ||
		!label_names) {
		model_refuse(error,
			"It holds no windows of system calls: rows of %d, at most %d of them, with "
			"names; record the references again.",
			SEMANTOS_CALLS, KIN_MAX_REFERENCES);
		return false;
	}
	if (!tensor_expect(file, "labels", TENSOR_I64, rows->dim[0], 0, &labels, error) ||
		!tensor_expect(
			file, "recordings", TENSOR_I64, rows->dim[0], 0, &recordings, error) ||
		!tensor_all_used(file, 3, error))
		return false;
	store->n = rows->dim[0];
	for (size_t i = 0; i < store->n; i++) {
		n = next_line(&names, &line);
		put_name(store->name[i], KIN_NAME_LEN, line, n);
	}
	return read_labels(store, label_names, error) && read_rows(store, rows, error) &&
	       read_numbers(store, labels, recordings, error);
}

int kin_store_load(struct kin_store *store, const char *path, struct model_error *error)
{
	struct tensor_file file;
	size_t n_bytes;
	void *bytes;
	bool good;

	if (kin_store_new(store)) {
		model_refuse(error, MODEL_NO_MEMORY);
		return -ENOMEM;
	}
	if (access(path, F_OK) && errno == ENOENT)
		return -ENOENT;
	bytes = model_slurp(path, &n_bytes, error);
	good = bytes && tensor_file_open(&file, bytes, n_bytes, KNN_MAX_ROWS, error);
	if (good) {
		good = read_file(store, &file, error);
		tensor_file_close(&file);
	}
	free(bytes);
	if (good)
		return 0;
	kin_store_free(store);
	return -EINVAL;
}

/* One name a line; the caller frees it. */
static char *lines(const char *names, size_t size, size_t n)
{
	char *text = malloc(n * size + 1), *at = text;

	if (!text)
		return NULL;
	*at = '\0';
	for (size_t i = 0; i < n; i++)
		at += sprintf(at, "%s\n", names + i * size);
	return text;
}

int kin_store_save(const struct kin_store *store, const char *path, struct model_error *error)
{
	size_t n = store->n;
	float *rows = malloc((n + 1) * SEMANTOS_CALLS * sizeof(*rows));
	int64_t *labels = malloc((n + 1) * sizeof(*labels));
	int64_t *recordings = malloc((n + 1) * sizeof(*recordings));
	char *names = lines(store->name[0], KIN_NAME_LEN, n);
	char *label_names = lines(store->label[0], KIN_LABEL_LEN, store->n_labels);
	struct tensor_writer w;
	int err = -EINVAL;

	if (!n) {
		model_refuse(error, "There are no references to save to %.120s.", path);
		goto out;
	}
	tensor_writer_open(&w);
	w.failed |= !rows || !labels || !recordings || !names || !label_names;
	if (!w.failed) {
		for (size_t i = 0; i < n; i++) {
			labels[i] = store->reference[i].label;
			recordings[i] = store->reference[i].recording;
			for (size_t f = 0; f < SEMANTOS_CALLS; f++)
				rows[i * SEMANTOS_CALLS + f] = (float)store->reference[i].count[f];
		}
		tensor_put_string(&w, "format", KNN_FORMAT);
		tensor_put_string(&w, "name", "calls");
		tensor_put_string(&w, "names", names);
		tensor_put_string(&w, "label_names", label_names);
		tensor_put_i64(&w, "labels", (uint32_t)n, 0, labels);
		tensor_put_i64(&w, "recordings", (uint32_t)n, 0, recordings);
		tensor_put_f32(&w, "rows", (uint32_t)n, SEMANTOS_CALLS, rows);
	}
	err = tensor_writer_save(&w, path, error);
out:
	free(rows);
	free(labels);
	free(recordings);
	free(names);
	free(label_names);
	return err;
}
