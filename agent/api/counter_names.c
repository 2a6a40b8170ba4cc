/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counter_names.c - the table behind counter_names.h.
 *
 * Must cover every counter of this wire version: a missing row does not compile. No state.
 */
#include "agent/api/counter_names.h"

#include <string.h>
#include "bpf/wire.h"

static const struct {
	const char *name, *meaning;
} counters[SEMANTOS_C_NR] = {
	[SEMANTOS_C_EVENTS] = { "events", "hook calls for a known device" },
	[SEMANTOS_C_READS] = { "reads", "reads issued" },
	[SEMANTOS_C_WRITES] = { "writes", "writes issued" },
	[SEMANTOS_C_NO_HISTORY] = { "no_history", "reads before four had completed" },
	[SEMANTOS_C_REQUESTS] = { "requests", "decisions wanted" },
	[SEMANTOS_C_REQUESTS_SUBMITTED] = { "requests_submitted", "decisions asked of the agent" },
	[SEMANTOS_C_OUTCOMES] = { "outcomes", "asked-about reads that completed" },
	[SEMANTOS_C_OUTCOMES_SUBMITTED] = { "outcomes_submitted", "outcomes sent to the agent" },
	[SEMANTOS_C_DROP_OVER_BUDGET] = { "drop_over_budget", "requests beyond the event budget" },
	[SEMANTOS_C_DROP_RING_FULL] = { "drop_ring_full", "requests that found the ring full" },
	[SEMANTOS_C_DROP_OUTCOME_RING_FULL] = { "drop_outcome_ring_full",
		"outcomes that found the ring full" },
	[SEMANTOS_C_DROP_OUTCOME_REUSED] = { "drop_outcome_reused",
		"outcomes that never came: tag reused first" },
	[SEMANTOS_C_DROP_OUTCOME_DEVICE_GONE] = { "drop_outcome_device_gone",
		"outcomes of a removed disk, or of before a model swap" },
	[SEMANTOS_C_TAG_RANGE] = { "tag_range", "tags beyond what the device declared" },
	[SEMANTOS_C_NOT_OURS] = { "not_ours", "hook calls for other devices" },
	[SEMANTOS_C_LOOKUP_FAILED] = { "lookup_failed", "map lookups that failed" },
	[SEMANTOS_C_RING_MISSING] = { "ring_missing", "records without a ring for their CPU" },
	[SEMANTOS_C_UNMATCHED_DONE] = { "unmatched_done",
		"completions of requests no hook saw issued" },
	[SEMANTOS_C_REQUEUED] = { "requeued", "requests the driver gave back" },
	[SEMANTOS_C_DROP_OUTCOME_REQUEUED] = { "drop_outcome_requeued",
		"outcomes of reads the driver gave back" },
	[SEMANTOS_C_SHORT] = { "short", "windows of ended processes with too few system calls" },
	[SEMANTOS_C_SHORT_CALLS] = { "short_calls", "system calls in short windows" },
	[SEMANTOS_C_I386_CALLS] = { "i386_calls", "system calls by the i386 interface" },
};

_Static_assert(SEMANTOS_C_NR == SEMANTOS_C_I386_CALLS + 1,
	"a counter was added: give it a name and a meaning here");

const char *counter_name(unsigned int counter)
{
	return counter < SEMANTOS_C_NR ? counters[counter].name : "";
}

const char *counter_meaning(const char *name)
{
	for (unsigned int i = 0; i < SEMANTOS_C_NR; i++) {
		if (strcmp(counters[i].name, name) == 0)
			return counters[i].meaning;
	}
	return NULL;
}

bool counter_is_drop(const char *name)
{
	return strncmp(name, "drop_", 5) == 0 || strcmp(name, "ring_missing") == 0;
}
