/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measure.c - the loop of a measuring process, and the caller's end of it.
 *
 * One socket between them: the caller sends single letters, the process whole struct measured. The process never waits
 * but with that socket beside it.
 */
#include "agent/cli/measure.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "agent/cli/prometheus.h"

#define ONCE 'm'
#define GO 'g'
#define REST_MS 1000 /* after one that failed, so that it does not fail a thousand times a second */
#define QUERY_MS 5000 /* of Prometheus, at most */
#define END_MS 2000

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- the process ---- */

struct work {
	const struct goal_source *source;
	const struct measure_options *options;
	int fd;
	bool any_metric, any_time; /* what a workload's runs gave so far */
};

static void of_workload(
	struct work *work, const struct command_result *result, struct measured *measured)
{
	measured->is_metric = command_metric(result->line, &measured->value);
	if (!measured->is_metric)
		measured->value = (double)result->took_ns / 1e9;
	work->any_metric |= measured->is_metric;
	work->any_time |= !measured->is_metric;
	if (!work->any_metric || !work->any_time)
		return;
	measured->value = NAN;
	snprintf(measured->why, sizeof(measured->why),
		"its last line is metric=NUMBER in some runs and not in others");
}

/* False: nobody waits any more. */
static bool of_command(struct work *work, struct measured *measured)
{
	struct command_result result;
	int err = command_run(work->source->text, work->options->timeout_ms, work->fd, &result);

	if (err == -ECANCELED)
		return false;
	measured->took_ms = (uint32_t)(result.took_ns / 1000000);
	if (err)
		memcpy(measured->why, result.why, sizeof(measured->why));
	else if (work->source->kind == GOAL_WORKLOAD)
		of_workload(work, &result, measured);
	else if (!command_number(result.line, &measured->value))
		snprintf(measured->why, sizeof(measured->why),
			"its last line holds no number: \"%.80s\"", result.line);
	return true;
}

static bool measure(struct work *work)
{
	struct measured measured = { .value = NAN };
	uint32_t timeout_ms = work->options->timeout_ms;
	uint64_t begin = now_ns();

	if (work->source->kind != GOAL_PROMETHEUS) {
		if (!of_command(work, &measured))
			return false;
	} else {
		if (prometheus_query(work->options->prometheus, work->source->text,
			    timeout_ms < QUERY_MS ? timeout_ms : QUERY_MS, &measured.value,
			    measured.why, sizeof(measured.why)))
			measured.value = NAN;
		measured.took_ms = (uint32_t)((now_ns() - begin) / 1000000);
	}
	return send(work->fd, &measured, sizeof(measured), MSG_NOSIGNAL) == sizeof(measured) &&
	       (!measured.why[0] || work->source->kind != GOAL_WORKLOAD ||
		       poll(&(struct pollfd){ .fd = work->fd, .events = 0 }, 1, REST_MS) == 0);
}

/* Wait at most wait_ms (-1 = for ever) for a word. False: the caller is gone. */
static bool listen_for(int fd, int wait_ms, bool *once, bool *go)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	char word;
	ssize_t n;

	poll(&poll_fd, 1, wait_ms);
	while ((n = recv(fd, &word, 1, MSG_DONTWAIT)) > 0) {
		*once |= word == ONCE;
		*go |= word == GO;
	}
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static _Noreturn void run(struct work *work)
{
	uint64_t due = 0;
	bool go = false, once = false;

	for (;;) {
		uint64_t now = now_ns();
		int wait_ms = once || (go && now >= due) ? 0
			      : go			 ? (int)((due - now) / 1000000) + 1
							 : -1;

		if (!listen_for(work->fd, wait_ms, &once, &go))
			_exit(0);
		now = now_ns();
		if (!once && (!go || now < due))
			continue;
		once = false;
		due = now + work->options->every_ms * 1000000ULL;
		if (!measure(work))
			_exit(0);
	}
}

int measurer_start(struct measurer *measurer, const struct goal_source *source,
	const struct measure_options *options)
{
	int pair[2];

	measurer->fd = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	fflush(NULL);
	measurer->pid = fork();
	if (measurer->pid < 0) {
		int err = -errno;

		close(pair[0]);
		close(pair[1]);
		return err;
	}
	if (measurer->pid == 0) {
		struct work work = { .source = source, .options = options, .fd = 3 };

		/* the other ends of those begun before must not stay open here */
		if (pair[1] != 3 && dup2(pair[1], 3) < 0)
			_exit(1);
		close_range(4, ~0U, 0);
		setsid();
		signal(SIGINT, SIG_IGN);
		signal(SIGTERM, SIG_IGN);
		prctl(PR_SET_NAME, "semantos-measure");
		if (source->label[0])
			setenv("MEMBER", source->label, 1);
		run(&work);
	}
	close(pair[1]);
	measurer->fd = pair[0];
	return 0;
}

/* ---- the caller ---- */

static void say(const struct measurer *measurer, char word)
{
	/* a full socket holds the same word already; one that is gone is noticed by reading */
	if (measurer->fd >= 0)
		(void)send(measurer->fd, &word, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void measurer_once(struct measurer *measurer)
{
	say(measurer, ONCE);
}

void measurer_go(struct measurer *measurer)
{
	say(measurer, GO);
}

int measurer_read(struct measurer *measurer, struct measured *measured, uint32_t timeout_ms)
{
	struct pollfd fd = { .fd = measurer->fd, .events = POLLIN };

	if (measurer->fd >= 0 && poll(&fd, 1, (int)timeout_ms) == 0)
		return -ETIMEDOUT;
	if (measurer->fd >= 0 &&
		recv(measurer->fd, measured, sizeof(*measured), MSG_DONTWAIT) == sizeof(*measured))
		return 0;
	memset(measured, 0, sizeof(*measured));
	measured->value = NAN;
	snprintf(measured->why, sizeof(measured->why), "the process that measured it is gone");
	return -EPIPE;
}

void measurer_end(struct measurer *measurer)
{
	if (measurer->fd < 0)
		return;
	close(measurer->fd);
	measurer->fd = -1;
	for (int waited = 0; waited < END_MS; waited += 10) {
		if (waitpid(measurer->pid, NULL, WNOHANG) != 0)
			return;
		usleep(10000);
	}
	/* a command it may run dies with it */
	kill(measurer->pid, SIGKILL);
	waitpid(measurer->pid, NULL, 0);
}
