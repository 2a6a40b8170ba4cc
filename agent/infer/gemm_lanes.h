/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemm_lanes.h - the body of gemm.h's product, written once for any LANES, and ROWS of sixteen columns whose sums fit the
 * registers; gemm.c includes it once for each width, under the name PRODUCT.
 *
 * The sums stay in registers only because the loops over them are unrolled. A single row takes four times as many columns at
 * once, for as many sums in flight.
 */
#define VECTORS (GEMM_LANES / LANES)
#define WIDE (4 * VECTORS)

void PRODUCT(size_t m, size_t n, size_t k, const float *a, size_t a_row, size_t a_column,
	const float *b, size_t ldb, float *c, size_t ldc)
{
	/* Loaded from any float address. */
	typedef float vf __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));
	size_t i = 0;

	for (; i + ROWS <= m; i += ROWS)
		for (size_t j = 0; j < n; j += GEMM_LANES) {
			const float *a0 = a + i * a_row, *b0 = b + j;
			float *c0 = c + i * ldc + j;
			vf sum[ROWS][VECTORS];

#pragma GCC unroll 6
			for (size_t r = 0; r < ROWS; r++)
#pragma GCC unroll 4
				for (size_t v = 0; v < VECTORS; v++)
					sum[r][v] = ((const vf *)(c0 + r * ldc))[v];
			for (size_t p = 0; p < k; p++, a0 += a_column, b0 += ldb) {
#pragma GCC unroll 6
				for (size_t r = 0; r < ROWS; r++)
#pragma GCC unroll 4
					for (size_t v = 0; v < VECTORS; v++)
						sum[r][v] += ((const vf *)b0)[v] * a0[r * a_row];
			}
#pragma GCC unroll 6
			for (size_t r = 0; r < ROWS; r++)
#pragma GCC unroll 4
				for (size_t v = 0; v < VECTORS; v++)
					((vf *)(c0 + r * ldc))[v] = sum[r][v];
		}
	for (; i < m; i++) {
		size_t j = 0;

		for (; j + 4 * GEMM_LANES <= n; j += 4 * GEMM_LANES) {
			const float *a0 = a + i * a_row, *b0 = b + j;
			vf *c0 = (vf *)(c + i * ldc + j), sum[WIDE];

#pragma GCC unroll 16
			for (size_t v = 0; v < WIDE; v++)
				sum[v] = c0[v];
			for (size_t p = 0; p < k; p++, a0 += a_column, b0 += ldb) {
#pragma GCC unroll 16
				for (size_t v = 0; v < WIDE; v++)
					sum[v] += ((const vf *)b0)[v] * *a0;
			}
#pragma GCC unroll 16
			for (size_t v = 0; v < WIDE; v++)
				c0[v] = sum[v];
		}
		for (; j < n; j += GEMM_LANES) {
			const float *a0 = a + i * a_row, *b0 = b + j;
			vf *c0 = (vf *)(c + i * ldc + j), sum[VECTORS];

#pragma GCC unroll 4
			for (size_t v = 0; v < VECTORS; v++)
				sum[v] = c0[v];
			for (size_t p = 0; p < k; p++, a0 += a_column, b0 += ldb) {
#pragma GCC unroll 4
				for (size_t v = 0; v < VECTORS; v++)
					sum[v] += ((const vf *)b0)[v] * *a0;
			}
#pragma GCC unroll 4
			for (size_t v = 0; v < VECTORS; v++)
				c0[v] = sum[v];
		}
	}
}

#undef VECTORS
#undef WIDE
#undef LANES
#undef ROWS
#undef PRODUCT
