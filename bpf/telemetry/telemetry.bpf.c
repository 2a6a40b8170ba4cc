// SPDX-License-Identifier: GPL-2.0
/*
 * telemetry.bpf.c - sums and histograms of what the whole machine does, read by agent/telemetry every few seconds.
 *
 * Nothing crosses to user space by itself, and hardly any state is kept: the kernel already notes when a request was
 * allocated and when a task became runnable, so one hook at the end of the wait is enough. Programs whose tracepoint
 * this kernel lacks are left out by the loader. Every map row is per CPU; see telemetry_wire.h.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include "bpf/telemetry_wire.h"

#define OP_MASK 0xff /* REQ_OP_BITS: the operation is the low byte of cmd_flags */
#define RECLAIMS_AT_ONCE 4096
#define LOOPBACK_NET 127

const volatile __u32 telemetry_version = TELEMETRY_VERSION;

/* Moved by the agent after each change of `disk_slots`: what `queues` remembers is old then. */
volatile __u32 telemetry_epoch = 1;

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct telemetry_cpu);
} cpus SEC(".maps");

/* The agent makes it as large as the machine's disks need. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TELEMETRY_MAX_DISKS);
	__type(key, __u32);
	__type(value, struct telemetry_disk);
} disks SEC(".maps");

/* dev_t of a disk -> its row in `disks`. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * TELEMETRY_MAX_DISKS);
	__type(key, __u32);
	__type(value, __u32);
} disk_slots SEC(".maps");

/* What `disk_slots` said of the disk behind a request queue: one load instead of a hash. */
struct queue_memory {
	__u32 epoch, dev;
	__u32 slot_plus_1; /* 0 = not followed */
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TELEMETRY_MAX_QUEUES);
	__type(key, __u32);
	__type(value, struct queue_memory);
} queues SEC(".maps");

/* Task -> when it began to reclaim. Made in advance: this is no time to ask for memory. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, RECLAIMS_AT_ONCE);
	__type(key, __u64);
	__type(value, __u64);
} reclaiming SEC(".maps");

static __always_inline struct telemetry_cpu *cpu_row(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&cpus, &zero);
}

static __always_inline void hist_add(struct telemetry_hist *hist, __u64 ns)
{
	__u32 bucket = telemetry_bucket(ns);

	hist->sum_ns += ns;
	if (bucket < TELEMETRY_BUCKETS) /* always; said for the verifier */
		hist->bucket[bucket]++;
}

/* Row of the disk, plus 1; 0 = not followed. A CPU that loses a race with another writes the same. */
static __always_inline __u32 disk_slot(__u32 queue_id, __u32 dev)
{
	struct queue_memory *memory = bpf_map_lookup_elem(&queues, &queue_id);
	__u32 epoch = telemetry_epoch, *found, slot_plus_1;

	if (memory && memory->epoch == epoch && memory->dev == dev)
		return memory->slot_plus_1;
	found = bpf_map_lookup_elem(&disk_slots, &dev);
	slot_plus_1 = found ? *found + 1 : 0;
	if (memory) {
		memory->slot_plus_1 = slot_plus_1;
		memory->dev = dev;
		asm volatile("" ::: "memory"); /* x86 keeps the order of stores */
		*(volatile __u32 *)&memory->epoch = epoch;
	}
	return slot_plus_1;
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(on_block_complete, struct request *rq, blk_status_t error, unsigned int nr_bytes)
{
	__u32 op = rq->cmd_flags & OP_MASK, slot, slot_plus_1;
	__u64 begin_ns = rq->start_time_ns, now_ns;
	struct telemetry_disk *disk;
	struct gendisk *gendisk;

	/* Data transfers only, and only their last part; op is also the direction. */
	if (op >= TELEMETRY_DIRECTIONS || !rq->__data_len || nr_bytes < rq->__data_len)
		return 0;
	gendisk = rq->q->disk;
	if (!gendisk)
		return 0;
	slot_plus_1 =
		disk_slot(rq->q->id, (__u32)gendisk->major << 20 | (__u32)gendisk->first_minor);
	if (!slot_plus_1)
		return 0;
	slot = slot_plus_1 - 1;
	disk = bpf_map_lookup_elem(&disks, &slot);
	if (!disk)
		return 0;
	if (!begin_ns) {
		struct telemetry_cpu *row = cpu_row();

		if (row)
			row->loss[TELEMETRY_L_UNTIMED]++;
		return 0;
	}
	now_ns = bpf_ktime_get_ns();
	disk->of[op].bytes += rq->__data_len;
	disk->of[op].errors += error != 0;
	hist_add(&disk->of[op].latency, now_ns > begin_ns ? now_ns - begin_ns : 0);
	return 0;
}

/*
 * The scheduler notes in sched_info.last_queued when a task became runnable (also by being preempted), and forgets it
 * when the task runs, which it is about to do here. It reads the run queue's clock for both, and so does this.
 */
SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	__u64 queued = next->sched_info.last_queued, now;
	struct telemetry_cpu *row;

	if (!queued)
		return 0;
	now = next->se.cfs_rq->rq->clock; /* set for tasks of every class */
	row = cpu_row();
	if (row)
		hist_add(&row->runq, now > queued ? now - queued : 0);
	return 0;
}

static __always_inline int reclaim_begin(void)
{
	__u64 task = bpf_get_current_pid_tgid(), now_ns = bpf_ktime_get_ns();
	struct telemetry_cpu *row;

	if (bpf_map_update_elem(&reclaiming, &task, &now_ns, BPF_ANY)) {
		row = cpu_row();
		if (row)
			row->loss[TELEMETRY_L_RECLAIM_FULL]++;
	}
	return 0;
}

static __always_inline int reclaim_end(enum telemetry_reclaim kind)
{
	__u64 task = bpf_get_current_pid_tgid(), now_ns;
	__u64 *begin_ns = bpf_map_lookup_elem(&reclaiming, &task);
	struct telemetry_cpu *row = cpu_row();

	if (!row)
		return 0;
	if (!begin_ns) {
		row->loss[TELEMETRY_L_RECLAIM_UNBEGUN]++;
		return 0;
	}
	now_ns = bpf_ktime_get_ns();
	hist_add(&row->reclaim[kind], now_ns > *begin_ns ? now_ns - *begin_ns : 0);
	bpf_map_delete_elem(&reclaiming, &task);
	return 0;
}

SEC("tp_btf/mm_vmscan_direct_reclaim_begin")
int BPF_PROG(on_reclaim_begin)
{
	return reclaim_begin();
}

SEC("tp_btf/mm_vmscan_direct_reclaim_end")
int BPF_PROG(on_reclaim_end)
{
	return reclaim_end(TELEMETRY_DIRECT);
}

SEC("tp_btf/mm_vmscan_memcg_reclaim_begin")
int BPF_PROG(on_memcg_begin)
{
	return reclaim_begin();
}

SEC("tp_btf/mm_vmscan_memcg_reclaim_end")
int BPF_PROG(on_memcg_end)
{
	return reclaim_end(TELEMETRY_MEMCG);
}

SEC("tp_btf/softirq_entry")
int BPF_PROG(on_softirq_entry)
{
	struct telemetry_cpu *row = cpu_row();

	if (row)
		row->softirq_begin_ns = bpf_ktime_get_ns();
	return 0;
}

SEC("tp_btf/softirq_exit")
int BPF_PROG(on_softirq_exit, unsigned int vec)
{
	struct telemetry_cpu *row = cpu_row();
	__u64 now_ns, ns;

	if (!row || vec >= TELEMETRY_SOFTIRQS)
		return 0;
	if (!row->softirq_begin_ns) {
		row->loss[TELEMETRY_L_SOFTIRQ_UNBEGUN]++;
		return 0;
	}
	now_ns = bpf_ktime_get_ns();
	ns = now_ns > row->softirq_begin_ns ? now_ns - row->softirq_begin_ns : 0;
	row->softirq_begin_ns = 0;
	row->softirq_ns[vec] += ns;
	hist_add(&row->softirq, ns);
	return 0;
}

/* Attached for a moment of each interval only: while it is, every system call takes the slow way in. */
SEC("tp_btf/sys_enter")
int BPF_PROG(on_syscall)
{
	struct telemetry_cpu *row = cpu_row();

	if (row)
		row->syscalls++;
	return 0;
}

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(on_retransmit)
{
	struct telemetry_cpu *row = cpu_row();

	if (row)
		row->retransmits++;
	return 0;
}

/* A connection to this machine itself has no network in it. */
static __always_inline bool is_loopback(const struct sock_common *sk)
{
	const __u32 *v6 = sk->skc_v6_daddr.in6_u.u6_addr32;

	if (sk->skc_family != 10 /* AF_INET6 */)
		return (sk->skc_daddr & 0xff) == LOOPBACK_NET;
	if (v6[0] | v6[1])
		return false;
	return (!v6[2] && v6[3] == bpf_htonl(1)) ||
	       (v6[2] == bpf_htonl(0xffff) && (v6[3] & 0xff) == LOOPBACK_NET);
}

SEC("tp_btf/tcp_probe")
int BPF_PROG(on_tcp_segment, struct sock *sk)
{
	struct telemetry_cpu *row = cpu_row();
	struct tcp_sock *tcp;

	if (!row || row->rtt_seen++ % TELEMETRY_RTT_EVERY)
		return 0;
	if (is_loopback(&sk->__sk_common))
		return 0;
	tcp = bpf_skc_to_tcp_sock(sk);
	if (tcp && tcp->srtt_us)
		hist_add(&row->rtt, (__u64)(tcp->srtt_us >> 3) * 1000);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
