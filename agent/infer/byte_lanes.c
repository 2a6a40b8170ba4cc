// SPDX-License-Identifier: Apache-2.0
/*
 * byte_lanes.c - the 8-bit products for features of any kind: rows in lanes, four inputs a step, weights broadcast.
 *
 * Never allocates. Whole numbers throughout, which cannot overflow (engine_byte.c sees to it); what rounds is the way in,
 * the shift between the layers and the score.
 */
#include <immintrin.h>
#include <math.h>
#include <string.h>
#include "agent/infer/byte.h"
#include "agent/infer/tiles.h"

ENGINE_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")

#define INLINE static inline __attribute__((always_inline))
#define VECTORS (BYTE_ROWS / 16)
#define LARGEST 0x1p60f /* of a number; larger ones are for floats */

/* sum += the four products of unsigned x and the signed bytes at weight, in every lane; see quick_lanes.c. */
INLINE void dot_add(__m512i *sum, __m512i x, const int32_t *weight)
{
	asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(*sum) : "v"(x), "m"(*weight));
}

/* Where sums go: as bytes, four outputs to a word, to y; or into the score. */
struct way_out {
	uint32_t *y; /* [outputs / 4, up][BYTE_ROWS] */
	const float *score_weight;
	float *score; /* [BYTE_ROWS] */
};

INLINE void tile_of(const struct byte_layer *layer, size_t first, const uint32_t *x,
	const int32_t *start, const struct way_out *out, size_t outputs, bool last)
{
	const int32_t *weight = (const int32_t *)layer->weight + first * layer->groups;
	__m512i sum[BYTE_TILE][VECTORS];

#pragma GCC unroll 12
	for (size_t o = 0; o < (outputs + 3) / 4 * 4; o++)
#pragma GCC unroll 2
		for (size_t v = 0; v < VECTORS; v++)
			sum[o][v] = o < outputs ? _mm512_set1_epi32(start[first + o])
						: _mm512_setzero_si512();
	for (size_t g = 0; g < layer->groups; g++, weight += outputs) {
		__m512i in[VECTORS];

#pragma GCC unroll 2
		for (size_t v = 0; v < VECTORS; v++)
			in[v] = _mm512_load_si512(x + g * BYTE_ROWS + 16 * v);
#pragma GCC unroll 12
		for (size_t o = 0; o < outputs; o++)
#pragma GCC unroll 2
			for (size_t v = 0; v < VECTORS; v++)
				dot_add(&sum[o][v], in[v], weight + o);
	}
	if (last) {
#pragma GCC unroll 2
		for (size_t v = 0; v < VECTORS; v++) {
			__m512 total[2] = { _mm512_load_ps(out->score + 16 * v),
				_mm512_setzero_ps() };

#pragma GCC unroll 12
			for (size_t o = 0; o < outputs; o++)
				total[o % 2] = _mm512_fmadd_ps(
					_mm512_cvtepi32_ps(_mm512_max_epi32(
						sum[o][v], _mm512_setzero_si512())),
					_mm512_set1_ps(out->score_weight[first + o]), total[o % 2]);
			_mm512_store_ps(out->score + 16 * v, _mm512_add_ps(total[0], total[1]));
		}
		return;
	}
	/* Packing to unsigned words is the ReLU; their upper bytes stay, four rows of an output side by side, to be turned. */
#pragma GCC unroll 3
	for (size_t o = 0; o < outputs; o += 4)
#pragma GCC unroll 2
		for (size_t v = 0; v < VECTORS; v++) {
			const __m512i turn = _mm512_broadcast_i32x4(_mm_setr_epi8(
				0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15));
			__m512i a = _mm512_packus_epi32(sum[o][v], sum[o + 1][v]);
			__m512i b = _mm512_packus_epi32(sum[o + 2][v], sum[o + 3][v]);

			/* a >> 8 | (b & 0xff00) */
			a = _mm512_ternarylogic_epi32(_mm512_srli_epi16(a, 8), b,
				_mm512_set1_epi32((int)0xff00ff00), 0xf8);
			_mm512_store_si512(out->y + (first + o) / 4 * BYTE_ROWS + 16 * v,
				_mm512_shuffle_epi8(a, turn));
		}
}

INLINE void layer_of(const struct byte_layer *layer, const uint32_t *x, const int32_t *start,
	const struct way_out *out, bool last)
{
#define TILE(first, outputs) tile_of(layer, first, x, start, out, outputs, last)
	TILES_OF_12(layer->outputs, TILE);
#undef TILE
}

static void layer_hidden(const struct byte_layer *layer, const uint32_t *x, const int32_t *start,
	const struct way_out *out)
{
	layer_of(layer, x, start, out, false);
}

static void layer_last(const struct byte_layer *layer, const uint32_t *x, const int32_t *start,
	const struct way_out *out)
{
	layer_of(layer, x, start, out, true);
}

/* most = the larger of most and |value|, as whole numbers, so that NaN is the largest of all. */
INLINE __m512i larger(__m512i most, __m512 value)
{
	return _mm512_max_epu32(
		most, _mm512_and_si512(_mm512_castps_si512(value), _mm512_set1_epi32(0x7fffffff)));
}

INLINE float largest_of(__m512i one, __m512i other)
{
	uint32_t bits = _mm512_reduce_max_epu32(_mm512_max_epu32(one, other));
	float value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* Rows past their scaling to `scaled`: [BYTE_ROWS][stride]. The largest magnitude; not finite when one is not. */
INLINE float scale_in(const struct byte_plan *bytes, const float *rows, size_t width, size_t stride,
	float *scaled)
{
	__m512i most[2] = { _mm512_setzero_si512(), _mm512_setzero_si512() };

	for (size_t at = 0; at < width; at += 16) {
		__mmask16 mask = width - at >= 16 ? 0xffff : (__mmask16)((1u << (width - at)) - 1);
		__m512 scale = _mm512_load_ps(bytes->scale + at);
		__m512 shift = _mm512_load_ps(bytes->shift + at);

#pragma GCC unroll 8
		for (size_t r = 0; r < BYTE_ROWS; r++) {
			__m512 value = _mm512_fmadd_ps(
				_mm512_maskz_loadu_ps(mask, rows + r * width + at), scale, shift);

			most[r % 2] = larger(most[r % 2], value);
			_mm512_store_ps(scaled + r * stride + at, value);
		}
	}
	return largest_of(most[0], most[1]);
}

/* The largest magnitude of rows that are taken as they are; a block is a whole number of vectors. */
INLINE float largest_in(const float *rows, size_t width)
{
	__m512i most[2] = { _mm512_setzero_si512(), _mm512_setzero_si512() };

	for (size_t at = 0; at < BYTE_ROWS * width; at += 32) {
		most[0] = larger(most[0], _mm512_loadu_ps(rows + at));
		most[1] = larger(most[1], _mm512_loadu_ps(rows + at + 16));
	}
	return largest_of(most[0], most[1]);
}

/* Rows `stride` floats apart to bytes raised by 128, turned into x: [width / 4][BYTE_ROWS]; see turn_in() of quick_lanes.c. */
INLINE void turn_in(const float *rows, size_t width, size_t stride, float per_step, uint32_t *x)
{
	const __m512 unit = _mm512_set1_ps(per_step), middle = _mm512_set1_ps(128);

	for (size_t at = 0; at < width; at += 16)
		for (size_t v = 0; v < VECTORS; v++) {
			__mmask16 mask =
				width - at >= 16 ? 0xffff : (__mmask16)((1u << (width - at)) - 1);
			uint32_t *to = x + at / 4 * BYTE_ROWS + 16 * v;
			__m512i p[4], low, high, low2, high2;

#pragma GCC unroll 4
			for (size_t k = 0; k < 4; k++) {
				const float *row = rows + (16 * v + 4 * k) * stride + at;
				__m512i whole[4];

#pragma GCC unroll 4
				for (size_t r = 0; r < 4; r++)
					whole[r] = _mm512_cvtps_epi32(_mm512_fmadd_ps(
						_mm512_maskz_loadu_ps(mask, row + r * stride), unit,
						middle));
				p[k] = _mm512_packus_epi16(_mm512_packs_epi32(whole[0], whole[1]),
					_mm512_packs_epi32(whole[2], whole[3]));
			}
			low = _mm512_shuffle_i32x4(p[0], p[1], 0x44);
			high = _mm512_shuffle_i32x4(p[0], p[1], 0xee);
			low2 = _mm512_shuffle_i32x4(p[2], p[3], 0x44);
			high2 = _mm512_shuffle_i32x4(p[2], p[3], 0xee);
			_mm512_store_si512(to, _mm512_shuffle_i32x4(low, low2, 0x88));
			_mm512_store_si512(to + BYTE_ROWS, _mm512_shuffle_i32x4(low, low2, 0xdd));
			_mm512_store_si512(
				to + 2 * BYTE_ROWS, _mm512_shuffle_i32x4(high, high2, 0x88));
			_mm512_store_si512(
				to + 3 * BYTE_ROWS, _mm512_shuffle_i32x4(high, high2, 0xdd));
		}
}

/* length: [VECTORS] of |x8|^2 of every row. */
INLINE void lengths(const uint32_t *x, size_t groups, __m512i *length)
{
#pragma GCC unroll 2
	for (size_t v = 0; v < VECTORS; v++) {
		length[v] = _mm512_setzero_si512();
		for (size_t g = 0; g < groups; g++) {
			__m512i bare = _mm512_abs_epi8(
				_mm512_xor_si512(_mm512_load_si512(x + g * BYTE_ROWS + 16 * v),
					_mm512_set1_epi8((char)0x80)));

			length[v] = _mm512_dpbusd_epi32(length[v], bare, bare);
		}
	}
}

/* start[o] = round(from[o] * per_step) + offset[o] + more */
INLINE void starts(const struct byte_layer *layer, float per_step, int32_t more, int32_t *start)
{
	for (size_t o = 0; o < layer->outputs; o += 16) {
		__m512i whole = _mm512_cvtps_epi32(
			_mm512_mul_ps(_mm512_load_ps(layer->start + o), _mm512_set1_ps(per_step)));

		if (layer->offset)
			whole = _mm512_add_epi32(whole, _mm512_load_si512(layer->offset + o));
		_mm512_store_si512(start + o, _mm512_add_epi32(whole, _mm512_set1_epi32(more)));
	}
}

/* All rows to x; length as lengths() has it. */
static void round_in(const struct byte_plan *bytes, const float *rows, size_t stride,
	float per_step, uint32_t *x, __m512i *length)
{
	const struct byte_layer *first = &bytes->layer[0];

	if (bytes->scale)
		turn_in(rows, first->inputs, stride, per_step, x);
	else
		turn_in(rows, first->inputs, first->inputs, per_step, x);
	lengths(x, first->groups, length);
}

/* Looks at all rows of the block, whatever n is: those that are not there are zeros. */
uint32_t byte_block(const struct infer_plan *plan, struct infer_scratch *scratch, const float *rows,
	size_t n, float *scores, float *reach, bool *unfit)
{
	const struct byte_plan *bytes = plan->bytes;
	const struct byte_layer *first = &bytes->layer[0];
	const size_t stride = GEMM_PAD((size_t)plan->inputs);
	/* as byte_scratch_words() counts them */
	uint32_t *x = scratch->bytes, *y = x + BYTE_ROWS * stride / 4;
	float *scaled = (float *)(y + BYTE_ROWS * bytes->most_groups);
	int32_t *start = (int32_t *)(scaled + BYTE_ROWS * stride);
	float score[BYTE_ROWS] __attribute__((aligned(64))) = { 0 };
	const struct way_out out = { y, bytes->score_weight, score };
	__m512i length[VECTORS];
	float step, most, unit;
	uint32_t near = 0;

	(void)n;
	most = bytes->scale ? scale_in(bytes, rows, plan->inputs, stride, scaled)
			    : largest_in(rows, plan->inputs);
	*unfit = !(most <= LARGEST);
	if (*unfit)
		return 0;
	step = most * (1 / 127.0f);
	step = step > bytes->least_step ? step : bytes->least_step;
	round_in(bytes, bytes->scale ? scaled : rows, stride, 1 / step, x, length);
	if (bytes->n_layers == 2) {
		float longest =
			(float)_mm512_reduce_max_epi32(_mm512_max_epi32(length[0], length[1]));
		float room = bytes->length * sqrtf(longest) + bytes->most_start / step;

		/* Sums of the longest row may leave 16 bits: once more with a larger step, whose rounding has room too. */
		if (room > BYTE_ROOM) {
			step *= room / bytes->room_again;
			round_in(bytes, bytes->scale ? scaled : rows, stride, 1 / step, x, length);
		}
	}
	if (bytes->n_layers == 2) {
		starts(first, 1 / step, 128, start);
		layer_hidden(first, x, start, &out);
		unit = step * 256;
		starts(&bytes->layer[1], 1 / unit, 0, start);
		layer_last(&bytes->layer[1], y, start, &out);
	} else {
		unit = step;
		starts(first, 1 / step, 0, start);
		layer_last(first, x, start, &out);
	}
	for (size_t v = 0; v < VECTORS; v++) {
		__m512 s = _mm512_fmadd_ps(_mm512_load_ps(score + 16 * v), _mm512_set1_ps(unit),
			_mm512_set1_ps(plan->score.bias));
		__m512 gap = _mm512_sub_ps(s, _mm512_set1_ps(plan->threshold));
		__m512 may = _mm512_fmadd_ps(_mm512_add_ps(_mm512_cvtepi32_ps(length[v]),
						     _mm512_set1_ps(bytes->rounding)),
			_mm512_set1_ps(step * step), _mm512_set1_ps(bytes->bias));
		__m512 least = _mm512_mul_ps(may, _mm512_set1_ps(bytes->near));

		near |= (uint32_t)_mm512_cmp_ps_mask(_mm512_mul_ps(gap, gap), least, _CMP_NGT_UQ)
			<< (16 * v);
		_mm512_storeu_ps(scores + 16 * v, s);
		if (reach)
			_mm512_storeu_ps(reach + 16 * v, _mm512_sqrt_ps(may));
	}
	return near;
}

ENGINE_TARGET_END
