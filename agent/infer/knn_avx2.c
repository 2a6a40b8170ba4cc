// SPDX-License-Identifier: Apache-2.0
/*
 * knn_avx2.c - the filter of knn.c for AVX2: references in seven bits, so that two products fit 16 bits.
 */
#include <immintrin.h>
#include <string.h>
#include "agent/infer/engine.h"
#include "agent/infer/knn_engine.h"

ENGINE_TARGET_BEGIN("avx2,fma")
#include "agent/infer/lanes_avx2.h"
#define ENGINE knn_avx2
#define ENGINE_NAME "avx2"
#define INLINE static inline __attribute__((always_inline))
#define SIDE 2 /* vectors of references at once */
#define STEPS 63

_Static_assert(2 * (2 * STEPS + 1) * KNN_QUERY_STEPS <= INT16_MAX, "two products fit 16 bits");

#define vi_nearest(x) ((vi)_mm256_cvtps_epi32(x))
#define vs_larger(x, y) ((vs)_mm256_max_epi16((__m256i)(x), (__m256i)(y)))
#define vd_larger(x, y) ((vd)_mm256_max_pd(x, y))

/* As _mm512_reduce_add_pd() adds eight. */
INLINE double total_of(const vd *sum)
{
	vd half = sum[0] + sum[1];
	__m128d pair = _mm_add_pd(_mm256_castpd256_pd128(half), _mm256_extractf128_pd(half, 1));

	return pair[0] + pair[1];
}

/* sum += the four products of unsigned x and the signed bytes at query, in every lane. */
INLINE void dot_add(vi *sum, vi x, const int32_t *query)
{
	__m256i pairs = _mm256_maddubs_epi16((__m256i)x, _mm256_set1_epi32(*query));

	*sum += (vi)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

/* Two vectors of sums to one of 16-bit ones. */
INLINE vs narrowed(vi a, vi b, __m128i by)
{
	return (vs)_mm256_packs_epi32(
		_mm256_sra_epi32((__m256i)a, by), _mm256_sra_epi32((__m256i)b, by));
}

/* Which of 32 numbers are below the limit: packing interleaves halves, which are put back. */
INLINE uint32_t below(const vs *x, __m256i limit)
{
	__m256i bytes = _mm256_packs_epi16(
		_mm256_cmpgt_epi16(limit, (__m256i)x[0]), _mm256_cmpgt_epi16(limit, (__m256i)x[1]));

	return (uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(bytes, 0xd8));
}

/* Which of 64 numbers are at least the limit. */
INLINE uint64_t reach(const vs *x, int16_t limit)
{
	__m256i least = _mm256_set1_epi16(limit);

	return ~((uint64_t)below(x + 2, least) << 32 | below(x, least));
}

INLINE vd widened(const float *from)
{
	return _mm256_cvtps_pd(_mm_loadu_ps(from));
}

INLINE void put_bytes(int8_t *to, vd whole)
{
	const __m128i lowest = _mm_setr_epi8(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
	int32_t four = _mm_cvtsi128_si32(_mm_shuffle_epi8(_mm256_cvtpd_epi32(whole), lowest));

	memcpy(to, &four, sizeof(four));
}

/* x, and one more where a < b */
INLINE vl plus_less(vl x, vl a, vl b)
{
	return x - (a < b);
}

#include "agent/infer/knn_lanes.h"
ENGINE_TARGET_END
