// SPDX-License-Identifier: Apache-2.0
/*
 * sim.c - `make bench-replica-sim`: plan.txt under every policy, simulated. SIMULATED, not measured: no kernel, no block
 * layer and no machine take part, so its figures are for finding out what is worth a run in the lab, and for nothing else.
 *
 * As in the lab, a policy that learns is first shown the traces of the set "train" under the default. Prints what
 * replay.c prints, for report.c, and what was learned as lines of "learned".
 * Usage: sim PLAN [replay_volumes=A,B] [replay_mixes=A,B] [replay_rows=A,B] [replay_learned=A,B] [replay_sets=open]
 *            [learned_rows=N] [learned_key=SECTION.KEY=VALUE]... [learned_obey=yes: signal or not]
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/core/learn.h"
#include "agent/core/manifest.h"
#include "agent/core/placebo.h"
#include "agent/infer/encode.h"
#include "agent/infer/infer.h"
#include "tests/bench/replica/sim/sim.h"

#define STRETCH 8
#define TTL_NS 50000000ULL
#define MANIFEST "policies/linnos/policy.conf"
#define KEYS_MOST 32

static struct {
	const char *plan, *volumes, *mixes, *rows, *learned, *sets;
	const char *key[KEYS_MOST]; /* for every manifest */
	uint32_t n_keys, learn_rows;
	bool obey;
} asked = {
	.volumes = "two,three,recorded",
	.mixes = "bing,cosmos,azure,mixed",
	.rows = "fewest,first,random,ewma,hedge,oracle",
	.learned = "latency,latency-hedge,inline,async,permuted,always-fast,always-slow,linnos-"
		   "digits,heimdall",
	.sets = "open,closed",
};

/* The leg's model, and what it has seen. */
struct taught {
	struct model *model;
	struct semantos_block_record *record;
	size_t n, room, wanted;
};

static struct taught taught[SEMANTOS_BLK_MAX_LEGS];
static struct placebo placebo;
static struct infer_plan *plans[SEMANTOS_BLK_MAX_LEGS];
static struct infer_scratch *scratches[SEMANTOS_BLK_MAX_LEGS];
static uint32_t hedge_after_us, p95_of_seed[128]; /* of fewest on the trace of that seed */
static uint64_t rng;

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "sim: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n");
	exit(1);
}

static void *must(void *p)
{
	if (!p)
		fail("no memory");
	return p;
}

static bool listed(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = list; (at = strstr(at, word)) != NULL; at += n)
		if ((at == list || at[-1] == ',') && (at[n] == ',' || !at[n]))
			return true;
	return false;
}

/* ---- rows that learn nothing: as in policies.bpf.c ---- */

static int select_first(struct sim_volume *volume, struct semantos_blk_read *read)
{
	(void)volume;
	(void)read;
	return 0;
}

static int select_random(struct sim_volume *volume, struct semantos_blk_read *read)
{
	(void)volume;
	rng = rng * 6364136223846793005ULL + 1442695040888963407ULL;
	return (int)((rng >> 33) % read->nr_legs);
}

static int select_ewma(struct sim_volume *volume, struct semantos_blk_read *read)
{
	int best = SEMANTOS_BLK_DEFAULT;
	uint64_t least = UINT64_MAX;

	for (uint32_t i = 0; i < read->nr_legs; i++) {
		uint64_t cost =
			(uint64_t)volume->leg[i].ewma_latency_us * (volume->leg[i].inflight + 1);

		if (cost < least || (cost == least && i == read->default_leg)) {
			least = cost;
			best = (int)i;
		}
	}
	return best;
}

/* The second leg of a read of `first`: the one with the fewest requests, as the module has it. */
static void hedge(const struct sim_volume *volume, struct semantos_blk_read *read, uint32_t first)
{
	uint32_t least = UINT32_MAX;

	for (uint32_t i = 0; i < read->nr_legs; i++) {
		if (i == first || volume->leg[i].inflight >= least)
			continue;
		least = volume->leg[i].inflight;
		read->hedge_leg = i;
		read->hedge_after_us = hedge_after_us;
	}
}

static int select_hedge(struct sim_volume *volume, struct semantos_blk_read *read)
{
	hedge(volume, read, read->default_leg);
	return SEMANTOS_BLK_DEFAULT;
}

/* linnos decides on a volume that hedges. */
static int select_inline_hedge(struct sim_volume *volume, struct semantos_blk_read *read)
{
	int leg = sim_policy_inline(volume, read);

	hedge(volume, read,
		leg >= 0 && (uint32_t)leg < read->nr_legs ? (uint32_t)leg : read->default_leg);
	return leg;
}

static int select_oracle(struct sim_volume *volume, struct semantos_blk_read *read)
{
	int best = SEMANTOS_BLK_DEFAULT;
	uint64_t least = UINT64_MAX;

	for (uint32_t i = 0; i < read->nr_legs; i++) {
		uint64_t ns = sim_disk_peek(volume->disk[i], read->now_ns, read->sectors * 512);

		if (ns < least || (ns == least && i == read->default_leg)) {
			least = ns;
			best = (int)i;
		}
	}
	return best;
}

static const struct {
	const char *name;
	sim_select *select;
} plain[] = { { "fewest", NULL }, { "first", select_first }, { "random", select_random },
	{ "ewma", select_ewma }, { "hedge", select_hedge }, { "oracle", select_oracle } };

/* ---- the agent's part ---- */

static void capture(uint32_t leg, const struct semantos_block_record *record)
{
	struct taught *t = &taught[leg];

	if (t->n == t->wanted)
		return;
	if (t->n == t->room) {
		t->room = t->room ? 2 * t->room : 1024;
		t->record = must(realloc(t->record, t->room * sizeof(*t->record)));
	}
	t->record[t->n++] = *record;
}

/* A verdict for the reads after this one; by a control where one stands in for the model. It is there at once. */
static void verdict(uint32_t leg, const struct semantos_block_record *record)
{
	float features[ENCODE_MAX_FEATURES], score;
	const struct model *model = taught[leg].model;

	if (!model)
		return;
	encoder_find(model->encoder)->encode(record, features);
	if (infer_run(plans[leg], scratches[leg], features, 1, &score))
		fail("inference failed");
	placebo_apply(&placebo, &score, 1, model->decision_threshold);
	sim_policy_verdict(leg, score >= model->decision_threshold, record->head.ts_ns, TTL_NS);
}

/* "section.key=value" into a manifest's text, which it replaces. */
static char *with_key(char *text, const char *word)
{
	const char *dot = strchr(word, '.'), *is = strchr(word, '=');
	char section[64], *line, *rest = NULL, *out;
	size_t key_len, room = strlen(text) + strlen(word) + 8, n = 0;

	if (!dot || !is || dot > is)
		fail("'%s' is not SECTION.KEY=VALUE", word);
	key_len = (size_t)(is - dot - 1);
	snprintf(section, sizeof(section), "[%.*s]", (int)(dot - word), word);
	out = must(calloc(1, room));
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		if (!strncmp(line, dot + 1, key_len) && !strncmp(line + key_len, " = ", 3))
			continue;
		n += (size_t)snprintf(out + n, room - n, "%s\n", line);
		if (!strcmp(line, section))
			n += (size_t)snprintf(
				out + n, room - n, "%.*s = %s\n", (int)key_len, dot + 1, is + 1);
	}
	free(text);
	return out;
}

/* The manifest of a row that learns: linnos's, with what plan.txt says of the row. */
static void manifest_of(const char *row, struct manifest *manifest)
{
	char line[512], error[256], *text = must(calloc(1, MANIFEST_MAX_BYTES)), *word, *rest;
	FILE *file = fopen(MANIFEST, "r");
	bool known = false;

	if (!file || !fread(text, 1, MANIFEST_MAX_BYTES - 1, file))
		fail(MANIFEST " cannot be read");
	fclose(file);
	file = fopen(asked.plan, "r");
	while (file && fgets(line, sizeof(line), file)) {
		rest = NULL;
		word = strtok_r(line, " \n", &rest);
		if (!word || strcmp(word, "learned"))
			continue;
		word = strtok_r(NULL, " \n", &rest);
		if (!word || strcmp(word, row))
			continue;
		known = true;
		while ((word = strtok_r(NULL, " \n", &rest)) != NULL)
			text = with_key(text, word);
	}
	if (file)
		fclose(file);
	if (!known)
		fail("plan.txt has no learned row %s", row);
	for (uint32_t i = 0; i < asked.n_keys; i++)
		text = with_key(text, asked.key[i]);
	if (manifest_parse(text, "policies/linnos", manifest, error, sizeof(error)))
		fail("%s", error);
	free(text);
}

static void forget(void)
{
	for (uint32_t i = 0; i < SEMANTOS_BLK_MAX_LEGS; i++) {
		infer_scratch_free(scratches[i]);
		infer_free(plans[i]);
		plans[i] = NULL;
		scratches[i] = NULL;
		model_free(taught[i].model);
		taught[i].model = NULL;
	}
}

static void learn_legs(const char *where, const char *row, uint32_t nr_legs)
{
	struct learn_recipe recipe;
	struct learn_result result;
	struct manifest manifest;
	char error[256], name[16];

	manifest_of(row, &manifest);
	if (manifest_recipe(&manifest, &recipe, error, sizeof(error)))
		fail("%s", error);
	forget();
	for (uint32_t i = 0; i < nr_legs; i++) {
		struct taught *t = &taught[i];

		snprintf(name, sizeof(name), "leg%u", i);
		learn(t->record, t->n, &recipe, name, &result);
		t->model = result.model;
		sim_policy_model(i, t->model, asked.obey || result.heldout.signal,
			asked.obey || result.choice.signal);
		if (t->model) {
			plans[i] = infer_prepare(t->model, 1, INFER_FLOAT);
			scratches[i] = infer_scratch_new(must(plans[i]));
		}
		printf("learned %s %s leg %u of %zu reads: %s; choosing gains %.1f %% (95 %% "
		       "%.1f to %.1f)\n",
			where, row, i, t->n, result.text, 100 * result.choice.gain,
			100 * result.choice.low, 100 * result.choice.high);
	}
}

/* ---- runs ---- */

static int ascending(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static uint32_t p95_us(const struct sim_run *run)
{
	float *us = must(malloc(sizeof(*us) * run->reads));
	uint32_t p95;

	memcpy(us, run->us, sizeof(*us) * run->reads);
	qsort(us, run->reads, sizeof(*us), ascending);
	p95 = (uint32_t)(us[(size_t)run->reads * 95 / 100] * STRETCH);
	free(us);
	return p95;
}

static void run_row(struct sim_volume *volume, const char *name, const struct sim_trace *trace,
	const char *set, const char *row_name, const struct sim_row *row)
{
	struct sim_run run;

	rng = trace->seed;
	hedge_after_us = p95_of_seed[trace->seed % 128];
	sim_replay(volume, trace, row, &run);
	printf("run %s %s %u %s %s %u %u %lld 0\n", name, trace->mix, trace->seed, set, row_name,
		STRETCH, run.reads, (long long)run.extra);
	for (uint32_t k = 0; k < run.reads; k++) {
		if (k % 100 == 0)
			printf("%sreads %s %s %u %s %u %u", k ? "\n" : "", name, trace->mix,
				trace->seed, row_name, STRETCH, k);
		printf(" %ld:%u", (long)(run.us[k] * 10 + .5F), run.leg[k]);
	}
	printf("\n");
	if (!strcmp(row_name, "fewest"))
		p95_of_seed[trace->seed % 128] = p95_us(&run);
	free(run.us);
	free(run.leg);
}

/* Every trace of a volume and a mix: of the set "train" it is the models that learn, of the others rows that run. */
static void each_trace(struct sim_volume *volume, const char *name, const char *mix, bool train,
	const char *row_name, const struct sim_row *row)
{
	char line[256], of[32], trace_mix[32], set[32];
	uint32_t reads;
	struct sim_trace trace = { .mix = mix, .stretch = STRETCH };
	FILE *file = fopen(asked.plan, "r");

	if (!file)
		fail("%s cannot be opened", asked.plan);
	while (fgets(line, sizeof(line), file)) {
		reads = 0;
		if (sscanf(line, "trace %31s %31s %u %u %31s %u", of, trace_mix, &trace.seed,
			    &trace.ms, set, &reads) < 5 ||
			strcmp(of, name) || strcmp(trace_mix, mix) ||
			train != !strcmp(set, "train"))
			continue;
		if (train) {
			struct sim_run run;

			for (uint32_t i = 0; i < volume->nr_legs; i++)
				taught[i].wanted = (asked.learn_rows ?: reads) / volume->nr_legs;
			sim_replay(volume, &trace, row, &run);
			free(run.us);
			free(run.leg);
		} else if (!listed(asked.sets, set)) {
			continue;
		} else if (row) {
			run_row(volume, name, &trace, set, row_name, row);
		} else {
			for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
				if (listed(asked.rows, plain[i].name))
					run_row(volume, name, &trace, set, plain[i].name,
						&(struct sim_row){ .select = plain[i].select });
		}
	}
	fclose(file);
}

static void print_decisions(const char *name, const char *mix, const char *row)
{
	const uint64_t *n = sim_policy_decisions()->count;

	printf("learned %s %s %s decided %llu: unknown %llu, agreed %llu, no signal %llu, moved "
	       "%llu; "
	       "stale %llu, probed %llu, judged %llu, off by %llu us\n",
		name, mix, row, (unsigned long long)n[SEMANTOS_D_DECIDED],
		(unsigned long long)n[SEMANTOS_D_UNKNOWN], (unsigned long long)n[SEMANTOS_D_AGREED],
		(unsigned long long)n[SEMANTOS_D_NO_SIGNAL],
		(unsigned long long)n[SEMANTOS_D_MOVED], (unsigned long long)n[SEMANTOS_D_STALE],
		(unsigned long long)n[SEMANTOS_D_PROBED], (unsigned long long)n[SEMANTOS_D_JUDGED],
		(unsigned long long)(n[SEMANTOS_D_JUDGED]
					     ? n[SEMANTOS_D_ERROR_US] / n[SEMANTOS_D_JUDGED]
					     : 0));
}

static void run_learned(struct sim_volume *volume, const char *name, const char *mix)
{
	/* Which row's models decide, how, and which control stands in for them. */
	static const struct {
		const char *row, *models;
		sim_select *select;
		enum placebo_kind control;
	} rows[] = {
		{ "latency", "latency", sim_policy_inline, PLACEBO_NONE },
		{ "latency-hedge", "latency", select_inline_hedge, PLACEBO_NONE },
		{ "inline", "inline", sim_policy_inline, PLACEBO_NONE },
		{ "async", "async", sim_policy_async, PLACEBO_NONE },
		{ "permuted", "async", sim_policy_async, PLACEBO_PERMUTE },
		{ "always-fast", "async", sim_policy_async, PLACEBO_FAST },
		{ "always-slow", "async", sim_policy_async, PLACEBO_SLOW },
		{ "linnos-digits", "linnos-digits", sim_policy_inline, PLACEBO_NONE },
		{ "heimdall", "heimdall", sim_policy_inline, PLACEBO_NONE },
	};
	const char *models = "";
	char where[80];

	snprintf(where, sizeof(where), "%s %s", name, mix);
	for (uint32_t i = 0; i < volume->nr_legs; i++)
		taught[i].n = 0;
	each_trace(volume, name, mix, true, "", &(struct sim_row){ .captured = capture });
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sim_row row = { .select = rows[i].select, .done = sim_policy_done };

		if (!listed(asked.learned, rows[i].row))
			continue;
		if (strcmp(models, rows[i].models))
			learn_legs(where, rows[i].models, volume->nr_legs);
		models = rows[i].models;
		if (rows[i].select == sim_policy_async)
			row.issued = verdict;
		if (placebo_init(&placebo, rows[i].control, 1))
			fail("no memory");
		sim_policy_start(volume);
		each_trace(volume, name, mix, false, rows[i].row, &row);
		print_decisions(name, mix, rows[i].row);
		placebo_free(&placebo);
	}
	forget();
}

/* ---- the plan ---- */

/* The disk's SPEC of plan.txt with all its times stretched; volume.sh does the same. */
static struct sim_disk *make_disk(const char *name)
{
	char line[512], disk[32], spec[400], words[1024], *word, *rest = NULL;
	FILE *file = fopen(asked.plan, "r");
	size_t n;

	spec[0] = 0;
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "disk %31s %399s", disk, spec) == 2 && !strcmp(disk, name))
			break;
	if (file)
		fclose(file);
	word = strtok_r(spec, ":", &rest);
	if (!word || strcmp(disk, name))
		fail("plan.txt has no disk %s", name);
	n = (size_t)snprintf(words, sizeof(words), "%s:", word);
	if (!strcmp(word, "trace"))
		n += (size_t)snprintf(words + n, sizeof(words) - n, "stretch=%d,", STRETCH);
	while ((word = strtok_r(NULL, ",", &rest)) != NULL) {
		char *value = strchr(word, '=');
		size_t at = value ? (size_t)(value - word) : 0;
		bool time =
			at > 3 && (!strncmp(value - 3, "_us", 3) || !strncmp(value - 3, "_ms", 3) ||
					  !strncmp(value - 3, "_ns", 3));

		if (time)
			n += (size_t)snprintf(words + n, sizeof(words) - n, "%.*s=%lu,", (int)at,
				word, STRETCH * strtoul(value + 1, NULL, 10));
		else if (!strncmp(word, "file=/",
				 6)) /* of the lab's machine: the tree is its root */
			n += (size_t)snprintf(words + n, sizeof(words) - n, "file=%s,", word + 6);
		else
			n += (size_t)snprintf(words + n, sizeof(words) - n, "%s,", word);
	}
	return sim_disk_new(words);
}

static void run_volume(char *disks, const char *name)
{
	static const char *const mixes[] = { "bing", "cosmos", "azure", "mixed" };
	struct sim_volume volume = { 0 };
	char *rest = NULL;

	for (char *disk = strtok_r(disks, " \n", &rest); disk; disk = strtok_r(NULL, " \n", &rest))
		volume.disk[volume.nr_legs++] = make_disk(disk);
	for (size_t i = 0; i < sizeof(mixes) / sizeof(mixes[0]); i++) {
		if (!listed(asked.mixes, mixes[i]))
			continue;
		each_trace(&volume, name, mixes[i], false, "", NULL);
		run_learned(&volume, name, mixes[i]);
	}
	for (uint32_t i = 0; i < volume.nr_legs; i++)
		sim_disk_free(volume.disk[i]);
}

static void take_word(const char *word)
{
	const char *value = strchr(word, '=');
	size_t n = value ? (size_t)(value - word) : 0;

	if (value && !strncmp(word, "replay_volumes", n))
		asked.volumes = value + 1;
	else if (value && !strncmp(word, "replay_mixes", n))
		asked.mixes = value + 1;
	else if (value && !strncmp(word, "replay_rows", n))
		asked.rows = value + 1;
	else if (value && !strncmp(word, "replay_learned", n))
		asked.learned = value + 1;
	else if (value && !strncmp(word, "replay_sets", n))
		asked.sets = value + 1;
	else if (value && !strncmp(word, "learned_rows", n))
		asked.learn_rows = (uint32_t)strtoul(value + 1, NULL, 10);
	else if (value && !strncmp(word, "learned_obey", n))
		asked.obey = !strcmp(value + 1, "yes");
	else if (value && !strncmp(word, "learned_key", n) && asked.n_keys < KEYS_MOST)
		asked.key[asked.n_keys++] = value + 1;
	else
		fail("'%s' is not a word of the top of sim.c", word);
}

int main(int argc, char **argv)
{
	char line[256], name[32];
	FILE *file;
	int at;

	if (argc < 2)
		fail("usage: sim PLAN [WORD...]");
	asked.plan = argv[1];
	for (int i = 2; i < argc; i++)
		take_word(argv[i]);
	file = fopen(asked.plan, "r");
	if (!file)
		fail("%s cannot be opened", asked.plan);
	printf("simulated\n");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "volume %31s %n", name, &at) == 1 && listed(asked.volumes, name))
			run_volume(line + at, name);
	fclose(file);
	return 0;
}
