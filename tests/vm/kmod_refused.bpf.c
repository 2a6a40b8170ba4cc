// SPDX-License-Identifier: GPL-2.0
/*
 * kmod_refused.bpf.c - policies that the verifier must refuse, and one beside them that it must take; each is loaded
 * alone, by tests/vm/kmod.c.
 */
#include "bpf/lib/common.h"
#include "bpf/lib/blk.h"

SEC("struct_ops/fine")
int BPF_PROG(fine, struct semantos_blk_read *read)
{
	struct semantos_block_record record = { 0 };

	semantos_blk_leg_record(read, 0, &record);
	return record.inflight > 1 ? 1 : (int)semantos_blk_leg_inflight(read, 0);
}

/* What it is shown is read-only. */
SEC("struct_ops/writes")
int BPF_PROG(writes, struct semantos_blk_read *read)
{
	read->default_leg = 1;
	return 0;
}

/* A pointer of another type is no read. */
SEC("struct_ops/mistakes")
void BPF_PROG(mistakes, struct semantos_blk_done *done)
{
	semantos_blk_leg_inflight((void *)done, 0);
}

/* Nor is a number. */
SEC("struct_ops/invents")
int BPF_PROG(invents, struct semantos_blk_read *read)
{
	return semantos_blk_leg_dev((void *)read->id, 0);
}

/* Less memory than a record takes. */
SEC("struct_ops/too_small")
int BPF_PROG(too_small, struct semantos_blk_read *read)
{
	char little[64] = { 0 };

	return semantos_blk_leg_record(read, 0, (void *)little);
}

/* The lease is the agent's to renew, by a syscall program. */
SEC("struct_ops/renews")
int BPF_PROG(renews, struct semantos_blk_read *read)
{
	return semantos_lease_renew(1);
}

/* Nothing here may sleep. */
SEC("struct_ops.s/sleeps")
int BPF_PROG(sleeps, struct semantos_blk_read *read)
{
	return 0;
}

SEC(".struct_ops.link")
struct semantos_blk_ops policy_fine = { .select_leg = (void *)fine, .name = "fine" };
SEC(".struct_ops.link")
struct semantos_blk_ops policy_writes = { .select_leg = (void *)writes, .name = "writes" };
SEC(".struct_ops.link")
struct semantos_blk_ops policy_mistakes = { .on_complete = (void *)mistakes, .name = "mistakes" };
SEC(".struct_ops.link")
struct semantos_blk_ops policy_invents = { .select_leg = (void *)invents, .name = "invents" };
SEC(".struct_ops.link")
struct semantos_blk_ops policy_too_small = { .select_leg = (void *)too_small, .name = "too_small" };
SEC(".struct_ops.link")
struct semantos_blk_ops policy_renews = { .select_leg = (void *)renews, .name = "renews" };

char LICENSE[] SEC("license") = "GPL";
SEC(".struct_ops.link")
struct semantos_blk_ops policy_sleeps = { .select_leg = (void *)sleeps, .name = "sleeps" };
