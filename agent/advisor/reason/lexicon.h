/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lexicon.h - every knob and metric that was ever spoken of, as a small number; and the couplings between those knobs.
 *
 * A name is looked up in the tables once and kept, as matching 324 names against 372 patterns takes longer than a decision
 * may. Grows to a bound and never shrinks. One thread.
 */
#ifndef SEMANTOS_ADVISOR_LEXICON_H
#define SEMANTOS_ADVISOR_LEXICON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/advisor/reason/axis.h"

#define LEXICON_NAME_MAX 256 /* bytes of a name with its end */
#define LEXICON_KNOBS_MAX 4096
#define LEXICON_METRICS_MAX 512
#define LEXICON_EDGES_MAX 16384

#define COUPLING_AT_FIRST 0.5 /* weight of one that the tables name and nothing was seen of */

struct lexicon_knob {
	char name[LEXICON_NAME_MAX];
	struct axis axis;
	uint32_t first; /* coupling that goes from it, index + 1; 0 = none */
};

/* From knob to knob, as the tables have it, for this very disk, group or interface. */
struct coupling {
	uint32_t from, to;
	enum knob_link link;
	const char *when; /* "", "=bfq", "!=0": of the value of `to`; the table's */
	double weight; /* 0 .. 1: how far what came of trials bears it out */
	uint32_t seen; /* trials that told something of it */
	uint64_t seen_s; /* Unix time of the last, 0 = never */
	uint32_t next; /* of the same `from`, index + 1; 0 = none */
};

struct lexicon {
	struct lexicon_knob **knob; /* [n_knobs] */
	size_t n_knobs, room;
	struct coupling *coupling; /* [n_couplings] */
	size_t n_couplings, couplings_room;
	char (*metric)[LEXICON_NAME_MAX]; /* [n_metrics] */
	size_t n_metrics;
	uint32_t *bucket; /* of names of knobs; index + 1 */
	size_t kernel; /* index into knob_kernels */
	size_t refused; /* names that found no room, or were too long */
};

/* release: of the kernel whose defaults count ("6.12.117"). 0 or -ENOMEM; lexicon_free() after both. */
int lexicon_init(struct lexicon *lexicon, const char *release);
void lexicon_free(struct lexicon *lexicon);

/* The number of this knob, new or known; its couplings with those that are known are made with it. -ENOMEM, -ENOSPC: counted. */
int lexicon_knob(struct lexicon *lexicon, const char *name);

/* The same for a metric; no couplings. */
int lexicon_metric(struct lexicon *lexicon, const char *name);

/* NULL: there is none. */
struct coupling *lexicon_coupling(
	const struct lexicon *lexicon, uint32_t from, uint32_t to, enum knob_link link);

/* May these two not be changed together: a conflict either way, or one setting by two names? */
bool lexicon_conflict(const struct lexicon *lexicon, uint32_t a, uint32_t b);

/* Weights go back towards COUPLING_AT_FIRST by half in this many days without a trial that tells of them. */
#define COUPLING_HALF_DAYS 30
double coupling_weight(const struct coupling *coupling, uint64_t now_s);

/* A trial bore it out, or did not: `target` 1 or 0. */
void coupling_learn(struct coupling *coupling, double target, uint64_t now_s);

#endif
