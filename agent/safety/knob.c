// SPDX-License-Identifier: Apache-2.0
/*
 * knob.c - names and values of knobs, whatever their kind: which exist, what they may be given, how they compare.
 *
 * Must never write a value that knob_check() refuses (undo excepted: what stood there before may be restored). The kinds
 * are entries of the table below, each with a file of its own. Any thread.
 */
#include "agent/safety/knob.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent/safety/knob_kind.h"

const struct knob_kind_ops knob_kinds[] = {
	[KNOB_SYSCTL] = { "sysctl:", "/proc/sys", false, knob_file_open, knob_file_read,
		knob_file_write, knob_file_command },
	[KNOB_SYSFS] = { "sysfs:", "/sys", false, knob_file_open, knob_file_read, knob_file_write,
		knob_file_command },
	[KNOB_CGROUP] = { "cgroup:", "/sys/fs/cgroup", false, knob_file_open, knob_file_read,
		knob_file_write, knob_file_command },
	[KNOB_DEBUGFS] = { "debugfs:", "/sys/kernel/debug", false, knob_file_open,
		knob_debugfs_read, knob_debugfs_write, knob_file_command },
	[KNOB_BLKRA] = { "blkra:", "/dev", false, knob_blkra_open, knob_blkra_read,
		knob_blkra_write, knob_blkra_command },
	[KNOB_SCHED] = { "sched:", "", true, knob_sched_open, knob_sched_read, knob_sched_write,
		knob_sched_command },
	[KNOB_MADVISE] = { "madvise:", "", true, knob_madvise_open, knob_madvise_read,
		knob_madvise_write, knob_madvise_command },
};
#define N_KINDS (sizeof(knob_kinds) / sizeof(knob_kinds[0]))

/* No empty part, none that leads up or nowhere: one file has one name. */
static bool path_ok(const char *path)
{
	const char *p = path;

	for (;;) {
		size_t n = strcspn(p, "/");

		if (n == 0 || (n <= 2 && strncmp(p, "..", n) == 0))
			return false;
		if (!p[n])
			return true;
		p += n + 1;
	}
}

/* Kind of the knob and its path below the kind's folder. False: no such name can be. */
static bool split(const char *name, enum knob_kind *kind, char path[RECORD_NAME_MAX])
{
	struct knob_task task;
	size_t k = 0;

	while (k < N_KINDS &&
		strncmp(name, knob_kinds[k].prefix, strlen(knob_kinds[k].prefix)) != 0)
		k++;
	if (k == N_KINDS || strlen(name) >= RECORD_NAME_MAX)
		return false;
	*kind = (enum knob_kind)k;
	strcpy(path, name + strlen(knob_kinds[k].prefix));
	for (char *p = path; *p; p++) {
		if (iscntrl((unsigned char)*p))
			return false;
		/* as sysctl(8) has it: a dot divides, a slash stands for a dot in a name */
		if (k == KNOB_SYSCTL && (*p == '.' || *p == '/'))
			*p = *p == '.' ? '/' : '.';
	}
	return path_ok(path) && (!knob_kinds[k].process || knob_task_split(path, &task));
}

bool knob_number(const char *text, int64_t *value)
{
	char *end;

	/* base 0 would read a leading zero as octal */
	errno = 0;
	*value = strtoll(text, &end, strncmp(text, "0x", 2) == 0 ? 16 : 10);
	return end != text && !*end && !errno;
}

static int check_choice(
	const struct knob_def *def, const char *name, const char *value, struct safety_error *error)
{
	char word[RECORD_VALUE_MAX + 2];

	snprintf(word, sizeof(word), " %s ", value);
	if (value[0] && !strchr(value, ' ') && strstr(def->choices, word))
		return 0;
	safety_say(error, "%.200s takes one of%.100s, not %.100s", name, def->choices, value);
	return -EINVAL;
}

static int check_number(
	const struct knob_def *def, const char *name, const char *value, struct safety_error *error)
{
	const char *digits = value + (def->min < 0 && value[0] == '-');
	int64_t n;

	if (!isdigit((unsigned char)digits[0]) || !knob_number(value, &n)) {
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

/* As many numbers as the knob has, one blank between: what the kernel writes, so that it can be compared. */
static int check_numbers(
	const struct knob_def *def, const char *name, const char *value, struct safety_error *error)
{
	const char *p = value;
	int err = 0;

	for (unsigned int i = 0; i < def->count; i++) {
		size_t n = strcspn(p, " ");
		char word[RECORD_VALUE_MAX];

		snprintf(word, sizeof(word), "%.*s", (int)n, p);
		/* a leading zero would be read as octal, or as the beginning of 0x */
		if (n == 0 || (n > 1 && word[0] == '0') || (p[n] == ' ') == (i + 1 == def->count)) {
			safety_say(error,
				"%.200s takes %u numbers with one blank between, not %.100s", name,
				def->count, value);
			return -EINVAL;
		}
		if (!def->or_max || strcmp(word, "max") != 0)
			err = check_number(def, name, word, error);
		if (err)
			return err;
		p += n + 1;
	}
	return 0;
}

static int check_cpus(const char *name, const char *value, struct safety_error *error)
{
	if (knob_cpus_canonical(value))
		return 0;
	safety_say(error,
		"%.200s takes a list of CPUs as the kernel writes it, e.g. 0-3,8, not %.100s", name,
		value);
	return -EINVAL;
}

static int check_range(
	const struct knob_def *def, const char *name, const char *value, struct safety_error *error)
{
	uint64_t start, end;

	if (!knob_range(value, &start, &end)) {
		safety_say(error,
			"%.200s takes a range of whole pages as /proc/PID/maps writes it, not "
			"%.100s",
			name, value);
		return -EINVAL;
	}
	if (end - start > (uint64_t)def->max) {
		safety_say(error, "%.200s takes at most %lld bytes at a time", name,
			(long long)def->max);
		return -ERANGE;
	}
	return 0;
}

int knob_check(const char *name, const char *value, struct safety_error *error)
{
	const struct knob_desc *desc = knob_desc_find(name);
	const struct knob_def *def = knob_find(name);
	char path[RECORD_NAME_MAX];
	enum knob_kind kind;

	if (!def && desc) {
		safety_say(
			error, "%.200s is not changed by semantos: %.200s", name, desc->read_only);
		return -ENOENT;
	}
	if (!def || !split(name, &kind, path)) {
		safety_say(error, "%.200s is no knob that semantos changes", name);
		return -ENOENT;
	}
	if (strlen(value) >= RECORD_VALUE_MAX) {
		safety_say(error, "the value for %.200s is too long", name);
		return -EINVAL;
	}
	if (def->type == KNOB_CHOICE)
		return check_choice(def, name, value, error);
	if (def->type == KNOB_CPUS)
		return check_cpus(name, value, error);
	if (def->type == KNOB_INTS)
		return check_numbers(def, name, value, error);
	if (def->type == KNOB_ACTION)
		return check_range(def, name, value, error);
	if (def->type == KNOB_INT_OR_MAX && strcmp(value, "max") == 0)
		return 0;
	return check_number(def, name, value, error);
}

int knob_full_name(const char *name, char *out, struct safety_error *error)
{
	char path[RECORD_NAME_MAX];
	struct knob_task task;
	enum knob_kind kind;
	int err, n;

	if (!split(name, &kind, path)) {
		safety_say(error, "%.200s is no knob that semantos changes", name);
		return -ENOENT;
	}
	strcpy(out, name);
	if (!knob_kinds[kind].process)
		return 0;
	knob_task_split(path, &task);
	if (task.start)
		return 0;
	err = knob_task_start(task.pid, &task.start);
	if (err) {
		safety_say(
			error, "the process %d cannot be looked at: %s", task.pid, strerror(-err));
		return err;
	}
	n = snprintf(out, RECORD_NAME_MAX, "%s%d@%llu/%s", knob_kinds[kind].prefix, task.pid,
		(unsigned long long)task.start, task.which);
	return n < RECORD_NAME_MAX ? 0 : -EINVAL;
}

bool knob_is_action(const char *name)
{
	const struct knob_def *def = knob_find(name);

	return def && def->type == KNOB_ACTION;
}

bool knob_waits(const char *name)
{
	const struct knob_def *def = knob_find(name);

	return def && def->waits;
}

bool knob_resets(const char *name)
{
	const struct knob_def *def = knob_find(name);

	return def && def->resets;
}

/* A number that the kernel says of this disk, below its folder; 0: none. */
static unsigned long disk_number(const char *root, const char *disk, int len, const char *file)
{
	char path[PATH_MAX], text[32];
	ssize_t n;
	int fd;

	n = snprintf(path, sizeof(path), "%s/sys/block/%.*s/%s", strcmp(root, "/") == 0 ? "" : root,
		len, disk, file);
	fd = n < (ssize_t)sizeof(path) ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return strtoul(text, NULL, 10);
}

#define READ_AHEAD_KB 128 /* VM_READAHEAD_PAGES */

static bool reads(const char *live, unsigned long number)
{
	char text[32];

	snprintf(text, sizeof(text), "%lu", number);
	return number > 0 && knob_same(live, text);
}

bool knob_reset_may_read(const char *root, const char *name, const char *value, const char *live)
{
	static const char prefix[] = "sysfs:block/";
	const char *disk = name + sizeof(prefix) - 1;
	const struct knob_def *def = knob_find(name);
	unsigned long number;
	int len;

	/* cpu.idle of a control group sets its weight to one value, which needs no rule */
	if (!def || !def->resets || strncmp(name, prefix, sizeof(prefix) - 1) != 0)
		return false;
	len = (int)strcspn(disk, "/");
	if (strcmp(def->partner, "nr_requests") == 0) {
		number = disk_number(root, disk, len, "mq/0/nr_tags");
		if (strcmp(value, "none") != 0)
			number = 2 * (number < 128 ? number : 128);
		return reads(live, number);
	}
	/* max_sectors_kb */
	number = strtoul(value, NULL, 10);
	return reads(live, READ_AHEAD_KB) || reads(live, 2 * number) ||
	       reads(live, 2 * (disk_number(root, disk, len, "queue/optimal_io_size") >> 10));
}

bool knob_process(const char *name, pid_t *pid)
{
	char path[RECORD_NAME_MAX];
	struct knob_task task;
	enum knob_kind kind;

	if (!split(name, &kind, path) || !knob_kinds[kind].process)
		return false;
	knob_task_split(path, &task);
	*pid = task.pid;
	return true;
}

static bool is_fake(const char *root)
{
	return strcmp(root, "") != 0 && strcmp(root, "/") != 0;
}

int knob_open(struct knob *knob, const char *root, const char *name, bool write,
	struct safety_error *error)
{
	char path[RECORD_NAME_MAX];
	int err;

	knob->fd = -1;
	knob->def = knob_find(name);
	knob->fake = is_fake(root);
	if (!knob->def || !split(name, &knob->kind, path)) {
		safety_say(error, "%.200s is no knob that semantos changes", name);
		return -EINVAL;
	}
	err = knob_kinds[knob->kind].open(knob, root, path, write, error);
	if (err)
		knob_close(knob);
	return err;
}

void knob_close(struct knob *knob)
{
	if (knob->fd >= 0)
		close(knob->fd);
	knob->fd = -1;
}

int knob_read(const struct knob *knob, char value[RECORD_VALUE_MAX])
{
	return knob_kinds[knob->kind].read(knob, value);
}

int knob_write(const struct knob *knob, const char *value)
{
	return knob_kinds[knob->kind].write(knob, value);
}

/* Files beside a knob's that say what this very device takes. */
static const struct {
	const char *file, *most, *unit; /* unit: values are multiples of it; NULL = any */
} beside[] = {
	{ "/queue/max_sectors_kb", "/queue/max_hw_sectors_kb", NULL },
	{ "/queue/discard_max_bytes", "/queue/discard_max_hw_bytes", "/queue/discard_granularity" },
};
#define BESIDE (sizeof(beside) / sizeof(beside[0]))

/* Of this knob, or BESIDE. */
static size_t beside_of(const char *name)
{
	size_t i = 0;

	while (i < BESIDE && !strstr(name, beside[i].file))
		i++;
	return i;
}

static bool beside_reads(
	const char *root, const char *name, size_t i, const char *file, int64_t *number)
{
	char path[2 * RECORD_NAME_MAX], text[RECORD_VALUE_MAX];
	int prefix = (int)strlen(knob_kinds[KNOB_SYSFS].prefix);
	struct safety_error unused;
	struct knob knob = {
		.fd = -1, .def = knob_find(name), .kind = KNOB_SYSFS, .fake = is_fake(root)
	};
	int err;

	snprintf(path, sizeof(path), "%.*s%s", (int)(strstr(name, beside[i].file) - name - prefix),
		name + prefix, file);
	err = knob_file_open(&knob, root, path, false, &unused);
	if (!err)
		err = knob_read(&knob, text);
	knob_close(&knob);
	return !err && knob_number(text, number);
}

int knob_fits(const char *root, const char *name, const char *value, struct safety_error *error)
{
	size_t i = beside_of(name);
	int64_t limit, wanted, unit;

	if (i == BESIDE || !knob_number(value, &wanted))
		return 0;
	if (beside_reads(root, name, i, beside[i].most, &limit) && wanted > limit) {
		safety_say(error, "%.200s takes at most %lld here, as %s says", name,
			(long long)limit, beside[i].most + 7);
		return -ERANGE;
	}
	if (beside[i].unit && beside_reads(root, name, i, beside[i].unit, &unit) && unit > 0 &&
		wanted % unit) {
		safety_say(error, "%.200s takes multiples of %lld here, as %s says", name,
			(long long)unit, beside[i].unit + 7);
		return -ERANGE;
	}
	return 0;
}

bool knob_is_fixed(const char *root, const char *name)
{
	size_t i = beside_of(name);
	int64_t limit;

	return i < BESIDE && beside_reads(root, name, i, beside[i].most, &limit) && limit == 0;
}

bool knob_same(const char *a, const char *b)
{
	int64_t x, y;

	return strcmp(a, b) == 0 || (knob_number(a, &x) && knob_number(b, &y) && x == y);
}

bool knob_took(const struct knob_def *def, const char *put, const char *got)
{
	int64_t x, y;

	if (knob_same(put, got))
		return true;
	if (def->type == KNOB_CPUS)
		return knob_cpus_within(got, put);
	return def->round && knob_number(put, &x) && knob_number(got, &y) &&
	       (x > y ? x - y : y - x) < def->round;
}

bool knob_partner(const char *name, char *out)
{
	const struct knob_def *def = knob_find(name);
	size_t last = strlen(name);

	if (!def || !def->partner)
		return false;
	/* of a row with a partner the name has one or the other */
	while (!strchr("./", name[last - 1]))
		last--;
	snprintf(out, RECORD_NAME_MAX, "%.*s%.64s", (int)last, name, def->partner);
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
	else if (knob_kinds[kind].process)
		snprintf(out, RECORD_NAME_MAX, "%.255s", name);
	else
		snprintf(out, RECORD_NAME_MAX, "%s/%.200s", knob_kinds[kind].base, path);
}

void knob_command(const char *name, const char *value, char *out, size_t size)
{
	char path[RECORD_NAME_MAX];
	enum knob_kind kind;

	if (!split(name, &kind, path))
		snprintf(out, size, "set %s to %s", name, value);
	else
		knob_kinds[kind].command(knob_kinds[kind].base, path, value, out, size);
}
