/* SPDX-License-Identifier: Apache-2.0 */
/*
 * score.h - how good a ranking or a set of verdicts was, with its uncertainty.
 */
#ifndef SEMANTOS_INFER_SCORE_H
#define SEMANTOS_INFER_SCORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Area under the ROC curve by ranks, ties at half; NaN when only one class is present or a score is NaN. [n] each. */
double score_auc(const float *scores, const uint8_t *labels, size_t n);

struct score_confusion {
	size_t tp, fp, tn, fn; /* positive = slow */
};

struct score_confusion score_confuse(
	const float *scores, const uint8_t *labels, size_t n, float threshold);
double score_recall(
	struct score_confusion c); /* tp / (tp + fn), NaN when undefined; likewise below */
double score_precision(struct score_confusion c);
double score_accuracy(struct score_confusion c);
double score_majority_accuracy(
	const uint8_t *labels, size_t n); /* always answering the commoner class */

/*
 * Does `scores` rank better than chance and better than `baseline`? Moving-block bootstrap (rows are a time
 * series): `resamples` (>= 40) draws of blocks of `block` rows, shortened to a quarter of the rows. Intervals are
 * two-sided 95 %; all NaN, and no signal, when half of the draws held one class only. 0, -EINVAL (a NaN score, too few
 * rows or draws), -ENOMEM. out is filled in any case.
 */
struct score_signal {
	double auc, auc_low, auc_high;
	double baseline_auc;
	double gain_low, gain_high; /* of auc - baseline_auc */
	bool signal; /* auc_low > 0.5 + margin and gain_low > 0 */
};

int score_signal_test(const float *scores, const float *baseline, const uint8_t *labels, size_t n,
	size_t block, uint32_t resamples, double margin, uint64_t seed, struct score_signal *out);

#endif
