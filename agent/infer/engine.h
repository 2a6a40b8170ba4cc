/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine.h - what the engines behind infer.h share: the packed plan, the scratch, the choice by CPU; for agent/infer only.
 *
 * A plan is packed once for the engine that will run it. Engines read it only; whatever they write is in the scratch of
 * the thread that runs them. One binary holds all engines: a file is compiled for its instruction set by
 * ENGINE_TARGET, and nothing outside engine_choose() may call into it before the CPU was asked.
 */
#ifndef SEMANTOS_INFER_ENGINE_H
#define SEMANTOS_INFER_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/infer/gemm.h"
#include "agent/infer/infer.h"

#define ENGINE_BLOCK_ROWS 32 /* most rows an engine takes through all layers at once */
#define ENGINE_FEW_ROWS 8 /* fewer are answered in floats, one by one */
#define ENGINE_NARROW \
	4 /* layers with at most this many outputs are dot products to the plain engine */

struct packed_layer {
	uint32_t inputs, outputs;
	size_t padded; /* outputs, up to full lanes */
	size_t padded_inputs; /* floats between two rows of the layer's input, plain engine */
	enum model_activation activation;
	float *weight; /* [inputs][padded], or [outputs][padded_inputs] when narrow */
	float *bias; /* [padded] */
	bool narrow; /* plain engine only */
	/*
	 * Vector engines: groups of engine->tile outputs, the last one of what is left, each [inputs][outputs of the
	 * group]: rows stand in lanes and every weight is broadcast in the order it lies here.
	 */
	float *tiled;
	int64_t *integer_weight; /* [inputs][padded] */
	int64_t *integer_bias; /* [padded] */
};

/*
 * The last layer as one dot product, for scores: of two linear outputs their difference, else the one output there
 * is. Absent (weight NULL) when the two outputs are not linear.
 */
struct packed_score {
	float *weight; /* [GEMM_PAD(inputs of the last layer)] */
	float bias;
	enum model_activation activation;
};

struct engine;
struct quick_plan;
struct half_plan;
struct byte_plan;
struct twin;

struct infer_plan {
	const struct engine *engine;
	uint32_t max_batch, n_layers, inputs, outputs;
	enum infer_arithmetic arithmetic;
	size_t widest; /* floats of the widest padded layer */
	/* Vector engines: multiplications of full vectors for a block of as many rows as lanes, and for one row by itself. */
	size_t cost_block, cost_row;
	struct packed_layer layer[MODEL_MAX_LAYERS];
	struct packed_score score;
	float threshold; /* of the decision: scores near it are never left to 8 bits */
	struct quick_plan
		*quick; /* 8-bit twin for whole numbers, INFER_QUICK plans only, else NULL */
	struct byte_plan *bytes; /* 8-bit twin for any features, likewise */
	struct half_plan *half; /* bfloat16 twin, likewise */
	const struct twin *twin[2]; /* those there are; each leaves over what is not for it */
};

struct infer_scratch {
	float *a, *b; /* [ENGINE_BLOCK_ROWS][widest] each */
	int64_t *x, *y; /* [widest] each, integer plans */
	uint32_t *quick; /* quick_scratch_bytes() of the 8-bit twin */
	float *again; /* rows to be answered once more, in floats */
	float *block; /* the rows of a block that is not full, of any twin */
	uint32_t *bytes; /* byte_scratch_words() of the 8-bit twin for any features */
	uint32_t *half; /* half_scratch_words() of the bfloat16 twin */
	uint64_t recomputed;
};

struct engine {
	const char *name;
	uint32_t lanes,
		tile; /* floats of a vector; outputs in registers at once; both 0 in the plain engine */
	/* One of outputs ([n][outputs]) and scores ([n], needs two outputs at most) is not NULL. */
	void (*run)(const struct infer_plan *plan, struct infer_scratch *scratch, const float *rows,
		size_t n, float *outputs, float *scores);
};

extern const struct engine engine_scalar, engine_avx2, engine_avx512;

/*
 * The widest engine this CPU and its kernel can run, or the one SEMANTOS_INFER names if they can run it; the plain one
 * for an unknown name. The variable is read at each call.
 */
const struct engine *engine_choose(void);

/* What the CPU and its kernel can run, whatever SEMANTOS_INFER says. */
bool engine_cpu_has_avx2(void);
bool engine_cpu_has_avx512(void);

bool engine_has_vnni(
	void); /* AVX-512 with 8-bit dot products, and not forbidden by SEMANTOS_INFER */

bool engine_has_bf16(void); /* likewise, with bfloat16 dot products; named "avx512-bf16" */
bool engine_has_amx(
	void); /* AVX-512 with bfloat16, and tiles the kernel lets us use; named "amx" */

/*
 * ENGINE_TARGET_BEGIN("avx2,fma") ... ENGINE_TARGET_END: code of another instruction set within one binary. Headers
 * with inline functions belong before it.
 */
#define ENGINE_PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define ENGINE_TARGET_BEGIN(isa) \
	ENGINE_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define ENGINE_TARGET_END _Pragma("clang attribute pop")
#else
#define ENGINE_TARGET_BEGIN(isa) \
	_Pragma("GCC push_options") ENGINE_PRAGMA(GCC target(isa)) _Pragma("GCC optimize(\"O3\")")
#define ENGINE_TARGET_END _Pragma("GCC pop_options")
#endif

#endif
