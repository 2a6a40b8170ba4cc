/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h - what the files of the knowledge base share: the open database and its statements.
 */
#ifndef SEMANTOS_ADVISOR_KB_INTERNAL_H
#define SEMANTOS_ADVISOR_KB_INTERNAL_H

#include <sqlite3.h>
#include "agent/advisor/kb/kb.h"

enum kb_statement {
	KB_BEGIN,
	KB_COMMIT,
	KB_ROLLBACK,
	KB_ADD_TRACE,
	KB_ADD_KNOB,
	KB_ADD_METRIC,
	KB_COUNT,
	KB_DROP_OLDEST,
	KB_COUNT_DROPPED,
	KB_TRACES,
	KB_KNOBS,
	KB_METRICS,
	KB_OUTCOMES,
	KB_EDGE,
	KB_STORE_EDGE,
	KB_COUNTS,
	KB_STATEMENTS
};

struct kb {
	sqlite3 *db;
	sqlite3_stmt *statement[KB_STATEMENTS];
	char error[KB_TEXT_MAX];
	char path[384];
};

/* The statement, reset and without values. */
sqlite3_stmt *kb_take(struct kb *kb, enum kb_statement statement);

/* Run one that answers nothing. 0, -ENOSPC or -EIO with kb->error set. */
int kb_run(struct kb *kb, enum kb_statement statement);

/* The error code of SQLite's as ours, its sentence kept. */
int kb_failed(struct kb *kb, const char *doing);

/* NaN is stored as NULL. */
void kb_bind_number(sqlite3_stmt *statement, int column, double value);
double kb_number(sqlite3_stmt *statement, int column);

/* A column's text, cut to size, into out. */
void kb_text(sqlite3_stmt *statement, int column, char *out, size_t size);

#endif
