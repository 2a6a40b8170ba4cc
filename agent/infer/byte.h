/* SPDX-License-Identifier: Apache-2.0 */
/*
 * byte.h - the packed form of the 8-bit twin for any features, shared by engine_byte.c and byte_lanes.c only.
 */
#ifndef SEMANTOS_INFER_BYTE_H
#define SEMANTOS_INFER_BYTE_H

#include "agent/infer/engine_byte.h"
#include "agent/infer/twin.h"

#define BYTE_ROWS TWIN_ROWS
#define BYTE_TILE 12 /* outputs in registers at once, a multiple of four */
#define BYTE_INPUTS 64 /* most of a net's features */
#define BYTE_HIDDEN 1024 /* most of a layer's outputs: sums then stay below 2^28 */
#define BYTE_LENGTH \
	170 /* most of an output's 8-bit weights of the first of two layers, as a vector */
#define BYTE_ROOM \
	65400.0f /* of 65,535: the largest sum of a first layer, before a start's rounding and 128 */
#define BYTE_MOST_START 20000.0f /* of a first layer's bias, in units of its sums */
#define BYTE_START_BITS 0x1p28f /* of a second one's */

struct byte_layer {
	uint32_t inputs, outputs;
	size_t groups; /* of four inputs */
	int8_t *weight; /* tiles of BYTE_TILE outputs, the last of what is left: [groups][outputs of the tile][4] */
	float *unit; /* [padded outputs]: weight = 8-bit weight * unit */
	float *start; /* [padded outputs]: bias / unit */
	int32_t *
		offset; /* [padded outputs] of the first layer: what inputs raised by 128 add too much, negative */
};

/*
 * x' = x * scale + shift is x8 * step with x8 in -127..127. A sum of the first layer is acc = w8 . x8 + start / step, the
 * hidden number acc * unit * step. The second layer sees its upper byte: the step is so large that a sum fits 16 bits, by
 * Cauchy and Schwarz' inequality. The second layer's weights have the first one's units in them.
 */
struct byte_plan {
	uint32_t n_layers; /* hidden ones, 1 or 2; the last layer is the score */
	struct byte_layer layer[2];
	float *score_weight; /* [outputs of the last hidden layer], times its units */
	float *scale, *shift; /* [inputs, up to 16]; NULL when there is nothing to do */
	float length; /* of the first layer's longest row of 8-bit weights */
	float most_start; /* largest |start| of the first layer */
	float least_step; /* smaller ones would not leave room for the starts */
	float room_again; /* of BYTE_ROOM when rows are rounded once more */
	/* (score - threshold)^2 <= near * (step^2 * (|x8|^2 + rounding) + bias) is too near */
	float near, rounding, bias;
	size_t most_groups;
};

/* As struct twin's. */
uint32_t byte_block(const struct infer_plan *plan, struct infer_scratch *scratch, const float *rows,
	size_t n, float *scores, float *reach, bool *unfit);

#endif
