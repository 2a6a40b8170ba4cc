// SPDX-License-Identifier: Apache-2.0
/*
 * placebo.c - see placebo.h. A permutation in time is a swap with a random place of a pool of earlier scores: every score
 * comes out once, at a time that has nothing to do with when it was right.
 */
#include "agent/core/placebo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = { "none", "permute", "fast", "slow", "constant" };

int placebo_parse(const char *text, enum placebo_kind *kind)
{
	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(text, names[i]) == 0) {
			*kind = (enum placebo_kind)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *placebo_name(enum placebo_kind kind)
{
	return kind <= PLACEBO_CONSTANT ? names[kind] : "unknown";
}

int placebo_init(struct placebo *placebo, enum placebo_kind kind, uint64_t seed)
{
	memset(placebo, 0, sizeof(*placebo));
	placebo->kind = kind;
	placebo->random = seed * 0x9e3779b97f4a7c15ULL | 1;
	if (kind == PLACEBO_PERMUTE)
		placebo->pool = calloc(PLACEBO_POOL, sizeof(*placebo->pool));
	return kind == PLACEBO_PERMUTE && !placebo->pool ? -ENOMEM : 0;
}

void placebo_free(struct placebo *placebo)
{
	free(placebo->pool);
	placebo->pool = NULL;
}

static uint32_t draw(struct placebo *placebo, uint32_t below)
{
	placebo->random ^= placebo->random << 13;
	placebo->random ^= placebo->random >> 7;
	placebo->random ^= placebo->random << 17;
	return (uint32_t)((placebo->random >> 32) * below >> 32);
}

static float permuted(struct placebo *placebo, float score)
{
	uint32_t at;
	float earlier;

	/* Until the pool is full it fills up, and what comes out is one of the few there are. */
	if (placebo->n < PLACEBO_POOL) {
		placebo->pool[placebo->n++] = score;
		return placebo->pool[draw(placebo, placebo->n)];
	}
	at = draw(placebo, PLACEBO_POOL);
	earlier = placebo->pool[at];
	placebo->pool[at] = score;
	return earlier;
}

void placebo_apply(struct placebo *placebo, float *scores, size_t n, float threshold)
{
	for (size_t i = 0; i < n; i++) {
		switch (placebo->kind) {
		case PLACEBO_NONE:
			return;
		case PLACEBO_PERMUTE:
			scores[i] = permuted(placebo, scores[i]);
			break;
		case PLACEBO_FAST:
			scores[i] = threshold - 1;
			break;
		case PLACEBO_SLOW:
			scores[i] = threshold + 1;
			break;
		case PLACEBO_CONSTANT:
			placebo->sum += (double)scores[i];
			placebo->seen++;
			scores[i] = (float)(placebo->sum / (double)placebo->seen);
			break;
		}
	}
}
