/* SPDX-License-Identifier: Apache-2.0 */
/*
 * safety_internal.h - the struct behind safety.h and what its files share. Of agent/safety only.
 */
#ifndef SEMANTOS_SAFETY_INTERNAL_H
#define SEMANTOS_SAFETY_INTERNAL_H

#include "agent/safety/book.h"
#include "agent/safety/keeper.h"
#include "agent/safety/knob.h"
#include "agent/safety/safety.h"

struct safety {
	struct journal *journal;
	struct book *book;
	char root[512]; /* "" = the machine */
	char dir[512];
	char boot_id[RECORD_BOOT_ID_MAX];
	struct safety_clock clock;
	bool keeper_wanted, keeper_needed;
	struct keeper_link keeper;
	struct record scratch; /* the record being written */
};

/* Open the journal with this access and replay it; no recovery, no keeper. */
int safety_begin(struct safety **out, const struct safety_options *options,
	enum journal_access access, struct safety_error *error);
void safety_free(struct safety *safety);

void safety_stamp(const struct safety *safety, struct record_stamp *stamp);

/* Write the change (or another record prepared in scratch) and take it into the book. */
int safety_log_change(
	struct safety *safety, const struct change *change, struct safety_error *error);
int safety_log_scratch(struct safety *safety, enum record_kind kind, struct safety_error *error);

/* Would this value hold the agent or its keeper? 0, -EPERM, or -errno: nobody knows. */
int safety_check_own(const struct safety *safety, const char *name, const char *value,
	struct safety_error *error);

/* Has somebody taken over? Then read what they did. Begin a new segment when this one is full. */
int safety_ready(struct safety *safety, bool new_change, struct safety_error *error);

/* Undo one open change and record it. 0 when it ended; the record may be missing, the next recovery writes it. */
int safety_undo_logged(struct safety *safety, struct change *change, const char *because,
	struct safety_error *error);

/* The same in two steps, the second being: say and record that this change has ended. */
void safety_log_end(struct safety *safety, const struct change *change, struct safety_error *error);

/* Is it to be undone when the agent is gone? Of mode auto, stopped half way, or of another boot. */
bool safety_abandoned(const struct safety *safety, const struct change *change);
/* Undo all such changes: first every knob, then the records. */
void safety_undo_abandoned(
	struct safety *safety, const char *because, struct safety_report *report);

bool safety_upgrading(const struct safety *safety); /* the last mark says the next agent comes */
int safety_mark(struct safety *safety, enum mark mark, struct safety_error *error);

#endif
