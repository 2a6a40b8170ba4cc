// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_journal.c - any bytes given to journal_scan() are read, found torn, or refused with a sentence; a payload that
 * is accepted is written back as the same bytes.
 */
#include "agent/safety/journal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int visit(void *ctx, const struct record *record)
{
	static uint8_t bytes[RECORD_PAYLOAD_MAX];

	(void)ctx;
	if (record_pack(record, bytes) == 0)
		abort();
	return 0;
}

/* Checksums keep the fuzzer out of the payload's reader, so it also gets the bytes as they are. */
static void payload(const uint8_t *data, size_t size)
{
	static struct record record;
	static uint8_t bytes[RECORD_PAYLOAD_MAX];

	if (size < 1 || size > RECORD_PAYLOAD_MAX)
		return;
	memset(&record, 0, sizeof(record));
	record.kind = data[0];
	if (record_unpack(&record, data + 1, size - 1))
		return;
	if (record_pack(&record, bytes) != size - 1 || memcmp(bytes, data + 1, size - 1) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct safety_error error = { "" };
	struct journal_scan scan;
	int err = journal_scan(data, size, visit, NULL, &scan, &error);

	if (scan.good_bytes > size || (err && !error.text[0]))
		abort();
	if (!err && !scan.torn && scan.good_bytes != size)
		abort();
	payload(data, size);
	return 0;
}
