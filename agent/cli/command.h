/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.h - runs one shell command for the number it prints, within a bound of time and of output.
 *
 * /bin/sh -c, as the user who calls, in a process group of its own, without input; whatever of the group is left when
 * the command ends, runs out of time or is no longer wanted is killed. One thread, and no other in the process: it
 * forks.
 */
#ifndef SEMANTOS_CLI_COMMAND_H
#define SEMANTOS_CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COMMAND_LINE_MAX 512 /* of what it prints, the end of the last line is kept */
#define COMMAND_WHY_MAX 240

struct command_result {
	uint64_t took_ns;
	int exit; /* its exit code, 128 + signal when it was killed */
	char line[COMMAND_LINE_MAX]; /* the last line on stdout that is not empty, "" = none */
	char why[COMMAND_WHY_MAX]; /* when it failed: one sentence without its full stop */
};

/*
 * Run it for at most timeout_ms. wake_fd: a socket that is not read here; once its other end is closed,
 * nobody waits any more. -1 = none. 0; -EIO: it failed, *result says how; -ETIMEDOUT: it was killed, likewise;
 * -ECANCELED: wake_fd.
 */
int command_run(
	const char *command, uint32_t timeout_ms, int wake_fd, struct command_result *result);

/* The last number of a line: decimal, maybe with an exponent, not a part of a word. False: there is none. */
bool command_number(const char *line, double *value);

/* "metric=NUMBER", alone on the line. */
bool command_metric(const char *line, double *value);

#endif
