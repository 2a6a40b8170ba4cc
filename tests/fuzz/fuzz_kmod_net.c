// SPDX-License-Identifier: Apache-2.0
/*
 * fuzz_kmod_net.c - any bytes handed to the kernel module as a net are refused with a sentence, or pack within what
 * was asked for and give the same outputs on every path.
 */
#include <stdlib.h>
#include <string.h>
#include "kmod/infer/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const struct infer_net *net, uint32_t seed)
{
	static struct infer_scratch scratch;
	uint32_t features[INFER_MAX_WIDTH];
	int64_t out[3][INFER_MAX_OUTPUTS] = { 0 };

	for (uint32_t i = 0; i < INFER_MAX_WIDTH; i++)
		features[i] = i ? seed = seed * 1664525 + 1013904223 : UINT32_MAX;
	infer_load(net, &scratch, features);
	infer_run_scalar(net, &scratch, out[0]);
	if (__builtin_cpu_supports("avx2")) {
		infer_load(net, &scratch, features);
		infer_run_avx2(net, &scratch, out[1]);
		if (memcmp(out[0], out[1], net->outputs * sizeof(out[0][0])))
			abort();
	}
	if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")) {
		infer_load(net, &scratch, features);
		infer_run_avx512(net, &scratch, out[2]);
		if (memcmp(out[0], out[2], net->outputs * sizeof(out[0][0])))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *why = NULL;
	struct infer_net *net;
	size_t packed = 0;

	if (infer_net_check(data, size, &packed, &why)) {
		if (!why)
			abort();
		return 0;
	}
	net = aligned_alloc(64, (packed + 63) / 64 * 64);
	if (!net)
		return 0;
	memset(net, 0, packed);
	if (!infer_net_pack(net, data, &why))
		run(net, (uint32_t)size);
	else if (!why)
		abort();
	free(net);
	return 0;
}
