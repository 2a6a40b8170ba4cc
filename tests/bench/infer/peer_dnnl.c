// SPDX-License-Identifier: Apache-2.0
/*
 * peer_dnnl.c - the nets on oneDNN: an inner product a layer with bias and activation fused, weights reordered once into
 * the layout it prefers, float arithmetic.
 */
#include <string.h>
#include "peer_dnnl.h"
#include "peers.h"

struct dnnl_mlp {
	dnnl_engine_t engine;
	dnnl_stream_t stream;
	uint32_t n_layers;
	struct {
		dnnl_primitive_t primitive;
		dnnl_memory_t from, weight, bias, to;
	} layer[MODEL_MAX_LAYERS];
};

dnnl_memory_t dnnl_plain(dnnl_engine_t engine, int n_dims, const dnnl_dims_t dims,
	dnnl_format_tag_t tag, void *bytes)
{
	dnnl_memory_desc_t desc;
	dnnl_memory_t memory;

	MUST(dnnl_memory_desc_init_by_tag(&desc, n_dims, dims, dnnl_f32, tag));
	MUST(dnnl_memory_create(&memory, &desc, engine, bytes ? bytes : DNNL_MEMORY_ALLOCATE));
	return memory;
}

dnnl_memory_t dnnl_filled(dnnl_engine_t engine, int n_dims, const dnnl_dims_t dims,
	dnnl_format_tag_t tag, const float *values)
{
	dnnl_memory_t memory = dnnl_plain(engine, n_dims, dims, tag, NULL);
	size_t n = 1;
	void *to;

	for (int i = 0; i < n_dims; i++)
		n *= (size_t)dims[i];
	MUST(dnnl_memory_get_data_handle(memory, &to));
	memcpy(to, values, n * sizeof(float));
	return memory;
}

dnnl_memory_t dnnl_as_wanted(dnnl_engine_t engine, dnnl_stream_t stream, dnnl_memory_t given,
	const_dnnl_primitive_desc_t by, dnnl_query_t what, int index)
{
	const dnnl_memory_desc_t *to = dnnl_primitive_desc_query_md(by, what, index), *from;
	dnnl_primitive_desc_t desc;
	dnnl_primitive_t reorder;
	dnnl_memory_t memory;

	MUST(dnnl_memory_create(&memory, to, engine, DNNL_MEMORY_ALLOCATE));
	MUST(dnnl_memory_get_memory_desc(given, &from));
	MUST(dnnl_reorder_primitive_desc_create(&desc, from, engine, to, engine, NULL));
	MUST(dnnl_primitive_create(&reorder, desc));
	MUST(dnnl_primitive_execute(reorder, stream, 2,
		(dnnl_exec_arg_t[]){ { DNNL_ARG_FROM, given }, { DNNL_ARG_TO, memory } }));
	MUST(dnnl_stream_wait(stream));
	dnnl_memory_destroy(given);
	dnnl_primitive_destroy(reorder);
	dnnl_primitive_desc_destroy(desc);
	return memory;
}

static void *mlp_make(const struct model *model, size_t n)
{
	struct dnnl_mlp *mlp = calloc(1, sizeof(*mlp));

	MUST(dnnl_engine_create(&mlp->engine, dnnl_cpu, 0));
	MUST(dnnl_stream_create(&mlp->stream, mlp->engine, dnnl_stream_default_flags));
	mlp->n_layers = model->n_layers;
	for (uint32_t l = 0; l < model->n_layers; l++) {
		const struct model_layer *layer = &model->layer[l];
		dnnl_dims_t x_dims = { (dnnl_dim_t)n, layer->inputs };
		dnnl_dims_t y_dims = { (dnnl_dim_t)n, layer->outputs };
		dnnl_dims_t w_dims = { layer->outputs, layer->inputs }, b_dims = { layer->outputs };
		dnnl_memory_desc_t x, w, b, y;
		dnnl_inner_product_desc_t desc;
		dnnl_primitive_desc_t wanted;
		dnnl_primitive_attr_t attr;
		dnnl_post_ops_t ops;

		MUST(dnnl_memory_desc_init_by_tag(&x, 2, x_dims, dnnl_f32, dnnl_ab));
		MUST(dnnl_memory_desc_init_by_tag(&w, 2, w_dims, dnnl_f32, dnnl_format_tag_any));
		MUST(dnnl_memory_desc_init_by_tag(&b, 1, b_dims, dnnl_f32, dnnl_a));
		MUST(dnnl_memory_desc_init_by_tag(&y, 2, y_dims, dnnl_f32, dnnl_ab));
		MUST(dnnl_inner_product_forward_desc_init(
			&desc, dnnl_forward_inference, &x, &w, &b, &y));
		MUST(dnnl_primitive_attr_create(&attr));
		MUST(dnnl_post_ops_create(&ops));
		if (layer->activation != MODEL_LINEAR)
			MUST(dnnl_post_ops_append_eltwise(ops, 1,
				layer->activation == MODEL_RELU ? dnnl_eltwise_relu
								: dnnl_eltwise_logistic,
				0, 0));
		MUST(dnnl_primitive_attr_set_post_ops(attr, ops));
		MUST(dnnl_primitive_desc_create(&wanted, &desc, attr, mlp->engine, NULL));
		MUST(dnnl_primitive_create(&mlp->layer[l].primitive, wanted));
		mlp->layer[l].weight = dnnl_as_wanted(mlp->engine, mlp->stream,
			dnnl_filled(mlp->engine, 2, w_dims, dnnl_ab, layer->weight), wanted,
			dnnl_query_weights_md, 0);
		dnnl_primitive_desc_destroy(wanted);
		dnnl_primitive_attr_destroy(attr);
		dnnl_post_ops_destroy(ops);
		mlp->layer[l].bias = dnnl_filled(mlp->engine, 1, b_dims, dnnl_a, layer->bias);
		mlp->layer[l].from = l ? mlp->layer[l - 1].to
				       : dnnl_plain(mlp->engine, 2, x_dims, dnnl_ab, NULL);
		mlp->layer[l].to = dnnl_plain(mlp->engine, 2, y_dims, dnnl_ab, NULL);
	}
	return mlp;
}

static void mlp_run(void *of, const float *rows, float *outputs)
{
	struct dnnl_mlp *mlp = of;

	MUST(dnnl_memory_set_data_handle(mlp->layer[0].from, (void *)rows));
	MUST(dnnl_memory_set_data_handle(mlp->layer[mlp->n_layers - 1].to, outputs));
	for (uint32_t l = 0; l < mlp->n_layers; l++) {
		const dnnl_exec_arg_t args[] = { { DNNL_ARG_SRC, mlp->layer[l].from },
			{ DNNL_ARG_WEIGHTS, mlp->layer[l].weight },
			{ DNNL_ARG_BIAS, mlp->layer[l].bias }, { DNNL_ARG_DST, mlp->layer[l].to } };

		MUST(dnnl_primitive_execute(mlp->layer[l].primitive, mlp->stream, 4, args));
	}
	MUST(dnnl_stream_wait(mlp->stream));
}

static void mlp_free(void *of)
{
	struct dnnl_mlp *mlp = of;

	for (uint32_t l = 0; l < mlp->n_layers; l++) {
		dnnl_primitive_destroy(mlp->layer[l].primitive);
		dnnl_memory_destroy(mlp->layer[l].weight);
		dnnl_memory_destroy(mlp->layer[l].bias);
		if (l == 0)
			dnnl_memory_destroy(mlp->layer[l].from);
		dnnl_memory_destroy(mlp->layer[l].to);
	}
	dnnl_stream_destroy(mlp->stream);
	dnnl_engine_destroy(mlp->engine);
	free(mlp);
}

const struct peer peer_onednn = {
	.name = "oneDNN",
	.mlp_make = mlp_make,
	.mlp_run = mlp_run,
	.mlp_free = mlp_free,
	.lstm_make = dnnl_lstm_make,
	.lstm_run = dnnl_lstm_run,
	.lstm_free = dnnl_lstm_free,
};
