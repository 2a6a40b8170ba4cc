/* SPDX-License-Identifier: Apache-2.0 */
/*
 * learn_latency.h - a net that foresees how long a read will take, not only whether it will be slow.
 *
 * Internal to learn.c. It foresees the mean (least squares), because that is what choosing the leg with the least of it
 * brings down; the longest thousandth of the latencies counts as its least one, or a single hiccup would be the lesson.
 */
#ifndef SEMANTOS_CORE_LEARN_LATENCY_H
#define SEMANTOS_CORE_LEARN_LATENCY_H

#include "agent/core/learn_rows.h"

/*
 * train_mlp() on the first n rows; the score is then the latency in units of model->slow_threshold_us, which is set. The
 * decision threshold is where options->slow_weight balances the two kinds of error. Errors as there.
 */
int latency_train(struct model *model, const float *features, const struct rows *rows, size_t n,
	const struct train_options *options, struct train_report *report);

/* Mean difference between foreseen and real latencies, in us; above 0. */
float latency_error(
	const struct model *model, const float *scores, const float *latency_us, size_t n);

#endif
