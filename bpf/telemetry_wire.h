/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * telemetry_wire.h - what bpf/telemetry/telemetry.bpf.c and agent/telemetry share: histograms, and the rows they lie in.
 *
 * Everything counts up from the load of the object and wraps at its width: a reader takes differences. Rows are per
 * CPU and written by one program each, which the kernel never runs nested in itself, so nothing here is atomic.
 */
#ifndef SEMANTOS_TELEMETRY_WIRE_H
#define SEMANTOS_TELEMETRY_WIRE_H

#include "bpf/wire.h"

#define TELEMETRY_VERSION 1 /* in .rodata of the object; another one is refused */
#define TELEMETRY_MAX_DISKS 64
#define TELEMETRY_MAX_QUEUES \
	4096 /* request queues remembered by number; others are looked up each time */
#define TELEMETRY_SOFTIRQS 10
#define TELEMETRY_RTT_EVERY 16 /* one received TCP segment in so many is looked at, by CPU */

/*
 * Log-linear: units of 64 ns, eight buckets an octave, so a bucket is at most an eighth as wide as its lower end. The
 * first eight are one unit wide; the last one takes what lasted 17 s and longer.
 */
#define TELEMETRY_UNIT_SHIFT 6
#define TELEMETRY_SUB_BITS 3
#define TELEMETRY_OCTAVES 28 /* of units */
#define TELEMETRY_BUCKETS ((TELEMETRY_OCTAVES - TELEMETRY_SUB_BITS + 1) << TELEMETRY_SUB_BITS)

struct telemetry_hist {
	wire_u64 sum_ns;
	wire_u32 bucket[TELEMETRY_BUCKETS];
};

/* Where a duration belongs. No loop and no count-leading-zeros, which BPF lacks: five comparisons. */
static inline wire_u32 telemetry_bucket(wire_u64 ns)
{
	wire_u64 units = ns >> TELEMETRY_UNIT_SHIFT;
	wire_u32 v, log2 = 0, rest;

	if (units >> TELEMETRY_OCTAVES)
		return TELEMETRY_BUCKETS - 1;
	v = (wire_u32)units;
	if (v < 1 << TELEMETRY_SUB_BITS)
		return v;
	rest = v;
	if (rest >> 16) {
		log2 += 16;
		rest >>= 16;
	}
	if (rest >> 8) {
		log2 += 8;
		rest >>= 8;
	}
	if (rest >> 4) {
		log2 += 4;
		rest >>= 4;
	}
	if (rest >> 2) {
		log2 += 2;
		rest >>= 2;
	}
	log2 += rest >> 1;
	return ((log2 - TELEMETRY_SUB_BITS + 1) << TELEMETRY_SUB_BITS) +
	       ((v >> (log2 - TELEMETRY_SUB_BITS)) & ((1 << TELEMETRY_SUB_BITS) - 1));
}

/* Lower end of a bucket, in ns; of TELEMETRY_BUCKETS: the upper end of the last. */
static inline wire_u64 telemetry_bucket_ns(wire_u32 bucket)
{
	wire_u32 octave = bucket >> TELEMETRY_SUB_BITS,
		 sub = bucket & ((1 << TELEMETRY_SUB_BITS) - 1);

	if (!octave)
		return (wire_u64)sub << TELEMETRY_UNIT_SHIFT;
	return ((wire_u64)((1 << TELEMETRY_SUB_BITS) + sub) << (octave - 1))
	       << TELEMETRY_UNIT_SHIFT;
}

enum telemetry_direction { TELEMETRY_READ, TELEMETRY_WRITE, TELEMETRY_DIRECTIONS };

/* Map `disks`: a row a disk and CPU. */
struct telemetry_disk {
	struct {
		wire_u64 bytes;
		wire_u64 errors; /* also in the histogram */
		struct telemetry_hist latency; /* from the request's allocation to its completion */
	} of[TELEMETRY_DIRECTIONS];
};

enum telemetry_reclaim { TELEMETRY_DIRECT, TELEMETRY_MEMCG, TELEMETRY_RECLAIMS };

/* What could not be measured, by cause. */
enum telemetry_loss {
	TELEMETRY_L_UNTIMED, /* requests without a start time: queue/iostats is 0 */
	TELEMETRY_L_RECLAIM_FULL, /* reclaims begun while as many as the table holds went on */
	TELEMETRY_L_RECLAIM_UNBEGUN, /* reclaims that ended and whose begin was not seen */
	TELEMETRY_L_SOFTIRQ_UNBEGUN, /* likewise */
	TELEMETRY_L_NR,
};

/* Map `cpus`: a row a CPU. Blocks of different programs keep to cache lines of their own. */
struct telemetry_cpu {
	struct telemetry_hist runq; /* runnable to running */
	wire_u64 syscalls;
	wire_u64 retransmits; /* segments sent again */
	wire_u64
		rtt_seen; /* segments received, of which one in TELEMETRY_RTT_EVERY was looked at */
	struct telemetry_hist rtt; /* the connection's smoothed round-trip time, as it stood then */
	wire_u64 softirq_begin_ns; /* 0 = none runs */
	wire_u64 softirq_ns[TELEMETRY_SOFTIRQS];
	struct telemetry_hist softirq;
	struct telemetry_hist reclaim[TELEMETRY_RECLAIMS];
	wire_u64 loss[TELEMETRY_L_NR];
};

_Static_assert(TELEMETRY_BUCKETS == 208, "the histogram's size is part of the format");
_Static_assert(sizeof(struct telemetry_hist) == 840, "no holes");
_Static_assert(sizeof(struct telemetry_disk) == 1712, "no holes");
_Static_assert(sizeof(struct telemetry_cpu) == 5 * 840 + 3 * 8 + 8 + 80 + 32, "no holes");

#endif
