// SPDX-License-Identifier: Apache-2.0
/*
 * bench_two_cpus.c - what a block event costs when two CPUs work on one device at once, against one CPU alone.
 *
 * As bench_hooks.c, in blocks of pairs (issue, completion). Two virtual CPUs may be two cores in one moment and two
 * threads of one core in the next, as their host pleases, and slow each other down then whatever they run. So every round
 * also has a control in which they share nothing of ours: an object each, with its own maps and rings. A round is one CPU
 * alone, control, both on one device, control, one CPU alone; it had two cores when both its controls were at most
 * OWN_CORES times one CPU. All rounds are reported, and those with two cores once more. Rounds are spread over a
 * minute. Nothing is attached.
 */
#include <pthread.h>
#include <stdatomic.h>
#include "tests/bench/bench.h"
#include "tests/bpf/wrap.h"

#define PAIRS 1024
#define ROUNDS 400
#define WARM_UP 3
#define PAUSE_NS 120000000
#define OWN_CORES 1.15
#define DEV (259u << 20)
#define RING_BYTES (512u << 10)
#define CPUS 2

enum work { ONE_DEVICE, OBJECT_EACH };

static struct wrap objects[CPUS];
static atomic_int go, done; /* number of the block the other CPU runs and has run; go -1: it ends */
static enum work work;
static double other_ns;

/* ns per event of a block on this thread's CPU. */
static double block(int cpu)
{
	struct wrap_command command = {
		.event = { .diskseq = 1, .dev = DEV, .hw_queue = (uint32_t)cpu, .sectors = 8 },
		.what = WRAP_PAIRS,
		.repeat = PAIRS,
		.tags = 32,
	};

	if (wrap_run(&objects[work == OBJECT_EACH ? cpu : 0], &command)) {
		fprintf(stderr, "the wrapped program was refused\n");
		exit(1);
	}
	return (double)command.elapsed_ns / (2 * PAIRS);
}

static void *other_cpu(void *arg)
{
	pin_to(1);
	for (int turn = 1;; turn++) {
		int wanted;

		while ((wanted = atomic_load(&go)) != turn && wanted != -1)
			__builtin_ia32_pause();
		if (wanted == -1)
			return arg;
		other_ns = block(1);
		atomic_store(&done, turn);
	}
}

/* Empty the rings without keeping the records. */
static void drain(void)
{
	for (int i = 0; i < CPUS; i++) {
		objects[i].n = WRAP_RECORDS;
		while (ring_drain(objects[i].reader))
			;
	}
}

/* ns per event of the last of three blocks alike; with both CPUs the mean of the two. */
static double measure(enum work what, bool both)
{
	static int turn;
	double ns = 0;

	for (int time = 0; time < 3; time++) {
		work = what;
		if (both)
			atomic_store(&go, ++turn);
		ns = block(0);
		if (both) {
			while (atomic_load(&done) != turn)
				__builtin_ia32_pause();
			ns = (ns + other_ns) / 2;
		}
		drain();
	}
	return ns;
}

struct series {
	double one[ROUNDS], two[ROUNDS], ratio[ROUNDS], control[ROUNDS], sharing[ROUNDS];
	double own_cores[ROUNDS];
	size_t n_own;
};

static void round_run(struct series *s, int i)
{
	double one, before, two, after;

	for (int cpu = 0; cpu < CPUS; cpu++)
		bpf_lease_renew(&objects[cpu].lease);
	one = measure(ONE_DEVICE, false);
	before = measure(OBJECT_EACH, true);
	two = measure(ONE_DEVICE, true);
	after = measure(OBJECT_EACH, true);
	one = (one + measure(ONE_DEVICE, false)) / 2;
	s->one[i] = one;
	s->two[i] = two;
	s->ratio[i] = two / one;
	s->control[i] = (before + after) / 2 / one;
	s->sharing[i] = two / ((before + after) / 2);
	if (before <= OWN_CORES * one && after <= OWN_CORES * one)
		s->own_cores[s->n_own++] = two / one;
}

int main(void)
{
	static struct series s;
	struct timespec pause = { .tv_nsec = PAUSE_NS };
	pthread_t thread;
	double share;

	if (sysconf(_SC_NPROCESSORS_ONLN) < CPUS) {
		printf("needs two CPUs\n");
		return 77;
	}
	for (int cpu = 0; cpu < CPUS; cpu++) {
		wrap_open(&objects[cpu], 1000000000, RING_BYTES);
		objects[cpu].policy.wake->every = 1u << 30; /* drained by deadline */
		wrap_slot_add(&objects[cpu], 0, DEV, 1, 64);
	}
	pin_to(0);
	if (pthread_create(&thread, NULL, other_cpu, NULL)) {
		fprintf(stderr, "no thread for the other CPU\n");
		return 1;
	}
	for (int round = -WARM_UP; round < ROUNDS; round++) {
		if (round <= 0)
			s.n_own = 0;
		round_run(&s, round < 0 ? 0 : round);
		nanosleep(&pause, NULL);
	}
	atomic_store(&go, -1);
	pthread_join(thread, NULL);
	for (int cpu = 0; cpu < CPUS; cpu++) {
		wrap_conserved(&objects[cpu], 0);
		wrap_close(&objects[cpu]);
	}
	row("event, one CPU", "ns", s.one, ROUNDS, 250);
	row("event, two CPUs, one device", "ns", s.two, ROUNDS, 250);
	row("two CPUs on one device / one CPU", "x", s.ratio, ROUNDS, 1.3);
	row("control: two CPUs, an object each / one CPU", "x", s.control, ROUNDS, NO_TARGET);
	row("two CPUs, one device / an object each", "x", s.sharing, ROUNDS, NO_TARGET);
	share = 100.0 * (double)s.n_own / ROUNDS;
	row("rounds in which the machine had two cores", "%", &share, 1, NO_TARGET);
	row("  two CPUs on one device / one CPU in those", "x", s.own_cores, s.n_own, 1.3);
	rows_end("two_cpus");
	return 0;
}
