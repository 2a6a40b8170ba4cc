/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine_quick.h - the 8-bit twin of a float plan (AVX-512 VNNI); for agent/infer only.
 *
 * Scores only, ReLU nets only, rows of whole numbers 0..127 only (decimal digits are): everything else is left to the
 * other twins. Every row whose score lies near the decision threshold is answered by the float engine of the same plan.
 */
#ifndef SEMANTOS_INFER_ENGINE_QUICK_H
#define SEMANTOS_INFER_ENGINE_QUICK_H

#include "agent/infer/engine.h"

/*
 * The twin of a packed float plan, or NULL with errno 0 where there is none (shape, activation), ENOMEM. How near is
 * near is measured here, on rows drawn from a fixed seed.
 */
struct quick_plan *quick_prepare(const struct infer_plan *plan);
void quick_free(struct quick_plan *quick); /* accepts NULL */
size_t quick_scratch_bytes(const struct quick_plan *quick);

/* Leaves over what follows a block with a number which is not whole or not in 0..127. */
extern const struct twin quick_twin;

/* Largest error of a score not recomputed, see infer_error_bound(); INFINITY when out of memory. */
float quick_error_bound(const struct infer_plan *plan, float x_max);

#endif
