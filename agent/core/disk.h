/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.h - which disks there are, and whether a block policy can follow them.
 *
 * Reads sysfs only (under `sysfs`, so that tests give it a made-up tree). A disk is followed through its request
 * tags; a bio-only device (dm, md, zram) has none and is named as unsupported, with the disks below it.
 */
#ifndef SEMANTOS_CORE_DISK_H
#define SEMANTOS_CORE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DISK_MAX 1024

struct disk {
	char name[32]; /* kernel name: vda, nvme0n1 */
	uint32_t major, minor;
	uint64_t diskseq; /* 0 on kernels before 5.15 */
	uint32_t queues, queue_depth; /* hardware queues and tags of each; 0 = bio-only */
	uint64_t size_sectors;
	char identity
		[96]; /* names the saved model: WWID, else serial, else name and size; safe as a file name */
	bool physical; /* backed by a device, not stacked on other block devices */
	bool supported;
	char note[160]; /* why not, and what to use instead */
};

/* The kernel's own dev_t, as BPF sees it. */
static inline uint32_t disk_kernel_dev(const struct disk *disk)
{
	return disk->major << 20 | disk->minor;
}

/* Fill disks[max] from <sysfs>/block. Number of disks, or -errno. */
int disk_scan(const char *sysfs, struct disk *disks, size_t max);

/*
 * Does an operator's pattern mean this disk? A name, a glob, a /dev path (links followed), or a partition of it.
 */
bool disk_matches(const struct disk *disk, const char *pattern, const char *sysfs);

/*
 * Should it be followed? Those the operator named by device[n_device], or every physical disk with a medium in it when
 * none is named; less those named by exclude[n_exclude].
 */
bool disk_wanted(const struct disk *disk, const char *const *device, size_t n_device,
	const char *const *exclude, size_t n_exclude, const char *sysfs);

#endif
