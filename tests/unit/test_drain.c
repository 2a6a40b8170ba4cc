// SPDX-License-Identifier: Apache-2.0
/*
 * test_drain.c - the window between two drains follows from deadline, cost and room; words for spinning.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/core/drain.h"

#define MS 1000000ULL
#define RING (1u << 20)

static void window_follows_the_cost(void **state)
{
	uint64_t cheap = drain_window(50 * MS, 1000, 20000, RING);
	uint64_t dear = drain_window(50 * MS, 50000, 20000, RING);

	(void)state;
	/* Waking up and one round, a hundred times over. */
	assert_in_range(cheap, 100 * 1000, 100 * 20000);
	assert_int_equal(dear - cheap, 100 * 49000);
	assert_int_equal(drain_window(50 * MS, 0, 0, RING), drain_window(50 * MS, 0, 1, RING));
}

static void window_keeps_the_deadline(void **state)
{
	(void)state;
	assert_int_equal(drain_window(50 * MS, 10 * MS, 20000, RING), 50 * MS / 4);
	assert_int_equal(drain_window(1 * MS, 10 * MS, 20000, RING), 1 * MS / 4);
	/* A deadline as short as that is not kept by draining without a pause. */
	assert_int_equal(drain_window(100, 1000, 20000, RING), DRAIN_WINDOW_LEAST_NS);
}

static void window_leaves_half_the_ring(void **state)
{
	uint64_t window_ns = drain_window(50 * MS, 1 * MS, 1000000, 256u << 10);

	(void)state;
	/* 136 bytes a record with its header, a request and an outcome. */
	assert_true((double)window_ns / 1e9 * 1e6 * 2 * 136 <= 128.0 * 1024 + 272);
	assert_true((double)window_ns / 1e9 * 1e6 * 2 * 136 > 128.0 * 1024 - 272 * 2);
	assert_true(drain_window(50 * MS, 1 * MS, 1000000, RING) > window_ns);
}

static void words(void **state)
{
	(void)state;
	assert_int_equal(drain_spin_parse("never"), SPIN_NEVER);
	assert_int_equal(drain_spin_parse("auto"), SPIN_AUTO);
	assert_int_equal(drain_spin_parse("always"), SPIN_ALWAYS);
	assert_int_equal(drain_spin_parse("Always"), -EINVAL);
	assert_int_equal(drain_spin_parse(""), -EINVAL);
	/* The operator's word stands on any machine. */
	assert_int_equal(drain_spin_here(SPIN_ALWAYS), SPIN_ALWAYS);
	assert_int_equal(drain_spin_here(SPIN_NEVER), SPIN_NEVER);
}

struct busy {
	struct loop *loop;
	uint64_t looks;
	uint32_t ticks;
	bool long_ones;
};

static void on_look(void *ctx)
{
	struct busy *busy = ctx;

	busy->looks++;
	if (!busy->long_ones)
		return;
	usleep(2000);
	loop_turn(busy->loop);
}

static void on_tick(void *ctx)
{
	struct busy *busy = ctx;

	if (++busy->ticks < 3)
		return;
	loop_busy(busy->loop, -1);
	loop_stop(busy->loop);
}

/* The loop does not sleep while there is something to look at; after a long look timers have their turn. */
static void looking_keeps_no_timer_waiting(void **state)
{
	(void)state;
	for (int long_ones = 0; long_ones < 2; long_ones++) {
		struct busy busy = { .loop = loop_new(), .long_ones = long_ones };
		struct loop_source *timer;

		assert_non_null(busy.loop);
		timer = loop_add_timer(busy.loop, 5000000, on_tick, &busy);
		assert_non_null(timer);
		assert_int_equal(loop_add_busy(busy.loop, on_look, &busy), 0);
		loop_busy(busy.loop, 1);
		assert_int_equal(loop_run(busy.loop), 0);
		assert_int_equal(busy.ticks, 3);
		/* 64 looks in a row, were there no turns; on a busy machine each takes longer, and there are fewer. */
		assert_true(long_ones ? busy.looks < 40 : busy.looks > 40);
		loop_remove_busy(busy.loop, &busy);
		loop_remove(timer);
		loop_free(busy.loop);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(window_follows_the_cost),
		cmocka_unit_test(window_keeps_the_deadline),
		cmocka_unit_test(window_leaves_half_the_ring),
		cmocka_unit_test(words),
		cmocka_unit_test(looking_keeps_no_timer_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
