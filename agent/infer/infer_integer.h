/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_integer.h - integer plans; for agent/infer only.
 */
#ifndef SEMANTOS_INFER_INFER_INTEGER_H
#define SEMANTOS_INFER_INFER_INTEGER_H

#include "agent/infer/engine.h"

/* One row: the plan->outputs sums, in the scratch until the next call. */
const int64_t *integer_run_row(
	const struct infer_plan *plan, struct infer_scratch *scratch, const float *row);

#endif
