/* SPDX-License-Identifier: Apache-2.0 */
/*
 * knn_file.h - the references of nearest neighbours as a safetensors file, see docs/model-format.md.
 */
#ifndef SEMANTOS_INFER_KNN_FILE_H
#define SEMANTOS_INFER_KNN_FILE_H

#include "agent/infer/knn.h"
#include "agent/infer/model.h"

#define KNN_FORMAT "semantos-knn-1"

/* From a file or from memory, ready to be searched; knn_free() it. NULL with *error (which may be NULL). */
struct knn_set *knn_load(const char *path, struct model_error *error);
struct knn_set *knn_parse(const void *bytes, size_t n_bytes, struct model_error *error);

/* rows, labels: as knn_new() takes them. Atomically, as model_save(). 0 or -errno with *error. */
int knn_save(const float *rows, const uint32_t *labels, size_t n, size_t width, const char *name,
	const char *path, struct model_error *error);

#endif
