// SPDX-License-Identifier: Apache-2.0
/*
 * sched_net.c - two outputs become their difference, the threshold goes into the last bias, then as any integer net.
 */
#include "agent/infer/sched_net.h"

#include <errno.h>
#include <string.h>
#include "agent/infer/mlp_pack.h"

static struct model *with_one_output(const struct model *model)
{
	uint32_t widths[MODEL_MAX_LAYERS + 1], n = model->n_layers;
	struct model *one;

	for (uint32_t l = 0; l < n; l++)
		widths[l] = model->layer[l].inputs;
	widths[n] = 1;
	one = model_new(model->name, model->encoder, widths, n + 1);
	for (uint32_t l = 0; one && l < n; l++) {
		const struct model_layer *from = &model->layer[l];
		struct model_layer *to = &one->layer[l];

		to->activation = from->activation;
		memcpy(to->weight, from->weight,
			(size_t)to->inputs * to->outputs * sizeof(*to->weight));
		memcpy(to->bias, from->bias, to->outputs * sizeof(*to->bias));
		if (l + 1 < n)
			continue;
		if (from->outputs == 2) {
			for (uint32_t i = 0; i < from->inputs; i++)
				to->weight[i] = from->weight[from->inputs + i] - from->weight[i];
			to->bias[0] = from->bias[1] - from->bias[0];
		}
		to->bias[0] -= model->decision_threshold;
	}
	return one;
}

int sched_net_pack(const struct model *model, uint32_t generation, struct mlp_model *out)
{
	const struct model_layer *last =
		model->n_layers ? &model->layer[model->n_layers - 1] : NULL;
	struct mlp_model packed;
	struct model *one;
	int err;

	if (!last || model_inputs(model) != SCHED_FEATURES || last->outputs > 2 ||
		last->activation != MODEL_LINEAR)
		return -EINVAL;
	one = with_one_output(model);
	if (!one)
		return -ENOMEM;
	if (model->mean) {
		one->mean = model->mean;
		one->scale = model->scale;
	}
	err = mlp_pack(one, generation, &packed);
	one->mean = one->scale = NULL; /* lent */
	model_free(one);
	if (!err)
		*out = packed;
	return err;
}

int sched_net_says_yes(const struct mlp_model *net, const struct semantos_sched_record *record)
{
	struct mlp_vectors v = { { 0 }, { 0 } };

	sched_features(record, v.x);
	mlp_run(net, &v);
	return sched_says_yes(&v);
}
