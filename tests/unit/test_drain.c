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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(window_follows_the_cost),
		cmocka_unit_test(window_keeps_the_deadline),
		cmocka_unit_test(window_leaves_half_the_ring),
		cmocka_unit_test(words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
