// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_keras.c - any bytes given to the Keras importer are refused with a sentence or give a model.
 */
#include <math.h>
#include <stdlib.h>
#include "agent/infer/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct import_options options = { .encoder = "any", .decision_threshold = NAN };
	const struct import_file file = { "fuzz.json", data, size };
	struct model_error error = { "" };
	struct model *model = import_keras(&file, &options, &error);

	if (!model && !error.text[0])
		abort();
	model_free(model);
	return 0;
}
