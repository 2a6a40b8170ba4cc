/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * mlp.h - a small neural net in whole numbers, for decisions made in the kernel at the very event.
 *
 * The same lines run in a BPF program and in user space and give the same bits, so that a net is judged where it is
 * easy and used where it counts. Sized for nets like MLLB's 15-10-1 and KML's 5-15-5-4: up to MLP_LAYERS layers of up
 * to MLP_WIDTH inputs and outputs. Numbers are fixed point, 16 bits behind the point; sums are of 64 bits and cannot
 * overflow while inputs stay within MLP_MOST and weights within what mlp_pack() (agent/infer/mlp_pack.h) accepts;
 * should they not, they wrap, alike on both sides. Rows are padded to MLP_CHUNK inputs and MLP_GROUP outputs with weights
 * of zero, and numbers are compared without a branch, so that the verifier has few paths to walk.
 *
 * Error of the sigmoid: below MLP_SIGMOID_ERROR anywhere; straight lines between points a sixteenth apart.
 */
#ifndef SEMANTOS_BPF_MLP_H
#define SEMANTOS_BPF_MLP_H

#include "bpf/wire.h"
#include "bpf/lib/mlp_sigmoid.h"

#ifdef __bpf__
#define wire_s32 __s32
#define wire_s64 __s64
#else
#define wire_s32 int32_t
#define wire_s64 int64_t
#endif

#define MLP_LAYERS 3
#define MLP_WIDTH 16 /* inputs or outputs of a layer */
#define MLP_CHUNK 8 /* inputs are taken so many at a time */
#define MLP_GROUP 2 /* outputs likewise */
#define MLP_SHIFT 16 /* bits behind the point */
#define MLP_ONE ((wire_s64)1 << MLP_SHIFT)
#define MLP_MOST (((wire_s64)1 << 33) - 1) /* what a layer takes: just below 2^17 */
#define MLP_INPUT_MOST ((wire_s64)1 << 40) /* what the net takes before it is scaled: 2^24 */
#define MLP_SIGMOID_ERROR 6e-5

enum mlp_activation { MLP_LINEAR, MLP_RELU, MLP_SIGMOID };

struct mlp_layer {
	wire_u32 outputs;
	wire_u32 chunks; /* of MLP_CHUNK inputs */
	wire_u32 activation; /* enum mlp_activation */
	wire_u32 reserved;
	wire_s64 bias[MLP_WIDTH]; /* 32 bits behind the point, as products have */
	wire_s32 weight[MLP_WIDTH][MLP_WIDTH]; /* [output][input] */
};

/*
 * One net: the row of a map. generation is the writer's: a decision says which net made it. Inputs are scaled as
 * (x - mean) * factor / 2^shift, the factor of up to 21 bits; factor 1, shift 0 and mean 0 leave them as they are.
 */
struct mlp_model {
	wire_u32 generation;
	wire_u32 n_layers;
	wire_u32 inputs, outputs;
	wire_s64 mean[MLP_WIDTH];
	wire_s32 factor[MLP_WIDTH];
	wire_u32 shift[MLP_WIDTH];
	struct mlp_layer layer[MLP_LAYERS];
};
SEMANTOS_ASSERT_SIZE(struct mlp_layer, 16 + 8 * 16 + 4 * 256);
SEMANTOS_ASSERT_SIZE(struct mlp_model, 16 + 256 + 3 * sizeof(struct mlp_layer));

#define mlp_inline static inline __attribute__((always_inline))

/* The compiler must not turn what follows into a branch again. */
#ifdef __bpf__
#define mlp_opaque(var) asm volatile("" : "+r"(var))
#else
#define mlp_opaque(var) ((void)(var))
#endif

/* All ones when x is negative, else 0. */
mlp_inline wire_s64 mlp_sign(wire_s64 x)
{
	wire_s64 sign = x >> 63;

	mlp_opaque(sign);
	return sign;
}

/* Differences of any two numbers wrap, which C leaves open for signed ones. */
mlp_inline wire_s64 mlp_minus(wire_s64 a, wire_s64 b)
{
	return (wire_s64)((wire_u64)a - (wire_u64)b);
}

/* x, but no further from zero than most, which is below 2^62. */
mlp_inline wire_s64 mlp_bound(wire_s64 x, wire_s64 most)
{
	x = mlp_minus(x, most);
	x = (x & mlp_sign(x)) + 2 * most;
	return (x & ~mlp_sign(x)) - most;
}

mlp_inline wire_s64 mlp_sigmoid(wire_s64 x)
{
	wire_s64 sign = mlp_sign(x), size = (x ^ sign) - sign, at;
	wire_u64 i;

	size = mlp_bound(size, 16 * MLP_ONE - 1);
	i = (wire_u64)size >> (MLP_SHIFT - 4) & 0xff;
	at = mlp_sigmoid_table[i];
	at += ((wire_s64)mlp_sigmoid_table[i + 1] - at) * (size & (MLP_ONE / 16 - 1)) >>
	      (MLP_SHIFT - 4);
	at = (at + 128) >> 8;
	return (at ^ sign) - sign + (MLP_ONE & sign);
}

/* One output of `inputs` inputs, a number the compiler knows. Products and sums wrap as well. */
mlp_inline wire_s64 mlp_sum(
	const struct mlp_layer *layer, wire_u32 o, const wire_s64 *x, wire_u32 inputs)
{
	wire_u64 sum = (wire_u64)layer->bias[o] + ((wire_u64)1 << (MLP_SHIFT - 1));

#pragma GCC unroll 16
	for (wire_u32 i = 0; i < inputs; i++)
		sum += (wire_u64)(wire_s64)layer->weight[o][i] * (wire_u64)x[i];
	return mlp_bound((wire_s64)sum >> MLP_SHIFT, MLP_MOST);
}

/* MLP_GROUP outputs at a time, or the verifier would walk on from sixteen ends of the loop. */
mlp_inline void mlp_layer_run(const struct mlp_layer *layer, const wire_s64 *x, wire_s64 *y)
{
	for (wire_u32 first = 0; first < MLP_WIDTH; first += MLP_GROUP) {
		if (first >= layer->outputs)
			break;
		if (layer->chunks > 1)
			for (wire_u32 o = first; o < first + MLP_GROUP; o++)
				y[o] = mlp_sum(layer, o, x, MLP_WIDTH);
		else
			for (wire_u32 o = first; o < first + MLP_GROUP; o++)
				y[o] = mlp_sum(layer, o, x, MLP_CHUNK);
	}
	if (layer->activation == MLP_SIGMOID)
		for (wire_u32 o = 0; o < MLP_WIDTH; o++)
			y[o] = mlp_sigmoid(y[o]);
	else if (layer->activation == MLP_RELU)
		for (wire_u32 o = 0; o < MLP_WIDTH; o++)
			y[o] &= ~mlp_sign(y[o]);
}

/* Inputs, then outputs, and working memory. On the caller's stack: a program may interrupt another one on its CPU. */
struct mlp_vectors {
	wire_s64 x[MLP_WIDTH], y[MLP_WIDTH];
};

/* v->x: inputs, the rest of them zero; become the outputs. What lies beyond those is left over and means nothing. */
mlp_inline void mlp_run(const struct mlp_model *model, struct mlp_vectors *v)
{
	for (wire_u32 i = 0; i < MLP_WIDTH; i++) {
		wire_s64 scaled = mlp_minus(mlp_bound(v->x[i], MLP_INPUT_MOST), model->mean[i]);

		scaled = (wire_s64)((wire_u64)scaled * (wire_u64)(wire_s64)model->factor[i]) >>
			 (model->shift[i] & 63);
		v->x[i] = mlp_bound(scaled, MLP_MOST);
		v->y[i] = 0;
	}
	for (wire_u32 l = 0; l < MLP_LAYERS; l++) {
		if (l >= model->n_layers)
			break;
		mlp_layer_run(&model->layer[l], v->x, v->y);
		/* What a layer has no output for meets weights of zero in the next. */
		for (wire_u32 o = 0; o < MLP_WIDTH; o++)
			v->x[o] = v->y[o];
	}
}

/* The first of the largest outputs. */
mlp_inline wire_u32 mlp_class(const struct mlp_model *model, const struct mlp_vectors *v)
{
	wire_s64 most = v->x[0], best = 0;

	for (wire_s64 o = 1; o < MLP_WIDTH; o++) {
		wire_s64 better = mlp_sign(most - v->x[o]) & mlp_sign(o - (wire_s64)model->outputs);

		most = (v->x[o] & better) | (most & ~better);
		best = (o & better) | (best & ~better);
	}
	return (wire_u32)best;
}

#ifdef __bpf__
/*
 * Where a policy keeps its net: the outer array's one entry is a map that holds it. Whoever brings another net makes a
 * new inner map, fills it and puts it here: a program sees the old net or the new one, never a mixture, and the kernel
 * frees the old one when the last program is through with it.
 */
struct mlp_model_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct mlp_model));
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct mlp_model_map);
} mlp SEC(".maps");

/*
 * The class of v->x, which become the outputs. A global function: the verifier walks it once, however many programs of
 * the object call it.
 */
__noinline __u32 mlp_decide(const struct mlp_model *model, struct mlp_vectors *v)
{
	if (!model || !v)
		return 0;
	mlp_run(model, v);
	return mlp_class(model, v);
}

/* The net in force, or NULL before there is one. */
static __always_inline const struct mlp_model *mlp_model_in_force(void)
{
	__u32 zero = 0;
	void *inner = bpf_map_lookup_elem(&mlp, &zero);

	return inner ? bpf_map_lookup_elem(inner, &zero) : NULL;
}
#endif

#endif
