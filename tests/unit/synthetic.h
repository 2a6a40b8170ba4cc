/* SPDX-License-Identifier: Apache-2.0 */
/*
 * synthetic.h - made-up disks for tests: reads whose slow periods have memory, or have none.
 *
 * Latencies come from a two-state chain (or from single draws); depth and history are what a disk with those latencies
 * would have shown, because agent/core/trace.h replays them. Include after cmocka.h.
 */
#ifndef SEMANTOS_TESTS_SYNTHETIC_H
#define SEMANTOS_TESTS_SYNTHETIC_H

#include <math.h>
#include <stdlib.h>
#include "agent/core/trace.h"

struct synthetic {
	uint64_t seed;
	bool memory;
	double slow_us; /* 0 = 1500 */
	double gap_ns; /* mean time between reads; 0 = 1 ms */
};

static inline uint64_t synthetic_next(uint64_t *state)
{
	/* splitmix64 (Steele et al., OOPSLA'14) */
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static inline double synthetic_uniform(uint64_t *state)
{
	return ((double)(synthetic_next(state) >> 11) + 0.5) / 9007199254740992.0;
}

/* [n] outcomes in order of issue, the first at start_ns; history is full from the fifth on. Freed by the caller. */
static inline struct semantos_block_record *synthetic_reads(
	const struct synthetic *disk, size_t n, uint64_t start_ns)
{
	struct trace_request *requests = calloc(n + 64, sizeof(*requests));
	double now_ns = (double)start_ns, gap_ns = disk->gap_ns > 0 ? disk->gap_ns : 1e6;
	double slow_us = disk->slow_us > 0 ? disk->slow_us : 1500;
	struct semantos_block_record *records;
	uint64_t state = disk->seed * 7919 + 1;
	bool slow = false;
	size_t made, kept = 0;

	assert_non_null(requests);
	for (size_t i = 0; i < n + 64; i++) {
		double u = synthetic_uniform(&state), v = synthetic_uniform(&state);
		double normal = sqrt(-2 * log(u)) * cos(2 * M_PI * v);

		now_ns += -log(synthetic_uniform(&state)) * gap_ns;
		if (disk->memory)
			slow = synthetic_uniform(&state) < (slow ? 0.975 : 0.005);
		else
			slow = synthetic_uniform(&state) < 0.17;
		requests[i] = (struct trace_request){
			.issue_ns = (uint64_t)now_ns,
			.latency_us = (uint32_t)((slow ? slow_us : 120) * exp(0.4 * normal)),
			.sectors = 8u << synthetic_next(&state) % 5,
			.sector = synthetic_next(&state) % (1u << 30),
			.op = SEMANTOS_OP_READ,
		};
	}
	assert_int_equal(trace_records(requests, n + 64, &records, &made), 0);
	free(requests);
	for (size_t i = 0; i < made && kept < n; i++)
		if (records[i].history_len == SEMANTOS_HISTORY)
			records[kept++] = records[i];
	assert_int_equal(kept, n);
	return records;
}

/* The request that belongs to an outcome, as the hooks would have sent it. */
static inline struct semantos_block_record synthetic_request(
	const struct semantos_block_record *outcome)
{
	struct semantos_block_record request = *outcome;

	request.head.kind = SEMANTOS_REQUEST;
	request.latency_us = 0;
	return request;
}

#endif
