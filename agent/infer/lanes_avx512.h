/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lanes_avx512.h - AVX-512, for sources written once for any LANES; included inside its target section.
 */
#define LANES 16
#define LANES_NAME "avx512"
#define VF_AVX512

#define vf_larger(x, y) ((vf)_mm512_max_ps(x, y))
#define vf_smaller(x, y) ((vf)_mm512_min_ps(x, y))
#define vf_total(x) _mm512_reduce_add_ps(x)
#include "agent/infer/vector_math.h"
