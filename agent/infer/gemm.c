// SPDX-License-Identifier: Apache-2.0
/*
 * gemm.c - a small dense product in portable C: six rows by one vector in registers, weights read in order.
 *
 * Owns no memory. Six by sixteen fits the sixteen AVX2 registers and keeps enough sums in flight for AVX-512; single
 * rows take four vectors side by side for the same reason. The sums stay in registers only because the loops over them
 * are unrolled. Any thread.
 */
#include <stdlib.h>
#include <string.h>
#include "agent/infer/gemm.h"

/* Lanes of one product step, loaded from any float address. */
typedef float gemm_vector __attribute__((vector_size(GEMM_LANES * sizeof(float)), aligned(4)));

#define ROWS 6 /* as the unroll pragmas say, which take no macro */
#define WIDE 4

GEMM_CLONES void gemm_add(size_t m, size_t n, size_t k, const float *a, size_t a_row,
	size_t a_column, const float *b, size_t ldb, float *c, size_t ldc)
{
	size_t i = 0;

	for (; i + ROWS <= m; i += ROWS)
		for (size_t j = 0; j < n; j += GEMM_LANES) {
			const float *a0 = a + i * a_row, *b0 = b + j;
			float *c0 = c + i * ldc + j;
			gemm_vector sum[ROWS];

#pragma GCC unroll 6
			for (size_t r = 0; r < ROWS; r++)
				sum[r] = *(const gemm_vector *)(c0 + r * ldc);
			for (size_t p = 0; p < k; p++, a0 += a_column, b0 += ldb) {
				gemm_vector weight = *(const gemm_vector *)b0;

#pragma GCC unroll 6
				for (size_t r = 0; r < ROWS; r++)
					sum[r] += weight * a0[r * a_row];
			}
#pragma GCC unroll 6
			for (size_t r = 0; r < ROWS; r++)
				*(gemm_vector *)(c0 + r * ldc) = sum[r];
		}
	for (; i < m; i++) {
		size_t j = 0;

		for (; j + WIDE * GEMM_LANES <= n; j += WIDE * GEMM_LANES) {
			const float *a0 = a + i * a_row;
			const gemm_vector *b0 = (const gemm_vector *)(b + j);
			gemm_vector *c0 = (gemm_vector *)(c + i * ldc + j), sum[WIDE];

#pragma GCC unroll 4
			for (size_t v = 0; v < WIDE; v++)
				sum[v] = c0[v];
			for (size_t p = 0; p < k; p++, a0 += a_column) {
#pragma GCC unroll 4
				for (size_t v = 0; v < WIDE; v++)
					sum[v] += b0[v] * *a0;
				b0 = (const gemm_vector *)((const float *)b0 + ldb);
			}
#pragma GCC unroll 4
			for (size_t v = 0; v < WIDE; v++)
				c0[v] = sum[v];
		}
		for (; j < n; j += GEMM_LANES) {
			const float *a0 = a + i * a_row, *b0 = b + j;
			gemm_vector *c0 = (gemm_vector *)(c + i * ldc + j), sum = *c0;

			for (size_t p = 0; p < k; p++, a0 += a_column, b0 += ldb)
				sum += *(const gemm_vector *)b0 * *a0;
			*c0 = sum;
		}
	}
}

float *gemm_alloc(size_t n_floats)
{
	size_t n_bytes = (n_floats * sizeof(float) + 63) / 64 * 64;
	float *floats = aligned_alloc(64, n_bytes ? n_bytes : 64);

	if (floats)
		memset(floats, 0, n_bytes);
	return floats;
}
