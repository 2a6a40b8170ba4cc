// SPDX-License-Identifier: Apache-2.0
/*
 * slo.c - reports in a ring, their means, and guards over the newest. Pure functions.
 */
#include "agent/safety/slo.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_MS 1000000ULL

static const char *const kinds[] = { "telemetry", "command", "prometheus", "workload" };
static const char *const relations[] = { "<", "<=", ">", ">=" };

int slo_kind_parse(const char *text, enum slo_kind *kind)
{
	for (*kind = SLO_TELEMETRY; *kind <= SLO_WORKLOAD; (*kind)++) {
		if (strcmp(text, kinds[*kind]) == 0)
			return 0;
	}
	return -EINVAL;
}

int slo_relation_parse(const char *text, enum slo_relation *relation)
{
	for (*relation = SLO_LESS; *relation <= SLO_AT_LEAST; (*relation)++) {
		if (strcmp(text, relations[*relation]) == 0)
			return 0;
	}
	return -EINVAL;
}

const char *slo_relation_text(enum slo_relation relation)
{
	return relations[relation];
}

void slo_source_text(const struct slo_source *source, char *out, size_t size)
{
	if (source->kind == SLO_TELEMETRY)
		snprintf(out, size, "%s of %s%s%s%s", source->figure, source->metric,
			source->label[0] ? " (" : "", source->label, source->label[0] ? ")" : "");
	else
		snprintf(out, size, "the %s `%s`",
			source->kind == SLO_PROMETHEUS ? "query" : kinds[source->kind],
			source->text);
}

void slo_series_reset(struct slo_series *series, uint64_t now_ns)
{
	memset(series, 0, sizeof(*series));
	series->since_ns = now_ns;
}

void slo_report(struct slo_series *series, uint64_t now_ns, uint64_t took_ns, double value,
	const char *error)
{
	series->report[series->next] =
		(struct slo_report){ .begin_ns = took_ns < now_ns ? now_ns - took_ns : 0,
			.end_ns = now_ns,
			.value = isfinite(value) ? value : NAN };
	series->next = (series->next + 1) % SLO_REPORTS;
	if (series->count < SLO_REPORTS)
		series->count++;
	snprintf(series->error, sizeof(series->error), "%s", error ? error : "");
}

static const struct slo_report *newest(const struct slo_series *series)
{
	return &series->report[(series->next + SLO_REPORTS - 1) % SLO_REPORTS];
}

double slo_last(const struct slo_series *series)
{
	return series->count ? newest(series)->value : NAN;
}

static uint64_t quiet_ns(const struct slo_series *series, uint64_t now_ns)
{
	uint64_t heard = series->count ? newest(series)->end_ns : series->since_ns;

	return now_ns > heard ? now_ns - heard : 0;
}

bool slo_silent(const struct slo_series *series, const struct slo_source *source, uint64_t now_ns)
{
	return quiet_ns(series, now_ns) >= SLO_SILENT * source->every_ms * NS_PER_MS;
}

double slo_mean(const struct slo_series *series, uint64_t begin_ns, uint64_t end_ns, uint32_t *n)
{
	uint32_t found = 0;
	double sum = 0;

	for (uint32_t i = 0; i < series->count; i++) {
		const struct slo_report *report = &series->report[i];

		if (report->begin_ns < begin_ns || report->end_ns > end_ns)
			continue;
		sum += report->value;
		found++;
	}
	if (n)
		*n = found;
	return found ? sum / found : NAN;
}

static bool holds(double value, enum slo_relation relation, double limit)
{
	switch (relation) {
	case SLO_LESS:
		return value < limit;
	case SLO_AT_MOST:
		return value <= limit;
	case SLO_MORE:
		return value > limit;
	default:
		return value >= limit;
	}
}

enum slo_state slo_look(const struct slo_guard *guard, const struct slo_series *series,
	uint64_t now_ns, char *why, size_t size)
{
	double value = slo_last(series);
	char what[SLO_TEXT + SLO_NAME];

	slo_source_text(&guard->source, what, sizeof(what));
	if (slo_silent(series, &guard->source, now_ns)) {
		snprintf(why, size, "%.120s has been silent for %.1f s, which counts as broken",
			what, (double)quiet_ns(series, now_ns) / 1e9);
		return SLO_BROKEN;
	}
	if (series->count == 0) {
		snprintf(why, size, "%.120s was not heard yet", what);
		return SLO_AWAITED;
	}
	if (isnan(value)) {
		snprintf(why, size, "%.120s gave no number%s%.60s", what,
			series->error[0] ? ": " : "", series->error);
		return SLO_BROKEN;
	}
	if (holds(value, guard->relation, guard->limit))
		return SLO_HOLDS;
	snprintf(why, size, "%.120s is %.6g, and %s %.6g was declared", what, value,
		relations[guard->relation], guard->limit);
	return SLO_BROKEN;
}
