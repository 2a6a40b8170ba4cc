// SPDX-License-Identifier: Apache-2.0
/*
 * replay.c - the advisor and its rivals on what record.c recorded, many times over: nothing is changed on any machine.
 *
 * Everything judged is judged by the loop's own rollout (trial.h). All start from the same configuration with the same number
 * of proposals. Written are tables to standard output and every single trial to FOLDER/replay.csv, FOLDER/tau.csv,
 * FOLDER/drift.csv. What is called best, harmful or a regression is so by the recording (surface.h).
 *
 * Usage: replay FOLDER RELEASE SEEDS TRIALS GP.PY|- PROGRAM...
 * Reads FOLDER/PROGRAM.plan and FOLDER/PROGRAM.csv. RELEASE: the kernel recorded. "-": no Gaussian process is asked.
 */
#include <signal.h>
#include "tests/bench/tune/brain.h"
#include "tests/bench/tune/gp.h"
#include "tests/bench/tune/trial.h"

#define PROGRAMS_MAX 12
#define TRIALS_MAX 64
#define SEEDS_MAX 1000
#define WITHIN 0.02
#define GOALS 3 /* of the sweep and the drift, one after another */
#define RESAMPLED 2000

enum rival { FULL, NO_EDGES, NO_TRACES, NO_TABLES, NO_SAFETY, RANDOM, GP, PROFILE, RIVALS };
static const char *const rival_name[] = { "advisor", "without edges", "without traces",
	"without tables", "without safety", "random", "gaussian process", "tuned profile" };
enum start { FOUND, ELSEWHERE, STARTS };
static const char *const start_name[] = { "as found", "elsewhere" };

struct program {
	const char *name;
	struct surface s;
};

/* One search: how far the best is after each trial, and what it cost. */
struct course {
	double left[TRIALS_MAX + 1];
	size_t trials, slices,
		harmed; /* proposals; harmed: slices under a configuration that does harm */
	size_t vetoed, vetoed_harmful, tried, harmful, regressions, worse, worse_harmful;
	size_t in_vain; /* kept, and no better by the recording */
};

static struct {
	const char *folder, *release;
	size_t seeds, trials, n_programs;
	struct program program[PROGRAMS_MAX];
	struct gp gp;
	FILE *csv;
} w;

/* ---- one search ---- */

struct search {
	const struct program *program;
	struct brain *brain; /* NULL: of a rival */
	enum rival rival;
	size_t start, trials;
	double tau; /* NaN: the loop's own */
	bool blind; /* to how good the objective is: no trial is taken for one of another load */
	uint64_t seed;
	FILE *csv;
	const char *label;
};

static size_t random_untried(struct random_state *random, bool tried[], size_t n)
{
	size_t rest = 0, pick;

	for (size_t c = 0; c < n; c++)
		rest += !tried[c];
	if (!rest)
		return SURFACE_ALL;
	pick = random_below(random, rest);
	for (size_t c = 0;; c++) {
		if (!tried[c] && pick-- == 0)
			return c;
	}
}

static bool vetoed(const struct search *search, double u)
{
	struct threshold_view view;

	if (!search->brain || search->rival == NO_SAFETY)
		return false;
	if (!isnan(search->tau))
		return u >= search->tau;
	threshold_view(&search->brain->threshold, &view);
	return u >= view.tau;
}

static void row(
	const struct search *search, size_t n, const struct trial *trial, double u, double left)
{
	static const char *const verdict[] = { [FACT_KEPT] = "kept",
		[FACT_NO_EFFECT] = "no-effect",
		[FACT_WORSE] = "worse",
		[FACT_VETOED] = "vetoed" };

	fprintf(search->csv, "%s,%s,%s,%llu,%zu,%zu,%zu,%.4f,%s,%.5f,%.5f,%.5f,%.5f,%zu,%zu,%.5f\n",
		search->program->name, search->label, rival_name[search->rival],
		(unsigned long long)search->seed, n, trial->from, trial->to, u,
		verdict[trial->verdict], trial->truth, trial->gain, trial->low, trial->high,
		trial->slices, trial->harmed, left);
}

static FILE *csv_open(const char *name)
{
	char path[4096];
	FILE *csv;

	snprintf(path, sizeof(path), "%s/%s.csv", w.folder, name);
	csv = fopen(path, "w");
	if (!csv) {
		perror(path);
		exit(1);
	}
	fprintf(csv, "program,start,rival,seed,trial,from,to,u,verdict,truth,gain,low,high,slices,"
		     "harmed,left\n");
	return csv;
}

static void count(struct course *course, const struct trial *trial)
{
	bool harm = trial->truth < -TRIAL_HARM;

	course->trials++;
	course->slices += trial->slices;
	course->harmed += trial->harmed;
	if (trial->verdict == FACT_VETOED) {
		course->vetoed++;
		course->vetoed_harmful += harm;
		return;
	}
	course->tried++;
	course->harmful += harm;
	course->regressions += trial->kept && harm;
	course->in_vain += trial->kept && trial->truth <= 0;
	course->worse += trial->verdict == FACT_WORSE;
	course->worse_harmful += trial->verdict == FACT_WORSE && harm;
}

static void course_add(struct course *all, const struct course *one)
{
	all->trials += one->trials;
	all->slices += one->slices;
	all->harmed += one->harmed;
	all->vetoed += one->vetoed;
	all->vetoed_harmful += one->vetoed_harmful;
	all->tried += one->tried;
	all->harmful += one->harmful;
	all->regressions += one->regressions;
	all->in_vain += one->in_vain;
	all->worse += one->worse;
	all->worse_harmful += one->worse_harmful;
}

static size_t ask(const struct search *search, struct random_state *random, bool tried[],
	size_t here, size_t n)
{
	const struct surface *s = &search->program->s;
	const struct surface_plan *plan = &s->plan;
	struct machine look = { .s = s };

	switch (search->rival) {
	case RANDOM:
		return random_untried(random, tried, plan->n_grid);
	case GP:
		return gp_ask(&w.gp);
	case PROFILE:
		return n == 0 && plan->n_extras ? plan->n_grid : SURFACE_ALL;
	default:
		/* what the agent heard of the objective last */
		look.at = random_below(random, s->n_noise);
		return brain_ask(search->brain, plan, here, search->trials - n,
			search->blind ? NAN : log(machine_measure(&look, here)));
	}
}

static void told(const struct search *search, const struct trial *trial, double at, bool *drifted)
{
	struct fact fact = { .verdict = trial->verdict,
		.unsafe = trial->verdict == FACT_WORSE,
		.measured = trial->measured,
		.gain = trial->gain,
		.error = trial->error };

	fact_set_levels(&fact, trial->before, trial->after);
	if (search->rival == GP)
		gp_tell(&w.gp, trial->to, at + trial->gain, trial->error);
	if (search->brain && brain_learn(search->brain, &fact))
		*drifted = true;
}

/* From `start` until nothing is proposed any more; the configuration that stands at the end. */
static size_t search_run(const struct search *search, struct course *course, bool *drifted)
{
	const struct surface *s = &search->program->s;
	struct machine machine = { .s = s,
		.random = random_seed(search->seed * 7919 + search->rival) };
	struct random_state random = random_seed(search->seed * 104729 + 17);
	bool tried[SURFACE_ALL] = { false };
	double at = 0; /* what is known of where it stands, by measurements */
	size_t here = search->start;

	memset(course, 0, sizeof(*course));
	tried[here] = true;
	if (search->rival == GP) {
		gp_begin(&w.gp, &s->plan, w.release, search->seed);
		gp_tell(&w.gp, here, 0, FACT_ERROR_MIN);
	}
	if (search->brain)
		brain_load(search->brain, s);
	course->left[0] = s->truth[s->best] - s->truth[here];
	for (size_t n = 0; n < search->trials; n++) {
		size_t to = ask(search, &random, tried, here, n);
		double u = search->brain ? search->brain->answer.u : NAN;
		struct trial trial = { .from = here, .to = to, .verdict = FACT_VETOED };

		course->left[n + 1] = course->left[n];
		if (to == SURFACE_ALL)
			continue;
		tried[to] = true;
		if (vetoed(search, u))
			trial.truth = s->truth[to] - s->truth[here];
		else
			trial_run(&machine, here, to, search->rival == NO_SAFETY, &trial);
		told(search, &trial, at, drifted);
		if (trial.kept) {
			here = to;
			at += trial.gain;
		}
		course->left[n + 1] = s->truth[s->best] - s->truth[here];
		count(course, &trial);
		if (search->csv)
			row(search, n, &trial, u, course->left[n + 1]);
	}
	return here;
}

/* ---- figures over many ---- */

static struct random_state dice;

static int by_size(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return (d > 0) - (d < 0);
}

struct figure {
	double mean, low, high;
};

static struct figure figure_of(const double *x, size_t n)
{
	static double mean[RESAMPLED];
	struct figure f = { 0 };

	for (size_t i = 0; i < n; i++)
		f.mean += x[i] / (double)n;
	for (size_t r = 0; r < RESAMPLED; r++) {
		mean[r] = 0;
		for (size_t i = 0; i < n; i++)
			mean[r] += x[random_below(&dice, n)] / (double)n;
	}
	qsort(mean, RESAMPLED, sizeof(mean[0]), by_size);
	f.low = mean[RESAMPLED / 40];
	f.high = mean[RESAMPLED - RESAMPLED / 40 - 1];
	return f;
}

static double share(size_t part, size_t of)
{
	return of ? 100 * (double)part / (double)of : NAN;
}

/* Trials until it stands within 2 % of the best; one more than there are when it never does. */
static double needed(const struct course *course, size_t trials)
{
	for (size_t n = 0; n <= trials; n++) {
		if (course->left[n] <= log1p(WITHIN))
			return (double)n;
	}
	return (double)trials + 1;
}

static struct brain *brain_for(const struct program *program, enum rival rival)
{
	struct response_without without = { .edges = rival == NO_EDGES,
		.traces = rival == NO_TRACES,
		.tables = rival == NO_TABLES };
	struct brain *brain = rival >= RANDOM ? NULL : malloc(sizeof(*brain));

	if (brain)
		brain_open(brain, &program->s.plan, w.release, &without);
	return brain;
}

static void brain_done(struct brain *brain)
{
	if (brain)
		brain_close(brain);
	free(brain);
}

/* Any configuration that is not within 2 % of the best; SURFACE_ALL: there is none. */
static size_t elsewhere(const struct surface *s, uint64_t seed)
{
	struct random_state random = random_seed(seed + 99);
	bool near[SURFACE_ALL] = { false };

	for (size_t c = 0; c < s->plan.n_grid; c++)
		near[c] = s->truth[s->best] - s->truth[c] <= log1p(WITHIN);
	return random_untried(&random, near, s->plan.n_grid);
}

static void compare(const struct program *program, enum start start, enum rival rival)
{
	static double need[SEEDS_MAX], left[SEEDS_MAX];
	struct course course, all = { 0 };
	size_t reached = 0, n = 0;
	struct figure f, g;
	bool drifted = false;

	for (uint64_t seed = 0; seed < w.seeds; seed++) {
		struct search search = { .program = program,
			.rival = rival,
			.trials = w.trials,
			.tau = NAN,
			.seed = seed,
			.csv = w.csv,
			.label = start_name[start] };

		search.start = start == FOUND ? 0 : elsewhere(&program->s, seed);
		if (search.start == SURFACE_ALL)
			return;
		search.brain = brain_for(program, rival);
		search_run(&search, &course, &drifted);
		brain_done(search.brain);
		need[n] = needed(&course, w.trials);
		reached += need[n] <= (double)w.trials;
		left[n++] = 100 * expm1(course.left[w.trials]);
		course_add(&all, &course);
	}
	f = figure_of(need, n);
	g = figure_of(left, n);
	printf("  %-10s %-17s %5.1f (%4.1f to %4.1f) %5.0f %% %7.1f (%5.1f to %5.1f) %6.1f %6.1f "
	       "%6.0f %% %5zu %7zu %7.1f\n",
		start_name[start], rival_name[rival], f.mean, f.low, f.high,
		100 * (double)reached / (double)n, g.mean, g.low, g.high,
		(double)all.tried / (double)n, (double)all.vetoed / (double)n,
		share(all.harmful, all.tried), all.regressions, all.in_vain,
		(double)all.harmed / (double)n);
}

static void describe(const struct program *program)
{
	const struct surface *s = &program->s;
	double worst = 0;
	size_t pairs = 0;

	for (size_t c = 0; c < s->plan.n_grid; c++) {
		worst = fmin(worst, s->truth[c]);
		pairs += s->pairs[c];
	}
	printf("%s: %zu configurations, %zu pairs; one pair is off by %.1f %%; load %.1f to %.1f. "
	       "Beside the machine as "
	       "found the best is %+.1f %%, the worst %+.1f %%",
		program->name, s->plan.n_grid, pairs, 100 * expm1(s->error), s->load_least,
		s->load_most, 100 * expm1(s->truth[s->best]), 100 * expm1(worst));
	if (s->plan.n_extras)
		printf(", the profile %s %+.1f %%", s->plan.extra[0].name,
			100 * expm1(s->truth[s->plan.n_grid]));
	printf("\n");
	if (s->best) {
		printf("  the best:");
		for (size_t k = 0; k < s->plan.n_knobs; k++) {
			size_t level = surface_level(&s->plan, s->best, k);

			if (level)
				printf(" %s=%s", s->plan.knob[k].name,
					s->plan.knob[k].value[level]);
		}
		printf("\n");
	}
}

static void compare_all(void)
{
	printf("\nBudget %zu proposals, %zu seeds. trials: made until it stood within 2 %% of the "
	       "best, %zu when never; within: searches that "
	       "got there; best above: how far the best was above where it ended; tried and "
	       "vetoed: proposals a search; harm: of "
	       "those tried, worse by more than 1 %%; kept: such that were kept, in all; in vain: "
	       "kept and no better, in all; slices: "
	       "under a harmful setting, a search\n"
	       "  %-10s %-17s %20s %7s %25s %6s %6s %8s %5s %7s %7s\n",
		w.trials, w.seeds, w.trials + 1, "start", "search", "trials (95 %)", "within",
		"best above, % (95 %)", "tried", "vetoed", "harm", "kept", "in vain", "slices");
	for (size_t p = 0; p < w.n_programs; p++) {
		describe(&w.program[p]);
		for (enum start start = 0; start < STARTS; start++) {
			for (enum rival rival = 0; rival < RIVALS; rival++) {
				if ((rival == GP && !w.gp.to) ||
					(rival == PROFILE && !w.program[p].s.plan.n_extras))
					continue;
				compare(&w.program[p], start, rival);
			}
		}
	}
}

/* ---- the sweep of tau, and drift ---- */

static size_t anywhere(const struct surface *s, uint64_t seed)
{
	struct random_state random = random_seed(seed + 5);

	return random_below(&random, s->plan.n_grid);
}

static void sweep_one(double tau, FILE *csv)
{
	struct course all = { .trials = 0 };
	double left = 0, searches = 0;
	char label[32] = "conformal";

	if (!isnan(tau))
		snprintf(label, sizeof(label), "%.2f", tau);
	for (size_t p = 0; p < w.n_programs; p++) {
		for (uint64_t seed = 0; seed < w.seeds; seed++) {
			struct brain *brain = brain_for(&w.program[p], FULL);
			struct course course;
			bool drifted = false;

			for (size_t goal = 0; goal < GOALS; goal++) {
				struct search search = { .program = &w.program[p],
					.brain = brain,
					.rival = FULL,
					.trials = w.trials,
					.tau = tau,
					.seed = seed * GOALS + goal,
					.csv = csv,
					.label = label };

				brain->goal = goal;
				search.start = anywhere(&w.program[p].s, search.seed);
				search_run(&search, &course, &drifted);
				course_add(&all, &course);
				left += course.left[w.trials];
				searches++;
			}
			brain_done(brain);
		}
	}
	printf("  %-10s %9zu %7zu %9.1f %7.1f %8zu %10.1f %7.1f %11zu %13zu %9.2f\n", label,
		all.trials, all.vetoed, share(all.vetoed_harmful, all.vetoed),
		share(all.vetoed_harmful, all.vetoed_harmful + all.harmful), all.worse,
		share(all.worse_harmful, all.worse),
		share(all.harmful - all.regressions, all.harmful), all.regressions, all.harmed,
		100 * expm1(left / searches));
}

static void sweep(void)
{
	static const double tau[] = { 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.01, NAN };
	FILE *csv = csv_open("tau");

	printf("\nA limit on uncertainty (a proposal with u >= tau is vetoed), %d goals in a row "
	       "from anywhere, all programs. "
	       "Harm is worse by more than 1 %% by the recording.\n"
	       "  %-10s %9s %7s %9s %7s %8s %10s %7s %11s %13s %9s\n"
	       "  %-10s %9s %7s %9s %7s %8s %10s %7s %11s %13s %9s\n",
		GOALS, "tau", "proposals", "vetoed", "precision", "recall", "undone", "precision",
		"recall", "regressions", "slices under", "above the", "", "", "", "%", "%",
		"as worse", "%", "%", "kept", "harm", "best, %");
	for (size_t i = 0; i < sizeof(tau) / sizeof(tau[0]); i++)
		sweep_one(tau[i], csv);
	fclose(csv);
}

/* The same settings, but another load from one goal to the next: what was learned is wrong, which telemetry alone can tell. */
/* blind: to how good the objective is, as the advisor once was. */
static void drift_one(
	const struct program *before, const struct program *after, bool blind, FILE *csv)
{
	struct course part[4] = { { .trials = 0 } }, course;
	double left[4] = { 0 };
	size_t alarms = 0;

	for (uint64_t seed = 0; seed < w.seeds; seed++) {
		struct brain *brain = brain_for(before, FULL), *fresh = brain_for(after, FULL);
		bool drifted = false, nothing = false;

		for (size_t goal = 0; goal < 2 * GOALS + 1; goal++) {
			bool is_fresh = goal == 2 * GOALS;
			size_t which = is_fresh ? 3 : goal < GOALS ? 0 : goal == GOALS ? 1 : 2;
			struct search search = { .program = goal < GOALS ? before : after,
				.brain = is_fresh ? fresh : brain,
				.rival = FULL,
				.trials = w.trials,
				.tau = NAN,
				.blind = blind,
				.seed = seed * 16 + (is_fresh ? GOALS : goal),
				.csv = csv,
				.label = is_fresh     ? "fresh"
					 : which == 0 ? "before"
					 : which == 1 ? "just after"
						      : "later" };

			search.brain->goal = goal;
			search.start = anywhere(&search.program->s, search.seed);
			if (goal == GOALS)
				drifted = false;
			search_run(&search, &course, is_fresh ? &nothing : &drifted);
			course_add(&part[which], &course);
			left[which] += course.left[w.trials] / (double)w.seeds /
				       (which == 0	    ? GOALS
					       : which == 2 ? GOALS - 1
							    : 1);
		}
		alarms += drifted;
		brain_done(brain);
		brain_done(fresh);
	}
	printf("  %s, then %s%s: ADWIN saw the change in %zu of %zu\n", before->name, after->name,
		blind ? ", blind to the objective's level" : "", alarms, w.seeds);
	for (size_t i = 0; i < 4; i++) {
		static const char *const name[] = { "before", "just after", "later",
			"nothing learned before" };

		printf("    %-24s harm in %5.1f %% of %zu trials, %zu vetoed, %zu regressions "
		       "kept, %.1f %% above the best at the end\n",
			name[i], share(part[i].harmful, part[i].tried), part[i].tried,
			part[i].vetoed, part[i].regressions, 100 * expm1(left[i]));
	}
}

static bool same_grid(const struct surface_plan *a, const struct surface_plan *b)
{
	if (a->n_knobs != b->n_knobs || a->n_grid != b->n_grid)
		return false;
	for (size_t k = 0; k < a->n_knobs; k++) {
		if (strcmp(a->knob[k].name, b->knob[k].name) != 0 || a->knob[k].n != b->knob[k].n)
			return false;
		for (size_t l = 0; l < a->knob[k].n; l++) {
			if (strcmp(a->knob[k].value[l], b->knob[k].value[l]) != 0)
				return false;
		}
	}
	return true;
}

static void drift(void)
{
	FILE *csv = csv_open("drift");

	printf("\nThe load changes between goals, and nobody says so; telemetry shows what the two "
	       "recordings show\n");
	for (size_t a = 0; a < w.n_programs; a++) {
		for (size_t b = 0; b < w.n_programs; b++) {
			if (a != b && same_grid(&w.program[a].s.plan, &w.program[b].s.plan))
				for (int blind = 0; blind < 2; blind++)
					drift_one(&w.program[a], &w.program[b], blind,
						blind ? NULL : csv);
		}
	}
	fclose(csv);
}

/* 0 or -1 with a sentence: it is left out. */
static int load(struct program *program, const char *name)
{
	char path[4096];
	FILE *file;
	size_t at = 0;
	int err = -ENOENT;

	program->name = name;
	snprintf(path, sizeof(path), "%s/%s.plan", w.folder, name);
	file = fopen(path, "r");
	if (file) {
		err = surface_plan_read(&program->s.plan, file, &at);
		fclose(file);
	}
	snprintf(path, sizeof(path), "%s/%s.csv", w.folder, name);
	file = err ? NULL : fopen(path, "r");
	if (file) {
		err = surface_read(&program->s, file);
		fclose(file);
	}
	if (err || !file || program->s.plan.n_knobs == 0) {
		printf("%s: no whole recording of it in %s\n", name, w.folder);
		return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 7) {
		fprintf(stderr, "Usage: replay FOLDER RELEASE SEEDS TRIALS GP.PY|- PROGRAM...\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	w.folder = argv[1];
	w.release = argv[2];
	w.seeds = strtoul(argv[3], NULL, 10);
	w.trials = strtoul(argv[4], NULL, 10);
	if (w.seeds < 1 || w.seeds > SEEDS_MAX || w.trials < 1 || w.trials > TRIALS_MAX)
		return 2;
	dice = random_seed(1);
	for (int i = 6; i < argc && w.n_programs < PROGRAMS_MAX; i++)
		w.n_programs += load(&w.program[w.n_programs], argv[i]) == 0;
	if (!w.n_programs)
		return 1;
	printf("Replays of recordings: what is measured of a program below is drawn from what was "
	       "measured of it on this machine; "
	       "nothing is changed.\n");
	gp_open(&w.gp, argv[5]);
	w.csv = csv_open("replay");
	compare_all();
	fclose(w.csv);
	gp_close(&w.gp);
	sweep();
	drift();
	return 0;
}
