// SPDX-License-Identifier: GPL-2.0
/*
 * kmod.bpf.c - the policies that tests/vm/kmod.c attaches to semantos.ko: two that always name one leg, one that needs
 * the agent's lease, one that answers what it is told to, one that asks the models.
 */
#include "bpf/lib/common.h"
#include "bpf/lib/blk.h"
#include "bpf/lib/verdict.h"

long long told; /* what `told` answers */
int told_admit;
unsigned long long asked_first, asked_last, asked_told, completed;
unsigned long long last_ns; /* time of the latest decision of `last` */
unsigned long long view_wrong; /* views that contradict themselves */
int inferred; /* what semantos_infer_legs() returned */
long long score[SEMANTOS_BLK_MAX_LEGS];
struct semantos_block_record record[SEMANTOS_BLK_MAX_LEGS];
unsigned long long recorded; /* asked to keep one decision's records: 1 = please, 2 = kept */

static __always_inline void check_view(struct semantos_blk_read *read)
{
	if (!read->id || !read->now_ns || read->nr_legs > SEMANTOS_BLK_MAX_LEGS ||
		!(read->eligible & 1U << (read->default_leg & 31)))
		__sync_fetch_and_add(&view_wrong, 1);
}

SEC("struct_ops/first")
int BPF_PROG(first, struct semantos_blk_read *read)
{
	__sync_fetch_and_add(&asked_first, 1);
	check_view(read);
	return read->eligible & 1 ? 0 : SEMANTOS_BLK_DEFAULT;
}

SEC("struct_ops/last")
int BPF_PROG(last, struct semantos_blk_read *read)
{
	__u32 leg = read->nr_legs - 1;

	__sync_fetch_and_add(&asked_last, 1);
	last_ns = read->now_ns;
	check_view(read);
	return read->eligible & 1U << (leg & 31) ? (int)leg : SEMANTOS_BLK_DEFAULT;
}

SEC("struct_ops/answers")
int BPF_PROG(answers, struct semantos_blk_read *read)
{
	__sync_fetch_and_add(&asked_told, 1);
	/* A second leg that may be the first, or not eligible. */
	semantos_blk_set_hedge(read, read->id >> 12 & 7, 100);
	return (int)told;
}

SEC("struct_ops/admits")
int BPF_PROG(admits, struct semantos_blk_read *read, __u32 leg)
{
	return told_admit;
}

SEC("struct_ops/completes")
void BPF_PROG(completes, struct semantos_blk_done *done)
{
	__sync_fetch_and_add(&completed, 1);
	if (!done->id || done->leg >= SEMANTOS_BLK_MAX_LEGS)
		__sync_fetch_and_add(&view_wrong, 1);
}

SEC("struct_ops/infers")
int BPF_PROG(infers, struct semantos_blk_read *read)
{
	struct semantos_infer_legs legs = { .model = { 0, 1, 2, 3, 4, 5, 6, 7 } };
	int err = semantos_infer_legs(read, &legs);

	if (recorded == 1) {
		inferred = err;
		for (__u32 i = 0; i < SEMANTOS_BLK_MAX_LEGS && i < read->nr_legs; i++) {
			score[i] = legs.error[i] ? -1 : legs.score[i];
			semantos_blk_leg_record(read, i, &record[i]);
		}
		recorded = 2;
	}
	return SEMANTOS_BLK_DEFAULT;
}

SEC(".struct_ops.link")
struct semantos_blk_ops policy_first = {
	.select_leg = (void *)first,
	.on_complete = (void *)completes,
	.flags = SEMANTOS_BLK_F_NO_LEASE,
	.version = SEMANTOS_BLK_VERSION,
	.name = "first",
};

SEC(".struct_ops.link")
struct semantos_blk_ops policy_last = {
	.select_leg = (void *)last,
	.flags = SEMANTOS_BLK_F_NO_LEASE,
	.name = "last",
};

SEC(".struct_ops.link")
struct semantos_blk_ops policy_leased = {
	.select_leg = (void *)last,
	.name = "leased",
};

SEC(".struct_ops.link")
struct semantos_blk_ops policy_told = {
	.select_leg = (void *)answers,
	.admit = (void *)admits,
	.flags = SEMANTOS_BLK_F_NO_LEASE,
	.name = "told",
};

SEC(".struct_ops.link")
struct semantos_blk_ops policy_infers = {
	.select_leg = (void *)infers,
	.name = "infers",
};

SEC(".struct_ops.link")
struct semantos_blk_ops policy_bare = {
	.name = "bare",
};

unsigned long long word, word_ttl_ns, word_judged;
unsigned int word_generation;

SEC("syscall")
int judge(void *ctx)
{
	word_judged = semantos_verdict_in_force(word, word_generation, word_ttl_ns);
	return 0;
}

SEC("syscall")
int renew(void *ctx)
{
	return semantos_lease_renew(1);
}

SEC("syscall")
int give_up(void *ctx)
{
	return semantos_lease_renew(0);
}

char LICENSE[] SEC("license") = "GPL";
