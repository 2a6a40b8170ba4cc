/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_wish.c - the options of `semantosctl tune`, what contradicts itself among them, and the request they make.
 */
#include "agent/cli/tune_wish.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "agent/cli/ctl.h"
#include "agent/cli/prometheus.h"

#define EVERY_MS 5000
#define EVERY_MAX_MS 600000 /* as the agent bounds it */
#define SLICE_MS 10000 /* the agent's default */
#define SLICE_MIN_MS 20 /* these two as the agent bounds them */
#define SLICE_MAX_MS 600000
#define PAIRS_MIN 8
#define PAIRS_MAX 256
#define TRIALS_MAX 10000

enum {
	OPT_SLO = 256,
	OPT_IMPROVE,
	OPT_HIGHER,
	OPT_LOWER,
	OPT_WORKLOAD,
	OPT_APPLY,
	OPT_KNOB,
	OPT_MEMBERS,
	OPT_SLICE,
	OPT_WASHOUT,
	OPT_PAIRS,
	OPT_TRIALS,
	OPT_SEED,
	OPT_BECAUSE,
	OPT_PROMETHEUS,
	OPT_EVERY,
	OPT_DRY_RUN
};

const struct option tune_wish_options[] = { { "slo", required_argument, NULL, OPT_SLO },
	{ "improve", required_argument, NULL, OPT_IMPROVE },
	{ "higher", no_argument, NULL, OPT_HIGHER }, { "lower", no_argument, NULL, OPT_LOWER },
	{ "workload", required_argument, NULL, OPT_WORKLOAD },
	{ "apply", required_argument, NULL, OPT_APPLY },
	{ "knob", required_argument, NULL, OPT_KNOB },
	{ "members", required_argument, NULL, OPT_MEMBERS },
	{ "slice", required_argument, NULL, OPT_SLICE },
	{ "washout", required_argument, NULL, OPT_WASHOUT },
	{ "pairs", required_argument, NULL, OPT_PAIRS },
	{ "trials", required_argument, NULL, OPT_TRIALS },
	{ "seed", required_argument, NULL, OPT_SEED },
	{ "because", required_argument, NULL, OPT_BECAUSE },
	{ "prometheus", required_argument, NULL, OPT_PROMETHEUS },
	{ "every", required_argument, NULL, OPT_EVERY },
	{ "dry-run", no_argument, NULL, OPT_DRY_RUN }, { 0 } };

const char tune_wish_help[] =
	"Usage: semantosctl tune --slo 'SOURCE < LIMIT'... [--workload CMD] [--apply advise|auto] "
	"[options]\n\n"
	"Let the agent look for better kernel settings as long as this command runs: it proposes, "
	"tries in\n"
	"stages, keeps what gains and undoes the rest. Ctrl-C ends it; what is being tried is "
	"undone then.\n\n"
	"      --slo GUARD        must hold, may be given 16 times: 'block_read_latency[vda].p99 < "
	"2ms',\n"
	"                         'cmd:COMMAND < NUMBER' (the last number of its last line),\n"
	"                         'prom:QUERY < LIMIT'; also <=, > and >=\n"
	"      --improve SOURCE   what is to get better; without it the first --slo's\n"
	"      --higher, --lower  which way that is\n"
	"      --workload CMD     run this again and again: its time, or the number of its last "
	"line\n"
	"                         'metric=NUMBER', is to get better; with --improve it is only "
	"run\n"
	"      --apply HOW        advise: ask before each change (the default); auto: do not ask\n"
	"      --knob NAME        only this setting; or, when it ends in '*', those of low risk "
	"that begin "
	"so;\n"
	"                         may be repeated. Without it those of low risk that move the "
	"metric that is\n"
	"                         to get better; --knob '*' is all of low risk\n"
	"      --members LIST     disks or control groups that are alike, with commas: one value "
	"for all of\n"
	"                         them, tried on a share of them while the others are the control. "
	"The metric\n"
	"                         is METRIC[*]; a command or workload is run for each, as $MEMBER\n"
	"      --slice TIME       one measurement, e.g. 10s\n"
	"      --washout TIME     left out after each change of a value, e.g. 2s\n"
	"      --pairs N          measurements with and without, before a value is judged (8 to "
	"256)\n"
	"      --trials N         proposals tried at most\n"
	"      --seed N           of the order in which slices come\n"
	"      --because TEXT     what it is for; goes on record\n"
	"      --prometheus URL   of the server that is asked (" PROMETHEUS_URL ")\n"
	"      --every TIME       between two runs of a command or query (5s)\n"
	"      --dry-run          check and measure everything once, and change nothing\n\n"
	"Commands run here, as the user who types this, each for at most --timeout.\n\n";

void tune_wish_init(struct tune_wish *wish)
{
	memset(wish, 0, sizeof(*wish));
	wish->apply = "advise";
	wish->every_ms = EVERY_MS;
}

static bool direction(struct tune_wish *wish, enum tune_direction to, char *why, size_t why_len)
{
	if (wish->said != TUNE_UNSAID && wish->said != to) {
		snprintf(why, why_len, "--higher and --lower contradict each other: give one");
		return false;
	}
	wish->said = to;
	return true;
}

static bool add_guard(struct tune_wish *wish, const char *value, char *why, size_t why_len)
{
	if (wish->n_guards == TUNE_WISH_GUARDS) {
		snprintf(why, why_len, "--slo may be given %d times at most", TUNE_WISH_GUARDS);
		return false;
	}
	return goal_parse_guard(value, &wish->guard[wish->n_guards++], why, why_len) == 0;
}

static bool add_knob(struct tune_wish *wish, const char *value, char *why, size_t why_len)
{
	if (wish->n_knobs == TUNE_WISH_KNOBS)
		snprintf(why, why_len, "--knob may be given %d times at most", TUNE_WISH_KNOBS);
	else if ((!strchr(value, ':') && strcmp(value, "*") != 0) || strlen(value) >= 200)
		snprintf(why, why_len,
			"\"%.60s\" names no knob: it is e.g. sysctl:vm.swappiness or sysctl:vm.*, "
			"see "
			"`semantosctl knobs`",
			value);
	else
		wish->knob[wish->n_knobs++] = value;
	return !why[0];
}

/* "vda,vdb,vdc" */
static bool add_members(struct tune_wish *wish, const char *value, char *why, size_t why_len)
{
	snprintf(why, why_len,
		"--members takes 2 to %d disks or control groups, each once, e.g. vda,vdb,vdc, not "
		"\"%.60s\"",
		TUNE_WISH_MEMBERS, value);
	for (const char *at = value;; at++) {
		size_t len = strcspn(at, ",");

		if (len == 0 || len >= GOAL_NAME_MAX || memchr(at, '*', len) ||
			wish->n_members == TUNE_WISH_MEMBERS)
			return false;
		snprintf(wish->member[wish->n_members], GOAL_NAME_MAX, "%.*s", (int)len, at);
		for (size_t m = 0; m < wish->n_members; m++) {
			if (strcmp(wish->member[m], wish->member[wish->n_members]) == 0)
				return false;
		}
		wish->n_members++;
		at += len;
		if (!*at)
			return true;
	}
}

static bool duration(const char *option, const char *value, uint32_t min_ms, uint32_t max_ms,
	uint32_t *ms, char *why, size_t why_len)
{
	snprintf(why, why_len, "%s takes %g s to %g s, e.g. 10s or 500ms, not \"%.40s\"", option,
		min_ms / 1000.0, max_ms / 1000.0, value);
	return goal_duration_ms(value, min_ms, max_ms, ms);
}

static bool count(const char *option, const char *value, uint64_t min, uint64_t max, uint64_t *n,
	char *why, size_t why_len)
{
	snprintf(why, why_len, "%s takes %llu to %llu, not \"%.40s\"", option,
		(unsigned long long)min, (unsigned long long)max, value);
	return ctl_number(value, min, max, n);
}

static bool workload(struct tune_wish *wish, const char *value, char *why, size_t why_len)
{
	char text[GOAL_TEXT_MAX + 8];

	if (wish->has_workload) {
		snprintf(why, why_len, "--workload may be given once: put two into one script");
		return false;
	}
	snprintf(text, sizeof(text), "cmd:%s", value);
	if (goal_parse_source(text, &wish->workload, why, why_len))
		return false;
	wish->workload.kind = GOAL_WORKLOAD;
	wish->has_workload = true;
	return true;
}

bool tune_wish_option(void *ctx, int id, const char *value, char *why, size_t why_len)
{
	struct tune_wish *wish = ctx;
	uint64_t n = 0;
	bool ok;

	switch (id) {
	case OPT_SLO:
		return add_guard(wish, value, why, why_len);
	case OPT_IMPROVE:
		snprintf(why, why_len, "--improve may be given once");
		ok = !wish->has_improve;
		wish->has_improve = true;
		return ok && goal_parse_source(value, &wish->improve, why, why_len) == 0;
	case OPT_HIGHER:
		return direction(wish, TUNE_HIGHER, why, why_len);
	case OPT_LOWER:
		return direction(wish, TUNE_LOWER, why, why_len);
	case OPT_WORKLOAD:
		return workload(wish, value, why, why_len);
	case OPT_APPLY:
		snprintf(why, why_len, "--apply takes advise or auto, not %.40s", value);
		wish->apply = value;
		return strcmp(value, "advise") == 0 || strcmp(value, "auto") == 0;
	case OPT_KNOB:
		return add_knob(wish, value, why, why_len);
	case OPT_MEMBERS:
		return add_members(wish, value, why, why_len);
	case OPT_SLICE:
		return duration("--slice", value, SLICE_MIN_MS, SLICE_MAX_MS, &wish->slice_ms, why,
			why_len);
	case OPT_WASHOUT:
		return duration("--washout", value, SLICE_MIN_MS, SLICE_MAX_MS, &wish->washout_ms,
			why, why_len);
	case OPT_EVERY:
		return duration("--every", value, SLICE_MIN_MS, EVERY_MAX_MS, &wish->every_ms, why,
			why_len);
	case OPT_PAIRS:
		ok = count("--pairs", value, PAIRS_MIN, PAIRS_MAX, &n, why, why_len);
		wish->pairs = (uint32_t)n;
		return ok;
	case OPT_TRIALS:
		ok = count("--trials", value, 1, TRIALS_MAX, &n, why, why_len);
		wish->trials = (uint32_t)n;
		return ok;
	case OPT_SEED:
		return count("--seed", value, 0, UINT64_MAX, &wish->seed, why, why_len);
	case OPT_BECAUSE:
		snprintf(why, why_len, "--because takes 1 to 255 bytes");
		wish->because = value;
		return *value && strlen(value) <= 255;
	case OPT_PROMETHEUS:
		wish->prometheus = value;
		return prometheus_url(value, why, why_len) == 0;
	case OPT_DRY_RUN:
		wish->dry_run = true;
		return true;
	default:
		return false;
	}
}

static bool asks_prometheus(const struct tune_wish *wish)
{
	bool any = wish->has_improve && wish->improve.kind == GOAL_PROMETHEUS;

	for (size_t i = 0; i < wish->n_guards; i++)
		any |= wish->guard[i].source.kind == GOAL_PROMETHEUS;
	return any;
}

/* Which way the guards say the objective gets better, if one of them is about it. */
static enum tune_direction of_guards(const struct tune_wish *wish)
{
	for (size_t i = 0; i < wish->n_guards; i++) {
		if (goal_same(&wish->guard[i].source, &wish->objective))
			return wish->guard[i].relation[0] == '<' ? TUNE_LOWER : TUNE_HIGHER;
	}
	return TUNE_UNSAID;
}

/* A * that is not at its end is the place of a member's name. */
static int check_stars(const struct tune_wish *wish, char *why, size_t why_len)
{
	for (size_t i = 0; i < wish->n_knobs; i++) {
		const char *star = strchr(wish->knob[i], '*');

		if (wish->n_members || !star || !star[1])
			continue;
		snprintf(why, why_len,
			"\"%.60s\" has a * that is not at its end: that is the place of a member's "
			"name, so give --members",
			wish->knob[i]);
		return -EINVAL;
	}
	return 0;
}

/* A guard of METRIC[*] is one of each member. */
static int spread_guards(struct tune_wish *wish, char *why, size_t why_len)
{
	struct goal_guard guard[TUNE_WISH_GUARDS];
	size_t n = 0;

	for (size_t i = 0; i < wish->n_guards; i++) {
		bool each = strcmp(wish->guard[i].source.label, "*") == 0;

		for (size_t m = 0; m < (each ? wish->n_members : 1); m++) {
			if (n == TUNE_WISH_GUARDS) {
				snprintf(why, why_len,
					"With one of each member there are more than %d guards",
					TUNE_WISH_GUARDS);
				return -EINVAL;
			}
			guard[n] = wish->guard[i];
			if (each)
				strcpy(guard[n].source.label, wish->member[m]);
			n++;
		}
	}
	memcpy(wish->guard, guard, n * sizeof(guard[0]));
	wish->n_guards = n;
	return 0;
}

/* The objective of each member, and what contradicts that. */
static int settle_members(struct tune_wish *wish, char *why, size_t why_len)
{
	const struct goal_source *objective = &wish->objective;
	bool star = strcmp(objective->label, "*") == 0;

	for (size_t i = 0; i < wish->n_guards && !wish->n_members; i++)
		star |= strcmp(wish->guard[i].source.label, "*") == 0;
	if (star && !wish->n_members)
		snprintf(why, why_len, "[*] stands for each of --members, which are missing");
	else if (wish->n_members == 1)
		snprintf(why, why_len,
			"One member has nobody to be compared with: leave out "
			"--members, or give two");
	else if (wish->n_members && objective->kind == GOAL_PROMETHEUS)
		snprintf(why, why_len,
			"With --members the objective is METRIC[*], a command or a "
			"workload, which are measured for each");
	else if (wish->n_members && objective->kind == GOAL_TELEMETRY && !star)
		snprintf(why, why_len,
			"With --members the objective is measured for each of them: write %.60s[*]",
			objective->metric);
	if (why[0])
		return -EINVAL;
	for (size_t m = 0; m < wish->n_members; m++) {
		wish->of_member[m] = *objective;
		strcpy(wish->of_member[m].label, wish->member[m]);
	}
	return spread_guards(wish, why, why_len);
}

int tune_wish_settle(struct tune_wish *wish, char *why, size_t why_len)
{
	char text[GOAL_TEXT_MAX + 8];

	if (wish->prometheus && !asks_prometheus(wish)) {
		snprintf(why, why_len,
			"--prometheus is given, and nothing is asked of it: add --slo 'prom:QUERY "
			"< "
			"LIMIT', or leave it out");
		return -EINVAL;
	}
	if (!wish->prometheus)
		wish->prometheus = PROMETHEUS_URL;
	if (wish->has_improve) {
		wish->objective = wish->improve;
		wish->workload_is_load = wish->has_workload;
	} else if (wish->has_workload) {
		wish->objective = wish->workload;
	} else if (wish->n_guards > 0) {
		wish->objective = wish->guard[0].source;
	} else {
		snprintf(why, why_len,
			"Something to hold or to improve is missing: give --slo, --workload or "
			"--improve");
		return -EINVAL;
	}
	if (!goal_of_one_interval(&wish->objective)) {
		goal_source_text(&wish->objective, text, sizeof(text));
		snprintf(why, why_len,
			"%.80s is taken over the last minutes, so slices of time cannot be "
			"compared by "
			"it: improve its value, and hold this",
			text);
		return -EINVAL;
	}
	wish->direction = wish->said != TUNE_UNSAID ? wish->said : of_guards(wish);
	if (check_stars(wish, why, why_len) || settle_members(wish, why, why_len))
		return -EINVAL;
	if (wish->direction == TUNE_UNSAID && goal_better(&wish->objective) < 0)
		wish->direction = TUNE_LOWER;
	if (wish->direction == TUNE_UNSAID && wish->objective.kind != GOAL_WORKLOAD) {
		goal_source_text(&wish->objective, text, sizeof(text));
		snprintf(why, why_len, "Is more or less of %.80s better? Add --higher or --lower",
			text);
		return -EINVAL;
	}
	return 0;
}

int tune_wish_slice(struct tune_wish *wish, uint32_t took_ms, char *why, size_t why_len)
{
	bool again = wish->objective.kind == GOAL_WORKLOAD;
	uint64_t need_ms = took_ms + (uint64_t)(again ? took_ms : wish->every_ms);
	uint64_t slice_ms = wish->slice_ms ? wish->slice_ms : SLICE_MS;

	if (wish->objective.kind == GOAL_TELEMETRY || need_ms <= slice_ms)
		return 0;
	need_ms = need_ms * 5 / 4; /* one run is not as long as another */
	need_ms = (need_ms + 999) / 1000 * 1000;
	if (need_ms > SLICE_MAX_MS) {
		snprintf(why, why_len,
			"A run takes %.1f s, which is too long to be compared: give a shorter one",
			took_ms / 1000.0);
		return -EINVAL;
	}
	if (wish->slice_ms) {
		snprintf(why, why_len,
			"A run takes %.1f s%s, so a slice of %g s may hold none whole: give "
			"--slice %llus "
			"or leave it out",
			took_ms / 1000.0, again ? "" : " and begins at most every --every",
			wish->slice_ms / 1000.0, (unsigned long long)(need_ms / 1000));
		return -EINVAL;
	}
	wish->slice_ms = (uint32_t)need_ms;
	return 0;
}

size_t tune_wish_sources(const struct tune_wish *wish)
{
	return 1 + wish->n_guards + wish->n_members;
}

bool tune_wish_measured(const struct tune_wish *wish, size_t i)
{
	return i > 0 || !wish->n_members;
}

const struct goal_source *tune_wish_source(const struct tune_wish *wish, size_t i)
{
	if (i > wish->n_guards)
		return &wish->of_member[i - 1 - wish->n_guards];
	return i == 0 ? &wish->objective : &wish->guard[i - 1].source;
}

/* How often the agent hears of it at least: a slow one when it ends, one that hangs after its timeout. */
static uint32_t heard_every(const struct tune_wish *wish, enum goal_kind kind, uint32_t timeout_ms)
{
	uint32_t ms = kind == GOAL_WORKLOAD ? timeout_ms : wish->every_ms;

	if (kind != GOAL_PROMETHEUS && ms < timeout_ms)
		ms = timeout_ms;
	return ms < EVERY_MAX_MS ? ms : EVERY_MAX_MS;
}

static void source_message(const struct tune_wish *wish, const struct goal_source *source,
	uint32_t timeout_ms, Semantos__V1__Source *message)
{
	semantos__v1__source__init(message);
	message->kind = (char *)goal_kind_name(source->kind);
	message->metric = (char *)source->metric;
	message->label = (char *)source->label;
	message->figure = (char *)source->figure;
	message->text = (char *)source->text;
	if (source->kind != GOAL_TELEMETRY)
		message->every_ms = heard_every(wish, source->kind, timeout_ms);
}

void tune_wish_request(
	const struct tune_wish *wish, uint32_t timeout_ms, struct tune_request *request)
{
	Semantos__V1__TuneRequest *message = &request->message;

	semantos__v1__tune_request__init(message);
	source_message(wish, &wish->objective, timeout_ms, &request->source[0]);
	message->objective = &request->source[0];
	message->lower_is_better = wish->direction != TUNE_HIGHER;
	for (size_t i = 0; i < wish->n_guards; i++) {
		Semantos__V1__Guard *guard = &request->guard[i];

		source_message(wish, &wish->guard[i].source, timeout_ms, &request->source[1 + i]);
		semantos__v1__guard__init(guard);
		guard->source = &request->source[1 + i];
		guard->relation = (char *)wish->guard[i].relation;
		guard->limit = wish->guard[i].limit;
		request->guards[i] = guard;
	}
	message->n_guards = wish->n_guards;
	message->guards = request->guards;
	for (size_t m = 0; m < wish->n_members; m++)
		request->members[m] = (char *)wish->member[m];
	message->n_members = wish->n_members;
	message->members = request->members;
	message->n_knobs = wish->n_knobs;
	message->knobs = (char **)wish->knob;
	message->apply = (char *)wish->apply;
	message->slice_ms = wish->slice_ms;
	message->washout_ms = wish->washout_ms;
	message->pairs = wish->pairs;
	message->trials = wish->trials;
	message->seed = wish->seed;
	if (wish->because)
		message->because = (char *)wish->because;
}
