/* SPDX-License-Identifier: GPL-2.0 */
/*
 * block_control.h - the agent's only way to change what the kernel side owns: slots and the policy row.
 *
 * Run by BPF_PROG_TEST_RUN, so every field is checked here and the stores happen in kernel context. A slot's
 * generation moves on every change that makes older verdicts meaningless.
 */
#ifndef SEMANTOS_BPF_BLOCK_CONTROL_H
#define SEMANTOS_BPF_BLOCK_CONTROL_H

#include "bpf/hooks/block.h"

#define CTL_MAX_CPUS 8192

static long control_clear_cpu(__u64 cpu, __u32 *index)
{
	struct block_cpu *there = bpf_map_lookup_percpu_elem(&history_cpu, index, (__u32)cpu);

	if (!there)
		return 1; /* past the last CPU */
	__builtin_memset(there, 0, sizeof(*there));
	return 0;
}

static __always_inline int control_slot_add(const struct semantos_control *command,
	struct semantos_slot *slot, struct semantos_policy *pol)
{
	__u32 index = command->slot, dev = command->dev;
	struct block_shared *shared = bpf_map_lookup_elem(&history, &index);

	if (slot->in_use)
		return CTL_EBUSY;
	if (!shared || !bpf_map_lookup_elem(&history_cpu, &index) || !dev ||
		!command->queue_depth || !command->queues || command->queue_depth > 65536 ||
		command->queues > 4096)
		return CTL_EINVAL;
	__builtin_memset(shared, 0, sizeof(*shared));
	bpf_loop(CTL_MAX_CPUS, control_clear_cpu, &index, 0);
	slot->dev = dev;
	slot->diskseq = command->diskseq;
	slot->queue_depth = command->queue_depth;
	slot->queues = command->queues;
	slot->obey = slot->choose = 0;
	__sync_fetch_and_add(&slot->generation, 1);
	if (bpf_map_update_elem(&devices, &dev, &index, BPF_ANY))
		return CTL_EINVAL;
	__sync_lock_test_and_set(&slot->in_use, 1);
	__sync_fetch_and_add(&pol->epoch, 1);
	return 0;
}

static __always_inline int control_slot_remove(
	struct semantos_slot *slot, __u32 index, struct semantos_policy *pol)
{
	__u32 dev = slot->dev, *owner;

	if (!dev)
		return CTL_ENOENT;
	slot->in_use = 0;
	__sync_fetch_and_add(&slot->generation, 1);
	owner = bpf_map_lookup_elem(&devices, &dev);
	if (owner && *owner == index)
		bpf_map_delete_elem(&devices, &dev);
	slot->dev = 0;
	__sync_fetch_and_add(&pol->epoch, 1);
	return 0;
}

SEC("syscall")
int control(struct semantos_control *command)
{
	struct semantos_policy *pol = policy_row();
	__u32 index = command->slot;
	struct semantos_slot *slot;

	if (!pol)
		return CTL_ENOENT;
	if (command->op == SEMANTOS_CTL_POLICY)
		return policy_write(command, pol);
	slot = bpf_map_lookup_elem(&slots, &index);
	if (!slot)
		return CTL_ENOENT;
	switch (command->op) {
	case SEMANTOS_CTL_SLOT_ADD:
		return control_slot_add(command, slot, pol);
	case SEMANTOS_CTL_SLOT_REMOVE:
		return control_slot_remove(slot, index, pol);
	case SEMANTOS_CTL_SLOT_OBEY:
		if (command->mode > (SEMANTOS_OBEY | SEMANTOS_CHOOSE))
			return CTL_EINVAL;
		slot->choose = !!(command->mode & SEMANTOS_CHOOSE);
		slot->obey = !!(command->mode & SEMANTOS_OBEY);
		return 0;
	case SEMANTOS_CTL_SLOT_BUMP:
		__sync_fetch_and_add(&slot->generation, 1);
		__sync_fetch_and_add(&pol->epoch, 1);
		return 0;
	}
	return CTL_EINVAL;
}

#endif
