// SPDX-License-Identifier: Apache-2.0
/*
 * test_mlp.c - the integer net answers alike in the kernel and in user space, bit for bit; near the real net; and is
 * replaced whole, under readers.
 */
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <zlib.h>
#include "agent/infer/import.h"
#include "tests/bpf/mlp_run.h"
#include "tests/unit/data.h"
#include "tests/unit/engine_nets.h"

#define ROWS 400 /* of each net, through the kernel */
#define REAL_ROWS 100000 /* in user space, against double precision */
#define GARBAGE 200 /* nets that are no nets */
#define SWAPS 40
#define ASKS 50 /* between two swaps */
#define RECORDED_MOST 4096

static struct mlp_bpf bpf;

/* Nets this format takes, of engine_nets.h and the widest there is. */
static const struct net widest = { "16-16-16-16", { 16, 16, 16, 16 }, 4, 1000, true, false,
	MODEL_RELU, MODEL_SIGMOID };

static const struct net *fitting(size_t *at)
{
	while (*at < N_NETS) {
		const struct net *net = &nets[(*at)++];
		bool fits = net->n_widths <= MLP_LAYERS + 1;

		for (uint32_t i = 0; i < net->n_widths; i++)
			fits &= net->widths[i] <= MLP_WIDTH;
		if (fits)
			return net;
	}
	return (*at)++ == N_NETS ? &widest : NULL;
}

static uint32_t answer(const struct mlp_model *packed, const int64_t *x, int64_t *out)
{
	struct mlp_vectors v;
	uint32_t cls;

	memcpy(v.x, x, sizeof(v.x));
	mlp_run(packed, &v);
	cls = mlp_class(packed, &v);
	memcpy(out, v.x, sizeof(v.x));
	return cls;
}

static void same_bits(const struct mlp_model *packed, const int64_t *x)
{
	struct mlp_command command = { .x = { 0 } };
	int64_t expected[MLP_WIDTH];
	uint32_t cls = answer(packed, x, expected);

	memcpy(command.x, x, sizeof(command.x));
	assert_int_equal(mlp_bpf_run(bpf.once_fd, &command), 0);
	assert_memory_equal(command.x, expected, sizeof(expected));
	assert_int_equal(command.class, cls);
	assert_int_equal(command.generation, packed->generation);
}

static void kernel_and_user_space_agree(void **state)
{
	struct random_state random = random_seed(3);
	struct mlp_model packed;
	const struct net *net;
	size_t n_nets = 0;

	(void)state;
	for (size_t at = 0; (net = fitting(&at)); n_nets++) {
		struct model *model = nets_make(net, at);

		assert_int_equal(mlp_pack(model, (uint32_t)at, &packed), 0);
		assert_int_equal(mlp_bpf_set(&bpf, &packed), 0);
		for (int row = 0; row < ROWS; row++) {
			int64_t x[MLP_WIDTH] = { 0 };

			for (uint32_t i = 0; i < packed.inputs; i++)
				/* Every tenth row is anything at all, far out of bounds. */
				x[i] = row % 10 ? mlp_fixed((2 * random_unit(&random) - 1) *
							    (double)net->x_max)
						: (int64_t)random_u64(&random);
			same_bits(&packed, x);
		}
		model_free(model);
	}
	print_message("%zu nets, %d rows each\n", n_nets, ROWS);
	assert_true(n_nets >= 4);
}

/* A map may hold anything: the answer is then worth nothing, but it is an answer, and the same one. */
static void garbage_is_answered_alike(void **state)
{
	struct random_state random = random_seed(4);
	struct mlp_model packed;
	uint64_t *words = (uint64_t *)(void *)&packed;
	int64_t x[MLP_WIDTH];

	(void)state;
	for (int net = 0; net < GARBAGE; net++) {
		for (size_t i = 0; i < sizeof(packed) / sizeof(*words); i++)
			words[i] = random_u64(&random);
		if (net % 2) {
			packed.n_layers %= MLP_LAYERS + 1;
			packed.outputs %= MLP_WIDTH + 1;
			for (uint32_t l = 0; l < MLP_LAYERS; l++) {
				packed.layer[l].outputs %= MLP_WIDTH + 1;
				packed.layer[l].activation %= 4;
			}
		}
		for (uint32_t i = 0; i < MLP_WIDTH; i++)
			x[i] = (int64_t)random_u64(&random) >> random_below(&random, 64);
		assert_int_equal(mlp_bpf_set(&bpf, &packed), 0);
		same_bits(&packed, x);
	}
}

static void sigmoid_is_one(void **state)
{
	double worst = 0;

	(void)state;
	for (int i = 0; i <= 256; i++)
		assert_int_equal(mlp_sigmoid_table[i], lrint(ldexp(1 / (1 + exp(-i / 16.0)), 24)));
	for (int64_t x = -20 * MLP_ONE; x <= 20 * MLP_ONE; x++) {
		double error = fabs((double)mlp_sigmoid(x) / (double)MLP_ONE -
				    1 / (1 + exp(-(double)x / (double)MLP_ONE)));

		worst = error > worst ? error : worst;
	}
	print_message("largest error %.3g, stated %.3g\n", worst, MLP_SIGMOID_ERROR);
	assert_true(worst < MLP_SIGMOID_ERROR);
	assert_true(mlp_sigmoid(INT64_MAX / 4) == MLP_ONE && mlp_sigmoid(INT64_MIN / 4) == 0);
}

/* Score of class 1 or the likeliest class, as a decision is made from it. */
static uint32_t decision(const double *y, uint32_t n)
{
	uint32_t best = 0;

	if (n == 1)
		return y[0] >= 0;
	for (uint32_t o = 1; o < n; o++)
		if (y[o] > y[best])
			best = o;
	return best;
}

/* How many decisions agree with double precision; fails when an output is further off than was stated. */
static size_t near(const struct model *model, const float *rows, size_t n, double *worst)
{
	double most[MLP_WIDTH] = { 0 }, y[MLP_WIDTH], mine[MLP_WIDTH], bound;
	uint32_t inputs = model_inputs(model), outputs = model_outputs(model);
	struct mlp_model packed;
	size_t same = 0;

	for (size_t i = 0; i < n * inputs; i++)
		most[i % inputs] = fmax(most[i % inputs], fabs((double)rows[i]));
	bound = mlp_error_bound(model, most);
	assert_true(isfinite(bound));
	assert_int_equal(mlp_pack(model, 1, &packed), 0);
	for (size_t r = 0; r < n; r++) {
		int64_t x[MLP_WIDTH] = { 0 }, out[MLP_WIDTH];

		for (uint32_t i = 0; i < inputs; i++)
			x[i] = mlp_fixed((double)rows[r * inputs + i]);
		answer(&packed, x, out);
		nets_reference(model, rows + r * inputs, y);
		for (uint32_t o = 0; o < outputs; o++) {
			mine[o] = (double)out[o] / (double)MLP_ONE;
			*worst = fmax(*worst, fabs(mine[o] - y[o]));
			if (fabs(mine[o] - y[o]) > bound)
				fail_msg("row %zu: %g, in double %g, stated error %g", r, mine[o],
					y[o], bound);
		}
		same += decision(mine, outputs) == decision(y, outputs);
	}
	print_message("  %zu of %zu decisions agree; largest error %.3g, stated %.3g\n", same, n,
		*worst, bound);
	return same;
}

static void random_rows_stay_within_the_bound(void **state)
{
	static float rows[REAL_ROWS * MLP_WIDTH];
	struct random_state random = random_seed(5);

	(void)state;
	for (size_t at = 4; at < 6; at++) { /* MLLB, KML */
		struct model *model = nets_make(&nets[at], 7);
		double worst = 0;

		print_message("%s\n", nets[at].name);
		nets_fill(&nets[at], &random, rows, REAL_ROWS);
		assert_true((double)near(model, rows, REAL_ROWS, &worst) >= 0.999 * REAL_ROWS);
		model_free(model);
	}
}

static void what_does_not_fit_is_refused(void **state)
{
	static const uint32_t wide[] = { 17, 2 }, deep[] = { 2, 2, 2, 2, 2 }, fits[] = { 2, 2 };
	double most[] = { 1, 1e9 };
	struct mlp_model packed;
	struct model *model;

	(void)state;
	model = model_new("m", "e", wide, 2);
	assert_int_equal(mlp_pack(model, 1, &packed), -EINVAL);
	model_free(model);
	model = model_new("m", "e", deep, 5);
	assert_int_equal(mlp_pack(model, 1, &packed), -EINVAL);
	model_free(model);
	model = model_new("m", "e", fits, 2);
	assert_int_equal(mlp_pack(model, 1, &packed), 0);
	assert_true(isinf(mlp_error_bound(model, most)));
	model->layer[0].weight[1] = 512;
	assert_int_equal(mlp_pack(model, 1, &packed), -ERANGE);
	model->layer[0].weight[1] = NAN;
	assert_int_equal(mlp_pack(model, 1, &packed), -ERANGE);
	model->layer[0].weight[1] = 511;
	model->layer[0].bias[0] = -131072;
	assert_int_equal(mlp_pack(model, 1, &packed), -ERANGE);
	model_free(model);
}

static atomic_bool stop;
static atomic_uint asked;

static void *ask(void *arg)
{
	uint32_t *torn = arg, last = 0;

	while (!atomic_load(&stop)) {
		struct mlp_command command = { .x = { MLP_ONE } };

		if (mlp_bpf_run(bpf.once_fd, &command) || command.generation < last ||
			command.x[0] != (int64_t)command.generation * MLP_ONE ||
			command.x[15] != command.x[0])
			(*torn)++;
		last = command.generation;
		atomic_fetch_add(&asked, 1);
	}
	return NULL;
}

/* Each net answers its own generation at every output: half of one and half of another would show. */
static void a_net_is_replaced_whole(void **state)
{
	struct mlp_model packed = { .n_layers = 1, .inputs = 1, .outputs = MLP_WIDTH };
	uint32_t torn = 0;
	pthread_t reader;

	(void)state;
	packed.factor[0] = 1;
	packed.layer[0].outputs = MLP_WIDTH;
	packed.layer[0].chunks = 1;
	for (uint32_t generation = 1; generation <= SWAPS; generation++) {
		packed.generation = generation;
		for (int o = 0; o < MLP_WIDTH; o++)
			packed.layer[0].weight[o][0] = (int32_t)(generation * MLP_ONE);
		assert_int_equal(mlp_bpf_set(&bpf, &packed), 0);
		if (generation == 1)
			assert_int_equal(pthread_create(&reader, NULL, ask, &torn), 0);
		for (unsigned int from = atomic_load(&asked); atomic_load(&asked) - from < ASKS;)
			sched_yield();
	}
	atomic_store(&stop, true);
	pthread_join(reader, NULL);
	assert_int_equal(torn, 0);
}

/* Numbers of a file, all of them in order; returns how many. */
static size_t numbers(const char *name, size_t skip_lines, float *to, size_t most)
{
	static char line[1 << 12];
	char path[512];
	size_t n = 0;
	gzFile in;

	if (!data_path(name, path, sizeof(path)))
		return 0;
	in = gzopen(path, "rb");
	assert_non_null(in);
	while (gzgets(in, line, sizeof(line))) {
		char *at = line, *end;

		if (skip_lines) {
			skip_lines--;
			continue;
		}
		for (; n < most; at = end) {
			at += strspn(at, ", \t\r\n");
			to[n] = strtof(at, &end);
			if (end == at)
				break;
			n++;
		}
	}
	gzclose(in);
	return n;
}

/* Through the kernel: every row gives the bits user space gives, and a decision of its own. */
static void ask_kernel(
	const struct model *model, const float *rows, size_t n, double *first, uint32_t *classes)
{
	struct mlp_model packed;

	assert_int_equal(mlp_pack(model, 9, &packed), 0);
	assert_int_equal(mlp_bpf_set(&bpf, &packed), 0);
	for (size_t r = 0; r < n; r++) {
		struct mlp_command command = { .x = { 0 } };

		for (uint32_t i = 0; i < packed.inputs; i++)
			command.x[i] = mlp_fixed((double)rows[r * packed.inputs + i]);
		same_bits(&packed, command.x);
		assert_int_equal(mlp_bpf_run(bpf.once_fd, &command), 0);
		first[r] = (double)command.x[0] / (double)MLP_ONE;
		classes[r] = command.class;
	}
}

static void mllb_decides_as_published(void **state)
{
	static float rows[RECORDED_MOST * 18], features[RECORDED_MOST * 15];
	static double score[RECORDED_MOST];
	static uint32_t classes[RECORDED_MOST];
	const struct import_options options = { .encoder = "mllb", .decision_threshold = NAN };
	struct model_error error = { "" };
	char path[512];
	const char *list = path;
	struct model *model;
	double worst = 0;
	size_t n, same = 0;

	(void)state;
	if (!data_path("mllb/weights_model1.json", path, sizeof(path)))
		skip();
	model = import_model(&list, 1, &options, &error);
	if (!model)
		fail_msg("%s", error.text);
	n = numbers("mllb/predict_model1.csv.gz", 1, rows, RECORDED_MOST * 18) / 18;
	for (size_t r = 0; r < n; r++)
		memcpy(features + r * 15, rows + r * 18, 15 * sizeof(float));
	ask_kernel(model, features, n, score, classes);
	for (size_t r = 0; r < n; r++) {
		same += (score[r] > 0.5) == (rows[r * 18 + 16] > 0.5f);
		/* Published as floats of the original's own arithmetic. */
		assert_true(fabs(score[r] - (double)rows[r * 18 + 17]) < 0.05);
	}
	print_message("predict_model1: %zu of %zu decisions as recorded\n", same, n);
	assert_true(n > 60);
	assert_int_equal(same, n);
	n = numbers("mllb/post_default.csv.gz", 1, rows, RECORDED_MOST * 16) / 16;
	for (size_t r = 0; r < n; r++)
		memcpy(features + r * 15, rows + r * 16, 15 * sizeof(float));
	assert_int_equal(near(model, features, n, &worst), n);
	model_free(model);
}

static void kml_decides_as_published(void **state)
{
	static const uint32_t widths[] = { 5, 15, 5, 4 };
	static float rows[RECORDED_MOST], expected[RECORDED_MOST];
	static double score[RECORDED_MOST];
	static uint32_t classes[RECORDED_MOST];
	struct model *model = model_new("kml", "kml", widths, 4);
	double worst = 0;
	size_t n, right = 0;
	char name[64];

	(void)state;
	assert_non_null(model);
	for (uint32_t l = 0; l < 3; l++) {
		struct model_layer *layer = &model->layer[l];
		size_t weights = (size_t)layer->inputs * layer->outputs;

		snprintf(name, sizeof(name), "kml/nn_arch_data/linear%u_w.csv", l);
		if (numbers(name, 0, layer->weight, weights) != weights) {
			model_free(model);
			skip();
		}
		snprintf(name, sizeof(name), "kml/nn_arch_data/linear%u_bias.csv", l);
		assert_int_equal(numbers(name, 0, layer->bias, layer->outputs), layer->outputs);
		layer->activation = l < 2 ? MODEL_SIGMOID : MODEL_LINEAR;
	}
	n = numbers("kml/nn_arch_data/input.csv", 0, rows, RECORDED_MOST) / 5;
	assert_int_equal(n, 422);
	assert_int_equal(numbers("kml/nn_arch_data/output.csv", 0, expected, RECORDED_MOST), n);
	ask_kernel(model, rows, n, score, classes);
	for (size_t r = 0; r < n; r++)
		right += classes[r] == (uint32_t)expected[r];
	print_message("%zu of %zu right\n", right, n);
	assert_int_equal(right, 390);
	assert_int_equal(near(model, rows, n, &worst), n);
	model_free(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sigmoid_is_one),
		cmocka_unit_test(kernel_and_user_space_agree),
		cmocka_unit_test(garbage_is_answered_alike),
		cmocka_unit_test(random_rows_stay_within_the_bound),
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(a_net_is_replaced_whole),
		cmocka_unit_test(mllb_decides_as_published),
		cmocka_unit_test(kml_decides_as_published),
	};
	int err;

	if (geteuid() != 0 || access("/sys/kernel/btf/vmlinux", R_OK)) {
		printf("skipped: needs root and a kernel with BTF\n");
		return 77;
	}
	err = mlp_bpf_open(&bpf);
	if (err) {
		printf("the object is refused: %s\n", strerror(-err));
		return 1;
	}
	err = cmocka_run_group_tests(tests, NULL, NULL);
	mlp_bpf_close(&bpf);
	return err;
}
