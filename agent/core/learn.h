/* SPDX-License-Identifier: Apache-2.0 */
/*
 * learn.h - from a heap of OUTCOME records to a judged model, on a thread of its own.
 *
 * A model that tells slow from fast shows signal by ranking reads better than pending pages alone; one that foresees
 * latencies, which are for choosing a leg, by choosing better than fewest outstanding does (agent/infer/choice.h). No model
 * moves a volume's reads that did not choose better, whatever its signal: ranking reads well and placing them well are two things.
 *
 * Label, split in time order (first 70 % train, a gap, last 30 % held out), train, score on the held-out reads against
 * the majority and pending pages alone. Nothing here touches BPF or files: the caller decides what becomes of the
 * model. The same code serves the agent, `semantosctl train` and `semantosctl replay`.
 */
#ifndef SEMANTOS_CORE_LEARN_H
#define SEMANTOS_CORE_LEARN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/infer/choice.h"
#include "agent/infer/model.h"
#include "agent/infer/score.h"
#include "agent/infer/train.h"
#include "bpf/wire.h"

struct learn_recipe {
	char encoder[MODEL_NAME_LEN];
	char labeler[MODEL_NAME_LEN];
	uint32_t hidden[MODEL_MAX_LAYERS]; /* widths of the hidden layers */
	uint32_t n_hidden;
	uint32_t outputs; /* 1 or 2 */
	struct train_options train;
	bool latency; /* one output, which foresees the latency itself (model->latency_error_us) */
	/* Legs are chosen by verdicts (decide = async): what the read before said, for so long. 0 = by each read's own score. */
	uint64_t verdict_ns;
	double margin; /* signal needs auc_low > 0.5 + margin */
};

struct learn_result {
	struct model *model; /* owned by the caller once taken; NULL on failure */
	struct score_signal heldout;
	struct choice_result
		choice; /* its signal: reads may be moved; of a model that foresees latencies heldout.signal is the same */
	const char *baseline; /* what heldout.baseline_auc is of: encoder_baseline() */
	bool by_choice; /* the model foresees latencies */
	double heldout_majority; /* accuracy of always answering the commoner class */
	double heldout_accuracy, heldout_recall, heldout_precision;
	size_t rows_train, rows_heldout;
	double slow_share;
	struct train_report report;
	int error; /* 0 or -errno */
	char text[256]; /* one sentence: what was learned, or why nothing was */
};

/*
 * records: [n] OUTCOME records in any order (sorted by issue time inside, on a copy); those with errors, writes or a
 * short history are left out. Blocking. `cancel` inside recipe->train may stop it. The model's notes say where it came
 * from: date (ISO 8601, UTC), rows, rows_train, rows_heldout, slow_share, heldout_{auc, auc_low, auc_high, auc_pending,
 * gain_low, gain_high, majority, accuracy, recall, precision}, choice_{gain, low, high, moved}, signal, chooses (yes, no),
 * chooses_by (read, verdict: what chose the legs in that), encoder, labeler, wire_version, epochs,
 * seed, kernel. An encoder whose features are not standardised also gets the model's integer twin.
 */
void learn(const struct semantos_block_record *records, size_t n, const struct learn_recipe *recipe,
	const char *model_name, struct learn_result *result);

/* By what a model of this recipe chooses a volume's leg: "verdict" or "read". Static text. */
const char *recipe_chooses_by(const struct learn_recipe *recipe);

/*
 * Time-ordered replay of a capture through a model, leak-free: a prediction sees only its own record, labels are
 * counted once the read had completed. Fills scores as learn() does, over all rows.
 */
void learn_replay(const struct semantos_block_record *records, size_t n, const struct model *model,
	double margin, struct learn_result *result);

#endif
