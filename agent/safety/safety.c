// SPDX-License-Identifier: Apache-2.0
/*
 * safety.c - opening and closing, and the steps all operations are made of: stamp, log, undo, hand over.
 *
 * Must never write a knob whose change is not on the disk, nor report a change as ended that is in force. One thread
 * at a time.
 */
#include "agent/safety/safety.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "agent/safety/safety_internal.h"
#include "agent/safety/undo.h"
#include "agent/util/log.h"

#define NS_PER_S 1000000000ULL

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static uint64_t boot_ns(void *ctx)
{
	(void)ctx;
	return clock_ns(CLOCK_BOOTTIME);
}

static uint64_t real_ns(void *ctx)
{
	(void)ctx;
	return clock_ns(CLOCK_REALTIME);
}

void safety_stamp(const struct safety *s, struct record_stamp *stamp)
{
	memset(stamp, 0, sizeof(*stamp));
	stamp->boot_ns = s->clock.boot_ns(s->clock.ctx);
	stamp->real_ns = s->clock.real_ns(s->clock.ctx);
	memcpy(stamp->boot_id, s->boot_id, sizeof(stamp->boot_id));
}

/* "" when it cannot be read: then every change counts as one of this boot. */
static void read_boot_id(struct safety *s)
{
	char path[600];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%s/proc/sys/kernel/random/boot_id", s->root);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, s->boot_id, sizeof(s->boot_id) - 1);
	s->boot_id[n > 0 ? n : 0] = '\0';
	s->boot_id[strcspn(s->boot_id, "\n")] = '\0';
	close(fd);
}

/* The book has no words of its own. */
static void say_room(int err, struct safety_error *error)
{
	if (err == -EOVERFLOW || err == -ENOMEM)
		safety_say(
			error, "the journal holds more than there is room for: %s", strerror(-err));
}

int safety_begin(struct safety **out, const struct safety_options *o, enum journal_access access,
	struct safety_error *error)
{
	static const struct safety_clock real = { .boot_ns = boot_ns, .real_ns = real_ns };
	struct journal_options options = { .dir = o->dir,
		.access = access,
		.wait_ms = SAFETY_LOCK_WAIT_MS,
		.max_bytes = o->max_bytes };
	struct safety *s = calloc(1, sizeof(*s));
	int err = -ENOMEM;

	*out = NULL;
	if (s)
		s->book = book_new();
	if (!s || !s->book) {
		safety_say(error, "there is no memory left to read the journal");
		goto out;
	}
	s->clock = o->clock ? *o->clock : real;
	s->keeper.fd = -1;
	s->keeper_needed = !o->no_keeper_needed;
	snprintf(s->dir, sizeof(s->dir), "%s", o->dir);
	if (o->root && strcmp(o->root, "/") != 0)
		snprintf(s->root, sizeof(s->root), "%s", o->root);
	read_boot_id(s);
	safety_stamp(s, &options.stamp);
	err = journal_open(&s->journal, &options, book_add, s->book, error);
	say_room(err, error);
	if (err)
		goto out;
	*out = s;
	return 0;
out:
	safety_free(s);
	return err;
}

void safety_free(struct safety *s)
{
	if (!s)
		return;
	journal_close(s->journal);
	book_free(s->book);
	free(s);
}

int safety_log_scratch(struct safety *s, enum record_kind kind, struct safety_error *error)
{
	int err;

	s->scratch.kind = kind;
	safety_stamp(s, &s->scratch.stamp);
	/* first, so that nothing is on the disk that is not in the book */
	err = book_reserve(s->book, &s->scratch);
	if (err) {
		safety_say(error, "there is no room left to remember more: %s", strerror(-err));
		return err;
	}
	err = journal_append(s->journal, &s->scratch, error);
	if (!err)
		err = book_add(s->book, &s->scratch);
	return err;
}

int safety_log_change(struct safety *s, const struct change *change, struct safety_error *error)
{
	s->scratch.change = *change;
	return safety_log_scratch(s, RECORD_CHANGE, error);
}

int safety_mark(struct safety *s, enum mark mark, struct safety_error *error)
{
	s->scratch.mark = mark;
	return safety_log_scratch(s, RECORD_MARK, error);
}

static int rotate(struct safety *s, struct safety_error *error)
{
	struct record_stamp stamp;
	struct record **carry;
	size_t n;
	int err = book_carry(s->book, &carry, &n);

	if (err) {
		say_room(err, error);
		return err;
	}
	safety_stamp(s, &stamp);
	err = journal_rotate(s->journal, carry, n, &stamp, error);
	book_carry_free(carry, n);
	return err;
}

/*
 * Has somebody taken over? Then read what they did. A journal that cannot be read, or that somebody took away, leaves the
 * book as it was: what is in force can still be undone.
 */
static int catch_up(struct safety *s, struct safety_error *error)
{
	struct book *book;
	int err;

	if (journal_owned(s->journal))
		return 0;
	book = book_new();
	if (!book) {
		safety_say(error, "there is no memory left to read the journal");
		return -ENOMEM;
	}
	err = journal_reload(s->journal, book_add, book, error);
	say_room(err, error);
	if (err) {
		book_free(book);
		return err;
	}
	log_warn("The keeper took the journal over while this agent was silent; what it undid "
		 "stays undone.");
	book_free(s->book);
	s->book = book;
	return 0;
}

int safety_ready(struct safety *s, bool new_change, struct safety_error *error)
{
	int err = catch_up(s, error);

	if (err || !journal_full(s->journal))
		return err;
	err = rotate(s, error);
	if (err && !(new_change && journal_overfull(s->journal)))
		err = 0;
	return err;
}

void safety_log_end(struct safety *s, const struct change *change, struct safety_error *error)
{
	struct safety_error lost = { "" };

	safety_say(error, "change %llu of %s is %s: %s", (unsigned long long)change->id,
		change->owner, change->state == CHANGE_ROLLED_BACK ? "rolled back" : "left alone",
		change->why);
	log_info("%s.", error->text);
	/* the knobs are right; when the journal cannot say so, the next recovery finds them so and does */
	if (safety_log_change(s, change, &lost))
		log_warn("This could not be recorded: %s.", lost.text);
}

int safety_undo_logged(
	struct safety *s, struct change *change, const char *because, struct safety_error *error)
{
	int err = change_undo(change, s->root, s->boot_id, because, NULL);

	if (!err) {
		safety_log_end(s, change, error);
		return 0;
	}
	safety_say(error, "change %llu of %s is not undone: %s", (unsigned long long)change->id,
		change->owner, change->why);
	log_error("%s.", error->text);
	return err;
}

bool safety_abandoned(const struct safety *s, const struct change *change)
{
	return change_open(change) &&
	       (change->state == CHANGE_INTENT || change->mode == CHANGE_AUTO ||
		       strcmp(change->begun.boot_id, s->boot_id) != 0);
}

void safety_undo_abandoned(struct safety *s, const char *because, struct safety_report *report)
{
	struct change *ended[BOOK_OPEN_MAX];
	struct safety_error error;
	size_t n = 0;

	/* every knob first: a disk that hangs then keeps us from recording it, not from doing it */
	for (size_t i = 2 * s->book->n_changes; i-- > 0;) {
		struct change *change = s->book->change[i % s->book->n_changes];
		bool last = i < s->book->n_changes;

		if (!change_open(change) || change_waits(change) != last)
			continue;
		/* not ours to undo, unless that was done already and could not be recorded */
		if (!safety_abandoned(s, change) && !change_is_back(change, s->root)) {
			report->in_force++;
		} else if (change_undo(change, s->root, s->boot_id, because, NULL)) {
			report->failed++;
			log_error("change %llu of %s is not undone: %s.",
				(unsigned long long)change->id, change->owner, change->why);
		} else {
			ended[n++] =
				change; /* book_add() takes no more open ones than there is room for */
		}
	}
	/* not safety_ready(): that may replace the book these changes are in */
	if (n > 0 && journal_owned(s->journal) && journal_full(s->journal) && rotate(s, &error))
		log_warn("%s.", error.text);
	for (size_t i = 0; i < n; i++) {
		if (ended[i]->state == CHANGE_ROLLED_BACK)
			report->rolled_back++;
		else
			report->left_alone++;
		safety_log_end(s, ended[i], &error);
	}
}

bool safety_upgrading(const struct safety *s)
{
	uint64_t now = s->clock.boot_ns(s->clock.ctx), then = s->book->mark_stamp.boot_ns;

	return s->book->mark == MARK_UPGRADE &&
	       strcmp(s->book->mark_stamp.boot_id, s->boot_id) == 0 && now >= then &&
	       now - then <= SAFETY_UPGRADE_NS;
}

static void recover(struct safety *s, bool ignore_upgrade, struct safety_report *report)
{
	memset(report, 0, sizeof(*report));
	report->cut_bytes = journal_cut_bytes(s->journal);
	if (!ignore_upgrade && safety_upgrading(s)) {
		report->in_force = (unsigned int)book_open(s->book);
		return;
	}
	safety_undo_abandoned(s, "the agent that made it is gone", report);
}

int safety_recover(const struct safety_options *options, struct safety_report *report,
	struct safety_error *error)
{
	struct safety *s;
	char path[600];
	int err;

	memset(report, 0, sizeof(*report));
	snprintf(path, sizeof(path), "%s/%s", options->dir, JOURNAL_NAME);
	if (access(path, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR))
		return 0;
	err = safety_begin(&s, options, JOURNAL_OWN, error);
	if (err)
		return err;
	recover(s, options->ignore_upgrade, report);
	if (report->failed) {
		safety_say(error,
			"%u changes could not be undone; see `semantosctl history`, then try again",
			report->failed);
		err = -EIO;
	}
	safety_free(s);
	return err;
}

int safety_attend(struct safety **out, const struct safety_options *o, struct safety_error *error)
{
	char path[600];

	*out = NULL;
	snprintf(path, sizeof(path), "%s/%s", o->dir, JOURNAL_NAME);
	if (access(path, F_OK) < 0) {
		int err = -errno;

		safety_say(error, "the journal %.300s cannot be opened: %s", path, strerror(-err));
		return err;
	}
	return safety_begin(out, o, JOURNAL_OWN, error);
}

void safety_leave(struct safety *s)
{
	safety_free(s);
}

int safety_open(struct safety **out, const struct safety_options *o, struct safety_report *report,
	struct safety_error *error)
{
	struct safety_report unwanted;
	struct safety *s;
	int err = safety_begin(&s, o, JOURNAL_OWN, error);

	*out = NULL;
	if (err)
		return err;
	recover(s, o->ignore_upgrade, report ? report : &unwanted);
	err = safety_mark(s, MARK_BEGUN, error);
	if (!err && o->keeper) {
		s->keeper_wanted = true;
		snprintf(s->keeper.path, sizeof(s->keeper.path), "%s", o->keeper);
		snprintf(s->keeper.dir, sizeof(s->keeper.dir), "%s", s->dir);
		snprintf(s->keeper.root, sizeof(s->keeper.root), "%s", s->root);
		err = keeper_start(&s->keeper, error);
	}
	if (err) {
		safety_free(s);
		return err;
	}
	*out = s;
	return 0;
}

unsigned int safety_close(struct safety *s, enum safety_end end)
{
	struct safety_report report = { 0 };
	struct safety_error error = { "" };
	int err;

	if (!s)
		return 0;
	err = catch_up(s, &error);
	if (err)
		log_error("The journal cannot be used at the end: %s.", error.text);
	if (end == SAFETY_STOP)
		safety_undo_abandoned(s, "the agent ends", &report);
	if (!err && safety_mark(s, end == SAFETY_UPGRADE ? MARK_UPGRADE : MARK_ENDED, &error)) {
		log_warn("The end of the agent could not be recorded: %s.", error.text);
		err = -EIO;
	}
	/* whatever is not as it should be is left to the keeper: it hears no goodbye, only the end of the pipe */
	keeper_end(&s->keeper, !err && report.failed == 0);
	safety_free(s);
	return report.failed;
}

int safety_beat(struct safety *s)
{
	return keeper_beat(&s->keeper);
}

int safety_tick(struct safety *s, struct safety_error *error)
{
	if (!s->keeper_wanted || keeper_alive(&s->keeper))
		return 0;
	log_warn("The keeper died and is started anew.");
	return keeper_start(&s->keeper, error);
}
