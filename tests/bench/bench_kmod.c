// SPDX-License-Identifier: Apache-2.0
/*
 * bench_kmod.c - what one decision of the kernel module's inference costs, measured on its own source in user space:
 * record to features to score, on each path this CPU has, for LinnOS's and Heimdall's nets, one read and eight.
 *
 * What the kernel adds is not in it: kernel_fpu_begin() and _end(), which save the task's registers when it used any.
 */
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "agent/infer/random.h"
#include "bench.h"
#include "kmod/infer/features.h"
#include "kmod/infer/net.h"

#define ROUNDS 400
#define PER_ROUND 500
#define RECORDS 64
#define TARGET_NS 700.0

static const struct {
	const char *name;
	infer_path_fn *run;
	const char *needs;
} paths[] = {
	{ "scalar", infer_run_scalar, NULL },
	{ "AVX2", infer_run_avx2, "avx2" },
	{ "AVX-512", infer_run_avx512, "avx512" },
};

static struct semantos_block_record records[RECORDS];
static volatile int64_t sink;

static bool have(size_t path)
{
	return !paths[path].needs || (path == 1 ? __builtin_cpu_supports("avx2")
						: __builtin_cpu_supports("avx512f") &&
							     __builtin_cpu_supports("avx512bw"));
}

/* A net of this shape with weights like LinnOS's: thousandths within +-2. */
static struct infer_net *make(uint8_t encoder, const uint16_t *widths, uint8_t n_layers)
{
	struct random_state random = random_seed(1);
	static uint8_t blob[INFER_MAX_BYTES];
	struct infer_blob_head head = { .magic = INFER_NET_MAGIC,
		.version = INFER_NET_VERSION,
		.encoder = encoder,
		.n_layers = n_layers };
	struct infer_net *net;
	const char *why;
	size_t at = sizeof(head), packed;

	for (int l = 0; l < n_layers; l++, at += sizeof(struct infer_blob_layer)) {
		struct infer_blob_layer layer = { widths[l], widths[l + 1], 0, { 0 } };

		/* Heimdall's hidden numbers are rescaled to 16 bits, LinnOS's are not. */
		layer.shift = encoder == INFER_HEIMDALL && l + 1 < n_layers ? 10 : 0;
		memcpy(blob + at, &layer, sizeof(layer));
	}
	for (int l = 0; l < n_layers; l++)
		at += widths[l + 1] * sizeof(int64_t);
	for (int l = 0; l < n_layers; l++)
		for (int i = 0; i < widths[l] * widths[l + 1]; i++, at += 2) {
			int16_t w = (int16_t)((int)random_below(&random, 4001) - 2000);

			memcpy(blob + at, &w, 2);
		}
	head.bytes = (uint32_t)at;
	memcpy(blob, &head, sizeof(head));
	if (infer_net_check(blob, at, &packed, &why))
		abort();
	net = aligned_alloc(64, (packed + 63) / 64 * 64);
	if (!net)
		abort();
	memset(net, 0, packed);
	if (infer_net_pack(net, blob, &why))
		abort();
	return net;
}

static void time_one(
	const char *name, const struct infer_net *net, size_t path, size_t batch, double target)
{
	static struct infer_scratch scratch;
	static double ns[ROUNDS];
	int64_t out[INFER_MAX_OUTPUTS];
	char label[80];

	for (int round = -20; round < ROUNDS; round++) {
		struct timespec a, b;

		clock_gettime(CLOCK_MONOTONIC, &a);
		for (int i = 0; i < PER_ROUND; i++)
			for (size_t r = 0; r < batch; r++) {
				infer_encode(
					net->encoder, &records[(i + r) % RECORDS], scratch.feature);
				infer_load(net, &scratch, scratch.feature);
				paths[path].run(net, &scratch, out);
				sink = infer_score(net, out);
			}
		clock_gettime(CLOCK_MONOTONIC, &b);
		if (round >= 0)
			ns[round] = ((double)(b.tv_sec - a.tv_sec) * 1e9 +
					    (double)(b.tv_nsec - a.tv_nsec)) /
				    PER_ROUND;
	}
	snprintf(label, sizeof(label), "%s, %zu read%s, %s", name, batch, batch > 1 ? "s" : "",
		paths[path].name);
	row(label, "ns", ns, ROUNDS, target);
}

int main(void)
{
	static const uint16_t linnos[] = { 31, 256, 2 }, heimdall[] = { 12, 128, 16, 1 };
	struct infer_net *nets[] = { make(INFER_LINNOS_DIGITS, linnos, 2),
		make(INFER_HEIMDALL, heimdall, 3) };
	static const char *const names[] = { "LinnOS 31-256-2", "Heimdall 12-128-16-1" };
	struct random_state random = random_seed(2);
	size_t best = 0;

	__builtin_cpu_init();
	pin_to((int)sysconf(_SC_NPROCESSORS_ONLN) - 1);
	for (size_t i = 0; i < RECORDS; i++) {
		records[i].pending_pages = 1 + (uint32_t)random_below(&random, 200);
		records[i].sectors = 8;
		for (int h = 0; h < SEMANTOS_HISTORY; h++)
			records[i].history[h] = semantos_hist_pack(
				random_below(&random, 5000), random_below(&random, 200), 4, 8);
	}
	for (size_t p = 0; p < 3; p++)
		best = have(p) ? p : best;
	printf("In-kernel inference, its source in user space (features and net):\n");
	for (size_t n = 0; n < 2; n++)
		for (size_t p = 0; p < 3; p++)
			if (have(p)) {
				time_one(names[n], nets[n], p, 1,
					n == 0 && p == best ? TARGET_NS : NO_TARGET);
				time_one(names[n], nets[n], p, 8, NO_TARGET);
			}
	rows_end("kmod");
	return 0;
}
