// SPDX-License-Identifier: Apache-2.0
/*
 * apply.c - making one change: may it be made, announce it, write, look, record; and keeping or undoing it.
 *
 * Must never write before the intent is on the disk, nor leave half a change. Between the compare and the write of a
 * knob there is one system call. One thread at a time.
 */
#include "agent/safety/safety.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/safety/safety_internal.h"
#include "agent/safety/undo.h"
#include "agent/util/log.h"

struct apply {
	struct safety *s;
	struct change *change;
	struct knob knob[RECORD_KNOBS_MAX];
	struct safety_error *error;
};

static bool has_key(const struct change *change, const char *name)
{
	char want[RECORD_NAME_MAX], have[RECORD_NAME_MAX];

	knob_key(name, want);
	for (size_t k = 0; k < change->n_knobs; k++) {
		knob_key(change->knob[k].name, have);
		if (strcmp(want, have) == 0)
			return true;
	}
	return false;
}

static int add_knob(struct apply *a, const char *name, const char *value)
{
	struct change *c = a->change;

	if (has_key(c, name)) {
		safety_say(a->error,
			"%.200s is named twice in one change, or excludes another of its knobs",
			name);
		return -EINVAL;
	}
	if (c->n_knobs == RECORD_KNOBS_MAX) {
		safety_say(a->error, "a change has at most %d knobs, coupled ones included",
			RECORD_KNOBS_MAX);
		return -E2BIG;
	}
	strcpy(c->knob[c->n_knobs].name, name);
	strcpy(c->knob[c->n_knobs++].intended, value);
	return 0;
}

/* Nobody shall find out afterwards that what was done cannot be undone: the mode says so beforehand. */
static int check_mode(struct apply *a, const char *name)
{
	bool once = a->change->mode == CHANGE_ONCE;

	if (once == knob_is_action(name))
		return 0;
	if (once)
		safety_say(a->error,
			"%.200s has a value to go back to, so its mode is auto, on-breach or never",
			name);
	else
		safety_say(
			a->error, "%.200s cannot be undone, so it is done in mode once only", name);
	return -EINVAL;
}

/* Both may be asked for when the one leaves the other alone. */
static bool asked_too(const struct safety_request *rq, const char *name, const char *partner)
{
	for (size_t i = 0; knob_resets(name) && i < rq->n_knobs; i++) {
		if (strcmp(rq->knob[i].name, partner) == 0)
			return true;
	}
	return false;
}

/* The knobs asked for, each followed by the one it is coupled with. */
static int list_knobs(struct apply *a, const struct safety_request *rq)
{
	char name[RECORD_NAME_MAX], partner[RECORD_NAME_MAX];
	size_t first;
	int err = 0;

	if (rq->n_knobs == 0 || rq->mode < CHANGE_AUTO || rq->mode > CHANGE_ONCE || !rq->owner[0] ||
		strlen(rq->owner) >= RECORD_OWNER_MAX) {
		safety_say(a->error, "a change needs an owner, a mode and at least one knob");
		return -EINVAL;
	}
	if (rq->later && rq->mode != CHANGE_AUTO) {
		safety_say(a->error, "only what is tried, in mode auto, may come later");
		return -EINVAL;
	}
	for (size_t i = 0; i < rq->n_knobs && !err; i++) {
		err = knob_check(rq->knob[i].name, rq->knob[i].value, a->error);
		if (!err)
			err = check_mode(a, rq->knob[i].name);
		if (!err)
			err = knob_full_name(rq->knob[i].name, name, a->error);
		if (!err)
			err = safety_check_own(a->s, name, rq->knob[i].value, a->error);
		first = a->change->n_knobs;
		if (!err)
			err = add_knob(a, name, rq->knob[i].value);
		if (!err && knob_partner(name, partner) && !asked_too(rq, name, partner))
			err = add_knob(a, partner, "");
		for (size_t k = first; rq->later >> i & 1 && k < a->change->n_knobs; k++)
			a->change->swapped |= 1U << k;
	}
	return err;
}

static bool same_change(const struct change *a, const struct change *b)
{
	if (a->n_knobs != b->n_knobs || strcmp(a->owner, b->owner) != 0)
		return false;
	for (size_t k = 0; k < a->n_knobs; k++) {
		if (strcmp(a->knob[k].name, b->knob[k].name) != 0 ||
			!knob_same(a->knob[k].intended, b->knob[k].intended))
			return false;
	}
	return true;
}

/*
 * The tuner goes on from what it kept: the next change of the same knob lies on the kept one, whose value is its old one.
 * They are undone from the top down; so both are of those that wait for a disk, or neither.
 */
static bool may_lie_on(const struct change *upper, const struct change *lower)
{
	return lower->state == CHANGE_KEPT && strcmp(lower->owner, SAFETY_TUNER) == 0 &&
	       strcmp(upper->owner, SAFETY_TUNER) == 0 &&
	       change_waits(upper) == change_waits(lower);
}

/* One owner a knob, and one change: what is in force is undone before the next. */
static int check_owner(struct apply *a, uint64_t *id)
{
	const struct book *book = a->s->book;

	for (size_t i = 0; i < book->n_changes; i++) {
		const struct change *other = book->change[i];

		if (!change_open(other) || may_lie_on(a->change, other))
			continue;
		if (same_change(other, a->change)) {
			*id = other->id;
			safety_say(a->error, "the same change is in force as change %llu",
				(unsigned long long)other->id);
			return -EALREADY;
		}
		for (size_t k = 0; k < a->change->n_knobs; k++) {
			if (!has_key(other, a->change->knob[k].name))
				continue;
			safety_say(a->error,
				"%.200s is held by change %llu of %s; roll that back first",
				a->change->knob[k].name, (unsigned long long)other->id,
				other->owner);
			return -EBUSY;
		}
	}
	return 0;
}

/* Ages count in uptime, and only what happened in this boot counts. */
static int check_rate(struct apply *a)
{
	const struct book *book = a->s->book;
	unsigned int begun = 0, undone = 0;
	struct record_stamp now;

	safety_stamp(a->s, &now);
	for (size_t i = 0; i < book->n_changes; i++) {
		const struct change *other = book->change[i];
		uint64_t age = now.boot_ns - other->begun.boot_ns;

		if (strcmp(other->owner, a->change->owner) != 0 ||
			strcmp(other->begun.boot_id, now.boot_id) != 0)
			continue;
		begun += age < SAFETY_RATE_WINDOW_NS;
		undone += !change_open(other) && age < SAFETY_RETRY_WINDOW_NS &&
			  same_change(other, a->change);
	}
	if (undone >= SAFETY_RETRIES) {
		safety_say(a->error,
			"the same change was %s %u times within 10 minutes and is not tried again "
			"in them",
			a->change->mode == CHANGE_ONCE ? "made" : "undone", undone);
		return -EAGAIN;
	}
	if (begun >= SAFETY_RATE) {
		safety_say(a->error,
			"%.60s made %u changes within a minute, the most that is allowed; wait",
			a->change->owner, begun);
		return -EAGAIN;
	}
	if (book_open(book) >= BOOK_OPEN_MAX) {
		safety_say(a->error,
			"%d changes are in force, the most that is allowed; roll some back",
			BOOK_OPEN_MAX);
		return -EAGAIN;
	}
	if (a->change->mode == CHANGE_AUTO && a->s->keeper_needed && !keeper_ready(&a->s->keeper)) {
		safety_say(a->error,
			"there is no keeper that would undo the change if the agent died");
		return -EAGAIN;
	}
	return 0;
}

static int open_knobs(struct apply *a)
{
	struct change *c = a->change;
	bool differs = c->mode == CHANGE_ONCE;

	for (size_t k = 0; k < c->n_knobs; k++) {
		int err = knob_open(&a->knob[k], a->s->root, c->knob[k].name, true, a->error);

		if (!err)
			err = knob_fits(a->s->root, c->knob[k].name, c->knob[k].intended, a->error);
		if (err)
			return err;
		if (c->mode == CHANGE_ONCE)
			continue;
		err = knob_read(&a->knob[k], c->knob[k].original);
		if (err) {
			safety_say(a->error, "%.200s cannot be read: %s", c->knob[k].name,
				strerror(-err));
			return err;
		}
		differs |= c->knob[k].intended[0] &&
			   !knob_same(c->knob[k].original, c->knob[k].intended);
	}
	if (!differs) {
		safety_say(a->error, "the values asked for stand already");
		return -EALREADY;
	}
	return 0;
}

static void describe(struct change *c, const struct safety_request *rq)
{
	char text[RECORD_TEXT_MAX];
	const char *comma = "";
	size_t len = 0;

	record_add(text, sizeof(text), &len, "%s: ", c->owner);
	for (size_t k = 0; k < c->n_knobs; k++) {
		if (!c->knob[k].intended[0])
			continue;
		record_add(text, sizeof(text), &len, "%s%s %s%s%s", comma, c->knob[k].name,
			c->knob[k].original, c->mode == CHANGE_ONCE ? "once on " : " -> ",
			c->knob[k].intended);
		comma = ", ";
	}
	record_add(text, sizeof(text), &len, ", because %s",
		rq->because ? rq->because : "it was asked for");
	record_text(c->sentence, sizeof(c->sentence), text);
	record_text(c->evidence, sizeof(c->evidence), rq->evidence);
	record_text(c->expected, sizeof(c->expected), rq->expected);
}

/* Has nobody changed it since the intent was written? */
static int compare(struct apply *a, size_t k)
{
	const struct change_knob *want = &a->change->knob[k];
	char live[RECORD_VALUE_MAX];
	int err = knob_read(&a->knob[k], live);

	if (err) {
		safety_say(a->error, "%.200s cannot be read: %s", want->name, strerror(-err));
		return err;
	}
	if (knob_same(live, want->original))
		return 0;
	safety_say(
		a->error, "%.200s was changed to %s by somebody else just now", want->name, live);
	return -EBUSY;
}

/* Did a knob of this change that was just written set this one anew? Then it reads what it likes, and is to be written. */
static bool was_reset(const struct change *c, size_t k)
{
	char partner[RECORD_NAME_MAX];

	for (size_t i = 0; i < k; i++) {
		/* what resets another names it */
		partner[0] = '\0';
		if (knob_resets(c->knob[i].name))
			knob_partner(c->knob[i].name, partner);
		if (strcmp(partner, c->knob[k].name) == 0)
			return true;
	}
	return false;
}

/* Compare and write, knob by knob. */
static int write_knobs(struct apply *a)
{
	struct change *c = a->change;

	for (size_t k = 0; k < c->n_knobs; k++) {
		bool reset = was_reset(c, k);
		int err = 0;

		if (!c->knob[k].intended[0] || c->swapped >> k & 1 ||
			(!reset && knob_same(c->knob[k].original, c->knob[k].intended)))
			continue;
		if (c->mode != CHANGE_ONCE && !reset)
			err = compare(a, k);
		if (err)
			return err;
		err = knob_write(&a->knob[k], c->knob[k].intended);
		if (err) {
			safety_say(a->error, "the kernel refused %s for %.200s: %s",
				c->knob[k].intended, c->knob[k].name, strerror(-err));
			return err;
		}
	}
	return 0;
}

/* A value that did not take effect is an error, whatever the write answered. */
static int read_back(struct apply *a)
{
	struct change *c = a->change;
	int result = 0;

	for (size_t k = 0; k < c->n_knobs; k++) {
		char live[RECORD_VALUE_MAX];
		int err;

		if (c->swapped >> k & 1)
			continue;
		err = knob_read(&a->knob[k], live);
		if (!err && c->knob[k].intended[0] &&
			!knob_took(a->knob[k].def, c->knob[k].intended, live)) {
			safety_say(a->error, "%.200s reads %s after %s was written",
				c->knob[k].name, live, c->knob[k].intended);
			err = -EIO;
		} else if (!err) {
			strcpy(c->knob[k].readback, live);
		} else {
			safety_say(a->error, "%.200s cannot be read back: %s", c->knob[k].name,
				strerror(-err));
		}
		result = result ? result : err;
	}
	return result;
}

/* The agent was silent so long that the keeper ended its changes: this one must not outlive that. */
static int lost(struct apply *a)
{
	change_undo(a->change, a->s->root, a->s->boot_id, "the keeper had taken over", NULL);
	safety_say(a->error,
		"the agent was silent for too long, so the change was not made: %.380s",
		a->change->why);
	return -ESTALE;
}

static int carry_out(struct apply *a)
{
	struct change *c = a->change;
	struct safety_error error;
	char because[300];
	int err;

	/* a keeper that thinks us silent hears that we are not, and counts anew */
	safety_beat(a->s);
	if (!journal_owned(a->s->journal))
		return lost(a);
	err = write_knobs(a);
	if (!err && c->mode != CHANGE_ONCE)
		err = read_back(a);
	if (!err) {
		c->state = c->mode == CHANGE_ONCE ? CHANGE_DONE : CHANGE_APPLIED;
		record_text(c->why, sizeof(c->why), "");
		err = safety_log_change(a->s, c, a->error);
		if (!journal_owned(a->s->journal))
			return lost(a);
		if (!err)
			return 0;
	}
	/* whatever failed, the knobs are put back before anybody is told */
	snprintf(because, sizeof(because), "%.250s", a->error->text);
	if (safety_undo_logged(a->s, c, because, &error))
		safety_say(a->error, "%.400s", error.text);
	return err;
}

int safety_apply(
	struct safety *s, const struct safety_request *rq, uint64_t *id, struct safety_error *error)
{
	struct safety_error unused;
	struct apply a = { .s = s, .error = error ? error : &unused };
	int err;

	*id = 0;
	for (size_t k = 0; k < RECORD_KNOBS_MAX; k++)
		a.knob[k].fd = -1;
	a.change = calloc(1, sizeof(*a.change));
	if (!a.change) {
		safety_say(error, "there is no memory left to make a change");
		return -ENOMEM;
	}
	err = safety_ready(s, true, a.error);
	if (err)
		goto out;
	strncpy(a.change->owner, rq->owner, RECORD_OWNER_MAX - 1);
	a.change->mode = rq->mode;
	a.change->state = CHANGE_INTENT;
	safety_stamp(s, &a.change->begun);
	err = list_knobs(&a, rq);
	if (!err)
		err = check_owner(&a, id);
	if (!err)
		err = check_rate(&a);
	if (!err)
		err = open_knobs(&a);
	if (err)
		goto out;
	describe(a.change, rq);
	a.change->id = journal_next_seq(s->journal);
	err = safety_log_change(s, a.change, a.error);
	if (err)
		goto out;
	err = carry_out(&a);
	if (!err) {
		*id = a.change->id;
		log_info("%s.", a.change->sentence);
	}
out:
	for (size_t k = 0; k < RECORD_KNOBS_MAX; k++)
		knob_close(&a.knob[k]);
	free(a.change);
	return err;
}

static int find_open(
	struct safety *s, uint64_t id, struct change **change, struct safety_error *error)
{
	int err = safety_ready(s, false, error);

	if (err)
		return err;
	*change = book_find(s->book, id);
	if (!*change) {
		safety_say(error, "there is no change %llu that could still be in force",
			(unsigned long long)id);
		return -ENOENT;
	}
	if (!change_open(*change)) {
		safety_say(error, "change %llu is %s already%s", (unsigned long long)id,
			change_state_name((*change)->state),
			(*change)->mode == CHANGE_ONCE ? " and cannot be undone" : "");
		return -EALREADY;
	}
	return 0;
}

int safety_keep(struct safety *s, uint64_t id, const char *observed, struct safety_error *error)
{
	struct change *change, old;
	int err = find_open(s, id, &change, error);

	if (!err && change->swapped) {
		safety_say(error, "the old values of change %llu stand, so it is not kept",
			(unsigned long long)id);
		err = -EINVAL;
	}
	if (err)
		return err;
	old = *change;
	change->state = CHANGE_KEPT;
	record_text(change->observed, sizeof(change->observed), observed);
	err = safety_log_change(s, change, error);
	if (err)
		*change = old;
	return err;
}

/* The topmost change that lies on this one, or NULL: its value stands, and this one's is what that goes back to. */
static const struct change *above(const struct safety *s, const struct change *lower)
{
	const struct change *top = NULL;

	for (size_t i = 0; i < s->book->n_changes; i++) {
		const struct change *upper = s->book->change[i];

		/* ids rise */
		if (!change_open(upper) || upper->id <= lower->id)
			continue;
		for (size_t k = 0; k < upper->n_knobs; k++)
			top = has_key(lower, upper->knob[k].name) ? upper : top;
	}
	return top;
}

int safety_rollback(struct safety *s, uint64_t id, const char *because, const char *observed,
	struct safety_error *error)
{
	const struct change *upper;
	struct change *change;
	int err = find_open(s, id, &change, error);

	if (err)
		return err;
	upper = above(s, change);
	if (upper) {
		safety_say(error, "change %llu lies on change %llu; roll that back first",
			(unsigned long long)upper->id, (unsigned long long)id);
		return -EBUSY;
	}
	if (observed)
		record_text(change->observed, sizeof(change->observed), observed);
	return safety_undo_logged(s, change, because, error);
}

unsigned int safety_breach(struct safety *s, const char *owner, const char *because)
{
	struct safety_error error = { "" };
	unsigned int failed = 0;

	if (safety_ready(s, false, &error))
		log_error("%s.", error.text);
	for (size_t i = 2 * s->book->n_changes; i-- > 0;) {
		struct change *change = s->book->change[i % s->book->n_changes];
		bool last = i < s->book->n_changes;

		if (change_open(change) && change->mode != CHANGE_NEVER &&
			change_waits(change) == last && strcmp(change->owner, owner) == 0)
			failed += safety_undo_logged(s, change, because, &error) != 0;
	}
	return failed;
}
