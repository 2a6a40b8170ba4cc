/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * shadow.h - the kernel's own answers: each time its load balancer asks can_migrate_task(), what it saw and what it said.
 *
 * Question and answer are known at once, so a request is followed by its outcome. Nothing is changed. Candidates that run
 * at the moment, or may not run on the destination at all, are left out: no scheduler asks about those. Arguments of an
 * fexit program are untrusted: all is read by probing.
 */
#ifndef SEMANTOS_MLLB_SHADOW_H
#define SEMANTOS_MLLB_SHADOW_H

#include "policies/mllb/mllb.h"

extern const int numa_node __ksym __weak; /* of each CPU */

static __always_inline __u32 saturated_us(__s64 ns)
{
	return ns < 0 ? 0 : ns_to_us(ns);
}

/* Send s->record as a request and its outcome; answer: what the kernel said. */
static __always_inline void shadow_send(struct mllb_scratch *s, __u32 answer, __u64 now)
{
	const struct mlp_model *net = mlp_model_in_force();
	struct semantos_sched_record *record = &s->record;
	struct semantos_policy *pol = policy_row();
	struct semantos_slot *slot = cpus_slot();
	struct semantos_counters *row = counter_row();
	struct mllb_cpu *mine = cpu_row(bpf_get_smp_processor_id());
	enum ring_result sent;

	if (!pol || !slot || !row || !mine || !slot->in_use)
		return;
	count_in(row, SEMANTOS_C_REQUESTS);
	if (!budget_take(&mine->budget, pol->budget_per_s, now)) {
		count_in(row, SEMANTOS_C_DROP_OVER_BUDGET);
		return;
	}
	record->one = 1;
	record->cold_us = saturated_us(record->delta_ns);
	record->op = SEMANTOS_OP_READ;
	record->history_len = SEMANTOS_HISTORY;
	record->class_in_force = SEMANTOS_CLASS_DEFAULT;
	record->confidence_in_force = 0;
	if (net) {
		record->class_in_force = net_says_yes(s, net);
		record->confidence_in_force = 255;
	}
	record->head.kind = SEMANTOS_REQUEST;
	record->head.flags = 0;
	record->head.slot = 0;
	record->head.ts_ns = now;
	record->head.generation = slot->generation & SEMANTOS_GENERATION_MASK;
	record->head.request_id = ++mine->sequence << 12 | (bpf_get_smp_processor_id() & 0xfff);
	record->answer = 0;
	sent = ring_send((struct semantos_block_record *)record, &mine->since_wake);
	if (sent != RING_SENT) {
		count_in(row, SEMANTOS_C_DROP_RING_FULL);
		if (sent == RING_MISSING)
			count_in(row, SEMANTOS_C_RING_MISSING);
		return;
	}
	count_in(row, SEMANTOS_C_REQUESTS_SUBMITTED);
	count_in(row, SEMANTOS_C_OUTCOMES);
	record->head.kind = SEMANTOS_OUTCOME;
	record->answer = answer;
	sent = ring_send((struct semantos_block_record *)record, &mine->since_wake);
	count_in(row, sent == RING_SENT ? SEMANTOS_C_OUTCOMES_SUBMITTED
					: SEMANTOS_C_DROP_OUTCOME_RING_FULL);
}

static __always_inline int node_of(__u32 cpu)
{
	const int *node = NULL;

	if (bpf_ksym_exists(&numa_node))
		node = bpf_per_cpu_ptr(&numa_node, cpu);
	return node ? *node : 0;
}

/* NUMA faults of the destination's node less the source's: the first four numbers of each node are of memory. */
static __always_inline __s32 faults_apart(
	const unsigned long *faults, __u32 src_node, __u32 dst_node)
{
	unsigned long src[2] = { 0 }, dst[2] = { 0 };

	if (!faults || src_node == dst_node)
		return 0;
	bpf_probe_read_kernel(src, sizeof(src), faults + 2 * src_node);
	bpf_probe_read_kernel(dst, sizeof(dst), faults + 2 * dst_node);
	return (__s32)(dst[0] + dst[1]) - (__s32)(src[0] + src[1]);
}

static __always_inline void shadow_numa(
	struct semantos_sched_record *record, struct task_struct *p, struct rq *src_rq)
{
	__u32 src_node = node_of(record->src_cpu), dst_node = node_of(record->dst_cpu);
	int preferred = -1;

	record->src_preferred_nr = record->total_faults = record->delta_faults = 0;
	if (src_node == dst_node)
		record->flags |= SEMANTOS_SCHED_SAME_NODE;
	if (!bpf_core_field_exists(p->numa_preferred_nid))
		return;
	preferred = BPF_CORE_READ(p, numa_preferred_nid);
	record->flags |= preferred == (int)src_node ? SEMANTOS_SCHED_PREFER_SRC : 0;
	record->flags |= preferred == (int)dst_node ? SEMANTOS_SCHED_PREFER_DST : 0;
	record->src_preferred_nr = BPF_CORE_READ(src_rq, nr_preferred_running);
	record->total_faults = BPF_CORE_READ(p, total_numa_faults);
	record->delta_faults = faults_apart(BPF_CORE_READ(p, numa_faults), src_node, dst_node);
}

static __always_inline bool allowed_on(struct task_struct *p, __u32 cpu)
{
	const cpumask_t *mask = BPF_CORE_READ(p, cpus_ptr);
	unsigned long word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), (const unsigned long *)mask + cpu / 64);
	return word >> (cpu & 63) & 1;
}

/* The candidate as the kernel sees it; false = no scheduler asks about such a one. */
static __always_inline bool shadow_fill(
	struct semantos_sched_record *record, struct task_struct *p, struct lb_env *env)
{
	struct rq *src_rq = BPF_CORE_READ(env, src_rq), *dst_rq = BPF_CORE_READ(env, dst_rq);
	struct sched_domain *sd = BPF_CORE_READ(env, sd);
	__u32 idle = BPF_CORE_READ(env, idle);

	record->src_cpu = BPF_CORE_READ(env, src_cpu);
	record->dst_cpu = BPF_CORE_READ(env, dst_cpu);
	if (BPF_CORE_READ(p, on_cpu) || !allowed_on(p, record->dst_cpu))
		return false;
	record->src_nr = BPF_CORE_READ(src_rq, nr_running);
	record->dst_nr = BPF_CORE_READ(dst_rq, nr_running);
	record->delta_ns = BPF_CORE_READ(src_rq, clock_task) - BPF_CORE_READ(p, se.exec_start);
	record->src_load = BPF_CORE_READ(src_rq, cfs.avg.load_avg);
	record->dst_load = BPF_CORE_READ(dst_rq, cfs.avg.load_avg);
	record->nr_fails = BPF_CORE_READ(sd, nr_balance_failed);
	record->cache_nice_tries = BPF_CORE_READ(sd, cache_nice_tries);
	record->pid = BPF_CORE_READ(p, pid);
	record->flags = 0;
	if (idle == bpf_core_enum_value(enum cpu_idle_type, CPU_IDLE))
		record->flags = SEMANTOS_SCHED_IDLE;
	else if (idle == bpf_core_enum_value(enum cpu_idle_type, CPU_NEWLY_IDLE))
		record->flags = SEMANTOS_SCHED_NEWLY_IDLE;
	if (BPF_CORE_READ(src_rq, cfs.next) == &p->se)
		record->flags |= SEMANTOS_SCHED_BUDDY_HOT;
	shadow_numa(record, p, src_rq);
	return true;
}

static __always_inline void shadow_answer(
	struct task_struct *p, struct lb_env *env, int answer, __u64 now)
{
	struct mllb_scratch *s = scratch_of(MLLB_SHADOW);

	count(SEMANTOS_C_EVENTS);
	if (!s || !shadow_fill(&s->record, p, env))
		return;
	count(SEMANTOS_C_READS);
	shadow_send(s, answer != 0, now);
}

#endif
