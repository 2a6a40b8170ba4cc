/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vector_math.h - vectors of LANES floats and what else is as wide; the exponential and its relatives; for agent/infer only.
 *
 * Included by lanes_avx2.h and lanes_avx512.h, which define LANES, vf_larger() and vf_smaller(), which return their second
 * argument when either is NaN, and VF_AVX512 where vectors are 512 bits wide. No table, no branch; NaN stays NaN.
 */
#define DOUBLES (LANES / 2)
#define EIGHT (8 / DOUBLES) /* vectors of eight doubles */

typedef float vf __attribute__((vector_size(4 * LANES), may_alias));
typedef int16_t vs __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t vi __attribute__((vector_size(4 * LANES), may_alias));
typedef int64_t vl __attribute__((vector_size(4 * LANES), may_alias));
typedef double vd __attribute__((vector_size(4 * LANES), may_alias));
typedef int32_t vw __attribute__((vector_size(4 * DOUBLES), may_alias));

/*
 * e^x for |x| <= 87, clamped outside; relative error below 2 ulp. x = n ln 2 + r with |r| <= ln 2 / 2; the Taylor
 * series to the seventh power leaves 5.2e-9 there; ln 2 is split so that n ln 2 is exact to 36 bits.
 */
static inline __attribute__((always_inline)) vf vf_exp(vf x)
{
	const float to_integer = 0x1.8p23f; /* adding it rounds to a whole number */
	vf n, r, sum;
	vi exponent;

	x = vf_larger((vf){ 0 } - 87.0f, vf_smaller((vf){ 0 } + 87.0f, x));
	n = (x * 0x1.715476p+0f + to_integer) - to_integer;
	r = x - n * 0x1.62e4p-1f;
	r = r - n * 0x1.7f7d1cp-20f;
	sum = r * (1.0f / 5040) + 1.0f / 720;
	sum = sum * r + 1.0f / 120;
	sum = sum * r + 1.0f / 24;
	sum = sum * r + 1.0f / 6;
	sum = sum * r + 0.5f;
	sum = sum * r + 1.0f;
	sum = sum * r + 1.0f;
	exponent = (__builtin_convertvector(n, vi) + 127) << 23;
	return sum * (vf)exponent;
}

#ifdef VF_AVX512
/*
 * Absolute error at most 4 * 2^-24, without a division. 2^t = 2^floor(t) p(t - floor(t)) with p the polynomial of degree 5
 * of least relative error on [0, 1] (9e-8, by Remez's exchange); the quotient is the CPU's 14-bit guess and one Newton
 * step. The bound on t keeps 1 + 2^t finite; NaN stays NaN.
 */
static inline __attribute__((always_inline)) vf vf_sigmoid(vf x)
{
	vf t = vf_smaller((vf){ 0 } + 120.0f, x * -0x1.715476p+0f), r, sum, guess;

	r = (vf)_mm512_reduce_ps((__m512)t, _MM_FROUND_TO_NEG_INF);
	sum = r * 0x1.ec3202p-10f + 0x1.26901p-7f;
	sum = sum * r + 0x1.c95446p-5f;
	sum = sum * r + 0x1.ebd5a8p-3f;
	sum = sum * r + 0x1.62e4f6p-1f;
	sum = sum * r + 0x1.fffffep-1f;
	sum = 1.0f + (vf)_mm512_scalef_ps((__m512)sum, (__m512)t);
	guess = (vf)_mm512_rcp14_ps((__m512)sum);
	return guess * (2.0f - sum * guess);
}
#else
/* Absolute error at most 4 * 2^-24. */
static inline __attribute__((always_inline)) vf vf_sigmoid(vf x)
{
	return 1.0f / (1.0f + vf_exp(-x));
}
#endif

/* Absolute error at most 8 * 2^-24: what an LSTM cell needs, not what a small argument could have. */
static inline __attribute__((always_inline)) vf vf_tanh(vf x)
{
	return 2.0f * vf_sigmoid(2.0f * x) - 1.0f;
}
