/* SPDX-License-Identifier: Apache-2.0 */
/*
 * knob_read.h - the reader of agent/util/knobs/: tables (*.conf) and what kernels showed (*.tsv).
 *
 * Used when semantos is built (knobs/mkknobs.c) and by tests. Strict: the first thing that is not understood refuses the
 * whole text, with one sentence that names the file and the line. One thread per list.
 */
#ifndef SEMANTOS_UTIL_KNOB_READ_H
#define SEMANTOS_UTIL_KNOB_READ_H

#include <stddef.h>
#include "agent/util/knob_desc.h"

#define KNOB_ROWS_MAX 1024
#define KNOB_NAME_MAX 160
#define KNOB_KEY_TEXT_MAX 180 /* of a value in the table */

struct knob_list {
	struct knob_desc *desc; /* [n]; all texts are the list's own */
	size_t n, room;
	char kernel[KNOB_KERNELS_MAX][16]; /* of knob_list_seen(), in the order they came */
	size_t n_kernels;
	void **text; /* every text, to be freed */
	size_t n_texts, text_room;
};

/* Add the rows of a table. 0; -EINVAL with a sentence in error; -ENOMEM. The list may be used or freed after any. */
int knob_list_add(
	struct knob_list *list, const char *text, const char *file, char *error, size_t error_len);

/* Are all edges and pairs between rows that are there? 0 or -EINVAL with a sentence. After the last knob_list_add(). */
int knob_list_check(const struct knob_list *list, char *error, size_t error_len);

/*
 * Add what a kernel of this series showed: lines NAME TAB VALUE TAB WRITTEN, # begins a comment. 0, -EINVAL with a
 * sentence, -ENOMEM.
 */
int knob_list_seen(struct knob_list *list, const char *text, const char *file, const char *series,
	char *error, size_t error_len);

void knob_list_free(struct knob_list *list); /* leaves it empty; accepts an empty one */

#endif
