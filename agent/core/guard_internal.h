/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard_internal.h - a job, and the struct behind guard.h. Of guard*.c alone.
 *
 * guard.c owns queue and thread; guard_jobs.c what the thread does to struct safety.
 */
#ifndef SEMANTOS_CORE_GUARD_INTERNAL_H
#define SEMANTOS_CORE_GUARD_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include "agent/core/guard.h"

enum job_state { JOB_WAITING, JOB_RUNNING, JOB_DONE };

struct job {
	void (*run)(struct guard *guard, struct job *job);
	enum job_state state;
	bool owned; /* somebody waits and frees it; else the thread does */
	/* Whoever waited gave up while it ran: before it is freed. NULL = nothing is to be done. */
	void (*orphaned)(struct guard *guard, struct job *job);
	struct job *next;

	char name[RECORD_OWNER_MAX]; /* policy, or owner of the change */
	uint64_t id;
	bool shadow;
	uint32_t new_set, later;
	enum change_mode mode;
	size_t n_knobs;
	struct {
		char name[RECORD_NAME_MAX], value[RECORD_VALUE_MAX];
	} knob[RECORD_KNOBS_MAX];
	char because[RECORD_TEXT_MAX];
	char evidence[RECORD_TEXT_MAX], expected[RECORD_TEXT_MAX], observed[RECORD_TEXT_MAX];
	struct exit_record exit;
	struct policy_event event;
	struct control_reply reply;
};

struct guard {
	struct guard_options options;
	char dir[512], root[512], keeper[512];
	struct safety
		*safety; /* the thread's, once it runs; NULL = the journal could not be opened */
	bool complained;
	struct loop_source *beat; /* the loop's thread */
	pthread_t thread;
	bool running; /* the thread has to be joined */
	pthread_mutex_t lock, link;
	pthread_cond_t wake, done;
	struct job *queue, **tail;
	size_t n_queued;
	bool ending, stuck; /* stuck: the thread did not end and still uses all this */
	enum safety_end end;
	atomic_uint auto_open; /* changes of mode auto in force */
	atomic_bool ticking; /* a tick is queued already */
	atomic_uint_fast64_t epoch;
	struct change_view *change; /* [n_changes] snapshot */
	struct quarantine_view *quarantined; /* [n_quarantined] */
	uint32_t n_changes, n_quarantined;
};

/* A sentence of agent/safety into the reply: `before`, then `text`, with a capital and a full stop. */
void guard_say(struct control_reply *reply, int error, const char *before, const char *text);

/* The rest on the guard's thread, or before it runs. */
bool guard_open(struct guard *guard); /* the journal, unless it is open; false: it cannot be */
void guard_snapshot(struct guard *guard); /* what others may look at */
int guard_watch(struct guard *guard, struct safety_error *error); /* see that a keeper runs */
void guard_on_beat(void *guard); /* the loop's timer */

void guard_run_admit(struct guard *guard, struct job *job);
void guard_run_apply(struct guard *guard, struct job *job);
void guard_undo_orphan(struct guard *guard, struct job *job);
void guard_run_rollback(struct guard *guard, struct job *job);
void guard_run_keep(struct guard *guard, struct job *job);
void guard_run_swap(struct guard *guard, struct job *job);
void guard_run_unquarantine(struct guard *guard, struct job *job);
void guard_run_eject(struct guard *guard, struct job *job);
void guard_run_note(struct guard *guard, struct job *job);
void guard_run_tick(struct guard *guard, struct job *job);

#endif
