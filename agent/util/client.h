/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.h - one connection to the agent's socket, blocking calls with a bound on each.
 *
 * A failure is an exit code (agent/util/exitcode.h) and one sentence. One thread uses a client; gRPC is initialised by
 * client_open() and shut down by client_close().
 */
#ifndef SEMANTOS_UTIL_CLIENT_H
#define SEMANTOS_UTIL_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <protobuf-c/protobuf-c.h>
#include "agent/util/exitcode.h"

#define CLIENT_TIMEOUT_MS 10000 /* unless asked otherwise */

struct client;

struct client_error {
	enum exit_code code;
	char text[600];
};

/* Connect within timeout_ms, which also bounds every client_call(). NULL with *error filled. */
struct client *client_open(
	const char *socket_path, uint32_t timeout_ms, struct client_error *error);
void client_close(struct client *client); /* accepts NULL */

/*
 * One method, e.g. "GetStatus", or "TelemetryAgent/Snapshot" of another service than Agent: request in, reply unpacked as `type`. Free the reply with
 * protobuf_c_message_free_unpacked(reply, NULL). NULL with *error filled.
 */
ProtobufCMessage *client_call(struct client *client, const char *method,
	const ProtobufCMessage *request, const ProtobufCMessageDescriptor *type,
	struct client_error *error);

/*
 * A server stream: `each` gets every message (freed after it returns) and answers false to end. *stop, which a signal
 * handler may set, ends it too. At most limit_ms. 0 when the stream ended in order or was ended here, else -1 with
 * *error filled.
 */
typedef bool client_each(void *ctx, const ProtobufCMessage *message);
int client_stream(struct client *client, const char *method, const ProtobufCMessage *request,
	const ProtobufCMessageDescriptor *type, uint64_t limit_ms, const volatile int *stop,
	client_each *each, void *ctx, struct client_error *error);

#endif
