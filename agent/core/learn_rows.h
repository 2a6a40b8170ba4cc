/* SPDX-License-Identifier: Apache-2.0 */
/*
 * learn_rows.h - what training and replay share: reads in time order, their features, scores and judgement.
 *
 * Internal to learn.c and learn_replay.c. Rows are a copy of their own; the caller's records are never touched.
 */
#ifndef SEMANTOS_CORE_LEARN_ROWS_H
#define SEMANTOS_CORE_LEARN_ROWS_H

#include <stdint.h>
#include "agent/core/learn.h"
#include "agent/infer/encode.h"

struct rows {
	size_t n;
	const struct semantos_block_record **record; /* [n], by issue time, ties by request id */
	float *latency_us; /* [n] */
	float *sectors; /* [n] sizes */
	float *pending; /* [n] pages pending at issue: the baseline's score */
	uint8_t *slow; /* [n] labels; zero until somebody labels */
};

/* Reads that succeeded and had full history, sorted by issue. 0 or -ENOMEM; n may be 0. */
int rows_take(struct rows *rows, const struct semantos_block_record *records, size_t n);
void rows_free(struct rows *rows); /* accepts a zeroed one */

/* Of the first n rows, those labelled LABEL_LEFT_OUT go: the others move down. Returns how many are left; rows from n on stay. */
size_t rows_leave_out(struct rows *rows, size_t n);

/* Features of rows first..first+n-1: [n][encoder->n_features], freed by the caller; NULL when out of memory. */
float *rows_encode(const struct rows *rows, size_t first, size_t n, const struct encoder *encoder);

/* The model's scores of the same rows into scores[n]. 0, -EINVAL (encoder and model differ in shape), -ENOMEM. */
int rows_score(const struct rows *rows, size_t first, size_t n, const struct encoder *encoder,
	const struct model *model, float *scores);

/*
 * Compare scores[n] of rows first.. with the labels and with pending pages alone; fills heldout*, rows_heldout.
 * `direction` is +1 when more pending pages mean slower, -1 when fewer do. 0 or -errno.
 */
int rows_judge(const struct rows *rows, size_t first, size_t n, const float *scores,
	const struct model *model, double margin, int direction, struct learn_result *result);

/*
 * What choosing by scores[n] of rows first.. would have gained; verdict_ns as in the recipe. Fills choice and by_choice, and of a
 * model that foresees latencies heldout.signal. 0 or -errno.
 */
int rows_choose(const struct rows *rows, size_t first, size_t n, const float *scores,
	const struct model *model, uint64_t verdict_ns, struct learn_result *result);

/* Block length for the bootstrap: twice the lag at which labels stop resembling each other, 32..n/8. */
size_t rows_block(const uint8_t *slow, size_t n);

/* Of the first n rows: the time since the last completed request that all but a thousandth stay within, in us; 0: no memory. */
float rows_silence(const struct rows *rows, size_t n);

/* Nothing measured yet: every score is NaN. */
void rows_result_clear(struct learn_result *result);

/* "14,000" into text. */
const char *rows_count(size_t n, char text[32]);

/* "AUC 0.51 (95 % 0.46-0.55), no better than pending pages alone (0.49)", or of latencies what choosing by it gains. */
void rows_compare(const struct learn_result *result, char *text, size_t text_len);

#endif
