// SPDX-License-Identifier: Apache-2.0
/*
 * advisor.c - questions to proposals, outcomes to traces.
 */
#include "agent/advisor/advisor.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include "agent/advisor/internal.h"
#include "agent/util/log.h"

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

struct advisor *advisor_open(const char *dir, char *note, size_t size, enum exit_code *code)
{
	struct advisor *advisor = calloc(1, sizeof(*advisor));
	char text[KB_TEXT_MAX] = "No memory is left.";
	struct utsname name = { .release = "" };
	struct kb_counts counts = { 0 };
	int ret = -ENOMEM;

	*code = EXIT_CODE_FAILED;
	if (advisor)
		advisor->fact = calloc(ADVISOR_FACTS_MAX + 1, sizeof(*advisor->fact));
	if (advisor && advisor->fact) {
		uname(&name);
		ret = lexicon_init(&advisor->lexicon, name.release);
	}
	if (!ret) {
		ret = kb_open(dir, &advisor->kb, text);
		if (ret)
			*code = EXIT_CODE_STATE;
		else if (text[0])
			log_warn("%s", text);
	}
	if (!ret) {
		ret = kb_counts(advisor->kb, &counts);
		if (!ret)
			ret = kb_outcomes(advisor->kb, advisor->outcome, HARM_OUTCOMES_MAX,
				&advisor->n_outcomes);
		if (ret)
			snprintf(text, sizeof(text), "%s", kb_error(advisor->kb));
	}
	if (ret) {
		snprintf(note, size, "%s", text);
		advisor_free(advisor);
		return NULL;
	}
	harm_fit(&advisor->harm, advisor->outcome, advisor->n_outcomes);
	advisor->last_proposal = counts.last_proposal;
	log_info("The knowledge base in %s holds %llu traces; %llu older ones were dropped.", dir,
		(unsigned long long)counts.traces, (unsigned long long)counts.dropped);
	return advisor;
}

void advisor_free(struct advisor *advisor)
{
	if (!advisor)
		return;
	kb_close(advisor->kb);
	lexicon_free(&advisor->lexicon);
	free(advisor->fact);
	free(advisor);
}

/* Weights of couplings that came with new names. */
static void load_edges(struct advisor *advisor)
{
	if (advisor->edges_loaded == advisor->lexicon.n_couplings)
		return;
	if (kb_edges(advisor->kb, &advisor->lexicon, advisor->edges_loaded))
		log_warn("%s", kb_error(advisor->kb));
	advisor->edges_loaded = advisor->lexicon.n_couplings;
}

/* Facts of another objective, when the question is for one. */
static int load_facts(struct advisor *advisor, const char *objective, bool lower_is_better)
{
	int ret;

	if (strcmp(advisor->objective, objective) == 0 &&
		advisor->lower_is_better == lower_is_better)
		return 0;
	advisor->n_facts = 0;
	advisor->objective[0] = '\0';
	ret = kb_facts(advisor->kb, objective, lower_is_better, &advisor->lexicon, advisor->fact,
		ADVISOR_FACTS_MAX, &advisor->n_facts);
	load_edges(advisor);
	if (ret == -ENOMEM)
		return ret;
	if (ret)
		log_warn("%s Proposals rest on %zu traces.", kb_error(advisor->kb),
			advisor->n_facts);
	snprintf(advisor->objective, sizeof(advisor->objective), "%s", objective);
	advisor->lower_is_better = lower_is_better;
	log_info("%zu traces are known of the objective \"%.200s\".", advisor->n_facts, objective);
	return 0;
}

static struct reason_memory memory_of(const struct advisor *advisor)
{
	return (struct reason_memory){ .fact = advisor->fact,
		.n_facts = advisor->n_facts,
		.harm = &advisor->harm,
		.refused = advisor->refused,
		.n_refused = advisor->n_refused,
		.now_s = (uint64_t)time(NULL) };
}

/* ---- outcomes ---- */

/* What the model held of it when it was proposed; NaN: that is not known any more. */
static double raw_of(struct advisor *advisor, const struct fact *fact)
{
	uint64_t mark = reason_mark(&advisor->lexicon, fact->move, fact->n_moves);

	for (size_t i = 0; i < ADVISOR_PENDING; i++) {
		if (advisor->pending[i].mark == mark && advisor->pending[i].goal == fact->goal) {
			advisor->pending[i].mark = 0;
			return advisor->pending[i].raw;
		}
	}
	return NAN;
}

static void learn_edges(struct advisor *advisor, const struct fact *fact)
{
	struct reason_memory memory = memory_of(advisor);

	reason_learn(&advisor->lexicon, &memory, &advisor->asked, fact);
	for (size_t a = 0; a < fact->n_moves; a++) {
		for (size_t b = 0; b < fact->n_moves; b++) {
			struct coupling *edge = lexicon_coupling(&advisor->lexicon,
				fact->move[a].knob, fact->move[b].knob, KNOB_SYNERGIZES_WITH);

			if (edge && edge->seen_s == memory.now_s &&
				kb_edge_store(advisor->kb, &advisor->lexicon, edge))
				log_warn("%s", kb_error(advisor->kb));
		}
	}
}

void advisor_outcome(struct advisor *advisor, const Semantos__V1__Outcome *outcome)
{
	struct fact fact;
	uint64_t id;
	int ret;

	if (!hear_outcome(advisor, outcome)) {
		log_warn("What came of proposal %llu cannot be understood and was left out.",
			(unsigned long long)outcome->proposal);
		return;
	}
	if (outcome->proposal > advisor->last_proposal)
		advisor->last_proposal = outcome->proposal;
	if (kb_fact_of(&advisor->trace, 0, &advisor->lexicon, &fact)) {
		log_warn("What came of proposal %llu tells of no knob there is room for; it was "
			 "left out.",
			(unsigned long long)outcome->proposal);
		return;
	}
	load_edges(advisor);
	fact.raw = advisor->trace.raw = raw_of(advisor, &fact);
	ret = kb_add(advisor->kb, &advisor->trace, &id);
	if (ret == 1)
		return; /* sent again */
	if (ret < 0)
		log_warn("%s The trace is known until this process ends.", kb_error(advisor->kb));
	fact.id = id;
	log_info("Trace %llu: proposal %llu came to \"%.20s\".", (unsigned long long)id,
		(unsigned long long)outcome->proposal, outcome->verdict);
	if (fact_tried(&fact) && !isnan(fact.raw)) {
		if (advisor->n_outcomes < HARM_OUTCOMES_MAX)
			advisor->n_outcomes++;
		memmove(advisor->outcome + 1, advisor->outcome,
			(advisor->n_outcomes - 1) * sizeof(advisor->outcome[0]));
		advisor->outcome[0] = (struct harm_outcome){ fact.raw, fact_harm(&fact) };
		harm_fit(&advisor->harm, advisor->outcome, advisor->n_outcomes);
	}
	if (strcmp(advisor->objective, advisor->trace.objective) != 0 ||
		advisor->lower_is_better != advisor->trace.lower_is_better)
		return; /* of another objective: it is in the file */
	learn_edges(advisor, &fact);
	if (advisor->n_facts < ADVISOR_FACTS_MAX)
		advisor->n_facts++;
	memmove(advisor->fact + 1, advisor->fact, (advisor->n_facts - 1) * sizeof(fact));
	advisor->fact[0] = fact;
}

/* ---- questions ---- */

static int send_answer(
	struct advisor *advisor, uint64_t question, uint64_t took_us, advisor_send *send, void *ctx)
{
	struct reason_answer *answer = &advisor->answer;
	Semantos__V1__Proposal proposal = SEMANTOS__V1__PROPOSAL__INIT;
	Semantos__V1__Knob knob[FACT_MOVES_MAX], *knobs[FACT_MOVES_MAX];

	for (size_t m = 0; m < answer->n_moves; m++) {
		semantos__v1__knob__init(&knob[m]);
		knob[m].name = advisor->lexicon.knob[answer->move[m].knob]->name;
		knob[m].value = answer->move[m].to;
		knobs[m] = &knob[m];
	}
	proposal.question = question;
	proposal.n_knobs = answer->n_moves;
	proposal.knobs = knobs;
	proposal.rationale = answer->rationale;
	proposal.evidence = answer->evidence;
	proposal.expected_change = answer->change;
	proposal.uncertainty = answer->u;
	proposal.decide_us = took_us > UINT32_MAX ? UINT32_MAX : (uint32_t)took_us;
	return send(ctx, &proposal);
}

static void await(struct advisor *advisor, uint64_t goal)
{
	size_t i = advisor->next_pending++ % ADVISOR_PENDING;

	advisor->pending[i].mark =
		reason_mark(&advisor->lexicon, advisor->answer.move, advisor->answer.n_moves);
	advisor->pending[i].goal = goal;
	advisor->pending[i].raw = advisor->answer.raw;
	advisor->asked = advisor->question;
}

/* The answer as a sentence for the log. */
static void tell(const struct advisor *advisor, uint64_t number, uint64_t took_us)
{
	const struct reason_answer *answer = &advisor->answer;
	char moves[400] = "nothing";
	size_t used = 0;

	for (size_t m = 0; m < answer->n_moves && used < sizeof(moves); m++)
		used += (size_t)snprintf(moves + used, sizeof(moves) - used,
			"%s%.120s %.40s -> %.40s", m ? ", " : "",
			advisor->lexicon.knob[answer->move[m].knob]->name, answer->move[m].from,
			answer->move[m].to);
	log_info("Question %llu (%zu knobs, %zu traces), in %llu us: %s, because %.400s",
		(unsigned long long)number, advisor->question.n_knobs, advisor->n_facts,
		(unsigned long long)took_us, moves, answer->rationale);
}

bool advisor_question(struct advisor *advisor, const Semantos__V1__Question *question,
	advisor_send *send, void *ctx)
{
	char objective[KB_TEXT_MAX];
	size_t refused;
	int taken = 1;

	if (!hear_text(advisor, question->objective, objective, sizeof(objective))) {
		log_warn("Question %llu has no objective, or one longer than %zu bytes; it stays "
			 "unanswered.",
			(unsigned long long)question->number, sizeof(objective) - 1);
		return false;
	}
	if (hear_question(advisor, question) ||
		load_facts(advisor, objective, question->lower_is_better)) {
		log_error("No memory is left for question %llu; it stays unanswered.",
			(unsigned long long)question->number);
		return false;
	}
	load_edges(advisor);
	if (advisor->refused_goal != question->goal)
		advisor->n_refused = 0;
	advisor->refused_goal = question->goal;
	refused = advisor->n_refused;
	for (int tries = 0; taken > 0 && tries < ADVISOR_TRIES; tries++) {
		struct reason_memory memory = memory_of(advisor);
		uint64_t begun = now_us(), took;

		if (reason_choose(
			    &advisor->lexicon, &memory, &advisor->question, &advisor->answer)) {
			log_error("No memory is left for question %llu; it stays unanswered.",
				(unsigned long long)question->number);
			return false;
		}
		/* nothing that is known is of this load: nor is what its uncertainty was held against */
		if (advisor->n_outcomes && advisor->n_facts &&
			advisor->answer.n_other == advisor->n_facts) {
			advisor->n_outcomes = 0;
			harm_fit(&advisor->harm, NULL, 0);
			continue;
		}
		took = now_us() - begun;
		taken = send_answer(advisor, question->number, took, send, ctx);
		if (taken > 0 && advisor->answer.n_moves && advisor->n_refused < ADVISOR_REFUSED)
			advisor->refused[advisor->n_refused++] = reason_mark(
				&advisor->lexicon, advisor->answer.move, advisor->answer.n_moves);
		if (taken == 0)
			tell(advisor, question->number, took);
	}
	if (taken != 0) {
		advisor->n_refused = refused; /* the question was at fault, not what was proposed */
		return false;
	}
	if (advisor->answer.n_moves)
		await(advisor, question->goal);
	return true;
}
