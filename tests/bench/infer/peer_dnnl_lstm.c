// SPDX-License-Identifier: Apache-2.0
/*
 * peer_dnnl_lstm.c - the LSTM on oneDNN: its own LSTM primitive a layer (gates stand in the same order as ours), an inner
 * product over the last step and its softmax. Weights are reordered once into the layouts it prefers; one-hot inputs are
 * written out as dense ones beforehand and not timed.
 */
#include <string.h>
#include "peer_dnnl.h"

#define MAX_ARGS 6

struct step {
	dnnl_primitive_t primitive;
	dnnl_exec_arg_t arg[MAX_ARGS];
	int n_args;
};

struct dnnl_lstm {
	dnnl_engine_t engine;
	dnnl_stream_t stream;
	dnnl_memory_t owned[6 * LSTM_MAX_LAYERS + 6];
	int n_owned;
	dnnl_memory_t out;
	struct step step[LSTM_MAX_LAYERS + 2];
	int n_steps;
};

static dnnl_memory_t own(struct dnnl_lstm *lstm, dnnl_memory_t memory)
{
	return lstm->owned[lstm->n_owned++] = memory;
}

static struct step *add(struct dnnl_lstm *lstm, dnnl_primitive_desc_t desc)
{
	struct step *step = &lstm->step[lstm->n_steps++];

	MUST(dnnl_primitive_create(&step->primitive, desc));
	return step;
}

static void give(struct step *step, int name, dnnl_memory_t memory)
{
	step->arg[step->n_args++] = (dnnl_exec_arg_t){ name, memory };
}

/* One layer over all steps, from x [steps][n][inputs]; returns y [steps][n][units]. */
static dnnl_memory_t add_layer(struct dnnl_lstm *lstm, const struct lstm_layer *layer,
	dnnl_dim_t steps, dnnl_dim_t n, dnnl_memory_t x)
{
	dnnl_dims_t x_dims = { steps, n, layer->inputs }, y_dims = { steps, n, layer->units };
	dnnl_dims_t in_dims = { 1, 1, layer->inputs, 4, layer->units };
	dnnl_dims_t back_dims = { 1, 1, layer->units, 4, layer->units };
	dnnl_dims_t bias_dims = { 1, 1, 4, layer->units };
	dnnl_memory_desc_t from, in, back, bias, to;
	dnnl_primitive_desc_t wanted;
	dnnl_rnn_desc_t desc;
	dnnl_memory_t y = own(lstm, dnnl_plain(lstm->engine, 3, y_dims, dnnl_tnc, NULL));
	struct step *step;

	MUST(dnnl_memory_desc_init_by_tag(&from, 3, x_dims, dnnl_f32, dnnl_tnc));
	MUST(dnnl_memory_desc_init_by_tag(&to, 3, y_dims, dnnl_f32, dnnl_tnc));
	MUST(dnnl_memory_desc_init_by_tag(&in, 5, in_dims, dnnl_f32, dnnl_format_tag_any));
	MUST(dnnl_memory_desc_init_by_tag(&back, 5, back_dims, dnnl_f32, dnnl_format_tag_any));
	MUST(dnnl_memory_desc_init_by_tag(&bias, 4, bias_dims, dnnl_f32, dnnl_ldgo));
	MUST(dnnl_lstm_forward_desc_init(&desc, dnnl_forward_inference,
		dnnl_unidirectional_left2right, &from, NULL, NULL, &in, &back, &bias, &to, NULL,
		NULL, 0));
	MUST(dnnl_primitive_desc_create(&wanted, &desc, NULL, lstm->engine, NULL));
	step = add(lstm, wanted);
	give(step, DNNL_ARG_SRC_LAYER, x);
	give(step, DNNL_ARG_WEIGHTS_LAYER,
		own(lstm, dnnl_as_wanted(lstm->engine, lstm->stream,
				  dnnl_filled(lstm->engine, 5, in_dims, dnnl_ldigo, layer->kernel),
				  wanted, dnnl_query_weights_md, 0)));
	give(step, DNNL_ARG_WEIGHTS_ITER,
		own(lstm, dnnl_as_wanted(lstm->engine, lstm->stream,
				  dnnl_filled(
					  lstm->engine, 5, back_dims, dnnl_ldigo, layer->recurrent),
				  wanted, dnnl_query_weights_md, 1)));
	give(step, DNNL_ARG_BIAS,
		own(lstm, dnnl_filled(lstm->engine, 4, bias_dims, dnnl_ldgo, layer->bias)));
	give(step, DNNL_ARG_DST_LAYER, y);
	dnnl_primitive_desc_destroy(wanted);
	return y;
}

/* Logits and softmax of the last step of y. */
static void add_classes(
	struct dnnl_lstm *lstm, const struct lstm_model *model, size_t n, dnnl_memory_t y)
{
	dnnl_dim_t units = model->layer[model->n_layers - 1].units, classes = model->classes;
	dnnl_dims_t x_dims = { (dnnl_dim_t)n, units }, out_dims = { (dnnl_dim_t)n, classes };
	dnnl_dims_t w_dims = { classes, units }, b_dims = { classes };
	dnnl_memory_desc_t x, w, b, out;
	dnnl_inner_product_desc_t product;
	dnnl_softmax_desc_t softmax;
	dnnl_primitive_desc_t wanted;
	dnnl_memory_t last;
	struct step *step;
	void *bytes;

	MUST(dnnl_memory_get_data_handle(y, &bytes));
	last = own(lstm, dnnl_plain(lstm->engine, 2, x_dims, dnnl_ab,
				 (float *)bytes + (model->steps - 1) * n * (size_t)units));
	lstm->out = own(lstm, dnnl_plain(lstm->engine, 2, out_dims, dnnl_ab, NULL));
	MUST(dnnl_memory_desc_init_by_tag(&x, 2, x_dims, dnnl_f32, dnnl_ab));
	MUST(dnnl_memory_desc_init_by_tag(&w, 2, w_dims, dnnl_f32, dnnl_format_tag_any));
	MUST(dnnl_memory_desc_init_by_tag(&b, 1, b_dims, dnnl_f32, dnnl_a));
	MUST(dnnl_memory_desc_init_by_tag(&out, 2, out_dims, dnnl_f32, dnnl_ab));
	MUST(dnnl_inner_product_forward_desc_init(
		&product, dnnl_forward_inference, &x, &w, &b, &out));
	MUST(dnnl_primitive_desc_create(&wanted, &product, NULL, lstm->engine, NULL));
	step = add(lstm, wanted);
	give(step, DNNL_ARG_SRC, last);
	/* [units][classes]: the transpose of what it names */
	give(step, DNNL_ARG_WEIGHTS,
		own(lstm, dnnl_as_wanted(lstm->engine, lstm->stream,
				  dnnl_filled(lstm->engine, 2, w_dims, dnnl_ba, model->dense),
				  wanted, dnnl_query_weights_md, 0)));
	give(step, DNNL_ARG_BIAS,
		own(lstm, dnnl_filled(lstm->engine, 1, b_dims, dnnl_a, model->dense_bias)));
	give(step, DNNL_ARG_DST, lstm->out);
	dnnl_primitive_desc_destroy(wanted);
	MUST(dnnl_softmax_forward_desc_init(&softmax, dnnl_forward_inference, &out, 1));
	MUST(dnnl_primitive_desc_create(&wanted, &softmax, NULL, lstm->engine, NULL));
	step = add(lstm, wanted);
	give(step, DNNL_ARG_SRC, lstm->out);
	give(step, DNNL_ARG_DST, lstm->out);
	dnnl_primitive_desc_destroy(wanted);
}

void *dnnl_lstm_make(const struct lstm_model *model, const uint32_t *hot, size_t n)
{
	struct dnnl_lstm *lstm = calloc(1, sizeof(*lstm));
	size_t inputs = model->layer[0].inputs, steps = model->steps;
	dnnl_dims_t x_dims = { (dnnl_dim_t)steps, (dnnl_dim_t)n, (dnnl_dim_t)inputs };
	float *dense = calloc(steps * n * inputs, sizeof(*dense));
	dnnl_memory_t x;

	MUST(dnnl_engine_create(&lstm->engine, dnnl_cpu, 0));
	MUST(dnnl_stream_create(&lstm->stream, lstm->engine, dnnl_stream_default_flags));
	for (size_t r = 0; r < n; r++)
		for (size_t t = 0; t < steps; t++)
			dense[(t * n + r) * inputs + hot[r * steps + t]] = 1;
	x = own(lstm, dnnl_filled(lstm->engine, 3, x_dims, dnnl_tnc, dense));
	free(dense);
	for (uint32_t l = 0; l < model->n_layers; l++)
		x = add_layer(lstm, &model->layer[l], (dnnl_dim_t)steps, (dnnl_dim_t)n, x);
	add_classes(lstm, model, n, x);
	return lstm;
}

void dnnl_lstm_run(void *of, float *probability)
{
	struct dnnl_lstm *lstm = of;

	MUST(dnnl_memory_set_data_handle(lstm->out, probability));
	for (int i = 0; i < lstm->n_steps; i++)
		MUST(dnnl_primitive_execute(lstm->step[i].primitive, lstm->stream,
			lstm->step[i].n_args, lstm->step[i].arg));
	MUST(dnnl_stream_wait(lstm->stream));
}

void dnnl_lstm_free(void *of)
{
	struct dnnl_lstm *lstm = of;

	for (int i = 0; i < lstm->n_steps; i++)
		dnnl_primitive_destroy(lstm->step[i].primitive);
	for (int i = 0; i < lstm->n_owned; i++)
		dnnl_memory_destroy(lstm->owned[i]);
	dnnl_stream_destroy(lstm->stream);
	dnnl_engine_destroy(lstm->engine);
	free(lstm);
}
