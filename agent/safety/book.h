/* SPDX-License-Identifier: Apache-2.0 */
/*
 * book.h - what the journal says, as it stands now: changes, ejections, quarantines, the last mark.
 *
 * Filled by replaying the journal and kept in step by its owner. Bounded: open changes and quarantines always stay, of
 * what has ended only the newest. One thread.
 */
#ifndef SEMANTOS_SAFETY_BOOK_H
#define SEMANTOS_SAFETY_BOOK_H

#include "agent/safety/journal.h"
#include "agent/safety/record.h"

#define BOOK_OPEN_MAX 64 /* changes in force at a time */
#define BOOK_ENDED_MAX 192 /* ended ones remembered, to know what was tried */
#define BOOK_EXITS_MAX 64
#define BOOK_QUARANTINE_MAX 64

struct book_exit {
	struct record_stamp stamp;
	struct exit_record exit;
	bool forgiven; /* before an unquarantine: counts no more */
};

struct book {
	struct change **change; /* [n_changes], by age */
	size_t n_changes, room;
	struct change *spare; /* the next one's memory, or NULL */
	struct book_exit exit[BOOK_EXITS_MAX]; /* [n_exits], by age */
	size_t n_exits;
	struct quarantine quarantine[BOOK_QUARANTINE_MAX]; /* [n_quarantine], all of them on */
	struct record_stamp quarantine_stamp[BOOK_QUARANTINE_MAX];
	size_t n_quarantine;
	uint64_t mark; /* enum mark of the last one, 0 = none */
	struct record_stamp mark_stamp;
};

struct book *book_new(void); /* NULL: no memory */
void book_free(struct book *book); /* accepts NULL */
void book_clear(struct book *book);

/* Take in one record; a journal_visit with the book as ctx. 0, -ENOMEM, or -EOVERFLOW: too many at once. */
int book_add(void *book, const struct record *record);

/* Before the record is on the disk: after 0 book_add() of it cannot fail. -ENOMEM or -EOVERFLOW. */
int book_reserve(struct book *book, const struct record *record);

struct change *book_find(const struct book *book, uint64_t id); /* NULL: not known (any more) */
size_t book_open(const struct book *book); /* number of open changes */
bool book_quarantined(const struct book *book, const char *policy);

/*
 * The records a new segment begins with: open changes, quarantines, the newest ejections and the last mark.
 * (*records)[*n], freed with book_carry_free(). 0 or -ENOMEM.
 */
int book_carry(const struct book *book, struct record ***records, size_t *n);
void book_carry_free(struct record **records, size_t n);

#endif
