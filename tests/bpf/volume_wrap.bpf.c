// SPDX-License-Identifier: GPL-2.0
/*
 * volume_wrap.bpf.c - what bpf/lib/volume.h remembers of reads in flight, behind a program that a test can run on several
 * CPUs at once.
 */
#include "bpf/lib/verdict.h"
/* No kernel without the module knows the types of a read: here they are plain ones. */
#undef __bpf__
#include "bpf/blk_ops.h"
#define __bpf__ 1
#include "bpf/lib/volume.h"

/* As in test_volume_rows.c. */
struct volume_command {
	__u64 id; /* of the read; the same one again and again */
	__u32 repeat;
	__u32 slot; /* whose row of leg_models says what is slow */
	__u32 slow; /* what is foreseen */
	__u32 latency_us; /* what it takes */
};

/* Global, so that the verifier looks at it once and not again in each round of the loop. */
__noinline int volume_once(__u64 id, __u32 slot, __u32 slow, __u32 latency_us)
{
	struct semantos_blk_read read = { .id = id };
	struct semantos_blk_done done = { .id = id, .latency_us = latency_us };
	struct volume_view view = { .known = 1, .slow = slow & 1 };

	view.slot_plus_1[0] = (__u16)(slot + 1);
	volume_remember(&read, &view, 0, 0, 0);
	volume_complete(&done);
	return 0;
}

static long again(__u32 round, void *ctx)
{
	struct volume_command *command = ctx;

	volume_once(command->id, command->slot, command->slow, command->latency_us);
	return 0;
}

SEC("syscall")
int volume_reads(struct volume_command *command)
{
	struct volume_command own = *command;
	/* masked, so that the upper half of the register is clear: bpf_loop() is inlined and compares all of it */
	__u32 repeat = own.repeat & 0xffffff;

	return bpf_loop(repeat, again, &own, 0) != repeat;
}

char LICENSE[] SEC("license") = "GPL";
