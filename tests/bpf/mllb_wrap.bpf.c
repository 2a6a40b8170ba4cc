// SPDX-License-Identifier: GPL-2.0
/*
 * mllb_wrap.bpf.c - mllb's object around a program that a test can run: decide, or send what the kernel is said to have
 * answered. Its scheduler is here as well, so that the agent's loader takes it for what it is.
 */
#include "policies/mllb/control.h"
#include "policies/mllb/shadow.h"
#include "policies/mllb/queue.h"

struct mllb_command {
	struct semantos_sched_record record;
	__u64 now_ns; /* 0 = the clock's */
	__u32 what; /* 0 decide, 1 send, 2 what the net alone says */
	__u32 answer; /* in: of the kernel; out: yes */
	__s64 output; /* out: of the net */
	__u64 reserved;
};

SEC("syscall")
int wrap(struct mllb_command *command)
{
	struct mllb_scratch *s = scratch_of(MLLB_SHADOW);
	struct semantos_sched_row *counts = count_row();
	const struct mlp_model *net = mlp_model_in_force();
	__u64 now = command->now_ns ? command->now_ns : bpf_ktime_get_boot_ns();

	if (!s || !counts)
		return -2;
	__builtin_memcpy(&s->record, &command->record, sizeof(s->record));
	if (command->what == 0) {
		counts->count[SEMANTOS_S_CANDIDATES]++;
		command->answer = mllb_decide(s, counts, now);
	} else if (command->what == 1) {
		shadow_send(s, command->answer, now);
	} else {
		if (!net)
			return -2;
		command->answer = net_says_yes(s, net);
	}
	command->output = s->v.x[0];
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
