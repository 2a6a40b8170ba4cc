// SPDX-License-Identifier: Apache-2.0
/*
 * test_knob.c - names, ranges and paths of knobs on a fake root; no path leads out; nothing else opens one for writing.
 */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <cmocka.h>
#include "agent/safety/knob.h"
#include "tests/unit/safety_dir.h"

/* Of a coverage build: write the counts, which _exit() does not. */
void __gcov_dump(void) __attribute__((weak));

static char root[64];

static int setup(void **state)
{
	(void)state;
	dir_make(root);
	file_put(root, "proc/sys/vm/swappiness", "60\n");
	file_put(root, "proc/sys/vm/dirty_ratio", "20\n");
	file_put(root, "sys/devices/virtual/block/vda/queue/read_ahead_kb", "128\n");
	file_put(root, "sys/devices/virtual/block/vda/queue/scheduler",
		"none [mq-deadline] kyber\n");
	file_put(root, "sys/block/README", "x");
	file_put(root, "sys/fs/cgroup/a.slice/b.service/memory.high", "max\n");
	file_put(root, "dev/vda", "not a device");
	file_put(root, "secret", "1\n");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	dir_remove(root);
	return 0;
}

static int link_to(const char *target, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	unlink(path);
	return symlink(target, path);
}

static void test_check(void **state)
{
	static const struct {
		const char *name, *value;
		int err;
	} row[] = {
		{ "sysctl:vm.swappiness", "0", 0 },
		{ "sysctl:vm.swappiness", "200", 0 },
		{ "sysctl:vm.swappiness", "201", -ERANGE },
		{ "sysctl:vm.swappiness", "-1", -EINVAL },
		{ "sysctl:vm.swappiness", "", -EINVAL },
		{ "sysctl:vm.swappiness", "1 2", -EINVAL },
		{ "sysctl:vm.swappiness", "10\n", -EINVAL },
		{ "sysctl:vm.swappiness", "99999999999999999999", -EINVAL },
		{ "sysctl:kernel.panic", "1", -ENOENT },
		{ "sysctl:vm.dirty_bytes", "4096", -ERANGE },
		{ "sysfs:block/vda/queue/read_ahead_kb", "130", -ERANGE },
		{ "sysfs:block/vda/queue/read_ahead_kb", "256", 0 },
		{ "sysfs:block/../block/vda/queue/read_ahead_kb", "256", -ENOENT },
		{ "sysfs:block//queue/read_ahead_kb", "256", -ENOENT },
		/* one setting has one name, so that it has one owner */
		{ "sysfs:block/./vda/queue/read_ahead_kb", "256", -ENOENT },
		{ "sysfs:block/vda/./queue/read_ahead_kb", "256", -ENOENT },
		{ "sysfs:block/vda/device/block/vda/queue/read_ahead_kb", "256", -ENOENT },
		{ "cgroup:./a.slice/memory.high", "max", -ENOENT },
		{ "cgroup:a.slice/./b.service/memory.high", "max", -ENOENT },
		{ "blkra:.", "256", -ENOENT },
		{ "blkra:./vda", "256", -ENOENT },
		{ "blkra:disk/by-id/x", "256", -ENOENT },
		{ "sysfs:block/a\nb/queue/read_ahead_kb", "256", -ENOENT },
		{ "sysfs:block/vda/queue/scheduler", "none", 0 },
		{ "sysfs:block/vda/queue/scheduler", "non", -EINVAL },
		{ "sysfs:block/vda/queue/scheduler", "none kyber", -EINVAL },
		{ "sysfs:block/vda/queue/scheduler", "", -EINVAL },
		{ "cgroup:a.slice/b.service/memory.high", "max", 0 },
		{ "cgroup:a.slice/b.service/memory.high", "min", -EINVAL },
		{ "cgroup:/memory.high", "max", -ENOENT },
		{ "cgroup:a/../../memory.high", "max", -ENOENT },
		{ "blkra:vda", "256", 0 },
		{ "blkra:", "256", -ENOENT },
		{ "vm.swappiness", "1", -ENOENT },
		/* described, and never written */
		{ "sysctl:vm.overcommit_memory", "1", -ENOENT },
		{ "cgroup:a/io.max", "8:0 rbps=1", -ENOENT },
		{ "sysctl:net.ipv4.tcp_rmem", "4096 131072 6291456", 0 },
		{ "sysctl:net.ipv4.tcp_rmem", "4096 131072", -EINVAL },
		{ "cgroup:a/cpu.max", "max 100000", 0 },
		{ "debugfs:sched/migration_cost_ns", "1000", 0 },
		{ "debugfs:sched/features", "1", -ENOENT },
	};
	char longer[200];

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct safety_error error = { "" };

		if (knob_check(row[i].name, row[i].value, &error) != row[i].err)
			fail_msg("%s = %s is not answered by %d (%s)", row[i].name, row[i].value,
				row[i].err, error.text);
		assert_int_equal(error.text[0] != 0, row[i].err != 0);
	}
	memset(longer, '1', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(knob_check("sysctl:vm.swappiness", longer, NULL), -EINVAL);
}

static void test_read_write(void **state)
{
	char value[RECORD_VALUE_MAX];
	struct knob knob;

	(void)state;
	assert_int_equal(knob_open(&knob, root, "sysctl:vm.swappiness", true, NULL), 0);
	assert_int_equal(knob_read(&knob, value), 0);
	assert_string_equal(value, "60");
	assert_int_equal(knob_write(&knob, "100"), 0);
	assert_int_equal(knob_write(&knob, "5"), 0);
	assert_int_equal(knob_read(&knob, value), 0);
	assert_string_equal(value, "5");
	/* ten to us, eight to the kernel: what is written says ten to both */
	assert_int_equal(knob_write(&knob, "010"), 0);
	assert_int_equal(knob_read(&knob, value), 0);
	assert_string_equal(value, "10");
	assert_int_equal(knob_write(&knob, "5"), 0);
	knob_close(&knob);
	knob_close(&knob);
	assert_true(file_is(root, "proc/sys/vm/swappiness", "5"));

	/* through the kernel's own kind of link, /sys/block/X */
	assert_int_equal(link_to("../devices/virtual/block/vda", "sys/block/vda"), 0);
	assert_int_equal(knob_open(&knob, root, "sysfs:block/vda/queue/scheduler", true, NULL), 0);
	assert_int_equal(knob_read(&knob, value), 0);
	assert_string_equal(value, "mq-deadline");
	knob_close(&knob);
	assert_int_equal(
		knob_open(&knob, root, "cgroup:a.slice/b.service/memory.high", true, NULL), 0);
	assert_int_equal(knob_read(&knob, value), 0);
	assert_string_equal(value, "max");
	knob_close(&knob);
	/* read-only: a write is refused by the kernel */
	assert_int_equal(knob_open(&knob, root, "sysctl:vm.swappiness", false, NULL), 0);
	assert_int_equal(knob_write(&knob, "1"), -EBADF);
	knob_close(&knob);
	file_put(root, "proc/sys/vm/swappiness", "\n");
	assert_int_equal(knob_open(&knob, root, "sysctl:vm.swappiness", false, NULL), 0);
	assert_int_equal(knob_read(&knob, value), -ENODATA);
	{
		char longer[300];

		memset(longer, '7', sizeof(longer));
		file_write(root, "proc/sys/vm/swappiness", longer, sizeof(longer));
		assert_int_equal(knob_read(&knob, value), -E2BIG);
	}
	knob_close(&knob);
}

/* What a device does not take is refused before anything is written. */
static void test_most(void **state)
{
	static const char name[] = "sysfs:block/vda/queue/max_sectors_kb";
	static const char most[] = "sys/block/vda/queue/max_hw_sectors_kb";
	static const char discard[] = "sysfs:block/vda/queue/discard_max_bytes";
	struct safety_error error = { "" };

	(void)state;
	assert_int_equal(knob_fits(root, name, "1280", &error), 0); /* nothing is known of it */
	file_put(root, most, "127\n");
	assert_int_equal(knob_fits(root, name, "128", &error), -ERANGE);
	assert_string_equal(error.text,
		"sysfs:block/vda/queue/max_sectors_kb takes at most 127 here, as max_hw_sectors_kb "
		"says");
	assert_int_equal(knob_fits(root, name, "127", &error), 0);
	assert_int_equal(knob_fits(root, name, "", &error), 0);
	assert_int_equal(knob_fits(root, "sysfs:block/vda/queue/read_ahead_kb", "4096", &error), 0);
	file_put(root, most, "many\n");
	assert_int_equal(knob_fits(root, name, "1280", &error), 0);
	file_put(root, most, "\n");
	assert_int_equal(knob_fits(root, name, "1280", &error), 0);
	/* of a disk that cannot discard nothing is to be had, of one that can whole units */
	assert_false(knob_is_fixed(root, discard));
	file_put(root, "sys/block/vda/queue/discard_max_hw_bytes", "1048576\n");
	file_put(root, "sys/block/vda/queue/discard_granularity", "4096\n");
	assert_false(knob_is_fixed(root, discard));
	assert_false(knob_is_fixed(root, name));
	assert_int_equal(knob_fits(root, discard, "1048576", &error), 0);
	assert_int_equal(knob_fits(root, discard, "1048577", &error), -ERANGE);
	assert_int_equal(knob_fits(root, discard, "512", &error), -ERANGE);
	assert_non_null(strstr(error.text, "multiples of 4096 here, as discard_granularity says"));
	assert_int_equal(knob_fits(root, discard, "0", &error), 0);
	file_put(root, "sys/block/vda/queue/discard_granularity", "0\n");
	assert_int_equal(knob_fits(root, discard, "512", &error), 0);
	file_put(root, "sys/block/vda/queue/discard_granularity", "odd\n");
	assert_int_equal(knob_fits(root, discard, "512", &error), 0);
	file_put(root, "sys/block/vda/queue/discard_max_hw_bytes", "0\n");
	assert_true(knob_is_fixed(root, discard));
	assert_false(knob_is_fixed(root, "sysctl:vm.swappiness"));
}

/* What the kernel sets a disk's other setting to when the one is written. */
static void test_resets(void **state)
{
	static const char scheduler[] = "sysfs:block/vda/queue/scheduler";
	static const char largest[] = "sysfs:block/vda/queue/max_sectors_kb";
	static const char idle[] = "cgroup:a.slice/cpu.idle";
	char deep[PATH_MAX];

	(void)state;
	assert_false(knob_resets("nothing"));
	assert_false(knob_resets("sysctl:vm.dirty_ratio"));
	assert_false(knob_reset_may_read(root, "nothing", "1", "1"));
	assert_false(knob_reset_may_read(root, "sysctl:vm.dirty_ratio", "1", "1"));
	assert_true(knob_resets(scheduler) && knob_resets(largest) && knob_resets(idle));
	assert_false(knob_reset_may_read(root, idle, "1", "100"));
	assert_false(
		knob_reset_may_read("/", "sysfs:block/no-such-disk/queue/scheduler", "none", "64"));
	/* a scheduler: twice the tags, 256 at most; none: the tags */
	assert_false(knob_reset_may_read(root, scheduler, "none", "64"));
	file_put(root, "sys/block/vda/mq/0/nr_tags", "64\n");
	assert_true(knob_reset_may_read(root, scheduler, "none", "64"));
	assert_true(knob_reset_may_read(root, scheduler, "kyber", "128"));
	assert_false(knob_reset_may_read(root, scheduler, "kyber", "64"));
	file_put(root, "sys/block/vda/mq/0/nr_tags", "1023\n");
	assert_true(knob_reset_may_read(root, scheduler, "kyber", "256"));
	file_put(root, "sys/block/vda/mq/0/nr_tags", "");
	assert_false(knob_reset_may_read(root, scheduler, "none", "0"));
	/* the largest request: read-ahead of 128, of two of them, or of two of the disk's best size */
	assert_true(knob_reset_may_read(root, largest, "1280", "128"));
	assert_true(knob_reset_may_read(root, largest, "1280", "2560"));
	assert_false(knob_reset_may_read(root, largest, "1280", "64"));
	file_put(root, "sys/block/vda/queue/optimal_io_size", "32768\n");
	assert_true(knob_reset_may_read(root, largest, "1280", "64"));
	/* a root too long for a path */
	memset(deep, 'x', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = '\0';
	assert_false(knob_reset_may_read(deep, scheduler, "none", "64"));
}

static void test_no_way_out(void **state)
{
	struct safety_error error;
	struct knob knob;

	(void)state;
	assert_int_equal(link_to("../../../../secret", "sys/block/vda"), 0);
	assert_int_equal(
		knob_open(&knob, root, "sysfs:block/vda/queue/scheduler", true, &error), -EXDEV);
	assert_int_equal(knob.fd, -1);
	assert_int_equal(link_to("/secret", "proc/sys/vm/swappiness"), 0);
	assert_int_equal(knob_open(&knob, root, "sysctl:vm.swappiness", true, &error), -EXDEV);
	assert_int_equal(link_to("../../../secret", "proc/sys/vm/swappiness"), 0);
	assert_int_equal(knob_open(&knob, root, "sysctl:vm.swappiness", true, &error), -EXDEV);
	assert_int_equal(link_to("swappiness", "proc/sys/vm/swappiness"), 0);
	assert_int_equal(knob_open(&knob, root, "sysctl:vm.swappiness", true, &error), -ELOOP);
	assert_int_equal(knob_open(&knob, root, "sysctl:vm.page-cluster", true, &error), -ENOENT);
	/* a second name of a disk, be it a partition of it or a link, and what is no disk */
	file_put(root, "dev/vda1", "a partition");
	assert_int_equal(knob_open(&knob, root, "blkra:vda1", true, &error), -ENOENT);
	assert_non_null(strstr(error.text, "vda1 is not a whole disk"));
	assert_int_equal(link_to("vda", "dev/cdrom"), 0);
	file_put(root, "sys/block/cdrom/size", "1\n");
	assert_int_equal(knob_open(&knob, root, "blkra:cdrom", true, &error), -ELOOP);
	assert_int_equal(link_to("../devices/virtual/block/vda", "sys/block/vda"), 0);
	assert_int_equal(knob_open(&knob, root, "blkra:vda", true, &error), -EINVAL);
	assert_int_equal(knob_open(&knob, root, "sysctl:kernel.panic", true, &error), -EINVAL);
	assert_int_equal(
		knob_open(&knob, "/nowhere", "sysctl:vm.swappiness", true, &error), -ENOENT);
}

/* As a service manager does it: a part made writable by a mount onto itself; and as an attacker might, by another one. */
static void test_mounts(void **state)
{
	struct safety_error error;
	struct knob knob;
	char path[128];
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0) {
		print_message("skipped: mounting needs root\n");
		skip();
	}
	pid = fork();
	if (pid == 0) {
		snprintf(path, sizeof(path), "%s/proc/sys/vm", root);
		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
			mount(path, path, NULL, MS_BIND, NULL))
			_exit(77);
		if (knob_open(&knob, root, "sysctl:vm.swappiness", true, &error) ||
			knob_write(&knob, "61"))
			_exit(1);
		knob_close(&knob);
		if (mount("none", path, "tmpfs", 0, NULL))
			_exit(77);
		file_put(root, "proc/sys/vm/swappiness", "60\n");
		status = knob_open(&knob, root, "sysctl:vm.swappiness", true, &error) == -EXDEV ? 0
												: 2;
		if (__gcov_dump)
			__gcov_dump();
		_exit(status);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WEXITSTATUS(status) == 77) {
		print_message("skipped: this machine permits no private mounts\n");
		skip();
	}
	assert_int_equal(status, 0);
	assert_true(file_is(root, "proc/sys/vm/swappiness", "61"));
}

/* Each read and write of debugfs is one through a descriptor of its own. */
static void test_debugfs(void **state)
{
	char value[RECORD_VALUE_MAX], text[300];
	struct knob knob, lost;

	(void)state;
	file_put(root, "sys/kernel/debug/sched/migration_cost_ns", "500000\n");
	file_put(root, "sys/kernel/debug/sched/preempt", "none voluntary (full) lazy\n");
	assert_int_equal(knob_open(&knob, root, "debugfs:sched/migration_cost_ns", true, NULL), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(knob_read(&knob, value), 0);
		assert_string_equal(value, "500000");
	}
	assert_int_equal(knob_write(&knob, "20000"), 0);
	assert_int_equal(knob_write(&knob, "1000"), 0);
	assert_int_equal(knob_read(&knob, value), 0);
	assert_string_equal(value, "1000");
	assert_true(file_is(root, "sys/kernel/debug/sched/migration_cost_ns", "1000"));
	lost = knob;
	lost.fd = -1;
	assert_int_equal(knob_read(&lost, value), -ENOENT);
	assert_int_equal(knob_write(&lost, "1"), -ENOENT);
	knob_close(&knob);
	assert_int_equal(knob_open(&knob, root, "debugfs:sched/preempt", false, NULL), 0);
	assert_int_equal(knob_read(&knob, value), 0);
	assert_string_equal(value, "full");
	knob_close(&knob);
	knob_command("debugfs:sched/preempt", "full", text, sizeof(text));
	assert_string_equal(text, "echo full > /sys/kernel/debug/sched/preempt");
}

static void test_words(void **state)
{
	char text[300], partner[RECORD_NAME_MAX], a[RECORD_NAME_MAX], b[RECORD_NAME_MAX];

	(void)state;
	assert_true(knob_same("16", "0x10"));
	assert_true(knob_same("016", "16"));
	assert_true(knob_same("max", "max"));
	assert_false(knob_same("16", "17"));
	assert_false(knob_same("", "0"));
	assert_true(knob_took(knob_find("cgroup:x/memory.high"), "1048577", "1048576"));
	assert_false(knob_took(knob_find("cgroup:x/memory.high"), "1052672", "1048576"));
	assert_false(knob_took(knob_find("sysctl:vm.swappiness"), "10", "11"));
	assert_true(knob_partner("sysctl:vm.dirty_bytes", partner));
	assert_string_equal(partner, "sysctl:vm.dirty_ratio");
	assert_false(knob_partner("sysctl:vm.swappiness", partner));
	assert_true(knob_partner("sysctl:vm.dirty_background_ratio", partner));
	assert_true(knob_partner(partner, a));
	assert_string_equal(a, "sysctl:vm.dirty_background_ratio");
	knob_key("blkra:vda", a);
	knob_key("sysfs:block/vda/queue/read_ahead_kb", b);
	assert_string_equal(a, b);
	knob_command("sysctl:vm.swappiness", "60", text, sizeof(text));
	assert_string_equal(text, "echo 60 > /proc/sys/vm/swappiness");
	knob_command("blkra:vda", "256", text, sizeof(text));
	assert_string_equal(text, "blockdev --setra 256 /dev/vda");
	knob_command("nothing", "1", text, sizeof(text));
	assert_string_equal(text, "set nothing to 1");
}

/* Lines of C that only agent/safety may have. */
static int offences;

static int look_at(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	static const char *const knobs[] = { "/queue/", "proc/sys/vm", "sys/fs/cgroup/", "BLKRASET",
		"process_madvise", "sched_setattr", NULL };
	static const char *const writes[] = { "O_WRONLY", "O_RDWR", "O_CREAT", "\"w\"", "\"a\"",
		"\"r+\"", "ioctl(", NULL };
	size_t len = strlen(path);
	const char *knob = NULL, *write_ = NULL;
	char *text;

	(void)st, (void)ftw;
	if (type != FTW_F || len < 3 || strcmp(path + len - 2, ".c") != 0 ||
		strncmp(path, "agent/safety/", 13) == 0)
		return 0;
	text = file_read(".", path, NULL);
	for (size_t i = 0; knobs[i]; i++)
		knob = strstr(text, knobs[i]) ? knobs[i] : knob;
	for (size_t i = 0; writes[i]; i++)
		write_ = strstr(text, writes[i]) ? writes[i] : write_;
	if (strstr(text, "BLKRASET") || (knob && write_)) {
		fprintf(stderr, "%s names a knob (%s) and writes (%s): that is for agent/safety\n",
			path, knob, write_ ? write_ : "ioctl");
		offences++;
	}
	free(text);
	return 0;
}

static void test_only_writer(void **state)
{
	(void)state;
	if (access("agent/safety/knob.c", R_OK) < 0) {
		print_message(
			"skipped: the sources are not here; run it from the root of the tree\n");
		skip();
	}
	assert_int_equal(nftw("agent", look_at, 16, FTW_PHYS), 0);
	assert_int_equal(offences, 0);
	/* within agent/safety, one file */
	{
		static const char *const other[] = { "apply.c", "undo.c", "keeper.c", "safety.c",
			"look.c", "book.c", "breaker.c" };

		for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++) {
			char *text = file_read("agent/safety", other[i], NULL);

			assert_null(strstr(text, "pwrite("));
			assert_null(strstr(text, "O_RDWR"));
			assert_null(strstr(text, "O_WRONLY"));
			free(text);
		}
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_resets),
		cmocka_unit_test(test_check),
		T(test_read_write),
		T(test_most),
		T(test_no_way_out),
		T(test_debugfs),
		T(test_mounts),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_only_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
