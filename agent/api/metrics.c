// SPDX-License-Identifier: Apache-2.0
/*
 * metrics.c - Prometheus' text format: base units, one family after another, nothing for what is not defined.
 */
#include "agent/api/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include "agent/api/counter_names.h"
#include "agent/core/control.h"

#define PREFIX "semantos_"

static void family(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP " PREFIX "%s %s.\n# TYPE " PREFIX "%s %s\n", name, help, name, type);
}

/* A label's value may hold anything; the format wants three characters escaped, and UTF-8. */
static void label_value(FILE *out, const char *value)
{
	for (; *value; value++) {
		if (*value == '\\' || *value == '"')
			fprintf(out, "\\%c", *value);
		else
			fputc(*value < ' ' || *value > '~' ? '?' : *value, out);
	}
}

/* {a="x",b="y"}; names may be NULL. */
static void labels(FILE *out, const char *a, const char *x, const char *b, const char *y)
{
	if (!a && !b)
		return;
	fputc('{', out);
	if (a) {
		fprintf(out, "%s=\"", a);
		label_value(out, x);
		fputc('"', out);
	}
	if (b) {
		fprintf(out, "%s%s=\"", a ? "," : "", b);
		label_value(out, y);
		fputc('"', out);
	}
	fputc('}', out);
}

static void sample(FILE *out, const char *name, const char *a, const char *x, const char *b,
	const char *y, double value)
{
	if (!isfinite(value))
		return;
	fprintf(out, PREFIX "%s", name);
	labels(out, a, x, b, y);
	fprintf(out, " %.15g\n", value);
}

static void count(FILE *out, const char *name, const char *a, const char *x, const char *b,
	const char *y, uint64_t value)
{
	fprintf(out, PREFIX "%s", name);
	labels(out, a, x, b, y);
	fprintf(out, " %" PRIu64 "\n", value);
}

/* ---- the agent and its policies ---- */

static void agent_figures(FILE *out, const struct agent_view *agent)
{
	struct rusage usage = { 0 };

	getrusage(RUSAGE_SELF,
		&usage); /* the view has a percentage, of which no counter can be made */
	family(out, "build_info", "gauge", "Version of the agent, and the kernel it runs on");
	count(out, "build_info", "version", agent->version, "kernel", agent->kernel, 1);
	family(out, "agent_uptime_seconds", "gauge", "Time since the agent's start");
	count(out, "agent_uptime_seconds", NULL, NULL, NULL, NULL, agent->uptime_s);
	family(out, "agent_cpu_seconds_total", "counter", "CPU time of the agent, all its threads");
	sample(out, "agent_cpu_seconds_total", NULL, NULL, NULL, NULL,
		(double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
			(double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
	family(out, "agent_resident_memory_bytes", "gauge", "Resident memory of the agent");
	count(out, "agent_resident_memory_bytes", NULL, NULL, NULL, NULL, agent->rss_bytes);
	family(out, "lease_live", "gauge", "1 while decisions may be obeyed");
	count(out, "lease_live", NULL, NULL, NULL, NULL, agent->lease_live);
	family(out, "lease_renewals_total", "counter", "Renewals of the lease");
	count(out, "lease_renewals_total", NULL, NULL, NULL, NULL, agent->lease_renewals);
	family(out, "records_unaccounted_total", "counter",
		"Records that no counter explains: must be 0");
	count(out, "records_unaccounted_total", NULL, NULL, NULL, NULL, agent->unaccounted);
	family(out, "changes_in_force", "gauge", "Changes of kernel settings in force");
	count(out, "changes_in_force", NULL, NULL, NULL, NULL, agent->n_changes);
	family(out, "policies_quarantined", "gauge", "Policies that may not be attached any more");
	count(out, "policies_quarantined", NULL, NULL, NULL, NULL, agent->n_quarantined);
}

static uint64_t delivered(const struct policy_view *p)
{
	return p->delivered;
}
static uint64_t batches(const struct policy_view *p)
{
	return p->batches;
}
static uint64_t stored(const struct policy_view *p)
{
	return p->verdicts_stored;
}
static uint64_t stale(const struct policy_view *p)
{
	return p->verdicts_refused_stale;
}
static uint64_t bad(const struct policy_view *p)
{
	return p->ring_bad_records;
}

static void policy_counts(FILE *out, const struct agent_view *agent)
{
	static const struct {
		const char *name, *help;
		uint64_t (*of)(const struct policy_view *policy);
	} rows[] = {
		{ "policy_delivered_total", "Records the agent took from a policy's rings",
			delivered },
		{ "policy_batches_total", "Batches they were predicted in", batches },
		{ "policy_verdicts_total", "Verdicts stored", stored },
		{ "policy_verdicts_stale_total", "Verdicts that came too late and were not stored",
			stale },
		{ "policy_bad_records_total", "Records refused: version, size or slot", bad },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		family(out, rows[i].name, "counter", rows[i].help);
		for (uint32_t k = 0; k < agent->n_policies; k++)
			count(out, rows[i].name, "policy", agent->policy[k].name, NULL, NULL,
				rows[i].of(&agent->policy[k]));
	}
}

/* Counters of the BPF half: those of what was lost are a family of their own. */
static void policy_events(FILE *out, const struct agent_view *agent, bool drops)
{
	const char *name = drops ? "policy_dropped_total" : "policy_events_total";

	family(out, name, "counter",
		drops ? "Records and outcomes lost, by cause"
		      : "What a policy's hooks counted, by kind");
	for (uint32_t k = 0; k < agent->n_policies; k++) {
		for (unsigned int i = 0; i < SEMANTOS_C_NR; i++) {
			if (counter_is_drop(counter_name(i)) == drops)
				count(out, name, "policy", agent->policy[k].name,
					drops ? "cause" : "event", counter_name(i),
					agent->policy[k].counters.count[i]);
		}
	}
}

static void policy_programs(FILE *out, const struct agent_view *agent)
{
	static const struct {
		const char *name, *help;
	} rows[] = {
		{ "bpf_program_runs_total",
			"Runs of a policy's BPF programs while the kernel counted them" },
		{ "bpf_program_run_seconds_total", "Time those runs took" },
		{ "bpf_program_missed_total",
			"Runs skipped, because the hook was active on that CPU already" },
	};

	for (int row = 0; row < 3; row++) {
		family(out, rows[row].name, "counter", rows[row].help);
		for (uint32_t k = 0; k < agent->n_policies; k++) {
			const struct policy_view *policy = &agent->policy[k];

			for (uint32_t i = 0; i < policy->n_programs; i++) {
				const struct program_view *program = &policy->program[i];

				sample(out, rows[row].name, "policy", policy->name, "program",
					program->name,
					row == 0   ? (double)program->runs
					: row == 1 ? (double)program->run_ns / 1e9
						   : (double)program->missed);
			}
		}
	}
}

static double auc(const struct device_view *d)
{
	return d->score.auc;
}
static double slow(const struct device_view *d)
{
	return d->score.slow_share;
}
static double live(const struct device_view *d)
{
	return d->verdict_live;
}
static double has_signal(const struct device_view *d)
{
	return d->signal;
}
static double judged(const struct device_view *d)
{
	return (double)d->score.evaluated;
}
static double p99(const struct device_view *d)
{
	return d->latency_us_p99 / 1e6;
}

static void policy_devices(FILE *out, const struct agent_view *agent)
{
	static const struct {
		const char *name, *type, *help;
		double (*of)(const struct device_view *device);
	} rows[] = {
		{ "device_evaluated_total", "counter", "Predictions compared with what happened",
			judged },
		{ "device_auc", "gauge", "Area under the curve of the last predictions", auc },
		{ "device_slow_ratio", "gauge", "Share of slow reads among them", slow },
		{ "device_read_p99_seconds", "gauge", "p99 of the reads a policy saw", p99 },
		{ "device_signal", "gauge", "1 when the model beat both baselines", has_signal },
		{ "device_verdict_live", "gauge", "1 while a verdict is fresh", live },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		family(out, rows[i].name, rows[i].type, rows[i].help);
		for (uint32_t k = 0; k < agent->n_policies; k++) {
			const struct policy_view *policy = &agent->policy[k];

			for (uint32_t j = 0; j < policy->n_devices; j++) {
				if (policy->device[j].phase != DEVICE_GONE)
					sample(out, rows[i].name, "policy", policy->name, "device",
						policy->device[j].name,
						rows[i].of(&policy->device[j]));
			}
		}
	}
}

static void policies(FILE *out, const struct agent_view *agent)
{
	family(out, "policy_mode", "gauge", "1 for the mode a policy is in");
	for (uint32_t k = 0; k < agent->n_policies; k++)
		count(out, "policy_mode", "policy", agent->policy[k].name, "mode",
			control_mode_name(agent->policy[k].mode), 1);
	family(out, "policy_decide_median_seconds", "gauge",
		"From ring to verdict, a batch, at the median");
	for (uint32_t k = 0; k < agent->n_policies; k++)
		sample(out, "policy_decide_median_seconds", "policy", agent->policy[k].name, NULL,
			NULL, agent->policy[k].decide_us_p50 / 1e6);
	family(out, "policy_decide_p99_seconds", "gauge",
		"From ring to verdict, a batch, at the p99");
	for (uint32_t k = 0; k < agent->n_policies; k++)
		sample(out, "policy_decide_p99_seconds", "policy", agent->policy[k].name, NULL,
			NULL, agent->policy[k].decide_us_p99 / 1e6);
	policy_counts(out, agent);
	policy_events(out, agent, false);
	policy_events(out, agent, true);
	policy_programs(out, agent);
	policy_devices(out, agent);
}

/* ---- telemetry ---- */

/* "softirq_time_ratio", "page_in_bytes_total" ... */
static void name_of(char *name, size_t len, const struct metric_def *def)
{
	const char *unit = metric_unit_name(def->unit);

	snprintf(name, len, "%s%s%s%s", def->name, *unit ? "_" : "", unit,
		def->kind == METRIC_RATE ? "_total" : "");
}

static void metric_sample(FILE *out, const char *name, const struct metric_view *view)
{
	const struct metric_def *def = &metric_defs[view->def];
	const char *label = *def->label ? def->label : NULL;
	char part[96];

	switch (def->kind) {
	case METRIC_LEVEL:
		sample(out, name, label, view->label, NULL, NULL, view->value);
		break;
	case METRIC_RATE:
		sample(out, name, label, view->label, NULL, NULL, view->sum);
		break;
	case METRIC_TIMES:
		sample(out, name, label, view->label, "quantile", "0.5", view->median);
		sample(out, name, label, view->label, "quantile", "0.95", view->p95);
		sample(out, name, label, view->label, "quantile", "0.99", view->p99);
		snprintf(part, sizeof(part), "%s_sum", name);
		sample(out, part, label, view->label, NULL, NULL, view->sum);
		snprintf(part, sizeof(part), "%s_count", name);
		count(out, part, label, view->label, NULL, NULL, view->events);
		break;
	}
}

static void telemetry_figures(FILE *out, const struct telemetry_view *view)
{
	static const char *const types[] = { "summary", "counter", "gauge" };
	uint32_t last = METRIC_NR;
	char name[80];

	for (size_t i = 0; i < view->n_metrics; i++) {
		const struct metric_def *def = &metric_defs[view->metric[i].def];

		if (view->metric[i].def != last) {
			char help[160], *rate;

			name_of(name, sizeof(name), def);
			snprintf(help, sizeof(help), "%s", def->help);
			/* here it is what was counted, and the reader takes the rate */
			rate = def->kind == METRIC_RATE ? strstr(help, " per second") : NULL;
			if (rate)
				*(rate[-1] == ',' ? rate - 1 : rate) = 0;
			family(out, name, types[def->kind], help);
		}
		last = view->metric[i].def;
		metric_sample(out, name, &view->metric[i]);
	}
	family(out, "anomaly_ratio", "gauge", "Share of a metric's last 60 values that stand out");
	for (size_t i = 0; i < view->n_metrics; i++)
		sample(out, "anomaly_ratio", "metric", metric_defs[view->metric[i].def].name, "of",
			view->metric[i].label, view->metric[i].anomalies);
	family(out, "telemetry_snapshots_total", "counter", "Snapshots taken");
	count(out, "telemetry_snapshots_total", NULL, NULL, NULL, NULL, view->number);
	family(out, "telemetry_memory_bytes", "gauge", "Memory that telemetry holds");
	count(out, "telemetry_memory_bytes", "where", "agent", NULL, NULL, view->bytes);
	count(out, "telemetry_memory_bytes", "where", "kernel", NULL, NULL, view->kernel_bytes);
	family(out, "telemetry_lost_total", "counter", "What could not be measured, by cause");
	for (int i = 0; i < TELEMETRY_LOSSES; i++) {
		if (!strstr(view->loss[i].name, "_left_out"))
			count(out, "telemetry_lost_total", "cause", view->loss[i].name, NULL, NULL,
				view->loss[i].value);
	}
	family(out, "telemetry_left_out", "gauge",
		"Disks and control groups not followed now, for want of room");
	for (int i = 0; i < TELEMETRY_LOSSES; i++) {
		if (strstr(view->loss[i].name, "_left_out"))
			count(out, "telemetry_left_out", "what", view->loss[i].name, NULL, NULL,
				view->loss[i].value);
	}
}

char *metrics_text(
	const struct agent_view *agent, const struct telemetry_view *telemetry, size_t *len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);

	if (!out)
		return NULL;
	if (agent) {
		agent_figures(out, agent);
		policies(out, agent);
	}
	if (telemetry)
		telemetry_figures(out, telemetry);
	if (ferror(out) | fclose(out)) {
		free(text);
		return NULL;
	}
	return text;
}
