/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * sched_wire.h - what a policy of scheduling sends and shows: its record, its decisions, how its scheduler ended.
 *
 * A record of the kind `sched` is as large as a block record and has the fields that learning and judging read (outcome,
 * baseline, class in force) in the same places, so that it crosses the same rings, fills the same captures and trains by
 * the same code. The question is always: may this task be pulled from that CPU to this one? Raw numbers only; the 15
 * features are made of them by bpf/lib/sched_features.h, in the kernel and in user space.
 */
#ifndef SEMANTOS_SCHED_WIRE_H
#define SEMANTOS_SCHED_WIRE_H

#include "bpf/wire.h"

#ifdef __bpf__
#define wire_s32 __s32
#define wire_s64 __s64
#elif !defined(wire_s32)
#define wire_s32 int32_t
#define wire_s64 int64_t
#endif

/* flags of a candidate */
#define SEMANTOS_SCHED_IDLE 0x01 /* the pulling CPU is idle */
#define SEMANTOS_SCHED_NEWLY_IDLE 0x02 /* it is about to be; neither flag: it is busy */
#define SEMANTOS_SCHED_SAME_NODE 0x04
#define SEMANTOS_SCHED_PREFER_SRC 0x08 /* the source's NUMA node is the task's preferred one */
#define SEMANTOS_SCHED_PREFER_DST 0x10
#define SEMANTOS_SCHED_BUDDY_HOT 0x20 /* the source wants to run it next */

/* A record; offsets shared with struct semantos_block_record are asserted below. */
struct semantos_sched_record {
	struct semantos_record_head head;
	wire_u32 cold_us; /* since the task last ran, saturates: the baseline's score */
	wire_u32 src_nr, dst_nr; /* runnable tasks of the two CPUs, the running one included */
	wire_u32 one; /* 1 */
	wire_s64 delta_ns; /* since the task last ran, by the source's clock */
	wire_u32 src_load, dst_load; /* as the kernel's load average: 1024 a task of weight 100 */
	wire_s32 delta_faults; /* NUMA faults of the destination's node less the source's */
	wire_u32 total_faults;
	wire_u32 src_preferred_nr; /* tasks of the source that run on their preferred node */
	wire_u32 nr_fails; /* balancing attempts that moved nothing */
	wire_u32 cache_nice_tries; /* of those, so many are borne before a hot task is moved */
	wire_u32 flags; /* SEMANTOS_SCHED_* */
	wire_u32 pid;
	wire_u16 src_cpu, dst_cpu;
	wire_u64 reserved;
	wire_u8 op; /* SEMANTOS_OP_READ */
	wire_u8 history_len; /* SEMANTOS_HISTORY: nothing is missing */
	wire_u8 class_in_force; /* what the net in the kernel said, or SEMANTOS_CLASS_DEFAULT */
	wire_u8 confidence_in_force;
	wire_u32 answer; /* OUTCOME only: 1 = the kernel lets it migrate */
	wire_u64 reserved2[2];
};

#define SEMANTOS_SCHED_SAME_PLACE(sched, block)                                         \
	_Static_assert(__builtin_offsetof(struct semantos_sched_record, sched) ==       \
			       __builtin_offsetof(struct semantos_block_record, block), \
		"wire offset of " #sched)
SEMANTOS_ASSERT_SIZE(struct semantos_sched_record, sizeof(struct semantos_block_record));
SEMANTOS_SCHED_SAME_PLACE(cold_us, pending_pages);
SEMANTOS_SCHED_SAME_PLACE(one, sectors);
SEMANTOS_SCHED_SAME_PLACE(op, op);
SEMANTOS_SCHED_SAME_PLACE(history_len, history_len);
SEMANTOS_SCHED_SAME_PLACE(class_in_force, class_in_force);
SEMANTOS_SCHED_SAME_PLACE(answer, latency_us);

/*
 * ---- decisions of the scheduler: one row a CPU. Summed over CPUs, at rest:
 * candidates = net + plain (by cause) + waited + fixed
 * yes        = moved + lost
 * net        = net_yes + net_no
 * ----
 * A candidate is a queued task that a CPU with room looked at. A decision is carried out at once or not at all, so none
 * is ever in flight at rest.
 */
enum semantos_sched_counter {
	SEMANTOS_S_PULLS, /* times a CPU looked for a task to pull */
	SEMANTOS_S_CANDIDATES, /* tasks it looked at */
	SEMANTOS_S_FIXED, /* of those: may not run there (affinity, migration disabled) */
	SEMANTOS_S_WAITED, /* waited so long that an idle CPU takes them unasked */
	SEMANTOS_S_NET, /* decided by the net */
	SEMANTOS_S_PLAIN_NO_LEASE, /* by the plain rule: the agent's lease has lapsed */
	SEMANTOS_S_PLAIN_NO_MODEL, /* no net is there */
	SEMANTOS_S_PLAIN_NO_SIGNAL, /* its net has not shown signal */
	SEMANTOS_S_PLAIN_SHADOW, /* the policy's mode is shadow */
	SEMANTOS_S_PLAIN_CONTROL, /* in canary: this slice of time is the control group's */
	SEMANTOS_S_NET_YES,
	SEMANTOS_S_NET_NO,
	SEMANTOS_S_YES, /* to be moved, whoever said so */
	SEMANTOS_S_MOVED,
	SEMANTOS_S_LOST, /* ran or left before it could be moved: nothing happened */
	SEMANTOS_S_LEFT_IDLE, /* times a CPU went idle although others had tasks queued */
	SEMANTOS_S_WAKE_IDLE, /* wakeups placed on an idle CPU */
	SEMANTOS_S_WAKE_QUEUED, /* wakeups put into a queue */
	SEMANTOS_S_PREEMPTED, /* of those: whoever ran there was interrupted */
	SEMANTOS_S_REQUEUED, /* put back after their slice, or as a real-time task took the CPU, or as it went */
	SEMANTOS_S_KICKED, /* an idle CPU was woken to look for work */
	SEMANTOS_S_NO_STORAGE, /* a task or group without memory of its own: default weight */
	SEMANTOS_S_NR,
	SEMANTOS_S_MAX = 32,
};

#define SEMANTOS_SCHED_WAITS 24 /* bucket b: 2^b..2^(b+1) us from wakeup to running; 0: below 2 */

struct semantos_sched_row {
	wire_u64 count[SEMANTOS_S_MAX];
	wire_u64 waits[SEMANTOS_SCHED_WAITS];
};

/* How the kernel ended the scheduler; the single row of the map `sched_end`. */
struct semantos_sched_end {
	wire_u64 seq; /* times it ended; written last */
	wire_u32 kind; /* enum scx_exit_kind: 64 asked for, from 1024 on for a fault */
	wire_s32 hog_cpu; /* a CPU that another class held when it ended, -1 = none */
	wire_u64 code;
	wire_u64 hog_ns; /* for so long */
	wire_u32 hog_pid;
	wire_u32 enabled; /* times it was taken into use */
	char hog[16];
	char reason[64];
	char message[256];
};
SEMANTOS_ASSERT_SIZE(struct semantos_sched_row, 8 * (32 + 24));
SEMANTOS_ASSERT_SIZE(struct semantos_sched_end, 40 + 16 + 64 + 256 + 8 - 8);
_Static_assert(SEMANTOS_S_NR <= SEMANTOS_S_MAX, "counters fit their row");

#define SEMANTOS_SCHED_EXIT_ASKED 64 /* SCX_EXIT_UNREG, the same since 6.12 */
#define SEMANTOS_SCHED_EXIT_FAULT 1024 /* SCX_EXIT_ERROR */
#define SEMANTOS_SCHED_EXIT_STALL 1026 /* SCX_EXIT_ERROR_STALL */

#endif
