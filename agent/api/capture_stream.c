/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capture_stream.c - outcome records from the loop to one client, as a stream of chunks.
 *
 * The loop thread only copies rows into a fixed buffer; what finds it full is counted and told to the client. A
 * thread of the capture's own sends. It ends at its rows, its seconds, a client gone, or the agent's stop.
 */
#include "agent/api/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "agent/proto/semantos.pb-c.h"

#define BUFFER_ROWS 16384 /* 2 MiB: a third of a second at 50,000 reads a second */
#define CHUNK_ROWS 512
#define FLUSH_MS 200 /* a chunk waits this long to fill */
#define LOOK_MS 2000 /* after this long without a row: is the device still there? */

struct capture_stream {
	struct api_call *call;
	char policy[CONTROL_NAME_LEN], device[32];
	uint32_t major, minor, seconds;
	uint64_t wanted; /* rows */

	pthread_mutex_t lock; /* guards what follows; held for one copy at most */
	pthread_cond_t filled;
	struct semantos_block_record *buffer; /* [BUFFER_ROWS] */
	uint32_t head, count;
	uint64_t taken, dropped;
	bool over; /* the sink shall take no more */
};

/* On the loop thread. */
static bool take_rows(void *ctx, const struct semantos_block_record *records, size_t n)
{
	struct capture_stream *stream = ctx;
	bool go_on;

	pthread_mutex_lock(&stream->lock);
	for (size_t i = 0; i < n && !stream->over; i++) {
		if (stream->count == BUFFER_ROWS) {
			stream->dropped++;
			continue;
		}
		stream->buffer[(stream->head + stream->count) % BUFFER_ROWS] = records[i];
		stream->count++;
		stream->taken++;
		stream->over = stream->taken == stream->wanted;
	}
	if (stream->over || stream->count >= CHUNK_ROWS)
		pthread_cond_signal(&stream->filled);
	go_on = !stream->over;
	pthread_mutex_unlock(&stream->lock);
	return go_on;
}

static int send_chunk(struct capture_stream *stream, const struct semantos_block_record *records,
	size_t n, uint64_t dropped, const char *last_text)
{
	Semantos__V1__CaptureChunk chunk = SEMANTOS__V1__CAPTURE_CHUNK__INIT;
	grpc_slice message;
	int err;

	chunk.wire_version = SEMANTOS_WIRE_VERSION;
	chunk.record_bytes = sizeof(*records);
	chunk.major = stream->major;
	chunk.minor = stream->minor;
	chunk.records.data = (uint8_t *)records;
	chunk.records.len = n * sizeof(*records);
	chunk.dropped = dropped;
	chunk.last = last_text != NULL;
	if (last_text)
		chunk.text = (char *)last_text;
	message = grpc_slice_malloc(semantos__v1__capture_chunk__get_packed_size(&chunk));
	semantos__v1__capture_chunk__pack(&chunk, GRPC_SLICE_START_PTR(message));
	err = call_chunk(stream->call, message);
	grpc_slice_unref(message);
	return err;
}

/* Number, note and presence of the device; 0 or -ENOENT, -ENODEV, ... */
static int find_device(struct capture_stream *stream)
{
	struct agent_view view = { 0 };
	int err = control_view(stream->call->port->owner->core, stream->policy, &view);

	if (err)
		return err;
	err = -ENODEV;
	for (uint32_t i = 0; i < view.n_policies; i++) {
		const struct policy_view *policy = &view.policy[i];

		for (uint32_t j = 0; j < policy->n_devices; j++) {
			const struct device_view *device = &policy->device[j];

			if (strcmp(device->name, stream->device) != 0 ||
				device->phase == DEVICE_GONE || device->phase == DEVICE_UNSUPPORTED)
				continue;
			stream->major = device->major;
			stream->minor = device->minor;
			err = 0;
		}
	}
	control_view_free(&view);
	return err;
}

enum ending { END_ROWS, END_TIME, END_CLIENT, END_DEVICE, END_STOP };

/* Send what comes until something ends it. */
static enum ending pump(struct capture_stream *stream, struct semantos_block_record *chunk)
{
	struct api_call *call = stream->call;
	uint64_t end_ms = api_now_ms() + (uint64_t)stream->seconds * 1000;
	uint64_t row_ms = api_now_ms();

	for (;;) {
		struct timespec until;
		uint64_t dropped;
		uint32_t n = 0;
		bool over, empty;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += FLUSH_MS * 1000000L;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_nsec -= 1000000000L;
			until.tv_sec++;
		}
		pthread_mutex_lock(&stream->lock);
		while (!stream->over && stream->count < CHUNK_ROWS) {
			if (pthread_cond_timedwait(&stream->filled, &stream->lock, &until))
				break;
		}
		while (n < CHUNK_ROWS && stream->count > 0) {
			chunk[n++] = stream->buffer[stream->head];
			stream->head = (stream->head + 1) % BUFFER_ROWS;
			stream->count--;
		}
		over = stream->over;
		empty = stream->count == 0;
		dropped = stream->dropped;
		pthread_mutex_unlock(&stream->lock);

		if (n > 0) {
			if (send_chunk(stream, chunk, n, dropped, NULL))
				return END_CLIENT;
			row_ms = api_now_ms();
		}
		if (atomic_load(&call->cancelled))
			return END_CLIENT;
		if (over && empty)
			return END_ROWS;
		if (atomic_load(&call->port->owner->stopping))
			return END_STOP;
		if (api_now_ms() >= end_ms)
			return END_TIME;
		if (api_now_ms() - row_ms > LOOK_MS) {
			int err = find_device(stream);

			if (err == -ENOENT || err == -ENODEV)
				return END_DEVICE;
			row_ms = api_now_ms();
		}
	}
}

static void ending_text(
	const struct capture_stream *stream, enum ending ending, char *text, size_t len)
{
	static const char *const why[] = {
		[END_ROWS] = "all that were asked for",
		[END_TIME] = "the time is over",
		[END_CLIENT] = "the client is gone",
		[END_DEVICE] = "the device or the policy is gone",
		[END_STOP] = "the agent stops",
	};
	int n = snprintf(text, len, "%llu of %llu reads of %s were captured: %s.",
		(unsigned long long)stream->taken, (unsigned long long)stream->wanted,
		stream->device, why[ending]);

	if (stream->dropped > 0 && n > 0 && (size_t)n < len)
		snprintf(text + n, len - (size_t)n,
			" %llu more found the buffer full and are missing between them.",
			(unsigned long long)stream->dropped);
}

static void stream_free(struct capture_stream *stream)
{
	pthread_cond_destroy(&stream->filled);
	pthread_mutex_destroy(&stream->lock);
	free(stream->buffer);
	free(stream);
}

static void captures_add(struct api_server *server, int change)
{
	pthread_mutex_lock(&server->lock);
	server->n_captures += (uint32_t)change;
	pthread_cond_broadcast(&server->idle);
	pthread_mutex_unlock(&server->lock);
}

static void refuse(struct api_call *call, int error, const char *text)
{
	call_answer(call, status_of_errno(error), text, grpc_empty_slice(), false);
}

static void *stream_main(void *arg)
{
	struct capture_stream *stream = arg;
	struct api_call *call = stream->call;
	struct api_server *server = call->port->owner;
	struct semantos_block_record *chunk = malloc(CHUNK_ROWS * sizeof(*chunk));
	struct control_reply reply = { 0 };
	enum ending ending;
	char text[320];
	uint64_t tap;
	int err;

	pthread_setname_np(pthread_self(), "api-capture");
	err = chunk ? find_device(stream) : -ENOMEM;
	if (err) {
		snprintf(text, sizeof(text),
			err == -ENODEV
				? "Policy %s watches no device named %s: see `semantosctl status "
				  "%s`."
				: "No capture of policy %s, device %s is possible: is %s attached?",
			stream->policy, stream->device, stream->policy);
		refuse(call, err, text);
		goto out;
	}
	tap = control_tap_start(server->core, stream->policy, stream->device, stream->wanted,
		take_rows, stream, &reply);
	if (!tap) {
		reply.text[sizeof(reply.text) - 1] = '\0';
		refuse(call, reply.error ? reply.error : -EIO, reply.text);
		goto out;
	}
	ending = pump(stream, chunk);
	control_tap_stop(server->core, tap);

	ending_text(stream, ending, text, sizeof(text));
	if (ending != END_CLIENT)
		send_chunk(stream, NULL, 0, stream->dropped, text);
	call_answer(call, ending == END_CLIENT ? GRPC_STATUS_CANCELLED : GRPC_STATUS_OK, "",
		grpc_empty_slice(), false);
out:
	free(chunk);
	stream_free(stream);
	call_unref(call);
	captures_add(server, -1);
	return NULL;
}

void capture_stream_start(struct api_call *call, const char *policy, const char *device,
	uint64_t rows, uint32_t seconds)
{
	struct api_server *server = call->port->owner;
	struct capture_stream *stream;
	pthread_condattr_t attr;
	pthread_t thread;
	/* readers leave one place to operators */
	uint32_t limit = API_MAX_CAPTURES - (call->port->role < API_OPERATOR);
	bool room;

	pthread_mutex_lock(&server->lock);
	room = server->n_captures < limit && !atomic_load(&server->stopping);
	server->n_captures += room;
	pthread_mutex_unlock(&server->lock);
	if (!room) {
		call_answer(call, GRPC_STATUS_RESOURCE_EXHAUSTED,
			"As many captures run as may at once: wait until one ends.",
			grpc_empty_slice(), false);
		return;
	}
	stream = calloc(1, sizeof(*stream));
	if (!stream)
		goto no_memory;
	stream->buffer = malloc(BUFFER_ROWS * sizeof(*stream->buffer));
	stream->call = call;
	stream->wanted = rows;
	stream->seconds = seconds;
	snprintf(stream->policy, sizeof(stream->policy), "%s", policy);
	snprintf(stream->device, sizeof(stream->device), "%s", device);
	pthread_mutex_init(&stream->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&stream->filled, &attr);
	pthread_condattr_destroy(&attr);
	call_ref(call);
	if (stream->buffer && pthread_create(&thread, NULL, stream_main, stream) == 0) {
		pthread_detach(thread);
		return;
	}
	call_unref(call);
	stream_free(stream);
no_memory:
	captures_add(server, -1);
	refuse(call, -ENOMEM, "No capture can start: no memory is left.");
}
