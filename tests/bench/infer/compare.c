// SPDX-License-Identifier: Apache-2.0
/*
 * compare.c - see compare.h. Owns what was measured, for the JSON line at the end.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "compare.h"

#define MOST_ROUNDS 31
#define SLOW_ROUNDS 9 /* where one run takes long */
#define ROUND_NS 4e6 /* a contender's share of a round */

const char *const contender_names[CONTENDERS] = { "semantos", "float32", "AVX2", "plain C",
	"OpenBLAS", "oneDNN", "onnxruntime", "torch", "FAISS" };

static char json[65536];
static size_t json_used;

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The value below which a quarter, a half, three quarters of them lie. */
static double quartile(const double *values, size_t n, size_t quarter)
{
	double sorted[MOST_ROUNDS];

	memcpy(sorted, values, n * sizeof(*sorted));
	qsort(sorted, n, sizeof(*sorted), by_value);
	return sorted[(n - 1) * quarter / 4];
}

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
	va_list args;
	int wrote;

	va_start(args, format);
	wrote = vsnprintf(json + json_used, sizeof(json) - json_used, format, args);
	va_end(args);
	if (wrote < 0 || json_used + (size_t)wrote >= sizeof(json))
		exit(1);
	json_used += (size_t)wrote;
}

bool compare_wants(enum compare_mode mode, size_t contender)
{
	if (contender == OURS || mode == COMPARE_CURVE)
		return true;
	if (mode == COMPARE_ENGINES)
		return contender < FIRST_PEER;
	return contender == FLOATS || contender >= FIRST_PEER;
}

void compare_head(enum compare_mode mode)
{
	if (mode == COMPARE_CURVE)
		return;
	printf("%-22s %5s", "us a batch, median", "batch");
	for (size_t c = 0; c < CONTENDERS; c++)
		if (compare_wants(mode, c))
			printf(" %11s", contender_names[c]);
	printf(mode == COMPARE_ENGINES ? "  times as long as semantos: median (quartiles)\n"
				       : "  fastest peer / semantos: median (quartiles)\n");
}

/* In every round the one's time over the other's. */
static void ratios(const double *one, const double *other, size_t rounds, double *ratio)
{
	for (size_t round = 0; round < rounds; round++)
		ratio[round] = one[round] / other[round];
}

void compare(const char *model, size_t batch, const struct contender *all, double target,
	double again_percent, double lake_us, enum compare_mode mode)
{
	static double us[CONTENDERS][MOST_ROUNDS];
	const bool curve = mode == COMPARE_CURVE;
	size_t rounds = curve ? SLOW_ROUNDS : MOST_ROUNDS, iterations[CONTENDERS] = { 0 };
	size_t fastest = 0;
	double ratio[MOST_ROUNDS], middle, best = INFINITY;

	for (size_t c = 0; c < CONTENDERS; c++) {
		double start, once;

		if (!all[c].run)
			continue;
		all[c].run(all[c].state);
		start = now_ns();
		all[c].run(all[c].state);
		once = now_ns() - start;
		iterations[c] = once < ROUND_NS ? (size_t)(ROUND_NS / (once + 1)) + 1 : 1;
		if (once > 20 * ROUND_NS)
			rounds = SLOW_ROUNDS;
	}
	for (size_t round = 0; round < rounds; round++)
		for (size_t c = 0; c < CONTENDERS; c++) {
			double start = now_ns();

			for (size_t i = 0; i < iterations[c]; i++)
				all[c].run(all[c].state);
			us[c][round] = iterations[c]
					       ? (now_ns() - start) / (double)iterations[c] / 1e3
					       : NAN;
		}
	note("%s{\"model\":\"%s\",\"batch\":%zu,\"us\":{", json_used ? "," : "", model, batch);
	printf(curve ? "%s;%zu" : "%-22s %5zu", model, batch);
	for (size_t c = 0; c < CONTENDERS; c++) {
		double value = all[c].run ? quartile(us[c], rounds, 2) : NAN;

		if (!compare_wants(mode, c))
			continue;
		if (curve)
			printf(all[c].run ? ";%.4g" : ";NaN", value);
		else if (all[c].run)
			printf(" %11.3f", value);
		else
			printf(" %11s", "-");
		if (all[c].run)
			note("%s\"%s\":%.4g", c ? "," : "", contender_names[c], value);
		if (c >= FIRST_PEER && value < best) {
			best = value;
			fastest = c;
		}
	}
	note("}");
	for (size_t c = FLOATS; mode == COMPARE_ENGINES && c < FIRST_PEER; c++)
		if (all[c].run) {
			ratios(us[c], us[OURS], rounds, ratio);
			printf("  %s %.2f (%.2f-%.2f)", contender_names[c],
				quartile(ratio, rounds, 2), quartile(ratio, rounds, 1),
				quartile(ratio, rounds, 3));
		}
	if (mode != COMPARE_ENGINES) {
		ratios(us[fastest], us[OURS], rounds, ratio);
		middle = quartile(ratio, rounds, 2);
		note(",\"fastest_peer\":\"%s\",\"times_faster\":%.4g,\"quartiles\":[%.4g,%.4g],"
		     "\"target\":%.3g,\"hit\":%s",
			contender_names[fastest], middle, quartile(ratio, rounds, 1),
			quartile(ratio, rounds, 3), target, middle >= target ? "true" : "false");
	}
	if (mode == COMPARE_PEERS) {
		printf("  %.2f (%.2f-%.2f) %s", middle, quartile(ratio, rounds, 1),
			quartile(ratio, rounds, 3), contender_names[fastest]);
		if (target > 0)
			printf(", target %.3g: %s", target, middle >= target ? "hit" : "MISSED");
		if (again_percent >= 0)
			printf(", %.2g %% computed again", again_percent);
		if (lake_us > 0)
			printf("; LAKE on an A100 %.5g us, %.2f times ours", lake_us,
				lake_us / quartile(us[OURS], rounds, 2));
	}
	if (lake_us > 0)
		note(",\"lake_a100_us\":%.5g", lake_us);
	if (again_percent >= 0)
		note(",\"again_percent\":%.3g", again_percent);
	printf("\n");
	fflush(stdout);
	note("}");
}

void compare_json(void)
{
	printf("{\"bench\":\"infer\",\"rows\":[%s]}\n", json);
}
