/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gp.h - the Gaussian-process optimiser (gp.py), a process of its own that is told and asked over two pipes.
 */
#ifndef SEMANTOS_BENCH_TUNE_GP_H
#define SEMANTOS_BENCH_TUNE_GP_H

#include <sys/wait.h>
#include <unistd.h>
#include "agent/advisor/reason/lexicon.h"
#include "tests/bench/tune/surface.h"

struct gp {
	FILE *to, *from; /* NULL: there is none */
	pid_t pid;
};

static inline void gp_open(struct gp *gp, const char *path)
{
	int in[2], out[2];
	char line[64];

	if (strcmp(path, "-") == 0 || pipe(in) || pipe(out))
		return;
	gp->pid = fork();
	if (gp->pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		close(out[0]);
		setenv("OMP_NUM_THREADS", "1", 1);
		setenv("OPENBLAS_NUM_THREADS", "1", 1);
		execl("/usr/bin/python3", "python3", path, NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	gp->to = fdopen(in[1], "w");
	gp->from = fdopen(out[0], "r");
	if (gp->pid > 0 && gp->to && gp->from && fgets(line, sizeof(line), gp->from))
		return;
	printf("The Gaussian process cannot be started (python3-sklearn): it is left out.\n");
	gp->to = NULL;
}

static inline void gp_close(struct gp *gp)
{
	if (!gp->to)
		return;
	fclose(gp->to);
	fclose(gp->from);
	waitpid(gp->pid, NULL, 0);
}

/* Numbers by their place on the advisor's line, stretched over the levels there are; words each a dimension of its own. */
static inline void gp_begin(
	struct gp *gp, const struct surface_plan *plan, const char *release, uint64_t seed)
{
	double place[SURFACE_KNOBS][SURFACE_LEVELS], low[SURFACE_KNOBS], high[SURFACE_KNOBS];
	struct lexicon lexicon;
	bool word[SURFACE_KNOBS];
	size_t dimensions = 0;

	if (lexicon_init(&lexicon, release))
		abort();
	for (size_t k = 0; k < plan->n_knobs; k++) {
		int knob = lexicon_knob(&lexicon, plan->knob[k].name);
		const struct axis *axis = knob < 0 ? NULL : &lexicon.knob[knob]->axis;

		if (!axis)
			abort();

		low[k] = INFINITY;
		high[k] = -INFINITY;
		word[k] = !axis->usable || axis->words;
		for (size_t l = 0; l < plan->knob[k].n; l++) {
			place[k][l] = axis_place(axis, plan->knob[k].value[l]);
			word[k] |= isnan(place[k][l]);
			low[k] = fmin(low[k], place[k][l]);
			high[k] = fmax(high[k], place[k][l]);
		}
		dimensions += word[k] ? plan->knob[k].n : 1;
	}
	fprintf(gp->to, "begin %llu %zu %zu\n", (unsigned long long)seed, plan->n_grid, dimensions);
	for (size_t c = 0; c < plan->n_grid; c++) {
		for (size_t k = 0; k < plan->n_knobs; k++) {
			size_t level = surface_level(plan, c, k);

			for (size_t l = 0; word[k] && l < plan->knob[k].n; l++)
				fprintf(gp->to, "%d ", l == level);
			if (!word[k])
				fprintf(gp->to, "%.6f ",
					(place[k][level] - low[k]) / fmax(1e-9, high[k] - low[k]));
		}
		fprintf(gp->to, "\n");
	}
	lexicon_free(&lexicon);
}

static inline void gp_tell(struct gp *gp, size_t config, double gain, double error)
{
	fprintf(gp->to, "tell %zu %.6f %.6f\n", config, gain, error);
}

static inline size_t gp_ask(struct gp *gp)
{
	char line[64];
	long config;

	fprintf(gp->to, "ask\n");
	fflush(gp->to);
	if (!fgets(line, sizeof(line), gp->from)) {
		fprintf(stderr, "the Gaussian process ended\n");
		exit(1);
	}
	config = strtol(line, NULL, 10);
	return config < 0 ? SURFACE_ALL : (size_t)config;
}

#endif
