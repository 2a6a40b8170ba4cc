// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_model.c - any bytes given to the model reader and the safetensors importer are refused with a sentence or give
 * a model that can be copied, quantised and run; the readers of LSTMs and of references likewise.
 */
#include <math.h>
#include <stdlib.h>
#include "agent/infer/import.h"
#include "agent/infer/infer.h"
#include "agent/infer/knn_file.h"
#include "agent/infer/lstm_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(struct model *model)
{
	struct model *copy = model_clone(model);
	uint32_t inputs = model_inputs(model), outputs = model_outputs(model);
	float *rows = calloc(inputs, sizeof(*rows)), *out = calloc(outputs, sizeof(*out));

	for (uint32_t i = 0; rows && i < inputs; i++)
		rows[i] = (float)i;
	if (copy && rows && out) {
		if (!model->has_integer)
			model_quantise(copy);
		for (int kind = INFER_FLOAT; kind <= INFER_INTEGER; kind++) {
			struct infer_plan *plan =
				infer_prepare(copy, 1, (enum infer_arithmetic)kind);
			struct infer_scratch *scratch = plan ? infer_scratch_new(plan) : NULL;

			if (scratch && infer_run_outputs(plan, scratch, rows, 1, out))
				abort();
			infer_scratch_free(scratch);
			infer_free(plan);
		}
	}
	free(rows);
	free(out);
	model_free(copy);
}

/* Wide ones take too long to be fuzzed; their shapes were checked by then. */
static void use_lstm(const struct lstm_file *file)
{
	const uint32_t hot[LSTM_MAX_STEPS] = { 0 };
	struct lstm_plan *plan;
	struct lstm_scratch *scratch;
	uint32_t best = UINT32_MAX;

	for (uint32_t l = 0; l < file->model.n_layers; l++)
		if (file->model.layer[l].inputs > 64 || file->model.layer[l].units > 64)
			return;
	plan = lstm_prepare(&file->model);
	scratch = plan ? lstm_scratch_new(plan) : NULL;
	if (scratch &&
		(lstm_run_hot(plan, scratch, hot, 1, NULL, &best) || best >= file->model.classes))
		abort();
	lstm_scratch_free(scratch);
	lstm_free(plan);
}

static void use_set(const struct knn_set *set)
{
	static const float query[KNN_MAX_WIDTH];
	struct knn_scratch *scratch = knn_scratch_new(set);
	struct knn_neighbour found;

	if (scratch && knn_search(set, scratch, query, 1, 1, &found))
		abort();
	knn_scratch_free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct import_options options = { .encoder = "any", .decision_threshold = NAN };
	const struct import_file file = { "fuzz.safetensors", data, size };
	struct model_error error = { "" };
	struct model *model = model_parse(data, size, &error);
	struct lstm_file *lstm;
	struct knn_set *set;

	if (!model && !error.text[0])
		abort();
	if (model)
		use(model);
	model_free(model);
	error.text[0] = 0;
	model = import_safetensors(&file, &options, &error);
	if (!model && !error.text[0])
		abort();
	if (model)
		use(model);
	model_free(model);
	error.text[0] = 0;
	lstm = lstm_parse(data, size, &error);
	if (!lstm && !error.text[0])
		abort();
	if (lstm)
		use_lstm(lstm);
	lstm_file_free(lstm);
	error.text[0] = 0;
	set = knn_parse(data, size, &error);
	if (!set && !error.text[0])
		abort();
	if (set)
		use_set(set);
	knn_free(set);
	return 0;
}
