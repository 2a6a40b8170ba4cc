// SPDX-License-Identifier: Apache-2.0
/*
 * replaylog.c - reads what dm-log-writes recorded, and writes a part of it to a disk.
 *
 *   replaylog list LOG                  a line for each entry: "INDEX write|flush|fua SECTOR SECTORS", "INDEX mark TEXT"
 *   replaylog apply LOG DISK FROM TO    carries out the writes from entry FROM up to, and without, entry TO
 * The format (the kernel's Documentation/admin-guide/device-mapper/log-writes.rst): a superblock, then for each entry
 * a head of one sector, behind it the data. Nothing in the log is trusted: whatever lies outside is an error. Must
 * never be linked to anything of the product. Exit: 0, or 1 with a sentence.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_MAGIC 0x6a736677736872ULL
#define SECTOR 512
#define FLAG_FLUSH 1
#define FLAG_FUA 2
#define FLAG_DISCARD 4
#define FLAG_MARK 8

struct log_super {
	uint64_t magic, version, nr_entries;
	uint32_t sectorsize;
} __attribute__((packed));

struct log_entry {
	uint64_t sector, nr_sectors, flags, data_len;
} __attribute__((packed));

static int full(int fd, void *to, size_t n, uint64_t at)
{
	return pread(fd, to, n, (off_t)at) == (ssize_t)n ? 0 : -EIO;
}

static void list(uint64_t index, const struct log_entry *e, const char *text)
{
	uint64_t flags = le64toh(e->flags);

	if (flags & FLAG_MARK)
		printf("%" PRIu64 " mark %s\n", index, text);
	else
		printf("%" PRIu64 " %s %" PRIu64 " %" PRIu64 "\n", index,
			flags & FLAG_FLUSH ? "flush"
			: flags & FLAG_FUA ? "fua"
					   : "write",
			le64toh(e->sector), le64toh(e->nr_sectors));
}

static int apply(int log, int disk, uint64_t at, const struct log_entry *e)
{
	static char *buffer;
	static size_t size;
	size_t n = le64toh(e->nr_sectors) * SECTOR;

	if (n > 64 << 20)
		return -EINVAL;
	if (n > size) {
		free(buffer);
		buffer = malloc(n);
		size = buffer ? n : 0;
		if (!buffer)
			return -ENOMEM;
	}
	if (full(log, buffer, n, at))
		return -EIO;
	return pwrite(disk, buffer, n, (off_t)(le64toh(e->sector) * SECTOR)) == (ssize_t)n ? 0
											   : -EIO;
}

int main(int argc, char **argv)
{
	int writes = argc == 6 && !strcmp(argv[1], "apply"), log, disk = -1;
	uint64_t from = 0, to = UINT64_MAX, at = SECTOR, i;
	char head[SECTOR];
	struct log_super super;

	if (!writes && (argc != 3 || strcmp(argv[1], "list"))) {
		fprintf(stderr, "Usage: replaylog list LOG | apply LOG DISK FROM TO\n");
		return 1;
	}
	log = open(argv[2], O_RDONLY);
	if (writes) {
		disk = open(argv[3], O_WRONLY);
		from = strtoull(argv[4], NULL, 10);
		to = strtoull(argv[5], NULL, 10);
	}
	if (log < 0 || (writes && disk < 0) || full(log, &super, sizeof(super), 0)) {
		printf("the log or the disk cannot be opened: %s\n", strerror(errno));
		return 1;
	}
	if (le64toh(super.magic) != LOG_MAGIC || le32toh(super.sectorsize) != SECTOR) {
		printf("%s holds no log of sectors of %d bytes\n", argv[2], SECTOR);
		return 1;
	}
	for (i = 0; i < le64toh(super.nr_entries) && i < to; i++) {
		struct log_entry *e = (struct log_entry *)head;
		uint64_t flags, data = at + SECTOR;
		int err = full(log, head, SECTOR, at);

		flags = le64toh(e->flags);
		head[SECTOR - 1] = 0;
		if (!err && !writes)
			list(i, e, head + sizeof(*e));
		at = data;
		if (!err && !(flags & (FLAG_DISCARD | FLAG_MARK))) {
			if (writes && i >= from && e->nr_sectors)
				err = apply(log, disk, data, e);
			at += le64toh(e->nr_sectors) * SECTOR;
		}
		if (err) {
			printf("entry %" PRIu64 " cannot be %s: %s\n", i,
				writes ? "carried out" : "read", strerror(-err));
			return 1;
		}
	}
	if (writes && (fsync(disk) || close(disk))) {
		printf("%s: %s\n", argv[3], strerror(errno));
		return 1;
	}
	return 0;
}
