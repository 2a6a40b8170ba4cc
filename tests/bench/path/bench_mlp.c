// SPDX-License-Identifier: Apache-2.0
/*
 * bench_mlp.c - what a decision by the integer net (bpf/lib/mlp.h) costs at the event: as a BPF program, the same lines
 * in user space, and the agent's float engine on one row. Shapes and weights' ranges as MLLB's and KML's; blocks take
 * turns. The BPF figure holds the lookup of the net in force and bpf_loop's call. Nothing is attached.
 */
#include <math.h>
#include <time.h>
#include "agent/infer/infer.h"
#include "tests/bench/bench.h"
#include "tests/bpf/mlp_run.h"
#include "tests/unit/engine_nets.h"

#define ROUNDS 60
#define REPEAT 20000
#define WAYS 3

static volatile uint32_t classes; /* so that nothing is left out as unused */

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return (double)at.tv_sec * 1e9 + (double)at.tv_nsec;
}

static double in_kernel(struct mlp_bpf *bpf)
{
	struct mlp_command command = { .repeat = REPEAT };

	if (mlp_bpf_run(bpf->again_fd, &command))
		exit(1);
	return (double)command.elapsed_ns / REPEAT;
}

static double in_user_space(const struct mlp_model *packed)
{
	double start = now();

	for (uint32_t i = 0; i < REPEAT; i++) {
		struct mlp_vectors v = { .x = { (int64_t)(i & 7) << MLP_SHIFT,
						 (int64_t)(i & 3) << MLP_SHIFT } };

		mlp_run(packed, &v);
		classes += mlp_class(packed, &v);
	}
	return (now() - start) / REPEAT;
}

static double in_floats(const struct infer_plan *plan, struct infer_scratch *scratch)
{
	double start = now();
	float out[4];

	for (uint32_t i = 0; i < REPEAT; i++) {
		float row[MLP_WIDTH] = { (float)(i & 7), (float)(i & 3) };

		infer_run_outputs(plan, scratch, row, 1, out);
		classes += out[0] > 0;
	}
	return (now() - start) / REPEAT;
}

int main(void)
{
	static const char *const way_name[WAYS] = { "BPF program", "same lines in user space",
		"agent's float engine, one row" };
	static double ns[WAYS][ROUNDS];
	struct mlp_bpf bpf = { 0 };
	char name[80];

	if (geteuid() != 0 || access("/sys/kernel/btf/vmlinux", R_OK)) {
		printf("  skipped: needs root and a kernel with BTF\n");
		return 77;
	}
	pin_to((int)sysconf(_SC_NPROCESSORS_ONLN) - 1);
	if (mlp_bpf_open(&bpf))
		return 1;
	for (size_t at = 4; at < 6; at++) { /* MLLB, KML */
		struct model *model = nets_make(&nets[at], 1);
		struct infer_plan *plan = infer_prepare(model, 1, INFER_FLOAT);
		struct infer_scratch *scratch = plan ? infer_scratch_new(plan) : NULL;
		struct mlp_model packed;

		if (!scratch || mlp_pack(model, 1, &packed) || mlp_bpf_set(&bpf, &packed))
			return 1;
		for (int round = 0; round < ROUNDS; round++) {
			ns[0][round] = in_kernel(&bpf);
			ns[1][round] = in_user_space(&packed);
			ns[2][round] = in_floats(plan, scratch);
		}
		for (int way = 0; way < WAYS; way++) {
			snprintf(name, sizeof(name), "%s, %s", nets[at].name, way_name[way]);
			row(name, "ns", ns[way], ROUNDS, NO_TARGET);
		}
		infer_scratch_free(scratch);
		infer_free(plan);
		model_free(model);
	}
	mlp_bpf_close(&bpf);
	rows_end("mlp");
	return 0;
}
