/* SPDX-License-Identifier: Apache-2.0 */
/*
 * amx.h - products on the CPU's tile registers (AMX); for agent/infer only.
 *
 * Tiles are loaded straight from the layouts the AVX-512 engines use, so that weights are packed once for both. Nothing here
 * may be called before amx_usable() said yes: without the kernel's permission the first tile instruction kills the process.
 */
#ifndef SEMANTOS_INFER_AMX_H
#define SEMANTOS_INFER_AMX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The CPU has tiles with bfloat16 and 8-bit products, the kernel saves them, and it has granted this process their use
 * (ARCH_REQ_XCOMP_PERM, asked once; the answer holds for threads made later). A pointer so that a test which emulates the
 * instructions can say yes; nothing else assigns it.
 */
extern bool (*amx_usable)(void);

/*
 * c[m][n] += a * b, in bfloat16. pairs: [m][half] words of two neighbouring numbers of a row of a; packed: bf16_pack() of b;
 * n is a multiple of 16.
 */
void amx_bf16_product(
	size_t m, size_t n, size_t half, const uint32_t *pairs, const uint32_t *packed, float *c);

/* As knn_avx512.sums(), not narrowed. */
void amx_sums(const uint32_t *reference, size_t n_panels, size_t groups, const int32_t *start,
	const int32_t *query, int32_t *sum);

#endif
