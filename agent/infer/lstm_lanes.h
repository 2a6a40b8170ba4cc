/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lstm_lanes.h - the body of the LSTM's vector engines, written once for any LANES: gates and exponentials. Never allocates.
 */
static void cell_of(const float *z, size_t units, float *cell, float *hidden)
{
	for (size_t u = 0; u < units; u += LANES) {
		vf input = vf_sigmoid(*(const vf *)(z + u));
		vf forget = vf_sigmoid(*(const vf *)(z + units + u));
		vf fresh = vf_tanh(*(const vf *)(z + 2 * units + u));
		vf output = vf_sigmoid(*(const vf *)(z + 3 * units + u));
		vf state = forget * *(vf *)(cell + u) + input * fresh;

		*(vf *)(cell + u) = state;
		*(vf *)(hidden + u) = output * vf_tanh(state);
	}
}

/* The last vector is not whole: its numbers go one by one, and those past n nowhere. */
static float exponentials(const float *x, size_t n, float largest, float *to)
{
	float last[LANES] __attribute__((aligned(64))), sum;
	vf total = { 0 };
	size_t i = 0;

	for (; i + LANES <= n; i += LANES) {
		vf e = vf_exp(*(const vf *)(x + i) - largest);

		total += e;
		memcpy(to + i, &e, sizeof(e));
	}
	sum = vf_total(total);
	if (i < n)
		*(vf *)last = vf_exp(*(const vf *)(x + i) - largest);
	for (size_t l = 0; i + l < n; l++)
		sum += to[i + l] = last[l];
	return sum;
}

const struct lstm_engine ENGINE = {
	.name = LANES_NAME,
	.product = PRODUCT,
	.cell = cell_of,
	.exponentials = exponentials,
};
