// SPDX-License-Identifier: Apache-2.0
/*
 * test_model.c - a saved model comes back bit for bit, a damaged file is refused with one sentence, and a failed save
 * leaves the old file alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/infer/model.h"
#include "agent/infer/random.h"

static char folder[] = P_tmpdir "/semantos-model-XXXXXX", file[64];

static struct model *sample(void)
{
	const uint32_t widths[] = { 12, 7, 2 };
	struct model *model = model_new("sample", "heimdall", widths, 3);
	struct random_state random = random_seed(5);

	assert_non_null(model);
	for (uint32_t l = 0; l < model->n_layers; l++)
		for (uint32_t o = 0; o < model->layer[l].outputs; o++) {
			model->layer[l].bias[o] = (float)(random_unit(&random) - 0.5);
			for (uint32_t i = 0; i < model->layer[l].inputs; i++)
				model->layer[l].weight[o * model->layer[l].inputs + i] =
					(float)(random_unit(&random) - 0.5);
		}
	model->mean = calloc(12, sizeof(float));
	model->scale = calloc(12, sizeof(float));
	assert_true(model->mean && model->scale);
	for (int i = 0; i < 12; i++) {
		model->mean[i] = (float)i / 3;
		model->scale[i] = 1 / (float)(i + 1);
	}
	model->slow_threshold_us = 1887.03f;
	model->decision_threshold = 1.17549435e-38f;
	assert_int_equal(model_note_set(model, "device", "nvme0n1 \"quoted\" \xc3\xbc"), 0);
	assert_int_equal(model_note_set(model, "rows", "20000"), 0);
	assert_int_equal(model_quantise(model), 0);
	return model;
}

static void assert_same(const struct model *a, const struct model *b)
{
	assert_string_equal(a->name, b->name);
	assert_string_equal(a->encoder, b->encoder);
	assert_int_equal(a->n_layers, b->n_layers);
	assert_int_equal(a->has_integer, b->has_integer);
	assert_memory_equal(&a->slow_threshold_us, &b->slow_threshold_us, sizeof(float));
	assert_memory_equal(&a->decision_threshold, &b->decision_threshold, sizeof(float));
	for (uint32_t l = 0; l < a->n_layers; l++) {
		const struct model_layer *x = &a->layer[l], *y = &b->layer[l];
		size_t cells = (size_t)x->inputs * x->outputs;

		assert_int_equal(x->inputs, y->inputs);
		assert_int_equal(x->outputs, y->outputs);
		assert_int_equal(x->activation, y->activation);
		assert_memory_equal(x->weight, y->weight, cells * sizeof(float));
		assert_memory_equal(x->bias, y->bias, x->outputs * sizeof(float));
		assert_memory_equal(a->integer[l].weight, b->integer[l].weight, cells * 8);
		assert_memory_equal(a->integer[l].bias, b->integer[l].bias, x->outputs * 8);
	}
	assert_memory_equal(a->mean, b->mean, model_inputs(a) * sizeof(float));
	assert_memory_equal(a->scale, b->scale, model_inputs(a) * sizeof(float));
	assert_int_equal(a->n_notes, b->n_notes);
	for (uint32_t i = 0; i < a->n_notes; i++)
		assert_string_equal(model_note_get(b, a->note[i].key), a->note[i].value);
}

static void saved_comes_back(void **state)
{
	struct model *model = sample(), *loaded, *copy;
	struct model_error error = { "" };
	struct stat st;

	(void)state;
	model->layer[0].activation = MODEL_SIGMOID;
	assert_int_equal(model_save(model, file, &error), 0);
	loaded = model_load(file, &error);
	if (!loaded)
		fail_msg("%s", error.text);
	assert_same(model, loaded);
	copy = model_clone(loaded);
	assert_non_null(copy);
	assert_same(model, copy);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	model_free(copy);
	model_free(loaded);
	model_free(model);
}

static void notes_are_bounded_and_clean(void **state)
{
	const uint32_t widths[] = { 1, 1 };
	struct model *model = model_new("n", "pending-only", widths, 2);
	char key[16];

	(void)state;
	assert_int_equal(model_note_set(model, "who", "a\x1b[2J\nb"), 0);
	assert_string_equal(model_note_get(model, "who"), "a [2J b");
	assert_int_equal(model_note_set(model, "who", "c"), 0);
	assert_string_equal(model_note_get(model, "who"), "c");
	assert_int_equal(model->n_notes, 1);
	assert_null(model_note_get(model, "absent"));
	for (int i = 1; i < MODEL_NOTES_MAX; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_int_equal(model_note_set(model, key, "v"), 0);
	}
	assert_int_equal(model_note_set(model, "one too many", "v"), -ENOSPC);
	assert_int_equal(model_note_set(model, "who", "still replaced"), 0);
	model_free(model);
	model_free(NULL);
}

static void impossible_models_are_not_made(void **state)
{
	const uint32_t zero[] = { 3, 0, 1 }, wide[] = { MODEL_MAX_WIDTH + 1, 1 },
		       deep[MODEL_MAX_LAYERS + 2] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };

	(void)state;
	assert_null(model_new("m", "e", zero, 3));
	assert_null(model_new("m", "e", wide, 2));
	assert_null(model_new("m", "e", deep, MODEL_MAX_LAYERS + 2));
	assert_null(model_new("m", "e", deep, 1));
	assert_null(model_new("a name of more than thirty-one characters", "e", deep, 2));
}

/* ---- refusals -------------------------------------------------------------------------------------- */

#define META(rest)                                                                                \
	"\"__metadata__\":{\"format\":\"semantos-model-1\",\"name\":\"m\",\"encoder\":\"pending-" \
	"only\","                                                                                 \
	"\"activations\":\"linear\"" rest "}"
#define W "\"layer.0.weight\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[0,4]}"
#define B "\"layer.0.bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}"
#define GOOD "{" META("") "," W "," B "}"

static const struct {
	const char *json, *sentence; /* part of what must be said */
	uint32_t first; /* bits of the first float */
	size_t n_data;
} refused[] = {
	{ "{" META("") "," W "," B, "no JSON object", 0, 8 },
	{ "[]", "no JSON object", 0, 8 },
	{ "", "no JSON object", 0, 8 },
	{ GOOD, "lies outside the file", 0, 7 },
	{ GOOD, "belong to no tensor", 0, 12 },
	{ GOOD, "NaN or an infinity", 0x7fc00000, 8 },
	{ GOOD, "NaN or an infinity", 0xff800000, 8 },
	{ "{" W "," B "}", "format is ''", 0, 8 },
	{ "{\"__metadata__\":7," W "," B "}", "no object", 0, 8 },
	{ "{\"__metadata__\":{\"format\":\"pt\"}," W "," B "}", "format is 'pt'", 0, 8 },
	{ "{" META("") "," B "}", "follows a gap", 0, 8 },
	{ "{" META("") "," W "," W "," B "}", "duplicate", 0, 8 },
	{ "{" META(",\"name\":\"n\"") "," W "," B "}", "duplicate", 0, 8 },
	{ "{" META(",\"note.x\":7") "," W "," B "}", "no string", 0, 8 },
	{ "{" META(",\"decision_threshold\":\"1e99\"") "," W "," B "}", "no number", 0, 8 },
	{ "{" META(",\"decision_threshold\":\"nan\"") "," W "," B "}", "no number", 0, 8 },
	{ "{" META(",\"decision_threshold\":0.5") "," W "," B "}", "no string", 0, 8 },
	{ "{" META(",\"slow_threshold_us\":\"-1\"") "," W "," B "}", "negative", 0, 8 },
	{ "{" META(",\"log2_latency_error_us\":\"-1\"") "," W "," B "}", "foresees latencies", 0,
		8 },
	{ "{" META(",\"log2_latency_error_us\":\"5\"") "," W "," B "}", "foresees latencies", 0,
		8 },
	{ "{" META(",\"silence_us\":\"-1\"") "," W "," B "}", "foresees latencies", 0, 8 },
	{ "{" META("") "," W ",\"layer.0.bias\":{\"dtype\":\"F32\",\"shape\":[1],"
		       "\"data_offsets\":[0,4]}}",
		"overlaps", 0, 4 },
	{ "{" META("") "," W ",\"layer.0.bias\":{\"dtype\":\"F32\",\"shape\":[2],"
		       "\"data_offsets\":[4,12]}}",
		"wrong shape", 0, 12 },
	{ "{" META("") "," W ",\"layer.0.bias\":{\"dtype\":\"F32\",\"shape\":[1],"
		       "\"data_offsets\":[4,9]}}",
		"its shape needs", 0, 9 },
	{ "{" META("") "," W ",\"layer.0.bias\":{\"dtype\":\"F32\",\"shape\":[1],"
		       "\"data_offsets\":[8,4]}}",
		"lies outside", 0, 8 },
	{ "{" META("") "," W ",\"layer.0.bias\":{\"dtype\":\"F16\",\"shape\":[1],"
		       "\"data_offsets\":[4,6]}}",
		"type 'F16'", 0, 6 },
	{ "{" META("") "," W ",\"layer.0.bias\":{\"dtype\":\"F32\",\"shape\":[99999999999],"
		       "\"data_offsets\":[4,8]}}",
		"dimension outside", 0, 8 },
	{ "{" META("") "," W ",\"layer.0.bias\":{\"dtype\":\"F32\",\"shape\":[1,1,1],"
		       "\"data_offsets\":[4,8]}}",
		"3 dimensions", 0, 8 },
	{ "{" META("") "," W ",\"layer.0.bias\":7}", "lacks dtype", 0, 8 },
	{ "{" META("") "," W ",\"layer.0.other\":{\"dtype\":\"F32\",\"shape\":[1],"
		       "\"data_offsets\":[4,8]}}",
		"'layer.0.bias' is missing", 0, 8 },
	{ "{" META("") "," W "," B ",\"stranger\":{\"dtype\":\"F32\",\"shape\":[1],"
		       "\"data_offsets\":[8,12]}}",
		"does not know", 0, 12 },
	{ "{\"__metadata__\":{\"format\":\"semantos-model-1\",\"name\":\"m\",\"encoder\":\"pending-"
	  "only\","
	  "\"activations\":\"linear,relu\"}," W "," B "}",
		"2 activations for 1 layers", 0, 8 },
	{ "{\"__metadata__\":{\"format\":\"semantos-model-1\",\"name\":\"m\",\"encoder\":\"pending-"
	  "only\","
	  "\"activations\":\"tanh\"}," W "," B "}",
		"'tanh' is unknown", 0, 8 },
	{ "{\"__metadata__\":{\"format\":\"semantos-model-1\",\"name\":\"m\",\"encoder\":\"pending-"
	  "only\"}," W "," B "}",
		"activations is missing", 0, 8 },
	{ "{\"__metadata__\":{\"format\":\"semantos-model-1\",\"name\":\"../"
	  "m\",\"encoder\":\"pending-only\","
	  "\"activations\":\"linear\"}," W "," B "}",
		"Name or encoder", 0, 8 },
	{ "{\"__metadata__\":{\"format\":\"semantos-model-1\",\"name\":\"m\",\"encoder\":\"linnos-"
	  "digits\","
	  "\"activations\":\"linear\"}," W "," B "}",
		"takes 1 inputs", 0, 8 },
};

static struct model *parse(
	const char *json, uint32_t first, size_t n_data, struct model_error *error)
{
	size_t n = strlen(json);
	uint8_t *bytes = calloc(1, 8 + n + n_data);
	struct model *model;

	assert_non_null(bytes);
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(n >> 8 * i);
	memcpy(bytes + 8, json, n);
	if (n_data >= 4)
		memcpy(bytes + 8 + n, &first, 4);
	model = model_parse(bytes, 8 + n + n_data, error);
	free(bytes);
	return model;
}

static void damaged_files_are_refused(void **state)
{
	struct model_error error = { "" };
	struct model *model = parse(GOOD, 0, 8, &error);

	(void)state;
	if (!model)
		fail_msg("the undamaged one: %s", error.text);
	model_free(model);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		error.text[0] = 0;
		model = parse(refused[i].json, refused[i].first, refused[i].n_data, &error);
		if (model || !strstr(error.text, refused[i].sentence))
			fail_msg("case %zu: expected '%s', got '%s'", i, refused[i].sentence,
				model ? "a model" : error.text);
		assert_true(error.text[strlen(error.text) - 1] == '.');
		assert_null(parse(refused[i].json, refused[i].first, refused[i].n_data, NULL));
	}
}

static void every_truncation_is_refused(void **state)
{
	struct model *model = sample(), *loaded;
	struct model_error error;
	uint8_t *bytes;
	FILE *in;
	size_t n;

	(void)state;
	assert_int_equal(model_save(model, file, &error), 0);
	model_free(model);
	in = fopen(file, "rb");
	assert_non_null(in);
	bytes = malloc(1 << 16);
	n = fread(bytes, 1, 1 << 16, in);
	fclose(in);
	assert_in_range(n, 1000, (1 << 16) - 1);
	for (size_t cut = 0; cut < n; cut++) {
		uint8_t *exact =
			malloc(cut ? cut : 1); /* so that a sanitizer sees one byte too far */

		memcpy(exact, bytes, cut);
		error.text[0] = 0;
		assert_null(model_parse(exact, cut, &error));
		assert_true(error.text[0]);
		free(exact);
	}
	loaded = model_parse(bytes, n, &error);
	assert_non_null(loaded);
	model_free(loaded);
	memset(bytes, 0xff, 8);
	assert_null(model_parse(bytes, n, &error));
	free(bytes);
}

static void deep_and_hostile_headers_are_refused(void **state)
{
	struct model_error error = { "" };
	char *deep = malloc(100001);

	(void)state;
	memset(deep, '[', 100000);
	deep[100000] = 0;
	assert_null(parse(deep, 0, 8, &error));
	assert_true(error.text[0]);
	free(deep);
	assert_null(parse("{" META("") ",\"\x1b[2J\":{}}", 0, 8, &error));
	for (const char *c = error.text; *c; c++)
		assert_true(*c >= 0x20 && *c < 0x7f);
}

static void odd_paths_are_refused(void **state)
{
	struct model_error error = { "" };
	char fifo[80];

	(void)state;
	assert_null(model_load("/nonexistent/model", &error));
	assert_non_null(strstr(error.text, "No such file"));
	assert_null(model_load(folder, &error));
	assert_non_null(strstr(error.text, "no regular file"));
	snprintf(fifo, sizeof(fifo), "%s/fifo", folder);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_null(model_load(fifo, &error));
	assert_non_null(strstr(error.text, "no regular file"));
	unlink(fifo);
}

/* ---- saving ---------------------------------------------------------------------------------------- */

static void failed_save_leaves_the_old_file(void **state)
{
	struct rlimit old, small = { 600, 600 };
	struct model *model = sample(), *loaded;
	struct model_error error = { "" };
	char left_over[128];

	(void)state;
	assert_int_equal(model_save(model, file, &error), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	model->layer[0].bias[0] = 42;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(model_save(model, file, &error), -EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_non_null(strstr(error.text, "the old one still stands"));
	loaded = model_load(file, &error);
	assert_non_null(loaded);
	assert_true(loaded->layer[0].bias[0] != 42);
	snprintf(left_over, sizeof(left_over), "test $(ls %s | wc -l) -eq 1", folder);
	assert_int_equal(system(left_over), 0);
	assert_int_equal(model_save(model, "/nonexistent/folder/m", &error), -ENOENT);
	model->layer[1].weight[3] = NAN;
	assert_int_equal(model_save(model, file, &error), -EINVAL);
	model_free(loaded);
	model_free(model);
}

/* ---- the integer twin ------------------------------------------------------------------------------ */

static void twin_follows_the_published_rule(void **state)
{
	const uint32_t widths[] = { 2, 1, 2 };
	struct model *model = model_new("m", "e", widths, 3);

	(void)state;
	model->layer[0].weight[0] = 0.0256f;
	model->layer[0].weight[1] = -0.1299f;
	model->layer[0].bias[0] = -0.05776f;
	model->layer[1].weight[0] = 1.5f;
	model->layer[1].weight[1] = -2;
	model->layer[1].bias[0] = 0.438482612f;
	model->layer[1].bias[1] = -0.3687059f;
	assert_int_equal(model_quantise(model), 0);
	assert_int_equal(model->integer[0].weight[0], 26);
	assert_int_equal(model->integer[0].weight[1], -130);
	assert_int_equal(model->integer[0].bias[0], -58);
	assert_int_equal(model->integer[1].weight[0], 1500);
	assert_int_equal(model->integer[1].weight[1], -2000);
	assert_int_equal(model->integer[1].bias[0], 438483);
	assert_int_equal(model->integer[1].bias[1], -368706);
	model->layer[0].weight[0] = 1e30f;
	assert_int_equal(model_quantise(model), -ERANGE);
	assert_false(model->has_integer);
	model->layer[0].activation = MODEL_SIGMOID;
	assert_int_equal(model_quantise(model), -EINVAL);
	model_free(model);
}

/* Three layers: every bias must stand at the scale its layer's products have, so that the twin computes the same net. */
static void a_deeper_twin_keeps_its_scales(void **state)
{
	const uint32_t widths[] = { 1, 1, 1, 1 };
	struct model *model = model_new("m", "e", widths, 4);

	(void)state;
	for (int l = 0; l < 3; l++) {
		model->layer[l].weight[0] = 2;
		model->layer[l].bias[0] = 0.5f;
	}
	assert_int_equal(model_quantise(model), 0);
	assert_int_equal(model->integer[0].bias[0], 500);
	assert_int_equal(model->integer[1].bias[0], 500000);
	assert_int_equal(model->integer[2].bias[0], 500000000);
	model_free(model);
}

static int make_folder(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(file, sizeof(file), "%s/m.safetensors", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(file);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(saved_comes_back),
		cmocka_unit_test(notes_are_bounded_and_clean),
		cmocka_unit_test(impossible_models_are_not_made),
		cmocka_unit_test(damaged_files_are_refused),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(deep_and_hostile_headers_are_refused),
		cmocka_unit_test(odd_paths_are_refused),
		cmocka_unit_test(failed_save_leaves_the_old_file),
		cmocka_unit_test(twin_follows_the_published_rule),
		cmocka_unit_test(a_deeper_twin_keeps_its_scales),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
