// SPDX-License-Identifier: Apache-2.0
/*
 * engine_avx2.c - the float engine for AVX2 with FMA: eight lanes, six outputs by two vectors in sixteen registers.
 */
#include <immintrin.h>
#include <math.h>
#include <string.h>
#include "agent/infer/engine.h"
#include "agent/infer/tiles.h"

ENGINE_TARGET_BEGIN("avx2,fma")
#include "agent/infer/lanes_avx2.h"
#define TILE 6
#define TILES TILES_OF_6
#define SINGLE 8 /* vectors of outputs side by side for a single row */
#define ENGINE engine_avx2
#include "agent/infer/engine_lanes.h"
ENGINE_TARGET_END
