// SPDX-License-Identifier: Apache-2.0
/*
 * knn_file.c - reads and writes the references of nearest neighbours (docs/model-format.md). Any thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/knn_file.h"
#include "agent/infer/model_file.h"

static struct knn_set *set_from(const struct tensor_file *tensors, struct model_error *error)
{
	const struct tensor *rows = tensor_find(tensors, "rows"), *labels;
	struct knn_set *set = NULL;
	float *values = NULL;
	int64_t *given = NULL;
	uint32_t *label = NULL;

	if (!tensor_kind(tensors, KNN_FORMAT, "a set of references", error))
		return NULL;
	if (!rows || rows->type != TENSOR_F32 || rows->n_dims != 2 ||
		rows->dim[1] > KNN_MAX_WIDTH) {
		model_refuse(error,
			"Tensor 'rows' is missing, not two-dimensional or wider than %d; export "
			"the set again.",
			KNN_MAX_WIDTH);
		return NULL;
	}
	/* kin_store.h says besides what was recorded together */
	if (!tensor_expect(tensors, "labels", TENSOR_I64, rows->dim[0], 0, &labels, error) ||
		!tensor_all_used(tensors, tensor_find(tensors, "recordings") ? 3 : 2, error))
		return NULL;
	values = malloc(rows->n * sizeof(*values));
	given = malloc(labels->n * sizeof(*given));
	label = malloc(labels->n * sizeof(*label));
	if (!values || !given || !label) {
		model_refuse(error, MODEL_NO_MEMORY);
		goto out;
	}
	tensor_copy_f32(rows, values);
	tensor_copy_i64(labels, given);
	for (uint64_t i = 0; i < labels->n; i++) {
		if (given[i] < 0 || given[i] > UINT32_MAX) {
			model_refuse(error,
				"Label %lld of row %llu is outside 0..%lu; export the set again.",
				(long long)given[i], (unsigned long long)i,
				(unsigned long)UINT32_MAX);
			goto out;
		}
		label[i] = (uint32_t)given[i];
	}
	set = knn_new(values, label, rows->dim[0], rows->dim[1]);
	if (!set && errno == ENOMEM)
		model_refuse(error, MODEL_NO_MEMORY);
	else if (!set)
		model_refuse(error, "Tensor 'rows' holds a number beyond 1e15; scale the rows.");
out:
	free(values);
	free(given);
	free(label);
	return set;
}

struct knn_set *knn_parse(const void *bytes, size_t n_bytes, struct model_error *error)
{
	struct tensor_file tensors;
	struct knn_set *set;

	if (!tensor_file_open(&tensors, bytes, n_bytes, KNN_MAX_ROWS, error))
		return NULL;
	set = set_from(&tensors, error);
	tensor_file_close(&tensors);
	return set;
}

struct knn_set *knn_load(const char *path, struct model_error *error)
{
	size_t n_bytes;
	void *bytes = model_slurp(path, &n_bytes, error);
	struct knn_set *set = bytes ? knn_parse(bytes, n_bytes, error) : NULL;

	free(bytes);
	return set;
}

int knn_save(const float *rows, const uint32_t *labels, size_t n, size_t width, const char *name,
	const char *path, struct model_error *error)
{
	struct tensor_writer w;
	int64_t *given;

	if (!model_name_valid(name) || n == 0 || n > KNN_MAX_ROWS || width == 0 ||
		width > KNN_MAX_WIDTH) {
		model_refuse(error,
			"The set was not saved: its name does not fit, or it has no rows, more "
			"than %d, or wider ones than %d; leave some out.",
			KNN_MAX_ROWS, KNN_MAX_WIDTH);
		return -EINVAL;
	}
	given = calloc(n, sizeof(*given));
	tensor_writer_open(&w);
	w.failed |= !given;
	if (!w.failed) {
		for (size_t i = 0; labels && i < n; i++)
			given[i] = labels[i];
		tensor_put_string(&w, "format", KNN_FORMAT);
		tensor_put_string(&w, "name", name);
		/* Eight-byte numbers first, so that every tensor is aligned to its own size. */
		tensor_put_i64(&w, "labels", (uint32_t)n, 0, given);
		tensor_put_f32(&w, "rows", (uint32_t)n, (uint32_t)width, rows);
	}
	free(given);
	return tensor_writer_save(&w, path, error);
}
