/* SPDX-License-Identifier: GPL-2.0 */
/*
 * internal.h - what the files of semantos.ko share, and nobody else sees.
 */
#ifndef SEMANTOS_INTERNAL_H
#define SEMANTOS_INTERNAL_H

#undef pr_fmt /* a test build has headers before this one */
#define pr_fmt(fmt) "semantos: " fmt

#include <linux/container_of.h>
#include <linux/rcupdate.h>
#include <linux/seq_buf.h>
#include <linux/spinlock.h>
#include <linux/timekeeping.h>
#include <linux/types.h>
#include "kmod/semantos_blk.h"
#include "kmod/infer/net.h"
#include "kmod/leg.h"

/* The clock of every record, verdict and lease: what bpf_ktime_get_boot_ns() reads, safe in any context. */
#define blk_now_ns() ktime_get_boot_fast_ns()

struct blk_leg {
	spinlock_t lock; /* guards history and reads; taken with interrupts off */
	struct leg_history history;
	struct list_head reads; /* in flight, oldest first: semantos_blk_io.node */
	u32 dev; /* dev_t; changes under `lock` */
	u32 generation; /* SEMANTOS_GENERATION_MASK; never 0 */
} ____cacheline_aligned;

struct blk_counters {
	u64 count[SEMANTOS_BLK_C_NR];
};

struct semantos_blk_volume {
	struct list_head node; /* of all volumes */
	u32 number;
	u32 nr_legs;
	u32 in_use; /* bit i: leg i */
	char name[32];
	struct blk_counters __percpu *counters;
	struct blk_leg leg[] __counted_by(nr_legs);
};

/* A decision under way: what a policy sees, and what only the kfuncs may reach. On the decider's stack. */
struct blk_decision {
	struct semantos_blk_read read;
	struct semantos_blk_volume *volume;
};

static inline struct blk_decision *blk_decision_of(struct semantos_blk_read *read)
{
	return container_of(read, struct blk_decision, read);
}

/* blk_ops.c: the attached policy */
extern struct semantos_blk_ops __rcu *blk_policy;
extern u64 blk_lease_ns; /* when the agent's lease ends, boot time; one aligned word */
int blk_ops_init(void);
size_t blk_ops_holder(char *to, size_t size); /* its name or "none"; returns the length */

/* model.c */
int model_init(void);
void model_exit(void);
void model_show(struct seq_buf *to); /* a line about the FPU path, and one a model */
int model_run(const u32 *number, const struct semantos_block_record *record, u32 n,
	struct semantos_infer_result *result);

/* kfunc.c */
int kfunc_init(void);

/* blk_volume.c */
void blk_volumes_show(struct seq_buf *to); /* one line a volume */

#endif
