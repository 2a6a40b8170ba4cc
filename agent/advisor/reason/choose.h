/* SPDX-License-Identifier: Apache-2.0 */
/*
 * choose.h - what choose.c, never.c and words.c share: a candidate, and all it is weighed by.
 */
#ifndef SEMANTOS_ADVISOR_CHOOSE_H
#define SEMANTOS_ADVISOR_CHOOSE_H

#include "agent/advisor/reason/reason.h"

struct candidate {
	uint32_t n_moves;
	struct fact_move move[FACT_MOVES_MAX];
	double mean, deviation, improvement;
	double raw, u, score;
	const struct coupling *synergy, *need; /* NULL: none */
};

struct choice {
	const struct lexicon *lexicon;
	const struct reason_memory *memory;
	const struct reason_question *question;
	struct situation now;
	struct response *response;
	struct candidate best;
	double ceiling; /* of u: so uncertain ones were just vetoed; above 1 = none was */
	bool *other; /* by fact, as in now; NULL = the objective is not known */
	size_t n_other, too_uncertain;
	size_t offered, usable, considered,
		barred; /* knobs, knobs, candidates, candidates never to be tried again */
	uint32_t *first, *next; /* facts by the lowest knob they moved: index + 1; by fact */
	const struct fact **unsafe;
	double *unsafe_like; /* how like the load was */
	bool *unsafe_knob; /* by knob: one of them moved it */
	size_t n_unsafe;
};

/* Lists of facts by knob. 0 or -ENOMEM; never_free() after both. */
int never_init(struct choice *choice);
void never_free(struct choice *choice);

/* May this not be proposed again, here? Needs u of the candidate. */
bool never_again(const struct choice *choice, const struct candidate *candidate);

/* 0 .. 1: how near the candidate comes to what was unsafe. */
double never_hazard(const struct choice *choice, const struct candidate *candidate);

/* Sentences for people into the answer; of the best candidate, or of there being none. */
void words_of_proposal(const struct choice *choice, struct reason_answer *answer);
void words_of_nothing(const struct choice *choice, struct reason_answer *answer);

#endif
