// SPDX-License-Identifier: Apache-2.0
/*
 * test_tune_theirs.c - the tuning loop beside others who write the same settings, on a made-up machine: what is theirs stays,
 * in whatever stage they write it, and what they hold is not offered.
 */
#include "tests/unit/tune_world.h"

static bool swappiness_is(const char *value)
{
	return file_is(w.f.root, SWAPPINESS_FILE, value);
}

static void begin(void)
{
	const struct tune_goal goal = goal_of(true);

	world_goal(&goal);
}

static void a_third_partys_write_ends_it_and_stays(void **state)
{
	(void)state;
	script(SWAPPINESS, "10", 0.1);
	begin();
	run_until_swappiness(10, 20000);
	file_put(w.f.root, SWAPPINESS_FILE, "33\n");
	assert_true(run_until("undone", 20000));
	assert_non_null(strstr(event_of("undone")->text, "somebody else set"));
	assert_true(swappiness_is("33"));
	turn();
	assert_int_equal(w.outcome[0].verdict, TUNE_V_STOPPED);
	assert_false(w.outcome[0].unsafe);
}

static void write_at_the_end(void)
{
	if (said("stage", "stands for the whole time") && swappiness_is("10"))
		file_put(w.f.root, SWAPPINESS_FILE, "33\n");
}

/* No slice follows the last look, so what somebody else writes then is looked for before it is kept. */
static void a_third_partys_write_at_the_end_is_not_kept(void **state)
{
	(void)state;
	script(SWAPPINESS, "10", 0.1);
	w.each = write_at_the_end;
	begin();
	assert_true(run_until("undone", 20000));
	assert_true(said("stage", "stands for the whole time"));
	assert_non_null(strstr(event_of("undone")->text, "somebody else set"));
	assert_true(swappiness_is("33"));
	turn();
	assert_int_equal(w.outcome[0].verdict, TUNE_V_STOPPED);
}

static void what_others_hold_is_not_offered_again(void **state)
{
	struct safety_error error;
	uint64_t id;

	(void)state;
	assert_int_equal(
		change_one(w.s, "operator", CHANGE_AUTO, SWAPPINESS, "50", &id, &error), 0);
	script(SWAPPINESS, "10", 0.1);
	begin();
	assert_true(run_until("undone", 20000));
	assert_non_null(strstr(event_of("undone")->text, "held by change"));
	assert_true(swappiness_is("50"));
	for (int i = 0; i < 50; i++)
		turn();
	assert_int_equal(w.question.n_knobs, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_make, world_unmake)
		TEST(a_third_partys_write_ends_it_and_stays),
		TEST(a_third_partys_write_at_the_end_is_not_kept),
		TEST(what_others_hold_is_not_offered_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
