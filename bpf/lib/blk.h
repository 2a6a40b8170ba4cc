/* SPDX-License-Identifier: GPL-2.0 */
/*
 * blk.h - what a BPF policy for block I/O includes: the struct_ops type and the kfuncs of semantos.ko.
 *
 * All are weak, so that an object loads where the module is not: bpf_ksym_exists() tells. `read` must be the argument
 * of select_leg() or admit() itself; the verifier refuses any other pointer.
 */
#ifndef SEMANTOS_BPF_BLK_H
#define SEMANTOS_BPF_BLK_H

#include "bpf/blk_ops.h"

/*
 * What a hook on the leg's disk would have recorded of this read: depth with it counted, the last four reads, ages.
 * Times are from the volume to the leg and back. 0, or -ERANGE.
 */
extern int semantos_blk_leg_record(struct semantos_blk_read *read, __u32 leg,
	struct semantos_block_record *record) __ksym __weak;

/* Requests in flight on a leg, reads and writes; all ones when there is no such leg. */
extern __u32 semantos_blk_leg_inflight(struct semantos_blk_read *read, __u32 leg) __ksym __weak;

/* The leg's kernel dev_t, as in semantos_slot.dev; 0 when there is no such leg. */
extern __u32 semantos_blk_leg_dev(struct semantos_blk_read *read, __u32 leg) __ksym __weak;

/* Send the read to a second leg as well if the first has not answered after so long; 0 takes that back. 0, or -ERANGE. */
extern int semantos_blk_set_hedge(
	struct semantos_blk_read *read, __u32 leg, __u32 after_us) __ksym __weak;

/* The word itself if it counts now (the agent's lease, the generation, the expiry within ttl_ns), else 0. */
extern __u64 semantos_verdict_in_force(__u64 word, __u32 generation, __u64 ttl_ns) __ksym __weak;

/*
 * The scores of this read on every leg, each by its model. One taking of the FPU for all; where it cannot be had, slower
 * and the same. 0 when results are valid, -ESTALE when the agent's lease has lapsed, -EBUSY when nested too deeply.
 */
extern int semantos_infer_legs(
	struct semantos_blk_read *read, struct semantos_infer_legs *legs) __ksym __weak;

/* The same for one record, from struct_ops, tracing and syscall programs. */
extern int semantos_infer_record(__u32 model, const struct semantos_block_record *record,
	struct semantos_infer_result *result) __ksym __weak;

/* Syscall programs only: the agent lives, for SEMANTOS_LEASE_NS from now; 0 gives its lease up. */
extern int semantos_lease_renew(__u32 renew) __ksym __weak;

#endif
