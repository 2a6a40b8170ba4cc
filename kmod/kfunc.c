// SPDX-License-Identifier: GPL-2.0
/*
 * kfunc.c - what a BPF program may ask semantos.ko. bpf/lib/blk.h declares them for policies, and says what each does.
 *
 * A read is taken only as the verifier trusts it: the very argument of select_leg() or admit(), never a pointer made up
 * or found elsewhere. Everything else is memory of the program's own, whose size the verifier has checked. All are
 * bounded, sleep never and run in any context.
 */
#include "kmod/internal.h"
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/module.h>
#include <linux/smp.h>
#include <linux/string.h>

#ifndef KF_TRUSTED_ARGS
#define KF_TRUSTED_ARGS 0 /* the default for every kfunc since Linux 7.x */
#endif

static void fill_record(
	const struct blk_decision *d, u32 index, struct semantos_block_record *record)
{
	const struct blk_leg *leg = &d->volume->leg[index];

	memset(record, 0, sizeof(*record));
	leg_record(&leg->history, record, d->read.sectors, d->read.now_ns);
	record->head.version = SEMANTOS_WIRE_VERSION;
	record->head.bytes = sizeof(*record);
	record->head.kind = SEMANTOS_REQUEST;
	record->head.slot = index;
	record->head.ts_ns = d->read.now_ns;
	record->head.request_id = d->read.id;
	record->head.generation = READ_ONCE(leg->generation);
	record->head.cpu = raw_smp_processor_id();
	record->sector = d->read.sector;
	record->class_in_force = SEMANTOS_CLASS_DEFAULT;
}

static bool lease_alive(u64 now_ns)
{
	return semantos_lease_alive(READ_ONCE(blk_lease_ns), now_ns);
}

__bpf_kfunc_start_defs();

__bpf_kfunc int semantos_blk_leg_record(
	struct semantos_blk_read *read, u32 leg, struct semantos_block_record *record)
{
	struct blk_decision *d = blk_decision_of(read);

	if (leg >= d->volume->nr_legs)
		return -ERANGE;
	fill_record(d, leg, record);
	return 0;
}

__bpf_kfunc u32 semantos_blk_leg_inflight(struct semantos_blk_read *read, u32 leg)
{
	struct blk_decision *d = blk_decision_of(read);

	return leg < d->volume->nr_legs ? READ_ONCE(d->volume->leg[leg].history.inflight) : U32_MAX;
}

__bpf_kfunc u32 semantos_blk_leg_dev(struct semantos_blk_read *read, u32 leg)
{
	struct blk_decision *d = blk_decision_of(read);

	return leg < d->volume->nr_legs ? READ_ONCE(d->volume->leg[leg].dev) : 0;
}

__bpf_kfunc int semantos_blk_set_hedge(struct semantos_blk_read *read, u32 leg, u32 after_us)
{
	if (leg >= read->nr_legs || !(read->eligible & BIT(leg)))
		return -ERANGE;
	read->hedge_leg = leg;
	read->hedge_after_us = after_us;
	return 0;
}

__bpf_kfunc u64 semantos_verdict_in_force(u64 word, u32 generation, u64 ttl_ns)
{
	u64 now_ns = blk_now_ns();

	return lease_alive(now_ns) && semantos_verdict_fresh(word, generation, ttl_ns, now_ns)
		       ? word
		       : 0;
}

__bpf_kfunc int semantos_infer_legs(
	struct semantos_blk_read *read, struct semantos_infer_legs *legs)
{
	struct blk_decision *d = blk_decision_of(read);
	struct semantos_block_record record[SEMANTOS_BLK_MAX_LEGS];
	struct semantos_infer_result result[SEMANTOS_BLK_MAX_LEGS];
	u32 n = d->volume->nr_legs;
	int err;

	if (!lease_alive(blk_now_ns()))
		return -ESTALE;
	for (u32 i = 0; i < n; i++)
		fill_record(d, i, &record[i]);
	err = model_run(legs->model, record, n, result);
	for (u32 i = 0; i < n && !err; i++) {
		legs->score[i] = result[i].score;
		legs->threshold[i] = result[i].threshold;
		legs->error[i] = result[i].error;
		legs->generation[i] = result[i].generation;
	}
	return err;
}

__bpf_kfunc int semantos_infer_record(
	u32 model, const struct semantos_block_record *record, struct semantos_infer_result *result)
{
	if (!lease_alive(blk_now_ns()))
		return -ESTALE;
	return model_run(&model, record, 1, result);
}

__bpf_kfunc int semantos_lease_renew(u32 renew)
{
	WRITE_ONCE(blk_lease_ns, renew ? blk_now_ns() + SEMANTOS_LEASE_NS : 0);
	return 0;
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(decision_set)
BTF_ID_FLAGS(func, semantos_blk_leg_record, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, semantos_blk_leg_inflight, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, semantos_blk_leg_dev, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, semantos_blk_set_hedge, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, semantos_infer_legs, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, semantos_infer_record, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, semantos_verdict_in_force)
BTF_KFUNCS_END(decision_set)

BTF_KFUNCS_START(tracing_set)
BTF_ID_FLAGS(func, semantos_infer_record, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, semantos_verdict_in_force)
BTF_KFUNCS_END(tracing_set)

BTF_KFUNCS_START(syscall_set)
BTF_ID_FLAGS(func, semantos_infer_record, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, semantos_verdict_in_force)
BTF_ID_FLAGS(func, semantos_lease_renew)
BTF_KFUNCS_END(syscall_set)

static const struct btf_kfunc_id_set decision_kfuncs = {
	.owner = THIS_MODULE,
	.set = &decision_set,
};
static const struct btf_kfunc_id_set tracing_kfuncs = {
	.owner = THIS_MODULE,
	.set = &tracing_set,
};
static const struct btf_kfunc_id_set syscall_kfuncs = {
	.owner = THIS_MODULE,
	.set = &syscall_set,
};

int kfunc_init(void)
{
	return register_btf_kfunc_id_set(BPF_PROG_TYPE_STRUCT_OPS, &decision_kfuncs)
		       ?: register_btf_kfunc_id_set(BPF_PROG_TYPE_TRACING, &tracing_kfuncs)
		       ?: register_btf_kfunc_id_set(BPF_PROG_TYPE_SYSCALL, &syscall_kfuncs);
}
