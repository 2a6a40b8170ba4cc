/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine_lanes.h - the body of the vector float engines, written once for any LANES, TILE and SINGLE.
 *
 * Two ways through a net. *Across*: a block of rows is turned so that one vector holds one number of LANES rows; weights
 * are broadcast, so widths that are no multiple of anything waste nothing and no sum ever crosses lanes. *Single*: one
 * row, the outputs in lanes; for the few rows that would leave most of a block empty. The cheaper one is chosen by
 * counting multiplications. The last layer's dot product is taken while the layer before is still in registers.
 * Never allocates, never branches on data.
 */

#define INLINE static inline __attribute__((always_inline))

INLINE vf activate(enum model_activation activation, vf x)
{
	if (activation == MODEL_RELU)
		return vf_larger((vf){ 0 }, x);
	return activation == MODEL_SIGMOID ? vf_sigmoid(x) : x;
}

/* ---- across: one vector is one number of LANES rows ------------------------------------------------- */

/* x: [inputs][block] -> `outputs` vectors, past their ReLU if it is one, of `vectors` each, stored to y, or taken into score when given. */
INLINE void tile_of(const struct packed_layer *layer, const float *weight, const float *bias,
	const float *x, size_t block, float *y, const float *score_weight, float *score,
	size_t outputs, size_t vectors)
{
	vf sum[TILE * 2];

#pragma GCC unroll 12
	for (size_t o = 0; o < outputs; o++)
#pragma GCC unroll 2
		for (size_t v = 0; v < vectors; v++)
			sum[o * vectors + v] = (vf){ 0 } + bias[o];
	for (size_t i = 0; i < layer->inputs; i++, x += block, weight += outputs) {
#pragma GCC unroll 12
		for (size_t o = 0; o < outputs; o++)
#pragma GCC unroll 2
			for (size_t v = 0; v < vectors; v++)
				sum[o * vectors + v] += ((const vf *)x)[v] * weight[o];
	}
	if (layer->activation == MODEL_RELU) {
#pragma GCC unroll 24
		for (size_t o = 0; o < outputs * vectors; o++)
			sum[o] = vf_larger((vf){ 0 }, sum[o]);
	}
	if (score) {
#pragma GCC unroll 2
		for (size_t v = 0; v < vectors; v++) {
			vf total = ((vf *)score)[v];

#pragma GCC unroll 12
			for (size_t o = 0; o < outputs; o++)
				total += sum[o * vectors + v] * score_weight[o];
			((vf *)score)[v] = total;
		}
		return;
	}
#pragma GCC unroll 12
	for (size_t o = 0; o < outputs; o++)
#pragma GCC unroll 2
		for (size_t v = 0; v < vectors; v++)
			((vf *)(y + o * block))[v] = sum[o * vectors + v];
}

INLINE void across_layer(const struct packed_layer *layer, const float *x, float *y,
	const float *score_weight, float *score, size_t vectors)
{
	const size_t block = vectors * LANES;
	const bool sigmoid = layer->activation == MODEL_SIGMOID;
	const float *weight = layer->tiled, *bias = layer->bias;
	float *fused = sigmoid ? NULL : score;

#define TILE_OF(first, outputs)                                                             \
	tile_of(layer, weight + (first) * layer->inputs, bias + (first), x, block,          \
		y + (first) * block, fused ? score_weight + (first) : NULL, fused, outputs, \
		vectors)
	TILES(layer->outputs, TILE_OF);
#undef TILE_OF
	/* From memory: a loop over the sums that is not unrolled would keep them there throughout. */
	for (size_t o = 0; sigmoid && o < layer->outputs; o++)
		for (size_t v = 0; v < vectors; v++) {
			vf h = vf_sigmoid(((vf *)(y + o * block))[v]);

			((vf *)(y + o * block))[v] = h;
			if (score)
				((vf *)score)[v] += h * score_weight[o];
		}
}

/* Eight rows by up to eight columns, turned: to[column][row]. Reads no float past a row's `columns`. */
INLINE void turn_8x8(const float *const *rows, size_t at, size_t columns, float *to, size_t block)
{
	static const int32_t masks[16] = { -1, -1, -1, -1, -1, -1, -1, -1 };
	__m256 r[8], s[8];

	if (columns >= 8) {
#pragma GCC unroll 8
		for (int i = 0; i < 8; i++)
			r[i] = _mm256_loadu_ps(rows[i] + at);
	} else {
		__m256i mask = _mm256_loadu_si256((const __m256i *)(masks + 8 - columns));

#pragma GCC unroll 8
		for (int i = 0; i < 8; i++)
			r[i] = _mm256_maskload_ps(rows[i] + at, mask);
	}
#pragma GCC unroll 4
	for (int i = 0; i < 8; i += 2) {
		s[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
		s[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
	}
#pragma GCC unroll 2
	for (int i = 0; i < 8; i += 4) {
		r[i] = _mm256_shuffle_ps(s[i], s[i + 2], 0x44);
		r[i + 1] = _mm256_shuffle_ps(s[i], s[i + 2], 0xee);
		r[i + 2] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0x44);
		r[i + 3] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0xee);
	}
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		s[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
		s[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
	}
#pragma GCC unroll 8
	for (size_t i = 0; i < 8; i++)
		if (i < columns)
			_mm256_store_ps(to + i * block, s[i]);
}

/* Rows past n repeat the last one: their answers are computed and thrown away. */
INLINE void turn_in(const float *rows, size_t n, size_t width, float *x, size_t block)
{
	for (size_t r = 0; r < block; r += 8) {
		const float *row[8];

		for (size_t i = 0; i < 8; i++)
			row[i] = rows + (r + i < n ? r + i : n - 1) * width;
		for (size_t at = 0; at < width; at += 8)
			turn_8x8(row, at, width - at, x + at * block + r, block);
	}
}

/* [outputs][block] to [n][outputs]; four outputs, the commonest number beside one and two, four rows at a time. */
INLINE void turn_out(const float *y, size_t block, size_t n, size_t n_out, float *to)
{
	size_t r = 0;

	for (; n_out == 4 && r + 4 <= n; r += 4) {
		__m128 a = _mm_load_ps(y + r), b = _mm_load_ps(y + block + r);
		__m128 c = _mm_load_ps(y + 2 * block + r), d = _mm_load_ps(y + 3 * block + r);

		_MM_TRANSPOSE4_PS(a, b, c, d);
		_mm_storeu_ps(to + 4 * r, a);
		_mm_storeu_ps(to + 4 * r + 4, b);
		_mm_storeu_ps(to + 4 * r + 8, c);
		_mm_storeu_ps(to + 4 * r + 12, d);
	}
	for (; r < n; r++)
		for (size_t o = 0; o < n_out; o++)
			to[r * n_out + o] = y[o * block + r];
}

INLINE void across(const struct infer_plan *plan, struct infer_scratch *scratch, const float *rows,
	size_t n, float *outputs, float *scores, size_t vectors)
{
	size_t block = vectors * LANES, last = plan->n_layers - 1;
	float *x = scratch->a, *y = scratch->b, *swap;

	turn_in(rows, n, plan->inputs, x, block);
	if (scores) {
		float score[2 * LANES] __attribute__((aligned(64)));

		for (size_t v = 0; v < vectors; v++)
			((vf *)score)[v] = (vf){ 0 } + plan->score.bias;
		for (size_t l = 0; l + 1 < last; l++) {
			across_layer(&plan->layer[l], x, y, NULL, NULL, vectors);
			swap = x;
			x = y;
			y = swap;
		}
		if (last)
			across_layer(
				&plan->layer[last - 1], x, y, plan->score.weight, score, vectors);
		else
			for (size_t i = 0; i < plan->inputs; i++)
				for (size_t v = 0; v < vectors; v++)
					((vf *)score)[v] +=
						((vf *)(x + i * block))[v] * plan->score.weight[i];
		for (size_t v = 0; v < vectors; v++)
			((vf *)score)[v] = activate(plan->score.activation, ((vf *)score)[v]);
		memcpy(scores, score, n * sizeof(float));
		return;
	}
	for (size_t l = 0; l <= last; l++) {
		across_layer(&plan->layer[l], x, y, NULL, NULL, vectors);
		swap = x;
		x = y;
		y = swap;
	}
	turn_out(x, block, n, plan->outputs, outputs);
}

static void across_one(const struct infer_plan *plan, struct infer_scratch *scratch,
	const float *rows, size_t n, float *outputs, float *scores)
{
	across(plan, scratch, rows, n, outputs, scores, 1);
}

static void across_two(const struct infer_plan *plan, struct infer_scratch *scratch,
	const float *rows, size_t n, float *outputs, float *scores)
{
	across(plan, scratch, rows, n, outputs, scores, 2);
}

/* ---- single: one row, outputs in lanes --------------------------------------------------------------- */

/* `chains` partial sums over the inputs keep the multipliers busy where there are few outputs. */
INLINE vf single_tile(const struct packed_layer *layer, const float *x, size_t at, float *y,
	const float *score_weight, vf score, size_t vectors, size_t chains)
{
	const float *weight = layer->weight + at;
	vf sum[SINGLE];
	size_t i = 0;

#pragma GCC unroll 16
	for (size_t v = 0; v < vectors * chains; v++)
		sum[v] = v < vectors ? ((const vf *)(layer->bias + at))[v] : (vf){ 0 };
	for (; i + chains <= layer->inputs; i += chains)
#pragma GCC unroll 4
		for (size_t c = 0; c < chains; c++, weight += layer->padded)
#pragma GCC unroll 16
			for (size_t v = 0; v < vectors; v++)
				sum[c * vectors + v] += ((const vf *)weight)[v] * x[i + c];
	for (; i < layer->inputs; i++, weight += layer->padded)
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			sum[v] += ((const vf *)weight)[v] * x[i];
#pragma GCC unroll 4
	for (size_t c = 1; c < chains; c++)
#pragma GCC unroll 16
		for (size_t v = 0; v < vectors; v++)
			sum[v] += sum[c * vectors + v];
#pragma GCC unroll 16
	for (size_t v = 0; v < vectors; v++) {
		sum[v] = activate(layer->activation, sum[v]);
		if (score_weight)
			score += sum[v] * ((const vf *)(score_weight + at))[v];
		else
			((vf *)(y + at))[v] = sum[v];
	}
	return score;
}

/* Lanes past the outputs hold rubbish only where a sigmoid turned their zeros; nothing reads those. */
static vf single_layer(
	const struct packed_layer *layer, const float *x, float *y, const float *score_weight)
{
	vf score = { 0 };
	size_t at = 0, left = layer->padded;

	for (; left >= SINGLE * LANES; left -= SINGLE * LANES, at += SINGLE * LANES)
		score = single_tile(layer, x, at, y, score_weight, score, SINGLE, 1);
	for (; left >= 4 * LANES; left -= 4 * LANES, at += 4 * LANES)
		score = single_tile(layer, x, at, y, score_weight, score, 4, 2);
	for (; left >= 2 * LANES; left -= 2 * LANES, at += 2 * LANES)
		score = single_tile(layer, x, at, y, score_weight, score, 2, 4);
	for (; left >= LANES; left -= LANES, at += LANES)
		score = single_tile(layer, x, at, y, score_weight, score, 1, 4);
	return score;
}

static float single_finish(const struct packed_score *score, float sum)
{
	sum += score->bias;
	if (score->activation == MODEL_RELU)
		return sum < 0 ? 0 : sum;
	return score->activation == MODEL_SIGMOID ? vf_sigmoid((vf){ 0 } + sum)[0] : sum;
}

static void single(const struct infer_plan *plan, struct infer_scratch *scratch, const float *row,
	float *outputs, float *score)
{
	const float *x = row;
	float *y = scratch->a, *other = scratch->b;
	size_t last = plan->n_layers - 1;

	if (score && !last) {
		float sum = 0;

		for (size_t i = 0; i < plan->inputs; i++)
			sum += row[i] * plan->score.weight[i];
		*score = single_finish(&plan->score, sum);
		return;
	}
	for (size_t l = 0; l + (score ? 1 : 0) <= last; l++) {
		vf sum = single_layer(
			&plan->layer[l], x, y, score && l + 1 == last ? plan->score.weight : NULL);

		if (score && l + 1 == last) {
			*score = single_finish(&plan->score, vf_total(sum));
			return;
		}
		x = y;
		y = other;
		other = (float *)x;
	}
	memcpy(outputs, x, plan->outputs * sizeof(float));
}

/* ---- the choice --------------------------------------------------------------------------------------- */

static void run(const struct infer_plan *plan, struct infer_scratch *scratch, const float *rows,
	size_t n, float *outputs, float *scores);

/* Scores of two outputs that are not linear. */
static void run_difference(const struct infer_plan *plan, struct infer_scratch *scratch,
	const float *rows, size_t n, float *scores)
{
	float outputs[2 * ENGINE_BLOCK_ROWS];

	for (size_t step; n; n -= step, rows += step * plan->inputs) {
		step = n < ENGINE_BLOCK_ROWS ? n : ENGINE_BLOCK_ROWS;
		run(plan, scratch, rows, step, outputs, NULL);
		for (size_t r = 0; r < step; r++)
			*scores++ = outputs[2 * r + 1] - outputs[2 * r];
	}
}

static void run(const struct infer_plan *plan, struct infer_scratch *scratch, const float *rows,
	size_t n, float *outputs, float *scores)
{
	size_t step;

	if (scores && !plan->score.weight) {
		run_difference(plan, scratch, rows, n, scores);
		return;
	}
	for (; n; n -= step, rows += step * plan->inputs) {
		size_t vectors = n > LANES ? 2 : 1;

		step = n < vectors * LANES ? n : vectors * LANES;
		if (step * plan->cost_row < vectors * plan->cost_block) {
			step = 1;
			single(plan, scratch, rows, outputs, scores);
		} else if (vectors == 2) {
			across_two(plan, scratch, rows, step, outputs, scores);
		} else {
			across_one(plan, scratch, rows, step, outputs, scores);
		}
		if (scores)
			scores += step;
		else
			outputs += step * plan->outputs;
	}
}

const struct engine ENGINE = {
	.name = LANES_NAME,
	.lanes = LANES,
	.tile = TILE,
	.run = run,
};
