// SPDX-License-Identifier: Apache-2.0
/*
 * infer.c - packs a model once for the engine of this CPU, then runs batches without allocating.
 *
 * Owns the plan (immutable, shared by threads) and the scratch (one thread's). Never calls the system while running,
 * never looks at what a feature means.
 */
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/engine.h"
#include "agent/infer/engine_byte.h"
#include "agent/infer/engine_half.h"
#include "agent/infer/engine_quick.h"
#include "agent/infer/infer_integer.h"
#include "agent/infer/twin.h"

/* ---- prepare --------------------------------------------------------------------------------------- */

/* x' = (x - mean) * scale goes into the weights, in double: the run then needs no pass of its own for it. */
static int pack_float(struct packed_layer *to, const struct model_layer *layer, const float *mean,
	const float *scale)
{
	size_t n_weights = to->narrow ? to->outputs * to->padded_inputs : to->inputs * to->padded;

	to->weight = gemm_alloc(n_weights);
	to->bias = gemm_alloc(to->padded);
	if (!to->weight || !to->bias)
		return -ENOMEM;
	for (size_t o = 0; o < to->outputs; o++) {
		double bias = layer->bias[o];

		for (size_t i = 0; i < to->inputs; i++) {
			double w = layer->weight[o * to->inputs + i];

			if (mean) {
				w *= scale[i];
				bias -= w * mean[i];
			}
			to->weight[to->narrow ? o * to->padded_inputs + i : i * to->padded + o] =
				(float)w;
		}
		to->bias[o] = (float)bias;
	}
	return 0;
}

/* The same weights in the order a vector engine broadcasts them. */
static int pack_tiles(struct packed_layer *to, size_t tile)
{
	float *at = gemm_alloc((size_t)to->inputs * to->outputs);

	to->tiled = at;
	if (!at)
		return -ENOMEM;
	for (size_t first = 0; first < to->outputs; first += tile) {
		size_t n = to->outputs - first < tile ? to->outputs - first : tile;

		for (size_t i = 0; i < to->inputs; i++)
			for (size_t o = 0; o < n; o++)
				*at++ = to->weight[i * to->padded + first + o];
	}
	return 0;
}

/* The difference of two linear outputs is itself one linear output: half the work of the last layer. */
static int pack_score(struct infer_plan *plan, const struct model *model)
{
	const struct model_layer *last = &model->layer[model->n_layers - 1];
	struct packed_score *to = &plan->score;
	const float *mean = model->n_layers == 1 ? model->mean : NULL;
	double bias;

	if (last->outputs > 2 || (last->outputs == 2 && last->activation != MODEL_LINEAR))
		return 0;
	to->weight = gemm_alloc(GEMM_PAD((size_t)last->inputs));
	if (!to->weight)
		return -ENOMEM;
	to->activation = last->activation;
	bias = last->outputs == 2 ? (double)last->bias[1] - last->bias[0] : last->bias[0];
	for (size_t i = 0; i < last->inputs; i++) {
		double w = last->weight[i];

		if (last->outputs == 2)
			w = (double)last->weight[last->inputs + i] - w;
		if (mean) {
			w *= model->scale[i];
			bias -= w * mean[i];
		}
		to->weight[i] = (float)w;
	}
	to->bias = (float)bias;
	return 0;
}

static int pack_integer(struct packed_layer *to, const struct model_integer_layer *layer)
{
	to->integer_weight = calloc(to->inputs * to->padded, sizeof(int64_t));
	to->integer_bias = calloc(to->padded, sizeof(int64_t));
	if (!to->integer_weight || !to->integer_bias)
		return -ENOMEM;
	for (size_t o = 0; o < to->outputs; o++) {
		for (size_t i = 0; i < to->inputs; i++)
			to->integer_weight[i * to->padded + o] = layer->weight[o * to->inputs + i];
		to->integer_bias[o] = layer->bias[o];
	}
	return 0;
}

static void count_costs(struct infer_plan *plan)
{
	/* of a layer for one row: its chain of sums, loads and activation have nothing to hide behind */
	const size_t latency = 16;

	for (size_t l = 0; plan->engine->lanes && l < plan->n_layers; l++) {
		const struct packed_layer *layer = &plan->layer[l];

		plan->cost_block += (size_t)layer->inputs * (layer->outputs + 1);
		plan->cost_row += layer->inputs * (layer->padded / plan->engine->lanes) + latency;
	}
}

/* A twin is NULL with errno 0 when the net does not suit it. */
static int prepare_twins(struct infer_plan *plan, const struct model *model)
{
	/* Tiles take bfloat16 faster than an 8-bit twin takes bytes. */
	const bool amx = engine_has_amx(), bytes = !amx && engine_has_vnni();
	size_t n = 0;

	if (bytes) {
		plan->quick = quick_prepare(plan);
		if (!plan->quick && errno)
			return -ENOMEM;
		plan->bytes = plan->quick ? NULL : byte_prepare(plan, model);
		if (!plan->quick && !plan->bytes && errno)
			return -ENOMEM;
	}
	if (amx || engine_has_bf16()) {
		plan->half = half_prepare(plan, model, amx);
		if (!plan->half && errno)
			return -ENOMEM;
	}
	if (plan->quick || plan->bytes)
		plan->twin[n++] = plan->quick ? &quick_twin : &byte_twin;
	if (plan->half)
		plan->twin[n] = half_twin(plan->half);
	return 0;
}

struct infer_plan *infer_prepare(
	const struct model *model, uint32_t max_batch, enum infer_arithmetic arithmetic)
{
	struct infer_plan *plan;
	int err = -ENOMEM;

	if (max_batch == 0 || max_batch > INFER_MAX_BATCH || model->n_layers == 0 ||
		model->n_layers > MODEL_MAX_LAYERS ||
		(arithmetic == INFER_INTEGER && !model->has_integer)) {
		errno = EINVAL;
		return NULL;
	}
	plan = calloc(1, sizeof(*plan));
	if (!plan)
		goto fail;
	plan->max_batch = max_batch;
	plan->n_layers = model->n_layers;
	plan->inputs = model_inputs(model);
	plan->outputs = model_outputs(model);
	plan->arithmetic = arithmetic;
	plan->engine = arithmetic == INFER_INTEGER ? &engine_scalar : engine_choose();
	plan->threshold = model->decision_threshold;
	plan->widest = GEMM_PAD(plan->inputs);
	for (uint32_t i = 0; i < plan->n_layers; i++) {
		const struct model_layer *layer = &model->layer[i];
		struct packed_layer *to = &plan->layer[i];

		to->inputs = layer->inputs;
		to->outputs = layer->outputs;
		to->activation = layer->activation;
		to->padded = GEMM_PAD((size_t)layer->outputs);
		to->padded_inputs = i ? plan->layer[i - 1].padded : layer->inputs;
		/* The caller's rows are not padded, so the first layer cannot be summed in lanes. */
		to->narrow = !plan->engine->lanes && i > 0 && layer->outputs <= ENGINE_NARROW;
		if (plan->widest < to->padded)
			plan->widest = to->padded;
		err = -EINVAL;
		if (arithmetic == INFER_INTEGER && layer->activation == MODEL_SIGMOID)
			goto fail;
		if (arithmetic == INFER_INTEGER)
			err = pack_integer(to, &model->integer[i]);
		else
			err = pack_float(to, layer, i ? NULL : model->mean, model->scale);
		if (!err && plan->engine->lanes)
			err = pack_tiles(to, plan->engine->tile);
		if (err)
			goto fail;
	}
	count_costs(plan);
	err = plan->engine->lanes ? pack_score(plan, model) : 0;
	if (!err && arithmetic == INFER_QUICK)
		err = prepare_twins(plan, model);
	if (err)
		goto fail;
	return plan;
fail:
	infer_free(plan);
	errno = -err;
	return NULL;
}

void infer_free(struct infer_plan *plan)
{
	if (!plan)
		return;
	for (uint32_t i = 0; i < plan->n_layers; i++) {
		free(plan->layer[i].weight);
		free(plan->layer[i].bias);
		free(plan->layer[i].tiled);
		free(plan->layer[i].integer_weight);
		free(plan->layer[i].integer_bias);
	}
	free(plan->score.weight);
	quick_free(plan->quick);
	byte_free(plan->bytes);
	half_free(plan->half);
	free(plan);
}

struct infer_scratch *infer_scratch_new(const struct infer_plan *plan)
{
	struct infer_scratch *scratch = calloc(1, sizeof(*scratch));

	if (!scratch)
		return NULL;
	if (plan->arithmetic == INFER_INTEGER) {
		scratch->x = malloc(plan->widest * sizeof(int64_t));
		scratch->y = malloc(plan->widest * sizeof(int64_t));
	} else {
		scratch->a = gemm_alloc(ENGINE_BLOCK_ROWS * plan->widest);
		scratch->b = gemm_alloc(ENGINE_BLOCK_ROWS * plan->widest);
	}
	if (plan->quick) {
		size_t n_bytes = quick_scratch_bytes(plan->quick);

		scratch->quick = (uint32_t *)gemm_alloc(n_bytes / sizeof(float));
		if (!scratch->quick)
			goto fail;
	}
	if (plan->bytes) {
		scratch->bytes = (uint32_t *)gemm_alloc(byte_scratch_words(plan->bytes));
		if (!scratch->bytes)
			goto fail;
	}
	if (plan->half) {
		scratch->half = (uint32_t *)gemm_alloc(half_scratch_words(plan->half));
		if (!scratch->half)
			goto fail;
	}
	if (plan->quick || plan->bytes || plan->half) {
		scratch->again = gemm_alloc((size_t)ENGINE_BLOCK_ROWS * plan->inputs);
		scratch->block = gemm_alloc((size_t)TWIN_ROWS * plan->inputs);
		if (!scratch->again || !scratch->block)
			goto fail;
	}
	if ((scratch->a && scratch->b) || (scratch->x && scratch->y))
		return scratch;
fail:
	infer_scratch_free(scratch);
	errno = ENOMEM;
	return NULL;
}

void infer_scratch_free(struct infer_scratch *scratch)
{
	if (!scratch)
		return;
	free(scratch->a);
	free(scratch->b);
	free(scratch->x);
	free(scratch->y);
	free(scratch->quick);
	free(scratch->again);
	free(scratch->block);
	free(scratch->bytes);
	free(scratch->half);
	free(scratch);
}

/* ---- calls ----------------------------------------------------------------------------------------- */

static bool batch_fits(const struct infer_plan *plan, size_t n)
{
	return n > 0 && n <= plan->max_batch;
}

static void run_quickest(const struct infer_plan *plan, struct infer_scratch *scratch,
	const float *rows, size_t n, float *scores)
{
	size_t done = 0;

	for (size_t t = 0; t < 2 && plan->twin[t] && n - done >= ENGINE_FEW_ROWS; t++)
		done += twin_run(plan->twin[t], plan, scratch, rows + done * plan->inputs, n - done,
			scores + done);
	if (done < n)
		plan->engine->run(
			plan, scratch, rows + done * plan->inputs, n - done, NULL, scores + done);
}

int infer_run(const struct infer_plan *plan, struct infer_scratch *scratch, const float *rows,
	size_t n, float *scores)
{
	if (!batch_fits(plan, n) || plan->outputs > 2)
		return -EINVAL;
	if (plan->arithmetic == INFER_INTEGER)
		for (size_t r = 0; r < n; r++) {
			const int64_t *y = integer_run_row(plan, scratch, rows + r * plan->inputs);

			scores[r] = plan->outputs == 1
					    ? (float)y[0]
					    : (float)(int64_t)((uint64_t)y[1] - (uint64_t)y[0]);
		}
	else
		run_quickest(plan, scratch, rows, n, scores);
	return 0;
}

int infer_run_outputs(const struct infer_plan *plan, struct infer_scratch *scratch,
	const float *rows, size_t n, float *outputs)
{
	if (!batch_fits(plan, n))
		return -EINVAL;
	if (plan->arithmetic == INFER_INTEGER)
		for (size_t r = 0; r < n; r++) {
			const int64_t *y = integer_run_row(plan, scratch, rows + r * plan->inputs);

			for (uint32_t o = 0; o < plan->outputs; o++)
				*outputs++ = (float)y[o];
		}
	else
		plan->engine->run(plan, scratch, rows, n, outputs, NULL);
	return 0;
}

int infer_run_integer(const struct infer_plan *plan, struct infer_scratch *scratch,
	const float *rows, size_t n, int64_t *outputs)
{
	if (!batch_fits(plan, n) || plan->arithmetic != INFER_INTEGER)
		return -EINVAL;
	for (size_t r = 0; r < n; r++, outputs += plan->outputs)
		memcpy(outputs, integer_run_row(plan, scratch, rows + r * plan->inputs),
			plan->outputs * sizeof(*outputs));
	return 0;
}

/*
 * Running error analysis (Higham, Accuracy and Stability of Numerical Algorithms, ch. 3): a sum of k products is off
 * by at most g(k) = ku / (1 - ku) times the sum of magnitudes. Per unit it carries a bound on the magnitude and on
 * the error so far. Two extra roundings: the folded weight and the bias.
 */
float infer_error_bound(const struct infer_plan *plan, float x_max)
{
	const double u = FLT_EPSILON / 2;
	double *size, *err, *next_size, *next_err, *memory, bound = 0, score_size = 0;

	if (plan->arithmetic == INFER_INTEGER)
		return 0;
	if (plan->quick || plan->bytes || plan->half)
		return fmaxf(fmaxf(plan->quick ? quick_error_bound(plan, x_max) : 0,
				     plan->bytes ? byte_error_bound(plan, x_max) : 0),
			plan->half ? half_error_bound(plan, x_max) : 0);
	memory = calloc(4 * plan->widest, sizeof(double));
	if (!memory)
		return INFINITY;
	size = memory;
	err = size + plan->widest;
	next_size = err + plan->widest;
	next_err = next_size + plan->widest;
	for (uint32_t i = 0; i < plan->inputs; i++)
		size[i] = fabs((double)x_max);
	for (uint32_t l = 0; l < plan->n_layers; l++) {
		const struct packed_layer *layer = &plan->layer[l];
		double k = layer->inputs + 3, g = k * u / (1 - k * u), *swap;

		for (size_t o = 0; o < layer->outputs; o++) {
			double magnitude = fabs((double)layer->bias[o]), inherited = 0;

			for (size_t i = 0; i < layer->inputs; i++) {
				double w =
					layer->weight[layer->narrow ? o * layer->padded_inputs + i
								    : i * layer->padded + o];

				magnitude += fabs(w) * (size[i] + err[i]);
				inherited += fabs(w) * err[i];
			}
			next_size[o] = magnitude;
			next_err[o] = inherited + g * magnitude;
			if (layer->activation == MODEL_SIGMOID) {
				/* slope at most 1/4; the exponential, the sum and the quotient a few roundings */
				next_err[o] = next_err[o] / 4 + 8 * u;
				next_size[o] = 1;
			}
		}
		swap = size;
		size = next_size;
		next_size = swap;
		swap = err;
		err = next_err;
		next_err = swap;
	}
	for (uint32_t o = 0; o < plan->outputs; o++) {
		bound += err[o];
		score_size += size[o] + err[o];
	}
	free(memory);
	bound += u * score_size; /* the difference of two outputs is rounded once more */
	return nextafterf((float)bound, INFINITY);
}

const char *infer_engine(const struct infer_plan *plan)
{
	if (plan->quick || plan->bytes)
		return "avx512-vnni";
	if (plan->half)
		return half_name(plan->half);
	return plan->engine->name;
}

uint64_t infer_recomputed(const struct infer_scratch *scratch)
{
	return scratch->recomputed;
}
