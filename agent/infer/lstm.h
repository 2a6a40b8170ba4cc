/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lstm.h - stacks of LSTM layers with a softmax over classes at the end: Kleio's page classifier.
 *
 * Prepared once, run for any number of sequences without allocating. With AVX-512 BF16 products are taken in bfloat16; a
 * sequence whose two best classes are nearer than that may err is run again in floats. A plan is immutable: several threads
 * may run it, each with its own scratch.
 *
 * Of the tests' sequences probabilities are within 1e-4 of double precision in floats, 0.03 in bfloat16, and at least 99.9 % of
 * the classes the same. There is no function for a bound that always holds: a step multiplies what the one before was off by
 * with the sums of the weights, so that for Kleio it would be above 1.
 */
#ifndef SEMANTOS_INFER_LSTM_H
#define SEMANTOS_INFER_LSTM_H

#include <stddef.h>
#include <stdint.h>

#define LSTM_MAX_LAYERS 4
#define LSTM_MAX_WIDTH 4096 /* inputs, units, classes */
#define LSTM_MAX_STEPS 64

/*
 * Weights as Keras keeps them: gates in the order input, forget, cell, output, side by side in a row. Gates use the
 * sigmoid, cell and output the hyperbolic tangent.
 */
struct lstm_layer {
	uint32_t inputs, units;
	const float *kernel; /* [inputs][4 * units] */
	const float *recurrent; /* [units][4 * units] */
	const float *bias; /* [4 * units] */
};

struct lstm_model {
	uint32_t n_layers, steps, classes;
	struct lstm_layer layer[LSTM_MAX_LAYERS];
	const float *dense; /* [units of the last layer][classes] */
	const float *dense_bias; /* [classes] */
};

struct lstm_plan;
struct lstm_scratch;

/* Copies the weights. NULL with errno EINVAL (shapes) or ENOMEM. SEMANTOS_INFER chooses as in infer.h. */
struct lstm_plan *lstm_prepare(const struct lstm_model *model);
void lstm_free(struct lstm_plan *plan); /* accepts NULL */

struct lstm_scratch *lstm_scratch_new(const struct lstm_plan *plan); /* NULL with errno ENOMEM */
void lstm_scratch_free(struct lstm_scratch *scratch); /* accepts NULL */

/*
 * n sequences of one-hot inputs, hot: [n][steps] the number of the input that is 1; or of dense ones, x:
 * [n][steps][inputs]. probability: [n][classes], or NULL; best: [n] the likeliest class (the first of equals), or NULL.
 * No allocation, no system call. 0, or -EINVAL when a hot input is out of range.
 */
int lstm_run_hot(const struct lstm_plan *plan, struct lstm_scratch *scratch, const uint32_t *hot,
	size_t n, float *probability, uint32_t *best);
int lstm_run(const struct lstm_plan *plan, struct lstm_scratch *scratch, const float *x, size_t n,
	float *probability, uint32_t *best);

/* Sequences run again in floats since the scratch was made. */
uint64_t lstm_recomputed(const struct lstm_scratch *scratch);

/* "scalar", "avx2", "avx512", "avx512-bf16" or "amx" */
const char *lstm_engine(const struct lstm_plan *plan);

#endif
