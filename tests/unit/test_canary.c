// SPDX-License-Identifier: Apache-2.0
/*
 * test_canary.c - a real gain is promoted, a real harm demoted, and nothing is made of nothing however often it is looked.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "agent/safety/canary.h"
#include "bpf/wire.h"

struct source {
	uint64_t state;
};

static double uniform(struct source *source)
{
	source->state ^= source->state << 13;
	source->state ^= source->state >> 7;
	source->state ^= source->state << 17;
	return (double)(source->state >> 11) / (double)(1ULL << 53);
}

/*
 * 2,000 requests a second on a disk with slow periods of about 20 ms, a tenth of them treated; `gain` is taken from
 * each treated one. Until decided, or five minutes.
 */
static enum canary_decision run(uint64_t seed, double gain, uint32_t *looks)
{
	struct source source = { seed * 0x9e3779b97f4a7c15ULL + 1 };
	enum canary_decision decision = CANARY_WAIT;
	struct canary canary;
	bool slow = false;
	char why[256];

	canary_reset(&canary);
	for (uint64_t i = 1; i <= 600000 && decision == CANARY_WAIT; i++) {
		bool treated = semantos_in_canary(i << 12, 10);
		double latency;

		if (uniform(&source) < (slow ? 0.025 : 0.005))
			slow = !slow;
		latency = (slow ? 1000 : 100) * (0.5 + uniform(&source)) - (treated ? gain : 0);
		canary_add(&canary, i * 500000, treated, latency);
		if (i % 100 == 0)
			decision = canary_decide(&canary, why, sizeof(why));
	}
	*looks = canary.looks;
	return decision;
}

static void gain_is_promoted_and_harm_demoted(void **state)
{
	uint32_t looks;
	int promoted = 0, demoted = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		promoted += run(seed, 60, &looks) == CANARY_PROMOTE;
		demoted += run(seed + 100, -60, &looks) == CANARY_DEMOTE;
	}
	printf("a gain of 60 us promoted in %d of 20 runs, a harm of 60 us demoted in %d of 20\n",
		promoted, demoted);
	assert_true(promoted >= 19);
	assert_true(demoted >= 19);
}

static void nothing_is_made_of_nothing(void **state)
{
	int runs = getenv("SEMANTOS_SOAK") ? 2000 : 200, wrong = 0;
	uint32_t looks;

	(void)state;
	for (int seed = 1; seed <= runs; seed++) {
		enum canary_decision decision = run((uint64_t)seed + 1000, 0, &looks);

		wrong += decision == CANARY_PROMOTE || decision == CANARY_DEMOTE;
	}
	printf("of %d runs without any effect %d were decided\n", runs, wrong);
	/* 5 % are expected at most; 8.5 % of 200 would come once in a hundred times */
	assert_true(wrong <= runs * 85 / 1000);
}

static void blocks_without_both_groups_do_not_count(void **state)
{
	struct canary canary;
	struct canary_view view;
	char why[256];

	(void)state;
	canary_reset(&canary);
	for (uint64_t i = 0; i < 100000; i++)
		canary_add(&canary, i * 500000, false, 100);
	assert_int_equal(canary_decide(&canary, why, sizeof(why)), CANARY_WAIT);
	canary_view(&canary, &view);
	assert_int_equal(view.blocks, 0);
	assert_true(isnan(view.difference_us));
	assert_true(isnan(view.treated_us));
}

static void hash_gives_the_share_asked_for(void **state)
{
	(void)state;
	for (uint32_t percent = 1; percent <= 99; percent += 14) {
		uint32_t treated = 0;

		/* ids as the hooks make them: sequence << 12 | cpu */
		for (uint64_t i = 1; i <= 100000; i++)
			treated += (uint32_t)semantos_in_canary(i << 12 | (i & 3), percent);
		assert_true(treated > percent * 1000 - 600 && treated < percent * 1000 + 600);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gain_is_promoted_and_harm_demoted),
		cmocka_unit_test(nothing_is_made_of_nothing),
		cmocka_unit_test(blocks_without_both_groups_do_not_count),
		cmocka_unit_test(hash_gives_the_share_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
