// SPDX-License-Identifier: Apache-2.0
/*
 * knob_scan.c - patterns against the files of a machine, or of a folder that stands for one.
 */
#include "agent/util/knob_scan.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 24 /* of control groups */
#define GROUPS_MAX 8192
#define PATH_LEN 1024

static const struct {
	const char *prefix, *base;
} kinds[] = { { "sysctl:", "/proc/sys/" }, { "sysfs:", "/sys/" }, { "cgroup:", "/sys/fs/cgroup/" },
	{ "debugfs:", "/sys/kernel/debug/" }, { "blkra:", "/sys/block/" }, { "sched:", NULL },
	{ "madvise:", NULL } };
enum { SYSCTL, SYSFS, CGROUP, DEBUGFS, BLKRA, SCHED, MADVISE, N_KINDS };

static size_t kind_of(const char *name)
{
	size_t k = 0;

	while (k + 1 < N_KINDS && strncmp(name, kinds[k].prefix, strlen(kinds[k].prefix)) != 0)
		k++;
	return k;
}

/* The file behind a name or a pattern; false: there is none, or it would lead out of its folder. */
static bool path_of(const char *root, const char *name, char *out, size_t size)
{
	size_t k = kind_of(name);
	const char *rest = name + strlen(kinds[k].prefix);
	int n;

	if (!kinds[k].base || !rest[0] || strstr(rest, ".."))
		return false;
	n = snprintf(out, size, "%s%s%s%s", strcmp(root, "/") == 0 ? "" : root, kinds[k].base, rest,
		k == BLKRA ? "/queue/read_ahead_kb" : "");
	if (n < 0 || (size_t)n >= size)
		return false;
	/* as sysctl(8) has it: a dot divides, a slash stands for a dot in a name */
	for (char *p = out + n - strlen(rest); k == SYSCTL && *p; p++) {
		if (*p == '.' || *p == '/')
			*p = *p == '.' ? '/' : '.';
	}
	return true;
}

/* What a file says, blanks of any kind as one, none at the ends. 0 or -errno. */
static int read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), err = 0;
	struct stat st;
	size_t out = 0;
	ssize_t n = 0;

	text[0] = '\0';
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		err = -EINVAL;
	else
		n = read(fd, text, size - 1);
	if (n < 0)
		err = -errno;
	close(fd);
	if (err) {
		text[0] = '\0';
		return err;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (!isspace((unsigned char)text[i]) && text[i])
			text[out++] = text[i];
		else if (out > 0 && text[out - 1] != ' ')
			text[out++] = ' ';
	}
	while (out > 0 && text[out - 1] == ' ')
		out--;
	text[out] = '\0';
	return 0;
}

/* "[none] mq-deadline": the word in brackets, and all words. */
static void take_choice(struct knob_here *here)
{
	char word[KNOB_SCAN_VALUE_MAX], *begin = strpbrk(here->value, "[("), *out = here->choices;
	char *end = begin ? strpbrk(begin, "])") : NULL;

	if (!end)
		return;
	snprintf(word, sizeof(word), "%.*s", (int)(end - begin - 1), begin + 1);
	for (const char *p = here->value; *p; p++) {
		if (!strchr("[]()", *p))
			*out++ = *p;
	}
	*out = '\0';
	strcpy(here->value, word);
}

static int read_here(const char *path, struct knob_here *here)
{
	here->err = read_text(path, here->value, sizeof(here->value));
	if (here->err == -ENOENT || here->err == -ENOTDIR)
		return -ENODEV;
	if (!here->err && here->desc->def.type == KNOB_CHOICE)
		take_choice(here);
	/* in sectors of 512 bytes */
	if (!here->err && kind_of(here->name) == BLKRA)
		snprintf(here->value, sizeof(here->value), "%llu",
			2 * strtoull(here->value, NULL, 10));
	return 0;
}

static int add(struct knob_scan *scan, const struct knob_here *here)
{
	if (scan->n == scan->room) {
		size_t room = scan->room ? 2 * scan->room : 128;
		struct knob_here *more = realloc(scan->here, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		scan->here = more;
		scan->room = room;
	}
	scan->here[scan->n++] = *here;
	return 0;
}

/* A disk without a medium, such as a loop device nobody set up, decides nothing. */
static bool empty_disk(const char *root, const char *name)
{
	const char *disk = strchr(name, ':') + 1;
	char path[PATH_LEN], size[32];

	disk += strncmp(disk, "block/", 6) == 0 ? 6 : 0;
	snprintf(path, sizeof(path), "%s/sys/block/%.*s/size", root, (int)strcspn(disk, "/"), disk);
	return read_text(path, size, sizeof(size)) == 0 && strcmp(size, "0") == 0;
}

/* A row for every file that fits a pattern with a * that stands for one part of a path. */
static int scan_files(struct knob_scan *scan, const char *root, const struct knob_desc *desc)
{
	const char *pattern = desc->def.pattern;
	size_t k = kind_of(pattern), skip;
	char path[PATH_LEN];
	glob_t found;
	int err;

	if (!path_of(root, pattern, path, sizeof(path)))
		return 0;
	skip = strlen(path) - strlen(pattern + strlen(kinds[k].prefix)) -
	       (k == BLKRA ? strlen("/queue/read_ahead_kb") : 0);
	err = glob(path, 0, NULL, &found);
	if (err)
		return err == GLOB_NOSPACE ? -ENOMEM : 0;
	for (size_t i = 0; i < found.gl_pathc && !err; i++) {
		struct knob_here here = { .desc = desc };
		const char *rest = found.gl_pathv[i] + skip;
		size_t n = strlen(rest) - (k == BLKRA ? strlen("/queue/read_ahead_kb") : 0);

		if (snprintf(here.name, sizeof(here.name), "%s%.*s", kinds[k].prefix, (int)n,
			    rest) >= (int)sizeof(here.name))
			continue;
		/* without a * the pattern is the name, dots and all */
		if (!strchr(pattern, '*'))
			snprintf(here.name, sizeof(here.name), "%s", pattern);
		if ((k == BLKRA || strncmp(pattern, "sysfs:block/", 12) == 0) &&
			empty_disk(root, here.name))
			continue;
		if (read_here(found.gl_pathv[i], &here) == 0)
			err = add(scan, &here);
	}
	globfree(&found);
	return err;
}

/* How many groups at or below this folder have the file? */
static void count_groups(
	char *path, const char *file, int depth, unsigned int *seen, unsigned int *groups)
{
	size_t len = strlen(path);
	struct dirent *entry;
	DIR *dir;

	if (++*seen > GROUPS_MAX || depth == DEPTH_MAX || len + 256 >= PATH_LEN)
		return;
	dir = opendir(path);
	if (!dir)
		return;
	snprintf(path + len, PATH_LEN - len, "/%s", file);
	/* not those of the root group, which is the machine */
	*groups += depth > 0 && access(path, F_OK) == 0;
	path[len] = '\0';
	while ((entry = readdir(dir))) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		snprintf(path + len, PATH_LEN - len, "/%s", entry->d_name);
		count_groups(path, file, depth + 1, seen, groups);
		path[len] = '\0';
	}
	closedir(dir);
}

/* The row of a pattern that stays one: of groups, and of processes, which are always there. */
static bool look_at_pattern(const char *root, const struct knob_desc *desc, struct knob_here *here)
{
	const char *pattern = desc->def.pattern;
	char path[PATH_LEN];
	unsigned int seen = 0;

	snprintf(here->name, sizeof(here->name), "%s", pattern);
	if (kind_of(pattern) != CGROUP)
		return true;
	snprintf(path, sizeof(path), "%s/sys/fs/cgroup", strcmp(root, "/") == 0 ? "" : root);
	count_groups(path, strrchr(pattern, '/') + 1, 0, &seen, &here->groups);
	return here->groups > 0;
}

static bool stays_one(const char *pattern)
{
	size_t k = kind_of(pattern);

	return k == CGROUP || k == SCHED || k == MADVISE;
}

int knob_scan(struct knob_scan *scan, const char *root)
{
	char path[PATH_LEN];
	int err = 0;

	memset(scan, 0, sizeof(*scan));
	if (strcmp(root, "/") == 0)
		root = "";
	snprintf(path, sizeof(path), "%s/proc/sys/kernel/osrelease", root);
	read_text(path, scan->release, sizeof(scan->release));
	for (size_t i = 0; i < n_knob_descs && !err; i++) {
		const struct knob_desc *desc = &knob_descs[i];
		struct knob_here here = { .desc = desc };

		if (!stays_one(desc->def.pattern))
			err = scan_files(scan, root, desc);
		else if (look_at_pattern(root, desc, &here))
			err = add(scan, &here);
	}
	return err;
}

void knob_scan_free(struct knob_scan *scan)
{
	free(scan->here);
	memset(scan, 0, sizeof(*scan));
}

int knob_look(const char *root, const char *name, struct knob_here *here)
{
	const struct knob_desc *desc = knob_desc_find(name);
	char path[PATH_LEN];

	memset(here, 0, sizeof(*here));
	if (!desc || strlen(name) >= sizeof(here->name))
		return -ENOENT;
	here->desc = desc;
	strcpy(here->name, name);
	if (strcmp(root, "/") == 0)
		root = "";
	if (strcmp(desc->def.pattern, name) == 0 && stays_one(name))
		return look_at_pattern(root, desc, here) ? 0 : -ENODEV;
	/* what a process has is asked of the process, not of a file */
	if (!kinds[kind_of(name)].base)
		return 0;
	if (strchr(name, '*') || !path_of(root, name, path, sizeof(path)))
		return -ENODEV;
	return read_here(path, here);
}

bool knob_doc_file(const char *root, const char *doc, char *out, size_t size)
{
	char pattern[PATH_LEN];
	glob_t found;
	bool there;

	if (strchr(doc, '('))
		return false;
	/* the newest of those installed */
	snprintf(pattern, sizeof(pattern), "%s/usr/share/doc/linux-doc*/Documentation/%.*s*",
		strcmp(root, "/") == 0 ? "" : root, (int)strcspn(doc, "#"), doc);
	there = glob(pattern, 0, NULL, &found) == 0;
	if (!there)
		return false;
	snprintf(out, size, "%s", found.gl_pathv[found.gl_pathc - 1]);
	globfree(&found);
	return true;
}
