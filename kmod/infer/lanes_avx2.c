// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * lanes_avx2.c - the path of 256 bits. Nothing in here may be called but between kernel_fpu_begin() and _end().
 */
#include "kmod/infer/net.h"
#include "kmod/infer/path.h"

INFER_TARGET_BEGIN("avx2")
#define LANES_BYTES 32
#define LANES_RUN infer_run_avx2
#include "kmod/infer/lanes.h"
INFER_TARGET_END
