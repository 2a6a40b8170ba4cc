// SPDX-License-Identifier: Apache-2.0
/*
 * test_model_kinds.c - a saved LSTM and a saved set of references answer as those they were saved from, and files that are
 * cut short, changed or of another kind are refused with one sentence.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "agent/infer/knn_file.h"
#include "agent/infer/lstm_file.h"
#include "agent/infer/model_file.h"
#include "agent/infer/random.h"

static char folder[] = P_tmpdir "/semantos-kinds-XXXXXX", path[64];

static void fill(struct random_state *random, float *values, size_t n)
{
	for (size_t i = 0; i < n; i++)
		values[i] = (float)(2 * random_unit(random) - 1);
}

/* Two layers of 5 and 3 units over 7 inputs, 4 classes. */
static struct lstm_model lstm_sample(void)
{
	static float kernel[2][7 * 20], recurrent[2][5 * 20], bias[2][20], dense[12], last[4];
	struct random_state random = random_seed(2);

	for (size_t l = 0; l < 2; l++) {
		fill(&random, kernel[l], 7 * 20);
		fill(&random, recurrent[l], 5 * 20);
		fill(&random, bias[l], 20);
	}
	fill(&random, dense, 12);
	fill(&random, last, 4);
	return (struct lstm_model){ .n_layers = 2,
		.steps = 6,
		.classes = 4,
		.layer = { { 7, 5, kernel[0], recurrent[0], bias[0] },
			{ 5, 3, kernel[1], recurrent[1], bias[1] } },
		.dense = dense,
		.dense_bias = last };
}

static uint8_t *slurp(size_t *n)
{
	struct model_error error;
	uint8_t *bytes = model_slurp(path, n, &error);

	assert_non_null(bytes);
	return bytes;
}

static void an_lstm_comes_back(void **state)
{
	const struct lstm_model model = lstm_sample();
	struct model_error error = { "" };
	struct lstm_file *file;
	struct lstm_plan *plan[2];
	float x[9 * 6 * 7], probability[2][9 * 4];
	uint32_t best[2][9];
	struct random_state random = random_seed(3);

	(void)state;
	fill(&random, x, sizeof(x) / sizeof(x[0]));
	assert_int_equal(lstm_save(&model, "pages", path, &error), 0);
	file = lstm_load(path, &error);
	if (!file)
		fail_msg("%s", error.text);
	assert_string_equal(file->name, "pages");
	assert_int_equal(file->model.n_layers, 2);
	assert_int_equal(file->model.steps, 6);
	plan[0] = lstm_prepare(&model);
	plan[1] = lstm_prepare(&file->model);
	lstm_file_free(file);
	lstm_file_free(NULL);
	for (size_t i = 0; i < 2; i++) {
		struct lstm_scratch *scratch = lstm_scratch_new(plan[i]);

		assert_non_null(scratch);
		assert_int_equal(lstm_run(plan[i], scratch, x, 9, probability[i], best[i]), 0);
		lstm_scratch_free(scratch);
		lstm_free(plan[i]);
	}
	assert_memory_equal(probability[0], probability[1], sizeof(probability[0]));
	assert_memory_equal(best[0], best[1], sizeof(best[0]));
}

static void references_come_back(void **state)
{
	enum { N = 5000, WIDTH = 3, K = 4 };
	static float rows[N * WIDTH];
	static uint32_t labels[N];
	struct knn_neighbour found[2][8 * K];
	struct random_state random = random_seed(4);
	struct model_error error = { "" };

	(void)state;
	fill(&random, rows, N * WIDTH);
	for (uint32_t i = 0; i < N; i++)
		labels[i] = i % 7 ? i : UINT32_MAX;
	assert_int_equal(knn_save(rows, labels, N, WIDTH, "calls", path, &error), 0);
	for (size_t i = 0; i < 2; i++) {
		struct knn_set *set = i ? knn_load(path, &error) : knn_new(rows, labels, N, WIDTH);
		struct knn_scratch *scratch;

		if (!set)
			fail_msg("%s", error.text);
		scratch = knn_scratch_new(set);
		assert_int_equal(knn_search(set, scratch, rows + 60, 8, K, found[i]), 0);
		knn_scratch_free(scratch);
		knn_free(set);
	}
	for (size_t i = 0; i < 8 * K; i++) {
		assert_int_equal(found[0][i].index, found[1][i].index);
		assert_int_equal(found[0][i].label, found[1][i].label);
	}
}

/* Every length short of the whole, and every byte of the header and a few of the numbers changed: refused, or whole. */
static void damaged_files_are_refused(void **state)
{
	const struct lstm_model model = lstm_sample();
	const float rows[] = { 1, 2, 3, 4, 5, 6 };

	(void)state;
	for (size_t kind = 0; kind < 2; kind++) {
		struct model_error error = { "" };
		uint8_t *bytes;
		size_t n, refused = 0;

		assert_int_equal(kind ? knn_save(rows, NULL, 3, 2, "set", path, &error)
				      : lstm_save(&model, "pages", path, &error),
			0);
		bytes = slurp(&n);
		for (size_t cut = 0; cut < n; cut++) {
			error.text[0] = 0;
			if (kind)
				assert_null(knn_parse(bytes, cut, &error));
			else
				assert_null(lstm_parse(bytes, cut, &error));
			assert_true(error.text[0]);
		}
		for (size_t at = 0; at < n; at++)
			for (unsigned int bit = 0; bit < 8; bit++) {
				struct lstm_file *file = NULL;
				struct knn_set *set = NULL;

				error.text[0] = 0;
				bytes[at] ^= (uint8_t)(1u << bit);
				if (kind)
					set = knn_parse(bytes, n, &error);
				else
					file = lstm_parse(bytes, n, &error);
				assert_true(set || file || error.text[0]);
				refused += !set && !file;
				knn_free(set);
				lstm_file_free(file);
				bytes[at] ^= (uint8_t)(1u << bit);
			}
		assert_true(refused > 100);
		free(bytes);
	}
}

/* A header and as many zeros as its last offset says. */
static size_t write_header(const char *header, size_t n_data, uint8_t *bytes)
{
	size_t length = strlen(header);

	memset(bytes, 0, 8 + length + n_data);
	for (size_t i = 0; i < 8; i++)
		bytes[i] = (uint8_t)(length >> 8 * i);
	memcpy(bytes + 8, header, length);
	return 8 + length + n_data;
}

#define META(format, more) "{\"__metadata__\":{\"format\":\"" format "\",\"name\":\"n\"" more "},"
#define ONE_LSTM                                                                             \
	"\"lstm.0.kernel\":{\"dtype\":\"F32\",\"shape\":[1,4],\"data_offsets\":[0,16]},"     \
	"\"lstm.0.recurrent\":{\"dtype\":\"F32\",\"shape\":[1,4],\"data_offsets\":[16,32]}," \
	"\"lstm.0.bias\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[32,48]},"
#define DENSE(rows)                                                                             \
	"\"dense.weight\":{\"dtype\":\"F32\",\"shape\":[" rows ",1],\"data_offsets\":[48,52]}," \
	"\"dense.bias\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[52,56]}"

static void what_does_not_fit_is_named(void **state)
{
	static const struct {
		const char *header;
		size_t n_data;
		const char *says;
	} lstms[] = {
		{ META(LSTM_FORMAT, ",\"steps\":\"6\"") ONE_LSTM DENSE("1") "}", 56, NULL },
		{ META(LSTM_FORMAT, "") ONE_LSTM DENSE("1") "}", 56, "steps" },
		{ META(LSTM_FORMAT, ",\"steps\":\"65\"") ONE_LSTM DENSE("1") "}", 56, "steps" },
		{ META(LSTM_FORMAT, ",\"steps\":\"1.5\"") ONE_LSTM DENSE("1") "}", 56, "steps" },
		{ META(LSTM_FORMAT, ",\"steps\":\"x\"") ONE_LSTM DENSE("1") "}", 56, "steps" },
		{ META(LSTM_FORMAT, ",\"steps\":6") ONE_LSTM DENSE("1") "}", 56, "no string" },
		{ META(KNN_FORMAT, ",\"steps\":\"6\"") ONE_LSTM DENSE("1") "}", 56, "format" },
		{ META(LSTM_FORMAT, ",\"steps\":\"6\"") DENSE("1") "}", 56, "gap" },
		{ META(LSTM_FORMAT, ",\"steps\":\"6\"") ONE_LSTM
			"\"more\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[48,56]}}",
			56, "dense.weight" },
		{ META(LSTM_FORMAT, ",\"steps\":\"6\"")
				ONE_LSTM DENSE("1") ",\"more\":{\"dtype\":\"F32\",\"shape\":[1],"
						    "\"data_offsets\":[56,60]}}",
			60, "does not know" },
	};
	static const struct {
		const char *header;
		size_t n_data;
		const char *says;
	} sets[] = {
		{ META(KNN_FORMAT,
			  "") "\"labels\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,"
			      "8]},\"rows\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_"
			      "offsets\":[8,16]}}",
			16, NULL },
		{ META(KNN_FORMAT,
			  "") "\"labels\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,"
			      "16]},\"rows\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_"
			      "offsets\":[16,24]}}",
			24, "labels" },
		{ META(KNN_FORMAT,
			  "") "\"rows\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,"
			      "8]}}",
			8, "labels" },
		{ META(KNN_FORMAT,
			  "") "\"rows\":{\"dtype\":\"F32\",\"shape\":[1,2000],\"data_offsets\":["
			      "0,8000]}}",
			8000, "wider" },
		{ META(LSTM_FORMAT,
			  "") "\"rows\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,"
			      "8]}}",
			8, "format" },
	};
	static uint8_t bytes[16384];

	(void)state;
	for (size_t i = 0; i < sizeof(lstms) / sizeof(lstms[0]); i++) {
		struct model_error error = { "" };
		size_t n = write_header(lstms[i].header, lstms[i].n_data, bytes);
		struct lstm_file *file = lstm_parse(bytes, n, &error);

		if (!lstms[i].says != (file != NULL) ||
			(lstms[i].says && !strstr(error.text, lstms[i].says)))
			fail_msg("LSTM %zu: '%s'", i, error.text);
		lstm_file_free(file);
	}
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		struct model_error error = { "" };
		size_t n = write_header(sets[i].header, sets[i].n_data, bytes);
		struct knn_set *set = knn_parse(bytes, n, &error);

		if (!sets[i].says != (set != NULL) ||
			(sets[i].says && !strstr(error.text, sets[i].says)))
			fail_msg("set %zu: '%s'", i, error.text);
		knn_free(set);
	}
	/* a label that is none */
	write_header(sets[0].header, sets[0].n_data, bytes);
	bytes[8 + strlen(sets[0].header) + 7] = 0x80;
	assert_null(knn_parse(bytes, 8 + strlen(sets[0].header) + 16, NULL));
}

static void what_cannot_be_read_is_not_written(void **state)
{
	struct lstm_model model = lstm_sample();
	const float bad[] = { NAN, 1 }, rows[] = { 1, 2 };
	struct model_error error = { "" };

	(void)state;
	unlink(path);
	assert_int_equal(knn_save(bad, NULL, 1, 2, "set", path, &error), -EINVAL);
	assert_int_equal(knn_save(rows, NULL, 0, 2, "set", path, &error), -EINVAL);
	assert_int_equal(knn_save(rows, NULL, 1, 2, "a name", path, &error), -EINVAL);
	model.steps = LSTM_MAX_STEPS + 1;
	assert_int_equal(lstm_save(&model, "pages", path, &error), -EINVAL);
	model.steps = 6;
	model.layer[1].inputs = 4;
	assert_int_equal(lstm_save(&model, "pages", path, &error), -EINVAL);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(knn_save(rows, NULL, 1, 2, "set", "/nowhere/set", &error), -ENOENT);
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/model", folder);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_lstm_comes_back),
		cmocka_unit_test(references_come_back),
		cmocka_unit_test(damaged_files_are_refused),
		cmocka_unit_test(what_does_not_fit_is_named),
		cmocka_unit_test(what_cannot_be_read_is_not_written),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
