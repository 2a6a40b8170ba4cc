// SPDX-License-Identifier: Apache-2.0
/*
 * tune.c - the tuner's calls, its queue of events for a client, and its thread.
 *
 * Calls leave notes for the thread and wait for nothing but `lock`; only tune_reset() waits for the disk. Must never free
 * or move a session on: that is the thread's.
 */
#include "agent/core/tune_internal.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "agent/util/log.h"

#define END_S 8 /* what the end of a trial may take of a disk that hangs */

const char *tune_state_name(enum tune_state state)
{
	static const char *const names[] = { "waiting", "approved", "trying", "kept", "undone",
		"rejected", "vetoed", "stale" };

	return names[state];
}

const char *tune_verdict_name(enum tune_verdict verdict)
{
	static const char *const names[] = { "", "kept", "no-effect", "worse", "breach", "stopped",
		"vetoed", "rejected" };

	return names[verdict];
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t tune_now(const struct tuner *t)
{
	return t->options.now_ns ? t->options.now_ns(t->options.clock_ctx)
				 : clock_ns(CLOCK_BOOTTIME);
}

uint64_t tune_unix_ms(void)
{
	return clock_ns(CLOCK_REALTIME) / NS_PER_MS;
}

__attribute__((format(printf, 3, 4))) static void answer(
	struct control_reply *reply, int error, const char *fmt, ...)
{
	va_list args;

	memset(reply, 0, sizeof(*reply));
	reply->error = error;
	va_start(args, fmt);
	vsnprintf(reply->text, sizeof(reply->text), fmt, args);
	va_end(args);
}

/* ---- events ---- */

void tune_say(
	struct tuner *t, const char *kind, const struct tune_record *record, const char *fmt, ...)
{
	struct tune_session *s = t->session;
	struct tune_event event = { .kind = kind,
		.unix_ms = tune_unix_ms(),
		.before = NAN,
		.after = NAN,
		.low = NAN,
		.high = NAN };
	bool last = strcmp(kind, "ended") == 0;
	size_t n = 0;
	va_list args;

	if (s->dropped && (last || s->n_events < TUNE_EVENTS)) {
		n = (size_t)snprintf(event.text, sizeof(event.text),
			"(%llu events before this one were dropped, because the client was too "
			"slow.) ",
			(unsigned long long)s->dropped);
		s->dropped = 0;
	}
	va_start(args, fmt);
	vsnprintf(event.text + n, sizeof(event.text) - n, fmt, args);
	va_end(args);
	if (record) {
		event.proposal = record->id;
		event.change = record->change;
	}
	if (record && record->verdict) {
		event.before = record->before;
		event.after = record->after;
		event.low = record->low;
		event.high = record->high;
	}
	if (strcmp(kind, "source") != 0)
		log_info("Tuning: %s", event.text + n);
	if (last) {
		s->last = event;
		s->ended = true;
	} else if (s->n_events < TUNE_EVENTS) {
		s->event[(s->first_event + s->n_events++) % TUNE_EVENTS] = event;
	} else {
		s->dropped++;
	}
	pthread_cond_broadcast(&t->news);
}

static struct timespec from_now(uint32_t ms)
{
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + ms * NS_PER_MS;

	return (struct timespec){ (time_t)(until / NS_PER_S), (long)(until % NS_PER_S) };
}

/* Under `lock`; NULL: there is no such goal (any more). */
static struct tune_session *session_of(struct tuner *t, uint64_t goal)
{
	return t->session && t->session->id == goal && !t->session->gone ? t->session : NULL;
}

int tune_next(struct tuner *t, uint64_t goal, struct tune_event *event, uint32_t timeout_ms)
{
	struct timespec until = from_now(timeout_ms);
	int err = 0;

	pthread_mutex_lock(&t->lock);
	for (;;) {
		struct tune_session *s = session_of(t, goal);

		if (!s || (s->ended && s->last_taken)) {
			err = -ESHUTDOWN;
			break;
		}
		if (s->n_events) {
			*event = s->event[s->first_event];
			s->first_event = (s->first_event + 1) % TUNE_EVENTS;
			s->n_events--;
			err = 0;
			break;
		}
		if (s->ended) {
			*event = s->last;
			s->last_taken = true;
			err = 0;
			break;
		}
		if (err)
			break;
		err = -pthread_cond_timedwait(&t->news, &t->lock, &until);
	}
	pthread_mutex_unlock(&t->lock);
	return err;
}

struct tune_picture *tune_picture(struct tuner *t)
{
	struct telemetry_view view;
	struct tune_picture *picture = NULL;

	if (!t->telemetry || telemetry_view(t->telemetry, &view))
		return NULL;
	if (view.n_metrics > TUNE_METRICS)
		view.n_metrics = TUNE_METRICS;
	picture = malloc(sizeof(*picture) + view.n_metrics * sizeof(picture->metric[0]));
	if (picture) {
		picture->n = (uint32_t)view.n_metrics;
		memcpy(picture->metric, view.metric, view.n_metrics * sizeof(picture->metric[0]));
	}
	telemetry_view_free(&view);
	return picture;
}

/* ---- the operator's calls ---- */

/* Are the telemetry's sources there? Each reports with every snapshot. Under `lock`. */
static bool telemetry_fits(struct tuner *t, struct tune_goal *goal, struct control_reply *reply)
{
	for (uint32_t i = 0; i <= goal->n_guards; i++) {
		struct slo_source *source = i ? &goal->guard[i - 1].source : &goal->objective;
		uint64_t number;
		double value;

		if (source->kind != SLO_TELEMETRY)
			continue;
		if (!t->telemetry) {
			answer(reply, -EAGAIN,
				"This agent takes no telemetry (--no-telemetry), so it can be "
				"neither objective nor guard.");
			return false;
		}
		source->every_ms = 1000 * telemetry_interval_s(t->telemetry);
		if (telemetry_figure(t->telemetry, source->metric, source->label, TELEMETRY_VALUE,
			    &value, &number) == -ENOENT &&
			number) {
			answer(reply, -EINVAL,
				"No metric %.60s%s%.60s is measured here: see `semantosctl "
				"telemetry`.",
				source->metric, source->label[0] ? " of " : "", source->label);
			return false;
		}
	}
	return true;
}

uint64_t tune_begin(struct tuner *t, const struct tune_goal *goal, struct control_reply *reply)
{
	struct tune_session *s = calloc(1, sizeof(*s));
	uint64_t id = 0, now;
	char what[SLO_TEXT + SLO_NAME];

	answer(reply, 0, "The goal is taken up.");
	if (s) {
		s->goal = *goal;
		s->series = calloc(1 + SLO_GUARDS, sizeof(*s->series));
	}
	if (!s || !s->series) {
		answer(reply, -ENOMEM, "The agent has no memory left.");
		goto out;
	}
	if (tune_check_goal(&s->goal, reply))
		goto out;
	slo_source_text(&s->goal.objective, what, sizeof(what));
	snprintf(s->objective, sizeof(s->objective), "%s, %s is better", what,
		s->goal.lower_is_better ? "lower" : "higher");
	pthread_mutex_lock(&t->lock);
	if (t->ending) {
		answer(reply, -ESHUTDOWN, "The agent is ending.");
	} else if (t->session) {
		answer(reply, -EBUSY, "Goal %llu is being tuned for already (%.300s)%s.",
			(unsigned long long)t->session->id, t->session->objective,
			t->session->gone ? "; what it tried is being undone, so try again"
					 : "; one at a time");
	} else if (telemetry_fits(t, &s->goal, reply)) {
		now = tune_now(t);
		id = s->id = ++t->last_goal;
		s->trials_left = s->goal.trials;
		for (uint32_t i = 0; i <= s->goal.n_guards; i++)
			slo_series_reset(&s->series[i], now);
		tune_to(s, TUNE_SETTLE, now);
		t->session = s;
		tune_say(t, "started", NULL,
			"Goal %llu: %.300s; %u guards, %u trials of %u pairs of %u ms, %s.",
			(unsigned long long)id, s->objective, s->goal.n_guards, s->goal.trials,
			s->goal.pairs, s->goal.slice_ms,
			s->goal.automatic ? "each tried at once" : "each waits for approval");
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
	if (session_of(t, goal))
		t->session->gone = true;
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->lock);
}

void tune_report(struct tuner *t, uint32_t source, double value, uint32_t took_ms,
	const char *error, struct control_reply *reply)
{
	const struct slo_source *what;
	struct tune_session *s;

	pthread_mutex_lock(&t->lock);
	s = t->session;
	if (!s || s->gone || s->ended) {
		answer(reply, -EAGAIN, "Nothing is being tuned, so no report is wanted.");
	} else if (source > s->goal.n_guards) {
		answer(reply, -EINVAL, "The goal has sources 0 to %u, and %u is none of them.",
			s->goal.n_guards, source);
	} else {
		what = source ? &s->goal.guard[source - 1].source : &s->goal.objective;
		if (what->kind == SLO_TELEMETRY) {
			answer(reply, -EINVAL,
				"Source %u is measured by the agent itself, so no report of it is "
				"taken.",
				source);
		} else {
			slo_report(
				&s->series[source], tune_now(t), took_ms * NS_PER_MS, value, error);
			answer(reply, 0, "Taken.");
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
		answer(reply, -ENOENT,
			"There is no proposal %llu (any more): see `semantosctl recommend`.",
			(unsigned long long)id);
		return false;
	}
	if (s && !s->gone && s->phase == TUNE_WAIT && s->record == record && !s->approved &&
		!s->rejected)
		return true;
	answer(reply, -EALREADY, "Proposal %llu is %s, and waits for nobody's word.",
		(unsigned long long)id, tune_state_name(record->state));
	return false;
}

void tune_approve(struct tuner *t, uint64_t id, struct control_reply *reply)
{
	pthread_mutex_lock(&t->lock);
	if (waits(t, id, reply)) {
		t->session->approved = true;
		t->session->record->state = TUNE_APPROVED;
		answer(reply, 0,
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
		answer(reply, -EINVAL,
			"A proposal is rejected for a reason (--why), which is remembered.");
	} else if (waits(t, id, reply)) {
		t->session->rejected = true;
		record_text(t->session->reject_why, sizeof(t->session->reject_why), why);
		answer(reply, 0, "Proposal %llu is rejected and not made again for this objective.",
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
	answer(reply, failed ? -EIO : 0, "%u changes that the tuner kept are undone%s%s.%s",
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

/* ---- the advisor's calls ---- */

uint64_t tune_watch(struct tuner *t, uint64_t outcomes_after, struct control_reply *reply)
{
	uint64_t id = 0;

	pthread_mutex_lock(&t->lock);
	if (t->ending) {
		answer(reply, -ESHUTDOWN, "The agent is ending.");
	} else if (t->watch) {
		answer(reply, -EBUSY, "An advisor is connected already; one at a time.");
	} else {
		answer(reply, 0, "Questions follow.");
		id = t->watch = ++t->last_watch;
		t->watch_seq = 0;
		t->watch_question = 0;
		t->watch_after = outcomes_after;
		t->watch_base = t->last_seq;
		if (t->session)
			t->session->idle_why[0] = '\0';
		pthread_cond_signal(&t->wake);
	}
	pthread_mutex_unlock(&t->lock);
	return id;
}

void tune_unwatch(struct tuner *t, uint64_t watch)
{
	pthread_mutex_lock(&t->lock);
	if (t->watch == watch)
		t->watch = 0;
	pthread_cond_signal(&t->wake);
	pthread_mutex_unlock(&t->lock);
}

static struct tune_picture *picture_copy(const struct tune_picture *picture)
{
	size_t size = picture ? sizeof(*picture) + picture->n * sizeof(picture->metric[0]) : 0;
	struct tune_picture *copy = size ? malloc(size) : NULL;

	if (copy)
		memcpy(copy, picture, size);
	return copy;
}

void tune_ask_free(struct tune_ask *ask)
{
	if (!ask)
		return;
	free(ask->question.knob);
	free(ask->question.telemetry);
	free(ask->outcome.telemetry_before);
	free(ask->outcome.telemetry_after);
	free(ask);
}

/* The next outcome that the advisor has not seen; NULL: none. */
static const struct tune_record *unseen(const struct tuner *t)
{
	const struct tune_record *next = NULL;

	for (uint32_t i = 0; i < t->n_records; i++) {
		const struct tune_record *record = t->record[i];

		if (record->seq > t->watch_seq &&
			(record->id > t->watch_after || record->seq > t->watch_base) &&
			(!next || record->seq < next->seq))
			next = record;
	}
	return next;
}

static int fill_ask(struct tuner *t, struct tune_ask *ask)
{
	const struct tune_record *outcome = unseen(t);
	const struct tune_session *s = t->session;
	struct tune_question *q = &ask->question;

	if (outcome) {
		ask->is_outcome = true;
		ask->outcome = *outcome;
		ask->outcome.telemetry_before = picture_copy(outcome->telemetry_before);
		ask->outcome.telemetry_after = picture_copy(outcome->telemetry_after);
		t->watch_seq = outcome->seq;
		return 0;
	}
	if (s && s->question) {
		q->knob = malloc((s->n_offered + 1) * sizeof(*q->knob));
		if (!q->knob)
			return -ENOMEM;
		memcpy(q->knob, s->offered, s->n_offered * sizeof(*q->knob));
		q->number = s->question;
		q->goal = s->id;
		memcpy(q->objective, s->objective, sizeof(q->objective));
		q->lower_is_better = s->goal.lower_is_better;
		q->objective_now = slo_last(&s->series[0]);
		q->n_knobs = s->n_offered;
		q->trials_left = s->trials_left;
		q->telemetry = picture_copy(s->picture);
	}
	t->watch_question = q->number;
	return 0;
}

int tune_next_ask(struct tuner *t, uint64_t watch, struct tune_ask **ask, uint32_t timeout_ms)
{
	struct timespec until = from_now(timeout_ms);
	int err = 0;

	*ask = NULL;
	pthread_mutex_lock(&t->lock);
	while (t->watch == watch && !t->ending && !err && !unseen(t) &&
		t->watch_question == (t->session ? t->session->question : 0))
		err = -pthread_cond_timedwait(&t->news, &t->lock, &until);
	if (t->watch != watch || t->ending) {
		err = -ESHUTDOWN;
	} else if (unseen(t) || t->watch_question != (t->session ? t->session->question : 0)) {
		*ask = calloc(1, sizeof(**ask));
		err = *ask ? fill_ask(t, *ask) : -ENOMEM;
	}
	pthread_mutex_unlock(&t->lock);
	if (err) {
		tune_ask_free(*ask);
		*ask = NULL;
	}
	return err;
}

void tune_propose(
	struct tuner *t, const struct tune_proposal *proposal, struct control_reply *reply)
{
	struct tune_record *record = calloc(1, sizeof(*record));

	if (!record) {
		answer(reply, -ENOMEM, "The agent has no memory left.");
		return;
	}
	answer(reply, 0, "The proposal is taken.");
	pthread_mutex_lock(&t->lock);
	tune_check_proposal(t, proposal, record, reply);
	if (!reply->error) {
		t->session->inbox.record = *record;
		t->session->inbox.full = true;
		pthread_cond_signal(&t->wake);
	}
	pthread_mutex_unlock(&t->lock);
	free(record);
}

/* ---- life ---- */

uint64_t tuner_step(struct tuner *t)
{
	uint64_t next = UINT64_MAX;

	pthread_mutex_lock(&t->lock);
	if (t->session)
		next = tune_session_step(t, tune_now(t));
	pthread_mutex_unlock(&t->lock);
	return next;
}

static void *work(void *arg)
{
	struct tuner *t = arg;

	pthread_setname_np(pthread_self(), "tuner");
	pthread_mutex_lock(&t->lock);
	while (!t->ending || t->session) {
		uint64_t now = tune_now(t), next = UINT64_MAX;
		struct timespec until;

		if (t->session)
			next = tune_session_step(t, now);
		now = tune_now(t);
		if (next <= now || (t->ending && !t->session))
			continue;
		if (next == UINT64_MAX) {
			pthread_cond_wait(&t->wake, &t->lock);
			continue;
		}
		until = from_now((uint32_t)((next - now) / NS_PER_MS) + 1);
		pthread_cond_timedwait(&t->wake, &t->lock, &until);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

struct tuner *tuner_new(const struct tuner_options *options)
{
	struct tuner *t = calloc(1, sizeof(*t));
	pthread_condattr_t attr;
	sigset_t all, old;

	if (!t)
		return NULL;
	t->options = *options;
	snprintf(t->root, sizeof(t->root), "%s", options->root ? options->root : "");
	snprintf(t->file, sizeof(t->file), "%s", options->file ? options->file : "");
	pthread_mutex_init(&t->lock, NULL);
	pthread_mutex_init(&t->file_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->wake, &attr);
	pthread_cond_init(&t->news, &attr);
	pthread_condattr_destroy(&attr);
	threshold_reset(&t->threshold, THRESHOLD_ALPHA, TUNE_CEILING);
	drift_reset(&t->drift, DRIFT_DELTA);
	tune_load(t);
	if (options->no_thread)
		return t;
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	t->running = pthread_create(&t->thread, NULL, work, t) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (t->running)
		return t;
	tuner_free(t);
	return NULL;
}

void tuner_telemetry(struct tuner *t, struct telemetry *telemetry)
{
	pthread_mutex_lock(&t->lock);
	t->telemetry = telemetry;
	pthread_mutex_unlock(&t->lock);
}

void tuner_end(struct tuner *t)
{
	struct timespec until;

	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	t->ending = true;
	pthread_cond_broadcast(&t->wake);
	pthread_cond_broadcast(&t->news);
	pthread_mutex_unlock(&t->lock);
	if (!t->running) {
		while (!t->stuck && t->session)
			tuner_step(t);
		return;
	}
	t->running = false;
	until = from_now(END_S * 1000);
	if (pthread_clockjoin_np(t->thread, NULL, CLOCK_MONOTONIC, &until) == 0)
		return;
	log_error("The tuner does not end; the keeper undoes what it tried.");
	pthread_detach(t->thread);
	t->stuck = true;
}

void tuner_free(struct tuner *t)
{
	if (!t)
		return;
	tuner_end(t);
	if (t->stuck)
		return;
	tune_session_free(t->session);
	for (uint32_t i = 0; i < t->n_records; i++)
		tune_record_free(t->record[i]);
	pthread_cond_destroy(&t->news);
	pthread_cond_destroy(&t->wake);
	pthread_mutex_destroy(&t->file_lock);
	pthread_mutex_destroy(&t->lock);
	free(t);
}
