// SPDX-License-Identifier: Apache-2.0
/*
 * test_telemetry.c - snapshots of made-up machines, below a root of the test's own: what is told, what is left out,
 * what is counted, and who is woken. Without the kernel's half; tests/bpf/test_telemetry_hooks has that.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/telemetry/telemetry.h"

static char root[64];

static void put(const char *path, const char *text)
{
	char full[PATH_MAX];
	FILE *file;

	snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *at = full + strlen(root) + 1; *at; at++) {
		if (*at == '/') {
			*at = 0;
			mkdir(full, 0755);
			*at = '/';
		}
	}
	if (!text) {
		mkdir(full, 0755);
		return;
	}
	file = fopen(full, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int make_root(void **state)
{
	(void)state;
	strcpy(root, "/tmp/semantos-telemetry-XXXXXX");
	return mkdtemp(root) ? 0 : -1;
}

static int drop_root(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

static struct telemetry *begin(const char *const *device, uint32_t n_device)
{
	struct telemetry_options options = { .root = root, .device = device, .n_device = n_device };
	struct telemetry *telemetry = telemetry_new(&options);

	assert_non_null(telemetry);
	return telemetry;
}

static uint64_t loss(struct telemetry *telemetry, const char *name)
{
	struct telemetry_view view;
	uint64_t value = UINT64_MAX;

	assert_int_equal(telemetry_view(telemetry, &view), 0);
	for (int i = 0; i < TELEMETRY_LOSSES; i++) {
		assert_non_null(view.loss[i].name);
		if (strcmp(view.loss[i].name, name) == 0)
			value = view.loss[i].value;
	}
	telemetry_view_free(&view);
	assert_true(value != UINT64_MAX);
	return value;
}

static double value(struct telemetry *telemetry, const char *name, const char *label)
{
	double figure = NAN;
	uint64_t number;

	return telemetry_figure(telemetry, name, label, TELEMETRY_VALUE, &figure, &number) ? NAN
											   : figure;
}

static int known(struct telemetry *telemetry, const char *name, const char *label)
{
	double figure;
	uint64_t number;

	return telemetry_figure(telemetry, name, label, TELEMETRY_VALUE, &figure, &number);
}

static void an_empty_machine_tells_nothing(void **state)
{
	struct telemetry *telemetry = begin(NULL, 0);
	struct telemetry_view view;

	(void)state;
	assert_int_equal(telemetry_view(telemetry, &view), 0);
	assert_int_equal(view.number, 0);
	telemetry_view_free(&view);
	telemetry_take(telemetry);
	telemetry_take(telemetry);
	assert_int_equal(telemetry_view(telemetry, &view), 0);
	assert_int_equal(view.number, 2);
	assert_int_equal(view.n_metrics, 1);
	assert_string_equal(metric_defs[view.metric[0].def].name, "own_cpu");
	assert_int_equal(loss(telemetry, "files_unreadable"), 0);
	assert_int_equal(loss(telemetry, "lines_unparsed"), 0);
	telemetry_view_free(&view);
	telemetry_free(telemetry);
}

static void a_machine_with_v1_groups(void **state)
{
	struct telemetry *telemetry;
	double figure;
	uint64_t number;

	(void)state;
	put("/proc/stat", "cpu  100 0 100 1000 0 0 0 0 0 0\ncpu0 1 0 0 0 0 0 0 0 0 0\ncpu1 1 0 0 0 "
			  "0 0 0 0 0 0\n"
			  "ctxt 1000\nprocs_running 3\n");
	put("/proc/loadavg", "0.50 1.25 2.00 1/2 3\n");
	put("/proc/vmstat",
		"workingset_refault_file 10\npgpgin 100\nallocstall_dma 1\nallocstall_normal 1\n");
	put("/proc/meminfo", "MemFree: 1000 kB\nDirty: 8 kB\n");
	put("/proc/pressure/io",
		"some avg10=0.00 avg60=0.00 avg300=0.00 total=1000\nfull total=0\n");
	put("/proc/diskstats",
		"254 0 vda 100 0 800 50 10 0 80 5 0 40 60\n7 0 loop0 9 0 0 0 0 0 0 0 0 0 0\n"
		"254 1 vda1 100 0 800 50 10 0 80 5 0 40 60\n253 0 dm-0 9 0 0 0 0 0 0 0 0 0 0\n");
	put("/sys/block/vda/device", NULL);
	put("/sys/block/loop0", NULL);
	put("/sys/block/dm-0", NULL);
	put("/sys/fs/cgroup/memory/a/memory.usage_in_bytes", "1\n");
	telemetry = begin(NULL, 0);
	telemetry_take(telemetry);
	assert_true(value(telemetry, "load_5m", "") == 1.25);
	assert_true(value(telemetry, "memory_free", "") == 1000 * 1024);
	assert_true(value(telemetry, "tasks_running", "") == 3);
	assert_int_equal(known(telemetry, "psi_io_some", ""), -ENODATA); /* one look is no rate */
	assert_int_equal(known(telemetry, "memory_anon", ""), -ENOENT);
	assert_int_equal(known(telemetry, "disk_reads", "loop0"), -ENOENT);
	assert_int_equal(known(telemetry, "disk_reads", "vda1"), -ENOENT);
	assert_int_equal(known(telemetry, "disk_reads", "dm-0"), -ENOENT);
	assert_int_equal(known(telemetry, "cgroup_memory", "memory"), -ENOENT);
	put("/proc/stat", "cpu  150 0 100 1150 0 0 0 0 0 0\ncpu0 1 0 0 0 0 0 0 0 0 0\ncpu1 1 0 0 0 "
			  "0 0 0 0 0 0\n"
			  "ctxt 3000\nprocs_running 4\n");
	put("/proc/vmstat",
		"workingset_refault_file 30\npgpgin 100\nallocstall_dma 2\nallocstall_normal 3\n");
	put("/proc/diskstats", "254 0 vda 300 0 800 50 10 0 80 5 0 40 60\n");
	usleep(20000);
	telemetry_take(telemetry);
	/* the interval is real time here, so only ratios of rates are known */
	assert_true(fabs(value(telemetry, "cpu_idle", "") / value(telemetry, "cpu_user", "") - 3) <
		    1e-5);
	assert_true(fabs(value(telemetry, "context_switches", "") /
				    value(telemetry, "refault_file", "") -
			    100) < 1e-3);
	assert_true(
		fabs(value(telemetry, "refault_file", "") / value(telemetry, "alloc_stalls", "") -
			20.0 / 3) < 1e-4);
	assert_true(value(telemetry, "page_in", "") == 0);
	assert_true(fabs(value(telemetry, "disk_reads", "vda") /
				    value(telemetry, "context_switches", "") -
			    0.1) < 1e-5);
	assert_int_equal(
		telemetry_figure(telemetry, "page_in", "", TELEMETRY_PER_S, &figure, &number), 0);
	assert_int_equal(number, 2);
	assert_int_equal(
		telemetry_figure(telemetry, "load_1m", "", TELEMETRY_P99, &figure, &number), 0);
	assert_true(figure == 0.5);
	assert_int_equal(
		telemetry_figure(telemetry, "load_1m", "", TELEMETRY_PER_S, &figure, &number),
		-ENODATA);
	assert_int_equal(loss(telemetry, "lines_unparsed"), 0);
	telemetry_free(telemetry);
}

static void a_machine_with_v2_groups(void **state)
{
	struct telemetry *telemetry;

	(void)state;
	put("/sys/fs/cgroup/cgroup.controllers", "cpu memory io\n");
	put("/sys/fs/cgroup/system.slice/cpu.stat",
		"usage_usec 1000\nuser_usec 1\nthrottled_usec 0\n");
	put("/sys/fs/cgroup/system.slice/memory.current", "4096\n");
	put("/sys/fs/cgroup/system.slice/io.stat", "8:0 rbytes=100 wbytes=20 rios=1\n");
	put("/sys/fs/cgroup/bad\x1b[2J/memory.current", "max\n");
	put("/sys/fs/cgroup/odd\x01name/memory.current", "1\n");
	telemetry = begin(NULL, 0);
	telemetry_take(telemetry);
	usleep(10000);
	put("/sys/fs/cgroup/system.slice/cpu.stat",
		"usage_usec 21000\nuser_usec 1\nthrottled_usec 0\n");
	telemetry_take(telemetry);
	assert_true(value(telemetry, "cgroup_memory", "system.slice") == 4096);
	assert_true(value(telemetry, "cgroup_cpu", "system.slice") > 0.1);
	assert_true(value(telemetry, "cgroup_cpu", "system.slice") <= 2);
	assert_true(value(telemetry, "cgroup_throttled", "system.slice") == 0);
	assert_true(value(telemetry, "cgroup_read", "system.slice") == 0);
	assert_int_equal(known(telemetry, "cgroup_psi_io_some", "system.slice"), -ENOENT);
	assert_true(value(telemetry, "cgroup_memory", "odd?name") == 1);
	assert_int_equal(loss(telemetry, "lines_unparsed"), 2); /* "max", twice */
	telemetry_free(telemetry);
}

static void too_many_groups_and_disks_are_counted(void **state)
{
	static char lines[16384];
	struct telemetry *telemetry;
	char path[128];
	size_t used = 0;

	(void)state;
	put("/sys/fs/cgroup/cgroup.controllers", "memory\n");
	for (int i = 0; i < 40; i++) {
		snprintf(path, sizeof(path), "/sys/fs/cgroup/g%d/memory.current", i);
		put(path, "1\n");
	}
	for (int i = 0; i < 70; i++) {
		snprintf(path, sizeof(path), "/sys/block/sd%d/device", i);
		put(path, NULL);
		used += (size_t)snprintf(lines + used, sizeof(lines) - used,
			"8 %d sd%d 1 0 0 0 0 0 0 0 0 0 0\n", i, i);
	}
	put("/proc/diskstats", lines);
	telemetry = begin(NULL, 0);
	telemetry_take(telemetry);
	assert_int_equal(loss(telemetry, "cgroups_left_out"), 8);
	assert_int_equal(loss(telemetry, "disks_left_out"), 6);
	/* ten leave, and there is room */
	strstr(lines, "8 60 ")[0] = 0;
	put("/proc/diskstats", lines);
	telemetry_take(telemetry);
	assert_int_equal(loss(telemetry, "disks_left_out"), 0);
	assert_int_equal(known(telemetry, "disk_reads", "sd59"), 0);
	telemetry_free(telemetry);
}

static void named_disks_are_followed_too(void **state)
{
	static const char *const device[] = { "/dev/sem*", "null0" };
	struct telemetry *telemetry;

	(void)state;
	put("/proc/diskstats",
		"1 0 semtest0 5 0 0 0 0 0 0 0 0 0 0\n1 1 null0 6 0 0 0 0 0 0 0 0 0 0\n"
		"1 2 null1 6 0 0 0 0 0 0 0 0 0 0\n1 3 .. 6 0 0 0 0 0 0 0 0 0 0\n");
	put("/sys/block/semtest0", NULL);
	put("/sys/block/null0", NULL);
	put("/sys/block/null1", NULL);
	telemetry = begin(device, 2);
	telemetry_take(telemetry);
	assert_int_equal(known(telemetry, "disk_reads", "semtest0"), -ENODATA);
	assert_int_equal(known(telemetry, "disk_reads", "null0"), -ENODATA);
	assert_int_equal(known(telemetry, "disk_reads", "null1"), -ENOENT);
	assert_int_equal(known(telemetry, "disk_reads", ".."), -ENOENT);
	telemetry_free(telemetry);
}

static void hostile_files_are_counted(void **state)
{
	struct telemetry *telemetry;

	(void)state;
	put("/proc/stat", "cpu  x\n");
	put("/proc/loadavg", "\n");
	put("/proc/vmstat", "\xff\xfe\n");
	put("/proc/meminfo", "MemFree: -1 kB\n");
	put("/proc/pressure/io", "some total=99999999999999999999\n");
	put("/proc/diskstats", "254 0 vda\n");
	put("/proc/net/snmp", "Tcp: OutSegs\n");
	put("/proc/net/netstat", NULL); /* a folder */
	telemetry = begin(NULL, 0);
	telemetry_take(telemetry);
	assert_int_equal(loss(telemetry, "lines_unparsed"), 7);
	assert_int_equal(loss(telemetry, "files_unreadable"), 1);
	telemetry_free(telemetry);
}

static void *stop_it(void *arg)
{
	usleep(100000);
	telemetry_stop(arg);
	return NULL;
}

static void readers_wait_for_the_next(void **state)
{
	struct telemetry_options options = { .root = root, .interval_s = 1 };
	struct telemetry *telemetry = telemetry_new(&options);
	struct telemetry_view view;
	pthread_t stopper;

	(void)state;
	assert_int_equal(telemetry_wait(telemetry, 0, 10), -ETIMEDOUT);
	assert_int_equal(telemetry_start(telemetry), 0);
	assert_int_equal(telemetry_wait(telemetry, 0, 2000), 0);
	assert_int_equal(telemetry_wait(telemetry, 1, 3000), 0);
	assert_int_equal(telemetry_view(telemetry, &view), 0);
	assert_int_equal(view.number, 2);
	assert_true(view.interval_s > 0.9 && view.interval_s < 1.9);
	telemetry_view_free(&view);
	assert_int_equal(pthread_create(&stopper, NULL, stop_it, telemetry), 0);
	assert_int_equal(telemetry_wait(telemetry, 1000, 60000), -ESHUTDOWN);
	pthread_join(stopper, NULL);
	assert_int_equal(telemetry_wait(telemetry, 0, 0), 0); /* the last can still be read */
	telemetry_free(telemetry);
}

#define WITH_ROOT(test) cmocka_unit_test_setup_teardown(test, make_root, drop_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_ROOT(an_empty_machine_tells_nothing),
		WITH_ROOT(a_machine_with_v1_groups),
		WITH_ROOT(a_machine_with_v2_groups),
		WITH_ROOT(too_many_groups_and_disks_are_counted),
		WITH_ROOT(named_disks_are_followed_too),
		WITH_ROOT(hostile_files_are_counted),
		WITH_ROOT(readers_wait_for_the_next),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
