// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_trace.c - any file given to trace_read() is either refused with a sentence or gives valid records only.
 */
#include "agent/core/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[64], error[256] = "";
	struct capture capture;
	int fd = memfd_create("trace", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (trace_read(path, 0, &capture, error, sizeof(error))) {
		if (!error[0] || capture.record || capture.n)
			abort();
		close(fd);
		return 0;
	}
	for (size_t i = 0; i < capture.n; i++) {
		if (!record_valid(&capture.record[i], sizeof(*capture.record)))
			abort();
	}
	capture_free(&capture);
	close(fd);
	return 0;
}
