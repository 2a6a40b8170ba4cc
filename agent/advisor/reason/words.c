// SPDX-License-Identifier: Apache-2.0
/*
 * words.c - why this is proposed, from the evidence: the tables, the trials and the couplings it rests on.
 */
#include <stdarg.h>
#include <stdio.h>
#include "agent/advisor/reason/choose.h"

#define TRIALS_TOLD 3

static __attribute__((format(printf, 2, 3))) void say(
	char text[REASON_TEXT_MAX], const char *fmt, ...)
{
	size_t used = strlen(text);
	va_list args;

	va_start(args, fmt);
	vsnprintf(text + used, REASON_TEXT_MAX - used, fmt, args);
	va_end(args);
}

/* One more thing it rests on. */
static __attribute__((format(printf, 2, 3))) void cite(
	struct reason_answer *answer, const char *fmt, ...)
{
	size_t used = strlen(answer->evidence);
	va_list args;

	if (used > 0 && used + 2 < sizeof(answer->evidence)) {
		memcpy(answer->evidence + used, "; ", 3);
		used += 2;
	}
	va_start(args, fmt);
	vsnprintf(answer->evidence + used, sizeof(answer->evidence) - used, fmt, args);
	va_end(args);
}

static const char *name_of(const struct choice *choice, uint32_t knob)
{
	return choice->lexicon->knob[knob]->name;
}

/* "12.1 % better" */
static void say_gain(char text[REASON_TEXT_MAX], double gain)
{
	double percent = 100 * expm1(fabs(gain));

	if (percent < 0.05)
		say(text, "no change");
	else
		say(text, "%.*f %% %s", percent < 10 ? 1 : 0, percent,
			gain > 0 ? "better" : "worse");
}

static void say_standing(
	const struct choice *choice, const struct fact_move *move, struct reason_answer *answer)
{
	const struct axis *axis = &choice->lexicon->knob[move->knob]->axis;
	const char *unit = axis->desc->unit ? axis->desc->unit : "", *gap = unit[0] ? " " : "";
	double off = fabs(move->place_from - axis->standard);

	say(answer->rationale, "%s stands at %s%s%s", name_of(choice, move->knob), move->from, gap,
		unit);
	if (isnan(axis->standard) || choice->memory->without.tables) {
		say(answer->rationale, ".");
	} else if (off < 1e-9) {
		say(answer->rationale, ", its default.");
	} else {
		say(answer->rationale, "; the default of Linux %s is %s%s%s.",
			knob_kernels[choice->lexicon->kernel],
			axis->standard_varies ? "about " : "", axis->standard_text,
			!axis->words && off > 0.15 ? ", and a value so far from it is suspect"
						   : "");
		cite(answer, "default of %s: %s", name_of(choice, move->knob), axis->standard_text);
	}
}

/* The trials that moved this knob, the ones under the likest load first. */
static void say_trials(const struct choice *choice, uint32_t knob, struct reason_answer *answer)
{
	const struct reason_memory *memory = choice->memory;
	const struct fact *told[TRIALS_TOLD] = { NULL };
	double like[TRIALS_TOLD] = { 0 };
	size_t n = 0, of = 0;

	for (size_t f = 0; !memory->without.traces && f < memory->n_facts; f++) {
		const struct fact *fact = &memory->fact[f];
		double mine;
		size_t at;

		if (!fact->measured || !fact_tried(fact) || (choice->other && choice->other[f]))
			continue;
		for (at = 0; at < fact->n_moves && fact->move[at].knob != knob; at++)
			;
		if (at == fact->n_moves)
			continue;
		of++;
		mine = response_likeness(&choice->now, fact);
		for (at = n; at > 0 && like[at - 1] < mine; at--)
			;
		if (at == TRIALS_TOLD)
			continue;
		if (n < TRIALS_TOLD)
			n++;
		for (size_t i = n - 1; i > at; i--) {
			told[i] = told[i - 1];
			like[i] = like[i - 1];
		}
		told[at] = fact;
		like[at] = mine;
	}
	if (!of)
		return;
	say(answer->rationale, " %zu %s moved it before", of, of == 1 ? "trial" : "trials");
	for (size_t i = 0; i < n; i++) {
		const struct fact_move *move = told[i]->move;

		while (move->knob != knob)
			move++;
		say(answer->rationale, "%s trace %llu: %s -> %s%s, ", i ? ";" : ":",
			(unsigned long long)told[i]->id, move->from, move->to,
			told[i]->n_moves > 1 ? " with others" : "");
		say_gain(answer->rationale, told[i]->gain);
		cite(answer, "trace %llu", (unsigned long long)told[i]->id);
	}
	say(answer->rationale, ".");
}

static void say_coupling(
	const struct choice *choice, const struct coupling *edge, struct reason_answer *answer)
{
	double weight = coupling_weight(edge, choice->memory->now_s);

	if (edge->link == KNOB_DEPENDS_ON)
		say(answer->rationale, " %s does its work only while %s%s%s, so both are moved.",
			name_of(choice, edge->from), name_of(choice, edge->to),
			edge->when[0] == '!' ? " is not " : " is ",
			edge->when + (edge->when[0] == '!' ? 2 : edge->when[0] == '='));
	else
		say(answer->rationale,
			" %s and %s work together by the tables; after %u trials that counts %.2f "
			"of 1.",
			name_of(choice, edge->from), name_of(choice, edge->to), edge->seen, weight);
	cite(answer, "edge %s %s %s (%.2f)", name_of(choice, edge->from),
		knob_link_names[edge->link], name_of(choice, edge->to), weight);
}

/* That the past is left out is said. */
static void say_other(const struct choice *choice, struct reason_answer *answer)
{
	if (choice->n_other)
		say(answer->rationale,
			" The objective is further from what %zu of %zu trials saw than settings "
			"make it, so they "
			"are taken for those of another load and count for nothing.",
			choice->n_other, choice->memory->n_facts);
}

void words_of_proposal(const struct choice *choice, struct reason_answer *answer)
{
	const struct candidate *best = &choice->best;
	double ends[2] = { best->mean - 1.96 * best->deviation,
		best->mean + 1.96 * best->deviation };

	for (size_t m = 0; m < best->n_moves; m++) {
		const struct fact_move *move = &best->move[m];

		say(answer->rationale, "%s", m ? " " : "");
		say_standing(choice, move, answer);
		say_trials(choice, move->knob, answer);
	}
	if (best->need)
		say_coupling(choice, best->need, answer);
	if (best->synergy)
		say_coupling(choice, best->synergy, answer);
	say_other(choice, answer);
	say(answer->rationale, " Expected: ");
	say_gain(answer->rationale, best->mean);
	say(answer->rationale, " (between ");
	say_gain(answer->rationale, ends[0]);
	say(answer->rationale, " and ");
	say_gain(answer->rationale, ends[1]);
	say(answer->rationale, "). Probability of harm %.2f", best->u);
	if (choice->memory->harm->outcomes)
		say(answer->rationale, ", as %zu earlier proposals bear out.",
			choice->memory->harm->outcomes);
	else
		say(answer->rationale,
			", by the model alone: there are no outcomes to hold it against.");
	if (!answer->evidence[0])
		cite(answer, "nothing was tried of it yet; %zu moves were weighed",
			choice->considered);
}

void words_of_nothing(const struct choice *choice, struct reason_answer *answer)
{
	const struct candidate *best = &choice->best;

	if (!choice->offered)
		say(answer->rationale, "No knob is offered, so there is nothing to try.");
	else if (!choice->usable)
		say(answer->rationale,
			"None of the %zu knobs offered has a value that can be laid on a scale, so "
			"there is "
			"nothing to try.",
			choice->offered);
	else if (choice->question->trials_left == 0)
		say(answer->rationale, "No trial is left.");
	else if (!best->n_moves && choice->too_uncertain)
		say(answer->rationale,
			"Of %zu moves %zu are as uncertain as what was vetoed (%.2f) or more, and "
			"the "
			"others are barred by what came of them.",
			choice->considered, choice->too_uncertain, choice->ceiling);
	else if (!best->n_moves)
		say(answer->rationale,
			"Every move of the %zu knobs that can be moved was tried, or is barred by "
			"what came "
			"of it.",
			choice->usable);
	else {
		say(answer->rationale,
			"Of %zu moves of %zu knobs the best is %s: %s -> %s, expected to be ",
			choice->considered, choice->usable, name_of(choice, best->move[0].knob),
			best->move[0].from, best->move[0].to);
		say_gain(answer->rationale, best->mean);
		say(answer->rationale,
			"; on average it would bring %.2f %%, which is not worth a trial.",
			100 * best->improvement);
	}
	say_other(choice, answer);
}
