/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy.c - life of an attached policy, and the drain that carries records to its devices.
 */
#include "agent/core/policy_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/bpf.h>
#include "agent/util/log.h"

struct policy *policy_open(const struct policy_env *env, const struct manifest *manifest,
	enum semantos_mode mode, uint32_t canary_percent, int *err, char *error, size_t error_len)
{
	struct policy *policy = calloc(1, sizeof(*policy));
	char path[2 * PATH_MAX];

	if (!policy) {
		*err = -ENOMEM;
		snprintf(error, error_len, "Out of memory.");
		return NULL;
	}
	policy->env = *env;
	policy->manifest = *manifest;
	policy->mode = mode;
	policy->canary_percent = canary_percent;
	clock_gettime(CLOCK_MONOTONIC, &policy->since);
	*err = manifest_watches(manifest)
		       ? 0
		       : manifest_recipe(manifest, &policy->recipe, error, error_len);
	if (*err)
		goto out_free;
	/* With a control it is verdicts that decide, whatever the manifest says. */
	if (env->options->control != PLACEBO_NONE)
		policy->recipe.verdict_ns = manifest->ttl_ms * 1000000ULL;
	snprintf(policy->state_dir, sizeof(policy->state_dir), "%.*s/%s", PATH_MAX - 64,
		env->options->state_dir, manifest->name);
	if (mkdir(policy->state_dir, 0750) && errno != EEXIST) {
		*err = -errno;
		snprintf(error, error_len, "The state folder %.200s cannot be made: %s.",
			policy->state_dir, strerror(errno));
		goto out_free;
	}
	snprintf(path, sizeof(path), "%s/%s", manifest->directory, manifest->object);
	*err = bpf_policy_open(&policy->bpf, path, manifest->name, env->lease,
		env->options->bpffs_dir, error, error_len);
	if (*err)
		goto out_free;
	*err = policy_push_row(policy);
	if (*err) {
		snprintf(error, error_len, "The BPF object refuses the policy's settings: %s.",
			strerror(-*err));
		goto out_close;
	}
	if (policy->bpf.devices == manifest_watches(manifest)) {
		*err = -EPROTO;
		snprintf(error, error_len, "The BPF object does not send records of kind '%s'.",
			manifest->record);
		goto out_close;
	}
	if (policy->bpf.devices)
		trial_begin(&policy->trial, policy->bpf.trial);
	else
		*err = policy_watch_open(policy, error, error_len);
	if (*err)
		goto out_close;
	return policy;

out_close:
	bpf_policy_close(&policy->bpf);
out_free:
	free(policy);
	return NULL;
}

void policy_close(struct policy *policy)
{
	if (!policy)
		return;
	/* what was ejected had its changes undone before */
	watch_free(policy->watch, !policy->held);
	ring_reader_free(policy->reader);
	if (policy->volume)
		bpf_volume_close(policy->volume);
	free(policy->volume);
	bpf_policy_close(&policy->bpf);
	free(policy);
}

int policy_push_row(struct policy *policy)
{
	struct semantos_control command = {
		.op = SEMANTOS_CTL_POLICY,
		.mode = policy->mode,
		.canary_percent = policy->canary_percent,
		.ttl_ns = policy->manifest.ttl_ms * 1000000ULL,
		.budget_per_s = policy->manifest.budget_per_s,
	};

	if (policy->watch)
		policy_watch_mode(policy);
	return bpf_policy_control(&policy->bpf, &command);
}

static void tap_feed(struct policy *policy, const struct semantos_block_record *record)
{
	for (int i = 0; i < POLICY_MAX_TAPS; i++) {
		struct policy_tap *tap = &policy->tap[i];

		if (!tap->id || tap->slot != record->head.slot)
			continue;
		if (!tap->sink(tap->ctx, record, 1) || --tap->left == 0)
			tap->id = 0;
	}
}

static void on_record(void *ctx, const struct semantos_block_record *record)
{
	struct policy *policy = ctx;
	struct device *device = policy->device[record->head.slot];

	if (!device)
		return; /* the device left while the record was on its way */
	if (!policy->touched[record->head.slot]) {
		policy->touched[record->head.slot] = true;
		policy->touched_slot[policy->n_touched++] = record->head.slot;
	}
	if (record->head.kind == SEMANTOS_REQUEST) {
		device_on_request(device, record);
	} else {
		tap_feed(policy, record);
		device_on_outcome(device, record);
	}
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static void on_drained(void *ctx, size_t n, uint64_t start_ns)
{
	struct policy *policy = ctx;

	while (policy->n_touched) {
		uint32_t slot = policy->touched_slot[--policy->n_touched];

		policy->touched[slot] = false;
		if (policy->device[slot])
			device_flush(policy->device[slot]);
	}
	if (!n)
		return;
	policy->decide_us[policy->n_decides++ & (POLICY_DECIDES - 1)] =
		(float)(now_ns() - start_ns) / 1000.0f;
	if (policy->watch)
		return; /* nothing in the kernel obeys it: no lease is needed */
	/* Verdicts first: the lease may need a system call, and nothing is obeyed until both are there. */
	if (policy->env.active)
		policy->env.active(policy->env.active_ctx);
}

/* Of each CPU: room for a quarter of a second at 30,000 records a second, less where very many CPUs share it. */
static uint32_t ring_bytes(int n_cpus)
{
	uint32_t bytes = POLICY_RING_MOST;

	while (bytes > POLICY_RING_LEAST && (uint64_t)bytes * (uint32_t)n_cpus > POLICY_RINGS_BYTES)
		bytes /= 2;
	return bytes;
}

/* The manifest's, or derived from deadline, event budget and what a row costs the slowest of the models here. */
static uint64_t window_ns(const struct policy *policy)
{
	const struct manifest *manifest = &policy->manifest;
	uint64_t row_ns = 0, of_device;

	if (manifest->batch_window_us)
		return manifest->batch_window_us * 1000ULL;
	for (uint32_t slot = 0; slot < policy->n_slots; slot++) {
		of_device = policy->device[slot] ? device_row_ns(policy->device[slot]) : 0;
		row_ns = of_device > row_ns ? of_device : row_ns;
	}
	return drain_window(manifest->ttl_ms * 1000000ULL, POLICY_ROUND_NS + row_ns,
		manifest->budget_per_s, ring_bytes(policy->bpf.n_cpus));
}

int policy_join(struct policy *policy, char *error, size_t error_len)
{
	const struct manifest *manifest = &policy->manifest;
	uint32_t bytes = ring_bytes(policy->bpf.n_cpus);
	int err;

	policy->reader = ring_reader_new(policy->bpf.rings_fd, policy->bpf.wake, policy->bpf.n_cpus,
		bytes, POLICY_WAKE_EVERY, policy->watch ? policy_watch_record : on_record, policy);
	if (policy->reader && policy->watch)
		ring_records(policy->reader, watch_record_valid);
	if (policy->reader)
		policy->drain = drain_new(policy->env.loop, policy->reader, window_ns(policy),
			drain_spin_here((enum drain_spin)drain_spin_parse(manifest->spin)),
			on_drained, policy);
	if (!policy->drain) {
		err = errno ? -errno : -ENOMEM;
		snprintf(
			error, error_len, "The ring buffers cannot be set up: %s.", strerror(-err));
		return err;
	}
	return 0;
}

int policy_attach(struct policy *policy, char *error, size_t error_len)
{
	return bpf_policy_attach(&policy->bpf, error, error_len);
}

void policy_detach(struct policy *policy)
{
	if (policy->volume)
		bpf_volume_detach(policy->volume);
	bpf_policy_detach(&policy->bpf);
	policy->sched_on = false;
}

void policy_leave(struct policy *policy)
{
	struct disk none;

	/* Captures end first: whoever owns a sink may be gone once the loop has ended. */
	for (int i = 0; i < POLICY_MAX_TAPS; i++)
		policy->tap[i].id = 0;
	for (int round = 0; policy->drain && round < POLICY_LAST_DRAINS; round++) {
		drain_round(policy->drain);
		if (!ring_waiting_bytes(policy->reader))
			break;
	}
	policy_sync_disks(policy, &none, 0);
	drain_free(policy->drain);
	policy->drain = NULL;
}

static uint64_t apart(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

static uint64_t unaccounted(struct policy *policy)
{
	const uint64_t record_bytes = sizeof(struct semantos_block_record) + BPF_RINGBUF_HDR_SZ;
	struct semantos_counters sum;
	const uint64_t *c = sum.count;

	if (bpf_policy_counters(&policy->bpf, &sum))
		return 0; /* nothing can be said */
	return policy_sched_audit(policy) +
	       apart(c[SEMANTOS_C_REQUESTS], c[SEMANTOS_C_REQUESTS_SUBMITTED] +
						     c[SEMANTOS_C_DROP_OVER_BUDGET] +
						     c[SEMANTOS_C_DROP_RING_FULL]) +
	       apart(c[SEMANTOS_C_REQUESTS_SUBMITTED],
		       c[SEMANTOS_C_OUTCOMES] + c[SEMANTOS_C_DROP_OUTCOME_REUSED] +
			       c[SEMANTOS_C_DROP_OUTCOME_REQUEUED] + policy->abandoned) +
	       apart(c[SEMANTOS_C_OUTCOMES], c[SEMANTOS_C_OUTCOMES_SUBMITTED] +
						     c[SEMANTOS_C_DROP_OUTCOME_RING_FULL] +
						     c[SEMANTOS_C_DROP_OUTCOME_DEVICE_GONE]) +
	       apart(c[SEMANTOS_C_REQUESTS_SUBMITTED] + c[SEMANTOS_C_OUTCOMES_SUBMITTED],
		       ring_delivered(policy->reader) +
			       ring_waiting_bytes(policy->reader) / record_bytes);
}

uint64_t policy_audit(struct policy *policy)
{
	uint64_t (*missing)(struct policy *) =
		policy->watch ? policy_watch_unaccounted : unaccounted;
	uint64_t n = missing(policy);

	/* A hook that was running when the hooks were taken off may still count. */
	for (int round = 0; n && round < 20; round++) {
		usleep(1000);
		n = missing(policy);
	}
	if (n)
		log_error("%s: %llu records are unaccounted for; this is a fault in semantos, "
			  "please report it.",
			policy_name(policy), (unsigned long long)n);
	return n;
}

const char *policy_name(const struct policy *policy)
{
	return policy->manifest.name;
}

void policy_hold(struct policy *policy)
{
	policy->held = true;
	policy->mode = SEMANTOS_SHADOW;
	policy->canary_percent = 0;
	if (policy_push_row(policy))
		log_error("%s cannot be put into shadow.", policy_name(policy));
}

bool policy_held(const struct policy *policy)
{
	return policy->held;
}

static void check_records(struct policy *policy)
{
	uint64_t refused = ring_refused(policy->reader), n = refused - policy->refused_before;
	char reason[160], evidence[160];

	policy->refused_before = refused;
	if (n <= POLICY_BAD_RECORDS || policy->held || !policy->env.eject)
		return;
	snprintf(reason, sizeof(reason),
		"it sent %llu records of a wrong version, size or slot within a second (%d are "
		"borne)",
		(unsigned long long)n, POLICY_BAD_RECORDS);
	snprintf(evidence, sizeof(evidence), "%llu of %llu records since attach were refused",
		(unsigned long long)refused, (unsigned long long)ring_delivered(policy->reader));
	policy->env.eject(policy->env.active_ctx, policy, "records", reason, evidence);
}

void policy_tick(struct policy *policy)
{
	uint32_t looks = 0, slot = policy->next_look;

	check_records(policy);
	policy_sched_tick(policy);
	if (policy->watch)
		watch_tick(policy->watch);
	else
		policy_try(policy);
	drain_window_set(policy->drain, window_ns(policy));

	/* A look costs a ms or two, and the lease is renewed by this very thread: a few devices at a time, in turn. */
	for (uint32_t i = 0; i < policy->n_slots; i++) {
		slot = slot < policy->n_slots ? slot : 0;
		if (policy->device[slot] &&
			device_tick(policy->device[slot], looks < POLICY_LOOKS)) {
			looks++;
			policy->next_look = slot + 1;
		}
		slot++;
	}
	/* A record whose wake-up got lost waits for this at most. */
	if (drain_asleep(policy->drain) && ring_waiting_bytes(policy->reader))
		drain_round(policy->drain);
}

uint64_t policy_tap_start(struct policy *policy, uint64_t id, const char *device, uint64_t max_rows,
	control_sink *sink, void *ctx, struct control_reply *reply)
{
	for (uint32_t slot = 0; slot < policy->n_slots; slot++) {
		if (!policy->device[slot] ||
			strcmp(device_disk(policy->device[slot])->name, device))
			continue;
		for (int i = 0; i < POLICY_MAX_TAPS; i++) {
			if (policy->tap[i].id)
				continue;
			policy->tap[i] = (struct policy_tap){ id, slot, max_rows, sink, ctx };
			snprintf(reply->text, sizeof(reply->text), "%s: capturing reads of %s.",
				policy_name(policy), device);
			return id;
		}
		reply->error = -EBUSY;
		snprintf(reply->text, sizeof(reply->text),
			"%s: %d captures run already; end one first.", policy_name(policy),
			POLICY_MAX_TAPS);
		return 0;
	}
	reply->error = -ENODEV;
	snprintf(reply->text, sizeof(reply->text),
		"%s follows no device called %.31s; `semantosctl status` lists them.",
		policy_name(policy), device);
	return 0;
}

bool policy_tap_stop(struct policy *policy, uint64_t id)
{
	for (int i = 0; i < POLICY_MAX_TAPS; i++) {
		if (policy->tap[i].id == id) {
			policy->tap[i].id = 0;
			return true;
		}
	}
	return false;
}
