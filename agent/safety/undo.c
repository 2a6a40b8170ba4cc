// SPDX-License-Identifier: Apache-2.0
/*
 * undo.c - compares, writes back, looks again; knob by knob, the last one written first, coupled ones together, those that
 * may wait for a disk after all others.
 *
 * Must never write over a value that is neither ours nor the old one. Any thread.
 */
#include "agent/safety/undo.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum stand { STAND_BACK, STAND_OURS, STAND_THEIRS };
enum result { RESULT_NOTHING, RESULT_RESTORED, RESULT_THEIRS, RESULT_GONE, RESULT_FAILED };

struct undo {
	struct change *change;
	const char *root;
	char live[RECORD_KNOBS_MAX][RECORD_VALUE_MAX];
	struct knob knob[RECORD_KNOBS_MAX];
	unsigned int count[RESULT_FAILED + 1];
	int err;
	char text[RECORD_TEXT_MAX];
	const char *between;
	size_t len;
};

/* A part of the sentence, after a semicolon when there is one before. */
#define tell(u, ...)                                                                     \
	do {                                                                             \
		record_add((u)->text, sizeof((u)->text), &(u)->len, "%s", (u)->between); \
		record_add((u)->text, sizeof((u)->text), &(u)->len, __VA_ARGS__);        \
		(u)->between = "; ";                                                     \
	} while (0)

/* The knob coupled with k in this change, whichever of them couples them, or k itself. */
static size_t coupled(const struct change *change, size_t k)
{
	char mine[RECORD_NAME_MAX] = "", other[RECORD_NAME_MAX];

	knob_partner(change->knob[k].name, mine);
	for (size_t i = 0; i < change->n_knobs; i++) {
		if (strcmp(change->knob[i].name, mine) == 0 ||
			(knob_partner(change->knob[i].name, other) &&
				strcmp(change->knob[k].name, other) == 0))
			return i;
	}
	return k;
}

/* Did a write to the knob that is coupled with it set this one anew? */
static bool was_reset(const struct undo *u, size_t k);
/* Did the one that brought that knob back, and nobody came to bring this one back too? */
static bool left_reset(const struct undo *u, size_t k);

static enum stand compare(const struct undo *u, size_t k)
{
	const struct change_knob *want = &u->change->knob[k];
	const char *live = u->live[k];

	if (knob_same(live, want->original))
		return STAND_BACK;
	if (left_reset(u, k))
		return STAND_OURS;
	if (want->readback[0])
		return knob_same(live, want->readback) ? STAND_OURS : STAND_THEIRS;
	/* stopped between writing and reading back: what the write would have led to is ours */
	if (was_reset(u, k))
		return STAND_OURS;
	if (want->intended[0])
		return knob_took(u->knob[k].def, want->intended, live) ? STAND_OURS : STAND_THEIRS;
	return knob_same(live, "0") ? STAND_OURS : STAND_THEIRS;
}

static bool was_reset(const struct undo *u, size_t k)
{
	size_t by = coupled(u->change, k);

	return by != k && knob_resets(u->change->knob[by].name) && compare(u, by) == STAND_OURS;
}

static bool left_reset(const struct undo *u, size_t k)
{
	size_t by = coupled(u->change, k);
	const struct change_knob *reset = &u->change->knob[by], *want = &u->change->knob[k];

	if (by == k || !knob_resets(reset->name) || !knob_same(u->live[by], reset->original))
		return false;
	/* where a kernel only ever raises it, what the new value led to may stand too, and was never read back */
	return knob_reset_may_read(u->root, reset->name, reset->original, u->live[k]) ||
	       (!want->readback[0] &&
		       knob_reset_may_read(u->root, reset->name, reset->intended, u->live[k]));
}

/* Read both and say how they stand together: one foreign value makes the pair foreign. */
static int look(struct undo *u, const size_t pair[2], size_t n, enum stand *stand)
{
	*stand = STAND_BACK;
	for (size_t i = 0; i < n; i++) {
		int err = knob_read(&u->knob[pair[i]], u->live[pair[i]]);

		if (err)
			return err;
	}
	for (size_t i = 0; i < n; i++) {
		enum stand one = compare(u, pair[i]);

		*stand = one > *stand ? one : *stand;
	}
	return 0;
}

static void tell_theirs(struct undo *u, const size_t pair[2], size_t n, const char *when)
{
	for (size_t i = 0; i < n; i++) {
		const struct change_knob *want = &u->change->knob[pair[i]];

		if (compare(u, pair[i]) != STAND_THEIRS)
			continue;
		tell(u,
			"%s reads %s, neither the old value %s nor ours %s: somebody else changed "
			"it%s, so it is "
			"left alone",
			want->name, u->live[pair[i]], want->original,
			want->readback[0] ? want->readback : want->intended, when);
	}
}

/*
 * Of two coupled knobs the one to write. The one that was in force: it sets the other to 0, or to something. Were both 0, it
 * is the one that may be set to 0, a ratio and no number of bytes.
 */
static size_t which(const struct undo *u, const size_t pair[2], size_t n)
{
	const struct change_knob *a = &u->change->knob[pair[0]], *b = &u->change->knob[pair[n - 1]];

	if (knob_resets(a->name))
		return pair[0];
	if (knob_resets(b->name) ||
		(n == 2 && knob_same(a->original, "0") &&
			(!knob_same(b->original, "0") || strstr(a->name, "_bytes"))))
		return pair[n - 1];
	return pair[0];
}

/* The old value, and of what this sets anew the old value too. */
static int write_back(const struct undo *u, const size_t pair[2], size_t n, size_t k)
{
	size_t other = pair[0] == k ? pair[n - 1] : pair[0];
	int err = knob_write(&u->knob[k], u->change->knob[k].original);

	if (!err && other != k && knob_resets(u->change->knob[k].name))
		err = knob_write(&u->knob[other], u->change->knob[other].original);
	return err;
}

static enum result undo_open_pair(
	struct undo *u, const size_t pair[2], size_t n, unsigned int *written)
{
	size_t k = which(u, pair, n);
	const struct change_knob *want = &u->change->knob[k];
	char before[RECORD_VALUE_MAX];
	enum stand stand;
	int err = look(u, pair, n, &stand);

	if (!err && stand == STAND_THEIRS) {
		tell_theirs(u, pair, n, "");
		return RESULT_THEIRS;
	}
	if (!err && stand == STAND_BACK)
		return RESULT_NOTHING;
	if (!err)
		err = write_back(u, pair, n, k);
	if (err == -ESRCH) {
		tell(u, "%s is gone", want->name);
		return RESULT_GONE;
	}
	if (err)
		goto failed;
	strcpy(before, u->live[k]);
	if (written)
		(*written)++;
	err = look(u, pair, n, &stand);
	if (err)
		goto failed;
	if (stand == STAND_BACK) {
		tell(u, "%s %s -> %s", want->name, before, want->original);
		return RESULT_RESTORED;
	}
	if (stand == STAND_THEIRS) {
		tell_theirs(u, pair, n, " while it was being restored");
		return RESULT_THEIRS;
	}
	err = -EIO; /* the kernel took the value and did nothing */
failed:
	u->err = err;
	tell(u, "%s cannot be set back to %s: %s", want->name, want->original, strerror(-err));
	return RESULT_FAILED;
}

static bool is_gone(int err)
{
	return err == -ENOENT || err == -ENODEV || err == -ENXIO || err == -ESRCH;
}

static enum result undo_pair(struct undo *u, const size_t pair[2], size_t n, unsigned int *written)
{
	enum result result = RESULT_FAILED;
	struct safety_error error;
	size_t n_open = 0;

	for (; n_open < n; n_open++) {
		size_t k = pair[n_open];
		int err = knob_open(&u->knob[k], u->root, u->change->knob[k].name, true, &error);

		if (is_gone(err)) {
			tell(u, "%s is gone", u->change->knob[k].name);
			result = RESULT_GONE;
			goto out;
		}
		if (err) {
			u->err = err;
			tell(u, "%.300s", error.text);
			goto out;
		}
	}
	result = undo_open_pair(u, pair, n, written);
out:
	while (n_open-- > 0)
		knob_close(&u->knob[pair[n_open]]);
	return result;
}

bool change_waits(const struct change *change)
{
	for (size_t k = 0; k < change->n_knobs; k++) {
		if (knob_waits(change->knob[k].name))
			return true;
	}
	return false;
}

bool change_is_back(const struct change *change, const char *root)
{
	for (size_t k = 0; k < change->n_knobs; k++) {
		char live[RECORD_VALUE_MAX];
		struct knob knob;
		int err = knob_open(&knob, root, change->knob[k].name, false, NULL);

		if (err)
			return false;
		err = knob_read(&knob, live);
		knob_close(&knob);
		if (err || !knob_same(live, change->knob[k].original))
			return false;
	}
	return true;
}

int change_undo(struct change *change, const char *root, const char *boot_id, const char *because,
	unsigned int *written)
{
	struct undo u = { .change = change, .root = root, .between = "" };

	if (boot_id[0] && change->begun.boot_id[0] && strcmp(boot_id, change->begun.boot_id) != 0) {
		change->state = CHANGE_LEFT_ALONE;
		record_text(change->why, sizeof(change->why),
			"the machine was started anew since, and the change went with the kernel "
			"it was made "
			"in, so nothing is left to undo");
		return 0;
	}
	if (change->mode == CHANGE_ONCE) {
		change->state = CHANGE_LEFT_ALONE;
		tell(&u, "it may have been carried out in part and cannot be undone, because %s",
			because);
		record_text(change->why, sizeof(change->why), u.text);
		return 0;
	}
	for (size_t i = 2 * change->n_knobs; i-- > 0;) {
		size_t k = i % change->n_knobs;
		size_t pair[2] = { k, coupled(change, k) };
		bool last = i < change->n_knobs;

		/* of two coupled ones the other was done with this */
		if (pair[1] > k || knob_waits(change->knob[k].name) != last)
			continue;
		u.count[undo_pair(&u, pair, pair[1] == k ? 1 : 2, written)]++;
	}
	if (u.count[RESULT_FAILED] == 0) {
		bool left = u.count[RESULT_THEIRS] > 0 ||
			    (u.count[RESULT_GONE] > 0 && u.count[RESULT_RESTORED] == 0 &&
				    u.count[RESULT_NOTHING] == 0);

		change->state = left ? CHANGE_LEFT_ALONE : CHANGE_ROLLED_BACK;
		if (u.len == 0)
			tell(&u, "the old values stand already");
	}
	tell(&u, "because %s", because);
	record_text(change->why, sizeof(change->why), u.text);
	return u.count[RESULT_FAILED] ? u.err : 0;
}
