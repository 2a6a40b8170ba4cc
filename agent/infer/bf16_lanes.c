// SPDX-License-Identifier: Apache-2.0
/*
 * bf16_lanes.c - the bfloat16 product for AVX-512.
 *
 * Six rows by four vectors of columns; a panel of weights (32 KiB at k = 256) is used for all rows before the next.
 * Never allocates. The CPU rounds to nearest even and treats denormals as zero in these products.
 */
#include <immintrin.h>
#include "agent/infer/bf16.h"
#include "agent/infer/engine.h"

size_t bf16_packed_words(size_t k, size_t n)
{
	return (n + BF16_PANEL - 1) / BF16_PANEL * BF16_PANEL * ((k + 1) / 2);
}

void bf16_pack(const float *from, size_t k, size_t n, uint32_t *to)
{
	for (size_t panel = 0; panel < n; panel += BF16_PANEL)
		for (size_t p = 0; p < k; p += 2)
			for (size_t c = panel; c < panel + BF16_PANEL; c++) {
				uint32_t low = c < n ? bf16(from[p * n + c]) : 0;
				uint32_t high =
					c < n && p + 1 < k ? bf16(from[(p + 1) * n + c]) : 0;

				*to++ = high << 16 | low;
			}
}

ENGINE_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")

#define INLINE static inline __attribute__((always_inline))
#define ROWS 6

/* sum += the two products of w and the pair at a, in every lane; see quick_lanes.c for why this is no intrinsic. */
INLINE void dot_add(__m512 *sum, __m512i w, const uint32_t *a)
{
	asm("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(*sum) : "v"(w), "m"(*a));
}

INLINE void tile_of(size_t rows, size_t vectors, size_t n, size_t half, const uint32_t *pairs,
	const uint32_t *packed, float *c)
{
	__m512 sum[ROWS][4];

#pragma GCC unroll 6
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (size_t v = 0; v < vectors; v++)
			sum[r][v] = _mm512_loadu_ps(c + r * n + 16 * v);
	for (size_t p = 0; p < half; p++, packed += BF16_PANEL) {
		__m512i w[4];

#pragma GCC unroll 4
		for (size_t v = 0; v < vectors; v++)
			w[v] = _mm512_load_si512(packed + 16 * v);
#pragma GCC unroll 6
		for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
			for (size_t v = 0; v < vectors; v++)
				dot_add(&sum[r][v], w[v], pairs + r * half + p);
	}
#pragma GCC unroll 6
	for (size_t r = 0; r < rows; r++)
#pragma GCC unroll 4
		for (size_t v = 0; v < vectors; v++)
			_mm512_storeu_ps(c + r * n + 16 * v, sum[r][v]);
}

INLINE void panel_of(size_t m, size_t vectors, size_t n, size_t half, const uint32_t *pairs,
	const uint32_t *packed, float *c)
{
	size_t i = 0;

	for (; i + ROWS <= m; i += ROWS)
		tile_of(ROWS, vectors, n, half, pairs + i * half, packed, c + i * n);
	for (; i + 2 <= m; i += 2)
		tile_of(2, vectors, n, half, pairs + i * half, packed, c + i * n);
	if (i < m)
		tile_of(1, vectors, n, half, pairs + i * half, packed, c + i * n);
}

void bf16_pairs(size_t m, size_t k, const float *a, size_t lda, uint32_t *pairs)
{
	size_t half = (k + 1) / 2;

	for (size_t r = 0; r < m; r++)
		for (size_t p = 0; p < k; p += 16) {
			__mmask16 in = k - p >= 16 ? 0xffff : (__mmask16)((1u << (k - p)) - 1);
			__mmask16 out =
				half - p / 2 >= 8 ? 0xff : (__mmask16)((1u << (half - p / 2)) - 1);
			__m256bh pair =
				_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(in, a + r * lda + p));

			_mm256_mask_storeu_epi32(
				pairs + r * half + p / 2, (__mmask8)out, (__m256i)pair);
		}
}

void bf16_product(size_t m, size_t n, size_t k, const float *a, size_t lda, const uint32_t *packed,
	uint32_t *pairs, float *c)
{
	size_t half = (k + 1) / 2;

	bf16_pairs(m, k, a, lda, pairs);
	for (size_t panel = 0; panel < n; panel += BF16_PANEL, packed += BF16_PANEL * half)
		switch (n - panel) {
		case 16:
			panel_of(m, 1, n, half, pairs, packed, c + panel);
			break;
		case 32:
			panel_of(m, 2, n, half, pairs, packed, c + panel);
			break;
		case 48:
			panel_of(m, 3, n, half, pairs, packed, c + panel);
			break;
		default:
			panel_of(m, 4, n, half, pairs, packed, c + panel);
			break;
		}
}

ENGINE_TARGET_END
