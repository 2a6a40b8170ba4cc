/* SPDX-License-Identifier: Apache-2.0 */
/*
 * advisor_machine.h - a made-up machine: real knobs of the tables, a hidden answer of one objective to them, and noise.
 *
 * Each knob that matters has a best place and loses with the distance from it; some pairs help only together. A trial
 * returns what a staged rollout would: the change with its interval, kept if it is a gain beyond its error. A breach ends a
 * trial that is worse by more than `breach` before it is measured. Same seed, same machine, same noise.
 */
#ifndef SEMANTOS_TESTS_ADVISOR_MACHINE_H
#define SEMANTOS_TESTS_ADVISOR_MACHINE_H

#include <stdio.h>
#include <stdlib.h>
#include "agent/advisor/reason/reason.h"

#define MACHINE_KNOBS 400
#define MACHINE_FACTS 1200

struct machine_pair {
	uint32_t a, b; /* index of knobs of the machine */
	double step_a, step_b; /* places from which on it counts as raised */
	double together, alone; /* gain of both raised; loss of one */
};

struct machine {
	struct lexicon lexicon;
	size_t n;
	uint32_t knob[MACHINE_KNOBS]; /* by the lexicon */
	char value[MACHINE_KNOBS][AXIS_VALUE_MAX];
	double weight[MACHINE_KNOBS],
		best[MACHINE_KNOBS]; /* log gain from the far end to the best place */
	size_t n_pairs;
	struct machine_pair pair[8];
	double noise, breach;
	uint64_t state;
	struct fact *fact; /* newest first */
	size_t n_facts;
	struct harm_outcome outcome[HARM_OUTCOMES_MAX];
	size_t n_outcomes;
	struct harm harm;
	struct reason_question question;
	struct response_without without;
	size_t trials, harmed;
};

static inline double machine_uniform(struct machine *machine)
{
	uint64_t z = (machine->state += 0x9e3779b97f4a7c15u); /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return (double)((z ^ (z >> 31)) >> 11) / 9007199254740992.0;
}

static inline double machine_normal(struct machine *machine)
{
	double u = machine_uniform(machine), v = machine_uniform(machine);

	return sqrt(-2 * log(u + 1e-300)) * cos(2 * M_PI * v);
}

static inline const struct axis *machine_axis(const struct machine *machine, size_t i)
{
	return &machine->lexicon.knob[machine->knob[i]]->axis;
}

/* What this knob costs where it stands. */
static inline double machine_loss(const struct machine *machine, size_t i)
{
	double place = axis_place(machine_axis(machine, i), machine->value[i]);

	if (machine->weight[i] == 0)
		return 0;
	if (machine_axis(machine, i)->words)
		return machine->weight[i] * (place != machine->best[i]);
	/* steep at first, flat near the best */
	return machine->weight[i] * (1 - exp(-pow((place - machine->best[i]) / 0.25, 2) / 2));
}

/* Logarithm of the objective, higher is better. */
static inline double machine_level(const struct machine *machine)
{
	double level = 0;

	for (size_t i = 0; i < machine->n; i++)
		level -= machine_loss(machine, i);
	for (size_t p = 0; p < machine->n_pairs; p++) {
		const struct machine_pair *pair = &machine->pair[p];
		bool a = axis_place(machine_axis(machine, pair->a), machine->value[pair->a]) >=
			 pair->step_a;
		bool b = axis_place(machine_axis(machine, pair->b), machine->value[pair->b]) >=
			 pair->step_b;

		level += a && b ? pair->together : a || b ? -pair->alone : 0;
	}
	return level;
}

static inline size_t machine_add(struct machine *machine, const char *name, const char *value)
{
	int knob = lexicon_knob(&machine->lexicon, name);

	if (knob < 0 || machine->n == MACHINE_KNOBS)
		abort();
	machine->knob[machine->n] = (uint32_t)knob;
	snprintf(machine->value[machine->n], AXIS_VALUE_MAX, "%s",
		value ? value : machine->lexicon.knob[knob]->axis.standard_text);
	return machine->n++;
}

static inline size_t machine_index(const struct machine *machine, uint32_t knob)
{
	for (size_t i = 0; i < machine->n; i++) {
		if (machine->knob[i] == knob)
			return i;
	}
	abort();
}

static inline size_t machine_named(const struct machine *machine, const char *name)
{
	for (size_t i = 0; i < machine->n; i++) {
		if (strcmp(machine->lexicon.knob[machine->knob[i]]->name, name) == 0)
			return i;
	}
	abort();
}

static inline void machine_open(struct machine *machine, uint64_t seed)
{
	memset(machine, 0, sizeof(*machine));
	machine->state = seed * 7919 + 1;
	machine->noise = 0.015;
	machine->breach = 0.25;
	machine->fact = calloc(MACHINE_FACTS, sizeof(*machine->fact));
	if (!machine->fact || lexicon_init(&machine->lexicon, "6.12.1"))
		abort();
	harm_fit(&machine->harm, NULL, 0);
}

static inline void machine_close(struct machine *machine)
{
	lexicon_free(&machine->lexicon);
	free(machine->fact);
}

static inline void machine_question(struct machine *machine)
{
	struct reason_question *question = &machine->question;

	question->trials_left = 1000;
	question->n_knobs = machine->n;
	for (size_t i = 0; i < machine->n; i++) {
		question->knob[i].knob = machine->knob[i];
		memcpy(question->knob[i].value, machine->value[i], AXIS_VALUE_MAX);
	}
}

static inline struct reason_memory machine_memory(const struct machine *machine)
{
	return (struct reason_memory){ .fact = machine->fact,
		.n_facts = machine->n_facts,
		.harm = &machine->harm,
		.now_s = 1000000 + machine->trials * 60,
		.without = machine->without };
}

static inline void machine_ask(struct machine *machine, struct reason_answer *answer)
{
	struct reason_memory memory = machine_memory(machine);

	machine_question(machine);
	if (reason_choose(&machine->lexicon, &memory, &machine->question, answer))
		abort();
}

/* Carry it out as a rollout would. true: it was kept. */
static inline bool machine_try(struct machine *machine, const struct reason_answer *answer)
{
	struct reason_memory memory = machine_memory(machine);
	double before = machine_level(machine), gain, seen;
	char was[FACT_MOVES_MAX][AXIS_VALUE_MAX];
	struct fact fact = { .id = ++machine->trials, .error = machine->noise, .raw = answer->raw };
	bool kept;

	for (size_t m = 0; m < answer->n_moves; m++) {
		size_t i = machine_index(machine, answer->move[m].knob);

		memcpy(was[m], machine->value[i], AXIS_VALUE_MAX);
		memcpy(machine->value[i], answer->move[m].to, AXIS_VALUE_MAX);
	}
	gain = machine_level(machine) - before;
	seen = gain + machine->noise * machine_normal(machine);
	kept = seen > 1.96 * machine->noise;
	fact.n_moves = answer->n_moves;
	memcpy(fact.move, answer->move, sizeof(fact.move));
	fact.measured = gain > -machine->breach;
	fact.gain = seen;
	fact.told = answer->u;
	fact.unsafe = !fact.measured || seen < -1.96 * machine->noise;
	fact.verdict = !fact.measured		       ? FACT_BREACH
		       : kept			       ? FACT_KEPT
		       : seen < -1.96 * machine->noise ? FACT_WORSE
						       : FACT_NO_EFFECT;
	for (size_t m = 0; !kept && m < answer->n_moves; m++)
		memcpy(machine->value[machine_index(machine, answer->move[m].knob)], was[m],
			AXIS_VALUE_MAX);
	machine_question(machine);
	reason_learn(&machine->lexicon, &memory, &machine->question, &fact);
	if (machine->n_facts < MACHINE_FACTS)
		machine->n_facts++;
	memmove(machine->fact + 1, machine->fact, (machine->n_facts - 1) * sizeof(fact));
	machine->fact[0] = fact;
	machine->harmed += fact_harm(&fact);
	if (machine->n_outcomes < HARM_OUTCOMES_MAX)
		machine->n_outcomes++;
	memmove(machine->outcome + 1, machine->outcome,
		(machine->n_outcomes - 1) * sizeof(machine->outcome[0]));
	machine->outcome[0] = (struct harm_outcome){ answer->raw, fact_harm(&fact) };
	harm_fit(&machine->harm, machine->outcome, machine->n_outcomes);
	return kept;
}

/* Any level of any knob, as blind search would have it. */
static inline void machine_random(struct machine *machine, struct reason_answer *answer)
{
	struct axis_level level[AXIS_LEVELS_MAX];

	memset(answer, 0, sizeof(*answer));
	while (!answer->n_moves) {
		size_t i = (size_t)(machine_uniform(machine) * (double)machine->n);
		const struct axis *axis = machine_axis(machine, i);
		size_t n = axis_levels(axis, machine->value[i], 1, level);
		struct fact_move *move = &answer->move[0];

		if (!n)
			continue;
		n = (size_t)(machine_uniform(machine) * (double)n);
		move->knob = machine->knob[i];
		memcpy(move->from, machine->value[i], AXIS_VALUE_MAX);
		memcpy(move->to, level[n].value, AXIS_VALUE_MAX);
		move->place_from = axis_place(axis, move->from);
		move->place_to = level[n].place;
		answer->n_moves = 1;
	}
}

/* Twenty that a host's tuning would offer; all at their defaults. */
static const char *const machine_twenty[] = { "sysctl:vm.swappiness", "sysctl:vm.dirty_ratio",
	"sysctl:vm.dirty_background_ratio", "sysctl:vm.dirty_expire_centisecs",
	"sysctl:vm.dirty_writeback_centisecs", "sysctl:vm.vfs_cache_pressure",
	"sysctl:vm.page-cluster", "sysctl:vm.watermark_scale_factor",
	"sysfs:block/vda/queue/read_ahead_kb", "sysfs:block/vda/queue/nr_requests",
	"sysfs:block/vda/queue/max_sectors_kb", "sysfs:block/vda/queue/nomerges",
	"sysfs:block/vda/queue/rq_affinity", "sysfs:block/vda/queue/wbt_lat_usec",
	"sysctl:net.core.somaxconn", "sysctl:net.core.rmem_max", "sysctl:net.core.busy_read",
	"sysctl:net.core.netdev_budget", "sysctl:net.ipv4.tcp_congestion_control",
	"sysctl:net.ipv4.tcp_notsent_lowat" };
#define MACHINE_TWENTY (sizeof(machine_twenty) / sizeof(machine_twenty[0]))

/* Every third knob matters by 0.5 to 4 %, with its best place anywhere within a third of the line from the default. */
static inline void machine_usual(struct machine *machine)
{
	for (size_t i = 0; i < MACHINE_TWENTY; i++) {
		size_t at = machine_add(machine, machine_twenty[i], NULL);
		const struct axis *axis = machine_axis(machine, at);
		bool matters = machine_uniform(machine) < 0.33;
		double off = (machine_uniform(machine) - 0.5) / 1.5,
		       weight = 0.005 + 0.035 * machine_uniform(machine);

		machine->best[at] =
			axis->words ? axis->standard : fmin(1, fmax(0, axis->standard + off));
		machine->weight[at] = matters ? weight : 0;
	}
}

#endif
