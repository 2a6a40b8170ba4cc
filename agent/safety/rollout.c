// SPDX-License-Identifier: Apache-2.0
/*
 * rollout.c - stages of pairs of slots; each slot is set, washed out, measured, answered.
 */
#include "agent/safety/rollout.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "agent/infer/random.h"

static uint64_t draw(struct rollout *rollout, uint64_t limit)
{
	struct random_state random = { rollout->random };
	uint64_t value = random_below(&random, limit);

	rollout->random = random.word;
	return value;
}

/* Of a pair: one slot of so many is under the new value, or the two sides of units take turns in two. */
static uint32_t slots_of(const struct rollout_plan *plan, uint32_t stage)
{
	if (stage == plan->stages)
		return 1;
	return plan->kind == ROLLOUT_UNITS ? 2 : (uint32_t)lround(1 / plan->stage[stage].share);
}

uint32_t rollout_units(const struct rollout_plan *plan, uint32_t stage)
{
	uint32_t units;

	if (plan->kind == ROLLOUT_SLICES)
		return 1;
	if (stage == plan->stages)
		return plan->units;
	units = (uint32_t)lround(plan->stage[stage].share * plan->units);
	/* the other side is as large */
	units = units > plan->units / 2 ? plan->units / 2 : units;
	return units ? units : 1;
}

static uint32_t all_units(const struct rollout_plan *plan)
{
	return plan->kind == ROLLOUT_SLICES ? 1 : UINT32_MAX >> (ROLLOUT_UNITS_MAX - plan->units);
}

static void over(struct rollout *rollout, bool kept, bool unsafe, const char *why)
{
	if (rollout->phase == ROLLOUT_OVER)
		return;
	rollout->phase = ROLLOUT_OVER;
	rollout->kept = kept;
	rollout->unsafe = unsafe;
	snprintf(rollout->why, sizeof(rollout->why), "%s", why);
}

/* Two sides of equal size, every one as likely as any other. */
static void draw_sides(struct rollout *rollout)
{
	uint32_t n = rollout_units(&rollout->plan, rollout->stage);
	uint32_t left = all_units(&rollout->plan), units = rollout->plan.units;

	for (uint32_t i = 0; i < 2 * n; i++, units--) {
		uint32_t skip = (uint32_t)draw(rollout, units), rest = left;

		while (skip--)
			rest &= rest - 1;
		rollout->side[i / n] |= rest & -rest;
		left &= ~(rest & -rest);
	}
}

static void begin_pair(struct rollout *rollout)
{
	uint32_t slots = slots_of(&rollout->plan, rollout->stage);

	rollout->phase = ROLLOUT_TO_SET;
	rollout->slot = 0;
	rollout->side[0] = rollout->side[1] = 0;
	rollout->sum = rollout->log_sum = (struct gain_pair){ 0, 0 };
	rollout->positive = true;
	if (rollout->plan.kind == ROLLOUT_UNITS) {
		if (rollout->stage < rollout->plan.stages)
			draw_sides(rollout);
		return;
	}
	rollout->new_slot = (uint32_t)draw(rollout, slots);
	/* the slot it is compared with is drawn too, so that both had the same chance of every place */
	rollout->old_slot = slots == 1 ? 1 : (uint32_t)draw(rollout, slots - 1);
	rollout->old_slot += rollout->old_slot >= rollout->new_slot && slots > 1;
}

static void begin_stage(struct rollout *rollout, uint32_t stage)
{
	rollout->stage = stage;
	rollout->pair = 0;
	rollout->retries = 0;
	begin_pair(rollout);
}

static const char *wrong_with(const struct rollout_plan *plan)
{
	if (plan->kind == ROLLOUT_UNITS && (plan->units < 2 || plan->units > ROLLOUT_UNITS_MAX))
		return "a share of units needs 2 to 32 of them; try slices of time";
	if (plan->stages == 0 || plan->stages > ROLLOUT_STAGES)
		return "it has no stage, or too many";
	if (plan->measure_ns == 0)
		return "nothing would be measured";
	for (uint32_t s = 0; s < plan->stages; s++) {
		const struct rollout_stage *stage = &plan->stage[s];

		if (!(stage->share >= 0.01) || stage->share > 0.5)
			return "a stage's share is not between 1 % and 50 %";
		if (s > 0 && stage->share <= plan->stage[s - 1].share)
			return "the shares do not rise";
		if (stage->pairs == 0 || stage->pairs > ROLLOUT_PAIRS)
			return "a stage has no pairs, or too many";
	}
	if (plan->stage[plan->stages - 1].share != 0.5)
		return "the last stage is not one half, so it decides badly";
	if (plan->stage[plan->stages - 1].pairs < GAIN_PAIRS_MIN)
		return "the last stage has too few pairs to be judged";
	return NULL;
}

int rollout_begin(struct rollout *rollout, const struct rollout_plan *plan, char *why, size_t size)
{
	const char *wrong = wrong_with(plan);

	memset(rollout, 0, sizeof(*rollout));
	if (wrong) {
		snprintf(why, size, "the rollout's plan was refused: %s", wrong);
		over(rollout, false, false, why);
		return -EINVAL;
	}
	rollout->plan = *plan;
	rollout->random = plan->seed;
	rollout->gain.change = NAN;
	begin_stage(rollout, 0);
	return 0;
}

static uint32_t to_treat(const struct rollout *rollout)
{
	const struct rollout_plan *plan = &rollout->plan;

	if (rollout->stage == plan->stages)
		return all_units(plan);
	if (plan->kind == ROLLOUT_UNITS)
		return rollout->side[rollout->slot];
	return rollout->slot == rollout->new_slot;
}

static uint64_t measure_ns(const struct rollout *rollout)
{
	return rollout->stage == rollout->plan.stages ? rollout->plan.confirm_ns
						      : rollout->plan.measure_ns;
}

/* What was measured belongs to another time than was meant: the machine slept, or its user did. Measure this pair anew. */
static void late(struct rollout *rollout)
{
	if (++rollout->retries > ROLLOUT_RETRIES)
		over(rollout, false, false, "measurements came too late again and again");
	else
		begin_pair(rollout);
}

void rollout_next(struct rollout *rollout, uint64_t now_ns, struct rollout_order *order)
{
	uint32_t before = rollout->treated;

	*order = (struct rollout_order){ .act = ROLLOUT_WAIT, .at_ns = rollout->phase_ns };
	switch (rollout->phase) {
	case ROLLOUT_TO_SET:
		order->act = ROLLOUT_SET;
		order->treated = rollout->treated = to_treat(rollout);
		rollout->phase = ROLLOUT_WASHOUT;
		/* the same value as before: nothing has to be washed out */
		rollout->phase_ns = now_ns + (before == rollout->treated && rollout->slot
							     ? 0
							     : rollout->plan.washout_ns);
		break;
	case ROLLOUT_WASHOUT:
		if (now_ns < rollout->phase_ns)
			break;
		order->act = ROLLOUT_BEGIN;
		rollout->phase = ROLLOUT_MEASURE;
		rollout->phase_ns = now_ns + measure_ns(rollout);
		break;
	case ROLLOUT_MEASURE:
		if (now_ns < rollout->phase_ns)
			break;
		if (now_ns - rollout->phase_ns >
			measure_ns(rollout) / 2 + rollout->plan.measure_ns) {
			late(rollout);
			rollout_next(rollout, now_ns, order);
			break;
		}
		rollout->phase = ROLLOUT_ANSWER;
		order->act = ROLLOUT_END;
		break;
	case ROLLOUT_ANSWER:
		order->act = ROLLOUT_END;
		break;
	default: /* ROLLOUT_OVER */
		order->act = rollout->kept ? ROLLOUT_KEEP : ROLLOUT_UNDO;
		snprintf(order->why, sizeof(order->why), "%s", rollout->why);
		break;
	}
}

/* A stage too short for a judgement: is the mean worse by more than can be borne? */
static double harm_of(const struct rollout *rollout, uint32_t pairs)
{
	double before = 0, after = 0;

	for (uint32_t i = 0; i < pairs; i++) {
		before += rollout->measured[i].before;
		after += rollout->measured[i].after;
	}
	if (!(before > 0))
		return 0;
	return rollout->plan.lower_is_better ? after / before - 1 : 1 - after / before;
}

/*
 * It looked good and then hurt: by how much the last slices under the new value are worse than the old value was, if each of
 * them is worse than every one under the old value; else 0. Over the whole stage good and bad may even out. Of slices that are
 * alike the last three of eight pairs are the worst so once in 165, and by more than can be borne less often.
 */
static double turned(const struct rollout *rollout, uint32_t pairs)
{
	double sign = rollout->plan.lower_is_better ? 1 : -1, before = 0, after = 0;

	for (uint32_t i = 0; i < pairs; i++) {
		for (uint32_t late = pairs - ROLLOUT_LATE; late < pairs; late++) {
			if (sign * rollout->measured[late].after <=
				sign * rollout->measured[i].before)
				return 0;
		}
		before += rollout->measured[i].before / pairs;
	}
	for (uint32_t late = pairs - ROLLOUT_LATE; late < pairs; late++)
		after += rollout->measured[late].after / ROLLOUT_LATE;
	return sign * (after / before - 1);
}

static void judge_stage(struct rollout *rollout)
{
	const struct rollout_plan *plan = &rollout->plan;
	uint32_t pairs = plan->stage[rollout->stage].pairs;
	bool last = rollout->stage == plan->stages - 1;
	double harm = harm_of(rollout, pairs);
	char text[ROLLOUT_WHY];

	if (pairs >= GAIN_PAIRS_MIN) {
		int err = gain_judge(rollout->measured, pairs, plan->lower_is_better,
			plan->seed + rollout->stage, &rollout->gain);

		gain_sentence(&rollout->gain, "the metric", pairs, text, sizeof(text));
		harm = err ? 0 : turned(rollout, pairs);
		if (!rollout->gain.worse && harm > ROLLOUT_HARM) {
			snprintf(text, sizeof(text),
				"the metric turned worse by %.0f %% in the course of it, and "
				"stayed so",
				100 * harm);
			over(rollout, false, true, text);
			return;
		}
		if (rollout->gain.worse || (last && (err || !rollout->gain.better))) {
			over(rollout, false, rollout->gain.worse, text);
			return;
		}
	} else if (harm > ROLLOUT_HARM) {
		if (plan->kind == ROLLOUT_UNITS)
			snprintf(text, sizeof(text),
				"the metric was worse by %.0f %% on %u of %u members", 100 * harm,
				rollout_units(plan, rollout->stage), plan->units);
		else
			snprintf(text, sizeof(text),
				"the metric was worse by %.0f %% on %.0f %% of the time",
				100 * harm, 100 * plan->stage[rollout->stage].share);
		over(rollout, false, true, text);
		return;
	}
	begin_stage(rollout, rollout->stage + 1);
}

/*
 * It stands for the whole machine: has it turned bad? One slice has no error of its own, so it is harm only when it is worse
 * than the old value was by more than can be borne, and worse than everything that was measured in the last stage.
 */
static double turned_bad(const struct rollout *rollout, double now)
{
	const struct rollout_plan *plan = &rollout->plan;
	double sign = plan->lower_is_better ? 1 : -1;

	for (uint32_t i = 0; i < plan->stage[plan->stages - 1].pairs; i++) {
		const struct gain_pair *pair = &rollout->measured[i];

		if (sign * now <= fmax(sign * pair->before, sign * pair->after))
			return 0;
	}
	return sign * (now / rollout->gain.before - 1);
}

static void confirmed(struct rollout *rollout, double now)
{
	double harm = turned_bad(rollout, now);
	char text[ROLLOUT_WHY];

	if (harm > ROLLOUT_HARM) {
		snprintf(text, sizeof(text),
			"the metric got better at first, and was worse by %.0f %% when it stood",
			100 * harm);
		over(rollout, false, true, text);
		return;
	}
	gain_sentence(&rollout->gain, "the metric",
		rollout->plan.stage[rollout->plan.stages - 1].pairs, text, sizeof(text));
	over(rollout, true, false, text);
}

uint32_t rollout_needed(const struct rollout *rollout)
{
	if (rollout->plan.kind == ROLLOUT_SLICES || rollout->stage == rollout->plan.stages)
		return all_units(&rollout->plan);
	return rollout->side[0] | rollout->side[1];
}

/* Each unit of the pair counts once under either value. */
static void take_units(struct rollout *rollout, const double value[])
{
	struct gain_pair *pair = &rollout->measured[rollout->pair];
	struct gain_pair *sum = &rollout->sum, *log_sum = &rollout->log_sum;
	uint32_t needed = rollout_needed(rollout);
	double share = 0.5 / rollout_units(&rollout->plan, rollout->stage);

	for (uint32_t u = 0; u < rollout->plan.units; u++) {
		bool treated = rollout->treated >> u & 1;

		if (!(needed >> u & 1))
			continue;
		rollout->positive &= value[u] > 0;
		*(treated ? &sum->after : &sum->before) += share * value[u];
		*(treated ? &log_sum->after : &log_sum->before) +=
			share * log(fmax(value[u], DBL_MIN));
	}
	*pair = rollout->positive ? (struct gain_pair){ exp(log_sum->before), exp(log_sum->after) }
				  : *sum;
}

/* Of all units, as take_units() has it of a pair's. */
static double mean_of(const struct rollout *rollout, const double value[])
{
	uint32_t n = rollout->plan.kind == ROLLOUT_SLICES ? 1 : rollout->plan.units;
	double sum = 0, log_sum = 0;
	bool positive = true;

	for (uint32_t u = 0; u < n; u++) {
		positive &= value[u] > 0;
		sum += value[u] / n;
		log_sum += log(fmax(value[u], DBL_MIN)) / n;
	}
	return positive && n > 1 ? exp(log_sum) : sum;
}

void rollout_measured(struct rollout *rollout, const double value[])
{
	struct gain_pair *pair = &rollout->measured[rollout->pair];
	uint32_t needed = rollout_needed(rollout);
	bool silent = false;

	if (rollout->phase != ROLLOUT_ANSWER)
		return;
	for (uint32_t u = 0; u < ROLLOUT_UNITS_MAX; u++)
		silent |= (needed >> u & 1) && !isfinite(value[u]);
	if (silent) {
		over(rollout, false, rollout->treated != 0, "the metric fell silent");
		return;
	}
	rollout->retries = 0;
	if (rollout->stage == rollout->plan.stages) {
		confirmed(rollout, mean_of(rollout, value));
		return;
	}
	if (rollout->plan.kind == ROLLOUT_UNITS)
		take_units(rollout, value);
	else if (rollout->slot == rollout->new_slot)
		pair->after = value[0];
	else if (rollout->slot == rollout->old_slot)
		pair->before = value[0];
	if (++rollout->slot < slots_of(&rollout->plan, rollout->stage))
		rollout->phase = ROLLOUT_TO_SET;
	else if (++rollout->pair < rollout->plan.stage[rollout->stage].pairs)
		begin_pair(rollout);
	else
		judge_stage(rollout);
}

void rollout_breach(struct rollout *rollout, const char *why)
{
	/* what the new value did lasts into the washout after it */
	over(rollout, false,
		rollout->treated != 0 || (rollout->phase == ROLLOUT_WASHOUT &&
						 rollout->slot + rollout->pair + rollout->stage),
		why);
}

void rollout_stop(struct rollout *rollout, const char *why)
{
	over(rollout, false, false, why);
}

uint64_t rollout_length_ns(const struct rollout_plan *plan)
{
	uint64_t slots = 0;

	for (uint32_t s = 0; s < plan->stages; s++)
		slots += (uint64_t)plan->stage[s].pairs * slots_of(plan, s);
	return slots * (plan->washout_ns + plan->measure_ns) + plan->washout_ns + plan->confirm_ns;
}
