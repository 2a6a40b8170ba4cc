// SPDX-License-Identifier: Apache-2.0
/*
 * knob_table.c - the rows a change is checked against: those of the tables in agent/util/knobs that are not read only.
 *
 * A new knob is a few lines there. Ranges are the kernel's own, made narrower where the ends are known to hurt.
 */
#include "agent/safety/knob.h"

#include <stddef.h>

const struct knob_def *knob_find(const char *name)
{
	const struct knob_desc *desc = knob_desc_find(name);

	return desc && !desc->read_only ? &desc->def : NULL;
}
