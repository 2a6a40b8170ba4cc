// SPDX-License-Identifier: Apache-2.0
/*
 * test_kmod_infer.c - the kernel module's inference, built here from the same source: every path this CPU has gives, to
 * the bit, what the agent's integer plan gives for LinnOS's net, and what plain 128-bit sums give for nets of any shape
 * and the most extreme weights; what could overflow is refused; the encoders give the agent's features.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "agent/infer/encode.h"
#include "agent/infer/import.h"
#include "agent/infer/infer.h"
#include "agent/infer/kernel_net.h"
#include "agent/infer/random.h"
#include "data.h"
#include "engine_nets.h"
#include "kmod/infer/features.h"
#include "kmod/infer/net.h"

static const struct {
	const char *name;
	infer_path_fn *run;
} paths[] = {
	{ "scalar", infer_run_scalar },
	{ "avx2", infer_run_avx2 },
	{ "avx512", infer_run_avx512 },
};

static bool have(size_t path)
{
	__builtin_cpu_init();
	return path == 0 || (path == 1 && __builtin_cpu_supports("avx2")) ||
	       (path == 2 && __builtin_cpu_supports("avx512f") &&
		       __builtin_cpu_supports("avx512bw"));
}

/* Check and pack; NULL and the error when it is refused. Fails the test when a check says yes to what cannot be. */
static struct infer_net *pack(const void *blob, size_t n, int *err)
{
	const char *why = NULL;
	struct infer_net *net;
	size_t packed = 0;

	*err = infer_net_check(blob, n, &packed, &why);
	if (*err) {
		assert_non_null(why);
		return NULL;
	}
	/* To the byte, so that a sanitizer sees one too many. */
	net = aligned_alloc(64, (packed + 63) / 64 * 64);
	assert_non_null(net);
	memset(net, 0, packed);
	*err = infer_net_pack(net, blob, &why);
	if (!*err)
		return net;
	assert_non_null(why);
	free(net);
	return NULL;
}

static void run_all(
	const struct infer_net *net, const uint32_t *features, const int64_t *expected, size_t n)
{
	static struct infer_scratch scratch;
	int64_t out[INFER_MAX_OUTPUTS];

	for (size_t p = 0; p < 3; p++) {
		if (!have(p))
			continue;
		memset(&scratch, 0xa5, sizeof(scratch)); /* what is left in it must not matter */
		memset(out, 0x5a, sizeof(out));
		infer_load(net, &scratch, features);
		paths[p].run(net, &scratch, out);
		if (memcmp(out, expected, n * sizeof(*out)))
			fail_msg("%s gives %lld, expected %lld", paths[p].name, (long long)out[0],
				(long long)expected[0]);
	}
}

/* ---- LinnOS's net against the agent's integer plan ---- */

static void compare_with_agent(const struct model *model, uint64_t seed, size_t rows)
{
	struct model_error error = { "" };
	struct random_state random = random_seed(seed);
	struct infer_plan *plan = infer_prepare(model, 1, INFER_INTEGER);
	struct infer_scratch *agent = infer_scratch_new(plan);
	size_t n_bytes = 0;
	void *blob = kernel_net_build(model, 3, &n_bytes, &error);
	struct infer_net *net;
	int err;

	if (!blob)
		fail_msg("%s", error.text);
	assert_true(plan && agent);
	net = pack(blob, n_bytes, &err);
	assert_non_null(net);
	assert_int_equal(net->model, 3);
	for (size_t r = 0; r < rows; r++) {
		uint32_t features[31];
		float row[31];
		int64_t expected[2];

		for (size_t i = 0; i < 31; i++) {
			/* all nines and all zeros too: the largest and the smallest sums */
			features[i] = r == 0 ? 9 : r == 1 ? 0 : (uint32_t)random_below(&random, 10);
			row[i] = (float)features[i];
		}
		assert_int_equal(infer_run_integer(plan, agent, row, 1, expected), 0);
		run_all(net, features, expected, 2);
	}
	free(net);
	free(blob);
	infer_scratch_free(agent);
	infer_free(plan);
}

static void linnos_random(void **state)
{
	static const uint32_t widths[] = { 31, 256, 2 };

	(void)state;
	for (uint64_t seed = 1; seed <= 8; seed++) {
		struct model *model = model_new("m", "linnos-digits", widths, 3);
		struct random_state random = random_seed(seed);

		assert_non_null(model);
		for (uint32_t l = 0; l < 2; l++) {
			struct model_layer *layer = &model->layer[l];

			layer->activation = l ? MODEL_LINEAR : MODEL_RELU;
			for (uint32_t i = 0; i < layer->inputs * layer->outputs; i++)
				layer->weight[i] = (float)(6 * random_unit(&random) - 3);
			for (uint32_t o = 0; o < layer->outputs; o++)
				layer->bias[o] = (float)(6 * random_unit(&random) - 3);
		}
		assert_int_equal(model_quantise(model), 0);
		compare_with_agent(model, seed + 100, 200);
		model_free(model);
	}
}

/* The weights LAKE published for its kernel module, if the recorded data is at hand. */
static void linnos_published(void **state)
{
	static const char *const names[] = { "linnos-lake/weights/float_c47a304_bias_0.csv.gz",
		"linnos-lake/weights/float_c47a304_bias_1.csv.gz",
		"linnos-lake/weights/float_c47a304_weight_0.csv.gz",
		"linnos-lake/weights/float_c47a304_weight_1.csv.gz" };
	struct import_options options = { .encoder = "linnos-digits", .decision_threshold = 0 };
	struct model_error error = { "" };
	static char path[4][512];
	const char *list[4];
	struct model *model;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		if (!data_path(names[i], path[i], sizeof(path[i])))
			skip();
		list[i] = path[i];
	}
	model = import_model(list, 4, &options, &error);
	if (!model)
		fail_msg("%s", error.text);
	if (!model->has_integer)
		assert_int_equal(model_quantise(model), 0);
	compare_with_agent(model, 7, 2000);
	model_free(model);
}

/* ---- nets with mean and scale, rounded to 16 bits ---- */

/* Decisions of the rounded net against those in double, where features are whole numbers within `most` deviations. */
static double agreement(const char *encoder, double unit, const uint32_t *widths, uint32_t n_widths,
	enum model_activation last, uint64_t seed)
{
	struct model *model = model_new("m", encoder, widths, n_widths);
	struct random_state random = random_seed(seed);
	static struct infer_scratch scratch;
	struct model_error error = { "" };
	struct infer_net *net;
	size_t n_bytes, same = 0, rows = 1000, positive = 0;
	void *blob;
	int err;

	assert_non_null(model);
	model->mean = calloc(widths[0], sizeof(float));
	model->scale = calloc(widths[0], sizeof(float));
	assert_true(model->mean && model->scale);
	for (uint32_t i = 0; i < widths[0]; i++) {
		/* from tens to hundreds of thousands, as sizes and latencies are */
		double size = unit < 1 ? 8 : pow(10, 1 + (double)i * 4 / widths[0]);

		model->mean[i] = (float)(size * (1 + random_unit(&random)));
		model->scale[i] = (float)(1 / (size * (0.3 + 0.3 * random_unit(&random))));
	}
	for (uint32_t l = 0; l + 1 < n_widths; l++) {
		struct model_layer *layer = &model->layer[l];

		layer->activation = l + 2 < n_widths ? MODEL_RELU : last;
		for (uint32_t i = 0; i < layer->inputs * layer->outputs; i++)
			layer->weight[i] = (float)((4 * random_unit(&random) - 2) /
						   sqrt((double)layer->inputs));
		for (uint32_t o = 0; o < layer->outputs; o++)
			layer->bias[o] = (float)(random_unit(&random) - 0.5);
	}
	model->decision_threshold = last == MODEL_SIGMOID ? 0.4f : -0.05f;
	blob = kernel_net_build(model, 0, &n_bytes, &error);
	if (!blob)
		fail_msg("%s", error.text);
	net = pack(blob, n_bytes, &err);
	assert_non_null(net);
	for (size_t r = 0; r < rows; r++) {
		uint32_t features[INFER_MAX_WIDTH];
		float row[INFER_MAX_WIDTH];
		int64_t out[INFER_MAX_OUTPUTS];
		double y[NETS_WIDEST];
		bool slow, rounded;

		for (uint32_t i = 0; i < widths[0]; i++) {
			double x =
				model->mean[i] + (6 * random_unit(&random) - 3) / model->scale[i];

			features[i] = x > 0 ? (uint32_t)(x / unit) : 0;
			row[i] = (float)(features[i] * unit);
		}
		nets_reference(model, row, y);
		slow = (model_outputs(model) == 2 ? y[1] - y[0] : y[0]) >=
		       model->decision_threshold;
		infer_load(net, &scratch, features);
		infer_run_scalar(net, &scratch, out);
		rounded = infer_score(net, out) >= net->threshold;
		run_all(net, features, out, net->outputs);
		same += slow == rounded;
		positive += slow;
	}
	/* A net that says one thing always would agree by itself. */
	if (positive < rows / 50 || positive > rows - rows / 50)
		same = rows + 1;
	free(net);
	free(blob);
	model_free(model);
	return (double)same / (double)rows;
}

static void rounded_nets(void **state)
{
	static const uint32_t heimdall[] = { 12, 128, 16, 1 }, ages[] = { 20, 64, 32, 2 };
	double least = 1;
	size_t used = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		double got[] = { agreement("heimdall", 1, heimdall, 4, MODEL_SIGMOID, seed),
			agreement("heimdall", 1, heimdall, 4, MODEL_LINEAR, seed + 50),
			agreement("latency-ages", 1.0 / 1024, ages, 4, MODEL_LINEAR, seed + 100) };

		for (size_t i = 0; i < 3; i++) {
			if (got[i] > 1)
				continue;
			used++;
			least = got[i] < least ? got[i] : least;
		}
	}
	printf("rounded nets decide as in double in at least %.1f %% of 1000 rows, %zu nets\n",
		least * 100, used);
	assert_true(used >= 15 && least >= 0.97);
}

/* What the kernel has no way to run is refused with a sentence. */
static void builder_refuses(void **state)
{
	static const uint32_t widths[] = { 31, 8, 2 }, wide[] = { 31, 300, 2 };
	struct model_error error;
	struct model *model = model_new("m", "linnos-digits", widths, 3);
	size_t n;

	(void)state;
	assert_non_null(model);
	model->layer[0].activation = MODEL_RELU;
	error.text[0] = 0;
	assert_null(kernel_net_build(model, 0, &n, &error)); /* no twin, no scale */
	assert_non_null(strstr(error.text, "integer twin"));
	assert_int_equal(model_quantise(model), 0);
	model->integer[0].weight[3] = 32768;
	assert_null(kernel_net_build(model, 0, &n, &error));
	assert_non_null(strstr(error.text, "16-bit"));
	model->integer[0].weight[3] = -32768;
	free(kernel_net_build(model, 0, &n, &error));
	model->layer[0].activation = MODEL_SIGMOID;
	assert_null(kernel_net_build(model, 0, &n, &error));
	snprintf(model->encoder, sizeof(model->encoder), "pending-only");
	assert_null(kernel_net_build(model, 0, &n, &error));
	assert_non_null(strstr(error.text, "pending-only"));
	model_free(model);
	model = model_new("m", "linnos-digits", wide, 3);
	assert_non_null(model);
	model->layer[0].activation = MODEL_RELU;
	assert_int_equal(model_quantise(model), 0);
	assert_null(kernel_net_build(model, 0, &n, &error));
	assert_non_null(strstr(error.text, "wider"));
	model_free(model);
}

/* ---- any shape, any weights, against sums of 128 bits ---- */

struct shape {
	uint32_t widths[INFER_MAX_LAYERS + 1], n_layers;
	uint8_t shift[INFER_MAX_LAYERS];
	bool scaled;
};

static uint8_t *make(const struct shape *shape, uint8_t encoder, int16_t (*weight)(void *),
	void *ctx, int64_t bias_max, size_t *n_bytes)
{
	struct infer_blob_head head = { .magic = INFER_NET_MAGIC,
		.version = INFER_NET_VERSION,
		.encoder = encoder,
		.n_layers = (uint8_t)shape->n_layers,
		.name = "made",
		.has_scaling = shape->scaled };
	size_t bytes = sizeof(head) + shape->n_layers * sizeof(struct infer_blob_layer);
	uint8_t *blob, *at;

	if (shape->scaled)
		bytes += shape->widths[0] * sizeof(struct infer_blob_scale);
	for (uint32_t l = 0; l < shape->n_layers; l++)
		bytes += shape->widths[l + 1] * 8 +
			 (size_t)shape->widths[l] * shape->widths[l + 1] * 2;
	blob = at = calloc(1, bytes);
	assert_non_null(blob);
	head.bytes = (uint32_t)bytes;
	memcpy(at, &head, sizeof(head));
	at += sizeof(head);
	for (uint32_t l = 0; l < shape->n_layers; l++, at += sizeof(struct infer_blob_layer)) {
		struct infer_blob_layer layer = { (uint16_t)shape->widths[l],
			(uint16_t)shape->widths[l + 1], shape->shift[l], { 0 } };

		memcpy(at, &layer, sizeof(layer));
	}
	for (uint32_t i = 0; shape->scaled && i < shape->widths[0]; i++) {
		struct infer_blob_scale scale = { 1000, i % 2 ? -(1 << 24) : 1 << 24,
			(uint8_t)(i % 25), { 0 } };

		memcpy(at, &scale, sizeof(scale));
		at += sizeof(scale);
	}
	for (uint32_t l = 0; l < shape->n_layers; l++)
		for (uint32_t o = 0; o < shape->widths[l + 1]; o++, at += 8) {
			int64_t bias = o % 3 == 0 ? bias_max : o % 3 == 1 ? -bias_max : (int64_t)o;

			memcpy(at, &bias, 8);
		}
	for (uint32_t l = 0; l < shape->n_layers; l++)
		for (size_t i = 0; i < (size_t)shape->widths[l] * shape->widths[l + 1];
			i++, at += 2) {
			int16_t w = weight(ctx);

			memcpy(at, &w, 2);
		}
	*n_bytes = bytes;
	return blob;
}

/* From the definition in net.h, with sums that cannot overflow. */
static void reference(const struct shape *shape, const uint8_t *blob, const uint32_t *features,
	int64_t limit, int64_t *out)
{
	const uint8_t *biases = blob + sizeof(struct infer_blob_head) +
				shape->n_layers * sizeof(struct infer_blob_layer);
	const uint8_t *weights;
	__int128 x[INFER_MAX_WIDTH], y[INFER_MAX_WIDTH];

	for (uint32_t i = 0; i < shape->widths[0]; i++) {
		if (shape->scaled) {
			struct infer_blob_scale s;
			__int128 v;

			memcpy(&s, biases + i * sizeof(s), sizeof(s));
			v = ((__int128)features[i] - s.offset) * s.factor >> s.shift;
			x[i] = v > 32767 ? 32767 : v < -32768 ? -32768 : v;
		} else {
			x[i] = features[i] > limit ? limit : features[i];
		}
	}
	if (shape->scaled)
		biases += shape->widths[0] * sizeof(struct infer_blob_scale);
	weights = biases;
	for (uint32_t l = 0; l < shape->n_layers; l++)
		weights += shape->widths[l + 1] * 8;
	for (uint32_t l = 0; l < shape->n_layers; l++) {
		for (uint32_t o = 0; o < shape->widths[l + 1]; o++, biases += 8) {
			int64_t bias;

			memcpy(&bias, biases, 8);
			y[o] = bias;
			for (uint32_t i = 0; i < shape->widths[l]; i++, weights += 2) {
				int16_t w;

				memcpy(&w, weights, 2);
				y[o] += w * x[i];
			}
			if (l + 1 == shape->n_layers) {
				out[o] = (int64_t)y[o];
				continue;
			}
			y[o] = y[o] < 0 ? 0 : y[o];
			if (shape->shift[l]) {
				y[o] = (y[o] + ((__int128)1 << (shape->shift[l] - 1))) >>
				       shape->shift[l];
				y[o] = y[o] > 32767 ? 32767 : y[o];
			}
		}
		memcpy(x, y, sizeof(x));
	}
}

struct weights {
	struct random_state random;
	int kind; /* 0 small, 1 anything, 2 the largest, 3 the smallest, 4 both */
};

static int16_t draw(void *ctx)
{
	struct weights *w = ctx;

	switch (w->kind) {
	case 0:
		return (int16_t)((int)random_below(&w->random, 201) - 100);
	case 1:
		return (int16_t)random_u64(&w->random);
	case 2:
		return 32767;
	case 3:
		return -32768;
	}
	return random_below(&w->random, 2) ? 32767 : -32768;
}

static void any_shape(void **state)
{
	struct random_state random = random_seed(42);
	size_t ran = 0, refused = 0;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		static const uint8_t inputs[] = { 0, 31, 12, 20 };
		uint8_t encoder = (uint8_t)(1 + random_below(&random, 3));
		struct weights weights = { random_seed(round), (int)random_below(&random, 5) };
		static const int64_t biases[] = { 0, 1000, 1LL << 31, 1LL << 59 };
		struct shape shape = { .n_layers = 1 + (uint32_t)random_below(&random, 4),
			.scaled = random_below(&random, 2) };
		int64_t out[INFER_MAX_OUTPUTS];
		uint32_t features[INFER_MAX_WIDTH];
		struct infer_net *net;
		uint8_t *blob;
		size_t n_bytes;
		int err;

		shape.widths[0] = inputs[encoder];
		for (uint32_t l = 0; l < shape.n_layers; l++) {
			bool last = l + 1 == shape.n_layers;

			shape.widths[l + 1] = 1 + (uint32_t)random_below(&random, last ? 4 : 90);
			shape.shift[l] = last ? 0 : (uint8_t)random_below(&random, 32);
		}
		blob = make(&shape, encoder, draw, &weights, biases[random_below(&random, 4)],
			&n_bytes);
		net = pack(blob, n_bytes, &err);
		if (!net) {
			assert_true(err == -ERANGE || err == -E2BIG);
			refused++;
		}
		for (int row = 0; net && row < 3; row++) {
			for (uint32_t i = 0; i < shape.widths[0]; i++)
				features[i] = row == 0	 ? UINT32_MAX
					      : row == 1 ? (uint32_t)random_below(&random, 40000)
							 : (uint32_t)random_u64(&random);
			reference(&shape, blob, features, encoder == 1 ? 9 : 32767, out);
			run_all(net, features, out, shape.widths[shape.n_layers]);
			ran++;
		}
		free(net);
		free(blob);
	}
	printf("%zu rows of random nets ran the same on all paths; %zu nets were refused\n", ran,
		refused);
	assert_true(ran > 3000 && refused > 20);
}

/* The bound is exact: a net whose largest sum is 2^31 - 1 stays narrow and right, one more makes it wide and right. */
static void at_the_bound(void **state)
{
	struct weights weights = { random_seed(1), 2 };
	const struct shape shape = { .widths = { 31, 1 }, .n_layers = 1 };
	const int64_t sum = 31LL * 9 * 32767;

	(void)state;
	for (int64_t over = 0; over < 2; over++) {
		uint32_t features[31];
		size_t n_bytes, at;
		uint8_t *blob = make(&shape, INFER_LINNOS_DIGITS, draw, &weights, 0, &n_bytes);
		int64_t bias = INT32_MAX - sum + over, out[INFER_MAX_OUTPUTS];
		struct infer_net *net;
		int err;

		at = sizeof(struct infer_blob_head) + sizeof(struct infer_blob_layer);
		memcpy(blob + at, &bias, 8);
		net = pack(blob, n_bytes, &err);
		assert_non_null(net);
		assert_int_equal(net->layer[0].narrow, !over);
		for (size_t i = 0; i < 31; i++)
			features[i] = 9;
		out[0] = INT32_MAX + over;
		run_all(net, features, out, 1);
		free(net);
		free(blob);
	}
}

/* ---- what an agent gone wrong could hand over ---- */

static void hostile(void **state)
{
	struct weights weights = { random_seed(3), 0 };
	const struct shape shape = {
		.widths = { 12, 8, 1 }, .n_layers = 2, .shift = { 4 }, .scaled = true
	};
	size_t n_bytes;
	uint8_t *blob = make(&shape, INFER_HEIMDALL, draw, &weights, 5, &n_bytes);
	size_t heads = sizeof(struct infer_blob_head) + 2 * sizeof(struct infer_blob_layer);
	struct infer_net *net;
	int err;

	(void)state;
	net = pack(blob, n_bytes, &err);
	assert_non_null(net);
	free(net);
	for (size_t n = 0; n < n_bytes; n++) {
		/* a copy of exactly n bytes, so that a sanitizer sees a read beyond them */
		uint8_t *cut = malloc(n ? n : 1);

		assert_non_null(cut);
		memcpy(cut, blob, n);
		assert_null(pack(cut, n, &err));
		free(cut);
	}
	for (size_t at = 0; at < heads; at++)
		for (int value = 0; value < 256; value++) {
			uint8_t was = blob[at];

			blob[at] = (uint8_t)value;
			free(pack(blob, n_bytes, &err));
			blob[at] = was;
		}
	free(blob);
}

/* ---- encoders ---- */

static void encoders(void **state)
{
	static const char *const names[] = { "linnos-digits", "heimdall", "latency-ages" };
	struct random_state random = random_seed(5);

	(void)state;
	for (int round = 0; round < 3000; round++) {
		struct semantos_block_record record;
		uint8_t *bytes = (uint8_t *)&record;

		for (size_t i = 0; i < sizeof(record); i++)
			bytes[i] = round == 0		      ? 0
				   : round == 1		      ? 255
				   : random_below(&random, 3) ? 0
							      : (uint8_t)random_u64(&random);
		for (int e = 0; e < 3; e++) {
			const struct encoder *encoder = encoder_find(names[e]);
			uint32_t mine[INFER_MAX_WIDTH];
			float theirs[ENCODE_MAX_FEATURES];

			encoder->encode(&record, theirs);
			infer_encode((enum infer_encoder)(e + 1), &record, mine);
			for (uint32_t i = 0; i < encoder->n_features; i++) {
				double expected = e == 2 ? theirs[i] * 1024.0 : floor(theirs[i]);

				if (fabs(mine[i] - expected) > (e == 2 ? 2 : 0))
					fail_msg("%s, feature %u: %u, expected %.1f", names[e], i,
						mine[i], expected);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(linnos_random),
		cmocka_unit_test(linnos_published),
		cmocka_unit_test(rounded_nets),
		cmocka_unit_test(builder_refuses),
		cmocka_unit_test(any_shape),
		cmocka_unit_test(at_the_bound),
		cmocka_unit_test(hostile),
		cmocka_unit_test(encoders),
	};

	for (size_t p = 0; p < 3; p++)
		printf("path %s: %s\n", paths[p].name, have(p) ? "checked" : "not on this CPU");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
