/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h - what the files of agent/api share with each other and with nobody else.
 *
 * server.c owns the gRPC servers, queues and threads; accept.c the socket and the table of connections; call.c the
 * life of one call; handlers.c what each method does; capture_stream.c, telemetry_calls.c and tune_*.c those with
 * streams; view.c
 * the encoding.
 */
#ifndef SEMANTOS_API_INTERNAL_H
#define SEMANTOS_API_INTERNAL_H

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include "agent/api/peer.h"
#include "agent/api/server.h"
#include "agent/core/control.h"

uint64_t api_now_ms(void); /* CLOCK_MONOTONIC */

/* ---- server.c ---- */

/* One completion queue with its threads; privileged calls never wait behind the others'. */
enum api_lane { LANE_PRIVILEGED, LANE_READER, LANE_ADVISOR, LANE_DENIED, API_LANES };
#define API_MAX_LANE_THREADS 2

/* Every tag given to gRPC points at one of these. */
struct api_event {
	void (*done)(struct api_event *event, bool ok);
	void *owner;
};

struct api_port {
	struct api_server *owner;
	enum api_role role;
	grpc_server *grpc;
	grpc_completion_queue *queue; /* borrowed from the lane */
	struct api_event down;
};

struct api_server {
	struct core *core;
	struct telemetry *telemetry; /* NULL = none is taken */
	struct api_acceptor *acceptor;
	struct api_port port[API_ROLES];
	grpc_completion_queue *lane[API_LANES];
	pthread_t lane_thread[API_LANES][API_MAX_LANE_THREADS];
	bool lane_running[API_LANES][API_MAX_LANE_THREADS];

	atomic_bool stopping;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t
		idle; /* signalled when calls, captures or streams fall to 0; CLOCK_MONOTONIC */
	struct api_call *calls; /* every call that reached a client */
	uint32_t n_calls, n_captures, n_streams, n_tunes, n_shutdown;
};

/* ---- accept.c ---- */

struct api_acceptor;

/* Listens and starts the thread. NULL with a sentence in error[len]. */
struct api_acceptor *acceptor_start(
	struct api_server *server, const char *path, char *error, size_t len);
/* No further connection is accepted or handed over after return; the socket file is gone. */
void acceptor_stop(struct api_acceptor *acceptor);
/* Break every connection still open. After acceptor_stop(). */
void acceptor_break(struct api_acceptor *acceptor);
void acceptor_free(struct api_acceptor *acceptor); /* accepts NULL */

/* ---- call.c ---- */

enum call_step { CALL_AWAITED, CALL_READING, CALL_WORKING, CALL_ANSWERING, CALL_ANSWERED };

struct api_call {
	struct api_port *port;
	grpc_call *grpc;
	grpc_call_details details;
	grpc_metadata_array metadata;
	grpc_byte_buffer *request;
	grpc_slice status_text;
	int client_gone; /* written by gRPC */
	struct api_event arrived, read, closed, answered, chunk_sent;
	atomic_uint refs; /* outstanding events, plus the thread of a stream */
	_Atomic uint64_t step_since_ms;
	_Atomic uint32_t step; /* enum call_step */
	atomic_bool cancelled;
	bool metadata_sent;
	struct api_call *next, *prev; /* server->calls */

	pthread_mutex_t chunk_lock; /* capture thread <-> queue thread */
	pthread_cond_t chunk_done;
	bool chunk_busy, chunk_ok;
};

/* Wait for the next call on a port. 0 or -ENOMEM, -ESHUTDOWN. */
int call_await(struct api_port *port);
void call_ref(struct api_call *call);
void call_unref(struct api_call *call);
/* Answer once: a status with a sentence and, when OK, a message (owned by the caller). */
void call_answer(struct api_call *call, grpc_status_code code, const char *text, grpc_slice message,
	bool has_message);
/* Send one message of a stream and wait until gRPC took it. 0, -ECANCELED, -EIO. */
int call_chunk(struct api_call *call, grpc_slice message);
/* Cancel calls whose client keeps us waiting; called about once a second while connections exist. */
void calls_sweep(struct api_server *server);

/* ---- handlers.c ---- */

/* Carries the call out; ends in call_answer(), or in a capture thread that does. */
void handle_call(struct api_call *call, const char *method, const uint8_t *bytes, size_t n_bytes);
void handle_denied(struct api_call *call);
grpc_status_code status_of_errno(int error); /* of a control_reply */
void answer_done(struct api_call *call, struct control_reply *reply);
struct unpacked;
/* False after the call was refused, because the bytes are no such message. */
bool request_open(struct unpacked *request, struct api_call *call,
	const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t n);
void reader_pause(const struct api_call
		*call); /* readers cannot keep others waiting by asking again and again */

/* ---- capture_stream.c ---- */

void capture_stream_start(struct api_call *call, const char *policy, const char *device,
	uint64_t rows, uint32_t seconds);

/* ---- telemetry_calls.c ---- */

void telemetry_snapshot(struct api_call *call, const uint8_t *bytes, size_t n);
void telemetry_history_of(struct api_call *call, const uint8_t *bytes, size_t n);
void telemetry_stream_start(struct api_call *call, const uint8_t *bytes, size_t n);

/* The message of a metric; its texts are those of the view. */
struct Semantos__V1__TelemetryMetric;
struct metric_view;
void metric_message(struct Semantos__V1__TelemetryMetric *metric, const struct metric_view *view);

/* ---- tune_calls.c, tune_streams.c ---- */

void tune_call_report(struct api_call *call, const uint8_t *bytes, size_t n);
void tune_call_recommend(struct api_call *call, const uint8_t *bytes, size_t n);
void tune_call_approve(struct api_call *call, const uint8_t *bytes, size_t n);
void tune_call_reject(struct api_call *call, const uint8_t *bytes, size_t n);
void tune_call_reset(struct api_call *call, const uint8_t *bytes, size_t n);
void tune_call_propose(struct api_call *call, const uint8_t *bytes, size_t n);
void tune_stream_tune(struct api_call *call, const uint8_t *bytes, size_t n);
void tune_stream_watch(struct api_call *call, const uint8_t *bytes, size_t n);

/* ---- view.c ---- */

/* The encoded AgentStatus; false when out of memory. */
bool view_encode(const struct agent_view *view, grpc_slice *out);

#endif
