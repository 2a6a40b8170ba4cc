/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quick.h - the packed form of the 8-bit twin, shared by engine_quick.c and quick_lanes.c only.
 */
#ifndef SEMANTOS_INFER_QUICK_H
#define SEMANTOS_INFER_QUICK_H

#include "agent/infer/engine_quick.h"

#define QUICK_ROWS 32 /* of a block: two vectors of 16 */
#define QUICK_TILE 12 /* outputs in registers at once */

struct quick_layer {
	uint32_t inputs, outputs;
	size_t groups; /* of four inputs */
	int8_t *weight; /* tiles of QUICK_TILE outputs, the last of what is left: [groups][outputs of the tile][4] */
	float *scale; /* [outputs]: weight = 8-bit weight * scale */
	float *start; /* [outputs]: the bias; in the first layer in units of the scale, whole */
};

struct quick_plan {
	uint32_t n_layers; /* hidden ones; the last layer is the score */
	struct quick_layer layer[MODEL_MAX_LAYERS];
	float *score_weight; /* [outputs of the last hidden layer], times its scale when it is the first */
	float near; /* (score - threshold)^2 <= near * (1 + |row|^2) is too near */
	size_t most_groups;
};

#endif
