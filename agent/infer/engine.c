// SPDX-License-Identifier: Apache-2.0
/*
 * engine.c - chooses the engine for this CPU, once per prepared plan.
 *
 * gcc's CPU check includes what the kernel saves on a context switch, so a CPU whose wide registers the kernel does not
 * know is treated as one without. Any thread.
 */
#include <stdlib.h>
#include <string.h>
#include "agent/infer/amx.h"
#include "agent/infer/engine.h"

static bool allowed(const char *name)
{
	const char *only = getenv("SEMANTOS_INFER");

	return !only || !*only || strcmp(only, name) == 0;
}

bool engine_cpu_has_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

bool engine_cpu_has_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
	       engine_cpu_has_avx2();
}

const struct engine *engine_choose(void)
{
	/* The names of the twins too: what they leave over is answered by this engine. */
	if (engine_cpu_has_avx512() && (allowed("avx512") || allowed("avx512-vnni") ||
					       allowed("avx512-bf16") || engine_has_amx()))
		return &engine_avx512;
	if (engine_cpu_has_avx2() && allowed("avx2"))
		return &engine_avx2;
	return &engine_scalar;
}

bool engine_has_vnni(void)
{
	return engine_cpu_has_avx512() && __builtin_cpu_supports("avx512vnni") &&
	       allowed("avx512-vnni");
}

bool engine_has_bf16(void)
{
	return engine_cpu_has_avx512() && __builtin_cpu_supports("avx512bf16") &&
	       allowed("avx512-bf16");
}

bool engine_has_amx(void)
{
	return allowed("amx") && engine_cpu_has_avx512() && __builtin_cpu_supports("avx512vnni") &&
	       __builtin_cpu_supports("avx512bf16") && amx_usable();
}
