// SPDX-License-Identifier: GPL-2.0
/*
 * mlp_wrap.bpf.c - the integer net of bpf/lib/mlp.h behind a program that a test can run, once or `repeat` times.
 */
#include "bpf/lib/common.h"
#include "bpf/lib/mlp.h"

struct mlp_command {
	__s64 x[MLP_WIDTH]; /* in: inputs; out: outputs */
	__u64 elapsed_ns; /* out */
	__u32 repeat;
	__u32 class; /* out */
	__u32 generation; /* out: of the net that answered */
	__u32 reserved;
};

SEC("syscall")
int mlp_once(struct mlp_command *command)
{
	const struct mlp_model *model = mlp_model_in_force();
	struct mlp_vectors v;

	if (!model)
		return -2;
	__builtin_memset(v.y, 0, sizeof(v.y));
	__builtin_memcpy(v.x, command->x, sizeof(v.x));
	command->class = mlp_decide(model, &v);
	command->generation = model->generation;
	__builtin_memcpy(command->x, v.x, sizeof(v.x));
	return 0;
}

struct again {
	__u32 classes;
};

/* Other inputs each time, so that no answer is known beforehand. */
static long one_again(__u64 i, struct again *again)
{
	const struct mlp_model *model = mlp_model_in_force();
	struct mlp_vectors v = { .x = { 0 }, .y = { 0 } };

	if (!model)
		return 1;
	v.x[0] = (__s64)(i & 7) << MLP_SHIFT;
	v.x[1] = (__s64)(i & 3) << MLP_SHIFT;
	again->classes += mlp_decide(model, &v);
	return 0;
}

SEC("syscall")
int mlp_again(struct mlp_command *command)
{
	struct again again = { 0 };
	__u64 start = bpf_ktime_get_ns();

	bpf_loop(command->repeat, one_again, &again, 0);
	command->elapsed_ns = bpf_ktime_get_ns() - start;
	command->class = again.classes;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
