/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.h - one epoll loop: file descriptors, timers, and calls handed over by other threads.
 *
 * Everything but loop_call(), loop_stop() and loop_new()/loop_free() belongs to the loop's own thread. Callbacks must
 * be short: the agent's lease is renewed between them.
 */
#ifndef SEMANTOS_CORE_LOOP_H
#define SEMANTOS_CORE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_source;

typedef void loop_fn(void *ctx);

struct loop *loop_new(void); /* NULL with errno */
void loop_free(struct loop
		*loop); /* accepts NULL; sources still added are freed, their fds are not closed */

/* Call fn when fd is readable. The fd stays the caller's. NULL with errno. */
struct loop_source *loop_add_fd(struct loop *loop, int fd, loop_fn *fn, void *ctx);

/* The same, but once a wake-up of fd's, not for as long as it stays readable: for an fd that somebody keeps filling. */
struct loop_source *loop_add_wake(struct loop *loop, int fd, loop_fn *fn, void *ctx);

/* Call fn every period_ns (CLOCK_MONOTONIC), 0 = disarmed until loop_timer_set(). The timerfd is the source's. */
struct loop_source *loop_add_timer(struct loop *loop, uint64_t period_ns, loop_fn *fn, void *ctx);
void loop_timer_set(struct loop_source *timer, uint64_t period_ns);
void loop_remove(struct loop_source *source); /* accepts NULL; safe inside any callback */

/*
 * Work that is looked for without sleeping: while the balance of loop_busy() is above zero the loop does not sleep but
 * calls every such fn again and again, and looks at descriptors, timers and calls every few dozen of them. At most
 * LOOP_MAX_BUSY at a time; -ENOSPC. They are told apart by ctx.
 */
#define LOOP_MAX_BUSY 64
int loop_add_busy(struct loop *loop, loop_fn *fn, void *ctx);
void loop_remove_busy(
	struct loop *loop, void *ctx); /* also when it was never added; not inside such an fn */
void loop_busy(
	struct loop *loop, int change); /* +1: something wants to be looked at, -1: no longer */
/* Inside such an fn: that was long, it is the others' turn. */
void loop_turn(struct loop *loop);

/*
 * Run fn(ctx) on the loop's thread and wait for it. 0, or -ETIMEDOUT when the loop did not come to it in time (fn was
 * then never called and never will be), or -ESHUTDOWN when the loop has ended.
 */
int loop_call(struct loop *loop, loop_fn *fn, void *ctx, uint32_t timeout_ms);

int loop_run(struct loop *loop); /* until loop_stop(); 0 or -errno */
void loop_stop(struct loop *loop); /* any thread; async-signal-safe */

#endif
