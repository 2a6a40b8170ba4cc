// SPDX-License-Identifier: Apache-2.0
/*
 * test_trial.c - what consumers report decides: a gain promotes, a harm demotes, nothing decides nothing, and no report
 * decides nothing either; told once; a row that was set back begins anew.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "agent/core/trial.h"

#define RUNS 400 /* of each kind, seeded 1, 2, … */
#define SECONDS 1100 /* to the last look and beyond */

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state * 0x2545f4914f6cdd1dULL;
}

/* A second of 100 reads on a disk that is slow now and then; a tenth of them are treated and `gain` us faster. */
static void second(
	struct semantos_trial *row, uint64_t *random, uint64_t *request, bool *slow, int gain)
{
	for (int i = 0; i < 100; i++) {
		int treated = semantos_in_canary(++*request, 10);
		uint64_t us;

		if (next(random) % 1000 < (*slow ? 25 : 5))
			*slow = !*slow;
		us = (*slow ? 1000 : 200) + next(random) % 200;
		semantos_trial_report(row, treated, us - (uint64_t)(int64_t)(treated ? gain : 0));
	}
}

static enum canary_decision run(uint64_t seed, int gain, char why[256])
{
	uint64_t random = seed * 0x9e3779b97f4a7c15ULL, request = seed << 32;
	struct semantos_trial row = { .requests = { 7, 9 }, .latency_us = { 1, 2 } };
	enum canary_decision decision = CANARY_WAIT;
	struct trial trial;
	bool slow = false;

	trial_begin(&trial, &row);
	for (int s = 0; s < SECONDS && decision == CANARY_WAIT; s++) {
		second(&row, &random, &request, &slow, gain);
		decision = trial_tick(&trial, &row, why, 256);
	}
	/* told once */
	second(&row, &random, &request, &slow, gain);
	second(&row, &random, &request, &slow, gain);
	assert_int_equal(trial_tick(&trial, &row, why, 256), CANARY_WAIT);
	return decision;
}

static void gain_promotes_harm_demotes(void **state)
{
	char why[256];

	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		assert_int_equal(run(seed, 150, why), CANARY_PROMOTE);
		assert_non_null(strstr(why, "treated requests took -"));
		assert_int_equal(run(seed, -150, why), CANARY_DEMOTE);
		assert_non_null(strstr(why, "treated requests took +"));
	}
}

static void nothing_is_made_of_nothing(void **state)
{
	int promoted = 0, demoted = 0, none = 0;
	char why[256];

	(void)state;
	for (uint64_t seed = 1; seed <= RUNS; seed++) {
		enum canary_decision decision = run(seed, 0, why);

		promoted += decision == CANARY_PROMOTE;
		demoted += decision == CANARY_DEMOTE;
		none += decision == CANARY_NO_GAIN;
	}
	print_message(
		"without a difference, of %d runs of %d s: %d promoted, %d demoted, %d left\n",
		RUNS, SECONDS, promoted, demoted, none);
	assert_int_equal(promoted + demoted + none, RUNS);
	/* 2.5 % of each are allowed; four standard deviations more than that are a fault */
	assert_true(promoted <= 23);
	assert_true(demoted <= 23);
}

static void nobody_reports_nothing_decided(void **state)
{
	struct semantos_trial row = { 0 };
	struct trial trial;
	char why[256];

	(void)state;
	trial_begin(&trial, &row);
	for (int i = 0; i < SECONDS; i++)
		assert_int_equal(trial_tick(&trial, &row, why, sizeof(why)), CANARY_WAIT);
	assert_int_equal(trial.canary.blocks, 0);
	/* one group alone says nothing; a block grows until both can speak */
	for (int i = 0; i < 100; i++) {
		semantos_trial_report(&row, 0, 100);
		assert_int_equal(trial_tick(&trial, &row, why, sizeof(why)), CANARY_WAIT);
	}
	assert_int_equal(trial.canary.blocks, 0);
	for (int i = 0; i < CANARY_BLOCK_MIN; i++)
		semantos_trial_report(&row, 1, 50);
	trial_tick(&trial, &row, why, sizeof(why));
	assert_int_equal(trial.canary.blocks, 1);
	assert_true(trial.canary.mean == -50);
}

static void a_row_set_back_begins_anew(void **state)
{
	struct semantos_trial row = { .requests = { 100, 100 }, .latency_us = { 1000, 1000 } };
	struct trial trial;
	char why[256];

	(void)state;
	trial_begin(&trial, &row);
	row = (struct semantos_trial){ .requests = { 200, 200 }, .latency_us = { 3000, 2000 } };
	trial_tick(&trial, &row, why, sizeof(why));
	assert_int_equal(trial.canary.blocks, 1);
	row = (struct semantos_trial){ .requests = { 300, 10 }, .latency_us = { 4000, 3000 } };
	trial_tick(&trial, &row, why, sizeof(why));
	assert_int_equal(trial.canary.blocks, 0);
	row = (struct semantos_trial){ .requests = { 400, 20 }, .latency_us = { 3999, 4000 } };
	trial_tick(&trial, &row, why, sizeof(why));
	assert_int_equal(trial.canary.blocks, 0);
	/* and then counts as ever */
	row = (struct semantos_trial){ .requests = { 420, 40 }, .latency_us = { 4999, 4500 } };
	trial_tick(&trial, &row, why, sizeof(why));
	assert_int_equal(trial.canary.blocks, 1);
	/* numbers no honest consumer reports: still no crash, and nothing but a number */
	row = (struct semantos_trial){ .requests = { UINT64_MAX, UINT64_MAX },
		.latency_us = { UINT64_MAX, UINT64_MAX } };
	trial_tick(&trial, &row, why, sizeof(why));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gain_promotes_harm_demotes),
		cmocka_unit_test(nothing_is_made_of_nothing),
		cmocka_unit_test(nobody_reports_nothing_decided),
		cmocka_unit_test(a_row_set_back_begins_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
