/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drift.h - has the mean of a stream changed? ADWIN (Bifet and Gavalda, SDM 2007), values between 0 and 1.
 *
 * A window of the stream is kept as buckets of doubling size; it is cut wherever its older and its newer part differ by more
 * than chance allows at confidence delta, and then the older part is dropped. Memory is fixed: DRIFT_LEVELS rows of
 * DRIFT_BUCKETS. One thread.
 */
#ifndef SEMANTOS_SAFETY_DRIFT_H
#define SEMANTOS_SAFETY_DRIFT_H

#include <stdbool.h>
#include <stdint.h>

#define DRIFT_DELTA 0.002
#define DRIFT_BUCKETS 6 /* of one size, at most; two are merged when a seventh comes */
#define DRIFT_LEVELS 12 /* sizes 1, 2, 4, ... 2,048: the last 16,000 values at least */
#define DRIFT_MIN_PART 5 /* values either part of a cut needs */

struct drift_bucket {
	double sum, squares; /* squares: of the deviations from the bucket's mean */
};

struct drift {
	struct drift_bucket bucket[DRIFT_LEVELS][DRIFT_BUCKETS + 1]; /* oldest of its size first */
	uint8_t used[DRIFT_LEVELS];
	double delta;
	uint64_t drifts;
};

void drift_reset(struct drift *drift, double delta); /* delta outside (0, 1) becomes DRIFT_DELTA */

/* One value, cut to [0, 1]; one that is no number is left out. True: the mean changed and the window was cut. */
bool drift_add(struct drift *drift, double value);

uint64_t drift_width(const struct drift *drift); /* values in the window */
double drift_mean(const struct drift *drift); /* NaN while it is empty */

#endif
