// SPDX-License-Identifier: Apache-2.0
/*
 * knn.c - exact k nearest neighbours: an 8-bit look at everything, a double look at what could matter.
 *
 * |q - r|^2 = |q|^2 - 2 (q.r - |r|^2 / 2), so near means a large f = q.r - |r|^2 / 2 (from any origin: the mean row). With q' and r' the rounded rows,
 * |q.r - q'.r'| <= |q - q'| |r| + |q'| |r - r'|: one number e a query. What lies more than 2e below the k-th largest
 * estimate cannot be among the nearest k. Owns the set and the scratch; any thread with a scratch of its own.
 */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/amx.h"
#include "agent/infer/engine.h"
#include "agent/infer/knn.h"
#include "agent/infer/knn_engine.h"

#define LARGEST 1e15f /* squares and their sums stay far from the end of floats and doubles */
#define LARGEST_UNIT 1e30 /* what is smaller than its inverse is not for floats */
#define MOST_START 0x1p28 /* of a start: leaves room for 1,024 products of bytes in 31 bits */

struct knn_set {
	size_t n, width, stride, padded, groups; /* padded: n up to whole panels */
	float *row; /* [n][stride], zeros past the width */
	uint32_t *label; /* [n] */
	const struct knn_engine
		*engine; /* of the filter; NULL without it, and so is what follows */
	uint32_t *reference; /* see sums() */
	float *half_length; /* [padded]: |r|^2 / 2, by place(); LARGEST^2 for rows that do not exist */
	double *centre; /* [stride]: the mean row; the filter sees what is left without it */
	bool amx;
	double step, longest, rounding, most_half; /* largest |r|, |r - r'| and |r|^2 / 2 */
};

struct knn_scratch {
	int16_t *sum; /* [KNN_QUERIES][padded] */
	int32_t *whole; /* the same before they are narrowed, for AMX, else NULL */
	int32_t *start, *query;
	uint32_t *index, *base;
	uint64_t *mask;
	double *wide; /* [KNN_QUERIES][stride]: the queries */
	uint64_t measured;
};

static bool usable(const float *values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!(fabsf(values[i]) <= LARGEST))
			return false;
	return true;
}

static double plain_distance(const float *a, const float *b, size_t width)
{
	double sum = 0;

	for (size_t i = 0; i < width; i++) {
		double d = (double)a[i] - b[i];

		sum += d * d;
	}
	return sum;
}

static double round_to(double value, double step)
{
	return step > 0 ? rint(value / step) : 0;
}

/* AVX-512 counts for the filter only with 8-bit products: without them the narrower vectors are the next best. */
static const struct knn_engine *choose_engine(bool amx)
{
	if (amx || engine_has_vnni())
		return &knn_avx512;
	return engine_choose()->lanes ? &knn_avx2 : NULL;
}

static int filter_prepare(struct knn_set *set)
{
	const struct knn_engine *engine = set->engine;
	double most = 0;

	set->groups = (set->width + 3) / 4;
	set->reference = (uint32_t *)gemm_alloc(set->padded * set->groups);
	set->half_length = gemm_alloc(set->padded);
	set->centre = (double *)gemm_alloc(2 * set->stride);
	if (!set->reference || !set->half_length || !set->centre)
		return -ENOMEM;
	for (size_t i = 0; i < set->n * set->stride; i++)
		set->centre[i % set->stride] += set->row[i] / (double)set->n;
	for (size_t i = 0; i < set->n * set->stride; i++)
		most = fmax(most, fabs(set->row[i] - set->centre[i % set->stride]));
	set->step = most / engine->steps;
	for (size_t r = 0; r < set->n; r++) {
		const float *row = set->row + r * set->stride;
		size_t panel = r / KNN_PANEL * KNN_PANEL, place = engine->place(r % KNN_PANEL);
		uint8_t *byte = (uint8_t *)(set->reference + panel * set->groups + place);
		double length = 0, off = 0;

		for (size_t i = 0; i < set->width; i++) {
			double value = row[i] - set->centre[i];
			double whole = round_to(value, set->step);
			double error = value - whole * set->step;

			byte[i / 4 * KNN_PANEL * 4 + i % 4] =
				(uint8_t)((int)whole + engine->steps + 1);
			length += value * value;
			off += error * error;
		}
		set->half_length[panel + place] = (float)(length / 2);
		set->most_half = fmax(set->most_half, length / 2);
		set->longest = fmax(set->longest, sqrt(length));
		set->rounding = fmax(set->rounding, sqrt(off));
	}
	return 0;
}

struct knn_set *knn_new(const float *rows, const uint32_t *labels, size_t n, size_t width)
{
	struct knn_set *set;

	if (n == 0 || n > KNN_MAX_ROWS || width == 0 || width > KNN_MAX_WIDTH ||
		!usable(rows, n * width)) {
		errno = EINVAL;
		return NULL;
	}
	set = calloc(1, sizeof(*set));
	if (!set)
		return NULL;
	set->n = n;
	set->width = width;
	set->padded = (n + KNN_PANEL - 1) / KNN_PANEL * KNN_PANEL;
	set->stride = KNN_STRIDE(width);
	set->row = gemm_alloc(n * set->stride);
	set->label = calloc(n, sizeof(uint32_t));
	if (!set->row || !set->label)
		goto fail;
	for (size_t r = 0; r < n; r++)
		memcpy(set->row + r * set->stride, rows + r * width, width * sizeof(float));
	if (labels)
		memcpy(set->label, labels, n * sizeof(uint32_t));
	set->amx = engine_has_amx();
	set->engine = choose_engine(set->amx);
	if (set->engine && filter_prepare(set))
		goto fail;
	return set;
fail:
	knn_free(set);
	errno = ENOMEM;
	return NULL;
}

void knn_free(struct knn_set *set)
{
	if (!set)
		return;
	free(set->row);
	free(set->label);
	free(set->reference);
	free(set->half_length);
	free(set->centre);
	free(set);
}

struct knn_scratch *knn_scratch_new(const struct knn_set *set)
{
	struct knn_scratch *scratch = calloc(1, sizeof(*scratch));

	if (!scratch)
		return NULL;
	if (!set->engine)
		return scratch;
	scratch->sum = (int16_t *)gemm_alloc(KNN_QUERIES * set->padded / 2);
	if (set->amx)
		scratch->whole = (int32_t *)gemm_alloc(KNN_QUERIES * set->padded);
	scratch->start = (int32_t *)gemm_alloc(set->padded);
	/* round() writes whole strides. */
	scratch->query = (int32_t *)gemm_alloc(KNN_QUERIES * set->groups + 1);
	scratch->index = (uint32_t *)gemm_alloc(set->padded + 1);
	scratch->base = (uint32_t *)gemm_alloc(set->padded / 64 + 1);
	scratch->mask = (uint64_t *)gemm_alloc(2 * (set->padded / 64 + 1));
	scratch->wide = (double *)gemm_alloc(2 * KNN_QUERIES * set->stride);
	if (scratch->sum && scratch->start && scratch->query && scratch->index && scratch->base &&
		scratch->mask && scratch->wide && (scratch->whole || !set->amx))
		return scratch;
	knn_scratch_free(scratch);
	errno = ENOMEM;
	return NULL;
}

void knn_scratch_free(struct knn_scratch *scratch)
{
	if (!scratch)
		return;
	free(scratch->sum);
	free(scratch->start);
	free(scratch->query);
	free(scratch->index);
	free(scratch->whole);
	free(scratch->base);
	free(scratch->mask);
	free(scratch->wide);
	free(scratch);
}

/* Into found[0..have), sorted by distance, then index; candidates come in order of their index. */
static size_t insert(struct knn_neighbour *found, size_t have, size_t k, uint32_t index,
	uint32_t label, double distance)
{
	size_t at;

	if (have == k && distance >= found[k - 1].distance)
		return have;
	if (have < k)
		have++;
	for (at = have - 1; at && found[at - 1].distance > distance; at--)
		found[at] = found[at - 1];
	found[at] = (struct knn_neighbour){ index, label, distance };
	return have;
}

static void search_plain(const struct knn_set *set, struct knn_scratch *scratch, const float *query,
	size_t k, struct knn_neighbour *found)
{
	size_t have = 0;

	for (size_t r = 0; r < set->n; r++)
		have = insert(found, have, k, (uint32_t)r, set->label[r],
			plain_distance(query, set->row + r * set->stride, set->width));
	scratch->measured += set->n;
}

/*
 * The nearest k of the picked rows, which stand in order of their index. Few are put in order at once, without a branch
 * that depends on a distance; of many most come too late for a place.
 */
static void choose(const struct knn_set *set, const struct knn_scratch *scratch,
	const double *query, size_t picked, size_t k, struct knn_neighbour *found)
{
	struct knn_neighbour ordered[KNN_RANKED];
	double distance[KNN_RANKED] __attribute__((aligned(64)));
	uint32_t rank[KNN_RANKED] __attribute__((aligned(64)));
	size_t have = 0;

	for (size_t at = 0, n; at < picked; at += n) {
		const uint32_t *index = scratch->index + at;

		n = picked - at < KNN_RANKED ? picked - at : KNN_RANKED;
		set->engine->distances(query, set->row, set->stride, index, n, distance);
		if (picked > KNN_RANKED) {
			for (size_t i = 0; i < n; i++)
				have = insert(found, have, k, index[i], set->label[index[i]],
					distance[i]);
			continue;
		}
		for (size_t i = n; i % 8; i++)
			distance[i] = 0;
		set->engine->rank(distance, n, rank);
		for (size_t i = 0; i < n; i++)
			ordered[rank[i]] = (struct knn_neighbour){ index[i], set->label[index[i]],
				distance[i] };
		memcpy(found, ordered, k * sizeof(*found));
	}
}

/* Up to KNN_QUERIES queries; their common step is that of the largest number in them. */
static void search_block(const struct knn_set *set, struct knn_scratch *scratch,
	const float *queries, size_t n, size_t k, struct knn_neighbour *found)
{
	const struct knn_engine *engine = set->engine;
	double unit, step, most = 0, reach = 0, off[KNN_QUERIES] = { 0 },
			   length[KNN_QUERIES] = { 0 };
	int shift = 0;

	for (size_t q = 0; q < n; q++) {
		double *wide = scratch->wide + q * set->stride, largest;

		engine->widen(queries + q * set->width, set->width, wide);
		largest = engine->largest(wide, set->centre, set->stride);
		most = largest > most ? largest : most;
	}
	step = most / KNN_QUERY_STEPS;
	/* A step so small that starts would not fit is made larger, at the cost of a wider net. */
	if (step * set->step * MOST_START < set->most_half)
		step = set->most_half / (set->step * MOST_START);
	unit = step > 0 && set->step > 0 ? 1 / (step * set->step) : 0;
	if (!(unit < LARGEST_UNIT))
		unit = 0;
	memset(scratch->query, 0, KNN_QUERIES * set->groups * sizeof(int32_t));
	engine->starts(set->half_length, (float)unit, scratch->start, set->padded);
	for (size_t r = set->n; r < set->padded; r++)
		scratch->start[r / KNN_PANEL * KNN_PANEL + engine->place(r % KNN_PANEL)] =
			INT32_MIN / 2;
	for (size_t q = 0; step > 0 && q < n; q++) {
		engine->round(scratch->wide + q * set->stride, set->centre, set->stride, step,
			(int8_t *)(scratch->query + q * set->groups), &off[q], &length[q]);
		reach = length[q] > reach ? length[q] : reach;
	}
	/* No sum of a row is further from zero than its largest byte times those of a query, and its start. */
	reach = (step > 0 ? (2 * engine->steps + 1) * sqrt(reach * (double)set->width) / step : 0) +
		set->most_half * unit;
	while (shift < 31 && reach > (double)(INT16_MAX - 1) * (double)(1u << shift))
		shift++;
	if (set->amx) {
		amx_sums(set->reference, set->padded / KNN_PANEL, set->groups, scratch->start,
			scratch->query, scratch->whole);
		engine->narrow(scratch->whole, n * set->padded, shift, scratch->sum);
	} else {
		engine->sums(set->reference, set->padded / KNN_PANEL, set->groups, scratch->start,
			scratch->query, shift, scratch->sum);
	}
	for (size_t q = 0; q < n; q++, found += k) {
		const float *query = queries + q * set->width;
		const int16_t *sum = scratch->sum + q * set->padded;
		size_t picked;
		int32_t least;
		double error;

		/* the start: half a unit, and floats' rounding of the length, the unit and their product */
		error = (sqrt(off[q]) * set->longest + sqrt(length[q]) * set->rounding) * 1.000001 *
				unit +
			1 + set->most_half * unit * 4 * FLT_EPSILON;
		if (!(error < MOST_START) || unit == 0) {
			search_plain(set, scratch, query, k, found);
			continue;
		}
		/* Sums were rounded down: one more of what is left of them. */
		least = engine->least(sum, set->padded, k) - ((int32_t)(2 * error + 1) >> shift) -
			1;
		picked = engine->pick(
			sum, set->padded, least, scratch->index, scratch->mask, scratch->base);
		/* Rows that do not exist are the last ones. */
		while (scratch->index[picked - 1] >= set->n)
			picked--;
		choose(set, scratch, scratch->wide + q * set->stride, picked, k, found);
		scratch->measured += picked;
	}
}

int knn_search(const struct knn_set *set, struct knn_scratch *scratch, const float *queries,
	size_t n, size_t k, struct knn_neighbour *found)
{
	if (k == 0 || k > set->n || k > KNN_MAX_K || !usable(queries, n * set->width))
		return -EINVAL;
	if (!set->engine || k > KNN_PANEL) {
		for (size_t q = 0; q < n; q++)
			search_plain(set, scratch, queries + q * set->width, k, found + q * k);
		return 0;
	}
	for (size_t q = 0; q < n; q += KNN_QUERIES)
		search_block(set, scratch, queries + q * set->width,
			n - q < KNN_QUERIES ? n - q : KNN_QUERIES, k, found + q * k);
	return 0;
}

uint32_t knn_vote(const struct knn_neighbour *found, size_t k)
{
	size_t best = 0, best_count = 0;

	for (size_t i = 0; i < k; i++) {
		size_t count = 0;

		for (size_t j = 0; j < k; j++)
			count += found[j].label == found[i].label;
		if (count > best_count) {
			best = i;
			best_count = count;
		}
	}
	return found[best].label;
}

uint64_t knn_measured(const struct knn_scratch *scratch)
{
	return scratch->measured;
}

const char *knn_engine(const struct knn_set *set)
{
	if (!set->engine)
		return "scalar";
	return set->amx ? "amx" : set->engine->name;
}
