// SPDX-License-Identifier: Apache-2.0
/*
 * test_calls_hooks.c - the system calls of real processes of this machine, as the hooks of policies/knn count them: which
 * call is which feature, threads as one process, windows by count and by the process's end, calls by the i386 interface,
 * the event budget, and that no window is lost uncounted. The hooks are attached while the test runs; nothing is changed.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/core/bpf_object.h"
#include "agent/core/ring.h"
#include "agent/infer/calls.h"
#include "bpf/calls_wire.h"

#define OBJECT "build/policies/knn/knn.bpf.o"
#define RECORDS 65536
#define RING_BYTES (1u << 20)

static struct bpf_lease lease;
static struct bpf_policy policy;
static struct ring_reader *reader;
static struct semantos_calls_record *record;
static size_t n_records;
static char bpffs_dir[64];

static bool valid(const void *bytes, size_t n)
{
	const struct semantos_calls_record *r = bytes;

	return n == sizeof(*r) && r->head.version == SEMANTOS_WIRE_VERSION &&
	       r->head.bytes == sizeof(*r) && r->head.kind == SEMANTOS_CALLS_RECORD;
}

static void take(void *ctx, const struct semantos_block_record *any)
{
	(void)ctx;
	if (n_records < RECORDS)
		memcpy(&record[n_records++], any, sizeof(*record));
}

static void set_budget(uint64_t per_s)
{
	struct semantos_control command = {
		.op = SEMANTOS_CTL_POLICY, .ttl_ns = 50000000, .budget_per_s = per_s
	};

	assert_int_equal(bpf_policy_control(&policy, &command), 0);
}

static int begin(void **state)
{
	static unsigned int opened;
	char error[512];
	int err;

	(void)state;
	if (geteuid() != 0 || access("/sys/kernel/btf/vmlinux", R_OK)) {
		printf("skipped: needs root and a kernel with BTF\n");
		exit(77);
	}
	n_records = 0;
	snprintf(bpffs_dir, sizeof(bpffs_dir), "/sys/fs/bpf/semantos-calls-%d-%u", getpid(),
		opened++);
	err = bpf_filesystem_ready(bpffs_dir, error, sizeof(error));
	if (!err)
		err = bpf_lease_open(&lease, "build/bpf/lib", bpffs_dir, error, sizeof(error));
	if (!err)
		err = bpf_policy_open(
			&policy, OBJECT, "calls", &lease, bpffs_dir, error, sizeof(error));
	if (err)
		fail_msg("%s", error);
	record = calloc(RECORDS, sizeof(*record));
	reader = ring_reader_new(
		policy.rings_fd, policy.wake, policy.n_cpus, RING_BYTES, 64, take, NULL);
	assert_non_null(reader);
	ring_records(reader, valid);
	set_budget(1000000);
	if (bpf_policy_attach(&policy, error, sizeof(error)))
		fail_msg("%s", error);
	return 0;
}

static void drain(void)
{
	while (ring_drain(reader))
		;
}

/* The law of docs/architecture.md, with the hooks off. */
static int end(void **state)
{
	struct semantos_counters sum;
	const uint64_t *c = sum.count;
	uint64_t in_records = 0;

	(void)state;
	bpf_policy_detach(&policy);
	usleep(20000);
	drain();
	assert_int_equal(bpf_policy_counters(&policy, &sum), 0);
	assert_int_equal(c[SEMANTOS_C_REQUESTS], c[SEMANTOS_C_REQUESTS_SUBMITTED] +
							 c[SEMANTOS_C_DROP_OVER_BUDGET] +
							 c[SEMANTOS_C_DROP_RING_FULL]);
	assert_int_equal(c[SEMANTOS_C_REQUESTS_SUBMITTED], ring_delivered(reader));
	assert_int_equal(ring_refused(reader), 0);
	for (size_t i = 0; i < n_records; i++)
		in_records += record[i].calls;
	assert_true(c[SEMANTOS_C_EVENTS] >= in_records);
	if (!c[SEMANTOS_C_DROP_OVER_BUDGET] && !c[SEMANTOS_C_DROP_RING_FULL] &&
		!c[SEMANTOS_C_NOT_OURS])
		assert_int_equal(c[SEMANTOS_C_EVENTS], in_records);
	ring_reader_free(reader);
	bpf_policy_close(&policy);
	bpf_lease_close(&lease);
	bpf_remove_pins(bpffs_dir);
	assert_int_not_equal(access(bpffs_dir, F_OK), 0);
	free(record);
	return 0;
}

/* Calls of this process in all its records. */
static uint64_t count_of(pid_t pid, enum semantos_call call)
{
	uint64_t n = 0;

	for (size_t i = 0; i < n_records; i++)
		n += record[i].pid == (uint32_t)pid ? record[i].count[call] : 0;
	return n;
}

static size_t records_of(pid_t pid)
{
	size_t n = 0;

	for (size_t i = 0; i < n_records; i++)
		n += record[i].pid == (uint32_t)pid;
	return n;
}

/*
 * Calls at which the kernel did not run the hook, of all processes: a program runs once at a time on a CPU, and
 * on 7.3 a task may be preempted inside one (5 to 44 % missed in the lab, where it runs long; never seen up to 6.18).
 */
static uint64_t missed_runs(void)
{
	struct bpf_program *program =
		bpf_object__find_program_by_name(policy.object, "on_sys_enter");
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);

	assert_non_null(program);
	assert_int_equal(bpf_prog_get_info_by_fd(bpf_program__fd(program), &info, &len), 0);
	return info.recursion_misses;
}

/*
 * All of `made` calls are in records, but for those of runs the kernel missed and of the last window, where it is too short
 * to be sent: windows grow beyond their size while the thread that closes one waits for a CPU.
 */
static void assert_all_counted(pid_t pid, enum semantos_call call, uint64_t made)
{
	struct semantos_counters sum;
	uint64_t counted = count_of(pid, call), missed = missed_runs(), cut;

	assert_int_equal(bpf_policy_counters(&policy, &sum), 0);
	cut = sum.count[SEMANTOS_C_SHORT_CALLS];
	cut = cut < SEMANTOS_CALLS_LEAST ? cut : SEMANTOS_CALLS_LEAST - 1;
	print_message("  %llu of %llu calls in %zu windows, %llu runs missed by the kernel\n",
		(unsigned long long)counted, (unsigned long long)made, records_of(pid),
		(unsigned long long)missed);
	assert_true(counted <= made);
	assert_true(counted + missed + cut >= made);
}

static const struct semantos_calls_record *last_of(pid_t pid)
{
	for (size_t i = n_records; i--;)
		if (record[i].pid == (uint32_t)pid)
			return &record[i];
	return NULL;
}

static pid_t run(void (*work)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		work();
		syscall(SYS_exit_group, 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	drain();
	return pid;
}

static void calls_of_names(void)
{
	char buf[1];

	prctl(PR_SET_NAME, "counted\x1b[2J", 0, 0, 0);
	for (int i = 0; i < 700; i++)
		syscall(SYS_getppid);
	for (int i = 0; i < 600; i++)
		syscall(SYS_read, -1, buf, 0);
	for (int i = 0; i < 77; i++)
		syscall(SYS_openat, -1, "", 0);
	syscall(SYS_openat2, -1, "", NULL, 0);
	syscall(10000);
}

static void calls_are_counted_by_name(void **state)
{
	const struct semantos_calls_record *last;
	uint64_t sum = 0;
	pid_t pid;

	(void)state;
	pid = run(calls_of_names);
	assert_int_equal(records_of(pid), 2);
	assert_int_equal(count_of(pid, SEMANTOS_CALL_getppid), 700);
	assert_int_equal(count_of(pid, SEMANTOS_CALL_read), 600);
	assert_int_equal(count_of(pid, SEMANTOS_CALL_open), 78);
	assert_int_equal(count_of(pid, SEMANTOS_CALL_prctl), 1);
	assert_int_equal(count_of(pid, SEMANTOS_CALL_exit_group), 1);
	assert_int_equal(count_of(pid, SEMANTOS_CALL_other), 1);
	last = last_of(pid);
	for (size_t i = 0; i < SEMANTOS_CALLS; i++)
		sum += last->count[i];
	assert_int_equal(sum, last->calls);
	assert_true(last->head.flags & SEMANTOS_CALLS_F_EXIT);
	assert_string_equal(last->comm, "counted\x1b[2J");
	assert_int_equal(last->parent, getpid());
	assert_true(last->start_ns && last->start_ns < last->began_ns &&
		    last->began_ns < last->head.ts_ns);
}

#define THREADS 8
#define OF_THREAD \
	5060 /* with all threads 39 windows and half of one, so that the last is not too short to be sent */

static void *thread_calls(void *arg)
{
	(void)arg;
	for (int i = 0; i < OF_THREAD; i++)
		syscall(SYS_getppid);
	return NULL;
}

static void many_threads(void)
{
	pthread_t thread[THREADS];

	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&thread[i], NULL, thread_calls, NULL))
			_exit(1);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
}

/* Windows are closed while other threads count: none of their calls may be lost uncounted or counted twice. */
static void threads_are_one_process(void **state)
{
	pid_t pid;

	(void)state;
	pid = run(many_threads);
	assert_all_counted(pid, SEMANTOS_CALL_getppid, THREADS * OF_THREAD);
	assert_true(records_of(pid) <= 45);
	assert_true(2 * records_of(pid) * SEMANTOS_CALLS_WINDOW >=
		    count_of(pid, SEMANTOS_CALL_getppid));
}

static void leader_leaves_first(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, thread_calls, NULL))
		_exit(1);
	syscall(SYS_exit, 0);
}

static void a_process_outlives_its_first_thread(void **state)
{
	pid_t pid;

	(void)state;
	pid = run(leader_leaves_first);
	assert_all_counted(pid, SEMANTOS_CALL_getppid, OF_THREAD);
	assert_true(last_of(pid)->head.flags & SEMANTOS_CALLS_F_EXIT);
}

static void by_i386(void)
{
	for (int i = 0; i < 100; i++) {
		long result = 20; /* getpid there, writev here */

		__asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
		if (result < 0)
			_exit(0);
	}
	for (int i = 0; i < 50; i++) {
		long result = 102; /* socketcall(13): shutdown, of no descriptor */

		__asm__ volatile("int $0x80"
			: "+a"(result)
			: "b"(13L), "c"(0L)
			: "memory", "r8", "r9", "r10", "r11");
	}
}

static void i386_calls_count_by_their_names(void **state)
{
	struct semantos_counters sum;
	pid_t pid;

	(void)state;
	pid = run(by_i386);
	if (!records_of(pid) || !(last_of(pid)->head.flags & SEMANTOS_CALLS_F_I386)) {
		print_message("  this kernel takes no i386 calls\n");
		skip();
	}
	assert_int_equal(count_of(pid, SEMANTOS_CALL_getpid), 100);
	assert_int_equal(count_of(pid, SEMANTOS_CALL_shutdown), 50);
	assert_int_equal(count_of(pid, SEMANTOS_CALL_writev), 0);
	assert_int_equal(count_of(pid, SEMANTOS_CALL_socketcall), 0);
	assert_int_equal(bpf_policy_counters(&policy, &sum), 0);
	assert_true(sum.count[SEMANTOS_C_I386_CALLS] >= 150);
}

static void a_few(void)
{
	syscall(SYS_getppid);
}

#define SHORT_ONES 300

/* A storm of processes too short to say anything: no record, and each is counted. */
static void short_processes_are_counted(void **state)
{
	struct semantos_counters before, after;
	size_t records = 0;

	(void)state;
	assert_int_equal(bpf_policy_counters(&policy, &before), 0);
	for (int i = 0; i < SHORT_ONES; i++)
		records += records_of(run(a_few));
	assert_int_equal(records, 0);
	assert_int_equal(bpf_policy_counters(&policy, &after), 0);
	assert_true(after.count[SEMANTOS_C_SHORT] - before.count[SEMANTOS_C_SHORT] >= SHORT_ONES);
	assert_true(after.count[SEMANTOS_C_SHORT_CALLS] - before.count[SEMANTOS_C_SHORT_CALLS] >=
		    2 * SHORT_ONES);
}

static void very_many(void)
{
	for (int i = 0; i < 41 * SEMANTOS_CALLS_WINDOW; i++)
		syscall(SYS_getppid);
}

static void windows_beyond_the_budget_are_dropped_and_counted(void **state)
{
	struct semantos_counters sum;

	(void)state;
	set_budget(0);
	run(very_many);
	assert_int_equal(bpf_policy_counters(&policy, &sum), 0);
	assert_true(sum.count[SEMANTOS_C_DROP_OVER_BUDGET] >= 40);
	set_budget(1000000);
}

static void filled(void)
{
	/* more than a ring holds, with nobody reading */
	for (size_t i = 0; i < (RING_BYTES / 352 + 100) * SEMANTOS_CALLS_WINDOW; i++)
		syscall(SYS_getppid);
}

static void a_full_ring_is_counted(void **state)
{
	struct semantos_counters sum;
	cpu_set_t one, all;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	run(filled);
	assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
	assert_int_equal(bpf_policy_counters(&policy, &sum), 0);
	assert_true(sum.count[SEMANTOS_C_DROP_RING_FULL] >= 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(calls_are_counted_by_name, begin, end),
		cmocka_unit_test_setup_teardown(threads_are_one_process, begin, end),
		cmocka_unit_test_setup_teardown(a_process_outlives_its_first_thread, begin, end),
		cmocka_unit_test_setup_teardown(i386_calls_count_by_their_names, begin, end),
		cmocka_unit_test_setup_teardown(short_processes_are_counted, begin, end),
		cmocka_unit_test_setup_teardown(
			windows_beyond_the_budget_are_dropped_and_counted, begin, end),
		cmocka_unit_test_setup_teardown(a_full_ring_is_counted, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
