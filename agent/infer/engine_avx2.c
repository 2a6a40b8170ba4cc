// SPDX-License-Identifier: Apache-2.0
/*
 * engine_avx2.c - the float engine for AVX2 with FMA: eight lanes, six outputs by two vectors in sixteen registers.
 */
#include <immintrin.h>
#include <math.h>
#include <string.h>
#include "agent/infer/engine.h"

ENGINE_TARGET_BEGIN("avx2,fma")
#define LANES 8
#define TILE 6
#define SINGLE 8 /* vectors of outputs side by side for a single row */
#define ENGINE engine_avx2
static inline __attribute__((always_inline)) float vf_total(__m256 x)
{
	__m128 sum = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));

	sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
	return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

#define vf_larger(x, y) ((vf)_mm256_max_ps(x, y))
#define vf_smaller(x, y) ((vf)_mm256_min_ps(x, y))
#define ENGINE_NAME "avx2"
#include "agent/infer/engine_lanes.h"
ENGINE_TARGET_END
