/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_internal.h - the tuner's insides. Of tune*.c alone.
 *
 * tune.c has the thread, tune_operator.c and tune_advisor.c the calls; tune_session.c the order of things; tune_trial.c
 * one proposal being tried;
 * tune_check.c what is refused; tune_knobs.c what is offered, tune_family.c of members; tune_memory.c what is remembered. Everything under `lock`,
 * which is let go while ops, files or knobs are waited for: only the thread moves a session on and frees it, calls leave
 * it a note (gone, stop, approved, inbox).
 */
#ifndef SEMANTOS_CORE_TUNE_INTERNAL_H
#define SEMANTOS_CORE_TUNE_INTERNAL_H

#include <pthread.h>
#include <time.h>
#include "agent/core/tune.h"
#include "agent/safety/drift.h"
#include "agent/safety/rollout.h"
#include "agent/safety/threshold.h"
#include "agent/util/knob_scan.h"

#define TUNE_MEMORY THRESHOLD_WINDOW
#define TUNE_HELD 32 /* knobs of one goal that others hold */
#define NS_PER_MS 1000000ULL
#define NS_PER_S 1000000000ULL

/* What is remembered of an outcome as long as it counts. */
#define LOAD_REPORTS 3 /* that tell of another load: a single one may be off */

struct tune_memory {
	uint64_t key; /* objective, knobs and values from and to */
	double u;
	double before; /* the objective then; 0 = not known */
	enum tune_verdict verdict;
	bool unsafe;
};

struct tune_inbox {
	bool full;
	struct tune_record record; /* what is filled in: knobs, was, texts, numbers */
};

enum tune_phase { TUNE_SETTLE, TUNE_ASK, TUNE_WAIT, TUNE_TRY, TUNE_REST, TUNE_ENDED };

struct tune_session {
	uint64_t id;
	struct tune_goal goal;
	char objective[TUNE_OBJECTIVE];
	enum tune_phase phase;
	uint64_t phase_ns; /* when it began; TUNE_REST: when it ends */
	struct slo_series *series; /* [tune_n_sources()], as tune_source() numbers them */
	uint64_t snapshot; /* number of the telemetry's last one taken in */
	uint32_t trials_left;
	char idle_why[SLO_WHY]; /* said already */

	struct tune_knob *offered; /* [n_offered] of the question */
	uint32_t n_offered;
	uint64_t question; /* number, 0 = none is open */
	struct tune_picture *picture; /* of the question */
	bool last_question_said; /* how many knobs were left out */
	uint64_t stale_look_ns;
	struct tune_inbox inbox;
	char held[TUNE_HELD][RECORD_NAME_MAX]; /* ring: not offered again */
	uint32_t n_held;
	struct tune_knob refused[TUNE_HELD]; /* ring: values that the kernel did not take */
	uint32_t n_refused;

	struct tune_record *record; /* the proposal at hand, in the tuner's list; NULL = none */
	struct rollout rollout;
	uint32_t stage_said;
	uint64_t begin_ns; /* of the measurement */
	uint64_t set_since_ns; /* a SET not carried out yet is tried again; 0 = none */
	uint64_t set_again_ns;
	bool breach, by_operator, stopped;
	uint64_t undo_again_ns;
	uint32_t undo_tries;

	bool gone, approved, rejected;
	char stop[200]; /* why all ends, "" = it does not */
	char reject_why[256];

	struct tune_event event[TUNE_EVENTS]; /* ring */
	uint32_t first_event, n_events;
	uint64_t dropped;
	struct tune_event last; /* "ended" */
	bool ended, last_taken;
};

struct tuner {
	struct tuner_options options;
	char root[512], file[512];
	struct telemetry *telemetry; /* NULL = none */
	pthread_mutex_t lock;
	pthread_mutex_t file_lock; /* one writer of the file at a time; taken before `lock` */
	pthread_cond_t wake, news; /* the thread's; those who wait for events and questions */
	pthread_t thread;
	bool running, ending, stuck;

	struct tune_session *session; /* NULL = no goal */
	uint64_t last_goal, last_question, last_watch;

	struct tune_record *record[TUNE_RECORDS]; /* [n_records] by age */
	uint32_t n_records;
	uint64_t last_record, last_seq;
	struct tune_memory memory[TUNE_MEMORY]; /* ring */
	uint32_t next_memory, n_memory;
	struct threshold threshold;
	struct drift drift;

	uint64_t watch; /* number of the advisor's stream, 0 = none */
	uint64_t watch_seq; /* outcomes sent up to here */
	uint64_t watch_question; /* number sent last */
	uint64_t watch_after; /* outcomes of proposals up to here it knows, */
	uint64_t watch_base; /* unless they came after this one of all outcomes */
};

uint64_t tune_now(const struct tuner *t);
uint64_t tune_unix_ms(void);

/* ---- tune.c ---- */

struct timespec tune_deadline(uint32_t ms); /* CLOCK_MONOTONIC, as the conditions' */
__attribute__((format(printf, 3, 4))) void tune_answer(
	struct control_reply *reply, int error, const char *fmt, ...);
/* Under `lock`; NULL: there is no such goal (any more). */
struct tune_session *tune_session_of(struct tuner *t, uint64_t goal);

/* Into the client's queue. record may be NULL; its numbers go along when it has an outcome. */
__attribute__((format(printf, 4, 5))) void tune_say(
	struct tuner *t, const char *kind, const struct tune_record *record, const char *fmt, ...);
struct tune_picture *tune_picture(struct tuner *t); /* NULL = no telemetry */

/* ---- tune_session.c ---- */

uint64_t tune_session_step(struct tuner *t, uint64_t now); /* when the next is due */
void tune_session_end(struct tuner *t, const char *why);
void tune_session_free(struct tune_session *s); /* accepts NULL */
void tune_to(struct tune_session *s, enum tune_phase phase, uint64_t ns);

/* ---- tune_trial.c ---- */

bool tune_trial_begin(struct tuner *t, uint64_t now); /* false: the proposal ended */
uint64_t tune_trial_step(struct tuner *t, uint64_t now);
/* The proposal at hand has come to an end; into the memory, to the client and the advisor. */
void tune_conclude(struct tuner *t, enum tune_state state, enum tune_verdict verdict, bool unsafe,
	const char *text);

/* ---- tune_check.c ---- */

/* Fill in the defaults. 0, or -EINVAL with a sentence. */
int tune_check_goal(struct tune_goal *goal, struct control_reply *reply);
/* Take it as record, or refuse it. Under `lock`. */
void tune_check_proposal(struct tuner *t, const struct tune_proposal *proposal,
	struct tune_record *record, struct control_reply *reply);

/* ---- tune_knobs.c; without `lock` ---- */

/* Do all still read so? False, with the first that does not in name[RECORD_NAME_MAX]. */
bool tune_unchanged(const char *root, const struct tune_goal *goal, const struct tune_knob *was,
	uint32_t n, char *name);
/* Is this knob of the goal's, by its name? *outright: without a pattern. */
bool tune_asked(const struct tune_goal *goal, const struct knob_desc *desc, const char *name,
	bool *outright);
void tune_offer_add(struct tune_offer *offer, const char *name, const char *value);

/* ---- tune_family.c; without `lock` ---- */

/* The knob of this member: its name in place of the *. */
void tune_member_knob(const char *family, const char *member, char out[RECORD_NAME_MAX]);
/* Of the members of a goal, as tune_offer(). */
void tune_offer_families(const char *root, const struct tune_goal *goal, struct knob_here *here,
	struct tune_offer *offer);
/* How many knobs a change of this family has for all members, with those they are coupled with. */
uint32_t tune_family_size(const struct tune_goal *goal, const char *family);
/* "vda, vdb" */
void tune_members_text(const struct tune_goal *goal, char out[TUNE_MEMBERS_TEXT]);

/* ---- sources of a goal: 0 = the objective, 1 + i = guard i, then the objective of each member ---- */

uint32_t tune_n_sources(const struct tune_goal *goal);
/* The i-th; *measured (may be NULL): not so of the objective itself when it has members. */
void tune_source(
	const struct tune_goal *goal, uint32_t i, struct slo_source *source, bool *measured);
/* Index of the objective of member m; 0 when there are no members and m is 0. */
uint32_t tune_objective(const struct tune_goal *goal, uint32_t m);
uint32_t tune_units(const struct tune_goal *goal); /* members, or 1 */

/* ---- tune_advisor.c ---- */

double tune_objective_now(
	const struct tune_session *s); /* of members the mean; NaN = it is not heard */

/* ---- tune_memory.c ---- */

uint64_t tune_key(const struct tune_record *record);
/*
 * Is the objective nowhere near what it was in any trial of it? Then the load is another, and what tau rests on says nothing of
 * it. Before each question.
 */
void tune_look_at_load(struct tuner *t, const struct tune_session *s);
/* Was this tried and undone, the objective being about as it is now (NaN: not known)? Then true, with how in *verdict. */
bool tune_remembered(const struct tuner *t, const struct tune_record *record, double now,
	enum tune_verdict *verdict);
/* An outcome: into the memory, and what tau is taken from. */
void tune_remember(struct tuner *t, const struct tune_record *record);
void tune_forget(struct tuner *t);
struct tune_record *tune_record_new(struct tuner *t); /* the newest; NULL: no memory */
struct tune_record *tune_record_find(struct tuner *t, uint64_t id);
void tune_record_free(struct tune_record *record); /* accepts NULL */
void tune_save(struct tuner *t); /* lets `lock` go while it writes */
void tune_load(struct tuner *t); /* what is damaged is left out, and said */

#endif
