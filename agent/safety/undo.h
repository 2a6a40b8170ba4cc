/* SPDX-License-Identifier: Apache-2.0 */
/*
 * undo.h - puts back what a change found, unless somebody else has changed it since.
 *
 * Shared by the agent, the keeper and recovery. Compares each knob with our own read-back: what reads otherwise is
 * theirs and left alone. The compare and the write are two system calls in a row; a foreign write that falls exactly
 * between them is lost, one that comes later is seen by the read after the write and left alone. Journals nothing: the
 * change on record already announces its undo, and doing it twice does no harm. Any thread.
 */
#ifndef SEMANTOS_SAFETY_UNDO_H
#define SEMANTOS_SAFETY_UNDO_H

#include "agent/safety/knob.h"
#include "agent/safety/record.h"

/*
 * A change of mode once that was stopped half way is left alone: what it may have done cannot be undone, and it is not done
 * again. boot_id: of this boot; a change made in another one went with it. because: half a sentence.
 * 0: change->state is now CHANGE_ROLLED_BACK or CHANGE_LEFT_ALONE and change->why says what was found and done.
 * -errno: something of it is still in force; state is as it was and why says what stands in the way.
 * *written (may be NULL) counts the knobs that were written.
 */
int change_undo(struct change *change, const char *root, const char *boot_id, const char *because,
	unsigned int *written);

/* May its undo hang with a disk that hangs? Such changes come after all others, so that they hold up nothing else. */
bool change_waits(const struct change *change);

/* Do all its knobs read as before the change? Writes nothing; a knob that cannot be read says no. */
bool change_is_back(const struct change *change, const char *root);

#endif
