// SPDX-License-Identifier: Apache-2.0
/*
 * engine_avx2.c - the float engine for AVX2 with FMA: eight lanes, six outputs by two vectors in sixteen registers.
 */
#include <immintrin.h>
#include <math.h>
#include <string.h>
#include "agent/infer/engine.h"

ENGINE_TARGET_BEGIN("avx2,fma")
#define LANES 8
#define TILE 6
#define SINGLE 8 /* vectors of outputs side by side for a single row */
#define ENGINE engine_avx2
#define vf_larger(x, y) ((vf)_mm256_max_ps(x, y))
#define vf_smaller(x, y) ((vf)_mm256_min_ps(x, y))
#define ENGINE_NAME "avx2"
#include "agent/infer/engine_lanes.h"
ENGINE_TARGET_END
