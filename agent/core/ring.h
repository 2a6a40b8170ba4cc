/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.h - the consumer of a policy's per-CPU rings (producer: bpf/lib/ring.h).
 *
 * Used by the loop's thread only. The consumer drains by deadline while records flow and sleeps when they stop.
 */
#ifndef SEMANTOS_CORE_RING_H
#define SEMANTOS_CORE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "bpf/wire.h"

#define RING_DRAIN_MAX 16384 /* records a drain may take before other work gets its turn */

struct ring_reader;

/* One record, still in the ring: valid until the call returns. */
typedef void ring_record_fn(void *ctx, const struct semantos_block_record *record);

/*
 * Create one ring of ring_bytes (a power of two, pages) for each of n_cpus and put them into rings_fd; wake is the
 * mmapped row. every: while busy, a producer wakes us at every n-th record. NULL with errno.
 */
struct ring_reader *ring_reader_new(int rings_fd, struct semantos_wake *wake, int n_cpus,
	uint32_t ring_bytes, uint32_t every, ring_record_fn *fn, void *ctx);
/* Bytes of a record are checked by this instead of record_valid() (agent/core/capture.h) before fn gets them. */
typedef bool ring_valid_fn(const void *bytes, size_t n_bytes);
void ring_records(struct ring_reader *reader, ring_valid_fn *valid);
void ring_reader_free(struct ring_reader *reader); /* accepts NULL */

int ring_count(const struct ring_reader *reader); /* rings, one a CPU */
int ring_fd(const struct ring_reader *reader,
	int cpu); /* readable when a producer woke us; the reader's */

/* Hand every waiting record (at most RING_DRAIN_MAX) to fn. Number of records, bad ones included. */
size_t ring_drain(struct ring_reader *reader);

/*
 * Ask to be woken by the next record. True: all rings were empty after that, sleep. False: something came in
 * between, drain on.
 */
bool ring_sleep(struct ring_reader *reader);

/* While somebody looks at the rings all the time no producer needs to wake us by count. */
void ring_watched(struct ring_reader *reader, bool watched);

uint64_t ring_delivered(const struct ring_reader *reader);
uint64_t ring_refused(
	const struct ring_reader *reader); /* records of another version, size or shape */
size_t ring_waiting_bytes(const struct ring_reader *reader);

#endif
