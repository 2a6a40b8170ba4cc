// SPDX-License-Identifier: Apache-2.0
/*
 * telemetry.c - the thread that takes a snapshot every interval, and what others may ask of it.
 *
 * `lock` guards the table of metrics: held while a snapshot is put together (a few ms), never while the window for
 * system calls lasts.
 */
#include "agent/telemetry/telemetry.h"

#include <errno.h>
#include <bpf/bpf.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "agent/telemetry/collect.h"
#include "agent/util/log.h"

#define SPARE_DISKS 4 /* rows in the kernel's half for disks that come later */
#define HOOK_COST_EVERY \
	12 /* snapshots: run-time statistics cost every BPF program of the machine some ns */

struct telemetry {
	struct telemetry_options options;
	pthread_t thread;
	bool running;
	struct kernel *kernel;
	struct kernel_reading *reading;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t taken; /* also signalled by stop; CLOCK_MONOTONIC */
	bool stopping;
	struct collect collect;
	struct metrics *metrics;
	uint64_t number, unix_ms, late;
	struct timespec last;
	double interval_s, last_cpu_s;
	uint64_t hook_loss[TELEMETRY_L_NR], hook_missed;
	char note[sizeof(((struct telemetry_view *)0)->note)];
};

static double seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void open_kernel(struct telemetry *telemetry)
{
	char error[512];
	uint32_t n = collect_count_disks(&telemetry->collect);

	if (!telemetry->options.object)
		return;
	telemetry->kernel =
		kernel_open(telemetry->options.object, 2 * n + SPARE_DISKS, error, sizeof(error));
	if (!telemetry->kernel) {
		snprintf(telemetry->note, sizeof(telemetry->note),
			"Nothing is measured in the kernel, because %s", error);
		log_warn("Telemetry without latencies: %s", error);
		return;
	}
	telemetry->collect.kernel = telemetry->kernel;
	if (*kernel_missing(telemetry->kernel))
		snprintf(telemetry->note, sizeof(telemetry->note),
			"This kernel has no hook for %s; what is measured there is left out.",
			kernel_missing(telemetry->kernel));
}

struct telemetry *telemetry_new(const struct telemetry_options *options)
{
	struct telemetry *telemetry = calloc(1, sizeof(*telemetry));
	struct collect *collect;
	pthread_condattr_t attr;

	if (!telemetry)
		return NULL;
	pthread_mutex_init(&telemetry->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&telemetry->taken, &attr);
	pthread_condattr_destroy(&attr);
	telemetry->options = *options;
	if (!telemetry->options.interval_s)
		telemetry->options.interval_s = TELEMETRY_INTERVAL_S;
	telemetry->metrics = metrics_new();
	telemetry->reading = calloc(1, sizeof(*telemetry->reading));
	collect = &telemetry->collect;
	collect->root = options->root ? options->root : "";
	collect->device = options->device;
	collect->n_device = options->n_device;
	collect->metrics = telemetry->metrics;
	collect->text = malloc(COLLECT_TEXT);
	collect->disk_reading = malloc(sizeof(*collect->disk_reading));
	telemetry->interval_s = NAN;
	if (!telemetry->metrics || !telemetry->reading || !collect->text ||
		!collect->disk_reading) {
		telemetry_free(telemetry);
		errno = ENOMEM;
		return NULL;
	}
	open_kernel(telemetry);
	return telemetry;
}

void telemetry_free(struct telemetry *telemetry)
{
	if (!telemetry)
		return;
	telemetry_stop(telemetry);
	kernel_close(telemetry->kernel);
	metrics_free(telemetry->metrics);
	free(telemetry->reading);
	free(telemetry->collect.text);
	free(telemetry->collect.disk_reading);
	pthread_cond_destroy(&telemetry->taken);
	pthread_mutex_destroy(&telemetry->lock);
	free(telemetry);
}

/* What is sampled in a window of the interval, before the rest is read. */
struct window {
	double syscalls_per_s, hooks; /* NaN = not this time */
};

static void sample(struct telemetry *telemetry, struct window *window)
{
	bool cost = telemetry->number % HOOK_COST_EVERY == 1;
	struct kernel *kernel = telemetry->kernel;
	uint64_t before = 0, after = 0;
	struct kernel_program program;
	int stats = -1;
	double begin;

	window->syscalls_per_s = window->hooks = NAN;
	if (!kernel || telemetry->options.no_syscalls)
		return;
	if (cost)
		stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
	for (size_t i = 0; stats >= 0 && kernel_program(kernel, i, &program) == 0; i++)
		before += program.run_ns;
	begin = seconds(CLOCK_MONOTONIC);
	window->syscalls_per_s = kernel_syscalls_per_s(kernel, TELEMETRY_SYSCALL_WINDOW_MS);
	for (size_t i = 0; stats >= 0 && kernel_program(kernel, i, &program) == 0; i++)
		after += program.run_ns;
	if (stats >= 0) {
		window->hooks = (double)(after - before) / 1e9 / (seconds(CLOCK_MONOTONIC) - begin);
		close(stats);
	}
}

static void own_cost(struct telemetry *telemetry, const struct window *window)
{
	double cpu_s = seconds(CLOCK_THREAD_CPUTIME_ID);

	if (telemetry->interval_s > 0)
		metrics_level(telemetry->metrics, METRIC_OWN_CPU, "",
			(cpu_s - telemetry->last_cpu_s) / telemetry->interval_s);
	telemetry->last_cpu_s = cpu_s;
	if (!isnan(window->hooks))
		metrics_level(telemetry->metrics, METRIC_OWN_HOOKS, "", window->hooks);
}

void telemetry_take(struct telemetry *telemetry)
{
	struct collect *collect = &telemetry->collect;
	struct timespec now, wall;
	struct window window;

	sample(telemetry, &window);
	pthread_mutex_lock(&telemetry->lock);
	clock_gettime(CLOCK_MONOTONIC, &now);
	clock_gettime(CLOCK_REALTIME, &wall);
	telemetry->interval_s =
		telemetry->number ? (double)(now.tv_sec - telemetry->last.tv_sec) +
					    (double)(now.tv_nsec - telemetry->last.tv_nsec) / 1e9
				  : NAN;
	telemetry->last = now;
	metrics_begin(telemetry->metrics, telemetry->interval_s);
	collect_proc(collect);
	/* the first reading covers no interval: it is where the next begins */
	if (telemetry->kernel && kernel_read(telemetry->kernel, telemetry->reading) == 0) {
		memcpy(telemetry->hook_loss, telemetry->reading->loss,
			sizeof(telemetry->hook_loss));
		telemetry->hook_missed = telemetry->reading->missed;
		collect_kernel(collect, telemetry->reading, telemetry->interval_s);
	} else if (telemetry->kernel) {
		collect->unreadable++;
	}
	collect_disks(collect);
	collect_cgroups(collect);
	if (!isnan(window.syscalls_per_s))
		metrics_level(telemetry->metrics, METRIC_SYSCALLS, "", window.syscalls_per_s);
	own_cost(telemetry, &window);
	metrics_end(telemetry->metrics);
	telemetry->unix_ms = (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000;
	telemetry->number++;
	pthread_cond_broadcast(&telemetry->taken);
	pthread_mutex_unlock(&telemetry->lock);
}

/* Sleep until `next`; true when it shall end. */
static bool rest(struct telemetry *telemetry, const struct timespec *next)
{
	bool stopping;

	pthread_mutex_lock(&telemetry->lock);
	while (!telemetry->stopping) {
		if (pthread_cond_timedwait(&telemetry->taken, &telemetry->lock, next) == ETIMEDOUT)
			break;
	}
	stopping = telemetry->stopping;
	pthread_mutex_unlock(&telemetry->lock);
	return stopping;
}

static void *telemetry_main(void *arg)
{
	struct telemetry *telemetry = arg;
	struct timespec next, now;

	pthread_setname_np(pthread_self(), "telemetry");
	clock_gettime(CLOCK_MONOTONIC, &next);
	do {
		telemetry_take(telemetry);
		next.tv_sec += telemetry->options.interval_s;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec >= next.tv_sec) {
			pthread_mutex_lock(&telemetry->lock);
			telemetry->late++;
			pthread_mutex_unlock(&telemetry->lock);
			next = now;
			next.tv_sec += telemetry->options.interval_s;
		}
	} while (!rest(telemetry, &next));
	return NULL;
}

int telemetry_start(struct telemetry *telemetry)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&telemetry->thread, NULL, telemetry_main, telemetry);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	telemetry->running = err == 0;
	return -err;
}

void telemetry_stop(struct telemetry *telemetry)
{
	if (!telemetry)
		return;
	pthread_mutex_lock(&telemetry->lock);
	telemetry->stopping = true;
	pthread_cond_broadcast(&telemetry->taken);
	pthread_mutex_unlock(&telemetry->lock);
	if (telemetry->running)
		pthread_join(telemetry->thread, NULL);
	telemetry->running = false;
}

/* ---- readers ---- */

static int by_name_and_label(const void *a, const void *b)
{
	const struct metric_view *x = a, *y = b;

	return x->def != y->def ? (x->def > y->def) - (x->def < y->def)
				: strcmp(x->label, y->label);
}

static void fill_losses(struct telemetry *telemetry, struct telemetry_loss_view *loss)
{
	struct metrics_counts counts;

	metrics_counts(telemetry->metrics, &counts);
	{
		const struct telemetry_loss_view all[TELEMETRY_LOSSES] = {
			{ "hook_missed",
				"hooks the kernel skipped, because the same one ran on that CPU",
				telemetry->hook_missed },
			{ "block_untimed", "requests the kernel does not time (queue/iostats is 0)",
				telemetry->hook_loss[TELEMETRY_L_UNTIMED] },
			{ "reclaim_table_full", "stalls that found the table of stalls full",
				telemetry->hook_loss[TELEMETRY_L_RECLAIM_FULL] },
			{ "reclaim_unbegun", "stalls whose begin was not seen",
				telemetry->hook_loss[TELEMETRY_L_RECLAIM_UNBEGUN] },
			{ "softirq_unbegun", "softirqs whose begin was not seen",
				telemetry->hook_loss[TELEMETRY_L_SOFTIRQ_UNBEGUN] },
			{ "files_unreadable", "files and maps that are there and could not be read",
				telemetry->collect.unreadable },
			{ "lines_unparsed", "files or lines that are not as the kernel writes them",
				telemetry->collect.unparsed },
			{ "counters_reset", "counters that went down, and gave no rate then",
				counts.resets },
			{ "series_refused", "values that found no room in the table of series",
				counts.refused },
			{ "snapshots_late", "snapshots that began an interval late or more",
				telemetry->late },
			{ "disks_left_out",
				"disks without latencies now, because the table is full",
				telemetry->collect.disks_left_out },
			{ "cgroups_left_out", "control groups that are not followed now: too many",
				telemetry->collect.cgroups_left_out },
		};

		memcpy(loss, all, sizeof(all));
	}
}

int telemetry_view(struct telemetry *telemetry, struct telemetry_view *view)
{
	int err = 0;

	memset(view, 0, sizeof(*view));
	pthread_mutex_lock(&telemetry->lock);
	view->n_metrics = metrics_count(telemetry->metrics);
	view->metric = calloc(view->n_metrics + 1, sizeof(*view->metric));
	if (!view->metric) {
		view->n_metrics = 0;
		err = -ENOMEM;
		goto out;
	}
	for (size_t i = 0; i < view->n_metrics; i++)
		metrics_view(telemetry->metrics, i, &view->metric[i]);
	qsort(view->metric, view->n_metrics, sizeof(*view->metric), by_name_and_label);
	view->number = telemetry->number;
	view->unix_ms = telemetry->unix_ms;
	view->interval_s = telemetry->interval_s;
	fill_losses(telemetry, view->loss);
	view->history_rows = METRIC_ROWS;
	view->bytes = metrics_bytes(telemetry->metrics) + COLLECT_TEXT + sizeof(*telemetry);
	view->kernel_bytes = telemetry->kernel ? kernel_bytes(telemetry->kernel) : 0;
	memcpy(view->note, telemetry->note, sizeof(view->note));
out:
	pthread_mutex_unlock(&telemetry->lock);
	return err;
}

void telemetry_view_free(struct telemetry_view *view)
{
	free(view->metric);
	view->metric = NULL;
	view->n_metrics = 0;
}

int telemetry_wait(struct telemetry *telemetry, uint64_t number, uint32_t timeout_ms)
{
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_nsec -= 1000000000L;
		until.tv_sec++;
	}
	pthread_mutex_lock(&telemetry->lock);
	while (telemetry->number <= number && !telemetry->stopping && !err)
		err = -pthread_cond_timedwait(&telemetry->taken, &telemetry->lock, &until);
	if (telemetry->number > number)
		err = 0;
	else if (telemetry->stopping)
		err = -ESHUTDOWN;
	pthread_mutex_unlock(&telemetry->lock);
	return err;
}

/* Under `lock`. Index of the series, or -ENOENT. */
static int find(
	struct telemetry *telemetry, const char *name, const char *label, struct metric_view *view)
{
	for (size_t i = 0; i < metrics_count(telemetry->metrics); i++) {
		metrics_view(telemetry->metrics, i, view);
		if (strcmp(metric_defs[view->def].name, name) == 0 &&
			strcmp(view->label, label) == 0)
			return (int)i;
	}
	return -ENOENT;
}

int telemetry_figure(struct telemetry *telemetry, const char *name, const char *label,
	enum telemetry_figure figure, double *value, uint64_t *number)
{
	struct metric_view view;
	int err;

	pthread_mutex_lock(&telemetry->lock);
	*number = telemetry->number;
	err = find(telemetry, name, label, &view);
	if (err >= 0) {
		const double figures[] = { [TELEMETRY_VALUE] = view.value,
			[TELEMETRY_MEDIAN] = view.median,
			[TELEMETRY_P95] = view.p95,
			[TELEMETRY_P99] = view.p99,
			[TELEMETRY_PER_S] = view.per_s,
			[TELEMETRY_ANOMALIES] = view.anomalies };

		*value = figures[figure];
		err = isnan(*value) ? -ENODATA : 0;
	}
	pthread_mutex_unlock(&telemetry->lock);
	return err;
}

uint64_t telemetry_number(struct telemetry *telemetry)
{
	uint64_t number;

	pthread_mutex_lock(&telemetry->lock);
	number = telemetry->number;
	pthread_mutex_unlock(&telemetry->lock);
	return number;
}

uint32_t telemetry_interval_s(const struct telemetry *telemetry)
{
	return telemetry->options.interval_s;
}

int telemetry_history(struct telemetry *telemetry, const char *name, const char *label,
	struct metric_row *row, size_t n, uint64_t *number, double *interval_s)
{
	struct metric_view view;
	int at;

	pthread_mutex_lock(&telemetry->lock);
	*number = telemetry->number;
	*interval_s = telemetry->options.interval_s;
	at = find(telemetry, name, label, &view);
	if (at >= 0)
		at = (int)metrics_history(telemetry->metrics, (size_t)at, row, n);
	pthread_mutex_unlock(&telemetry->lock);
	return at;
}
