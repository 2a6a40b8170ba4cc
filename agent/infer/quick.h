/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quick.h - the packed form of the 8-bit twin, shared by engine_quick.c and quick_lanes.c only.
 */
#ifndef SEMANTOS_INFER_QUICK_H
#define SEMANTOS_INFER_QUICK_H

#include "agent/infer/engine_quick.h"
#include "agent/infer/twin.h"

#define QUICK_ROWS TWIN_ROWS
#define QUICK_TILE 12 /* outputs in registers at once */

struct quick_layer {
	uint32_t inputs, outputs;
	size_t groups; /* of four inputs */
	int8_t *weight; /* tiles of QUICK_TILE outputs, the last of what is left: [groups][outputs of the tile][4] */
	float *scale; /* [outputs]: weight = 8-bit weight * scale */
	/*
	 * Of the only hidden layer, else NULL: the last layer's weights, two to a word, in units of pair_unit. Sums are then
	 * kept in 16 bits, which rows up to most_length have room for.
	 */
	int16_t *pair_weight;
	float *start; /* [outputs]: the bias */
	int32_t *
		whole_start; /* [outputs] of the first layer: the bias in units of the scale; else NULL */
};

struct quick_plan {
	uint32_t n_layers; /* hidden ones; the last layer is the score */
	struct quick_layer layer[MODEL_MAX_LAYERS];
	float *score_weight; /* [outputs of the last hidden layer], times its scale when it is the first */
	float near; /* (score - threshold)^2 <= near * (1 + |row|^2) is too near */
	float pair_unit;
	int32_t most_length; /* 1 + |row|^2; longer rows are answered otherwise */
	size_t most_groups;
};

/* As struct twin's. */
uint32_t quick_block(const struct infer_plan *plan, struct infer_scratch *scratch,
	const float *rows, size_t n, float *scores, float *reach, bool *unfit);

#endif
