/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lstm_engine.h - what lstm.c computes in floats with, one of these for each width of vectors; for agent/infer only.
 */
#ifndef SEMANTOS_INFER_LSTM_ENGINE_H
#define SEMANTOS_INFER_LSTM_ENGINE_H

#include "agent/infer/gemm.h"

struct lstm_engine {
	const char *name;
	gemm_product *product;
	/*
	 * One step of one sequence: z [4][units] gates before activation, cell updated, hidden written. units is a multiple
	 * of GEMM_LANES, all three are aligned to 64.
	 */
	void (*cell)(const float *z, size_t units, float *cell, float *hidden);
	/*
	 * to[i] = e^(x[i] - largest), returns their sum. x: [GEMM_PAD(n)], aligned to 64, finite past n; to: [n], any
	 * address.
	 */
	float (*exponentials)(const float *x, size_t n, float largest, float *to);
};

extern const struct lstm_engine lstm_scalar, lstm_avx2, lstm_avx512;

#endif
