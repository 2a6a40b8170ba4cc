// SPDX-License-Identifier: Apache-2.0
/*
 * knob_task.c - a process by number and start time, held by a pidfd.
 *
 * Numbers are given anew, start times with a number are not: both together name one process of this boot. The pidfd is
 * opened first and the start time read after it, so the descriptor is of the process whose start time was read, or of one
 * that is gone. Any thread.
 */
#include "agent/safety/knob_kind.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STAT_START 22 /* field of /proc/PID/stat, counted from 1; see proc(5) */

static bool digits(const char *text, char **end, uint64_t *value)
{
	errno = 0;
	*value = strtoull(text, end, 10);
	return text[0] >= '1' && text[0] <= '9' && !errno;
}

bool knob_task_split(const char *path, struct knob_task *task)
{
	uint64_t pid;
	char *end;

	task->start = 0;
	if (!digits(path, &end, &pid) || pid > INT32_MAX)
		return false;
	if (*end == '@' && !digits(end + 1, &end, &task->start))
		return false;
	task->pid = (pid_t)pid;
	task->which = end + 1;
	return *end == '/';
}

int knob_task_start(pid_t pid, uint64_t *start)
{
	char path[40], text[1024], *p;
	ssize_t n;
	int fd, err;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	n = read(fd, text, sizeof(text) - 1);
	err = n < 0 ? -errno : 0;
	close(fd);
	if (err)
		return err;
	text[n] = '\0';
	/* the second field is the program's name in parentheses and may hold anything */
	p = strrchr(text, ')');
	for (int field = 2; p && field < STAT_START; field++)
		p = strchr(p + 1, ' ');
	if (!p)
		return -EIO;
	*start = strtoull(p + 1, NULL, 10);
	return 0;
}

int knob_task_open(
	struct knob *knob, const char *path, const char *const *words, struct safety_error *error)
{
	struct knob_task task;
	uint64_t start;
	int err = 0;

	/* that it can be split was seen when the name was looked at */
	knob_task_split(path, &task);
	if (!task.start) {
		safety_say(error, "%.200s does not name a process by number and start time", path);
		return -EINVAL;
	}
	for (knob->which = 0; strcmp(words[knob->which], task.which) != 0; knob->which++) {
		if (!words[knob->which + 1]) {
			safety_say(error, "%.200s is nothing a process has", task.which);
			return -EINVAL;
		}
	}
	knob->pid = task.pid;
	knob->fd = (int)syscall(SYS_pidfd_open, task.pid, 0);
	if (knob->fd < 0)
		err = -errno;
	if (!err)
		err = knob_task_start(task.pid, &start);
	if (!err && start != task.start)
		err = -ESRCH;
	if (err == -ESRCH)
		safety_say(error, "the process %d that started at tick %llu is gone", task.pid,
			(unsigned long long)task.start);
	else if (err)
		safety_say(error, "the process %d cannot be opened: %s", task.pid, strerror(-err));
	return err;
}

int knob_task_alive(const struct knob *knob)
{
	return syscall(SYS_pidfd_send_signal, knob->fd, 0, NULL, 0) < 0 && errno == ESRCH ? -ESRCH
											  : 0;
}
