/* SPDX-License-Identifier: Apache-2.0 */
/*
 * knn.h - exact k nearest neighbours by Euclidean distance, with labels.
 *
 * With AVX2 (seven bits), AVX-512 VNNI or AMX (eight) every reference is first looked at in bytes; those that could still be
 * among the nearest, by a bound that holds for every row (Cauchy-Schwarz on the roundings), are measured in double. The
 * answer is that of measuring all of them in double. A set is immutable: several threads may search it, each with its own scratch.
 */
#ifndef SEMANTOS_INFER_KNN_H
#define SEMANTOS_INFER_KNN_H

#include <stddef.h>
#include <stdint.h>

#define KNN_MAX_ROWS 65536
#define KNN_MAX_WIDTH 1024
#define KNN_MAX_K 256

struct knn_set;
struct knn_scratch;

struct knn_neighbour {
	uint32_t index; /* of the reference row */
	uint32_t label;
	double distance; /* squared */
};

/*
 * rows: [n][width] finite floats, |x| <= 1e15; labels: [n], or NULL for zeros. Copies both. NULL with errno EINVAL or
 * ENOMEM. SEMANTOS_INFER chooses as in infer.h; "scalar" computes all distances in double.
 */
struct knn_set *knn_new(const float *rows, const uint32_t *labels, size_t n, size_t width);
void knn_free(struct knn_set *set); /* accepts NULL */

struct knn_scratch *knn_scratch_new(const struct knn_set *set); /* NULL with errno ENOMEM */
void knn_scratch_free(struct knn_scratch *scratch); /* accepts NULL */

/*
 * queries: [n][width]; found: [n][k], nearest first, equal distances by index. k <= rows of the set and KNN_MAX_K.
 * No allocation, no system call. 0, or -EINVAL (k, or a query that is not finite or beyond 1e15).
 */
int knn_search(const struct knn_set *set, struct knn_scratch *scratch, const float *queries,
	size_t n, size_t k, struct knn_neighbour *found);

/* The commonest label of k neighbours; of equally common ones that of the nearest. */
uint32_t knn_vote(const struct knn_neighbour *found, size_t k);

/* References measured in double since the scratch was made. */
uint64_t knn_measured(const struct knn_scratch *scratch);

const char *knn_engine(const struct knn_set *set); /* "scalar", "avx2", "avx512-vnni" or "amx" */

#endif
