// SPDX-License-Identifier: Apache-2.0
/*
 * test_procfs.c - the parsers of agent/telemetry/procfs.h: real files, files of other kernels, and text that is
 * none. Absent is absent, and never 0.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent/telemetry/procfs.h"

static void pairs_are_read_by_name(void **state)
{
	struct procfs_pair pair[] = { { .name = "pgpgin" }, { .name = "allocstall_*" },
		{ .name = "missing" }, { .name = "Dirty" }, { .name = "pgpg" } };

	(void)state;
	assert_int_equal(
		procfs_pairs("pgpgin 12\nallocstall_dma 1\nallocstall_normal 2\nDirty:   34 kB\n"
			     "pgpgout 7",
			pair, 5),
		3);
	assert_int_equal(pair[0].value, 12);
	assert_int_equal(pair[1].value, 3);
	assert_false(pair[2].present);
	assert_int_equal(pair[3].value, 34);
	assert_false(pair[4].present);
}

static void hostile_pairs_are_absent(void **state)
{
	static const char *const bad[] = { "", "\n\n\n", "a", "a ", "a -1", "a 1x", "a\n1",
		"a 0x10", "a: :1", "a 18446744073709551616", "a 99999999999999999999999999", " a 1",
		"ab 1", "a\v1", "a +1" };
	struct procfs_pair pair = { .name = "a" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (procfs_pairs(bad[i], &pair, 1) || pair.present)
			fail_msg("'%s' gave %llu", bad[i], (unsigned long long)pair.value);
	}
	assert_int_equal(procfs_pairs("a 18446744073709551615", &pair, 1), 1);
	assert_int_equal(pair.value, UINT64_MAX);
}

static void stat_of_a_real_machine(void **state)
{
	struct procfs_stat stat;

	(void)state;
	assert_true(procfs_stat("cpu  10 2 30 400 5 6 7 8 0 0\ncpu0 5 1 15 200 2 3 3 4 0 0\n"
				"cpu1 5 1 15 200 3 3 4 4 0 0\nintr 999 1 2 3\nctxt 77\nbtime 1\n"
				"processes 88\nprocs_running 3\nprocs_blocked 1\nsoftirq 5 1 1 1\n",
		&stat));
	assert_int_equal(stat.n_cpus, 2);
	assert_int_equal(stat.ticks[PROCFS_USER], 10);
	assert_int_equal(stat.ticks[PROCFS_SOFTIRQ], 7);
	assert_int_equal(stat.ticks[PROCFS_STEAL], 8);
	assert_int_equal(stat.pair[PROCFS_INTR].value, 999);
	assert_int_equal(stat.pair[PROCFS_CTXT].value, 77);
	assert_int_equal(stat.pair[PROCFS_FORKS].value, 88);
	assert_int_equal(stat.pair[PROCFS_RUNNING].value, 3);
	assert_int_equal(stat.pair[PROCFS_BLOCKED].value, 1);
	/* too few fields, or one that is no number: no share can be told */
	assert_false(procfs_stat("cpu  10 2 30 400 5 6 7\nctxt 1\n", &stat));
	assert_false(procfs_stat("cpu  10 2 30 400 5 6 -7 8\n", &stat));
	assert_false(procfs_stat("", &stat));
	assert_false(procfs_stat("cpu", &stat));
	assert_false(procfs_stat("cpu0 1 2 3 4 5 6 7 8\n", &stat));
}

static void loadavg_and_pressure(void **state)
{
	static const char *const bad[] = { "", "0.01", "0.01 0.02", "0.01 0.02 x", "1 2 3",
		"0.1 0.2 0.3 1/2 3", "0. 0. 0.", "-0.01 0.02 0.03", "0.01 0.02 0.", "nan nan nan" };
	struct procfs_pressure p;
	double load[3];

	(void)state;
	assert_true(procfs_loadavg("0.05 12.34 1.00 3/456 789\n", load));
	assert_true(load[0] == 0.05 && load[1] == 12.34 && load[2] == 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (procfs_loadavg(bad[i], load))
			fail_msg("'%s' was taken", bad[i]);
	}
	assert_true(procfs_pressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=123\n"
				    "full avg10=0.00 avg60=0.00 avg300=0.00 total=45\n",
		&p));
	assert_true(p.has_some && p.has_full && p.some_us == 123 && p.full_us == 45);
	assert_true(procfs_pressure("full avg10=0.00 avg60=0.00 avg300=0.00 total=9\n", &p));
	assert_true(!p.has_some && p.has_full && p.full_us == 9);
	assert_false(procfs_pressure("some avg10=1.00 total=\n", &p));
	assert_false(procfs_pressure("some total=-1\nfull total=x\n", &p));
	assert_false(procfs_pressure("some avg10=1.00\n total=7\n", &p)); /* of another line */
	assert_false(procfs_pressure("", &p));
}

static void tables_match_by_column(void **state)
{
	struct procfs_pair pair[] = { { .name = "OutSegs" }, { .name = "RetransSegs" },
		{ .name = "MaxConn" } };

	(void)state;
	assert_int_equal(
		procfs_table("Ip: Forwarding DefaultTTL\nIp: 1 64\n"
			     "Tcp: RtoAlgorithm MaxConn OutSegs RetransSegs\nTcp: 1 -1 1000 5\n",
			"Tcp", pair, 3),
		2);
	assert_int_equal(pair[0].value, 1000);
	assert_int_equal(pair[1].value, 5);
	assert_false(pair[2].present);
	assert_int_equal(procfs_table("Tcp: OutSegs\n", "Tcp", pair, 3), 0);
	assert_int_equal(procfs_table("Tcp: OutSegs RetransSegs\nTcp: 7\n", "Tcp", pair, 3), 1);
	assert_int_equal(procfs_table("TcpExt: OutSegs\nTcpExt: 7\n", "Tcp", pair, 3), 0);
	assert_int_equal(procfs_table("", "Tcp", pair, 3), 0);
	assert_int_equal(procfs_table("Tcp:", "Tcp", pair, 3), 0);
	assert_int_equal(procfs_table("Tcp:\nTcp:", "Tcp", pair, 3), 0);
}

static void disks_of_old_and_new_kernels(void **state)
{
	/* 11, 15 and 17 figures a line */
	const char *at =
		" 254       0 vda 1 2 3 4 5 6 7 8 9 10 11\n"
		" 259       1 nvme0n1p1 21 2 3 4 5 6 7 8 9 10 11 0 0 0 0\n"
		"   8       0 sda 31 2 3 4 5 6 7 8 9 10 11 0 0 0 0 1 2\n"
		"8 0 short 1 2 3\n"
		"8 0\n"
		"x y z\n"
		"8 0 name-that-is-longer-than-a-kernel-name-can-be 1 2 3 4 5 6 7 8 9 10 11\n"
		"4294967296 0 sdb 1 2 3 4 5 6 7 8 9 10 11\n"
		"8 0 sdc 1 2 3 4 5 6 7 -8 9 10 11\n"
		"7 7 loop7 41 2 3 4 5 6 7 8 9 10 11";
	struct procfs_disk disk;
	uint64_t bad = 0;

	(void)state;
	assert_true(procfs_disk_next(&at, &disk, &bad));
	assert_string_equal(disk.name, "vda");
	assert_true(disk.major == 254 && disk.minor == 0 && disk.reads == 1 &&
		    disk.read_sectors == 3 && disk.read_ms == 4 && disk.writes == 5 &&
		    disk.write_sectors == 7 && disk.write_ms == 8 && disk.in_flight == 9 &&
		    disk.busy_ms == 10 && disk.queue_ms == 11);
	assert_true(procfs_disk_next(&at, &disk, &bad) && disk.reads == 21);
	assert_true(procfs_disk_next(&at, &disk, &bad) && disk.reads == 31);
	assert_int_equal(bad, 0);
	assert_true(procfs_disk_next(&at, &disk, &bad) && disk.reads == 41);
	assert_int_equal(bad, 6);
	assert_false(procfs_disk_next(&at, &disk, &bad));
}

static void io_is_summed_over_devices(void **state)
{
	struct procfs_io io;

	(void)state;
	assert_true(procfs_io("8:0 rbytes=100 wbytes=20 rios=1 wios=2 dbytes=0 dios=0\n"
			      "259:0 rbytes=1 wbytes=2 rios=1\n",
		&io));
	assert_true(io.read_bytes == 101 && io.write_bytes == 22);
	assert_false(procfs_io("", &io));
	assert_false(procfs_io("8:0 \n", &io));
	assert_false(procfs_io("8:0 rbytes= wbytes=x\n", &io));
	assert_false(procfs_io("8:0 rbytes=\n9", &io)); /* the number of another line */
}

static void files_are_read_within_bounds(void **state)
{
	char dir[] = "/tmp/semantos-procfs-XXXXXX", path[64], text[8], longer[64];
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/file", dir);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs("0123456789", file);
	fclose(file);
	assert_int_equal(procfs_read(dir, "/file", text, sizeof(text)), 7);
	assert_string_equal(text, "0123456");
	assert_int_equal(procfs_read(dir, "/file", longer, sizeof(longer)), 10);
	assert_int_equal(procfs_read(dir, "/none", text, sizeof(text)), -ENOENT);
	assert_string_equal(text, "");
	assert_int_equal(procfs_read("", dir, text, sizeof(text)), -EISDIR);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs_are_read_by_name),
		cmocka_unit_test(hostile_pairs_are_absent),
		cmocka_unit_test(stat_of_a_real_machine),
		cmocka_unit_test(loadavg_and_pressure),
		cmocka_unit_test(tables_match_by_column),
		cmocka_unit_test(disks_of_old_and_new_kernels),
		cmocka_unit_test(io_is_summed_over_devices),
		cmocka_unit_test(files_are_read_within_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
