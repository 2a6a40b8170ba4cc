// SPDX-License-Identifier: Apache-2.0
/*
 * harm.c - outcomes sorted by what was said, neighbours pooled until the share of harm never falls.
 */
#include "agent/advisor/reason/harm.h"

#include <math.h>
#include <stdlib.h>

struct step {
	double raw, harm, weight; /* sums, by weight */
};

static int by_raw(const void *a, const void *b)
{
	double x = ((const struct step *)a)->raw, y = ((const struct step *)b)->raw;

	return (x > y) - (x < y);
}

void harm_fit(struct harm *harm, const struct harm_outcome *outcome, size_t n)
{
	struct step step[HARM_OUTCOMES_MAX + HARM_PRIOR];
	size_t used = 0, top = 0;

	for (size_t i = 0; i < n && used < HARM_OUTCOMES_MAX; i++) {
		if (outcome[i].raw >= 0 && outcome[i].raw <= 1)
			step[used++] = (struct step){ outcome[i].raw, outcome[i].harm, 1 };
	}
	harm->outcomes = used;
	for (size_t i = 0; i < HARM_PRIOR; i++) {
		double raw = ((double)i + 0.5) / HARM_PRIOR;

		step[used++] = (struct step){ raw, HARM_PRIOR_SLOPE * raw * HARM_PRIOR_WEIGHT,
			HARM_PRIOR_WEIGHT };
	}
	qsort(step, used, sizeof(*step), by_raw);
	for (size_t i = 0; i < used; i++) {
		struct step next = step[i];

		next.raw *= next.weight;
		while (top > 0 &&
			step[top - 1].harm * next.weight >= next.harm * step[top - 1].weight) {
			top--;
			next.raw += step[top].raw;
			next.harm += step[top].harm;
			next.weight += step[top].weight;
		}
		step[top++] = next;
	}
	harm->n = top;
	for (size_t i = 0; i < top; i++) {
		harm->raw[i] = step[i].raw / step[i].weight;
		harm->share[i] = step[i].harm / step[i].weight;
	}
}

double harm_at(const struct harm *harm, double raw)
{
	double part;
	size_t i = 0;

	if (!harm->n || isnan(raw))
		return 1;
	while (i < harm->n && harm->raw[i] < raw)
		i++;
	if (i == 0) /* towards 0 at 0 by half: nothing is safe */
		return harm->share[0] * (0.5 + 0.5 * (harm->raw[0] > 0 ? raw / harm->raw[0] : 1));
	if (i == harm->n)
		return harm->share[harm->n - 1];
	part = (raw - harm->raw[i - 1]) / (harm->raw[i] - harm->raw[i - 1]);
	return harm->share[i - 1] + part * (harm->share[i] - harm->share[i - 1]);
}
