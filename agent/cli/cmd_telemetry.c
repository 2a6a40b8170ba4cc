/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cmd_telemetry.c - semantosctl telemetry: what the machine does, as the agent measures it.
 *
 * With --watch over one stream, a picture a snapshot. What is not defined is "-" for people and null in JSON.
 */
#include "agent/cli/commands.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "agent/cli/ctl.h"
#include "agent/cli/status_json.h"
#include "agent/cli/table.h"

#define COUNT_MAX 1000000
#define DAY_MS 86400000ULL

enum { OPT_WATCH = 256, OPT_COUNT, OPT_HISTORY, OPT_LABEL };

struct ask {
	const struct ctl *ctl;
	bool watch, history;
	uint64_t count; /* 0 = until interrupted */
	const char *metric, *label;
	int code;
};

static volatile int interrupted;

static void on_interrupt(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

static bool telemetry_option(void *ctx, int id, const char *value, char *why, size_t why_len)
{
	struct ask *ask = ctx;

	switch (id) {
	case OPT_WATCH:
		ask->watch = true;
		return true;
	case OPT_HISTORY:
		ask->history = true;
		return true;
	case OPT_LABEL:
		ask->label = value;
		return true;
	case OPT_COUNT:
		snprintf(why, why_len, "--count takes 1 to %d", COUNT_MAX);
		return ctl_number(value, 1, COUNT_MAX, &ask->count);
	default:
		return false;
	}
}

/* "1.25 ms", "3.1 MiB", "12.5 %", "1.2k"; "-" when it is not defined. */
static const char *figure(char *buf, size_t len, double value, const char *unit)
{
	static const char *const prefixes[] = { "", "Ki", "Mi", "Gi", "Ti", "Pi" };
	int step = 0;

	if (!isfinite(value)) {
		snprintf(buf, len, "-");
	} else if (strcmp(unit, "seconds") == 0) {
		if (value < 1e-3)
			snprintf(buf, len, "%.1f us", value * 1e6);
		else if (value < 1)
			snprintf(buf, len, "%.2f ms", value * 1e3);
		else
			snprintf(buf, len, "%.2f s", value);
	} else if (strcmp(unit, "ratio") == 0) {
		snprintf(buf, len, "%.2f %%", value * 100);
	} else if (strcmp(unit, "bytes") == 0) {
		for (; value >= 1024 && step < 5; step++)
			value /= 1024;
		snprintf(buf, len, step ? "%.1f %sB" : "%.0f %sB", value, prefixes[step]);
	} else {
		snprintf(buf, len, value < 100 ? "%.2f" : "%.0f", value);
	}
	return buf;
}

static int print_snapshot(const Semantos__V1__TelemetrySnapshot *snapshot)
{
	static const char *const headers[] = { "METRIC", "OF", ">NOW", ">MEDIAN", ">P95", ">P99",
		">PER S", ">ANOMALIES", NULL };
	struct table *table = table_new(headers);
	uint64_t lost = 0;
	char buf[32];
	int err;

	for (size_t i = 0; i < snapshot->n_metrics; i++) {
		const Semantos__V1__TelemetryMetric *metric = snapshot->metrics[i];
		bool times = strcmp(metric->kind, "times") == 0;

		table_cell(table, "%s", metric->name);
		table_cell(table, "%s", metric->label);
		table_cell(table, "%s",
			times ? "" : figure(buf, sizeof(buf), metric->value, metric->unit));
		table_cell(table, "%s", figure(buf, sizeof(buf), metric->median, metric->unit));
		table_cell(table, "%s", figure(buf, sizeof(buf), metric->p95, metric->unit));
		table_cell(table, "%s", figure(buf, sizeof(buf), metric->p99, metric->unit));
		table_cell(table, "%s",
			figure(buf, sizeof(buf), metric->per_s, times ? "" : metric->unit));
		table_cell(table, "%s", figure(buf, sizeof(buf), metric->anomalies, "ratio"));
	}
	if (snapshot->number)
		printf("Snapshot %" PRIu64 ", over %s.\n", snapshot->number,
			figure(buf, sizeof(buf), snapshot->interval_s, "seconds"));
	else
		printf("No snapshot was taken yet.\n");
	err = snapshot->n_metrics ? table_print(table, stdout, 0, ctl_width()) : 0;
	table_free(table);
	for (size_t i = 0; i < snapshot->n_losses; i++) {
		if (snapshot->losses[i]->value)
			printf("%s%s %" PRIu64,
				lost++ ? ", " : "Not measured: ", snapshot->losses[i]->name,
				snapshot->losses[i]->value);
	}
	if (lost)
		printf(".\n");
	if (snapshot->note[0])
		printf("%s\n", snapshot->note);
	fflush(stdout);
	return err ? EXIT_CODE_FAILED : EXIT_CODE_OK;
}

static bool show(void *ctx, const ProtobufCMessage *message)
{
	struct ask *ask = ctx;

	if (ask->ctl->json) {
		ask->code = ctl_print_json(message_json(message));
		fflush(stdout);
	} else {
		if (ask->watch && isatty(STDOUT_FILENO))
			fputs("\033[H\033[2J", stdout);
		ask->code = print_snapshot((const Semantos__V1__TelemetrySnapshot *)message);
	}
	return ask->code == EXIT_CODE_OK && !ferror(stdout);
}

static int once(struct ask *ask)
{
	Semantos__V1__TelemetryRequest request = SEMANTOS__V1__TELEMETRY_REQUEST__INIT;
	ProtobufCMessage *message;
	int code;

	request.metric = (char *)ask->metric;
	message = ctl_call(ask->ctl, "TelemetryAgent/Snapshot", &request.base,
		&semantos__v1__telemetry_snapshot__descriptor, &code);
	if (!message)
		return code;
	show(ask, message);
	protobuf_c_message_free_unpacked(message, NULL);
	return ask->code;
}

static int watch(struct ask *ask)
{
	Semantos__V1__TelemetryRequest request = SEMANTOS__V1__TELEMETRY_REQUEST__INIT;
	struct sigaction action = { .sa_handler = on_interrupt };
	struct client_error error = { 0 };
	struct client *client;
	int err = -1;

	request.metric = (char *)ask->metric;
	request.count = ask->count;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	client = client_open(ask->ctl->socket, ask->ctl->timeout_ms, &error);
	if (client)
		err = client_stream(client, "TelemetryAgent/Stream", &request.base,
			&semantos__v1__telemetry_snapshot__descriptor, 365 * DAY_MS, &interrupted,
			show, ask, &error);
	client_close(client);
	return err ? ctl_fail(ask->ctl, error.code, "%s", error.text) : ask->code;
}

static int history(const struct ask *ask)
{
	Semantos__V1__TelemetryHistoryRequest request =
		SEMANTOS__V1__TELEMETRY_HISTORY_REQUEST__INIT;
	static const char *const headers[] = { ">SNAPSHOT", ">VALUE", ">MEDIAN", ">P95", ">P99",
		">PER S", NULL };
	Semantos__V1__TelemetryHistory *kept;
	struct table *table;
	int code;

	request.metric = (char *)ask->metric;
	request.label = (char *)ask->label;
	request.rows = (uint32_t)ask->count;
	kept = (Semantos__V1__TelemetryHistory *)ctl_call(ask->ctl, "TelemetryAgent/History",
		&request.base, &semantos__v1__telemetry_history__descriptor, &code);
	if (!kept)
		return code;
	if (ask->ctl->json) {
		code = ctl_print_json(message_json(&kept->base));
		goto out;
	}
	table = table_new(headers);
	for (size_t i = 0; i < kept->n_rows; i++) {
		const Semantos__V1__TelemetryRow *row = kept->rows[i];
		const double figures[] = { row->value, row->median, row->p95, row->p99,
			row->per_s };

		table_cell(table, "%" PRIu64, kept->number - kept->n_rows + 1 + i);
		for (size_t k = 0; k < sizeof(figures) / sizeof(figures[0]); k++) {
			if (isfinite(figures[k]))
				table_cell(table, "%.6g", figures[k]);
			else
				table_cell(table, "-");
		}
	}
	code = table_print(table, stdout, 0, ctl_width()) ? EXIT_CODE_FAILED : EXIT_CODE_OK;
	table_free(table);
out:
	semantos__v1__telemetry_history__free_unpacked(kept, NULL);
	return code;
}

int cmd_telemetry(int argc, char **argv)
{
	static const struct option options[] = { { "watch", no_argument, NULL, OPT_WATCH },
		{ "count", required_argument, NULL, OPT_COUNT },
		{ "history", no_argument, NULL, OPT_HISTORY },
		{ "label", required_argument, NULL, OPT_LABEL }, { 0 } };
	struct ctl ctl = { .command = "telemetry",
		.usage = "Usage: semantosctl telemetry [METRIC] [--watch] [--count N]\n"
			 "       semantosctl telemetry METRIC --history [--label L] [--count N]\n\n"
			 "Show what the machine does, as the agent measures it every few seconds. "
			 "METRIC "
			 "may end in '*'.\n\n"
			 "      --watch          each snapshot as it is taken; with --json one "
			 "object a "
			 "line\n"
			 "      --count N        end after N of them, or the last N of --history\n"
			 "      --history        what is kept of one metric, oldest first\n"
			 "      --label L        of this disk, control group or softirq\n" };
	struct ask ask = { .ctl = &ctl, .metric = "", .label = "" };
	int code = ctl_parse(&ctl, argc, argv, options, telemetry_option, &ask, 0, 1);

	if (code != CTL_GO_ON)
		return code;
	if (argv[optind])
		ask.metric = argv[optind];
	if (ask.history && (ask.watch || !*ask.metric))
		return ctl_fail(&ctl, EXIT_CODE_USAGE,
			"--history shows one metric, and goes without --watch: see `semantosctl "
			"telemetry "
			"--help`.");
	return ask.history ? history(&ask) : ask.watch ? watch(&ask) : once(&ask);
}
