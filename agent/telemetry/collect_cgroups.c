// SPDX-License-Identifier: Apache-2.0
/*
 * collect_cgroups.c - the control groups right below the root of cgroup v2 (system.slice, user.slice ...): CPU,
 * memory, I/O and pressure of each. Where only v1 is mounted there is nothing to tell.
 */
#include "agent/telemetry/collect.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/telemetry/procfs.h"

#define CGROUPS "/sys/fs/cgroup"

static bool read_file(struct collect *collect, const char *group, const char *file)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), CGROUPS "/%s/%s", group, file);
	return collect_read(collect, path);
}

static void pressure(struct collect *collect, const char *group, const char *label,
	const char *file, enum metric_name metric)
{
	struct procfs_pressure stalled;

	if (!read_file(collect, group, file))
		return;
	if (!procfs_pressure(collect->text, &stalled))
		collect->unparsed++;
	else if (stalled.has_some)
		metrics_counter(collect->metrics, metric, label, stalled.some_us, 1e-6);
}

static void one(struct collect *collect, const char *group)
{
	struct procfs_pair cpu[] = { { .name = "usage_usec" }, { .name = "throttled_usec" } };
	struct metrics *metrics = collect->metrics;
	char label[METRIC_LABEL];
	struct procfs_io io;
	size_t n = strlen(group);

	/* names are anybody's: what is no plain character reaches no terminal and no label */
	for (size_t i = 0; i <= n; i++)
		label[i] = group[i] && (group[i] < ' ' || group[i] > '~') ? '?' : group[i];
	if (read_file(collect, group, "cpu.stat")) {
		procfs_pairs(collect->text, cpu, 2);
		if (cpu[0].present)
			metrics_counter(metrics, METRIC_CGROUP_CPU, label, cpu[0].value, 1e-6);
		if (cpu[1].present)
			metrics_counter(
				metrics, METRIC_CGROUP_THROTTLED, label, cpu[1].value, 1e-6);
	}
	if (read_file(collect, group, "memory.current")) {
		char *end;
		unsigned long long bytes = strtoull(collect->text, &end, 10);

		if (end == collect->text || collect->text[0] == '-')
			collect->unparsed++;
		else
			metrics_level(metrics, METRIC_CGROUP_MEMORY, label, (double)bytes);
	}
	if (read_file(collect, group, "io.stat") && procfs_io(collect->text, &io)) {
		metrics_counter(metrics, METRIC_CGROUP_READ, label, io.read_bytes, 1);
		metrics_counter(metrics, METRIC_CGROUP_WRITE, label, io.write_bytes, 1);
	}
	pressure(collect, group, label, "cpu.pressure", METRIC_CGROUP_PSI_CPU);
	pressure(collect, group, label, "memory.pressure", METRIC_CGROUP_PSI_MEMORY);
	pressure(collect, group, label, "io.pressure", METRIC_CGROUP_PSI_IO);
}

void collect_cgroups(struct collect *collect)
{
	char path[PATH_MAX];
	struct dirent *entry;
	uint32_t n = 0;
	DIR *dir;

	collect->cgroups_left_out = 0;
	snprintf(path, sizeof(path), "%s" CGROUPS "/cgroup.controllers", collect->root);
	if (access(path, F_OK))
		return;
	*strrchr(path, '/') = 0;
	dir = opendir(path);
	if (!dir) {
		collect->unreadable++;
		return;
	}
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.' ||
			(entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN))
			continue;
		if (n == COLLECT_MAX_CGROUPS || strlen(entry->d_name) >= METRIC_LABEL) {
			collect->cgroups_left_out++;
			continue;
		}
		n++;
		one(collect, entry->d_name);
	}
	closedir(dir);
}
