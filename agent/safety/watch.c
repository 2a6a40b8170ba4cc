// SPDX-License-Identifier: Apache-2.0
/*
 * watch.c - the keeper on demand, and a look at the book for whoever holds struct safety.
 *
 * Must never start a keeper that nobody will beat for. One thread at a time.
 */
#include "agent/safety/watch.h"

#include <errno.h>
#include <stdio.h>
#include "agent/safety/safety_internal.h"
#include "agent/util/log.h"

void safety_keeper_later(struct safety *s, const char *program)
{
	s->keeper_wanted = true;
	snprintf(s->keeper.path, sizeof(s->keeper.path), "%s", program);
	snprintf(s->keeper.dir, sizeof(s->keeper.dir), "%s", s->dir);
	snprintf(s->keeper.root, sizeof(s->keeper.root), "%s", s->root);
}

int safety_watch(struct safety *s, struct safety_error *error)
{
	if (!s->keeper_wanted) {
		safety_say(error, "this agent has no keeper");
		return -ENOENT;
	}
	if (s->keeper.n_started)
		return safety_tick(s, error);
	return keeper_start(&s->keeper, error);
}

const struct book *safety_book(struct safety *s, struct safety_error *error)
{
	return safety_ready(s, false, error) ? NULL : s->book;
}
