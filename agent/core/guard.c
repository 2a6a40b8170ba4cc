// SPDX-License-Identifier: Apache-2.0
/*
 * guard.c - a queue of jobs, and the one thread that carries them out on struct safety.
 *
 * `lock` guards queue and snapshot and is never held across a wait for the disk. `link` is held while a keeper is
 * started, so that no heartbeat is written to a number that was closed; the loop only tries it. A caller whose wait
 * ran out leaves its job to the thread.
 */
#include "agent/core/guard_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "agent/safety/keeper.h"
#include "agent/util/log.h"

/* ---- the queue ---- */

static void finish(struct guard *g, struct job *job)
{
	job->state = JOB_DONE;
	if (!job->owned)
		free(job);
	else
		pthread_cond_broadcast(&g->done);
}

static struct job *take(struct guard *g)
{
	struct job *job = g->queue;

	if (job) {
		g->queue = job->next;
		if (!g->queue)
			g->tail = &g->queue;
		g->n_queued--;
	}
	return job;
}

static void *work(void *arg)
{
	struct guard *g = arg;
	unsigned int left;

	pthread_mutex_lock(&g->lock);
	while (!g->ending) {
		struct job *job = take(g);

		if (!job) {
			pthread_cond_wait(&g->wake, &g->lock);
			continue;
		}
		job->state = JOB_RUNNING;
		pthread_mutex_unlock(&g->lock);
		job->run(g, job);
		pthread_mutex_lock(&g->lock);
		if (job->orphaned && !job->owned) {
			pthread_mutex_unlock(&g->lock);
			job->orphaned(g, job);
			pthread_mutex_lock(&g->lock);
		}
		finish(g, job);
	}
	for (struct job *job = take(g); job; job = take(g)) {
		guard_say(&job->reply, -ESHUTDOWN, "", "the agent is ending");
		finish(g, job);
	}
	pthread_mutex_unlock(&g->lock);
	left = safety_close(g->safety, g->end);
	if (left)
		log_error("%u changes could not be undone and stay on record: see `semantosctl "
			  "history`.",
			left);
	return NULL;
}

/* False: not queued, and still the caller's. */
static bool put(struct guard *g, struct job *job)
{
	if (g->ending || g->n_queued >= GUARD_QUEUE)
		return false;
	job->next = NULL;
	*g->tail = job;
	g->tail = &job->next;
	g->n_queued++;
	pthread_cond_signal(&g->wake);
	return true;
}

static void withdraw(struct guard *g, struct job *job)
{
	struct job **at = &g->queue;

	while (*at != job)
		at = &(*at)->next;
	*at = job->next;
	if (!job->next)
		g->tail = at;
	g->n_queued--;
}

static struct timespec from_now(uint32_t ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	return t;
}

/* Carry out and wait; the job is freed. */
static void call(struct guard *g, struct job *job, struct control_reply *reply)
{
	struct timespec until = from_now(GUARD_WAIT_MS);
	bool freed = false;

	pthread_mutex_lock(&g->lock);
	job->owned = true;
	if (!put(g, job)) {
		guard_say(reply, g->ending ? -ESHUTDOWN : -EAGAIN, "",
			g->ending ? "the agent is ending"
				  : "too many changes wait already; try again");
		goto out;
	}
	while (job->state != JOB_DONE) {
		if (pthread_cond_timedwait(&g->done, &g->lock, &until) != ETIMEDOUT ||
			job->state == JOB_DONE)
			continue;
		if (job->state == JOB_WAITING) {
			withdraw(g, job);
			guard_say(reply, -ETIMEDOUT, "",
				"the disk under the state folder is too slow; nothing was changed");
			goto out;
		}
		job->owned = false;
		freed = true;
		guard_say(reply, -ETIMEDOUT, "",
			"the disk under the state folder is slow and the change is still under "
			"way; "
			"`semantosctl history` will show it");
		goto out;
	}
	*reply = job->reply;
out:
	pthread_mutex_unlock(&g->lock);
	if (!freed)
		free(job);
}

static struct job *job_new(
	void (*run)(struct guard *, struct job *), const char *name, struct control_reply *reply)
{
	struct job *job = calloc(1, sizeof(*job));

	if (job) {
		job->run = run;
		snprintf(job->name, sizeof(job->name), "%.63s", name);
	} else if (reply) {
		guard_say(reply, -ENOMEM, "", "out of memory");
	}
	return job;
}

void guard_admit(struct guard *g, const char *policy, bool shadow, struct control_reply *reply)
{
	struct job *job = job_new(guard_run_admit, policy, reply);

	if (!job)
		return;
	job->shadow = shadow;
	call(g, job, reply);
}

void guard_apply(struct guard *g, const struct safety_request *rq, struct control_reply *reply)
{
	struct job *job;

	if (rq->n_knobs > RECORD_KNOBS_MAX)
		return guard_say(reply, -EINVAL, "", "a change has at most 8 settings");
	job = job_new(guard_run_apply, rq->owner, reply);
	if (!job)
		return;
	job->mode = rq->mode;
	job->later = rq->later;
	/* a person sees it in the history; the tuner would never know */
	if (strcmp(job->name, SAFETY_TUNER) == 0)
		job->orphaned = guard_undo_orphan;
	job->n_knobs = rq->n_knobs;
	for (size_t i = 0; i < rq->n_knobs; i++) {
		/* what does not fit is no name and no value, and is refused as such */
		snprintf(job->knob[i].name, sizeof(job->knob[i].name), "%s", rq->knob[i].name);
		snprintf(job->knob[i].value, sizeof(job->knob[i].value), "%s", rq->knob[i].value);
	}
	record_text(job->because, sizeof(job->because), rq->because);
	record_text(job->evidence, sizeof(job->evidence), rq->evidence);
	record_text(job->expected, sizeof(job->expected), rq->expected);
	call(g, job, reply);
}

void guard_rollback(struct guard *g, uint64_t id, const char *because, const char *observed,
	struct control_reply *reply)
{
	struct job *job = job_new(guard_run_rollback, "", reply);

	if (!job)
		return;
	job->id = id;
	record_text(job->because, sizeof(job->because), because);
	record_text(job->observed, sizeof(job->observed), observed);
	call(g, job, reply);
}

void guard_keep(struct guard *g, uint64_t id, const char *observed, struct control_reply *reply)
{
	struct job *job = job_new(guard_run_keep, "", reply);

	if (!job)
		return;
	job->id = id;
	record_text(job->observed, sizeof(job->observed), observed);
	call(g, job, reply);
}

void guard_swap(struct guard *g, uint64_t id, uint32_t new_set, struct control_reply *reply)
{
	struct job *job = job_new(guard_run_swap, "", reply);

	if (!job)
		return;
	job->id = id;
	job->new_set = new_set;
	call(g, job, reply);
}

void guard_unquarantine(struct guard *g, const char *policy, struct control_reply *reply)
{
	struct job *job = job_new(guard_run_unquarantine, policy, reply);

	if (job)
		call(g, job, reply);
}

static bool post(struct guard *g, struct job *job)
{
	bool queued;

	pthread_mutex_lock(&g->lock);
	queued = put(g, job);
	pthread_mutex_unlock(&g->lock);
	if (!queued)
		free(job);
	return queued;
}

bool guard_eject(struct guard *g, const struct exit_record *exit)
{
	struct job *job = job_new(guard_run_eject, exit->policy, NULL);

	if (!job)
		return false;
	job->exit = *exit;
	return post(g, job);
}

bool guard_note(struct guard *g, const struct policy_event *event)
{
	struct job *job = job_new(guard_run_note, event->policy, NULL);

	if (!job)
		return false;
	job->event = *event;
	return post(g, job);
}

void guard_tick(struct guard *g)
{
	struct job *job;

	if (!g || !atomic_load(&g->auto_open) || atomic_exchange(&g->ticking, true))
		return;
	job = job_new(guard_run_tick, "", NULL);
	if (!job || !post(g, job))
		atomic_store(&g->ticking, false);
}

uint64_t guard_epoch(const struct guard *g)
{
	return atomic_load(&g->epoch);
}

/* ---- life ---- */

struct guard *guard_new(const struct guard_options *options)
{
	struct guard *g = calloc(1, sizeof(*g));
	pthread_condattr_t attr;
	sigset_t all, old;

	if (!g)
		return NULL;
	g->options = *options;
	snprintf(g->dir, sizeof(g->dir), "%s", options->dir);
	snprintf(g->root, sizeof(g->root), "%s", options->root ? options->root : "");
	snprintf(g->keeper, sizeof(g->keeper), "%s", options->keeper ? options->keeper : "");
	g->tail = &g->queue;
	pthread_mutex_init(&g->lock, NULL);
	pthread_mutex_init(&g->link, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&g->done, &attr);
	pthread_cond_init(&g->wake, &attr);
	pthread_condattr_destroy(&attr);
	g->beat = loop_add_timer(options->loop, 0, guard_on_beat, g);
	if (!g->beat)
		goto out_free;
	guard_open(g);
	guard_snapshot(g);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	g->running = pthread_create(&g->thread, NULL, work, g) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (g->running)
		return g;
	safety_close(g->safety, SAFETY_UPGRADE);
	g->safety = NULL;
out_free:
	guard_free(g);
	return NULL;
}

void guard_end(struct guard *g, enum safety_end end)
{
	struct timespec until = from_now(GUARD_END_MS);

	if (!g || !g->running)
		return;
	pthread_mutex_lock(&g->lock);
	g->end = end;
	g->ending = true;
	pthread_cond_signal(&g->wake);
	pthread_mutex_unlock(&g->lock);
	g->running = false;
	if (pthread_clockjoin_np(g->thread, NULL, CLOCK_MONOTONIC, &until) == 0)
		return;
	log_error("The disk under the state folder does not answer; the keeper undoes what is in "
		  "force.");
	pthread_detach(g->thread);
	g->stuck = true;
}

void guard_free(struct guard *g)
{
	if (!g)
		return;
	guard_end(g, SAFETY_STOP);
	if (g->stuck)
		return;
	loop_remove(g->beat);
	free(g->change);
	free(g->quarantined);
	pthread_cond_destroy(&g->wake);
	pthread_cond_destroy(&g->done);
	pthread_mutex_destroy(&g->link);
	pthread_mutex_destroy(&g->lock);
	free(g);
}
