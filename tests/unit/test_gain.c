// SPDX-License-Identifier: Apache-2.0
/*
 * test_gain.c - nothing is made of nothing, whatever the load does meanwhile; a gain is found, and its interval holds it.
 * timeout: 300
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "agent/infer/random.h"
#include "agent/safety/gain.h"

enum noise { EVEN, TAILED, DRIFTING, PERIODIC, FACTORS, NOISES };
static const char *const noise_name[NOISES] = { "even", "heavy-tailed", "drifting", "periodic",
	"by factors" };

static double normal(struct random_state *random)
{
	return sqrt(-2 * log(1 - random_unit(random))) * cos(2 * M_PI * random_unit(random));
}

/* A p99 of about 100 with this noise, slice by slice; after is `effect` times as high. */
static void measure(struct gain_pair *pair, size_t n, enum noise noise, double effect,
	struct random_state *random)
{
	double drift = 0;

	for (size_t slice = 0; slice < 2 * n; slice++) {
		static bool new_first;
		bool second = slice & 1;
		double value;

		if (!second)
			new_first = random_u64(random) & 1;
		drift = 0.8 * drift + 0.06 * normal(random);
		value = 100 * exp(0.1 * normal(random));
		if (noise == TAILED)
			value = 100 + 5 * pow(1 - random_unit(random), -1 / 1.5);
		else if (noise == DRIFTING)
			value *= exp(drift);
		else if (noise == PERIODIC)
			value *= 1 + 0.3 * sin((double)slice * M_PI / 2);
		else if (noise == FACTORS)
			value *= exp(0.4 * normal(random));
		if (second != new_first)
			pair[slice / 2].after = value * effect;
		else
			pair[slice / 2].before = value;
	}
}

static void nothing_is_made_of_nothing(void **state)
{
	int runs = getenv("SEMANTOS_SOAK") ? 4000 : 400;
	struct gain_pair pair[64];

	(void)state;
	for (enum noise noise = EVEN; noise < NOISES; noise++) {
		for (size_t n = 8; n <= 64; n *= 2) {
			struct random_state random = random_seed(noise * 1000 + n);
			int better = 0, worse = 0;
			struct gain gain;

			for (int run = 0; run < runs; run++) {
				measure(pair, n, noise, 1, &random);
				assert_int_equal(
					gain_judge(pair, n, true, (uint64_t)run, &gain), 0);
				better += gain.better;
				worse += gain.worse;
			}
			printf("%s, %zu pairs: of %d runs without an effect %d better, %d worse\n",
				noise_name[noise], n, runs, better, worse);
			/* 2.5 % each, and three standard deviations of 400 draws */
			assert_true(better <= runs * 0.05);
			assert_true(worse <= runs * 0.05);
		}
	}
}

static void a_gain_is_found_and_its_interval_holds_it(void **state)
{
	struct random_state random = random_seed(7);
	int better = 0, worse = 0, held = 0, runs = 200;
	struct gain_pair pair[24];
	struct gain gain;

	(void)state;
	for (int run = 0; run < runs; run++) {
		measure(pair, 24, DRIFTING, 0.85, &random);
		assert_int_equal(gain_judge(pair, 24, true, (uint64_t)run, &gain), 0);
		better += gain.better;
		held += gain.low <= -0.15 && gain.high >= -0.15;
		/* the same of a throughput, which fell */
		assert_int_equal(gain_judge(pair, 24, false, (uint64_t)run, &gain), 0);
		worse += gain.worse;
	}
	printf("15 %% less: found in %d of %d runs, its interval held it in %d; as throughput a "
	       "harm in "
	       "%d\n",
		better, runs, held, worse);
	assert_true(better >= runs * 0.95);
	assert_true(worse >= runs * 0.95);
	assert_true(held >= runs * 0.90);
}

/*
 * As reads a second of a busy machine: two thirds of the slices lie within a factor of 1.5, both ways. Judged on differences
 * the interval held what it was in 175 to 186 of 200.
 */
static void factors_are_told_with_a_true_interval(void **state)
{
	static const double factor[] = { 2, 2.5, 3 };
	int runs = 200, least[] = { 150, 180, 190 };

	(void)state;
	for (size_t n = 12; n <= 24; n += 12) {
		for (int f = 0; f < 3; f++) {
			struct random_state random = random_seed(9);
			int better = 0, held = 0;
			struct gain_pair pair[24];
			struct gain gain;

			for (int run = 0; run < runs; run++) {
				measure(pair, n, FACTORS, factor[f], &random);
				assert_int_equal(
					gain_judge(pair, n, false, (uint64_t)run, &gain), 0);
				better += gain.better;
				held += gain.low <= factor[f] - 1 && gain.high >= factor[f] - 1;
			}
			printf("%g times as much, %zu pairs: found in %d of %d runs, its interval "
			       "held it in %d\n",
				factor[f], n, better, runs, held);
			assert_true(better >= least[f]);
			assert_true(held >= runs * 0.94);
		}
	}
}

/* Nine tenths of the slices a little faster, the rest far slower: whoever waits for them all waits longer. */
static void no_gain_that_the_means_deny(void **state)
{
	struct gain_pair pair[256];
	struct gain gain;

	(void)state;
	for (int i = 0; i < 256; i++)
		pair[i] = (struct gain_pair){ 100, i % 64 == 7 ? 5000 : 50 };
	assert_int_equal(gain_judge(pair, 256, true, 1, &gain), 0);
	assert_true(gain.high < 0 && gain.after > gain.before);
	assert_false(gain.better);
	for (int i = 0; i < 256; i++)
		pair[i] = i % 64 == 7 ? (struct gain_pair){ 10000, 100 }
				      : (struct gain_pair){ 100, 200 };
	assert_int_equal(gain_judge(pair, 256, false, 1, &gain), 0);
	assert_true(gain.low > 0 && gain.after < gain.before);
	assert_false(gain.better);
}

/* Of what is not above 0 there is no ratio. */
static void differences_where_something_is_nothing(void **state)
{
	(void)state;
	for (int which = 0; which < 2; which++) {
		struct gain_pair pair[16];
		struct gain gain;

		for (int i = 0; i < 16; i++)
			pair[i] = (struct gain_pair){ 100 + i % 3, 50 + i % 3 };
		*(which ? &pair[5].before : &pair[5].after) = 0;
		assert_int_equal(gain_judge(pair, 16, true, 1, &gain), 0);
		assert_true(fabs(gain.change - (gain.after / gain.before - 1)) < 1e-9);
		assert_true(gain.change < 0);
	}
}

static void it_says_what_it_saw(void **state)
{
	struct gain_pair pair[8];
	struct gain gain;
	char text[160];

	(void)state;
	for (int i = 0; i < 8; i++)
		pair[i] = (struct gain_pair){ 100 + i, 80 + i };
	assert_int_equal(gain_judge(pair, 8, true, 1, &gain), 0);
	assert_true(gain.better);
	assert_true(gain.chance == 1.0 / 256);
	gain_sentence(&gain, "p99 of vda", 8, text, sizeof(text));
	assert_non_null(strstr(text, "p99 of vda fell by 19.3 % ("));
	assert_non_null(strstr(text, ") over 8 pairs"));
	assert_int_equal(gain_judge(pair, 8, false, 1, &gain), 0);
	assert_true(gain.worse);
	gain_sentence(&gain, "reads a second", 8, text, sizeof(text));
	assert_non_null(strstr(text, "reads a second fell by 19.3 % ("));
	for (int i = 0; i < 8; i++)
		pair[i] = (struct gain_pair){ 80 + i, 100 + i };
	assert_int_equal(gain_judge(pair, 8, false, 1, &gain), 0);
	assert_true(gain.better);
	gain_sentence(&gain, "reads a second", 8, text, sizeof(text));
	assert_non_null(strstr(text, "reads a second rose by 24.0 % ("));
	for (int i = 0; i < 8; i++)
		pair[i].after = pair[i].before + (i & 1 ? 1 : -1);
	assert_int_equal(gain_judge(pair, 8, true, 1, &gain), 0);
	gain_sentence(&gain, "p99 of vda", 8, text, sizeof(text));
	assert_non_null(strstr(text, "no effect on p99 of vda could be shown ("));
}

static void equal_values_are_no_effect(void **state)
{
	struct gain_pair pair[16];
	struct gain gain;

	(void)state;
	for (int i = 0; i < 16; i++)
		pair[i] = (struct gain_pair){ 5, 5 };
	assert_int_equal(gain_judge(pair, 16, true, 1, &gain), 0);
	assert_false(gain.better);
	assert_false(gain.worse);
	assert_true(gain.low == 0 && gain.high == 0);
}

/* Whole milliseconds, nearly all of them the same: what differs by two thirds differs, and by about so much. */
static void a_metric_of_few_values_is_judged(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct random_state random = random_seed(seed);
		struct gain_pair pair[16];
		struct gain gain;

		for (size_t n = 8; n <= 16; n += 4) {
			for (size_t i = 0; i < n; i++) {
				pair[i].before = 35 + (random_below(&random, 6) == 0);
				pair[i].after = 12;
			}
			assert_int_equal(gain_judge(pair, n, true, seed, &gain), 0);
			assert_true(gain.better);
			assert_true(gain.low > -0.75 && gain.high < -0.55);
		}
	}
}

static void what_cannot_be_judged_is_refused(void **state)
{
	struct gain_pair pair[GAIN_PAIRS_MIN];
	const double bad[] = { NAN, INFINITY, NAN, 1e300 };
	struct gain gain;
	char text[160];

	(void)state;
	for (int i = 0; i < GAIN_PAIRS_MIN; i++)
		pair[i] = (struct gain_pair){ 1, 1 };
	assert_int_equal(gain_judge(pair, GAIN_PAIRS_MIN - 1, true, 1, &gain), -EINVAL);
	assert_int_equal(gain_judge(pair, GAIN_PAIRS_MAX + 1, true, 1, &gain), -EINVAL);
	for (int i = 0; i < 4; i++) {
		pair[3] =
			i == 2 ? (struct gain_pair){ bad[i], 1 } : (struct gain_pair){ 1, bad[i] };
		assert_int_equal(gain_judge(pair, GAIN_PAIRS_MIN, true, 1, &gain), -EINVAL);
		assert_false(gain.better || gain.worse);
		gain_sentence(&gain, "p99", GAIN_PAIRS_MIN, text, sizeof(text));
		assert_string_equal(text, "p99 could not be judged from 8 pairs");
	}
	pair[3] = (struct gain_pair){ 1, 1 };
	for (int i = 0; i < GAIN_PAIRS_MIN; i++)
		pair[i].before = 0;
	assert_int_equal(gain_judge(pair, GAIN_PAIRS_MIN, true, 1, &gain), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_made_of_nothing),
		cmocka_unit_test(a_gain_is_found_and_its_interval_holds_it),
		cmocka_unit_test(factors_are_told_with_a_true_interval),
		cmocka_unit_test(no_gain_that_the_means_deny),
		cmocka_unit_test(differences_where_something_is_nothing),
		cmocka_unit_test(it_says_what_it_saw),
		cmocka_unit_test(equal_values_are_no_effect),
		cmocka_unit_test(a_metric_of_few_values_is_judged),
		cmocka_unit_test(what_cannot_be_judged_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
