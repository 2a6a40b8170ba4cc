/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench.h - what every bench row is made of: a series of measurements, its quantiles, its target, two ways to print.
 *
 * A row's readable line goes to stdout at once; rows_end() prints all of them as one JSON object on the last line,
 * which tests/bench/run.sh gathers. A missed target is a sentence in a table, never an exit code.
 */
#ifndef SEMANTOS_TESTS_BENCH_H
#define SEMANTOS_TESTS_BENCH_H

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define NO_TARGET 0.0

static char rows_json[32768];
static size_t rows_used;

static inline int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts values. q in 0..1; n > 0. */
static inline double quantile(double *values, size_t n, double q)
{
	qsort(values, n, sizeof(*values), by_value);
	return values[(size_t)(q * (double)(n - 1))];
}

/* Print a row and keep it for rows_end(). target: the median must not exceed it; NO_TARGET = for information. */
static inline void row(const char *name, const char *unit, double *values, size_t n, double target)
{
	double low, p50, high, p99;
	int wrote;

	if (!n)
		return;
	p50 = quantile(values, n, 0.5);
	low = quantile(values, n, 0.25);
	high = quantile(values, n, 0.75);
	p99 = quantile(values, n, 0.99);
	printf("  %-52s %9.4g %-6s quartiles %.4g-%.4g, p99 %.4g", name, p50, unit, low, high, p99);
	if (target > 0)
		printf("   target %.4g: %s", target, p50 <= target ? "met" : "TARGET MISSED");
	printf("\n");
	fflush(stdout);
	wrote = snprintf(rows_json + rows_used, sizeof(rows_json) - rows_used,
		"%s{\"row\":\"%s\",\"unit\":\"%s\",\"n\":%zu,\"p50\":%.5g,\"p25\":%.5g,"
		"\"p75\":%.5g,"
		"\"p99\":%.5g",
		rows_used ? "," : "", name, unit, n, p50, low, high, p99);
	rows_used += (size_t)wrote;
	wrote = target > 0 ? snprintf(rows_json + rows_used, sizeof(rows_json) - rows_used,
				     ",\"target\":%.5g,\"met\":%s}", target,
				     p50 <= target ? "true" : "false")
			   : snprintf(rows_json + rows_used, sizeof(rows_json) - rows_used, "}");
	rows_used += (size_t)wrote;
}

static inline void rows_end(const char *bench)
{
	printf("{\"bench\":\"%s\",\"rows\":[%s]}\n", bench, rows_json);
}

static inline void pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

#endif
