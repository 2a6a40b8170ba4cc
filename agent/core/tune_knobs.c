// SPDX-License-Identifier: Apache-2.0
/*
 * tune_knobs.c - which knobs of this machine a goal may change, and do they still read as they did?
 *
 * Offered is what is on the machine, may be changed, has one value that can be read, and is of low risk by the tables, or
 * named outright; where no name is given, of the subsystems that move the objective's metric. Opens files for reading only. Any thread, no state.
 */
#include "agent/core/tune_internal.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/safety/knob.h"
#include "agent/util/knob_scan.h"

/* What a metric is about, by how its name begins. What is not here may have its reasons anywhere. */
static const struct {
	const char *metric;
	const char *subsystem[5];
} scopes[] = {
	{ "block_", { "block", "io scheduler", "memory" } },
	{ "disk_", { "block", "io scheduler", "memory" } },
	{ "psi_io_", { "block", "io scheduler", "memory" } },
	{ "cpu_iowait", { "block", "io scheduler", "memory" } },
	{ "tasks_blocked", { "block", "io scheduler", "memory" } },
	{ "tcp_", { "tcp", "network", "interface" } },
	{ "softirq_", { "network", "interface", "scheduler" } },
	{ "runq_", { "scheduler" } },
	{ "psi_cpu_", { "scheduler" } },
	{ "context_switches", { "scheduler" } },
	{ "numa_", { "scheduler", "memory" } },
	{ "reclaim_", { "memory", "reclaim", "huge pages", "zswap", "ksm" } },
	{ "psi_memory_", { "memory", "reclaim", "huge pages", "zswap", "ksm" } },
	{ "refault_", { "memory", "reclaim", "huge pages", "zswap", "ksm" } },
	{ "swap_", { "memory", "reclaim", "huge pages", "zswap", "ksm" } },
	{ "scan_", { "memory", "reclaim", "huge pages", "zswap", "ksm" } },
	{ "steal_", { "memory", "reclaim", "huge pages", "zswap", "ksm" } },
	{ "memory_", { "memory", "reclaim", "huge pages", "zswap", "ksm" } },
	{ "alloc_stalls", { "memory", "reclaim", "huge pages", "zswap", "ksm" } },
	{ "major_faults", { "memory", "reclaim", "huge pages", "zswap", "ksm" } },
	{ "compact_", { "memory", "reclaim", "huge pages" } },
	{ "thp_", { "memory", "huge pages" } },
};
#define SCOPE_SUBSYSTEMS (sizeof(scopes[0].subsystem) / sizeof(scopes[0].subsystem[0]))

/* The subsystems a goal without names of knobs is about, ended by NULL or by their number; NULL = any. */
static const char *const *scope_of(const struct tune_goal *goal)
{
	const struct slo_source *objective = &goal->objective;

	if (goal->n_patterns || objective->kind != SLO_TELEMETRY)
		return NULL;
	for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++) {
		if (strncmp(objective->metric, scopes[i].metric, strlen(scopes[i].metric)) == 0)
			return scopes[i].subsystem;
	}
	return NULL;
}

void tune_scope(const struct tune_goal *goal, char *out, size_t size)
{
	const char *const *scope = scope_of(goal);
	size_t len = 0;

	out[0] = '\0';
	for (size_t i = 0; scope && i < SCOPE_SUBSYSTEMS && scope[i]; i++)
		record_add(out, size, &len, "%s%s", i ? ", " : "", scope[i]);
}

/* The setting of another disk than the one whose metric it is? */
static bool of_another_disk(const struct tune_goal *goal, const char *name)
{
	const char *label = goal->objective.label, *disk;
	size_t len = strlen(label);

	if (strncmp(name, "sysfs:block/", 12) == 0)
		disk = name + 12;
	else if (strncmp(name, "blkra:", 6) == 0)
		disk = name + 6;
	else
		return false;
	return len > 0 && (strncmp(disk, label, len) != 0 || (disk[len] != '/' && disk[len]));
}

static bool in_scope(const struct tune_goal *goal, const struct knob_desc *desc, const char *name)
{
	const char *const *scope = scope_of(goal);

	if (!scope)
		return true;
	for (size_t i = 0; i < SCOPE_SUBSYSTEMS && scope[i]; i++) {
		if (strcmp(scope[i], desc->subsystem) == 0)
			return !of_another_disk(goal, name);
	}
	return false;
}

bool tune_asked(const struct tune_goal *goal, const struct knob_desc *desc, const char *name,
	bool *outright)
{
	bool any = goal->n_patterns == 0 && in_scope(goal, desc, name);

	*outright = false;
	for (uint32_t i = 0; i < goal->n_patterns; i++) {
		*outright |= strcmp(goal->pattern[i], name) == 0;
		any |= fnmatch(goal->pattern[i], name, 0) == 0;
	}
	return any || *outright;
}

static bool fits(const char *root, const struct tune_goal *goal, const struct knob_here *here)
{
	bool outright;

	return !here->desc->read_only && !here->err && !here->groups &&
	       here->desc->def.type != KNOB_ACTION && here->desc->def.type != KNOB_TEXT &&
	       !strchr(here->name, '*') && here->value[0] &&
	       strlen(here->value) < RECORD_VALUE_MAX && strlen(here->name) < RECORD_NAME_MAX &&
	       tune_asked(goal, here->desc, here->name, &outright) &&
	       (outright || here->desc->risk == KNOB_RISK_LOW) && !knob_is_fixed(root, here->name);
}

void tune_offer_add(struct tune_offer *offer, const char *name, const char *value)
{
	for (uint32_t i = 0; i < offer->n; i++) {
		if (strcmp(offer->knob[i].name, name) == 0)
			return;
	}
	if (offer->n == TUNE_OFFERED) {
		offer->left_out++;
		return;
	}
	snprintf(offer->knob[offer->n].name, RECORD_NAME_MAX, "%s", name);
	snprintf(offer->knob[offer->n++].value, RECORD_VALUE_MAX, "%.127s", value);
}

/* Of the machine, each by itself. */
static int offer_single(const char *root, const struct tune_goal *goal, struct knob_here *here,
	struct tune_offer *offer)
{
	struct knob_scan scan = { 0 };
	int err;

	/* of control groups the scan has one row for all */
	for (uint32_t i = 0; i < goal->n_patterns; i++) {
		if (!strpbrk(goal->pattern[i], "*?[") &&
			knob_look(root, goal->pattern[i], here) == 0 && fits(root, goal, here))
			tune_offer_add(offer, here->name, here->value);
	}
	err = knob_scan(&scan, root);
	for (size_t i = 0; i < scan.n && !err; i++) {
		if (fits(root, goal, &scan.here[i]))
			tune_offer_add(offer, scan.here[i].name, scan.here[i].value);
	}
	knob_scan_free(&scan);
	return err;
}

int tune_offer(const char *root, const struct tune_goal *goal, struct tune_offer *offer)
{
	struct knob_here *here = calloc(1, sizeof(*here));
	int err = -ENOMEM;

	memset(offer, 0, sizeof(*offer));
	offer->knob = calloc(TUNE_OFFERED + 1, sizeof(*offer->knob));
	if (!offer->knob || !here)
		goto out;
	err = 0;
	if (goal->n_members)
		tune_offer_families(root, goal, here, offer);
	else
		err = offer_single(root, goal, here, offer);
out:
	free(here);
	if (err) {
		free(offer->knob);
		memset(offer, 0, sizeof(*offer));
	}
	return err;
}

static bool reads(const char *root, const char *name, const char *value, struct knob_here *here)
{
	return knob_look(root, name, here) == 0 && !here->err && knob_same(here->value, value);
}

bool tune_unchanged(const char *root, const struct tune_goal *goal, const struct tune_knob *was,
	uint32_t n, char *name)
{
	struct knob_here *here = calloc(1, sizeof(*here));
	bool same = here != NULL;

	for (uint32_t i = 0; i < n && same; i++) {
		snprintf(name, RECORD_NAME_MAX, "%s", was[i].name);
		if (!goal->n_members)
			same = reads(root, name, was[i].value, here);
		for (uint32_t m = 0; m < goal->n_members && same; m++) {
			tune_member_knob(was[i].name, goal->member[m], name);
			same = reads(root, name, was[i].value, here);
		}
	}
	free(here);
	return same;
}
