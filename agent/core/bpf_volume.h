/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpf_volume.h - a policy's object for replica volumes, attached to semantos.ko, and the models handed to the module.
 *
 * The link is not pinned: it lives and dies with this process, and what follows it is the module's default. Opening loads
 * BPF and takes long; everything else is short.
 */
#ifndef SEMANTOS_CORE_BPF_VOLUME_H
#define SEMANTOS_CORE_BPF_VOLUME_H

#include <bpf/libbpf.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/core/bpf_object.h"
#include "agent/infer/model.h"
#include "bpf/volume_wire.h"

struct bpf_volume {
	struct bpf_object *object;
	struct bpf_map *ops; /* of `object`: the one of `decide` */
	struct bpf_link *link;
	int set_fd, decisions_fd, n_cpus;
	int models_fd; /* /dev/semantos */
	uint64_t handed; /* bit n: model number n is ours */
	char pin[PATH_MAX];
};

/* Is semantos.ko loaded, with the types that BPF finds it by? */
bool bpf_volume_module(void);

/* Name of the policy that decides now, "none" or "". */
void bpf_volume_holder(char *name, size_t len);

/*
 * Load `path` beside the policy's own object, whose maps it shares by name; `decide` is inline or async. Nothing is
 * attached yet. 0 or -errno with one sentence; on failure nothing is left.
 */
int bpf_volume_open(struct bpf_volume *volume, const char *path, const char *decide,
	const struct bpf_policy *policy, char *error, size_t error_len);

/*
 * May a policy be attached? 0, or -EBUSY with a sentence that names the one that is. To be asked before models are handed
 * over: the module keeps them by number, and that policy's have the same numbers.
 */
int bpf_volume_vacant(char *error, size_t error_len);

/* From here on it is asked at every read. -EBUSY: another policy is; the sentence names it. */
int bpf_volume_attach(struct bpf_volume *volume, char *error, size_t error_len);
void bpf_volume_detach(struct bpf_volume *volume); /* when it returns nothing of it runs */
void bpf_volume_close(struct bpf_volume *volume); /* takes its models back; accepts a zeroed one */

/*
 * From now on the slot's disk is judged by this model, or by none (NULL). Until it is through, and after a failure, by
 * none. 0 or -errno with half a sentence.
 */
int bpf_volume_model(struct bpf_volume *volume, uint32_t slot, const struct model *model,
	char *error, size_t error_len);

int bpf_volume_decisions(const struct bpf_volume *volume, struct semantos_decisions *sum);

#endif
