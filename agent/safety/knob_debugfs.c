// SPDX-License-Identifier: Apache-2.0
/*
 * knob_debugfs.c - files below /sys/kernel/debug, which many kernels under lockdown do not let anybody write.
 *
 * Most of them cannot be read at a place, nor twice through one descriptor: each read and each write opens the file anew,
 * by the descriptor held, so that it is the very file that was found. Three system calls for one, then. Any thread.
 */
#include "agent/safety/knob_kind.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* The same knob through a descriptor of its own. 0 or -errno. */
static int again(const struct knob *knob, int flags, struct knob *other)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", knob->fd);
	*other = *knob;
	other->fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	return other->fd < 0 ? -errno : 0;
}

int knob_debugfs_read(const struct knob *knob, char value[RECORD_VALUE_MAX])
{
	struct knob other;
	int err = again(knob, O_RDONLY, &other);

	if (!err)
		err = knob_file_read(&other, value);
	knob_close(&other);
	return err;
}

int knob_debugfs_write(const struct knob *knob, const char *value)
{
	struct knob other;
	int err = again(knob, O_RDWR, &other);

	if (!err)
		err = knob_file_write(&other, value);
	knob_close(&other);
	return err;
}
