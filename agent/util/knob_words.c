// SPDX-License-Identifier: Apache-2.0
/*
 * knob_words.c - the words of knob_desc.h, for people and for the tables.
 */
#include "agent/util/knob_desc.h"

#include <stdio.h>
#include <string.h>

const char *const knob_type_names[] = { "int", "int or max", "words", "cpus", "action", "ints",
	"text", NULL };
const char *const knob_risk_names[] = { "low", "medium", "high", NULL };
const char *const knob_scope_names[] = { "host", "netns", "device", "group", "process", NULL };
const char *const knob_link_names[] = { "depends_on", "conflicts_with", "synergizes_with", NULL };
const char *const knob_undo_names[] = { "exact", "lingers", "none", NULL };

void knob_range_text(const struct knob_def *def, char *out, size_t size)
{
	long long min = def->min, max = def->max;
	size_t len;

	switch (def->type) {
	case KNOB_CHOICE:
		snprintf(out, size, "%s", def->choices ? def->choices + 1 : "");
		len = strlen(out);
		if (len > 0 && out[len - 1] == ' ')
			out[len - 1] = '\0';
		for (char *p = out; *p; p++)
			*p = *p == ' ' ? '|' : *p;
		break;
	case KNOB_INT:
	case KNOB_INT_OR_MAX:
		snprintf(out, size, "%lld to %lld%s", min, max,
			def->type == KNOB_INT_OR_MAX ? ", max" : "");
		break;
	case KNOB_INTS:
		if (def->count)
			snprintf(out, size, "%u of %lld to %lld%s", def->count, min, max,
				def->or_max ? ", max" : "");
		else
			snprintf(out, size, "numbers");
		break;
	case KNOB_ACTION:
		snprintf(out, size, "START-END, at most %lld bytes", max);
		break;
	case KNOB_CPUS:
		snprintf(out, size, "CPUs such as 0-3,8");
		break;
	default:
		snprintf(out, size, "text");
	}
}
