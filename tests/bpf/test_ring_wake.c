// SPDX-License-Identifier: Apache-2.0
/*
 * test_ring_wake.c - the wake protocol between producers in the kernel and the drain: no record is left lying when
 * nothing follows it, and a busy producer does not wake the consumer for every record.
 */
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include "agent/core/drain.h"
#include "tests/bpf/wrap.h"

#define DEV (259u << 20 | 3)
#define SLOT 1
#define ROUNDS 20000
#define WINDOW_NS 20000 /* short, so that a round takes the way to sleep and back */
/* A record that lies this long was forgotten; on a machine that does other work we may not run for seconds. */
#define LOST_NS 10000000000ULL
#define QUICK_PAIRS 8 /* at once, of the case that spins */
#define BUSY_PAIRS 200000

static struct wrap wrap;
static struct loop *loop;
static struct drain *drain;
static pthread_t loop_thread;
static atomic_uint_fast64_t taken;
static atomic_bool linger;
static bool opened, running;

static void wait_ns(uint64_t ns)
{
	uint64_t until = boot_ns() + ns;

	while (boot_ns() < until)
		;
}

static void on_drained(void *ctx, size_t n, uint64_t start_ns)
{
	(void)ctx, (void)start_ns;
	wrap.n = 0;
	atomic_fetch_add(&taken, n);
	/* Between "nothing there" and sleep lies the race: make it wide enough to be met. */
	if (!n && linger)
		wait_ns(WINDOW_NS / 4);
}

static void *run(void *ctx)
{
	loop_run(ctx);
	return NULL;
}

static void start(uint64_t window_ns, enum drain_spin spin)
{
	wrap_open(&wrap, 100000000, 262144);
	opened = true;
	wrap_slot_add(&wrap, SLOT, DEV, 1, 32);
	for (uint32_t i = 0; i < 4; i++) {
		wrap_event(&wrap, WRAP_ISSUE, SLOT, DEV, 1, i, 0, 8, boot_ns());
		wrap_event(&wrap, WRAP_COMPLETE, SLOT, DEV, 1, i, 0, 8, boot_ns());
	}
	wrap_drain(&wrap);
	atomic_store(&taken, 0);
	loop = loop_new();
	assert_non_null(loop);
	drain = drain_new(loop, wrap.reader, window_ns, spin, on_drained, NULL);
	assert_non_null(drain);
	assert_true(drain_asleep(drain));
	assert_int_equal(pthread_create(&loop_thread, NULL, run, loop), 0);
	running = true;
}

/* After each case, also one that failed, so that the next begins afresh. */
static int end(void **state)
{
	(void)state;
	atomic_store(&linger, false);
	if (running) {
		loop_stop(loop);
		pthread_join(loop_thread, NULL);
		drain_free(drain);
		loop_free(loop);
		running = false;
	}
	if (opened)
		wrap_close(&wrap);
	opened = false;
	return 0;
}

static uint64_t random_next(uint64_t *state)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return *state >> 33;
}

/* True when all `wanted` records came within LOST_NS. */
static bool arrived(uint64_t wanted, uint64_t *took_ns)
{
	uint64_t begin = boot_ns();

	do
		*took_ns = boot_ns() - begin;
	while (atomic_load(&taken) < wanted && *took_ns < LOST_NS && !sched_yield());
	return atomic_load(&taken) >= wanted;
}

static void last_record_arrives(enum drain_spin spin, int rounds)
{
	uint64_t seed = 1, sent = 0, lost = 0, took, longest = 0, sum = 0;
	struct drain_counts counts;
	struct wrap_command command = {
		.event = { .diskseq = 1, .queue_id = SLOT, .dev = DEV, .sectors = 8 },
		.what = WRAP_PAIRS,
		.tags = 8,
	};

	start(WINDOW_NS, spin);
	atomic_store(&linger, true);
	for (int i = 0; i < rounds; i++) {
		/* Pauses about as long as the drain takes to fall asleep, so that both meet; several at once make it spin. */
		bool quick = spin == SPIN_AUTO && i / 64 % 2;

		wait_ns(random_next(&seed) % (2 * DRAIN_IDLE_ROUNDS * WINDOW_NS));
		if (quick) {
			command.repeat = QUICK_PAIRS;
			assert_int_equal(wrap_run(&wrap, &command), 0);
			sent += 2 * QUICK_PAIRS;
		} else {
			wrap_event(&wrap, i & 1 ? WRAP_COMPLETE : WRAP_ISSUE, SLOT, DEV, 1, 9, 0, 8,
				boot_ns());
			sent++;
		}
		if (!arrived(sent, &took)) {
			lost++;
			atomic_store(&taken, sent);
		}
		sum += took;
		longest = took > longest ? took : longest;
	}
	drain_counts(drain, &counts);
	if (spin == SPIN_AUTO) {
		print_message("spun %.0f ms, %.0f of them for nothing, let others go %d times\n",
			(double)counts.spin_ns / 1e6, (double)counts.barren_ns / 1e6,
			(int)counts.yields);
		if (!counts.spin_ns)
			print_message("(this machine never let it spin)\n");
	}
	print_message("%d records, %d lost wake-ups, longest wait %.2f ms, mean %.0f us; "
		      "%d wake-ups, %d rounds\n",
		rounds, (int)lost, (double)longest / 1e6, (double)sum / rounds / 1e3,
		(int)counts.wakes, (int)counts.rounds);
	assert_int_equal(lost, 0);
	/* How many records came into sleep and how many while we were awake is the machine's doing. */
	if (counts.wakes < (uint64_t)rounds / 100 ||
		counts.wakes > (uint64_t)(rounds - rounds / 100)) {
		print_message("skipped: this machine was too slow to meet the drain both asleep "
			      "and awake\n");
		skip();
	}
}

static void last_record_is_never_left_lying(void **state)
{
	(void)state;
	last_record_arrives(SPIN_NEVER, ROUNDS);
}

/* Spinning, waiting for the window and sleeping follow each other; none of the changes may forget a record. */
static void nor_by_a_drain_that_spins(void **state)
{
	(void)state;
	last_record_arrives(SPIN_AUTO, ROUNDS / 2);
}

static void busy_producer_wakes_by_count(void **state)
{
	struct wrap_command command = {
		.event = { .diskseq = 1, .queue_id = SLOT, .dev = DEV, .sectors = 8 },
		.what = WRAP_PAIRS,
		.repeat = 100,
		.tags = 16,
	};
	uint64_t took, expected = 0, begin;
	struct drain_counts counts;

	(void)state;
	start(500000, SPIN_NEVER);
	begin = boot_ns();
	for (int i = 0; i < BUSY_PAIRS / 100; i++) {
		command.repeat = 100;
		assert_int_equal(wrap_run(&wrap, &command), 0);
		wait_ns(100000);
	}
	took = boot_ns() - begin;
	expected = wrap_count(&wrap, SEMANTOS_C_REQUESTS_SUBMITTED) +
		   wrap_count(&wrap, SEMANTOS_C_OUTCOMES_SUBMITTED);
	print_message("%d records in %.0f ms\n", (int)expected, (double)took / 1e6);
	assert_true(arrived(expected, &took));
	drain_counts(drain, &counts);
	print_message("%d wake-ups, %d rounds: %.4f wake-ups a record\n", (int)counts.wakes,
		(int)counts.rounds, (double)counts.wakes / (double)expected);
	/* wrap_open() asks for one wake-up in 64 records; twice that is still no storm. */
	assert_true(counts.wakes <= expected / 32 + 16);
}

/* Pairs of issue and completion on this CPU: 2 * pairs records in its ring. */
static void fill(int cpu, uint32_t pairs)
{
	struct wrap_command command = {
		.event = { .diskseq = 1, .queue_id = SLOT, .dev = DEV, .sectors = 8 },
		.what = WRAP_PAIRS,
		.repeat = pairs,
		.tags = 16,
	};
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET((unsigned int)cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(wrap_run(&wrap, &command), 0);
}

/* A ring that is filled as fast as it is emptied must not keep us from the others. */
static void busy_ring_does_not_starve_the_next(void **state)
{
	cpu_set_t all;
	bool came = false;

	(void)state;
	sched_getaffinity(0, sizeof(all), &all);
	if (!CPU_ISSET(0, &all) || !CPU_ISSET(1, &all)) {
		print_message("skipped: needs CPUs 0 and 1\n");
		skip();
	}
	wrap_open(&wrap, 100000000, 8u << 20);
	opened = true;
	wrap_slot_add(&wrap, SLOT, DEV, 1, 32);
	fill(0, RING_DRAIN_MAX);
	fill(1, 1);
	for (int round = 0; round < 2; round++) {
		wrap.n = 0;
		ring_drain(wrap.reader);
		for (size_t i = 0; i < wrap.n; i++)
			came |= wrap.record[i].head.cpu == 1;
		fill(0, RING_DRAIN_MAX / 2);
	}
	assert_true(came);
	sched_setaffinity(0, sizeof(all), &all);
	wrap_drain(&wrap);
	wrap_conserved(&wrap, 0);
}

static void do_spurious_wake(void *ctx)
{
	drain_round(drain);
	*(bool *)ctx = drain_asleep(drain);
}

static void do_look(void *ctx)
{
	*(bool *)ctx = drain_asleep(drain) && wrap.policy.wake->idle;
}

/*
 * Woken with nothing to be seen: the record that an interrupt's record overtook completes later and wakes nobody, so
 * the drain must stay awake for a while, and go to sleep again of its own accord.
 */
static void wake_without_a_record_keeps_it_awake(void **state)
{
	bool asleep = true;

	(void)state;
	start(WINDOW_NS, SPIN_NEVER);
	assert_int_equal(loop_call(loop, do_spurious_wake, &asleep, 5000), 0);
	assert_false(asleep);
	for (int i = 0; i < 1000 && !asleep; i++) {
		wait_ns(1000000);
		assert_int_equal(loop_call(loop, do_look, &asleep, 5000), 0);
	}
	assert_true(asleep);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(last_record_is_never_left_lying, end),
		cmocka_unit_test_teardown(nor_by_a_drain_that_spins, end),
		cmocka_unit_test_teardown(busy_producer_wakes_by_count, end),
		cmocka_unit_test_teardown(busy_ring_does_not_starve_the_next, end),
		cmocka_unit_test_teardown(wake_without_a_record_keeps_it_awake, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
