/* SPDX-License-Identifier: Apache-2.0 */
/*
 * traces.h - recorded system-call traces for the tests of nearest neighbours: read, rid of duplicates, put into groups of
 * near-duplicates that no split may divide.
 */
#ifndef SEMANTOS_TESTS_TRACES_H
#define SEMANTOS_TESTS_TRACES_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "agent/infer/calls.h"

#define TRACE_GRAM 6 /* calls in a row by which traces are compared */
#define TRACE_ALIKE 0.8 /* share of them in common: nearly the same trace */
#define TRACE_NEAR 0.002 /* squared distance of root frequencies: nearly the same histogram */

struct trace {
	char family[32]; /* "normal" or an attack */
	uint32_t session; /* 0 = not told */
	size_t n, n_grams, group;
	uint16_t *call; /* [n] */
	uint64_t *gram; /* [n_grams], sorted */
	float root[SEMANTOS_CALLS]; /* of the frequencies */
};

static inline void trace_free(struct trace *trace, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(trace[i].call);
		free(trace[i].gram);
	}
	free(trace);
}

static inline int trace_by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static inline void trace_finish(struct trace *trace)
{
	trace->n_grams = trace->n >= TRACE_GRAM ? trace->n - TRACE_GRAM + 1 : 0;
	trace->gram = calloc(trace->n_grams + 1, sizeof(*trace->gram));
	for (size_t i = 0; i < trace->n_grams; i++)
		for (size_t j = 0; j < TRACE_GRAM; j++)
			trace->gram[i] = trace->gram[i] << 9 | (trace->call[i + j] & 511);
	qsort(trace->gram, trace->n_grams, sizeof(*trace->gram), trace_by_value);
	for (size_t i = 0; i < trace->n; i++)
		trace->root[calls_of_i386(trace->call[i])]++;
	for (size_t i = 0; i < SEMANTOS_CALLS; i++)
		trace->root[i] = sqrtf(trace->root[i] / (float)trace->n);
}

static inline bool trace_same(const struct trace *a, const struct trace *b)
{
	return a->n == b->n && memcmp(a->call, b->call, a->n * sizeof(*a->call)) == 0;
}

static inline bool trace_alike(const struct trace *a, const struct trace *b)
{
	size_t x = 0, y = 0, both = 0;
	float distance = 0;

	for (size_t i = 0; i < SEMANTOS_CALLS; i++)
		distance += (a->root[i] - b->root[i]) * (a->root[i] - b->root[i]);
	if (distance <= (float)TRACE_NEAR)
		return true;
	if ((double)a->n_grams < TRACE_ALIKE * (double)b->n_grams ||
		(double)b->n_grams < TRACE_ALIKE * (double)a->n_grams)
		return false;
	while (x < a->n_grams && y < b->n_grams) {
		both += a->gram[x] == b->gram[y];
		if (a->gram[x] == b->gram[y]) {
			x++;
			y++;
		} else if (a->gram[x] < b->gram[y]) {
			x++;
		} else {
			y++;
		}
	}
	return (double)both >= TRACE_ALIKE * (double)(a->n_grams + b->n_grams - both);
}

/* The distinct traces of a file with the columns set, family, session, id, n, calls; *read: how many there were. */
static inline struct trace *trace_read(const char *path, size_t *n, size_t *read)
{
	static char line[1 << 17];
	struct trace *trace = calloc(8192, sizeof(*trace));
	gzFile in = gzopen(path, "rb");

	*n = *read = 0;
	if (!in || !trace || !gzgets(in, line, sizeof(line)))
		return NULL;
	while (*n < 8192 && gzgets(in, line, sizeof(line))) {
		struct trace *to = &trace[*n];
		char *field[6], *at = line, *end;
		size_t i;

		for (i = 0; i < 6 && at; i++) {
			field[i] = at;
			at = strchr(at, '\t');
			if (at)
				*at++ = '\0';
		}
		if (i < 6)
			continue;
		(*read)++;
		memset(to, 0, sizeof(*to));
		strncpy(to->family, field[1], sizeof(to->family) - 1);
		to->session = (uint32_t)strtoul(field[2], NULL, 10);
		to->call = calloc(strlen(field[5]) / 2 + 1, sizeof(*to->call));
		for (at = field[5];; at = end) {
			unsigned long call = strtoul(at, &end, 10);

			if (end == at)
				break;
			to->call[to->n++] = (uint16_t)call;
		}
		for (i = 0; i < *n && !trace_same(&trace[i], to); i++)
			continue;
		if (i < *n || !to->n) {
			free(to->call);
			continue;
		}
		trace_finish(to);
		(*n)++;
	}
	gzclose(in);
	return trace;
}

static inline size_t trace_root(size_t *parent, size_t i)
{
	while (parent[i] != i)
		i = parent[i] = parent[parent[i]];
	return i;
}

/* Near-duplicates, and near-duplicates of those, get one group. */
static inline void trace_group(struct trace *trace, size_t n)
{
	size_t *parent = calloc(n, sizeof(*parent));

	for (size_t i = 0; i < n; i++) {
		parent[i] = i;
		for (size_t j = 0; j < i; j++)
			if (trace_root(parent, i) != trace_root(parent, j) &&
				trace_alike(&trace[i], &trace[j]))
				parent[trace_root(parent, i)] = trace_root(parent, j);
	}
	for (size_t i = 0; i < n; i++)
		trace[i].group = trace_root(parent, i);
	free(parent);
}

/* Of the first `most` calls, as a window has them. */
static inline void trace_count(const struct trace *trace, size_t most, uint16_t *count)
{
	memset(count, 0, SEMANTOS_CALLS * sizeof(*count));
	for (size_t i = 0; i < trace->n && i < most; i++)
		count[calls_of_i386(trace->call[i])]++;
}

#endif
