/* SPDX-License-Identifier: Apache-2.0 */
/*
 * twin.h - what the twins of a float plan in fewer bits (engine_quick.c, engine_byte.c, engine_half.c) have in common;
 * for agent/infer only.
 */
#ifndef SEMANTOS_INFER_TWIN_H
#define SEMANTOS_INFER_TWIN_H

#include "agent/infer/engine.h"
#include "agent/infer/random.h"

#define TWIN_ROWS 32 /* of a block: two vectors of 16 */
#define TWIN_MARGIN \
	0.8 /* of the largest error seen, about three deviations: see twin_calibrate() */

struct twin {
	size_t least; /* rows in a block: fewer take floats no longer */
	size_t most_near; /* more of a block near the threshold, and the twin does not suit these rows */
	/*
	 * The first n of TWIN_ROWS rows, which are all there; scores: [TWIN_ROWS], room for all. Returns the rows that want
	 * floats, a bit each. Bits and scores of rows past n mean nothing; an unfit block has no scores. reach, when not
	 * NULL: [TWIN_ROWS], how far off a score may be, but for a factor.
	 */
	uint32_t (*block)(const struct infer_plan *plan, struct infer_scratch *scratch,
		const float *rows, size_t n, float *scores, float *reach, bool *unfit);
	/* Row r of a block for twin_calibrate(). */
	void (*draw)(const struct infer_plan *plan, struct random_state *random, size_t block,
		size_t r, float *row);
};

/*
 * n >= 1. Answers rows from the first on and returns how many: the last few are left over when they would leave a block
 * nearly empty, and all that are left when a block shows that the twin does not suit these rows. Those whose score is near
 * the threshold are answered in floats and counted in scratch->recomputed.
 */
size_t twin_run(const struct twin *twin, const struct infer_plan *plan,
	struct infer_scratch *scratch, const float *rows, size_t n, float *scores);

/*
 * *worst: the largest error of 4,096 drawn rows over their reach. Of the rows whose score is as near to the threshold as
 * TWIN_MARGIN of that, an eighth of a percent is on the wrong side, so of all rows fewer than one in ten thousand. The trial
 * plan has no twin but this one. 0 or -ENOMEM.
 */
int twin_calibrate(const struct twin *twin, const struct infer_plan *trial, double *worst);

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

#endif
