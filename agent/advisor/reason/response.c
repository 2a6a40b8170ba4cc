// SPDX-License-Identifier: Apache-2.0
/*
 * response.c - the posterior: trials sorted into blocks that share no unknown, each block solved by Cholesky.
 */
#include "agent/advisor/reason/response.h"

#include <errno.h>
#include <stdlib.h>
#include "agent/advisor/reason/internal.h"

#define LENGTH 0.25 /* of the line: what a curve changes over */
#define PAIR_SHARE 1.0 /* of a product beside its knobs' own curves, for a synergy of weight 1 */
#define UNLIKE 0.05 /* by so much may a gain differ under a wholly different load */
#define BREACH_GAIN (-0.15) /* what a breach stands for that was ended before it was measured */
#define BREACH_ERROR 0.05
#define WORSE_GAIN (-0.25) /* a canary that looked so bad that it was ended there (ROLLOUT_HARM) */
#define WORSE_ERROR 0.08

double response_likeness(const struct situation *now, const struct fact *fact)
{
	double sum = 0;
	size_t i = 0, j = 0, common = 0;

	while (i < now->n_metrics && j < fact->n_metrics) {
		if (now->metric[i].metric < fact->metric[j].metric) {
			i++;
		} else if (now->metric[i].metric > fact->metric[j].metric) {
			j++;
		} else {
			double d = fmin(2, fabs(now->metric[i++].level - fact->metric[j++].level));

			sum += d * d;
			common++;
		}
	}
	return common ? exp(-sum / (double)common) : 1;
}

double response_scale(const struct response *r, uint32_t knob)
{
	return r->scale[knob];
}

struct response_account response_account(const struct response *r)
{
	return r->account;
}

void response_free(struct response *r)
{
	if (!r)
		return;
	for (size_t b = 0; r->block && b < r->account.blocks; b++) {
		free(r->block[b].root);
		free(r->block[b].mean);
	}
	free(r->scale);
	free(r->base);
	free(r->pair);
	free(r->prior);
	free(r->block_of);
	free(r->place_in);
	free(r->block);
	free(r->like);
	free(r->dense);
	free(r);
}

/* Every curve's and product's unknowns, numbered, with their variances. */
static int number_unknowns(struct response *r)
{
	const struct lexicon *lexicon = r->lexicon;
	double share[RESPONSE_WAVES], sum = 0;
	uint32_t next = 0;

	for (size_t wave = 0; wave < RESPONSE_WAVES; wave++) {
		double w = (double)(wave + 1) * M_PI * LENGTH;

		share[wave] = pow(1 + w * w, -1.5);
		sum += share[wave];
	}
	for (size_t k = 0; k < r->n_knobs; k++) {
		const struct axis *axis = &lexicon->knob[k]->axis;

		r->base[k] = next;
		if (axis->usable)
			next += axis->words ? axis->words : RESPONSE_WAVES;
	}
	r->base[r->n_knobs] = next;
	for (size_t c = 0; c < lexicon->n_couplings; c++) {
		const struct coupling *edge = &lexicon->coupling[c];
		const struct axis *a = &lexicon->knob[edge->from]->axis,
				  *b = &lexicon->knob[edge->to]->axis;

		if (!r->without.edges && edge->link == KNOB_SYNERGIZES_WITH && a->usable &&
			b->usable && !a->words && !b->words) {
			r->pair[r->n_pairs].coupling = (uint32_t)c;
			r->pair[r->n_pairs++].unknown = next++;
		}
	}
	r->n_unknowns = next;
	r->prior = calloc(next + 1, sizeof(*r->prior));
	r->block_of = calloc(next + 1, sizeof(*r->block_of));
	r->place_in = calloc(next + 1, sizeof(*r->place_in));
	if (!r->prior || !r->block_of || !r->place_in)
		return -ENOMEM;
	for (size_t k = 0; k < r->n_knobs; k++) {
		bool words = lexicon->knob[k]->axis.words > 0;
		double variance = r->scale[k] * r->scale[k];

		for (uint32_t i = r->base[k]; i < r->base[k + 1]; i++)
			r->prior[i] = words ? variance / 2 : variance * share[i - r->base[k]] / sum;
	}
	for (size_t p = 0; p < r->n_pairs; p++) {
		const struct coupling *edge = &lexicon->coupling[r->pair[p].coupling];

		r->prior[r->pair[p].unknown] = r->scale[edge->from] * r->scale[edge->to] *
					       PAIR_SHARE * coupling_weight(edge, r->now_s);
	}
	return 0;
}

/* ---- trials into blocks ---- */

struct trial {
	struct row row;
	double rest, precision; /* gain beyond what was expected; 1 / variance */
};

/* Disjoint sets of unknowns; block_of is the parent, place_in the size, until blocks are made. */
static uint32_t top_of(int32_t *parent, uint32_t id)
{
	while ((uint32_t)parent[id] != id) {
		parent[id] = parent[parent[id]];
		id = (uint32_t)parent[id];
	}
	return id;
}

/* false: the block would be too large. */
static bool join(struct response *r, const struct row *row)
{
	uint32_t tops[ROW_MAX], n = 0;
	int32_t size = 0;

	for (uint32_t i = 0; i < row->n; i++) {
		uint32_t id = row->id[i], top, seen = 0;

		if (r->block_of[id] < 0) {
			size++; /* new: joins in any case, or is left as it was */
			continue;
		}
		top = top_of(r->block_of, id);
		while (seen < n && tops[seen] != top)
			seen++;
		if (seen == n) {
			tops[n++] = top;
			size += r->place_in[top];
		}
	}
	if (size > RESPONSE_BLOCK_MAX || !row->n)
		return false;
	for (uint32_t i = 0; i < row->n; i++) {
		uint32_t id = row->id[i];

		if (r->block_of[id] < 0)
			r->block_of[id] = (int32_t)id;
		else
			id = top_of(r->block_of, id);
		if (i == 0)
			tops[0] = id;
		r->block_of[id] = (int32_t)tops[0];
	}
	r->block_of[tops[0]] = (int32_t)tops[0];
	r->place_in[tops[0]] = size;
	return true;
}

static bool trial_of(struct response *r, const struct fact *fact, double like,
	struct situation *then, struct trial *trial)
{
	double error, gain, lean;

	if (like <= 0 || !fact_tried(fact) || (!fact->measured && !fact_cut_short(fact)) ||
		!fact->n_moves)
		return false;
	for (size_t i = 0; i < fact->n_beside; i++) {
		uint32_t knob = fact->beside[i].knob;

		then->value[knob] = fact->beside[i].value;
		then->place[knob] =
			axis_place(&r->lexicon->knob[knob]->axis, fact->beside[i].value);
	}
	row_of_moves(r, then, fact->move, fact->n_moves, &trial->row, &lean);
	for (size_t i = 0; i < fact->n_beside; i++) {
		then->value[fact->beside[i].knob] = NULL;
		then->place[fact->beside[i].knob] = NAN;
	}
	if (fact->measured) {
		gain = fact->gain;
		error = fmax(FACT_ERROR_MIN, fact->error);
	} else {
		gain = fact->verdict == FACT_BREACH ? BREACH_GAIN : WORSE_GAIN;
		error = fact->verdict == FACT_BREACH ? BREACH_ERROR : WORSE_ERROR;
	}
	trial->rest = gain - lean;
	trial->precision = 1 / (error * error + UNLIKE * UNLIKE * (1 - like));
	return true;
}

/* Parents become numbers of blocks and places in them. */
static int make_blocks(struct response *r)
{
	int32_t *number = malloc((r->n_unknowns + 1) * sizeof(*number));
	size_t blocks = 0;

	if (!number)
		return -ENOMEM;
	for (uint32_t id = 0; id < r->n_unknowns; id++)
		number[id] = r->block_of[id] == (int32_t)id ? (int32_t)blocks++ : -1;
	r->block = calloc(blocks + 1, sizeof(*r->block));
	if (!r->block) {
		free(number);
		return -ENOMEM;
	}
	r->account.blocks = blocks;
	for (uint32_t id = 0; id < r->n_unknowns; id++)
		r->place_in[id] = r->block_of[id] < 0 ? -1 : number[top_of(r->block_of, id)];
	for (uint32_t id = 0; id < r->n_unknowns; id++) {
		r->block_of[id] = r->place_in[id];
		if (r->block_of[id] >= 0)
			r->place_in[id] = (int32_t)r->block[r->block_of[id]].n++;
	}
	free(number);
	for (size_t b = 0; b < blocks; b++) {
		size_t n = r->block[b].n;

		if (n > r->account.largest)
			r->account.largest = n;
		r->block[b].root = calloc(n * n, sizeof(double));
		r->block[b].mean = calloc(n, sizeof(double));
		if (!r->block[b].root || !r->block[b].mean)
			return -ENOMEM;
	}
	for (uint32_t id = 0; id < r->n_unknowns; id++) {
		struct block *block = r->block_of[id] < 0 ? NULL : &r->block[r->block_of[id]];

		if (block)
			block->root[(size_t)r->place_in[id] * (block->n + 1)] = 1 / r->prior[id];
	}
	return 0;
}

static void add_trial(struct response *r, const struct trial *trial)
{
	struct block *block = &r->block[r->block_of[trial->row.id[0]]];

	for (uint32_t i = 0; i < trial->row.n; i++) {
		size_t a = (size_t)r->place_in[trial->row.id[i]];
		double scaled = trial->precision * trial->row.value[i];

		block->mean[a] += scaled * trial->rest;
		for (uint32_t j = 0; j < trial->row.n; j++) {
			size_t b = (size_t)r->place_in[trial->row.id[j]];

			if (b <= a)
				block->root[a * block->n + b] += scaled * trial->row.value[j];
		}
	}
}

static double dot(const double *a, const double *b, size_t n)
{
	double sum[4] = { 0 };
	size_t i = 0;

	for (; i + 4 <= n; i += 4) {
		sum[0] += a[i] * b[i];
		sum[1] += a[i + 1] * b[i + 1];
		sum[2] += a[i + 2] * b[i + 2];
		sum[3] += a[i + 3] * b[i + 3];
	}
	for (; i < n; i++)
		sum[0] += a[i] * b[i];
	return sum[0] + sum[1] + sum[2] + sum[3];
}

/* In place: precision to its root, right side to the mean. The prior keeps every pivot above 0. */
static void solve(struct block *block)
{
	size_t n = block->n;
	double *root = block->root, *x = block->mean;

	for (size_t i = 0; i < n; i++) {
		double *row = root + i * n;

		for (size_t j = 0; j < i; j++)
			row[j] = (row[j] - dot(row, root + j * n, j)) / root[j * n + j];
		row[i] = sqrt(fmax(1e-12, row[i] - dot(row, row, i)));
		x[i] = (x[i] - dot(row, x, i)) / row[i];
	}
	for (size_t i = n; i-- > 0;) {
		x[i] /= root[i * n + i];
		for (size_t j = 0; j < i; j++)
			x[j] -= root[i * n + j] * x[i];
	}
}

static int fit(struct response *r, const struct fact *fact, size_t n_facts)
{
	struct situation then = { .n = r->n_knobs };
	struct trial *trial = NULL;
	size_t n = 0;
	int ret = -ENOMEM;

	then.value = calloc(r->n_knobs + 1, sizeof(*then.value));
	then.place = malloc((r->n_knobs + 1) * sizeof(*then.place));
	trial = malloc((n_facts + 1) * sizeof(*trial));
	if (!then.value || !then.place || !trial)
		goto out;
	for (size_t k = 0; k < r->n_knobs; k++)
		then.place[k] = NAN;
	for (size_t id = 0; id < r->n_unknowns; id++)
		r->block_of[id] = -1;
	for (size_t f = 0; !r->without.traces && f < n_facts; f++) {
		if (!trial_of(r, &fact[f], r->like[f], &then, &trial[n]))
			continue;
		if (join(r, &trial[n].row))
			n++;
		else
			r->account.left_out++;
	}
	r->account.used = n;
	ret = make_blocks(r);
	if (ret)
		goto out;
	for (size_t t = 0; t < n; t++)
		add_trial(r, &trial[t]);
	for (size_t b = 0; b < r->account.blocks; b++)
		solve(&r->block[b]);
out:
	free(then.value);
	free(then.place);
	free(trial);
	return ret;
}

struct response *response_fit(const struct lexicon *lexicon, const struct fact *fact,
	size_t n_facts, const struct situation *now, uint64_t now_s,
	const struct response_without *without)
{
	struct response *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->lexicon = lexicon;
	r->now = now;
	r->now_s = now_s;
	r->n_knobs = lexicon->n_knobs;
	if (without)
		r->without = *without;
	r->scale = calloc(r->n_knobs + 1, sizeof(*r->scale));
	r->base = calloc(r->n_knobs + 1, sizeof(*r->base));
	r->pair = calloc(lexicon->n_couplings + 1, sizeof(*r->pair));
	r->like = malloc((n_facts + 1) * sizeof(*r->like));
	r->dense = malloc(RESPONSE_BLOCK_MAX * sizeof(*r->dense));
	for (size_t f = 0; r->like && f < n_facts; f++)
		r->like[f] = without && without->traces	   ? 1
			     : now->other && now->other[f] ? 0
							   : response_likeness(now, &fact[f]);
	if (r->scale && r->base && r->pair && r->like && r->dense &&
		!prior_scales(r, fact, n_facts) && !number_unknowns(r) && !fit(r, fact, n_facts))
		return r;
	response_free(r);
	return NULL;
}

/* Variance of one block's part of the row: |L^-1 x|^2; and its mean. Rows of the same block are taken together. */
static void expect_block(
	struct response *r, const struct row *row, int32_t number, double *mean, double *variance)
{
	const struct block *block = &r->block[number];
	size_t first = block->n;
	double *x = r->dense;

	memset(x, 0, block->n * sizeof(*x));
	for (uint32_t i = 0; i < row->n; i++) {
		size_t at;

		if (r->block_of[row->id[i]] != number)
			continue;
		at = (size_t)r->place_in[row->id[i]];
		x[at] = row->value[i];
		*mean += row->value[i] * block->mean[at];
		if (at < first)
			first = at;
	}
	for (size_t i = first; i < block->n; i++) {
		const double *line = block->root + i * block->n;

		x[i] = (x[i] - dot(line + first, x + first, i - first)) / line[i];
		*variance += x[i] * x[i];
	}
}

void response_expect(struct response *r, const struct fact_move *move, size_t n_moves, double *mean,
	double *variance)
{
	struct row row;

	row_of_moves(r, r->now, move, n_moves, &row, mean);
	*variance = 0;
	for (uint32_t i = 0; i < row.n; i++) {
		int32_t block = r->block_of[row.id[i]];
		uint32_t before = 0;

		if (block < 0) {
			*variance += row.value[i] * row.value[i] * r->prior[row.id[i]];
			continue;
		}
		while (before < i && r->block_of[row.id[before]] != block)
			before++;
		if (before == i)
			expect_block(r, &row, block, mean, variance);
	}
}
