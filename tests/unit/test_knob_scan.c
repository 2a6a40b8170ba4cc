// SPDX-License-Identifier: Apache-2.0
/*
 * test_knob_scan.c - `semantosctl knobs` on a machine of files: what is there is listed, what is absent is not, and no file
 * is opened but for reading (tests/e2e/knobs.sh has strace look at that as well).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "agent/cli/commands.h"
#include "agent/util/exitcode.h"
#include "agent/util/knob_scan.h"
#include "tests/unit/safety_dir.h"

static char root[64];

static int setup(void **state)
{
	(void)state;
	dir_make(root);
	file_put(root, "proc/sys/kernel/osrelease", "6.12.117+deb12-amd64\n");
	file_put(root, "proc/sys/vm/swappiness", "60\n");
	file_put(root, "proc/sys/vm/lowmem_reserve_ratio", "256\t256\t32\t0\n");
	file_put(root, "proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n");
	file_put(root, "proc/sys/kernel/core_pattern", "core\n");
	file_put(root, "sys/block/vda/size", "131072\n");
	file_put(root, "sys/block/vda/queue/read_ahead_kb", "128\n");
	file_put(root, "sys/block/vda/queue/scheduler", "none [mq-deadline] kyber\n");
	file_put(root, "sys/block/vdb/size", "131072\n");
	file_put(root, "sys/block/vdb/queue/read_ahead_kb", "256\n");
	file_put(root, "sys/block/loop0/size", "0\n");
	file_put(root, "sys/block/loop0/queue/read_ahead_kb", "128\n");
	file_put(root, "sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n");
	file_put(root, "sys/kernel/debug/sched/preempt", "none voluntary (full) lazy \n");
	file_put(root, "sys/class/net/bonding_masters", "x\n");
	file_put(root, "sys/class/net/lo/queues/rx-0/rps_flow_cnt", "0\n");
	file_put(root, "sys/fs/cgroup/cpu.weight", "1\n");
	file_put(root, "sys/fs/cgroup/a.slice/cpu.weight", "100\n");
	file_put(root, "sys/fs/cgroup/a.slice/b.service/cpu.weight", "200\n");
	file_put(root, "sys/fs/cgroup/a.slice/b.service/memory.high", "max\n");
	file_put(root, "usr/share/doc/linux-doc-6.1/Documentation/admin-guide/sysctl/vm.rst.gz",
		"x");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	dir_remove(root);
	return 0;
}

static const struct knob_here *find(const struct knob_scan *scan, const char *name)
{
	for (size_t i = 0; i < scan->n; i++) {
		if (strcmp(scan->here[i].name, name) == 0)
			return &scan->here[i];
	}
	return NULL;
}

static void expect(const struct knob_scan *scan, const char *name, const char *value)
{
	const struct knob_here *here = find(scan, name);

	if (!here)
		fail_msg("%s is not there", name);
	assert_string_equal(here->value, value);
}

static void what_is_there(void **state)
{
	struct knob_scan scan;

	(void)state;
	assert_int_equal(knob_scan(&scan, root), 0);
	assert_string_equal(scan.release, "6.12.117+deb12-amd64");
	expect(&scan, "sysctl:vm.swappiness", "60");
	expect(&scan, "sysctl:vm.lowmem_reserve_ratio", "256 256 32 0");
	expect(&scan, "sysctl:net.ipv4.tcp_rmem", "4096 131072 6291456");
	expect(&scan, "sysfs:block/vda/queue/read_ahead_kb", "128");
	expect(&scan, "sysfs:block/vdb/queue/read_ahead_kb", "256");
	expect(&scan, "blkra:vda", "256");
	expect(&scan, "blkra:vdb", "512");
	expect(&scan, "sysfs:block/vda/queue/scheduler", "mq-deadline");
	assert_string_equal(
		find(&scan, "sysfs:block/vda/queue/scheduler")->choices, "none mq-deadline kyber");
	expect(&scan, "debugfs:sched/preempt", "full");
	assert_string_equal(
		find(&scan, "debugfs:sched/preempt")->choices, "none voluntary full lazy");
	expect(&scan, "sysfs:class/net/lo/queues/rx-0/rps_flow_cnt", "0");
	/* of groups one row, and the machine itself is none */
	assert_int_equal(find(&scan, "cgroup:*/cpu.weight")->groups, 2);
	assert_int_equal(find(&scan, "cgroup:*/memory.high")->groups, 1);
	assert_null(find(&scan, "cgroup:*/memory.low"));
	assert_non_null(find(&scan, "sched:*/nice"));
	/* absent, without a medium, or not described */
	assert_null(find(&scan, "sysctl:vm.dirty_ratio"));
	assert_null(find(&scan, "sysfs:block/loop0/queue/read_ahead_kb"));
	assert_null(find(&scan, "blkra:loop0"));
	for (size_t i = 0; i < scan.n; i++)
		assert_null(strstr(scan.here[i].name, "core_pattern"));
	knob_scan_free(&scan);
}

/* Everything listed is a name that agent/safety knows, or is said to be read only: knob_desc_find() is what both ask. */
static void names_are_those_of_safety(void **state)
{
	struct knob_scan scan;

	(void)state;
	assert_int_equal(knob_scan(&scan, root), 0);
	for (size_t i = 0; i < scan.n; i++)
		assert_ptr_equal(knob_desc_find(scan.here[i].name), scan.here[i].desc);
	knob_scan_free(&scan);
}

static void one_knob(void **state)
{
	struct knob_here here;
	char path[512];

	(void)state;
	assert_int_equal(knob_look(root, "sysctl:vm.swappiness", &here), 0);
	assert_string_equal(here.value, "60");
	assert_int_equal(knob_look(root, "cgroup:a.slice/b.service/cpu.weight", &here), 0);
	assert_string_equal(here.value, "200");
	assert_int_equal(knob_look(root, "cgroup:*/cpu.weight", &here), 0);
	assert_int_equal(here.groups, 2);
	assert_int_equal(knob_look(root, "cgroup:*/memory.low", &here), -ENODEV);
	assert_int_equal(knob_look(root, "sched:1/nice", &here), 0);
	assert_int_equal(knob_look(root, "sysctl:vm.dirty_ratio", &here), -ENODEV);
	assert_int_equal(knob_look(root, "sysfs:block/*/queue/read_ahead_kb", &here), -ENODEV);
	assert_int_equal(knob_look(root, "cgroup:../../etc/cpu.weight", &here), -ENODEV);
	assert_int_equal(knob_look(root, "sysctl:kernel.core_pattern", &here), -ENOENT);
	assert_int_equal(knob_look(root, "nothing", &here), -ENOENT);
	assert_int_equal(knob_look(root, "", &here), -ENOENT);
	/* a folder in a file's place can be neither read nor listed as a value */
	file_put(root, "proc/sys/vm/page-cluster/x", "1");
	assert_int_equal(knob_look(root, "sysctl:vm.page-cluster", &here), 0);
	assert_int_equal(here.err, -EINVAL);
	assert_true(
		knob_doc_file(root, "admin-guide/sysctl/vm.rst#swappiness", path, sizeof(path)));
	assert_non_null(strstr(path, "/linux-doc-6.1/Documentation/admin-guide/sysctl/vm.rst.gz"));
	assert_false(knob_doc_file(root, "admin-guide/none.rst#x", path, sizeof(path)));
	assert_false(knob_doc_file(root, "sched(7)", path, sizeof(path)));
}

/* The command in a process of its own; what it prints into out. Its exit code. */
static int command(char *out, size_t len, const char *a, const char *b, const char *c)
{
	char *argv[] = { (char *)"knobs", (char *)"--root", root, (char *)a, (char *)b, (char *)c,
		NULL };
	int argc = 3 + (a != NULL) + (b != NULL) + (c != NULL), code, fd[2];
	size_t n = 0;
	ssize_t got;
	pid_t pid;

	assert_int_equal(pipe(fd), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		dup2(fd[1], 1);
		dup2(fd[1], 2);
		close(fd[0]);
		close(fd[1]);
		code = cmd_knobs(argc, argv);
		fflush(NULL);
		_exit(code);
	}
	close(fd[1]);
	while ((got = read(fd[0], out + n, len - n - 1)) > 0)
		n += (size_t)got;
	out[n] = '\0';
	close(fd[0]);
	assert_int_equal(waitpid(pid, &code, 0), pid);
	return WEXITSTATUS(code);
}

static char out[1 << 20];

static void the_list(void **state)
{
	(void)state;
	assert_int_equal(command(out, sizeof(out), NULL, NULL, NULL), EXIT_CODE_OK);
	assert_non_null(strstr(out, "sysctl:vm.swappiness"));
	assert_non_null(strstr(out, "0 to 200"));
	assert_non_null(strstr(out, "How soon anonymous memory is swapped"));
	assert_non_null(strstr(out, "(2 groups)"));
	assert_null(strstr(out, "dirty_ratio "));
	assert_int_equal(command(out, sizeof(out), "--subsystem", "tcp", NULL), EXIT_CODE_OK);
	assert_non_null(strstr(out, "sysctl:net.ipv4.tcp_rmem"));
	assert_null(strstr(out, "swappiness"));
	assert_int_equal(
		command(out, sizeof(out), "--subsystem", "moon", NULL), EXIT_CODE_NOT_FOUND);
	assert_non_null(strstr(out, "there are: block, io scheduler, cgroup, scheduler,"));
	assert_int_equal(command(out, sizeof(out), "a", "b", NULL), EXIT_CODE_USAGE);
}

static void all_of_one(void **state)
{
	(void)state;
	assert_int_equal(
		command(out, sizeof(out), "sysctl:vm.swappiness", NULL, NULL), EXIT_CODE_OK);
	assert_non_null(strstr(out, "sysctl:vm.page-cluster"));
	assert_non_null(strstr(out, "admin-guide/sysctl/vm.rst#swappiness"));
	assert_non_null(strstr(out, "vm.rst.gz"));
	assert_int_equal(command(out, sizeof(out), "sysctl:vm.lowmem_reserve_ratio", NULL, NULL),
		EXIT_CODE_OK);
	assert_non_null(strstr(out, "never written"));
	assert_int_equal(command(out, sizeof(out), "madvise:1/cold", NULL, NULL), EXIT_CODE_OK);
	assert_non_null(strstr(out, "cannot be undone"));
	assert_int_equal(command(out, sizeof(out), "sysctl:vm.dirty_ratio", NULL, NULL),
		EXIT_CODE_NOT_FOUND);
	assert_non_null(
		strstr(out, "sysctl:vm.dirty_ratio is not on this machine (Linux 6.12.117"));
	assert_int_equal(
		command(out, sizeof(out), "sysctl:no.such", NULL, NULL), EXIT_CODE_NOT_FOUND);
	assert_non_null(strstr(out, "There is no description of sysctl:no.such"));
}

static void as_json(void **state)
{
	json_t *all, *list, *knob;
	const char *words;

	(void)state;
	assert_int_equal(command(out, sizeof(out), "--json", NULL, NULL), EXIT_CODE_OK);
	all = json_loads(out, 0, NULL);
	assert_non_null(all);
	list = json_object_get(all, "knobs");
	assert_true(json_array_size(list) > 10);
	json_decref(all);
	assert_int_equal(
		command(out, sizeof(out), "--json", "sysfs:block/vda/queue/scheduler", NULL),
		EXIT_CODE_OK);
	all = json_loads(out, 0, NULL);
	assert_non_null(all);
	knob = json_array_get(json_object_get(all, "knobs"), 0);
	assert_string_equal(json_string_value(json_object_get(knob, "value")), "mq-deadline");
	assert_int_equal(json_array_size(json_object_get(knob, "words")), 4);
	assert_int_equal(json_array_size(json_object_get(knob, "words_here")), 3);
	words = json_string_value(json_array_get(json_object_get(knob, "words_here"), 2));
	assert_string_equal(words, "kyber");
	assert_true(json_is_true(json_object_get(knob, "waits_for_disk")));
	assert_string_equal(json_string_value(json_object_get(knob, "undo")), "lingers");
	json_decref(all);
	assert_int_equal(command(out, sizeof(out), "--json", "sysctl:vm.dirty_ratio", NULL),
		EXIT_CODE_NOT_FOUND);
	all = json_loads(out, 0, NULL);
	assert_true(json_is_false(json_object_get(all, "ok")));
	json_decref(all);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_is_there),
		T(names_are_those_of_safety),
		T(one_knob),
		T(the_list),
		T(all_of_one),
		T(as_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
