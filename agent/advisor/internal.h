/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h - what advisor.c and hear.c share: what the advisor has in memory.
 */
#ifndef SEMANTOS_ADVISOR_STATE_H
#define SEMANTOS_ADVISOR_STATE_H

#include "agent/advisor/advisor.h"
#include "agent/advisor/kb/kb.h"
#include "agent/advisor/reason/reason.h"

#define ADVISOR_PENDING 16 /* proposals whose outcome is awaited */
#define ADVISOR_REFUSED 64
#define ADVISOR_TRIES 8 /* proposals for one question, while the agent will have none */

struct advisor {
	struct kb *kb;
	struct lexicon lexicon;
	size_t edges_loaded; /* couplings whose weights were looked up */
	char objective[KB_TEXT_MAX]; /* that facts are of; "" = none */
	bool lower_is_better;
	struct fact *fact; /* [n_facts] newest first, room for ADVISOR_FACTS_MAX + 1 */
	size_t n_facts;
	struct harm_outcome outcome[HARM_OUTCOMES_MAX];
	size_t n_outcomes;
	struct harm harm;
	struct {
		uint64_t mark, goal;
		double raw;
	} pending[ADVISOR_PENDING];
	size_t next_pending;
	uint64_t refused[ADVISOR_REFUSED], refused_goal;
	size_t n_refused;
	struct reason_question asked; /* the last that was answered by moves */
	struct reason_question question; /* the one at hand */
	uint64_t last_proposal; /* whose outcome is known */
	uint64_t unheard; /* texts of the agent that were too long, or too many */
	struct kb_trace trace; /* the one at hand */
	struct reason_answer answer;
};

/* Text of the agent's into out: what is no text becomes a blank. false: it is NULL or too long, and out is "". */
bool hear_text(struct advisor *advisor, const char *text, char *out, size_t size);

/* A question as the model takes it; what is too long or too much is left out and counted. 0 or -ENOMEM. */
int hear_question(struct advisor *advisor, const Semantos__V1__Question *question);

/* An outcome as the knowledge base takes it, into advisor->trace. false: it tells of nothing that was moved. */
bool hear_outcome(struct advisor *advisor, const Semantos__V1__Outcome *outcome);

#endif
