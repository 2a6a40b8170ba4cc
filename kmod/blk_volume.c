// SPDX-License-Identifier: GPL-2.0
/*
 * blk_volume.c - volumes, their legs, and the decision at each read.
 *
 * Owns depth and history of every leg and the counters. Must never sleep, allocate or trust a policy on the way of a
 * read: whatever the policy says, the leg returned is one that the driver said holds the data.
 *
 * Locking: volumes_lock orders register, unregister and showing. A leg's lock guards its history and its list of reads
 * in flight. The policy is reached by RCU, see blk_ops.c.
 */
#include "kmod/internal.h"
#include <linux/bitops.h>
#include <linux/err.h>
#include <linux/export.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/string.h>

static LIST_HEAD(volumes);
static DEFINE_MUTEX(volumes_lock);
static u32 last_number;
static DEFINE_PER_CPU(u64, sequence);

#define count(volume, which) this_cpu_inc((volume)->counters->count[SEMANTOS_BLK_C_##which])

/* Unique while the module is loaded, without a line that CPUs share. */
static u64 next_id(void)
{
	u64 id;

	preempt_disable();
	id = this_cpu_inc_return(sequence) << 12 | (smp_processor_id() & 0xfff);
	preempt_enable();
	return id;
}

/* ---- choosing ---- */

/* Fewest requests in flight; among equals the next in turn after `from`, so that an idle volume uses all its legs. */
static u32 fewest_outstanding(const struct semantos_blk_volume *volume, u32 eligible, u32 from)
{
	u32 best = 0, least = U32_MAX;

	for (u32 i = 0; i < volume->nr_legs; i++) {
		u32 leg = (from + i) % volume->nr_legs;
		u32 depth = READ_ONCE(volume->leg[leg].history.inflight);

		if ((eligible & BIT(leg)) && depth < least) {
			least = depth;
			best = leg;
		}
	}
	return best;
}

/* The policy that may be asked now, or NULL and why not. Under rcu_read_lock(). */
static const struct semantos_blk_ops *policy_now(u64 now_ns, enum semantos_blk_counter *why)
{
	const struct semantos_blk_ops *ops = rcu_dereference(blk_policy);

	*why = SEMANTOS_BLK_C_NO_POLICY;
	if (!ops || (ops->flags & SEMANTOS_BLK_F_NO_LEASE))
		return ops;
	if (semantos_lease_alive(READ_ONCE(blk_lease_ns), now_ns))
		return ops;
	*why = SEMANTOS_BLK_C_NO_LEASE;
	return NULL;
}

/* Ask the policy. Returns its leg, or the default; counts which of the two, and why. */
static u32 ask(struct blk_decision *d)
{
	struct semantos_blk_read *read = &d->read;
	struct semantos_blk_volume *volume = d->volume;
	const struct semantos_blk_ops *ops;
	enum semantos_blk_counter why;
	int said = SEMANTOS_BLK_DEFAULT;

	rcu_read_lock();
	ops = policy_now(read->now_ns, &why);
	if (ops && ops->select_leg) {
		said = ops->select_leg(read);
		why = SEMANTOS_BLK_C_DEFERRED;
	}
	rcu_read_unlock();

	if (read->hedge_after_us &&
		(read->hedge_leg >= volume->nr_legs || !(read->eligible & BIT(read->hedge_leg)))) {
		count(volume, BAD_HEDGE);
		read->hedge_after_us = 0;
	}
	if (said >= 0 && (u32)said < volume->nr_legs && (read->eligible & BIT(said))) {
		count(volume, OBEYED);
		return said;
	}
	if (said != SEMANTOS_BLK_DEFAULT)
		why = SEMANTOS_BLK_C_BAD_LEG;
	this_cpu_inc(volume->counters->count[why]);
	return read->default_leg;
}

int semantos_blk_choose(struct semantos_blk_volume *volume, struct semantos_blk_read *read)
{
	struct blk_decision d = { .read = *read, .volume = volume };
	u32 leg;

	count(volume, DECISIONS);
	d.read.id = next_id();
	d.read.now_ns = blk_now_ns();
	d.read.volume = volume->number;
	d.read.nr_legs = volume->nr_legs;
	d.read.eligible &= READ_ONCE(volume->in_use);
	d.read.hedge_after_us = 0;
	d.read.hedge_leg = 0;
	if (!d.read.eligible) {
		count(volume, NO_LEG);
		*read = d.read;
		return -EIO;
	}
	d.read.default_leg = fewest_outstanding(volume, d.read.eligible, (u32)(d.read.id >> 12));
	if (is_power_of_2(d.read.eligible)) {
		count(volume, ONE_LEG);
		leg = d.read.default_leg;
	} else {
		leg = ask(&d);
	}
	if (d.read.hedge_leg == leg)
		d.read.hedge_after_us = 0;
	*read = d.read;
	return leg;
}
EXPORT_SYMBOL_GPL(semantos_blk_choose);

bool semantos_blk_admit(
	struct semantos_blk_volume *volume, const struct semantos_blk_read *read, unsigned int leg)
{
	struct blk_decision d = { .read = *read, .volume = volume };
	const struct semantos_blk_ops *ops;
	enum semantos_blk_counter why;
	int said = SEMANTOS_BLK_ADMIT;

	rcu_read_lock();
	ops = policy_now(read->now_ns, &why);
	if (ops && ops->admit)
		said = ops->admit(&d.read, leg);
	rcu_read_unlock();
	if (said == SEMANTOS_BLK_REFUSE) {
		count(volume, REFUSED);
		return false;
	}
	if (said != SEMANTOS_BLK_ADMIT)
		count(volume, BAD_ADMIT);
	count(volume, ADMITTED);
	return true;
}
EXPORT_SYMBOL_GPL(semantos_blk_admit);

/* ---- what happens on a leg ---- */

void semantos_blk_start(struct semantos_blk_volume *volume, struct semantos_blk_io *io,
	unsigned int index, enum semantos_op op, u64 sector, u32 sectors, u64 id)
{
	struct blk_leg *leg = &volume->leg[index];
	unsigned long flags;

	io->id = id;
	io->sector = sector;
	io->sectors = sectors;
	io->leg = index;
	io->op = op;
	spin_lock_irqsave(&leg->lock, flags);
	/* Read under the lock, so that the list is in the order of its times. */
	io->issue_ns = blk_now_ns();
	leg_enter(&leg->history, sectors, op == SEMANTOS_OP_READ);
	io->pending_pages = leg->history.pending_pages;
	io->inflight = leg->history.inflight;
	if (op == SEMANTOS_OP_READ) {
		if (list_empty(&leg->reads))
			WRITE_ONCE(leg->history.oldest_ns, io->issue_ns);
		list_add_tail(&io->node, &leg->reads);
	}
	spin_unlock_irqrestore(&leg->lock, flags);
}
EXPORT_SYMBOL_GPL(semantos_blk_start);

static void report(struct semantos_blk_volume *volume, struct semantos_blk_io *io, u64 now_ns,
	u32 latency_us, int error)
{
	const struct semantos_blk_ops *ops;
	enum semantos_blk_counter why;

	rcu_read_lock();
	ops = policy_now(now_ns, &why);
	if (ops && ops->on_complete) {
		struct semantos_blk_done done = {
			.id = io->id,
			.now_ns = now_ns,
			.sector = io->sector,
			.sectors = io->sectors,
			.volume = volume->number,
			.leg = io->leg,
			.latency_us = latency_us,
			.error = error,
		};

		ops->on_complete(&done);
	}
	rcu_read_unlock();
}

void semantos_blk_end(struct semantos_blk_volume *volume, struct semantos_blk_io *io, int error)
{
	struct blk_leg *leg = &volume->leg[io->leg];
	bool is_read = io->op == SEMANTOS_OP_READ;
	u32 latency_us;
	unsigned long flags;
	u64 now_ns;

	spin_lock_irqsave(&leg->lock, flags);
	now_ns = blk_now_ns();
	latency_us = leg_us_between(io->issue_ns, now_ns);
	leg_leave(&leg->history, io->sectors, is_read);
	if (is_read) {
		struct semantos_blk_io *oldest;

		list_del(&io->node);
		oldest = list_first_entry_or_null(&leg->reads, struct semantos_blk_io, node);
		WRITE_ONCE(leg->history.oldest_ns, oldest ? oldest->issue_ns : 0);
		if (!error)
			leg_read_done(&leg->history, latency_us, io->pending_pages, io->inflight,
				io->sectors, now_ns);
	} else if (!error && io->sectors) {
		leg_done(&leg->history, latency_us, now_ns); /* a flush says nothing of reads */
	}
	spin_unlock_irqrestore(&leg->lock, flags);
	if (is_read) {
		count(volume, COMPLETED);
		report(volume, io, now_ns, latency_us, error);
	}
}
EXPORT_SYMBOL_GPL(semantos_blk_end);

u32 semantos_blk_inflight(struct semantos_blk_volume *volume, unsigned int leg)
{
	return READ_ONCE(volume->leg[leg].history.inflight);
}
EXPORT_SYMBOL_GPL(semantos_blk_inflight);

/* ---- volumes come and go ---- */

/* Any but the one before, and never 0. */
static u32 next_generation(u32 generation)
{
	generation = (generation + 1) & SEMANTOS_GENERATION_MASK;
	return generation ?: 1;
}

void semantos_blk_set_leg(
	struct semantos_blk_volume *volume, unsigned int index, dev_t dev, bool in_use)
{
	struct blk_leg *leg = &volume->leg[index];
	unsigned long flags;

	mutex_lock(&volumes_lock);
	if (!in_use)
		WRITE_ONCE(volume->in_use, volume->in_use & ~BIT(index));
	spin_lock_irqsave(&leg->lock, flags);
	WRITE_ONCE(leg->dev, dev);
	WRITE_ONCE(leg->generation, next_generation(leg->generation));
	if (in_use)
		leg_forget(&leg->history);
	spin_unlock_irqrestore(&leg->lock, flags);
	if (in_use)
		WRITE_ONCE(volume->in_use, volume->in_use | BIT(index));
	mutex_unlock(&volumes_lock);
}
EXPORT_SYMBOL_GPL(semantos_blk_set_leg);

struct semantos_blk_volume *semantos_blk_register(
	const char *name, unsigned int nr_legs, const dev_t *dev)
{
	struct semantos_blk_volume *volume;

	if (nr_legs < 1 || nr_legs > SEMANTOS_BLK_MAX_LEGS)
		return ERR_PTR(-EINVAL);
	volume = kzalloc(struct_size(volume, leg, nr_legs), GFP_KERNEL);
	if (!volume)
		return ERR_PTR(-ENOMEM);
	volume->nr_legs = nr_legs;
	volume->counters = alloc_percpu(struct blk_counters);
	if (!volume->counters) {
		kfree(volume);
		return ERR_PTR(-ENOMEM);
	}
	strscpy(volume->name, name, sizeof(volume->name));
	volume->in_use = GENMASK(nr_legs - 1, 0);
	for (unsigned int i = 0; i < nr_legs; i++) {
		spin_lock_init(&volume->leg[i].lock);
		INIT_LIST_HEAD(&volume->leg[i].reads);
		volume->leg[i].dev = dev[i];
		volume->leg[i].generation = 1;
	}
	mutex_lock(&volumes_lock);
	volume->number = ++last_number;
	list_add_tail(&volume->node, &volumes);
	mutex_unlock(&volumes_lock);
	return volume;
}
EXPORT_SYMBOL_GPL(semantos_blk_register);

void semantos_blk_unregister(struct semantos_blk_volume *volume)
{
	if (!volume)
		return;
	mutex_lock(&volumes_lock);
	list_del(&volume->node);
	mutex_unlock(&volumes_lock);
	for (unsigned int i = 0; i < volume->nr_legs; i++)
		WARN_ONCE(volume->leg[i].history.inflight,
			"semantos: volume %s goes with requests in flight", volume->name);
	free_percpu(volume->counters);
	kfree(volume);
}
EXPORT_SYMBOL_GPL(semantos_blk_unregister);

void semantos_blk_counters(struct semantos_blk_volume *volume, u64 counts[SEMANTOS_BLK_C_NR])
{
	int cpu;

	memset(counts, 0, SEMANTOS_BLK_C_NR * sizeof(*counts));
	for_each_possible_cpu(cpu)
	{
		const struct blk_counters *row = per_cpu_ptr(volume->counters, cpu);

		for (int i = 0; i < SEMANTOS_BLK_C_NR; i++)
			counts[i] += READ_ONCE(row->count[i]);
	}
}
EXPORT_SYMBOL_GPL(semantos_blk_counters);

void blk_volumes_show(struct seq_buf *to)
{
	static const char *const names[SEMANTOS_BLK_C_NR] = {
		[SEMANTOS_BLK_C_DECISIONS] = "decisions",
		[SEMANTOS_BLK_C_OBEYED] = "obeyed",
		[SEMANTOS_BLK_C_ONE_LEG] = "one_leg",
		[SEMANTOS_BLK_C_NO_LEG] = "no_leg",
		[SEMANTOS_BLK_C_NO_POLICY] = "no_policy",
		[SEMANTOS_BLK_C_NO_LEASE] = "no_lease",
		[SEMANTOS_BLK_C_DEFERRED] = "deferred",
		[SEMANTOS_BLK_C_BAD_LEG] = "bad_leg",
		[SEMANTOS_BLK_C_BAD_HEDGE] = "bad_hedge",
		[SEMANTOS_BLK_C_ADMITTED] = "admitted",
		[SEMANTOS_BLK_C_REFUSED] = "refused",
		[SEMANTOS_BLK_C_BAD_ADMIT] = "bad_admit",
		[SEMANTOS_BLK_C_COMPLETED] = "completed",
	};
	struct semantos_blk_volume *volume;
	u64 counts[SEMANTOS_BLK_C_NR];

	mutex_lock(&volumes_lock);
	list_for_each_entry(volume, &volumes, node)
	{
		semantos_blk_counters(volume, counts);
		seq_buf_printf(to, "volume %u name=%s legs=%u in_use=%#x", volume->number,
			volume->name, volume->nr_legs, volume->in_use);
		for (int i = 0; i < SEMANTOS_BLK_C_NR; i++)
			seq_buf_printf(to, " %s=%llu", names[i], counts[i]);
		seq_buf_puts(to, "\n");
	}
	mutex_unlock(&volumes_lock);
}
