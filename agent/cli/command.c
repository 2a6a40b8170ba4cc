/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.c - one run of a shell command: fork, read until it ends or the time is over, kill what is left.
 *
 * Output beyond the last line is read and dropped, so that no command ever waits for a full pipe.
 */
#include "agent/cli/command.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS \
	50 /* how often it is looked whether it ended, where the kernel gives no descriptor for it */
#define DRAIN_READS 64 /* of what is still in a pipe, once it has ended */

/* The last line that is not empty, and the one being read. */
struct tail {
	int fd;
	char done[COMMAND_LINE_MAX], now[COMMAND_LINE_MAX];
	size_t n;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void tail_end_line(struct tail *tail)
{
	tail->now[tail->n] = '\0';
	if (strspn(tail->now, " \t\r") != tail->n)
		memcpy(tail->done, tail->now, tail->n + 1);
	tail->n = 0;
}

static void tail_take(struct tail *tail, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (bytes[i] == '\n') {
			tail_end_line(tail);
			continue;
		}
		if (tail->n == sizeof(tail->now) - 1) {
			/* the number is at the end of a line: drop the first half of a long one */
			tail->n -= sizeof(tail->now) / 2;
			memmove(tail->now, tail->now + sizeof(tail->now) / 2, tail->n);
		}
		/* what is shown to people must not move their cursor */
		tail->now[tail->n++] =
			(unsigned char)bytes[i] < ' ' || bytes[i] == 0x7f ? ' ' : bytes[i];
	}
}

/* Read once. False at its end. */
static bool tail_read(struct tail *tail)
{
	char bytes[4096];
	ssize_t n = read(tail->fd, bytes, sizeof(bytes));

	if (n > 0)
		tail_take(tail, bytes, (size_t)n);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void tail_close(struct tail *tail)
{
	if (tail->fd >= 0)
		close(tail->fd);
	tail->fd = -1;
}

static void become(const char *command, const int *out, const int *err)
{
	int null = open("/dev/null", O_RDONLY);
	sigset_t none;

	/* what the caller ignores or blocks is not the command's */
	for (int s = 1; s < SIGRTMIN; s++)
		signal(s, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (null < 0 || dup2(null, 0) < 0 || dup2(out[1], 1) < 0 || dup2(err[1], 2) < 0)
		_exit(126);
	close_range(3, ~0U, 0);
	execl("/bin/sh", "sh", "-c", command, NULL);
	_exit(127);
}

/* Until the command ended (0), the time is over or the caller is gone. */
static int attend(
	pid_t pid, struct tail *out, struct tail *err, int wake_fd, uint64_t until_ns, int *status)
{
	int pid_fd = pidfd_open(pid, 0), ret;

	for (;;) {
		struct pollfd fds[] = { { .fd = out->fd, .events = POLLIN },
			{ .fd = err->fd, .events = POLLIN },
			{ .fd = wake_fd, .events = 0 }, /* POLLHUP comes unasked */
			{ .fd = pid_fd, .events = POLLIN } };
		uint64_t now = now_ns(), left_ms;

		ret = 0;
		if (waitpid(pid, status, WNOHANG) == pid)
			break;
		ret = -ETIMEDOUT;
		if (now >= until_ns)
			break;
		left_ms = (until_ns - now) / 1000000 + 1;
		poll(fds, 4, (int)(left_ms < LOOK_MS ? left_ms : LOOK_MS));
		if (fds[0].revents && !tail_read(out))
			tail_close(out);
		if (fds[1].revents && !tail_read(err))
			tail_close(err);
		ret = -ECANCELED;
		if (fds[2].revents)
			break;
	}
	if (pid_fd >= 0)
		close(pid_fd);
	return ret;
}

static void explain(const struct tail *err, int status, struct command_result *result)
{
	char how[64];

	if (WIFEXITED(status)) {
		result->exit = WEXITSTATUS(status);
		snprintf(how, sizeof(how), "it ended with code %d", result->exit);
	} else {
		result->exit = 128 + WTERMSIG(status);
		snprintf(how, sizeof(how), "signal %d ended it", WTERMSIG(status));
	}
	if (result->exit)
		snprintf(result->why, sizeof(result->why), "%s%s%.160s%s", how,
			err->done[0] ? " (" : "", err->done, err->done[0] ? ")" : "");
}

int command_run(
	const char *command, uint32_t timeout_ms, int wake_fd, struct command_result *result)
{
	struct tail tail[2] = { { .fd = -1 }, { .fd = -1 } };
	int out[2] = { -1, -1 }, err[2] = { -1, -1 }, status = 0, ret;
	uint64_t begin = now_ns();
	pid_t pid = -1;

	memset(result, 0, sizeof(*result));
	if (pipe2(out, O_CLOEXEC | O_NONBLOCK) == 0 && pipe2(err, O_CLOEXEC | O_NONBLOCK) == 0)
		pid = fork();
	if (pid == 0) {
		/* only the ends kept here are not to block */
		fcntl(out[1], F_SETFL, 0);
		fcntl(err[1], F_SETFL, 0);
		become(command, out, err);
	}
	if (out[1] >= 0)
		close(out[1]);
	if (err[1] >= 0)
		close(err[1]);
	tail[0].fd = out[0];
	tail[1].fd = err[0];
	if (pid < 0) {
		snprintf(result->why, sizeof(result->why), "it cannot be started: %s",
			strerror(errno));
		ret = -EIO;
		goto out;
	}
	setpgid(pid, pid); /* whoever is first: the group is there before it is killed */
	ret = attend(pid, &tail[0], &tail[1], wake_fd, begin + timeout_ms * 1000000ULL, &status);
	result->took_ns = now_ns() - begin;
	kill(-pid, SIGKILL);
	if (ret) {
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0); /* SIGKILL was sent: bounded by the kernel */
		snprintf(result->why, sizeof(result->why),
			"it did not end within %g s and was killed", timeout_ms / 1000.0);
		goto out;
	}
	for (int i = 0; i < 2; i++) {
		for (int n = 0; tail[i].fd >= 0 && n < DRAIN_READS; n++) {
			errno = 0;
			if (!tail_read(&tail[i]) || errno == EAGAIN)
				break;
		}
		tail_end_line(&tail[i]);
	}
	memcpy(result->line, tail[0].done, sizeof(result->line));
	explain(&tail[1], status, result);
	ret = result->exit ? -EIO : 0;
out:
	tail_close(&tail[0]);
	tail_close(&tail[1]);
	return ret;
}

/* A decimal number that begins here; how long it is, 0 = none. strtod() alone would also take hex, inf and nan. */
static size_t number_at(const char *text, double *value)
{
	const char *digits = text + (*text == '-' || *text == '+');
	char *end;

	if (!isdigit((unsigned char)digits[*digits == '.']) ||
		(digits[0] == '0' && (digits[1] | 0x20) == 'x'))
		return 0;
	*value = strtod(text, &end);
	return isfinite(*value) ? (size_t)(end - text) : 0;
}

static bool in_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '.';
}

bool command_number(const char *line, double *value)
{
	bool found = false;

	for (const char *at = line; *at;) {
		double number = 0;
		size_t n = at == line || !in_word(at[-1]) ? number_at(at, &number) : 0;

		/* "p99" and "10x7" are words; "12ms", "5%" and "3," end in something of their own */
		if (n > 0) {
			*value = number;
			found = true;
		}
		at += n > 0 ? n : 1;
	}
	return found;
}

bool command_metric(const char *line, double *value)
{
	static const char key[] = "metric=";
	size_t n;

	line += strspn(line, " ");
	if (strncmp(line, key, sizeof(key) - 1) != 0)
		return false;
	line += sizeof(key) - 1;
	n = number_at(line, value);
	return n > 0 && strspn(line + n, " ") == strlen(line + n);
}
