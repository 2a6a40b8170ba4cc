// SPDX-License-Identifier: Apache-2.0
/*
 * tune_operator.c - what the operator may: begin and leave a goal, report, approve, reject, look, undo all.
 *
 * Calls leave notes for the thread and wait for nothing but `lock`; only tune_reset() waits for the disk. Must never free
 * or move a session on: that is the thread's.
 */
#include "agent/core/tune_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Are the telemetry's sources there? Each reports with every snapshot. Under `lock`. */
static bool telemetry_fits(struct tuner *t, struct tune_goal *goal, struct control_reply *reply)
{
	for (uint32_t i = 0; i < tune_n_sources(goal); i++) {
		struct slo_source source;
		uint64_t number;
		double value;
		bool measured;

		tune_source(goal, i, &source, &measured);
		if (source.kind != SLO_TELEMETRY)
			continue;
		if (!t->telemetry) {
			tune_answer(reply, -EAGAIN,
				"This agent takes no telemetry (--no-telemetry), so it can be "
				"neither objective nor guard.");
			return false;
		}
		if (i <= goal->n_guards)
			*(i ? &goal->guard[i - 1].source.every_ms : &goal->objective.every_ms) =
				1000 * telemetry_interval_s(t->telemetry);
		if (measured &&
			telemetry_figure(t->telemetry, source.metric, source.label, TELEMETRY_VALUE,
				&value, &number) == -ENOENT &&
			number) {
			tune_answer(reply, -EINVAL,
				"No metric %.60s%s%.60s is measured here: see `semantosctl "
				"telemetry`.",
				source.metric, source.label[0] ? " of " : "", source.label);
			return false;
		}
	}
	return true;
}

uint64_t tune_begin(struct tuner *t, const struct tune_goal *goal, struct control_reply *reply)
{
	struct tune_session *s = calloc(1, sizeof(*s));
	uint64_t id = 0, now;
	char what[SLO_TEXT + SLO_NAME], members[TUNE_MEMBERS_TEXT], scope[120];

	tune_answer(reply, 0, "The goal is taken up.");
	if (s) {
		s->goal = *goal;
		s->series = calloc(1 + SLO_GUARDS + TUNE_MEMBERS, sizeof(*s->series));
	}
	if (!s || !s->series) {
		tune_answer(reply, -ENOMEM, "The agent has no memory left.");
		goto out;
	}
	if (tune_check_goal(&s->goal, reply))
		goto out;
	slo_source_text(&s->goal.objective, what, sizeof(what));
	/* a goal with members is another than one without, and than one with others */
	tune_members_text(&s->goal, members);
	snprintf(s->objective, sizeof(s->objective), "%s%s%s, %s is better", what,
		members[0] ? " of each of " : "", members,
		s->goal.lower_is_better ? "lower" : "higher");
	pthread_mutex_lock(&t->lock);
	if (t->ending) {
		tune_answer(reply, -ESHUTDOWN, "The agent is ending.");
	} else if (t->session) {
		tune_answer(reply, -EBUSY, "Goal %llu is being tuned for already (%.300s)%s.",
			(unsigned long long)t->session->id, t->session->objective,
			t->session->gone ? "; what it tried is being undone, so try again"
					 : "; one at a time");
	} else if (telemetry_fits(t, &s->goal, reply)) {
		now = tune_now(t);
		id = s->id = ++t->last_goal;
		s->trials_left = s->goal.trials;
		for (uint32_t i = 0; i < tune_n_sources(&s->goal); i++)
			slo_series_reset(&s->series[i], now);
		tune_to(s, TUNE_SETTLE, now);
		t->session = s;
		tune_scope(&s->goal, scope, sizeof(scope));
		tune_say(t, "started", NULL,
			"Goal %llu: %.300s; %u guard%s, %u trial%s of %u pairs of %u ms, %s%s%s.",
			(unsigned long long)id, s->objective, s->goal.n_guards,
			s->goal.n_guards == 1 ? "" : "s", s->goal.trials,
			s->goal.trials == 1 ? "" : "s", s->goal.pairs, s->goal.slice_ms,
			s->goal.automatic ? "each tried at once" : "each waits for approval",
			scope[0] ? "; what is offered is of the " : "", scope);
		s = NULL;
		pthread_cond_signal(&t->wake);
	}
	pthread_mutex_unlock(&t->lock);
out:
	tune_session_free(s);
	return id;
}

void tune_leave(struct tuner *t, uint64_t goal)
{
	pthread_mutex_lock(&t->lock);
	if (tune_session_of(t, goal))
		t->session->gone = true;
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->lock);
}

void tune_report(struct tuner *t, uint32_t source, double value, uint32_t took_ms,
	const char *error, struct control_reply *reply)
{
	struct slo_source what;
	struct tune_session *s;
	bool measured;

	pthread_mutex_lock(&t->lock);
	s = t->session;
	if (!s || s->gone || s->ended) {
		tune_answer(reply, -EAGAIN, "Nothing is being tuned, so no report is wanted.");
	} else if (source >= tune_n_sources(&s->goal)) {
		tune_answer(reply, -EINVAL, "The goal has sources 0 to %u, and %u is none of them.",
			tune_n_sources(&s->goal) - 1, source);
	} else {
		tune_source(&s->goal, source, &what, &measured);
		if (!measured) {
			tune_answer(reply, -EINVAL,
				"The objective is measured for each member: sources %u to %u.",
				tune_objective(&s->goal, 0), tune_n_sources(&s->goal) - 1);
		} else if (what.kind == SLO_TELEMETRY) {
			tune_answer(reply, -EINVAL,
				"Source %u is measured by the agent itself, so no report of it is "
				"taken.",
				source);
		} else {
			slo_report(
				&s->series[source], tune_now(t), took_ms * NS_PER_MS, value, error);
			tune_answer(reply, 0, "Taken.");
			pthread_cond_signal(&t->wake);
		}
	}
	pthread_mutex_unlock(&t->lock);
}

/* Under `lock`: the proposal at hand, if it waits and is this one; else the reply says why not. */
static bool waits(struct tuner *t, uint64_t id, struct control_reply *reply)
{
	struct tune_session *s = t->session;
	const struct tune_record *record = tune_record_find(t, id);

	if (!record) {
		tune_answer(reply, -ENOENT,
			"There is no proposal %llu (any more): see `semantosctl recommend`.",
			(unsigned long long)id);
		return false;
	}
	if (s && !s->gone && s->phase == TUNE_WAIT && s->record == record && !s->approved &&
		!s->rejected)
		return true;
	tune_answer(reply, -EALREADY, "Proposal %llu is %s, and waits for nobody's word.",
		(unsigned long long)id, tune_state_name(record->state));
	return false;
}

void tune_approve(struct tuner *t, uint64_t id, struct control_reply *reply)
{
	pthread_mutex_lock(&t->lock);
	if (waits(t, id, reply)) {
		t->session->approved = true;
		t->session->record->state = TUNE_APPROVED;
		tune_answer(reply, 0,
			"Proposal %llu is approved: it is tried in stages, and kept only if that "
			"shows a gain.",
			(unsigned long long)id);
		pthread_cond_signal(&t->wake);
	}
	pthread_mutex_unlock(&t->lock);
}

void tune_reject(struct tuner *t, uint64_t id, const char *why, struct control_reply *reply)
{
	pthread_mutex_lock(&t->lock);
	if (!why || !*why) {
		tune_answer(reply, -EINVAL,
			"A proposal is rejected for a reason (--why), which is remembered.");
	} else if (waits(t, id, reply)) {
		t->session->rejected = true;
		record_text(t->session->reject_why, sizeof(t->session->reject_why), why);
		tune_answer(reply, 0,
			"Proposal %llu is rejected and not made again for this objective.",
			(unsigned long long)id);
		pthread_cond_signal(&t->wake);
	}
	pthread_mutex_unlock(&t->lock);
}

void tune_rolled_back(struct tuner *t, uint64_t change)
{
	if (!t || !change)
		return;
	pthread_mutex_lock(&t->lock);
	for (uint32_t i = 0; i < t->n_records; i++) {
		struct tune_record *record = t->record[i];

		if (record->change != change)
			continue;
		if (record->state == TUNE_TRYING && t->session) {
			t->session->by_operator = true;
			pthread_cond_signal(&t->wake);
		} else if (record->state == TUNE_KEPT ||
			   (record->state == TUNE_UNDONE && record->verdict == TUNE_V_STOPPED)) {
			record->state = TUNE_UNDONE;
			record->verdict = TUNE_V_REJECTED;
			record->unsafe = true;
			snprintf(
				record->text, sizeof(record->text), "The operator rolled it back.");
			tune_remember(t, record);
			tune_save(t);
		}
		break;
	}
	pthread_mutex_unlock(&t->lock);
}

void tune_reset(struct tuner *t, bool forget, struct control_reply *reply)
{
	uint64_t change[TUNE_RECORDS];
	uint32_t n = 0, failed = 0;
	char first[200] = "";

	pthread_mutex_lock(&t->lock);
	if (t->session)
		snprintf(
			t->session->stop, sizeof(t->session->stop), "the operator reset the tuner");
	for (uint32_t i = t->n_records; i-- > 0;) {
		if (t->record[i]->state == TUNE_KEPT)
			change[n++] = t->record[i]->change;
	}
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->lock);
	/* the newest first */
	for (uint32_t i = 0; i < n; i++) {
		struct control_reply undone = { 0 };
		int err;

		t->options.ops.rollback(t->options.ops.ctx, change[i],
			"the operator reset the tuner", NULL, &undone);
		err = undone.error == -EALREADY || undone.error == -ENOENT ? 0 : undone.error;
		if (err && !failed++)
			snprintf(first, sizeof(first), " The first: %.180s", undone.text);
		pthread_mutex_lock(&t->lock);
		for (uint32_t k = 0; k < t->n_records && !err; k++) {
			struct tune_record *record = t->record[k];

			if (record->change != change[i] || record->state != TUNE_KEPT)
				continue;
			record->state = TUNE_UNDONE;
			snprintf(record->text, sizeof(record->text),
				"It was kept until the operator reset the tuner.");
		}
		pthread_mutex_unlock(&t->lock);
	}
	pthread_mutex_lock(&t->lock);
	if (forget)
		tune_forget(t);
	tune_save(t);
	pthread_mutex_unlock(&t->lock);
	tune_answer(reply, failed ? -EIO : 0, "%u changes that the tuner kept are undone%s%s.%s",
		n - failed, failed ? ", others could not be" : "",
		forget ? "; what was learned of outcomes is forgotten" : "", first);
}

/* ---- looking ---- */

int tune_view(struct tuner *t, uint64_t proposal, struct tune_view *view)
{
	struct threshold_view threshold;
	int err = 0;

	memset(view, 0, sizeof(*view));
	pthread_mutex_lock(&t->lock);
	view->record = calloc(t->n_records + 1, sizeof(*view->record));
	for (uint32_t i = t->n_records; view->record && i-- > 0;) {
		struct tune_record *to = &view->record[view->n];

		if (proposal && t->record[i]->id != proposal)
			continue;
		*to = *t->record[i];
		to->telemetry_before = to->telemetry_after = NULL;
		view->n++;
	}
	if (!view->record)
		err = -ENOMEM;
	else if (proposal && !view->n)
		err = -ENOENT;
	threshold_view(&t->threshold, &threshold);
	view->tau = threshold.tau;
	threshold_why(&threshold, view->tau_why, sizeof(view->tau_why));
	view->outcomes = threshold.outcomes;
	view->advisor = t->watch != 0;
	if (t->session && !t->session->gone)
		snprintf(view->goal, sizeof(view->goal), "Goal %llu: %s%s%s.",
			(unsigned long long)t->session->id, t->session->objective,
			t->session->goal.because[0] ? ", because " : "", t->session->goal.because);
	pthread_mutex_unlock(&t->lock);
	if (err)
		tune_view_free(view);
	return err;
}

void tune_view_free(struct tune_view *view)
{
	free(view->record);
	view->record = NULL;
	view->n = 0;
}
