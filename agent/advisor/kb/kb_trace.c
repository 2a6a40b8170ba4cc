// SPDX-License-Identifier: Apache-2.0
/*
 * kb_trace.c - traces into the file and out of it, as facts.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/advisor/kb/internal.h"

static void bind_text(sqlite3_stmt *s, int column, const char *text)
{
	sqlite3_bind_text(s, column, text, -1, SQLITE_STATIC); /* lives until the step */
}

static int add_row(struct kb *kb, const struct kb_trace *t, bool *known)
{
	sqlite3_stmt *s = kb_take(kb, KB_ADD_TRACE);
	int ret;

	sqlite3_bind_int64(s, 1, (sqlite3_int64)t->proposal);
	sqlite3_bind_int64(s, 2, (sqlite3_int64)t->goal);
	sqlite3_bind_int64(s, 3, (sqlite3_int64)t->unix_ms);
	bind_text(s, 4, t->objective);
	sqlite3_bind_int(s, 5, t->lower_is_better);
	sqlite3_bind_int(s, 6, (int)t->verdict);
	sqlite3_bind_int(s, 7, t->unsafe);
	kb_bind_number(s, 8, t->before);
	kb_bind_number(s, 9, t->after);
	kb_bind_number(s, 10, t->change);
	kb_bind_number(s, 11, t->low);
	kb_bind_number(s, 12, t->high);
	sqlite3_bind_int64(s, 13, t->pairs);
	kb_bind_number(s, 14, t->raw);
	kb_bind_number(s, 15, t->told);
	bind_text(s, 16, t->text);
	ret = kb_run(kb, KB_ADD_TRACE);
	*known = !ret && sqlite3_changes(kb->db) == 0;
	return ret;
}

static int add_parts(struct kb *kb, const struct kb_trace *t, sqlite3_int64 id)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < t->n_knobs; i++) {
		sqlite3_stmt *s = kb_take(kb, KB_ADD_KNOB);

		sqlite3_bind_int64(s, 1, id);
		sqlite3_bind_int64(s, 2, (sqlite3_int64)i);
		bind_text(s, 3, t->knob[i].name);
		bind_text(s, 4, t->knob[i].was);
		bind_text(s, 5, t->knob[i].value);
		sqlite3_bind_int(s, 6, t->knob[i].moved);
		ret = kb_run(kb, KB_ADD_KNOB);
	}
	for (size_t i = 0; !ret && i < t->n_metrics; i++) {
		sqlite3_stmt *s = kb_take(kb, KB_ADD_METRIC);

		sqlite3_bind_int64(s, 1, id);
		bind_text(s, 2, t->metric[i].name);
		bind_text(s, 3, t->metric[i].unit);
		kb_bind_number(s, 4, t->metric[i].before);
		kb_bind_number(s, 5, t->metric[i].after);
		ret = kb_run(kb, KB_ADD_METRIC);
	}
	return ret;
}

/* The oldest beyond the limit go, counted. */
static int make_room(struct kb *kb)
{
	sqlite3_stmt *s = kb_take(kb, KB_COUNT);
	int64_t over =
		sqlite3_step(s) == SQLITE_ROW ? sqlite3_column_int64(s, 0) - KB_TRACES_MAX : 0;
	int ret;

	sqlite3_reset(s);
	if (over <= 0)
		return 0;
	sqlite3_bind_int64(kb_take(kb, KB_DROP_OLDEST), 1, over);
	ret = kb_run(kb, KB_DROP_OLDEST);
	if (ret)
		return ret;
	sqlite3_bind_int64(kb_take(kb, KB_COUNT_DROPPED), 1, over);
	return kb_run(kb, KB_COUNT_DROPPED);
}

int kb_add(struct kb *kb, const struct kb_trace *trace, uint64_t *id)
{
	char why[KB_TEXT_MAX];
	bool known = false;
	int ret = kb_run(kb, KB_BEGIN);

	*id = 0;
	if (ret)
		return ret;
	ret = add_row(kb, trace, &known);
	if (!ret && !known) {
		*id = (uint64_t)sqlite3_last_insert_rowid(kb->db);
		ret = add_parts(kb, trace, (sqlite3_int64)*id);
		if (!ret)
			ret = make_room(kb);
	}
	if (!ret)
		ret = kb_run(kb, KB_COMMIT);
	if (ret) {
		memcpy(why, kb->error, sizeof(why));
		if (!sqlite3_get_autocommit(
			    kb->db)) /* a full disk ends the transaction by itself */
			kb_run(kb, KB_ROLLBACK);
		memcpy(kb->error, why, sizeof(why));
		*id = 0;
		return ret;
	}
	return known ? 1 : 0;
}

/* ---- facts ---- */

static int add_knob(struct fact *fact, struct lexicon *lexicon, const struct kb_knob *knob)
{
	int index = lexicon_knob(lexicon, knob->name);

	if (index < 0)
		return index;
	if (knob->moved && fact->n_moves < FACT_MOVES_MAX) {
		struct fact_move *move = &fact->move[fact->n_moves++];
		const struct axis *axis = &lexicon->knob[index]->axis;

		move->knob = (uint32_t)index;
		memcpy(move->from, knob->was, sizeof(move->from));
		memcpy(move->to, knob->value, sizeof(move->to));
		move->place_from = axis_place(axis, move->from);
		move->place_to = axis_place(axis, move->to);
	} else if (!knob->moved && fact->n_beside < FACT_BESIDE_MAX &&
		   strlen(knob->value) < FACT_BESIDE_VALUE_MAX) {
		fact->beside[fact->n_beside].knob = (uint32_t)index;
		strcpy(fact->beside[fact->n_beside++].value, knob->value);
	}
	return 0;
}

static int by_metric(const void *a, const void *b)
{
	return (int)((const struct fact_metric *)a)->metric -
	       (int)((const struct fact_metric *)b)->metric;
}

static void add_metric(struct fact *fact, struct lexicon *lexicon, const struct kb_metric *metric)
{
	int index = isfinite(metric->before) ? lexicon_metric(lexicon, metric->name) : -1;

	if (index < 0 || fact->n_metrics == FACT_METRICS_MAX)
		return; /* one more or less says little: not an error */
	fact->metric[fact->n_metrics].metric = (uint16_t)index;
	fact->metric[fact->n_metrics++].level = fact_level(metric->before, metric->unit);
}

static void finish_fact(struct fact *fact)
{
	qsort(fact->metric, fact->n_metrics, sizeof(fact->metric[0]), by_metric);
}

int kb_fact_of(const struct kb_trace *t, uint64_t id, struct lexicon *lexicon, struct fact *fact)
{
	int ret = 0;

	memset(fact, 0, sizeof(*fact));
	fact->id = id;
	fact->goal = t->goal;
	fact->unix_s = t->unix_ms / 1000;
	fact->verdict = t->verdict;
	fact->unsafe = t->unsafe;
	fact->raw = t->raw;
	fact->told = t->told;
	fact_set_levels(fact, t->before, t->after);
	fact->measured = fact_gain(
		t->change, t->low, t->high, t->lower_is_better, &fact->gain, &fact->error);
	for (size_t i = 0; !ret && i < t->n_knobs; i++)
		ret = add_knob(fact, lexicon, &t->knob[i]);
	for (size_t i = 0; i < t->n_metrics; i++)
		add_metric(fact, lexicon, &t->metric[i]);
	finish_fact(fact);
	if (ret)
		return ret;
	return fact->n_moves ? 0 : -EINVAL;
}

static int load_parts(struct kb *kb, struct fact *fact, struct lexicon *lexicon)
{
	sqlite3_stmt *s = kb_take(kb, KB_KNOBS);
	struct kb_metric metric;
	struct kb_knob knob;
	int code, ret = 0;

	sqlite3_bind_int64(s, 1, (sqlite3_int64)fact->id);
	while ((code = sqlite3_step(s)) == SQLITE_ROW && ret != -ENOMEM) {
		kb_text(s, 0, knob.name, sizeof(knob.name));
		kb_text(s, 1, knob.was, sizeof(knob.was));
		kb_text(s, 2, knob.value, sizeof(knob.value));
		knob.moved = sqlite3_column_int(s, 3) != 0;
		ret = add_knob(fact, lexicon, &knob);
	}
	sqlite3_reset(s);
	if (ret == -ENOMEM || code != SQLITE_DONE)
		return ret == -ENOMEM ? ret : kb_failed(kb, "reading a trace");
	s = kb_take(kb, KB_METRICS);
	sqlite3_bind_int64(s, 1, (sqlite3_int64)fact->id);
	while ((code = sqlite3_step(s)) == SQLITE_ROW) {
		kb_text(s, 0, metric.name, sizeof(metric.name));
		kb_text(s, 1, metric.unit, sizeof(metric.unit));
		metric.before = kb_number(s, 2);
		add_metric(fact, lexicon, &metric);
	}
	sqlite3_reset(s);
	finish_fact(fact);
	return code == SQLITE_DONE ? 0 : kb_failed(kb, "reading a trace");
}

int kb_facts(struct kb *kb, const char *objective, bool lower_is_better, struct lexicon *lexicon,
	struct fact *fact, size_t most, size_t *n)
{
	sqlite3_stmt *s = kb_take(kb, KB_TRACES);
	int code, ret = 0;

	*n = 0;
	bind_text(s, 1, objective);
	sqlite3_bind_int(s, 2, lower_is_better);
	sqlite3_bind_int64(s, 3, (sqlite3_int64)most);
	while ((code = sqlite3_step(s)) == SQLITE_ROW && *n < most) {
		struct fact *f = &fact[*n];
		int verdict = sqlite3_column_int(s, 4);

		if (verdict < 0 || verdict >= FACT_VERDICTS)
			continue;
		memset(f, 0, sizeof(*f));
		f->id = (uint64_t)sqlite3_column_int64(s, 0);
		f->goal = (uint64_t)sqlite3_column_int64(s, 2);
		f->unix_s = (uint64_t)sqlite3_column_int64(s, 3) / 1000;
		f->verdict = (enum fact_verdict)verdict;
		f->unsafe = sqlite3_column_int(s, 5) != 0;
		f->measured = fact_gain(kb_number(s, 6), kb_number(s, 7), kb_number(s, 8),
			lower_is_better, &f->gain, &f->error);
		f->raw = kb_number(s, 9);
		f->told = kb_number(s, 10);
		fact_set_levels(f, kb_number(s, 11), kb_number(s, 12));
		ret = load_parts(kb, f, lexicon);
		if (ret)
			break;
		if (f->n_moves)
			++*n;
	}
	sqlite3_reset(s);
	if (ret)
		return ret;
	return code == SQLITE_DONE || code == SQLITE_ROW ? 0 : kb_failed(kb, "reading traces");
}

int kb_outcomes(struct kb *kb, struct harm_outcome *outcome, size_t most, size_t *n)
{
	sqlite3_stmt *s = kb_take(kb, KB_OUTCOMES);
	int code;

	*n = 0;
	sqlite3_bind_int64(s, 1, (sqlite3_int64)most);
	while ((code = sqlite3_step(s)) == SQLITE_ROW && *n < most) {
		struct fact fact = { .unsafe = sqlite3_column_int(s, 1) != 0,
			.verdict = (enum fact_verdict)sqlite3_column_int(s, 2) };

		if (!fact_tried(&fact))
			continue;
		outcome[*n].raw = kb_number(s, 0);
		outcome[(*n)++].harm = fact_harm(&fact);
	}
	sqlite3_reset(s);
	return code == SQLITE_DONE || code == SQLITE_ROW ? 0 : kb_failed(kb, "reading outcomes");
}

/* ---- couplings ---- */

static void bind_edge(sqlite3_stmt *s, const struct lexicon *lexicon, const struct coupling *edge)
{
	bind_text(s, 1, lexicon->knob[edge->from]->name);
	bind_text(s, 2, lexicon->knob[edge->to]->name);
	bind_text(s, 3, knob_link_names[edge->link]);
}

int kb_edges(struct kb *kb, struct lexicon *lexicon, size_t from)
{
	int ret = 0;

	for (size_t i = from; !ret && i < lexicon->n_couplings; i++) {
		struct coupling *edge = &lexicon->coupling[i];
		sqlite3_stmt *s = kb_take(kb, KB_EDGE);
		int code;

		bind_edge(s, lexicon, edge);
		code = sqlite3_step(s);
		if (code == SQLITE_ROW) {
			edge->weight = fmin(1, fmax(0, kb_number(s, 0)));
			edge->seen = (uint32_t)sqlite3_column_int64(s, 1);
			edge->seen_s = (uint64_t)sqlite3_column_int64(s, 2);
		} else if (code != SQLITE_DONE) {
			ret = kb_failed(kb, "reading couplings");
		}
		sqlite3_reset(s);
	}
	return ret;
}

int kb_edge_store(struct kb *kb, const struct lexicon *lexicon, const struct coupling *edge)
{
	sqlite3_stmt *s = kb_take(kb, KB_STORE_EDGE);

	bind_edge(s, lexicon, edge);
	sqlite3_bind_double(s, 4, edge->weight);
	sqlite3_bind_int64(s, 5, edge->seen);
	sqlite3_bind_int64(s, 6, (sqlite3_int64)edge->seen_s);
	return kb_run(kb, KB_STORE_EDGE);
}
