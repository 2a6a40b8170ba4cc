/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evaluate.h - compares each prediction with what really happened, per request id.
 *
 * Fixed memory: a table of predictions awaiting their outcome and a sliding window of judged ones. A prediction whose
 * outcome never comes is overwritten and counted; nothing grows. One evaluator per device, used by one thread.
 */
#ifndef SEMANTOS_CORE_EVALUATE_H
#define SEMANTOS_CORE_EVALUATE_H

#include <stdbool.h>
#include <stdint.h>
#include "agent/core/control.h"
#include "bpf/wire.h"

struct evaluator;

/* window: judged rows kept (power of two, 256..65536). NULL with errno ENOMEM or EINVAL. */
struct evaluator *evaluator_new(uint32_t window);
void evaluator_free(struct evaluator *evaluator); /* accepts NULL */
/* What is judged and the number to beat, as sentences call them (static text); without it reads, and pending pages. */
void evaluator_words(struct evaluator *evaluator, const char *rows, const char *baseline);

/* A read was predicted: score on the model's scale, cls its class, pending_pages at its issue. */
void evaluator_predicted(struct evaluator *evaluator, uint64_t request_id, uint32_t pending_pages,
	float score, uint8_t cls);

/* What is asked of an outcome's record. */
struct evaluator_outcome {
	uint64_t request_id;
	uint32_t latency_us;
	uint32_t inflight, sectors; /* at issue */
	uint8_t in_force; /* class in force at issue, or SEMANTOS_CLASS_DEFAULT */
	bool error;
};

static inline struct evaluator_outcome evaluator_outcome_of(
	const struct semantos_block_record *record)
{
	return (struct evaluator_outcome){ record->head.request_id, record->latency_us,
		record->inflight, record->sectors, record->class_in_force,
		record->head.flags & SEMANTOS_F_ERROR };
}

/*
 * The outcome: slow = latency_us >= slow_threshold_us. True when a prediction of this request was waiting and the
 * pair now stands in the window. An error outcome is dropped from the table and never judged.
 */
bool evaluator_judge(struct evaluator *evaluator, const struct evaluator_outcome *outcome,
	float slow_threshold_us);

/* Forget all (a new model): counters `evaluated` go on, the window is emptied. */
void evaluator_reset_window(struct evaluator *evaluator);

/* Scores of the window. O(window log window): called at most once a second. */
void evaluator_score(const struct evaluator *evaluator, struct score_view *view);
uint64_t evaluator_lost(
	const struct evaluator *evaluator); /* predictions whose outcome never came */

/*
 * Sliding-window test against the floor: true once when at least `min_rows` were judged and the AUC lies below
 * `floor_auc` or below that of the baseline alone; *why gets one sentence.
 */
bool evaluator_below_floor(const struct evaluator *evaluator, double floor_auc, uint32_t min_rows,
	char *why, size_t why_len);

/*
 * The same for a model that foresees latencies: true when choosing by it would have been worse than fewest outstanding, by the
 * whole interval of agent/infer/choice.h over the window. Where reads go by its own choices, little is left to gain.
 */
bool evaluator_chooses_worse(
	const struct evaluator *evaluator, uint32_t min_rows, char *why, size_t why_len);

#endif
