// SPDX-License-Identifier: Apache-2.0
/*
 * bench_io.c - the hooks under real reads, beside what users run today, and what they add to a read.
 *
 * One load (random 4 KiB O_DIRECT reads of a scratch file, one at a time from each of two threads), interleaved phases:
 * nothing attached, the linnos hooks with a consumer that drains by deadline as the agent does and stores a verdict
 * per record, the same waking at every record, a hash-keyed latency tool
 * (peer.bpf.c), and the bpftrace script where bpftrace runs. ns per event are the kernel's own BPF run-time
 * statistics, which add the same clock readings to each. The order of phases turns from round to round.
 * Observes only; attaches shadow hooks to this kernel, with pins in a folder of its own, and takes them away again.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include "agent/core/disk.h"
#include "tests/bench/bench.h"
#include "tests/bpf/wrap.h"

#define ROUNDS 10
#define SCRIPT_ROUNDS 4 /* starting bpftrace takes seconds */
#define PHASE_MS 500
#define FILE_BYTES (64u << 20)
#define THREADS 2
#define WINDOW_US 500 /* as linnos says, and the agent's empty rounds before it sleeps */
#define IDLE_ROUNDS 8
#define MAX_READS 200000
#define BPFTRACE "/usr/bin/bpftrace"

enum phase { NOTHING, HOOKS, WOKEN, PEER, SCRIPT, PHASES };
static const char *const phase_name[] = { "nothing", "hooks", "hooks waking at each record",
	"hash-keyed tool", "bpftrace script" };

static const char script[] =
	"tracepoint:block:block_rq_issue { @start[args->dev, args->sector] = nsecs; } "
	"tracepoint:block:block_rq_complete /@start[args->dev, args->sector]/ { "
	"@us = hist((nsecs - @start[args->dev, args->sector]) / 1000); "
	"delete(@start[args->dev, args->sector]); }";

static struct {
	char path[64];
	int fd;
	struct disk disk;
	bool script;
	double latency_us[MAX_READS];
	atomic_size_t reads;
	atomic_bool stop;
} load;

static struct {
	double issue_ns[PHASES][ROUNDS], done_ns[PHASES][ROUNDS];
	double per_s[PHASES][ROUNDS], p50_us[PHASES][ROUNDS];
	double per_s_ratio[PHASES][ROUNDS], p50_ratio[PHASES][ROUNDS], cost[PHASES][ROUNDS];
	double wake_us[2][MAX_READS]; /* draining by deadline, woken by every record */
	size_t rounds[PHASES], n_wakes[2];
} result;

static void *reader(void *arg)
{
	uint64_t rng = (uintptr_t)arg * 0x9e3779b97f4a7c15ULL + 1;
	void *buffer;

	if (posix_memalign(&buffer, 4096, 4096))
		return NULL;
	while (!atomic_load(&load.stop)) {
		uint64_t start;
		size_t at;

		rng = rng * 6364136223846793005ULL + 1442695040888963407ULL;
		start = boot_ns();
		if (pread(load.fd, buffer, 4096,
			    (off_t)((rng >> 33) % (FILE_BYTES / 4096)) * 4096) != 4096)
			break;
		at = atomic_fetch_add(&load.reads, 1);
		if (at < MAX_READS)
			load.latency_us[at] = (double)(boot_ns() - start) / 1000;
	}
	free(buffer);
	return NULL;
}

static void load_run(double *per_s, double *p50_us)
{
	pthread_t thread[THREADS];
	uint64_t start = boot_ns();
	size_t n;

	atomic_store(&load.reads, 0);
	atomic_store(&load.stop, false);
	for (uintptr_t i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, reader, (void *)(i + 1));
	usleep(PHASE_MS * 1000);
	atomic_store(&load.stop, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	n = atomic_load(&load.reads);
	*per_s = (double)n * 1e9 / (double)(boot_ns() - start);
	*p50_us = n ? quantile(load.latency_us, n < MAX_READS ? n : MAX_READS, 0.5) : 0;
}

/* What programs with these names (or of this type, both names NULL) have run so far. */
struct spent {
	uint64_t ns[2], runs[2];
};

static void spent_by_fd(int fd, struct spent *spent, int which)
{
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);

	if (fd >= 0 && !bpf_prog_get_info_by_fd(fd, &info, &size)) {
		spent->ns[which] += info.run_time_ns;
		spent->runs[which] += info.run_cnt;
	}
}

static void spent_read(const char *const names[2], struct spent *spent)
{
	__u32 id = 0;

	memset(spent, 0, sizeof(*spent));
	while (!bpf_prog_get_next_id(id, &id)) {
		struct bpf_prog_info info = { 0 };
		__u32 size = sizeof(info);
		int fd = bpf_prog_get_fd_by_id(id);

		if (fd < 0)
			continue;
		if (!bpf_prog_get_info_by_fd(fd, &info, &size))
			for (int which = 0; which < 2; which++)
				if (!strncmp(info.name, names[which], BPF_OBJ_NAME_LEN - 1))
					spent_by_fd(fd, spent, which);
		close(fd);
	}
}

struct consumer {
	struct bpf_policy *policy;
	struct ring_reader *reader;
	atomic_bool stop;
	uint32_t window_us; /* 0 = sleep at once, so that every record wakes */
};

/* What the agent does between record and verdict, without the inference. */
static void store_verdict(void *ctx, const struct semantos_block_record *record)
{
	struct consumer *consumer = ctx;
	uint64_t word;

	if (record->head.kind != SEMANTOS_REQUEST)
		return;
	word = semantos_verdict_pack(
		record->head.ts_ns + 50000000, record->head.generation, 200, 0);
	__atomic_store_n((uint64_t *)(void *)&consumer->policy->verdicts[record->head.slot].verdict,
		word, __ATOMIC_RELEASE);
	if (result.n_wakes[!consumer->window_us] < MAX_READS)
		result.wake_us[!consumer->window_us][result.n_wakes[!consumer->window_us]++] =
			(double)(boot_ns() - record->head.ts_ns) / 1000;
}

static void *consume(void *arg)
{
	struct consumer *consumer = arg;
	struct epoll_event event = { .events = EPOLLIN };
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	for (int cpu = 0; cpu < ring_count(consumer->reader); cpu++)
		epoll_ctl(epoll, EPOLL_CTL_ADD, ring_fd(consumer->reader, cpu), &event);
	while (!atomic_load(&consumer->stop)) {
		const struct timespec window = { .tv_nsec = consumer->window_us * 1000 };

		for (int empty = 0; consumer->window_us && empty < IDLE_ROUNDS;) {
			empty = ring_drain(consumer->reader) ? 0 : empty + 1;
			nanosleep(&window, NULL);
		}
		if (ring_sleep(consumer->reader))
			epoll_wait(epoll, &event, 1, 20);
		ring_drain(consumer->reader);
	}
	close(epoll);
	return NULL;
}

static int hooks_phase(uint32_t window_us, struct spent *spent, double *per_s, double *p50_us)
{
	static const char *const names[2] = { "on_rq_issue", "on_rq_complete" };
	struct semantos_control policy_command = {
		.op = SEMANTOS_CTL_POLICY, .ttl_ns = 50000000, .budget_per_s = 1000000
	};
	struct semantos_control slot_command = { .op = SEMANTOS_CTL_SLOT_ADD,
		.dev = disk_kernel_dev(&load.disk),
		.diskseq = load.disk.diskseq,
		.queue_depth = load.disk.queue_depth,
		.queues = load.disk.queues };
	struct consumer consumer = { .window_us = window_us };
	struct bpf_lease lease;
	struct bpf_policy policy;
	char error[512], bpffs_dir[64];
	pthread_t thread;
	int err;

	snprintf(bpffs_dir, sizeof(bpffs_dir), "/sys/fs/bpf/semantos-bench-%d", getpid());
	err = bpf_filesystem_ready(bpffs_dir, error, sizeof(error));
	if (!err)
		err = bpf_lease_open(&lease, "build/bpf/lib", bpffs_dir, error, sizeof(error));
	if (err)
		goto out;
	err = bpf_policy_open(&policy, "build/policies/linnos/linnos.bpf.o", "linnos", &lease,
		bpffs_dir, error, sizeof(error));
	if (err)
		goto out_lease;
	consumer.policy = &policy;
	consumer.reader = ring_reader_new(policy.rings_fd, policy.wake, policy.n_cpus, 256 * 1024,
		64, store_verdict, &consumer);
	err = consumer.reader ? 0 : -errno;
	if (!err)
		err = bpf_policy_inflight_set(&policy, 0, load.disk.queues * load.disk.queue_depth);
	if (!err)
		err = bpf_policy_control(&policy, &policy_command);
	if (!err)
		err = bpf_policy_control(&policy, &slot_command);
	if (!err)
		err = bpf_policy_attach(&policy, error, sizeof(error));
	if (!err)
		err = -pthread_create(&thread, NULL, consume, &consumer);
	if (!err) {
		load_run(per_s, p50_us);
		bpf_policy_detach(&policy);
		atomic_store(&consumer.stop, true);
		pthread_join(thread, NULL);
		memset(spent, 0, sizeof(*spent));
		for (int which = 0; which < 2; which++)
			spent_by_fd(bpf_program__fd(bpf_object__find_program_by_name(
					    policy.object, names[which])),
				spent, which);
	}
	ring_reader_free(consumer.reader);
	bpf_policy_close(&policy);
out_lease:
	bpf_lease_close(&lease);
	bpf_remove_pins(bpffs_dir);
out:
	if (err)
		fprintf(stderr, "The hooks cannot be attached: %s\n", error);
	return err;
}

static int peer_phase(struct spent *spent, double *per_s, double *p50_us)
{
	static const char *const names[2] = { "peer_issue", "peer_complete" };
	struct bpf_object *object = bpf_object__open_file("build/tests/bench/peer.bpf.o", NULL);
	struct bpf_link *link[2] = { NULL, NULL };
	int err = object ? bpf_object__load(object) : -errno;

	for (int which = 0; !err && which < 2; which++) {
		link[which] =
			bpf_program__attach(bpf_object__find_program_by_name(object, names[which]));
		err = link[which] ? 0 : -errno;
	}
	if (!err) {
		load_run(per_s, p50_us);
		memset(spent, 0, sizeof(*spent));
		for (int which = 0; which < 2; which++)
			spent_by_fd(bpf_program__fd(
					    bpf_object__find_program_by_name(object, names[which])),
				spent, which);
	}
	for (int which = 0; which < 2; which++)
		bpf_link__destroy(link[which]);
	bpf_object__close(object);
	return err;
}

/* bpftrace finds tracepoints in tracefs: mounted for it alone, where the machine has not mounted it. */
static pid_t script_start(void)
{
	pid_t child = fork();

	if (child)
		return child;
	if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
		_exit(1);
	if (access("/sys/kernel/tracing/events", F_OK)) {
		if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
			mount("none", "/sys/kernel/tracing", "tracefs", 0, NULL))
			_exit(1);
	}
	execl(BPFTRACE, "bpftrace", "-e", script, (char *)NULL);
	_exit(1);
}

static int script_phase(struct spent *spent, double *per_s, double *p50_us)
{
	static const char *const names[2] = { "block_rq_issue", "block_rq_complete" };
	struct spent before;
	pid_t child = script_start();
	int status, err = -ENOENT;

	if (child < 0)
		return -errno;
	/* Ready when its two programs have run; the load of the phase is a fresh one. */
	for (int tries = 0; tries < 50 && err; tries++) {
		char byte[4096] __attribute__((aligned(4096)));

		usleep(100000);
		if (waitpid(child, &status, WNOHANG) == child)
			return -ENOENT;
		(void)!pread(load.fd, byte, sizeof(byte), 0);
		spent_read(names, &before);
		err = before.runs[0] && before.runs[1] ? 0 : -ENOENT;
	}
	if (!err) {
		load_run(per_s, p50_us);
		spent_read(names, spent);
		for (int which = 0; which < 2; which++) {
			spent->ns[which] -= before.ns[which];
			spent->runs[which] -= before.runs[which];
		}
	}
	kill(child, SIGINT);
	waitpid(child, &status, 0);
	return err;
}

static void phase_run(enum phase phase, int round)
{
	struct spent spent = { 0 };
	double per_s = 0, p50_us = 0;
	size_t at = result.rounds[phase];
	int err = 0;

	switch (phase) {
	case NOTHING:
		load_run(&per_s, &p50_us);
		break;
	case HOOKS:
	case WOKEN:
		err = hooks_phase(phase == HOOKS ? WINDOW_US : 0, &spent, &per_s, &p50_us);
		break;
	case PEER:
		err = peer_phase(&spent, &per_s, &p50_us);
		break;
	default:
		err = load.script && round < SCRIPT_ROUNDS ? script_phase(&spent, &per_s, &p50_us)
							   : -ENOENT;
		break;
	}
	result.per_s[phase][round] = err ? 0 : per_s;
	result.p50_us[phase][round] = err ? 0 : p50_us;
	if (err || (phase != NOTHING && (!spent.runs[0] || !spent.runs[1])))
		return;
	result.rounds[phase]++;
	if (phase == NOTHING)
		return;
	result.issue_ns[phase][at] = (double)spent.ns[0] / (double)spent.runs[0];
	result.done_ns[phase][at] = (double)spent.ns[1] / (double)spent.runs[1];
}

static int scratch_make(void)
{
	static char zeros[1 << 20];
	struct disk disks[64];
	struct stat st;
	int n = disk_scan("/sys", disks, 64);

	snprintf(load.path, sizeof(load.path), "build/bench/scratch-%d", getpid());
	(void)mkdir("build/bench", 0755);
	load.fd = open(load.path, O_RDWR | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC, 0600);
	if (load.fd < 0)
		return -errno;
	unlink(load.path);
	fcntl(load.fd, F_SETFL, 0);
	for (uint32_t at = 0; at < FILE_BYTES; at += sizeof(zeros)) {
		memset(zeros, (int)(at >> 20) + 1, sizeof(zeros));
		if (write(load.fd, zeros, sizeof(zeros)) != sizeof(zeros))
			return -errno;
	}
	if (fsync(load.fd) || fcntl(load.fd, F_SETFL, O_DIRECT) || fstat(load.fd, &st))
		return -errno;
	for (int i = 0; i < n; i++)
		if (disks[i].supported && disks[i].major == major(st.st_dev) &&
			disks[i].minor <= minor(st.st_dev)) {
			load.disk = disks[i];
			return 0;
		}
	return -ENODEV;
}

static void print(void)
{
	char name[80];

	for (int phase = HOOKS; phase < PHASES; phase++) {
		if (!result.rounds[phase]) {
			printf("  %s: could not be run here\n", phase_name[phase]);
			continue;
		}
		for (size_t i = 0; i < result.rounds[phase]; i++)
			result.cost[phase][i] =
				(result.issue_ns[HOOKS][i] + result.done_ns[HOOKS][i]) /
				(result.issue_ns[phase][i] + result.done_ns[phase][i]);
		snprintf(name, sizeof(name), "%s, issue", phase_name[phase]);
		row(name, "ns", result.issue_ns[phase], result.rounds[phase], NO_TARGET);
		snprintf(name, sizeof(name), "%s, completion", phase_name[phase]);
		row(name, "ns", result.done_ns[phase], result.rounds[phase], NO_TARGET);
		if (phase == HOOKS)
			continue;
		snprintf(name, sizeof(name), "cost of an I/O, hooks / %s", phase_name[phase]);
		row(name, "x", result.cost[phase], result.rounds[phase], NO_TARGET);
	}
	row("reads a second, nothing attached", "1/s", result.per_s[NOTHING], ROUNDS, NO_TARGET);
	for (int phase = HOOKS; phase < PHASES; phase++) {
		if (!result.rounds[phase])
			continue;
		snprintf(name, sizeof(name), "reads a second, %s / nothing", phase_name[phase]);
		row(name, "x", result.per_s_ratio[phase], result.rounds[phase], NO_TARGET);
		snprintf(name, sizeof(name), "read latency p50, %s / nothing", phase_name[phase]);
		row(name, "x", result.p50_ratio[phase], result.rounds[phase], NO_TARGET);
	}
	row("record's kernel time to verdict store, deadline drain", "us", result.wake_us[0],
		result.n_wakes[0], NO_TARGET);
	row("record's kernel time to verdict store, woken at each", "us", result.wake_us[1],
		result.n_wakes[1], NO_TARGET);
	rows_end("io");
}

int main(void)
{
	int stats, err;

	if (geteuid() != 0 || access("/sys/kernel/btf/vmlinux", R_OK)) {
		printf("  skipped: needs root and a kernel with BTF\n");
		return 77;
	}
	err = scratch_make();
	if (err) {
		printf("  skipped: no scratch file on a disk of its own can be made here: %s\n",
			strerror(-err));
		return 77;
	}
	load.script = !access(BPFTRACE, X_OK);
	stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
	for (int round = 0; round < ROUNDS; round++) {
		for (int turn = 0; turn < PHASES; turn++)
			phase_run((enum phase)((turn + round) % PHASES), round);
		for (int phase = HOOKS; phase < PHASES; phase++)
			if (result.rounds[phase] && result.per_s[phase][round] > 0) {
				size_t at = result.rounds[phase] - 1;

				result.per_s_ratio[phase][at] =
					result.per_s[phase][round] / result.per_s[NOTHING][round];
				result.p50_ratio[phase][at] =
					result.p50_us[phase][round] / result.p50_us[NOTHING][round];
			}
	}
	if (stats >= 0)
		close(stats);
	close(load.fd);
	print();
	return 0;
}
