/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device.c - from records to verdicts: collect, predict, store, judge.
 *
 * The agent reads no clock and no generation here: expiry and generation of a verdict are the record's own, so one
 * that is stored late is stale the moment it is stored.
 */
#include "agent/core/device_internal.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "agent/util/log.h"

#define ROW_RUNS 8 /* of one row, to see what it costs */

static void scores_take(struct device *device);

static void verdict_row_name(struct device *device)
{
	struct semantos_verdict_row *row = device->env.verdict;
	uint64_t none = 0;

	__atomic_store((uint64_t *)&row->verdict, &none, __ATOMIC_RELEASE);
	row->major = device->disk.major;
	row->minor = device->disk.minor;
	snprintf(row->device, sizeof(row->device), "%.15s", device->disk.name);
	snprintf(row->model, sizeof(row->model), "%s", device->model ? device->model->name : "");
}

struct device *device_new(const struct device_env *env, const struct disk *disk, uint32_t slot)
{
	struct device *device = calloc(1, sizeof(*device));
	const struct manifest *manifest = env->manifest;
	const struct encoder *encoder;

	if (!device)
		return NULL;
	device->env = *env;
	device->disk = *disk;
	device->slot = slot;
	device->stride = 1;
	device->wanted_rows = env->min_rows ? env->min_rows : manifest->min_rows;
	device->heldout_auc = device->heldout_auc_low = device->heldout_auc_pending =
		device->heldout_majority = NAN;
	device->last_class = SEMANTOS_CLASS_DEFAULT;
	if (placebo_init(&device->placebo, env->control, disk->diskseq + 1)) {
		device_free(device);
		errno = ENOMEM;
		return NULL;
	}
	encoder = env->recipe ? encoder_find(env->recipe->encoder) : NULL;
	device->evaluator = evaluator_new(manifest->window);
	if (device->evaluator)
		evaluator_words(
			device->evaluator, encoder_rows(encoder), encoder_baseline(encoder));
	device->asked = calloc(manifest->batch_max, sizeof(*device->asked));
	device->features = calloc((size_t)manifest->batch_max * ENCODE_MAX_FEATURES, sizeof(float));
	device->scores = calloc(manifest->batch_max, sizeof(float));
	device->late = calloc(DEVICE_LATE, sizeof(*device->late));
	device->latency = calloc(DEVICE_LATENCIES, sizeof(float));
	if (!device->evaluator || !device->asked || !device->features || !device->scores ||
		!device->late || !device->latency) {
		device_free(device);
		errno = ENOMEM;
		return NULL;
	}
	verdict_row_name(device);
	scores_take(device); /* of nothing: NaN */
	device_learn_restore(device);
	return device;
}

void device_free(struct device *device)
{
	if (!device)
		return;
	trainer_cancel(device->env.trainer, device->job);
	if (device->evaluator)
		device_learn_save_rows(device);
	if (device->env.verdict)
		memset(device->env.verdict, 0, sizeof(*device->env.verdict));
	infer_scratch_free(device->scratch);
	infer_free(device->plan);
	model_free(device->model);
	placebo_free(&device->placebo);
	evaluator_free(device->evaluator);
	free(device->rows);
	free(device->asked);
	free(device->features);
	free(device->scores);
	free(device->late);
	free(device->latency);
	free(device);
}

const struct disk *device_disk(const struct device *device)
{
	return &device->disk;
}

uint32_t device_slot(const struct device *device)
{
	return device->slot;
}

const struct model *device_model(const struct device *device)
{
	return device->model;
}

/* What a batch of one costs here: the least of some runs, for others may have the CPU meanwhile. */
static uint64_t row_cost_ns(const struct infer_plan *plan, struct infer_scratch *scratch)
{
	const float row[ENCODE_MAX_FEATURES] = { 0 };
	struct timespec from, to;
	uint64_t least = UINT64_MAX, ns;
	float score;

	for (int run = 0; run < ROW_RUNS; run++) {
		clock_gettime(CLOCK_MONOTONIC, &from);
		infer_run(plan, scratch, row, 1, &score);
		clock_gettime(CLOCK_MONOTONIC, &to);
		ns = (uint64_t)(to.tv_sec - from.tv_sec) * 1000000000ULL + (uint64_t)to.tv_nsec -
		     (uint64_t)from.tv_nsec;
		least = ns < least ? ns : least;
	}
	return least;
}

static void device_obey(struct device *device, bool obey)
{
	device->env.obey(device->env.ctx, device->slot, obey, obey && device->chooses);
}

int device_model_set(struct device *device, struct model *model)
{
	const struct encoder *encoder = encoder_find(model->encoder);
	struct infer_scratch *scratch;
	struct infer_plan *plan;

	if (!encoder || model_inputs(model) != encoder->n_features ||
		!(model->slow_threshold_us > 0)) {
		model_free(model);
		return -EINVAL;
	}
	plan = infer_prepare(model, device->env.manifest->batch_max, INFER_FLOAT);
	scratch = plan ? infer_scratch_new(plan) : NULL;
	if (!scratch) {
		infer_free(plan);
		model_free(model);
		return -ENOMEM;
	}
	/* Verdicts of the old model die first: requests seen until now carry the old generation. */
	device->env.bump(device->env.ctx, device->slot);
	infer_scratch_free(device->scratch);
	infer_free(device->plan);
	model_free(device->model);
	device->model = model;
	device->plan = plan;
	device->scratch = scratch;
	device->row_ns = row_cost_ns(plan, scratch);
	device->encoder = encoder;
	device->n_batch = 0;
	device->n_late = device->n_late_seen = 0;
	device->below_floor = device->bad_scores = device->drifting = false;
	device->good_looks = 0;
	evaluator_reset_window(device->evaluator);
	device->phase = DEVICE_PREDICTING;
	verdict_row_name(device);
	if (device->env.answers)
		device->env.answers(device->env.ctx, device->slot, model);
	device_obey(device, device->signal);
	return 0;
}

void device_on_request(struct device *device, const struct semantos_block_record *record)
{
	if (device->phase == DEVICE_WAITING)
		device->phase = DEVICE_LEARNING;
	if (!device->plan)
		return;
	device->encoder->encode(
		record, device->features + (size_t)device->n_batch * device->encoder->n_features);
	device->asked[device->n_batch++] = (struct device_asked){ record->head.request_id,
		record->head.ts_ns, record->head.generation, record->pending_pages };
	if (device->n_batch == device->env.manifest->batch_max)
		device_flush(device);
}

void device_on_outcome(struct device *device, const struct semantos_block_record *record)
{
	if (!(record->head.flags & SEMANTOS_F_ERROR)) {
		device->latency[device->n_latency++ & (DEVICE_LATENCIES - 1)] =
			(float)record->latency_us;
		device_learn_row(device, record);
	}
	if (!device->plan)
		return;
	if (device->n_late == DEVICE_LATE)
		device_flush(device);
	/* Judged after the batch: its request may lie in a ring that is drained later. */
	if (device->n_late < DEVICE_LATE)
		device->late[device->n_late++] = evaluator_outcome_of(record);
}

/* Weights may be so large that sums overflow: such a score ranks nothing and becomes no verdict. */
static bool score_usable(struct device *device, float score)
{
	if (isfinite(score))
		return true;
	if (!device->bad_scores)
		log_warn(
			"%s: the model %s answers some reads with no number; those get no verdict.",
			device->disk.name, device->model->name);
	device->bad_scores = true;
	return false;
}

static void device_predict(struct device *device)
{
	uint32_t n = device->n_batch;
	const volatile struct semantos_slot *slot = device->env.slot;
	uint64_t ttl_ns = device->env.manifest->ttl_ms * 1000000ULL, word;
	const struct device_asked *newest = NULL;
	uint32_t generation = slot->generation & SEMANTOS_GENERATION_MASK;
	float newest_score = 0;

	if (infer_run(device->plan, device->scratch, device->features, n, device->scores))
		return;
	placebo_apply(&device->placebo, device->scores, n, device->model->decision_threshold);
	for (uint32_t i = 0; i < n; i++) {
		const struct device_asked *asked = &device->asked[i];
		uint8_t cls = device->scores[i] >= device->model->decision_threshold;

		if (asked->generation != generation) {
			device->stale++;
			continue;
		}
		if (!score_usable(device, device->scores[i]))
			continue;
		evaluator_predicted(device->evaluator, asked->request_id, asked->pending_pages,
			device->scores[i], cls);
		if (!newest || asked->ts_ns > newest->ts_ns) {
			newest = asked;
			newest_score = device->scores[i];
		}
	}
	device->batches++;
	device->n_batch = 0;
	/* Another CPU's ring may hand over, later, what was issued earlier: the newest read's verdict stands. */
	if (!newest || newest->ts_ns < device->newest_ns)
		return;
	device->newest_ns = newest->ts_ns;
	/* Probability of the chosen class above a coin's, on 0..255. */
	newest_score -= device->model->decision_threshold;
	device->last_class = newest_score >= 0;
	device->last_confidence =
		(uint32_t)(255.0f * (2.0f / (1.0f + expf(-fabsf(newest_score))) - 1.0f));
	word = semantos_verdict_pack(newest->ts_ns + ttl_ns, newest->generation,
		device->last_confidence, device->last_class);
	__atomic_store((uint64_t *)&device->env.verdict->verdict, &word, __ATOMIC_RELEASE);
	device->stored++;
}

void device_flush(struct device *device)
{
	uint32_t kept = 0;

	if (!device->plan)
		return;
	if (device->n_batch)
		device_predict(device);
	device->n_batch = 0;
	for (uint32_t i = 0; i < device->n_late; i++) {
		bool judged = evaluator_judge(
			device->evaluator, &device->late[i], device->model->slow_threshold_us);

		/* Its request may still come with the next drain; after that it never will. */
		if (!judged && i >= device->n_late_seen && kept < DEVICE_LATE / 2)
			device->late[kept++] = device->late[i];
	}
	device->n_late = device->n_late_seen = kept;
}

bool device_tick(struct device *device, bool may_look)
{
	char why[160];
	bool active;

	device->ticks++;
	active = device->n_latency != device->latency_at_tick;
	device->reads_per_s = (double)(device->n_latency - device->latency_at_tick);
	device->latency_at_tick = device->n_latency;
	/* Sorting the window is not free: not on an idle disk, and not every second. */
	if (!active || !may_look || device->ticks - device->scores_seen.tick < DEVICE_JUDGE_EVERY_S)
		return false;
	scores_take(device);
	if (device->plan && device->signal) {
		const struct manifest *manifest = device->env.manifest;
		bool below = device->model->latency_error_us > 0
				     ? evaluator_chooses_worse(device->evaluator,
					       manifest->floor_rows, why, sizeof(why))
				     : evaluator_below_floor(device->evaluator, manifest->floor_auc,
					       manifest->floor_rows, why, sizeof(why));

		/* Down at the first look, up again only after several: the two may lie close together. */
		device->good_looks = below ? 0 : device->good_looks + 1;
		if (below && !device->below_floor) {
			device->below_floor = true;
			device_obey(device, false);
			log_warn("%s: its verdicts go to shadow, because %s.", device->disk.name,
				why);
		} else if (device->below_floor && device->good_looks >= DEVICE_GOOD_LOOKS) {
			device->below_floor = false;
			device_obey(device, true);
			log_info("%s: its verdicts count again, because they are above the floor.",
				device->disk.name);
		}
		if (!device->job && (below || !device->below_floor))
			snprintf(device->note, sizeof(device->note), "%s", below ? why : "");
	}
	device_learn_tick(device);
	return true;
}

static int by_value(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

static void scores_take(struct device *device)
{
	struct device_scores *seen = &device->scores_seen;
	float sorted[DEVICE_LATENCIES];
	size_t n = device->n_latency < DEVICE_LATENCIES ? device->n_latency : DEVICE_LATENCIES;

	seen->tick = device->ticks;
	evaluator_score(device->evaluator, &seen->score);
	seen->latency_us_p50 = seen->latency_us_p95 = seen->latency_us_p99 = NAN;
	if (!n)
		return;
	memcpy(sorted, device->latency, n * sizeof(float));
	qsort(sorted, n, sizeof(float), by_value);
	seen->latency_us_p50 = sorted[n / 2];
	seen->latency_us_p95 = sorted[n * 95 / 100];
	seen->latency_us_p99 = sorted[n * 99 / 100];
}

void device_view(struct device *device, bool lease_alive, bool fresh, struct device_view *view)
{
	const struct encoder *encoder;
	struct timespec now;
	const char *note;

	memset(view, 0, sizeof(*view));
	snprintf(view->name, sizeof(view->name), "%s", device->disk.name);
	view->major = device->disk.major;
	view->minor = device->disk.minor;
	view->slot = device->slot;
	view->generation = device->env.slot->generation & SEMANTOS_GENERATION_MASK;
	view->phase = device->phase;
	snprintf(view->note, sizeof(view->note), "%s", device->note);
	view->rows = device->n_rows;
	view->rows_wanted = device->wanted_rows;
	view->heldout_auc = device->heldout_auc;
	view->heldout_auc_low = device->heldout_auc_low;
	view->heldout_auc_pending = device->heldout_auc_pending;
	view->heldout_majority = device->heldout_majority;
	encoder = device->env.recipe ? encoder_find(device->env.recipe->encoder) : NULL;
	view->judged = encoder_rows(encoder);
	view->baseline = encoder_baseline(encoder);
	view->retrained = device->retrained;
	view->reads_per_s = device->reads_per_s;
	view->verdict_class = device->last_class;
	view->verdict_confidence = device->last_confidence;
	if (fresh) {
		uint64_t looked = device->scores_seen.tick;

		scores_take(device);
		device->scores_seen.tick =
			looked; /* whoever watches must not put off the next look */
	}
	view->score = device->scores_seen.score;
	view->latency_us_p50 = device->scores_seen.latency_us_p50;
	view->latency_us_p95 = device->scores_seen.latency_us_p95;
	view->latency_us_p99 = device->scores_seen.latency_us_p99;
	if (!device->model)
		return;
	view->has_model = true;
	view->signal = device->signal;
	view->slow_threshold_us = device->model->slow_threshold_us;
	snprintf(view->model, sizeof(view->model), "%s", device->model->name);
	note = model_note_get(device->model, "date");
	snprintf(view->trained_at, sizeof(view->trained_at), "%.31s", note ? note : "");
	note = model_note_get(device->model, "rows");
	view->trained_rows = note ? strtoull(note, NULL, 10) : 0;
	clock_gettime(CLOCK_BOOTTIME, &now); /* for show only: no verdict is made from it */
	view->verdict_live =
		lease_alive &&
		semantos_verdict_fresh(*(volatile uint64_t *)&device->env.verdict->verdict,
			view->generation, device->env.manifest->ttl_ms * 1000000ULL,
			(uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec);
}

uint64_t device_row_ns(const struct device *device)
{
	return device->row_ns;
}

uint64_t device_batches(const struct device *device)
{
	return device->batches;
}

uint64_t device_stored(const struct device *device)
{
	return device->stored;
}

uint64_t device_stale(const struct device *device)
{
	return device->stale;
}
