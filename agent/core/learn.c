// SPDX-License-Identifier: Apache-2.0
/*
 * learn.c - label, split in time order, train, judge on reads the training never saw, write down where it came from.
 *
 * Must never let a held-out read touch the training: the labels' threshold, the features' scale and the direction of
 * the baseline all come from the training part. Blocking, on the caller's thread; touches no file and no kernel.
 */
#include "agent/core/learn.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include "agent/core/learn_latency.h"
#include "agent/core/learn_rows.h"
#include "agent/infer/encode.h"
#include "agent/infer/label.h"

#define TRAIN_SHARE 0.7
#define GAP_SHARE 0.01 /* of all rows, so that one slow period seldom lies in both parts */
#define GAP_MIN (2 * SEMANTOS_HISTORY) /* histories do not overlap either */
#define ROWS_MIN 200 /* below this no interval says anything */

/* The parts of rows in time order: [0, train) and [heldout, n). */
struct split {
	size_t train, heldout;
};

static void split_rows(const struct rows *rows, struct split *split)
{
	size_t gap = (size_t)((double)rows->n * GAP_SHARE);
	uint64_t boundary;

	split->heldout = (size_t)((double)rows->n * TRAIN_SHARE);
	split->train = split->heldout - (gap > GAP_MIN ? gap : GAP_MIN);
	/* A label is known when its read completed: the last training read must have, before the first held-out one. */
	boundary = rows->record[split->heldout]->head.ts_ns;
	while (split->train) {
		const struct semantos_block_record *last = rows->record[split->train - 1];

		if (last->head.ts_ns + last->latency_us * 1000ULL <= boundary)
			break;
		split->train--;
	}
}

__attribute__((format(printf, 3, 4))) static void fail(
	struct learn_result *result, int error, const char *fmt, ...)
{
	va_list args;

	result->error = error;
	va_start(args, fmt);
	vsnprintf(result->text, sizeof(result->text), fmt, args);
	va_end(args);
}

/*
 * The training part by the labeler, which may leave rows out of it; all else by the threshold it found there: whether a
 * read was slow is then seen from that read alone, as it is once the model is used.
 */
static int label_rows(struct rows *rows, struct split *split, const struct labeler *labeler,
	struct learn_result *result, float *threshold_us)
{
	struct label_result label;
	size_t slow = 0, heldout = 0;
	char count[32];
	int err;

	err = labeler->label(rows->latency_us, rows->sectors, split->train, rows->slow, &label);
	rows_count(split->train, count);
	if (err == -EINVAL)
		fail(result, err,
			"Nothing was learned: the %s reads to train on took equally long, so there "
			"is nothing to tell apart.",
			count);
	else if (err == -ENODATA)
		fail(result, err,
			"Nothing was learned: among the %s reads to train on there is no slow "
			"period, only single slow reads if any.",
			count);
	else if (err)
		fail(result, err, "Nothing was learned: labelling failed, %s.", strerror(-err));
	if (err)
		return err;
	for (size_t i = 0; i < rows->n; i++) {
		bool is_slow = rows->latency_us[i] >= label.threshold_us;

		slow += is_slow;
		heldout += i >= split->heldout && is_slow;
		if (i >= split->train)
			rows->slow[i] = is_slow;
	}
	result->slow_share = (double)slow / (double)rows->n;
	split->train = rows_leave_out(rows, split->train);
	*threshold_us = label.threshold_us;
	if (!heldout || heldout == rows->n - split->heldout) {
		fail(result, -ENODATA,
			"Nothing was learned: the held-out reads were all %s (threshold %.0f us), "
			"so a "
			"model could not be judged; let it collect more.",
			heldout ? "slow" : "fast", (double)label.threshold_us);
		return -ENODATA;
	}
	return 0;
}

static struct model *model_for(
	const struct learn_recipe *recipe, const struct encoder *encoder, const char *name)
{
	uint32_t widths[MODEL_MAX_LAYERS + 1], n = 0;
	struct model *model;

	widths[n++] = encoder->n_features;
	for (uint32_t i = 0; i < recipe->n_hidden; i++)
		widths[n++] = recipe->hidden[i];
	widths[n++] = recipe->outputs;
	model = model_new(name, encoder->name, widths, n);
	for (uint32_t i = 0; model && i < model->n_layers; i++)
		model->layer[i].activation = i + 1 < model->n_layers ? MODEL_RELU : MODEL_LINEAR;
	return model;
}

__attribute__((format(printf, 4, 5))) static void note(
	struct model *model, int *err, const char *key, const char *fmt, ...)
{
	char value[96];
	va_list args;

	va_start(args, fmt);
	vsnprintf(value, sizeof(value), fmt, args);
	va_end(args);
	if (!*err)
		*err = model_note_set(model, key, value);
}

const char *recipe_chooses_by(const struct learn_recipe *recipe)
{
	return recipe->verdict_ns ? "verdict" : "read";
}

/* Where the model came from, so that a saved one can be trusted, or not. Keys are listed in learn.h. */
static int note_provenance(
	struct model *model, const struct learn_recipe *recipe, const struct learn_result *result)
{
	const struct score_signal *heldout = &result->heldout;
	time_t now = time(NULL);
	struct utsname host;
	char date[32] = "";
	struct tm utc;
	int err = 0;

	if (gmtime_r(&now, &utc))
		strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", &utc);
	note(model, &err, "date", "%s", date);
	note(model, &err, "rows", "%zu", result->rows_train + result->rows_heldout);
	note(model, &err, "rows_train", "%zu", result->rows_train);
	note(model, &err, "rows_heldout", "%zu", result->rows_heldout);
	note(model, &err, "slow_share", "%.4f", result->slow_share);
	note(model, &err, "heldout_auc", "%.4f", heldout->auc);
	note(model, &err, "heldout_auc_low", "%.4f", heldout->auc_low);
	note(model, &err, "heldout_auc_high", "%.4f", heldout->auc_high);
	note(model, &err, "heldout_auc_pending", "%.4f", heldout->baseline_auc);
	note(model, &err, "heldout_gain_low", "%.4f", heldout->gain_low);
	note(model, &err, "heldout_gain_high", "%.4f", heldout->gain_high);
	note(model, &err, "heldout_majority", "%.4f", result->heldout_majority);
	note(model, &err, "heldout_accuracy", "%.4f", result->heldout_accuracy);
	note(model, &err, "heldout_recall", "%.4f", result->heldout_recall);
	note(model, &err, "heldout_precision", "%.4f", result->heldout_precision);
	note(model, &err, "choice_gain", "%.4f", result->choice.gain);
	note(model, &err, "choice_low", "%.4f", result->choice.low);
	note(model, &err, "choice_high", "%.4f", result->choice.high);
	note(model, &err, "choice_moved", "%.4f", result->choice.moved);
	note(model, &err, "signal", "%s", heldout->signal ? "yes" : "no");
	note(model, &err, "chooses", "%s", result->choice.signal ? "yes" : "no");
	note(model, &err, "chooses_by", "%s", recipe_chooses_by(recipe));
	note(model, &err, "encoder", "%s", recipe->encoder);
	note(model, &err, "labeler", "%s", recipe->labeler);
	note(model, &err, "wire_version", "%d", SEMANTOS_WIRE_VERSION);
	note(model, &err, "epochs", "%u", result->report.epochs);
	note(model, &err, "seed", "%llu", (unsigned long long)recipe->train.seed);
	if (!uname(&host))
		note(model, &err, "kernel", "%s", host.release);
	return err;
}

/* Train on [0, train), judge on [heldout, n). result->model is set on success. */
static int train_and_judge(const struct rows *rows, const struct split *split,
	const struct learn_recipe *recipe, const struct encoder *encoder, struct model *model,
	struct learn_result *result)
{
	size_t n_heldout = rows->n - split->heldout;
	float *features, *scores = NULL;
	double pending_auc;
	int err;

	features = rows_encode(rows, 0, split->train, encoder);
	if (!features)
		return -ENOMEM;
	if (recipe->latency)
		err = latency_train(
			model, features, rows, split->train, &recipe->train, &result->report);
	else
		err = train_mlp(
			model, features, rows->slow, split->train, &recipe->train, &result->report);
	free(features);
	if (err)
		return err;
	scores = calloc(n_heldout, sizeof(*scores));
	if (!scores)
		return -ENOMEM;
	err = rows_score(rows, split->heldout, n_heldout, encoder, model, scores);
	if (!err && recipe->latency)
		model->latency_error_us =
			latency_error(scores, rows->latency_us + split->heldout, n_heldout);
	if (!err) {
		/* The baseline, too, may learn from the training part: which way pending pages point. */
		pending_auc = score_auc(rows->pending, rows->slow, split->train);
		err = rows_judge(rows, split->heldout, n_heldout, scores, model, recipe->margin,
			pending_auc < 0.5 ? -1 : 1, result);
	}
	if (!err)
		err = rows_choose(
			rows, split->heldout, n_heldout, scores, model, recipe->verdict_ns, result);
	free(scores);
	if (err)
		return err;
	if (!recipe->train.standardise)
		err = model_quantise(model);
	return err ? err : note_provenance(model, recipe, result);
}

static void describe_failure(struct learn_result *result, int err, size_t n)
{
	char count[32];

	rows_count(n, count);
	if (err == -ECANCELED)
		fail(result, err, "Learning from %s reads was stopped before it was done.", count);
	else if (err == -ERANGE)
		fail(result, err,
			"Nothing was learned from %s reads: training diverged; a smaller learning "
			"rate may help.",
			count);
	else
		fail(result, err, "Nothing was learned from %s reads: %s.", count, strerror(-err));
}

static bool recipe_valid(const struct learn_recipe *recipe, struct learn_result *result)
{
	if (recipe->outputs < 1 || recipe->outputs > (recipe->latency ? 1 : 2) ||
		recipe->n_hidden + 1 > MODEL_MAX_LAYERS) {
		fail(result, -EINVAL,
			"A model must have 1 or 2 outputs (1 to foresee a latency) and at most %d "
			"hidden layers.",
			MODEL_MAX_LAYERS - 1);
		return false;
	}
	return true;
}

void learn(const struct semantos_block_record *records, size_t n, const struct learn_recipe *recipe,
	const char *model_name, struct learn_result *result)
{
	const struct encoder *encoder = encoder_find(recipe->encoder);
	const struct labeler *labeler = labeler_find(recipe->labeler);
	struct model *model = NULL;
	struct split split;
	struct rows rows;
	float threshold_us = 0;
	char count[32], compared[128];
	int err;

	rows_result_clear(result);
	if (!encoder)
		return fail(result, -EINVAL, "No encoder is called '%s'.", recipe->encoder);
	result->baseline = encoder_baseline(encoder);
	if (!labeler)
		return fail(result, -EINVAL, "No labeler is called '%s'.", recipe->labeler);
	if (!recipe_valid(recipe, result))
		return;
	err = rows_take(&rows, records, n);
	if (err)
		return describe_failure(result, err, n);
	if (rows.n < ROWS_MIN) {
		fail(result, -ENODATA,
			"Nothing was learned: %s usable reads are too few, at least %d are needed.",
			rows_count(rows.n, count), ROWS_MIN);
		goto out;
	}
	split_rows(&rows, &split);
	if (split.train < ROWS_MIN / 2) {
		fail(result, -ENODATA,
			"Nothing was learned: only %zu reads had completed before the held-out "
			"part "
			"began; let it collect more.",
			split.train);
		goto out;
	}
	if (label_rows(&rows, &split, labeler, result, &threshold_us))
		goto out;
	result->rows_train = split.train;
	model = model_for(recipe, encoder, model_name);
	if (!model) {
		describe_failure(result, -ENOMEM, rows.n);
		goto out;
	}
	model->slow_threshold_us = threshold_us;
	model->silence_us = rows_silence(&rows, split.train);
	err = train_and_judge(&rows, &split, recipe, encoder, model, result);
	if (err) {
		describe_failure(result, err, rows.n);
		goto out;
	}
	/* With counts of up to 8 digits this fits the 160 characters a device's note has on the display. */
	rows_compare(result, compared, sizeof(compared));
	snprintf(result->text, sizeof(result->text), "learned %s %s: held-out %s: %s",
		rows_count(split.train, count), encoder_rows(encoder), compared,
		result->heldout.signal ? "signal"
				       : "it predicts in shadow and can be promoted to nothing");
	result->model = model;
	model = NULL;
out:
	model_free(model);
	rows_free(&rows);
}
