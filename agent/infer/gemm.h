/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gemm.h - the one dense product under inference and training; for agent/infer only.
 */
#ifndef SEMANTOS_INFER_GEMM_H
#define SEMANTOS_INFER_GEMM_H

#include <stddef.h>

#define GEMM_LANES 16 /* columns are padded to a multiple of this */
#define GEMM_PAD(n) (((n) + GEMM_LANES - 1) / GEMM_LANES * GEMM_LANES)

/*
 * c[m][n] += a[m][k] * b[k][n]. n is a multiple of GEMM_LANES; rows of b and c lie ldb and ldc floats apart; element
 * (i, p) of a lies at a[i * a_row + p * a_column], so a transposed `a` costs nothing. No alias, no alignment asked for.
 * Each element is summed in the order of p, whatever m and n are, fused where the CPU can.
 */
typedef void gemm_product(size_t m, size_t n, size_t k, const float *a, size_t a_row,
	size_t a_column, const float *b, size_t ldb, float *c, size_t ldc);

gemm_product gemm_add; /* by the widest of the CPU, whatever SEMANTOS_INFER says */
gemm_product gemm_plain, gemm_avx2, gemm_avx512; /* for who has asked the CPU */

/* Zeroed floats aligned to a cache line; free() them. NULL when out of memory. */
float *gemm_alloc(size_t n_floats);

/* gcc builds a function once for each of these and picks at load time; sanitizers and clang get the plain one. */
#if defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
	!defined(__SANITIZE_THREAD__) && defined(__x86_64__)
#define GEMM_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define GEMM_CLONES
#endif

#endif
