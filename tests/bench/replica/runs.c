// SPDX-License-Identifier: Apache-2.0
/* runs.c - reads what replay.c printed, and compares runs; runs.h says how. */
#include "tests/bench/replica/runs.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "tests/bench/replica/trace.h"

#define BLOCK_MS 40 /* about one slow period and the fast one before it */
#define READ_SHARE .24
#define ROWS_AT_ONCE 3

static int read_run(struct runs *runs, const char *line)
{
	struct run *r = &runs->run[runs->n];

	if (runs->n == RUNS_MOST ||
		sscanf(line, "run %31s %31s %u %31s %31s %u %u %lld %u", r->volume, r->mix,
			&r->seed, r->set, r->row, &r->stretch, &r->reads, &r->extra,
			&r->cpu) != 9 ||
		!r->reads || r->reads > 10000000)
		return -EINVAL;
	r->us = calloc(r->reads, sizeof(*r->us));
	r->leg = calloc(r->reads, 1);
	runs->n++;
	return r->us && r->leg ? 0 : -ENOMEM;
}

static int read_reads(struct runs *runs, char *line)
{
	struct run *r = runs->n ? &runs->run[runs->n - 1] : NULL;
	char volume[32], mix[32], row[32], *word, *rest = NULL;
	unsigned int seed, stretch, first, leg;
	double tenths;
	int at = 0;

	if (!r ||
		sscanf(line, "reads %31s %31s %u %31s %u %u%n", volume, mix, &seed, row, &stretch,
			&first, &at) != 6 ||
		first != r->filled || strcmp(row, r->row) != 0)
		return -EINVAL;
	for (word = strtok_r(line + at, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
		if (r->filled == r->reads || sscanf(word, "%lf:%u", &tenths, &leg) != 2)
			return -EINVAL;
		r->us[r->filled] = (float)(tenths / 10);
		r->leg[r->filled++] = (uint8_t)leg;
	}
	return 0;
}

int runs_read(struct runs *runs, FILE *from)
{
	char *line = NULL;
	size_t room = 0, number = 0;
	int err = 0;

	while (!err && getline(&line, &room, from) > 0) {
		number++;
		if (!strncmp(line, "run ", 4))
			err = read_run(runs, line);
		else if (!strncmp(line, "reads ", 6))
			err = read_reads(runs, line);
		else if (!strcmp(line, "simulated\n"))
			runs->simulated = true;
	}
	free(line);
	for (size_t i = 0; !err && i < runs->n; i++)
		if (runs->run[i].filled != runs->run[i].reads)
			err = -EINVAL;
	if (err)
		fprintf(stderr,
			"report: line %zu is not what replay prints, or lines are missing\n",
			number);
	return err;
}

void runs_write_csv(const struct runs *runs, FILE *to)
{
	fprintf(to, "volume,mix,seed,set,row,stretch,read,latency_us,leg\n");
	for (size_t i = 0; i < runs->n; i++) {
		const struct run *r = &runs->run[i];

		for (unsigned int k = 0; k < r->reads; k++)
			fprintf(to, "%s,%s,%u,%s,%s,%u,%u,%.1f,%u\n", r->volume, r->mix, r->seed,
				r->set, r->row, r->stretch, k, (double)r->us[k], r->leg[k]);
	}
}

const struct run *runs_find(const struct runs *runs, const char *volume, const char *mix,
	unsigned int seed, const char *row, unsigned int stretch)
{
	for (size_t i = 0; i < runs->n; i++) {
		const struct run *r = &runs->run[i];

		if (!strcmp(r->volume, volume) && !strcmp(r->mix, mix) && r->seed == seed &&
			!strcmp(r->row, row) && r->stretch == stretch)
			return r;
	}
	return NULL;
}

static double mean_of(const float *us, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (double)us[i];
	return n ? sum / (double)n : 0;
}

/* Wirth's selection (1976), after Hoare's; reorders. */
static double p99_of(float *us, size_t n)
{
	ptrdiff_t low = 0, high = (ptrdiff_t)n - 1, want = (ptrdiff_t)(n * 99 / 100), i, j;
	float pivot, t;

	while (low < high) {
		pivot = us[want];
		i = low;
		j = high;
		do {
			while (us[i] < pivot)
				i++;
			while (pivot < us[j])
				j--;
			if (i <= j) {
				t = us[i];
				us[i++] = us[j];
				us[j--] = t;
			}
		} while (i <= j);
		if (j < want)
			low = i;
		if (want < i)
			high = j;
	}
	return n ? (double)us[want] : 0;
}

double run_mean(const struct run *run)
{
	return mean_of(run->us, run->reads);
}

double run_p99(const struct run *run)
{
	float *copy = malloc(run->reads * sizeof(*copy));
	double result = 0;

	if (copy) {
		memcpy(copy, run->us, run->reads * sizeof(*copy));
		result = p99_of(copy, run->reads);
	}
	free(copy);
	return result;
}

static uint64_t draw(uint64_t *rng)
{
	uint64_t z = (*rng += 0x9e3779b97f4a7c15ULL);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

/* One resampling of the traces of `n_rows` rows, the same blocks of all; figure[row]: the traces' mean of it. */
static void resample(const struct run *const *const *rows, size_t n_rows, size_t traces, int p99,
	float *const *room, uint64_t *rng, double *figure)
{
	for (size_t row = 0; row < n_rows; row++)
		figure[row] = 0;
	for (size_t t = 0; t < traces; t++) {
		size_t n = rows[0][t]->reads, done = 0;
		size_t block = (size_t)(trace_count(rows[0][t]->mix, BLOCK_MS) * READ_SHARE) + 1;

		while (done < n) {
			size_t from = draw(rng) % n;

			for (size_t i = 0; i < block && done < n; i++, done++)
				for (size_t row = 0; row < n_rows; row++)
					room[row][done] = rows[row][t]->us[(from + i) % n];
		}
		for (size_t row = 0; row < n_rows; row++)
			figure[row] += (p99 ? p99_of(room[row], n) : mean_of(room[row], n)) /
				       (double)traces;
	}
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double ratio(const double *figure)
{
	return figure[1] > 0 ? figure[0] / figure[1] - 1 : 0;
}

static double gap(const double *figure)
{
	double whole = figure[0] - figure[2];

	return whole > 0 ? (figure[0] - figure[1]) / whole : 0;
}

static struct interval bootstrap(const struct run *const *const *rows, size_t n_rows, size_t traces,
	int p99, double (*statistic)(const double *figure))
{
	double value[RESAMPLES], figure[ROWS_AT_ONCE] = { 0 };
	struct interval result = { 0 };
	float *room[ROWS_AT_ONCE] = { 0 };
	uint64_t rng = 20230325;
	size_t most = 0;
	bool good = traces > 0;

	for (size_t t = 0; t < traces; t++)
		for (size_t row = 0; row < n_rows; row++) {
			good = good && rows[row][t]->reads == rows[0][t]->reads;
			most = rows[row][t]->reads > most ? rows[row][t]->reads : most;
		}
	for (size_t row = 0; row < n_rows; row++) {
		room[row] = malloc(most * sizeof(float) + 1);
		good = good && room[row];
	}
	for (size_t t = 0; good && t < traces; t++)
		for (size_t row = 0; row < n_rows; row++)
			figure[row] += (p99 ? run_p99(rows[row][t]) : run_mean(rows[row][t])) /
				       (double)traces;
	result.value = statistic(figure);
	for (int i = 0; good && i < RESAMPLES; i++) {
		resample(rows, n_rows, traces, p99, room, &rng, figure);
		value[i] = statistic(figure);
	}
	if (good) {
		qsort(value, RESAMPLES, sizeof(*value), ascending);
		result.low = value[RESAMPLES * 25 / 1000];
		result.high = value[RESAMPLES * 975 / 1000 - 1];
	}
	for (size_t row = 0; row < n_rows; row++)
		free(room[row]);
	return result;
}

struct interval runs_ratio(
	const struct run *const *a, const struct run *const *b, size_t traces, int p99)
{
	const struct run *const *rows[] = { a, b };

	return bootstrap(rows, 2, traces, p99, ratio);
}

struct interval runs_gap_closed(const struct run *const *base, const struct run *const *row,
	const struct run *const *best, size_t traces)
{
	const struct run *const *rows[] = { base, row, best };

	return bootstrap(rows, 3, traces, 0, gap);
}
