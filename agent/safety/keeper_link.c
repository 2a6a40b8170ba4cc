// SPDX-License-Identifier: Apache-2.0
/*
 * keeper_link.c - the agent's end: starting the keeper, feeding it heartbeats, noticing its death.
 *
 * Must never block on the pipe: a keeper that does not read is a dead one. keeper_beat() may run on any thread, the
 * rest on the one that owns struct safety.
 */
#include "agent/safety/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHILD_FD 3
#define END_WAIT_MS 1000

static uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static int spawn(struct keeper_link *link, int read_fd)
{
	char fd[12];
	char *argv[] = { (char *)KEEPER_NAME, (char *)"--dir", link->dir, (char *)"--root",
		link->root, (char *)"--fd", fd, NULL };
	char *envp[] = { (char *)"PATH=/usr/sbin:/usr/bin", NULL };
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	int err;

	snprintf(fd, sizeof(fd), "%d", CHILD_FD);
	sigemptyset(&none);
	err = posix_spawn_file_actions_init(&actions);
	if (err)
		return -err;
	err = posix_spawnattr_init(&attr);
	if (err) {
		posix_spawn_file_actions_destroy(&actions);
		return -err;
	}
	/* dup2 onto itself clears close-on-exec too */
	err = posix_spawn_file_actions_adddup2(&actions, read_fd, CHILD_FD);
	if (!err)
		err = posix_spawnattr_setsigmask(&attr, &none);
	/* a session of its own: a terminal's Ctrl-C is for the agent */
	if (!err)
		err = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
	if (!err)
		err = posix_spawn(&link->pid, link->path, &actions, &attr, argv, envp);
	if (err)
		link->pid = 0;
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return -err;
}

static int drop(struct keeper_link *link, int err)
{
	if (link->fd >= 0)
		close(link->fd);
	link->fd = -1;
	return err;
}

int keeper_start(struct keeper_link *link, struct safety_error *error)
{
	uint64_t now = monotonic_ns();
	unsigned int slot = link->n_started % KEEPER_RESTARTS;
	int fd[2], err;

	drop(link, 0);
	if (link->n_started >= KEEPER_RESTARTS &&
		now - link->started_ns[slot] < KEEPER_RESTART_NS) {
		safety_say(error,
			"the keeper died %d times within 10 seconds; see its sentences in the log",
			KEEPER_RESTARTS);
		return -EAGAIN;
	}
	link->started_ns[slot] = now;
	link->n_started++;
	link->ready = false;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd) < 0) {
		err = -errno;
		safety_say(error, "the keeper cannot be started: %s", strerror(-err));
		return err;
	}
	link->fd = fd[1];
	err = fcntl(link->fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
	if (!err)
		err = spawn(link, fd[0]);
	close(fd[0]);
	if (err) {
		safety_say(error, "the keeper %.200s cannot be started: %s", link->path,
			strerror(-err));
		return drop(link, err);
	}
	/* silence is counted from the first beat on */
	err = keeper_beat(link);
	if (err)
		safety_say(
			error, "the keeper %.200s does not listen: %s", link->path, strerror(-err));
	return err;
}

bool keeper_alive(struct keeper_link *link)
{
	if (link->pid > 0 && waitpid(link->pid, NULL, WNOHANG) != 0)
		link->pid = 0;
	return link->pid > 0;
}

bool keeper_ready(struct keeper_link *link)
{
	uint64_t until = monotonic_ns() + KEEPER_READY_MS * 1000000ULL;
	struct pollfd p = { .fd = link->fd, .events = POLLIN };
	char byte = 0;

	while (!link->ready && keeper_alive(link)) {
		int64_t left_ms = (int64_t)(until - monotonic_ns()) / 1000000;

		if (left_ms <= 0 ||
			(poll(&p, 1, (int)left_ms) > 0 && read(link->fd, &byte, 1) == 0))
			break;
		link->ready = byte == KEEPER_READY;
	}
	return link->ready && keeper_alive(link);
}

static int send_byte(struct keeper_link *link, char byte)
{
	sigset_t pipe_signal, old;
	int err = 0;

	if (link->fd < 0)
		return -EPIPE;
	/* write() to a dead keeper raises SIGPIPE, which is the program's to handle and not ours to change */
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_signal, &old);
	if (write(link->fd, &byte, 1) < 0 && errno != EAGAIN) {
		const struct timespec now = { 0 };

		err = -errno;
		if (err == -EPIPE && !sigismember(&old, SIGPIPE))
			sigtimedwait(&pipe_signal, NULL, &now);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

int keeper_beat(struct keeper_link *link)
{
	return send_byte(link, 'b');
}

void keeper_end(struct keeper_link *link, bool goodbye)
{
	const struct timespec nap = { .tv_nsec = 5000000 };

	if (goodbye)
		send_byte(link, 'q');
	drop(link, 0);
	for (int ms = 0; goodbye && ms < END_WAIT_MS && keeper_alive(link); ms += 5)
		nanosleep(&nap, NULL);
}
