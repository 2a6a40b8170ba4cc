/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gain.h - is a measurement better under the new setting than under the old one? Decided with its error.
 *
 * What is judged are pairs: one slice of time under the old value and one under the new, their order drawn by lot, or the
 * control and the treated share of the same slice. Where all is above 0, a pair counts by the logarithm of its ratio: what
 * differs by factors scatters by factors, and one large slice is not to count for all. Two tests must agree. The interval is that of a circular block
 * bootstrap, studentised (Politis and Romano 1992; Götze and Künsch 1996): neighbouring pairs may resemble each other. The
 * second flips the signs of what the pairs show: where the order was drawn by lot, it is exact whatever the load did.
 * Pure functions; the same seed gives the same answer.
 */
#ifndef SEMANTOS_SAFETY_GAIN_H
#define SEMANTOS_SAFETY_GAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GAIN_PAIRS_MIN 8 /* with fewer no set of signs is rarer than GAIN_ERROR */
#define GAIN_PAIRS_MAX 1024
#define GAIN_CHANGE_MAX 1e6 /* of one pair, as a share of the mean before */
#define GAIN_ERROR 0.025 /* one-sided: how often nothing may pass for a gain */

struct gain_pair {
	double before, after; /* of the metric, in its own unit */
};

/*
 * change and its interval of 95 %: of a pair's after / before - 1, by the geometric mean; where something is not above 0, of
 * the arithmetic means. Not better where these say the opposite.
 */
struct gain {
	double before, after; /* arithmetic means over all pairs */
	double change, low, high;
	double chance; /* how often signs drawn by lot do as well, in the better direction */
	bool better, worse; /* beyond the error; neither: no effect could be shown */
};

/*
 * lower_is_better: latency, not throughput. 0, or -EINVAL: fewer pairs than GAIN_PAIRS_MIN, more than GAIN_PAIRS_MAX, a
 * value that is no number, a mean before that is not above 0, or a change beyond GAIN_CHANGE_MAX. Then *out has no verdict (both false, NaN).
 */
int gain_judge(const struct gain_pair *pair, size_t pairs, bool lower_is_better, uint64_t seed,
	struct gain *out);

/* "p99 fell by 12.3 % (9.8 to 14.9) over 24 pairs": one sentence without its full stop. */
void gain_sentence(
	const struct gain *gain, const char *metric, size_t pairs, char *out, size_t size);

#endif
