// SPDX-License-Identifier: Apache-2.0
/*
 * test_train.c - the trainer learns what can be learned, its gradients are right, it repeats itself for a seed, stops
 * when told, and refuses what it cannot train on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "agent/infer/infer.h"
#include "agent/infer/random.h"
#include "agent/infer/score.h"
#include "agent/infer/train.h"

#define ROWS 4000
#define WIDE 4

static float rows[ROWS * WIDE];
static uint8_t labels[ROWS];

static struct train_options options_adam(void)
{
	return (struct train_options){
		.optimiser = TRAIN_ADAM,
		.loss = TRAIN_CROSS_ENTROPY,
		.learning_rate = 5e-3f,
		.slow_weight = 1,
		.epochs = 20,
		.batch = 64,
		.seed = 1,
	};
}

/* Exclusive or of two signs: no line separates it. The other features are noise, one of them constant. */
static void make_xor(float offset, float stretch)
{
	struct random_state random = random_seed(8);

	for (size_t r = 0; r < ROWS; r++) {
		float x = (float)(2 * random_unit(&random) - 1),
		      y = (float)(2 * random_unit(&random) - 1);

		rows[r * WIDE] = offset + stretch * x;
		rows[r * WIDE + 1] = offset + stretch * y;
		rows[r * WIDE + 2] = (float)random_unit(&random);
		rows[r * WIDE + 3] = 1;
		labels[r] = (x > 0) != (y > 0);
	}
}

static struct score_confusion judge(const struct model *model)
{
	static float scores[ROWS];
	struct infer_plan *plan = infer_prepare(model, ROWS, INFER_FLOAT);
	struct infer_scratch *scratch = infer_scratch_new(plan);

	assert_true(plan && scratch);
	assert_int_equal(infer_run(plan, scratch, rows, ROWS, scores), 0);
	infer_scratch_free(scratch);
	infer_free(plan);
	return score_confuse(scores, labels, ROWS, model->decision_threshold);
}

static struct model *make_model(uint32_t outputs)
{
	const uint32_t widths[] = { WIDE, 24, outputs };
	struct model *model = model_new("m", "e", widths, 3);

	assert_non_null(model);
	return model;
}

static void every_way_learns_what_no_line_can(void **state)
{
	(void)state;
	make_xor(0, 1);
	for (int way = 0; way < 8; way++) {
		struct train_options options = options_adam();
		struct model *model = make_model(way & 1 ? 2 : 1);
		struct train_report report;
		double accuracy;

		options.epochs = 80;
		options.loss = way & 2 ? TRAIN_HINGE : TRAIN_CROSS_ENTROPY;
		if (way & 4) {
			options.optimiser = TRAIN_SGD;
			options.learning_rate = 0.05f;
			options.momentum = 0.9f;
		}
		assert_int_equal(train_mlp(model, rows, labels, ROWS, &options, &report), 0);
		accuracy = score_accuracy(judge(model));
		print_message("  way %d: loss %.3f to %.3f, accuracy %.3f\n", way,
			(double)report.loss_first, (double)report.loss_last, accuracy);
		assert_true(accuracy > 0.95);
		assert_true(report.loss_last < report.loss_first / 2);
		assert_int_equal(report.epochs, 80);
		model_free(model);
	}
}

static void hidden_sigmoids_and_three_layers_learn(void **state)
{
	const uint32_t widths[] = { WIDE, 24, 9, 2 };

	(void)state;
	make_xor(0, 1);
	for (enum model_activation kind = MODEL_RELU; kind <= MODEL_SIGMOID; kind++) {
		struct train_options options = options_adam();
		struct model *model = model_new("m", "e", widths, 4);

		model->layer[0].activation = kind;
		model->layer[1].activation = kind;
		options.learning_rate = 2e-2f;
		options.epochs = 80;
		assert_int_equal(train_mlp(model, rows, labels, ROWS, &options, NULL), 0);
		assert_true(score_accuracy(judge(model)) > 0.95);
		model_free(model);
	}
}

static void standardising_makes_raw_numbers_learnable(void **state)
{
	struct train_options options = options_adam();
	struct model *model = make_model(2);

	(void)state;
	make_xor(30000, 500);
	options.standardise = true;
	assert_int_equal(train_mlp(model, rows, labels, ROWS, &options, NULL), 0);
	assert_non_null(model->mean);
	assert_true(fabsf(model->mean[0] - 30000) < 30);
	assert_true(
		model->scale[3] == 0); /* the constant one is left out, not divided by nothing */
	assert_true(score_accuracy(judge(model)) > 0.95);
	options.standardise = false;
	options.epochs = 1;
	assert_int_equal(train_mlp(model, rows, labels, ROWS, &options, NULL), 0);
	assert_null(model->mean);
	model_free(model);
}

/* One full batch of plain SGD moves each weight by -rate * dL/dw: compare with the loss a little to either side. */
static void gradients_are_those_of_the_loss(void **state)
{
	(void)state;
	make_xor(0, 1);
	for (int way = 0; way < 4; way++) {
		struct train_options options = options_adam();
		const uint32_t widths[] = { WIDE, 5, 3, 1 + (way & 1) };
		struct model *start = model_new("m", "e", widths, 4), *end;
		const float rate = 1e-3f, small = 1e-2f;
		const size_t n = 200;
		struct train_report report;

		options.optimiser = TRAIN_SGD;
		options.loss = way & 2 ? TRAIN_HINGE : TRAIN_CROSS_ENTROPY;
		options.slow_weight =
			way & 2 ? 1 : 5; /* hinge's weight jumps: no derivative there */
		options.epochs = 1;
		options.batch = n;
		start->layer[0].activation = start->layer[1].activation = MODEL_SIGMOID;
		/* A vanishing rate leaves the initial weights in the model. */
		options.learning_rate = 1e-30f;
		assert_int_equal(train_mlp(start, rows, labels, n, &options, &report), 0);
		end = model_clone(start);
		options.learning_rate = rate;
		assert_int_equal(train_mlp(end, rows, labels, n, &options, &report), 0);
		for (uint32_t l = 0; l < 3; l++)
			for (uint32_t i = 0; i < start->layer[l].inputs * start->layer[l].outputs;
				i++) {
				float *w = &start->layer[l].weight[i], kept = *w;
				double slope = (kept - end->layer[l].weight[i]) / rate, loss[2];

				for (int side = 0; side < 2; side++) {
					static float scores[ROWS];
					struct infer_plan *plan;
					struct infer_scratch *scratch;

					*w = side ? kept + small : kept - small;
					plan = infer_prepare(start, ROWS, INFER_FLOAT);
					scratch = infer_scratch_new(plan);
					infer_run(plan, scratch, rows, n, scores);
					infer_scratch_free(scratch);
					infer_free(plan);
					loss[side] = 0;
					for (size_t r = 0; r < n; r++) {
						double s = labels[r] ? scores[r] : -scores[r];
						double weight = labels[r] ? options.slow_weight : 1;

						loss[side] += weight *
							      (way & 2 ? fmax(0, 1 - s)
								       : log1p(exp(-s))) /
							      n;
					}
				}
				*w = kept;
				if (fabs(slope - (loss[1] - loss[0]) / (2 * small)) > 2e-3)
					fail_msg(
						"way %d layer %u weight %u: slope %g, loss says %g",
						way, l, i, slope,
						(loss[1] - loss[0]) / (2 * small));
			}
		model_free(start);
		model_free(end);
	}
}

static void slow_weight_buys_recall(void **state)
{
	struct random_state random = random_seed(3);

	(void)state;
	for (size_t r = 0; r < ROWS; r++) {
		labels[r] = random_below(&random, 5) == 0;
		for (int i = 0; i < WIDE; i++)
			rows[r * WIDE + i] = (float)(random_unit(&random) + 0.3 * labels[r]);
	}
	for (int loss = TRAIN_CROSS_ENTROPY; loss <= TRAIN_HINGE; loss++) {
		struct train_options options = options_adam();
		struct model *plain = make_model(2), *weighted = make_model(2);

		options.loss = (enum train_loss)loss;
		assert_int_equal(train_mlp(plain, rows, labels, ROWS, &options, NULL), 0);
		options.slow_weight = 5;
		assert_int_equal(train_mlp(weighted, rows, labels, ROWS, &options, NULL), 0);
		assert_true(score_recall(judge(weighted)) > score_recall(judge(plain)) + 0.1);
		model_free(plain);
		model_free(weighted);
	}
}

static void same_seed_same_weights(void **state)
{
	struct train_options options = options_adam();
	struct model *a = make_model(2), *b = make_model(2), *c = make_model(2);

	(void)state;
	make_xor(0, 1);
	options.epochs = 2;
	assert_int_equal(train_mlp(a, rows, labels, ROWS, &options, NULL), 0);
	assert_int_equal(train_mlp(b, rows, labels, ROWS, &options, NULL), 0);
	options.seed = 2;
	assert_int_equal(train_mlp(c, rows, labels, ROWS, &options, NULL), 0);
	assert_memory_equal(a->layer[0].weight, b->layer[0].weight, WIDE * 24 * sizeof(float));
	assert_memory_not_equal(a->layer[0].weight, c->layer[0].weight, WIDE * 24 * sizeof(float));
	model_free(a);
	model_free(b);
	model_free(c);
}

static void a_twin_is_kept_in_step(void **state)
{
	struct train_options options = options_adam();
	struct model *model = make_model(2);

	(void)state;
	make_xor(0, 1);
	options.epochs = 1;
	assert_int_equal(model_quantise(model), 0);
	assert_int_equal(train_mlp(model, rows, labels, ROWS, &options, NULL), 0);
	assert_true(model->has_integer);
	assert_int_equal(model->integer[0].weight[0], lroundf(model->layer[0].weight[0] * 1000));
	model_free(model);
}

static void *cancel_soon(void *flag)
{
	struct timespec pause = { 0, 50000000 };

	nanosleep(&pause, NULL);
	atomic_store((atomic_bool *)flag, true);
	return NULL;
}

static void cancelling_stops_it_and_spares_the_model(void **state)
{
	struct train_options options = options_adam();
	struct model *model = make_model(2);
	struct timespec start, end;
	atomic_bool flag = false;
	pthread_t thread;

	(void)state;
	make_xor(0, 1);
	options.epochs = 1000000;
	options.cancel = &flag;
	model->layer[0].weight[0] = 42;
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &flag), 0);
	clock_gettime(CLOCK_MONOTONIC, &start);
	assert_int_equal(train_mlp(model, rows, labels, ROWS, &options, NULL), -ECANCELED);
	clock_gettime(CLOCK_MONOTONIC, &end);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(end.tv_sec - start.tv_sec < 5);
	assert_true(model->layer[0].weight[0] == 42);
	model_free(model);
}

static void unusable_input_is_refused(void **state)
{
	struct train_options options = options_adam(), wrong;
	const uint32_t four[] = { WIDE, 4 };
	struct model *model = make_model(2), *outputs = model_new("m", "e", four, 2);

	(void)state;
	make_xor(0, 1);
	assert_int_equal(train_mlp(outputs, rows, labels, ROWS, &options, NULL), -EINVAL);
	assert_int_equal(train_mlp(model, rows, labels, 1, &options, NULL), -EINVAL);
	rows[9] = NAN;
	assert_int_equal(train_mlp(model, rows, labels, ROWS, &options, NULL), -EINVAL);
	rows[9] = 0;
	labels[9] = 2;
	assert_int_equal(train_mlp(model, rows, labels, ROWS, &options, NULL), -EINVAL);
	memset(labels, 1, sizeof(labels));
	assert_int_equal(train_mlp(model, rows, labels, ROWS, &options, NULL), -EINVAL);
	make_xor(0, 1);
	wrong = options;
	wrong.epochs = 0;
	assert_int_equal(train_mlp(model, rows, labels, ROWS, &wrong, NULL), -EINVAL);
	wrong = options;
	wrong.batch = 0;
	assert_int_equal(train_mlp(model, rows, labels, ROWS, &wrong, NULL), -EINVAL);
	wrong = options;
	wrong.learning_rate = NAN;
	assert_int_equal(train_mlp(model, rows, labels, ROWS, &wrong, NULL), -EINVAL);
	wrong = options;
	wrong.slow_weight = 0;
	assert_int_equal(train_mlp(model, rows, labels, ROWS, &wrong, NULL), -EINVAL);
	wrong = options;
	wrong.optimiser = TRAIN_SGD;
	wrong.learning_rate = 1e30f;
	assert_int_equal(train_mlp(model, rows, labels, ROWS, &wrong, NULL), -ERANGE);
	model_free(model);
	model_free(outputs);
}

/* The size a device's first training has: 20,000 rows, LinnOS's net, 30 epochs in at most 15 s of one core. */
static void training_is_fast_enough(void **state)
{
	const uint32_t widths[] = { 31, 256, 2 };
	const size_t n = 20000;
	struct model *model = model_new("m", "linnos-digits", widths, 3);
	struct train_options options = options_adam();
	struct random_state random = random_seed(1);
	float *many = malloc(n * 31 * sizeof(float));
	uint8_t *classes = malloc(n);
	struct timespec start, end;
	double seconds;

	(void)state;
	assert_true(model && many && classes);
	for (size_t i = 0; i < n * 31; i++)
		many[i] = (float)random_below(&random, 10);
	for (size_t i = 0; i < n; i++)
		classes[i] = many[i * 31] > 6;
	options.batch = 128;
	options.epochs = 3; /* a tenth, to keep the tests short */
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
	assert_int_equal(train_mlp(model, many, classes, n, &options, NULL), 0);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
	seconds =
		(double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9;
	print_message("  30 epochs would take %.1f s\n", seconds * 10);
#ifndef __clang__ /* which builds the copy with sanitizers: ten times slower, and no measure of anything */
	assert_true(seconds < 1.5);
#endif
	free(many);
	free(classes);
	model_free(model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_way_learns_what_no_line_can),
		cmocka_unit_test(hidden_sigmoids_and_three_layers_learn),
		cmocka_unit_test(standardising_makes_raw_numbers_learnable),
		cmocka_unit_test(gradients_are_those_of_the_loss),
		cmocka_unit_test(slow_weight_buys_recall),
		cmocka_unit_test(same_seed_same_weights),
		cmocka_unit_test(a_twin_is_kept_in_step),
		cmocka_unit_test(cancelling_stops_it_and_spares_the_model),
		cmocka_unit_test(unusable_input_is_refused),
		cmocka_unit_test(training_is_fast_enough),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
