// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * lanes_avx512.c - the path of 512 bits. Nothing in here may be called but between kernel_fpu_begin() and _end().
 */
#include "kmod/infer/net.h"
#include "kmod/infer/path.h"

INFER_TARGET_BEGIN("avx512f,avx512bw")
#define LANES_BYTES 64
#define LANES_RUN infer_run_avx512
#include "kmod/infer/lanes.h"
INFER_TARGET_END
