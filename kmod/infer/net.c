// SPDX-License-Identifier: GPL-2.0 OR Apache-2.0
/*
 * net.c - checks and packs a net, and runs it without vector registers.
 *
 * Everything that reads the bytes an agent handed over is here. The plain path is the reference that the others are
 * compared with; it is also what runs where the kernel's FPU is not to be had.
 */
#include "kmod/infer/net.h"
#include "kmod/infer/path.h"

_Static_assert(sizeof(struct infer_blob_head) == 64, "layout of the blob");
_Static_assert(sizeof(struct infer_blob_layer) == 8, "layout of the blob");
_Static_assert(sizeof(struct infer_blob_scale) == 12, "layout of the blob");

#define ALIGN_TO(value, to) (((value) + (to) - 1) / (to) * (to))

/* Inputs an encoder gives, and the largest of them before scaling; 0 for an unknown one. */
static uint32_t encoder_inputs(uint32_t encoder)
{
	switch (encoder) {
	case INFER_LINNOS_DIGITS:
		return 31;
	case INFER_HEIMDALL:
		return 12;
	case INFER_LATENCY_AGES:
		return 20;
	}
	return 0;
}

static int refuse(const char **why, const char *text, int error)
{
	*why = text;
	return error;
}

/* Where the parts of a blob lie. Offsets are within the blob once check_layers() has said so. */
struct parts {
	struct infer_blob_head head;
	struct infer_blob_layer layer[INFER_MAX_LAYERS];
	size_t scale_at, bias_at, weight_at;
};

static int check_layers(const uint8_t *blob, struct parts *p, size_t *end, const char **why)
{
	uint32_t macs = 0, biases = 0, inputs = encoder_inputs(p->head.encoder);

	for (uint32_t i = 0; i < p->head.n_layers; i++) {
		struct infer_blob_layer *layer = &p->layer[i];
		bool last = i + 1u == p->head.n_layers;

		memcpy(layer, blob + sizeof(p->head) + i * sizeof(*layer), sizeof(*layer));
		if (layer->reserved[0] || layer->reserved[1] || layer->reserved[2])
			return refuse(why, "a reserved byte of a layer is not zero", -EINVAL);
		if (layer->inputs != inputs)
			return refuse(
				why, "a layer does not take what the one before gives", -EINVAL);
		if (layer->outputs < 1 ||
			layer->outputs > (last ? INFER_MAX_OUTPUTS : INFER_MAX_WIDTH))
			return refuse(why, "a layer has no outputs, or too many", -E2BIG);
		if (layer->shift > (last ? 0 : INFER_MAX_SHIFT))
			return refuse(why, "a layer's shift is out of range", -EINVAL);
		macs += (uint32_t)layer->inputs * layer->outputs;
		biases += layer->outputs;
		inputs = layer->outputs;
	}
	if (macs > INFER_MAX_MACS)
		return refuse(why, "the net takes more multiplications than one read may", -E2BIG);
	p->scale_at = sizeof(p->head) + p->head.n_layers * sizeof(p->layer[0]);
	p->bias_at = p->scale_at + (p->head.has_scaling ? p->layer[0].inputs : 0) *
					   sizeof(struct infer_blob_scale);
	p->weight_at = p->bias_at + biases * sizeof(int64_t);
	*end = p->weight_at + macs * sizeof(int16_t);
	return 0;
}

static int find_parts(const void *blob, size_t n_bytes, struct parts *p, const char **why)
{
	size_t end;
	int err;

	if (n_bytes < sizeof(p->head))
		return refuse(why, "it is shorter than its head", -EINVAL);
	if (n_bytes > INFER_MAX_BYTES)
		return refuse(why, "it is larger than a net may be", -E2BIG);
	memcpy(&p->head, blob, sizeof(p->head));
	if (p->head.magic != INFER_NET_MAGIC)
		return refuse(why, "it does not begin as a net does", -EINVAL);
	if (p->head.version != INFER_NET_VERSION)
		return refuse(why, "it is of another version", -EPROTONOSUPPORT);
	if (p->head.bytes != n_bytes)
		return refuse(why, "its length is not what its head says", -EINVAL);
	if (!encoder_inputs(p->head.encoder))
		return refuse(why, "its encoder is not known here", -EINVAL);
	if (p->head.n_layers < 1 || p->head.n_layers > INFER_MAX_LAYERS)
		return refuse(why, "it has no layers, or too many", -E2BIG);
	if (p->head.has_scaling > 1 || p->head.reserved[0] || p->head.reserved[1] ||
		p->head.reserved[2])
		return refuse(why, "a reserved field of its head is not zero", -EINVAL);
	if (memchr(p->head.name, 0, sizeof(p->head.name)) == NULL)
		return refuse(why, "its name has no end", -EINVAL);
	if (n_bytes < sizeof(p->head) + p->head.n_layers * sizeof(p->layer[0]))
		return refuse(why, "it is cut off within its layers", -EINVAL);
	err = check_layers(blob, p, &end, why);
	if (err)
		return err;
	if (end != n_bytes)
		return refuse(why, "its length is not that of its layers", -EINVAL);
	return 0;
}

/* Bytes of a layer's weights and biases, whichever way it will be packed. */
static size_t layer_bytes(const struct infer_blob_layer *layer)
{
	size_t width = ALIGN_TO((size_t)layer->outputs, 16);
	size_t in_width = ALIGN_TO((size_t)layer->inputs, 16);
	size_t narrow = (layer->inputs + 1u) / 2 * width * 4 + width * 4;
	size_t wide = layer->outputs * in_width * 4 + layer->outputs * 8u;

	return ALIGN_TO(narrow > wide ? narrow : wide, 64) + 64;
}

int infer_net_check(const void *blob, size_t n_bytes, size_t *packed, const char **why)
{
	struct parts p;
	int err = find_parts(blob, n_bytes, &p, why);

	if (err)
		return err;
	for (uint32_t i = 0; p.head.has_scaling && i < p.layer[0].inputs; i++) {
		struct infer_blob_scale s;

		memcpy(&s, (const char *)blob + p.scale_at + i * sizeof(s), sizeof(s));
		if (s.factor < -(1 << 24) || s.factor > 1 << 24 || s.shift > 40 || s.reserved[0] ||
			s.reserved[1] || s.reserved[2])
			return refuse(why, "the scale of an input is out of range", -EINVAL);
	}
	*packed = sizeof(struct infer_net);
	for (uint32_t i = 0; i < p.head.n_layers; i++)
		*packed += layer_bytes(&p.layer[i]);
	return 0;
}

static int16_t weight_in(const char *weights, size_t index)
{
	int16_t value;

	memcpy(&value, weights + index * sizeof(value), sizeof(value));
	return value;
}

static int64_t bias_in(const char *biases, size_t index)
{
	int64_t value;

	memcpy(&value, biases + index * sizeof(value), sizeof(value));
	return value;
}

/*
 * The largest magnitude any partial sum of a layer can reach in any order. With at most 256 weights of 2^15, inputs of
 * 2^31 and a bias of 2^60 it is below 2^61.
 */
static int64_t bound_of(const struct infer_blob_layer *layer, const char *weights,
	const char *biases, int64_t x_max)
{
	int64_t most = 0;

	for (uint32_t o = 0; o < layer->outputs; o++) {
		int64_t bias = bias_in(biases, o), sum;

		if (bias > 1LL << 60 || bias < -(1LL << 60))
			return -1;
		sum = bias < 0 ? -bias : bias;
		for (uint32_t i = 0; i < layer->inputs; i++) {
			int64_t w = weight_in(weights, (size_t)o * layer->inputs + i);

			sum += (w < 0 ? -w : w) * x_max;
		}
		most = sum > most ? sum : most;
	}
	return most;
}

static void pack_layer(
	struct infer_net *net, struct infer_layer *to, const char *weights, const char *biases)
{
	char *w = (char *)net + to->weight_at, *b = (char *)net + to->bias_at;

	for (uint32_t o = 0; o < to->outputs; o++) {
		if (to->narrow)
			((int32_t *)b)[o] = (int32_t)bias_in(biases, o);
		else
			((int64_t *)b)[o] = bias_in(biases, o);
		for (uint32_t i = 0; i < to->inputs; i++) {
			int16_t weight = weight_in(weights, (size_t)o * to->inputs + i);

			if (to->narrow)
				((int16_t *)w)[(i / 2 * to->width + o) * 2 + i % 2] = weight;
			else
				((int32_t *)w)[o * to->in_width + i] = weight;
		}
	}
}

int infer_net_pack(struct infer_net *net, const void *blob, const char **why)
{
	const char *bytes = blob, *weights, *biases;
	struct parts p;
	int64_t x_max, bound;
	size_t at = sizeof(*net), n_bytes;
	int err;

	memcpy(&p.head, blob, sizeof(p.head));
	n_bytes = p.head.bytes;
	err = find_parts(blob, n_bytes, &p, why);
	if (err)
		return err;
	net->model = p.head.model;
	net->encoder = p.head.encoder;
	net->n_layers = p.head.n_layers;
	net->has_scaling = p.head.has_scaling;
	net->threshold = p.head.threshold;
	net->inputs = p.layer[0].inputs;
	memcpy(net->name, p.head.name, sizeof(net->name));
	if (net->has_scaling)
		memcpy(net->scale, bytes + p.scale_at, net->inputs * sizeof(net->scale[0]));
	/* Digits are digits; whatever else is not scaled is limited to what 16 bits hold. */
	net->input_max = net->has_scaling			 ? 32768
			 : p.head.encoder == INFER_LINNOS_DIGITS ? 9
								 : 32767;
	x_max = net->input_max;
	weights = bytes + p.weight_at;
	biases = bytes + p.bias_at;
	for (uint32_t i = 0; i < net->n_layers; i++) {
		const struct infer_blob_layer *from = &p.layer[i];
		struct infer_layer *to = &net->layer[i];

		to->inputs = from->inputs;
		to->outputs = from->outputs;
		to->pairs = (uint16_t)((from->inputs + 1) / 2);
		to->width = (uint16_t)ALIGN_TO(from->outputs, 16);
		to->in_width = (uint16_t)ALIGN_TO(from->inputs, 16);
		to->shift = from->shift;
		to->last = i + 1u == net->n_layers;
		bound = bound_of(from, weights, biases, x_max);
		if (bound < 0)
			return refuse(why, "a bias is too large", -ERANGE);
		/* Inputs of -32768 come only from scaling; hidden ones are never negative. */
		to->narrow = x_max <= (i ? 32767 : 32768) && bound <= INT_MAX;
		to->weight_at = (uint32_t)ALIGN_TO(at, 64);
		to->bias_at = to->weight_at + (to->narrow ? to->pairs * to->width * 4u
							  : to->outputs * to->in_width * 4u);
		pack_layer(net, to, weights, biases);
		at += layer_bytes(from);
		if (!to->last) {
			x_max = to->shift ? 32767 : bound;
			if (x_max > INT_MAX)
				return refuse(why,
					"the numbers between two layers could exceed 32 bits",
					-ERANGE);
		}
		weights += (size_t)from->inputs * from->outputs * sizeof(int16_t);
		biases += from->outputs * sizeof(int64_t);
	}
	net->outputs = (uint8_t)net->layer[net->n_layers - 1].outputs;
	net->bytes = (uint32_t)at;
	return 0;
}

static int32_t scaled(const struct infer_blob_scale *scale, uint32_t value)
{
	int64_t x = ((int64_t)value - scale->offset) * scale->factor >> scale->shift;

	return x > 32767 ? 32767 : x < -32768 ? -32768 : (int32_t)x;
}

void infer_load(
	const struct infer_net *net, struct infer_scratch *scratch, const uint32_t *features)
{
	const struct infer_layer *first = &net->layer[0];

	/* What lies between the last input and the padded width is multiplied by zero weights, but must be defined. */
	memset(scratch->a, 0, first->in_width * sizeof(*scratch->a));
	for (uint32_t i = 0; i < net->inputs; i++) {
		uint32_t most = (uint32_t)net->input_max;
		int32_t x = net->has_scaling	 ? scaled(&net->scale[i], features[i])
			    : features[i] > most ? (int32_t)most
						 : (int32_t)features[i];

		infer_put(scratch->a, i, x, first->narrow);
	}
}

static int64_t plain_sum(
	const struct infer_net *net, const struct infer_layer *layer, const int32_t *x, uint32_t o)
{
	const char *weight = infer_weight(net, layer), *bias = infer_bias(net, layer);
	int64_t sum64;
	int32_t sum;

	if (layer->narrow) {
		const int16_t *w = (const int16_t *)weight + 2 * o, *x16 = (const int16_t *)x;

		sum = ((const int32_t *)bias)[o];
		for (uint32_t i = 0; i < layer->pairs; i++, w += 2 * layer->width)
			sum += w[0] * x16[2 * i] + w[1] * x16[2 * i + 1];
		return sum;
	}
	sum64 = ((const int64_t *)bias)[o];
	for (uint32_t i = 0; i < layer->inputs; i++)
		sum64 += (int64_t)((const int32_t *)weight)[o * layer->in_width + i] * x[i];
	return sum64;
}

void infer_run_scalar(const struct infer_net *net, struct infer_scratch *scratch,
	int64_t outputs[INFER_MAX_OUTPUTS])
{
	int32_t *x = scratch->a, *y = scratch->b, *swap;

	for (uint32_t l = 0; l < net->n_layers; l++) {
		const struct infer_layer *layer = &net->layer[l];

		if (layer->last) {
			for (uint32_t o = 0; o < layer->outputs; o++)
				outputs[o] = plain_sum(net, layer, x, o);
			return;
		}
		memset(y, 0, layer->width * sizeof(*y));
		for (uint32_t o = 0; o < layer->outputs; o++)
			infer_put(y, o, infer_hidden(plain_sum(net, layer, x, o), layer->shift),
				layer[1].narrow);
		swap = x;
		x = y;
		y = swap;
	}
}
