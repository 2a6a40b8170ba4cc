// SPDX-License-Identifier: Apache-2.0
/*
 * test_bench_surface.c - what make bench-tune makes of a recording: effects that are there are found to their size, noise is not
 * taken for a best configuration, hostile files are refused; a trial on a recording comes out as the recording says; the
 * advisor proposes on the grid alone and finds the best of a clear one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/bench/tune/brain.h"
#include "tests/bench/tune/trial.h"

#define PLAN                                                                       \
	"# a comment\nbetter\tlower\n"                                             \
	"knob\tsysfs:block/vda/queue/read_ahead_kb\t8192\t2048\t256\n"             \
	"knob\tsysctl:kernel.sched_autogroup_enabled\t1\t0\n"                      \
	"knob\tsysctl:net.ipv4.tcp_wmem\t4096 16384 4194304\t4096 16384 1048576\n" \
	"extra\ttuned\tsysctl:vm.swappiness=10\tsysctl:vm.dirty_ratio=40\n"
#define GRID 12

static int plan_of(struct surface_plan *plan, const char *text, size_t *at)
{
	FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
	int err = surface_plan_read(plan, file, at);

	fclose(file);
	return err;
}

static double normal(struct random_state *random)
{
	return sqrt(-2 * log(random_unit(random) + 1e-300)) * cos(2 * M_PI * random_unit(random));
}

/* gain: logarithms, above 0 better, by configuration; each in `pairs` pairs; sd of a slice. */
static int record(struct surface *s, const double gain[], size_t pairs, double sd, uint64_t seed)
{
	struct random_state random = random_seed(seed);
	double drift = 0;
	size_t at, size;
	char *text;
	FILE *csv = open_memstream(&text, &size);
	int err;

	memset(s, 0, sizeof(*s));
	assert_int_equal(plan_of(&s->plan, PLAN, &at), 0);
	fprintf(csv, "config,visit,pair,arm,value,unix_ms,load\n");
	for (size_t p = 0; p < pairs; p++) {
		for (size_t c = 0; c < GRID + 1; c++) {
			for (int arm = 0; arm < 2; arm++) {
				bool treated = (arm + p) % 2;

				drift += 0.01 * normal(&random);
				fprintf(csv, "%zu,0,%zu,%s,%.9g,1,%.2f\n", c, p,
					treated ? "new" : "old",
					50 * exp((treated ? -gain[c] : 0) + drift +
						     sd * normal(&random)),
					1.0 + (double)c);
			}
		}
	}
	fclose(csv);
	csv = fmemopen(text, size, "r");
	err = surface_read(s, csv);
	fclose(csv);
	free(text);
	return err;
}

static void plans_are_read_strictly(void **state)
{
	static const char *const wrong[] = { "", "better\n", "knob\tsysctl:vm.swappiness\n",
		"knob\tsysctl:vm.swappiness\t60\t\n", "extra\ttuned\n", "extra\ttuned\tno\n",
		"knobs\ta\tb\n" };
	struct surface_plan plan;
	size_t at;

	(void)state;
	assert_int_equal(plan_of(&plan, PLAN, &at), 0);
	assert_true(plan.lower_is_better);
	assert_int_equal(plan.n_grid, GRID);
	assert_int_equal(plan.n_extras, 1);
	assert_string_equal(plan.knob[2].value[1], "4096 16384 1048576");
	assert_string_equal(plan.extra[0].value[1], "40");
	for (size_t c = 0; c < plan.n_grid; c++) {
		size_t level[SURFACE_KNOBS];

		for (size_t k = 0; k < plan.n_knobs; k++)
			level[k] = surface_level(&plan, c, k);
		assert_int_equal(surface_config(&plan, level), c);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_not_equal(plan_of(&plan, wrong[i], &at), 0);
}

/* A main effect of 30 % and one of a combination alone, beside knobs that do nothing. */
static void effects_are_found_to_their_size(void **state)
{
	static struct surface s;
	double gain[GRID + 1] = { 0 };

	(void)state;
	for (size_t c = 0; c < GRID; c++)
		gain[c] = c % 3 == 2 ? 0.3 : c % 3 == 1 ? -0.1 : 0;
	gain[8] += 0.2;
	gain[GRID] = -0.15;
	assert_int_equal(record(&s, gain, 6, 0.02, 1), 0);
	assert_int_equal(s.best, 8);
	for (size_t c = 0; c < GRID + 1; c++)
		assert_float_equal(s.truth[c], gain[c], 0.05);
	assert_float_equal(s.error, 0.02 * sqrt(2), 0.01);
	assert_float_equal(s.load_least, 1, 0.001);
	assert_float_equal(s.load_most, 1 + GRID, 0.001);
	assert_int_equal(s.n_noise, (GRID + 1) * 6 * 2);
	assert_int_equal(record(&s, gain, 1, 0.02, 1), -EINVAL);
}

static void noise_is_no_best_configuration(void **state)
{
	static struct surface s;
	double gain[GRID + 1] = { 0 }, most = 0, seen = 0;
	size_t found = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 100; seed++) {
		double best = 0;

		assert_int_equal(record(&s, gain, 6, 0.05, 100 + seed), 0);
		found += s.truth[s.best] > 0;
		for (size_t c = 0; c < GRID; c++)
			best = fmax(best, s.mean[c]);
		most = fmax(most, s.truth[s.best]);
		seen += best / 100;
	}
	printf("of 100 recordings of nothing %zu show a best configuration, at most by %.1f %%; "
	       "the luckiest mean "
	       "was %.1f %% on average\n",
		found, 100 * most, 100 * seen);
	assert_true(found <= 12); /* four tests of 1 % each */
	assert_true(seen > 0.03);
}

static void trials_come_out_as_recorded(void **state)
{
	static struct surface s;
	double gain[GRID + 1] = { 0 };
	struct machine machine = { .s = &s, .random = random_seed(3) };
	size_t kept[4] = { 0 }, naive = 0;

	(void)state;
	for (size_t c = 0; c < GRID; c++)
		gain[c] = c % 3 == 2 ? 0.3 : c % 3 == 1 ? -0.1 : 0;
	gain[GRID] = -0.5;
	assert_int_equal(record(&s, gain, 6, 0.03, 4), 0);
	for (size_t i = 0; i < 100; i++) {
		struct trial trial;

		trial_run(&machine, 0, 2, false, &trial);
		kept[0] += trial.kept;
		assert_float_equal(trial.gain, 0.3, 0.15);
		assert_int_equal(trial.harmed, 0);
		assert_int_equal(trial.slices, 2 * 5 + 2 * 3 + 2 * TRIAL_PAIRS + trial.kept);
		trial_run(&machine, 0, 1, false, &trial);
		kept[1] += trial.kept;
		trial_run(&machine, 0, 3, false, &trial); /* the same, by another name */
		kept[2] += trial.kept;
		trial_run(&machine, 0, GRID, false, &trial);
		kept[3] += trial.kept;
		assert_false(trial.measured); /* ended in canary */
		assert_int_equal(trial.verdict, FACT_WORSE);
		assert_true(trial.slices == 10 && trial.harmed == 2 && trial.gain < -0.3);
		trial_run(&machine, 0, 3, true, &trial);
		naive += trial.kept;
	}
	printf("kept of 100: a gain of a third %zu, harm of a tenth %zu, nothing %zu, harm of two "
	       "fifths %zu; nothing "
	       "without safety %zu\n",
		kept[0], kept[1], kept[2], kept[3], naive);
	assert_true(kept[0] > 90);
	assert_int_equal(kept[1] + kept[3], 0);
	assert_true(kept[2] <= 6);
	assert_true(naive > 20);
}

static void the_advisor_keeps_to_the_grid(void **state)
{
	static struct surface s;
	struct response_without none = { 0 };
	double gain[GRID + 1] = { 0 };
	struct machine machine = { .s = &s, .random = random_seed(7) };
	struct brain *brain = malloc(sizeof(*brain));
	size_t here = 0, proposals = 0;

	(void)state;
	for (size_t c = 0; c < GRID; c++)
		gain[c] = c % 3 == 2 ? 0.3 : c % 3 == 1 ? 0.15 : 0;
	assert_int_equal(record(&s, gain, 6, 0.02, 5), 0);
	assert_non_null(brain);
	brain_open(brain, &s.plan, "6.12.1", &none);
	for (size_t n = 0; n < 12; n++) {
		size_t to = brain_ask(
			brain, &s.plan, here, 12 - n, log(machine_measure(&machine, here)));
		struct fact fact = { 0 };
		struct trial trial;

		if (to == SURFACE_ALL)
			break;
		proposals++;
		assert_true(to < GRID && to != here);
		trial_run(&machine, here, to, false, &trial);
		fact.verdict = trial.verdict;
		fact.measured = trial.measured;
		fact.gain = trial.gain;
		fact.error = trial.error;
		fact_set_levels(&fact, trial.before, trial.after);
		brain_learn(brain, &fact);
		here = trial.kept ? to : here;
	}
	assert_int_equal(here % 3, 2);
	assert_int_equal(brain->trials, proposals);
	brain_close(brain);
	free(brain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plans_are_read_strictly),
		cmocka_unit_test(effects_are_found_to_their_size),
		cmocka_unit_test(noise_is_no_best_configuration),
		cmocka_unit_test(trials_come_out_as_recorded),
		cmocka_unit_test(the_advisor_keeps_to_the_grid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
