/* SPDX-License-Identifier: Apache-2.0 */
/*
 * placebo.h - the controls a gain must beat: verdicts that know nothing, put where the model's would stand.
 *
 * If such a control gains as much as the model, the model is not the cause. Applied to scores before anything else sees
 * them, so evaluator, verdicts and canary judge the control exactly as they would the model. Used by one thread.
 */
#ifndef SEMANTOS_CORE_PLACEBO_H
#define SEMANTOS_CORE_PLACEBO_H

#include <stddef.h>
#include <stdint.h>

enum placebo_kind {
	PLACEBO_NONE,
	PLACEBO_PERMUTE, /* the model's own scores, in another order: same mix, no knowledge of when */
	PLACEBO_FAST, /* always fast */
	PLACEBO_SLOW, /* always slow */
	PLACEBO_CONSTANT, /* the net replaced by its average answer */
};

#define PLACEBO_POOL \
	1024 /* scores a permuted one is drawn from: seconds of load, far longer than a slow period */

struct placebo {
	enum placebo_kind kind;
	uint64_t random;
	uint32_t n; /* scores in the pool */
	float *pool; /* [PLACEBO_POOL], PLACEBO_PERMUTE only */
	double sum; /* PLACEBO_CONSTANT */
	uint64_t seen;
};

/* "permute", "fast", "slow", "constant", "none". 0 or -EINVAL. */
int placebo_parse(const char *text, enum placebo_kind *kind);
const char *placebo_name(enum placebo_kind kind);

int placebo_init(struct placebo *placebo, enum placebo_kind kind, uint64_t seed); /* 0 or -ENOMEM */
void placebo_free(struct placebo *placebo); /* accepts a zeroed one */

/* Replace the model's scores [n] by the control's. threshold: score from which a verdict says slow. */
void placebo_apply(struct placebo *placebo, float *scores, size_t n, float threshold);

#endif
