/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent_options.h - the command line of semantos-agent.
 */
#ifndef SEMANTOS_CLI_AGENT_OPTIONS_H
#define SEMANTOS_CLI_AGENT_OPTIONS_H

#include <limits.h>
#include <stdio.h>
#include "agent/core/control.h"
#include "agent/core/core.h"

struct agent_options {
	struct core_options core;
	char policy_path[PATH_MAX]; /* where core.policy_path points */
	char keeper[PATH_MAX]; /* where core.keeper points */
	char policy[CONTROL_MAX_POLICIES][CONTROL_NAME_LEN];
	uint32_t n_policies;
	const char *mode; /* NULL = each manifest's */
	const char *socket; /* NULL = <run dir>/agent.sock */
	const char *exercise; /* folder, NULL = none */
	uint32_t learn_timeout_s; /* 0 = wait for ever */
	uint32_t duration_s; /* from the first prediction of a trained model; 0 = until stopped */
	const char *metrics; /* loopback address to serve them on; NULL = none */
	uint32_t telemetry_interval_s; /* 0 = the default */
	bool json, no_api, quiet, no_telemetry, no_syscalls;
	bool show_help, show_version;
};

/*
 * Parse argv into *options, whose strings live as long as argv. 0, or -EINVAL with one sentence in error[error_len].
 * exe: /proc/self/exe resolved; beside it lie the policies of a build tree.
 */
int agent_options_parse(int argc, char **argv, const char *exe, struct agent_options *options,
	char *error, size_t error_len);
void agent_options_help(FILE *out);

#endif
