/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scripted_operator.h - a gRPC server that plays the agent's service Operator from a script, for tests of the commands.
 *
 * In a process of its own; a thread a call, each with a completion queue of its own. What it was asked is written into a
 * log, a line a call; the script of Tune is chosen by the request's `because`. Included by one test program.
 */
#ifndef SEMANTOS_TESTS_UNIT_SCRIPTED_OPERATOR_H
#define SEMANTOS_TESTS_UNIT_SCRIPTED_OPERATOR_H

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "agent/proto/semantos.pb-c.h"

#define SCRIPT_SOURCES 17

static pthread_mutex_t script_lock = PTHREAD_MUTEX_INITIALIZER;
static FILE *script_log;
static unsigned int script_reports[SCRIPT_SOURCES];
static bool script_approved;
static const char *script_state = "kept"; /* of proposal 7 */

struct script_call {
	grpc_call *call;
	grpc_call_details details;
	grpc_metadata_array metadata;
	grpc_completion_queue *queue;
	char method[96];
	bool began;
	int cancelled; /* by RECV_CLOSE_ON_SERVER */
};

static __attribute__((format(printf, 1, 2))) void script_note(const char *fmt, ...)
{
	va_list args;

	pthread_mutex_lock(&script_lock);
	va_start(args, fmt);
	vfprintf(script_log, fmt, args);
	va_end(args);
	fputc('\n', script_log);
	fflush(script_log);
	pthread_mutex_unlock(&script_lock);
}

static bool script_batch(struct script_call *c, grpc_op *ops, size_t n)
{
	grpc_event event;

	if (grpc_call_start_batch(c->call, ops, n, ops, NULL) != GRPC_CALL_OK)
		return false;
	event = grpc_completion_queue_pluck(
		c->queue, ops, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
	return event.success != 0;
}

static ProtobufCMessage *script_receive(
	struct script_call *c, const ProtobufCMessageDescriptor *type)
{
	grpc_op op = { .op = GRPC_OP_RECV_MESSAGE };
	grpc_byte_buffer *bytes = NULL;
	ProtobufCMessage *message;
	grpc_byte_buffer_reader reader;
	grpc_slice all;

	op.data.recv_message.recv_message = &bytes;
	if (!script_batch(c, &op, 1) || !bytes || !grpc_byte_buffer_reader_init(&reader, bytes))
		return NULL;
	all = grpc_byte_buffer_reader_readall(&reader);
	message = protobuf_c_message_unpack(
		type, NULL, GRPC_SLICE_LENGTH(all), GRPC_SLICE_START_PTR(all));
	grpc_slice_unref(all);
	grpc_byte_buffer_reader_destroy(&reader);
	grpc_byte_buffer_destroy(bytes);
	return message;
}

static bool script_send(struct script_call *c, const ProtobufCMessage *message)
{
	grpc_op ops[2] = { { .op = GRPC_OP_SEND_INITIAL_METADATA } };
	grpc_byte_buffer *bytes;
	grpc_slice packed;
	size_t n = 0;
	bool ok;

	packed = grpc_slice_malloc(protobuf_c_message_get_packed_size(message));
	protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(packed));
	bytes = grpc_raw_byte_buffer_create(&packed, 1);
	grpc_slice_unref(packed);
	n += !c->began;
	c->began = true;
	ops[n].op = GRPC_OP_SEND_MESSAGE;
	ops[n++].data.send_message.send_message = bytes;
	ok = script_batch(c, ops, n);
	grpc_byte_buffer_destroy(bytes);
	return ok;
}

static void script_finish(struct script_call *c, grpc_status_code status, const char *text)
{
	grpc_op ops[2] = { { .op = GRPC_OP_SEND_INITIAL_METADATA } };
	grpc_slice details = grpc_slice_from_copied_string(text);
	size_t n = !c->began;

	ops[n].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
	ops[n].data.send_status_from_server.status = status;
	ops[n++].data.send_status_from_server.status_details = &details;
	script_batch(c, ops, n);
	grpc_slice_unref(details);
}

static void script_done(struct script_call *c, const char *text)
{
	Semantos__V1__Done done = SEMANTOS__V1__DONE__INIT;

	done.text = (char *)text;
	script_send(c, &done.base);
	script_finish(c, GRPC_STATUS_OK, "");
}

/* ---- what scripts are made of ---- */

static bool script_event(struct script_call *c, const char *kind, uint64_t proposal,
	uint64_t change, double before, double after, const char *text)
{
	Semantos__V1__TuneEvent event = SEMANTOS__V1__TUNE_EVENT__INIT;

	event.kind = (char *)kind;
	event.text = (char *)text;
	event.proposal = proposal;
	event.change = change;
	event.before = before;
	event.after = after;
	event.low = after / before - 1 - 0.05;
	event.high = after / before - 1 + 0.05;
	event.unix_ms = 1700000000000;
	return script_send(c, &event.base);
}

static void script_say(struct script_call *c, const char *kind, const char *text)
{
	script_event(c, kind, strcmp(kind, "started") && strcmp(kind, "ended") ? 7 : 0, 0, NAN, NAN,
		text);
}

/* Until so many reports came, or 20 s are over. */
static void script_await_reports(unsigned int source, unsigned int n)
{
	for (int i = 0; i < 2000; i++) {
		bool enough;

		pthread_mutex_lock(&script_lock);
		enough = script_reports[source] >= n;
		pthread_mutex_unlock(&script_lock);
		if (enough)
			return;
		usleep(10000);
	}
	script_note("no %u reports of source %u", n, source);
}

static void script_await_approval(void)
{
	for (int i = 0; i < 2000; i++) {
		bool approved;

		pthread_mutex_lock(&script_lock);
		approved = script_approved;
		pthread_mutex_unlock(&script_lock);
		if (approved)
			return;
		usleep(10000);
	}
}

static void script_await_cancel(struct script_call *c)
{
	grpc_op op = { .op = GRPC_OP_RECV_CLOSE_ON_SERVER };

	op.data.recv_close_on_server.cancelled = &c->cancelled;
	script_batch(c, &op, 1);
	script_note("Tune cancelled %d", c->cancelled);
}

static void script_source_text(const Semantos__V1__Source *s, char *out, size_t len)
{
	snprintf(out, len, "%s|%s|%s|%s|%s|%u", s->kind, s->metric, s->label, s->figure, s->text,
		s->every_ms);
}

static void script_tune(struct script_call *c)
{
	Semantos__V1__TuneRequest *request = (Semantos__V1__TuneRequest *)script_receive(
		c, &semantos__v1__tune_request__descriptor);
	char text[600], because[64];

	if (!request)
		return;
	script_source_text(request->objective, text, sizeof(text));
	script_note("Tune %s %s apply=%s slice=%u washout=%u pairs=%u trials=%u seed=%" PRIu64
		    " knobs=%zu %s",
		text, request->lower_is_better ? "lower" : "higher", request->apply,
		request->slice_ms, request->washout_ms, request->pairs, request->trials,
		request->seed, request->n_knobs, request->n_knobs ? request->knobs[0] : "");
	for (size_t i = 0; i < request->n_guards; i++) {
		script_source_text(request->guards[i]->source, text, sizeof(text));
		script_note("Guard %s %s %g", text, request->guards[i]->relation,
			request->guards[i]->limit);
	}
	snprintf(because, sizeof(because), "%s", request->because);
	protobuf_c_message_free_unpacked(&request->base, NULL);
	if (strcmp(because, "busy") == 0) {
		script_finish(c, GRPC_STATUS_FAILED_PRECONDITION,
			"Another goal is being tuned for: lower p99; end that one first.");
		return;
	}
	script_say(c, "started", "Tuning for the test.");
	script_say(c, "source", "");
	if (strcmp(because, "whole") == 0) {
		script_await_reports(0, 2);
		script_await_reports(2, 1);
	} else if (strcmp(because, "two sources") == 0) {
		script_await_reports(0, 6);
		script_await_reports(1, 2);
	} else if (strcmp(because, "hang") == 0) {
		pthread_mutex_lock(&script_lock);
		script_state = "trying";
		pthread_mutex_unlock(&script_lock);
		script_say(c, "proposed", "Set read_ahead_kb from 0 to 128.");
		script_say(c, "stage", "Trying it.");
		script_await_cancel(c);
		usleep(300000);
		pthread_mutex_lock(&script_lock);
		script_state = "undone";
		pthread_mutex_unlock(&script_lock);
		script_finish(c, GRPC_STATUS_CANCELLED, "");
		return;
	} else {
		script_await_reports(0, 2);
	}
	script_say(c, "proposed", "Set read_ahead_kb from 0 to 128, because \033[2Jreads wait.");
	script_say(c, "admitted", "Uncertainty 0.08.");
	if (strcmp(because, "advise") == 0) {
		script_say(c, "waiting", "It waits for your word.");
		script_await_approval();
	}
	script_say(c, "stage", "On half of the time.");
	script_event(c, "kept", 7, 12, 5, 10, "Kept: twice as much.");
	script_say(c, "proposed", "Set nr_requests from 64 to 128.");
	script_say(c, "vetoed", "Too uncertain.");
	script_event(c, "undone", 8, 13, 10, 9, "Undone: no gain.");
	script_say(c, "ended", "Nothing is left worth trying.");
	script_finish(c, GRPC_STATUS_OK, "");
}

static void script_report(struct script_call *c)
{
	Semantos__V1__SourceReport *report = (Semantos__V1__SourceReport *)script_receive(
		c, &semantos__v1__source_report__descriptor);

	if (!report)
		return;
	script_note("Report %u %g %u %s", report->source, report->value, report->took_ms,
		report->error);
	pthread_mutex_lock(&script_lock);
	if (report->source < SCRIPT_SOURCES)
		script_reports[report->source]++;
	pthread_mutex_unlock(&script_lock);
	protobuf_c_message_free_unpacked(&report->base, NULL);
	script_done(c, "");
}

static void script_recommend(struct script_call *c)
{
	Semantos__V1__RecommendRequest *request = (Semantos__V1__RecommendRequest *)script_receive(
		c, &semantos__v1__recommend_request__descriptor);
	Semantos__V1__Recommendations all = SEMANTOS__V1__RECOMMENDATIONS__INIT;
	Semantos__V1__Recommendation a = SEMANTOS__V1__RECOMMENDATION__INIT, b = a;
	Semantos__V1__Recommendation *list[] = { &b, &a };
	Semantos__V1__Knob knob = SEMANTOS__V1__KNOB__INIT, was = knob, *knobs = &knob,
			   *wass = &was;

	if (!request)
		return;
	knob.name = was.name = (char *)"sysfs:block/vda/queue/read_ahead_kb";
	knob.value = (char *)"128";
	was.value = (char *)"0";
	a.n_knobs = b.n_knobs = a.n_was = b.n_was = 1;
	a.knobs = b.knobs = &knobs;
	a.was = b.was = &wass;
	a.id = 7;
	pthread_mutex_lock(&script_lock);
	a.state = (char *)script_state;
	pthread_mutex_unlock(&script_lock);
	a.rationale = (char *)"Sequential reads wait for each block: \033[31mread ahead.";
	a.evidence = (char *)"trace 3";
	a.expected_change = -0.4;
	a.uncertainty = 0.08;
	a.change = 12;
	a.text = (char *)"Kept: twice as much.";
	a.before = 5;
	a.after = 10;
	a.low = 0.95;
	a.high = 1.05;
	b.id = 9;
	b.state = (char *)"waiting";
	b.expected_change = b.before = b.after = NAN;
	b.uncertainty = 0.2;
	b.unix_ms = 1700000000000;
	all.goal = (char *)"Tuning for the test.";
	all.tau = 0.25;
	all.outcomes = 30;
	all.advisor = true;
	all.list = list;
	all.n_list = 2;
	if (request->proposal == 7 || request->proposal == 9) {
		list[0] = request->proposal == 7 ? &a : &b;
		all.n_list = 1;
	}
	if (request->proposal > 9) {
		script_finish(c, GRPC_STATUS_NOT_FOUND, "There is no such proposal.");
	} else {
		script_send(c, &all.base);
		script_finish(c, GRPC_STATUS_OK, "");
	}
	protobuf_c_message_free_unpacked(&request->base, NULL);
}

static void script_word(struct script_call *c)
{
	if (strstr(c->method, "Approve")) {
		Semantos__V1__ApproveRequest *r = (Semantos__V1__ApproveRequest *)script_receive(
			c, &semantos__v1__approve_request__descriptor);

		script_note("Approve %" PRIu64, r->proposal);
		pthread_mutex_lock(&script_lock);
		script_approved = true;
		pthread_mutex_unlock(&script_lock);
		protobuf_c_message_free_unpacked(&r->base, NULL);
		script_done(c, "Proposal 7 is approved and will be tried.");
	} else if (strstr(c->method, "Reject")) {
		Semantos__V1__RejectRequest *r = (Semantos__V1__RejectRequest *)script_receive(
			c, &semantos__v1__reject_request__descriptor);

		script_note("Reject %" PRIu64 " %s", r->proposal, r->why);
		protobuf_c_message_free_unpacked(&r->base, NULL);
		script_done(c, "Proposal 7 is refused.");
	} else if (strstr(c->method, "Reset")) {
		Semantos__V1__ResetRequest *r = (Semantos__V1__ResetRequest *)script_receive(
			c, &semantos__v1__reset_request__descriptor);

		script_note("Reset %d", r->forget);
		protobuf_c_message_free_unpacked(&r->base, NULL);
		script_done(c, "Nothing of the tuner's is in force any more.");
	} else {
		Semantos__V1__RollbackRequest *r = (Semantos__V1__RollbackRequest *)script_receive(
			c, &semantos__v1__rollback_request__descriptor);

		script_note("Rollback %" PRIu64 " %s", r->change, r->because);
		protobuf_c_message_free_unpacked(&r->base, NULL);
		script_done(c, "Change 12 was rolled back.");
	}
}

static void script_snapshot(struct script_call *c)
{
	Semantos__V1__TelemetrySnapshot snapshot = SEMANTOS__V1__TELEMETRY_SNAPSHOT__INIT;
	Semantos__V1__TelemetryMetric a = SEMANTOS__V1__TELEMETRY_METRIC__INIT, b = a;
	Semantos__V1__TelemetryMetric *list[] = { &a, &b };

	protobuf_c_message_free_unpacked(
		script_receive(c, &semantos__v1__telemetry_request__descriptor), NULL);
	a.name = (char *)"block_read_latency";
	a.label = (char *)"vda";
	a.p99 = 0.00125;
	a.median = NAN;
	b.name = (char *)"load_1m";
	b.value = 0.5;
	snapshot.number = 3;
	snapshot.metrics = list;
	snapshot.n_metrics = 2;
	script_send(c, &snapshot.base);
	script_finish(c, GRPC_STATUS_OK, "");
}

static void *script_call_main(void *arg)
{
	struct script_call *c = arg;

	if (strstr(c->method, "Operator/Tune"))
		script_tune(c);
	else if (strstr(c->method, "Operator/Report"))
		script_report(c);
	else if (strstr(c->method, "Operator/Recommend"))
		script_recommend(c);
	else if (strstr(c->method, "TelemetryAgent/Snapshot"))
		script_snapshot(c);
	else
		script_word(c);
	/* the process ends soon: nothing is freed */
	return NULL;
}

/* For ever: the test kills it. */
static void script_serve(const char *socket, const char *log)
{
	grpc_completion_queue *queue;
	grpc_server_credentials *credentials;
	grpc_server *server;
	char address[160];

	script_log = fopen(log, "w");
	grpc_init();
	server = grpc_server_create(NULL, NULL);
	queue = grpc_completion_queue_create_for_next(NULL);
	grpc_server_register_completion_queue(server, queue, NULL);
	credentials = grpc_insecure_server_credentials_create();
	snprintf(address, sizeof(address), "unix:%s", socket);
	if (!script_log || !grpc_server_add_http2_port(server, address, credentials))
		_exit(1);
	grpc_server_start(server);
	for (;;) {
		struct script_call *c = calloc(1, sizeof(*c));
		grpc_event event;
		pthread_t thread;
		char *method;

		grpc_call_details_init(&c->details);
		grpc_metadata_array_init(&c->metadata);
		c->queue = grpc_completion_queue_create_for_pluck(NULL);
		grpc_server_request_call(
			server, &c->call, &c->details, &c->metadata, c->queue, queue, c);
		event = grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
		if (event.type != GRPC_OP_COMPLETE || !event.success)
			_exit(1);
		method = grpc_slice_to_c_string(c->details.method);
		snprintf(c->method, sizeof(c->method), "%s", method);
		gpr_free(method);
		if (pthread_create(&thread, NULL, script_call_main, c))
			_exit(1);
		pthread_detach(thread);
	}
}

#endif
