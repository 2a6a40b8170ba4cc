// SPDX-License-Identifier: Apache-2.0
/*
 * knob.c - finds, opens, reads and writes one kernel setting.
 *
 * Must never follow a path out of its folder, nor write a value that knob_check() refuses (undo excepted: what stood
 * there before may be restored). Every read and write is one system call, so that a compare and the write after it lie
 * as close as they can. Any thread.
 */
#include "agent/safety/knob.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define READ_MAX 4096 /* more than any of the values listed */
#define OPEN_TRIES 8 /* openat2() gives up when a rename elsewhere crosses its path */

static const struct place {
	const char *prefix, *base;
} places[] = {
	[KNOB_SYSCTL] = { "sysctl:", "/proc/sys" },
	[KNOB_SYSFS] = { "sysfs:", "/sys" },
	[KNOB_CGROUP] = { "cgroup:", "/sys/fs/cgroup" },
	[KNOB_BLKRA] = { "blkra:", "/dev" },
};
#define N_PLACES (sizeof(places) / sizeof(places[0]))

/* Kind of the knob and its path below the kind's folder. False: no such name can be. */
static bool split(const char *name, enum knob_kind *kind, char path[RECORD_NAME_MAX])
{
	size_t k = 0, skip;

	while (k < N_PLACES && strncmp(name, places[k].prefix, strlen(places[k].prefix)) != 0)
		k++;
	if (k == N_PLACES || strlen(name) >= RECORD_NAME_MAX)
		return false;
	*kind = (enum knob_kind)k;
	skip = strlen(places[k].prefix);
	strcpy(path, name + skip);
	for (char *p = path; *p; p++) {
		if (iscntrl((unsigned char)*p))
			return false;
		/* as sysctl(8) has it: a dot divides, a slash stands for a dot in a name */
		if (*kind == KNOB_SYSCTL && (*p == '.' || *p == '/'))
			*p = *p == '.' ? '/' : '.';
	}
	if (!path[0] || path[0] == '/' || path[strlen(path) - 1] == '/')
		return false;
	for (const char *p = path; p; p = strchr(p, '/')) {
		p += *p == '/';
		if (strncmp(p, "../", 3) == 0 || strcmp(p, "..") == 0 || *p == '/')
			return false;
	}
	return true;
}

static bool parse(const char *text, int64_t *value)
{
	char *end;

	/* base 0 would read a leading zero as octal */
	errno = 0;
	*value = strtoll(text, &end, strncmp(text, "0x", 2) == 0 ? 16 : 10);
	return end != text && !*end && !errno;
}

int knob_check(const char *name, const char *value, struct safety_error *error)
{
	const struct knob_def *def = knob_find(name);
	char path[RECORD_NAME_MAX], word[RECORD_VALUE_MAX + 2];
	enum knob_kind kind;
	int64_t n;

	if (!def || !split(name, &kind, path)) {
		safety_say(error, "%.200s is no knob that semantos changes", name);
		return -ENOENT;
	}
	if (strlen(value) >= RECORD_VALUE_MAX) {
		safety_say(error, "the value for %.200s is too long", name);
		return -EINVAL;
	}
	if (def->type == KNOB_CHOICE) {
		snprintf(word, sizeof(word), " %s ", value);
		if (value[0] && !strchr(value, ' ') && strstr(def->choices, word))
			return 0;
		safety_say(
			error, "%.200s takes one of%.100s, not %.100s", name, def->choices, value);
		return -EINVAL;
	}
	if (def->type == KNOB_INT_OR_MAX && strcmp(value, "max") == 0)
		return 0;
	if (!isdigit((unsigned char)value[0]) || !parse(value, &n)) {
		safety_say(error, "%.200s takes a whole number, not %.100s", name, value);
		return -EINVAL;
	}
	if (n < def->min || n > def->max || (def->step && n % def->step)) {
		safety_say(error, "%.200s takes %lld to %lld%s, not %.100s", name,
			(long long)def->min, (long long)def->max,
			def->step ? " in whole pages" : "", value);
		return -ERANGE;
	}
	return 0;
}

int knob_open(struct knob *knob, const char *root, const char *name, bool write,
	struct safety_error *error)
{
	struct open_how how = { .flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };
	char path[RECORD_NAME_MAX], base[4096];
	struct stat st;
	int dir, err = 0;

	knob->fd = -1;
	knob->def = knob_find(name);
	knob->fake = strcmp(root, "") != 0 && strcmp(root, "/") != 0;
	if (!knob->def || !split(name, &knob->kind, path)) {
		safety_say(error, "%.200s is no knob that semantos changes", name);
		return -EINVAL;
	}
	snprintf(base, sizeof(base), "%s%s", knob->fake ? root : "", places[knob->kind].base);
	dir = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		err = -errno;
		safety_say(error, "%s cannot be opened: %s", base, strerror(-err));
		return err;
	}
	/* BLKRASET asks for a capability, not for a writable file; closing one would wake udev */
	how.flags |= write && knob->kind != KNOB_BLKRA ? O_RDWR : O_RDONLY;
	for (int i = 0; i < OPEN_TRIES; i++) {
		knob->fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
		if (knob->fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	if (knob->fd < 0 || fstat(knob->fd, &st) < 0)
		err = -errno;
	else if (!(knob->kind == KNOB_BLKRA ? S_ISBLK(st.st_mode) : S_ISREG(st.st_mode)))
		err = -EINVAL;
	close(dir);
	if (err) {
		safety_say(error, "%.200s cannot be opened: %s", name, strerror(-err));
		knob_close(knob);
	}
	return err;
}

void knob_close(struct knob *knob)
{
	if (knob->fd >= 0)
		close(knob->fd);
	knob->fd = -1;
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

int knob_read(const struct knob *knob, char value[RECORD_VALUE_MAX])
{
	char text[READ_MAX + 1], *begin, *end;
	ssize_t n;

	if (knob->kind == KNOB_BLKRA) {
		long sectors = 0;

		if (ioctl(knob->fd, BLKRAGET, &sectors) < 0)
			return -errno;
		snprintf(value, RECORD_VALUE_MAX, "%ld", sectors);
		return 0;
	}
	do {
		n = pread(knob->fd, text, READ_MAX, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	squeeze(text);
	if (knob->def->type == KNOB_CHOICE && (begin = strchr(text, '['))) {
		end = strchr(++begin, ']');
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

int knob_write(const struct knob *knob, const char *value)
{
	char line[RECORD_VALUE_MAX + 1];
	size_t len = strlen(value) + 1;
	ssize_t n;

	if (knob->kind == KNOB_BLKRA) {
		int64_t sectors;

		if (!parse(value, &sectors))
			return -EINVAL;
		return ioctl(knob->fd, BLKRASET, (unsigned long)sectors) < 0 ? -errno : 0;
	}
	snprintf(line, sizeof(line), "%s\n", value);
	do {
		n = pwrite(knob->fd, line, len, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if ((size_t)n != len)
		return -EIO;
	if (knob->fake && ftruncate(knob->fd, (off_t)len) < 0)
		return -errno;
	return 0;
}

bool knob_same(const char *a, const char *b)
{
	int64_t x, y;

	return strcmp(a, b) == 0 || (parse(a, &x) && parse(b, &y) && x == y);
}

bool knob_took(const struct knob_def *def, const char *put, const char *got)
{
	int64_t x, y;

	if (knob_same(put, got))
		return true;
	return def->round && parse(put, &x) && parse(got, &y) &&
	       (x > y ? x - y : y - x) < def->round;
}

bool knob_partner(const char *name, char *out)
{
	const struct knob_def *def = knob_find(name);
	const char *dot = strrchr(name, '.');

	if (!def || !def->partner || !dot)
		return false;
	snprintf(out, RECORD_NAME_MAX, "%.*s%.64s", (int)(dot + 1 - name), name, def->partner);
	return true;
}

void knob_key(const char *name, char *out)
{
	char path[RECORD_NAME_MAX];
	enum knob_kind kind;

	if (!split(name, &kind, path))
		snprintf(out, RECORD_NAME_MAX, "%.255s", name);
	else if (kind == KNOB_BLKRA)
		snprintf(out, RECORD_NAME_MAX, "/sys/block/%.200s/queue/read_ahead_kb", path);
	else
		snprintf(out, RECORD_NAME_MAX, "%s/%.200s", places[kind].base, path);
}

void knob_command(const char *name, const char *value, char *out, size_t size)
{
	char path[RECORD_NAME_MAX];
	enum knob_kind kind;

	if (!split(name, &kind, path))
		snprintf(out, size, "set %s to %s", name, value);
	else if (kind == KNOB_BLKRA)
		snprintf(out, size, "blockdev --setra %s /dev/%s", value, path);
	else
		snprintf(out, size, "echo %s > %s/%s", value, places[kind].base, path);
}
