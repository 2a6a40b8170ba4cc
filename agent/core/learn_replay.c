// SPDX-License-Identifier: Apache-2.0
/*
 * learn_replay.c - a capture once more through a model, in time order: what would it have said, and was it right?
 *
 * The model is only read. Nothing is learned on the way, so that every read counts as held out; whether the model saw
 * these reads when it was trained only its provenance can tell. Blocking, any thread.
 */
#include "agent/core/learn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/core/learn_rows.h"
#include "agent/infer/encode.h"
#include "agent/infer/label.h"

#define REPLAY_LABELER "inflection" /* for models that do not say what slow means */

/* Labels by the model's own threshold, or by the labeler when it has none. */
static int label_for(struct rows *rows, const struct model *model, struct learn_result *result)
{
	struct label_result label = { .threshold_us = model->slow_threshold_us };
	size_t slow = 0;

	if (!(label.threshold_us > 0) &&
		labeler_find(REPLAY_LABELER)
			->label(rows->latency_us, rows->sectors, rows->n, rows->slow, &label))
		return -EINVAL;
	for (size_t i = 0; i < rows->n; i++) {
		rows->slow[i] = rows->latency_us[i] >= label.threshold_us;
		slow += rows->slow[i];
	}
	result->slow_share = (double)slow / (double)rows->n;
	return slow && slow < rows->n ? 0 : -EINVAL;
}

static int replay_rows(struct rows *rows, const struct encoder *encoder, const struct model *model,
	double margin, struct learn_result *result)
{
	float *scores = calloc(rows->n, sizeof(*scores));
	int err;

	if (!scores)
		return -ENOMEM;
	err = rows_score(rows, 0, rows->n, encoder, model, scores);
	/* There is no training part to learn the baseline's direction from: it gets the better one. */
	if (!err)
		err = rows_judge(rows, 0, rows->n, scores, model, margin,
			score_auc(rows->pending, rows->slow, rows->n) < 0.5 ? -1 : 1, result);
	if (!err)
		err = rows_choose(rows, 0, rows->n, scores, model, 0, result);
	free(scores);
	return err;
}

void learn_replay(const struct semantos_block_record *records, size_t n, const struct model *model,
	double margin, struct learn_result *result)
{
	const struct encoder *encoder = encoder_find(model->encoder);
	struct rows rows;
	char count[32], compared[128];

	rows_result_clear(result);
	if (!encoder || encoder->n_features != model_inputs(model)) {
		result->error = -EINVAL;
		snprintf(result->text, sizeof(result->text),
			encoder ? "The model takes %2$u numbers and its encoder '%1$s' makes "
				  "others; "
				  "train it again."
				: "The model's encoder '%1$s' is unknown to this build, which "
				  "therefore cannot feed its %2$u inputs.",
			model->encoder, model_inputs(model));
		return;
	}
	result->error = rows_take(&rows, records, n);
	if (!result->error && !rows.n) {
		result->error = -ENODATA;
		snprintf(result->text, sizeof(result->text),
			"Nothing was replayed: the capture holds no successful reads with "
			"history.");
		return;
	}
	if (!result->error && label_for(&rows, model, result)) {
		result->error = -ENODATA;
		snprintf(result->text, sizeof(result->text),
			"The %s reads are all of one class by the model's threshold of %.0f us: "
			"nothing "
			"can be ranked.",
			rows_count(rows.n, count), (double)model->slow_threshold_us);
		goto out;
	}
	if (!result->error)
		result->error = replay_rows(&rows, encoder, model, margin, result);
	if (result->error) {
		snprintf(result->text, sizeof(result->text), "The replay failed: %s.",
			strerror(-result->error));
		goto out;
	}
	rows_compare(result, compared, sizeof(compared));
	snprintf(result->text, sizeof(result->text), "replayed %s reads: %s: %s",
		rows_count(rows.n, count), compared,
		result->heldout.signal ? "signal" : "no signal");
out:
	rows_free(&rows);
}
