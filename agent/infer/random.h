/* SPDX-License-Identifier: Apache-2.0 */
/*
 * random.h - the seeded generator of training and bootstrap: the same seed, the same numbers, on every machine.
 *
 * SplitMix64 (Steele, Lea, Flood, OOPSLA'14): one word of state, good enough for shuffles and draws, never for secrets.
 */
#ifndef SEMANTOS_INFER_RANDOM_H
#define SEMANTOS_INFER_RANDOM_H

#include <stdint.h>

struct random_state {
	uint64_t word;
};

static inline struct random_state random_seed(uint64_t seed)
{
	return (struct random_state){ seed };
}

static inline uint64_t random_u64(struct random_state *state)
{
	uint64_t z = state->word += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* Uniform in [0, limit); the bias is below limit / 2^64. */
static inline uint64_t random_below(struct random_state *state, uint64_t limit)
{
	return (uint64_t)((unsigned __int128)random_u64(state) * limit >> 64);
}

/* Uniform in [0, 1). */
static inline double random_unit(struct random_state *state)
{
	return (double)(random_u64(state) >> 11) * 0x1p-53;
}

#endif
