// SPDX-License-Identifier: GPL-2.0
/*
 * semantos_testdev.c - disks for tests only, whose read latency follows a known random process.
 *
 * A latency predictor is judged on a device where the truth is known: one whose slow periods last (they can be
 * foreseen from recent reads), and one with the same share of slow reads drawn independently (they cannot).
 *
 *   memory  a two-state Markov process in time: fast and slow periods, lengths exponential with the means fast_ms and
 *           slow_ms, running whether or not there is I/O; a read is as slow as the period that it is issued in
 *   iid     every read is slow with probability slow_ppm / 10^6, whatever happened before
 *   fixed   every read takes fast_us
 * Reads wait on their own, so latency does not depend on depth. Writes take fast_us, or write_us where it is given.
 * The time is fast_us or slow_us times a uniform factor of 1 +- jitter_pct / 100, kept by an hrtimer.
 *
 * devices=SPEC[;SPEC...], one disk /dev/semtestN each. SPEC is MODEL[:key=value...], separated by commas:
 *   fast_us (100) slow_us (2000) fast_ms (400) slow_ms (100) jitter_pct (10) write_us (fast_us) mb (64: size)
 *   slow_ppm (slow_ms / (fast_ms + slow_ms): the share of time; a closed loop issues less while it is slow)
 *   backed (0: reads give zeros, writes vanish; 1: memory of its own) depth (128) queues (1) seed
 * seed=N: the periods and draws of disk i depend only on its SPEC and on its seed (default N + i).
 * While it is loaded, in /sys/module/semantos_testdev/parameters: write add (SPEC; takes the lowest free number, so a
 * dev_t is reused), remove (N, also under I/O: what is in flight ends, the rest fails), change (N:key=value,...: new
 * latencies at once); read state (one line a disk: name, model, reads, slow reads, periods, in a slow one now).
 *
 * Must never be loaded where it matters. Locking: `disks_lock` orders add, remove and change; a disk's `lock` guards
 * its process and counters, taken with interrupts off.
 */
#include <linux/blk-mq.h>
#include <linux/hrtimer.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/version.h>
#include <linux/vmalloc.h>
#include "testdev_process.h"

#define NAME "semtest"
#define MAX_DISKS 64

struct disk {
	struct spec spec;
	struct blk_mq_tag_set tags;
	struct gendisk *gd;
	u8 *data; /* NULL: reads give zeros */
	spinlock_t lock; /* guards process */
	struct process process;
};

struct command {
	struct hrtimer timer;
};

static unsigned int seed = 1;
module_param(seed, uint, 0444);
MODULE_PARM_DESC(seed, "seed of disk 0; disk i takes seed + i");
static char *devices = "memory";
module_param(devices, charp, 0444);
MODULE_PARM_DESC(devices, "SPEC[;SPEC...], see the top of the source");

static DEFINE_MUTEX(disks_lock);
static struct disk *disks[MAX_DISKS];
static struct platform_device *parent;
static int major;
static bool ready; /* disks may come and go: between init and exit */

/* ---- the disk ---- */

static enum hrtimer_restart expired(struct hrtimer *timer)
{
	struct command *command = container_of(timer, struct command, timer);

	blk_mq_end_request(blk_mq_rq_from_pdu(command), BLK_STS_OK);
	return HRTIMER_NORESTART;
}

/* Move the data of a request now; only its completion waits. */
static void transfer(struct disk *d, struct request *rq)
{
	size_t at = blk_rq_pos(rq) << SECTOR_SHIFT;
	struct req_iterator iter;
	struct bio_vec bv;

	rq_for_each_segment(bv, rq, iter)
	{
		void *page = bvec_kmap_local(&bv);

		if (rq_data_dir(rq) == READ) {
			if (d->data)
				memcpy(page, d->data + at, bv.bv_len);
			else
				memset(page, 0, bv.bv_len);
			flush_dcache_page(bv.bv_page);
		} else if (d->data) {
			memcpy(d->data + at, page, bv.bv_len);
		}
		kunmap_local(page);
		at += bv.bv_len;
	}
}

static blk_status_t queue_rq(struct blk_mq_hw_ctx *hctx, const struct blk_mq_queue_data *bd)
{
	struct disk *d = hctx->queue->queuedata;
	struct command *command = blk_mq_rq_to_pdu(bd->rq);
	unsigned long flags;
	u64 ns;

	blk_mq_start_request(bd->rq);
	switch (req_op(bd->rq)) {
	case REQ_OP_READ:
	case REQ_OP_WRITE:
		transfer(d, bd->rq);
		break;
	case REQ_OP_FLUSH:
		break;
	default:
		return BLK_STS_NOTSUPP;
	}
	spin_lock_irqsave(&d->lock, flags);
	ns = req_op(bd->rq) == REQ_OP_READ ? process_read_ns(&d->process, ktime_get_ns())
					   : d->process.spec.write_us * (u64)NSEC_PER_USEC;
	spin_unlock_irqrestore(&d->lock, flags);
	hrtimer_start(&command->timer, ns_to_ktime(ns), HRTIMER_MODE_REL);
	return BLK_STS_OK;
}

static int init_request(
	struct blk_mq_tag_set *set, struct request *rq, unsigned int hctx, unsigned int node)
{
	struct command *command = blk_mq_rq_to_pdu(rq);

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
	hrtimer_setup(&command->timer, expired, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#else
	hrtimer_init(&command->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	command->timer.function = expired;
#endif
	return 0;
}

static const struct blk_mq_ops ops = { .queue_rq = queue_rq, .init_request = init_request };
static const struct block_device_operations fops = { .owner = THIS_MODULE };

static struct gendisk *alloc_gendisk(struct disk *d)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
	struct queue_limits limits = { .logical_block_size = 512, .physical_block_size = 4096 };

	return blk_mq_alloc_disk(&d->tags, &limits, d);
#else
	struct gendisk *gd = blk_mq_alloc_disk(&d->tags, d);

	if (!IS_ERR(gd)) {
		blk_queue_flag_set(QUEUE_FLAG_NONROT, gd->queue);
		blk_queue_physical_block_size(gd->queue, 4096);
	}
	return gd;
#endif
}

static void disk_free(struct disk *d)
{
	if (d->gd)
		put_disk(d->gd);
	if (d->tags.tags)
		blk_mq_free_tag_set(&d->tags);
	vfree(d->data);
	kfree(d);
}

/* Make disk `index` of a complete spec. Called with disks_lock held. */
static int disk_add(const struct spec *spec, int index)
{
	struct disk *d = kzalloc(sizeof(*d), GFP_KERNEL);
	struct gendisk *gd;
	int err;

	if (!d)
		return -ENOMEM;
	spin_lock_init(&d->lock);
	process_start(&d->process, spec, ktime_get_ns());
	if (spec->backed)
		d->data = vzalloc((u64)spec->mb << 20);
	err = -ENOMEM;
	if (spec->backed && !d->data)
		goto out_free;
	d->tags = (struct blk_mq_tag_set){ .ops = &ops,
		.nr_hw_queues = spec->queues,
		.queue_depth = spec->depth,
		.numa_node = NUMA_NO_NODE,
		.cmd_size = sizeof(struct command) };
	err = blk_mq_alloc_tag_set(&d->tags);
	if (err)
		goto out_free;
	gd = alloc_gendisk(d);
	err = PTR_ERR_OR_ZERO(gd);
	if (err)
		goto out_free;
	d->gd = gd;
	gd->major = major;
	gd->first_minor = index;
	gd->minors = 1;
	gd->fops = &fops;
	gd->private_data = d;
	snprintf(gd->disk_name, sizeof(gd->disk_name), NAME "%d", index);
	set_capacity(gd, (sector_t)spec->mb << (20 - SECTOR_SHIFT));
	err = device_add_disk(&parent->dev, gd, NULL);
	if (err)
		goto out_free;
	disks[index] = d;
	return 0;
out_free:
	disk_free(d);
	return err;
}

/* Take a disk away. What was issued is answered first; its openers get errors from then on. */
static void disk_remove(int index)
{
	struct disk *d = disks[index];

	disks[index] = NULL;
	del_gendisk(d->gd);
	disk_free(d);
}

/* ---- words ---- */

static int parse_pairs(struct spec *s, char *pairs)
{
	const struct {
		const char *key;
		u32 *value;
		u32 least, most;
	} keys[] = { { "fast_us", &s->fast_us, 1, 5000000 }, { "slow_us", &s->slow_us, 1, 5000000 },
		{ "fast_ms", &s->fast_ms, 2, 3600000 }, { "slow_ms", &s->slow_ms, 2, 3600000 },
		{ "slow_ppm", &s->slow_ppm, 0, 1000000 }, { "jitter_pct", &s->jitter_pct, 0, 100 },
		{ "write_us", &s->write_us, 1, 5000000 }, { "mb", &s->mb, 1, 4096 },
		{ "backed", &s->backed, 0, 1 }, { "depth", &s->depth, 1, 1024 },
		{ "queues", &s->queues, 1, 64 }, { "seed", &s->seed, 0, U32_MAX } };
	char *pair, *value;
	u32 number, i;

	while ((pair = strsep(&pairs, ",")) != NULL) {
		if (!*pair)
			continue;
		value = pair;
		pair = strsep(&value, "=");
		for (i = 0; i < ARRAY_SIZE(keys) && strcmp(pair, keys[i].key); i++)
			;
		if (i == ARRAY_SIZE(keys) || !value || kstrtou32(value, 10, &number) ||
			number < keys[i].least || number > keys[i].most) {
			pr_err("semantos_testdev: '%s' is not a key, or its value is out of range; "
			       "see the source.\n",
				pair);
			return -EINVAL;
		}
		*keys[i].value = number;
	}
	return 0;
}

/* MODEL[:key=value,...] for disk `index`; eats the text. */
static int parse_spec(struct spec *s, char *text, int index)
{
	char *model = strsep(&text, ":");
	int which = match_string(model_names, ARRAY_SIZE(model_names), model), err;

	if (which < 0) {
		pr_err("semantos_testdev: '%s' is no model; use memory, iid or fixed.\n", model);
		return which;
	}
	*s = (struct spec){ .model = which,
		.fast_us = 100,
		.slow_us = 2000,
		.fast_ms = 400,
		.slow_ms = 100,
		.slow_ppm = U32_MAX,
		.jitter_pct = 10,
		.mb = 64,
		.depth = 128,
		.queues = 1,
		.seed = seed + index };
	err = parse_pairs(s, text);
	if (!s->write_us)
		s->write_us = s->fast_us;
	if (s->slow_ppm == U32_MAX)
		s->slow_ppm = div_u64(s->slow_ms * 1000000ULL, s->fast_ms + s->slow_ms);
	return err;
}

/* Run `act` on a private copy of what was written to a parameter, without its newline, while disks may change. */
static int with_words(const char *val, int (*act)(char *words))
{
	char *words = kstrdup(val, GFP_KERNEL);
	int err = -ENODEV;

	if (!words)
		return -ENOMEM;
	mutex_lock(&disks_lock);
	if (ready)
		err = act(strim(words));
	mutex_unlock(&disks_lock);
	kfree(words);
	return err;
}

static int add_one(char *words)
{
	struct spec spec;
	int index, err;

	for (index = 0; index < MAX_DISKS && disks[index]; index++)
		;
	if (index == MAX_DISKS)
		return -ENOSPC;
	err = parse_spec(&spec, words, index);
	return err ? err : disk_add(&spec, index);
}

static int remove_one(char *words)
{
	u32 index;

	if (kstrtou32(words, 10, &index) || index >= MAX_DISKS || !disks[index])
		return -ENODEV;
	disk_remove(index);
	return 0;
}

static int change_one(char *words)
{
	char *number = strsep(&words, ":");
	struct spec spec;
	u32 index;
	int err;

	if (kstrtou32(number, 10, &index) || index >= MAX_DISKS || !disks[index])
		return -ENODEV;
	spec = disks[index]->process.spec;
	err = parse_pairs(&spec, words);
	if (err)
		return err;
	spin_lock_irq(&disks[index]->lock);
	disks[index]->process.spec = spec;
	spin_unlock_irq(&disks[index]->lock);
	return 0;
}

static int set_add(const char *val, const struct kernel_param *kp)
{
	return with_words(val, add_one);
}

static int set_remove(const char *val, const struct kernel_param *kp)
{
	return with_words(val, remove_one);
}

static int set_change(const char *val, const struct kernel_param *kp)
{
	return with_words(val, change_one);
}

static int get_state(char *buffer, const struct kernel_param *kp)
{
	int i, n = 0;

	mutex_lock(&disks_lock);
	for (i = 0; i < MAX_DISKS; i++) {
		struct disk *d = disks[i];

		if (!d)
			continue;
		spin_lock_irq(&d->lock);
		n += scnprintf(buffer + n, PAGE_SIZE - n,
			NAME "%d %s reads=%llu slow=%llu periods=%llu now=%s\n", i,
			model_names[d->process.spec.model], d->process.reads, d->process.slow_reads,
			d->process.periods, d->process.slow ? "slow" : "fast");
		spin_unlock_irq(&d->lock);
	}
	mutex_unlock(&disks_lock);
	return n;
}

static const struct kernel_param_ops add_ops = { .set = set_add },
				     remove_ops = { .set = set_remove },
				     change_ops = { .set = set_change },
				     state_ops = { .get = get_state };
module_param_cb(add, &add_ops, NULL, 0200);
module_param_cb(remove, &remove_ops, NULL, 0200);
module_param_cb(change, &change_ops, NULL, 0200);
module_param_cb(state, &state_ops, NULL, 0444);

static void remove_all(void)
{
	int i;

	mutex_lock(&disks_lock);
	ready = false;
	for (i = 0; i < MAX_DISKS; i++)
		if (disks[i])
			disk_remove(i);
	mutex_unlock(&disks_lock);
}

static int __init testdev_init(void)
{
	char *copy, *rest, *word;
	int err;

	major = register_blkdev(0, NAME);
	if (major < 0)
		return major;
	parent = platform_device_register_simple("semantos_testdev", -1, NULL, 0);
	err = PTR_ERR_OR_ZERO(parent);
	if (err)
		goto out_major;
	err = -ENOMEM;
	copy = rest = kstrdup(devices, GFP_KERNEL);
	if (!copy)
		goto out_parent;
	mutex_lock(&disks_lock);
	for (err = 0; !err && (word = strsep(&rest, ";")) != NULL;)
		err = *word ? add_one(word) : 0;
	ready = !err;
	mutex_unlock(&disks_lock);
	kfree(copy);
	if (!err)
		return 0;
	remove_all();
out_parent:
	platform_device_unregister(parent);
out_major:
	unregister_blkdev(major, NAME);
	return err;
}

static void __exit testdev_exit(void)
{
	remove_all();
	platform_device_unregister(parent);
	unregister_blkdev(major, NAME);
}

module_init(testdev_init);
module_exit(testdev_exit);
MODULE_DESCRIPTION("test-only disks whose latency follows a known random process");
MODULE_LICENSE("GPL");
