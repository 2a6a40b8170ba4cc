/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trial.h - one proposal tried on a recording: the loop's own rollout and judge, the machine's answers resampled.
 *
 * The noise is the recording's own series of slices, entered at a place drawn by lot for each trial and followed from there,
 * so that drift and neighbours' likeness stay as they were.
 */
#ifndef SEMANTOS_BENCH_TUNE_TRIAL_H
#define SEMANTOS_BENCH_TUNE_TRIAL_H

#include "agent/advisor/reason/fact.h"
#include "agent/infer/random.h"
#include "agent/safety/rollout.h"
#include "tests/bench/tune/surface.h"

#define TRIAL_PAIRS 12 /* the loop's own default */
#define TRIAL_HARM 0.01 /* a configuration that is so much worse does harm */

struct machine {
	const struct surface *s;
	struct random_state random;
	size_t at; /* in the series of noise */
};

struct trial {
	size_t from, to;
	double truth; /* logarithm of how many times as good it is, by the recording */
	enum fact_verdict verdict;
	bool kept;
	bool measured; /* to the end: gain is defined */
	double gain, error, low,
		high; /* logarithms; gain also when it ended early, of the pairs until then */
	double before, after; /* the metric's means, of what was measured; 0 = none */
	size_t slices, harmed; /* harmed: slices under a configuration that does harm */
};

static inline double machine_measure(struct machine *m, size_t config)
{
	const struct surface *s = m->s;
	double sign = s->plan.lower_is_better ? -1 : 1;

	m->at = (m->at + 1) % s->n_noise;
	return s->level * exp(sign * s->truth[config] + s->noise[m->at]);
}

static inline void trial_slice(
	struct machine *m, struct trial *trial, struct rollout *rollout, bool treated)
{
	double value = machine_measure(m, treated ? trial->to : trial->from);

	trial->slices++;
	trial->harmed += treated && trial->truth < -TRIAL_HARM;
	rollout_measured(rollout, &value);
}

static inline void trial_conclude(
	const struct machine *m, const struct rollout *rollout, struct trial *trial)
{
	const struct gain *gain = &rollout->gain;
	bool lower = m->s->plan.lower_is_better;
	double before = 0, after = 0;

	trial->kept = rollout->kept;
	trial->verdict = rollout->kept ? FACT_KEPT : rollout->unsafe ? FACT_WORSE : FACT_NO_EFFECT;
	trial->measured = !isnan(gain->change) && fact_gain(gain->change, gain->low, gain->high,
							  lower, &trial->gain, &trial->error);
	for (uint32_t p = 0; p < 2; p++) {
		trial->before += rollout->measured[p].before / 2;
		trial->after += rollout->measured[p].after / 2;
	}
	if (trial->measured) {
		trial->before = gain->before;
		trial->after = gain->after;
		trial->low = lower ? -log1p(gain->high) : log1p(gain->low);
		trial->high = lower ? -log1p(gain->low) : log1p(gain->high);
		return;
	}
	trial->low = trial->high = NAN;
	for (uint32_t p = 0; p < 2; p++) {
		before += log(rollout->measured[p].before);
		after += log(rollout->measured[p].after);
	}
	trial->gain = (lower ? before - after : after - before) / 2;
	trial->error = fmax(FACT_ERROR_MIN, m->s->error / sqrt(2));
}

/* As the loop does it: canary, ramp, full, judged, undone or kept. */
static inline void trial_judged(struct machine *m, struct trial *trial)
{
	struct rollout_plan plan = { .kind = ROLLOUT_SLICES,
		.stage = { { 0.2, 2 }, { 1.0 / 3, 2 }, { 0.5, TRIAL_PAIRS } },
		.stages = 3,
		.measure_ns = 1000000,
		.confirm_ns = 1000000,
		.lower_is_better = m->s->plan.lower_is_better,
		.seed = random_u64(&m->random) };
	struct rollout_order order = { .act = ROLLOUT_WAIT };
	struct rollout rollout;
	uint64_t now = 0;
	char why[ROLLOUT_WHY];

	if (rollout_begin(&rollout, &plan, why, sizeof(why)))
		abort();
	while (order.act != ROLLOUT_KEEP && order.act != ROLLOUT_UNDO) {
		rollout_next(&rollout, now, &order);
		if (order.act == ROLLOUT_WAIT)
			now = order.at_ns;
		else if (order.act == ROLLOUT_END)
			trial_slice(m, trial, &rollout, rollout.treated);
	}
	trial_conclude(m, &rollout, trial);
}

/* Without safety: as many pairs at once, no early end, and the better mean is kept whatever its error. */
static inline void trial_naive(struct machine *m, struct trial *trial)
{
	double sum = 0, squares = 0;

	for (size_t p = 0; p < TRIAL_PAIRS; p++) {
		double ratio = log(machine_measure(m, trial->to) / machine_measure(m, trial->from));

		ratio = m->s->plan.lower_is_better ? -ratio : ratio;
		sum += ratio;
		squares += ratio * ratio;
	}
	trial->slices = 2 * TRIAL_PAIRS;
	trial->harmed = trial->truth < -TRIAL_HARM ? TRIAL_PAIRS : 0;
	trial->measured = true;
	trial->gain = sum / TRIAL_PAIRS;
	trial->error = fmax(
		FACT_ERROR_MIN, sqrt(fmax(0, squares / TRIAL_PAIRS - trial->gain * trial->gain) /
					(TRIAL_PAIRS - 1)));
	trial->low = trial->gain - 1.96 * trial->error;
	trial->high = trial->gain + 1.96 * trial->error;
	trial->kept = trial->gain > 0;
	trial->verdict = trial->kept ? FACT_KEPT : trial->high < 0 ? FACT_WORSE : FACT_NO_EFFECT;
}

static inline void trial_run(
	struct machine *m, size_t from, size_t to, bool naive, struct trial *out)
{
	*out = (struct trial){ .from = from, .to = to };
	out->truth = m->s->truth[to] - m->s->truth[from];
	m->at = random_below(&m->random, m->s->n_noise);
	if (naive)
		trial_naive(m, out);
	else
		trial_judged(m, out);
}

#endif
