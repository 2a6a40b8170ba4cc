// SPDX-License-Identifier: Apache-2.0
/*
 * tune_knobs.c - which knobs of this machine a goal may change, and do they still read as they did?
 *
 * Offered is what is on the machine, may be changed, has one value that can be read, and is of low risk by the tables, or
 * named outright. Opens files for reading only. Any thread, no state.
 */
#include "agent/core/tune_internal.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/safety/knob.h"
#include "agent/util/knob_scan.h"

/* Asked for, and if so, by its own name? */
static bool asked(const struct tune_goal *goal, const char *name, bool *outright)
{
	bool any = goal->n_patterns == 0;

	*outright = false;
	for (uint32_t i = 0; i < goal->n_patterns; i++) {
		*outright |= strcmp(goal->pattern[i], name) == 0;
		any |= fnmatch(goal->pattern[i], name, 0) == 0;
	}
	return any || *outright;
}

static bool fits(const struct tune_goal *goal, const struct knob_here *here)
{
	bool outright;

	return !here->desc->read_only && !here->err && !here->groups &&
	       here->desc->def.type != KNOB_ACTION && here->desc->def.type != KNOB_TEXT &&
	       !strchr(here->name, '*') && here->value[0] &&
	       strlen(here->value) < RECORD_VALUE_MAX && strlen(here->name) < RECORD_NAME_MAX &&
	       asked(goal, here->name, &outright) &&
	       (outright || here->desc->risk == KNOB_RISK_LOW);
}

struct offer {
	struct tune_knob *knob;
	uint32_t n, left_out;
};

static void add(struct offer *offer, const struct knob_here *here)
{
	for (uint32_t i = 0; i < offer->n; i++) {
		if (strcmp(offer->knob[i].name, here->name) == 0)
			return;
	}
	if (offer->n == TUNE_OFFERED) {
		offer->left_out++;
		return;
	}
	snprintf(offer->knob[offer->n].name, RECORD_NAME_MAX, "%s", here->name);
	snprintf(offer->knob[offer->n++].value, RECORD_VALUE_MAX, "%.127s", here->value);
}

int tune_offer(const char *root, const struct tune_goal *goal, struct tune_knob **knob, uint32_t *n,
	uint32_t *left_out)
{
	struct offer offer = { .knob = calloc(TUNE_OFFERED + 1, sizeof(*offer.knob)) };
	struct knob_here *here = calloc(1, sizeof(*here));
	struct knob_scan scan = { 0 };
	int err = -ENOMEM;

	if (!offer.knob || !here)
		goto out;
	/* of control groups the scan has one row for all */
	for (uint32_t i = 0; i < goal->n_patterns; i++) {
		if (!strpbrk(goal->pattern[i], "*?[") &&
			knob_look(root, goal->pattern[i], here) == 0 && fits(goal, here))
			add(&offer, here);
	}
	err = knob_scan(&scan, root);
	for (size_t i = 0; i < scan.n && !err; i++) {
		if (fits(goal, &scan.here[i]))
			add(&offer, &scan.here[i]);
	}
	knob_scan_free(&scan);
out:
	free(here);
	if (err) {
		free(offer.knob);
		offer.knob = NULL;
	}
	*knob = offer.knob;
	*n = offer.n;
	*left_out = offer.left_out;
	return err;
}

bool tune_unchanged(const char *root, const struct tune_knob *was, uint32_t n, char *name)
{
	struct knob_here *here = calloc(1, sizeof(*here));
	bool same = here != NULL;

	for (uint32_t i = 0; i < n && same; i++) {
		snprintf(name, RECORD_NAME_MAX, "%s", was[i].name);
		same = knob_look(root, was[i].name, here) == 0 && !here->err &&
		       knob_same(here->value, was[i].value);
	}
	free(here);
	return same;
}
