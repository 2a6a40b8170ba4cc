// SPDX-License-Identifier: Apache-2.0
/*
 * amx.c - asks for AMX and multiplies with it: 16 rows of 64 bytes a tile, 16 x 16 sums an instruction.
 *
 * Tiles 0-3 are sums, 4 and 5 the two factors, 6 and 7 the same for what a row has beyond whole tiles. Each call sets its
 * shapes up and releases the tiles, so that a context switch in between has nothing to save. Never allocates.
 */
#include <cpuid.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "agent/infer/amx.h"
#include "agent/infer/bf16.h"
#include "agent/infer/knn_engine.h"

#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA 18
#define XCR0_TILES (3u << 17)

#define TILE_ROWS 16
#define TILE_WORDS 16 /* 32-bit words of a row */
#define SUMS 4 /* tiles of sums side by side: a panel of columns */

static bool asked_and_granted(void)
{
	unsigned int a, b, c, d, low, high;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return false;
	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	if ((low & XCR0_TILES) != XCR0_TILES || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
		return false;
	/* AMX-BF16, AMX-TILE, AMX-INT8 */
	if (!(d & 1u << 22) || !(d & 1u << 24) || !(d & 1u << 25))
		return false;
	return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

bool (*amx_usable)(void) = asked_and_granted;

/* What LDTILECFG reads. */
struct tile_shapes {
	uint8_t palette, start_row, reserved[14];
	uint16_t row_bytes[16];
	uint8_t rows[16];
};

_Static_assert(sizeof(struct tile_shapes) == 64, "the CPU reads 64 bytes");

/* Sums of `rows` rows; factors with whole tiles of words in the inner direction, and with `rest` of them. */
static void shape(size_t rows, size_t rest)
{
	struct tile_shapes shapes = { .palette = 1 };

	for (size_t t = 0; t < SUMS; t++) {
		shapes.rows[t] = (uint8_t)rows;
		shapes.row_bytes[t] = 4 * TILE_WORDS;
	}
	shapes.rows[4] = (uint8_t)rows;
	shapes.row_bytes[4] = 4 * TILE_WORDS;
	shapes.rows[5] = TILE_ROWS;
	shapes.row_bytes[5] = 4 * TILE_WORDS;
	if (rest) {
		shapes.rows[6] = (uint8_t)rows;
		shapes.row_bytes[6] = (uint16_t)(4 * rest);
		shapes.rows[7] = (uint8_t)rest;
		shapes.row_bytes[7] = 4 * TILE_WORDS;
	}
	__asm__ volatile("ldtilecfg %0" : : "m"(shapes));
}

static void release(void)
{
	__asm__ volatile("tilerelease" : : : "memory");
}

/* A tile's number is part of the instruction. */
#define LOAD(tile, from, stride)                            \
	__asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile \
		:                                           \
		: "r"(from), "r"((size_t)(stride))          \
		: "memory")
#define STORE(tile, to, stride)                                 \
	__asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" \
		:                                               \
		: "r"(to), "r"((size_t)(stride))                \
		: "memory")
#define MULTIPLY(how, sum, a, b) \
	__asm__ volatile(how " %%tmm" #b ", %%tmm" #a ", %%tmm" #sum : : : "memory")

/* One step for each of `n` tiles of sums: b lies TILE_WORDS words apart. */
#define STEP(how, n, a, b, from, stride)                          \
	do {                                                      \
		LOAD(b, from, stride);                            \
		MULTIPLY(how, 0, a, b);                           \
		if ((n) > 1) {                                    \
			LOAD(b, (from) + TILE_WORDS, stride);     \
			MULTIPLY(how, 1, a, b);                   \
		}                                                 \
		if ((n) > 2) {                                    \
			LOAD(b, (from) + 2 * TILE_WORDS, stride); \
			MULTIPLY(how, 2, a, b);                   \
		}                                                 \
		if ((n) > 3) {                                    \
			LOAD(b, (from) + 3 * TILE_WORDS, stride); \
			MULTIPLY(how, 3, a, b);                   \
		}                                                 \
	} while (0)

/* `count` tiles of sums from or to memory, TILE_WORDS apart. */
#define EACH(what, count, at, stride)                           \
	do {                                                    \
		what(0, at, stride);                            \
		if ((count) > 1)                                \
			what(1, (at) + TILE_WORDS, stride);     \
		if ((count) > 2)                                \
			what(2, (at) + 2 * TILE_WORDS, stride); \
		if ((count) > 3)                                \
			what(3, (at) + 3 * TILE_WORDS, stride); \
	} while (0)

void amx_bf16_product(
	size_t m, size_t n, size_t half, const uint32_t *pairs, const uint32_t *packed, float *c)
{
	size_t rest = half % TILE_WORDS, shaped = 0;

	for (size_t row = 0; row < m; row += TILE_ROWS) {
		size_t rows = m - row < TILE_ROWS ? m - row : TILE_ROWS;
		const uint32_t *a = pairs + row * half;

		if (rows != shaped)
			shape(shaped = rows, rest);
		for (size_t column = 0; column < n; column += BF16_PANEL) {
			size_t count = (n - column) / TILE_WORDS;
			const uint32_t *b = packed + column * half;
			float *to = c + row * n + column;
			size_t p = 0;

			EACH(LOAD, count, to, 4 * n);
			for (; p + TILE_WORDS <= half;
				p += TILE_WORDS, b += TILE_ROWS * BF16_PANEL) {
				LOAD(4, a + p, 4 * half);
				STEP("tdpbf16ps", count, 4, 5, b, 4 * BF16_PANEL);
			}
			if (rest) {
				LOAD(6, a + p, 4 * half);
				STEP("tdpbf16ps", count, 6, 7, b, 4 * BF16_PANEL);
			}
			EACH(STORE, count, to, 4 * n);
		}
	}
	release();
}

/* Rows are queries, columns references: signed by unsigned bytes. All queries start alike, so the stride is none. */
void amx_sums(const uint32_t *reference, size_t n_panels, size_t groups, const int32_t *start,
	const int32_t *query, int32_t *sum)
{
	size_t rest = groups % TILE_WORDS, n = n_panels * KNN_PANEL;

	shape(KNN_QUERIES, rest);
	for (size_t p = 0; p < n_panels; p++, start += KNN_PANEL, sum += KNN_PANEL) {
		size_t g = 0;

		EACH(LOAD, SUMS, start, 0);
		for (; g + TILE_WORDS <= groups;
			g += TILE_WORDS, reference += TILE_ROWS * KNN_PANEL) {
			LOAD(4, query + g, 4 * groups);
			STEP("tdpbsud", SUMS, 4, 5, reference, 4 * KNN_PANEL);
		}
		if (rest) {
			LOAD(6, query + g, 4 * groups);
			STEP("tdpbsud", SUMS, 6, 7, reference, 4 * KNN_PANEL);
			reference += rest * KNN_PANEL;
		}
		EACH(STORE, SUMS, sum, 4 * n);
	}
	release();
}
