/* SPDX-License-Identifier: Apache-2.0 */
/*
 * choice.h - would choosing by what is foreseen have been better than choosing the leg with the fewest requests?
 *
 * Asked of one device's reads, without a second leg: two reads of about the same size, at different times, stand for
 * one read and two legs in the states that those two found. Whichever is chosen, what it takes is known.
 */
#ifndef SEMANTOS_INFER_CHOICE_H
#define SEMANTOS_INFER_CHOICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The rule, of bpf/lib/volume.h too. A leg is left only for one that is foreseen to take less by more than this share, or,
 * where classes are foreseen, a slow one for a fast one; and only for one that has at most so many requests more in flight:
 * a model has learned under the default, which never showed it a deeper one.
 */
#define CHOICE_MARGIN_PERMILLE 200
#define CHOICE_DEEPER 1

struct choice_row {
	float score; /* log2 of the foreseen latency in us; of a class: choice_of_class() */
	float latency_us; /* what it was */
	uint32_t inflight; /* at issue, itself included */
	uint32_t sectors;
	bool unknown; /* nothing was foreseen, score means nothing: it is not left, and nothing is left for it */
};

/* A class as a score: the two lie farther apart than the margin, and equal ones not at all. */
static inline float choice_of_class(bool slow)
{
	return slow ? 1 : 0;
}

struct choice_result {
	double gain, low, high; /* share of the default's mean latency; low, high: 95 % */
	double moved; /* share of the choices */
	bool signal; /* low > CHOICE_LEAST */
};

#define CHOICE_LEAST .02 /* asking costs about that in the lab: docs/performance-replica.md */

/*
 * rows: [n] in time order. Interval by moving blocks of `block` rows, shortened to a quarter of them, a pair counting as
 * often as both its rows are drawn; `resamples` >= 40.
 * 0; -EINVAL (too few rows or draws, a known score that is no number, no latency at all), -ENOMEM. out is filled in any case.
 */
int choice_test(const struct choice_row *rows, size_t n, size_t block, uint32_t resamples,
	uint64_t seed, struct choice_result *out);

#endif
