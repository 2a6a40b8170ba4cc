/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine_byte.h - the twin of a float plan in 8 bits for features of any kind (AVX-512 VNNI); for agent/infer only.
 *
 * Scores only, nets of one or two hidden layers of ReLUs only. A block of rows is rounded to bytes with one step, that of
 * the largest number in it. Every row whose score lies near the decision threshold is answered by the float engine of
 * the same plan.
 */
#ifndef SEMANTOS_INFER_ENGINE_BYTE_H
#define SEMANTOS_INFER_ENGINE_BYTE_H

#include "agent/infer/engine.h"

/*
 * The twin of a packed float plan, or NULL with errno 0 where there is none (shape, activation), ENOMEM. Takes the
 * model besides, whose feature scaling must happen before numbers are rounded. How near is near is measured here.
 */
struct byte_plan *byte_prepare(const struct infer_plan *plan, const struct model *model);
void byte_free(struct byte_plan *bytes); /* accepts NULL */
size_t byte_scratch_words(const struct byte_plan *bytes); /* 32-bit words */

/*
 * n >= 1. Answers rows from the first on and returns how many: the last few are left over when they would leave a block
 * nearly empty, and all that are left when a block shows that bytes do not suit these rows (numbers that are not
 * finite, or every fourth row near the threshold). *recomputed grows by the rows answered in floats.
 */
size_t byte_run(const struct infer_plan *plan, struct infer_scratch *scratch, const float *rows,
	size_t n, float *scores, uint64_t *recomputed);

/* Largest error of a score not recomputed, see infer_error_bound(); INFINITY when out of memory. */
float byte_error_bound(const struct infer_plan *plan, float x_max);

#endif
