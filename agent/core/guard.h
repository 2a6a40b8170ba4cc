/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard.h - the running agent's hold on agent/safety: one thread that may wait for the disk, as the loop never may.
 *
 * Owns struct safety from open to close. The keeper is started, and its heartbeat runs, only while a change of mode
 * auto is in force; the heartbeat comes from the loop, so that a loop that hangs looks dead. Calls wait at most
 * GUARD_WAIT_MS and are for any thread but the loop's own, where it does not say otherwise.
 *
 * Without a journal (disk full, damaged) the agent runs all the same: it changes nothing, policies stay in shadow, and
 * every call tries to open the journal again.
 */
#ifndef SEMANTOS_CORE_GUARD_H
#define SEMANTOS_CORE_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/core/control.h"
#include "agent/core/loop.h"
#include "agent/safety/safety.h"

#define GUARD_WAIT_MS 5000
#define GUARD_END_MS 10000 /* what closing may take of a disk that hangs */
#define GUARD_QUEUE 64

struct guard;

struct guard_options {
	const char *dir; /* of the journal */
	const char *root; /* NULL = this machine */
	const char *keeper; /* program; NULL = none, and changes of mode auto are refused */
	struct loop *loop; /* carries the heartbeat */
	/* On the guard's thread, after the ejection is on record: take the policy down. */
	void (*eject)(void *ctx, const char *policy);
	/* On the guard's thread: this policy's change to another mode than shadow could not be recorded. May be NULL. */
	void (*unrecorded)(void *ctx, const char *policy);
	void *ctx;
};

/*
 * Open the journal, undo what a dead agent left (said in one sentence), start the thread. Before loop_run(). NULL when
 * memory or threads are short; a journal that cannot be opened is logged and tried again later.
 */
struct guard *guard_new(const struct guard_options *options);

/*
 * After loop_run() returned. SAFETY_STOP undoes changes of mode auto, SAFETY_UPGRADE leaves all to the next agent.
 * Later calls are answered -ESHUTDOWN. Accepts NULL.
 */
void guard_end(struct guard *guard, enum safety_end end);
void guard_free(
	struct guard *guard); /* accepts NULL; ends with SAFETY_STOP when it has not ended */

/* May this policy be attached? reply->error 0, -EKEYREJECTED: quarantined, -EROFS: no journal and not in shadow. */
void guard_admit(struct guard *guard, const char *policy, bool shadow, struct control_reply *reply);
/* Moves when a policy is quarantined: an admission given before says nothing any more. Any thread. */
uint64_t guard_epoch(const struct guard *guard);

/* Errors as safety_apply(); reply->change is its id. After -ETIMEDOUT a change of the tuner's is undone once it is made. */
void guard_apply(
	struct guard *guard, const struct safety_request *request, struct control_reply *reply);
/* observed: what came of the change, NULL = nothing is said. */
void guard_rollback(struct guard *guard, uint64_t id, const char *because, const char *observed,
	struct control_reply *reply);
/* Judged and left in force. Errors as safety_keep(). */
void guard_keep(
	struct guard *guard, uint64_t id, const char *observed, struct control_reply *reply);
/* Old values for a while, or new ones again, as safety_swap_some() has new_set and its errors. */
void guard_swap(struct guard *guard, uint64_t id, uint32_t new_set, struct control_reply *reply);
void guard_unquarantine(struct guard *guard, const char *policy, struct control_reply *reply);

/*
 * Record the ejection, undo the policy's changes, then options.eject(). Returns at once; for any thread, the loop's
 * too. False: the queue is full or memory is short.
 */
bool guard_eject(struct guard *guard, const struct exit_record *exit);

/*
 * Record that a policy was attached, detached or given another mode; should that fail while it is more than in shadow,
 * options.unrecorded(). Returns at once; any thread. False: the queue is full or memory is short.
 */
bool guard_note(struct guard *guard, const struct policy_event *event);

void guard_tick(struct guard *guard); /* the loop's thread, once a second */

/* Changes in force and quarantines into the view, as of the last call. 0 or -ENOMEM. Any thread. */
int guard_view(struct guard *guard, struct agent_view *view);

#endif
