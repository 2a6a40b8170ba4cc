// SPDX-License-Identifier: Apache-2.0
/*
 * own.c - what would hold the agent or its keeper is refused: a frozen keeper undoes nothing, its own freezing least of all.
 *
 * A group of theirs, or one above it, is neither frozen nor bounded in memory, CPU time or tasks (a bound lets a task wait for
 * seconds, or end), and their own processes are left as they are. Other groups and processes are the operator's. One thread at a time.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "agent/safety/safety_internal.h"

/* Our control group (v2), which the keeper shares, into path: "/system.slice/x.service". 0 or -errno; "" = in none. */
static int own_group(const struct safety *s, char *path, size_t size)
{
	char name[600], text[4096], *line;
	ssize_t n;
	int fd;

	path[0] = '\0';
	snprintf(name, sizeof(name), "%s/proc/self/cgroup", s->root);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	/* on a machine with control groups it is there */
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n < 0)
		return -EIO;
	text[n] = '\0';
	line = strstr(text, "0::/");
	if (line)
		snprintf(path, size, "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
	return 0;
}

/* Does this group hold ours, or is it ours? */
static bool is_above(const char *group, size_t len, const char *own)
{
	return own[0] && strncmp(own + 1, group, len) == 0 &&
	       (own[len + 1] == '/' || own[len + 1] == '\0');
}

static bool may_hold(const char *file, const char *value)
{
	static const char *const stops[] = { "cgroup.freeze", "cpu.idle", NULL };
	static const char *const bounds[] = { "memory.high", "memory.max", "memory.swap.high",
		"cpu.max", "pids.max", NULL };

	for (size_t i = 0; stops[i]; i++) {
		if (strcmp(file, stops[i]) == 0)
			return !knob_same(value, "0");
	}
	for (size_t i = 0; bounds[i]; i++) {
		/* "max", and "max 100000" of cpu.max */
		if (strcmp(file, bounds[i]) == 0)
			return strncmp(value, "max", 3) != 0;
	}
	return false;
}

int safety_check_own(
	const struct safety *s, const char *name, const char *value, struct safety_error *error)
{
	const char *group = name + sizeof("cgroup:") - 1, *file = strrchr(name, '/');
	char own[1024];
	pid_t pid;
	int err;

	if (knob_process(name, &pid)) {
		if (pid != getpid() && pid != s->keeper.pid)
			return 0;
		safety_say(error,
			"%.200s is of the agent or its keeper, which are not to be changed", name);
		return -EPERM;
	}
	if (strncmp(name, "cgroup:", sizeof("cgroup:") - 1) != 0 || !may_hold(file + 1, value))
		return 0;
	err = own_group(s, own, sizeof(own));
	if (!err && is_above(group, (size_t)(file - group), own))
		err = -EPERM;
	if (err)
		safety_say(error,
			"%.200s would hold the agent and its keeper too, who could then undo "
			"nothing: %s; "
			"name a group that they are not in",
			name, strerror(-err));
	return err;
}
