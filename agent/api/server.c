/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.c - the gRPC servers, one a role, their completion queues and threads; start and stop.
 *
 * Must never call gRPC from a signal handler (signals are blocked in every thread made here), nor shut a queue down
 * before the servers using it are drained. When a drain outlasts its bound the memory is left to the ending process.
 */
#include "agent/api/internal.h"

#include <errno.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "agent/infer/model.h"
#include "agent/util/log.h"

#define SMALL_MESSAGE_BYTES (64 << 10) /* no request but UseModel is longer */
#define MODEL_MESSAGE_BYTES ((int)MODEL_MAX_FILE_BYTES + SMALL_MESSAGE_BYTES)
#define IDLE_MS 600000 /* a connection without a call is closed after this */
#define IDLE_DENIED_MS 5000
#define KEEPALIVE_MS 20000 /* only while a call runs: a stopped client loses its stream */
#define KEEPALIVE_TIMEOUT_MS 10000

static const enum api_lane lane_of[API_ROLES] = {
	[API_DENIED] = LANE_DENIED,
	[API_ADVISOR] = LANE_ADVISOR,
	[API_READER] = LANE_READER,
	[API_OPERATOR] = LANE_PRIVILEGED,
	[API_ROOT] = LANE_PRIVILEGED,
};

/* Two where a call may load BPF objects for seconds while another asks for the status. */
static const unsigned int lane_threads[API_LANES] = {
	[LANE_PRIVILEGED] = 2,
	[LANE_READER] = 1,
	[LANE_ADVISOR] = 1,
	[LANE_DENIED] = 1,
};

uint64_t api_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void log_from_grpc(gpr_log_func_args *args)
{
	/* The library writes for its own developers: shown only when somebody debugs. */
	log_debug("gRPC: %s", args->message);
}

static void *lane_main(void *arg)
{
	grpc_completion_queue *queue = arg;

	for (;;) {
		grpc_event event =
			grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
		struct api_event *mine;

		if (event.type == GRPC_QUEUE_SHUTDOWN)
			return NULL;
		if (event.type != GRPC_OP_COMPLETE)
			continue;
		mine = event.tag;
		mine->done(mine, event.success != 0);
	}
}

static int port_start(struct api_port *port)
{
	bool operator_port = port->role >= API_OPERATOR;
	bool denied = port->role == API_DENIED;
	grpc_arg args[] = {
		{ GRPC_ARG_INTEGER, GRPC_ARG_MAX_CONCURRENT_STREAMS,
			{ .integer = API_MAX_CALLS_PER_CONNECTION } },
		{ GRPC_ARG_INTEGER, GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH,
			{ .integer = operator_port ? MODEL_MESSAGE_BYTES : SMALL_MESSAGE_BYTES } },
		{ GRPC_ARG_INTEGER, GRPC_ARG_MAX_CONNECTION_IDLE_MS,
			{ .integer = denied ? IDLE_DENIED_MS : IDLE_MS } },
		{ GRPC_ARG_INTEGER, GRPC_ARG_KEEPALIVE_TIME_MS, { .integer = KEEPALIVE_MS } },
		{ GRPC_ARG_INTEGER, GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
			{ .integer = KEEPALIVE_TIMEOUT_MS } },
		/* a small compressed request could unfold past every bound */
		{ GRPC_ARG_INTEGER, GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
			{ .integer = 1 << GRPC_COMPRESS_NONE } },
	};
	grpc_channel_args channel_args = { sizeof(args) / sizeof(args[0]), args };

	port->grpc = grpc_server_create(&channel_args, NULL);
	if (!port->grpc)
		return -ENOMEM;
	grpc_server_register_completion_queue(port->grpc, port->queue, NULL);
	grpc_server_start(port->grpc);
	return call_await(port);
}

static void port_is_down(struct api_event *event, bool ok)
{
	struct api_server *server = event->owner;

	(void)ok;
	pthread_mutex_lock(&server->lock);
	server->n_shutdown++;
	pthread_cond_broadcast(&server->idle);
	pthread_mutex_unlock(&server->lock);
}

/* Wait until all calls (and, when asked, all servers, captures and streams) are done, or the time is over. */
static bool drained(struct api_server *server, uint32_t n_ports, unsigned int wait_ms)
{
	struct timespec until;
	bool done;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += wait_ms / 1000;
	pthread_mutex_lock(&server->lock);
	while (server->n_calls > 0 || server->n_captures > 0 || server->n_streams > 0 ||
		server->n_tunes > 0 || server->n_shutdown < n_ports) {
		if (pthread_cond_timedwait(&server->idle, &server->lock, &until) == ETIMEDOUT)
			break;
	}
	done = server->n_calls == 0 && server->n_captures == 0 && server->n_streams == 0 &&
	       server->n_tunes == 0 && server->n_shutdown >= n_ports;
	pthread_mutex_unlock(&server->lock);
	return done;
}

/* Servers, queues and threads away; false when something would not end and all of it was left in place. */
static bool ports_stop(struct api_server *server)
{
	uint32_t n_ports = 0;

	atomic_store(&server->stopping, true);
	for (unsigned int i = 0; i < API_ROLES; i++) {
		if (!server->port[i].grpc)
			continue;
		server->port[i].down = (struct api_event){ port_is_down, server };
		grpc_server_shutdown_and_notify(
			server->port[i].grpc, server->port[i].queue, &server->port[i].down);
		n_ports++;
	}
	if (server->acceptor) {
		drained(server, 0, API_STOP_MS);
		for (unsigned int i = 0; i < API_ROLES; i++) {
			if (server->port[i].grpc)
				grpc_server_cancel_all_calls(server->port[i].grpc);
		}
		acceptor_break(server->acceptor);
	}
	if (!drained(server, n_ports, CONTROL_WAIT_MS + 1000)) {
		log_error("The API did not end within %d s; it is left to the end of the process.",
			(CONTROL_WAIT_MS + 1000) / 1000);
		return false;
	}
	for (unsigned int i = 0; i < API_ROLES; i++) {
		if (server->port[i].grpc)
			grpc_server_destroy(server->port[i].grpc);
	}
	for (unsigned int i = 0; i < API_LANES; i++) {
		if (!server->lane[i])
			continue;
		grpc_completion_queue_shutdown(server->lane[i]);
		for (unsigned int j = 0; j < lane_threads[i]; j++) {
			if (server->lane_running[i][j])
				pthread_join(server->lane_thread[i][j], NULL);
		}
		/* without a thread nobody has taken the shutdown event yet */
		if (!server->lane_running[i][0]) {
			while (grpc_completion_queue_next(
				       server->lane[i], gpr_inf_future(GPR_CLOCK_REALTIME), NULL)
					.type != GRPC_QUEUE_SHUTDOWN)
				;
		}
		grpc_completion_queue_destroy(server->lane[i]);
	}
	return true;
}

static void server_free(struct api_server *server)
{
	acceptor_free(server->acceptor);
	pthread_cond_destroy(&server->idle);
	pthread_mutex_destroy(&server->lock);
	free(server);
	grpc_shutdown_blocking();
}

static int lanes_start(struct api_server *server)
{
	for (unsigned int i = 0; i < API_LANES; i++) {
		server->lane[i] = grpc_completion_queue_create_for_next(NULL);
		for (unsigned int j = 0; j < lane_threads[i]; j++) {
			int err = pthread_create(
				&server->lane_thread[i][j], NULL, lane_main, server->lane[i]);

			if (err)
				return -err;
			server->lane_running[i][j] = true;
			pthread_setname_np(server->lane_thread[i][j], "api-lane");
		}
	}
	return 0;
}

struct api_server *api_start(struct core *core, struct telemetry *telemetry,
	const char *socket_path, char *error, size_t len)
{
	struct api_server *server = calloc(1, sizeof(*server));
	pthread_condattr_t attr;
	sigset_t all, before;
	int err;

	if (!server) {
		snprintf(error, len, "The API cannot start: no memory is left.");
		return NULL;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	gpr_set_log_function(log_from_grpc);
	grpc_init();

	server->core = core;
	server->telemetry = telemetry;
	pthread_mutex_init(&server->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&server->idle, &attr);
	pthread_condattr_destroy(&attr);

	err = lanes_start(server);
	for (unsigned int i = 0; i < API_ROLES && !err; i++) {
		server->port[i].owner = server;
		server->port[i].role = i;
		server->port[i].queue = server->lane[lane_of[i]];
		err = port_start(&server->port[i]);
	}
	if (err)
		snprintf(error, len, "The API cannot start its threads: %s.", strerror(-err));
	else
		server->acceptor = acceptor_start(
			server, socket_path ? socket_path : API_SOCKET_PATH, error, len);
	if (!server->acceptor) {
		if (ports_stop(server))
			server_free(server);
		server = NULL;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return server;
}

void api_stop(struct api_server *server)
{
	if (!server)
		return;
	acceptor_stop(server->acceptor);
	if (ports_stop(server))
		server_free(server);
}
