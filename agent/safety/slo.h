/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slo.h - what the operator declared must hold, and the numbers it is judged by.
 *
 * A source is a number that comes again and again: a figure of the telemetry, or what a command, a query or a workload of
 * the operator's measured. Its reports are kept with the time each was measured over, so that a slice of time is judged by
 * those alone that lie wholly within it. A guard is a source and a limit; a source that is silent, failed or is no number
 * breaks it. Pure: the clock is the caller's, any one that counts suspended time. One thread.
 */
#ifndef SEMANTOS_SAFETY_SLO_H
#define SEMANTOS_SAFETY_SLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SLO_GUARDS 16
#define SLO_REPORTS 512 /* kept of one source */
#define SLO_SILENT 3 /* times every_ms without a report: silent */
#define SLO_EVERY_MS 5000 /* unless it is said */
#define SLO_EVERY_MAX_MS 600000
#define SLO_NAME 64
#define SLO_TEXT 256
#define SLO_WHY 224

enum slo_kind { SLO_TELEMETRY, SLO_COMMAND, SLO_PROMETHEUS, SLO_WORKLOAD };
enum slo_relation { SLO_LESS, SLO_AT_MOST, SLO_MORE, SLO_AT_LEAST };

struct slo_source {
	enum slo_kind kind;
	char metric[SLO_NAME], label[SLO_NAME], figure[16]; /* SLO_TELEMETRY */
	char text[SLO_TEXT]; /* the others: the command or the query */
	uint32_t every_ms; /* at least one report in this time */
};

struct slo_report {
	uint64_t begin_ns, end_ns; /* measured from, to */
	double value; /* NaN: it failed */
};

struct slo_series {
	struct slo_report report[SLO_REPORTS]; /* ring, oldest overwritten */
	uint32_t next, count;
	uint64_t since_ns; /* when it began to be waited for */
	char error[SLO_NAME]; /* of the last report, when that failed */
};

struct slo_guard {
	struct slo_source source;
	enum slo_relation relation;
	double limit;
};

int slo_kind_parse(const char *text, enum slo_kind *kind); /* 0 or -EINVAL */
int slo_relation_parse(const char *text, enum slo_relation *relation); /* "<", "<=", ">", ">=" */
const char *slo_relation_text(enum slo_relation relation);

/* "p99 of block_read_latency (vda)", "the command `...`": what it is, for a sentence; the same for the same source. */
void slo_source_text(const struct slo_source *source, char *out, size_t size);

void slo_series_reset(struct slo_series *series, uint64_t now_ns);

/* A report that came at now_ns and was measured over the took_ns before; error may be NULL. */
void slo_report(struct slo_series *series, uint64_t now_ns, uint64_t took_ns, double value,
	const char *error);

/* The newest value; NaN when there is none, or it failed. */
double slo_last(const struct slo_series *series);

/* Nothing came for SLO_SILENT times every_ms? From when it began to be waited for, as long as nothing ever came. */
bool slo_silent(const struct slo_series *series, const struct slo_source *source, uint64_t now_ns);

/*
 * Mean of the reports measured wholly within [begin, end], and their number in *n (may be NULL). NaN when there are none,
 * and when one of them failed.
 */
double slo_mean(const struct slo_series *series, uint64_t begin_ns, uint64_t end_ns, uint32_t *n);

enum slo_state {
	SLO_HOLDS,
	SLO_AWAITED, /* nothing came yet, and it is not late */
	SLO_BROKEN,
};

/* Does it hold? Unless it does, one sentence without its full stop in why: which guard, the value and the limit. */
enum slo_state slo_look(const struct slo_guard *guard, const struct slo_series *series,
	uint64_t now_ns, char *why, size_t size);

#endif
