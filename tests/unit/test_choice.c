// SPDX-License-Identifier: Apache-2.0
/*
 * test_choice.c - choosing by foreseen latencies is found to gain where it does, to lose where it misleads, and to be worth
 * nothing where latencies come by chance or the depth says it all.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "agent/infer/choice.h"
#include "agent/infer/random.h"

#define READS 2000
#define BLOCK 64
#define RESAMPLES 200

static struct choice_row rows[READS];

/* One read in six is slow, in runs of 20: 1,000 us and not 100. */
static void make_rows(bool (*score_slow)(bool slow, struct random_state *random))
{
	struct random_state random = random_seed(3);
	bool slow = false;

	for (int i = 0; i < READS; i++) {
		if (i % 20 == 0)
			slow = !random_below(&random, 6);
		rows[i] = (struct choice_row){ .score = score_slow(slow, &random) ? 10 : 6.6F,
			.latency_us = slow ? 1000 : 100,
			.inflight = 1,
			.sectors = 8 + (uint32_t)random_below(&random, 64) };
	}
}

static struct choice_result tested(void)
{
	struct choice_result result;

	assert_int_equal(choice_test(rows, READS, BLOCK, RESAMPLES, 1, &result), 0);
	assert_true(result.low <= result.gain && result.gain <= result.high);
	return result;
}

static bool knows(bool slow, struct random_state *random)
{
	(void)random;
	return slow;
}

static bool mistakes(bool slow, struct random_state *random)
{
	(void)random;
	return !slow;
}

static bool guesses(bool slow, struct random_state *random)
{
	(void)slow;
	return !random_below(random, 6);
}

static void who_knows_gains(void **state)
{
	struct choice_result result;

	(void)state;
	make_rows(knows);
	result = tested();
	assert_true(result.signal);
	/* Of two legs that are slow a sixth of the time, mean 250, the better one takes 125. */
	assert_true(result.gain > .35 && result.gain < .65);
	assert_true(result.moved > .05 && result.moved < .25);
}

static void who_is_mistaken_loses(void **state)
{
	struct choice_result result;

	(void)state;
	make_rows(mistakes);
	result = tested();
	assert_false(result.signal);
	assert_true(result.high < 0);
}

static void who_guesses_does_neither(void **state)
{
	struct choice_result result;

	(void)state;
	make_rows(guesses);
	result = tested();
	assert_false(result.signal);
	assert_true(result.moved > .05);
	assert_true(result.low < 0 && result.high > 0);
}

/* Where the slow reads are those with more in flight, the default knows as well. */
static void what_the_depth_says_is_no_gain(void **state)
{
	struct choice_result result;

	(void)state;
	make_rows(knows);
	for (int i = 0; i < READS; i++)
		rows[i].inflight = rows[i].latency_us > 500 ? 3 : 1;
	result = tested();
	assert_false(result.signal);
	assert_true(result.moved == 0);
}

/* A leg with more in flight than the models were shown beside the default's is not gone to, however fast it is said to be. */
static void a_deeper_leg_is_left_alone(void **state)
{
	struct choice_result result;

	(void)state;
	make_rows(knows);
	for (int i = 0; i < READS; i++)
		rows[i].inflight = rows[i].latency_us > 500 ? 1 : 2 + CHOICE_DEEPER;
	assert_true(tested().moved == 0);
	for (int i = 0; i < READS; i++)
		rows[i].inflight = rows[i].latency_us > 500 ? 1 : 1 + CHOICE_DEEPER;
	result = tested();
	assert_true(result.moved > .2 && result.signal);
}

/* Two classes are as good as two latencies; what is unknown is neither left nor gone to. */
static void by_classes(void **state)
{
	struct choice_result by_latency, result;

	(void)state;
	make_rows(knows);
	by_latency = tested();
	for (int i = 0; i < READS; i++)
		rows[i].score = choice_of_class(rows[i].latency_us > 500);
	result = tested();
	assert_true(result.signal);
	assert_true(result.gain == by_latency.gain && result.moved == by_latency.moved);
	for (int i = 0; i < READS; i++) {
		rows[i].unknown = rows[i].latency_us > 500;
		rows[i].score = rows[i].unknown ? NAN : rows[i].score;
	}
	assert_true(tested().moved == 0);
	for (int i = 0; i < READS; i++) {
		rows[i].unknown = rows[i].latency_us < 500;
		rows[i].score = choice_of_class(rows[i].latency_us > 500);
	}
	assert_true(tested().moved == 0);
}

static void arguments(void **state)
{
	struct choice_result result;

	(void)state;
	make_rows(knows);
	assert_int_equal(choice_test(rows, 7, BLOCK, RESAMPLES, 1, &result), -EINVAL);
	assert_true(isnan(result.gain) && !result.signal);
	assert_int_equal(choice_test(rows, READS, 0, RESAMPLES, 1, &result), -EINVAL);
	assert_int_equal(choice_test(rows, READS, BLOCK, 39, 1, &result), -EINVAL);
	rows[5].score = NAN;
	assert_int_equal(choice_test(rows, READS, BLOCK, RESAMPLES, 1, &result), -EINVAL);
	make_rows(knows);
	for (int i = 0; i < READS; i++)
		rows[i].latency_us = 0;
	assert_int_equal(choice_test(rows, READS, BLOCK, RESAMPLES, 1, &result), -EINVAL);
	/* One size for all, and blocks as long as the whole. */
	make_rows(knows);
	for (int i = 0; i < READS; i++)
		rows[i].sectors = 8;
	assert_int_equal(choice_test(rows, READS, READS, RESAMPLES, 1, &result), 0);
	assert_true(result.gain > .35);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_knows_gains),
		cmocka_unit_test(who_is_mistaken_loses),
		cmocka_unit_test(who_guesses_does_neither),
		cmocka_unit_test(what_the_depth_says_is_no_gain),
		cmocka_unit_test(a_deeper_leg_is_left_alone),
		cmocka_unit_test(by_classes),
		cmocka_unit_test(arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
