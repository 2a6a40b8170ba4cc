// SPDX-License-Identifier: Apache-2.0
/*
 * tune_session.c - the order of things for one goal: wait until its guards hold, ask, take the answer, have it tried, rest,
 * ask again; until the trials are used up, nothing is left to try, or the client is gone.
 *
 * On the tuner's thread. A session is freed here alone.
 */
#include "agent/core/tune_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/util/log.h"

#define LOOK_MS 250 /* while nothing is tried */
#define STALE_LOOK_MS 2000 /* do the values still stand that a waiting proposal was made for? */

void tune_session_free(struct tune_session *s)
{
	if (!s)
		return;
	free(s->series);
	free(s->offered);
	free(s->picture);
	free(s);
}

void tune_to(struct tune_session *s, enum tune_phase phase, uint64_t ns)
{
	s->phase = phase;
	s->phase_ns = ns;
}

static void close_question(struct tuner *t)
{
	t->session->question = 0;
	t->session->inbox.full = false;
	pthread_cond_broadcast(&t->news);
}

void tune_session_end(struct tuner *t, const char *why)
{
	struct tune_session *s = t->session;

	close_question(t);
	if (!s->ended)
		tune_say(t, "ended", NULL, "Goal %llu has ended: %.300s.",
			(unsigned long long)s->id, why);
	tune_to(s, TUNE_ENDED, tune_now(t));
}

/* ---- sources ---- */

static enum telemetry_figure figure_of(const char *text)
{
	static const char *const names[] = { "value", "median", "p95", "p99", "per_s",
		"anomalies" };
	unsigned int figure = TELEMETRY_VALUE;

	/* the goal was checked: it is one of them */
	while (figure < TELEMETRY_ANOMALIES && strcmp(text, names[figure]) != 0)
		figure++;
	return (enum telemetry_figure)figure;
}

/* A new snapshot is a report of every source it has: a metric that is not in it, or has no such value now, failed. */
static void take_telemetry(struct tuner *t, uint64_t now)
{
	struct tune_session *s = t->session;
	uint64_t number = t->telemetry ? telemetry_number(t->telemetry) : 0;

	/* looked at often: nothing is searched for between two snapshots */
	if (number == s->snapshot)
		return;
	for (uint32_t i = 0; i < tune_n_sources(&s->goal); i++) {
		struct slo_source source;
		double value = NAN;
		bool measured;
		int err;

		tune_source(&s->goal, i, &source, &measured);
		if (source.kind != SLO_TELEMETRY || !measured)
			continue;
		err = telemetry_figure(t->telemetry, source.metric, source.label,
			figure_of(source.figure), &value, &number);
		slo_report(&s->series[i], now, source.every_ms * NS_PER_MS, err ? NAN : value,
			err == -ENOENT	  ? "it is not measured here (any more)"
			: err == -ENODATA ? "it has no value now"
					  : NULL);
	}
	s->snapshot = number;
}

/* ---- phases ---- */

static void say_idle(struct tuner *t, const char *why)
{
	struct tune_session *s = t->session;

	if (strcmp(s->idle_why, why) == 0)
		return;
	snprintf(s->idle_why, sizeof(s->idle_why), "%s", why);
	tune_say(t, "idle", NULL, "Nothing is tried while this is so: %s.", why);
}

/* Is the objective heard, that of each member? Else as settled(). */
static bool heard(const struct tune_session *s, uint32_t unit, uint64_t now, char *why, size_t size,
	bool *late)
{
	uint32_t index = tune_objective(&s->goal, unit);
	const struct slo_series *objective = &s->series[index];
	const char *of = s->goal.n_members ? " of " : "";
	const char *member = s->goal.n_members ? s->goal.member[unit] : "";
	struct slo_source source;
	char what[SLO_TEXT + SLO_NAME];

	tune_source(&s->goal, index, &source, NULL);
	slo_source_text(&s->goal.objective, what, sizeof(what));
	*late = true;
	if (slo_silent(objective, &source, now)) {
		snprintf(why, size, "%.100s, the objective,%s%.40s is silent", what,
			s->goal.n_members ? of : "", member);
		return false;
	}
	if (isfinite(slo_last(objective)))
		return true;
	*late = objective->count > 0;
	snprintf(why, size, "%.80s, the objective,%s%.40s gave no number%s%.60s", what, of, member,
		objective->error[0] ? ": " : "", objective->error);
	return false;
}

/* Do all guards hold, and is the objective heard? Else why not, and whether that is only a matter of time. */
static bool settled(struct tuner *t, uint64_t now, char *why, size_t size, bool *late)
{
	struct tune_session *s = t->session;

	for (uint32_t i = 0; i < s->goal.n_guards; i++) {
		enum slo_state state =
			slo_look(&s->goal.guard[i], &s->series[1 + i], now, why, size);

		if (state == SLO_HOLDS)
			continue;
		*late = state == SLO_BROKEN;
		return false;
	}
	for (uint32_t u = 0; u < tune_units(&s->goal); u++) {
		if (!heard(s, u, now, why, size, late))
			return false;
	}
	return true;
}

static bool is_held(const struct tune_session *s, const char *name)
{
	for (uint32_t i = 0; i < s->n_held && i < TUNE_HELD; i++) {
		if (strcmp(s->held[i], name) == 0)
			return true;
	}
	return false;
}

/* What a client does not see of the question, once a goal. */
static void say_left_out(struct tuner *t, const struct tune_offer *offer)
{
	struct tune_session *s = t->session;

	if (s->last_question_said)
		return;
	s->last_question_said = true;
	if (offer->left_out)
		tune_say(t, "idle", NULL,
			"%u knobs are offered, and %u more are not: name fewer of them.",
			s->n_offered, offer->left_out);
	if (offer->differ)
		tune_say(t, "idle", NULL,
			"%u setting%s not offered, because the members differ in %s: %.350s.",
			offer->differ, offer->differ == 1 ? " is" : "s are",
			offer->differ == 1 ? "it" : "them", offer->first);
}

static void ask(struct tuner *t, uint64_t now)
{
	struct tune_session *s = t->session;
	struct tune_offer offer;
	char why[500];
	int err;

	pthread_mutex_unlock(&t->lock);
	err = tune_offer(t->root, &s->goal, &offer);
	pthread_mutex_lock(&t->lock);
	if (err) {
		tune_session_end(t, "the agent has no memory left");
		return;
	}
	free(s->offered);
	s->offered = offer.knob;
	s->n_offered = 0;
	for (uint32_t i = 0; i < offer.n; i++) {
		if (!is_held(s, offer.knob[i].name))
			s->offered[s->n_offered++] = offer.knob[i];
	}
	if (!s->n_offered) {
		snprintf(why, sizeof(why), "%s%s%s%.350s%s",
			offer.n ? "every knob it may change is held by a change in force"
				: "this machine has no knob it may change",
			s->goal.n_members && !offer.n ? " that all members have" : "",
			offer.differ ? " with the same value (" : "", offer.first,
			offer.differ ? ")" : "");
		tune_session_end(t, why);
		return;
	}
	say_left_out(t, &offer);
	free(s->picture);
	s->picture = tune_picture(t);
	tune_look_at_load(t, s);
	s->question = ++t->last_question;
	s->inbox.full = false;
	tune_to(s, TUNE_ASK, now);
	pthread_cond_broadcast(&t->news);
}

static void settle(struct tuner *t, uint64_t now)
{
	struct tune_session *s = t->session;
	char why[SLO_WHY];
	bool late;

	if (!settled(t, now, why, sizeof(why), &late)) {
		if (late)
			say_idle(t, why);
		return;
	}
	if (s->trials_left == 0) {
		tune_session_end(t, "its trials are used up");
		return;
	}
	s->idle_why[0] = '\0';
	ask(t, now);
}

static void list_knobs(const struct tune_record *record, char *out, size_t size)
{
	size_t len = 0;

	out[0] = '\0';
	for (uint32_t i = 0; i < record->n_knobs; i++)
		record_add(out, size, &len, "%s%.100s %.40s -> %.40s", i ? ", " : "",
			record->knob[i].name, record->was[i].value, record->knob[i].value);
}

static void take_answer(struct tuner *t, uint64_t now)
{
	struct tune_session *s = t->session;
	struct tune_record *record;
	char knobs[300], why[ROLLOUT_WHY];
	const char *on;

	if (s->inbox.record.n_knobs == 0) {
		record_text(knobs, sizeof(knobs), s->inbox.record.rationale);
		tune_say(t, "idle", NULL, "The advisor has nothing to propose: %s", knobs);
		tune_session_end(t, "the advisor has nothing more to propose");
		return;
	}
	record = tune_record_new(t);
	if (!record) {
		tune_session_end(t, "the agent has no memory left");
		return;
	}
	{
		uint64_t id = record->id;

		*record = s->inbox.record;
		record->id = id;
	}
	record->goal = s->id;
	record->lower_is_better = s->goal.lower_is_better;
	memcpy(record->objective, s->objective, sizeof(record->objective));
	tune_members_text(&s->goal, record->members);
	record->before = record->after = record->change_share = record->low = record->high = NAN;
	record->unix_ms = tune_unix_ms();
	record->state = TUNE_WAITING;
	s->record = record;
	s->trials_left--;
	close_question(t);
	list_knobs(record, knobs, sizeof(knobs));
	on = record->members[0] ? " on each of " : "";
	tune_say(t, "proposed", record, "Proposal %llu: %s%s%.100s, because %.150s",
		(unsigned long long)record->id, knobs, on, record->members, record->rationale);
	if (!threshold_admit(&t->threshold, record->uncertainty, why, sizeof(why))) {
		tune_conclude(t, TUNE_VETOED, TUNE_V_VETOED, false, why);
		return;
	}
	tune_say(t, "admitted", record, "Proposal %llu is admitted: its uncertainty is %.2f.",
		(unsigned long long)record->id, record->uncertainty);
	s->approved = s->rejected = false;
	if (s->goal.automatic) {
		tune_trial_begin(t, now);
		return;
	}
	tune_say(t, "waiting", record,
		"Proposal %llu waits: semantosctl approve %llu, or reject %llu --why TEXT.",
		(unsigned long long)record->id, (unsigned long long)record->id,
		(unsigned long long)record->id);
	tune_to(s, TUNE_WAIT, now);
	s->stale_look_ns = now;
}

/* The operator's word, or a reason not to wait for it any more. */
static void wait_for_word(struct tuner *t, uint64_t now)
{
	struct tune_session *s = t->session;
	char name[RECORD_NAME_MAX], text[400];
	bool same;

	if (s->rejected) {
		snprintf(text, sizeof(text), "the operator rejected it: %s", s->reject_why);
		tune_conclude(t, TUNE_REJECTED, TUNE_V_REJECTED, false, text);
		return;
	}
	if (s->approved) {
		tune_trial_begin(t, now);
		return;
	}
	if (now - s->phase_ns > TUNE_WAIT_MS * NS_PER_MS) {
		tune_conclude(t, TUNE_STALE, TUNE_V_STOPPED, false,
			"nobody said a word on it within an hour");
		return;
	}
	if (now - s->stale_look_ns < STALE_LOOK_MS * NS_PER_MS)
		return;
	s->stale_look_ns = now;
	pthread_mutex_unlock(&t->lock);
	same = tune_unchanged(t->root, &s->goal, s->record->was, s->record->n_knobs, name);
	pthread_mutex_lock(&t->lock);
	if (!same && !s->approved) {
		snprintf(text, sizeof(text),
			"%.200s was changed since, so it does not fit any more", name);
		tune_conclude(t, TUNE_STALE, TUNE_V_STOPPED, false, text);
	}
}

/* Why all is to end, or NULL. */
static const char *ending(const struct tuner *t)
{
	const struct tune_session *s = t->session;

	if (t->ending)
		return "the agent ends";
	if (s->gone)
		return "the client is gone";
	return s->stop[0] ? s->stop : NULL;
}

/* With what is being tried undone, or left to the keeper. True: the session is freed. */
static bool wind_up(struct tuner *t, uint64_t now, uint64_t *next)
{
	struct tune_session *s = t->session;
	const char *why = ending(t);

	if (!why)
		return false;
	if (s->phase == TUNE_TRY) {
		if (s->rollout.phase != ROLLOUT_OVER) {
			rollout_stop(&s->rollout, why);
			s->stopped = true;
		}
		*next = tune_trial_step(t, now);
		/* it is being tried to undo it, which the end of the agent does not wait for: see guard_end() */
		if (s->phase == TUNE_TRY && !t->ending)
			return false;
	} else if (s->record) {
		tune_conclude(t, TUNE_STALE, TUNE_V_STOPPED, false, why);
	}
	if (s->phase != TUNE_ENDED)
		tune_session_end(t, why);
	if (!s->gone && !t->ending)
		return false;
	t->session = NULL;
	tune_session_free(s);
	pthread_cond_broadcast(&t->news);
	*next = UINT64_MAX;
	return true;
}

uint64_t tune_session_step(struct tuner *t, uint64_t now)
{
	struct tune_session *s = t->session;
	uint64_t next = now + LOOK_MS * NS_PER_MS;

	if (wind_up(t, now, &next))
		return next;
	if (s->phase == TUNE_TRY && ending(t))
		return next;
	if (s->phase != TUNE_ENDED)
		take_telemetry(t, now);
	if (s->phase == TUNE_REST && now >= s->phase_ns)
		tune_to(s, TUNE_SETTLE, now);
	switch (s->phase) {
	case TUNE_SETTLE:
		settle(t, now);
		break;
	case TUNE_ASK:
		if (!t->watch)
			say_idle(t, "no advisor is connected; start semantos-advisor");
		if (s->inbox.full)
			take_answer(t, now);
		break;
	case TUNE_WAIT:
		wait_for_word(t, now);
		break;
	case TUNE_TRY:
		return tune_trial_step(t, now);
	case TUNE_ENDED:
		return UINT64_MAX;
	default:
		break;
	}
	/* what came about may be gone on with at once */
	if (s->phase == TUNE_TRY || ending(t))
		return now;
	return next;
}
