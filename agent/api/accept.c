/* SPDX-License-Identifier: Apache-2.0 */
/*
 * accept.c - the Unix socket, the thread that accepts on it, and the table of connections.
 *
 * A connection is handed to gRPC only after the 24 bytes every HTTP/2 client begins with have arrived: garbage and
 * silence cost a table row for at most API_PREFACE_MS and never reach the parser. gRPC owns a descriptor handed over;
 * a duplicate stays here only to see the end of the connection (gRPC shuts the socket down when it closes it) and to
 * force it. The table belongs to the thread while it runs, to acceptor_break() afterwards.
 */
#include "agent/api/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <grpc/grpc_posix.h>
#include <grpc/grpc_security.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "agent/util/log.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define PREFACE_BYTES (sizeof(PREFACE) - 1)
#define BACKLOG 32
#define TICK_MS 1000 /* how often deadlines are looked at while connections exist */
#define PAUSE_MS 100 /* after accept() found no descriptor left */

enum connection_state { FREE, AWAITING_PREFACE, HANDED };

struct connection {
	enum connection_state state;
	int fd; /* ours: the connection itself, or the duplicate once handed */
	enum api_role role;
	uid_t uid;
	uint64_t since_ms;
};

struct api_acceptor {
	struct api_server *server;
	struct peer_policy policy;
	grpc_server_credentials *credentials;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	dev_t dev; /* of the socket file we made: only that one is removed */
	ino_t ino;
	int listen_fd, epoll_fd, stop_fd;
	pthread_t thread;
	bool running;
	struct connection connection[API_MAX_CONNECTIONS];
};

/* epoll data: the row of a connection, or one of these */
enum { DATA_LISTEN = API_MAX_CONNECTIONS, DATA_STOP };

static void connection_end(struct api_acceptor *acceptor, struct connection *connection)
{
	/* explicit: the duplicate's registration would outlive close() while gRPC holds the socket */
	epoll_ctl(acceptor->epoll_fd, EPOLL_CTL_DEL, connection->fd, NULL);
	close(connection->fd);
	connection->state = FREE;
}

static struct connection *row_for(struct api_acceptor *acceptor, enum api_role role, uid_t uid)
{
	uint32_t unprivileged = 0, same_uid = 0;
	struct connection *row = NULL;

	for (unsigned int i = 0; i < API_MAX_CONNECTIONS; i++) {
		struct connection *c = &acceptor->connection[i];

		if (c->state == FREE) {
			row = row ? row : c;
		} else if (c->role < API_OPERATOR) {
			unprivileged++;
			same_uid += c->uid == uid;
		}
	}
	if (role < API_OPERATOR && (unprivileged >= API_MAX_CONNECTIONS_UNPRIVILEGED ||
					   same_uid >= API_MAX_CONNECTIONS_PER_UID))
		return NULL;
	return row;
}

static void accept_one(struct api_acceptor *acceptor, int fd)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET };
	struct connection *row;
	enum api_role role;
	struct peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		goto out;
	if (peer_of(fd, peer) == 0)
		role = peer_role(peer, &acceptor->policy);
	else
		role = API_DENIED;
	row = row_for(acceptor, role, peer->uid);
	if (!row) {
		log_debug("A connection of user %u was closed: it or all together have too many.",
			(unsigned int)peer->uid);
		goto out;
	}
	event.data.u32 = (uint32_t)(row - acceptor->connection);
	if (epoll_ctl(acceptor->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		goto out;
	*row = (struct connection){ AWAITING_PREFACE, fd, role, peer->uid, api_now_ms() };
	fd = -1;
out:
	free(peer);
	if (fd >= 0)
		close(fd);
}

static void accept_all(struct api_acceptor *acceptor)
{
	for (;;) {
		int fd = accept4(acceptor->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			accept_one(acceptor, fd);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
			   errno == ENOBUFS) {
			log_warn("No connection can be accepted: %s.", strerror(errno));
			usleep(PAUSE_MS * 1000);
			return;
		} else if (errno != EINTR && errno != ECONNABORTED) {
			return;
		}
	}
}

static void hand_over(struct api_acceptor *acceptor, struct connection *connection)
{
	int watch = fcntl(connection->fd, F_DUPFD_CLOEXEC, 0);
	struct epoll_event event = { .events = EPOLLET,
		.data.u32 = (uint32_t)(connection - acceptor->connection) };
	int fd = connection->fd;

	epoll_ctl(acceptor->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	if (watch < 0 || epoll_ctl(acceptor->epoll_fd, EPOLL_CTL_ADD, watch, &event) < 0) {
		if (watch >= 0)
			close(watch);
		close(fd);
		connection->state = FREE;
		return;
	}
	connection->fd = watch;
	connection->state = HANDED;
	grpc_server_add_channel_from_fd(
		acceptor->server->port[connection->role].grpc, fd, acceptor->credentials);
}

static void on_connection(
	struct api_acceptor *acceptor, struct connection *connection, uint32_t events)
{
	char bytes[PREFACE_BYTES];
	ssize_t n;

	if (connection->state == FREE)
		return;
	if (connection->state == HANDED) {
		if (events & (EPOLLHUP | EPOLLERR))
			connection_end(acceptor, connection);
		return;
	}
	n = recv(connection->fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || memcmp(bytes, PREFACE, (size_t)n) != 0) {
		connection_end(acceptor, connection);
	} else if ((size_t)n == sizeof(bytes)) {
		hand_over(acceptor, connection);
	} else if (events & (EPOLLHUP | EPOLLRDHUP)) {
		connection_end(acceptor, connection);
	}
}

/* Drop connections that never said the preface; returns how many rows are in use. */
static uint32_t tick(struct api_acceptor *acceptor)
{
	uint64_t now = api_now_ms();
	uint32_t used = 0;

	for (unsigned int i = 0; i < API_MAX_CONNECTIONS; i++) {
		struct connection *c = &acceptor->connection[i];

		if (c->state == AWAITING_PREFACE && now - c->since_ms >= API_PREFACE_MS)
			connection_end(acceptor, c);
		used += c->state != FREE;
	}
	return used;
}

static void *acceptor_main(void *arg)
{
	struct api_acceptor *acceptor = arg;
	struct epoll_event events[16];
	uint64_t next_sweep_ms = 0;

	for (;;) {
		/* asleep for good while nobody is connected: an idle agent stays idle */
		int wait_ms = tick(acceptor) > 0 ? TICK_MS : -1;
		int n = epoll_wait(acceptor->epoll_fd, events, 16, wait_ms);

		for (int i = 0; i < n; i++) {
			uint32_t data = events[i].data.u32;

			if (data == DATA_STOP)
				return NULL;
			if (data == DATA_LISTEN)
				accept_all(acceptor);
			else
				on_connection(
					acceptor, &acceptor->connection[data], events[i].events);
		}
		if (api_now_ms() >= next_sweep_ms) {
			calls_sweep(acceptor->server);
			next_sweep_ms = api_now_ms() + TICK_MS;
		}
	}
}

/* Does somebody answer on this socket? */
static bool socket_alive(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool alive;

	if (fd < 0)
		return true;
	alive = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
		errno == EAGAIN;
	close(fd);
	return alive;
}

static int folder_for(const char *path)
{
	char copy[sizeof(((struct sockaddr_un *)0)->sun_path)];
	const char *folder;

	strcpy(copy, path); /* the caller checked the length */
	folder = dirname(copy);
	if (mkdir(folder, 0755) == 0)
		return chmod(folder, 0755) < 0 ? -errno : 0; /* whatever the umask */
	return errno == EEXIST ? 0 : -errno;
}

static int listen_on(struct api_acceptor *acceptor, char *error, size_t len)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat st;
	int err;

	strcpy(address.sun_path, acceptor->path);
	err = folder_for(acceptor->path);
	if (err) {
		snprintf(error, len, "The folder of the socket %s cannot be made: %s.",
			acceptor->path, strerror(-err));
		return err;
	}
	if (lstat(acceptor->path, &st) == 0) {
		if (!S_ISSOCK(st.st_mode)) {
			snprintf(error, len,
				"%s exists and is no socket: remove it and start again.",
				acceptor->path);
			return -EEXIST;
		}
		if (socket_alive(&address)) {
			snprintf(error, len,
				"Another process answers on %s: stop it first, or choose another "
				"socket.",
				acceptor->path);
			return -EBUSY;
		}
		unlink(acceptor->path);
	}
	acceptor->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* everybody may connect: who may do what is decided by the credentials, with a sentence */
	if (acceptor->listen_fd < 0 ||
		bind(acceptor->listen_fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
		chmod(acceptor->path, 0666) < 0 || stat(acceptor->path, &st) < 0 ||
		listen(acceptor->listen_fd, BACKLOG) < 0) {
		err = -errno;
		snprintf(error, len, "The socket %s cannot be made: %s.", acceptor->path,
			strerror(-err));
		return err;
	}
	acceptor->dev = st.st_dev;
	acceptor->ino = st.st_ino;
	return 0;
}

static int watch_start(struct api_acceptor *acceptor)
{
	struct epoll_event listen_event = { .events = EPOLLIN, .data.u32 = DATA_LISTEN };
	struct epoll_event stop_event = { .events = EPOLLIN, .data.u32 = DATA_STOP };
	int err;

	acceptor->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	acceptor->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (acceptor->epoll_fd < 0 || acceptor->stop_fd < 0 ||
		epoll_ctl(acceptor->epoll_fd, EPOLL_CTL_ADD, acceptor->listen_fd, &listen_event) <
			0 ||
		epoll_ctl(acceptor->epoll_fd, EPOLL_CTL_ADD, acceptor->stop_fd, &stop_event) < 0)
		return -errno;
	err = pthread_create(&acceptor->thread, NULL, acceptor_main, acceptor);
	if (err)
		return -err;
	pthread_setname_np(acceptor->thread, "api-accept");
	acceptor->running = true;
	return 0;
}

struct api_acceptor *acceptor_start(
	struct api_server *server, const char *path, char *error, size_t len)
{
	struct api_acceptor *acceptor = calloc(1, sizeof(*acceptor));
	int err;

	if (!acceptor) {
		snprintf(error, len, "The API cannot start: no memory is left.");
		return NULL;
	}
	acceptor->server = server;
	acceptor->listen_fd = acceptor->epoll_fd = acceptor->stop_fd = -1;
	if (strlen(path) >= sizeof(acceptor->path)) {
		snprintf(error, len,
			"The socket path is longer than %zu bytes: choose a shorter one.",
			sizeof(acceptor->path) - 1);
		goto fail;
	}
	strcpy(acceptor->path, path);
	acceptor->credentials = grpc_insecure_server_credentials_create();
	peer_policy_load(&acceptor->policy);
	if (listen_on(acceptor, error, len))
		goto fail;
	err = watch_start(acceptor);
	if (err) {
		snprintf(error, len, "The API cannot watch its socket: %s.", strerror(-err));
		goto fail;
	}
	return acceptor;
fail:
	acceptor_stop(acceptor);
	acceptor_free(acceptor);
	return NULL;
}

void acceptor_stop(struct api_acceptor *acceptor)
{
	struct stat st;

	if (acceptor->running) {
		if (eventfd_write(acceptor->stop_fd, 1) < 0)
			log_error("The API's thread cannot be told to stop: %s.", strerror(errno));
		pthread_join(acceptor->thread, NULL);
		acceptor->running = false;
	}
	if (acceptor->ino && stat(acceptor->path, &st) == 0 && st.st_ino == acceptor->ino &&
		st.st_dev == acceptor->dev)
		unlink(acceptor->path);
	acceptor->ino = 0;
	if (acceptor->listen_fd >= 0)
		close(acceptor->listen_fd);
	acceptor->listen_fd = -1;
	for (unsigned int i = 0; i < API_MAX_CONNECTIONS; i++) {
		if (acceptor->connection[i].state == AWAITING_PREFACE)
			connection_end(acceptor, &acceptor->connection[i]);
	}
}

void acceptor_break(struct api_acceptor *acceptor)
{
	for (unsigned int i = 0; i < API_MAX_CONNECTIONS; i++) {
		struct connection *c = &acceptor->connection[i];

		if (c->state == HANDED) {
			shutdown(c->fd, SHUT_RDWR);
			connection_end(acceptor, c);
		}
	}
}

void acceptor_free(struct api_acceptor *acceptor)
{
	if (!acceptor)
		return;
	if (acceptor->epoll_fd >= 0)
		close(acceptor->epoll_fd);
	if (acceptor->stop_fd >= 0)
		close(acceptor->stop_fd);
	grpc_server_credentials_release(acceptor->credentials);
	free(acceptor);
}
