/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trainer.c - a queue, a thread at low priority, an eventfd back into the loop.
 *
 * `lock` guards the two lists and every job's `cancelled`. A job belongs to the thread while it runs, and is freed on
 * the loop's thread only.
 */
#include "agent/core/trainer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TRAINER_NICE 10 /* training yields to whatever else the machine does */

struct trainer_job {
	struct semantos_block_record *records;
	size_t n;
	struct learn_recipe recipe;
	char model_name[MODEL_NAME_LEN];
	trainer_done_fn *done;
	void *ctx;
	struct learn_result result;
	atomic_bool cancelled;
	struct trainer_job *next;
};

struct trainer {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct trainer_job *waiting, *running, *finished; /* waiting, finished: oldest first */
	bool stop;
	int event_fd;
	struct loop_source *source;
};

static void job_free(struct trainer_job *job)
{
	model_free(job->result.model);
	free(job->records);
	free(job);
}

static void *trainer_thread(void *arg)
{
	struct trainer *trainer = arg;
	struct trainer_job **at;
	uint64_t one = 1;

	setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), TRAINER_NICE);
	pthread_mutex_lock(&trainer->lock);
	while (!trainer->stop) {
		struct trainer_job *job = trainer->waiting;

		if (!job) {
			pthread_cond_wait(&trainer->work, &trainer->lock);
			continue;
		}
		trainer->waiting = job->next;
		trainer->running = job;
		pthread_mutex_unlock(&trainer->lock);
		if (!atomic_load(&job->cancelled))
			learn(job->records, job->n, &job->recipe, job->model_name, &job->result);
		pthread_mutex_lock(&trainer->lock);
		trainer->running = NULL;
		job->next = NULL;
		for (at = &trainer->finished; *at; at = &(*at)->next)
			;
		*at = job;
		if (write(trainer->event_fd, &one, sizeof(one)) < 0)
			continue; /* counter full: the loop is being woken already */
	}
	pthread_mutex_unlock(&trainer->lock);
	return NULL;
}

static void on_finished(void *ctx)
{
	struct trainer *trainer = ctx;
	struct trainer_job *jobs;
	uint64_t n;

	if (read(trainer->event_fd, &n, sizeof(n)) < 0)
		return;
	pthread_mutex_lock(&trainer->lock);
	jobs = trainer->finished;
	trainer->finished = NULL;
	pthread_mutex_unlock(&trainer->lock);
	while (jobs) {
		struct trainer_job *job = jobs;

		jobs = job->next;
		if (!atomic_load(&job->cancelled)) {
			job->done(job->ctx, &job->result);
			job->result.model = NULL;
		}
		job_free(job);
	}
}

struct trainer *trainer_new(struct loop *loop)
{
	struct trainer *trainer = calloc(1, sizeof(*trainer));
	sigset_t all, before;
	int err;

	if (!trainer)
		return NULL;
	pthread_mutex_init(&trainer->lock, NULL);
	pthread_cond_init(&trainer->work, NULL);
	trainer->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	trainer->source = trainer->event_fd < 0
				  ? NULL
				  : loop_add_fd(loop, trainer->event_fd, on_finished, trainer);
	err = trainer->source ? 0 : errno;
	if (!err) {
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &before);
		err = pthread_create(&trainer->thread, NULL, trainer_thread, trainer);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	if (err) {
		loop_remove(trainer->source);
		if (trainer->event_fd >= 0)
			close(trainer->event_fd);
		free(trainer);
		errno = err;
		return NULL;
	}
	return trainer;
}

static void jobs_free(struct trainer_job *jobs)
{
	while (jobs) {
		struct trainer_job *next = jobs->next;

		job_free(jobs);
		jobs = next;
	}
}

void trainer_free(struct trainer *trainer)
{
	if (!trainer)
		return;
	pthread_mutex_lock(&trainer->lock);
	trainer->stop = true;
	if (trainer->running)
		atomic_store(&trainer->running->cancelled, true);
	pthread_cond_signal(&trainer->work);
	pthread_mutex_unlock(&trainer->lock);
	pthread_join(trainer->thread, NULL);
	jobs_free(trainer->waiting);
	jobs_free(trainer->finished);
	loop_remove(trainer->source);
	close(trainer->event_fd);
	pthread_cond_destroy(&trainer->work);
	pthread_mutex_destroy(&trainer->lock);
	free(trainer);
}

struct trainer_job *trainer_submit(struct trainer *trainer, struct semantos_block_record *records,
	size_t n, const struct learn_recipe *recipe, const char *model_name, trainer_done_fn *done,
	void *ctx)
{
	struct trainer_job *job = calloc(1, sizeof(*job)), **at;

	if (!job) {
		free(records);
		errno = ENOMEM;
		return NULL;
	}
	*job = (struct trainer_job){
		.records = records, .n = n, .recipe = *recipe, .done = done, .ctx = ctx
	};
	snprintf(job->model_name, sizeof(job->model_name), "%s", model_name);
	job->recipe.train.cancel = &job->cancelled;
	pthread_mutex_lock(&trainer->lock);
	for (at = &trainer->waiting; *at; at = &(*at)->next)
		;
	*at = job;
	pthread_cond_signal(&trainer->work);
	pthread_mutex_unlock(&trainer->lock);
	return job;
}

void trainer_cancel(struct trainer *trainer, struct trainer_job *job)
{
	if (job) {
		pthread_mutex_lock(&trainer->lock);
		atomic_store(&job->cancelled, true);
		pthread_mutex_unlock(&trainer->lock);
	}
}
