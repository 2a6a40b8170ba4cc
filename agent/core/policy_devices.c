/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_devices.c - which disks have a slot, and what all of it looks like from outside.
 */
#include "agent/core/policy_internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/util/log.h"

static int slot_command(struct policy *policy, uint32_t op, uint32_t slot, uint32_t value)
{
	struct semantos_control command = { .op = op, .slot = slot, .mode = value };

	return bpf_policy_control(&policy->bpf, &command);
}

static void on_bump(void *ctx, uint32_t slot)
{
	slot_command(ctx, SEMANTOS_CTL_SLOT_BUMP, slot, 0);
}

static void on_obey(void *ctx, uint32_t slot, bool obey, bool choose)
{
	slot_command(ctx, SEMANTOS_CTL_SLOT_OBEY, slot,
		(obey ? SEMANTOS_OBEY : 0) | (choose ? SEMANTOS_CHOOSE : 0));
}

static void on_answers(void *ctx, uint32_t slot, const struct model *model)
{
	if (policy_is_sched(ctx))
		policy_sched_model(ctx, model);
	else
		policy_volume_model(ctx, slot, model);
}

static bool on_decides(void *ctx)
{
	return ((const struct policy *)ctx)->volume != NULL;
}

static bool wanted(const struct policy *policy, const struct disk *disk)
{
	const struct core_options *options = policy->env.options;

	return disk_wanted(disk, options->device, options->n_device, options->exclude,
		options->n_exclude, "/sys");
}

void policy_remove_device(struct policy *policy, uint32_t slot)
{
	struct device *device = policy->device[slot];
	int64_t in_flight;

	policy_volume_model(policy, slot, NULL);
	slot_command(policy, SEMANTOS_CTL_SLOT_REMOVE, slot, 0);
	in_flight = bpf_policy_inflight_count(&policy->bpf, slot);
	if (in_flight > 0)
		policy->abandoned += (uint64_t)in_flight;
	policy->gone_batches += device_batches(device);
	policy->gone_stored += device_stored(device);
	policy->gone_stale += device_stale(device);
	for (int i = 0; i < POLICY_MAX_TAPS; i++)
		if (policy->tap[i].slot == slot)
			policy->tap[i].id = 0;
	policy->device[slot] = NULL;
	device_free(device);
}

void policy_add_device(struct policy *policy, const struct disk *disk)
{
	struct semantos_control command = {
		.op = SEMANTOS_CTL_SLOT_ADD,
		.dev = disk_kernel_dev(disk),
		.diskseq = disk->diskseq,
		.queue_depth = disk->queue_depth,
		.queues = disk->queues,
	};
	struct device_env env = {
		.manifest = &policy->manifest,
		.recipe = &policy->recipe,
		.trainer = policy->env.trainer,
		.state_dir = policy->state_dir,
		.min_rows = policy->env.options->min_rows,
		.fresh = policy->env.options->fresh,
		.control = policy->env.options->control,
		.bump = on_bump,
		.obey = on_obey,
		.answers = on_answers,
		.decides = on_decides,
		.ctx = policy,
	};
	uint32_t slot = 0;
	int err;

	while (slot < SEMANTOS_MAX_SLOTS && policy->device[slot])
		slot++;
	if (slot == SEMANTOS_MAX_SLOTS) {
		log_warn("%s: %s is not followed, because all %d slots are taken.",
			policy_name(policy), disk->name, SEMANTOS_MAX_SLOTS);
		return;
	}
	command.slot = slot;
	err = bpf_policy_inflight_set(&policy->bpf, slot, disk->queues * disk->queue_depth);
	if (!err)
		err = bpf_policy_control(&policy->bpf, &command);
	if (err) {
		log_warn("%s: %s is not followed, because its slot cannot be set up: %s.",
			policy_name(policy), disk->name, strerror(-err));
		return;
	}
	env.verdict = &policy->bpf.verdicts[slot];
	env.slot = &policy->bpf.slots[slot];
	policy->device[slot] = device_new(&env, disk, slot);
	if (!policy->device[slot]) {
		slot_command(policy, SEMANTOS_CTL_SLOT_REMOVE, slot, 0);
		log_warn("%s: %s is not followed: out of memory.", policy_name(policy), disk->name);
		return;
	}
	if (slot >= policy->n_slots)
		policy->n_slots = slot + 1;
	if (policy_is_sched(policy))
		log_info("%s: follows %s.", policy_name(policy), disk->name);
	else
		log_info("%s: follows %s (%u:%u).", policy_name(policy), disk->name, disk->major,
			disk->minor);
}

static bool follows_any(const struct policy *policy)
{
	for (uint32_t slot = 0; slot < policy->n_slots; slot++)
		if (policy->device[slot])
			return true;
	return false;
}

void policy_sync_disks(struct policy *policy, const struct disk *disks, size_t n)
{
	bool present[DISK_MAX] = { false };

	if (policy->watch)
		return;

	if (policy_is_sched(policy)) {
		policy_sched_sync(policy, n == 0);
		return;
	}
	for (uint32_t slot = 0; slot < policy->n_slots; slot++) {
		const struct disk *mine =
			policy->device[slot] ? device_disk(policy->device[slot]) : NULL;
		bool found = false;

		if (!mine)
			continue;
		for (size_t i = 0; i < n && !found; i++) {
			found = disks[i].major == mine->major && disks[i].minor == mine->minor &&
				disks[i].diskseq == mine->diskseq &&
				disks[i].queues == mine->queues &&
				disks[i].queue_depth == mine->queue_depth;
			present[i] |= found;
		}
		if (!found) {
			if (n)
				log_info("%s: no longer follows %s, because it is gone or was "
					 "replaced.",
					policy_name(policy), mine->name);
			policy_remove_device(policy, slot);
		}
	}
	policy->n_unsupported = 0;
	for (size_t i = 0; i < n; i++) {
		if (present[i] || !wanted(policy, &disks[i]))
			continue;
		if (disks[i].supported)
			policy_add_device(policy, &disks[i]);
		else if (policy->n_unsupported < POLICY_MAX_UNSUPPORTED)
			policy->unsupported[policy->n_unsupported++] = disks[i];
	}
	if (n && !follows_any(policy) && !policy->n_unsupported)
		log_warn("%s: no disk to follow: %s.", policy_name(policy),
			policy->env.options->n_device || policy->env.options->n_exclude
				? "none here matches --device (less --exclude); semantosctl probe "
				  "lists them"
				: "no physical disk is here; name others by --device");
}

void policy_use_model(struct policy *policy, const char *device, const void *bytes, size_t n_bytes,
	struct control_reply *reply)
{
	for (uint32_t slot = 0; slot < policy->n_slots; slot++) {
		if (policy->device[slot] &&
			strcmp(device_disk(policy->device[slot])->name, device) == 0) {
			device_use_model(policy->device[slot], bytes, n_bytes, reply);
			return;
		}
	}
	reply->error = -ENODEV;
	snprintf(reply->text, sizeof(reply->text),
		"%s follows no device called %.31s; `semantosctl status` lists them.",
		policy_name(policy), device);
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static void decide_percentiles(const struct policy *policy, struct policy_view *view)
{
	float sorted[POLICY_DECIDES];
	size_t n = policy->n_decides < POLICY_DECIDES ? policy->n_decides : POLICY_DECIDES;

	view->decide_us_p50 = view->decide_us_p99 = NAN;
	if (!n)
		return;
	memcpy(sorted, policy->decide_us, n * sizeof(float));
	qsort(sorted, n, sizeof(float), by_value);
	view->decide_us_p50 = sorted[n / 2];
	view->decide_us_p99 = sorted[n * 99 / 100];
}

static void program_views(const struct policy *policy, struct policy_view *view)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, policy->bpf.object)
	{
		struct bpf_prog_info info = { 0 };
		__u32 len = sizeof(info);
		struct program_view *out = &view->program[view->n_programs];

		if (view->n_programs == sizeof(view->program) / sizeof(view->program[0]) ||
			bpf_program__type(program) == BPF_PROG_TYPE_SYSCALL ||
			bpf_prog_get_info_by_fd(bpf_program__fd(program), &info, &len))
			continue;
		snprintf(out->name, sizeof(out->name), "%s", bpf_program__name(program));
		out->id = info.id;
		out->runs = info.run_cnt;
		out->run_ns = info.run_time_ns;
		out->missed = info.recursion_misses;
		view->n_programs++;
	}
}

static uint32_t obeyed_devices(const struct policy *policy)
{
	uint32_t n = 0;

	for (uint32_t slot = 0; slot < policy->n_slots; slot++)
		n += policy->device[slot] && policy->bpf.slots[slot].obey;
	return n;
}

int policy_view(struct policy *policy, bool lease_alive, struct policy_view *view)
{
	struct timespec now;
	uint32_t n = policy->n_unsupported;

	memset(view, 0, sizeof(*view));
	for (uint32_t slot = 0; slot < policy->n_slots; slot++)
		n += policy->device[slot] != NULL;
	view->device = calloc(n ? n : 1, sizeof(*view->device));
	if (!view->device)
		return -ENOMEM;
	snprintf(view->name, sizeof(view->name), "%s", policy->manifest.name);
	snprintf(view->summary, sizeof(view->summary), "%s", policy->manifest.summary);
	view->mode = policy->mode;
	view->canary_percent = policy->canary_percent;
	view->batches = policy->gone_batches;
	view->verdicts_stored = policy->gone_stored;
	view->verdicts_refused_stale = policy->gone_stale;
	for (uint32_t slot = 0; slot < policy->n_slots; slot++) {
		struct device *device = policy->device[slot];

		if (!device)
			continue;
		/* Of many devices the last look must do, or whoever watches would hold up the loop. */
		device_view(device, lease_alive, n <= 2 * POLICY_LOOKS,
			&view->device[view->n_devices++]);
		view->batches += device_batches(device);
		view->verdicts_stored += device_stored(device);
		view->verdicts_refused_stale += device_stale(device);
	}
	for (uint32_t i = 0; i < policy->n_unsupported; i++) {
		struct device_view *out = &view->device[view->n_devices++];

		snprintf(out->name, sizeof(out->name), "%s", policy->unsupported[i].name);
		out->major = policy->unsupported[i].major;
		out->minor = policy->unsupported[i].minor;
		out->phase = DEVICE_UNSUPPORTED;
		snprintf(out->note, sizeof(out->note), "%s", policy->unsupported[i].note);
	}
	if (policy->watch)
		snprintf(view->note, sizeof(view->note), "%s", "");
	else if (policy_is_sched(policy))
		policy_sched_note(policy, view->note, sizeof(view->note));
	else if (policy->mode != SEMANTOS_SHADOW && !obeyed_devices(policy))
		snprintf(view->note, sizeof(view->note),
			"no device has a model with signal yet, so its verdicts are obeyed "
			"nowhere");
	else
		policy_volume_note(policy, view->note, sizeof(view->note));
	if (policy->watch && policy_watch_view(policy, view)) {
		free(view->device);
		return -ENOMEM;
	}
	bpf_policy_counters(&policy->bpf, &view->counters);
	view->delivered = ring_delivered(policy->reader);
	view->ring_bad_records = ring_refused(policy->reader);
	decide_percentiles(policy, view);
	program_views(policy, view);
	clock_gettime(CLOCK_MONOTONIC, &now);
	view->age_s = (uint64_t)(now.tv_sec - policy->since.tv_sec);
	return 0;
}
