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

ENGINE_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")

#define INLINE static inline __attribute__((always_inline))
#define VECTORS (QUICK_ROWS / 16)

enum place { ONLY_HIDDEN, FIRST_HIDDEN, MIDDLE_HIDDEN, LAST_HIDDEN };

/* What becomes of the sums of a tile; hidden: [outputs][QUICK_ROWS], score and step: [QUICK_ROWS], largest likewise. */
struct tile_io {
	const uint32_t *x; /* [groups][QUICK_ROWS] */
	float *hidden, *score, *largest;
	const float *step; /* of a row's hidden numbers below */
	const float *score_weight;
};

/*
 * sum += the four products of unsigned x and the signed bytes at weight, in every lane. As the intrinsic, gcc 12 keeps
 * two copies of every sum and spills half of them: 1.5 times the float engine's speed instead of three times.
 */
INLINE void dot_add(__m512i *sum, __m512i x, const int32_t *weight)
{
	asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(*sum) : "v"(x), "m"(*weight));
}

INLINE void tile_of(const struct quick_layer *layer, size_t first, const struct tile_io *io,
	size_t outputs, enum place place)
{
	const int32_t *weight = (const int32_t *)layer->weight + first * layer->groups;
	__m512i sum[QUICK_TILE][VECTORS];

#pragma GCC unroll 12
	for (size_t o = 0; o < outputs; o++)
#pragma GCC unroll 2
		for (size_t v = 0; v < VECTORS; v++)
			sum[o][v] = place <= FIRST_HIDDEN
					    ? _mm512_set1_epi32((int32_t)layer->start[first + o])
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
	size_t o = 0;

	for (; o + QUICK_TILE <= layer->outputs; o += QUICK_TILE)
		tile_of(layer, o, io, QUICK_TILE, place);
#define REST(n)                                  \
	case n:                                  \
		tile_of(layer, o, io, n, place); \
		break;
	switch (layer->outputs - o) {
		REST(1)
		REST(2)
		REST(3)
		REST(4)
		REST(5)
		REST(6)
		REST(7)
		REST(8)
		REST(9)
		REST(10)
		REST(11)
	default:
		break;
	}
#undef REST
}

static void layer_only(const struct quick_layer *layer, const struct tile_io *io)
{
	layer_of(layer, io, ONLY_HIDDEN);
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

/* Eight rows of eight four-byte groups, turned. */
INLINE void turn_8x8(const uint8_t *from, size_t row_bytes, uint32_t *to)
{
	__m256i r[8], s[8];

#pragma GCC unroll 8
	for (size_t i = 0; i < 8; i++)
		r[i] = _mm256_load_si256((const __m256i *)(from + i * row_bytes));
#pragma GCC unroll 4
	for (size_t i = 0; i < 8; i += 2) {
		s[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
		s[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
	}
#pragma GCC unroll 2
	for (size_t i = 0; i < 8; i += 4) {
		r[i] = _mm256_unpacklo_epi64(s[i], s[i + 2]);
		r[i + 1] = _mm256_unpackhi_epi64(s[i], s[i + 2]);
		r[i + 2] = _mm256_unpacklo_epi64(s[i + 1], s[i + 3]);
		r[i + 3] = _mm256_unpackhi_epi64(s[i + 1], s[i + 3]);
	}
#pragma GCC unroll 4
	for (size_t i = 0; i < 4; i++) {
		_mm256_store_si256((__m256i *)(to + i * QUICK_ROWS),
			_mm256_permute2x128_si256(r[i], r[i + 4], 0x20));
		_mm256_store_si256((__m256i *)(to + (i + 4) * QUICK_ROWS),
			_mm256_permute2x128_si256(r[i], r[i + 4], 0x31));
	}
}

/* Rows as bytes, turned into x: [groups][QUICK_ROWS]. False when a number is not whole or not in 0..127. */
INLINE bool turn_in(const float *rows, size_t n, size_t width, uint8_t *bytes, uint32_t *x)
{
	size_t row_bytes = (width + 31) / 32 * 32;
	__mmask16 bad = 0;

	for (size_t r = 0; r < n; r++)
		for (size_t at = 0; at < row_bytes; at += 16) {
			size_t left = at < width ? width - at : 0;
			__mmask16 mask = left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
			__m512 value = _mm512_maskz_loadu_ps(mask, rows + r * width + at);
			__m512i whole = _mm512_cvtps_epi32(value);

			bad |= _mm512_cmpgt_epu32_mask(whole, _mm512_set1_epi32(127)) |
			       _mm512_cmp_ps_mask(_mm512_cvtepi32_ps(whole), value, _CMP_NEQ_UQ);
			_mm_store_si128((__m128i *)(bytes + r * row_bytes + at),
				_mm512_cvtepi32_epi8(whole));
		}
	if (bad)
		return false;
	memset(bytes + n * row_bytes, 0, (QUICK_ROWS - n) * row_bytes);
	for (size_t r = 0; r < QUICK_ROWS; r += 8)
		for (size_t at = 0; at < row_bytes; at += 32)
			turn_8x8(
				bytes + r * row_bytes + at, row_bytes, x + at / 4 * QUICK_ROWS + r);
	return true;
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

/* Up to QUICK_ROWS rows. Returns the rows in `near` that want floats, or all of them when the block is not fit. */
static uint32_t run_block(const struct infer_plan *plan, struct infer_scratch *scratch,
	const float *rows, size_t n, float *scores, bool *unfit)
{
	const struct quick_plan *quick = plan->quick;
	size_t turned = QUICK_ROWS * (quick->most_groups + 8);
	uint32_t *x = scratch->quick, near = 0;
	float score[QUICK_ROWS] __attribute__((aligned(64)));
	float largest[QUICK_ROWS] __attribute__((aligned(64))) = { 0 };
	float step[QUICK_ROWS] __attribute__((aligned(64)));
	__m512i length[VECTORS];
	struct tile_io io = { .x = x,
		.hidden = scratch->a,
		.score = score,
		.largest = largest,
		.step = step,
		.score_weight = quick->score_weight };

	*unfit = !turn_in(rows, n, plan->inputs, (uint8_t *)(x + turned), x);
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
	if (quick->n_layers == 1)
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
	}
	memcpy(scores, score, n * sizeof(float));
	return n < 32 ? near & ((1u << n) - 1) : near;
}

ENGINE_TARGET_END

/* Rows near the threshold are gathered and answered together. */
struct again {
	size_t n;
	float *rows, *to[QUICK_ROWS];
};

static void answer(
	const struct infer_plan *plan, struct infer_scratch *scratch, struct again *again)
{
	float scores[QUICK_ROWS];

	if (!again->n)
		return;
	plan->engine->run(plan, scratch, again->rows, again->n, NULL, scores);
	for (size_t i = 0; i < again->n; i++)
		*again->to[i] = scores[i];
	again->n = 0;
}

size_t quick_run(const struct infer_plan *plan, struct infer_scratch *scratch, const float *rows,
	size_t n, float *scores)
{
	struct again again = { .rows = scratch->again };
	size_t recomputed = 0, step;

	for (; n; n -= step, rows += step * plan->inputs, scores += step) {
		uint32_t near;
		bool unfit;

		step = n < QUICK_ROWS ? n : QUICK_ROWS;
		if (step < QUICK_LEAST_ROWS) {
			plan->engine->run(plan, scratch, rows, step, NULL, scores);
			continue;
		}
		near = run_block(plan, scratch, rows, step, scores, &unfit);
		if (unfit)
			plan->engine->run(plan, scratch, rows, step, NULL, scores);
		recomputed += (size_t)__builtin_popcount(near);
		for (; near; near &= near - 1) {
			size_t r = (size_t)__builtin_ctz(near);

			memcpy(again.rows + again.n * plan->inputs, rows + r * plan->inputs,
				plan->inputs * sizeof(float));
			again.to[again.n++] = scores + r;
			if (again.n == QUICK_ROWS)
				answer(plan, scratch, &again);
		}
	}
	answer(plan, scratch, &again);
	return recomputed;
}
