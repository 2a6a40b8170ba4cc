// SPDX-License-Identifier: Apache-2.0
/*
 * test_quantile.c - percentiles of the last N values stay within the promised 3.2 % of the sorted answer.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>
#include "agent/core/quantile.h"

#define WINDOW 1000

static int ascending(const void *left, const void *right)
{
	uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;

	return a < b ? -1 : a > b;
}

static void matches_sorted(void **state)
{
	static const double shares[] = { 0, 0.5, 0.95, 0.99, 1 };
	struct quantile *quantile = quantile_new(WINDOW);
	uint32_t last[WINDOW], x = 12345;

	(void)state;
	assert_true(isnan(quantile_at(quantile, 0.5)));
	for (uint32_t i = 0; i < 10 * WINDOW; i++) {
		uint32_t value;

		x = x * 1664525 + 1013904223; /* Numerical Recipes; every octave is visited */
		value = x >> (x >> 8 & 31);
		last[i % WINDOW] = value;
		quantile_add(quantile, value);
	}
	assert_int_equal(quantile_count(quantile), WINDOW);
	qsort(last, WINDOW, sizeof(last[0]), ascending);
	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++) {
		double expected = last[(size_t)ceil(shares[i] * (WINDOW - 1))];

		assert_true(fabs(quantile_at(quantile, shares[i]) - expected) <= 0.032 * expected);
	}
	quantile_free(quantile);
}

static void extremes(void **state)
{
	struct quantile *quantile = quantile_new(2);

	(void)state;
	quantile_add(quantile, UINT32_MAX);
	assert_true(fabs(quantile_at(quantile, 0.5) / UINT32_MAX - 1) < 0.032);
	quantile_add(quantile, 0);
	assert_true(quantile_at(quantile, 0) == 0);
	quantile_add(quantile, 31);
	quantile_add(quantile, 32);
	assert_true(quantile_at(quantile, 0) == 31);
	assert_true(quantile_at(quantile, 1) == 32);
	quantile_free(quantile);
	quantile_free(NULL);
	assert_null(quantile_new(0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(matches_sorted),
		cmocka_unit_test(extremes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
