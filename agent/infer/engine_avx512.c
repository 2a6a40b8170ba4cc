// SPDX-License-Identifier: Apache-2.0
/*
 * engine_avx512.c - the float engine for AVX-512: sixteen lanes, twelve outputs by two vectors in thirty-two registers.
 */
#include <immintrin.h>
#include <math.h>
#include <string.h>
#include "agent/infer/engine.h"

ENGINE_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")
#define LANES 16
#define TILE 12
#define SINGLE 16 /* vectors of outputs side by side for a single row */
#define ENGINE engine_avx512
#define VF_AVX512
#define vf_larger(x, y) ((vf)_mm512_max_ps(x, y))
#define vf_smaller(x, y) ((vf)_mm512_min_ps(x, y))
#define vf_total(x) _mm512_reduce_add_ps(x)
#define ENGINE_NAME "avx512"
#include "agent/infer/engine_lanes.h"
ENGINE_TARGET_END
