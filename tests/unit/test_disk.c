// SPDX-License-Identifier: Apache-2.0
/*
 * test_disk.c - which disks there are and which of them a policy follows, read from made-up sysfs trees.
 */
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/core/disk.h"

static char sysfs[64];
static struct disk disks[DISK_MAX];
static size_t n_disks;

static void make_folders(const char *path)
{
	char part[PATH_MAX];

	snprintf(part, sizeof(part), "%s", path);
	for (char *at = part + 1; *at; at++) {
		if (*at != '/')
			continue;
		*at = 0;
		mkdir(part, 0755);
		*at = '/';
	}
}

/* <sysfs>/block/<name>/<attribute> = bytes; an attribute ending in '/' is a folder. */
static void put_bytes(const char *name, const char *attribute, const void *bytes, size_t n)
{
	char path[PATH_MAX];
	FILE *file;

	snprintf(path, sizeof(path), "%s/block/%s/%s", sysfs, name, attribute);
	make_folders(path);
	if (attribute[strlen(attribute) - 1] == '/')
		return;
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, n, file), n);
	fclose(file);
}

static void put(const char *name, const char *attribute, const char *text)
{
	put_bytes(name, attribute, text, strlen(text));
}

/* A disk with hardware queues, backed by a device. */
static void put_disk(const char *name, const char *dev, int queues, const char *tags)
{
	char attribute[64];

	put(name, "dev", dev);
	put(name, "size", "2097152\n");
	put(name, "diskseq", "7\n");
	put(name, "hidden", "0\n");
	put(name, "device/", "");
	for (int i = 0; i < queues; i++) {
		snprintf(attribute, sizeof(attribute), "mq/%d/nr_tags", i);
		put(name, attribute, tags);
	}
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static int setup(void **state)
{
	char block[80];

	(void)state;
	strcpy(sysfs, "/tmp/semantos-sysfs-XXXXXX");
	if (!mkdtemp(sysfs))
		return -1;
	snprintf(block, sizeof(block), "%s/block", sysfs);
	return mkdir(block, 0755);
}

static int teardown(void **state)
{
	(void)state;
	return nftw(sysfs, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const struct disk *scan(const char *name)
{
	int n = disk_scan(sysfs, disks, DISK_MAX);

	assert_true(n >= 0);
	n_disks = (size_t)n;
	for (size_t i = 0; i < n_disks; i++)
		if (strcmp(disks[i].name, name) == 0)
			return &disks[i];
	return NULL;
}

static bool followed_by_default(const struct disk *disk)
{
	return disk_wanted(disk, NULL, 0, NULL, 0, sysfs);
}

static void disks_with_queues_are_followed(void **state)
{
	const struct disk *disk;

	(void)state;
	put_disk("vda", "254:0\n", 2, "256\n");
	put("vda", "serial", "  disk one \n");
	put_disk("nvme0n1", "259:3\n", 8, "1023\n");
	put("nvme0n1", "wwid", "eui.0025385b71b0c1d2\n");
	put_disk("sda", "8:16\n", 1, "32\n");
	put("sda", "device/wwid", "naa.5002538e40a1b2c3\n");
	put("sda", "sda1/partition", "1\n");
	disk = scan("vda");
	assert_non_null(disk);
	assert_int_equal(n_disks, 3);
	assert_string_equal(disks[0].name, "nvme0n1"); /* by name */
	assert_int_equal(disk->major, 254);
	assert_int_equal(disk->minor, 0);
	assert_int_equal(disk->diskseq, 7);
	assert_int_equal(disk->queues, 2);
	assert_int_equal(disk->queue_depth, 256);
	assert_int_equal(disk->size_sectors, 2097152);
	assert_int_equal(disk_kernel_dev(disk), 254u << 20);
	assert_string_equal(disk->identity, "disk_one");
	assert_true(disk->physical && disk->supported && followed_by_default(disk));
	assert_string_equal(disk->note, "");
	assert_string_equal(scan("nvme0n1")->identity, "eui_0025385b71b0c1d2");
	disk = scan("sda");
	assert_string_equal(disk->identity, "naa_5002538e40a1b2c3");
	assert_true(disk->supported);
	assert_int_equal(disk_kernel_dev(disk), 8u << 20 | 16);
	assert_null(scan("sda1")); /* a partition is no disk of its own */
}

static void bio_only_disks_name_what_lies_below(void **state)
{
	const struct disk *disk;

	(void)state;
	put("dm-0", "dev", "253:0\n");
	put("dm-0", "size", "4096\n");
	put("dm-0", "slaves/sda/", "");
	put("dm-0", "slaves/sdb/", "");
	put("md127", "dev", "9:127\n");
	put("md127", "slaves/nvme0n1/", "");
	put("zram0", "dev", "252:0\n");
	put("zram0", "size", "4096\n");
	disk = scan("dm-0");
	assert_non_null(disk);
	assert_false(disk->supported || disk->physical || followed_by_default(disk));
	assert_non_null(strstr(disk->note, "dm-0 is bio-only"));
	assert_non_null(strstr(disk->note, "sda"));
	assert_non_null(strstr(disk->note, "sdb"));
	assert_non_null(strstr(scan("md127")->note, "nvme0n1."));
	assert_non_null(strstr(scan("zram0")->note, "no request queue"));
	assert_false(scan("zram0")->supported);
}

/* Longer names than the note has room for are left out; it stays a sentence. */
static void many_legs_stay_a_sentence(void **state)
{
	const struct disk *disk;
	char leg[64];

	(void)state;
	put("dm-1", "dev", "253:1\n");
	for (int i = 0; i < 40; i++) {
		snprintf(leg, sizeof(leg), "slaves/nvme%dn1/", i);
		put("dm-1", leg, "");
	}
	disk = scan("dm-1");
	assert_true(strlen(disk->note) < sizeof(disk->note) - 1);
	assert_int_equal(disk->note[strlen(disk->note) - 1], '.');
}

static void what_only_looks_like_a_disk_is_left_alone(void **state)
{
	(void)state;
	put_disk("nvme0c0n1", "259:4\n", 4, "64\n"); /* one path of a multipath disk */
	put("nvme0c0n1", "hidden", "1\n");
	put_disk("sdc", "8:32\n", 1, "32\n"); /* card reader without a card */
	put("sdc", "size", "0\n");
	put("loop0", "dev", "7:0\n");
	put("loop0", "size", "8192\n");
	put("loop0", "mq/0/nr_tags", "128\n");
	put_disk("vdz", "254:9\n", 1, "none\n");
	assert_false(scan("nvme0c0n1")->supported);
	assert_non_null(strstr(scan("nvme0c0n1")->note, "hidden path"));
	assert_false(followed_by_default(scan("sdc")));
	assert_true(scan("sdc")->supported); /* and is followed when named */
	assert_true(scan("loop0")->supported);
	assert_false(scan("loop0")->physical);
	assert_false(followed_by_default(scan("loop0")));
	assert_false(scan("vdz")->supported);
	assert_non_null(strstr(scan("vdz")->note, "tags"));
}

static void odd_attributes_do_no_harm(void **state)
{
	char long_text[8192], name[80];
	const struct disk *disk;

	(void)state;
	memset(long_text, 'w', sizeof(long_text));
	put_disk("bad0", "no numbers\n", 1, "32\n"); /* dev cannot be read */
	put_disk("bad1", "\n", 1, "32\n");
	put_disk("bad2", "8\n", 1, "32\n");
	put_disk("sdd", "8:48", 1, "32"); /* no newline */
	put("sdd", "size", "\n");
	put_bytes("sdd", "device/wwid", long_text, sizeof(long_text));
	put_bytes("sdd", "wwid", "a\0b\n", 4);
	put_disk("sde", "8:64\n", 1, "32\n");
	put("sde", "device/wwid", " \t \n");
	put("sde", "serial", "../../etc/passwd\n");
	put_disk("sdf", "8:80\n", 1, "32\n");
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	put_disk(name, "8:96\n", 1, "32\n");
	disk = scan("sdd");
	assert_int_equal(n_disks, 3); /* sdd, sde, sdf */
	assert_int_equal(disk->size_sectors, 0);
	assert_string_equal(disk->identity, "a");
	assert_string_equal(scan("sde")->identity, "______etc_passwd");
	assert_string_equal(scan("sdf")->identity, "sdf-2097152"); /* nothing names it */
	put_bytes("sdf", "wwid", long_text, sizeof(long_text));
	disk = scan("sdf");
	assert_true(strlen(disk->identity) < sizeof(disk->identity));
	assert_int_equal(disk_scan("/nowhere", disks, DISK_MAX), -ENOENT);
	assert_int_equal(disk_scan(sysfs, disks, 2), 2);
}

/* An NVMe namespace that has no UUID is named by serial, model and, last of all, its number. */
static void long_names_stay_apart(void **state)
{
	const char *const wwid =
		"nvme.144d-533634434e46305233303432313541-53414d53554e47204d5a564c323"
		"1543048434c522d3030423030-0000000%d\n";
	char text[256], first[sizeof(disks[0].identity)];

	(void)state;
	put_disk("nvme1n1", "259:1\n", 1, "32\n");
	snprintf(text, sizeof(text), wwid, 1);
	put("nvme1n1", "wwid", text);
	put_disk("nvme1n2", "259:2\n", 1, "32\n");
	snprintf(text, sizeof(text), wwid, 2);
	put("nvme1n2", "wwid", text);
	snprintf(first, sizeof(first), "%s", scan("nvme1n1")->identity);
	assert_string_not_equal(first, scan("nvme1n2")->identity);
	assert_string_equal(first, scan("nvme1n1")->identity);
}

static void names_globs_links_and_partitions_match(void **state)
{
	char link_path[128], target[128], glob[160];
	const char *device[] = { "sd*", "vdb" }, *exclude[] = { "sdb" };
	struct disk disk;

	(void)state;
	put_disk("sda", "8:0\n", 1, "32\n");
	put("sda", "sda1/partition", "1\n");
	put("sda", "sda1/dev", "8:1\n");
	disk = *scan("sda");
	assert_true(disk_matches(&disk, "sda", sysfs));
	assert_true(disk_matches(&disk, "sd?", sysfs));
	assert_true(disk_matches(&disk, "sd[ab]", sysfs));
	assert_true(disk_matches(&disk, "*", sysfs));
	assert_true(disk_matches(&disk, "/dev/sda", sysfs));
	assert_true(disk_matches(&disk, "/dev/sd*", sysfs));
	assert_true(disk_matches(&disk, "sda1", sysfs));
	assert_true(disk_matches(&disk, "/dev/sda1", sysfs));
	assert_false(disk_matches(&disk, "sda2", sysfs));
	assert_false(disk_matches(&disk, "sd", sysfs));
	assert_false(disk_matches(&disk, "sdaa", sysfs));
	assert_false(disk_matches(&disk, "", sysfs));
	assert_false(disk_matches(&disk, "/", sysfs));
	assert_false(disk_matches(&disk, "..", sysfs));
	assert_false(disk_matches(&disk, "queue", sysfs));
	/* /dev/disk/by-id/... and the like are links. */
	snprintf(target, sizeof(target), "%s/sda1", sysfs);
	fclose(fopen(target, "w"));
	snprintf(link_path, sizeof(link_path), "%s/by-id", sysfs);
	assert_int_equal(symlink(target, link_path), 0);
	assert_true(disk_matches(&disk, link_path, sysfs));
	snprintf(glob, sizeof(glob), "%s/by-*", sysfs);
	assert_false(disk_matches(&disk, glob, sysfs));
	assert_true(disk_wanted(&disk, device, 2, exclude, 1, sysfs));
	exclude[0] = "/dev/sda1";
	assert_false(disk_wanted(&disk, device, 2, exclude, 1, sysfs));
	assert_false(disk_wanted(&disk, NULL, 0, exclude, 1, sysfs));
	assert_false(disk_wanted(&disk, device + 1, 1, NULL, 0, sysfs));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(disks_with_queues_are_followed),
		TEST(bio_only_disks_name_what_lies_below),
		TEST(many_legs_stay_a_sentence),
		TEST(what_only_looks_like_a_disk_is_left_alone),
		TEST(odd_attributes_do_no_harm),
		TEST(long_names_stay_apart),
		TEST(names_globs_links_and_partitions_match),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
