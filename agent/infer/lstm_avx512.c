// SPDX-License-Identifier: Apache-2.0
/*
 * lstm_avx512.c - LSTM steps in floats for AVX-512.
 */
#include <immintrin.h>
#include <string.h>
#include "agent/infer/engine.h"
#include "agent/infer/lstm_engine.h"

ENGINE_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")
#include "agent/infer/lanes_avx512.h"
#define ENGINE lstm_avx512
#define PRODUCT gemm_avx512
#include "agent/infer/lstm_lanes.h"
ENGINE_TARGET_END
