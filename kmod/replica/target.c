// SPDX-License-Identifier: GPL-2.0
/*
 * target.c - device-mapper target "semantos": one volume, the same data on several legs.
 *
 *   START LENGTH semantos 1 LEGS DEVICE OFFSET [DEVICE OFFSET ...] OPTIONS [OPTION ...]
 *
 * DEVICE may be "-": the leg is not there. OFFSET is where the leg's area begins, in sectors; disk_format.h says what is
 * in it. OPTIONS is the number of words that follow:
 *   create            make a new volume of legs that carry none; leg 0 is copied to the others
 *   assume_equal      with create: the legs' data areas are equal already
 *   degraded          go on although legs are missing
 *   rebuild LEG       fill this leg from the others, whatever is on it
 *   region_sectors N  a power of two of at least 8; the unit in which differences are remembered
 *   nowait_reject N   a read that must not wait is refused (EAGAIN) when its leg has N requests in flight, or when
 *                     the policy says so
 *   hedge_us N        a second leg is asked when the first has not answered a read for so long; 0: when the policy says
 * create, assume_equal and rebuild are done once, and left out of the table that is printed.
 * Messages: resync LEG, fail LEG. docs/volume.md explains them, the status line, and what is promised of the data.
 */
#include "kmod/replica/replica.h"

#include <linux/module.h>

/* ---- making and unmaking ---- */

static void send_event(struct work_struct *work)
{
	struct replica *r = container_of(work, struct replica, event_work);

	dm_table_event(r->ti->table);
}

static void dispatch(void *context, struct bio_list *bios)
{
	struct bio *bio;

	while ((bio = bio_list_pop(bios)) != NULL)
		replica_queue_write(context, bio);
}

/* The region hash has something to do: at once when a copy waits for it, else in a while. Any context. */
static void region_moved(void *context)
{
	struct replica *r = context;

	if (dm_rh_recovery_in_flight(r->rh))
		replica_wake(r);
	else
		queue_delayed_work(r->wq, &r->later, REPLICA_CLEAN_DELAY);
}

static void nobody_waits(void *context)
{
}

static void replica_free(struct replica *r)
{
	unsigned int leg;

	replica_hedges_end(r);
	/* Before what the end of a copy uses: the last callback may still be on its way out. */
	if (!IS_ERR_OR_NULL(r->kcopyd))
		dm_kcopyd_client_destroy(r->kcopyd);
	if (r->wq) {
		cancel_delayed_work_sync(&r->later);
		destroy_workqueue(r->wq);
	}
	if (r->read_wq)
		destroy_workqueue(r->read_wq);
	flush_work(&r->event_work);
	if (!IS_ERR_OR_NULL(r->rh))
		dm_region_hash_destroy(r->rh);
	if (!IS_ERR_OR_NULL(r->io))
		dm_io_client_destroy(r->io);
	for (leg = 0; leg < r->nr_legs; leg++)
		if (r->leg[leg].dev)
			dm_put_device(r->ti, r->leg[leg].dev);
	if (!IS_ERR_OR_NULL(r->blk))
		semantos_blk_unregister(r->blk);
	free_page((unsigned long)r->page);
	free_percpu(r->counts);
	kfree(r);
}

static int open_legs(struct replica *r, struct dm_arg_set *args)
{
	unsigned long long start;
	const char *name;
	char dummy;
	int err;

	for (r->nr_legs = 0; args->argc >= 2 && r->nr_legs < REPLICA_MAX_LEGS; r->nr_legs++) {
		struct replica_leg *leg = &r->leg[r->nr_legs];

		name = dm_shift_arg(args);
		if (sscanf(dm_shift_arg(args), "%llu%c", &start, &dummy) != 1 ||
			start > U64_MAX / 2) {
			r->ti->error = "The offset of a leg is a number of sectors";
			return -EINVAL;
		}
		leg->start = start;
		if (strcmp(name, "-")) {
			err = dm_get_device(
				r->ti, name, dm_table_get_mode(r->ti->table), &leg->dev);
			if (err) {
				leg->dev = NULL;
				r->ti->error = "A leg's device cannot be opened";
				return err;
			}
			if (bdev_nr_sectors(leg->dev->bdev) <
				start + REPLICA_META_SECTORS + r->ti->len) {
				r->nr_legs++; /* its device is to be put */
				r->ti->error = "A leg is too small for 2048 sectors and the data";
				return -ENOSPC;
			}
		}
	}
	return 0;
}

/* Two legs on one piece of a disk would be written over one another. Partitions count by where they lie. */
static int check_apart(struct replica *r)
{
	sector_t length = REPLICA_META_SECTORS + r->ti->len;
	unsigned int a, b;

	for (a = 0; a < r->nr_legs; a++)
		for (b = a + 1; b < r->nr_legs; b++) {
			struct replica_leg *one = &r->leg[a], *other = &r->leg[b];
			sector_t at, to;

			if (!one->dev || !other->dev ||
				one->dev->bdev->bd_disk != other->dev->bdev->bd_disk)
				continue;
			at = get_start_sect(one->dev->bdev) + one->start;
			to = get_start_sect(other->dev->bdev) + other->start;
			if (at < to + length && to < at + length) {
				r->ti->error = "Two legs overlap";
				return -EINVAL;
			}
		}
	return 0;
}

static int read_options(struct replica *r, struct dm_arg_set *args)
{
	/* Every option once, and a rebuild of each leg. */
	static const struct dm_arg options = { 0, 9 + 2 * REPLICA_MAX_LEGS,
		"The number of options is wrong" };
	struct dm_target *ti = r->ti;
	unsigned int n, value;
	const char *word;
	int err = dm_read_arg_group(&options, args, &n, &ti->error);

	while (!err && n) {
		static const struct dm_arg leg = { 0, REPLICA_MAX_LEGS - 1,
			"rebuild takes the number of a leg" },
					   region = { 8, 1 << 30,
						   "region_sectors takes a power of two" },
					   depth = { 1, 65535,
						   "nowait_reject takes a depth of 1 to 65535" },
					   hedge = { 0, REPLICA_MAX_HEDGE_US,
						   "hedge_us takes 0 to 1000000" };

		word = dm_shift_arg(args);
		n--;
		if (!strcmp(word, "create")) {
			r->create = true;
		} else if (!strcmp(word, "assume_equal")) {
			r->assume_equal = true;
		} else if (!strcmp(word, "degraded")) {
			r->degraded = true;
		} else if (!n) {
			ti->error = "An option is not known, or lacks its value";
			err = -EINVAL;
		} else if (!strcmp(word, "rebuild")) {
			err = dm_read_arg(&leg, args, &value, &ti->error);
			if (!err && value >= r->nr_legs) {
				ti->error = leg.error;
				err = -EINVAL;
			}
			if (!err)
				r->rebuild |= BIT(value);
			n--;
		} else if (!strcmp(word, "region_sectors")) {
			err = dm_read_arg(&region, args, &r->region_sectors, &ti->error);
			n--;
		} else if (!strcmp(word, "nowait_reject")) {
			err = dm_read_arg(&depth, args, &r->nowait_depth, &ti->error);
			n--;
		} else if (!strcmp(word, "hedge_us")) {
			err = dm_read_arg(&hedge, args, &r->hedge_us, &ti->error);
			r->hedging = true;
			n--;
		} else {
			ti->error = "An option is not known";
			err = -EINVAL;
		}
	}
	if (!err && args->argc) {
		ti->error = "There are words after the options";
		err = -EINVAL;
	}
	if (!err && r->create && (r->degraded || r->rebuild)) {
		ti->error = "create excludes degraded and rebuild";
		err = -EINVAL;
	}
	if (!err && r->rebuild == replica_all(r)) {
		ti->error = "Not every leg can be filled from the others";
		err = -EINVAL;
	}
	return err;
}

/* 1 MiB, or as much more as it takes for the map to have room. */
static int set_regions(struct replica *r)
{
	struct dm_target *ti = r->ti;

	if (!r->region_sectors)
		for (r->region_sectors = 2048;
			DIV_ROUND_UP_ULL(ti->len, r->region_sectors) > REPLICA_MAX_REGIONS &&
			r->region_sectors < REPLICA_MAX_REGION_SECTORS;
			r->region_sectors *= 2)
			;
	r->nr_regions = DIV_ROUND_UP_ULL(ti->len, r->region_sectors);
	if (!is_power_of_2(r->region_sectors) || r->nr_regions > REPLICA_MAX_REGIONS) {
		ti->error = "region_sectors is no power of two, or the volume is too large for it";
		return -EINVAL;
	}
	return dm_set_target_max_io_len(ti, r->region_sectors);
}

static int make_parts(struct replica *r)
{
	dev_t dev[REPLICA_MAX_LEGS];
	struct dm_dirty_log *log;
	unsigned int leg;

	for (leg = 0; leg < r->nr_legs; leg++)
		dev[leg] = r->leg[leg].dev ? r->leg[leg].dev->bdev->bd_dev : 0;
	r->blk = semantos_blk_register(
		dm_device_name(dm_table_get_md(r->ti->table)), r->nr_legs, dev);
	if (IS_ERR(r->blk))
		return PTR_ERR(r->blk);
	r->counts = alloc_percpu(struct replica_counts);
	r->page = (void *)get_zeroed_page(GFP_KERNEL);
	r->wq = alloc_ordered_workqueue("semantos-replica", WQ_MEM_RECLAIM);
	r->read_wq = alloc_workqueue("semantos-replica-read", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!r->counts || !r->page || !r->wq || !r->read_wq)
		return -ENOMEM;
	r->io = dm_io_client_create();
	if (IS_ERR(r->io))
		return PTR_ERR(r->io);
	r->kcopyd = dm_kcopyd_client_create(replica_throttle());
	if (IS_ERR(r->kcopyd))
		return PTR_ERR(r->kcopyd);
	log = replica_log_create(r);
	if (!log)
		return -ENOMEM;
	r->rh = dm_region_hash_create(r, dispatch, region_moved, nobody_waits, r->ti->begin,
		REPLICA_COPIES, log, r->region_sectors, r->nr_regions);
	if (IS_ERR(r->rh)) {
		dm_dirty_log_destroy(log);
		return PTR_ERR(r->rh);
	}
	return 0;
}

static int check_nowait(struct replica *r)
{
	unsigned int leg;

	for (leg = 0; r->nowait_depth && leg < r->nr_legs; leg++)
		if (r->leg[leg].dev && !bdev_nowait(r->leg[leg].dev->bdev)) {
			r->ti->error = "nowait_reject needs legs that can refuse to wait";
			return -EOPNOTSUPP;
		}
	return 0;
}

static int replica_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct dm_arg_set args = { argc, argv };
	static const struct dm_arg version = { REPLICA_TABLE_VERSION, REPLICA_TABLE_VERSION,
		"The first word is the version of the table: 1" },
				   legs = { 2, REPLICA_MAX_LEGS, "A volume has 2 to 8 legs" };
	struct dm_arg_set leg_args;
	struct replica *r;
	unsigned int value, n;
	int err;

	r = kzalloc(sizeof(*r), GFP_KERNEL);
	if (!r) {
		ti->error = "There is no memory";
		return -ENOMEM;
	}
	r->ti = ti;
	ti->private = r;
	spin_lock_init(&r->lock);
	INIT_WORK(&r->work, replica_work);
	INIT_WORK(&r->read_work, replica_retry_reads);
	INIT_WORK(&r->event_work, send_event);
	INIT_DELAYED_WORK(&r->later, replica_later);
	for (n = 0; n < REPLICA_MAX_LEGS; n++) {
		r->leg[n].of = r;
		INIT_WORK(&r->leg[n].read_work, replica_send_reads);
	}

	err = dm_read_arg(&version, &args, &value, &ti->error);
	err = err ?: dm_read_arg(&legs, &args, &n, &ti->error);
	if (!err && args.argc < 2 * n) {
		ti->error = "A leg is a device and an offset";
		err = -EINVAL;
	}
	if (err)
		goto out_free;
	if (!(dm_table_get_mode(ti->table) & BLK_OPEN_WRITE)) {
		ti->error = "A volume cannot be read-only: it keeps its own state on the legs";
		err = -EROFS;
		goto out_free;
	}
	leg_args = (struct dm_arg_set){ 2 * n, args.argv };
	dm_consume_args(&args, 2 * n);
	err = open_legs(r, &leg_args);
	err = err ?: check_apart(r);
	err = err ?: read_options(r, &args);
	err = err ?: check_nowait(r);
	err = err ?: set_regions(r);
	if (err)
		goto out_free;
	err = make_parts(r);
	if (err) {
		ti->error = "There is no memory";
		goto out_free;
	}
	ti->num_flush_bios = 1;
	/* A discarded block may read differently on each leg: there are no discards, see docs/volume.md. */
	ti->num_discard_bios = 0;
	ti->num_secure_erase_bios = 0;
	ti->num_write_zeroes_bios = 0;
	ti->per_io_data_size = struct_size_t(struct replica_bio, clone, r->nr_legs);
	return 0;
out_free:
	replica_free(r);
	return err;
}

static void replica_dtr(struct dm_target *ti)
{
	replica_free(ti->private);
}

/* ---- I/O ---- */

static int replica_map(struct dm_target *ti, struct bio *bio)
{
	struct replica *r = ti->private;
	struct replica_bio *rb = replica_bio_of(r, bio);

	rb->r = r;
	rb->bio = bio;
	if (bio_op(bio) == REQ_OP_READ)
		return replica_map_read(r, bio);
	rb->pending = false;
	replica_queue_write(r, bio);
	return DM_MAPIO_SUBMITTED;
}

static int replica_end_io(struct dm_target *ti, struct bio *bio, blk_status_t *status)
{
	if (bio_op(bio) == REQ_OP_READ)
		return replica_end_read(ti->private, bio, status);
	return DM_ENDIO_DONE;
}

/* ---- suspend and resume ---- */

static int replica_preresume(struct dm_target *ti)
{
	struct replica *r = ti->private;
	int err;

	/* Resumed again, what is in memory counts: nobody else could write to the legs. */
	if (test_bit(REPLICA_ASSEMBLED, &r->flags))
		return 0;
	err = replica_assemble(r);
	if (!err)
		set_bit(REPLICA_ASSEMBLED, &r->flags);
	return err;
}

static void replica_resume(struct dm_target *ti)
{
	struct replica *r = ti->private;

	replica_recovery_start(r);
	replica_wake(r);
}

static void replica_presuspend(struct dm_target *ti)
{
	struct replica *r = ti->private;

	replica_recovery_stop(r);
	flush_work(&r->work);
}

static void replica_presuspend_undo(struct dm_target *ti)
{
	replica_resume(ti);
}

/* Nothing is in flight: what is equal on all legs is marked so. */
static void replica_postsuspend(struct dm_target *ti)
{
	struct replica *r = ti->private;

	cancel_delayed_work_sync(&r->later);
	flush_workqueue(r->wq);
	if (test_bit(REPLICA_ASSEMBLED, &r->flags))
		dm_rh_update_states(r->rh, 1);
}

/* ---- looking and asking ---- */

static char leg_letter(struct replica *r, unsigned int leg)
{
	return READ_ONCE(r->sync_legs) & BIT(leg)     ? 'A'
	       : READ_ONCE(r->active_legs) & BIT(leg) ? 'c'
	       : r->leg[leg].dev		      ? 'D'
						      : '-';
}

static void status_info(struct replica *r, char *result, unsigned int maxlen)
{
	struct replica_counts sum;
	unsigned int sz = 0, leg, owed = 0;

	replica_counts_sum(r, &sum);
	DMEMIT("%d %u ", REPLICA_TABLE_VERSION, r->nr_legs);
	for (leg = 0; leg < r->nr_legs; leg++)
		DMEMIT("%c", leg_letter(r, leg));
	DMEMIT(" %llu/%llu %llu", (unsigned long long)(r->nr_regions - replica_log_to_copy(r)),
		(unsigned long long)r->nr_regions, READ_ONCE(r->generation));
	for (leg = 0; leg < r->nr_legs; leg++)
		DMEMIT(" %s:%llu:%llu:%u:%ld:%ld", r->leg[leg].dev ? r->leg[leg].dev->name : "-",
			sum.reads[leg], sum.writes[leg], semantos_blk_inflight(r->blk, leg),
			atomic_long_read(&r->leg[leg].read_errors),
			atomic_long_read(&r->leg[leg].write_errors));
	DMEMIT(" %llu %llu %ld %llu", sum.retried, sum.refused, atomic_long_read(&r->ejected),
		(unsigned long long)replica_log_dirty(r));
	if (!r->hedging)
		return;
	for (leg = 0; leg < r->nr_legs; leg++)
		owed += atomic_read(&r->leg[leg].owed);
	DMEMIT(" %llu %llu %llu %u", sum.hedges, sum.hedges_won, sum.unhedged, owed);
}

static void status_table(struct replica *r, char *result, unsigned int maxlen)
{
	unsigned int sz = 0, leg, words;

	DMEMIT("%d %u", REPLICA_TABLE_VERSION, r->nr_legs);
	for (leg = 0; leg < r->nr_legs; leg++)
		DMEMIT(" %s %llu", r->leg[leg].dev ? r->leg[leg].dev->name : "-",
			(unsigned long long)r->leg[leg].start);
	words = r->create + r->assume_equal + r->degraded + 2 * hweight_long(r->rebuild) + 2 +
		2 * !!r->nowait_depth + 2 * r->hedging;
	DMEMIT(" %u", words);
	if (r->create)
		DMEMIT(" create");
	if (r->assume_equal)
		DMEMIT(" assume_equal");
	if (r->degraded)
		DMEMIT(" degraded");
	for_each_set_bit(leg, &r->rebuild, r->nr_legs) DMEMIT(" rebuild %u", leg);
	DMEMIT(" region_sectors %u", r->region_sectors);
	if (r->nowait_depth)
		DMEMIT(" nowait_reject %u", r->nowait_depth);
	if (r->hedging)
		DMEMIT(" hedge_us %u", r->hedge_us);
}

static void replica_status(struct dm_target *ti, status_type_t type, unsigned int status_flags,
	char *result, unsigned int maxlen)
{
	switch (type) {
	case STATUSTYPE_INFO:
		status_info(ti->private, result, maxlen);
		break;
	case STATUSTYPE_TABLE:
		status_table(ti->private, result, maxlen);
		break;
	case STATUSTYPE_IMA:
		*result = '\0';
		break;
	}
}

static int replica_message(
	struct dm_target *ti, unsigned int argc, char **argv, char *result, unsigned int maxlen)
{
	struct replica *r = ti->private;
	unsigned int leg;

	if (argc != 2 || kstrtouint(argv[1], 10, &leg) || leg >= r->nr_legs || !r->leg[leg].dev)
		return -EINVAL;
	if (!strcasecmp(argv[0], "resync"))
		atomic_or(BIT(leg), &r->wanted_legs);
	else if (!strcasecmp(argv[0], "fail"))
		atomic_or(BIT(leg), &r->unwanted_legs);
	else
		return -EINVAL;
	if (dm_suspended(ti))
		return 0; /* at resume */
	replica_wake(r);
	flush_work(&r->work);
	if (!strcasecmp(argv[0], "resync"))
		return READ_ONCE(r->active_legs) & BIT(leg) ? 0 : -EIO;
	return READ_ONCE(r->active_legs) & BIT(leg) ? -EBUSY : 0;
}

static int replica_iterate(struct dm_target *ti, iterate_devices_callout_fn fn, void *data)
{
	struct replica *r = ti->private;
	unsigned int leg;
	int err = 0;

	for (leg = 0; leg < r->nr_legs && !err; leg++)
		if (r->leg[leg].dev)
			err = fn(
				ti, r->leg[leg].dev, replica_data_sector(r, leg, 0), ti->len, data);
	return err;
}

static void replica_hints(struct dm_target *ti, struct queue_limits *limits)
{
	/* A page that changed between two legs' DMA would leave them different. */
	limits->features |= BLK_FEAT_STABLE_WRITES;
	limits->max_hw_discard_sectors = 0;
	limits->max_write_zeroes_sectors = 0;
}

static struct target_type replica_target = {
	.name = "semantos", /* dm names have 15 letters at most */
	.version = { 1, 0, 0 },
	.features = DM_TARGET_NOWAIT,
	.module = THIS_MODULE,
	.ctr = replica_ctr,
	.dtr = replica_dtr,
	.map = replica_map,
	.end_io = replica_end_io,
	.preresume = replica_preresume,
	.resume = replica_resume,
	.presuspend = replica_presuspend,
	.presuspend_undo = replica_presuspend_undo,
	.postsuspend = replica_postsuspend,
	.status = replica_status,
	.message = replica_message,
	.iterate_devices = replica_iterate,
	.io_hints = replica_hints,
};

static int __init replica_init(void)
{
	int err = replica_log_register();

	if (err)
		return err;
	err = dm_register_target(&replica_target);
	if (err)
		replica_log_unregister();
	return err;
}

static void __exit replica_exit(void)
{
	dm_unregister_target(&replica_target);
	replica_log_unregister();
}

module_init(replica_init);
module_exit(replica_exit);
MODULE_DESCRIPTION("device-mapper target: one volume, the same data on several legs");
MODULE_ALIAS("dm-semantos");
MODULE_LICENSE("GPL");
