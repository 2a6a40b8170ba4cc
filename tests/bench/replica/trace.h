/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace.h - requests by the parameters that LAKE publishes of three production traces (Azure, Bing-I, Cosmos), and of the
 * three at once on one volume ("mixed"): exponential gaps, lognormal sizes, a share of reads. A trace depends on its
 * name, seed and length only. Times are of the original: who replays it stretches them.
 */
#ifndef SEMANTOS_BENCH_REPLICA_TRACE_H
#define SEMANTOS_BENCH_REPLICA_TRACE_H

#include <stdbool.h>
#include <stdint.h>

struct request {
	double at_us;
	uint32_t sector, sectors; /* of 512 bytes, of the volume */
	bool read;
};

/*
 * Sizes on the wire are an eighth of the published ones (the disks take eight times as long for each KiB), at least a
 * sector and at most 1 MiB: emulated, moving bytes would cost more than deciding.
 */
#define TRACE_SIZE_DIVISOR 8

/* NULL: no such name, or no memory. The owner frees it. */
struct request *trace_make(const char *name, uint64_t seed, uint32_t count);

/* Requests that take about `ms` of original time. 0: no such name. */
uint32_t trace_count(const char *name, uint32_t ms);

#endif
