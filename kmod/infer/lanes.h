/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * lanes.h - one path through a net in vectors of LANES_BYTES, included once for each width, inside INFER_TARGET_BEGIN.
 *
 * Wants LANES_BYTES and LANES_RUN (the function's name). Outputs stand in lanes in narrow layers, so that a weight is
 * loaded once and nothing is summed across; inputs do in wide ones, which have few outputs. Addition of integers that
 * cannot overflow is the same in any order, which is why every path agrees to the bit.
 */
#define LANES (LANES_BYTES / 4)

typedef int32_t vec __attribute__((vector_size(LANES_BYTES)));
typedef uint32_t uvec __attribute__((vector_size(LANES_BYTES)));
typedef int64_t vec64 __attribute__((vector_size(LANES_BYTES)));
typedef uint64_t uvec64 __attribute__((vector_size(LANES_BYTES)));
typedef int16_t half __attribute__((vector_size(LANES_BYTES / 2)));
typedef int32_t vec_anywhere __attribute__((vector_size(LANES_BYTES), aligned(4), may_alias));
typedef int64_t vec64_anywhere __attribute__((vector_size(LANES_BYTES), aligned(8), may_alias));
typedef int16_t half_anywhere __attribute__((vector_size(LANES_BYTES / 2), aligned(2), may_alias));

infer_inline vec load(const int32_t *from)
{
	return *(const vec_anywhere *)from;
}

/* Products of signed 16-bit neighbours, added: what makes a narrow layer cheap. */
infer_inline vec multiply_pairs(vec a, vec b)
{
	vec sum;

	__asm__("vpmaddwd %2, %1, %0" : "=v"(sum) : "v"(a), "v"(b));
	return sum;
}

/* Signed 64-bit products of every other 32-bit lane. */
infer_inline vec64 multiply_even(vec64 a, vec64 b)
{
	vec64 product;

	__asm__("vpmuldq %2, %1, %0" : "=v"(product) : "v"(a), "v"(b));
	return product;
}

infer_inline vec end_hidden(vec sum, uint32_t shift)
{
	vec x = sum & (sum > 0), above;

	if (!shift)
		return x;
	/* Without sign, so that the rounding cannot overflow. */
	x = (vec)(((uvec)x + (1U << (shift - 1))) >> shift);
	above = x > 32767;
	return (x & ~above) | (above & 32767);
}

/* n_vecs vectors of outputs from `o` on. Inlined with a constant n_vecs, the sums stay in registers. */
infer_inline void narrow_tile(const struct infer_net *net, const struct infer_layer *layer,
	const int32_t *x, uint32_t o, uint32_t n_vecs, int32_t *y, int64_t *outputs)
{
	const int32_t *weight = (const int32_t *)infer_weight(net, layer) + o;
	const int32_t *bias = (const int32_t *)infer_bias(net, layer) + o;
	vec sum[8];

	for (uint32_t v = 0; v < n_vecs; v++)
		sum[v] = load(bias + v * LANES);
	for (uint32_t p = 0; p < layer->pairs; p++, weight += layer->width) {
		vec both = (vec){ 0 } + x[p];

		for (uint32_t v = 0; v < n_vecs; v++)
			sum[v] += multiply_pairs(load(weight + v * LANES), both);
	}
	for (uint32_t v = 0; v < n_vecs; v++) {
		uint32_t at = o + v * LANES;

		if (layer->last) {
			for (uint32_t i = 0; i < LANES && at + i < layer->outputs; i++)
				outputs[at + i] = sum[v][i];
			continue;
		}
		sum[v] = end_hidden(sum[v], layer->shift);
		if (layer[1].narrow)
			*(half_anywhere *)((int16_t *)y + at) =
				__builtin_convertvector(sum[v], half);
		else
			*(vec_anywhere *)(y + at) = sum[v];
	}
}

infer_inline void narrow_layer(const struct infer_net *net, const struct infer_layer *layer,
	const int32_t *x, int32_t *y, int64_t *outputs)
{
	uint32_t o = 0;

	for (; o + 8 * LANES <= layer->width; o += 8 * LANES)
		narrow_tile(net, layer, x, o, 8, y, outputs);
	for (; o + LANES <= layer->width; o += LANES)
		narrow_tile(net, layer, x, o, 1, y, outputs);
}

infer_inline void wide_layer(const struct infer_net *net, const struct infer_layer *layer,
	const int32_t *x, int32_t *y, int64_t *outputs)
{
	const int32_t *weight = infer_weight(net, layer);
	const int64_t *bias = infer_bias(net, layer);

	for (uint32_t o = 0; o < layer->outputs; o++, weight += layer->in_width) {
		vec64 even = { 0 }, odd = { 0 };
		int64_t sum = bias[o];

		for (uint32_t i = 0; i < layer->in_width; i += LANES) {
			vec64 a = (vec64)load(x + i), b = (vec64)load(weight + i);

			even += multiply_even(a, b);
			odd += multiply_even((vec64)((uvec64)a >> 32), (vec64)((uvec64)b >> 32));
		}
		even += odd;
		for (uint32_t i = 0; i < LANES / 2; i++)
			sum += even[i];
		if (layer->last)
			outputs[o] = sum;
		else
			infer_put(y, o, infer_hidden(sum, layer->shift), layer[1].narrow);
	}
}

void LANES_RUN(const struct infer_net *net, struct infer_scratch *scratch,
	int64_t outputs[INFER_MAX_OUTPUTS])
{
	int32_t *x = scratch->a, *y = scratch->b, *swap;

	for (uint32_t l = 0; l < net->n_layers; l++) {
		const struct infer_layer *layer = &net->layer[l];

		if (layer->narrow) {
			narrow_layer(net, layer, x, y, outputs);
		} else {
			/* A wide layer stores one output at a time: what it does not store is padding. */
			for (uint32_t i = 0; !layer->last && i < layer->width; i++)
				y[i] = 0;
			wide_layer(net, layer, x, y, outputs);
		}
		swap = x;
		x = y;
		y = swap;
	}
}
