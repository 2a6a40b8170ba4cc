/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_disk.h - what is on a device that is, or is to be, a leg of a replica volume.
 *
 * Knows signatures (through libblkid) and the legs' own superblocks (kmod/replica/disk_format.h). Keeps no descriptor
 * open between calls. Errors are -errno.
 */
#ifndef SEMANTOS_CLI_VOLUME_DISK_H
#define SEMANTOS_CLI_VOLUME_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "kmod/replica/disk_format.h"

struct volume_disk {
	const char *path; /* as given; not owned */
	uint64_t sectors;
	char signature[80]; /* what libblkid found, for people; "" = nothing */
	bool is_leg; /* carries a valid superblock of a volume: */
	uint8_t uuid[16];
	uint32_t leg, nr_legs, region_sectors, out;
	uint64_t generation, data_sectors;
};

/*
 * Look at a block device. -ENOTBLK: it is none. -EBUSY: mounted, part of another device, or else held. A leg of a
 * running volume is held as well. 0: *disk is filled.
 */
int volume_disk_look(const char *path, struct volume_disk *disk);

/* Remove every signature libblkid knows, and our superblocks. Waits until that is on the medium. */
int volume_disk_wipe(const char *path);

/* crc32c as the module computes it, without the final inversion. */
uint32_t volume_crc(const void *data, size_t bytes);

#endif
