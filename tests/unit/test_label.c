// SPDX-License-Identifier: Apache-2.0
/*
 * test_label.c - the labelers hit the published counts on recorded traces and never call every read slow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include "agent/infer/label.h"
#include "agent/infer/random.h"
#include "tests/unit/data.h"

#define MAX_ROWS 50000

static float latency_us[MAX_ROWS];
static uint8_t labels[MAX_ROWS];

static size_t load(const char *path)
{
	gzFile in = gzopen(path, "rb");
	char line[256];
	size_t n = 0;

	assert_non_null(in);
	while (gzgets(in, line, sizeof(line)) && n < MAX_ROWS) {
		assert_int_equal(sscanf(line, "%*f,%f", &latency_us[n]), 1);
		n++;
	}
	gzclose(in);
	return n;
}

/* All requests count, reads and writes: that is what the published tooling was given. */
static void recorded_traces_give_the_published_counts(void **state)
{
	static const struct {
		const char *trace;
		size_t n_slow;
		float threshold_us;
	} expected[] = {
		{ "flashnet-trovi/tencent.cut.per_50k.most_rand_iops.537.trace.gz", 13784, 1887 },
		{ "flashnet-trovi/tencent.cut.per_50k.rw_60_40.490.trace.gz", 15734, 1496 },
		{ "flashnet-trovi/tencent.cut.per_50k.rw_75_25.379.trace.gz", 13740, 1957 },
	};
	struct label_result result;
	char path[512];

	(void)state;
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		size_t n, slow = 0;

		if (!data_path(expected[i].trace, path, sizeof(path)))
			skip();
		n = load(path);
		assert_int_equal(n, MAX_ROWS);
		assert_int_equal(
			labeler_find("inflection")->label(latency_us, NULL, n, labels, &result), 0);
		assert_int_equal(result.n_slow, expected[i].n_slow);
		assert_true(floorf(result.threshold_us) == expected[i].threshold_us);
		for (size_t r = 0; r < n; r++) {
			assert_int_equal(labels[r], latency_us[r] >= result.threshold_us);
			slow += labels[r];
		}
		assert_int_equal(slow, result.n_slow);
	}
}

static void two_humps_are_told_apart(void **state)
{
	struct random_state random = random_seed(2);
	struct label_result result;
	size_t slow = 0;

	(void)state;
	for (size_t i = 0; i < 10000; i++) {
		bool is_slow = random_below(&random, 10) == 0;

		latency_us[i] = (float)((is_slow ? 2000 : 80) + random_below(&random, 40));
		slow += is_slow;
	}
	assert_int_equal(
		labeler_find("inflection")->label(latency_us, NULL, 10000, labels, &result), 0);
	assert_int_equal(result.n_slow, slow);
	assert_true(result.threshold_us > 118 && result.threshold_us <= 2000);
}

static void percentile_takes_a_share(void **state)
{
	struct label_result result;

	(void)state;
	for (int i = 0; i < 1000; i++)
		latency_us[(i * 7) % 1000] = (float)i;
	assert_int_equal(
		labeler_find("percentile-85")->label(latency_us, NULL, 1000, labels, &result), 0);
	assert_int_equal(result.n_slow, 150);
	assert_true(fabsf(result.threshold_us - 849.15f) < 0.01f);
}

/* Ten kinds of even device: whatever the rule finds, both classes are there. */
static void both_classes_always_exist(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 200; seed++) {
		struct random_state random = random_seed(seed);
		size_t n = 32 + random_below(&random, 300);
		uint64_t spread = 1 + random_below(&random, 1 + seed),
			 base = random_below(&random, 500);

		for (size_t i = 0; i < n; i++)
			latency_us[i] =
				(float)(base + (random_below(&random, 30)
							       ? 0
							       : random_below(&random, spread)));
		latency_us[random_below(&random, n)] =
			(float)(base + 1 + random_below(&random, 9000));
		latency_us[0] = (float)base;
		latency_us[1] = (float)(base + 1);
		for (uint32_t l = 0; labeler_at(l); l++) {
			struct label_result result;

			int err = labeler_at(l)->label(latency_us, NULL, n, labels, &result);

			if (strcmp(labeler_at(l)->name, "answer") == 0)
				continue; /* what is no answer is none */
			/* One that looks for more than slow reads need not find it. */
			if (err == -ENODATA && strcmp(labeler_at(l)->name, "periods") == 0)
				continue;
			assert_int_equal(err, 0);
			assert_in_range(result.n_slow, 1, n - 1);
			assert_in_range(result.n_slow + result.n_left_out, 1, n - 1);
		}
	}
}

/* What the kernel answered is the label, and all alike answers are refused. */
static void answers_are_labels(void **state)
{
	struct label_result result;

	(void)state;
	for (int i = 0; i < 100; i++)
		latency_us[i] = i % 7 == 0;
	assert_int_equal(labeler_find("answer")->label(latency_us, NULL, 100, labels, &result), 0);
	assert_int_equal(result.n_slow, 15);
	assert_true(result.threshold_us == 1);
	for (int i = 0; i < 100; i++)
		assert_int_equal(labels[i], i % 7 == 0);
	memset(latency_us, 0, sizeof(latency_us));
	assert_int_equal(
		labeler_find("answer")->label(latency_us, NULL, 100, labels, &result), -EINVAL);
}

static void nothing_to_separate_is_refused(void **state)
{
	struct label_result result;

	(void)state;
	assert_null(labeler_find("no such labeler"));
	for (uint32_t l = 0; labeler_at(l); l++) {
		const struct labeler *labeler = labeler_at(l);

		assert_ptr_equal(labeler_find(labeler->name), labeler);
		for (int i = 0; i < 100; i++)
			latency_us[i] = 5;
		assert_int_equal(labeler->label(latency_us, NULL, 100, labels, &result), -EINVAL);
		latency_us[3] = 6;
		assert_int_equal(labeler->label(latency_us, NULL, 31, labels, &result), -EINVAL);
		assert_int_equal(labeler->label(latency_us, NULL, 0, labels, &result), -EINVAL);
		latency_us[4] = NAN;
		assert_int_equal(labeler->label(latency_us, NULL, 100, labels, &result), -EINVAL);
		latency_us[4] = -1;
		assert_int_equal(labeler->label(latency_us, NULL, 100, labels, &result), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(recorded_traces_give_the_published_counts),
		cmocka_unit_test(two_humps_are_told_apart),
		cmocka_unit_test(percentile_takes_a_share),
		cmocka_unit_test(both_classes_always_exist),
		cmocka_unit_test(answers_are_labels),
		cmocka_unit_test(nothing_to_separate_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
