/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lanes_avx2.h - AVX2 with FMA, for sources written once for any LANES; included inside its target section.
 */
#define LANES 8
#define LANES_NAME "avx2"

#define vf_larger(x, y) ((vf)_mm256_max_ps(x, y))
#define vf_smaller(x, y) ((vf)_mm256_min_ps(x, y))
#include "agent/infer/vector_math.h"

static inline __attribute__((always_inline)) float vf_total(vf x)
{
	__m128 sum = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));

	sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
	return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}
