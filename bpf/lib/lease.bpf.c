// SPDX-License-Identifier: GPL-2.0
/*
 * lease.bpf.c - renews the agent's lease. The agent runs it a few times within SEMANTOS_LEASE_NS; the clock is read
 * here, in the kernel, so what the agent believes about time does not matter. semantos.ko keeps a lease of its own,
 * which it looks at before it asks a policy; where the module was there when this was loaded, it is told as well. Whether
 * it was only this program knows: the module may come or leave while it is being loaded.
 */
#include "bpf/lib/lease.h"
#include "bpf/lib/blk.h"

struct lease_command {
	__u32 what; /* 0 = give the lease up at once, 1 = renew it, 2 = only answer */
	__u32 knows_module; /* the answer */
};

SEC("syscall")
int lease_renew(struct lease_command *command)
{
	__u32 zero = 0;
	struct semantos_lease *row = bpf_map_lookup_elem(&lease, &zero);

	if (!row)
		return -2; /* -ENOENT */
	command->knows_module = !!bpf_ksym_exists(semantos_lease_renew);
	if (command->what > 1)
		return 0;
	if (bpf_ksym_exists(semantos_lease_renew))
		semantos_lease_renew(command->what);
	if (!command->what) {
		row->expires_ns = 0;
		return 0;
	}
	row->version = SEMANTOS_WIRE_VERSION;
	row->agent_pid = bpf_get_current_pid_tgid() >> 32;
	row->renewals++;
	row->expires_ns = bpf_ktime_get_boot_ns() + SEMANTOS_LEASE_NS;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
