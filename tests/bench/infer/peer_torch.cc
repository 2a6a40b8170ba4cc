// SPDX-License-Identifier: Apache-2.0
/*
 * peer_torch.cc - the nets on libtorch: its own linear, relu, sigmoid and lstm, in inference mode, one thread.
 */
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <cstring>
#include <vector>
#include "peers.h"

namespace {

at::Tensor copy(const float *values, at::IntArrayRef dims)
{
	return at::from_blob(const_cast<float *>(values), dims, at::kFloat).clone();
}

struct mlp {
	std::vector<at::Tensor> weight, bias;
	std::vector<model_activation> activation;
	int64_t n, inputs;
};

void one_thread()
{
	at::set_num_threads(1);
}

void *mlp_make(const struct model *model, size_t n)
{
	c10::InferenceMode guard;
	mlp *net = new mlp;

	one_thread();
	for (uint32_t l = 0; l < model->n_layers; l++) {
		const struct model_layer *layer = &model->layer[l];

		net->weight.push_back(copy(layer->weight, { layer->outputs, layer->inputs }));
		net->bias.push_back(copy(layer->bias, { layer->outputs }));
		net->activation.push_back(layer->activation);
	}
	net->n = (int64_t)n;
	net->inputs = model_inputs(model);
	return net;
}

void mlp_run(void *of, const float *rows, float *outputs)
{
	c10::InferenceMode guard;
	mlp *net = static_cast<mlp *>(of);
	at::Tensor x = at::from_blob(const_cast<float *>(rows), { net->n, net->inputs }, at::kFloat);

	for (size_t l = 0; l < net->weight.size(); l++) {
		x = at::linear(x, net->weight[l], net->bias[l]);
		if (net->activation[l] == MODEL_RELU)
			x.relu_();
		else if (net->activation[l] == MODEL_SIGMOID)
			x.sigmoid_();
	}
	std::memcpy(outputs, x.data_ptr<float>(), (size_t)x.numel() * sizeof(float));
}

void mlp_free(void *of)
{
	delete static_cast<mlp *>(of);
}

struct lstm {
	std::vector<at::Tensor> weight, state;
	at::Tensor x, dense, bias;
	int64_t layers;
};

/* One-hot inputs as dense ones, made beforehand and not timed; gates stand in the order torch wants. */
void *lstm_make(const struct lstm_model *model, const uint32_t *hot, size_t n)
{
	c10::InferenceMode guard;
	lstm *net = new lstm;
	int64_t steps = model->steps, rows = (int64_t)n;

	one_thread();
	for (uint32_t l = 0; l < model->n_layers; l++) {
		const struct lstm_layer *layer = &model->layer[l];
		int64_t gates = 4 * (int64_t)layer->units;

		net->weight.push_back(
			copy(layer->kernel, { layer->inputs, gates }).t().contiguous());
		net->weight.push_back(
			copy(layer->recurrent, { layer->units, gates }).t().contiguous());
		net->weight.push_back(copy(layer->bias, { gates }));
		net->weight.push_back(at::zeros({ gates }));
	}
	net->layers = model->n_layers;
	for (int i = 0; i < 2; i++)
		net->state.push_back(at::zeros({ net->layers, rows, model->layer[0].units }));
	net->x = at::zeros({ steps, rows, model->layer[0].inputs });
	for (int64_t r = 0; r < rows; r++)
		for (int64_t t = 0; t < steps; t++)
			net->x.data_ptr<float>()[(t * rows + r) * model->layer[0].inputs +
						 hot[r * steps + t]] = 1;
	net->dense = copy(model->dense,
		{ model->layer[model->n_layers - 1].units, model->classes });
	net->bias = copy(model->dense_bias, { model->classes });
	return net;
}

void lstm_run(void *of, float *probability)
{
	c10::InferenceMode guard;
	lstm *net = static_cast<lstm *>(of);
	at::Tensor last = std::get<1>(at::lstm(net->x, net->state, net->weight, true, net->layers,
		0.0, false, false, false))[net->layers - 1];
	at::Tensor y = at::softmax(at::addmm(net->bias, last, net->dense), 1);

	std::memcpy(probability, y.data_ptr<float>(), (size_t)y.numel() * sizeof(float));
}

void lstm_free(void *of)
{
	delete static_cast<lstm *>(of);
}

} // namespace

extern "C" const struct peer peer_torch = { "torch", mlp_make, mlp_run, mlp_free, lstm_make,
	lstm_run, lstm_free, nullptr, nullptr, nullptr };
