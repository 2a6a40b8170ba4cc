// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_csv.c - any bytes, cut at '|' into up to four weight files, are refused with a sentence or give a model.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "weight_0.csv", "bias_0.csv", "weight_1_T.csv",
		"bias_1.csv" };
	const struct import_options options = { .encoder = "any", .decision_threshold = NAN };
	struct import_file files[4];
	struct model_error error = { "" };
	struct model *model;
	uint32_t n = 0;

	while (n < 4) {
		const uint8_t *cut = size ? memchr(data, '|', size) : NULL;
		size_t length = cut ? (size_t)(cut - data) : size;

		files[n] = (struct import_file){ names[n], data, length };
		n++;
		if (!cut)
			break;
		data += length + 1;
		size -= length + 1;
	}
	model = import_linnos_csv(files, n, &options, &error);
	if (!model && !error.text[0])
		abort();
	model_free(model);
	return 0;
}
