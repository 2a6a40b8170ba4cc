// SPDX-License-Identifier: Apache-2.0
/*
 * drift.c - the exponential histogram of ADWIN, and its cut.
 */
#include "agent/safety/drift.h"

#include <math.h>
#include <string.h>

void drift_reset(struct drift *drift, double delta)
{
	memset(drift, 0, sizeof(*drift));
	drift->delta = delta > 0 && delta < 1 ? delta : DRIFT_DELTA;
}

/* Two neighbours of n values each as one; the deviations' squares grow by that between the means. */
static struct drift_bucket merged(struct drift_bucket a, struct drift_bucket b, double n)
{
	double apart = (a.sum - b.sum) / n;

	return (struct drift_bucket){ a.sum + b.sum,
		a.squares + b.squares + apart * apart * n / 2 };
}

static void drop_oldest(struct drift *drift, unsigned int level, unsigned int count)
{
	drift->used[level] -= count;
	memmove(drift->bucket[level], drift->bucket[level] + count,
		drift->used[level] * sizeof(drift->bucket[level][0]));
}

static void insert(struct drift *drift, double value)
{
	struct drift_bucket carry = { value, 0 };

	for (unsigned int level = 0; level < DRIFT_LEVELS; level++) {
		struct drift_bucket *row = drift->bucket[level];

		row[drift->used[level]++] = carry;
		if (drift->used[level] <= DRIFT_BUCKETS)
			return;
		carry = merged(row[0], row[1], ldexp(1, (int)level));
		drop_oldest(drift, level, 2);
	}
	/* beyond the last size the two oldest are let go, as a cut would */
}

struct part {
	double n, sum, squares;
};

static void extend(struct part *part, struct drift_bucket bucket, double n)
{
	double apart = part->n > 0 ? bucket.sum / n - part->sum / part->n : 0;

	part->squares += bucket.squares + apart * apart * part->n * n / (part->n + n);
	part->sum += bucket.sum;
	part->n += n;
}

static struct part whole(const struct drift *drift)
{
	struct part all = { 0, 0, 0 };

	for (int level = DRIFT_LEVELS - 1; level >= 0; level--)
		for (unsigned int i = 0; i < drift->used[level]; i++)
			extend(&all, drift->bucket[level][i], ldexp(1, level));
	return all;
}

/* The bound of the paper's section 4: the variance of the whole window, and a term for its few values. */
static bool differ(const struct part *all, const struct part *old, double delta)
{
	double newer = all->n - old->n, harmonic = 1 / (1 / old->n + 1 / newer);
	double log_term = log(2 * log(all->n) / delta), variance = all->squares / all->n;
	double bound = sqrt(2 / harmonic * variance * log_term) + 2 / (3 * harmonic) * log_term;

	return fabs(old->sum / old->n - (all->sum - old->sum) / newer) > bound;
}

/* How many of the oldest buckets to drop: all up to the cut. 0 = no cut. */
static unsigned int cut_after(const struct drift *drift)
{
	struct part all = whole(drift), old = { 0, 0, 0 };
	unsigned int passed = 0;

	for (int level = DRIFT_LEVELS - 1; all.n - old.n > DRIFT_MIN_PART; level--) {
		for (unsigned int i = 0; i < drift->used[level]; i++) {
			extend(&old, drift->bucket[level][i], ldexp(1, level));
			passed++;
			if (all.n - old.n >= DRIFT_MIN_PART && old.n >= DRIFT_MIN_PART &&
				differ(&all, &old, drift->delta))
				return passed;
		}
	}
	return 0;
}

bool drift_add(struct drift *drift, double value)
{
	unsigned int drop;
	bool found = false;

	if (isnan(value))
		return false;
	insert(drift, fmin(fmax(value, 0), 1));
	while ((drop = cut_after(drift))) {
		found = true;
		for (int level = DRIFT_LEVELS - 1; drop; level--) {
			unsigned int here = drop < drift->used[level] ? drop : drift->used[level];

			drop_oldest(drift, (unsigned int)level, here);
			drop -= here;
		}
	}
	drift->drifts += found;
	return found;
}

uint64_t drift_width(const struct drift *drift)
{
	return (uint64_t)whole(drift).n;
}

double drift_mean(const struct drift *drift)
{
	struct part all = whole(drift);

	return all.n > 0 ? all.sum / all.n : NAN;
}
