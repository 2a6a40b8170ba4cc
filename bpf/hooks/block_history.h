/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * block_history.h - what a device has lately done: depth, the last reads, ages. Pure functions on plain memory.
 *
 * No map, no clock, no helper: BPF hooks, the kernel module and user-space tests run these very lines.
 *
 * A device's truth is one cache line, `struct block_shared`. Touching it at every event would make two CPUs on one
 * device hand it to and fro (measured: five times the cost of one CPU), so each CPU works on its own
 * `struct block_cpu` and settles with the line when BLOCK_SHARE_NS have passed, BLOCK_SHARE_EVENTS events have, or its
 * own unsettled depth reaches BLOCK_SHARE_DEPTH. A CPU sees its own events at once, and of each other CPU all but
 * the last BLOCK_SHARE_DEPTH - 1 requests. On one CPU everything is exact.
 *
 * Fields that two contexts may change (a completion interrupts an issue) change atomically; every other is one aligned
 * store, so a race can mix neighbours in time but never tear a value, and the depth can never drift.
 */
#ifndef SEMANTOS_BPF_BLOCK_HISTORY_H
#define SEMANTOS_BPF_BLOCK_HISTORY_H

#include "bpf/wire.h"

#define BLOCK_SHARE_NS 4000
#define BLOCK_SHARE_EVENTS 16
#define BLOCK_SHARE_DEPTH 4

#define BLOCK_ORDER_RING 32 /* reads in flight whose order a CPU remembers, a power of two */
#define BLOCK_ORDER_STEPS 8 /* finished reads skipped per issue when looking for the oldest */

#define block_inline static inline __attribute__((always_inline))
#define block_load(field) (*(const volatile __typeof__(field) *)&(field))
#define block_store(field, value) (*(volatile __typeof__(field) *)&(field) = (value))

struct block_shared {
	wire_u32 pending_pages; /* 4 KiB pages in flight */
	wire_u32 counts; /* requests in flight + reads in flight << 16 */
	wire_u32 completed; /* reads; head of `history` */
	wire_u32 ewma_latency_us;
	wire_u64 last; /* semantos_last_pack() of the last completed request, read or write */
	wire_u64
		oldest; /* block_order_pack() of the oldest read in flight some CPU knows, 0 = none */
	wire_u64 history[SEMANTOS_HISTORY];
};
_Static_assert(sizeof(struct block_shared) == 64, "one cache line a device");

struct block_cpu {
	wire_u64 settled_ns;
	wire_u32 events; /* since settling */
	wire_u32 unsettled_pages, unsettled_counts; /* signed by wrap-around */
	wire_u32 unsettled_reads; /* completed here since settling */
	wire_u32 base_pages, base_counts; /* the shared line as it was when we settled */
	wire_u32 completed, ewma_latency_us;
	wire_u64 last, oldest; /* as in the shared line */
	wire_u64 history[SEMANTOS_HISTORY];
	wire_u32 order_head, order_tail;
	wire_u64 order[BLOCK_ORDER_RING]; /* reads issued here, in order: block_order_pack() */
	wire_u64 reserved[4];
};
_Static_assert(sizeof(struct block_cpu) == 384, "six cache lines a device and CPU");

/* LinnOS counts started 4 KiB pages; sectors are 512 bytes. */
block_inline wire_u32 block_pages(wire_u32 sectors)
{
	return (sectors + 7) >> 3;
}

/* A read in flight in one word: issue time in 1,024 ns (44 bits), index of its entry (20 bits). Never 0 in practice. */
block_inline wire_u64 block_order_pack(wire_u64 issue_ns, wire_u32 index)
{
	return issue_ns >> 10 << 20 | (index & 0xfffff);
}

/* Settle with the shared line. Bounded: a handful of atomics on one line. */
block_inline void block_settle(struct block_shared *shared, struct block_cpu *mine, wire_u64 now_ns)
{
	wire_u32 pages = __sync_lock_test_and_set(&mine->unsettled_pages, 0);
	wire_u32 counts = __sync_lock_test_and_set(&mine->unsettled_counts, 0);
	wire_u32 reads = __sync_lock_test_and_set(&mine->unsettled_reads, 0);
	wire_u32 head, at = mine->completed;
	wire_u64 last;

	mine->base_pages = __sync_fetch_and_add(&shared->pending_pages, pages) + pages;
	mine->base_counts = __sync_fetch_and_add(&shared->counts, counts) + counts;
	mine->events = 0;
	mine->settled_ns = now_ns;
	if (reads) {
		/* Only the last four matter to anyone. */
		if (reads > SEMANTOS_HISTORY)
			reads = SEMANTOS_HISTORY;
		head = __sync_fetch_and_add(&shared->completed, reads);
		for (wire_u32 i = 0; i < SEMANTOS_HISTORY; i++)
			if (i < reads)
				block_store(shared->history[(head + i) & 3],
					mine->history[(at - reads + i) & 3]);
		head += reads;
		block_store(shared->ewma_latency_us, mine->ewma_latency_us);
	} else {
		head = block_load(shared->completed);
		mine->ewma_latency_us = block_load(shared->ewma_latency_us);
	}
	last = block_load(shared->last);
	if (semantos_last_newer(mine->last, last))
		block_store(shared->last, mine->last);
	else
		mine->last = last;
	for (wire_u32 i = 0; i < SEMANTOS_HISTORY; i++)
		mine->history[i] = block_load(shared->history[i]);
	/* Past 2^32 reads the count starts anew above 4: the history stays valid. */
	mine->completed = head < 0xfffffff0U ? head : (head & 3) + SEMANTOS_HISTORY;
	mine->oldest = block_load(shared->oldest);
}

block_inline int block_settle_due(const struct block_cpu *mine, wire_u64 now_ns)
{
	wire_u32 depth = mine->unsettled_counts & 0xffff;

	/* now may lie before settled_ns when clocks of two contexts crossed: then it is due as well. */
	return now_ns - mine->settled_ns >= BLOCK_SHARE_NS || mine->events >= BLOCK_SHARE_EVENTS ||
	       (depth >= BLOCK_SHARE_DEPTH && depth <= 0x10000 - BLOCK_SHARE_DEPTH);
}

/* A request goes to the device: depth counts it before the features are taken (LAKE's "includes the incoming"). */
block_inline void block_depth_enter(struct block_shared *shared, struct block_cpu *mine,
	wire_u32 sectors, int is_read, wire_u64 now_ns)
{
	mine->events++;
	__sync_fetch_and_add(&mine->unsettled_pages, block_pages(sectors));
	__sync_fetch_and_add(&mine->unsettled_counts, is_read ? 0x10001U : 1U);
	if (block_settle_due(mine, now_ns))
		block_settle(shared, mine, now_ns);
}

/* A request leaves the device, for whatever reason. */
block_inline void block_depth_leave(struct block_cpu *mine, wire_u32 sectors, int is_read)
{
	mine->events++;
	__sync_fetch_and_add(&mine->unsettled_pages, -block_pages(sectors));
	__sync_fetch_and_add(&mine->unsettled_counts, is_read ? -0x10001U : -1U);
}

/* Depth as this CPU knows it: all that a read's completion needs of its issue. */
block_inline void block_depth_features(
	const struct block_cpu *mine, struct semantos_block_record *record)
{
	wire_u32 counts = mine->base_counts + mine->unsettled_counts;

	record->pending_pages = mine->base_pages + mine->unsettled_pages;
	record->inflight = counts & 0xffff;
	record->inflight_reads = counts >> 16;
}

/* What else this CPU knows of the device now, but for what belongs to the request itself and the oldest age. */
block_inline void block_features(
	const struct block_cpu *mine, struct semantos_block_record *record, wire_u64 now_ns)
{
	wire_u32 head = mine->completed;
	wire_u64 last = mine->last;

	record->history_len = head < SEMANTOS_HISTORY ? head : SEMANTOS_HISTORY;
	record->history[0] = mine->history[head & 3];
	record->history[1] = mine->history[(head + 1) & 3];
	record->history[2] = mine->history[(head + 2) & 3];
	record->history[3] = mine->history[(head + 3) & 3];
	record->last_latency_us = semantos_last_latency_us(last);
	record->ewma_latency_us = mine->ewma_latency_us;
	record->since_done_us = semantos_last_since_us(last, now_ns);
}

/*
 * A request completed here: `record` is what was noted of a read at its issue, and not looked at for a write, of which only
 * that it completed, and how fast, is kept. Settles when it is due.
 */
block_inline void block_completed(struct block_shared *shared, struct block_cpu *mine,
	const struct semantos_block_record *record, int is_read, wire_u32 latency_us,
	wire_u64 now_ns)
{
	wire_u32 ewma = mine->ewma_latency_us;

	mine->last = semantos_last_pack(now_ns, latency_us);
	if (is_read) {
		mine->history[mine->completed & 3] = semantos_hist_pack(
			latency_us, record->pending_pages, record->inflight, record->sectors);
		mine->completed++;
		/* weight 1/8 */
		mine->ewma_latency_us =
			ewma ? (wire_u32)(ewma + (((long long)latency_us - ewma) >> 3))
			     : latency_us;
		__sync_fetch_and_add(&mine->unsettled_reads, 1);
	}
	if (block_settle_due(mine, now_ns))
		block_settle(shared, mine, now_ns);
}

block_inline void block_order_push(struct block_cpu *mine, wire_u64 issue_ns, wire_u32 index)
{
	mine->order[mine->order_head++ & (BLOCK_ORDER_RING - 1)] =
		block_order_pack(issue_ns, index);
}

/*
 * A read issued at issue_ns completed here. The oldest one is forgotten at once, so that the next issue need not look
 * at its entry; when none is left the ring starts anew, and a device without queue stays within its first lines. A
 * push interrupted by this leaves stale words: readers check every word against its entry.
 */
block_inline void block_order_done(struct block_cpu *mine, wire_u64 issue_ns, wire_u32 index)
{
	wire_u32 tail = block_load(mine->order_tail), head = block_load(mine->order_head);

	if (tail == head ||
		mine->order[tail & (BLOCK_ORDER_RING - 1)] != block_order_pack(issue_ns, index))
		return;
	if (++tail == head) {
		block_store(mine->order_head, 0);
		tail = 0;
	}
	block_store(mine->order_tail, tail);
}

/* Issue time of the read a word stands for, or 0 when it is no longer in flight. */
typedef wire_u64 block_in_flight_fn(void *ctx, wire_u64 word);

/*
 * Issue time of the oldest read in flight, 0 = none. Forgets this CPU's finished reads, a bounded number a call, and
 * offers its own oldest to the others when it is older than the one they know, or theirs has finished.
 */
block_inline wire_u64 block_oldest_ns(struct block_shared *shared, struct block_cpu *mine,
	block_in_flight_fn *in_flight, void *ctx)
{
	wire_u32 tail = mine->order_tail, head = mine->order_head;
	wire_u64 own_word = 0, own_ns = 0, known_ns;

	if (head - tail > BLOCK_ORDER_RING)
		tail = head - BLOCK_ORDER_RING;
	for (int step = 0; step < BLOCK_ORDER_STEPS && tail != head; step++) {
		own_word = mine->order[tail & (BLOCK_ORDER_RING - 1)];
		own_ns = in_flight(ctx, own_word);
		if (own_ns)
			break;
		tail++;
	}
	mine->order_tail = tail;
	if (mine->oldest == own_word && own_ns)
		return own_ns;
	known_ns = mine->oldest ? in_flight(ctx, mine->oldest) : 0;
	if (known_ns && (!own_ns || known_ns <= own_ns))
		return known_ns;
	/* Told to the others only when we settled just now: the line is ours anyway. */
	if (!mine->events && mine->oldest != (own_ns ? own_word : 0)) {
		mine->oldest = own_ns ? own_word : 0;
		block_store(shared->oldest, mine->oldest);
	}
	return own_ns;
}

#endif
