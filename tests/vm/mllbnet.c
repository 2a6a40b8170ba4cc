// SPDX-License-Identifier: Apache-2.0
/*
 * mllbnet.c - writes a net for mllb as if it had been learned with signal: always yes, always no, random weights, or yes
 * to whatever is cold; or a model from a file, whatever it has shown. For the lab, where a net must decide at once, and as
 * controls that a learned one must beat.
 *
 * Usage: mllbnet yes|no|cold|random:SEED|model:FILE FILE
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/model.h"
#include "agent/infer/random.h"
#include "bpf/lib/sched_features.h"

static void random_weights(struct model *model, uint64_t seed)
{
	struct random_state random = random_seed(seed);

	for (uint32_t l = 0; l < model->n_layers; l++) {
		struct model_layer *layer = &model->layer[l];

		for (uint32_t i = 0; i < layer->inputs * layer->outputs; i++)
			layer->weight[i] = (float)random_below(&random, 2000) / 1000.0f - 1;
	}
}

static struct model *made_up(const char *kind)
{
	const uint32_t widths[] = { SCHED_FEATURES, 10, 1 };
	struct model *model = model_new("made-up", "mllb", widths, 3);

	if (!model)
		return NULL;
	model->layer[0].activation = MODEL_RELU;
	model->layer[1].activation = MODEL_LINEAR;
	model->slow_threshold_us = 1;
	model->decision_threshold = 0.5f;
	if (strcmp(kind, "yes") == 0) {
		model->layer[1].bias[0] = 1;
	} else if (strcmp(kind, "cold") == 0) {
		model->layer[0].weight[SCHED_DELTA_HOT] = 1;
		model->layer[1].weight[0] = -1;
		model->layer[1].bias[0] = 1;
	} else if (strncmp(kind, "random:", 7) == 0) {
		random_weights(model, strtoull(kind + 7, NULL, 10));
	} else if (strcmp(kind, "no")) {
		model_free(model);
		return NULL;
	}
	return model;
}

int main(int argc, char **argv)
{
	struct model_error error = { "there is no such net" };
	struct model *model;

	if (argc != 3)
		return fprintf(stderr, "usage: mllbnet yes|no|cold|random:SEED|model:FILE FILE\n"),
		       2;
	if (strncmp(argv[1], "model:", 6) == 0)
		model = model_load(argv[1] + 6, &error);
	else
		model = made_up(argv[1]);
	if (!model)
		return fprintf(stderr, "mllbnet: %s: %s\n", argv[1], error.text), 1;
	model_note_set(model, "signal", "yes");
	if (model_save(model, argv[2], &error))
		return fprintf(stderr, "mllbnet: %s\n", error.text), 1;
	model_free(model);
	return 0;
}
