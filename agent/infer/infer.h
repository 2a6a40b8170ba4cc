/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer.h - the one interface behind which every inference engine stands.
 *
 * Prepare once (weights are packed, scaling folded in), run batches of any size from 1 to the prepared maximum
 * without allocating. The engine is chosen at prepare time: AMX (once CPU and kernel have both agreed), AVX-512, AVX2 or
 * plain C, the best there is; the environment variable SEMANTOS_INFER=scalar|avx2|avx512|avx512-vnni|avx512-bf16|amx
 * forces one that can run here, for tests. Engines sum in different orders, and
 * so may batches of different sizes: scores differ within infer_error_bound(). A plan is immutable: several threads
 * may run it when each brings its own scratch.
 */
#ifndef SEMANTOS_INFER_INFER_H
#define SEMANTOS_INFER_INFER_H

#include <stddef.h>
#include <stdint.h>
#include "agent/infer/model.h"

#define INFER_MAX_BATCH 4096

/*
 * INFER_QUICK is INFER_FLOAT where the CPU or the net offers nothing faster. Else infer_run() answers rows in 8 bits or
 * bfloat16, whichever suits the net and the rows, and computes again in floats every one whose score is near the decision
 * threshold.
 */
enum infer_arithmetic { INFER_FLOAT, INFER_INTEGER, INFER_QUICK };

struct infer_plan;
struct infer_scratch;

/*
 * Pack `model` for batches of up to max_batch rows (1..INFER_MAX_BATCH). INFER_INTEGER needs model->has_integer.
 * Copies what it needs: the model may be freed afterwards. NULL with errno EINVAL or ENOMEM.
 */
struct infer_plan *infer_prepare(
	const struct model *model, uint32_t max_batch, enum infer_arithmetic arithmetic);
void infer_free(struct infer_plan *plan); /* accepts NULL */

/* Working memory for one thread. NULL with errno ENOMEM. */
struct infer_scratch *infer_scratch_new(const struct infer_plan *plan);
void infer_scratch_free(struct infer_scratch *scratch); /* accepts NULL */

/*
 * rows: [n][inputs] floats, row-major, unscaled features; scores: [n], the score of class 1 (two outputs: out1 - out0,
 * one output: out0; an integer plan returns the same difference of its int64 outputs as a float). n <= max_batch.
 * No allocation, no system call. 0, or -EINVAL when n is 0 or too large.
 */
int infer_run(const struct infer_plan *plan, struct infer_scratch *scratch, const float *rows,
	size_t n, float *scores);

/* All outputs instead of the score: outputs is [n][model_outputs]. Integer plans only for exact tests. */
int infer_run_outputs(const struct infer_plan *plan, struct infer_scratch *scratch,
	const float *rows, size_t n, float *outputs);
int infer_run_integer(const struct infer_plan *plan, struct infer_scratch *scratch,
	const float *rows, size_t n, int64_t *outputs);

/* Largest |score - float64 score| the engine may show for inputs with |x| <= x_max; 0 for integer plans. */
float infer_error_bound(const struct infer_plan *plan, float x_max);

/* Rows of quick plans that were near the threshold and computed again, since the scratch was made. */
uint64_t infer_recomputed(const struct infer_scratch *scratch);

/* "scalar" (integer plans too), "avx2", "avx512"; with a quick twin "avx512-vnni", "avx512-bf16" or "amx". */
const char *infer_engine(const struct infer_plan *plan);

#endif
