/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device_learn.c - how a device comes by its model: saved, learned, handed in, learned anew.
 *
 * Rows are thinned, not cut off, when more come than are kept: every stride-th outcome stays, so they always span the
 * whole time since the last training, or since the model was seen to fit no longer. A model without signal is kept and judged in shadow, and learning is tried
 * again at growing intervals.
 */
#include "agent/core/device_internal.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "agent/core/capture.h"
#include "agent/util/log.h"

#define LEARN_AGAIN_S \
	60 /* first wait before learning again; doubles up to an hour while the model is not good enough */
#define LEARN_AGAIN_MAX_S 3600
#define STRIDE_MAX (1u << 30)

static bool state_path(const struct device *device, const char *suffix, char *path)
{
	return device->env.state_dir[0] &&
	       snprintf(path, PATH_MAX, "%s/%s%s", device->env.state_dir, device->disk.identity,
		       suffix) < PATH_MAX;
}

void device_learn_row(struct device *device, const struct semantos_block_record *record)
{
	size_t most = device->env.manifest->max_rows;

	/* Thinning halves them: what is left must still be enough to learn from, whatever --rows asks for. */
	if (most < 2 * device->wanted_rows)
		most = 2 * device->wanted_rows;
	if (device->phase == DEVICE_WAITING)
		device->phase = DEVICE_LEARNING;
	if (++device->since_row < device->stride)
		return;
	device->since_row = 0;
	if (device->n_rows == most) {
		for (size_t i = 0; i < most / 2; i++)
			device->rows[i] = device->rows[2 * i];
		device->n_rows = most / 2;
		if (device->stride < STRIDE_MAX)
			device->stride *= 2;
	}
	if (device->n_rows == device->rows_cap) {
		size_t cap = device->rows_cap ? 2 * device->rows_cap : 1024;
		struct semantos_block_record *rows;

		if (cap > most)
			cap = most;
		rows = realloc(device->rows, cap * sizeof(*rows));
		if (!rows)
			return; /* one row fewer to learn from */
		device->rows = rows;
		device->rows_cap = cap;
	}
	device->rows[device->n_rows] = *record;
	device->rows[device->n_rows++].head.ts_ns += device->rows_shift_ns;
}

static void rows_forget(struct device *device)
{
	free(device->rows);
	device->rows = NULL;
	device->n_rows = device->rows_cap = 0;
	device->stride = 1;
	device->since_row = 0;
	device->rows_shift_ns = 0;
}

static uint64_t rows_span_s(const struct device *device)
{
	uint64_t first, last;

	if (!device->n_rows)
		return 0;
	first = device->rows[0].head.ts_ns;
	last = device->rows[device->n_rows - 1].head.ts_ns;
	return last > first ? (last - first) / 1000000000 : 0;
}

static void note_number(struct model *model, const char *key, double value)
{
	char text[32];

	snprintf(text, sizeof(text), "%.6g", value);
	model_note_set(model, key, text);
}

static double note_value(const struct model *model, const char *key)
{
	const char *text = model_note_get(model, key);

	return text ? strtod(text, NULL) : NAN;
}

static bool note_yes(const struct model *model, const char *key)
{
	const char *text = model_note_get(model, key);

	return text && strcmp(text, "yes") == 0;
}

static void scores_from_notes(struct device *device, const struct model *model)
{
	const char *by;

	device->heldout_auc = note_value(model, "heldout_auc");
	device->heldout_auc_low = note_value(model, "heldout_auc_low");
	device->heldout_auc_pending = note_value(model, "heldout_auc_pending");
	device->heldout_majority = note_value(model, "heldout_majority");
	device->signal = note_yes(model, "signal");
	/* Shown by verdicts it is not shown of each read's own score, nor the other way round. */
	by = model_note_get(model, "chooses_by");
	device->chooses = note_yes(model, "chooses") && by &&
			  strcmp(by, recipe_chooses_by(device->env.recipe)) == 0;
}

struct scores {
	bool signal, chooses;
	double auc, auc_low, auc_pending, majority;
};

static bool decides(const struct device *device)
{
	return device->env.decides && device->env.decides(device->env.ctx);
}

/* Learning goes on until a model has signal, and where it is to choose the legs of volumes, until it does that well. */
static bool good_enough(const struct device *device, bool signal, bool chooses)
{
	return signal && (chooses || !decides(device));
}

/* What an operator has to know of the new model. */
static void device_learned_note(struct device *device, const struct learn_result *result)
{
	device->note[0] = 0;
	if (!device->signal)
		snprintf(device->note, sizeof(device->note), "%.159s", result->text);
	else if (!device->chooses && decides(device))
		snprintf(device->note, sizeof(device->note),
			"it moves no read of a volume, because choosing legs by it gains %.1f %% "
			"(95 %% %.1f-%.1f), and 2 %% are asked for",
			100 * result->choice.gain, 100 * result->choice.low,
			100 * result->choice.high);
}

static void on_learned(void *ctx, struct learn_result *result)
{
	struct device *device = ctx;
	struct model_error refused;
	struct scores old;
	char path[PATH_MAX];
	bool had_model;
	int err;

	device->job = NULL;
	rows_forget(device);
	device->learn_wait_s = device->learn_wait_s ? 2 * device->learn_wait_s : LEARN_AGAIN_S;
	if (result->model && good_enough(device, result->heldout.signal, result->choice.signal))
		device->learn_wait_s = LEARN_AGAIN_S;
	if (device->learn_wait_s > LEARN_AGAIN_MAX_S)
		device->learn_wait_s = LEARN_AGAIN_MAX_S;
	device->next_learn_s = device->ticks + device->learn_wait_s;
	if (result->model && good_enough(device, result->heldout.signal, result->choice.signal))
		device->learn_wait_s = 0;
	if (!result->model) {
		snprintf(device->note, sizeof(device->note), "%.159s", result->text);
		log_warn("%s: %s", device->disk.name, result->text);
		return;
	}
	model_note_set(result->model, "device", device->disk.name);
	model_note_set(result->model, "device_identity", device->disk.identity);
	model_note_set(result->model, "signal", result->heldout.signal ? "yes" : "no");
	model_note_set(result->model, "chooses", result->choice.signal ? "yes" : "no");
	note_number(result->model, "heldout_auc", result->heldout.auc);
	note_number(result->model, "heldout_auc_low", result->heldout.auc_low);
	note_number(result->model, "heldout_auc_pending", result->heldout.baseline_auc);
	note_number(result->model, "heldout_majority", result->heldout_majority);
	/* On failure the model is gone, and what is said of the old one stays true. */
	old = (struct scores){ device->signal, device->chooses, device->heldout_auc,
		device->heldout_auc_low, device->heldout_auc_pending, device->heldout_majority };
	had_model = device->model != NULL;
	scores_from_notes(device, result->model);
	err = device_model_set(device, result->model);
	if (err) {
		device->signal = old.signal;
		device->chooses = old.chooses;
		device->heldout_auc = old.auc;
		device->heldout_auc_low = old.auc_low;
		device->heldout_auc_pending = old.auc_pending;
		device->heldout_majority = old.majority;
		log_error(
			"%s: the new model cannot be used: %s.", device->disk.name, strerror(-err));
		return;
	}
	device->retrained += had_model;
	device_learned_note(device, result);
	log_info("%s: %s", device->disk.name, result->text);
	if (device->signal && device->note[0])
		log_info("%s: %s.", device->disk.name, device->note);
	if (state_path(device, ".safetensors", path)) {
		if (model_save(device->model, path, &refused))
			log_warn("%s: the model is used but could not be saved: %s",
				device->disk.name, refused.text);
		else if (state_path(device, ".rows", path))
			unlink(path);
	}
}

static void learn_start(struct device *device, const char *because)
{
	char name[MODEL_NAME_LEN];
	struct semantos_block_record *rows = device->rows;
	const char *kind = encoder_rows(encoder_find(device->env.recipe->encoder));
	size_t n = device->n_rows;

	snprintf(name, sizeof(name), "%.14s-%.15s", device->env.manifest->name, device->disk.name);
	device->rows = NULL;
	rows_forget(device);
	device->job = trainer_submit(
		device->env.trainer, rows, n, device->env.recipe, name, on_learned, device);
	if (!device->job) {
		log_warn("%s: no memory to train in; trying again with the next rows.",
			device->disk.name);
		return;
	}
	log_info("%s: training on %zu %s, because %s.", device->disk.name, n, kind, because);
	snprintf(device->note, sizeof(device->note), "training on %zu %s", n, kind);
}

/* The model in use fits this disk no longer; NULL = it does. */
static const char *drift_reason(const struct device *device)
{
	const struct manifest *manifest = device->env.manifest;
	const struct score_view *score = &device->scores_seen.score; /* just taken */

	if (device->below_floor)
		return "its model fell below the floor";
	/* Where reads go by its own choices, those that it foresaw to be slow are missing. */
	if (device->model->latency_error_us > 0)
		return NULL;
	if (score->window_rows >= manifest->floor_rows &&
		score->auc < device->heldout_auc - manifest->drift)
		return "its model drifted away from its held-out score";
	return NULL;
}

void device_learn_tick(struct device *device)
{
	const char *because = "this disk has no model yet";

	if (device->job)
		return;
	if (device->model && !device->signal) {
		because = "the model it has shows no signal";
	} else if (device->model) {
		because = drift_reason(device);
		/* Rows from before teach what the disk was like, not what it is like now. */
		if (because && !device->drifting)
			rows_forget(device);
		device->drifting = because != NULL;
		if (!because && !good_enough(device, device->signal, device->chooses))
			because = "the model it has is not sure to choose a volume's legs well";
	}
	if (because && device->n_rows >= device->wanted_rows &&
		rows_span_s(device) >= device->env.manifest->min_seconds &&
		device->ticks >= device->next_learn_s)
		learn_start(device, because);
}

/* The policy brings a model of its own: it answers until this device's reads have taught a better one. */
static void use_shipped(struct device *device)
{
	const struct manifest *manifest = device->env.manifest;
	struct model_error refused = { "" };
	char path[PATH_MAX + NAME_MAX + 2];
	struct model *model;

	if (!manifest->model[0] || device->model)
		return;
	snprintf(path, sizeof(path), "%s/%s", manifest->directory, manifest->model);
	model = model_load(path, &refused);
	if (!model || device_model_set(device, model)) {
		log_warn("%s: the policy's own model %s is refused, learning instead: %s",
			device->disk.name, path,
			refused.text[0]
				? refused.text
				: "it does not fit the encoder or names no slow threshold.");
		return;
	}
	snprintf(device->note, sizeof(device->note), "the policy's own model; judged in shadow");
	log_info("%s: using the policy's own model %s until this disk has taught a better one.",
		device->disk.name, path);
}

/*
 * Boot time starts anew with each boot, so rows of an earlier one may lie in the future. Rows that come from now on are
 * then moved behind them: order and span stay what they would be on a clock that went on.
 */
static void rows_take_up(struct device *device, const struct capture *saved)
{
	uint64_t last = 0, now_ns;
	struct timespec now;

	for (size_t i = 0; i < saved->n; i++) {
		const struct semantos_block_record *record = &saved->record[i];
		uint64_t done = record->head.ts_ns + record->latency_us * 1000ULL;

		last = done > last ? done : last;
		device_learn_row(device, record);
	}
	clock_gettime(CLOCK_BOOTTIME, &now); /* of rows to learn from: no verdict is made from it */
	now_ns = (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
	device->rows_shift_ns = last > now_ns ? last - now_ns : 0;
}

static int restore_saved(struct device *device)
{
	struct model_error refused;
	struct capture saved = { 0 };
	char path[PATH_MAX], error[256];
	struct model *model;
	int err;

	if (device->env.fresh || !state_path(device, ".safetensors", path))
		return 0;
	if (access(path, F_OK) == 0) {
		model = model_load(path, &refused);
		if (model && strcmp(model->encoder, device->env.recipe->encoder)) {
			log_info("%s: the saved model uses encoder %s, the policy now wants %s; "
				 "learning anew.",
				device->disk.name, model->encoder, device->env.recipe->encoder);
			model_free(model);
		} else if (model) {
			scores_from_notes(device, model);
			err = device_model_set(device, model);
			if (err)
				log_warn("%s: the saved model %s does not fit its encoder; "
					 "learning anew.",
					device->disk.name, path);
			else
				log_info("%s: using the model saved in %s.", device->disk.name,
					path);
			return err;
		} else {
			log_warn("%s: the saved model is refused, learning anew: %s",
				device->disk.name, refused.text);
		}
	}
	if (!state_path(device, ".rows", path) || access(path, F_OK))
		return 0;
	err = capture_read(path, &saved, error, sizeof(error));
	unlink(path);
	if (err) {
		log_warn("%s: rows saved earlier are refused: %s", device->disk.name, error);
		return err;
	}
	rows_take_up(device, &saved);
	if (saved.n)
		log_info("%s: going on from %zu reads captured earlier.", device->disk.name,
			saved.n);
	capture_free(&saved);
	return 0;
}

int device_learn_restore(struct device *device)
{
	int err = restore_saved(device);

	use_shipped(device);
	return err;
}

void device_learn_save_rows(struct device *device)
{
	char path[PATH_MAX];
	FILE *file;
	int err;

	if (device->model || device->n_rows < 64 || !state_path(device, ".rows", path))
		return;
	file = fopen(path, "we");
	err = file ? capture_write_header(
			     file, device->disk.name, device->disk.major, device->disk.minor)
		   : -errno;
	if (!err)
		err = capture_write(file, device->rows, device->n_rows);
	if (file && fclose(file) && !err)
		err = -errno;
	if (err) {
		log_warn("%s: the reads captured so far could not be saved in %s: %s.",
			device->disk.name, path, strerror(-err));
		unlink(path);
	}
}

void device_use_model(
	struct device *device, const void *bytes, size_t n_bytes, struct control_reply *reply)
{
	struct model_error refused;
	struct model *model = model_parse(bytes, n_bytes, &refused);
	char old[MODEL_NAME_LEN];

	snprintf(old, sizeof(old), "%s", device->model ? device->model->name : "none");
	if (!model) {
		reply->error = -EINVAL;
		snprintf(
			reply->text, sizeof(reply->text), "The model is refused: %s", refused.text);
		return;
	}
	/* A model from elsewhere has shown nothing on this device: it is judged in shadow first. */
	device->signal = device->chooses = false;
	reply->error = device_model_set(device, model);
	if (reply->error) {
		snprintf(reply->text, sizeof(reply->text),
			"The model is refused: its encoder or its shape does not fit, or it names "
			"no slow threshold.");
		return;
	}
	trainer_cancel(device->env.trainer, device->job);
	device->job = NULL;
	device->heldout_auc = device->heldout_auc_low = device->heldout_auc_pending =
		device->heldout_majority = NAN;
	snprintf(device->note, sizeof(device->note),
		"model handed in by the operator; judged in shadow");
	snprintf(reply->text, sizeof(reply->text),
		"%s: model %s -> %s, because the operator handed it in.", device->disk.name, old,
		device->model->name);
	log_info("%s", reply->text);
}
