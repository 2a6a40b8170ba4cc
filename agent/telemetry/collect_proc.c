// SPDX-License-Identifier: Apache-2.0
/*
 * collect_proc.c - /proc/{stat,loadavg,vmstat,meminfo,pressure,net}: the machine's own figures.
 */
#include "agent/telemetry/collect.h"

#include <errno.h>
#include <unistd.h>
#include "agent/telemetry/procfs.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

bool collect_read(struct collect *collect, const char *path)
{
	int n = procfs_read(collect->root, path, collect->text, COLLECT_TEXT);

	if (n >= 0)
		return true;
	/* EOPNOTSUPP: pressure is built in and switched off; ENODEV: a control group that goes away */
	if (n != -ENOENT && n != -EOPNOTSUPP && n != -ENODEV && n != -ENOTDIR)
		collect->unreadable++;
	return false;
}

static void cpu_and_tasks(struct collect *collect)
{
	struct metrics *metrics = collect->metrics;
	const double scale = 1.0 / (double)sysconf(_SC_CLK_TCK);
	struct procfs_stat stat;
	double cpus;

	if (!collect_read(collect, "/proc/stat"))
		return;
	if (!procfs_stat(collect->text, &stat)) {
		collect->unparsed++;
		return;
	}
	collect->n_cpus = stat.n_cpus ? stat.n_cpus : 1;
	cpus = scale / collect->n_cpus;
	metrics_counter(metrics, METRIC_CPU_USER, "",
		stat.ticks[PROCFS_USER] + stat.ticks[PROCFS_NICE], cpus);
	metrics_counter(metrics, METRIC_CPU_SYSTEM, "", stat.ticks[PROCFS_SYSTEM], cpus);
	metrics_counter(metrics, METRIC_CPU_IOWAIT, "", stat.ticks[PROCFS_IOWAIT], cpus);
	metrics_counter(metrics, METRIC_CPU_IRQ, "",
		stat.ticks[PROCFS_IRQ] + stat.ticks[PROCFS_SOFTIRQ], cpus);
	metrics_counter(metrics, METRIC_CPU_STEAL, "", stat.ticks[PROCFS_STEAL], cpus);
	metrics_counter(metrics, METRIC_CPU_IDLE, "", stat.ticks[PROCFS_IDLE], cpus);
	if (stat.pair[PROCFS_CTXT].present)
		metrics_counter(
			metrics, METRIC_CONTEXT_SWITCHES, "", stat.pair[PROCFS_CTXT].value, 1);
	if (stat.pair[PROCFS_INTR].present)
		metrics_counter(metrics, METRIC_INTERRUPTS, "", stat.pair[PROCFS_INTR].value, 1);
	if (stat.pair[PROCFS_FORKS].present)
		metrics_counter(metrics, METRIC_FORKS, "", stat.pair[PROCFS_FORKS].value, 1);
	if (stat.pair[PROCFS_RUNNING].present)
		metrics_level(
			metrics, METRIC_TASKS_RUNNING, "", (double)stat.pair[PROCFS_RUNNING].value);
	if (stat.pair[PROCFS_BLOCKED].present)
		metrics_level(
			metrics, METRIC_TASKS_BLOCKED, "", (double)stat.pair[PROCFS_BLOCKED].value);
}

static void load(struct collect *collect)
{
	double average[3];

	if (!collect_read(collect, "/proc/loadavg"))
		return;
	if (!procfs_loadavg(collect->text, average)) {
		collect->unparsed++;
		return;
	}
	metrics_level(collect->metrics, METRIC_LOAD_1, "", average[0]);
	metrics_level(collect->metrics, METRIC_LOAD_5, "", average[1]);
	metrics_level(collect->metrics, METRIC_LOAD_15, "", average[2]);
}

static void vmstat(struct collect *collect)
{
	static const struct {
		enum metric_name metric;
		const char *name; /* in the file */
		double scale;
	} rows[] = {
		{ METRIC_REFAULT_ANON, "workingset_refault_anon", 1 },
		{ METRIC_REFAULT_FILE, "workingset_refault_file", 1 },
		{ METRIC_PAGE_IN, "pgpgin", 1024 }, /* in KiB, whatever the name says */
		{ METRIC_PAGE_OUT, "pgpgout", 1024 },
		{ METRIC_SWAP_IN, "pswpin", 1 },
		{ METRIC_SWAP_OUT, "pswpout", 1 },
		{ METRIC_FAULTS, "pgfault", 1 },
		{ METRIC_MAJOR_FAULTS, "pgmajfault", 1 },
		{ METRIC_SCAN_KSWAPD, "pgscan_kswapd", 1 },
		{ METRIC_SCAN_DIRECT, "pgscan_direct", 1 },
		{ METRIC_STEAL_KSWAPD, "pgsteal_kswapd", 1 },
		{ METRIC_STEAL_DIRECT, "pgsteal_direct", 1 },
		{ METRIC_ALLOC_STALLS, "allocstall_*", 1 }, /* one a zone */
		{ METRIC_COMPACT_STALLS, "compact_stall", 1 },
		{ METRIC_OOM_KILLS, "oom_kill", 1 },
		{ METRIC_THP_FAULTS, "thp_fault_alloc", 1 },
		{ METRIC_NUMA_MIGRATED, "numa_pages_migrated", 1 },
	};
	struct procfs_pair pair[N(rows)];

	if (!collect_read(collect, "/proc/vmstat"))
		return;
	for (size_t i = 0; i < N(rows); i++)
		pair[i].name = rows[i].name;
	if (!procfs_pairs(collect->text, pair, N(rows)))
		collect->unparsed++;
	for (size_t i = 0; i < N(rows); i++) {
		if (pair[i].present)
			metrics_counter(
				collect->metrics, rows[i].metric, "", pair[i].value, rows[i].scale);
	}
}

static void meminfo(struct collect *collect)
{
	static const struct {
		enum metric_name metric;
		const char *name;
	} rows[] = {
		{ METRIC_MEMORY_FREE, "MemFree" },
		{ METRIC_MEMORY_AVAILABLE, "MemAvailable" },
		{ METRIC_MEMORY_CACHED, "Cached" },
		{ METRIC_MEMORY_ANON, "AnonPages" },
		{ METRIC_MEMORY_DIRTY, "Dirty" },
		{ METRIC_MEMORY_WRITEBACK, "Writeback" },
		{ METRIC_MEMORY_SLAB, "Slab" },
		{ METRIC_SWAP_FREE, "SwapFree" },
	};
	struct procfs_pair pair[N(rows)];

	if (!collect_read(collect, "/proc/meminfo"))
		return;
	for (size_t i = 0; i < N(rows); i++)
		pair[i].name = rows[i].name;
	if (!procfs_pairs(collect->text, pair, N(rows)))
		collect->unparsed++;
	for (size_t i = 0; i < N(rows); i++) {
		if (pair[i].present)
			metrics_level(
				collect->metrics, rows[i].metric, "", (double)pair[i].value * 1024);
	}
}

static void pressure(struct collect *collect)
{
	static const struct {
		const char *path;
		enum metric_name some, full; /* METRIC_NR = not told */
	} rows[] = {
		{ "/proc/pressure/cpu", METRIC_PSI_CPU_SOME,
			METRIC_NR }, /* full is 0 by definition */
		{ "/proc/pressure/memory", METRIC_PSI_MEMORY_SOME, METRIC_PSI_MEMORY_FULL },
		{ "/proc/pressure/io", METRIC_PSI_IO_SOME, METRIC_PSI_IO_FULL },
		{ "/proc/pressure/irq", METRIC_NR, METRIC_PSI_IRQ_FULL },
	};

	for (size_t i = 0; i < N(rows); i++) {
		struct procfs_pressure stalled;

		if (!collect_read(collect, rows[i].path))
			continue;
		if (!procfs_pressure(collect->text, &stalled))
			collect->unparsed++;
		if (stalled.has_some && rows[i].some != METRIC_NR)
			metrics_counter(collect->metrics, rows[i].some, "", stalled.some_us, 1e-6);
		if (stalled.has_full && rows[i].full != METRIC_NR)
			metrics_counter(collect->metrics, rows[i].full, "", stalled.full_us, 1e-6);
	}
}

static void network(struct collect *collect)
{
	struct procfs_pair tcp[] = { { .name = "OutSegs" }, { .name = "RetransSegs" } };
	struct procfs_pair more[] = { { .name = "TCPTimeouts" }, { .name = "ListenOverflows" } };

	if (collect_read(collect, "/proc/net/snmp")) {
		if (!procfs_table(collect->text, "Tcp", tcp, N(tcp)))
			collect->unparsed++;
		if (tcp[0].present)
			metrics_counter(collect->metrics, METRIC_TCP_SEGMENTS, "", tcp[0].value, 1);
		if (tcp[1].present)
			metrics_counter(collect->metrics, METRIC_TCP_RETRANSMIT_SEGMENTS, "",
				tcp[1].value, 1);
	}
	if (collect_read(collect, "/proc/net/netstat")) {
		if (!procfs_table(collect->text, "TcpExt", more, N(more)))
			collect->unparsed++;
		if (more[0].present)
			metrics_counter(
				collect->metrics, METRIC_TCP_TIMEOUTS, "", more[0].value, 1);
		if (more[1].present)
			metrics_counter(
				collect->metrics, METRIC_TCP_LISTEN_DROPS, "", more[1].value, 1);
	}
}

/* Everything but disks that the kernel's half counted. */
static void hooks(struct collect *collect, const struct kernel_reading *reading, double interval_s)
{
	static const char *const vectors[TELEMETRY_SOFTIRQS] = { "hi", "timer", "net_tx", "net_rx",
		"block", "irq_poll", "tasklet", "sched", "hrtimer", "rcu" };
	struct metrics *metrics = collect->metrics;
	const struct kernel_times *times;

	if (reading->has_runq) {
		times = &reading->runq;
		metrics_times(metrics, METRIC_RUNQ, "", times->bucket, times->count, times->sum_ns);
	}
	if (reading->has_reclaim) {
		times = &reading->reclaim[TELEMETRY_DIRECT];
		metrics_times(metrics, METRIC_RECLAIM_DIRECT, "", times->bucket, times->count,
			times->sum_ns);
	}
	if (reading->has_memcg) {
		times = &reading->reclaim[TELEMETRY_MEMCG];
		metrics_times(metrics, METRIC_RECLAIM_MEMCG, "", times->bucket, times->count,
			times->sum_ns);
	}
	if (reading->has_rtt) {
		times = &reading->rtt;
		metrics_times(
			metrics, METRIC_TCP_RTT, "", times->bucket, times->count, times->sum_ns);
	}
	if (reading->has_softirq) {
		times = &reading->softirq;
		metrics_times(
			metrics, METRIC_SOFTIRQ, "", times->bucket, times->count, times->sum_ns);
	}
	for (int i = 0; i < TELEMETRY_SOFTIRQS && reading->has_softirq && interval_s > 0; i++)
		metrics_level(metrics, METRIC_SOFTIRQ_SHARE, vectors[i],
			(double)reading->softirq_ns[i] / 1e9 / interval_s /
				(collect->n_cpus ? collect->n_cpus : 1));
}

void collect_proc(struct collect *collect)
{
	cpu_and_tasks(collect);
	load(collect);
	vmstat(collect);
	meminfo(collect);
	pressure(collect);
	network(collect);
}

void collect_kernel(
	struct collect *collect, const struct kernel_reading *reading, double interval_s)
{
	collect->retransmits += reading->retransmits;
	if (reading->has_retransmits)
		metrics_counter(
			collect->metrics, METRIC_TCP_RETRANSMITS, "", collect->retransmits, 1);
	hooks(collect, reading, interval_s);
}
