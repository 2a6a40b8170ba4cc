// SPDX-License-Identifier: Apache-2.0
/*
 * bench_path.c - the data path of the agent, from a record's kernel time to the verdict in the table.
 *
 * The agent's own policy, rings, drain, device, model and evaluator, on the last CPU, in a loop of their own; records
 * are made on CPU 0 by the bodies of the block hooks (tests/bpf/block_wrap.bpf.c, nothing attached) or, for the rows
 * named "real reads", by the linnos object attached to this machine's disk. The verdict of a made record is looked for
 * by a BPF program on CPU 0, so the figure is what a consumer in the kernel sees, in the kernel's own clock.
 * Rates are CPU time of the agent's thread per record delivered, so the producer's speed is not the limit; besides, a
 * paced run counts what was lost. Configurations take turns, piece by piece.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include "agent/core/device_internal.h"
#include "agent/core/policy_internal.h"
#include "agent/infer/random.h"
#include "tests/bench/bench.h"
#include "tests/bench/path/path.h"

#define DEV (259u << 20 | 3)
#define TAGS 32
#define LOOKS (1u << 20) /* of the BPF program at the verdict: some ms */
#define ROUNDS 8
#define SLEEPS 150 /* records a round into a drain asleep */
#define SPINS 1000 /* the same into one that spins */
#define SPIN_GAP_NS 100000 /* above the 65,536 ns that tell two verdicts apart */
#define RATE_MS 100 /* a piece of the rate rows */
#define RATE_WANTED 2e6 /* records a second the issue asks for */
#define PACED_PIECES 20
#define REAL_READS 300 /* a round */
#define MOST 65536

static double ns[MOST];

/* What the agent would learn is made up here: what a net answers does not change what it costs. */
static void model_give(struct path *path, const char *encoder, const uint32_t *widths, uint32_t n)
{
	struct random_state random = random_seed(1);
	struct model *model = model_new("bench", encoder, widths, n);

	if (!model)
		exit(1);
	for (uint32_t l = 0; l < model->n_layers; l++) {
		model->layer[l].activation = l + 1 < model->n_layers ? MODEL_RELU : MODEL_LINEAR;
		for (uint32_t i = 0; i < model->layer[l].inputs * model->layer[l].outputs; i++)
			model->layer[l].weight[i] = (float)(random_unit(&random) - 0.5);
	}
	model->slow_threshold_us = 100;
	path_model(path, model);
}

static const uint32_t ours[] = { 20, 64, 2 }, linnos[] = { 31, 256, 2 };

static void pause_until(uint64_t at)
{
	while (boot_ns() < at)
		__builtin_ia32_pause();
}

/* One record after another, each when its turn has come; ns[] gets how long each took. Number that came. */
static size_t one_by_one(struct path *path, size_t n, bool asleep, double *took)
{
	struct wrap_command command = {
		.event = { .diskseq = 1, .dev = DEV, .sectors = 8, .request = 1 },
		.repeat = LOOKS,
	};
	size_t came = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t start = boot_ns();

		command.what = WRAP_VERDICT;
		if (path_run(path, &command))
			exit(1);
		if (command.elapsed_ns)
			took[came++] = (double)command.elapsed_ns;
		command.what = WRAP_COMPLETE;
		command.now_ns = boot_ns();
		path_run(path, &command);
		pause_until(start + SPIN_GAP_NS);
		while (asleep && !*(volatile uint32_t *)&path->policy->bpf.wake->idle)
			usleep(200);
	}
	return came;
}

/*
 * What waking a thread on the agent's CPU takes without any of us: a futex, each thread with its CPU to itself. The
 * clock is read before the system call and after the sleeper's return.
 */
struct sleeper {
	uint32_t word; /* 1 = wake up, 2 = end */
	_Atomic uint64_t woke_ns;
};

static void *sleep_and_tell(void *arg)
{
	struct sleeper *sleeper = arg;
	uint32_t word = 0;

	pin_to((int)sysconf(_SC_NPROCESSORS_ONLN) - 1);
	path_own_cpu(true);
	while (word != 2) {
		syscall(SYS_futex, &sleeper->word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
		word = __atomic_exchange_n(&sleeper->word, 0, __ATOMIC_ACQ_REL);
		if (word)
			atomic_store(&sleeper->woke_ns, boot_ns());
	}
	return NULL;
}

static size_t bare_wakes(size_t n, double *took_us)
{
	struct sleeper sleeper = { 0, 0 };
	pthread_t thread;
	size_t came = 0;

	path_own_cpu(true);
	pthread_create(&thread, NULL, sleep_and_tell, &sleeper);
	for (size_t i = 0; i <= n; i++) {
		uint64_t start, woke = 0;

		usleep(2000);
		atomic_store(&sleeper.woke_ns, 0);
		start = boot_ns();
		__atomic_store_n(&sleeper.word, i < n ? 1 : 2, __ATOMIC_RELEASE);
		syscall(SYS_futex, &sleeper.word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
		while (!woke && boot_ns() - start < 1000000000)
			woke = atomic_load(&sleeper.woke_ns);
		if (woke && i < n)
			took_us[came++] = (double)(woke - start) / 1000;
	}
	pthread_join(thread, NULL);
	path_own_cpu(false);
	return came;
}

/* Asleep or spinning, at ordinary priority or each thread with a CPU to itself. */
#define STATES 4
static double us[STATES][ROUNDS * (SLEEPS + SPINS)], bare_us[ROUNDS * SLEEPS], beside[ROUNDS];
static size_t n_us[STATES], n_bare, n_beside;

static void latency(struct path *sleeping, struct path *spinning)
{
	static const char *const name[STATES] = { "record's kernel time to verdict, asleep",
		"record's kernel time to verdict, spinning",
		"the same, asleep, with a CPU to itself",
		"the same, spinning, with a CPU to itself" };

	for (int round = 0; round < ROUNDS; round++) {
		double *bare = bare_us + n_bare, asleep_us = 0;
		size_t came;

		for (int state = 0; state < STATES; state++) {
			bool spin = state & 1, own = state & 2;
			struct path *path = spin ? spinning : sleeping;

			path->own_cpu = own;
			path_own_cpu(own);
			path_start(path);
			came = one_by_one(path, spin ? SPINS : SLEEPS, !spin, ns);
			for (size_t i = 0; i < came; i++)
				us[state][n_us[state]++] = ns[i] / 1000;
			if (state == 2 && came)
				asleep_us = quantile(ns, came, 0.5) / 1000;
			path_stop(path);
			path_own_cpu(false);
			path->own_cpu = false;
		}
		came = bare_wakes(SLEEPS, bare);
		n_bare += came;
		if (came && asleep_us > 0)
			beside[n_beside++] = asleep_us / quantile(bare, came, 0.5);
	}
	for (int state = 0; state < STATES; state++)
		row(name[state], "us", us[state], n_us[state], state & 1 ? 1.5 : 12);
	row("a bare futex wake-up between these CPUs", "us", bare_us, n_bare, NO_TARGET);
	row("record to verdict asleep / bare futex wake-up", "x", beside, n_beside, NO_TARGET);
}

struct producer {
	struct path *path;
	double per_s; /* records; 0 = as many as there is room for */
	uint64_t until;
};

/* Pairs of request and outcome until the time is up. */
static void produce(struct producer *p)
{
	struct wrap_command command = {
		.event = { .diskseq = 1, .dev = DEV, .sectors = 8, .request = 1 },
		.what = WRAP_PAIRS,
		.repeat = 64,
		.tags = TAGS,
	};
	uint64_t begin = boot_ns(), sent = 0;

	while (boot_ns() < p->until) {
		command.repeat = 64;
		if (path_run(p->path, &command))
			exit(1);
		sent += 128;
		if (p->per_s > 0)
			pause_until(begin + (uint64_t)((double)sent / p->per_s * 1e9));
	}
}

struct piece {
	double cpu_ns; /* of the agent's thread, a record */
	double per_s, lost, emitted, inferred, batches, stored;
};

static void rate_piece(struct path *path, double per_s, struct piece *piece)
{
	struct producer producer = { path, per_s, 0 };
	struct path_counts before, after;
	uint64_t start;

	path->own_cpu = true;
	path_own_cpu(true);
	path_start(path);
	path_counts(path, &before);
	start = boot_ns();
	producer.until = start + RATE_MS * 1000000ULL;
	produce(&producer);
	piece->per_s = (double)(boot_ns() - start);
	path_settle(path);
	path_counts(path, &after);
	path_stop(path);
	path_own_cpu(false);
	path->own_cpu = false;
	piece->emitted = (double)(after.emitted - before.emitted);
	piece->lost = (double)(after.dropped - before.dropped);
	piece->inferred = (double)(after.inferred - before.inferred);
	piece->batches = (double)(after.batches - before.batches);
	piece->stored = (double)(after.stored - before.stored);
	piece->cpu_ns = (double)(after.cpu_ns - before.cpu_ns) /
			(double)(after.delivered - before.delivered);
	piece->per_s = piece->emitted * 1e9 / piece->per_s;
	if (after.delivered - before.delivered != after.emitted - before.emitted)
		fprintf(stderr, "%.0f records are unaccounted for\n",
			piece->emitted - (double)(after.delivered - before.delivered));
}

static void rates(struct path *paths[], const char *const names[], size_t n)
{
	static double cpu[8][ROUNDS], share[8][ROUNDS];
	struct piece piece;
	char name[80];

	for (int round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < n; i++) {
			rate_piece(paths[i], 0, &piece);
			cpu[i][round] = piece.cpu_ns;
			share[i][round] = piece.inferred / piece.stored;
		}
	for (size_t i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "agent's CPU a record, %s", names[i]);
		row(name, "ns", cpu[i], ROUNDS, 1e9 / RATE_WANTED);
		snprintf(name, sizeof(name), "rows inferred for a verdict stored, %s", names[i]);
		row(name, "x", share[i], ROUNDS, NO_TARGET);
	}
}

static void paced(struct path *path, const char *of)
{
	static double per_s[PACED_PIECES], lost[PACED_PIECES];
	double emitted = 0, all_lost = 0;
	struct piece piece;
	char name[80];
	int whole = 0;

	for (int i = 0; i < PACED_PIECES; i++) {
		rate_piece(path, 1.05 * RATE_WANTED, &piece);
		per_s[i] = piece.per_s / 1e6;
		lost[i] = 1e6 * piece.lost / (piece.emitted + piece.lost);
		emitted += piece.emitted;
		all_lost += piece.lost;
		whole += piece.lost == 0;
	}
	snprintf(name, sizeof(name), "paced, %s: records a second", of);
	row(name, "M/s", per_s, PACED_PIECES, NO_TARGET);
	snprintf(name, sizeof(name), "paced, %s: records lost of a million", of);
	row(name, "ppm", lost, PACED_PIECES, 0.001);
	printf("  (%d of %d pieces of %d ms lost nothing; %.0f records delivered = emitted, %.0f "
	       "lost for want of room)\n",
		whole, PACED_PIECES, RATE_MS, emitted, all_lost);
}

/* ---- real reads -------------------------------------------------------------------------------------- */

static int scratch_open(struct disk *disk)
{
	static char zeros[1 << 20];
	struct disk disks[64];
	struct stat st;
	char path[64];
	int n = disk_scan("/sys", disks, 64), fd;

	snprintf(path, sizeof(path), "build/bench/scratch-%d", getpid());
	(void)mkdir("build/bench", 0755);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	unlink(path);
	for (uint32_t at = 0; at < PATH_FILE_BYTES; at += sizeof(zeros)) {
		memset(zeros, (int)(at >> 20) + 1, sizeof(zeros));
		if (write(fd, zeros, sizeof(zeros)) != sizeof(zeros))
			goto out_close;
	}
	if (fsync(fd) || fcntl(fd, F_SETFL, O_DIRECT) || fstat(fd, &st))
		goto out_close;
	for (int i = 0; i < n; i++)
		if (disks[i].supported && disks[i].major == major(st.st_dev) &&
			disks[i].minor <= minor(st.st_dev)) {
			*disk = disks[i];
			return fd;
		}
out_close:
	close(fd);
	return -1;
}

static void read_some(int fd, size_t n, struct path *path, bool asleep)
{
	static char buffer[4096] __attribute__((aligned(4096)));
	struct random_state random = random_seed(boot_ns());

	for (size_t i = 0; i < n; i++) {
		off_t at = (off_t)(random_u64(&random) % (PATH_FILE_BYTES / 4096)) * 4096;

		if (pread(fd, buffer, sizeof(buffer), at) != sizeof(buffer))
			return;
		for (int wait = 0;
			asleep && wait < 50 && !*(volatile uint32_t *)&path->policy->bpf.wake->idle;
			wait++)
			usleep(200);
	}
}

static void real_reads(bool spin_too)
{
	static const char *const name[3] = { "real reads, each into a drain asleep",
		"real reads in a row, newest of each window", "real reads in a row, spinning" };
	static double took[3][ROUNDS * REAL_READS];
	size_t n[3] = { 0 };
	struct disk disk;
	int fd = scratch_open(&disk);

	if (fd < 0) {
		printf("  real reads: no scratch file on a disk of its own can be made here\n");
		return;
	}
	for (int round = 0; round < ROUNDS; round++)
		for (int kind = 0; kind < 2 + spin_too; kind++) {
			struct path *path = path_new("build/policies/linnos", "linnos.bpf.o", &disk,
				kind == 2 ? "always" : "never");

			if (!path) {
				printf("  real reads: the hooks cannot be attached here\n");
				close(fd);
				return;
			}
			model_give(path, "latency-ages", ours, 3);
			path_watch(path, took[kind] + n[kind], REAL_READS);
			path_start(path);
			if (path_attach(path))
				exit(1);
			read_some(fd, REAL_READS / 2, path, kind == 0);
			path_detach(path);
			path_stop(path);
			n[kind] += path_watched(path);
			path_free(path);
		}
	close(fd);
	for (int kind = 0; kind < 2 + spin_too; kind++)
		row(name[kind], "us", took[kind], n[kind],
			kind == 0   ? 12
			: kind == 2 ? 1.5
				    : NO_TARGET);
}

int main(void)
{
	const struct disk disk = { .name = "bench",
		.major = 259,
		.minor = 3,
		.diskseq = 1,
		.queues = 2,
		.queue_depth = TAGS,
		.identity = "bench",
		.physical = true,
		.supported = true };
	static const char *const names[] = { "20-64-2", "31-256-2 (LinnOS)" };
	struct path *sleeping, *spinning, *wide;

	if (geteuid() != 0 || access("/sys/kernel/btf/vmlinux", R_OK)) {
		printf("  skipped: needs root and a kernel with BTF\n");
		return 77;
	}
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		printf("  skipped: needs two CPUs\n");
		return 77;
	}
	pin_to(0);
	sleeping = path_new("build/tests/bpf", "block_wrap.bpf.o", &disk, "never");
	spinning = path_new("build/tests/bpf", "block_wrap.bpf.o", &disk, "always");
	wide = path_new("build/tests/bpf", "block_wrap.bpf.o", &disk, "never");
	if (!sleeping || !spinning || !wide)
		return 1;
	model_give(sleeping, "latency-ages", ours, 3);
	model_give(spinning, "latency-ages", ours, 3);
	model_give(wide, "linnos-digits", linnos, 3);
	latency(sleeping, spinning);
	rates((struct path *[]){ sleeping, wide }, names, 2);
	paced(sleeping, names[0]);
	paced(spinning, "20-64-2, spinning");
	path_free(sleeping);
	path_free(spinning);
	path_free(wide);
	real_reads(true);
	rows_end("path");
	return 0;
}
