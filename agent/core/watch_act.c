// SPDX-License-Identifier: Apache-2.0
/*
 * watch_act.c - whom a finding may lead to stop, and by which setting.
 *
 * Must never name a process that is not the one of the record: it is known by number and start time, and the knob holds
 * both. Never init, kernel threads, parts of semantos or what an allow-list names, nor a control group with one of these in it.
 */
#include "agent/core/watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_NS 10000000ULL /* USER_HZ is 100 on every kernel of x86-64 */
#define KERNEL_THREAD 0x00200000UL /* PF_KTHREAD */
#define GROUP_DEPTH 8 /* of groups below the one to be frozen */
#define GROUP_PROCESSES 4096
#define GROUPS "/sys/fs/cgroup"
/* What is never acted on, whatever the manifest says. */
#define ALWAYS "init.scope,semantos-*.service"

static ssize_t slurp(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT || errno == ESRCH ? -ESRCH : -errno;
	n = read(fd, text, size - 1);
	n = n < 0 ? -errno : n;
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n;
}

static const char *proc(const struct watch_options *options)
{
	return options->proc ? options->proc : "/proc";
}

/* Start (ticks), flags and parent of a process, from behind its name, which may hold anything. */
static int stat_of(const struct watch_options *options, uint32_t pid, uint64_t *start,
	unsigned long *flags, uint32_t *parent)
{
	char path[PATH_MAX], text[1024], *at;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%u/stat", proc(options), pid);
	n = slurp(path, text, sizeof(text));
	if (n < 0)
		return (int)n;
	at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++) {
		at = strchr(at + 1, ' ');
		if (at && field == 3)
			*parent = (uint32_t)strtoul(at, NULL, 10);
		if (at && field == 8)
			*flags = strtoul(at, NULL, 10);
	}
	if (!at)
		return -EIO;
	*start = strtoull(at + 1, NULL, 10);
	return 0;
}

/* Its control group: of version 2, or what systemd calls it on a machine with version 1 alone; "" = none. */
static void group_of(
	const struct watch_options *options, uint32_t pid, bool unified, char *group, size_t size)
{
	char path[PATH_MAX], text[8192], *line, *next;

	group[0] = '\0';
	snprintf(path, sizeof(path), "%s/%u/cgroup", proc(options), pid);
	if (slurp(path, text, sizeof(text)) <= 0)
		return;
	for (line = text; line; line = next) {
		const char *at = NULL;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (strncmp(line, "0::/", 4) == 0)
			at = line + 3;
		else if (!unified && !group[0] && strstr(line, ":name=systemd:/"))
			at = strstr(line, ":/") + 1;
		if (at && (group[0] == '\0' || at[1]))
			snprintf(group, size, "%s", at);
	}
}

bool watch_allowed(const char *allow, const char *group)
{
	char part[NAME_MAX + 1], glob[NAME_MAX + 1];

	for (const char *at = group; *at;) {
		size_t n = strcspn(at, "/");

		snprintf(part, sizeof(part), "%.*s", (int)n, at);
		for (const char *g = allow; n && *g;) {
			size_t skip = strspn(g, ", "), m = strcspn(g + skip, ", ");

			snprintf(glob, sizeof(glob), "%.*s", (int)m, g + skip);
			if (m && fnmatch(glob, part, 0) == 0)
				return true;
			g += skip + m;
		}
		at += n + (at[n] == '/');
	}
	return false;
}

/* A program of ours: by its file, which lies where the agent's own does, not by the name it gives itself. */
static bool is_semantos(const struct watch_options *options, uint32_t pid)
{
	char path[PATH_MAX], own[PATH_MAX], exe[PATH_MAX], *name;
	ssize_t n;

	n = readlink("/proc/self/exe", own, sizeof(own) - 1);
	own[n > 0 ? n : 0] = '\0';
	name = strrchr(own, '/');
	if (!name)
		return false;
	name[1] = '\0';
	snprintf(path, sizeof(path), "%s/%u/exe", proc(options), pid);
	n = readlink(path, exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = '\0';
	return strncmp(exe, own, strlen(own)) == 0 &&
	       strncmp(exe + strlen(own), "semantos", strlen("semantos")) == 0 &&
	       !strchr(exe + strlen(own), '/');
}

/* Why it must be left alone, or NULL. */
static const char *protected(const struct watch_options *options, uint32_t pid)
{
	unsigned long flags = 0;
	uint32_t parent = 0;
	uint64_t start;
	char group[PATH_MAX];

	if (pid <= 1)
		return "it is the first process";
	if (pid == (uint32_t)getpid())
		return "it is the agent";
	if (stat_of(options, pid, &start, &flags, &parent) == 0 && flags & KERNEL_THREAD)
		return "it is a thread of the kernel";
	if (parent == (uint32_t)getpid() || is_semantos(options, pid))
		return "it is a part of semantos";
	group_of(options, pid, false, group, sizeof(group));
	if (watch_allowed(ALWAYS, group) || watch_allowed(options->allow, group))
		return "its unit is on the list of those left alone";
	return NULL;
}

/* Is anybody in this group, or in one below it, whom we must leave alone? Too many to look at: yes. */
static const char *group_protected(
	const struct watch_options *options, const char *path, int depth, size_t *left)
{
	char name[PATH_MAX], line[32];
	const char *why = NULL;
	struct dirent *entry;
	FILE *file;
	DIR *dir;

	snprintf(name, sizeof(name), "%.4000s/cgroup.procs", path);
	file = fopen(name, "re");
	while (file && !why && fgets(line, sizeof(line), file)) {
		uint32_t pid = (uint32_t)strtoul(line, NULL, 10);

		/* of another pid namespace: who it is cannot be told */
		if (!pid || !(*left)--)
			why = "its group has too many processes, or some that cannot be seen";
		else
			why = protected(options, pid);
	}
	if (!file)
		why = "its group cannot be looked at";
	else
		fclose(file);
	if (why)
		return why;
	dir = opendir(path);
	while (dir && !why && (entry = readdir(dir))) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%.3800s/%.250s", path, entry->d_name);
		why = depth ? group_protected(options, name, depth - 1, left)
			    : "its group has too many groups below it";
	}
	if (dir)
		closedir(dir);
	return why;
}

static int freeze_knob(const struct watch_options *options, const struct watch_target *target,
	char knob[RECORD_NAME_MAX], char *why, size_t why_len)
{
	char group[PATH_MAX], path[PATH_MAX + 32];
	const char *reason, *last;
	size_t left = GROUP_PROCESSES;

	group_of(options, target->pid, true, group, sizeof(group));
	last = strrchr(group, '/');
	if (!last || !last[1]) {
		snprintf(why, why_len, "it is in no control group of version 2 to be frozen");
		return -ENOENT;
	}
	if (strlen(last) > 6 && strcmp(last + strlen(last) - 6, ".slice") == 0) {
		snprintf(why, why_len, "its group is a whole slice");
		return -EPERM;
	}
	snprintf(path, sizeof(path), GROUPS "%s", group);
	reason = group_protected(options, path, GROUP_DEPTH, &left);
	if (reason) {
		snprintf(why, why_len, "of its group: %s", reason);
		return -EPERM;
	}
	if (snprintf(knob, RECORD_NAME_MAX, "cgroup:%s/cgroup.freeze", group + 1) >=
		RECORD_NAME_MAX) {
		snprintf(why, why_len, "the name of its group is too long");
		return -ENAMETOOLONG;
	}
	return 0;
}

int watch_knob(const struct watch_options *options, const struct watch_target *target,
	char knob[RECORD_NAME_MAX], const char **value, char *why, size_t why_len)
{
	const char *reason = protected(options, target->pid);
	unsigned long flags = 0;
	uint32_t parent;
	uint64_t start;
	int err;

	if (reason) {
		snprintf(why, why_len, "%s", reason);
		return -EPERM;
	}
	err = stat_of(options, target->pid, &start, &flags, &parent);
	if (err || start != target->start_ns / TICK_NS) {
		snprintf(why, why_len, "it is gone");
		return err && err != -ESRCH ? err : -ESRCH;
	}
	if (options->action == WATCH_FREEZE) {
		*value = "1";
		return freeze_knob(options, target, knob, why, why_len);
	}
	*value = "stopped";
	snprintf(knob, RECORD_NAME_MAX, "sched:%u@%llu/state", target->pid,
		(unsigned long long)start);
	return 0;
}
