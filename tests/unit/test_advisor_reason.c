// SPDX-License-Identifier: Apache-2.0
/*
 * test_advisor_reason.c - the fast path on made-up machines: a setting that is wrong is found, and sooner than by search
 * that knows less; nothing is learned from noise; what is said of harm comes true as often as it is said.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/advisor_machine.h"

#define SEEDS 10
#define TRIALS 15 /* within which a wrong setting is to be found */
#define GIVEN_UP 60

static const struct {
	const char *name, *wrong;
} wrong[] = { { "sysfs:block/vda/queue/read_ahead_kb", "0" }, { "sysctl:vm.dirty_ratio", "1" },
	{ "sysctl:vm.swappiness", "200" }, { "sysfs:block/vda/queue/nr_requests", "4" },
	{ "sysctl:net.core.somaxconn", "16" }, { "sysctl:vm.dirty_expire_centisecs", "100" },
	{ "sysctl:net.ipv4.tcp_congestion_control", "reno" } };
#define WRONG (sizeof(wrong) / sizeof(wrong[0]))

enum how { FULL, NO_EDGES, NO_TRACES, NO_TABLES, PLAIN, BLIND, HOWS };
static const char *const how_name[] = { "all of it", "without edges", "without traces",
	"without tables", "plain GP, EI, 8 random first", "random" };

/* A usual machine, of which an operator has set five well and one wrong; *loss: what the wrong one costs. */
static size_t detuned(struct machine *machine, size_t which, uint64_t seed, double *loss)
{
	size_t at;

	machine_open(machine, 100 * which + seed);
	machine_usual(machine);
	for (size_t i = 0; i < 5; i++) {
		struct axis_level level[AXIS_LEVELS_MAX];
		size_t n;

		at = (size_t)(machine_uniform(machine) * (double)machine->n);
		n = axis_levels(machine_axis(machine, at), machine->value[at], 0.35, level);
		if (!n)
			continue;
		n = (size_t)(machine_uniform(machine) * (double)n);
		memcpy(machine->value[at], level[n].value, AXIS_VALUE_MAX);
		machine->best[at] = level[n].place;
	}
	at = machine_named(machine, wrong[which].name);
	snprintf(machine->value[at], AXIS_VALUE_MAX, "%s", wrong[which].wrong);
	machine->best[at] = machine_axis(machine, at)->standard;
	if (!machine_axis(machine, at)->words) {
		double away = axis_place(machine_axis(machine, at), wrong[which].wrong) <
					      machine->best[at]
				      ? 1
				      : -1;

		/* the best is near the default, or further off on the far side */
		machine->best[at] += away * 0.2 * (machine_uniform(machine) - 0.3);
	}
	/* 10 to 40 % are lost */
	machine->weight[at] = 1;
	machine->weight[at] = (0.1 + 0.3 * machine_uniform(machine)) / machine_loss(machine, at);
	*loss = machine_loss(machine, at);
	return at;
}

/* Trials until two thirds of the loss are made good; GIVEN_UP when they are not. */
static size_t find(enum how how, size_t which, uint64_t seed, size_t *harmed, size_t *tried)
{
	struct machine machine;
	double loss;
	size_t at = detuned(&machine, which, seed, &loss), trial;

	machine.without.edges = how == NO_EDGES || how == PLAIN;
	machine.without.tables = how == NO_TABLES || how == PLAIN;
	machine.without.traces = how == NO_TRACES;
	for (trial = 1; trial < GIVEN_UP; trial++) {
		struct reason_answer answer;

		if (how == BLIND || (how == PLAIN && trial <= 8))
			machine_random(&machine, &answer);
		else
			machine_ask(&machine, &answer);
		if (!answer.n_moves) {
			trial = GIVEN_UP;
			break;
		}
		if (machine_try(&machine, &answer) && machine_loss(&machine, at) < loss / 3)
			break;
	}
	*harmed += machine.harmed;
	*tried += machine.trials;
	machine_close(&machine);
	return trial;
}

static int by_size(const void *a, const void *b)
{
	return (int)*(const size_t *)a - (int)*(const size_t *)b;
}

static void test_wrong_setting_is_found(void **state)
{
	size_t found[HOWS] = { 0 };

	(void)state;
	for (enum how how = 0; how < HOWS; how++) {
		size_t trials[WRONG * SEEDS], harmed = 0, tried = 0, least = SEEDS;

		for (size_t w = 0; w < WRONG; w++) {
			size_t mine = 0;

			for (uint64_t seed = 0; seed < SEEDS; seed++) {
				size_t n = find(how, w, seed, &harmed, &tried);

				trials[w * SEEDS + seed] = n;
				mine += n <= TRIALS;
			}
			least = mine < least ? mine : least;
			found[how] += mine;
			if (how == FULL && mine < SEEDS - 1)
				fail_msg("%s was found in %zu of %d", wrong[w].name, mine, SEEDS);
		}
		qsort(trials, WRONG * SEEDS, sizeof(trials[0]), by_size);
		printf("%-30s found within %d trials %2zu of %zu (the least of a setting %zu of "
		       "%d), median "
		       "%zu, 9th tenth %zu; %.3f of trials did harm\n",
			how_name[how], TRIALS, found[how], WRONG * SEEDS, least, SEEDS,
			trials[WRONG * SEEDS / 2], trials[WRONG * SEEDS * 9 / 10],
			(double)harmed / (double)tried);
	}
	assert_true(found[FULL] > found[PLAIN]);
	assert_true(found[FULL] > found[BLIND]);
	assert_true(found[FULL] > found[NO_TABLES]);
}

/* A machine on which every third knob matters by up to 12 % and half of all stand anywhere: the share of the loss made good. */
static double made_good(enum how how, uint64_t seed, size_t trials)
{
	struct machine machine;
	double begun, left;

	machine_open(&machine, 700 + seed);
	machine_usual(&machine);
	for (size_t i = 0; i < machine.n; i++) {
		struct axis_level level[AXIS_LEVELS_MAX];
		size_t n = axis_levels(machine_axis(&machine, i), machine.value[i], 1, level);

		machine.weight[i] *= 3;
		if (n && machine_uniform(&machine) < 0.5)
			memcpy(machine.value[i],
				level[(size_t)(machine_uniform(&machine) * (double)n)].value,
				AXIS_VALUE_MAX);
	}
	machine.without.edges = how == NO_EDGES || how == PLAIN;
	machine.without.tables = how == NO_TABLES || how == PLAIN;
	machine.without.traces = how == NO_TRACES;
	begun = -machine_level(&machine);
	for (size_t trial = 0; trial < trials; trial++) {
		struct reason_answer answer;

		if (how == BLIND || (how == PLAIN && trial < 8))
			machine_random(&machine, &answer);
		else
			machine_ask(&machine, &answer);
		if (!answer.n_moves)
			break;
		machine_try(&machine, &answer);
	}
	left = -machine_level(&machine);
	machine_close(&machine);
	return 1 - left / begun;
}

static void test_many_wrong_settings(void **state)
{
	double good[HOWS] = { 0 };

	(void)state;
	for (enum how how = 0; how < HOWS; how++) {
		double soon = 0;

		for (uint64_t seed = 0; seed < 3 * SEEDS; seed++) {
			soon += made_good(how, seed, 15) / (3 * SEEDS);
			good[how] += made_good(how, seed, 40) / (3 * SEEDS);
		}
		printf("%-30s made good %2.0f %% of the loss in 15 trials, %2.0f %% in 40\n",
			how_name[how], 100 * soon, 100 * good[how]);
	}
	for (enum how how = NO_TRACES; how < HOWS; how++)
		assert_true(good[FULL] > good[how]);
}

/* Nothing matters: proposals come, gains are hardly ever claimed for sure, and it ends by itself. */
static void test_noise_teaches_nothing(void **state)
{
	size_t proposals = 0, sure = 0, ended = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct machine machine;
		struct reason_answer answer;

		machine_open(&machine, 5000 + seed);
		machine_usual(&machine);
		memset(machine.weight, 0, sizeof(machine.weight));
		for (size_t trial = 0; trial < 150; trial++) {
			machine_ask(&machine, &answer);
			if (!answer.n_moves) {
				ended++;
				assert_true(strlen(answer.rationale) > 20);
				break;
			}
			proposals++;
			sure += answer.gain - 1.96 * answer.deviation > 0.005;
			machine_try(&machine, &answer);
		}
		machine_close(&machine);
	}
	printf("of %zu proposals on noise %zu claimed a gain beyond their error; %zu of 20 ended "
	       "within 150 trials\n",
		proposals, sure, ended);
	assert_true(proposals > 200);
	assert_true(sure * 20 <= proposals);
}

static void test_pair_is_found_along_synergy(void **state)
{
	size_t found[2] = { 0 };

	(void)state;
	for (int without = 0; without < 2; without++) {
		for (uint64_t seed = 0; seed < SEEDS; seed++) {
			struct machine machine;
			struct reason_answer answer;
			size_t a, b;

			machine_open(&machine, 300 + seed);
			machine_usual(&machine);
			machine.without.edges = without;
			memset(machine.weight, 0, sizeof(machine.weight));
			a = machine_named(&machine, "sysctl:vm.dirty_ratio");
			b = machine_named(&machine, "sysctl:vm.dirty_background_ratio");
			machine.n_pairs = 1;
			machine.pair[0] = (struct machine_pair){ (uint32_t)a, (uint32_t)b, 0.3, 0.2,
				0.2, 0.01 };
			for (size_t trial = 0; trial < 40; trial++) {
				machine_ask(&machine, &answer);
				if (!answer.n_moves)
					break;
				if (machine_try(&machine, &answer) && machine.fact[0].gain > 0.1 &&
					answer.n_moves > 1) {
					found[without]++;
					break;
				}
			}
			machine_close(&machine);
		}
	}
	printf("two that help only together: found in %zu of %d by the edge, %zu without edges\n",
		found[0], SEEDS, found[1]);
	assert_true(found[0] >= SEEDS - 1);
	assert_true(found[1] == 0);
}

static size_t moved(
	const struct machine *machine, const struct reason_answer *answer, const char *name)
{
	for (size_t m = 0; m < answer->n_moves; m++) {
		if (strcmp(machine->lexicon.knob[answer->move[m].knob]->name, name) == 0)
			return m + 1;
	}
	return 0;
}

static void test_conflict_is_respected(void **state)
{
	struct reason_answer answer;
	struct machine machine;
	size_t either = 0;

	(void)state;
	machine_open(&machine, 7);
	machine_add(&machine, "sysctl:vm.dirty_ratio", "1");
	machine_add(&machine, "sysctl:vm.dirty_bytes", "1000000");
	machine_add(&machine, "sysctl:vm.dirty_background_ratio", "1");
	machine_add(&machine, "sysctl:vm.dirty_background_bytes", "1000000");
	machine_add(&machine, "sysfs:block/vda/queue/read_ahead_kb", "0");
	machine_add(&machine, "blkra:vda", "0");
	for (int trial = 0; trial < 60; trial++) {
		size_t pair[3][2];

		machine_ask(&machine, &answer);
		if (!answer.n_moves)
			break;
		pair[0][0] = moved(&machine, &answer, "sysctl:vm.dirty_ratio");
		pair[0][1] = moved(&machine, &answer, "sysctl:vm.dirty_bytes");
		pair[1][0] = moved(&machine, &answer, "sysctl:vm.dirty_background_ratio");
		pair[1][1] = moved(&machine, &answer, "sysctl:vm.dirty_background_bytes");
		pair[2][0] = moved(&machine, &answer, "sysfs:block/vda/queue/read_ahead_kb");
		pair[2][1] = moved(&machine, &answer, "blkra:vda");
		for (int p = 0; p < 3; p++) {
			assert_false(pair[p][0] && pair[p][1]);
			either += pair[p][0] || pair[p][1];
		}
		machine_try(&machine, &answer);
	}
	assert_true(either > 5);
	machine_close(&machine);
}

/* What does nothing while another is set so is not proposed. */
static void test_what_has_no_effect_now_waits(void **state)
{
	struct reason_answer answer;
	struct machine machine;

	(void)state;
	machine_open(&machine, 12);
	machine_add(&machine, "sysfs:block/vda/queue/wbt_lat_usec", "100");
	machine_ask(&machine, &answer);
	assert_int_equal(answer.n_moves, 1);
	machine_add(&machine, "sysfs:block/vda/queue/scheduler", "bfq");
	machine_ask(&machine, &answer);
	assert_int_equal(moved(&machine, &answer, "sysfs:block/vda/queue/wbt_lat_usec"), 0);
	machine_close(&machine);
}

static void test_depended_on_comes_along(void **state)
{
	struct reason_answer answer;
	struct machine machine;
	size_t together = 0, alone = 0;

	(void)state;
	machine_open(&machine, 8);
	machine_add(&machine, "sysfs:kernel/mm/ksm/run", "0");
	machine_add(&machine, "sysfs:kernel/mm/ksm/sleep_millisecs", "20");
	machine_add(&machine, "sysfs:kernel/mm/ksm/pages_to_scan", "100");
	for (int trial = 0; trial < 40; trial++) {
		machine_ask(&machine, &answer);
		if (!answer.n_moves)
			break;
		if (moved(&machine, &answer, "sysfs:kernel/mm/ksm/sleep_millisecs")) {
			size_t run = moved(&machine, &answer, "sysfs:kernel/mm/ksm/run");

			if (strcmp(machine.value[0], "1") == 0)
				continue; /* it was kept: nothing is to be taken along */
			if (run && strcmp(answer.move[run - 1].to, "1") == 0) {
				together++;
				assert_non_null(strstr(answer.rationale, "ksm/run"));
				assert_non_null(strstr(answer.evidence, "depends_on"));
			} else {
				alone++;
			}
		}
		machine_try(&machine, &answer);
	}
	assert_true(together > 0);
	assert_int_equal(alone, 0);
	machine_close(&machine);
}

/* What failed is not said twice from the same values; from others it may be, unless it was unsafe or rejected. */
/* What a load that was another showed counts for nothing, what did harm under it stays barred; and when it comes back it counts. */
static void test_another_load_begins_anew(void **state)
{
	static const struct {
		double then[2],
			now; /* the objective: with the trial, with one of another knob after it, with the question */
		enum fact_verdict verdict;
		bool again, told;
	} row[] = { { { 100, 110 }, 130, FACT_NO_EFFECT, false, false },
		{ { 100, 110 }, 300, FACT_NO_EFFECT, true, true },
		{ { 100, 110 }, 30, FACT_NO_EFFECT, true, true },
		{ { 100, 900 }, 1000, FACT_NO_EFFECT, true, true },
		{ { 100, 900 }, 90, FACT_NO_EFFECT, false, true },
		{ { 100, 110 }, NAN, FACT_NO_EFFECT, false, false },
		{ { 100, 110 }, 300, FACT_WORSE, false, true },
		{ { 100, 110 }, 300, FACT_REJECTED, false, true } };
	struct reason_answer first, answer;

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct machine machine;
		struct fact *fact;
		bool again;

		machine_open(&machine, 9);
		machine_add(&machine, "sysfs:block/vda/queue/nomerges", "2");
		machine_ask(&machine, &first);
		assert_int_equal(first.n_moves, 1);
		machine_add(&machine, "sysctl:vm.swappiness", "60");
		for (size_t f = 0; f < 2; f++) {
			fact = &machine.fact[1 - f]; /* newest first */
			fact->n_moves = 1;
			fact->verdict = f ? FACT_NO_EFFECT : row[i].verdict;
			fact->unsafe = fact->verdict == FACT_WORSE;
			fact->measured = fact->verdict != FACT_REJECTED;
			fact->error = 0.5;
			fact_set_levels(fact, row[i].then[f], row[i].then[f]);
			fact->move[0] = first.move[0];
		}
		fact->move[0] = (struct fact_move){ .knob = machine.knob[1],
			.from = "60",
			.to = "61",
			.place_from = 0.3,
			.place_to = 0.31 };
		machine.n_facts = 2;
		machine.question.leveled = true;
		machine.question.level = log(row[i].now);
		machine_ask(&machine, &answer);
		again = answer.n_moves == 1 && answer.move[0].knob == first.move[0].knob &&
			strcmp(answer.move[0].to, first.move[0].to) == 0;
		if (again != row[i].again ||
			(strstr(answer.rationale, "another load") != NULL) != row[i].told)
			fail_msg("row %zu: %s", i, answer.rationale);
		machine_close(&machine);
	}
}

static void test_not_again(void **state)
{
	static const enum fact_verdict verdict[] = { FACT_NO_EFFECT, FACT_WORSE, FACT_BREACH,
		FACT_REJECTED };
	struct reason_answer first, answer;
	struct machine machine;

	(void)state;
	for (size_t v = 0; v < sizeof(verdict) / sizeof(verdict[0]); v++) {
		struct fact *fact;

		machine_open(&machine, 9);
		machine_add(&machine, "sysfs:block/vda/queue/nomerges", "2");
		/* words, so that whatever else is proposed is another word: three levels, one in force */
		machine_ask(&machine, &first);
		assert_int_equal(first.n_moves, 1);
		fact = &machine.fact[machine.n_facts++];
		fact->n_moves = 1;
		fact->move[0] = first.move[0];
		fact->verdict = verdict[v];
		fact->unsafe = verdict[v] == FACT_BREACH;
		/* cut short it would tell that the word is bad from anywhere */
		fact->measured = verdict[v] == FACT_WORSE;
		fact->gain = -0.001;
		fact->error = 0.5;
		machine_ask(&machine, &answer);
		if (answer.n_moves)
			assert_string_not_equal(answer.move[0].to, first.move[0].to);
		/* from another value: it is another question */
		strcpy(machine.value[0], "1");
		machine_ask(&machine, &answer);
		if (verdict[v] == FACT_BREACH || verdict[v] == FACT_REJECTED)
			assert_true(!answer.n_moves ||
				    strcmp(answer.move[0].to, first.move[0].to) != 0);
		else
			assert_true(
				answer.n_moves && strcmp(answer.move[0].to, first.move[0].to) == 0);
		machine_close(&machine);
	}
}

/* From a value that is off: the default first, not what lies beyond it. */
static void test_default_comes_first(void **state)
{
	struct reason_answer answer;
	struct machine machine;

	(void)state;
	machine_open(&machine, 13);
	machine_add(&machine, "sysfs:block/vda/queue/read_ahead_kb", "0");
	machine_ask(&machine, &answer);
	assert_int_equal(answer.n_moves, 1);
	assert_string_equal(answer.move[0].to, "128");
	assert_true(answer.change > 0 && answer.gain > 0); /* higher is better here */
	machine_question(&machine);
	machine.question.lower_is_better = true;
	{
		struct reason_memory memory = machine_memory(&machine);

		assert_int_equal(
			reason_choose(&machine.lexicon, &memory, &machine.question, &answer), 0);
	}
	assert_true(answer.change < 0 && answer.gain > 0);
	machine_close(&machine);
}

/*
 * Ended in canary, so that nobody knows by how much: the other way has become less likely to do harm.
 */
static void test_cut_short_shows_the_way(void **state)
{
	struct reason_answer first, answer;
	struct machine machine;
	struct fact *fact;
	double before;

	(void)state;
	machine_open(&machine, 15);
	machine_add(&machine, "sysfs:block/vda/queue/read_ahead_kb", "512");
	machine_ask(&machine, &first);
	assert_int_equal(first.n_moves, 1);
	assert_true(strtol(first.move[0].to, NULL, 10) < 512);
	fact = &machine.fact[machine.n_facts++];
	*fact = (struct fact){ .n_moves = 1, .verdict = FACT_WORSE, .unsafe = true };
	fact->move[0] = first.move[0];
	machine.without.traces = true;
	machine_ask(&machine, &answer);
	before = answer.u; /* of the best that is not barred, were nothing learned */
	machine.without.traces = false;
	machine_ask(&machine, &answer);
	assert_int_equal(answer.n_moves, 1);
	assert_true(strtol(answer.move[0].to, NULL, 10) > 512);
	printf("cut short: u of the other way fell from %.3f to %.3f\n", before, answer.u);
	assert_true(answer.u < before - 0.01);
	machine_close(&machine);
}

/* What is as uncertain as what was just vetoed has no chance, until something was tried. */
static void test_vetoes_show_the_limit(void **state)
{
	struct reason_answer first, answer;
	struct machine machine;

	(void)state;
	machine_open(&machine, 14);
	machine_usual(&machine);
	machine_ask(&machine, &first);
	assert_true(first.n_moves > 0);
	machine.n_facts = 1;
	machine.fact[0] = (struct fact){ .n_moves = first.n_moves, .verdict = FACT_VETOED };
	memcpy(machine.fact[0].move, first.move, sizeof(first.move));
	machine.fact[0].told = 0.1;
	machine_ask(&machine, &answer);
	assert_true(answer.n_moves > 0 && answer.u < 0.1);
	machine.fact[0].told = 0.0001;
	machine_ask(&machine, &answer);
	assert_int_equal(answer.n_moves, 0);
	assert_non_null(strstr(answer.rationale, "vetoed"));
	machine.fact[0].goal = 5; /* of another goal: the limit may have moved */
	machine_ask(&machine, &answer);
	assert_true(answer.n_moves > 0);
	machine_close(&machine);
}

static void test_refused_is_not_again(void **state)
{
	struct reason_answer first, answer;
	struct reason_memory memory;
	struct machine machine;
	uint64_t mark;

	(void)state;
	machine_open(&machine, 10);
	machine_usual(&machine);
	strcpy(machine.value[machine_named(&machine, "sysctl:vm.dirty_ratio")], "1");
	machine_ask(&machine, &first);
	assert_int_equal(first.n_moves, 1);
	mark = reason_mark(&machine.lexicon, first.move, first.n_moves);
	memory = machine_memory(&machine);
	memory.refused = &mark;
	memory.n_refused = 1;
	assert_int_equal(reason_choose(&machine.lexicon, &memory, &machine.question, &answer), 0);
	assert_true(answer.n_moves > 0);
	assert_true(reason_mark(&machine.lexicon, answer.move, answer.n_moves) != mark);
	machine_close(&machine);
}

/* Over many machines: of what was said to do harm with a probability, so many did. */
static void test_uncertainty_is_calibrated(void **state)
{
	double said[5] = { 0 }, came[5] = { 0 }, n[5] = { 0 }, brier = 0, base = 0, total = 0,
	       error = 0;
	struct harm_outcome outcome[HARM_OUTCOMES_MAX];
	size_t n_outcomes = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 60; seed++) {
		struct machine machine;
		struct reason_answer answer;

		machine_open(&machine, 9000 + seed);
		machine_usual(&machine);
		for (size_t i = 0; i < machine.n; i++) {
			machine.weight[i] *= 3; /* so that there is harm to be foreseen */
			if (machine_uniform(&machine) < 0.3 && !machine_axis(&machine, i)->words)
				axis_value(machine_axis(&machine, i), machine_uniform(&machine),
					machine.value[i], machine.value[i], AXIS_VALUE_MAX);
		}
		memcpy(machine.outcome, outcome, sizeof(outcome));
		machine.n_outcomes = n_outcomes;
		harm_fit(&machine.harm, outcome, n_outcomes);
		for (size_t trial = 0; trial < 30; trial++) {
			bool harm;
			size_t bin;

			machine_ask(&machine, &answer);
			if (!answer.n_moves)
				break;
			assert_true(answer.u >= 0 && answer.u <= 1);
			machine_try(&machine, &answer);
			harm = fact_harm(&machine.fact[0]);
			bin = answer.u < 0.05	? 0
			      : answer.u < 0.1	? 1
			      : answer.u < 0.2	? 2
			      : answer.u < 0.35 ? 3
						: 4;
			if (seed < 15)
				continue; /* until there is something to be calibrated by */
			said[bin] += answer.u;
			came[bin] += harm;
			n[bin]++;
			brier += pow(harm - answer.u, 2);
			base += harm;
			total++;
		}
		memcpy(outcome, machine.outcome, sizeof(outcome));
		n_outcomes = machine.n_outcomes;
		machine_close(&machine);
	}
	base /= total;
	for (int b = 0; b < 5; b++) {
		if (!n[b])
			continue;
		printf("  said %.3f, came %.3f (%.0f proposals)\n", said[b] / n[b], came[b] / n[b],
			n[b]);
		error += fabs(said[b] - came[b]) / total;
	}
	printf("calibration error %.3f over %.0f proposals; Brier %.4f, of the base rate %.3f "
	       "alone %.4f\n",
		error, total, brier / total, base, base * (1 - base));
	assert_true(total > 300);
	assert_true(error < 0.05);
	assert_true(brier / total < base * (1 - base));
}

static void test_nothing_offered(void **state)
{
	struct reason_answer answer;
	struct machine machine;

	(void)state;
	machine_open(&machine, 11);
	machine_ask(&machine, &answer);
	assert_int_equal(answer.n_moves, 0);
	assert_non_null(strstr(answer.rationale, "No knob is offered"));
	machine_add(&machine, "sysctl:kernel.nosuch", "5");
	machine_add(&machine, "sysctl:vm.swappiness", "many");
	machine_ask(&machine, &answer);
	assert_int_equal(answer.n_moves, 0);
	assert_non_null(strstr(answer.rationale, "None of the 2 knobs"));
	machine_close(&machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_offered),
		cmocka_unit_test(test_conflict_is_respected),
		cmocka_unit_test(test_what_has_no_effect_now_waits),
		cmocka_unit_test(test_depended_on_comes_along),
		cmocka_unit_test(test_default_comes_first),
		cmocka_unit_test(test_another_load_begins_anew),
		cmocka_unit_test(test_not_again),
		cmocka_unit_test(test_refused_is_not_again),
		cmocka_unit_test(test_cut_short_shows_the_way),
		cmocka_unit_test(test_vetoes_show_the_limit),
		cmocka_unit_test(test_noise_teaches_nothing),
		cmocka_unit_test(test_pair_is_found_along_synergy),
		cmocka_unit_test(test_uncertainty_is_calibrated),
		cmocka_unit_test(test_wrong_setting_is_found),
		cmocka_unit_test(test_many_wrong_settings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
