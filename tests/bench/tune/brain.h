/* SPDX-License-Identifier: Apache-2.0 */
/*
 * brain.h - the advisor's fast path (agent/advisor/reason) and the agent's limit on uncertainty, over a recorded grid.
 *
 * The advisor chooses among its own candidates as ever; what is not on the grid is refused, as the agent refuses a value
 * that the machine does not have, and the next best is heard. Of telemetry it gets what was recorded at the
 * machine's own settings (surface_metric). One goal after another may share it, whatever the load.
 */
#ifndef SEMANTOS_BENCH_TUNE_BRAIN_H
#define SEMANTOS_BENCH_TUNE_BRAIN_H

#include "agent/advisor/reason/reason.h"
#include "agent/safety/drift.h"
#include "agent/safety/threshold.h"
#include "tests/bench/tune/surface.h"

#define BRAIN_FACTS 256
#define BRAIN_REFUSED 512
#define BRAIN_CEILING 0.5 /* the agent's TUNE_CEILING */

struct brain {
	struct lexicon lexicon;
	uint32_t knob[SURFACE_KNOBS];
	struct fact fact[BRAIN_FACTS]; /* newest first */
	size_t n_facts;
	struct harm_outcome outcome[HARM_OUTCOMES_MAX];
	size_t n_outcomes;
	struct harm harm;
	uint64_t refused[BRAIN_REFUSED];
	size_t n_refused;
	struct response_without without;
	struct threshold threshold;
	struct drift drift;
	struct reason_question question;
	struct reason_answer answer;
	uint64_t trials, goal;
};

/* release: of the kernel that was recorded. */
static inline void brain_open(struct brain *brain, const struct surface_plan *plan,
	const char *release, const struct response_without *without)
{
	memset(brain, 0, sizeof(*brain));
	if (lexicon_init(&brain->lexicon, release))
		abort();
	for (size_t k = 0; k < plan->n_knobs; k++) {
		int knob = lexicon_knob(&brain->lexicon, plan->knob[k].name);

		if (knob < 0)
			abort();
		brain->knob[k] = (uint32_t)knob;
	}
	brain->without = *without;
	harm_fit(&brain->harm, NULL, 0);
	threshold_reset(&brain->threshold, THRESHOLD_ALPHA, BRAIN_CEILING);
	drift_reset(&brain->drift, DRIFT_DELTA);
}

/* The load from here on, as telemetry would tell it. */
static inline void brain_load(struct brain *brain, const struct surface *s)
{
	brain->question.n_metrics = 0;
	for (size_t m = 0; m < SURFACE_METRICS; m++) {
		int index = lexicon_metric(&brain->lexicon, surface_metric[m].name);
		struct fact_metric *metric = &brain->question.metric[brain->question.n_metrics];

		if (index < 0 || isnan(s->metric[m]))
			continue;
		/* named in this order each time, so they ascend */
		metric->metric = (uint16_t)index;
		metric->level = fact_level(s->metric[m], surface_metric[m].unit);
		brain->question.n_metrics++;
	}
}

static inline void brain_close(struct brain *brain)
{
	lexicon_free(&brain->lexicon);
}

static inline struct reason_memory brain_memory(const struct brain *brain)
{
	return (struct reason_memory){ .fact = brain->fact,
		.n_facts = brain->n_facts,
		.harm = &brain->harm,
		.refused = brain->refused,
		.n_refused = brain->n_refused,
		.now_s = 1000000 + brain->trials * 60,
		.without = brain->without };
}

/* The configuration that these moves lead to; SURFACE_ALL: it is not on the grid. */
static inline size_t brain_target(
	const struct brain *brain, const struct surface_plan *plan, size_t here)
{
	size_t level[SURFACE_KNOBS];

	for (size_t k = 0; k < plan->n_knobs; k++)
		level[k] = surface_level(plan, here, k);
	for (size_t m = 0; m < brain->answer.n_moves; m++) {
		const struct fact_move *move = &brain->answer.move[m];
		size_t k = 0, l = 0;

		while (k < plan->n_knobs && brain->knob[k] != move->knob)
			k++;
		if (k == plan->n_knobs)
			return SURFACE_ALL;
		while (l < plan->knob[k].n && strcmp(plan->knob[k].value[l], move->to) != 0)
			l++;
		if (l == plan->knob[k].n)
			return SURFACE_ALL;
		level[k] = l;
	}
	return surface_config(plan, level);
}

/* Nothing that is known is of this load: what u and tau rest on is of another, too (advisor.c, tune_memory.c). */
static inline void brain_look_at_load(struct brain *brain, double level)
{
	static bool other[BRAIN_FACTS];

	if (!isfinite(level) || !brain->n_facts ||
		load_mark_other(brain->fact, brain->n_facts, level, other) < brain->n_facts)
		return;
	threshold_forget(&brain->threshold, 0);
	brain->n_outcomes = 0;
	harm_fit(&brain->harm, NULL, 0);
}

/* What it proposes from here, with the answer; SURFACE_ALL: nothing is worth a trial. */
static inline size_t brain_ask(struct brain *brain, const struct surface_plan *plan, size_t here,
	size_t trials_left, double level)
{
	struct reason_question *question = &brain->question;

	question->goal = brain->goal;
	question->lower_is_better = plan->lower_is_better;
	question->trials_left = (uint32_t)trials_left;
	question->leveled = isfinite(level);
	question->level = level;
	brain_look_at_load(brain, level);
	question->n_knobs = plan->n_knobs;
	for (size_t k = 0; k < plan->n_knobs; k++) {
		question->knob[k].knob = brain->knob[k];
		snprintf(question->knob[k].value, sizeof(question->knob[k].value), "%s",
			plan->knob[k].value[surface_level(plan, here, k)]);
	}
	while (brain->n_refused < BRAIN_REFUSED) {
		struct reason_memory memory = brain_memory(brain);
		size_t target;

		if (reason_choose(&brain->lexicon, &memory, question, &brain->answer))
			abort();
		if (!brain->answer.n_moves)
			return SURFACE_ALL;
		target = brain_target(brain, plan, here);
		if (target != SURFACE_ALL && target != here)
			return target;
		brain->refused[brain->n_refused++] =
			reason_mark(&brain->lexicon, brain->answer.move, brain->answer.n_moves);
	}
	return SURFACE_ALL;
}

/* What stood beside the moved knobs and is coupled with them, as the advisor notes it (hear.c). */
static inline void brain_beside(const struct brain *brain, struct fact *fact)
{
	for (size_t c = 0; c < brain->lexicon.n_couplings; c++) {
		const struct coupling *edge = &brain->lexicon.coupling[c];
		uint32_t end[2] = { edge->from, edge->to };

		for (size_t e = 0; e < 2; e++) {
			bool moved[2] = { false, false };

			for (size_t m = 0; m < fact->n_moves; m++) {
				moved[0] |= fact->move[m].knob == end[e];
				moved[1] |= fact->move[m].knob == end[1 - e];
			}
			for (size_t b = 0; b < fact->n_beside; b++)
				moved[1] |= fact->beside[b].knob == end[1 - e];
			for (size_t i = 0; moved[0] && !moved[1] && i < brain->question.n_knobs &&
					   fact->n_beside < FACT_BESIDE_MAX;
				i++) {
				const struct reason_knob *knob = &brain->question.knob[i];
				struct fact_beside *beside = &fact->beside[fact->n_beside];

				if (knob->knob != end[1 - e] ||
					strlen(knob->value) >= FACT_BESIDE_VALUE_MAX)
					continue;
				beside->knob = knob->knob;
				strcpy(beside->value, knob->value);
				fact->n_beside++;
			}
		}
	}
}

/* What came of the last answer; true: drift was seen. Verdict, unsafe, measured, gain and error are set in *came. */
static inline bool brain_learn(struct brain *brain, const struct fact *came)
{
	struct reason_memory memory = brain_memory(brain);
	struct fact fact = *came;
	bool drifted = false;

	fact.id = ++brain->trials;
	fact.goal = brain->goal;
	fact.unix_s = memory.now_s;
	fact.n_moves = brain->answer.n_moves;
	memcpy(fact.move, brain->answer.move, sizeof(fact.move));
	fact.raw = brain->answer.raw;
	fact.told = brain->answer.u;
	fact.n_metrics = (uint32_t)brain->question.n_metrics;
	memcpy(fact.metric, brain->question.metric, sizeof(fact.metric[0]) * fact.n_metrics);
	brain_beside(brain, &fact);
	reason_learn(&brain->lexicon, &memory, &brain->question, &fact);
	if (brain->n_facts < BRAIN_FACTS)
		brain->n_facts++;
	memmove(brain->fact + 1, brain->fact, (brain->n_facts - 1) * sizeof(fact));
	brain->fact[0] = fact;
	if (!fact_tried(&fact))
		return false;
	if (brain->n_outcomes < HARM_OUTCOMES_MAX)
		brain->n_outcomes++;
	memmove(brain->outcome + 1, brain->outcome,
		(brain->n_outcomes - 1) * sizeof(brain->outcome[0]));
	brain->outcome[0] = (struct harm_outcome){ fact.raw, fact_harm(&fact) };
	harm_fit(&brain->harm, brain->outcome, brain->n_outcomes);
	threshold_add(&brain->threshold, fact.told, fact.unsafe);
	if (drift_add(&brain->drift, fabs((double)fact.unsafe - fact.told))) {
		uint64_t width = drift_width(&brain->drift);

		threshold_forget(&brain->threshold,
			width < THRESHOLD_WINDOW ? (uint32_t)width : THRESHOLD_WINDOW);
		drifted = true;
	}
	return drifted;
}

#endif
