// SPDX-License-Identifier: Apache-2.0
/*
 * test_drift.c - a change of the mean is found soon, a steady stream is left alone, and the buckets say what was put in.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "agent/infer/random.h"
#include "agent/safety/drift.h"

static double coin(struct random_state *random, double chance)
{
	return random_unit(random) < chance;
}

static void a_steady_stream_is_left_alone(void **state)
{
	struct random_state random = random_seed(1);
	int streams = 100, alarmed = 0;
	struct drift drift;

	(void)state;
	for (int s = 0; s < streams; s++) {
		drift_reset(&drift, DRIFT_DELTA);
		for (int i = 0; i < 2000; i++)
			drift_add(&drift, coin(&random, 0.2));
		alarmed += drift.drifts > 0;
	}
	printf("of %d steady streams of 2,000 values %d gave an alarm\n", streams, alarmed);
	assert_true(alarmed <= 5);
}

static void a_change_is_found_and_the_old_forgotten(void **state)
{
	struct random_state random = random_seed(2);
	int found = 0, streams = 100;
	double delay = 0;

	(void)state;
	for (int s = 0; s < streams; s++) {
		struct drift drift;
		int i = 0;

		drift_reset(&drift, DRIFT_DELTA);
		while (i++ < 1000)
			drift_add(&drift, coin(&random, 0.1));
		drift.drifts = 0;
		for (i = 1; i <= 300; i++)
			if (drift_add(&drift, coin(&random, 0.5)))
				break;
		found += i <= 300;
		delay += i;
		for (i = 0; i < 300; i++)
			drift_add(&drift, coin(&random, 0.5));
		assert_true(drift_mean(&drift) > 0.35);
	}
	printf("0.1 to 0.5 after 1,000 values: found in %d of %d streams, after %.0f values on "
	       "average\n",
		found, streams, delay / streams);
	assert_true(found >= 99);
	assert_true(delay / streams < 100);
}

static void the_window_holds_what_was_put_in(void **state)
{
	struct random_state random = random_seed(3);
	double sum = 0, squares = 0, deviations = 0;
	struct drift drift;

	(void)state;
	drift_reset(&drift, 1e-12); /* no cut */
	assert_true(isnan(drift_mean(&drift)));
	for (int i = 0; i < 5000; i++) {
		double value = random_unit(&random);

		drift_add(&drift, value);
		sum += value;
		squares += value * value;
	}
	assert_int_equal(drift_width(&drift), 5000);
	assert_true(fabs(drift_mean(&drift) - sum / 5000) < 1e-9);
	for (int level = 0; level < DRIFT_LEVELS; level++) {
		assert_in_range(drift.used[level], 0, DRIFT_BUCKETS);
		for (int i = 0; i < drift.used[level]; i++) {
			struct drift_bucket *bucket = &drift.bucket[level][i];

			/* deviations within the buckets and between them are those of the stream */
			deviations += bucket->squares + bucket->sum * bucket->sum / ldexp(1, level);
		}
	}
	assert_true(fabs(deviations - squares) < 1e-6);
}

static void more_than_it_holds_lets_the_oldest_go(void **state)
{
	struct drift drift;

	(void)state;
	drift_reset(&drift, 1);
	assert_true(drift.delta == DRIFT_DELTA);
	for (int i = 0; i < 100000; i++)
		drift_add(&drift, 0.25);
	assert_in_range(drift_width(&drift), 16000, 32768);
	assert_true(drift_mean(&drift) == 0.25);
	assert_int_equal(drift.drifts, 0);
}

static void what_is_no_number_is_left_out(void **state)
{
	struct drift drift;

	(void)state;
	drift_reset(&drift, NAN);
	assert_true(drift.delta == DRIFT_DELTA);
	assert_false(drift_add(&drift, NAN));
	assert_int_equal(drift_width(&drift), 0);
	drift_add(&drift, INFINITY);
	drift_add(&drift, -7);
	assert_true(drift_mean(&drift) == 0.5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_steady_stream_is_left_alone),
		cmocka_unit_test(a_change_is_found_and_the_old_forgotten),
		cmocka_unit_test(the_window_holds_what_was_put_in),
		cmocka_unit_test(more_than_it_holds_lets_the_oldest_go),
		cmocka_unit_test(what_is_no_number_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
