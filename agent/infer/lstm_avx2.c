// SPDX-License-Identifier: Apache-2.0
/*
 * lstm_avx2.c - LSTM steps in floats for AVX2 with FMA.
 */
#include <immintrin.h>
#include <string.h>
#include "agent/infer/engine.h"
#include "agent/infer/lstm_engine.h"

ENGINE_TARGET_BEGIN("avx2,fma")
#include "agent/infer/lanes_avx2.h"
#define ENGINE lstm_avx2
#define PRODUCT gemm_avx2
#include "agent/infer/lstm_lanes.h"
ENGINE_TARGET_END
