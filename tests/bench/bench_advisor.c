// SPDX-License-Identifier: Apache-2.0
/*
 * bench_advisor.c - how long the advisor takes for one decision, with every knob that may be changed and 1,000 traces.
 *
 * The traces are of moves drawn by lot, a third of them of two knobs along a synergy, each with 64 metrics; every value
 * stands where its table has it, or at random. The clock runs around reason_choose() alone, first call included.
 */
#include <errno.h>
#include <time.h>
#include "tests/bench/bench.h"
#include "tests/unit/advisor_machine.h"

#define TRACES 1000
#define DECISIONS 60
#define TARGET_MS 10

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* One of its kind for each pattern. */
static void name_of(const char *pattern, char *out)
{
	while (*pattern) {
		if (*pattern == '*') {
			memcpy(out, "vda", 3);
			out += 3;
		} else {
			*out++ = *pattern;
		}
		pattern++;
	}
	*out = '\0';
}

static void all_knobs(struct machine *machine)
{
	char name[LEXICON_NAME_MAX];

	for (size_t k = 0; k < n_knob_descs && machine->n < MACHINE_KNOBS; k++) {
		if (knob_descs[k].read_only || strlen(knob_descs[k].def.pattern) > 200)
			continue;
		name_of(knob_descs[k].def.pattern, name);
		machine_add(machine, name, NULL);
	}
}

static void random_metrics(struct machine *machine, struct fact_metric *metric, uint32_t *n)
{
	for (*n = 0; *n < FACT_METRICS_MAX; ++*n) {
		metric[*n].metric = (uint16_t)*n;
		metric[*n].level = (float)machine_normal(machine) * 0.2f;
	}
}

static void random_move(struct machine *machine, struct fact *fact, uint32_t knob)
{
	const struct axis *axis = &machine->lexicon.knob[knob]->axis;
	struct fact_move *move = &fact->move[fact->n_moves];
	struct axis_level level[AXIS_LEVELS_MAX];
	const char *now = machine->value[machine_index(machine, knob)];
	size_t n = axis_levels(axis, now, 1, level), i;

	if (!n)
		return;
	i = (size_t)(machine_uniform(machine) * (double)n);
	move->knob = knob;
	snprintf(move->from, sizeof(move->from), "%s", now);
	memcpy(move->to, level[i].value, AXIS_VALUE_MAX);
	move->place_from = axis_place(axis, now);
	move->place_to = level[i].place;
	fact->n_moves++;
}

/* share: of the knobs that traces are of. */
static void random_facts(struct machine *machine, double share)
{
	machine->n_facts = 0;
	while (machine->n_facts < TRACES) {
		struct fact *fact = &machine->fact[machine->n_facts];
		size_t i = (size_t)(machine_uniform(machine) * share * (double)machine->n);

		memset(fact, 0, sizeof(*fact));
		fact->id = machine->n_facts + 1;
		random_move(machine, fact, machine->knob[i]);
		for (size_t c = 0; c < machine->lexicon.n_couplings && fact->n_moves == 1; c++) {
			const struct coupling *edge = &machine->lexicon.coupling[c];

			if (edge->link == KNOB_SYNERGIZES_WITH && edge->from == machine->knob[i] &&
				machine_uniform(machine) < 0.5)
				random_move(machine, fact, edge->to);
		}
		if (!fact->n_moves)
			continue;
		fact->measured = true;
		fact->gain = 0.05 * machine_normal(machine);
		fact->error = 0.015;
		fact->unsafe = fact->gain < -0.08;
		fact->verdict = fact->unsafe	    ? FACT_BREACH
				: fact->gain > 0.03 ? FACT_KEPT
						    : FACT_NO_EFFECT;
		random_metrics(machine, fact->metric, &fact->n_metrics);
		machine->n_facts++;
	}
}

static void decide(struct machine *machine, const char *name)
{
	struct reason_memory memory = machine_memory(machine);
	struct reason_answer answer;
	double took[DECISIONS];
	uint32_t n;

	for (size_t d = 0; d < DECISIONS; d++) {
		double begun;

		machine_question(machine);
		random_metrics(machine, machine->question.metric, &n);
		machine->question.n_metrics = n;
		begun = now_ms();
		if (reason_choose(&machine->lexicon, &memory, &machine->question, &answer))
			exit(1);
		took[d] = now_ms() - begun;
	}
	row(name, "ms", took, DECISIONS, TARGET_MS);
	printf("  %zu knobs, %zu traces, %zu couplings; %zu moves weighed\n", machine->n,
		machine->n_facts, machine->lexicon.n_couplings, answer.considered);
}

int main(void)
{
	struct machine machine;
	double begun = now_ms(), names;

	machine_open(&machine, 1);
	all_knobs(&machine);
	names = now_ms() - begun;
	row("advisor, all names looked up, once", "ms", &names, 1, NO_TARGET);
	decide(&machine, "advisor, a decision without traces");
	random_facts(&machine, 1);
	decide(&machine, "advisor, a decision, traces of all knobs");
	random_facts(&machine, 0.1);
	decide(&machine, "advisor, a decision, traces of a tenth of the knobs");
	for (size_t i = 0; i < machine.n; i++) {
		const struct axis *axis = machine_axis(&machine, i);
		struct axis_level level[AXIS_LEVELS_MAX];
		size_t n = axis_levels(axis, machine.value[i], 1, level);

		if (n)
			memcpy(machine.value[i],
				level[(size_t)(machine_uniform(&machine) * (double)n)].value,
				AXIS_VALUE_MAX);
	}
	random_facts(&machine, 1);
	decide(&machine, "advisor, a decision, all knobs off their defaults");
	machine_close(&machine);
	rows_end("advisor");
	return 0;
}
