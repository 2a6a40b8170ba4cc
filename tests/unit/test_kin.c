// SPDX-License-Identifier: Apache-2.0
/*
 * test_kin.c - a score by nearest references, what they say of it themselves, and the reasons why nothing can be said.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <string.h>
#include "agent/infer/kin.h"
#include "agent/infer/random.h"

#define RECORDINGS 10 /* of each kind */
#define WINDOWS 6 /* of each recording */

static struct kin_reference reference[4 * RECORDINGS * WINDOWS];

/* Programs by the features they use; windows of one recording are nearly the same. */
static void program(uint16_t *count, unsigned int first, uint64_t recording, uint64_t window)
{
	struct random_state of_recording = random_seed(recording + 1),
			    own = random_seed(recording * 1000 + window + 7);

	memset(count, 0, SEMANTOS_CALLS * sizeof(*count));
	for (unsigned int i = 0; i < 12; i++) {
		count[first + i] = (uint16_t)(random_below(&of_recording, 100));
		count[first + i] = (uint16_t)(count[first + i] + random_below(&own, 5));
	}
}

/* Kind 0 is benign, 1 and 2 are two others; `apart` features lie between them. */
static size_t kinds(unsigned int n_kinds, unsigned int apart)
{
	size_t n = 0;

	for (unsigned int kind = 0; kind < n_kinds; kind++) {
		for (uint32_t r = 0; r < RECORDINGS; r++) {
			for (uint64_t w = 0; w < WINDOWS; w++) {
				uint32_t recording = kind * RECORDINGS + r;

				program(reference[n].count, kind * apart, recording, w);
				reference[n].label = kind;
				reference[n++].recording = recording;
			}
		}
	}
	return n;
}

static void told_apart_and_named(void **state)
{
	struct kin *kin = kin_new(reference, kinds(3, 20), false, 0.02);
	struct kin_scratch *scratch = kin_scratch_new(kin);
	uint16_t count[SEMANTOS_CALLS];
	struct kin_answer answer;

	(void)state;
	assert_true(kin && scratch);
	assert_true(kin_report(kin)->signal);
	assert_true(kin_report(kin)->auc > 0.99 && kin_report(kin)->recall > 0.95);
	assert_int_equal(kin_report(kin)->other_recordings, 2 * RECORDINGS);
	for (unsigned int kind = 0; kind < 3; kind++) {
		program(count, kind * 20, 500 + kind, 0);
		assert_int_equal(kin_judge(kin, scratch, count, &answer), 0);
		assert_int_equal(answer.flagged, kind > 0);
		assert_int_equal(answer.label, kind);
		assert_int_equal(answer.n_near, KIN_K);
		for (size_t i = 0; i < KIN_K; i++) {
			assert_int_equal(answer.near[i].label, kind);
			assert_int_equal(reference[answer.near[i].index].label, kind);
			assert_true(
				i == 0 || answer.near[i].distance >= answer.near[i - 1].distance);
		}
		assert_true(kind ? answer.probability > 0.9 : answer.probability < 0.1);
	}
	kin_scratch_free(scratch);
	kin_free(kin);
}

/* The windows of a recording are all alike: judged with them in place, anything would look told apart. */
static void a_recording_never_vouches_for_itself(void **state)
{
	size_t n = kinds(2, 0);
	struct kin *kin;

	(void)state;
	kin = kin_new(reference, n, false, 0.02);
	assert_non_null(kin);
	print_message("  alike: AUC %.3f: %s\n", kin_report(kin)->auc, kin_report(kin)->why);
	assert_false(kin_report(kin)->signal);
	assert_non_null(strstr(kin_report(kin)->why, "do not tell each other apart"));
	kin_free(kin);
	/* as one recording each, the same references pass with flying colours */
	for (size_t i = 0; i < n; i++)
		reference[i].recording = (uint32_t)i;
	kin = kin_new(reference, n, false, 0.02);
	assert_non_null(kin);
	assert_true(kin_report(kin)->signal);
	kin_free(kin);
}

static void one_class_knows_only_what_is_benign(void **state)
{
	struct kin *kin = kin_new(reference, kinds(1, 0), true, 0.02);
	struct kin_scratch *scratch = kin_scratch_new(kin);
	uint16_t count[SEMANTOS_CALLS];
	struct kin_answer answer;

	(void)state;
	assert_true(kin && scratch && kin_report(kin)->signal);
	assert_true(isnan(kin_report(kin)->auc));
	program(count, 0, 700, 0);
	assert_int_equal(kin_judge(kin, scratch, count, &answer), 0);
	assert_false(answer.flagged);
	program(count, 60, 700, 0);
	assert_int_equal(kin_judge(kin, scratch, count, &answer), 0);
	assert_true(answer.flagged && isnan(answer.probability));
	assert_int_equal(answer.label, 0);
	kin_scratch_free(scratch);
	kin_free(kin);
}

static void too_little_says_nothing(void **state)
{
	uint16_t count[SEMANTOS_CALLS] = { 1 };
	struct kin_scratch *scratch;
	struct kin_answer answer;
	struct kin *kin;
	size_t n = kinds(1, 0);

	(void)state;
	errno = 0;
	assert_null(kin_new(reference, 0, false, 0.02));
	assert_int_equal(errno, EINVAL);
	assert_null(kin_new(reference, n, false, 0.7));
	assert_null(kin_new(reference, n, false, NAN));
	/* benign ones alone, asked for two classes */
	kin = kin_new(reference, n, false, 0.02);
	scratch = kin ? kin_scratch_new(kin) : NULL;
	assert_non_null(scratch);
	assert_false(kin_report(kin)->signal);
	assert_non_null(strstr(kin_report(kin)->why, "0 of 0 others"));
	assert_int_equal(kin_judge(kin, scratch, count, &answer), 0);
	assert_false(answer.flagged);
	kin_scratch_free(scratch);
	kin_free(kin);
	/* of one recording */
	kin = kin_new(reference, WINDOWS, true, 0.02);
	assert_non_null(kin);
	assert_false(kin_report(kin)->signal);
	kin_free(kin);
	kin_free(NULL);
	kin_scratch_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(told_apart_and_named),
		cmocka_unit_test(a_recording_never_vouches_for_itself),
		cmocka_unit_test(one_class_knows_only_what_is_benign),
		cmocka_unit_test(too_little_says_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
