/* SPDX-License-Identifier: Apache-2.0 */
/*
 * threshold.h - how sure a proposal must be to be tried: the limit tau on its uncertainty u, from what came of earlier ones.
 *
 * A proposal with u >= tau is vetoed. tau is the highest limit that keeps both promises over the window of outcomes:
 *  - of what it accepts no more than alpha was unsafe, counting one more unsafe outcome than was seen: (1 + unsafe below) /
 *    (1 + all below) <= alpha. For outcomes in exchangeable order this bounds the expected share of unsafe ones among the
 *    accepted, a history in which nothing is accepted counting as 0 (the count with one added is that of knockoffs, Barber
 *    and Candes 2015). No rule without assumptions can promise it of those histories alone in which something is accepted;
 *  - of what was unsafe no more than alpha would have been accepted: the floor(alpha (n + 1))-th smallest u of the unsafe
 *    ones (split conformal, Vovk et al. 2005). With fewer than 1/alpha - 1 of them no limit above 0 can promise that, so it
 *    counts from so many on. Until enough outcomes of any kind are known for the first promise the lowest u of an unsafe one
 *    is the limit: so little is known then that one bad outcome is a reason to be careful.
 * Raising tau accepts more, so limits from several sources combine by the lowest of them, never the highest. An outcome
 * is known only of what was tried; what the operator approved beyond tau is an outcome like any other.
 */
#ifndef SEMANTOS_SAFETY_THRESHOLD_H
#define SEMANTOS_SAFETY_THRESHOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define THRESHOLD_WINDOW 400 /* outcomes; older ones are forgotten */
#define THRESHOLD_ALPHA 0.10

struct threshold {
	double u[THRESHOLD_WINDOW]; /* ring */
	bool unsafe[THRESHOLD_WINDOW];
	uint32_t next, count;
	double alpha;
	double ceiling; /* the operator's: tau is never above it; used alone until enough is known */
};

/* alpha in (0, 1), ceiling in [0, 1]; anything else is an error of the caller and becomes the default or 0. */
void threshold_reset(struct threshold *threshold, double alpha, double ceiling);

/* What came of a proposal. u outside [0, 1] or no number counts as 0, the side on which an unsafe one weighs most. */
void threshold_add(struct threshold *threshold, double u, bool unsafe);

/* Drift: keep only the newest `keep` outcomes, as the older ones tell of another machine. */
void threshold_forget(struct threshold *threshold, uint32_t keep);

struct threshold_view {
	double tau; /* accept u < tau */
	double accepting,
		missing; /* the two limits alone; 1 = no bound; accepting is NaN until calibrated */
	uint32_t outcomes, unsafe;
	bool calibrated; /* enough outcomes to keep the first promise at all */
	bool missing_counts; /* and enough unsafe ones for the second */
	uint32_t
		wanted; /* further outcomes, none unsafe, until a limit above 0 can keep the first promise */
};

void threshold_view(const struct threshold *threshold, struct threshold_view *view);

/* So little is known that single outcomes rule the limit? Then a sentence that says so, else "". */
void threshold_why(const struct threshold_view *view, char *out, size_t size);

/* May it be tried? Then true; else one sentence without its full stop in why. u that is no number is vetoed. */
bool threshold_admit(const struct threshold *threshold, double u, char *why, size_t size);

#endif
