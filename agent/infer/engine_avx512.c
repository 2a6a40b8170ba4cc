// SPDX-License-Identifier: Apache-2.0
/*
 * engine_avx512.c - the float engine for AVX-512: sixteen lanes, twelve outputs by two vectors in thirty-two registers.
 */
#include <immintrin.h>
#include <math.h>
#include <string.h>
#include "agent/infer/engine.h"
#include "agent/infer/tiles.h"

ENGINE_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")
#include "agent/infer/lanes_avx512.h"
#define TILE 12
#define TILES TILES_OF_12
#define SINGLE 16 /* vectors of outputs side by side for a single row */
#define ENGINE engine_avx512
#include "agent/infer/engine_lanes.h"
ENGINE_TARGET_END
