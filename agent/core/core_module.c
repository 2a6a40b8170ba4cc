// SPDX-License-Identifier: Apache-2.0
/*
 * core_module.c - semantos.ko comes and the agent makes use of it: the lease that the module looks at, and the policies
 * that decide for volumes. It may be loaded before the agent or long after.
 *
 * Loading BPF takes long, so it is done on a thread of its own, which holds `change` like any other change of the
 * policies; the loop's thread starts it, and only looks whether it is done.
 */
#include "agent/core/core_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/util/log.h"

#define MODULE_TRY_AGAIN_S \
	10 /* after a refusal: another policy holds the volumes, or the object was not taken */

struct step {
	struct core *core;
	struct policy *policy;
	struct bpf_volume *volume;
	struct bpf_object *lease;
};

static void do_lease(void *ctx)
{
	struct step *step = ctx;

	bpf_lease_use(&step->core->lease, step->lease);
	if (step->core->lease_running)
		bpf_lease_renew(&step->core->lease);
}

static void do_join(void *ctx)
{
	struct step *step = ctx;

	policy_volume_join(step->policy, step->volume);
}

static void do_leave(void *ctx)
{
	struct step *step = ctx;

	policy_volume_leave(step->policy);
}

/* The program that was loaded without the module does not know it. */
static void lease_again(struct core *core)
{
	struct step step = { .core = core };
	char error[512];

	if (core->lease.knows_module)
		return;
	step.lease = bpf_lease_again(&core->lease, error, sizeof(error));
	if (!step.lease) {
		log_warn(
			"semantos.ko was loaded, but the lease cannot be renewed there, so volumes "
			"take the default: %s",
			error);
		return;
	}
	if (loop_call(core->loop, do_lease, &step, CONTROL_WAIT_MS))
		bpf_object__close(step.lease);
	else
		log_info("semantos.ko was loaded: the agent's lease is renewed there, too.");
}

int core_volume_up(struct core *core, struct policy *policy)
{
	struct step step = { .core = core, .policy = policy };
	char error[512];
	int err;

	if (!policy_volume_wanted(policy) || !bpf_volume_module())
		return 0;
	err = bpf_volume_vacant(error, sizeof(error));
	if (err)
		goto out;
	step.volume = policy_volume_open(policy, &err, error, sizeof(error));
	if (!step.volume)
		goto out;
	/* Models first: the first read it is asked about is decided by them. */
	err = loop_call(core->loop, do_join, &step, CONTROL_WAIT_MS);
	if (err) {
		snprintf(error, sizeof(error), "the agent was too busy or is ending");
		goto out_close;
	}
	err = bpf_volume_attach(step.volume, error, sizeof(error));
	if (!err) {
		log_info("%s: decides (%s) which leg of a replica volume serves a read.",
			policy_name(policy), policy_decide(policy));
		return 0;
	}
	if (loop_call(core->loop, do_leave, &step, CONTROL_WAIT_MS))
		return err; /* it goes with the policy */
out_close:
	bpf_volume_close(step.volume);
	free(step.volume);
out:
	if (!core->module_complained)
		log_warn("%s decides for no replica volume, because %s; tried again every %d s.",
			policy_name(policy), error, MODULE_TRY_AGAIN_S);
	core->module_complained = true;
	return err;
}

static void *work(void *ctx)
{
	struct core *core = ctx;
	int err = 0;

	pthread_mutex_lock(&core->change);
	lease_again(core);
	for (uint32_t i = 0; i < core->n_policies && !err; i++)
		err = core_volume_up(core, core->policy[i]);
	/* A module that left above and came back cannot leave any more if a policy is attached to it now. */
	if (bpf_volume_module())
		lease_again(core);
	pthread_mutex_unlock(&core->change);
	if (!err)
		core->module_complained = false;
	core->module_done = true;
	return NULL;
}

void core_module_tick(struct core *core)
{
	bool wanted = false;

	if (core->module_busy) {
		if (!core->module_done)
			return;
		core_module_end(core);
		core->module_next = core->ticks + MODULE_TRY_AGAIN_S;
	}
	for (uint32_t i = 0; i < core->n_policies; i++)
		wanted |= policy_volume_wanted(core->policy[i]);
	if (!bpf_volume_module()) {
		if (wanted && !core->module_missed)
			log_info("semantos.ko is not loaded, so reads of replica volumes take the "
				 "default; verdicts are made and judged as ever.");
		core->module_missed |= wanted;
		core->module_next = 0;
		return;
	}
	if (core->lease.knows_module && !wanted)
		return;
	if (core->module_next > core->ticks)
		return;
	core->module_done = false;
	core->module_busy = pthread_create(&core->module_thread, NULL, work, core) == 0;
	if (!core->module_busy)
		core->module_next = core->ticks + MODULE_TRY_AGAIN_S;
}

void core_module_end(struct core *core)
{
	if (core->module_busy)
		pthread_join(core->module_thread, NULL);
	core->module_busy = false;
}
