/* SPDX-License-Identifier: Apache-2.0 */
/*
 * half.h - the packed form of the bfloat16 twin, shared by engine_half.c, half_lanes.c and the AMX engine only.
 */
#ifndef SEMANTOS_INFER_HALF_H
#define SEMANTOS_INFER_HALF_H

#include "agent/infer/engine_half.h"
#include "agent/infer/twin.h"

#define HALF_ROWS TWIN_ROWS
#define HALF_TILE 12 /* outputs in registers at once */

struct half_layer {
	uint32_t inputs, outputs;
	size_t pairs; /* of inputs */
	uint32_t *
		weight; /* tiles of HALF_TILE outputs, the last of what is left: [pairs][outputs of the tile] */
	uint32_t *packed; /* for AMX, else NULL: bf16_pack() of [inputs][padded outputs] */
	float *bias; /* [padded outputs] */
};

struct half_plan {
	uint32_t n_layers; /* hidden ones; the last layer is the score */
	struct half_layer layer[MODEL_MAX_LAYERS];
	const float *score_weight; /* the plan's */
	float *scale,
		*shift; /* [inputs, up to 16]: x' = x * scale + shift; NULL when there is nothing to do */
	/*
	 * |score - threshold| <= near * (reach . |x'| + fixed) is too near: what the inputs and biases can add to a
	 * score at most, times what rounding was seen to take from it.
	 */
	uint32_t *reach; /* [pairs of the first layer, up to an even number] */
	float *plain_reach; /* the same as floats, for AMX, else NULL */
	float fixed, near;
	size_t most_pairs;
};

/* As struct twin's; the second by AMX, with `packed` and plain_reach. */
uint32_t half_block(const struct infer_plan *plan, struct infer_scratch *scratch, const float *rows,
	size_t n, float *scores, float *reach, bool *unfit);
uint32_t half_block_amx(const struct infer_plan *plan, struct infer_scratch *scratch,
	const float *rows, size_t n, float *scores, float *reach, bool *unfit);

#endif
