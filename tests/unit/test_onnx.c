// SPDX-License-Identifier: Apache-2.0
/*
 * test_onnx.c - the engines against answers they had no part in: the ONNX project's own vectors for Gemm, Sigmoid, LSTM and
 * Softmax, by every engine of this CPU. All weights of its LSTM vectors are equal, so they say nothing about the order of
 * gates; test_lstm.c does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include "agent/infer/infer.h"
#include "agent/infer/lstm.h"
#include "onnx_tensor.h"

static const char *const engines[] = { "scalar", "avx2", "avx512", "avx512-bf16" };
#define N_ENGINES 4

static struct onnx_tensor a, b, c, bias, expected;

/* rows: [n][inputs], expected: [n][outputs] */
static void outputs_are(const struct model *model, const float *rows, const float *wanted, size_t n)
{
	float *out = malloc(n * model_outputs(model) * sizeof(*out));

	for (size_t e = 0; e < N_ENGINES; e++) {
		struct infer_plan *plan;
		struct infer_scratch *scratch;

		setenv("SEMANTOS_INFER", engines[e], 1);
		plan = infer_prepare(model, (uint32_t)n, INFER_FLOAT);
		scratch = infer_scratch_new(plan);
		assert_true(plan && scratch && out);
		assert_int_equal(infer_run_outputs(plan, scratch, rows, n, out), 0);
		for (size_t i = 0; i < n * model_outputs(model); i++)
			assert_true(fabsf(out[i] - wanted[i]) <= 1e-5f * (1 + fabsf(wanted[i])));
		infer_scratch_free(scratch);
		infer_free(plan);
	}
	unsetenv("SEMANTOS_INFER");
	free(out);
}

static void gemm(void **state)
{
	const char *test = "test_gemm_default_vector_bias";
	uint32_t widths[2];
	struct model *model;

	(void)state;
	if (!onnx_read(test, "input_0", &a) || !onnx_read(test, "input_1", &b) ||
		!onnx_read(test, "input_2", &c) || !onnx_read(test, "output_0", &expected))
		skip();
	widths[0] = (uint32_t)b.dims[0];
	widths[1] = (uint32_t)b.dims[1];
	assert_int_equal(a.dims[1], widths[0]);
	assert_int_equal(c.n, widths[1]);
	assert_int_equal(expected.n, a.dims[0] * widths[1]);
	model = model_new("m", "e", widths, 2);
	for (size_t o = 0; o < widths[1]; o++) {
		for (size_t i = 0; i < widths[0]; i++)
			model->layer[0].weight[o * widths[0] + i] = b.value[i * widths[1] + o];
		model->layer[0].bias[o] = c.value[o];
	}
	outputs_are(model, a.value, expected.value, a.dims[0]);
	model_free(model);
}

static void sigmoid(void **state)
{
	static const char *const tests[] = { "test_sigmoid", "test_sigmoid_example" };
	const uint32_t widths[] = { 1, 1 };
	struct model *model = model_new("m", "e", widths, 2);

	(void)state;
	model->layer[0].weight[0] = 1;
	model->layer[0].activation = MODEL_SIGMOID;
	for (size_t t = 0; t < 2; t++) {
		if (!onnx_read(tests[t], "input_0", &a) ||
			!onnx_read(tests[t], "output_0", &expected)) {
			model_free(model);
			skip();
		}
		assert_true(a.n > 0 && a.n == expected.n);
		outputs_are(model, a.value, expected.value, a.n);
	}
	model_free(model);
}

/* ONNX keeps [4 * units][inputs], gates in the order input, output, forget, cell. */
static void turn(const float *from, size_t units, size_t inputs, float *to)
{
	static const size_t gate[] = { 0, 2, 3, 1 };

	for (size_t g = 0; g < 4; g++)
		for (size_t u = 0; u < units; u++)
			for (size_t i = 0; i < inputs; i++)
				to[(i * 4 + g) * units + u] =
					from[(gate[g] * units + u) * inputs + i];
}

/*
 * One step, then a dense layer that changes nothing: the probabilities are the softmax of the hidden state the test
 * expects, which its logarithm's differences give back.
 */
static void lstm_test(const char *test, bool with_bias)
{
	float kernel[512], recurrent[512], biases[256] = { 0 }, identity[256] = { 0 },
					   zeros[64] = { 0 };
	float second[256], probability[64];
	struct lstm_model model = { .n_layers = 1, .steps = 1 };
	size_t units, inputs;

	if (!onnx_read(test, "input_0", &a) || !onnx_read(test, "input_1", &b) ||
		!onnx_read(test, "input_2", &c) || !onnx_read(test, "output_0", &expected))
		skip();
	units = c.dims[2];
	inputs = b.dims[2];
	assert_true(units <= 8 && inputs <= 8 && a.dims[0] == 1);
	assert_int_equal(expected.n, a.dims[1] * units);
	turn(b.value, units, inputs, kernel);
	turn(c.value, units, units, recurrent);
	if (with_bias) {
		assert_true(onnx_read(test, "input_3", &bias));
		turn(bias.value, units, 1, biases);
		turn(bias.value + 4 * units, units, 1, second);
		for (size_t i = 0; i < 4 * units; i++)
			biases[i] += second[i];
	}
	for (size_t u = 0; u < units; u++)
		identity[u * units + u] = 1;
	model.classes = (uint32_t)units;
	model.layer[0] =
		(struct lstm_layer){ (uint32_t)inputs, (uint32_t)units, kernel, recurrent, biases };
	model.dense = identity;
	model.dense_bias = zeros;
	for (size_t e = 0; e < N_ENGINES; e++) {
		struct lstm_plan *plan;
		struct lstm_scratch *scratch;
		float tolerance = e == 3 ? 1e-2f : 1e-5f;

		setenv("SEMANTOS_INFER", engines[e], 1);
		plan = lstm_prepare(&model);
		scratch = lstm_scratch_new(plan);
		for (size_t r = 0; r < a.dims[1]; r++) {
			const float *hidden = expected.value + r * units;

			assert_int_equal(
				lstm_run(plan, scratch, a.value + r * inputs, 1, probability, NULL),
				0);
			for (size_t u = 1; u < units; u++)
				assert_true(fabsf(logf(probability[u] / probability[0]) -
						    (hidden[u] - hidden[0])) < tolerance);
		}
		lstm_scratch_free(scratch);
		lstm_free(plan);
	}
	unsetenv("SEMANTOS_INFER");
}

static void lstm_defaults(void **state)
{
	(void)state;
	lstm_test("test_lstm_defaults", false);
}

static void lstm_with_bias(void **state)
{
	(void)state;
	lstm_test("test_lstm_with_initial_bias", true);
}

/* A net whose gates are shut gives the dense bias alone: its softmax. */
static void softmax(void **state)
{
	float nothing[64] = { 0 }, x[] = { 0 }, probability[512];
	struct lstm_model model = { .n_layers = 1, .steps = 1 };

	(void)state;
	if (!onnx_read("test_softmax_large_number", "input_0", &a) ||
		!onnx_read("test_softmax_large_number", "output_0", &expected))
		skip();
	model.layer[0] = (struct lstm_layer){ 1, 1, nothing, nothing, nothing };
	model.dense = nothing;
	model.classes = (uint32_t)a.dims[1];
	for (size_t r = 0; r < a.dims[0]; r++) {
		model.dense_bias = a.value + r * model.classes;
		for (size_t e = 0; e < N_ENGINES; e++) {
			struct lstm_plan *plan;
			struct lstm_scratch *scratch;

			setenv("SEMANTOS_INFER", engines[e], 1);
			plan = lstm_prepare(&model);
			scratch = lstm_scratch_new(plan);
			assert_int_equal(lstm_run(plan, scratch, x, 1, probability, NULL), 0);
			for (uint32_t i = 0; i < model.classes; i++)
				assert_true(fabsf(probability[i] -
						    expected.value[r * model.classes + i]) < 1e-6f);
			lstm_scratch_free(scratch);
			lstm_free(plan);
		}
	}
	unsetenv("SEMANTOS_INFER");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gemm),
		cmocka_unit_test(sigmoid),
		cmocka_unit_test(lstm_defaults),
		cmocka_unit_test(lstm_with_bias),
		cmocka_unit_test(softmax),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
