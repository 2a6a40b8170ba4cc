/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * control.h - the agent's only way to change what the kernel side owns: the slot of all CPUs, and the policy row.
 *
 * The commands are those of bpf/wire.h; every field is checked here, and the stores happen in kernel context.
 */
#ifndef SEMANTOS_MLLB_CONTROL_H
#define SEMANTOS_MLLB_CONTROL_H

#include "policies/mllb/mllb.h"

SEC("syscall")
int control(struct semantos_control *command)
{
	struct semantos_policy *pol = policy_row();
	struct semantos_slot *slot = cpus_slot();

	if (!pol || !slot)
		return CTL_ENOENT;
	if (command->op == SEMANTOS_CTL_POLICY)
		return policy_write(command, pol);
	if (command->slot)
		return CTL_ENOENT;
	switch (command->op) {
	case SEMANTOS_CTL_SLOT_ADD:
		if (slot->in_use)
			return CTL_EBUSY;
		slot->obey = slot->choose = 0;
		__sync_fetch_and_add(&slot->generation, 1);
		__sync_lock_test_and_set(&slot->in_use, 1);
		return 0;
	case SEMANTOS_CTL_SLOT_REMOVE:
		if (!slot->in_use)
			return CTL_ENOENT;
		slot->in_use = 0;
		__sync_fetch_and_add(&slot->generation, 1);
		return 0;
	case SEMANTOS_CTL_SLOT_OBEY:
		if (command->mode > (SEMANTOS_OBEY | SEMANTOS_CHOOSE))
			return CTL_EINVAL;
		slot->obey = !!(command->mode & SEMANTOS_OBEY);
		return 0;
	case SEMANTOS_CTL_SLOT_BUMP:
		__sync_fetch_and_add(&slot->generation, 1);
		return 0;
	}
	return CTL_EINVAL;
}

#endif
