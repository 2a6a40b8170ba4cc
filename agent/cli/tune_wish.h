/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tune_wish.h - what the operator asked `semantosctl tune` for, from its options, checked as far as it can be without the
 * agent, and as the agent is to be told.
 */
#ifndef SEMANTOS_CLI_TUNE_WISH_H
#define SEMANTOS_CLI_TUNE_WISH_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/cli/goal.h"
#include "agent/proto/semantos.pb-c.h"

#define TUNE_WISH_GUARDS 16
#define TUNE_WISH_KNOBS 64
#define TUNE_WISH_MEMBERS 8

enum tune_direction { TUNE_UNSAID, TUNE_LOWER, TUNE_HIGHER };

struct tune_wish {
	struct goal_guard guard[TUNE_WISH_GUARDS];
	size_t n_guards;
	bool has_improve, has_workload;
	struct goal_source improve, workload;
	enum tune_direction said;
	const char *knob[TUNE_WISH_KNOBS];
	size_t n_knobs;
	char member[TUNE_WISH_MEMBERS][GOAL_NAME_MAX]; /* devices or control groups, alike */
	size_t n_members;
	const char *apply, *because, *prometheus;
	uint32_t slice_ms, washout_ms, pairs, trials; /* 0 = the agent's default */
	uint32_t every_ms; /* of commands and queries */
	uint64_t seed;
	bool dry_run;

	/* by tune_wish_settle() */
	struct goal_source objective;
	enum tune_direction
		direction; /* TUNE_UNSAID: a workload must say metric= for it to matter */
	bool workload_is_load; /* it runs, and something else is the objective */
	struct goal_source
		of_member[TUNE_WISH_MEMBERS]; /* the objective of each: label is the member */
};

extern const struct option tune_wish_options[]; /* ended by a zeroed row */
extern const char tune_wish_help[];

/* With the defaults that are not the agent's. */
void tune_wish_init(struct tune_wish *wish);
/* A ctl_option (agent/cli/ctl.h); ctx is the wish. */
bool tune_wish_option(void *ctx, int id, const char *value, char *why, size_t why_len);
/* What belongs together does, and there is an objective. 0, or -EINVAL with a sentence without its full stop. */
int tune_wish_settle(struct tune_wish *wish, char *why, size_t why_len);

/*
 * One measurement of the objective took so long: does a slice hold a whole one, however they fall? Without --slice it is made
 * so. 0, or -EINVAL with a sentence.
 */
int tune_wish_slice(struct tune_wish *wish, uint32_t took_ms, char *why, size_t why_len);

/* The i-th source of the protocol: 0 = the objective, 1 + i = guard i, then the objective of each member. */
size_t tune_wish_sources(const struct tune_wish *wish);
/* Not so of the objective itself when its members have one each. */
bool tune_wish_measured(const struct tune_wish *wish, size_t i);
const struct goal_source *tune_wish_source(const struct tune_wish *wish, size_t i);

/* The message, with everything it points to; texts are the wish's. */
struct tune_request {
	Semantos__V1__TuneRequest message;
	Semantos__V1__Source source[1 + TUNE_WISH_GUARDS];
	Semantos__V1__Guard guard[TUNE_WISH_GUARDS], *guards[TUNE_WISH_GUARDS];
	char *members[TUNE_WISH_MEMBERS];
};
void tune_wish_request(
	const struct tune_wish *wish, uint32_t timeout_ms, struct tune_request *request);

#endif
