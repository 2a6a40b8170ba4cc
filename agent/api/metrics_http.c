// SPDX-License-Identifier: Apache-2.0
/*
 * metrics_http.c - GET /metrics, by libmicrohttpd with one thread.
 *
 * Only loopback addresses are listened on. A request is answered from the last view; nothing is computed for a path
 * that is not known, and a request's body is never read.
 */
#include "agent/api/metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_CONNECTIONS 8
#define IDLE_S 10
#define CONNECTION_BYTES 8192 /* a request and its headers */
#define CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct metrics_server {
	struct MHD_Daemon *daemon;
	struct core *core;
	struct telemetry *telemetry;
};

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned int code,
	const char *type, void *text, size_t len, enum MHD_ResponseMemoryMode mode)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(len, text, mode);
	enum MHD_Result result;

	if (!response) {
		if (mode == MHD_RESPMEM_MUST_FREE)
			free(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	result = MHD_queue_response(connection, code, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result refuse(
	struct MHD_Connection *connection, unsigned int code, const char *sentence)
{
	return answer(connection, code, "text/plain", (void *)(uintptr_t)sentence, strlen(sentence),
		MHD_RESPMEM_PERSISTENT);
}

static enum MHD_Result give_metrics(
	struct metrics_server *server, struct MHD_Connection *connection)
{
	struct telemetry_view telemetry = { 0 };
	struct agent_view agent = { 0 };
	bool has_telemetry, has_agent;
	char *text;
	size_t len;

	has_agent = control_view(server->core, NULL, &agent) == 0;
	has_telemetry = server->telemetry && telemetry_view(server->telemetry, &telemetry) == 0;
	text = metrics_text(has_agent ? &agent : NULL, has_telemetry ? &telemetry : NULL, &len);
	if (has_agent)
		control_view_free(&agent);
	telemetry_view_free(&telemetry);
	/* half an answer would look like policies that are gone */
	if (!text || !has_agent) {
		free(text);
		return refuse(connection, MHD_HTTP_SERVICE_UNAVAILABLE,
			"The agent did not describe itself in time.\n");
	}
	return answer(connection, MHD_HTTP_OK, CONTENT_TYPE, text, len, MHD_RESPMEM_MUST_FREE);
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *body, size_t *body_len, void **state)
{
	(void)version;
	(void)body;
	(void)body_len;
	(void)state;
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "Only GET is answered.\n");
	if (strcmp(url, "/metrics") != 0)
		return refuse(connection, MHD_HTTP_NOT_FOUND, "What there is lies at /metrics.\n");
	return give_metrics(ctx, connection);
}

static void silent(void *ctx, const char *fmt, va_list args)
{
	(void)ctx, (void)fmt, (void)args; /* the library's notes are no sentence for a person */
}

/* "127.0.0.1:9464", "[::1]:9464", "localhost:9464"; the address must be a loopback one. */
static bool parse(const char *text, struct sockaddr_storage *address)
{
	const char *colon = strrchr(text, ':');
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
	struct sockaddr_in *v4 = (struct sockaddr_in *)address;
	char host[64], *end;
	unsigned long port;
	size_t n = colon ? (size_t)(colon - text) : 0;

	memset(address, 0, sizeof(*address));
	if (!n || n >= sizeof(host) || colon[1] < '0' || colon[1] > '9')
		return false;
	port = strtoul(colon + 1, &end, 10);
	if (*end || port > 65535)
		return false;
	memcpy(host, text, n);
	host[n] = 0;
	if (strcmp(host, "localhost") == 0)
		strcpy(host, "127.0.0.1");
	if (host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = 0;
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1 &&
		       IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons((uint16_t)port);
	return inet_pton(AF_INET, host, &v4->sin_addr) == 1 &&
	       ntohl(v4->sin_addr.s_addr) >> 24 == 127;
}

/* Bound here, because the library does not tell why it could not. */
static int listen_on(const struct sockaddr_storage *address)
{
	int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), one = 1,
	    err;
	socklen_t len = address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6)
						       : sizeof(struct sockaddr_in);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (const struct sockaddr *)address, len) || listen(fd, MOST_CONNECTIONS)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

struct metrics_server *metrics_start(struct core *core, struct telemetry *telemetry,
	const char *address, char *error, size_t error_len)
{
	struct metrics_server *server = calloc(1, sizeof(*server));
	struct sockaddr_storage parsed;
	sigset_t all, before;
	int fd;

	if (!server) {
		snprintf(error, error_len, "Metrics cannot be served: no memory is left.");
		return NULL;
	}
	if (!parse(address, &parsed)) {
		snprintf(error, error_len,
			"'%.60s' is no loopback address with a port: --metrics takes "
			"127.0.0.1:PORT or "
			"[::1]:PORT.",
			address);
		goto fail;
	}
	fd = listen_on(&parsed);
	if (fd < 0) {
		snprintf(error, error_len, "Metrics cannot be served on %.60s: %s.", address,
			strerror(-fd));
		goto fail;
	}
	server->core = core;
	server->telemetry = telemetry;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	server->daemon = MHD_start_daemon(MHD_USE_AUTO_INTERNAL_THREAD, 0, NULL, NULL, on_request,
		server, MHD_OPTION_EXTERNAL_LOGGER, silent, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)MOST_CONNECTIONS,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)IDLE_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES, MHD_OPTION_END);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (server->daemon)
		return server;
	close(fd);
	snprintf(error, error_len, "Metrics cannot be served on %.60s: no thread can be started.",
		address);
fail:
	free(server);
	return NULL;
}

void metrics_stop(struct metrics_server *server)
{
	if (!server)
		return;
	MHD_stop_daemon(server->daemon);
	free(server);
}
