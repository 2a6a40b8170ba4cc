/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers.h - the libraries the inference engines are timed against, each told the same net once and run many times.
 */
#ifndef SEMANTOS_BENCH_PEERS_H
#define SEMANTOS_BENCH_PEERS_H

#include <stddef.h>
#include <stdint.h>
#include "agent/infer/knn.h"
#include "agent/infer/lstm.h"
#include "agent/infer/model.h"

/* OpenBLAS: one sgemm a layer (sgemv for one row), bias and activation in plain vectorised loops. */
struct blas_mlp;
struct blas_mlp *blas_mlp_new(const struct model *model, size_t n);
void blas_mlp_run(struct blas_mlp *mlp, const float *rows, float *outputs); /* [n][outputs] */
void blas_mlp_free(struct blas_mlp *mlp);

struct blas_lstm;
struct blas_lstm *blas_lstm_new(const struct lstm_model *model, size_t n);
void blas_lstm_run(struct blas_lstm *lstm, const uint32_t *hot, float *probability);
void blas_lstm_free(struct blas_lstm *lstm);

/* |r|^2 - 2 q.r by one sgemm, then the k smallest of each row; index: [n][k], unordered. */
struct blas_knn;
struct blas_knn *blas_knn_new(const float *rows, size_t n_rows, size_t width, size_t n);
void blas_knn_run(struct blas_knn *knn, const float *queries, size_t k, uint32_t *index);
void blas_knn_free(struct blas_knn *knn);

/* oneDNN: inner products with fused bias and activation, weights in the layout it asks for. */
struct dnnl_mlp;
struct dnnl_mlp *dnnl_mlp_new(const struct model *model, size_t n);
void dnnl_mlp_run(struct dnnl_mlp *mlp, const float *rows, float *outputs);
void dnnl_mlp_free(struct dnnl_mlp *mlp);

#endif
