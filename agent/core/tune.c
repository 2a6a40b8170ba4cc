// SPDX-License-Identifier: Apache-2.0
/*
 * tune.c - the tuner's life, its thread, and the queue of events for a client.
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

void tune_answer(struct control_reply *reply, int error, const char *fmt, ...)
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

struct timespec tune_deadline(uint32_t ms)
{
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + ms * NS_PER_MS;

	return (struct timespec){ (time_t)(until / NS_PER_S), (long)(until % NS_PER_S) };
}

struct tune_session *tune_session_of(struct tuner *t, uint64_t goal)
{
	return t->session && t->session->id == goal && !t->session->gone ? t->session : NULL;
}

int tune_next(struct tuner *t, uint64_t goal, struct tune_event *event, uint32_t timeout_ms)
{
	struct timespec until = tune_deadline(timeout_ms);
	int err = 0;

	pthread_mutex_lock(&t->lock);
	for (;;) {
		struct tune_session *s = tune_session_of(t, goal);

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
		until = tune_deadline((uint32_t)((next - now) / NS_PER_MS) + 1);
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
	until = tune_deadline(END_S * 1000);
	if (pthread_clockjoin_np(t->thread, NULL, CLOCK_MONOTONIC, &until) == 0)
		return;
	log_error("The tuner does not end; the keeper undoes what it tried.");
	pthread_detach(t->thread);
	t->stuck = true;
	tuner_telemetry(t, NULL);
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
