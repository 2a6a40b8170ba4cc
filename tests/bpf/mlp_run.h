/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mlp_run.h - tests/bpf/mlp_wrap.bpf.c loaded: put a net into it, ask it.
 */
#ifndef SEMANTOS_TESTS_MLP_RUN_H
#define SEMANTOS_TESTS_MLP_RUN_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <unistd.h>
#include "agent/infer/mlp_pack.h"

/* As in mlp_wrap.bpf.c. */
struct mlp_command {
	int64_t x[MLP_WIDTH];
	uint64_t elapsed_ns;
	uint32_t repeat, class, generation, reserved;
};

struct mlp_bpf {
	struct bpf_object *object;
	int once_fd, again_fd, nets_fd;
};

/* 0 or -errno. */
static inline int mlp_bpf_open(struct mlp_bpf *bpf)
{
	int err;

	bpf->object = bpf_object__open_file("build/tests/bpf/mlp_wrap.bpf.o", NULL);
	if (!bpf->object)
		return -errno;
	err = bpf_object__load(bpf->object);
	if (err) {
		bpf_object__close(bpf->object);
		return err;
	}
	bpf->once_fd = bpf_program__fd(bpf_object__find_program_by_name(bpf->object, "mlp_once"));
	bpf->again_fd = bpf_program__fd(bpf_object__find_program_by_name(bpf->object, "mlp_again"));
	bpf->nets_fd = bpf_map__fd(bpf_object__find_map_by_name(bpf->object, "mlp"));
	return 0;
}

static inline void mlp_bpf_close(struct mlp_bpf *bpf)
{
	bpf_object__close(bpf->object);
}

/* A map of its own, filled, then put in the old one's place: what a program sees is one net or the other. */
static inline int mlp_bpf_set(struct mlp_bpf *bpf, const struct mlp_model *model)
{
	int fd = bpf_map_create(
		BPF_MAP_TYPE_ARRAY, "net", sizeof(uint32_t), sizeof(*model), 1, NULL);
	uint32_t zero = 0;
	int err = fd < 0 ? -errno : 0;

	if (!err && (bpf_map_update_elem(fd, &zero, model, BPF_ANY) ||
			    bpf_map_update_elem(bpf->nets_fd, &zero, &fd, BPF_ANY)))
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err;
}

/* What the program answers, or -errno. */
static inline int mlp_bpf_run(int fd, struct mlp_command *command)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = command, .ctx_size_in = sizeof(*command));

	return bpf_prog_test_run_opts(fd, &options) ? -errno : (int)options.retval;
}

#endif
