// SPDX-License-Identifier: Apache-2.0
/*
 * core_sched.c - schedulers come on and go off as their policies' modes say.
 *
 * The kernel takes its time over that (it stops to look at every task), so it is done on the caller's thread or, where
 * the loop's thread found the mode changed, on one of its own; both hold `change`. Meanwhile the scheduler that is on
 * follows the policy's row, which says shadow already: it decides by the plain rule. One scheduler cannot follow
 * another in one step: how long the kernel's own scheduled in between is told.
 */
#include "agent/core/core_internal.h"

#include <stdio.h>
#include <string.h>
#include "agent/util/log.h"

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static void do_awake(void *ctx)
{
	core_active(ctx);
}

void core_sched_left(struct core *core)
{
	core->sched_off_ns = now_ns();
}

int core_sched_match(struct core *core, struct policy *policy, char *error, size_t error_len)
{
	bool on = policy_sched_on(policy);
	uint64_t from = now_ns();
	int err;

	if (!policy_sched_unmatched(policy))
		return 0;
	err = policy_sched_match(policy, error, error_len);
	if (err)
		return err;
	/* An idle agent's lease rests; should the loop be too busy now, its next tick does this. */
	if (!on)
		loop_call(core->loop, do_awake, core, CONTROL_WAIT_MS);
	if (on) {
		core_sched_left(core);
		log_info("%s: its scheduler is off after %.1f ms; the kernel's own schedules.",
			policy_name(policy), (double)(core->sched_off_ns - from) / 1e6);
	} else if (core->sched_off_ns) {
		log_info("%s: its scheduler is on after %.1f ms; for %.1f ms since one was taken "
			 "off the kernel's own scheduled.",
			policy_name(policy), (double)(now_ns() - from) / 1e6,
			(double)(now_ns() - core->sched_off_ns) / 1e6);
	} else {
		log_info("%s: its scheduler is on after %.1f ms.", policy_name(policy),
			(double)(now_ns() - from) / 1e6);
	}
	return 0;
}

static void *work(void *ctx)
{
	struct core *core = ctx;
	char error[256];

	pthread_mutex_lock(&core->change);
	for (uint32_t i = 0; i < core->n_policies; i++)
		if (core_sched_match(core, core->policy[i], error, sizeof(error)))
			log_warn("%s: %s", policy_name(core->policy[i]), error);
	pthread_mutex_unlock(&core->change);
	core->sched_done = true;
	return NULL;
}

void core_sched_tick(struct core *core)
{
	bool unmatched = false;

	for (uint32_t i = 0; i < core->n_policies; i++)
		if (policy_needs_lease(core->policy[i]))
			core_active(core);
	if (core->sched_busy && !core->sched_done)
		return;
	core_sched_end(core);
	for (uint32_t i = 0; i < core->n_policies; i++)
		unmatched |= policy_sched_unmatched(core->policy[i]);
	if (!unmatched)
		return;
	core->sched_done = false;
	core->sched_busy = pthread_create(&core->sched_thread, NULL, work, core) == 0;
}

void core_sched_end(struct core *core)
{
	if (core->sched_busy)
		pthread_join(core->sched_thread, NULL);
	core->sched_busy = false;
}
