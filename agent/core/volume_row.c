// SPDX-License-Identifier: Apache-2.0
/* volume_row.c - see volume_row.h. Pure. */
#include "agent/core/volume_row.h"

#include <math.h>
#include "agent/infer/choice.h"

/*
 * Silences beyond these say nothing any more of what a disk was like before: so many times the longest that the model has
 * seen, or, where that is not known, so many slow reads.
 */
#define PROBE_SILENCE 4
#define PROBE_SLOW 8

_Static_assert(SEMANTOS_CLASS_DEEPER == CHOICE_DEEPER, "the gate tests the rule that decides");

static uint32_t probe_us(const struct model *model)
{
	double us = (double)model->silence_us * PROBE_SILENCE;

	if (!(us > 0))
		us = (double)model->slow_threshold_us * PROBE_SLOW;
	return us < 1e9 ? (uint32_t)us : 1000000000U;
}

struct semantos_leg_model volume_row(
	const struct model *model, uint32_t number, uint32_t generation)
{
	bool latency = model->latency_error_us > 0;

	return (struct semantos_leg_model){ .model_plus_1 = number + 1,
		.generation = generation,
		.predicts = latency ? SEMANTOS_PREDICTS_LATENCY : SEMANTOS_PREDICTS_CLASS,
		.slow_us = (uint32_t)model->slow_threshold_us,
		.margin_permille = CHOICE_MARGIN_PERMILLE,
		.deeper = CHOICE_DEEPER,
		.probe_us = probe_us(model),
		.warn_us =
			latency ? (uint32_t)fmin(exp2((double)model->decision_threshold), 1e9) : 0,
		.warn_log2 = latency ? (uint32_t)(model->decision_threshold * 1024) : 0 };
}
