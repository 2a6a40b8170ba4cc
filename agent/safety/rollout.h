/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rollout.h - a proposed value is tried on a growing share of the machine, and kept only if that shows a gain.
 *
 * The share is one of devices or control groups that are alike (ROLLOUT_UNITS), or, for a setting that the whole machine
 * has once, one of time (ROLLOUT_SLICES): slices under the new value lie among slices under the old one, at a place drawn
 * by lot. Of units a pair is two slices: two sides of equal size are drawn by lot, the first is under the new value, then
 * the other, the rest never. So each unit is compared with itself, and with one that is under the other value in the same
 * slice: neither what units differ in nor what the load does from slice to slice passes for the value's doing (a crossover).
 * A pair is the geometric mean over its units, which a load that stretches fast and slow ones alike leaves out altogether;
 * the arithmetic one where a measurement is not above 0.
 * After each change of value a washout is waited out, so that what the old value left behind is not measured as the new
 * one's. The last stage is half of the time, or of the units, and is judged by gain.h, and by what its end was like; after it the value stands for the
 * whole machine, watched for a while, before it is kept, and is not kept when it turns bad then. A breach of what the
 * operator declared ends it at once.
 *
 * This owns the order of things and nothing else: it reads no clock, writes no knob and measures nothing. Its user
 * carries out one order after another and says what came of it. One thread.
 */
#ifndef SEMANTOS_SAFETY_ROLLOUT_H
#define SEMANTOS_SAFETY_ROLLOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/safety/gain.h"

#define ROLLOUT_STAGES 6
#define ROLLOUT_PAIRS 256 /* of one stage, at most */
#define ROLLOUT_UNITS_MAX 32
#define ROLLOUT_RETRIES 8 /* measurements that came too late, in a row, before it is given up */
#define ROLLOUT_HARM 0.25 /* by how much what is too short to be judged may look worse */
#define ROLLOUT_LATE \
	3 /* slices under the new value, at the end of a stage, that show that it turned bad */
#define ROLLOUT_WHY 224

enum rollout_kind { ROLLOUT_SLICES, ROLLOUT_UNITS };

struct rollout_stage {
	double share; /* under the new value, above 0 and up to 1/2; rising from stage to stage; the last is 1/2 */
	uint32_t
		pairs; /* of measurements, old against new; of the last stage GAIN_PAIRS_MIN or more */
};

struct rollout_plan {
	enum rollout_kind kind;
	uint32_t units; /* ROLLOUT_UNITS: how many there are, from 2; otherwise 0 */
	struct rollout_stage stage[ROLLOUT_STAGES];
	uint32_t stages;
	uint64_t washout_ns; /* may be 0 */
	uint64_t measure_ns;
	uint64_t
		confirm_ns; /* how long the whole machine is watched before the value is kept; may be 0 */
	bool lower_is_better;
	uint64_t seed;
};

enum rollout_act {
	ROLLOUT_SET, /* bring the units of order.treated under the new value, all others under the old one */
	ROLLOUT_BEGIN, /* what is measured from here on counts */
	ROLLOUT_END, /* say what was measured since: rollout_measured() */
	ROLLOUT_WAIT, /* nothing before order.at_ns */
	ROLLOUT_KEEP, /* it is over: record the new value, which stands everywhere, as kept */
	ROLLOUT_UNDO, /* it is over: put the old value back everywhere */
};

struct rollout_order {
	enum rollout_act act;
	uint32_t
		treated; /* ROLLOUT_SET: bit u is unit u; with ROLLOUT_SLICES 1 is the machine, 0 is nothing */
	uint64_t at_ns;
	char why[ROLLOUT_WHY]; /* ROLLOUT_KEEP, ROLLOUT_UNDO: one sentence without its full stop */
};

enum rollout_phase {
	ROLLOUT_TO_SET,
	ROLLOUT_WASHOUT,
	ROLLOUT_MEASURE,
	ROLLOUT_ANSWER,
	ROLLOUT_OVER
};

struct rollout {
	struct rollout_plan plan;
	enum rollout_phase phase;
	uint32_t stage; /* plan.stages: the whole machine, watched */
	uint32_t pair, slot; /* of this stage; of this pair */
	uint32_t new_slot, old_slot; /* ROLLOUT_SLICES: drawn for this pair */
	uint32_t side[2]; /* ROLLOUT_UNITS: drawn for this pair, bits as in treated */
	struct gain_pair sum, log_sum; /* ROLLOUT_UNITS: of this pair so far; */
	bool positive; /* all of it was above 0 */
	uint32_t treated; /* units under the new value now, as in the order */
	uint32_t retries;
	uint64_t phase_ns; /* when the phase ends */
	uint64_t random;
	struct gain_pair measured[ROLLOUT_PAIRS]; /* of this stage */
	struct gain gain; /* of the last stage that was judged; NaN before */
	bool kept,
		unsafe; /* unsafe: it did harm, or a declared limit broke while it was in force */
	char why[ROLLOUT_WHY];
};

/* 0, or -EINVAL with what is wrong with the plan in why[size]. */
int rollout_begin(struct rollout *rollout, const struct rollout_plan *plan, char *why, size_t size);

/* The next thing to do at now_ns, a clock that counts suspended time. After KEEP or UNDO the same again and again. */
void rollout_next(struct rollout *rollout, uint64_t now_ns, struct rollout_order *order);

/* Units whose measurements the answer to ROLLOUT_END needs, bits as in the order; with ROLLOUT_SLICES 1. */
uint32_t rollout_needed(const struct rollout *rollout);

/*
 * The answer to ROLLOUT_END: value[u] is the metric of unit u, with ROLLOUT_SLICES value[0] that of the machine. One that is
 * needed and is no number ends it: a silent source is a breach.
 */
void rollout_measured(struct rollout *rollout, const double value[]);

/* How many units are under the new value at a time in this stage. */
uint32_t rollout_units(const struct rollout_plan *plan, uint32_t stage);

/* A declared limit broke: undo, whatever the phase. It is unsafe when anything is or just was under the new value. */
void rollout_breach(struct rollout *rollout, const char *why);

/* Stop for a reason that is not the value's fault: the operator, another's write, a device that went. */
void rollout_stop(struct rollout *rollout, const char *why);

/* How long it takes if nothing ends it, washouts included. */
uint64_t rollout_length_ns(const struct rollout_plan *plan);

#endif
