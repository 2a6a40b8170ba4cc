/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune.h - the tuning loop: ask, check, admit, try in stages, keep or undo, remember. One goal at a time.
 *
 * One thread of its own carries the loop; it may wait for the disk, which the agent's loop never may. Everything here is for
 * any thread. What the advisor proposes counts as hostile until tune_propose has looked at it; what it may bring about is
 * bounded by the question's knobs, their tables, the limit on uncertainty and the trials of the goal. A client that goes
 * (tune_leave) has what is being tried undone. The loop in words: docs/tuning.md.
 */
#ifndef SEMANTOS_CORE_TUNE_H
#define SEMANTOS_CORE_TUNE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/core/control.h"
#include "agent/safety/record.h"
#include "agent/safety/safety.h"
#include "agent/safety/slo.h"
#include "agent/telemetry/telemetry.h"

#define TUNE_PATTERNS 64 /* of knobs, in a goal */
#define TUNE_MEMBERS RECORD_KNOBS_MAX /* a change has a knob for each */
#define TUNE_MEMBERS_TEXT 256 /* their names with commas */
#define TUNE_OFFERED 512 /* knobs of one question */
#define TUNE_RECORDS 64 /* proposals kept whole */
#define TUNE_EVENTS 128 /* that wait for a slow client */
#define TUNE_METRICS 256 /* of one picture of the telemetry */
#define TUNE_RATIONALE 2001 /* sizes with the final NUL */
#define TUNE_EVIDENCE 1001
#define TUNE_OBJECTIVE 608 /* what is measured, and of which members */
#define TUNE_CEILING 0.5 /* tau is never above it */
#define TUNE_TICK_MS 25 /* how often guards are looked at while something is tried */
#define TUNE_WAIT_MS 3600000 /* for the operator's word, then the proposal is stale */

struct tuner;

/* Where changes are made; every call waits for it. Errors as those of safety.h, in the reply. */
struct tuner_ops {
	void (*apply)(void *ctx, const struct safety_request *request, struct control_reply *reply);
	void (*swap)(void *ctx, uint64_t change, uint32_t new_set, struct control_reply *reply);
	void (*keep)(void *ctx, uint64_t change, const char *observed, struct control_reply *reply);
	void (*rollback)(void *ctx, uint64_t change, const char *because, const char *observed,
		struct control_reply *reply);
	bool (*in_force)(void *ctx, uint64_t change);
	void *ctx;
};

struct tuner_options {
	struct tuner_ops ops;
	const char *root; /* where knobs are looked for; NULL = this machine */
	const char *file; /* what is remembered; NULL = nothing is */
	uint64_t (*now_ns)(void *ctx); /* NULL = CLOCK_BOOTTIME */
	void *clock_ctx;
	bool no_thread; /* of tests: tuner_step() is called instead */
};

struct guard;
struct tuner_ops tune_ops(struct guard *guard); /* the running agent's */

struct tuner *tuner_new(const struct tuner_options *options); /* NULL: no memory or no thread */
/* Sources of telemetry from here on; it must live until tuner_end(). */
void tuner_telemetry(struct tuner *tuner, struct telemetry *telemetry);
/* Undo what is being tried, end the goal and the thread; later calls are answered -ESHUTDOWN. Accepts NULL. */
void tuner_end(struct tuner *tuner);
void tuner_free(struct tuner *tuner); /* accepts NULL */
/* One look at everything; when the next is due (UINT64_MAX: when something comes). */
uint64_t tuner_step(struct tuner *tuner);

/* ---- the operator's side ---- */

struct tune_goal {
	struct slo_guard guard[SLO_GUARDS];
	uint32_t n_guards;
	struct slo_source objective;
	bool lower_is_better;
	bool automatic; /* otherwise each proposal waits for tune_approve() */
	char pattern[TUNE_PATTERNS][RECORD_NAME_MAX];
	uint32_t
		n_patterns; /* 0 = what the tables call of low risk, of what the objective's metric is about */
	/*
	 * Devices or control groups that are alike, 0 or 2 to TUNE_MEMBERS: what is tried is one value for all of them, on a
	 * growing share of them at a time, and the objective is measured for each. Its label is "*" then, and the names of
	 * knobs have a * in their place.
	 */
	char member[TUNE_MEMBERS][SLO_NAME];
	uint32_t n_members;
	uint32_t slice_ms, washout_ms, pairs, trials; /* 0 = the default */
	uint64_t seed;
	char because[256];
};

struct tune_event {
	const char *kind; /* static: as the protocol has them */
	char text[512];
	uint64_t proposal, change, unix_ms;
	uint32_t source;
	double before, after, low, high; /* NaN = not known */
};

/* Begin. Its number, or 0 with the reply: -EBUSY names the goal that is there, -EINVAL what is wrong with this one. */
uint64_t tune_begin(struct tuner *tuner, const struct tune_goal *goal, struct control_reply *reply);
/*
 * The next event: 0, -ETIMEDOUT, or -ESHUTDOWN when there is no such goal any more. The last one is "ended". What found the
 * queue full was dropped, and the text of the next one says how many.
 */
int tune_next(struct tuner *tuner, uint64_t goal, struct tune_event *event, uint32_t timeout_ms);
void tune_leave(struct tuner *tuner, uint64_t goal);

/* source: 0 = the objective, 1 + i = guard i, 1 + guards + m = the objective of member m, in place of source 0. */
void tune_report(struct tuner *tuner, uint32_t source, double value, uint32_t took_ms,
	const char *error, struct control_reply *reply);
void tune_approve(struct tuner *tuner, uint64_t proposal, struct control_reply *reply);
void tune_reject(
	struct tuner *tuner, uint64_t proposal, const char *why, struct control_reply *reply);
void tune_reset(struct tuner *tuner, bool forget, struct control_reply *reply);
/* This change was undone because the operator asked: if it was the tuner's, that is remembered. */
void tune_rolled_back(struct tuner *tuner, uint64_t change);

enum tune_state {
	TUNE_WAITING,
	TUNE_APPROVED,
	TUNE_TRYING,
	TUNE_KEPT,
	TUNE_UNDONE,
	TUNE_REJECTED,
	TUNE_VETOED,
	TUNE_STALE
};
enum tune_verdict {
	TUNE_NONE,
	TUNE_V_KEPT,
	TUNE_V_NO_EFFECT,
	TUNE_V_WORSE,
	TUNE_V_BREACH,
	TUNE_V_STOPPED,
	TUNE_V_VETOED,
	TUNE_V_REJECTED
};
const char *tune_state_name(enum tune_state state);
const char *tune_verdict_name(enum tune_verdict verdict);

struct tune_knob {
	char name[RECORD_NAME_MAX], value[RECORD_VALUE_MAX];
};

/* What a goal may change. */
struct tune_offer {
	struct tune_knob *knob; /* [n]; of members one for all of them, with its * */
	uint32_t n;
	uint32_t left_out; /* beyond TUNE_OFFERED */
	uint32_t differ; /* members read differently, so it is not offered; */
	char first[400]; /* the first of those, "sysfs:block/…: 128 of vda, 256 of vdb" */
};

/*
 * By the goal's patterns and members; below root (NULL = this machine), without a tuner. 0 or -ENOMEM; knob is the
 * caller's to free. Reads only.
 */
int tune_offer(const char *root, const struct tune_goal *goal, struct tune_offer *offer);

/* "block, io scheduler, memory": subsystems that are offered when no knob is named; "" = all. */
void tune_scope(const struct tune_goal *goal, char *out, size_t size);

struct tune_picture {
	uint32_t n;
	struct metric_view metric[]; /* [n] */
};

/* A proposal from first to last. */
struct tune_record {
	uint64_t id, goal, change, unix_ms;
	uint64_t seq; /* of what came of it, among all; 0 = nothing yet */
	enum tune_state state;
	enum tune_verdict verdict;
	bool lower_is_better, unsafe;
	uint32_t n_knobs, pairs;
	double expected, uncertainty;
	double before, after, change_share, low, high; /* NaN = not known */
	char objective[TUNE_OBJECTIVE], members[TUNE_MEMBERS_TEXT]; /* "" = none */
	struct tune_knob knob[RECORD_KNOBS_MAX], was[RECORD_KNOBS_MAX];
	char rationale[TUNE_RATIONALE], evidence[TUNE_EVIDENCE];
	char text[512]; /* what came of it */
	struct tune_picture *telemetry_before, *telemetry_after; /* NULL = none was taken */
};

struct tune_view {
	uint32_t n, outcomes;
	struct tune_record *record; /* [n] newest first; without pictures */
	char goal[TUNE_OBJECTIVE + 300]; /* one sentence, "" = none */
	double tau;
	char tau_why[300]; /* one sentence, as threshold_why() has it; "" = none */
	bool advisor;
};

/* proposal: 0 = all that are kept whole. 0, -ENOENT or -ENOMEM. */
int tune_view(struct tuner *tuner, uint64_t proposal, struct tune_view *view);
void tune_view_free(struct tune_view *view); /* accepts a zeroed one */

/* ---- the advisor's side ---- */

struct tune_question {
	uint64_t number; /* 0 = nothing is asked any more; the rest is not set then */
	uint64_t goal;
	char objective[TUNE_OBJECTIVE];
	bool lower_is_better;
	double objective_now;
	uint32_t n_knobs, trials_left;
	uint32_t knobs_at_most; /* of a proposal */
	struct tune_knob *knob; /* [n_knobs] */
	struct tune_picture *telemetry; /* NULL = none */
};

/* What the advisor gets: one of the two. */
struct tune_ask {
	bool is_outcome;
	struct tune_question question;
	struct tune_record outcome;
};

/* Be the advisor. A number, or 0 with the reply: -EBUSY, there is one. */
uint64_t tune_watch(struct tuner *tuner, uint64_t outcomes_after, struct control_reply *reply);
/* 0 with *ask the caller's, -ETIMEDOUT, -ENOMEM, or -ESHUTDOWN. */
int tune_next_ask(struct tuner *tuner, uint64_t watch, struct tune_ask **ask, uint32_t timeout_ms);
void tune_ask_free(struct tune_ask *ask); /* accepts NULL */
void tune_unwatch(struct tuner *tuner, uint64_t watch);

struct tune_proposal {
	uint64_t question;
	const struct control_knob *knob; /* [n_knobs] texts of any length */
	size_t n_knobs;
	const char *rationale, *evidence;
	double expected, uncertainty;
};

/* -EINVAL, -ERANGE, -ENOENT: it is wrong; -ESTALE, -EBUSY: not what is asked now; -EPERM: it was tried and undone. */
void tune_propose(
	struct tuner *tuner, const struct tune_proposal *proposal, struct control_reply *reply);

#endif
