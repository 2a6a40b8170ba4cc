/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quantile.h - percentiles of the last N values of a stream, in fixed memory.
 *
 * A ring of bucket numbers and a histogram whose buckets are 1/32 of an octave wide: an answer lies within 3.2 % of
 * the true value. Values are whatever unit the caller counts in. One thread.
 */
#ifndef SEMANTOS_CORE_QUANTILE_H
#define SEMANTOS_CORE_QUANTILE_H

#include <stdint.h>

struct quantile;

struct quantile *quantile_new(uint32_t window); /* 1..2^20 values; NULL with errno */
void quantile_free(struct quantile *quantile); /* accepts NULL */
void quantile_add(struct quantile *quantile, uint32_t value); /* O(1), no allocation */
uint32_t quantile_count(const struct quantile *quantile); /* values in the window */

/* The value below which `share` (0..1) of the window lies; NaN when the window is empty. */
double quantile_at(const struct quantile *quantile, double share);

#endif
