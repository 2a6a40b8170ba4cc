// SPDX-License-Identifier: Apache-2.0
/*
 * tune_guard.c - the tuner's changes in the running agent: through the guard, as all others.
 */
#include <stdlib.h>
#include "agent/core/guard.h"
#include "agent/core/tune.h"

static void apply(void *ctx, const struct safety_request *request, struct control_reply *reply)
{
	guard_apply(ctx, request, reply);
}

static void swap(void *ctx, uint64_t change, uint32_t new_set, struct control_reply *reply)
{
	guard_swap(ctx, change, new_set, reply);
}

static void keep(void *ctx, uint64_t change, const char *observed, struct control_reply *reply)
{
	guard_keep(ctx, change, observed, reply);
}

static void rollback(void *ctx, uint64_t change, const char *because, const char *observed,
	struct control_reply *reply)
{
	guard_rollback(ctx, change, because, observed, reply);
}

static bool in_force(void *ctx, uint64_t change)
{
	struct agent_view view = { 0 };
	bool found = false;

	if (guard_view(ctx, &view) == 0) {
		for (uint32_t i = 0; i < view.n_changes; i++)
			found |= view.change[i].id == change;
	}
	free(view.change);
	free(view.quarantined);
	return found;
}

struct tuner_ops tune_ops(struct guard *guard)
{
	return (struct tuner_ops){ apply, swap, keep, rollback, in_force, guard };
}
