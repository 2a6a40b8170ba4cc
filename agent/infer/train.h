/* SPDX-License-Identifier: Apache-2.0 */
/*
 * train.h - trains small MLP classifiers in process: minibatch SGD with momentum, or Adam.
 *
 * Deterministic for a given seed. Runs on the caller's thread (the agent gives it one of its own) and looks at
 * `cancel` at least once per minibatch, so it can be stopped within a millisecond.
 */
#ifndef SEMANTOS_INFER_TRAIN_H
#define SEMANTOS_INFER_TRAIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/infer/model.h"

enum train_optimiser { TRAIN_ADAM, TRAIN_SGD };
enum train_loss {
	TRAIN_CROSS_ENTROPY,
	TRAIN_HINGE,
	/*
	 * To foresee the mean of a positive number, `target`; the one output is its natural logarithm (gamma deviance, McCullagh and
	 * Nelder 1989): a tenth too much weighs the same of a short read and of a long one. Labels are looked at no further
	 * than their validity.
	 */
	TRAIN_GAMMA,
};

struct train_options {
	enum train_optimiser optimiser;
	enum train_loss loss;
	float learning_rate; /* Adam: 1e-3 suits the published nets */
	float momentum; /* SGD only */
	float slow_weight; /* loss of a slow read called fast counts this much more; LinnOS published 5 */
	uint32_t epochs, batch;
	uint64_t seed;
	bool standardise; /* compute mean/scale from the rows and store them in the model */
	const float *target; /* TRAIN_GAMMA only: [n], each above 0; best with a typical one of 1 */
	const atomic_bool *cancel; /* may be NULL */
};

struct train_report {
	float loss_first, loss_last; /* mean per row, first and last epoch */
	uint32_t epochs;
	double seconds;
};

/*
 * rows: [n][inputs] features, labels: [n] 0 or 1. Fills the weights of `model` (1 or 2 outputs), sets its
 * decision_threshold to 0 on the score scale of infer_run(). 0, -EINVAL (shape, fewer than two classes,
 * NaN in rows), -ENOMEM, -ECANCELED, or -ERANGE when training diverged (weights are then unusable).
 */
int train_mlp(struct model *model, const float *rows, const uint8_t *labels, size_t n,
	const struct train_options *options, struct train_report *report);

#endif
