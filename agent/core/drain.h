/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drain.h - when the rings are emptied: by wake-up after idleness, by deadline while records flow.
 *
 * The first record after idleness wakes the loop; from then on the rings are emptied once a window until
 * DRAIN_IDLE_ROUNDS of them were empty, then the next record wakes us again. The loop's thread only.
 */
#ifndef SEMANTOS_CORE_DRAIN_H
#define SEMANTOS_CORE_DRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/core/loop.h"
#include "agent/core/ring.h"

#define DRAIN_IDLE_ROUNDS 3 /* empty rounds after which we sleep until woken */

struct drain;

/* After each round: n records went to the reader's callback; start_ns (CLOCK_MONOTONIC) is when the round began. */
typedef void drain_fn(void *ctx, size_t n, uint64_t start_ns);

/* The reader stays the caller's and must outlive the drain. NULL with errno. */
struct drain *drain_new(struct loop *loop, struct ring_reader *reader, uint64_t window_ns,
	drain_fn *drained, void *ctx);
void drain_free(struct drain *drain); /* accepts NULL */

void drain_round(struct drain *drain); /* empty the rings now */
bool drain_asleep(const struct drain *drain); /* a record must wake us */

/* Rounds so far: begun by a producer's wake-up, and in all. */
void drain_counts(const struct drain *drain, uint64_t *wakes, uint64_t *rounds);

#endif
