/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_world.h - a made-up machine for the tuning loop: knobs on a fake root, a metric that follows them, a clock that the
 * test moves, an advisor that reads from a script; changes go through a real struct safety. Included by one test program.
 */
#ifndef TESTS_TUNE_WORLD_H
#define TESTS_TUNE_WORLD_H

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "agent/core/tune_internal.h"
#include "agent/infer/random.h"
#include "agent/safety/watch.h"
#include "tests/unit/safety_root.h"

#define MS 1000000ULL
#define STEP_MS 10 /* reports come so often */
#define SLICE_MS 60
#define EVENTS 2000

static struct world {
	struct fake f;
	struct safety *s;
	struct tuner *t;
	struct random_state random;
	uint64_t goal, watch, now_ms;
	char file[100];
	bool silent_objective, silent_guard;
	const char *not_taken; /* a value that this kernel does not take */
	double guard; /* what its source reports now */
	double (*metric)(void); /* of the machine as it is */
	double (*of_member)(uint32_t member); /* the same of each member of the goal */
	uint32_t members;
	void (*each)(void); /* after each step */
	/* the script: answers in turn; what it got */
	struct answer {
		const char *name, *value;
		double u;
	} answer[16];
	uint32_t n_answers, next_answer;
	struct control_reply said; /* to the last proposal */
	struct tune_record outcome[32];
	uint32_t n_outcomes, n_questions;
	struct tune_question question; /* the last; its lists are freed */
	struct tune_event event[EVENTS];
	uint32_t n_events;
} w;

/* ---- changes, straight into struct safety ---- */

static void reply_of(
	struct control_reply *reply, int err, uint64_t id, const struct safety_error *error)
{
	reply->error = err;
	reply->change = id;
	snprintf(reply->text, sizeof(reply->text), "%s", error->text);
}

static void world_apply(void *ctx, const struct safety_request *rq, struct control_reply *reply)
{
	struct safety_error error = { "" };
	uint64_t id = 0;
	int err;

	(void)ctx;
	if (w.not_taken && strcmp(rq->knob[0].value, w.not_taken) == 0) {
		snprintf(error.text, sizeof(error.text),
			"the kernel refused %s for %.200s: Invalid argument", w.not_taken,
			rq->knob[0].name);
		reply_of(reply, -EINVAL, 0, &error);
		return;
	}
	err = safety_apply(w.s, rq, &id, &error);
	reply_of(reply, err, id, &error);
}

static void world_swap(void *ctx, uint64_t change, uint32_t new_set, struct control_reply *reply)
{
	struct safety_error error = { "" };
	int err;

	(void)ctx;
	err = safety_swap_some(w.s, change, new_set, &error);
	reply_of(reply, err, change, &error);
}

static void world_keep(
	void *ctx, uint64_t change, const char *observed, struct control_reply *reply)
{
	struct safety_error error = { "" };
	int err;

	(void)ctx;
	err = safety_keep(w.s, change, observed, &error);
	reply_of(reply, err, change, &error);
}

static void world_rollback(void *ctx, uint64_t change, const char *because, const char *observed,
	struct control_reply *reply)
{
	struct safety_error error = { "" };
	int err;

	(void)ctx;
	err = safety_rollback(w.s, change, because, observed, &error);
	reply_of(reply, err, change, &error);
}

static bool world_in_force(void *ctx, uint64_t change)
{
	const struct change *found = book_find(safety_book(w.s, NULL), change);

	(void)ctx;
	return found && change_open(found);
}

static uint64_t world_now(void *ctx)
{
	(void)ctx;
	return w.f.boot_ns;
}

/* ---- the machine ---- */

static int knob_now(const char *file)
{
	char *text = file_read(w.f.root, file, NULL);
	int value = atoi(text);

	free(text);
	return value;
}

static double noise(double sd)
{
	double sum = -6;

	for (int i = 0; i < 12; i++)
		sum += random_unit(&w.random);
	return sd * sum;
}

/* 10 is better than 60 by a fifth, 90 worse by a half; the others do nothing. */
static double by_swappiness(void)
{
	int value = knob_now(SWAPPINESS_FILE);
	double mean = value == 10 ? 80 : value == 90 ? 150 : 100;

	return mean * (1 + noise(0.05));
}

static void report(uint32_t source, double value, const char *error)
{
	struct control_reply reply;

	tune_report(w.t, source, value, 5, error, &reply);
}

static void propose(uint64_t question, const char *name, const char *value, double u)
{
	const struct control_knob knob = { name, value };
	const struct tune_proposal proposal = { .question = question,
		.knob = &knob,
		.n_knobs = name ? 1 : 0,
		.rationale = "the script says so",
		.evidence = "none",
		.expected = -0.1,
		.uncertainty = u };

	tune_propose(w.t, &proposal, &w.said);
}

static void advise(void)
{
	struct tune_ask *ask;

	while (w.watch && tune_next_ask(w.t, w.watch, &ask, 0) == 0) {
		if (ask->is_outcome) {
			w.outcome[w.n_outcomes % 32] = ask->outcome;
			w.n_outcomes++;
		} else {
			w.question = ask->question;
			w.n_questions += ask->question.number != 0;
			if (ask->question.number && w.next_answer < w.n_answers) {
				const struct answer *answer = &w.answer[w.next_answer++];

				propose(ask->question.number, answer->name, answer->value,
					answer->u);
			}
		}
		tune_ask_free(ask);
	}
}

static void take_events(void)
{
	while (w.goal && w.n_events < EVENTS &&
		tune_next(w.t, w.goal, &w.event[w.n_events], 0) == 0)
		w.n_events++;
}

static inline const struct tune_event *event_of(const char *kind)
{
	for (uint32_t i = w.n_events; i-- > 0;) {
		if (strcmp(w.event[i].kind, kind) == 0)
			return &w.event[i];
	}
	return NULL;
}

static inline bool said(const char *kind, const char *text)
{
	for (uint32_t i = 0; i < w.n_events; i++) {
		if (strcmp(w.event[i].kind, kind) == 0 && strstr(w.event[i].text, text))
			return true;
	}
	return false;
}

/* One step of time: everybody does a turn. */
static void turn(void)
{
	uint64_t end = w.f.boot_ns + STEP_MS * MS;

	if (w.goal && !w.silent_objective && !w.members)
		report(0, w.metric(), NULL);
	for (uint32_t m = 0; w.goal && !w.silent_objective && m < w.members; m++)
		report(2 + m, w.of_member(m), NULL);
	if (w.goal && !w.silent_guard)
		report(1, w.guard, NULL);
	for (;;) {
		uint64_t next = tuner_step(w.t);

		take_events();
		advise();
		if (next > end)
			break;
		if (next > w.f.boot_ns)
			w.f.boot_ns = next;
	}
	w.f.boot_ns = end;
	w.now_ms += STEP_MS;
	if (w.each)
		w.each();
}

/* Until the goal says this, or so much time has passed. */
static bool run_until(const char *kind, uint64_t most_ms)
{
	uint32_t before = w.n_events;

	for (uint64_t end = w.now_ms + most_ms; w.now_ms < end;) {
		turn();
		for (; before < w.n_events; before++) {
			if (strcmp(w.event[before].kind, kind) == 0)
				return true;
		}
	}
	return false;
}

static struct tune_goal goal_of(bool automatic)
{
	struct tune_goal goal = {
		.objective = { .kind = SLO_COMMAND, .text = "latency", .every_ms = 50 },
		.lower_is_better = true,
		.automatic = automatic,
		.slice_ms = SLICE_MS,
		.washout_ms = 10,
		.pairs = 8,
		.trials = 4,
		.seed = 7,
		.n_guards = 1,
		.n_patterns = 3,
		.because = "a test asks for it",
	};

	goal.guard[0] = (struct slo_guard){
		.source = { .kind = SLO_COMMAND, .text = "errors", .every_ms = 50 },
		.relation = SLO_LESS,
		.limit = 5,
	};
	strcpy(goal.pattern[0], SWAPPINESS);
	strcpy(goal.pattern[1], READ_AHEAD);
	strcpy(goal.pattern[2], DIRTY_RATIO);
	return goal;
}

static void world_goal(const struct tune_goal *goal)
{
	struct control_reply reply;

	w.goal = tune_begin(w.t, goal, &reply);
	if (!w.goal)
		fail_msg("%s", reply.text);
}

static void script(const char *name, const char *value, double u)
{
	w.answer[w.n_answers++] = (struct answer){ name, value, u };
}

static void world_tuner(void)
{
	struct control_reply reply;
	const struct tuner_options options = { .ops = { world_apply, world_swap, world_keep,
						       world_rollback, world_in_force, NULL },
		.root = w.f.root,
		.file = w.file,
		.now_ns = world_now,
		.no_thread = true };

	w.t = tuner_new(&options);
	assert_non_null(w.t);
	w.watch = tune_watch(w.t, 0, &reply);
	assert_true(w.watch > 0);
}

static int world_make(void **state)
{
	struct safety_error error;

	(void)state;
	memset(&w, 0, sizeof(w));
	fake_make(&w.f);
	w.random.word = 1;
	w.metric = by_swappiness;
	w.guard = 1;
	snprintf(w.file, sizeof(w.file), "%s/tuner.json", w.f.scratch);
	if (safety_open(&w.s, &w.f.options, NULL, &error))
		return -1;
	world_tuner();
	return 0;
}

static int world_unmake(void **state)
{
	(void)state;
	tuner_free(w.t);
	safety_close(w.s, SAFETY_STOP);
	fake_unmake(&w.f);
	return 0;
}

__attribute__((unused)) static void run_until_swappiness(int value, uint64_t most_ms)
{
	for (uint64_t end = w.now_ms + most_ms; w.now_ms < end;) {
		turn();
		if (knob_now(SWAPPINESS_FILE) == value)
			return;
	}
	fail_msg("swappiness never was %d", value);
}

#endif
