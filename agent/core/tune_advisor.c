// SPDX-License-Identifier: Apache-2.0
/*
 * tune_advisor.c - what the advisor may: be asked, be told what came of it, propose.
 *
 * A proposal is a note for the thread. Nothing here changes a setting, nor moves a session on.
 */
#include "agent/core/tune_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agent/safety/knob.h"

uint64_t tune_watch(struct tuner *t, uint64_t outcomes_after, struct control_reply *reply)
{
	uint64_t id = 0;

	pthread_mutex_lock(&t->lock);
	if (t->ending) {
		tune_answer(reply, -ESHUTDOWN, "The agent is ending.");
	} else if (t->watch) {
		tune_answer(reply, -EBUSY, "An advisor is connected already; one at a time.");
	} else {
		tune_answer(reply, 0, "Questions follow.");
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

/* Of a proposal for members, whichever of the knobs offered it has. */
static uint32_t knobs_at_most(const struct tune_session *s)
{
	uint32_t most = 1;

	if (!s->goal.n_members)
		return RECORD_KNOBS_MAX;
	for (uint32_t i = 0; i < s->n_offered; i++) {
		uint32_t size = tune_family_size(&s->goal, s->offered[i].name);

		most = size > most ? size : most;
	}
	return RECORD_KNOBS_MAX / most;
}

double tune_objective_now(const struct tune_session *s)
{
	double sum = 0;

	for (uint32_t u = 0; u < tune_units(&s->goal); u++)
		sum += slo_last(&s->series[tune_objective(&s->goal, u)]);
	return sum / tune_units(&s->goal);
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
		q->objective_now = tune_objective_now(s);
		q->n_knobs = s->n_offered;
		q->knobs_at_most = knobs_at_most(s);
		q->trials_left = s->trials_left;
		q->telemetry = picture_copy(s->picture);
	}
	t->watch_question = q->number;
	return 0;
}

int tune_next_ask(struct tuner *t, uint64_t watch, struct tune_ask **ask, uint32_t timeout_ms)
{
	struct timespec until = tune_deadline(timeout_ms);
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

/* What this very device would not take costs no trial. Reads the machine, so without `lock`. */
static void check_device(
	const struct tuner *t, const struct tune_record *record, struct control_reply *reply)
{
	struct safety_error error = { "" };

	for (uint32_t i = 0; i < record->n_knobs; i++) {
		if (knob_fits(t->root, record->knob[i].name, record->knob[i].value, &error))
			tune_answer(reply, -ERANGE, "It cannot be: %.400s.", error.text);
	}
}

void tune_propose(
	struct tuner *t, const struct tune_proposal *proposal, struct control_reply *reply)
{
	struct tune_record *record = calloc(1, sizeof(*record));

	if (!record) {
		tune_answer(reply, -ENOMEM, "The agent has no memory left.");
		return;
	}
	tune_answer(reply, 0, "The proposal is taken.");
	pthread_mutex_lock(&t->lock);
	tune_check_proposal(t, proposal, record, reply);
	if (!reply->error) {
		pthread_mutex_unlock(&t->lock);
		check_device(t, record, reply);
		memset(record, 0, sizeof(*record));
		pthread_mutex_lock(&t->lock);
	}
	/* the question may be closed by now */
	if (!reply->error)
		tune_check_proposal(t, proposal, record, reply);
	if (!reply->error) {
		t->session->inbox.record = *record;
		t->session->inbox.full = true;
		pthread_cond_signal(&t->wake);
	}
	pthread_mutex_unlock(&t->lock);
	free(record);
}
