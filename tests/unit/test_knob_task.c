// SPDX-License-Identifier: Apache-2.0
/*
 * test_knob_task.c - nice, policy and CPUs of a real child: changed, read back, rolled back by compare, left alone when the
 * process is gone or its number is another's; advice about memory is done once and says that it cannot be undone.
 *
 * The journal lies on a fake root; the process is a real one. Lowering a nice value again takes CAP_SYS_NICE.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <cmocka.h>
#include "agent/safety/knob.h"
#include "agent/safety/knob_kind.h"
#include "tests/unit/safety_root.h"

#define REGION (1024 * 1024)

static struct fake f;
static struct safety *s;
static pid_t child;
static char *region; /* the child has it at the same address */

static int setup(void **state)
{
	struct safety_error error;

	(void)state;
	fake_make(&f);
	region = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(region, 1, REGION);
	child = fork();
	if (child == 0) {
		for (;;)
			pause();
	}
	return safety_open(&s, &f.options, NULL, &error);
}

static void end_child(void)
{
	if (child > 0) {
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
	}
	child = 0;
}

static int teardown(void **state)
{
	(void)state;
	safety_close(s, SAFETY_STOP);
	end_child();
	munmap(region, REGION);
	dir_remove(f.root);
	return 0;
}

static const char *knob_of(const char *kind, const char *which)
{
	static char name[2][64];
	static int turn;

	turn = !turn;
	snprintf(name[turn], sizeof(name[turn]), "%s:%d/%s", kind, child, which);
	return name[turn];
}

static const char *range(void)
{
	static char text[64];

	snprintf(text, sizeof(text), "%lx-%lx", (unsigned long)region,
		(unsigned long)region + REGION);
	return text;
}

static bool reads(const char *which, const char *want)
{
	char name[RECORD_NAME_MAX], value[RECORD_VALUE_MAX];
	struct knob knob;

	assert_int_equal(knob_full_name(knob_of("sched", which), name, NULL), 0);
	assert_int_equal(knob_open(&knob, "", name, false, NULL), 0);
	assert_int_equal(knob_read(&knob, value), 0);
	knob_close(&knob);
	return strcmp(value, want) == 0;
}

static int change(const char *which, const char *value, uint64_t *id, struct safety_error *error)
{
	return change_one(s, "mllb", CHANGE_AUTO, knob_of("sched", which), value, id, error);
}

static void nice_policy_and_cpus_go_there_and_back(void **state)
{
	struct safety_error error;
	char explained[4096];
	uint64_t first, id;

	(void)state;
	assert_int_equal(setpriority(PRIO_PROCESS, (id_t)child, 1), 0);
	assert_int_equal(change("policy", "batch", &first, &error), 0);
	assert_int_equal(sched_getscheduler(child), SCHED_BATCH);
	assert_true(reads("nice", "1"));
	assert_int_equal(change("policy", "batch", &id, &error), -EALREADY);
	assert_int_equal(change("policy", "idle", &id, &error), -EBUSY);
	assert_int_equal(safety_rollback(s, first, "a test ends", NULL, &error), 0);
	assert_int_equal(sched_getscheduler(child), SCHED_OTHER);

	assert_true(reads("nice", "1"));
	assert_int_equal(change("nice", "5", &id, &error), 0);
	assert_int_equal(getpriority(PRIO_PROCESS, (id_t)child), 5);
	assert_int_equal(safety_explain(f.dir, id, explained, sizeof(explained), &error), 0);
	assert_non_null(strstr(explained, "renice -n 1 -p"));
	if (safety_rollback(s, id, "a test ends", NULL, &error)) {
		assert_non_null(strstr(error.text, "cannot be set back"));
		print_message("the nice value cannot be lowered without CAP_SYS_NICE\n");
	} else {
		assert_true(reads("nice", "1"));
	}
	/* what somebody else set since is theirs */
	assert_int_equal(change("policy", "batch", &id, &error), 0);
	assert_int_equal(sched_setscheduler(child, SCHED_IDLE, &(struct sched_param){ 0 }), 0);
	assert_int_equal(safety_rollback(s, id, "a test ends", NULL, &error), 0);
	assert_non_null(strstr(error.text, "left alone"));
	assert_int_equal(sched_getscheduler(child), SCHED_IDLE);
}

static void cpus_are_written_as_the_kernel_does(void **state)
{
	struct safety_error error;
	char before[RECORD_VALUE_MAX], name[RECORD_NAME_MAX];
	struct knob knob;
	cpu_set_t set;
	uint64_t id;

	(void)state;
	assert_int_equal(knob_full_name(knob_of("sched", "affinity"), name, NULL), 0);
	assert_int_equal(knob_open(&knob, "", name, false, NULL), 0);
	assert_int_equal(knob_read(&knob, before), 0);
	knob_close(&knob);
	if (strcmp(before, "0") == 0) {
		print_message("skipped: this machine has one CPU\n");
		skip();
	}
	assert_int_equal(change("affinity", "0", &id, &error), 0);
	assert_int_equal(sched_getaffinity(child, sizeof(set), &set), 0);
	assert_int_equal(CPU_COUNT(&set), 1);
	assert_int_equal(safety_rollback(s, id, "a test ends", NULL, &error), 0);
	assert_true(reads("affinity", before));
	/* a CPU that is not there: the kernel leaves it out */
	assert_int_equal(change("affinity", "0,8191", &id, &error), 0);
	assert_true(reads("affinity", "0"));
	assert_int_equal(safety_rollback(s, id, "a test ends", NULL, &error), 0);
	assert_true(reads("affinity", before));
	assert_false(knob_took(knob_find(name), "0", "1"));
	assert_false(knob_took(knob_find(name), "0", "x"));
	assert_false(knob_took(knob_find(name), "x", "0"));
	assert_int_equal(change("affinity", "8191", &id, &error), -EINVAL);
	assert_int_equal(change("affinity", "0-0", &id, &error), -EINVAL);
	assert_int_equal(change("affinity", "1,0", &id, &error), -EINVAL);
	assert_int_equal(change("affinity", "0-", &id, &error), -EINVAL);
	assert_int_equal(change("affinity", "3-1", &id, &error), -EINVAL);
	assert_int_equal(change("affinity", "8192", &id, &error), -EINVAL);
	assert_int_equal(change("affinity", "", &id, &error), -EINVAL);
	assert_int_equal(knob_check(name, "0-3,8,10-8191", NULL), 0);
	/* as many ranges as a value holds */
	{
		char many[2 * RECORD_VALUE_MAX] = "0";

		for (int cpu = 2; strlen(many) < RECORD_VALUE_MAX - 4; cpu += 2)
			sprintf(many + strlen(many), ",%d", cpu);
		assert_int_equal(knob_check(name, many, NULL), 0);
	}
}

static void what_is_gone_is_left_alone(void **state)
{
	char other[RECORD_NAME_MAX], name[RECORD_NAME_MAX];
	struct safety_error error;
	unsigned long long start;
	uint64_t id, later;
	struct knob knob;
	int pid;

	(void)state;
	assert_int_equal(knob_full_name(knob_of("sched", "nice"), name, NULL), 0);
	assert_int_equal(sscanf(name, "sched:%d@%llu/nice", &pid, &start), 2);
	assert_int_equal(pid, child);
	/* the number of one process, the start time of another */
	snprintf(other, sizeof(other), "sched:%d@%llu/nice", pid, start + 1);
	assert_int_equal(knob_open(&knob, "", other, true, &error), -ESRCH);
	assert_non_null(strstr(error.text, "is gone"));
	assert_int_equal(change_one(s, "mllb", CHANGE_AUTO, other, "3", &id, &error), -ESRCH);
	/* as we were started ourselves: the whole run may be niced */
	assert_int_equal(getpriority(PRIO_PROCESS, (id_t)child), getpriority(PRIO_PROCESS, 0));

	assert_int_equal(change("nice", "17", &id, &error), 0);
	assert_int_equal(change("policy", "batch", &later, &error), 0);
	assert_int_equal(knob_open(&knob, "", name, true, NULL), 0);
	end_child();
	/* between opening and writing */
	assert_int_equal(knob_write(&knob, "3"), -ESRCH);
	{
		char value[RECORD_VALUE_MAX];

		assert_int_equal(knob_read(&knob, value), -ESRCH);
	}
	knob_close(&knob);
	assert_int_equal(safety_rollback(s, id, "a test ends", NULL, &error), 0);
	assert_non_null(strstr(error.text, "left alone"));
	assert_non_null(strstr(error.text, "is gone"));
	assert_int_equal(safety_close(s, SAFETY_STOP), 0);
	assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
}

static void names_of_processes(void **state)
{
	static const char *const bad[] = { "sched:/nice", "sched:x/nice", "sched:0/nice",
		"sched:-1/nice", "sched:1@/nice", "sched:1@x/nice", "sched:1@0/nice",
		"sched:99999999999/nice", "sched:99999999999999999999999/nice", "sched:1x/nice",
		"sched:1@2x/nice", "sched:1@99999999999999999999999/nice" };
	char name[RECORD_NAME_MAX], longer[RECORD_NAME_MAX];
	struct safety_error error;
	struct knob knob;
	uint64_t id;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (knob_check(bad[i], "1", &error) != -ENOENT)
			fail_msg("%s is taken for a name", bad[i]);
	}
	assert_int_equal(knob_check("sched:1/nice", "-20", NULL), 0);
	assert_int_equal(knob_check("sched:1@5/nice", "19", NULL), 0);
	assert_int_equal(knob_check("sched:1/nice", "20", NULL), -ERANGE);
	assert_int_equal(knob_check("sched:1/nice", "--1", NULL), -EINVAL);
	assert_int_equal(knob_check("sched:1/policy", "fifo", NULL), -EINVAL);
	assert_int_equal(knob_full_name("nothing", name, &error), -ENOENT);
	assert_int_equal(knob_full_name("sched:2147483647/nice", name, &error), -ESRCH);
	assert_int_equal(
		change_one(s, "mllb", CHANGE_AUTO, "sched:2147483647/nice", "1", &id, &error),
		-ESRCH);
	assert_int_equal(knob_full_name("sched:12@34/nice", name, &error), 0);
	assert_string_equal(name, "sched:12@34/nice");
	/* no start time, nothing a process has, no such process */
	assert_int_equal(knob_open(&knob, "", "sched:1/nice", true, &error), -EINVAL);
	assert_int_equal(knob_open(&knob, "", "sched:1@5/x/nice", true, &error), -EINVAL);
	assert_int_equal(knob_open(&knob, "", "sched:2147483647@5/nice", true, &error), -ESRCH);
	/* a name that would grow too long by the start time */
	memset(longer, 'x', sizeof(longer));
	snprintf(name, sizeof(name), "sched:%d/", getpid());
	memcpy(longer, name, strlen(name));
	strcpy(longer + sizeof(longer) - sizeof("/nice"), "/nice");
	assert_int_equal(knob_full_name(longer, name, &error), -EINVAL);
}

static void policies_that_are_not_ours_are_not_touched(void **state)
{
	struct safety_error error;
	uint64_t id;

	(void)state;
	if (sched_setscheduler(child, SCHED_RR, &(struct sched_param){ .sched_priority = 1 })) {
		print_message("skipped: no permission for a real-time policy\n");
		skip();
	}
	assert_int_equal(change("policy", "batch", &id, &error), -EOPNOTSUPP);
	assert_int_equal(sched_getscheduler(child), SCHED_RR);
}

static void advice_is_done_once_and_cannot_be_undone(void **state)
{
	const char *cold = knob_of("madvise", "cold");
	struct safety_report report;
	struct safety_error error;
	char explained[4096];
	uint64_t id;

	(void)state;
	/* a mode that promises an undo is refused, and so is a setting in mode once */
	assert_int_equal(change_one(s, "kleio", CHANGE_AUTO, cold, range(), &id, &error), -EINVAL);
	assert_non_null(strstr(error.text, "cannot be undone"));
	assert_int_equal(
		change_one(s, "kleio", CHANGE_ONCE, SWAPPINESS, "10", &id, &error), -EINVAL);
	assert_int_equal(
		change_one(s, "kleio", CHANGE_ONCE, cold, "7f0000000000", &id, &error), -EINVAL);
	assert_int_equal(
		change_one(s, "kleio", CHANGE_ONCE, cold, "1000-2000000000", &id, &error), -ERANGE);
	assert_int_equal(change_one(s, "kleio", CHANGE_ONCE, cold, range(), &id, &error), 0);
	assert_int_equal(safety_explain(f.dir, id, explained, sizeof(explained), &error), 0);
	assert_non_null(strstr(explained, "undo: cannot be undone"));
	assert_non_null(strstr(explained, "intent"));
	assert_non_null(strstr(explained, "done"));
	assert_non_null(strstr(explained, "once on"));
	assert_int_equal(safety_rollback(s, id, "x", NULL, &error), -EALREADY);
	assert_non_null(strstr(error.text, "cannot be undone"));
	/* three times, and not a fourth within ten minutes */
	assert_int_equal(change_one(s, "kleio", CHANGE_ONCE, knob_of("madvise", "cold"), range(),
				 &id, &error),
		0);
	assert_int_equal(change_one(s, "kleio", CHANGE_ONCE, knob_of("madvise", "cold"), range(),
				 &id, &error),
		0);
	assert_int_equal(change_one(s, "kleio", CHANGE_ONCE, knob_of("madvise", "cold"), range(),
				 &id, &error),
		-EAGAIN);
	assert_non_null(strstr(error.text, "made 3 times"));
	/* nothing of it is in force: closing and recovering have nothing to do */
	assert_int_equal(safety_close(s, SAFETY_STOP), 0);
	assert_int_equal(safety_open(&s, &f.options, &report, &error), 0);
	assert_int_equal(report.rolled_back + report.left_alone + report.in_force, 0);
	/* addresses where nothing is */
	assert_int_equal(change_one(s, "kleio", CHANGE_ONCE, knob_of("madvise", "cold"),
				 "1000-2000", &id, &error),
		-ENOMEM);
	assert_int_equal(change_one(s, "kleio", CHANGE_ONCE, knob_of("madvise", "pageout"), range(),
				 &id, &error),
		0);
}

static char state_of(pid_t pid)
{
	char path[40], text[256] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	return strrchr(text, ')')[2];
}

static void a_process_is_stopped_and_goes_on(void **state)
{
	struct safety_error error;
	char explained[4096];
	uint64_t id;

	(void)state;
	assert_true(reads("state", "running"));
	assert_int_equal(knob_check(knob_of("sched", "state"), "killed", NULL), -EINVAL);
	assert_int_equal(change("state", "stopped", &id, &error), 0);
	assert_int_equal(state_of(child), 'T');
	assert_true(reads("state", "stopped"));
	assert_int_equal(safety_explain(f.dir, id, explained, sizeof(explained), &error), 0);
	assert_non_null(strstr(explained, "kill -CONT"));
	assert_int_equal(safety_rollback(s, id, "a test ends", NULL, &error), 0);
	assert_int_not_equal(state_of(child), 'T');
	/* somebody else let it go on meanwhile: theirs */
	assert_int_equal(change("state", "stopped", &id, &error), 0);
	assert_int_equal(kill(child, SIGCONT), 0);
	assert_int_equal(safety_rollback(s, id, "a test ends", NULL, &error), 0);
	/* an agent that ends lets it go on */
	assert_int_equal(change("state", "stopped", &id, &error), 0);
	safety_close(s, SAFETY_STOP);
	assert_int_not_equal(state_of(child), 'T');
	assert_int_equal(safety_open(&s, &f.options, NULL, &error), 0);
}

static void a_dead_process_is_not_stopped(void **state)
{
	char name[RECORD_NAME_MAX];
	struct safety_error error;
	uint64_t id;

	(void)state;
	assert_int_equal(knob_full_name(knob_of("sched", "state"), name, &error), 0);
	kill(child, SIGKILL);
	/* dead and not reaped: it has its number still, and nothing to stop */
	while (state_of(child) != 'Z')
		usleep(1000);
	assert_int_equal(change_one(s, "knn", CHANGE_AUTO, name, "stopped", &id, &error), -ESRCH);
	end_child();
	assert_int_equal(change_one(s, "knn", CHANGE_AUTO, name, "stopped", &id, &error), -ESRCH);
}

/* What cannot be seen to stop is let go on: it must not stop later, when nobody thinks of it any more. */
static void what_does_not_stop_is_let_go_on(void **state)
{
	struct rlimit all, none;
	struct safety_error error;
	char name[RECORD_NAME_MAX], value[RECORD_VALUE_MAX], text[100];
	struct knob knob;
	int status;

	(void)state;
	assert_int_equal(knob_full_name(knob_of("sched", "state"), name, &error), 0);
	assert_int_equal(knob_open(&knob, f.root, name, true, &error), 0);
	assert_int_equal(knob_state_write(&knob, "killed"), -EINVAL);
	/* a debugger holds the signal back */
	assert_int_equal(ptrace(PTRACE_SEIZE, child, NULL, NULL), 0);
	assert_int_equal(knob_write(&knob, "stopped"), -ETIMEDOUT);
	assert_int_equal(waitpid(child, &status, __WALL), child);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(ptrace(PTRACE_DETACH, child, NULL, NULL), 0);
	assert_true(reads("state", "running"));
	/* no room to look */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
	none = (struct rlimit){ 0, all.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(knob_read(&knob, value), -EMFILE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
	knob_command("sched:1@2/state", "stopped", text, sizeof(text));
	assert_string_equal(text, "kill -STOP 1");
	knob_command("sched:1@2/state", "running", text, sizeof(text));
	assert_string_equal(text, "kill -CONT 1");
	end_child();
	assert_int_equal(knob_read(&knob, value), -ESRCH);
	assert_int_equal(knob_write(&knob, "stopped"), -ESRCH);
	knob_close(&knob);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(nice_policy_and_cpus_go_there_and_back),
		T(cpus_are_written_as_the_kernel_does),
		T(what_is_gone_is_left_alone),
		T(names_of_processes),
		T(policies_that_are_not_ours_are_not_touched),
		T(advice_is_done_once_and_cannot_be_undone),
		T(a_process_is_stopped_and_goes_on),
		T(a_dead_process_is_not_stopped),
		T(what_does_not_stop_is_let_go_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
