/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kernel_net.h - a model as semantos.ko takes it: the bytes that kmod/infer/net.h describes.
 */
#ifndef SEMANTOS_INFER_KERNEL_NET_H
#define SEMANTOS_INFER_KERNEL_NET_H

#include <stddef.h>
#include <stdint.h>
#include "agent/infer/model.h"

/*
 * Build the blob of a model with an integer twin, to become number `number` in the module. The bytes, to be freed by
 * the caller, and their count in *n_bytes; NULL with *error filled when the model has no twin, an encoder the kernel
 * does not have, a weight beyond 16 bits, or a sum that could overflow there.
 */
void *kernel_net_build(
	const struct model *model, uint32_t number, size_t *n_bytes, struct model_error *error);

#endif
