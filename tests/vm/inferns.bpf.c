// SPDX-License-Identifier: GPL-2.0
/*
 * inferns.bpf.c - how long semantos.ko's inference takes by the kernel's clock: INFERNS_CALLS calls for one record, and the
 * same loop with the kfunc left out. For tests/vm/inferns.c.
 */
#include "bpf/lib/common.h"
#include "bpf/lib/blk.h"

#define INFERNS_CALLS 64

struct inferns_command {
	__s32 error; /* out: of the last call */
	__u32 calls; /* out */
	__u64 took_ns, empty_ns; /* out: of all calls; of the loop without them */
};

struct semantos_block_record asked;
__u32 model; /* its number */
long long sum;

SEC("syscall")
int inferns(struct inferns_command *command)
{
	struct semantos_infer_result result = {};
	__u64 begin, between;
	__u32 i;

	command->error = semantos_lease_renew(1);
	command->calls = INFERNS_CALLS;
	begin = bpf_ktime_get_ns();
	bpf_for (i, 0, INFERNS_CALLS) {
		command->error |= semantos_infer_record(model, &asked, &result);
		command->error |= result.error;
		sum += result.score;
	}
	between = bpf_ktime_get_ns();
	bpf_for (i, 0, INFERNS_CALLS) {
		command->error |= result.error;
		sum += result.score;
	}
	command->empty_ns = bpf_ktime_get_ns() - between;
	command->took_ns = between - begin;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
