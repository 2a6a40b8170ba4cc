/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer_dnnl.h - what the nets and the LSTM on oneDNN share. Any refusal of the library ends the program.
 */
#ifndef SEMANTOS_BENCH_PEER_DNNL_H
#define SEMANTOS_BENCH_PEER_DNNL_H

#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include "agent/infer/lstm.h"

#define MUST(call)                                                      \
	do {                                                            \
		if ((call) != dnnl_success) {                           \
			fprintf(stderr, "oneDNN refused: %s\n", #call); \
			exit(1);                                        \
		}                                                       \
	} while (0)

/* Memory in a stated layout: around `bytes`, or its own when that is NULL. */
dnnl_memory_t dnnl_plain(dnnl_engine_t engine, int n_dims, const dnnl_dims_t dims,
	dnnl_format_tag_t tag, void *bytes);

/* The same with a copy of `values`. */
dnnl_memory_t dnnl_filled(dnnl_engine_t engine, int n_dims, const dnnl_dims_t dims,
	dnnl_format_tag_t tag, const float *values);

/* `given`, which is destroyed, in the layout that the primitive wants for this argument. */
dnnl_memory_t dnnl_as_wanted(dnnl_engine_t engine, dnnl_stream_t stream, dnnl_memory_t given,
	const_dnnl_primitive_desc_t by, dnnl_query_t what, int index);

void *dnnl_lstm_make(const struct lstm_model *model, const uint32_t *hot, size_t n);
void dnnl_lstm_run(void *lstm, float *probability);
void dnnl_lstm_free(void *lstm);

#endif
