// SPDX-License-Identifier: Apache-2.0
/*
 * swap.c - the new and the old values in turn, within one change: slices of time are compared under them, and some of its
 * knobs with the others.
 *
 * Nothing is written to the journal: the change on record says that its values may be in force, and its undo takes a knob
 * that reads the old value for one that is back. So a crash at any moment is undone as any other, and a swap waits for no
 * disk. Must never write over a value that is not the one this left. One thread at a time.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/safety/safety.h"
#include "agent/safety/safety_internal.h"
#include "agent/safety/undo.h"
#include "agent/util/log.h"

struct swap {
	struct safety *s;
	struct change *change;
	struct knob knob[RECORD_KNOBS_MAX];
	uint32_t old_set; /* to stand at their old values after it, bits as in change->swapped */
	struct safety_error *error;
};

static bool is_in(uint32_t set, size_t k)
{
	return set >> k & 1;
}

/* Did the swap bring it to another value than it had? */
static bool moves(const struct swap *w, size_t k)
{
	return is_in(w->old_set ^ w->change->swapped, k);
}

/* The knob of this change that k names as coupled with it, or k. */
static size_t partner_of(const struct change *change, size_t k)
{
	char partner[RECORD_NAME_MAX] = "";

	knob_partner(change->knob[k].name, partner);
	for (size_t i = 0; i < change->n_knobs; i++) {
		if (strcmp(change->knob[i].name, partner) == 0)
			return i;
	}
	return k;
}

/* The knob that a write to k sets anew, or k. */
static size_t reset_by(const struct change *change, size_t k)
{
	return knob_resets(change->knob[k].name) ? partner_of(change, k) : k;
}

/*
 * May it be swapped at all? Stopped between the write of a knob and that of the one it sets anew, the second would read
 * what is nobody's: such a pair is not to have values of its own in both.
 */
static int check(const struct swap *w)
{
	const struct change *c = w->change;

	if (c->state != CHANGE_APPLIED) {
		safety_say(w->error, "change %llu is %s, so its values cannot be swapped",
			(unsigned long long)c->id, change_state_name(c->state));
		return -EINVAL;
	}
	for (size_t k = 0; k < c->n_knobs; k++) {
		size_t other = reset_by(c, k);

		if (other != k && c->knob[other].intended[0]) {
			safety_say(w->error,
				"%.200s sets %.200s anew, so the two are not swapped together; "
				"change one of them at a time",
				c->knob[k].name, c->knob[other].name);
			return -EINVAL;
		}
	}
	return 0;
}

static int open_all(struct swap *w)
{
	for (size_t k = 0; k < w->change->n_knobs; k++) {
		int err =
			knob_open(&w->knob[k], w->s->root, w->change->knob[k].name, true, w->error);

		if (err)
			return err;
	}
	return 0;
}

/* Does it read as it was left? A value that somebody else wrote is theirs, even if it is one of our two. */
static int compare(struct swap *w, size_t k)
{
	struct change_knob *want = &w->change->knob[k];
	bool old = is_in(w->change->swapped, k);
	char live[RECORD_VALUE_MAX];
	int err = knob_read(&w->knob[k], live);

	if (err) {
		safety_say(w->error, "%.200s cannot be read: %s", want->name, strerror(-err));
		return err;
	}
	if (knob_same(live, old ? want->original : want->readback))
		return 0;
	safety_say(w->error, "somebody else set %.200s to %.100s while %.100s was being tried",
		want->name, live, want->readback[0] ? want->readback : want->intended);
	/* the undo is to see it as theirs, not as the value we would have written next */
	if (old)
		strcpy(want->readback, want->original);
	return -EBUSY;
}

static int write_one(struct swap *w, size_t k, bool new_value)
{
	const struct change_knob *knob = &w->change->knob[k];
	const char *value = new_value ? knob->intended : knob->original;
	size_t other = new_value ? k : reset_by(w->change, k);
	int err = knob_write(&w->knob[k], value);

	/* what it set anew had a value of its own before */
	if (!err && other != k)
		err = knob_write(&w->knob[other], w->change->knob[other].original);
	if (err)
		safety_say(w->error, "the kernel refused %.100s for %.200s: %s", value, knob->name,
			strerror(-err));
	return err;
}

/*
 * New values: those that were asked for. Old ones: what reads otherwise, but for a 0 that follows from the value of the knob
 * it is coupled with, and for what is set anew, which write_one() sees to.
 */
static bool is_written(const struct swap *w, size_t k, bool new_value)
{
	const struct change *c = w->change;
	const struct change_knob *knob = &c->knob[k];
	size_t partner = partner_of(c, k);

	if (new_value)
		return knob->intended[0] != '\0';
	if (knob_same(knob->original, knob->readback))
		return false;
	if (partner != k && !knob_resets(knob->name) && knob_same(knob->original, "0") &&
		!knob_same(c->knob[partner].original, "0"))
		return false;
	for (size_t i = 0; i < c->n_knobs; i++) {
		if (i != k && reset_by(c, i) == k)
			return false;
	}
	return true;
}

static int write_all(struct swap *w, bool new_value)
{
	size_t n = w->change->n_knobs;

	for (size_t i = 0; i < n; i++) {
		/* back in the opposite order */
		size_t k = new_value ? i : n - 1 - i;
		int err;

		if (!moves(w, k) || is_in(w->old_set, k) == new_value ||
			!is_written(w, k, new_value))
			continue;
		err = write_one(w, k, new_value);
		if (err)
			return err;
	}
	return 0;
}

/* What came of it. A knob that was announced for later has its new value for the first time, and is read back now. */
static int look_back(struct swap *w, size_t k)
{
	struct change_knob *want = &w->change->knob[k];
	bool old = is_in(w->old_set, k), first = !old && !want->readback[0];
	char live[RECORD_VALUE_MAX];
	int err = knob_read(&w->knob[k], live);
	bool same;

	if (err) {
		safety_say(w->error, "%.200s cannot be read back: %s", want->name, strerror(-err));
		return err;
	}
	if (first)
		same = !want->intended[0] || knob_took(w->knob[k].def, want->intended, live);
	else
		same = knob_same(live, old ? want->original : want->readback);
	if (!same) {
		safety_say(w->error, "%.200s reads %.100s after %.100s was written", want->name,
			live, old ? want->original : want->intended);
		return -EIO;
	}
	if (first)
		strcpy(want->readback, live);
	return 0;
}

/* Foreign values are looked for in all before any is written. */
static int carry_out(struct swap *w)
{
	int err = open_all(w), theirs = 0;

	for (size_t k = 0; k < w->change->n_knobs && !err; k++) {
		err = compare(w, k);
		if (err == -EBUSY) {
			theirs = err;
			err = 0;
		}
	}
	err = err ? err : theirs;
	if (!err)
		err = write_all(w, false);
	if (!err)
		err = write_all(w, true);
	for (size_t k = 0; k < w->change->n_knobs && !err; k++)
		err = look_back(w, k);
	return err;
}

/* The knobs that are to stand at their old values: those asked for and not in new_set, each with what it is coupled with. */
static uint32_t old_set_of(const struct change *change, uint32_t new_set)
{
	uint32_t old_set = 0, asked = 0;

	for (size_t k = 0; k < change->n_knobs; k++) {
		if (!change->knob[k].intended[0] || is_in(new_set, asked++))
			continue;
		old_set |= 1U << k | 1U << partner_of(change, k);
	}
	return old_set;
}

int safety_swap(struct safety *s, uint64_t id, bool new_value, struct safety_error *error)
{
	return safety_swap_some(s, id, new_value ? UINT32_MAX : 0, error);
}

int safety_swap_some(struct safety *s, uint64_t id, uint32_t new_set, struct safety_error *error)
{
	struct safety_error unused, lost;
	struct swap w = { .s = s, .error = error ? error : &unused };
	char because[300];
	int err;

	err = journal_owned(s->journal) ? 0 : safety_ready(s, false, w.error);
	w.change = book_find(s->book, id);
	if (err) {
		/* nothing can be recorded any more, so nothing is tried any more */
		if (w.change && change_open(w.change))
			change_undo(w.change, s->root, s->boot_id, "the journal is lost", NULL);
		return err;
	}
	if (!w.change || !change_open(w.change)) {
		safety_say(w.error, "change %llu is not in force any more: %.300s",
			(unsigned long long)id, w.change ? w.change->why : "it is not on record");
		return w.change ? -EALREADY : -ENOENT;
	}
	err = check(&w);
	w.old_set = old_set_of(w.change, new_set);
	if (err)
		return err;
	for (size_t k = 0; k < RECORD_KNOBS_MAX; k++)
		w.knob[k].fd = -1;
	/* a keeper that thinks us silent hears that we are not, and counts anew */
	safety_beat(s);
	err = carry_out(&w);
	for (size_t k = 0; k < RECORD_KNOBS_MAX; k++)
		knob_close(&w.knob[k]);
	/* the keeper undid it meanwhile, and what was just written must not outlive that */
	if (!journal_owned(s->journal)) {
		change_undo(w.change, s->root, s->boot_id, "the keeper had taken over", NULL);
		safety_say(w.error,
			"the agent was silent for too long, so the keeper ended the change: %.380s",
			w.change->why);
		return -ESTALE;
	}
	if (!err) {
		w.change->swapped = w.old_set;
		return 0;
	}
	snprintf(because, sizeof(because), "%.250s", w.error->text);
	if (safety_undo_logged(s, w.change, because, &lost))
		safety_say(w.error, "%.400s", lost.text);
	return err;
}
