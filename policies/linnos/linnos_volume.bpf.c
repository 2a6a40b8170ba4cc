// SPDX-License-Identifier: GPL-2.0
/*
 * linnos_volume.bpf.c - linnos decides which leg of a replica volume serves a read (docs/kmod.md).
 *
 * The decision is bpf/lib/volume.h; the agent attaches the one of the two that `decide` in policy.conf names, where
 * semantos.ko is loaded.
 */
#include "bpf/lib/volume.h"

SEC("struct_ops/select_inline")
int BPF_PROG(select_inline, struct semantos_blk_read *read)
{
	return volume_select(read, true);
}

SEC("struct_ops/select_async")
int BPF_PROG(select_async, struct semantos_blk_read *read)
{
	return volume_select(read, false);
}

SEC("struct_ops/admit_read")
int BPF_PROG(admit_read, struct semantos_blk_read *read, __u32 leg)
{
	return volume_admit(read, leg);
}

SEC("struct_ops/read_done")
void BPF_PROG(read_done, struct semantos_blk_done *done)
{
	volume_complete(done);
}

SEC(".struct_ops.link")
struct semantos_blk_ops decide_inline = {
	.select_leg = (void *)select_inline,
	.admit = (void *)admit_read,
	.on_complete = (void *)read_done,
	.version = SEMANTOS_BLK_VERSION,
	.name = "linnos",
};

SEC(".struct_ops.link")
struct semantos_blk_ops decide_async = {
	.select_leg = (void *)select_async,
	.admit = (void *)admit_read,
	.on_complete = (void *)read_done,
	.version = SEMANTOS_BLK_VERSION,
	.name = "linnos",
};

char LICENSE[] SEC("license") = "GPL";
