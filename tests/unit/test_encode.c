// SPDX-License-Identifier: Apache-2.0
/*
 * test_encode.c - every encoder gives the numbers it documents, looks at no outcome, and keeps within x_max; the digits
 * equal, byte for byte, those the LinnOS tooling made of a recorded trace.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "agent/infer/encode.h"
#include "agent/infer/random.h"
#include "tests/unit/data.h"

static struct semantos_block_record sample(void)
{
	return (struct semantos_block_record){
		.pending_pages = 69,
		.inflight = 12,
		.inflight_reads = 7,
		.sectors = 256,
		.history = { semantos_hist_pack(79, 5, 3, 8), semantos_hist_pack(1600, 80, 4, 16),
			semantos_hist_pack(0, 1000, 5, 32), semantos_hist_pack(12345, 7, 6, 64) },
		.since_done_us = 1023,
		.last_latency_us = 12345,
		.oldest_age_us = 3,
		.ewma_latency_us = 0,
		.op = SEMANTOS_OP_READ,
		.history_len = SEMANTOS_HISTORY,
	};
}

static void assert_features(const char *name, const float *expected, uint32_t n)
{
	struct semantos_block_record record = sample();
	const struct encoder *encoder = encoder_find(name);
	float features[ENCODE_MAX_FEATURES];

	assert_non_null(encoder);
	assert_int_equal(encoder->n_features, n);
	encoder->encode(&record, features);
	for (uint32_t i = 0; i < n; i++)
		if (fabsf(features[i] - expected[i]) > 1e-6f * fabsf(expected[i]))
			fail_msg("%s feature %u is %g, expected %g", name, i, (double)features[i],
				(double)expected[i]);
}

static void digits_are_oldest_first_and_saturate(void **state)
{
	const float expected[31] = { 0, 0, 5, 0, 8, 0, 9, 9, 9, 0, 0, 7, 0, 6, 9, 0, 0, 7, 9, 1, 6,
		0, 0, 0, 0, 0, 0, 9, 9, 9, 9 };

	(void)state;
	assert_features("linnos-digits", expected, 31);
}

static void heimdall_takes_the_last_three_reads(void **state)
{
	const float expected[12] = { 1, 131072, 12, 4, 5, 6, 1600, 0, 12345, 8192 / 1600.0f, 16384,
		32768 / 12345.0f };

	(void)state;
	assert_features("heimdall", expected, 12);
}

static void ages_are_log_scaled(void **state)
{
	const uint32_t raw[20] = { 69, 12, 7, 256, 1023, 12345, 3, 0, 79, 5, 8, 1600, 80, 16, 0,
		1000, 32, 12345, 7, 64 };
	float expected[20];

	(void)state;
	for (int i = 0; i < 20; i++)
		expected[i] = log2f(1 + (float)raw[i]);
	assert_features("latency-ages", expected, 20);
	assert_features("pending-only", (const float[]){ 69 }, 1);
}

static void names_are_found(void **state)
{
	(void)state;
	assert_null(encoder_find("no such encoder"));
	assert_null(encoder_at(1000));
	for (uint32_t i = 0; encoder_at(i); i++) {
		assert_ptr_equal(encoder_find(encoder_at(i)->name), encoder_at(i));
		assert_in_range(encoder_at(i)->n_features, 1, ENCODE_MAX_FEATURES);
	}
}

/* Random bytes in, and other random bytes in the fields only an outcome fills: the features stay, and stay small. */
static void outcomes_are_never_seen(void **state)
{
	struct random_state random = random_seed(1);

	(void)state;
	for (int round = 0; round < 2000; round++) {
		struct semantos_block_record record, other;
		uint64_t *words = (uint64_t *)&record;

		for (size_t i = 0; i < sizeof(record) / 8; i++)
			words[i] = round % 2 ? random_u64(&random) : ~0ULL;
		other = record;
		other.latency_us = (uint32_t)random_u64(&random);
		other.class_in_force = (uint8_t)random_u64(&random);
		other.confidence_in_force = (uint8_t)random_u64(&random);
		memset(&other.head, (int)random_below(&random, 256), sizeof(other.head));
		memset(other.reserved, (int)random_below(&random, 256), sizeof(other.reserved));
		for (uint32_t i = 0; encoder_at(i); i++) {
			const struct encoder *encoder = encoder_at(i);
			float a[ENCODE_MAX_FEATURES], b[ENCODE_MAX_FEATURES];

			encoder->encode(&record, a);
			encoder->encode(&other, b);
			assert_memory_equal(a, b, encoder->n_features * sizeof(float));
			for (uint32_t f = 0; f < encoder->n_features; f++)
				assert_true(fabsf(a[f]) <= encoder->x_max);
		}
	}
}

/* ---- the golden trace ------------------------------------------------------------------------------ */

#define GOLDEN "linnos-lake/golden/20230512_de58b78_"
#define MAX_EVENTS 50000
#define N_DEVICES 2

struct event {
	uint64_t time;
	uint32_t row, order; /* order: as listed, an issue before its own completion */
	bool done;
};

struct io {
	uint64_t latency_us, bytes;
	uint32_t device, pages, pending;
	bool read;
};

static int by_time(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static struct event events[MAX_EVENTS];
static struct io ios[MAX_EVENTS / 2];

static size_t load_trace(const char *path)
{
	gzFile in = gzopen(path, "rb");
	char line[256];
	uint32_t n = 0, n_ios = 0;

	assert_non_null(in);
	while (gzgets(in, line, sizeof(line))) {
		unsigned long long end, latency, op, size, offset, start, device;

		assert_int_equal(sscanf(line, "%llu,%llu,%llu,%llu,%llu,%llu,%llu", &end, &latency,
					 &op, &size, &offset, &start, &device),
			7);
		assert_true(device < N_DEVICES && n + 2 <= MAX_EVENTS);
		/* pages as the original counts them: whole sectors, rounded up to 4 KiB */
		ios[n_ios] = (struct io){ .latency_us = latency,
			.bytes = size,
			.device = (uint32_t)device,
			.pages = (uint32_t)((size / 512 + 7) / 8),
			.read = op == 1 };
		events[n] = (struct event){ start, n_ios, n, false };
		events[n + 1] = (struct event){ start + latency, n_ios, n + 1, true };
		n += 2;
		n_ios++;
	}
	gzclose(in);
	qsort(events, n, sizeof(events[0]), by_time);
	return n;
}

struct text {
	char *at;
	size_t n;
};

static void put(struct text *text, const char *fmt, unsigned long long value)
{
	text->n += (size_t)sprintf(text->at + text->n, fmt, value);
}

static void emit(struct text *raw, struct text *digits, const struct semantos_block_record *record,
	uint64_t latency_us)
{
	float features[ENCODE_MAX_FEATURES];

	for (int i = 0; i < 4; i++)
		put(raw, "%llu,", semantos_hist_pending_pages(record->history[i]));
	put(raw, "%llu,", record->pending_pages);
	for (int i = 0; i < 4; i++)
		put(raw, "%llu,", semantos_hist_latency_us(record->history[i]));
	put(raw, "%llu\n", latency_us);
	encoder_find("linnos-digits")->encode(record, features);
	for (int i = 0; i < 31; i++)
		put(digits, "%llu,", (unsigned long long)features[i]);
	put(digits, "%llu\n", latency_us);
}

static void assert_golden(const char *name, const struct text *text)
{
	static char golden[1 << 20];
	char path[512];
	gzFile in;
	int n;

	snprintf(path, sizeof(path), GOLDEN "%s", name);
	if (!data_path(path, golden, sizeof(golden)))
		fail();
	in = gzopen(golden, "rb");
	assert_non_null(in);
	n = gzread(in, golden, sizeof(golden));
	gzclose(in);
	assert_int_equal((size_t)n, text->n);
	assert_memory_equal(golden, text->at, text->n);
}

static void recorded_trace_gives_the_golden_digits(void **state)
{
	struct semantos_block_record record[N_DEVICES] = { 0 };
	struct text raw[N_DEVICES], digits[N_DEVICES];
	char path[512];
	size_t n;

	(void)state;
	if (!data_path(GOLDEN "TrainTraceOutput_baseline.data.gz", path, sizeof(path)))
		skip();
	n = load_trace(path);
	for (int d = 0; d < N_DEVICES; d++) {
		raw[d] = (struct text){ malloc(1 << 20), 0 };
		digits[d] = (struct text){ malloc(1 << 20), 0 };
		assert_true(raw[d].at && digits[d].at);
	}
	for (size_t i = 0; i < n; i++) {
		struct io *io = &ios[events[i].row];
		struct semantos_block_record *r = &record[io->device];

		if (!events[i].done) {
			r->pending_pages += io->pages;
			io->pending = r->pending_pages;
			if (io->read && r->history_len == SEMANTOS_HISTORY)
				emit(&raw[io->device], &digits[io->device], r, io->latency_us);
			continue;
		}
		r->pending_pages -= io->pages;
		if (!io->read)
			continue;
		memmove(r->history, r->history + 1, 3 * sizeof(r->history[0]));
		r->history[3] = semantos_hist_pack(io->latency_us, io->pending, 0, 0);
		r->history_len += r->history_len < SEMANTOS_HISTORY;
	}
	assert_golden("temp1.gz", &raw[1]);
	assert_golden("mldrive0.csv.gz", &digits[0]);
	assert_golden("mldrive1.csv.gz", &digits[1]);
	for (int d = 0; d < N_DEVICES; d++) {
		free(raw[d].at);
		free(digits[d].at);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(digits_are_oldest_first_and_saturate),
		cmocka_unit_test(heimdall_takes_the_last_three_reads),
		cmocka_unit_test(ages_are_log_scaled),
		cmocka_unit_test(names_are_found),
		cmocka_unit_test(outcomes_are_never_seen),
		cmocka_unit_test(recorded_trace_gives_the_golden_digits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
