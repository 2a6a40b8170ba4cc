/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sched_net.h - from a model that tells classes apart to the integer net that a scheduler asks (bpf/lib/sched_features.h).
 */
#ifndef SEMANTOS_INFER_SCHED_NET_H
#define SEMANTOS_INFER_SCHED_NET_H

#include <stdint.h>
#include "agent/infer/model.h"
#include "bpf/lib/sched_features.h"

/*
 * One output: the model's score less its threshold, so that the kernel compares with 0. The model has SCHED_FEATURES
 * inputs and 1 or 2 outputs, the last layer linear. 0, or what mlp_pack() says; -EINVAL where the shape is another,
 * -ENOMEM. *out is whole then, or untouched.
 */
int sched_net_pack(const struct model *model, uint32_t generation, struct mlp_model *out);

/* The same answer in user space: what the kernel says of this candidate. */
int sched_net_says_yes(const struct mlp_model *net, const struct semantos_sched_record *record);

#endif
