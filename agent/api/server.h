/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h - the agent's gRPC server on a Unix socket (agent/proto/semantos.proto).
 *
 * One thread accepts and watches connections, a few carry out calls; nothing runs on the loop thread but the copy of
 * captured rows. Every role has a gRPC server of its own, so that what a connection may do is settled before its first
 * byte is parsed. Bounds: connections, calls and bytes per connection, and time, see API_* below.
 */
#ifndef SEMANTOS_API_SERVER_H
#define SEMANTOS_API_SERVER_H

#include <stddef.h>

#define API_SOCKET_PATH "/run/semantos/agent.sock"
#define API_MAX_CONNECTIONS 64 /* all together */
#define API_MAX_CONNECTIONS_UNPRIVILEGED \
	48 /* of readers and strangers, so that root still gets in */
#define API_MAX_CONNECTIONS_PER_UID 16 /* of one such user */
#define API_MAX_CALLS_PER_CONNECTION 16
#define API_MAX_CAPTURES 4
#define API_MAX_STREAMS 8 /* of telemetry */
#define API_PREFACE_MS 2000 /* from connect to the 24 bytes every HTTP/2 client begins with */
#define API_REQUEST_MS 10000 /* from a call's first byte to its whole message */
#define API_ANSWER_MS 30000 /* until the client has taken an answer or a chunk */
#define API_STOP_MS 3000 /* calls in progress at api_stop() get this long to end by themselves */

struct core;
struct telemetry;
struct api_server;

/*
 * Serve on socket_path (its last folder is made, mode 0755; NULL = API_SOCKET_PATH). A left-over socket is replaced,
 * a living one is not. Call on the main thread; all signals are blocked in the threads made here. NULL on failure,
 * with one sentence in error[len]. telemetry may be NULL; both must live until api_stop() has returned.
 */
struct api_server *api_start(struct core *core, struct telemetry *telemetry,
	const char *socket_path, char *error, size_t len);

/*
 * Stop accepting, end every call and capture, join the threads, remove the socket. Returns within about
 * API_STOP_MS + CONTROL_WAIT_MS. Accepts NULL. `core` must live until this returns, its loop need not run.
 */
void api_stop(struct api_server *server);

#endif
