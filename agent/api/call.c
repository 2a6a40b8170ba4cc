/* SPDX-License-Identifier: Apache-2.0 */
/*
 * call.c - the life of one gRPC call: awaited, read, carried out, answered, closed.
 *
 * Every method is taken as a generic call, so that an unknown one is answered instead of left hanging. A call is freed
 * when its last outstanding event has come; each call_ref() is one. Runs on the lane's threads and capture threads.
 */
#include "agent/api/internal.h"

#include <errno.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <stdlib.h>
#include <string.h>

#define METHOD_MAX 128

static void step_to(struct api_call *call, enum call_step step)
{
	atomic_store(&call->step_since_ms, api_now_ms());
	atomic_store(&call->step, step);
}

void call_ref(struct api_call *call)
{
	atomic_fetch_add(&call->refs, 1);
}

void call_unref(struct api_call *call)
{
	struct api_server *server = call->port->owner;

	if (atomic_fetch_sub(&call->refs, 1) != 1)
		return;
	if (call->grpc) {
		pthread_mutex_lock(&server->lock);
		if (call->prev)
			call->prev->next = call->next;
		else
			server->calls = call->next;
		if (call->next)
			call->next->prev = call->prev;
		server->n_calls--;
		pthread_cond_broadcast(&server->idle);
		pthread_mutex_unlock(&server->lock);
		grpc_call_unref(call->grpc);
	}
	grpc_byte_buffer_destroy(call->request);
	grpc_slice_unref(call->status_text);
	grpc_call_details_destroy(&call->details);
	grpc_metadata_array_destroy(&call->metadata);
	pthread_cond_destroy(&call->chunk_done);
	pthread_mutex_destroy(&call->chunk_lock);
	free(call);
}

/* Start a batch that completes as `event`; a batch gRPC refuses completes at once, as failed. */
static void start(struct api_call *call, const grpc_op *ops, size_t n, struct api_event *event)
{
	call_ref(call);
	if (grpc_call_start_batch(call->grpc, ops, n, event, NULL) != GRPC_CALL_OK)
		event->done(event, false);
}

static void on_closed(struct api_event *event, bool ok)
{
	struct api_call *call = event->owner;

	(void)ok;
	if (call->client_gone)
		atomic_store(&call->cancelled, true);
	call_unref(call);
}

static void on_answered(struct api_event *event, bool ok)
{
	struct api_call *call = event->owner;

	(void)ok;
	step_to(call, CALL_ANSWERED);
	call_unref(call);
}

static void on_chunk(struct api_event *event, bool ok)
{
	struct api_call *call = event->owner;

	pthread_mutex_lock(&call->chunk_lock);
	call->chunk_busy = false;
	call->chunk_ok = ok;
	pthread_cond_signal(&call->chunk_done);
	pthread_mutex_unlock(&call->chunk_lock);
	call_unref(call);
}

int call_chunk(struct api_call *call, grpc_slice message)
{
	grpc_byte_buffer *buffer;
	grpc_op op = { .op = GRPC_OP_SEND_MESSAGE };
	bool ok;

	if (atomic_load(&call->cancelled))
		return -ECANCELED;
	buffer = grpc_raw_byte_buffer_create(&message, 1);
	op.data.send_message.send_message = buffer;
	call->chunk_busy = true;
	step_to(call, CALL_ANSWERING);
	start(call, &op, 1, &call->chunk_sent);
	grpc_byte_buffer_destroy(buffer);

	/* Bounded: calls_sweep() cancels a call whose client does not take it, and that completes the batch. */
	pthread_mutex_lock(&call->chunk_lock);
	while (call->chunk_busy)
		pthread_cond_wait(&call->chunk_done, &call->chunk_lock);
	ok = call->chunk_ok;
	pthread_mutex_unlock(&call->chunk_lock);
	step_to(call, CALL_WORKING);
	return ok ? 0 : -EIO;
}

void call_answer(struct api_call *call, grpc_status_code code, const char *text, grpc_slice message,
	bool has_message)
{
	grpc_byte_buffer *buffer = NULL;
	grpc_op ops[3] = { 0 };
	size_t n = 0;

	if (!call->metadata_sent) {
		call->metadata_sent = true;
		ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
	}
	if (code == GRPC_STATUS_OK && has_message) {
		buffer = grpc_raw_byte_buffer_create(&message, 1);
		ops[n].op = GRPC_OP_SEND_MESSAGE;
		ops[n++].data.send_message.send_message = buffer;
	}
	call->status_text = grpc_slice_from_copied_string(text);
	ops[n].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
	ops[n].data.send_status_from_server.status = code;
	ops[n++].data.send_status_from_server.status_details = &call->status_text;
	step_to(call, CALL_ANSWERING);
	start(call, ops, n, &call->answered);
	if (buffer)
		grpc_byte_buffer_destroy(buffer);
}

static void on_read(struct api_event *event, bool ok)
{
	struct api_call *call = event->owner;
	grpc_byte_buffer_reader reader;
	char method[METHOD_MAX];
	size_t n = GRPC_SLICE_LENGTH(call->details.method);
	grpc_slice all;

	if (!ok)
		goto out;
	step_to(call, CALL_WORKING);
	if (!call->request) {
		call_answer(call, GRPC_STATUS_INVALID_ARGUMENT, "The request carries no message.",
			grpc_empty_slice(), false);
		goto out;
	}
	if (n >= sizeof(method))
		n = sizeof(method) - 1;
	memcpy(method, GRPC_SLICE_START_PTR(call->details.method), n);
	method[n] = '\0';
	if (!grpc_byte_buffer_reader_init(&reader, call->request)) {
		call_answer(call, GRPC_STATUS_INVALID_ARGUMENT, "The request cannot be unpacked.",
			grpc_empty_slice(), false);
		goto out;
	}
	all = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	grpc_byte_buffer_destroy(call->request);
	call->request = NULL;
	handle_call(call, method, GRPC_SLICE_START_PTR(all), GRPC_SLICE_LENGTH(all));
	grpc_slice_unref(all);
out:
	call_unref(call);
}

static void on_arrived(struct api_event *event, bool ok)
{
	struct api_call *call = event->owner;
	struct api_server *server = call->port->owner;
	grpc_op ops[2] = { 0 };

	if (!ok) {
		call_unref(call);
		return;
	}
	pthread_mutex_lock(&server->lock);
	call->next = server->calls;
	if (call->next)
		call->next->prev = call;
	server->calls = call;
	server->n_calls++;
	pthread_mutex_unlock(&server->lock);

	/* On failure no further call is taken on this port until the agent is restarted: memory is gone then. */
	call_await(call->port);

	step_to(call, CALL_READING);
	ops[0].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
	ops[0].data.recv_close_on_server.cancelled = &call->client_gone;
	start(call, ops, 1, &call->closed);

	memset(ops, 0, sizeof(ops));
	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[1].op = GRPC_OP_RECV_MESSAGE;
	ops[1].data.recv_message.recv_message = &call->request;
	if (call->port->role == API_DENIED) {
		handle_denied(call);
	} else {
		call->metadata_sent = true;
		start(call, ops, 2, &call->read);
	}
	call_unref(call);
}

int call_await(struct api_port *port)
{
	struct api_call *call = calloc(1, sizeof(*call));

	if (!call)
		return -ENOMEM;
	call->port = port;
	call->arrived = (struct api_event){ on_arrived, call };
	call->read = (struct api_event){ on_read, call };
	call->closed = (struct api_event){ on_closed, call };
	call->answered = (struct api_event){ on_answered, call };
	call->chunk_sent = (struct api_event){ on_chunk, call };
	call->status_text = grpc_empty_slice();
	grpc_call_details_init(&call->details);
	grpc_metadata_array_init(&call->metadata);
	pthread_mutex_init(&call->chunk_lock, NULL);
	pthread_cond_init(&call->chunk_done, NULL);
	atomic_store(&call->refs, 1);
	if (grpc_server_request_call(port->grpc, &call->grpc, &call->details, &call->metadata,
		    port->queue, port->queue, &call->arrived) != GRPC_CALL_OK) {
		call_unref(call);
		return -ESHUTDOWN;
	}
	return 0;
}

void calls_sweep(struct api_server *server)
{
	uint64_t now = api_now_ms();

	pthread_mutex_lock(&server->lock);
	for (struct api_call *call = server->calls; call; call = call->next) {
		uint64_t since = atomic_load(&call->step_since_ms);
		uint64_t waited = now > since ? now - since : 0;
		uint32_t step = atomic_load(&call->step);

		if ((step == CALL_READING && waited > API_REQUEST_MS) ||
			((step == CALL_ANSWERING || step == CALL_ANSWERED) &&
				waited > API_ANSWER_MS)) {
			atomic_store(&call->cancelled, true);
			grpc_call_cancel(call->grpc, NULL);
		}
	}
	pthread_mutex_unlock(&server->lock);
}
