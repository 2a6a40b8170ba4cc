// SPDX-License-Identifier: Apache-2.0
/*
 * knn_lanes.c - the 8-bit filter of knn.c for AVX-512 VNNI: references in lanes, queries broadcast.
 *
 * Never allocates. Six queries by four vectors of references fill the registers; a panel of references (8 KiB at 128
 * numbers) stays in the first-level cache meanwhile. Whole numbers throughout: nothing here rounds but the starts.
 */
#include <immintrin.h>
#include "agent/infer/engine.h"
#include "agent/infer/knn_lanes.h"

ENGINE_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")

#define VECTORS (KNN_PANEL / 16)

/* sum += the four products of unsigned x and the signed bytes at query, in every lane (see quick_lanes.c). */
static inline __attribute__((always_inline)) void dot_add(
	__m512i *sum, __m512i x, const int32_t *query)
{
	asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(*sum) : "v"(x), "m"(*query));
}

void knn_sums(const uint32_t *reference, size_t n_panels, size_t groups, const int32_t *start,
	const int32_t *query, int32_t *sum)
{
	for (size_t p = 0; p < n_panels; p++, start += KNN_PANEL) {
		__m512i s[KNN_QUERIES][VECTORS];

#pragma GCC unroll 6
		for (size_t q = 0; q < KNN_QUERIES; q++)
#pragma GCC unroll 4
			for (size_t v = 0; v < VECTORS; v++)
				s[q][v] = _mm512_load_si512(start + 16 * v);
		for (size_t g = 0; g < groups; g++, reference += KNN_PANEL) {
			__m512i x[VECTORS];

#pragma GCC unroll 4
			for (size_t v = 0; v < VECTORS; v++)
				x[v] = _mm512_load_si512(reference + 16 * v);
#pragma GCC unroll 6
			for (size_t q = 0; q < KNN_QUERIES; q++)
#pragma GCC unroll 4
				for (size_t v = 0; v < VECTORS; v++)
					dot_add(&s[q][v], x[v], query + q * groups + g);
		}
#pragma GCC unroll 6
		for (size_t q = 0; q < KNN_QUERIES; q++)
#pragma GCC unroll 4
			for (size_t v = 0; v < VECTORS; v++)
				_mm512_store_si512(
					sum + (q * n_panels + p) * KNN_PANEL + 16 * v, s[q][v]);
	}
}

void knn_starts(const float *half_length, float unit, int32_t *start, size_t n)
{
	for (size_t r = 0; r < n; r += 16)
		_mm512_store_si512(
			start + r, _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_load_ps(half_length + r),
					   _mm512_set1_ps(-unit))));
}

/* The largest of each of KNN_PANEL strides: the k-th largest of those is at most the k-th largest of all. */
int32_t knn_least(const int32_t *sum, size_t n, size_t k)
{
	__m512i most[VECTORS], best = _mm512_set1_epi32(INT32_MIN);
	int32_t lane[KNN_PANEL] __attribute__((aligned(64)));

	for (size_t v = 0; v < VECTORS; v++)
		most[v] = _mm512_load_si512(sum + 16 * v);
	for (size_t r = KNN_PANEL; r < n; r += KNN_PANEL)
		for (size_t v = 0; v < VECTORS; v++)
			most[v] = _mm512_max_epi32(most[v], _mm512_load_si512(sum + r + 16 * v));
	for (size_t v = 0; v < VECTORS; v++)
		_mm512_store_si512(lane + 16 * v, most[v]);
	/* Those that at least k are no smaller than; the largest of them is the k-th largest. */
	for (size_t v = 0; v < VECTORS; v++) {
		__m512i count = _mm512_setzero_si512(), one = _mm512_set1_epi32(1);

		for (size_t l = 0; l < KNN_PANEL; l++)
			count = _mm512_mask_add_epi32(count,
				_mm512_cmple_epi32_mask(most[v], _mm512_set1_epi32(lane[l])), count,
				one);
		best = _mm512_mask_max_epi32(best,
			_mm512_cmpge_epi32_mask(count, _mm512_set1_epi32((int)k)), best, most[v]);
	}
	return _mm512_reduce_max_epi32(best);
}

size_t knn_pick(const int32_t *sum, size_t n, int32_t least, uint32_t *index)
{
	const __m512i limit = _mm512_set1_epi32(least);
	size_t picked = 0;

	for (size_t r = 0; r < n; r += 64) {
		uint64_t mask = 0;

		for (size_t v = 0; v < 4; v++)
			mask |= (uint64_t)_mm512_cmpge_epi32_mask(
					_mm512_load_si512(sum + r + 16 * v), limit)
				<< (16 * v);
		for (; mask; mask &= mask - 1)
			index[picked++] = (uint32_t)(r + (size_t)__builtin_ctzll(mask));
	}
	return picked;
}

/* Eight numbers less their centre, zeros past the width. */
static inline __attribute__((always_inline)) __m512d centred(
	const float *row, const double *centre, size_t at, size_t width)
{
	__mmask8 mask = width - at >= 8 ? 0xff : (__mmask8)((1u << (width - at)) - 1);

	return _mm512_sub_pd(_mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, row + at)),
		_mm512_maskz_loadu_pd(mask, centre + at));
}

double knn_largest(const float *row, const double *centre, size_t width)
{
	__m512d most = _mm512_setzero_pd();

	for (size_t at = 0; at < width; at += 8)
		most = _mm512_max_pd(most, _mm512_abs_pd(centred(row, centre, at, width)));
	return _mm512_reduce_max_pd(most);
}

void knn_round(const float *row, const double *centre, size_t width, double step, int8_t *to,
	double *off, double *length)
{
	__m512d o = _mm512_setzero_pd(), l = _mm512_setzero_pd();

	for (size_t at = 0; at < width; at += 8) {
		__mmask8 mask = width - at >= 8 ? 0xff : (__mmask8)((1u << (width - at)) - 1);
		__m512d value = centred(row, centre, at, width);
		__m512d whole = _mm512_roundscale_pd(_mm512_div_pd(value, _mm512_set1_pd(step)),
			_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
		__m512d rounded = _mm512_mul_pd(whole, _mm512_set1_pd(step));
		__m512d error = _mm512_sub_pd(value, rounded);

		o = _mm512_fmadd_pd(error, error, o);
		l = _mm512_fmadd_pd(rounded, rounded, l);
		_mm_mask_storeu_epi8(
			to + at, mask, _mm256_cvtepi32_epi8(_mm512_cvtpd_epi32(whole)));
	}
	*off = _mm512_reduce_add_pd(o);
	*length = _mm512_reduce_add_pd(l);
}

double knn_distance(const float *a, const float *b, size_t width)
{
	__m512d sum[2] = { _mm512_setzero_pd(), _mm512_setzero_pd() };
	size_t i = 0;

	for (; i + 16 <= width; i += 16)
		for (size_t v = 0; v < 2; v++) {
			__m512d d = _mm512_sub_pd(_mm512_cvtps_pd(_mm256_loadu_ps(a + i + 8 * v)),
				_mm512_cvtps_pd(_mm256_loadu_ps(b + i + 8 * v)));

			sum[v] = _mm512_fmadd_pd(d, d, sum[v]);
		}
	for (; i < width; i += 8) {
		__mmask8 mask = width - i >= 8 ? 0xff : (__mmask8)((1u << (width - i)) - 1);
		__m512d d = _mm512_sub_pd(_mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, a + i)),
			_mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, b + i)));

		sum[0] = _mm512_fmadd_pd(d, d, sum[0]);
	}
	return _mm512_reduce_add_pd(_mm512_add_pd(sum[0], sum[1]));
}

ENGINE_TARGET_END
