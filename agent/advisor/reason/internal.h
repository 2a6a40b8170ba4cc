/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h - what the files of the response model share: its unknowns, and a difference of two sums as a sparse row.
 */
#ifndef SEMANTOS_ADVISOR_INTERNAL_H
#define SEMANTOS_ADVISOR_INTERNAL_H

#include "agent/advisor/reason/response.h"

#define ROW_MAX 192 /* unknowns that one trial tells of */

struct row {
	uint32_t n;
	uint32_t id[ROW_MAX]; /* each once */
	double value[ROW_MAX];
};

struct block {
	size_t n;
	double *root; /* lower triangle of Cholesky's factor of the precision, n x n by rows */
	double *mean; /* [n] */
};

struct response {
	const struct lexicon *lexicon;
	const struct situation *now;
	struct response_without without;
	uint64_t now_s;
	size_t n_knobs, n_unknowns;
	double *scale; /* [n_knobs] */
	uint32_t *
		base; /* [n_knobs + 1]: first unknown of a knob's curve; the knob has base[k + 1] - base[k] */
	size_t n_pairs;
	struct {
		uint32_t coupling, unknown; /* a synergy, and the unknown of its product */
	} *pair; /* [n_pairs] */
	double *prior; /* [n_unknowns] variance */
	int32_t *block_of, *place_in; /* [n_unknowns]; -1: no trial told of it */
	struct block *block;
	double *like; /* [facts] how like the load was */
	double *dense; /* [RESPONSE_BLOCK_MAX] */
	struct response_account account;
};

/* Standard deviation of every knob's curve before any trial, from tables, edges and what was seen of its like. */
int prior_scales(struct response *response, const struct fact *fact, size_t n_facts);

/* Expected gain of being there rather than at the default. */
double prior_lean(const struct response *response, uint32_t knob, double place);

/* What these moves change of the sums, from `from`, as a row; and what is expected of them before any trial. */
void row_of_moves(const struct response *response, const struct situation *from,
	const struct fact_move *move, size_t n_moves, struct row *row, double *lean);

#endif
