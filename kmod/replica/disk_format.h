/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * disk_format.h - what a leg of a replica volume carries on disk. Shared by the module and semantosctl.
 *
 * A leg's area: two slots for the superblock (sectors 0 and 8), the map of regions that may differ between legs (sectors
 * 16 to 2047), then the data. Everything is little endian. Generation N goes to slot N % 2, so that a torn write
 * destroys at most the slot that nobody relies on. docs/volume.md says what a generation means.
 */
#ifndef SEMANTOS_REPLICA_DISK_FORMAT_H
#define SEMANTOS_REPLICA_DISK_FORMAT_H

#include <linux/types.h>

#define REPLICA_MAGIC 0x31304c5045524d53ULL /* "SMREPL01" */
#define REPLICA_MAP_MAGIC 0x50414d52U /* "RMAP" */
#define REPLICA_DISK_VERSION 1
#define REPLICA_MAX_LEGS 8
#define REPLICA_PAST 40

#define REPLICA_BLOCK 4096
#define REPLICA_SLOT_SECTORS 8
#define REPLICA_MAP_SECTOR 16
#define REPLICA_META_SECTORS 2048 /* of the area, before the data */
#define REPLICA_MAP_BLOCKS ((REPLICA_META_SECTORS - REPLICA_MAP_SECTOR) / 8)

/* One sector, so that a disk writes it whole or not at all. */
struct replica_super {
	__le64 magic;
	__le32 version;
	__le32 crc; /* crc32c of the 512 bytes, with this field 0 */
	__u8 uuid[16]; /* of the volume */
	__le32 leg; /* which one this is */
	__le32 nr_legs;
	__le64 generation; /* from 1; one more each time that the set of legs in sync changes */
	__le64 id; /* random, of this generation: two histories that parted have different ones */
	__le32 out; /* bit i: leg i is not in sync */
	__le32 region_sectors; /* a power of two */
	__le64 data_sectors; /* length of the volume */
	__le64 left
		[REPLICA_MAX_LEGS]; /* of a leg that is out: the generation it surely held when it was last in sync */
	__le64 past[REPLICA_PAST]; /* ids of the generations before, the latest first; 0 = none */
	__u8 reserved[56];
};
_Static_assert(sizeof(struct replica_super) == 512, "one sector");

/* Bit j of block i: region i * REPLICA_MAP_BITS + j may differ between the legs. A block whose sum is wrong is all ones. */
struct replica_map_block {
	__le32 magic;
	__le32 crc; /* crc32c of the block, with this field 0 */
	__le32 index;
	__le32 reserved;
	__u8 uuid[16];
	__u8 bits[REPLICA_BLOCK - 32];
};
_Static_assert(sizeof(struct replica_map_block) == REPLICA_BLOCK, "one block");

#define REPLICA_MAP_BITS (8 * (REPLICA_BLOCK - 32))
#define REPLICA_MAX_REGIONS ((__u64)REPLICA_MAP_BLOCKS * REPLICA_MAP_BITS)
#define REPLICA_MAX_REGION_SECTORS (1U << 30)

#endif
