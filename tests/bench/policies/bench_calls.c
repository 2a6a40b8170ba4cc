// SPDX-License-Identifier: Apache-2.0
/*
 * bench_calls.c - what the policy knn costs: a system call with its hooks and without, the hook itself by the kernel's
 * statistics, and the answer to one window against 4,096 references, in both of its modes.
 *
 * The hooks are on this machine while it runs, and nothing but them. With and without stand in turn, so that what else
 * the machine does meets both. Controls: a hook that does nothing (the tracepoint's own cost), and one recorded window
 * answered again and again against windows of different programs.
 */
#include <bpf/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "agent/core/bpf_object.h"
#include "agent/core/ring.h"
#include "agent/core/watch.h"
#include "agent/infer/kin.h"
#include "agent/infer/random.h"
#include "tests/bench/bench.h"

#define OBJECT "build/policies/knn/knn.bpf.o"
#define EMPTY "build/tests/bench/policies/empty.bpf.o"
#define CALLS 200000
#define ROUNDS 40
#define TARGET_NS 100
#define QUERIES 64

static struct bpf_lease lease;
static struct bpf_policy policy;
static struct ring_reader *reader;
static char bpffs_dir[64];

/* CPU time of this thread: what else the machine does meanwhile is not ours. */
static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ns a call. */
static double calls(void)
{
	double begin = now_s();

	for (int i = 0; i < CALLS; i++)
		syscall(SYS_getppid);
	return (now_s() - begin) * 1e9 / CALLS;
}

static void nothing(void *ctx, const struct semantos_block_record *record)
{
	(void)ctx, (void)record;
}

static void load(void)
{
	struct semantos_control command = {
		.op = SEMANTOS_CTL_POLICY, .ttl_ns = 50000000, .budget_per_s = 2000
	};
	char error[512];
	int err;

	snprintf(bpffs_dir, sizeof(bpffs_dir), "/sys/fs/bpf/semantos-bench-%d", getpid());
	err = bpf_filesystem_ready(bpffs_dir, error, sizeof(error));
	if (!err)
		err = bpf_lease_open(&lease, "build/bpf/lib", bpffs_dir, error, sizeof(error));
	if (!err)
		err = bpf_policy_open(
			&policy, OBJECT, "knn", &lease, bpffs_dir, error, sizeof(error));
	if (err) {
		fprintf(stderr, "%s\n", error);
		exit(1);
	}
	reader = ring_reader_new(
		policy.rings_fd, policy.wake, policy.n_cpus, 1u << 20, UINT32_MAX, nothing, NULL);
	if (!reader || bpf_policy_control(&policy, &command))
		exit(1);
	ring_records(reader, watch_record_valid);
}

static void attach(void)
{
	char error[512];

	if (bpf_policy_attach(&policy, error, sizeof(error))) {
		fprintf(stderr, "%s\n", error);
		exit(1);
	}
}

static double hook_ns(void)
{
	struct bpf_prog_info info = { 0 };
	__u32 len = sizeof(info);
	struct bpf_program *program =
		bpf_object__find_program_by_name(policy.object, "on_sys_enter");

	if (bpf_prog_get_info_by_fd(bpf_program__fd(program), &info, &len) || !info.run_cnt)
		return 0;
	return (double)info.run_time_ns / (double)info.run_cnt;
}

static void a_call(void)
{
	static double plain[ROUNDS], hooked[ROUNDS], more[ROUNDS], empty[ROUNDS];
	struct bpf_object *control = bpf_object__open_file(EMPTY, NULL);
	struct bpf_program *program;
	double by_kernel;
	int stats;

	if (!control || bpf_object__load(control))
		exit(1);
	program = bpf_object__next_program(control, NULL);
	load();
	pin_to(0);
	calls();
	for (int i = 0; i < ROUNDS; i++) {
		struct bpf_link *link;

		plain[i] = calls();
		link = bpf_program__attach(program);
		if (!link)
			exit(1);
		empty[i] = calls() - plain[i];
		bpf_link__destroy(link);
		attach();
		hooked[i] = calls();
		bpf_policy_detach(&policy);
		more[i] = hooked[i] - plain[i];
		while (ring_drain(reader))
			;
	}
	stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
	attach();
	calls();
	bpf_policy_detach(&policy);
	by_kernel = hook_ns();
	if (stats >= 0)
		close(stats);
	row("a system call (getppid), no hook", "ns", plain, ROUNDS, NO_TARGET);
	row("control: what an empty hook adds to it", "ns", empty, ROUNDS, NO_TARGET);
	row("what knn adds to it, getting there included", "ns", more, ROUNDS, TARGET_NS);
	for (int i = 0; i < ROUNDS; i++)
		more[i] -= empty[i];
	row("what knn adds beyond an empty hook", "ns", more, ROUNDS, TARGET_NS);
	row("a run of its hook, by the kernel's statistics", "ns", &by_kernel, 1, NO_TARGET);
	bpf_object__close(control);
	ring_reader_free(reader);
	bpf_policy_close(&policy);
	bpf_lease_close(&lease);
	bpf_remove_pins(bpffs_dir);
}

static void made_up(struct random_state *random, uint16_t *count)
{
	unsigned int kinds = 8 + (unsigned int)random_below(random, 20);

	memset(count, 0, SEMANTOS_CALLS * sizeof(*count));
	for (unsigned int i = 0; i < kinds; i++)
		count[random_below(random, SEMANTOS_CALLS)] =
			(uint16_t)(1 + random_below(random, 100));
}

static void an_answer(bool one_class)
{
	static struct kin_reference reference[KIN_MAX_REFERENCES];
	static uint16_t count[QUERIES][SEMANTOS_CALLS];
	struct random_state random = random_seed(1);
	static double us[ROUNDS];
	struct kin_scratch *scratch;
	struct kin_answer answer;
	double begin = now_s(), built;
	struct kin *kin;

	for (size_t i = 0; i < KIN_MAX_REFERENCES; i++) {
		made_up(&random, reference[i].count);
		reference[i].label = i % 4 == 0;
		reference[i].recording = (uint32_t)(i / 8);
	}
	for (size_t i = 0; i < QUERIES; i++)
		made_up(&random, count[i]);
	kin = kin_new(reference, KIN_MAX_REFERENCES, one_class, 0.02);
	scratch = kin ? kin_scratch_new(kin) : NULL;
	if (!scratch)
		exit(1);
	built = (now_s() - begin) * 1e3;
	for (int i = 0; i < ROUNDS; i++) {
		begin = now_s();
		for (size_t q = 0; q < QUERIES; q++)
			kin_judge(kin, scratch, count[q], &answer);
		us[i] = (now_s() - begin) * 1e6 / QUERIES;
	}
	row(one_class ? "a window against 4,096 references, one class"
		      : "a window against 4,096 references, two classes",
		"us", us, ROUNDS, NO_TARGET);
	row(one_class ? "4,096 references read and judged by themselves, one class"
		      : "4,096 references read and judged by themselves",
		"ms", &built, 1, NO_TARGET);
	kin_scratch_free(scratch);
	kin_free(kin);
}

int main(void)
{
	if (geteuid() != 0 || access("/sys/kernel/btf/vmlinux", R_OK)) {
		printf("  skipped: needs root and a kernel with BTF\n");
		return 77;
	}
	a_call();
	an_answer(false);
	an_answer(true);
	rows_end("knn");
	return 0;
}
