/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * net.h - small integer nets: from the bytes an agent hands over to a score. One source for the kernel and user space.
 *
 * A net is a chain of layers of 16-bit weights. Each hidden layer ends in max(x, 0), a rounding shift to the right (0
 * for the nets that LinnOS publishes, whose numbers may grow) and, where the shift is not 0, a limit of 32767. Nothing
 * is a float, so the outcome is the same bit for bit on every path and machine.
 *
 * Whoever hands over the bytes is not believed: every size is checked before it is used, and infer_net_pack() proves from
 * weights, biases and the largest input that no sum can overflow; what it cannot prove it refuses. Work is bounded:
 * INFER_MAX_MACS multiplications a row.
 *
 * No allocation, no lock, no float, no libc. A packed net is immutable.
 */
#ifndef SEMANTOS_KMOD_INFER_NET_H
#define SEMANTOS_KMOD_INFER_NET_H

#ifdef __KERNEL__
#include <linux/errno.h>
#include <linux/limits.h>
#include <linux/string.h>
#include <linux/types.h>
#else
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#endif

#define INFER_NET_MAGIC 0x54454e53u /* "SNET" in memory */
#define INFER_NET_VERSION 1
#define INFER_MAX_LAYERS 4
#define INFER_MAX_WIDTH 256 /* inputs or outputs of a layer */
#define INFER_MAX_OUTPUTS 4 /* of the last layer */
#define INFER_MAX_MACS 16384 /* LinnOS: 8,448; Heimdall: 3,600 */
#define INFER_MAX_SHIFT 31
#define INFER_MAX_BYTES 65536 /* of the blob */

/* ---- the blob: little-endian, no gaps ---- */

enum infer_encoder {
	INFER_LINNOS_DIGITS = 1, /* 31 digits */
	INFER_HEIMDALL = 2, /* 12 numbers */
	INFER_LATENCY_AGES = 3, /* 20 numbers, log2 in units of 1/1024 */
};

struct infer_blob_head {
	uint32_t magic;
	uint16_t version;
	uint8_t encoder; /* enum infer_encoder */
	uint8_t n_layers;
	uint32_t bytes; /* of the whole blob */
	uint32_t model; /* number of the model this becomes in the module */
	int64_t threshold; /* score >= this is class 1 */
	char name[32]; /* for people; ends in a zero */
	uint16_t has_scaling; /* 0 or 1: inputs go through struct infer_blob_scale first */
	uint16_t reserved[3];
};

struct infer_blob_layer {
	uint16_t inputs, outputs;
	uint8_t shift; /* of a hidden layer's output; 0 in the last */
	uint8_t reserved[3];
};

/* x' = ((x - offset) * factor) >> shift, rounded down, limited to -32768..32767 */
struct infer_blob_scale {
	uint32_t offset;
	int32_t factor; /* within +-2^24 */
	uint8_t shift; /* at most 40 */
	uint8_t reserved[3];
};

/*
 * The blob: head; n_layers layers; if has_scaling, one scale an input; for each layer its biases, int64[outputs]; for
 * each layer its weights, int16[outputs][inputs].
 */

/* ---- the net, packed for all paths ---- */

struct infer_layer {
	uint16_t inputs, outputs;
	uint16_t pairs; /* of inputs, rounded up */
	uint16_t width; /* outputs, up to a multiple of 16 */
	uint16_t in_width; /* inputs, up to a multiple of 16 */
	uint8_t shift;
	bool narrow; /* inputs fit 16 bits and sums 32: pairs of products are added at once */
	bool last;
	/* narrow: int16 [pairs][width][2]; else int32 [outputs][in_width] */
	uint32_t weight_at; /* offset into the net, in bytes */
	uint32_t bias_at; /* narrow: int32 [width]; else int64 [outputs] */
};

struct infer_net {
	uint32_t bytes; /* of this whole allocation */
	uint32_t model;
	uint8_t encoder, n_layers;
	bool has_scaling;
	uint8_t outputs;
	uint16_t inputs;
	int32_t input_max; /* largest magnitude of an input that the proof covers; inputs are limited to it */
	int64_t threshold;
	char name[32];
	struct infer_layer layer[INFER_MAX_LAYERS];
	struct infer_blob_scale scale[INFER_MAX_WIDTH];
	char data[] __attribute__((aligned(64)));
};

/*
 * Memory that one inference works in. 64-byte aligned by its owner; contents need no initialisation. In a narrow layer's
 * input the numbers are int16 pairs.
 */
struct infer_scratch {
	int32_t a[INFER_MAX_WIDTH], b[INFER_MAX_WIDTH];
	uint32_t feature[INFER_MAX_WIDTH];
} __attribute__((aligned(64)));

/*
 * Is this a net that may be packed? 0 and the bytes that infer_net_pack() needs in *packed, or -EINVAL (malformed),
 * -EPROTONOSUPPORT (another version), -E2BIG (beyond a bound of this file). *why is a sentence then.
 */
int infer_net_check(const void *blob, size_t n_bytes, size_t *packed, const char **why);

/*
 * Pack into `net`, which has the bytes that infer_net_check() asked for, all zero. The blob must be the very bytes that
 * were checked and must not change meanwhile. 0, or -ERANGE with *why: a sum could overflow.
 */
int infer_net_pack(struct infer_net *net, const void *blob, const char **why);

/* One path through a net: x has been limited already, and lies in scratch->a as the first layer wants it. */
typedef void infer_path_fn(const struct infer_net *net, struct infer_scratch *scratch,
	int64_t outputs[INFER_MAX_OUTPUTS]);

infer_path_fn infer_run_scalar;
/* Only where the CPU has AVX2, or AVX-512 F and BW; in the kernel only between kernel_fpu_begin and _end. */
infer_path_fn infer_run_avx2, infer_run_avx512;

/* Features, as the encoder gave them, into scratch->a: scaled, limited, laid out. Any path, no vector registers. */
void infer_load(
	const struct infer_net *net, struct infer_scratch *scratch, const uint32_t *features);

/* Two outputs: their difference; one: itself. */
static inline int64_t infer_score(const struct infer_net *net, const int64_t *outputs)
{
	return net->outputs == 2 ? outputs[1] - outputs[0] : outputs[0];
}

#endif
