/* SPDX-License-Identifier: Apache-2.0 */
/*
 * goal.h - what an operator wants to hold or to improve, as typed: "block_read_latency[vda].p99 < 2ms".
 *
 *     SOURCE            METRIC, METRIC[LABEL], METRIC.FIGURE, METRIC[LABEL].FIGURE; cmd:COMMAND; prom:QUERY
 *     SOURCE < LIMIT    or <=, >, >=; the last of these in the text that a number follows is the one
 *
 * A limit is in the source's own unit (seconds, bytes, a share of 1, a number) or has one written after it, which is
 * converted. No locks, nothing allocated.
 */
#ifndef SEMANTOS_CLI_GOAL_H
#define SEMANTOS_CLI_GOAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/telemetry/metric_defs.h"

#define GOAL_TEXT_MAX 256 /* of one expression, with its end; what the agent keeps of one */
#define GOAL_NAME_MAX 64

enum goal_kind { GOAL_TELEMETRY, GOAL_COMMAND, GOAL_PROMETHEUS, GOAL_WORKLOAD };

struct goal_source {
	enum goal_kind kind;
	char metric[GOAL_NAME_MAX]; /* telemetry: a name of metric_defs[] */
	char label[GOAL_NAME_MAX]; /* "" = the whole machine */
	char figure[GOAL_NAME_MAX]; /* "value", "median", "p95", "p99", "per_s", "anomalies" */
	char text[GOAL_TEXT_MAX]; /* others: the command or query */
	enum metric_unit unit; /* telemetry: of that figure */
	bool has_unit; /* limits may be written with one; false: of a command's number, which has none */
};

struct goal_guard {
	struct goal_source source;
	char relation[3]; /* "<", "<=", ">", ">=": what must hold */
	double limit; /* in the source's unit */
};

/* 0, or -EINVAL with one sentence, without its full stop, in why. */
int goal_parse_source(const char *text, struct goal_source *source, char *why, size_t why_len);
int goal_parse_guard(const char *text, struct goal_guard *guard, char *why, size_t why_len);

/*
 * Which way a source gets better by what it is: -1 lower (a duration, anomalies, errors), 0 it cannot be told.
 */
int goal_better(const struct goal_source *source);

/* Is it of one interval alone? Others are taken over minutes, so that slices of time cannot be compared by them. */
bool goal_of_one_interval(const struct goal_source *source);

bool goal_same(const struct goal_source *a, const struct goal_source *b);

/* As it could be typed, e.g. "block_read_latency[vda].p99", into out. */
void goal_source_text(const struct goal_source *source, char *out, size_t len);

/* "1.25 ms", "3.1 MiB", "12.5 %", "1234"; "-" when it is not defined. Into out, returned. */
const char *goal_value_text(const struct goal_source *source, double value, char *out, size_t len);

/* "10", "10s", "500ms", "2min": seconds unless it says otherwise. False: it is none, or not in [min_ms, max_ms]. */
bool goal_duration_ms(const char *text, uint32_t min_ms, uint32_t max_ms, uint32_t *ms);

const char *goal_kind_name(enum goal_kind kind); /* as in agent/proto: "telemetry", ... */

#endif
