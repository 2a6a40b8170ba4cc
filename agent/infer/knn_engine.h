/* SPDX-License-Identifier: Apache-2.0 */
/*
 * knn_engine.h - the 8-bit filter behind knn.h and what ends it, one of these for each width of vectors; for agent/infer
 * only. Everything is aligned to 64 unless it says otherwise.
 */
#ifndef SEMANTOS_INFER_KNN_ENGINE_H
#define SEMANTOS_INFER_KNN_ENGINE_H

#include <stddef.h>
#include <stdint.h>

#define KNN_PANEL 64 /* references side by side */
#define KNN_QUERIES 6 /* queries at once */
#define KNN_RANKED 128 /* most rows rank() puts in order */
#define KNN_STRIDE(width) \
	(((width) + 7) / 8 * 8) /* numbers between two rows; zeros past the width */
#define KNN_QUERY_STEPS 127 /* a query's bytes are within this of zero */

struct knn_engine {
	const char *name;
	int steps; /* a reference's bytes are within this of their middle, which is one more */

	/* Where row r of a panel lies in it: packing two vectors of sums to 16 bits moves pieces of four, this moves them back. */
	size_t (*place)(size_t r);

	/*
	 * sum[q][r] = (reference r . query q + start[r]) >> shift, to the nearest that 16 bits hold; what is near has a large
	 * one. reference: [n_panels][groups][KNN_PANEL] words of four unsigned bytes, rows of a panel by place(), starts
	 * likewise; start: [n_panels * KNN_PANEL]; query: [KNN_QUERIES][groups] words of four signed bytes; sum:
	 * [KNN_QUERIES][n_panels * KNN_PANEL], in order.
	 */
	void (*sums)(const uint32_t *reference, size_t n_panels, size_t groups,
		const int32_t *start, const int32_t *query, int shift, int16_t *sum);

	/* The same of whole sums that are there already, `n` of them, a multiple of KNN_PANEL. */
	void (*narrow)(const int32_t *whole, size_t n, int shift, int16_t *sum);

	/* start[r] = -round(half_length[r] * unit); n is a multiple of KNN_PANEL. */
	void (*starts)(const float *half_length, float unit, int32_t *start, size_t n);

	/* The k-th largest of n sums is at least this; n a multiple of KNN_PANEL, k <= KNN_PANEL. */
	int32_t (*least)(const int16_t *sum, size_t n, size_t k);

	/*
	 * The indices of those of n sums that are >= least, in order; returns how many. index: [n + 1]; mask: [n / 64],
	 * base: [n / 64] are written over.
	 */
	size_t (*pick)(const int16_t *sum, size_t n, int32_t least, uint32_t *index, uint64_t *mask,
		uint32_t *base);

	void (*widen)(const float *query, size_t width, double *to); /* query: at any address */

	/* Rows and centre: [stride] doubles. Largest |row - centre|. */
	double (*largest)(const double *row, const double *centre, size_t stride);

	/*
	 * (row - centre) / step to `stride` whole bytes, at any address; squared lengths of what that leaves off, and of what
	 * it keeps. step > 0.
	 */
	void (*round)(const double *row, const double *centre, size_t stride, double step,
		int8_t *to, double *off, double *length);

	/* distance[i] squared from query: [stride] to rows index[i] of [..][stride], which may lie anywhere. */
	void (*distances)(const double *query, const float *rows, size_t stride,
		const uint32_t *index, size_t n, double *distance);

	/*
	 * rank[i]: how many of n <= KNN_RANKED distances come before the i-th; of equal ones the earlier does. distance and
	 * rank: [n, up to 8].
	 */
	void (*rank)(const double *distance, size_t n, uint32_t *rank);
};

extern const struct knn_engine knn_avx2, knn_avx512;

#endif
