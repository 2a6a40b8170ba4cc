// SPDX-License-Identifier: Apache-2.0
/*
 * row.c - moves of knobs as a row of the regression: what each unknown of the curves and products is multiplied by.
 */
#include "agent/advisor/reason/internal.h"

#define PAIR_LEAN 0.04 /* gain of a pair of weight 1 that goes far */
#define PAIR_FAR 0.25 /* of the line */
#define UNMET 0.1 /* what is left of a knob's effect while what it depends on is not so */

static const char *value_after(
	const struct situation *from, uint32_t knob, const struct fact_move *move, size_t n_moves)
{
	for (size_t m = 0; m < n_moves; m++) {
		if (move[m].knob == knob)
			return move[m].to;
	}
	return from->value[knob];
}

bool response_depends_met(const struct lexicon *lexicon, const struct situation *now, uint32_t knob,
	const struct fact_move *move, size_t n_moves, const struct coupling **lacks)
{
	for (uint32_t i = lexicon->knob[knob]->first; i; i = lexicon->coupling[i - 1].next) {
		const struct coupling *c = &lexicon->coupling[i - 1];
		const char *value = value_after(now, c->to, move, n_moves);
		bool met = value && axis_meets(value, c->when);

		if (!value || !c->when[0])
			continue; /* unknown, or any value will do */
		if ((c->link == KNOB_DEPENDS_ON && !met) ||
			(c->link == KNOB_CONFLICTS_WITH && met)) {
			*lacks = c;
			return false;
		}
	}
	return true;
}

static double gate(const struct response *r, const struct situation *from, uint32_t knob,
	const struct fact_move *move, size_t n_moves)
{
	const struct coupling *lacks;

	if (r->without.edges || !r->lexicon->knob[knob]->first)
		return 1;
	return response_depends_met(r->lexicon, from, knob, move, n_moves, &lacks) ? 1 : UNMET;
}

static void add(struct row *row, uint32_t id, double value)
{
	if (value == 0)
		return;
	for (uint32_t i = 0; i < row->n; i++) {
		if (row->id[i] == id) {
			row->value[i] += value;
			return;
		}
	}
	if (row->n == ROW_MAX)
		return;
	row->id[row->n] = id;
	row->value[row->n++] = value;
}

static void add_curve(
	const struct response *r, uint32_t knob, double place, double by, struct row *row)
{
	uint32_t base = r->base[knob], n = r->base[knob + 1] - base;
	double last, now, step;

	if (!n || isnan(place))
		return;
	if (r->lexicon->knob[knob]->axis.words) {
		if (place < n)
			add(row, base + (uint32_t)place, by);
		return;
	}
	/* cos((k + 1) x) = 2 cos(x) cos(k x) - cos((k - 1) x) */
	last = 1;
	now = cos(M_PI * place);
	step = 2 * now;
	for (uint32_t wave = 0; wave < n; wave++) {
		double next = step * now - last;

		add(row, base + wave, by * M_SQRT2 * now);
		last = now;
		now = next;
	}
}

static double place_after(const struct situation *from, uint32_t knob, const struct fact_move *move,
	size_t n_moves, bool *moved)
{
	for (size_t m = 0; m < n_moves; m++) {
		if (move[m].knob == knob) {
			*moved = true;
			return move[m].place_to;
		}
	}
	return from->place[knob];
}

/* Two that go together, moved the same way: expected to bring something, by how far the lesser went. */
static double pair_lean(const struct response *r, const struct coupling *edge, double a, double b)
{
	double lesser = fmin(fabs(a), fabs(b));

	return a * b > 0 ? PAIR_LEAN * coupling_weight(edge, r->now_s) * fmin(1, lesser / PAIR_FAR)
			 : 0;
}

/* Products that one of the moved knobs is part of; each pair once. */
static void add_pairs(const struct response *r, const struct situation *from,
	const struct fact_move *move, size_t n_moves, struct row *row, double *lean)
{
	for (size_t p = 0; p < r->n_pairs; p++) {
		const struct coupling *edge = &r->lexicon->coupling[r->pair[p].coupling];
		bool moved = false;
		double a, b, a0, b0;

		a = place_after(from, edge->from, move, n_moves, &moved);
		b = place_after(from, edge->to, move, n_moves, &moved);
		if (!moved)
			continue;
		a0 = a;
		b0 = b;
		for (size_t m = 0; m < n_moves; m++) {
			if (move[m].knob == edge->from)
				a0 = move[m].place_from;
			if (move[m].knob == edge->to)
				b0 = move[m].place_from;
		}
		if (isnan(a + b + a0 + b0))
			continue;
		*lean += pair_lean(r, edge, a - a0, b - b0);
		add(row, r->pair[p].unknown,
			2 * (cos(M_PI * a) * cos(M_PI * b) - cos(M_PI * a0) * cos(M_PI * b0)));
	}
}

void row_of_moves(const struct response *r, const struct situation *from,
	const struct fact_move *move, size_t n_moves, struct row *row, double *lean)
{
	row->n = 0;
	*lean = 0;
	for (size_t m = 0; m < n_moves; m++) {
		uint32_t knob = move[m].knob;
		double after = gate(r, from, knob, move, n_moves),
		       before = gate(r, from, knob, NULL, 0);

		add_curve(r, knob, move[m].place_to, after, row);
		add_curve(r, knob, move[m].place_from, -before, row);
		*lean += after * prior_lean(r, knob, move[m].place_to) -
			 before * prior_lean(r, knob, move[m].place_from);
	}
	if (!r->without.edges)
		add_pairs(r, from, move, n_moves, row, lean);
}
