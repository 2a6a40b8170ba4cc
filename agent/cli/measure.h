/* SPDX-License-Identifier: Apache-2.0 */
/*
 * measure.h - a process of its own for each command, query or workload that is measured, so that one that hangs holds
 * up no other, and one that is left behind ends.
 *
 * It runs as the caller, in a session without a terminal. It ends, and kills what it began, as soon as the caller closes
 * its end or is gone. Begin them before any thread and before gRPC: they are forked.
 */
#ifndef SEMANTOS_CLI_MEASURE_H
#define SEMANTOS_CLI_MEASURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "agent/cli/command.h"
#include "agent/cli/goal.h"

struct measure_options {
	const char *prometheus; /* URL */
	uint32_t timeout_ms; /* of one measurement */
	uint32_t every_ms; /* from the beginning of one to that of the next */
};

struct measured {
	double value; /* NaN: it failed */
	uint32_t took_ms;
	bool is_metric; /* of a workload: it said metric=NUMBER; else the value is its time in seconds */
	char why[COMMAND_WHY_MAX]; /* when it failed: half a sentence */
};

struct measurer {
	pid_t pid;
	int fd; /* readable when a measurement is there; -1 = ended */
};

/* Not of telemetry. 0 or -errno. It measures nothing until it is told to. */
int measurer_start(struct measurer *measurer, const struct goal_source *source,
	const struct measure_options *options);

/* Measure once, now or as soon as what runs has ended. Any thread. */
void measurer_once(struct measurer *measurer);
/* Measure again and again from now on. */
void measurer_go(struct measurer *measurer);

/* What was measured: 0; -ETIMEDOUT after timeout_ms; -EPIPE: its process is gone, and *measured says so. */
int measurer_read(struct measurer *measurer, struct measured *measured, uint32_t timeout_ms);

/* Ends it and what it runs, within two seconds. Accepts one that was never started (fd -1) or has ended. */
void measurer_end(struct measurer *measurer);

#endif
