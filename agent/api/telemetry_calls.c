// SPDX-License-Identifier: Apache-2.0
/*
 * telemetry_calls.c - the service TelemetryAgent: a snapshot, a stream of them, what is kept of one metric.
 *
 * A stream has a thread of its own, which sleeps until a snapshot is taken: a slow client misses some and holds up
 * nobody. It ends at its count, a client gone, or the agent's stop.
 */
#include "agent/api/internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/api/unpack.h"
#include "agent/proto/semantos.pb-c.h"
#include "agent/telemetry/telemetry.h"

#define LOOK_MS 500 /* how often a waiting stream looks whether its client is still there */

static void refuse(struct api_call *call, grpc_status_code code, const char *text)
{
	call_answer(call, code, text, grpc_empty_slice(), false);
}

/* NULL after the call was refused. */
static struct telemetry *telemetry_of(struct api_call *call)
{
	struct telemetry *telemetry = call->port->owner->telemetry;

	if (!telemetry)
		refuse(call, GRPC_STATUS_FAILED_PRECONDITION,
			"This agent takes no telemetry: it was started with --no-telemetry.");
	return telemetry;
}

/* Is this metric asked for? */
static bool is_asked(const char *asked, const char *name)
{
	size_t n = strlen(asked);

	if (!n)
		return true;
	if (asked[n - 1] == '*')
		return strncmp(asked, name, n - 1) == 0;
	return strcmp(asked, name) == 0;
}

void metric_message(Semantos__V1__TelemetryMetric *metric, const struct metric_view *view)
{
	const struct metric_def *def = &metric_defs[view->def];

	semantos__v1__telemetry_metric__init(metric);
	metric->name = (char *)def->name;
	metric->label = (char *)view->label;
	metric->kind = (char *)metric_kind_name(def->kind);
	metric->unit = (char *)metric_unit_name(def->unit);
	metric->value = view->value;
	metric->median = view->median;
	metric->p95 = view->p95;
	metric->p99 = view->p99;
	metric->per_s = view->per_s;
	metric->anomalies = view->anomalies;
	metric->events = view->events;
}

/* 0, -ENOENT when no such metric is there, -ENOMEM. */
static int snapshot_encode(
	struct telemetry *telemetry, const char *asked, uint64_t *number, grpc_slice *out)
{
	Semantos__V1__TelemetrySnapshot message = SEMANTOS__V1__TELEMETRY_SNAPSHOT__INIT;
	Semantos__V1__TelemetryMetric *metric = NULL, **metrics = NULL;
	Semantos__V1__Counter loss[TELEMETRY_LOSSES], *losses[TELEMETRY_LOSSES];
	struct telemetry_view view;
	int err = telemetry_view(telemetry, &view);

	if (err)
		return err;
	metric = calloc(view.n_metrics + 1, sizeof(*metric));
	metrics = calloc(view.n_metrics + 1, sizeof(*metrics));
	if (!metric || !metrics) {
		err = -ENOMEM;
		goto out;
	}
	for (size_t i = 0; i < view.n_metrics; i++) {
		if (!is_asked(asked, metric_defs[view.metric[i].def].name))
			continue;
		metrics[message.n_metrics] = &metric[message.n_metrics];
		metric_message(&metric[message.n_metrics++], &view.metric[i]);
	}
	if (!message.n_metrics && *asked) {
		err = -ENOENT;
		goto out;
	}
	for (int i = 0; i < TELEMETRY_LOSSES; i++) {
		semantos__v1__counter__init(&loss[i]);
		loss[i].name = (char *)view.loss[i].name;
		loss[i].value = view.loss[i].value;
		losses[i] = &loss[i];
	}
	message.metrics = metrics;
	message.losses = losses;
	message.n_losses = TELEMETRY_LOSSES;
	message.number = *number = view.number;
	message.unix_ms = view.unix_ms;
	message.interval_s = view.interval_s;
	message.history_rows = view.history_rows;
	message.bytes = view.bytes;
	message.kernel_bytes = view.kernel_bytes;
	message.note = view.note;
	*out = grpc_slice_malloc(semantos__v1__telemetry_snapshot__get_packed_size(&message));
	semantos__v1__telemetry_snapshot__pack(&message, GRPC_SLICE_START_PTR(*out));
out:
	free(metric);
	free(metrics);
	telemetry_view_free(&view);
	return err;
}

static void refuse_metric(struct api_call *call, int err)
{
	refuse(call, status_of_errno(err),
		err == -ENOENT ? "No such metric is measured here: see `semantosctl telemetry`."
			       : "The agent has no memory left.");
}

void telemetry_snapshot(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct telemetry *telemetry = telemetry_of(call);
	struct unpacked request;
	grpc_slice message;
	uint64_t number;
	int err;

	if (!telemetry || !request_open(&request, call,
				  &semantos__v1__telemetry_request__descriptor, bytes, n))
		return;
	err = snapshot_encode(telemetry,
		((Semantos__V1__TelemetryRequest *)request.message)->metric, &number, &message);
	unpack_free(&request);
	reader_pause(call);
	if (err) {
		refuse_metric(call, err);
		return;
	}
	call_answer(call, GRPC_STATUS_OK, "", message, true);
	grpc_slice_unref(message);
}

void telemetry_history_of(struct api_call *call, const uint8_t *bytes, size_t n)
{
	Semantos__V1__TelemetryHistory message = SEMANTOS__V1__TELEMETRY_HISTORY__INIT;
	struct telemetry *telemetry = telemetry_of(call);
	Semantos__V1__TelemetryHistoryRequest *ask;
	Semantos__V1__TelemetryRow *row = NULL, **rows = NULL;
	struct metric_row *kept = NULL;
	struct unpacked request;
	grpc_slice packed;
	int got;

	if (!telemetry || !request_open(&request, call,
				  &semantos__v1__telemetry_history_request__descriptor, bytes, n))
		return;
	ask = (Semantos__V1__TelemetryHistoryRequest *)request.message;
	kept = calloc(METRIC_ROWS, sizeof(*kept));
	row = calloc(METRIC_ROWS, sizeof(*row));
	rows = calloc(METRIC_ROWS, sizeof(*rows));
	got = -ENOMEM;
	if (kept && row && rows)
		got = telemetry_history(telemetry, ask->metric, ask->label, kept,
			ask->rows && ask->rows < METRIC_ROWS ? ask->rows : METRIC_ROWS,
			&message.number, &message.interval_s);
	unpack_free(&request);
	reader_pause(call);
	if (got < 0) {
		refuse_metric(call, got);
		goto out;
	}
	for (int i = 0; i < got; i++) {
		semantos__v1__telemetry_row__init(&row[i]);
		row[i].value = (double)kept[i].value;
		row[i].median = (double)kept[i].median;
		row[i].p95 = (double)kept[i].p95;
		row[i].p99 = (double)kept[i].p99;
		row[i].per_s = (double)kept[i].per_s;
		rows[i] = &row[i];
	}
	message.rows = rows;
	message.n_rows = (size_t)got;
	packed = grpc_slice_malloc(semantos__v1__telemetry_history__get_packed_size(&message));
	semantos__v1__telemetry_history__pack(&message, GRPC_SLICE_START_PTR(packed));
	call_answer(call, GRPC_STATUS_OK, "", packed, true);
	grpc_slice_unref(packed);
out:
	free(kept);
	free(row);
	free(rows);
}

/* ---- the stream ---- */

struct stream {
	struct api_call *call;
	struct telemetry *telemetry;
	uint64_t count; /* UINT64_MAX = until the client goes */
	char *asked;
};

static void streams_add(struct api_server *server, int change)
{
	pthread_mutex_lock(&server->lock);
	server->n_streams += (uint32_t)change;
	pthread_cond_broadcast(&server->idle);
	pthread_mutex_unlock(&server->lock);
}

static void stream_free(struct stream *stream)
{
	free(stream->asked);
	free(stream);
}

/* The status the stream ends with. */
static grpc_status_code pump(struct stream *stream)
{
	struct api_call *call = stream->call;
	uint64_t number = 0;

	while (stream->count > 0) {
		grpc_slice message;
		int err;

		if (atomic_load(&call->cancelled))
			return GRPC_STATUS_CANCELLED;
		if (atomic_load(&call->port->owner->stopping))
			return GRPC_STATUS_OK;
		err = telemetry_wait(stream->telemetry, number, LOOK_MS);
		if (err == -ESHUTDOWN)
			return GRPC_STATUS_OK;
		if (err)
			continue;
		err = snapshot_encode(stream->telemetry, stream->asked, &number, &message);
		if (err)
			return status_of_errno(err);
		err = call_chunk(call, message);
		grpc_slice_unref(message);
		if (err)
			return GRPC_STATUS_CANCELLED;
		stream->count--;
	}
	return GRPC_STATUS_OK;
}

static void *stream_main(void *arg)
{
	struct stream *stream = arg;
	struct api_call *call = stream->call;
	struct api_server *server = call->port->owner;
	grpc_status_code code;

	pthread_setname_np(pthread_self(), "api-telemetry");
	code = pump(stream);
	if (code == GRPC_STATUS_NOT_FOUND)
		refuse_metric(call, -ENOENT);
	else
		refuse(call, code, code == GRPC_STATUS_OK ? "" : "The stream was broken off.");
	stream_free(stream);
	call_unref(call);
	streams_add(server, -1);
	return NULL;
}

void telemetry_stream_start(struct api_call *call, const uint8_t *bytes, size_t n)
{
	struct telemetry *telemetry = telemetry_of(call);
	struct api_server *server = call->port->owner;
	/* readers leave one place to operators */
	uint32_t limit = API_MAX_STREAMS - (call->port->role < API_OPERATOR);
	Semantos__V1__TelemetryRequest *ask;
	struct unpacked request;
	struct stream *stream;
	pthread_t thread;
	bool room;

	if (!telemetry || !request_open(&request, call,
				  &semantos__v1__telemetry_request__descriptor, bytes, n))
		return;
	ask = (Semantos__V1__TelemetryRequest *)request.message;
	pthread_mutex_lock(&server->lock);
	room = server->n_streams < limit && !atomic_load(&server->stopping);
	server->n_streams += room;
	pthread_mutex_unlock(&server->lock);
	if (!room) {
		unpack_free(&request);
		refuse(call, GRPC_STATUS_RESOURCE_EXHAUSTED,
			"As many streams of telemetry run as may at once: wait until one ends.");
		return;
	}
	stream = calloc(1, sizeof(*stream));
	if (stream)
		stream->asked = strdup(ask->metric);
	if (stream && stream->asked) {
		stream->call = call;
		stream->telemetry = telemetry;
		stream->count = ask->count ? ask->count : UINT64_MAX;
		call_ref(call);
		if (pthread_create(&thread, NULL, stream_main, stream) == 0) {
			pthread_detach(thread);
			unpack_free(&request);
			return;
		}
		call_unref(call);
	}
	unpack_free(&request);
	if (stream)
		stream_free(stream);
	streams_add(server, -1);
	refuse(call, GRPC_STATUS_RESOURCE_EXHAUSTED, "No stream can start: no memory is left.");
}
