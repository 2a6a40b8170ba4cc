/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_stats.c - semantosctl stats: records, verdicts, what was dropped and why, and what all of it costs.
 *
 * With --watch asks again at an interval, over a new connection each time, so that an agent restarted meanwhile is
 * found again.
 */
#include "agent/cli/commands.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "agent/api/counter_names.h"
#include "agent/cli/ctl.h"
#include "agent/cli/status_json.h"
#include "agent/cli/table.h"

#define COUNT_MAX 1000000

enum { OPT_WATCH = 256, OPT_INTERVAL, OPT_COUNT };

struct watch {
	bool on;
	uint64_t interval_s, count;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

static bool stats_option(void *ctx, int id, const char *value, char *why, size_t why_len)
{
	struct watch *watch = ctx;

	switch (id) {
	case OPT_WATCH:
		watch->on = true;
		return true;
	case OPT_INTERVAL:
		snprintf(why, why_len, "--interval takes 1 to 3600 seconds");
		return ctl_number(value, 1, 3600, &watch->interval_s);
	case OPT_COUNT:
		snprintf(why, why_len, "--count takes 1 to %d", COUNT_MAX);
		return ctl_number(value, 1, COUNT_MAX, &watch->count);
	default:
		return false;
	}
}

/* The last seen values of one policy's counters, for the rate column. */
struct seen {
	char policy[64];
	uint64_t value[64];
	size_t n;
	double at_s;
};
#define MAX_SEEN 16
static struct seen seen[MAX_SEEN];

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct seen *seen_of(const char *policy)
{
	for (unsigned int i = 0; i < MAX_SEEN; i++) {
		if (!seen[i].policy[0])
			snprintf(seen[i].policy, sizeof(seen[i].policy), "%s", policy);
		if (strcmp(seen[i].policy, policy) == 0)
			return &seen[i];
	}
	return NULL;
}

/* "+1,234/s" since the last look, "" the first time. */
static const char *rate(
	char *buf, size_t len, const struct seen *before, size_t i, uint64_t value, double now)
{
	char count[32];

	buf[0] = '\0';
	if (before && before->n > i && value >= before->value[i] && now > before->at_s)
		snprintf(buf, len, "%s/s",
			ctl_count(count, sizeof(count),
				(uint64_t)((double)(value - before->value[i]) /
						   (now - before->at_s) +
					   0.5)));
	return buf;
}

static void counter_rows(struct table *table, const Semantos__V1__Policy *policy, bool drops)
{
	struct seen *before = seen_of(policy->name);
	double now = now_s();
	char buf[64];

	for (size_t i = 0; i < policy->n_counters; i++) {
		const Semantos__V1__Counter *counter = policy->counters[i];
		const char *meaning = counter_meaning(counter->name);

		if (counter_is_drop(counter->name) != drops)
			continue;
		table_cell(table, "%s", counter->name);
		table_cell(table, "%s", ctl_count(buf, sizeof(buf), counter->value));
		table_cell(table, "%s", rate(buf, sizeof(buf), before, i, counter->value, now));
		table_cell(table, "%s", meaning ? meaning : "");
	}
}

static void remember(const Semantos__V1__Policy *policy)
{
	struct seen *entry = seen_of(policy->name);

	if (!entry)
		return;
	entry->n = policy->n_counters < 64 ? policy->n_counters : 64;
	for (size_t i = 0; i < entry->n; i++)
		entry->value[i] = policy->counters[i]->value;
	entry->at_s = now_s();
}

static void agent_row(struct table *table, const char *name, uint64_t value, const char *meaning)
{
	char buf[32];

	table_cell(table, "%s", name);
	table_cell(table, "%s", ctl_count(buf, sizeof(buf), value));
	table_cell(table, "%s", "");
	table_cell(table, "%s", meaning);
}

static int print_counters(const Semantos__V1__Policy *policy, bool drops)
{
	static const char *const counted[] = { "COUNTED", ">TOTAL", ">NOW", "WHAT IT IS", NULL };
	static const char *const lost[] = { "DROPPED", ">TOTAL", ">NOW", "WHY", NULL };
	struct table *table = table_new(drops ? lost : counted);
	int err;

	counter_rows(table, policy, drops);
	if (!drops) {
		agent_row(table, "delivered", policy->delivered,
			"records the agent took from the rings");
		agent_row(table, "batches", policy->batches, "batches they were predicted in");
		agent_row(table, "verdicts_stored", policy->verdicts_stored, "verdicts written");
		agent_row(table, "verdicts_refused_stale", policy->verdicts_refused_stale,
			"verdicts that came too late and were not written");
		agent_row(table, "ring_bad_records", policy->ring_bad_records,
			"records refused: version, size or slot");
	}
	err = table_print(table, stdout, 2, ctl_width());
	table_free(table);
	return err;
}

static int print_cost(const Semantos__V1__Policy *policy)
{
	static const char *const headers[] = { "BPF PROGRAM", ">ID", ">RUNS", ">NS PER RUN",
		">MISSED", NULL };
	struct table *table = table_new(headers);
	uint64_t runs = 0;
	char buf[64];
	int err;

	for (size_t i = 0; i < policy->n_programs; i++) {
		const Semantos__V1__Program *program = policy->programs[i];

		runs += program->runs;
		table_cell(table, "%s", program->name);
		table_cell(table, "%u", program->id);
		table_cell(table, "%s", ctl_count(buf, sizeof(buf), program->runs));
		if (program->runs > 0)
			table_cell(table, "%.0f", (double)program->run_ns / (double)program->runs);
		else
			table_cell(table, "-");
		table_cell(table, "%s", ctl_count(buf, sizeof(buf), program->missed));
	}
	err = policy->n_programs > 0 ? table_print(table, stdout, 2, ctl_width()) : 0;
	table_free(table);
	if (runs == 0)
		printf("  The kernel counted no run of the programs: run-time statistics are off "
		       "or just began.\n");
	if (isfinite(policy->decide_us_p50))
		printf("  From ring to verdict, per batch: half within %.1f us%s",
			policy->decide_us_p50, isfinite(policy->decide_us_p99) ? "" : ".\n");
	if (isfinite(policy->decide_us_p50) && isfinite(policy->decide_us_p99))
		printf(", 99 %% within %.1f us.\n", policy->decide_us_p99);
	return err;
}

static int print_stats(const Semantos__V1__AgentStatus *status)
{
	int err = 0;

	printf("semantos-agent (process %u): %.2f %% of one CPU, %.1f MiB resident.\n", status->pid,
		status->cpu_percent, (double)status->rss_bytes / (1 << 20));
	if (status->n_policies == 0)
		printf("No policy is attached.\n");
	for (size_t i = 0; i < status->n_policies && !err; i++) {
		const Semantos__V1__Policy *policy = status->policies[i];
		char age[32];

		printf("\n%s, attached %s ago\n", policy->name,
			ctl_age(age, sizeof(age), policy->age_s));
		err = print_counters(policy, false);
		putchar('\n');
		if (!err)
			err = print_counters(policy, true);
		putchar('\n');
		if (!err)
			err = print_cost(policy);
		remember(policy);
	}
	fflush(stdout);
	return err ? EXIT_CODE_FAILED : EXIT_CODE_OK;
}

static int stats_once(const struct ctl *ctl, const char *policy)
{
	int code;
	Semantos__V1__AgentStatus *status = ctl_status(ctl, policy, &code);

	if (!status)
		return code;
	code = ctl->json ? ctl_print_json(status_json(status)) : print_stats(status);
	semantos__v1__agent_status__free_unpacked(status, NULL);
	return code;
}

int cmd_stats(int argc, char **argv)
{
	static const struct option options[] = { { "watch", no_argument, NULL, OPT_WATCH },
		{ "interval", required_argument, NULL, OPT_INTERVAL },
		{ "count", required_argument, NULL, OPT_COUNT }, { 0 } };
	struct ctl ctl = { .command = "stats",
		.usage = "Usage: semantosctl stats [NAME] [--watch]\n\n"
			 "Show what was counted, what was dropped and why, and what the agent "
			 "itself costs.\n\n"
			 "      --watch          again and again, until interrupted; with --json "
			 "one object a line\n"
			 "      --interval S     seconds between two looks of --watch (1)\n"
			 "      --count N        end after N looks\n" };
	struct sigaction action = { .sa_handler = on_interrupt };
	struct watch watch = { .interval_s = 1, .count = UINT64_MAX };
	const char *policy;
	int code = ctl_parse(&ctl, argc, argv, options, stats_option, &watch, 0, 1);

	if (code != CTL_GO_ON)
		return code;
	policy = argv[optind];
	if (!watch.on)
		return stats_once(&ctl, policy);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	for (uint64_t i = 0; i < watch.count && !interrupted; i++) {
		if (i > 0)
			sleep((unsigned int)watch.interval_s); /* a signal ends it early */
		if (interrupted)
			break;
		if (!ctl.json && isatty(STDOUT_FILENO))
			fputs("\033[H\033[2J", stdout);
		code = stats_once(&ctl, policy);
		/* nobody reads any more, or the disk is full: semantosctl.c says so */
		if (code != EXIT_CODE_OK || ferror(stdout))
			return code;
	}
	return EXIT_CODE_OK;
}
