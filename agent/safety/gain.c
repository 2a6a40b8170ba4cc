// SPDX-License-Identifier: Apache-2.0
/*
 * gain.c - a studentised circular block bootstrap and a sign-flip test over the pairs' ratios, or their differences.
 */
#include "agent/safety/gain.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/random.h"

#define RESAMPLES 1999 /* quantiles of 2.5 % and 97.5 % fall on whole numbers of them */
/*
 * Of the sample's own error: less than this is no error of a resample, but a few blocks that happen to be alike, as they often are
 * where a metric takes few values. Taken at its word it would make the interval as wide as the world.
 */
#define ERROR_LEAST 0.125
#define EXACT_PAIRS 12 /* all 2^n sets of signs up to here, RESAMPLES drawn ones beyond */

struct moments {
	double mean, error; /* error: standard error of the mean, from the means of blocks */
};

/* n^(1/3) is the rate at which the error of the bootstrap's variance is least (Hall, Horowitz and Jing 1995). */
static size_t block_length(size_t n)
{
	return (size_t)lround(cbrt((double)n));
}

/* The error of the sample itself: that of the mean of circular blocks which begin anywhere. */
static struct moments of_sample(const double *value, size_t n, size_t length)
{
	struct moments m = { 0, 0 };

	for (size_t i = 0; i < n; i++)
		m.mean += value[i] / (double)n;
	for (size_t begin = 0; begin < n; begin++) {
		double sum = 0;

		for (size_t i = 0; i < length; i++)
			sum += value[(begin + i) % n] - m.mean;
		m.error += sum * sum / (double)(n * length);
	}
	m.error = sqrt(m.error / (double)n);
	return m;
}

/* One resample of whole blocks; its error is that of the blocks drawn. */
static struct moments of_resample(
	const double *value, size_t n, size_t length, struct random_state *random)
{
	size_t blocks = n / length;
	double sum = 0, squares = 0;

	for (size_t b = 0; b < blocks; b++) {
		size_t begin = (size_t)random_below(random, n);
		double mean = 0;

		for (size_t i = 0; i < length; i++)
			mean += value[(begin + i) % n] / (double)length;
		sum += mean;
		squares += mean * mean;
	}
	sum /= (double)blocks;
	squares = squares / (double)blocks - sum * sum;
	return (struct moments){ sum, sqrt(fmax(squares, 0) / (double)blocks) };
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void interval(
	const double *value, size_t n, struct random_state *random, double *low, double *high)
{
	size_t length = block_length(n), cut = (size_t)((RESAMPLES + 1) * GAIN_ERROR) - 1;
	struct moments sample = of_sample(value, n, length);
	double t[RESAMPLES];

	for (size_t r = 0; r < RESAMPLES; r++) {
		struct moments drawn = of_resample(value, n, length, random);
		double error = fmax(drawn.error, ERROR_LEAST * sample.error);

		/* without any error all values are one */
		t[r] = error > 0 ? (drawn.mean - sample.mean) / error : 0;
	}
	qsort(t, RESAMPLES, sizeof(*t), ascending);
	*low = sample.mean - t[RESAMPLES - 1 - cut] * sample.error;
	*high = sample.mean - t[cut] * sample.error;
}

/* Share of sign patterns whose sum is at least as low as the one seen, which is one of them. */
static double sign_flip(const double *value, size_t n, struct random_state *random)
{
	uint64_t patterns = n <= EXACT_PAIRS ? 1ULL << n : RESAMPLES, as_low = 0;
	double seen = 0, slack;

	for (size_t i = 0; i < n; i++)
		seen += value[i];
	slack = 1e-12 *
		fabs(seen); /* the same terms added in the same order still differ by rounding */
	for (uint64_t p = 0; p < patterns; p++) {
		uint64_t bits = p;
		double sum = 0;

		for (size_t i = 0; i < n; i++) {
			if (n > EXACT_PAIRS && i % 64 == 0)
				bits = random_u64(random);
			sum += bits & 1 ? -value[i] : value[i];
			bits >>= 1;
		}
		as_low += sum <= seen + slack;
	}
	return n <= EXACT_PAIRS ? (double)as_low / (double)patterns
				: (double)(as_low + 1) / (double)(patterns + 1);
}

/*
 * What a pair shows: the logarithm of its ratio where all is above 0, else its difference as a share of the mean before. What
 * differs by factors scatters by factors: of differences the largest slice would count for all others.
 */
static int contrasts(
	const struct gain_pair *pair, size_t n, struct gain *out, double *value, bool *ratios)
{
	double before = 0, after = 0;

	*ratios = true;
	for (size_t i = 0; i < n; i++) {
		if (!isfinite(pair[i].before) || !isfinite(pair[i].after))
			return -EINVAL;
		before += pair[i].before / (double)n;
		after += pair[i].after / (double)n;
		*ratios = *ratios && pair[i].before > 0 && pair[i].after > 0;
	}
	if (!(before > 0))
		return -EINVAL;
	out->before = before;
	out->after = after;
	/* a mean near 0 makes a difference of anything */
	for (size_t i = 0; i < n; i++) {
		value[i] = (pair[i].after - pair[i].before) / before;
		if (fabs(value[i]) > GAIN_CHANGE_MAX)
			return -EINVAL;
	}
	for (size_t i = 0; *ratios && i < n; i++)
		value[i] = log(pair[i].after) - log(pair[i].before);
	return 0;
}

int gain_judge(const struct gain_pair *pair, size_t pairs, bool lower_is_better, uint64_t seed,
	struct gain *out)
{
	struct random_state random = random_seed(seed);
	double value[GAIN_PAIRS_MAX], chance_higher, sum = 0;
	bool ratios;
	int err;

	*out = (struct gain){ NAN, NAN, NAN, NAN, NAN, NAN, false, false };
	if (pairs < GAIN_PAIRS_MIN || pairs > GAIN_PAIRS_MAX)
		return -EINVAL;
	err = contrasts(pair, pairs, out, value, &ratios);
	if (err)
		return err;
	interval(value, pairs, &random, &out->low, &out->high);
	out->chance = sign_flip(value, pairs, &random);
	for (size_t i = 0; i < pairs; i++) {
		sum += value[i];
		value[i] = -value[i];
	}
	chance_higher = sign_flip(value, pairs, &random);
	/* a few slices that are worse by far may be most of what is waited for: no gain that the means deny */
	out->better = out->high < 0 && out->chance <= GAIN_ERROR &&
		      (!lower_is_better || out->after < out->before);
	out->worse = out->low > 0 && chance_higher <= GAIN_ERROR &&
		     (lower_is_better || out->after > out->before);
	out->change = sum / (double)pairs;
	if (ratios) {
		out->change = expm1(out->change);
		out->low = expm1(out->low);
		out->high = expm1(out->high);
	}
	if (!lower_is_better) {
		bool swap = out->better;

		out->better = out->worse;
		out->worse = swap;
		out->chance = chance_higher;
	}
	return 0;
}

void gain_sentence(
	const struct gain *gain, const char *metric, size_t pairs, char *out, size_t size)
{
	bool fell = gain->change < 0;
	double low = fell ? -gain->high : gain->low, high = fell ? -gain->low : gain->high;

	if (isnan(gain->change))
		snprintf(out, size, "%s could not be judged from %zu pairs", metric, pairs);
	else if (!gain->better && !gain->worse)
		snprintf(out, size,
			"no effect on %s could be shown (%+.1f %%, %+.1f to %+.1f) over %zu pairs",
			metric, 100 * gain->change, 100 * gain->low, 100 * gain->high, pairs);
	else
		snprintf(out, size, "%s %s by %.1f %% (%.1f to %.1f) over %zu pairs", metric,
			fell ? "fell" : "rose", 100 * fabs(gain->change), 100 * low, 100 * high,
			pairs);
}
