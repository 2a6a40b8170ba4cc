/* SPDX-License-Identifier: Apache-2.0 */
/*
 * knn_lanes.h - the 8-bit filter behind knn.h; for agent/infer only.
 */
#ifndef SEMANTOS_INFER_KNN_LANES_H
#define SEMANTOS_INFER_KNN_LANES_H

#include <stddef.h>
#include <stdint.h>

#define KNN_PANEL 64 /* references side by side: four vectors */
#define KNN_QUERIES 6 /* queries at once */

/*
 * sum[q][r] = reference r . query q + start[r], in whole numbers; what is near has a large one.
 * reference: [n_panels][groups][KNN_PANEL] words of four unsigned bytes; start: [n_panels * KNN_PANEL];
 * query: [KNN_QUERIES][groups] words of four signed bytes; sum: [KNN_QUERIES][n_panels * KNN_PANEL].
 */
void knn_sums(const uint32_t *reference, size_t n_panels, size_t groups, const int32_t *start,
	const int32_t *query, int32_t *sum);

/* start[r] = -round(half_length[r] * unit); n is a multiple of KNN_PANEL, everything aligned to 64. */
void knn_starts(const float *half_length, float unit, int32_t *start, size_t n);

/* The k-th largest of n sums is at least this; n a multiple of KNN_PANEL, k <= KNN_PANEL. */
int32_t knn_least(const int32_t *sum, size_t n, size_t k);

/* The indices of those of n sums that are >= least, in order; returns how many. index: [n + 16] */
size_t knn_pick(const int32_t *sum, size_t n, int32_t least, uint32_t *index);

/* Largest |row - centre|. */
double knn_largest(const float *row, const double *centre, size_t width);

/* (row - centre) / step to whole bytes; squared lengths of what that leaves off, and of what it keeps. step > 0. */
void knn_round(const float *row, const double *centre, size_t width, double step, int8_t *to,
	double *off, double *length);

double knn_distance(const float *a, const float *b, size_t width); /* squared, by AVX-512 */

#endif
