// SPDX-License-Identifier: Apache-2.0
/*
 * score.c - ROC-AUC, confusion counts and the block-bootstrap test for a signal.
 *
 * Pure functions on arrays the caller owns; the bootstrap sorts once and then only counts. Any thread.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/random.h"
#include "agent/infer/score.h"

struct ranked {
	float score;
	uint32_t row;
};

static int by_score(const void *a, const void *b)
{
	float x = ((const struct ranked *)a)->score, y = ((const struct ranked *)b)->score;

	return x < y ? -1 : x > y;
}

/* Rows by ascending score; NULL when out of memory or a score is NaN (errno EINVAL). */
static struct ranked *rank(const float *scores, size_t n)
{
	struct ranked *order;

	for (size_t i = 0; i < n; i++)
		if (isnan(scores[i])) {
			errno = EINVAL;
			return NULL;
		}
	order = malloc((n ? n : 1) * sizeof(*order));
	if (!order)
		return NULL;
	for (size_t i = 0; i < n; i++)
		order[i] = (struct ranked){ scores[i], (uint32_t)i };
	qsort(order, n, sizeof(*order), by_score);
	return order;
}

/* AUC of the rows, each counted `weight` times (NULL: once). A group of equal scores counts half against itself. */
static double auc_of(
	const struct ranked *order, const uint8_t *labels, const uint16_t *weight, size_t n)
{
	double above = 0, n_slow = 0, n_fast = 0;

	for (size_t i = 0; i < n;) {
		float score = order[i].score;
		uint64_t slow = 0, fast = 0;

		for (; i < n && order[i].score == score; i++) {
			uint32_t row = order[i].row, times = weight ? weight[row] : 1;

			slow += labels[row] ? times : 0;
			fast += labels[row] ? 0 : times;
		}
		above += (double)slow * (n_fast + (double)fast / 2);
		n_slow += (double)slow;
		n_fast += (double)fast;
	}
	return n_slow > 0 && n_fast > 0 ? above / (n_slow * n_fast) : NAN;
}

double score_auc(const float *scores, const uint8_t *labels, size_t n)
{
	struct ranked *order = n <= UINT32_MAX ? rank(scores, n) : NULL;
	double auc;

	if (!order)
		return NAN;
	auc = auc_of(order, labels, NULL, n);
	free(order);
	return auc;
}

struct score_confusion score_confuse(
	const float *scores, const uint8_t *labels, size_t n, float threshold)
{
	struct score_confusion c = { 0 };

	for (size_t i = 0; i < n; i++) {
		if (scores[i] >= threshold)
			*(labels[i] ? &c.tp : &c.fp) += 1;
		else
			*(labels[i] ? &c.fn : &c.tn) += 1;
	}
	return c;
}

static double share(size_t part, size_t whole)
{
	return whole ? (double)part / (double)whole : NAN;
}

double score_recall(struct score_confusion c)
{
	return share(c.tp, c.tp + c.fn);
}

double score_precision(struct score_confusion c)
{
	return share(c.tp, c.tp + c.fp);
}

double score_accuracy(struct score_confusion c)
{
	return share(c.tp + c.tn, c.tp + c.fp + c.tn + c.fn);
}

double score_majority_accuracy(const uint8_t *labels, size_t n)
{
	size_t slow = 0;

	for (size_t i = 0; i < n; i++)
		slow += labels[i] != 0;
	return share(slow > n - slow ? slow : n - slow, n);
}

/* ---- bootstrap ------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* The two-sided 95 % interval of what the draws gave. */
static void interval(double *draws, size_t n, double *low, double *high)
{
	size_t cut = (size_t)(0.025 * (double)n);

	qsort(draws, n, sizeof(*draws), by_value);
	*low = draws[cut];
	*high = draws[n - 1 - cut];
}

/* How often each row is drawn: whole blocks from anywhere, the last one cut so that n rows are drawn. */
static void draw_blocks(uint16_t *weight, size_t n, size_t block, struct random_state *random)
{
	memset(weight, 0, n * sizeof(*weight));
	for (size_t drawn = 0; drawn < n; drawn += block) {
		size_t start = random_below(random, n - block + 1);
		size_t length = n - drawn < block ? n - drawn : block;

		for (size_t i = 0; i < length; i++)
			weight[start + i] += weight[start + i] < UINT16_MAX;
	}
}

#define MIN_RESAMPLES 40 /* below that a 2.5 % quantile is no more than the extreme */

int score_signal_test(const float *scores, const float *baseline, const uint8_t *labels, size_t n,
	size_t block, uint32_t resamples, double margin, uint64_t seed, struct score_signal *out)
{
	struct random_state random = random_seed(seed);
	struct ranked *order = NULL, *baseline_order = NULL;
	double *auc = NULL, *gain = NULL;
	uint16_t *weight = NULL;
	size_t kept = 0;
	int err = -EINVAL;

	*out = (struct score_signal){ NAN, NAN, NAN, NAN, NAN, NAN, false };
	if (n < 4 || n > UINT32_MAX || block == 0 || resamples < MIN_RESAMPLES || !baseline)
		return -EINVAL;
	/* Longer blocks would make every draw the same and the interval a point. */
	if (block > n / 4)
		block = n / 4;
	errno = ENOMEM;
	order = rank(scores, n);
	baseline_order = order ? rank(baseline, n) : NULL;
	err = -errno;
	if (!order || !baseline_order)
		goto out;
	err = -ENOMEM;
	auc = malloc(resamples * sizeof(*auc));
	gain = malloc(resamples * sizeof(*gain));
	weight = malloc(n * sizeof(*weight));
	if (!auc || !gain || !weight)
		goto out;
	err = 0;
	out->auc = auc_of(order, labels, NULL, n);
	out->baseline_auc = auc_of(baseline_order, labels, NULL, n);
	for (uint32_t i = 0; i < resamples; i++) {
		draw_blocks(weight, n, block, &random);
		auc[kept] = auc_of(order, labels, weight, n);
		if (isnan(auc[kept])) /* no slow row drawn: says nothing */
			continue;
		gain[kept] = auc[kept] - auc_of(baseline_order, labels, weight, n);
		kept++;
	}
	if (kept < resamples / 2 || kept < MIN_RESAMPLES / 2)
		goto out; /* slow reads are so rare that no interval can be given */
	interval(auc, kept, &out->auc_low, &out->auc_high);
	interval(gain, kept, &out->gain_low, &out->gain_high);
	out->signal = out->auc_low > 0.5 + margin && out->gain_low > 0;
out:
	free(order);
	free(baseline_order);
	free(auc);
	free(gain);
	free(weight);
	return err;
}
