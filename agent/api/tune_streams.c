// SPDX-License-Identifier: Apache-2.0
/*
 * tune_streams.c - Operator.Tune and SafetyRuntime.Watch: events of one goal to its client, questions to the advisor.
 *
 * A stream has a thread of its own. What it is about ends with it, whatever ends it: the goal's trial is undone, another
 * advisor may come. There is at most one of each, which tune.h sees to.
 */
#include "agent/api/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/api/unpack.h"
#include "agent/core/tune.h"
#include "agent/proto/semantos.pb-c.h"

#define LOOK_MS 100 /* how often a waiting stream looks whether its client is still there */

struct stream {
	struct api_call *call;
	struct tuner *tuner;
	uint64_t id; /* of the goal, or of the advisor's stream */
	bool watch;
};

static void refuse(struct api_call *call, grpc_status_code code, const char *text)
{
	call_answer(call, code, text, grpc_empty_slice(), false);
}

static int send_message(struct api_call *call, const ProtobufCMessage *message)
{
	grpc_slice packed = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
	int err;

	protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(packed));
	err = call_chunk(call, packed);
	grpc_slice_unref(packed);
	return err;
}

/* ---- Tune ---- */

static int send_event(struct api_call *call, struct tune_event *event)
{
	Semantos__V1__TuneEvent message = SEMANTOS__V1__TUNE_EVENT__INIT;

	message.kind = (char *)event->kind;
	message.text = event->text;
	message.proposal = event->proposal;
	message.change = event->change;
	message.source = event->source;
	message.before = event->before;
	message.after = event->after;
	message.low = event->low;
	message.high = event->high;
	message.unix_ms = event->unix_ms;
	return send_message(call, &message.base);
}

/* The next event, if there is one in time. 0, -ETIMEDOUT, -ESHUTDOWN: it is over, -EIO: the client is gone. */
static int pump_event(struct stream *stream)
{
	struct tune_event event;
	int err = tune_next(stream->tuner, stream->id, &event, LOOK_MS);

	return err ? err : send_event(stream->call, &event) ? -EIO : 0;
}

/* ---- Watch ---- */

struct metrics_message {
	Semantos__V1__TelemetryMetric *metric, **list;
	size_t n;
};

static bool metrics_fill(struct metrics_message *out, const struct tune_picture *picture)
{
	memset(out, 0, sizeof(*out));
	if (!picture)
		return true;
	out->metric = calloc(picture->n + 1, sizeof(*out->metric));
	out->list = calloc(picture->n + 1, sizeof(*out->list));
	if (!out->metric || !out->list)
		return false;
	for (; out->n < picture->n; out->n++) {
		metric_message(&out->metric[out->n], &picture->metric[out->n]);
		out->list[out->n] = &out->metric[out->n];
	}
	return true;
}

static void metrics_free_message(struct metrics_message *message)
{
	free(message->metric);
	free(message->list);
}

static int send_question(struct api_call *call, struct tune_question *q)
{
	Semantos__V1__AdvisorEvent event = SEMANTOS__V1__ADVISOR_EVENT__INIT;
	Semantos__V1__Question question = SEMANTOS__V1__QUESTION__INIT;
	Semantos__V1__KnobState *state = calloc(q->n_knobs + 1, sizeof(*state));
	Semantos__V1__KnobState **states = calloc(q->n_knobs + 1, sizeof(*states));
	struct metrics_message metrics = { 0 };
	int err = -ENOMEM;

	if (!metrics_fill(&metrics, q->telemetry) || !state || !states)
		goto out;
	for (uint32_t i = 0; i < q->n_knobs; i++) {
		semantos__v1__knob_state__init(&state[i]);
		state[i].name = q->knob[i].name;
		state[i].value = q->knob[i].value;
		states[i] = &state[i];
	}
	question.number = q->number;
	question.goal = q->goal;
	question.objective = q->objective;
	question.lower_is_better = q->lower_is_better;
	question.objective_now = q->objective_now;
	question.knobs = states;
	question.n_knobs = q->n_knobs;
	question.telemetry = metrics.list;
	question.n_telemetry = metrics.n;
	question.trials_left = q->trials_left;
	question.knobs_at_most = q->knobs_at_most;
	event.question = &question;
	err = send_message(call, &event.base);
out:
	metrics_free_message(&metrics);
	free(state);
	free(states);
	return err;
}

static int send_outcome(struct api_call *call, struct tune_record *record)
{
	Semantos__V1__AdvisorEvent event = SEMANTOS__V1__ADVISOR_EVENT__INIT;
	Semantos__V1__Outcome outcome = SEMANTOS__V1__OUTCOME__INIT;
	Semantos__V1__Knob knob[RECORD_KNOBS_MAX], was[RECORD_KNOBS_MAX];
	Semantos__V1__Knob *knobs[RECORD_KNOBS_MAX], *wases[RECORD_KNOBS_MAX];
	struct metrics_message before = { 0 }, after = { 0 };
	int err = -ENOMEM;

	if (!metrics_fill(&before, record->telemetry_before) ||
		!metrics_fill(&after, record->telemetry_after))
		goto out;
	for (uint32_t i = 0; i < record->n_knobs; i++) {
		semantos__v1__knob__init(&knob[i]);
		semantos__v1__knob__init(&was[i]);
		knob[i].name = record->knob[i].name;
		knob[i].value = record->knob[i].value;
		was[i].name = record->was[i].name;
		was[i].value = record->was[i].value;
		knobs[i] = &knob[i];
		wases[i] = &was[i];
	}
	outcome.proposal = record->id;
	outcome.goal = record->goal;
	outcome.objective = record->objective;
	outcome.lower_is_better = record->lower_is_better;
	outcome.knobs = knobs;
	outcome.was = wases;
	outcome.n_knobs = outcome.n_was = record->n_knobs;
	outcome.verdict = (char *)tune_verdict_name(record->verdict);
	outcome.unsafe = record->unsafe;
	outcome.before = record->before;
	outcome.after = record->after;
	outcome.change = record->change_share;
	outcome.low = record->low;
	outcome.high = record->high;
	outcome.pairs = record->pairs;
	outcome.telemetry_before = before.list;
	outcome.n_telemetry_before = before.n;
	outcome.telemetry_after = after.list;
	outcome.n_telemetry_after = after.n;
	outcome.uncertainty = record->uncertainty;
	outcome.text = record->text;
	outcome.unix_ms = record->unix_ms;
	event.outcome = &outcome;
	err = send_message(call, &event.base);
out:
	metrics_free_message(&before);
	metrics_free_message(&after);
	return err;
}

static int pump_ask(struct stream *stream)
{
	struct tune_ask *ask;
	int err = tune_next_ask(stream->tuner, stream->id, &ask, LOOK_MS);

	if (err)
		return err;
	err = ask->is_outcome ? send_outcome(stream->call, &ask->outcome)
			      : send_question(stream->call, &ask->question);
	tune_ask_free(ask);
	return err ? -EIO : 0;
}

/* ---- the life of a stream ---- */

static void tunes_add(struct api_server *server, int change)
{
	pthread_mutex_lock(&server->lock);
	server->n_tunes += (uint32_t)change;
	pthread_cond_broadcast(&server->idle);
	pthread_mutex_unlock(&server->lock);
}

static void leave(const struct stream *stream)
{
	if (stream->watch)
		tune_unwatch(stream->tuner, stream->id);
	else
		tune_leave(stream->tuner, stream->id);
}

static void *stream_main(void *arg)
{
	struct stream *stream = arg;
	struct api_call *call = stream->call;
	struct api_server *server = call->port->owner;
	int err = 0;

	pthread_setname_np(pthread_self(), stream->watch ? "api-advisor" : "api-tune");
	do {
		if (atomic_load(&call->cancelled))
			err = -EIO;
		else if (atomic_load(&server->stopping))
			err = -ESHUTDOWN;
		else
			err = stream->watch ? pump_ask(stream) : pump_event(stream);
	} while (err == 0 || err == -ETIMEDOUT);
	leave(stream);
	if (err == -ESHUTDOWN)
		refuse(call, GRPC_STATUS_OK, "");
	else
		refuse(call, GRPC_STATUS_CANCELLED, "The stream was broken off.");
	free(stream);
	call_unref(call);
	tunes_add(server, -1);
	return NULL;
}

/* The stream of what was begun as id; when none can start it ends again. */
static void stream_start(struct api_call *call, struct tuner *tuner, uint64_t id, bool watch)
{
	struct api_server *server = call->port->owner;
	struct stream *stream = calloc(1, sizeof(*stream));
	struct stream unstarted = { call, tuner, id, watch };
	pthread_t thread;

	if (stream) {
		*stream = unstarted;
		tunes_add(server, 1);
		call_ref(call);
		if (pthread_create(&thread, NULL, stream_main, stream) == 0) {
			pthread_detach(thread);
			return;
		}
		call_unref(call);
		tunes_add(server, -1);
		free(stream);
	}
	leave(&unstarted);
	refuse(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "No stream can start: no memory is left.");
}

void tune_stream_watch(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct tuner *tuner = control_tuner(call->port->owner->core);
	struct control_reply reply = { 0 };
	struct unpacked request;
	uint64_t id;

	if (!request_open(&request, call, &semantos__v1__watch_request__descriptor, bytes, n))
		return;
	id = tune_watch(
		tuner, ((Semantos__V1__WatchRequest *)request.message)->outcomes_after, &reply);
	unpack_free(&request);
	if (id)
		stream_start(call, tuner, id, true);
	else
		refuse(call, status_of_errno(reply.error), reply.text);
}

/* ---- a goal from its message ---- */

/* A text that is too long is none of ours: it is refused, not cut. */
static bool copy(char *to, size_t size, const char *from)
{
	size_t n = strnlen(from, size);

	if (n == size)
		return false;
	memcpy(to, from, n + 1);
	return true;
}

static const char *source_fill(struct slo_source *source, const Semantos__V1__Source *from)
{
	if (!from)
		return "A goal has an objective, and each guard a source.";
	if (slo_kind_parse(from->kind, &source->kind))
		return "A source is telemetry, command, prometheus or workload.";
	if (!copy(source->metric, sizeof(source->metric), from->metric) ||
		!copy(source->label, sizeof(source->label), from->label) ||
		!copy(source->figure, sizeof(source->figure), from->figure))
		return "A source's metric, label or figure is too long.";
	record_text(source->text, sizeof(source->text), from->text);
	source->every_ms = from->every_ms;
	return NULL;
}

/* NULL, or what is wrong with it. */
static const char *goal_fill(struct tune_goal *goal, const Semantos__V1__TuneRequest *from)
{
	const char *wrong = source_fill(&goal->objective, from->objective);

	if (from->n_guards > SLO_GUARDS)
		return "A goal has at most 16 guards.";
	if (from->n_knobs > TUNE_PATTERNS)
		return "A goal has at most 64 names of knobs.";
	if (from->n_members > TUNE_MEMBERS)
		return "A goal has at most 8 members.";
	for (size_t i = 0; i < from->n_guards && !wrong; i++) {
		struct slo_guard *guard = &goal->guard[i];

		wrong = source_fill(&guard->source, from->guards[i]->source);
		if (!wrong && slo_relation_parse(from->guards[i]->relation, &guard->relation))
			wrong = "A guard's relation is <, <=, > or >=.";
		guard->limit = from->guards[i]->limit;
	}
	for (size_t i = 0; i < from->n_knobs && !wrong; i++) {
		if (!copy(goal->pattern[i], sizeof(goal->pattern[i]), from->knobs[i]))
			wrong = "A name of a knob is too long.";
	}
	for (size_t i = 0; i < from->n_members && !wrong; i++) {
		if (!copy(goal->member[i], sizeof(goal->member[i]), from->members[i]))
			wrong = "The name of a member is too long.";
	}
	if (!wrong && from->apply[0] && strcmp(from->apply, "advise") != 0 &&
		strcmp(from->apply, "auto") != 0)
		wrong = "A goal's proposals are applied advise or auto.";
	if (wrong)
		return wrong;
	goal->n_guards = (uint32_t)from->n_guards;
	goal->n_patterns = (uint32_t)from->n_knobs;
	goal->n_members = (uint32_t)from->n_members;
	goal->lower_is_better = from->lower_is_better;
	goal->automatic = strcmp(from->apply, "auto") == 0;
	goal->slice_ms = from->slice_ms;
	goal->washout_ms = from->washout_ms;
	goal->pairs = from->pairs;
	goal->trials = from->trials;
	goal->seed = from->seed;
	record_text(goal->because, sizeof(goal->because), from->because);
	return NULL;
}

void tune_stream_tune(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct tuner *tuner = control_tuner(call->port->owner->core);
	struct tune_goal *goal = calloc(1, sizeof(*goal));
	struct control_reply reply = { 0 };
	struct unpacked request;
	const char *wrong;
	uint64_t id = 0;

	if (!goal) {
		refuse(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "The agent has no memory left.");
		return;
	}
	if (!request_open(&request, call, &semantos__v1__tune_request__descriptor, bytes, n))
		goto out;
	wrong = goal_fill(goal, (Semantos__V1__TuneRequest *)request.message);
	unpack_free(&request);
	if (wrong) {
		refuse(call, GRPC_STATUS_INVALID_ARGUMENT, wrong);
		goto out;
	}
	id = tune_begin(tuner, goal, &reply);
	if (!id)
		refuse(call, status_of_errno(reply.error), reply.text);
	else
		stream_start(call, tuner, id, false);
out:
	free(goal);
}
