/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch.h - processes watched by their system calls: windows are compared with references, what is not like the benign
 * ones is a finding, and where the policy may act the process is stopped or its control group frozen.
 *
 * watch_record(), watch_tick(), watch_mode() and watch_view() belong to the loop's thread and wait for nothing. A thread of
 * its own reads references and acts, through `apply`, which may wait for the disk. Everything a process says of itself
 * (its name, how often it forks) is hostile: tables are of fixed size, and what they cannot hold is counted.
 */
#ifndef SEMANTOS_CORE_WATCH_H
#define SEMANTOS_CORE_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/core/control.h"
#include "agent/safety/safety.h"
#include "bpf/calls_wire.h"

#define WATCH_FINDINGS 64 /* the latest are kept */
#define WATCH_PROCESSES 4096 /* followed at a time */
#define WATCH_QUEUE 32 /* acts that wait for the thread; more are not done, and counted */
#define WATCH_LOGGED 20 /* findings logged a minute; more are counted */

enum watch_action { WATCH_LOG, WATCH_STOP, WATCH_FREEZE };

struct watch;

struct watch_options {
	const char *policy; /* its name, the owner of what is changed */
	const char *file; /* references; read again whenever it changes, need not be there */
	const char *
		shipped; /* those that come with the policy, used until there are others; "" = none */
	enum watch_action action;
	bool one_class;
	double false_share; /* see kin.h */
	uint32_t windows; /* so many flagged windows of a process in a row make a finding */
	const char *allow; /* globs of units never acted on, between commas */
	const char *proc; /* of tests: instead of /proc; NULL = that */
	/* As guard_apply() and guard_rollback(); on the watch's thread, and by watch_free(). */
	void (*apply)(void *ctx, const struct safety_request *request, struct control_reply *reply);
	void (*undo)(void *ctx, uint64_t change, const char *because, struct control_reply *reply);
	void *ctx;
};

int watch_action_parse(
	const char *text); /* "log", "stop", "freeze": enum watch_action, or -EINVAL */

/* Copies what it needs. NULL with errno. */
struct watch *watch_new(const struct watch_options *options);
/* undo: what it stopped goes on again. Accepts NULL. Not from the thread that `undo` waits for. */
void watch_free(struct watch *watch, bool undo);

bool watch_record_valid(const void *bytes, size_t n_bytes); /* ring_valid_fn */
void watch_record(struct watch *watch, const struct semantos_calls_record *record);
void watch_tick(struct watch *watch); /* once a second */
/* percent: share of processes that are acted on, by hash; 0 = a dry run, 100 = all. */
void watch_mode(struct watch *watch, uint32_t percent);
bool watch_signal(const struct watch *watch); /* do the references tell anything apart? */
/* 0 or -ENOMEM; view->finding is freed by control_view_free(). */
int watch_view(const struct watch *watch, struct watch_view *view);

/* ---- watch_act.c: of any thread ---- */

struct watch_target {
	uint32_t pid;
	uint64_t start_ns; /* as in the record */
};

/*
 * May it be acted on, and what is its knob? 0 with knob and value, or -errno with half a sentence in why: -EPERM (init,
 * a kernel thread, a part of semantos, an allowed unit, a group that holds one of these), -ESRCH, -ENOENT (no group to freeze).
 */
int watch_knob(const struct watch_options *options, const struct watch_target *target,
	char knob[RECORD_NAME_MAX], const char **value, char *why, size_t why_len);

/* Does this control group's path have a part that one of the globs of the comma-separated list matches? */
bool watch_allowed(const char *allow, const char *group);

#endif
