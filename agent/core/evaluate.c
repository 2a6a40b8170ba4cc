// SPDX-License-Identifier: Apache-2.0
/*
 * evaluate.c - predictions wait here for their outcome; judged pairs stand in a sliding window.
 *
 * Both tables are allocated once. A prediction may stand in any of the WAYS places its request id hashes to; when all
 * are taken the oldest is the one whose outcome will hardly come: it is overwritten and counted as lost, so an insert
 * and a lookup cost the same few loads for ever. One thread per evaluator; nothing here decides what to do.
 */
#include "agent/core/evaluate.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/choice.h"
#include "agent/infer/score.h"

#define WAYS \
	8 /* places a prediction may stand in: one cache line of ids, and one more of the one that is meant */
#define AWAITING_MIN 4096 /* more reads than that are never in flight and undelivered at once */
#define CHOICE_BLOCK 128 /* reads: longer than the slow periods that matter */
#define CHOICE_RESAMPLES 100
#define WINDOW_MIN 256
#define WINDOW_MAX 65536

/* Ids stand apart from the rest, so that a search reads one line. */
struct awaiting {
	uint64_t request_id[WAYS]; /* 0 = free */
	struct prediction {
		uint32_t born; /* for "oldest": counts predictions, compared by difference */
		float score;
		uint32_t pending_pages;
		uint8_t cls;
	} of[WAYS];
} __attribute__((aligned(64)));

struct judged {
	float score, pending_pages, latency_us;
	uint32_t inflight, sectors;
	uint8_t cls, slow;
	uint8_t in_force; /* class in force at issue, or SEMANTOS_CLASS_DEFAULT */
};

struct evaluator {
	uint32_t window, n, next;
	uint32_t sets; /* a power of two */
	uint32_t born;
	uint64_t evaluated, lost;
	struct awaiting *awaiting; /* [sets] */
	struct judged *judged; /* [window] */
	float *column; /* [window], working memory of evaluator_score() */
	uint8_t *label; /* [window], likewise */
	const char *rows, *baseline; /* in sentences */
};

struct evaluator *evaluator_new(uint32_t window)
{
	struct evaluator *evaluator;

	if (window < WINDOW_MIN || window > WINDOW_MAX || window & (window - 1)) {
		errno = EINVAL;
		return NULL;
	}
	evaluator = calloc(1, sizeof(*evaluator));
	if (!evaluator)
		return NULL;
	evaluator->window = window;
	evaluator_words(evaluator, "reads", "pending pages");
	evaluator->sets = (window > AWAITING_MIN ? window : AWAITING_MIN) / WAYS;
	evaluator->awaiting =
		aligned_alloc(_Alignof(struct awaiting), evaluator->sets * sizeof(struct awaiting));
	if (evaluator->awaiting)
		memset(evaluator->awaiting, 0, evaluator->sets * sizeof(struct awaiting));
	evaluator->judged = calloc(window, sizeof(struct judged));
	evaluator->column = calloc(window, sizeof(float));
	evaluator->label = calloc(window, 1);
	if (evaluator->awaiting && evaluator->judged && evaluator->column && evaluator->label)
		return evaluator;
	evaluator_free(evaluator);
	errno = ENOMEM;
	return NULL;
}

void evaluator_free(struct evaluator *evaluator)
{
	if (!evaluator)
		return;
	free(evaluator->awaiting);
	free(evaluator->judged);
	free(evaluator->column);
	free(evaluator->label);
	free(evaluator);
}

/* Where this id may stand. Fibonacci hashing: ids are a sequence number above a CPU number. */
static struct awaiting *places(const struct evaluator *evaluator, uint64_t request_id)
{
	uint64_t hash = request_id * 0x9e3779b97f4a7c15ULL;

	return &evaluator->awaiting[hash >> 32 & (evaluator->sets - 1)];
}

/* The last place that holds this id (0: that is free), or WAYS. Without a branch a place. */
static int place_of(const struct awaiting *at, uint64_t request_id)
{
	uint32_t found = 0;

	for (int way = 0; way < WAYS; way++)
		found |= (uint32_t)(at->request_id[way] == request_id) << way;
	return found ? 31 - __builtin_clz(found) : WAYS;
}

static int oldest(const struct evaluator *evaluator, const struct awaiting *at)
{
	int oldest = 0;

	for (int way = 1; way < WAYS; way++)
		if (evaluator->born - at->of[way].born > evaluator->born - at->of[oldest].born)
			oldest = way;
	return oldest;
}

void evaluator_predicted(struct evaluator *evaluator, uint64_t request_id, uint32_t pending_pages,
	float score, uint8_t cls)
{
	struct awaiting *at = places(evaluator, request_id);
	int way = place_of(at, request_id);

	if (way == WAYS)
		way = place_of(at, 0);
	if (way == WAYS)
		way = oldest(evaluator, at);
	if (at->request_id[way])
		evaluator->lost++;
	at->request_id[way] = request_id;
	at->of[way] = (struct prediction){
		.born = evaluator->born++,
		.score = score,
		.pending_pages = pending_pages,
		.cls = cls,
	};
}

bool evaluator_judge(struct evaluator *evaluator, const struct evaluator_outcome *outcome,
	float slow_threshold_us)
{
	struct awaiting *at = places(evaluator, outcome->request_id);
	const struct prediction *found;
	int way;

	if (!outcome->request_id)
		return false;
	way = place_of(at, outcome->request_id);
	if (way == WAYS)
		return false;
	found = &at->of[way];
	at->request_id[way] = 0;
	if (outcome->error)
		return false;
	evaluator->judged[evaluator->next] = (struct judged){
		.score = found->score,
		.pending_pages = (float)found->pending_pages,
		.latency_us = (float)outcome->latency_us,
		.inflight = outcome->inflight,
		.sectors = outcome->sectors,
		.cls = found->cls,
		.slow = (float)outcome->latency_us >= slow_threshold_us,
		.in_force = outcome->in_force,
	};
	evaluator->next = (evaluator->next + 1) & (evaluator->window - 1);
	if (evaluator->n < evaluator->window)
		evaluator->n++;
	evaluator->evaluated++;
	return true;
}

void evaluator_words(struct evaluator *evaluator, const char *rows, const char *baseline)
{
	evaluator->rows = rows;
	evaluator->baseline = baseline;
}

void evaluator_reset_window(struct evaluator *evaluator)
{
	memset(evaluator->awaiting, 0, evaluator->sets * sizeof(*evaluator->awaiting));
	evaluator->n = 0;
	evaluator->next = 0;
}

/* Order does not matter to any score, so the ring is read from its start. */
void evaluator_score(const struct evaluator *evaluator, struct score_view *view)
{
	struct score_confusion confusion = { 0 };
	uint64_t in_force_right = 0;
	uint32_t n = evaluator->n;

	*view = (struct score_view){
		.evaluated = evaluator->evaluated,
		.window_rows = n,
		.auc = NAN,
		.auc_pending = NAN,
		.recall = NAN,
		.precision = NAN,
		.accuracy = NAN,
		.majority = NAN,
		.slow_share = NAN,
		.in_force_accuracy = NAN,
	};
	if (!n)
		return;
	for (uint32_t i = 0; i < n; i++) {
		const struct judged *row = &evaluator->judged[i];

		evaluator->column[i] = row->score;
		evaluator->label[i] = row->slow;
		confusion.tp += row->cls && row->slow;
		confusion.fp += row->cls && !row->slow;
		confusion.tn += !row->cls && !row->slow;
		confusion.fn += !row->cls && row->slow;
		if (row->in_force == SEMANTOS_CLASS_DEFAULT)
			continue;
		view->in_force_rows++;
		in_force_right += (row->in_force != 0) == row->slow;
	}
	view->auc = score_auc(evaluator->column, evaluator->label, n);
	for (uint32_t i = 0; i < n; i++)
		evaluator->column[i] = evaluator->judged[i].pending_pages;
	view->auc_pending = score_auc(evaluator->column, evaluator->label, n);
	view->recall = score_recall(confusion);
	view->precision = score_precision(confusion);
	view->accuracy = score_accuracy(confusion);
	view->majority = score_majority_accuracy(evaluator->label, n);
	view->slow_share = (double)(confusion.tp + confusion.fn) / n;
	if (view->in_force_rows)
		view->in_force_accuracy = (double)in_force_right / (double)view->in_force_rows;
}

uint64_t evaluator_lost(const struct evaluator *evaluator)
{
	return evaluator->lost;
}

bool evaluator_below_floor(const struct evaluator *evaluator, double floor_auc, uint32_t min_rows,
	char *why, size_t why_len)
{
	struct score_view view;

	if (min_rows > evaluator->window)
		min_rows = evaluator->window;
	if (!evaluator->n || evaluator->n < min_rows)
		return false;
	evaluator_score(evaluator, &view);
	/* One class only: nothing was ranked, so nothing speaks against the model. NaN compares false. */
	if (view.auc < floor_auc) {
		snprintf(why, why_len,
			"over the last %u judged %s its AUC is %.2f, below the floor of %.2f",
			evaluator->n, evaluator->rows, view.auc, floor_auc);
		return true;
	}
	if (view.auc < view.auc_pending) {
		snprintf(why, why_len,
			"over the last %u judged %s its AUC is %.2f, below the %.2f of %s alone",
			evaluator->n, evaluator->rows, view.auc, view.auc_pending,
			evaluator->baseline);
		return true;
	}
	return false;
}

bool evaluator_chooses_worse(
	const struct evaluator *evaluator, uint32_t min_rows, char *why, size_t why_len)
{
	uint32_t n = evaluator->n, first = n < evaluator->window ? 0 : evaluator->next;
	struct choice_result choice;
	struct choice_row *rows;
	int err;

	if (min_rows > evaluator->window)
		min_rows = evaluator->window;
	if (!n || n < min_rows)
		return false;
	rows = calloc(n, sizeof(*rows));
	if (!rows)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		const struct judged *row =
			&evaluator->judged[(first + i) & (evaluator->window - 1)];

		rows[i] = (struct choice_row){ .score = row->score,
			.latency_us = row->latency_us,
			.inflight = row->inflight,
			.sectors = row->sectors };
	}
	err = choice_test(rows, n, CHOICE_BLOCK, CHOICE_RESAMPLES, 1, &choice);
	free(rows);
	if (err || !(choice.high < 0))
		return false;
	snprintf(why, why_len,
		"over the last %u judged reads choosing a leg by it would have cost %.1f %% more "
		"than fewest outstanding",
		n, -100 * choice.gain);
	return true;
}
