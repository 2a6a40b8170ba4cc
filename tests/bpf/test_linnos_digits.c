// SPDX-License-Identifier: Apache-2.0
/*
 * test_linnos_digits.c - a recorded trace through the BPF hooks gives LinnOS's published digits, byte for byte.
 *
 * The recording (20,000 requests on two disks) and the answers are LAKE's own; see data_path(). Issues and completions
 * are merged by time, a request's issue as listed, and run through the hook bodies one by one on one CPU.
 */
#include <sched.h>
#include <zlib.h>
#include "agent/infer/encode.h"
#include "tests/bpf/wrap.h"
#include "tests/unit/data.h"

#define GOLDEN "linnos-lake/golden/20230512_de58b78_"
#define REQUESTS 20000
#define DEV(disk) (259u << 20 | (disk))
#define TAGS 4096

struct request {
	uint64_t issue_us, latency_us;
	uint32_t bytes, is_read, disk, tag;
};

struct moment {
	uint64_t at_us;
	uint32_t order; /* 2 * request + 1 for its completion: stable */
};

static struct request request[REQUESTS];
static struct moment moment[2 * REQUESTS];

static int by_time(const void *a, const void *b)
{
	const struct moment *x = a, *y = b;

	if (x->at_us != y->at_us)
		return x->at_us < y->at_us ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

static int read_trace(const char *path)
{
	gzFile file = gzopen(path, "r");
	char line[256];
	int n = 0;

	assert_non_null(file);
	while (n < REQUESTS && gzgets(file, line, sizeof(line))) {
		struct request *r = &request[n];
		unsigned long long done, latency, offset, submit;

		assert_int_equal(sscanf(line, "%llu,%llu,%u,%u,%llu,%llu,%u", &done, &latency,
					 &r->is_read, &r->bytes, &offset, &submit, &r->disk),
			7);
		r->issue_us = submit;
		r->latency_us = latency;
		moment[2 * n] = (struct moment){ submit, 2 * (uint32_t)n };
		moment[2 * n + 1] = (struct moment){ submit + latency, 2 * (uint32_t)n + 1 };
		n++;
	}
	gzclose(file);
	qsort(moment, 2 * (size_t)n, sizeof(*moment), by_time);
	return n;
}

/* The answers list a read when it is issued; its latency closes the row. */
static void compare(const struct wrap *wrap, uint32_t slot, const char *path, size_t rows)
{
	const struct encoder *encoder = encoder_find("linnos-digits");
	gzFile file = gzopen(path, "r");
	char expected[256], got[256];
	float features[ENCODE_MAX_FEATURES];
	uint64_t *latency = calloc(REQUESTS, sizeof(*latency));
	size_t n = 0;

	assert_non_null(file);
	assert_non_null(encoder);
	/* ids are sequence << 12 | cpu, the sequence counts the reads of this CPU */
	for (size_t i = 0; i < wrap->n; i++)
		if (wrap->record[i].head.kind == SEMANTOS_OUTCOME)
			latency[wrap->record[i].head.request_id >> 12] = wrap->record[i].latency_us;
	for (size_t i = 0; i < wrap->n; i++) {
		const struct semantos_block_record *record = &wrap->record[i];
		int at = 0;

		if (record->head.kind != SEMANTOS_REQUEST || record->head.slot != slot)
			continue;
		encoder->encode(record, features);
		for (uint32_t k = 0; k < encoder->n_features; k++)
			at += snprintf(got + at, sizeof(got) - (size_t)at, "%d,", (int)features[k]);
		snprintf(got + at, sizeof(got) - (size_t)at, "%llu\n",
			(unsigned long long)latency[record->head.request_id >> 12]);
		assert_non_null(gzgets(file, expected, sizeof(expected)));
		assert_string_equal(got, expected);
		n++;
	}
	assert_null(gzgets(file, expected, sizeof(expected)));
	assert_int_equal(n, rows);
	gzclose(file);
	free(latency);
}

static void recorded_trace_gives_the_published_digits(void **state)
{
	static struct semantos_block_record all[WRAP_RECORDS];
	static bool busy[2][TAGS];
	char trace[512], answer[2][512];
	struct wrap wrap;
	cpu_set_t set;
	size_t n_all = 0;
	int n;

	(void)state;
	if (!data_path(GOLDEN "TrainTraceOutput_baseline.data.gz", trace, sizeof(trace)) ||
		!data_path(GOLDEN "mldrive0.csv.gz", answer[0], sizeof(answer[0])) ||
		!data_path(GOLDEN "mldrive1.csv.gz", answer[1], sizeof(answer[1])))
		exit(77);
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	sched_setaffinity(0, sizeof(set), &set);
	wrap_open(&wrap, 1000000000, 1 << 20);
	wrap_slot_add(&wrap, 0, DEV(0), 1, TAGS);
	wrap_slot_add(&wrap, 1, DEV(1), 1, TAGS);
	n = read_trace(trace);
	assert_int_equal(n, REQUESTS);
	for (int i = 0; i < 2 * n; i++) {
		struct request *r = &request[moment[i].order / 2];
		bool done = moment[i].order & 1;

		if (!done) {
			r->tag = 0;
			while (busy[r->disk][r->tag])
				assert_true(++r->tag < TAGS);
		}
		busy[r->disk][r->tag] = !done;
		wrap_event(&wrap, done ? WRAP_COMPLETE : WRAP_ISSUE, r->disk, DEV(r->disk), 1,
			r->tag, r->is_read ? SEMANTOS_OP_READ : SEMANTOS_OP_WRITE, r->bytes / 512,
			moment[i].at_us * 1000);
		if (i % 1024 == 0 || i == 2 * n - 1) {
			wrap_drain(&wrap);
			memcpy(all + n_all, wrap.record, wrap.n * sizeof(*all));
			n_all += wrap.n;
		}
	}
	memcpy(wrap.record, all, n_all * sizeof(*all));
	wrap.n = n_all;
	compare(&wrap, 0, answer[0], 1038);
	compare(&wrap, 1, answer[1], 1671);
	wrap_conserved(&wrap, 0);
	wrap_close(&wrap);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(
		recorded_trace_gives_the_published_digits) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
