/* SPDX-License-Identifier: Apache-2.0 */
/*
 * amx_emulator.h - executes AMX instructions on CPUs that have none: a handler of the illegal-instruction signal.
 *
 * The real machine code runs; each tile instruction traps, is decoded from its bytes and done here as Intel's manual
 * describes it (Software Developer's Manual, vol. 2, "Intel AMX"): bfloat16 products are exact, two streams of sums, for the
 * even and the odd numbers of a row, are rounded to nearest even after every addition, denormals are zeros going in and
 * coming out, and MXCSR plays no part. Only what agent/infer uses is known; anything else aborts the test.
 * For tests, one thread.
 */
#ifndef SEMANTOS_TESTS_AMX_EMULATOR_H
#define SEMANTOS_TESTS_AMX_EMULATOR_H

#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

static struct {
	bool shaped;
	uint8_t rows[8];
	uint16_t row_bytes[8];
	uint8_t byte[8][16][64];
	uint64_t executed;
} amx;

static void amx_refuse(const char *why, const uint8_t *at)
{
	fprintf(stderr, "AMX emulator: %s:", why);
	for (int i = 0; i < 10; i++)
		fprintf(stderr, " %02x", at[i]);
	fputc('\n', stderr);
	abort();
}

static greg_t *amx_register(ucontext_t *context, unsigned int number)
{
	static const int of[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI,
		REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

	return &context->uc_mcontext.gregs[of[number]];
}

/* A memory operand: where it is, the index register (a stride to tile loads), and the bytes it took from ModRM on. */
struct amx_operand {
	uint64_t base;
	int64_t stride;
	size_t length;
};

static struct amx_operand amx_memory(ucontext_t *context, const uint8_t *modrm, bool x, bool b)
{
	unsigned int mod = *modrm >> 6, rm = *modrm & 7;
	struct amx_operand operand = { .length = 1 };
	const uint8_t *at = modrm + 1;
	int32_t wide;

	if (rm == 4) {
		unsigned int index = (*at >> 3 & 7) | (x ? 8 : 0);
		unsigned int base = (*at & 7) | (b ? 8 : 0);

		if ((base & 7) == 5 && mod == 0)
			amx_refuse("no base register", modrm);
		operand.base = (uint64_t)*amx_register(context, base);
		if (index != 4)
			operand.stride = *amx_register(context, index) << (*at >> 6);
		at++;
	} else if (rm == 5 && mod == 0) {
		amx_refuse("relative addresses are not known", modrm);
	} else {
		operand.base = (uint64_t)*amx_register(context, rm | (b ? 8 : 0));
	}
	if (mod == 1) {
		operand.base += (uint64_t)(int64_t)(int8_t)*at++;
	} else if (mod == 2) {
		memcpy(&wide, at, 4);
		operand.base += (uint64_t)(int64_t)wide;
		at += 4;
	}
	operand.length = (size_t)(at - modrm);
	return operand;
}

/* LDTILECFG: 64 bytes; palette 1 has eight tiles of at most 16 rows of 64 bytes. All tiles become zero. */
static void amx_shape(const uint8_t *from, const uint8_t *at)
{
	if (from[0] != 1 || from[1] != 0)
		amx_refuse("only palette 1 from row 0", at);
	memset(amx.byte, 0, sizeof(amx.byte));
	for (int t = 0; t < 8; t++) {
		memcpy(&amx.row_bytes[t], from + 16 + 2 * t, 2);
		amx.rows[t] = from[48 + t];
		if (amx.rows[t] > 16 || amx.row_bytes[t] > 64 || amx.row_bytes[t] % 4 ||
			!amx.rows[t] != !amx.row_bytes[t])
			amx_refuse("a shape that faults", at);
	}
	for (int t = 8; t < 16; t++)
		if (from[48 + t] || from[16 + 2 * t] || from[17 + 2 * t])
			amx_refuse("a shape of a tile that does not exist", at);
	amx.shaped = true;
}

static float amx_flushed(float value)
{
	return fpclassify(value) == FP_SUBNORMAL ? copysignf(0, value) : value;
}

static float amx_bf16(const uint8_t *row, size_t i)
{
	uint32_t bits = (uint32_t)(row[2 * i] | row[2 * i + 1] << 8) << 16;
	float value;

	memcpy(&value, &bits, sizeof(value));
	return amx_flushed(value);
}

static void amx_multiply(unsigned int to, unsigned int a, unsigned int b, unsigned int prefix,
	bool floats, const uint8_t *at)
{
	size_t rows = amx.rows[to], columns = amx.row_bytes[to] / 4, inner = amx.row_bytes[a] / 4;

	if (!rows || rows != amx.rows[a] || amx.row_bytes[b] != amx.row_bytes[to] ||
		amx.rows[b] != inner || to == a || to == b || a == b)
		amx_refuse("shapes that do not fit, which fault", at);
	for (size_t m = 0; m < rows; m++) {
		float sum[2][16] = { { 0 } };

		for (size_t k = 0; k < inner; k++)
			for (size_t n = 0; n < columns; n++) {
				const uint8_t *x = &amx.byte[a][m][4 * k],
					      *y = &amx.byte[b][k][4 * n];
				int32_t whole = 0;

				if (floats) {
					for (size_t i = 0; i < 2; i++)
						sum[i][n] = amx_flushed(fmaf(
							amx_bf16(x, i), amx_bf16(y, i), sum[i][n]));
					continue;
				}
				for (size_t i = 0; i < 4; i++) /* F2 ss, F3 su, 66 us, none uu */
					whole += (prefix & 2 ? (int8_t)x[i] : x[i]) *
						 (prefix == 3 || prefix == 1 ? (int8_t)y[i] : y[i]);
				{
					uint32_t total;

					memcpy(&total, &amx.byte[to][m][4 * n], 4);
					total += (uint32_t)whole;
					memcpy(&amx.byte[to][m][4 * n], &total, 4);
				}
			}
		for (size_t n = 0; floats && n < columns; n++) {
			float total;

			memcpy(&total, &amx.byte[to][m][4 * n], 4);
			total = amx_flushed(
				amx_flushed(total) + amx_flushed(sum[0][n] + sum[1][n]));
			memcpy(&amx.byte[to][m][4 * n], &total, 4);
		}
	}
}

/* VEX with the map 0F 38: C4, then R X B inverted and the map, then W vvvv (inverted) L prefix, opcode, ModRM. */
static void amx_trap(int signal, siginfo_t *info, void *context_of)
{
	ucontext_t *context = context_of;
	const uint8_t *at = (const uint8_t *)context->uc_mcontext.gregs[REG_RIP];
	unsigned int prefix = at[2] & 3, opcode = at[3], reg = at[4] >> 3 & 7, rm = at[4] & 7;
	bool in_memory = at[4] >> 6 != 3;
	struct amx_operand operand = { .length = 1 };

	(void)signal;
	(void)info;
	if (at[0] != 0xc4 || (at[1] & 0x1f) != 2 || at[2] & 0x84 || !(at[1] & 0x80))
		amx_refuse("no AMX instruction", at);
	if (in_memory)
		operand = amx_memory(context, at + 4, !(at[1] & 0x40), !(at[1] & 0x20));
	if (opcode == 0x49 && prefix == 0 && in_memory && reg == 0) {
		amx_shape((const uint8_t *)operand.base, at);
	} else if (opcode == 0x49 && prefix == 0 && at[4] == 0xc0) {
		amx.shaped = false;
	} else if (!amx.shaped) {
		amx_refuse("tiles have no shape, which faults", at);
	} else if (opcode == 0x49 && prefix == 3 && !in_memory && rm == 0) {
		memset(amx.byte[reg], 0, sizeof(amx.byte[reg]));
	} else if (opcode == 0x4b && in_memory && rm == 4 && prefix != 0) {
		for (size_t r = 0; r < amx.rows[reg]; r++) {
			uint8_t *row = (uint8_t *)operand.base + operand.stride * (int64_t)r;

			if (prefix == 2) { /* TILESTORED */
				memcpy(row, amx.byte[reg][r], amx.row_bytes[reg]);
				continue;
			}
			memset(amx.byte[reg][r], 0, 64);
			memcpy(amx.byte[reg][r], row, amx.row_bytes[reg]);
		}
		if (!amx.rows[reg])
			amx_refuse("a tile without a shape, which faults", at);
	} else if ((opcode == 0x5e || (opcode == 0x5c && prefix == 2)) && !in_memory) {
		amx_multiply(reg, rm, ~at[2] >> 3 & 15, prefix, opcode == 0x5c, at);
	} else {
		amx_refuse("an instruction that is not known", at);
	}
	amx.executed++;
	context->uc_mcontext.gregs[REG_RIP] += (greg_t)(4 + operand.length);
}

static bool amx_yes(void)
{
	return true;
}

static bool amx_no(void)
{
	return false;
}

static void amx_emulate(void)
{
	struct sigaction action = { .sa_sigaction = amx_trap, .sa_flags = SA_SIGINFO };

	sigaction(SIGILL, &action, NULL);
}

#endif
