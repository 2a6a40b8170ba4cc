/* SPDX-License-Identifier: Apache-2.0 */
/*
 * onnx_bytes.h - nets as ONNX files in memory (protobuf by hand; onnx.proto gives the field numbers).
 */
#ifndef SEMANTOS_BENCH_ONNX_BYTES_H
#define SEMANTOS_BENCH_ONNX_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include "agent/infer/lstm.h"
#include "agent/infer/model.h"

struct bytes {
	uint8_t *byte; /* free() it */
	size_t n, room;
};

/* Input "x" [n][inputs], output "y" [n][outputs]: Gemm and activation a layer. */
void onnx_mlp(struct bytes *to, const struct model *model, size_t n);

/* Input "x" [steps][n][inputs], output "y" [n][classes]: an LSTM a layer, Gemm, Softmax. */
void onnx_lstm(struct bytes *to, const struct lstm_model *model, size_t n);

#endif
