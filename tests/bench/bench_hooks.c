// SPDX-License-Identifier: Apache-2.0
/*
 * bench_hooks.c - what a block event costs the machine: ns per hook body, clock reading, record and ring included.
 *
 * Runs the bodies of bpf/hooks/block.h by BPF_PROG_TEST_RUN in blocks of pairs (issue, completion), on this machine,
 * at its real speed, with the lease alive. Configurations are interleaved block by block and compared by the median
 * of ratios within a round. Rings are drained between blocks, outside the timing. The last of three
 * blocks alike counts, but for the cold row, before which 16 MiB are written. Nothing is attached. What two CPUs cost
 * each other is bench_two_cpus.c's.
 */
#include <pthread.h>
#include <stdatomic.h>
#include "tests/bench/bench.h"
#include "tests/bpf/wrap.h"

#define PAIRS 1024 /* a block; 2,048 events, each of 1,024 devices once */
#define ROUNDS 80
#define WARM_UP 3
#define DEV(slot) (259u << 20 | (slot))
#define RING_BYTES (512u << 10) /* a block needs 272 KiB */
#define COLD_BYTES (16u << 20)
#define STEPS 6

static const uint32_t in_turn[STEPS] = { 1, 4, 16, 64, 256, 1024 };

/* ns per event of one block on this thread's CPU. */
static double block(struct wrap *wrap, uint32_t hw_queue, uint32_t what, uint32_t devices)
{
	struct wrap_command command = {
		.event = { .diskseq = 1, .dev = DEV(0), .hw_queue = hw_queue, .sectors = 8 },
		.what = what,
		.repeat = PAIRS,
		.tags = 32,
		.devices = devices,
	};

	if (wrap_run(wrap, &command)) {
		fprintf(stderr, "the wrapped program was refused\n");
		exit(1);
	}
	return (double)command.elapsed_ns / (2 * PAIRS);
}

/* Empty the rings without keeping the records. */
static void drain(struct wrap *wrap)
{
	wrap->n = WRAP_RECORDS;
	while (ring_drain(wrap->reader))
		;
}

static void budget_set(struct wrap *wrap, uint64_t per_s)
{
	struct semantos_control command = {
		.op = SEMANTOS_CTL_POLICY, .ttl_ns = 50000000, .budget_per_s = per_s
	};

	bpf_policy_control(&wrap->policy, &command);
}

struct neighbour {
	struct wrap *wrap;
	atomic_int go; /* block number to run, -1 = end */
	atomic_int done;
	uint32_t devices; /* as in block() */
	double ns;
};

static void *neighbour_thread(void *arg)
{
	struct neighbour *n = arg;

	pin_to(1);
	for (int turn = 1;; turn++) {
		int go;

		while ((go = atomic_load(&n->go)) != turn && go != -1)
			;
		if (go == -1)
			return NULL;
		n->ns = block(n->wrap, 1, WRAP_PAIRS, n->devices);
		atomic_store(&n->done, turn);
	}
}

/* Both CPUs at once; mean of the two, of the last of three blocks. */
static double both(struct wrap *wrap, struct neighbour *n, uint32_t devices)
{
	double here = 0;

	n->devices = devices;
	for (int time = 0; time < 3; time++) {
		int turn = atomic_load(&n->done) + 1;

		atomic_store(&n->go, turn);
		here = block(wrap, 0, WRAP_PAIRS, devices);
		while (atomic_load(&n->done) != turn)
			;
		drain(wrap);
	}
	return (here + n->ns) / 2;
}

/* Detach, or attach again, every device but the first two; their arrays of requests in flight stay. */
static void others(struct wrap *wrap, bool attached)
{
	for (uint32_t slot = 2; slot < SEMANTOS_MAX_SLOTS; slot++) {
		struct semantos_control command = {
			.op = attached ? SEMANTOS_CTL_SLOT_ADD : SEMANTOS_CTL_SLOT_REMOVE,
			.slot = slot,
			.dev = DEV(slot),
			.diskseq = 1,
			.queue_depth = 64,
			.queues = 2,
		};

		if (bpf_policy_control(&wrap->policy, &command)) {
			fprintf(stderr, "slot %u cannot be changed\n", slot);
			exit(1);
		}
	}
}

/* ns per event of the last of three blocks alike. */
static double warm(struct wrap *wrap, uint32_t devices)
{
	double ns = 0;

	for (int time = 0; time < 3; time++) {
		ns = block(wrap, 0, WRAP_PAIRS, devices);
		drain(wrap);
	}
	return ns;
}

struct series {
	double clock[ROUNDS], one[ROUNDS], single[ROUNDS];
	double attached_ratio[ROUNDS], unsent[ROUNDS], cold[ROUNDS], cold_ratio[ROUNDS];
	double turn[STEPS][ROUNDS], turn_two[STEPS][ROUNDS], turn_ratio[ROUNDS];
};

static void round_run(struct series *s, int i, struct wrap *wrap, struct neighbour *n, char *trash)
{
	bpf_lease_renew(&wrap->lease);
	s->clock[i] = block(wrap, 0, WRAP_CLOCK, 0);
	s->one[i] = warm(wrap, 0);
	budget_set(wrap, 1);
	s->unsent[i] = warm(wrap, 0);
	budget_set(wrap, 1000000000);
	for (int step = 0; step < STEPS; step++) {
		s->turn[step][i] = warm(wrap, in_turn[step]);
		if (n->wrap)
			s->turn_two[step][i] = both(wrap, n, in_turn[step]);
	}
	s->turn_ratio[i] = s->turn[STEPS - 1][i] / s->turn[0][i];
	others(wrap, false);
	s->single[i] = warm(wrap, 0);
	others(wrap, true);
	s->attached_ratio[i] = warm(wrap, 0) / s->single[i];
	memset(trash, i, COLD_BYTES);
	bpf_lease_renew(&wrap->lease);
	s->cold[i] = block(wrap, 0, WRAP_PAIRS, SEMANTOS_MAX_SLOTS);
	drain(wrap);
	s->cold_ratio[i] = s->cold[i] / s->turn[0][i];
}

static void print(struct series *s, bool pair)
{
	char name[64];

	row("clock readings and loop alone", "ns", s->clock, ROUNDS, NO_TARGET);
	row("event, one CPU, one device", "ns", s->one, ROUNDS, 250);
	row("event beyond the event budget", "ns", s->unsent, ROUNDS, NO_TARGET);
	row("1,024 devices attached, load on one / one attached", "x", s->attached_ratio, ROUNDS,
		1.5);
	for (int step = 0; step < STEPS; step++) {
		snprintf(name, sizeof(name), "event, %u devices in turn, one CPU", in_turn[step]);
		row(name, "ns", s->turn[step], ROUNDS, NO_TARGET);
		if (!pair)
			continue;
		snprintf(name, sizeof(name), "event, %u devices in turn, two CPUs", in_turn[step]);
		row(name, "ns", s->turn_two[step], ROUNDS, NO_TARGET);
	}
	row("1,024 devices in turn / one device", "x", s->turn_ratio, ROUNDS, 1.5);
	row("event, 1,024 devices in turn, cold caches", "ns", s->cold, ROUNDS, NO_TARGET);
	row("1,024 devices in turn, cold caches / one device", "x", s->cold_ratio, ROUNDS, 1.5);
	rows_end("hooks");
}

int main(void)
{
	static struct series s;
	static struct neighbour neighbour;
	static struct wrap wrap;
	char *trash = malloc(COLD_BYTES);
	pthread_t thread;

	if (!trash)
		return 1;
	wrap_open(&wrap, 1000000000, RING_BYTES);
	wrap.policy.wake->every = 1u << 30; /* the consumer is awake and drains by deadline */
	for (uint32_t slot = 0; slot < SEMANTOS_MAX_SLOTS; slot++)
		wrap_slot_add(&wrap, slot, DEV(slot), 1, 64);
	pin_to(0);
	if (sysconf(_SC_NPROCESSORS_ONLN) >= 2) {
		neighbour.wrap = &wrap;
		if (pthread_create(&thread, NULL, neighbour_thread, &neighbour))
			neighbour.wrap = NULL;
	}
	for (int round = -WARM_UP; round < ROUNDS; round++)
		round_run(&s, round < 0 ? 0 : round, &wrap, &neighbour, trash);
	if (neighbour.wrap) {
		atomic_store(&neighbour.go, -1);
		pthread_join(thread, NULL);
	}
	wrap_conserved(&wrap, 0);
	wrap_close(&wrap);
	free(trash);
	print(&s, neighbour.wrap != NULL);
	return 0;
}
