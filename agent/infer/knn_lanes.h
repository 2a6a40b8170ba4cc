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

#define KNN_RANKED 128 /* most rows knn_rank() puts in order */

/* Where row r of a panel lies in it: packing two vectors of sums to 16 bits moves pieces of four, this moves them back. */
size_t knn_place(size_t r);

/*
 * sum[q][r] = (reference r . query q + start[r]) >> shift, to the nearest that 16 bits hold; what is near has a large one.
 * reference: [n_panels][groups][KNN_PANEL] words of four unsigned bytes, rows of a panel by knn_place(), starts likewise;
 * start: [n_panels * KNN_PANEL]; query: [KNN_QUERIES][groups] words of four signed bytes; sum: [KNN_QUERIES][n_panels *
 * KNN_PANEL], in order.
 */
void knn_sums(const uint32_t *reference, size_t n_panels, size_t groups, const int32_t *start,
	const int32_t *query, int shift, int16_t *sum);

/* The same of whole sums that are there already, `n` of them, a multiple of KNN_PANEL. */
void knn_narrow(const int32_t *whole, size_t n, int shift, int16_t *sum);

/* start[r] = -round(half_length[r] * unit); n is a multiple of KNN_PANEL, everything aligned to 64. */
void knn_starts(const float *half_length, float unit, int32_t *start, size_t n);

/* The k-th largest of n sums is at least this; n a multiple of KNN_PANEL, k <= KNN_PANEL. */
int32_t knn_least(const int16_t *sum, size_t n, size_t k);

/*
 * The indices of those of n sums that are >= least, in order; returns how many. index: [n + 1]; mask: [n / 64], base:
 * [n / 64] are written over.
 */
size_t knn_pick(const int16_t *sum, size_t n, int32_t least, uint32_t *index, uint64_t *mask,
	uint32_t *base);

/* Largest |row - centre|. */
double knn_largest(const float *row, const double *centre, size_t width);

/* (row - centre) / step to whole bytes; squared lengths of what that leaves off, and of what it keeps. step > 0. */
void knn_round(const float *row, const double *centre, size_t width, double step, int8_t *to,
	double *off, double *length);

/* query: [width, up to 8] of doubles, zeros past the end; distance[i] squared to rows index[i] of [..][width]. */
void knn_widen(const float *query, size_t width, double *to);
void knn_distances(const double *query, const float *rows, size_t width, const uint32_t *index,
	size_t n, double *distance);

/* rank[i]: how many of n <= KNN_RANKED distances come before the i-th; of equal ones the earlier does. distance: [KNN_RANKED] */
void knn_rank(const double *distance, size_t n, uint32_t *rank);

#endif
