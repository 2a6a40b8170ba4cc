// SPDX-License-Identifier: Apache-2.0
/*
 * onnx_bytes.c - writes nets as ONNX, operator set 13. Out of memory ends the bench.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "onnx_bytes.h"

enum { OPSET = 13, IR_VERSION = 8, ELEMENT_FLOAT = 1, ELEMENT_INT64 = 7, WIRE_BYTES = 2 };
/* Fields of ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto, ValueInfoProto. */
enum { MODEL_IR = 1, MODEL_GRAPH = 7, MODEL_OPSET = 8 };
enum { GRAPH_NODE = 1, GRAPH_NAME = 2, GRAPH_INITIALIZER = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12 };
enum { NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_OPERATOR = 4, NODE_ATTRIBUTE = 5 };
enum { ATTRIBUTE_NAME = 1, ATTRIBUTE_INT = 3, ATTRIBUTE_TYPE = 20, TYPE_INT = 2 };
enum { TENSOR_DIMS = 1, TENSOR_TYPE = 2, TENSOR_NAME = 8, TENSOR_RAW = 9 };

static void put(struct bytes *to, const void *bytes, size_t n)
{
	if (to->n + n > to->room) {
		to->room = 2 * (to->n + n);
		to->byte = realloc(to->byte, to->room);
		if (!to->byte)
			exit(1);
	}
	memcpy(to->byte + to->n, bytes, n);
	to->n += n;
}

static void put_varint(struct bytes *to, uint64_t value)
{
	for (; value >= 128; value >>= 7) {
		uint8_t byte = (uint8_t)(value | 128);

		put(to, &byte, 1);
	}
	put(to, &(uint8_t){ (uint8_t)value }, 1);
}

static void put_number(struct bytes *to, unsigned int field, uint64_t value)
{
	put_varint(to, field << 3);
	put_varint(to, value);
}

static void put_bytes(struct bytes *to, unsigned int field, const void *bytes, size_t n)
{
	put_varint(to, field << 3 | WIRE_BYTES);
	put_varint(to, n);
	put(to, bytes, n);
}

static void put_text(struct bytes *to, unsigned int field, const char *text)
{
	put_bytes(to, field, text, strlen(text));
}

/* `part` as a field of `to`, and empty again. */
static void put_part(struct bytes *to, unsigned int field, struct bytes *part)
{
	put_bytes(to, field, part->byte, part->n);
	part->n = 0;
}

static void put_initializer(struct bytes *graph, const char *name, int type, const void *values,
	size_t n_bytes, const int64_t *dims, size_t n_dims)
{
	struct bytes tensor = { NULL, 0, 0 };

	for (size_t i = 0; i < n_dims; i++)
		put_number(&tensor, TENSOR_DIMS, (uint64_t)dims[i]);
	put_number(&tensor, TENSOR_TYPE, (uint64_t)type);
	put_text(&tensor, TENSOR_NAME, name);
	put_bytes(&tensor, TENSOR_RAW, values, n_bytes);
	put_part(graph, GRAPH_INITIALIZER, &tensor);
	free(tensor.byte);
}

/* inputs and outputs are separated by blanks; "-" is an output left out. */
static void put_node(struct bytes *graph, const char *operator, const char * inputs,
	const char *outputs, const char *attribute, int64_t value)
{
	struct bytes node = { NULL, 0, 0 }, part = { NULL, 0, 0 };
	const char *lists[] = { inputs, outputs };

	for (size_t l = 0; l < 2; l++)
		for (const char *at = lists[l]; *at; at += strspn(at, " ")) {
			size_t length = strcspn(at, " ");

			put_bytes(&node, l ? NODE_OUTPUT : NODE_INPUT, at, *at == '-' ? 0 : length);
			at += length;
		}
	put_text(&node, NODE_OPERATOR, operator);
	if (attribute) {
		put_text(&part, ATTRIBUTE_NAME, attribute);
		put_number(&part, ATTRIBUTE_INT, (uint64_t)value);
		put_number(&part, ATTRIBUTE_TYPE, TYPE_INT);
		put_part(&node, NODE_ATTRIBUTE, &part);
	}
	put_part(graph, GRAPH_NODE, &node);
	free(node.byte);
	free(part.byte);
}

/* ValueInfoProto > TypeProto > Tensor > TensorShapeProto > Dimension */
static void put_value(struct bytes *graph, unsigned int field, const char *name,
	const int64_t *dims, size_t n_dims)
{
	struct bytes shape = { NULL, 0, 0 }, dim = shape, type = shape, value = shape;

	for (size_t i = 0; i < n_dims; i++) {
		put_number(&dim, 1, (uint64_t)dims[i]);
		put_part(&shape, 1, &dim);
	}
	put_number(&dim, 1, ELEMENT_FLOAT);
	put_part(&dim, 2, &shape);
	put_part(&type, 1, &dim);
	put_text(&value, 1, name);
	put_part(&value, 2, &type);
	put_part(graph, field, &value);
	free(shape.byte);
	free(dim.byte);
	free(type.byte);
	free(value.byte);
}

static void finish(struct bytes *to, struct bytes *graph)
{
	struct bytes opset = { NULL, 0, 0 };

	put_text(graph, GRAPH_NAME, "net");
	put_number(to, MODEL_IR, IR_VERSION);
	put_number(&opset, 2, OPSET);
	put_part(to, MODEL_OPSET, &opset);
	put_part(to, MODEL_GRAPH, graph);
	free(opset.byte);
	free(graph->byte);
}

void onnx_mlp(struct bytes *to, const struct model *model, size_t n)
{
	const int64_t in[] = { (int64_t)n, model_inputs(model) },
		      out[] = { (int64_t)n, model_outputs(model) };
	struct bytes graph = { NULL, 0, 0 };
	char names[64], before[16] = "x", after[16];

	put_value(&graph, GRAPH_INPUT, "x", in, 2);
	put_value(&graph, GRAPH_OUTPUT, "y", out, 2);
	for (uint32_t l = 0; l < model->n_layers; l++) {
		const struct model_layer *layer = &model->layer[l];
		const int64_t dims[] = { layer->outputs, layer->inputs };
		bool last = l + 1 == model->n_layers;

		snprintf(names, sizeof(names), "w%u", l);
		put_initializer(&graph, names, ELEMENT_FLOAT, layer->weight,
			(size_t)layer->inputs * layer->outputs * sizeof(float), dims, 2);
		snprintf(names, sizeof(names), "b%u", l);
		put_initializer(&graph, names, ELEMENT_FLOAT, layer->bias,
			layer->outputs * sizeof(float), dims, 1);
		snprintf(names, sizeof(names), "%s w%u b%u", before, l, l);
		snprintf(after, sizeof(after), "z%u", l);
		if (layer->activation == MODEL_LINEAR && last)
			snprintf(after, sizeof(after), "y");
		put_node(&graph, "Gemm", names, after, "transB", 1);
		memcpy(before, after, sizeof(before));
		if (layer->activation == MODEL_LINEAR)
			continue;
		snprintf(after, sizeof(after), last ? "y" : "h%u", l);
		put_node(&graph, layer->activation == MODEL_RELU ? "Relu" : "Sigmoid", before,
			after, NULL, 0);
		memcpy(before, after, sizeof(before));
	}
	finish(to, &graph);
}

/* [k][4 * units], gates input, forget, cell, output, to [4 * units][k], gates input, output, forget, cell. */
static void turn(const float *from, size_t k, size_t units, float *to)
{
	static const size_t gate[] = { 0, 3, 1, 2 };

	for (size_t g = 0; g < 4; g++)
		for (size_t u = 0; u < units; u++)
			for (size_t i = 0; i < k; i++)
				*to++ = from[(i * 4 + gate[g]) * units + u];
}

void onnx_lstm(struct bytes *to, const struct lstm_model *model, size_t n)
{
	const int64_t in[] = { model->steps, (int64_t)n, model->layer[0].inputs },
		      out[] = { (int64_t)n, model->classes }, one = 1, none = 0;
	size_t units = model->layer[model->n_layers - 1].units;
	const int64_t dense[] = { (int64_t)units, model->classes };
	struct bytes graph = { NULL, 0, 0 };
	char names[64], before[16] = "x", after[32];

	put_value(&graph, GRAPH_INPUT, "x", in, 3);
	put_value(&graph, GRAPH_OUTPUT, "y", out, 2);
	put_initializer(&graph, "one", ELEMENT_INT64, &one, sizeof(one), &one, 1);
	put_initializer(&graph, "zero", ELEMENT_INT64, &none, sizeof(none), &one, 1);
	for (uint32_t l = 0; l < model->n_layers; l++) {
		const struct lstm_layer *layer = &model->layer[l];
		size_t u = layer->units, widest = layer->inputs > u ? layer->inputs : u;
		float *turned = calloc(4 * u * widest + 8 * u, sizeof(float));
		const int64_t w[] = { 1, 4 * (int64_t)u, layer->inputs },
			      r[] = { 1, 4 * (int64_t)u, (int64_t)u }, b[] = { 1, 8 * (int64_t)u };
		bool last = l + 1 == model->n_layers;

		turn(layer->kernel, layer->inputs, u, turned);
		snprintf(names, sizeof(names), "w%u", l);
		put_initializer(&graph, names, ELEMENT_FLOAT, turned,
			4 * u * layer->inputs * sizeof(float), w, 3);
		turn(layer->recurrent, u, u, turned);
		snprintf(names, sizeof(names), "r%u", l);
		put_initializer(
			&graph, names, ELEMENT_FLOAT, turned, 4 * u * u * sizeof(float), r, 3);
		memset(turned, 0, 8 * u * sizeof(float));
		turn(layer->bias, 1, u, turned);
		snprintf(names, sizeof(names), "b%u", l);
		put_initializer(&graph, names, ELEMENT_FLOAT, turned, 8 * u * sizeof(float), b, 2);
		free(turned);
		snprintf(names, sizeof(names), "%s w%u r%u b%u", before, l, l, l);
		snprintf(after, sizeof(after), last ? "- s%u" : "s%u", l);
		put_node(&graph, "LSTM", names, after, "hidden_size", (int64_t)u);
		/* all steps: [steps][1][n][units]; the last hidden state: [1][n][units] */
		snprintf(names, sizeof(names), "s%u %s", l, last ? "zero" : "one");
		snprintf(before, sizeof(before), "h%u", l);
		put_node(&graph, "Squeeze", names, before, NULL, 0);
	}
	put_initializer(&graph, "dense", ELEMENT_FLOAT, model->dense,
		units * model->classes * sizeof(float), dense, 2);
	put_initializer(&graph, "bias", ELEMENT_FLOAT, model->dense_bias,
		model->classes * sizeof(float), dense + 1, 1);
	snprintf(names, sizeof(names), "%s dense bias", before);
	put_node(&graph, "Gemm", names, "logits", "transB", 0);
	put_node(&graph, "Softmax", "logits", "y", "axis", 1);
	finish(to, &graph);
}
