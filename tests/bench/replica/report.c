// SPDX-License-Identifier: Apache-2.0
/*
 * report.c - the tables and verdicts of `make bench-replica`, from what replay.c printed.
 *
 * Usage: report RUNS CSV JSON CELLS    RUNS: lines "run" and "reads"; the other three are written. CELLS is for plot.sh.
 * A trace is one volume, mix and seed; a cell is all traces of a volume and a mix. A missed goal is printed as such and
 * is no failure. Exit: 0, or 1 with a sentence; also when the machine's CPU was busy half of the time or more in a run, for
 * then it is the machine that was measured.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "tests/bench/replica/runs.h"

#define TRACES_MOST 64
#define CELLS_MOST 32
#define NOTABLE \
	1.10 /* the best row without learning takes so many times the oracle's time: there is something to gain */
#define GAP_GOAL .60
#define BUSY_MOST 500 /* of 1000 */

enum kind { PLAIN, HEDGE, LEARNED, CONTROL, ORACLE };

static const struct {
	const char *name;
	enum kind kind;
} rows[] = {
	{ "first", PLAIN },
	{ "random", PLAIN },
	{ "fewest", PLAIN },
	{ "ewma", PLAIN },
	{ "hedge", HEDGE },
	{ "latency", LEARNED },
	{ "latency-hedge", LEARNED },
	{ "inline", LEARNED },
	{ "async", LEARNED },
	{ "linnos-digits", LEARNED },
	{ "heimdall", LEARNED },
	{ "permuted", CONTROL },
	{ "always-fast", CONTROL },
	{ "always-slow", CONTROL },
	{ "oracle", ORACLE },
};
#define ROWS (sizeof(rows) / sizeof(rows[0]))

struct cell {
	const char *volume, *mix;
	size_t traces;
	const struct run *run[ROWS][TRACES_MOST]; /* NULL: not run */
	double mean[ROWS], p99[ROWS], extra[ROWS]; /* extra: share of the reads; mean 0: not run */
	int best; /* row without learning of the least mean */
	bool notable;
};

static struct runs runs;
static struct cell cells[CELLS_MOST];
static size_t n_cells;
static unsigned int stretch; /* of most runs; others are the repetition */
static unsigned int missed;
static FILE *json;

static int row_number(const char *name)
{
	for (size_t i = 0; i < ROWS; i++)
		if (!strcmp(rows[i].name, name))
			return (int)i;
	return -1;
}

static struct cell *cell_of(const struct run *r)
{
	struct cell *c = cells;

	while (c < cells + n_cells && (strcmp(c->volume, r->volume) || strcmp(c->mix, r->mix)))
		c++;
	if (c == cells + n_cells && n_cells++ < CELLS_MOST)
		*c = (struct cell){ .volume = r->volume, .mix = r->mix };
	return c < cells + CELLS_MOST ? c : NULL;
}

/* Each trace once, found by its run of fewest outstanding; then each row's runs of it. */
static int gather(void)
{
	int fewest = row_number("fewest");

	for (size_t i = 0; i < runs.n; i++) {
		const struct run *r = &runs.run[i];
		struct cell *c;

		if (strcmp(r->row, "fewest") || r->stretch != stretch)
			continue;
		c = cell_of(r);
		if (!c || c->traces == TRACES_MOST)
			return -E2BIG;
		for (size_t row = 0; row < ROWS; row++)
			c->run[row][c->traces] = runs_find(
				&runs, r->volume, r->mix, r->seed, rows[row].name, stretch);
		c->traces++;
	}
	for (struct cell *c = cells; c < cells + n_cells; c++) {
		c->best = fewest;
		for (size_t row = 0; row < ROWS; row++) {
			bool all = true;

			for (size_t t = 0; t < c->traces; t++)
				all = all && c->run[row][t] &&
				      c->run[row][t]->reads == c->run[fewest][t]->reads;
			for (size_t t = 0; all && t < c->traces; t++) {
				const struct run *r = c->run[row][t];

				c->mean[row] += run_mean(r) / (double)c->traces;
				c->p99[row] += run_p99(r) / (double)c->traces;
				/* What the default counts beyond one a read are reads that the disks were given in parts. */
				c->extra[row] += (double)(r->extra - c->run[fewest][t]->extra) /
						 r->reads / (double)c->traces;
			}
		}
		for (size_t row = 0; row < ROWS; row++)
			if (rows[row].kind <= HEDGE && c->mean[row] > 0 &&
				c->mean[row] < c->mean[c->best])
				c->best = (int)row;
		c->notable = c->mean[row_number("oracle")] > 0 &&
			     c->mean[c->best] > NOTABLE * c->mean[row_number("oracle")];
	}
	return n_cells ? 0 : -ENOENT;
}

static void verdict(const char *goal, const char *where, bool met, const char *text)
{
	missed += !met;
	printf("  %-4s  %s, %s: %s\n", met ? "met" : "MISS", goal, where, text);
	fprintf(json, "%s{\"goal\":\"%s\",\"where\":\"%s\",\"met\":%s,\"found\":\"%s\"}", ",", goal,
		where, met ? "true" : "false", text);
}

/* ---- the tables ---- */

static void print_cell(const struct cell *c)
{
	int fewest = row_number("fewest"), oracle = row_number("oracle");
	unsigned int reads = 0;

	for (size_t t = 0; t < c->traces; t++)
		reads += c->run[fewest][t]->reads;
	printf("%s, %s: %zu traces, %u reads; %s; best row without learning: %s\n", c->volume,
		c->mix, c->traces, reads,
		c->notable ? "the oracle is more than 10 % below"
			   : "at most 10 % are left to the oracle",
		rows[c->best].name);
	printf("  %-14s %9s %9s %24s %24s %7s %6s  %s\n", "row", "mean us", "p99 us",
		"mean against fewest", "p99 against fewest", "extra", "CPU",
		"gap to oracle closed");
	for (size_t row = 0; row < ROWS; row++) {
		struct interval mean, p99, gap = { 0 };
		unsigned int cpu = 0;

		if (c->mean[row] <= 0)
			continue;
		for (size_t t = 0; t < c->traces; t++)
			cpu = c->run[row][t]->cpu > cpu ? c->run[row][t]->cpu : cpu;
		mean = runs_ratio(c->run[row], c->run[fewest], c->traces, 0);
		p99 = runs_ratio(c->run[row], c->run[fewest], c->traces, 1);
		printf("  %-14s %9.1f %9.1f %+7.1f %% [%+6.1f %+6.1f] %+7.1f %% [%+6.1f %+6.1f] "
		       "%5.1f %% %4.1f %%",
			rows[row].name, c->mean[row], c->p99[row], 100 * mean.value, 100 * mean.low,
			100 * mean.high, 100 * p99.value, 100 * p99.low, 100 * p99.high,
			100 * c->extra[row], cpu / 10.);
		if (c->notable && (rows[row].kind == LEARNED || rows[row].kind == CONTROL)) {
			gap = runs_gap_closed(
				c->run[c->best], c->run[row], c->run[oracle], c->traces);
			printf("  %5.0f %% [%.0f %.0f]", 100 * gap.value, 100 * gap.low,
				100 * gap.high);
		}
		printf("\n");
		fprintf(json,
			"%s{\"volume\":\"%s\",\"mix\":\"%s\",\"row\":\"%s\",\"traces\":%zu,\"mean_"
			"us\":%.1f,\"p99_us\":%.1f,"
			"\"mean_ratio\":[%.4f,%.4f,%.4f],\"p99_ratio\":[%.4f,%.4f,%.4f],\"extra_"
			"reads\":%.4f,"
			"\"guest_cpu\":%.3f,\"notable\":%s,\"gap_closed\":[%.3f,%.3f,%.3f]}",
			c == cells && row == (size_t)row_number("first") ? "" : ",", c->volume,
			c->mix, rows[row].name, c->traces, c->mean[row], c->p99[row],
			mean.value + 1, mean.low + 1, mean.high + 1, p99.value + 1, p99.low + 1,
			p99.high + 1, c->extra[row], cpu / 1000., c->notable ? "true" : "false",
			gap.value, gap.low, gap.high);
	}
}

/* The rows that were run again with another stretch: what the stretch itself does to a figure. */
static void print_repeated(void)
{
	for (size_t i = 0; i < runs.n; i++) {
		const struct run *r = &runs.run[i], *same;

		if (r->stretch == stretch)
			continue;
		same = runs_find(&runs, r->volume, r->mix, r->seed, r->row, stretch);
		if (!same)
			continue;
		printf("again with time stretched by %u: %s, %s, seed %u, %s: mean %.1f us (%+.1f "
		       "%%), p99 %.1f us (%+.1f %%)\n",
			r->stretch, r->volume, r->mix, r->seed, r->row, run_mean(r),
			100 * (run_mean(r) / run_mean(same) - 1), run_p99(r),
			100 * (run_p99(r) / run_p99(same) - 1));
	}
}

/* ---- the goals ---- */

/* Traces of one learned row that are worse than fewest outstanding, by the interval's lower end. */
static void never_worse(size_t row)
{
	int fewest = row_number("fewest");
	unsigned int judged = 0, worse = 0;
	char text[512] = "", where[64];

	for (struct cell *c = cells; c < cells + n_cells; c++)
		for (size_t t = 0; t < c->traces; t++)
			for (int p99 = 0; p99 < 2 && c->run[row][t]; p99++) {
				struct interval i =
					runs_ratio(&c->run[row][t], &c->run[fewest][t], 1, p99);
				size_t n = strlen(text);

				if (c->notable && !p99)
					continue; /* judged by the gap */
				judged++;
				if (i.low <= 0)
					continue;
				worse++;
				snprintf(text + n, sizeof(text) - n, "; %s %s %u %s %+.1f %%",
					c->volume, c->mix, c->run[row][t]->seed,
					p99 ? "p99" : "mean", 100 * i.value);
			}
	if (!judged)
		return;
	snprintf(where, sizeof(where), "%u figures", judged);
	if (!worse)
		snprintf(text, sizeof(text), "; none is");
	verdict("no trace worse than fewest outstanding", where, !worse, text + 2);
}

static void judge_gap(const struct cell *c, size_t row)
{
	int oracle = row_number("oracle"), hedge = row_number("hedge");
	struct interval gap =
		runs_gap_closed(c->run[c->best], c->run[row], c->run[oracle], c->traces);
	bool below = c->mean[hedge] <= 0 ||
		     (c->mean[row] < c->mean[hedge] && c->extra[row] <= c->extra[hedge] / 10);
	char text[256], where[96];

	snprintf(where, sizeof(where), "%s, %s %s", rows[row].name, c->volume, c->mix);
	snprintf(text, sizeof(text),
		"%.0f %% closed [%.0f %.0f], %.1f us against %.1f of hedging with %.1f %% extra "
		"reads",
		100 * gap.value, 100 * gap.low, 100 * gap.high, c->mean[row], c->mean[hedge],
		100 * c->extra[hedge]);
	verdict("60 % of the gap, and below hedging", where, gap.value >= GAP_GOAL && below, text);
}

static void judge_control(const struct cell *c, size_t row)
{
	struct interval i = runs_ratio(c->run[row], c->run[row_number("fewest")], c->traces, 0);
	char text[128], where[96];

	snprintf(where, sizeof(where), "%s, %s %s", rows[row].name, c->volume, c->mix);
	snprintf(text, sizeof(text), "mean %+.1f %% [%+.1f %+.1f]", 100 * i.value, 100 * i.low,
		100 * i.high);
	verdict("a control gains nothing", where, i.high >= 0, text);
}

static void judge(void)
{
	unsigned int learned = 0;

	printf("goals%s\n", runs.simulated ? ", as the simulation sees them" : "");
	for (size_t row = 0; row < ROWS; row++) {
		for (struct cell *c = cells; c < cells + n_cells; c++) {
			if (c->mean[row] <= 0)
				continue;
			learned += rows[row].kind == LEARNED;
			if (rows[row].kind == LEARNED && c->notable)
				judge_gap(c, row);
			else if (rows[row].kind == CONTROL)
				judge_control(c, row);
		}
		if (rows[row].kind == LEARNED)
			never_worse(row);
	}
	if (!learned)
		printf("  no row that learns was run: nothing to judge\n");
}

/* How many runs left the machine too little of its CPU. */
static unsigned int too_busy(void)
{
	unsigned int n = 0;

	for (size_t i = 0; i < runs.n; i++) {
		const struct run *r = &runs.run[i];

		if (r->cpu < BUSY_MOST)
			continue;
		n++;
		printf("not valid: %s, %s, seed %u, %s kept the CPU busy for %.1f %% of the time: "
		       "stretch it by more than %u\n",
			r->volume, r->mix, r->seed, r->row, r->cpu / 10., r->stretch);
	}
	return n;
}

/* The stretch that most runs have. */
static unsigned int usual_stretch(void)
{
	unsigned int best = 0, most = 0, n;

	for (size_t i = 0; i < runs.n; i++) {
		n = 0;
		for (size_t k = 0; k < runs.n; k++)
			n += runs.run[k].stretch == runs.run[i].stretch;
		if (n > most) {
			most = n;
			best = runs.run[i].stretch;
		}
	}
	return best;
}

static void write_cells(FILE *to)
{
	fprintf(to, "cell");
	for (size_t row = 0; row < ROWS; row++)
		fprintf(to, " %s", rows[row].name);
	for (struct cell *c = cells; c < cells + n_cells; c++) {
		fprintf(to, "\n\"%s %s\"", c->volume, c->mix);
		for (size_t row = 0; row < ROWS; row++)
			if (c->mean[row] > 0)
				fprintf(to, " %.4f", c->mean[row] / c->mean[row_number("fewest")]);
			else
				fprintf(to, " -");
	}
	fprintf(to, "\n");
}

static FILE *open_or_say(const char *path, const char *how)
{
	FILE *file = fopen(path, how);

	if (!file)
		fprintf(stderr, "report: %s: %s\n", path, strerror(errno));
	return file;
}

int main(int argc, char **argv)
{
	FILE *from, *csv, *plot;

	if (argc != 5) {
		fprintf(stderr, "Usage: report RUNS CSV JSON CELLS\n");
		return 2;
	}
	from = open_or_say(argv[1], "r");
	csv = open_or_say(argv[2], "w");
	json = open_or_say(argv[3], "w");
	plot = open_or_say(argv[4], "w");
	if (!from || !csv || !json || !plot || runs_read(&runs, from))
		return 1;
	stretch = usual_stretch();
	if (gather()) {
		fprintf(stderr, "report: %s has no run of the row fewest\n", argv[1]);
		return 1;
	}
	runs_write_csv(&runs, csv);
	printf("%s All times are stretched by %u and shown divided by it.\n"
	       "[ ] is the 95 %% interval by block bootstrap of paired traces, 40 ms a block.\n",
		runs.simulated
			? "SIMULATED: no kernel, no block layer and no machine took part. No "
			  "figure here is a "
			  "measurement, and no goal is met or missed by one."
			: "Emulated: QEMU TCG, one vCPU, its clock counts instructions (icount).",
		stretch);
	fprintf(json,
		"{\"bench\":\"replica\",\"simulated\":%s,\"emulated\":%s,\"clock\":\"%s\","
		"\"stretch\":%u,\"cells\":[",
		runs.simulated ? "true" : "false", runs.simulated ? "false" : "true",
		runs.simulated ? "none" : "icount", stretch);
	for (struct cell *c = cells; c < cells + n_cells; c++)
		print_cell(c);
	print_repeated();
	fprintf(json, "],\"goals\":[null");
	judge();
	fprintf(json, "],\"missed\":%u}\n", missed);
	write_cells(plot);
	printf("%u goals missed\n", missed);
	if (too_busy())
		return 1;
	return fclose(csv) || fclose(json) || fclose(plot);
}
