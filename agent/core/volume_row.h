/* SPDX-License-Identifier: Apache-2.0 */
/*
 * volume_row.h - what the kernel is told of a model that judges a leg: the row of `leg_models` (bpf/volume_wire.h).
 */
#ifndef SEMANTOS_CORE_VOLUME_ROW_H
#define SEMANTOS_CORE_VOLUME_ROW_H

#include <stdint.h>
#include "agent/infer/model.h"
#include "bpf/volume_wire.h"

/* The model has that number in semantos.ko, which gave it that generation. */
struct semantos_leg_model volume_row(
	const struct model *model, uint32_t number, uint32_t generation);

#endif
