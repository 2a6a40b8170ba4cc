/* SPDX-License-Identifier: Apache-2.0 */
/*
 * runs.h - the runs that replay.c printed, and intervals of what two of them differ by.
 */
#ifndef SEMANTOS_BENCH_REPLICA_RUNS_H
#define SEMANTOS_BENCH_REPLICA_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define RUNS_MOST 1024
#define RESAMPLES 1000

/* One trace under one row. */
struct run {
	char volume[32], mix[32], set[32], row[32];
	unsigned int seed, stretch, reads, cpu; /* cpu: of 1000 */
	long long extra; /* reads of legs beyond one a read */
	float *us; /* latency of each read */
	uint8_t *leg; /* that answered it first, from 1; 0: not known */
	unsigned int filled;
};

struct runs {
	struct run run[RUNS_MOST];
	size_t n;
	bool simulated; /* by sim/, and not replayed in the lab */
};

struct interval {
	double value, low, high; /* low, high: 95 % */
};

/* Take the lines "simulated", "run ..." and "reads ...", others are passed over. 0, or -EINVAL with a sentence on stderr. */
int runs_read(struct runs *runs, FILE *from);

/* volume,mix,seed,set,row,stretch,read,latency_us,leg */
void runs_write_csv(const struct runs *runs, FILE *to);

/* NULL: there is none. */
const struct run *runs_find(const struct runs *runs, const char *volume, const char *mix,
	unsigned int seed, const char *row, unsigned int stretch);

double run_mean(const struct run *run);
double run_p99(const struct run *run);

/*
 * The quotient of sums (or 99th percentiles) over traces of two rows, less 1, by resampling blocks of 40 ms of original
 * time, the same ones of both (circular block bootstrap, Politis and Romano 1992). a[i] and b[i] are runs of one trace.
 */
struct interval runs_ratio(
	const struct run *const *a, const struct run *const *b, size_t traces, int p99);

/* (base - row) / (base - best) of means over traces, resampled in the same way. */
struct interval runs_gap_closed(const struct run *const *base, const struct run *const *row,
	const struct run *const *best, size_t traces);

#endif
