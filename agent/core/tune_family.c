// SPDX-License-Identifier: Apache-2.0
/*
 * tune_family.c - one setting of several devices or control groups that are alike: its name has a * in their place, all of
 * them read the same, and one value is proposed for all. And the sources of a goal, which the members have each of.
 *
 * Opens files for reading only. Any thread, no state.
 */
#include "agent/core/tune_internal.h"

#include <stdio.h>
#include <string.h>
#include "agent/safety/knob.h"

void tune_member_knob(const char *family, const char *member, char out[RECORD_NAME_MAX])
{
	const char *star = strchr(family, '*');
	int before = star ? (int)(star - family) : (int)strlen(family);

	snprintf(out, RECORD_NAME_MAX, "%.*s%s%s", before, family, star ? member : "",
		star ? star + 1 : "");
}

void tune_members_text(const struct tune_goal *goal, char out[TUNE_MEMBERS_TEXT])
{
	size_t len = 0;

	out[0] = '\0';
	for (uint32_t m = 0; m < goal->n_members; m++)
		record_add(out, TUNE_MEMBERS_TEXT, &len, "%s%s", m ? ", " : "", goal->member[m]);
}

uint32_t tune_family_size(const struct tune_goal *goal, const char *family)
{
	char partner[RECORD_NAME_MAX];

	return goal->n_members * (knob_partner(family, partner) ? 2 : 1);
}

/* Of one row of the tables: is it a setting that devices or groups have each? */
static bool is_family(const struct tune_goal *goal, const struct knob_desc *desc)
{
	const char *pattern = desc->def.pattern, *star = strchr(pattern, '*');
	bool outright;

	return star && !strchr(star + 1, '*') &&
	       (desc->scope == KNOB_DEVICE || desc->scope == KNOB_GROUP) && !desc->read_only &&
	       desc->def.type != KNOB_ACTION && desc->def.type != KNOB_TEXT &&
	       tune_asked(goal, desc, pattern, &outright) &&
	       (outright || desc->risk == KNOB_RISK_LOW) &&
	       tune_family_size(goal, pattern) <= RECORD_KNOBS_MAX;
}

static bool has_value(const char *root, const char *name, struct knob_here *here)
{
	return knob_look(root, name, here) == 0 && !here->err && here->value[0] &&
	       strlen(here->value) < RECORD_VALUE_MAX;
}

/* Every member has it, and all read the same. */
static void offer_family(const char *root, const struct tune_goal *goal, const char *family,
	struct knob_here *here, struct tune_offer *offer)
{
	char name[RECORD_NAME_MAX], value[RECORD_VALUE_MAX], other[RECORD_VALUE_MAX];
	uint32_t differs = 0;

	for (uint32_t m = 0; m < goal->n_members; m++) {
		tune_member_knob(family, goal->member[m], name);
		if (!has_value(root, name, here))
			return;
		snprintf(m ? other : value, RECORD_VALUE_MAX, "%.127s", here->value);
		if (m && !differs && !knob_same(value, other))
			differs = m;
	}
	if (!differs) {
		tune_offer_add(offer, family, value);
		return;
	}
	tune_member_knob(family, goal->member[differs], name);
	if (!offer->differ++ && has_value(root, name, here))
		snprintf(offer->first, sizeof(offer->first),
			"%.120s is %.60s of %.60s and %.60s of %.60s", family, value,
			goal->member[0], here->value, goal->member[differs]);
}

void tune_offer_families(const char *root, const struct tune_goal *goal, struct knob_here *here,
	struct tune_offer *offer)
{
	for (size_t i = 0; i < n_knob_descs; i++) {
		if (is_family(goal, &knob_descs[i]))
			offer_family(root, goal, knob_descs[i].def.pattern, here, offer);
	}
}

/* ---- sources ---- */

uint32_t tune_n_sources(const struct tune_goal *goal)
{
	return 1 + goal->n_guards + goal->n_members;
}

uint32_t tune_units(const struct tune_goal *goal)
{
	return goal->n_members ? goal->n_members : 1;
}

uint32_t tune_objective(const struct tune_goal *goal, uint32_t m)
{
	return goal->n_members ? 1 + goal->n_guards + m : 0;
}

void tune_source(
	const struct tune_goal *goal, uint32_t i, struct slo_source *source, bool *measured)
{
	if (measured)
		*measured = i > 0 || !goal->n_members;
	*source = i > 0 && i <= goal->n_guards ? goal->guard[i - 1].source : goal->objective;
	if (i > goal->n_guards)
		memcpy(source->label, goal->member[i - 1 - goal->n_guards], sizeof(source->label));
}
