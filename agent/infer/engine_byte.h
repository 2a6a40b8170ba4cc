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

/* Leaves over what follows a block with a number that is not finite, or with every fourth row near the threshold. */
extern const struct twin byte_twin;

/* Largest error of a score not recomputed, see infer_error_bound(); INFINITY when out of memory. */
float byte_error_bound(const struct infer_plan *plan, float x_max);

#endif
