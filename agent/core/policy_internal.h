/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_internal.h - the insides of a policy, shared by policy*.c alone.
 */
#ifndef SEMANTOS_CORE_POLICY_INTERNAL_H
#define SEMANTOS_CORE_POLICY_INTERNAL_H

#include <stdatomic.h>
#include <time.h>
#include "agent/core/device.h"
#include "agent/core/drain.h"
#include "agent/core/policy.h"
#include "agent/core/ring.h"
#include "agent/core/trial.h"
#include "agent/core/watch.h"

#define POLICY_RING_MOST (1u << 20)
#define POLICY_RING_LEAST (256u << 10)
#define POLICY_RINGS_BYTES \
	(64u << 20) /* all CPUs together, unless POLICY_RING_LEAST asks for more */
#define POLICY_WAKE_EVERY 256 /* while we are awake a producer wakes us at every n-th record only */
#define POLICY_ROUND_NS \
	1000 /* a round with one record, without the inference: measured 0.6 to 1.2 µs */
#define POLICY_LAST_DRAINS 64 /* rounds in which the rings are emptied at detach */
#define POLICY_LOOKS 4 /* devices whose scores are looked at in one second */
#define POLICY_BAD_RECORDS \
	64 /* within a second, of another version, size or slot: its object is broken */
#define POLICY_MAX_TAPS 8
#define POLICY_MAX_UNSUPPORTED 16
#define POLICY_DECIDES 1024 /* drain times kept for percentiles, a power of two */

struct policy_tap {
	uint64_t id;
	uint32_t slot;
	uint64_t left;
	control_sink *sink;
	void *ctx;
};

struct policy {
	struct policy_env env;
	struct manifest manifest;
	struct learn_recipe recipe;
	struct bpf_policy bpf;
	struct bpf_volume *volume; /* NULL = it decides for none */
	struct watch *watch; /* of record = calls; then it has no devices */
	enum semantos_mode mode;
	uint32_t canary_percent;
	struct trial trial; /* in mode canary */
	char state_dir[PATH_MAX];

	struct ring_reader *reader;
	struct drain *drain;

	struct device *device[SEMANTOS_MAX_SLOTS]; /* by slot */
	uint32_t n_slots; /* highest used slot + 1 */
	/* devices the present drain brought records for, each once */
	bool touched[SEMANTOS_MAX_SLOTS];
	uint16_t touched_slot[SEMANTOS_MAX_SLOTS];
	uint32_t n_touched;
	uint32_t next_look; /* slot whose turn it is */
	struct disk unsupported[POLICY_MAX_UNSUPPORTED];
	uint32_t n_unsupported;
	struct policy_tap tap[POLICY_MAX_TAPS];

	float decide_us[POLICY_DECIDES];
	uint64_t n_decides;
	uint64_t
		abandoned; /* requests in flight when their device left: their outcomes never come */
	uint64_t gone_batches, gone_stored, gone_stale; /* of devices that left */
	uint64_t refused_before; /* bad records up to the last tick */
	bool held; /* ejected, and about to be taken down */
	atomic_bool sched_on; /* its scheduler is attached; written by the holder of `change` */
	uint64_t sched_ends; /* times the kernel ended it, as far as that was looked at */
	uint32_t sched_generation; /* of the net in the kernel */
	char sched_note[160]; /* how it ended the last time, or why it is not on */
	struct timespec since;
};

/* policy_watch.c */
int policy_watch_open(struct policy *policy, char *error, size_t error_len);
void policy_watch_record(
	void *policy, const struct semantos_block_record *record); /* ring_record_fn */
void policy_watch_mode(struct policy *policy); /* its mode was changed */
int policy_watch_view(const struct policy *policy, struct policy_view *view);
uint64_t policy_watch_unaccounted(struct policy *policy);

void policy_try(struct policy *policy); /* once a second: does the canary decide something? */
/* policy_volume.c: the slot's disk is judged by this model from now on, where volumes are decided; NULL = by none */
void policy_volume_model(struct policy *policy, uint32_t slot, const struct model *model);
/* Half a sentence on what came of deciding for volumes; "" where it decides for none. */
void policy_volume_note(const struct policy *policy, char *text, size_t len);
/* policy_devices.c */
void policy_add_device(struct policy *policy, const struct disk *disk);
void policy_remove_device(struct policy *policy, uint32_t slot);
/* policy_sched.c */
bool policy_is_sched(const struct policy *policy);
void policy_sched_model(
	struct policy *policy, const struct model *model); /* NULL: nothing changes */
void policy_sched_tick(struct policy *policy);
void policy_sched_sync(struct policy *policy, bool leave); /* its one device: all CPUs */
void policy_sched_note(const struct policy *policy, char *text, size_t len);
uint64_t policy_sched_audit(const struct policy *policy);
int policy_push_row(struct policy *policy); /* mode, TTL and budget into the kernel's row */

#endif
