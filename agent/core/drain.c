/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drain.c - a timer, the rings' own descriptor, and the change between the two.
 */
#include "agent/core/drain.h"

#include <stdlib.h>
#include <time.h>

struct drain {
	struct ring_reader *reader;
	uint64_t window_ns;
	drain_fn *drained;
	void *ctx;
	struct loop_source *wake, *timer;
	bool awake; /* the timer runs */
	uint32_t empty_rounds;
	uint64_t wakes, rounds;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

void drain_round(struct drain *drain)
{
	uint64_t start = now_ns();
	size_t n = ring_drain(drain->reader);

	drain->rounds++;
	drain->drained(drain->ctx, n, start);
	/*
	 * Woken, yet nothing there: an interrupt's record woke us while the record it interrupted, before it in the same
	 * ring, was not complete. That one wakes nobody any more, so we stay awake for it.
	 */
	if (n || !drain->awake) {
		drain->empty_rounds = 0;
		if (!drain->awake)
			loop_timer_set(drain->timer, drain->window_ns);
		drain->awake = true;
		return;
	}
	if (++drain->empty_rounds < DRAIN_IDLE_ROUNDS || !ring_sleep(drain->reader))
		return;
	loop_timer_set(drain->timer, 0);
	drain->awake = false;
}

static void on_timer(void *ctx)
{
	drain_round(ctx);
}

static void on_wake(void *ctx)
{
	struct drain *drain = ctx;

	drain->wakes++;
	drain_round(drain);
}

struct drain *drain_new(struct loop *loop, struct ring_reader *reader, uint64_t window_ns,
	drain_fn *drained, void *ctx)
{
	struct drain *drain = calloc(1, sizeof(*drain));

	if (!drain)
		return NULL;
	*drain = (struct drain){
		.reader = reader, .window_ns = window_ns, .drained = drained, .ctx = ctx
	};
	drain->timer = loop_add_timer(loop, 0, on_timer, drain);
	if (drain->timer)
		/* By edge: readable for as long as a producer is busy, it would have us drain without a pause. */
		drain->wake = loop_add_wake(loop, ring_poll_fd(reader), on_wake, drain);
	if (!drain->wake) {
		drain_free(drain);
		return NULL;
	}
	if (!ring_sleep(reader)) {
		loop_timer_set(drain->timer, window_ns);
		drain->awake = true;
	}
	return drain;
}

void drain_free(struct drain *drain)
{
	if (!drain)
		return;
	loop_remove(drain->wake);
	loop_remove(drain->timer);
	free(drain);
}

bool drain_asleep(const struct drain *drain)
{
	return !drain->awake;
}

void drain_counts(const struct drain *drain, uint64_t *wakes, uint64_t *rounds)
{
	*wakes = drain->wakes;
	*rounds = drain->rounds;
}
