// SPDX-License-Identifier: Apache-2.0
/*
 * record.c - measures a program under each configuration of a plan (surface.h), in pairs with the machine as it was found.
 *
 * Every setting is changed through the journal of agent/safety, in a folder of its own, with a keeper running: killed at any
 * time, all is undone within a second. A visit is one change; within it old and new values are swapped from slice to slice,
 * the order turned from pair to pair. Visits go round by round, in an order drawn by lot. Configuration 0 changes nothing and
 * is measured against itself.
 *
 * Usage: record PLAN CSV JOURNAL KEEPER COMMAND VISITS PAIRS SEED
 * SEMANTOS_RECORD_ROOT, when set, is a folder in place of the machine, for tests. COMMAND is run by the shell; the last number of its last line is the measurement. After it a sentence for each configuration
 * that has pairs enough to be judged as the tuning loop would.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>
#include "agent/infer/random.h"
#include "agent/safety/gain.h"
#include "agent/safety/keeper.h"
#include "agent/safety/safety.h"
#include "tests/bench/tune/surface.h"

#define WASHOUT_US 150000
#define AGAIN_S 2 /* too many changes too soon */
#define AGAIN_TIMES 45

struct recorder {
	struct surface_plan plan;
	struct safety *safety;
	FILE *csv;
	const char *command;
	size_t configs, pairs;
	struct random_state random;
	struct {
		size_t n;
		struct gain_pair pair[GAIN_PAIRS_MAX];
	} seen[SURFACE_ALL];
};

static atomic_bool stopped;

static void on_signal(int number)
{
	(void)number;
	atomic_store(&stopped, true);
}

static void *beat(void *arg)
{
	while (!atomic_load((atomic_bool *)((void **)arg)[1])) {
		safety_beat(((void **)arg)[0]);
		usleep(KEEPER_BEAT_MS * 1000 / 2);
	}
	return NULL;
}

/* The last number of the command's last line; NaN when there is none. */
static double measure(const char *command)
{
	char line[512], last[512] = "";
	double value = NAN;
	FILE *pipe = popen(command, "r");

	if (!pipe)
		return NAN;
	while (fgets(line, sizeof(line), pipe))
		memcpy(last, line, sizeof(last));
	if (pclose(pipe))
		return NAN;
	for (char *at = last; *at; at++) {
		char *end;
		double v = strtod(at, &end);

		if (end == at)
			continue;
		value = v;
		at = end - 1;
	}
	return value > 0 ? value : NAN;
}

/* The number after this word of a file; 0 when it is not there. */
static double figure(const char *path, const char *word)
{
	double value = 0;
	char line[1024];
	FILE *file = fopen(path, "r");

	while (file && fgets(line, sizeof(line), file)) {
		size_t n = strlen(word);

		if (strncmp(line, word, n) == 0 && line[n] == ' ') {
			value = strtod(line + n, NULL);
			break;
		}
	}
	if (file)
		fclose(file);
	return value;
}

/* OutSegs, the eleventh number of the second line "Tcp:". */
static double segments_out(void)
{
	double value = 0;
	char line[1024];
	int nth = 0;
	FILE *file = fopen("/proc/net/snmp", "r");

	while (file && fgets(line, sizeof(line), file)) {
		char *rest = line, *word = strsep(&rest, " ");

		if (strcmp(word, "Tcp:") != 0 || nth++ == 0)
			continue;
		for (int i = 0; i < 11 && (word = strsep(&rest, " ")); i++)
			value = strtod(word, NULL);
	}
	if (file)
		fclose(file);
	return value;
}

struct work {
	double at_s, of[SURFACE_METRICS]; /* as surface_metric[] has them */
};

static void work_now(struct work *work)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	work->at_s = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
	work->of[0] = 1024 * figure("/proc/vmstat", "pgpgin");
	work->of[1] = 1024 * figure("/proc/vmstat", "pgpgout");
	work->of[2] = figure("/proc/stat", "ctxt");
	work->of[3] = segments_out();
}

static double load_now(void)
{
	double load = NAN;

	return getloadavg(&load, 1) == 1 ? load : NAN;
}

/* What differs from the machine as it was found; 0 knobs: nothing does. */
static size_t request_of(const struct surface_plan *plan, size_t config, struct safety_knob knob[])
{
	size_t n = 0;

	if (config >= plan->n_grid * (plan->n_knobs > 0)) {
		const struct surface_extra *extra =
			&plan->extra[config - plan->n_grid * (plan->n_knobs > 0)];

		for (; n < extra->n; n++)
			knob[n] = (struct safety_knob){ extra->knob[n], extra->value[n] };
		return n;
	}
	for (size_t k = 0; k < plan->n_knobs; k++) {
		size_t level = surface_level(plan, config, k);

		if (level)
			knob[n++] = (struct safety_knob){ plan->knob[k].name,
				plan->knob[k].value[level] };
	}
	return n;
}

static int change(struct recorder *r, size_t config, uint64_t *id, bool *plain)
{
	struct safety_knob knob[SURFACE_EXTRA_KNOBS + SURFACE_KNOBS];
	struct safety_error error = { 0 };
	struct safety_request request = { .owner = "bench-tune",
		.mode = CHANGE_AUTO,
		.knob = knob,
		.n_knobs = request_of(&r->plan, config, knob),
		.because = "make bench-tune measures a program under it" };
	int err = -EAGAIN;

	*plain = request.n_knobs == 0;
	if (*plain)
		return 0;
	for (int i = 0; err == -EAGAIN && i < AGAIN_TIMES && !atomic_load(&stopped); i++) {
		err = safety_apply(r->safety, &request, id, &error);
		if (err == -EAGAIN)
			sleep(AGAIN_S);
	}
	if (err)
		fprintf(stderr, "configuration %zu: %s\n", config, error.text);
	return err;
}

static int slice(struct recorder *r, size_t config, size_t visit, size_t pair, bool treated,
	uint64_t id, bool plain, double *value)
{
	struct safety_error error = { 0 };
	struct timespec now;
	struct work before, after;
	int err = plain ? 0 : safety_swap(r->safety, id, treated, &error);

	if (err) {
		fprintf(stderr, "configuration %zu: %s\n", config, error.text);
		return err;
	}
	usleep(WASHOUT_US);
	clock_gettime(CLOCK_REALTIME, &now);
	work_now(&before);
	*value = measure(r->command);
	work_now(&after);
	if (isnan(*value)) {
		fprintf(stderr, "configuration %zu: nothing was measured\n", config);
		return -EIO;
	}
	fprintf(r->csv, "%zu,%zu,%zu,%s,%.6g,%lld,%.2f", config, visit, pair,
		treated ? "new" : "old", *value,
		(long long)now.tv_sec * 1000 + now.tv_nsec / 1000000, load_now());
	for (size_t m = 0; m < SURFACE_METRICS; m++)
		fprintf(r->csv, ",%.6g", (after.of[m] - before.of[m]) / (after.at_s - before.at_s));
	fprintf(r->csv, "\n");
	fflush(r->csv);
	return 0;
}

static int visit_one(struct recorder *r, size_t config, size_t visit)
{
	struct safety_error error = { 0 };
	uint64_t id = 0;
	bool plain, first = random_below(&r->random, 2);
	int err = change(r, config, &id, &plain), undo;

	if (err == -EALREADY) {
		fprintf(stderr, "configuration %zu is how the machine stands\n", config);
		return 0;
	}
	for (size_t p = 0; !err && p < r->pairs && !atomic_load(&stopped); p++) {
		struct gain_pair pair;

		first = !first;
		err = slice(
			r, config, visit, p, first, id, plain, first ? &pair.after : &pair.before);
		if (!err)
			err = slice(r, config, visit, p, !first, id, plain,
				first ? &pair.before : &pair.after);
		if (!err && r->seen[config].n < GAIN_PAIRS_MAX)
			r->seen[config].pair[r->seen[config].n++] = pair;
	}
	if (!id)
		return err;
	undo = safety_rollback(r->safety, id, "it was measured", NULL, &error);
	if (undo && undo != -EALREADY) {
		fprintf(stderr, "configuration %zu: %s\n", config, error.text);
		return undo;
	}
	return err;
}

static int visit_all(struct recorder *r, size_t visits)
{
	size_t order[SURFACE_ALL];
	struct safety_error error;
	int err = 0;

	for (size_t v = 0; !err && v < visits; v++) {
		for (size_t i = 0; i < r->configs; i++) {
			size_t j = random_below(&r->random, i + 1);

			order[i] = order[j];
			order[j] = i;
		}
		for (size_t i = 0; !err && i < r->configs && !atomic_load(&stopped); i++) {
			safety_tick(r->safety, &error);
			err = visit_one(r, order[i], v);
		}
	}
	return atomic_load(&stopped) ? -EINTR : err;
}

static void tell(const struct recorder *r, uint64_t seed)
{
	for (size_t c = 0; c < r->configs; c++) {
		struct gain gain;
		char text[200];

		if (gain_judge(r->seen[c].pair, r->seen[c].n, r->plan.lower_is_better, seed, &gain))
			continue;
		gain_sentence(&gain, "it", r->seen[c].n, text, sizeof(text));
		printf("configuration %zu: %s: %s\n", c,
			gain.better  ? "a gain"
			: gain.worse ? "worse"
				     : "no effect",
			text);
	}
}

int main(int argc, char **argv)
{
	static struct recorder r;
	struct safety_options options = { .dir = argc > 4 ? argv[3] : NULL,
		.keeper = argc > 4 ? argv[4] : NULL,
		.root = getenv("SEMANTOS_RECORD_ROOT") };
	struct safety_error error = { 0 };
	atomic_bool ended = false;
	void *arg[2];
	size_t at, visits;
	pthread_t thread;
	unsigned int left;
	FILE *plan;
	int err;

	if (argc != 9) {
		fprintf(stderr,
			"Usage: record PLAN CSV JOURNAL KEEPER COMMAND VISITS PAIRS SEED\n");
		return 2;
	}
	plan = fopen(argv[1], "r");
	if (!plan || surface_plan_read(&r.plan, plan, &at)) {
		fprintf(stderr, "%s: line %zu is not understood\n", argv[1], plan ? at : 0);
		return 2;
	}
	fclose(plan);
	r.configs = r.plan.n_grid * (r.plan.n_knobs > 0) + r.plan.n_extras;
	r.command = argv[5];
	visits = strtoul(argv[6], NULL, 10);
	r.pairs = strtoul(argv[7], NULL, 10);
	r.random = random_seed(strtoull(argv[8], NULL, 10));
	r.csv = fopen(argv[2], "w");
	if (!r.csv)
		return perror(argv[2]), 1;
	fprintf(r.csv, "config,visit,pair,arm,value,unix_ms,load");
	for (size_t m = 0; m < SURFACE_METRICS; m++)
		fprintf(r.csv, ",%s", surface_metric[m].name);
	fprintf(r.csv, "\n");
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGPIPE, SIG_IGN);
	err = safety_open(&r.safety, &options, NULL, &error);
	if (err) {
		fprintf(stderr, "%s\n", error.text);
		return 1;
	}
	arg[0] = r.safety;
	arg[1] = &ended;
	if (pthread_create(&thread, NULL, beat, arg))
		abort();
	err = visit_all(&r, visits);
	atomic_store(&ended, true);
	pthread_join(thread, NULL);
	left = safety_close(r.safety, SAFETY_STOP);
	if (left)
		fprintf(stderr, "%u changes could not be undone\n", left);
	fclose(r.csv);
	tell(&r, strtoull(argv[8], NULL, 10));
	return err || left ? 1 : 0;
}
