// SPDX-License-Identifier: Apache-2.0
/*
 * never.c - what is not to be tried again, and what comes near to it.
 */
#include <errno.h>
#include <stdlib.h>
#include "agent/advisor/reason/choose.h"

#define HAZARD 0.9 /* probability of harm of what was unsafe before, under the same load */
#define SURER \
	0.8 /* what was vetoed comes again when its uncertainty fell to so much of what it was */

static uint32_t lowest(const struct fact_move *move, size_t n)
{
	uint32_t knob = move[0].knob;

	for (size_t m = 1; m < n; m++) {
		if (move[m].knob < knob)
			knob = move[m].knob;
	}
	return knob;
}

/* The limit moves with what comes of trials: only vetoes since the last of them tell where it is. */
static double ceiling_of(const struct choice *choice)
{
	const struct reason_memory *memory = choice->memory;
	double ceiling = 2;

	for (size_t f = 0; f < memory->n_facts && !fact_tried(&memory->fact[f]); f++) {
		const struct fact *fact = &memory->fact[f];

		if (fact->verdict == FACT_VETOED && fact->goal == choice->question->goal &&
			fact->told < ceiling)
			ceiling = fact->told;
	}
	return ceiling;
}

int never_init(struct choice *choice)
{
	const struct reason_memory *memory = choice->memory;

	choice->ceiling = ceiling_of(choice);
	choice->first = calloc(choice->lexicon->n_knobs + 1, sizeof(*choice->first));
	choice->next = calloc(memory->n_facts + 1, sizeof(*choice->next));
	choice->unsafe = calloc(memory->n_facts + 1, sizeof(const struct fact *));
	choice->unsafe_like = calloc(memory->n_facts + 1, sizeof(*choice->unsafe_like));
	choice->unsafe_knob = calloc(choice->lexicon->n_knobs + 1, sizeof(*choice->unsafe_knob));
	if (!choice->first || !choice->next || !choice->unsafe || !choice->unsafe_like ||
		!choice->unsafe_knob)
		return -ENOMEM;
	for (size_t f = 0; f < memory->n_facts; f++) {
		const struct fact *fact = &memory->fact[f];
		uint32_t knob;

		if (!fact->n_moves)
			continue;
		/* that it brought nothing under another load says nothing of this one */
		if (choice->other && choice->other[f] && !fact->unsafe && fact_tried(fact) &&
			fact->verdict != FACT_BREACH)
			continue;
		knob = lowest(fact->move, fact->n_moves);
		choice->next[f] = choice->first[knob];
		choice->first[knob] = (uint32_t)f + 1;
		if (!fact->unsafe && fact->verdict != FACT_BREACH)
			continue;
		choice->unsafe_like[choice->n_unsafe] = response_likeness(&choice->now, fact);
		choice->unsafe[choice->n_unsafe++] = fact;
		for (size_t m = 0; m < fact->n_moves; m++)
			choice->unsafe_knob[fact->move[m].knob] = true;
	}
	return 0;
}

void never_free(struct choice *choice)
{
	free(choice->first);
	free(choice->next);
	free(choice->unsafe);
	free(choice->unsafe_like);
	free(choice->unsafe_knob);
}

static const struct fact_move *move_of(const struct fact_move *move, size_t n, uint32_t knob)
{
	for (size_t m = 0; m < n; m++) {
		if (move[m].knob == knob)
			return &move[m];
	}
	return NULL;
}

/* "060" is 60. */
static bool same_value(const struct choice *choice, uint32_t knob, const char *a, const char *b)
{
	const struct axis *axis = &choice->lexicon->knob[knob]->axis;

	if (strcmp(a, b) == 0)
		return true;
	return axis->usable && axis->desc->def.type == KNOB_INT &&
	       axis_place(axis, a) == axis_place(axis, b);
}

/* Do what it is coupled with and what it was moved from stand as they stood? */
static bool same_state(const struct choice *choice, const struct fact *fact)
{
	for (size_t m = 0; m < fact->n_moves; m++) {
		const char *now = choice->now.value[fact->move[m].knob];

		if (now && !same_value(choice, fact->move[m].knob, now, fact->move[m].from))
			return false;
	}
	for (size_t b = 0; b < fact->n_beside; b++) {
		const char *now = choice->now.value[fact->beside[b].knob];

		if (now && !same_value(choice, fact->beside[b].knob, now, fact->beside[b].value))
			return false;
	}
	return true;
}

static bool bars(
	const struct choice *choice, const struct candidate *candidate, const struct fact *fact)
{
	if (fact->n_moves != candidate->n_moves)
		return false;
	for (size_t m = 0; m < fact->n_moves; m++) {
		const struct fact_move *mine =
			move_of(candidate->move, candidate->n_moves, fact->move[m].knob);

		if (!mine || !same_value(choice, mine->knob, mine->to, fact->move[m].to))
			return false;
	}
	switch (fact->verdict) {
	case FACT_NO_EFFECT:
	case FACT_WORSE:
		return fact->unsafe || same_state(choice, fact);
	case FACT_BREACH:
	case FACT_REJECTED:
		return true;
	case FACT_VETOED:
		return candidate->u >= SURER * fact->told;
	default:
		return fact->unsafe;
	}
}

bool never_again(const struct choice *choice, const struct candidate *candidate)
{
	const struct reason_memory *memory = choice->memory;
	uint64_t mark;

	for (uint32_t f = choice->first[lowest(candidate->move, candidate->n_moves)]; f;
		f = choice->next[f - 1]) {
		if (bars(choice, candidate, &memory->fact[f - 1]))
			return true;
	}
	if (!memory->n_refused)
		return false;
	mark = reason_mark(choice->lexicon, candidate->move, candidate->n_moves);
	for (size_t i = 0; i < memory->n_refused; i++) {
		if (memory->refused[i] == mark)
			return true;
	}
	return false;
}

/* Does this move go at least half as far the same way, or end at the same word? */
static bool follows(
	const struct choice *choice, const struct fact_move *mine, const struct fact_move *bad)
{
	double way = bad->place_to - bad->place_from;

	if (choice->lexicon->knob[bad->knob]->axis.words || way == 0 || isnan(way))
		return strcmp(mine->to, bad->to) == 0;
	return (mine->place_to - bad->place_from) / way > 0.5 &&
	       (mine->place_to - mine->place_from) / way > 0;
}

double never_hazard(const struct choice *choice, const struct candidate *candidate)
{
	double hazard = 0;
	bool any = false;

	for (size_t m = 0; m < candidate->n_moves; m++)
		any |= choice->unsafe_knob[candidate->move[m].knob];
	if (!any)
		return 0;
	for (size_t i = 0; i < choice->n_unsafe; i++) {
		const struct fact *fact = choice->unsafe[i];
		size_t shared = 0;

		for (size_t m = 0; m < fact->n_moves; m++) {
			const struct fact_move *mine =
				move_of(candidate->move, candidate->n_moves, fact->move[m].knob);

			shared += mine && follows(choice, mine, &fact->move[m]);
		}
		if (shared)
			hazard = fmax(hazard,
				HAZARD * (double)shared / fact->n_moves * choice->unsafe_like[i]);
	}
	return hazard;
}
