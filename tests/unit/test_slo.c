// SPDX-License-Identifier: Apache-2.0
/*
 * test_slo.c - guards hold, break and fall silent; a slice's mean takes only what was measured within it.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include "agent/safety/slo.h"

#define MS 1000000ULL

static struct slo_series series;
static struct slo_guard guard;
static char why[SLO_WHY];

static void begin(enum slo_relation relation, double limit)
{
	guard = (struct slo_guard){
		.source = { .kind = SLO_COMMAND, .text = "curl x", .every_ms = 1000 },
		.relation = relation,
		.limit = limit
	};
	slo_series_reset(&series, 1000 * MS);
}

static enum slo_state look(uint64_t now_ms)
{
	why[0] = '\0';
	return slo_look(&guard, &series, now_ms * MS, why, sizeof(why));
}

static void relations_are_what_they_say(void **state)
{
	static const struct {
		enum slo_relation relation;
		bool below, at, above;
	} want[] = {
		{ SLO_LESS, true, false, false },
		{ SLO_AT_MOST, true, true, false },
		{ SLO_MORE, false, false, true },
		{ SLO_AT_LEAST, false, true, true },
	};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		enum slo_relation relation;

		begin(want[i].relation, 5);
		slo_report(&series, 1100 * MS, 0, 4.5, NULL);
		assert_int_equal(look(1200), want[i].below ? SLO_HOLDS : SLO_BROKEN);
		slo_report(&series, 1200 * MS, 0, 5, NULL);
		assert_int_equal(look(1200), want[i].at ? SLO_HOLDS : SLO_BROKEN);
		slo_report(&series, 1300 * MS, 0, 5.5, NULL);
		assert_int_equal(look(1300), want[i].above ? SLO_HOLDS : SLO_BROKEN);
		assert_int_equal(
			slo_relation_parse(slo_relation_text(want[i].relation), &relation), 0);
		assert_int_equal(relation, want[i].relation);
	}
	assert_int_equal(slo_relation_parse("==", &(enum slo_relation){ 0 }), -EINVAL);
}

static void the_sentence_has_guard_value_and_limit(void **state)
{
	(void)state;
	begin(SLO_LESS, 0.05);
	slo_report(&series, 1100 * MS, 0, 0.125, NULL);
	assert_int_equal(look(1200), SLO_BROKEN);
	assert_string_equal(why, "the command `curl x` is 0.125, and < 0.05 was declared");
	guard.source = (struct slo_source){ .kind = SLO_TELEMETRY,
		.metric = "block_read_latency",
		.label = "vda",
		.figure = "p99",
		.every_ms = 5000 };
	assert_int_equal(look(1200), SLO_BROKEN);
	assert_string_equal(
		why, "p99 of block_read_latency (vda) is 0.125, and < 0.05 was declared");
	guard.source.label[0] = '\0';
	assert_int_equal(look(1200), SLO_BROKEN);
	assert_string_equal(why, "p99 of block_read_latency is 0.125, and < 0.05 was declared");
	guard.source =
		(struct slo_source){ .kind = SLO_PROMETHEUS, .text = "up", .every_ms = 5000 };
	look(1200);
	assert_non_null(strstr(why, "the query `up`"));
}

static void silence_breaks_it(void **state)
{
	(void)state;
	begin(SLO_LESS, 5);
	assert_int_equal(look(1000), SLO_AWAITED);
	assert_int_equal(look(3999), SLO_AWAITED);
	assert_int_equal(look(4000), SLO_BROKEN);
	assert_non_null(strstr(why, "silent for 3.0 s"));
	slo_report(&series, 4000 * MS, 0, 1, NULL);
	assert_int_equal(look(6999), SLO_HOLDS);
	assert_int_equal(look(7000), SLO_BROKEN);
	/* a clock that is behind the report is no silence */
	assert_int_equal(look(1), SLO_HOLDS);
}

static void no_number_breaks_it(void **state)
{
	(void)state;
	begin(SLO_LESS, 5);
	slo_report(&series, 1100 * MS, 0, NAN, "exit code 7");
	assert_int_equal(look(1200), SLO_BROKEN);
	assert_string_equal(why, "the command `curl x` gave no number: exit code 7");
	slo_report(&series, 1200 * MS, 0, INFINITY, NULL);
	assert_int_equal(look(1200), SLO_BROKEN);
	assert_string_equal(why, "the command `curl x` gave no number");
	slo_report(&series, 1300 * MS, 0, 4, NULL);
	assert_int_equal(look(1300), SLO_HOLDS);
}

static void a_slice_is_judged_by_its_own_reports(void **state)
{
	uint32_t n;

	(void)state;
	begin(SLO_LESS, 5);
	assert_true(isnan(slo_last(&series)));
	assert_true(isnan(slo_mean(&series, 0, UINT64_MAX, &n)));
	assert_int_equal(n, 0);
	slo_report(&series, 2000 * MS, 500 * MS, 100, NULL); /* begins before */
	slo_report(&series, 3000 * MS, 500 * MS, 2, NULL);
	slo_report(&series, 4000 * MS, 500 * MS, 4, NULL);
	slo_report(&series, 5000 * MS, 500 * MS, 100, NULL); /* ends after */
	assert_true(slo_mean(&series, 1501 * MS, 4999 * MS, &n) == 3);
	assert_int_equal(n, 2);
	assert_true(slo_mean(&series, 1500 * MS, 2000 * MS, NULL) == 100);
	assert_true(isnan(slo_mean(&series, 2501 * MS, 2999 * MS, &n)));
	assert_int_equal(n, 0);
	/* one that failed spoils it */
	slo_report(&series, 6000 * MS, 500 * MS, NAN, NULL);
	assert_true(isnan(slo_mean(&series, 3000 * MS, 6000 * MS, &n)));
	assert_int_equal(n, 3);
	/* longer than there is time: it began at the beginning */
	slo_report(&series, 7000 * MS, 9000 * MS, 1, NULL);
	assert_true(isnan(slo_mean(&series, 1, 7000 * MS, NULL)));
}

static void old_reports_make_room(void **state)
{
	uint32_t n;

	(void)state;
	begin(SLO_LESS, 5);
	for (uint64_t i = 1; i <= 2 * SLO_REPORTS; i++)
		slo_report(&series, (1000 + i) * MS, 0, (double)i, NULL);
	assert_true(slo_last(&series) == 2 * SLO_REPORTS);
	slo_mean(&series, 0, UINT64_MAX, &n);
	assert_int_equal(n, SLO_REPORTS);
	slo_mean(&series, 0, (1000 + SLO_REPORTS) * MS, &n);
	assert_int_equal(n, 0);
}

static void kinds_have_names(void **state)
{
	static const char *const names[] = { "telemetry", "command", "prometheus", "workload" };
	enum slo_kind kind;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(slo_kind_parse(names[i], &kind), 0);
		assert_int_equal(kind, i);
	}
	assert_int_equal(slo_kind_parse("", &kind), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(relations_are_what_they_say),
		cmocka_unit_test(the_sentence_has_guard_value_and_limit),
		cmocka_unit_test(silence_breaks_it),
		cmocka_unit_test(no_number_breaks_it),
		cmocka_unit_test(a_slice_is_judged_by_its_own_reports),
		cmocka_unit_test(old_reports_make_room),
		cmocka_unit_test(kinds_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
