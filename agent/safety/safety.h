/* SPDX-License-Identifier: Apache-2.0 */
/*
 * safety.h - everything that changes a setting of the machine goes through here: journaled, bounded, undone.
 *
 * Order of every change: on the disk (intent) -> written -> read back -> on the disk (applied). It is kept or undone by
 * its owner, undone by the keeper when the agent is gone, and by safety_recover() when both are. Calls wait for the
 * disk: not for the loop's thread. One thread at a time per struct safety, but safety_beat() may come from any thread.
 * Every error is one sentence that says what was not done, without its full stop. The contract in words: docs/safety.md.
 */
#ifndef SEMANTOS_SAFETY_SAFETY_H
#define SEMANTOS_SAFETY_SAFETY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/safety/journal.h"
#include "agent/safety/record.h"

#define SAFETY_RATE_WINDOW_NS 60000000000ULL
#define SAFETY_RATE 12 /* changes one owner may begin within the window */
#define SAFETY_RETRY_WINDOW_NS 600000000000ULL
#define SAFETY_RETRIES \
	3 /* the same change, undone so often within that window, is not tried again in it */
#define SAFETY_TUNER "tuner" /* owner of what the tuning loop changes */
#define SAFETY_UPGRADE_NS 600000000000ULL /* how long a restart for an upgrade may take */
#define SAFETY_LOCK_WAIT_MS 2000 /* for a keeper that still undoes what the last agent left */

struct safety;

/* A fake one in tests; NULL = CLOCK_BOOTTIME and CLOCK_REALTIME. */
struct safety_clock {
	uint64_t (*boot_ns)(void *ctx);
	uint64_t (*real_ns)(void *ctx);
	void *ctx;
};

struct safety_options {
	const char *dir; /* folder of the journal, made when it is not there */
	const char
		*root; /* NULL, "" or "/" = this machine; else a folder with proc/sys, sys, dev */
	const char
		*keeper; /* program to start; NULL = none, and changes of mode auto are refused */
	const struct safety_clock *clock;
	size_t max_bytes; /* of a segment, 0 = JOURNAL_MAX_BYTES */
	bool no_keeper_needed; /* a command that ends what it began: auto changes without a keeper */
	bool ignore_upgrade; /* undo even when the agent said it would be back */
};

struct safety_knob {
	const char *name, *value;
};

struct safety_request {
	const char *owner; /* policy or tuner */
	enum change_mode mode;
	const struct safety_knob *knob; /* [n_knobs], each setting once */
	size_t n_knobs;
	const char *because; /* half a sentence */
	const char *evidence, *expected; /* may be NULL */
	uint32_t
		later; /* bit i: knob[i] is announced, and keeps its old value until safety_swap_some() */
};

/* What recovery did. */
struct safety_report {
	unsigned int rolled_back, left_alone, failed;
	unsigned int
		in_force; /* not undone: mode on-breach or never, or the agent is about to be back */
	size_t cut_bytes; /* of a record that was cut short and never counted */
};

/*
 * Take the journal, undo what a dead agent left (safety_recover()), start the keeper. 0 or -errno; *out is the
 * caller's. report may be NULL.
 */
int safety_open(struct safety **out, const struct safety_options *options,
	struct safety_report *report, struct safety_error *error);

enum safety_end { SAFETY_STOP, SAFETY_UPGRADE };

/*
 * SAFETY_STOP: undo every change of mode auto. SAFETY_UPGRADE: leave all as it is for the next agent, which has
 * SAFETY_UPGRADE_NS to come. Frees; accepts NULL. Number of changes that could not be undone and stay on record.
 */
unsigned int safety_close(struct safety *safety, enum safety_end end);

/*
 * Change all knobs of the request, or none. 0 with *id; -EALREADY: they have these values, or the same change is in
 * force (*id says which, 0 = none); -EBUSY: a knob has another owner (the tuner may go on from what it kept), or changed
 * under our hands; -ENOENT, -EINVAL,
 * -ERANGE: not offered or out of range, or an action in another mode than once; -EPERM: it would hold the agent itself;
 * -ESRCH: the process is gone; -EAGAIN: too many too soon; -EIO, -ENOSPC…: journal or kernel failed.
 */
int safety_apply(struct safety *safety, const struct safety_request *request, uint64_t *id,
	struct safety_error *error);

/*
 * Record that a policy was attached, detached or given another mode; event->id is filled in, texts are cut to length. It
 * is in force as long as the agent that made it, so nobody undoes it. 0, -EALREADY: from and to are the same, or -errno.
 */
int safety_note(struct safety *safety, struct policy_event *event, struct safety_error *error);

/* Judged and kept in force. observed: what was measured. 0, -ENOENT, -EALREADY (ended), -EINVAL (its old values stand) or -errno. */
int safety_keep(
	struct safety *safety, uint64_t id, const char *observed, struct safety_error *error);

/*
 * Undo one change, whatever its mode. 0: it ended, error->text says how; -ENOENT, -EALREADY or -errno: it did not; -EBUSY: the
 * tuner went on from it, and that later change is to be undone first.
 */
int safety_rollback(struct safety *safety, uint64_t id, const char *because, const char *observed,
	struct safety_error *error);

/*
 * Bring an applied change's old values back for a while (new_value false), or its new ones again (true): slices of time are
 * compared so. It stays one change, which its owner, the keeper and recovery undo as ever, whichever of its values they
 * find; nothing is written to the journal. Every knob must read as it was left; after any failure the change has ended,
 * with what is not somebody else's undone, and error->text says so.
 * 0: so it stands, also when it stood so, which is a look and no write; -EINVAL: it is kept, or of two knobs of which one sets the other anew (it stays
 * as it is); -EBUSY: somebody else wrote one; -ENOENT, -EALREADY: it had ended; -ESTALE: the keeper had; -EIO or the
 * kernel's -errno.
 */
int safety_swap(struct safety *safety, uint64_t id, bool new_value, struct safety_error *error);

/*
 * The same with some of its knobs under their new values: bit i of new_set is the i-th that was asked for, and what that is
 * coupled with goes along. Those that go back are written before those that come.
 */
int safety_swap_some(
	struct safety *safety, uint64_t id, uint32_t new_set, struct safety_error *error);

/* Undo all changes of an owner but those of mode never. Number that could not be undone. */
unsigned int safety_breach(struct safety *safety, const char *owner, const char *because);

/*
 * Undo what is in force with nobody to undo it. Does nothing when there is no journal. 0, -EBUSY when an agent runs,
 * -EIO when something could not be undone (try again), or -errno.
 */
int safety_recover(const struct safety_options *options, struct safety_report *report,
	struct safety_error *error);

/*
 * For a command that changes one thing while no agent runs: take the journal, and nothing more. -ENOENT when there is
 * none. safety_leave() gives it back and undoes nothing; accepts NULL.
 */
int safety_attend(
	struct safety **out, const struct safety_options *options, struct safety_error *error);
void safety_leave(struct safety *safety);

/* ---- the keeper ---- */

int safety_beat(struct safety *safety); /* at least every KEEPER_BEAT_MS; never blocks */
/* Once a second: a keeper that died is started anew. 0, or -errno with a sentence while there is none. */
int safety_tick(struct safety *safety, struct safety_error *error);

/* ---- the breaker (breaker.h) ---- */

/* Record an ejection. *quarantined: the policy is quarantined from here on. */
int safety_exit(struct safety *safety, const struct exit_record *exit, bool *quarantined,
	struct safety_error *error);
/* May this policy be attached? 0, or -EPERM with the reason. */
int safety_admit(struct safety *safety, const char *policy, struct safety_error *error);
int safety_unquarantine(struct safety *safety, const char *policy, struct safety_error *error);

/* ---- looking: no lock, any process that may read the folder ---- */

/* All records still kept, oldest first. 0, what visit returned, or -errno with everything before the damage visited. */
int safety_history(const char *dir, journal_visit *visit, void *ctx, struct safety_error *error);

/* One change of settings, or of a policy, as it stands, and its steps. -ENOENT: no such id. A multi-line text for people into out[size]. */
int safety_explain(
	const char *dir, uint64_t id, char *out, size_t size, struct safety_error *error);

struct safety_audit {
	unsigned int segments; /* read, the one in use included */
	uint64_t records;
	unsigned int open; /* changes in force */
	unsigned int differs; /* open changes whose knobs do not read as they were read back */
	bool torn; /* a record at the end was cut short */
};

/* Check every segment, the chain between them, and the knobs of open changes. 0 or -EBADMSG with a sentence. */
int safety_audit(
	const char *dir, const char *root, struct safety_audit *audit, struct safety_error *error);

#endif
