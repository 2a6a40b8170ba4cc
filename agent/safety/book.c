// SPDX-License-Identifier: Apache-2.0
/*
 * book.c - the state behind book.h. Must never forget an open change or a quarantine. One thread.
 */
#include "agent/safety/book.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CARRY_EXITS 16

struct book *book_new(void)
{
	return calloc(1, sizeof(struct book));
}

void book_clear(struct book *book)
{
	for (size_t i = 0; i < book->n_changes; i++)
		free(book->change[i]);
	free(book->change);
	free(book->spare);
	memset(book, 0, sizeof(*book));
}

void book_free(struct book *book)
{
	if (!book)
		return;
	book_clear(book);
	free(book);
}

struct change *book_find(const struct book *book, uint64_t id)
{
	for (size_t i = book->n_changes; i-- > 0;) {
		if (book->change[i]->id == id)
			return book->change[i];
	}
	return NULL;
}

size_t book_open(const struct book *book)
{
	size_t n = 0;

	for (size_t i = 0; i < book->n_changes; i++)
		n += change_open(book->change[i]);
	return n;
}

/* There is one: the caller counted them. */
static void forget_oldest_ended(struct book *book)
{
	size_t i = 0;

	while (change_open(book->change[i]))
		i++;
	free(book->change[i]);
	memmove(book->change + i, book->change + i + 1,
		(book->n_changes - i - 1) * sizeof(struct change *));
	book->n_changes--;
}

/* Memory for one change more, which must not be one too many. */
static int reserve_change(struct book *book, const struct change *change)
{
	if (change_open(change) && book_open(book) == BOOK_OPEN_MAX)
		return -EOVERFLOW;
	if (book->n_changes == book->room) {
		size_t room = book->room ? 2 * book->room : 16;
		struct change **more = realloc(book->change, room * sizeof(struct change *));

		if (!more)
			return -ENOMEM;
		book->change = more;
		book->room = room;
	}
	if (!book->spare)
		book->spare = malloc(sizeof(*book->spare));
	return book->spare ? 0 : -ENOMEM;
}

static int add_change(struct book *book, const struct change *change)
{
	struct change *known = book_find(book, change->id);
	int err;

	if (known) {
		*known = *change;
		return 0;
	}
	err = reserve_change(book, change);
	if (err)
		return err;
	if (book->n_changes - book_open(book) >= BOOK_ENDED_MAX)
		forget_oldest_ended(book);
	*book->spare = *change;
	book->change[book->n_changes++] = book->spare;
	book->spare = NULL;
	return 0;
}

static void add_exit(struct book *book, const struct record *record)
{
	if (book->n_exits == BOOK_EXITS_MAX)
		memmove(book->exit, book->exit + 1, --book->n_exits * sizeof(book->exit[0]));
	memset(&book->exit[book->n_exits], 0, sizeof(book->exit[0]));
	book->exit[book->n_exits].stamp = record->stamp;
	book->exit[book->n_exits++].exit = record->exit;
}

static int set_quarantine(struct book *book, const struct record *record)
{
	const struct quarantine *quarantine = &record->quarantine;
	size_t i = 0;

	while (i < book->n_quarantine &&
		strcmp(book->quarantine[i].policy, quarantine->policy) != 0)
		i++;
	if (!quarantine->on) {
		if (i < book->n_quarantine) {
			book->quarantine[i] = book->quarantine[--book->n_quarantine];
			book->quarantine_stamp[i] = book->quarantine_stamp[book->n_quarantine];
		}
		/* a clean slate: what led to it counts no more */
		for (size_t k = 0; k < book->n_exits; k++) {
			if (strcmp(book->exit[k].exit.policy, quarantine->policy) == 0)
				book->exit[k].forgiven = true;
		}
		return 0;
	}
	if (i == BOOK_QUARANTINE_MAX)
		return -EOVERFLOW;
	book->quarantine[i] = *quarantine;
	book->quarantine_stamp[i] = record->stamp;
	book->n_quarantine += i == book->n_quarantine;
	return 0;
}

int book_reserve(struct book *book, const struct record *record)
{
	if (record->kind == RECORD_CHANGE && !book_find(book, record->change.id))
		return reserve_change(book, &record->change);
	if (record->kind == RECORD_QUARANTINE && record->quarantine.on &&
		book->n_quarantine == BOOK_QUARANTINE_MAX &&
		!book_quarantined(book, record->quarantine.policy))
		return -EOVERFLOW;
	return 0;
}

int book_add(void *ctx, const struct record *record)
{
	struct book *book = ctx;

	switch (record->kind) {
	case RECORD_CHANGE:
		return add_change(book, &record->change);
	case RECORD_EXIT:
		add_exit(book, record);
		return 0;
	case RECORD_QUARANTINE:
		return set_quarantine(book, record);
	case RECORD_MARK:
		book->mark = record->mark;
		book->mark_stamp = record->stamp;
		return 0;
	case RECORD_START:
	case RECORD_POLICY:
		return 0;
	}
	return -EINVAL;
}

bool book_quarantined(const struct book *book, const char *policy)
{
	for (size_t i = 0; i < book->n_quarantine; i++) {
		if (strcmp(book->quarantine[i].policy, policy) == 0)
			return true;
	}
	return false;
}

static struct record *carry_one(struct record **records, size_t *n, enum record_kind kind)
{
	struct record *record = calloc(1, sizeof(*record));

	if (record) {
		record->kind = kind;
		records[(*n)++] = record;
	}
	return record;
}

int book_carry(const struct book *book, struct record ***out, size_t *n)
{
	size_t most = book->n_changes + book->n_quarantine + book->n_exits + 1;
	struct record **records = calloc(most, sizeof(*records)), *r;

	*out = records;
	*n = 0;
	if (!records)
		return -ENOMEM;
	for (size_t i = 0; i < book->n_changes; i++) {
		if (!change_open(book->change[i]))
			continue;
		r = carry_one(records, n, RECORD_CHANGE);
		if (!r)
			goto fail;
		r->stamp = book->change[i]->begun;
		r->change = *book->change[i];
	}
	for (size_t i = book->n_exits > CARRY_EXITS ? book->n_exits - CARRY_EXITS : 0;
		i < book->n_exits; i++) {
		if (book->exit[i].forgiven)
			continue;
		r = carry_one(records, n, RECORD_EXIT);
		if (!r)
			goto fail;
		r->stamp = book->exit[i].stamp;
		r->exit = book->exit[i].exit;
	}
	for (size_t i = 0; i < book->n_quarantine; i++) {
		r = carry_one(records, n, RECORD_QUARANTINE);
		if (!r)
			goto fail;
		r->stamp = book->quarantine_stamp[i];
		r->quarantine = book->quarantine[i];
	}
	if (book->mark) {
		r = carry_one(records, n, RECORD_MARK);
		if (!r)
			goto fail;
		r->stamp = book->mark_stamp;
		r->mark = book->mark;
	}
	return 0;
fail:
	book_carry_free(records, *n);
	*out = NULL;
	*n = 0;
	return -ENOMEM;
}

void book_carry_free(struct record **records, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(records[i]);
	free(records);
}
