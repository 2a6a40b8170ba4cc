// SPDX-License-Identifier: Apache-2.0
/*
 * test_capture.c - what is written is read back; whatever is wrong with a file is refused with one sentence.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/core/capture.h"

#define N 3

static struct semantos_block_record good_record(uint64_t id)
{
	return (struct semantos_block_record){
		.head = {
			.version = SEMANTOS_WIRE_VERSION,
			.bytes = sizeof(struct semantos_block_record),
			.kind = SEMANTOS_OUTCOME,
			.ts_ns = id * 1000,
			.request_id = id,
			.generation = 7,
		},
		.history_len = SEMANTOS_HISTORY,
		.class_in_force = SEMANTOS_CLASS_DEFAULT,
		.latency_us = 100,
	};
}

/* A whole capture in memory. */
static size_t good_capture(unsigned char **bytes)
{
	struct semantos_block_record record[N] = { good_record(1), good_record(2), good_record(3) };
	size_t n;
	FILE *file = open_memstream((char **)bytes, &n);

	assert_int_equal(capture_write_header(file, "nvme0n1", 259, 3), 0);
	assert_int_equal(capture_write(file, record, N), 0);
	fclose(file);
	assert_int_equal(n, 64 + N * 128);
	return n;
}

static int write_file(char path[], const void *bytes, size_t n)
{
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, n), n);
	close(fd);
	return 0;
}

/* Refused from memory and from a file alike, with a sentence that has `word` in it. */
static void expect_refusal(const void *bytes, size_t n, const char *word)
{
	char path[] = "/tmp/semantos-capture-XXXXXX", error[256];
	struct capture capture;

	error[0] = 0;
	assert_true(capture_parse(bytes, n, &capture, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, word));
	assert_int_equal(error[strlen(error) - 1], '.');
	assert_null(capture.record);
	write_file(path, bytes, n);
	error[0] = 0;
	assert_true(capture_read(path, &capture, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, word));
	assert_null(capture.record);
	unlink(path);
}

static void round_trip(void **state)
{
	char path[] = "/tmp/semantos-capture-XXXXXX", error[256] = "";
	struct capture capture;
	unsigned char *bytes;
	size_t n = good_capture(&bytes);

	(void)state;
	write_file(path, bytes, n);
	assert_int_equal(capture_read(path, &capture, error, sizeof(error)), 0);
	assert_int_equal(capture.n, N);
	assert_string_equal(capture.header.device, "nvme0n1");
	assert_int_equal(capture.header.major, 259);
	assert_int_equal(capture.header.minor, 3);
	for (size_t i = 0; i < N; i++) {
		struct semantos_block_record expected = good_record(i + 1);

		assert_memory_equal(&capture.record[i], &expected, sizeof(expected));
	}
	capture_free(&capture);
	capture_free(&capture);
	unlink(path);
	assert_int_equal(capture_parse(bytes, 64, &capture, error, sizeof(error)), 0);
	assert_int_equal(capture.n, 0); /* a capture that was stopped at once */
	free(bytes);
}

static void damaged_files(void **state)
{
	unsigned char *bytes;
	size_t n = good_capture(&bytes);

	(void)state;
	expect_refusal(bytes, 0, "header");
	expect_refusal(bytes, 63, "header");
	expect_refusal(bytes, n - 1, "truncated");
	expect_refusal(bytes, 65, "truncated");
	bytes[0]++;
	expect_refusal(bytes, n, "no capture");
	bytes[0]--;
	bytes[8]++;
	expect_refusal(bytes, n, "wire version 2");
	bytes[8]--;
	bytes[12]++;
	expect_refusal(bytes, n, "129 bytes");
	bytes[12]--;
	memset(bytes + 24, 'x', 32);
	expect_refusal(bytes, n, "name");
	bytes[24 + 31] = 0;
	bytes[64 + 128 + 4] = SEMANTOS_REQUEST;
	expect_refusal(bytes, n, "Record 2");
	free(bytes);
}

static void missing_file(void **state)
{
	struct capture capture;
	char error[256] = "";

	(void)state;
	assert_int_equal(
		capture_read("/nonexistent/capture", &capture, error, sizeof(error)), -ENOENT);
	assert_non_null(strstr(error, "/nonexistent/capture"));
	assert_int_equal(capture_read("/", &capture, error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "not a file"));
}

static void full_device(void **state)
{
	struct semantos_block_record record = good_record(1);
	FILE *full = fopen("/dev/full", "w");

	(void)state;
	assert_non_null(full);
	setbuf(full, NULL);
	assert_int_equal(capture_write_header(full, "sda", 8, 0), -ENOSPC);
	assert_int_equal(capture_write(full, &record, 1), -ENOSPC);
	fclose(full);
}

#define REFUSES(change)                                          \
	do {                                                     \
		struct semantos_block_record r = good_record(1); \
		assert_true(record_valid(&r, sizeof(r)));        \
		change;                                          \
		assert_false(record_valid(&r, sizeof(r)));       \
	} while (0)

static void invalid_records(void **state)
{
	struct semantos_block_record request = good_record(1);

	(void)state;
	request.head.kind = SEMANTOS_REQUEST;
	request.latency_us = 0;
	assert_true(record_valid(&request, sizeof(request)));
	assert_false(record_valid(&request, sizeof(request) - 1));
	REFUSES(r.head.version++);
	REFUSES(r.head.bytes--);
	REFUSES(r.head.kind = 0);
	REFUSES(r.head.kind = 3);
	REFUSES(r.head.kind = SEMANTOS_REQUEST); /* it has a latency */
	REFUSES(r.head.flags = 0x80);
	REFUSES(r.head.slot = SEMANTOS_MAX_SLOTS);
	REFUSES(r.head.request_id = 0);
	REFUSES(r.head.generation = 0x1000);
	REFUSES(r.op = 2);
	REFUSES(r.history_len = SEMANTOS_HISTORY + 1);
	REFUSES(r.class_in_force = 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(damaged_files),
		cmocka_unit_test(missing_file),
		cmocka_unit_test(full_device),
		cmocka_unit_test(invalid_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
