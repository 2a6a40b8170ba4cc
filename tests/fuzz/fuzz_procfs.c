// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_procfs.c - any text given to the parsers of /proc and cgroups: nothing is read beyond its end, and what is not
 * there stays absent.
 */
#include "agent/telemetry/procfs.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct procfs_pair pair[] = { { .name = "a" }, { .name = "allocstall_*" },
		{ .name = "OutSegs" } };
	char *text = malloc(size + 1);
	struct procfs_pressure pressure;
	struct procfs_disk disk;
	struct procfs_stat stat;
	const char *at = text;
	struct procfs_io io;
	uint64_t bad = 0;
	double load[3];

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = 0;
	procfs_pairs(text, pair, 3);
	procfs_table(text, "Tcp", pair, 3);
	for (int i = 0; i < 3; i++) {
		if (!pair[i].present && pair[i].value)
			abort();
	}
	if (procfs_stat(text, &stat) && !stat.has_ticks)
		abort();
	procfs_loadavg(text, load);
	if (procfs_pressure(text, &pressure) && !pressure.has_some && !pressure.has_full)
		abort();
	while (procfs_disk_next(&at, &disk, &bad)) {
		if (!disk.name[0] || strnlen(disk.name, sizeof(disk.name)) == sizeof(disk.name))
			abort();
	}
	procfs_io(text, &io);
	free(text);
	return 0;
}
