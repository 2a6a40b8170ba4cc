/* SPDX-License-Identifier: Apache-2.0 */
/*
 * device.h - one device under one policy: its rows, its model, its batch, its evaluator.
 *
 * Knows nothing of BPF but the slot's verdict row and generation, which it is given as pointers. The loop's thread
 * only. Life of a device: waiting -> learning -> predicting; while it predicts it collects rows, and learns anew when
 * there is cause.
 */
#ifndef SEMANTOS_CORE_DEVICE_H
#define SEMANTOS_CORE_DEVICE_H

#include <stdbool.h>
#include <stdint.h>
#include "agent/core/control.h"
#include "agent/core/disk.h"
#include "agent/core/manifest.h"
#include "agent/core/placebo.h"
#include "agent/core/trainer.h"

/* What a device is given by its policy. */
struct device_env {
	const struct manifest *manifest;
	const struct learn_recipe *recipe;
	struct trainer *trainer;
	const char *state_dir; /* of this policy; "" = nothing is saved */
	uint32_t min_rows;
	bool fresh; /* ignore what was saved */
	enum placebo_kind control; /* stands in for the model's answers */
	struct semantos_verdict_row *verdict; /* this slot's row */
	const volatile struct semantos_slot *slot;
	/* Ask the kernel side for a new generation, and say whether the mode may be obeyed here, and move reads of volumes. */
	void (*bump)(void *ctx, uint32_t slot);
	void (*obey)(void *ctx, uint32_t slot, bool obey, bool choose);
	/* This model answers from now on; NULL in tests. Before obey(). */
	void (*answers)(void *ctx, uint32_t slot, const struct model *model);
	/* The policy decides for volumes now; NULL: it never does. */
	bool (*decides)(void *ctx);
	void *ctx;
};

struct device;

/* Loads the saved model, if there is one for this disk. NULL with errno ENOMEM. */
struct device *device_new(const struct device_env *env, const struct disk *disk, uint32_t slot);
void device_free(struct device *device); /* saves rows not learned yet; accepts NULL */

const struct disk *device_disk(const struct device *device);
uint32_t device_slot(const struct device *device);
const struct model *device_model(const struct device *device); /* NULL = none yet */

void device_on_request(struct device *device, const struct semantos_block_record *record);
void device_on_outcome(struct device *device, const struct semantos_block_record *record);

/* Predict the batch, store the verdict of the newest row, judge the outcomes that waited for it. */
void device_flush(struct device *device);

/*
 * About once a second: start learning when there are rows enough, watch for drift, watch the floor. Looking at the
 * scores sorts windows (a ms or two), so it is done only when may_look, and when two seconds have passed since the last
 * time. True when it was done.
 */
bool device_tick(struct device *device, bool may_look);

/* Use these model bytes from now on. Fills reply. */
void device_use_model(
	struct device *device, const void *bytes, size_t n_bytes, struct control_reply *reply);

/* fresh: scores and percentiles of now; else those of the last look, which cost nothing. */
void device_view(struct device *device, bool lease_alive, bool fresh, struct device_view *view);
uint64_t device_row_ns(
	const struct device *device); /* inference of one row, as measured; 0 = no model */
uint64_t device_batches(const struct device *device);
uint64_t device_stored(const struct device *device);
uint64_t device_stale(const struct device *device);

#endif
