// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_model.c - any bytes given to the model reader and the safetensors importer are refused with a sentence or give
 * a model that can be copied, quantised and run.
 */
#include <math.h>
#include <stdlib.h>
#include "agent/infer/import.h"
#include "agent/infer/infer.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct import_options options = { .encoder = "any", .decision_threshold = NAN };
	const struct import_file file = { "fuzz.safetensors", data, size };
	struct model_error error = { "" };
	struct model *model = model_parse(data, size, &error);

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
	return 0;
}
