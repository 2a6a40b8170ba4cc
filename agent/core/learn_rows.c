// SPDX-License-Identifier: Apache-2.0
/*
 * learn_rows.c - sorts reads by issue time, encodes them, scores them in batches and judges the scores.
 *
 * Leak-free by construction: a row's features come from its own record, and a record holds only what was known when
 * its read was issued. Allocates per call, keeps nothing; any thread.
 */
#include "agent/core/learn_rows.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/infer.h"
#include "agent/infer/label.h"

#define SCORE_BATCH 1024u
#define BLOCK_MIN 32u
#define RESAMPLES 400u /* 2.5 % tails then rest on ten draws each */
#define BOOTSTRAP_SEED 1u

static int by_issue(const void *left, const void *right)
{
	const struct semantos_block_record *a = *(const struct semantos_block_record *const *)left;
	const struct semantos_block_record *b = *(const struct semantos_block_record *const *)right;

	if (a->head.ts_ns != b->head.ts_ns)
		return a->head.ts_ns < b->head.ts_ns ? -1 : 1;
	return a->head.request_id < b->head.request_id ? -1
						       : a->head.request_id > b->head.request_id;
}

static bool usable(const struct semantos_block_record *record)
{
	return record->head.kind == SEMANTOS_OUTCOME && record->op == SEMANTOS_OP_READ &&
	       !(record->head.flags & SEMANTOS_F_ERROR) && record->history_len == SEMANTOS_HISTORY;
}

int rows_take(struct rows *rows, const struct semantos_block_record *records, size_t n)
{
	size_t kept = 0;

	memset(rows, 0, sizeof(*rows));
	for (size_t i = 0; i < n; i++)
		kept += usable(&records[i]);
	if (!kept)
		return 0;
	rows->record = calloc(kept, sizeof(*rows->record));
	rows->latency_us = calloc(kept, sizeof(*rows->latency_us));
	rows->sectors = calloc(kept, sizeof(*rows->sectors));
	rows->pending = calloc(kept, sizeof(*rows->pending));
	rows->slow = calloc(kept, 1);
	if (!rows->record || !rows->latency_us || !rows->sectors || !rows->pending || !rows->slow) {
		rows_free(rows);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++) {
		if (usable(&records[i]))
			rows->record[rows->n++] = &records[i];
	}
	qsort(rows->record, rows->n, sizeof(*rows->record), by_issue);
	for (size_t i = 0; i < rows->n; i++) {
		rows->latency_us[i] = (float)rows->record[i]->latency_us;
		rows->sectors[i] = (float)rows->record[i]->sectors;
		rows->pending[i] = (float)rows->record[i]->pending_pages;
	}
	return 0;
}

void rows_free(struct rows *rows)
{
	free(rows->record);
	free(rows->latency_us);
	free(rows->sectors);
	free(rows->pending);
	free(rows->slow);
	memset(rows, 0, sizeof(*rows));
}

size_t rows_leave_out(struct rows *rows, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (rows->slow[i] == LABEL_LEFT_OUT)
			continue;
		rows->record[kept] = rows->record[i];
		rows->latency_us[kept] = rows->latency_us[i];
		rows->sectors[kept] = rows->sectors[i];
		rows->pending[kept] = rows->pending[i];
		rows->slow[kept++] = rows->slow[i];
	}
	return kept;
}

float *rows_encode(const struct rows *rows, size_t first, size_t n, const struct encoder *encoder)
{
	float *features = calloc(n, encoder->n_features * sizeof(*features));

	for (size_t i = 0; features && i < n; i++)
		encoder->encode(rows->record[first + i], &features[i * encoder->n_features]);
	return features;
}

int rows_score(const struct rows *rows, size_t first, size_t n, const struct encoder *encoder,
	const struct model *model, float *scores)
{
	struct infer_scratch *scratch = NULL;
	struct infer_plan *plan;
	float *features = NULL;
	int err = -EINVAL;

	if (model_inputs(model) != encoder->n_features)
		return -EINVAL;
	errno = 0;
	plan = infer_prepare(model, SCORE_BATCH, INFER_FLOAT);
	if (!plan)
		return errno ? -errno : -EINVAL;
	scratch = infer_scratch_new(plan);
	for (size_t done = 0, batch; scratch && done < n; done += batch) {
		batch = n - done < SCORE_BATCH ? n - done : SCORE_BATCH;
		features = rows_encode(rows, first + done, batch, encoder);
		err = features ? infer_run(plan, scratch, features, batch, scores + done) : -ENOMEM;
		free(features);
		if (err)
			break;
	}
	if (!scratch)
		err = -ENOMEM;
	infer_scratch_free(scratch);
	infer_free(plan);
	return err;
}

/* Autocorrelation of 0/1 labels at one lag. */
static double correlation(const uint8_t *slow, size_t n, size_t lag, double mean)
{
	double sum = 0;

	for (size_t i = lag; i < n; i++)
		sum += (slow[i] - mean) * (slow[i - lag] - mean);
	return sum / ((double)n * mean * (1 - mean));
}

size_t rows_block(const uint8_t *slow, size_t n)
{
	size_t most = n / 8 > BLOCK_MIN ? n / 8 : BLOCK_MIN, lag = 1, sum = 0;
	double mean;

	for (size_t i = 0; i < n; i++)
		sum += slow[i];
	mean = n ? (double)sum / (double)n : 0;
	if (mean > 0 && mean < 1) {
		/* Steps of a quarter keep this O(n log n); 2/sqrt(n) is the noise of an uncorrelated series. */
		while (2 * lag < most && correlation(slow, n, lag, mean) > 2 / sqrt((double)n))
			lag += lag / 4 + 1;
	}
	if (2 * lag > most)
		return most;
	return 2 * lag > BLOCK_MIN ? 2 * lag : BLOCK_MIN;
}

int rows_judge(const struct rows *rows, size_t first, size_t n, const float *scores,
	const struct model *model, double margin, int direction, struct learn_result *result)
{
	float *baseline = calloc(n, sizeof(*baseline));
	const uint8_t *slow = rows->slow + first;
	struct score_confusion confusion;
	int err;

	if (!baseline)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		baseline[i] = (float)direction * rows->pending[first + i];
	err = score_signal_test(scores, baseline, slow, n, rows_block(slow, n), RESAMPLES, margin,
		BOOTSTRAP_SEED, &result->heldout);
	free(baseline);
	if (err)
		return err;
	confusion = score_confuse(scores, slow, n, model->decision_threshold);
	result->heldout_majority = score_majority_accuracy(slow, n);
	result->heldout_accuracy = score_accuracy(confusion);
	result->heldout_recall = score_recall(confusion);
	result->heldout_precision = score_precision(confusion);
	result->rows_heldout = n;
	return 0;
}

/* What row i was foreseen to be at its issue, into choice->score or ->unknown. */
static void foreseen(const struct semantos_block_record *const *record, size_t i,
	const float *scores, const struct model *model, uint64_t verdict_ns,
	struct choice_row *choice)
{
	bool latency = model->latency_error_us > 0;

	/* A verdict is a class, of the read before, and lasts for a time. That it takes the agent a while to give it is left out. */
	if (verdict_ns && (!i || record[i]->head.ts_ns >= record[i - 1]->head.ts_ns + verdict_ns))
		choice->unknown = true;
	else if (verdict_ns)
		choice->score = choice_of_class(scores[i - 1] >= model->decision_threshold);
	else
		choice->score = latency ? scores[i]
					: choice_of_class(scores[i] >= model->decision_threshold);
}

int rows_choose(const struct rows *rows, size_t first, size_t n, const float *scores,
	const struct model *model, uint64_t verdict_ns, struct learn_result *result)
{
	const struct semantos_block_record *const *record = rows->record + first;
	struct choice_row *choices = calloc(n ? n : 1, sizeof(*choices));
	int err;

	if (!choices)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		choices[i] = (struct choice_row){ .latency_us = rows->latency_us[first + i],
			.inflight = record[i]->inflight,
			.sectors = record[i]->sectors };
		foreseen(record, i, scores, model, verdict_ns, &choices[i]);
	}
	err = choice_test(choices, n, rows_block(rows->slow + first, n), RESAMPLES, BOOTSTRAP_SEED,
		&result->choice);
	free(choices);
	result->by_choice = model->latency_error_us > 0;
	if (result->by_choice)
		result->heldout.signal = result->choice.signal;
	return err;
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

float rows_silence(const struct rows *rows, size_t n)
{
	float *since = calloc(n ? n : 1, sizeof(*since)), most;

	if (!since || !n) {
		free(since);
		return 0;
	}
	for (size_t i = 0; i < n; i++)
		since[i] = (float)rows->record[i]->since_done_us;
	qsort(since, n, sizeof(*since), by_value);
	most = since[n - 1 - n / 1000];
	free(since);
	return most;
}

void rows_result_clear(struct learn_result *result)
{
	struct score_signal *heldout = &result->heldout;

	memset(result, 0, sizeof(*result));
	heldout->auc = heldout->auc_low = heldout->auc_high = NAN;
	heldout->baseline_auc = heldout->gain_low = heldout->gain_high = NAN;
	result->heldout_majority = result->heldout_accuracy = NAN;
	result->heldout_recall = result->heldout_precision = NAN;
	result->choice = (struct choice_result){ NAN, NAN, NAN, NAN, false };
	result->slow_share = NAN;
}

const char *rows_count(size_t n, char text[32])
{
	char plain[24];
	int digits = snprintf(plain, sizeof(plain), "%zu", n), at = 0;

	for (int i = 0; i < digits; i++) {
		if (i && (digits - i) % 3 == 0)
			text[at++] = ',';
		text[at++] = plain[i];
	}
	text[at] = 0;
	return text;
}

void rows_compare(const struct learn_result *result, char *text, size_t text_len)
{
	const struct score_signal *heldout = &result->heldout;
	const char *how = "no better than", *baseline = result->baseline ?: "pending pages";

	if (result->by_choice) {
		snprintf(text, text_len,
			"choosing by it gains %.1f %% (95 %% %.1f-%.1f) of fewest outstanding's "
			"mean",
			100 * result->choice.gain, 100 * result->choice.low,
			100 * result->choice.high);
		return;
	}
	if (heldout->signal)
		how = "better than";
	else if (heldout->gain_low > 0)
		how = "too near to chance;";
	snprintf(text, text_len, "AUC %.2f (95 %% %.2f-%.2f), %s %s alone (%.2f)", heldout->auc,
		heldout->auc_low, heldout->auc_high, how, baseline, heldout->baseline_auc);
}
