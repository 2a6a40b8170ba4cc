// SPDX-License-Identifier: Apache-2.0
/*
 * learn_latency.c - targets about 1 to train on, and the net's last layer turned back into microseconds after it.
 */
#include "agent/core/learn_latency.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* Latencies in units of their geometric mean, into target[n]; the mean in us. */
static double targets(const float *latency_us, size_t n, float *target)
{
	double sum = 0, mean;

	for (size_t i = 0; i < n; i++)
		sum += log(fmax((double)latency_us[i], 1));
	mean = exp(sum / (double)n);
	for (size_t i = 0; i < n; i++)
		target[i] = (float)(fmax((double)latency_us[i], 1) / mean);
	return mean;
}

/*
 * From which foreseen latency on a read is called slow: where a slow one called fast, which costs `weight` times as much
 * as the reverse, would cost as much as that. Both kinds are there, or train_mlp() would have refused.
 */
static double warn_at(const struct rows *rows, size_t n, double weight)
{
	double sum[2] = { 0, 0 }, count[2] = { 0, 0 };

	for (size_t i = 0; i < n; i++) {
		sum[rows->slow[i] != 0] += (double)rows->latency_us[i];
		count[rows->slow[i] != 0]++;
	}
	return sum[0] / count[0] + (sum[1] / count[1] - sum[0] / count[0]) / (1 + weight);
}

int latency_train(struct model *model, const float *features, const struct rows *rows, size_t n,
	const struct train_options *options, struct train_report *report)
{
	struct train_options gamma = *options;
	struct model_layer *last = &model->layer[model->n_layers - 1];
	float *target = calloc(n ? n : 1, sizeof(*target));
	double mean, warn_us;
	int err;

	if (!target)
		return -ENOMEM;
	mean = targets(rows->latency_us, n, target);
	gamma.loss = TRAIN_GAMMA;
	gamma.target = target;
	err = train_mlp(model, features, rows->slow, n, &gamma, report);
	free(target);
	if (err)
		return err;
	for (uint32_t i = 0; i < last->inputs; i++)
		last->weight[i] = (float)((double)last->weight[i] / M_LN2);
	last->bias[0] = (float)((double)last->bias[0] / M_LN2 + log2(mean));
	warn_us = warn_at(rows, n, (double)options->slow_weight);
	model->decision_threshold = (float)log2(fmax(warn_us, 2)); /* above 0, whatever the disk */
	return 0;
}

float latency_error(const float *scores, const float *latency_us, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += fabs(exp2((double)scores[i]) - (double)latency_us[i]);
	return sum > 0 ? (float)(sum / (double)n) : 1;
}
