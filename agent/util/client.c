/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.c - gRPC's C core as a client: one connected socket, one completion queue, one call at a time.
 *
 * Connects by itself, so that "no agent" is told from "an agent that does not answer" and nothing is retried behind
 * the caller's back. Must never wait without a deadline.
 */
#include "agent/util/client.h"

#include <errno.h>
#include <fcntl.h>
#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PACKAGE "/semantos.v1."
#define SERVICE "Agent/" /* of a method named without one */
#define MAX_REPLY_BYTES (64 << 20)
#define RETRY_US 20000 /* while the agent's accept queue is full */
#define POLL_MS 100 /* how often *stop is looked at */

struct client {
	grpc_channel *channel;
	grpc_completion_queue *queue;
	uint32_t timeout_ms;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

static void quiet(gpr_log_func_args *args)
{
	(void)args; /* the library's own notes are no sentence for a person */
}

static __attribute__((format(printf, 3, 4))) void fail(
	struct client_error *error, enum exit_code code, const char *fmt, ...)
{
	va_list args;

	error->code = code;
	va_start(args, fmt);
	vsnprintf(error->text, sizeof(error->text), fmt, args);
	va_end(args);
}

static gpr_timespec in_ms(uint64_t ms)
{
	return gpr_time_add(
		gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis((int64_t)ms, GPR_TIMESPAN));
}

static int connect_to(struct client *client, struct client_error *error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int64_t left_us = (int64_t)client->timeout_ms * 1000;

	if (fd < 0) {
		fail(error, EXIT_CODE_FAILED, "No socket can be opened: %s.", strerror(errno));
		return -1;
	}
	strcpy(address.sun_path, client->path); /* the caller checked the length */
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		if (errno == EAGAIN && left_us > 0) {
			usleep(RETRY_US);
			left_us -= RETRY_US;
			continue;
		}
		switch (errno) {
		case ENOENT:
		case ECONNREFUSED:
			fail(error, EXIT_CODE_NO_AGENT,
				"No agent answers on %s: start semantos-agent, or name its socket "
				"with --socket.",
				client->path);
			break;
		case EACCES:
			fail(error, EXIT_CODE_PERMISSION,
				"You may not open %s: use sudo, or check the modes of its folders.",
				client->path);
			break;
		case EAGAIN:
			fail(error, EXIT_CODE_TIMEOUT,
				"The agent on %s accepts no connection: it is stopped or "
				"overloaded; see its log.",
				client->path);
			break;
		default:
			fail(error, EXIT_CODE_NO_AGENT, "%s cannot be reached: %s.", client->path,
				strerror(errno));
		}
		close(fd);
		return -1;
	}
	return fd;
}

struct client *client_open(const char *socket_path, uint32_t timeout_ms, struct client_error *error)
{
	grpc_arg args[] = {
		{ GRPC_ARG_INTEGER, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
			{ .integer = MAX_REPLY_BYTES } },
		{ GRPC_ARG_INTEGER, GRPC_ARG_ENABLE_RETRIES, { .integer = 0 } },
	};
	grpc_channel_args channel_args = { sizeof(args) / sizeof(args[0]), args };
	struct client *client = calloc(1, sizeof(*client));
	grpc_channel_credentials *credentials;
	int fd;

	if (!client) {
		fail(error, EXIT_CODE_FAILED, "No memory is left.");
		return NULL;
	}
	client->timeout_ms = timeout_ms;
	if (strlen(socket_path) >= sizeof(client->path)) {
		fail(error, EXIT_CODE_USAGE,
			"The socket path is longer than %zu bytes: name another with --socket.",
			sizeof(client->path) - 1);
		goto fail;
	}
	strcpy(client->path, socket_path);
	fd = connect_to(client, error);
	if (fd < 0)
		goto fail;
	gpr_set_log_function(quiet);
	grpc_init();
	client->queue = grpc_completion_queue_create_for_next(NULL);
	credentials = grpc_insecure_credentials_create();
	client->channel = grpc_channel_create_from_fd("agent", fd, credentials, &channel_args);
	grpc_channel_credentials_release(credentials);
	return client;
fail:
	free(client);
	return NULL;
}

void client_close(struct client *client)
{
	if (!client)
		return;
	grpc_channel_destroy(client->channel);
	grpc_completion_queue_shutdown(client->queue);
	while (grpc_completion_queue_next(client->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL)
			.type != GRPC_QUEUE_SHUTDOWN)
		; /* nothing is outstanding: ends at once */
	grpc_completion_queue_destroy(client->queue);
	grpc_shutdown_blocking();
	free(client);
}

/* ---- one call ---- */

/* Tags: which batch has come back. */
enum { SENT = 1, RECEIVED, FINISHED };

struct exchange {
	struct client *client;
	const char *method;
	grpc_call *call;
	grpc_metadata_array initial, trailing;
	grpc_byte_buffer *send, *received;
	grpc_status_code status;
	grpc_slice details;
	unsigned int outstanding;
	bool finished, received_ok;
};

static enum exit_code exit_of(grpc_status_code status)
{
	switch (status) {
	case GRPC_STATUS_OK:
		return EXIT_CODE_OK;
	case GRPC_STATUS_NOT_FOUND:
		return EXIT_CODE_NOT_FOUND;
	case GRPC_STATUS_PERMISSION_DENIED:
	case GRPC_STATUS_UNAUTHENTICATED:
		return EXIT_CODE_PERMISSION;
	case GRPC_STATUS_INVALID_ARGUMENT:
		return EXIT_CODE_REFUSED;
	case GRPC_STATUS_DEADLINE_EXCEEDED:
		return EXIT_CODE_TIMEOUT;
	case GRPC_STATUS_UNAVAILABLE:
		return EXIT_CODE_NO_AGENT;
	default:
		return EXIT_CODE_FAILED;
	}
}

static void error_of(const struct exchange *x, struct client_error *error)
{
	bool timed_out = x->status == GRPC_STATUS_DEADLINE_EXCEEDED;
	int n = (int)GRPC_SLICE_LENGTH(x->details);
	const char *text = (const char *)GRPC_SLICE_START_PTR(x->details);

	/* gRPC's own words for a deadline or a lost connection help nobody; the agent's sentences end in a stop */
	if (timed_out && (n == 0 || text[n - 1] != '.'))
		fail(error, EXIT_CODE_TIMEOUT,
			"The agent on %s did not answer %s in time: it is stopped or busy; try "
			"again, or raise --timeout.",
			x->client->path, x->method);
	else if (x->status == GRPC_STATUS_UNAVAILABLE && (n == 0 || text[n - 1] != '.'))
		fail(error, EXIT_CODE_NO_AGENT,
			"The agent on %s closed the connection: it ends, or has too many "
			"connections; see its log.",
			x->client->path);
	else if (n > 0)
		fail(error, exit_of(x->status), "%.*s", n, text);
	else
		fail(error, exit_of(x->status), "%s failed with gRPC status %d.", x->method,
			(int)x->status);
}

static bool start(struct exchange *x, const grpc_op *ops, size_t n, intptr_t tag)
{
	if (grpc_call_start_batch(x->call, ops, n, (void *)tag, NULL) != GRPC_CALL_OK)
		return false;
	x->outstanding++;
	return true;
}

/* Wait for one batch, at most until `until`. The tag, or 0 when the time was over. */
static intptr_t take(struct exchange *x, gpr_timespec until)
{
	grpc_event event = grpc_completion_queue_next(x->client->queue, until, NULL);
	intptr_t tag = (intptr_t)event.tag;

	if (event.type != GRPC_OP_COMPLETE)
		return 0;
	x->outstanding--;
	if (tag == FINISHED)
		x->finished = true;
	if (tag == RECEIVED)
		x->received_ok = event.success;
	return tag;
}

static bool exchange_open(struct exchange *x, struct client *client, const char *method,
	const ProtobufCMessage *request, uint64_t limit_ms, struct client_error *error)
{
	grpc_op ops[4] = { 0 }, finish = { .op = GRPC_OP_RECV_STATUS_ON_CLIENT };
	char path[128];
	grpc_slice name, packed;

	memset(x, 0, sizeof(*x));
	x->client = client;
	x->method = method;
	x->details = grpc_empty_slice();
	grpc_metadata_array_init(&x->initial);
	grpc_metadata_array_init(&x->trailing);
	snprintf(path, sizeof(path), PACKAGE "%s%s", strchr(method, '/') ? "" : SERVICE, method);
	name = grpc_slice_from_copied_string(path);
	x->call = grpc_channel_create_call(client->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
		client->queue, name, NULL, in_ms(limit_ms), NULL);
	grpc_slice_unref(name);

	packed = grpc_slice_malloc(protobuf_c_message_get_packed_size(request));
	protobuf_c_message_pack(request, GRPC_SLICE_START_PTR(packed));
	x->send = grpc_raw_byte_buffer_create(&packed, 1);
	grpc_slice_unref(packed);

	finish.data.recv_status_on_client.trailing_metadata = &x->trailing;
	finish.data.recv_status_on_client.status = &x->status;
	finish.data.recv_status_on_client.status_details = &x->details;
	ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
	ops[1].op = GRPC_OP_SEND_MESSAGE;
	ops[1].data.send_message.send_message = x->send;
	ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
	ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
	ops[3].data.recv_initial_metadata.recv_initial_metadata = &x->initial;
	if (start(x, &finish, 1, FINISHED) && start(x, ops, 4, SENT))
		return true;
	fail(error, EXIT_CODE_FAILED, "%s cannot be sent.", method);
	return false;
}

static void exchange_close(struct exchange *x)
{
	if (x->call && !x->finished)
		grpc_call_cancel(x->call, NULL);
	while (x->outstanding > 0)
		take(x, gpr_inf_future(GPR_CLOCK_REALTIME)); /* cancelled: comes at once */
	if (x->call)
		grpc_call_unref(x->call);
	grpc_byte_buffer_destroy(x->send);
	grpc_byte_buffer_destroy(x->received);
	grpc_slice_unref(x->details);
	grpc_metadata_array_destroy(&x->initial);
	grpc_metadata_array_destroy(&x->trailing);
}

/* Ask for the next message and wait for it; NULL at the end of the stream, on *stop, or on failure. */
static ProtobufCMessage *next_message(struct exchange *x, const ProtobufCMessageDescriptor *type,
	const volatile int *stop, bool *garbled)
{
	grpc_op op = { .op = GRPC_OP_RECV_MESSAGE };
	ProtobufCMessage *message = NULL;
	grpc_byte_buffer_reader reader;
	intptr_t tag = 0;
	grpc_slice all;

	op.data.recv_message.recv_message = &x->received;
	if (!start(x, &op, 1, RECEIVED))
		return NULL;
	while (tag != RECEIVED) {
		/* without a stop flag the call's own deadline ends the wait */
		tag = take(x, stop ? in_ms(POLL_MS) : gpr_inf_future(GPR_CLOCK_REALTIME));
		if (tag != RECEIVED && stop && *stop)
			return NULL;
	}
	if (!x->received_ok || !x->received)
		return NULL;
	if (grpc_byte_buffer_reader_init(&reader, x->received)) {
		all = grpc_byte_buffer_reader_readall(&reader);
		message = protobuf_c_message_unpack(
			type, NULL, GRPC_SLICE_LENGTH(all), GRPC_SLICE_START_PTR(all));
		grpc_slice_unref(all);
		grpc_byte_buffer_reader_destroy(&reader);
	}
	grpc_byte_buffer_destroy(x->received);
	x->received = NULL;
	*garbled = !message;
	return message;
}

static bool finish(struct exchange *x)
{
	while (!x->finished && x->outstanding > 0)
		take(x, gpr_inf_future(GPR_CLOCK_REALTIME)); /* bounded by the call's deadline */
	return x->finished && x->status == GRPC_STATUS_OK;
}

static void fail_garbled(const struct exchange *x, struct client_error *error)
{
	fail(error, EXIT_CODE_FAILED,
		"The agent's answer to %s cannot be read: client and agent do not fit together.",
		x->method);
}

ProtobufCMessage *client_call(struct client *client, const char *method,
	const ProtobufCMessage *request, const ProtobufCMessageDescriptor *type,
	struct client_error *error)
{
	ProtobufCMessage *reply = NULL;
	bool garbled = false;
	struct exchange x;

	if (exchange_open(&x, client, method, request, client->timeout_ms, error)) {
		reply = next_message(&x, type, NULL, &garbled);
		if (garbled) {
			fail_garbled(&x, error);
		} else if (!finish(&x)) {
			error_of(&x, error);
			if (reply)
				protobuf_c_message_free_unpacked(reply, NULL);
			reply = NULL;
		} else if (!reply) {
			fail_garbled(&x, error);
		}
	}
	exchange_close(&x);
	return reply;
}

int client_stream(struct client *client, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *type, uint64_t limit_ms, const volatile int *stop,
	client_each *each, void *ctx, struct client_error *error)
{
	bool go_on = true, garbled = false;
	struct exchange x;
	int ret = -1;

	if (!exchange_open(&x, client, method, request, limit_ms, error))
		goto out;
	while (go_on && !(stop && *stop)) {
		ProtobufCMessage *message = next_message(&x, type, stop, &garbled);

		if (!message)
			break;
		go_on = each(ctx, message);
		protobuf_c_message_free_unpacked(message, NULL);
	}
	if (garbled)
		fail_garbled(&x, error);
	else if (!go_on || (stop && *stop) || finish(&x))
		ret = 0;
	else
		error_of(&x, error);
out:
	exchange_close(&x);
	return ret;
}
