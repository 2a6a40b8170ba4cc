// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_knobs.c - any text given as a table of knobs, or as what a kernel showed, is refused with one sentence that names the
 * file, or gives rows that can be looked up, shown and checked against.
 */
#include "agent/util/knob_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool held)
{
	if (!held)
		abort();
}

static void look_at(const struct knob_desc *desc)
{
	char text[300];

	expect(desc->def.pattern[0] && desc->why[0] && desc->subsystem[0] && desc->doc[0]);
	expect(desc->n_edges <= KNOB_EDGES_MAX && desc->def.min <= desc->def.max);
	expect(desc->read_only || desc->def.type != KNOB_TEXT);
	expect(desc->read_only || desc->def.type != KNOB_CHOICE || desc->def.choices);
	expect((desc->undo == KNOB_UNDO_NONE) == (desc->def.type == KNOB_ACTION));
	knob_range_text(&desc->def, text, sizeof(text));
	expect(strlen(text) < sizeof(text));
	for (size_t e = 0; e < desc->n_edges; e++)
		expect(desc->edge[e].to && desc->edge[e].when);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct knob_list list = { 0 };
	char error[512] = "", *text = malloc(size + 1);
	int err;

	expect(text);
	memcpy(text, data, size);
	text[size] = 0;
	err = knob_list_add(&list, text, "table", error, sizeof(error));
	expect(err == 0 || err == -EINVAL);
	expect((err != 0) == (strncmp(error, "table line ", 11) == 0));
	for (size_t i = 0; i < list.n; i++)
		look_at(&list.desc[i]);
	error[0] = '\0';
	if (!err)
		expect((knob_list_check(&list, error, sizeof(error)) != 0) == (error[0] != '\0'));
	error[0] = '\0';
	err = knob_list_seen(&list, text, "seen", "1.0", error, sizeof(error));
	expect((err != 0) == (strncmp(error, "seen line ", 10) == 0));
	knob_list_free(&list);
	free(text);
	return 0;
}
