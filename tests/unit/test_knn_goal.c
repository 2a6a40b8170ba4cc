// SPDX-License-Identifier: Apache-2.0
/*
 * test_knn_goal.c - recorded attacks told from recorded normal programs (ADFA-LD) by the nearest neighbours of their system
 * calls, without leaks: traces once each, near-duplicates in one group, no group and no session of an attack on both
 * sides, thresholds and calibration from the references alone. Seven folds, one session each.
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
#include "agent/infer/kin.h"
#include "agent/infer/score.h"
#include "bpf/calls_wire.h"
#include "data.h"
#include "traces.h"

#define FOLDS 7 /* sessions of each attack in the recording */
#define DEALS 3 /* ways the normal traces, which have no session, are dealt to the folds */
#define MOST 8192 /* traces */
#define FALSE_SHARE 0.021 /* as policies/knn/policy.conf has it */

static const char *const families[] = { "normal", "Adduser", "Hydra_FTP", "Hydra_SSH",
	"Java_Meterpreter", "Meterpreter" };
#define N_FAMILIES (sizeof(families) / sizeof(families[0]))

static struct trace *trace;
static size_t n_traces, n_read;
static uint32_t fold[MOST], family[MOST];
static struct kin_reference reference[KIN_MAX_REFERENCES];

/* Of all that was judged so far. */
static struct {
	float score[DEALS * MOST], probability[DEALS * MOST];
	uint8_t label[DEALS * MOST];
	size_t n, hit[N_FAMILIES], of[N_FAMILIES];
} judged;

static void divide(uint32_t deal)
{
	uint32_t *of_group = calloc(n_traces, sizeof(*of_group));

	for (size_t i = 0; i < n_traces; i++) {
		size_t f = 0;

		while (f < N_FAMILIES && strcmp(families[f], trace[i].family) != 0)
			f++;
		assert_true(f < N_FAMILIES);
		family[i] = (uint32_t)f;
		/* a group with attacks goes where the first of them was recorded */
		if (f && !of_group[trace[i].group])
			of_group[trace[i].group] = 1 + (trace[i].session - 1) % FOLDS;
	}
	for (size_t i = 0; i < n_traces; i++)
		fold[i] = of_group[trace[i].group]
				  ? of_group[trace[i].group] - 1
				  : (((uint32_t)trace[i].group + 1000 * deal) * 2654435761u >> 8) %
					    FOLDS;
	free(of_group);
}

static bool recorded(void)
{
	char path[512];

	if (trace)
		return true;
	if (!data_path("adfa-ld/adfa_ld_dev.tsv.gz", path, sizeof(path)))
		return false;
	trace = trace_read(path, &n_traces, &n_read);
	assert_non_null(trace);
	assert_true(n_traces > 1000 && n_traces < MOST);
	trace_group(trace, n_traces);
	divide(0);
	return true;
}

/* References: all but those of one fold and one family (0 = none is left out). */
static struct kin *references_without(uint32_t out, uint32_t unseen, bool one_class)
{
	size_t n = 0;

	for (size_t i = 0; i < n_traces && n < KIN_MAX_REFERENCES; i++) {
		if (fold[i] == out || (unseen && family[i] == unseen))
			continue;
		trace_count(&trace[i], SEMANTOS_CALLS_WINDOW, reference[n].count);
		reference[n].label = family[i];
		reference[n++].recording = (uint32_t)trace[i].group;
	}
	return kin_new(reference, n, one_class, FALSE_SHARE);
}

static void judge(const struct kin *kin, size_t i)
{
	struct kin_scratch *scratch = kin_scratch_new(kin);
	uint16_t count[SEMANTOS_CALLS];
	struct kin_answer answer;

	assert_non_null(scratch);
	trace_count(&trace[i], SEMANTOS_CALLS_WINDOW, count);
	assert_int_equal(kin_judge(kin, scratch, count, &answer), 0);
	judged.score[judged.n] = (float)answer.score;
	judged.probability[judged.n] = (float)answer.probability;
	judged.label[judged.n++] = family[i] > 0;
	judged.hit[family[i]] += answer.flagged;
	judged.of[family[i]]++;
	kin_scratch_free(scratch);
}

static double share(size_t part, size_t whole)
{
	return whole ? (double)part / (double)whole : NAN;
}

static double recall(void)
{
	size_t hit = 0, of = 0;

	for (size_t f = 1; f < N_FAMILIES; f++) {
		hit += judged.hit[f];
		of += judged.of[f];
	}
	return share(hit, of);
}

/* How far the said probability is from what happened, in ten bins, by their size. */
static double calibration_error(void)
{
	double error = 0;

	for (int bin = 0; bin < 10; bin++) {
		double said = 0, was = 0;

		for (size_t i = 0; i < judged.n; i++) {
			if ((int)fminf(9, judged.probability[i] * 10) != bin)
				continue;
			said += (double)judged.probability[i];
			was += judged.label[i];
		}
		error += fabs(said - was) / (double)judged.n;
	}
	return error;
}

static void judge_folds(bool one_class)
{
	memset(&judged, 0, sizeof(judged));
	for (uint32_t i = 0; i < DEALS * FOLDS; i++) {
		uint32_t out = i % FOLDS;
		struct kin *kin;

		divide(i / FOLDS);
		kin = references_without(out, 0, one_class);
		assert_non_null(kin);
		assert_true(kin_report(kin)->signal);
		for (size_t t = 0; t < n_traces; t++)
			if (fold[t] == out)
				judge(kin, t);
		kin_free(kin);
	}
	assert_int_equal(judged.n, DEALS * n_traces);
}

static void known_families_are_found(void **state)
{
	double auc, false_positives, found, error;
	size_t groups = 0;

	(void)state;
	if (!recorded())
		skip();
	for (size_t i = 0; i < n_traces; i++)
		groups += trace[i].group == i;
	judge_folds(false);
	auc = score_auc(judged.score, judged.label, judged.n);
	false_positives = share(judged.hit[0], judged.of[0]);
	found = recall();
	error = calibration_error();
	print_message(
		"  %zu traces, %zu of them distinct, in %zu groups; %d folds, dealt in %d ways\n",
		n_read, n_traces, groups, FOLDS, DEALS);
	print_message("  two classes: AUC %.3f, recall %.3f of known families, false positives "
		      "%.2f %%, calibration error %.3f\n",
		auc, found, false_positives * 100, error);
	for (size_t f = 1; f < N_FAMILIES; f++)
		print_message("    %s: %zu of %zu\n", families[f], judged.hit[f], judged.of[f]);
	assert_true(auc >= 0.87);
	assert_true(false_positives <= 0.024);
	assert_true(found >= 0.85);
	assert_true(error <= 0.05);
}

static void unseen_families_are_reported(void **state)
{
	(void)state;
	if (!recorded())
		skip();
	for (uint32_t unseen = 1; unseen < N_FAMILIES; unseen++) {
		struct kin *kin = references_without(unseen, unseen, false);

		assert_non_null(kin);
		memset(&judged, 0, sizeof(judged));
		for (size_t i = 0; i < n_traces; i++)
			if (family[i] == unseen || (!family[i] && fold[i] == unseen))
				judge(kin, i);
		print_message("  never seen: %s: AUC %.3f, recall %.3f (%zu of %zu), false "
			      "positives %.2f %%\n",
			families[unseen], score_auc(judged.score, judged.label, judged.n), recall(),
			judged.hit[unseen], judged.of[unseen],
			100 * share(judged.hit[0], judged.of[0]));
		kin_free(kin);
	}
}

static void one_class_ranks_attacks_above(void **state)
{
	double auc;

	(void)state;
	if (!recorded())
		skip();
	judge_folds(true);
	auc = score_auc(judged.score, judged.label, judged.n);
	print_message("  one class: AUC %.3f, recall %.3f, false positives %.2f %%\n", auc,
		recall(), 100 * share(judged.hit[0], judged.of[0]));
	assert_true(auc >= 0.73);
}

/* Normal traces alone, half of their groups called otherwise: nothing is there to be found. */
static void what_cannot_be_told_apart_has_no_signal(void **state)
{
	struct kin *kin;
	size_t n = 0;

	(void)state;
	if (!recorded())
		skip();
	for (size_t i = 0; i < n_traces && n < KIN_MAX_REFERENCES; i++) {
		if (family[i])
			continue;
		trace_count(&trace[i], SEMANTOS_CALLS_WINDOW, reference[n].count);
		reference[n].label = trace[i].group * 2246822519u >> 7 & 1;
		reference[n++].recording = (uint32_t)trace[i].group;
	}
	kin = kin_new(reference, n, false, FALSE_SHARE);
	assert_non_null(kin);
	print_message("  normal against normal: AUC %.3f (95 %% sure of %.3f): %s\n",
		kin_report(kin)->auc, kin_report(kin)->auc_low, kin_report(kin)->why);
	assert_false(kin_report(kin)->signal);
	memset(&judged, 0, sizeof(judged));
	for (size_t i = 0; i < n_traces; i++)
		judge(kin, i);
	for (size_t f = 0; f < N_FAMILIES; f++)
		assert_int_equal(judged.hit[f], 0);
	kin_free(kin);
}

static int clean_up(void **state)
{
	(void)state;
	if (trace)
		trace_free(trace, n_traces);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_families_are_found),
		cmocka_unit_test(unseen_families_are_reported),
		cmocka_unit_test(one_class_ranks_attacks_above),
		cmocka_unit_test(what_cannot_be_told_apart_has_no_signal),
	};

	return cmocka_run_group_tests(tests, NULL, clean_up);
}
