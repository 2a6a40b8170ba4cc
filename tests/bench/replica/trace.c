// SPDX-License-Identifier: Apache-2.0
/* trace.c - makes the request traces; trace.h says of what. */
#include "tests/bench/replica/trace.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STREAMS 3
#define PLACES 61440 /* sectors a request may begin at */

struct mix {
	const char *name;
	/* KiB, as published: mean and greatest of reads and of writes */
	double read_mean, read_max, write_mean, write_max, reads, gap_us;
};

static const struct mix mixes[STREAMS] = {
	{ "azure", 25, 64, 17, 64, .25, 38 },
	{ "bing", 55, 512, 30, 1024, .23, 208 },
	{ "cosmos", 430, 7000, 107, 32000, .23, 400 },
};

/* splitmix64 */
static double uniform(uint64_t *rng)
{
	uint64_t z = (*rng += 0x9e3779b97f4a7c15ULL);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return ((double)((z ^ z >> 31) >> 11) + .5) / 9007199254740992.;
}

static double normal(uint64_t *rng)
{
	double radius = sqrt(-2 * log(uniform(rng)));

	return radius * cos(2 * M_PI * uniform(rng));
}

static void make_request(const struct mix *m, uint64_t *rng, struct request *r)
{
	double mean, most, kib;

	r->read = uniform(rng) < m->reads;
	mean = r->read ? m->read_mean : m->write_mean;
	most = r->read ? m->read_max : m->write_max;
	kib = exp(log(mean) - .5 + normal(rng)) / TRACE_SIZE_DIVISOR;
	if (kib > most / TRACE_SIZE_DIVISOR)
		kib = most / TRACE_SIZE_DIVISOR;
	r->sectors = (uint32_t)(kib * 2 + .5);
	if (r->sectors < 1)
		r->sectors = 1;
	if (r->sectors > 2048)
		r->sectors = 2048;
}

/* Bit i: stream i takes part. */
static unsigned int streams_of(const char *name)
{
	for (unsigned int i = 0; i < STREAMS; i++)
		if (!strcmp(name, mixes[i].name))
			return 1U << i;
	return strcmp(name, "mixed") ? 0 : (1U << STREAMS) - 1;
}

uint32_t trace_count(const char *name, uint32_t ms)
{
	unsigned int streams = streams_of(name);
	double rate = 0;

	for (unsigned int i = 0; i < STREAMS; i++)
		if (streams >> i & 1)
			rate += 1000 / mixes[i].gap_us;
	return (uint32_t)(rate * ms);
}

struct request *trace_make(const char *name, uint64_t seed, uint32_t count)
{
	unsigned int streams = streams_of(name), which;
	struct request *all = streams ? calloc(count ?: 1, sizeof(*all)) : NULL;
	double next[STREAMS];
	uint64_t rng[STREAMS];

	for (unsigned int i = 0; all && i < STREAMS; i++) {
		rng[i] = seed << 8 | i;
		next[i] = streams >> i & 1 ? -log(uniform(&rng[i])) * mixes[i].gap_us : INFINITY;
	}
	for (uint32_t k = 0; all && k < count; k++) {
		which = 0;
		for (unsigned int i = 1; i < STREAMS; i++)
			if (next[i] < next[which])
				which = i;
		all[k].at_us = next[which];
		make_request(&mixes[which], &rng[which], &all[k]);
		next[which] += -log(uniform(&rng[which])) * mixes[which].gap_us;
		/* Every place once before any comes again: who served a read is told by its place. */
		all[k].sector = (uint32_t)((uint64_t)k * 7919 % PLACES);
	}
	return all;
}
