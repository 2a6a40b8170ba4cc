/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bf16.h - products in bfloat16 for AVX-512 BF16, and the layout they share with AMX; for agent/infer only.
 */
#ifndef SEMANTOS_INFER_BF16_H
#define SEMANTOS_INFER_BF16_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BF16_PANEL 64 /* columns side by side */

/* To nearest, ties to even; not for NaN or infinity, which no model has. */
static inline uint32_t bf16(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

/* [k][n] floats to bfloat16, packed for bf16_product(): [n / BF16_PANEL, up][k / 2, up][BF16_PANEL][2]. */
size_t bf16_packed_words(size_t k, size_t n); /* 32-bit words of `to` */
void bf16_pack(const float *from, size_t k, size_t n, uint32_t *to);

/*
 * c[m][n] += a[m][k] * packed; rows of a and c lie lda and n floats apart. pairs: working memory of m * (k / 2, up)
 * words. n is a multiple of 16.
 */
void bf16_product(size_t m, size_t n, size_t k, const float *a, size_t lda, const uint32_t *packed,
	uint32_t *pairs, float *c);

/* m rows of k floats, lda apart, as pairs of bfloat16: [m][k / 2, up]. */
void bf16_pairs(size_t m, size_t k, const float *a, size_t lda, uint32_t *pairs);

#endif
