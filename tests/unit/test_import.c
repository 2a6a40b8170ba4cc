// SPDX-License-Identifier: Apache-2.0
/*
 * test_import.c - published models come in exactly: LinnOS's weights and their integers, MLLB's and KML's answers on their
 * own vectors; what is no model is refused with one sentence.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include "agent/infer/import.h"
#include "agent/infer/infer.h"
#include "tests/unit/data.h"

#define MAX_PATHS 6
#define MAX_ROWS 1000
#define WEIGHTS "linnos-lake/weights/"

static char paths[MAX_PATHS][512];
static const char *path_list[MAX_PATHS];

static bool find(const char *const *names, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (!data_path(names[i], paths[i], sizeof(paths[i])))
			return false;
		path_list[i] = paths[i];
	}
	return true;
}

static struct model *import(uint32_t n, const struct import_options *options)
{
	struct model_error error = { "" };
	struct model *model = import_model(path_list, n, options, &error);

	if (!model)
		fail_msg("%s", error.text);
	return model;
}

/* Numbers of a text file, whatever stands between them. */
static size_t numbers(const char *path, double *to, size_t room)
{
	gzFile in = gzopen(path, "rb");
	static char line[1 << 16];
	size_t n = 0;

	assert_non_null(in);
	while (gzgets(in, line, sizeof(line)))
		for (char *word = strtok(line, ", \r\n"); word; word = strtok(NULL, ", \r\n")) {
			char *end;
			double value = strtod(word, &end);

			if (*end)
				break; /* a heading */
			assert_true(n < room);
			to[n++] = value;
		}
	gzclose(in);
	return n;
}

/* ---- LinnOS ---------------------------------------------------------------------------------------- */

static void linnos_floats_and_their_integers(void **state)
{
	/* in the order a shell would list them */
	static const char *const names[] = { WEIGHTS "float_c47a304_bias_0.csv.gz",
		WEIGHTS "float_c47a304_bias_1.csv.gz", WEIGHTS "float_c47a304_weight_0.csv.gz",
		WEIGHTS "float_c47a304_weight_1.csv.gz" };
	const struct import_options options = { .name = "linnos", .decision_threshold = NAN };
	static double w[2][31 * 256], b[2][256];
	struct model *model;

	(void)state;
	if (!find(names, 4))
		skip();
	assert_int_equal(numbers(paths[0], b[0], 256), 256);
	assert_int_equal(numbers(paths[1], b[1], 256), 2);
	assert_int_equal(numbers(paths[2], w[0], 31 * 256), 31 * 256);
	assert_int_equal(numbers(paths[3], w[1], 31 * 256), 256 * 2);
	model = import(4, &options);
	assert_string_equal(model->encoder, "linnos-digits");
	assert_int_equal(model->n_layers, 2);
	assert_int_equal(model->layer[0].activation, MODEL_RELU);
	assert_int_equal(model->layer[1].activation, MODEL_LINEAR);
	assert_true(model->decision_threshold == FLT_MIN);
	assert_true(model->has_integer);
	for (uint32_t l = 0; l < 2; l++) {
		uint32_t n_in = l ? 256 : 31, n_out = l ? 2 : 256;

		assert_int_equal(model->layer[l].inputs, n_in);
		assert_int_equal(model->layer[l].outputs, n_out);
		for (uint32_t o = 0; o < n_out; o++) {
			for (uint32_t i = 0; i < n_in; i++) {
				double value = w[l][i * n_out + o];

				assert_true(model->layer[l].weight[o * n_in + i] == (float)value);
				assert_int_equal(model->integer[l].weight[o * n_in + i],
					llround(value * 1000));
			}
			assert_true(model->layer[l].bias[o] == (float)b[l][o]);
			assert_int_equal(
				model->integer[l].bias[o], llround(b[l][o] * (l ? 1e6 : 1e3)));
		}
	}
	assert_string_equal(model_note_get(model, "imported"), "linnos-csv");
	model_free(model);
}

static void lake_integers_are_taken_as_they_are(void **state)
{
	static const char *const names[] = { WEIGHTS "microbench_2022_weight_i_0_T.csv.gz",
		WEIGHTS "microbench_2022_bias_i_0.csv.gz",
		WEIGHTS "microbench_2022_weight_i_1.csv.gz",
		WEIGHTS "microbench_2022_bias_i_1.csv.gz" };
	const struct import_options options = { .decision_threshold = NAN };
	static double w0[31 * 256], b0[256], w1[512], b1[2];
	float row[31], scores[1];
	struct infer_plan *exact, *plan;
	struct infer_scratch *exact_scratch, *scratch;
	struct model *model;

	(void)state;
	if (!find(names, 4))
		skip();
	assert_int_equal(numbers(paths[0], w0, 31 * 256), 31 * 256);
	assert_int_equal(numbers(paths[1], b0, 256), 256);
	assert_int_equal(numbers(paths[2], w1, 512), 512);
	assert_int_equal(numbers(paths[3], b1, 2), 2);
	model = import(4, &options);
	exact = infer_prepare(model, 1, INFER_INTEGER);
	plan = infer_prepare(model, 1, INFER_FLOAT);
	exact_scratch = infer_scratch_new(exact);
	scratch = infer_scratch_new(plan);
	for (uint32_t seed = 0; seed < 500; seed++) {
		int64_t out[2], expected[2] = { (int64_t)b1[0], (int64_t)b1[1] };

		for (uint32_t i = 0; i < 31; i++)
			row[i] = (float)((seed * 2654435761u >> (i % 24)) % 10);
		for (uint32_t h = 0; h < 256; h++) {
			int64_t sum = (int64_t)b0[h];

			for (uint32_t i = 0; i < 31; i++)
				sum += (int64_t)w0[h * 31 + i] * (int64_t)row[i];
			for (uint32_t o = 0; o < 2 && sum > 0; o++)
				expected[o] += sum * (int64_t)w1[h * 2 + o];
		}
		assert_int_equal(infer_run_integer(exact, exact_scratch, row, 1, out), 0);
		assert_true(out[0] == expected[0] && out[1] == expected[1]);
		/* the floats are the same net a million times smaller */
		assert_int_equal(infer_run(plan, scratch, row, 1, scores), 0);
		assert_true(fabs(scores[0] - (double)(out[1] - out[0]) / 1e6) <
			    infer_error_bound(plan, 9));
	}
	infer_scratch_free(exact_scratch);
	infer_scratch_free(scratch);
	infer_free(exact);
	infer_free(plan);
	model_free(model);
}

/* ---- MLLB ------------------------------------------------------------------------------------------ */

static void mllb_answers_as_published(void **state)
{
	static const char *const names[] = { "mllb/weights_model1.json",
		"mllb/predict_model1.csv.gz" };
	const struct import_options options = { .encoder = "mllb", .decision_threshold = NAN };
	static double table[MAX_ROWS * 18];
	struct infer_plan *plan;
	struct infer_scratch *scratch;
	struct model *model;
	size_t n;

	(void)state;
	if (!find(names, 2))
		skip();
	n = numbers(paths[1], table, MAX_ROWS * 18);
	assert_true(n >= 18 && n % 18 == 0);
	model = import(1, &options);
	plan = infer_prepare(model, 1, INFER_FLOAT);
	scratch = infer_scratch_new(plan);
	for (size_t r = 0; r < n / 18; r++) {
		const double *line = table + r * 18;
		float row[15], score;

		for (int i = 0; i < 15; i++)
			row[i] = (float)line[i];
		assert_int_equal(infer_run(plan, scratch, row, 1, &score), 0);
		assert_true(fabs(score - line[17]) < 1e-4);
		assert_int_equal(score >= model->decision_threshold, line[16]);
	}
	print_message("  %zu rows\n", n / 18);
	infer_scratch_free(scratch);
	infer_free(plan);
	model_free(model);
}

/* ---- KML ------------------------------------------------------------------------------------------- */

static size_t kml_right(const struct model *model, const double *rows, const double *classes)
{
	struct infer_plan *plan = infer_prepare(model, 1, INFER_FLOAT);
	struct infer_scratch *scratch = infer_scratch_new(plan);
	size_t right = 0;

	for (size_t r = 0; r < 422; r++) {
		float row[5], out[4];
		int best = 0;

		for (int i = 0; i < 5; i++)
			row[i] = (float)rows[r * 5 + i];
		assert_int_equal(infer_run_outputs(plan, scratch, row, 1, out), 0);
		for (int o = 1; o < 4; o++)
			best = out[o] > out[best] ? o : best;
		right += best == classes[r];
	}
	infer_scratch_free(scratch);
	infer_free(plan);
	return right;
}

static void kml_classifies_as_published(void **state)
{
#define KML "kml/nn_arch_data/"
	static const char *const names[] = { KML "linear0_w.csv", KML "linear0_bias.csv",
		KML "linear1_w.csv", KML "linear1_bias.csv", KML "linear2_w.csv",
		KML "linear2_bias.csv" };
	const struct import_options options = {
		.encoder = "kml", .activations = "sigmoid,sigmoid,linear", .decision_threshold = 0
	};
	static double rows[422 * 5], classes[422];
	double mean[5], deviation[5];
	struct model *model;
	char path[512];

	(void)state;
	if (!find(names, 6))
		skip();
	assert_true(data_path(KML "input.csv", path, sizeof(path)));
	assert_int_equal(numbers(path, rows, 422 * 5), 422 * 5);
	assert_true(data_path(KML "output.csv", path, sizeof(path)));
	assert_int_equal(numbers(path, classes, 422), 422);
	assert_true(data_path(KML "mean.csv", path, sizeof(path)));
	assert_int_equal(numbers(path, mean, 5), 5);
	assert_true(data_path(KML "stddev.csv", path, sizeof(path)));
	assert_int_equal(numbers(path, deviation, 5), 5);
	model = import(6, &options);
	assert_false(model->has_integer);
	assert_int_equal(kml_right(model, rows, classes), 390);
	/* The same from raw numbers, the scaling done by the model. */
	model->mean = calloc(5, sizeof(float));
	model->scale = calloc(5, sizeof(float));
	for (int i = 0; i < 5; i++) {
		model->mean[i] = (float)mean[i];
		model->scale[i] = (float)(1 / deviation[i]);
	}
	for (size_t i = 0; i < 422 * 5; i++)
		rows[i] = rows[i] * deviation[i % 5] + mean[i % 5];
	assert_int_equal(kml_right(model, rows, classes), 390);
	model_free(model);
}

/* ---- small ones of our own ------------------------------------------------------------------------- */

#define TEXT(file_name, text) \
	((struct import_file){ .name = file_name, .bytes = text, .n_bytes = sizeof(text) - 1 })

static const struct import_options any = { .encoder = "any", .decision_threshold = NAN };

static void csv_layouts_are_told_apart(void **state)
{
	/* 3 inputs, 2 outputs: Keras's way, torch's way, one column of each */
	static const char *const weights[] = { "1,2\n3,4\n5,6\n", "1 3 5\r\n2 4 6\r\n",
		"1\n2\n3\n4\n5\n6", "1\n3\n5\n2\n4\n6\n\n" };
	static const char *const weight_names[] = { "weight_0.csv", "w/0_w.csv", "w0.csv",
		"weight_0_T.csv" };

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct import_file files[] = { { weight_names[i], weights[i], strlen(weights[i]) },
			TEXT("x7/bias_0.csv", "10000\n-20000\n") };
		struct model_error error = { "" };
		struct model *model = import_linnos_csv(files, 2, &any, &error);

		if (!model)
			fail_msg("layout %d: %s", i, error.text);
		assert_int_equal(model->layer[0].inputs, 3);
		assert_int_equal(model->layer[0].outputs, 2);
		for (int o = 0; o < 2; o++)
			for (int k = 0; k < 3; k++)
				assert_int_equal(
					model->integer[0].weight[o * 3 + k], 1 + 2 * k + o);
		assert_true(model->layer[0].weight[5] == 0.006f);
		assert_true(model->layer[0].bias[1] == -20);
		model_free(model);
	}
}

static void damaged_csv_is_refused(void **state)
{
	static const struct {
		const char *w_name, *w, *b_name, *b, *sentence;
	} cases[] = {
		{ "weight_0.csv", "1,2\n3\n", "bias_0.csv", "1,2", "line 2 has 1 numbers" },
		{ "weight_0.csv", "1,x\n", "bias_0.csv", "1", "no number" },
		{ "weight_0.csv", "1,nan\n", "bias_0.csv", "1", "no number" },
		{ "weight_0.csv", "1,0x10\n", "bias_0.csv", "1", "no number" },
		{ "weight_0.csv", "1e999\n", "bias_0.csv", "1", "no number" },
		{ "weight_0.csv", "1e300\n", "bias_0.csv", "1", "infinite" },
		{ "weight_0.csv", "", "bias_0.csv", "1", "is empty" },
		{ "weight_0.csv", "1,2\n3,4\n", "bias_0.csv", "1,2,3", "do not fit" },
		{ "weight_1.csv", "1", "bias_0.csv", "1", "does not name a layer" },
		{ "weight.csv", "1", "bias_0.csv", "1", "does not name a layer" },
		{ "bias_0.csv", "1", "bias_0.csv", "1", "another file" },
		{ "weight_0.csv", "1", "weight_0.csv", "1", "another file" },
	};
	struct model_error error;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct import_file files[] = { { cases[i].w_name, cases[i].w, strlen(cases[i].w) },
			{ cases[i].b_name, cases[i].b, strlen(cases[i].b) } };

		error.text[0] = 0;
		assert_null(import_linnos_csv(files, 2, &any, &error));
		if (!strstr(error.text, cases[i].sentence))
			fail_msg("case %zu: expected '%s', got '%s'", i, cases[i].sentence,
				error.text);
	}
	assert_null(import_linnos_csv(NULL, 0, &any, &error));
	assert_null(import_linnos_csv(
		(struct import_file[]){ TEXT("bias_0.csv", "1") }, 1, &any, &error));
}

static void keras_shapes_and_refusals(void **state)
{
	static const struct {
		const char *json, *sentence; /* NULL = accepted */
	} cases[] = {
		{ "{\"dense_10/bias:0\":[1],\"dense_10/kernel:0\":[[2]],\"dense_9/d/"
		  "kernel:0\":[[3]],"
		  "\"dense_9/d/bias:0\":[4]}",
			NULL },
		{ "[[[3]],[4],[[2]],[1]]", NULL },
		{ "[[[3]],[4],[[2]]]", "3 entries" },
		{ "[]", "0 entries" },
		{ "7", "no JSON object" },
		{ "{", "no JSON object" },
		{ "{}", "0 layers" },
		{ "{\"a/kernel:0\":[[1]]}", "Kernel or bias of layer 0" },
		{ "{\"a/kernel:0\":[[1],[2,3]],\"a/bias:0\":[1]}", "Kernel or bias of layer 0" },
		{ "{\"a/kernel:0\":[[\"x\"]],\"a/bias:0\":[1]}", "Kernel or bias of layer 0" },
		{ "{\"a/kernel:0\":[[1e39]],\"a/bias:0\":[1]}", "infinite" },
		{ "{\"a/kernel:0\":[[1]],\"a/bias:0\":[1],\"b/kernel:0\":[[1]],\"b/bias:0\":[1]}",
			"no order" },
		{ "{\"a/kernel:0\":[[1]],\"a/bias:0\":[1,2]}", "do not fit" },
		{ "{\"gamma:0\":[1]}", "no kernel or bias" },
		{ "{\"a/kernel:0\":1,\"a/kernel:0\":2}", "no JSON object" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct import_file file = { "m.json", cases[i].json, strlen(cases[i].json) };
		struct model_error error = { "" };
		struct model *model = import_keras(&file, &any, &error);

		if (!model != (cases[i].sentence != NULL) ||
			(!model && !strstr(error.text, cases[i].sentence)))
			fail_msg("case %zu: '%s'", i, model ? "a model" : error.text);
		if (model) {
			assert_true(model->layer[0].weight[0] == 3 && model->layer[0].bias[0] == 4);
			assert_true(model->layer[1].weight[0] == 2 && model->layer[1].bias[0] == 1);
			assert_true(model->decision_threshold > 0.5f);
		}
		model_free(model);
	}
}

static struct model *import_tensors(const char *json, size_t n_floats, struct model_error *error)
{
	uint8_t bytes[2048] = { 0 };
	size_t n = strlen(json);
	struct import_file file = { "m.safetensors", bytes, 8 + n + 4 * n_floats };
	float value;

	assert_true(file.n_bytes < sizeof(bytes));
	bytes[0] = (uint8_t)n;
	bytes[1] = (uint8_t)(n >> 8);
	memcpy(bytes + 8, json, n);
	for (size_t i = 0; i < n_floats; i++) {
		value = (float)(i + 1);
		memcpy(bytes + 8 + n + 4 * i, &value, 4);
	}
	return import_safetensors(&file, &any, error);
}

static void torch_names_and_refusals(void **state)
{
#define T(name, shape, from, to) \
	"\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":[" from "," to "]}"
	struct model_error error = { "" };
	struct model *model = import_tensors(
		"{\"__metadata__\":{\"format\":\"pt\"}," T("net.2.bias", "[1]", "0", "4") "," T(
			"net.2.weight", "[1,2]", "4", "12") "," T("net.0.weight", "[2,1]", "12",
			"20") "," T("net.0.bias", "[2]", "20", "28") "}",
		7, &error);

	(void)state;
	if (!model)
		fail_msg("%s", error.text);
	assert_int_equal(model->n_layers, 2);
	assert_true(model->layer[0].weight[1] == 5 && model->layer[0].bias[1] == 7);
	assert_true(model->layer[1].weight[1] == 3 && model->layer[1].bias[0] == 1);
	model_free(model);
	assert_null(import_tensors("{" T("0.weight", "[1,1]", "0", "4") "}", 1, &error));
	assert_non_null(strstr(error.text, "nothing else"));
	assert_null(import_tensors(
		"{" T("0.weight", "[1,1]", "0", "4") "," T("1.bias", "[1]", "4", "8") "}", 2,
		&error));
	assert_non_null(strstr(error.text, "needs two dimensions"));
	assert_null(import_tensors(
		"{" T("w.weight", "[1,1]", "0", "4") "," T("w.bias", "[1]", "4", "8") "}", 2,
		&error));
	assert_non_null(strstr(error.text, "must be named"));
	assert_null(import_tensors("{}", 0, &error));
}

/* ---- by path --------------------------------------------------------------------------------------- */

static void paths_are_checked(void **state)
{
	static const char json[] = "[[[3]],[4]]";
	char path[] = P_tmpdir "/semantos-import-XXXXXX.json.gz";
	const char *list[] = { path, path };
	struct import_options options = any;
	struct model_error error = { "" };
	struct model *model;
	int fd = mkstemps(path, 8);
	gzFile out;

	(void)state;
	assert_true(fd >= 0);
	out = gzdopen(fd, "wb");
	assert_int_equal(gzwrite(out, json, sizeof(json) - 1), sizeof(json) - 1);
	assert_int_equal(gzclose(out), Z_OK);
	model = import_model(list, 1, &options, &error);
	assert_non_null(model);
	assert_string_equal(model->name, "imported");
	assert_string_equal(model_note_get(model, "imported_from"), path);
	model_free(model);
	assert_null(import_model(list, 2, &options, &error));
	assert_non_null(strstr(error.text, "Only CSV"));
	options.encoder = NULL;
	assert_null(import_model(list, 1, &options, &error));
	assert_non_null(strstr(error.text, "name the encoder"));
	options.encoder = "linnos-digits";
	assert_null(import_model(list, 1, &options, &error));
	assert_non_null(strstr(error.text, "gives 31"));
	options = any;
	options.name = "no/slash";
	assert_null(import_model(list, 1, &options, &error));
	options = any;
	options.activations = "relu,linear";
	assert_null(import_model(list, 1, &options, &error));
	assert_int_equal(truncate(path, 15), 0);
	assert_null(import_model(list, 1, &any, &error));
	assert_non_null(strstr(error.text, "copy it again"));
	unlink(path);
	assert_null(import_model(list, 1, &any, &error));
	assert_null(import_model(list, 0, &any, &error));
	list[0] = "/dev/zero";
	assert_null(import_model(list, 1, &any, &error));
	assert_non_null(strstr(error.text, "no regular file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(linnos_floats_and_their_integers),
		cmocka_unit_test(lake_integers_are_taken_as_they_are),
		cmocka_unit_test(mllb_answers_as_published),
		cmocka_unit_test(kml_classifies_as_published),
		cmocka_unit_test(csv_layouts_are_told_apart),
		cmocka_unit_test(damaged_csv_is_refused),
		cmocka_unit_test(keras_shapes_and_refusals),
		cmocka_unit_test(torch_names_and_refusals),
		cmocka_unit_test(paths_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
