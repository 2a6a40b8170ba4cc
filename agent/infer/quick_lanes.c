// SPDX-License-Identifier: Apache-2.0
/*
 * quick_lanes.c - the 8-bit products: rows in lanes, four inputs a step, weights broadcast four at a time.
 *
 * Never allocates. Sums are whole numbers and cannot overflow (quick_prepare() sees to it); only what is done with
 * them afterwards rounds.
 */
#include <immintrin.h>
#include <string.h>
#include "agent/infer/quick.h"
#include "agent/infer/tiles.h"

ENGINE_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")

#define INLINE static inline __attribute__((always_inline))
#define VECTORS (QUICK_ROWS / 16)

enum place { ONLY_HIDDEN, ONLY_PAIRED, FIRST_HIDDEN, MIDDLE_HIDDEN, LAST_HIDDEN };

/* What becomes of the sums of a tile; hidden: [outputs][QUICK_ROWS], score and step: [QUICK_ROWS], largest likewise. */
struct tile_io {
	const uint32_t *x; /* [groups][QUICK_ROWS] */
	float *hidden, *score, *largest;
	const float *step; /* of a row's hidden numbers below */
	const float *score_weight;
	__m512i *score_pairs; /* of a paired layer: [VECTORS], whole numbers */
};

/*
 * sum += the four products of unsigned x and the signed bytes at weight, in every lane. As the intrinsic, gcc 12 keeps
 * two copies of every sum and spills half of them: 1.5 times the float engine's speed instead of three times.
 */
INLINE void dot_add(__m512i *sum, __m512i x, const int32_t *weight)
{
	asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(*sum) : "v"(x), "m"(*weight));
}

/* The same of two signed 16-bit numbers. */
INLINE void dot_add_pair(__m512i *sum, __m512i x, const int32_t *weight)
{
	asm("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(*sum) : "v"(x), "m"(*weight));
}

INLINE void tile_of(const struct quick_layer *layer, size_t first, const struct tile_io *io,
	size_t outputs, enum place place)
{
	const int32_t *weight = (const int32_t *)layer->weight + first * layer->groups;
	__m512i sum[QUICK_TILE + 1][VECTORS];

#pragma GCC unroll 12
	for (size_t o = 0; o < outputs; o++)
#pragma GCC unroll 2
		for (size_t v = 0; v < VECTORS; v++)
			sum[o][v] = place <= FIRST_HIDDEN
					    ? _mm512_set1_epi32(layer->whole_start[first + o])
					    : _mm512_setzero_si512();
	for (size_t g = 0; g < layer->groups; g++, weight += outputs) {
		__m512i x[VECTORS];

#pragma GCC unroll 2
		for (size_t v = 0; v < VECTORS; v++)
			x[v] = _mm512_load_si512(io->x + g * QUICK_ROWS + 16 * v);
#pragma GCC unroll 12
		for (size_t o = 0; o < outputs; o++)
#pragma GCC unroll 2
			for (size_t v = 0; v < VECTORS; v++)
				dot_add(&sum[o][v], x[v], weight + o);
	}
	if (place == ONLY_PAIRED) {
		/* Sums fit 16 bits: two outputs to a word, ReLU and last layer for both at once. */
		const int32_t *pair_weight = (const int32_t *)layer->pair_weight + first / 2;
		__m512i total[2 * VECTORS];

#pragma GCC unroll 4
		for (size_t v = 0; v < 2 * VECTORS; v++)
			total[v] = v < VECTORS ? io->score_pairs[v] : _mm512_setzero_si512();
		if (outputs % 2)
			sum[outputs][0] = sum[outputs][1] = _mm512_setzero_si512();
#pragma GCC unroll 6
		for (size_t o = 0; o < outputs; o += 2)
#pragma GCC unroll 2
			for (size_t v = 0; v < VECTORS; v++) {
				__m512i pair = _mm512_mask_blend_epi16(0xaaaaaaaa, sum[o][v],
					_mm512_slli_epi32(sum[o + 1][v], 16));

				dot_add_pair(&total[o / 2 % 2 * VECTORS + v],
					_mm512_max_epi16(pair, _mm512_setzero_si512()),
					pair_weight + o / 2);
			}
#pragma GCC unroll 2
		for (size_t v = 0; v < VECTORS; v++)
			io->score_pairs[v] = _mm512_add_epi32(total[v], total[VECTORS + v]);
		return;
	}
#pragma GCC unroll 2
	for (size_t v = 0; v < VECTORS; v++) {
		const __m512 zero = _mm512_setzero_ps();
		__m512 step = place >= MIDDLE_HIDDEN ? _mm512_load_ps(io->step + 16 * v) : zero;
		__m512 score = _mm512_load_ps(io->score + 16 * v);
		__m512 largest = _mm512_load_ps(io->largest + 16 * v);

#pragma GCC unroll 12
		for (size_t o = 0; o < outputs; o++) {
			__m512 h;

			if (place <= FIRST_HIDDEN) {
				h = _mm512_cvtepi32_ps(
					_mm512_max_epi32(sum[o][v], _mm512_setzero_si512()));
				if (place == FIRST_HIDDEN)
					h = _mm512_mul_ps(
						h, _mm512_set1_ps(layer->scale[first + o]));
			} else {
				h = _mm512_mul_ps(_mm512_cvtepi32_ps(sum[o][v]), step);
				h = _mm512_fmadd_ps(h, _mm512_set1_ps(layer->scale[first + o]),
					_mm512_set1_ps(layer->start[first + o]));
				h = _mm512_max_ps(zero, h);
			}
			if (place == ONLY_HIDDEN || place == LAST_HIDDEN) {
				score = _mm512_fmadd_ps(
					h, _mm512_set1_ps(io->score_weight[first + o]), score);
			} else {
				largest = _mm512_max_ps(largest, h);
				_mm512_store_ps(io->hidden + (first + o) * QUICK_ROWS + 16 * v, h);
			}
		}
		_mm512_store_ps(io->score + 16 * v, score);
		_mm512_store_ps(io->largest + 16 * v, largest);
	}
}

INLINE void layer_of(const struct quick_layer *layer, const struct tile_io *io, enum place place)
{
#define TILE(first, outputs) tile_of(layer, first, io, outputs, place)
	TILES_OF_12(layer->outputs, TILE);
#undef TILE
}

static void layer_only(const struct quick_layer *layer, const struct tile_io *io)
{
	layer_of(layer, io, ONLY_HIDDEN);
}

static void layer_paired(const struct quick_layer *layer, const struct tile_io *io)
{
	layer_of(layer, io, ONLY_PAIRED);
}

static void layer_first(const struct quick_layer *layer, const struct tile_io *io)
{
	layer_of(layer, io, FIRST_HIDDEN);
}

static void layer_middle(const struct quick_layer *layer, const struct tile_io *io)
{
	layer_of(layer, io, MIDDLE_HIDDEN);
}

static void layer_last(const struct quick_layer *layer, const struct tile_io *io)
{
	layer_of(layer, io, LAST_HIDDEN);
}

/*
 * QUICK_ROWS rows as bytes, turned into x: [groups][QUICK_ROWS]. Four rows at a time are packed, which puts four numbers of
 * each side by side; the rest is moving pieces of 128 bits. False when a number is not whole or not in 0..127.
 */
INLINE bool turn_in(const float *rows, size_t width, uint32_t *x)
{
	__m512i torn = _mm512_setzero_si512(), large = torn;

	for (size_t at = 0; at < width; at += 16) {
		__mmask16 mask = width - at >= 16 ? 0xffff : (__mmask16)((1u << (width - at)) - 1);

		for (size_t v = 0; v < VECTORS; v++) {
			uint32_t *to = x + at / 4 * QUICK_ROWS + 16 * v;
			__m512i p[4], low, high, low2, high2;

#pragma GCC unroll 4
			for (size_t k = 0; k < 4; k++) {
				__m512i whole[4];

#pragma GCC unroll 4
				for (size_t r = 0; r < 4; r++) {
					__m512 value = _mm512_maskz_loadu_ps(
						mask, rows + (16 * v + 4 * k + r) * width + at);

					whole[r] = _mm512_cvtps_epi32(value);
					large = _mm512_or_si512(large, whole[r]);
					/* torn |= value ^ what it became */
					torn = _mm512_ternarylogic_epi32(torn,
						_mm512_castps_si512(value),
						_mm512_castps_si512(_mm512_cvtepi32_ps(whole[r])),
						0xf6);
				}
				p[k] = _mm512_packus_epi16(_mm512_packs_epi32(whole[0], whole[1]),
					_mm512_packs_epi32(whole[2], whole[3]));
			}
			low = _mm512_shuffle_i32x4(p[0], p[1], 0x44);
			high = _mm512_shuffle_i32x4(p[0], p[1], 0xee);
			low2 = _mm512_shuffle_i32x4(p[2], p[3], 0x44);
			high2 = _mm512_shuffle_i32x4(p[2], p[3], 0xee);
			_mm512_store_si512(to, _mm512_shuffle_i32x4(low, low2, 0x88));
			_mm512_store_si512(to + QUICK_ROWS, _mm512_shuffle_i32x4(low, low2, 0xdd));
			_mm512_store_si512(
				to + 2 * QUICK_ROWS, _mm512_shuffle_i32x4(high, high2, 0x88));
			_mm512_store_si512(
				to + 3 * QUICK_ROWS, _mm512_shuffle_i32x4(high, high2, 0xdd));
		}
	}
	large = _mm512_andnot_si512(_mm512_set1_epi32(127), large);
	return !_mm512_test_epi32_mask(_mm512_or_si512(large, torn), _mm512_set1_epi32(-1));
}

/* Hidden numbers to bytes: a row's largest becomes 255. Turns `largest` into the steps. */
static void requantise(
	const float *hidden, size_t width, const float *largest, float *step, uint32_t *x)
{
	for (size_t v = 0; v < VECTORS; v++) {
		__m512 most =
			_mm512_max_ps(_mm512_load_ps(largest + 16 * v), _mm512_set1_ps(1e-30f));
		__m512 unit = _mm512_div_ps(_mm512_set1_ps(255), most);

		_mm512_store_ps(step + 16 * v, _mm512_mul_ps(most, _mm512_set1_ps(1 / 255.0f)));
		for (size_t i = 0; i < width; i += 4) {
			__m512i word = _mm512_setzero_si512();

			for (size_t k = 0; k < 4 && i + k < width; k++) {
				__m512 h = _mm512_load_ps(hidden + (i + k) * QUICK_ROWS + 16 * v);
				__m512i byte = _mm512_cvtps_epi32(_mm512_mul_ps(h, unit));

				word = _mm512_or_si512(word,
					_mm512_sll_epi32(byte, _mm_cvtsi32_si128((int)(8 * k))));
			}
			_mm512_store_si512(x + i / 4 * QUICK_ROWS + 16 * v, word);
		}
	}
}

/* Looks at all rows of the block, whatever n is: those that are not there are zeros. */
uint32_t quick_block(const struct infer_plan *plan, struct infer_scratch *scratch,
	const float *rows, size_t n, float *scores, float *reach, bool *unfit)
{
	const struct quick_plan *quick = plan->quick;
	uint32_t *x = scratch->quick, near = 0;
	float score[QUICK_ROWS] __attribute__((aligned(64)));
	float largest[QUICK_ROWS] __attribute__((aligned(64))) = { 0 };
	float step[QUICK_ROWS] __attribute__((aligned(64)));
	__m512i length[VECTORS], pairs[VECTORS] = { _mm512_setzero_si512() };
	struct tile_io io = { .x = x,
		.hidden = scratch->a,
		.score = score,
		.largest = largest,
		.step = step,
		.score_weight = quick->score_weight,
		.score_pairs = pairs };

	(void)n;
	*unfit = !turn_in(rows, plan->inputs, x);
	if (*unfit)
		return 0;
	for (size_t v = 0; v < VECTORS; v++) {
		_mm512_store_ps(score + 16 * v, _mm512_set1_ps(plan->score.bias));
		length[v] = _mm512_set1_epi32(1);
		for (size_t g = 0; g < quick->layer[0].groups; g++) {
			__m512i word = _mm512_load_si512(x + g * QUICK_ROWS + 16 * v);

			length[v] = _mm512_dpbusd_epi32(length[v], word, word);
		}
	}
	if (quick->layer[0].pair_weight) {
		layer_paired(&quick->layer[0], &io);
		for (size_t v = 0; v < VECTORS; v++)
			_mm512_store_ps(
				score + 16 * v, _mm512_fmadd_ps(_mm512_cvtepi32_ps(pairs[v]),
							_mm512_set1_ps(quick->pair_unit),
							_mm512_set1_ps(plan->score.bias)));
	} else if (quick->n_layers == 1)
		layer_only(&quick->layer[0], &io);
	else
		layer_first(&quick->layer[0], &io);
	for (size_t l = 1; l < quick->n_layers; l++) {
		requantise(scratch->a, quick->layer[l].inputs, largest, step, x);
		memset(largest, 0, sizeof(largest));
		if (l + 1 == quick->n_layers)
			layer_last(&quick->layer[l], &io);
		else
			layer_middle(&quick->layer[l], &io);
	}
	for (size_t v = 0; v < VECTORS; v++) {
		__m512 gap = _mm512_sub_ps(
			_mm512_load_ps(score + 16 * v), _mm512_set1_ps(plan->threshold));
		__m512 least =
			_mm512_mul_ps(_mm512_cvtepi32_ps(length[v]), _mm512_set1_ps(quick->near));

		near |= (uint32_t)_mm512_cmp_ps_mask(_mm512_mul_ps(gap, gap), least, _CMP_NGT_UQ)
			<< (16 * v);
		near |= (uint32_t)_mm512_cmpgt_epi32_mask(
				length[v], _mm512_set1_epi32(quick->most_length))
			<< (16 * v);
	}
	memcpy(scores, score, sizeof(score));
	for (size_t v = 0; reach && v < VECTORS; v++) {
		/* none of a row too long for its sums */
		__mmask16 fits =
			_mm512_cmple_epi32_mask(length[v], _mm512_set1_epi32(quick->most_length));

		_mm512_storeu_ps(
			reach + 16 * v, _mm512_maskz_sqrt_ps(fits, _mm512_cvtepi32_ps(length[v])));
	}
	return near;
}

ENGINE_TARGET_END
