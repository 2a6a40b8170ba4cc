/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy.h - one attached policy: its BPF object, its rings, its devices.
 *
 * Opening and closing load and free BPF and may take long: any thread, no two at once for one policy. Everything
 * between policy_join() and policy_leave() belongs to the loop's thread.
 */
#ifndef SEMANTOS_CORE_POLICY_H
#define SEMANTOS_CORE_POLICY_H

#include "agent/core/bpf_object.h"
#include "agent/core/bpf_volume.h"
#include "agent/core/control.h"
#include "agent/core/core.h"
#include "agent/core/disk.h"
#include "agent/core/loop.h"
#include "agent/core/manifest.h"
#include "agent/core/trainer.h"
#include "agent/safety/safety.h"

#define POLICY_MODE_LEN 32

struct policy;

struct policy_env {
	struct loop *loop;
	struct trainer *trainer;
	const struct bpf_lease *lease;
	const struct core_options *options;
	/* Records are flowing: decisions may be made, so the lease must live. Called at every drain that found some. */
	void (*active)(void *ctx);
	/*
	 * The policy's object misbehaves: it decides no more and must be taken down. From policy_tick(), at most once.
	 * reason is half a sentence; may be NULL.
	 */
	void (*eject)(void *ctx, struct policy *policy, const char *kind, const char *reason,
		const char *evidence);
	/* The mode was changed; for the journal. evidence and expected are sentences. May be NULL. */
	void (*noted)(void *ctx, const char *policy, const char *from, const char *to,
		const char *because, const char *evidence, const char *expected);
	void *active_ctx; /* of all */
	/* As watch_options.apply and undo; for policies that watch processes. May be NULL. */
	void (*apply)(void *ctx, const struct safety_request *request, struct control_reply *reply);
	void (*undo)(void *ctx, uint64_t change, const char *because, struct control_reply *reply);
};

/* Load the policy of this manifest, nothing attached. NULL with one sentence and *err = -errno. */
struct policy *policy_open(const struct policy_env *env, const struct manifest *manifest,
	enum semantos_mode mode, uint32_t canary_percent, int *err, char *error, size_t error_len);
void policy_close(struct policy *policy); /* accepts NULL; after policy_leave() if it had joined */

int policy_join(struct policy *policy, char *error,
	size_t error_len); /* rings into the loop, slots filled */
int policy_attach(struct policy *policy, char *error,
	size_t error_len); /* hooks on; any thread, after join */
void policy_detach(struct policy *policy); /* hooks off; any thread */
void policy_leave(struct policy *policy); /* what is still in the rings is taken, devices end */

/*
 * After policy_detach() and policy_leave(): the conservation law of bpf/wire.h. Number of records it cannot account
 * for, which must be 0; the sentence is logged when it is not.
 */
uint64_t policy_audit(struct policy *policy);

/*
 * Decisions for replica volumes (policy_volume.c). wanted: the manifest has an object for them, and it is not in use.
 * open: any thread; NULL with half a sentence. join and leave: the loop's thread; join hands its models to the kernel.
 * Whoever gets the volume back from leave closes and frees it; else it goes with the policy.
 */
bool policy_volume_wanted(const struct policy *policy);
struct bpf_volume *policy_volume_open(
	struct policy *policy, int *err, char *error, size_t error_len);
void policy_volume_join(struct policy *policy, struct bpf_volume *volume);
struct bpf_volume *policy_volume_leave(struct policy *policy);
const char *policy_decide(const struct policy *policy); /* inline, async */

/*
 * Policies of scheduling (policy_sched.c). The scheduler is on in the modes canary and enforce, and only then.
 * match: by the mode the policy has now; waits for the kernel, for the holder of the core's `change` alone. 0, or -errno
 * with one sentence: then the policy belongs into shadow. unmatched: match would have something to do; any thread.
 */
int policy_sched_match(struct policy *policy, char *error, size_t error_len);
bool policy_sched_unmatched(const struct policy *policy);
bool policy_sched_on(const struct policy *policy); /* any thread */
/* Decisions are made in the kernel without any record: the lease must not rest. */
bool policy_needs_lease(const struct policy *policy);

/* "shadow", "canary:N", "enforce" */
void policy_mode_text(enum semantos_mode mode, uint32_t canary_percent, char text[POLICY_MODE_LEN]);
void policy_mode_now(const struct policy *policy, char text[POLICY_MODE_LEN]);
const char *policy_name(const struct policy *policy);

/* Compare the slots with the disks there are now: new ones join, gone or replaced ones leave. */
void policy_sync_disks(struct policy *policy, const struct disk *disks, size_t n);
void policy_tick(struct policy *policy); /* once a second */
/* From here on it is in shadow and stays there: it is about to be taken down. */
void policy_hold(struct policy *policy);
bool policy_held(const struct policy *policy);
int policy_set_mode(struct policy *policy, enum semantos_mode mode, uint32_t canary_percent,
	struct control_reply *reply);
void policy_demote(
	struct policy *policy, const char *because); /* into shadow, unless it is there */
void policy_use_model(struct policy *policy, const char *device, const void *bytes, size_t n_bytes,
	struct control_reply *reply);
int policy_view(
	struct policy *policy, bool lease_alive, struct policy_view *view); /* 0 or -ENOMEM */

uint64_t policy_tap_start(struct policy *policy, uint64_t id, const char *device, uint64_t max_rows,
	control_sink *sink, void *ctx, struct control_reply *reply);
bool policy_tap_stop(struct policy *policy, uint64_t id); /* false: no such tap here */

#endif
