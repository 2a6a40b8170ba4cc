/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu_engines.h - which engines this CPU can run, asked of the CPU itself: one that is missing though it could run is a
 * failure, not a CPU without it.
 */
#ifndef SEMANTOS_TESTS_CPU_ENGINES_H
#define SEMANTOS_TESTS_CPU_ENGINES_H

#include <stdbool.h>
#include <string.h>

static inline bool cpu_has_engine(const char *name)
{
	bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
	bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
		      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
		      __builtin_cpu_supports("avx512dq");

	if (strcmp(name, "scalar") == 0)
		return true;
	if (strcmp(name, "avx2") == 0)
		return avx2;
	if (strcmp(name, "avx512") == 0)
		return avx512;
	if (strcmp(name, "avx512-vnni") == 0)
		return avx512 && __builtin_cpu_supports("avx512vnni");
	return strcmp(name, "avx512-bf16") == 0 && avx512 && __builtin_cpu_supports("avx512bf16");
}

#endif
