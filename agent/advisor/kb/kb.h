/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kb.h - the advisor's knowledge base: traces of what was tried and what came of it, and the weights of couplings.
 *
 * One SQLite file, knowledge.db, in write-ahead mode: a trace is in it whole or not at all, whenever the process dies.
 * Bounded: beyond KB_TRACES_MAX the oldest trace goes, and is counted; the file never grows beyond KB_BYTES_MAX. A file
 * that is no database, or damaged, is moved aside to knowledge.db.damaged and a new one begun; one of a newer version is
 * refused. Every statement is prepared, texts are bound to them. What the agent says is stored as it is and proves
 * nothing. One thread.
 */
#ifndef SEMANTOS_ADVISOR_KB_H
#define SEMANTOS_ADVISOR_KB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/advisor/reason/fact.h"
#include "agent/advisor/reason/harm.h"
#include "agent/advisor/reason/lexicon.h"

#define KB_VERSION 1
#define KB_TRACES_MAX 4000
#define KB_BYTES_MAX (256 << 20)
#define KB_TEXT_MAX 600 /* bytes of a sentence or an objective with its end */
#define KB_UNIT_MAX 16

struct kb_knob {
	char name[LEXICON_NAME_MAX];
	char was[AXIS_VALUE_MAX], value[AXIS_VALUE_MAX];
	bool moved; /* else it stood beside, and was == value */
};

struct kb_metric {
	char name[64], unit[KB_UNIT_MAX];
	double before, after; /* NaN = not known */
};

struct kb_trace {
	uint64_t proposal, goal, unix_ms;
	char objective[KB_TEXT_MAX];
	bool lower_is_better, unsafe;
	enum fact_verdict verdict;
	double before, after, change, low, high; /* NaN = not measured */
	uint32_t pairs;
	double raw, told; /* NaN = not known */
	char text[KB_TEXT_MAX];
	size_t n_knobs, n_metrics;
	struct kb_knob knob[FACT_MOVES_MAX + FACT_BESIDE_MAX];
	struct kb_metric metric[FACT_METRICS_MAX];
};

struct kb;

/*
 * Open or make dir/knowledge.db; `dir` must be there. *note gets a sentence when a damaged file was moved aside, else "".
 * 0, or -errno with a sentence in note.
 */
int kb_open(const char *dir, struct kb **out, char note[KB_TEXT_MAX]);
void kb_close(struct kb *kb); /* accepts NULL */

/* Why the last call failed, one sentence. */
const char *kb_error(const struct kb *kb);

/* Store one; *id is its number. 1: it was there before; 0; -ENOSPC: the disk or the file is full; -EIO. Nothing is half stored. */
int kb_add(struct kb *kb, const struct kb_trace *trace, uint64_t *id);

/* The newest of this objective, newest first, as facts by the lexicon, which learns their names. 0, -ENOMEM or -EIO. */
int kb_facts(struct kb *kb, const char *objective, bool lower_is_better, struct lexicon *lexicon,
	struct fact *fact, size_t most, size_t *n);

/* What was held of harm and what came of it, of all objectives, newest first. 0 or -EIO. */
int kb_outcomes(struct kb *kb, struct harm_outcome *outcome, size_t most, size_t *n);

/* One trace as a fact; -ENOMEM, -ENOSPC: a name found no room, and the fact lacks it; -EINVAL: it tells of no known knob. */
int kb_fact_of(
	const struct kb_trace *trace, uint64_t id, struct lexicon *lexicon, struct fact *fact);

/* Weights of couplings, by name: those of `from` index on are filled in from the file; one is stored. 0 or -EIO, -ENOSPC. */
int kb_edges(struct kb *kb, struct lexicon *lexicon, size_t from);
int kb_edge_store(struct kb *kb, const struct lexicon *lexicon, const struct coupling *coupling);

/* Traces that are there; those that went for want of room, since the file was made; the highest number of a proposal. */
struct kb_counts {
	uint64_t traces, dropped, last_proposal;
};
int kb_counts(struct kb *kb, struct kb_counts *counts);

#endif
