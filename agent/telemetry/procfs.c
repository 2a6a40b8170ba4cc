// SPDX-License-Identifier: Apache-2.0
/*
 * procfs.c - see procfs.h. One scan a file, no copies, no allocation.
 */
#include "agent/telemetry/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int procfs_read(const char *root, const char *path, char *text, size_t len)
{
	char full[PATH_MAX];
	size_t used = 0;
	ssize_t n = 0;
	int fd;

	if (!len || snprintf(full, sizeof(full), "%s%s", root, path) >= (int)sizeof(full))
		return -ENAMETOOLONG;
	text[0] = 0;
	fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	while (used < len - 1 && (n = read(fd, text + used, len - 1 - used)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int err = -errno;

			close(fd);
			text[0] = 0;
			return err;
		}
		used += (size_t)n;
	}
	close(fd);
	text[used] = 0;
	return (int)used;
}

static const char *blanks(const char *at)
{
	while (*at == ' ' || *at == '\t')
		at++;
	return at;
}

static const char *next_line(const char *at)
{
	at += strcspn(at, "\n");
	return *at ? at + 1 : at;
}

/* A decimal number after blanks, ended by a blank, a line's end or `also`; *at is moved behind it. */
static bool number(const char **at, uint64_t *value, char also)
{
	const char *digit = blanks(*at);
	uint64_t sum = 0;

	if (*digit < '0' || *digit > '9')
		return false;
	for (; *digit >= '0' && *digit <= '9'; digit++) {
		if (__builtin_mul_overflow(sum, 10, &sum) ||
			__builtin_add_overflow(sum, (uint64_t)(*digit - '0'), &sum))
			return false;
	}
	if (*digit && *digit != ' ' && *digit != '\t' && *digit != '\n' && *digit != also)
		return false;
	*at = digit;
	*value = sum;
	return true;
}

/* Is name[n] what `wanted` asks for? */
static bool is_name(const char *name, size_t n, const char *wanted)
{
	size_t len = strlen(wanted);

	if (len && wanted[len - 1] == '*')
		return n >= len - 1 && strncmp(name, wanted, len - 1) == 0;
	return n == len && strncmp(name, wanted, n) == 0;
}

static void put(
	struct procfs_pair *pair, size_t n_pairs, const char *name, size_t n, uint64_t value)
{
	for (size_t i = 0; i < n_pairs; i++) {
		if (!is_name(name, n, pair[i].name))
			continue;
		pair[i].value = pair[i].present ? pair[i].value + value : value;
		pair[i].present = true;
	}
}

static size_t clear(struct procfs_pair *pair, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		pair[i].value = 0;
		pair[i].present = false;
	}
	return n;
}

static size_t present(const struct procfs_pair *pair, size_t n)
{
	size_t found = 0;

	for (size_t i = 0; i < n; i++)
		found += pair[i].present;
	return found;
}

size_t procfs_pairs(const char *text, struct procfs_pair *pair, size_t n)
{
	clear(pair, n);
	for (const char *line = text; *line; line = next_line(line)) {
		size_t len = strcspn(line, ": \t\n");
		const char *at = line + len;
		uint64_t value;

		at += *at == ':';
		if (len && number(&at, &value, 0))
			put(pair, n, line, len, value);
	}
	return present(pair, n);
}

/* The line that begins with "prefix:", from `text` on; behind its colon. */
static const char *table_line(const char *text, const char *prefix)
{
	size_t len = strlen(prefix);

	for (const char *line = text; *line; line = next_line(line)) {
		if (strncmp(line, prefix, len) == 0 && line[len] == ':')
			return line + len + 1;
	}
	return NULL;
}

size_t procfs_table(const char *text, const char *prefix, struct procfs_pair *pair, size_t n)
{
	const char *names = table_line(text, prefix), *values;

	clear(pair, n);
	values = names ? table_line(next_line(names), prefix) : NULL;
	if (!values)
		return 0;
	for (;;) {
		size_t len, skip;
		uint64_t value;

		names = blanks(names);
		values = blanks(values);
		len = strcspn(names, " \t\n");
		skip = strcspn(values, " \t\n");
		if (!len || !skip)
			break;
		/* a negative one (MaxConn is -1) is passed over, and does not shift the rest */
		if (number(&values, &value, 0))
			put(pair, n, names, len, value);
		else
			values += skip;
		names += len;
	}
	return present(pair, n);
}

bool procfs_stat(const char *text, struct procfs_stat *stat)
{
	static const char *const names[5] = { "intr", "ctxt", "processes", "procs_running",
		"procs_blocked" };

	memset(stat, 0, sizeof(*stat));
	for (size_t i = 0; i < 5; i++)
		stat->pair[i].name = names[i];
	for (const char *line = text; *line; line = next_line(line)) {
		const char *at = line + 3;
		int field = 0;

		if (strncmp(line, "cpu", 3) != 0)
			continue;
		if (*at >= '0' && *at <= '9') {
			stat->n_cpus++;
			continue;
		}
		if (stat->has_ticks)
			continue;
		while (field < PROCFS_CPU_STATES && number(&at, &stat->ticks[field], 0))
			field++;
		stat->has_ticks = field == PROCFS_CPU_STATES;
	}
	/* "intr" is followed by a number for each interrupt: the first is their sum */
	procfs_pairs(text, stat->pair, 5);
	return stat->has_ticks;
}

bool procfs_loadavg(const char *text, double load[3])
{
	for (int i = 0; i < 3; i++) {
		uint64_t whole, cents;
		const char *dot;

		if (!number(&text, &whole, '.') || *text != '.')
			return false;
		dot = ++text;
		if (*dot < '0' || *dot > '9' || !number(&text, &cents, 0) || text - dot != 2)
			return false;
		load[i] = (double)whole + (double)cents / 100;
	}
	return true;
}

/* "total=" somewhere in the line. */
static bool line_total(const char *line, uint64_t *value)
{
	static const char key[] = " total=";

	for (const char *at = line; *at && *at != '\n'; at++) {
		if (strncmp(at, key, sizeof(key) - 1) == 0) {
			at += sizeof(key) - 1;
			return *at >= '0' && *at <= '9' && number(&at, value, 0);
		}
	}
	return false;
}

bool procfs_pressure(const char *text, struct procfs_pressure *pressure)
{
	memset(pressure, 0, sizeof(*pressure));
	for (const char *line = text; *line; line = next_line(line)) {
		if (strncmp(line, "some ", 5) == 0)
			pressure->has_some = line_total(line, &pressure->some_us);
		else if (strncmp(line, "full ", 5) == 0)
			pressure->has_full = line_total(line, &pressure->full_us);
	}
	return pressure->has_some || pressure->has_full;
}

static bool disk_line(const char *at, struct procfs_disk *disk)
{
	uint64_t major, minor, skipped;
	/* in the order of the file: Documentation/admin-guide/iostats.rst */
	uint64_t *field[] = { &disk->reads, &skipped, &disk->read_sectors, &disk->read_ms,
		&disk->writes, &skipped, &disk->write_sectors, &disk->write_ms, &disk->in_flight,
		&disk->busy_ms, &disk->queue_ms };
	size_t len;

	memset(disk, 0, sizeof(*disk));
	if (!number(&at, &major, 0) || !number(&at, &minor, 0) || major > UINT32_MAX ||
		minor > UINT32_MAX)
		return false;
	disk->major = (uint32_t)major;
	disk->minor = (uint32_t)minor;
	at = blanks(at);
	len = strcspn(at, " \t\n");
	if (!len || len >= sizeof(disk->name))
		return false;
	memcpy(disk->name, at, len);
	at += len;
	for (size_t i = 0; i < sizeof(field) / sizeof(field[0]); i++) {
		if (!number(&at, field[i], 0))
			return false;
	}
	return true;
}

bool procfs_disk_next(const char **at, struct procfs_disk *disk, uint64_t *bad)
{
	while (**at) {
		const char *line = *at;

		*at = next_line(line);
		if (disk_line(line, disk))
			return true;
		(*bad)++;
	}
	return false;
}

bool procfs_io(const char *text, struct procfs_io *io)
{
	bool any = false;

	memset(io, 0, sizeof(*io));
	for (const char *line = text; *line; line = next_line(line)) {
		for (const char *at = line; *at && *at != '\n';) {
			size_t len = strcspn(at, " \t\n");
			uint64_t value, *to = NULL;
			const char *digits = at + 7;

			if (len > 7 && strncmp(at, "rbytes=", 7) == 0)
				to = &io->read_bytes;
			else if (len > 7 && strncmp(at, "wbytes=", 7) == 0)
				to = &io->write_bytes;
			if (to && number(&digits, &value, 0)) {
				*to += value;
				any = true;
			}
			at = blanks(at + len);
		}
	}
	return any;
}
