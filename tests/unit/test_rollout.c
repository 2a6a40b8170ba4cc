// SPDX-License-Identifier: Apache-2.0
/*
 * test_rollout.c - a gain is kept, nothing is made of nothing, harm and breaches end it at once, and every plan is checked.
 *
 * The machine is a formula: a p99 with noise that has a memory, times what the new value does to it; of units each has a level
 * of its own, up to four times another's, and noise of its own. Time is a number.
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
#include "agent/safety/rollout.h"

#define S 1000000000ULL

static const struct rollout_plan slices = {
	.kind = ROLLOUT_SLICES,
	.stage = { { 0.05, 2 }, { 0.25, 4 }, { 0.5, 24 } },
	.stages = 3,
	.washout_ns = 2 * S,
	.measure_ns = 5 * S,
	.confirm_ns = 60 * S,
	.lower_is_better = true,
	.seed = 1,
};
static const struct rollout_plan units = {
	.kind = ROLLOUT_UNITS,
	.units = 8,
	.stage = { { 0.05, 2 }, { 0.25, 4 }, { 0.5, 24 } },
	.stages = 3,
	.washout_ns = 2 * S,
	.measure_ns = 5 * S,
	.confirm_ns = 60 * S,
	.lower_is_better = true,
	.seed = 1,
};

struct machine {
	struct random_state random;
	double memory, effect; /* effect of the new value: factor */
	uint32_t treated, sets, now_s;
	uint64_t new_ns, all_ns;
};

static double normal(struct random_state *random)
{
	return sqrt(-2 * log(1 - random_unit(random))) * cos(2 * M_PI * random_unit(random));
}

static double p99(struct machine *machine)
{
	machine->memory = 0.7 * machine->memory + 0.05 * normal(&machine->random);
	return 100 * exp(machine->memory + 0.05 * normal(&machine->random));
}

static void answer(struct rollout *rollout, double value)
{
	double all[ROLLOUT_UNITS_MAX];

	for (int u = 0; u < ROLLOUT_UNITS_MAX; u++)
		all[u] = value;
	rollout_measured(rollout, all);
}

static void measure(struct rollout *rollout, struct machine *machine)
{
	double value[ROLLOUT_UNITS_MAX], load = p99(machine);

	for (int u = 0; u < ROLLOUT_UNITS_MAX; u++) {
		value[u] = load * (machine->treated >> u & 1 ? machine->effect : 1);
		if (rollout->plan.kind == ROLLOUT_UNITS)
			value[u] *= (1 + u % 4) * exp(0.1 * normal(&machine->random));
	}
	rollout_measured(rollout, value);
}

/* Carry out one order at *now; the time passes to the next. */
static enum rollout_act carry_out(struct rollout *rollout, struct machine *machine, uint64_t *now)
{
	struct rollout_order order;

	rollout_next(rollout, *now, &order);
	switch (order.act) {
	case ROLLOUT_SET:
		machine->treated = order.treated;
		machine->sets++;
		break;
	case ROLLOUT_WAIT:
		assert_true(order.at_ns > *now);
		machine->all_ns += order.at_ns - *now;
		machine->new_ns += machine->treated ? order.at_ns - *now : 0;
		*now = order.at_ns;
		break;
	case ROLLOUT_END:
		measure(rollout, machine);
		break;
	case ROLLOUT_BEGIN:
	case ROLLOUT_KEEP:
	case ROLLOUT_UNDO:
		break;
	}
	return order.act;
}

static enum rollout_act run(struct rollout *rollout, const struct rollout_plan *plan, uint64_t seed,
	double effect, struct machine *machine)
{
	struct rollout_plan own = *plan;
	uint64_t now = 1000 * S;
	enum rollout_act act;
	char why[ROLLOUT_WHY];

	*machine = (struct machine){ .random = random_seed(seed), .effect = effect };
	own.seed = seed;
	assert_int_equal(rollout_begin(rollout, &own, why, sizeof(why)), 0);
	do
		act = carry_out(rollout, machine, &now);
	while (act != ROLLOUT_KEEP && act != ROLLOUT_UNDO);
	assert_true(now - 1000 * S <= rollout_length_ns(&own));
	return act;
}

static void a_gain_is_kept_and_nothing_is_made_of_nothing(void **state)
{
	int runs = getenv("SEMANTOS_SOAK") ? 2000 : 200;
	const struct rollout_plan *plan[2] = { &slices, &units };
	struct rollout rollout;
	struct machine machine;

	(void)state;
	for (int kind = 0; kind < 2; kind++) {
		int gains = 0, nothing = 0, harms = 0, early = 0, unsafe = 0;

		for (int i = 1; i <= runs; i++) {
			uint64_t seed = (uint64_t)i;

			gains += run(&rollout, plan[kind], seed, 0.85, &machine) == ROLLOUT_KEEP;
			nothing += run(&rollout, plan[kind], seed, 1, &machine) == ROLLOUT_KEEP;
			harms += run(&rollout, plan[kind], seed, 2, &machine) == ROLLOUT_KEEP;
			early += rollout.stage == 0;
			unsafe += rollout.unsafe;
		}
		printf("%s: of %d runs kept with a gain of 15 %% %d, without an effect %d; with "
		       "twice the "
		       "latency %d, ended in the first stage %d\n",
			kind ? "units" : "slices", runs, gains, nothing, harms, early);
		assert_true(gains >= runs * 0.95);
		assert_true(nothing <= runs * 0.05);
		assert_int_equal(harms, 0);
		assert_int_equal(early, runs);
		assert_int_equal(unsafe, runs);
	}
}

static void a_share_of_the_time_is_that_share(void **state)
{
	struct rollout_plan plan = slices;
	struct rollout rollout;
	struct machine machine;

	(void)state;
	plan.confirm_ns = 0;
	plan.washout_ns = 0;
	assert_int_equal(run(&rollout, &plan, 3, 0.5, &machine), ROLLOUT_KEEP);
	/* 2 x 1 of 20, 4 x 1 of 4, 24 x 1 of 2 */
	assert_int_equal(machine.all_ns, (40 + 16 + 48) * 5 * S);
	assert_int_equal(machine.new_ns, (2 + 4 + 24) * 5 * S);
	assert_non_null(strstr(rollout.why, "the metric fell by "));
	assert_true(rollout.gain.low < -0.5 && rollout.gain.high > -0.5);
	assert_int_equal(machine.treated, 1);
}

static void a_share_of_the_units_is_that_share(void **state)
{
	static const uint32_t share[] = { 1, 2, 4, 8 };
	uint32_t first = 0, seen[4] = { 0 }, sat_out = UINT32_MAX;
	struct rollout rollout;
	struct machine machine = { .random = random_seed(1), .effect = 0.5 };
	enum rollout_act act;
	uint64_t now = 0;
	char why[ROLLOUT_WHY];

	(void)state;
	assert_int_equal(rollout_begin(&rollout, &units, why, sizeof(why)), 0);
	do {
		act = carry_out(&rollout, &machine, &now);
		if (act != ROLLOUT_SET)
			continue;
		assert_int_equal(__builtin_popcount(machine.treated), share[rollout.stage]);
		/* the sides of a pair take turns, and share nobody */
		if (rollout.stage < 3 && rollout.slot == 0)
			first = machine.treated;
		else if (rollout.stage < 3)
			assert_int_equal(machine.treated & first, 0);
		if (rollout.stage < 3)
			assert_int_equal(
				rollout_needed(&rollout), rollout.side[0] | rollout.side[1]);
		seen[rollout.stage] |= machine.treated;
		sat_out &= rollout.stage == 2 ? machine.treated : UINT32_MAX;
	} while (act != ROLLOUT_KEEP && act != ROLLOUT_UNDO);
	/* the lot reaches all of them */
	assert_int_equal(seen[2], 0xff);
	assert_int_equal(sat_out, 0);
	assert_int_equal(machine.treated, 0xff);
	assert_true(rollout.gain.low < -0.5 && rollout.gain.high > -0.5);
	/* once over it stays so */
	assert_int_equal(carry_out(&rollout, &machine, &now), ROLLOUT_KEEP);
	rollout_breach(&rollout, "too late");
	answer(&rollout, 1);
	assert_int_equal(carry_out(&rollout, &machine, &now), ROLLOUT_KEEP);
}

/* Fewer units than two full sides, and an odd number: never more than half, at least one, one sits out. */
static void few_units_have_equal_sides(void **state)
{
	static const struct {
		uint32_t units, share[3];
	} row[] = { { 2, { 1, 1, 1 } }, { 3, { 1, 1, 1 } }, { 4, { 1, 1, 2 } }, { 5, { 1, 1, 2 } },
		{ 32, { 2, 8, 16 } } };

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct rollout_plan plan = units;
		struct rollout rollout;
		struct machine machine;

		plan.units = row[i].units;
		for (uint32_t stage = 0; stage < 3; stage++)
			assert_int_equal(rollout_units(&plan, stage), row[i].share[stage]);
		assert_int_equal(rollout_units(&plan, plan.stages), row[i].units);
		assert_int_equal(rollout_units(&slices, 2), 1);
		assert_int_equal(run(&rollout, &plan, 5, 0.5, &machine), ROLLOUT_KEEP);
		assert_int_equal(__builtin_popcount(machine.treated), row[i].units);
		assert_int_equal(run(&rollout, &plan, 5, 2, &machine), ROLLOUT_UNDO);
		assert_int_equal(rollout.stage, 0);
	}
}

/* Until this phase of this slot, then what is asked for. */
static void until(struct rollout *rollout, const struct rollout_plan *plan,
	enum rollout_phase phase, bool treated, struct machine *machine, uint64_t *now)
{
	char why[ROLLOUT_WHY];

	*machine = (struct machine){ .random = random_seed(1), .effect = 1 };
	*now = 0;
	assert_int_equal(rollout_begin(rollout, plan, why, sizeof(why)), 0);
	while (rollout->phase != phase || (rollout->treated != 0) != treated)
		carry_out(rollout, machine, now);
}

/* The same until the answer is due. */
static void until_answer(struct rollout *rollout, const struct rollout_plan *plan, bool treated,
	struct machine *machine, uint64_t *now)
{
	struct rollout_order order;

	until(rollout, plan, ROLLOUT_MEASURE, treated, machine, now);
	*now = rollout->phase_ns;
	rollout_next(rollout, *now, &order);
	assert_int_equal(order.act, ROLLOUT_END);
}

static void a_breach_ends_it_at_once(void **state)
{
	struct rollout_order order;
	struct rollout rollout;
	struct machine machine;
	uint64_t now;

	(void)state;
	until(&rollout, &slices, ROLLOUT_MEASURE, true, &machine, &now);
	rollout_breach(&rollout, "p95 is 40 ms, beyond 35");
	rollout_next(&rollout, now, &order);
	assert_int_equal(order.act, ROLLOUT_UNDO);
	assert_string_equal(order.why, "p95 is 40 ms, beyond 35");
	assert_true(rollout.unsafe);
	/* under the old value it is not the new one's doing, */
	until(&rollout, &slices, ROLLOUT_MEASURE, false, &machine, &now);
	rollout_breach(&rollout, "p95 is 40 ms, beyond 35");
	rollout_next(&rollout, now, &order);
	assert_int_equal(order.act, ROLLOUT_UNDO);
	assert_false(rollout.unsafe);
	/* unless it was in force until just now */
	until(&rollout, &slices, ROLLOUT_MEASURE, true, &machine, &now);
	while (rollout.treated || rollout.phase != ROLLOUT_WASHOUT)
		carry_out(&rollout, &machine, &now);
	rollout_breach(&rollout, "p95 is 40 ms, beyond 35");
	assert_true(rollout.unsafe);
	/* before anything was tried it cannot be */
	until(&rollout, &slices, ROLLOUT_WASHOUT, false, &machine, &now);
	rollout_breach(&rollout, "p95 is 40 ms, beyond 35");
	assert_false(rollout.unsafe);
	/* and a stop never is */
	until(&rollout, &slices, ROLLOUT_MEASURE, true, &machine, &now);
	rollout_stop(&rollout, "the operator asked");
	rollout_next(&rollout, now, &order);
	assert_int_equal(order.act, ROLLOUT_UNDO);
	assert_false(rollout.unsafe);
}

static void a_silent_metric_is_a_breach(void **state)
{
	const struct {
		const struct rollout_plan *plan;
		bool in_force;
		double first, others; /* of the units that are needed; of the rest */
		bool ends;
	} row[] = {
		{ &slices, true, NAN, 5, true },
		{ &slices, true, 5, NAN, false },
		{ &slices, false, NAN, 5, true },
		{ &slices, false, 5, NAN, false },
		{ &units, true, INFINITY, 5, true },
		{ &units, true, NAN, 5, true },
		{ &units, true, 5, NAN, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		double value[ROLLOUT_UNITS_MAX];
		struct rollout rollout;
		struct machine machine;
		uint64_t now;

		until_answer(&rollout, row[i].plan, row[i].in_force, &machine, &now);
		for (int u = 0; u < ROLLOUT_UNITS_MAX; u++)
			value[u] = rollout_needed(&rollout) >> u & 1 ? row[i].first : row[i].others;
		rollout_measured(&rollout, value);
		assert_int_equal(rollout.phase == ROLLOUT_OVER, row[i].ends);
		assert_int_equal(rollout.unsafe, row[i].ends && row[i].in_force);
	}
}

static void it_is_watched_to_the_end(void **state)
{
	struct rollout_plan plan = units;
	struct rollout rollout, kept;
	struct machine machine;

	(void)state;
	until(&rollout, &plan, ROLLOUT_MEASURE, true, &machine, &(uint64_t){ 0 });
	machine.effect = 0.5;
	for (uint64_t now = rollout.phase_ns; rollout.stage < plan.stages;)
		carry_out(&rollout, &machine, &now);
	rollout.phase = ROLLOUT_ANSWER;
	rollout.treated = 0xff;
	assert_int_equal(rollout_needed(&rollout), 0xff);
	kept = rollout;
	answer(&kept, 50);
	assert_true(kept.kept);
	answer(&rollout, NAN);
	assert_false(rollout.kept);
	assert_true(rollout.unsafe);
}

/* Good in every stage, and then not any more: one slice tells it, when it is far off and like none before. */
/* Half as long for a while, then ten times as long: the mean over the stage is no verdict, its end is. */
static void what_turns_bad_in_the_last_stage_is_harm(void **state)
{
	(void)state;
	for (int turn = 0; turn <= 24; turn++) {
		for (int r = 0; r < 4; r++) {
			struct rollout_plan plan = r % 2 ? units : slices;
			bool late = turn > 24 - ROLLOUT_LATE;
			struct rollout rollout;
			struct machine machine;
			uint64_t now;

			plan.lower_is_better = r < 2;
			plan.seed = (uint64_t)turn + 1;
			until(&rollout, &plan, ROLLOUT_MEASURE, r % 2, &machine, &now);
			machine.effect = r < 2 ? 0.5 : 2;
			while (rollout.phase != ROLLOUT_OVER) {
				if (rollout.stage == 2 && rollout.pair >= (uint32_t)turn)
					machine.effect = r < 2 ? 10 : 0.1;
				if (rollout.stage == 3)
					break;
				carry_out(&rollout, &machine, &now);
			}
			if (late)
				continue; /* what comes after the stage sees it */
			assert_int_equal(rollout.phase, ROLLOUT_OVER);
			assert_false(rollout.kept);
			if (!rollout.unsafe)
				fail_msg("turned in pair %d of 24: %s", turn, rollout.why);
		}
	}
}

static void what_turns_bad_when_it_stands_is_undone(void **state)
{
	static const struct {
		bool lower_is_better;
		double effect, share; /* of the old value's mean, when it stands */
		bool kept;
	} row[] = { { true, 0.5, 0.5, true }, { true, 0.5, 0, true }, { true, 0.5, 1.1, true },
		{ true, 0.5, 3, false }, { false, 2, 2, true }, { false, 2, 0.9, true },
		{ false, 2, 0.3, false } };

	(void)state;
	for (size_t r = 0; r < 2 * sizeof(row) / sizeof(row[0]); r++) {
		struct rollout_plan plan = r % 2 ? units : slices;
		struct rollout rollout;
		struct machine machine;
		uint64_t now;
		size_t i = r / 2;

		plan.lower_is_better = row[i].lower_is_better;
		until(&rollout, &plan, ROLLOUT_MEASURE, r % 2, &machine, &now);
		machine.effect = row[i].effect;
		while (rollout.stage < plan.stages)
			carry_out(&rollout, &machine, &now);
		while (rollout.phase != ROLLOUT_MEASURE)
			carry_out(&rollout, &machine, &now);
		/* something on the way was as bad: then this one is no sign */
		for (int odd = 0; odd < 2; odd++) {
			struct rollout end = rollout;

			if (odd)
				end.measured[3].before = row[i].share * end.gain.before *
							 (plan.lower_is_better ? 1.01 : 0.99);
			end.phase = ROLLOUT_ANSWER;
			answer(&end, row[i].share * end.gain.before);
			assert_int_equal(end.phase, ROLLOUT_OVER);
			assert_int_equal(end.kept, row[i].kept || odd);
			assert_int_equal(end.unsafe, !end.kept);
			if (!end.kept)
				assert_non_null(strstr(end.why, "worse by"));
		}
	}
}

static void what_is_measured_too_late_is_measured_anew(void **state)
{
	struct rollout_order order;
	struct rollout rollout;
	struct machine machine;
	uint64_t now;

	(void)state;
	until(&rollout, &slices, ROLLOUT_MEASURE, true, &machine, &now);
	for (int i = 0; i < ROLLOUT_RETRIES; i++) {
		now += 3600 * S;
		rollout_next(&rollout, now, &order);
		assert_int_equal(order.act, ROLLOUT_SET);
		assert_int_equal(rollout.slot, 0);
		while (rollout.phase != ROLLOUT_MEASURE)
			carry_out(&rollout, &machine, &now);
	}
	now += 3600 * S;
	rollout_next(&rollout, now, &order);
	assert_int_equal(order.act, ROLLOUT_UNDO);
	assert_string_equal(order.why, "measurements came too late again and again");
	assert_false(rollout.unsafe);
	/* a little late is no harm, and an answer that is not asked for changes nothing */
	until(&rollout, &slices, ROLLOUT_MEASURE, true, &machine, &now);
	answer(&rollout, NAN);
	now += 6 * S;
	rollout_next(&rollout, now, &order);
	assert_int_equal(order.act, ROLLOUT_END);
	rollout_next(&rollout, now, &order);
	assert_int_equal(order.act, ROLLOUT_END);
}

static void throughput_that_falls_is_harm(void **state)
{
	struct rollout_plan plan = slices;
	struct rollout rollout;
	struct machine machine;

	(void)state;
	plan.lower_is_better = false;
	assert_int_equal(run(&rollout, &plan, 1, 0.5, &machine), ROLLOUT_UNDO);
	assert_int_equal(rollout.stage, 0);
	assert_non_null(strstr(rollout.why, "the metric was worse by "));
	assert_non_null(strstr(rollout.why, " % on 5 % of the time"));
	assert_int_equal(run(&rollout, &plan, 1, 1.5, &machine), ROLLOUT_KEEP);
	/* a metric of 0 has no share: the short stages pass it, the last does not */
	assert_int_equal(run(&rollout, &units, 1, 2, &machine), ROLLOUT_UNDO);
	assert_non_null(strstr(rollout.why, "% on 1 of 8 members"));
}

static void a_stage_long_enough_is_judged_by_its_error(void **state)
{
	struct rollout_plan plan = slices;
	struct rollout rollout;
	struct machine machine;

	(void)state;
	plan.stage[0].pairs = 40;
	assert_int_equal(run(&rollout, &plan, 1, 1.15, &machine), ROLLOUT_UNDO);
	assert_int_equal(rollout.stage, 0);
	assert_true(rollout.unsafe);
	assert_int_equal(run(&rollout, &plan, 1, 0.8, &machine), ROLLOUT_KEEP);
	/* zeros cannot be judged, and what cannot be judged is not kept */
	assert_int_equal(run(&rollout, &plan, 1, 1, &machine), ROLLOUT_UNDO);
	until(&rollout, &units, ROLLOUT_MEASURE, true, &machine, &(uint64_t){ 0 });
	for (uint64_t now = 0; rollout.phase != ROLLOUT_OVER;) {
		struct rollout_order order;

		rollout_next(&rollout, now, &order);
		if (order.act == ROLLOUT_WAIT)
			now = order.at_ns;
		else if (order.act == ROLLOUT_END)
			answer(&rollout, 0);
	}
	assert_false(rollout.kept);
	assert_string_equal(rollout.why, "the metric could not be judged from 24 pairs");
}

static void a_plan_is_checked(void **state)
{
	struct rollout_plan bad[12];
	struct rollout rollout;
	struct rollout_order order;
	char why[ROLLOUT_WHY];

	(void)state;
	for (int i = 0; i < 12; i++)
		bad[i] = slices;
	bad[0].kind = ROLLOUT_UNITS;
	bad[1].stages = 0;
	bad[2].stages = ROLLOUT_STAGES + 1;
	bad[3].measure_ns = 0;
	bad[4].stage[0].share = NAN;
	bad[5].stage[2].share = 0.6;
	bad[6].stage[1].share = 0.05;
	bad[7].stage[1].pairs = 0;
	bad[8].stage[1].pairs = ROLLOUT_PAIRS + 1;
	bad[9].stages = 2;
	bad[10].stage[2].pairs = GAIN_PAIRS_MIN - 1;
	bad[11] = units;
	bad[11].units = ROLLOUT_UNITS_MAX + 1;
	for (int i = 0; i < 12; i++) {
		assert_int_equal(rollout_begin(&rollout, &bad[i], why, sizeof(why)), -EINVAL);
		assert_non_null(strstr(why, "the rollout's plan was refused: "));
		rollout_next(&rollout, 0, &order);
		assert_int_equal(order.act, ROLLOUT_UNDO);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_gain_is_kept_and_nothing_is_made_of_nothing),
		cmocka_unit_test(a_share_of_the_time_is_that_share),
		cmocka_unit_test(a_share_of_the_units_is_that_share),
		cmocka_unit_test(few_units_have_equal_sides),
		cmocka_unit_test(a_breach_ends_it_at_once),
		cmocka_unit_test(a_silent_metric_is_a_breach),
		cmocka_unit_test(it_is_watched_to_the_end),
		cmocka_unit_test(what_turns_bad_in_the_last_stage_is_harm),
		cmocka_unit_test(what_turns_bad_when_it_stands_is_undone),
		cmocka_unit_test(what_is_measured_too_late_is_measured_anew),
		cmocka_unit_test(throughput_that_falls_is_harm),
		cmocka_unit_test(a_stage_long_enough_is_judged_by_its_error),
		cmocka_unit_test(a_plan_is_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
