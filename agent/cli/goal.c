/* SPDX-License-Identifier: Apache-2.0 */
/*
 * goal.c - reads and writes the expressions of goal.h, and says what is wrong with one in a sentence.
 *
 * A typed word is repeated in a sentence at most 60 bytes long. Must never accept a unit that the source does not have.
 */
#include "agent/cli/goal.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const figures[] = { "value", "median", "p95", "p99", "per_s", "anomalies" };
#define N_FIGURES (sizeof(figures) / sizeof(figures[0]))
#define SHOWN 60 /* bytes of what was typed, in a sentence */

static __attribute__((format(printf, 3, 4))) int wrong(
	char *why, size_t why_len, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, why_len, fmt, args);
	va_end(args);
	for (char *p = why; why_len > 0 && *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	}
	return -EINVAL;
}

/* ---- numbers with units ---- */

struct unit {
	const char *word;
	double factor; /* to seconds, bytes, a share or a number */
};

static const struct unit of_seconds[] = { { "ns", 1e-9 }, { "us", 1e-6 }, { "ms", 1e-3 },
	{ "s", 1 }, { "min", 60 }, { NULL, 0 } };
static const struct unit of_bytes[] = { { "B", 1 }, { "kB", 1e3 }, { "KiB", 1024 }, { "MB", 1e6 },
	{ "MiB", 0x1p20 }, { "GB", 1e9 }, { "GiB", 0x1p30 }, { "TB", 1e12 }, { "TiB", 0x1p40 },
	{ "k", 1e3 }, { "M", 1e6 }, { "G", 1e9 }, { NULL, 0 } };
static const struct unit of_ratio[] = { { "%", 0.01 }, { NULL, 0 } };
static const struct unit of_number[] = { { "k", 1e3 }, { "M", 1e6 }, { "G", 1e9 }, { NULL, 0 } };

static const struct unit *const units_of[] = { [METRIC_SECONDS] = of_seconds,
	[METRIC_BYTES] = of_bytes,
	[METRIC_RATIO] = of_ratio,
	[METRIC_NUMBER] = of_number };
#define N_UNITS (sizeof(units_of) / sizeof(units_of[0]))

static const char *const example_of[] = { [METRIC_SECONDS] = "2ms",
	[METRIC_BYTES] = "64MiB",
	[METRIC_RATIO] = "5%",
	[METRIC_NUMBER] = "10k" };
static const char *const what_of[] = { [METRIC_SECONDS] = "seconds",
	[METRIC_BYTES] = "bytes",
	[METRIC_RATIO] = "a share",
	[METRIC_NUMBER] = "a number" };

static const struct unit *find_unit(const struct unit *list, const char *word, size_t len)
{
	for (; list->word; list++) {
		if (strlen(list->word) == len && strncmp(list->word, word, len) == 0)
			return list;
	}
	return NULL;
}

/*
 * A decimal number and what stands behind it. False: there is none. strtod() alone would also take hex, inf and nan.
 */
static bool number(const char *text, double *value, const char **rest)
{
	const char *digits = text + (*text == '-' || *text == '+');
	char *end;

	if (!isdigit((unsigned char)digits[*digits == '.']) ||
		(digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X')))
		return false;
	*value = strtod(text, &end);
	while (*end == ' ')
		end++;
	*rest = end;
	return isfinite(*value);
}

static int limit_of(const char *text, const struct goal_source *source, double *limit, char *why,
	size_t why_len)
{
	const struct unit *unit = NULL;
	const char *word;
	size_t len;
	bool rate;

	if (!number(text, limit, &word))
		return wrong(why, why_len, "\"%.*s\" is no limit: it is a number, e.g. %s", SHOWN,
			text, source->has_unit ? example_of[source->unit] : "250");
	len = strlen(word);
	while (len > 0 && word[len - 1] == ' ')
		len--;
	/* "10k/s": every rate is one of a second */
	rate = source->unit == METRIC_BYTES || source->unit == METRIC_NUMBER ||
	       source->kind != GOAL_TELEMETRY;
	if (rate && len >= 2 && strncmp(word + len - 2, "/s", 2) == 0)
		len -= 2;
	if (len == 0)
		return 0;
	if (source->kind == GOAL_TELEMETRY) {
		unit = find_unit(units_of[source->unit], word, len);
		/* a share of 1 is a number too, but 5M of it is none */
		if (!unit)
			return wrong(why, why_len,
				"%s.%s is %s, so its limit has no unit \"%.*s\": write e.g. %s",
				source->metric, source->figure, what_of[source->unit],
				(int)(len < SHOWN ? len : SHOWN), word, example_of[source->unit]);
	} else {
		unit = find_unit(of_number, word, len);
		for (size_t i = 0; !unit && source->has_unit && i < N_UNITS; i++)
			unit = find_unit(units_of[i], word, len);
		if (!unit && source->has_unit)
			return wrong(why, why_len,
				"\"%.*s\" is no unit: it is one of ns us ms s min B kB KiB MB MiB "
				"GB GiB TB "
				"TiB %% k M G",
				(int)(len < SHOWN ? len : SHOWN), word);
		if (!unit)
			return wrong(why, why_len,
				"A command prints a number without a unit, so write the limit as "
				"it prints "
				"it, and not with \"%.*s\"",
				(int)(len < SHOWN ? len : SHOWN), word);
	}
	*limit *= unit->factor;
	if (!isfinite(*limit))
		return wrong(why, why_len, "\"%.*s\" is too large", SHOWN, text);
	return 0;
}

/* ---- sources ---- */

/* How many letters differ, with one more for each that is missing; small words only. */
static unsigned int distance(const char *a, const char *b)
{
	unsigned char row[GOAL_NAME_MAX + 1];
	size_t n = strnlen(b, GOAL_NAME_MAX);

	for (size_t j = 0; j <= n; j++)
		row[j] = (unsigned char)j;
	for (size_t i = 0; a[i] && i < GOAL_NAME_MAX; i++) {
		unsigned int corner = row[0];

		row[0] = (unsigned char)(i + 1);
		for (size_t j = 0; j < n; j++) {
			unsigned int best = corner + (a[i] != b[j]);

			corner = row[j + 1];
			if (row[j] + 1u < best)
				best = row[j] + 1u;
			if (corner + 1u < best)
				best = corner + 1u;
			row[j + 1] = (unsigned char)best;
		}
	}
	return row[n];
}

static const char *nearest_metric(const char *name)
{
	unsigned int best = UINT_MAX, d;
	const char *found = NULL;

	for (size_t i = 0; i < METRIC_NR; i++) {
		d = distance(name, metric_defs[i].name);
		if (d < best) {
			best = d;
			found = metric_defs[i].name;
		}
	}
	return best <= 2 + strlen(name) / 4 ? found : NULL;
}

static const struct metric_def *find_metric(const char *name)
{
	for (size_t i = 0; i < METRIC_NR; i++) {
		if (strcmp(metric_defs[i].name, name) == 0)
			return &metric_defs[i];
	}
	return NULL;
}

/* Copy one part; false when it is empty or too long. */
static bool part(char *to, const char *from, size_t len)
{
	if (len == 0 || len >= GOAL_NAME_MAX)
		return false;
	memcpy(to, from, len);
	to[len] = '\0';
	return true;
}

static int figure_of(
	const struct metric_def *def, struct goal_source *source, char *why, size_t why_len)
{
	size_t i = 0;

	while (i < N_FIGURES && strcmp(figures[i], source->figure) != 0)
		i++;
	if (i == N_FIGURES)
		return wrong(why, why_len,
			"\"%s\" is no figure of a metric: it is one of value, median, p95, p99, "
			"per_s "
			"and anomalies",
			source->figure);
	source->unit = def->unit;
	if (strcmp(source->figure, "anomalies") == 0)
		source->unit = METRIC_RATIO;
	if (strcmp(source->figure, "per_s") == 0) {
		if (def->kind == METRIC_LEVEL)
			return wrong(why, why_len,
				"%s is a level, which has no per_s: take value or median",
				def->name);
		if (def->kind == METRIC_TIMES)
			source->unit = METRIC_NUMBER;
	}
	return 0;
}

/* METRIC[LABEL].FIGURE */
static int telemetry_source(const char *text, struct goal_source *source, char *why, size_t why_len)
{
	size_t len = strcspn(text, "[. "), n;
	const struct metric_def *def;
	const char *near, *at = text;

	source->kind = GOAL_TELEMETRY;
	source->has_unit = true;
	strcpy(source->figure, "value");
	if (!part(source->metric, at, len))
		return wrong(why, why_len,
			"\"%.*s\" is no metric, e.g. block_read_latency[vda].p99: see `semantosctl "
			"telemetry`",
			SHOWN, text);
	at += len;
	def = find_metric(source->metric);
	if (!def) {
		near = nearest_metric(source->metric);
		return wrong(why, why_len,
			"There is no metric %.*s%s%s: see `semantosctl telemetry`", SHOWN,
			source->metric, near ? "; did you mean " : "", near ? near : "");
	}
	if (*at == '[') {
		/* a control group's name may hold anything but its own end */
		n = strcspn(++at, "]");
		if (!at[n] || !part(source->label, at, n))
			return wrong(why, why_len,
				"The label of %s is not closed or has no name: write e.g. %s[vda]",
				def->name, def->name);
		at += n + 1;
	}
	if (*at == '.') {
		n = strcspn(++at, " ");
		if (!part(source->figure, at, n))
			return wrong(why, why_len,
				"A figure is missing after \"%s.\": it is one of value, median, "
				"p95, p99, "
				"per_s and anomalies",
				def->name);
		at += n;
	}
	if (*at)
		return wrong(
			why, why_len, "\"%.*s\" is not understood behind %s", SHOWN, at, def->name);
	if (def->label[0] && !source->label[0])
		return wrong(why, why_len, "%s is measured for each %s: say which, e.g. %s[%s]",
			def->name, def->label, def->name,
			strcmp(def->label, "device") == 0   ? "vda"
			: strcmp(def->label, "vector") == 0 ? "NET_RX"
							    : "system.slice");
	if (!def->label[0] && source->label[0])
		return wrong(why, why_len, "%s is measured for the whole machine: leave out [%.*s]",
			def->name, SHOWN, source->label);
	return figure_of(def, source, why, why_len);
}

/* text has no blanks at its ends */
static int any_source(const char *text, struct goal_source *source, char *why, size_t why_len)
{
	memset(source, 0, sizeof(*source));
	if (strncmp(text, "cmd:", 4) == 0) {
		source->kind = GOAL_COMMAND;
	} else if (strncmp(text, "prom:", 5) == 0) {
		source->kind = GOAL_PROMETHEUS;
		source->has_unit = true;
	} else {
		return telemetry_source(text, source, why, why_len);
	}
	text += source->kind == GOAL_COMMAND ? 4 : 5;
	text += strspn(text, " ");
	if (!*text)
		return wrong(why, why_len, "A %s is missing after \"%s\"",
			source->kind == GOAL_COMMAND ? "command" : "query",
			source->kind == GOAL_COMMAND ? "cmd:" : "prom:");
	strcpy(source->text, text); /* no longer than the expression it is part of */
	return 0;
}

/* Without blanks at either end, into a buffer of GOAL_TEXT_MAX; false: it is empty or too long. */
static bool trimmed(char *to, const char *from, size_t len)
{
	while (len > 0 && isspace((unsigned char)from[len - 1]))
		len--;
	while (len > 0 && isspace((unsigned char)*from)) {
		from++;
		len--;
	}
	if (len == 0 || len >= GOAL_TEXT_MAX)
		return false;
	memcpy(to, from, len);
	to[len] = '\0';
	return true;
}

int goal_parse_source(const char *text, struct goal_source *source, char *why, size_t why_len)
{
	char copy[GOAL_TEXT_MAX];

	if (!trimmed(copy, text, strlen(text)))
		return wrong(why, why_len,
			"A source is 1 to %d bytes long: put a longer command into a script",
			GOAL_TEXT_MAX - 1);
	return any_source(copy, source, why, why_len);
}

/*
 * Where the relation begins: the last one that a number follows, because a command or query may hold others. Without
 * any, the last of all, so that what follows it can be complained of.
 */
static char *relation_in(char *text)
{
	char *found = NULL, *any = NULL;
	const char *rest;
	double value;

	for (char *at = text; *at; at++) {
		const char *after = at + 1 + (at[1] == '=');

		if (*at != '<' && *at != '>')
			continue;
		after += strspn(after, " ");
		any = at;
		if (number(after, &value, &rest))
			found = at;
	}
	return found ? found : any;
}

int goal_parse_guard(const char *text, struct goal_guard *guard, char *why, size_t why_len)
{
	char copy[GOAL_TEXT_MAX], left[GOAL_TEXT_MAX];
	char *relation;
	size_t len;
	int err;

	memset(guard, 0, sizeof(*guard));
	if (!trimmed(copy, text, strlen(text)))
		return wrong(why, why_len,
			"A guard is 1 to %d bytes long: put a longer command into a script",
			GOAL_TEXT_MAX - 1);
	relation = relation_in(copy);
	if (!relation || !trimmed(left, copy, (size_t)(relation - copy)))
		return wrong(why, why_len,
			"\"%.*s\" is no guard: it is SOURCE < LIMIT or SOURCE > LIMIT, e.g. "
			"block_read_latency[vda].p99 < 2ms",
			SHOWN, copy);
	len = 1 + (relation[1] == '=');
	memcpy(guard->relation, relation, len);
	err = any_source(left, &guard->source, why, why_len);
	relation += len;
	relation += strspn(relation, " ");
	return err ? err : limit_of(relation, &guard->source, &guard->limit, why, why_len);
}

int goal_better(const struct goal_source *source)
{
	const struct metric_def *def;

	if (source->kind != GOAL_TELEMETRY)
		return 0;
	def = find_metric(source->metric);
	if (strcmp(source->figure, "anomalies") == 0)
		return -1;
	if (def && def->kind == METRIC_TIMES && strcmp(source->figure, "per_s") != 0)
		return -1;
	return 0;
}

bool goal_of_one_interval(const struct goal_source *source)
{
	const struct metric_def *def;

	if (source->kind != GOAL_TELEMETRY || strcmp(source->figure, "value") == 0 ||
		strcmp(source->figure, "per_s") == 0)
		return true;
	def = find_metric(source->metric);
	return def && def->kind == METRIC_TIMES && strcmp(source->figure, "anomalies") != 0;
}

bool goal_same(const struct goal_source *a, const struct goal_source *b)
{
	return a->kind == b->kind && strcmp(a->metric, b->metric) == 0 &&
	       strcmp(a->label, b->label) == 0 && strcmp(a->figure, b->figure) == 0 &&
	       strcmp(a->text, b->text) == 0;
}

void goal_source_text(const struct goal_source *source, char *out, size_t len)
{
	bool label = source->label[0];

	switch (source->kind) {
	case GOAL_TELEMETRY:
		snprintf(out, len, "%s%s%s%s.%s", source->metric, label ? "[" : "", source->label,
			label ? "]" : "", source->figure);
		break;
	case GOAL_COMMAND:
		snprintf(out, len, "cmd:%s%s%s%s", source->text, label ? " (" : "", source->label,
			label ? ")" : "");
		break;
	case GOAL_PROMETHEUS:
		snprintf(out, len, "prom:%s", source->text);
		break;
	default:
		snprintf(out, len, "%s%s%s%s", source->text, label ? " (" : "", source->label,
			label ? ")" : "");
	}
}

const char *goal_value_text(const struct goal_source *source, double value, char *out, size_t len)
{
	static const char *const prefixes[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi" };
	bool telemetry = source->kind == GOAL_TELEMETRY;
	double size = fabs(value);
	int step = 0;

	if (!isfinite(value)) {
		snprintf(out, len, "-");
	} else if (telemetry && source->unit == METRIC_SECONDS) {
		if (size < 1e-3)
			snprintf(out, len, "%.1f us", value * 1e6);
		else if (size < 1)
			snprintf(out, len, "%.2f ms", value * 1e3);
		else
			snprintf(out, len, "%.2f s", value);
	} else if (telemetry && source->unit == METRIC_RATIO) {
		snprintf(out, len, "%.2f %%", value * 100);
	} else if (telemetry && source->unit == METRIC_BYTES) {
		for (; fabs(value) >= 1024 && step < 5; step++)
			value /= 1024;
		snprintf(out, len, step ? "%.1f %sB" : "%.0f %sB", value, prefixes[step]);
	} else {
		snprintf(out, len, "%.6g", value);
	}
	return out;
}

bool goal_duration_ms(const char *text, uint32_t min_ms, uint32_t max_ms, uint32_t *ms)
{
	const struct unit *unit;
	const char *word;
	double value;

	if (!number(text, &value, &word))
		return false;
	unit = find_unit(of_seconds, *word ? word : "s", *word ? strlen(word) : 1);
	if (!unit)
		return false;
	value *= unit->factor * 1000;
	if (value < min_ms || value > max_ms)
		return false;
	*ms = (uint32_t)(value + 0.5);
	return true;
}

const char *goal_kind_name(enum goal_kind kind)
{
	static const char *const names[] = { [GOAL_TELEMETRY] = "telemetry",
		[GOAL_COMMAND] = "command",
		[GOAL_PROMETHEUS] = "prometheus",
		[GOAL_WORKLOAD] = "workload" };

	return names[kind];
}
