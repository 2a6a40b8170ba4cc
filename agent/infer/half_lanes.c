// SPDX-License-Identifier: Apache-2.0
/*
 * half_lanes.c - the bfloat16 products of a net: rows in lanes, two inputs a step, weights broadcast two at a time.
 *
 * Rows are rounded before they are turned, which halves the turning. Never allocates. The CPU rounds to nearest even and
 * treats denormals as zero in these products; hidden numbers are rounded to nearest, halves away from zero.
 */
#include <immintrin.h>
#include <string.h>
#include "agent/infer/half.h"
#include "agent/infer/tiles.h"

ENGINE_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")

#define INLINE static inline __attribute__((always_inline))
#define VECTORS (HALF_ROWS / 16)

/* sum += the two products of x and the pair at weight, in every lane; see quick_lanes.c for why this is no intrinsic. */
INLINE void dot_add(__m512 *sum, __m512i x, const uint32_t *weight)
{
	asm("vdpbf16ps %2%{1to16%}, %1, %0" : "+v"(*sum) : "v"(x), "m"(*weight));
}

/* Two numbers a lane, rounded to bfloat16 and past their ReLU: a negative one is a negative 16-bit word. */
INLINE __m512i pair_of(__m512 low, __m512 high)
{
	const __m512i half = _mm512_set1_epi32(0x8000);
	__m512i l = _mm512_srli_epi32(_mm512_add_epi32(_mm512_castps_si512(low), half), 16);
	__m512i h = _mm512_add_epi32(_mm512_castps_si512(high), half);

	return _mm512_max_epi16(_mm512_mask_blend_epi16(0xaaaaaaaa, l, h), _mm512_setzero_si512());
}

/* x: [pairs][HALF_ROWS]; score: the last hidden layer's is taken into it, else pairs of outputs go to y. */
INLINE void tile_of(const struct half_layer *layer, size_t first, const uint32_t *x, uint32_t *y,
	const float *score_weight, float *score, size_t outputs)
{
	const uint32_t *weight = layer->weight + first * layer->pairs;
	__m512 sum[HALF_TILE + 1][VECTORS];

#pragma GCC unroll 12
	for (size_t o = 0; o < outputs; o++)
#pragma GCC unroll 2
		for (size_t v = 0; v < VECTORS; v++)
			sum[o][v] = _mm512_set1_ps(layer->bias[first + o]);
	for (size_t p = 0; p < layer->pairs; p++, weight += outputs) {
		__m512i in[VECTORS];

#pragma GCC unroll 2
		for (size_t v = 0; v < VECTORS; v++)
			in[v] = _mm512_load_si512(x + p * HALF_ROWS + 16 * v);
#pragma GCC unroll 12
		for (size_t o = 0; o < outputs; o++)
#pragma GCC unroll 2
			for (size_t v = 0; v < VECTORS; v++)
				dot_add(&sum[o][v], in[v], weight + o);
	}
	if (score) {
#pragma GCC unroll 2
		for (size_t v = 0; v < VECTORS; v++) {
			__m512 total[2] = { _mm512_load_ps(score + 16 * v), _mm512_setzero_ps() };

#pragma GCC unroll 12
			for (size_t o = 0; o < outputs; o++)
				total[o % 2] = _mm512_fmadd_ps(
					_mm512_max_ps(_mm512_setzero_ps(), sum[o][v]),
					_mm512_set1_ps(score_weight[first + o]), total[o % 2]);
			_mm512_store_ps(score + 16 * v, _mm512_add_ps(total[0], total[1]));
		}
		return;
	}
	if (outputs % 2)
		sum[outputs][0] = sum[outputs][1] = _mm512_setzero_ps();
#pragma GCC unroll 6
	for (size_t o = 0; o < outputs; o += 2)
#pragma GCC unroll 2
		for (size_t v = 0; v < VECTORS; v++)
			_mm512_store_si512(y + (first + o) / 2 * HALF_ROWS + 16 * v,
				pair_of(sum[o][v], sum[o + 1][v]));
}

static void layer_hidden(const struct half_layer *layer, const uint32_t *x, uint32_t *y)
{
#define TILE(first, outputs) tile_of(layer, first, x, y, NULL, NULL, outputs)
	TILES_OF_12(layer->outputs, TILE);
#undef TILE
}

static void layer_last(
	const struct half_layer *layer, const uint32_t *x, const float *score_weight, float *score)
{
#define TILE(first, outputs) tile_of(layer, first, x, NULL, score_weight, score, outputs)
	TILES_OF_12(layer->outputs, TILE);
#undef TILE
}

/* Four vectors of four times four words: each 128-bit piece turned by itself. */
INLINE void turn_4x4(const __m512i *z, __m512i *t)
{
	__m512i a = _mm512_unpacklo_epi32(z[0], z[1]), b = _mm512_unpackhi_epi32(z[0], z[1]);
	__m512i c = _mm512_unpacklo_epi32(z[2], z[3]), d = _mm512_unpackhi_epi32(z[2], z[3]);

	t[0] = _mm512_unpacklo_epi64(a, c);
	t[1] = _mm512_unpackhi_epi64(a, c);
	t[2] = _mm512_unpacklo_epi64(b, d);
	t[3] = _mm512_unpackhi_epi64(b, d);
}

/* Sixteen rows by up to sixteen columns, rounded and turned into eight pairs; x: [8][HALF_ROWS]. */
INLINE void turn_in(const float *rows, size_t width, size_t at, const struct half_plan *half,
	bool scaled, uint32_t *x)
{
	__mmask16 mask = width - at >= 16 ? 0xffff : (__mmask16)((1u << (width - at)) - 1);
	__m512i z[8], t[8];
	__m512 scale = _mm512_setzero_ps(), shift = scale;

	if (scaled) {
		scale = _mm512_load_ps(half->scale + at);
		shift = _mm512_load_ps(half->shift + at);
	}
	/* Row r and row r + 4 share a vector, so that the turned ones come out in order. */
#pragma GCC unroll 8
	for (size_t k = 0; k < 8; k++) {
		const float *row = rows + (k % 4 + k / 4 * 8) * width + at;
		__m512 l = _mm512_maskz_loadu_ps(mask, row);
		__m512 h = _mm512_maskz_loadu_ps(mask, row + 4 * width);

		if (scaled) {
			l = _mm512_fmadd_ps(l, scale, shift);
			h = _mm512_fmadd_ps(h, scale, shift);
		}
		z[k] = (__m512i)_mm512_cvtne2ps_pbh(h, l);
	}
	turn_4x4(z, t);
	turn_4x4(z + 4, t + 4);
#pragma GCC unroll 4
	for (size_t j = 0; j < 4; j++) {
		_mm512_store_si512(x + j * HALF_ROWS, _mm512_shuffle_i32x4(t[j], t[4 + j], 0x88));
		_mm512_store_si512(
			x + (4 + j) * HALF_ROWS, _mm512_shuffle_i32x4(t[j], t[4 + j], 0xdd));
	}
}

/* fixed + reach . |x|; two sums a vector, so that one product need not wait for the one before. */
INLINE void reach_of(const struct half_plan *half, const uint32_t *x, __m512 *reach)
{
	const __m512i positive = _mm512_set1_epi32(0x7fff7fff);
	__m512 sum[2 * VECTORS];

#pragma GCC unroll 4
	for (size_t v = 0; v < 2 * VECTORS; v++)
		sum[v] = v < VECTORS ? _mm512_set1_ps(half->fixed) : _mm512_setzero_ps();
	for (size_t p = 0; p < half->layer[0].pairs; p += 2) {
#pragma GCC unroll 4
		for (size_t v = 0; v < 2 * VECTORS; v++)
			dot_add(&sum[v],
				_mm512_and_si512(
					_mm512_load_si512(x + p * HALF_ROWS + 16 * v), positive),
				half->reach + p + v / VECTORS);
	}
#pragma GCC unroll 2
	for (size_t v = 0; v < VECTORS; v++)
		reach[v] = _mm512_add_ps(sum[v], sum[VECTORS + v]);
}

/* Looks at all rows of the block, whatever n is: those that are not there are zeros. Every block is fit. */
uint32_t half_block(const struct infer_plan *plan, struct infer_scratch *scratch, const float *rows,
	size_t n, float *scores, float *reach, bool *unfit)
{
	const struct half_plan *half = plan->half;
	uint32_t *x = scratch->half, *y = x + HALF_ROWS * half->most_pairs, *swap, near = 0;
	float score[HALF_ROWS] __attribute__((aligned(64)));
	__m512 may[VECTORS];

	(void)n;
	(void)unfit;
	for (size_t at = 0; at < plan->inputs; at += 16)
		for (size_t v = 0; v < VECTORS; v++) {
			const float *from = rows + 16 * v * plan->inputs;
			uint32_t *to = x + at / 2 * HALF_ROWS + 16 * v;

			if (half->scale)
				turn_in(from, plan->inputs, at, half, true, to);
			else
				turn_in(from, plan->inputs, at, half, false, to);
		}
	for (size_t v = 0; v < VECTORS; v++)
		_mm512_store_ps(score + 16 * v, _mm512_set1_ps(plan->score.bias));
	reach_of(half, x, may);
	for (size_t l = 0; l + 1 < half->n_layers; l++) {
		layer_hidden(&half->layer[l], x, y);
		swap = x;
		x = y;
		y = swap;
	}
	layer_last(&half->layer[half->n_layers - 1], x, half->score_weight, score);
	for (size_t v = 0; v < VECTORS; v++) {
		__m512 s = _mm512_load_ps(score + 16 * v);
		__m512 gap = _mm512_abs_ps(_mm512_sub_ps(s, _mm512_set1_ps(plan->threshold)));
		__m512 least = _mm512_mul_ps(may[v], _mm512_set1_ps(half->near));

		near |= (uint32_t)_mm512_cmp_ps_mask(gap, least, _CMP_NGT_UQ) << (16 * v);
		_mm512_storeu_ps(scores + 16 * v, s);
		if (reach)
			_mm512_storeu_ps(reach + 16 * v, may[v]);
	}
	return near;
}

ENGINE_TARGET_END
