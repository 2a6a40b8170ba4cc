// SPDX-License-Identifier: Apache-2.0
/*
 * look.c - reading what was done: history, one change explained, and the audit of the whole chain.
 *
 * Changes nothing and takes no lock, so it runs beside an agent; a record being written then looks torn and is left
 * out. Any thread.
 */
#include "agent/safety/safety.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "agent/safety/book.h"
#include "agent/safety/knob.h"

#define MAX_SEGMENTS 64

/* Numbers of the archived segments, ascending; how many. */
static size_t list_segments(int dir_fd, unsigned long long number[MAX_SEGMENTS])
{
	struct dirent **names;
	size_t out = 0;
	int n = scandirat(dir_fd, ".", &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		unsigned long long value = 0;
		char name[40];

		if (strncmp(names[i]->d_name, JOURNAL_NAME ".", sizeof(JOURNAL_NAME)) == 0)
			value = strtoull(names[i]->d_name + sizeof(JOURNAL_NAME), NULL, 10);
		snprintf(name, sizeof(name), JOURNAL_ARCHIVE_NAME, value);
		if (value > 0 && out < MAX_SEGMENTS && strcmp(name, names[i]->d_name) == 0)
			number[out++] = value;
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return out;
}

typedef int segment_fn(void *ctx, const struct journal_scan *scan, int err);

/* Every segment, oldest first, through `visit`; after each, `segment` decides whether to go on. */
static int walk(const char *dir, journal_visit *visit, segment_fn *segment, void *ctx,
	struct safety_error *error)
{
	unsigned long long number[MAX_SEGMENTS];
	int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	struct journal_scan scan;
	size_t n;

	if (dir_fd < 0) {
		err = -errno;
		safety_say(error, "the journal's folder %.200s cannot be opened: %s", dir,
			strerror(-err));
		return err;
	}
	n = list_segments(dir_fd, number);
	for (size_t i = 0; i <= n && !err; i++) {
		char name[40] = JOURNAL_NAME;

		if (i < n)
			snprintf(name, sizeof(name), JOURNAL_ARCHIVE_NAME, number[i]);
		err = journal_scan_file(dir_fd, name, visit, ctx, &scan, error);
		if (err == -ENOENT && i < n) {
			err = 0; /* pruned meanwhile */
			continue;
		}
		err = segment(ctx, &scan, err);
	}
	close(dir_fd);
	return err;
}

struct history {
	journal_visit *visit;
	void *ctx;
	uint64_t segment;
	bool again; /* an interrupted rotation leaves a segment under two names */
};

static int history_record(void *ctx, const struct record *record)
{
	struct history *h = ctx;

	if (record->kind == RECORD_START) {
		h->again = record->segment == h->segment;
		h->segment = record->segment;
	}
	if (h->again)
		return 0;
	return h->visit(h->ctx, record);
}

static int history_segment(void *ctx, const struct journal_scan *scan, int err)
{
	(void)ctx;
	(void)scan;
	return err;
}

int safety_history(const char *dir, journal_visit *visit, void *ctx, struct safety_error *error)
{
	struct history h = { .visit = visit, .ctx = ctx };

	return walk(dir, history_record, history_segment, &h, error);
}

struct explain {
	uint64_t id;
	struct change change;
	struct policy_event event, next; /* id 0 = none */
	char *out;
	size_t size, len;
};

#define put(e, ...) record_add((e)->out, (e)->size, &(e)->len, __VA_ARGS__)

static void put_step(
	struct explain *e, const struct record *record, const char *state, const char *why)
{
	time_t seconds = (time_t)(record->stamp.real_ns / 1000000000ULL);
	char when[32] = "";
	struct tm tm;

	/* 2^64 ns are over in the year 2554: no overflow */
	gmtime_r(&seconds, &tm);
	strftime(when, sizeof(when), "%F %T UTC", &tm);
	put(e, "  %s  %s%s%s\n", when, state, why[0] ? ": " : "", why);
}

static int explain_record(void *ctx, const struct record *record)
{
	struct explain *e = ctx;

	/* what came of a policy's event is told by the next one about it */
	if (record->kind == RECORD_POLICY && record->policy.id == e->id && !e->event.id) {
		e->event = record->policy;
		put_step(e, record, e->event.to, "");
	} else if (record->kind == RECORD_POLICY && e->event.id && !e->next.id &&
		   record->policy.id != e->id &&
		   strcmp(record->policy.policy, e->event.policy) == 0) {
		e->next = record->policy;
		put_step(e, record, e->next.to, "");
	}
	if (record->kind != RECORD_CHANGE || record->change.id != e->id)
		return 0;
	/* the first record of a segment repeats open changes */
	if (e->change.id && e->change.state == record->change.state)
		return 0;
	e->change = record->change;
	put_step(e, record, change_state_name(e->change.state), e->change.why);
	return 0;
}

static const char *or_else(const char *text, const char *otherwise)
{
	return text[0] ? text : otherwise;
}

static void explain_event(struct explain *e)
{
	const struct policy_event *p = &e->event;

	put(e,
		"what: %s\nmode: ends with the agent that made it, so there is nothing for the "
		"keeper to "
		"undo\nevidence: %s\nexpected: %s\nobserved: ",
		p->sentence, or_else(p->evidence, "none was recorded"),
		or_else(p->expected, "nothing was recorded"));
	if (e->next.id)
		put(e, "until change %llu: %s%s%s\n", (unsigned long long)e->next.id,
			e->next.sentence, e->next.evidence[0] ? "; " : "", e->next.evidence);
	else
		put(e, "no later change of %s is on record\n", p->policy);
	put(e, "undo: %s\n", p->undo);
}

static void explain_undo(struct explain *e)
{
	const struct change *c = &e->change;

	if (c->mode == CHANGE_ONCE) {
		put(e, "undo: cannot be undone, the kernel keeps no value of it to go back to\n");
		return;
	}
	if (!change_open(c)) {
		put(e, "undo: nothing is left to undo, it is %s\n", change_state_name(c->state));
		return;
	}
	put(e, "undo: semantosctl rollback %llu, or by hand:\n", (unsigned long long)c->id);
	for (uint64_t k = 0; k < c->n_knobs; k++) {
		char command[512], partner[RECORD_NAME_MAX];

		/* of a coupled pair the one that reads 0 follows from the other */
		if (knob_same(c->knob[k].original, "0") && knob_partner(c->knob[k].name, partner))
			continue;
		knob_command(c->knob[k].name, c->knob[k].original, command, sizeof(command));
		put(e, "  %s\n", command);
	}
}

int safety_explain(const char *dir, uint64_t id, char *out, size_t size, struct safety_error *error)
{
	struct explain *e = calloc(1, sizeof(*e));
	int err;

	if (!e) {
		safety_say(error, "there is no memory left to read the journal");
		return -ENOMEM;
	}
	e->id = id;
	e->out = out;
	e->size = size;
	put(e, "steps:\n");
	err = safety_history(dir, explain_record, e, error);
	if (!err && !e->change.id && !e->event.id) {
		safety_say(
			error, "the journal has no change %llu (any more)", (unsigned long long)id);
		err = -ENOENT;
	}
	if (!err && e->event.id) {
		explain_event(e);
	} else if (!err) {
		put(e, "what: %s\nmode: %s\nevidence: %s\nexpected: %s\nobserved: %s\n",
			e->change.sentence, change_mode_name(e->change.mode),
			or_else(e->change.evidence, "none was recorded"),
			or_else(e->change.expected, "nothing was recorded"),
			or_else(e->change.observed, "nothing was recorded"));
		explain_undo(e);
	}
	free(e);
	return err;
}

struct audit {
	struct safety_audit *result;
	struct safety_error *error;
	struct book *book;
	struct journal_scan before;
};

static int audit_record(void *ctx, const struct record *record)
{
	struct audit *a = ctx;

	/* a segment under two names says the same twice, which changes nothing */
	int err = book_add(a->book, record);

	if (err)
		safety_say(a->error, "the journal holds more than there is room for: %s",
			strerror(-err));
	return err;
}

static int audit_segment(void *ctx, const struct journal_scan *scan, int err)
{
	struct audit *a = ctx;

	if (err)
		return err;
	if (a->before.records > 0 && scan->segment == a->before.segment)
		return 0;
	a->result->segments++;
	a->result->records += scan->records;
	a->result->torn |= scan->torn;
	/* what a silent agent still wrote into a segment that had been taken over stands beyond the new one's beginning */
	if (a->before.records > 0 && scan->segment == a->before.segment + 1 &&
		scan->first_seq == a->before.last_seq + 1 &&
		memcmp(scan->before, a->before.last, SHA256_BYTES) != 0) {
		safety_say(a->error,
			"segment %llu of the journal does not follow from the one before it; one "
			"of the two was "
			"replaced",
			(unsigned long long)scan->segment);
		return -EBADMSG;
	}
	if (a->before.records > 0 && scan->first_seq > a->before.last_seq + 1) {
		safety_say(a->error,
			"records %llu to %llu of the journal are missing before segment %llu",
			(unsigned long long)a->before.last_seq + 1,
			(unsigned long long)scan->first_seq - 1, (unsigned long long)scan->segment);
		return -EBADMSG;
	}
	a->before = *scan;
	return 0;
}

/* One that is being tried stands now at its new, now at its old value; one that came later was not read back on record. */
static bool as_left(const struct change *change, uint64_t k, const char *live)
{
	const struct change_knob *knob = &change->knob[k];

	if (!knob->readback[0] && change->state == CHANGE_APPLIED &&
		knob_took(knob_find(knob->name), knob->intended, live))
		return true;
	return knob_same(live, change->knob[k].readback) ||
	       (change->state == CHANGE_APPLIED && strcmp(change->owner, SAFETY_TUNER) == 0 &&
		       knob_same(live, change->knob[k].original));
}

/* Does a later change hold this knob? Then its value is that one's. */
static bool covered(const struct book *book, size_t i, uint64_t k)
{
	for (size_t later = i + 1; later < book->n_changes; later++) {
		const struct change *upper = book->change[later];

		for (uint64_t n = 0; change_open(upper) && n < upper->n_knobs; n++) {
			if (strcmp(upper->knob[n].name, book->change[i]->knob[k].name) == 0)
				return true;
		}
	}
	return false;
}

static bool reads_as_left(const struct book *book, size_t i, const char *root)
{
	const struct change *change = book->change[i];

	for (uint64_t k = 0; k < change->n_knobs; k++) {
		char live[RECORD_VALUE_MAX];
		struct knob knob;
		int err;

		if (covered(book, i, k))
			continue;
		err = knob_open(&knob, root, change->knob[k].name, false, NULL);
		if (!err) {
			err = knob_read(&knob, live);
			knob_close(&knob);
		}
		if (err || !as_left(change, k, live))
			return false;
	}
	return true;
}

int safety_audit(
	const char *dir, const char *root, struct safety_audit *result, struct safety_error *error)
{
	struct audit a = { .result = result, .error = error, .book = book_new() };
	int err;

	memset(result, 0, sizeof(*result));
	if (!a.book) {
		safety_say(error, "there is no memory left to read the journal");
		return -ENOMEM;
	}
	err = walk(dir, audit_record, audit_segment, &a, error);
	for (size_t i = 0; !err && i < a.book->n_changes; i++) {
		if (!change_open(a.book->change[i]))
			continue;
		result->open++;
		result->differs += !reads_as_left(a.book, i, root ? root : "");
	}
	book_free(a.book);
	return err;
}
