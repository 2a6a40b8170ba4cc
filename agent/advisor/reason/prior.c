// SPDX-License-Identifier: Apache-2.0
/*
 * prior.c - what is held of a knob before it was tried: from the tables, from its neighbours, from what the machine does.
 */
#include <errno.h>
#include <stdlib.h>
#include "agent/advisor/reason/internal.h"

#define SCALE 0.04 /* of the logarithm: most settings move an objective by less */
#define LEAN 0.04 /* gain from far off to the default */
#define NEAR 0.2 /* of the line: at such a distance from the default half of that is lost */
#define SUSPECT 2.0 /* how much wider for a value at the far end */
#define CLEAR 0.05 /* a gain or loss so far beyond its error is an effect for sure */
#define RATE 0.2 /* share of knobs that matter, before any was tried */
#define RATE_TRIALS 5 /* tried knobs that this is worth */
#define VAIN \
	0.5 /* each trial without an effect makes that of its knob's other values so much less likely */
#define VAIN_CLEAR 0.5 /* unless another had one */
#define IDLE 0.3 /* what is left while the machine does nothing of the kind */

/* What tells that a subsystem has anything to do: any of these metrics above `least`. */
static const struct {
	const char *subsystem, *metric[2], *unit;
	double least;
} work[] = {
	{ "block", { "page_in", "page_out" }, "bytes", 65536 },
	{ "io scheduler", { "page_in", "page_out" }, "bytes", 65536 },
	{ "zswap", { "swap_in", "swap_out" }, "", 1 },
	{ "tcp", { "tcp_segments_out", NULL }, "", 5 },
	{ "network", { "tcp_segments_out", NULL }, "", 5 },
	{ "interface", { "tcp_segments_out", NULL }, "", 5 },
	{ "scheduler", { "context_switches", NULL }, "", 50 },
};

/* The level of a metric now; false: it is not known. */
static bool level_of(const struct response *r, const char *name, float *level)
{
	for (size_t i = 0; i < r->now->n_metrics; i++) {
		if (strcmp(r->lexicon->metric[r->now->metric[i].metric], name) == 0) {
			*level = r->now->metric[i].level;
			return true;
		}
	}
	return false;
}

/* By number of `work`: is it known to stand idle? */
static void idle_now(const struct response *r, bool idle[])
{
	for (size_t w = 0; w < sizeof(work) / sizeof(work[0]); w++) {
		bool known = false, busy = false;
		float level;

		for (size_t m = 0; m < 2 && work[w].metric[m]; m++) {
			if (!level_of(r, work[w].metric[m], &level))
				continue;
			known = true;
			busy |= level > fact_level(work[w].least, work[w].unit);
		}
		idle[w] = known && !busy;
	}
}

/* 0 .. 1: how clearly a trial showed that what it moved matters. */
static double clearness(const struct fact *fact)
{
	if (!fact->measured)
		return fact_cut_short(fact) ? 1 : 0;
	return fmin(1, fmax(0, (fabs(fact->gain) - 2 * fact->error) / CLEAR));
}

static double widen(double *factor, double by)
{
	if (by > *factor)
		*factor = by;
	return *factor;
}

struct tally {
	double hits, tried;
};

/* How often knobs of its subsystem mattered, beside what was expected. */
static double kinship(
	const struct lexicon *lexicon, const double *clear, const bool *tried, uint32_t knob)
{
	const char *subsystem = lexicon->knob[knob]->axis.desc->subsystem;
	struct tally tally = { 0 };

	for (size_t k = 0; k < lexicon->n_knobs; k++) {
		const struct knob_desc *desc = lexicon->knob[k]->axis.desc;

		/* the tables' own strings, one for each file's default: the address mostly tells */
		if (!tried[k] || !desc ||
			(desc->subsystem != subsystem && strcmp(desc->subsystem, subsystem) != 0))
			continue;
		tally.tried++;
		tally.hits += clear[k];
	}
	return fmin(3,
		fmax(0.4, (RATE * RATE_TRIALS + tally.hits) / (RATE_TRIALS + tally.tried) / RATE));
}

static double suspicion(const struct response *r, uint32_t knob)
{
	const struct axis *axis = &r->lexicon->knob[knob]->axis;
	double here = r->now->place[knob], off;

	if (isnan(here) || isnan(axis->standard))
		return 1;
	off = axis->words ? (here != axis->standard) * 0.5 : fabs(here - axis->standard);
	return 1 + SUSPECT * off * (axis->standard_varies ? 0.5 : 1);
}

int prior_scales(struct response *r, const struct fact *fact, size_t n_facts)
{
	const struct lexicon *lexicon = r->lexicon;
	double *clear = calloc(r->n_knobs + 1, sizeof(*clear));
	double *near = calloc(r->n_knobs + 1, sizeof(*near));
	double *vain = calloc(r->n_knobs + 1, sizeof(*vain));
	bool *tried = calloc(r->n_knobs + 1, sizeof(*tried));
	bool idle[sizeof(work) / sizeof(work[0])];
	int ret = clear && near && vain && tried ? 0 : -ENOMEM;

	for (size_t f = 0; !ret && !r->without.traces && f < n_facts; f++) {
		double like = fact_tried(&fact[f]) ? r->like[f] : 0;

		for (size_t m = 0; like > 0 && m < fact[f].n_moves; m++) {
			uint32_t knob = fact[f].move[m].knob;

			tried[knob] |= fact[f].measured;
			widen(&clear[knob], like * clearness(&fact[f]));
			if (fact[f].measured && fact[f].n_moves == 1)
				vain[knob] += like * (1 - clearness(&fact[f]));
		}
	}
	for (size_t c = 0; !ret && !r->without.edges && c < lexicon->n_couplings; c++) {
		const struct coupling *edge = &lexicon->coupling[c];
		double weight = coupling_weight(edge, r->now_s);

		if (edge->link == KNOB_CONFLICTS_WITH)
			continue;
		widen(&near[edge->from], weight * clear[edge->to]);
		widen(&near[edge->to], weight * clear[edge->from]);
	}
	if (!ret)
		idle_now(r, idle);
	for (uint32_t k = 0; !ret && k < r->n_knobs; k++) {
		const struct axis *axis = &lexicon->knob[k]->axis;

		r->scale[k] = SCALE;
		if (!axis->desc)
			continue;
		r->scale[k] *= sqrt(1 + 2 * near[k]);
		/* what moved nothing at one value or two will hardly do so at the next: of words above all, which lie nowhere */
		if (clear[k] < VAIN_CLEAR)
			r->scale[k] /= 1 + VAIN * vain[k];
		if (r->without.tables || isnan(r->now->place[k]))
			continue; /* what is not offered takes no more of this */
		r->scale[k] *= suspicion(r, k) * sqrt(kinship(lexicon, clear, tried, k));
		for (size_t w = 0; w < sizeof(work) / sizeof(work[0]); w++) {
			if (idle[w] && strcmp(work[w].subsystem, axis->desc->subsystem) == 0)
				r->scale[k] *= IDLE;
		}
	}
	free(clear);
	free(near);
	free(vain);
	free(tried);
	return ret;
}

double prior_lean(const struct response *r, uint32_t knob, double place)
{
	const struct axis *axis = &r->lexicon->knob[knob]->axis;
	double off;

	if (r->without.tables || isnan(axis->standard) || isnan(place))
		return 0;
	off = axis->words ? (place != axis->standard) * NEAR : place - axis->standard;
	return -LEAN * off * off / (off * off + NEAR * NEAR) * (axis->standard_varies ? 0.5 : 1);
}
