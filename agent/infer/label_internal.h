/* SPDX-License-Identifier: Apache-2.0 */
/*
 * label_internal.h - what the labelers share: sorted copies, percentiles, and the bend of a distribution. label*.c alone.
 */
#ifndef SEMANTOS_INFER_LABEL_INTERNAL_H
#define SEMANTOS_INFER_LABEL_INTERNAL_H

#include "agent/infer/label.h"

/* Sorted copy of value[n], freed by the caller; NULL with *err: -ENOMEM, or -EINVAL as labeler.label() has it. */
float *label_sorted(const float *value, size_t n, int *err);

/* Of sorted values, with linear interpolation between ranks. */
double label_percentile(const float *sorted, size_t n, double share);

/* LinnOS's inflection point of sorted values; may lie at or below the least of them. */
double label_inflection_us(const float *sorted, size_t n);

int label_periods(const float *latency_us, const float *sectors, size_t n, uint8_t *labels,
	struct label_result *result);

#endif
