/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metric_defs.h - every metric by name: what it is, in what unit, of what kind. docs/telemetry.md says where from.
 */
#ifndef SEMANTOS_TELEMETRY_METRIC_DEFS_H
#define SEMANTOS_TELEMETRY_METRIC_DEFS_H

enum metric_kind {
	METRIC_TIMES, /* durations, in a histogram: seconds */
	METRIC_RATE, /* something counted, in a second */
	METRIC_LEVEL, /* as it stands; a share of the interval counts as one */
};

enum metric_unit { METRIC_SECONDS, METRIC_BYTES, METRIC_RATIO, METRIC_NUMBER };

/* name, kind, unit, label ("" = none), help */
#define METRICS(X)                                                                                 \
	X(BLOCK_READ, "block_read_latency", TIMES, SECONDS, "device",                              \
		"Reads of a disk, from the request's allocation to its completion")                \
	X(BLOCK_WRITE, "block_write_latency", TIMES, SECONDS, "device",                            \
		"Writes of a disk, from the request's allocation to its completion")               \
	X(BLOCK_READ_BYTES, "block_read", RATE, BYTES, "device",                                   \
		"Bytes read from a disk, per second")                                              \
	X(BLOCK_WRITE_BYTES, "block_write", RATE, BYTES, "device",                                 \
		"Bytes written to a disk, per second")                                             \
	X(BLOCK_ERRORS, "block_errors", RATE, NUMBER, "device",                                    \
		"Failed requests of a disk, per second")                                           \
	X(DISK_READS, "disk_reads", RATE, NUMBER, "device",                                        \
		"Reads completed by a disk, per second")                                           \
	X(DISK_WRITES, "disk_writes", RATE, NUMBER, "device",                                      \
		"Writes completed by a disk, per second")                                          \
	X(DISK_BUSY, "disk_busy", LEVEL, RATIO, "device",                                          \
		"Share of the interval in which a disk had a request in flight")                   \
	X(DISK_QUEUE, "disk_queue", LEVEL, NUMBER, "device",                                       \
		"Requests of a disk in flight, on average over the interval")                      \
	X(RUNQ, "runq_latency", TIMES, SECONDS, "",                                                \
		"Tasks, from runnable on a CPU's queue to running")                                \
	X(RECLAIM_DIRECT, "reclaim_direct", TIMES, SECONDS, "",                                    \
		"Stalls of tasks that reclaim memory because the machine has none free")           \
	X(RECLAIM_MEMCG, "reclaim_memcg", TIMES, SECONDS, "",                                      \
		"Stalls of tasks that reclaim memory because their control group is at its limit") \
	X(SOFTIRQ, "softirq_duration", TIMES, SECONDS, "", "Runs of softirq handlers")             \
	X(SOFTIRQ_SHARE, "softirq_time", LEVEL, RATIO, "vector",                                   \
		"Share of all CPUs' time in a softirq")                                            \
	X(SYSCALLS, "syscalls", LEVEL, NUMBER, "", "System calls per second, sampled")             \
	X(TCP_RTT, "tcp_rtt", TIMES, SECONDS, "",                                                  \
		"Smoothed round-trip times of TCP connections as segments arrive, sampled, "       \
		"without "                                                                         \
		"loopback")                                                                        \
	X(TCP_RETRANSMITS, "tcp_retransmits", RATE, NUMBER, "",                                    \
		"TCP segments sent again, in every network namespace, per second")                 \
	X(TCP_SEGMENTS, "tcp_segments_out", RATE, NUMBER, "", "TCP segments sent, per second")     \
	X(TCP_RETRANSMIT_SEGMENTS, "tcp_retransmit_segments", RATE, NUMBER, "",                    \
		"TCP segments sent again, by the kernel's own count, per second")                  \
	X(TCP_TIMEOUTS, "tcp_timeouts", RATE, NUMBER, "",                                          \
		"TCP retransmission timeouts, per second")                                         \
	X(TCP_LISTEN_DROPS, "tcp_listen_drops", RATE, NUMBER, "",                                  \
		"TCP connections dropped because a listener's queue was full, per second")         \
	X(CPU_USER, "cpu_user", LEVEL, RATIO, "",                                                  \
		"Share of all CPUs' time in user space, nice included")                            \
	X(CPU_SYSTEM, "cpu_system", LEVEL, RATIO, "", "Share of all CPUs' time in the kernel")     \
	X(CPU_IOWAIT, "cpu_iowait", LEVEL, RATIO, "",                                              \
		"Share of all CPUs' time idle while a task waited for a disk")                     \
	X(CPU_IRQ, "cpu_irq", LEVEL, RATIO, "",                                                    \
		"Share of all CPUs' time in interrupts and softirqs, by the kernel's tick")        \
	X(CPU_STEAL, "cpu_steal", LEVEL, RATIO, "",                                                \
		"Share of all CPUs' time taken by the hypervisor")                                 \
	X(CPU_IDLE, "cpu_idle", LEVEL, RATIO, "", "Share of all CPUs' time idle")                  \
	X(CONTEXT_SWITCHES, "context_switches", RATE, NUMBER, "", "Context switches per second")   \
	X(INTERRUPTS, "interrupts", RATE, NUMBER, "", "Interrupts per second")                     \
	X(FORKS, "forks", RATE, NUMBER, "", "Tasks made per second")                               \
	X(TASKS_RUNNING, "tasks_running", LEVEL, NUMBER, "", "Tasks running or runnable")          \
	X(TASKS_BLOCKED, "tasks_blocked", LEVEL, NUMBER, "", "Tasks waiting for a disk")           \
	X(LOAD_1, "load_1m", LEVEL, NUMBER, "", "Load average of a minute")                        \
	X(LOAD_5, "load_5m", LEVEL, NUMBER, "", "Load average of five minutes")                    \
	X(LOAD_15, "load_15m", LEVEL, NUMBER, "", "Load average of fifteen minutes")               \
	X(PSI_CPU_SOME, "psi_cpu_some", LEVEL, RATIO, "",                                          \
		"Share of the interval in which a task waited for a CPU")                          \
	X(PSI_MEMORY_SOME, "psi_memory_some", LEVEL, RATIO, "",                                    \
		"Share of the interval in which a task waited for memory")                         \
	X(PSI_MEMORY_FULL, "psi_memory_full", LEVEL, RATIO, "",                                    \
		"Share of the interval in which every task that could run waited for memory")      \
	X(PSI_IO_SOME, "psi_io_some", LEVEL, RATIO, "",                                            \
		"Share of the interval in which a task waited for a disk")                         \
	X(PSI_IO_FULL, "psi_io_full", LEVEL, RATIO, "",                                            \
		"Share of the interval in which every task that could run waited for a disk")      \
	X(PSI_IRQ_FULL, "psi_irq_full", LEVEL, RATIO, "",                                          \
		"Share of the interval in which interrupts held up the tasks of a CPU")            \
	X(REFAULT_ANON, "refault_anon", RATE, NUMBER, "",                                          \
		"Pages of programs' memory read back soon after they were reclaimed, per second")  \
	X(REFAULT_FILE, "refault_file", RATE, NUMBER, "",                                          \
		"Pages of files read back soon after they were reclaimed, per second")             \
	X(PAGE_IN, "page_in", RATE, BYTES, "", "Bytes read from disks into memory, per second")    \
	X(PAGE_OUT, "page_out", RATE, BYTES, "", "Bytes written from memory to disks, per second") \
	X(SWAP_IN, "swap_in", RATE, NUMBER, "", "Pages swapped in, per second")                    \
	X(SWAP_OUT, "swap_out", RATE, NUMBER, "", "Pages swapped out, per second")                 \
	X(FAULTS, "page_faults", RATE, NUMBER, "", "Page faults per second")                       \
	X(MAJOR_FAULTS, "major_faults", RATE, NUMBER, "",                                          \
		"Page faults that waited for a disk, per second")                                  \
	X(SCAN_KSWAPD, "scan_kswapd", RATE, NUMBER, "", "Pages looked at by kswapd, per second")   \
	X(SCAN_DIRECT, "scan_direct", RATE, NUMBER, "",                                            \
		"Pages looked at by tasks that reclaim for themselves, per second")                \
	X(STEAL_KSWAPD, "steal_kswapd", RATE, NUMBER, "", "Pages reclaimed by kswapd, per second") \
	X(STEAL_DIRECT, "steal_direct", RATE, NUMBER, "",                                          \
		"Pages reclaimed by tasks for themselves, per second")                             \
	X(ALLOC_STALLS, "alloc_stalls", RATE, NUMBER, "",                                          \
		"Allocations that had to reclaim, per second")                                     \
	X(COMPACT_STALLS, "compact_stalls", RATE, NUMBER, "",                                      \
		"Allocations that had to compact, per second")                                     \
	X(OOM_KILLS, "oom_kills", RATE, NUMBER, "",                                                \
		"Processes killed for want of memory, per second")                                 \
	X(THP_FAULTS, "thp_faults", RATE, NUMBER, "", "Huge pages given at a fault, per second")   \
	X(NUMA_MIGRATED, "numa_migrated", RATE, NUMBER, "",                                        \
		"Pages moved nearer to their task, per second")                                    \
	X(MEMORY_FREE, "memory_free", LEVEL, BYTES, "", "Memory free")                             \
	X(MEMORY_AVAILABLE, "memory_available", LEVEL, BYTES, "",                                  \
		"Memory that can be had without swapping")                                         \
	X(MEMORY_CACHED, "memory_cached", LEVEL, BYTES, "", "Memory that caches files")            \
	X(MEMORY_ANON, "memory_anon", LEVEL, BYTES, "", "Memory of programs")                      \
	X(MEMORY_DIRTY, "memory_dirty", LEVEL, BYTES, "", "Memory to be written to disks")         \
	X(MEMORY_WRITEBACK, "memory_writeback", LEVEL, BYTES, "", "Memory being written to disks") \
	X(MEMORY_SLAB, "memory_slab", LEVEL, BYTES, "", "Memory of the kernel's objects")          \
	X(SWAP_FREE, "swap_free", LEVEL, BYTES, "", "Swap free")                                   \
	X(CGROUP_CPU, "cgroup_cpu", LEVEL, NUMBER, "cgroup",                                       \
		"CPUs a control group used, on average")                                           \
	X(CGROUP_THROTTLED, "cgroup_throttled", LEVEL, NUMBER, "cgroup",                           \
		"CPUs a control group was denied by its quota, on average")                        \
	X(CGROUP_MEMORY, "cgroup_memory", LEVEL, BYTES, "cgroup", "Memory of a control group")     \
	X(CGROUP_READ, "cgroup_read", RATE, BYTES, "cgroup",                                       \
		"Bytes a control group read, per second")                                          \
	X(CGROUP_WRITE, "cgroup_write", RATE, BYTES, "cgroup",                                     \
		"Bytes a control group wrote, per second")                                         \
	X(CGROUP_PSI_CPU, "cgroup_psi_cpu_some", LEVEL, RATIO, "cgroup",                           \
		"Share of the interval in which a task of the control group waited for a CPU")     \
	X(CGROUP_PSI_MEMORY, "cgroup_psi_memory_some", LEVEL, RATIO, "cgroup",                     \
		"Share of the interval in which a task of the control group waited for memory")    \
	X(CGROUP_PSI_IO, "cgroup_psi_io_some", LEVEL, RATIO, "cgroup",                             \
		"Share of the interval in which a task of the control group waited for a disk")    \
	X(OWN_CPU, "own_cpu", LEVEL, RATIO, "",                                                    \
		"Share of one CPU that telemetry itself took, without its hooks")                  \
	X(OWN_HOOKS, "own_hooks", LEVEL, RATIO, "",                                                \
		"Share of one CPU that telemetry's hooks took, while the kernel counts it")

#define METRIC_ENUM(id, ...) METRIC_##id,
enum metric_name { METRICS(METRIC_ENUM) METRIC_NR };
#undef METRIC_ENUM

struct metric_def {
	const char *name;
	enum metric_kind kind;
	enum metric_unit unit;
	const char *label; /* name of the label, "" = none */
	const char *help; /* half a sentence, without a full stop */
};
extern const struct metric_def metric_defs[METRIC_NR];

const char *metric_kind_name(enum metric_kind kind); /* "times", "rate", "level" */
const char *metric_unit_name(enum metric_unit unit); /* "seconds", "bytes", "ratio", "" */

#endif
