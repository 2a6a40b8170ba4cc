// SPDX-License-Identifier: Apache-2.0
/*
 * test_advisor_parts.c - what the fast path is made of: places of values, couplings and their weights, calibration, likeness.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include "agent/advisor/reason/reason.h"

static void test_isotonic(void **state)
{
	struct harm_outcome outcome[HARM_OUTCOMES_MAX];
	struct harm harm;

	(void)state;
	harm_fit(&harm, NULL, 0);
	assert_true(harm_at(&harm, 0.1) < harm_at(&harm, 0.9));
	assert_true(harm_at(&harm, NAN) == 1);
	for (size_t i = 0; i < HARM_OUTCOMES_MAX; i++)
		outcome[i] = (struct harm_outcome){ (double)i / HARM_OUTCOMES_MAX, i % 10 == 0 };
	harm_fit(&harm, outcome, HARM_OUTCOMES_MAX);
	assert_true(fabs(harm_at(&harm, 0.5) - 0.1) < 0.05);
	for (double raw = 0; raw < 1; raw += 0.01)
		assert_true(harm_at(&harm, raw) <= harm_at(&harm, raw + 0.01) + 1e-12);
}

static void test_couplings_learn_and_fade(void **state)
{
	struct coupling edge = { .weight = COUPLING_AT_FIRST };

	(void)state;
	for (int i = 0; i < 5; i++)
		coupling_learn(&edge, 0, 1000000);
	assert_true(edge.weight < 0.15);
	assert_int_equal(edge.seen, 5);
	assert_true(fabs(coupling_weight(&edge, 1000000 + 30 * 86400) -
			    (COUPLING_AT_FIRST + edge.weight) / 2) < 1e-9);
	assert_true(
		fabs(coupling_weight(&edge, 1000000 + 3000 * 86400ull) - COUPLING_AT_FIRST) < 1e-3);
}

/* Trials under another load count for less. */
static void test_likeness(void **state)
{
	struct fact_metric now_metric[2] = { { 1, fact_level(0.5, "ratio") },
		{ 3, fact_level(1e9, "bytes") } };
	struct situation now = { .metric = now_metric, .n_metrics = 2 };
	struct fact fact = { .n_metrics = 2 };

	(void)state;
	memcpy(fact.metric, now_metric, sizeof(now_metric));
	assert_true(response_likeness(&now, &fact) == 1);
	fact.metric[1].level = fact_level(2e9, "bytes");
	assert_true(response_likeness(&now, &fact) < 0.9);
	fact.metric[1].level = fact_level(0, "bytes");
	assert_true(response_likeness(&now, &fact) < 0.2);
	fact.n_metrics = 0;
	assert_true(response_likeness(&now, &fact) == 1); /* nothing is known against it */
}

/* Every level that is offered of every described knob is in its range and reads back as the place it was made for. */
static void test_levels_are_in_range(void **state)
{
	size_t usable = 0, levels = 0;

	(void)state;
	for (size_t k = 0; k < n_knob_descs; k++) {
		struct axis_level level[AXIS_LEVELS_MAX];
		struct axis axis;
		size_t n;

		axis_of(&axis, &knob_descs[k], knob_kernel_nearest("6.12.1"));
		if (!axis.usable || isnan(axis.standard))
			continue;
		usable++;
		n = axis_levels(&axis, axis.standard_text, 1, level);
		levels += n;
		for (size_t i = 0; i < n; i++) {
			long long v = strtoll(level[i].value, NULL, 10);

			assert_string_not_equal(level[i].value, axis.standard_text);
			if (axis.words || strcmp(level[i].value, "max") == 0)
				continue;
			if (v < axis.desc->def.min || v > axis.desc->def.max ||
				(axis.desc->def.step > 1 && v % axis.desc->def.step))
				fail_msg("%s: %s is out of range", axis.desc->def.pattern,
					level[i].value);
			assert_true(
				fabs(axis_place(&axis, level[i].value) - level[i].place) < 1e-9);
		}
	}
	printf("%zu knobs can be proposed, with %zu levels from their defaults\n", usable, levels);
	assert_true(usable > 200);
}

static bool conflict(struct lexicon *lexicon, const char *a, const char *b)
{
	int x = lexicon_knob(lexicon, a), y = lexicon_knob(lexicon, b);

	assert_true(x >= 0 && y >= 0);
	return lexicon_conflict(lexicon, (uint32_t)x, (uint32_t)y) &&
	       lexicon_conflict(lexicon, (uint32_t)y, (uint32_t)x);
}

static void test_conflicts_by_name(void **state)
{
	struct lexicon lexicon;

	(void)state;
	assert_int_equal(lexicon_init(&lexicon, "6.12.1"), 0);
	assert_true(conflict(&lexicon, "sysctl:vm.dirty_ratio", "sysctl:vm.dirty_bytes"));
	assert_false(
		conflict(&lexicon, "sysctl:vm.dirty_ratio", "sysctl:vm.dirty_background_ratio"));
	assert_true(conflict(
		&lexicon, "sysfs:block/vda/queue/wbt_lat_usec", "sysfs:block/vda/queue/scheduler"));
	assert_false(conflict(&lexicon, "sysfs:block/vda/queue/wbt_lat_usec",
		"sysfs:block/vdb/queue/scheduler")); /* another disk's */
	/* judged as one, without an edge */
	assert_true(conflict(
		&lexicon, "sysfs:block/vda/queue/nr_requests", "sysfs:block/vda/queue/scheduler"));
	assert_false(conflict(
		&lexicon, "sysfs:block/vda/queue/nr_requests", "sysfs:block/vdb/queue/scheduler"));
	lexicon_free(&lexicon);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_isotonic),
		cmocka_unit_test(test_couplings_learn_and_fade),
		cmocka_unit_test(test_likeness),
		cmocka_unit_test(test_levels_are_in_range),
		cmocka_unit_test(test_conflicts_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
