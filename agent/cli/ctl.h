/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl.h - what every semantosctl command that talks to the agent has in common.
 *
 * The options --json, --socket, --timeout and --help, one way to fail, and small helpers for numbers in words. State is
 * in struct ctl, made by each command; one thread.
 */
#ifndef SEMANTOS_CLI_CTL_H
#define SEMANTOS_CLI_CTL_H

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include "agent/proto/semantos.pb-c.h"
#include "agent/util/client.h"
#include "agent/util/exitcode.h"

#define CTL_GO_ON (-1)

struct ctl {
	const char *command; /* as typed, for sentences */
	const char *usage; /* the command's help text */
	const char *socket;
	uint32_t timeout_ms;
	bool json;
	bool offline; /* never asks the agent: help leaves out what only matters then */
};

/* One option of the command's own; value is NULL for an option without one. False = refused (the text says why). */
typedef bool ctl_option(void *ctx, int id, const char *value, char *why, size_t why_len);

/*
 * Parse everything. `extra` (ended by a zeroed row, ids from 256, may be NULL) goes to `fn`. At least min_args and at
 * most max_args words may remain, from argv[optind]. CTL_GO_ON, or the exit code after help or a usage error.
 */
int ctl_parse(struct ctl *ctl, int argc, char **argv, const struct option *extra, ctl_option *fn,
	void *ctx, int min_args, int max_args);

/* Say what went wrong, in JSON when asked, and return `code`. */
__attribute__((format(printf, 3, 4))) int ctl_fail(
	const struct ctl *ctl, enum exit_code code, const char *fmt, ...);

/* Open, ask once, close. NULL after ctl_fail() with the code in *code. Free the reply with protobuf-c. */
ProtobufCMessage *ctl_call(const struct ctl *ctl, const char *method,
	const ProtobufCMessage *request, const ProtobufCMessageDescriptor *type, int *code);

/* A change: prints the sentence the agent answers. Returns the exit code. */
int ctl_change(const struct ctl *ctl, const char *method, const ProtobufCMessage *request);

/* The agent's status, one policy or all (NULL). Free with semantos__v1__agent_status__free_unpacked(). */
Semantos__V1__AgentStatus *ctl_status(const struct ctl *ctl, const char *policy, int *code);

int ctl_print_json(json_t *value); /* one line; takes the reference; exit code */
unsigned int ctl_width(void); /* columns of the terminal; 0 = no terminal, no limit */

/* "1,234,567"; "0.710" or "-" for NaN; "1 h 1 min"; "mode as the user writes it". All into buf, returned. */
const char *ctl_count(char *buf, size_t len, uint64_t value);
const char *ctl_score(char *buf, size_t len, double value);
const char *ctl_age(char *buf, size_t len, uint64_t seconds);
const char *ctl_mode(char *buf, size_t len, const Semantos__V1__Policy *policy);

/* A whole decimal number in [min, max]. */
bool ctl_number(const char *text, uint64_t min, uint64_t max, uint64_t *out);

#endif
