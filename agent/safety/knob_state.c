// SPDX-License-Identifier: Apache-2.0
/*
 * knob_state.c - does a process run, or was it stopped? SIGSTOP and SIGCONT by pidfd, so no other is ever met.
 *
 * A signal is sent at once and obeyed when the process next leaves the kernel, so a write waits for that, STATE_WAIT_MS at
 * most: a process that waits for a disk which does not answer is not stopped by then, and the write is reported as failed,
 * with the signal taken back. Any thread.
 */
#include "agent/safety/knob_kind.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define STATE_WAIT_MS 200
#define STATE_LOOK_MS 2

static int read_state(const struct knob *knob, char *state)
{
	char path[40], text[256], *at;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", knob->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -ESRCH;
	text[n] = '\0';
	at = strrchr(text, ')');
	if (!at || at[1] != ' ' || !at[2])
		return -EIO;
	*state = at[2];
	return *state == 'Z' || *state == 'X' ? -ESRCH : 0;
}

int knob_state_read(const struct knob *knob, char value[RECORD_VALUE_MAX])
{
	char state;
	int err = read_state(knob, &state);

	if (err)
		return err;
	strcpy(value, state == 'T' ? "stopped" : "running");
	return 0;
}

static int send(const struct knob *knob, int signo)
{
	return syscall(SYS_pidfd_send_signal, knob->fd, signo, NULL, 0) < 0 ? -errno : 0;
}

int knob_state_write(const struct knob *knob, const char *value)
{
	const struct timespec pause = { 0, STATE_LOOK_MS * 1000000L };
	bool stop = strcmp(value, "stopped") == 0;
	char state = 0;
	int err;

	if (!stop && strcmp(value, "running") != 0)
		return -EINVAL;
	err = send(knob, stop ? SIGSTOP : SIGCONT);
	for (int waited = 0; !err && waited < STATE_WAIT_MS; waited += STATE_LOOK_MS) {
		err = read_state(knob, &state);
		if (err || (state == 'T') == stop)
			return err;
		nanosleep(&pause, NULL);
	}
	if (!err && stop) {
		send(knob, SIGCONT);
		err = -ETIMEDOUT;
	}
	return err;
}
