// SPDX-License-Identifier: Apache-2.0
/*
 * collect_disks.c - which disks are followed, and their figures: /proc/diskstats, and the hook at completions.
 *
 * Followed are disks with a device behind them (not loop, ram, dm or md, whose requests reach a disk below again), and
 * those the operator named. Looked at anew when the list of devices in /proc/diskstats changes.
 */
#include "agent/telemetry/collect.h"

#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "agent/telemetry/procfs.h"

static bool is_wanted(const struct collect *collect, const char *name)
{
	char path[PATH_MAX];

	if (strchr(name, '/') || name[0] == '.')
		return false;
	snprintf(path, sizeof(path), "%s/sys/block/%s/device", collect->root, name);
	if (access(path, F_OK) == 0)
		return true;
	snprintf(path, sizeof(path), "%s/sys/block/%s", collect->root, name);
	for (uint32_t i = 0; i < collect->n_device; i++) {
		const char *pattern = collect->device[i];

		if (strncmp(pattern, "/dev/", 5) == 0)
			pattern += 5;
		if (fnmatch(pattern, name, 0) == 0 && access(path, F_OK) == 0)
			return true;
	}
	return false;
}

static uint64_t list_hash(const char *text)
{
	uint64_t hash = 0xcbf29ce484222325ULL, bad = 0;
	struct procfs_disk disk;

	while (procfs_disk_next(&text, &disk, &bad)) {
		hash = (hash ^ disk.major) * 0x100000001b3ULL; /* FNV-1a */
		hash = (hash ^ disk.minor) * 0x100000001b3ULL;
		for (const char *at = disk.name; *at; at++)
			hash = (hash ^ (unsigned char)*at) * 0x100000001b3ULL;
	}
	return hash;
}

static uint32_t dev_of(const struct procfs_disk *disk)
{
	return disk->major << 20 | disk->minor;
}

static struct collect_disk *find(struct collect *collect, const struct procfs_disk *disk)
{
	for (uint32_t i = 0; i < collect->n_disks; i++) {
		if (collect->disk[i].dev == dev_of(disk) &&
			strcmp(collect->disk[i].name, disk->name) == 0)
			return &collect->disk[i];
	}
	return NULL;
}

/* Those that are gone leave, then new ones come, so that they find room. */
static void choose(struct collect *collect)
{
	struct collect_disk gone[TELEMETRY_MAX_DISKS], *known;
	const char *at = collect->text;
	uint32_t n_gone = collect->n_disks;
	struct procfs_disk disk;
	uint64_t bad = 0;

	memcpy(gone, collect->disk, sizeof(gone));
	while (procfs_disk_next(&at, &disk, &bad)) {
		known = find(collect, &disk);
		if (known && is_wanted(collect, disk.name))
			gone[known - collect->disk].name[0] = 0;
	}
	for (uint32_t i = n_gone; i-- > 0;) {
		if (!gone[i].name[0])
			continue;
		if (gone[i].row >= 0)
			kernel_disk_remove(collect->kernel, (uint32_t)gone[i].row);
		collect->disk[i] = collect->disk[--collect->n_disks];
	}
	collect->disks_left_out = 0;
	at = collect->text;
	while (procfs_disk_next(&at, &disk, &bad)) {
		if (find(collect, &disk) || !is_wanted(collect, disk.name))
			continue;
		if (collect->n_disks == TELEMETRY_MAX_DISKS) {
			collect->disks_left_out++;
			continue;
		}
		known = &collect->disk[collect->n_disks++];
		memset(known, 0, sizeof(*known));
		memcpy(known->name, disk.name, sizeof(known->name));
		known->dev = dev_of(&disk);
		known->row = -1;
	}
	for (uint32_t i = 0; i < collect->n_disks && collect->kernel; i++) {
		if (collect->disk[i].row < 0)
			collect->disk[i].row =
				kernel_disk_add(collect->kernel, collect->disk[i].dev);
		collect->disks_left_out += collect->disk[i].row < 0;
	}
}

static void latencies(struct collect *collect, struct collect_disk *disk)
{
	struct kernel_disk_reading *reading = collect->disk_reading;
	static const enum metric_name metric[] = { METRIC_BLOCK_READ, METRIC_BLOCK_WRITE };
	static const enum metric_name bytes[] = { METRIC_BLOCK_READ_BYTES,
		METRIC_BLOCK_WRITE_BYTES };

	if (disk->row < 0)
		return;
	if (kernel_disk_read(collect->kernel, (uint32_t)disk->row, reading)) {
		collect->unreadable++;
		return;
	}
	for (int i = 0; i < TELEMETRY_DIRECTIONS; i++) {
		const struct kernel_times *times = &reading->latency[i];

		disk->bytes[i] += reading->bytes[i];
		metrics_times(collect->metrics, metric[i], disk->name, times->bucket, times->count,
			times->sum_ns);
		metrics_counter(collect->metrics, bytes[i], disk->name, disk->bytes[i], 1);
	}
	disk->errors += reading->errors;
	metrics_counter(collect->metrics, METRIC_BLOCK_ERRORS, disk->name, disk->errors, 1);
}

void collect_disks(struct collect *collect)
{
	struct metrics *metrics = collect->metrics;
	struct procfs_disk line;
	const char *at;
	uint64_t hash;

	if (!collect_read(collect, "/proc/diskstats"))
		return;
	hash = list_hash(collect->text);
	if (hash != collect->disks_hash) {
		choose(collect);
		collect->disks_hash = hash;
	}
	at = collect->text;
	while (procfs_disk_next(&at, &line, &collect->unparsed)) {
		struct collect_disk *disk = find(collect, &line);

		if (!disk)
			continue;
		metrics_counter(metrics, METRIC_DISK_READS, disk->name, line.reads, 1);
		metrics_counter(metrics, METRIC_DISK_WRITES, disk->name, line.writes, 1);
		metrics_counter(metrics, METRIC_DISK_BUSY, disk->name, line.busy_ms, 1e-3);
		metrics_counter(metrics, METRIC_DISK_QUEUE, disk->name, line.queue_ms, 1e-3);
		latencies(collect, disk);
	}
}

uint32_t collect_count_disks(struct collect *collect)
{
	struct procfs_disk line;
	uint64_t bad = 0;
	uint32_t n = 0;
	const char *at;

	if (!collect_read(collect, "/proc/diskstats"))
		return 0;
	at = collect->text;
	while (procfs_disk_next(&at, &line, &bad))
		n += is_wanted(collect, line.name);
	return n;
}
