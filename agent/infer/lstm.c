// SPDX-License-Identifier: Apache-2.0
/*
 * lstm.c - runs stacks of LSTM layers: one layer over all steps before the next, so that its weights stay in the cache.
 *
 * A layer's input products are taken for all steps at once, only the recurrent ones step by step; a one-hot input is no
 * product at all but one row of the kernel. Owns plan and scratch; any thread with a scratch of its own.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/amx.h"
#include "agent/infer/bf16.h"
#include "agent/infer/engine.h"
#include "agent/infer/lstm.h"
#include "agent/infer/lstm_engine.h"
#include "agent/infer/random.h"

#define CHUNK 24 /* sequences at once */
#define PANEL 64 /* columns of float weights side by side */
#define CALIBRATION 48 /* sequences */
#define MARGIN 3.0f /* on the largest error of the difference of two logits seen at prepare time */

struct matrix {
	size_t k, n; /* n is padded to lanes */
	/*
	 * Panels of `panel` columns, the last of what is left: [k][columns of the panel]. Rows of a whole matrix of this size
	 * lie a page apart, and one vector of a page at a time is slower than memory. One panel for a one-hot input's.
	 */
	float *value;
	size_t panel;
	uint32_t *packed; /* bfloat16, or NULL */
};

struct plan_layer {
	size_t inputs, units; /* padded to lanes; inputs of the first layer as they are */
	struct matrix kernel, recurrent;
	float *bias; /* [4 * units] */
};

struct lstm_plan {
	const struct lstm_engine *engine; /* in floats */
	bool bf16, amx; /* products in bfloat16; on tiles */
	uint32_t n_layers, steps, inputs, classes;
	struct plan_layer layer[LSTM_MAX_LAYERS];
	struct matrix dense;
	float *dense_bias;
	float near; /* two logits closer than this may have changed places */
	size_t widest; /* floats of the widest row of gates, inputs or logits */
};

struct lstm_scratch {
	float *z; /* [CHUNK * steps][widest] gates */
	float *hidden[2]; /* [steps][CHUNK][widest units], layer by layer in turns */
	float *cell; /* [CHUNK][widest units] */
	float *logits; /* [CHUNK][padded classes] */
	uint32_t *pairs; /* bfloat16 rows */
	uint32_t *hot; /* [CHUNK][steps], of sequences run again */
	float *x; /* [CHUNK][steps][inputs], likewise */
	bool back; /* the next float product begins with its last panel */
	uint64_t recomputed;
};

static const struct lstm_engine *choose(void)
{
	switch (engine_choose()->lanes) {
	case 16:
		return &lstm_avx512;
	case 8:
		return &lstm_avx2;
	default:
		return &lstm_scalar;
	}
}

/* [rows][groups * columns] to [k][groups * padded columns]: every gate by itself is padded. */
static int pack(struct matrix *to, const float *from, size_t rows, size_t k, size_t groups,
	size_t columns, bool bf16, size_t panel)
{
	size_t padded = GEMM_PAD(columns);
	float *whole;

	to->k = k;
	to->n = groups * padded;
	to->panel = panel ? panel : to->n;
	to->value = gemm_alloc(k * to->n);
	whole = gemm_alloc(k * to->n);
	if (bf16)
		to->packed = (uint32_t *)gemm_alloc(bf16_packed_words(k, to->n));
	if (!to->value || !whole || (bf16 && !to->packed)) {
		free(whole);
		return -ENOMEM;
	}
	for (size_t r = 0; r < rows; r++)
		for (size_t g = 0; g < groups; g++)
			memcpy(whole + r * to->n + g * padded, from + (r * groups + g) * columns,
				columns * sizeof(float));
	for (size_t at = 0, n; at < to->n; at += n) {
		n = to->n - at < to->panel ? to->n - at : to->panel;
		for (size_t r = 0; r < k; r++)
			memcpy(to->value + at * k + r * n, whole + r * to->n + at,
				n * sizeof(float));
	}
	if (bf16)
		bf16_pack(whole, k, to->n, to->packed);
	free(whole);
	return 0;
}

static bool valid(const struct lstm_model *model)
{
	if (model->n_layers == 0 || model->n_layers > LSTM_MAX_LAYERS || model->steps == 0 ||
		model->steps > LSTM_MAX_STEPS || model->classes == 0 ||
		model->classes > LSTM_MAX_WIDTH || !model->dense || !model->dense_bias)
		return false;
	for (uint32_t l = 0; l < model->n_layers; l++) {
		const struct lstm_layer *layer = &model->layer[l];

		if (layer->inputs == 0 || layer->inputs > LSTM_MAX_WIDTH || layer->units == 0 ||
			layer->units > LSTM_MAX_WIDTH || !layer->kernel || !layer->recurrent ||
			!layer->bias || (l && layer->inputs != model->layer[l - 1].units))
			return false;
	}
	return true;
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static int calibrate(struct lstm_plan *plan);

struct lstm_plan *lstm_prepare(const struct lstm_model *model)
{
	struct lstm_plan *plan;
	uint32_t last;

	if (!valid(model)) {
		errno = EINVAL;
		return NULL;
	}
	plan = calloc(1, sizeof(*plan));
	if (!plan)
		return NULL;
	plan->engine = choose();
	plan->amx = engine_has_amx();
	plan->bf16 = plan->amx || engine_has_bf16();
	plan->n_layers = model->n_layers;
	plan->steps = model->steps;
	plan->inputs = model->layer[0].inputs;
	plan->classes = model->classes;
	plan->widest = larger(plan->inputs, GEMM_PAD((size_t)plan->classes));
	for (uint32_t l = 0; l < plan->n_layers; l++) {
		const struct lstm_layer *from = &model->layer[l];
		struct plan_layer *to = &plan->layer[l];

		to->units = GEMM_PAD((size_t)from->units);
		to->inputs = l ? plan->layer[l - 1].units : from->inputs;
		to->bias = gemm_alloc(4 * to->units);
		if (!to->bias ||
			pack(&to->kernel, from->kernel, from->inputs, to->inputs, 4, from->units,
				plan->bf16, l ? PANEL : 0) ||
			pack(&to->recurrent, from->recurrent, from->units, to->units, 4,
				from->units, plan->bf16, PANEL))
			goto fail;
		for (size_t g = 0; g < 4; g++)
			memcpy(to->bias + g * to->units, from->bias + g * from->units,
				from->units * sizeof(float));
		plan->widest = larger(plan->widest, 4 * to->units);
	}
	last = plan->n_layers - 1;
	plan->dense_bias = gemm_alloc(GEMM_PAD((size_t)plan->classes));
	if (!plan->dense_bias ||
		pack(&plan->dense, model->dense, model->layer[last].units, plan->layer[last].units,
			1, plan->classes, plan->bf16, PANEL))
		goto fail;
	memcpy(plan->dense_bias, model->dense_bias, plan->classes * sizeof(float));
	if (plan->bf16 && calibrate(plan))
		goto fail;
	return plan;
fail:
	lstm_free(plan);
	errno = ENOMEM;
	return NULL;
}

static void matrix_free(struct matrix *matrix)
{
	free(matrix->value);
	free(matrix->packed);
}

void lstm_free(struct lstm_plan *plan)
{
	if (!plan)
		return;
	for (uint32_t l = 0; l < LSTM_MAX_LAYERS; l++) {
		matrix_free(&plan->layer[l].kernel);
		matrix_free(&plan->layer[l].recurrent);
		free(plan->layer[l].bias);
	}
	matrix_free(&plan->dense);
	free(plan->dense_bias);
	free(plan);
}

struct lstm_scratch *lstm_scratch_new(const struct lstm_plan *plan)
{
	struct lstm_scratch *scratch = calloc(1, sizeof(*scratch));
	size_t rows = (size_t)CHUNK * plan->steps;

	if (!scratch)
		return NULL;
	scratch->z = gemm_alloc(rows * plan->widest);
	scratch->hidden[0] = gemm_alloc(rows * plan->widest);
	scratch->hidden[1] = gemm_alloc(rows * plan->widest);
	scratch->cell = gemm_alloc(CHUNK * plan->widest);
	scratch->logits = gemm_alloc(CHUNK * plan->dense.n);
	scratch->pairs = (uint32_t *)gemm_alloc(rows * plan->widest);
	scratch->hot = (uint32_t *)gemm_alloc(rows);
	scratch->x = gemm_alloc(rows * plan->inputs);
	if (scratch->z && scratch->hot && scratch->x && scratch->hidden[0] && scratch->hidden[1] &&
		scratch->cell && scratch->logits && scratch->pairs)
		return scratch;
	lstm_scratch_free(scratch);
	errno = ENOMEM;
	return NULL;
}

void lstm_scratch_free(struct lstm_scratch *scratch)
{
	if (!scratch)
		return;
	free(scratch->z);
	free(scratch->hidden[0]);
	free(scratch->hidden[1]);
	free(scratch->cell);
	free(scratch->logits);
	free(scratch->pairs);
	free(scratch->hot);
	free(scratch->x);
	free(scratch);
}

/* z[m][matrix->n] += a * matrix */
static void product(const struct lstm_plan *plan, const struct matrix *matrix, bool bf16,
	struct lstm_scratch *scratch, size_t m, const float *a, size_t lda, float *z)
{
	if (bf16 && plan->amx) {
		bf16_pairs(m, matrix->k, a, lda, scratch->pairs);
		amx_bf16_product(
			m, matrix->n, (matrix->k + 1) / 2, scratch->pairs, matrix->packed, z);
	} else if (bf16) {
		bf16_product(m, matrix->n, matrix->k, a, lda, matrix->packed, scratch->pairs, z);
	} else {
		size_t panels = (matrix->n + matrix->panel - 1) / matrix->panel;

		/* There and back, step by step: what the last step left in the cache is what this one begins with. */
		scratch->back = !scratch->back;
		for (size_t i = 0; i < panels; i++) {
			size_t at = (scratch->back ? panels - 1 - i : i) * matrix->panel;
			size_t n = matrix->n - at < matrix->panel ? matrix->n - at : matrix->panel;

			plan->engine->product(m, n, matrix->k, a, lda, 1,
				matrix->value + at * matrix->k, n, z + at, matrix->n);
		}
	}
}

/* Up to CHUNK sequences to scratch->logits: [n][dense.n]. One of hot and x is not NULL. */
static void run_chunk(const struct lstm_plan *plan, struct lstm_scratch *scratch,
	const uint32_t *hot, const float *x, size_t n, bool bf16)
{
	size_t steps = plan->steps;
	const struct plan_layer *layer = plan->layer;

	/* Rows are ordered by step, then sequence. */
	for (uint32_t l = 0; l < plan->n_layers; l++, layer++) {
		size_t gates = 4 * layer->units;
		float *hidden = scratch->hidden[l % 2];
		const float *below = scratch->hidden[1 - l % 2];

		if (l == 0 && !hot && x) {
			for (size_t t = 0; t < steps; t++)
				for (size_t r = 0; r < n; r++)
					memcpy(scratch->hidden[1] + (t * n + r) * plan->inputs,
						x + (r * steps + t) * plan->inputs,
						plan->inputs * sizeof(float));
		}
		for (size_t t = 0; t < steps; t++)
			for (size_t r = 0; r < n; r++) {
				float *z = scratch->z + (t * n + r) * gates;
				const float *row =
					l == 0 && hot
						? layer->kernel.value + hot[r * steps + t] * gates
						: NULL;

				memcpy(z, layer->bias, gates * sizeof(float));
				for (size_t i = 0; row && i < gates; i += GEMM_LANES)
					for (size_t k = i; k < i + GEMM_LANES; k++)
						z[k] += row[k];
			}
		if (l || !hot)
			product(plan, &layer->kernel, bf16, scratch, steps * n, below,
				layer->inputs, scratch->z);
		memset(scratch->cell, 0, n * layer->units * sizeof(float));
		for (size_t t = 0; t < steps; t++) {
			float *z = scratch->z + t * n * gates;

			if (t)
				product(plan, &layer->recurrent, bf16, scratch, n,
					hidden + (t - 1) * n * layer->units, layer->units, z);
			for (size_t r = 0; r < n; r++)
				plan->engine->cell(z + r * gates, layer->units,
					scratch->cell + r * layer->units,
					hidden + (t * n + r) * layer->units);
		}
	}
	layer--;
	for (size_t r = 0; r < n; r++)
		memcpy(scratch->logits + r * plan->dense.n, plan->dense_bias,
			plan->dense.n * sizeof(float));
	product(plan, &plan->dense, bf16, scratch, n,
		scratch->hidden[(plan->n_layers - 1) % 2] + (steps - 1) * n * layer->units,
		layer->units, scratch->logits);
}

/* The first largest of n, and how far it is above the next. */
static uint32_t best_of(const float *logits, size_t n, float *gap)
{
	float first = logits[0], second = -INFINITY;
	uint32_t best = 0;

	for (uint32_t i = 1; i < n; i++) {
		if (logits[i] > first) {
			second = first;
			first = logits[i];
			best = i;
		} else if (logits[i] > second) {
			second = logits[i];
		}
	}
	*gap = first - second;
	return best;
}

/* The answers of sequence r of the chunk; false when its class is too near the next to be told in bfloat16. */
static bool answer(const struct lstm_plan *plan, const struct lstm_scratch *scratch, size_t r,
	bool bf16, float *probability, uint32_t *best)
{
	const float *logits = scratch->logits + r * plan->dense.n;
	float gap;
	uint32_t class = best_of(logits, plan->classes, &gap);

	if (bf16 && !(gap > plan->near))
		return false;
	if (best)
		*best = class;
	if (probability) {
		float sum = plan->engine->exponentials(
			logits, plan->classes, logits[class], probability);

		for (uint32_t i = 0; i < plan->classes; i++)
			probability[i] /= sum;
	}
	return true;
}

/* The n sequences numbered in `near`, in floats. */
static void run_again(const struct lstm_plan *plan, struct lstm_scratch *scratch,
	const uint32_t *near, size_t n, const uint32_t *hot, const float *x, float *probability,
	uint32_t *best)
{
	size_t wide = (size_t)plan->steps * plan->inputs;

	for (size_t i = 0; i < n; i++)
		if (hot)
			memcpy(scratch->hot + i * plan->steps, hot + near[i] * plan->steps,
				plan->steps * sizeof(*hot));
		else if (x)
			memcpy(scratch->x + i * wide, x + near[i] * wide, wide * sizeof(*x));
	run_chunk(plan, scratch, hot ? scratch->hot : NULL, hot ? NULL : scratch->x, n, false);
	for (size_t i = 0; i < n; i++)
		answer(plan, scratch, i, false,
			probability ? probability + (size_t)near[i] * plan->classes : NULL,
			best ? best + near[i] : NULL);
	scratch->recomputed += n;
}

static void run_all(const struct lstm_plan *plan, struct lstm_scratch *scratch, const uint32_t *hot,
	const float *x, size_t n, float *probability, uint32_t *best)
{
	bool bf16 = plan->bf16;
	uint32_t near[2 * CHUNK];
	size_t step, n_near = 0;

	for (size_t done = 0; done < n; done += step) {
		step = n - done < CHUNK ? n - done : CHUNK;
		run_chunk(plan, scratch, hot ? hot + done * plan->steps : NULL,
			x ? x + done * plan->steps * plan->inputs : NULL, step, bf16);
		for (size_t r = done; r < done + step; r++)
			if (!answer(plan, scratch, r - done, bf16,
				    probability ? probability + r * plan->classes : NULL,
				    best ? best + r : NULL))
				near[n_near++] = (uint32_t)r;
		/* A full chunk of them costs less a sequence than a few. */
		if (n_near >= CHUNK) {
			n_near -= CHUNK;
			run_again(plan, scratch, near + n_near, CHUNK, hot, x, probability, best);
		}
	}
	if (n_near)
		run_again(plan, scratch, near, n_near, hot, x, probability, best);
}

int lstm_run_hot(const struct lstm_plan *plan, struct lstm_scratch *scratch, const uint32_t *hot,
	size_t n, float *probability, uint32_t *best)
{
	for (size_t i = 0; i < n * plan->steps; i++)
		if (hot[i] >= plan->inputs)
			return -EINVAL;
	run_all(plan, scratch, hot, NULL, n, probability, best);
	return 0;
}

int lstm_run(const struct lstm_plan *plan, struct lstm_scratch *scratch, const float *x, size_t n,
	float *probability, uint32_t *best)
{
	run_all(plan, scratch, NULL, x, n, probability, best);
	return 0;
}

/* How far the difference of the two best logits moves when products are taken in bfloat16, on random one-hot inputs. */
static int calibrate(struct lstm_plan *plan)
{
	struct lstm_scratch *scratch = lstm_scratch_new(plan);
	uint32_t *hot = malloc(CHUNK * plan->steps * sizeof(*hot));
	float *exact = malloc(CHUNK * plan->dense.n * sizeof(float)), worst = 0;
	struct random_state random = random_seed(1);
	int err = scratch && hot && exact ? 0 : -ENOMEM;

	for (size_t done = 0; !err && done < CALIBRATION; done += CHUNK) {
		for (size_t i = 0; i < (size_t)CHUNK * plan->steps; i++)
			hot[i] = (uint32_t)random_below(&random, plan->inputs);
		run_chunk(plan, scratch, hot, NULL, CHUNK, false);
		memcpy(exact, scratch->logits, CHUNK * plan->dense.n * sizeof(float));
		run_chunk(plan, scratch, hot, NULL, CHUNK, true);
		for (size_t r = 0; r < CHUNK; r++) {
			const float *quick = scratch->logits + r * plan->dense.n,
				    *slow = exact + r * plan->dense.n;
			float low = 0, high = 0;

			for (uint32_t i = 0; i < plan->classes; i++) {
				low = fminf(low, quick[i] - slow[i]);
				high = fmaxf(high, quick[i] - slow[i]);
			}
			worst = fmaxf(worst, high - low);
		}
	}
	/*
	 * Over hundreds of classes the spread is some seven deviations of one error, five of the difference of two: what
	 * remains is 2.6 of those. Of sequences that near one in two hundred has the wrong class, and few are.
	 */
	plan->near = plan->classes > 256 ? 0.5f * worst : MARGIN * worst;
	lstm_scratch_free(scratch);
	free(hot);
	free(exact);
	return err;
}

uint64_t lstm_recomputed(const struct lstm_scratch *scratch)
{
	return scratch->recomputed;
}

const char *lstm_engine(const struct lstm_plan *plan)
{
	if (plan->bf16)
		return plan->amx ? "amx" : "avx512-bf16";
	return plan->engine->name;
}
