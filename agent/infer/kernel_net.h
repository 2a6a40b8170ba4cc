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
 * Build the blob of a model, to become number `number` in the module. A model of digits goes over as its integer twin,
 * exactly; one with mean and scale is rounded to 16 bits, with its numbers limited where they are improbably large
 * (more than eight standard deviations, for inputs). The bytes, to be freed by the caller, and their count in *n_bytes;
 * NULL with *error filled when the model has neither, an encoder or a layer the kernel does not have, or a weight or sum
 * that does not fit there.
 */
void *kernel_net_build(
	const struct model *model, uint32_t number, size_t *n_bytes, struct model_error *error);

#endif
