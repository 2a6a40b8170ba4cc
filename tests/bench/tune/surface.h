/* SPDX-License-Identifier: Apache-2.0 */
/*
 * surface.h - how one program answered to a grid of settings: the plan that is recorded, and what a recording says.
 *
 * A configuration is one level of each knob; level 0 of all is the machine as it was found. Each was measured in pairs with
 * level 0, close in time, so its effect is the mean of logarithms of ratios, above 0 is better. What is no more than chance
 * (1 %) counts as nothing, and the rest is shrunk by what chance adds (James and Stein 1961): main effects of each knob, and
 * what they leave to a configuration of its own. Otherwise the best of sixteen would mostly be the luckiest. Beside the grid stand
 * named sets of values (a tuned profile), measured likewise.
 */
#ifndef SEMANTOS_BENCH_TUNE_SURFACE_H
#define SEMANTOS_BENCH_TUNE_SURFACE_H

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SURFACE_KNOBS 6
#define SURFACE_LEVELS 8
#define SURFACE_GRID 128
#define SURFACE_EXTRAS 2
#define SURFACE_EXTRA_KNOBS 8
#define SURFACE_ALL (SURFACE_GRID + SURFACE_EXTRAS)
#define SURFACE_TEXT 128
#define SURFACE_SLICES 8192
#define SURFACE_METRICS 4

/* What the machine did meanwhile, a second, by the telemetry's names: what the advisor tells loads apart by. */
static const struct {
	const char *name, *unit;
} surface_metric[SURFACE_METRICS] = { { "page_in", "bytes" }, { "page_out", "bytes" },
	{ "context_switches", "" }, { "tcp_segments_out", "" } };

struct surface_knob {
	char name[SURFACE_TEXT];
	size_t n;
	char value[SURFACE_LEVELS][SURFACE_TEXT]; /* [0] as the machine was found */
};

struct surface_extra {
	char name[32];
	size_t n;
	char knob[SURFACE_EXTRA_KNOBS][SURFACE_TEXT], value[SURFACE_EXTRA_KNOBS][SURFACE_TEXT];
};

struct surface_plan {
	bool lower_is_better;
	size_t n_knobs, n_extras, n_grid; /* n_grid: configurations of the grid */
	struct surface_knob knob[SURFACE_KNOBS];
	struct surface_extra extra[SURFACE_EXTRAS];
};

struct surface {
	struct surface_plan plan;
	size_t pairs[SURFACE_ALL];
	double mean[SURFACE_ALL]; /* as measured; NaN: never */
	double truth[SURFACE_ALL]; /* shrunk; that of configuration 0 is 0 */
	double error; /* standard deviation of one pair's logarithm */
	double level; /* mean of the objective at configuration 0 */
	size_t n_noise; /* slices as they came, without their configuration's effect */
	double noise[SURFACE_SLICES];
	size_t best; /* of the grid */
	double load_least, load_most; /* of the machine meanwhile */
	double metric[SURFACE_METRICS]; /* means at configuration 0; NaN: not recorded */
};

static inline size_t surface_level(const struct surface_plan *plan, size_t config, size_t knob)
{
	for (size_t k = 0; k < knob; k++)
		config /= plan->knob[k].n;
	return config % plan->knob[knob].n;
}

static inline size_t surface_config(const struct surface_plan *plan, const size_t level[])
{
	size_t config = 0;

	for (size_t k = plan->n_knobs; k-- > 0;)
		config = config * plan->knob[k].n + level[k];
	return config;
}

static inline bool surface_take(char *out, const char *text)
{
	if (!text || !text[0] || strlen(text) >= SURFACE_TEXT)
		return false;
	strcpy(out, text);
	return true;
}

static inline bool surface_plan_line(struct surface_plan *plan, char *line)
{
	char *rest = line, *word = strsep(&rest, "\t"), *text;

	if (strcmp(word, "better") == 0) {
		plan->lower_is_better = rest && strcmp(rest, "lower") == 0;
		return rest != NULL;
	}
	if (strcmp(word, "knob") == 0 && plan->n_knobs < SURFACE_KNOBS) {
		struct surface_knob *knob = &plan->knob[plan->n_knobs++];

		if (!surface_take(knob->name, strsep(&rest, "\t")))
			return false;
		while ((text = strsep(&rest, "\t"))) {
			if (knob->n == SURFACE_LEVELS ||
				!surface_take(knob->value[knob->n++], text))
				return false;
		}
		plan->n_grid *= knob->n;
		return knob->n > 0 && plan->n_grid <= SURFACE_GRID;
	}
	if (strcmp(word, "extra") == 0 && plan->n_extras < SURFACE_EXTRAS) {
		struct surface_extra *extra = &plan->extra[plan->n_extras++];

		snprintf(extra->name, sizeof(extra->name), "%s", rest ? strsep(&rest, "\t") : "");
		while ((text = strsep(&rest, "\t"))) {
			char *equals = strchr(text, '=');

			if (!equals || extra->n == SURFACE_EXTRA_KNOBS)
				return false;
			*equals = '\0';
			if (!surface_take(extra->knob[extra->n], text) ||
				!surface_take(extra->value[extra->n++], equals + 1))
				return false;
		}
		return extra->n > 0;
	}
	return false;
}

/*
 * Lines of words between tabs: "better higher|lower", "knob NAME VALUE...", the machine's own value first, and "extra NAME
 * KNOB=VALUE...". 0 or -EINVAL with the line's number in *at.
 */
static inline int surface_plan_read(struct surface_plan *plan, FILE *file, size_t *at)
{
	char line[2048];

	memset(plan, 0, sizeof(*plan));
	plan->n_grid = 1;
	for (*at = 1; fgets(line, sizeof(line), file); (*at)++) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] && line[0] != '#' && !surface_plan_line(plan, line))
			return -EINVAL;
	}
	return plan->n_grid * (plan->n_knobs > 0) + plan->n_extras > 0 ? 0 : -EINVAL;
}

/* Limit that chance passes once in 100 times, of a sum of df squares (Wilson and Hilferty 1931). */
static inline double surface_chance(double df)
{
	return df * pow(1 - 2 / (9 * df) + 2.326 * sqrt(2 / (9 * df)), 3);
}

/* How much of a sum of squares with df degrees of freedom, of which chance alone makes `variance` each, is effect. */
static inline double surface_shrink(double squares, double df, double variance)
{
	if (df < 1 || squares <= variance * surface_chance(df))
		return 0;
	return 1 - variance * df / squares;
}

static inline void surface_effects(struct surface *s)
{
	const struct surface_plan *plan = &s->plan;
	double variance = s->error * s->error, n = 0, grand = 0, squares = 0, at_home;
	double df = (double)plan->n_grid - 1, part[SURFACE_GRID] = { 0 };

	for (size_t c = 0; c < plan->n_grid; c++) {
		grand += s->mean[c] / (double)plan->n_grid;
		n += (double)s->pairs[c] / (double)plan->n_grid;
	}
	for (size_t c = 0; c < plan->n_grid; c++)
		s->truth[c] = 0;
	for (size_t k = 0; k < plan->n_knobs; k++) {
		double effect[SURFACE_LEVELS] = { 0 }, sum = 0, keep;
		double each = (double)plan->n_grid / (double)plan->knob[k].n;

		for (size_t c = 0; c < plan->n_grid; c++)
			effect[surface_level(plan, c, k)] += (s->mean[c] - grand) / each;
		for (size_t l = 0; l < plan->knob[k].n; l++)
			sum += effect[l] * effect[l];
		df -= (double)plan->knob[k].n - 1;
		keep = surface_shrink(sum, (double)plan->knob[k].n - 1, variance / n / each);
		for (size_t c = 0; c < plan->n_grid; c++) {
			s->truth[c] += keep * effect[surface_level(plan, c, k)];
			part[c] += effect[surface_level(plan, c, k)];
		}
	}
	for (size_t c = 0; c < plan->n_grid; c++)
		squares += pow(s->mean[c] - grand - part[c], 2);
	for (size_t c = 0; c < plan->n_grid; c++)
		s->truth[c] +=
			surface_shrink(squares, df, variance / n) * (s->mean[c] - grand - part[c]);
	at_home = s->truth[0];
	s->best = 0;
	for (size_t c = 0; c < plan->n_grid; c++) {
		s->truth[c] -= at_home;
		if (s->truth[c] > s->truth[s->best])
			s->best = c;
	}
	for (size_t c = plan->n_grid; c < plan->n_grid + plan->n_extras; c++)
		s->truth[c] = s->mean[c] * surface_shrink(s->mean[c] * s->mean[c], 1,
						   variance / fmax(1, (double)s->pairs[c]));
}

struct surface_slice {
	uint32_t config, visit, pair;
	bool treated;
	double value, load, metric[SURFACE_METRICS];
};

/* "config,visit,pair,arm,value,unix_ms,load" and the metrics, arm being old or new; what is no such line is a heading. */
static inline bool surface_slice(const char *line, struct surface_slice *slice)
{
	double *m = slice->metric;
	char arm[8];
	int n = sscanf(line, "%u,%u,%u,%7[a-z],%lf,%*[0-9],%lf,%lf,%lf,%lf,%lf", &slice->config,
		&slice->visit, &slice->pair, arm, &slice->value, &slice->load, &m[0], &m[1], &m[2],
		&m[3]);

	if (n < 6)
		return false;
	for (int i = n - 6; i < SURFACE_METRICS; i++)
		m[i] = NAN;
	slice->treated = strcmp(arm, "new") == 0;
	return slice->value > 0 && isfinite(slice->value);
}

/* The slices of both arms in a row make a pair, whichever came first. */
static inline void surface_pairs(struct surface *s, const struct surface_slice *slice, size_t n)
{
	double sign = s->plan.lower_is_better ? -1 : 1, squares = 0;
	size_t all = s->plan.n_grid * (s->plan.n_knobs > 0) + s->plan.n_extras;
	double freedom = 0;

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i + 1 < n; i++) {
			const struct surface_slice *a = &slice[i], *b = &slice[i + 1];
			double ratio;

			if (a->config != b->config || a->visit != b->visit || a->pair != b->pair ||
				a->treated == b->treated || a->config >= all)
				continue;
			ratio = sign * log(a->treated ? a->value / b->value : b->value / a->value);
			if (round)
				squares += pow(ratio - s->mean[a->config], 2);
			else
				s->mean[a->config] += ratio, s->pairs[a->config]++;
			i++;
		}
		for (size_t c = 0; !round && c < all; c++) {
			s->mean[c] = s->pairs[c] ? s->mean[c] / (double)s->pairs[c] : NAN;
			freedom += s->pairs[c] ? (double)s->pairs[c] - 1 : 0;
		}
	}
	s->error = freedom > 0 ? sqrt(squares / freedom) : NAN;
}

/* 0; -EINVAL: a configuration of the grid was not measured twice, or no slice is there. Frees nothing, keeps nothing. */
static inline int surface_read(struct surface *s, FILE *csv)
{
	struct surface_slice *slice = calloc(SURFACE_SLICES, sizeof(*slice));
	double sign = s->plan.lower_is_better ? -1 : 1, sum = 0;
	size_t n = 0, plain = 0;
	char line[256];

	if (!slice)
		return -ENOMEM;
	s->load_least = INFINITY;
	s->load_most = 0;
	while (n < SURFACE_SLICES && fgets(line, sizeof(line), csv)) {
		if (!surface_slice(line, &slice[n]))
			continue;
		s->load_least = fmin(s->load_least, slice[n].load);
		s->load_most = fmax(s->load_most, slice[n].load);
		n++;
	}
	surface_pairs(s, slice, n);
	for (size_t c = 0; c < s->plan.n_grid && s->plan.n_knobs > 0; c++) {
		if (s->pairs[c] < 2)
			n = 0;
	}
	if (!n || !isfinite(s->error)) {
		free(slice);
		return -EINVAL;
	}
	if (s->plan.n_knobs > 0)
		surface_effects(s);
	for (size_t i = 0; i < n; i++) {
		if (!slice[i].treated || slice[i].config == 0)
			sum += log(slice[i].value), plain++;
		for (size_t m = 0;
			m < SURFACE_METRICS && (!slice[i].treated || slice[i].config == 0); m++)
			s->metric[m] += slice[i].metric[m];
	}
	for (size_t m = 0; m < SURFACE_METRICS; m++)
		s->metric[m] /= (double)(plain ? plain : 1);
	s->level = exp(sum / (double)(plain ? plain : 1));
	for (size_t i = 0; i < n; i++)
		s->noise[s->n_noise++] = log(slice[i].value) - log(s->level) -
					 (slice[i].treated ? sign * s->mean[slice[i].config] : 0);
	free(slice);
	return 0;
}

#endif
