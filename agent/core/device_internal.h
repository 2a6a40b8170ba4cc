/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device_internal.h - the insides of a device, shared by device*.c alone.
 */
#ifndef SEMANTOS_CORE_DEVICE_INTERNAL_H
#define SEMANTOS_CORE_DEVICE_INTERNAL_H

#include "agent/core/device.h"
#include "agent/core/evaluate.h"
#include "agent/infer/encode.h"
#include "agent/infer/infer.h"

#define DEVICE_LATENCIES 2048 /* recent read latencies kept for percentiles, a power of two */
#define DEVICE_JUDGE_EVERY_S 2 /* seconds between looks at floor, drift and rows */
#define DEVICE_GOOD_LOOKS 5 /* looks above the floor before verdicts count again */
#define DEVICE_LATE 256 /* outcomes that may wait for their request in a slower ring */

/* What costs a sort of a window each time it is asked for. */
struct device_scores {
	uint64_t tick; /* of the device, when they were taken; 0 = never */
	struct score_view score;
	double latency_us_p50, latency_us_p95, latency_us_p99;
};

/* What is kept of a request besides its features. */
struct device_asked {
	uint64_t request_id, ts_ns;
	uint32_t generation, pending_pages;
};

struct device {
	struct device_env env;
	struct disk disk;
	uint32_t slot;
	enum device_phase phase;
	char note[160];

	/* rows for learning: every stride-th outcome, in order */
	struct semantos_block_record *rows;
	size_t n_rows, rows_cap;
	uint32_t stride, since_row;
	uint64_t wanted_rows;
	uint64_t
		rows_shift_ns; /* added to what comes, so that it follows rows of an earlier boot */
	bool drifting; /* the model no longer fits; rows are of the time since */
	struct trainer_job *job;
	uint64_t next_learn_s, learn_wait_s; /* seconds of this device's ticks */
	uint64_t ticks, retrained;

	/* the model that answers */
	struct model *model;
	const struct encoder *encoder;
	struct infer_plan *plan;
	struct infer_scratch *scratch;
	uint64_t row_ns; /* inference of one row */
	bool signal, chooses; /* chooses: and may move reads of volumes */
	bool below_floor;
	uint32_t good_looks; /* above the floor, one after the other */
	double heldout_auc, heldout_auc_low, heldout_auc_pending, heldout_majority;
	struct evaluator *evaluator;
	struct device_scores scores_seen; /* at the last look */
	struct placebo placebo;

	/* the batch being collected: features are encoded from the ring, of the rest only what a verdict needs is kept */
	float *features; /* [manifest.batch_max][encoder's features] */
	struct device_asked *asked; /* [manifest.batch_max] */
	float *scores;
	uint32_t n_batch;
	struct evaluator_outcome *late; /* [DEVICE_LATE] outcomes to be judged after the batch */
	uint32_t n_late, n_late_seen; /* the first n_late_seen of them already waited one flush */

	float *latency; /* [DEVICE_LATENCIES] ring */
	uint64_t n_latency, latency_at_tick;
	double reads_per_s;
	uint64_t batches, stored, stale;
	uint64_t newest_ns; /* issue of the read whose verdict stands */
	bool bad_scores; /* the model gave a score that is no number, and that was said */
	uint32_t last_class, last_confidence;
};

/* Rows: keep an outcome for learning; start, finish. */
void device_learn_row(struct device *device, const struct semantos_block_record *record);
void device_learn_tick(struct device *device);
int device_learn_restore(struct device *device); /* saved model or rows; 0 or -errno */
void device_learn_save_rows(struct device *device);

/* Swap the model in; takes ownership. 0 or -errno, the old one stays then and `model` is freed. */
int device_model_set(struct device *device, struct model *model);

#endif
