/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trainer.h - one thread that turns rows into models, so that the loop never waits for training.
 *
 * Jobs run one after the other. A finished job is handed back on the loop's thread; cancelling one stops its training
 * within a minibatch and its callback never runs.
 */
#ifndef SEMANTOS_CORE_TRAINER_H
#define SEMANTOS_CORE_TRAINER_H

#include "agent/core/learn.h"
#include "agent/core/loop.h"

struct trainer;
struct trainer_job;

/* Runs on the loop's thread. The model in result is the callee's. */
typedef void trainer_done_fn(void *ctx, struct learn_result *result);

struct trainer *trainer_new(struct loop *loop); /* NULL with errno */
void trainer_free(struct trainer *trainer); /* cancels what is left; accepts NULL */

/* records: [n], malloc'ed, owned by the job from here on. NULL with errno (records are then freed). */
struct trainer_job *trainer_submit(struct trainer *trainer, struct semantos_block_record *records,
	size_t n, const struct learn_recipe *recipe, const char *model_name, trainer_done_fn *done,
	void *ctx);
void trainer_cancel(struct trainer *trainer, struct trainer_job *job); /* accepts NULL */

#endif
