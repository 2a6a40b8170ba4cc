// SPDX-License-Identifier: Apache-2.0
/*
 * bench_telemetry.c - what telemetry costs: its thread, its memory, and its hooks, for each event and for a workload.
 *
 * The thread's share is its CPU time a snapshot, with a second between two so that caches are cold, over the 5 s it
 * covers. Hooks: nanoseconds a run by the kernel's own statistics (which leave out getting there), and a workload of
 * task switches and of system calls with the hooks attached and not, in turn. Attaches to this machine while it runs.
 */
#include <errno.h>
#include <bpf/bpf.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "agent/telemetry/kernel.h"
#include "agent/telemetry/telemetry.h"
#include "tests/bench/bench.h"

#define OBJECT "build/bpf/telemetry/telemetry.bpf.o"
#define SNAPSHOTS 20
#define ROUNDS 40
#define SWITCHES 4000
#define CALLS 200000
#define PROGRAMS 16

static double clock_s(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double resident_mib(void)
{
	unsigned long size, resident = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (!file || fscanf(file, "%lu %lu", &size, &resident) != 2)
		resident = 0;
	if (file)
		fclose(file);
	return (double)resident * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

/* ---- the thread ---- */

static void thread_and_memory(void)
{
	struct telemetry_options options = { .object = OBJECT, .no_syscalls = true };
	double cpu[SNAPSHOTS], before = resident_mib(), mib, kernel_mib;
	struct telemetry *telemetry = telemetry_new(&options);
	struct telemetry_view view;

	if (!telemetry)
		exit(1);
	for (int i = 0; i < METRIC_ROWS; i++)
		telemetry_take(telemetry);
	mib = resident_mib() - before;
	if (telemetry_view(telemetry, &view))
		exit(1);
	kernel_mib = (double)view.kernel_bytes / (1 << 20);
	printf("  %zu series; at most %.1f MiB of history\n", view.n_metrics,
		(double)METRIC_MAX_BYTES / (1 << 20));
	telemetry_view_free(&view);
	row("telemetry, memory with an hour of history", "MiB", &mib, 1, 32);
	row("telemetry, maps in the kernel", "MiB", &kernel_mib, 1, NO_TARGET);
	telemetry_free(telemetry);

	options.no_syscalls = false;
	telemetry = telemetry_new(&options);
	if (!telemetry)
		exit(1);
	telemetry_take(telemetry);
	for (int i = 0; i < SNAPSHOTS; i++) {
		double begin;

		sleep(1);
		begin = clock_s(CLOCK_THREAD_CPUTIME_ID);
		telemetry_take(telemetry);
		cpu[i] = 100 * (clock_s(CLOCK_THREAD_CPUTIME_ID) - begin) / TELEMETRY_INTERVAL_S;
	}
	row("telemetry, of one CPU, every 5 s", "%", cpu, SNAPSHOTS, 0.3);
	telemetry_free(telemetry);
}

/* ---- loads ---- */

struct pair {
	int a[2], b[2]; /* pipes: there and back */
};

static void *echo(void *arg)
{
	struct pair *pair = arg;
	char byte;

	pin_to(0);
	while (read(pair->a[0], &byte, 1) == 1 && byte) {
		if (write(pair->b[1], &byte, 1) != 1)
			break;
	}
	return NULL;
}

/* ns a switch between two threads of one CPU. */
static double switches(struct pair *pair)
{
	double begin = clock_s(CLOCK_MONOTONIC);
	char byte = 1;

	for (int i = 0; i < SWITCHES / 2; i++) {
		if (write(pair->a[1], &byte, 1) != 1 || read(pair->b[0], &byte, 1) != 1)
			exit(1);
	}
	return (clock_s(CLOCK_MONOTONIC) - begin) * 1e9 / SWITCHES;
}

static double calls(void)
{
	double begin = clock_s(CLOCK_MONOTONIC);

	for (int i = 0; i < CALLS; i++)
		syscall(SYS_getppid);
	return (clock_s(CLOCK_MONOTONIC) - begin) * 1e9 / CALLS;
}

static struct kernel *attach(void)
{
	char error[512];
	struct kernel *kernel = kernel_open(OBJECT, 8, error, sizeof(error));

	if (!kernel) {
		fprintf(stderr, "%s\n", error);
		exit(1);
	}
	return kernel;
}

static struct kernel *sampled;

static void *sample(void *unused)
{
	(void)unused;
	kernel_syscalls_per_s(sampled, 400);
	return NULL;
}

static void workloads(void)
{
	double without[ROUNDS], with[ROUNDS], more[ROUNDS], plain[ROUNDS], hooked[ROUNDS],
		longer[ROUNDS];
	struct pair pair;
	pthread_t thread;
	char byte = 0;

	if (pipe(pair.a) || pipe(pair.b) || pthread_create(&thread, NULL, echo, &pair))
		exit(1);
	pin_to(0);
	switches(&pair);
	for (int i = 0; i < ROUNDS; i++) {
		struct kernel *kernel;

		without[i] = switches(&pair);
		kernel = attach();
		switches(&pair);
		with[i] = switches(&pair);
		kernel_close(kernel);
		more[i] = with[i] - without[i];
	}
	row("a task switch over a pipe, no hooks", "ns", without, ROUNDS, NO_TARGET);
	row("the same with the hooks", "ns", with, ROUNDS, NO_TARGET);
	row("what the hooks add to a task switch", "ns", more, ROUNDS, NO_TARGET);
	if (write(pair.a[1], &byte, 1) != 1)
		exit(1);
	pthread_join(thread, NULL);

	sampled = attach();
	for (int i = 0; i < ROUNDS / 2; i++) {
		plain[i] = calls();
		if (pthread_create(&thread, NULL, sample, NULL))
			exit(1);
		usleep(100000);
		hooked[i] = calls();
		pthread_join(thread, NULL);
		longer[i] = hooked[i] - plain[i];
	}
	kernel_close(sampled);
	row("a system call (getppid), no hook", "ns", plain, ROUNDS / 2, NO_TARGET);
	row("what its hook adds while it is attached", "ns", longer, ROUNDS / 2, NO_TARGET);
	for (int i = 0; i < ROUNDS / 2; i++)
		longer[i] *= (double)TELEMETRY_SYSCALL_WINDOW_MS / 1000 / TELEMETRY_INTERVAL_S;
	row("the same on average, 50 ms of each 5 s", "ns", longer, ROUNDS / 2, NO_TARGET);
}

/* ---- each hook, by the kernel's statistics, under whatever the machine does and a little more ---- */

static void each_hook(void)
{
	struct kernel *kernel = attach();
	struct kernel_program before[PROGRAMS], after;
	static char name[PROGRAMS][64];
	struct pair pair;
	pthread_t thread;
	int stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
	char byte = 0;

	if (stats < 0 || pipe(pair.a) || pipe(pair.b) || pthread_create(&thread, NULL, echo, &pair))
		exit(1);
	for (size_t i = 0; i < PROGRAMS && kernel_program(kernel, i, &before[i]) == 0; i++)
		;
	for (int i = 0; i < 50; i++) {
		switches(&pair);
		usleep(1000);
	}
	kernel_syscalls_per_s(kernel, 200);
	for (size_t i = 0; i < PROGRAMS && kernel_program(kernel, i, &after) == 0; i++) {
		double ns;

		if (after.runs - before[i].runs < 100)
			continue;
		ns = (double)(after.run_ns - before[i].run_ns) /
		     (double)(after.runs - before[i].runs);
		snprintf(name[i], sizeof(name[i]), "hook %s, a run", after.name);
		row(name[i], "ns", &ns, 1, NO_TARGET);
	}
	close(stats);
	if (write(pair.a[1], &byte, 1) != 1)
		exit(1);
	pthread_join(thread, NULL);
	kernel_close(kernel);
}

int main(void)
{
	if (geteuid() != 0 || access("/sys/kernel/btf/vmlinux", R_OK)) {
		printf("  skipped: needs root and a kernel with BTF\n");
		return 77;
	}
	thread_and_memory();
	each_hook();
	workloads();
	rows_end("telemetry");
	return 0;
}
