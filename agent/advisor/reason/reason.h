/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reason.h - from a question and what is known to one proposal, with its reasons: the whole fast path.
 *
 * Tried are moves of one knob, with what it depends on, and of two along a synergy; never two in conflict. Each is weighed
 * by its expected improvement (Mockus et al. 1978) under the response model, by how likely it does no harm, and by its risk.
 * What is as uncertain as what the agent has just vetoed for this goal is left out, as long as nothing was tried since.
 * What was measured without effect, worse or unsafe is not proposed again from the same state; what was unsafe, or rejected
 * by the operator, from no state. Trials under another load, as the objective tells it (load.c), count for nothing but what
 * was unsafe or rejected. Pure: no files, no clock, no random numbers. One thread.
 */
#ifndef SEMANTOS_ADVISOR_REASON_H
#define SEMANTOS_ADVISOR_REASON_H

#include "agent/advisor/reason/fact.h"
#include "agent/advisor/reason/harm.h"
#include "agent/advisor/reason/lexicon.h"
#include "agent/advisor/reason/response.h"

#define REASON_KNOBS_MAX 1024
#define REASON_METRICS_MAX 64
#define REASON_TEXT_MAX 2000 /* bytes with the end */
#define REASON_EVIDENCE_MAX 1000
#define REASON_WORTH 0.0015 /* expected gain below which nothing is proposed */

struct reason_knob {
	uint32_t knob;
	char value[AXIS_VALUE_MAX]; /* "" = it is not known, or too long */
};

struct reason_question {
	uint64_t goal;
	bool lower_is_better;
	uint32_t trials_left;
	uint32_t moves_at_most; /* of an answer; 0 = FACT_MOVES_MAX */
	size_t n_knobs, n_metrics;
	struct reason_knob knob[REASON_KNOBS_MAX];
	struct fact_metric metric[REASON_METRICS_MAX]; /* by metric, ascending */
	bool leveled;
	double level; /* logarithm of the objective now; unless leveled it is not known */
};

struct reason_memory {
	const struct fact *fact; /* of this objective, newest first */
	size_t n_facts;
	const struct harm *harm;
	const uint64_t *refused; /* reason_mark() of answers that the agent would not have */
	size_t n_refused;
	uint64_t now_s;
	struct response_without without;
};

struct reason_answer {
	uint32_t n_moves; /* 0 = nothing is worth trying */
	struct fact_move move[FACT_MOVES_MAX];
	double change; /* expected, of the objective, after / before - 1 */
	double gain, deviation; /* the same as gain, and its standard deviation */
	double raw, u; /* probability of harm, before calibration and after */
	size_t considered; /* candidates */
	size_t n_other; /* facts that were under another load */
	char rationale[REASON_TEXT_MAX], evidence[REASON_EVIDENCE_MAX];
};

/* 0 with *answer, -ENOMEM. */
int reason_choose(const struct lexicon *lexicon, const struct reason_memory *memory,
	const struct reason_question *question, struct reason_answer *answer);

/* The same moves give the same number, in any order. */
uint64_t reason_mark(const struct lexicon *lexicon, const struct fact_move *move, size_t n_moves);

/*
 * What came of an answer, for the couplings it rests on: along a synergy, did the two do better than each was expected to
 * by itself? Of a fact of one move nothing is learned. Call before the fact is among those the next model is fitted to.
 */
void reason_learn(struct lexicon *lexicon, const struct reason_memory *memory,
	const struct reason_question *before, const struct fact *fact);

#endif
