// SPDX-License-Identifier: Apache-2.0
/*
 * choose.c - every move that may be tried, weighed; the best is the answer.
 */
#include "agent/advisor/reason/choose.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define MARGIN 0.002 /* a gain below this is no improvement */
#define CHANCE_LEAST 0.05 /* of a gain beyond half a per cent, for it to be worth a trial */
#define CHANCE_GAIN 0.005
#define OFF_DEFAULT 0.05 /* of the line */
#define BEYOND 2.0 /* the whole line beyond the default counts a third */
#define PAIR_LEVELS 2 /* best ones of each knob that are tried together */
#define SYNERGY_LEAST 0.2 /* weight below which a synergy is not followed any more */
/* The gain of n moves counts as that over n to this power: what helped is harder to tell. */
#define MANY 0.75

static const double risk_factor[] = {
	[KNOB_RISK_LOW] = 1, [KNOB_RISK_MEDIUM] = 0.8, [KNOB_RISK_HIGH] = 0.5
};
/* How far beyond the stretch from here to the default one step may go, of the whole range. */
static const double risk_reach[] = {
	[KNOB_RISK_LOW] = 0.35, [KNOB_RISK_MEDIUM] = 0.25, [KNOB_RISK_HIGH] = 0.15
};

static double normal_below(double z)
{
	return 0.5 * erfc(-z * M_SQRT1_2);
}

static double improvement(double mean, double deviation)
{
	double z;

	if (deviation <= 0)
		return fmax(0, mean - MARGIN);
	z = (mean - MARGIN) / deviation;
	return deviation * (z * normal_below(z) + exp(-z * z / 2) / sqrt(2 * M_PI));
}

uint64_t reason_mark(const struct lexicon *lexicon, const struct fact_move *move, size_t n_moves)
{
	uint64_t mark = 0;

	for (size_t m = 0; m < n_moves; m++) {
		const char *text[2] = { lexicon->knob[move[m].knob]->name, move[m].to };
		uint64_t hash = 14695981039346656037u; /* FNV-1a */

		for (size_t t = 0; t < 2; t++) {
			for (const char *p = text[t]; *p; p++)
				hash = (hash ^ (unsigned char)*p) * 1099511628211u;
			hash = (hash ^ '=') * 1099511628211u;
		}
		mark += hash; /* in any order */
	}
	return mark;
}

/*
 * Of a value that is off its default, what lies beyond the default counts for less: both ends are as unknown, and one of them
 * many have found good.
 */
static double beyond(const struct axis *axis, const struct fact_move *move)
{
	double way = axis->standard - move->place_from, past = move->place_to - axis->standard;

	if (axis->words || isnan(axis->standard) || fabs(way) < OFF_DEFAULT || way * past <= 0)
		return 1;
	return 1 / (1 + BEYOND * fabs(past));
}

/* Weigh it; the best so far is kept. */
static void consider(struct choice *choice, struct candidate *candidate)
{
	double variance, factor = 1;

	if (choice->question->moves_at_most && candidate->n_moves > choice->question->moves_at_most)
		return;
	response_expect(
		choice->response, candidate->move, candidate->n_moves, &candidate->mean, &variance);
	candidate->deviation = sqrt(fmax(0, variance));
	candidate->improvement = improvement(candidate->mean, candidate->deviation);
	candidate->raw =
		normal_below((-FACT_HARM - candidate->mean) / fmax(1e-6, candidate->deviation));
	candidate->raw = fmax(candidate->raw, never_hazard(choice, candidate));
	candidate->u = harm_at(choice->memory->harm, candidate->raw);
	for (size_t m = 0; m < candidate->n_moves; m++) {
		const struct axis *axis = &choice->lexicon->knob[candidate->move[m].knob]->axis;

		if (!choice->memory->without.tables)
			factor = fmin(factor,
				risk_factor[axis->desc->risk] * beyond(axis, &candidate->move[m]));
	}
	if (candidate->synergy)
		factor *= 0.5 + coupling_weight(candidate->synergy, choice->memory->now_s);
	candidate->score = factor * candidate->improvement * (1 - candidate->u) *
			   (1 - candidate->u) / pow(candidate->n_moves, MANY);
	choice->considered++;
	if (candidate->u >= choice->ceiling) {
		choice->too_uncertain++;
		return;
	}
	if (candidate->score <= choice->best.score)
		return;
	if (never_again(choice, candidate))
		choice->barred++;
	else
		choice->best = *candidate;
}

static void move_to(const struct choice *choice, struct candidate *candidate, uint32_t knob,
	const char *to, double place)
{
	struct fact_move *move = &candidate->move[candidate->n_moves++];

	move->knob = knob;
	snprintf(move->from, sizeof(move->from), "%s", choice->now.value[knob]);
	snprintf(move->to, sizeof(move->to), "%s", to);
	move->place_from = choice->now.place[knob];
	move->place_to = place;
}

static bool offered(const struct choice *choice, uint32_t knob)
{
	return choice->now.value[knob] && !isnan(choice->now.place[knob]);
}

/* Take along what the last knob depends on, where that is not as it must be; false: it cannot be. */
static bool take_along(const struct choice *choice, struct candidate *candidate)
{
	struct axis_level level[AXIS_LEVELS_MAX];
	const struct coupling *lacks = NULL;

	for (size_t guard = 0; guard < 2; guard++) {
		const struct axis *axis;
		size_t n, i = 0;

		for (size_t m = 0; m < candidate->n_moves; m++) {
			if (!response_depends_met(choice->lexicon, &choice->now,
				    candidate->move[m].knob, candidate->move, candidate->n_moves,
				    &lacks))
				break;
			if (m + 1 == candidate->n_moves)
				return true;
		}
		if (!lacks || lacks->link != KNOB_DEPENDS_ON || !offered(choice, lacks->to) ||
			candidate->n_moves == FACT_MOVES_MAX)
			return false;
		for (size_t m = 0; m < candidate->n_moves; m++) {
			if (candidate->move[m].knob == lacks->to ||
				lexicon_conflict(
					choice->lexicon, candidate->move[m].knob, lacks->to))
				return false;
		}
		axis = &choice->lexicon->knob[lacks->to]->axis;
		n = axis_levels(axis, choice->now.value[lacks->to], 1, level);
		while (i < n && !axis_meets(level[i].value, lacks->when))
			i++;
		if (i == n)
			return false;
		move_to(choice, candidate, lacks->to, level[i].value, level[i].place);
		candidate->need = lacks;
	}
	return false;
}

/* The best levels of a knob by itself, for pairs. */
struct shortlist {
	size_t n;
	struct {
		double place, score;
		char value[AXIS_VALUE_MAX];
	} level[PAIR_LEVELS];
};

static void shortlist_add(struct shortlist *list, const struct axis_level *level, double score)
{
	size_t at = list->n;

	while (at > 0 && list->level[at - 1].score < score)
		at--;
	if (at == PAIR_LEVELS)
		return;
	if (list->n < PAIR_LEVELS)
		list->n++;
	for (size_t i = list->n - 1; i > at; i--)
		list->level[i] = list->level[i - 1];
	list->level[at].place = level->place;
	list->level[at].score = score;
	strcpy(list->level[at].value, level->value);
}

static void try_one(struct choice *choice, uint32_t knob, struct shortlist *list)
{
	const struct axis *axis = &choice->lexicon->knob[knob]->axis;
	double reach = choice->memory->without.tables ? 1 : risk_reach[axis->desc->risk];
	struct axis_level level[AXIS_LEVELS_MAX];
	size_t n = axis_levels(axis, choice->now.value[knob], reach, level);

	for (size_t i = 0; i < n; i++) {
		struct candidate candidate = { .n_moves = 0 };

		move_to(choice, &candidate, knob, level[i].value, level[i].place);
		if (!choice->memory->without.edges && !take_along(choice, &candidate))
			continue;
		consider(choice, &candidate);
		/* what two do together may be more than the sum: nothing is ruled out by what one does alone */
		shortlist_add(list, &level[i], candidate.mean + candidate.deviation);
	}
}

static void try_two(struct choice *choice, const struct coupling *synergy, const char *from,
	double place_from, const char *to, double place_to)
{
	struct candidate candidate = { .synergy = synergy };

	move_to(choice, &candidate, synergy->from, from, place_from);
	move_to(choice, &candidate, synergy->to, to, place_to);
	if (take_along(choice, &candidate))
		consider(choice, &candidate);
}

/* The value that lies so far from here; false: there is none, or it is no other than now. */
static bool stepped(
	const struct choice *choice, uint32_t knob, double step, struct axis_level *level)
{
	const struct axis *axis = &choice->lexicon->knob[knob]->axis;
	double place = choice->now.place[knob] + step;
	const char *now = choice->now.value[knob];

	if (axis->words || place < 0 || place > 1 ||
		!axis_value(axis, place, now, level->value, sizeof(level->value)) ||
		strcmp(level->value, now) == 0)
		return false;
	level->place = axis_place(axis, level->value);
	return true;
}

/* Both the same way, as far; and what is best for each. */
static void try_pair(struct choice *choice, const struct coupling *synergy,
	const struct shortlist *from, const struct shortlist *to)
{
	static const double step[] = { -0.25, -0.12, 0.12, 0.25 };
	struct axis_level a, b;

	for (size_t i = 0; i < sizeof(step) / sizeof(step[0]); i++) {
		if (stepped(choice, synergy->from, step[i], &a) &&
			stepped(choice, synergy->to, step[i], &b))
			try_two(choice, synergy, a.value, a.place, b.value, b.place);
	}
	for (size_t i = 0; i < from->n; i++) {
		for (size_t j = 0; j < to->n; j++)
			try_two(choice, synergy, from->level[i].value, from->level[i].place,
				to->level[j].value, to->level[j].place);
	}
}

static int try_all(struct choice *choice)
{
	const struct reason_question *question = choice->question;
	const struct lexicon *lexicon = choice->lexicon;
	struct shortlist *list = calloc(lexicon->n_knobs + 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < question->n_knobs; i++) {
		uint32_t knob = question->knob[i].knob;

		choice->offered++;
		if (!offered(choice, knob) || list[knob].n)
			continue;
		choice->usable++;
		try_one(choice, knob, &list[knob]);
	}
	for (size_t c = 0; !choice->memory->without.edges && c < lexicon->n_couplings; c++) {
		const struct coupling *edge = &lexicon->coupling[c];

		if (edge->link == KNOB_SYNERGIZES_WITH && list[edge->from].n && list[edge->to].n &&
			coupling_weight(edge, choice->memory->now_s) >= SYNERGY_LEAST &&
			!lexicon_conflict(lexicon, edge->from, edge->to))
			try_pair(choice, edge, &list[edge->from], &list[edge->to]);
	}
	free(list);
	return 0;
}

static int situation_of(struct situation *now, const struct lexicon *lexicon,
	const struct reason_question *question)
{
	now->n = lexicon->n_knobs;
	now->value = calloc(now->n + 1, sizeof(*now->value));
	now->place = malloc((now->n + 1) * sizeof(*now->place));
	now->metric = question->metric;
	now->n_metrics = question->n_metrics;
	if (!now->value || !now->place)
		return -ENOMEM;
	for (size_t k = 0; k < now->n; k++)
		now->place[k] = NAN;
	for (size_t i = 0; i < question->n_knobs; i++) {
		const struct reason_knob *knob = &question->knob[i];

		if (!knob->value[0])
			continue;
		now->value[knob->knob] = knob->value;
		now->place[knob->knob] = axis_place(&lexicon->knob[knob->knob]->axis, knob->value);
	}
	return 0;
}

static void situation_free(struct situation *now)
{
	free(now->value);
	free(now->place);
}

/* Is the best worth a trial of the machine's time? */
static bool worth(const struct candidate *best)
{
	if (!best->n_moves || best->improvement < REASON_WORTH)
		return false;
	return normal_below((best->mean - CHANCE_GAIN) / fmax(1e-6, best->deviation)) >=
	       CHANCE_LEAST;
}

int reason_choose(const struct lexicon *lexicon, const struct reason_memory *memory,
	const struct reason_question *question, struct reason_answer *answer)
{
	struct choice choice = { .lexicon = lexicon, .memory = memory, .question = question };
	int ret = situation_of(&choice.now, lexicon, question);

	memset(answer, 0, sizeof(*answer));
	if (!ret && question->leveled) {
		choice.other = calloc(memory->n_facts + 1, sizeof(*choice.other));
		ret = choice.other ? 0 : -ENOMEM;
	}
	if (ret)
		goto out;
	if (choice.other)
		choice.n_other = load_mark_other(
			memory->fact, memory->n_facts, question->level, choice.other);
	choice.now.other = choice.other;
	ret = never_init(&choice);
	if (ret)
		goto out;
	choice.response = response_fit(lexicon, memory->fact, memory->n_facts, &choice.now,
		memory->now_s, &memory->without);
	ret = choice.response ? try_all(&choice) : -ENOMEM;
	if (ret)
		goto out;
	answer->considered = choice.considered;
	answer->n_other = choice.n_other;
	if (question->trials_left == 0 || !worth(&choice.best)) {
		words_of_nothing(&choice, answer);
		goto out;
	}
	answer->n_moves = choice.best.n_moves;
	memcpy(answer->move, choice.best.move, sizeof(answer->move));
	answer->gain = choice.best.mean;
	answer->deviation = choice.best.deviation;
	answer->change = fact_change(choice.best.mean, question->lower_is_better);
	answer->raw = choice.best.raw;
	answer->u = choice.best.u;
	words_of_proposal(&choice, answer);
out:
	response_free(choice.response);
	never_free(&choice);
	free(choice.other);
	situation_free(&choice.now);
	return ret;
}

void reason_learn(struct lexicon *lexicon, const struct reason_memory *memory,
	const struct reason_question *before, const struct fact *fact)
{
	struct situation now = { .n = 0 };
	struct response *response = NULL;

	if (!fact->measured || !fact_tried(fact) || fact->n_moves < 2)
		return;
	if (!situation_of(&now, lexicon, before))
		response = response_fit(
			lexicon, memory->fact, memory->n_facts, &now, memory->now_s, NULL);
	for (size_t a = 0; response && a < fact->n_moves; a++) {
		for (size_t b = 0; b < fact->n_moves; b++) {
			struct coupling *edge =
				a == b ? NULL
				       : lexicon_coupling(lexicon, fact->move[a].knob,
						 fact->move[b].knob, KNOB_SYNERGIZES_WITH);
			double alone[2], variance[2], beyond, error;

			if (!edge)
				continue;
			response_expect(response, &fact->move[a], 1, &alone[0], &variance[0]);
			response_expect(response, &fact->move[b], 1, &alone[1], &variance[1]);
			beyond = fact->gain - alone[0] - alone[1];
			error = sqrt(fact->error * fact->error + variance[0] + variance[1]);
			/* how likely the two did more together than apart */
			coupling_learn(edge, normal_below(beyond / error), memory->now_s);
		}
	}
	response_free(response);
	situation_free(&now);
}
