/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.c - the layout behind table.h: measures all cells first, then writes.
 *
 * Width is counted in UTF-8 code points, which is right for the names and numbers shown here.
 */
#include "agent/cli/table.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>

#define CELL_MAX 256
#define GAP 2

struct table {
	const char *header[TABLE_MAX_COLUMNS];
	bool right[TABLE_MAX_COLUMNS];
	size_t n_columns, n_cells, room;
	char **cell;
	bool failed;
};

struct table *table_new(const char *const *headers)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	for (; headers[table->n_columns] && table->n_columns < TABLE_MAX_COLUMNS;
		table->n_columns++) {
		const char *header = headers[table->n_columns];

		table->right[table->n_columns] = *header == '>';
		table->header[table->n_columns] = header + (*header == '>');
	}
	return table;
}

void table_free(struct table *table)
{
	if (!table)
		return;
	for (size_t i = 0; i < table->n_cells; i++)
		free(table->cell[i]);
	free(table->cell);
	free(table);
}

void table_cell(struct table *table, const char *fmt, ...)
{
	char *text = table ? malloc(CELL_MAX) : NULL;
	va_list args;

	if (!text)
		goto fail;
	if (table->n_cells == table->room) {
		size_t room = table->room ? 2 * table->room : 64;
		char **cell = realloc(table->cell, room * sizeof(*cell));

		if (!cell)
			goto fail;
		table->cell = cell;
		table->room = room;
	}
	va_start(args, fmt);
	vsnprintf(text, CELL_MAX, fmt, args);
	va_end(args);
	for (unsigned char *p = (unsigned char *)text; *p; p++) {
		if (*p < ' ' || *p == 0x7f)
			*p = '?';
	}
	table->cell[table->n_cells++] = text;
	return;
fail:
	free(text);
	if (table)
		table->failed = true;
}

static unsigned int width_of(const char *text)
{
	unsigned int n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void put(FILE *out, const char *text, unsigned int width, bool right, bool last)
{
	int pad = (int)(width - width_of(text));

	if (right)
		fprintf(out, "%*s%s", pad, "", text);
	else
		fprintf(out, "%s%*s", text, last ? 0 : pad, "");
	if (!last)
		fprintf(out, "%*s", GAP, "");
}

static void print_lines(const struct table *table, FILE *out, unsigned int indent)
{
	unsigned int label = 0;

	for (size_t c = 0; c < table->n_columns; c++)
		label = width_of(table->header[c]) > label ? width_of(table->header[c]) : label;
	for (size_t i = 0, c = 0; i < table->n_cells;
		i++, c = c + 1 < table->n_columns ? c + 1 : 0) {
		if (c == 0 && i > 0)
			fputc('\n', out);
		fprintf(out, "%*s", (int)indent, "");
		put(out, table->header[c], label, false, false);
		fprintf(out, "%s\n", table->cell[i]);
	}
}

int table_print(const struct table *table, FILE *out, unsigned int indent, unsigned int width)
{
	unsigned int column[TABLE_MAX_COLUMNS], total = indent;

	if (!table || table->failed)
		return -ENOMEM;
	if (table->n_columns == 0)
		return 0;
	for (size_t c = 0; c < table->n_columns; c++) {
		column[c] = width_of(table->header[c]);
		for (size_t i = c; i < table->n_cells; i += table->n_columns) {
			unsigned int w = width_of(table->cell[i]);

			column[c] = w > column[c] ? w : column[c];
		}
		total += column[c] + (c > 0 ? GAP : 0);
	}
	if (width > 0 && total > width) {
		print_lines(table, out, indent);
		return 0;
	}
	for (size_t i = 0; i < table->n_columns + table->n_cells; i++) {
		size_t c = i % table->n_columns;
		const char *text =
			i < table->n_columns ? table->header[c] : table->cell[i - table->n_columns];

		if (c == 0)
			fprintf(out, "%*s", (int)indent, "");
		put(out, text, column[c], table->right[c], c + 1 == table->n_columns);
		if (c + 1 == table->n_columns)
			fputc('\n', out);
	}
	return 0;
}
