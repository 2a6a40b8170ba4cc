// SPDX-License-Identifier: Apache-2.0
/*
 * test_threshold.c - of what is accepted no more than alpha is unsafe, over many histories; the lowest limit rules.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "agent/infer/random.h"
#include "agent/safety/threshold.h"

/* A proposer whose uncertainty says something: unsafe with chance u^power. */
static bool unsafe_at(double u, double power, struct random_state *random)
{
	return random_unit(random) < pow(u, power);
}

static void of_what_is_accepted_no_more_than_alpha_is_unsafe(void **state)
{
	int histories = getenv("SEMANTOS_SOAK") ? 4000 : 400;
	struct random_state random = random_seed(1);

	(void)state;
	for (double power = 0.5; power <= 4; power *= 2) {
		double accepted = 0, unsafe = 0, misses = 0, harmful = 0, share = 0;

		for (int h = 0; h < histories; h++) {
			struct threshold_view view;
			double here = 0, bad_here = 0;
			struct threshold t;

			threshold_reset(&t, 0.10, 1);
			for (int i = 0; i < 300; i++) {
				double u = random_unit(&random);

				threshold_add(&t, u, unsafe_at(u, power, &random));
			}
			threshold_view(&t, &view);
			for (int i = 0; i < 50; i++) {
				double u = random_unit(&random);
				bool bad = unsafe_at(u, power, &random);

				here += u < view.tau;
				bad_here += u < view.tau && bad;
				harmful += bad;
			}
			accepted += here;
			unsafe += bad_here;
			share += here > 0 ? bad_here / here / histories : 0;
		}
		misses = unsafe / harmful;
		printf("unsafe with chance u^%.1f: %.1f %% accepted, of that unsafe %.1f %% a "
		       "history, %.1f %% "
		       "of all; of what was unsafe %.1f %% was accepted\n",
			power, 2 * accepted / histories, 100 * share,
			accepted > 0 ? 100 * unsafe / accepted : 0, 100 * misses);
		/* the share of 400 histories is known to about 0.5 % */
		assert_true(share <= 0.11);
		assert_true(misses <= 0.11);
		/* where there is something to accept, it is accepted */
		assert_true(power < 2 || accepted > 0.15 * 50 * histories);
	}
}

/* Few outcomes, few of them unsafe: the second promise can be made of none of these, the first holds for each. */
static void small_windows_keep_the_first_promise(void **state)
{
	static const int windows[] = { 9, 12, 19, 30, 60 };
	int histories = getenv("SEMANTOS_SOAK") ? 40000 : 4000;
	struct random_state random = random_seed(2);

	(void)state;
	for (size_t w = 0; w < sizeof(windows) / sizeof(windows[0]); w++) {
		for (double power = 0.5; power <= 8; power *= 2) {
			double share = 0, tries = 0;

			for (int h = 0; h < histories; h++) {
				struct threshold_view view;
				double here = 0, bad_here = 0;
				struct threshold t;

				threshold_reset(&t, 0.10, 1);
				for (int i = 0; i < windows[w]; i++) {
					double u = random_unit(&random);

					threshold_add(&t, u, unsafe_at(u, power, &random));
				}
				threshold_view(&t, &view);
				for (int i = 0; i < 20; i++) {
					double u = random_unit(&random);
					bool bad = unsafe_at(u, power, &random);

					here += u < view.tau;
					bad_here += u < view.tau && bad;
				}
				tries += here / 20 / histories;
				share += here > 0 ? bad_here / here / histories : 0;
			}
			printf("%d outcomes, unsafe with chance u^%.1f: %.1f %% accepted, of that "
			       "unsafe %.1f %%\n",
				windows[w], power, 100 * tries, 100 * share);
			assert_true(share <= 0.11);
		}
	}
}

/* One that did harm among many that did not is what may happen, not a reason to try nothing any more. */
static void one_unsafe_outcome_of_many_stops_nothing(void **state)
{
	struct threshold_view view;
	struct threshold t;
	char why[300];

	(void)state;
	threshold_reset(&t, 0.10, 0.5);
	threshold_view(&t, &view);
	threshold_why(&view, why, sizeof(why));
	assert_string_equal(why, ""); /* nothing was unsafe yet */
	threshold_add(&t, 0.05, true);
	threshold_view(&t, &view);
	assert_true(view.tau == 0.05);
	threshold_why(&view, why, sizeof(why));
	assert_string_equal(why, "Only 1 outcome is known, of which 1 was unsafe: until 18 more "
				 "are, nothing is tried "
				 "that is no surer than the surest of those.");
	for (int i = 0; i < 9; i++)
		threshold_add(&t, 0.2, false);
	/* too many of so few */
	threshold_view(&t, &view);
	assert_true(view.tau == 0);
	assert_int_equal(view.wanted, 9);
	threshold_why(&view, why, sizeof(why));
	assert_non_null(strstr(why, "Of 10 outcomes 1 was unsafe"));
	assert_non_null(strstr(why, "reset --forget"));
	for (int i = 0; i < 9; i++)
		threshold_add(&t, 0.2, false);
	threshold_view(&t, &view);
	assert_int_equal(view.wanted, 0);
	assert_true(view.tau == 0.5);
	threshold_why(&view, why, sizeof(why));
	assert_string_equal(why, "");
}

static void until_calibrated_the_operators_ceiling_rules(void **state)
{
	struct threshold_view view;
	struct threshold t;
	char why[200];

	(void)state;
	threshold_reset(&t, 0.10, 0.30);
	for (int i = 0; i < 8; i++)
		threshold_add(&t, 0.1, false);
	threshold_view(&t, &view);
	assert_false(view.calibrated);
	assert_true(view.tau == 0.30);
	assert_true(threshold_admit(&t, 0.29, why, sizeof(why)));
	assert_false(threshold_admit(&t, 0.30, why, sizeof(why)));
	assert_string_equal(why,
		"its uncertainty 0.30 is not below 0.30, the limit until enough outcomes "
		"are known; of 8 outcomes 0 were unsafe");
	/* an unsafe one among so few: nothing as uncertain is accepted any more */
	threshold_add(&t, 0.2, true);
	threshold_view(&t, &view);
	assert_true(view.tau <= 0.2);
}

static void more_outcomes_never_lift_it_above_the_ceiling(void **state)
{
	struct threshold_view view;
	struct threshold t;

	(void)state;
	threshold_reset(&t, 0.10, 0.30);
	for (int i = 0; i < 400; i++)
		threshold_add(&t, 0.9, false);
	threshold_view(&t, &view);
	assert_true(view.calibrated);
	assert_true(view.tau == 0.30);
}

static void where_the_surest_are_unsafe_nothing_is_accepted(void **state)
{
	struct threshold_view view;
	struct threshold t;
	char why[200];

	(void)state;
	threshold_reset(&t, 0.10, 1);
	for (int i = 0; i < 100; i++)
		threshold_add(&t, i / 100.0, i % 2 == 0);
	threshold_view(&t, &view);
	assert_true(view.tau == 0);
	assert_false(threshold_admit(&t, 0, why, sizeof(why)));
	assert_false(threshold_admit(&t, NAN, why, sizeof(why)));
}

static void the_window_forgets(void **state)
{
	struct threshold_view view;
	struct threshold t;
	char why[300];

	(void)state;
	threshold_reset(&t, 0.10, 1);
	for (int i = 0; i < THRESHOLD_WINDOW; i++)
		threshold_add(&t, 0.1, true);
	for (int i = 0; i < THRESHOLD_WINDOW; i++)
		threshold_add(&t, 0.5, false);
	threshold_view(&t, &view);
	assert_int_equal(view.outcomes, THRESHOLD_WINDOW);
	assert_int_equal(view.unsafe, 0);
	assert_true(view.tau == 1);
	threshold_forget(&t, 5);
	threshold_forget(&t, 9);
	threshold_add(&t, 0.5, true);
	threshold_view(&t, &view);
	assert_int_equal(view.outcomes, 6);
	assert_int_equal(view.unsafe, 1);
	assert_false(view.calibrated);
	assert_true(view.tau == 0.5);
	threshold_add(&t, 0.5, true);
	threshold_view(&t, &view);
	threshold_why(&view, why, sizeof(why));
	assert_non_null(strstr(why, "Only 7 outcomes are known, of which 2 were unsafe"));
}

static void odd_arguments_fall_on_the_safe_side(void **state)
{
	const double odd[] = { NAN, -1, 2, INFINITY };
	struct threshold t;
	char why[200];

	(void)state;
	for (int i = 0; i < 4; i++) {
		threshold_reset(&t, odd[i], odd[i]);
		assert_true(t.alpha == THRESHOLD_ALPHA);
		assert_false(threshold_admit(&t, 0, why, sizeof(why)));
		threshold_reset(&t, 0.1, 1);
		threshold_add(&t, odd[i], true);
		assert_false(threshold_admit(&t, 0, why, sizeof(why)));
		threshold_reset(&t, 0.1, 1);
		assert_false(threshold_admit(&t, NAN, why, sizeof(why)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_what_is_accepted_no_more_than_alpha_is_unsafe),
		cmocka_unit_test(small_windows_keep_the_first_promise),
		cmocka_unit_test(one_unsafe_outcome_of_many_stops_nothing),
		cmocka_unit_test(until_calibrated_the_operators_ceiling_rules),
		cmocka_unit_test(more_outcomes_never_lift_it_above_the_ceiling),
		cmocka_unit_test(where_the_surest_are_unsafe_nothing_is_accepted),
		cmocka_unit_test(the_window_forgets),
		cmocka_unit_test(odd_arguments_fall_on_the_safe_side),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
