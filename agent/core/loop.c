/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.c - epoll_wait, dispatch, and a queue of calls from other threads behind an eventfd.
 *
 * A removed source is only unlinked; its memory goes when the current round of events is through, so an event that
 * was already fetched finds a dead source, not a freed one.
 */
#include "agent/core/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define LOOP_EVENTS 64
#define LOOP_LOOKS 64 /* rounds of busy functions between two looks at descriptors */

struct loop_source {
	struct loop *loop;
	int fd;
	bool timer, dead;
	loop_fn *fn;
	void *ctx;
	struct loop_source *next;
};

enum call_state { CALL_WAITING, CALL_RUNNING, CALL_DONE };

struct loop_pending {
	loop_fn *fn;
	void *ctx;
	enum call_state state;
	struct loop_pending *next;
};

struct loop {
	int epoll_fd, wake_fd;
	atomic_bool stop;
	struct loop_source *sources;
	bool sweep;
	struct {
		loop_fn *fn;
		void *ctx;
	} busy[LOOP_MAX_BUSY];
	int n_busy, wanted; /* functions; how many of them want to be called */
	bool turn;
	pthread_mutex_t lock; /* of the queue and `ended` */
	pthread_cond_t done;
	struct loop_pending *queue, **tail;
	size_t n_queued;
	bool ended;
};

struct loop *loop_new(void)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct loop *loop = calloc(1, sizeof(*loop));
	pthread_condattr_t attr;

	if (!loop)
		return NULL;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_init(&loop->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&loop->done, &attr);
	pthread_condattr_destroy(&attr);
	loop->tail = &loop->queue;
	if (loop->epoll_fd < 0 || loop->wake_fd < 0 ||
		epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event)) {
		int err = errno;

		loop_free(loop);
		errno = err;
		return NULL;
	}
	return loop;
}

static void loop_sweep(struct loop *loop, bool all)
{
	struct loop_source **at = &loop->sources;

	while (*at) {
		struct loop_source *source = *at;

		if (!source->dead && !all) {
			at = &source->next;
			continue;
		}
		*at = source->next;
		if (source->timer && !source->dead)
			close(source->fd);
		free(source);
	}
	loop->sweep = false;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	loop_sweep(loop, true);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	pthread_cond_destroy(&loop->done);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

static struct loop_source *add_fd(
	struct loop *loop, int fd, uint32_t events, loop_fn *fn, void *ctx)
{
	struct loop_source *source = calloc(1, sizeof(*source));
	struct epoll_event event = { .events = events, .data.ptr = source };

	if (!source)
		return NULL;
	*source = (struct loop_source){
		.loop = loop, .fd = fd, .fn = fn, .ctx = ctx, .next = loop->sources
	};
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event)) {
		free(source);
		return NULL;
	}
	loop->sources = source;
	return source;
}

struct loop_source *loop_add_fd(struct loop *loop, int fd, loop_fn *fn, void *ctx)
{
	return add_fd(loop, fd, EPOLLIN, fn, ctx);
}

struct loop_source *loop_add_wake(struct loop *loop, int fd, loop_fn *fn, void *ctx)
{
	return add_fd(loop, fd, EPOLLIN | EPOLLET, fn, ctx);
}

void loop_timer_set(struct loop_source *timer, uint64_t period_ns)
{
	struct itimerspec spec = { 0 };

	spec.it_interval.tv_sec = spec.it_value.tv_sec = (time_t)(period_ns / 1000000000);
	spec.it_interval.tv_nsec = spec.it_value.tv_nsec = (long)(period_ns % 1000000000);
	timerfd_settime(timer->fd, 0, &spec, NULL);
}

struct loop_source *loop_add_timer(struct loop *loop, uint64_t period_ns, loop_fn *fn, void *ctx)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	struct loop_source *source;

	if (fd < 0)
		return NULL;
	source = loop_add_fd(loop, fd, fn, ctx);
	if (!source) {
		close(fd);
		return NULL;
	}
	source->timer = true;
	if (period_ns)
		loop_timer_set(source, period_ns);
	return source;
}

void loop_remove(struct loop_source *source)
{
	if (!source || source->dead)
		return;
	epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	if (source->timer)
		close(source->fd);
	source->dead = true;
	source->loop->sweep = true;
}

static void loop_wake(struct loop *loop)
{
	uint64_t one = 1;

	/* Only fails when the counter is full: then a wake-up is pending anyway. */
	if (write(loop->wake_fd, &one, sizeof(one)) < 0)
		return;
}

void loop_stop(struct loop *loop)
{
	atomic_store(&loop->stop, true);
	loop_wake(loop);
}

int loop_call(struct loop *loop, loop_fn *fn, void *ctx, uint32_t timeout_ms)
{
	struct loop_pending call = { .fn = fn, .ctx = ctx };
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&loop->lock);
	if (loop->ended) {
		pthread_mutex_unlock(&loop->lock);
		return -ESHUTDOWN;
	}
	*loop->tail = &call;
	loop->tail = &call.next;
	loop->n_queued++;
	loop_wake(loop);
	while (call.state != CALL_DONE) {
		/* A call that has begun is short and is waited for: its memory is ours. */
		if (call.state == CALL_RUNNING) {
			pthread_cond_wait(&loop->done, &loop->lock);
			continue;
		}
		err = loop->ended ? ESHUTDOWN
				  : pthread_cond_timedwait(&loop->done, &loop->lock, &until);
		if (err && call.state == CALL_WAITING) {
			struct loop_pending **at = &loop->queue;

			while (*at && *at != &call)
				at = &(*at)->next;
			if (*at) {
				*at = call.next;
				loop->n_queued--;
			}
			if (loop->tail == &call.next)
				loop->tail = at;
			pthread_mutex_unlock(&loop->lock);
			return -err;
		}
	}
	pthread_mutex_unlock(&loop->lock);
	return 0;
}

static void loop_run_calls(struct loop *loop)
{
	uint64_t n;
	size_t left;

	if (read(loop->wake_fd, &n, sizeof(n)) < 0 && errno != EAGAIN)
		return;
	pthread_mutex_lock(&loop->lock);
	/* Only those that wait already: threads that call again and again must not keep timers from running. */
	for (left = loop->n_queued; left && loop->queue; left--) {
		struct loop_pending *call = loop->queue;

		loop->n_queued--;
		loop->queue = call->next;
		if (!loop->queue)
			loop->tail = &loop->queue;
		call->state = CALL_RUNNING;
		pthread_mutex_unlock(&loop->lock);
		call->fn(call->ctx);
		pthread_mutex_lock(&loop->lock);
		call->state = CALL_DONE;
		pthread_cond_broadcast(&loop->done);
	}
	if (loop->queue)
		loop_wake(loop);
	pthread_mutex_unlock(&loop->lock);
}

int loop_add_busy(struct loop *loop, loop_fn *fn, void *ctx)
{
	if (loop->n_busy == LOOP_MAX_BUSY)
		return -ENOSPC;
	loop->busy[loop->n_busy].fn = fn;
	loop->busy[loop->n_busy++].ctx = ctx;
	return 0;
}

void loop_remove_busy(struct loop *loop, void *ctx)
{
	for (int i = 0; i < loop->n_busy; i++)
		if (loop->busy[i].ctx == ctx)
			loop->busy[i--] = loop->busy[--loop->n_busy];
}

void loop_busy(struct loop *loop, int change)
{
	loop->wanted += change;
}

void loop_turn(struct loop *loop)
{
	loop->turn = true;
}

static void loop_look(struct loop *loop)
{
	loop->turn = false;
	for (int look = 0; look < LOOP_LOOKS && loop->wanted > 0 && !loop->turn; look++)
		for (int i = 0; i < loop->n_busy; i++)
			loop->busy[i].fn(loop->busy[i].ctx);
}

int loop_run(struct loop *loop)
{
	struct epoll_event events[LOOP_EVENTS];
	int err = 0;

	while (!atomic_load(&loop->stop)) {
		int n;

		loop_look(loop);
		n = epoll_wait(loop->epoll_fd, events, LOOP_EVENTS, loop->wanted > 0 ? 0 : -1);

		if (n < 0 && errno != EINTR) {
			err = -errno;
			break;
		}
		for (int i = 0; i < n; i++) {
			struct loop_source *source = events[i].data.ptr;
			uint64_t ticks;

			if (!source) {
				loop_run_calls(loop);
				continue;
			}
			if (source->dead ||
				(source->timer && read(source->fd, &ticks, sizeof(ticks)) < 0))
				continue;
			source->fn(source->ctx);
		}
		if (loop->sweep)
			loop_sweep(loop, false);
	}
	/* What still waits is told so; nothing is queued any more. */
	pthread_mutex_lock(&loop->lock);
	loop->ended = true;
	pthread_cond_broadcast(&loop->done);
	pthread_mutex_unlock(&loop->lock);
	return err;
}
