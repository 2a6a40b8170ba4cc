// SPDX-License-Identifier: Apache-2.0
/*
 * schedload.c - loads for a scheduler, for the test machine: who waits how long to run, and how much gets done.
 *
 * Written after what schbench, hackbench and a mix of hogs and sleepers do; none of their code. Prints one line of
 * key=value. Amounts of work are counted loops, the same in every run on a machine; times are the monotonic clock's. Must
 * never be linked to anything of the product. Threads share only what is named atomic here.
 *
 *   wake --wakers M --workers W   each waker wakes its workers, they work and answer: waiting from wakeup to running
 *   hack --groups G --pairs P --loops N   P senders and P receivers a group over pipes: messages a second
 *   mix --hogs H --sleepers N     hogs count loops while sleepers wake every 2 ms and count one; per_s: loops of both
 *   hog --hogs H [--cpu C] [--fifo PRIORITY]   loops until --seconds are over
 * Each with --nice N.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_WAITS (1u << 17) /* a thread's; later ones are not kept */
#define SLEEP_NS 2000000LL

static struct {
	long wakers, workers, groups, pairs, loops, hogs, sleepers, seconds, cpu, fifo, work, nice;
} option = { .wakers = 2,
	.workers = 4,
	.groups = 4,
	.pairs = 5,
	.loops = 200,
	.hogs = 4,
	.sleepers = 8,
	.seconds = 5,
	.cpu = -1,
	.work = 20000 };

struct worker {
	pthread_t thread;
	atomic_uint go; /* futex: 1 = woken */
	_Atomic int64_t woken_ns;
	struct waker *waker;
	uint32_t *waits_us;
	uint64_t n, work;
};

struct waker {
	pthread_t thread;
	atomic_uint answers; /* futex */
	struct worker *worker;
	uint64_t rounds;
};

static atomic_bool stop;

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void work(long loops)
{
	volatile uint64_t x = 1;

	for (long i = 0; i < loops; i++)
		x = x * 6364136223846793005ULL + 1;
}

/* Times out, so that whoever was not woken at the end sees that it is over. */
static void futex_wait(atomic_uint *word, unsigned int value)
{
	const struct timespec most = { .tv_nsec = 100000000 };

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &most, NULL, 0);
}

static void futex_wake(atomic_uint *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void keep(struct worker *worker, int64_t waited_ns)
{
	if (worker->n < MAX_WAITS)
		worker->waits_us[worker->n] = waited_ns > 0 ? (uint32_t)(waited_ns / 1000) : 0;
	worker->n++;
}

static struct worker *workers_new(size_t n)
{
	struct worker *worker = calloc(n, sizeof(*worker));

	for (size_t i = 0; worker && i < n; i++) {
		worker[i].waits_us = malloc(MAX_WAITS * sizeof(uint32_t));
		if (!worker[i].waits_us)
			die("malloc");
	}
	if (!worker)
		die("calloc");
	return worker;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void print_waits(const struct worker *worker, size_t n)
{
	uint32_t *all = malloc(n * MAX_WAITS * sizeof(uint32_t));
	size_t kept = 0;

	if (!all)
		die("malloc");
	for (size_t i = 0; i < n; i++) {
		size_t m = worker[i].n < MAX_WAITS ? worker[i].n : MAX_WAITS;

		memcpy(all + kept, worker[i].waits_us, m * sizeof(uint32_t));
		kept += m;
	}
	qsort(all, kept, sizeof(*all), by_value);
	if (!kept)
		all[kept++] = 0;
	printf(" waits=%zu p50_us=%u p95_us=%u p99_us=%u p999_us=%u max_us=%u", kept, all[kept / 2],
		all[kept * 95 / 100], all[kept * 99 / 100], all[kept * 999 / 1000], all[kept - 1]);
	free(all);
}

/* ---- wake ------------------------------------------------------------------------------------------- */

static void *worker_main(void *ctx)
{
	struct worker *worker = ctx;

	while (!stop) {
		unsigned int was = atomic_load(&worker->go);

		if (!was) {
			futex_wait(&worker->go, 0);
			continue;
		}
		keep(worker, now_ns() - worker->woken_ns);
		atomic_store(&worker->go, 0);
		work(option.work);
		atomic_fetch_add(&worker->waker->answers, 1);
		futex_wake(&worker->waker->answers);
	}
	return NULL;
}

static void *waker_main(void *ctx)
{
	struct waker *waker = ctx;

	while (!stop) {
		unsigned int have;

		atomic_store(&waker->answers, 0);
		for (long i = 0; i < option.workers; i++) {
			waker->worker[i].woken_ns = now_ns();
			atomic_store(&waker->worker[i].go, 1);
			futex_wake(&waker->worker[i].go);
		}
		while (!stop &&
			(have = atomic_load(&waker->answers)) < (unsigned int)option.workers)
			futex_wait(&waker->answers, have);
		waker->rounds++;
	}
	return NULL;
}

static void run_wake(void)
{
	size_t n = (size_t)(option.wakers * option.workers);
	struct worker *worker = workers_new(n);
	struct waker *waker = calloc((size_t)option.wakers, sizeof(*waker));
	uint64_t rounds = 0;
	int64_t from;

	if (!waker)
		die("calloc");
	from = now_ns();
	for (long m = 0; m < option.wakers; m++) {
		waker[m].worker = worker + m * option.workers;
		for (long i = 0; i < option.workers; i++) {
			waker[m].worker[i].waker = &waker[m];
			if (pthread_create(&waker[m].worker[i].thread, NULL, worker_main,
				    &waker[m].worker[i]))
				die("pthread_create");
		}
		if (pthread_create(&waker[m].thread, NULL, waker_main, &waker[m]))
			die("pthread_create");
	}
	sleep((unsigned int)option.seconds);
	stop = true;
	for (long m = 0; m < option.wakers; m++) {
		pthread_join(waker[m].thread, NULL);
		rounds += waker[m].rounds;
	}
	for (size_t i = 0; i < n; i++)
		pthread_join(worker[i].thread, NULL);
	printf("load=wake per_s=%.1f",
		(double)rounds * (double)option.workers * 1e9 / (double)(now_ns() - from));
	print_waits(worker, n);
	putchar('\n');
}

/* ---- hack ------------------------------------------------------------------------------------------- */

/* A whole message in or out; the process ends with 1 where that fails. */
static void message(int fd, bool sends)
{
	char text[100] = { 0 };
	size_t left = sizeof(text);

	while (left) {
		ssize_t got = sends ? write(fd, text, left) : read(fd, text, left);

		if (got <= 0)
			_exit(1);
		left -= (size_t)got;
	}
}

/* One group: every sender writes to every receiver's pipe. */
static void group(void)
{
	int pipes[64][2];
	long n = option.pairs < 64 ? option.pairs : 64;
	int status, bad = 0;

	for (long i = 0; i < n; i++)
		if (pipe(pipes[i]))
			die("pipe");
	for (long i = 0; i < n; i++) {
		if (fork() == 0) {
			for (long got = 0; got < option.loops * n; got++)
				message(pipes[i][0], false);
			_exit(0);
		}
		if (fork() == 0) {
			for (long sent = 0; sent < option.loops * n; sent++)
				message(pipes[sent % n][1], true);
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		bad |= status;
	_exit(bad != 0);
}

static void run_hack(void)
{
	int64_t from = now_ns(), took;
	int status, bad = 0;

	for (long g = 0; g < option.groups; g++)
		if (fork() == 0)
			group();
	while (wait(&status) > 0)
		bad |= status;
	took = now_ns() - from;
	if (bad)
		die("a group failed");
	printf("load=hack ms=%.1f per_s=%.1f\n", (double)took / 1e6,
		(double)(option.groups * option.pairs * option.pairs * option.loops) * 1e9 /
			(double)took);
}

/* ---- mix, hog --------------------------------------------------------------------------------------- */

static void *hog_main(void *ctx)
{
	struct worker *worker = ctx;

	if (option.fifo) {
		const struct sched_param parameter = { .sched_priority = (int)option.fifo };

		if (sched_setscheduler(0, SCHED_FIFO, &parameter))
			die("sched_setscheduler");
	}
	if (option.cpu >= 0) {
		cpu_set_t one;

		CPU_ZERO(&one);
		CPU_SET((size_t)option.cpu, &one);
		if (sched_setaffinity(0, sizeof(one), &one))
			die("sched_setaffinity");
	}
	while (!stop) {
		work(option.work);
		worker->work++;
	}
	return NULL;
}

static void *sleeper_main(void *ctx)
{
	struct worker *worker = ctx;
	int64_t due = now_ns();

	while (!stop) {
		struct timespec until;

		due = due + SLEEP_NS > now_ns() ? due + SLEEP_NS : now_ns() + SLEEP_NS;
		until = (struct timespec){ due / 1000000000, due % 1000000000 };
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
		keep(worker, now_ns() - due);
		work(option.work);
		worker->work++;
	}
	return NULL;
}

static void run_hogs(bool mix)
{
	size_t hogs = (size_t)option.hogs, sleepers = mix ? (size_t)option.sleepers : 0;
	struct worker *worker = workers_new(hogs + sleepers);
	uint64_t loops = 0, naps = 0;

	/* It ends in time even if its hogs let nobody else run. */
	if (option.fifo) {
		const struct sched_param parameter = { .sched_priority = (int)option.fifo + 1 };

		if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameter))
			die("sched_setscheduler");
	}
	for (size_t i = 0; i < hogs + sleepers; i++)
		if (pthread_create(&worker[i].thread, NULL, i < hogs ? hog_main : sleeper_main,
			    &worker[i]))
			die("pthread_create");
	sleep((unsigned int)option.seconds);
	stop = true;
	for (size_t i = 0; i < hogs + sleepers; i++) {
		pthread_join(worker[i].thread, NULL);
		*(i < hogs ? &loops : &naps) += worker[i].work;
	}
	printf("load=%s per_s=%.1f hogs_per_s=%.1f naps_per_s=%.1f", mix ? "mix" : "hog",
		(double)(loops + naps) / (double)option.seconds,
		(double)loops / (double)option.seconds, (double)naps / (double)option.seconds);
	print_waits(worker + hogs, sleepers);
	putchar('\n');
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		long *value;
	} longs[] = { { "wakers", &option.wakers }, { "workers", &option.workers },
		{ "groups", &option.groups }, { "pairs", &option.pairs },
		{ "loops", &option.loops }, { "hogs", &option.hogs },
		{ "sleepers", &option.sleepers }, { "seconds", &option.seconds },
		{ "cpu", &option.cpu }, { "fifo", &option.fifo }, { "work", &option.work },
		{ "nice", &option.nice } };

	for (int i = 2; i + 1 < argc; i += 2) {
		bool known = false;

		for (size_t o = 0; o < sizeof(longs) / sizeof(longs[0]); o++) {
			if (strncmp(argv[i], "--", 2) || strcmp(argv[i] + 2, longs[o].name))
				continue;
			*longs[o].value = strtol(argv[i + 1], NULL, 10);
			known = true;
		}
		if (!known)
			argc = 0;
	}
	if (option.nice && setpriority(PRIO_PROCESS, 0, (int)option.nice))
		die("setpriority");
	if (argc >= 2 && strcmp(argv[1], "wake") == 0)
		run_wake();
	else if (argc >= 2 && strcmp(argv[1], "hack") == 0)
		run_hack();
	else if (argc >= 2 && strcmp(argv[1], "mix") == 0)
		run_hogs(true);
	else if (argc >= 2 && strcmp(argv[1], "hog") == 0)
		run_hogs(false);
	else
		return fprintf(stderr, "usage: schedload wake|hack|mix|hog [--option N]...\n"), 2;
	return 0;
}
