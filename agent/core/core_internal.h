/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core_internal.h - the running agent's insides, shared by core*.c and control.c alone.
 */
#ifndef SEMANTOS_CORE_CORE_INTERNAL_H
#define SEMANTOS_CORE_CORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include "agent/core/bpf_object.h"
#include "agent/core/control.h"
#include "agent/core/core.h"
#include "agent/core/disk.h"
#include "agent/core/guard.h"
#include "agent/core/loop.h"
#include "agent/core/policy.h"
#include "agent/core/trainer.h"
#include "agent/core/tune.h"

#define CORE_LEASE_RENEW_NS 25000000ULL /* three renewals within SEMANTOS_LEASE_NS */
#define CORE_LEASE_REST \
	4 /* renewals without a record, longer than any TTL: then nothing is decided, and it may lapse */
/* BPF run-time statistics are on for one second in so many: turning them on and off rewrites kernel code. */
#define CORE_STATS_EVERY_S 60
#define CORE_STATS_FIRST_S 3

struct core {
	struct core_options options; /* every path filled in */
	struct loop *loop;
	struct trainer *trainer;
	struct guard *guard;
	struct tuner *tuner;
	atomic_bool upgrade; /* the next agent takes over what is in force */
	struct bpf_lease lease;
	bool lease_complained, lease_running;
	uint32_t quiet_renewals; /* since the last record */
	int lock_fd, signal_fd, uevent_fd, stats_fd;
	struct loop_source *lease_timer, *tick_timer, *signal_source, *uevent_source, *rescan_timer;
	uint64_t ticks;

	/* core_module.c; the loop's thread but for module_done and, under `change`, module_complained */
	pthread_t module_thread;
	bool module_busy, module_missed;
	atomic_bool module_done, module_complained;
	uint64_t module_next; /* tick of the next try */

	/* core_sched.c; the loop's thread but for sched_done and, under `change`, the rest */
	pthread_t sched_thread;
	bool sched_busy;
	atomic_bool sched_done;
	uint64_t sched_off_ns; /* when a scheduler of ours was taken off the last time; 0 = never */

	pthread_mutex_t change; /* held across attach and detach: one change of the set at a time */
	struct policy *
		policy[CONTROL_MAX_POLICIES]; /* loop's thread, or holder of `change` for reading */
	uint32_t n_policies;
	struct disk *disks; /* [DISK_MAX] the last scan */
	size_t n_disks;
	atomic_uint_fast64_t unaccounted; /* records the audits at detach could not account for */
	uint64_t next_tap;
	struct timespec since;
};

void core_active(void *core); /* policy_env.active */
void core_eject(void *core, struct policy *policy, const char *kind, const char *reason,
	const char *evidence); /* policy_env.eject */
/* Into the journal, without waiting for it; policy_env.noted. Any thread. */
void core_note(void *core, const char *policy, const char *from, const char *to,
	const char *because, const char *evidence, const char *expected);
/* policy_env.apply and undo: through the journal; not on the loop's thread */
void core_apply(void *core, const struct safety_request *request, struct control_reply *reply);
void core_undo(void *core, uint64_t change, const char *because, struct control_reply *reply);
void core_unrecorded(void *core, const char *policy); /* guard_options.unrecorded */
void core_take_down(void *core, const char *policy); /* guard_options.eject */

/* core_module.c. Once a second, on the loop's thread; before core_run() returns. */
void core_module_tick(struct core *core);
void core_module_end(struct core *core);
/* With `change` held, not on the loop's thread: the policy decides for volumes, if it wants to and the module is there. */
int core_volume_up(struct core *core, struct policy *policy);

/*
 * core_sched.c. Once a second, on the loop's thread: schedulers that no longer fit their policy's mode are taken off on a
 * thread of its own. core_sched_match: with `change` held, not on the loop's thread; 0 or -errno with one sentence.
 */
void core_sched_tick(struct core *core);
void core_sched_end(struct core *core);
int core_sched_match(struct core *core, struct policy *policy, char *error, size_t error_len);
void core_sched_left(
	struct core *core); /* a policy whose scheduler was on was taken down; with `change` held */

/* control.c, with `change` held: hooks off, out of the loop, audited, closed. 0 or -errno of loop_call(). */
int control_take_down(struct core *core, struct policy *policy);
/* Find a policy on the loop's thread; -ENOENT. */
int control_find(struct core *core, const char *name, struct policy **policy);
struct policy *core_policy(struct core *core, const char *name); /* NULL when not attached */

#endif
