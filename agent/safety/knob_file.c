// SPDX-License-Identifier: Apache-2.0
/*
 * knob_file.c - the knobs that are files: sysctl, sysfs, cgroup, debugfs.
 *
 * Must never follow a path out of its folder. Any thread.
 */
#include "agent/safety/knob_kind.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define READ_MAX 4096 /* more than any of the values listed */
#define OPEN_TRIES 8 /* openat2() gives up when a rename elsewhere crosses its path */

int knob_open_below(struct knob *knob, const char *root, const char *base, const char *path,
	int flags, mode_t type, struct safety_error *error)
{
	struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS |
			   /* a node by its own name; disks of /sys/block are links */
			   (type == S_IFBLK ? RESOLVE_NO_SYMLINKS : 0) };
	struct stat st = { 0 }, top = { 0 };
	char folder[4096];
	int dir, err = 0;

	snprintf(folder, sizeof(folder), "%s%s", knob->fake ? root : "", base);
	dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		err = -errno;
		safety_say(error, "%s cannot be opened: %s", folder, strerror(-err));
		return err;
	}
	for (int i = 0; i < OPEN_TRIES && knob->fd < 0; i++) {
		knob->fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
		err = knob->fd < 0 ? -errno : 0;
		if (err && err != -EAGAIN && err != -EINTR)
			break;
	}
	if (!err && (fstat(knob->fd, &st) < 0 || fstat(dir, &top) < 0))
		err = -errno;
	/*
	 * Not RESOLVE_NO_XDEV: a service manager makes a part of /proc/sys or /sys writable by mounting it onto itself.
	 * Another file system mounted over a knob is refused all the same.
	 */
	if (!err && st.st_dev != top.st_dev)
		err = -EXDEV;
	if (!err && (st.st_mode & S_IFMT) != type)
		err = -EINVAL;
	close(dir);
	if (err)
		safety_say(error, "%s/%.200s cannot be opened: %s", folder, path, strerror(-err));
	return err;
}

int knob_file_open(struct knob *knob, const char *root, const char *path, bool write,
	struct safety_error *error)
{
	return knob_open_below(knob, root, knob_kinds[knob->kind].base, path,
		write ? O_RDWR : O_RDONLY, S_IFREG, error);
}

/* Blanks of any kind to one space, none at the ends. */
static void squeeze(char *text)
{
	char *out = text;

	for (const char *p = text; *p; p++) {
		if (!isspace((unsigned char)*p))
			*out++ = *p;
		else if (out > text && out[-1] != ' ')
			*out++ = ' ';
	}
	while (out > text && out[-1] == ' ')
		out--;
	*out = '\0';
}

int knob_file_read(const struct knob *knob, char value[RECORD_VALUE_MAX])
{
	char text[READ_MAX + 1], *begin, *end;
	ssize_t n;

	do {
		/* a file of debugfs was opened for this one read, and knows no other place than its beginning */
		n = knob->kind == KNOB_DEBUGFS ? read(knob->fd, text, READ_MAX)
					       : pread(knob->fd, text, READ_MAX, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	squeeze(text);
	if (knob->def->type == KNOB_CHOICE && (begin = strpbrk(text, "[("))) {
		end = strpbrk(++begin, "])");
		if (end)
			*end = '\0';
	} else {
		begin = text;
	}
	/* an empty value could not be told from one that was not read */
	if (strlen(begin) >= RECORD_VALUE_MAX || !begin[0])
		return begin[0] ? -E2BIG : -ENODATA;
	strcpy(value, begin);
	return 0;
}

int knob_file_write(const struct knob *knob, const char *value)
{
	char line[RECORD_VALUE_MAX + 1];
	int64_t number;
	size_t len;
	ssize_t n;

	/* many files take 010 for eight, and 0x10 only some */
	if (knob->def->type != KNOB_CHOICE && knob_number(value, &number))
		snprintf(line, sizeof(line), "%lld\n", (long long)number);
	else
		snprintf(line, sizeof(line), "%s\n", value);
	len = strlen(line);
	do {
		n = knob->kind == KNOB_DEBUGFS ? write(knob->fd, line, len)
					       : pwrite(knob->fd, line, len, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if ((size_t)n != len)
		return -EIO;
	if (knob->fake && ftruncate(knob->fd, (off_t)len) < 0)
		return -errno;
	return 0;
}

void knob_file_command(
	const char *base, const char *path, const char *value, char *out, size_t size)
{
	snprintf(out, size, "echo %s > %s/%s", value, base, path);
}
