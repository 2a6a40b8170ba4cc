// SPDX-License-Identifier: GPL-2.0
/*
 * semantos_blkcall.c - for tests only: a volume without disks, whose reads are decided, sent and answered at once.
 *
 * Stands where a device-mapper target would: it calls semantos.ko as one does, as fast as it can, from `threads`
 * threads, so that whatever a policy's coming and going could do wrong has many chances to. A read is in flight for
 * some steps of its thread, so legs have depth and history. One leg in 64 reads is not eligible.
 *
 * Parameters: legs (3), threads (2), in_flight (4: reads each thread keeps in flight). While loaded: read `state`: reads
 * decided, by leg, refused, and `wrong`: decisions that broke what semantos_blk.h promises. Write `nowait` 1: reads must
 * not wait, and the policy's admit() is asked. Write `fail` N: leg N is taken out of use; -1: all are in use.
 */
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/slab.h>
#include "kmod/semantos_blk.h"

#define MAX_THREADS 8
#define MAX_IN_FLIGHT 64

struct caller {
	struct task_struct *task;
	u64 reads, refused, wrong, by_leg[SEMANTOS_BLK_MAX_LEGS];
	struct semantos_blk_io io[MAX_IN_FLIGHT];
	bool busy[MAX_IN_FLIGHT];
};

static unsigned int legs = 3, threads = 2, in_flight = 4;
module_param(legs, uint, 0444);
MODULE_PARM_DESC(legs, "legs of the volume");
module_param(threads, uint, 0444);
MODULE_PARM_DESC(threads, "threads that decide");
module_param(in_flight, uint, 0444);
MODULE_PARM_DESC(in_flight, "reads that each keeps in flight");
static bool nowait;
module_param(nowait, bool, 0644);
MODULE_PARM_DESC(nowait, "reads must not wait");

static struct semantos_blk_volume *volume;
static struct caller *callers;
static int failed = -1;

static void read_once(struct caller *c, u64 step)
{
	unsigned int slot = step % in_flight;
	struct semantos_blk_io *io = &c->io[slot];
	struct semantos_blk_read read = {
		.sector = step * 8,
		.sectors = 8,
		.flags = nowait ? SEMANTOS_BLK_R_NOWAIT : 0,
		.eligible = GENMASK(legs - 1, 0),
	};
	int leg;

	if (c->busy[slot])
		semantos_blk_end(volume, io, step % 97 ? 0 : -EIO);
	c->busy[slot] = false;
	if (step % 64 == 0)
		read.eligible &= ~BIT(step / 64 % legs);
	leg = semantos_blk_choose(volume, &read);
	c->reads++;
	if (leg < 0) {
		/* Right only when nothing was eligible. */
		c->wrong += read.eligible != 0 || leg != -EIO;
		return;
	}
	c->wrong += leg >= legs || !(read.eligible & BIT(leg)) || !read.id ||
		    (read.hedge_after_us && (read.hedge_leg >= legs || read.hedge_leg == leg ||
						    !(read.eligible & BIT(read.hedge_leg))));
	if (nowait && !semantos_blk_admit(volume, &read, leg)) {
		c->refused++;
		return;
	}
	if (leg < legs)
		c->by_leg[leg]++;
	semantos_blk_start(volume, io, leg, SEMANTOS_OP_READ, read.sector, read.sectors, read.id);
	c->busy[slot] = true;
}

static int caller_run(void *data)
{
	struct caller *c = data;
	u64 step;

	for (step = 0; !kthread_should_stop(); step++) {
		read_once(c, step);
		/* To sleep, not only to yield: freeing a BPF program waits for every task to do so (tasks RCU). */
		if (step % 256 == 0)
			usleep_range(20, 50);
	}
	for (unsigned int i = 0; i < in_flight; i++)
		if (c->busy[i])
			semantos_blk_end(volume, &c->io[i], 0);
	return 0;
}

static int state_get(char *to, const struct kernel_param *param)
{
	u64 reads = 0, refused = 0, wrong = 0, by_leg[SEMANTOS_BLK_MAX_LEGS] = { 0 };
	int at;

	for (unsigned int t = 0; callers && t < threads; t++) {
		reads += READ_ONCE(callers[t].reads);
		refused += READ_ONCE(callers[t].refused);
		wrong += READ_ONCE(callers[t].wrong);
		for (unsigned int i = 0; i < legs; i++)
			by_leg[i] += READ_ONCE(callers[t].by_leg[i]);
	}
	at = scnprintf(to, PAGE_SIZE, "reads=%llu refused=%llu wrong=%llu", reads, refused, wrong);
	for (unsigned int i = 0; i < legs; i++)
		at += scnprintf(to + at, PAGE_SIZE - at, " leg%u=%llu", i, by_leg[i]);
	return at + scnprintf(to + at, PAGE_SIZE - at, "\n");
}

static int fail_set(const char *text, const struct kernel_param *param)
{
	int leg, err = kstrtoint(text, 0, &leg);

	if (err)
		return err;
	if (leg < -1 || leg >= (int)legs || !volume)
		return -ERANGE;
	if (failed >= 0)
		semantos_blk_set_leg(volume, failed, MKDEV(259, failed), true);
	if (leg >= 0)
		semantos_blk_set_leg(volume, leg, MKDEV(259, leg), false);
	failed = leg;
	return 0;
}

static const struct kernel_param_ops state_ops = { .get = state_get };
static const struct kernel_param_ops fail_ops = { .set = fail_set };
module_param_cb(state, &state_ops, NULL, 0444);
MODULE_PARM_DESC(state, "what was decided");
module_param_cb(fail, &fail_ops, NULL, 0200);
MODULE_PARM_DESC(fail, "leg taken out of use, -1 = none");

static void stop(void)
{
	for (unsigned int t = 0; t < threads; t++)
		if (!IS_ERR_OR_NULL(callers[t].task))
			kthread_stop(callers[t].task);
	semantos_blk_unregister(volume);
	kfree(callers);
}

static int __init blkcall_init(void)
{
	dev_t dev[SEMANTOS_BLK_MAX_LEGS];

	if (legs < 1 || legs > SEMANTOS_BLK_MAX_LEGS || threads < 1 || threads > MAX_THREADS ||
		in_flight < 1 || in_flight > MAX_IN_FLIGHT)
		return -EINVAL;
	for (unsigned int i = 0; i < legs; i++)
		dev[i] = MKDEV(259, i);
	callers = kcalloc(threads, sizeof(*callers), GFP_KERNEL);
	if (!callers)
		return -ENOMEM;
	volume = semantos_blk_register("blkcall", legs, dev);
	if (IS_ERR(volume)) {
		kfree(callers);
		return PTR_ERR(volume);
	}
	for (unsigned int t = 0; t < threads; t++) {
		callers[t].task = kthread_run(caller_run, &callers[t], "blkcall/%u", t);
		if (IS_ERR(callers[t].task)) {
			int err = PTR_ERR(callers[t].task);

			stop();
			return err;
		}
	}
	return 0;
}

static void __exit blkcall_exit(void)
{
	stop();
}

module_init(blkcall_init);
module_exit(blkcall_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("semantos: decisions without disks, for tests only");
