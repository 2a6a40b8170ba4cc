/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * leg.h - what one leg has lately done: depth, last reads, ages. Pure functions on plain memory.
 *
 * The same raw numbers as bpf/hooks/block_history.h gives of a disk, by the same formulas, so that the same encoders
 * and models work on both; a unit test runs one sequence through the two. There the CPUs settle now and then, here
 * every number is exact: who decides between two legs with one read in flight each cannot do with "all but the last
 * three".
 *
 * Whoever changes a leg holds its lock. Whoever looks does not: fields are aligned and stored whole, so a look can
 * mix neighbours in time but never sees half a value.
 */
#ifndef SEMANTOS_LEG_H
#define SEMANTOS_LEG_H

#include "bpf/wire.h"

#define leg_load(field) (*(const volatile __typeof__(field) *)&(field))
#define leg_store(field, value) (*(volatile __typeof__(field) *)&(field) = (value))

struct leg_history {
	wire_u32 inflight; /* reads and writes */
	wire_u32 inflight_reads;
	wire_u32 pending_pages; /* 4 KiB pages of them */
	wire_u32 completed; /* reads; head of `history` */
	wire_u64 last; /* semantos_last_pack() of the last completed request, read or write */
	wire_u64 oldest_ns; /* issue of the oldest read in flight, 0 = none */
	wire_u32 ewma_latency_us;
	wire_u32 reserved;
	wire_u64 history[SEMANTOS_HISTORY];
};
_Static_assert(sizeof(struct leg_history) == 72, "little more than one cache line a leg");

static inline wire_u32 leg_pages(wire_u32 sectors)
{
	return (sectors + 7) >> 3;
}

/* Nanoseconds between two times in whole microseconds; 0 when the clocks of two CPUs crossed; saturates. */
static inline wire_u32 leg_us_between(wire_u64 from_ns, wire_u64 to_ns)
{
	wire_u64 ns = to_ns > from_ns ? to_ns - from_ns : 0;

	/* 2^38 / 1000 rounded up: exact below 2^32 ns, and it spares the division. */
	if (ns < 1ULL << 32)
		return (wire_u32)(ns * 274877907ULL >> 38);
	ns /= 1000;
	return ns > 0xffffffffULL ? 0xffffffffU : (wire_u32)ns;
}

/* A request goes to the leg. It is counted at once: what it sees of the depth includes itself. */
static inline void leg_enter(struct leg_history *leg, wire_u32 sectors, int is_read)
{
	leg_store(leg->inflight, leg->inflight + 1);
	leg_store(leg->pending_pages, leg->pending_pages + leg_pages(sectors));
	if (is_read)
		leg_store(leg->inflight_reads, leg->inflight_reads + 1);
}

static inline void leg_leave(struct leg_history *leg, wire_u32 sectors, int is_read)
{
	leg_store(leg->inflight, leg->inflight - 1);
	leg_store(leg->pending_pages, leg->pending_pages - leg_pages(sectors));
	if (is_read)
		leg_store(leg->inflight_reads, leg->inflight_reads - 1);
}

/* A request was answered, read or write. */
static inline void leg_done(struct leg_history *leg, wire_u32 latency_us, wire_u64 now_ns)
{
	leg_store(leg->last, semantos_last_pack(now_ns, latency_us));
}

/* A read was answered. `pending_pages` and `inflight` are the leg's as they were when it was sent. */
static inline void leg_read_done(struct leg_history *leg, wire_u32 latency_us,
	wire_u32 pending_pages, wire_u32 inflight, wire_u32 sectors, wire_u64 now_ns)
{
	wire_u32 ewma = leg->ewma_latency_us, head = leg->completed;

	leg_store(leg->history[head & (SEMANTOS_HISTORY - 1)],
		semantos_hist_pack(latency_us, pending_pages, inflight, sectors));
	/* Past 2^32 reads the count starts anew at a multiple of four: the history stays valid. */
	leg_store(leg->completed, head + 1 ? head + 1 : SEMANTOS_HISTORY);
	leg_done(leg, latency_us, now_ns);
	/* weight 1/8 */
	leg_store(leg->ewma_latency_us,
		ewma ? (wire_u32)(ewma + (((long long)latency_us - ewma) >> 3)) : latency_us);
}

/* Forget what the device that was here did. What is in flight stays counted: it has yet to leave. */
static inline void leg_forget(struct leg_history *leg)
{
	leg_store(leg->completed, 0);
	leg_store(leg->last, 0);
	leg_store(leg->ewma_latency_us, 0);
	for (int i = 0; i < SEMANTOS_HISTORY; i++)
		leg_store(leg->history[i], 0);
}

/*
 * The record of a read of `sectors` that would be sent now: as a hook would have written it at issue, with this read
 * counted. Fills all but head, sector and what is known of verdicts.
 */
static inline void leg_record(const struct leg_history *leg, struct semantos_block_record *record,
	wire_u32 sectors, wire_u64 now_ns)
{
	wire_u32 head = leg_load(leg->completed);
	wire_u64 last = leg_load(leg->last), oldest = leg_load(leg->oldest_ns);

	record->pending_pages = leg_load(leg->pending_pages) + leg_pages(sectors);
	record->inflight = leg_load(leg->inflight) + 1;
	record->inflight_reads = leg_load(leg->inflight_reads) + 1;
	record->sectors = sectors;
	for (wire_u32 i = 0; i < SEMANTOS_HISTORY; i++)
		record->history[i] = leg_load(leg->history[(head + i) & (SEMANTOS_HISTORY - 1)]);
	record->history_len = (wire_u8)(head < SEMANTOS_HISTORY ? head : SEMANTOS_HISTORY);
	record->last_latency_us = semantos_last_latency_us(last);
	record->ewma_latency_us = leg_load(leg->ewma_latency_us);
	record->since_done_us = semantos_last_since_us(last, now_ns);
	record->oldest_age_us = oldest ? leg_us_between(oldest, now_ns) : 0;
	record->op = SEMANTOS_OP_READ;
}

#endif
