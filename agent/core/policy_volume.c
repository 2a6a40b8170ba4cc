// SPDX-License-Identifier: Apache-2.0
/*
 * policy_volume.c - a policy takes the decisions of replica volumes: its object for them, and each disk's model in the
 * kernel.
 *
 * policy->volume is set and cleared on the loop's thread alone; loading and attaching are done beside it, by the holder
 * of the core's `change`.
 */
#include "agent/core/policy_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/util/log.h"

bool policy_volume_wanted(const struct policy *policy)
{
	return policy->manifest.volume[0] && !policy->volume;
}

struct bpf_volume *policy_volume_open(
	struct policy *policy, int *err, char *error, size_t error_len)
{
	struct bpf_volume *volume = calloc(1, sizeof(*volume));
	char path[2 * PATH_MAX];

	if (!volume) {
		*err = -ENOMEM;
		snprintf(error, error_len, "out of memory");
		return NULL;
	}
	snprintf(path, sizeof(path), "%s/%s", policy->manifest.directory, policy->manifest.volume);
	*err = bpf_volume_open(volume, path, policy_decide(policy), &policy->bpf, error, error_len);
	if (*err) {
		free(volume);
		return NULL;
	}
	return volume;
}

void policy_volume_model(struct policy *policy, uint32_t slot, const struct model *model)
{
	char error[384];

	if (policy->volume && bpf_volume_model(policy->volume, slot, model, error, sizeof(error)))
		log_warn("%s: reads of volumes on %s take the default, because %s.",
			policy_name(policy), policy->bpf.verdicts[slot].device, error);
}

void policy_volume_join(struct policy *policy, struct bpf_volume *volume)
{
	policy->volume = volume;
	for (uint32_t slot = 0; slot < policy->n_slots; slot++)
		if (policy->device[slot] && device_model(policy->device[slot]))
			policy_volume_model(policy, slot, device_model(policy->device[slot]));
}

struct bpf_volume *policy_volume_leave(struct policy *policy)
{
	struct bpf_volume *volume = policy->volume;

	policy->volume = NULL;
	return volume;
}

const char *policy_decide(const struct policy *policy)
{
	/* A control stands in for the agent's answers, so it is verdicts that decide then. */
	return policy->env.options->control == PLACEBO_NONE ? policy->manifest.decide : "async";
}

void policy_volume_note(const struct policy *policy, char *text, size_t len)
{
	struct semantos_decisions sum;
	const uint64_t *n = sum.count;
	uint64_t would, slow, warned;

	text[0] = 0;
	if (!policy->volume || bpf_volume_decisions(policy->volume, &sum))
		return;
	would = n[SEMANTOS_D_HELD] + n[SEMANTOS_D_CONTROL] + n[SEMANTOS_D_NO_SIGNAL];
	slow = n[SEMANTOS_D_SLOW_RIGHT] + n[SEMANTOS_D_FAST_WRONG];
	warned = n[SEMANTOS_D_SLOW_RIGHT] + n[SEMANTOS_D_SLOW_WRONG];
	snprintf(text, len,
		"volumes (%s): %llu reads, %llu moved, %llu would have been; of %llu slow ones "
		"%llu "
		"were foreseen, %llu of %llu warnings were wrong",
		policy_decide(policy), (unsigned long long)n[SEMANTOS_D_DECIDED],
		(unsigned long long)n[SEMANTOS_D_MOVED], (unsigned long long)would,
		(unsigned long long)slow, (unsigned long long)n[SEMANTOS_D_SLOW_RIGHT],
		(unsigned long long)n[SEMANTOS_D_SLOW_WRONG], (unsigned long long)warned);
}
