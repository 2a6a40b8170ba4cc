/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * wire.h - the fixed-width structs shared by BPF programs, the agent, the kernel module and consumers.
 *
 * Owns: the record a hook puts in a ring, the verdict word a consumer loads, the lease, the slot row and the
 * names of the counters. Nothing here has a pointer, an enum of unknown width or a field whose meaning depends
 * on the build. SEMANTOS_WIRE_VERSION is carried by every record, by every policy object (its .rodata) and by
 * every capture file; a reader that finds another version refuses it, it never guesses.
 *
 * Included by BPF sources after vmlinux.h, by the kernel module, and by user space: all give it the same layout.
 */
#ifndef SEMANTOS_WIRE_H
#define SEMANTOS_WIRE_H

#if defined(__bpf__) || defined(__KERNEL__)
#ifdef __KERNEL__
#include <linux/types.h>
#endif
#define wire_u8 __u8
#define wire_u16 __u16
#define wire_u32 __u32
#define wire_u64 __u64
#else
#include <stdint.h>
#define wire_u8 uint8_t
#define wire_u16 uint16_t
#define wire_u32 uint32_t
#define wire_u64 uint64_t
#endif

#define SEMANTOS_WIRE_VERSION 1

/* One slot is one device; slots are dense from 0 and at most this many exist for one policy. */
#define SEMANTOS_MAX_SLOTS 1024
#define SEMANTOS_HISTORY 4 /* reads a block record looks back on (LinnOS, OSDI'20, uses four) */

/* ---- records: what crosses a ring ------------------------------------------------------------------ */

enum semantos_record_kind {
	SEMANTOS_REQUEST =
		1, /* a read was issued: a verdict is asked for; outcome fields are zero */
	SEMANTOS_OUTCOME = 2, /* that read completed: the same features, and what really happened */
};

enum semantos_op { SEMANTOS_OP_READ = 0, SEMANTOS_OP_WRITE = 1 };

/* flags of a record */
#define SEMANTOS_F_CANARY 0x01 /* the hash of the request id falls into the canary share */
#define SEMANTOS_F_ERROR 0x02 /* OUTCOME only: the device answered with an error */
#define SEMANTOS_F_EXPLORED 0x04 /* reserved: the decision was randomised to learn from it */

/* class_in_force when no fresh verdict stood in the slot at issue: the kernel default applied. */
#define SEMANTOS_CLASS_DEFAULT 0xff

/*
 * One packed history entry, newest reads of a device. A single u64 so that a reader never sees half of one.
 * latency 24 bits of microseconds (saturates at 16.7 s), pending pages 16 (saturates), reads and writes in
 * flight 10 (saturates at 1023), size 14 bits of 512-byte sectors (saturates at 8 MiB).
 */
#define SEMANTOS_HIST_LATENCY_MAX 0xffffffULL
#define SEMANTOS_HIST_PENDING_MAX 0xffffULL
#define SEMANTOS_HIST_INFLIGHT_MAX 0x3ffULL
#define SEMANTOS_HIST_SECTORS_MAX 0x3fffULL

static inline __attribute__((always_inline)) wire_u64 semantos_hist_pack(
	wire_u64 latency_us, wire_u64 pending_pages, wire_u64 inflight, wire_u64 sectors)
{
	if (latency_us > SEMANTOS_HIST_LATENCY_MAX)
		latency_us = SEMANTOS_HIST_LATENCY_MAX;
	if (pending_pages > SEMANTOS_HIST_PENDING_MAX)
		pending_pages = SEMANTOS_HIST_PENDING_MAX;
	if (inflight > SEMANTOS_HIST_INFLIGHT_MAX)
		inflight = SEMANTOS_HIST_INFLIGHT_MAX;
	if (sectors > SEMANTOS_HIST_SECTORS_MAX)
		sectors = SEMANTOS_HIST_SECTORS_MAX;
	return latency_us | pending_pages << 24 | inflight << 40 | sectors << 50;
}

static inline __attribute__((always_inline)) wire_u32 semantos_hist_latency_us(wire_u64 h)
{
	return (wire_u32)(h & SEMANTOS_HIST_LATENCY_MAX);
}

static inline __attribute__((always_inline)) wire_u32 semantos_hist_pending_pages(wire_u64 h)
{
	return (wire_u32)(h >> 24 & SEMANTOS_HIST_PENDING_MAX);
}

static inline __attribute__((always_inline)) wire_u32 semantos_hist_inflight(wire_u64 h)
{
	return (wire_u32)(h >> 40 & SEMANTOS_HIST_INFLIGHT_MAX);
}

static inline __attribute__((always_inline)) wire_u32 semantos_hist_sectors(wire_u64 h)
{
	return (wire_u32)(h >> 50 & SEMANTOS_HIST_SECTORS_MAX);
}

/*
 * The last completed request of a device in one word: when, in 256 ns (44 bits, so that it comes round in 52 days),
 * and its latency in microseconds (20 bits, saturates). 0 = none yet.
 */
#define SEMANTOS_LAST_LATENCY_MAX 0xfffffULL
#define SEMANTOS_LAST_TIME_MASK 0xfffffffffffULL

static inline __attribute__((always_inline)) wire_u64 semantos_last_pack(
	wire_u64 done_ns, wire_u32 latency_us)
{
	return done_ns >> 8 << 20 |
	       (latency_us < SEMANTOS_LAST_LATENCY_MAX ? latency_us : SEMANTOS_LAST_LATENCY_MAX);
}

static inline __attribute__((always_inline)) wire_u32 semantos_last_latency_us(wire_u64 last)
{
	return (wire_u32)(last & SEMANTOS_LAST_LATENCY_MAX);
}

/* 256 ns units from `last` to now_ns; 0 when the clocks of two CPUs crossed. */
static inline __attribute__((always_inline)) wire_u64 semantos_last_age(
	wire_u64 last, wire_u64 now_ns)
{
	wire_u64 age = ((now_ns >> 8) - (last >> 20)) & SEMANTOS_LAST_TIME_MASK;

	return age > SEMANTOS_LAST_TIME_MASK / 2 ? 0 : age;
}

static inline __attribute__((always_inline)) wire_u32 semantos_last_since_us(
	wire_u64 last, wire_u64 now_ns)
{
	wire_u64 age = last ? semantos_last_age(last, now_ns) : 0;

	/* 2^30 * 256 / 1000 rounded up: exact to a microsecond below 2^32 ns, and it spares the division. */
	if (age < 1ULL << 24)
		return (wire_u32)(age * 274877907ULL >> 30);
	age = (age << 8) / 1000;
	return age > 0xffffffffULL ? 0xffffffffU : (wire_u32)age;
}

/* Is a later than b, or b none? */
static inline __attribute__((always_inline)) int semantos_last_newer(wire_u64 a, wire_u64 b)
{
	return a && (!b || ((((a >> 20) - (b >> 20)) & SEMANTOS_LAST_TIME_MASK) - 1) <
				    SEMANTOS_LAST_TIME_MASK / 2);
}

/* Every record of every policy begins with this; `bytes` is the whole record, head included. */
struct semantos_record_head {
	wire_u16 version; /* SEMANTOS_WIRE_VERSION */
	wire_u16 bytes;
	wire_u8 kind; /* enum semantos_record_kind */
	wire_u8 flags; /* SEMANTOS_F_* */
	wire_u16 slot; /* < SEMANTOS_MAX_SLOTS */
	wire_u64 ts_ns; /* bpf_ktime_get_boot_ns() of the decision (issue), also in an OUTCOME */
	wire_u64 request_id; /* never 0; unique per policy load; equal in REQUEST and OUTCOME */
	wire_u32 generation; /* of the slot at issue, 12 bits used; a verdict echoes it */
	wire_u32 cpu; /* CPU whose ring carries the record */
};

/*
 * Raw numbers of one read, as they stood when it was issued. Encoders (agent/infer/encode.h and the kernel
 * side) turn these into a model's features; the record itself belongs to no model.
 */
struct semantos_block_record {
	struct semantos_record_head head;
	wire_u32 pending_pages; /* 4 KiB pages in flight, reads and writes, this one included */
	wire_u32 inflight; /* requests in flight, reads and writes, this one included */
	wire_u32 inflight_reads; /* reads among them, this one included */
	wire_u32 sectors; /* 512-byte sectors of this read */
	wire_u64 history
		[SEMANTOS_HISTORY]; /* semantos_hist_pack(), oldest first; 0 = no such read yet */
	wire_u32
		since_done_us; /* since the device last completed a request, read or write; saturates */
	wire_u32 last_latency_us; /* latency of that request, at most SEMANTOS_LAST_LATENCY_MAX */
	wire_u32 oldest_age_us; /* age of the oldest other read still in flight, 0 = none */
	wire_u32 ewma_latency_us; /* of completed reads, weight 1/8 */
	wire_u64 sector; /* first sector; feeds locality features, never a model of ours today */
	wire_u8 op; /* enum semantos_op */
	wire_u8 history_len; /* valid entries of history, 0..SEMANTOS_HISTORY */
	wire_u8 class_in_force; /* fresh verdict of the slot at issue, or SEMANTOS_CLASS_DEFAULT */
	wire_u8 confidence_in_force;
	wire_u32 latency_us; /* OUTCOME only: issue to completion, saturates at 2^32-1 */
	wire_u64 reserved[2];
};

/* ---- verdicts: what a consumer loads --------------------------------------------------------------- */

/*
 * The verdict word. One aligned u64, stored and loaded whole:
 *   bits 0-3 class, 4-11 confidence (0..255), 12-23 generation, 24-63 expires in 2^16 ns units of boot time.
 * `expires` counts modulo 2^40 (2.3 years of uptime), so it is compared by difference.
 */
#define SEMANTOS_EXPIRES_SHIFT 16
#define SEMANTOS_EXPIRES_MASK 0xffffffffffULL
#define SEMANTOS_GENERATION_MASK 0xfffU
#define SEMANTOS_CLASS_MASK 0xfU

static inline __attribute__((always_inline)) wire_u64 semantos_verdict_pack(
	wire_u64 expires_ns, wire_u32 generation, wire_u32 confidence, wire_u32 class)
{
	return (expires_ns >> SEMANTOS_EXPIRES_SHIFT & SEMANTOS_EXPIRES_MASK) << 24 |
	       (wire_u64)(generation & SEMANTOS_GENERATION_MASK) << 12 |
	       (wire_u64)(confidence & 0xffU) << 4 | (class & SEMANTOS_CLASS_MASK);
}

static inline __attribute__((always_inline)) wire_u32 semantos_verdict_class(wire_u64 word)
{
	return (wire_u32)(word & SEMANTOS_CLASS_MASK);
}

static inline __attribute__((always_inline)) wire_u32 semantos_verdict_confidence(wire_u64 word)
{
	return (wire_u32)(word >> 4 & 0xffU);
}

static inline __attribute__((always_inline)) wire_u32 semantos_verdict_generation(wire_u64 word)
{
	return (wire_u32)(word >> 12 & SEMANTOS_GENERATION_MASK);
}

/*
 * Does this word count now? Fresh means: the slot's generation, an expiry ahead of `now_ns`, and no further
 * ahead than the policy's TTL allows. The lease is checked beside it (semantos_lease_alive).
 */
static inline __attribute__((always_inline)) int semantos_verdict_fresh(
	wire_u64 word, wire_u32 generation, wire_u64 ttl_ns, wire_u64 now_ns)
{
	wire_u64 ahead =
		((word >> 24) - (now_ns >> SEMANTOS_EXPIRES_SHIFT)) & SEMANTOS_EXPIRES_MASK;

	return word != 0 &&
	       semantos_verdict_generation(word) == (generation & SEMANTOS_GENERATION_MASK) &&
	       ahead != 0 && ahead <= (ttl_ns >> SEMANTOS_EXPIRES_SHIFT) + 1;
}

/* The verdict word as BTF shows it: bpftool prints each field. Same bits as semantos_verdict_pack(). */
struct semantos_verdict_bits {
	wire_u64 class : 4;
	wire_u64 confidence : 8;
	wire_u64 generation : 12;
	wire_u64 expires_65us : 40;
};

/* One row of the pinned map `verdicts`; index = slot. Written by the agent, one aligned store of `verdict`. */
struct semantos_verdict_row {
	struct semantos_verdict_bits verdict;
	wire_u32 major;
	wire_u32 minor;
	char device[16]; /* kernel name, e.g. nvme0n1 */
	char model[32]; /* name of the model that answers, "" = none yet */
};

/* ---- what the kernel side owns: written by BPF programs only (the maps are frozen for user space) ------ */

/*
 * Proof that the agent lives: fresh verdicts count only while now < expires_ns. Renewed by a BPF program that
 * reads the kernel's clock itself, so that neither a stopped agent, a time namespace nor a clock set can make it
 * last longer than SEMANTOS_LEASE_NS.
 */
#define SEMANTOS_LEASE_NS \
	75000000ULL /* 75 ms: with the TTL, nothing lives 100 ms after the agent */
struct semantos_lease {
	wire_u64 expires_ns; /* boot time; 0 = no agent */
	wire_u32 agent_pid; /* in the initial pid namespace */
	wire_u32 version; /* SEMANTOS_WIRE_VERSION */
	wire_u64 renewals;
	wire_u64 reserved;
};

static inline __attribute__((always_inline)) int semantos_lease_alive(
	wire_u64 expires_ns, wire_u64 now_ns)
{
	return now_ns < expires_ns && expires_ns - now_ns <= SEMANTOS_LEASE_NS;
}

enum semantos_mode { SEMANTOS_SHADOW = 0, SEMANTOS_CANARY = 1, SEMANTOS_ENFORCE = 2 };

/* One row of the pinned map `slots`; index = slot. */
struct semantos_slot {
	wire_u32 dev; /* kernel dev_t of the disk: major << 20 | minor; 0 = slot free */
	wire_u32
		generation; /* 12 bits used; changes on removal, reuse of the dev_t, model swap, attach */
	wire_u64 diskseq; /* the kernel's own serial of this disk: a reused dev_t has another one */
	wire_u32 queue_depth; /* tags per hardware queue */
	wire_u32 queues;
	wire_u32 in_use; /* 0 = ignore this slot */
	wire_u32
		obey; /* 1 = this device's model showed signal: the policy's mode applies; 0 = shadow, whatever it says */
	wire_u32
		choose; /* 1 = and choosing a volume's leg by it beat the default on held-out reads: 0 moves no read, whatever obey is */
	wire_u32 reserved[7];
};

/* The single row of the pinned map `policy`. */
struct semantos_policy {
	wire_u32 version; /* SEMANTOS_WIRE_VERSION */
	wire_u32 mode; /* enum semantos_mode */
	wire_u32 canary_percent; /* 0..100 */
	wire_u32 epoch; /* changes whenever the set of slots does: kernel-side caches follow */
	wire_u64 ttl_ns;
	wire_u64 budget_per_s; /* REQUEST records a second, all CPUs together; 0 = none at all */
	wire_u32
		below; /* of system calls: only descendants of this process are looked at; 0 = all */
	wire_u32 reserved_32;
	wire_u64 reserved[3];
};

/* Is this request in the treated group? The same hash everywhere, so that an outcome can be attributed. */
static inline __attribute__((always_inline)) int semantos_in_canary(
	wire_u64 request_id, wire_u32 canary_percent)
{
	/* Fibonacci hashing: the high bits of id * 2^64/phi spread sequential ids evenly. */
	return (wire_u32)((request_id * 0x9e3779b97f4a7c15ULL) >> 32) % 100 < canary_percent;
}

/*
 * The single row of the pinned map `trial`: what came of obeying and of not obeying, in mode canary. Whoever acts on
 * verdicts reports each request here once it ended; the agent only reads, and promotes or demotes by the difference.
 */
struct semantos_trial {
	wire_u64 requests[2]; /* control group, treated */
	wire_u64 latency_us[2]; /* their sums */
	wire_u64 reserved[4];
};

/* treated: semantos_in_canary() of the request, whatever the verdict said: groups are compared as they were drawn. */
static inline __attribute__((always_inline)) void semantos_trial_report(
	struct semantos_trial *trial, int treated, wire_u64 latency_us)
{
	__sync_fetch_and_add(&trial->latency_us[!!treated], latency_us);
	__sync_fetch_and_add(&trial->requests[!!treated], 1);
}

#define SEMANTOS_OBEY 1
#define SEMANTOS_CHOOSE 2

/* Commands of the policy object's `control` program (SEC("syscall")), the only writer of the maps above. */
enum semantos_control_op {
	SEMANTOS_CTL_SLOT_ADD = 1, /* slot, dev, diskseq, queue_depth, queues */
	SEMANTOS_CTL_SLOT_REMOVE = 2, /* slot */
	SEMANTOS_CTL_SLOT_BUMP = 3, /* slot: new generation (model swap) */
	SEMANTOS_CTL_POLICY =
		4, /* mode, canary_percent, ttl_ns, budget_per_s; of system calls: slot, its `below` */
	SEMANTOS_CTL_SLOT_OBEY =
		5, /* slot, mode: SEMANTOS_OBEY, the slot's `obey`; plus SEMANTOS_CHOOSE, its `choose` */
};

struct semantos_control {
	wire_u32 op; /* enum semantos_control_op */
	wire_u32 slot;
	wire_u32 dev;
	wire_u32 queue_depth;
	wire_u64 diskseq;
	wire_u32 queues;
	wire_u32 mode;
	wire_u32 canary_percent;
	wire_u32 reserved;
	wire_u64 ttl_ns;
	wire_u64 budget_per_s;
};

/*
 * ---- counters: one per-CPU row. Summed over CPUs, at rest:
 * requests           = requests_submitted + drop_over_budget + drop_ring_full
 * requests_submitted = outcomes + drop_outcome_reused + drop_outcome_requeued + still in flight
 * outcomes           = outcomes_submitted + drop_outcome_ring_full + drop_outcome_device_gone
 * *_submitted        = delivered to user space + still in the rings
 * ----
 */
enum semantos_counter {
	SEMANTOS_C_EVENTS, /* hook calls for a known device */
	SEMANTOS_C_READS, /* reads issued on a known device */
	SEMANTOS_C_WRITES,
	SEMANTOS_C_NO_HISTORY, /* reads before four completed ones: nothing to predict from, not a loss */
	SEMANTOS_C_REQUESTS, /* decision requests: reads with history */
	SEMANTOS_C_REQUESTS_SUBMITTED,
	SEMANTOS_C_OUTCOMES, /* completions of reads whose request was submitted */
	SEMANTOS_C_OUTCOMES_SUBMITTED,
	SEMANTOS_C_DROP_OVER_BUDGET, /* requests beyond the event budget: default applies */
	SEMANTOS_C_DROP_RING_FULL, /* requests that found no room */
	SEMANTOS_C_DROP_OUTCOME_RING_FULL, /* outcomes that found no room */
	SEMANTOS_C_DROP_OUTCOME_REUSED, /* outcomes that never came: the tag was seen again first */
	SEMANTOS_C_DROP_OUTCOME_DEVICE_GONE, /* outcomes of a device removed or replaced meanwhile */
	SEMANTOS_C_TAG_RANGE, /* a tag or queue number outside what the device declared */
	SEMANTOS_C_NOT_OURS, /* hook calls for devices no slot covers */
	SEMANTOS_C_LOOKUP_FAILED, /* a map lookup that cannot fail failed */
	SEMANTOS_C_RING_MISSING, /* no ring for this CPU */
	SEMANTOS_C_UNMATCHED_DONE, /* completions of requests issued before the policy was attached */
	SEMANTOS_C_REQUEUED, /* requests the driver gave back and the block layer issued again */
	SEMANTOS_C_DROP_OUTCOME_REQUEUED, /* outcomes of reads that were given back after their request was sent */
	SEMANTOS_C_SHORT, /* windows of too few system calls to say anything, of processes that ended */
	SEMANTOS_C_SHORT_CALLS, /* calls in them */
	SEMANTOS_C_I386_CALLS, /* system calls by the i386 interface */
	SEMANTOS_C_NR, /* number of counters in this version */
	SEMANTOS_C_MAX = 32, /* size of the row, stable across additions */
};

struct semantos_counters {
	wire_u64 count[SEMANTOS_C_MAX];
};

/* The agent's half of the wake protocol (bpf/lib/ring.h): one mmapped row, user space writes `idle`. */
struct semantos_wake {
	wire_u32 idle; /* 1 = the consumer sleeps: the next record of any CPU wakes it */
	wire_u32 every; /* while busy, wake at every n-th record of a CPU */
	wire_u64 reserved[7];
};

#define SEMANTOS_ASSERT_SIZE(type, size) \
	_Static_assert(sizeof(type) == (size), "wire size of " #type)
SEMANTOS_ASSERT_SIZE(struct semantos_record_head, 32);
SEMANTOS_ASSERT_SIZE(struct semantos_block_record, 128);
SEMANTOS_ASSERT_SIZE(struct semantos_verdict_bits, 8);
SEMANTOS_ASSERT_SIZE(struct semantos_verdict_row, 64);
SEMANTOS_ASSERT_SIZE(struct semantos_lease, 32);
SEMANTOS_ASSERT_SIZE(struct semantos_slot, 64);
SEMANTOS_ASSERT_SIZE(struct semantos_policy, 64);
SEMANTOS_ASSERT_SIZE(struct semantos_control, 56);
SEMANTOS_ASSERT_SIZE(struct semantos_trial, 64);
SEMANTOS_ASSERT_SIZE(struct semantos_counters, 256);
SEMANTOS_ASSERT_SIZE(struct semantos_wake, 64);
_Static_assert(
	__builtin_offsetof(struct semantos_block_record, history) == 48, "wire offset of history");
_Static_assert(
	__builtin_offsetof(struct semantos_block_record, sector) == 96, "wire offset of sector");
_Static_assert(__builtin_offsetof(struct semantos_block_record, latency_us) == 108,
	"wire offset of latency_us");
_Static_assert(__builtin_offsetof(struct semantos_verdict_row, verdict) == 0,
	"the word is the row's first u64");
_Static_assert(SEMANTOS_C_NR <= SEMANTOS_C_MAX, "counters fit their row");

#endif
