// SPDX-License-Identifier: Apache-2.0
/*
 * knob_madvise.c - advice about the memory of another process: its pages are cold, or shall be written out now.
 *
 * An action: the kernel keeps no value of it, so there is nothing to read, to compare or to undo. The memory's contents
 * are the same before and after; what it costs is page faults. The process is named by its pidfd in the call itself.
 * Any thread.
 */
#include "agent/safety/knob_kind.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096

static const char *const words[] = { "cold", "pageout", NULL };
static const int advice[] = { MADV_COLD, MADV_PAGEOUT };

bool knob_range(const char *text, uint64_t *start, uint64_t *end)
{
	char *at, again[40];

	*start = strtoull(text, &at, 16);
	*end = *at == '-' ? strtoull(at + 1, &at, 16) : 0;
	/* as /proc/PID/maps writes it: no sign, blank or prefix that strtoull() would take */
	snprintf(again, sizeof(again), "%llx-%llx", (unsigned long long)*start,
		(unsigned long long)*end);
	return strcmp(text, again) == 0 && *start < *end && *start % PAGE == 0 && *end % PAGE == 0;
}

int knob_madvise_open(struct knob *knob, const char *root, const char *path, bool write,
	struct safety_error *error)
{
	(void)root, (void)write;
	return knob_task_open(knob, path, words, error);
}

int knob_madvise_read(const struct knob *knob, char value[RECORD_VALUE_MAX])
{
	(void)knob, (void)value;
	return -EOPNOTSUPP;
}

int knob_madvise_write(const struct knob *knob, const char *value)
{
	uint64_t start, end;
	struct iovec range;
	long n;

	if (!knob_range(value, &start, &end))
		return -EINVAL;
	range = (struct iovec){ (void *)(uintptr_t)start, end - start };
	n = syscall(SYS_process_madvise, knob->fd, &range, 1, advice[knob->which], 0);
	if (n < 0)
		return -errno;
	return (uint64_t)n == end - start ? 0 : -EIO;
}

void knob_madvise_command(
	const char *base, const char *path, const char *value, char *out, size_t size)
{
	(void)base;
	snprintf(out, size, "nothing undoes %s on %s", path, value);
}
