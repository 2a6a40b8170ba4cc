/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers.h - the libraries the inference engines are timed against, each told the same net once and run many times.
 *
 * A peer is a row of functions; what it does not do is NULL. make: NULL when the library is not there. One thread each.
 */
#ifndef SEMANTOS_BENCH_PEERS_H
#define SEMANTOS_BENCH_PEERS_H

#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
#include "agent/infer/lstm.h"
#include "agent/infer/model.h"

struct peer {
	const char *name;
	/* n rows at a time; outputs: [n][outputs] */
	void *(*mlp_make)(const struct model *model, size_t n);
	void (*mlp_run)(void *mlp, const float *rows, float *outputs);
	void (*mlp_free)(void *mlp);
	/* n sequences at a time, one-hot; the model's weights stay with the caller. probability: [n][classes] */
	void *(*lstm_make)(const struct lstm_model *model, const uint32_t *hot, size_t n);
	void (*lstm_run)(void *lstm, float *probability);
	void (*lstm_free)(void *lstm);
	/* n queries at a time; index: [n][k], in any order */
	void *(*knn_make)(const float *rows, size_t n_rows, size_t width, const float *queries,
		size_t n, size_t k);
	void (*knn_run)(void *knn, uint32_t *index);
	void (*knn_free)(void *knn);
};

extern const struct peer peer_openblas, peer_onednn, peer_onnxruntime, peer_torch, peer_faiss;

#ifdef __cplusplus
}
#endif
#endif
