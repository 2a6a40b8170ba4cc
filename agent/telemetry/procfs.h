/* SPDX-License-Identifier: Apache-2.0 */
/*
 * procfs.h - the text files of /proc and cgroups, as numbers.
 *
 * Parsers take a string and believe nothing: a number that does not fit, is negative or missing counts as absent.
 * Absent is told, never read as 0. No state, any thread.
 */
#ifndef SEMANTOS_TELEMETRY_PROCFS_H
#define SEMANTOS_TELEMETRY_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- reading ---- */

/* Read <root><path> into text[len], ended by NUL and cut at len - 1. Bytes read, or -errno. */
int procfs_read(const char *root, const char *path, char *text, size_t len);

/* ---- lines of a name and a number: vmstat, meminfo ("Name:  1 kB"), cpu.stat, memory.stat ---- */

struct procfs_pair {
	const char *name; /* without its colon; ending in '*': the sum of all that begin so */
	uint64_t value;
	bool present;
};

/* Fill pair[n]; how many are present. */
size_t procfs_pairs(const char *text, struct procfs_pair *pair, size_t n);

/* The two-line tables of /proc/net/snmp and netstat: `prefix` as in "Tcp". */
size_t procfs_table(const char *text, const char *prefix, struct procfs_pair *pair, size_t n);

/* ---- /proc/stat ---- */

enum procfs_cpu {
	PROCFS_USER,
	PROCFS_NICE,
	PROCFS_SYSTEM,
	PROCFS_IDLE,
	PROCFS_IOWAIT,
	PROCFS_IRQ,
	PROCFS_SOFTIRQ,
	PROCFS_STEAL,
	PROCFS_CPU_STATES
};

struct procfs_stat {
	uint64_t ticks[PROCFS_CPU_STATES]; /* of all CPUs, in USER_HZ */
	bool has_ticks;
	uint32_t n_cpus; /* "cpuN" lines */
	struct procfs_pair pair[5]; /* intr, ctxt, processes, procs_running, procs_blocked */
};
enum { PROCFS_INTR, PROCFS_CTXT, PROCFS_FORKS, PROCFS_RUNNING, PROCFS_BLOCKED };

bool procfs_stat(
	const char *text, struct procfs_stat *stat); /* false: no cpu line that can be read */

/* ---- /proc/loadavg: 1, 5 and 15 minutes ---- */
bool procfs_loadavg(const char *text, double load[3]);

/* ---- /proc/pressure/X and cgroups' X.pressure: microseconds stalled since boot ---- */
struct procfs_pressure {
	bool has_some, has_full;
	uint64_t some_us, full_us;
};
bool procfs_pressure(const char *text, struct procfs_pressure *pressure); /* false: neither */

/* ---- /proc/diskstats ---- */
struct procfs_disk {
	uint32_t major, minor;
	char name[32];
	uint64_t reads, read_sectors, read_ms, writes, write_sectors, write_ms, in_flight, busy_ms,
		queue_ms;
};
/* The line at *at, which is moved to the next; false at the end. Lines that cannot be read are counted in *bad. */
bool procfs_disk_next(const char **at, struct procfs_disk *disk, uint64_t *bad);

/* ---- io.stat of a cgroup: "8:0 rbytes=1 wbytes=2 ...", summed over devices ---- */
struct procfs_io {
	uint64_t read_bytes, write_bytes;
};
bool procfs_io(const char *text, struct procfs_io *io); /* false: no line */

#endif
