// SPDX-License-Identifier: Apache-2.0
/*
 * test_tune_many.c - the tuning loop over and over on a made-up machine: of settings without an effect hardly any is kept or
 * called harmful, a setting that helps is found whatever the seed, harm is never kept; drift makes old outcomes count no more.
 * The counts are printed.
 */
#include "tests/unit/tune_world.h"

#define RUNS (getenv("SEMANTOS_SOAK") ? 400 : 100)

static double heavy; /* share of values that are a tail's */

/* Only swappiness matters: 10 is better by a sixth, 90 worse by a third. */
static double metric(void)
{
	int value = knob_now(SWAPPINESS_FILE);
	double mean = value == 10 ? 84 : value == 90 ? 133 : 100;

	if (random_unit(&w.random) < heavy)
		mean *= 1.5;
	return mean * (1 + noise(0.1));
}

struct count {
	int kept, worse, no_effect, other;
};

static void again(void)
{
	struct control_reply reply;

	tune_leave(w.t, w.goal);
	turn();
	tune_reset(w.t, true, &reply);
	assert_int_equal(reply.error, 0);
	/* beyond what would count as the same change too often */
	w.f.boot_ns += 2 * SAFETY_RETRY_WINDOW_NS;
	w.goal = 0;
	w.n_events = w.n_outcomes = w.n_answers = w.next_answer = 0;
}

static void one(const char *name, const char *value, uint64_t seed, struct count *count)
{
	struct tune_goal goal = goal_of(true);

	goal.seed = seed;
	goal.trials = 1;
	goal.pairs = 0; /* as many as nobody chose */
	script(name, value, 0.1);
	world_goal(&goal);
	assert_true(run_until("ended", 60000));
	turn();
	assert_int_equal(w.n_outcomes, 1);
	switch (w.outcome[0].verdict) {
	case TUNE_V_KEPT:
		count->kept++;
		break;
	case TUNE_V_WORSE:
		count->worse++;
		break;
	case TUNE_V_NO_EFFECT:
		count->no_effect++;
		break;
	default:
		fprintf(stderr, "%s\n", w.outcome[0].text);
		count->other++;
	}
	again();
}

static void tell(const char *what, const struct count *count, int runs)
{
	printf("%s: kept %d, no effect %d, worse %d, other %d of %d\n", what, count->kept,
		count->no_effect, count->worse, count->other, runs);
}

static void nothing_is_made_of_nothing(void **state)
{
	static const double tails[] = { 0, 0.1 };

	(void)state;
	w.metric = metric;
	for (size_t i = 0; i < 2; i++) {
		struct count count = { 0 };
		int runs = RUNS;

		heavy = tails[i];
		for (int k = 0; k < runs; k++)
			one(READ_AHEAD, "512", (uint64_t)k, &count);
		tell(heavy > 0 ? "no effect, heavy tail" : "no effect", &count, runs);
		assert_true(count.kept <= runs / 20);
		assert_true(count.worse <= runs / 10);
		assert_int_equal(count.other, 0);
		assert_true(file_is(w.f.root, READ_AHEAD_FILE, "128"));
	}
}

static void a_gain_is_found_and_harm_never_kept(void **state)
{
	struct count gain = { 0 }, harm = { 0 };
	int runs = RUNS;

	(void)state;
	w.metric = metric;
	heavy = 0;
	for (int k = 0; k < runs; k++) {
		one(SWAPPINESS, "10", (uint64_t)k, &gain);
		one(SWAPPINESS, "90", (uint64_t)k, &harm);
	}
	tell("a gain of a sixth", &gain, runs);
	tell("harm of a third", &harm, runs);
	assert_true(gain.kept >= runs * 9 / 10);
	assert_int_equal(harm.kept, 0);
	assert_true(harm.worse >= runs * 9 / 10);
}

/* The advisor's 0.1 was right two hundred times, and then wrong. */
static void drift_makes_old_outcomes_count_no_more(void **state)
{
	struct tune_view view;
	FILE *file;

	(void)state;
	tuner_free(w.t);
	file = fopen(w.file, "w");
	assert_non_null(file);
	fputs("{\"version\":1,\"last_record\":0,\"last_goal\":0,\"records\":[],\"memory\":[", file);
	for (int i = 0; i < 260; i++)
		fprintf(file, "%s[%d,0.1,%d,%s]", i ? "," : "", i,
			i < 200 ? TUNE_V_NO_EFFECT : TUNE_V_WORSE, i < 200 ? "false" : "true");
	fputs("]}", file);
	fclose(file);
	world_tuner();
	assert_int_equal(tune_view(w.t, 0, &view), 0);
	assert_in_range(view.outcomes, 10, 120);
	assert_true(view.tau <= 0.1);
	tune_view_free(&view);
	assert_int_equal(w.t->drift.drifts > 0, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_make, world_unmake)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_made_of_nothing),
		TEST(a_gain_is_found_and_harm_never_kept),
		TEST(drift_makes_old_outcomes_count_no_more),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
