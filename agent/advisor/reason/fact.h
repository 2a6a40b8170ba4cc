/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fact.h - what one trial showed, as the model takes it: knobs that were moved, what stood beside them, and what came of it.
 *
 * Plain data, numbers of knobs and metrics by a lexicon. The knowledge base makes them, the model reads them.
 */
#ifndef SEMANTOS_ADVISOR_FACT_H
#define SEMANTOS_ADVISOR_FACT_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "agent/advisor/reason/axis.h"

#define FACT_MOVES_MAX 8
#define FACT_BESIDE_MAX 16 /* knobs coupled with those moved */
#define FACT_BESIDE_VALUE_MAX 32
#define FACT_METRICS_MAX 64

#define FACT_GAIN_MAX 3.0 /* of the logarithm: twenty times as good, or as bad */
#define FACT_ERROR_MIN 0.003 /* no measurement of a machine is surer */
#define FACT_HARM 0.01 /* worse by so much is harm */

enum fact_verdict {
	FACT_KEPT,
	FACT_NO_EFFECT,
	FACT_WORSE,
	FACT_BREACH,
	FACT_STOPPED,
	FACT_VETOED,
	FACT_REJECTED,
	FACT_VERDICTS
};

struct fact_move {
	uint32_t knob;
	char from[AXIS_VALUE_MAX], to[AXIS_VALUE_MAX];
	double place_from, place_to; /* by the knob's axis */
};

struct fact_beside {
	uint32_t knob;
	char value[FACT_BESIDE_VALUE_MAX];
};

/* level: fact_level() of the metric's value. */
struct fact_metric {
	uint16_t metric;
	float level;
};

struct fact {
	uint64_t id; /* of the trace */
	uint64_t goal, unix_s;
	uint32_t n_moves, n_beside, n_metrics;
	struct fact_move move[FACT_MOVES_MAX];
	struct fact_beside beside[FACT_BESIDE_MAX];
	struct fact_metric metric[FACT_METRICS_MAX]; /* by metric, ascending */
	enum fact_verdict verdict;
	bool unsafe;
	bool measured; /* gain and error are defined */
	double gain; /* logarithm of how many times as good; above 0 is better, whichever way the objective goes */
	double error; /* its standard error */
	double raw; /* what the model held its harm for before calibration; NaN = not known */
	double told; /* the uncertainty that was told */
	bool leveled; /* what follows is set */
	double level_before,
		level_after; /* logarithm of the objective under the old values and the new; NaN = not known */
};

/* Of a relative change and its interval of 95 %: gain and error; false when they are none. */
static inline bool fact_gain(
	double change, double low, double high, bool lower_is_better, double *gain, double *error)
{
	double g = log1p(fmax(change, -0.95)), width;

	if (!isfinite(change) || !isfinite(low) || !isfinite(high) || low > high)
		return false;
	width = log1p(fmax(high, -0.95)) - log1p(fmax(low, -0.95));
	g = fmin(FACT_GAIN_MAX, fmax(-FACT_GAIN_MAX, g));
	*gain = lower_is_better ? -g : g;
	*error = fmax(FACT_ERROR_MIN, width / (2 * 1.96));
	return true;
}

static inline void fact_set_levels(struct fact *fact, double before, double after)
{
	fact->leveled = true;
	fact->level_before = before > 0 && isfinite(before) ? log(before) : NAN;
	fact->level_after = after > 0 && isfinite(after) ? log(after) : NAN;
}

/* The change that a gain stands for. */
static inline double fact_change(double gain, bool lower_is_better)
{
	return expm1(lower_is_better ? -gain : gain);
}

/* A metric on a scale on which a difference of 1 is one of 2.7 times; what is nothing is the same nothing everywhere. */
static inline float fact_level(double value, const char *unit)
{
	double nothing = strcmp(unit, "seconds") == 0 ? 1e-5
			 : strcmp(unit, "bytes") == 0 ? 1e5
			 : strcmp(unit, "ratio") == 0 ? 0.02
						      : 1;

	return (float)log(nothing + fabs(value));
}

static inline bool fact_harm(const struct fact *fact)
{
	return fact->unsafe || fact->verdict == FACT_WORSE || fact->verdict == FACT_BREACH;
}

/* Ended by harm before there were pairs enough to measure how much. */
static inline bool fact_cut_short(const struct fact *fact)
{
	return !fact->measured && (fact->verdict == FACT_BREACH || fact->verdict == FACT_WORSE);
}

/* Was it tried at all? What was vetoed or rejected tells nothing of the machine. */
static inline bool fact_tried(const struct fact *fact)
{
	return fact->verdict <= FACT_BREACH;
}

#endif
