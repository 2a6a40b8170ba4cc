// SPDX-License-Identifier: Apache-2.0
/*
 * knob_blkra.c - read-ahead of a disk by ioctl, in 512-byte sectors: works where sysfs is read-only, and waits for no request.
 *
 * Must never open a second name of a disk: asked of a partition, the kernel sets the read-ahead of its disk. Any thread.
 */
#include "agent/safety/knob_kind.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

int knob_blkra_open(struct knob *knob, const char *root, const char *path, bool write,
	struct safety_error *error)
{
	char disk[600];

	snprintf(disk, sizeof(disk), "%s/sys/block/%s", knob->fake ? root : "", path);
	if (access(disk, F_OK) < 0) {
		int err = -errno;

		safety_say(error, "%.200s is not a whole disk of this machine: %.300s: %s", path,
			disk, strerror(-err));
		return err;
	}
	/* BLKRASET asks for a capability, not for a writable file; closing one would wake udev */
	(void)write;
	return knob_open_below(
		knob, root, knob_kinds[KNOB_BLKRA].base, path, O_RDONLY, S_IFBLK, error);
}

int knob_blkra_read(const struct knob *knob, char value[RECORD_VALUE_MAX])
{
	long sectors = 0;

	if (ioctl(knob->fd, BLKRAGET, &sectors) < 0)
		return -errno;
	snprintf(value, RECORD_VALUE_MAX, "%ld", sectors);
	return 0;
}

int knob_blkra_write(const struct knob *knob, const char *value)
{
	int64_t sectors;

	if (!knob_number(value, &sectors))
		return -EINVAL;
	return ioctl(knob->fd, BLKRASET, (unsigned long)sectors) < 0 ? -errno : 0;
}

void knob_blkra_command(
	const char *base, const char *path, const char *value, char *out, size_t size)
{
	snprintf(out, size, "blockdev --setra %s %s/%s", value, base, path);
}
