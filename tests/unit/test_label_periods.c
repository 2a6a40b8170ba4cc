// SPDX-License-Identifier: Apache-2.0
/*
 * test_label_periods.c - Heimdall's labels: on made-up reads whose slow periods are known, each read gets its label and each
 * kind of outlier is left out; on recorded traces what they change is told in figures.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "agent/core/learn_rows.h"
#include "agent/core/trace.h"
#include "agent/infer/label.h"
#include "agent/infer/random.h"
#include "tests/unit/data.h"

#define N 4000
#define FAST_US 100
#define SLOW_US 2000
#define SECTORS 8

static float latency_us[N], sectors[N];
static uint8_t labels[N], expected[N];
static struct label_result result;

static int label(void)
{
	memset(labels, 0xff, sizeof(labels));
	return labeler_find("periods")->label(latency_us, sectors, N, labels, &result);
}

static void all_fast(void)
{
	for (size_t i = 0; i < N; i++) {
		latency_us[i] = FAST_US;
		sectors[i] = SECTORS;
		expected[i] = 0;
	}
}

static void slow_period(size_t first, size_t n)
{
	for (size_t i = first; i < first + n; i++) {
		latency_us[i] = SLOW_US;
		expected[i] = 1;
	}
}

static void twenty_periods(void)
{
	all_fast();
	for (size_t i = 0; i < 20; i++)
		slow_period(100 + 190 * i, 4 + i);
}

static void as_expected(size_t n_periods)
{
	size_t slow = 0, out = 0;

	assert_int_equal(label(), 0);
	for (size_t i = 0; i < N; i++) {
		if (labels[i] != expected[i])
			print_message("  read %zu of %.0f us: %d instead of %d\n", i,
				(double)latency_us[i], labels[i], expected[i]);
		assert_int_equal(labels[i], expected[i]);
		slow += expected[i] == 1;
		out += expected[i] == LABEL_LEFT_OUT;
	}
	assert_int_equal(result.n_slow, slow);
	assert_int_equal(result.n_left_out, out);
	assert_int_equal(result.n_periods, n_periods);
	assert_true(result.threshold_us > FAST_US && result.threshold_us <= SLOW_US);
}

static void known_periods(void **state)
{
	(void)state;
	twenty_periods();
	as_expected(20);
}

/* Two slow reads in a row are no period, nor are three; four are. */
static void spikes_are_left_out(void **state)
{
	(void)state;
	for (size_t length = 1; length <= 4; length++) {
		twenty_periods();
		slow_period(3950, length);
		for (size_t i = 0; i < length && length < 4; i++)
			expected[3950 + i] = LABEL_LEFT_OUT;
		as_expected(length < 4 ? 20 : 21);
	}
}

/* A lucky read, or two, end no period, but nothing is learned from them; three do end it. */
static void luck_in_a_period(void **state)
{
	(void)state;
	for (size_t luck = 1; luck <= 3; luck++) {
		twenty_periods();
		slow_period(3950, 12);
		for (size_t i = 0; i < luck; i++) {
			latency_us[3955 + i] = FAST_US;
			expected[3955 + i] = luck < 3 ? LABEL_LEFT_OUT : 0;
		}
		as_expected(luck < 3 ? 21 : 22);
	}
}

/* What luck leaves of a period may be a spike. */
static void spikes_are_judged_last(void **state)
{
	(void)state;
	twenty_periods();
	slow_period(3950, 5);
	latency_us[3951] = latency_us[3953] = FAST_US;
	for (size_t i = 3950; i < 3955; i++)
		expected[i] = LABEL_LEFT_OUT;
	as_expected(20);
}

/* As slow as a slow read, and forty times its size: the device was not slow. */
static void large_reads_are_not_slow(void **state)
{
	(void)state;
	twenty_periods();
	for (size_t i = 3950; i < 3960; i++) {
		latency_us[i] = SLOW_US;
		sectors[i] = 40 * SECTORS;
	}
	as_expected(20);
}

/* Slowness that creeps in has no beginning: its reads are slow ones in a fast time. */
static void a_period_begins_with_a_fall(void **state)
{
	float us = FAST_US;

	(void)state;
	twenty_periods();
	for (size_t i = 3950; i < 3965; i++, us *= 1.5f) {
		latency_us[i] = us < SLOW_US ? us : SLOW_US;
		expected[i] = i > 3950 ? LABEL_LEFT_OUT : 0;
	}
	as_expected(20);
	/* With the last step doubled it has one. */
	for (size_t i = 3955; i < 3965; i++) {
		latency_us[i] = SLOW_US;
		expected[i] = 1;
	}
	as_expected(21);
}

/*
 * A period ends only when three reads in a row are at the median or above, which fast reads that differ a little seldom
 * are: in periods that costs some fast reads at each end; of reads slow by chance most of what is labelled slow was not.
 */
static void by_chance_and_in_periods(void **state)
{
	struct random_state random = random_seed(7);
	size_t kept[2], truly[2] = { 0, 0 }, slow_labels[2];

	(void)state;
	for (int periods = 0; periods < 2; periods++) {
		bool slow = false;

		for (size_t i = 0; i < N; i++) {
			if (!periods)
				slow = random_below(&random, 10) == 0;
			else if (random_below(&random, slow ? 20 : 180) == 0)
				slow = !slow;
			sectors[i] = SECTORS;
			latency_us[i] = (float)(slow ? SLOW_US : FAST_US) *
					(0.9f + 0.2f * (float)random_below(&random, 1000) / 1000);
			expected[i] = slow;
			truly[periods] += slow;
		}
		assert_int_equal(label(), 0);
		kept[periods] = 0;
		slow_labels[periods] = result.n_slow;
		for (size_t i = 0; i < N; i++) {
			kept[periods] += expected[i] && labels[i] == 1;
			/* Half of the fast reads are above the median: only such can be taken for slow. */
			if (!expected[i] && labels[i] == 1)
				assert_true(latency_us[i] >= FAST_US);
		}
		print_message("  slow %s: %zu of %d reads; labelled slow %zu, %zu of them were; "
			      "left out %zu\n",
			periods ? "in periods" : "by chance", truly[periods], N, result.n_slow,
			kept[periods], result.n_left_out);
	}
	assert_true(kept[1] * 10 >= truly[1] * 9);
	assert_true(slow_labels[1] * 2 < slow_labels[0]);
}

static void without_periods_it_says_so(void **state)
{
	(void)state;
	all_fast();
	assert_int_equal(label(), -EINVAL);
	/* Latency follows size: throughput is even. */
	for (size_t i = 0; i < N; i++) {
		sectors[i] = (float)(8 << (i % 3));
		latency_us[i] = sectors[i] * 10;
	}
	assert_int_equal(label(), -ENODATA);
	/* One slow read now and then. */
	all_fast();
	for (size_t i = 50; i < N; i += 100)
		latency_us[i] = SLOW_US;
	assert_int_equal(label(), -ENODATA);
	/* The first read has none before it, and the last none after: neither makes a period end or begin. */
	all_fast();
	slow_period(0, 10);
	slow_period(N - 10, 10);
	assert_int_equal(label(), 0);
	assert_int_equal(result.n_periods, 1);
	assert_int_equal(labels[N - 1], 1);
}

/* Those left out go, with all that belongs to them; held-out rows stay where they are. */
static void rows_go(void **state)
{
	struct semantos_block_record record[6];
	struct rows rows;

	(void)state;
	memset(record, 0, sizeof(record));
	for (uint32_t i = 0; i < 6; i++) {
		record[i].head.kind = SEMANTOS_OUTCOME;
		record[i].head.ts_ns = i;
		record[i].op = SEMANTOS_OP_READ;
		record[i].history_len = SEMANTOS_HISTORY;
		record[i].latency_us = 10 * i;
		record[i].sectors = 20 * i;
		record[i].pending_pages = 30 * i;
	}
	assert_int_equal(rows_take(&rows, record, 6), 0);
	assert_int_equal(rows.n, 6);
	memcpy(rows.slow, (uint8_t[]){ 2, 0, 1, 2, 1, 2 }, 6);
	assert_int_equal(rows_leave_out(&rows, 4), 2);
	for (uint32_t i = 0; i < 6; i++) {
		uint32_t was = i < 2 ? i + 1 : i;

		if (i == 2 || i == 3)
			continue; /* nothing is there */
		assert_ptr_equal(rows.record[i], &record[was]);
		assert_true(rows.latency_us[i] == (float)(10 * was));
		assert_true(rows.sectors[i] == (float)(20 * was));
		assert_true(rows.pending[i] == (float)(30 * was));
	}
	assert_memory_equal(rows.slow, ((uint8_t[]){ 0, 1 }), 2);
	assert_memory_equal(rows.slow + 4, ((uint8_t[]){ 1, 2 }), 2);
	rows_free(&rows);
}

/* AUC of the reads that training did not see, judged as Heimdall does: by the labels of periods, outliers left out. */
static double auc_by_periods(const struct capture *capture, const struct model *model)
{
	const struct encoder *encoder = encoder_find("heimdall");
	struct label_result found;
	size_t first, kept = 0;
	struct rows rows;
	float *scores;
	double auc;

	assert_int_equal(rows_take(&rows, capture->record, capture->n), 0);
	assert_int_equal(labeler_find("periods")->label(
				 rows.latency_us, rows.sectors, rows.n, rows.slow, &found),
		0);
	first = rows.n * 7 / 10;
	scores = test_calloc(rows.n, sizeof(*scores));
	assert_int_equal(rows_score(&rows, first, rows.n - first, encoder, model, scores), 0);
	for (size_t i = first; i < rows.n; i++) {
		if (rows.slow[i] == LABEL_LEFT_OUT)
			continue;
		scores[kept] = scores[i - first];
		rows.slow[kept++] = rows.slow[i];
	}
	auc = score_auc(scores, rows.slow, kept);
	test_free(scores);
	rows_free(&rows);
	return auc;
}

static size_t learn_recorded(const char *trace, const struct capture *capture, const char *labeler)
{
	struct learn_recipe recipe = {
		.encoder = "heimdall",
		.hidden = { 128, 16 },
		.n_hidden = 2,
		.outputs = 1,
		.margin = 0.02,
		.train = {
			.optimiser = TRAIN_ADAM,
			.loss = TRAIN_CROSS_ENTROPY,
			.learning_rate = 1e-3f,
			.slow_weight = 1,
			.epochs = 4,
			.batch = 128,
			.seed = 1,
			.standardise = true,
		},
	};
	struct learn_result learned;

	snprintf(recipe.labeler, sizeof(recipe.labeler), "%s", labeler);
	learn(capture->record, capture->n, &recipe, "test", &learned);
	assert_int_equal(learned.error, 0);
	print_message("  %s, %s: %s; by Heimdall's labels AUC %.2f\n", trace, labeler, learned.text,
		auc_by_periods(capture, learned.model));
	/* Above it is a leak, below nothing was learned: tests/unit/test_learn_recorded.c. */
	assert_true(learned.heldout.auc > 0.52 && learned.heldout.auc < 0.85);
	model_free(learned.model);
	return learned.rows_train;
}

static void recorded_traces(void **state)
{
	static const char *const traces[] = { "most_rand_iops.537", "rw_60_40.490",
		"rw_75_25.379" };

	(void)state;
	for (size_t t = 0; t < 3; t++) {
		char name[128], path[4096], error[256];
		float *us, *size;
		struct capture capture;
		uint8_t *labelled;
		size_t all, kept;

		snprintf(name, sizeof(name), "flashnet-trovi/tencent.cut.per_50k.%s.trace.gz",
			traces[t]);
		if (!data_path(name, path, sizeof(path)))
			skip();
		assert_int_equal(trace_read(path, 0, &capture, error, sizeof(error)), 0);
		us = test_calloc(capture.n, sizeof(*us));
		size = test_calloc(capture.n, sizeof(*size));
		labelled = test_calloc(capture.n, 1);
		for (size_t i = 0; i < capture.n; i++) {
			us[i] = (float)capture.record[i].latency_us;
			size[i] = (float)capture.record[i].sectors;
		}
		assert_int_equal(
			labeler_find("periods")->label(us, size, capture.n, labelled, &result), 0);
		print_message("  %s: %zu reads, %zu slow in %zu periods, %zu left out; a read is "
			      "slow from %.0f us on\n",
			traces[t], capture.n, result.n_slow, result.n_periods, result.n_left_out,
			(double)result.threshold_us);
		assert_in_range(result.n_slow, capture.n / 50, capture.n / 2);
		assert_in_range(result.n_left_out, 1, capture.n / 3);
		all = learn_recorded(traces[t], &capture, "inflection");
		kept = learn_recorded(traces[t], &capture, "periods");
		assert_in_range(kept, all * 2 / 3, all - 1);
		test_free(us);
		test_free(size);
		test_free(labelled);
		capture_free(&capture);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_periods),
		cmocka_unit_test(spikes_are_left_out),
		cmocka_unit_test(luck_in_a_period),
		cmocka_unit_test(spikes_are_judged_last),
		cmocka_unit_test(large_reads_are_not_slow),
		cmocka_unit_test(a_period_begins_with_a_fall),
		cmocka_unit_test(by_chance_and_in_periods),
		cmocka_unit_test(without_periods_it_says_so),
		cmocka_unit_test(rows_go),
		cmocka_unit_test(recorded_traces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
