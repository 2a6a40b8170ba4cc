// SPDX-License-Identifier: Apache-2.0
/*
 * knn_lanes.c - the 8-bit filter of knn.c for AVX-512 VNNI: references in lanes, queries broadcast.
 *
 * Never allocates. Six queries by four vectors of references fill the registers; a panel of references (8 KiB at 128
 * numbers) stays in the first-level cache meanwhile. Sums are kept in 16 bits: half the way to the second-level cache, and
 * half the comparing. Whole numbers throughout: nothing here rounds but the starts, and the sums downwards.
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

size_t knn_place(size_t r)
{
	size_t piece = r % 32 / 8, within = r % 8;

	return r / 32 * 32 + within / 4 * 16 + 4 * piece + within % 4;
}

/* Two vectors of sums to one of 16-bit ones. */
static inline __attribute__((always_inline)) __m512i narrow(__m512i a, __m512i b, __m128i shift)
{
	return _mm512_packs_epi32(_mm512_sra_epi32(a, shift), _mm512_sra_epi32(b, shift));
}

void knn_sums(const uint32_t *reference, size_t n_panels, size_t groups, const int32_t *start,
	const int32_t *query, int shift, int16_t *sum)
{
	const __m128i by = _mm_cvtsi32_si128(shift);

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
#pragma GCC unroll 2
			for (size_t v = 0; v < VECTORS; v += 2)
				_mm512_store_si512(sum + (q * n_panels + p) * KNN_PANEL + 16 * v,
					narrow(s[q][v], s[q][v + 1], by));
	}
}

void knn_narrow(const int32_t *whole, size_t n, int shift, int16_t *sum)
{
	for (size_t r = 0; r < n; r += 32)
		_mm512_store_si512(sum + r,
			narrow(_mm512_load_si512(whole + r), _mm512_load_si512(whole + r + 16),
				_mm_cvtsi32_si128(shift)));
}

void knn_starts(const float *half_length, float unit, int32_t *start, size_t n)
{
	for (size_t r = 0; r < n; r += 16)
		_mm512_store_si512(
			start + r, _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_load_ps(half_length + r),
					   _mm512_set1_ps(-unit))));
}

/*
 * The largest of each of KNN_PANEL strides: the k-th largest of those is at most the k-th largest of all. It is found bit
 * by bit: the largest number that at least k of them reach.
 */
int32_t knn_least(const int16_t *sum, size_t n, size_t k)
{
	__m512i most[2] = { _mm512_load_si512(sum), _mm512_load_si512(sum + 32) };
	int32_t least = INT16_MIN;

	for (size_t r = KNN_PANEL; r < n; r += KNN_PANEL)
		for (size_t v = 0; v < 2; v++)
			most[v] = _mm512_max_epi16(most[v], _mm512_load_si512(sum + r + 32 * v));
	for (int32_t bit = 1 << 15; bit; bit >>= 1) {
		__m512i limit = _mm512_set1_epi16((int16_t)(least + bit));
		size_t reach = (size_t)__builtin_popcount(_mm512_cmpge_epi16_mask(most[0], limit)) +
			       (size_t)__builtin_popcount(_mm512_cmpge_epi16_mask(most[1], limit));

		least += reach >= k ? bit : 0;
	}
	return least;
}

/* No branch depends on where they are: a wrong guess costs more than all that is done for one of them. */
size_t knn_pick(const int16_t *sum, size_t n, int32_t least, uint32_t *index, uint64_t *mask,
	uint32_t *base)
{
	const __m512i limit = _mm512_set1_epi16((int16_t)(least < INT16_MIN ? INT16_MIN : least));
	size_t picked = 0, words = 0, word = 0;

	for (size_t r = 0; r < n; r += 64) {
		uint64_t low = _mm512_cmpge_epi16_mask(_mm512_load_si512(sum + r), limit);
		uint64_t high = _mm512_cmpge_epi16_mask(_mm512_load_si512(sum + r + 32), limit);

		mask[words] = high << 32 | low;
		base[words] = (uint32_t)r;
		picked += (size_t)__builtin_popcountll(mask[words]);
		words += mask[words] != 0;
	}
	for (size_t i = 0; i < picked; i++) {
		uint64_t left = mask[word];

		index[i] = base[word] + (uint32_t)__builtin_ctzll(left);
		left &= left - 1;
		mask[word] = left;
		word += left == 0;
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

void knn_widen(const float *query, size_t width, double *to)
{
	for (size_t at = 0; at < width; at += 8) {
		__mmask8 mask = width - at >= 8 ? 0xff : (__mmask8)((1u << (width - at)) - 1);

		_mm512_storeu_pd(to + at, _mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, query + at)));
	}
}

/* Always one sum a lane, in the order of the numbers: rows that are alike are equally far. */
static inline __attribute__((always_inline)) void distances_of(const double *query,
	const float *rows, size_t width, const uint32_t *index, size_t n, double *distance)
{
	const float *row[4];
	__m512d sum[4];
	size_t i = 0;

#pragma GCC unroll 4
	for (size_t k = 0; k < n; k++) {
		row[k] = rows + index[k] * width;
		sum[k] = _mm512_setzero_pd();
	}
	for (; i + 8 <= width; i += 8)
#pragma GCC unroll 4
		for (size_t k = 0; k < n; k++) {
			__m512d d = _mm512_sub_pd(_mm512_loadu_pd(query + i),
				_mm512_cvtps_pd(_mm256_loadu_ps(row[k] + i)));

			sum[k] = _mm512_fmadd_pd(d, d, sum[k]);
		}
	if (i < width) {
		__mmask8 mask = (__mmask8)((1u << (width - i)) - 1);

#pragma GCC unroll 4
		for (size_t k = 0; k < n; k++) {
			__m512d d = _mm512_sub_pd(_mm512_loadu_pd(query + i),
				_mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, row[k] + i)));

			sum[k] = _mm512_fmadd_pd(d, d, sum[k]);
		}
	}
#pragma GCC unroll 4
	for (size_t k = 0; k < n; k++)
		distance[k] = _mm512_reduce_add_pd(sum[k]);
}

void knn_distances(const double *query, const float *rows, size_t width, const uint32_t *index,
	size_t n, double *distance)
{
	size_t i = 0;

	for (; i + 4 <= n; i += 4)
		distances_of(query, rows, width, index + i, 4, distance + i);
	for (; i < n; i++)
		distances_of(query, rows, width, index + i, 1, distance + i);
}

/* Distances are no less than zero, so their bits are in the same order, and one more is the next larger number. */
void knn_rank(const double *distance, size_t n, uint32_t *rank)
{
	const __m512i lane = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), one = _mm512_set1_epi64(1);

	for (size_t v = 0; v < n; v += 8) {
		__mmask8 mask = n - v >= 8 ? 0xff : (__mmask8)((1u << (n - v)) - 1);
		__m512i key = _mm512_maskz_loadu_epi64(mask, distance + v);
		__m512i before = _mm512_setzero_si512();

		for (size_t j = 0; j < n; j++) {
			__m512i other = _mm512_castpd_si512(_mm512_set1_pd(distance[j]));
			/* the lanes after j */
			__mmask8 later = _mm512_cmpgt_epi64_mask(
				lane, _mm512_set1_epi64((int64_t)j - (int64_t)v));
			__m512i bound = _mm512_mask_add_epi64(key, later, key, one);

			before = _mm512_mask_add_epi64(
				before, _mm512_cmplt_epi64_mask(other, bound), before, one);
		}
		_mm256_storeu_si256((__m256i *)(rank + v), _mm512_cvtepi64_epi32(before));
	}
}

ENGINE_TARGET_END
