// SPDX-License-Identifier: Apache-2.0
/*
 * knn_avx512.c - the 8-bit filter of knn.c for AVX-512 VNNI: four products of bytes and their sum in one instruction.
 */
#include <immintrin.h>
#include <string.h>
#include "agent/infer/engine.h"
#include "agent/infer/knn_engine.h"

ENGINE_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")
#include "agent/infer/lanes_avx512.h"
#define ENGINE knn_avx512
#define ENGINE_NAME "avx512-vnni"
#define INLINE static inline __attribute__((always_inline))
#define SIDE 4 /* vectors of references at once */
#define STEPS 127

#define vi_nearest(x) ((vi)_mm512_cvtps_epi32(x))
#define vs_larger(x, y) ((vs)_mm512_max_epi16((__m512i)(x), (__m512i)(y)))
#define vd_larger(x, y) ((vd)_mm512_max_pd(x, y))
#define total_of(sum) _mm512_reduce_add_pd((sum)[0])

/* sum += the four products of unsigned x and the signed bytes at query, in every lane (see quick_lanes.c). */
INLINE void dot_add(vi *sum, vi x, const int32_t *query)
{
	asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(*sum) : "v"(x), "m"(*query));
}

/* Two vectors of sums to one of 16-bit ones. */
INLINE vs narrowed(vi a, vi b, __m128i by)
{
	return (vs)_mm512_packs_epi32(
		_mm512_sra_epi32((__m512i)a, by), _mm512_sra_epi32((__m512i)b, by));
}

/* Which of 64 numbers are at least the limit. */
INLINE uint64_t reach(const vs *x, int16_t limit)
{
	__m512i least = _mm512_set1_epi16(limit);
	uint64_t low = _mm512_cmpge_epi16_mask((__m512i)x[0], least);

	return (uint64_t)_mm512_cmpge_epi16_mask((__m512i)x[1], least) << 32 | low;
}

INLINE vd widened(const float *from)
{
	return _mm512_cvtps_pd(_mm256_loadu_ps(from));
}

INLINE void put_bytes(int8_t *to, vd whole)
{
	_mm_storel_epi64((__m128i *)to, _mm256_cvtepi32_epi8(_mm512_cvtpd_epi32(whole)));
}

/* x, and one more where a < b */
INLINE vl plus_less(vl x, vl a, vl b)
{
	return (vl)_mm512_mask_add_epi64((__m512i)x,
		_mm512_cmplt_epi64_mask((__m512i)a, (__m512i)b), (__m512i)x, _mm512_set1_epi64(1));
}

#include "agent/infer/knn_lanes.h"
ENGINE_TARGET_END
