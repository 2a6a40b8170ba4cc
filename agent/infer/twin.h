/* SPDX-License-Identifier: Apache-2.0 */
/*
 * twin.h - what the twins of a float plan in fewer bits (engine_quick.c, engine_byte.c, engine_half.c) have in common;
 * for agent/infer only.
 */
#ifndef SEMANTOS_INFER_TWIN_H
#define SEMANTOS_INFER_TWIN_H

#include "agent/infer/engine.h"
#include "agent/infer/random.h"

/* Of a twin's plan, zeroed; NULL with errno 0 when the net does not suit it, or ENOMEM. */
void *twin_new(bool suits, size_t size);

/*
 * Hidden layers of ReLUs and a linear score: what every twin needs. *products: multiplications of the hidden layers.
 */
bool twin_suits(const struct infer_plan *plan, size_t *products);

/* x' = x * scale + shift, [inputs, up to 16]; both NULL when the model scales nothing. 0 or -ENOMEM. */
int twin_take_scaling(
	const struct infer_plan *plan, const struct model *model, float **scale, float **shift);

/* A row as it is after scaling, scaled back. Kinds: 0 alike, 1 mostly zeros, 2 of any magnitude, 3 digits. */
void twin_draw(const struct infer_plan *plan, const float *scale, const float *shift,
	struct random_state *random, size_t kind, float *row);

/* Rows near the threshold are gathered and answered together, in floats. */
struct twin_again {
	size_t n;
	float *rows, *to[ENGINE_BLOCK_ROWS]; /* rows: [ENGINE_BLOCK_ROWS][inputs] */
};

/* Each bit of `near` is one of up to 32 rows; returns how many. Answers whenever enough are there. */
size_t twin_gather(const struct infer_plan *plan, struct infer_scratch *scratch,
	struct twin_again *again, uint32_t near, const float *rows, float *scores);
void twin_answer(const struct infer_plan *plan, struct infer_scratch *scratch,
	struct twin_again *again); /* what is left */

#endif
