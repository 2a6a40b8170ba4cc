// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_capture.c - any bytes given to capture_parse() are either refused with a sentence or every record is valid.
 */
#include "agent/core/capture.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct capture capture;
	char error[256] = "";

	if (capture_parse(data, size, &capture, error, sizeof(error))) {
		if (!error[0] || capture.record || capture.n)
			abort();
		return 0;
	}
	if (sizeof(capture.header) + capture.n * sizeof(*capture.record) != size)
		abort();
	for (size_t i = 0; i < capture.n; i++) {
		if (!record_valid(&capture.record[i], sizeof(*capture.record)))
			abort();
	}
	capture_free(&capture);
	return 0;
}
