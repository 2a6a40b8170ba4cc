// SPDX-License-Identifier: Apache-2.0
/*
 * gemm.c - a small dense product for each width of vectors; see gemm_lanes.h. Owns no memory. Any thread.
 */
#include <stdlib.h>
#include <string.h>
#include "agent/infer/engine.h"
#include "agent/infer/gemm.h"

/* What every x86-64 has: sixteen registers of four floats. */
#define PRODUCT gemm_plain
#define LANES 4
#define ROWS 2
#include "agent/infer/gemm_lanes.h"

ENGINE_TARGET_BEGIN("avx2,fma")
#define PRODUCT gemm_avx2
#define LANES 8
#define ROWS 6
#include "agent/infer/gemm_lanes.h"
ENGINE_TARGET_END

ENGINE_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")
#define PRODUCT gemm_avx512
#define LANES 16
#define ROWS 6
#include "agent/infer/gemm_lanes.h"
ENGINE_TARGET_END

void gemm_add(size_t m, size_t n, size_t k, const float *a, size_t a_row, size_t a_column,
	const float *b, size_t ldb, float *c, size_t ldc)
{
	gemm_product *widest = engine_cpu_has_avx512() ? gemm_avx512
			       : engine_cpu_has_avx2() ? gemm_avx2
						       : gemm_plain;

	widest(m, n, k, a, a_row, a_column, b, ldb, c, ldc);
}

float *gemm_alloc(size_t n_floats)
{
	size_t n_bytes = (n_floats * sizeof(float) + 63) / 64 * 64;
	float *floats = aligned_alloc(64, n_bytes ? n_bytes : 64);

	if (floats)
		memset(floats, 0, n_bytes);
	return floats;
}
