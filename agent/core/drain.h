/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drain.h - when the rings are emptied: by wake-up after idleness, by deadline while records flow, or by looking.
 *
 * The first record after idleness wakes the loop; from then on the rings are emptied once a window until
 * DRAIN_IDLE_ROUNDS of them were empty, then the next record wakes us again. Where a core can be owned the drain may
 * spin instead of waiting for its window: see enum drain_spin. The loop's thread only.
 */
#ifndef SEMANTOS_CORE_DRAIN_H
#define SEMANTOS_CORE_DRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "agent/core/loop.h"
#include "agent/core/ring.h"

#define DRAIN_IDLE_ROUNDS 3 /* empty rounds after which we sleep until woken */

/*
 * SPIN_AUTO is for DRAIN_SPIN_CPUS CPUs or more, or for threads whose every CPU is isolated (isolcpus=): ask
 * drain_spin_here(). It spins only while records come closer together than DRAIN_SPIN_NS, and not longer than that after the last:
 * a sleep and a wake-up cost the two sides about as much. It stops for DRAIN_SPIN_REST_NS when another task
 * wants the CPU, or when more than half of the last second brought nothing.
 * SPIN_ALWAYS is the operator's word that the core is ours: it spins until no record came for DRAIN_SPIN_QUIET_NS.
 */
enum drain_spin { SPIN_NEVER, SPIN_AUTO, SPIN_ALWAYS };
#define DRAIN_SPIN_CPUS 4
#define DRAIN_SPIN_NS 50000ULL
#define DRAIN_SPIN_REST_NS 100000000ULL
#define DRAIN_SPIN_QUIET_NS 1000000000ULL

int drain_spin_parse(const char *text); /* enum drain_spin, or -EINVAL */
enum drain_spin drain_spin_here(
	enum drain_spin spin); /* SPIN_AUTO becomes SPIN_NEVER without a core to own */

/*
 * A window for those who leave it open, in ns: so long that waking up for it takes DRAIN_SHARE of a CPU, since a round
 * with one record takes round_ns; not longer than a quarter of the TTL, or verdicts would be old when they are stored;
 * and not longer than half a ring of ring_bytes lasts at per_s requests a second, all on one CPU, with their outcomes.
 */
#define DRAIN_SHARE 0.01
#define DRAIN_WINDOW_LEAST_NS 100000ULL
uint64_t drain_window(uint64_t ttl_ns, uint64_t round_ns, uint64_t per_s, uint32_t ring_bytes);

struct drain;

/* After each round: n records went to the reader's callback; start_ns (CLOCK_MONOTONIC) is when the round began. */
typedef void drain_fn(void *ctx, size_t n, uint64_t start_ns);

/* The reader stays the caller's and must outlive the drain. NULL with errno. */
struct drain *drain_new(struct loop *loop, struct ring_reader *reader, uint64_t window_ns,
	enum drain_spin spin, drain_fn *drained, void *ctx);
void drain_free(struct drain *drain); /* accepts NULL */

size_t drain_round(struct drain *drain); /* empty the rings now; records */
bool drain_asleep(const struct drain *drain); /* a record must wake us */
void drain_window_set(struct drain *drain, uint64_t window_ns); /* from the next round on */

struct drain_counts {
	uint64_t wakes, rounds; /* rounds begun by a producer's wake-up, and in all */
	uint64_t spin_ns, barren_ns; /* spent spinning, and of that for nothing */
	uint64_t yields; /* times another task was let go first */
};
void drain_counts(const struct drain *drain, struct drain_counts *counts);

#endif
