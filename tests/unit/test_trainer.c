// SPDX-License-Identifier: Apache-2.0
/*
 * test_trainer.c - jobs come back on the loop's thread in order, cancelled ones never, and nothing outlives the trainer.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "agent/core/trainer.h"
#include "tests/unit/synthetic.h"

#define ROWS 1500

static const struct learn_recipe recipe = {
	.encoder = "latency-ages",
	.labeler = "inflection",
	.hidden = { 8 },
	.n_hidden = 1,
	.outputs = 2,
	.margin = 0.02,
	.train = { .optimiser = TRAIN_ADAM,
		.loss = TRAIN_CROSS_ENTROPY,
		.learning_rate = 1e-3f,
		.slow_weight = 5,
		.epochs = 2,
		.batch = 64,
		.seed = 1,
		.standardise = true },
};

static struct loop *loop;
static struct trainer *trainer;
static pthread_t loop_thread;

static void *run(void *ctx)
{
	loop_run(ctx);
	return NULL;
}

static int setup(void **state)
{
	(void)state;
	loop = loop_new();
	trainer = trainer_new(loop);
	return !loop || !trainer || pthread_create(&loop_thread, NULL, run, loop);
}

static int teardown(void **state)
{
	(void)state;
	loop_stop(loop);
	pthread_join(loop_thread, NULL);
	trainer_free(trainer);
	loop_free(loop);
	return 0;
}

struct task {
	struct learn_recipe recipe;
	size_t rows;
	uint64_t seed;
	struct trainer_job *job;
	atomic_int done; /* 0 = not yet, else the how-manieth */
	int error;
	bool model;
	struct task *cancels; /* from inside its own callback */
	char text[256];
};

static atomic_int finished;

/* Runs on the loop's thread. */
static void on_done(void *ctx, struct learn_result *result)
{
	struct task *task = ctx;

	assert_true(pthread_equal(pthread_self(), loop_thread));
	task->error = result->error;
	task->model = result->model != NULL;
	snprintf(task->text, sizeof(task->text), "%s", result->text);
	model_free(result->model);
	if (task->cancels)
		trainer_cancel(trainer, task->cancels->job);
	atomic_store(&task->done, atomic_fetch_add(&finished, 1) + 1);
}

static void do_submit(void *ctx)
{
	struct task *task = ctx;
	struct synthetic disk = { .seed = task->seed, .memory = true };
	struct semantos_block_record *rows =
		task->rows ? synthetic_reads(&disk, task->rows, 1000000000) : NULL;

	task->job = trainer_submit(trainer, rows, task->rows, &task->recipe, "test", on_done, task);
}

static void do_cancel(void *ctx)
{
	struct task *task = ctx;

	trainer_cancel(trainer, task->job);
	trainer_cancel(trainer, NULL);
}

static void submit(struct task *task, size_t rows, uint32_t epochs)
{
	memset(task, 0, sizeof(*task));
	task->recipe = recipe;
	task->recipe.train.epochs = epochs;
	task->rows = rows;
	task->seed = 1;
	assert_int_equal(loop_call(loop, do_submit, task, 10000), 0);
	assert_non_null(task->job);
}

static bool wait_done(struct task *task, int seconds)
{
	for (int i = 0; i < seconds * 200 && !atomic_load(&task->done); i++)
		usleep(5000);
	return atomic_load(&task->done) != 0;
}

static void jobs_come_back_in_order(void **state)
{
	struct task task[4];
	int first = atomic_load(&finished);

	(void)state;
	for (int i = 0; i < 4; i++)
		submit(&task[i], i == 2 ? 0 : ROWS, 2);
	for (int i = 0; i < 4; i++) {
		assert_true(wait_done(&task[i], 60));
		assert_int_equal(task[i].done, first + i + 1);
	}
	assert_int_equal(task[0].error, 0);
	assert_true(task[0].model);
	assert_int_equal(task[2].error, -ENODATA);
	assert_false(task[2].model);
	assert_non_null(strstr(task[2].text, "too few"));
}

static void do_nothing_for_long(void *ctx)
{
	(void)ctx;
	usleep(400000);
}

/* Three at once, and the loop is busy until all of them are trained. */
static void do_submit_three(void *ctx)
{
	struct task *task = ctx;

	for (int i = 0; i < 3; i++)
		do_submit(&task[i]);
	do_nothing_for_long(NULL);
}

static void submit_three(struct task *task)
{
	memset(task, 0, 3 * sizeof(*task));
	for (int i = 0; i < 3; i++)
		task[i].recipe = recipe;
}

static void jobs_that_pile_up_come_back_in_order(void **state)
{
	struct task task[3];
	int first = atomic_load(&finished);

	(void)state;
	submit_three(task);
	assert_int_equal(loop_call(loop, do_submit_three, task, 10000), 0);
	for (int i = 0; i < 3; i++) {
		assert_true(wait_done(&task[i], 30));
		assert_int_equal(task[i].done, first + i + 1);
	}
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void cancelled_job_stops_and_never_comes_back(void **state)
{
	struct task endless, waiting, after;
	uint64_t begin;

	(void)state;
	submit(&endless, ROWS, 1000000);
	submit(&waiting, ROWS, 2);
	submit(&after, 0, 1);
	usleep(100000); /* the first one is being trained */
	begin = now_ms();
	assert_int_equal(loop_call(loop, do_cancel, &endless, 5000), 0);
	assert_int_equal(loop_call(loop, do_cancel, &waiting, 5000), 0);
	assert_true(wait_done(&after, 30));
	print_message("cancelled in %d ms\n", (int)(now_ms() - begin));
	assert_true(now_ms() - begin < 5000);
	assert_int_equal(loop_call(loop, do_nothing_for_long, NULL, 5000), 0);
	assert_int_equal(endless.done, 0);
	assert_int_equal(waiting.done, 0);
}

/* Finished but not handed over yet, cancelled by the one before it: the callback does not run. */
static void job_cancelled_at_the_last_moment_stays_silent(void **state)
{
	struct task task[3];

	(void)state;
	submit_three(task);
	task[0].cancels = &task[1];
	assert_int_equal(loop_call(loop, do_submit_three, task, 10000), 0);
	assert_true(wait_done(&task[2], 10));
	assert_int_not_equal(task[0].done, 0);
	assert_int_equal(task[1].done, 0);
}

/* Memory and threads of this are looked at by the sanitizer builds. */
static void trainer_ends_with_jobs_in_every_state(void **state)
{
	struct task task[3];
	uint64_t begin;

	(void)state;
	submit(&task[0], 0, 1);
	submit(&task[1], ROWS, 1000000);
	submit(&task[2], ROWS, 2);
	usleep(100000);
	loop_stop(loop);
	pthread_join(loop_thread, NULL);
	begin = now_ms();
	trainer_free(trainer);
	assert_true(now_ms() - begin < 5000);
	assert_int_equal(task[1].done, 0);
	assert_int_equal(task[2].done, 0);
	trainer_free(NULL);
	trainer = trainer_new(loop); /* for teardown, which joins a thread again */
	assert_int_equal(pthread_create(&loop_thread, NULL, run, loop), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(jobs_come_back_in_order),
		TEST(jobs_that_pile_up_come_back_in_order),
		TEST(cancelled_job_stops_and_never_comes_back),
		TEST(job_cancelled_at_the_last_moment_stays_silent),
		TEST(trainer_ends_with_jobs_in_every_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
