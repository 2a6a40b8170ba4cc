// SPDX-License-Identifier: Apache-2.0
/*
 * quantile.c - a sliding histogram: what enters the window is counted, what leaves it is uncounted.
 *
 * Buckets: values below 32 have one each; above, every octave is cut into 32 equal parts. Memory never grows.
 */
#include "agent/core/quantile.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define SUB_BITS 5
#define SUB (1u << SUB_BITS)
#define BUCKETS ((32 - SUB_BITS + 1) * SUB)
#define WINDOW_MAX (1u << 20)

struct quantile {
	uint32_t window, n, next;
	uint32_t count[BUCKETS];
	uint16_t bucket[]; /* [window] */
};

static uint16_t bucket_of(uint32_t value)
{
	uint32_t shift;

	if (value < SUB)
		return (uint16_t)value;
	shift = 31 - (uint32_t)__builtin_clz(value) - SUB_BITS;
	return (uint16_t)((shift + 1) * SUB + (value >> shift) - SUB);
}

static double bucket_middle(uint32_t bucket)
{
	uint32_t shift;

	if (bucket < SUB)
		return bucket;
	shift = bucket / SUB - 1;
	return ldexp(SUB + bucket % SUB + 0.5, (int)shift) - 0.5;
}

struct quantile *quantile_new(uint32_t window)
{
	struct quantile *quantile;

	if (!window || window > WINDOW_MAX) {
		errno = EINVAL;
		return NULL;
	}
	quantile = calloc(1, sizeof(*quantile) + window * sizeof(quantile->bucket[0]));
	if (quantile)
		quantile->window = window;
	return quantile;
}

void quantile_free(struct quantile *quantile)
{
	free(quantile);
}

void quantile_add(struct quantile *quantile, uint32_t value)
{
	uint16_t bucket = bucket_of(value);

	if (quantile->n == quantile->window)
		quantile->count[quantile->bucket[quantile->next]]--;
	else
		quantile->n++;
	quantile->bucket[quantile->next] = bucket;
	quantile->count[bucket]++;
	quantile->next = (quantile->next + 1) % quantile->window;
}

uint32_t quantile_count(const struct quantile *quantile)
{
	return quantile->n;
}

double quantile_at(const struct quantile *quantile, double share)
{
	double rank = share * (quantile->n - 1.0);
	uint64_t seen = 0;

	if (!quantile->n)
		return NAN;
	for (uint32_t bucket = 0; bucket < BUCKETS; bucket++) {
		seen += quantile->count[bucket];
		if (seen && (double)(seen - 1) >= rank)
			return bucket_middle(bucket);
	}
	return NAN; /* share above 1 */
}
