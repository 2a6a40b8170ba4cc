/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.c - reads /sys/block. Every read is bounded; a disk that vanishes in between is left out.
 */
#include "agent/core/disk.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IDENTITY_PLAIN 76 /* characters of an identity taken as they are */

/* First line of a sysfs attribute, without its newline and outer blanks. False when it cannot be read. */
static bool attribute(const char *directory, const char *name, char *text, size_t text_len)
{
	char path[PATH_MAX], *start = text;
	ssize_t n;
	int fd;

	text[0] = 0;
	if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, text_len - 1);
	close(fd);
	if (n < 0)
		return false;
	text[n] = 0;
	text[strcspn(text, "\n")] = 0;
	while (isspace((unsigned char)*start))
		start++;
	memmove(text, start, strlen(start) + 1);
	for (size_t end = strlen(text); end && isspace((unsigned char)text[end - 1]);)
		text[--end] = 0;
	return true;
}

static uint64_t attribute_number(const char *directory, const char *name)
{
	char text[32];

	return attribute(directory, name, text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
}

/* Number of entries of a folder, names of the first few joined by commas. */
static int entries(const char *directory, const char *name, char *list, size_t list_len)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;
	int n = 0;

	if (list_len)
		list[0] = 0;
	if (snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int)sizeof(path))
		return 0;
	dir = opendir(path);
	if (!dir)
		return 0;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		n++;
		if (list_len && strlen(list) + strlen(entry->d_name) + 3 < list_len) {
			if (list[0])
				strcat(list, ", ");
			strcat(list, entry->d_name);
		}
	}
	closedir(dir);
	return n;
}

static void disk_identity(const char *directory, struct disk *disk)
{
	static const char *const sources[] = { "wwid", "device/wwid", "serial", "device/serial" };
	char text[256];
	uint64_t hash = 0xcbf29ce484222325ULL;
	size_t n = 0;

	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++)
		if (attribute(directory, sources[i], text, sizeof(text)) && text[0])
			goto found;
	snprintf(text, sizeof(text), "%s-%llu", disk->name, (unsigned long long)disk->size_sectors);
found:
	for (const char *at = text; *at && n < IDENTITY_PLAIN; at++)
		disk->identity[n++] = isalnum((unsigned char)*at) || *at == '-' ? *at : '_';
	disk->identity[n] = 0;
	/* The end of a long one counts, too: an NVMe namespace without a UUID has its number there. */
	for (const char *at = text; *at; at++)
		hash = (hash ^ (unsigned char)*at) * 0x100000001b3ULL; /* FNV-1a */
	if (strlen(text) > IDENTITY_PLAIN)
		snprintf(disk->identity + n, sizeof(disk->identity) - n, "-%016llx",
			(unsigned long long)hash);
}

static void disk_support(const char *directory, struct disk *disk)
{
	char below[64];

	if (attribute_number(directory, "hidden")) {
		snprintf(disk->note, sizeof(disk->note),
			"%s is one hidden path of a multipath disk and cannot be followed yet.",
			disk->name);
	} else if (!disk->queues) {
		if (entries(directory, "slaves", below, sizeof(below)))
			snprintf(disk->note, sizeof(disk->note),
				"%s is bio-only (stacked, no request queue); name the disks below "
				"it instead: %s.",
				disk->name, below);
		else
			snprintf(disk->note, sizeof(disk->note),
				"%s is bio-only (no request queue), which this policy cannot "
				"follow.",
				disk->name);
	} else if (!disk->queue_depth) {
		snprintf(disk->note, sizeof(disk->note),
			"%s does not say how many tags its queues have.", disk->name);
	} else {
		disk->supported = true;
	}
}

static bool disk_read(const char *sysfs, const char *name, struct disk *disk)
{
	char directory[PATH_MAX], path[PATH_MAX], text[64];

	memset(disk, 0, sizeof(*disk));
	if (strlen(name) >= sizeof(disk->name) ||
		snprintf(directory, sizeof(directory), "%s/block/%s", sysfs, name) >=
			(int)sizeof(directory))
		return false;
	strcpy(disk->name, name);
	if (!attribute(directory, "dev", text, sizeof(text)) ||
		sscanf(text, "%u:%u", &disk->major, &disk->minor) != 2)
		return false;
	disk->diskseq = attribute_number(directory, "diskseq");
	disk->size_sectors = attribute_number(directory, "size");
	disk->queues = (uint32_t)entries(directory, "mq", NULL, 0);
	disk->queue_depth = (uint32_t)attribute_number(directory, "mq/0/nr_tags");
	snprintf(path, sizeof(path), "%.*s/device", (int)sizeof(path) - 8, directory);
	disk->physical = access(path, F_OK) == 0;
	disk_identity(directory, disk);
	disk_support(directory, disk);
	return true;
}

static int by_name(const void *a, const void *b)
{
	return strverscmp(((const struct disk *)a)->name, ((const struct disk *)b)->name);
}

int disk_scan(const char *sysfs, struct disk *disks, size_t max)
{
	char path[PATH_MAX];
	struct dirent *entry;
	size_t n = 0;
	DIR *dir;

	if (snprintf(path, sizeof(path), "%s/block", sysfs) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	dir = opendir(path);
	if (!dir)
		return -errno;
	while (n < max && (entry = readdir(dir)))
		if (entry->d_name[0] != '.' && disk_read(sysfs, entry->d_name, &disks[n]))
			n++;
	closedir(dir);
	qsort(disks, n, sizeof(*disks), by_name);
	return (int)n;
}

bool disk_matches(const struct disk *disk, const char *pattern, const char *sysfs)
{
	char path[PATH_MAX], real[PATH_MAX];
	const char *name = pattern;

	if (pattern[0] == '/') {
		if (!realpath(pattern, real))
			snprintf(real, sizeof(real), "%.*s", (int)sizeof(real) - 1, pattern);
		name = strrchr(real, '/') + 1;
	}
	if (fnmatch(name, disk->name, 0) == 0)
		return true;
	/* A partition lies in its disk's folder. */
	if (strpbrk(name, "*?[/") || !*name)
		return false;
	if (snprintf(path, sizeof(path), "%s/block/%s/%s/partition", sysfs, disk->name, name) >=
		(int)sizeof(path))
		return false;
	return access(path, F_OK) == 0;
}

bool disk_wanted(const struct disk *disk, const char *const *device, size_t n_device,
	const char *const *exclude, size_t n_exclude, const char *sysfs)
{
	for (size_t i = 0; i < n_exclude; i++)
		if (disk_matches(disk, exclude[i], sysfs))
			return false;
	if (!n_device)
		return disk->physical && disk->size_sectors;
	for (size_t i = 0; i < n_device; i++)
		if (disk_matches(disk, device[i], sysfs))
			return true;
	return false;
}
