// SPDX-License-Identifier: Apache-2.0
/*
 * load.c - which trials were under another load than the one that runs now, told by the objective itself.
 *
 * Telemetry may look the same under two loads that read a disk as fast as they can; how good the objective is does not. Trials lie in
 * periods: one begins where a trial finds the objective further from all that was seen in the period before than settings and
 * noise make it. What is now belongs to the newest period that saw the like, or to none.
 */
#include "agent/advisor/reason/response.h"

#include <stdlib.h>

#define APART 0.7 /* of the logarithm: twice as good, or half as good, as anything seen */
#define PERIODS 32

struct period {
	double low, high;
};

static bool is_in(const struct period *period, double level)
{
	return level >= period->low - APART && level <= period->high + APART;
}

static int find(const struct period *period, int n, double level)
{
	for (int i = n; i-- > 0;) {
		if (is_in(&period[i], level))
			return i;
	}
	return -1;
}

static void widen(struct period *period, double level)
{
	period->low = fmin(period->low, level);
	period->high = fmax(period->high, level);
}

size_t load_mark_other(const struct fact *fact, size_t n_facts, double level, bool *other)
{
	struct period period[PERIODS];
	int n = 0, at = -1, now;
	size_t marked = 0;
	signed char *of = malloc(n_facts + 1);

	memset(other, 0, n_facts * sizeof(*other));
	for (size_t f = n_facts; of && f-- > 0;) {
		double before = fact[f].leveled ? fact[f].level_before : NAN;
		double after = fact[f].leveled ? fact[f].level_after : NAN;

		if (isfinite(before) && (at < 0 || !is_in(&period[at], before))) {
			at = find(period, n, before);
			if (at < 0) {
				at = n < PERIODS ? n++ : PERIODS - 1;
				period[at] = (struct period){ before, before };
			}
		}
		if (at >= 0 && isfinite(before))
			widen(&period[at], before);
		if (at >= 0 && isfinite(after))
			widen(&period[at], after);
		of[f] = (signed char)at;
	}
	now = of && n > 0 && isfinite(level) ? find(period, n, level) : at;
	for (size_t f = 0; of && f < n_facts; f++) {
		/* of what was tried before anything was known of the objective nothing is said */
		other[f] = of[f] >= 0 && of[f] != now;
		marked += other[f];
	}
	free(of);
	return marked;
}
