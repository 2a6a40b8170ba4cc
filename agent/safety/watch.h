/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch.h - for a running agent: a keeper that is started when it is first needed, and the book to look at.
 *
 * An agent that changed nothing has no keeper and sends no heartbeat. Same thread as the rest of struct safety.
 */
#ifndef SEMANTOS_SAFETY_WATCH_H
#define SEMANTOS_SAFETY_WATCH_H

#include "agent/safety/book.h"
#include "agent/safety/safety.h"

/* After safety_open() without a keeper: this program is the keeper, once safety_watch() is called. */
void safety_keeper_later(struct safety *safety, const char *program);

/* See that the keeper runs: start it, or start it anew. 0, or -errno with a sentence while there is none. */
int safety_watch(struct safety *safety, struct safety_error *error);

/*
 * The journal as it stands, what a keeper did meanwhile included; valid until the next call on `safety`. NULL with a
 * sentence when the journal cannot be read.
 */
const struct book *safety_book(struct safety *safety, struct safety_error *error);

#endif
