// SPDX-License-Identifier: GPL-2.0
/*
 * lease.bpf.c - renews the agent's lease. The agent runs it a few times within SEMANTOS_LEASE_NS; the clock is read
 * here, in the kernel, so what the agent believes about time does not matter. semantos.ko keeps a lease of its own,
 * which it looks at before it asks a policy; where the module was there when this was loaded, it is told as well.
 */
#include "bpf/lib/lease.h"
#include "bpf/lib/blk.h"

struct lease_command {
	__u32 renew; /* 0 = give the lease up at once */
	__u32 reserved;
};

SEC("syscall")
int lease_renew(struct lease_command *command)
{
	__u32 zero = 0;
	struct semantos_lease *row = bpf_map_lookup_elem(&lease, &zero);

	if (!row)
		return -2; /* -ENOENT */
	if (bpf_ksym_exists(semantos_lease_renew))
		semantos_lease_renew(command->renew);
	if (!command->renew) {
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
