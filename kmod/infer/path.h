/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * path.h - what every path through a net shares: where a layer's numbers lie, and how a hidden layer ends.
 */
#ifndef SEMANTOS_KMOD_INFER_PATH_H
#define SEMANTOS_KMOD_INFER_PATH_H

#include "kmod/infer/net.h"

/*
 * INFER_TARGET_BEGIN("avx2") ... INFER_TARGET_END: functions for another instruction set than the rest of the file.
 * gcc's headers of intrinsics do not build in a module, so vectors are gcc's and clang's own, and the two instructions
 * they have no operator for are written out.
 */
#define INFER_PRAGMA(text) _Pragma(#text)
#ifdef __clang__
#define INFER_TARGET_BEGIN(isa) \
	INFER_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define INFER_TARGET_END _Pragma("clang attribute pop")
#else
#define INFER_TARGET_BEGIN(isa) _Pragma("GCC push_options") INFER_PRAGMA(GCC target(isa))
#define INFER_TARGET_END _Pragma("GCC pop_options")
#endif

#define infer_inline static inline __attribute__((always_inline))

infer_inline const void *infer_weight(const struct infer_net *net, const struct infer_layer *layer)
{
	return (const char *)net + layer->weight_at;
}

infer_inline const void *infer_bias(const struct infer_net *net, const struct infer_layer *layer)
{
	return (const char *)net + layer->bias_at;
}

/* End of a hidden layer. A sum that is not limited was proved to fit. */
infer_inline int32_t infer_hidden(int64_t sum, uint32_t shift)
{
	if (sum <= 0)
		return 0;
	if (!shift)
		return (int32_t)sum;
	sum = (sum + (1LL << (shift - 1))) >> shift;
	return sum > 32767 ? 32767 : (int32_t)sum;
}

/* A layer's output as the next layer reads it. */
infer_inline void infer_put(int32_t *to, uint32_t index, int32_t value, bool narrow)
{
	if (narrow)
		((int16_t *)to)[index] = (int16_t)value;
	else
		to[index] = value;
}

#endif
