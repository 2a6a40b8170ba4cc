/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_sources.h - everything a goal needs measured here: one process for each source, and a thread that tells the agent.
 *
 * A source that is both the objective and a guard is measured once and told twice. Telemetry is the agent's own and has
 * no process.
 */
#ifndef SEMANTOS_CLI_TUNE_SOURCES_H
#define SEMANTOS_CLI_TUNE_SOURCES_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include "agent/cli/ctl.h"
#include "agent/cli/measure.h"
#include "agent/cli/tune_wish.h"

#define TUNE_SOURCES (1 + TUNE_WISH_GUARDS + TUNE_WISH_MEMBERS)

struct tune_sources;

/* What a source says that people should see: that it failed, and when it works again (why NULL). From the thread. */
typedef void tune_sources_note(void *ctx, const struct goal_source *source, const char *why);

struct tune_sources {
	const struct tune_wish *wish;
	struct measure_options options, workload_options;
	struct measurer measurer[TUNE_SOURCES + 1];
	size_t n;
	int of[TUNE_SOURCES]; /* which measurer: by index of the protocol; -1 = telemetry */
	const struct goal_source *source[TUNE_SOURCES + 1]; /* of each measurer */
	struct measured first[TUNE_SOURCES + 1]; /* by tune_sources_first() */

	/* the thread's */
	pthread_t thread;
	bool running;
	int stop_fd;
	const struct ctl *ctl;
	tune_sources_note *note;
	void *note_ctx;
	char said[TUNE_SOURCES + 1][COMMAND_WHY_MAX]; /* "" = it works */
};

/* Begins the processes; nothing is measured yet. Before any thread and gRPC. 0 or -errno. wish must live as long. */
int tune_sources_start(
	struct tune_sources *sources, const struct tune_wish *wish, uint32_t timeout_ms);

/* Each once, all at the same time, into `first`. 0, or -EINTR when *stop was set meanwhile. */
int tune_sources_first(struct tune_sources *sources, const volatile int *stop);

/* Of a source by its index; NULL: it is telemetry. After tune_sources_first(). */
const struct measured *tune_sources_measured(const struct tune_sources *sources, size_t index);

/* Measure again and again from now on, and tell the agent. 0 or -errno. */
int tune_sources_report(struct tune_sources *sources, const struct ctl *ctl,
	tune_sources_note *note, void *note_ctx);

/* Once now, besides. Any thread. */
void tune_sources_once(struct tune_sources *sources, size_t index);

/* Ends the thread and the processes, and what they run. Accepts a zeroed one. */
void tune_sources_end(struct tune_sources *sources);

#endif
