/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine_half.h - the bfloat16 twin of a float plan (AVX-512 BF16, or AMX); for agent/infer only.
 *
 * Scores only, ReLU nets only, any finite rows. Every row whose score lies near the decision threshold is answered by
 * the float engine of the same plan.
 */
#ifndef SEMANTOS_INFER_ENGINE_HALF_H
#define SEMANTOS_INFER_ENGINE_HALF_H

#include "agent/infer/engine.h"

/*
 * The twin of a packed float plan, or NULL with errno 0 where there is none (shape, activation), ENOMEM. Takes the
 * model besides, whose feature scaling must happen before numbers are rounded. How near is near is measured here.
 */
struct half_plan *half_prepare(const struct infer_plan *plan, const struct model *model, bool amx);
void half_free(struct half_plan *half); /* accepts NULL */
const char *half_name(const struct half_plan *half); /* "amx" or "avx512-bf16" */
size_t half_scratch_words(const struct half_plan *half); /* 32-bit words */

/* Leaves nothing over but the last few rows. */
const struct twin *half_twin(const struct half_plan *half);

/* Largest error of a score not recomputed, see infer_error_bound(); INFINITY when out of memory. */
float half_error_bound(const struct infer_plan *plan, float x_max);

#endif
