/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tiles.h - goes through a layer's outputs by tiles, the last one of what is left: for agent/infer only.
 *
 * TILES_OF_12(n, tile) is tile(0, 12), tile(12, 12), ... tile(at, what is left), for n outputs. The second argument is always a
 * constant, so that a tile which is inlined there has its sums in registers, whatever their number.
 */
#ifndef SEMANTOS_INFER_TILES_H
#define SEMANTOS_INFER_TILES_H

#include <stddef.h>

/* clang-format off */
#define TILES_CASE(tile, n) case n: tile(tiles_at_, n); break;
#define TILES_TO_5(tile) \
	TILES_CASE(tile, 1) TILES_CASE(tile, 2) TILES_CASE(tile, 3) TILES_CASE(tile, 4) TILES_CASE(tile, 5)
#define TILES_TO_11(tile) \
	TILES_TO_5(tile) TILES_CASE(tile, 6) TILES_CASE(tile, 7) TILES_CASE(tile, 8) TILES_CASE(tile, 9) \
	TILES_CASE(tile, 10) TILES_CASE(tile, 11)

#define TILES_OF(n, tile, most, rest) \
	do { \
		size_t tiles_at_ = 0; \
\
		for (; tiles_at_ + (most) <= (size_t)(n); tiles_at_ += (most)) \
			tile(tiles_at_, most); \
		switch ((size_t)(n) - tiles_at_) { \
		rest(tile) \
		default: \
			break; \
		} \
	} while (0)
/* clang-format on */
#define TILES_OF_6(n, tile) TILES_OF(n, tile, 6, TILES_TO_5)
#define TILES_OF_12(n, tile) TILES_OF(n, tile, 12, TILES_TO_11)

#endif
