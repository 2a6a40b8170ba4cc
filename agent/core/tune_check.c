// SPDX-License-Identifier: Apache-2.0
/*
 * tune_check.c - what is refused: goals that make no sense, and anything a hostile advisor may send.
 *
 * A proposal is looked at whole before any of it is kept. Pure but for the tuner it reads; under its `lock`.
 */
#include "agent/core/tune_internal.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "agent/safety/knob.h"

#define SLICE_MS 10000
#define WASHOUT_MS 2000
#define PAIRS 12
#define TRIALS 40
#define SLICE_MIN_MS 20
#define TIME_MAX_MS 600000
#define TRIALS_MAX 10000
#define EVERY_MIN_MS 10
#define EXPECTED_MAX 1000.0

__attribute__((format(printf, 3, 4))) static int refuse(
	struct control_reply *reply, int error, const char *fmt, ...)
{
	va_list args;

	reply->error = error;
	va_start(args, fmt);
	vsnprintf(reply->text, sizeof(reply->text), fmt, args);
	va_end(args);
	return error;
}

/* ---- goals ---- */

/* Others than these are taken over the last minutes, so that one slice's runs into the next one's. */
static bool of_one_interval(const struct slo_source *source)
{
	if (strcmp(source->figure, "value") == 0 || strcmp(source->figure, "per_s") == 0)
		return true;
	for (int i = 0; i < METRIC_NR; i++) {
		if (strcmp(metric_defs[i].name, source->metric) == 0)
			return metric_defs[i].kind == METRIC_TIMES &&
			       strcmp(source->figure, "anomalies") != 0;
	}
	return false;
}

static int check_source(struct slo_source *source, const char *what, struct control_reply *reply)
{
	static const char figures[] = " value median p95 p99 per_s anomalies ";
	char figure[20];

	if (source->kind == SLO_TELEMETRY) {
		snprintf(figure, sizeof(figure), " %s ", source->figure);
		if (!source->figure[0] || !strstr(figures, figure) || strchr(source->figure, ' '))
			return refuse(reply, -EINVAL,
				"The %s has the figure '%.15s'; value, median, p95, p99, per_s and "
				"anomalies are.",
				what, source->figure);
		if (!source->metric[0])
			return refuse(reply, -EINVAL, "The %s names no metric.", what);
		return 0;
	}
	if (!source->text[0])
		return refuse(reply, -EINVAL, "The %s says neither command nor query.", what);
	if (!source->every_ms)
		source->every_ms = SLO_EVERY_MS;
	if (source->every_ms < EVERY_MIN_MS || source->every_ms > SLO_EVERY_MAX_MS)
		return refuse(reply, -EINVAL, "The %s reports every %d to %d ms, not every %u.",
			what, EVERY_MIN_MS, SLO_EVERY_MAX_MS, source->every_ms);
	return 0;
}

static int check_number(uint32_t *value, uint32_t otherwise, uint32_t min, uint32_t max,
	const char *what, struct control_reply *reply)
{
	if (!*value)
		*value = otherwise;
	if (*value >= min && *value <= max)
		return 0;
	return refuse(reply, -EINVAL, "A goal has %u to %u %s, not %u.", min, max, what, *value);
}

/* Their names become parts of names of knobs, and are shown. */
static int check_members(const struct tune_goal *goal, struct control_reply *reply)
{
	size_t bytes = 0;

	if (!goal->n_members)
		return 0;
	if (goal->n_members < 2 || goal->n_members > TUNE_MEMBERS)
		return refuse(reply, -EINVAL, "A goal has 2 to %d members, not %u.", TUNE_MEMBERS,
			goal->n_members);
	for (uint32_t m = 0; m < goal->n_members; m++) {
		const char *name = goal->member[m];

		if (!name[0] || strpbrk(name, "*?[]\\ \t\n") || strstr(name, ".."))
			return refuse(
				reply, -EINVAL, "'%.60s' names no device or control group.", name);
		for (uint32_t i = 0; i < m; i++) {
			if (strcmp(goal->member[i], name) == 0)
				return refuse(reply, -EINVAL, "%.60s is a member twice.", name);
		}
		bytes += strlen(name) + 2;
	}
	if (bytes > TUNE_MEMBERS_TEXT - 56)
		return refuse(reply, -EINVAL, "The members' names are too long together.");
	if (goal->objective.kind == SLO_TELEMETRY && strcmp(goal->objective.label, "*") != 0)
		return refuse(reply, -EINVAL,
			"With members the objective is a metric of each: %.60s[*].",
			goal->objective.metric);
	return 0;
}

int tune_check_goal(struct tune_goal *goal, struct control_reply *reply)
{
	int err = 0;

	if (goal->n_guards > SLO_GUARDS || goal->n_patterns > TUNE_PATTERNS)
		return refuse(reply, -EINVAL, "A goal has at most %d guards and %d names of knobs.",
			SLO_GUARDS, TUNE_PATTERNS);
	err = check_source(&goal->objective, "objective", reply);
	if (!err)
		err = check_members(goal, reply);
	if (!err && goal->objective.kind == SLO_TELEMETRY && !of_one_interval(&goal->objective))
		err = refuse(reply, -EINVAL,
			"%.15s of %.60s is taken over the last minutes, so slices of time cannot "
			"be compared by it; take its value.",
			goal->objective.figure, goal->objective.metric);
	for (uint32_t i = 0; i < goal->n_guards && !err; i++) {
		err = check_source(&goal->guard[i].source, "guard", reply);
		if (!err && !isfinite(goal->guard[i].limit))
			err = refuse(reply, -EINVAL, "The limit of a guard is a number.");
	}
	if (!err)
		err = check_number(&goal->slice_ms, SLICE_MS, SLICE_MIN_MS, TIME_MAX_MS,
			"ms of a slice", reply);
	if (!err)
		err = check_number(
			&goal->washout_ms, WASHOUT_MS, 1, TIME_MAX_MS, "ms of washout", reply);
	if (!err)
		err = check_number(
			&goal->pairs, PAIRS, GAIN_PAIRS_MIN, ROLLOUT_PAIRS, "pairs", reply);
	if (!err)
		err = check_number(&goal->trials, TRIALS, 1, TRIALS_MAX, "trials", reply);
	return err;
}

/* ---- proposals ---- */

/* No part of a character, none that is longer than it need be, no surrogate (RFC 3629). */
static bool is_utf8(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;

	while (*at) {
		unsigned int n = *at < 0x80 ? 0 : *at < 0xe0 ? 1 : *at < 0xf0 ? 2 : 3;
		uint32_t code = n == 0 ? *at : *at & (0x3f >> n);

		if ((*at & 0xc0) == 0x80 || *at > 0xf4)
			return false;
		for (unsigned int i = 1; i <= n; i++) {
			if ((at[i] & 0xc0) != 0x80)
				return false;
			code = code << 6 | (at[i] & 0x3f);
		}
		if ((n == 1 && code < 0x80) || (n == 2 && code < 0x800) ||
			(n == 3 && code < 0x10000) || code > 0x10ffff ||
			(code >= 0xd800 && code < 0xe000))
			return false;
		at += n + 1;
	}
	return true;
}

static int check_text(const char *text, size_t size, const char *what, struct control_reply *reply)
{
	if (strnlen(text, size) == size)
		return refuse(reply, -EINVAL, "The %s is longer than %zu bytes.", what, size - 1);
	if (!is_utf8(text))
		return refuse(reply, -EINVAL, "The %s is no UTF-8 text.", what);
	return 0;
}

static const struct tune_knob *offered(const struct tune_session *s, const char *name)
{
	for (uint32_t i = 0; i < s->n_offered; i++) {
		if (strcmp(s->offered[i].name, name) == 0)
			return &s->offered[i];
	}
	return NULL;
}

static bool refused(const struct tune_session *s, const struct control_knob *knob)
{
	for (uint32_t i = 0; i < s->n_refused && i < TUNE_HELD; i++) {
		if (strcmp(s->refused[i].name, knob->name) == 0 &&
			knob_same(s->refused[i].value, knob->value))
			return true;
	}
	return false;
}

static int check_knob(const struct tune_session *s, const struct control_knob *knob,
	struct tune_record *record, struct control_reply *reply)
{
	const struct tune_knob *now;
	struct safety_error error = { "" };
	char mine[RECORD_NAME_MAX], other[RECORD_NAME_MAX];
	int err;

	if (strnlen(knob->name, RECORD_NAME_MAX) == RECORD_NAME_MAX ||
		strnlen(knob->value, RECORD_VALUE_MAX) == RECORD_VALUE_MAX)
		return refuse(reply, -EINVAL, "A knob's name or value is too long.");
	now = offered(s, knob->name);
	if (!now)
		return refuse(reply, -ENOENT, "%s is not among the knobs of the question.",
			is_utf8(knob->name) ? knob->name : "A name that is no text");
	err = knob_check(knob->name, knob->value, &error);
	if (err)
		return refuse(reply, err, "It cannot be: %.400s.", error.text);
	if (knob_same(knob->value, now->value))
		return refuse(reply, -EINVAL, "%.200s is %.100s already.", knob->name, now->value);
	if (refused(s, knob))
		return refuse(reply, -EINVAL, "The kernel refused %.100s for %.200s before.",
			knob->value, knob->name);
	knob_key(knob->name, mine);
	for (uint32_t i = 0; i < record->n_knobs; i++) {
		knob_key(record->knob[i].name, other);
		if (strcmp(mine, other) == 0)
			return refuse(
				reply, -EINVAL, "%.200s is proposed twice.", record->knob[i].name);
	}
	snprintf(record->knob[record->n_knobs].name, RECORD_NAME_MAX, "%s", knob->name);
	snprintf(record->knob[record->n_knobs].value, RECORD_VALUE_MAX, "%s", knob->value);
	record->was[record->n_knobs++] = *now;
	return 0;
}

static int check_numbers(const struct tune_proposal *p, struct control_reply *reply)
{
	if (!isfinite(p->expected) || p->expected < -1 || p->expected > EXPECTED_MAX)
		return refuse(reply, -EINVAL, "The expected change is a share between -1 and %.0f.",
			EXPECTED_MAX);
	if (!(p->uncertainty >= 0 && p->uncertainty <= 1))
		return refuse(reply, -EINVAL, "The uncertainty is between 0 and 1.");
	return 0;
}

void tune_check_proposal(struct tuner *t, const struct tune_proposal *p, struct tune_record *record,
	struct control_reply *reply)
{
	const struct tune_session *s = t->session;
	enum tune_verdict verdict;
	uint32_t size = 0;
	int err;

	if (!s || !s->question || s->gone || p->question != s->question) {
		refuse(reply, -ESTALE, "Question %llu is not open.",
			(unsigned long long)p->question);
		return;
	}
	if (s->inbox.full) {
		refuse(reply, -EBUSY, "Question %llu was answered already.",
			(unsigned long long)p->question);
		return;
	}
	if (p->n_knobs > RECORD_KNOBS_MAX) {
		refuse(reply, -EINVAL, "A proposal has at most %d knobs.", RECORD_KNOBS_MAX);
		return;
	}
	err = check_text(p->rationale, TUNE_RATIONALE, "rationale", reply);
	if (!err)
		err = check_text(p->evidence, TUNE_EVIDENCE, "evidence", reply);
	if (!err && !p->rationale[0])
		err = refuse(reply, -EINVAL, "A proposal says its reasons.");
	if (!err)
		err = check_numbers(p, reply);
	for (size_t i = 0; i < p->n_knobs && !err; i++)
		err = check_knob(s, &p->knob[i], record, reply);
	for (size_t i = 0; i < p->n_knobs && !err; i++)
		size += tune_family_size(&s->goal, record->knob[i].name);
	if (!err && size > RECORD_KNOBS_MAX)
		err = refuse(reply, -EINVAL,
			"For all members this is %u settings with those they are coupled with, "
			"and a change has at most %d.",
			size, RECORD_KNOBS_MAX);
	if (err)
		return;
	snprintf(record->objective, sizeof(record->objective), "%s", s->objective);
	if (p->n_knobs && tune_remembered(t, record, tune_objective_now(s), &verdict)) {
		refuse(reply, -EPERM,
			"This was tried before, from the same values and for the same objective, "
			"and came to \"%s\": it is not tried again until the tuner is reset.",
			tune_verdict_name(verdict));
		return;
	}
	record_text(record->rationale, sizeof(record->rationale), p->rationale);
	record_text(record->evidence, sizeof(record->evidence), p->evidence);
	record->expected = p->expected;
	record->uncertainty = p->uncertainty;
}
