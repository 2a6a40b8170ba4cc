/* SPDX-License-Identifier: Apache-2.0 */
/*
 * capture.h - records written to a file and read back.
 *
 * A capture is a 64-byte header (magic "SEMCAP\0\1", wire version, record size, device identity) followed by OUTCOME
 * records as they were delivered. A reader refuses another magic, version or size, and a truncated last record is
 * reported, not guessed.
 */
#ifndef SEMANTOS_CORE_CAPTURE_H
#define SEMANTOS_CORE_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include "bpf/wire.h"

#define CAPTURE_MAX_ROWS 50000000u

struct capture_header {
	char magic[8];
	uint32_t wire_version;
	uint32_t record_bytes;
	uint32_t major, minor;
	char device[32];
	uint64_t reserved;
};
_Static_assert(sizeof(struct capture_header) == 64, "capture header size");

struct capture {
	struct capture_header header;
	struct semantos_block_record *record; /* [n], in completion order as delivered */
	size_t n;
};

int capture_write_header(
	FILE *file, const char *device, uint32_t major, uint32_t minor); /* 0 or -errno */
int capture_write(FILE *file, const struct semantos_block_record *records, size_t n);

/* 0 with *out filled, or -errno with one sentence in error[error_len]. Every record is validated. */
int capture_read(const char *path, struct capture *out, char *error, size_t error_len);
int capture_parse(
	const void *bytes, size_t n_bytes, struct capture *out, char *error, size_t error_len);
void capture_free(struct capture *capture); /* accepts a zeroed one */

/* Is this a record a policy of this build may act on? Version, size, kind, slot, ranges. */
bool record_valid(const void *bytes, size_t n_bytes);

#endif
