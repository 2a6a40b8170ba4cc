/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_disk.c - signatures and superblocks of devices; see volume_disk.h.
 *
 * Opens a device exclusively before anything is said about it: what the kernel or a file system holds is busy. Must
 * never write to a device but in volume_disk_wipe().
 */
#include "agent/cli/volume_disk.h"

#include <blkid/blkid.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

uint32_t volume_crc(const void *data, size_t bytes)
{
	const uint8_t *at = data;
	uint32_t crc = 0xffffffffU;

	while (bytes--) {
		crc ^= *at++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78U : 0);
	}
	return crc;
}

static int open_exclusive(const char *path, int flags)
{
	struct stat st;
	int fd = open(path, flags | O_EXCL | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISBLK(st.st_mode))
		return fd;
	close(fd);
	return -ENOTBLK;
}

/* The newer of the two slots that hold a valid superblock. */
static int read_super(int fd, struct volume_disk *disk)
{
	struct replica_super s;

	for (int slot = 0; slot < 2; slot++) {
		uint32_t crc;

		if (pread(fd, &s, sizeof(s), (off_t)slot * REPLICA_SLOT_SECTORS * 512) !=
			(ssize_t)sizeof(s))
			return -EIO;
		crc = le32toh(s.crc);
		s.crc = 0;
		if (le64toh(s.magic) != REPLICA_MAGIC || crc != volume_crc(&s, sizeof(s)))
			continue;
		if (disk->is_leg && le64toh(s.generation) < disk->generation)
			continue;
		disk->is_leg = true;
		memcpy(disk->uuid, s.uuid, sizeof(disk->uuid));
		disk->leg = le32toh(s.leg);
		disk->nr_legs = le32toh(s.nr_legs);
		disk->region_sectors = le32toh(s.region_sectors);
		disk->out = le32toh(s.out);
		disk->generation = le64toh(s.generation);
		disk->data_sectors = le64toh(s.data_sectors);
	}
	return 0;
}

static blkid_probe new_probe(int fd)
{
	blkid_probe probe = blkid_new_probe();

	if (!probe)
		return NULL;
	if (blkid_probe_set_device(probe, fd, 0, 0) || blkid_probe_enable_superblocks(probe, 1) ||
		blkid_probe_set_superblocks_flags(
			probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL | BLKID_SUBLKS_MAGIC) ||
		blkid_probe_enable_partitions(probe, 1) ||
		blkid_probe_set_partitions_flags(probe, BLKID_PARTS_MAGIC)) {
		blkid_free_probe(probe);
		return NULL;
	}
	return probe;
}

/* One signature in words. Not knowing is an error: an unknown disk must not look empty. */
static int read_signature(int fd, struct volume_disk *disk)
{
	blkid_probe probe = new_probe(fd);
	const char *type = NULL, *label = NULL;
	int found, err = 0;

	if (!probe)
		return -ENOMEM;
	found = blkid_do_probe(probe);
	if (found < 0)
		err = -EIO;
	if (found == 0) {
		if (blkid_probe_lookup_value(probe, "TYPE", &type, NULL) &&
			blkid_probe_lookup_value(probe, "PTTYPE", &type, NULL))
			type = "something";
		if (blkid_probe_lookup_value(probe, "LABEL", &label, NULL))
			label = NULL;
		snprintf(disk->signature, sizeof(disk->signature),
			label ? "%.30s, \"%.40s\"" : "%.30s", type, label);
	}
	blkid_free_probe(probe);
	return err;
}

int volume_disk_look(const char *path, struct volume_disk *disk)
{
	uint64_t bytes;
	int fd, err;

	memset(disk, 0, sizeof(*disk));
	disk->path = path;
	fd = open_exclusive(path, O_RDONLY);
	if (fd < 0)
		return fd;
	err = ioctl(fd, BLKGETSIZE64, &bytes) ? -errno : 0;
	if (!err) {
		disk->sectors = bytes / 512;
		err = read_super(fd, disk);
	}
	if (!err)
		err = read_signature(fd, disk);
	close(fd);
	return err;
}

int volume_disk_wipe(const char *path)
{
	static const char zeros[2 * REPLICA_SLOT_SECTORS * 512];
	blkid_probe probe;
	int fd = open_exclusive(path, O_RDWR), err = 0;

	if (fd < 0)
		return fd;
	probe = new_probe(fd);
	if (!probe)
		err = -ENOMEM;
	while (!err && blkid_do_probe(probe) == 0)
		if (blkid_do_wipe(probe, 0))
			err = -EIO;
	blkid_free_probe(probe);
	if (!err && pwrite(fd, zeros, sizeof(zeros), 0) != (ssize_t)sizeof(zeros))
		err = -EIO;
	if (!err && fsync(fd))
		err = -errno;
	close(fd);
	return err;
}
