/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.h - rows of text in aligned columns, or one line a field where the terminal is too narrow.
 *
 * Nothing is cut off: what does not fit beside each other is written below each other. Bytes below space are shown
 * as '?', so that no name can move the cursor. One thread.
 */
#ifndef SEMANTOS_CLI_TABLE_H
#define SEMANTOS_CLI_TABLE_H

#include <stdio.h>

#define TABLE_MAX_COLUMNS 16

struct table;

/* headers: ended by NULL, at most TABLE_MAX_COLUMNS, outliving the table; a leading '>' aligns to the right. */
struct table *table_new(const char *const *headers);
void table_free(struct table *table); /* accepts NULL */

/* The next cell, left to right, row by row; the text is copied. Running out of memory is told by table_print(). */
__attribute__((format(printf, 2, 3))) void table_cell(struct table *table, const char *fmt, ...);

/* width: columns of the terminal, 0 = no limit. 0 or -ENOMEM. */
int table_print(const struct table *table, FILE *out, unsigned int indent, unsigned int width);

#endif
