/* SPDX-License-Identifier: Apache-2.0 */
/*
 * onnx_tensor.h - reads one tensor of floats from an ONNX test's .pb file: dims, and raw or listed floats; no more.
 */
#ifndef SEMANTOS_TESTS_ONNX_TENSOR_H
#define SEMANTOS_TESTS_ONNX_TENSOR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ONNX_DATA "/usr/share/libonnx-testdata/data/node/"

struct onnx_tensor {
	size_t dims[8], n_dims, n;
	float value[4096];
};

static inline bool onnx_varint(const uint8_t *bytes, size_t n, size_t *at, uint64_t *value)
{
	*value = 0;
	for (unsigned shift = 0; *at < n && shift < 64; shift += 7) {
		uint8_t byte = bytes[(*at)++];

		*value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
	}
	return false;
}

/* False, with a line that says why, when there is no such file. A file that is not such a tensor ends the program. */
static inline bool onnx_read(const char *test, const char *file, struct onnx_tensor *tensor)
{
	char path[256];
	static uint8_t bytes[1 << 16];
	size_t n, at = 0;
	FILE *in;

	snprintf(path, sizeof(path), ONNX_DATA "%s/test_data_set_0/%s.pb", test, file);
	in = fopen(path, "rb");
	if (!in) {
		printf("skipped: no %s; the package libonnx-testdata has it\n", path);
		return false;
	}
	n = fread(bytes, 1, sizeof(bytes), in);
	fclose(in);
	memset(tensor, 0, sizeof(*tensor));
	while (at < n) {
		uint64_t key = 0, value = 0;

		/* Wire types: 0 a number, 2 so many bytes, 5 four bytes. */
		if (!onnx_varint(bytes, n, &at, &key) || (key & 7) == 1 ||
			((key & 7) != 5 && !onnx_varint(bytes, n, &at, &value)))
			abort();
		if ((key & 7) == 2 && value > n - at)
			abort();
		if (key >> 3 == 1 && (key & 7) == 0 && tensor->n_dims < 8) {
			tensor->dims[tensor->n_dims++] = (size_t)value;
		} else if ((key >> 3 == 9 || key >> 3 == 4) && (key & 7) == 2) {
			if (value > sizeof(tensor->value) || value % 4)
				abort();
			memcpy(tensor->value, bytes + at, value);
			tensor->n = value / 4;
		}
		at += (key & 7) == 2 ? value : (key & 7) == 5 ? 4 : 0;
	}
	return true;
}

#endif
