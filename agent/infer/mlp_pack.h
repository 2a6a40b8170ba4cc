/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mlp_pack.h - from a trained model to the integer net that BPF programs run (bpf/lib/mlp.h).
 */
#ifndef SEMANTOS_INFER_MLP_PACK_H
#define SEMANTOS_INFER_MLP_PACK_H

#include <stdint.h>
#include "agent/infer/model.h"
#include "bpf/lib/mlp.h"

#define MLP_WEIGHT_MOST 512.0 /* no weight's size reaches this: sums of products then fit 64 bits */
#define MLP_FACTOR_BITS 21 /* of an input's scale */

/*
 * 0; -EINVAL when the net has more layers or wider ones than the kernel side takes; -ERANGE when a number is too large
 * for its fixed point. *out is whole then, or untouched.
 */
int mlp_pack(const struct model *model, uint32_t generation, struct mlp_model *out);

/*
 * Largest difference of an output from the model's in real numbers, for inputs with |x[i]| <= x_most[i] that were
 * rounded to MLP_SHIFT bits; from the weights alone, so it is far above what rows really show. INFINITY where a
 * number may leave the fixed point's range.
 */
double mlp_error_bound(const struct model *model, const double *x_most);

/* A real number as an input: rounded, and bounded as the net bounds it. */
int64_t mlp_fixed(double x);

#endif
