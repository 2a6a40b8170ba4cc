/* SPDX-License-Identifier: Apache-2.0 */
/*
 * harm.h - what a probability of harm, as the model holds it, has come to in the past: isotonic calibration.
 *
 * Pool-adjacent-violators (Ayer et al. 1955) over pairs of what was said and what came of it, beside a few made-up ones
 * that stand for "a model like this one exaggerates a little" until there are real ones. Pure, no allocation.
 */
#ifndef SEMANTOS_ADVISOR_HARM_H
#define SEMANTOS_ADVISOR_HARM_H

#include <stdbool.h>
#include <stddef.h>

#define HARM_OUTCOMES_MAX 400 /* the newest count */
#define HARM_PRIOR 10 /* made-up ones, weighing HARM_PRIOR_WEIGHT each */
#define HARM_PRIOR_WEIGHT 2.0
#define HARM_PRIOR_SLOPE 0.6

struct harm_outcome {
	double raw; /* 0 .. 1, before calibration */
	bool harm;
};

struct harm {
	size_t n, outcomes; /* steps; real outcomes */
	double raw[HARM_OUTCOMES_MAX + HARM_PRIOR]; /* middle of each step, ascending */
	double share[HARM_OUTCOMES_MAX + HARM_PRIOR]; /* of harm there, ascending */
};

/* Outcomes beyond the first HARM_OUTCOMES_MAX, and such as are no probability, are left out. */
void harm_fit(struct harm *harm, const struct harm_outcome *outcome, size_t n);

/* 0 .. 1, between the steps by straight lines; never falls as raw rises. */
double harm_at(const struct harm *harm, double raw);

#endif
