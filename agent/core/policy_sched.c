// SPDX-License-Identifier: Apache-2.0
/*
 * policy_sched.c - a policy of scheduling: its one device (all CPUs), its net in the kernel, its scheduler's life.
 *
 * The scheduler decides in the kernel without asking user space; what it says of itself is read here once a second. The
 * loop's thread, but for policy_sched_match().
 */
#include "agent/core/policy_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "agent/infer/sched_net.h"
#include "agent/util/log.h"

/* What all CPUs together are called, where block policies have disks. */
static const struct disk cpus = { .name = "cpus",
	.identity = "cpus",
	.diskseq = 1,
	.queues = 1,
	.queue_depth = 1,
	.physical = true,
	.supported = true };

bool policy_is_sched(const struct policy *policy)
{
	return manifest_is_sched(&policy->manifest);
}

void policy_sched_sync(struct policy *policy, bool leave)
{
	if (leave && policy->device[0])
		policy_remove_device(policy, 0);
	else if (!leave && !policy->device[0])
		policy_add_device(policy, &cpus);
	if (!leave && policy->bpf.sched.silent[0] && !policy->sched_note[0])
		log_warn("%s: the kernel's own answers are not heard, because %s.",
			policy_name(policy), policy->bpf.sched.silent);
}

void policy_sched_model(struct policy *policy, const struct model *model)
{
	struct mlp_model net;
	int err;

	if (!model)
		return;
	err = sched_net_pack(model, ++policy->sched_generation, &net);
	if (!err)
		err = bpf_sched_model(&policy->bpf.sched, &net);
	if (err)
		log_warn("%s: the model %s is not used in the kernel: %s.", policy_name(policy),
			model->name,
			err == -EINVAL	 ? "its shape is not that of the net there"
			: err == -ERANGE ? "a number of it is too large there"
					 : strerror(-err));
}

bool policy_sched_on(const struct policy *policy)
{
	return policy->sched_on;
}

/* In these modes the scheduler is on; a policy about to be taken down has none any more. */
static bool wanted(const struct policy *policy)
{
	return policy_is_sched(policy) && policy->mode != SEMANTOS_SHADOW && !policy->held;
}

bool policy_sched_unmatched(const struct policy *policy)
{
	return wanted(policy) != policy->sched_on;
}

bool policy_needs_lease(const struct policy *policy)
{
	return policy->sched_on;
}

int policy_sched_match(struct policy *policy, char *error, size_t error_len)
{
	int err = 0;

	if (!wanted(policy)) {
		bpf_sched_off(&policy->bpf.sched);
		policy->sched_on = false;
	} else {
		err = bpf_sched_on(&policy->bpf.sched, error, error_len);
		policy->sched_on = !err;
	}
	return err;
}

/* One consistent copy: the kernel side writes seq last. */
static void end_copy(const volatile struct semantos_sched_end *from, struct semantos_sched_end *to)
{
	memcpy(to, (const void *)(uintptr_t)from, sizeof(*to));
	to->hog[sizeof(to->hog) - 1] = 0;
	to->reason[sizeof(to->reason) - 1] = 0;
	to->message[sizeof(to->message) - 1] = 0;
	for (char *at = to->message; *at; at++)
		if (*at < ' ')
			*at = ' ';
}

/* Did the kernel end the scheduler, without having been asked to by us? */
void policy_sched_tick(struct policy *policy)
{
	const volatile struct semantos_sched_end *row = policy->bpf.sched.end;
	struct semantos_sched_end end;
	char why[400], evidence[160];
	bool hog;

	if (!row || __atomic_load_n(&row->seq, __ATOMIC_ACQUIRE) == policy->sched_ends)
		return;
	end_copy(row, &end);
	policy->sched_ends = end.seq;
	if (end.kind == SEMANTOS_SCHED_EXIT_ASKED)
		return;
	hog = bpf_sched_end_text(&end, why, sizeof(why));
	snprintf(policy->sched_note, sizeof(policy->sched_note), "%.159s", why);
	log_warn("%s: its scheduler is off, and the kernel's own schedules, because %s.",
		policy_name(policy), why);
	if (end.kind >= SEMANTOS_SCHED_EXIT_FAULT && !hog && policy->env.eject && !policy->held) {
		snprintf(evidence, sizeof(evidence), "exit kind %u of sched_ext, code %llu",
			end.kind, (unsigned long long)end.code);
		policy->env.eject(policy->env.active_ctx, policy, "scheduler", why, evidence);
		return;
	}
	policy_demote(policy, hog ? "a real-time task kept its scheduler's tasks from running"
				  : "its scheduler was taken off from outside");
}

void policy_sched_note(const struct policy *policy, char *text, size_t len)
{
	const struct bpf_sched *sched = &policy->bpf.sched;
	struct semantos_sched_row sum;
	const uint64_t *n = sum.count;

	text[0] = 0;
	if (bpf_sched_counts(sched, &sum))
		return;
	if (policy->sched_on)
		snprintf(text, len,
			"scheduler on: %llu candidates, %llu by the net (%llu yes), %llu moved, "
			"%llu had waited; left idle %llu times",
			(unsigned long long)n[SEMANTOS_S_CANDIDATES],
			(unsigned long long)n[SEMANTOS_S_NET],
			(unsigned long long)n[SEMANTOS_S_NET_YES],
			(unsigned long long)n[SEMANTOS_S_MOVED],
			(unsigned long long)n[SEMANTOS_S_WAITED],
			(unsigned long long)n[SEMANTOS_S_LEFT_IDLE]);
	else if (policy->sched_note[0])
		snprintf(text, len, "%s", policy->sched_note);
	else if (!sched->observes)
		snprintf(text, len, "%s", sched->silent);
}

uint64_t policy_sched_audit(const struct policy *policy)
{
	struct semantos_sched_row sum;

	if (!policy_is_sched(policy) || bpf_sched_counts(&policy->bpf.sched, &sum))
		return 0;
	return bpf_sched_unaccounted(&sum);
}
