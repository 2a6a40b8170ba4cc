// SPDX-License-Identifier: Apache-2.0
/*
 * tune_calls.c - the calls of Operator and SafetyRuntime that are answered at once.
 */
#include "agent/api/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/api/unpack.h"
#include "agent/core/tune.h"
#include "agent/proto/semantos.pb-c.h"

#define MAX_KNOBS 9 /* one more than a proposal may have */

static struct tuner *tuner_of(const struct api_call *call)
{
	return control_tuner(call->port->owner->core);
}

void tune_call_report(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct control_reply reply = { 0 };
	Semantos__V1__SourceReport *ask;
	struct unpacked request;

	if (!request_open(&request, call, &semantos__v1__source_report__descriptor, bytes, n))
		return;
	ask = (Semantos__V1__SourceReport *)request.message;
	tune_report(tuner_of(call), ask->source, ask->value, ask->took_ms, ask->error, &reply);
	unpack_free(&request);
	answer_done(call, &reply);
}

void tune_call_approve(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct control_reply reply = { 0 };
	struct unpacked request;

	if (!request_open(&request, call, &semantos__v1__approve_request__descriptor, bytes, n))
		return;
	tune_approve(tuner_of(call), ((Semantos__V1__ApproveRequest *)request.message)->proposal,
		&reply);
	unpack_free(&request);
	answer_done(call, &reply);
}

void tune_call_reject(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct control_reply reply = { 0 };
	Semantos__V1__RejectRequest *ask;
	struct unpacked request;

	if (!request_open(&request, call, &semantos__v1__reject_request__descriptor, bytes, n))
		return;
	ask = (Semantos__V1__RejectRequest *)request.message;
	tune_reject(tuner_of(call), ask->proposal, ask->why, &reply);
	unpack_free(&request);
	answer_done(call, &reply);
}

void tune_call_reset(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct control_reply reply = { 0 };
	struct unpacked request;

	if (!request_open(&request, call, &semantos__v1__reset_request__descriptor, bytes, n))
		return;
	tune_reset(tuner_of(call), ((Semantos__V1__ResetRequest *)request.message)->forget, &reply);
	unpack_free(&request);
	answer_done(call, &reply);
}

void tune_call_propose(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct control_knob knob[MAX_KNOBS];
	struct control_reply reply = { 0 };
	struct tune_proposal proposal;
	Semantos__V1__Proposal *ask;
	struct unpacked request;

	if (!request_open(&request, call, &semantos__v1__proposal__descriptor, bytes, n))
		return;
	ask = (Semantos__V1__Proposal *)request.message;
	/* one more than is allowed is refused there, in a sentence */
	for (size_t i = 0; i < ask->n_knobs && i < MAX_KNOBS; i++)
		knob[i] = (struct control_knob){ ask->knobs[i]->name, ask->knobs[i]->value };
	proposal = (struct tune_proposal){ .question = ask->question,
		.knob = knob,
		.n_knobs = ask->n_knobs < MAX_KNOBS ? ask->n_knobs : MAX_KNOBS,
		.rationale = ask->rationale,
		.evidence = ask->evidence,
		.expected = ask->expected_change,
		.uncertainty = ask->uncertainty };
	tune_propose(tuner_of(call), &proposal, &reply);
	unpack_free(&request);
	reader_pause(call);
	answer_done(call, &reply);
}

/* ---- Recommend ---- */

struct entry {
	Semantos__V1__Recommendation message;
	Semantos__V1__Knob knob[RECORD_KNOBS_MAX], was[RECORD_KNOBS_MAX];
	Semantos__V1__Knob *knobs[RECORD_KNOBS_MAX], *wases[RECORD_KNOBS_MAX];
};

static void entry_fill(struct entry *entry, struct tune_record *record)
{
	Semantos__V1__Recommendation *message = &entry->message;

	semantos__v1__recommendation__init(message);
	message->id = record->id;
	message->state = (char *)tune_state_name(record->state);
	for (uint32_t i = 0; i < record->n_knobs; i++) {
		semantos__v1__knob__init(&entry->knob[i]);
		semantos__v1__knob__init(&entry->was[i]);
		entry->knob[i].name = record->knob[i].name;
		entry->knob[i].value = record->knob[i].value;
		entry->was[i].name = record->was[i].name;
		entry->was[i].value = record->was[i].value;
		entry->knobs[i] = &entry->knob[i];
		entry->wases[i] = &entry->was[i];
	}
	message->knobs = entry->knobs;
	message->was = entry->wases;
	message->n_knobs = message->n_was = record->n_knobs;
	message->rationale = record->rationale;
	message->evidence = record->evidence;
	message->expected_change = record->expected;
	message->uncertainty = record->uncertainty;
	message->change = record->change;
	message->text = record->text;
	message->before = record->before;
	message->after = record->after;
	message->low = record->low;
	message->high = record->high;
	message->unix_ms = record->unix_ms;
	message->members = record->members;
}

static bool view_message(struct tune_view *view, grpc_slice *out)
{
	Semantos__V1__Recommendations message = SEMANTOS__V1__RECOMMENDATIONS__INIT;
	struct entry *entry = calloc(view->n + 1, sizeof(*entry));
	Semantos__V1__Recommendation **list = calloc(view->n + 1, sizeof(*list));

	if (entry && list) {
		for (uint32_t i = 0; i < view->n; i++) {
			entry_fill(&entry[i], &view->record[i]);
			list[i] = &entry[i].message;
		}
		message.list = list;
		message.n_list = view->n;
		message.goal = view->goal;
		message.tau = view->tau;
		message.tau_why = view->tau_why;
		message.outcomes = view->outcomes;
		message.advisor = view->advisor;
		*out = grpc_slice_malloc(semantos__v1__recommendations__get_packed_size(&message));
		semantos__v1__recommendations__pack(&message, GRPC_SLICE_START_PTR(*out));
	}
	free(entry);
	free(list);
	return entry && list;
}

void tune_call_recommend(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct tune_view view;
	struct unpacked request;
	uint64_t proposal;
	grpc_slice message;
	char text[120];
	int err;

	if (!request_open(&request, call, &semantos__v1__recommend_request__descriptor, bytes, n))
		return;
	proposal = ((Semantos__V1__RecommendRequest *)request.message)->proposal;
	unpack_free(&request);
	reader_pause(call);
	err = tune_view(tuner_of(call), proposal, &view);
	if (!err && !view_message(&view, &message))
		err = -ENOMEM;
	tune_view_free(&view);
	if (err) {
		snprintf(text, sizeof(text),
			err == -ENOENT ? "There is no proposal %llu (any more)."
				       : "The agent has no memory left for proposal %llu.",
			(unsigned long long)proposal);
		call_answer(call, status_of_errno(err), text, grpc_empty_slice(), false);
		return;
	}
	call_answer(call, GRPC_STATUS_OK, "", message, true);
	grpc_slice_unref(message);
}
