// SPDX-License-Identifier: Apache-2.0
/* choice.c - see choice.h. Pure but for working memory; any thread. */
#include "agent/infer/choice.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/random.h"

#define PARTNERS 8 /* other reads that each is compared with */
#define ALIKE 20 /* of about the same size: within a twentieth of the rows, in order of size */
#define LEAST_RESAMPLES 40 /* below that a 2.5 % quantile is no more than the extreme */

/* One choice between two reads, and what came of it in us. */
struct pair {
	uint32_t a, b;
	float usual, gained;
};

struct sized {
	uint32_t sectors, tie, row; /* tie: by chance, or equal ones would stand in order of time */
};

static int by_size(const void *a, const void *b)
{
	const struct sized *x = a, *y = b;

	if (x->sectors != y->sectors)
		return x->sectors < y->sectors ? -1 : 1;
	return (x->tie > y->tie) - (x->tie < y->tie);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* True: by the rule the other leg is chosen, and not the default's. */
static bool choose(const struct choice_row *rows, struct random_state *random, struct pair *pair)
{
	const struct choice_row *a = &rows[pair->a], *b = &rows[pair->b];
	bool first =
		a->inflight != b->inflight ? a->inflight < b->inflight : random_below(random, 2);
	const struct choice_row *usual = first ? a : b, *other = first ? b : a;
	double least = (double)usual->score + log2(1 - CHOICE_MARGIN_PERMILLE / 1000.);
	bool moves = !usual->unknown && !other->unknown &&
		     other->inflight <= usual->inflight + CHOICE_DEEPER &&
		     (double)other->score < least;

	pair->usual = usual->latency_us;
	pair->gained = moves ? usual->latency_us - other->latency_us : 0;
	return moves;
}

/* order: the rows by size. PARTNERS pairs a row; returns how many of them move. */
static size_t compare_all(const struct choice_row *rows, size_t n, const struct sized *order,
	struct random_state *random, struct pair *pairs)
{
	size_t reach = n / ALIKE ? n / ALIKE : 1, moved = 0;

	for (size_t at = 0; at < n; at++) {
		size_t from = at > reach ? at - reach : 0;
		size_t to = at + reach < n ? at + reach : n - 1;

		for (int k = 0; k < PARTNERS; k++) {
			size_t other = from + random_below(random, to - from);

			other += other >= at; /* never itself */
			pairs->a = order[at].row;
			pairs->b = order[other].row;
			moved += choose(rows, random, pairs++);
		}
	}
	return moved;
}

/* The gain over all pairs, each as often as both its rows were drawn; weight NULL: once. */
static double gain_of(const struct pair *pairs, size_t n, const uint16_t *weight)
{
	double usual = 0, gained = 0, times;

	for (size_t i = 0; i < n; i++) {
		times = weight ? (double)weight[pairs[i].a] * weight[pairs[i].b] : 1;
		usual += times * (double)pairs[i].usual;
		gained += times * (double)pairs[i].gained;
	}
	return usual > 0 ? gained / usual : 0;
}

/* How often each row is drawn, by whole blocks. */
static void draw(uint16_t *weight, size_t n, size_t block, struct random_state *random)
{
	memset(weight, 0, n * sizeof(*weight));
	for (size_t drawn = 0; drawn < n; drawn += block) {
		size_t start = random_below(random, n - block + 1);
		size_t length = n - drawn < block ? n - drawn : block;

		for (size_t i = start; i < start + length; i++)
			weight[i] += weight[i] < UINT16_MAX;
	}
}

static bool usable(const struct choice_row *rows, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++) {
		if ((!rows[i].unknown && !isfinite(rows[i].score)) || !(rows[i].latency_us >= 0))
			return false;
		sum += (double)rows[i].latency_us;
	}
	return sum > 0;
}

int choice_test(const struct choice_row *rows, size_t n, size_t block, uint32_t resamples,
	uint64_t seed, struct choice_result *out)
{
	struct random_state random = random_seed(seed);
	struct sized *order;
	struct pair *pairs;
	uint16_t *weight;
	double *gain;
	size_t cut = (size_t)(0.025 * resamples);
	int err = -ENOMEM;

	*out = (struct choice_result){ NAN, NAN, NAN, NAN, false };
	if (n < 8 || n > UINT32_MAX || !block || resamples < LEAST_RESAMPLES || !usable(rows, n))
		return -EINVAL;
	if (block > n / 4)
		block = n / 4;
	order = calloc(n, sizeof(*order));
	pairs = calloc(n * PARTNERS, sizeof(*pairs));
	weight = calloc(n, sizeof(*weight));
	gain = calloc(resamples, sizeof(*gain));
	if (!order || !pairs || !weight || !gain)
		goto out;
	err = 0;
	for (size_t i = 0; i < n; i++)
		order[i] = (struct sized){ rows[i].sectors, (uint32_t)(random_u64(&random) >> 32),
			(uint32_t)i };
	qsort(order, n, sizeof(*order), by_size);
	out->moved = (double)compare_all(rows, n, order, &random, pairs) / ((double)n * PARTNERS);
	out->gain = gain_of(pairs, n * PARTNERS, NULL);
	for (uint32_t i = 0; i < resamples; i++) {
		draw(weight, n, block, &random);
		gain[i] = gain_of(pairs, n * PARTNERS, weight);
	}
	qsort(gain, resamples, sizeof(*gain), by_value);
	out->low = gain[cut];
	out->high = gain[resamples - 1 - cut];
	out->signal = out->low > CHOICE_LEAST;
out:
	free(order);
	free(pairs);
	free(weight);
	free(gain);
	return err;
}
