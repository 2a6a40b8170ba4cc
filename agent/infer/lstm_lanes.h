/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lstm_lanes.h - what lstm.c is made of for AVX-512; for agent/infer only. Widths are multiples of GEMM_LANES.
 */
#ifndef SEMANTOS_INFER_LSTM_LANES_H
#define SEMANTOS_INFER_LSTM_LANES_H

#include <stddef.h>
#include <stdint.h>

#define BF16_PANEL 64 /* columns side by side */

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

/* One step of one sequence: z [4][units] gates before activation, cell updated, hidden written. units % 16 == 0. */
void lstm_cell_avx512(const float *z, size_t units, float *cell, float *hidden);

/* Softmax of n logits into probability; to[i] = e^(x[i] - largest), returns their sum. */
float lstm_exponentials_avx512(const float *x, size_t n, float largest, float *to);

#endif
