// SPDX-License-Identifier: Apache-2.0
/*
 * half_amx.c - the bfloat16 twin on tile registers: rows stay rows, so nothing is turned.
 *
 * Between two products AVX-512 adds nothing but the ReLU and the rounding: sums start from the bias. Never allocates.
 */
#include <immintrin.h>
#include <string.h>
#include "agent/infer/amx.h"
#include "agent/infer/half.h"

ENGINE_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")

#define INLINE static inline __attribute__((always_inline))

INLINE void put_pairs(uint32_t *to, size_t pair, size_t pairs, __m512 values)
{
	__mmask8 mask = pairs - pair >= 8 ? 0xff : (__mmask8)((1u << (pairs - pair)) - 1);

	_mm256_mask_storeu_epi32(to + pair, mask, (__m256i)_mm512_cvtneps_pbh(values));
}

/* One row, scaled and rounded; returns what its numbers can add to the score at most, over half->fixed. */
INLINE float take_in(const struct half_plan *half, const float *row, uint32_t *to)
{
	size_t width = half->layer[0].inputs, pairs = half->layer[0].pairs;
	__m512 sum = _mm512_setzero_ps();

	for (size_t at = 0; at < width; at += 16) {
		__mmask16 mask = width - at >= 16 ? 0xffff : (__mmask16)((1u << (width - at)) - 1);
		__m512 x = _mm512_maskz_loadu_ps(mask, row + at);

		if (half->scale)
			x = _mm512_fmadd_ps(x, _mm512_load_ps(half->scale + at),
				_mm512_load_ps(half->shift + at));
		sum = _mm512_fmadd_ps(
			_mm512_abs_ps(x), _mm512_load_ps(half->plain_reach + at), sum);
		put_pairs(to, at / 2, pairs, x);
	}
	return _mm512_reduce_add_ps(sum) + half->fixed;
}

uint32_t half_block_amx(const struct infer_plan *plan, struct infer_scratch *scratch,
	const float *rows, size_t n, float *scores, float *reach, bool *unfit)
{
	const struct half_plan *half = plan->half;
	uint32_t *x = scratch->half, near = 0;
	float *y = (float *)(x + HALF_ROWS * half->most_pairs), may[HALF_ROWS];

	(void)unfit;
	for (size_t r = 0; r < n; r++)
		may[r] = take_in(half, rows + r * plan->inputs, x + r * half->layer[0].pairs);
	for (size_t l = 0; l < half->n_layers; l++) {
		const struct half_layer *layer = &half->layer[l];
		size_t padded = GEMM_PAD((size_t)layer->outputs);
		bool last = l + 1 == half->n_layers;

		for (size_t r = 0; r < n; r++)
			memcpy(y + r * padded, layer->bias, padded * sizeof(float));
		amx_bf16_product(n, padded, layer->pairs, x, layer->packed, y);
		for (size_t r = 0; r < n; r++) {
			__m512 sum = _mm512_setzero_ps();

			for (size_t o = 0; o < padded; o += 16) {
				__m512 h = _mm512_max_ps(
					_mm512_setzero_ps(), _mm512_load_ps(y + r * padded + o));

				if (last)
					sum = _mm512_fmadd_ps(
						h, _mm512_load_ps(half->score_weight + o), sum);
				else
					put_pairs(x + r * half->layer[l + 1].pairs, o / 2,
						half->layer[l + 1].pairs, h);
			}
			if (last)
				scores[r] = _mm512_reduce_add_ps(sum) + plan->score.bias;
		}
	}
	for (size_t r = 0; r < n; r++) {
		float gap = scores[r] - plan->threshold;

		gap = gap < 0 ? -gap : gap;
		near |= (uint32_t)!(gap > half->near * may[r]) << r;
	}
	if (reach)
		memcpy(reach, may, n * sizeof(float));
	return near;
}

ENGINE_TARGET_END
