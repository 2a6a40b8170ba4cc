/* SPDX-License-Identifier: Apache-2.0 */
/*
 * learn_latency.h - a net that foresees how long a read will take, not only whether it will be slow.
 *
 * Internal to learn.c. It foresees the mean, because that is what choosing the leg with the least of it brings down, and by
 * its logarithm, because what tells one leg from another is how many times as long it takes, for short reads and long ones.
 */
#ifndef SEMANTOS_CORE_LEARN_LATENCY_H
#define SEMANTOS_CORE_LEARN_LATENCY_H

#include "agent/core/learn_rows.h"

/*
 * train_mlp() on the first n rows; the score is then the base-2 logarithm of the latency in us. The decision threshold, on
 * the same scale, is where options->slow_weight balances the two kinds of error. Errors as there.
 */
int latency_train(struct model *model, const float *features, const struct rows *rows, size_t n,
	const struct train_options *options, struct train_report *report);

/* Mean difference between foreseen and real latencies, in us; above 0. */
float latency_error(const float *scores, const float *latency_us, size_t n);

#endif
