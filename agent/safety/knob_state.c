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
	char path[40], text[256] = "", *at;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", knob->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	/* room for two zeros: where the line is cut off after its name, the state is none */
	n = read(fd, text, sizeof(text) - 3);
	close(fd);
	if (n <= 0)
		return -ESRCH;
	at = strrchr(text, ')');
	if (!at)
		return -EIO;
	*state = at[2];
	return strchr("ZX", *state) ? -ESRCH : 0; /* it finds no state too */
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
	if (err)
		return err;
	for (int waited = 0; waited < STATE_WAIT_MS; waited += STATE_LOOK_MS) {
		err = read_state(knob, &state);
		if (!err && (state == 'T') == stop)
			return 0;
		if (err)
			break;
		err = -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
	/* what was not seen to stop must not stop later, nor stay so unseen */
	send(knob, SIGCONT);
	return err;
}
