/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kin.h - what a window of system calls is nearest to among labelled references, and how sure that makes us.
 *
 * Two classes: references with label 0 are benign, all others are not. The score is log(sum of 1 / (d^2 + KIN_NEAR) over the
 * KIN_K nearest that are not benign, over the same of the nearest benign ones). One class: only benign references are
 * asked, and the score is the distance to the KIN_K_ONE-th nearest. Distances are exact (knn.h).
 *
 * A new set judges itself: each reference is scored without all that were recorded with it, and from these scores come the
 * threshold (of benign ones at most `false_share` lie above it, and never below 0, where both classes are as near), the
 * reach (what lies further from the others than any of them does is like none of them), the calibration (a logistic fit)
 * and whether there is signal at all. Without signal nothing is flagged. A set is immutable; several threads may judge, each with its scratch.
 */
#ifndef SEMANTOS_INFER_KIN_H
#define SEMANTOS_INFER_KIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/infer/calls.h"
#include "agent/infer/knn.h"

#define KIN_MAX_REFERENCES 4096
#define KIN_K 4
#define KIN_K_ONE 10
#define KIN_NEAR 0.01
#define KIN_REACH \
	0.6 /* at least: recordings of one program on one day lie closer than they will later */
#define KIN_MARGIN 0.05 /* signal: the AUC's 95 % interval begins above 0.5 + this */
#define KIN_LEAST 20 /* references of a class before anything can be said */
#define KIN_LEAST_RECORDINGS 2 /* of a class: what is alone has nothing to be scored by */

struct kin_reference {
	uint16_t count[SEMANTOS_CALLS];
	uint32_t label; /* 0 = benign */
	uint32_t recording; /* equal for what was recorded together, or is nearly the same */
};

/* How well the references tell each other apart; NaN = cannot be said. */
struct kin_report {
	size_t benign, other; /* references */
	size_t benign_recordings, other_recordings;
	double auc, auc_low, auc_high; /* 95 % */
	double recall, false_positives; /* at the threshold */
	double threshold; /* of the score */
	bool signal;
	char why[160]; /* half a sentence when there is none */
};

struct kin;
struct kin_scratch;

struct kin_near {
	uint32_t index, label; /* of the reference, as given to kin_new() */
	double distance;
};

struct kin_answer {
	double score;
	double probability; /* that it is not benign, at the odds of the references; NaN with one class or without a fit */
	bool flagged; /* above the threshold and within reach, with signal */
	uint32_t
		label; /* flagged: commonest of the nearest that are not benign; one class and else: 0 */
	size_t n_near;
	struct kin_near near[KIN_K]; /* nearest of all, nearest first */
};

/* one_class: only benign ones are asked. false_share: 0 to 0.5. Copies. NULL with errno EINVAL or ENOMEM. */
struct kin *kin_new(
	const struct kin_reference *references, size_t n, bool one_class, double false_share);
void kin_free(struct kin *kin); /* accepts NULL */
const struct kin_report *kin_report(const struct kin *kin);

struct kin_scratch *kin_scratch_new(const struct kin *kin); /* NULL with errno ENOMEM */
void kin_scratch_free(struct kin_scratch *scratch); /* accepts NULL */

/* count: [SEMANTOS_CALLS]. 0 or -EINVAL. No allocation. */
int kin_judge(const struct kin *kin, struct kin_scratch *scratch, const uint16_t *count,
	struct kin_answer *answer);

#endif
