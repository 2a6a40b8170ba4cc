// SPDX-License-Identifier: Apache-2.0
/*
 * learn_latency.c - targets of deviation 1 to train on, and the net's last layer turned back into latencies after it.
 */
#include "agent/core/learn_latency.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST 1000 /* one of so many is cut down to the least of them */

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

/* Latencies less their mean, in units of their deviation, into target[n]. 0 or -ENOMEM. */
static int targets(
	const float *latency_us, size_t n, float *target, double *mean, double *deviation)
{
	double sum = 0, squares = 0;
	float most;

	memcpy(target, latency_us, n * sizeof(*target));
	qsort(target, n, sizeof(*target), by_value);
	most = target[n - 1 - n / LONGEST];
	for (size_t i = 0; i < n; i++) {
		target[i] = latency_us[i] < most ? latency_us[i] : most;
		sum += (double)target[i];
	}
	*mean = sum / (double)n;
	for (size_t i = 0; i < n; i++)
		squares += ((double)target[i] - *mean) * ((double)target[i] - *mean);
	*deviation = sqrt(squares / (double)n);
	if (!(*deviation > 0))
		return -EINVAL; /* all took equally long */
	for (size_t i = 0; i < n; i++)
		target[i] = (float)(((double)target[i] - *mean) / *deviation);
	return 0;
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
	struct train_options squared = *options;
	struct model_layer *last = &model->layer[model->n_layers - 1];
	double mean, deviation, unit = (double)model->slow_threshold_us;
	float *target = calloc(n ? n : 1, sizeof(*target));
	int err;

	if (!target)
		return -ENOMEM;
	err = targets(rows->latency_us, n, target, &mean, &deviation);
	squared.loss = TRAIN_SQUARED;
	squared.target = target;
	if (!err)
		err = train_mlp(model, features, rows->slow, n, &squared, report);
	free(target);
	if (err)
		return err;
	for (uint32_t i = 0; i < last->inputs; i++)
		last->weight[i] = (float)((double)last->weight[i] * deviation / unit);
	last->bias[0] = (float)(((double)last->bias[0] * deviation + mean) / unit);
	model->decision_threshold = (float)(warn_at(rows, n, (double)options->slow_weight) / unit);
	return 0;
}

float latency_error(
	const struct model *model, const float *scores, const float *latency_us, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += fabs((double)scores[i] * (double)model->slow_threshold_us -
			    (double)latency_us[i]);
	return sum > 0 ? (float)(sum / (double)n) : 1;
}
