/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * mllb.h - tables of the policy's object, and the one decision: may this task be pulled?
 *
 * Who decides it is settled here and counted: the net, or the plain rule with the reason why not the net. The lease, slices of
 * canary and other classes' times on a CPU are in boot time, as the agent's; all others by the clock of run queues. A row of `cpus` is written by its own CPU, but for fields that say otherwise; others read.
 */
#ifndef SEMANTOS_MLLB_H
#define SEMANTOS_MLLB_H

#include "bpf/lib/verdict.h"
#include "bpf/lib/ring.h"
#include "bpf/lib/budget.h"
#include "bpf/lib/sched_features.h"
#include "bpf/sched_wire.h"

#define MLLB_NICE_TRIES \
	1 /* looks that moved nothing before a hot task is moved, as the kernel bears it */
#define MLLB_IDLE_MOST (2 * SCHED_HOT_NS)
#define MLLB_SLICE_SHIFT 27 /* canary: slices of 134 ms belong to one group or the other */

struct mllb_cpu {
	__u64 vnow; /* virtual time of this CPU's queue: never back */
	__u64 curr_at; /* since when the running task runs, 0 = none of ours does */
	__u64 curr_vtime; /* its virtual time then */
	__u64 curr_weight; /* its weight, 16 bits behind the point */
	__s64 load; /* weights of its runnable tasks; any CPU adds, atomically */
	__u64 away_at; /* another scheduling class has it, since; 0 = not */
	__u64 back_at, away_ns; /* when it last gave it back, after how long */
	__u64 looked_at; /* last look for a task while it was busy */
	__u32 fails; /* looks in a row that moved nothing */
	__u32 offline;
	__u32 away_pid;
	__u32 since_wake; /* of its ring */
	__u64 sequence; /* of its records */
	char away[16];
	struct budget_local budget;
	__u64 rescued_at; /* last look for queues that nobody serves */
	__u64 idle_since; /* 0 = it is not */
	__u64 mean_idle; /* moving, of how long it is idle at a time; never above MLLB_IDLE_MOST */
};

/* As many rows as CPUs are possible: the agent sets it before it loads. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct mllb_cpu);
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct semantos_sched_row);
} sched_counts SEC(".maps");

/* Of the scheduler and of the shadow's hook: neither runs twice at once on a CPU, as both hold its run queue's lock. */
enum mllb_who { MLLB_SCHEDULER, MLLB_SHADOW, MLLB_WHO };

struct mllb_scratch {
	struct semantos_sched_record record;
	struct mlp_vectors v;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MLLB_WHO);
	__type(key, __u32);
	__type(value, struct mllb_scratch);
} scratch SEC(".maps");

static __always_inline struct mllb_cpu *cpu_row(__s32 cpu)
{
	__u32 index = cpu;

	return bpf_map_lookup_elem(&cpus, &index);
}

static __always_inline struct semantos_sched_row *count_row(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sched_counts, &zero);
}

static __always_inline struct mllb_scratch *scratch_of(enum mllb_who who)
{
	__u32 index = who;

	return bpf_map_lookup_elem(&scratch, &index);
}

/* Slot 0 stands for all CPUs together: there is one model, and one history of it. */
static __always_inline struct semantos_slot *cpus_slot(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&slots, &zero);
}

static __always_inline bool lease_live(__u64 now)
{
	__u32 zero = 0;
	struct semantos_lease *proof = bpf_map_lookup_elem(&lease, &zero);

	return proof && semantos_lease_alive(*(volatile __u64 *)&proof->expires_ns, now);
}

/* Is what begins now the net's to decide, in mode canary? */
static __always_inline bool slice_treated(const struct semantos_policy *pol, __u64 now)
{
	return semantos_in_canary(now >> MLLB_SLICE_SHIFT, pol->canary_percent);
}

/* The counter that says why the net does not decide, or SEMANTOS_S_NET. */
static __always_inline __u32 who_decides(const struct mlp_model *net, __u64 now)
{
	struct semantos_policy *pol = policy_row();
	struct semantos_slot *slot = cpus_slot();

	if (!pol || !slot || pol->mode == SEMANTOS_SHADOW)
		return SEMANTOS_S_PLAIN_SHADOW;
	if (!lease_live(now))
		return SEMANTOS_S_PLAIN_NO_LEASE;
	if (!net)
		return SEMANTOS_S_PLAIN_NO_MODEL;
	if (!slot->obey)
		return SEMANTOS_S_PLAIN_NO_SIGNAL;
	if (pol->mode == SEMANTOS_CANARY && !slice_treated(pol, now))
		return SEMANTOS_S_PLAIN_CONTROL;
	return SEMANTOS_S_NET;
}

/* What the net says of s->record. */
static __always_inline bool net_says_yes(struct mllb_scratch *s, const struct mlp_model *net)
{
	s->v.x[MLP_WIDTH - 1] = 0;
	sched_features(&s->record, s->v.x);
	mlp_decide(net, &s->v);
	return sched_says_yes(&s->v);
}

/* May the task of s->record be pulled? */
static __always_inline bool mllb_decide(
	struct mllb_scratch *s, struct semantos_sched_row *counts, __u64 now)
{
	const struct mlp_model *net = mlp_model_in_force();
	__u32 who = who_decides(net, now);
	bool yes;

	if (who >= SEMANTOS_S_MAX)
		return false;
	counts->count[who]++;
	if (who != SEMANTOS_S_NET || !net)
		return sched_plain(&s->record);
	yes = net_says_yes(s, net);
	counts->count[yes ? SEMANTOS_S_NET_YES : SEMANTOS_S_NET_NO]++;
	return yes;
}

#endif
