// SPDX-License-Identifier: Apache-2.0
/*
 * policy_watch.c - a policy whose records are windows of system calls: it has a watch where others have devices.
 *
 * The loop's thread, but for opening.
 */
#include "agent/core/policy_internal.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>

#define REFERENCES "references.safetensors"

int policy_watch_open(struct policy *policy, char *error, size_t error_len)
{
	const struct manifest *manifest = &policy->manifest;
	char file[PATH_MAX + 64], shipped[PATH_MAX + NAME_MAX + 2] = "";
	struct watch_options options = { .policy = manifest->name,
		.file = file,
		.shipped = shipped,
		.action = (enum watch_action)watch_action_parse(manifest->action),
		.one_class = manifest->classes == 1,
		.false_share = manifest->false_positives,
		.windows = manifest->windows,
		.allow = manifest->allow,
		.apply = policy->env.apply,
		.undo = policy->env.undo,
		.ctx = policy->env.active_ctx };

	if (!policy->env.apply || !policy->env.undo)
		options.action = WATCH_LOG;
	snprintf(file, sizeof(file), "%.*s/" REFERENCES, PATH_MAX - 1, policy->state_dir);
	if (manifest->model[0])
		snprintf(shipped, sizeof(shipped), "%s/%s", manifest->directory, manifest->model);
	policy->watch = watch_new(&options);
	if (!policy->watch) {
		snprintf(error, error_len, "Out of memory or threads.");
		return -ENOMEM;
	}
	policy_watch_mode(policy);
	return 0;
}

void policy_watch_record(void *ctx, const struct semantos_block_record *record)
{
	struct policy *policy = ctx;

	/* of the other kind, and checked as such: watch_record_valid() */
	watch_record(policy->watch, (const struct semantos_calls_record *)record);
}

void policy_watch_mode(struct policy *policy)
{
	watch_mode(policy->watch, policy->mode == SEMANTOS_SHADOW   ? 0
				  : policy->mode == SEMANTOS_CANARY ? policy->canary_percent
								    : 100);
}

int policy_watch_view(const struct policy *policy, struct policy_view *view)
{
	return watch_view(policy->watch, &view->watch);
}

static uint64_t apart(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

uint64_t policy_watch_unaccounted(struct policy *policy)
{
	const uint64_t record_bytes =
		((sizeof(struct semantos_calls_record) + 7) & ~7ULL) + BPF_RINGBUF_HDR_SZ;
	struct semantos_counters sum;
	const uint64_t *c = sum.count;

	if (bpf_policy_counters(&policy->bpf, &sum))
		return 0; /* nothing can be said */
	return apart(c[SEMANTOS_C_REQUESTS], c[SEMANTOS_C_REQUESTS_SUBMITTED] +
						     c[SEMANTOS_C_DROP_OVER_BUDGET] +
						     c[SEMANTOS_C_DROP_RING_FULL]) +
	       apart(c[SEMANTOS_C_REQUESTS_SUBMITTED],
		       ring_delivered(policy->reader) +
			       ring_waiting_bytes(policy->reader) / record_bytes);
}
