// SPDX-License-Identifier: Apache-2.0
/*
 * hear.c - what the agent says, copied within bounds before anything is made of it.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/advisor/internal.h"

bool hear_text(struct advisor *advisor, const char *text, char *out, size_t size)
{
	size_t n = text ? strnlen(text, size) : size;

	out[0] = '\0';
	if (n >= size) {
		advisor->unheard++;
		return false;
	}
	for (size_t i = 0; i < n; i++)
		out[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? ' ' : text[i];
	out[n] = '\0';
	return true;
}

/* Longer than there is room for is cut: of sentences, whose end matters less. */
static void hear_sentence(const char *text, char *out, size_t size)
{
	size_t n = text ? strnlen(text, size - 1) : 0;

	for (size_t i = 0; i < n; i++)
		out[i] = (unsigned char)text[i] < ' ' || text[i] == 0x7f ? ' ' : text[i];
	out[n] = '\0';
}

/* What telemetry says of the whole machine, but for what only tells of us or of the distant past. */
static bool tells_of_load(const Semantos__V1__TelemetryMetric *metric)
{
	return metric && metric->name && metric->label && !metric->label[0] &&
	       isfinite(metric->value) && strncmp(metric->name, "own_", 4) != 0 &&
	       strncmp(metric->name, "load_", 5) != 0;
}

static int by_metric(const void *a, const void *b)
{
	return (int)((const struct fact_metric *)a)->metric -
	       (int)((const struct fact_metric *)b)->metric;
}

static void hear_load(struct advisor *advisor, const Semantos__V1__Question *question)
{
	struct reason_question *q = &advisor->question;
	char name[sizeof(advisor->trace.metric[0].name)], unit[KB_UNIT_MAX];

	for (size_t i = 0; i < question->n_telemetry && q->n_metrics < REASON_METRICS_MAX; i++) {
		const Semantos__V1__TelemetryMetric *metric = question->telemetry[i];
		int index;

		if (!tells_of_load(metric) ||
			!hear_text(advisor, metric->name, name, sizeof(name)) ||
			!hear_text(advisor, metric->unit, unit, sizeof(unit)))
			continue;
		index = lexicon_metric(&advisor->lexicon, name);
		if (index < 0)
			continue;
		q->metric[q->n_metrics].metric = (uint16_t)index;
		q->metric[q->n_metrics++].level = fact_level(metric->value, unit);
	}
	qsort(q->metric, q->n_metrics, sizeof(q->metric[0]), by_metric);
}

int hear_question(struct advisor *advisor, const Semantos__V1__Question *question)
{
	struct reason_question *q = &advisor->question;
	char name[LEXICON_NAME_MAX];

	memset(q, 0, sizeof(*q));
	q->goal = question->goal;
	q->lower_is_better = question->lower_is_better;
	q->trials_left = question->trials_left;
	q->leveled = question->objective_now > 0 && isfinite(question->objective_now);
	q->level = q->leveled ? log(question->objective_now) : NAN;
	q->moves_at_most = question->knobs_at_most;
	for (size_t i = 0; i < question->n_knobs; i++) {
		const Semantos__V1__KnobState *state = question->knobs[i];
		int index;

		if (q->n_knobs == REASON_KNOBS_MAX) {
			advisor->unheard += question->n_knobs - i;
			break;
		}
		if (!state || !hear_text(advisor, state->name, name, sizeof(name)))
			continue;
		index = lexicon_knob(&advisor->lexicon, name);
		if (index == -ENOMEM)
			return index;
		if (index < 0)
			continue; /* counted by the lexicon */
		q->knob[q->n_knobs].knob = (uint32_t)index;
		hear_text(advisor, state->value, q->knob[q->n_knobs].value,
			sizeof(q->knob[q->n_knobs].value));
		q->n_knobs++;
	}
	hear_load(advisor, question);
	return 0;
}

/* ---- outcomes ---- */

static bool verdict_of(const char *name, enum fact_verdict *verdict)
{
	static const char *const names[FACT_VERDICTS] = { [FACT_KEPT] = "kept",
		[FACT_NO_EFFECT] = "no-effect",
		[FACT_WORSE] = "worse",
		[FACT_BREACH] = "breach",
		[FACT_STOPPED] = "stopped",
		[FACT_VETOED] = "vetoed",
		[FACT_REJECTED] = "rejected" };

	for (int v = 0; name && v < FACT_VERDICTS; v++) {
		if (strcmp(names[v], name) == 0) {
			*verdict = (enum fact_verdict)v;
			return true;
		}
	}
	return false;
}

static const char *was_of(const Semantos__V1__Outcome *outcome, const char *name)
{
	for (size_t i = 0; i < outcome->n_was; i++) {
		if (outcome->was[i] && outcome->was[i]->name &&
			strcmp(outcome->was[i]->name, name) == 0)
			return outcome->was[i]->value;
	}
	return NULL;
}

static bool is_in(const struct kb_trace *trace, const char *name)
{
	for (size_t i = 0; i < trace->n_knobs; i++) {
		if (strcmp(trace->knob[i].name, name) == 0)
			return true;
	}
	return false;
}

/* What the moved knobs are coupled with, as the question it answered had them. */
static void add_beside(struct advisor *advisor, size_t moved)
{
	struct kb_trace *trace = &advisor->trace;
	const struct lexicon *lexicon = &advisor->lexicon;

	for (size_t c = 0; c < lexicon->n_couplings; c++) {
		const struct coupling *edge = &lexicon->coupling[c];
		const char *ends[2] = { lexicon->knob[edge->from]->name,
			lexicon->knob[edge->to]->name };
		uint32_t index[2] = { edge->from, edge->to };

		for (size_t e = 0; e < 2; e++) {
			struct kb_knob *knob = &trace->knob[trace->n_knobs];
			const char *value = NULL;
			bool mine = false;

			for (size_t m = 0; m < moved; m++)
				mine |= strcmp(trace->knob[m].name, ends[e]) == 0;
			if (!mine || is_in(trace, ends[1 - e]))
				continue;
			for (size_t i = 0; i < advisor->asked.n_knobs && !value; i++) {
				if (advisor->asked.knob[i].knob == index[1 - e])
					value = advisor->asked.knob[i].value;
			}
			if (!value || !value[0] || strlen(value) >= FACT_BESIDE_VALUE_MAX ||
				trace->n_knobs == FACT_MOVES_MAX + FACT_BESIDE_MAX)
				continue;
			memset(knob, 0, sizeof(*knob));
			memcpy(knob->name, ends[1 - e], strlen(ends[1 - e]) + 1);
			memcpy(knob->was, value, strlen(value) + 1);
			memcpy(knob->value, value, strlen(value) + 1);
			trace->n_knobs++;
		}
	}
}

static double after_of(
	const Semantos__V1__Outcome *outcome, const Semantos__V1__TelemetryMetric *before)
{
	for (size_t i = 0; i < outcome->n_telemetry_after; i++) {
		const Semantos__V1__TelemetryMetric *after = outcome->telemetry_after[i];

		if (tells_of_load(after) && strcmp(after->name, before->name) == 0)
			return after->value;
	}
	return NAN;
}

static void hear_metrics(struct advisor *advisor, const Semantos__V1__Outcome *outcome)
{
	struct kb_trace *trace = &advisor->trace;

	for (size_t i = 0; i < outcome->n_telemetry_before && trace->n_metrics < FACT_METRICS_MAX;
		i++) {
		const Semantos__V1__TelemetryMetric *metric = outcome->telemetry_before[i];
		struct kb_metric *mine = &trace->metric[trace->n_metrics];

		if (!tells_of_load(metric) ||
			!hear_text(advisor, metric->name, mine->name, sizeof(mine->name)) ||
			!hear_text(advisor, metric->unit, mine->unit, sizeof(mine->unit)))
			continue;
		mine->before = metric->value;
		mine->after = after_of(outcome, metric);
		trace->n_metrics++;
	}
}

bool hear_outcome(struct advisor *advisor, const Semantos__V1__Outcome *outcome)
{
	struct kb_trace *trace = &advisor->trace;
	size_t moved;

	memset(trace, 0, sizeof(*trace));
	if (!verdict_of(outcome->verdict, &trace->verdict) ||
		!hear_text(advisor, outcome->objective, trace->objective, sizeof(trace->objective)))
		return false;
	trace->proposal = outcome->proposal;
	trace->goal = outcome->goal;
	trace->unix_ms = outcome->unix_ms;
	trace->lower_is_better = outcome->lower_is_better;
	trace->unsafe = outcome->unsafe;
	trace->before = outcome->before;
	trace->after = outcome->after;
	trace->change = outcome->change;
	trace->low = outcome->low;
	trace->high = outcome->high;
	trace->pairs = outcome->pairs;
	trace->told = outcome->uncertainty;
	trace->raw = NAN;
	hear_sentence(outcome->text, trace->text, sizeof(trace->text));
	for (size_t i = 0; i < outcome->n_knobs; i++) {
		const Semantos__V1__Knob *knob = outcome->knobs[i];
		struct kb_knob *mine = &trace->knob[trace->n_knobs];

		if (trace->n_knobs == FACT_MOVES_MAX || !knob || !knob->name)
			return false;
		mine->moved = true;
		if (!hear_text(advisor, knob->name, mine->name, sizeof(mine->name)) ||
			!hear_text(advisor, knob->value, mine->value, sizeof(mine->value)) ||
			!hear_text(
				advisor, was_of(outcome, knob->name), mine->was, sizeof(mine->was)))
			return false; /* half of what was moved would tell a wrong story */
		trace->n_knobs++;
	}
	moved = trace->n_knobs;
	if (moved)
		add_beside(advisor, moved);
	hear_metrics(advisor, outcome);
	return moved > 0;
}
