/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spread.h - how long something took each time: the values, then p50, p99 and the most.
 */
#ifndef TESTS_SPREAD_H
#define TESTS_SPREAD_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define SPREAD_MAX 2048

struct spread {
	uint64_t value[SPREAD_MAX];
	size_t n;
};

static inline void spread_add(struct spread *s, uint64_t value)
{
	if (s->n < SPREAD_MAX)
		s->value[s->n++] = value;
}

static inline int spread_order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* percent 0 to 100; 0 when there is none. */
static inline unsigned long long spread_at(const struct spread *s, unsigned int percent)
{
	static uint64_t sorted[SPREAD_MAX];

	if (s->n == 0)
		return 0;
	memcpy(sorted, s->value, s->n * sizeof(sorted[0]));
	qsort(sorted, s->n, sizeof(sorted[0]), spread_order);
	return sorted[(s->n - 1) * percent / 100];
}

#endif
