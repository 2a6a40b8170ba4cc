// SPDX-License-Identifier: Apache-2.0
/*
 * knob_table.c - every knob that may be changed, with type, range and coupling. A new knob is one row here.
 *
 * Ranges are the kernel's own (Documentation/admin-guide/sysctl/vm.rst, Documentation/ABI/stable/sysfs-block,
 * Documentation/admin-guide/cgroup-v2.rst, sched(7), process_madvise(2)), made narrower where the ends are known to hurt. Constant.
 */
#include "agent/safety/knob.h"

#include <fnmatch.h>
#include <stddef.h>
#include <string.h>

#define MIB (1024LL * 1024)
#define GIB (1024 * MIB)
#define TIB (MIB * MIB)
#define PAGE 4096

static const struct knob_def table[] = {
	{ "sysctl:vm.swappiness", KNOB_INT, .min = 0, .max = 200 },
	{ "sysctl:vm.vfs_cache_pressure", KNOB_INT, .min = 1, .max = 1000 },
	{ "sysctl:vm.watermark_scale_factor", KNOB_INT, .min = 1, .max = 3000 },
	{ "sysctl:vm.page-cluster", KNOB_INT, .min = 0, .max = 8 },
	{ "sysctl:vm.dirty_expire_centisecs", KNOB_INT, .min = 100, .max = 60000 },
	{ "sysctl:vm.dirty_writeback_centisecs", KNOB_INT, .min = 0, .max = 60000 },
	/* of a ratio and its bytes one is in force and the other reads 0 */
	{ "sysctl:vm.dirty_ratio", KNOB_INT, .min = 1, .max = 100, .partner = "dirty_bytes" },
	{ "sysctl:vm.dirty_bytes", KNOB_INT, .min = MIB, .max = TIB, .partner = "dirty_ratio" },
	{ "sysctl:vm.dirty_background_ratio", KNOB_INT, .min = 1, .max = 100,
		.partner = "dirty_background_bytes" },
	{ "sysctl:vm.dirty_background_bytes", KNOB_INT, .min = MIB, .max = TIB,
		.partner = "dirty_background_ratio" },
	/* Files of a queue are written with the queue frozen (of late all of them). In whole pages: */
	{ "sysfs:block/*/queue/read_ahead_kb", KNOB_INT, .min = 0, .max = 65536, .step = 4,
		.waits = true },
	{ "blkra:*", KNOB_INT, .min = 0, .max = 131072, .step = 8 },
	{ "sysfs:block/*/queue/nr_requests", KNOB_INT, .min = 4, .max = 10240, .waits = true },
	{ "sysfs:block/*/queue/rq_affinity", KNOB_INT, .min = 0, .max = 2, .waits = true },
	{ "sysfs:block/*/queue/wbt_lat_usec", KNOB_INT, .min = 0, .max = 10000000, .waits = true },
	{ "sysfs:block/*/queue/scheduler", KNOB_CHOICE, .choices = " none mq-deadline kyber bfq ",
		.partner = "nr_requests", .resets = true, .waits = true },
	{ "sysfs:kernel/mm/transparent_hugepage/enabled", KNOB_CHOICE,
		.choices = " always madvise never " },
	{ "sysfs:kernel/mm/transparent_hugepage/defrag", KNOB_CHOICE,
		.choices = " always defer defer+madvise madvise never " },
	{ "cgroup:*/cpu.weight", KNOB_INT, .min = 1, .max = 10000 },
	{ "cgroup:*/memory.low", KNOB_INT_OR_MAX, .min = 0, .max = TIB, .round = PAGE },
	{ "cgroup:*/memory.high", KNOB_INT_OR_MAX, .min = MIB, .max = TIB, .round = PAGE },
	{ "cgroup:*/cgroup.freeze", KNOB_INT, .min = 0, .max = 1 },
	/* of the one task with this number; threads that run already keep theirs */
	{ "sched:*/nice", KNOB_INT, .min = -20, .max = 19 },
	/* the real-time policies are not offered: a task that spins under one takes its CPU from everybody */
	{ "sched:*/policy", KNOB_CHOICE, .choices = " other batch idle " },
	{ "sched:*/affinity", KNOB_CPUS, .min = 0 },
	{ "madvise:*/cold", KNOB_ACTION, .min = PAGE, .max = GIB },
	{ "madvise:*/pageout", KNOB_ACTION, .min = PAGE, .max = GIB },
};

const struct knob_def *knob_find(const char *name)
{
	/* groups lie within groups; of all else a * is one part of the name, or one setting could have many */
	int flags = strncmp(name, "cgroup:", 7) == 0 ? FNM_NOESCAPE : FNM_NOESCAPE | FNM_PATHNAME;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (fnmatch(table[i].pattern, name, flags) == 0)
			return &table[i];
	}
	return NULL;
}
