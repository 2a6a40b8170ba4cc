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
 *   trace   file=PATH: as long as the reads recorded there (testdev_trace.h), times stretch (1); writes take write_us
 * Requests wait on their own, so latency does not depend on depth; with channels=N only N are served at a time, the rest
 * wait in turn, and writes are slow in slow periods, too. Writes take fast_us, or write_us where it is given; kib_ns is
 * added for each KiB.
 * The time is fast_us or slow_us times a uniform factor of 1 +- jitter_pct / 100, kept by an hrtimer.
 *
 * devices=SPEC[;SPEC...], one disk /dev/semtestN each. SPEC is MODEL[:key=value...], separated by commas:
 *   fast_us (100) slow_us (2000) fast_ms (400) slow_ms (100) jitter_pct (10) write_us (fast_us) mb (64: size)
 *   slow_ppm (slow_ms / (fast_ms + slow_ms): the share of time; a closed loop issues less while it is slow)
 *   backed (0: reads give zeros, writes vanish; 1: memory of its own; 2: of its first MiB, beyond it nothing is touched)
 *   channels (0: any number, else up to 16) kib_ns (0) depth (128) queues (1) seed
 *   store (0: memory goes with the disk; 1 to 63: that memory stays, and the next disk that names it has the contents)
 *   cache (0; 1: a volatile write cache; what was not flushed can be lost: testdev_store.h)
 *   read_errors write_errors flush_errors (0: so many of the next ones fail, without touching memory)
 *   hang (0; 1 holds reads, 2 writes and flushes, 3 both, until it is 0 again: only then their pages are touched)
 * seed=N: the periods and draws of disk i depend only on its SPEC and on its seed (default N + i).
 * In /sys/module/semantos_testdev/parameters, while it is loaded: write add (SPEC; takes the lowest free number, so a
 * dev_t is reused), remove (N, also under I/O: what is in flight ends, what is held fails, and so does the rest), change
 * (N:key=value,...: at once), restart (SEED[:FROM_MS]: the processes of all disks begin anew at this instant, disk i
 * with SEED + i, recordings FROM_MS into them; for when nothing is in flight), cut (N:KEEP_PPM: remove, and its cache
 * loses power), image (SEED:KEEP_PPM:FROM=TO,...: what a loss of power at this instant would leave of the stores FROM,
 * into the stores TO); read state (one line a disk: name, model, reads, slow reads, periods, in a slow one now, requests
 * held).
 *
 * Must never be loaded where it matters. Locking: `disks_lock` orders add, remove and change; a disk's `lock` guards
 * its process and counters, taken with interrupts off.
 */
#include <linux/blk-mq.h>
#include <linux/hrtimer.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/version.h>
#include "testdev_process.h"
#include "testdev_store.h"
#include "testdev_words.h"

#define NAME "semtest"
#define MAX_DISKS 64

struct disk {
	struct spec spec;
	struct blk_mq_tag_set tags;
	struct gendisk *gd;
	struct store *store; /* NULL: reads give zeros */
	struct trace *trace;
	spinlock_t lock; /* guards process, held, gone */
	struct process process;
	struct list_head held;
	unsigned int n_held;
	bool gone; /* nothing is held any more: it fails */
};

struct command {
	struct hrtimer timer;
	struct list_head held;
	blk_status_t status;
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

#include "testdev_peek.h"

/* ---- the disk ---- */

static enum hrtimer_restart expired(struct hrtimer *timer)
{
	struct command *command = container_of(timer, struct command, timer);

	blk_mq_end_request(blk_mq_rq_from_pdu(command), command->status);
	return HRTIMER_NORESTART;
}

/* Move the data of a request now; only its completion waits. May sleep where there is a cache. */
static void transfer(struct disk *d, struct request *rq)
{
	size_t begin = blk_rq_pos(rq) << SECTOR_SHIFT, at = begin;
	struct store *store = d->store;
	struct req_iterator iter;
	struct bio_vec bv;

	if (store && store->durable)
		down_read(&stores_power);
	if (req_op(rq) == REQ_OP_FLUSH) {
		if (store)
			store_flush(store);
		goto out;
	}
	rq_for_each_segment(bv, rq, iter)
	{
		void *page;

		if (store && at + bv.bv_len > store->bytes)
			break;
		page = bvec_kmap_local(&bv);
		if (rq_data_dir(rq) == READ) {
			if (store)
				memcpy(page, store->data + at, bv.bv_len);
			else
				memset(page, 0, bv.bv_len);
			flush_dcache_page(bv.bv_page);
		} else if (store) {
			memcpy(store->data + at, page, bv.bv_len);
		}
		kunmap_local(page);
		at += bv.bv_len;
	}
	if (store && rq_data_dir(rq) == WRITE)
		store_written(store, begin, at - begin, rq->cmd_flags & REQ_FUA);
out:
	if (store && store->durable)
		up_read(&stores_power);
}

/* One of those that are to fail? Called with the disk's lock held. */
static bool fails(struct spec *s, struct request *rq)
{
	u32 *left = req_op(rq) == REQ_OP_READ	 ? &s->read_errors
		    : req_op(rq) == REQ_OP_WRITE ? &s->write_errors
						 : &s->flush_errors;

	if (!*left)
		return false;
	if (*left != U32_MAX)
		--*left;
	return true;
}

/* Carry out a request, and answer it when its time has come. */
static void serve(struct disk *d, struct request *rq)
{
	struct command *command = blk_mq_rq_to_pdu(rq);
	unsigned long flags;
	u64 ns;

	spin_lock_irqsave(&d->lock, flags);
	ns = process_request_ns(
		&d->process, ktime_get_ns(), blk_rq_bytes(rq), req_op(rq) != REQ_OP_READ);
	command->status = fails(&d->process.spec, rq) ? BLK_STS_IOERR : BLK_STS_OK;
	spin_unlock_irqrestore(&d->lock, flags);
	if (command->status == BLK_STS_OK)
		transfer(d, rq);
	hrtimer_start(&command->timer, ns_to_ktime(ns), HRTIMER_MODE_REL);
}

/* Is the request kept from now on? It is let go by release(). */
static bool hold(struct disk *d, struct request *rq)
{
	struct command *command = blk_mq_rq_to_pdu(rq);
	unsigned long flags;
	bool held;

	spin_lock_irqsave(&d->lock, flags);
	held = !d->gone && (d->process.spec.hang & (req_op(rq) == REQ_OP_READ ? 1 : 2));
	if (held) {
		list_add_tail(&command->held, &d->held);
		d->n_held++;
	}
	spin_unlock_irqrestore(&d->lock, flags);
	return held;
}

/* Let go what is held: it is served, or fails when the disk is going. */
static void release(struct disk *d)
{
	struct command *command, *next;
	LIST_HEAD(held);

	spin_lock_irq(&d->lock);
	list_splice_init(&d->held, &held);
	d->n_held = 0;
	spin_unlock_irq(&d->lock);
	list_for_each_entry_safe(command, next, &held, held)
	{
		struct request *rq = blk_mq_rq_from_pdu(command);

		list_del_init(&command->held);
		if (d->gone)
			blk_mq_end_request(rq, BLK_STS_IOERR);
		else
			serve(d, rq);
	}
}

static blk_status_t queue_rq(struct blk_mq_hw_ctx *hctx, const struct blk_mq_queue_data *bd)
{
	struct disk *d = hctx->queue->queuedata;

	switch (req_op(bd->rq)) {
	case REQ_OP_READ:
	case REQ_OP_WRITE:
	case REQ_OP_FLUSH:
		blk_mq_start_request(bd->rq);
		if (!hold(d, bd->rq))
			serve(d, bd->rq);
		return BLK_STS_OK;
	default:
		return BLK_STS_NOTSUPP;
	}
}

static int init_command(struct request *rq)
{
	struct command *command = blk_mq_rq_to_pdu(rq);

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
	hrtimer_setup(&command->timer, expired, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
#else
	hrtimer_init(&command->timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	command->timer.function = expired;
#endif
	INIT_LIST_HEAD(&command->held);
	return 0;
}

/* The node is unsigned up to some 7.x, and an int from then on: the header says which of the two it takes. */
static int __maybe_unused init_request_unsigned(
	struct blk_mq_tag_set *set, struct request *rq, unsigned int hctx, unsigned int node)
{
	return init_command(rq);
}

static int __maybe_unused init_request_int(
	struct blk_mq_tag_set *set, struct request *rq, unsigned int hctx, int node)
{
	return init_command(rq);
}

#define INIT_REQUEST                                                             \
	_Generic(((struct blk_mq_ops *)NULL)->init_request,                      \
		int (*)(struct blk_mq_tag_set *, struct request *, unsigned int, \
			int): init_request_int,                                  \
		default: init_request_unsigned)

static const struct blk_mq_ops ops = { .queue_rq = queue_rq, .init_request = INIT_REQUEST };
static const struct block_device_operations fops = { .owner = THIS_MODULE };

static struct gendisk *alloc_gendisk(struct disk *d)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
	struct queue_limits limits = { .logical_block_size = 512, .physical_block_size = 4096 };

	if (d->process.spec.cache)
		limits.features = BLK_FEAT_WRITE_CACHE | BLK_FEAT_FUA;
	return blk_mq_alloc_disk(&d->tags, &limits, d);
#else
	struct gendisk *gd = blk_mq_alloc_disk(&d->tags, d);

	if (!IS_ERR(gd)) {
		blk_queue_flag_set(QUEUE_FLAG_NONROT, gd->queue);
		blk_queue_physical_block_size(gd->queue, 4096);
		blk_queue_write_cache(gd->queue, d->process.spec.cache, d->process.spec.cache);
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
	if (d->store)
		store_put(d->store, d->process.spec.store);
	vfree(d->trace);
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
	INIT_LIST_HEAD(&d->held);
	process_start(&d->process, spec, ktime_get_ns());
	if (spec->model == TRACE) {
		d->trace = trace_load(spec->file);
		err = PTR_ERR_OR_ZERO(d->trace);
		if (err) {
			d->trace = NULL;
			goto out_free;
		}
		d->process.trace = d->trace;
	}
	if (spec->backed) {
		struct store *store = store_get(
			spec->store, spec->backed == 2 ? 1 << 20 : (size_t)spec->mb << 20);

		err = PTR_ERR_OR_ZERO(store);
		if (err)
			goto out_free;
		d->store = store;
		err = spec->cache ? store_add_cache(store) : 0;
		if (err)
			goto out_free;
	}
	d->tags = (struct blk_mq_tag_set){ .ops = &ops,
		.nr_hw_queues = spec->queues,
		.queue_depth = spec->depth,
		.numa_node = NUMA_NO_NODE,
		.flags = d->store && d->store->durable ? BLK_MQ_F_BLOCKING : 0,
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
	disk_show(index, d);
	return 0;
out_free:
	disk_free(d);
	return err;
}

/* Take a disk away. What was issued is answered first; its openers get errors from then on. */
static void disk_remove(int index)
{
	struct disk *d = disks[index];

	disk_show(index, NULL);
	spin_lock_irq(&d->lock);
	d->gone = true;
	spin_unlock_irq(&d->lock);
	release(d);
	del_gendisk(d->gd);
	disk_free(d);
}

/* ---- words ---- */

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
	err = parse_spec(&spec, words, seed + index);
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
	/* What the disk is made of stays. */
	spec.store = disks[index]->process.spec.store;
	spec.cache = disks[index]->process.spec.cache;
	spin_lock_irq(&disks[index]->lock);
	disks[index]->process.spec = spec;
	spin_unlock_irq(&disks[index]->lock);
	if (!spec.hang)
		release(disks[index]);
	return 0;
}

/* SEED[:FROM_MS] */
static int restart_all(char *words)
{
	u32 first, from_ms = 0, i;
	u64 now, from_ns;

	if (sscanf(words, "%u:%u", &first, &from_ms) < 1)
		return -EINVAL;
	spin_lock_irq(&peek_lock);
	now = ktime_get_ns();
	for (i = 0; i < MAX_DISKS; i++) {
		struct disk *d = disks[i];

		if (!d)
			continue;
		spin_lock(&d->lock);
		d->process.spec.seed = first + i;
		from_ns = from_ms * (u64)NSEC_PER_MSEC * d->process.spec.stretch;
		process_start(&d->process, &d->process.spec, now);
		d->process.start_ns -= from_ns; /* only differences to it count */
		spin_unlock(&d->lock);
	}
	spin_unlock_irq(&peek_lock);
	return 0;
}

/* N:KEEP_PPM */
static int cut_one(char *words)
{
	u32 index, keep_ppm, number;
	struct store *store;
	u64 rng;

	if (sscanf(words, "%u:%u", &index, &keep_ppm) != 2 || index >= MAX_DISKS || !disks[index])
		return -EINVAL;
	number = disks[index]->process.spec.store;
	store = number ? stores[number] : NULL;
	if (!store || !store->durable)
		return -EINVAL;
	rng = disks[index]->process.draw_rng;
	disk_remove(index);
	down_write(&stores_power);
	store_crash(store, store, keep_ppm, &rng);
	up_write(&stores_power);
	return 0;
}

/* SEED:KEEP_PPM:FROM=TO,... */
static int image_some(char *words)
{
	struct store *from[MAX_STORES], *to[MAX_STORES];
	u32 seed_of_choice, keep_ppm, a, b, n = 0, i;
	int at = 0;
	char *pair;
	u64 rng;

	if (sscanf(words, "%u:%u:%n", &seed_of_choice, &keep_ppm, &at) != 2 || !at)
		return -EINVAL;
	words += at;
	while ((pair = strsep(&words, ",")) != NULL && n < MAX_STORES) {
		if (sscanf(pair, "%u=%u", &a, &b) != 2 || !a || !b || a == b || a >= MAX_STORES ||
			b >= MAX_STORES || !stores[a])
			return -EINVAL;
		if (!stores[b])
			stores[b] = store_new(stores[a]->bytes);
		if (!stores[b])
			return -ENOMEM;
		if (stores[b]->users || stores[b]->bytes != stores[a]->bytes)
			return -EBUSY;
		from[n] = stores[a];
		to[n++] = stores[b];
	}
	rng = (u64)seed_of_choice << 32;
	down_write(&stores_power);
	for (i = 0; i < n; i++)
		store_crash(to[i], from[i], keep_ppm, &rng);
	up_write(&stores_power);
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

static int set_restart(const char *val, const struct kernel_param *kp)
{
	return with_words(val, restart_all);
}

static int set_cut(const char *val, const struct kernel_param *kp)
{
	return with_words(val, cut_one);
}

static int set_image(const char *val, const struct kernel_param *kp)
{
	return with_words(val, image_some);
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
			NAME "%d %s reads=%llu slow=%llu periods=%llu now=%s held=%u\n", i,
			model_names[d->process.spec.model], d->process.reads, d->process.slow_reads,
			d->process.periods, d->process.slow ? "slow" : "fast", d->n_held);
		spin_unlock_irq(&d->lock);
	}
	mutex_unlock(&disks_lock);
	return n;
}

static const struct kernel_param_ops add_ops = { .set = set_add },
				     remove_ops = { .set = set_remove },
				     change_ops = { .set = set_change },
				     restart_ops = { .set = set_restart },
				     cut_ops = { .set = set_cut }, image_ops = { .set = set_image },
				     state_ops = { .get = get_state };
module_param_cb(add, &add_ops, NULL, 0200);
module_param_cb(remove, &remove_ops, NULL, 0200);
module_param_cb(change, &change_ops, NULL, 0200);
module_param_cb(restart, &restart_ops, NULL, 0200);
module_param_cb(cut, &cut_ops, NULL, 0200);
module_param_cb(image, &image_ops, NULL, 0200);
module_param_cb(state, &state_ops, NULL, 0444);

static void remove_all(void)
{
	int i;

	mutex_lock(&disks_lock);
	ready = false;
	for (i = 0; i < MAX_DISKS; i++)
		if (disks[i])
			disk_remove(i);
	stores_free();
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
	err = err ?: peek_init();
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
